package rotation_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/rotation"
)

func TestDestinationAddedAndRemoved(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1")
		w.mustRun(s, "a1")
		if c := w.credential(s, "a1", password); len(c.Versions) != 0 || !strings.Contains(c.Waiting, "no destination") {
			t.Fatalf("without a destination: %+v", c)
		}
		add := func(b string) {
			t.Helper()
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				_, err := s.AddDestination(ctx, tx, system, "a1", rotation.Destination{Store: "local", Bucket: b})
				return err
			})
		}
		remove := func(b string) {
			t.Helper()
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				return s.RemoveDestination(ctx, tx, system, "a1", rotation.Destination{Store: "local", Bucket: b})
			})
		}
		add("alpha")
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "1 active")

		// Added to an active application: both documents appear at once, by a new version.
		w.clock.Advance(time.Minute)
		add("beta")
		add("beta") // again: nothing
		w.mustRun(s, "a1")
		w.mustRun(s, "a1")
		for _, k := range w.kinds {
			w.expect(s, "a1", k.name, "2 active, 1 retiring")
			if doc, ok := w.published("beta", "a1", k); !ok || doc.Version != 2 {
				t.Fatalf("%s of the new bucket: %v %+v", k.object, ok, doc)
			}
		}

		// Added while a version is open: it goes there too, without another one.
		w.refuse(objstore.BucketGone, "beta")
		w.clock.Advance(3 * time.Hour)
		w.mustRun(s, "a1")
		add("gamma")
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "3 prepared, 2 active, 1 retiring")
		if doc, ok := w.published("gamma", "a1", w.kinds[0]); !ok || doc.Version != 3 {
			t.Fatalf("gamma: %v %+v", ok, doc)
		}

		// The last that lacks it is taken away: it commits.
		remove("beta")
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "3 active, 2 retiring, 1 retiring")
		w.noSealed(0)
		w.probe("a1", "alpha", "gamma")

		// All are taken away while one is open: nothing dies, and the version goes to the next destination.
		w.refuse(objstore.BucketGone, "alpha", "gamma")
		w.clock.Advance(3 * time.Hour)
		w.mustRun(s, "a1")
		remove("alpha")
		remove("gamma")
		w.mustRun(s, "a1")
		w.clock.Advance(time.Hour)
		w.mustRun(s, "a1")
		if c := w.credential(s, "a1", password); c.Versions[0].State != "prepared" || !strings.Contains(c.Waiting, "no destination") {
			t.Fatalf("%+v", c)
		}
		w.refuse(objstore.None)
		add("gamma")
		w.mustRun(s, "a1")
		if c := w.credential(s, "a1", password); c.Versions[0].State != "active" || c.Versions[0].Version != 4 {
			t.Fatalf("%+v", c)
		}
	})
}

func TestIdleApplication(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		var forcedAt time.Time
		for range 4 * 30 { // thirty hours
			w.recover(s, "a1", password)
			live := 0
			for _, v := range w.credential(s, "a1", password).Versions {
				if v.State != "retired" {
					live++
					continue
				}
				if !v.Forced || v.Retired.Sub(*v.Retiring) < policy.MaxOverlap {
					t.Fatalf("retired without evidence: %+v", v)
				}
				if forcedAt.IsZero() {
					forcedAt = w.clock.Now()
				}
			}
			if live > policy.MaxLive {
				t.Fatalf("%d live versions", live)
			}
			w.probe("a1", "alpha")
			w.clock.Advance(15 * time.Minute)
		}
		if forcedAt.Sub(t0) < 26*time.Hour || forcedAt.Sub(t0) > 27*time.Hour {
			t.Fatalf("the first version retired after %v, want its two hours and the longest overlap", forcedAt.Sub(t0))
		}
	})
}

// What happened while no server ran, or just before one died, nobody saw: it does not count as unused.
func TestAGapInTheObservationProvesNothing(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		w.recover(s, "a1", password)
		w.clock.Advance(3 * time.Hour)
		w.recover(s, "a1", password)
		w.use("alpha", "a1", w.kinds[0])
		w.clock.Advance(time.Hour)
		s = w.node() // restarted
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retiring")
		w.clock.Advance(29 * time.Minute)
		if err := w.node().ObservationGap(t.Context()); err != nil { // another node lost some
			t.Fatal(err)
		}
		w.clock.Advance(29 * time.Minute)
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retiring")
		w.clock.Advance(time.Minute)
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retired")
	})
}

