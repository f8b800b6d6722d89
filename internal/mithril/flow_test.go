package mithril_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/mithril"
)

// The worked examples of the older documentation, in their order, each answer by what it must hold.
func TestWorkedExamples(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		u := w.send("POST", "/mithril/admin/users", `{"user":{"email":"b@x.io","password":"`+secret+`","settings":{"lang":"en"}}}`, "Authorization", "Bearer "+w.admin, "X-Request-ID", "r-1").want(201)
		if u.header.Get("Location") != "/mithril/admin/users/"+u.at("data.id") || u.at("meta.url") != issuer+"/mithril/admin/users" || u.at("meta.type") != "object" || u.at("meta.code") != "201" || u.at("meta.request_id") != "r-1" || u.at("data.settings.lang") != "en" {
			t.Errorf("user: %s", u.body)
		}
		kind := w.do("POST", "/mithril/admin/client_types", `{"client_type":{"name":"Other","scope":"app:authorize legal_entity:read"}}`).want(201)
		if kind.at("data.scope") != "app:authorize legal_entity:read" {
			t.Errorf("type: %s", kind.body)
		}
		token := w.signIn("a@x.io", secret, "app:authorize").want(201)
		if token.at("data.name") != "session_token" || token.at("data.user_id") != w.user || token.at("data.details.scope") != "app:authorize" || token.at("data.details.grant_type") != "password" || token.at("data.details.redirect_uri") != back || token.at("data.details.client_id") != w.client {
			t.Errorf("session: %s", token.body)
		}
		code := w.as(token.at("data.value"), "POST", "/mithril/oauth/apps/authorize", `{"app":{"client_id":"`+w.client+`","redirect_uri":"`+back+`?a=1","scope":"legal_entity:read"}}`).want(201)
		if code.at("data.name") != "authorization_code" || code.header.Get("Location") != back+"?a=1&code="+code.at("data.value") {
			t.Errorf("code: %s %s", code.header.Get("Location"), code.body)
		}
		access := w.exchange(w.node, code.at("data.value"), back+"?a=1").want(201)
		if access.at("data.name") != "access_token" || access.at("data.details.scope") != "legal_entity:read" || access.at("data.details.refresh_token") == "" || access.at("data.details.grant_type") != "authorization_code" {
			t.Errorf("access token: %s", access.body)
		}
		fresh := w.refresh(access.at("data.details.refresh_token")).want(201)
		if fresh.at("data.details.grant_type") != "refresh_token" || fresh.at("data.details.scope") != "legal_entity:read" {
			t.Errorf("refreshed: %s", fresh.body)
		}
		apps := w.do("GET", "/mithril/admin/apps?user_id="+w.user, "").want(200)
		if apps.at("data.0.scope") != "legal_entity:read" || apps.at("data.0.client_id") != w.client || apps.at("data.1") != "" || apps.at("paging.limit") != "50" {
			t.Errorf("approvals: %s", apps.body)
		}
		page := w.do("GET", "/mithril/admin/users?limit=1", "").want(200)
		if page.at("paging.has_more") != "true" || page.at("paging.cursors.starting_after") != page.at("data.0.id") || page.at("paging.cursors.ending_before") != page.at("data.0.id") || page.at("meta.type") != "list" {
			t.Errorf("page: %s", page.body)
		}
	})
}

