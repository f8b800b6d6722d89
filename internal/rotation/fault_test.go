//go:build faultinject

package rotation_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/rotation"
)

// The failpoints of a rotation in the order of its steps. docs/faults-rotation.md tells what a crash at each leaves.
var points = []string{
	"rotation.beforePrepare", "rotation.afterPrepare",
	"rotation.beforePut", "rotation.afterPut",
	"rotation.beforeRecord", "rotation.afterRecord",
	"rotation.beforeRetire", "rotation.afterRetire",
}

// What is done at a failpoint. An error before a step is a step that was lost; an error after it is one that was done but
// reported lost. Killed: the node stops there for ever, nothing of it is cleaned up, and a new one takes over when its
// claim has run out. Paused: it wakes up again after the others have finished this rotation and the next one. Cancelled:
// it is told to stop, as at shutdown.
type mode string

const (
	failing   mode = "error"
	killed    mode = "killed"
	paused    mode = "paused"
	cancelled mode = "cancelled"
)

// TestFaultTable does a whole rotation with each fault at each step, on both engines. After every step of any node a
// prober checks that what lies in every bucket and what the application holds is accepted.
func TestFaultTable(t *testing.T) {
	for _, point := range points {
		for _, m := range []mode{failing, killed, paused, cancelled} {
			for _, hit := range []int{1, 2} {
				if hit == 2 && !slices.Contains(points[2:4], point) {
					continue // only puts happen twice in a rotation: one for each bucket
				}
				t.Run(strings.TrimPrefix(point, "rotation.")+"/"+string(m)+map[int]string{1: "", 2: "/second bucket"}[hit], func(t *testing.T) {
					engines(t, func(t *testing.T, w *world) {
						(&faulty{world: w, t: t, mode: m, point: point, hit: hit}).run()
					})
				})
			}
		}
	}
}

type faulty struct {
	*world
	t      *testing.T
	mode   mode
	point  string
	hit    int
	frozen chan struct{} // closed when a node stands still at the point
	thaw   chan struct{} // closed to let it go on
	ended  chan error    // of the run that stands still
	stop   context.CancelFunc
	held   []document // what the application held at some time since the old version became active
	mu     sync.Mutex
	// The prober runs under the read lock; over is set under the write lock at the end.
	probing sync.RWMutex
	over    bool
}

func (f *faulty) run() {
	f.frozen, f.thaw = make(chan struct{}), make(chan struct{})
	defer func() {
		f.probing.Lock()
		defer f.probing.Unlock()
		f.over = true
	}()
	k := f.kinds[0]
	s := f.node()
	f.application(s, "a1", "alpha", "beta")
	f.recover(s, "a1", password)
	f.use("alpha", "a1", k)
	old, _ := f.published("alpha", "a1", k)
	f.keep(old)
	f.clock.Advance(3 * time.Hour)
	f.use("alpha", "a1", k)
	before := failpoint.Fired(f.point)
	f.arm()

	// The rotation, with the fault on the way if it is in this part, and then what the next node finds.
	f.attempt(s)
	s = f.node()
	f.recover(s, "a1", password)
	f.step()
	f.expect(s, "a1", password, "2 active, 1 retiring")
	f.noSealed(0)

	// The application fetches the new version, and the old one may go: the second part.
	f.clock.Advance(20 * time.Minute)
	f.use("beta", "a1", k)
	f.clock.Advance(11 * time.Minute)
	f.forgetHeld(old)
	f.attempt(s)
	s2 := f.node()
	f.clock.Advance(31 * time.Minute) // a new node watches for a grace before it believes
	f.recover(s2, "a1", password)
	f.step()
	f.expect(s2, "a1", password, "2 active, 1 retired")
	if got := failpoint.Fired(f.point) - before; got == 0 {
		f.t.Fatal("the fault did not happen")
	}
	if f.accepted(k, old) {
		f.t.Fatal("the retired version is accepted")
	}
	f.exactlyOnce()
	if f.mode == paused {
		f.wakeUp(s2)
	}
}

