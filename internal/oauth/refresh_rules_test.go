package oauth_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// A request that is refused uses nothing up: the token is as good as before, and so are the retries of the one before.
func TestRefusedRefreshUsesNothingUp(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		first := w.signIn(w.shop).text("refresh_token")
		for range 3 {
			w.expect(w.refresh(w.shop, first, "scope", "openid email"), 400, "invalid_scope")
			w.expect(w.refresh(w.shop, first, "resource", "https://evil.test"), 400, "invalid_target")
		}
		w.clock.Advance(11 * time.Second) // no retry would be taken any more
		second := w.refresh(w.shop, first)
		if second.status != 200 || second.text("refresh_token") == "" {
			t.Fatalf("%d %s", second.status, second.body)
		}
		for range 7 { // more often than a retry is answered
			w.expect(w.refresh(w.shop, first, "scope", "openid email"), 400, "invalid_scope")
		}
		if again := w.refresh(w.shop, first); again.status != 200 || again.text("refresh_token") != second.text("refresh_token") {
			t.Errorf("a retry: %d %s", again.status, again.body)
		}
		if n := w.events("grant.retry"); n != 1 {
			t.Errorf("%d retries in the log", n)
		}
	})
}

// A database that was put back knows no token that came later, and takes none of the family's for another.
func TestRefreshAfterTheDatabaseWentBack(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		first := w.signIn(w.shop).text("refresh_token")
		var before []byte
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return tx.QueryRow(ctx, `SELECT token_mac FROM grants`).Scan(&before)
		})
		lost := w.refresh(w.shop, first).text("refresh_token")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return db.One(tx.Exec(ctx, `UPDATE grants SET generation = 1, token_mac = $1, successor_box = $2`, before, []byte{}))
		})
		w.expect(w.refresh(w.shop, lost), 400, "invalid_grant") // of a generation that was never made
		next := w.refresh(w.shop, first)
		if next.status != 200 || next.text("refresh_token") == lost {
			t.Fatalf("what there was goes on: %d %s", next.status, next.body)
		}
		w.expect(w.refresh(w.shop, lost), 400, "invalid_grant") // of this generation, and another token
		if r := w.refresh(w.shop, next.text("refresh_token")); r.status != 200 || w.events("grant.end") != 0 {
			t.Errorf("the family has ended: %d %s", r.status, r.body)
		}
	})
}

// A shorter lifetime counts for the families that there are.
func TestShorterLifetimeOfRefreshTokens(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop).text("refresh_token")
		w.clock.Advance(2 * time.Hour)
		r := w.refresh(w.shop, token)
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		w.say(w.shop, func(c *oauth.Client) { c.Metadata.RefreshAbsoluteLife = 2 * time.Hour })
		w.expect(w.refresh(w.shop, r.text("refresh_token")), 400, "invalid_grant")
	})
}

// That a client brought another's token is in the audit log, under its own name.
func TestRefreshByAnotherClientIsRecorded(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- w.server.Run(ctx) }()
		w.expect(w.refresh(w.other, w.signIn(w.shop).text("refresh_token")), 400, "invalid_grant")
		stop()
		if err := <-ran; err != nil { // the journal is written when the server ends
			t.Fatal(err)
		}
		n := w.count(`SELECT count(*) FROM audit_events WHERE action = 'token.refresh' AND outcome = 'denied' AND reason = 'token_of_another_client' AND actor_id = '` + w.other.ClientID + `'`)
		if n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

// Another password ends what was to go on without the person as well.
func TestAnotherPasswordEndsOfflineGrants(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		tokens := w.signIn(w.shop, "scope", "openid offline_access")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.identity.SetPassword(ctx, tx, system, w.alice.ID, redact.New("another long password of hers"))
		})
		w.expect(w.refresh(w.shop, tokens.text("refresh_token")), 400, "invalid_grant")
		soon(t, "the access token is active", func() bool { return !w.active(w.shop, tokens.text("access_token")) })
	})
}

// What a client of the organisation itself had been given before it was disabled is nothing after it is enabled again,
// although nobody needs to be asked about it.
func TestCodesOfAClientThatWasDisabled(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		trust := func(client pair) { w.say(client, func(c *oauth.Client) { c.Metadata.FirstParty = true }) }
		trust(w.shop)
		b := w.browser().login(w.alice)
		code := b.allow(asks(w.shop))
		d := w.device(w.shop, "openid")
		b.answerDevice(d.text("user_code"), "allow")
		w.clock.Advance(6 * time.Second)
		inactive, active := false, true
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			for _, a := range []*bool{&inactive, &active} {
				if _, err := w.registry.PutApplication(ctx, tx, system, "shop", registry.Change{Active: a}, anyRevision); err != nil {
					return err
				}
			}
			return nil
		})
		w.shop = w.mint("shop", 2)
		trust(w.shop)
		soon(t, "not active again", func() bool { return w.refresh(w.shop, "mmr_").text("error") == "invalid_grant" })
		w.expect(w.exchange(w.shop, code), 400, "invalid_grant")
		w.expect(w.poll(w.shop, d), 400, "access_denied")
	})
}

// A client that gets tokens through the browser alone gets no ID token without scope openid, and a code brings none.
func TestNoIDTokenWithoutOpenID(t *testing.T) {
	w := aWorldOfPeople(t)
	r := w.signIn(w.shop, "scope", "sales_order.read profile")
	if r.json["id_token"] != nil || r.text("scope") != "profile sales_order.read" {
		t.Errorf("%s", r.body)
	}
	w.say(w.shop, opens("id_token"))
	v := asks(w.shop, "response_type", "id_token", "nonce", "n", "scope", "sales_order.read")
	if to := w.browser().login(w.alice).get(at(v)).header.Get("Location"); !strings.Contains(to, "error=invalid_scope") {
		t.Errorf("sent to %s", to)
	}
}

// A token that comes through the browser lives an hour at most, whatever the client's others do.
func TestTokensOfTheBrowserAreShort(t *testing.T) {
	w := aWorldOfPeople(t)
	w.say(w.shop, func(c *oauth.Client) {
		opens("token", "code token")(c)
		c.Metadata.AccessTokenLife = 8 * time.Hour
	})
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	for _, kind := range []string{"token", "code token"} {
		v := w.fragment(b.get(at(asks(w.shop, "response_type", kind))), shopBack)
		claims := payloadOf(t, v.Get("access_token"))
		if v.Get("expires_in") != "3600" || claims["exp"].(float64)-claims["iat"].(float64) != 3600 {
			t.Errorf("%s: %v", kind, v)
		}
		if code := v.Get("code"); code != "" {
			if r := w.exchange(w.shop, code); r.json["expires_in"] != 8*3600.0 {
				t.Errorf("from the code: %s", r.body)
			}
		}
	}
}
