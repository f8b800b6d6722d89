package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/federation/federationtest"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/identity/transfer"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
	"github.com/mintmark/mintmark/internal/web"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
)

const (
	janes = "a walk in the rain at night"
	wrong = "seven small boats on a lake"
	evil  = `"><img src=x onerror=alert(1)><script>alert(2)</script>`
)

// site is the pages behind a mux, as app serves them, with what the tests ask for besides.
type site struct {
	frames   []string // of clients that hear of a logout
	frameErr error
	leaving  web.LogoutView
	goodbye  web.GoodbyeView
	t        testing.TB
	d        *db.DB
	keyring  *seal.Keyring
	clock    *clock.Fake
	dir      *identity.Directory
	pages    *web.Pages
	mux      *route.Mux

	sessions *session.Manager
	org      *federationtest.Provider // that people may have accounts with
	upstream *federation.Service
	factors  *mfa.Service
	accounts *account.Service
	outbox   *mail.Outbox
	refused  chan string   // what OnRefused was told
	caller   access.Caller // of the API

	consent web.ConsentView // what GET /consent shows
	failure string          // what GET /fails says
}

func newSite(t testing.TB, engine db.Engine) *site {
	t.Helper()
	c := clock.NewFake(start)
	d := dbtest.Open(t, engine, c)
	return newSiteOn(t, d, sealtest.New(t, d), c, nil)
}

// newSiteLooking is newSite with looks.
func newSiteLooking(t testing.TB, engine db.Engine, looks *look.Set) *site {
	t.Helper()
	c := clock.NewFake(start)
	d := dbtest.Open(t, engine, c)
	return newSiteOn(t, d, sealtest.New(t, d), c, looks)
}

// twoSites are two nodes on one database.
func twoSites(t *testing.T, f func(t *testing.T, sites []*site)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c, address := clock.NewFake(start), dbtest.URL(t, engine)
			d := dbtest.OpenURL(t, address, c)
			k := sealtest.New(t, d)
			f(t, []*site{newSiteOn(t, d, k, c, nil), newSiteOn(t, dbtest.OpenURL(t, address, c), k, c, nil)})
		})
	}
}

