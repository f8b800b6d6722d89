package mithril_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/mithril"
	"github.com/mintmark/mintmark/internal/redact"
)

// Facts 1 to 15: the envelope and the things that it holds.
func TestEnvelopeAndThings(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		t.Run("fact 1", func(t *testing.T) {
			a := w.do("GET", "/mithril/users/"+w.user, "").want(200)
			if a.at("meta.url") != issuer+"/mithril/users/"+w.user || a.at("meta.type") != "object" || a.at("meta.code") != "200" || a.at("meta.request_id") == "" || a.at("meta.request_id") != a.header.Get("X-Request-Id") {
				t.Errorf("%s", a.body)
			}
		})
		t.Run("fact 2", func(t *testing.T) {
			body := `{"user":{"email":"twice@x.io","password":"` + secret + `"}}`
			post := func(body string) answer {
				return w.send("POST", "/mithril/users", body, "Authorization", "Bearer "+w.admin, "X-Idempotency-Key", "k-1")
			}
			first, second := post(body).want(201), post(body).want(201)
			if first.at("meta.idempotency_key") != "k-1" || first.at("data.id") != second.at("data.id") {
				t.Errorf("%s\n%s", first.body, second.body)
			}
			post(strings.Replace(body, "twice", "thrice", 1)).refused(409, "request_conflict")
			var wg sync.WaitGroup
			ids := make([]string, 8)
			for i := range ids {
				wg.Go(func() {
					a := w.send("POST", "/mithril/roles", `{"role":{"name":"Once","scope":"a:b"}}`, "Authorization", "Bearer "+w.admin, "X-Idempotency-Key", "k-2")
					ids[i] = a.at("data.id")
				})
			}
			wg.Wait()
			for _, id := range ids {
				if id != ids[0] || id == "" {
					t.Errorf("one key made %v", ids)
				}
			}
			w.clock.Advance(25 * time.Hour)
			if err := w.service.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			post(body).wrong("email", "unique") // the key is over
		})
		t.Run("fact 3", func(t *testing.T) {
			a := w.do("POST", "/mithril/admin/users", `{"user":{"email":"third@x.io","password":"`+secret+`","priv_settings":{"hidden":true}}}`).want(201)
			data, _ := a.doc["data"].(map[string]any)
			if len(data) != 3 || data["id"] == nil || data["email"] != "third@x.io" || data["settings"] == nil || strings.Contains(a.body, secret) || strings.Contains(a.body, "hidden") {
				t.Errorf("%s", a.body)
			}
			w.do("POST", "/mithril/users", `{"user":{}}`).wrong("email", "required")
			w.do("POST", "/mithril/users", `{"user":{"email":"no","password":"`+secret+`"}}`).wrong("email", "format")
			w.do("POST", "/mithril/users", `{"user":{"email":"weak@x.io","password":"short"}}`).wrong("password", "password")
			w.do("POST", "/mithril/users", `{"user":{"email":7,"password":"x"}}`).wrong("email", "cast")
			w.do("POST", "/mithril/users", `{"user":{"email":"o'brien+tag@x.io","password":"`+secret+`"}}`).want(201)
		})
		t.Run("fact 5", func(t *testing.T) {
			w.do("POST", "/mithril/users", `{"user":{"email":"A@X.io","password":"`+secret+`"}}`).wrong("email", "unique")
			other := w.newUser("move@x.io")
			w.do("PATCH", "/mithril/users/"+other, `{"user":{"email":"a@x.IO"}}`).wrong("email", "unique")
			w.do("PATCH", "/mithril/users/"+other, `{"user":{"email":"moved@x.io","settings":{"a":1}}}`).want(200)
			w.signIn("moved@x.io", secret, "app:authorize").want(201)
			w.signIn("move@x.io", secret, "app:authorize").refused(401, "invalid_grant")
		})
		t.Run("fact 6", func(t *testing.T) {
			w.do("POST", "/mithril/users", `{`).refused(400, "request_malformed")
			w.do("POST", "/mithril/users", `{"person":{}}`).refused(400, "request_malformed")
			w.do("POST", "/mithril/users", `{"user":{"email":"a","email":"b"}}`).refused(400, "request_malformed")
			w.send("GET", "/mithril/users", "", "Accept", "text/html", "Authorization", "Bearer "+w.admin).refused(406, "content_type_invalid")
			w.send("GET", "/mithril/users", "", "Accept", "text/html, */*;q=0.1", "Authorization", "Bearer "+w.admin).want(200)
			w.send("POST", "/mithril/users", `{"user":{}}`, "Content-Type", "text/plain", "Authorization", "Bearer "+w.admin).refused(415, "content_type_invalid")
			w.do("POST", "/mithril/users", `{"user":{"email":"`+strings.Repeat("x", 70<<10)+`"}}`).refused(413, "request_too_large")
			w.do("GET", "/mithril/nothing", "").refused(404, "not_found")
		})
		t.Run("fact 7", func(t *testing.T) {
			for _, collection := range []string{"users", "clients", "roles", "client_types", "apps", "tokens"} {
				w.do("GET", "/mithril/"+collection+"/0192f3a4-5b6c-7d8e-9fab-0123456789ab", "").refused(404, "not_found")
				w.do("GET", "/mithril/"+collection+"/nonsense", "").refused(404, "not_found")
				w.do("DELETE", "/mithril/"+collection+"/%27%20or%201=1", "").refused(404, "not_found")
			}
			w.do("GET", "/mithril/users/"+w.user+"/roles/"+w.role, "").refused(404, "not_found")
		})
		t.Run("fact 9", func(t *testing.T) {
			list := w.do("GET", "/mithril/users?limit=3", "").want(200)
			third := list.at("data.2.id")
			before := w.do("GET", "/mithril/users?ending_before="+third, "").want(200)
			if before.at("data.0.id") != list.at("data.0.id") || before.at("data.1.id") != list.at("data.1.id") || before.at("data.2.id") != "" || before.at("paging.has_more") != "false" {
				t.Errorf("%s\n%s", list.body, before.body)
			}
			after := w.do("GET", "/mithril/users?limit=2&starting_after="+list.at("data.0.id"), "").want(200)
			if after.at("data.1.id") != third {
				t.Errorf("%s", after.body)
			}
			for _, unknown := range []string{"0192f3a4-5b6c-7d8e-9fab-0123456789ab", "nonsense"} {
				if a := w.do("GET", "/mithril/users?starting_after="+unknown, "").want(200); a.at("data") != "[]" {
					t.Errorf("%s", a.body)
				}
			}
			w.do("GET", "/mithril/users?limit=101", "").wrong("limit", "inclusion")
			exact := w.do("GET", "/mithril/client_types?limit=1", "").want(200)
			if exact.at("paging.has_more") != "false" {
				t.Error("there is more than there is")
			}
		})
		client := `{"client":{"name":"New","user_id":"` + w.user + `","client_type_id":"` + w.kind + `","redirect_uri":"REDIRECT"}}`
		t.Run("fact 10", func(t *testing.T) {
			w.do("POST", "/mithril/clients", strings.Replace(client, "REDIRECT", "ftp://x", 1)).wrong("redirect_uri", "format")
			w.do("POST", "/mithril/clients", strings.Replace(client, "REDIRECT", "https://x/#f", 1)).wrong("redirect_uri", "format")
			w.do("POST", "/mithril/clients", `{"client":{"name":"New"}}`).wrong("user_id", "required")
			w.do("POST", "/mithril/clients", strings.ReplaceAll(strings.Replace(client, "REDIRECT", back, 1), w.kind, w.user)).wrong("client_type_id", "assoc")
			w.do("GET", "/mithril/clients?user_id=bad", "").wrong("user_id", "cast")
		})
		t.Run("fact 11", func(t *testing.T) {
			a := w.do("POST", "/mithril/clients", strings.Replace(client, "REDIRECT", back, 1)).want(201)
			if len(a.at("data.secret")) < 40 {
				t.Errorf("%s", a.body)
			}
			path := "/mithril/clients/" + a.at("data.id")
			if b := w.do("GET", path, "").want(200); strings.Contains(b.body, "secret") {
				t.Errorf("%s", b.body)
			}
			w.do("PATCH", path, `{"client":{"name":"Newer","secret":"mine"}}`).want(200)
			w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"refresh_token","client_id":"`+a.at("data.id")+`","client_secret":"mine","refresh_token":"x"}}`).refused(401, "invalid_client")
			w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"refresh_token","client_id":"`+a.at("data.id")+`","client_secret":"`+a.at("data.secret")+`","refresh_token":"x"}}`).refused(401, "invalid_grant")
			if b := w.do("GET", "/mithril/clients?name=NEWE", "").want(200); b.at("data.0.name") != "Newer" || b.at("data.1.id") != "" {
				t.Errorf("%s", b.body)
			}
			w.do("DELETE", path, "").want(204)
		})
		t.Run("fact 13", func(t *testing.T) {
			a := w.do("GET", "/mithril/admin/clients/"+w.client+"/details", "").want(200)
			if a.at("data.client_type_name") != "MIS" || a.at("data.name") != "Portal" || strings.Contains(a.body, "secret") || strings.Contains(a.body, "tier") {
				t.Errorf("%s", a.body)
			}
			w.as(w.session("app:authorize"), "GET", "/mithril/clients/"+w.client+"/details", "").want(200)
			w.send("GET", "/mithril/clients/"+w.client+"/details", "").refused(401, "access_denied")
		})
		t.Run("fact 14", func(t *testing.T) {
			w.do("DELETE", "/mithril/client_types/"+w.kind, "").refused(409, "request_conflict")
			w.do("DELETE", "/mithril/roles/"+w.role, "").refused(409, "request_conflict")
		})
		t.Run("fact 15", func(t *testing.T) {
			body := `{"user_role":{"role_id":"` + w.role + `","client_id":"` + w.client + `"}}`
			w.do("POST", "/mithril/users/"+w.user+"/roles", body).wrong("role_id", "unique")
			other := w.newUser("role@x.io")
			w.do("POST", "/mithril/users/"+other+"/roles", strings.Replace(body, `"role_id"`, `"user_id":"`+w.user+`","role_id"`, 1)).refused(404, "not_found")
			given := w.do("POST", "/mithril/users/"+other+"/roles", body).want(201).at("data.id")
			w.do("GET", "/mithril/users/"+w.user+"/roles/"+given, "").refused(404, "not_found")
			w.do("GET", "/mithril/users/"+other+"/roles/"+given, "").want(200)
			w.do("DELETE", "/mithril/users/"+w.user+"/roles/"+given, "").refused(404, "not_found")
			w.do("DELETE", "/mithril/users/"+other+"/roles?role_name=Nobody", "").want(204)
			w.do("GET", "/mithril/users/"+other+"/roles/"+given, "").want(200)
			w.do("DELETE", "/mithril/users/"+other+"/roles?role_name=Doctor", "").want(204)
			w.do("GET", "/mithril/users/"+other+"/roles/"+given, "").refused(404, "not_found")
		})
		t.Run("filters of roles", func(t *testing.T) {
			w.do("POST", "/mithril/roles", `{"role":{"name":"Nurse","scope":"bed:make legal_entity:readall"}}`).want(201)
			for query, n := range map[string]int{"scope=legal_entity:read": 1, "scope=bed:make,legal_entity:read": 2, "name=OCTO": 1, "name=%25": 0, "scope=legal": 0} {
				if a := w.do("GET", "/mithril/roles?"+query, "").want(200); strings.Count(a.body, `"scope"`) != n {
					t.Errorf("%s: %s", query, a.body)
				}
			}
			w.do("POST", "/mithril/roles", `{"role":{"name":"x","scope":"`+strings.Repeat("a:b ", 600)+`"}}`).wrong("scope", "length")
			w.do("POST", "/mithril/roles", `{"role":{"name":"x","scope":"a\"b"}}`).wrong("scope", "format")
			w.do("POST", "/mithril/roles", `{"role":{"name":"x"}}`).wrong("scope", "required")
		})
	})
}

