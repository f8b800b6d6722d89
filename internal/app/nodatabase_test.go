package app_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/mintmark/mintmark/internal/db"
)

// Tokens are checked from memory: tokeninfo, introspection and userinfo answer when the database is gone, also about
// tokens that nobody has shown before, and so do the key set and the metadata. What was refused before is refused still,
// and for what is false, not for what cannot be looked up.
func TestTokensAreCheckedWithoutTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		config, _ := w.relyingParty(t)
		b := newBrowser(t)
		signIn := func() *oauth2.Token {
			verifier := oauth2.GenerateVerifier()
			page := b.open(t, config.AuthCodeURL("the state", oauth2.S256ChallengeOption(verifier)))
			if page.at == "/login" {
				page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}})
			}
			if page.at == "/consent" {
				page = b.submit(t, page, url.Values{"decision": {"allow"}})
			}
			return must[*oauth2.Token](t, "exchange")(config.Exchange(t.Context(), page.query.Get("code"), oauth2.VerifierOption(verifier)))
		}
		ask := func(method, path, bearer string, form url.Values) (status int, body string) {
			t.Helper()
			r := must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), method, w.config.Issuer+path, strings.NewReader(form.Encode())))
			if method == http.MethodPost {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.SetBasicAuth(url.QueryEscape(config.ClientID), url.QueryEscape(config.ClientSecret))
			}
			if bearer != "" {
				r.Header.Set("Authorization", "Bearer "+bearer)
			}
			a := do(t, r)
			return a.status, string(a.body)
		}
		introspect := func(token string) (int, string) {
			return ask(http.MethodPost, "/oauth2/introspect", "", url.Values{"token": {token}})
		}

		first := signIn()
		// The one time that this node hears of the person, and of a token that was taken back.
		if status, body := ask(http.MethodGet, "/oauth2/userinfo", first.AccessToken, nil); status != http.StatusOK {
			t.Fatalf("userinfo: %d %s", status, body)
		}
		revoked := signIn()
		if status, body := ask(http.MethodPost, "/oauth2/revoke", "", url.Values{"token": {revoked.AccessToken}}); status != http.StatusOK {
			t.Fatalf("revoke: %d %s", status, body)
		}
		old := *first
		old.Expiry = old.Expiry.AddDate(0, 0, -1)
		tokens := map[string]string{
			"shown before":                   first.AccessToken,
			"of the same grant, never shown": must[*oauth2.Token](t, "refresh")(config.TokenSource(t.Context(), &old).Token()).AccessToken,
			"of a grant that began since":    signIn().AccessToken,
		}
		service := clientcredentials.Config{ClientID: config.ClientID, ClientSecret: config.ClientSecret, TokenURL: config.Endpoint.TokenURL}
		tokens["of the application, never shown"] = must[*oauth2.Token](t, "client credentials")(service.Token(t.Context())).AccessToken
		late := signIn()

		if err := w.LoseDatabase(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // in order, with what errors it must
			_ = w.stop()
			w.stop = func() error { return nil }
		})
		if status, body := ask(http.MethodPost, "/oauth2/token", "", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {late.RefreshToken}}); status != http.StatusServiceUnavailable {
			t.Fatalf("the database is there still: %d %s", status, body)
		}
		for name, token := range tokens {
			if status, body := ask(http.MethodGet, "/oauth2/tokeninfo", token, nil); status != http.StatusOK || !strings.Contains(body, `"expires_in"`) {
				t.Errorf("tokeninfo of a token %s: %d %s", name, status, body)
			}
			if status, body := introspect(token); status != http.StatusOK || !strings.Contains(body, `"active":true`) {
				t.Errorf("introspection of a token %s: %d %s", name, status, body)
			}
			status, body := ask(http.MethodGet, "/oauth2/userinfo", token, nil)
			if name == "of the application, never shown" {
				if status != http.StatusUnauthorized {
					t.Errorf("userinfo of a token %s: %d %s", name, status, body)
				}
			} else if status != http.StatusOK || !strings.Contains(body, "alice@example.org") {
				t.Errorf("userinfo of a token %s: %d %s", name, status, body)
			}
		}
		for name, token := range map[string]string{"taken back": revoked.AccessToken, "altered": first.AccessToken[:len(first.AccessToken)-4] + "AAAA", "nonsense": "nonsense"} {
			for _, path := range []string{"/oauth2/tokeninfo", "/oauth2/userinfo"} {
				if status, body := ask(http.MethodGet, path, token, nil); status != http.StatusUnauthorized {
					t.Errorf("%s of a token that is %s: %d %s", path, name, status, body)
				}
			}
			if status, body := introspect(token); status != http.StatusOK || strings.TrimSpace(body) != `{"active":false}` {
				t.Errorf("introspection of a token that is %s: %d %s", name, status, body)
			}
		}
		for _, path := range []string{"/oauth2/jwks", "/oauth2/connect/keys", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
			if status, body := ask(http.MethodGet, path, "", nil); status != http.StatusOK || !strings.HasPrefix(body, "{") {
				t.Errorf("%s: %d %s", path, status, body[:min(len(body), 80)])
			}
		}
	})
}
