package audit_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// run runs a sequencer until the returned function is called.
func run(t *testing.T, s *audit.Sequencer) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestSequencersRace: four sequencers on two nodes take the lease from each other at every step, while four others
// record. Every event gets one place, and the log is whole.
func TestSequencersRace(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			l := newLog(t, dbtest.OpenURL(t, url, clock.System))
			var stops []func()
			for range 4 {
				s, err := audit.NewSequencer(dbtest.OpenURL(t, url, clock.System), l.keys, audit.SequencerOptions{
					Origin: origin, Batch: 3, Lease: time.Nanosecond, Interval: time.Millisecond, Poll: 2 * time.Millisecond, Sign: time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				stops = append(stops, run(t, s))
			}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { l.record(40) })
			}
			wg.Wait()
			wait(t, "the last place", func() bool { return len(l.list(audit.Filter{Limit: 1000})) == 160 })
			for _, stop := range stops {
				stop()
			}
			if err := l.s.Flush(t.Context()); err != nil { // whoever was first to stop may have left a checkpoint to be made
				t.Fatal(err)
			}
			l.whole(160)
			seen := map[string]bool{}
			for i, e := range l.list(audit.Filter{Limit: 1000}) {
				if e.Seq != int64(i+1) || seen[e.ID] {
					t.Fatalf("place %d: seq %d, event %s seen before: %v", i+1, e.Seq, e.ID, seen[e.ID])
				}
				seen[e.ID] = true
			}
		})
	}
}

// TestLostLeaseChangesNothing: a sequencer that was overtaken without knowing it neither places nor signs from what it
// remembers.
func TestLostLeaseChangesNothing(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
			l := newLog(t, dbtest.Open(t, engine, c))
			slow := l.s
			l.grow(3)
			other := l.sequencer(audit.SequencerOptions{Node: "other"})
			l.record(2)
			if err := other.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(l.list(audit.Filter{})); n != 3 {
				t.Fatalf("%d records, want 3: the lease has not ended", n)
			}
			c.Advance(time.Minute)
			if err := other.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.whole(5)
			l.record(2)
			if err := slow.Flush(t.Context()); err != nil { // it still believes in three records
				t.Fatal(err)
			}
			if n := len(l.list(audit.Filter{})); n != 5 {
				t.Errorf("%d records, want 5: the lease is the other's", n)
			}
			c.Advance(time.Minute)
			if err := slow.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.whole(7)
		})
	}
}

// TestRunPlacesByItself: nobody asks, and the checkpoint reaches the second place. At the end nothing waits and the lease
// is free.
func TestRunPlacesByItself(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		var mu sync.Mutex
		var kept []int64
		s := l.sequencer(audit.SequencerOptions{OnCheckpoint: func(_ context.Context, c audit.Checkpoint) error {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, c.Size)
			return nil
		}})
		last := func() int64 {
			mu.Lock()
			defer mu.Unlock()
			if len(kept) == 0 {
				return 0
			}
			return kept[len(kept)-1]
		}
		stop := run(t, s)
		l.record(3)
		wait(t, "a checkpoint of 3", func() bool { return last() == 3 })
		l.record(4)
		wait(t, "a checkpoint of 7", func() bool { return last() == 7 })
		l.record(5)
		stop()
		if last() != 12 {
			t.Errorf("the last checkpoint is of %d, want 12", last())
		}
		l.whole(12)
		l.grow(1) // another one need not wait
		l.whole(13)
	})
}

// TestIdleWritesNothing: a quiet installation must not write for ever.
func TestIdleWritesNothing(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
			l := newLog(t, dbtest.Open(t, engine, c))
			l.grow(1)
			count := func() (n int64) {
				if err := l.d.Read(t.Context(), func(tx db.ReadTx) error {
					return tx.QueryRow(t.Context(), `SELECT COUNT(*) FROM tx_marks`).Scan(&n)
				}); err != nil {
					t.Fatal(err)
				}
				return n
			}
			before := count()
			for range 10 {
				c.Advance(time.Minute)
				l.grow(0)
			}
			if diff := count() - before; diff != 0 {
				t.Errorf("%d transactions wrote", diff)
			}
		})
	}
}

