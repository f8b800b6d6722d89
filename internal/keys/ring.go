// Package keys makes, publishes, rotates and uses the key pairs that sign tokens.
//
// What it guards:
//   - A key is published before it is used: it becomes active only when it has been in the key set for Options.Lead,
//     longer than any verifier keeps a copy. A node whose own copy learnt of the key late goes on with the one before
//     until it has shown the new one for as long. Two have nobody who could know them ahead: the very first key, and one
//     that takes the place of a key which is no longer trusted.
//   - A key stays published until the last token that it signed has expired.
//   - There is one active and one prepared key per algorithm over all nodes: the database holds that, by two unique
//     indexes, and every step is a compare-and-set on the state. A key has one algorithm and one use.
//   - Keys of several algorithms live side by side, each with a schedule of its own. One algorithm signs whatever asks for
//     none (Signer); the others sign for clients that want them (SignerFor).
//   - The private half is stored sealed under purpose "sign", bound to its row, and is erased when the key retires. It
//     never leaves this package.
//
// Signing and verifying read memory only. If the database is away, a node goes on signing with the key that it knows as
// active: while nobody can reach the database nobody can rotate, and a node that alone is cut off signs with a key that
// stays published for Options.Keep after its successor took over.
package keys

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/seal"
)

// Topic is the change feed's topic of signing keys.
const Topic = "signing_keys"

// Options are the schedule. The zero value of each field is its default.
type Options struct {
	Alg    Alg           // of whatever asks for no other; ES256
	Also   []Alg         // other algorithms to sign with; none
	Period time.Duration // from one activation to the next; 30 days
	// Lead is how long a key is published before it is used. It is raised to MaxAge plus the second by which a node's
	// copy may be late. Default 15 minutes.
	Lead time.Duration
	// Keep is how long a key stays published after it was last used: the longest life of a token and a margin for
	// clocks that differ. Default 8 hours and 5 minutes.
	Keep   time.Duration
	MaxAge time.Duration // how long verifiers may keep the key set; 5 minutes
	Clock  clock.Clock
	Logger *slog.Logger
}

const feedDelay = time.Second // what the change feed promises

