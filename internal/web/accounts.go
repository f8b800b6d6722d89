package web

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// The pages of package account. A link from a letter leads to one of them with its token in the address; the page puts
// it into a cookie and leads on without it, so that it stays in no history, log or referrer. What a link gives takes a
// form: programs that look at links in letters use nothing up.

const (
	stepOpen  = "open"  // a link is in the cookie
	stepAsked = "asked" // a link is on its way, or not: nobody is told
	stepDone  = "done"

	linkSeconds = 30 * 60 // how long the cookie is kept; the row says what counts
	maxToken    = 100
)

// accountPaths are where links of a purpose lead.
var accountPaths = map[account.Purpose]string{account.Register: "/register", account.Verify: "/verify", account.Reset: "/reset", account.Invite: "/invitation", account.NewEmail: emailPage}

// AccountRoutes registers the pages for people who have no account yet, or no way into it.
func (p *Pages) AccountRoutes(m *route.Mux) {
	m.Handle("GET /register", p.RegisterForm)
	m.Handle("POST /register", p.Register)
	m.Handle("GET /reset", p.ResetForm)
	m.Handle("POST /reset", p.Reset)
	m.Handle("GET /verify", p.ConfirmForm)
	m.Handle("POST /verify", p.Confirm)
	m.Handle("GET /invitation", p.InvitationForm)
	m.Handle("POST /invitation", p.Invitation)
	m.Handle("GET /mailbox", p.Mailbox)
	m.Handle("GET "+profilePage, p.Profile)
	m.Handle("POST "+profilePage, p.SaveProfile)
	m.Handle("GET "+emailPage, p.EmailForm)
	m.Handle("POST "+emailPage, p.ChangeEmail)
	m.Handle("GET "+dataPage, p.Data)
	m.Handle("POST "+dataPage+"/export", p.ExportData)
	m.Handle("GET "+erasePage, p.EraseForm)
	m.Handle("POST "+erasePage, p.Erase)
	m.Handle("GET /mailbox/{id}", p.KeptLetter)
}

// accountData is what these pages show.
type accountData struct {
	frame
	CSRF     string
	Step     string // "": asks for a link
	Problem  string
	Realm    string
	Realms   []option
	Username string
	Email    string
	Name     string
	ReturnTo string
	Account  string // whose it is

	MinLength int // of a new password

	Attributes []attributeField // that the realm asks for
}

// arrive takes the token out of the address. It has answered if it returns true.
func (p *Pages) arrive(w http.ResponseWriter, r *http.Request, purpose account.Purpose) bool {
	q := r.URL.Query()
	if !q.Has("token") {
		return false
	}
	if token := q.Get("token"); len(token) <= maxToken && strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == "" {
		p.setLink(w, string(purpose)+"."+token, linkSeconds)
	}
	setHeaders(w)
	w.Header().Set("Cache-Control", "no-store")
	seeOther(w, accountPaths[purpose]+"?step="+stepOpen)
	return true
}

func (p *Pages) setLink(w http.ResponseWriter, value string, age int) {
	p.setCookie(w, linkCookie, value, age)
}

// link is the token that the browser keeps for this purpose; empty, which opens nothing, if there is none.
func (p *Pages) link(r *http.Request, purpose account.Purpose) redact.Secret {
	found := r.CookiesNamed(p.cookieName(linkCookie))
	if len(found) != 1 {
		return redact.Secret{}
	}
	token, ok := strings.CutPrefix(found[0].Value, string(purpose)+".")
	if !ok {
		return redact.Secret{}
	}
	return redact.New(token)
}

// opened reads what the browser's link leads to.
func (p *Pages) opened(r *http.Request, purpose account.Purpose) (o account.Opened, err error) {
	err = p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		o, err = p.info.Accounts.Open(r.Context(), tx, purpose, p.link(r, purpose))
		return err
	})
	return o, err
}

func (p *Pages) asker(r *http.Request) account.Asker {
	device, _ := p.info.Sessions.Device(r)
	return account.Asker{IP: route.ClientIP(r.Context()), RequestID: route.RequestID(r.Context()), Agent: route.UserAgent(r.Context()), Language: p.languageOf(r), Device: device}
}

