// Package session knows who is signed in with which browser.
//
// What it guards:
//   - Each login makes a new secret of 256 bits; nothing that a browser had before becomes it, so that nobody can be given
//     a session to sign in to. Who signs in again in the same browser, to prove more or anew, keeps the session's id,
//     which is public and under which clients know it; the secret from before is worth nothing from then on.
//   - No session begins before Options.Admit has seen how the person has proved to be it: the one place that a login
//     with too little cannot get around.
//   - The database holds a MAC of the secret. A copy of it signs nobody in.
//   - A session ends after an hour without use and a day in any case, when its person signs out, is disabled or gets
//     another password: refused on every node within a second. One that looks idle in memory is read anew before it is
//     refused.
//   - The cookie is bound to this host, is not readable by scripts and does not leave with the requests of other sites.
//     A cookie that is malformed, unknown or over is no cookie.
//   - A form is taken only from a page that this browser got from us (csrf.go).
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// Session is one login of one person in one browser.
type Session struct {
	ID       string // public: it names the session and proves nothing
	User     identity.User
	AuthTime time.Time // when the person last proved to be it
	AMR      []string  // how (RFC 8176), such as "pwd"
	Expires  time.Time // at the latest
	Device   string    // the browser (identity.Device)
}

// MFA is the method among Session.AMR that says that there was more than one (RFC 8176).
const MFA = "mfa"

// ACR is the class of the login: "2" with more than one factor, else "1".
func (s Session) ACR() string {
	if slices.Contains(s.AMR, MFA) {
		return "2"
	}
	return "1"
}

// Options configure a Manager. Every field may be left at its zero value.
type Options struct {
	// Secure tells that the public address is https. Only then does the cookie get the prefix that keeps other hosts
	// and unencrypted connections from setting it.
	Secure bool
	// Origin is the public address, such as https://mint.example.org (a path behind it does not matter): forms that it sends are ours whatever Host a
	// proxy puts into the request. Empty: only what the Host header names.
	Origin   string
	Clock    clock.Clock // nil: clock.System
	Logger   *slog.Logger
	Idle     time.Duration // without use; 0: an hour
	Absolute time.Duration // in any case; 0: 24 hours
	Capacity int           // sessions kept in memory; 0: 10000
	// Admit refuses a login by too few methods, in the transaction that begins the session. nil: all will do.
	Admit func(ctx context.Context, tx db.ReadTx, u identity.User, amr []string) error
}

// Manager begins, finds and ends sessions.
type Manager struct {
	d       *db.DB
	keyring *seal.Keyring
	dir     *identity.Directory
	o       Options
	cache   *db.Cache[known]
	begins  *db.Batch[*beginning]
	ending  []func(ctx context.Context, tx db.WriteTx, which Which, why string) error
	cookie  string // name of the session's cookie
	visitor string // name of the cookie of a browser that is not signed in
	device  string // name of the cookie that a browser is known again by
	state   string // name of the cookie that tells clients whether the login has changed

	mu   sync.Mutex
	seen map[string]time.Time // to be written; owned by mu
}

const (
	topic     = "session"
	macKind   = "session"
	prefix    = "mms_" // of the cookie's value, then the id's digits, "_" and the secret
	idDigits  = 26
	maxCookie = 200

	// seenEvery is how often the use of one session is noted.
	seenEvery  = time.Minute
	flushEvery = 5 * time.Second
	flushRows  = 1000
	deviceLife = 400 * 24 * time.Hour // longer browsers keep no cookie
	maxSeen    = 100_000
)

