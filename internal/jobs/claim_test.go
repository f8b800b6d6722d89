package jobs_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/jobs"
)

func held(d *db.DB, j jobs.Job) error {
	return d.Write(ctx, func(tx db.WriteTx) error { return jobs.Held(ctx, tx, j) })
}

// steal lets the claim run out, as if its node had been paused: only then may another node take the work.
func steal(t testing.TB, d *db.DB, kind, key string) {
	t.Helper()
	write(t, d, func(tx db.WriteTx) error {
		n, err := tx.Exec(ctx, `UPDATE jobs SET claimed_until = 1 WHERE kind = $1 AND key = $2 AND node <> ''`, kind, key)
		if err == nil && n != 1 {
			err = errors.New("nobody holds it")
		}
		return err
	})
}

func TestLostClaimIsFencedOff(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			d, other := dbtest.OpenURL(t, url, clock.System), dbtest.OpenURL(t, url, clock.System)
			type started struct {
				job jobs.Job
				ctx context.Context
			}
			zombies, heirs := make(chan started, 1), make(chan started, 1)
			release := make(chan struct{})
			zombie := jobs.NewRunner(d, jobs.Options{Node: "zombie"})
			zombie.Handle("k", func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
				zombies <- started{j, ctx}
				<-release
				return jobs.Result{}, nil // it believes that it has finished the work
			})
			schedule(t, d, "k", "a", 0)
			stopZombie := run(t, zombie)
			first := <-zombies
			if err := held(d, first.job); err != nil {
				t.Fatalf("a fresh claim: %v", err)
			}
			heir := jobs.NewRunner(other, jobs.Options{Node: "heir"})
			finish := make(chan struct{})
			heir.Handle("k", func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
				heirs <- started{j, ctx}
				<-finish
				return jobs.Result{}, held(other, j)
			})
			// No other claims while the lease lasts.
			run(t, heir)
			heir.Wake()
			time.Sleep(50 * time.Millisecond)
			if len(heirs) != 0 {
				t.Fatal("claimed twice")
			}
			steal(t, d, "k", "a")
			heir.Wake()
			second := <-heirs
			if second.job.Epoch <= first.job.Epoch || second.job.Attempt != 2 {
				t.Errorf("second claim %+v after %+v", second.job, first.job)
			}
			if err := held(d, first.job); !errors.Is(err, jobs.ErrLost) {
				t.Errorf("the zombie's claim: %v", err)
			}
			if err := held(d, second.job); err != nil {
				t.Errorf("the heir's claim: %v", err)
			}
			close(release) // the zombie's end must change nothing
			stopZombie()
			if err := held(d, second.job); err != nil {
				t.Errorf("the heir's claim after the zombie's end: %v", err)
			}
			close(finish)
			gone(t, d, "k", "a")
		})
	}
}

func claimedUntil(t testing.TB, d *db.DB, kind, key string) (until int64) {
	t.Helper()
	if err := d.Read(ctx, func(tx db.ReadTx) error {
		return tx.QueryRow(ctx, `SELECT claimed_until FROM jobs WHERE kind = $1 AND key = $2`, kind, key).Scan(&until)
	}); err != nil {
		t.Fatal(err)
	}
	return until
}

func TestHeartbeatKeepsTheClaimAndNoticesItsLoss(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		entered := make(chan jobs.Job, 1)
		lost := make(chan error, 1)
		r := jobs.NewRunner(d, jobs.Options{Lease: 1500 * time.Millisecond})
		r.Handle("k", func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
			entered <- j
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return jobs.Result{}, ctx.Err()
		})
		schedule(t, d, "k", "a", 0)
		run(t, r)
		j := <-entered
		first := claimedUntil(t, d, "k", "a")
		eventually(t, func() bool { return claimedUntil(t, d, "k", "a") > first }, "the claim is not extended")
		if err := held(d, j); err != nil {
			t.Errorf("after an extension: %v", err)
		}
		write(t, d, func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, "k", "a") })
		if cause := <-lost; !errors.Is(cause, jobs.ErrLost) {
			t.Errorf("cause %v", cause)
		}
		if err := held(d, j); !errors.Is(err, jobs.ErrLost) {
			t.Errorf("after cancelling: %v", err)
		}
	})
}

