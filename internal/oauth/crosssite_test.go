package oauth_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A form of another site comes without our cookies. The GET that it leads to has them.
func TestFormOfAnotherSite(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		hint := w.signIn(w.shop).text("id_token")
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop)) // from now on she need not be asked
		b.get(at(asks(w.other)))
		// What the browser sends, and then does with the answer.
		form := func(path string, v url.Values) reply {
			r := w.send("POST", path, v.Encode(), header("Sec-Fetch-Site", "cross-site"))
			if to := r.header.Get("Location"); r.status != 303 || !strings.HasPrefix(to, path+"?") || len(r.header.Values("Set-Cookie")) != 0 {
				t.Fatalf("%s: %d to %q, cookies %q", path, r.status, to, r.header.Values("Set-Cookie"))
			}
			return b.get(r.header.Get("Location"))
		}
		if v := w.backTo(form("/oauth2/authorize", asks(w.shop, "prompt", "none")), shopBack); v.Get("code") == "" || v.Get("state") != "s t&ate" {
			t.Errorf("who is signed in is nobody: %v", v)
		}
		if r := form("/oauth2/logout", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://shop.example.org/bye"}}); r.header.Get("Location") != "https://shop.example.org/bye" {
			t.Errorf("%d to %q", r.status, r.header.Get("Location"))
		}
		w.refusedBack(b.get(at(asks(w.shop, "prompt", "none"))), "login_required")

		// What cannot become an address is answered as it is.
		for name, body := range map[string]string{
			"twice": asks(w.shop).Encode() + "&client_id=x", "unreadable": "%", "very large": asks(w.shop, "state", strings.Repeat("\u00e9", 7000)).Encode(),
		} {
			r := w.send("POST", "/oauth2/authorize", body, header("Sec-Fetch-Site", "cross-site"))
			if strings.HasPrefix(r.header.Get("Location"), "/oauth2/") || r.status >= 500 {
				t.Errorf("%s: %d to %q", name, r.status, r.header.Get("Location"))
			}
		}
	})
}

// Which of two tokens a proxy looked at is anybody's guess.
func TestUserinfoRefusesTwoTokens(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop).text("access_token")
		two := func(r *http.Request) { r.Header["Authorization"] = []string{"Bearer " + token, "Bearer x"} }
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(token)); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		w.expect(w.send("GET", "/oauth2/userinfo", "", two), 400, "invalid_request")
	})
}