// New makes a Manager. It must be made before the database's feed starts; Run writes what it observes and removes what
// is over.
func New(d *db.DB, keyring *seal.Keyring, dir *identity.Directory, o Options) (*Manager, error) {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Idle == 0 {
		o.Idle = time.Hour
	}
	if o.Absolute == 0 {
		o.Absolute = 24 * time.Hour
	}
	if o.Capacity == 0 {
		o.Capacity = 10_000
	}
	if o.Idle <= 2*seenEvery || o.Absolute < o.Idle {
		return nil, fmt.Errorf("session: idle %s and absolute %s: a session must live longer than two minutes, and not longer idle than in all", o.Idle, o.Absolute)
	}
	if u, err := url.Parse(o.Origin); err != nil || o.Origin != "" && u.Host == "" {
		return nil, fmt.Errorf("session: the public address %q is not a URL", o.Origin)
	} else if o.Origin != "" {
		o.Origin = u.Scheme + "://" + u.Host // without the path, as browsers say it
	}
	if o.Admit == nil {
		o.Admit = func(context.Context, db.ReadTx, identity.User, []string) error { return nil }
	}
	m := &Manager{d: d, keyring: keyring, dir: dir, o: o, cookie: "mintmark-session", visitor: "mintmark-visitor", device: "mintmark-device", state: "mintmark-state", seen: map[string]time.Time{}}
	if o.Secure {
		m.cookie, m.visitor, m.device, m.state = "__Host-"+m.cookie, "__Host-"+m.visitor, "__Host-"+m.device, "__Host-"+m.state
	}
	m.cache = db.NewCache(d, topic, o.Capacity, m.load)
	m.begins = db.NewBatch(d, beginsAtOnce, m.writeBegins)
	endAll := func(ctx context.Context, tx db.WriteTx, u identity.User) error { return m.EndAllOf(ctx, tx, u.ID) }
	dir.OnPersonDisabled(endAll)
	dir.OnPasswordChanged(endAll)
	return m, nil
}

// known is what memory holds of a session. The zero value is an id that no session has.
type known struct {
	session  Session
	verifier []byte
	seen     *atomic.Int64 // when it was last used, as far as this node knows, in microseconds
}

func (m *Manager) load(ctx context.Context, tx db.ReadTx, sessionID string) (known, error) {
	var k known
	var userID, amr string
	var auth, seen, expires int64
	err := tx.QueryRow(ctx, `SELECT user_id, verifier, amr, auth_time, last_seen, expires, device_id FROM sessions WHERE id = $1`, sessionID).
		Scan(&userID, &k.verifier, &amr, &auth, &seen, &expires, &k.session.Device)
	if errors.Is(err, db.ErrNoRows) {
		return known{}, nil
	}
	if err != nil {
		return known{}, fmt.Errorf("read session: %w", err)
	}
	u, err := identity.LoadUser(ctx, tx, userID)
	if err != nil {
		return known{}, err
	}
	k.session = Session{ID: sessionID, User: u, AuthTime: db.Time(auth), AMR: strings.Fields(amr), Expires: db.Time(expires), Device: k.session.Device}
	k.seen = new(atomic.Int64)
	k.seen.Store(seen)
	return k, nil
}

// Begin signs a person in with the browser that sent r: the one place that makes a session. One that the browser had
// before ends, unless it is the same person's: that one goes on under a new secret. The user must have proved to be it
// just now; amr says how.
func (m *Manager) Begin(ctx context.Context, w http.ResponseWriter, r *http.Request, u identity.User, amr []string) (Session, error) {
	return m.BeginProved(ctx, w, r, u, amr, Proved{})
}

// Proved is what else there is to say of a login.
type Proved struct {
	// At is when the person proved to be it, if that was earlier: at a provider of others. Zero: just now.
	At time.Time
	// Note runs in the transaction that begins the session, which it may refuse. nil: nothing does.
	Note func(ctx context.Context, tx db.WriteTx, s Session) error
}

// BeginProved is Begin with what else there is to say of the login.
func (m *Manager) BeginProved(ctx context.Context, w http.ResponseWriter, r *http.Request, u identity.User, amr []string, proved Proved) (Session, error) {
	return m.begin(ctx, w, r, Session{User: u, AMR: amr}, proved)
}

