package demo

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/testport"
)

// issuer stands in for mintmark: it sends everybody back at once, with the code that names what was asked.
func issuer(t *testing.T, answer func(q url.Values) url.Values) *httptest.Server {
	t.Helper()
	m := http.NewServeMux()
	s := httptest.NewUnstartedServer(m)
	s.Listener.Close()
	s.Listener = testport.Listen(t)
	m.HandleFunc("GET /oauth2/authorize", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("client_id") != "cli_shop" {
			t.Errorf("asked for %v", q)
		}
		back := answer(q)
		http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
	})
	m.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("code") != "the code" || len(r.FormValue("code_verifier")) < 43 || r.FormValue("client_id") != "cli_shop" {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"access_token": "the token", "expires_in": 600, "scope": "openid email"})
	})
	m.HandleFunc("GET /oauth2/userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the token" {
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"sub": "usr_1", "name": `Alice <img src=x>`, "email": "alice@example.org"})
	})
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func visitShop(t *testing.T, answer func(base string, q url.Values) url.Values) (status int, page string) {
	t.Helper()
	var base string
	s := issuer(t, func(q url.Values) url.Values { return answer(base, q) })
	base = s.URL
	addr, err := testport.Free()
	if err != nil {
		t.Fatal(err)
	}
	stop, err := openShop(s.URL, "cli_shop", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Jar: jar, Timeout: 10 * time.Second}).Get("http://" + addr + "/login")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestShopSignsIn(t *testing.T) {
	status, page := visitShop(t, func(base string, q url.Values) url.Values {
		return url.Values{"code": {"the code"}, "state": q["state"], "iss": {base}}
	})
	if status != http.StatusOK || !strings.Contains(page, html.EscapeString("Alice <img src=x>")) || !strings.Contains(page, "alice@example.org") || strings.Contains(page, "<img") {
		t.Errorf("%d %s", status, page)
	}
}

// What was not begun in this browser, comes from another issuer, or is a refusal, signs nobody in.
func TestShopRefuses(t *testing.T) {
	for name, answer := range map[string]func(base string, q url.Values) url.Values{
		"another state": func(base string, _ url.Values) url.Values {
			return url.Values{"code": {"the code"}, "state": {"x"}, "iss": {base}}
		},
		"another issuer": func(_ string, q url.Values) url.Values {
			return url.Values{"code": {"the code"}, "state": q["state"], "iss": {"https://evil.test"}}
		},
		"a refusal": func(base string, q url.Values) url.Values {
			return url.Values{"error": {"access_denied"}, "state": q["state"], "iss": {base}}
		},
		"another code": func(base string, q url.Values) url.Values {
			return url.Values{"code": {"x"}, "state": q["state"], "iss": {base}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, page := visitShop(t, answer); strings.Contains(page, "shop-welcome") || !strings.Contains(page, "shop-problem") {
				t.Error(page)
			}
		})
	}
}
