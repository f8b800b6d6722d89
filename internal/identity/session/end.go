package session

import (
	"context"
	"fmt"

	"github.com/mintmark/mintmark/internal/db"
)

// Which sessions to end: exactly one of its fields is set.
type Which struct {
	ID     string // this one
	UserID string // all of this person
	Realm  string // all of the people of this realm
	All    bool
}

// condition selects the sessions, in SQL.
func (w Which) condition() (condition string, args []any) {
	switch {
	case w.ID != "":
		return `id = $1`, []any{w.ID}
	case w.UserID != "":
		return `user_id = $1`, []any{w.UserID}
	case w.Realm != "":
		return `user_id IN (SELECT id FROM users WHERE realm = $1)`, []any{w.Realm}
	case w.All:
		return `id <> ''`, nil
	}
	return `id = ''`, nil // nothing was named, so nothing ends
}

// OnEnding has f called in the transaction that ends sessions, while their rows are still there, unless they are over by
// themselves. Call it before anything runs.
func (m *Manager) OnEnding(f func(ctx context.Context, tx db.WriteTx, which Which, why string) error) {
	m.ending = append(m.ending, f)
}

// fewEnded is how many sessions are named to the other nodes one by one. Of more, they forget all that they hold.
const fewEnded = 100

// EndThese ends sessions in the caller's transaction, which also records why, and tells how many there were.
func (m *Manager) EndThese(ctx context.Context, tx db.WriteTx, which Which, why string) (int, error) {
	condition, args := which.condition()
	var n int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM sessions WHERE `+condition, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count sessions: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	changed := []string{db.AllKeys}
	if n <= fewEnded {
		var err error
		if changed, err = db.Texts(ctx, tx, `SELECT id FROM sessions WHERE `+condition, args...); err != nil {
			return 0, fmt.Errorf("list sessions: %w", err)
		}
	}
	for _, f := range m.ending {
		if err := f(ctx, tx, which, why); err != nil {
			return 0, err
		}
	}
	if _, err := tx.Exec(ctx, `DELETE FROM sessions WHERE `+condition, args...); err != nil {
		return 0, fmt.Errorf("end sessions: %w", err)
	}
	for _, key := range changed {
		if err := tx.Changed(ctx, topic, key); err != nil {
			return 0, err
		}
	}
	return n, nil
}