// Carry runs a change by the session's own person that ends it, such as of the password, and begins another session in
// its place, in one transaction: there is never one without the other. That is no login: the new session says that the
// person proved to be it when the old one says so, and ends when the old one would have ended. What change answers says
// nothing of when, so its At does not count; it may run several times. A session whose time is over is
// identity.ErrCredentials.
//
// If the answer is lost the change has been made, and the person signs in anew.
func (m *Manager) Carry(ctx context.Context, w http.ResponseWriter, r *http.Request, s Session, change func(tx db.WriteTx) (Proved, error)) (Session, error) {
	if s.AuthTime.IsZero() || !m.o.Clock.Now().Before(s.Expires) {
		return Session{}, identity.ErrCredentials
	}
	b, err := m.beginning(ctx, r, Session{User: s.User, AMR: s.AMR, AuthTime: s.AuthTime, Expires: s.Expires})
	if err != nil {
		return Session{}, err
	}
	if err := m.d.Write(ctx, func(tx db.WriteTx) error {
		proved, err := change(tx)
		if err != nil {
			return err
		}
		if err := failpoint.Hit("session.carried"); err != nil {
			return err
		}
		b.proved = Proved{Note: proved.Note}
		return m.writeBegins(ctx, tx, []*beginning{b})
	}); err != nil {
		return Session{}, err
	}
	return m.begun(w, r, b), nil
}

func (m *Manager) begin(ctx context.Context, w http.ResponseWriter, r *http.Request, next Session, proved Proved) (Session, error) {
	b, err := m.beginning(ctx, r, next)
	if err != nil {
		return Session{}, err
	}
	b.proved = proved
	if err := m.begins.Do(ctx, b); err != nil {
		return Session{}, fmt.Errorf("begin a session: %w", err)
	}
	return m.begun(w, r, b), nil
}

// beginning finds out which session the browser has now.
func (m *Manager) beginning(ctx context.Context, r *http.Request, next Session) (*beginning, error) {
	before, had, err := m.Current(ctx, r)
	if err != nil {
		return nil, err
	}
	same := before.User.ID == next.User.ID
	return &beginning{ctx: context.WithoutCancel(ctx), r: r, next: next, before: before, replaces: had && !same, renews: had && same}, nil
}

// begun tells the browser of its session, once it is stored.
func (m *Manager) begun(w http.ResponseWriter, r *http.Request, b *beginning) Session {
	m.setCookie(w, m.cookie, b.cookie.Reveal(), 0)
	m.setCookie(w, m.visitor, "", -1) // forms from before the login are over
	m.setCookie(w, m.device, b.device.Reveal(), int(deviceLife.Seconds()))
	m.BrowserState(w, r, b.made)
	return b.made
}

// beginning is a session that begins.
type beginning struct {
	ctx              context.Context // says whose request it is, and does not end with it
	r                *http.Request
	next, before     Session // before: of the same browser
	replaces, renews bool    // before is somebody else's, or the same person's
	proved           Proved

	// The outcome.
	made           Session
	cookie, device redact.Secret
}

// beginsAtOnce bounds how many sessions begin in one transaction.
const beginsAtOnce = 20

// writeBegins stores the sessions of those who sign in at the same time in one transaction. Side by side they would be in
// each other's way, because a serializable transaction has read more of a small table than it asked for.
func (m *Manager) writeBegins(_ context.Context, tx db.WriteTx, items []*beginning) error {
	for _, b := range items {
		again, err := b.renews, error(nil)
		if again {
			if again, err = Alive(b.ctx, tx, b.before.ID); err != nil {
				return err
			}
		}
		if b.replaces || b.renews && !again {
			if err := m.end(b.ctx, tx, b.before, "replaced"); err != nil {
				return err
			}
		}
		b.made = b.next
		if again {
			b.made.ID = b.before.ID
		}
		if now := tx.Now(); !b.proved.At.IsZero() && b.proved.At.Before(now) {
			b.made.AuthTime, b.made.Expires = b.proved.At, now.Add(m.o.Absolute)
		}
		if b.cookie, b.device, err = m.store(b.ctx, tx, b.r, &b.made); err != nil {
			return err
		}
		if b.proved.Note == nil {
			continue
		}
		if err := b.proved.Note(b.ctx, tx, b.made); err != nil {
			return err
		}
	}
	return nil
}

