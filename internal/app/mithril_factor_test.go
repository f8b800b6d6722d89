package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/db"
)

// loginPage is a client of the Mithril interface that may ask people for their passwords.
type loginPage struct {
	*world
	t  *testing.T
	id string
}

func (p *loginPage) call(token, method, path, body string) (status int, data map[string]any) {
	p.t.Helper()
	r := must[*http.Request](p.t, "request")(http.NewRequestWithContext(p.t.Context(), method, p.config.Issuer+path, strings.NewReader(body)))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	res := must[*http.Response](p.t, path)(http.DefaultClient.Do(r))
	defer res.Body.Close()
	var doc struct{ Data map[string]any }
	_ = json.NewDecoder(res.Body).Decode(&doc)
	return res.StatusCode, doc.Data
}

func newLoginPage(t *testing.T, w *world) *loginPage {
	t.Helper()
	p, key := &loginPage{world: w, t: t}, w.adminKey(t)
	id := func(path, body string) string {
		t.Helper()
		status, data := p.call(key, http.MethodPost, "/mithril"+path, body)
		if status != http.StatusCreated {
			t.Fatalf("%s: %d", path, status)
		}
		return data["id"].(string)
	}
	owner := id("/users", `{"user":{"email":"owner@example.org","password":"`+alicePassword+`"}}`)
	kind := id("/client_types", `{"client_type":{"name":"Login page","scope":"app:authorize user:read"}}`)
	p.id = id("/clients", `{"client":{"name":"Login","user_id":"`+owner+`","client_type_id":"`+kind+`","redirect_uri":"https://login.example.org/","settings":{"allowed_grant_types":["password"]}}}`)
	return p
}

// signIn asks for a session of alice by her password; status tells whether there is one.
func (p *loginPage) signIn() (status int, token string) {
	p.t.Helper()
	status, data := p.call("", http.MethodPost, "/mithril/tokens", `{"token":{"grant_type":"password","email":"alice","password":"`+alicePassword+`","client_id":"`+p.id+`","scope":"app:authorize user:read"}}`)
	token, _ = data["value"].(string)
	return status, token
}

// wherever asks at each endpoint that looks at sessions whether this one is good.
func (p *loginPage) wherever(token string, good bool) {
	p.t.Helper()
	for _, path := range []string{"/mithril/tokens/self/user", "/oauth2/tokeninfo"} {
		if status, _ := p.call(token, http.MethodGet, path, ""); (status == http.StatusOK) != good {
			p.t.Errorf("%s answers %d", path, status)
		}
	}
}

// A session that a person got for a password alone ends, at every endpoint, when she adds a second factor.
func TestMithrilSessionEndsWithASecondFactor(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		config, _ := w.relyingParty(t) // makes alice known
		p := newLoginPage(t, w)
		_, token := p.signIn()
		p.wherever(token, true)
		b := newBrowser(t)
		page := b.open(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("acr_values", "2")))
		page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}})
		if page = b.submit(t, page, url.Values{"code": {appCode(t, page, time.Now())}}); page.status != http.StatusOK {
			t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
		}
		p.wherever(token, false)
		if status, _ := p.signIn(); status != http.StatusUnauthorized {
			t.Errorf("a session by the password alone: %d", status)
		}
	})
}

// And it ends when the realm begins to require one.
func TestMithrilSessionEndsWhenTheRealmRequiresMore(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		w.relyingParty(t) // makes alice known
		p := newLoginPage(t, w)
		_, token := p.signIn()
		p.wherever(token, true)
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		c := w.config
		c.Realms = []app.Realm{{Name: "customers", SecondFactor: "required"}}
		p.world = startWith(t, c)
		p.wherever(token, false)
		if status, _ := p.signIn(); status != http.StatusUnauthorized {
			t.Errorf("a session by the password alone: %d", status)
		}
	})
}