// refuseAccount shows the form again and why, or the page for what no form mends.
func (p *Pages) refuseAccount(w http.ResponseWriter, r *http.Request, err error, again func(status int, problem string)) {
	f := fault.Of(err)
	status, problem := map[fault.Kind]int{fault.Invalid: http.StatusBadRequest, fault.Conflict: http.StatusConflict, fault.Limited: http.StatusTooManyRequests, fault.Forbidden: http.StatusForbidden}[f.Kind], told(f)
	switch {
	case errors.Is(err, account.ErrLink):
		p.setLink(w, "", -1)
		p.fail(w, r, err)
		return
	case errors.Is(err, session.ErrForm):
		status, problem = http.StatusForbidden, "This page was open for too long, or cookies are switched off. Please try again."
	case f.Code == "malformed_form", status == 0:
		p.fail(w, r, err)
		return
	case f.Kind == fault.Limited:
		problem = fill("Your address asked for very many links. Wait {0}, then try again.", wait(f.RetryAfter))
		w.Header().Set("Retry-After", strconv.Itoa(seconds(f.RetryAfter)))
	}
	route.NoteError(r.Context(), f.Code, err)
	again(status, problem)
}

// notOffered says that this page serves nobody here.
func (p *Pages) notOffered(w http.ResponseWriter, r *http.Request, text string) {
	p.Error(w, r, http.StatusNotFound, "not_offered", text)
}

// newPassword is the password that was typed twice.
func newPassword(form url.Values) (redact.Secret, error) {
	if form.Get("password") != form.Get("again") {
		return redact.Secret{}, fault.New(fault.Invalid, "password_twice", "The two passwords are not the same.")
	}
	return redact.New(form.Get("password")), nil
}

// account shows one of these pages.
func (p *Pages) account(w http.ResponseWriter, r *http.Request, status int, name, title string, d accountData) {
	d.frame, d.CSRF = p.frame(title).of(d.Realm), p.info.Sessions.Token(w, r)
	d.MinLength = p.info.Directory.PasswordLength(d.Realm)
	p.show(w, r, status, name, d, p.leads(r, d.ReturnTo)...)
}

// ResetForm is the page at GET /reset: it asks whose password is forgotten, or, with a link, for the new one.
func (p *Pages) ResetForm(w http.ResponseWriter, r *http.Request) {
	if p.arrive(w, r, account.Reset) {
		return
	}
	if !p.info.Accounts.Resets() {
		p.notOffered(w, r, "This place sends no mail. Ask an administrator for a new password.")
		return
	}
	q := r.URL.Query()
	switch q.Get("step") {
	case stepOpen:
		p.resetOpen(w, r, http.StatusOK, "")
	case stepAsked:
		p.account(w, r, http.StatusOK, "reset", "Look into your mail", accountData{Step: stepAsked})
	default:
		p.resetAsk(w, r, http.StatusOK, q.Get("realm"), q.Get("login_hint"), "")
	}
}

func (p *Pages) resetAsk(w http.ResponseWriter, r *http.Request, status int, realmName, username, problem string) {
	d := accountData{Username: username, Problem: problem}
	if len(username) > maxTyped {
		d.Username = ""
	}
	d.Realm, d.Realms = p.realms(realmName)
	d.Realms = few(d.Realms)
	p.account(w, r, status, "reset", "New password", d)
}

func (p *Pages) resetOpen(w http.ResponseWriter, r *http.Request, status int, problem string) {
	o, err := p.opened(r, account.Reset)
	if err != nil {
		p.refuseAccount(w, r, err, nil)
		return
	}
	p.account(w, r, status, "reset", "New password", accountData{Step: stepOpen, Username: o.Person.Username, Account: o.Person.DisplayName, Realm: o.Realm, Problem: problem})
}

