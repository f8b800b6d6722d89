package oauth_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/outbound"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/testport"
)

// listener is the end of a client at which it hears of logouts.
type listener struct {
	url    string
	mu     sync.Mutex
	status int           // of its answers; owned by mu
	tokens []string      // owned by mu
	held   chan struct{} // its answers wait for this to be closed; nil: they do not
}

func listen(t *testing.T) *listener {
	l := &listener{status: http.StatusOK}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		form, bad := url.ParseQuery(string(body))
		if err != nil || bad != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || len(form) != 1 {
			t.Errorf("%s %s: %q", r.Method, r.Header.Get("Content-Type"), body)
		}
		l.mu.Lock()
		l.tokens = append(l.tokens, form.Get("logout_token"))
		status, held := l.status, l.held
		l.mu.Unlock()
		if held != nil {
			<-held
		}
		w.WriteHeader(status)
	}))
	s.Listener = testport.Listen(t)
	s.Start()
	t.Cleanup(s.Close)
	l.url = s.URL + "/hear"
	return l
}

func (l *listener) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.tokens)
}

func (l *listener) answer(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

// newTold is newFolk in which clients are told of logouts.
func newTold(t *testing.T, engine db.Engine) *folk {
	t.Helper()
	w := newFolk(t, engine, func(o *oauth.Options) {
		o.People.Outbound = outbound.New(outbound.Options{HTTP: true, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	})
	w.sessions.OnEnding(w.server.SessionsEnding)
	return w
}

func told(t *testing.T, f func(t *testing.T, w *folk)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newTold(t, engine)) })
	}
}

// work runs the jobs until the test ends.
func (w *folk) work() *jobs.Runner {
	w.t.Helper()
	r := jobs.NewRunner(w.db, jobs.Options{Node: "test", Clock: w.clock})
	r.Handle(oauth.LogoutJob, w.server.NotifyLogout)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	w.t.(*testing.T).Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return r
}

func (w *folk) hearsAt(client pair, l *listener, more ...func(m *registry.Metadata)) {
	w.say(client, func(c *oauth.Client) {
		c.Metadata.BackchannelLogoutURI = l.url
		for _, f := range more {
			f(&c.Metadata)
		}
	})
}

// B9.181: what an outgoing logout token says, and what it is not good for. After the module
// oidcc-backchannel-rp-initiated-logout.
func TestB9_181_BackchannelLogout(t *testing.T) {
	told(t, func(t *testing.T, w *folk) {
		here, second := listen(t), listen(t)
		w.hearsAt(w.shop, here)
		w.hearsAt(w.other, second, func(m *registry.Metadata) { m.SubjectType = registry.SubjectPairwise })
		w.work()
		b, elsewhere := w.browser().login(w.alice), w.browser().login(w.alice)
		first := w.exchange(w.shop, b.allow(asks(w.shop)))
		w.exchange(w.shop, b.allow(asks(w.shop))) // it hears once of one session, however often it asked
		pairwise := w.exchange(w.other, b.allow(asks(w.other)))
		apart := w.exchange(w.shop, elsewhere.allow(asks(w.shop)))
		id := payloadOf(t, first.text("id_token"))
		if sid, _ := id["sid"].(string); sid == "" || sid == payloadOf(t, apart.text("id_token"))["sid"] || sid == payloadOf(t, pairwise.text("id_token"))["sid"] {
			t.Fatalf("sid %q", sid)
		}
		if r := w.signIn(w.tool, "redirect_uri", shopBack); payloadOf(t, r.text("id_token"))["sid"] != nil {
			t.Error("a client that wants to hear of no logout is told of the session")
		}
		r := b.get("/oauth2/logout?" + url.Values{"id_token_hint": {first.text("id_token")}, "post_logout_redirect_uri": {"https://shop.example.org/bye"}}.Encode())
		if r.header.Get("Location") != "https://shop.example.org/bye" {
			t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
		}
		soon(t, "the clients do not hear of it", func() bool { return len(here.heard()) == 1 && len(second.heard()) == 1 })
		soon(t, "the notices stay", func() bool {
			return w.count(`SELECT COUNT(*) FROM logout_notices`)+w.count(`SELECT COUNT(*) FROM jobs WHERE kind = 'backchannel-logout'`) == 0
		})
		token := here.heard()[0]
		header, claims := w.verified(token, "ES256")
		if typ := header.ExtraHeaders["typ"]; typ != "logout+jwt" {
			t.Errorf("typ %v", typ)
		}
		now := float64(w.clock.Now().Unix())
		jti, _ := claims["jti"].(string)
		want := map[string]any{
			"iss": issuer, "aud": w.shop.ClientID, "iat": now, "exp": now + 120, "jti": jti, "sub": id["sub"], "sid": id["sid"],
			"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
		}
		if diff := cmp.Diff(want, claims); diff != "" || len(jti) < 20 {
			t.Errorf("logout token, -want +got:\n%s", diff)
		}
		_, other := w.verified(second.heard()[0], "ES256")
		known := payloadOf(t, pairwise.text("id_token"))
		if other["sub"] != known["sub"] || other["sid"] != known["sid"] || other["sub"] == w.alice.ID || other["jti"] == jti {
			t.Errorf("a pairwise client hears of %v %v and knows %v %v", other["sub"], other["sid"], known["sub"], known["sid"])
		}
		// It is nothing but a logout token.
		if w.active(w.shop, token) || w.send("GET", "/oauth2/userinfo", "", bearer(token)).status != 401 {
			t.Error("a logout token is taken for an access token")
		}
		if r := elsewhere.get("/oauth2/logout?id_token_hint=" + token); r.status != 400 {
			t.Errorf("a logout token is taken for an ID token: %d", r.status)
		}
		if r := w.refresh(w.shop, apart.text("refresh_token")); r.status != 200 {
			t.Errorf("the other browser's session: %d", r.status)
		}
	})
}

