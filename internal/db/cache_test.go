package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
)

// The tests keep one number per key in a table of their own.
const numbers = "numbers"

func newNumbers(t *testing.T, d *db.DB) {
	t.Helper()
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		_, err := tx.Exec(t.Context(), "CREATE TABLE numbers (id TEXT PRIMARY KEY, value BIGINT NOT NULL)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func set(t *testing.T, d *db.DB, key string, value int64) {
	t.Helper()
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO numbers (id, value) VALUES ($1, $2)"+
			" ON CONFLICT (id) DO UPDATE SET value = excluded.value", key, value)
		return errors.Join(err, tx.Changed(t.Context(), numbers, key))
	})
	if err != nil {
		t.Error(err)
	}
}

func read(ctx context.Context, tx db.ReadTx, key string) (value int64, err error) {
	err = tx.QueryRow(ctx, "SELECT value FROM numbers WHERE id = $1", key).Scan(&value)
	return value, err
}

// counted is a cache that counts its loads.
func counted(d *db.DB, capacity int) (*db.Cache[int64], *atomic.Int64) {
	loads := new(atomic.Int64)
	return db.NewCache(d, numbers, capacity, func(ctx context.Context, tx db.ReadTx, key string) (int64, error) {
		loads.Add(1)
		return read(ctx, tx, key)
	}), loads
}

func get(t *testing.T, c *db.Cache[int64], key string) int64 {
	t.Helper()
	value, err := c.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestCacheFollowsChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		newNumbers(t, one)
		here, loads := counted(one, 10)
		there, _ := counted(two, 10)
		start(t, one)
		start(t, two)
		if _, err := here.Get(t.Context(), "a"); !errors.Is(err, db.ErrNoRows) {
			t.Fatal(err)
		}
		set(t, one, "a", 1) // the error was not kept
		if v := get(t, here, "a"); v != 1 {
			t.Fatal(v)
		}
		before := loads.Load()
		for range 100 {
			get(t, here, "a")
		}
		if loads.Load() != before {
			t.Fatalf("%d loads of a value in memory", loads.Load()-before)
		}
		if v := get(t, there, "a"); v != 1 {
			t.Fatal(v)
		}
		set(t, one, "a", 2)
		if v := get(t, here, "a"); v != 2 {
			t.Fatalf("own node still answers %d", v)
		}
		for get(t, there, "a") != 2 { // the test's deadline ends it if it never comes
			yield()
		}
	})
}

// A load that has read the old value and has not finished when the change comes must not leave the old value in memory.
// A writer that changed more than it wants to name has every cache of its topic forget all, on each node.
func TestAllKeysAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		newNumbers(t, one)
		here, _ := counted(one, 10)
		there, _ := counted(two, 10)
		start(t, one)
		start(t, two)
		for _, key := range []string{"a", "b"} {
			set(t, one, key, 1)
			for get(t, here, key) != 1 || get(t, there, key) != 1 {
				yield()
			}
		}
		if err := one.Write(t.Context(), func(tx db.WriteTx) error {
			_, err := tx.Exec(t.Context(), "UPDATE numbers SET value = 2")
			return errors.Join(err, tx.Changed(t.Context(), numbers, db.AllKeys))
		}); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "b"} {
			if v := get(t, here, key); v != 2 {
				t.Errorf("the node that changed it still answers %d", v)
			}
			for get(t, there, key) != 2 { // the test's deadline ends it if it never comes
				yield()
			}
		}
	})
}

func TestCacheDoesNotKeepWhatWasReadBeforeAChange(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		newNumbers(t, d)
		set(t, d, "a", 1)
		has, gate := make(chan struct{}), make(chan struct{})
		var first sync.Once
		c := db.NewCache(d, numbers, 10, func(ctx context.Context, tx db.ReadTx, key string) (int64, error) {
			value, err := read(ctx, tx, key)
			first.Do(func() { close(has); <-gate })
			return value, err
		})
		start(t, d)
		early := make(chan int64, 1)
		go func() { v, _ := c.Get(context.Background(), "a"); early <- v }()
		<-has
		set(t, d, "a", 2)
		late := make(chan int64, 1)
		go func() { v, _ := c.Get(context.Background(), "a"); late <- v }()
		for db.Loads(c, "a") < 2 { // the late one must not join the early one's load
			yield()
		}
		close(gate)
		if v := <-early; v != 1 {
			t.Errorf("early: %d", v)
		}
		if v := <-late; v != 2 {
			t.Errorf("a call that came after the change was answered %d", v)
		}
		if v := get(t, c, "a"); v != 2 {
			t.Errorf("kept %d", v)
		}
	})
}

