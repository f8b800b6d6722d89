package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
)

var ctx = context.Background()

func write(t testing.TB, d *db.DB, f func(tx db.WriteTx) error) {
	t.Helper()
	if err := d.Write(ctx, f); err != nil {
		t.Fatal(err)
	}
}

// schedule makes work due this much from now.
func schedule(t testing.TB, d *db.DB, kind, key string, in time.Duration) {
	t.Helper()
	write(t, d, func(tx db.WriteTx) error { return jobs.Schedule(ctx, tx, kind, key, tx.Now().Add(in)) })
}

func status(t testing.TB, d *db.DB, kind, key string) (s jobs.Status, found bool) {
	t.Helper()
	err := d.Read(ctx, func(tx db.ReadTx) (err error) { s, err = jobs.Get(ctx, tx, kind, key); return err })
	if fault.Is(err, fault.NotFound) {
		return s, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, true
}

// gone waits until the work is no more in the table.
func gone(t testing.TB, d *db.DB, kind, key string) {
	t.Helper()
	eventually(t, func() bool { _, found := status(t, d, kind, key); return !found }, kind+" "+key+" is still there")
}

// eventually waits for what must come. The limit is only there so that a failing test ends.
func eventually(t testing.TB, ok func() bool, otherwise string) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(otherwise)
}

// run runs a runner until the test or stop ends it; stop waits for it.
func run(t testing.TB, r *jobs.Runner) (stop func()) {
	t.Helper()
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(running); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func finished(context.Context, jobs.Job) (jobs.Result, error) { return jobs.Result{}, nil }

func TestEachDueJobIsDoneOnceByThreeRunners(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			first := dbtest.OpenURL(t, url, clock.System)
			const keys = 60
			write(t, first, func(tx db.WriteTx) error {
				for i := range keys {
					if err := jobs.Schedule(ctx, tx, "count", fmt.Sprint(i), tx.Now()); err != nil {
						return err
					}
				}
				return nil
			})
			var mu sync.Mutex
			done := map[string]int{}
			nodes := map[string]bool{}
			for n := range 3 {
				node := fmt.Sprint("node", n)
				r := jobs.NewRunner(dbtest.OpenURL(t, url, clock.System), jobs.Options{Node: node})
				r.Handle("count", func(_ context.Context, j jobs.Job) (jobs.Result, error) {
					mu.Lock()
					defer mu.Unlock()
					done[j.Key]++
					nodes[node] = true
					return jobs.Result{}, nil
				})
				run(t, r)
			}
			for i := range keys {
				gone(t, first, "count", fmt.Sprint(i))
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range keys {
				if done[fmt.Sprint(i)] != 1 {
					t.Errorf("job %d was done %d times", i, done[fmt.Sprint(i)])
				}
			}
			t.Logf("nodes that worked: %v", nodes)
		})
	}
}

func TestNextTimeAndNotBefore(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
			d := dbtest.Open(t, engine, c)
			var times atomic.Int64
			r := jobs.NewRunner(d, jobs.Options{})
			r.Handle("tick", func(context.Context, jobs.Job) (jobs.Result, error) {
				times.Add(1)
				return jobs.Result{Next: c.Now().Add(time.Hour)}, nil
			})
			schedule(t, d, "tick", "a", time.Minute)
			run(t, r)
			r.Wake()
			time.Sleep(50 * time.Millisecond) // give it a chance to be wrong
			if n := times.Load(); n != 0 {
				t.Fatalf("done %d times before it was due", n)
			}
			for n := int64(1); n <= 3; n++ {
				c.Advance(time.Hour)
				r.Wake()
				eventually(t, func() bool {
					if times.Load() != n { // first, or a look from before the claim could pass for one from after the end
						return false
					}
					s, _ := status(t, d, "tick", "a")
					return s.Node == ""
				}, "not done when due")
			}
			s, _ := status(t, d, "tick", "a")
			if want := c.Now().Add(time.Hour); !s.Due.Equal(want) || s.Attempts != 0 {
				t.Errorf("due %v, want %v; attempts %d", s.Due, want, s.Attempts)
			}
		})
	}
}

