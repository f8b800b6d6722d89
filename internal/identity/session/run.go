package session

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// Run writes when sessions were last used until ctx ends, and then writes the rest.
func (m *Manager) Run(ctx context.Context) error {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return m.Flush(last)
		case <-flush.C:
			if err := m.Flush(ctx); err != nil && ctx.Err() == nil {
				m.o.Logger.Warn("uses of sessions could not be written; they are kept and tried again", "error", err)
			}
		}
	}
}

// Flush writes now when sessions were last used. What cannot be written stays for the next time.
func (m *Manager) Flush(ctx context.Context) error {
	m.mu.Lock()
	taken := m.seen
	m.seen = map[string]time.Time{}
	m.mu.Unlock()
	for len(taken) > 0 {
		var batch []string
		for sessionID := range taken {
			if batch = append(batch, sessionID); len(batch) == flushRows {
				break
			}
		}
		err := m.d.Write(ctx, func(tx db.WriteTx) error {
			for _, sessionID := range batch {
				// A session that has ended meanwhile has no row.
				if _, err := tx.Exec(ctx, `UPDATE sessions SET last_seen = $2 WHERE id = $1 AND last_seen < $2`, sessionID, db.Micros(taken[sessionID])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			m.putBack(taken)
			return fmt.Errorf("note uses of sessions: %w", err)
		}
		for _, sessionID := range batch {
			delete(taken, sessionID)
		}
	}
	return nil
}

func (m *Manager) putBack(taken map[string]time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for sessionID, at := range taken {
		if m.seen[sessionID].Before(at) && len(m.seen) < maxSeen {
			m.seen[sessionID] = at
		}
	}
}

// Sweep removes sessions that are over, and tells how many.
func (m *Manager) Sweep(ctx context.Context) (removed int64, err error) {
	n, err := m.d.RemoveExpired(ctx,
		db.Expiry{Table: "sessions", Key: "id", Column: "expires"},
		// What a node has in memory about the last use may be two minutes ahead of the row.
		db.Expiry{Table: "sessions", Key: "id", Column: "last_seen", Keep: m.o.Idle + 2*seenEvery},
	)
	return n["sessions"], err
}