// Strengthen gives a session more methods, under a new secret: its person has just got a factor and shown it. That is no
// new login, so the session ends when it would have ended, and says that its person proved to be it when it did. One that
// has ended meanwhile, wherever, is identity.ErrCredentials, and does not come back.
func (m *Manager) Strengthen(ctx context.Context, w http.ResponseWriter, r *http.Request, s Session, amr []string) (Session, error) {
	var cookie, device redact.Secret
	made := s
	err := m.d.Write(ctx, func(tx db.WriteTx) error {
		alive, err := Alive(ctx, tx, s.ID)
		if err != nil {
			return err
		}
		if !alive {
			return identity.ErrCredentials
		}
		made = s
		made.AMR = amr
		cookie, device, err = m.store(ctx, tx, r, &made)
		return err
	})
	if err != nil {
		return Session{}, fmt.Errorf("strengthen a session: %w", err)
	}
	m.setCookie(w, m.cookie, cookie.Reveal(), 0)
	m.setCookie(w, m.device, device.Reveal(), int(deviceLife.Seconds()))
	return made, nil
}

// store writes the session as a new row, or, if it has an id already, with another secret. It begins now unless it says
// when it did.
func (m *Manager) store(ctx context.Context, tx db.WriteTx, r *http.Request, s *Session) (cookie, device redact.Secret, err error) {
	now := tx.Now()
	if s.User, err = m.admitted(ctx, tx, s.User, s.AMR); err != nil {
		return cookie, device, err
	}
	ip, agent := route.ClientIP(ctx), route.UserAgent(ctx)
	had, _ := m.Device(r)
	d, device, err := m.dir.RememberDevice(ctx, tx, s.User, had, ip, agent)
	if err != nil {
		return cookie, device, err
	}
	again := s.ID != ""
	if !again {
		s.ID = id.New(id.Session, now)
	}
	if s.Device = d.ID; s.AuthTime.IsZero() {
		s.AuthTime, s.Expires = now, now.Add(m.o.Absolute)
	}
	cookie = seal.NewSecret(prefix + strings.TrimPrefix(s.ID, id.Session+"_") + "_")
	if err := db.One(tx.Exec(ctx, `INSERT INTO sessions (id, user_id, verifier, amr, auth_time, last_seen, expires, ip, user_agent, device_id)
		VALUES ($1, $2, $3, $4, $10, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET verifier = excluded.verifier, amr = excluded.amr,
		auth_time = excluded.auth_time, last_seen = excluded.last_seen, expires = excluded.expires, ip = excluded.ip,
		user_agent = excluded.user_agent, device_id = excluded.device_id`,
		s.ID, s.User.ID, m.keyring.MAC(macKind, cookie), strings.Join(s.AMR, " "), db.Micros(now), db.Micros(s.Expires), ip, agent, d.ID, db.Micros(s.AuthTime))); err != nil {
		return cookie, device, fmt.Errorf("store session: %w", err)
	}
	if again {
		if err := tx.Changed(ctx, topic, s.ID); err != nil {
			return cookie, device, err
		}
	}
	return cookie, device, audit.Record(ctx, tx, audit.Event{
		Action: "session.begin", Outcome: audit.Success, Caller: m.caller(ctx, s.User), TargetType: "session", TargetID: s.ID,
		Details: map[string]any{"amr": s.AMR, "user": s.User.ID, "again": again, "device": d.ID},
	})
}

// admitted reads the person anew and refuses one whose login is over, or proves too little.
func (m *Manager) admitted(ctx context.Context, tx db.ReadTx, u identity.User, amr []string) (identity.User, error) {
	if u.Proof != 0 {
		ok, err := identity.StillProved(ctx, tx, u)
		if err != nil {
			return identity.User{}, err
		}
		if !ok {
			return identity.User{}, identity.ErrCredentials
		}
	}
	u, err := identity.LoadUser(ctx, tx, u.ID)
	if err != nil {
		return identity.User{}, err
	}
	if !u.Disabled.IsZero() || u.Application != "" {
		return identity.User{}, identity.ErrCredentials
	}
	return u, m.o.Admit(ctx, tx, u, amr)
}

// Device is what the browser that sent r is known again by, if it keeps such a thing.
func (m *Manager) Device(r *http.Request) (redact.Secret, bool) {
	found := r.CookiesNamed(m.device)
	if len(found) != 1 {
		return redact.Secret{}, false
	}
	value, ok := identity.DeviceValue(found[0].Value)
	if !ok {
		return redact.Secret{}, false
	}
	return value, true
}

