package oauth_test

import (
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The attacks on the authorization endpoint that a browser or its client can bring, each by its number in the catalogue
// of the project's security bar; those about PKCE, claims, pushed requests, resources and response types stand beside
// what they are about.
func TestB1_Redirects(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	for name, uris := range map[string][]string{
		"B1.2 not registered":    {"https://evil.test/cb", "https://other.example.org/cb"},
		"B1.3 suffix and prefix": {"https://shop.example.org.evil.test/cb", "https://shop.example.orgevil.test/cb", "https://evilshop.example.org/cb"},
		"B1.4 userinfo":          {"https://shop.example.org@evil.test/cb", "https://a@b@evil.test/cb", `https://evil.test\@shop.example.org/cb`, "https://shop.example.org:x@evil.test/cb"},
		"B1.6 other bytes": {"HTTPS://shop.example.org/cb", "https://SHOP.example.org/cb", "https://shop.example.org/CB", shopBack + "/", "https://shop.example.org./cb",
			"https://shop.example.org:443/cb", "https://shop.example.org/%63b", "https://shop.example.org//cb", "https://shop.example.org/x/../cb"},
		"B1.7 query and fragment": {shopBack + "?x=1", shopBack + "?", shopBack + "#f", shopBack + "#"},
		"B1.8 characters": {shopBack + "\x00", shopBack + "\t", shopBack + "\r\nSet-Cookie: a=b", "https://shop\u3002example.org/cb", "https://shop\uff0eexample.org/cb",
			`/\evil.test`, "//evil.test", "https:///evil.test", "http://[fe80::1%25en0]/cb", "http://[::1%25lo]:80/cb"},
		"B1.9 no regular expression": {"https://shopaexample.org/cb", "https://shop.exampleXorg/cb"},
		"B1.11 schemes":              {"javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "blob:https://shop.example.org/x", "file:///etc/passwd"},
		"B1.12 none":                 {"-", ""},
	} {
		for _, uri := range uris {
			t.Run(name, func(t *testing.T) {
				w.refusedHere(b.get(at(asks(w.shop, "redirect_uri", uri))), 400)
				// Errors that a client would hear make no difference, and neither does pushing it.
				w.refusedHere(b.get(at(asks(w.shop, "redirect_uri", uri, "prompt", "none", "scope", "\\"))), 400)
				w.expect(w.push(w.shop, asks(w.shop, "redirect_uri", uri)), 400, "invalid_request")
			})
		}
	}
	t.Run("B1.1 unknown client", func(t *testing.T) {
		for _, client := range []string{"cli_00000000000000000000000000", "", "x", "<script>", strings.Repeat("c", 9000)} {
			w.refusedHere(b.get(at(asks(w.shop, "client_id", client, "redirect_uri", "https://evil.test/"))), 400)
		}
	})
	t.Run("B1.13 twice", func(t *testing.T) {
		for _, name := range []string{"client_id", "redirect_uri"} {
			w.refusedHere(b.get(at(asks(w.shop))+"&"+name+"="+url.QueryEscape(asks(w.shop).Get(name))), 400)
		}
		for _, name := range []string{"scope", "state", "response_type", "nonce", "claims", "prompt"} {
			w.refusedBack(b.get(at(asks(w.shop, name, asks(w.shop).Get(name)))+"&"+name+"=x"), "invalid_request")
		}
	})
}

func TestB1_Requests(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	hint := w.signIn(w.shop).text("id_token")
	t.Run("B1.14 another client pushed it", func(t *testing.T) {
		address := w.pushed(w.shop, asks(w.shop))
		w.refusedHere(b.get(strings.Replace(address, w.shop.ClientID, w.tool.ClientID, 1)), 400)
		w.refusedHere(b.get(strings.Replace(address, "client_id="+w.shop.ClientID+"&", "", 1)), 400)
	})
	t.Run("B1.17 prompt none without a session", func(t *testing.T) {
		w.refusedBack(w.browser().get(at(asks(w.shop, "prompt", "none"))), "login_required")
		w.refusedHere(w.browser().get(at(asks(w.shop, "prompt", "none", "redirect_uri", "https://evil.test/"))), 400)
	})
	t.Run("B1.18 prompt none without consent", func(t *testing.T) {
		w.refusedBack(b.get(at(asks(w.shop, "prompt", "none", "scope", "openid profile"))), "consent_required")
		w.refusedBack(b.get(at(asks(w.shop, "prompt", "none login"))), "invalid_request")
	})
	t.Run("B1.19 login again, and then not", func(t *testing.T) {
		w.clock.Advance(time.Second)
		alice := w.browser().login(w.alice)
		w.clock.Advance(time.Second)
		r := alice.get(at(asks(w.shop, "prompt", "login")))
		login, err := url.Parse(r.header.Get("Location"))
		if err != nil || login.Path != "/login" {
			t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
		}
		if r := alice.get(at(asks(w.shop, "prompt", "none"))); !strings.Contains(r.header.Get("Location"), "code=") {
			t.Errorf("she left the page, and her session is %s", r.header.Get("Location"))
		}
		w.clock.Advance(time.Second)
		resume := login.Query().Get("return_to")
		r = alice.login(w.bob).get(resume) // bob has allowed nothing: what alice allowed is not his
		if !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
			t.Errorf("bob inherits: %d to %s", r.status, r.header.Get("Location"))
		}
	})
	t.Run("B1.21 hints", func(t *testing.T) {
		payload := `{"iss":"` + issuer + `","sub":"` + w.alice.ID + `","aud":"` + w.shop.ClientID + `"}`
		for name, bad := range map[string]string{
			"forged": hint[:len(hint)-6] + "AAAAAA", "none": "eyJhbGciOiJub25lIiwia2lkIjoieCIsInR5cCI6IkpXVCJ9.e30.",
			"other issuer": w.forge(`{"alg":"ES256","kid":"KID","typ":"JWT"}`, strings.Replace(payload, issuer, "https://evil.test", 1)),
			"other client": w.forge(`{"alg":"ES256","kid":"KID","typ":"JWT"}`, strings.Replace(payload, w.shop.ClientID, w.other.ClientID, 1)),
			"other kind":   w.forge(`{"alg":"ES256","kid":"KID","typ":"at+jwt"}`, payload),
		} {
			w.refusedBack(b.get(at(asks(w.shop, "id_token_hint", bad))), "login_required")
			if t.Failed() {
				t.Fatal(name)
			}
		}
		w.refusedBack(w.browser().get(at(asks(w.shop, "id_token_hint", hint, "prompt", "none"))), "login_required") // it signs nobody in
		w.refusedBack(w.browser().login(w.bob).get(at(asks(w.shop, "id_token_hint", hint))), "login_required")
	})
	t.Run("B1.24 scopes", func(t *testing.T) {
		for _, scope := range []string{"sales_order.read_all", `open"id`, `open\id`, "öpenid", "openid\x01", "claim:email", "hr.read"} {
			w.refusedBack(b.get(at(asks(w.shop, "scope", scope))), "invalid_scope")
		}
		w.refusedHere(b.get(at(asks(w.shop, "scope", "openid\x00"))), 400) // nothing reads such a request
	})
	t.Run("B1.27 addresses to fetch from", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		hits := make(chan struct{}, 1)
		go func() {
			if _, err := listener.Accept(); err == nil {
				hits <- struct{}{}
			}
		}()
		for _, uri := range []string{"http://169.254.169.254/latest/meta-data", "http://" + listener.Addr().String() + "/", "file:///etc/passwd", "urn:x", ""} {
			w.refusedBack(b.get(at(asks(w.shop, "request_uri", uri))), "request_uri_not_supported")
		}
		select {
		case <-hits:
			t.Error("it was fetched")
		default:
		}
	})
	t.Run("B1.34 challenges", func(t *testing.T) {
		good := challengeOf(verifier)
		for _, change := range [][]string{
			{"code_challenge_method", "plain"}, {"code_challenge_method", "-"}, {"code_challenge_method", "s256"}, {"code_challenge_method", "S512"}, {"code_challenge_method", ""},
			{"code_challenge", good[:42]}, {"code_challenge", strings.Repeat("a", 129)}, {"code_challenge", good[:42] + "+"}, {"code_challenge", ""},
		} {
			w.refusedBack(b.get(at(asks(w.shop, change...))), "invalid_request")
		}
	})
	t.Run("B1.37 another browser", func(t *testing.T) {
		r := b.get(at(asks(w.shop, "scope", "openid profile")))
		victim := w.browser().login(w.bob)
		w.refusedHere(victim.get(r.header.Get("Location")), 403)
		w.refusedHere(victim.get("/select?flow="+strings.TrimPrefix(r.header.Get("Location"), "/consent?flow=")), 403)
	})
	t.Run("B1.38 methods", func(t *testing.T) {
		for _, method := range []string{"HEAD", "PUT", "DELETE"} {
			if r := w.send(method, at(asks(w.shop)), "", b.with); r.status != 405 {
				t.Errorf("%s: %d", method, r.status)
			}
		}
		w.refusedHere(b.post("/oauth2/authorize?client_id="+w.shop.ClientID, asks(w.shop)), 400)
		r := w.send("POST", "/oauth2/authorize", asks(w.shop, "redirect_uri", "https://evil.test/").Encode(), header("Sec-Fetch-Site", "cross-site"))
		if r.status != 303 || !strings.HasPrefix(r.header.Get("Location"), "/oauth2/authorize?") {
			t.Errorf("a form of another site: %d to %s", r.status, r.header.Get("Location"))
		}
		w.refusedHere(b.get(r.header.Get("Location")), 400)
	})
}

// Nothing that a request says stays in memory, and long ones cost little.
func TestB1_22_23_Bounds(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	ask := func(i int) {
		w.clock.Advance(10 * time.Millisecond)
		r := b.get(at(asks(w.shop, "prompt", "none", "scope", "profile", "login_hint", fmt.Sprint("hint", i), "ui_locales", fmt.Sprint("de-", i), "acr_values", fmt.Sprint("urn:", i))))
		if !strings.Contains(r.header.Get("Location"), "consent_required") {
			t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
		}
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for i := range 200 {
		ask(i)
	}
	before := heap()
	for i := range 3000 {
		ask(1000 + i)
	}
	if after := heap(); after > before+5<<20 {
		t.Errorf("memory grew by %d KiB", (after-before)>>10)
	}
	w.refusedHere(b.get(at(asks(w.shop, "scope", strings.Repeat("a", 100<<10)))), 400)
	w.refusedBack(b.get(at(asks(w.shop, "scope", strings.Repeat("a ", 4000)))), "invalid_scope")
	w.refusedBack(b.get(at(asks(w.shop, "ui_locales", strings.Repeat("de ", 1000), "login_hint", strings.Repeat("x", 3000), "prompt", "none", "scope", "profile"))), "consent_required")
}