// Facts 17 to 19: what the password grant refuses, and in which words.
func TestPasswordGrant(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		t.Run("fact 17 a client that is not allowed it", func(t *testing.T) {
			w.do("PATCH", "/mithril/admin/clients/"+w.client, `{"client":{"settings":{}}}`).want(200)
			soon(t, func() bool { return w.signIn("a@x.io", secret, "app:authorize").status == 401 })
			w.signIn("a@x.io", secret, "app:authorize").refused(401, "invalid_client")
			w.do("PATCH", "/mithril/admin/clients/"+w.client, `{"client":{"settings":{"allowed_grant_types":["password"]}}}`).want(200)
			soon(t, func() bool { return w.signIn("a@x.io", secret, "app:authorize").status == 201 })
		})
		t.Run("fact 18 unknown and wrong are one answer", func(t *testing.T) {
			unknown, wrong := w.signIn("nobody@x.io", secret, "app:authorize"), w.signIn("a@x.io", "wrong horse battery staple", "app:authorize")
			unknown.refused(401, "invalid_grant")
			strip := func(a answer) string { return strings.ReplaceAll(a.body, a.at("meta.request_id"), "") }
			if unknown.status != wrong.status || strip(unknown) != strip(wrong) {
				t.Errorf("%d %s\n%d %s", unknown.status, unknown.body, wrong.status, wrong.body)
			}
			if wrong.at("error.invalid_grant") == "" || wrong.at("error_description") == "" {
				t.Errorf("the code is not where older clients look: %s", wrong.body)
			}
		})
		t.Run("the grant in the address", func(t *testing.T) {
			ask := func(query, grant string) answer {
				return w.send("POST", "/mithril/tokens?grant_type="+query, `{"token":{`+grant+`"email":"a@x.io","password":"`+secret+`","client_id":"`+w.client+`","scope":"app:authorize"}}`)
			}
			if a := ask("password", "").want(201); a.at("data.name") != "session_token" {
				t.Errorf("%s", a.body)
			}
			ask("password", `"grant_type":"telepathy",`).refused(400, "unsupported_grant_type") // the body counts
		})
		t.Run("fact 19 scope outside the client type", func(t *testing.T) {
			a := w.signIn("a@x.io", secret, "app:authorize nuclear:launch").refused(400, "invalid_scope")
			if !strings.Contains(a.at("error.message"), "legal_entity:read") {
				t.Errorf("the allowed ones are not named: %s", a.body)
			}
		})
		t.Run("scope outside the roles", func(t *testing.T) {
			other := w.newUser("poor@x.io")
			w.signIn("poor@x.io", secret, "app:authorize").want(201)
			w.signIn("poor@x.io", secret, "legal_entity:read").refused(400, "invalid_scope")
			w.give(other, w.role, w.client)
			w.signIn("poor@x.io", secret, "legal_entity:read").want(201)
		})
		for body, status := range map[string]int{
			`{"token":{"grant_type":"password"}}`:  400,
			`{"token":{}}`:                         400,
			`{"token":{"grant_type":"telepathy"}}`: 400,
			`{"token":{"grant_type":"password","email":"a@x.io","password":"x","client_id":"` + w.user + `","scope":"a"}}`:                   401,
			`{"token":{"grant_type":"authorization_code","client_id":"` + w.client + `","client_secret":"x","code":"y","redirect_uri":"z"}}`: 401,
		} {
			w.send("POST", "/mithril/tokens", body).want(status)
		}
	})
}

