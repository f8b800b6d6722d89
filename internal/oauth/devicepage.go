package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// How guessing of user codes is stopped. Between them, 100 000 addresses with an account each find one of a hundred codes
// that wait in some fifty years.
const (
	maxGuesses   = 5
	guessWindow  = 10 * time.Minute
	macGuess     = "device-guess"
	maxShownCode = 20
)

// DeviceStep is how far the page for devices has come.
type DeviceStep string

// The steps.
const (
	DeviceEnter   DeviceStep = "enter" // type the code
	DeviceAsk     DeviceStep = "ask"   // decide
	DeviceAllowed DeviceStep = "allowed"
	DeviceDenied  DeviceStep = "denied"
)

// DeviceView is what the page for devices shows. A form carries the fields user_code and shown; the buttons of the
// question send decision=allow or decision=deny.
type DeviceView struct {
	Step     DeviceStep
	User     identity.User
	UserCode string        // to begin with, or, with the question, to compare with what the device shows
	Wrong    bool          // the code that was typed leads nowhere
	Wait     time.Duration // > 0: there were too many wrong ones

	// With the question and after it.
	ClientName string
	Team       string
	Untrusted  bool          // it registered itself, and nobody here vouches for it
	Lasts      time.Duration // how long it can go on without asking again
	Scopes     []ScopeText
	IP         string // where the device asked from
	Agent      string // what it calls itself; may be empty
	Asked      time.Time
	Ago        time.Duration
	Shown      string
}

// devicePage is where a person lets a device act, or not (RFC 8628 section 3.3).
//
// What it guards: an address with a code in it fills in the form and does nothing else; the answer comes from a page that
// this browser got, for the person who is signed in, about exactly what the page showed; and it counts once.
func (p *people) devicePage(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		if err := p.Sessions.CheckToken(r); err != nil {
			p.refusePage(w, r, err)
			return
		}
	}
	typed := r.PostForm.Get("user_code")
	if r.Method != http.MethodPost {
		typed = r.URL.Query().Get("user_code")
	}
	code, ok := readUserCode(typed)
	s, signedIn, err := p.Sessions.Current(r.Context(), r)
	switch {
	case err != nil:
		p.refusePage(w, r, err)
	case !signedIn:
		back := "/device"
		if ok {
			back += "?user_code=" + code.Reveal()
		}
		redirect(w, "/login?return_to="+url.QueryEscape(back))
	case r.Method != http.MethodPost:
		p.Pages.Device(w, r, DeviceView{Step: DeviceEnter, User: s.User, UserCode: code.Reveal()})
	default:
		route.Identify(r.Context(), caller(r.Context(), s.User, ""))
		p.typed(w, r, s, code, ok)
	}
}

// typed goes on with a code that somebody typed in: to the question, or with its answer.
func (p *people) typed(w http.ResponseWriter, r *http.Request, s session.Session, code redact.Secret, wellFormed bool) {
	d, wait, err := p.guess(r, s, code, wellFormed)
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	if d == nil {
		typed := r.PostForm.Get("user_code")
		if len(typed) > maxShownCode {
			typed = ""
		}
		p.Pages.Device(w, r, DeviceView{Step: DeviceEnter, User: s.User, UserCode: typed, Wrong: wait == 0, Wait: wait})
		return
	}
	q, v, err := p.deviceQuestion(r, s, d, code)
	if err == nil {
		err = p.loginFits(r.Context(), q, s, d)
	}
	if errors.Is(err, errSignIn) || errors.Is(err, errStepUp) {
		redirect(w, "/login?return_to="+url.QueryEscape("/device?user_code="+code.Reveal())+q.passed())
		return
	}
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	switch decision := r.PostForm.Get("decision"); {
	case decision == "deny":
		err = p.denyDevice(r.Context(), s, d)
		v.Step = DeviceDenied
	case decision == "allow" && r.PostForm.Get("shown") == v.Shown:
		err = p.allowDevice(r.Context(), s, d, q)
		v.Step = DeviceAllowed
	}
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	p.Pages.Device(w, r, v)
}

// deviceQuestion is what the person is asked, read anew each time. It is asked whatever the person has allowed the
// client before: this is another device, and perhaps another's.
func (p *people) deviceQuestion(r *http.Request, s session.Session, d *device, code redact.Secret) (*authRequest, DeviceView, error) {
	ctx := r.Context()
	client, err := p.s.clients.Client(ctx, d.client)
	if err != nil && !unknown(err) {
		return nil, DeviceView{}, err
	}
	if err != nil || !client.Enabled || !client.May(grantDeviceCode) {
		return nil, DeviceView{}, page(http.StatusBadRequest, invalidClient, "The application on that device is not known any more.")
	}
	q := &authRequest{client: client, scopes: d.scopes, resources: d.resources, prompt: []string{"consent"}, maxAge: d.maxAge, acrs: d.acrs}
	q.defaultMaxAge()
	if err := q.checkACRs(); err != nil {
		return nil, DeviceView{}, err
	}
	wish, err := p.wish(ctx, q, s)
	if err != nil {
		return nil, DeviceView{}, err
	}
	v := DeviceView{
		Step: DeviceAsk, User: s.User, UserCode: code.Reveal(), ClientName: client.Name, Team: client.Team, Untrusted: client.Untrusted, Scopes: wish, Lasts: p.deviceLasts(q, s),
		IP: d.ip, Agent: d.agent, Asked: d.created, Ago: max(0, p.s.clock.Now().Sub(d.created)),
	}
	b, err := json.Marshal([]any{client.ID, client.Name, client.Team, client.Untrusted, s.User.ID, s.User.DisplayName, wish, d.ip, d.agent, d.created, d.mac})
	if err != nil {
		return nil, DeviceView{}, fmt.Errorf("hash the question about a device: %w", err)
	}
	sum := sha256.Sum256(b)
	v.Shown = base64.RawURLEncoding.EncodeToString(sum[:])
	return q, v, nil
}

