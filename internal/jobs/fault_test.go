//go:build faultinject

package jobs_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/jobs"
)

func TestEndIsRecordedThoughTheDatabaseFails(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var fails, times atomic.Int64
		defer failpoint.Set("jobs.finish", 0, func() error {
			if fails.Add(1) <= 3 {
				return failpoint.ErrInjected
			}
			return nil
		})()
		r := jobs.NewRunner(d, jobs.Options{})
		r.Handle("k", func(context.Context, jobs.Job) (jobs.Result, error) { times.Add(1); return jobs.Result{}, nil })
		schedule(t, d, "k", "a", 0)
		run(t, r)
		gone(t, d, "k", "a")
		if fails.Load() != 4 || times.Load() != 1 {
			t.Errorf("%d tries to record, %d times done", fails.Load(), times.Load())
		}
	})
}

func TestEndThatCannotBeRecordedIsDoneAgainByAnother(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		clear := failpoint.Set("jobs.finish", 0, func() error { return failpoint.ErrInjected })
		var times atomic.Int64
		r := jobs.NewRunner(d, jobs.Options{Lease: 600 * time.Millisecond})
		r.Handle("k", func(_ context.Context, j jobs.Job) (jobs.Result, error) {
			if times.Add(1) == 2 {
				clear()
			}
			return jobs.Result{}, nil
		})
		schedule(t, d, "k", "a", 0)
		run(t, r)
		gone(t, d, "k", "a")
		if times.Load() < 2 {
			t.Errorf("done %d times", times.Load())
		}
	})
}

func TestClaimThatCannotBeExtendedIsGivenUpInTime(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		defer failpoint.Set("jobs.extend", 0, func() error { return failpoint.ErrInjected })()
		const lease = 900 * time.Millisecond
		cause := make(chan error, 1)
		until := make(chan int64, 1)
		r := jobs.NewRunner(d, jobs.Options{Lease: lease, BackoffMin: time.Hour, BackoffMax: time.Hour})
		r.Handle("k", func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
			until <- claimedUntil(t, d, "k", "a")
			<-ctx.Done()
			cause <- context.Cause(ctx)
			return jobs.Result{}, ctx.Err()
		})
		schedule(t, d, "k", "a", 0)
		run(t, r)
		before := <-until
		if err := <-cause; !errors.Is(err, jobs.ErrLost) {
			t.Errorf("cause %v", err)
		}
		if failpoint.Fired("jobs.extend") == 0 {
			t.Error("no extension failed")
		}
		if now := claimedUntil(t, d, "k", "a"); now > before {
			t.Errorf("the claim was extended from %d to %d", before, now)
		}
	})
}
