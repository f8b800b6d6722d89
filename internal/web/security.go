package web

import (
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/qr"
	"github.com/mintmark/mintmark/internal/route"
)

const securityPage = "/account/security"

// freshFor is how long ago somebody may have proved to be it who changes what proves it.
const freshFor = 5 * time.Minute

// errNotFresh is the answer to a change by somebody who has not just proved to be it, by all that the account has.
var errNotFresh error = fault.New(fault.Forbidden, "login_too_old", "To change this, first confirm that it is you: sign in again, then repeat what you did.")

// picture is a QR code as a part of a page; empty if there is too much to draw. It is made by us of black and white.
type picture template.HTML

// HTML is the picture for the template.
func (p picture) HTML() template.HTML { return template.HTML(p) } //nolint:gosec // package qr draws it; it holds no text

func drawn(text string) picture {
	code, err := qr.New(text)
	if err != nil {
		return ""
	}
	return picture(code.SVG())
}

type passkeyRow struct {
	mfa.Passkey
	Since, Used string
}

type securityData struct {
	frame
	CSRF        string
	User        identity.User
	Fresh       bool
	Again       string // where to confirm that it is you
	Possible    bool   // passkeys work at this address
	Passkeys    []passkeyRow
	App         *mfa.TOTP
	AppSince    string
	AppUsed     string
	Codes       int
	CodesSince  string
	Second      bool
	Required    bool
	HasPassword bool
	Elsewhere   bool   // a directory keeps the password
	Changed     string // of the password
	Links       []linkRow
	Others      []federation.Offer // that can be linked
	Done        string
	Problem     string
}

// day is a date for people.
func day(t time.Time) string {
	if t.IsZero() {
		return words("never")
	}
	t = t.UTC()
	return fill("{0} "+t.Month().String()+" {1}", t.Format("2"), t.Format("2006"))
}

// moment is an instant for people.
func moment(t time.Time) string { return fill("{0}, {1} UTC", day(t), t.UTC().Format("15:04")) }

// held is what the account of a session is protected by. A session that has ended, on whatever node, is ErrForm: memory
// may be a second behind, and within a second a thief who was just signed out could add a passkey of his own.
func (p *Pages) held(r *http.Request, s session.Session) (f mfa.Factors, person identity.Person, err error) {
	err = p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		if alive, err := session.Alive(r.Context(), tx, s.ID); err != nil {
			return err
		} else if !alive {
			return session.ErrForm
		}
		if f, err = mfa.Load(r.Context(), tx, s.User.ID); err != nil {
			return err
		}
		person, err = identity.LoadPerson(r.Context(), tx, s.User.ID)
		return err
	})
	return f, person, err
}

// fresh tells whether the session's person has just proved to be it, by all that the account has.
func (p *Pages) fresh(s session.Session, f mfa.Factors) bool {
	return p.info.Clock.Now().Before(s.AuthTime.Add(freshFor)) && (!f.Second() || s.ACR() == "2")
}

// freshly is signedIn for the pages that only somebody sees who has just proved to be the person. Others are led to a login,
// and from there back to the page. If it answers false it has answered.
func (p *Pages) freshly(w http.ResponseWriter, r *http.Request, page string) (session.Session, bool) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return s, false
	}
	f, _, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return s, false
	}
	if !p.fresh(s, f) {
		seeOther(w, again(page))
		return s, false
	}
	return s, true
}

// doneTexts say what was done; the address holds the word for it, so that nobody can have the page say anything else.
var doneTexts = map[string]string{
	"passkey": "The passkey was added.", "renamed": "The passkey has a new name.", "removed": "It was removed.", "app": "The authenticator app is set up.",
	"password": "You have a new password. All your other sessions have ended.", "linked": "The account is linked. You can sign in with it.", "unlinked": "The account is not linked any more.",
	"no-password": "The password was removed. You sign in with a passkey from now on.",
}

// Security is the page at GET /account/security: what the person signs in with.
func (p *Pages) Security(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	p.security(w, r, http.StatusOK, s, doneTexts[r.URL.Query().Get("done")], "")
}