func (o Options) withDefaults() (Options, error) {
	set := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	if o.Alg == "" {
		o.Alg = ES256
	}
	o.Also = slices.DeleteFunc(slices.Clone(o.Also), func(a Alg) bool { return a == o.Alg })
	slices.Sort(o.Also)
	o.Also = slices.Compact(o.Also)
	for _, alg := range o.algs() {
		if !alg.Known() {
			return o, fmt.Errorf("%w: %q", errAlg, alg)
		}
	}
	set(&o.Period, 30*24*time.Hour)
	set(&o.Lead, 15*time.Minute)
	set(&o.Keep, 8*time.Hour+5*time.Minute)
	set(&o.MaxAge, 5*time.Minute)
	if o.Period < 0 || o.Lead < 0 || o.Keep < 0 || o.MaxAge < 0 {
		return o, errors.New("keys: a duration is negative")
	}
	o.Lead = max(o.Lead, o.MaxAge+feedDelay)
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// algs are the algorithms to have keys of, the one of whatever asks for none first.
func (o Options) algs() []Alg { return append([]Alg{o.Alg}, o.Also...) }

// Ring is this node's copy of the signing keys.
type Ring struct {
	d       *db.DB
	keyring *seal.Keyring
	o       Options

	wake  chan struct{} // a change was announced
	state atomic.Pointer[snapshot]

	mu    sync.Mutex           // held while loading
	known map[string]time.Time // kid → since when this node has published it, by Options.Clock; owned by mu
}

// snapshot is what was loaded at once. It never changes.
type snapshot struct {
	byKid    map[string]Public
	signers  []held         // keys that this node may sign with, the best for whatever asks for no algorithm first
	byAlg    map[Alg][]held // the same, by algorithm
	algs     []Alg          // in use and with an active key, in the order of Options.algs
	complete bool           // each algorithm in use has a key in the set
	document []byte
	etag     string
}

// held is a key that is active, or was just before.
type held struct {
	signer    Signer
	rank      int       // 0: active; 1: retiring; two more if it is of another than the ring's first algorithm
	usableAt  time.Time // this node has published it for Lead, unless it had to be used at once
	notUsedBy time.Time // zero, or from when on even a late node must not use it
}

// NewRing makes a ring. It must be made before the database's feed starts; Run keeps it fresh.
func NewRing(d *db.DB, keyring *seal.Keyring, o Options) (*Ring, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Ring{d: d, keyring: keyring, o: o, wake: make(chan struct{}, 1), known: map[string]time.Time{}}
	d.Subscribe(Topic, func([]string) { r.poke() })
	return r, nil
}

func (r *Ring) poke() {
	select {
	case r.wake <- struct{}{}:
	default: // a refresh is due already
	}
}

// MaxAge is how long verifiers may keep the key set.
func (r *Ring) MaxAge() time.Duration { return r.o.MaxAge }

// Run refreshes the copy when a change is announced, and every half minute in any case, until ctx ends. A failed
// refresh keeps the copy and is tried again after a second.
func (r *Ring) Run(ctx context.Context) error {
	const again, calm = time.Second, 30 * time.Second
	for {
		pause := calm
		if err := r.Refresh(ctx); err != nil && ctx.Err() == nil {
			r.o.Logger.Warn("signing keys could not be refreshed", "error", err)
			pause = again
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Refresh reads the keys. On any error the copy stays as it was.
func (r *Ring) Refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var rows []row
	var now time.Time
	if err := r.d.Read(ctx, func(tx db.ReadTx) (err error) {
		now = tx.Now()
		rows, err = published(ctx, tx)
		return err
	}); err != nil {
		return err
	}
	s, err := r.build(rows, now)
	if err != nil {
		return err
	}
	r.state.Store(s)
	return nil
}

// build makes a snapshot of the rows. dbNow is the instant of the read by the database's clock; what is compared later is
// this node's clock, so instants are carried over.
func (r *Ring) build(rows []row, dbNow time.Time) (*snapshot, error) {
	local := r.o.Clock.Now()
	here := func(t time.Time) time.Time { return local.Add(t.Sub(dbNow)) }
	first := r.state.Load() == nil
	s := &snapshot{byKid: map[string]Public{}}
	known := map[string]time.Time{}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, row := range rows {
		pub, j, err := parsePublic(row.Alg, row.public)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", row.Kid, err)
		}
		if pub.Kid != row.Kid {
			return nil, fmt.Errorf("key %s: its thumbprint is %s", row.Kid, pub.Kid)
		}
		s.byKid[pub.Kid] = pub
		set.Keys = append(set.Keys, j)
		since, ok := r.known[row.Kid]
		if !ok {
			since = local // this node has shown a key set without it until now
			if first {
				since = here(row.Created) // it has shown none
			}
		}
		known[row.Kid] = since
		if row.State == lifecycle.Prepared {
			continue
		}
		signer, err := r.open(row)
		if err != nil {
			return nil, err
		}
		h := held{signer: signer, usableAt: since.Add(r.o.Lead)}
		if row.Activated.Before(row.Created.Add(r.o.Lead)) {
			h.usableAt = since // the first of all, or in place of one that is not trusted: no key before it will do
		}
		if row.State == lifecycle.Retiring {
			h.rank, h.notUsedBy = 1, here(row.Retiring.Add(r.o.Lead))
		}
		if row.Alg != r.o.Alg {
			h.rank += 2
		}
		s.signers = append(s.signers, h)
	}
	slices.SortFunc(s.signers, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), b.notUsedBy.Compare(a.notUsedBy), // of those that retire, the latest
			cmp.Compare(slices.Index(Algs, a.signer.Alg), slices.Index(Algs, b.signer.Alg)))
	})
	s.index(r.o.algs())
	document, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(document)
	s.document, s.etag = document, `"`+encode(sum[:16])+`"`
	r.known = known
	return s, nil
}

// index sorts out what the keys are good for. algs are those in use.
func (s *snapshot) index(algs []Alg) {
	s.byAlg = map[Alg][]held{}
	for _, h := range s.signers {
		s.byAlg[h.signer.Alg] = append(s.byAlg[h.signer.Alg], h)
	}
	s.complete = true
	for _, alg := range algs {
		found := false
		for _, p := range s.byKid {
			found = found || p.Alg == alg
		}
		s.complete = s.complete && found
		if list := s.byAlg[alg]; len(list) > 0 && list[0].notUsedBy.IsZero() {
			s.algs = append(s.algs, alg)
		}
	}
}

