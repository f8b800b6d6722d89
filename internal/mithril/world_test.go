package mithril_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/mithril"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

const (
	issuer = "https://auth.example.org"
	secret = "correct horse battery staple"
	back   = "https://p.example/cb"
)

var (
	begin  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	system = access.SystemCaller("test")
)

// node is one server process: its own memory, over a database that others may share.
type node struct {
	t        testing.TB
	db       *db.DB
	clock    *clock.Fake
	identity *identity.Directory
	registry *registry.Registry
	oauth    *oauth.Server
	service  *mithril.Service
	mux      *route.Mux
	log      *lines
	rootKey  string
	admin    string // an administrator's access key
}

type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// nothing is what this interface needs of pages, people and catalog: they are for browsers.
type nothing struct{ d *db.DB }

func (nothing) Error(w http.ResponseWriter, _ *http.Request, status int, _, _ string) {
	w.WriteHeader(status)
}
func (nothing) Consent(http.ResponseWriter, *http.Request, oauth.ConsentView) {}
func (nothing) Select(http.ResponseWriter, *http.Request, oauth.SelectView)   {}
func (nothing) Device(http.ResponseWriter, *http.Request, oauth.DeviceView)   {}
func (nothing) Logout(http.ResponseWriter, *http.Request, oauth.LogoutView)   {}
func (nothing) Goodbye(http.ResponseWriter, *http.Request, oauth.GoodbyeView) {}
func (nothing) Describe(context.Context, db.ReadTx, string) (oauth.ScopeText, error) {
	return oauth.ScopeText{}, fault.New(fault.NotFound, "scope_not_found", "no")
}
func (n nothing) Person(ctx context.Context, userID string) (p oauth.Person, err error) {
	err = n.d.Read(ctx, func(tx db.ReadTx) error {
		u, err := identity.LoadUser(ctx, tx, userID)
		p = oauth.Person{ID: u.ID, Realm: u.Realm, Username: u.Username, Enabled: u.Disabled.IsZero()}
		return err
	})
	return p, err
}

// newNode starts a node over a database. The first one of a database makes its keys and its administrator.
func newNode(t testing.TB, url string, c *clock.Fake, first *node, change ...func(o *mithril.Options)) *node {
	t.Helper()
	n := &node{t: t, db: dbtest.OpenURL(t, url, c), clock: c, log: &lines{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n.rootKey = filepath.Join(t.TempDir(), "root.key")
	if first != nil {
		n.rootKey = first.rootKey
	}
	keyring, err := seal.Open(t.Context(), n.db, n.rootKey, slog.New(slog.DiscardHandler))
	must(err)
	logger := slog.New(slog.NewJSONHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	n.identity, err = identity.New(n.db, keyring, identity.Options{Clock: c, Passwords: password.NewPool(password.Options{Params: password.Params{Memory: 64, Time: 1, Threads: 1}})})
	must(err)
	n.registry, err = registry.New(n.db, keyring, n.identity, registry.Options{Clock: c})
	must(err)
	sessions, err := session.New(n.db, keyring, n.identity, session.Options{Secure: true, Origin: issuer, Clock: c})
	must(err)
	ring, err := keys.NewRing(n.db, keyring, keys.Options{Clock: c})
	must(err)
	n.oauth, err = oauth.New(oauth.Options{
		DB: n.db, Clients: n.registry.Clients(), Users: n.identity.Verifier(), Keys: ring, Clock: c, Issuer: issuer, Logger: logger,
		People: &oauth.PeopleOptions{Keyring: keyring, Sessions: sessions, People: nothing{n.db}, Catalog: nothing{}, Pages: nothing{}},
	})
	must(err)
	n.identity.OnPersonDisabled(func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return n.oauth.PersonDisabled(ctx, tx, u.ID)
	})
	n.identity.OnPasswordChanged(func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return n.oauth.PasswordChanged(ctx, tx, u.ID)
	})
	n.registry.OnReduced(n.oauth.RightsReduced)
	n.registry.OnClientEnded(n.oauth.ClientEnded)
	t.Cleanup(func() {
		if t.Failed() {
			for line := range strings.SplitSeq(n.log.String(), "\n") {
				if strings.Contains(line, `"status":500`) {
					t.Log(line)
				}
			}
		}
	})
	o := mithril.Options{DB: n.db, Keyring: keyring, OAuth: n.oauth, Registry: n.registry, Identity: n.identity, Issuer: issuer, Clock: c, Logger: logger}
	for _, f := range change {
		f(&o)
	}
	n.service, err = mithril.New(o)
	must(err)
	n.mux = route.New(route.Options{Clock: c, DB: n.db, Logger: logger})
	n.oauth.Routes(n.mux)
	n.service.Routes(n.mux)
	stop, err := n.db.StartFeed(t.Context())
	must(err)
	t.Cleanup(stop)
	if first == nil {
		must(ring.Ensure(t.Context()))
	} else {
		must(ring.Refresh(t.Context()))
	}
	must(n.oauth.Load(t.Context()))
	if first != nil {
		n.admin = first.admin
		return n
	}
	must(n.db.Write(t.Context(), func(tx db.WriteTx) error {
		u, err := n.identity.CreatePerson(t.Context(), tx, system, identity.NewPerson{Realm: "employees", Username: "root", Admin: true}, redact.Secret{})
		if err != nil {
			return err
		}
		key, err := n.identity.CreateAccessKey(t.Context(), tx, system, u.ID, "test", time.Hour*24*365)
		n.admin = key.Reveal()
		return err
	}))
	return n
}

// answer is what came back.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
	doc    map[string]any
}