// Facts 21 to 23 and 25: what an approval gives, and for what its code is good.
func TestApprovals(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		session := w.session("app:authorize")
		ask := func(token, redirect, scope string) answer {
			return w.as(token, "POST", "/mithril/oauth/apps/authorize", `{"app":{"client_id":"`+w.client+`","redirect_uri":"`+redirect+`","scope":"`+scope+`","state":"s&1"}}`)
		}
		t.Run("fact 21", func(t *testing.T) {
			w.do("PATCH", "/mithril/admin/client_types/"+w.kind, `{"client_type":{"scope":"app:authorize apps:create apps:read apps:delete user:read user:update legal_entity:read legal_entity:write secret:read"}}`).want(200)
			soon(t, func() bool { return !strings.Contains(ask(session, back, "secret:read").body, "client type.") })
			ask(session, back, "secret:read").refused(422, "invalid_client")
			ask(session, back, "nuclear:launch").refused(422, "invalid_client")
			w.newUser("roleless@x.io")
			ask(w.signIn("roleless@x.io", secret, "app:authorize").want(201).at("data.value"), back, "app:authorize").refused(422, "invalid_client")
			ask(session, "https://evil.example/cb", "legal_entity:read").refused(422, "invalid_client")
			ask(session, back+"/deeper", "legal_entity:read").refused(422, "invalid_client")
			ask(session, back+"?code=x", "legal_entity:read").refused(422, "invalid_client")
			w.as(session, "POST", "/mithril/apps", `{"app":{}}`).refused(400, "invalid_client")
			w.send("POST", "/mithril/apps", `{"app":{}}`).refused(401, "access_denied")
		})
		t.Run("fact 22", func(t *testing.T) {
			a := ask(session, back+"?a=1", "legal_entity:read").want(201)
			u, err := url.Parse(a.header.Get("Location"))
			if err != nil || u.Query().Get("a") != "1" || u.Query().Get("code") != a.at("data.value") || u.Query().Get("state") != "s&1" {
				t.Errorf("%s", a.header.Get("Location"))
			}
		})
		t.Run("fact 23", func(t *testing.T) {
			w.approve(session, "legal_entity:read")
			second := w.exchange(w.node, w.approve(session, "legal_entity:write"), back).want(201)
			if second.at("data.details.scope") != "legal_entity:write" {
				t.Errorf("the second token: %s", second.body)
			}
			apps := w.do("GET", "/mithril/apps?user_id="+w.user, "").want(200)
			if apps.at("data.0.scope") != "legal_entity:read legal_entity:write" || apps.at("data.1") != "" {
				t.Errorf("approvals: %s", apps.body)
			}
		})
		t.Run("fact 25", func(t *testing.T) {
			other, otherSecret := w.newClient("Other", w.user, w.kind)
			code := w.approve(session, "legal_entity:read")
			w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"authorization_code","client_id":"`+other+`","client_secret":"`+otherSecret+`","code":"`+code+`","redirect_uri":"`+back+`"}}`).refused(401, "invalid_grant")
			w.exchange(w.node, w.approve(session, "legal_entity:read"), back+"/x").refused(401, "invalid_grant")
			code = w.approve(session, "legal_entity:read")
			w.clock.Advance(299 * time.Second)
			w.exchange(w.node, code, back).want(201)
			code = w.approve(session, "legal_entity:read")
			w.clock.Advance(301 * time.Second)
			w.exchange(w.node, code, back).refused(401, "invalid_grant")
		})
		t.Run("a code used twice ends what it gave", func(t *testing.T) {
			code := w.approve(session, "legal_entity:read")
			first := w.exchange(w.node, code, back).want(201)
			w.exchange(w.node, code, back).refused(401, "invalid_grant")
			w.verify(first.at("data.value")).refused(401, "invalid_grant")
			w.refresh(first.at("data.details.refresh_token")).refused(401, "invalid_grant")
		})
		t.Run("a session that is over approves nothing", func(t *testing.T) {
			id := w.do("GET", "/mithril/tokens?name=session_token&user_id="+w.user, "").want(200).at("data.0.id")
			w.do("DELETE", "/mithril/tokens/"+id, "").want(204)
			ask(session, back, "legal_entity:read").refused(401, "access_denied")
		})
	})
}

// Fact 26: of many exchanges of one code, side by side on two servers, one succeeds.
func TestOneCodeManyExchanges(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		if engine != db.PostgreSQL {
			continue
		}
		url := dbtest.URL(t, engine)
		w := newWorldAt(t, url)
		second := newNode(t, url, clock.NewFake(begin), w.node)
		code := w.approve(w.session("app:authorize"), "legal_entity:read")
		statuses := make([]int, 50)
		var wg sync.WaitGroup
		for i := range statuses {
			n := w.node
			if i%2 == 1 {
				n = second
			}
			wg.Go(func() { statuses[i] = w.exchange(n, code, back).status })
		}
		wg.Wait()
		won := 0
		for _, s := range statuses {
			if s == 201 {
				won++
			} else if s != 401 {
				t.Errorf("a loser got %d", s)
			}
		}
		if won != 1 {
			t.Errorf("fact 26: %d exchanges succeeded", won)
		}
		// What is taken away on one server is refused on the other.
		access, refresh := w.tokens("legal_entity:read")
		second.verify(access).want(200)
		app := w.do("GET", "/mithril/apps?client_id="+w.client, "").want(200).at("data.0.id")
		second.do("DELETE", "/mithril/apps/"+app, "").want(204)
		soon(t, func() bool { return w.verify(access).status == 401 })
		w.refresh(refresh).refused(401, "invalid_grant")
	}
}

// Facts 27, 31, 33, 39 and the deletion matrix: what is taken away is refused in the next request.
func TestWhatIsTakenAwayEnds(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		dead := func(t *testing.T, access, refresh string) {
			t.Helper()
			w.verify(access).refused(401, "invalid_grant")
			w.refresh(refresh).refused(401, "invalid_grant")
		}
		t.Run("fact 27 the approval", func(t *testing.T) {
			access, refresh := w.tokens("legal_entity:read")
			code := w.approve(w.session("app:authorize"), "legal_entity:read")
			w.verify(access).want(200)
			app := w.do("GET", "/mithril/apps?client_id="+w.client, "").want(200).at("data.0.id")
			w.do("DELETE", "/mithril/apps/"+app, "").want(204)
			dead(t, access, refresh)
			w.exchange(w.node, code, back).refused(401, "invalid_grant")
			w.verify(code).refused(401, "invalid_grant")
			w.verify(refresh).refused(401, "invalid_grant")
			w.do("DELETE", "/mithril/apps/"+app, "").refused(404, "not_found")
		})
		t.Run("fact 31 a scope of the role", func(t *testing.T) {
			read, readRefresh := w.tokens("legal_entity:read")
			write, writeRefresh := w.tokens("legal_entity:write")
			w.do("PATCH", "/mithril/roles/"+w.role, `{"role":{"scope":"legal_entity:read"}}`).want(200)
			dead(t, write, writeRefresh)
			w.verify(read).want(200)
			w.refresh(readRefresh).want(201)
			if s := w.do("GET", "/mithril/apps?user_id="+w.user, "").at("data.0.scope"); s != "legal_entity:read" {
				t.Errorf("the approval holds %s", s)
			}
			w.do("PATCH", "/mithril/roles/"+w.role, `{"role":{"scope":"legal_entity:read legal_entity:write"}}`).want(200)
			w.verify(write).refused(401, "invalid_grant")
		})
		t.Run("a scope of the client type", func(t *testing.T) {
			access, refresh := w.tokens("legal_entity:write")
			own := w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"client_credentials","client_id":"`+w.client+`","client_secret":"`+w.secret+`","scope":"legal_entity:write"}}`).want(201).at("data.value")
			w.verify(own).want(200)
			all := w.do("GET", "/mithril/client_types/"+w.kind, "").at("data.scope")
			w.clock.Advance(2 * time.Second)
			w.do("PATCH", "/mithril/client_types/"+w.kind, `{"client_type":{"scope":"`+strings.ReplaceAll(all, " legal_entity:write", "")+`"}}`).want(200)
			dead(t, access, refresh)
			soon(t, func() bool { return w.verify(own).status == 401 })
			giveBack := func() {
				w.do("PATCH", "/mithril/client_types/"+w.kind, `{"client_type":{"scope":"`+all+`"}}`).want(200)
				soon(t, func() bool {
					return w.signIn("a@x.io", secret, "legal_entity:write").status == 201
				})
			}
			giveBack()
			// Once more in the same second, by which tokens are dated.
			own = w.send("POST", "/mithril/tokens", `{"token":{"grant_type":"client_credentials","client_id":"`+w.client+`","client_secret":"`+w.secret+`","scope":"legal_entity:write"}}`).want(201).at("data.value")
			w.verify(own).want(200)
			w.do("PATCH", "/mithril/client_types/"+w.kind, `{"client_type":{"scope":"`+strings.ReplaceAll(all, " legal_entity:write", "")+`"}}`).want(200)
			soon(t, func() bool { return w.verify(own).status == 401 })
			giveBack()
		})
		t.Run("the user's role", func(t *testing.T) {
			other := w.do("POST", "/mithril/roles", `{"role":{"name":"Reader","scope":"legal_entity:read"}}`).want(201).at("data.id")
			given := w.give(w.user, other, w.client)
			access, refresh := w.tokens("legal_entity:read")
			w.do("DELETE", "/mithril/users/"+w.user+"/roles/"+given, "").want(204)
			w.verify(access).want(200) // the other role covers it still
			_ = refresh
			w.do("DELETE", "/mithril/roles/"+other, "").want(204)
			w.do("DELETE", "/mithril/roles/"+w.role, "").refused(409, "request_conflict") // fact 14
			w.do("DELETE", "/mithril/users/"+w.user+"/roles?client_id="+w.client, "").want(204)
			dead(t, access, refresh)
			if n := w.do("GET", "/mithril/apps?user_id="+w.user, "").at("data.0.id"); n != "" {
				t.Error("an approval that allows nothing is left")
			}
			w.give(w.user, w.role, w.client)
		})
		t.Run("fact 33 tokens for one client", func(t *testing.T) {
			mine, mineRefresh := w.tokens("legal_entity:read")
			other := *w
			other.client, other.secret = w.newClient("Second", w.user, w.kind)
			w.give(w.user, w.role, other.client)
			theirs, theirsRefresh := other.tokens("legal_entity:read")
			w.do("DELETE", "/mithril/admin/users/"+w.user+"/tokens?client_id="+w.client, "").want(204)
			dead(t, mine, mineRefresh)
			w.verify(theirs).want(200)
			w.do("DELETE", "/mithril/admin/users/"+w.user+"/tokens?name=access_token", "").want(204)
			w.verify(theirs).refused(401, "invalid_grant")
			other.refresh(theirsRefresh).want(201)
			t.Run("client", func(t *testing.T) {
				access, refresh := other.tokens("legal_entity:read")
				w.do("DELETE", "/mithril/clients/"+other.client, "").want(204)
				soon(t, func() bool { return w.verify(access).status == 401 })
				other.refresh(refresh).want(401)
				w.do("GET", "/mithril/clients/"+other.client, "").refused(404, "not_found")
				if n := w.do("GET", "/mithril/users/"+w.user+"/roles?client_id="+other.client, "").at("data.0.id"); n != "" {
					t.Error("a role for a client that is gone is left")
				}
			})
		})
		t.Run("fact 39 block", func(t *testing.T) {
			access, refresh := w.tokens("legal_entity:read")
			session := w.session("user:read")
			a := w.do("PATCH", "/mithril/users/"+w.user+"/actions/block", `{"user":{"block_reason":"left"}}`).want(200)
			if a.at("data.is_blocked") != "true" || a.at("data.block_reason") != "left" {
				t.Errorf("%s", a.body)
			}
			dead(t, access, refresh)
			w.verify(session).refused(401, "invalid_grant")
			w.as(session, "GET", "/mithril/apps", "").refused(401, "access_denied")
			w.signIn("a@x.io", secret, "app:authorize").refused(401, "invalid_grant")
			w.do("PATCH", "/mithril/users/"+w.user+"/actions/block", "").refused(409, "request_conflict")
			w.do("PATCH", "/mithril/users/"+w.user+"/actions/unblock", "").want(200)
			w.do("PATCH", "/mithril/users/"+w.user+"/actions/unblock", "").refused(409, "request_conflict")
			w.session("app:authorize")
			w.verify(access).want(401)
		})
		t.Run("B7.136 user", func(t *testing.T) {
			access, refresh := w.tokens("legal_entity:read")
			w.do("DELETE", "/mithril/users/"+w.user, "").want(204)
			w.verify(access).refused(401, "invalid_grant")
			w.refresh(refresh).want(401)
			w.do("GET", "/mithril/users/"+w.user, "").refused(404, "not_found")
			w.do("GET", "/mithril/clients/"+w.client, "").refused(404, "not_found") // it was the user's
			w.do("DELETE", "/mithril/users/"+w.user, "").refused(404, "not_found")
			if w.do("GET", "/mithril/users?email=a@x.io", "").at("data.0.id") != "" || w.do("GET", "/mithril/apps?user_id="+w.user, "").at("data.0.id") != "" {
				t.Error("something is left of the user")
			}
			if again := w.newUser("a@x.io"); again == w.user {
				t.Error("an id came to mean somebody else")
			}
		})
	})
}

