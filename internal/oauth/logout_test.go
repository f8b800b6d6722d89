package oauth_test

import (
	"net/url"
	"strings"
	"testing"
)

func TestLogout(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		hint := w.signIn(w.shop).text("id_token")
		const bye = "https://shop.example.org/bye"
		leave := func(b *browser, change ...string) reply {
			v := url.Values{}
			for i := 0; i+1 < len(change); i += 2 {
				v.Set(change[i], change[i+1])
			}
			return b.get("/oauth2/logout?" + v.Encode())
		}
		signedIn := func(b *browser) bool {
			return strings.HasPrefix(b.get(at(asks(w.shop, "prompt", "none"))).header.Get("Location"), shopBack+"?code=")
		}

		b := w.browser().login(w.alice)
		// Whatever is not good leads nowhere, and signs nobody out.
		for name, r := range map[string]reply{
			"not registered":     leave(b, "id_token_hint", hint, "post_logout_redirect_uri", "https://evil.test/"),
			"prefix":             leave(b, "id_token_hint", hint, "post_logout_redirect_uri", bye+"/x"),
			"javascript":         leave(b, "id_token_hint", hint, "post_logout_redirect_uri", "javascript:alert(1)"),
			"the other kind":     leave(b, "id_token_hint", hint, "post_logout_redirect_uri", shopBack),
			"no hint":            leave(b, "post_logout_redirect_uri", bye),
			"a client, no hint":  leave(b, "client_id", w.shop.ClientID, "post_logout_redirect_uri", bye),
			"another client":     leave(b, "client_id", w.other.ClientID, "id_token_hint", hint),
			"a forged hint":      leave(b, "id_token_hint", hint[:len(hint)-4]+"AAAA", "post_logout_redirect_uri", bye),
			"an access token":    leave(b, "id_token_hint", w.signIn(w.shop).text("access_token")),
			"twice":              b.get("/oauth2/logout?state=a&state=b"),
			"another's, no hint": leave(b, "id_token_hint", "alice"),
		} {
			if r.status != 400 || r.header.Get("Location") != "" {
				t.Errorf("%s: %d to %s", name, r.status, r.header.Get("Location"))
			}
		}
		for name, r := range map[string]reply{
			"a picture":          leave(b),
			"another's ID token": leave(w.browser().login(w.bob), "id_token_hint", hint),
		} {
			if r.status != 303 || r.header.Get("Location") != "/logout" {
				t.Errorf("%s: %d to %s", name, r.status, r.header.Get("Location"))
			}
		}
		if !signedIn(b) {
			t.Fatal("signed out by a stranger")
		}
		r := leave(b, "id_token_hint", hint, "post_logout_redirect_uri", bye, "state", "a b")
		if r.status != 303 || r.header.Get("Location") != bye+"?state=a+b" || signedIn(b) {
			t.Errorf("%d to %s, signed in: %v", r.status, r.header.Get("Location"), signedIn(b))
		}
		if r := leave(b, "id_token_hint", hint, "post_logout_redirect_uri", bye); r.header.Get("Location") != bye {
			t.Errorf("who is signed out already: %d to %s", r.status, r.header.Get("Location"))
		}
		b.login(w.alice)
		if r := b.post("/oauth2/logout", url.Values{"id_token_hint": {hint}}); r.header.Get("Location") != "/logout" || signedIn(b) {
			t.Errorf("POST: %d to %s", r.status, r.header.Get("Location"))
		}
	})
}
