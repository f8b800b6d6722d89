package federation

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

const (
	cookiePrefix = "mmu_"
	statePrefix  = "mmx_"
	secretDigits = 43

	macState   = "upstream-state"
	macBrowser = "upstream-browser"

	// loginLife is how long somebody may take at the provider, foundLife how long for what comes afterwards here.
	loginLife = 15 * time.Minute
	foundLife = 15 * time.Minute

	// oldestLogin is how long ago somebody may have signed in at the provider who is to sign in here: as long as a session
	// of ours lives.
	oldestLogin = 24 * time.Hour

	maxReturn  = 16 << 10
	maxCode    = 4 << 10
	maxHint    = 200
	kindLogin  = "login"
	kindLink   = "link"
	challenges = "S256"
)

// Begin is a login that is to be sent to a provider.
type Begin struct {
	Provider  string
	Browser   redact.Secret // what the browser has from an earlier login; empty: nothing
	IP        string
	ReturnTo  string
	Two       bool   // two factors are wanted
	Again     bool   // the person is to prove anew that it is there
	Hint      string // who it may be
	Languages string // ui_locales
	// To link, who is signed in, and in which session; else empty.
	UserID, SessionID string
}

// Begun is what the browser needs.
type Begun struct {
	Location string        // at the provider
	Browser  redact.Secret // to be kept in a cookie
}

// errProviderState is the one answer to a callback that belongs to no login of this browser: forged, too late, used.
var errProviderState error = fault.New(fault.Invalid, "provider_state", "This answer belongs to no login that was begun in this browser, or to one that is over. Please begin again at the page to sign in.")

// wellFormed tells whether a browser's value can be one of ours.
func wellFormed(value redact.Secret) bool {
	rest, ok := strings.CutPrefix(value.Reveal(), cookiePrefix)
	return ok && len(rest) == secretDigits && strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// derive makes what only the browser of this login can bring: the verifier of PKCE and the nonce. So neither is stored.
func derive(browser redact.Secret, state, use string) redact.Secret {
	h := hmac.New(sha256.New, browser.Bytes())
	h.Write([]byte("mintmark upstream " + use + "\n" + state))
	return redact.New(encode(h.Sum(nil)))
}

// Start notes a login and answers where to send the browser. A provider that does not answer is ErrUpstream in the chain
// of a fault that says so.
func (s *Service) Start(ctx context.Context, b Begin) (Begun, error) {
	if err := s.limit(b.IP); err != nil {
		return Begun{}, err
	}
	p, err := s.provider(ctx, b.Provider)
	if err != nil {
		return Begun{}, err
	}
	m, err := s.source(p).metadata(ctx)
	if err != nil {
		s.failed(ctx, p, "begin", err)
		return Begun{}, unreachable(err)
	}
	browser, state := b.Browser, seal.NewSecret(statePrefix)
	if !wellFormed(browser) {
		browser = seal.NewSecret(cookiePrefix)
	}
	location, err := authorizationURL(m.Authorization, s.request(p, b, browser, state.Reveal()))
	if err != nil {
		s.failed(ctx, p, "begin", err)
		return Begun{}, unreachable(err)
	}
	if len(b.ReturnTo) > maxReturn {
		b.ReturnTo = ""
	}
	kind := kindLogin
	if b.UserID != "" {
		kind = kindLink
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		now := tx.Now()
		return db.One(tx.Exec(ctx, `INSERT INTO upstream_logins (id, state, browser, provider_id, kind, user_id, session_id, return_to, two, again, begun, expires, answered, box, used)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, $13, 0)`,
			id.New(id.Upstream, now), s.keyring.MAC(macState, state), s.keyring.MAC(macBrowser, browser), p.ID, kind, b.UserID, b.SessionID, b.ReturnTo, b.Two, b.Again,
			db.Micros(now), db.Micros(now.Add(loginLife)), []byte{}))
	})
	if err != nil {
		return Begun{}, fmt.Errorf("note a login at a provider: %w", err)
	}
	return Begun{location, browser}, nil
}