// send sends a request. body is JSON or "". header is pairs of names and values.
func (n *node) send(method, path, body string, header ...string) answer {
	n.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	q := httptest.NewRequest(method, path, r)
	if body != "" {
		q.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	n.mux.ServeHTTP(w, q)
	a := answer{t: n.t, status: w.Code, header: w.Header(), body: w.Body.String()}
	if a.body != "" {
		if err := json.Unmarshal([]byte(a.body), &a.doc); err != nil {
			n.t.Fatalf("%s %s: %d %q is not JSON", method, path, a.status, a.body)
		}
	}
	return a
}

// as sends a request with a token or access key.
func (n *node) as(token, method, path, body string) answer {
	n.t.Helper()
	return n.send(method, path, body, "Authorization", "Bearer "+token)
}

// do is as for the administrator.
func (n *node) do(method, path, body string) answer {
	n.t.Helper()
	return n.as(n.admin, method, path, body)
}

// want checks the status.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// at is the value at a path such as data.details.scope or data.0.id, as text; "" if there is none.
func (a answer) at(path string) string {
	var v any = a.doc
	for key := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(x) {
				return ""
			}
			v = x[i]
		default:
			return ""
		}
	}
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case float64:
		return fmt.Sprintf("%.0f", x)
	}
	b, _ := json.Marshal(v)
	return string(b)
}

// refused checks status and type of an error.
func (a answer) refused(status int, kind string) answer {
	a.t.Helper()
	a.want(status)
	if a.at("error.type") != kind {
		a.t.Fatalf("error %s, want %s: %s", a.at("error.type"), kind, a.body)
	}
	return a
}

// wrong checks which member is refused, and by which rule.
func (a answer) wrong(member, rule string) answer {
	a.t.Helper()
	a.refused(422, "validation_failed")
	if a.at("error.invalid.0.entry") != "$."+member || a.at("error.invalid.0.rules.0.rule") != rule {
		a.t.Fatalf("want %s by rule %s: %s", member, rule, a.body)
	}
	return a
}

// world is a portal with a login page: a user, a type, a role, a client.
type world struct {
	*node
	user, kind, role, client, secret string
}

func newWorld(t testing.TB, engine db.Engine, change ...func(o *mithril.Options)) *world {
	t.Helper()
	return newWorldAt(t, dbtest.URL(t, engine), change...)
}

