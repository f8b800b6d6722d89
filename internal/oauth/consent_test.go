package oauth_test

import (
	"net/url"
	"testing"
)

// What stands in place of a flow's handle is no request of its own: the question would come without the one use, the
// browser and the time that a flow has.
func TestConsentTakesNoRequestInPlaceOfAFlow(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		request := "&" + asks(w.shop, "redirect_uri", "-").Encode() + "&redirect_uri=https%3A%2F%2Fshop%2Eexample%2Eorg%2Fcb"
		for name, b := range map[string]*browser{"a stranger": w.browser(), "a person": w.browser().login(w.alice)} {
			for _, handle := range []string{request, "mmf_" + request, "&flow=x" + request, "%", "\x00", "\xff"} {
				r := b.get("/consent?flow=" + url.QueryEscape(handle))
				if r.status != 403 && r.status != 400 {
					t.Errorf("%s asks about %q: %d %s", name, handle, r.status, r.body)
				}
			}
		}
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop, "scope", "openid email"))
		for _, decision := range []string{"allow", "deny"} {
			w.pages.consent.Flow = "x" + request + ".shown"
			w.refusedHere(b.decide(decision), 403)
		}
	})
}
