package jobs_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/jobs"
)

// heldLog keeps the log's first event about the end of a job back: the end is recorded then, and its runner busy with it.
type heldLog struct {
	slog.Handler
	once          sync.Once
	held, release chan struct{}
}

func (h *heldLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "a job ended" {
		h.once.Do(func() { close(h.held); <-h.release })
	}
	return nil
}

func (h *heldLog) Enabled(context.Context, slog.Level) bool { return true }

// A key that is due at once again may be claimed before the runner has forgotten the claim before.
func TestANewClaimOnTheSameKeyIsExtended(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			d := dbtest.Open(t, engine, clock.System)
			log := &heldLog{Handler: slog.DiscardHandler, held: make(chan struct{}), release: make(chan struct{})}
			r := jobs.NewRunner(d, jobs.Options{Lease: 300 * time.Millisecond, Logger: slog.New(log)})
			started, end := make(chan int, 10), make(chan struct{})
			runs := 0
			var mu sync.Mutex
			r.Handle("work", func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
				mu.Lock()
				runs++
				n := runs
				mu.Unlock()
				started <- n
				if n == 1 {
					return jobs.Result{Next: time.Unix(0, 0)}, nil
				}
				<-end
				return jobs.Result{}, nil
			})
			schedule(t, d, "work", "a", 0)
			run(t, r)
			<-started
			<-log.held
			r.Wake()
			<-started // the second claim, while the first is being reported
			close(log.release)
			claimedUntil := func() (until int64) {
				if err := d.Read(ctx, func(tx db.ReadTx) error {
					return tx.QueryRow(ctx, `SELECT claimed_until FROM jobs WHERE kind = $1 AND key = $2`, "work", "a").Scan(&until)
				}); err != nil {
					t.Fatal(err)
				}
				return until
			}
			first := claimedUntil()
			eventually(t, func() bool { return claimedUntil() >= first+time.Second.Microseconds() }, "the claim was not extended")
			close(end)
			gone(t, d, "work", "a")
			select {
			case n := <-started:
				t.Errorf("the work was claimed a %d. time while it was being done", n)
			default:
			}
		})
	}
}
