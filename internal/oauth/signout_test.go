package oauth_test

import "testing"

// Who signs out takes back what clients could do meanwhile, unless it was allowed to go on; and ends nobody else's.
func TestSigningOutEndsWhatIsNotOffline(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.sessions.OnEnding(w.server.SessionsEnding)
		b, elsewhere := w.browser().login(w.alice), w.browser().login(w.alice)
		online := w.exchange(w.shop, b.allow(asks(w.shop)))
		offline := w.exchange(w.shop, b.allow(asks(w.shop, "scope", "openid offline_access")))
		other := w.exchange(w.shop, elsewhere.allow(asks(w.shop)))
		bobs := w.exchange(w.shop, w.browser().login(w.bob).allow(asks(w.shop)))
		b.logout()
		w.expect(w.refresh(w.shop, online.text("refresh_token")), 400, "invalid_grant")
		soon(t, "an access token outlives its session", func() bool { return !w.active(w.shop, online.text("access_token")) })
		for name, tokens := range map[string]reply{"allowed to go on": offline, "another browser's": other, "another person's": bobs} {
			if r := w.refresh(w.shop, tokens.text("refresh_token")); r.status != 200 {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
	})
}
