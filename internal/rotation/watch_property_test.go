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
	"github.com/mintmark/mintmark/internal/rotation"
)

// TestRandomObservation lets nodes come and go in order, be killed, be cut off from the database and come back, the
// database be away and its clock jump, while somebody logs in with the old version here and there. Whoever knew
// everything would say: it retires only when nobody used it for a grace, also not on a node that took the knowledge with
// it, and when there was a grace since the last interruption in which its successor could be fetched.
func TestRandomObservation(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		var n atomic.Int64
		rapid.Check(t, func(rt *rapid.T) {
			o := &observation{world: w, rt: rt, app: fmt.Sprintf("app%d", n.Add(1))}
			o.watch()
		})
	})
}

type observation struct {
	*world
	rt       *rapid.T
	app      string
	nodes    []*observer
	made     int
	used     time.Time // the old version, in truth
	reported time.Time // by any node
	resumed  time.Time // the end of the last interruption
	quiet    bool      // there was a grace without a use, and the use after it is not written anywhere yet
}

// sinceUse is how long the old version has not been used, as far as that proves something.
func (o *observation) sinceUse() time.Duration {
	return min(o.clock.Now().Sub(o.used), o.clock.Now().Sub(o.resumed))
}

type observer struct {
	s    *rotation.Service
	cut  time.Time // since when it has been cut off; zero: it is not
	seen time.Time // a use that is not written yet
}

func (o *observation) watch() {
	o.write(func(ctx context.Context, tx db.WriteTx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM rotation_watchers`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE rotation_watch SET since = 0, reported = 0, down = 0, up = 0`)
		return err
	})
	o.start()
	s := o.nodes[0].s
	o.application(s, o.app, "alpha")
	o.mustRun(s, o.app)
	o.write(func(ctx context.Context, tx db.WriteTx) error {
		return s.AskRotation(ctx, tx, system, o.app, []string{password})
	})
	o.mustRun(s, o.app)
	o.use("alpha", o.app, o.kinds[0])
	o.used, o.resumed = o.clock.Now(), o.clock.Now()
	for range rapid.IntRange(10, 30).Draw(o.rt, "steps") {
		o.act()
		if o.clock.Now().Sub(o.resumed) > 90*time.Minute {
			break // the next rotation is another story
		}
	}
}

func (o *observation) act() {
	var i int
	if len(o.nodes) > 0 {
		i = rapid.IntRange(0, len(o.nodes)-1).Draw(o.rt, "node")
	}
	act := rapid.SampledFrom([]string{"pass", "pass", "pass", "long", "use", "cut", "heal", "kill", "leave", "start", "jump", "run", "run"}).Draw(o.rt, "act")
	if len(o.nodes) == 0 && act != "jump" {
		act = "start"
	}
	switch act {
	case "pass":
		o.passing(time.Duration(rapid.IntRange(1, 25).Draw(o.rt, "seconds")) * time.Second)
	case "long":
		for range rapid.IntRange(5, 70).Draw(o.rt, "times") {
			o.passing(25 * time.Second)
		}
	case "use":
		if x := o.nodes[i]; x.cut.IsZero() || o.clock.Now().Sub(x.cut) <= 10*time.Second {
			if o.state() == "retiring" {
				o.quiet = o.quiet || o.sinceUse() >= policy.Grace
				x.seen, o.used = o.clock.Now(), o.clock.Now()
			}
		}
	case "cut":
		if o.nodes[i].cut.IsZero() {
			o.nodes[i].cut = o.clock.Now()
		}
	case "heal":
		o.nodes[i].cut = time.Time{}
	case "kill":
		o.nodes = slices.Delete(o.nodes, i, i+1)
	case "leave":
		if x := o.nodes[i]; x.cut.IsZero() {
			o.flush(x)
			if err := x.s.Leave(context.Background()); err != nil {
				o.rt.Fatal(err)
			}
			o.heard()
			o.nodes = slices.Delete(o.nodes, i, i+1)
		}
	case "start":
		o.start()
	case "jump":
		o.clock.Advance(time.Duration(rapid.IntRange(20, 3000).Draw(o.rt, "seconds")) * time.Second)
	case "run":
		if x := o.nodes[i]; x.cut.IsZero() {
			o.retire(x)
		}
	}
}

func (o *observation) retire(x *observer) {
	if o.state() != "retiring" {
		return
	}
	if _, err := o.run(x.s, o.app, password); err != nil {
		o.rt.Fatal(err)
	}
	if o.state() == "retiring" {
		return
	}
	now := o.clock.Now()
	if now.Sub(o.reported) > 30*time.Second {
		o.rt.Fatalf("retired although nobody reported for %v", now.Sub(o.reported))
	}
	if o.sinceUse() < policy.Grace && !o.quiet {
		o.rt.Fatalf("retired %v after its last use, %v after the last interruption", now.Sub(o.used), now.Sub(o.resumed))
	}
}

func (o *observation) start() {
	o.made++
	x := &observer{s: o.watcher(fmt.Sprintf("%s-%d", o.app, o.made))}
	o.nodes = append(o.nodes, x)
	o.heard()
}

// heard: somebody reports now.
func (o *observation) heard() {
	if o.clock.Now().Sub(o.reported) > 30*time.Second {
		o.resumed, o.quiet = o.clock.Now(), false
	}
	o.reported = o.clock.Now()
}

func (o *observation) passing(d time.Duration) {
	o.clock.Advance(d)
	for _, x := range o.nodes {
		if !x.cut.IsZero() {
			continue
		}
		o.flush(x)
		if err := x.s.Report(context.Background()); err != nil {
			o.rt.Fatal(err)
		}
		o.heard()
	}
}

// flush writes what the node has seen, unless the version has retired.
func (o *observation) flush(x *observer) {
	if x.seen.IsZero() {
		return
	}
	o.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := tx.Exec(ctx, `UPDATE test_secrets SET last_used = $3 WHERE kind = $1 AND app = $2 AND version = 1 AND accepted AND last_used < $3`,
			password, o.app, db.Micros(x.seen))
		return err
	})
	x.seen, o.quiet = time.Time{}, false
}

func (o *observation) state() (state string) {
	o.read(func(ctx context.Context, tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT state FROM rotation_versions WHERE application = $1 AND kind = $2 AND version = 1`, o.app, password).Scan(&state)
	})
	return state
}
