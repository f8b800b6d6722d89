package db_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

// One text may run while the rows of the same text are being read, after it failed, after the table changed under it, and
// with other texts by the hundred between; each time it must give what is there now.
func TestSameTextAgain(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		const insert, list = `INSERT INTO teams (id, name, revision, created, created_by, modified, modified_by) VALUES ($1, $2, 1, 0, '', 0, '')`, `SELECT id, name FROM teams WHERE id >= $1 ORDER BY id`
		write := func(f func(ctx context.Context, tx db.WriteTx) error) error {
			return d.Write(t.Context(), func(tx db.WriteTx) error { return f(t.Context(), tx) })
		}
		if err := write(func(ctx context.Context, tx db.WriteTx) error {
			for i := range 5 {
				if _, err := tx.Exec(ctx, insert, fmt.Sprintf("team-%d", i), "name"); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := tx.Exec(ctx, insert, "team-1", "twice")
			return err
		}); err == nil {
			t.Error("a conflict passed")
		}
		if err := write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := tx.Exec(ctx, insert, "team-9", "once")
			return err
		}); err != nil {
			t.Errorf("after a conflict the same text fails: %v", err)
		}
		count := func(tx db.ReadTx, from string) (n int, err error) {
			rows, err := tx.Query(t.Context(), list, from)
			if err != nil {
				return 0, err
			}
			defer rows.Close()
			for rows.Next() {
				n++
			}
			return n, rows.Err()
		}
		err := d.Read(t.Context(), func(tx db.ReadTx) error {
			for i := range 200 {
				var n int
				if err := tx.QueryRow(t.Context(), fmt.Sprintf(`SELECT %d FROM teams WHERE id = 'team-0'`, i)).Scan(&n); err != nil || n != i {
					return fmt.Errorf("text %d: %d, %w", i, n, err)
				}
			}
			if n, err := count(tx, "team-3"); err != nil || n != 3 {
				return fmt.Errorf("%d teams from team-3 on, %w", n, err)
			}
			n, err := count(tx, "")
			if err != nil || n != 6 {
				return fmt.Errorf("%d teams, %w", n, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// While rows are open only SQLite lets the same transaction ask again.
func TestSameTextWhileItsRowsAreRead(t *testing.T) {
	d := dbtest.Open(t, db.SQLite, nil)
	err := d.Read(t.Context(), func(tx db.ReadTx) error {
		const numbers = `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < $1) SELECT x FROM n`
		outer, err := tx.Query(t.Context(), numbers, 4)
		if err != nil {
			return err
		}
		defer outer.Close()
		seen := 0
		for outer.Next() {
			var last int
			inner, err := tx.Query(t.Context(), numbers, 7)
			if err != nil {
				return err
			}
			for inner.Next() {
				if err := inner.Scan(&last); err != nil {
					return err
				}
			}
			if err := inner.Close(); err != nil || last != 7 {
				return fmt.Errorf("the inner rows end at %d, %w", last, err)
			}
			seen++
			var x int
			if err := outer.Scan(&x); err != nil || x != seen {
				return fmt.Errorf("row %d is %d, %w", seen, x, err)
			}
		}
		if seen != 4 {
			t.Errorf("%d rows", seen)
		}
		return outer.Err()
	})
	if err != nil {
		t.Error(err)
	}
}

// What ran a thousand times when the server started leaves room for what runs now, and memory is bounded.
func TestStatementsThatRunAreKept(t *testing.T) {
	d := dbtest.Open(t, db.SQLite, nil)
	const often = `SELECT count(*) FROM teams`
	ask := func(query string) {
		t.Helper()
		var n int
		if err := d.Write(t.Context(), func(tx db.WriteTx) error { return tx.QueryRow(t.Context(), query).Scan(&n) }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		ask(fmt.Sprintf(`SELECT %d FROM teams UNION SELECT 0`, i))
		if i > 500 && i%50 == 0 {
			ask(often)
		}
	}
	kept, all, err := db.Kept(t.Context(), d, often)
	if err != nil || !kept || all > 256 {
		t.Errorf("kept: %v, with %d texts in all, %v", kept, all, err)
	}
}
