//go:build faultinject

package oauth_test

import (
	"testing"

	"github.com/mintmark/mintmark/internal/failpoint"
)

// When the transaction fails in which a code or a token is used, nothing is given, and what was brought is good still;
// when it has committed and the answer is lost, a code is used up and a refresh token is answered once more.
func TestGrantsSurviveAFailedCommit(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		fails := func(f func() reply) {
			t.Helper()
			clear := failpoint.Set("oauth.grantsChanged", 1, func() error { return failpoint.ErrInjected })
			r := f()
			clear()
			if r.status != 503 || r.header.Get("Retry-After") == "" || r.json["access_token"] != nil || r.json["refresh_token"] != nil {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		code := w.browser().login(w.alice).allow(asks(w.shop))
		fails(func() reply { return w.exchange(w.shop, code) })
		first := w.exchange(w.shop, code)
		if first.status != 200 {
			t.Fatalf("the code is gone: %d %s", first.status, first.body)
		}
		fails(func() reply { return w.refresh(w.shop, first.text("refresh_token")) })
		second := w.refresh(w.shop, first.text("refresh_token"))
		if second.status != 200 || w.events("grant.retry") != 0 {
			t.Fatalf("the token is gone, or was used: %d %s", second.status, second.body)
		}
		if again := w.refresh(w.shop, first.text("refresh_token")); again.text("refresh_token") != second.text("refresh_token") {
			t.Errorf("a lost answer: %d %s", again.status, again.body)
		}
	})
}
