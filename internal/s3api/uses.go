package s3api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// useInterval is how often the last uses are written down.
const useInterval = 30 * time.Second

// uses remembers when keys were last used, until it is written down. It holds known keys only, so callers cannot fill it.
type uses struct {
	mu   *sync.Mutex
	last map[string]time.Time // owned by mu
}

func newUses() uses { return uses{mu: new(sync.Mutex), last: map[string]time.Time{}} }

func (u *uses) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last[id] = at
}

func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.last
	u.last = map[string]time.Time{}
	return taken
}

// giveBack returns what could not be written, unless something later was noted.
func (u *uses) giveBack(taken map[string]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range taken {
		if u.last[id].Before(at) {
			u.last[id] = at
		}
	}
}

// Run writes down when keys were last used, every half minute and once more when ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(useInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			return s.FlushUses(last)
		case <-ticker.C:
			if err := s.FlushUses(ctx); err != nil {
				s.log.WarnContext(ctx, "the last uses of S3 access keys were not written down; they are kept for the next time", "error", err)
			}
		}
	}
}

// FlushUses writes down what is remembered.
func (s *Server) FlushUses(ctx context.Context) error {
	taken := s.used.take()
	if len(taken) == 0 {
		return nil
	}
	err := s.db.Write(ctx, func(tx db.WriteTx) error {
		for _, id := range slices.Sorted(maps.Keys(taken)) {
			if err := noteUse(ctx, tx, id, taken[id]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.used.giveBack(taken)
		return fmt.Errorf("s3api: note the last uses of access keys: %w", err)
	}
	return nil
}