// Fact 35 and the exposure table: who may do what by which scope.
func TestScopesGuardEverything(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		t.Run("fact 35", func(t *testing.T) {
			w.tokens("legal_entity:read")
			other := w.newUser("other@x.io")
			w.give(other, w.role, w.client)
			theirs := w.signIn("other@x.io", secret, "app:authorize apps:read apps:delete").want(201).at("data.value")
			w.approve(theirs, "legal_entity:read")
			mine := w.session("apps:read apps:delete")
			a := w.as(mine, "GET", "/mithril/apps?user_id="+other, "").want(200)
			if a.at("data.0.user_id") != w.user || a.at("data.1") != "" {
				t.Errorf("%s", a.body)
			}
			foreign := w.do("GET", "/mithril/apps?user_id="+other, "").want(200).at("data.0.id")
			w.as(mine, "GET", "/mithril/apps/"+foreign, "").refused(404, "not_found")
			w.as(mine, "DELETE", "/mithril/apps/"+foreign, "").refused(404, "not_found")
			w.as(theirs, "DELETE", "/mithril/apps/"+foreign, "").want(204)
		})
		t.Run("B7.137 nothing is open but the grant", func(t *testing.T) {
			session := w.session("app:authorize apps:create apps:read apps:delete user:read user:update")
			for _, op := range mithril.Operations() {
				method, path, _ := strings.Cut(op, " ")
				path = strings.NewReplacer("{id}", w.user, "{role}", w.role, "{token}", "0192f3a4-5b6c-7d8e-9fab-0123456789ab").Replace(path)
				if strings.HasSuffix(path, "/tokens") && method == "POST" {
					continue
				}
				body := ""
				if method != "GET" && method != "DELETE" {
					body = `{"user":{},"role":{},"client":{},"client_type":{},"app":{"user_id":"` + w.user + `"},"user_role":{}}`
				}
				if a := w.send(method, path, body); a.status != 401 && a.status != 404 {
					t.Errorf("%s by nobody: %d %s", op, a.status, a.body)
				}
				if strings.Contains(path, "/apps") && !strings.Contains(path, "/users/") || strings.HasSuffix(path, "change_password") || strings.HasSuffix(path, "/details") {
					continue // those are for people, too
				}
				if a := w.as(session, method, path, body); a.status != 401 {
					t.Errorf("%s by a user: %d %s", op, a.status, a.body)
				}
			}
			w.as("nonsense", "GET", "/mithril/users", "").refused(401, "access_denied")
			w.send("GET", "/mithril/users", "", "Authorization", "Basic eDp5").refused(401, "access_denied")
		})
		t.Run("B7.124 mass assignment", func(t *testing.T) {
			more := `,"id":"` + w.user + `","admin":true,"roles":["x"],"is_blocked":true,"username":"root","realm":"employees","created_by":"x","email_verified":true`
			a := w.do("POST", "/mithril/users", `{"user":{"email":"mass@x.io","password":"`+secret+`"`+more+`}}`).want(201)
			if a.at("data.id") == w.user || a.at("data.is_blocked") != "" {
				t.Errorf("%s", a.body)
			}
			w.do("PATCH", "/mithril/users/"+a.at("data.id"), `{"user":{"settings":{}`+more+`}}`).want(200)
			err := w.db.Read(t.Context(), func(tx db.ReadTx) error {
				found, ok := id.FromUUID(id.User, a.at("data.id"))
				u, err := identity.LoadUser(t.Context(), tx, found)
				if !ok || err != nil || u.Admin || u.Realm != "customers" || u.Username != "mass@x.io" {
					t.Errorf("%+v %v", u, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			c := w.do("POST", "/mithril/clients", `{"client":{"name":"Mass","user_id":"`+w.user+`","client_type_id":"`+w.kind+`","redirect_uri":"`+back+`","id":"`+w.client+`","secret":"mine","trusted":true,"grant_types":["implicit"],"first_party":true}}`).want(201)
			if c.at("data.id") == w.client || c.at("data.secret") == "mine" {
				t.Errorf("%s", c.body)
			}
			own := w.session("user:update")
			b := w.as(own, "PATCH", "/mithril/users/"+w.user+"/actions/change_password", `{"user":{"current_password":"`+secret+`","password":"`+secret+` again","email":"stolen@x.io","priv_settings":{"tier":9}}}`).want(200)
			if b.at("data.email") != "a@x.io" {
				t.Errorf("B7.134: %s", b.body)
			}
			w.as(w.admin, "PATCH", "/mithril/users/"+w.user, `{"user":{"password":"`+secret+`"}}`).want(200)
		})
		t.Run("B7.133 administrative scopes", func(t *testing.T) {
			kind := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Console","scope":"app:authorize user:read user:write role:read role:write client_type:write"}}`).want(201).at("data.id")
			role := w.do("POST", "/mithril/roles", `{"role":{"name":"Operator","scope":"user:read user:write role:read role:write client_type:write"}}`).want(201).at("data.id")
			console := *w
			console.client, console.secret = w.newClient("Console", w.user, kind)
			w.give(w.user, role, console.client)
			access, _ := console.tokens("user:read user:write role:write role:read client_type:write")
			w.as(access, "GET", "/mithril/users", "").want(200)
			w.as(access, "POST", "/mithril/users", `{"user":{"email":"made@x.io","password":"`+secret+`"}}`).want(201)
			w.as(access, "DELETE", "/mithril/users/"+w.user, "").refused(401, "access_denied").at("error.invalid.0.rules.0.params.0")
			w.as(access, "POST", "/mithril/roles", `{"role":{"name":"Plain","scope":"legal_entity:read"}}`).want(201)
			w.as(access, "POST", "/mithril/roles", `{"role":{"name":"Climber","scope":"user:delete"}}`).refused(403, "forbidden")
			w.as(access, "PATCH", "/mithril/roles/"+role, `{"role":{"scope":"token:delete"}}`).refused(403, "forbidden")
			w.as(access, "POST", "/mithril/client_types", `{"client_type":{"name":"Climber","scope":"client:write"}}`).refused(403, "forbidden")
			strong := w.do("POST", "/mithril/roles", `{"role":{"name":"Strong","scope":"token:delete"}}`).want(201).at("data.id")
			w.as(access, "POST", "/mithril/users/"+w.user+"/roles", `{"user_role":{"role_id":"`+strong+`","client_id":"`+console.client+`"}}`).refused(403, "forbidden")
			held := w.give(w.user, strong, console.client)
			w.as(access, "PATCH", "/mithril/roles/"+strong, `{"role":{"scope":"legal_entity:read"}}`).refused(403, "forbidden")
			w.do("PATCH", "/mithril/roles/"+role, `{"role":{"scope":"user:read user:write role:read role:write role:delete client_type:write"}}`).want(200)
			w.do("PATCH", "/mithril/client_types/"+kind, `{"client_type":{"scope":"app:authorize user:read user:write role:read role:write role:delete client_type:write"}}`).want(200)
			soon(t, func() bool {
				return console.signIn("a@x.io", secret, "role:delete").status == 201
			})
			taker := console.signIn("a@x.io", secret, "role:delete").want(201).at("data.value")
			w.as(taker, "DELETE", "/mithril/users/"+w.user+"/roles/"+held, "").refused(403, "forbidden")
			w.as(taker, "DELETE", "/mithril/users/"+w.user+"/roles?client_id="+console.client, "").refused(403, "forbidden")
			// user:read of a session is about the person, whatever the type has.
			own := console.signIn("a@x.io", secret, "user:read").want(201).at("data.value")
			w.as(own, "GET", "/mithril/users", "").want(200) // a role of this user carries it
			w.newUser("plain@x.io")
			plain := console.signIn("plain@x.io", secret, "user:read").want(201).at("data.value")
			w.as(plain, "GET", "/mithril/users", "").refused(401, "access_denied")
		})
	})
	t.Run("an administrator of ours is out of reach of all others", func(t *testing.T) {
		w := one(t)
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := w.identity.CreatePerson(ctx, tx, system, identity.NewPerson{Realm: "customers", Username: "boss", Email: "boss@x.io", Admin: true}, redact.New(secret))
			return err
		})
		kind := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Console","scope":"user:read user:write user:delete app:authorize"}}`).want(201).at("data.id")
		role := w.do("POST", "/mithril/roles", `{"role":{"name":"Operator","scope":"user:read user:write user:delete"}}`).want(201).at("data.id")
		console := *w
		console.client, console.secret = w.newClient("Console", w.user, kind)
		w.give(w.user, role, console.client)
		access, _ := console.tokens("user:read user:write user:delete")
		boss := w.as(access, "GET", "/mithril/users?email=BOSS@x.io", "").want(200).at("data.0.id")
		w.as(access, "PATCH", "/mithril/users/"+boss, `{"user":{"password":"`+secret+` new"}}`).refused(403, "forbidden")
		w.as(access, "PATCH", "/mithril/users/"+boss+"/actions/block", "").refused(403, "forbidden")
		w.as(access, "DELETE", "/mithril/users/"+boss, "").refused(403, "forbidden")
		// A token never makes an administrator, whoever signed in for it.
		w.give(boss, w.role, w.client)
		token := w.signIn("boss@x.io", secret, "user:read").want(201).at("data.value")
		w.as(token, "GET", "/mithril/users", "").refused(401, "access_denied")
	})
	t.Run("a person with a second factor", func(t *testing.T) {
		w := one(t, func(o *mithril.Options) {
			o.Admit = func(_ context.Context, _ db.ReadTx, u identity.User, amr []string) error {
				if u.Username == "strong@x.io" && len(amr) == 1 {
					return fault.New(fault.Forbidden, "second_factor_needed", "more")
				}
				return nil
			}
		})
		w.newUser("strong@x.io")
		w.signIn("strong@x.io", secret, "app:authorize").refused(401, "mfa_required")
		w.signIn("strong@x.io", "wrong horse battery staple", "app:authorize").refused(401, "invalid_grant")
		w.signIn("a@x.io", secret, "app:authorize").want(201)
	})
	t.Run("gateway", func(t *testing.T) {
		w := one(t)
		w.send("GET", "/mithril/apps", "", "X-Consumer-ID", w.user, "X-Consumer-Scope", "apps:read app:read user:write").refused(401, "access_denied")
		w = one(t, gateway("192.0.2.0/24")) // where the test's requests come from
		w.tokens("legal_entity:read")
		if a := w.send("GET", "/mithril/apps", "", "X-Consumer-ID", w.user, "X-Consumer-Scope", "apps:read").want(200); a.at("data.0.user_id") != w.user {
			t.Errorf("%s", a.body)
		}
		w.send("GET", "/mithril/apps", "", "X-Consumer-ID", "nobody", "X-Consumer-Scope", "apps:read").refused(401, "access_denied")
		w.clock.Advance(time.Second)
		w.send("POST", "/mithril/oauth/apps/authorize", `{"app":{"client_id":"`+w.client+`","redirect_uri":"`+back+`","scope":"legal_entity:read"}}`, "X-Consumer-ID", w.user, "X-Consumer-Scope", "app:authorize").want(201)
		// The gateway says who it is, and not when or how she signed in: neither is made up.
		var auth int64
		var amr, acr string
		if err := w.db.Read(t.Context(), func(tx db.ReadTx) error {
			return tx.QueryRow(t.Context(), `SELECT auth_time, amr, acr FROM grants ORDER BY created DESC, id DESC LIMIT 1`).Scan(&auth, &amr, &acr)
		}); err != nil || auth != 0 || amr != "" || acr != "0" {
			t.Errorf("the grant says %d, %q, class %q: %v", auth, amr, acr, err)
		}
	})
}