// loginFits tells whether the login is as fresh and as strong as the client wants it, as at the authorization endpoint;
// errSignIn and errStepUp say what the person must do first. A login since the device began to wait is for this.
func (p *people) loginFits(ctx context.Context, q *authRequest, s session.Session, d *device) error {
	forThis := !s.AuthTime.Before(d.created)
	if !forThis && (q.maxAge == 0 || q.maxAge > 0 && s.AuthTime.Before(d.created.Add(-q.maxAge))) {
		return errSignIn
	}
	return p.reaches(ctx, q, s, forThis)
}

// deviceLasts is how long the device can go on with what the person allows now.
func (p *people) deviceLasts(q *authRequest, s session.Session) time.Duration {
	if refreshable(q.client, q.scopes) {
		return p.absoluteLife(q.client, s.User.Realm)
	}
	return p.s.accessLife(q.client, s.User.Realm, grantDeviceCode)
}

func (p *people) allowDevice(ctx context.Context, s session.Session, d *device, q *authRequest) error {
	b := &beginning{
		device: d, request: q, person: s, approves: true, by: grantDeviceCode, caller: caller(ctx, s.User, d.client),
		id: id.New(id.Grant, p.s.clock.Now()), codeMAC: d.mac,
	}
	if err := p.changes.Do(ctx, change{begin: b}); err != nil {
		return err
	}
	if b.lost {
		return errDeviceOver()
	}
	return nil
}

func (p *people) denyDevice(ctx context.Context, s session.Session, d *device) error {
	return p.s.db.Write(ctx, func(tx db.WriteTx) error {
		ok, err := decideDevice(ctx, tx, d.mac, deviceDenied, "")
		if err != nil {
			return err
		}
		if !ok {
			return errDeviceOver()
		}
		return audit.Record(ctx, tx, audit.Event{
			Action: "approval.deny", Outcome: audit.Success, Caller: caller(ctx, s.User, d.client), TargetType: "client", TargetID: d.client,
			Details: map[string]any{"scopes": d.scopes, "device_ip": d.ip},
		})
	})
}

func errDeviceOver() error {
	return page(http.StatusForbidden, "no_such_request", "The device does not wait any more, or somebody has decided already. Begin again on the device.")
}

// guess finds the device that waits under the code, and counts a code that leads nowhere. d is nil if there is none; wait
// is how long the person must wait if there were too many. Count and look-up are one transaction, so that many tries at
// once, over nodes, are not more than one after another.
func (p *people) guess(r *http.Request, s session.Session, code redact.Secret, wellFormed bool) (d *device, wait time.Duration, err error) {
	ctx := r.Context()
	who := [][]byte{p.Keyring.MAC(macGuess, redact.New("session "+s.ID))}
	if from := newLimiterKey(route.ClientIP(ctx), ""); from.network.IsValid() && !from.network.Addr().IsLoopback() {
		who = append(who, p.Keyring.MAC(macGuess, redact.New("network "+from.network.String())))
	}
	err = p.s.db.Write(ctx, func(tx db.WriteTx) error {
		d, wait = nil, 0
		var counts [2]guesses
		for i, w := range who {
			if counts[i], err = loadGuesses(ctx, tx, w); err != nil {
				return err
			}
			if left := counts[i].since.Add(guessWindow).Sub(tx.Now()); left <= 0 {
				counts[i] = guesses{since: tx.Now()}
			} else if counts[i].wrong >= maxGuesses {
				wait = max(wait, left)
			}
		}
		if wait > 0 {
			return nil
		}
		if wellFormed {
			if d, err = p.waiting(ctx, tx, code); d != nil || err != nil {
				return err
			}
		}
		for i, w := range who {
			if err := db.One(tx.Exec(ctx, `INSERT INTO device_guesses (who, wrong, since) VALUES ($1, $2, $3)
				ON CONFLICT (who) DO UPDATE SET wrong = excluded.wrong, since = excluded.since`, w, counts[i].wrong+1, db.Micros(counts[i].since))); err != nil {
				return fmt.Errorf("count a wrong user code: %w", err)
			}
		}
		return nil
	})
	return d, wait, err
}

// guesses are the wrong user codes of one network or session.
type guesses struct {
	wrong int64
	since time.Time
}

func loadGuesses(ctx context.Context, tx db.ReadTx, who []byte) (g guesses, err error) {
	var since int64
	err = tx.QueryRow(ctx, `SELECT wrong, since FROM device_guesses WHERE who = $1`, who).Scan(&g.wrong, &since)
	if errors.Is(err, db.ErrNoRows) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("read the wrong user codes: %w", err)
	}
	g.since = db.Time(since)
	return g, nil
}

// waiting finds the device that shows the code and waits still, or nil.
func (p *people) waiting(ctx context.Context, tx db.ReadTx, code redact.Secret) (*device, error) {
	for _, mac := range p.Keyring.LookupMACs(macUserCode, code) {
		d, err := scanDevice(tx.QueryRow(ctx, selectDevice+`user_mac = $1`, mac))
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find a device by its user code: %w", err)
		}
		if d.state == devicePending && tx.Now().Before(d.expires) {
			return d, nil
		}
	}
	return nil, nil
}
