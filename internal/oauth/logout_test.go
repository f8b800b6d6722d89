package oauth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

const bye = "https://shop.example.org/bye"

// leave asks to sign out.
func (b *browser) leave(change ...string) reply {
	v := url.Values{}
	for i := 0; i+1 < len(change); i += 2 {
		v.Set(change[i], change[i+1])
	}
	return b.get("/oauth2/logout?" + v.Encode())
}

// signedIn asks as a client does that must not ask the person.
func (b *browser) signedIn() bool {
	return strings.HasPrefix(b.get(at(asks(b.w.shop, "prompt", "none"))).header.Get("Location"), shopBack+"?code=")
}

// agree sends the form of the page that asks whether to sign out, as it was shown.
func (b *browser) agree(change ...string) reply {
	v := url.Values{"csrf": {b.w.pages.csrf}, "decision": {"logout"}}
	for _, f := range b.w.pages.logout.Fields {
		v.Set(f.Name, f.Value)
	}
	for i := 0; i+1 < len(change); i += 2 {
		v.Set(change[i], change[i+1])
	}
	return b.post("/oauth2/logout", v)
}

// B9.178: nothing that a stranger can have a browser fetch signs anybody out.
func TestB9_178_NobodyIsSignedOutByAPicture(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.signIn(w.shop) // it is allowed
		bobs := w.exchange(w.shop, w.browser().login(w.bob).allow(asks(w.shop))).text("id_token")
		b := w.browser().login(w.alice)
		for name, ask := range map[string]func() reply{
			"a picture":              func() reply { return b.leave() },
			"with a client":          func() reply { return b.leave("client_id", w.shop.ClientID) },
			"with where to go":       func() reply { return b.leave("client_id", w.shop.ClientID, "post_logout_redirect_uri", bye) },
			"another's ID token":     func() reply { return b.leave("id_token_hint", bobs, "post_logout_redirect_uri", bye) },
			"that says it is agreed": func() reply { return b.leave("decision", "logout") },
			"a form":                 func() reply { return b.post("/oauth2/logout", url.Values{}) },
			"a hint of a name":       func() reply { return b.leave("logout_hint", "alice", "ui_locales", "de") },
		} {
			w.pages.logout = nil
			if r := ask(); r.status != 200 || r.header.Get("Location") != "" || w.pages.logout == nil || w.pages.logout.User.ID != w.alice.ID {
				t.Errorf("%s: %d to %q, asked %+v", name, r.status, r.header.Get("Location"), w.pages.logout)
			}
		}
		stranger := w.browser().login(w.bob)
		stranger.leave()
		strange := w.pages.csrf
		b.leave()
		for name, token := range map[string]string{"no token": "", "a token of another browser": strange} {
			if r := b.agree("csrf", token); r.status != 403 {
				t.Errorf("%s: %d to %q", name, r.status, r.header.Get("Location"))
			}
		}
		if !b.signedIn() {
			t.Fatal("signed out by a stranger")
		}
		// And the person's own answer counts.
		b.leave("client_id", w.shop.ClientID, "post_logout_redirect_uri", bye, "state", "x")
		if v := w.pages.logout; v.ClientName != "shop" || v.Next != bye+"?state=x" {
			t.Errorf("asked %+v", v)
		}
		if r := b.agree(); r.header.Get("Location") != bye+"?state=x" || b.signedIn() {
			t.Errorf("agreed: %d to %q", r.status, r.header.Get("Location"))
		}
	})
}

