package db_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/id"
)

// nodes opens two handles on one database.
func nodes(t *testing.T, engine db.Engine, c clock.Clock) (one, two *db.DB) {
	t.Helper()
	url := dbtest.URL(t, engine)
	return dbtest.OpenURL(t, url, c), dbtest.OpenURL(t, url, c)
}

func onBoth(t *testing.T, f func(t *testing.T, engine db.Engine)) {
	t.Helper()
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, engine) })
	}
}

// ear collects what a topic delivers.
type ear chan []string

func listen(t *testing.T, d *db.DB, topic string) ear {
	t.Helper()
	e := make(ear, 100)
	d.Subscribe(topic, func(keys []string) { e <- keys })
	return e
}

func start(t *testing.T, d *db.DB) {
	t.Helper()
	stop, err := d.StartFeed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

// next waits for a delivery. The test's own deadline is the limit.
func (e ear) next(t *testing.T) []string {
	t.Helper()
	select {
	case keys := <-e:
		return keys
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was delivered")
		return nil
	}
}

func changed(t *testing.T, d *db.DB, topic string, keys ...string) {
	t.Helper()
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		for _, key := range keys {
			if err := tx.Changed(t.Context(), topic, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFeedReachesTheOtherNode(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		here, there := listen(t, one, "clients"), listen(t, two, "clients")
		other := listen(t, two, "scopes")
		start(t, one)
		start(t, two)
		for _, e := range []ear{here, there, other} {
			if keys := e.next(t); keys != nil {
				t.Fatalf("at the start everything may have changed, got %q", keys)
			}
		}
		changed(t, one, "clients", "a", "b", "a")
		if keys := <-here; !slices.Equal(keys, []string{"a", "b"}) { // before Write returned
			t.Fatalf("own node heard %q", keys)
		}
		keys := there.next(t)
		slices.Sort(keys)
		if !slices.Equal(keys, []string{"a", "b"}) {
			t.Fatalf("other node heard %q", keys)
		}
		changed(t, two, "clients", "c")
		if keys := here.next(t); !slices.Equal(keys, []string{"c"}) {
			t.Fatalf("heard %q: own changes must not come twice", keys)
		}
		if len(other) != 0 {
			t.Fatalf("another topic heard %q", <-other)
		}
		if lag := two.FeedLag(); lag > 10*time.Second {
			t.Fatalf("lag %v", lag)
		}
	})
}

// A transaction that began long ago and commits now has an old time. The poll between must not make it be missed.
func TestFeedHearsOfALateCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		there := listen(t, two, "clients")
		start(t, two)
		there.next(t)
		err := one.Write(t.Context(), func(tx db.WriteTx) error {
			if err := tx.Changed(t.Context(), "clients", "late"); err != nil {
				return err
			}
			if engine == db.PostgreSQL { // a quick one overtakes it; SQLite has one writer
				changed(t, one, "clients", "early")
				if keys := there.next(t); !slices.Equal(keys, []string{"early"}) {
					return fmt.Errorf("heard %q", keys)
				}
			}
			time.Sleep(700 * time.Millisecond) // several polls pass by
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if keys := there.next(t); !slices.Equal(keys, []string{"late"}) {
			t.Fatalf("heard %q", keys)
		}
	})
}

// A server that waits for its standby, or for its disk, may end a commit minutes after everybody has given it up.
func TestFeedHearsOfACommitThatHungInTheServer(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		there := listen(t, two, "clients")
		start(t, two)
		there.next(t)
		err := one.Write(t.Context(), func(tx db.WriteTx) error {
			at := tx.Now().Add(-3 * time.Minute) // when the transaction began
			_, err := tx.Exec(t.Context(), "INSERT INTO changes (id, at, topic, item) VALUES ($1, $2, 'clients', 'hung')", id.New(id.Change, at), db.Micros(at))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if keys := there.next(t); !slices.Equal(keys, []string{"hung"}) {
			t.Fatalf("heard %q", keys)
		}
		changed(t, one, "clients", "later")
		if keys := there.next(t); !slices.Equal(keys, []string{"later"}) {
			t.Fatalf("heard %q: what was heard far back must not come again", keys)
		}
	})
}

func TestFeedTellsNothingOfARollback(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		here := listen(t, d, "clients")
		start(t, d)
		here.next(t)
		cause := errors.New("no")
		err := d.Write(t.Context(), func(tx db.WriteTx) error {
			return errors.Join(tx.Changed(t.Context(), "clients", "never"), cause)
		})
		if !errors.Is(err, cause) {
			t.Fatal(err)
		}
		changed(t, d, "clients", "a")
		if keys := here.next(t); !slices.Equal(keys, []string{"a"}) {
			t.Fatalf("heard %q", keys)
		}
	})
}

// A clock that is set back, as after a failover to a server that is behind, must not make the feed deaf.
func TestFeedSurvivesAClockSetBack(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		c := clock.NewFake(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
		url := dbtest.URL(t, engine)
		two := dbtest.OpenURL(t, url, c)
		there := listen(t, two, "clients")
		start(t, two)
		there.next(t)
		c.Advance(-time.Hour)
		one := dbtest.OpenURL(t, url, c) // a node that never saw the later time
		changed(t, one, "clients", "a")
		if keys := there.next(t); !slices.Equal(keys, []string{"a"}) {
			t.Fatalf("heard %q", keys)
		}
		c.Advance(48 * time.Hour) // and a jump ahead loses nothing either
		changed(t, one, "clients", "b")
		if keys := there.next(t); !slices.Contains(keys, "b") {
			t.Fatalf("heard %q", keys)
		}
	})
}

func TestFeedStops(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		stop, err := d.StartFeed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.StartFeed(t.Context()); err == nil {
			t.Fatal("a second feed started")
		}
		stop()
		if lag := d.FeedLag(); lag < time.Hour {
			t.Fatalf("a feed that does not run claims a lag of %v", lag)
		}
		stop() // twice is fine
		start(t, d)
	})
}

func TestSweepKeepsWhatIsStillNeeded(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		c := clock.NewFake(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC))
		d := dbtest.Open(t, engine, c)
		keys := make([]string, 1500) // more than one batch
		for i := range keys {
			keys[i] = fmt.Sprint(i)
		}
		changed(t, d, "clients", keys...)
		c.Advance(30 * time.Minute)
		changed(t, d, "clients", "young")
		if err := d.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(t, d, "SELECT count(*) FROM changes"); n != 1 {
			t.Fatalf("%d changes left", n)
		}
		if n := count(t, d, "SELECT count(*) FROM tx_marks"); n < 2 {
			t.Fatalf("%d marks left: none is an hour old", n)
		}
		c.Advance(2 * time.Hour)
		if err := d.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := count(t, d, "SELECT count(*) FROM tx_marks"); n != 2 { // those of the sweeps of just now
			t.Fatalf("%d marks left", n)
		}
	})
}
