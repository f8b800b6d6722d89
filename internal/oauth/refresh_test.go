package oauth_test

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

func TestRefresh(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		first := w.signIn(w.shop, "scope", "openid profile sales_order.read")
		token := first.text("refresh_token")
		for range 3 { // within one second of the clock: what counts is the generation
			r := w.refresh(w.shop, token)
			if r.status != 200 || r.text("refresh_token") == token || r.text("id_token") != "" || !w.active(w.shop, r.text("access_token")) {
				t.Fatalf("%d %s", r.status, r.body)
			}
			token = r.text("refresh_token")
		}
		narrow := w.refresh(w.shop, token, "scope", "profile")
		if narrow.status != 200 || narrow.text("scope") != "profile" {
			t.Errorf("narrower: %d %s", narrow.status, narrow.body)
		}
		w.expect(w.refresh(w.shop, narrow.text("refresh_token"), "scope", "profile email"), 400, "invalid_scope")
		whole := w.refresh(w.shop, narrow.text("refresh_token"))
		if whole.status != 200 || whole.text("scope") != "openid profile sales_order.read" {
			t.Errorf("whole again: %d %s", whole.status, whole.body)
		}
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(whole.text("access_token"))); r.status != 200 || r.text("sub") != w.alice.ID {
			t.Errorf("userinfo: %d %s", r.status, r.body)
		}
		// Unknown parameters mean nothing.
		if r := w.refresh(w.shop, whole.text("refresh_token"), "client_session_host", "evil.test"); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// Who gets refresh tokens is said by the client's settings and by the person.
func TestWhoGetsRefreshTokens(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		if r := w.signIn(w.other); r.text("refresh_token") != "" {
			t.Error("a refresh token that nobody allowed")
		}
		r := w.signIn(w.other, "scope", "openid offline_access")
		if r = w.refresh(w.other, r.text("refresh_token")); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
		public := pair{ClientID: w.tool.ClientID}
		r = w.exchange(public, w.browser().login(w.alice).allow(asks(w.tool, "scope", "openid offline_access")))
		if r = w.refresh(public, r.text("refresh_token")); r.status != 200 {
			t.Errorf("a public client: %d %s", r.status, r.body)
		}
		w.settings("second", registry.RefreshNever)
		b := w.browser().login(w.alice)
		soon(t, "offline_access is allowed still", func() bool {
			return strings.Contains(b.get(at(asks(w.other, "scope", "openid offline_access"))).header.Get("Location"), "invalid_scope")
		})
	})
}

// A token used again, after the time in which an answer may have been lost, ends the family; within it, the same answer
// comes again.
func TestReuse(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		first := w.signIn(w.shop)
		second := w.refresh(w.shop, first.text("refresh_token"))
		w.clock.Advance(10 * time.Second)
		for range 5 {
			again := w.refresh(w.shop, first.text("refresh_token"))
			if again.status != 200 || again.text("refresh_token") != second.text("refresh_token") {
				t.Fatalf("a retry: %d %s", again.status, again.body)
			}
		}
		w.expect(w.refresh(w.shop, first.text("refresh_token")), 400, "invalid_grant") // too often
		if !w.active(w.shop, first.text("access_token")) || w.events("grant.retry") != 5 {
			t.Errorf("retries ended the family, or %d were recorded", w.events("grant.retry"))
		}
		w.clock.Advance(time.Microsecond)
		w.expect(w.refresh(w.shop, first.text("refresh_token")), 400, "invalid_grant")
		w.expect(w.refresh(w.shop, second.text("refresh_token")), 400, "invalid_grant")
		for _, r := range []reply{first, second} {
			if w.active(w.shop, r.text("access_token")) {
				t.Error("an access token of the family is active")
			}
		}
		if w.events("grant.end") != 1 {
			t.Errorf("%d events", w.events("grant.end"))
		}

		// Once the successor was used, the one before is a reuse at any time.
		first = w.signIn(w.shop)
		second = w.refresh(w.shop, first.text("refresh_token"))
		third := w.refresh(w.shop, second.text("refresh_token"))
		w.expect(w.refresh(w.shop, first.text("refresh_token")), 400, "invalid_grant")
		w.expect(w.refresh(w.shop, third.text("refresh_token")), 400, "invalid_grant")
	})
}

