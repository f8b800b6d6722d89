package mithril_test

import (
	"context"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/mithril"
	"github.com/mintmark/mintmark/internal/registry"
)

// console gives the world's user a console whose tokens may do what the scopes say, and answers such a token.
func (w *world) console(scopes string) string {
	w.t.Helper()
	kind := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Console","scope":"app:authorize `+scopes+`"}}`).want(201).at("data.id")
	role := w.do("POST", "/mithril/roles", `{"role":{"name":"Operator","scope":"`+scopes+`"}}`).want(201).at("data.id")
	console := *w
	console.client, console.secret = w.newClient("Console", w.user, kind)
	w.give(w.user, role, console.client)
	token, _ := console.tokens(scopes)
	return token
}

// B7.133: whoever owns a client of a type that is above the caller is above the caller as well, and the client goes with
// nobody whom the caller removes.
func TestB7_133_OwnersOfClientsAbove(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		operator := w.console("user:read user:write user:delete")
		strong := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Strong","scope":"app:authorize client:delete"}}`).want(201).at("data.id")
		above, below := w.newUser("above@x.io"), w.newUser("below@x.io")
		client, _ := w.newClient("Admin console", above, strong)
		w.newClient("Shop", below, w.kind)
		w.as(operator, "DELETE", "/mithril/users/"+above, "").refused(403, "forbidden")
		w.as(operator, "PATCH", "/mithril/users/"+above, `{"user":{"password":"`+secret+` new"}}`).refused(403, "forbidden")
		w.do("GET", "/mithril/clients/"+client, "").want(200)
		w.as(operator, "DELETE", "/mithril/users/"+below, "").want(204)
		// Not even with themselves.
		own, _ := w.newClient("Own", w.user, strong)
		w.as(operator, "DELETE", "/mithril/users/"+w.user, "").refused(403, "forbidden")
		w.do("GET", "/mithril/clients/"+own, "").want(200)
		w.do("DELETE", "/mithril/users/"+above, "").want(204)
		w.do("GET", "/mithril/clients/"+client, "").refused(404, "not_found")
	})
}

// A client that was handed over goes with its new owner, and not with the one before.
func TestHandedOverClientsGoWithTheirOwner(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		before, after := w.newUser("before@x.io"), w.newUser("after@x.io")
		client, _ := w.newClient("Shop", before, w.kind)
		w.do("PATCH", "/mithril/clients/"+client, `{"client":{"user_id":"`+after+`"}}`).want(200)
		w.do("DELETE", "/mithril/users/"+before, "").want(204)
		w.do("GET", "/mithril/clients/"+client, "").want(200)
		w.do("DELETE", "/mithril/users/"+after, "").want(204)
		w.do("GET", "/mithril/clients/"+client, "").refused(404, "not_found")
	})
}

