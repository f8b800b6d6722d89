package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/testport"
)

var update = flag.Bool("update", false, "write the golden files anew")

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mintmark": func() { os.Exit(run()) }})
}

// The scripts drive the program as people and other programs do. Each has ports of its own, which the program finds in
// its environment, and an empty directory.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			public, s3, operations := testport.Addr(t), testport.Addr(t), testport.Addr(t)
			env.Vars = append(env.Vars,
				"MINTMARK_LISTEN_PUBLIC="+public, "MINTMARK_LISTEN_S3="+s3, "MINTMARK_LISTEN_OPERATIONS="+operations,
				"MINTMARK_DATA_DIR="+filepath.Join(env.WorkDir, "data"), "MINTMARK_SHUTDOWN_GRACE=5s",
				"MINTMARK_URL=http://"+public, "MINTMARK_TOKEN_FILE="+filepath.Join(env.WorkDir, "data", "admin.key"),
				"PUBLIC="+public, "S3="+s3, "OPERATIONS="+operations, "NOBODY="+testport.Addr(t),
			)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "ready": ready, "alter": alter, "until": until,
		},
	})
}

// exits CODE PROGRAM ARGS… runs a program that must end with this exit code; what it says can be looked at afterwards.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d; it said:\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// ready waits until the server of the script is ready.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: ready")
	}
	if err := waitReady(ts.Getenv("OPERATIONS"), http.StatusOK, ""); err != nil {
		ts.Fatalf("%v", err)
	}
}

// until TEXT PROGRAM ARGS… runs a program again and again until it ends well and its standard output holds the text.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until TEXT PROGRAM ARGS…")
	}
	err := eventually(func() error {
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			return err
		}
		if out := ts.ReadFile("stdout"); !strings.Contains(out, args[0]) {
			return fmt.Errorf("no %q in %s", args[0], out)
		}
		return nil
	})
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// alter STATEMENT changes the embedded database behind the program's back. It must hit one row.
func alter(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: alter STATEMENT")
	}
	pool, err := sql.Open("sqlite", ts.MkAbs("data/mintmark.db"))
	ts.Check(err)
	defer pool.Close()
	result, err := pool.ExecContext(context.Background(), args[0])
	ts.Check(err)
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		ts.Fatalf("%d rows changed, %v", n, err)
	}
}

func eventually(f func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not in %s: %w", patience, err)
		case <-tick.C:
		}
	}
}

// waitReady waits until readiness has this status and says this.
func waitReady(operations string, status int, text string) error {
	return eventually(func() error {
		res, err := http.Get("http://" + operations + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status || !strings.Contains(string(b), text) {
			return fmt.Errorf("%d %s %w", res.StatusCode, b, err)
		}
		return nil
	})
}

// Every command explains itself. What the server's side says is pinned here, a golden file for each noun; package cli does
// the same for the rest.
func TestHelp(t *testing.T) {
	parser, err := kong.New(&grammar{}, kong.Name("mintmark"))
	if err != nil {
		t.Fatal(err)
	}
	top := helpOf(t)
	_, common, _ := strings.Cut(top, "Server and output:")
	common, _, _ = strings.Cut(common, "\n\n") // what all commands have in common is left out
	pages := map[string]string{"serve": "", "init": "", "demo": "", "doctor": "", "config": "", "audit": "", "version": ""}
	seen := 0
	for _, leaf := range parser.Model.Leaves(true) {
		seen++
		words := commandWords(leaf)
		if !strings.Contains(top, "\n  "+words[0]+" ") {
			t.Errorf("the first page does not list %s", words[0])
		}
		text := helpOf(t, words...)
		if leaf.Help == "" || !strings.Contains(strings.Join(strings.Fields(text), " "), leaf.Help) {
			t.Errorf("the help of %s lacks %q", strings.Join(words, " "), leaf.Help)
		}
		if _, ours := pages[words[0]]; ours {
			text = strings.TrimSpace(strings.ReplaceAll(text, "Server and output:"+common, ""))
			pages[words[0]] += fmt.Sprintf("$ mintmark %s --help\n\n%s\n\n", strings.Join(words, " "), text)
		}
	}
	if seen < 45 {
		t.Errorf("only %d commands", seen)
	}
	for code := range strings.FieldsSeq("69 75 77 78") {
		if !strings.Contains(top, code+" ") {
			t.Errorf("the first page does not tell of exit code %s", code)
		}
	}
	for _, page := range slices.Sorted(maps.Keys(pages)) {
		golden, got := filepath.Join("testdata", "help", page+".txt"), strings.TrimSpace(pages[page])+"\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Error(err)
			continue
		}
		if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
			t.Errorf("the help of %s changed; if that is meant, run this test with -update (-want +got):\n%s", page, d)
		}
	}
}

// commandWords is what to type for a command.
func commandWords(n *kong.Node) []string {
	if n.Type != kong.CommandNode {
		return nil
	}
	return append(commandWords(n.Parent), n.Name)
}

func helpOf(t *testing.T, words ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := cli.Main(t.Context(), &grammar{}, append(words, "--help"), cli.IO{Stdout: &out, Stderr: &errs}); code != 0 || errs.Len() > 0 {
		t.Fatalf("%v --help: exit code %d, %s", words, code, errs.String())
	}
	return out.String()
}