// request is what a login asks the provider for (OpenID Connect Core 1.0, section 3.1.2.1).
func (s *Service) request(p Provider, b Begin, browser redact.Secret, state string) url.Values {
	challenge := sha256.Sum256(derive(browser, state, "verifier").Bytes())
	ask := url.Values{
		"response_type": {"code"}, "client_id": {p.ClientID}, "redirect_uri": {s.RedirectURI(p.ID)}, "scope": {strings.Join(p.Scopes, " ")},
		"state": {state}, "nonce": {derive(browser, state, "nonce").Reveal()},
		"code_challenge": {encode(challenge[:])}, "code_challenge_method": {challenges},
	}
	switch {
	case b.UserID != "" && p.Policy.NoAuthTime && !p.Policy.TrustPromptLogin:
		ask.Set("prompt", "select_account") // all that such a provider may know, and enough for a link
	case b.Again:
		ask.Set("prompt", "login")
		ask.Set("max_age", "0")
	case !p.Policy.NoAuthTime:
		ask.Set("max_age", fmt.Sprint(int64(oldestLogin/time.Second))) // whoever is asked so must tell auth_time
	}
	classes := p.Policy.RequiredACR
	if b.Two && len(p.Policy.SecondFactorACR) > 0 {
		classes = p.Policy.SecondFactorACR
	}
	for name, text := range map[string]string{"acr_values": strings.Join(classes, " "), "login_hint": b.Hint, "ui_locales": b.Languages} {
		if text != "" && len(text) <= 20*maxWord {
			ask.Set(name, text)
		}
	}
	if len(b.Hint) > maxHint {
		ask.Del("login_hint")
	}
	return ask
}

// login is a row of upstream_logins.
type login struct {
	id, provider, kind, userID, sessionID, returnTo string
	two, again                                      bool
	begun                                           time.Time
	box                                             []byte
}

const selectLogin = `SELECT id, browser, provider_id, kind, user_id, session_id, return_to, two, again, begun, expires, answered, box, used FROM upstream_logins`

// scanLogin reads a login of this browser that is not over. Any other is errProviderState.
func (s *Service) scanLogin(row db.Row, now time.Time, browser redact.Secret) (l login, answered bool, err error) {
	var mac []byte
	var begun, expires, answeredAt, used int64
	err = row.Scan(&l.id, &mac, &l.provider, &l.kind, &l.userID, &l.sessionID, &l.returnTo, &l.two, &l.again, &begun, &expires, &answeredAt, &l.box, &used)
	if errors.Is(err, db.ErrNoRows) {
		return l, false, errProviderState
	}
	if err != nil {
		return l, false, fmt.Errorf("read a login at a provider: %w", err)
	}
	if !s.keyring.VerifyMAC(macBrowser, browser, mac) || used != 0 || !now.Before(db.Time(expires)) {
		return l, false, errProviderState
	}
	l.begun = db.Time(begun)
	return l, answeredAt != 0, nil
}

// take finds the login that a callback belongs to, and takes its one answer, by compare-and-set.
func (s *Service) take(ctx context.Context, providerID string, state, browser redact.Secret) (l login, err error) {
	rest, ok := strings.CutPrefix(state.Reveal(), statePrefix)
	if !ok || len(rest) != secretDigits || !wellFormed(browser) {
		return l, errProviderState
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		err := errProviderState
		var answered bool
		for _, mac := range s.keyring.LookupMACs(macState, state) {
			if l, answered, err = s.scanLogin(tx.QueryRow(ctx, selectLogin+` WHERE state = $1`, mac), tx.Now(), browser); !errors.Is(err, errProviderState) {
				break
			}
		}
		switch {
		case err != nil:
			return err
		case answered || l.provider != providerID: // an answer of one provider at the address of another (RFC 9700 section 4.4)
			return errProviderState
		}
		n, err := tx.Exec(ctx, `UPDATE upstream_logins SET answered = $2 WHERE id = $1 AND answered = 0 AND expires > $2`, l.id, db.Micros(tx.Now()))
		if err != nil {
			return fmt.Errorf("take the answer of a provider: %w", err)
		}
		if n != 1 {
			return errProviderState
		}
		return nil
	})
	return l, err
}

// Answer is what a callback brought.
type Answer struct {
	Provider string // by its address
	Query    url.Values
	Browser  redact.Secret
	IP       string
	Request  string // id of the request, for the audit log
}

func (a Answer) caller(p Provider, userID, username string) access.Caller {
	c := access.Caller{Kind: access.Person, ID: userID, Name: username, Realm: p.Realm, IP: a.IP, RequestID: a.Request}
	if userID == "" {
		c.Kind = access.Anonymous
	}
	return c
}

// one is the value of a parameter that may be there once.
func one(q url.Values, name string, most int) (string, bool) {
	if len(q[name]) > 1 || len(q.Get(name)) > most {
		return "", false
	}
	return q.Get(name), true
}

