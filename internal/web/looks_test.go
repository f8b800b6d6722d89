package web_test

import (
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/look"
)

// Every page has the same strict headers, whatever its status.
func TestHeadersOfEveryPage(t *testing.T) {
	s := newSite(t, db.SQLite)
	s.person("jane", "")
	s.failure = "x"
	b := s.browser()
	for target, a := range map[string]answer{
		"/": b.get("/"), "/login": b.get("/login"), "/missing": b.get("/missing"), "/fails": b.get("/fails"), "/logout": b.get("/logout"), "/consent": b.get("/consent"),
		"refused": b.signIn("/login", "jane", wrong), "forbidden": b.do("POST", "/logout", url.Values{}), "head": b.do("HEAD", "/login", nil),
		"bad form": func() answer {
			r := httptest.NewRequest("POST", "https://mint.example.org/login", strings.NewReader("a=%zz"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			s.mux.ServeHTTP(w, r)
			return answer{w, w.Body.String()}
		}(),
		"account": func() answer { b.signIn("/login", "jane", janes); return b.get("/account") }(),
	} {
		h := a.Header()
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "style-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: policy %q lacks %s", target, csp, want)
			}
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
			"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store", "Strict-Transport-Security": "max-age=31536000; includeSubDomains", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s: %s is %q (status %d)", target, name, got, a.Code)
			}
		}
		if strings.Contains(a.plain(), "<script") || strings.Contains(a.body, " style=") || strings.Contains(a.body, "javascript:") {
			t.Errorf("%s has what the policy forbids:\n%s", target, a.body)
		}
	}
	for _, c := range b.do("GET", "/login", nil, "Cookie", "").Result().Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" {
			t.Errorf("cookie %+v", c)
		}
	}
}

const svgLogo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path d="M0 0h4v4z"/></svg>`

// looks gives the realms of a site looks of their own.
func looks(t *testing.T) *look.Set {
	t.Helper()
	logo := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(logo, []byte(svgLogo), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := look.NewSet(look.Settings{Help: "https://help.example.org/"}, map[string]look.Settings{
		"employees": {Title: "Works & Sons", Colour: "#0a7f5a", Logo: logo, Imprint: "https://works.example.org/imprint"},
		"customers": {Title: "Shop", Colour: "#ffcc00"},
	}, look.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A page looks like the realm of the person whom it is for; of a stranger, like the realm that the address names, or the
// client's, or the one that somebody signed in to last.
func TestLooksOfRealms(t *testing.T) {
	s := newSiteLooking(t, db.SQLite, looks(t))
	s.person("jane", "")
	const works, shop = `alt="Works &amp; Sons"`, `<span>Shop</span>`
	is := func(what string, a answer, want string) {
		t.Helper()
		for _, mark := range []string{works, shop, "<span>mintmark</span>"} {
			if strings.Contains(a.body, mark) != (mark == want) {
				t.Errorf("%s (%d) has %s: %v\n%s", what, a.Code, mark, mark != want, a.body)
			}
		}
	}
	const mint = "<span>mintmark</span>"
	b := s.browser()
	is("a stranger", b.get("/login"), mint)
	is("the address", b.get("/login?realm=customers"), shop)
	is("an old name", b.get("/login?realm=%2Femployee"), works)
	is("no realm", b.get("/login?realm=nobody"), mint)
	is("services", b.get("/login?realm=services"), mint)
	is("where it leads", b.get("/login?return_to="+url.QueryEscape("/oauth2/authorize?realm=customers")), shop)
	is("the client", b.get("/login?return_to="+url.QueryEscape("/oauth2/authorize?client_id=shop&only=customers")), shop)
	if a := b.get("/login?return_to=" + url.QueryEscape("/oauth2/authorize?client_id=shop&only=customers")); !strings.Contains(a.body, `type="hidden" id="realm" name="realm" value="customers"`) {
		t.Errorf("whoever signs in for a client of one realm has to choose it:\n%s", a.body)
	}
	is("the form", b.do("POST", "/login", url.Values{"csrf": {b.get("/login").token(t)}, "realm": {"customers"}, "username": {"x"}, "password": {wrong}}), shop)
	is("to reset", b.get("/reset?realm=customers"), shop)
	b.signIn("/login", "jane", janes).leads(t, "/account")
	for _, page := range []string{"/account", "/account/security", "/account/sessions", "/account/password", "/logout"} {
		is(page, b.get(page), works)
	}
	is("an address of another realm", b.get("/account?realm=customers"), works)
	b.do("POST", "/logout", url.Values{"csrf": {b.get("/logout").token(t)}})
	a := b.get("/logout")
	is("signed out", a, works)
	is("an error", b.get("/missing"), works)
	if a := b.get("/login"); !strings.Contains(a.body, `value="employees" selected`) {
		t.Errorf("the realm of the last login is not chosen:\n%s", a.body)
	}
	for _, want := range []string{`href="https://help.example.org/"`, `href="https://works.example.org/imprint"`} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s on\n%s", want, a.body)
		}
	}
	if strings.Contains(a.body, "link-privacy") {
		t.Error("there is a link to nowhere")
	}
}

// What a look is made of comes from this server, is kept as long as it is the same, and does nothing by itself.
func TestFilesOfLooks(t *testing.T) {
	s := newSiteLooking(t, db.SQLite, looks(t))
	b := s.browser()
	page := b.get("/login?realm=employees").body
	found := regexp.MustCompile(`(?:href|src)="(/static/look/employees/(logo|colours|icon)[^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(found) != 3 {
		t.Fatalf("%v in\n%s", found, page)
	}
	for _, m := range found {
		a := b.get(m[1])
		csp := a.Header().Get("Content-Security-Policy")
		media := map[string]string{"logo": "image/svg+xml", "icon": "image/svg+xml", "colours": "text/css; charset=utf-8"}[m[2]]
		if a.Code != 200 || a.Header().Get("Content-Type") != media || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "; sandbox;") || strings.Contains(csp, "script-src") ||
			a.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", m[1], a.Code, a.Header())
		}
	}
	if a := b.get("/static/look/employees/logo-000000000000.svg"); a.Code != 200 || a.body != svgLogo || a.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("the logo of before: %d %v", a.Code, a.Header())
	}
	for _, nowhere := range []string{"/static/look/employees/x", "/static/look/nobody/logo-1.svg", "/static/look/customers/logo-1.svg"} {
		if a := b.get(nowhere); a.Code != 404 {
			t.Errorf("%s: %d", nowhere, a.Code)
		}
	}
	css := b.get(found[0][1])
	if found[0][2] != "icon" && !strings.Contains(css.body, "--accent:#0") {
		t.Errorf("%s: %s", found[0][1], css.body)
	}
}

