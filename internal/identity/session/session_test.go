package session_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
)

// node is one node of an installation.
type node struct {
	t     testing.TB
	d     *db.DB
	clock *clock.Fake
	dir   *identity.Directory
	m     *session.Manager
}

func newNode(t testing.TB, d *db.DB, k *seal.Keyring, c *clock.Fake, o session.Options) *node {
	t.Helper()
	dir, err := identity.New(d, k, identity.Options{Clock: c, Passwords: password.NewPool(password.Options{Params: password.Params{Memory: 64, Time: 1, Threads: 1}})})
	if err != nil {
		t.Fatal(err)
	}
	o.Clock = c
	m, err := session.New(d, k, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return &node{t, d, c, dir, m}
}

func onBoth(t *testing.T, f func(t *testing.T, n *node)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			f(t, newNode(t, d, sealtest.New(t, d), c, session.Options{Secure: true, Origin: "https://mint.example.org/at/a/path"}))
		})
	}
}

// twoNodes runs f with two nodes on one database that hear of each other's changes.
func twoNodes(t *testing.T, f func(t *testing.T, a, b *node)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			url := dbtest.URL(t, engine)
			d1, d2 := dbtest.OpenURL(t, url, c), dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d1)
			a, b := newNode(t, d1, k, c, session.Options{Secure: true}), newNode(t, d2, k, c, session.Options{Secure: true})
			for _, d := range []*db.DB{d1, d2} {
				stop, err := d.StartFeed(ctx)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
			}
			f(t, a, b)
		})
	}
}

func (n *node) person(name string) (u identity.User) {
	n.t.Helper()
	n.write(func(tx db.WriteTx) (err error) {
		u, err = n.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: name}, redact.New("a walk in the rain at night"))
		return err
	})
	return u
}

func (n *node) write(f func(tx db.WriteTx) error) {
	n.t.Helper()
	if err := n.d.Write(ctx, f); err != nil {
		n.t.Fatal(err)
	}
}

// browser keeps cookies as browsers do, as far as we set them.
type browser struct {
	cookies map[string]*http.Cookie
}

func newBrowser() *browser { return &browser{map[string]*http.Cookie{}} }

func (b *browser) request(method, target string, form url.Values) *http.Request {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, "https://mint.example.org"+target, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range b.cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

func (b *browser) keep(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c
		}
	}
}

func (b *browser) begin(n *node, u identity.User) session.Session {
	n.t.Helper()
	w := httptest.NewRecorder()
	s, err := n.m.Begin(ctx, w, b.request("POST", "/login", nil), u, []string{"pwd"})
	if err != nil {
		n.t.Fatal(err)
	}
	b.keep(w)
	return s
}

func (b *browser) current(n *node) (session.Session, bool) {
	n.t.Helper()
	s, ok, err := n.m.Current(ctx, b.request("GET", "/", nil))
	if err != nil {
		n.t.Fatal(err)
	}
	return s, ok
}

func (b *browser) token(n *node) string {
	n.t.Helper()
	w := httptest.NewRecorder()
	token := n.m.Token(w, b.request("GET", "/login", nil))
	b.keep(w)
	return token
}

const cookieName = "__Host-mintmark-session"