func newSiteOn(t testing.TB, d *db.DB, k *seal.Keyring, c *clock.Fake, looks *look.Set, keeps ...map[string][]attributes.Attribute) *site {
	t.Helper()
	s := &site{t: t, d: d, keyring: k, clock: c, refused: make(chan string, 1000)}
	var err error
	s.dir, err = identity.New(s.d, k, identity.Options{Clock: s.clock, Passwords: password.NewPool(password.Options{Params: password.Params{Memory: 64, Time: 1, Threads: 1}})})
	if err != nil {
		t.Fatal(err)
	}
	s.factors, err = mfa.New(s.d, k, s.dir, mfa.Options{Issuer: "https://mint.example.org", Required: []string{"customers"}, Clock: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	s.factors.OnRefused(func(_ access.Caller, op string, err error) { s.refused <- op + " " + fault.Code(err) })
	declared := map[string][]attributes.Attribute{}
	for _, k := range keeps {
		declared = k
	}
	personal := attributes.New(declared)
	s.outbox = mail.NewOutbox(s.d, k, mail.Options{Mailbox: true, Domain: "mint.example.org"})
	s.accounts = account.New(s.d, k, s.dir, s.outbox, account.Options{Issuer: "https://mint.example.org", Policies: map[string]account.Policy{
		"employees": {Registration: account.Domains, Domains: []string{"example.org"}, VerifyEmail: true}, "customers": {Registration: account.Open},
	}, Attributes: personal})
	s.factors.OnFactorsChanged(s.accounts.FactorsChanged)
	sessions, err := session.New(s.d, k, s.dir, session.Options{Secure: true, Origin: "https://mint.example.org", Clock: s.clock, Admit: func(ctx context.Context, tx db.ReadTx, u identity.User, amr []string) error {
		if err := s.factors.Admit(ctx, tx, u, amr); err != nil {
			return err
		}
		return s.accounts.Admit(ctx, tx, u)
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.sessions = sessions
	s.org = federationtest.New("https://login.example.org", c)
	s.upstream = federation.New(s.d, k, s.dir, federation.Options{Issuer: "https://mint.example.org", Outbound: s.org, Sessions: sessions, Clock: c})
	s.factors.OtherWay(federation.Linked)
	moves := transfer.New(s.d, s.dir, groups.New(s.dir.Realms()), personal, transfer.Options{SelfErase: []string{"employees"}, Farewell: s.accounts.Farewell})
	s.dir.OnPersonRemoved(groups.Forget)
	s.pages, err = web.New(web.Info{
		Version: "test", Node: "nod_1", Engine: "SQLite, embedded", Issuer: "https://mint.example.org", Operations: "127.0.0.1:9090",
		Started: start.Add(-time.Hour), Clock: s.clock, Ready: func() error { return nil }, Looks: looks, Directory: s.dir, DB: s.d, Sessions: sessions, Factors: s.factors, Accounts: s.accounts, Attributes: personal, Transfer: moves, Outbox: s.outbox, Upstream: s.upstream,
		LogoutFrames: func(_ context.Context, sessionID string) ([]string, error) { return s.frames, s.frameErr },
		Destination: func(_ context.Context, address string) (web.Destination, bool) {
			if strings.Contains(address, "client_id=shop") {
				to := web.Destination{ClientName: "The shop " + evil, RedirectURI: "https://shop.example.org/cb?x=1"}
				if strings.Contains(address, "only=customers") {
					to.Realm = "customers"
				}
				return to, true
			}
			return web.Destination{}, false
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.mux = route.New(route.Options{Clock: s.clock, DB: s.d, HTTPS: true, Authenticate: func(*http.Request) (access.Caller, error) { return s.caller, nil }})
	s.mux.Handle("GET /{$}", s.pages.Home)
	s.mux.Handle("GET /login", s.pages.LoginForm)
	s.mux.Handle("POST /login", s.pages.Login)
	s.mux.Handle("GET /logout", s.pages.LogoutForm)
	s.mux.Handle("POST /logout", s.pages.Logout)
	s.mux.Handle("GET /account", s.pages.Account)
	s.pages.SecurityRoutes(s.mux)
	s.pages.AccountRoutes(s.mux)
	s.pages.LookRoutes(s.mux)
	s.pages.UpstreamRoutes(s.mux)
	s.factors.Routes(s.mux)
	s.accounts.Routes(s.mux)
	s.mux.Handle("GET "+s.pages.StylePath(), s.pages.Style)
	s.mux.Handle("GET "+s.pages.IconPath(), s.pages.Icon)
	s.mux.Handle("GET /missing", s.pages.NotFound)
	s.mux.Handle("GET /consent", func(w http.ResponseWriter, r *http.Request) { s.pages.Consent(w, r, s.consent) })
	s.mux.Handle("GET /oauth2/logout", func(w http.ResponseWriter, r *http.Request) { s.pages.AskLogout(w, r, s.leaving) })
	s.mux.Handle("GET /goodbye", func(w http.ResponseWriter, r *http.Request) { s.pages.Goodbye(w, r, s.goodbye) })
	s.mux.Handle("GET /fails", func(w http.ResponseWriter, r *http.Request) { s.pages.Error(w, r, 400, "invalid_request", s.failure) })
	return s
}

func onBoth(t *testing.T, f func(t *testing.T, s *site)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newSite(t, engine)) })
	}
}

func (s *site) person(name, display string) (u identity.User) {
	s.t.Helper()
	s.write(func(tx db.WriteTx) (err error) {
		u, err = s.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: name, DisplayName: display}, redact.New(janes))
		return err
	})
	return u
}

func (s *site) write(f func(tx db.WriteTx) error) {
	s.t.Helper()
	if err := s.d.Write(ctx, f); err != nil {
		s.t.Fatal(err)
	}
}

// browser keeps cookies.
type browser struct {
	s       *site
	cookies map[string]string
}

func (s *site) browser() *browser { return &browser{s, map[string]string{}} }

type answer struct {
	*httptest.ResponseRecorder
	body string
}

func (b *browser) do(method, target string, form url.Values, headers ...string) answer {
	b.s.t.Helper()
	var body *strings.Reader = strings.NewReader("")
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, "https://mint.example.org"+target, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.s.mux.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return answer{w, w.Body.String()}
}

func (b *browser) get(target string) answer { b.s.t.Helper(); return b.do("GET", target, nil) }

// scriptPolicy ends the policy of the pages that run a script.
const (
	scriptPolicy  = "; script-src 'self'; connect-src 'self'"
	comfortPolicy = "; script-src 'self'"
)

var scriptTag = regexp.MustCompile(`<script src="/static/(passkey|comfort)-[0-9a-f]{12}\.js" defer></script>`)

// plain is the page without the two scripts that pages may have, on which the policy must agree.
func (a answer) plain() string {
	policy := a.Header().Get("Content-Security-Policy")
	if strings.HasSuffix(policy, scriptPolicy) || strings.HasSuffix(policy, comfortPolicy) {
		return scriptTag.ReplaceAllString(a.body, "")
	}
	return a.body
}

var tokenField = regexp.MustCompile(`name="csrf" value="([A-Za-z0-9_-]+)"`)

func (a answer) token(t testing.TB) string {
	t.Helper()
	m := tokenField.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no token in the page (%d):\n%s", a.Code, a.body)
	}
	return m[1]
}

// signIn opens the page and sends its form.
func (b *browser) signIn(target, name, secret string) answer {
	b.s.t.Helper()
	page := b.get(target)
	form := url.Values{"csrf": {page.token(b.s.t)}, "realm": {"employees"}, "username": {name}, "password": {secret}}
	if m := regexp.MustCompile(`name="return_to" value="([^"]*)"`).FindStringSubmatch(page.body); m != nil {
		form.Set("return_to", strings.NewReplacer("&amp;", "&", "&#43;", "+").Replace(m[1]))
	}
	return b.do("POST", "/login", form)
}

func TestSignInAndOut(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane, b := s.person("jane", "Jane Doe"), s.browser()
		if a := b.get("/account"); a.Code != 303 || a.Header().Get("Location") != "/login?return_to=%2Faccount" {
			t.Errorf("account of nobody: %d to %s", a.Code, a.Header().Get("Location"))
		}
		for _, id := range []string{`id="username"`, `id="password"`, `id="login-submit"`, `id="realm"`, `value="customers"`, `value="employees" selected`} {
			if a := b.get("/login"); a.Code != 200 || !strings.Contains(a.body, id) {
				t.Errorf("the login page lacks %s:\n%s", id, a.body)
			}
		}
		if a := b.signIn("/login?return_to=/account", "Jane", janes); a.Code != 303 || a.Header().Get("Location") != "/account" || a.body != "" {
			t.Fatalf("login: %d to %s\n%s", a.Code, a.Header().Get("Location"), a.body)
		}
		a := b.get("/account")
		for _, want := range []string{"Jane Doe", `<bdi>jane</bdi>`, "employees", jane.ID, "22 November 2026, 12:00 UTC", "with password", `id="logout-confirm"`} {
			if a.Code != 200 || !strings.Contains(a.body, want) {
				t.Errorf("the account lacks %q (%d):\n%s", want, a.Code, a.body)
			}
		}
		// A link or picture of a stranger ends nothing.
		a = b.get("/logout")
		if a.Code != 200 || !strings.Contains(a.body, `id="logout-confirm"`) || b.get("/account").Code != 200 {
			t.Fatalf("logout page: %d\n%s", a.Code, a.body)
		}
		if a := b.do("POST", "/logout", url.Values{}); a.Code != 403 || !strings.Contains(a.body, `id="error-code">form_not_ours<`) || b.get("/account").Code != 200 {
			t.Errorf("logout without a token: %d\n%s", a.Code, a.body)
		}
		a = b.do("POST", "/logout", url.Values{"csrf": {a.token(t)}})
		if a.Code != 303 || a.Header().Get("Location") != "/logout" || a.Header().Get("Clear-Site-Data") == "" {
			t.Fatalf("logout: %d to %s", a.Code, a.Header().Get("Location"))
		}
		if a := b.get("/logout"); a.Code != 200 || !strings.Contains(a.body, "You are signed out") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		if a := b.get("/account"); a.Code != 303 {
			t.Errorf("still signed in: %d", a.Code)
		}
	})
}