// Facts 29 and 30, and who may ask about a token (B6.112).
func TestB6_112_TokensInPaths(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		access, refresh := w.tokens("legal_entity:read")
		t.Run("fact 29", func(t *testing.T) {
			if a := w.verify(access).want(200); a.at("data.details.scope") != "legal_entity:read" || strings.Contains(a.body, access) {
				t.Errorf("%s", a.body)
			}
			w.verify(refresh).want(200)
			w.verify("mmc_unknown").refused(404, "not_found")
			w.verify(access+"x").refused(404, "not_found")
			short, _ := w.tokens("legal_entity:read")
			w.clock.Advance(time.Hour)
			w.verify(short).refused(401, "invalid_grant")
		})
		t.Run("fact 30", func(t *testing.T) {
			other := *w
			other.client, other.secret = w.newClient("Other", w.user, w.kind)
			admin := w.do("POST", "/mithril/roles", `{"role":{"name":"Boss","scope":"legal_entity:write"}}`).want(201).at("data.id")
			w.give(w.user, admin, other.client)
			session := w.signIn("a@x.io", secret, "user:read").want(201)
			a := w.send("GET", "/mithril/tokens/"+session.at("data.value")+"/user", "").want(200)
			if a.at("urgent.roles.0.name") != "Doctor" || a.at("urgent.roles.1") != "" || a.at("urgent.client_id") != w.client || a.at("urgent.token.expires_at") != session.at("data.expires_at") || a.at("data.email") != "a@x.io" || a.at("data.urgent") != "" {
				t.Errorf("%s", a.body)
			}
			if strings.Contains(a.body, session.at("data.value")) {
				t.Error("the answer repeats the token")
			}
			w.newUser("norole@x.io")
			none := w.signIn("norole@x.io", secret, "user:read").want(201).at("data.value")
			if a := w.send("GET", "/mithril/tokens/"+none+"/user", "").want(200); a.at("urgent.roles") != "[]" {
				t.Errorf("without a role: %s", a.body)
			}
		})
		t.Run("B6.112 by id for the holder and who may read all", func(t *testing.T) {
			mine, theirs := w.signIn("a@x.io", secret, "user:read").want(201), w.signIn("a@x.io", secret, "user:read app:authorize").want(201)
			for _, op := range []string{"/user", "/verify"} {
				path := "/mithril/tokens/" + mine.at("data.id") + op
				w.send("GET", path, "").refused(401, "access_denied")
				w.as(theirs.at("data.value"), "GET", path, "").refused(401, "access_denied")
				w.as(mine.at("data.value"), "GET", path, "").want(200)
				w.as(mine.at("data.value"), "GET", "/mithril/tokens/self"+op, "").want(200)
				w.do("GET", path, "").want(200)
			}
			limited, _ := w.tokens("legal_entity:read")
			a := w.send("GET", "/mithril/tokens/"+limited+"/user", "").refused(401, "access_denied")
			if a.at("error.invalid.0.rules.0.params.0") != "user:read" {
				t.Errorf("the scope is not named: %s", a.body)
			}
		})
		t.Run("fact 42 no log and no list holds a value", func(t *testing.T) {
			session := w.session("user:read")
			limited, again := w.tokens("legal_entity:read")
			code := w.approve(w.session("app:authorize"), "legal_entity:read")
			for _, v := range []string{session, limited, again, code} {
				w.verify(v)
				w.send("GET", "/mithril/tokens/"+v, "")
				w.send("DELETE", "/mithril/tokens/"+v, "")
				w.do("GET", "/mithril/tokens?value="+url.QueryEscape(v), "").want(200)
			}
			all := w.log.String() + w.do("GET", "/mithril/tokens", "").want(200).body + w.do("GET", "/mithril/clients", "").want(200).body + w.do("GET", "/mithril/users", "").want(200).body
			for name, v := range map[string]string{"session": session, "access": limited, "refresh": again, "code": code, "secret": w.secret, "password": secret} {
				if strings.Contains(all, v) {
					t.Errorf("the %s is in a log or a list", name)
				}
			}
		})
	})
	t.Run("urgent inside data", func(t *testing.T) {
		w := one(t, func(o *mithril.Options) { o.UrgentInData = true })
		if a := w.send("GET", "/mithril/tokens/"+w.session("user:read")+"/user", "").want(200); a.at("data.urgent.roles.0.name") != "Doctor" {
			t.Errorf("%s", a.body)
		}
	})
}