func TestCacheJoinsLoads(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var loads, atOnce, most atomic.Int64
		gate, started := make(chan struct{}), make(chan string, 100)
		c := db.NewCache(d, numbers, 100, func(ctx context.Context, tx db.ReadTx, key string) (int64, error) {
			most.Store(max(most.Load(), atOnce.Add(1)))
			defer atOnce.Add(-1)
			started <- key
			<-gate
			return loads.Add(1), nil
		})
		start(t, d)
		var all sync.WaitGroup
		call := func(f func(context.Context, string) (int64, error), key string, want func(int64) bool) {
			all.Go(func() {
				if v, err := f(context.Background(), key); err != nil || !want(v) {
					t.Errorf("%s: %d, %v", key, v, err)
				}
			})
		}
		call(c.Get, "a", func(v int64) bool { return v == 1 })
		<-started
		for range 10 {
			call(c.Get, "a", func(v int64) bool { return v == 1 })
		}
		for range 10 { // these came after the load began: they share one of their own
			call(c.Fresh, "a", func(v int64) bool { return v == 2 })
		}
		for db.Loads(c, "a") < 2 {
			yield()
		}
		time.Sleep(20 * time.Millisecond) // let the rest of them arrive
		gate <- struct{}{}
		<-started
		close(gate)
		all.Wait()
		if loads.Load() != 2 {
			t.Errorf("%d loads", loads.Load())
		}
		for i := range 20 {
			call(c.Get, fmt.Sprint(i), func(int64) bool { return true })
		}
		all.Wait()
		if most.Load() > 4 {
			t.Errorf("%d loads at once", most.Load())
		}
	})
}

func TestFreshIsReadAfterTheCall(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		newNumbers(t, one)
		there, _ := counted(two, 10)
		start(t, two)
		for i := range int64(50) { // no feed is this fast: each must come from the database
			set(t, one, "a", i)
			if v, err := there.Fresh(t.Context(), "a"); err != nil || v != i {
				t.Fatalf("%d, %v; want %d", v, err, i)
			}
		}
		err := one.Write(t.Context(), func(tx db.WriteTx) error {
			_, err := tx.Exec(t.Context(), "DELETE FROM numbers")
			return errors.Join(err, tx.Changed(t.Context(), numbers, "a"))
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := there.Fresh(t.Context(), "a"); !errors.Is(err, db.ErrNoRows) {
			t.Fatal(err)
		}
		if _, err := there.Get(t.Context(), "a"); !errors.Is(err, db.ErrNoRows) {
			t.Fatalf("memory holds what Fresh found gone: %v", err)
		}
	})
}

// Whatever the interleaving: what a caller's own node has acknowledged is never forgotten, and Fresh sees what any node has.
func TestCacheNeverRunsBack(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		newNumbers(t, one)
		keys := []string{"a", "b", "c"}
		floor := map[string]*atomic.Int64{}
		for _, key := range keys {
			floor[key] = new(atomic.Int64)
			set(t, one, key, 0)
		}
		here, _ := counted(one, 2) // smaller than the keys: values come and go
		there, _ := counted(two, 2)
		start(t, one)
		start(t, two)
		done := make(chan struct{})
		var readers sync.WaitGroup
		check := func(f func(context.Context, string) (int64, error)) {
			readers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					key := keys[i%len(keys)]
					least := floor[key].Load()
					if v, err := f(context.Background(), key); err != nil || v < least {
						t.Errorf("%s: %d, %v; %d was acknowledged", key, v, err, least)
						return
					}
				}
			})
		}
		check(here.Get)
		check(here.Get)
		check(here.Fresh)
		check(there.Fresh)
		for i := range int64(60) {
			for _, key := range keys {
				set(t, one, key, i)
				floor[key].Store(i)
			}
		}
		close(done)
		readers.Wait()
	})
}