// Only its own client can do anything with a refresh token, and nobody else can end the family by trying.
func TestRefreshByOthers(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		first := w.signIn(w.shop)
		second := w.refresh(w.shop, first.text("refresh_token"))
		w.clock.Advance(time.Minute)
		for _, token := range []string{first.text("refresh_token"), second.text("refresh_token")} {
			w.expect(w.refresh(w.other, token), 400, "invalid_grant")
			w.expect(w.refresh(pair{ClientID: w.shop.ClientID, Secret: "guess"}, token), 401, "invalid_client")
			w.expect(w.refresh(pair{ClientID: w.shop.ClientID}, token), 401, "invalid_client")
		}
		token := second.text("refresh_token")
		for _, bad := range []string{token[:len(token)-1], token + "A", token[1:], strings.ToUpper(token), token[:40] + "x" + token[41:], strings.Replace(token, "_2_", "_1_", 1), strings.Replace(token, "_2_", "_9_", 1), "mmr_", token + " "} {
			if bad == token {
				continue
			}
			w.expect(w.refresh(w.shop, bad), 400, "invalid_grant")
		}
		w.expect(w.refresh(w.shop, ""), 400, "invalid_request")
		if r := w.refresh(w.shop, token); r.status != 200 {
			t.Errorf("the owner: %d %s", r.status, r.body)
		}
	})
}

// What ends a family.
func TestFamilyEnds(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		inactive, active := false, true
		for name, end := range map[string]func(token string){
			"revoked": func(token string) {
				if r := w.send("POST", "/oauth2/revoke", "token="+token, auth(w.other.ClientID, w.other.Secret)); r.status != 400 || r.text("error") != "unauthorized_client" {
					t.Errorf("another client revokes: %d %s", r.status, r.body)
				}
				if r := w.refresh(w.shop, token); r.status != 200 {
					t.Errorf("another client revoked it: %d %s", r.status, r.body)
				}
				for range 2 {
					if r := w.send("POST", "/oauth2/revoke", "token_type_hint=access_token&token="+token, auth(w.shop.ClientID, w.shop.Secret)); r.status != 200 {
						t.Errorf("revoke: %d %s", r.status, r.body)
					}
				}
			},
			"withdrawn": func(string) {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.shop.ClientID)
				})
			},
			"disabled": func(string) {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					if err := w.identity.DisablePerson(ctx, tx, system, w.alice.ID); err != nil {
						return err
					}
					return w.identity.EnablePerson(ctx, tx, system, w.alice.ID)
				})
			},
			"idle": func(string) { w.clock.Advance(30*24*time.Hour + time.Second) },
		} {
			t.Run(name, func(t *testing.T) { w.ends(t, end) })
			if name == "withdrawn" {
				if r := w.browser().login(w.alice).get(at(asks(w.shop))); !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
					t.Errorf("withdrawn, and yet not asked again: %s", r.header.Get("Location"))
				}
			}
		}
		t.Run("inactive", func(t *testing.T) {
			w.ends(t, func(string) {
				w.clock.Advance(1500 * time.Millisecond)
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					for _, a := range []*bool{&inactive, &active} {
						if _, err := w.registry.PutApplication(ctx, tx, system, "shop", registry.Change{Active: a}, anyRevision); err != nil {
							return err
						}
					}
					return nil
				})
				w.shop = w.mint("shop", 2)
				soon(t, "not active again", func() bool { return w.refresh(w.shop, "mmr_").text("error") == "invalid_grant" })
			})
		})
		t.Run("the client may not any more", func(t *testing.T) {
			token := w.signIn(w.shop).text("refresh_token")
			w.settings("shop", registry.RefreshNever)
			soon(t, "it may still", func() bool {
				r := w.refresh(w.shop, token)
				if r.status == 200 {
					token = r.text("refresh_token")
				}
				return r.text("error") == "unauthorized_client"
			})
		})
	})
}

