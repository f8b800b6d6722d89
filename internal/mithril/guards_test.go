package mithril_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// B7.133: types, roles and clients that allow more than the caller may do are not the caller's to use, change or remove.
func TestB7_133_TypesAndClientsAbove(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		operator := w.console("client:read client:write client:delete client_type:delete role:delete app:write")
		strong := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Strong","scope":"app:authorize user:write"}}`).want(201).at("data.id")
		weak := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Weak","scope":"app:authorize legal_entity:read"}}`).want(201).at("data.id")
		role := w.do("POST", "/mithril/roles", `{"role":{"name":"Boss","scope":"user:write"}}`).want(201).at("data.id")
		above, _ := w.newClient("Above", w.user, strong)
		below, _ := w.newClient("Below", w.user, weak)
		made := func(kind string) answer {
			return w.as(operator, "POST", "/mithril/clients", `{"client":{"name":"Mine","user_id":"`+w.user+`","client_type_id":"`+kind+`","redirect_uri":"`+back+`"}}`)
		}
		made(strong).refused(403, "forbidden")
		made(weak).want(201)
		w.as(operator, "PATCH", "/mithril/clients/"+below, `{"client":{"client_type_id":"`+strong+`"}}`).refused(403, "forbidden")
		w.as(operator, "PATCH", "/mithril/clients/"+above, `{"client":{"redirect_uri":"https://evil.test/cb"}}`).refused(403, "forbidden")
		w.as(operator, "PATCH", "/mithril/clients/"+above, `{"client":{"client_type_id":"`+weak+`"}}`).refused(403, "forbidden")
		w.as(operator, "DELETE", "/mithril/clients/"+above, "").refused(403, "forbidden")
		w.as(operator, "PATCH", "/mithril/clients/"+below, `{"client":{"name":"Renamed"}}`).want(200)
		w.as(operator, "DELETE", "/mithril/clients/"+below, "").want(204)
		w.do("GET", "/mithril/clients/"+above, "").want(200)
		w.do("DELETE", "/mithril/clients/"+above, "").want(204) // so that nothing uses the type
		w.as(operator, "DELETE", "/mithril/client_types/"+strong, "").refused(403, "forbidden")
		w.as(operator, "DELETE", "/mithril/roles/"+role, "").refused(403, "forbidden")
		// Nor is an approval of more than the caller holds.
		w.as(operator, "POST", "/mithril/apps", `{"app":{"user_id":"`+w.user+`","client_id":"`+w.client+`","scope":"user:write"}}`).refused(403, "forbidden")
	})
}

// What people do with what is their own needs the scope for it, too.
func TestOwnThingsNeedTheirScopes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		token, _ := w.tokens("legal_entity:read")
		app := w.do("GET", "/mithril/apps?user_id="+w.user, "").at("data.0.id")
		for name, c := range map[string][3]string{
			"to see approvals":     {"GET", "/mithril/apps", ""},
			"to see one":           {"GET", "/mithril/apps/" + app, ""},
			"to approve":           {"POST", "/mithril/apps", `{"app":{"client_id":"` + w.client + `","redirect_uri":"` + back + `","scope":"legal_entity:read"}}`},
			"to approve, by PUT":   {"PUT", "/mithril/apps/" + app, `{"app":{"redirect_uri":"` + back + `","scope":"legal_entity:read"}}`},
			"to withdraw":          {"DELETE", "/mithril/apps/" + app, ""},
			"to change a password": {"PATCH", "/mithril/users/" + w.user + "/actions/change_password", `{"user":{"current_password":"` + secret + `","password":"` + secret + ` new"}}`},
			"details of a client":  {"GET", "/mithril/clients/" + w.client + "/details", ""},
		} {
			if a := w.as(token, c[0], c[1], c[2]); a.status != 401 || a.at("error.type") != "access_denied" || !strings.Contains(a.body, `"scopes"`) {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		w.verify(token).want(200)
		able, _ := w.tokens("apps:read apps:delete")
		if a := w.as(able, "GET", "/mithril/apps", "").want(200); a.at("data.0.user_id") != w.user {
			t.Errorf("%s", a.body)
		}
		w.as(able, "DELETE", "/mithril/apps/"+app, "").want(204)
	})
}

// Who is nobody here: a token for somebody else, a service user's, two at once, and who says that a gateway knows it.
func TestCallersThatAreNobody(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		session := w.session("app:authorize apps:read")
		w.as(session, "GET", "/mithril/apps", "").want(200)
		w.send("GET", "/mithril/apps", "", "Authorization", "Basic "+session).refused(401, "access_denied")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			user, _ := id.FromUUID(id.User, w.user)
			return db.One(tx.Exec(ctx, `UPDATE users SET disabled = $1 WHERE id = $2`, db.Micros(tx.Now()), user))
		})
		w.as(session, "GET", "/mithril/apps", "").refused(401, "access_denied")
	})
	w := one(t, gateway("198.51.100.0/24")) // not where the test's requests come from
	w.send("GET", "/mithril/apps", "", "X-Consumer-ID", w.user, "X-Consumer-Scope", "apps:read").refused(401, "access_denied")
	w.send("GET", "/mithril/apps", "", "X-Consumer-ID", w.user, "X-Consumer-Scope", "apps:read", "X-Forwarded-For", "198.51.100.7").refused(401, "access_denied")
}