func TestCacheIsBounded(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		newNumbers(t, d)
		for _, key := range []string{"a", "b", "c"} {
			set(t, d, key, 1)
		}
		c, loads := counted(d, 2)
		start(t, d)
		for _, key := range []string{"a", "b", "a", "c", "a"} { // c pushes b out, which was used longest ago
			get(t, c, key)
		}
		if loads.Load() != 3 {
			t.Errorf("%d loads", loads.Load())
		}
		get(t, c, "b")
		if loads.Load() != 4 {
			t.Errorf("b was still there: the cache has no bound")
		}
	})
}

func TestCacheWhenTheDatabaseIsAway(t *testing.T) {
	if !postgresOnly(t) {
		return // SQLite cannot be away
	}
	address, w := proxied(t, dbtest.URL(t, db.PostgreSQL))
	d := dbtest.OpenURL(t, address, clock.System)
	newNumbers(t, d)
	set(t, d, "a", 1)
	c, loads := counted(d, 10)
	stop, err := d.StartFeed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	get(t, c, "a")
	stop() // so that the ages below stay as they are set
	before := loads.Load()
	db.Age(c, "a", 1500*time.Millisecond)
	if get(t, c, "a"); loads.Load() != before+1 {
		t.Error("a stale value was served although the database is there")
	}
	w.down.Store(true)
	w.cut()
	db.Age(c, "a", 9*time.Second)
	if v := get(t, c, "a"); v != 1 {
		t.Error(v)
	}
	if _, err := c.Fresh(t.Context(), "a"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Fresh answered from memory: %v", err)
	}
	db.Age(c, "a", 11*time.Second)
	if _, err := c.Get(t.Context(), "a"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a value of eleven seconds ago was served: %v", err)
	}
	w.down.Store(false)
	if v := get(t, c, "a"); v != 1 {
		t.Error(v)
	}
}

func TestCacheSurvivesAPanic(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		c := db.NewCache(d, numbers, 10, func(_ context.Context, _ db.ReadTx, key string) (int64, error) {
			if key == "bad" {
				panic("asked for")
			}
			return 1, nil
		})
		for range 10 { // more than there are slots: each must be given back
			if _, err := c.Get(t.Context(), "bad"); err == nil {
				t.Fatal("no error")
			}
		}
		get(t, c, "good")
	})
}

// The caller's patience is his own: a load goes on for the others.
func TestCacheCallerGivesUp(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		gate := make(chan struct{})
		c := db.NewCache(d, numbers, 10, func(context.Context, db.ReadTx, string) (int64, error) { <-gate; return 1, nil })
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { _, err := c.Get(ctx, "a"); gone <- err }()
		for db.Loads(c, "a") == 0 {
			yield()
		}
		stays := make(chan error, 1)
		go func() { _, err := c.Get(context.Background(), "a"); stays <- err }()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(gate)
		if err := <-stays; err != nil {
			t.Error(err)
		}
	})
}

// News that never came must not leave an old value in memory for ever.
func TestCacheReadsOldValuesAgain(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		newNumbers(t, d)
		set(t, d, "a", 1)
		c, _ := counted(d, 10)
		start(t, d)
		get(t, c, "a")
		err := d.Write(t.Context(), func(tx db.WriteTx) error { // and tells nobody
			_, err := tx.Exec(t.Context(), "UPDATE numbers SET value = 2")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		db.AgeValue(c, "a", 11*time.Minute)
		if v := get(t, c, "a"); v != 2 {
			t.Errorf("%d after eleven minutes", v)
		}
	})
}

// Callers that ask for ever new keys of a database that hangs, and go away, must not fill the memory.
func TestCacheRefusesToQueueWithoutEnd(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		gate := make(chan struct{})
		c := db.NewCache(d, numbers, 10, func(context.Context, db.ReadTx, string) (int64, error) { <-gate; return 1, nil })
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for i := range 5000 {
			_, _ = c.Get(gone, fmt.Sprint(i)) // nobody waits for the answer
		}
		patient, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := c.Get(patient, "one more"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("it was taken in: %v", err)
		}
		close(gate)
		for { // when the database is back, there is room again
			if v, err := c.Get(t.Context(), "one more"); err == nil && v == 1 {
				return
			}
			yield()
		}
	})
}
