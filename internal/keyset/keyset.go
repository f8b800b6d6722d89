// Package keyset holds the key sets that others keep at addresses of their own: clients (jwks_uri of RFC 7591 section 2)
// and the OpenID providers with which people sign in (jwks_uri of OpenID Connect Discovery 1.0 section 3).
//
// What it guards: that an owner's address costs nobody else anything, and that a key is believed no longer than its
// owner shows it.
//   - A set is fetched only when somebody needs it who acts for its owner, by package outbound, and at most once each
//     half minute, however many ask and whatever becomes of it: by who needs it first, while the others wait. Random key
//     ids, wrong signatures and addresses that do not answer buy no more than that.
//   - A copy is taken as it is for five minutes. Then it is fetched anew before it is believed, and only if that fails
//     does the last good copy count on, for an hour since it was fetched: so long does a key count that was withdrawn
//     while its set could not be had. What of a set is good, its reader says (Options.Read).
//   - So many fetches at once, so many sets in memory; what was not used for longest goes first. Owners that must not take
//     each other's places have Sets of their own: providers, and among clients those that strangers registered (Clients).
//
// Each node has a memory of its own. What an address says is signed by nobody but its TLS certificate, so it is kept in
// memory alone.
package keyset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/outbound"
)

// The times of a copy.
const (
	Fresh = 5 * time.Minute  // how long it is taken as it is
	Kept  = time.Hour        // since it was fetched: how long it counts when no newer one can be had
	Pause = 30 * time.Second // between two fetches of one owner's set
)

const (
	atOnce   = 16 // fewer than package outbound makes, so that others get through
	capacity = 1000
)

// errBusy says that nothing was tried.
var errBusy = errors.New("keyset: too many key sets are fetched at once")

// Outbound calls the addresses (outbound.Client).
type Outbound interface {
	Do(ctx context.Context, r outbound.Request) (outbound.Answer, error)
}

// Options configure Sets. Outbound must be set.
type Options struct {
	Outbound Outbound
	Clock    clock.Clock  // nil: clock.System
	Logger   *slog.Logger // nil: no log
	Capacity int          // sets in memory; 0: 1000
	AtOnce   int          // fetches under way; 0: 16
	Purpose  string       // a word for the metrics of package outbound; "": jwks
	// Read reads a set. nil: jose.ParseKeySet, to which a set with one bad key is bad.
	Read func(set []byte) ([]jose.Key, error)
}

// Sets is this node's memory of key sets. Use it from any number of goroutines.
type Sets struct {
	o     Options
	slots chan struct{}

	mu    sync.Mutex
	known map[string]*entry // owned by mu; by owner
	turn  uint64            // owned by mu; counts uses, to find what was not used for longest
}

// entry is what is known of one owner's set. All of it but address is owned by Sets.mu.
type entry struct {
	address string
	set     Set           // the last good copy; zero: none
	tried   time.Time     // when the last fetch began; zero: never
	flight  chan struct{} // closed when the fetch under way is over; nil: none is
	used    uint64
}

// Set is a copy of a key set. Do not change its keys: they are shared.
type Set struct {
	Keys    []jose.Key
	Fetched time.Time // two copies of one owner with the same instant are the same
}

// New makes Sets.
func New(o Options) *Sets {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Capacity <= 0 {
		o.Capacity = capacity
	}
	if o.AtOnce <= 0 {
		o.AtOnce = atOnce
	}
	if o.Purpose == "" {
		o.Purpose = "jwks"
	}
	if o.Read == nil {
		o.Read = jose.ParseKeySet
	}
	return &Sets{o: o, slots: make(chan struct{}, o.AtOnce), known: map[string]*entry{}}
}

// Keys answers the owner's keys at the address, from memory if they are fresh there. newer says that what is in memory
// did not do, because a key is missing or does not match: then they are fetched again unless that was just done. It waits
// for the network, so no transaction may be open; a fault of kind Unavailable says that no keys can be had.
func (s *Sets) Keys(ctx context.Context, owner, address string, newer bool) (Set, error) {
	e, flight, leads := s.begin(owner, address, newer)
	switch {
	case leads:
		s.fetch(context.WithoutCancel(ctx), owner, e) // others wait for it: it goes on when this caller is gone
	case flight != nil:
		select {
		case <-flight:
		case <-ctx.Done():
			return Set{}, unavailable(ctx.Err())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.set.good(s.o.Clock.Now()) {
		return Set{}, unavailable(nil)
	}
	return e.set, nil
}

// good tells whether the copy counts at all.
func (s Set) good(now time.Time) bool { return !s.Fetched.IsZero() && now.Before(s.Fetched.Add(Kept)) }

// begin finds the owner's entry. If a fetch is called for, the caller is told to do it (leads), or to wait for flight.
func (s *Sets) begin(owner, address string, newer bool) (e *entry, flight chan struct{}, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e = s.known[owner]
	if e == nil || e.address != address {
		s.makeRoom(owner)
		e = &entry{address: address}
		s.known[owner] = e
	}
	s.turn++
	e.used = s.turn
	now := s.o.Clock.Now()
	if !newer && !e.set.Fetched.IsZero() && now.Before(e.set.Fetched.Add(Fresh)) {
		return e, nil, false
	}
	if e.flight == nil && (e.tried.IsZero() || !now.Before(e.tried.Add(Pause))) {
		e.tried, e.flight = now, make(chan struct{})
		return e, nil, true
	}
	return e, e.flight, false
}

// makeRoom forgets the set that was not used for longest, if one more would be too many. Callers that wait for it have
// its entry still.
func (s *Sets) makeRoom(forOwner string) {
	if s.known[forOwner] != nil || len(s.known) < s.o.Capacity {
		return
	}
	oldest := ""
	for owner, e := range s.known {
		if oldest == "" || e.used < s.known[oldest].used {
			oldest = owner
		}
	}
	delete(s.known, oldest)
}

// fetch brings the set, and lets go who waits for it.
func (s *Sets) fetch(ctx context.Context, owner string, e *entry) {
	began, set := s.o.Clock.Now(), Set{}
	var err error
	defer func() { // also of a panic, or nobody would wait for less than ever
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case !set.Fetched.IsZero():
			e.set = set
		case errors.Is(err, errBusy), errors.Is(err, outbound.ErrBusy):
			e.tried = time.Time{} // nobody was called, so the next one may
		}
		close(e.flight)
		e.flight = nil
	}()
	keys, err := s.get(ctx, e.address)
	if err != nil {
		s.o.Logger.WarnContext(ctx, "a key set could not be fetched", "purpose", s.o.Purpose, "owner", owner, "error", err)
		return
	}
	set = Set{Keys: keys, Fetched: began}
}

// Look fetches the set at an address just now, and remembers nothing: for whoever sets an owner up.
func (s *Sets) Look(ctx context.Context, address string) ([]jose.Key, error) {
	return s.get(ctx, address)
}

func (s *Sets) get(ctx context.Context, address string) ([]jose.Key, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return nil, errBusy
	}
	a, err := s.o.Outbound.Do(ctx, outbound.Request{Purpose: s.o.Purpose, Method: http.MethodGet, URL: address, Accept: "application/jwk-set+json, application/json"})
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusOK {
		return nil, fmt.Errorf("keyset: the answer has status %d", a.Status)
	}
	return s.o.Read(a.Body)
}

func unavailable(cause error) error {
	return fault.Wrap(errors.Join(errors.New("keyset: no keys of the owner can be had"), cause), fault.Unavailable, "unavailable", "The keys cannot be fetched just now.").Retry(Pause)
}
