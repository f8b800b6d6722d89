package web

import (
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strconv"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/route"
)

const stepSeconds = 300 // how long the cookie of a login under way is kept; the row says what counts

// goOn ends a login whose first part was right: with a session, or with the page for what is to come. It has answered
// unless it returns an error.
func (p *Pages) goOn(w http.ResponseWriter, r *http.Request, u identity.User, amr []string, two bool, to string) error {
	return p.goOnFrom(w, r, u, amr, two, to, "")
}

// goOnFrom is goOn for a login that began with a provider of others, whose proof is upstream.
func (p *Pages) goOnFrom(w http.ResponseWriter, r *http.Request, u identity.User, amr []string, two bool, to, upstream string) error {
	kind, cookie, err := p.info.Factors.Start(r.Context(), u, amr, two, to, upstream)
	if err != nil {
		return err
	}
	if kind == "" {
		return p.begin(w, r, u, amr, to, upstream)
	}
	p.setStep(w, cookie.Reveal(), stepSeconds)
	w.Header().Set("Location", "/login/"+string(kind))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (p *Pages) setStep(w http.ResponseWriter, value string, age int) {
	p.setCookie(w, stepCookie, value, age)
}

// begin signs the person in and leads on. It has answered unless it returns an error.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request, u identity.User, amr []string, to, upstream string) error {
	if err := p.signIn(w, r, u, amr, upstream); err != nil {
		return err
	}
	w.Header().Set("Location", returnTo(to))
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// signIn makes the session; a login that was under way is over with it.
func (p *Pages) signIn(w http.ResponseWriter, r *http.Request, u identity.User, amr []string, upstream string) error {
	proved, err := provedUpstream(upstream)
	if err != nil {
		return err
	}
	s, err := p.info.Sessions.BeginProved(r.Context(), w, r, u, amr, proved)
	return p.signedAnew(w, r, s, u, err)
}

// carryOn makes a change by the person that ends the session, and another session in its place: no login, so it says when
// there was one.
func (p *Pages) carryOn(w http.ResponseWriter, r *http.Request, before session.Session, change func(tx db.WriteTx) error) error {
	s, err := p.info.Sessions.Carry(r.Context(), w, r, before, func(tx db.WriteTx) (session.Proved, error) {
		along, err := federation.Carried(r.Context(), tx, before.ID)
		if err != nil {
			return along, err
		}
		return along, change(tx)
	})
	return p.signedAnew(w, r, s, before.User, err)
}

func (p *Pages) signedAnew(w http.ResponseWriter, r *http.Request, s session.Session, u identity.User, err error) error {
	if errors.Is(err, account.ErrUnverified) {
		// Who got so far has proved to be the person, so a letter tells nobody else anything.
		return errors.Join(err, p.sendVerification(r, u))
	}
	if err != nil {
		return err
	}
	if len(r.CookiesNamed(p.cookieName(stepCookie))) > 0 {
		p.setStep(w, "", -1)
	}
	p.keepRealm(w, r, s.User.Realm)
	if err := p.noteLanguage(r, s.User.ID, p.greet(w, r, s.User)); err != nil {
		route.NoteError(r.Context(), "language", err) // the person is signed in all the same
	}
	route.Identify(r.Context(), access.Caller{Kind: access.Person, ID: s.User.ID, Name: s.User.Username, Realm: s.User.Realm})
	return nil
}

// greet has a browser in which nobody has chosen a language speak the one that the person has, and answers what the
// browser speaks from now on.
func (p *Pages) greet(w http.ResponseWriter, r *http.Request, u identity.User) (tag string) {
	if len(r.CookiesNamed(p.cookieName(languageCookie))) > 0 {
		return p.languageOf(r)
	}
	if err := p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		tag, err = identity.Language(r.Context(), tx, u.ID)
		return err
	}); err != nil {
		route.NoteError(r.Context(), "language", err) // the login is worth more than its language
	}
	if tag = spoken(tag); tag == "" {
		return p.languageOf(r)
	}
	p.speak(w, tag, languageYear)
	return tag
}

// step finds the login that the browser has under way, with the seed of one that wants a factor.
func (p *Pages) step(r *http.Request, kind mfa.StepKind) (*mfa.Step, mfa.Seed, error) {
	found := r.CookiesNamed(p.cookieName(stepCookie))
	if len(found) != 1 {
		return nil, mfa.Seed{}, mfa.ErrNoStep
	}
	step, seed, err := p.info.Factors.Step(r.Context(), found[0].Value)
	if err == nil && step.Kind != kind {
		err = mfa.ErrNoStep
	}
	return step, seed, err
}

