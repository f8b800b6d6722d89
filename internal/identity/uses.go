package identity

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
)

// Uses collects in memory which version was used when, and writes it in batches: the evidence by which an old version
// may retire costs a login nothing. What is in memory when the process is killed is lost, at most FlushEvery of it; so
// whoever reads the evidence must not count that time as time unused.
type Uses struct {
	d     *db.DB
	clock clock.Clock
	log   *slog.Logger
	store func(ctx context.Context, tx db.WriteTx, uses []TimedUse) error

	flushing sync.Mutex // one Flush at a time: when one returns, nothing noted before is still on its way

	mu      sync.Mutex
	pending map[Use]time.Time // the latest use of each; owned by mu
}

// FlushEvery is how long a use may wait in memory.
const FlushEvery = time.Second

const (
	maxPending = 100_000 // versions, not uses: far more than one second has
	maxBatch   = 500     // rows in one transaction
)

// NewUses makes a collector for the versions.
func NewUses(d *db.DB, v *Versions, c clock.Clock, log *slog.Logger) *Uses {
	return NewUsesOf(d, v.note, c, log)
}

// NewUsesOf makes a collector for anything that store writes the uses of, under the terms of Versions: later uses alone,
// in one order on every node, and nothing for what is not accepted any more.
func NewUsesOf(d *db.DB, store func(context.Context, db.WriteTx, []TimedUse) error, c clock.Clock, log *slog.Logger) *Uses {
	return &Uses{d: d, clock: c, log: log, store: store, pending: map[Use]time.Time{}}
}

// Note remembers that the version was used just now.
func (u *Uses) Note(owner string, version int64) {
	key, now := Use{owner, version}, u.clock.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.pending[key]; ok || len(u.pending) < maxPending {
		u.pending[key] = now
	}
}

// Flush writes what is in memory; without an error every use that was noted before the call is written. What cannot be
// written stays for the next time.
func (u *Uses) Flush(ctx context.Context) error {
	u.flushing.Lock()
	defer u.flushing.Unlock()
	u.mu.Lock()
	taken := u.pending
	u.pending = map[Use]time.Time{}
	u.mu.Unlock()

	batch := make([]Use, 0, min(len(taken), maxBatch))
	flush := func() error {
		err := u.d.Write(ctx, func(tx db.WriteTx) error {
			now := u.clock.Now()
			timed := make([]TimedUse, len(batch))
			for i, key := range batch {
				timed[i] = TimedUse{key, now.Sub(taken[key])}
			}
			return u.store(ctx, tx, timed)
		})
		if err != nil {
			return err
		}
		for _, key := range batch {
			delete(taken, key)
		}
		batch = batch[:0]
		return nil
	}
	for key := range taken {
		if batch = append(batch, key); len(batch) == maxBatch {
			if err := flush(); err != nil {
				u.putBack(taken)
				return err
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	if err := flush(); err != nil {
		u.putBack(taken)
		return err
	}
	return nil
}

func (u *Uses) putBack(taken map[Use]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for key, at := range taken {
		if later, ok := u.pending[key]; (!ok || later.Before(at)) && len(u.pending) < maxPending {
			u.pending[key] = at
		}
	}
}

// Run flushes every FlushEvery until ctx ends, and then once more: nothing is lost in an orderly stop.
func (u *Uses) Run(ctx context.Context) error {
	ticker := time.NewTicker(FlushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return u.Flush(last)
		case <-ticker.C:
			if err := u.Flush(ctx); err != nil && ctx.Err() == nil {
				u.log.Warn("uses of credentials could not be written; they are kept and tried again", "error", err)
			}
		}
	}
}
