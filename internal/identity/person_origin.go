package identity

import (
	"net/netip"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
)

// How one address is kept from trying a few passwords on very many accounts, none of which it tries often.
const (
	// TriesPerAddress is how many passwords may be wrong from one address, for whatever accounts, within addressWindow.
	TriesPerAddress = 50
	addressWindow   = 10 * time.Minute
	maxAddresses    = 16384
)

// addresses counts wrong passwords by where they come from. It is each node's own and in memory: the count of an account,
// which all nodes share, is what protects an account. A try is counted before it is looked at, so that many at once are
// not more than one after another.
//
// The machine itself is not counted: what comes from there came through a proxy that the configuration does not name,
// and one stranger behind it would keep everybody out.
type addresses struct {
	clock clock.Clock
	limit int
	text  string // of the refusal

	mu    sync.Mutex
	tries map[netip.Prefix]addressTries // owned by mu
}

// LimitAddresses makes a function that counts what comes from an address, and refuses it after limit times within ten
// minutes. Like the count of wrong passwords it is this node's own.
func (dir *Directory) LimitAddresses(limit int, refusal string) func(ip string) error {
	a := newAddresses(dir.o.Clock)
	a.limit, a.text = limit, refusal
	return func(ip string) error {
		_, err := a.take(ip)
		return err
	}
}

type addressTries struct {
	n     int
	since time.Time
}

func newAddresses(c clock.Clock) *addresses {
	return &addresses{clock: c, limit: TriesPerAddress, text: "Too many wrong passwords came from your address. Please wait before you try again.", tries: map[netip.Prefix]addressTries{}}
}

// network is the address, or of IPv6 the /64, of which one machine may use all. ok is false for what is not counted.
func network(ip string) (p netip.Prefix, ok bool) {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return p, false
	}
	address = address.Unmap().WithZone("")
	if address.IsLoopback() {
		return p, false
	}
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	p, err = address.Prefix(bits)
	return p, err == nil
}

// take counts a try, or refuses it. back takes it off the count again: it was no wrong password.
func (a *addresses) take(ip string) (back func(), err error) {
	from, ok := network(ip)
	if !ok {
		return func() {}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	t, known := a.tries[from]
	if !known {
		a.makeRoom(now)
	}
	if !known || !now.Before(t.since.Add(addressWindow)) {
		t = addressTries{since: now}
	}
	if t.n >= a.limit {
		return nil, fault.New(fault.Limited, "too_many_attempts", "%s", a.text).Retry(t.since.Add(addressWindow).Sub(now))
	}
	t.n++
	a.tries[from] = t
	since := t.since
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if t, known := a.tries[from]; known && t.since.Equal(since) && t.n > 0 {
			t.n--
			a.tries[from] = t
		}
	}, nil
}

// makeRoom forgets the mildest of a few when there are very many addresses, and not one that is refused already.
func (a *addresses) makeRoom(now time.Time) {
	if len(a.tries) < maxAddresses {
		return
	}
	var mildest netip.Prefix
	least, looked := a.limit+1, 0
	for from, t := range a.tries {
		if !now.Before(t.since.Add(addressWindow)) {
			mildest = from
			break
		}
		if t.n < least {
			mildest, least = from, t.n
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(a.tries, mildest)
}