// Reset takes the forms at POST /reset.
func (p *Pages) Reset(w http.ResponseWriter, r *http.Request) {
	err := p.info.Sessions.CheckToken(r)
	form := r.PostForm
	if !p.info.Accounts.Resets() {
		p.notOffered(w, r, "This place sends no mail. Ask an administrator for a new password.")
		return
	}
	if form.Get("step") == stepOpen {
		if err == nil {
			err = p.reset(r, account.Reset)
		}
		if err != nil {
			p.refuseAccount(w, r, err, func(status int, problem string) { p.resetOpen(w, r, status, problem) })
			return
		}
		p.setLink(w, "", -1)
		seeOther(w, "/login?done=reset")
		return
	}
	if err == nil {
		err = p.info.Accounts.AskReset(r.Context(), p.asker(r), form.Get("realm"), form.Get("username"))
	}
	if err != nil {
		p.refuseAccount(w, r, err, func(status int, problem string) {
			p.resetAsk(w, r, status, form.Get("realm"), form.Get("username"), problem)
		})
		return
	}
	seeOther(w, "/reset?step="+stepAsked)
}

func (p *Pages) reset(r *http.Request, purpose account.Purpose) error {
	secret, err := newPassword(r.PostForm)
	if err != nil {
		return err
	}
	_, err = p.info.Accounts.SetPassword(r.Context(), p.asker(r), purpose, p.link(r, purpose), secret)
	return err
}

// InvitationForm is the page at GET /invitation.
func (p *Pages) InvitationForm(w http.ResponseWriter, r *http.Request) {
	if !p.arrive(w, r, account.Invite) {
		p.invitation(w, r, http.StatusOK, "")
	}
}

func (p *Pages) invitation(w http.ResponseWriter, r *http.Request, status int, problem string) {
	o, err := p.opened(r, account.Invite)
	if err != nil {
		p.refuseAccount(w, r, err, nil)
		return
	}
	p.account(w, r, status, "invitation", "Welcome", accountData{Username: o.Person.Username, Account: o.Person.DisplayName, Realm: o.Realm, Email: o.Email, Problem: problem})
}

// Invitation takes the form at POST /invitation: the person has a password from then on, and is signed in as far as a
// password goes.
func (p *Pages) Invitation(w http.ResponseWriter, r *http.Request) {
	err := p.info.Sessions.CheckToken(r)
	var secret redact.Secret
	if err == nil {
		secret, err = newPassword(r.PostForm)
	}
	var u identity.User
	if err == nil {
		u, err = p.info.Accounts.SetPassword(r.Context(), p.asker(r), account.Invite, p.link(r, account.Invite), secret)
	}
	if err != nil {
		p.refuseAccount(w, r, err, func(status int, problem string) { p.invitation(w, r, status, problem) })
		return
	}
	p.setLink(w, "", -1)
	if err := p.goOn(w, r, u, []string{mfa.Password}, false, afterLogin); err != nil {
		p.fail(w, r, err)
	}
}

// RegisterForm is the page at GET /register: it asks for an address, or, with a link, for the rest.
func (p *Pages) RegisterForm(w http.ResponseWriter, r *http.Request) {
	if p.arrive(w, r, account.Register) {
		return
	}
	q := r.URL.Query()
	switch q.Get("step") {
	case stepOpen:
		p.registerOpen(w, r, http.StatusOK, accountData{})
	case stepAsked:
		p.account(w, r, http.StatusOK, "register", "Look into your mail", accountData{Step: stepAsked})
	default:
		p.registerAsk(w, r, http.StatusOK, accountData{Realm: q.Get("realm"), Email: q.Get("login_hint"), ReturnTo: returnTo(q.Get("return_to"))})
	}
}

// registerRealms are those where somebody may register.
func (p *Pages) registerRealms(asked string) (canonical string, options []option) {
	if p.info.Accounts == nil {
		return "", nil
	}
	canonical, all := p.realms(asked)
	for _, o := range all {
		if p.info.Accounts.Registers(o.Name) {
			options = append(options, o)
		}
	}
	return canonical, options
}

