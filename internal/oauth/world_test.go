package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

const issuer = "https://auth.example.com"

var begin = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// A setup changes the options of a world before its server is made.
type setup func(w *world, o *oauth.Options)

// A world is one node with its own clock: real database, keys and routing; clients and users from maps, so that each
// test says in a line what exists. TestWhole joins the real ones.
type world struct {
	t       testing.TB
	db      *db.DB
	clock   *clock.Fake
	ring    *keys.Ring
	clients *fakeClients
	users   *fakeUsers
	server  *oauth.Server
	mux     *route.Mux
	metrics *prometheus.Registry
	keyring *seal.Keyring
	url     string
}

type fakeClients struct {
	byID    map[string]oauth.Client
	secrets map[string][]string
	down    error
	asked   atomic.Int64
}

func (f *fakeClients) Client(_ context.Context, id string) (oauth.Client, error) {
	if f.down != nil {
		return oauth.Client{}, f.down
	}
	c, ok := f.byID[id]
	if !ok {
		return oauth.Client{}, fault.New(fault.NotFound, "client_not_found", "no")
	}
	return c, nil
}

func (f *fakeClients) AuthenticateClient(ctx context.Context, id string, secret redact.Secret) (oauth.Client, int64, error) {
	f.asked.Add(1)
	c, err := f.Client(ctx, id)
	if err != nil {
		return oauth.Client{}, 0, err
	}
	for i, s := range f.secrets[id] {
		if secret.Equal(redact.New(s)) {
			return c, int64(i), nil
		}
	}
	return oauth.Client{}, 0, fault.New(fault.Unauthenticated, "wrong_secret", "no")
}

func (f *fakeClients) OfApplication(ctx context.Context, application string) (oauth.Client, error) {
	for id, c := range f.byID {
		if c.Application == application {
			return f.Client(ctx, id)
		}
	}
	return oauth.Client{}, fault.New(fault.NotFound, "application_not_found", "no")
}

func (f *fakeClients) KnownOrigin(_ context.Context, origin string) (bool, error) {
	for _, c := range f.byID {
		if c.MayCallFrom(origin) {
			return true, nil
		}
	}
	return false, nil
}

type fakeUsers struct {
	apps      map[string]string
	passwords map[string][]string
	down      error
	asked     atomic.Int64
}

func (f *fakeUsers) ServicePassword(_ context.Context, realm, username string, password redact.Secret) (oauth.Subject, error) {
	f.asked.Add(1)
	if f.down != nil {
		return oauth.Subject{}, f.down
	}
	for _, p := range f.passwords[username] {
		if password.Equal(redact.New(p)) {
			return oauth.Subject{UserID: "usr_" + username, Username: username, Realm: realm, Application: f.apps[username]}, nil
		}
	}
	return oauth.Subject{}, fault.New(fault.Unauthenticated, "wrong_password", "no")
}

func (f *fakeUsers) ServiceUser(_ context.Context, realm, username string) (oauth.Subject, error) {
	if f.down != nil {
		return oauth.Subject{}, f.down
	}
	if app, ok := f.apps[username]; ok && realm == "services" {
		return oauth.Subject{UserID: "usr_" + username, Username: username, Realm: realm, Application: app}, nil
	}
	return oauth.Subject{}, fault.New(fault.Unauthenticated, "no_such_user", "no")
}

var errDown = fault.Wrap(errors.New("dial tcp 10.0.0.1: secret host"), fault.Unavailable, "db_unavailable", "The database is not available.")

// newWorld makes a world that is ready: it has a signing key and has loaded the revocations.
func newWorld(t testing.TB, engine db.Engine, change ...setup) *world {
	t.Helper()
	w := bareWorld(t, engine, change...)
	if err := w.ring.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.server.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// bareWorld makes a world with application sales-orders: its client my-client-id with secret my-client-secret, its service
// user my-username with my-password; and a client of another application.
func bareWorld(t testing.TB, engine db.Engine, change ...setup) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewFake(begin), metrics: prometheus.NewRegistry()}
	w.url = dbtest.URL(t, engine)
	w.db = dbtest.OpenURL(t, w.url, w.clock)
	w.keyring = sealtest.New(t, w.db)
	w.clients = &fakeClients{byID: map[string]oauth.Client{}, secrets: map[string][]string{}}
	w.users = &fakeUsers{
		apps:      map[string]string{"my-username": "sales-orders", "other-username": "other"},
		passwords: map[string][]string{"my-username": {"my-password"}, "other-username": {"other-password"}},
	}
	w.addClient("my-client-id", "sales-orders", "my-client-secret")
	w.addClient("other-client-id", "other", "other-client-secret")
	var err error
	if w.ring, err = keys.NewRing(w.db, w.keyring, keys.Options{Clock: w.clock, Also: keys.Algs}); err != nil {
		t.Fatal(err)
	}
	o := oauth.Options{DB: w.db, Clients: w.clients, Users: w.users, Keys: w.ring, Clock: w.clock, Issuer: issuer, Metrics: w.metrics, Version: "test", Caller: administrator}
	for _, f := range change {
		f(w, &o)
	}
	if w.server, err = oauth.New(o); err != nil {
		t.Fatal(err)
	}
	w.mux = route.New(route.Options{Clock: w.clock, DB: w.db, Authenticate: administrator})
	w.server.Routes(w.mux)
	return w
}

