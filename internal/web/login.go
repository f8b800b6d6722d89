package web

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	afterLogin  = "/account"
	maxReturnTo = 16 << 10
	maxTyped    = 400 // of a name that is shown again
)

type option struct {
	Name     string
	Label    string
	Selected bool
}

type loginData struct {
	frame
	CSRF     string
	ReturnTo string
	Client   string // that the login is for, or ""
	Signed   string // who is signed in already, or ""
	Realm    string // that was asked for or chosen, or ""
	Fixed    string // label of the realm if the link asked for it: there is nothing to choose
	Realms   []option
	Username string
	Problem  string
	Step     string     // again or two, or ""
	Done     string     // what was done just before: reset, erased, or ""
	Others   []otherWay // providers of others
	Reset    bool       // whether there are links for who has forgotten, and for who has no account
	Register bool
}

// What /login?step= may ask for besides a login.
const (
	stepAgain = "again" // whoever is signed in is to prove it anew
	stepTwo   = "two"   // with two factors, whatever the account's own policy is
)

// LoginForm is the page at GET /login.
func (p *Pages) LoginForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to := returnTo(q.Get("return_to"))
	d := loginData{ReturnTo: to, Realm: q.Get("realm"), Username: q.Get("login_hint"), Step: q.Get("step"), Done: q.Get("done")}
	if q.Get("acr_values") == "2" { // as the authorization endpoint says it
		d.Step = stepTwo
	}
	if asked, err := url.Parse(to); err == nil {
		if d.Realm == "" {
			d.Realm = asked.Query().Get("realm")
		}
		if d.Username == "" {
			d.Username = asked.Query().Get("login_hint")
		}
	}
	p.login(w, r, http.StatusOK, d, d.Realm != "")
}

// login shows the form. With fixed the realm is not to be chosen, if it exists.
func (p *Pages) login(w http.ResponseWriter, r *http.Request, status int, d loginData, fixed bool) {
	d.frame = p.scripted("Sign in")
	if d.Step != stepAgain && d.Step != stepTwo {
		d.Step = ""
	}
	s, ok, err := p.info.Sessions.Current(r.Context(), r)
	if err == nil && ok {
		d.Signed = s.User.DisplayName
		if d.Step != "" && d.Username == "" {
			d.Username, d.Realm, fixed = s.User.Username, s.User.Realm, true
		}
	}
	d.CSRF = p.info.Sessions.Token(w, r)
	if len(d.Username) > maxTyped {
		d.Username = ""
	}
	to, leads := p.destination(r, d.ReturnTo)
	if leads && d.Realm == "" && to.Realm != "" {
		d.Realm, fixed = to.Realm, true
	}
	d.Realm, d.Realms = p.realms(d.Realm)
	if d.Realm == "" {
		_, d.Realms = p.realms(p.realmOf(r, ""))
	}
	for _, o := range d.Realms {
		if fixed && o.Selected && d.Realm != "" {
			d.Fixed = o.Label
		}
	}
	d.Reset, d.Register = p.offers(d.Realm)
	d.frame, d.Realms = d.of(d.Realm), few(d.Realms)
	if d.Others, err = p.otherWays(r, d); err != nil {
		route.NoteError(r.Context(), "providers", err) // the other ways to sign in are there still
	}
	if !leads {
		p.show(w, r, status, "login", d)
		return
	}
	d.Client = to.ClientName
	p.show(w, r, status, "login", d, to.RedirectURI)
}

func (p *Pages) destination(r *http.Request, address string) (Destination, bool) {
	if p.info.Destination == nil || !strings.HasPrefix(address, "/oauth2/") {
		return Destination{}, false
	}
	return p.info.Destination(r.Context(), address)
}

// realms are the realms of people to choose from, with the one that was asked for selected, and its canonical name, or
// "" if there is no such realm.
func (p *Pages) realms(asked string) (canonical string, options []option) {
	set := p.info.Directory.Realms()
	selected := realm.Employees
	if r, err := set.Lookup(asked); err == nil && r.Kind == realm.People {
		canonical, selected = r.Name, r.Name
	}
	for _, name := range set.Names() {
		if r, err := set.Lookup(name); err == nil && r.Kind == realm.People {
			options = append(options, option{name, strings.ToUpper(name[:1]) + strings.ReplaceAll(name[1:], "-", " "), name == selected})
		}
	}
	return canonical, options
}

