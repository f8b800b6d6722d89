package oauth_test

import "testing"

// A code and a refresh cost one durable commit each, and a service's token none. Each transaction that wrote leaves a mark.
func TestOneCommitForEachExchange(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		commits := func(what string, want int, f func() reply) reply {
			t.Helper()
			before := w.count(`SELECT count(*) FROM tx_marks`)
			r := f()
			if r.status != 200 {
				t.Fatalf("%s: %d %s", what, r.status, r.body)
			}
			if got := w.count(`SELECT count(*) FROM tx_marks`) - before; got != want {
				t.Errorf("%s: %d commits, want %d", what, got, want)
			}
			return r
		}
		code := w.browser().login(w.alice).allow(asks(w.shop))
		tokens := commits("a code", 1, func() reply { return w.exchange(w.shop, code) })
		next := commits("a refresh", 1, func() reply { return w.refresh(w.shop, tokens.text("refresh_token")) })
		commits("a retry", 1, func() reply { return w.refresh(w.shop, tokens.text("refresh_token")) })
		commits("introspection", 0, func() reply {
			return w.send("POST", "/oauth2/introspect", "token="+next.text("access_token"), auth(w.shop.ClientID, w.shop.Secret))
		})
		service := w.mint("sales-orders", 1)
		commits("a token of a service", 0, func() reply { return w.login(service, service) })
	})
}
