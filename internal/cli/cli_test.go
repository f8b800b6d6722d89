package cli_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/clock"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// grammar is the program's, without what runs a server.
type grammar struct {
	cli.Commands
	Audit struct {
		cli.AuditCommands
	} `cmd:"" group:"use" help:"The audit log."`
}

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// result is what a run of the program left.
type result struct {
	code           int
	stdout, stderr string
}

// golden is the form of a result that golden files hold.
func (r result) golden() string {
	return "exit " + string(rune('0'+r.code/10)) + string(rune('0'+r.code%10)) + "\n--- stdout\n" + r.stdout + "--- stderr\n" + r.stderr
}

// run starts the program in an environment of its own: nothing of the person who runs the tests reaches it.
func run(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	t.Setenv("COLUMNS", "100")
	var out, err bytes.Buffer
	code := cli.Main(context.Background(), &grammar{}, args, cli.IO{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err, Clock: clock.NewFake(now), Pause: atOnce})
	return result{code, out.String(), err.String()}
}

// atOnce lets no time pass.
func atOnce(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// alone takes the environment of the developer away from the program.
func alone(t *testing.T) {
	t.Helper()
	t.Setenv("MINTMARK_URL", "")
	t.Setenv("MINTMARK_TOKEN_FILE", "")
	os.Unsetenv("MINTMARK_URL")
	os.Unsetenv("MINTMARK_TOKEN_FILE")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

// Every command explains itself, with examples.
func TestHelp(t *testing.T) {
	alone(t)
	k, err := kong.New(&grammar{}, kong.Bind(cli.IO{}))
	if err != nil {
		t.Fatal(err)
	}
	var walk func(n *kong.Node, path []string)
	walk = func(n *kong.Node, path []string) {
		name := strings.Join(append([]string{"mintmark"}, path...), "-")
		t.Run(name, func(t *testing.T) {
			r := run(t, "", append(path, "--help")...)
			if r.code != 0 || r.stderr != "" {
				t.Errorf("exit %d, stderr %q", r.code, r.stderr)
			}
			if n.Leaf() && !strings.Contains(r.stdout, "Examples:") {
				t.Errorf("no examples in the help of %s", name)
			}
			if n.Leaf() && !strings.Contains(r.stdout, "    mintmark "+strings.Join(path, " ")) {
				t.Errorf("the examples of %s do not show it", name)
			}
			compare(t, "help/"+name+".txt", r.stdout)
		})
		for _, c := range n.Children {
			walk(c, append(path[:len(path):len(path)], c.Name))
		}
	}
	walk(k.Model.Node, nil)
}

func TestWrongUsage(t *testing.T) {
	alone(t)
	for _, args := range [][]string{
		{},
		{"nonsense"},
		{"key", "list", "--nonsense"},
		{"key", "list", "-o", "yaml"},
		{"key", "list", "--timeout", "soon"},
		{"key", "revoke"},
		{"key", "revoke", "abc"},
		{"key", "list", "--server", "auth.example.com"},
		{"scope", "show", "sales_order"},
		{"scope", "show", ".read"},
		{"scope", "show", "sales_order."},
		{"rotate", "shop", "--kind", "both"},
		{"token", "get"},
		{"token", "get", "--credentials", "x", "--client-id", "y"},
		{"token", "get", "--client-id", "y", "--username", "z"},
		{"token", "check"},
		{"token", "check", "-"},
		{"completion", "fish"},
		{"app", "create", "shop"},
		{"app", "create", "--team", "shop"},
		{"app", "update", "shop"},
		{"app", "bucket", "add", "shop", "a/b/c"},
		{"app", "bucket", "add", "shop", "/b"},
		{"bucket", "create", "b"},
		{"audit", "list", "--target", "application"},
		{"audit", "list", "-n", "-1"},
		{"audit", "list", "--outcome", "good"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			r := run(t, " \n", args...)
			if r.code != cli.ExitUsage || r.stdout != "" || !strings.HasPrefix(r.stderr, "mintmark: error: ") || !strings.Contains(r.stderr, "\nhint: ") {
				t.Errorf("%s", r.golden())
			}
		})
	}
}
