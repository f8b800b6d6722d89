// Package jobs does work that is due at some time, on whichever node is free, exactly as often as it was asked for.
//
// What it guards:
//   - Work is asked for in the transaction of the change that makes it necessary (Schedule), so it is neither lost nor
//     done for a change that was rolled back.
//   - One claim at a time. A claim is a compare-and-set on the row and carries a fencing number, the epoch. A lease alone
//     guards nothing: a node that was paused may wake up after its lease ran out. So a handler asks Held in each of its
//     own transactions, and what a lost claim writes is rolled back.
//   - Asking again while the work is being done is not lost: it is done once more.
//   - A job that fails, panics or hangs is tried again after a pause that grows, and stops no other: kinds have their own
//     number of places, and a handler that does not come back gives its place up.
//   - All times are the database's.
//
// A handler may run more than once for one due time (after a crash, or when its result could not be recorded), so what it
// does must be idempotent; what it records must not be, thanks to Held.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// ErrLost says that the claim does not hold any more: it ran out and another node has the work, or the work was
// cancelled. The handler must stop, and record nothing.
var ErrLost = errors.New("jobs: claim is lost")

// Job is work that was claimed.
type Job struct {
	Kind, Key string
	Epoch     int64     // fencing number of this claim
	Attempt   int       // 1 at first, one more after each failure or crash
	Due       time.Time // since when the work waits
}

// Result is what a handler that succeeded wants.
type Result struct {
	// Next is when the work is due again. Zero: it is finished, and its row goes.
	Next time.Time
}

// Handler does the work. Its context ends when the claim is lost, the time is over or the program ends. An error makes
// the work due again after a pause; its text is kept in the row, so it must hold nothing secret.
type Handler func(ctx context.Context, j Job) (Result, error)

// Schedule makes the work due, in the caller's transaction. If it is waiting already, the earlier time counts. If it is
// being done just now, it is done once more afterwards, not before due. A due time in the past means now.
func Schedule(ctx context.Context, tx db.WriteTx, kind, key string, due time.Time) error {
	now := tx.Now()
	if due.Before(now) {
		due = now // or work that always asks for the past would always be first
	}
	n, err := tx.Exec(ctx, `INSERT INTO jobs (kind, key, due, again, node, claimed_until, epoch, attempts, last_error, created)
		VALUES ($1, $2, $3, 0, '', 0, $4, 0, '', $4)
		ON CONFLICT (kind, key) DO UPDATE SET
			due = CASE WHEN jobs.node = '' AND excluded.due < jobs.due THEN excluded.due ELSE jobs.due END,
			again = CASE WHEN jobs.node <> '' AND (jobs.again = 0 OR excluded.due < jobs.again) THEN excluded.due ELSE jobs.again END`,
		kind, key, db.Micros(due), db.Micros(now))
	if err != nil {
		return fmt.Errorf("schedule %s %s: %w", kind, key, err)
	}
	if n != 1 {
		return fmt.Errorf("schedule %s %s: %d rows", kind, key, n)
	}
	if due.Sub(now) < pollEvery {
		tx.AfterCommit(wakeAll)
	}
	return nil
}

// Cancel takes the work away, in the caller's transaction. A handler that is doing it just now loses its claim. There
// need not be any such work.
func Cancel(ctx context.Context, tx db.WriteTx, kind, key string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM jobs WHERE kind = $1 AND key = $2`, kind, key); err != nil {
		return fmt.Errorf("cancel %s %s: %w", kind, key, err)
	}
	return nil
}

// Held is nil if the claim still holds, and ErrLost if not. It must be asked in the transaction that it is to guard: a
// transaction that saw the claim hold cannot commit after another node claimed the work and acted on it.
func Held(ctx context.Context, tx db.WriteTx, j Job) error {
	var epoch int64
	err := tx.QueryRow(ctx, `SELECT epoch FROM jobs WHERE kind = $1 AND key = $2 AND node <> ''`, j.Kind, j.Key).Scan(&epoch)
	if errors.Is(err, db.ErrNoRows) || err == nil && epoch != j.Epoch {
		return fmt.Errorf("%s %s: %w", j.Kind, j.Key, ErrLost)
	}
	if err != nil {
		return fmt.Errorf("look at the claim on %s %s: %w", j.Kind, j.Key, err)
	}
	return nil
}

// Status is what is known of some work, for people.
type Status struct {
	Kind, Key string
	Due       time.Time
	Node      string // who is doing it; "": nobody
	Attempts  int    // since the last success
	LastError string
}

const statusColumns = `kind, key, due, node, attempts, last_error`

// Get is the status of one piece of work, or a fault of kind NotFound.
func Get(ctx context.Context, tx db.ReadTx, kind, key string) (Status, error) {
	s, err := scanStatus(tx.QueryRow(ctx, `SELECT `+statusColumns+` FROM jobs WHERE kind = $1 AND key = $2`, kind, key))
	if errors.Is(err, db.ErrNoRows) {
		return Status{}, fault.New(fault.NotFound, "job_not_found", "There is no %s of %s to do.", kind, key)
	}
	return s, err
}

// Failing lists work whose last attempt failed, the longest due first.
func Failing(ctx context.Context, tx db.ReadTx, limit int) ([]Status, error) {
	rows, err := tx.Query(ctx, `SELECT `+statusColumns+` FROM jobs WHERE last_error <> '' ORDER BY due, kind, key LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("list failing jobs: %w", err)
	}
	defer rows.Close()
	var all []Status
	for rows.Next() {
		s, err := scanStatus(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func scanStatus(row db.Row) (Status, error) {
	var s Status
	var due int64
	if err := row.Scan(&s.Kind, &s.Key, &due, &s.Node, &s.Attempts, &s.LastError); err != nil {
		return Status{}, fmt.Errorf("read job: %w", err)
	}
	s.Due = db.Time(due)
	return s, nil
}

// running are the runners of this process. A transaction does not know them, and a hint to one too many costs one read.
var running struct {
	mu      sync.Mutex
	runners map[*Runner]struct{} // owned by mu
}

func wakeAll() {
	running.mu.Lock()
	defer running.mu.Unlock()
	for r := range running.runners {
		r.Wake()
	}
}

func (r *Runner) enlist() (leave func()) {
	running.mu.Lock()
	defer running.mu.Unlock()
	if running.runners == nil {
		running.runners = map[*Runner]struct{}{}
	}
	running.runners[r] = struct{}{}
	return func() {
		running.mu.Lock()
		defer running.mu.Unlock()
		delete(running.runners, r)
	}
}
