package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// firstDue is when the first piece of work that nobody does is due, and the database's time. ok is false if there is none.
func firstDue(ctx context.Context, tx db.ReadTx) (due, now time.Time, ok bool, err error) {
	now = tx.Now()
	var micros int64
	err = tx.QueryRow(ctx, `SELECT due FROM jobs WHERE claimed_until <= $1 ORDER BY due LIMIT 1`, db.Micros(now)).Scan(&micros)
	if errors.Is(err, db.ErrNoRows) {
		return time.Time{}, now, false, nil
	}
	if err != nil {
		return time.Time{}, now, false, fmt.Errorf("look for due work: %w", err)
	}
	return db.Time(micros), now, true, nil
}

// want is how much work of a kind a runner could do now.
type want struct {
	kind  string
	room  int
	avoid map[string]bool // keys whose last handler on this node has not come back
}

type candidate struct {
	Job
	seen int64 // the epoch before this claim
}

// claim takes up to total pieces of due work, the longest due first, and of each kind no more than there is room for.
func claim(ctx context.Context, tx db.WriteTx, node string, lease time.Duration, wants []want, total int) ([]Job, error) {
	now := tx.Now()
	var found []candidate
	for _, w := range wants {
		some, err := candidates(ctx, tx, w, now)
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	var claimed []Job
	for _, c := range found[:min(len(found), total)] {
		// Greater than every epoch that this key ever had, also if its row went and came back in between.
		c.Epoch = max(c.seen+1, db.Micros(now))
		n, err := tx.Exec(ctx, `UPDATE jobs SET node = $1, claimed_until = $2, epoch = $3, attempts = $4
			WHERE kind = $5 AND key = $6 AND epoch = $7 AND claimed_until <= $8`,
			node, db.Micros(now.Add(lease)), c.Epoch, c.Attempt, c.Kind, c.Key, c.seen, db.Micros(now))
		if err != nil {
			return nil, fmt.Errorf("claim %s %s: %w", c.Kind, c.Key, err)
		}
		if n == 1 {
			claimed = append(claimed, c.Job)
		}
	}
	return claimed, nil
}

func candidates(ctx context.Context, tx db.WriteTx, w want, now time.Time) ([]candidate, error) {
	rows, err := tx.Query(ctx, `SELECT key, due, epoch, attempts FROM jobs
		WHERE kind = $1 AND due <= $2 AND claimed_until <= $2 ORDER BY due, key LIMIT $3`,
		w.kind, db.Micros(now), w.room+len(w.avoid))
	if err != nil {
		return nil, fmt.Errorf("look for due %s: %w", w.kind, err)
	}
	defer rows.Close()
	var found []candidate
	for rows.Next() && len(found) < w.room {
		c := candidate{Job: Job{Kind: w.kind}}
		var due int64
		if err := rows.Scan(&c.Key, &due, &c.seen, &c.Attempt); err != nil {
			return nil, fmt.Errorf("read due %s: %w", w.kind, err)
		}
		c.Due = db.Time(due)
		c.Attempt++
		if !w.avoid[c.Key] {
			found = append(found, c)
		}
	}
	return found, rows.Err()
}

// extend makes the claims last longer and tells which of them are lost.
func extend(ctx context.Context, tx db.WriteTx, lease time.Duration, held []Job) (lost []Job, err error) {
	until := db.Micros(tx.Now().Add(lease))
	for _, j := range held {
		n, err := tx.Exec(ctx, `UPDATE jobs SET claimed_until = $1 WHERE kind = $2 AND key = $3 AND epoch = $4 AND node <> ''`,
			until, j.Kind, j.Key, j.Epoch)
		if err != nil {
			return nil, fmt.Errorf("extend the claim on %s %s: %w", j.Kind, j.Key, err)
		}
		if n == 0 {
			lost = append(lost, j)
		}
	}
	return lost, nil
}

// outcome is how a handler ended.
type outcome struct {
	result  Result
	err     error
	pause   time.Duration // after an error
	least   time.Duration // after an error, though it was asked for again meanwhile
	drained bool          // it was stopped because the program ends: not its fault
}

// finish records the outcome and gives the claim back. ErrLost if there is nothing to give back.
func finish(ctx context.Context, tx db.WriteTx, j Job, o outcome) error {
	now := tx.Now()
	var again int64
	err := tx.QueryRow(ctx, `SELECT again FROM jobs WHERE kind = $1 AND key = $2 AND epoch = $3 AND node <> ''`,
		j.Kind, j.Key, j.Epoch).Scan(&again)
	if errors.Is(err, db.ErrNoRows) {
		return fmt.Errorf("%s %s: %w", j.Kind, j.Key, ErrLost)
	}
	if err != nil {
		return fmt.Errorf("look at %s %s: %w", j.Kind, j.Key, err)
	}
	due, attempts, text := o.next(now, j, db.Time(again))
	var n int64
	if due.IsZero() {
		n, err = tx.Exec(ctx, `DELETE FROM jobs WHERE kind = $1 AND key = $2 AND epoch = $3`, j.Kind, j.Key, j.Epoch)
	} else {
		n, err = tx.Exec(ctx, `UPDATE jobs SET due = $1, again = 0, node = '', claimed_until = 0, attempts = $2, last_error = $3
			WHERE kind = $4 AND key = $5 AND epoch = $6`, db.Micros(due), attempts, text, j.Kind, j.Key, j.Epoch)
	}
	if err != nil {
		return fmt.Errorf("record the end of %s %s: %w", j.Kind, j.Key, err)
	}
	if n != 1 {
		return fmt.Errorf("record the end of %s %s: %d rows", j.Kind, j.Key, n)
	}
	return nil
}

// next is when the work is due again, zero for never; how many attempts there were; and what the last one said.
func (o outcome) next(now time.Time, j Job, again time.Time) (due time.Time, attempts int, text string) {
	switch {
	case o.drained:
		return j.Due, j.Attempt - 1, ""
	case o.err != nil:
		due = now.Add(o.pause)
		if !again.IsZero() { // something has changed: try sooner, but do not spin
			due = earlier(due, later(again, now.Add(o.least)))
		}
		return due, j.Attempt, cut(o.err.Error())
	case o.result.Next.IsZero():
		return again, 0, ""
	}
	due = later(o.result.Next, now) // the past would always be first
	if !again.IsZero() {
		due = earlier(due, again)
	}
	return due, 0, ""
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// cut makes an error's text fit the row: valid text without NUL, of bounded length.
func cut(s string) string {
	out := make([]rune, 0, min(len(s), 500))
	for _, r := range s {
		if len(out) == 500 {
			break
		}
		if r < ' ' {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}
