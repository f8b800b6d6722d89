package app_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/testport"
)

// framed is the one page that others may frame, which says why (oauth/sessionframe.go).
const framed = "/oauth2/session"

// keepable may be kept by browsers and proxies: it is the same for everybody, and signed or named by its content.
var keepable = regexp.MustCompile(`^/static/|^/\.well-known/|/jwks$|/connect/keys$|^/oauth2/session$|^/api/(openapi\.json|docs)|^/revocations|\.css$`)

// The headers of bar (f), on whatever the server answers: to each address that there is, asked well and badly, by a browser
// and by a program, and to what there is not.
func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	c := configureFile(t, "sqlite:", "realms:\n  - name: customers\n    registration: open\n    look:\n      title: Shop\n      colour: '#0a7f5a'\n", map[string]string{"issuer": "https://mint.example.org", "mail.kind": "smtp", "mail.from": "mint@example.org", "mail.server": testport.Addr(t)})
	w := startWith(t, c)
	base := "http://" + c.Listen.Public
	browser := map[string]string{"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Language": "de"}
	form := map[string]string{"Accept": "text/html", "Accept-Language": "de", "Content-Type": asForm}
	segment := regexp.MustCompile(`\{[a-z_.]+\}`)
	pages, seen := 0, 0
	for _, route := range w.routeTable(t) {
		method, path, ok := strings.Cut(strings.TrimSuffix(route, "{$}"), " ")
		if !ok {
			method, path = "GET", route
		}
		path = segment.ReplaceAllString(path, "something")
		for name, k := range map[string]knock{
			"as it is":         {method: method, path: path},
			"by a browser":     {method: method, path: path, header: browser},
			"with a query":     {method: method, path: path + "?realm=customers&lang=de&done=x&step=open&token=x&flow=x&client_id=x", header: browser},
			"by a form":        {method: "POST", path: path, header: form, body: "csrf=x&step=open"},
			"no form":          {method: "POST", path: path, header: form, body: "a=%zz"},
			"much":             {method: "POST", path: path, header: form, body: strings.Repeat("x", 2<<20)},
			"another method":   {method: "DELETE", path: path, header: browser},
			"a wrong token":    {method: method, path: path, header: map[string]string{"Accept": "text/html", "Authorization": "Bearer mmk_nonsense"}},
			"a head":           {method: "HEAD", path: path, header: browser},
			"a strange method": {method: "BREW", path: path},
		} {
			a := w.ask(t, base, "", k)
			seen++
			if checkHeaders(t, route+" "+name, path, a) {
				pages++
				checkPage(t, route+" "+name, k, a)
			}
		}
	}
	for _, path := range []string{"/nowhere", "//", "/a/../b", "/login/%2e%2e/x", "/static/nothing", "/api/nothing", "/oauth2/nothing"} {
		a := w.ask(t, base, "", knock{method: "GET", path: path, header: browser})
		if page := checkHeaders(t, path, path, a); !page {
			t.Errorf("%s is answered with %d %s", path, a.status, a.header.Get("Content-Type"))
		}
	}
	if seen < 1000 || pages < 100 {
		t.Errorf("only %d answers, %d of them pages", seen, pages)
	}
	w.headersOfPeople(t, base, form)
}

// ask is knock, but follows no redirect: it is an answer like others.
func (w *world) ask(t *testing.T, base, authorization string, k knock) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), k.method, base, strings.NewReader(k.body))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.Opaque = "//" + req.URL.Host + k.path // sent as it stands
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for name, value := range k.header {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, body}
}

