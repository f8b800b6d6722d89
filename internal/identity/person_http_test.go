package identity_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/route"
)

// call sends a request to the endpoints as the caller that the Authorization header names.
func (h *house) call(method, target, as, body string) (int, string) {
	h.t.Helper()
	m := route.New(route.Options{Clock: h.clock, DB: h.d, Authenticate: func(r *http.Request) (access.Caller, error) {
		switch r.Header.Get("Authorization") {
		case "Bearer admin":
			return admin, nil
		case "Bearer jane":
			return access.Caller{Kind: access.Person, ID: "usr_jane", Name: "jane", Realm: "employees"}, nil
		case "":
			return access.Caller{}, nil
		}
		return access.Caller{}, fault.New(fault.Unauthenticated, "invalid_token", "No.")
	}})
	h.dir.Routes(m)
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+as)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestUserEndpoints(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		must := func(want int, method, target, body string, into any) {
			t.Helper()
			status, answer := h.call(method, target, "admin", body)
			if status != want || strings.Contains(answer, janes) || strings.Contains(answer, other) || strings.Contains(answer, "argon2") {
				t.Fatalf("%s %s: %d\n%s", method, target, status, answer)
			}
			if into != nil {
				if err := json.Unmarshal([]byte(answer), into); err != nil {
					t.Fatalf("%v\n%s", err, answer)
				}
			}
		}
		var jane, joe api.User
		must(201, "POST", "/api/users", `{"realm":"/employees","username":"Jane","display_name":"Jane Doe","email":"jane@example.org","phone":"+41 31 555 01 01","address":"Bundesplatz 3\n3005 Bern","admin":true,"password":"`+janes+`"}`, &jane)
		must(201, "POST", "/api/users", `{"realm":"customers","username":"joe"}`, &joe)
		if !id.Is(jane.ID, id.User) || jane.Realm != "employees" || jane.Username != "jane" || jane.Email != "jane@example.org" || jane.Phone != "+41 31 555 01 01" || jane.Address != "Bundesplatz 3\n3005 Bern" || !jane.Admin || !jane.Enabled || !jane.HasPassword || !jane.Created.Equal(start) || jane.Disabled != nil {
			t.Errorf("%+v", jane)
		}
		if joe.DisplayName != "joe" || joe.Admin || joe.HasPassword {
			t.Errorf("%+v", joe)
		}
		if _, err := h.signIn("jane", janes); err != nil {
			t.Error(err)
		}
		must(204, "PUT", "/api/users/"+jane.ID+"/password", `{"password":"`+other+`"}`, nil)
		if _, err := h.signIn("jane", other); err != nil {
			t.Error(err)
		}
		must(400, "PUT", "/api/users/"+jane.ID+"/password", `{"password":"jane doe jane doe"}`, nil)
		must(404, "PUT", "/api/users/usr_nobody/password", `{"password":"`+other+`"}`, nil)

		must(200, "POST", "/api/users/"+joe.ID+"/disable", "", &joe)
		if joe.Enabled || joe.Disabled == nil {
			t.Errorf("%+v", joe)
		}
		must(200, "GET", "/api/users/"+joe.ID, "", &joe)
		if joe.Enabled {
			t.Errorf("%+v", joe)
		}
		must(200, "POST", "/api/users/"+joe.ID+"/enable", "", nil)
		joe = api.User{ID: joe.ID}
		must(200, "GET", "/api/users/"+joe.ID, "", &joe)
		if !joe.Enabled || joe.Disabled != nil {
			t.Errorf("%+v", joe)
		}
	})
}

