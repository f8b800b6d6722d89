// Package clock is the only place that asks the machine what time it is.
//
// Everything that expires, rotates or retires reads time through a Clock, so that a test can hold it still or move it.
// Times are UTC and cut to microseconds, the precision that both database engines keep, so that a time written and read
// back is equal to the one that was written. Instants that several nodes must agree on come from the database instead
// (db.ReadTx.Now).
package clock

import (
	"sync"
	"time"
)

// Clock tells the time. Now must be safe for concurrent use and answer in UTC with microsecond precision.
type Clock interface {
	Now() time.Time
}

// System is the machine's clock. Inside a testing/synctest bubble it is the bubble's.
var System Clock = systemClock{}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Since is the time that has passed on c since t.
func Since(c Clock, t time.Time) time.Duration { return c.Now().Sub(t) }

// Stopwatch measures a duration on the monotonic clock: for metrics and logs, never for a decision.
func Stopwatch() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}

// Fake stands still until it is told to move. The zero value stands at the Unix epoch.
type Fake struct {
	mu  sync.Mutex
	now time.Time // owned by mu
}

// NewFake makes a clock that stands at t.
func NewFake(t time.Time) *Fake { return &Fake{now: t.UTC().Truncate(time.Microsecond)} }

// Now is the time that was last set.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return f.now
}

// Set moves the clock to t, forwards or backwards.
func (f *Fake) Set(t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = t.UTC().Truncate(time.Microsecond)
}

// Advance moves the clock by d and returns the new time.
func (f *Fake) Advance(d time.Duration) time.Time {
	now := f.Now().Add(d)
	f.Set(now)
	return now
}