// exactlyOnce: one new version came to be, and each step is in the log once.
func (f *faulty) exactlyOnce() {
	f.t.Helper()
	n := 0
	f.read(func(ctx context.Context, tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM test_secrets WHERE kind = $1 AND app = $2`, password, "a1").Scan(&n)
	})
	if n != 2 {
		f.t.Fatalf("%d versions were made, want the first and one new", n)
	}
	for action, want := range map[string]int{"credential.prepare": 2, "credential.activate": 2, "credential.retire": 1, "credential.deliver": 4} {
		if got := f.events("a1", action); got != want {
			f.t.Fatalf("%d events %s, want %d", got, action, want)
		}
	}
	f.noSealed(0)
}

// arm makes every failpoint probe, and the chosen one do its fault once.
func (f *faulty) arm() {
	for _, p := range points {
		if p != f.point {
			f.t.Cleanup(failpoint.Set(p, 0, func() error { f.step(); return nil }))
		}
	}
	f.t.Cleanup(failpoint.Set(f.point, f.hit, func() error {
		f.step()
		switch f.mode {
		case failing:
			return failpoint.ErrInjected
		case cancelled:
			f.stop()
			return failpoint.ErrInjected
		}
		close(f.frozen)
		<-f.thaw
		return nil
	}))
}

// attempt runs the job until it ends or stands still.
func (f *faulty) attempt(s *rotation.Service) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	f.stop = cancel
	j := f.claim("a1", password)
	done := make(chan error, 1)
	go func() {
		_, err := s.Rotate(ctx, j)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil && f.mode == failing && !errors.Is(err, jobs.ErrLost) {
			f.t.Logf("the job ended with %v", err)
		}
	case <-f.frozen:
		f.frozen, f.ended = make(chan struct{}), done // it does not happen again
		f.clock.Advance(time.Minute)                  // the claim has run out
	}
	f.step()
}

func (f *faulty) keep(d document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = append(f.held, d)
}

func (f *faulty) forgetHeld(d document) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = slices.DeleteFunc(f.held, func(x document) bool { return x == d })
}

// step is the prober. It runs on the goroutine of whoever hits a failpoint, beside the test itself, so it reports without
// ending the test; and what it finds refused it reads again, because it may have been replaced in between.
func (f *faulty) step() {
	f.probing.RLock()
	defer f.probing.RUnlock()
	if f.over { // what is left of a killed node outlives the test
		return
	}
	k := f.kinds[0]
	for _, b := range []string{"alpha", "beta"} {
		doc, ok := f.published(b, "a1", k)
		if ok && f.accepted(k, doc) {
			continue
		}
		if now, _ := f.published(b, "a1", k); now == doc {
			f.t.Errorf("bucket %s shows version %d (there: %v), which is refused", b, doc.Version, ok)
		}
	}
	for _, doc := range f.holds() {
		if !f.accepted(k, doc) && slices.Contains(f.holds(), doc) {
			f.t.Errorf("version %d, which the application holds, is refused", doc.Version)
		}
	}
}

func (f *faulty) holds() []document {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.held)
}

// wakeUp lets the paused node go on after another rotation. Whatever it still does, the buckets end at the newest version.
func (f *faulty) wakeUp(s *rotation.Service) {
	f.t.Helper()
	f.clock.Advance(3 * time.Hour)
	f.recover(s, "a1", password)
	f.use("alpha", "a1", f.kinds[0])
	fresh := f.claim("a1", password) // its claim is lost for good
	close(f.thaw)
	// Lost at its next step, or it finds nothing left to do.
	if err := <-f.ended; err != nil && !errors.Is(err, jobs.ErrLost) {
		f.t.Fatalf("the node that woke up ended with %v", err)
	}
	if _, err := s.Rotate(f.t.Context(), fresh); err != nil {
		f.t.Fatal(err)
	}
	f.recover(s, "a1", password)
	newest := f.credential(s, "a1", password).Versions[0]
	if newest.State != "active" {
		f.t.Fatalf("%+v", newest)
	}
	for _, b := range []string{"alpha", "beta"} {
		if doc, _ := f.published(b, "a1", f.kinds[0]); doc.Version != newest.Version {
			f.t.Fatalf("bucket %s ends at version %d, want %d", b, doc.Version, newest.Version)
		}
	}
	f.step()
	f.noSealed(0)
}

// A fault while it is noticed that a delivery was lost: one wish, one version.
func TestFaultsWhenADeliveryWasLost(t *testing.T) {
	for _, point := range []string{"rotation.beforeRenew", "rotation.afterRenew"} {
		t.Run(strings.TrimPrefix(point, "rotation."), func(t *testing.T) {
			engines(t, func(t *testing.T, w *world) {
				s := w.node()
				w.application(s, "a1", "alpha")
				w.recover(s, "a1", password)
				w.clock.Advance(3 * time.Hour)
				w.refuse(objstore.Forgotten, "alpha")
				w.recover(s, "a1", password)
				before := failpoint.Fired(point)
				t.Cleanup(failpoint.Set(point, 1, func() error { return failpoint.ErrInjected }))
				for range 10 {
					w.clock.Advance(7 * time.Minute)
					w.use("alpha", "a1", w.kinds[0])
					w.recover(s, "a1", password)
				}
				if failpoint.Fired(point)-before != 1 {
					t.Fatal("the fault did not happen")
				}
				w.expect(s, "a1", password, "3 active, 2 retiring, 1 retiring")
				if n := w.events("a1", "credential.rotate"); n != 1 {
					t.Fatalf("%d wishes", n)
				}
			})
		})
	}
}

// The version is committed by itself when the last destination that lacked it is taken away.
func TestFaultsAtTheCommit(t *testing.T) {
	for _, point := range []string{"rotation.beforeCommit", "rotation.afterCommit"} {
		t.Run(strings.TrimPrefix(point, "rotation."), func(t *testing.T) {
			engines(t, func(t *testing.T, w *world) {
				s := w.node()
				w.application(s, "a1", "alpha", "beta")
				w.recover(s, "a1", password)
				w.clock.Advance(3 * time.Hour)
				w.refuse(objstore.Forbidden, "beta")
				w.mustRun(s, "a1")
				w.expect(s, "a1", password, "2 prepared, 1 active")
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					return s.RemoveDestination(ctx, tx, system, "a1", rotation.Destination{Store: "local", Bucket: "beta"})
				})
				before := failpoint.Fired(point)
				t.Cleanup(failpoint.Set(point, 1, func() error { return failpoint.ErrInjected }))
				w.recover(s, "a1", password)
				if failpoint.Fired(point)-before != 1 {
					t.Fatal("the fault did not happen")
				}
				w.expect(s, "a1", password, "2 active, 1 retiring")
				if n := w.events("a1", "credential.activate"); n != 2 {
					t.Fatalf("%d activations", n)
				}
			})
		})
	}
}
