// Package password makes and checks the slow hashes of what people choose and remember.
//
// What it guards:
//   - New hashes are Argon2id. Hashes of other systems (bcrypt, PBKDF2, scrypt) are checked, and NeedsRehash tells that
//     they should go at the next login; none is ever made here.
//   - A hash that would cost more than this program is willing to spend is refused when it is read, not when somebody
//     logs in.
//   - Hashes are computed on all cores but one at most, in memory that is used again (package argon2id); who finds no place
//     within two seconds is told to come back. So a flood of logins costs bounded memory and leaves room for everybody else.
//   - A password is compared whole: no truncation, no case rule; only its Unicode form is made one (RFC 8265,
//     OpaqueString), so that the same characters typed on two keyboards are the same password.
//
// Stored form, the PHC string: $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>. Whoever keeps it closes it under a key of
// its own; this package neither stores nor knows a pepper.
package password

import (
	"context"
	"crypto/rand"
	"runtime"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/password/argon2id"
	"github.com/mintmark/mintmark/internal/redact"
)

// Params are the cost of new hashes.
type Params struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// Default is what OWASP and RFC 9106 name as the least for Argon2id: 19 MiB, two passes, one thread.
var Default = Params{Memory: 19 * 1024, Time: 2, Threads: 1}

const (
	saltSize = 16
	hashSize = 32
	// MaxBytes is the longest password that is looked at, in bytes.
	MaxBytes = 1024
	// queuePerSlot bounds who waits: more could not be served in time anyway. maxQueue does it on machines with many
	// cores: each who waits holds one of the 256 places that all requests share, and a flood of logins must not take them
	// from those who come for tokens.
	queuePerSlot = 64
	maxQueue     = 96
)

// Options configure a Pool. Every field may be left at its zero value.
type Options struct {
	Params Params        // zero: Default
	AtOnce int           // hashes computed at once; 0: one less than there are cores, and at least one
	Wait   time.Duration // how long one may wait for a place; 0: 2 s
}

// spare is how many hashes are computed at once: one processor is left to those who ask for something quick. It counts
// the processors that the program was started with; it may give itself more to schedule on afterwards.
var spare = max(1, runtime.GOMAXPROCS(0)-1)

// Pool computes hashes, a bounded number at once. It is safe for concurrent use.
type Pool struct {
	params  Params
	wait    time.Duration
	places  chan struct{}
	queue   int64
	waiting atomic.Int64
	done    atomic.Int64
	highest atomic.Int64
	dummy   hash
}

// NewPool makes a Pool. It starts nothing.
func NewPool(o Options) *Pool {
	if o.Params == (Params{}) {
		o.Params = Default
	}
	if o.AtOnce <= 0 {
		o.AtOnce = spare
	}
	if o.Wait <= 0 {
		o.Wait = 2 * time.Second
	}
	p := &Pool{params: o.Params, wait: o.Wait, places: make(chan struct{}, o.AtOnce), queue: int64(min(queuePerSlot*o.AtOnce, maxQueue))}
	// Nobody knows a password to this one: its hash is random, not computed.
	p.dummy = hash{kind: argonHash, argon: o.Params, salt: random(saltSize), sum: random(hashSize)}
	return p
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails since Go 1.24
	return b
}

// Hash makes the stored form of a password.
func (p *Pool) Hash(ctx context.Context, password redact.Secret) (redact.Secret, error) {
	prepared, err := prepare(password)
	if err != nil {
		return redact.Secret{}, err
	}
	h := hash{kind: argonHash, argon: p.params, salt: random(saltSize)}
	err = p.enter(ctx, func() {
		h.sum = argon2id.Key(prepared, h.salt, h.argon.Time, h.argon.Memory, h.argon.Threads, hashSize)
	})
	if err != nil {
		return redact.Secret{}, err
	}
	return redact.New(h.String()), nil
}

// Verify tells whether this is the password of the stored form. An error says that it could not be found out: the form
// is unknown, or there was no place (fault.Unavailable).
func (p *Pool) Verify(ctx context.Context, stored, password redact.Secret) (bool, error) {
	h, err := parse(stored.Reveal())
	if err != nil {
		return false, err
	}
	return p.verify(ctx, h, password)
}

// Waste costs what Verify of a new hash costs, and tells nothing: for a name that nobody has.
func (p *Pool) Waste(ctx context.Context, password redact.Secret) error {
	_, err := p.verify(ctx, p.dummy, password)
	return err
}

func (p *Pool) verify(ctx context.Context, h hash, password redact.Secret) (ok bool, err error) {
	prepared, err := prepare(password)
	if err != nil { // it can be nobody's password; the work is done all the same
		prepared = []byte{0}
	}
	wrong := err != nil
	if err := p.enter(ctx, func() { ok = h.matches(prepared) }); err != nil {
		return false, err
	}
	return ok && !wrong, nil
}

// NeedsRehash tells whether a stored form is not what Hash would make now.
func (p *Pool) NeedsRehash(stored redact.Secret) bool {
	h, err := parse(stored.Reveal())
	return err != nil || h.kind != argonHash || h.argon != p.params || len(h.salt) != saltSize || len(h.sum) != hashSize
}

// Check tells whether stored is a form that Verify knows, and at a cost that it is willing to spend.
func Check(stored redact.Secret) error {
	_, err := parse(stored.Reveal())
	return err
}

// Evaluations is how many hashes were computed so far, AtOnce how many at the same time at most.
func (p *Pool) Evaluations() int64 { return p.done.Load() }

// AtOnce is the most hashes that were ever computed at the same time.
func (p *Pool) AtOnce() int64 { return p.highest.Load() }

func busy() error {
	return fault.New(fault.Unavailable, "login_busy", "Too many people are signing in just now. Please try again in a moment.").Retry(2 * time.Second)
}

// enter runs f when there is a place for it.
func (p *Pool) enter(ctx context.Context, f func()) error {
	select {
	case p.places <- struct{}{}:
	default:
		if p.waiting.Add(1) > p.queue {
			p.waiting.Add(-1)
			return busy()
		}
		err := p.stand(ctx)
		p.waiting.Add(-1)
		if err != nil {
			return err
		}
	}
	defer func() { <-p.places }()
	for now := int64(len(p.places)); ; {
		high := p.highest.Load()
		if now <= high || p.highest.CompareAndSwap(high, now) {
			break
		}
	}
	p.done.Add(1)
	// On a thread of its own, a hash that gives way leaves the processor to whoever the system has waiting, and not only to
	// what Go knows to be ready: without it those who ask for tokens wait twice as long.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f()
	return nil
}

func (p *Pool) stand(ctx context.Context) error {
	patience := time.NewTimer(p.wait)
	defer patience.Stop()
	select {
	case p.places <- struct{}{}:
		return nil
	case <-patience.C:
		return busy()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepare brings a password into its one Unicode form.
func prepare(password redact.Secret) ([]byte, error) {
	raw := password.Bytes()
	if len(raw) == 0 || len(raw) > MaxBytes {
		return nil, fault.New(fault.Invalid, "password_form", "A password has between 1 and %d bytes.", MaxBytes).At("password", "not valid")
	}
	prepared, err := precis.OpaqueString.Bytes(raw)
	if err != nil || !utf8.Valid(raw) {
		return nil, fault.New(fault.Invalid, "password_form", "The password holds characters that cannot be used, such as control characters.").At("password", "not valid")
	}
	return prepared, nil
}
