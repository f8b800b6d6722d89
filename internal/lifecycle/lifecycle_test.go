package lifecycle_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/lifecycle"
)

var (
	t0     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	states = []lifecycle.State{lifecycle.Prepared, lifecycle.Active, lifecycle.Retiring, lifecycle.Retired, lifecycle.Destroyed}
	policy = lifecycle.Policy{Period: 2 * time.Hour, Grace: 30 * time.Minute, MaxOverlap: 24 * time.Hour, MaxLive: 4}
)

func TestMove(t *testing.T) {
	legal := map[[2]lifecycle.State]bool{
		{lifecycle.Prepared, lifecycle.Active}: true, {lifecycle.Prepared, lifecycle.Retired}: true,
		{lifecycle.Active, lifecycle.Retiring}: true, {lifecycle.Active, lifecycle.Retired}: true,
		{lifecycle.Retiring, lifecycle.Retired}: true, {lifecycle.Retired, lifecycle.Destroyed}: true,
	}
	for _, from := range append(states, "", "ACTIVE") {
		for _, to := range append(states, "", "ACTIVE") {
			err := lifecycle.Move(from, to)
			if (err == nil) != legal[[2]lifecycle.State{from, to}] {
				t.Errorf("Move(%q, %q) = %v", from, to, err)
			}
			if err != nil && !errors.Is(err, lifecycle.ErrTransition) {
				t.Errorf("Move(%q, %q) = %v, not ErrTransition", from, to, err)
			}
		}
	}
}

// What was refused once is refused for ever, whatever steps follow.
func TestARefusedVersionNeverComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at, refused := lifecycle.Prepared, false
		for range 10 {
			to := rapid.SampledFrom(states).Draw(t, "to")
			if lifecycle.Move(at, to) == nil {
				at = to
			}
			if refused && at.Accepted() {
				t.Fatalf("accepted again in state %s", at)
			}
			refused = !at.Accepted()
		}
	})
}

