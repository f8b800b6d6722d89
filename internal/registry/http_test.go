package registry_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// serve is the management API of catalog and registry; the header Caller names who calls.
func (w *world) serve() http.Handler {
	callers := map[string]access.Caller{"": {}, "admin": admin, "jane": jane, "joe": stranger, "customer": customer, "robot": robot, "writer": writer}
	m := route.New(route.Options{DB: w.d, Clock: w.clock, Authenticate: func(r *http.Request) (access.Caller, error) {
		c, ok := callers[r.Header.Get("Caller")]
		if !ok {
			return access.Caller{}, fault.New(fault.Unauthenticated, "invalid_token", "no")
		}
		return c, nil
	}})
	w.r.Routes(m)
	w.catalog.Routes(m)
	return m
}

type answer struct {
	status int
	etag   string
	body   string
}

func call(h http.Handler, caller, method, path, body string, headers ...string) answer {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Caller", caller)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Header().Get("ETag"), rec.Body.String()}
}

// The seed's example, from an empty catalog to a granted scope, over HTTP.
func TestStoryOverHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.person("employees", "zoe", "")
		for _, step := range []struct {
			caller, method, path, body string
			want                       int
			contains                   string
		}{
			{"admin", "PUT", "/api/teams/books", `{"name":"Books","members":["/employees/jane","employee/zoe"]}`, 200, `["employees/jane","employees/zoe"]`},
			{"jane", "GET", "/api/teams", "", 200, `"id":"books"`},
			{"admin", "PUT", "/api/resource-types/sales_order", `{"name":"Sales order","resource_owners":["customers"],"team_id":"shop"}`, 200, `"owned_by":"team"`},
			{"jane", "PUT", "/api/resource-types/sales_order/scopes/read", `{"summary":"Read","is_resource_owner_scope":true}`, 200, `"criticality_level":2`},
			{"jane", "PUT", "/api/resource-types/sales_order/scopes/read_all", `{"summary":"Read all","is_resource_owner_scope":false}`, 200, `"id":"read_all"`},
			{"robot", "GET", "/api/resource-types/sales_order/scopes", "", 200, `"read_all"`},
			{"jane", "PUT", "/api/applications/sales-orders", `{"team_id":"shop","name":"Sales orders","active":true,"subtitle":null}`, 200, `"criticality_level":null`},
			{"robot", "GET", "/api/applications/sales-orders", "", 200, `"client_id":"cli_`},
			{"jane", "PUT", "/api/applications/sales-orders/scopes/sales_order.read_all", "", 403, `"code":"forbidden"`},
			{"admin", "PUT", "/api/applications/sales-orders/scopes/sales_order.read_all", "", 200, `"kind":"application"`},
			{"jane", "PUT", "/api/applications/sales-orders/scopes/sales_order.read", "", 200, `"kind":"resource_owner"`},
			{"jane", "GET", "/api/applications/sales-orders/scopes", "", 200, `"granted_by":"employees/admin"`},
			{"jane", "DELETE", "/api/resource-types/sales_order/scopes/read_all", "", 409, "sales-orders"},
			{"admin", "DELETE", "/api/applications/sales-orders/scopes/sales_order.read_all", "", 204, ""},
			{"jane", "DELETE", "/api/resource-types/sales_order/scopes/read_all", "", 204, ""},
			{"jane", "PUT", "/api/applications/sales-orders", `{"criticality_level":1,"name":null}`, 200, `"criticality_level":1`},
			{"robot", "GET", "/api/applications?search=SALES&team_id=shop&active=true", "", 200, `"sales-orders"`},
			{"robot", "GET", "/api/applications?active=false", "", 200, `"items":[]`},
			{"robot", "GET", "/api/applications?modified_after=2026-11-22T12:00:00Z&modified_before=2026-11-22T12:00:00Z", "", 200, `"sales-orders"`},
			{"robot", "GET", "/api/resource-types/sales_order", "", 200, `"name":"Sales order"`},
		} {
			got := call(h, step.caller, step.method, step.path, step.body)
			if got.status != step.want || !strings.Contains(got.body, step.contains) {
				t.Errorf("%s %s %s: %d %s, want %d with %s", step.caller, step.method, step.path, got.status, got.body, step.want, step.contains)
			}
		}
	})
}

func TestBadRequestsOverHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		for name, c := range map[string]struct {
			caller, method, path, body string
			want                       int
		}{
			"nobody":             {"", "GET", "/api/applications", "", 401},
			"bad credential":     {"nonsense", "GET", "/api/applications", "", 401},
			"customer":           {"customer", "GET", "/api/applications", "", 403},
			"customer catalog":   {"customer", "GET", "/api/resource-types", "", 403},
			"stranger":           {"joe", "PUT", "/api/applications/kio", `{"name":"x"}`, 403},
			"robot":              {"robot", "PUT", "/api/applications/kio", `{"name":"x"}`, 403},
			"unknown key":        {"jane", "PUT", "/api/applications/kio", `{"nmae":"x"}`, 400},
			"wrong type":         {"jane", "PUT", "/api/applications/kio", `{"name":7}`, 400},
			"criticality 5":      {"jane", "PUT", "/api/applications/kio", `{"criticality_level":5}`, 400},
			"criticality text":   {"jane", "PUT", "/api/applications/kio", `{"criticality_level":"1"}`, 400},
			"not JSON":           {"jane", "PUT", "/api/applications/kio", `{`, 400},
			"bad UTF-8":          {"jane", "PUT", "/api/applications/kio", "{\"name\":\"\xff\"}", 400},
			"key twice":          {"jane", "PUT", "/api/applications/kio", `{"name":"a","name":"b"}`, 400},
			"unknown team":       {"jane", "PUT", "/api/applications/new-app", `{"team_id":"nobody","name":"x","active":true}`, 400},
			"missing active":     {"jane", "PUT", "/api/applications/new-app", `{"team_id":"shop","name":"x"}`, 400},
			"id in capitals":     {"jane", "PUT", "/api/applications/A1", `{"team_id":"shop","name":"x","active":true}`, 400},
			"id of one letter":   {"jane", "PUT", "/api/applications/a", `{"team_id":"shop","name":"x","active":true}`, 400},
			"id of 300":          {"jane", "PUT", "/api/applications/" + strings.Repeat("a", 300), `{"team_id":"shop","name":"x","active":true}`, 400},
			"encoded slash":      {"jane", "PUT", "/api/applications/a%2fb", `{"team_id":"shop","name":"x","active":true}`, 400},
			"unknown app":        {"jane", "GET", "/api/applications/nope", "", 404},
			"unknown scope":      {"admin", "PUT", "/api/applications/kio/scopes/nope.read", "", 404},
			"bad time":           {"jane", "GET", "/api/applications?modified_after=yesterday", "", 400},
			"bad flag":           {"jane", "GET", "/api/applications?active=maybe", "", 400},
			"unknown filter":     {"jane", "GET", "/api/applications?frob=1", "", 400},
			"bad cursor":         {"jane", "GET", "/api/applications?cursor=%21", "", 400},
			"limit 0":            {"jane", "GET", "/api/applications?limit=0", "", 400},
			"type without owner": {"jane", "PUT", "/api/resource-types/orphan", `{"name":"x"}`, 400},
			"type, unknown key":  {"jane", "PUT", "/api/resource-types/new_type", `{"name":"x","team_id":"shop","criteria":1}`, 400},
			"scope, no kind":     {"jane", "PUT", "/api/resource-types/sales_order/scopes/zz", `{"summary":"x"}`, 400},
			"scope, level 0":     {"jane", "PUT", "/api/resource-types/sales_order/scopes/zz", `{"summary":"x","is_resource_owner_scope":false,"criticality_level":0}`, 400},
			"team, bad member":   {"admin", "PUT", "/api/teams/shop", `{"name":"x","members":["jane"]}`, 400},
			"team by a member":   {"jane", "PUT", "/api/teams/shop", `{"name":"x"}`, 403},
		} {
			got := call(h, c.caller, c.method, c.path, c.body)
			var p api.Problem
			if err := json.Unmarshal([]byte(got.body), &p); got.status != c.want || err != nil || p.Code == "" {
				t.Errorf("%s: %d %s, want %d", name, got.status, got.body, c.want)
			}
		}
	})
}

func TestLostUpdatesOverHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		for _, path := range []string{"/api/applications/kio", "/api/teams/shop", "/api/resource-types/sales_order", "/api/resource-types/sales_order/scopes/read"} {
			body := map[string]string{
				"/api/applications/kio": `{"name":"%"}`, "/api/teams/shop": `{"name":"%"}`,
				"/api/resource-types/sales_order":             `{"name":"%","resource_owners":["customers"],"team_id":"shop"}`,
				"/api/resource-types/sales_order/scopes/read": `{"summary":"%","is_resource_owner_scope":true}`,
			}[path]
			read := call(h, "admin", "GET", path, "")
			if read.etag == "" {
				t.Errorf("%s has no ETag", path)
			}
			first := call(h, "admin", "PUT", path, strings.Replace(body, "%", "one", 1), "If-Match", read.etag)
			second := call(h, "admin", "PUT", path, strings.Replace(body, "%", "two", 1), "If-Match", read.etag)
			if first.status != 200 || first.etag == read.etag || second.status != 412 {
				t.Errorf("%s: %d %s, then %d %s", path, first.status, first.body, second.status, second.body)
			}
			if got := call(h, "admin", "PUT", path, body, "If-None-Match", "*"); got.status != 412 {
				t.Errorf("%s: made again: %d", path, got.status)
			}
		}
	})
}

func TestPagesOverHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		want := []string{"app-1", "app-2", "app-3", "app-4", "app-5"}
		for _, app := range want {
			w.app(app)
		}
		var got []string
		for path := "/api/applications?limit=2"; path != ""; {
			a := call(h, "jane", "GET", path, "")
			var page api.Applications
			if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			for _, app := range page.Items {
				got = append(got, app.ID)
			}
			if path = ""; page.NextCursor != "" {
				path = "/api/applications?limit=2&cursor=" + page.NextCursor
			}
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("pages hold %v", got)
		}
	})
}
