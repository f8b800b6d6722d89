package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
)

// run writes with statements that need no answer.
func run(t *testing.T, d *db.DB, statements ...string) error {
	t.Helper()
	return d.Write(t.Context(), func(tx db.WriteTx) error {
		for _, statement := range statements {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				return err
			}
		}
		return nil
	})
}

func mustRun(t *testing.T, d *db.DB, statements ...string) {
	t.Helper()
	if err := run(t, d, statements...); err != nil {
		t.Fatal(err)
	}
}

// Two nodes check that a seat is free and take it. Only one may get it, whatever the engine does to tell them.
func TestCheckAndActIsNotTornApart(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		mustRun(t, one, "CREATE TABLE seats (id TEXT PRIMARY KEY, owner TEXT NOT NULL)")
		var both, all sync.WaitGroup
		both.Add(2)
		var mu sync.Mutex
		runs, taken := 0, 0
		for name, d := range map[string]*db.DB{"one": one, "two": two} {
			all.Go(func() {
				first := true
				got := false
				err := d.Write(t.Context(), func(tx db.WriteTx) error {
					got = false
					mu.Lock()
					runs++
					mu.Unlock()
					var n int
					if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM seats").Scan(&n); err != nil {
						return err
					}
					if first && engine == db.PostgreSQL { // both have looked before either acts
						first = false
						both.Done()
						both.Wait()
					}
					if n > 0 {
						return nil
					}
					got = true
					_, err := tx.Exec(t.Context(), "INSERT INTO seats (id, owner) VALUES ($1, $1)", name)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if got {
					mu.Lock()
					taken++
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if n := count(t, one, "SELECT count(*) FROM seats"); n != 1 || taken != 1 {
			t.Fatalf("%d seats taken, %d believe so", n, taken)
		}
		if engine == db.PostgreSQL && runs != 3 {
			t.Fatalf("%d runs: the conflict did not happen", runs)
		}
	})
}

// Many nodes count the same number up. None of the additions may be lost, and none may be done twice.
func TestNoUpdateIsLost(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		one, two := nodes(t, engine, clock.System)
		newNumbers(t, one)
		set(t, one, "a", 0)
		var all sync.WaitGroup
		const each = 20
		for _, d := range []*db.DB{one, one, two} {
			all.Go(func() {
				for done := 0; done < each; {
					err := d.Write(t.Context(), func(tx db.WriteTx) error {
						v, err := read(t.Context(), tx, "a")
						if err != nil {
							return err
						}
						_, err = tx.Exec(t.Context(), "UPDATE numbers SET value = $1 WHERE id = 'a'", v+1)
						return err
					})
					switch {
					case err == nil:
						done++
					case fault.Code(err) != "database_busy": // certainly not written: the caller may come again
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		if n := count(t, one, "SELECT value FROM numbers"); n != 3*each {
			t.Fatalf("%d", n)
		}
	})
}

// A function that hides the error it was given must not hide from Write that the transaction is lost.
func TestSwallowedSerializationFailureIsRetried(t *testing.T) {
	if !postgresOnly(t) {
		return // SQLite's writers do not overlap
	}
	d := dbtest.Open(t, db.PostgreSQL, clock.System)
	newNumbers(t, d)
	set(t, d, "a", 1)
	runs := 0
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		runs++
		v, err := read(t.Context(), tx, "a")
		if err != nil {
			return err
		}
		if runs == 1 {
			set(t, d, "a", 10)
		}
		if _, err := tx.Exec(t.Context(), "UPDATE numbers SET value = $1 WHERE id = 'a'", v+1); err != nil {
			return errors.New("something else")
		}
		return nil
	})
	if err != nil || runs != 2 {
		t.Fatal(runs, err)
	}
	if n := count(t, d, "SELECT value FROM numbers"); n != 11 {
		t.Fatal(n)
	}
}

func TestEndlessConflictEndsAsBusy(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	d := dbtest.Open(t, db.PostgreSQL, clock.System)
	newNumbers(t, d)
	set(t, d, "a", 1)
	runs := 0
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		runs++
		v, err := read(t.Context(), tx, "a")
		if err != nil {
			return err
		}
		set(t, d, "a", int64(runs))
		_, err = tx.Exec(t.Context(), "UPDATE numbers SET value = $1 WHERE id = 'a'", v)
		return err
	})
	if !fault.Is(err, fault.Unavailable) || fault.Code(err) != "database_busy" || runs != 8 {
		t.Fatal(runs, err)
	}
}

func TestErrorsHaveOneName(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		mustRun(t, d,
			"CREATE TABLE parents (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
			"CREATE TABLE children (id TEXT PRIMARY KEY, parent TEXT NOT NULL REFERENCES parents (id))",
			"CREATE TABLE wards (id TEXT PRIMARY KEY, parent TEXT NOT NULL REFERENCES parents (id) ON DELETE RESTRICT)",
			"INSERT INTO parents (id, name) VALUES ('p', 'P'), ('q', 'Q')",
			"INSERT INTO children (id, parent) VALUES ('c', 'p')",
			"INSERT INTO wards (id, parent) VALUES ('w', 'q')",
		)
		for statement, want := range map[string]error{
			"INSERT INTO parents (id, name) VALUES ('p', 'other')":   db.ErrConflict,
			"INSERT INTO parents (id, name) VALUES ('other', 'P')":   db.ErrConflict,
			"UPDATE parents SET name = 'P' WHERE id = 'q'":           db.ErrConflict,
			"INSERT INTO children (id, parent) VALUES ('d', 'none')": db.ErrReference,
			"DELETE FROM parents WHERE id = 'p'":                     db.ErrReference,
			"DELETE FROM parents WHERE id = 'q'":                     db.ErrReference,
		} {
			if err := run(t, d, statement); !errors.Is(err, want) {
				t.Errorf("%s: %v", statement, err)
			}
			err := d.Write(t.Context(), func(tx db.WriteTx) error {
				var id string
				if err := tx.QueryRow(t.Context(), statement+" RETURNING id").Scan(&id); !errors.Is(err, want) {
					t.Errorf("%s RETURNING: %v", statement, err)
				}
				return nil
			})
			if !errors.Is(err, want) {
				t.Errorf("%s RETURNING, and the function went on: %v", statement, err)
			}
		}
		err := d.Read(t.Context(), func(tx db.ReadTx) error {
			var id string
			return tx.QueryRow(t.Context(), "SELECT id FROM parents WHERE id = 'none'").Scan(&id)
		})
		if !errors.Is(err, db.ErrNoRows) {
			t.Error(err)
		}
		if err := run(t, d, "INSERT INTO parents (id, name) VALUES ('r', NULL)"); err == nil || errors.Is(err, db.ErrConflict) {
			t.Error(err)
		}
	})
}

