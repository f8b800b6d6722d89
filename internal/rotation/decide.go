package rotation

import (
	"hash/fnv"
	"time"

	"github.com/mintmark/mintmark/internal/lifecycle"
)

// credential is all that is stored of one: what every decision is made of.
type credential struct {
	app, kind  string
	epoch      int64
	live       bool
	last       int64 // highest version ever given
	activated  time.Time
	asked      wish
	problem    string
	since      time.Time // of the problem
	failures   int64
	versions   []version  // those accepted, ascending
	deliveries []delivery // one per destination of the application
}

// wish is a rotation that was asked for; the zero time is none.
type wish struct {
	at      time.Time
	by, why string
}

type version struct {
	number    int64
	state     lifecycle.State
	reason    string
	fixed     bool   // its document holds no secret
	sealed    []byte // only while it is prepared
	prepared  time.Time
	activated time.Time
	retiring  time.Time
	retired   time.Time
	forced    bool
}

type delivery struct {
	Destination
	version   int64 // what it shows; 0 before the first
	at        time.Time
	failures  int64
	since     time.Time
	code, err string
	nextTry   time.Time
}

// The reasons for which a version is made.
const (
	whyDue         = "due"
	whyAsked       = "asked"
	whyChanged     = "changed"       // its document has become one without a secret, or with one
	whyDestination = "destination"   // a destination was added, and the active version's document is not kept
	whyLate        = "late-delivery" // a node that had lost its claim wrote an older version over a later one
	whyUnseen      = "unseen"        // applications keep using the old version: a delivery seems to have been lost
)

// observed is what is known about the uses of a credential.
type observed struct {
	used  map[int64]time.Time
	watch watch
	lag   time.Duration // how late it is known that nobody used a version
	fixed bool          // the document holds no secret
}

// step is what is to be done next with a credential.
type step string

const (
	stepStop    step = "stop" // nothing, ever: the application is not active
	stepWait    step = "wait"
	stepPrepare step = "prepare"
	stepPublish step = "publish"
	stepCommit  step = "commit"
	stepRetire  step = "retire"
	stepRenew   step = "renew" // ask for a rotation, because a delivery seems lost
)

// plan is what decide found: one step, and for people why.
type plan struct {
	do      step
	version int64      // the version that the step is about
	to      []delivery // publish: the destinations to write to now
	forced  bool       // retire: by the hard limit
	why     string
	look    time.Time // wait: when time alone can change the answer; zero: only an event can
}

func (c *credential) open() *version   { return c.in(lifecycle.Prepared) }
func (c *credential) active() *version { return c.in(lifecycle.Active) }

func (c *credential) in(s lifecycle.State) *version {
	for i := range c.versions {
		if c.versions[i].state == s {
			return &c.versions[i]
		}
	}
	return nil
}

// decide says what is to be done next. It is pure, and it is asked again inside the transaction of each step: what it
// does not allow there is not done.
func decide(c *credential, o observed, p lifecycle.Policy, now time.Time) plan {
	if !c.live {
		return plan{do: stepStop, why: "the application is not active"}
	}
	wait := plan{do: stepWait}
	if open := c.open(); open != nil {
		next, done := deliveries(c, open, now)
		if done {
			return next
		}
		wait = next
	}
	for _, v := range c.versions {
		if v.state != lifecycle.Retiring {
			continue
		}
		e := evidence(c, v, o)
		verdict := lifecycle.MayRetire(e, p, now)
		if verdict.Retire {
			return plan{do: stepRetire, version: v.number, forced: verdict.Forced, why: verdict.Reason}
		}
		if c.open() == nil && c.asked.at.IsZero() && c.active() != nil && c.active().reason != whyUnseen && lifecycle.Unseen(e, p, now) {
			return plan{do: stepRenew, version: v.number, why: "the old version is in use, the new one was never seen"}
		}
		wait.look = sooner(wait.look, verdict.Look)
	}
	if c.open() != nil {
		return wait
	}
	return prepare(c, o, p, now, wait)
}