// soon waits for what the change feed brings to memory.
func soon(t testing.TB, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}

// Facts 34 and 37: changing a password, and guessing one.
func TestPasswords(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const better = "another long phrase entirely"
		change := func(token, body string) answer {
			return w.as(token, "PATCH", "/mithril/admin/users/"+w.user+"/actions/change_password", `{"user":`+body+`}`)
		}
		session := w.session("user:update")
		t.Run("fact 34", func(t *testing.T) {
			change(w.admin, `{"password":"`+better+`"}`).wrong("current_password", "required")
			change(session, `{"current_password":"bad bad bad bad bad","password":"`+better+`"}`).wrong("current_password", "password")
			change(session, `{"current_password":"`+secret+`","password":"`+secret+`"}`).wrong("password", "required")
			change(session, `{"current_password":"`+secret+`"}`).wrong("password", "required")
			change(session, `{"current_password":"`+secret+`","password":"short"}`).wrong("password", "password")
			change(session, `{"current_password":"`+secret+`","password":"`+better+`"}`).want(200)
			w.signIn("a@x.io", secret, "app:authorize").refused(401, "invalid_grant")
			w.signIn("a@x.io", better, "app:authorize").want(201)
			change(session, `{"current_password":"`+better+`","password":"`+secret+`"}`).refused(401, "access_denied") // it ended with the password
			other := w.newUser("c@x.io")
			fresh := w.signIn("a@x.io", better, "user:update").want(201).at("data.value")
			w.as(fresh, "PATCH", "/mithril/users/"+other+"/actions/change_password", `{"user":{"current_password":"`+secret+`","password":"`+better+`"}}`).refused(404, "not_found")
		})
		t.Run("fact 37", func(t *testing.T) {
			for range 10 {
				w.signIn("c@x.io", "wrong horse battery staple", "app:authorize")
				w.clock.Advance(time.Minute) // each try is looked at
			}
			w.signIn("c@x.io", "wrong horse battery staple", "app:authorize")
			w.signIn("c@x.io", secret, "app:authorize").refused(http.StatusTooManyRequests, "too_many_requests")
			w.signIn("a@x.io", better, "app:authorize").want(201)
			w.clock.Advance(10 * time.Minute)
			w.signIn("c@x.io", secret, "app:authorize").want(201)
		})
	})
}
