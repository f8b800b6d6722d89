package oauth_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mintmark/mintmark/internal/oauth"
)

// What requests share (buffers, the memory of tokens, counts, the header of tokens) must not mix one with another.
func TestRequestsAtOnceDoNotMix(t *testing.T) {
	w := one(t)
	w.changeClient("my-client-id", func(c *oauth.Client) { c.Scopes = append(c.Scopes, strings.Split(manyScopes(60), "+")...) })
	ask := func(method, target, body, authorization string) (int, string) {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		r.Header.Set("Authorization", authorization)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		rec := httptest.NewRecorder()
		w.mux.ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	var wg sync.WaitGroup
	for _, scope := range strings.Split(manyScopes(8), "+") {
		wg.Go(func() {
			for range 30 {
				status, body := ask("POST", "/oauth2/token", "grant_type=client_credentials&scope="+scope, basicOf("my-client-id", "my-client-secret"))
				token, _, _ := strings.Cut(strings.TrimPrefix(body, `{"access_token":"`), `"`)
				if status != 200 || !strings.Contains(body, `"scope":"`+scope+`"`) {
					t.Errorf("token: %d %s", status, body)
					return
				}
				for range 2 {
					if status, body = ask("GET", "/oauth2/tokeninfo", "", "Bearer "+token); status != 200 || !strings.Contains(body, token) || !strings.Contains(body, `["`+scope+`"]`) {
						t.Errorf("tokeninfo of %s: %d %s", scope, status, body)
					}
				}
				if status, body = ask("POST", "/oauth2/introspect", "token="+token, basicOf("my-client-id", "my-client-secret")); status != 200 || !strings.Contains(body, `"scope":"`+scope+`"`) {
					t.Errorf("introspection of %s: %d %s", scope, status, body)
				}
				if _, err := w.server.Verifier().Verify(t.Context(), token+"x", oauth.VerifyOptions{}); !errors.Is(err, oauth.ErrToken) {
					t.Errorf("another token: %v", err)
				}
			}
		})
	}
	wg.Wait()
}