// Tokens are for clients of this interface that are enabled.
func TestClientsThatGetNoTokens(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		var plain string
		var plainSecret redact.Secret
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			n, made, err := w.registry.CreateClient(ctx, tx, system, registry.StandaloneClient{Confidential: true, Settings: registry.Settings{
				Name: "Plain", RedirectURIs: []string{back}, GrantTypes: []string{registry.GrantAuthorizationCode, registry.GrantClientCredentials},
			}})
			plain, plainSecret = id.UUID(n.ID), made
			return err
		})
		other := *w
		other.client, other.secret = plain, plainSecret.Reveal()
		other.signIn("a@x.io", secret, "app:authorize").refused(401, "invalid_client")
		w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"client_credentials","client_id":"`+plain+`","client_secret":"`+plainSecret.Reveal()+`"}}`).refused(401, "invalid_client")
		code := w.approve(w.session("app:authorize"), "legal_entity:read")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			client, _ := id.FromUUID(id.Client, w.client)
			off := false
			_, err := w.registry.UpdateClient(ctx, tx, system, client, registry.ClientChange{Enabled: &off}, func(int64) error { return nil })
			return err
		})
		w.signIn("a@x.io", secret, "app:authorize").refused(401, "invalid_client")
		w.exchange(w.node, code, back).refused(401, "invalid_client")
	})
}

// With a user go the roles that it has, so that a role which nobody else has can be removed; with another type of its
// client goes what that type does not have.
func TestWhatGoesWithUsersAndTypes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		role := w.do("POST", "/mithril/roles", `{"role":{"name":"Nurse","scope":"legal_entity:read"}}`).want(201).at("data.id")
		user := w.newUser("gone@x.io")
		w.give(user, role, w.client)
		w.do("DELETE", "/mithril/roles/"+role, "").refused(409, "request_conflict")
		w.do("DELETE", "/mithril/users/"+user, "").want(204)
		w.do("DELETE", "/mithril/roles/"+role, "").want(204)

		both, ended := w.tokens("legal_entity:read legal_entity:write")
		_, kept := w.tokens("legal_entity:read")
		less := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Less","scope":"app:authorize legal_entity:read"}}`).want(201).at("data.id")
		w.do("PATCH", "/mithril/clients/"+w.client, `{"client":{"client_type_id":"`+less+`"}}`).want(200)
		// Tokens of before are refused, all that the client was given; the grant that has no more than the type is good for new ones.
		w.verify(both).refused(401, "invalid_grant")
		w.refresh(ended).refused(401, "invalid_grant")
		w.verify(w.refresh(kept).want(201).at("data.value")).want(200)
	})
}

// People of other realms are no matter of this interface, and a key that somebody else used is no key of the caller's.
func TestOtherRealmsAndOtherCallers(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := w.identity.CreatePerson(ctx, tx, system, identity.NewPerson{Realm: "employees", Username: "bob", DisplayName: "Bob", Email: "bob@x.io"}, redact.Secret{})
			return err
		})
		if a := w.do("GET", "/mithril/users", "").want(200); strings.Contains(a.body, "bob@x.io") || !strings.Contains(a.body, "a@x.io") {
			t.Errorf("%s", a.body)
		}
		operator := w.console("role:write")
		body := `{"role":{"name":"Twice","scope":"legal_entity:read"}}`
		first := w.send("POST", "/mithril/roles", body, "Authorization", "Bearer "+operator, "X-Idempotency-Key", "k").want(201)
		again := w.send("POST", "/mithril/roles", body, "Authorization", "Bearer "+operator, "X-Idempotency-Key", "k").want(201)
		if first.at("data.id") != again.at("data.id") {
			t.Error("the same request made two")
		}
		if a := w.send("POST", "/mithril/roles", `{"role":{"name":"Other","scope":"legal_entity:read"}}`, "Authorization", "Bearer "+w.admin, "X-Idempotency-Key", "k"); a.status != 201 || a.at("data.id") == first.at("data.id") {
			t.Errorf("another caller's key: %d %s", a.status, a.body)
		}
	})
}

// A token that is meant for another resource opens nothing here.
func TestTokensForOtherResources(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const elsewhere = "https://orders.example.org"
		client, _ := id.FromUUID(id.Client, w.client)
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			n, err := registry.LoadStandalone(ctx, tx, client)
			if err != nil {
				return err
			}
			n.Settings.Metadata.Resources = []string{elsewhere}
			_, err = w.registry.UpdateClient(ctx, tx, system, client, registry.ClientChange{Settings: &n.Settings}, func(int64) error { return nil })
			return err
		})
		token := func(more string) string {
			t.Helper()
			a := w.send("POST", "/oauth2/token", "grant_type=client_credentials&client_id="+client+"&client_secret="+url.QueryEscape(w.secret)+more, "Content-Type", "application/x-www-form-urlencoded")
			return a.want(200).at("access_token")
		}
		w.as(token(""), "GET", "/mithril/tokens/self/verify", "").want(200)
		w.as(token("&resource="+url.QueryEscape(elsewhere)), "GET", "/mithril/tokens/self/verify", "").refused(401, "access_denied")
	})
}