// PostgreSQL loses a transaction with its first error. SQLite must not be more lenient, or code that was tried on SQLite
// alone would fail in the field.
func TestFailedStatementLosesTheTransaction(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		mustRun(t, d, "INSERT INTO changes (id, at, topic, item) VALUES ('a', 1, 'test', 'a')")
		err := d.Write(t.Context(), func(tx db.WriteTx) error {
			if err := note(t.Context(), tx, "b"); err != nil {
				return err
			}
			if err := note(t.Context(), tx, "a"); !errors.Is(err, db.ErrConflict) {
				t.Errorf("duplicate: %v", err)
			}
			if err := note(t.Context(), tx, "c"); !errors.Is(err, db.ErrConflict) {
				t.Errorf("after the failure: %v", err)
			}
			return nil
		})
		if !errors.Is(err, db.ErrConflict) {
			t.Error(err)
		}
		if n := count(t, d, notes); n != 1 {
			t.Errorf("%d rows", n)
		}
		// What is expected is said, not caught.
		err = d.Write(t.Context(), func(tx db.WriteTx) error {
			n, err := tx.Exec(t.Context(), "INSERT INTO changes (id, at, topic, item) VALUES ('a', 1, 'test', 'a') ON CONFLICT (id) DO NOTHING")
			if err != nil || n != 0 {
				t.Errorf("%d, %v", n, err)
			}
			var id string
			if err := tx.QueryRow(t.Context(), "SELECT id FROM changes WHERE id = 'none'").Scan(&id); !errors.Is(err, db.ErrNoRows) {
				t.Error(err)
			}
			return note(t.Context(), tx, "d")
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		mustRun(t, d, "CREATE TABLE kinds (id TEXT PRIMARY KEY, n BIGINT, yes BOOLEAN NOT NULL, raw BYTEA, note TEXT)")
		type kind struct {
			n    sql.NullInt64
			yes  bool
			raw  []byte
			note sql.NullString
		}
		want := map[string]kind{
			"null":   {},
			"empty":  {yes: false, raw: []byte{}, note: sql.NullString{Valid: true}},
			"full":   {sql.NullInt64{Int64: -1 << 63, Valid: true}, true, []byte{0, 1, 0xff, '1', '2'}, sql.NullString{String: "ä\n'\"\\ 007", Valid: true}},
			"digits": {sql.NullInt64{Int64: 1<<63 - 1, Valid: true}, true, []byte("42"), sql.NullString{String: "0042", Valid: true}},
		}
		for id, k := range want {
			err := d.Write(t.Context(), func(tx db.WriteTx) error {
				var yes bool
				err := tx.QueryRow(t.Context(), "INSERT INTO kinds (id, n, yes, raw, note) VALUES ($1, $2, $3, $4, $5) RETURNING yes",
					id, k.n, k.yes, k.raw, k.note).Scan(&yes)
				if yes != k.yes {
					t.Errorf("%s: RETURNING %v", id, yes)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var got kind
			var both, null bool
			err = d.Read(t.Context(), func(tx db.ReadTx) error {
				return tx.QueryRow(t.Context(), "SELECT n, yes, raw, note, yes AND TRUE, raw IS NULL FROM kinds WHERE id = $1 AND yes = $2", id, k.yes).
					Scan(&got.n, &got.yes, &got.raw, &got.note, &both, &null)
			})
			if err != nil {
				t.Fatal(id, err)
			}
			if got.n != k.n || got.yes != k.yes || got.note != k.note || both != k.yes ||
				!bytes.Equal(got.raw, k.raw) || null != (k.raw == nil) { // an empty BYTEA may be scanned as nil
				t.Errorf("%s: got %+v, want %+v", id, got, k)
			}
		}
		// Text that looks like numbers is text, and its case counts.
		if n := count(t, d, "SELECT count(*) FROM kinds WHERE note = '42' OR id = 'FULL'"); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestTimesAreMicroseconds(t *testing.T) {
	at := time.Date(2026, 11, 22, 13, 0, 0, 123456789, time.FixedZone("x", 3600))
	if got := db.Time(db.Micros(at)); !got.Equal(at.Truncate(time.Microsecond)) || got.Location() != time.UTC {
		t.Error(got)
	}
	if db.Micros(time.Time{}) != 0 || !db.Time(0).IsZero() {
		t.Error("the zero time is not 0")
	}
}

func TestAfterCommit(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var ran []string
		err := d.Write(t.Context(), func(tx db.WriteTx) error {
			tx.AfterCommit(func() {
				ran = append(ran, "first")
				if n := count(t, d, notes); n != 1 { // committed, and the connection is free
					t.Errorf("%d rows", n)
				}
				if err := d.Write(t.Context(), func(tx db.WriteTx) error { return note(t.Context(), tx, "b") }); err != nil {
					t.Error(err)
				}
			})
			tx.AfterCommit(func() { ran = append(ran, "second") })
			return note(t.Context(), tx, "a")
		})
		if err != nil || fmt.Sprint(ran) != "[first second]" {
			t.Error(ran, err)
		}
		cause := errors.New("no")
		err = d.Write(t.Context(), func(tx db.WriteTx) error {
			tx.AfterCommit(func() { t.Error("ran after a rollback") })
			return cause
		})
		if !errors.Is(err, cause) {
			t.Error(err)
		}
	})
}

func TestWriteInsideAWriteIsRefused(t *testing.T) {
	if dbtest.Engines(t)[0] != db.SQLite {
		return // only SQLite can tell, and would hang
	}
	d := dbtest.Open(t, db.SQLite, clock.System)
	b := db.NewBatch(d, 10, insertAll)
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		if err := d.Write(t.Context(), func(db.WriteTx) error { return nil }); !errors.Is(err, db.ErrNested) {
			t.Error(err)
		}
		if err := b.Do(t.Context(), "a"); !errors.Is(err, db.ErrNested) {
			t.Error(err)
		}
		count(t, d, notes) // reading is allowed
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, d, "DELETE FROM changes")
}

func TestTransactionEndsWithItsFunction(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var kept db.WriteTx
		if err := d.Write(t.Context(), func(tx db.WriteTx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Exec(t.Context(), "DELETE FROM changes"); !errors.Is(err, db.ErrDone) {
			t.Error(err)
		}
		if err := kept.Changed(t.Context(), "a", "b"); !errors.Is(err, db.ErrDone) {
			t.Error(err)
		}
		var n int
		if err := kept.QueryRow(t.Context(), "SELECT 1").Scan(&n); !errors.Is(err, db.ErrDone) {
			t.Error(err)
		}
		if rows, err := kept.Query(t.Context(), "SELECT 1"); !errors.Is(err, db.ErrDone) {
			t.Error(rows.Close(), err)
		}
	})
}

func TestCallerWhoGivesUp(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := d.Write(ctx, func(tx db.WriteTx) error {
			err := note(ctx, tx, "a")
			cancel()
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		err = d.Read(ctx, func(tx db.ReadTx) error { t.Error("ran"); return nil })
		if !errors.Is(err, context.Canceled) || fault.Is(err, fault.Unavailable) {
			t.Error(err)
		}
		if n := count(t, d, notes); n != 0 {
			t.Errorf("%d rows", n)
		}
		mustRun(t, d, "DELETE FROM changes") // the connection is well
	})
}

func TestSlowTransactionIsNotCommitted(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		db.SetLimit(d, 100*time.Millisecond)
		err := d.Write(t.Context(), func(tx db.WriteTx) error {
			err := note(t.Context(), tx, "a")
			time.Sleep(200 * time.Millisecond)
			return err
		})
		if !fault.Is(err, fault.Unavailable) {
			t.Error(err)
		}
		db.SetLimit(d, 10*time.Second)
		if n := count(t, d, notes); n != 0 {
			t.Errorf("%d rows: the feed may have stopped looking for them", n)
		}
	})
}

func TestSlowStatementIsBusy(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	address := dbtest.URL(t, db.PostgreSQL)
	sep := "?"
	if strings.Contains(address, "?") {
		sep = "&"
	}
	d := dbtest.OpenURL(t, address+sep+"statement_timeout=50ms", clock.System)
	err := d.Read(t.Context(), func(tx db.ReadTx) error {
		var nothing sql.NullString
		return tx.QueryRow(t.Context(), "SELECT pg_sleep(5)::text").Scan(&nothing)
	})
	if fault.Code(err) != "database_busy" {
		t.Error(err)
	}
	mustRun(t, d, "DELETE FROM changes")
}

func TestSettingsReachEveryConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		d := dbtest.Open(t, engine, clock.System)
		want := map[string]string{
			"PRAGMA foreign_keys": "1", "PRAGMA journal_mode": "wal", "PRAGMA synchronous": "2", "PRAGMA busy_timeout": "5000",
		}
		if engine == db.PostgreSQL {
			want = map[string]string{
				"SHOW statement_timeout": "2s", "SHOW lock_timeout": "500ms", "SHOW idle_in_transaction_session_timeout": "5s",
			}
		}
		check := func(isolation string) func(tx db.ReadTx) error {
			return func(tx db.ReadTx) error {
				if engine == db.PostgreSQL {
					want["SHOW transaction_isolation"] = isolation
				}
				for query, value := range want {
					var got string
					if err := tx.QueryRow(t.Context(), query).Scan(&got); err != nil || got != value {
						t.Errorf("%s: %q, %v", query, got, err)
					}
				}
				return nil
			}
		}
		if err := d.Write(t.Context(), func(tx db.WriteTx) error { return check("serializable")(tx) }); err != nil {
			t.Error(err)
		}
		if err := d.Read(t.Context(), check("repeatable read")); err != nil {
			t.Error(err)
		}
	})
}

