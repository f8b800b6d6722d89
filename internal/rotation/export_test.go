package rotation

import (
	"context"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/jobs"
)

// HoldBy makes the service ask f instead of the queue whether a claim still holds, so that a test can run one job step by
// step and take its claim away in the middle.
func (s *Service) HoldBy(f func(ctx context.Context, tx db.WriteTx, j jobs.Job) error) { s.held = f }

// Report does at once what Watch does every few seconds; Leave what it does at the end.
func (s *Service) Report(ctx context.Context) error {
	return s.report(ctx, func() time.Duration { return 0 })
}

func (s *Service) Leave(ctx context.Context) error { return s.leave(ctx) }

// Counts are the queries of a scrape, by the index that each must take.
var Counts = map[string]string{"rotation_versions_live": countVersions, "rotation_credentials_problem": countProblems, "rotation_deliveries_failing": countFailing}