// However a session ends, the clients hear of it.
func TestClientsHearOfEveryEnd(t *testing.T) {
	told(t, func(t *testing.T, w *folk) {
		l := listen(t)
		w.hearsAt(w.shop, l)
		w.work()
		end := func(f func(ctx context.Context, tx db.WriteTx, sessionID string) error) func(*browser, string) {
			return func(_ *browser, sid string) {
				w.write(func(ctx context.Context, tx db.WriteTx) error { return f(ctx, tx, sid) })
			}
		}
		for name, ends := range map[string]func(b *browser, sid string){
			"signs out":        func(b *browser, _ string) { b.logout() },
			"another signs in": func(b *browser, _ string) { b.login(w.bob) },
			"of the list": end(func(ctx context.Context, tx db.WriteTx, sid string) error {
				return w.sessions.EndOne(ctx, tx, w.alice, sid)
			}),
			"another password": end(func(ctx context.Context, tx db.WriteTx, _ string) error {
				return w.identity.SetPassword(ctx, tx, system, w.alice.ID, redact.New("a much better pass phrase"))
			}),
			"a revoked session": func(_ *browser, sid string) {
				w.expect(w.manage("POST", "/api/revocations", object{"kind": "session", "id": sid, "reason": "test"}), 201, "")
			},
			"a revoked person": func(*browser, string) {
				w.expect(w.manage("POST", "/api/revocations", object{"kind": "user", "id": w.alice.ID, "reason": "test"}), 201, "")
			},
			"everything": func(*browser, string) {
				w.expect(w.manage("POST", "/api/revocations", object{"kind": "everything", "reason": "test"}), 201, "")
			},
			"disabled": end(func(ctx context.Context, tx db.WriteTx, _ string) error {
				return errors.Join(w.identity.DisablePerson(ctx, tx, system, w.alice.ID), w.identity.EnablePerson(ctx, tx, system, w.alice.ID))
			}),
		} {
			before := len(l.heard())
			w.clock.Advance(time.Second) // what is revoked is what was issued before
			b := w.browser().login(w.alice)
			sid, _ := payloadOf(t, w.exchange(w.shop, b.allow(asks(w.shop))).text("id_token"))["sid"].(string)
			w.clock.Advance(time.Second)
			ends(b, sid)
			soon(t, "the client does not hear of: "+name, func() bool { return len(l.heard()) == before+1 })
			if _, claims := w.verified(l.heard()[before], "ES256"); claims["sid"] != sid {
				t.Errorf("%s: it hears of %v, not of %s", name, claims["sid"], sid)
			}
		}
	})
}

