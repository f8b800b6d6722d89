package s3api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// people are the callers of the management API in these tests, by the token they show.
var people = map[string]access.Caller{
	"admin": {Kind: access.Person, Realm: "employees", ID: "usr_1", Name: "root", Admin: true},
	"alice": {Kind: access.Person, Realm: "employees", ID: "usr_2", Name: "alice", Teams: []string{"shop"}},
	"bob":   {Kind: access.Person, Realm: "employees", ID: "usr_3", Name: "bob", Teams: []string{"other"}},
}

func TestManagementAPI(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		h := build(t, d)
		m := route.New(route.Options{DB: d, Authenticate: func(r *http.Request) (access.Caller, error) { return people[r.Header.Get("Authorization")], nil }})
		h.storage.Routes(m)
		call := func(who, method, path, body string) (int, string) {
			t.Helper()
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			if body != "" {
				r.Header.Set("Content-Type", "application/json")
			}
			r.Header.Set("Authorization", who)
			w := httptest.NewRecorder()
			m.ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		for _, c := range []struct {
			who, method, path, body string
			status                  int
			part                    string
		}{
			{"admin", "PUT", "/api/buckets/new-bucket", `{"team_id":"shop"}`, 200, `"team_id":"shop"`},
			{"admin", "PUT", "/api/buckets/new-bucket", `{"team_id":"shop"}`, 200, `"created_by":"employees/root"`},
			{"admin", "PUT", "/api/buckets/new-bucket", `{"team_id":"other"}`, 409, "bucket_exists"},
			{"admin", "PUT", "/api/buckets/UPPER", `{"team_id":"shop"}`, 400, "invalid_bucket_name"},
			{"admin", "PUT", "/api/buckets/new-bucket", `{"team_id":"shop","acl":"x"}`, 400, "acl"},
			{"admin", "PUT", "/api/buckets/another", `{"team_id":"nobody"}`, 400, "team_not_found"},
			{"alice", "PUT", "/api/buckets/another", `{"team_id":"shop"}`, 403, "storage.manage"},
			{"", "GET", "/api/buckets", "", 401, "unauthenticated"},
			{"alice", "GET", "/api/buckets", "", 200, `"name":"other-bucket"`},
			{"alice", "GET", "/api/buckets?limit=1", "", 200, `"next_cursor":`},
			{"alice", "GET", "/api/buckets/shop-bucket", "", 200, `"team_id":"shop"`},
			{"alice", "GET", "/api/buckets/absent-bucket", "", 404, "bucket_not_found"},
			{"bob", "POST", "/api/applications/sales-orders/storage-keys", `{"bucket":"shop-bucket"}`, 403, "storage.issue_key"},
			{"bob", "GET", "/api/applications/sales-orders/storage-keys", "", 403, "storage.issue_key"},
			{"alice", "POST", "/api/applications/sales-orders/storage-keys", `{"bucket":"other-bucket"}`, 403, "foreign_bucket"},
			{"alice", "POST", "/api/applications/absent/storage-keys", `{"bucket":"shop-bucket"}`, 404, "application_not_found"},
			{"alice", "POST", "/api/applications/sales-orders/storage-keys", `{}`, 400, "bucket"},
			{"alice", "POST", "/api/applications/retired/storage-keys", `{"bucket":"shop-bucket"}`, 409, "application_inactive"},
			{"alice", "GET", "/api/applications/retired/storage-keys", "", 200, `"items":[]`},
			{"bob", "POST", "/api/applications/retired/storage-keys", `{"bucket":"shop-bucket"}`, 403, "storage.issue_key"},
			{"", "GET", "/api/applications/sales-orders/storage-keys", "", 401, "unauthenticated"},
			{"", "GET", "/api/applications/absent/storage-keys", "", 401, "unauthenticated"},
			{"", "POST", "/api/applications/absent/storage-keys", `{"bucket":"shop-bucket"}`, 401, "unauthenticated"},
			{"alice", "DELETE", "/api/storage-keys/MMAAAAAAAAAAAAAAAAAA", "", 403, "storage.manage"},
		} {
			if status, body := call(c.who, c.method, c.path, c.body); status != c.status || !strings.Contains(body, c.part) {
				t.Errorf("%s: %s %s %s: %d %s, want %d with %s", c.who, c.method, c.path, c.body, status, body, c.status, c.part)
			}
		}
		status, body := call("alice", "POST", "/api/applications/sales-orders/storage-keys", `{"bucket":"shop-bucket"}`)
		var issued api.IssuedStorageKey
		if err := json.Unmarshal([]byte(body), &issued); err != nil || status != 201 || issued.Prefix != "sales-orders/" || issued.Application != "sales-orders" {
			t.Fatalf("%d %s", status, body)
		}
		h.put("sales-orders/user.json", "mine")
		k := accessKey{issued.ID, redact.New(issued.SecretAccessKey)}
		if a := h.do(k, "GET", "/shop-bucket/sales-orders/user.json", ""); a.body != "mine" {
			t.Errorf("the issued key reads %d %s", a.status, a.body)
		}
		status, body = call("alice", "GET", "/api/applications/sales-orders/storage-keys", "")
		if status != 200 || !strings.Contains(body, issued.ID) || strings.Contains(body, issued.SecretAccessKey) {
			t.Errorf("list: %d %s", status, body)
		}
		if status, body = call("alice", "DELETE", "/api/storage-keys/"+issued.ID, ""); status != 204 {
			t.Errorf("delete: %d %s", status, body)
		}
		h.do(k, "GET", "/shop-bucket/sales-orders/user.json", "").is(t, "a deleted key", 403, "SignatureDoesNotMatch")
	})
}