func TestSessionLives(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane, b := n.person("jane"), newBrowser()
		if _, ok := b.current(n); ok {
			t.Fatal("somebody is signed in")
		}
		s := b.begin(n, jane)
		if s.User.ID != jane.ID || !s.AuthTime.Equal(start) || len(s.AMR) != 1 || s.AMR[0] != "pwd" || !strings.HasPrefix(s.ID, "ses_") {
			t.Errorf("session %+v", s)
		}
		c := b.cookies[cookieName]
		if c == nil || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || strings.Contains(s.ID, c.Value) {
			t.Fatalf("cookie %+v", c)
		}
		got, ok := b.current(n)
		if !ok || got.ID != s.ID || got.User.ID != jane.ID || got.AMR[0] != "pwd" || !got.AuthTime.Equal(start) {
			t.Errorf("current %+v, %v", got, ok)
		}
		w := httptest.NewRecorder()
		if err := n.m.End(ctx, w, b.request("POST", "/logout", nil)); err != nil {
			t.Fatal(err)
		}
		stale := *b.cookies[cookieName]
		b.keep(w)
		if len(b.cookies) != 1 || b.cookies["__Host-mintmark-device"] == nil {
			t.Errorf("cookies left: %v", b.cookies)
		}
		b.cookies[cookieName] = &stale
		if _, ok := b.current(n); ok {
			t.Error("the cookie works after the end")
		}
		if err := n.m.End(ctx, httptest.NewRecorder(), b.request("POST", "/logout", nil)); err != nil {
			t.Errorf("ending nothing: %v", err)
		}
		var events []string
		n.write(func(tx db.WriteTx) error {
			rows, err := tx.Query(ctx, `SELECT action || ' ' || target_id FROM audit_events WHERE target_type = 'session' ORDER BY action`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var e string
				if err := rows.Scan(&e); err != nil {
					return err
				}
				events = append(events, e)
			}
			return rows.Err()
		})
		if len(events) != 2 || events[0] != "session.begin "+s.ID || events[1] != "session.end "+s.ID {
			t.Errorf("events %q", events)
		}
	})
}

func TestPlainHTTPHasItsOwnCookie(t *testing.T) {
	c := clock.NewFake(start)
	d := dbtest.Open(t, db.SQLite, c)
	n := newNode(t, d, sealtest.New(t, d), c, session.Options{})
	b := newBrowser()
	b.token(n)
	b.begin(n, n.person("jane"))
	if c := b.cookies["mintmark-session"]; c == nil || c.Secure || !c.HttpOnly || len(b.cookies) != 3 || b.cookies["mintmark-device"] == nil {
		t.Errorf("cookies %v", b.cookies)
	}
	if _, ok := b.current(n); !ok {
		t.Error("not signed in")
	}
}

func TestSessionEndsByItself(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane := n.person("jane")
		idle, busy := newBrowser(), newBrowser()
		idle.begin(n, jane)
		busy.begin(n, jane)
		for at := 30 * time.Minute; at < 24*time.Hour; at += 30 * time.Minute {
			n.clock.Set(start.Add(at))
			if _, ok := busy.current(n); !ok {
				t.Fatalf("ended after %s of use", at)
			}
			if at == 30*time.Minute {
				continue
			}
			if _, ok := idle.current(n); ok {
				t.Fatalf("alive after %s without use", at)
			}
		}
		n.clock.Set(start.Add(24 * time.Hour))
		if _, ok := busy.current(n); ok {
			t.Error("alive after a day")
		}
	})
}

