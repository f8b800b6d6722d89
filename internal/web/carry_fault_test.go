//go:build faultinject

package web_test

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/failpoint"
)

// A new password and the session that goes on with it are one: when the transaction fails between them, the old password
// and all sessions are as before.
func TestNewPasswordAndItsSessionAreOne(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		b, other := s.browser(), s.browser()
		b.signIn("/login", "jane", janes)
		other.signIn("/login", "jane", janes)
		page := b.get("/account/password")
		change := func() answer {
			return b.post(page, "/account/password", "current", janes, "password", wrong, "again", wrong)
		}
		clear := failpoint.Set("session.carried", 1, func() error { return failpoint.ErrInjected })
		a := change()
		clear()
		if a.Code != 500 || strings.Contains(a.body, "injected") || len(a.Result().Cookies()) != 0 {
			t.Errorf("%d %v\n%s", a.Code, a.Result().Cookies(), a.body)
		}
		if !b.signedIn() || !other.signedIn() {
			t.Error("a change that was not made has ended a session")
		}
		s.browser().signIn("/login", "jane", janes).leads(t, "/account")
		change().leads(t, "/account/security?done=password")
		if !b.signedIn() || other.signedIn() {
			t.Error("once it is made, only the browser that made it is signed in")
		}
	})
}