func TestEachRequestIsCountedAndLoggedOnce(t *testing.T) {
	h := newHouse(t)
	h.put("k", "hello")
	h.do(h.root, "GET", "/shop-bucket/k", "")
	h.do(h.root, "GET", "/shop-bucket/absent", "")
	if got := strings.Count(h.log.String(), `"msg":"s3 request"`); got != 3 {
		t.Errorf("%d log events for 3 requests:\n%s", got, h.log)
	}
	for _, part := range []string{`"operation":"PutObject"`, `"received":5`, `"sent":5`, `"code":"NoSuchKey"`, `"key":"absent"`, `"access_key":"` + h.root.id, `"request_id":"req_`} {
		if !strings.Contains(h.log.String(), part) {
			t.Errorf("the log lacks %s:\n%s", part, h.log)
		}
	}
	if strings.Contains(h.log.String(), h.root.secret.Reveal()) {
		t.Error("the log holds a secret")
	}
	families, err := h.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "mintmark_s3_requests_total" {
				labels := ""
				for _, l := range m.GetLabel() {
					labels += l.GetValue() + " "
				}
				got[labels] = m.GetCounter().GetValue()
			}
		}
	}
	want := map[string]float64{" GetObject 200 ": 1, " PutObject 200 ": 1, "NoSuchKey GetObject 404 ": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

func TestWritersAndRemoversOfOnePrefix(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			key := "/shop-bucket/deep/er/" + string(rune('a'+i%2))
			for range 25 {
				if a := h.do(h.root, "PUT", key, "x"); a.status != 200 {
					t.Errorf("put: %d %s", a.status, a.body)
				}
				if a := h.do(h.root, "DELETE", key, ""); a.status != 204 {
					t.Errorf("delete: %d %s", a.status, a.body)
				}
				if a := h.do(h.root, "GET", "/shop-bucket?list-type=2&prefix=deep", ""); a.status != 200 {
					t.Errorf("list: %d %s", a.status, a.body)
				}
			}
		})
	}
	wg.Wait()
}

func TestInFlightIsBounded(t *testing.T) {
	h := newHouse(t)
	var wg sync.WaitGroup
	const limit = 128
	release := make(chan struct{})
	inside := make(chan struct{}, limit)
	for range limit {
		wg.Go(func() {
			r := h.request(h.root, "PUT", "/shop-bucket/slow", "x")
			r.Body = blocked{release, inside}
			resp := httptest.NewRecorder()
			h.server.ServeHTTP(resp, r)
		})
	}
	for range limit {
		<-inside
	}
	a := h.do(h.root, "GET", "/shop-bucket/k", "")
	a.is(t, "one too many", 503, "SlowDown")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	close(release)
	wg.Wait()
	h.do(h.root, "GET", "/shop-bucket/slow", "").is(t, "afterwards", 404, "NoSuchKey")
}

// blocked is a body that tells that it is read and then waits.
type blocked struct {
	release chan struct{}
	inside  chan struct{}
}

func (b blocked) Read([]byte) (int, error) {
	b.inside <- struct{}{}
	<-b.release
	return 0, io.ErrUnexpectedEOF
}

func (blocked) Close() error { return nil }
