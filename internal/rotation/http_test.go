package rotation_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/rotation"
	"github.com/mintmark/mintmark/internal/route"
)

var callers = map[string]access.Caller{
	"member":   {Kind: access.Person, ID: "usr_1", Name: "mia", Realm: "employees", Teams: []string{"shop"}},
	"stranger": {Kind: access.Person, ID: "usr_2", Name: "sam", Realm: "employees", Teams: []string{"pay"}},
	"customer": {Kind: access.Person, ID: "usr_3", Name: "cid", Realm: "customers"},
	"robot":    {Kind: access.Service, ID: "usr_4", Name: "bot", Realm: "services", Teams: []string{"shop"}},
}

// server serves the service's endpoints; the caller is named by the header Authorization.
func server(w *world, s *rotation.Service) func(caller, method, path, body string) *httptest.ResponseRecorder {
	m := route.New(route.Options{DB: w.d,
		Authenticate: func(r *http.Request) (access.Caller, error) { return callers[r.Header.Get("Authorization")], nil },
		Denied:       func(context.Context, access.Caller, string, error) {}})
	s.Routes(m)
	return func(caller, method, path, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if caller != "" {
			r.Header.Set("Authorization", caller)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		rec := httptest.NewRecorder()
		m.ServeHTTP(rec, r)
		return rec
	}
}

func TestHTTP(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "shop-web")
		ask := server(w, s)
		for _, c := range []struct {
			name, caller, method, path, body string
			status                           int
			code                             string
		}{
			{"nobody adds", "", "PUT", "/api/applications/shop-web/destinations/local/alpha", "", 401, "unauthenticated"},
			{"nobody asks for what may not exist", "", "GET", "/api/applications/nope/rotation", "", 401, "unauthenticated"},
			{"a stranger adds", "stranger", "PUT", "/api/applications/shop-web/destinations/local/alpha", "", 403, "forbidden"},
			{"a robot without the scope adds", "robot", "PUT", "/api/applications/shop-web/destinations/local/alpha", "", 403, "forbidden"},
			{"rotated without a destination", "member", "POST", "/api/applications/shop-web/rotations", "{}", 409, "no_destination"},
			{"added", "member", "PUT", "/api/applications/shop-web/destinations/local/alpha", "", 201, ""},
			{"added again", "member", "PUT", "/api/applications/shop-web/destinations/local/alpha", "", 200, ""},
			{"unknown application", "member", "PUT", "/api/applications/nope/destinations/local/alpha", "", 404, "application_not_found"},
			{"unknown store", "member", "PUT", "/api/applications/shop-web/destinations/gcs/alpha", "", 400, "unknown_store"},
			{"bad bucket", "member", "PUT", "/api/applications/shop-web/destinations/local/Alpha", "", 400, "invalid_bucket"},
			{"bad store", "member", "PUT", "/api/applications/shop-web/destinations/LOCAL/alpha", "", 400, "invalid_store"},
			{"a bucket that leads out", "member", "PUT", "/api/applications/shop-web/destinations/local/a..b", "", 400, "invalid_bucket"},
			{"listed by a stranger", "stranger", "GET", "/api/applications/shop-web/destinations", "", 200, ""},
			{"listed by a customer", "customer", "GET", "/api/applications/shop-web/destinations", "", 403, "forbidden"},
			{"status for a stranger", "stranger", "GET", "/api/applications/shop-web/rotation", "", 200, ""},
			{"status of nothing", "member", "GET", "/api/applications/nope/rotation", "", 404, "application_not_found"},
			{"a stranger rotates", "stranger", "POST", "/api/applications/shop-web/rotations", "{}", 403, "forbidden"},
			{"rotated", "member", "POST", "/api/applications/shop-web/rotations", `{"kinds":["service-password"]}`, 202, ""},
			{"an unknown kind", "member", "POST", "/api/applications/shop-web/rotations", `{"kinds":["passwort"]}`, 400, "unknown_kind"},
			{"an unknown key", "member", "POST", "/api/applications/shop-web/rotations", `{"kind":"service-password"}`, 400, "invalid_request"},
			{"a wrong type", "member", "POST", "/api/applications/shop-web/rotations", `{"kinds":"service-password"}`, 400, "invalid_request"},
			{"a stranger removes", "stranger", "DELETE", "/api/applications/shop-web/destinations/local/alpha", "", 403, "forbidden"},
			{"removed", "member", "DELETE", "/api/applications/shop-web/destinations/local/alpha", "", 204, ""},
			{"removed again", "member", "DELETE", "/api/applications/shop-web/destinations/local/alpha", "", 404, "destination_not_found"},
		} {
			rec := ask(c.caller, c.method, c.path, c.body)
			var p api.Problem
			if rec.Code >= 400 {
				if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
					t.Errorf("%s: %v", c.name, err)
				}
			}
			if rec.Code != c.status || p.Code != c.code {
				t.Errorf("%s: %d %s, want %d %s\n%s", c.name, rec.Code, p.Code, c.status, c.code, rec.Body)
			}
		}
		if p := ask("member", "PUT", "/api/applications/shop-web/destinations/gcs/alpha", ""); !strings.Contains(p.Body.String(), "aws, local") {
			t.Errorf("the answer does not name the stores: %s", p.Body)
		}
		w.activate(s, "shop-web", false)
		if rec := ask("member", "POST", "/api/applications/shop-web/rotations", "{}"); rec.Code != 409 {
			t.Errorf("an inactive application was asked to rotate: %d %s", rec.Code, rec.Body)
		}
	})
}

