package db_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

// note is a row of the table changes, which these tests use as a table with a primary key.
func note(ctx context.Context, tx db.WriteTx, id string) error {
	n, err := tx.Exec(ctx, "INSERT INTO changes (id, at, topic, item) VALUES ($1, $2, 'test', $3)", id, int64(1), id)
	if err == nil && n != 1 {
		return errors.New("no row inserted")
	}
	return err
}

func count(t *testing.T, d *db.DB, query string, args ...any) (n int) {
	t.Helper()
	err := d.Read(t.Context(), func(tx db.ReadTx) error { return tx.QueryRow(t.Context(), query, args...).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const notes = "SELECT count(*) FROM changes WHERE topic = 'test'"

func TestWriteIsReadBack(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		if err := d.Write(ctx, func(tx db.WriteTx) error { return note(ctx, tx, "a") }); err != nil {
			t.Fatal(err)
		}
		if n := count(t, d, notes); n != 1 {
			t.Fatalf("%d rows", n)
		}
		if n := count(t, d, "SELECT count(*) FROM tx_marks WHERE NOT fence"); n != 1 {
			t.Fatalf("%d marks", n)
		}
	})
}

func TestErrorAndPanicRollBack(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		cause := errors.New("no")
		err := d.Write(ctx, func(tx db.WriteTx) error { return errors.Join(note(ctx, tx, "a"), cause) })
		if !errors.Is(err, cause) {
			t.Fatal(err)
		}
		func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = d.Write(ctx, func(tx db.WriteTx) error {
				if err := note(ctx, tx, "b"); err != nil {
					t.Error(err)
				}
				panic("boom")
			})
		}()
		if n := count(t, d, notes); n != 0 {
			t.Fatalf("%d rows", n)
		}
		// The connection that panicked must serve the next transaction.
		if err := d.Write(ctx, func(tx db.WriteTx) error { return note(ctx, tx, "c") }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadCannotWrite(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		err := d.Read(ctx, func(tx db.ReadTx) error {
			if _, ok := tx.(db.WriteTx); ok {
				t.Error("a ReadTx can be turned into a WriteTx")
			}
			var id string
			return tx.QueryRow(ctx, "INSERT INTO changes (id, at, topic, item) VALUES ('x', 1, 'test', 'x') RETURNING id").Scan(&id)
		})
		if !errors.Is(err, db.ErrReadOnly) {
			t.Fatal(err)
		}
		if n := count(t, d, notes); n != 0 {
			t.Fatalf("%d rows", n)
		}
	})
}

func TestNowIsTheDatabases(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var before, after time.Time
		for _, now := range []*time.Time{&before, &after} {
			if err := d.Write(t.Context(), func(tx db.WriteTx) error { *now = tx.Now(); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if after.Before(before) || before.Year() < 2020 || before.Location() != time.UTC {
			t.Fatalf("%v, %v", before, after)
		}
	})
}

// yield lets other goroutines come to a point that the test waits for.
func yield() { time.Sleep(time.Millisecond) }

// A plan that was made while a table was small must not read the whole of it later.
func TestWritersLookRowsUp(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		if d.Engine() == db.SQLite {
			return // it knows no other way
		}
		for lane, run := range map[string]func(func(db.ReadTx) error) error{
			"on": func(f func(db.ReadTx) error) error { return d.Read(t.Context(), f) },
			"off": func(f func(db.ReadTx) error) error {
				return d.Write(t.Context(), func(tx db.WriteTx) error { return f(tx) })
			},
		} {
			for _, name := range []string{"enable_hashjoin", "enable_mergejoin"} {
				var got string
				if err := run(func(tx db.ReadTx) error { return tx.QueryRow(t.Context(), "SHOW "+name).Scan(&got) }); err != nil || got != lane {
					t.Errorf("%s is %q, %v; want %q", name, got, err, lane)
				}
			}
		}
	})
}
