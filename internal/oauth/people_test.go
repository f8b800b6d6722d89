package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// folk is a whole world with people in it: real sessions, and pages that keep what they were told to show. It has three
// clients with the redirect URI https://shop.example.org/cb: shop, which always gets refresh tokens, other, which gets
// them with offline_access, and tool, which is public and has a loopback address besides.
type folk struct {
	*whole
	sessions *session.Manager
	pages    *fakePages
	patched  *patched
	alice    identity.User
	bob      identity.User
	shop     pair
	other    pair
	tool     pair
}

type fakePages struct {
	sessions *session.Manager

	mu      sync.Mutex // the fields below are read when nothing is asked any more
	status  int        // of the last error
	code    string
	consent *oauth.ConsentView
	choice  *oauth.SelectView
	csrf    string
	device  *oauth.DeviceView
	logout  *oauth.LogoutView
	goodbye *oauth.GoodbyeView
}

func (p *fakePages) Device(w http.ResponseWriter, r *http.Request, v oauth.DeviceView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.device, p.csrf = &v, p.sessions.Token(w, r)
	w.Header().Set("Content-Type", "text/html")
	if v.Wait > 0 {
		w.WriteHeader(http.StatusTooManyRequests)
	} else if v.Wrong {
		w.WriteHeader(http.StatusBadRequest)
	}
}

func (p *fakePages) Select(w http.ResponseWriter, r *http.Request, v oauth.SelectView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.choice, p.csrf = &v, p.sessions.Token(w, r)
	w.Header().Set("Content-Type", "text/html")
}

func (p *fakePages) Logout(w http.ResponseWriter, r *http.Request, v oauth.LogoutView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.logout, p.csrf = &v, p.sessions.Token(w, r)
	w.Header().Set("Content-Type", "text/html")
}

func (p *fakePages) Goodbye(w http.ResponseWriter, _ *http.Request, v oauth.GoodbyeView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goodbye = &v
	w.Header().Set("Content-Type", "text/html")
}

func (p *fakePages) Error(w http.ResponseWriter, _ *http.Request, status int, code, _ string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.code = status, code
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
}

func (p *fakePages) Consent(w http.ResponseWriter, r *http.Request, v oauth.ConsentView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.consent, p.csrf = &v, p.sessions.Token(w, r)
	w.Header().Set("Content-Type", "text/html")
}

// fakePeople reads people from the database, and gives them an address.
type fakePeople struct{ d *db.DB }

func (f fakePeople) Person(ctx context.Context, userID string) (p oauth.Person, err error) {
	err = f.d.Read(ctx, func(tx db.ReadTx) error {
		u, err := identity.LoadUser(ctx, tx, userID)
		p = oauth.Person{ID: u.ID, Realm: u.Realm, Username: u.Username, Name: u.DisplayName, Email: u.Username + "@example.org", Phone: "+41 31 555 01 01", Address: "Bundesplatz 3\n3005 Bern", Enabled: u.Disabled.IsZero()}
		return err
	})
	return p, err
}

// fakeCatalog knows sales_order.read, which customers own, and hr.read, which employees own.
type fakeCatalog struct{}

func (fakeCatalog) Describe(_ context.Context, _ db.ReadTx, scope string) (oauth.ScopeText, error) {
	switch scope {
	case "sales_order.read":
		return oauth.ScopeText{Name: scope, Text: "Read your orders", Realms: []string{"customers"}}, nil
	case "hr.read":
		return oauth.ScopeText{Name: scope, Text: "Read your file", Realms: []string{"employees"}}, nil
	}
	return oauth.ScopeText{}, fault.New(fault.NotFound, "scope_not_found", "no")
}

const shopBack = "https://shop.example.org/cb"

// patched are clients of which a test says more than their teams did.
type patched struct {
	oauth.Clients
	mu     sync.Mutex
	change map[string]func(*oauth.Client) // by id; owned by mu
}

func (p *patched) patch(c oauth.Client) oauth.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	if change := p.change[c.ID]; change != nil {
		change(&c)
	}
	return c
}