func TestScheduleKeepsTheEarlierTime(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		schedule(t, d, "k", "a", time.Hour)
		before, _ := status(t, d, "k", "a")
		schedule(t, d, "k", "a", 2*time.Hour)
		if s, _ := status(t, d, "k", "a"); !s.Due.Equal(before.Due) {
			t.Errorf("a later time moved it from %v to %v", before.Due, s.Due)
		}
		schedule(t, d, "k", "a", time.Minute)
		if s, _ := status(t, d, "k", "a"); !s.Due.Before(before.Due) {
			t.Errorf("an earlier time left it at %v", s.Due)
		}
		if err := d.Write(ctx, func(tx db.WriteTx) error {
			if err := jobs.Schedule(ctx, tx, "k", "b", tx.Now()); err != nil {
				return err
			}
			return errors.New("rolled back")
		}); err == nil {
			t.Fatal("no error")
		}
		if _, found := status(t, d, "k", "b"); found {
			t.Error("work of a transaction that was rolled back is there")
		}
		write(t, d, func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, "k", "a") })
		if _, found := status(t, d, "k", "a"); found {
			t.Error("cancelled work is there")
		}
		write(t, d, func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, "k", "a") })
	})
}

func TestAskedForAgainWhileBeingDone(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		entered, proceed := make(chan struct{}, 10), make(chan struct{})
		var times atomic.Int64
		r := jobs.NewRunner(d, jobs.Options{})
		r.Handle("k", func(context.Context, jobs.Job) (jobs.Result, error) {
			times.Add(1)
			entered <- struct{}{}
			<-proceed
			return jobs.Result{}, nil
		})
		schedule(t, d, "k", "a", 0)
		run(t, r)
		<-entered
		schedule(t, d, "k", "a", time.Hour)
		schedule(t, d, "k", "a", 0)
		schedule(t, d, "k", "a", time.Hour)
		if n := times.Load(); n != 1 {
			t.Errorf("done %d times at once", n)
		}
		proceed <- struct{}{}
		<-entered // done once more, and now: the earliest counts
		close(proceed)
		gone(t, d, "k", "a")
		if n := times.Load(); n != 2 {
			t.Errorf("done %d times, want 2", n)
		}
	})
}

func TestFailureIsTriedAgainAfterAGrowingPause(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
			d := dbtest.Open(t, engine, c)
			var attempts []int
			var mu sync.Mutex
			fails := 6
			r := jobs.NewRunner(d, jobs.Options{})
			r.Handle("k", func(_ context.Context, j jobs.Job) (jobs.Result, error) {
				mu.Lock()
				defer mu.Unlock()
				attempts = append(attempts, j.Attempt)
				if len(attempts) <= fails {
					return jobs.Result{}, errors.New("the bucket\x00 said no")
				}
				return jobs.Result{Next: c.Now().Add(24 * time.Hour)}, nil
			}, jobs.Policy{BackoffMin: 10 * time.Second, BackoffMax: 100 * time.Second})
			schedule(t, d, "k", "a", 0)
			run(t, r)
			for i, most := range []time.Duration{10, 20, 40, 80, 100, 100} {
				most *= time.Second
				eventually(t, func() bool { s, _ := status(t, d, "k", "a"); return s.Attempts == i+1 && s.Node == "" }, "no attempt")
				s, _ := status(t, d, "k", "a")
				if pause := s.Due.Sub(c.Now()); pause < most/2 || pause > most {
					t.Errorf("pause %d is %v, want between %v and %v", i+1, pause, most/2, most)
				}
				if s.LastError != "the bucket  said no" {
					t.Errorf("last error %q", s.LastError)
				}
				c.Set(s.Due)
				r.Wake()
			}
			eventually(t, func() bool { s, _ := status(t, d, "k", "a"); return s.Attempts == 0 && s.LastError == "" }, "success is not noted")
			mu.Lock()
			defer mu.Unlock()
			if got := fmt.Sprint(attempts); got != "[1 2 3 4 5 6 7]" {
				t.Errorf("attempts %s", got)
			}
		})
	}
}