// neutral takes out of an answer what may differ: the token, and what was typed.
func (a answer) neutral(typed string) string {
	body := tokenField.ReplaceAllString(a.body, "")
	if typed != "" {
		body = strings.ReplaceAll(body, `value="`+typed+`"`, "")
	}
	header := a.Header().Clone()
	if requestID := header.Get("X-Request-Id"); requestID != "" {
		body = strings.ReplaceAll(body, requestID, "")
	}
	header.Del("X-Request-Id")
	var names []string
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	out := strconv.Itoa(a.Code) + "\n"
	for _, name := range names {
		out += name + ": " + strings.Join(header[name], ",") + "\n"
	}
	return out + body
}

// The page says the same to everybody who may not come in: status, headers, cookies, words.
func TestRefusedLoginsLookAlike(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		carol := s.person("carol", "")
		s.write(func(tx db.WriteTx) error { return s.dir.DisablePerson(ctx, tx, admin, carol.ID) })
		var first string
		for _, c := range []struct{ name, secret string }{{"nobody", wrong}, {"jane", wrong}, {"carol", janes}, {"carol", wrong}} {
			b := s.browser()
			a := b.signIn("/login", c.name, c.secret)
			if a.Code != 401 || !strings.Contains(a.body, `id="login-problem"`) || strings.Contains(a.body, c.secret) || b.cookies["__Host-mintmark-session"] != "" {
				t.Errorf("%s: %d\n%s", c.name, a.Code, a.body)
			}
			if got := a.neutral(c.name); first == "" {
				first = got
			} else if got != first {
				t.Errorf("%s:\n%s\nnot\n%s", c.name, got, first)
			}
		}
		// So is the delay.
		first = ""
		for _, name := range []string{"nobody", "jane", "carol"} {
			b := s.browser()
			var a answer
			for range identity.FreeTries + 1 {
				a = b.signIn("/login", name, wrong)
			}
			if a.Code != 429 || a.Header().Get("Retry-After") != "1" || !strings.Contains(a.body, "Wait a second") {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
			if got := a.neutral(name); first == "" {
				first = got
			} else if got != first {
				t.Errorf("%s:\n%s\nnot\n%s", name, got, first)
			}
		}
	})
}