func TestUserEndpointsPageAndFilter(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for _, p := range []string{"employees/ann", "customers/zoe", "employees/bob", "customers/joe", "employees/cat"} {
			realm, name, _ := strings.Cut(p, "/")
			h.person(realm, name, "", "")
		}
		var got []string
		target := "/api/users?limit=2"
		for target != "" {
			status, answer := h.call("GET", target, "admin", "")
			var page api.Users
			if err := json.Unmarshal([]byte(answer), &page); status != 200 || err != nil {
				t.Fatalf("%d, %v\n%s", status, err, answer)
			}
			for _, u := range page.Items {
				got = append(got, u.Realm+"/"+u.Username)
			}
			target = ""
			if page.NextCursor != "" {
				target = "/api/users?limit=2&cursor=" + page.NextCursor
			}
		}
		if want := "customers/joe customers/zoe employees/ann employees/bob employees/cat"; strings.Join(got, " ") != want {
			t.Errorf("listed %q", got)
		}
		for target, want := range map[string]int{"?realm=/customers": 2, "?realm=employees&username=BOB": 1, "?realm=employees&username=zoe": 0} {
			status, answer := h.call("GET", "/api/users"+target, "admin", "")
			var page api.Users
			if err := json.Unmarshal([]byte(answer), &page); status != 200 || err != nil || len(page.Items) != want {
				t.Errorf("%s: %d, %v\n%s", target, status, err, answer)
			}
		}
		for _, bad := range []string{"?realm=services", "?realm=nowhere", "?username=bob", "?realm=employees&username=a%20b", "?cursor=x", "?limit=0", "?name=bob"} {
			if status, answer := h.call("GET", "/api/users"+bad, "admin", ""); status != 400 {
				t.Errorf("%s: %d\n%s", bad, status, answer)
			}
		}
	})
}

// Who may not manage people learns nothing: not whether somebody exists, and no hash is computed for him.
func TestUserEndpointsAreForAdministrators(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		bob := h.person("employees", "bob", "", "")
		before := h.pool.Evaluations()
		for _, c := range []struct{ method, target, body string }{
			{"GET", "/api/users", ""}, {"GET", "/api/users/" + bob.ID, ""}, {"GET", "/api/users/usr_nobody", ""},
			{"POST", "/api/users", `{"realm":"employees","username":"eve","admin":true,"password":"` + janes + `"}`},
			{"PUT", "/api/users/" + bob.ID + "/password", `{"password":"` + janes + `"}`},
			{"PUT", "/api/users/usr_nobody/password", `{"password":"` + janes + `"}`},
			{"POST", "/api/users/" + bob.ID + "/disable", ""}, {"POST", "/api/users/usr_nobody/disable", ""}, {"POST", "/api/users/" + bob.ID + "/enable", ""},
		} {
			if status, answer := h.call(c.method, c.target, "jane", c.body); status != 403 {
				t.Errorf("%s %s as jane: %d\n%s", c.method, c.target, status, answer)
			}
			for _, as := range []string{"", "stranger"} {
				if status, answer := h.call(c.method, c.target, as, c.body); status != 401 {
					t.Errorf("%s %s as %q: %d\n%s", c.method, c.target, as, status, answer)
				}
			}
		}
		if n := h.pool.Evaluations() - before; n != 0 {
			t.Errorf("%d hashes for people who may not", n)
		}
	})
}

func TestUserEndpointsRefuseWhatCannotBe(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "bob", "bob@example.org", "")
		for body, want := range map[string]int{
			`{"realm":"employees","username":"bob"}`:                                409,
			`{"realm":"employees","username":"bob@example.org"}`:                    409,
			`{"realm":"services","username":"eve"}`:                                 400,
			`{"realm":"employees","username":""}`:                                   400,
			`{"realm":"employees"}`:                                                 400,
			`{"realm":"employees","username":"eve","password":"short"}`:             400,
			`{"realm":"employees","username":"eve","email":"x"}`:                    400,
			`{"realm":"employees","username":"eve","id":"usr_1"}`:                   400,
			`{"realm":"employees","username":"eve","phone":"call me"}`:              400,
			`{"realm":"employees","username":"eve","phone":"()"}`:                   400,
			`{"realm":"employees","username":"eve","address":"a\u0000b"}`:           400,
			`{"realm":"employees","username":"eve","address":" a"}`:                 400,
			`{"realm":"employees","username":"eve","enabled":true}`:                 400,
			`{"realm":"employees","username":"eve","username":"bob"}`:               400,
			`{"realm":"employees","username":"` + strings.Repeat("x", 500) + `"}`:   400,
			`{"realm":"employees","username":"eve","display_name":"\u001b[31mEve"}`: 400,
		} {
			if status, answer := h.call("POST", "/api/users", "admin", body); status != want {
				t.Errorf("%.80s: %d\n%s", body, status, answer)
			}
		}
	})
}