// headersOfPeople looks at what somebody meets who is signed in.
func (w *world) headersOfPeople(t *testing.T, base string, form map[string]string) {
	t.Helper()
	a := w.ask(t, base, "Bearer "+w.adminKey(t), knock{method: "POST", path: "/api/users", header: map[string]string{"Content-Type": asJSON},
		body: `{"realm":"employees","username":"jane","display_name":"Jane","password":"a walk in the rain at night"}`})
	if a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	jar := map[string]string{}
	visit := func(k knock) answered {
		t.Helper()
		cookies := []string{}
		for name, value := range jar {
			cookies = append(cookies, name+"="+value)
		}
		header := map[string]string{"Accept": "text/html", "Cookie": strings.Join(cookies, "; ")}
		for name, value := range k.header {
			header[name] = value
		}
		k.header = header
		a := w.ask(t, base, "", k)
		checkHeaders(t, k.method+" "+k.path, k.path, a)
		for _, c := range (&http.Response{Header: a.header}).Cookies() {
			jar[c.Name] = c.Value
		}
		return a
	}
	page := visit(knock{method: "GET", path: "/login"})
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindSubmatch(page.body)
	if csrf == nil {
		t.Fatalf("no form: %s", page.body)
	}
	in := url.Values{"csrf": {string(csrf[1])}, "realm": {"employees"}, "username": {"jane"}, "password": {"a walk in the rain at night"}}
	if a := visit(knock{method: "POST", path: "/login", header: form, body: in.Encode()}); a.status != http.StatusSeeOther {
		t.Fatalf("login: %d %s", a.status, a.body)
	}
	pages := 0
	for _, route := range w.routeTable(t) {
		method, path, _ := strings.Cut(route, " ")
		if method != "GET" || strings.ContainsAny(path, "{") || strings.HasPrefix(path, "/api/") {
			continue
		}
		if a := visit(knock{method: method, path: path}); a.status == http.StatusOK && strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			pages++
		}
	}
	if pages < 8 {
		t.Errorf("only %d pages", pages)
	}
	if a := visit(knock{method: "POST", path: "/logout", header: form, body: ""}); a.status != http.StatusForbidden {
		t.Errorf("a form of a stranger: %d", a.status)
	}
}

// routeTable is every pattern that is registered on the public listener, as the metrics name them.
func (w *world) routeTable(t *testing.T) []string {
	t.Helper()
	_, metrics := fetch(t, "http://"+w.config.Listen.Operations+"/metrics")
	var all []string
	for _, m := range regexp.MustCompile(`mintmark_http_request_duration_seconds_count\{route="([^"]+)"\}`).FindAllStringSubmatch(metrics, -1) {
		if m[1] != "unmatched" {
			all = append(all, m[1])
		}
	}
	if len(all) < 100 {
		t.Fatalf("only %d routes", len(all))
	}
	return all
}

