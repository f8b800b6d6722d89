package web_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/web"
)

// Where the answer to a form goes on to a client, and only there, the browser lets it.
func TestFormsMayLeadToTheClient(t *testing.T) {
	s := newSite(t, db.SQLite)
	b := s.browser()
	action := func(a answer) string {
		_, rest, _ := strings.Cut(a.Header().Get("Content-Security-Policy"), "form-action ")
		rest, _, _ = strings.Cut(rest, ";")
		return rest
	}
	for uri, want := range map[string]string{
		"https://shop.example.org/cb":         "'self' https://shop.example.org",
		"https://shop.example.org:8443/cb":    "'self' https://shop.example.org:8443",
		"http://127.0.0.1:7777/cb":            "'self' http://127.0.0.1:7777",
		"http://[::1]:7777/cb":                "'self' http:",
		"com.example.app:/cb":                 "'self' com.example.app:",
		"javascript:alert(1)":                 "'self'",
		"data:text/html,x":                    "'self'",
		"https://a.example.org;script-src *":  "'self'",
		"":                                    "'self'",
		"/cb":                                 "'self'",
		"https://shop.example.org'self'/cb":   "'self' https:",
		"https://user:pw@shop.example.org/cb": "'self' https://shop.example.org",
	} {
		s.consent = web.ConsentView{ClientName: "Shop", RedirectURI: uri}
		if got := action(b.get("/consent")); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
	to := "/login?return_to=" + url.QueryEscape("/oauth2/authorize?client_id=shop")
	if got := action(b.get(to)); got != "'self' https://shop.example.org" {
		t.Errorf("login for a client: %s", got)
	}
	if a := b.get(to); !strings.Contains(a.body, "to go on to") {
		t.Errorf("the page does not say for whom:\n%s", a.body)
	}
	if got := action(b.get("/login?return_to=" + url.QueryEscape("/oauth2/authorize?client_id=evil&redirect_uri=https://evil.example.org"))); got != "'self'" {
		t.Errorf("login for a stranger: %s", got)
	}
}

func TestConsentPage(t *testing.T) {
	s := newSite(t, db.SQLite)
	u := s.person("jane", "Jane Doe")
	b := s.browser()
	b.signIn("/login", "jane", janes)
	s.consent = web.ConsentView{
		ClientName: "The shop", Team: "shop", RedirectURI: "https://shop.example.org/cb", User: u, Flow: "flow-1",
		Lasts: 180 * 24 * time.Hour, Offline: true,
		Scopes: []web.ConsentScope{{Name: "sales_order.read", Text: "Read your orders"}, {Name: "uid"}},
	}
	a := b.get("/consent?client_id=x")
	for _, want := range []string{
		"The shop", "team <bdi>shop</bdi>", "Jane Doe", `id="consent-host">shop.example.org<`, "Read your orders", "<code>sales_order.read</code>", "<code>uid</code>",
		`name="flow" value="flow-1"`, `action="/consent"`, `id="consent-allow" type="submit" name="decision" value="allow"`, `id="consent-deny"`, `value="deny"`,
		"for up to 180 days, also after you sign out",
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %s:\n%s", want, a.body)
		}
	}
	// Its token is one of this session.
	if a := b.do("POST", "/logout", url.Values{"csrf": {a.token(t)}}); a.Code != 303 {
		t.Errorf("its token is not good: %d", a.Code)
	}
}

func TestErrorPage(t *testing.T) {
	s := newSite(t, db.SQLite)
	s.failure = "The address is not registered."
	a := s.browser().do("GET", "/fails", nil, "X-Request-Id", "req-42")
	if a.Code != 400 || !strings.Contains(a.body, `id="error-code">invalid_request<`) || !strings.Contains(a.body, `id="request-id">req-42<`) || !strings.Contains(a.body, s.failure) {
		t.Errorf("%d\n%s", a.Code, a.body)
	}
}