// Rights of others are no way to more of one's own.
func TestB7_133_NoWayUp(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		kind := w.do("POST", "/mithril/client_types", `{"client_type":{"name":"Console","scope":"app:authorize user:read user:write user:delete role:write token:delete app:read app:delete"}}`).want(201).at("data.id")
		role := w.do("POST", "/mithril/roles", `{"role":{"name":"Helpdesk","scope":"user:write user:delete role:write app:read app:delete"}}`).want(201).at("data.id")
		strong := w.do("POST", "/mithril/roles", `{"role":{"name":"Strong","scope":"token:delete"}}`).want(201).at("data.id")
		console := *w
		console.client, console.secret = w.newClient("Console", w.user, kind)
		w.give(w.user, role, console.client)
		access, _ := console.tokens("user:read user:write user:delete role:write app:read app:delete")

		t.Run("user:read to see oneself is not user:read of all", func(t *testing.T) {
			w.as(access, "GET", "/mithril/users", "").refused(401, "access_denied")
			w.as(access, "POST", "/mithril/roles", `{"role":{"name":"Reader","scope":"user:read"}}`).refused(403, "forbidden")
			reader := w.do("POST", "/mithril/roles", `{"role":{"name":"Reader","scope":"user:read"}}`).want(201).at("data.id")
			w.as(access, "POST", "/mithril/users/"+w.user+"/roles", `{"user_role":{"role_id":"`+reader+`","client_id":"`+console.client+`"}}`).refused(403, "forbidden")
			w.as(access, "PATCH", "/mithril/roles/"+w.role, `{"role":{"scope":"legal_entity:read legal_entity:write user:read"}}`).refused(403, "forbidden")
		})
		t.Run("the password of somebody above", func(t *testing.T) {
			above, below := w.newUser("above@x.io"), w.newUser("below@x.io")
			w.give(above, strong, console.client)
			w.give(below, w.role, w.client)
			for _, r := range [][3]string{{"PATCH", "", `{"user":{"password":"` + secret + ` new"}}`}, {"PATCH", "", `{"user":{"email":"mine@x.io"}}`}, {"PATCH", "/actions/block", ""}, {"DELETE", "", ""}} {
				w.as(access, r[0], "/mithril/users/"+above+r[1], r[2]).refused(403, "forbidden")
			}
			w.as(access, "PATCH", "/mithril/users/"+below, `{"user":{"password":"`+secret+` new"}}`).want(200)
			w.as(access, "DELETE", "/mithril/users/"+below, "").want(204)
		})
		t.Run("another realm", func(t *testing.T) {
			var colleague string
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				u, err := w.identity.CreatePerson(ctx, tx, system, identity.NewPerson{Realm: "employees", Username: "jane"}, redact.Secret{})
				if err != nil {
					return err
				}
				colleague = id.UUID(u.ID)
				client, _ := id.FromUUID(id.Client, w.client)
				_, err = tx.Exec(ctx, `INSERT INTO approvals (user_id, client_id, scopes, granted, id) VALUES ($1, $2, 'openid', 1, $3)`, u.ID, client, id.New(id.Approval, tx.Now()))
				return err
			})
			w.do("DELETE", "/mithril/users/"+colleague+"/tokens", "").refused(404, "not_found")
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				user, _ := id.FromUUID(id.User, colleague)
				client, _ := id.FromUUID(id.Client, w.client)
				_, err := tx.Exec(ctx, `INSERT INTO mithril_tokens (id, name, mac, prefix, user_id, client_id, grant_id, grant_type, scopes, redirect_uri, created, expires, superseded, revoked)
					VALUES ($1, 'access_token', $2, 'eyJhbG', $3, $4, 'grt_1', 'authorization_code', 'openid', '', 1, $5, 0, 0)`, id.New(id.Token, tx.Now()), []byte(user), user, client, db.Micros(tx.Now().Add(time.Hour)))
				return err
			})
			if a := w.do("GET", "/mithril/tokens?user_id="+colleague, "").want(200); a.at("data.0") != "" {
				t.Errorf("%s", a.body)
			}
			if a := w.as(access, "GET", "/mithril/apps?user_id="+colleague, "").want(200); a.at("data.0") != "" {
				t.Errorf("%s", a.body)
			}
		})
	})
}

