package oauth_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/oauth"
)

func TestTokenInHeaderQueryAndForm(t *testing.T) {
	w := one(t)
	token := w.token()
	byHeader := w.send("GET", "/oauth2/tokeninfo", "", bearer(token))
	for name, r := range map[string]reply{
		"query":              w.send("GET", "/oauth2/tokeninfo?access_token="+token, ""),
		"form":               w.send("POST", "/oauth2/tokeninfo", "access_token="+token),
		"header over query":  w.send("GET", "/oauth2/tokeninfo?access_token=wrong", "", bearer(token)),
		"query over form":    w.send("POST", "/oauth2/tokeninfo?access_token="+token, "access_token=wrong"),
		"another spelling":   w.send("GET", "/oauth2/tokeninfo", "", header("Authorization", "bEARER "+token)),
		"Basic is no token":  w.send("GET", "/oauth2/tokeninfo?access_token="+token, "", us),
		"callback is no use": w.send("GET", "/oauth2/tokeninfo?callback=x&access_token="+token, ""),
	} {
		if r.status != 200 || r.body != byHeader.body {
			t.Errorf("%s: %d %s, want %s", name, r.status, r.body, byHeader.body)
		}
		if got := r.header.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("%s: Referrer-Policy is %q", name, got)
		}
		if got := r.header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: Access-Control-Allow-Origin is %q", name, got)
		}
	}
	if r := w.send("GET", "/oauth2/tokeninfo?access_token="+token, "", bearer("wrong")); r.status != 401 {
		t.Errorf("the header wins: %d %s", r.status, r.body)
	}
	twice := func(r *http.Request) { r.Header.Add("Authorization", "Bearer wrong") }
	if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token), twice); r.status != 400 {
		t.Errorf("of two headers nobody knows which a proxy looked at: %d %s", r.status, r.body)
	}
	if r := w.send("HEAD", "/oauth2/tokeninfo", "", bearer(token)); r.status != 200 {
		t.Errorf("HEAD: %d", r.status)
	}
	if r := w.send("DELETE", "/oauth2/tokeninfo", "", bearer(token)); r.status != 405 || r.header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("DELETE: %d %q", r.status, r.header.Get("Allow"))
	}
}

func TestTokeninfo(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token := w.token()
		want := fmt.Sprintf(`{"access_token":"%s","expires_in":28800,"grant_type":"password","realm":"services",`+
			`"sales_order.read_all":true,"scope":["uid","sales_order.read_all"],"token_type":"Bearer","uid":"my-username"}`, token)
		for range 2 { // first sight, and from memory
			r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token))
			if r.status != 200 || r.body != want {
				t.Errorf("%d, -want +got:\n%s", r.status, cmp.Diff(want, r.body))
			}
			if r.header.Get("Content-Type") != "application/json" || r.header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers: %v", r.header)
			}
		}
	})
}

// A scope is shown as a member of its own, but never in the place of one that means something else.
func TestScopesNeverShadowMembers(t *testing.T) {
	w := one(t)
	scopes := []string{"uid", "realm", "client_id", "access_token", "expires_in", "grant_type", "scope", "token_type", "active", "error",
		"cn", "zz", "a", "refresh_token", "open_id"}
	w.changeClient("my-client-id", func(c *oauth.Client) { c.Scopes = scopes })
	r := w.send("POST", "/oauth2/token?realm=services", strings.Replace(passwordForm, "uid+sales_order.read_all", strings.Join(scopes, "+"), 1), us)
	token := r.text("access_token")
	r = w.send("GET", "/oauth2/tokeninfo", "", bearer(token))
	var list []any
	for _, s := range scopes {
		list = append(list, s)
	}
	want := map[string]any{"access_token": token, "expires_in": 28800.0, "grant_type": "password", "realm": "services", "scope": list,
		"token_type": "Bearer", "uid": "my-username", "cn": true, "zz": true, "a": true}
	if diff := cmp.Diff(want, r.json); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var order []string
	dec := json.NewDecoder(strings.NewReader(r.body))
	for depth := 0; dec.More(); {
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := tok.(json.Delim); ok && d == '{' {
			depth++
			continue
		}
		order = append(order, fmt.Sprint(tok))
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i < len(order); i++ {
		if order[i-1] >= order[i] {
			t.Errorf("members are not in order: %v", order)
		}
	}
}

func TestNoToken(t *testing.T) {
	w := one(t)
	for name, r := range map[string]reply{
		"nothing":      w.send("GET", "/oauth2/tokeninfo", ""),
		"empty header": w.send("GET", "/oauth2/tokeninfo", "", header("Authorization", "Bearer ")),
		"empty query":  w.send("GET", "/oauth2/tokeninfo?access_token=", ""),
		"empty form":   w.send("POST", "/oauth2/tokeninfo", "access_token="),
		"not a form":   w.send("POST", "/oauth2/tokeninfo", `{"access_token":"x"}`, jsonish),
	} {
		if want := `{"error":"invalid_request","error_description":"Access Token not valid"}`; r.status != 400 || r.body != want {
			t.Errorf("%s: %d %s, want 400 %s", name, r.status, r.body, want)
		}
	}
	w.expect(w.send("GET", "/oauth2/tokeninfo?access_token=a&access_token=b", ""), 400, "invalid_request")
	w.expect(w.send("POST", "/oauth2/tokeninfo", strings.Repeat("a=1&", 17_000)), 413, "invalid_request")
}

func TestMetrics(t *testing.T) {
	w := one(t)
	token := w.token()
	w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("my-client-id", "wrong"))
	w.send("POST", "/oauth2/token?realm=services", strings.Replace(passwordForm, "my-password", "wrong", 1), us)
	w.send("POST", "/oauth2/token?realm=attack", passwordForm, us)
	w.users.down = errDown
	w.send("POST", "/oauth2/token?realm=services", passwordForm, us)
	w.send("GET", "/oauth2/tokeninfo", "", bearer(token))
	w.send("GET", "/oauth2/tokeninfo", "", bearer("x.y.z"))
	got := map[string]float64{}
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() { // sorted by name
				name += " " + l.GetValue()
			}
			if m.GetCounter() != nil {
				got[strings.TrimPrefix(name, "mintmark_oauth_")] = m.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{
		"revocations_fed_total": 0, "client_authentication_failures_total": 1,
		"client_authentication_blocked_total":                  0,
		"token_requests_total password client services":        1, // wrong client secret
		"token_requests_total password client unknown":         1, // unknown realm, which is no label
		"token_requests_total password user services":          1, // wrong password
		"token_requests_total password other services":         1, // our fault
		"token_requests_total password success services":       1,
		"token_verifications_total tokeninfo success services": 1,
		"token_verifications_total tokeninfo invalid unknown":  1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
