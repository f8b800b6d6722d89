package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// Kinds of MACs, so that a value that is good as one thing is nothing as another.
const (
	macFlow    = "authorization-flow"
	macBrowser = "authorization-browser"
	macCode    = "authorization-code"
	macToken   = "refresh-token"
	macOrigin  = "refresh-origin"
)

const (
	flowPrefix    = "mmf_"
	browserPrefix = "mmb_"
	codePrefix    = "mma_"
	secretLength  = 43
)

// flow is a request that waits for a person.
type flow struct {
	handle  redact.Secret
	mac     []byte
	request string
	pushed  []byte // MAC of the pushed request that it came from; empty: none
	chosen  string // the session that the person chose to go on with
	created time.Time
}

// errNoFlow is the one answer to a flow that is unknown, over, used, or another browser's.
func errNoFlow() error {
	return page(http.StatusForbidden, "no_such_request", "This request is over, was answered already, or was begun in another browser. Go back to the application and try again.")
}

// startFlow remembers the request and binds it to this browser, which gets a cookie if it has none. Whoever takes the
// address to another browser has nothing there: an attacker cannot begin a request and have somebody else complete it,
// nor complete one that somebody else allowed.
func (p *people) startFlow(w http.ResponseWriter, r *http.Request, q *authRequest) (*flow, error) {
	// The machine itself is not counted: that is a proxy which the configuration does not name, with everybody behind it.
	if from := newLimiterKey(route.ClientIP(r.Context()), ""); from.network.IsValid() && !from.network.Addr().IsLoopback() {
		if wait := p.begun.blocked(from); wait > 0 {
			return nil, &refusal{status: http.StatusTooManyRequests, code: temporarily, retry: wait, description: "Too many people from this address want to sign in. Try again later."}
		}
		p.begun.failed(from)
	}
	browser, ok := p.browser(r)
	if !ok {
		browser = seal.NewSecret(browserPrefix)
		http.SetCookie(w, &http.Cookie{Name: p.cookie, Value: browser.Reveal(), Path: "/", Secure: p.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	f := &flow{handle: seal.NewSecret(flowPrefix), request: q.raw, pushed: q.pushed}
	f.mac = p.Keyring.MAC(macFlow, f.handle)
	err := p.s.db.Write(r.Context(), func(tx db.WriteTx) error {
		f.created = tx.Now()
		return db.One(tx.Exec(r.Context(), `INSERT INTO authorization_flows (handle, browser, request, pushed, chosen, created, expires, used) VALUES ($1, $2, $3, $4, '', $5, $6, 0)`,
			f.mac, p.Keyring.MAC(macBrowser, browser), f.request, orNone(f.pushed), db.Micros(f.created), db.Micros(f.created.Add(flowLife))))
	})
	if err != nil {
		return nil, fmt.Errorf("store a request for authorization: %w", err)
	}
	return f, nil
}

// browser is the cookie that flows are bound to. Two of them are none.
func (p *people) browser(r *http.Request) (redact.Secret, bool) {
	found := r.CookiesNamed(p.cookie)
	if len(found) != 1 || len(found[0].Value) != len(browserPrefix)+secretLength || found[0].Value[:len(browserPrefix)] != browserPrefix {
		return redact.Secret{}, false
	}
	return redact.New(found[0].Value), true
}

// findFlow finds the flow that the handle names, if it is this browser's and waits still.
func (p *people) findFlow(ctx context.Context, r *http.Request, handle string) (*flow, error) {
	browser, ok := p.browser(r)
	if !ok || len(handle) != len(flowPrefix)+secretLength {
		return nil, errNoFlow()
	}
	f, bound, err := p.loadFlow(ctx, handle)
	if err != nil {
		return nil, err
	}
	if !p.Keyring.VerifyMAC(macBrowser, browser, bound) {
		return nil, errNoFlow()
	}
	return f, nil
}

// loadFlow reads a flow that waits still, and the MAC of the cookie that it is bound to.
func (p *people) loadFlow(ctx context.Context, handle string) (f *flow, browser []byte, err error) {
	f = &flow{handle: redact.New(handle)}
	var created, expires, used int64
	err = p.s.db.Read(ctx, func(tx db.ReadTx) error {
		for _, mac := range p.Keyring.LookupMACs(macFlow, f.handle) {
			err := tx.QueryRow(ctx, `SELECT handle, browser, request, pushed, chosen, created, expires, used FROM authorization_flows WHERE handle = $1`, mac).
				Scan(&f.mac, &browser, &f.request, &f.pushed, &f.chosen, &created, &expires, &used)
			if errors.Is(err, db.ErrNoRows) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read a request for authorization: %w", err)
			}
			if used != 0 || !tx.Now().Before(db.Time(expires)) {
				return errNoFlow()
			}
			f.created = db.Time(created)
			return nil
		}
		return errNoFlow()
	})
	return f, browser, err
}

// useFlow marks the flow as answered, and the pushed request that it came from; ok is false if either was.
func useFlow(ctx context.Context, tx db.WriteTx, f *flow) (ok bool, err error) {
	rows, err := tx.Exec(ctx, `UPDATE authorization_flows SET used = $2 WHERE handle = $1 AND used = 0 AND expires > $2`, f.mac, db.Micros(tx.Now()))
	if err != nil {
		return false, fmt.Errorf("use a request for authorization: %w", err)
	}
	if rows != 1 { // the handle is the key: there is no second row
		return false, nil
	}
	return usePushed(ctx, tx, f.pushed)
}

// choose notes that the person goes on with the account of this session.
func (f *flow) choose(ctx context.Context, tx db.WriteTx, sessionID string) (ok bool, err error) {
	rows, err := tx.Exec(ctx, `UPDATE authorization_flows SET chosen = $2 WHERE handle = $1 AND used = 0 AND expires > $3`, f.mac, sessionID, db.Micros(tx.Now()))
	if err != nil {
		return false, fmt.Errorf("note a chosen account: %w", err)
	}
	return rows == 1, nil
}

// resumeAt is the address at which the flow goes on.
func (f *flow) resumeAt() string { return "/oauth2/authorize?flow=" + f.handle.Reveal() }

// loginAt is the address of the page to sign in at, from which the browser comes back to the flow.
func (f *flow) loginAt(q *authRequest) string {
	return "/login?return_to=" + url.QueryEscape(f.resumeAt()) + q.passed()
}

// passed is what a page for signing in is told of the request.
func (q *authRequest) passed() string {
	var b strings.Builder
	for _, x := range []parameter{{"login_hint", q.hint}, {"ui_locales", q.locales}} {
		if x.value != "" {
			b.WriteString("&" + x.name + "=" + url.QueryEscape(x.value))
		}
	}
	if slices.Contains(q.acrs, classTwo) && !slices.Contains(q.acrs[:slices.Index(q.acrs, classTwo)], classOne) {
		b.WriteString("&acr_values=" + classTwo)
	}
	return b.String()
}