// B9.179: the browser goes on to registered addresses alone, of the client that the hint or client_id names. After the
// modules oidcc-rp-initiated-logout-bad-post-logout-redirect-uri, -no-id-token-hint, -modified-id-token-hint, -no-params
// and -bad-id-token-hint.
func TestB9_179_OnlyToRegisteredAddresses(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		signed := w.signIn(w.shop)
		hint := signed.text("id_token")
		w.say(w.other, func(c *oauth.Client) { c.PostLogoutRedirectURIs = []string{"https://other.example.org/bye"} })
		b, nobody := w.browser().login(w.alice), w.browser()
		for name, change := range map[string][]string{
			"not registered":         {"id_token_hint", hint, "post_logout_redirect_uri", "https://evil.test/"},
			"prefix":                 {"id_token_hint", hint, "post_logout_redirect_uri", bye + "/x"},
			"a query more":           {"id_token_hint", hint, "post_logout_redirect_uri", bye + "?x=1"},
			"javascript":             {"id_token_hint", hint, "post_logout_redirect_uri", "javascript:alert(1)"},
			"empty":                  {"id_token_hint", hint, "post_logout_redirect_uri", ""},
			"the other kind":         {"id_token_hint", hint, "post_logout_redirect_uri", shopBack},
			"no hint, no client":     {"post_logout_redirect_uri", bye},
			"another client's":       {"client_id", w.other.ClientID, "post_logout_redirect_uri", bye},
			"an unknown client":      {"client_id", "nobody", "post_logout_redirect_uri", bye},
			"hint and client differ": {"client_id", w.other.ClientID, "id_token_hint", hint},
			"a forged hint":          {"id_token_hint", hint[:len(hint)-4] + "AAAA", "post_logout_redirect_uri", bye},
			"an access token":        {"id_token_hint", signed.text("access_token")},
			"a hint that is none":    {"id_token_hint", "alice"},
			"an empty hint":          {"id_token_hint", "", "post_logout_redirect_uri", bye},
		} {
			for who, browser := range map[string]*browser{"signed in": b, "signed out": nobody} {
				if r := browser.leave(change...); r.status != 400 || r.header.Get("Location") != "" {
					t.Errorf("%s, %s: %d to %s", name, who, r.status, r.header.Get("Location"))
				}
			}
		}
		if r := b.get("/oauth2/logout?state=a&state=b"); r.status != 400 {
			t.Errorf("twice: %d", r.status)
		}
		if !b.signedIn() {
			t.Error("signed out by what is not good")
		}
		// What the form sends is looked at like what came first.
		b.leave("client_id", w.shop.ClientID, "post_logout_redirect_uri", bye)
		if r := b.agree("post_logout_redirect_uri", "https://evil.test/"); r.status != 400 || !b.signedIn() {
			t.Errorf("another address in the form: %d to %q", r.status, r.header.Get("Location"))
		}
	})
}

// After the modules oidcc-rp-initiated-logout, -query-added-to-post-logout-redirect-uri, -only-state, -no-state and
// -no-post-logout-redirect-uri.
func TestRPInitiatedLogout(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		hint := w.signIn(w.shop).text("id_token")
		w.clock.Advance(time.Hour) // it has long expired
		b := w.browser()
		for name, x := range map[string]struct {
			change []string
			to     string
		}{
			"all":                    {[]string{"id_token_hint", hint, "post_logout_redirect_uri", bye, "state", "a b&c"}, bye + "?state=a+b%26c"},
			"hint and client":        {[]string{"id_token_hint", hint, "client_id", w.shop.ClientID, "post_logout_redirect_uri", bye}, bye},
			"no state":               {[]string{"id_token_hint", hint, "post_logout_redirect_uri", bye}, bye},
			"nowhere":                {[]string{"id_token_hint", hint}, "/logout"},
			"state without address":  {[]string{"id_token_hint", hint, "state", "x"}, "/logout"},
			"with what we pass over": {[]string{"id_token_hint", hint, "logout_hint", "alice", "ui_locales", "de fr", "foo", "bar", "post_logout_redirect_uri", bye}, bye},
		} {
			b.login(w.alice)
			if r := b.leave(x.change...); r.status != 303 || r.header.Get("Location") != x.to || b.signedIn() {
				t.Errorf("%s: %d to %q, want %s", name, r.status, r.header.Get("Location"), x.to)
			}
			// Once more, when nobody is signed in.
			if r := b.leave(x.change...); r.status != 303 || r.header.Get("Location") != x.to {
				t.Errorf("%s, signed out: %d to %q", name, r.status, r.header.Get("Location"))
			}
		}
		if r := b.leave("client_id", w.shop.ClientID, "post_logout_redirect_uri", bye); r.header.Get("Location") != bye {
			t.Errorf("by client_id, signed out: %d to %q", r.status, r.header.Get("Location"))
		}
		b.login(w.alice)
		if r := b.post("/oauth2/logout", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}, "state": {"s"}}); r.header.Get("Location") != bye+"?state=s" || b.signedIn() {
			t.Errorf("POST: %d to %s", r.status, r.header.Get("Location"))
		}
		w.say(w.shop, func(c *oauth.Client) { c.PostLogoutRedirectURIs = []string{bye + "?a=b"} })
		if r := b.leave("id_token_hint", hint, "post_logout_redirect_uri", bye+"?a=b", "state", "s"); r.header.Get("Location") != bye+"?a=b&state=s" {
			t.Errorf("an address with a query: %s", r.header.Get("Location"))
		}
		if r := w.send("DELETE", "/oauth2/logout", ""); r.status != 405 {
			t.Errorf("DELETE: %d", r.status)
		}
	})
}