func (p *patched) Client(ctx context.Context, id string) (oauth.Client, error) {
	c, err := p.Clients.Client(ctx, id)
	return p.patch(c), err
}

func (p *patched) AuthenticateClient(ctx context.Context, id string, secret redact.Secret) (oauth.Client, int64, error) {
	c, version, err := p.Clients.AuthenticateClient(ctx, id, secret)
	return p.patch(c), version, err
}

// say changes what is known of a client.
func (w *folk) say(client pair, change func(c *oauth.Client)) {
	w.patched.mu.Lock()
	defer w.patched.mu.Unlock()
	w.patched.change[client.ClientID] = change
}

func newFolk(t testing.TB, engine db.Engine, more ...func(*oauth.Options)) *folk {
	t.Helper()
	w := &folk{pages: &fakePages{}}
	w.whole = newWhole(t, engine, func(base *whole, o *oauth.Options) {
		var err error
		if w.sessions, err = session.New(o.DB, base.keyring, base.identity, session.Options{Secure: true, Origin: issuer, Clock: o.Clock}); err != nil {
			t.Fatal(err)
		}
		w.pages.sessions = w.sessions
		w.patched = &patched{Clients: o.Clients, change: map[string]func(*oauth.Client){}}
		o.Clients = w.patched
		o.People = &oauth.PeopleOptions{Keyring: base.keyring, Sessions: w.sessions, People: fakePeople{o.DB}, Catalog: fakeCatalog{}, Pages: w.pages}
		for _, f := range more {
			f(o)
		}
	})
	w.identity.OnPersonDisabled(func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return w.server.PersonDisabled(ctx, tx, u.ID)
	})
	w.identity.OnPasswordChanged(func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return w.server.PasswordChanged(ctx, tx, u.ID)
	})
	w.registry.OnApplicationChanged(w.server.ApplicationChanged)
	w.write(func(ctx context.Context, tx db.WriteTx) (err error) {
		if w.alice, err = w.identity.CreatePerson(ctx, tx, system, identity.NewPerson{Realm: "customers", Username: "alice", DisplayName: "Alice"}, redact.Secret{}); err != nil {
			return err
		}
		if w.bob, err = w.identity.CreatePerson(ctx, tx, system, identity.NewPerson{Realm: "employees", Username: "bob", DisplayName: "Bob"}, redact.Secret{}); err != nil {
			return err
		}
		team, active, open := "shop", true, false
		for app, change := range map[string]registry.Change{"shop": {}, "second": {}, "tool": {Confidential: &open}} {
			change.Team, change.Name, change.Active = &team, &app, &active
			if _, err := w.registry.PutApplication(ctx, tx, system, app, change, anyRevision); err != nil {
				return err
			}
		}
		return nil
	})
	w.settings("shop", registry.RefreshAlways)
	w.settings("second", registry.RefreshOffline)
	w.settings("tool", registry.RefreshOffline, "http://127.0.0.1/cb")
	w.shop, w.other, w.tool = w.mint("shop", 1), w.mint("second", 1), w.mint("tool", 1)
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		for _, client := range []string{w.shop.ClientID, w.tool.ClientID} {
			for _, scope := range []string{"sales_order.read", "hr.read"} {
				if _, err := tx.Exec(ctx, `INSERT INTO client_scopes (client_id, scope, declared_by, declared) VALUES ($1, $2, 'test', 1)`, client, scope); err != nil {
					return err
				}
			}
			if err := tx.Changed(ctx, "client", client); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO application_scopes (application, scope, granted_by, granted) VALUES ('shop', 'sales_order.read_all', 'test', 1)`)
		return err
	})
	return w
}

func anyRevision(int64) error { return nil }

// settings lets an application's client sign people in.
func (w *folk) settings(app string, refresh registry.RefreshTokens, more ...string) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		s := registry.Settings{PostLogoutRedirectURIs: []string{"https://shop.example.org/bye"}, RedirectURIs: append([]string{shopBack}, more...), GrantTypes: []string{"authorization_code"}, RefreshTokens: refresh}
		_, _, err := w.registry.PutSettings(ctx, tx, system, app, s, anyRevision)
		return err
	})
}

// folks runs f in a world with people on each engine.
func folks(t *testing.T, f func(t *testing.T, w *folk)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newFolk(t, engine)) })
	}
}

// A browser keeps cookies and follows nothing.
type browser struct {
	w       *folk
	cookies map[string]string
	amr     []string // how it signs in; nil: by password
}

func (w *folk) browser() *browser { return &browser{w: w, cookies: map[string]string{}} }

func (b *browser) with(r *http.Request) {
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
}

func (b *browser) keep(h http.Header) {
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
}

func (b *browser) get(target string) reply {
	b.w.t.Helper()
	r := b.w.send("GET", target, "", b.with)
	b.keep(r.header)
	return r
}

func (b *browser) post(target string, form url.Values) reply {
	b.w.t.Helper()
	r := b.w.send("POST", target, form.Encode(), b.with)
	b.keep(r.header)
	return r
}

// login signs the user in, as the page does.
func (b *browser) login(u identity.User) *browser {
	b.w.t.Helper()
	rec, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/login", nil)
	b.with(r)
	amr := b.amr
	if amr == nil {
		amr = []string{"pwd"}
	}
	if _, err := b.w.sessions.Begin(b.w.t.Context(), rec, r, u, amr); err != nil {
		b.w.t.Fatal(err)
	}
	b.keep(rec.Header())
	return b
}

// asked is a request of the browser.
func (b *browser) asked() *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	b.with(r)
	return r
}

func (b *browser) logout() {
	b.w.t.Helper()
	rec, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/logout", nil)
	b.with(r)
	if err := b.w.sessions.End(b.w.t.Context(), rec, r); err != nil {
		b.w.t.Fatal(err)
	}
	b.keep(rec.Header())
}

// copy is another browser with the same cookies.
func (b *browser) copy() *browser {
	return &browser{w: b.w, cookies: maps.Clone(b.cookies), amr: b.amr}
}

const verifier = "correct-horse-battery-staple-correct-horse-battery"

func challengeOf(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// asks are the parameters of a good request; change replaces, and "-" removes.
func asks(client pair, change ...string) url.Values {
	v := url.Values{
		"response_type": {"code"}, "client_id": {client.ClientID}, "redirect_uri": {shopBack}, "state": {"s t&ate"}, "scope": {"openid"},
		"code_challenge": {challengeOf(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		if change[i+1] == "-" {
			v.Del(change[i])
		} else {
			v.Set(change[i], change[i+1])
		}
	}
	return v
}

func at(v url.Values) string { return "/oauth2/authorize?" + v.Encode() }

// backTo takes apart what a client gets in the query of its redirect URI.
func (w *folk) backTo(r reply, want string) url.Values {
	w.t.Helper()
	location := r.header.Get("Location")
	base, query, _ := strings.Cut(location, "?")
	if r.status != 303 || base != want {
		w.t.Fatalf("%d to %q, want 303 to %s (page error %q): %s", r.status, location, want, w.pages.code, r.body)
	}
	v, err := url.ParseQuery(query)
	if err != nil {
		w.t.Fatal(err)
	}
	if v.Get("iss") != issuer {
		w.t.Errorf("iss is %q", v.Get("iss"))
	}
	return v
}

// refusedBack expects that the client is told of an error, with its state and nothing more.
func (w *folk) refusedBack(r reply, code string) {
	w.t.Helper()
	v := w.backTo(r, shopBack)
	if v.Get("error") != code || v.Has("code") || v.Has("access_token") {
		w.t.Errorf("error %q, want %s: %v", v.Get("error"), code, v)
	}
	if v.Has("state") && v.Get("state") != "s t&ate" {
		w.t.Errorf("state came back as %q", v.Get("state"))
	}
}

// refusedHere expects a page of our own that leads nowhere.
func (w *folk) refusedHere(r reply, status int) {
	w.t.Helper()
	if r.status != status || r.header.Get("Location") != "" {
		w.t.Errorf("%d, Location %q, want a page with %d", r.status, r.header.Get("Location"), status)
	}
}

// allow asks, is asked back, and allows: it answers the code.
func (b *browser) allow(v url.Values) string {
	b.w.t.Helper()
	r := b.get(at(v))
	if strings.HasPrefix(r.header.Get("Location"), "/consent?") {
		r = b.get(r.header.Get("Location"))
		if r.status != 200 || b.w.pages.consent == nil {
			b.w.t.Fatalf("no question: %d %s %s", r.status, r.header.Get("Location"), b.w.pages.code)
		}
		r = b.decide("allow")
	}
	code := b.w.backTo(r, v.Get("redirect_uri")).Get("code")
	if code == "" {
		b.w.t.Fatalf("no code: %s", r.header.Get("Location"))
	}
	return code
}

// decide presses a button of the page that was shown last.
func (b *browser) decide(decision string) reply {
	b.w.t.Helper()
	return b.post("/consent", url.Values{"flow": {b.w.pages.consent.Flow}, "csrf": {b.w.pages.csrf}, "decision": {decision}})
}

// exchange brings a code to the token endpoint.
func (w *folk) exchange(client pair, code string, change ...string) reply {
	w.t.Helper()
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {shopBack}, "code_verifier": {verifier}}
	return w.tokenRequest(client, v, change...)
}

func (w *folk) refresh(client pair, token string, change ...string) reply {
	w.t.Helper()
	return w.tokenRequest(client, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}, change...)
}

func (w *folk) tokenRequest(client pair, v url.Values, change ...string) reply {
	w.t.Helper()
	for i := 0; i+1 < len(change); i += 2 {
		if change[i+1] == "-" {
			v.Del(change[i])
		} else {
			v.Set(change[i], change[i+1])
		}
	}
	if client.Secret == "" {
		v.Set("client_id", client.ClientID)
		return w.send("POST", "/oauth2/token", v.Encode())
	}
	return w.send("POST", "/oauth2/token", v.Encode(), auth(client.ClientID, client.Secret))
}

// signIn goes all the way: it answers the tokens that the client gets for alice.
func (w *folk) signIn(client pair, change ...string) reply {
	w.t.Helper()
	r := w.exchange(client, w.browser().login(w.alice).allow(asks(client, change...)))
	if r.status != 200 {
		w.t.Fatalf("no tokens: %d %s", r.status, r.body)
	}
	return r
}

// whoever asks of a token in the client's name whether it is active.
func (w *folk) active(client pair, token string) bool {
	w.t.Helper()
	r := w.send("POST", "/oauth2/introspect", "token="+url.QueryEscape(token), auth(client.ClientID, client.Secret))
	if r.status != 200 {
		w.t.Fatalf("introspection: %d %s", r.status, r.body)
	}
	active, _ := r.json["active"].(bool)
	return active
}

func (w *folk) count(query string) (n int) {
	w.t.Helper()
	if err := w.db.Read(w.t.Context(), func(tx db.ReadTx) error { return tx.QueryRow(w.t.Context(), query).Scan(&n) }); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *folk) engine() db.Engine { return dbtest.Engines(w.t)[0] }

func (w *folk) events(action string) (n int) {
	w.t.Helper()
	err := w.db.Read(w.t.Context(), func(tx db.ReadTx) error {
		return tx.QueryRow(w.t.Context(), `SELECT count(*) FROM audit_events WHERE action = $1`, action).Scan(&n)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// From a stranger's request to a token, with every step that a browser takes.
func TestSignIn(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser()
		r := b.get(at(asks(w.shop, "scope", "openid profile email sales_order.read", "nonce", "n-1", "login_hint", "alice@example.org")))
		location := r.header.Get("Location")
		login, err := url.Parse(location)
		if err != nil || r.status != 303 || login.Path != "/login" || login.Query().Get("login_hint") != "alice@example.org" {
			t.Fatalf("%d to %s", r.status, location)
		}
		resume := login.Query().Get("return_to")
		if to, ok := w.server.Destination(t.Context(), resume); !ok || to.ClientName != "shop" || to.RedirectURI != shopBack || to.Realm != "customers" {
			t.Errorf("the login leads to %+v %v", to, ok)
		}
		if again := b.get(resume); !strings.HasPrefix(again.header.Get("Location"), "/login?") {
			t.Errorf("without a login: %d to %s", again.status, again.header.Get("Location"))
		}
		w.clock.Advance(2 * time.Second)
		b.login(w.alice)
		r = b.get(resume)
		r = b.get(r.header.Get("Location"))
		v := w.pages.consent
		if r.status != 200 || v == nil || v.ClientName != "shop" || v.Team != "shop" || v.RedirectURI != shopBack || v.User.ID != w.alice.ID || len(v.Scopes) != 4 || v.Scopes[3].Text != "Read your orders" {
			t.Fatalf("asked %+v", v)
		}
		answer := w.backTo(b.decide("allow"), shopBack)
		if answer.Get("state") != "s t&ate" {
			t.Errorf("state %q", answer.Get("state"))
		}
		w.clock.Advance(3 * time.Second)
		tokens := w.exchange(w.shop, answer.Get("code"))
		if tokens.status != 200 || tokens.text("token_type") != "Bearer" || tokens.text("refresh_token") == "" || tokens.text("scope") != "email openid profile sales_order.read" {
			t.Fatalf("%d %s", tokens.status, tokens.body)
		}
		access := payloadOf(t, tokens.text("access_token"))
		if access["sub"] != w.alice.ID || access["realm"] != "customers" || access["client_id"] != w.shop.ClientID || access["gty"] != "authorization_code" {
			t.Errorf("access token: %v", access)
		}
		checkIDToken(t, w, tokens)
		info := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token")))
		want := map[string]any{"sub": w.alice.ID, "name": "Alice", "preferred_username": "alice", "email": "alice@example.org", "email_verified": false}
		if info.status != 200 || !maps.Equal(info.json, want) {
			t.Errorf("userinfo: %d %s", info.status, info.body)
		}
		if w.events("approval.grant") != 1 {
			t.Error("the approval is not in the audit log")
		}
		// The second time nobody is asked anything.
		if code := w.backTo(b.get(at(asks(w.shop, "scope", "sales_order.read openid"))), shopBack).Get("code"); code == "" {
			t.Error("asked again for what was allowed")
		}
	})
}

// What an ID token says.
func checkIDToken(t *testing.T, w *folk, tokens reply) {
	t.Helper()
	raw := tokens.text("id_token")
	id := payloadOf(t, raw)
	sum := sha256.Sum256([]byte(tokens.text("access_token")))
	at := base64.RawURLEncoding.EncodeToString(sum[:16])
	now := float64(w.clock.Now().Unix())
	for name, want := range map[string]any{
		"iss": issuer, "sub": w.alice.ID, "aud": w.shop.ClientID, "azp": w.shop.ClientID, "nonce": "n-1", "acr": "1", "at_hash": at,
		"iat": now, "exp": now + 600, "auth_time": now - 3,
	} {
		if id[name] != want {
			t.Errorf("ID token: %s is %v, want %v", name, id[name], want)
		}
	}
	if amr, _ := id["amr"].([]any); len(amr) != 1 || amr[0] != "pwd" {
		t.Errorf("amr %v", id["amr"])
	}
	// No ID token is an access token.
	if r := w.send("GET", "/oauth2/userinfo", "", bearer(raw)); r.status != 401 {
		t.Errorf("userinfo takes an ID token: %d", r.status)
	}
	if w.active(w.shop, raw) {
		t.Error("an ID token is active as an access token")
	}
	var header struct{ Typ, Alg string }
	if b, err := base64.RawURLEncoding.DecodeString(raw[:strings.IndexByte(raw, '.')]); err != nil || json.Unmarshal(b, &header) != nil || header.Typ != "JWT" || header.Alg != "ES256" {
		t.Errorf("header %+v", header)
	}
}