// What one node saw reaches the database in batches; another node asks it before it refuses.
func TestUseOnOneNodeKeepsTheSessionOnAnother(t *testing.T) {
	twoNodes(t, func(t *testing.T, a, b *node) {
		jane := a.person("jane")
		br := newBrowser()
		br.begin(a, jane)
		for _, n := range []*node{a, b} {
			if _, ok := br.current(n); !ok {
				t.Fatal("not signed in")
			}
		}
		a.clock.Advance(50 * time.Minute)
		if _, ok := br.current(a); !ok {
			t.Fatal("not signed in")
		}
		if err := a.m.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		a.clock.Advance(50 * time.Minute)
		if _, ok := br.current(b); !ok {
			t.Error("the other node thinks it idle")
		}
		if n, err := a.m.Sweep(ctx); err != nil || n != 0 {
			t.Errorf("swept %d, %v", n, err)
		}
		a.clock.Advance(2 * time.Hour)
		if _, ok := br.current(b); ok {
			t.Error("alive")
		}
		if n, err := b.m.Sweep(ctx); err != nil || n != 1 {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

// Two people use one browser: nothing of the first is left to the second.
func TestOneBrowserTwoPeople(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane, bob, b := n.person("jane"), n.person("bob"), newBrowser()
		first := b.begin(n, jane)
		old := *b.cookies[cookieName]
		token := b.token(n)
		second := b.begin(n, bob)
		if second.ID == first.ID || b.cookies[cookieName].Value == old.Value {
			t.Error("the session was taken over")
		}
		if s, ok := b.current(n); !ok || s.User.ID != bob.ID {
			t.Errorf("current %+v", s)
		}
		if err := n.m.CheckToken(b.request("POST", "/logout", url.Values{session.Field: {token}})); !errors.Is(err, session.ErrForm) {
			t.Errorf("a form of the first: %v", err)
		}
		leftover := newBrowser()
		leftover.cookies[cookieName] = &old
		if _, ok := leftover.current(n); ok {
			t.Error("the first session lives on")
		}
		// Both cookies at once, which no browser of ours sends: nobody.
		r := b.request("GET", "/", nil)
		r.AddCookie(&http.Cookie{Name: cookieName, Value: old.Value})
		if _, ok, err := n.m.Current(ctx, r); ok || err != nil {
			t.Errorf("two cookies: %v, %v", ok, err)
		}
	})
}

// Whoever is disabled or gets another password is signed out on every node within a second.
func TestDisabledIsSignedOutEverywhere(t *testing.T) {
	twoNodes(t, func(t *testing.T, a, b *node) {
		for what, act := range map[string]func(tx db.WriteTx, u identity.User) error{
			"disabled": func(tx db.WriteTx, u identity.User) error { return a.dir.DisablePerson(ctx, tx, admin, u.ID) },
			"new password": func(tx db.WriteTx, u identity.User) error {
				return a.dir.SetPassword(ctx, tx, admin, u.ID, redact.New("seven small boats on a lake"))
			},
			"all ended": func(tx db.WriteTx, u identity.User) error { return a.m.EndAllOf(ctx, tx, u.ID) },
		} {
			u := a.person("p" + what[:3])
			bystander := newBrowser()
			bystander.begin(a, a.person("q"+what[:3]))
			browsers := []*browser{newBrowser(), newBrowser()}
			for _, br := range browsers {
				br.begin(a, u)
				for _, n := range []*node{a, b} {
					if _, ok := br.current(n); !ok {
						t.Fatal("not signed in")
					}
				}
			}
			a.write(func(tx db.WriteTx) error { return act(tx, u) })
			// The promise is a second; a slow machine gets longer to keep it, but not for ever.
			for _, n := range []*node{a, b} {
				for _, br := range browsers {
					for try := 0; ; try++ {
						if _, ok := br.current(n); !ok {
							break
						}
						if try == 100 {
							t.Fatalf("%s: still signed in", what)
						}
						time.Sleep(50 * time.Millisecond)
					}
				}
				if _, ok := bystander.current(n); !ok {
					t.Errorf("%s: somebody else was signed out", what)
				}
			}
		}
	})
}

func TestDisabledPersonGetsNoSession(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane := n.person("jane")
		n.write(func(tx db.WriteTx) error { return n.dir.DisablePerson(ctx, tx, admin, jane.ID) })
		w := httptest.NewRecorder()
		if _, err := n.m.Begin(ctx, w, newBrowser().request("POST", "/login", nil), jane, []string{"pwd"}); !errors.Is(err, identity.ErrCredentials) || len(w.Result().Cookies()) != 0 {
			t.Errorf("%v, cookies %v", err, w.Result().Cookies())
		}
	})
}

// A login that is under way when the password is changed, or the person is disabled and enabled, began before the end of
// all sessions and must not outlive it.
func TestLoginUnderWayEndsWithThePassword(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		const secret, next = "a walk in the rain at night", "seven small boats on a lake"
		jane := n.person("jane")
		setPassword := func(secret string) func(tx db.WriteTx) error {
			return func(tx db.WriteTx) error { return n.dir.SetPassword(ctx, tx, admin, jane.ID, redact.New(secret)) }
		}
		for name, change := range map[string][]func(tx db.WriteTx) error{
			"another password": {setPassword(next)},
			// Even the same one: who set it meant to end what it had begun.
			"the same password again": {setPassword(secret)},
			"disabled and enabled": {
				func(tx db.WriteTx) error { return n.dir.DisablePerson(ctx, tx, admin, jane.ID) },
				func(tx db.WriteTx) error { return n.dir.EnablePerson(ctx, tx, admin, jane.ID) },
			},
		} {
			n.write(setPassword(secret))
			n.clock.Advance(time.Second)
			u, err := n.dir.VerifyPersonPassword(ctx, "employees", "jane", redact.New(secret), identity.Origin{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range change {
				n.write(f)
			}
			w := httptest.NewRecorder()
			if _, err := n.m.Begin(ctx, w, newBrowser().request("POST", "/login", nil), u, []string{"pwd"}); !errors.Is(err, identity.ErrCredentials) || len(w.Result().Cookies()) != 0 {
				t.Errorf("%s: %v, cookies %v", name, err, w.Result().Cookies())
			}
		}
	})
}