func (w *folk) ends(t *testing.T, end func(token string)) {
	t.Helper()
	tokens := w.signIn(w.shop)
	tokens = w.refresh(w.shop, tokens.text("refresh_token"))
	if tokens.status != 200 {
		t.Fatalf("%d %s", tokens.status, tokens.body)
	}
	end(tokens.text("refresh_token"))
	w.expect(w.refresh(w.shop, tokens.text("refresh_token")), 400, "invalid_grant")
	if w.active(w.shop, tokens.text("access_token")) {
		t.Error("the access token is active")
	}
}

// However often it is rotated, a family ends after half a year; and the idle time moves with each use.
func TestAbsoluteEnd(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop).text("refresh_token")
		var day int
		for day = 0; day < 200; day += 20 {
			r := w.refresh(w.shop, token)
			if r.status != 200 {
				break
			}
			token = r.text("refresh_token")
			w.clock.Advance(20 * 24 * time.Hour)
		}
		if day != 180 {
			t.Errorf("it ended after %d days", day)
		}
	})
}

// What may not be asked for any more is not in the next token, though the grant goes on.
func TestScopeTakenFromClient(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop, "scope", "openid sales_order.read").text("refresh_token")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			if _, err := tx.Exec(ctx, `DELETE FROM client_scopes WHERE client_id = $1`, w.shop.ClientID); err != nil {
				return err
			}
			return tx.Changed(ctx, "client", w.shop.ClientID)
		})
		soon(t, "the scope is there still", func() bool {
			r := w.refresh(w.shop, token)
			token = r.text("refresh_token")
			return r.status == 200 && r.text("scope") == "openid"
		})
	})
}

// node is another process on the same database.
func (w *folk) node(t *testing.T, change ...func(*oauth.Options)) *folk {
	t.Helper()
	d := dbtest.OpenURL(t, w.url, w.clock)
	dir, err := identity.New(d, w.keyring, identity.Options{Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := registry.New(d, w.keyring, dir, registry.Options{Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(d, w.keyring, dir, session.Options{Secure: true, Origin: issuer, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	o := oauth.Options{DB: d, Clients: reg.Clients(), Users: dir.Verifier(), Keys: w.ring, Clock: w.clock, Issuer: issuer,
		People: &oauth.PeopleOptions{Keyring: w.keyring, Sessions: sessions, People: fakePeople{d}, Catalog: fakeCatalog{}, Pages: w.pages}}
	for _, f := range change {
		f(&o)
	}
	server, err := oauth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := d.StartFeed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := server.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	mux := route.New(route.Options{Clock: w.clock, DB: d})
	server.Routes(mux)
	base := *w.world
	base.db, base.server, base.mux = d, server, mux
	return &folk{whole: &whole{world: &base, registry: reg, identity: dir}, sessions: sessions, pages: w.pages, alice: w.alice, bob: w.bob, shop: w.shop, other: w.other, tool: w.tool}
}

// Many at once on two nodes: there is never more than one live branch, and nobody who only retries ends the family.
func TestRefreshAtOnceOnTwoNodes(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		nodes := []*folk{w, w.node(t)}
		token := w.signIn(w.shop).text("refresh_token")
		for round := range 5 {
			const at = 20
			got := make(chan reply, at)
			for i := range at {
				go func() { got <- nodes[i%2].refresh(w.shop, token) }()
			}
			next := map[string]int{}
			for range at {
				if r := <-got; r.status == 200 {
					next[r.text("refresh_token")]++
				} else if r.text("error") != "invalid_grant" {
					t.Errorf("%d %s", r.status, r.body)
				}
			}
			if len(next) != 1 {
				t.Fatalf("round %d: %d successors: %v", round, len(next), next)
			}
			for token = range next {
				if next[token] != 6 { // the first, and five retries
					t.Errorf("round %d: %d answers", round, next[token])
				}
			}
		}
		if w.events("grant.end") != 0 {
			t.Error("retries ended the family")
		}
	})
}

// A code and a refresh token that one node used are used on every other, at once.
func TestUsedOnAnotherNode(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		other := w.node(t)
		code := w.browser().login(w.alice).allow(asks(w.shop))
		tokens := w.exchange(w.shop, code)
		w.expect(other.exchange(w.shop, code), 400, "invalid_grant")
		w.expect(w.refresh(w.shop, tokens.text("refresh_token")), 400, "invalid_grant")
		soon(t, "another node ended the grant, and its token is active here", func() bool { return !w.active(w.shop, tokens.text("access_token")) })
	})
}

// A copy of the database holds no token, nor anything that one could be made of.
func TestDatabaseHoldsNoToken(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		resume := w.resumeOf(w.browser().get(at(asks(w.other))))
		code := b.allow(asks(w.shop))
		tokens := w.exchange(w.shop, code)
		next := w.refresh(w.shop, tokens.text("refresh_token"))
		secrets := []string{resume[strings.Index(resume, "mmf_"):], code, tokens.text("refresh_token"), next.text("refresh_token"), tokens.text("access_token"), tokens.text("id_token")}
		for name, value := range b.cookies {
			if strings.HasSuffix(name, "flow") {
				secrets = append(secrets, value)
			}
		}
		if len(secrets) != 7 {
			t.Fatalf("%d secrets", len(secrets))
		}
		for _, table := range []string{"grants", "authorization_flows", "approvals", "audit_events", "changes", "revoked_tokens"} {
			dump := w.dump(table)
			for i, s := range secrets {
				if s == "" || strings.Contains(dump, s) || strings.Contains(dump, s[4:]) {
					t.Errorf("secret %d stands in table %s", i, table)
				}
			}
		}
		if !strings.Contains(w.dump("grants"), w.alice.ID) {
			t.Error("the dump holds nothing")
		}
	})
}