// After the module oidcc-frontchannel-rp-initiated-logout.
func TestFrontchannelLogout(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		hearsAt := func(client pair, uri string, more ...func(m *registry.Metadata)) {
			w.say(client, func(c *oauth.Client) {
				c.Metadata.FrontchannelLogoutURI = uri
				for _, f := range more {
					f(&c.Metadata)
				}
			})
		}
		hearsAt(w.shop, "https://shop.example.org/out")
		hearsAt(w.other, "https://other.example.org/out?x=y", func(m *registry.Metadata) { m.SubjectType = registry.SubjectPairwise })
		b, elsewhere := w.browser().login(w.alice), w.browser().login(w.alice)
		shops := w.exchange(w.shop, b.allow(asks(w.shop)))
		others := w.exchange(w.other, b.allow(asks(w.other)))
		w.exchange(w.tool, b.allow(asks(w.tool))) // which wants to hear nothing
		sid := func(tokens reply) string {
			s, _ := payloadOf(t, tokens.text("id_token"))["sid"].(string)
			return url.QueryEscape(s)
		}
		r := b.leave("id_token_hint", shops.text("id_token"), "post_logout_redirect_uri", bye, "state", "s")
		if r.status != 200 || w.pages.goodbye == nil || b.signedIn() {
			t.Fatalf("%d to %q", r.status, r.header.Get("Location"))
		}
		iss := url.QueryEscape(issuer)
		want := oauth.GoodbyeView{ClientName: "shop", Next: bye + "?state=s", Frames: []string{
			"https://shop.example.org/out?iss=" + iss + "&sid=" + sid(shops),
			"https://other.example.org/out?x=y&iss=" + iss + "&sid=" + sid(others),
		}}
		if got := *w.pages.goodbye; w.shop.ClientID > w.other.ClientID {
			got.Frames[0], got.Frames[1] = got.Frames[1], got.Frames[0]
		}
		if diff := cmp.Diff(want, *w.pages.goodbye); diff != "" || sid(shops) == sid(others) || sid(shops) == "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		w.pages.goodbye = nil
		if r := elsewhere.leave("id_token_hint", shops.text("id_token"), "post_logout_redirect_uri", bye); r.header.Get("Location") != bye || w.pages.goodbye != nil {
			t.Errorf("a session that no client knows of: %d", r.status)
		}
		d := w.send("GET", "/.well-known/openid-configuration", "").json
		if d["frontchannel_logout_supported"] != true || d["frontchannel_logout_session_supported"] != true || d["end_session_endpoint"] != issuer+"/oauth2/logout" {
			t.Errorf("discovery: %v", d)
		}
	})
}