// A login that did not begin on our page in this browser begins no session.
func TestLoginOfStrangers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		eves := s.browser().get("/login").token(t)
		for name, c := range map[string]struct {
			token   string
			headers []string
		}{
			"no token":       {"", nil},
			"eve's token":    {eves, nil},
			"junk":           {"AAAAAAAA", nil},
			"another site":   {"own", []string{"Sec-Fetch-Site", "cross-site"}},
			"another origin": {"own", []string{"Origin", "https://evil.example.org"}},
		} {
			b := s.browser()
			own := b.get("/login").token(t)
			token := c.token
			if token == "own" {
				token = own
			}
			a := b.do("POST", "/login", url.Values{"csrf": {token}, "realm": {"employees"}, "username": {"jane"}, "password": {janes}}, c.headers...)
			if a.Code != 403 || b.cookies["__Host-mintmark-session"] != "" {
				t.Errorf("%s: %d, cookies %v", name, a.Code, b.cookies)
			}
			// The page that says so can be used at once.
			a = b.do("POST", "/login", url.Values{"csrf": {a.token(t)}, "realm": {"employees"}, "username": {"jane"}, "password": {janes}})
			if a.Code != 303 {
				t.Errorf("%s, then right: %d", name, a.Code)
			}
		}
	})
}

