package keys_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

func TestKeysOverHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, d *db.DB, k *seal.Keyring, c *clock.Fake) {
		o := schedule
		o.Also = []keys.Alg{keys.RS256}
		r := newRing(t, d, k, c, o)
		if err := r.Ensure(ctx); err != nil {
			t.Fatal(err)
		}
		callers := map[string]access.Caller{"": {}, "admin": admin, "jane": {Kind: access.Person, Realm: "employees", Name: "jane"}}
		m := route.New(route.Options{DB: d, Authenticate: func(r *http.Request) (access.Caller, error) { return callers[r.Header.Get("Caller")], nil }})
		r.Routes(m)
		call := func(caller, method, path string) (int, string) {
			path, body, _ := strings.Cut(path, " ")
			req, rec := httptest.NewRequest(method, path, strings.NewReader(body)), httptest.NewRecorder()
			if body != "" {
				req.Header.Set("Content-Type", "application/json")
			}
			req.Header.Set("Caller", caller)
			m.ServeHTTP(rec, req)
			return rec.Code, rec.Body.String()
		}
		first := signer(t, r).Kid
		for _, step := range []struct {
			caller, method, path string
			want                 int
			contains             string
		}{
			{"", "GET", "/api/keys", 401, ""},
			{"jane", "GET", "/api/keys", 200, `"state":"active"`},
			{"jane", "POST", "/api/keys/rotations {}", 403, ""},
			{"admin", "POST", "/api/keys/rotations {}", 202, `"state":"prepared"`},
			{"jane", "DELETE", "/api/keys/" + first, 403, ""},
			{"admin", "DELETE", "/api/keys/nope", 404, "key_not_found"},
			{"admin", "DELETE", "/api/keys/" + first, 204, ""},
			{"admin", "DELETE", "/api/keys/" + first, 409, "key_retired"},
			{"jane", "GET", "/api/keys", 200, `"revoked":true`},
			{"admin", "POST", `/api/keys/rotations {"algorithm":"HS256"}`, 400, "algorithm"},
			{"admin", "POST", `/api/keys/rotations {"algorithm":"RS256"}`, 202, `"alg":"RS256","state":"prepared"`},
			{"jane", "POST", `/api/keys/rotations {"algorithm":"RS256","emergency":true}`, 403, ""},
			{"admin", "POST", `/api/keys/rotations {"algorithm":"RS256","emergency":true}`, 202, `"alg":"RS256","state":"active"`},
		} {
			status, body := call(step.caller, step.method, step.path)
			if status != step.want || !strings.Contains(body, step.contains) {
				t.Errorf("%s %s %s: %d %s, want %d", step.caller, step.method, step.path, status, body, step.want)
			}
			if strings.Contains(body, "private") {
				t.Errorf("%s shows something private", step.path)
			}
		}
	})
}
