package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// Listed is a session as its person sees it among all.
type Listed struct {
	Session
	LastSeen  time.Time // at most a minute or two late
	IP        string    // of the login
	UserAgent string
}

// List lists the sessions of a person, the last used first.
func (m *Manager) List(ctx context.Context, tx db.ReadTx, userID string) ([]Listed, error) {
	rows, err := tx.Query(ctx, `SELECT id, amr, auth_time, last_seen, expires, device_id, ip, user_agent FROM sessions
		WHERE user_id = $1 AND expires > $2 AND last_seen > $3 ORDER BY last_seen DESC, id LIMIT 200`,
		userID, db.Micros(tx.Now()), db.Micros(tx.Now().Add(-m.o.Idle)))
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	defer rows.Close()
	var list []Listed
	for rows.Next() {
		var l Listed
		var amr string
		var auth, seen, expires int64
		if err := rows.Scan(&l.ID, &amr, &auth, &seen, &expires, &l.Device, &l.IP, &l.UserAgent); err != nil {
			return nil, fmt.Errorf("read a session: %w", err)
		}
		l.AMR, l.AuthTime, l.LastSeen, l.Expires = strings.Fields(amr), db.Time(auth), db.Time(seen), db.Time(expires)
		list = append(list, l)
	}
	return list, rows.Err()
}

// EndOne signs the caller out of one of his own sessions. Another person's is not found.
func (m *Manager) EndOne(ctx context.Context, tx db.WriteTx, u identity.User, sessionID string) error {
	var owner string
	err := tx.QueryRow(ctx, `SELECT user_id FROM sessions WHERE id = $1 AND user_id = $2`, sessionID, u.ID).Scan(&owner)
	if errors.Is(err, db.ErrNoRows) {
		return fault.New(fault.NotFound, "session_not_found", "You have no such session.")
	}
	if err != nil {
		return fmt.Errorf("read session: %w", err)
	}
	return m.end(ctx, tx, Session{ID: sessionID, User: u}, "ended")
}

// EndOthers signs the person out everywhere but in one session.
func (m *Manager) EndOthers(ctx context.Context, tx db.WriteTx, u identity.User, keep string) error {
	ids, err := db.Texts(ctx, tx, `SELECT id FROM sessions WHERE user_id = $1 AND id <> $2`, u.ID, keep)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	for _, sessionID := range ids {
		if err := m.end(ctx, tx, Session{ID: sessionID, User: u}, "ended"); err != nil {
			return err
		}
	}
	return nil
}

// EndAllOf signs the person out everywhere, in the caller's transaction, which also records why.
func (m *Manager) EndAllOf(ctx context.Context, tx db.WriteTx, userID string) error {
	_, err := m.EndThese(ctx, tx, Which{UserID: userID}, "signed_out_everywhere")
	return err
}

// Alive tells within a transaction whether the session still is: for what was begun in it and ends later, such as an
// authorization code.
func Alive(ctx context.Context, tx db.ReadTx, sessionID string) (bool, error) {
	var expires int64
	err := tx.QueryRow(ctx, `SELECT expires FROM sessions WHERE id = $1`, sessionID).Scan(&expires)
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read session: %w", err)
	}
	return tx.Now().Before(db.Time(expires)), nil
}
