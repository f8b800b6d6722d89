package db_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

const addTeam = `INSERT INTO teams (id, name, revision, created, created_by, modified, modified_by) VALUES ($1, $2, 1, 0, '', 0, '')`

// teamNames is what a batch does that first reads which teams are there.
type teamNames struct {
	opened, asked []string
	query         string
	write         func(ctx context.Context, tx db.WriteTx) error
}

func (n *teamNames) batch(d *db.DB) *db.Batch[string] {
	b := db.NewBatch(d, 10, func(ctx context.Context, tx db.WriteTx, _ []string) error { return n.write(ctx, tx) })
	b.Open(func(items []string) *db.Opening {
		n.opened, n.asked = nil, items
		return &db.Opening{Query: n.query, Args: []any{items[0]}, Row: func(row db.Row) error {
			var name string
			err := row.Scan(&name)
			n.opened = append(n.opened, name)
			return err
		}}
	})
	return b
}

func TestBatchReadsAheadAndStoresLast(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := &teamNames{query: `SELECT name FROM teams WHERE id >= $1 ORDER BY id`}
		n.write = func(ctx context.Context, tx db.WriteTx) error {
			return tx.AtCommit(ctx, addTeam, "team-"+string(rune('a'+len(n.opened))), strings.Join(n.opened, " "))
		}
		b := n.batch(d)
		for range 3 {
			if err := b.Do(t.Context(), "team-"); err != nil {
				t.Fatal(err)
			}
		}
		var last string
		if err := d.Read(t.Context(), func(tx db.ReadTx) error {
			return tx.QueryRow(t.Context(), `SELECT name FROM teams WHERE id = $1`, "team-c").Scan(&last)
		}); err != nil || len(n.opened) != 2 {
			t.Errorf("the third of them read %q, stored %q, %v", n.opened, last, err)
		}
	})
}

// A statement that fails with the commit takes all of the transaction along, and the next one is not touched by it.
func TestFailureAtCommitUndoesAll(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := &teamNames{query: `SELECT name FROM teams WHERE id >= $1 ORDER BY id`}
		twice := true
		n.write = func(ctx context.Context, tx db.WriteTx) error {
			if _, err := tx.Exec(ctx, addTeam, "team-a", "first"); err != nil {
				return err
			}
			if !twice {
				return nil
			}
			return tx.AtCommit(ctx, addTeam, "team-a", "again")
		}
		b := n.batch(d)
		if err := b.Do(t.Context(), "team-"); !errors.Is(err, db.ErrConflict) {
			t.Fatalf("the same key twice: %v", err)
		}
		twice = false
		if err := b.Do(t.Context(), "team-"); err != nil || len(n.opened) != 0 {
			t.Errorf("after a failure there are %q, %v", n.opened, err)
		}
	})
}

func TestBatchWhoseFirstQuestionFails(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := &teamNames{query: `SELECT nothing FROM nowhere WHERE id = $1`}
		n.write = func(context.Context, db.WriteTx) error { t.Error("it went on"); return nil }
		b := n.batch(d)
		if err := b.Do(t.Context(), "team-"); err == nil {
			t.Error("a question that no database can answer passed")
		}
		n.query, n.write = `SELECT name FROM teams WHERE id = $1`, func(context.Context, db.WriteTx) error { return nil }
		if err := b.Do(t.Context(), "team-"); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// What a connection told that died is not told once more beside what the next one tells.
func TestOpeningIsAskedAnewOfAnotherConnection(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		n := &teamNames{query: `SELECT name FROM teams WHERE id >= $1`, write: func(ctx context.Context, tx db.WriteTx) error {
			_, err := tx.Exec(ctx, addTeam, "team-a", "first")
			return err
		}}
		b := n.batch(d)
		if err := b.Do(t.Context(), "team-"); err != nil {
			t.Fatal(err)
		}
		n.write = func(context.Context, db.WriteTx) error { return nil }
		db.LoseOpening(d)
		if err := b.Do(t.Context(), "team-"); err != nil || len(n.opened) != 1 {
			t.Errorf("there is one team, and %q was read, %v", n.opened, err)
		}
	})
}
