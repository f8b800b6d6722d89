package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/rotation"
)

// watcher is a node that reports what it observes.
func (w *world) watcher(name string) *rotation.Service {
	w.t.Helper()
	o := w.options()
	o.Node = name
	s, err := rotation.New(w.d, w.keyring, o)
	if err != nil {
		w.t.Fatal(err)
	}
	s.HoldBy(held)
	if err := s.Start(context.WithoutCancel(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// pass lets time pass while the nodes report every few seconds.
func (w *world) pass(d time.Duration, nodes ...*rotation.Service) {
	w.t.Helper()
	for end := w.clock.Now().Add(d); w.clock.Now().Before(end); {
		w.clock.Advance(min(29*time.Second, end.Sub(w.clock.Now())))
		for _, s := range nodes {
			if err := s.Report(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// overlap brings the password of a1 to where version 2 is in use and version 1 may go after the grace, and reports.
func (w *world) overlap(nodes ...*rotation.Service) {
	w.t.Helper()
	w.application(nodes[0], "a1", "alpha")
	w.mustRun(nodes[0], "a1")
	w.use("alpha", "a1", w.kinds[0])
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		return nodes[0].AskRotation(ctx, tx, system, "a1", []string{password})
	})
	w.mustRun(nodes[0], "a1")
	w.expect(nodes[0], "a1", password, "2 active, 1 retiring")
	w.use("alpha", "a1", w.kinds[0])
}

const (
	overlapping = "2 active, 1 retiring"
	over        = "2 active, 1 retired"
)

func TestRetiresWhileNodesReport(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		a, b := w.watcher("a"), w.watcher("b")
		w.overlap(a, b)
		w.pass(policy.Grace-time.Second, a, b)
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, overlapping)
		w.pass(time.Second, a, b)
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, over)
	})
}

// Nodes that stop in order and start again, in turn or all at once for a moment, lose nothing that they saw: nothing is
// put off, however often it happens.
func TestOrderlyRestartsLoseNothing(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.watcher("n0")
		w.overlap(s)
		for i := range 30 {
			w.pass(time.Minute, s)
			if err := s.Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.clock.Advance(5 * time.Second)
			s = w.watcher(fmt.Sprintf("n%d", i+1))
		}
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, over)
	})
}

// In these times nobody could fetch the new version, or nobody noticed who used the old one. Whatever of it is found
// afterwards, by a job that runs before any node has reported, the old version gets its grace from then on.
func TestAnInterruptionIsNoTimeUnused(t *testing.T) {
	for name, d := range map[string]time.Duration{
		"database away for the grace": policy.Grace, "clock jumped an hour": time.Hour, "away longer than the longest overlap": policy.MaxOverlap + time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, w *world) {
				s := w.watcher("a")
				w.overlap(s)
				w.pass(time.Minute, s)
				w.clock.Advance(d)
				old := func() {
					t.Helper()
					w.mustRun(s, "a1")
					c := w.credential(s, "a1", password)
					if v := c.Versions[len(c.Versions)-1]; v.Version != 1 || v.State != "retiring" {
						t.Fatalf("%+v", v)
					}
				}
				old()
				w.pass(policy.Grace-time.Second, s)
				old()
				w.pass(time.Minute, s)
				w.use("alpha", "a1", w.kinds[0])
				w.mustRun(s, "a1")
				c := w.credential(s, "a1", password)
				if v := c.Versions[len(c.Versions)-1]; v.Version != 1 || v.State != "retired" {
					t.Fatalf("%+v", v)
				}
			})
		})
	}
}

// A node that says goodbye after an interruption that nobody has noted must not hide it.
func TestAGoodbyeHidesNoInterruption(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		a, b := w.watcher("a"), w.watcher("b")
		w.overlap(a, b)
		w.clock.Advance(policy.Grace + time.Minute)
		if err := a.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute, b)
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, overlapping)
	})
}

// A node that is cut off, stopped or killed holds uses that nobody else knows. What was used while it may still have
// served counts as used.
func TestANodeThatVanishes(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		a, b := w.watcher("a"), w.watcher("b")
		w.overlap(a, b)
		w.pass(policy.Grace-10*time.Second, a, b)
		w.pass(20*time.Second, b) // a is silent: does it see somebody use version 1?
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, overlapping)
		if why := w.credential(b, "a1", password).Versions[1].Waiting; !strings.Contains(why, "may still be in use") {
			t.Fatal(why)
		}
		w.pass(time.Minute, b)
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, overlapping)
		w.pass(policy.Grace-2*time.Minute, b)
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, overlapping)
		w.pass(time.Minute, b)
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, over)
	})
}

// The node was cut off for a moment, comes back, and writes what it had seen.
func TestANodeThatWasCutOff(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		a, b := w.watcher("a"), w.watcher("b")
		w.overlap(a, b)
		old := document{}
		w.read(func(ctx context.Context, tx db.ReadTx) error {
			old = document{App: "a1", Version: 1}
			return tx.QueryRow(ctx, `SELECT secret FROM test_secrets WHERE kind = $1 AND app = 'a1' AND version = 1`, password).Scan(&old.Secret)
		})
		w.pass(policy.Grace-10*time.Second, a, b)
		w.pass(20*time.Second, b)
		w.mustRun(b, "a1")
		if !w.login(w.kinds[0], old) { // what a saw, written late
			t.Fatal("refused")
		}
		w.pass(20*time.Second, a, b)
		w.mustRun(b, "a1")
		w.expect(b, "a1", password, overlapping)
	})
}

// Watch reports what flush has written, and nothing if it cannot.
func TestWatch(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.watcher("a")
		watchers := func() (n int) {
			w.read(func(ctx context.Context, tx db.ReadTx) error {
				return tx.QueryRow(ctx, `SELECT COUNT(*) FROM rotation_watchers`).Scan(&n)
			})
			return n
		}
		for name, c := range map[string]struct {
			err  error
			want int
		}{"what it saw could not be written": {errors.New("disk full"), 1}, "in order": {nil, 0}} {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Watch(ctx, func(context.Context) error { return c.err }); !errors.Is(err, c.err) {
				t.Fatalf("%s: %v", name, err)
			}
			if got := watchers(); got != c.want {
				t.Fatalf("%s: %d watchers are left, want %d", name, got, c.want)
			}
			if err := s.Report(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What became due in an interruption does not come all at once.
func TestDueInAnInterruption(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.watcher("a")
		var apps []string
		for i := range 20 {
			apps = append(apps, fmt.Sprintf("app%d", i))
			w.application(s, apps[i], "alpha")
			w.mustRun(s, apps[i])
		}
		w.clock.Advance(100 * time.Minute)
		if err := s.Report(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour) // the clock jumps
		rotated := func() (n int) {
			for _, app := range apps {
				w.mustRun(s, app)
				if w.credential(s, app, password).Versions[0].Version == 2 {
					n++
				}
			}
			return n
		}
		if n := rotated(); n > 5 {
			t.Fatalf("%d of 20 rotate at once", n)
		}
		w.pass(policy.Period/8+time.Minute, s)
		if n := rotated(); n != 20 {
			t.Fatalf("%d of 20 have rotated at last", n)
		}
	})
}
