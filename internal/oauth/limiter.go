package oauth

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

const (
	failureLimit  = 50
	failureWindow = 10 * time.Minute
	limiterKeys   = 16384
	// flowLimit is how many requests one address may begin in failureWindow: enough for all people of an office.
	flowLimit = 1000
	// pushLimit is how many requests one client may push in failureWindow, whoever its people are.
	pushLimit = 20_000
)

// limiter stops one address that guesses one client's secret. It never stops the client: who knows the secret and comes
// from elsewhere is served, so a stranger cannot lock anybody out.
//
// It is each node's own. A generated secret has 256 bits, so what it saves is work and noise in the log, and for that a
// node's own count is enough.
type limiter struct {
	clock clock.Clock
	limit int

	mu       sync.Mutex
	failures map[limiterKey]failureCount // owned by mu
}

// newFlowLimiter makes one that counts requests which wait for a person: anybody may begin one, and each is a row.
func newFlowLimiter(c clock.Clock) *limiter {
	l := newLimiter(c)
	l.limit = flowLimit
	return l
}

// newPushLimiter makes one that counts the requests which clients push: each is a row.
func newPushLimiter(c clock.Clock) *limiter {
	l := newLimiter(c)
	l.limit = pushLimit
	return l
}

type limiterKey struct {
	network netip.Prefix // the address; of IPv6 the /64, of which one machine may use all
	client  string
}

type failureCount struct {
	n     int
	since time.Time
}

func newLimiter(c clock.Clock) *limiter {
	return &limiter{clock: c, limit: failureLimit, failures: map[limiterKey]failureCount{}}
}

func newLimiterKey(ip, client string) limiterKey {
	k := limiterKey{client: client}
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return k
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	k.network, _ = addr.Prefix(bits) // bits is right for the address
	return k
}

// blocked answers how long the address must wait before it may try this client again; 0: it may now.
func (l *limiter) blocked(k limiterKey) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, ok := l.failures[k]
	if !ok || f.n < l.limit {
		return 0
	}
	left := f.since.Add(failureWindow).Sub(l.clock.Now())
	if left <= 0 {
		delete(l.failures, k)
		return 0
	}
	return left
}

// failed notes a wrong secret, or whatever else is counted.
func (l *limiter) failed(k limiterKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock.Now()
	f, ok := l.failures[k]
	if !ok {
		l.makeRoom(now)
	}
	if !ok || !now.Before(f.since.Add(failureWindow)) {
		f = failureCount{since: now}
	}
	f.n++
	l.failures[k] = f
}

// makeRoom drops the mildest of a few when the map is full, so that a flood of made-up clients pushes out its own kind
// and not an address that is blocked already.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.failures) < limiterKeys {
		return
	}
	var mildest limiterKey
	least, looked := math.MaxInt, 0
	for k, f := range l.failures {
		if !now.Before(f.since.Add(failureWindow)) {
			mildest = k
			break
		}
		if f.n < least {
			mildest, least = k, f.n
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(l.failures, mildest)
}

func (l *limiter) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.failures)
}