// checkHeaders holds the rules for one answer, and tells whether it is a page.
func checkHeaders(t *testing.T, what, path string, a answered) (page bool) {
	t.Helper()
	h := a.header
	media := h.Get("Content-Type")
	page = strings.HasPrefix(media, "text/html")
	want := map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
	if page || a.status >= 300 {
		want["Cross-Origin-Opener-Policy"], want["Cross-Origin-Resource-Policy"], want["X-Frame-Options"] = "same-origin", "same-origin", "DENY"
	}
	if path == framed && a.status == http.StatusOK {
		want["X-Frame-Options"], want["Cross-Origin-Resource-Policy"] = "", "cross-origin"
	}
	if !keepable.MatchString(path) || a.status >= 300 {
		want["Cache-Control"] = "no-store"
	}
	for name, value := range want {
		if got := h.Values(name); strings.Join(got, "|") != value {
			t.Errorf("%s (%d %s): %s is %q, not %q", what, a.status, media, name, got, value)
		}
	}
	csp := h.Values("Content-Security-Policy")
	if len(csp) != 1 || !strings.Contains(csp[0], "default-src 'none'") || strings.Contains(csp[0], "frame-ancestors 'none'") == (path == framed && a.status == http.StatusOK) ||
		strings.Contains(csp[0], "unsafe-eval") || strings.Contains(csp[0], "unsafe-inline") && !strings.Contains(csp[0], "sandbox") || strings.Contains(csp[0], "script-src *") {
		t.Errorf("%s (%d): policy %q", what, a.status, csp)
	}
	if features := h.Get("Permissions-Policy"); page || a.status >= 300 {
		for _, f := range []string{"camera=()", "microphone=()", "geolocation=()", "payment=()", "usb=()", "hid=()", "serial=()", "display-capture=()", "otp-credentials=()", "identity-credentials-get=()", "publickey-credentials-get=("} {
			if !strings.Contains(features, f) {
				t.Errorf("%s (%d): features %q lack %s", what, a.status, features, f)
			}
		}
		if scripted := strings.Contains(csp[0], "connect-src 'self'"); strings.Contains(features, "publickey-credentials-get=(self)") != scripted {
			t.Errorf("%s: passkeys, but features %q and policy %q", what, features, csp)
		}
	}
	for _, cookie := range (&http.Response{Header: h}).Cookies() {
		// The browser state of session management must be seen by a frame of ours in somebody else's page.
		state := cookie.Name == "__Host-mintmark-state"
		if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || cookie.HttpOnly == state || cookie.Path != "/" || cookie.Domain != "" ||
			cookie.SameSite != http.SameSiteLaxMode && cookie.SameSite != http.SameSiteStrictMode && !state || len(cookie.Value) > 4096 {
			t.Errorf("%s: cookie %+v", what, cookie)
		}
	}
	return page && path != framed
}

// checkPage holds that a page which refuses something says what, in the reader's language, and by which id it is found.
func checkPage(t *testing.T, what string, k knock, a answered) {
	t.Helper()
	if a.status < 400 || k.method == http.MethodHead {
		return
	}
	requestID := a.header.Get("X-Request-Id")
	if requestID == "" || !bytes.Contains(a.body, []byte(requestID)) {
		t.Errorf("%s (%d): nobody can find it: %s", what, a.status, a.body)
	}
	german := k.header["Accept-Language"] == "de"
	if german && !bytes.Contains(a.body, []byte(`<html lang="de">`)) {
		t.Errorf("%s (%d): not in German", what, a.status)
	}
	original := regexp.MustCompile(`<dd lang="en">([^<]*)</dd>`).FindSubmatch(a.body)
	lead := regexp.MustCompile(`<p class="lead">([^<]*)`).FindSubmatch(a.body)
	if german && original != nil && lead != nil && bytes.Equal(original[1], lead[1]) {
		t.Errorf("%s (%d): nobody translated %q, %s", what, a.status, lead[1], regexp.MustCompile(`<code id="error-code">[^<]*`).Find(a.body))
	}
}

// A person who follows a link reads a page, and a program a document.
func TestWhoGetsAPage(t *testing.T) {
	t.Parallel()
	w := start(t, db.SQLite, nil)
	for accept, page := range map[string]bool{
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": true, "text/html": true, " text/html;q=0.1": true,
		"": false, "*/*": false, "application/json": false, "application/json, text/plain, */*": false, "text/htmlx": false,
	} {
		for _, path := range []string{"/nowhere", "/api/teams", "/login//x"} {
			a := w.knock(t, w.config.Issuer, "", knock{method: "GET", path: path, header: map[string]string{"Accept": accept}})
			is := strings.HasPrefix(a.header.Get("Content-Type"), "text/html") && bytes.Contains(a.body, []byte(`id="request-id"`))
			if is != page || a.status < 400 || !page && !json.Valid(a.body) {
				t.Errorf("%q gets from %s: %d %s %s", accept, path, a.status, a.header.Get("Content-Type"), a.body)
			}
		}
	}
	if !slices.ContainsFunc(strings.Split(w.log.String(), "\n"), func(line string) bool {
		return strings.Contains(line, `"code":"no_such_path"`) && strings.Contains(line, `"request_id":"req_`)
	}) {
		t.Error("support does not find the id in the log")
	}
}