// Callback takes the answer of a provider: it finds out who somebody is there, and who here.
func (s *Service) Callback(ctx context.Context, a Answer) (Result, error) {
	state, ok1 := one(a.Query, "state", 200)
	code, ok2 := one(a.Query, "code", maxCode)
	refused, ok3 := one(a.Query, "error", 200)
	issuer, ok4 := one(a.Query, "iss", maxIssuer)
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return Result{}, errProviderState
	}
	p, err := s.provider(ctx, a.Provider)
	if err != nil {
		return Result{}, err
	}
	l, err := s.take(ctx, p.ID, redact.New(state), a.Browser)
	if err != nil {
		return Result{}, err
	}
	src := s.source(p)
	m, err := src.metadata(ctx)
	if err == nil {
		err = namesItself(a.Query.Has("iss"), issuer, p, m)
	}
	if err == nil && (refused != "" || code == "") {
		s.o.Logger.InfoContext(ctx, "a provider refused a login", "provider", p.ID, "error", word(refused))
		return Result{}, refusal(refused)
	}
	var found Found
	if err == nil {
		found, err = s.find(ctx, p, src, m, l, redact.New(code), derive(a.Browser, state, "verifier"), derive(a.Browser, state, "nonce").Reveal())
	}
	if errors.Is(err, ErrUpstream) {
		s.failed(ctx, p, "callback", err)
		return Result{}, unreachable(err)
	}
	if err != nil {
		return Result{}, err
	}
	return s.resolve(ctx, p, l, found, a)
}

// namesItself refuses an answer that is not the provider's own (RFC 9207 section 2.4).
func namesItself(has bool, issuer string, p Provider, m metadata) error {
	if m.TellsIssuer && !has || has && issuer != p.Issuer {
		return upstream("the answer is that of another provider, or names none")
	}
	return nil
}

// refusal is what a person is told whom the provider did not let in. Of the provider's words only those of the standards
// are understood; none is shown.
func refusal(code string) error {
	if code == "access_denied" {
		return fault.New(fault.Invalid, "provider_denied", "You were not signed in: it was cancelled or refused at the other place.")
	}
	return fault.New(fault.Invalid, "provider_refused", "The other place did not sign you in. If it happens again, tell whoever runs this service.")
}

func (s *Service) failed(ctx context.Context, p Provider, what string, err error) {
	s.o.Logger.WarnContext(ctx, "a login with a provider did not work", "provider", p.ID, "what", what, "error", err)
}

// find exchanges the code and reads who it is.
func (s *Service) find(ctx context.Context, p Provider, src *source, m metadata, l login, code, verifier redact.Secret, nonce string) (Found, error) {
	t, err := s.exchange(ctx, p, src, m, code, verifier)
	if err != nil {
		return Found{}, err
	}
	c, err := s.validate(ctx, p, src, t, nonce)
	if err != nil {
		return Found{}, err
	}
	f, err := s.read(p, l, c)
	if err != nil {
		return Found{}, err
	}
	if f.Hint, err = s.hint(p, f.Subject, t.idToken); err != nil {
		return Found{}, err
	}
	if p.Policy.Userinfo {
		more, err := s.userinfo(ctx, src, m, t, f.Subject)
		if err != nil {
			return Found{}, err
		}
		f.describe(p, func(name string) []byte {
			if raw := c.JSON(name); raw != nil {
				return raw // what is signed goes first
			}
			if signed := c.JSON(p.Claims.Email); name == p.Claims.EmailVerified && signed != nil && !bytes.Equal(signed, more[p.Claims.Email]) {
				return nil // it is said of another address
			}
			return more[name]
		})
	}
	return f, s.suffices(p, f)
}

// suffices refuses a login that the provider's policy does not take.
func (s *Service) suffices(p Provider, f Found) error {
	if list := p.Policy.RequiredACR; len(list) > 0 && !slices.Contains(list, f.ACR) {
		return fault.New(fault.Forbidden, "provider_too_weak", "The way in which you signed in at the other place is not enough here. Ask whoever runs this service which one is.")
	}
	for _, method := range p.Policy.RequiredAMR {
		if !slices.Contains(f.AMR, method) {
			return fault.New(fault.Forbidden, "provider_too_weak", "The way in which you signed in at the other place is not enough here. Ask whoever runs this service which one is.")
		}
	}
	if len(p.Policy.AllowedDomains) > 0 && !inDomains(f, p.Policy.AllowedDomains) {
		return fault.New(fault.Forbidden, "provider_domain", "Only people with a verified e-mail address of certain domains sign in that way.")
	}
	return nil
}

func inDomains(f Found, domains []string) bool {
	_, domain, _ := strings.Cut(identity.EmailKey(f.Email), "@")
	return domain != "" && slices.Contains(domains, domain)
}