func TestCheckpointsKeepTheirDistance(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
			l := newLog(t, dbtest.Open(t, engine, c))
			l.grow(1)
			stop := run(t, l.sequencer(audit.SequencerOptions{Node: "n", Lease: time.Nanosecond, Interval: time.Millisecond, Poll: time.Millisecond}))
			defer stop()
			c.Advance(10 * time.Millisecond) // the first one's lease is not asked for by its holder only: wait for its end
			l.exec(`UPDATE audit_sequencer SET until = 0`)
			l.record(3)
			wait(t, "the places", func() bool { return len(l.list(audit.Filter{})) == 4 })
			if got := l.newest().Size; got != 1 {
				t.Errorf("a checkpoint of %d within the second", got)
			}
			c.Advance(time.Second)
			wait(t, "the checkpoint", func() bool { return l.newest().Size == 4 })
		})
	}
}

// TestClockBack: a clock that jumps back spoils nothing and delays nothing.
func TestClockBack(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
			url := dbtest.URL(t, engine)
			l := newLog(t, dbtest.OpenURL(t, url, c))
			l.grow(3)
			c.Advance(-time.Hour)
			l.d = dbtest.OpenURL(t, url, c) // another node, which never saw the later time
			l.s = l.sequencer(audit.SequencerOptions{})
			l.exec(`UPDATE audit_sequencer SET until = 0`)
			l.grow(3)
			l.whole(6)
			events := l.list(audit.Filter{})
			if !events[5].At.Before(events[0].At) {
				t.Error("the clock did not jump: nothing was tested")
			}
		})
	}
}

// TestBrokenLogIsNotExtended: to sign a rewritten log would vouch for it. The events wait, and an operator is told.
func TestBrokenLogIsNotExtended(t *testing.T) {
	tests := map[string]struct {
		damage func(l *log)
		kept   bool // only who knows the kept checkpoint can see it
	}{
		"rewritten":                   {func(l *log) { l.edit(2); l.rehash() }, false},
		"rewritten, checkpoints gone": {func(l *log) { l.edit(2); l.rehash(); l.exec(`DELETE FROM audit_checkpoints`) }, true},
		"cut off":                     {func(l *log) { l.truncate(2) }, true},
		"cut off, the checkpoint stays": {func(l *log) {
			c := l.newest()
			l.truncate(2)
			l.exec(`INSERT INTO audit_checkpoints (size, root, note, at) VALUES ($1, $2, $3, 0)`, c.Size, c.Root[:], c.Note)
		}, false},
		"hashes gone":           {func(l *log) { l.exec(`DELETE FROM audit_hashes`) }, false},
		"checkpoint forged":     {func(l *log) { l.exec(`UPDATE audit_checkpoints SET note = 'x'`) }, false},
		"sequencer's row gone":  {func(l *log) { l.exec(`DELETE FROM audit_sequencer`) }, false},
		"record behind the end": {func(l *log) { l.exec(`INSERT INTO audit_log (seq, event_id, leaf) VALUES (6, 'evt_x', '')`) }, false},
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		base := newLog(t, d)
		base.grow(5)
		kept := base.newest()
		saved := base.save()
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				l := &log{T: t, d: d, keys: base.keys}
				defer l.restore(saved)
				test.damage(l)
				l.exec(`UPDATE audit_sequencer SET until = 0`)
				l.record(1)
				before := l.newest()
				trusted := ""
				if test.kept {
					trusted = kept.Note
				}
				s := l.sequencer(audit.SequencerOptions{Trusted: trusted})
				err := s.Flush(t.Context())
				if !errors.Is(err, audit.ErrBroken) {
					t.Fatalf("got %v, want ErrBroken", err)
				}
				if diff := cmp.Diff(before, l.newest()); diff != "" {
					t.Errorf("signed:\n%s", diff)
				}
				if r := l.verify(trusted); r.Waiting != 1 {
					t.Errorf("%d events wait, want 1", r.Waiting)
				}
			})
		}
		base.T = t
		base.grow(1)
		base.whole(6)
	})
}

