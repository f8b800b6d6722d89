package oauth_test

import (
	"testing"
	"time"
)

// Revoking what a person has ends it: the session in the browser, the grant, the tokens; and nothing beside it.
func TestRevokingEndsWhatAPersonHas(t *testing.T) {
	type ended struct{ session, here, elsewhere, bobs bool }
	for kind, want := range map[string]ended{
		"grant":   {here: true},
		"session": {session: true, here: true},
		"user":    {session: true, here: true, elsewhere: true},
	} {
		t.Run(kind, func(t *testing.T) {
			folks(t, func(t *testing.T, w *folk) {
				b, elsewhere := w.browser().login(w.alice), w.browser().login(w.alice)
				scope := []string{"scope", "openid offline_access"} // it would outlive a sign-out
				here := w.exchange(w.shop, b.allow(asks(w.shop, scope...)))
				there := w.exchange(w.shop, elsewhere.allow(asks(w.shop, scope...)))
				bobs := w.exchange(w.shop, w.browser().login(w.bob).allow(asks(w.shop, scope...)))
				session, _ := w.sessionID(b)
				id := map[string]any{"grant": payloadOf(t, here.text("access_token"))["grant_id"], "session": session, "user": w.alice.ID}[kind]
				w.clock.Advance(time.Second)
				r := w.manage("POST", "/api/revocations", object{"kind": kind, "id": id, "reason": "stolen laptop"})
				if r.status != 201 {
					t.Fatalf("%d %s", r.status, r.body)
				}
				for name, x := range map[string]struct {
					tokens reply
					ended  bool
				}{"here": {here, want.here}, "elsewhere": {there, want.elsewhere}, "another person's": {bobs, want.bobs}} {
					soon(t, name+": the access token", func() bool { return w.active(w.shop, x.tokens.text("access_token")) != x.ended })
					if r := w.refresh(w.shop, x.tokens.text("refresh_token")); (r.status != 200) != x.ended {
						t.Errorf("%s: refresh %d %s", name, r.status, r.body)
					}
				}
				soon(t, "the session", func() bool { return b.signedIn() != want.session })
				if elsewhere.signedIn() == want.elsewhere {
					t.Error("the session elsewhere")
				}
				if w.events("token.revoke") != 1 {
					t.Error("not in the audit log")
				}
			})
		})
	}
}

// sessionID is the id of the browser's session.
func (w *folk) sessionID(b *browser) (string, bool) {
	w.t.Helper()
	s, ok, err := w.sessions.Current(w.t.Context(), b.asked())
	if err != nil {
		w.t.Fatal(err)
	}
	return s.ID, ok
}
