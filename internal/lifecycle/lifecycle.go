// Package lifecycle is the one idea of mintmark: a credential has a life.
//
// Everything that can be stolen is a version of something, and every version lives the same life:
//
//	prepared ──▶ active ──▶ retiring ──▶ retired ──▶ destroyed
//
// Prepared: every verifier accepts it already, nobody holds it yet. Active: it is the one to use. Retiring: its
// successor is the one to use, and it is still accepted. Retired: refused. Destroyed: what is left of it is erased. A
// version that was never handed out may be abandoned, from prepared straight to retired.
//
// The package is pure: functions over states and times. No other package invents states or decides when a version may
// move on.
package lifecycle

import (
	"errors"
	"fmt"
	"time"
)

// State of one version of a credential.
type State string

// The states, in the order of a life.
const (
	Prepared  State = "prepared"
	Active    State = "active"
	Retiring  State = "retiring"
	Retired   State = "retired"
	Destroyed State = "destroyed"
)

// ErrTransition is returned for a step that no life takes.
var ErrTransition = errors.New("lifecycle: no such transition")

var next = map[State][]State{
	Prepared:  {Active, Retired},
	Active:    {Retiring, Retired}, // straight to retired: revoked, or its owner was deactivated
	Retiring:  {Retired},
	Retired:   {Destroyed},
	Destroyed: nil,
}

// Move answers nil if a version may go from one state to the other.
func Move(from, to State) error {
	for _, s := range next[from] {
		if s == to {
			return nil
		}
	}
	return fmt.Errorf("%w: %s to %s", ErrTransition, from, to)
}

// Accepted tells whether verifiers accept a version in this state. An unknown state is refused.
func (s State) Accepted() bool { return s == Prepared || s == Active || s == Retiring }

// Valid tells whether s is one of the states.
func (s State) Valid() bool { _, ok := next[s]; return ok }

// Policy says how fast versions of one kind of credential follow one another.
type Policy struct {
	Period     time.Duration // from one activation to the next preparation
	Grace      time.Duration // how long a retiring version is accepted at least, and must go unused before it retires
	MaxOverlap time.Duration // when a retiring version retires in any case, with an alert
	MaxLive    int           // accepted versions at once; at the limit no new one is prepared. At least 2
}

// ErrPolicy is returned by Policy.Check.
var ErrPolicy = errors.New("lifecycle: policy cannot work")

// Check answers nil if versions can live by p: nothing retires before it had its grace, and there is always room for
// a successor.
func (p Policy) Check() error {
	switch {
	case p.Period <= 0:
		return fmt.Errorf("%w: the period must be longer than nothing", ErrPolicy)
	case p.Grace <= 0:
		return fmt.Errorf("%w: the grace must be longer than nothing", ErrPolicy)
	case p.MaxOverlap < p.Grace:
		return fmt.Errorf("%w: the longest overlap (%v) is shorter than the grace (%v)", ErrPolicy, p.MaxOverlap, p.Grace)
	case p.MaxLive < 2:
		return fmt.Errorf("%w: at least 2 versions must be accepted at once, or none could follow the first", ErrPolicy)
	}
	return nil
}

// Evidence is what is known about a retiring version.
type Evidence struct {
	RetiringSince time.Time
	LastUsed      time.Time // zero: never seen in use
	SuccessorUsed bool      // a later version was seen in use
	// WatchingSince is when the observation of uses began without a gap. Time in which nobody could have logged in, or
	// nobody would have noticed, proves nothing; so it does not count as time unused.
	WatchingSince time.Time
	// WatchedUntil is until when every use is known; zero: until now. What is used later may come to light yet.
	WatchedUntil time.Time
	Lag          time.Duration // how far WatchedUntil stays behind the time, as a rule
	// InterruptedUntil is the end of the last time in which nobody could fetch anything: a version gets a grace from
	// then on even at the hard limit, because nobody could do anything about it before.
	InterruptedUntil time.Time
	Delivered        bool // every destination shows a later version
}