func (r *Ring) open(row row) (Signer, error) {
	secret, err := r.keyring.Open(seal.Sign, privateAD(row.Kid), row.box)
	if err != nil {
		return Signer{}, fmt.Errorf("open private key %s: %w", row.Kid, err)
	}
	defer secret.Erase()
	key, err := parsePrivate(secret.Bytes())
	if err != nil {
		return Signer{}, fmt.Errorf("key %s: %w", row.Kid, err)
	}
	pub, _, err := public(row.Alg, key.Public())
	if err != nil || pub.Kid != row.Kid {
		return Signer{}, fmt.Errorf("key %s: its halves do not belong together", row.Kid)
	}
	return Signer{Kid: row.Kid, Alg: row.Alg, key: key}, nil
}

// current is the copy, loaded now if there is none yet.
func (r *Ring) current(ctx context.Context) (*snapshot, error) {
	if s := r.state.Load(); s != nil {
		return s, nil
	}
	if err := r.Refresh(ctx); err != nil {
		return nil, err
	}
	return r.state.Load(), nil
}

// ErrNoKey is in the chain when there is nothing to sign with: Ensure was not called, or the copy could not be loaded.
var ErrNoKey = errors.New("keys: no signing key")

// Signer is the key to sign with now, for whatever asks for no algorithm.
func (r *Ring) Signer(ctx context.Context) (Signer, error) {
	s, err := r.current(ctx)
	if err != nil {
		return Signer{}, noKey(err)
	}
	if signer, ok := pick(s.signers, r.o.Clock.Now()); ok {
		return signer, nil
	}
	return Signer{}, noKey(nil)
}

// SignerFor is the key of one algorithm to sign with now. There is none while its first key is published and not yet
// used, and of an algorithm that is not in use: an error of kind Unavailable.
func (r *Ring) SignerFor(ctx context.Context, alg Alg) (Signer, error) {
	s, err := r.current(ctx)
	if err != nil {
		return Signer{}, noKey(err)
	}
	if signer, ok := pick(s.byAlg[alg], r.o.Clock.Now()); ok {
		return signer, nil
	}
	return Signer{}, noKey(fmt.Errorf("of algorithm %q", alg))
}

func noKey(cause error) error {
	return fault.Wrap(errors.Join(ErrNoKey, cause), fault.Unavailable, "no_signing_key", "There is no signing key just now.").Retry(time.Second)
}

// Algs are the algorithms that SignerFor has a key of, that of Signer first. They come from memory, and are not to be
// changed.
func (r *Ring) Algs() []Alg {
	if s := r.state.Load(); s != nil {
		return s.algs
	}
	return nil
}

// pick takes the active key; or, while this node has not published it long enough, one that is still accepted. A key that
// replaces a revoked one has none before it, and is used at once.
func pick(list []held, now time.Time) (Signer, bool) {
	if len(list) == 0 {
		return Signer{}, false
	}
	for _, h := range list {
		if !now.Before(h.usableAt) && (h.notUsedBy.IsZero() || now.Before(h.notUsedBy)) {
			return h.signer, true
		}
	}
	return list[0].signer, true
}

// Key finds a key that is accepted for verification. It reads memory only.
func (r *Ring) Key(kid string) (Public, bool) {
	s := r.state.Load()
	if s == nil {
		return Public{}, false
	}
	p, ok := s.byKid[kid]
	return p, ok
}

// JWKS is the public key set (RFC 7517) and its entity tag. Before the first load it is empty and has no tag.
func (r *Ring) JWKS() (document []byte, etag string) {
	if s := r.state.Load(); s != nil {
		return s.document, s.etag
	}
	return []byte(`{"keys":[]}`), ""
}

// ServeJWKS answers GET and HEAD with the key set. Without a key there is none to show: 503, so that no cache keeps an
// empty set. Nor is one to be kept that the first key of an algorithm is still missing in: that key may be used soon.
func (r *Ring) ServeJWKS(w http.ResponseWriter, req *http.Request) {
	h, s := w.Header(), r.state.Load()
	if s == nil {
		h.Set("Retry-After", "1")
		http.Error(w, "no signing keys loaded", http.StatusServiceUnavailable)
		return
	}
	h.Set("Content-Type", "application/json;charset=UTF-8")
	h.Set("Cache-Control", "no-store")
	if s.complete {
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(r.o.MaxAge/time.Second)))
	}
	h.Set("ETag", s.etag)
	if match := req.Header.Get("If-None-Match"); match == "*" || strings.Contains(match, s.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(s.document)))
	if req.Method != http.MethodHead {
		_, _ = w.Write(s.document) // the client went away
	}
}
