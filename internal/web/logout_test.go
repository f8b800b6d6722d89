package web_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/web"
)

// Who signs out here tells the clients that hear of it through the browser.
func TestLogoutTellsClients(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "Jane")
		b := s.browser()
		b.signIn("/login", "jane", janes)
		s.frameErr = errors.New("no database")
		if a := b.do("POST", "/logout", url.Values{"csrf": {b.get("/logout").token(t)}}); a.Code != 500 || b.get("/account").Code != 200 {
			t.Errorf("signed out though it is not known whom to tell: %d", a.Code)
		}
		s.frameErr, s.frames = nil, []string{"https://shop.example.org/out?iss=a&sid=b"}
		a := b.do("POST", "/logout", url.Values{"csrf": {b.get("/logout").token(t)}})
		if a.Code != 200 || !strings.Contains(a.body, `src="https://shop.example.org/out?iss=a&amp;sid=b"`) || a.Header().Get("Clear-Site-Data") == "" || b.get("/account").Code != 303 {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
	})
}

// The page after signing out frames the clients' addresses and nothing else, and goes on without a script.
func TestGoodbye(t *testing.T) {
	s := newSite(t, db.SQLite)
	s.goodbye = web.GoodbyeView{ClientName: evil, Next: "org.example.app:/bye?state=a%22b&x=1", Frames: []string{
		"https://shop.example.org/out?iss=a&sid=b", "https://shop.example.org/other", "http://127.0.0.1:8080/out", "javascript:alert(1)", "https://evil.test;script-src */", "data:text/html,x",
	}}
	a := s.browser().get("/goodbye")
	csp := a.Header().Get("Content-Security-Policy")
	if !strings.HasSuffix(csp, "; frame-src https://shop.example.org http://127.0.0.1:8080") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "script-src") || a.Header().Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("policy %s", csp)
	}
	if n := strings.Count(a.body, "<iframe "); n != 3 || strings.Count(a.body, `sandbox="allow-scripts allow-same-origin" referrerpolicy="no-referrer"`) != 3 {
		t.Errorf("%d frames:\n%s", n, a.body)
	}
	for _, want := range []string{
		`<meta http-equiv="refresh" content="4;url=org.example.app:/bye?state=a%22b&amp;x=1">`,
		`id="logout-continue" href="org.example.app:/bye?state=a%22b&amp;x=1"`, "&lt;img",
	} {
		if !strings.Contains(a.body, want) {
			t.Errorf("%s is missing:\n%s", want, a.body)
		}
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, "<img") || strings.Contains(a.body, "Zgotmpl") {
		t.Errorf("markup:\n%s", a.body)
	}
	s.goodbye = web.GoodbyeView{}
	if a := s.browser().get("/goodbye"); strings.Contains(a.body, "refresh") || strings.Contains(a.Header().Get("Content-Security-Policy"), "frame-src") || !strings.Contains(a.body, "/login") {
		t.Errorf("with nothing to tell and nowhere to go:\n%s", a.body)
	}
}

// The question of an application comes with its request, and the answer may lead to its address.
func TestAskLogout(t *testing.T) {
	s := newSite(t, db.SQLite)
	u := s.person("jane", evil)
	s.leaving = web.LogoutView{User: u, ClientName: evil, Next: "https://shop.example.org/bye", Fields: []web.LogoutField{{Name: "state", Value: evil}}}
	a := s.browser().get("/oauth2/logout?state=x")
	if a.Code != 200 || strings.Contains(a.body, "<img") || !strings.Contains(a.body, `action="/oauth2/logout"`) || !strings.Contains(a.body, `name="decision" value="logout"`) ||
		!strings.Contains(a.body, `name="state" value="&#34;`) || !strings.Contains(a.body, `id="logout-confirm"`) || !strings.Contains(a.body, `id="logout-client"`) {
		t.Errorf("%d\n%s", a.Code, a.body)
	}
	if csp := a.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https://shop.example.org;") {
		t.Errorf("policy %s", csp)
	}
}