func TestFailingListsWhatFails(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		r := jobs.NewRunner(d, jobs.Options{})
		r.Handle("bad", func(context.Context, jobs.Job) (jobs.Result, error) { return jobs.Result{}, errors.New("no") })
		schedule(t, d, "bad", "a", 0)
		schedule(t, d, "good", "a", time.Hour)
		run(t, r)
		eventually(t, func() bool {
			var all []jobs.Status
			if err := d.Read(ctx, func(tx db.ReadTx) (err error) { all, err = jobs.Failing(ctx, tx, 10); return err }); err != nil {
				t.Fatal(err)
			}
			return len(all) == 1 && all[0].Kind == "bad" && all[0].LastError == "no"
		}, "the failing job is not listed")
	})
}

func TestPanicAndHangStopNoOther(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		release := make(chan struct{})
		var panics atomic.Int64
		r := jobs.NewRunner(d, jobs.Options{Workers: 4, BackoffMin: 10 * time.Millisecond, BackoffMax: 20 * time.Millisecond})
		r.Handle("panic", func(context.Context, jobs.Job) (jobs.Result, error) {
			panics.Add(1)
			panic("boom")
		})
		r.Handle("hang", func(context.Context, jobs.Job) (jobs.Result, error) { <-release; return jobs.Result{}, nil })
		r.Handle("good", finished)
		defer close(release)
		for i := range 6 { // more than there are workers
			schedule(t, d, "hang", fmt.Sprint(i), 0)
		}
		schedule(t, d, "panic", "a", 0)
		run(t, r)
		for i := range 10 {
			schedule(t, d, "good", fmt.Sprint(i), 0)
		}
		for i := range 10 {
			gone(t, d, "good", fmt.Sprint(i))
		}
		eventually(t, func() bool { return panics.Load() >= 3 }, "the panicking job is not tried again")
		if s, _ := status(t, d, "panic", "a"); strings.Contains(s.LastError, "boom") {
			t.Errorf("the panic's text, which nobody wrote for a database, is in the row: %q", s.LastError)
		}
	})
}

func TestHandlerPastItsTimeoutIsCancelled(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var causes sync.Map
		r := jobs.NewRunner(d, jobs.Options{})
		r.Handle("slow", func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
			<-ctx.Done()
			causes.Store(j.Attempt, context.Cause(ctx).Error())
			return jobs.Result{}, ctx.Err()
		}, jobs.Policy{Timeout: 20 * time.Millisecond, BackoffMin: time.Hour, BackoffMax: time.Hour})
		schedule(t, d, "slow", "a", 0)
		run(t, r)
		eventually(t, func() bool { s, _ := status(t, d, "slow", "a"); return s.Attempts == 1 && s.Node == "" }, "not given back")
		s, _ := status(t, d, "slow", "a")
		if !strings.Contains(s.LastError, "took too long") {
			t.Errorf("last error %q", s.LastError)
		}
		if cause, _ := causes.Load(1); cause != "took too long and was cancelled" {
			t.Errorf("cause %v", cause)
		}
	})
}

func TestHandlerThatNeverComesBackGivesItsPlaceUp(t *testing.T) {
	if testing.Short() {
		t.Log("takes as long as a runner waits for a cancelled handler")
	}
	d := dbtest.Open(t, dbtest.Engines(t)[0], clock.System)
	release := make(chan struct{})
	defer close(release)
	var hung atomic.Int64
	r := jobs.NewRunner(d, jobs.Options{Workers: 2})
	r.Handle("k", func(_ context.Context, j jobs.Job) (jobs.Result, error) {
		if j.Key == "hangs" {
			hung.Add(1)
			<-release
		}
		return jobs.Result{}, nil
	}, jobs.Policy{Concurrency: 1, Timeout: 10 * time.Millisecond, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond})
	schedule(t, d, "k", "hangs", 0)
	run(t, r)
	eventually(t, func() bool { return hung.Load() == 1 }, "not started")
	schedule(t, d, "k", "good", 0)
	gone(t, d, "k", "good")
	schedule(t, d, "k", "good", 0)
	gone(t, d, "k", "good")
	if n := hung.Load(); n != 1 {
		t.Errorf("the key that hangs was taken on %d times by the node on which it hangs", n)
	}
	if s, found := status(t, d, "k", "hangs"); !found || s.Node != "" || !strings.Contains(s.LastError, "did not come back") {
		t.Errorf("%+v", s)
	}
}