var (
	used    = regexp.MustCompile(`var\((--[a-z-]+)\)`)
	defined = regexp.MustCompile(`(--[a-z-]+):`)
)

// The colours of the pages are those for which package look computes what can be read, and each that is used exists.
func TestStylesheet(t *testing.T) {
	css := read(t, "static/style.css")
	if len(css) > 16<<10 {
		t.Errorf("the stylesheet has %d bytes", len(css))
	}
	for _, want := range []string{"--soft: " + look.LightSurface, "--soft: " + look.DarkSurface} {
		if !strings.Contains(css, want) {
			t.Errorf("no %s: package look computes for another surface", want)
		}
	}
	names := map[string]bool{}
	for _, m := range defined.FindAllStringSubmatch(css, -1) {
		names[m[1]] = true
	}
	for _, m := range used.FindAllStringSubmatch(css, -1) {
		if !names[m[1]] {
			t.Errorf("%s is used and never set", m[1])
		}
	}
	classes := map[string]bool{}
	pages, _ := filepath.Glob("pages/*.html")
	for _, name := range pages {
		for _, m := range regexp.MustCompile(`class="([a-z -]+)"`).FindAllStringSubmatch(read(t, name), -1) {
			for _, class := range strings.Fields(m[1]) {
				classes[class] = true
			}
		}
	}
	for class := range classes {
		if !regexp.MustCompile(`\.` + class + `\b`).MatchString(css) {
			t.Errorf("class %s has no style", class)
		}
	}
	if strings.Contains(css, "url(") || strings.Contains(css, "@import") {
		t.Error("the stylesheet loads something")
	}
}

// A page is small, with all that it loads.
func TestWeight(t *testing.T) {
	s := newSiteLooking(t, db.SQLite, looks(t))
	s.person("jane", strings.Repeat("Ä", 90))
	b := s.browser()
	pages := []answer{b.get("/"), b.get("/login?realm=employees"), b.get("/missing"), b.get("/fails")}
	b.signIn("/login", "jane", janes).leads(t, "/account")
	for _, path := range []string{"/account", "/account/security", "/account/sessions", "/account/password", "/mailbox"} {
		pages = append(pages, b.get(path))
	}
	for _, a := range pages {
		weight := len(a.body)
		for _, m := range regexp.MustCompile(`(?:href|src)="(/static/[^"]*)"`).FindAllStringSubmatch(a.body, -1) {
			weight += len(b.get(m[1]).body)
		}
		if weight > 60_000 || weight < 10_000 {
			t.Errorf("%d bytes: %.300s", weight, a.body)
		}
	}
}