// A server that forgets commits in a crash must be asked to remember ours.
func TestCommitsAreDurableWhateverTheServerIsSetTo(t *testing.T) {
	if !postgresOnly(t) {
		return
	}
	address := dbtest.URL(t, db.PostgreSQL)
	d := dbtest.OpenURL(t, address, clock.System)
	err := d.Write(t.Context(), func(tx db.WriteTx) error {
		var name string
		if err := tx.QueryRow(t.Context(), "SELECT quote_ident(current_database())").Scan(&name); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), "ALTER DATABASE "+name+" SET synchronous_commit = off")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	later := dbtest.OpenURL(t, address, clock.System)
	err = later.Read(t.Context(), func(tx db.ReadTx) error {
		var got string
		if err := tx.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&got); err != nil || got != "on" {
			t.Errorf("%q, %v", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNowNeverRunsBack(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		c := clock.NewFake(noon)
		d := dbtest.Open(t, engine, c)
		now := func() (now time.Time) {
			if err := d.Read(t.Context(), func(tx db.ReadTx) error { now = tx.Now(); return nil }); err != nil {
				t.Fatal(err)
			}
			return now
		}
		if got := now(); !got.Equal(noon) {
			t.Fatalf("the clock that was given is not the database's: %v", got)
		}
		c.Advance(-time.Minute)
		if got := now(); !got.Equal(noon) {
			t.Fatalf("%v", got)
		}
		c.Advance(time.Hour)
		if got := now(); !got.Equal(noon.Add(59 * time.Minute)) {
			t.Fatalf("%v", got)
		}
	})
}

// An error of the function's own is not the database's, even if it looks like a lost connection.
func TestErrorOfTheFunctionIsLeftAlone(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		runs := 0
		err := d.Write(t.Context(), func(tx db.WriteTx) error {
			runs++
			return fmt.Errorf("parse body: %w", io.EOF)
		})
		if runs != 1 || !errors.Is(err, io.EOF) || fault.Is(err, fault.Unavailable) {
			t.Error(runs, err)
		}
		err = d.Read(t.Context(), func(tx db.ReadTx) error { return io.ErrUnexpectedEOF })
		if !errors.Is(err, io.ErrUnexpectedEOF) || fault.Is(err, fault.Unavailable) {
			t.Error(err)
		}
	})
}
