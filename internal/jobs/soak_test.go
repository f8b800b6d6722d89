package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/jobs"
)

// Three runners, handlers that fail, panic and ask for more at random, and others who ask all the time: the same work is
// never done twice at once, and no request is lost.
func TestNothingIsLostAndNothingIsDoneTwiceAtOnce(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			const keys, askers, asks = 6, 3, 25
			var asked, seen, active [keys]atomic.Int64
			for n := range 3 {
				r := jobs.NewRunner(dbtest.OpenURL(t, url, clock.System), jobs.Options{
					Node: fmt.Sprint("node", n), Workers: 4, BackoffMin: time.Millisecond, BackoffMax: 20 * time.Millisecond,
				})
				r.Handle("k", func(_ context.Context, j jobs.Job) (jobs.Result, error) {
					var k int
					if _, err := fmt.Sscan(j.Key, &k); err != nil {
						return jobs.Result{}, err
					}
					if n := active[k].Add(1); n != 1 {
						t.Errorf("key %d is being done %d times at once", k, n)
					}
					defer active[k].Add(-1)
					now := asked[k].Load() // what this run takes care of, if it succeeds
					time.Sleep(rand.N(3 * time.Millisecond))
					switch rand.IntN(5) {
					case 0:
						return jobs.Result{}, errors.New("bad luck")
					case 1:
						panic("worse luck")
					}
					for old := seen[k].Load(); now > old && !seen[k].CompareAndSwap(old, now); old = seen[k].Load() {
					}
					return jobs.Result{}, nil
				}, jobs.Policy{Concurrency: 4})
				run(t, r)
			}
			d := dbtest.OpenURL(t, url, clock.System)
			var asking sync.WaitGroup
			for range askers {
				asking.Go(func() {
					for range asks {
						k := rand.IntN(keys)
						asked[k].Add(1)
						if err := d.Write(ctx, func(tx db.WriteTx) error {
							return jobs.Schedule(ctx, tx, "k", fmt.Sprint(k), tx.Now().Add(rand.N(20*time.Millisecond)))
						}); err != nil {
							t.Error(err)
						}
						time.Sleep(rand.N(5 * time.Millisecond))
					}
				})
			}
			asking.Wait()
			for k := range keys {
				eventually(t, func() bool { return seen[k].Load() == asked[k].Load() }, fmt.Sprintf("a request for key %d was lost", k))
				gone(t, d, "k", fmt.Sprint(k))
			}
		})
	}
}

func TestRunnerWithoutDatabaseWaitsAndEnds(t *testing.T) {
	d, err := db.Open(ctx, db.Options{URL: "sqlite:" + t.TempDir() + "/x.db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	var log lines
	r := jobs.NewRunner(d, jobs.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	r.Handle("k", finished)
	stop := run(t, r)
	eventually(t, func() bool { return log.contain("cannot look for due work") }, "nothing is said")
	stop()
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) contain(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}