func (p *Pages) security(w http.ResponseWriter, r *http.Request, status int, s session.Session, done, problem string) {
	f, person, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	d := securityData{
		frame: p.scripted("Sign-in and security").of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User, Fresh: p.fresh(s, f), Again: again(securityPage),
		Possible: p.info.Factors.OffersPasskeys(), App: f.App, Codes: f.Codes, CodesSince: day(f.CodesOf), Second: f.Second(), Required: p.info.Factors.Required(s.User),
		HasPassword: person.HasPassword, Changed: day(person.PasswordChanged), Done: done, Problem: problem,
	}
	d.Section = securityPage
	_, d.Elsewhere = p.info.Directory.PasswordElsewhere(person)
	for _, k := range f.Passkeys {
		row := passkeyRow{k, day(k.Created), "not used yet"}
		if !k.LastUsed.IsZero() {
			row.Used = fill("last used {0}", day(k.LastUsed))
		}
		d.Passkeys = append(d.Passkeys, row)
	}
	if f.App != nil {
		d.AppSince, d.AppUsed = day(f.App.Created), day(f.App.LastUsed)
	}
	if d.Links, d.Others, err = p.links(r, s.User); err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, status, "security", d)
}

// again is the address at which somebody confirms who it is, and comes back.
func again(to string) string { return "/login?step=" + stepAgain + "&return_to=" + url.QueryEscape(to) }

// owner finds who sends a form that changes what he signs in with: somebody whose form it is, and who has just proved to
// be it. If ok is false it has answered.
func (p *Pages) owner(w http.ResponseWriter, r *http.Request) (s session.Session, f mfa.Factors, ok bool) {
	if s, ok = p.formOf(w, r); !ok {
		return s, f, false
	}
	f, _, err := p.held(r, s)
	if err == nil && !p.fresh(s, f) {
		err = errNotFresh
	}
	if err != nil {
		p.fail(w, r, err)
		return s, f, false
	}
	return s, f, true
}

// formOf finds whose form it is. If ok is false it has answered.
func (p *Pages) formOf(w http.ResponseWriter, r *http.Request) (s session.Session, ok bool) {
	if err := p.info.Sessions.CheckToken(r); err != nil {
		p.fail(w, r, err)
		return s, false
	}
	return p.signedIn(w, r)
}

// self is the person of a session as the caller of what it does to its own account.
func self(r *http.Request, s session.Session) access.Caller {
	return access.Caller{Kind: access.Person, ID: s.User.ID, Name: s.User.Username, Realm: s.User.Realm,
		RequestID: route.RequestID(r.Context()), IP: route.ClientIP(r.Context()), Agent: route.UserAgent(r.Context())}
}

// changeOwn runs a change of the caller's own account and leads back to its page, or shows that with the reason.
func (p *Pages) changeOwn(w http.ResponseWriter, r *http.Request, s session.Session, done string, f func(tx db.WriteTx) error) {
	if err := p.info.DB.Write(r.Context(), f); err != nil {
		p.refuseChange(w, r, s, err)
		return
	}
	seeOther(w, securityPage+"?done="+done)
}

func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// refuseChange shows the page again if the person can do something about it.
func (p *Pages) refuseChange(w http.ResponseWriter, r *http.Request, s session.Session, err error) {
	f := fault.Of(err)
	status := map[fault.Kind]int{fault.Invalid: http.StatusBadRequest, fault.Conflict: http.StatusConflict}[f.Kind]
	if status == 0 {
		p.fail(w, r, err)
		return
	}
	route.NoteError(r.Context(), f.Code, err)
	p.security(w, r, status, s, "", told(f))
}

// PasskeyOptions answers POST /account/security/passkeys/options.
func (p *Pages) PasskeyOptions(w http.ResponseWriter, r *http.Request) {
	p.options(w, r, func() (json.RawMessage, error) {
		s, ok, err := p.info.Sessions.Current(r.Context(), r)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, session.ErrForm
		}
		f, _, err := p.held(r, s)
		if err != nil {
			return nil, err
		}
		if !p.fresh(s, f) {
			return nil, errNotFresh
		}
		browser, _ := p.info.Sessions.Browser(r)
		return p.info.Factors.RegisterOptions(r.Context(), s.User, browser, p.origin(r))
	})
}

// AddPasskey takes the form at POST /account/security/passkeys.
func (p *Pages) AddPasskey(w http.ResponseWriter, r *http.Request) {
	s, f, ok := p.owner(w, r)
	if !ok {
		return
	}
	browser, _ := p.info.Sessions.Browser(r)
	made, err := p.info.Factors.AddPasskey(r.Context(), self(r, s), s.User, browser, r.PostForm.Get("credential"), r.PostForm.Get("name"))
	if err != nil {
		p.refuseChange(w, r, s, err)
		return
	}
	p.added(w, r, s, f, made.Methods(), "passkey")
}