func (w *folk) dump(table string) string {
	w.t.Helper()
	var b strings.Builder
	err := w.db.Read(w.t.Context(), func(tx db.ReadTx) error {
		rows, err := tx.Query(w.t.Context(), `SELECT * FROM `+table)
		if err != nil {
			return err
		}
		defer rows.Close()
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new([]byte)
			}
			if err := rows.Scan(values...); err != nil {
				return err
			}
			for _, v := range values {
				b.Write(*v.(*[]byte))
				b.WriteByte('\n')
			}
		}
		return rows.Err()
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

// What is over goes, what is not stays.
func TestSweepOfGrants(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.browser().get(at(asks(w.shop)))
		w.browser().login(w.alice).allow(asks(w.shop))
		kept := w.signIn(w.shop).text("refresh_token")
		if err := w.server.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		count := func(table string) int { return strings.Count(w.dump(table), w.shop.ClientID) }
		if count("grants") != 2 || !strings.Contains(w.dump("authorization_flows"), url.QueryEscape(shopBack)) {
			t.Fatalf("swept too early: %d grants", count("grants"))
		}
		w.clock.Advance(2 * time.Hour)
		if err := w.server.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if count("grants") != 1 || w.dump("authorization_flows") != "" {
			t.Errorf("%d grants are left", count("grants"))
		}
		if r := w.refresh(w.shop, kept); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// Two nodes that are both busy get in each other's way, and yet nobody is turned away.
func TestTwoBusyNodes(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		nodes := []*folk{w, w.node(t)}
		const clients, rounds = 8, 10
		failed := make(chan string, clients*rounds)
		var wg sync.WaitGroup
		for i := range clients {
			token := w.signIn(w.shop).text("refresh_token")
			wg.Go(func() {
				for range rounds {
					r := nodes[i%2].refresh(w.shop, token)
					if token = r.text("refresh_token"); r.status != 200 {
						failed <- r.body
						return
					}
				}
			})
		}
		wg.Wait()
		close(failed)
		for body := range failed {
			t.Error(body)
		}
	})
}
