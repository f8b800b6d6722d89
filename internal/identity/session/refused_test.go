package session_test

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// Whatever stands in the cookie, it is a session of ours or none.
func TestMalformedCookiesAreNone(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		b := newBrowser()
		b.begin(n, n.person("jane"))
		good := b.cookies[cookieName].Value
		flipped := []byte(good)
		flipped[len(flipped)-2] ^= 1
		for name, value := range map[string]string{
			"empty": "", "prefix": "mms_", "no secret": good[:31], "cut": good[:len(good)-1], "long": good + "x", "flipped": string(flipped),
			"other id": "mms_" + strings.Repeat("0", 26) + good[30:], "huge": strings.Repeat("a", 100_000), "upper": strings.ToUpper(good),
			"no id": "mms_" + strings.Repeat("!", 26) + good[30:], "quoted": "%00", "json": `{"id":1}`, "id alone": strings.Repeat("x", 73),
		} {
			r := b.request("GET", "/", nil)
			r.Header.Set("Cookie", cookieName+"="+value)
			if s, ok, err := n.m.Current(ctx, r); ok || err != nil {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
		}
		many := b.request("GET", "/", nil)
		many.Header.Set("Cookie", strings.Repeat("a=b; ", 10_000))
		if _, ok, err := n.m.Current(ctx, many); ok || err != nil {
			t.Errorf("10000 cookies: %v, %v", ok, err)
		}
		if _, ok := b.current(n); !ok {
			t.Error("the good one does not work any more")
		}
	})
}

// A form without a token, with that of another browser or session, with one from before the login, or sent by
// another site, is refused.
func TestFormsOfStrangersAreRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane, bob := n.person("jane"), n.person("bob")
		b, eve := newBrowser(), newBrowser()
		before := b.token(n)
		visitor := *b.cookies["__Host-mintmark-visitor"]
		check := func(what string, br *browser, form url.Values, headers map[string]string, want bool) {
			t.Helper()
			r := br.request("POST", "/login", form)
			for k, v := range headers {
				r.Header.Set(k, v)
			}
			if err := n.m.CheckToken(r); (err == nil) != want || err != nil && !errors.Is(err, session.ErrForm) {
				t.Errorf("%s: %v", what, err)
			}
		}
		form := func(tokens ...string) url.Values { return url.Values{session.Field: tokens} }
		check("its own", b, form(before), nil, true)
		check("its own, again", b, form(before), nil, true)
		check("another one of its own", b, form(b.token(n)), nil, true)
		check("none", b, url.Values{}, nil, false)
		check("two", b, form(before, before), nil, false)
		check("empty", b, form(""), nil, false)
		check("junk", b, form("AAAA"), nil, false)
		check("long", b, form(strings.Repeat("A", 10_000)), nil, false)
		check("changed", b, form("A"+before[1:]), nil, before[0] == 'A')
		check("without the cookie", newBrowser(), form(before), nil, false)
		check("that of a stranger's browser", b, form(eve.token(n)), nil, false)
		for site, want := range map[string]bool{"same-origin": true, "none": true, "cross-site": false, "same-site": false, "nonsense": false} {
			check("fetch site "+site, b, form(before), map[string]string{"Sec-Fetch-Site": site}, want)
		}
		for origin, want := range map[string]bool{
			"https://mint.example.org": true, "null": true, "": true, "https://evil.example.org": false, "https://mint.example.org.evil.org": false, "https://mint.example.org:8443": false,
		} {
			check("origin "+origin, b, form(before), map[string]string{"Origin": origin}, want)
		}
		// Behind a proxy that rewrites the Host header, the public address is ours all the same.
		proxied := b.request("POST", "/login", form(before))
		proxied.Host = "10.0.0.7:8080"
		proxied.Header.Set("Origin", "https://mint.example.org")
		if err := n.m.CheckToken(proxied); err != nil {
			t.Errorf("behind a proxy: %v", err)
		}
		// In the URL it is no token: URLs are written down.
		r := b.request("POST", "/login?"+form(before).Encode(), url.Values{})
		if err := n.m.CheckToken(r); !errors.Is(err, session.ErrForm) {
			t.Errorf("in the URL: %v", err)
		}
		// After the login nothing from before is good, not even with the old cookie kept.
		b.begin(n, jane)
		if b.cookies["__Host-mintmark-visitor"] != nil {
			t.Error("the visitor's cookie outlives the login")
		}
		check("replayed after the login", b, form(before), nil, false)
		b.cookies[visitor.Name] = &visitor
		check("replayed with the old cookie", b, form(before), nil, false)
		during := b.token(n)
		check("of the session", b, form(during), nil, true)
		eve.begin(n, bob)
		check("of another session", eve, form(during), nil, false)
		w := httptest.NewRecorder()
		if err := n.m.End(ctx, w, b.request("POST", "/logout", nil)); err != nil {
			t.Fatal(err)
		}
		b.keep(w)
		check("after the end", b, form(during), nil, false)
	})
}

func TestMalformedFormIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		r := newBrowser().request("POST", "/login", url.Values{"x": {"y"}})
		r.Body = io.NopCloser(strings.NewReader("csrf=%zz"))
		if err := n.m.CheckToken(r); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v", err)
		}
	})
}

func TestNothingOfTheCookieIsStored(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		b := newBrowser()
		b.begin(n, n.person("jane"))
		secret := b.cookies[cookieName].Value[31:]
		n.write(func(tx db.WriteTx) error {
			var stored []byte
			if err := tx.QueryRow(ctx, `SELECT verifier FROM sessions`).Scan(&stored); err != nil {
				return err
			}
			if strings.Contains(string(stored), secret) || len(stored) != 36 {
				t.Errorf("stored %x", stored)
			}
			return nil
		})
	})
}

func TestOptionsThatCannotBe(t *testing.T) {
	d := dbtest.Open(t, db.SQLite, nil)
	k := sealtest.New(t, d)
	dir, err := identity.New(d, k, identity.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []session.Options{{Idle: time.Second}, {Idle: 2 * time.Hour, Absolute: time.Hour}, {Idle: -time.Hour}, {Origin: "mint.example.org"}, {Origin: "https://%"}} {
		if _, err := session.New(d, k, dir, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// Nobody sees or ends the sessions of another person; one's own end one by one, or all others at once.
func TestB8_167_SessionsOfOthers(t *testing.T) {
	onBoth(t, func(t *testing.T, n *node) {
		jane, bob := n.person("jane"), n.person("bob")
		here, there, third, his := newBrowser(), newBrowser(), newBrowser(), newBrowser()
		mine, other := here.begin(n, jane), there.begin(n, jane)
		third.begin(n, jane)
		foreign := his.begin(n, bob)
		var listed []session.Listed
		if err := n.d.Read(ctx, func(tx db.ReadTx) (err error) { listed, err = n.m.List(ctx, tx, jane.ID); return err }); err != nil || len(listed) != 3 {
			t.Fatalf("listed %+v, %v", listed, err)
		}
		for _, l := range listed {
			if l.ID == foreign.ID {
				t.Error("another person's session is listed")
			}
		}
		for _, sessionID := range []string{foreign.ID, "ses_01m81j18g0z3btg8awwrp5dkvk", "", "' OR 1=1"} {
			if err := n.d.Write(ctx, func(tx db.WriteTx) error { return n.m.EndOne(ctx, tx, jane, sessionID) }); !fault.Is(err, fault.NotFound) {
				t.Errorf("end %q: %v", sessionID, err)
			}
		}
		n.write(func(tx db.WriteTx) error { return n.m.EndOne(ctx, tx, jane, other.ID) })
		if _, ok := there.current(n); ok {
			t.Error("the ended one is alive")
		}
		n.write(func(tx db.WriteTx) error { return n.m.EndOthers(ctx, tx, jane, mine.ID) })
		if _, ok := third.current(n); ok {
			t.Error("another one is alive")
		}
		for name, b := range map[string]*browser{"the one that stays": here, "another person's": his} {
			if _, ok := b.current(n); !ok {
				t.Errorf("%s ended", name)
			}
		}
	})
}

// The gate sees every login before a session begins.
func TestAdmitIsAsked(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			var asked []string
			refused := errors.New("too little")
			n := newNode(t, d, sealtest.New(t, d), c, session.Options{Secure: true, Admit: func(_ context.Context, _ db.ReadTx, u identity.User, amr []string) error {
				asked = amr
				if len(amr) < 2 {
					return refused
				}
				return nil
			}})
			jane := n.person("jane")
			w := httptest.NewRecorder()
			if _, err := n.m.Begin(ctx, w, newBrowser().request("POST", "/login", nil), jane, []string{"pwd"}); !errors.Is(err, refused) || len(w.Result().Cookies()) != 0 {
				t.Errorf("%v, cookies %v", err, w.Result().Cookies())
			}
			s, err := n.m.Begin(ctx, w, newBrowser().request("POST", "/login", nil), jane, []string{"pwd", "mfa"})
			if err != nil || len(asked) != 2 || s.ACR() != "2" {
				t.Errorf("%+v, %v, asked %v", s, err, asked)
			}
		})
	}
}