// added ends the addition of a factor. It was shown just now, so the session counts as one with two factors from here on:
// else its person would have to sign in again at once. The first factor brings recovery codes.
func (p *Pages) added(w http.ResponseWriter, r *http.Request, s session.Session, before mfa.Factors, methods []string, done string) {
	amr := s.AMR
	for _, m := range methods {
		if !slices.Contains(amr, m) {
			amr = append(slices.Clone(amr), m)
		}
	}
	if _, err := p.info.Sessions.Strengthen(r.Context(), w, r, s, amr); err != nil {
		p.fail(w, r, err)
		return
	}
	if before.Codes == 0 {
		p.newCodes(w, r, s, securityPage+"?done="+done)
		return
	}
	seeOther(w, securityPage+"?done="+done)
}

// RenamePasskey takes the form at POST /account/security/passkeys/rename.
func (p *Pages) RenamePasskey(w http.ResponseWriter, r *http.Request) {
	if s, _, ok := p.owner(w, r); ok {
		p.changeOwn(w, r, s, "renamed", func(tx db.WriteTx) error {
			return p.info.Factors.RenamePasskey(r.Context(), tx, self(r, s), s.User, r.PostForm.Get("id"), r.PostForm.Get("name"))
		})
	}
}

// RemoveFactor takes the form at POST /account/security/factors/remove.
func (p *Pages) RemoveFactor(w http.ResponseWriter, r *http.Request) {
	if s, _, ok := p.owner(w, r); ok {
		p.changeOwn(w, r, s, "removed", func(tx db.WriteTx) error {
			return p.info.Factors.Remove(r.Context(), tx, self(r, s), s.User, r.PostForm.Get("id"))
		})
	}
}

type appData struct {
	frame
	CSRF    string
	Seed    mfa.Seed
	Picture picture
	Problem string
}

// Address is the seed as apps read it. Its scheme is ours to trust: the server wrote it.
func (d appData) Address() template.URL { return template.URL(d.Seed.Address) } //nolint:gosec // made by package mfa

// BeginApp takes the form at POST /account/security/app: it makes a seed and leads to the page that shows it.
func (p *Pages) BeginApp(w http.ResponseWriter, r *http.Request) {
	s, _, ok := p.owner(w, r)
	if !ok {
		return
	}
	if err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) error {
		return p.info.Factors.BeginTOTP(r.Context(), tx, self(r, s), s.User.ID, s.ID)
	}); err != nil {
		p.fail(w, r, err)
		return
	}
	seeOther(w, securityPage+"/app")
}

// AppForm is the page at GET /account/security/app: the seed, to be put into the app.
func (p *Pages) AppForm(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	p.app(w, r, http.StatusOK, s, "")
}

func (p *Pages) app(w http.ResponseWriter, r *http.Request, status int, s session.Session, problem string) {
	f, _, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if !p.fresh(s, f) {
		seeOther(w, again(securityPage))
		return
	}
	var seed mfa.Seed
	err = p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		seed, err = p.info.Factors.PendingTOTP(r.Context(), tx, s.User, s.ID)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		seeOther(w, securityPage)
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, status, "app", appData{p.frame("Authenticator app").of(s.User.Realm), p.info.Sessions.Token(w, r), seed, drawn(seed.Address), problem})
}

// ConfirmApp takes the form at POST /account/security/app/confirm: the app's first code.
func (p *Pages) ConfirmApp(w http.ResponseWriter, r *http.Request) {
	s, f, ok := p.owner(w, r)
	if !ok {
		return
	}
	if err := p.info.Factors.ConfirmTOTP(r.Context(), self(r, s), s.User, s.ID, r.PostForm.Get("code"), p.origin(r)); err != nil {
		p.refuseStep(w, r, err, func(status int, problem string) { p.app(w, r, status, s, problem) })
		return
	}
	p.added(w, r, s, f, []string{mfa.OTP, mfa.Multiple}, "app")
}

type codesData struct {
	frame
	Codes   []string
	Next    string
	Account string // whose, and where, for a sheet of paper
	Place   string
}

// NewCodes takes the form at POST /account/security/codes.
func (p *Pages) NewCodes(w http.ResponseWriter, r *http.Request) {
	if s, _, ok := p.owner(w, r); ok {
		p.newCodes(w, r, s, securityPage)
	}
}

// newCodes makes recovery codes and shows them. It is the answer to the form itself, the only one that is no redirect:
// nothing is kept that another request could show them from. Sending the form again makes others.
func (p *Pages) newCodes(w http.ResponseWriter, r *http.Request, s session.Session, next string) {
	var codes []string
	err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) (err error) {
		codes, err = p.info.Factors.NewCodes(r.Context(), tx, self(r, s), s.User)
		return err
	})
	if err != nil {
		p.refuseChange(w, r, s, err)
		return
	}
	p.show(w, r, http.StatusOK, "codes", codesData{p.frame("Recovery codes").of(s.User.Realm), codes, next, s.User.Realm + "/" + s.User.Username, p.info.Issuer})
}