// A store said "stored" and lost it: the application goes on with the old version. It is noticed and delivered again,
// once; the old version lives as long as it may.
func TestAForgottenDelivery(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		w.recover(s, "a1", password)
		w.clock.Advance(3 * time.Hour)
		w.refuse(objstore.Forgotten, "alpha")
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retiring")
		for range 7 {
			w.clock.Advance(10 * time.Minute)
			w.use("alpha", "a1", w.kinds[0])
			w.recover(s, "a1", password)
		}
		c := w.credential(s, "a1", password)
		if c.Versions[0].Version != 3 || c.Versions[0].Reason != "unseen" {
			t.Fatalf("%+v", c.Versions)
		}
		for range 4 {
			w.clock.Advance(10 * time.Minute)
			w.use("alpha", "a1", w.kinds[0])
			w.recover(s, "a1", password)
		}
		if st := w.status(s, "a1"); !st.HasProblems || !strings.Contains(st.Problems[0], "old version is in use") {
			t.Fatalf("%+v", st.Problems)
		}
		if n := len(w.credential(s, "a1", password).Versions); n != 3 {
			t.Fatalf("%d versions: it is delivered again once, not for ever", n)
		}
	})
}

func TestDeactivation(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha", "beta")
		w.recover(s, "a1", password)
		w.clock.Advance(3 * time.Hour)
		w.refuse(objstore.Forbidden, "beta")
		w.mustRun(s, "a1")
		w.activate(s, "a1", false)
		w.noSealed(0)
		w.expect(s, "a1", password, "2 retired, 1 retired")
		for _, b := range []string{"alpha", "beta"} {
			if doc, _ := w.published(b, "a1", w.kinds[0]); w.accepted(w.kinds[0], doc) {
				t.Fatalf("bucket %s shows an accepted version of an application that is not active", b)
			}
		}
		for range 3 {
			w.clock.Advance(3 * time.Hour)
			if r, err := w.run(s, "a1", password); err != nil || !r.Next.IsZero() {
				t.Fatalf("a job of an inactive application: %+v %v", r, err)
			}
		}
		w.expect(s, "a1", password, "2 retired, 1 retired")
		w.activate(s, "a1", false) // again: nothing

		w.refuse(objstore.None)
		w.activate(s, "a1", true)
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "3 active, 2 retired, 1 retired")
		w.probe("a1", "alpha", "beta")
	})
}

// Deactivated in the middle of a put: nothing of the rotation goes on, and nothing comes back to life.
func TestDeactivationDuringAPut(t *testing.T) {
	for name, again := range map[string]bool{"for good": false, "and activated again": true} {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, w *world) { deactivationDuringAPut(t, w, again) })
		})
	}
}

func deactivationDuringAPut(t *testing.T, w *world, again bool) {
	s := w.node()
	w.application(s, "a1", "alpha")
	store := newDeaf(w)
	slow, done := w.slowNode(store), make(chan error)
	j := w.claim("a1", password)
	go func() {
		_, err := slow.Rotate(context.WithoutCancel(t.Context()), j)
		done <- err
	}()
	<-store.in
	w.activate(s, "a1", false)
	if again {
		w.activate(s, "a1", true)
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retired")
	}
	store.out <- struct{}{}
	err := <-done
	if !again {
		if err != nil {
			t.Fatal(err)
		}
		w.expect(s, "a1", password, "1 retired")
		w.noSealed(0)
		return
	}
	// The version of the former life lies over the new one. It is refused, as it must be, and replaced at once.
	if !errors.Is(err, jobs.ErrLost) {
		t.Fatalf("%v", err)
	}
	w.recover(s, "a1", password)
	w.expect(s, "a1", password, "3 active, 2 retiring, 1 retired")
	w.probe("a1", "alpha")
}