func TestCancelledAndScheduledAnewIsAnotherClaim(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		claims := make(chan jobs.Job, 4)
		release := make(chan struct{})
		r := jobs.NewRunner(d, jobs.Options{})
		r.Handle("k", func(_ context.Context, j jobs.Job) (jobs.Result, error) {
			claims <- j
			<-release
			return jobs.Result{Next: clock.System.Now().Add(time.Hour)}, nil
		})
		schedule(t, d, "k", "a", 0)
		stop := run(t, r)
		first := <-claims
		write(t, d, func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, "k", "a") })
		schedule(t, d, "k", "a", time.Hour)
		if err := held(d, first); !errors.Is(err, jobs.ErrLost) {
			t.Errorf("a claim of the row that went holds for the row that came: %v", err)
		}
		before, _ := status(t, d, "k", "a")
		close(release)
		stop()
		if after, _ := status(t, d, "k", "a"); after != before {
			t.Errorf("the end of the cancelled work changed the new one: %+v, was %+v", after, before)
		}
	})
}

// A claim that is taken between the check and the commit must undo what the check allowed.
func TestHeldGuardsTheWholeTransaction(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			if engine == db.SQLite {
				t.Log("one writer at a time: nothing can come between")
				return
			}
			url := dbtest.URL(t, engine)
			d, other := dbtest.OpenURL(t, url, clock.System), dbtest.OpenURL(t, url, clock.System)
			entered, release := make(chan jobs.Job, 1), make(chan struct{})
			r := jobs.NewRunner(d, jobs.Options{})
			r.Handle("k", func(_ context.Context, j jobs.Job) (jobs.Result, error) {
				entered <- j
				<-release
				return jobs.Result{}, nil
			})
			schedule(t, d, "k", "a", 0)
			schedule(t, d, "state", "a", time.Hour) // stands for what the handlers work on
			run(t, r)
			defer close(release)
			j := <-entered
			runs := 0
			err := d.Write(ctx, func(tx db.WriteTx) error {
				runs++
				if err := jobs.Held(ctx, tx, j); err != nil {
					return err
				}
				if runs == 1 {
					// Another node takes the work and acts on what it sees.
					if err := overtake(other); err != nil {
						return err
					}
				}
				_, err := tx.Exec(ctx, `UPDATE jobs SET last_error = 'zombie' WHERE kind = 'state' AND key = 'a'`)
				return err
			})
			if !errors.Is(err, jobs.ErrLost) {
				t.Errorf("the overtaken transaction: %v", err)
			}
			if s, _ := status(t, d, "state", "a"); s.LastError != "heir" {
				t.Errorf("state was last written by %q", s.LastError)
			}
		})
	}
}

// overtake is another node's claim, and its act, on another goroutine because it is another node.
func overtake(d *db.DB) error {
	done := make(chan error)
	go func() {
		done <- func() error {
			if err := d.Write(ctx, func(tx db.WriteTx) error {
				_, err := tx.Exec(ctx, `UPDATE jobs SET epoch = epoch + 1, node = 'heir' WHERE kind = 'k' AND key = 'a'`)
				return err
			}); err != nil {
				return err
			}
			return d.Write(ctx, func(tx db.WriteTx) error {
				var before string
				if err := tx.QueryRow(ctx, `SELECT last_error FROM jobs WHERE kind = 'state' AND key = 'a'`).Scan(&before); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `UPDATE jobs SET last_error = 'heir' WHERE kind = 'state' AND key = 'a'`)
				return err
			})
		}()
	}()
	return <-done
}
