package oauth_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// A rule can let an issuer speak for a person; but what the person has not allowed the client, nobody can have that way.
func TestB5_89_AssertionForAPerson(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.say(w.shop, func(c *oauth.Client) {
			c.GrantTypes = append(c.GrantTypes[:len(c.GrantTypes):len(c.GrantTypes)], registry.GrantJWTBearer)
		})
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			b := api.PutTrustedIssuer{Issuer: cluster, JWKS: `{"keys":[` + jwkOf(t, signingPair(), "c1") + `]}`, Rules: []api.TrustRule{{Subject: "alice-at-work", Person: w.alice.ID}}}
			_, _, err := w.server.PutTrustedIssuer(ctx, tx, system, "cluster", b, anyRevision)
			return err
		})
		assertion := func() string {
			now := w.clock.Now()
			return party{t, signingPair(), jose.ES256, "c1"}.sign(map[string]any{"iss": cluster, "sub": "alice-at-work", "aud": issuer, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}, nil)
		}
		try := func(client pair, more ...string) reply {
			return w.send("POST", "/oauth2/token", bring(assertion(), more...), auth(client.ClientID, client.Secret))
		}
		w.expect(try(w.shop), 400, "invalid_grant") // she has allowed nothing
		w.expect(try(w.shop, "scope", "openid"), 400, "invalid_grant")
		w.signIn(w.shop, "scope", "openid sales_order.read")

		r := try(w.shop)
		if r.status != 200 || r.text("scope") != "openid sales_order.read" || r.text("realm") != "customers" || r.json["expires_in"] != 300.0 || r.json["refresh_token"] != nil || r.json["id_token"] != nil {
			t.Fatalf("%d %s", r.status, r.body)
		}
		token := r.text("access_token")
		if claims := payloadOf(t, token); claims["sub"] != w.alice.ID || claims["gty"] != registry.GrantJWTBearer || claims["grant_id"] == nil {
			t.Errorf("%v", claims)
		}
		if info := w.send("GET", "/oauth2/userinfo", "", bearer(token)); info.status != 200 || info.text("sub") != w.alice.ID {
			t.Errorf("userinfo: %d %s", info.status, info.body)
		}
		w.expect(try(w.shop, "scope", "openid email"), 400, "invalid_grant")
		w.expect(try(w.shop, "scope", "openid profile email"), 400, "invalid_grant")
		w.expect(try(w.shop, "scope", "offline_access"), 400, "invalid_scope")
		w.expect(try(w.other), 400, "unauthorized_client")
		w.expect(w.send("POST", "/oauth2/token", bring(assertion())), 400, "invalid_grant") // no client, no person
		w.expect(w.send("POST", "/oauth2/token", bring(assertion(), "client_id", w.tool.ClientID)), 401, "invalid_client")

		// It ends with what it rests on.
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.shop.ClientID)
		})
		if w.active(w.shop, token) {
			t.Error("the token outlives the approval")
		}
		w.expect(try(w.shop), 400, "invalid_grant")
		w.signIn(w.shop, "scope", "openid")
		if token = try(w.shop).text("access_token"); !w.active(w.shop, token) {
			t.Fatal("no token")
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.identity.DisablePerson(ctx, tx, access.SystemCaller("test"), w.alice.ID)
		})
		if w.active(w.shop, token) {
			t.Error("the token outlives the person")
		}
		w.expect(try(w.shop), 400, "invalid_grant")
	})
}
