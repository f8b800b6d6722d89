package oauth_test

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

func lifeOf(t testing.TB, token string) time.Duration {
	t.Helper()
	p := payloadOf(t, token)
	iat, _ := p["iat"].(float64)
	exp, _ := p["exp"].(float64)
	return time.Duration(exp-iat) * time.Second
}

// A realm's lifetimes count by grant, also for what is refreshed later, and the bounds over them.
func TestLifetimesOfRealmAndGrant(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newFolk(t, engine, func(o *oauth.Options) {
				o.Lifetimes = registry.Lifetimes{Max: 3 * time.Hour, Realms: map[string]registry.RealmLifetimes{
					"customers": {Access: 20 * time.Minute, Grants: map[string]time.Duration{registry.GrantDeviceCode: time.Hour}, IDToken: 5 * time.Minute, RefreshIdle: 2 * time.Hour, RefreshAbsolute: 6 * time.Hour},
					"services":  {Access: 5 * time.Hour},
				}}
			})
			w.allowDevices("tool", registry.RefreshOffline)
			service := w.mint("sales-orders", 1)
			r := w.signIn(w.shop)
			if a, i := lifeOf(t, r.text("access_token")), lifeOf(t, r.text("id_token")); a != 20*time.Minute || i != 5*time.Minute || r.json["expires_in"] != 1200.0 {
				t.Errorf("by a code: %v and %v, %v", a, i, r.json["expires_in"])
			}
			d := w.device(w.tool, "openid offline_access")
			w.browser().login(w.alice).answerDevice(d.text("user_code"), "allow")
			byDevice := w.poll(w.tool, d)
			again := w.refresh(w.tool, byDevice.text("refresh_token"))
			for _, x := range []reply{byDevice, again} {
				if a := lifeOf(t, x.text("access_token")); a != time.Hour {
					t.Errorf("by a device: %v", a)
				}
			}
			if a := lifeOf(t, w.send("POST", "/oauth2/token", "grant_type=client_credentials", auth(service.ClientID, service.Secret)).text("access_token")); a != 3*time.Hour {
				t.Errorf("of a service: %v, want the bound", a)
			}
			// Without use for two hours, and six in all.
			token := r.text("refresh_token")
			for range 3 {
				w.clock.Advance(119 * time.Minute)
				x := w.refresh(w.shop, token)
				if x.status != 200 {
					t.Fatalf("a refresh in time: %d %s", x.status, x.body)
				}
				token = x.text("refresh_token")
			}
			w.clock.Advance(5 * time.Minute)
			w.expect(w.refresh(w.shop, token), 400, "invalid_grant")
			w.expect(w.refresh(w.tool, again.text("refresh_token")), 400, "invalid_grant")
		})
	}
}

// B4.79: a family that is always rotated in time ends all the same.
func TestB4_79_AbsoluteLifetime(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop).text("refresh_token")
		for range 9 {
			w.clock.Advance(19 * 24 * time.Hour)
			r := w.refresh(w.shop, token)
			if r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			token = r.text("refresh_token")
		}
		w.clock.Advance(9 * 24 * time.Hour)
		w.expect(w.refresh(w.shop, token), 400, "invalid_grant")
	})
}

// Under another configuration a node takes tokens back that were made to live longer: the revocation outlives them.
func TestRevocationOutlivesLongerTokens(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		long := w.node(t, func(o *oauth.Options) {
			o.Lifetimes.Realms = map[string]registry.RealmLifetimes{"customers": {Access: 24 * time.Hour}}
		})
		r := long.signIn(w.shop)
		if a := lifeOf(t, r.text("access_token")); a != 24*time.Hour {
			t.Fatalf("it lives %v", a)
		}
		if x := w.send("POST", "/oauth2/revoke", "token="+r.text("refresh_token"), auth(w.shop.ClientID, w.shop.Secret)); x.status != 200 {
			t.Fatalf("%d %s", x.status, x.body)
		}
		w.clock.Advance(23*time.Hour + 59*time.Minute)
		if err := w.server.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w.node(t).active(w.shop, r.text("access_token")) {
			t.Error("a token that was taken back is good again")
		}
	})
}