// A login leads nowhere but to this server.
func TestLoginLeadsNowhereElse(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		good := map[string]string{
			"/account": "/account", "/": "/", "/account/sessions?x=1": "/account/sessions?x=1",
			"/oauth2/authorize?client_id=a&state=x%2By&redirect_uri=https%3A%2F%2Fshop.example.org%2Fcb": "",
			"": "/account",
		}
		for _, bad := range []string{
			"//evil.example.org", "///evil.example.org", `/\evil.example.org`, `\\evil.example.org`, "https:evil.example.org", "https://evil.example.org/account",
			"%2f%2fevil.example.org", "/%2f%2fevil.example.org", "\t//evil.example.org", "/\t/evil.example.org", "/\n/evil.example.org", "data:text/html,x", "javascript:alert(1)",
			"/account/../../evil", "/account/..//evil.example.org", "/account//evil.example.org", "/oauth2/authorize/../revoke", "/logout", "/api/users", "/login?return_to=//evil", "account",
			"/accountant", "/oauth2/authorizer", "/account#//evil", "/account\x00", "http:/account", "/" + strings.Repeat("x", 20_000), "/account?" + strings.Repeat("x", 20_000), "@evil.example.org", "/@evil.example.org",
		} {
			good[bad] = "/account"
		}
		for asked, want := range good {
			if want == "" {
				want = asked
			}
			target := "/login?return_to=" + url.QueryEscape(asked)
			if strings.Contains(asked, "\x00") { // no address of ours may hold one
				if a := s.browser().get(target); a.Code != 400 {
					t.Errorf("%q: %d", asked, a.Code)
				}
				target = "/login"
			}
			a := s.browser().signIn(target, "jane", janes)
			if a.Code != 303 || a.Header().Get("Location") != want {
				t.Errorf("%.60q: %d to %.60q", asked, a.Code, a.Header().Get("Location"))
			}
			// And when it stands in the form itself.
			b := s.browser()
			form := url.Values{"csrf": {b.get("/login").token(t)}, "realm": {"employees"}, "username": {"jane"}, "password": {janes}, "return_to": {asked}}
			if a := b.do("POST", "/login", form); strings.Contains(asked, "\x00") { // nor any form
				if a.Code != 400 || a.Header().Get("Location") != "" {
					t.Errorf("%q in the form: %d", asked, a.Code)
				}
			} else if a.Code != 303 || a.Header().Get("Location") != want {
				t.Errorf("%.60q in the form: %d to %.60q", asked, a.Code, a.Header().Get("Location"))
			}
		}
	})
}

// Whatever stands in names, hints and texts is text.
func TestNothingBecomesMarkup(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		u := s.person("eve", evil)
		s.consent = web.ConsentView{ClientName: evil, Team: evil, RedirectURI: "https://shop.example.org/" + evil, User: u, Scopes: []web.ConsentScope{{Name: evil, Text: evil}, {Name: "work", Text: "See what is kept of you as {0}.", Of: map[string]string{"": evil, "de": evil}}}, Flow: evil, Action: "/x?" + evil}
		s.failure = evil
		b := s.browser()
		pages := map[string]answer{
			"hint":         b.get("/login?login_hint=" + url.QueryEscape(evil)),
			"realm":        b.get("/login?realm=" + url.QueryEscape(evil)),
			"return":       b.get("/login?return_to=" + url.QueryEscape("/oauth2/authorize?client_id=shop&login_hint="+url.QueryEscape(evil))),
			"typed":        b.signIn("/login", evil, wrong),
			"other":        b.get("/login?error=" + url.QueryEscape(evil)),
			"error":        b.get("/fails"),
			"consent":      b.get("/consent"),
			"address":      b.get("/missing?x=" + url.QueryEscape(evil)),
			"signed in as": func() answer { b.signIn("/login", "eve", janes); return b.get("/login") }(),
			"account":      b.get("/account"),
			"logout":       b.get("/logout"),
		}
		for name, a := range pages {
			if strings.Contains(a.body, "<img") || strings.Contains(a.plain(), "<script") || !strings.Contains(a.body, "</html>") {
				t.Errorf("%s (%d):\n%s", name, a.Code, a.body)
			}
			if csp := strings.TrimSuffix(strings.TrimSuffix(a.Header().Get("Content-Security-Policy"), scriptPolicy), comfortPolicy); strings.Contains(csp, "alert") || strings.Contains(csp, "script-src") {
				t.Errorf("%s: policy %s", name, a.Header().Get("Content-Security-Policy"))
			}
		}
		for _, name := range []string{"hint", "typed", "error", "consent", "account", "logout", "return"} {
			if !strings.Contains(pages[name].body, "&lt;img") {
				t.Errorf("%s does not show it:\n%s", name, pages[name].body)
			}
		}
	})
}