func TestStatusOverHTTP(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "shop-web", "alpha", "beta")
		w.refuse(objstore.BucketGone, "beta")
		w.mustRun(s, "shop-web")
		rec := server(w, s)("member", "GET", "/api/applications/shop-web/rotation", "")
		var r api.Rotation
		if err := json.Unmarshal(rec.Body.Bytes(), &r); err != nil || rec.Code != 200 {
			t.Fatalf("%d %v %s", rec.Code, err, rec.Body)
		}
		if !r.HasProblems || len(r.Problems) != 2 || len(r.Credentials) != 2 || r.Credentials[0].Object != "user.json" {
			t.Fatalf("%+v", r)
		}
		for _, p := range r.Problems {
			if !strings.Contains(p, "local/beta") {
				t.Errorf("the problem does not name the destination: %s", p)
			}
		}
		var docs []string
		for _, k := range w.kinds {
			doc, _ := w.published("alpha", "shop-web", k)
			docs = append(docs, doc.Secret)
		}
		if slices.ContainsFunc(docs, func(secret string) bool { return strings.Contains(rec.Body.String(), secret) }) {
			t.Fatal("the status shows a secret")
		}
	})
}

func TestMetrics(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		registry := prometheus.NewPedanticRegistry()
		o := w.options()
		o.Metrics = registry
		s, err := rotation.New(w.d, w.keyring, o)
		if err != nil {
			t.Fatal(err)
		}
		s.HoldBy(held)
		w.application(s, "shop-web", "alpha", "beta")
		w.refuse(objstore.Forbidden, "beta")
		w.mustRun(s, "shop-web")
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		for name, want := range map[string]float64{
			"mintmark_rotation_versions service-password prepared":    1,
			"mintmark_rotation_publish_errors_total forbidden local":  2,
			"mintmark_rotation_failing_deliveries local":              2,
			"mintmark_rotation_oldest_seconds client-secret prepared": 0,
			"mintmark_rotation_late_writes_total":                     0,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s = %v (there: %v), want %v", name, v, ok, want)
			}
		}
	})
}

// No log line, audit event or row shows a document in clear, whatever happens to it.
func TestSecretsStayInside(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "shop-web", "alpha", "beta")
		w.refuse(objstore.Unreported, "beta")
		w.mustRun(s, "shop-web")
		doc, _ := w.published("beta", "shop-web", w.kinds[0])
		w.read(func(ctx context.Context, tx db.ReadTx) error {
			var sealed []byte
			if err := tx.QueryRow(ctx, `SELECT sealed FROM rotation_versions WHERE kind = 'service-password'`).Scan(&sealed); err != nil {
				return err
			}
			if len(sealed) == 0 || strings.Contains(string(sealed), doc.Secret) {
				t.Error("the document is not sealed")
			}
			rows, err := tx.Query(ctx, `SELECT details FROM audit_events`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var details string
				if err := rows.Scan(&details); err != nil {
					return err
				}
				if strings.Contains(details, doc.Secret) {
					t.Error("an audit event shows a secret")
				}
			}
			return rows.Err()
		})
	})
}