// deliveries says what the open version needs. done is false when it can only wait.
func deliveries(c *credential, open *version, now time.Time) (next plan, done bool) {
	if len(c.deliveries) == 0 {
		// Nobody may have seen it, or somebody may: both stay accepted until there is a place to show it.
		return plan{do: stepWait, why: "the application has no destination: add one, and the version that is prepared goes there"}, false
	}
	wait := plan{do: stepWait, why: "waiting for a destination that refuses the new version"}
	var to []delivery
	missing := 0
	for _, d := range c.deliveries {
		if d.version == open.number {
			continue
		}
		missing++
		if d.nextTry.After(now) {
			wait.look = sooner(wait.look, d.nextTry)
			continue
		}
		to = append(to, d)
	}
	switch {
	case missing == 0:
		return plan{do: stepCommit, version: open.number, why: "every destination shows it"}, true
	case len(to) > 0:
		return plan{do: stepPublish, version: open.number, to: to, why: "not every destination shows it yet"}, true
	}
	return wait, false
}

func prepare(c *credential, o observed, p lifecycle.Policy, now time.Time, wait plan) plan {
	if len(c.deliveries) == 0 {
		wait.why = "the application has no destination: add one, and its credentials go there"
		return wait
	}
	states := make([]lifecycle.State, len(c.versions))
	for i, v := range c.versions {
		states[i] = v.state
	}
	var activated time.Time
	if !c.activated.IsZero() {
		activated = dueAt(c, o, p).Add(-p.Period)
	}
	if o.fixed {
		p.Period = 100 * 365 * 24 * time.Hour
	}
	changed := c.active() != nil && c.active().fixed != o.fixed
	due := lifecycle.MayPrepare(states, activated, changed || !c.asked.at.IsZero(), p, now)
	if due.Now {
		why := whyDue
		switch {
		case changed:
			why = whyChanged
		case !c.asked.at.IsZero():
			why = c.asked.why
		}
		return plan{do: stepPrepare, version: c.last + 1, why: why}
	}
	wait.why = due.Reason
	wait.look = sooner(wait.look, due.Look)
	return wait
}

// evidence is what is known about a retiring version.
func evidence(c *credential, v version, o observed) lifecycle.Evidence {
	e := lifecycle.Evidence{RetiringSince: v.retiring, LastUsed: o.used[v.number], Delivered: true, SuccessorUsed: o.fixed || v.fixed,
		WatchingSince: o.watch.since, WatchedUntil: o.watch.until, Lag: o.lag, InterruptedUntil: o.watch.up}
	for number, at := range o.used {
		if number > v.number && !at.IsZero() {
			e.SuccessorUsed = true
		}
	}
	for _, d := range c.deliveries {
		if d.version <= v.number {
			e.Delivered = false
		}
	}
	return e
}

// dueAt is when time alone makes the next version due. What became due in an interruption does not come all at once: it is
// spread over as long a time, at most an eighth of the period.
func dueAt(c *credential, o observed, p lifecycle.Policy) time.Time {
	due := c.activated.Add(p.Period + spread(c.app, c.kind, p.Period/128))
	if due.After(o.watch.down) && !due.After(o.watch.up) {
		return o.watch.up.Add(spread(c.app, c.kind, min(o.watch.up.Sub(o.watch.down), p.Period/8)))
	}
	return due
}

// spread is a part of the time, another one for each credential: those that were made together drift apart by less than a
// hundredth of the period, a minute of two hours.
func spread(app, kind string, most time.Duration) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(jobKey(app, kind)))
	// In the precision of stored times: a due time between two of them would never be reached by a clock at rest.
	return (most / 1024 * time.Duration(h.Sum32()%1024)).Truncate(time.Microsecond)
}

// sooner is the earlier of two times, of which the zero time is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
