package oauth_test

import "testing"

// A request for authorization that no database could keep is refused before it is kept.
func TestNoRequestHoldsWhatNoDatabaseHolds(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		for _, name := range []string{"a\x00b", "a%00b", "\xff", "%ff"} {
			r := w.send("POST", "/oauth2/authorize", asks(w.shop).Encode()+"&"+name+"=1", form)
			if r.status != 400 {
				t.Errorf("%q: %d", name, r.status)
			}
		}
	})
}

// Addresses end up in logs: what whoever reads them could use comes in the body, also from clients of the older kind.
func TestNoProofComesInTheAddress(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		code := w.browser().login(w.alice).allow(asks(w.shop))
		refresh := w.exchange(w.shop, code).text("refresh_token")
		as := auth(w.shop.ClientID, w.shop.Secret)
		for _, query := range []string{"refresh_token=" + refresh, "code=x", "code_verifier=x", "device_code=x"} {
			w.expect(w.send("POST", "/oauth2/access_token?"+query, "grant_type=refresh_token", form, as), 400, "invalid_request")
		}
		if r := w.refresh(w.shop, refresh); r.status != 200 {
			t.Errorf("in the body: %d %s", r.status, r.body)
		}
	})
}