type stepData struct {
	frame
	CSRF     string
	User     identity.User
	App      bool
	Passkey  bool
	Recovery bool
	Problem  string
	Seed     mfa.Seed
	Picture  picture
}

// Address is the seed as apps read it. Its scheme is ours to trust: the server wrote it.
func (d stepData) Address() template.URL { return template.URL(d.Seed.Address) } //nolint:gosec // made by package mfa

// VerifyForm is the page at GET /login/verify: it asks for the second factor.
func (p *Pages) VerifyForm(w http.ResponseWriter, r *http.Request) {
	step, _, err := p.step(r, mfa.Verify)
	if err != nil {
		p.startOver(w, r, err)
		return
	}
	p.verify(w, r, http.StatusOK, step, "")
}

// startOver leads to the login if there is nothing under way.
func (p *Pages) startOver(w http.ResponseWriter, r *http.Request, err error) {
	if !errors.Is(err, mfa.ErrNoStep) {
		p.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/login")
	w.WriteHeader(http.StatusSeeOther)
}

func (p *Pages) verify(w http.ResponseWriter, r *http.Request, status int, step *mfa.Step, problem string) {
	d := stepData{
		frame: p.scripted("One more step").of(step.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: step.User, Problem: problem,
		App: step.Factors.App != nil, Recovery: step.Factors.Codes > 0,
		Passkey: len(step.Factors.Passkeys) > 0 && p.info.Factors.OffersPasskeys(),
	}
	p.show(w, r, status, "verify", d, p.leads(r, step.ReturnTo)...)
}

// leads is where a form may end besides here: the client that the login is for.
func (p *Pages) leads(r *http.Request, address string) []string {
	if to, ok := p.destination(r, address); ok {
		return []string{to.RedirectURI}
	}
	return nil
}

// Verify takes the form at POST /login/verify: a code of the app, a recovery code, or what a passkey has signed.
func (p *Pages) Verify(w http.ResponseWriter, r *http.Request) {
	if err := p.info.Sessions.CheckToken(r); err != nil {
		p.fail(w, r, err)
		return
	}
	step, _, err := p.step(r, mfa.Verify)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	amr, err := p.second(r, step)
	if err == nil {
		err = p.begin(w, r, step.User, amr, step.ReturnTo, step.Upstream)
	}
	if err != nil {
		p.refuseStep(w, r, err, func(status int, problem string) { p.verify(w, r, status, step, problem) })
	}
}

func (p *Pages) second(r *http.Request, step *mfa.Step) ([]string, error) {
	form, o := r.PostForm, p.origin(r)
	if answer := form.Get("credential"); answer != "" {
		browser, _ := p.info.Sessions.Browser(r) // CheckToken has seen it
		return p.info.Factors.VerifyPasskey(r.Context(), step, browser, answer, o)
	}
	if code := form.Get("recovery"); code != "" {
		return p.info.Factors.VerifyCode(r.Context(), step, code, true, o)
	}
	return p.info.Factors.VerifyCode(r.Context(), step, form.Get("code"), false, o)
}

// refuseStep shows a page again, and why.
func (p *Pages) refuseStep(w http.ResponseWriter, r *http.Request, err error, again func(status int, problem string)) {
	f := fault.Of(err)
	problem, status := told(f), 0
	switch {
	case errors.Is(err, mfa.ErrCode):
		status, problem = http.StatusUnauthorized, "This code is not right, or was used already. Type the six digits that the app shows now, without spaces."
		if r.PostForm.Get("recovery") != "" {
			problem = "This recovery code is not right, or was used already. Each of them works once."
		}
	case f.Kind == fault.Limited:
		status, problem = http.StatusTooManyRequests, fill("There were too many wrong codes. Wait {0}, then try again.", wait(f.RetryAfter))
		w.Header().Set("Retry-After", strconv.Itoa(seconds(f.RetryAfter)))
	case f.Code == "passkey_refused", f.Code == "passkey_copied", f.Code == "passkey_name":
		status = http.StatusBadRequest
	default:
		p.fail(w, r, err)
		return
	}
	route.NoteError(r.Context(), f.Code, err)
	again(status, problem)
}

// EnrolForm is the page at GET /login/enrol: the person needs a second factor and has none.
func (p *Pages) EnrolForm(w http.ResponseWriter, r *http.Request) {
	step, seed, err := p.step(r, mfa.Enrol)
	if err != nil {
		p.startOver(w, r, err)
		return
	}
	p.enrol(w, r, http.StatusOK, step, seed, "")
}

func (p *Pages) enrol(w http.ResponseWriter, r *http.Request, status int, step *mfa.Step, seed mfa.Seed, problem string) {
	p.show(w, r, status, "enrol", stepData{
		frame: p.scripted("Add a second step").of(step.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: step.User, Problem: problem,
		Passkey: p.info.Factors.OffersPasskeys(), Seed: seed, Picture: drawn(seed.Address),
	}, p.leads(r, step.ReturnTo)...)
}

// Enrol takes the form at POST /login/enrol: the first code of a new app, or a new passkey. Then the person is signed in,
// and sees recovery codes, once.
func (p *Pages) Enrol(w http.ResponseWriter, r *http.Request) {
	if err := p.info.Sessions.CheckToken(r); err != nil {
		p.fail(w, r, err)
		return
	}
	step, seed, err := p.step(r, mfa.Enrol)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	var amr []string
	if answer := r.PostForm.Get("credential"); answer != "" {
		browser, _ := p.info.Sessions.Browser(r) // CheckToken has seen it
		amr, err = p.info.Factors.EnrolPasskey(r.Context(), step, browser, answer, r.PostForm.Get("name"), p.origin(r))
	} else {
		amr, err = p.info.Factors.EnrolTOTP(r.Context(), step, r.PostForm.Get("code"), p.origin(r))
	}
	if err == nil {
		err = p.signIn(w, r, step.User, amr, step.Upstream)
	}
	if err != nil {
		p.refuseStep(w, r, err, func(status int, problem string) { p.enrol(w, r, status, step, seed, problem) })
		return
	}
	p.newCodes(w, r, session.Session{User: step.User}, returnTo(step.ReturnTo))
}

// SignInPasskey takes the form at POST /login/passkey: what any passkey of this place has signed.
func (p *Pages) SignInPasskey(w http.ResponseWriter, r *http.Request) {
	err := p.info.Sessions.CheckToken(r)
	form := r.PostForm
	d := loginData{ReturnTo: returnTo(form.Get("return_to")), Step: form.Get("step")}
	if err == nil {
		browser, _ := p.info.Sessions.Browser(r)
		var u identity.User
		var amr []string
		if u, amr, err = p.info.Factors.SignIn(r.Context(), browser, form.Get("credential"), p.origin(r)); err == nil {
			if err = p.begin(w, r, u, amr, d.ReturnTo, ""); err == nil {
				return
			}
		}
	}
	p.refuseLogin(w, r, d, err)
}

// options answers what a browser needs for a passkey, as JSON, to a form of ours.
func (p *Pages) options(w http.ResponseWriter, r *http.Request, make func() (json.RawMessage, error)) {
	err := p.info.Sessions.CheckToken(r)
	var text json.RawMessage
	if err == nil {
		text, err = make()
	}
	if err != nil {
		route.WriteProblem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(text) // the browser went away: nobody is left to tell
}

// SignInOptions answers POST /login/passkey/options.
func (p *Pages) SignInOptions(w http.ResponseWriter, r *http.Request) {
	p.options(w, r, func() (json.RawMessage, error) {
		browser, _ := p.info.Sessions.Browser(r)
		return p.info.Factors.SignInOptions(r.Context(), browser, p.origin(r))
	})
}

// VerifyOptions answers POST /login/verify/options.
func (p *Pages) VerifyOptions(w http.ResponseWriter, r *http.Request) {
	p.options(w, r, func() (json.RawMessage, error) {
		step, _, err := p.step(r, mfa.Verify)
		if err != nil {
			return nil, err
		}
		browser, _ := p.info.Sessions.Browser(r)
		return p.info.Factors.VerifyOptions(r.Context(), step, browser, p.origin(r))
	})
}

// EnrolOptions answers POST /login/enrol/options.
func (p *Pages) EnrolOptions(w http.ResponseWriter, r *http.Request) {
	p.options(w, r, func() (json.RawMessage, error) {
		step, _, err := p.step(r, mfa.Enrol)
		if err != nil {
			return nil, err
		}
		browser, _ := p.info.Sessions.Browser(r)
		return p.info.Factors.RegisterOptions(r.Context(), step.User, browser, p.origin(r))
	})
}