// Verdict is what MayRetire found.
type Verdict struct {
	Retire bool
	Forced bool      // the hard limit, not the evidence: raise an alert
	Reason string    // for people: why not yet, or why
	Look   time.Time // when not: the earliest time at which the answer can change by time alone
}

// MayRetire decides whether a retiring version may be refused from now on. It may when every destination shows a later
// one, the grace is over, a later version was seen in use and this one was not for a whole grace, watched without a
// gap; or when the hard limit is reached and the credentials could be fetched for a grace before it.
func MayRetire(e Evidence, p Policy, now time.Time) Verdict {
	limit := Limit(e, p)
	if !now.Before(limit) {
		return Verdict{Retire: true, Forced: true, Reason: "the longest overlap is over"}
	}
	quiet := latest(e.RetiringSince, e.LastUsed, e.WatchingSince).Add(p.Grace)
	known := now
	if !e.WatchedUntil.IsZero() && e.WatchedUntil.Before(now) {
		known = e.WatchedUntil
	}
	wait := func(reason string, look time.Time) Verdict {
		return Verdict{Reason: reason, Look: earliest(later(look, now), limit)}
	}
	switch {
	case !e.Delivered:
		return wait("a destination does not show its successor yet", now.Add(p.Grace))
	case now.Before(e.RetiringSince.Add(p.Grace)):
		return wait("the grace is not over", quiet.Add(e.Lag))
	case known.Before(quiet):
		return wait("it may still be in use", quiet.Add(e.Lag))
	case !e.SuccessorUsed:
		return wait("its successor was not seen in use yet", now.Add(p.Grace))
	}
	return Verdict{Retire: true, Reason: "unused for the grace, and its successor is in use"}
}

// Limit is the hard limit of a retiring version.
func Limit(e Evidence, p Policy) time.Time {
	limit := e.RetiringSince.Add(p.MaxOverlap)
	if e.InterruptedUntil.After(e.RetiringSince) {
		limit = latest(limit, e.InterruptedUntil.Add(p.Grace))
	}
	return limit
}

// Unseen tells that a delivery may have been lost although its destination said it was stored: the version has been
// retiring for two graces, watched without a gap, is still used, and nothing later was ever seen in use. Whoever reads
// the destination seems to read the old version there; its owner should be told, and a fresh version delivered, long
// before the hard limit.
func Unseen(e Evidence, p Policy, now time.Time) bool {
	since := latest(e.RetiringSince, e.WatchingSince)
	return !e.SuccessorUsed && e.LastUsed.After(e.RetiringSince.Add(p.Grace)) && !now.Before(since.Add(2*p.Grace)) &&
		!now.After(e.LastUsed.Add(2*p.Grace))
}

// Due is what MayPrepare found.
type Due struct {
	Now    bool
	Reason string
	Look   time.Time // when not now: the earliest time at which the answer can change by time alone; zero: only by an event
}

// MayPrepare decides whether the next version may be prepared: none is prepared already, the limit of accepted
// versions is not reached, and the period since the last activation is over or the change was asked for.
func MayPrepare(states []State, lastActivated time.Time, asked bool, p Policy, now time.Time) Due {
	live := 0
	for _, s := range states {
		if s == Prepared {
			return Due{Reason: "a change is already open"}
		}
		if s.Accepted() {
			live++
		}
	}
	if live >= max(p.MaxLive, 2) {
		return Due{Reason: "too many versions are still accepted: an old one may be in use", Look: later(now.Add(p.Grace), now)}
	}
	if due := lastActivated.Add(p.Period); !asked && !lastActivated.IsZero() && now.Before(due) {
		return Due{Reason: "not due", Look: due}
	}
	return Due{Now: true, Reason: "due"}
}

func latest(ts ...time.Time) (t time.Time) {
	for _, x := range ts {
		if x.After(t) {
			t = x
		}
	}
	return t
}

// later keeps a policy without a grace from being asked again in the same instant, for ever.
func later(look, now time.Time) time.Time { return latest(look, now.Add(time.Second)) }

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
