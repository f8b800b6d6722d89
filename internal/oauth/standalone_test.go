package oauth_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

func (w *whole) standalone(n registry.StandaloneClient) pair {
	w.t.Helper()
	var p pair
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		made, secret, err := w.registry.CreateClient(ctx, tx, system, n)
		p.ClientID, p.Secret = made.ID, secret.Reveal()
		return err
	})
	return p
}

// A client without an application acts for itself, under its own id, and for no service user.
func TestStandaloneClientActsForItself(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWhole(t, engine)
			w.registry.OnClientEnded(w.server.ClientEnded)
			user := w.mint("sales-orders", 1)
			own := w.standalone(registry.StandaloneClient{Confidential: true, Settings: registry.Settings{Name: "Partner", GrantTypes: []string{"client_credentials"}}})
			r := w.send("POST", "/oauth2/token", "grant_type=client_credentials", auth(own.ClientID, own.Secret))
			if r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			token := r.text("access_token")
			if p := payloadOf(t, token); p["sub"] != own.ClientID || p["client_id"] != own.ClientID {
				t.Errorf("payload %v", p)
			}
			for name, c := range map[string]struct{ body, code string }{
				"an application scope": {"grant_type=client_credentials&scope=sales_order.read_all", "invalid_scope"},
				"a service user":       {"grant_type=password&realm=services&username=" + user.Username + "&password=" + url.QueryEscape(user.Password), "unauthorized_client"},
			} {
				if r := w.send("POST", "/oauth2/token", c.body, auth(own.ClientID, own.Secret)); r.status != 400 || r.text("error") != c.code {
					t.Errorf("%s: %d %s", name, r.status, r.body)
				}
			}
			// Even one that may use the password grant, by an administrator, is paired with no service user.
			people := w.standalone(registry.StandaloneClient{Confidential: true, Settings: registry.Settings{Name: "P", GrantTypes: []string{"password"}, Metadata: registry.Metadata{PersonPassword: true}}})
			if r := w.send("POST", "/oauth2/token?realm=services", "grant_type=password&username="+user.Username+"&password="+url.QueryEscape(user.Password), auth(people.ClientID, people.Secret)); r.status == 200 {
				t.Errorf("another's service user: %s", r.body)
			}
			public := w.standalone(registry.StandaloneClient{Settings: registry.Settings{Name: "Tool", RedirectURIs: []string{"http://127.0.0.1/cb"}}})
			if r := w.send("POST", "/oauth2/token", "grant_type=client_credentials&client_id="+public.ClientID); r.status == 200 {
				t.Errorf("a public one: %s", r.body)
			}
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				return w.registry.DeleteClient(ctx, tx, system, own.ClientID)
			})
			soon(t, "a deleted client's token is good", func() bool { return w.send("GET", "/oauth2/tokeninfo", "", bearer(token)).status == 401 })
			if r := w.send("POST", "/oauth2/token", "grant_type=client_credentials", auth(own.ClientID, own.Secret)); r.status != 401 {
				t.Errorf("a deleted client: %d %s", r.status, r.body)
			}
		})
	}
}

// What a client has signed with is noted, so that it is not taken for one that nobody uses.
func TestUsesOfSignaturesAreNoted(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWhole(t, engine, func(w *whole, o *oauth.Options) {
				o.Secrets, o.Proofs = w.registry.Clients(), w.registry.Clients()
			})
			settings := func(method string) registry.Settings {
				return registry.Settings{Name: method, GrantTypes: []string{"client_credentials"}, Metadata: registry.Metadata{AuthMethod: method}}
			}
			key := w.standalone(registry.StandaloneClient{Confidential: true, Settings: settings(registry.AuthPrivateKeyJWT)})
			hmac := w.standalone(registry.StandaloneClient{Confidential: true, Settings: settings(registry.AuthClientSecretJWT)})
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				_, err := w.registry.AddKey(ctx, tx, system, key.ClientID, "laptop", []byte(jwkOf(t, signingPair(), "k1")), time.Time{})
				return err
			})
			for kid, c := range map[string]struct {
				party party
				id    string
			}{"": {party{t, signingPair(), jose.ES256, ""}, key.ClientID}, "k1": {party{t, signingPair(), jose.ES256, "k1"}, key.ClientID}, "secret": {party{t, []byte(hmac.Secret), jose.HS256, ""}, hmac.ClientID}} {
				claims := map[string]any{"iss": c.id, "sub": c.id, "aud": issuer, "jti": "jti-" + kid, "iat": w.clock.Now().Unix(), "exp": w.clock.Now().Add(time.Minute).Unix()}
				r := w.send("POST", "/oauth2/token", asserting(c.party.sign(claims, nil)))
				if r.status != 200 {
					t.Fatalf("%q: %d %s", kid, r.status, r.body)
				}
				w.clock.Advance(time.Second)
			}
			if err := w.registry.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				keys, err := w.registry.Keys(ctx, tx, system, key.ClientID)
				if err != nil || len(keys) != 1 || keys[0].LastUsed.IsZero() {
					t.Errorf("keys %+v, %v", keys, err)
				}
				secrets, err := w.registry.Secrets(ctx, tx, system, hmac.ClientID)
				if err != nil || len(secrets) != 1 || secrets[0].LastUsed.IsZero() {
					t.Errorf("secrets %+v, %v", secrets, err)
				}
				return err
			})
		})
	}
}

// B7.121: about a client that a stranger registered people are asked each time, and the page says what it is.
func TestB7_121_StrangersClientAsksEachTime(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.registry.OnClientEnded(w.server.ClientEnded)
		made := w.standalone(registry.StandaloneClient{Untrusted: true, Settings: registry.Settings{Name: "Stranger", RedirectURIs: []string{shopBack}, RefreshTokens: registry.RefreshAlways}})
		b := w.browser().login(w.alice)
		for i := range 2 {
			w.pages.consent = nil
			v := asks(made)
			if r := b.get(at(v)); !strings.HasPrefix(r.header.Get("Location"), "/consent?flow=") {
				t.Fatalf("time %d: %d to %s", i, r.status, r.header.Get("Location"))
			} else {
				b.get(r.header.Get("Location"))
			}
			if w.pages.consent == nil || !w.pages.consent.Untrusted {
				t.Fatalf("the page does not say what it is: %+v", w.pages.consent)
			}
			w.backTo(b.decide("allow"), shopBack)
		}
		w.refusedBack(b.get(at(asks(made, "prompt", "none"))), "consent_required")
		r := w.exchange(made, b.allow(asks(made)))
		if r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.registry.DeleteClient(ctx, tx, system, made.ClientID)
		})
		if n := w.count(`SELECT count(*) FROM approvals`); n != 0 {
			t.Errorf("%d approvals of a client that is gone", n)
		}
		if n := w.count(`SELECT count(*) FROM grants WHERE ended = 0`); n != 0 {
			t.Errorf("%d grants of a client that is gone", n)
		}
		soon(t, "a token of a deleted client is good", func() bool {
			return w.send("GET", "/oauth2/userinfo", "", bearer(r.text("access_token"))).status == 401
		})
	})
}
