package app_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/internal/db"
)

// A session that a person got for a password alone ends, at every endpoint, when she adds a second factor.
func TestMithrilSessionEndsWithASecondFactor(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		config, _ := w.relyingParty(t) // makes alice known
		key := w.adminKey(t)
		call := func(token, method, path, body string) (status int, data map[string]any) {
			t.Helper()
			r := must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), method, w.config.Issuer+path, strings.NewReader(body)))
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Content-Type", "application/json")
			res := must[*http.Response](t, path)(http.DefaultClient.Do(r))
			defer res.Body.Close()
			var doc struct{ Data map[string]any }
			_ = json.NewDecoder(res.Body).Decode(&doc)
			return res.StatusCode, doc.Data
		}
		id := func(path, body string) string {
			t.Helper()
			status, data := call(key, http.MethodPost, "/mithril"+path, body)
			if status != http.StatusCreated {
				t.Fatalf("%s: %d", path, status)
			}
			return data["id"].(string)
		}
		owner := id("/users", `{"user":{"email":"owner@example.org","password":"`+alicePassword+`"}}`)
		kind := id("/client_types", `{"client_type":{"name":"Login page","scope":"app:authorize user:read"}}`)
		login := id("/clients", `{"client":{"name":"Login","user_id":"`+owner+`","client_type_id":"`+kind+`","redirect_uri":"https://login.example.org/","settings":{"allowed_grant_types":["password"]}}}`)
		signIn := func() (int, map[string]any) {
			return call("", http.MethodPost, "/mithril/tokens", `{"token":{"grant_type":"password","email":"alice","password":"`+alicePassword+`","client_id":"`+login+`","scope":"app:authorize user:read"}}`)
		}
		status, data := signIn()
		if status != http.StatusCreated {
			t.Fatalf("%d %v", status, data)
		}
		token, _ := data["value"].(string)
		good := func(path string) bool {
			status, _ := call(token, http.MethodGet, path, "")
			return status == http.StatusOK
		}
		if !good("/mithril/tokens/self/user") || !good("/oauth2/tokeninfo") {
			t.Fatal("the session is not good")
		}
		b := newBrowser(t)
		page := b.open(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()), oauth2.SetAuthURLParam("acr_values", "2")))
		page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}})
		if page = b.submit(t, page, url.Values{"code": {appCode(t, page, time.Now())}}); page.status != http.StatusOK {
			t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
		}
		for _, path := range []string{"/mithril/tokens/self/user", "/oauth2/tokeninfo"} {
			if good(path) {
				t.Errorf("the session is good at %s still", path)
			}
		}
		if status, _ := signIn(); status != http.StatusUnauthorized {
			t.Errorf("a session by the password alone: %d", status)
		}
	})
}
