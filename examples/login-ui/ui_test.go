package main

import (
	"context"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/testport"
)

// installation is a whole mintmark, with what an administrator makes for a portal: see README.md.
type installation struct {
	t                      *testing.T
	base, admin            string
	login                  string // the login page's own client
	portal, secret, doctor string // the client that wants something, and its role
	user, kind             string
}

func (i *installation) call(token, method, path, body string, want int) map[string]any {
	i.t.Helper()
	r, err := http.NewRequest(method, i.base+"/mithril"+path, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		i.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != want {
		i.t.Fatalf("%s %s: %d, want %d: %s %v", method, path, answer.StatusCode, want, b, err)
	}
	var doc struct{ Data map[string]any }
	if len(b) > 0 {
		if err := json.Unmarshal(b, &doc); err != nil {
			i.t.Fatal(err)
		}
	}
	return doc.Data
}

func (i *installation) make(path, body string) (id string) {
	i.t.Helper()
	return i.call(i.admin, http.MethodPost, path, body, http.StatusCreated)["id"].(string)
}

const (
	password = "correct horse battery staple"
	callback = "https://portal.example.org/cb?from=login"
)

func install(t *testing.T, settings ...string) *installation {
	t.Helper()
	values := map[string]string{
		"data_dir": filepath.Join(t.TempDir(), "data"), "listen.public": testport.Addr(t), "listen.s3": "off", "listen.operations": testport.Addr(t), "shutdown_grace": "5s",
	}
	for i := 0; i+1 < len(settings); i += 2 {
		values[settings[i]] = settings[i+1]
	}
	c, err := app.Load(app.Source{Values: values})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.Start(ctx, c, app.Build{Version: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if r, err := http.Get(c.Issuer + "/health"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("mintmark does not start")
		}
	}
	key, err := os.ReadFile(c.AdminKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{t: t, base: c.Issuer, admin: strings.TrimSpace(string(key))}
	i.user = i.make("/users", `{"user":{"email":"ann@example.org","password":"`+password+`"}}`)
	owner := i.make("/users", `{"user":{"email":"operator@example.org","password":"`+password+`"}}`) // clients of somebody blocked are refused
	page := i.make("/client_types", `{"client_type":{"name":"Login page","scope":"`+sessionScopes+`"}}`)
	i.kind = i.make("/client_types", `{"client_type":{"name":"Portal","scope":"orders:read orders:write"}}`)
	i.doctor = i.make("/roles", `{"role":{"name":"Buyer","scope":"orders:read orders:write"}}`)
	i.login = i.make("/clients", `{"client":{"name":"Login","user_id":"`+owner+`","client_type_id":"`+page+`","redirect_uri":"https://login.example.org/","settings":{"allowed_grant_types":["password"]}}}`)
	portal := i.call(i.admin, http.MethodPost, "/clients", `{"client":{"name":"The <Portal>","user_id":"`+owner+`","client_type_id":"`+i.kind+`","redirect_uri":"https://portal.example.org/cb"}}`, http.StatusCreated)
	i.portal, i.secret = portal["id"].(string), portal["secret"].(string)
	i.make("/users/"+i.user+"/roles", `{"user_role":{"role_id":"`+i.doctor+`","client_id":"`+i.portal+`"}}`)
	return i
}

// browser keeps cookies and follows redirects as far as the login page's own origin goes.
type browser struct {
	t    *testing.T
	http *http.Client
	at   string // the last address
	body string
	code int
	seen string // everything that the browser ever got
}

func newBrowser(t *testing.T, ui string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, http: &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), ui) {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

func (b *browser) took(r *http.Response, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.at, b.body, b.code = r.Request.URL.String(), string(text), r.StatusCode
	if to := r.Header.Get("Location"); to != "" {
		b.at = to
	}
	b.seen += b.body + b.at + strings.Join(r.Header.Values("Set-Cookie"), " ")
	if !strings.Contains(r.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || r.Header.Get("Cache-Control") != "no-store" {
		b.t.Errorf("%s: the headers are %v", b.at, r.Header)
	}
}

func (b *browser) get(address string) { b.t.Helper(); b.took(b.http.Get(address)) }

// submit sends the first form of the page with more fields.
func (b *browser) submit(more ...string) {
	b.t.Helper()
	form, _, _ := strings.Cut(b.body[strings.Index(b.body, "<form"):], "</form>")
	v := url.Values{}
	for _, m := range regexp.MustCompile(`type="hidden" name="([^"]+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		v.Set(m[1], html.UnescapeString(m[2]))
	}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	u, err := url.Parse(b.at)
	if err != nil {
		b.t.Fatal(err)
	}
	b.took(b.http.PostForm(u.Scheme+"://"+u.Host+regexp.MustCompile(`action="([^"]+)"`).FindStringSubmatch(form)[1], v))
}

func (i *installation) asks(ui, scope string) string {
	return request{Client: i.portal, Redirect: callback, Scope: scope, State: "st&1"}.address(ui + "/sign-in")
}

// The sequence that Mithril prescribes, through the pages: sign in, be asked, come back with a code, which the client's
// backend exchanges. Then only what is new is asked for.
func TestLoginPage(t *testing.T) {
	i := install(t)
	server := httptest.NewServer(newUI(i.base, i.login, map[string]string{"orders:read": "See your orders & parcels."}, false))
	defer server.Close()
	b := newBrowser(t, server.URL)

	b.get(i.asks(server.URL, "orders:read"))
	b.submit("email", "ann@example.org", "password", "wrong horse battery staple")
	if b.code != http.StatusUnauthorized || !strings.Contains(b.body, "address or password is wrong") {
		t.Fatalf("a wrong password: %d %s", b.code, b.body)
	}
	b.submit("email", "ann@example.org", "password", password)
	for _, want := range []string{"The &lt;Portal&gt;", "See your orders &amp; parcels.", "ann@example.org"} { // fact 41
		if b.code != http.StatusOK || !strings.Contains(b.body, want) {
			t.Fatalf("the question: %d, no %s in %s", b.code, want, b.body)
		}
	}
	asked := b.body
	b.submit("decision", "deny")
	if b.at != callback+"&error=access_denied&state=st%261" {
		t.Errorf("fact 41, declined: %s", b.at)
	}
	b.body, b.at = asked, server.URL+"/accept"
	b.submit("decision", "allow")
	back, err := url.Parse(b.at)
	if err != nil || !strings.HasPrefix(b.at, callback+"&") || back.Query().Get("state") != "st&1" {
		t.Fatalf("allowed: %s", b.at)
	}
	exchange := func(code string) map[string]any {
		return i.call("", http.MethodPost, "/tokens", `{"token":{"grant_type":"authorization_code","client_id":"`+i.portal+`","client_secret":"`+i.secret+`","code":"`+code+`","redirect_uri":"`+callback+`"}}`, http.StatusCreated)
	}
	token := exchange(back.Query().Get("code"))
	if scope := token["details"].(map[string]any)["scope"]; scope != "orders:read" {
		t.Errorf("the token is for %v", scope)
	}
	i.call("", http.MethodGet, "/tokens/"+token["value"].(string)+"/verify", "", http.StatusOK)
	if strings.Contains(b.seen, "eyJ") {
		t.Error("the browser saw a token")
	}

	t.Run("only what is new is asked for", func(t *testing.T) {
		b.get(i.asks(server.URL, "orders:read"))
		if !strings.HasPrefix(b.at, callback+"&code=") {
			t.Errorf("all is allowed already: %s", b.at)
		}
		b.get(i.asks(server.URL, "orders:read orders:write"))
		if strings.Contains(b.body, "parcels") || !strings.Contains(b.body, "<li title=\"orders:write\">orders:write") {
			t.Errorf("%s", b.body)
		}
	})
	t.Run("nobody is sent to a foreign address", func(t *testing.T) {
		q := request{Client: i.portal, Redirect: "https://evil.example.org/", Scope: "orders:read"}
		b.get(q.address(server.URL + "/sign-in"))
		if b.code != http.StatusBadRequest || strings.Contains(b.at, "evil.example.org/?") {
			t.Errorf("%d %s", b.code, b.at)
		}
	})
	t.Run("a form of another session", func(t *testing.T) {
		other := newBrowser(t, server.URL)
		other.get(i.asks(server.URL, "orders:read"))
		own := other.body
		other.body = strings.NewReplacer(`name="form" value="`, `name="form" value="x`).Replace(own)
		other.submit("email", "ann@example.org", "password", password)
		if other.code != http.StatusForbidden {
			t.Errorf("%d", other.code)
		}
	})
	t.Run("a user who is blocked has no session", func(t *testing.T) {
		i.call(i.admin, http.MethodPatch, "/users/"+i.user+"/actions/block", `{"user":{"block_reason":"test"}}`, http.StatusOK)
		b.get(i.asks(server.URL, "orders:write"))
		if b.code != http.StatusOK || !strings.Contains(b.body, `id="password"`) {
			t.Errorf("%d %s", b.code, b.body)
		}
		b.submit("email", "ann@example.org", "password", password)
		if b.code != http.StatusUnauthorized {
			t.Errorf("%d %s", b.code, b.body)
		}
	})
}
