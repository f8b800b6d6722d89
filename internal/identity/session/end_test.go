package session_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// However many sessions end at once, each ends on every node: few are told one by one, of many a node forgets all.
func TestManySessionsEndAtOnceEverywhere(t *testing.T) {
	twoNodes(t, func(t *testing.T, a, b *node) {
		jane, john := a.person("jane"), a.person("john")
		for _, many := range []int{100, 101} {
			last, johns := newBrowser(), newBrowser()
			for range many - 1 {
				newBrowser().begin(a, jane)
			}
			last.begin(a, jane)
			johns.begin(a, john)
			if _, ok := last.current(b); !ok {
				t.Fatal("not signed in on the other node")
			}
			var n int
			a.write(func(tx db.WriteTx) (err error) {
				n, err = a.m.EndThese(ctx, tx, session.Which{UserID: jane.ID}, "test")
				return err
			})
			if n != many {
				t.Errorf("%d sessions ended, want %d", n, many)
			}
			if _, ok := last.current(a); ok {
				t.Error("signed in after the end")
			}
			for signedIn := true; signedIn; { // the test's deadline ends it if it never comes
				_, signedIn = last.current(b)
			}
			for _, where := range []*node{a, b} {
				if _, ok := johns.current(where); !ok {
					t.Error("another person's session ended")
				}
			}
		}
		for name, w := range map[string]session.Which{"nothing": {}, "nobody": {UserID: "usr_nobody"}, "no realm": {Realm: "nowhere"}} {
			a.write(func(tx db.WriteTx) error {
				n, err := a.m.EndThese(ctx, tx, w, "test")
				if n != 0 {
					t.Errorf("%s: %d sessions ended", name, n)
				}
				return err
			})
		}
		a.write(func(tx db.WriteTx) error {
			n, err := a.m.EndThese(ctx, tx, session.Which{Realm: john.Realm}, "test")
			if n == 0 {
				t.Error("a realm: none ended")
			}
			return err
		})
	})
}

// The browser state is for scripts and for other sites' frames; nothing else of a login is.
func TestBrowserState(t *testing.T) {
	const name = "__Host-mintmark-state"
	onBoth(t, func(t *testing.T, n *node) {
		jane, john, b := n.person("jane"), n.person("john"), newBrowser()
		s := b.begin(n, jane)
		c := b.cookies[name]
		if c == nil || c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteNoneMode || c.Path != "/" || c.Domain != "" || n.m.StateCookie() != name {
			t.Fatalf("cookie %+v", c)
		}
		before := c.Value
		w := httptest.NewRecorder()
		if v := n.m.BrowserState(w, b.request("GET", "/", nil), s); v != before || len(w.Result().Cookies()) != 0 {
			t.Errorf("the state is %q, the browser has %q, and gets %v", v, before, w.Result().Cookies())
		}
		if b.begin(n, jane); b.cookies[name].Value != before {
			t.Error("changed though it is the same session")
		}
		if b.begin(n, john); b.cookies[name].Value == before {
			t.Error("another person, and the same state")
		}
		// It signs nobody in.
		b.cookies[cookieName].Value = b.cookies[name].Value
		if _, ok := b.current(n); ok {
			t.Error("the state is taken for the session")
		}
	})
	c := clock.NewFake(start)
	d := dbtest.Open(t, db.SQLite, c)
	n, b := newNode(t, d, sealtest.New(t, d), c, session.Options{}), newBrowser()
	b.begin(n, n.person("jane"))
	if c := b.cookies["mintmark-state"]; c == nil || c.Secure || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("without TLS: %+v", c)
	}
}