// administrator finds out who calls: whoever shows the word is one.
func administrator(r *http.Request) (access.Caller, error) {
	if r.Header.Get("Authorization") == "Bearer administrator" {
		return access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}, nil
	}
	return access.Caller{}, nil
}

func (w *world) addClient(id, app, secret string) {
	w.clients.byID[id] = oauth.Client{
		ID: id, Application: app, Confidential: true, Enabled: true,
		Scopes: []string{"uid", "azp", "sales_order.read_all"}, DefaultScopes: []string{"uid"},
		GrantTypes: []string{"password", "client_credentials"},
	}
	w.clients.secrets[id] = []string{secret}
}

func (w *world) changeClient(id string, f func(*oauth.Client)) {
	c := w.clients.byID[id]
	f(&c)
	w.clients.byID[id] = c
}

// both runs f in a world on each engine. What does not touch the database is tested on one.
func both(t *testing.T, f func(t *testing.T, w *world)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newWorld(t, engine)) })
	}
}

func one(t testing.TB, change ...setup) *world {
	return newWorld(t, dbtest.Engines(t)[0], change...)
}

// A reply is an answer and its JSON, if it is some.
type reply struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

func (r reply) text(member string) string { s, _ := r.json[member].(string); return s }

// A request option.
type with func(*http.Request)

func header(name, value string) with { return func(r *http.Request) { r.Header.Set(name, value) } }
func auth(id, secret string) with {
	return header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+secret)))
}
func host(h string) with     { return func(r *http.Request) { r.Host = h } }
func from(addr string) with  { return func(r *http.Request) { r.RemoteAddr = addr } }
func bearer(tok string) with { return header("Authorization", "Bearer "+tok) }

var (
	form    = header("Content-Type", "application/x-www-form-urlencoded")
	jsonish = header("Content-Type", "application/json")
	us      = auth("my-client-id", "my-client-secret")
)

func (w *world) send(method, target, body string, options ...with) reply {
	w.t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, target, rd)
	if method == http.MethodPost {
		form(r)
	}
	for _, o := range options {
		o(r)
	}
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, r)
	res := reply{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
	if rec.Body.Len() > 0 && strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(rec.Body.Bytes(), &res.json); err != nil {
			w.t.Fatalf("%s %s: the answer is not JSON: %v: %s", method, target, err, res.body)
		}
	}
	return res
}

const passwordForm = "grant_type=password&username=my-username&password=my-password&scope=uid+sales_order.read_all"

// token gets a token of the service user, with the client's credentials unless others are given.
func (w *world) token(options ...with) string {
	w.t.Helper()
	r := w.send("POST", "/oauth2/token?realm=services", passwordForm, append([]with{us}, options...)...)
	if r.status != 200 {
		w.t.Fatalf("no token: %d %s", r.status, r.body)
	}
	return r.text("access_token")
}

// forge signs a header and a payload as they are given, with the real key.
func (w *world) forge(header, payload string) string {
	w.t.Helper()
	signer, err := w.ring.Signer(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	header = strings.ReplaceAll(header, "KID", signer.Kid)
	e := base64.RawURLEncoding
	input := e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload))
	sig, err := signer.Sign([]byte(input))
	if err != nil {
		w.t.Fatal(err)
	}
	return input + "." + e.EncodeToString(sig)
}

func (w *world) expect(r reply, status int, code string) {
	w.t.Helper()
	if r.status != status || r.text("error") != code {
		w.t.Errorf("got %d %s, want %d %s", r.status, r.body, status, code)
	}
	if got := r.header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("Cache-Control is %q, want no-store", got)
	}
	if status == 401 && r.header.Get("WWW-Authenticate") == "" {
		w.t.Error("401 without WWW-Authenticate")
	}
	if _, ok := r.json["access_token"]; ok {
		w.t.Error("a refusal holds a token")
	}
}

func payloadOf(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %q", token)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}
