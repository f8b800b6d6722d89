package rotation_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/rotation"
)

// Two nodes with real clocks, queues and leases rotate every second, while an application logs in all the time with what
// it fetched last. It is never refused.
func TestTwoNodesForReal(t *testing.T) {
	for _, e := range dbtest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			url := dbtest.URL(t, e)
			w := newWorldOn(t, dbtest.OpenURL(t, url, clock.System), nil)
			quick := lifecycle.Policy{Period: time.Second, Grace: 2 * time.Second, MaxOverlap: time.Minute, MaxLive: 4}
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			defer group.Wait()
			defer cancel()
			var nodes []*rotation.Service
			for range 2 {
				d := dbtest.OpenURL(t, url, clock.System)
				o := w.options()
				o.Policies, o.Clock = map[string]lifecycle.Policy{password: quick, "client-secret": quick}, clock.System
				s, err := rotation.New(d, w.keyring, o)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Start(ctx); err != nil {
					t.Fatal(err)
				}
				r := jobs.NewRunner(d, jobs.Options{})
				r.Handle(rotation.JobKind, s.Rotate)
				group.Go(func() { _ = r.Run(ctx) })
				nodes = append(nodes, s)
			}
			w.application(nodes[0], "a1", "alpha", "beta")
			for w.events("a1", "credential.retire") < 6 {
				for _, k := range w.kinds {
					for _, b := range []string{"alpha", "beta"} {
						o, err := w.memory.Get(ctx, b, "a1/"+k.object, "")
						if err != nil {
							continue // not there yet
						}
						var doc document
						if err := json.Unmarshal(o.Body, &doc); err != nil {
							t.Fatal(err)
						}
						// On a slow machine it may be replaced and retired between the two.
						if w.login(k, doc) {
							continue
						}
						if now, _ := w.published(b, "a1", k); now == doc {
							t.Fatalf("%s of bucket %s, version %d, is refused", k.object, b, doc.Version)
						}
					}
				}
				select {
				case <-t.Context().Done():
					t.Fatalf("it does not rotate: %+v", w.status(nodes[0], "a1"))
				case <-time.After(5 * time.Millisecond):
				}
			}
			for _, c := range w.status(nodes[0], "a1").Credentials {
				for _, v := range c.Versions {
					if v.Forced {
						t.Errorf("%s version %d was retired by force although its successor was in use", c.Kind, v.Version)
					}
				}
			}
		})
	}
}

// A wish wakes a job that waits for hours, and a change of the policy plans the jobs anew.
func TestJobsAreWoken(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		due := func() (at time.Time) {
			t.Helper()
			w.read(func(ctx context.Context, tx db.ReadTx) error {
				st, err := jobs.Get(ctx, tx, rotation.JobKind, "a1/"+password)
				at = st.Due
				return err
			})
			return at
		}
		sleep := func() {
			t.Helper()
			w.recover(s, "a1", password)
			w.write(func(ctx context.Context, tx db.WriteTx) error { // what the queue does with the job's answer
				if err := jobs.Cancel(ctx, tx, rotation.JobKind, "a1/"+password); err != nil {
					return err
				}
				return jobs.Schedule(ctx, tx, rotation.JobKind, "a1/"+password, tx.Now().Add(2*time.Hour))
			})
		}
		woken := func(what string, f func(ctx context.Context, tx db.WriteTx) error) {
			t.Helper()
			sleep()
			w.write(f)
			if !due().Equal(w.clock.Now()) {
				t.Errorf("%s: the job is due at %v, want now (%v)", what, due(), w.clock.Now())
			}
		}
		beta := rotation.Destination{Store: "local", Bucket: "beta"}
		woken("asked", func(ctx context.Context, tx db.WriteTx) error { return s.AskRotation(ctx, tx, system, "a1", nil) })
		woken("destination added", func(ctx context.Context, tx db.WriteTx) error {
			_, err := s.AddDestination(ctx, tx, system, "a1", beta)
			return err
		})
		woken("destination removed", func(ctx context.Context, tx db.WriteTx) error {
			return s.RemoveDestination(ctx, tx, system, "a1", beta)
		})
		woken("application changed", func(ctx context.Context, tx db.WriteTx) error { return s.Plan(ctx, tx, "a1") })

		sleep()
		s = w.node()
		if due().Equal(w.clock.Now()) {
			t.Error("a start with the same policy woke every job")
		}
		o := w.options()
		shorter := policy
		shorter.Period = time.Hour
		o.Policies[password] = shorter
		changed, err := rotation.New(w.d, w.keyring, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := changed.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !due().Equal(w.clock.Now()) {
			t.Error("a start with another policy did not wake the job")
		}

		w.activate(s, "a1", false)
		w.read(func(ctx context.Context, tx db.ReadTx) error {
			if st, err := jobs.Get(ctx, tx, rotation.JobKind, "a1/"+password); err == nil {
				t.Errorf("an inactive application has a job: %+v", st)
			}
			return nil
		})
		if r, err := changed.Rotate(t.Context(), jobs.Job{Kind: rotation.JobKind, Key: "a1/nonsense"}); err == nil {
			t.Errorf("a job of an unknown kind: %+v", r)
		}
	})
}