// A form that is out of date is replaced at the login: that is no other password, for this login or for one beside it.
func TestLoginGoesOnWhenTheFormIsReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane := n.person("jane")
		// bcrypt of "old enough to vote in May"; replaced by the first login.
		form, err := identity.ImportedHash(redact.New("$2a$04$sNVA1VjBlkhyEBDIrUcOxewrwX/K/TYu6aOCClb8PapUT5P8FCQUC"))
		if err != nil {
			t.Fatal(err)
		}
		n.write(func(tx db.WriteTx) error { return n.dir.SetPasswordHashed(ctx, tx, admin, jane.ID, form) })
		var users []identity.User
		for range 2 {
			n.clock.Advance(time.Second)
			u, err := n.dir.VerifyPersonPassword(ctx, "employees", "jane", redact.New("old enough to vote in May"), identity.Origin{})
			if err != nil {
				t.Fatal(err)
			}
			users = append(users, u)
		}
		for _, u := range users {
			newBrowser().begin(n, u)
		}
	})
}

// What was begun in a session can ask in its own transaction whether that still is.
func TestAlive(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		b := newBrowser()
		s := b.begin(n, n.person("jane"))
		alive := func() (ok bool) {
			n.write(func(tx db.WriteTx) (err error) { ok, err = session.Alive(ctx, tx, s.ID); return err })
			return ok
		}
		if !alive() {
			t.Error("not alive")
		}
		n.clock.Advance(24 * time.Hour)
		if alive() {
			t.Error("alive after a day")
		}
		n.clock.Set(start)
		n.write(func(tx db.WriteTx) error { return n.m.EndAllOf(ctx, tx, s.User.ID) })
		if alive() {
			t.Error("alive after its end")
		}
	})
}

// Who signs in again in the same browser keeps the session under a new secret; the one from before is worth nothing.
func TestSigningInAgainChangesTheSecret(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane, b := n.person("jane"), newBrowser()
		first := b.begin(n, jane)
		device := b.cookies["__Host-mintmark-device"].Value
		old := *b.cookies[cookieName]
		n.clock.Advance(10 * time.Minute)
		again := b.begin(n, jane)
		if again.ID != first.ID || b.cookies[cookieName].Value == old.Value || !again.AuthTime.After(first.AuthTime) || again.Device != first.Device {
			t.Errorf("%+v after %+v", again, first)
		}
		if s, ok := b.current(n); !ok || !s.AuthTime.Equal(again.AuthTime) {
			t.Errorf("current %+v, %v", s, ok)
		}
		stolen := newBrowser()
		stolen.cookies[cookieName] = &old
		if _, ok := stolen.current(n); ok {
			t.Error("the secret from before the second login works")
		}
		// A browser stays known to each of its people, and forgets nobody's session for it.
		bob := b.begin(n, n.person("bob"))
		if b.cookies["__Host-mintmark-device"].Value != device || bob.Device == first.Device {
			t.Errorf("device of the second person: %+v", bob)
		}
	})
}

// What a browser claims to be known by counts only if we gave it.
func TestForeignDeviceIsReplaced(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		b := newBrowser()
		chosen := "mmn_" + strings.Repeat("A", 43)
		b.cookies["__Host-mintmark-device"] = &http.Cookie{Name: "__Host-mintmark-device", Value: chosen}
		b.begin(n, n.person("jane"))
		if c := b.cookies["__Host-mintmark-device"]; c.Value == chosen || c.MaxAge < 86400 || !c.HttpOnly || !c.Secure {
			t.Errorf("device %+v", c)
		}
	})
}
