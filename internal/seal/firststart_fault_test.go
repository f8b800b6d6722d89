//go:build faultinject

package seal_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/seal"
)

// firstStartSteps are the rows of the table in root.go, with what the step leaves on disk.
var firstStartSteps = []struct {
	name    string
	keyFile bool // the key file exists when the step is hit
	keyring bool // and the keyring
}{
	{"seal.beforeTempFile", false, false},
	{"seal.duringTempFile", false, false},
	{"seal.afterTempFile", false, false},
	{"seal.afterRename", true, false},
	{"seal.afterDirSync", true, false},
	{"seal.beforeCommit", true, false},
	{"seal.afterCommit", true, true},
}

// TestFirstStartFaults stops the first start at each step, by an error that is handled and by a panic that is not, and
// starts again.
func TestFirstStartFaults(t *testing.T) {
	stops := map[string]func() error{
		"error": func() error { return failpoint.ErrInjected },
		"panic": func() error { panic(failpoint.ErrInjected) },
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for _, step := range firstStartSteps {
			for how, act := range stops {
				t.Run(step.name+"/"+how, func(t *testing.T) {
					statement(t, d, `DELETE FROM seal_keys`)
					statement(t, d, `DELETE FROM seal_roots`)
					path := keyPath(t)
					fired := failpoint.Fired(step.name)
					clear := failpoint.Set(step.name, 1, act)
					err := stopped(func() error { _, err := seal.Open(t.Context(), d, path, quiet); return err })
					clear()
					if !errors.Is(err, failpoint.ErrInjected) || failpoint.Fired(step.name) != fired+1 {
						t.Fatalf("the fault did not happen: %v", err)
					}
					checkLeft(t, d, path, step.keyFile, step.keyring)
					checkStartsAgain(t, d, path)
				})
			}
		}
	})
}

// stopped turns the panic of a failpoint into its error.
func stopped(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = p.(error)
		}
	}()
	return f()
}

// TestFirstStartKilled does the same with a process that is killed.
func TestFirstStartKilled(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		for _, step := range firstStartSteps {
			t.Run(string(engine)+"/"+step.name, func(t *testing.T) {
				url, path := dbtest.URL(t, engine), keyPath(t)
				child := exec.Command(os.Args[0], "-test.run=^TestFirstStartChild$")
				child.Env = append(os.Environ(), "MINTMARK_FAILPOINTS="+step.name+"=kill", childURL+"="+url, childPath+"="+path)
				out, err := child.CombinedOutput()
				if err == nil || !strings.Contains(err.Error(), "killed") {
					t.Fatalf("the child was not killed: %v\n%s", err, out)
				}
				d := dbtest.OpenURL(t, url, clock.System)
				checkLeft(t, d, path, step.keyFile, step.keyring)
				checkStartsAgain(t, d, path)
			})
		}
	}
}

const childURL, childPath = "MINTMARK_TEST_CHILD_URL", "MINTMARK_TEST_CHILD_PATH"

// TestFirstStartChild is the process that TestFirstStartKilled kills; by itself it does nothing.
func TestFirstStartChild(t *testing.T) {
	if url := os.Getenv(childURL); url != "" {
		open(t, dbtest.OpenURL(t, url, clock.System), os.Getenv(childPath))
	}
}

func checkLeft(t *testing.T, d *db.DB, path string, keyFile, keyring bool) {
	t.Helper()
	if _, err := os.Stat(path); (err == nil) != keyFile {
		t.Errorf("key file: %v, want it there: %v", err, keyFile)
	}
	if got := len(dump(t, d)) > 0; got != keyring {
		t.Errorf("keyring there: %v, want %v", got, keyring)
	}
}

func checkStartsAgain(t *testing.T, d *db.DB, path string) {
	t.Helper()
	left := ""
	if root, err := seal.LoadRoot(path); err == nil {
		left = root.ID()
	}
	k := open(t, d, path)
	if left != "" && left != k.RootID() {
		t.Errorf("root %s was left, and root %s came", left, k.RootID())
	}
	if got := dump(t, d); len(got) != 1+len(seal.Purposes()) {
		t.Errorf("the keyring has %d rows, want one root and one term for each purpose", len(got))
	}
	if files := list(t, path); len(files) != 1 || files[0] != filepath.Base(path) {
		t.Errorf("files %v, want the key file alone", files)
	}
	if again := open(t, d, path); again.RootID() != k.RootID() {
		t.Error("a third start has another root")
	}
}