func (p *Pages) registerAsk(w http.ResponseWriter, r *http.Request, status int, d accountData) {
	if d.Realm == "" {
		if to, err := url.Parse(d.ReturnTo); err == nil {
			d.Realm = to.Query().Get("realm")
		}
	}
	if d.Realm, d.Realms = p.registerRealms(d.Realm); len(d.Realms) == 0 {
		p.notOffered(w, r, "Nobody can register here. Ask whoever runs the service for an invitation.")
		return
	}
	if len(d.Email) > maxTyped {
		d.Email = ""
	}
	d.Step, d.Realms = "", few(d.Realms)
	p.account(w, r, status, "register", "Create an account", d)
}

func (p *Pages) registerOpen(w http.ResponseWriter, r *http.Request, status int, d accountData) {
	o, err := p.opened(r, account.Register)
	if err != nil {
		p.refuseAccount(w, r, err, nil)
		return
	}
	d.Step, d.Realm, d.Email, d.ReturnTo = stepOpen, o.Realm, o.Email, returnTo(o.ReturnTo)
	if d.Attributes = p.askedAttributes(o.Realm); r.Method == http.MethodPost {
		said := typedAttributes(r.PostForm, p.info.Accounts.Asks(o.Realm))
		if judge(d.Attributes, r.PostForm, said) {
			d.Problem = notKept
		}
	}
	p.account(w, r, status, "register", "Create your account", d)
}

// Register takes the forms at POST /register.
func (p *Pages) Register(w http.ResponseWriter, r *http.Request) {
	err := p.info.Sessions.CheckToken(r)
	form := r.PostForm
	if form.Get("step") == stepOpen {
		p.finishRegistration(w, r, err)
		return
	}
	d := accountData{Realm: form.Get("realm"), Email: form.Get("email"), ReturnTo: returnTo(form.Get("return_to"))}
	if err == nil {
		err = p.info.Accounts.AskRegistration(r.Context(), p.asker(r), d.Realm, d.Email, d.ReturnTo)
	}
	if err != nil {
		p.refuseAccount(w, r, err, func(status int, problem string) {
			d.Problem = problem
			p.registerAsk(w, r, status, d)
		})
		return
	}
	seeOther(w, "/register?step="+stepAsked)
}

func (p *Pages) finishRegistration(w http.ResponseWriter, r *http.Request, err error) {
	form := r.PostForm
	n := account.Newcomer{Username: strings.TrimSpace(form.Get("username")), DisplayName: strings.TrimSpace(form.Get("display_name"))}
	if err == nil {
		n.Password, err = newPassword(form)
	}
	if err == nil {
		n.Attributes = func(list []attributes.Attribute) attributes.Values { return typedAttributes(form, list) }
	}
	var u identity.User
	var to string
	if err == nil {
		u, to, err = p.info.Accounts.Register(r.Context(), p.asker(r), p.link(r, account.Register), n)
	}
	if err != nil {
		p.refuseAccount(w, r, err, func(status int, problem string) {
			d := accountData{Problem: problem, Username: n.Username, Name: n.DisplayName}
			if len(n.Username) > maxTyped || len(n.DisplayName) > maxTyped {
				d.Username, d.Name = "", ""
			}
			p.registerOpen(w, r, status, d)
		})
		return
	}
	p.setLink(w, "", -1)
	if err := p.goOn(w, r, u, []string{mfa.Password}, false, to); err != nil {
		p.fail(w, r, err)
	}
}

// ConfirmForm is the page at GET /verify: with a link it asks to confirm the address; without one it sends one to whoever
// is signed in.
func (p *Pages) ConfirmForm(w http.ResponseWriter, r *http.Request) {
	if p.arrive(w, r, account.Verify) {
		return
	}
	p.confirm(w, r, http.StatusOK, r.URL.Query().Get("step"), "")
}

