package oauth_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

const (
	alicesPassword = "a walk in the rain at night"
	wrongPassword  = "seven small boats on a lake"
)

// withPasswords is a world in which customers may give their password to shop. The password is checked by a stand-in,
// which needs no slow hash; that of package identity counts and delays.
func withPasswords(t *testing.T, f func(t *testing.T, w *folk, second *bool)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			var w *folk
			second := new(bool)
			w = newFolk(t, engine, func(o *oauth.Options) {
				o.People.Passwords = oauth.PersonPasswords{
					Realms: []string{"customers"},
					Verify: func(ctx context.Context, realm, name string, secret redact.Secret, origin identity.Origin) (identity.User, error) {
						if origin.IP == "203.0.113.66" {
							return identity.User{}, fault.New(fault.Limited, "too_many_attempts", "no").Retry(time.Minute)
						}
						if realm != "customers" || name != "alice" || secret.Reveal() != alicesPassword {
							return identity.User{}, identity.ErrCredentials
						}
						return w.alice, nil
					},
					Admit: func(_ context.Context, _ db.ReadTx, _ identity.User, amr []string) error {
						if *second {
							return fault.New(fault.Forbidden, "second_factor_needed", "no")
						}
						return nil
					},
				}
			})
			w.say(w.shop, func(c *oauth.Client) {
				c.GrantTypes = append(c.GrantTypes, registry.GrantPassword)
				c.Metadata.PersonPassword = true
			})
			w.say(w.other, func(c *oauth.Client) { c.GrantTypes = append(c.GrantTypes, registry.GrantPassword) })
			f(t, w, second)
		})
	}
}

func (w *folk) byPassword(client pair, realm, name, secret string, more ...string) reply {
	w.t.Helper()
	v := url.Values{"grant_type": {"password"}, "username": {name}, "password": {secret}, "realm": {realm}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return w.tokenRequest(client, v)
}

func TestPersonPassword(t *testing.T) {
	withPasswords(t, func(t *testing.T, w *folk, _ *bool) {
		r := w.byPassword(w.shop, "/customers", "alice", alicesPassword, "scope", "openid sales_order.read")
		if r.status != 200 || r.text("scope") != "openid sales_order.read" || r.text("refresh_token") == "" || r.text("id_token") == "" || r.text("realm") != "customers" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if p := payloadOf(t, r.text("access_token")); p["sub"] != w.alice.ID || p["realm"] != "customers" || p["grant_id"] == nil {
			t.Errorf("%v", p)
		}
		if n := w.events("approval.grant"); n != 1 {
			t.Errorf("%d approvals in the log", n)
		}
		again := w.refresh(w.shop, r.text("refresh_token"))
		if again.status != 200 {
			t.Fatalf("refresh: %d %s", again.status, again.body)
		}
		w.expect(w.byPassword(w.shop, "customers", "alice", alicesPassword, "scope", "hr.read"), 400, "invalid_scope")
		w.expect(w.byPassword(w.shop, "customers", "alice", alicesPassword, "scope", "sales_order.read_all"), 400, "invalid_scope")
		// All that it gave ends with the approval.
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.shop.ClientID)
		})
		soon(t, "the token outlives the approval", func() bool { return !w.active(w.shop, again.text("access_token")) })
		w.expect(w.refresh(w.shop, again.text("refresh_token")), 400, "invalid_grant")
	})
}

