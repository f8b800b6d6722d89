package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// DenialAction is the action of the events that tell of refused operations.
const DenialAction = "access.deny"

const (
	denialWindow = 10 * time.Second
	// denialKeys bounds what is told apart in one window, and so the rows that a flood can write: at most twice as many
	// and one in ten seconds. 64 of them make about half a gigabyte in a day of nothing but flood.
	denialKeys = 64
	// denialPatience bounds how long a refusal waits for its record.
	denialPatience = 2 * time.Second
)

// Denials records refused operations, each in a transaction of its own, after the rollback of what was refused. The
// first of a caller and operation is recorded at once; those that follow within ten seconds are counted, and recorded as
// one event with the count. A crash can lose the count, never the first.
type Denials struct {
	d     *db.DB
	clock clock.Clock
	log   *slog.Logger

	mu     sync.Mutex
	began  time.Time             // of the window; owned by mu
	counts map[denialKey]*denied // in the window; owned by mu
	beyond int64                 // denials that found no room in counts; owned by mu
}

type denialKey struct {
	kind     access.CallerKind
	id, name string
	ip       string
	client   string
	op, code string
}

type denied struct {
	event Event
	more  int64 // after the first
}

// NewDenials makes a Denials. Run ends its windows.
func NewDenials(d *db.DB, c clock.Clock, log *slog.Logger) *Denials {
	return &Denials{d: d, clock: c, log: log, counts: map[denialKey]*denied{}}
}

// Record notes that the caller was refused the operation with this error. It returns when the record is committed, or
// given up: it never fails, for the refusal stands anyway.
func (n *Denials) Record(ctx context.Context, c access.Caller, op string, err error) {
	code := fault.Code(err)
	e := Event{Action: DenialAction, Outcome: Denied, Reason: code, Caller: c, TargetType: "operation", TargetID: op}
	key := denialKey{c.Kind, c.ID, c.Name, c.IP, c.ClientID, op, code}

	over, first := n.count(key, e)
	if first {
		over = append(over, e)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), denialPatience)
	defer cancel()
	n.write(ctx, over)
}

// count notes one denial. over are the events of the window that this one found to be over.
func (n *Denials) count(key denialKey, e Event) (over []Event, first bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	over = n.turn(false)
	if seen := n.counts[key]; seen != nil {
		seen.more++
		return over, false
	}
	if len(n.counts) >= denialKeys {
		n.beyond++
		return over, false
	}
	n.counts[key] = &denied{event: e}
	return over, true
}

// turn ends the window if it is over, or anyway, and gives the events that tell of it. mu is held.
func (n *Denials) turn(anyway bool) (events []Event) {
	now := n.clock.Now()
	if !anyway && now.Sub(n.began) < denialWindow && !now.Before(n.began) {
		return nil
	}
	seconds := int(denialWindow / time.Second)
	for _, d := range n.counts {
		if d.more > 0 {
			d.event.Details = map[string]any{"repeated": d.more, "within_seconds": seconds}
			d.event.Caller.RequestID = "" // it stands for many
			events = append(events, d.event)
		}
	}
	if n.beyond > 0 {
		events = append(events, Event{Action: DenialAction, Outcome: Denied, Reason: "too_many_to_tell_apart",
			Caller: access.SystemCaller("audit"), TargetType: "operation", TargetID: "",
			Details: map[string]any{"repeated": n.beyond, "within_seconds": seconds}})
	}
	n.began, n.beyond = now, 0
	clear(n.counts)
	return events
}

// Flush ends the window and records its counts.
func (n *Denials) Flush(ctx context.Context) {
	n.mu.Lock()
	events := n.turn(true)
	n.mu.Unlock()
	n.write(ctx, events)
}

// Run records the counts of each window until ctx ends, and then those of the last.
func (n *Denials) Run(ctx context.Context) error {
	for {
		wait(ctx, denialWindow, nil)
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), denialPatience)
		n.Flush(flush)
		cancel()
		if ctx.Err() != nil { // looked at last: what was noted before Run began to wait is not lost
			return nil
		}
	}
}

func (n *Denials) write(ctx context.Context, events []Event) {
	if len(events) == 0 {
		return
	}
	err := n.d.Write(ctx, func(tx db.WriteTx) error {
		for _, e := range events {
			if err := Record(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		n.log.ErrorContext(ctx, "denials could not be recorded", "events", len(events), "op", events[0].TargetID, "reason", events[0].Reason, "err", err)
	}
}