func newWorldAt(t testing.TB, url string, change ...func(o *mithril.Options)) *world {
	t.Helper()
	w := &world{node: newNode(t, url, clock.NewFake(begin), nil, change...)}
	w.user = w.newUser("a@x.io")
	w.kind = w.do("POST", "/mithril/admin/client_types", `{"client_type":{"name":"MIS","scope":"app:authorize apps:create apps:read apps:delete user:read user:update legal_entity:read legal_entity:write"}}`).want(201).at("data.id")
	w.role = w.do("POST", "/mithril/admin/roles", `{"role":{"name":"Doctor","scope":"legal_entity:read legal_entity:write"}}`).want(201).at("data.id")
	w.client, w.secret = w.newClient("Portal", w.user, w.kind)
	w.give(w.user, w.role, w.client)
	return w
}

func (n *node) newUser(email string) string {
	n.t.Helper()
	return n.do("POST", "/mithril/admin/users", `{"user":{"email":"`+email+`","password":"`+secret+`"}}`).want(201).at("data.id")
}

func (n *node) newClient(name, owner, kind string) (client, secret string) {
	n.t.Helper()
	a := n.do("POST", "/mithril/admin/clients", `{"client":{"name":"`+name+`","user_id":"`+owner+`","client_type_id":"`+kind+`","redirect_uri":"`+back+`",
		"settings":{"allowed_grant_types":["password","client_credentials"]},"priv_settings":{"tier":1}}}`).want(201)
	return a.at("data.id"), a.at("data.secret")
}

func (n *node) give(user, role, client string) string {
	n.t.Helper()
	return n.do("POST", "/mithril/admin/users/"+user+"/roles", `{"user_role":{"role_id":"`+role+`","client_id":"`+client+`"}}`).want(201).at("data.id")
}

// signIn asks for a session by password.
func (w *world) signIn(email, pass, scope string) answer {
	w.t.Helper()
	return w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"password","email":"`+email+`","password":"`+pass+`","client_id":"`+w.client+`","scope":"`+scope+`"}}`)
}

func (w *world) session(scope string) string {
	w.t.Helper()
	return w.signIn("a@x.io", secret, scope).want(201).at("data.value")
}

// approve has the person behind the session allow the scope; it answers the code.
func (w *world) approve(session, scope string) string {
	w.t.Helper()
	return w.as(session, "POST", "/mithril/apps", `{"app":{"client_id":"`+w.client+`","redirect_uri":"`+back+`","scope":"`+scope+`"}}`).want(201).at("data.value")
}

func (w *world) exchange(n *node, code, redirect string) answer {
	w.t.Helper()
	return n.send("POST", "/mithril/oauth/tokens", `{"token":{"grant_type":"authorization_code","client_id":"`+w.client+`","client_secret":"`+w.secret+`","code":"`+code+`","redirect_uri":"`+redirect+`"}}`)
}

func (w *world) refresh(token string) answer {
	w.t.Helper()
	return w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"refresh_token","client_id":"`+w.client+`","client_secret":"`+w.secret+`","refresh_token":"`+token+`"}}`)
}

// tokens is a whole flow: the access token and the refresh token.
func (w *world) tokens(scope string) (access, refresh string) {
	w.t.Helper()
	a := w.exchange(w.node, w.approve(w.session("app:authorize"), scope), back).want(201)
	return a.at("data.value"), a.at("data.details.refresh_token")
}

func (n *node) write(f func(ctx context.Context, tx db.WriteTx) error) {
	n.t.Helper()
	if err := n.db.Write(n.t.Context(), func(tx db.WriteTx) error { return f(n.t.Context(), tx) }); err != nil {
		n.t.Fatal(err)
	}
}

// verify asks whether a token is good.
func (n *node) verify(token string) answer {
	n.t.Helper()
	return n.send("GET", "/mithril/admin/tokens/"+token+"/verify", "")
}

// worlds runs f in a world on each engine.
func worlds(t *testing.T, f func(t *testing.T, w *world)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newWorld(t, engine)) })
	}
}

// one runs f in a world on one engine: for what does not touch the database.
func one(t *testing.T, change ...func(o *mithril.Options)) *world {
	return newWorld(t, dbtest.Engines(t)[0], change...)
}

func gateway(networks ...string) func(o *mithril.Options) {
	return func(o *mithril.Options) {
		for _, text := range networks {
			o.TrustedConsumers = append(o.TrustedConsumers, netip.MustParsePrefix(text))
		}
	}
}