func TestConcurrencyOfAKindIsBounded(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		var now, most atomic.Int64
		r := jobs.NewRunner(d, jobs.Options{Workers: 8})
		r.Handle("k", func(context.Context, jobs.Job) (jobs.Result, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(5 * time.Millisecond)
			return jobs.Result{}, nil
		}, jobs.Policy{Concurrency: 2})
		for i := range 12 {
			schedule(t, d, "k", fmt.Sprint(i), 0)
		}
		run(t, r)
		for i := range 12 {
			gone(t, d, "k", fmt.Sprint(i))
		}
		if m := most.Load(); m != 2 {
			t.Errorf("%d at once, want 2", m)
		}
	})
}

func TestEarliestDueFirst(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
			d := dbtest.Open(t, engine, c)
			var mu sync.Mutex
			var order []string
			note := func(_ context.Context, j jobs.Job) (jobs.Result, error) {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, j.Kind+j.Key)
				return jobs.Result{}, nil
			}
			r := jobs.NewRunner(d, jobs.Options{Workers: 1})
			r.Handle("a", note)
			r.Handle("b", note)
			for i, name := range []string{"b1", "a1", "b2", "a2", "a3"} {
				schedule(t, d, name[:1], name[1:], time.Duration(i+1)*time.Second)
			}
			c.Advance(time.Minute)
			run(t, r)
			eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == 5 }, "not all done")
			if got := strings.Join(order, " "); got != "b1 a1 b2 a2 a3" {
				t.Errorf("order %s", got)
			}
		})
	}
}

func TestDrainFinishesWhatItCanAndHandsTheRestBack(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		entered := make(chan string, 2)
		r := jobs.NewRunner(d, jobs.Options{Grace: 100 * time.Millisecond})
		r.Handle("k", func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
			entered <- j.Key
			if j.Key == "quick" {
				time.Sleep(20 * time.Millisecond)
				return jobs.Result{}, ctx.Err()
			}
			<-ctx.Done()
			return jobs.Result{}, ctx.Err()
		})
		schedule(t, d, "k", "quick", 0)
		schedule(t, d, "k", "endless", 0)
		before, _ := status(t, d, "k", "endless")
		stop := run(t, r)
		<-entered
		<-entered
		stop()
		if s, found := status(t, d, "k", "quick"); found {
			t.Errorf("what could end within the grace did not: %+v", s)
		}
		s, found := status(t, d, "k", "endless")
		if !found || s.Node != "" || s.Attempts != 0 || !s.Due.Equal(before.Due) {
			t.Errorf("not handed back as it was: %+v", s)
		}
		schedule(t, d, "k", "late", 0)
		r.Wake()
		if s, _ := status(t, d, "k", "late"); s.Node != "" {
			t.Error("a runner that has ended claims work")
		}
		// Another node takes it on at once; it need not wait for a lease.
		other := jobs.NewRunner(d, jobs.Options{})
		other.Handle("k", finished)
		run(t, other)
		gone(t, d, "k", "endless")
	})
}

func TestMetrics(t *testing.T) {
	d := dbtest.Open(t, dbtest.Engines(t)[0], clock.System)
	registry := prometheus.NewRegistry()
	r := jobs.NewRunner(d, jobs.Options{Metrics: registry, BackoffMin: time.Hour})
	r.Handle("good", finished)
	r.Handle("bad", func(context.Context, jobs.Job) (jobs.Result, error) { return jobs.Result{}, errors.New("no") })
	schedule(t, d, "good", "a", 0)
	schedule(t, d, "bad", "a", 0)
	run(t, r)
	gone(t, d, "good", "a")
	want := map[string]float64{"good done": 1, "bad failed": 1, "good failed": 0}
	eventually(t, func() bool {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			if f.GetName() == "mintmark_jobs_ended_total" {
				for _, m := range f.GetMetric() {
					got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
		for k, v := range want {
			if n, ok := got[k]; !ok || n != v {
				return false
			}
		}
		return true
	}, "the ends are not counted")
	jobs.NewRunner(d, jobs.Options{Metrics: registry}) // shares them
}