func TestUnknownStatesAreRefused(t *testing.T) {
	for _, s := range []lifecycle.State{"", "ACTIVE", "revoked"} {
		if s.Accepted() || s.Valid() {
			t.Errorf("%q is accepted or valid", s)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	if err := policy.Check(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*lifecycle.Policy){
		"no period":                 func(p *lifecycle.Policy) { p.Period = 0 },
		"negative grace":            func(p *lifecycle.Policy) { p.Grace = -1 },
		"no grace":                  func(p *lifecycle.Policy) { p.Grace = 0 },
		"overlap shorter than that": func(p *lifecycle.Policy) { p.MaxOverlap = p.Grace - 1 },
		"no room for a successor":   func(p *lifecycle.Policy) { p.MaxLive = 1 },
	} {
		p := policy
		spoil(&p)
		if err := p.Check(); !errors.Is(err, lifecycle.ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMayPrepare(t *testing.T) {
	S := func(s ...lifecycle.State) []lifecycle.State { return s }
	for _, c := range []struct {
		name      string
		states    []lifecycle.State
		activated time.Time
		asked     bool
		want      bool
	}{
		{"nothing yet", nil, time.Time{}, false, true},
		{"1 h 59 m old", S(lifecycle.Active), t0.Add(-119 * time.Minute), false, false},
		{"2 h 1 m old", S(lifecycle.Active), t0.Add(-121 * time.Minute), false, true},
		{"asked", S(lifecycle.Active), t0.Add(-time.Minute), true, true},
		{"asked, but one is open", S(lifecycle.Active, lifecycle.Prepared), t0.Add(-time.Minute), true, false},
		{"due, but one is open", S(lifecycle.Active, lifecycle.Prepared), t0.Add(-3 * time.Hour), false, false},
		{"due, at the limit", S(lifecycle.Active, lifecycle.Retiring, lifecycle.Retiring, lifecycle.Retiring), t0.Add(-3 * time.Hour), false, false},
		{"asked, at the limit", S(lifecycle.Active, lifecycle.Retiring, lifecycle.Retiring, lifecycle.Retiring), t0, true, false},
		{"due, retired ones do not count", S(lifecycle.Active, lifecycle.Retired, lifecycle.Retired, lifecycle.Destroyed), t0.Add(-3 * time.Hour), false, true},
		{"clock went back", S(lifecycle.Active), t0.Add(time.Hour), false, false},
	} {
		if got := lifecycle.MayPrepare(c.states, c.activated, c.asked, policy, t0); got.Now != c.want || got.Reason == "" {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestMayRetire(t *testing.T) {
	good := lifecycle.Evidence{RetiringSince: t0, SuccessorUsed: true, WatchingSince: t0.Add(-time.Hour), Delivered: true}
	for _, c := range []struct {
		name   string
		change func(*lifecycle.Evidence)
		after  time.Duration
		retire bool
		forced bool
	}{
		{"all evidence, grace not over", nil, 29 * time.Minute, false, false},
		{"all evidence, grace over", nil, 30 * time.Minute, true, false},
		{"used ten minutes ago", func(e *lifecycle.Evidence) { e.LastUsed = t0.Add(50 * time.Minute) }, time.Hour, false, false},
		{"used a grace ago", func(e *lifecycle.Evidence) { e.LastUsed = t0.Add(30 * time.Minute) }, time.Hour, true, false},
		{"successor never used", func(e *lifecycle.Evidence) { e.SuccessorUsed = false }, 23 * time.Hour, false, false},
		{"not delivered", func(e *lifecycle.Evidence) { e.Delivered = false }, 23 * time.Hour, false, false},
		{"nobody watched until just now", func(e *lifecycle.Evidence) { e.WatchingSince = t0.Add(50 * time.Minute) }, time.Hour, false, false},
		{"nobody watched for a while, then for a grace", func(e *lifecycle.Evidence) { e.WatchingSince = t0.Add(30 * time.Minute) }, time.Hour, true, false},
		{"hard limit", func(e *lifecycle.Evidence) { e.SuccessorUsed, e.Delivered = false, false }, 24 * time.Hour, true, true},
		{"hard limit although used just now", func(e *lifecycle.Evidence) { e.LastUsed = t0.Add(24 * time.Hour) }, 24 * time.Hour, true, true},
	} {
		e := good
		if c.change != nil {
			c.change(&e)
		}
		got := lifecycle.MayRetire(e, policy, t0.Add(c.after))
		if got.Retire != c.retire || got.Forced != c.forced || got.Reason == "" {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

func TestUnseen(t *testing.T) {
	lost := lifecycle.Evidence{RetiringSince: t0, LastUsed: t0.Add(65 * time.Minute), WatchingSince: t0.Add(-time.Hour), Delivered: true}
	now := t0.Add(70 * time.Minute)
	if !lifecycle.Unseen(lost, policy, now) {
		t.Error("an old version in use and an unused new one were not noticed")
	}
	for name, change := range map[string]func(*lifecycle.Evidence){
		"successor in use":        func(e *lifecycle.Evidence) { e.SuccessorUsed = true },
		"nobody uses either":      func(e *lifecycle.Evidence) { e.LastUsed = time.Time{} },
		"used in its grace only":  func(e *lifecycle.Evidence) { e.LastUsed = t0.Add(20 * time.Minute) },
		"not watched long enough": func(e *lifecycle.Evidence) { e.WatchingSince = t0.Add(30 * time.Minute) },
		"retiring for a short time": func(e *lifecycle.Evidence) {
			e.RetiringSince = t0.Add(30 * time.Minute)
		},
	} {
		e := lost
		change(&e)
		if lifecycle.Unseen(e, policy, now) {
			t.Errorf("%s: an alarm for nothing", name)
		}
	}
}

func drawTime(t *rapid.T, label string) time.Time {
	return t0.Add(time.Duration(rapid.IntRange(-200_000, 200_000).Draw(t, label)) * time.Second)
}

func drawEvidence(t *rapid.T) lifecycle.Evidence {
	e := lifecycle.Evidence{
		RetiringSince: drawTime(t, "retiring"), WatchingSince: drawTime(t, "watching"),
		SuccessorUsed: rapid.Bool().Draw(t, "successor"), Delivered: rapid.Bool().Draw(t, "delivered"),
	}
	if rapid.Bool().Draw(t, "used") {
		e.LastUsed = drawTime(t, "last used")
	}
	return e
}

func drawPolicy(t *rapid.T) lifecycle.Policy {
	p := lifecycle.Policy{
		Period:  time.Duration(rapid.IntRange(1, 100_000).Draw(t, "period")) * time.Second,
		Grace:   time.Duration(rapid.IntRange(1, 10_000).Draw(t, "grace")) * time.Second,
		MaxLive: rapid.IntRange(2, 6).Draw(t, "max live"),
	}
	p.MaxOverlap = p.Grace + time.Duration(rapid.IntRange(0, 200_000).Draw(t, "overlap"))*time.Second
	return p
}

// Before the hard limit nothing retires without every piece of evidence; at the limit everything does, and says so.
func TestRetireNeedsEvidenceOrTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, p, now := drawEvidence(t), drawPolicy(t), drawTime(t, "now")
		v := lifecycle.MayRetire(e, p, now)
		limit := !now.Before(e.RetiringSince.Add(p.MaxOverlap))
		quiet := now.Sub(e.RetiringSince) >= p.Grace && now.Sub(e.WatchingSince) >= p.Grace &&
			(e.LastUsed.IsZero() || now.Sub(e.LastUsed) >= p.Grace)
		if want := limit || quiet && e.Delivered && e.SuccessorUsed; v.Retire != want {
			t.Fatalf("retire %v, want %v: %+v %+v", v.Retire, want, e, p)
		}
		if v.Forced != limit || v.Retire && now.Sub(e.RetiringSince) < p.Grace {
			t.Fatalf("%+v", v)
		}
	})
}

// Look is a time to come, never after the limit; and asking again only at each Look still retires in the end.
func TestLookingAgainTerminates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, p := drawEvidence(t), drawPolicy(t)
		now, looks := e.RetiringSince, 0
		for {
			v := lifecycle.MayRetire(e, p, now)
			if v.Retire {
				return
			}
			if !v.Look.After(now) || v.Look.After(e.RetiringSince.Add(p.MaxOverlap)) {
				t.Fatalf("at %v look at %v: %+v", now, v.Look, v)
			}
			// Time alone never changes the answer earlier than Look said.
			before := now.Add(v.Look.Sub(now) / 2)
			if e.Delivered && e.SuccessorUsed && lifecycle.MayRetire(e, p, before).Retire {
				t.Fatalf("Look %v was too late: %v would do", v.Look, before)
			}
			now = v.Look
			if looks++; looks > 210_000 {
				t.Fatal("does not end")
			}
		}
	})
}

// More evidence never makes a version live longer; a later use or a gap in the watch never makes it die earlier.
func TestRetireIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, p, now := drawEvidence(t), drawPolicy(t), drawTime(t, "now")
		less := e
		switch rapid.IntRange(0, 3).Draw(t, "take away") {
		case 0:
			less.Delivered = false
		case 1:
			less.SuccessorUsed = false
		case 2:
			less.LastUsed = e.LastUsed.Add(time.Minute)
		case 3:
			less.WatchingSince = e.WatchingSince.Add(time.Minute)
		}
		if lifecycle.MayRetire(less, p, now).Retire && !lifecycle.MayRetire(e, p, now).Retire {
			t.Fatalf("less evidence retires, more does not: %+v %+v", less, e)
		}
		if now2 := now.Add(time.Minute); lifecycle.MayRetire(e, p, now).Retire && !lifecycle.MayRetire(e, p, now2).Retire {
			t.Fatal("the answer was taken back by time alone")
		}
	})
}

// A whole life under random times: never two open changes, never more accepted versions than the limit, always one to
// use once there was one.
func TestLivesKeepTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, now := drawPolicy(t), t0
		var versions []lifecycle.State
		var since []time.Time
		var activated time.Time
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "wait")) * time.Second)
			if d := lifecycle.MayPrepare(versions, activated, rapid.Bool().Draw(t, "asked"), p, now); d.Now {
				versions, since = append(versions, lifecycle.Prepared), append(since, now)
			} else if !d.Look.IsZero() && !d.Look.After(now) {
				t.Fatalf("look in the past: %+v", d)
			}
			if n := len(versions); versions[n-1] == lifecycle.Prepared && rapid.Bool().Draw(t, "all delivered") {
				if n > 1 {
					versions[n-2], since[n-2] = lifecycle.Retiring, now
				}
				versions[n-1], activated = lifecycle.Active, now
			}
			for i, s := range versions {
				e := lifecycle.Evidence{RetiringSince: since[i], Delivered: true, SuccessorUsed: rapid.Bool().Draw(t, "used"), WatchingSince: t0}
				if s == lifecycle.Retiring && lifecycle.MayRetire(e, p, now).Retire {
					versions[i] = lifecycle.Retired
				}
			}
			count := map[lifecycle.State]int{}
			live := 0
			for _, s := range versions {
				count[s]++
				if s.Accepted() {
					live++
				}
			}
			if count[lifecycle.Prepared] > 1 || count[lifecycle.Active] > 1 || live > p.MaxLive || !activated.IsZero() && count[lifecycle.Active] != 1 {
				t.Fatalf("%v under %+v", versions, p)
			}
		}
	})
}