// A browser with nonsense in its cookies is one that is not signed in.
func TestNonsenseInCookies(t *testing.T) {
	s := newSite(t, db.SQLite)
	for _, value := range []string{"x", strings.Repeat("a", 10_000), "mms_" + strings.Repeat("0", 26) + "_" + strings.Repeat("A", 43)} {
		b := s.browser()
		b.cookies["__Host-mintmark-session"], b.cookies["__Host-mintmark-visitor"] = value, value
		if a := b.get("/account"); a.Code != 303 {
			t.Errorf("%.40s: %d", value, a.Code)
		}
		b.get("/login")
		if !strings.HasPrefix(b.cookies["__Host-mintmark-visitor"], "mmv_") {
			t.Errorf("the visitor's cookie stays %q", fmt.Sprintf("%.40s", b.cookies["__Host-mintmark-visitor"]))
		}
	}
}

// A realm that was asked for is not asked for again.
func TestRealmOfTheLogin(t *testing.T) {
	s := newSite(t, db.SQLite)
	b := s.browser()
	for target, want := range map[string]string{
		"/login?realm=/customers": `<input type="hidden" id="realm" name="realm" value="customers"><input type="hidden" name="fixed"`,
		"/login?realm=services":   `<select id="realm"`,
		"/login?realm=nowhere":    `<select id="realm"`,
		"/login?return_to=" + url.QueryEscape("/oauth2/authorize?realm=employees&login_hint=jane"): `value="employees">`,
	} {
		if a := b.get(target); !strings.Contains(a.body, want) {
			t.Errorf("%s lacks %s:\n%s", target, want, a.body)
		}
	}
	// After a refusal what was chosen can be chosen again, and what was given stays given.
	for fixed, want := range map[string]string{"": `<option value="customers" selected>`, "1": `id="realm" name="realm" value="customers"`} {
		form := url.Values{"csrf": {b.get("/login").token(t)}, "realm": {"customers"}, "fixed": {fixed}, "username": {"jane"}, "password": {wrong}}
		if a := b.do("POST", "/login", form); a.Code != 401 || !strings.Contains(a.body, want) {
			t.Errorf("refused with fixed=%q (%d) lacks %s:\n%s", fixed, a.Code, want, a.body)
		}
	}
}

// What the pages load is there, may be kept for ever, and is called by its content.
func TestWhatPagesLoad(t *testing.T) {
	s := newSite(t, db.SQLite)
	b := s.browser()
	found := regexp.MustCompile(`href="(/static/[a-z]+-[0-9a-f]{12}\.(css|svg))"`).FindAllStringSubmatch(b.get("/login").body, -1)
	if len(found) != 2 {
		t.Fatalf("the page loads %q", found)
	}
	for _, f := range found {
		a := b.get(f[1])
		if a.Code != 200 || a.body == "" || !strings.Contains(a.Header().Get("Cache-Control"), "immutable") || !strings.Contains(a.Header().Get("Content-Type"), f[2]) {
			t.Errorf("%s: %d, %v", f[1], a.Code, a.Header())
		}
	}
}
