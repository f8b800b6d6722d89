package audit_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/route"
)

var callers = map[string]access.Caller{
	"admin":   {Kind: access.Person, ID: "usr_admin", Realm: "employees", Admin: true},
	"person":  {Kind: access.Person, ID: "usr_2", Realm: "employees", Teams: []string{"shop"}},
	"service": {Kind: access.Service, ID: "usr_3", Realm: "services", Scopes: []string{"application.write"}},
}

func server(l *log) *route.Mux {
	m := route.New(route.Options{DB: l.d, Authenticate: func(r *http.Request) (access.Caller, error) {
		return callers[r.Header.Get("X-Test-Caller")], nil
	}})
	audit.Routes(m, l.keys, origin)
	return m
}

// get asks as the caller, and decodes what it gets into body.
func get(t *testing.T, m *route.Mux, caller, path string, body any) (status int) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("X-Test-Caller", caller)
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), body); err != nil {
			t.Fatalf("GET %s: %v\n%s", path, err, w.Body)
		}
	}
	return w.Code
}

func TestReadLogOverHTTP(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		l.grow(5)
		m := server(l)
		for query, want := range map[string][]int64{
			"?limit=2":                                 {5, 4, 3, 2, 1},
			"?limit=2&order=oldest":                    {1, 2, 3, 4, 5},
			"?order=oldest&after=3":                    {4, 5},
			"?after=3&limit=1":                         {2, 1},
			"?target_type=application&target_id=app-2": {3},
			"?action=key.rotate":                       nil,
			"?outcome=denied":                          nil,
		} {
			var got []int64
			for next := query; next != ""; {
				var page api.AuditEvents
				if status := get(t, m, "admin", "/api/audit/events"+next, &page); status != http.StatusOK {
					t.Fatalf("%s: status %d", next, status)
				}
				for _, e := range page.Items {
					got = append(got, e.Seq)
				}
				next = ""
				if page.NextCursor != "" {
					next = query + "&cursor=" + url.QueryEscape(page.NextCursor)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s:\n%s", query, diff)
			}
		}
		var page api.AuditEvents
		get(t, m, "admin", "/api/audit/events?limit=1&order=oldest", &page)
		want := api.AuditEvent{Seq: 1, Action: "application.write", Outcome: "success", IP: "192.0.2.1", RequestID: "req_1",
			Actor: api.AuditActor{Kind: "person", ID: "usr_1", Name: "ada", Realm: "employees"}, TargetType: "application", TargetID: "app-0",
			Details: map[string]any{"a": nil, "b": "<&>", "n": 0.0}}
		want.ID, want.At = page.Items[0].ID, page.Items[0].At
		if diff := cmp.Diff(want, page.Items[0]); diff != "" {
			t.Errorf("event:\n%s", diff)
		}
	})
}

func TestReadLogNeedsAnAdministrator(t *testing.T) {
	l := newLog(t, dbtest.Open(t, db.SQLite, nil))
	l.grow(1)
	m := server(l)
	for _, path := range []string{"/api/audit/events", "/api/audit/checkpoint"} {
		for caller, want := range map[string]int{"": 401, "person": 403, "service": 403, "admin": 200} {
			if status := get(t, m, caller, path, new(any)); status != want {
				t.Errorf("%s as %q: status %d, want %d", path, caller, status, want)
			}
		}
	}
}

func TestReadLogRefusesBadQueries(t *testing.T) {
	l := newLog(t, dbtest.Open(t, db.SQLite, nil))
	m := server(l)
	for _, query := range []string{"?limit=0", "?limit=501", "?limit=x", "?cursor=%2e", "?cursor=" + route.Cursor("x"), "?cursor=" + route.Cursor("-1"),
		"?cursor=" + route.Cursor("1", "2"), "?order=sideways", "?after=-1", "?outcome=maybe", "?unknown=1"} {
		if status := get(t, m, "admin", "/api/audit/events"+query, new(any)); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", query, status)
		}
	}
}

func TestCheckpointOverHTTP(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		m := server(l)
		var got api.AuditCheckpoint
		if status := get(t, m, "admin", "/api/audit/checkpoint", &got); status != http.StatusNotFound {
			t.Errorf("before anything happened: status %d, want 404", status)
		}
		l.grow(3)
		if status := get(t, m, "admin", "/api/audit/checkpoint", &got); status != http.StatusOK || got.Size != 3 {
			t.Fatalf("status %d, %+v", status, got)
		}
		// Anybody's tool for signed notes can check it.
		v, err := note.NewVerifier(got.Keys[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.Open([]byte(got.Note), note.VerifierList(v)); err != nil {
			t.Error(err)
		}
		if r := l.verify(got.Note); r.Problem != nil || r.Trusted != 3 {
			t.Errorf("verified with it: %+v", r)
		}
	})
}
