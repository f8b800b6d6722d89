package rotation

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// A version retires because nobody used it. That proves something only if a use would have been noticed, so nodes report:
// each says, every few seconds, until when all uses that it saw are written. From that follows
//   - until when every use is known: the earliest of the reports;
//   - that a node was lost with what it had seen: its report grows old, and it did not say goodbye;
//   - that there was an interruption: no node reported. None ran, or the database was away, or its clock jumped forwards.
// The same transaction that retires a version reads them.

// servesAfter is how long a node that is cut off from the database may still accept logins, from memory (ten seconds, see
// db.Cache), and a little.
const servesAfter = 15 * time.Second

// pace is how often nodes report, and after how long of silence one is given up.
type pace struct{ every, silence time.Duration }

// paceOf: seldom enough to cost nothing, often enough for the shortest grace.
func paceOf(policies map[string]lifecycle.Policy) pace {
	shortest := 30 * time.Minute
	for _, p := range policies {
		shortest = min(shortest, p.Grace)
	}
	return pace{every: min(max(shortest/20, 250*time.Millisecond), 5*time.Second), silence: min(max(shortest, 3*time.Second), 30*time.Second)}
}

// watch is what is known about the observation of uses.
type watch struct {
	since    time.Time // without a gap since
	reported time.Time // when any node last reported; zero: nobody does
	until    time.Time // every use before is known; zero: no node sees any
	down, up time.Time // the last interruption; zero: none
}

func readWatch(ctx context.Context, tx db.ReadTx) (w watch, err error) {
	var since, reported, down, up, until int64
	err = tx.QueryRow(ctx, `SELECT since, reported, down, up, (SELECT coalesce(min(until), 0) FROM rotation_watchers) FROM rotation_watch WHERE id = 1`).
		Scan(&since, &reported, &down, &up, &until)
	if err != nil {
		return w, fmt.Errorf("read what is observed: %w", err)
	}
	return watch{db.Time(since), db.Time(reported), db.Time(until), db.Time(down), db.Time(up)}, nil
}

// at is what is known at that time: silence that nobody has noted yet counts as what it is.
func (w watch) at(now time.Time, p pace) watch {
	if w.since.IsZero() {
		w.since = now
	}
	if w.reported.IsZero() {
		return w
	}
	if now.Sub(w.reported) > p.silence {
		w.since, w.down, w.up = now, w.reported, now
	}
	if !w.until.IsZero() && now.Sub(w.until) > p.silence {
		w.since = now // until it is noted what that node may have missed
	}
	return w
}

// ObservationGap tells that uses may have gone unnoticed until now. No version counts as unused for any time before.
func (s *Service) ObservationGap(ctx context.Context) error {
	err := s.db.Write(ctx, func(tx db.WriteTx) error {
		now := db.Micros(tx.Now())
		// No row is affected when another node's clock was ahead: then the gap that it noted covers ours.
		_, err := tx.Exec(ctx, `UPDATE rotation_watch SET since = $1 WHERE id = 1 AND since < $1`, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("note a gap in the observation of uses: %w", err)
	}
	return nil
}

// Watch reports until ctx ends what this node has observed, and says goodbye. flush writes the uses that were noted before
// it was called, and fails if it cannot. Start must have been called, and nobody may log in after ctx has ended.
func (s *Service) Watch(ctx context.Context, flush func(context.Context) error) error {
	tick := time.NewTicker(s.pace.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := flush(last); err != nil {
				return fmt.Errorf("write the last uses: %w", err)
			}
			return s.leave(last)
		case <-tick.C:
		}
		began := clock.Stopwatch()
		err := flush(ctx)
		if err == nil {
			err = s.report(ctx, began)
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("what was observed could not be reported; nothing retires by evidence until it can", "error", err)
		}
	}
}

// report says that what this node saw until the stopwatch was started is written.
func (s *Service) report(ctx context.Context, began func() time.Duration) error {
	err := s.db.Write(ctx, func(tx db.WriteTx) error {
		now := tx.Now()
		w, err := readWatch(ctx, tx)
		if err != nil {
			return err
		}
		first, next := w.reported.IsZero(), w.at(now, s.pace)
		switch {
		case first:
			next.since = now
		case !next.up.Equal(w.up):
			tx.AfterCommit(func() {
				s.metrics.interruptions.Inc()
				s.log.Warn("no server reported for a while: none ran, the database was away, or its clock jumped. The time does not count as time unused",
					"from", next.down, "to", next.up)
			})
		default:
			if next.since, err = s.bury(ctx, tx, w.since); err != nil {
				return err
			}
		}
		if first || !next.up.Equal(w.up) {
			if _, err := tx.Exec(ctx, `DELETE FROM rotation_watchers`); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `INSERT INTO rotation_watchers (node, until) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET until = excluded.until`,
			s.o.Node, db.Micros(now.Add(-began())))
		if err != nil {
			return err
		}
		return expect(tx.Exec(ctx, `UPDATE rotation_watch SET since = $1, reported = $2, down = $3, up = $4 WHERE id = 1`,
			db.Micros(next.since), db.Micros(now), db.Micros(next.down), db.Micros(next.up)))
	})
	if err != nil {
		return fmt.Errorf("report what was observed: %w", err)
	}
	return nil
}

// bury takes the nodes away that have not reported for too long: what each may have seen since is a gap.
func (s *Service) bury(ctx context.Context, tx db.WriteTx, since time.Time) (time.Time, error) {
	before := db.Micros(tx.Now().Add(-s.pace.silence))
	var last int64
	err := tx.QueryRow(ctx, `SELECT coalesce(max(until), 0) FROM rotation_watchers WHERE until < $1 AND node <> $2`, before, s.o.Node).Scan(&last)
	if err != nil || last == 0 {
		return since, err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM rotation_watchers WHERE until < $1 AND node <> $2`, before, s.o.Node); err != nil {
		return since, err
	}
	if gap := db.Time(last).Add(servesAfter); gap.After(since) {
		since = gap
	}
	tx.AfterCommit(func() {
		s.metrics.lostWatchers.Inc()
		s.log.Warn("a server has gone without a goodbye; what it observed last is lost", "since", since)
	})
	return since, nil
}

// leave is the goodbye of a node all of whose observations are written: it leaves no gap.
func (s *Service) leave(ctx context.Context) error {
	err := s.db.Write(ctx, func(tx db.WriteTx) error {
		n, err := tx.Exec(ctx, `DELETE FROM rotation_watchers WHERE node = $1`, s.o.Node)
		if err != nil || n == 0 {
			return err // it was given up: that has been noted
		}
		w, err := readWatch(ctx, tx)
		if err != nil || !w.at(tx.Now(), s.pace).up.Equal(w.up) {
			return err // an interruption that nobody has noted yet must not look like none
		}
		return expect(tx.Exec(ctx, `UPDATE rotation_watch SET reported = $1 WHERE id = 1`, db.Micros(tx.Now())))
	})
	if err != nil {
		return fmt.Errorf("say goodbye: %w", err)
	}
	return nil
}
