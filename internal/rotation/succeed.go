package rotation

import (
	"context"
	"fmt"

	"github.com/mintmark/mintmark/internal/db"
)

// succeed takes over from an earlier process of this name that ended without a goodbye. Other nodes must wait until it can
// no longer accept logins; we know that it is dead, so the time that it may have watched in vain ends now.
func (s *Service) succeed(ctx context.Context) error {
	err := s.db.Write(ctx, func(tx db.WriteTx) error {
		n, err := tx.Exec(ctx, `DELETE FROM rotation_watchers WHERE node = $1`, s.o.Node)
		if err != nil || n == 0 {
			return err // the first start, an orderly end, or others gave it up already
		}
		// No row is affected when a later gap is noted already: it covers this one.
		now := db.Micros(tx.Now())
		if _, err := tx.Exec(ctx, `UPDATE rotation_watch SET since = $1 WHERE id = 1 AND since < $1`, now); err != nil {
			return err
		}
		tx.AfterCommit(func() {
			s.metrics.lostWatchers.Inc()
			s.log.Warn("the last run of this server ended without a goodbye; what it observed last is lost", "since", db.Time(now))
		})
		return nil
	})
	if err != nil {
		return fmt.Errorf("take over from the last run of this server: %w", err)
	}
	return nil
}