// A filter that names several clients is no wish to take everything.
func TestSomeTokensAreNotAll(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		other, _ := w.newClient("Other", w.user, w.kind)
		session := w.session("app:authorize")
		w.do("DELETE", "/mithril/users/"+w.user+"/tokens?client_ids="+other, "").want(204)
		w.verify(session).want(200)
		w.do("DELETE", "/mithril/users/"+w.user+"/tokens?client_ids="+other+","+w.client, "").want(204)
		w.verify(session).want(401)
	})
}

// What cannot be a text is refused before the database sees it.
func TestQueriesThatAreNoText(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, path := range []string{"/mithril/roles?name=%ff", "/mithril/roles?scope=%ff", "/mithril/tokens?name=%ff", "/mithril/tokens?value=%ff%ff%ff%ff%ff%ff",
			"/mithril/users?email=%ff", "/mithril/clients?name=%c3", "/mithril/users/" + w.user + "/roles?role_name=%ff"} {
			w.do("GET", path, "").refused(400, "request_malformed")
		}
		for _, path := range []string{"/mithril/roles?limit=1e9", "/mithril/users?starting_after=%27", "/mithril/users?ending_before=usr_00000000000000000000000000", "/mithril/apps?user_ids=,,", "/mithril/roles?scope=,,"} {
			if a := w.do("GET", path, ""); a.status >= 500 {
				t.Errorf("%s: %d", path, a.status)
			}
		}
		for _, body := range []string{`{"user":null}`, `{"user":[]}`, `{"user":{"email":1e400}}`, `{"user":{"email":"a@x.io\ud800","password":"x"}}`, `{"user":{"email":{},"password":[]}}`, `[]`, `null`,
			`{"user":{"email":"a@b","password":"` + strings.Repeat("x", 5000) + `"}}`} {
			if a := w.do("POST", "/mithril/users", body); a.status >= 500 {
				t.Errorf("%.80s: %d", body, a.status)
			}
		}
		if a := w.do("PATCH", "/mithril/users/"+w.user+"/actions/block", `{"user":{"block_reason":"\u0000"}}`); a.status >= 500 {
			t.Errorf("%d", a.status)
		}
	})
}
