package rotation

import (
	"context"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/jobs"
)

// HoldBy makes the service ask f instead of the queue whether a claim still holds, so that a test can run one job step by
// step and take its claim away in the middle.
func (s *Service) HoldBy(f func(ctx context.Context, tx db.WriteTx, j jobs.Job) error) { s.held = f }