// B9.181: who signs out waits for no client, and one that comes back within the hour hears of it yet.
func TestB9_181_ClientsThatDoNotAnswer(t *testing.T) {
	told(t, func(t *testing.T, w *folk) {
		slow, down := listen(t), listen(t)
		slow.held = make(chan struct{})
		release := sync.OnceFunc(func() { close(slow.held) })
		t.Cleanup(release)
		down.answer(http.StatusInternalServerError)
		w.hearsAt(w.shop, slow)
		w.hearsAt(w.other, down)
		runner := w.work()
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop))
		b.allow(asks(w.other))
		b.logout() // comes back although the client answers only below
		soon(t, "the slow client is not called", func() bool { return len(slow.heard()) == 1 })
		soon(t, "the client that is down is not called", func() bool { return len(down.heard()) == 1 })
		if r := b.get(at(asks(w.shop, "prompt", "none"))); w.backTo(r, shopBack).Get("error") != "login_required" {
			t.Error("still signed in")
		}
		release()
		soon(t, "the slow client is told again and again", func() bool {
			return w.count(`SELECT COUNT(*) FROM logout_notices WHERE client_id = '`+w.shop.ClientID+`'`) == 0
		})
		attempts := func(n int) func() bool {
			return func() bool { return w.count(`SELECT COALESCE(MAX(attempts), -1) FROM logout_notices`) == n }
		}
		soon(t, "the try is not recorded", attempts(1))
		for i, pause := range []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute} {
			w.clock.Advance(pause)
			runner.Wake()
			soon(t, "no further try", attempts(i+2))
		}
		if w.events("logout.notify") != 0 {
			t.Error("given up too early")
		}
		w.clock.Advance(30 * time.Minute)
		runner.Wake()
		soon(t, "it is never given up", attempts(-1))
		if n := len(down.heard()); n != 6 || w.events("logout.notify") != 1 {
			t.Errorf("%d tries, %d records of giving up", n, w.events("logout.notify"))
		}
		// And who is there again hears of the next.
		down.answer(http.StatusNoContent)
		b.login(w.alice)
		b.allow(asks(w.other))
		b.logout()
		soon(t, "it is not told of the next", func() bool { return len(down.heard()) == 7 && attempts(-1)() })
		seen := map[string]int{}
		for _, token := range down.heard() {
			_, claims := w.verified(token, "ES256")
			seen[claims["jti"].(string)]++
		}
		if len(seen) != 7 {
			t.Errorf("a jti came twice: %v", slices.Collect(maps.Values(seen)))
		}
	})
}

// What waits for one client is bounded, what is too late goes, and what cannot be told any more is forgotten.
func TestLogoutNoticesAreBounded(t *testing.T) {
	told(t, func(t *testing.T, w *folk) {
		l := listen(t)
		l.answer(http.StatusBadGateway)
		w.hearsAt(w.shop, l)
		fill := func(client pair, n int, expires time.Time) {
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				_, err := tx.Exec(ctx, `WITH RECURSIVE i(n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM i WHERE n < $2)
					INSERT INTO logout_notices (id, client_id, user_id, session_id, created, due, expires, attempts)
					SELECT CAST($1 AS TEXT) || CAST(n AS TEXT), CAST($1 AS TEXT), 'usr_x', 'ses_x', n, $3 + n, $4, 0 FROM i`, client.ClientID, n, db.Micros(tx.Now().Add(-time.Minute)), db.Micros(expires))
				if err != nil {
					return err
				}
				return jobs.Schedule(ctx, tx, oauth.LogoutJob, client.ClientID, tx.Now())
			})
		}
		fill(w.shop, 10_007, w.clock.Now().Add(time.Hour))
		fill(w.other, 3, w.clock.Now().Add(time.Hour)) // it wants to hear nothing any more
		w.work()
		soon(t, "the queue is not cut", func() bool { return w.count(`SELECT COUNT(*) FROM logout_notices`) == 10_000 })
		soon(t, "no round ends", func() bool {
			return w.count(`SELECT COUNT(*) FROM logout_notices WHERE attempts = 1`) == 8 && w.count(`SELECT COUNT(*) FROM jobs WHERE kind = 'backchannel-logout' AND node = ''`) == 1
		})
		if n := len(l.heard()); n != 8 || w.events("logout.notify") != 1 {
			t.Errorf("a client that is down is tried %d times in one round, %d records", n, w.events("logout.notify"))
		}
		w.clock.Advance(3 * time.Hour)
		if err := w.server.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.count(`SELECT COUNT(*) FROM logout_notices`); n != 0 {
			t.Errorf("%d notices outlive their time", n)
		}
	})
}

// Without a client to call with nothing is written down, and nothing is promised.
func TestNobodyIsToldWithoutOutbound(t *testing.T) {
	w := newFolk(t, dbtest.Engines(t)[0])
	w.sessions.OnEnding(w.server.SessionsEnding)
	w.hearsAt(w.shop, &listener{url: "https://shop.example.org/hear"})
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	b.logout()
	if n := w.count(`SELECT COUNT(*) FROM logout_notices`); n != 0 {
		t.Errorf("%d notices", n)
	}
	promised := func(w *folk) any {
		return w.send("GET", "/.well-known/openid-configuration", "").json["backchannel_logout_supported"]
	}
	if with, without := promised(newTold(t, w.engine())), promised(w); with != true || without != nil {
		t.Errorf("promised: %v with, %v without", with, without)
	}
}
