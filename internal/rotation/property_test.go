package rotation_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/rotation"
)

// TestRandomLives drives one application after another through random sequences of time, fetches, logins, refused and
// half-done puts, lost claims, restarts, destinations that come and go, and wishes for a rotation. After every step:
//   - for every object in a bucket that is a destination an accepted version exists;
//   - what an application fetched within the grace is accepted;
//   - no more than MaxLive versions are accepted, at most one is prepared, and a sealed document is there exactly then;
//   - no version retires without evidence before the longest overlap.
//
// And when every bucket works again, one more rotation arrives everywhere.
func TestRandomLives(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		var n atomic.Int64
		rapid.Check(t, func(rt *rapid.T) {
			l := &life{world: w, rt: rt, app: fmt.Sprintf("app%d", n.Add(1)), k: w.kinds[0], buckets: map[string]objstore.Fault{}, s: w.node()}
			l.live()
		})
	})
}

type life struct {
	*world
	rt      *rapid.T
	s       *rotation.Service
	app     string
	k       *testKind
	buckets map[string]objstore.Fault // destinations, and what is wrong with each
	steal   atomic.Bool               // the next put finds afterwards that another node has the claim
	fetched struct {
		document
		at time.Time
	}
}

func (l *life) live() {
	l.memory.Break(func(c objstore.Call) objstore.Fault {
		if l.steal.CompareAndSwap(true, false) {
			l.claim(l.app, l.k.name)
		}
		return l.buckets[c.Bucket]
	})
	defer l.memory.Break(nil)
	l.s.HoldBy(held)
	l.application(l.s, l.app)
	for range rapid.IntRange(5, 30).Draw(l.rt, "steps") {
		l.act()
		l.check()
	}
	// Everything heals.
	for b := range l.buckets {
		l.buckets[b] = objstore.None
	}
	if len(l.buckets) == 0 {
		l.add("delta") // the one that no step has used
	}
	l.recover(l.s, l.app, l.k.name)
	l.clock.Advance(policy.MaxOverlap) // those that hold the places of the next go
	l.recover(l.s, l.app, l.k.name)
	l.check()
	newest := l.credential(l.s, l.app, l.k.name).Versions[0]
	if newest.State != "active" {
		l.rt.Fatalf("after everything healed: %+v", l.credential(l.s, l.app, l.k.name))
	}
	for b := range l.buckets {
		if doc, ok := l.published(b, l.app, l.k); !ok || doc.Version != newest.Version {
			l.rt.Fatalf("after everything healed bucket %s shows %d, want %d", b, doc.Version, newest.Version)
		}
	}
}

func (l *life) act() {
	switch rapid.SampledFrom([]string{"run", "run", "run", "wait", "wait", "long wait", "fetch", "login", "break", "heal", "add", "remove", "ask", "restart", "steal"}).Draw(l.rt, "act") {
	case "run":
		if _, err := l.run(l.s, l.app, l.k.name); err != nil {
			l.rt.Fatal(err)
		}
	case "steal": // a second node runs while the first is in the middle of it
		l.steal.Store(true)
		_, _ = l.run(l.s, l.app, l.k.name) // lost, or nothing to put
		l.steal.Store(false)
	case "wait":
		l.clock.Advance(time.Duration(rapid.IntRange(1, 40).Draw(l.rt, "minutes")) * time.Minute)
	case "long wait":
		l.clock.Advance(time.Duration(rapid.IntRange(1, 30).Draw(l.rt, "hours")) * time.Hour)
	case "fetch":
		if b, ok := l.any(); ok {
			if doc, ok := l.published(b, l.app, l.k); ok {
				l.fetched.document, l.fetched.at = doc, l.clock.Now()
			}
		}
	case "login":
		if l.fetched.Version > 0 {
			l.login(l.k, l.fetched.document)
		}
	case "break":
		if b, ok := l.any(); ok {
			l.buckets[b] = rapid.SampledFrom([]objstore.Fault{objstore.Lost, objstore.Unreported, objstore.Forbidden, objstore.Unavailable, objstore.BucketGone}).Draw(l.rt, "fault")
		}
	case "heal":
		if b, ok := l.any(); ok {
			l.buckets[b] = objstore.None
		}
	case "add":
		l.add(rapid.SampledFrom([]string{"alpha", "beta", "gamma"}).Draw(l.rt, "bucket"))
	case "remove":
		if b, ok := l.any(); ok {
			delete(l.buckets, b)
			l.write(func(ctx context.Context, tx db.WriteTx) error {
				return l.s.RemoveDestination(ctx, tx, system, l.app, rotation.Destination{Store: "local", Bucket: b})
			})
		}
	case "ask":
		if len(l.buckets) > 0 {
			l.write(func(ctx context.Context, tx db.WriteTx) error { return l.s.AskRotation(ctx, tx, system, l.app, nil) })
		}
	case "restart":
		l.s = l.node()
	}
}

// any draws a destination.
func (l *life) any() (string, bool) {
	var all []string
	for b := range l.buckets {
		all = append(all, b)
	}
	if len(all) == 0 {
		return "", false
	}
	slices.Sort(all)
	return rapid.SampledFrom(all).Draw(l.rt, "bucket"), true
}

// add makes a bucket a destination. One that was a destination before begins empty: what an earlier time left there is
// nobody's promise.
func (l *life) add(b string) {
	if _, ok := l.buckets[b]; ok {
		return
	}
	if _, ok := l.published(b, l.app, l.k); ok {
		return
	}
	l.buckets[b] = objstore.None
	l.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := l.s.AddDestination(ctx, tx, system, l.app, rotation.Destination{Store: "local", Bucket: b})
		return err
	})
}

func (l *life) check() {
	for b := range l.buckets {
		if doc, ok := l.published(b, l.app, l.k); ok && !l.accepted(l.k, doc) {
			l.rt.Fatalf("bucket %s shows version %d, which is refused: %s", b, doc.Version, l.states(l.s, l.app, l.k.name))
		}
	}
	if l.fetched.Version > 0 && l.clock.Now().Sub(l.fetched.at) <= policy.Grace && !l.accepted(l.k, l.fetched.document) {
		l.rt.Fatalf("version %d was fetched %v ago and is refused: %s", l.fetched.Version, l.clock.Now().Sub(l.fetched.at), l.states(l.s, l.app, l.k.name))
	}
	live, sealed, prepared := 0, 0, 0
	for _, v := range l.credential(l.s, l.app, l.k.name).Versions {
		switch {
		case v.State == "prepared":
			prepared++
			live++
		case v.State != "retired":
			live++
		case v.Forced != (v.Retired.Sub(*v.Retiring) >= policy.MaxOverlap), v.Retired.Sub(*v.Retiring) < policy.Grace:
			l.rt.Fatalf("retired too early or without an alert: %+v", v)
		}
	}
	l.read(func(ctx context.Context, tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT COUNT(*) FROM rotation_versions WHERE application = $1 AND kind = $2 AND sealed IS NOT NULL`, l.app, l.k.name).Scan(&sealed)
	})
	if live > policy.MaxLive || prepared > 1 || sealed != prepared {
		l.rt.Fatalf("%d live, %d prepared, %d sealed: %s", live, prepared, sealed, l.states(l.s, l.app, l.k.name))
	}
}
