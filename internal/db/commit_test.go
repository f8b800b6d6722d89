package db_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/testport"
)

// wire is a proxy in front of PostgreSQL that loses the next message on request.
type wire struct {
	target string
	mode   atomic.Int32
	cuts   atomic.Int32 // how often it did what mode says
	down   atomic.Bool  // refuses new connections

	mu    sync.Mutex
	conns []net.Conn // owned by mu
}

const (
	pass      = iota
	loseAsk   // the client's next message does not arrive
	loseReply // it does, but what the server answers does not
	stall     // it arrives, nothing comes back, and nobody hangs up
)

// proxied gives the URL of the same database through the proxy.
func proxied(t *testing.T, address string) (string, *wire) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{target: u.Host}
	l := testport.Listen(t)
	u.Host = l.Addr().String()
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(client)
		}
	}()
	t.Cleanup(w.cut)
	return u.String(), w
}

func (w *wire) serve(client net.Conn) {
	if w.down.Load() {
		client.Close()
		return
	}
	server, err := net.Dial("tcp", w.target)
	if err != nil {
		client.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, client, server)
	w.mu.Unlock()
	var lost atomic.Bool
	go func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			if lost.Load() {
				if w.mode.Load() != stall {
					return // hang up instead of answering
				}
				continue
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	defer server.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		switch w.mode.Load() {
		case loseAsk:
			w.mode.Store(pass)
			w.cuts.Add(1)
			client.Close()
			return
		case loseReply:
			lost.Store(true)
			w.mode.Store(pass)
			w.cuts.Add(1)
		case stall:
			if !lost.Swap(true) {
				w.cuts.Add(1)
			}
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut hangs up everywhere.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

func postgresOnly(t *testing.T) bool {
	t.Helper()
	for _, engine := range dbtest.Engines(t) {
		if engine == db.PostgreSQL {
			return true
		}
	}
	return false
}

// The connection dies while COMMIT is under way. Whether the server got it or not, the change must be there exactly once,
// and the hooks must have run once.
func TestLostCommitIsLookedUp(t *testing.T) {
	if !postgresOnly(t) {
		return // SQLite has no wire to cut
	}
	for name, c := range map[string]struct {
		mode int32
		runs int
	}{
		"before the server got it": {loseAsk, 2},
		"after the server got it":  {loseReply, 1},
	} {
		t.Run(name, func(t *testing.T) {
			direct := dbtest.URL(t, db.PostgreSQL)
			address, w := proxied(t, direct)
			d, witness := dbtest.OpenURL(t, address, clock.System), dbtest.OpenURL(t, direct, clock.System)
			e := listen(t, d, "clients")
			// The first transaction makes the statements known to the connection, so that the next COMMIT is one message.
			changed(t, d, "clients", "warm")
			<-e
			runs, hooks := 0, 0
			err := d.Write(t.Context(), func(tx db.WriteTx) error {
				runs++
				tx.AfterCommit(func() { hooks++ })
				// Not an upsert: done twice, it shows.
				if err := note(t.Context(), tx, fmt.Sprint("run", runs)); err != nil {
					return err
				}
				if err := tx.Changed(t.Context(), "clients", "a"); err != nil {
					return err
				}
				if runs == 1 {
					w.mode.Store(c.mode)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if w.cuts.Load() != 1 || runs != c.runs || hooks != 1 || len(e) != 1 {
				t.Fatalf("%d cuts, %d runs, %d hooks, %d deliveries", w.cuts.Load(), runs, hooks, len(e))
			}
			if n := count(t, witness, notes); n != 1 {
				t.Fatalf("it is there %d times", n)
			}
		})
	}
}

// When nobody can be asked, Write must say that it does not know: neither success nor failure.
func TestUnknownOutcomeIsSaid(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	direct := dbtest.URL(t, db.PostgreSQL)
	address, w := proxied(t, direct)
	d, witness := dbtest.OpenURL(t, address, clock.System), dbtest.OpenURL(t, direct, clock.System)
	db.SetLimit(d, 2*time.Second) // so that the search gives up sooner
	e := listen(t, d, "clients")
	changed(t, d, "clients", "warm")
	<-e
	hooks := 0
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		tx.AfterCommit(func() { hooks++ })
		if err := errors.Join(note(t.Context(), tx, "a"), tx.Changed(t.Context(), "clients", "a")); err != nil {
			return err
		}
		w.down.Store(true)
		w.mode.Store(loseReply)
		return nil
	})
	if !errors.Is(err, db.ErrUnknownOutcome) || !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	if w.cuts.Load() != 1 || hooks != 0 || len(e) != 1 { // caches forget it: it may be true
		t.Fatalf("%d cuts, %d hooks, %d deliveries", w.cuts.Load(), hooks, len(e))
	}
	if n := count(t, witness, notes); n != 1 {
		t.Fatalf("%d rows", n)
	}
}

// A commit that nobody could ask about may become visible after this node's caches have read again. Then they must hear
// of it once more.
func TestFeedTellsAgainOfAnUnknownCommit(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	address, w := proxied(t, dbtest.URL(t, db.PostgreSQL))
	d := dbtest.OpenURL(t, address, clock.System)
	e := listen(t, d, "clients")
	start(t, d)
	e.next(t)
	db.SetLimit(d, 2*time.Second)
	changed(t, d, "clients", "warm")
	e.next(t)
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		if err := tx.Changed(t.Context(), "clients", "a"); err != nil {
			return err
		}
		w.down.Store(true)
		w.mode.Store(stall) // other connections, the feed's too, hang as well
		return nil
	})
	if !errors.Is(err, db.ErrUnknownOutcome) {
		t.Fatal(err)
	}
	if keys := e.next(t); !slices.Equal(keys, []string{"a"}) {
		t.Fatalf("heard %q", keys)
	}
	w.mode.Store(pass)
	w.cut()
	w.down.Store(false)
	if keys := e.next(t); !slices.Equal(keys, []string{"a"}) {
		t.Fatalf("heard %q", keys)
	}
}

// A server that refuses connections at once is asked many times in the five seconds of a search.
func TestPauseBeforeAnyAttempt(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for attempt := range 100 {
		if err := db.Pause(ended, attempt); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// The search for a lost commit must also settle it: what was declared lost may not appear afterwards.
func TestFenceKeepsALateCommitOut(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		const mark = "txn_00000000000000000000000001"
		for range 2 { // the answer stays the same
			committed, err := db.Settle(d, t.Context(), mark)
			if err != nil || committed {
				t.Fatal(committed, err)
			}
		}
		err := d.Write(t.Context(), func(tx db.WriteTx) error {
			_, err := tx.Exec(t.Context(), "INSERT INTO tx_marks (id, at, fence) VALUES ($1, 1, FALSE)", mark)
			return err
		})
		if !errors.Is(err, db.ErrConflict) {
			t.Fatalf("the late commit got through: %v", err)
		}
	})
}

// The old connection's COMMIT may still be under way in the server while it is searched for. The search must wait for it.
func TestSearchWaitsForACommitUnderWay(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	const mark = "txn_00000000000000000000000002"
	for name, end := range map[string]string{"commits": "COMMIT", "rolls back": "ROLLBACK"} {
		t.Run(name, func(t *testing.T) {
			address := dbtest.URL(t, db.PostgreSQL)
			d := dbtest.OpenURL(t, address, clock.System)
			old, err := pgx.Connect(t.Context(), address)
			if err != nil {
				t.Fatal(err)
			}
			defer old.Close(context.Background())
			for _, statement := range []string{"BEGIN", "INSERT INTO tx_marks (id, at, fence) VALUES ('" + mark + "', 1, FALSE)"} {
				if _, err := old.Exec(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			type answer struct {
				committed bool
				err       error
			}
			found := make(chan answer, 1)
			go func() {
				committed, err := db.Settle(d, t.Context(), mark)
				found <- answer{committed, err}
			}()
			select {
			case a := <-found:
				t.Fatalf("decided too early: %+v", a)
			case <-time.After(700 * time.Millisecond): // longer than lock_timeout: it has to ask twice
			}
			if _, err := old.Exec(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			if a := <-found; a.err != nil || a.committed != (end == "COMMIT") {
				t.Fatalf("%+v", a)
			}
		})
	}
}

func TestUnreachableDatabaseIsUnavailable(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	address, w := proxied(t, dbtest.URL(t, db.PostgreSQL))
	d := dbtest.OpenURL(t, address, clock.System)
	if err := d.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.down.Store(true)
	w.cut()
	work := map[string]func() error{
		"ping":  func() error { return d.Ping(t.Context()) },
		"read":  func() error { return d.Read(t.Context(), func(db.ReadTx) error { return nil }) },
		"write": func() error { return d.Write(t.Context(), func(db.WriteTx) error { return nil }) },
	}
	for name, f := range work {
		if err := f(); !fault.Is(err, fault.Unavailable) || fault.Code(err) != "database_unavailable" {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.down.Store(false)
	for name, f := range work {
		if err := f(); err != nil {
			t.Errorf("%s after the server came back: %v", name, err)
		}
	}
}

// Connections that died in the pool, as in a failover, must not fail the transactions that meet them.
func TestDeadConnectionsAreReplaced(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	address, w := proxied(t, dbtest.URL(t, db.PostgreSQL))
	d := dbtest.OpenURL(t, address, clock.System)
	var all sync.WaitGroup
	for range 2 { // the second time makes them look alive to the pool, which asks only those that were idle for a second
		for range 4 {
			all.Go(func() {
				if err := d.Read(t.Context(), func(db.ReadTx) error { time.Sleep(50 * time.Millisecond); return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	w.cut()
	for range 4 {
		if err := d.Read(t.Context(), func(db.ReadTx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	// And one that dies under a transaction is run again.
	runs := 0
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		if runs++; runs == 1 {
			w.cut()
		}
		return note(t.Context(), tx, "a")
	})
	if err != nil || runs != 2 {
		t.Fatal(runs, err)
	}
}

// A server that takes the message and never answers must not hold the caller for ever.
func TestStalledServerIsGivenUp(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	address, w := proxied(t, dbtest.URL(t, db.PostgreSQL))
	d := dbtest.OpenURL(t, address, clock.System)
	db.SetLimit(d, 300*time.Millisecond)
	changed(t, d, "clients", "warm")
	err := d.Write(context.Background(), func(tx db.WriteTx) error {
		w.mode.Store(stall)
		return note(context.Background(), tx, "a")
	})
	if !fault.Is(err, fault.Unavailable) || w.cuts.Load() == 0 {
		t.Fatal(err)
	}
}