// manyRealms is more than a person should have to look through, or to know of.
const manyRealms = 12

// few are the options if there are few; else the name is typed.
func few(options []option) []option {
	if len(options) > manyRealms {
		return nil
	}
	return options
}

// Login takes the form at POST /login.
func (p *Pages) Login(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	err := p.info.Sessions.CheckToken(r)
	form := r.PostForm
	d := loginData{ReturnTo: returnTo(form.Get("return_to")), Realm: form.Get("realm"), Username: form.Get("username"), Step: form.Get("step")}
	if err == nil {
		var u identity.User
		u, err = p.info.Directory.VerifyPersonPassword(ctx, d.Realm, d.Username, redact.New(form.Get("password")), p.origin(r))
		if err == nil {
			if err = p.goOn(w, r, u, []string{mfa.Password}, d.Step == stepTwo, d.ReturnTo); err == nil {
				return
			}
		}
	}
	p.refuseLogin(w, r, d, err)
}

// origin is where a request comes from, for what counts tries.
func (p *Pages) origin(r *http.Request) identity.Origin {
	device, _ := p.info.Sessions.Device(r)
	return identity.Origin{IP: route.ClientIP(r.Context()), RequestID: route.RequestID(r.Context()), Agent: route.UserAgent(r.Context()), Device: device}
}

// refuseLogin shows the form again, and why.
func (p *Pages) refuseLogin(w http.ResponseWriter, r *http.Request, d loginData, err error) {
	f := fault.Of(err)
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, session.ErrForm):
		status, d.Problem = http.StatusForbidden, "This page was open for too long, or cookies are switched off. Please try again."
	case f.Kind == fault.Unauthenticated:
		// Unknown, wrong, disabled: one answer (docs/adr/0010-nobody-is-told-that-an-account-is-blocked.md).
		status, d.Problem = http.StatusUnauthorized, "The name or the password is not right, or the account is blocked. Check the realm, too. After very many wrong passwords only a passkey helps, or a new password. If you are sure of both, ask whoever runs this service."
		w.Header().Set("WWW-Authenticate", `Form realm="mintmark"`)
	case f.Kind == fault.Limited:
		status, d.Problem = http.StatusTooManyRequests, fill("There were too many wrong passwords. Wait {0}, then try again.", wait(f.RetryAfter))
	case f.Code == "directory_unavailable":
		status, d.Problem = http.StatusServiceUnavailable, "The directory of your organisation cannot be asked just now, so nobody knows whether your password is right. Nothing was counted against you. Please try again later."
	case f.Kind == fault.Unavailable:
		status, d.Problem = http.StatusServiceUnavailable, "Signing in does not work just now. Please try again in a moment."
	case errors.Is(err, account.ErrUnverified):
		status, d.Problem = http.StatusForbidden, told(f)
	case errors.Is(err, mfa.ErrSecondFactor):
		status, d.Problem = http.StatusForbidden, "Your account has changed in this moment. Please sign in again."
	case f.Code == "passkey_refused", f.Code == "passkey_copied":
		status, d.Problem = http.StatusBadRequest, told(f)
	case f.Kind == fault.TooLarge, f.Kind == fault.Invalid:
		p.Error(w, r, http.StatusBadRequest, "malformed_form", "The form could not be read.")
		return
	default:
		p.fail(w, r, err)
		return
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(f.RetryAfter)))
	}
	route.NoteError(r.Context(), f.Code, f.Err)
	p.login(w, r, status, d, r.PostForm.Get("fixed") != "")
}

func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }

func wait(d time.Duration) string {
	if n := seconds(d); n != 1 {
		return fill("{0} seconds", strconv.Itoa(n))
	}
	return words("a second")
}

// returnTo is where to go after a login: a path of ours that expects somebody who just signed in, or the account. What a
// stranger put into a link leads nowhere else.
func returnTo(address string) string {
	if len(address) > maxReturnTo || !strings.HasPrefix(address, "/") || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return afterLogin
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || u.Fragment != "" || u.RawPath != "" || path.Clean(u.Path) != u.Path {
		return afterLogin
	}
	for _, ours := range []string{"/oauth2/authorize", "/account", "/device", "/verify"} {
		if u.Path == ours || strings.HasPrefix(u.Path, ours+"/") {
			return address
		}
	}
	if u.Path == "/" {
		return address
	}
	return afterLogin
}
