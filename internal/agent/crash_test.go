//go:build unix && faultinject

package agent_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mintmark/mintmark/internal/agent"
	"github.com/mintmark/mintmark/internal/redact"
)

// The steps of a cycle in their order. A process killed at any of them must leave one whole generation, the old one or
// the new one, and the next start must bring the new one and have the hook told of it exactly as often as promised.
var steps = []struct {
	name    string
	swapped bool // readers have moved on
	told    bool // the hook ran
}{
	{"agent.wrote.user.json", false, false},
	{"agent.wrote.client.json", false, false},
	{"agent.named", false, false},
	{"agent.linked.user.json", false, false},
	{"agent.linked.client.json", false, false},
	{"agent.swapped", true, false},
	{"agent.swept", true, false},
	{"agent.beforeHook", true, false},
	{"agent.afterHook", true, true},
}

func crashConfiguration(dir, endpoint, hookOutput string) agent.Config {
	return agent.Config{
		Application: "sales", Bucket: "bucket", Dir: dir, Endpoint: endpoint, Region: "eu-central-1",
		AccessKeyID: "k", Secret: redact.New("s"),
		Hook: []string{"/bin/sh", "-c", `echo "$MINTMARK_GENERATION" >>"$0"`, hookOutput},
	}
}

// TestMain is the agent itself when the test below runs this binary as a process to be killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("AGENT_TEST_DIR"); dir != "" {
		a, err := agent.New(crashConfiguration(dir, os.Getenv("AGENT_TEST_ENDPOINT"), os.Getenv("AGENT_TEST_OUTPUT")))
		if err == nil {
			_, err = a.Once(ctx)
		}
		os.Exit(agent.ExitCode(err))
	}
	os.Exit(m.Run())
}

func TestKilledAtEachStep(t *testing.T) {
	s := newStore(t)
	for _, first := range []bool{true, false} {
		for _, step := range steps {
			name := step.name
			if !first && strings.HasPrefix(name, "agent.linked") {
				continue // the links exist
			}
			if first {
				name += " at the first start"
			}
			t.Run(name, func(t *testing.T) {
				dir, output := filepath.Join(t.TempDir(), "credentials"), filepath.Join(t.TempDir(), "hook")
				c := crashConfiguration(dir, s.url, output)
				var want []string
				s.deliver(1)
				version, generation := 1, "1"
				if !first {
					once(t, c)
					want = append(want, "1")
					s.deliver(2)
					version, generation = 2, "2"
				}
				kill(t, step.name, dir, s.url, output)
				switch {
				case step.swapped:
					wantPair(t, dir, version, version)
				case first:
					if _, err := os.Stat(filepath.Join(dir, "user.json")); !errors.Is(err, os.ErrNotExist) {
						t.Errorf("user.json after the crash: %v", err)
					}
				default:
					wantPair(t, dir, 1, 1)
				}
				once(t, c)
				once(t, c)
				wantPair(t, dir, version, version)
				if step.told {
					want = append(want, generation) // died between hook and note: told again
				}
				if !step.swapped && !strings.HasPrefix(step.name, "agent.wrote") {
					generation = next(generation) // the number of the generation that nobody saw is not used again
				}
				want = append(want, generation)
				if got := strings.Fields(read(t, output)); strings.Join(got, " ") != strings.Join(want, " ") {
					t.Errorf("the hook was told of %v, want %v", got, want)
				}
				s.deliver(9)
				once(t, c) // sweeps
				if left, err := filepath.Glob(filepath.Join(dir, ".generations", ".new-*")); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v %v", left, err)
				}
				if left, err := filepath.Glob(filepath.Join(dir, ".new-*")); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v %v", left, err)
				}
			})
		}
	}
}

func next(generation string) string { return string(generation[0] + 1) }

// kill runs the agent as a process of its own, which dies by SIGKILL at the failpoint.
func kill(t *testing.T, failpoint, dir, endpoint, output string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "MINTMARK_FAILPOINTS="+failpoint+"=kill", "AGENT_TEST_DIR="+dir, "AGENT_TEST_ENDPOINT="+endpoint, "AGENT_TEST_OUTPUT="+output)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the process was not killed at %s: %v\n%s", failpoint, err, out)
	}
}