// B5.84: a person's password is taken by nobody unless realm and client are switched on, and never in place of a second
// factor.
func TestB5_84_PersonPasswordSwitches(t *testing.T) {
	withPasswords(t, func(t *testing.T, w *folk, second *bool) {
		w.expect(w.byPassword(w.shop, "employees", "bob", alicesPassword), 400, "unauthorized_client")
		w.expect(w.byPassword(w.other, "customers", "alice", alicesPassword), 400, "unauthorized_client")
		w.say(w.tool, func(c *oauth.Client) { c.Metadata.PersonPassword = true }) // but not the grant
		w.expect(w.byPassword(w.tool, "customers", "alice", alicesPassword), 400, "unauthorized_client")
		off := newFolk(t, w.engine())
		off.say(off.shop, func(c *oauth.Client) {
			c.GrantTypes = append(c.GrantTypes, registry.GrantPassword)
			c.Metadata.PersonPassword = true
		})
		off.expect(off.byPassword(off.shop, "customers", "alice", alicesPassword), 400, "unauthorized_client")
		// A person is no service user, whatever realm is named.
		w.expect(w.byPassword(w.shop, "services", "alice", alicesPassword), 400, "invalid_grant")

		// Who has a second factor, or needs one, is refused as if the password were wrong.
		wrong := w.byPassword(w.shop, "customers", "alice", wrongPassword)
		*second = true
		// That the person could not allow this is told to nobody with half a proof: it would tell that the password is right.
		w.expect(w.byPassword(w.shop, "customers", "alice", alicesPassword, "scope", "hr.read"), 400, "invalid_grant")
		refused := w.byPassword(w.shop, "customers", "alice", alicesPassword)
		w.expect(refused, 400, "invalid_grant")
		if refused.body != wrong.body {
			t.Errorf("B5.84 the refusal tells that the password is right: %s", refused.body)
		}
		if dump := w.dump("grants"); dump != "" {
			t.Errorf("a refusal left a grant: %s", dump)
		}
		if n := w.events("approval.grant"); n != 0 {
			t.Errorf("a refusal left %d approvals", n)
		}
		// A disabled client, and a person who was disabled while the password was looked at.
		*second = false
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.identity.DisablePerson(ctx, tx, system, w.alice.ID)
		})
		w.expect(w.byPassword(w.shop, "customers", "alice", alicesPassword), 400, "invalid_grant")
	})
}

// B5.88: an unknown name and a wrong password are one answer, and both pass the delays of the login.
func TestB5_88_UnknownAndWrongLookAlike(t *testing.T) {
	withPasswords(t, func(t *testing.T, w *folk, _ *bool) {
		unknown, wrong := w.byPassword(w.shop, "customers", "nobody", wrongPassword), w.byPassword(w.shop, "customers", "alice", wrongPassword)
		w.expect(unknown, 400, "invalid_grant")
		if unknown.status != wrong.status || unknown.body != wrong.body {
			t.Errorf("B5.88 %d %s, and %d %s", unknown.status, unknown.body, wrong.status, wrong.body)
		}
		w.expect(w.byPassword(w.shop, "customers", "", ""), 400, "invalid_grant")
		form := url.Values{"grant_type": {"password"}, "username": {"alice"}, "password": {alicesPassword}, "realm": {"customers"}}
		r := w.send("POST", "/oauth2/token", form.Encode(), auth(w.shop.ClientID, w.shop.Secret), from("203.0.113.66:1"))
		if r.status != 429 || r.header.Get("Retry-After") != "60" {
			t.Errorf("B5.88 limited: %d %s", r.status, r.body)
		}
	})
	// The real count: five wrong ones, then a wait, whether somebody has the name or not.
	var w *folk
	w = newFolk(t, dbtest.Engines(t)[0], func(o *oauth.Options) {
		o.People.Passwords = oauth.PersonPasswords{Realms: []string{"customers"},
			Verify: func(ctx context.Context, realm, name string, secret redact.Secret, origin identity.Origin) (identity.User, error) {
				return w.identity.VerifyPersonPassword(ctx, realm, name, secret, origin)
			}}
	})
	w.say(w.shop, func(c *oauth.Client) {
		c.GrantTypes = append(c.GrantTypes, registry.GrantPassword)
		c.Metadata.PersonPassword = true
	})
	for _, name := range []string{"alice", "nobody"} {
		for range 5 {
			w.expect(w.byPassword(w.shop, "customers", name, wrongPassword), 400, "invalid_grant")
		}
		if r := w.byPassword(w.shop, "customers", name, wrongPassword); r.status != 429 {
			t.Errorf("B5.88 the sixth for %s: %d %s", name, r.status, r.body)
		}
	}
}