// B7.133: the right to take tokens and approvals back ends below those who may do more.
func TestB7_133_TokensOfSomebodyAbove(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		operator := w.console("token:read token:delete app:read app:write app:delete")
		strong := w.do("POST", "/mithril/roles", `{"role":{"name":"Strong","scope":"user:write"}}`).want(201).at("data.id")
		for _, c := range []struct {
			email, role string
			status      int
			kind        string
		}{{"above@x.io", strong, 403, "forbidden"}, {"below@x.io", w.role, 204, ""}} {
			user := w.newUser(c.email)
			w.give(user, w.role, w.client)
			if c.role != w.role {
				w.give(user, c.role, w.client)
			}
			session := w.signIn(c.email, secret, "app:authorize").want(201)
			w.approve(session.at("data.value"), "legal_entity:read")
			app := w.do("GET", "/mithril/apps?user_id="+user, "").at("data.0.id")
			ends := func(method, path, body string) {
				t.Helper()
				a := w.as(operator, method, "/mithril/"+path, body)
				want := c.status
				if want == 204 && method == "PUT" {
					want = 200
				}
				if a.status != want || a.at("error.type") != c.kind {
					t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
				}
			}
			ends("DELETE", "tokens/"+session.at("data.id"), "")
			ends("DELETE", "users/"+user+"/tokens", "")
			ends("DELETE", "users/"+user+"/tokens?client_id="+w.client, "")
			ends("DELETE", "users/"+user+"/tokens?name=session_token", "")
			ends("PUT", "apps/"+app, `{"app":{"scope":"legal_entity:write"}}`)
			ends("DELETE", "apps/"+app, "")
			ends("DELETE", "users/"+user+"/apps", "")
		}
		if a := w.do("GET", "/mithril/apps", ""); a.at("data.0.scope") == "" {
			t.Errorf("the approval above is gone: %s", a.body)
		}
		// The token that a client of a type above has on its own account.
		kind := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Robot","scope":"client:write"}}`).want(201).at("data.id")
		robot, robotSecret := w.newClient("Robot", w.user, kind)
		own := w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"client_credentials","client_id":"`+robot+`","client_secret":"`+robotSecret+`"}}`).want(201)
		w.as(operator, "DELETE", "/mithril/tokens/"+own.at("data.id"), "").refused(403, "forbidden")
	})
}

// A client with a type knows people by their ids on both surfaces: it cannot have names of its own for them on the one.
func TestTypesAndPairwiseSubjectsExcludeEachOther(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		typed, _ := id.FromUUID(id.Client, w.client)
		pairwise := func(ctx context.Context, tx db.WriteTx, clientID string) error {
			n, err := registry.LoadStandalone(ctx, tx, clientID)
			if err != nil {
				return err
			}
			n.Settings.Metadata.SubjectType = registry.SubjectPairwise
			_, err = w.registry.UpdateClient(ctx, tx, system, clientID, registry.ClientChange{Settings: &n.Settings}, func(int64) error { return nil })
			return err
		}
		refused := func(what string, f func(ctx context.Context, tx db.WriteTx) error) {
			t.Helper()
			err := w.db.Write(t.Context(), func(tx db.WriteTx) error { return f(t.Context(), tx) })
			if !fault.Is(err, fault.Invalid) || fault.Code(err) != "invalid_client_metadata" {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("pairwise subjects for a client with a type", func(ctx context.Context, tx db.WriteTx) error { return pairwise(ctx, tx, typed) })
		var plain string
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			n, _, err := w.registry.CreateClient(ctx, tx, system, registry.StandaloneClient{Confidential: true, Settings: registry.Settings{Name: "Plain",
				GrantTypes: []string{registry.GrantAuthorizationCode}, RedirectURIs: []string{back}, Metadata: registry.Metadata{SubjectType: registry.SubjectPairwise}}})
			plain = n.ID
			return err
		})
		refused("a type for a client with pairwise subjects", func(ctx context.Context, tx db.WriteTx) error {
			t, err := registry.LoadTyping(ctx, tx, typed)
			if err != nil {
				return err
			}
			t.ClientID = plain
			return w.registry.PutTyping(ctx, tx, system, t)
		})
	})
}

// A token that is asked for by its id is refused by whatever revokes it, like one that is shown.
func TestTokensByIDAreRevokedByEveryClaim(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.do("PATCH", "/mithril/client_types/"+w.kind, `{"client_type":{"scope":"app:authorize legal_entity:read azp"}}`).want(200)
		w.do("PATCH", "/mithril/roles/"+w.role, `{"role":{"scope":"legal_entity:read azp"}}`).want(200)
		clientID, _ := id.FromUUID(id.Client, w.client)
		userID, _ := id.FromUUID(id.User, w.user)
		ofPerson := func() answer {
			return w.exchange(w.node, w.approve(w.session("app:authorize"), "legal_entity:read azp"), back).want(201)
		}
		ofClient := func() answer {
			return w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"client_credentials","client_id":"`+w.client+`","client_secret":"`+w.secret+`","scope":"legal_entity:read"}}`).want(201)
		}
		soon(t, func() bool {
			return w.as(w.session("app:authorize"), "POST", "/mithril/apps", `{"app":{"client_id":"`+w.client+`","redirect_uri":"`+back+`","scope":"legal_entity:read azp"}}`).status == 201
		})
		for _, c := range []struct {
			claims map[string]string
			make   func() answer
		}{
			{map[string]string{"realm": "customers"}, ofPerson}, {map[string]string{"azp": clientID}, ofPerson}, {map[string]string{"sub": userID}, ofPerson},
			{map[string]string{"client_id": clientID, "realm": "customers"}, ofPerson},
			{map[string]string{"realm": "services"}, ofClient}, {map[string]string{"sub": clientID}, ofClient},
		} {
			a := c.make()
			byValue, byID := a.at("data.value"), a.at("data.id")
			w.verify(byValue).want(200)
			w.do("GET", "/mithril/tokens/"+byID+"/verify", "").want(200)
			w.clock.Advance(2 * time.Second)
			now := w.clock.Now()
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				_, err := w.oauth.Revoke(ctx, tx, system, api.Revoke{Kind: "claims", Claims: c.claims, IssuedBefore: &now, Reason: "test"})
				return err
			})
			soon(t, func() bool { return w.verify(byValue).status == 401 })
			if a := w.do("GET", "/mithril/tokens/"+byID+"/verify", ""); a.status != 401 {
				t.Errorf("%v: asked for by its id it is good still: %s", c.claims, a.body)
			}
			w.clock.Advance(2 * time.Second)
		}
	})
}

// What a password alone gave is worth nothing any more when the person needs a second factor.
func TestSessionsByPasswordEndWhenItDoesNotSuffice(t *testing.T) {
	strict := false
	w := one(t, func(o *mithril.Options) {
		o.Admit = func(context.Context, db.ReadTx, identity.User, []string) error {
			if strict {
				return fault.New(fault.Forbidden, "second_factor_needed", "A second factor is needed to sign in.")
			}
			return nil
		}
	})
	session := w.signIn("a@x.io", secret, "app:authorize apps:read user:read").want(201)
	value, tokenID := session.at("data.value"), session.at("data.id")
	byCode, _ := w.tokens("legal_entity:read")
	try := func(status int) {
		t.Helper()
		w.as(value, "GET", "/mithril/tokens/self/user", "").want(status)
		w.as(value, "GET", "/mithril/tokens/self/verify", "").want(status)
		w.as(value, "GET", "/mithril/apps", "").want(status)
		w.verify(value).want(status)
		w.send("GET", "/mithril/tokens/"+value+"/user", "").want(status)
		w.do("GET", "/mithril/tokens/"+tokenID+"/verify", "").want(status)
		w.verify(byCode).want(200) // how the login for that one went is the login page's matter
	}
	try(200)
	strict = true
	try(401)
	w.as(value, "POST", "/mithril/apps", `{"app":{"client_id":"`+w.client+`","redirect_uri":"`+back+`","scope":"legal_entity:read"}}`).want(401)
	w.signIn("a@x.io", secret, "app:authorize").refused(401, "mfa_required")
}