func (m *Manager) caller(ctx context.Context, u identity.User) access.Caller {
	return access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm, RequestID: route.RequestID(ctx), IP: route.ClientIP(ctx), Agent: route.UserAgent(ctx)}
}

// Current tells who is signed in with the browser that sent r. Whatever is wrong with the cookie, the answer is nobody;
// an error says that it could not be found out.
func (m *Manager) Current(ctx context.Context, r *http.Request) (Session, bool, error) {
	cookie, sessionID, ok := m.read(r)
	if !ok {
		return Session{}, false, nil
	}
	k, err := m.cache.Get(ctx, sessionID)
	if err != nil {
		return Session{}, false, unavailable(err)
	}
	if !m.proves(k, cookie) {
		return Session{}, false, nil
	}
	if !m.alive(k) {
		// Another node may have seen the browser since.
		if k, err = m.cache.Fresh(ctx, sessionID); err != nil {
			return Session{}, false, unavailable(err)
		}
		if !m.proves(k, cookie) || !m.alive(k) {
			return Session{}, false, nil
		}
	}
	m.note(k)
	return k.session, true, nil
}

func unavailable(err error) error {
	return fault.Wrap(fmt.Errorf("look up a session: %w", err), fault.Unavailable, "unavailable", "It cannot be found out just now who is signed in.").Retry(time.Second)
}

func (m *Manager) proves(k known, cookie redact.Secret) bool {
	return k.session.ID != "" && m.keyring.VerifyMAC(macKind, cookie, k.verifier) && k.session.User.Disabled.IsZero()
}

func (m *Manager) alive(k known) bool {
	now := m.o.Clock.Now()
	return now.Before(k.session.Expires) && now.Before(db.Time(k.seen.Load()).Add(m.o.Idle))
}

// note remembers that the session was used, once a minute.
func (m *Manager) note(k known) {
	now, before := m.o.Clock.Now(), k.seen.Load()
	if now.Sub(db.Time(before)) < seenEvery || !k.seen.CompareAndSwap(before, db.Micros(now)) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.seen) < maxSeen {
		m.seen[k.session.ID] = now
	}
}

// read takes the session's cookie apart. Two of them are none: one of them is not ours.
func (m *Manager) read(r *http.Request) (cookie redact.Secret, sessionID string, ok bool) {
	found := r.CookiesNamed(m.cookie)
	if len(found) != 1 || len(found[0].Value) > maxCookie {
		return redact.Secret{}, "", false
	}
	rest, ok := strings.CutPrefix(found[0].Value, prefix)
	if !ok || len(rest) <= idDigits+1 || rest[idDigits] != '_' {
		return redact.Secret{}, "", false
	}
	sessionID = id.Session + "_" + rest[:idDigits]
	return redact.New(found[0].Value), sessionID, id.Is(sessionID, id.Session)
}

// End signs out the browser that sent r. It is no error if nobody was signed in.
func (m *Manager) End(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	s, ok, err := m.Current(ctx, r)
	if err != nil {
		return err
	}
	if ok {
		if err := m.d.Write(ctx, func(tx db.WriteTx) error { return m.end(ctx, tx, s, "signed_out") }); err != nil {
			return fmt.Errorf("end a session: %w", err)
		}
	}
	m.setCookie(w, m.cookie, "", -1)
	m.setCookie(w, m.visitor, "", -1)
	m.setState(w, "", -1)
	return nil
}

// end removes one session, if it is still there.
func (m *Manager) end(ctx context.Context, tx db.WriteTx, s Session, why string) error {
	n, err := m.EndThese(ctx, tx, Which{ID: s.ID}, why)
	if err != nil || n == 0 {
		return err
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: "session.end", Outcome: audit.Success, Reason: why, Caller: m.caller(ctx, s.User), TargetType: "session", TargetID: s.ID,
	})
}

// setCookie sets a cookie that goes with the browser, or, with a negative age, takes it away.
func (m *Manager) setCookie(w http.ResponseWriter, name, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, Secure: m.o.Secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