// After the module oidcc-session-management-rp-initiated-logout.
func TestSessionManagement(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		const cookie = "__Host-mintmark-state"
		// unchanged is what the script of the frame computes.
		unchanged := func(b *browser, state, origin string) bool {
			hash, salt, ok := strings.Cut(state, ".")
			sum := sha256.Sum256([]byte(w.shop.ClientID + " " + origin + " " + b.cookies[cookie] + " " + salt))
			return ok && b.cookies[cookie] != "" && hash == base64.RawURLEncoding.EncodeToString(sum[:])
		}
		w.signIn(w.shop)
		b := w.browser().login(w.alice)
		stateOf := func(mode string) string {
			r := b.get(at(asks(w.shop, "response_mode", mode)))
			switch mode {
			case "fragment":
				return w.fragment(r, shopBack).Get("session_state")
			case "query.jwt":
				_, query, _ := strings.Cut(r.header.Get("Location"), "?response=")
				s, _ := payloadOf(t, query)["session_state"].(string)
				return s
			case "form_post":
				_, rest, _ := strings.Cut(r.body, `name="session_state" value="`)
				s, _, _ := strings.Cut(rest, `"`)
				return s
			}
			return w.backTo(r, shopBack).Get("session_state")
		}
		const origin = "https://shop.example.org"
		seen := map[string]bool{}
		for _, mode := range []string{"query", "fragment", "form_post", "query.jwt"} {
			state := stateOf(mode)
			if !unchanged(b, state, origin) || unchanged(b, state, "https://evil.example.org") || strings.Contains(state, " ") || seen[state] {
				t.Errorf("%s: session_state %q", mode, state)
			}
			seen[state] = true
		}
		state := stateOf("query")
		// It is a value for this alone.
		if v := b.cookies[cookie]; strings.Contains(b.cookies["__Host-mintmark-session"], v) || !strings.HasPrefix(b.cookies["__Host-mintmark-session"], "mms_") {
			t.Errorf("the state is part of the session's cookie: %q", v)
		}
		// A new proof by the same person is the same login.
		if b.login(w.alice); !unchanged(b, state, origin) {
			t.Error("changed by signing in again")
		}
		// A browser that lost it gets it back with the next answer.
		delete(b.cookies, cookie)
		if again := stateOf("query"); !unchanged(b, again, origin) || !unchanged(b, state, origin) {
			t.Error("not given back")
		}
		if b.copy().login(w.bob); !unchanged(b, state, origin) {
			t.Error("another browser's login changes it")
		}
		other := w.browser().login(w.alice)
		if unchanged(other, state, origin) {
			t.Error("another session has the same state")
		}
		b.login(w.alice)
		state = stateOf("query")
		b.login(w.bob)
		if unchanged(b, state, origin) {
			t.Error("another person, and unchanged")
		}
		b.logout()
		if b.cookies[cookie] != "" {
			t.Error("signed out, and the state stays")
		}
		if r := b.get(at(asks(w.shop, "prompt", "none"))); w.backTo(r, shopBack).Has("session_state") {
			t.Error("an error has a session state")
		}
	})
}

// The frame is the one page of the server that others may frame.
func TestSessionFrame(t *testing.T) {
	w := newFolk(t, "sqlite")
	r := w.send("GET", "/oauth2/session", "")
	_, rest, _ := strings.Cut(r.body, "<script>")
	script, _, _ := strings.Cut(rest, "</script>")
	sum := sha256.Sum256([]byte(script))
	policy := r.header.Get("Content-Security-Policy")
	want := "default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'none'; base-uri 'none'; frame-ancestors *"
	if r.status != 200 || policy != want || r.header.Get("X-Frame-Options") != "" || !strings.Contains(script, `"__Host-mintmark-state="`) {
		t.Errorf("%d %s\n%s", r.status, policy, script)
	}
	if strings.Contains(r.body, "<form") || strings.Contains(r.body, "<a ") || len(r.header.Values("Set-Cookie")) > 0 {
		t.Error("there is something to click in it, or it sets a cookie")
	}
	if d := w.send("GET", "/.well-known/openid-configuration", "").json; d["check_session_iframe"] != issuer+"/oauth2/session" {
		t.Errorf("discovery: %v", d["check_session_iframe"])
	}
	if r := w.send("POST", "/oauth2/session", ""); r.status != 405 {
		t.Errorf("POST: %d", r.status)
	}
}