// However many applications there are, a changed policy plans them all anew, and none that was deactivated.
func TestManyArePlannedAnew(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		const n = 450
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			for i := range n {
				if err := s.Plan(ctx, tx, fmt.Sprintf("app%d", i)); err != nil {
					return err
				}
			}
			if err := s.Deactivate(ctx, tx, "app7"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `UPDATE jobs SET due = due + 3600000000`)
			return err
		})
		o := w.options()
		shorter := policy
		shorter.Period = time.Hour
		o.Policies[password] = shorter
		changed, err := rotation.New(w.d, w.keyring, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second finds nothing to plan
			if err := changed.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			now := 0
			w.read(func(ctx context.Context, tx db.ReadTx) error {
				return tx.QueryRow(ctx, `SELECT COUNT(*) FROM jobs WHERE kind = $1 AND due <= $2`, rotation.JobKind, db.Micros(tx.Now())).Scan(&now)
			})
			if now != n-1 {
				t.Fatalf("%d jobs are due, want %d", now, n-1)
			}
		}
	})
}

// BenchmarkRotation is one full rotation of both kinds: prepared, put to a memory store and a directory store, recorded
// and committed.
func BenchmarkRotation(b *testing.B) {
	for _, e := range dbtest.Engines(b) {
		b.Run(string(e), func(b *testing.B) {
			w := newWorld(b, e)
			root := b.TempDir()
			mkdir(b, root, "beta")
			directory, err := objstore.NewDirectory(root)
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := directory.Close(); err != nil {
					b.Error(err)
				}
			}()
			o := w.options()
			o.Stores = twoStores{"local": w.memory, "aws": directory}
			s, err := rotation.New(w.d, w.keyring, o)
			if err != nil {
				b.Fatal(err)
			}
			s.HoldBy(held)
			w.application(s, "a1", "alpha")
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				_, err := s.AddDestination(ctx, tx, system, "a1", rotation.Destination{Store: "aws", Bucket: "beta"})
				return err
			})
			var claims []jobs.Job
			for _, k := range w.kinds {
				claims = append(claims, w.claim("a1", k.name))
			}
			for b.Loop() {
				// A day and a bit later the version before last goes by the hard limit, so that each rotation also retires one.
				w.clock.Advance(25 * time.Hour)
				for _, j := range claims {
					if _, err := s.Rotate(b.Context(), j); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			if c := w.credential(s, "a1", password); !strings.HasPrefix(c.Waiting, "not due") {
				b.Fatalf("%+v", c)
			}
		})
	}
}

type twoStores map[string]objstore.Store

func (t twoStores) Open(name string) (objstore.Store, error) { return t[name], nil }
func (twoStores) Names() []string                            { return []string{"local", "aws"} }