// TestRunningSequencerNoticesCut: who has signed six records does not go on from four.
func TestRunningSequencerNoticesCut(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		l.grow(6)
		l.truncate(4)
		l.record(1)
		if err := l.s.Flush(t.Context()); !errors.Is(err, audit.ErrBroken) || !l.s.Status().Broken {
			t.Errorf("got %v and status %+v, want ErrBroken", err, l.s.Status())
		}
	})
}

func TestSecondPlaceThatFails(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		calls := 0
		l.s = l.sequencer(audit.SequencerOptions{OnCheckpoint: func(context.Context, audit.Checkpoint) error {
			calls++
			return errors.New("disk full")
		}})
		l.grow(1)
		l.grow(1)
		l.whole(2)
		if calls != 2 {
			t.Errorf("told %d times, want 2", calls)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	l := newLog(t, dbtest.Open(t, db.SQLite, nil))
	for _, o := range []audit.SequencerOptions{{}, {Origin: "a b"}, {Origin: "a+b"}, {Origin: "\xff"}, {Origin: origin, Trusted: "hello"}} {
		if _, err := audit.NewSequencer(l.d, l.keys, o); err == nil {
			t.Errorf("%+v: accepted", o)
		}
	}
}

func TestMetrics(t *testing.T) {
	c := clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
	l := newLog(t, dbtest.Open(t, db.SQLite, c))
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(l.s); err != nil {
		t.Fatal(err)
	}
	value := func(name string) (sum float64) {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				for _, m := range f.GetMetric() {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
		return sum
	}
	before := value("mintmark_audit_events_recorded_total")
	l.record(3)
	c.Advance(7 * time.Second)
	l.exec(`UPDATE audit_sequencer SET holder = 'other', until = $1`, db.Micros(c.Now().Add(time.Hour)))
	l.grow(0)
	if got := value("mintmark_audit_lag_seconds"); got != 7 {
		t.Errorf("lag %v, want 7", got)
	}
	l.exec(`UPDATE audit_sequencer SET until = 0`)
	l.grow(0)
	l.grow(0)
	for name, want := range map[string]float64{
		"mintmark_audit_events_sequenced_total": 3, "mintmark_audit_log_size": 3, "mintmark_audit_lag_seconds": 0, "mintmark_audit_broken": 0,
	} {
		if got := value(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := value("mintmark_audit_events_recorded_total") - before; got < 3 {
		t.Errorf("recorded grew by %v, want 3 at least", got)
	}
}

func BenchmarkTenThousandEvents(b *testing.B) {
	for _, engine := range dbtest.Engines(b) {
		b.Run(string(engine), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				d := dbtest.Open(b, engine, clock.System)
				keys := sealtest.New(b, d)
				const n = 10_000
				for range n / 500 {
					if err := d.Write(b.Context(), func(tx db.WriteTx) error {
						for i := range 500 {
							if err := audit.Record(b.Context(), tx, event(i)); err != nil {
								return err
							}
						}
						return nil
					}); err != nil {
						b.Fatal(err)
					}
				}
				s, err := audit.NewSequencer(d, keys, audit.SequencerOptions{Origin: origin})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				placing := clock.Stopwatch()
				if err := s.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(n/placing().Seconds(), "placed/s")
				verifying := clock.Stopwatch()
				r, err := audit.Verify(b.Context(), d, audit.VerifyOptions{Keys: keys.AuditPublicKeys()})
				if err != nil || r.Problem != nil || r.Size != n {
					b.Fatal(r, err)
				}
				b.ReportMetric(n/verifying().Seconds(), "verified/s")
			}
		})
	}
}