func (p *Pages) confirm(w http.ResponseWriter, r *http.Request, status int, step, problem string) {
	d := accountData{Step: step, Problem: problem}
	switch step {
	case stepOpen:
		o, err := p.opened(r, account.Verify)
		if err != nil {
			p.refuseAccount(w, r, err, nil)
			return
		}
		d.Account, d.Username, d.Realm, d.Email = o.Person.DisplayName, o.Person.Username, o.Realm, o.Email
	case stepDone:
	default:
		s, ok := p.signedIn(w, r)
		if !ok {
			return
		}
		_, person, err := p.held(r, s)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		if step != stepAsked {
			d.Step = ""
		}
		d.Account, d.Username, d.Realm, d.Email = person.DisplayName, person.Username, person.Realm, person.Email
		if d.Email == "" || !p.info.Accounts.Resets() {
			p.notOffered(w, r, "There is no address that a link could be sent to, or this place sends no mail.")
			return
		}
		if !person.EmailVerified.IsZero() {
			d.Step = stepDone
		}
	}
	p.account(w, r, status, "confirm", "Your e-mail address", d)
}

// Confirm takes the forms at POST /verify.
func (p *Pages) Confirm(w http.ResponseWriter, r *http.Request) {
	err := p.info.Sessions.CheckToken(r)
	if r.PostForm.Get("step") == stepOpen {
		if err == nil {
			err = p.info.Accounts.VerifyEmail(r.Context(), p.asker(r), p.link(r, account.Verify))
		}
		if err != nil {
			p.refuseAccount(w, r, err, func(status int, problem string) { p.confirm(w, r, status, stepOpen, problem) })
			return
		}
		p.setLink(w, "", -1)
		seeOther(w, "/verify?step="+stepDone)
		return
	}
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	if err == nil {
		err = p.sendVerification(r, s.User)
	}
	if err != nil {
		p.refuseAccount(w, r, err, func(status int, problem string) { p.confirm(w, r, status, "", problem) })
		return
	}
	seeOther(w, "/verify?step="+stepAsked)
}

func (p *Pages) sendVerification(r *http.Request, u identity.User) error {
	return p.info.DB.Write(r.Context(), func(tx db.WriteTx) error {
		return p.info.Accounts.SendVerification(r.Context(), tx, u.ID)
	})
}

type mailboxData struct {
	frame
	Letters []mail.Kept
}

// At is when a letter came, for people.
func (mailboxData) At(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04:05 UTC") }

// frameSources lets the mailbox frame its letters.
func (mailboxData) frameSources() string { return "'self'" }

// KeptLetter is one letter at GET /mailbox/{id}, as a program for mail shows it, for the frame on the mailbox page: by its
// policy it runs and loads nothing, and its links open in place of the mailbox.
func (p *Pages) KeptLetter(w http.ResponseWriter, r *http.Request) {
	var m mail.Message
	ok := false
	if p.info.Outbox != nil {
		if err := p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
			m, ok, err = p.info.Outbox.Read(r.Context(), tx, r.PathValue("id"))
			return err
		}); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	if !ok {
		p.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'; sandbox allow-top-navigation-by-user-activation")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", m.Language)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, m.HTML) // the browser went away: nobody is left to tell
	}
}

// Mailbox is the page at GET /mailbox: where the configuration says so, and nowhere else, it shows what was sent. Whoever
// sees it can open what the links open.
func (p *Pages) Mailbox(w http.ResponseWriter, r *http.Request) {
	if p.info.Outbox == nil || !p.info.Outbox.Mailbox() {
		p.NotFound(w, r)
		return
	}
	d := mailboxData{frame: p.frame("Mailbox")}
	if err := p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		d.Letters, err = p.info.Outbox.List(r.Context(), tx)
		return err
	}); err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "mailbox", d)
}

// offers tells what the page to sign in may lead to besides.
func (p *Pages) offers(realmName string) (reset, register bool) {
	if p.info.Accounts == nil {
		return false, false
	}
	reset = p.info.Accounts.Resets()
	if r, err := p.info.Directory.Realms().Lookup(realmName); err == nil && r.Kind == realm.People {
		return reset, p.info.Accounts.Registers(r.Name)
	}
	_, options := p.registerRealms("")
	return reset, len(options) > 0
}
