package route_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

type thing struct {
	Name  string `json:"name" maxLength:"20"`
	Count int    `json:"count,omitempty"`
}

type thingInput struct {
	ID string `path:"id" pattern:"^[a-z]+$"`
	route.IfMatch
	Body thing
}

type thingOutput struct {
	route.Version
	Body thing
}

type listInput struct {
	route.Page
	Team string `query:"team"`
}

type listOutput struct {
	Body struct {
		Items []thing `json:"items"`
	}
}

// world is a Mux with one of each kind of endpoint, and what it logged and denied.
type world struct {
	*route.Mux
	log     bytes.Buffer
	denied  []string
	metrics *prometheus.Registry
	seen    []thing
	caller  access.Caller
}

var employee = access.Caller{Kind: access.Person, ID: "usr_1", Realm: "employees"}

func newWorld(t *testing.T, change ...func(*route.Options)) *world {
	t.Helper()
	w := &world{metrics: prometheus.NewRegistry(), caller: employee}
	o := route.Options{
		Logger:  slog.New(slog.NewJSONHandler(&w.log, nil)),
		Clock:   clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)),
		Metrics: w.metrics,
		Version: "1.2.3",
		Authenticate: func(r *http.Request) (access.Caller, error) {
			switch r.Header.Get("Authorization") {
			case "":
				return access.Caller{}, nil
			case "Bearer good":
				return w.caller, nil
			}
			return access.Caller{}, fault.New(fault.Unauthenticated, "bad_token", "This token is not valid.")
		},
		Denied: func(_ context.Context, c access.Caller, op string, err error) {
			w.denied = append(w.denied, c.ID+" "+op+" "+fault.Code(err))
		},
	}
	for _, f := range change {
		f(&o)
	}
	m := route.New(o)
	w.Mux = m
	route.Do(m, route.Op{Method: "PUT", Path: "/api/things/{id}", ID: "thing.put", Summary: "Put a thing", Action: access.WriteTeam, Tags: []string{"things"}},
		func(_ context.Context, c access.Caller, in *thingInput) (*thingOutput, error) {
			w.seen = append(w.seen, in.Body)
			if err := in.IfMatch.Check(7); err != nil {
				return nil, err
			}
			return &thingOutput{route.AtVersion(8), in.Body}, failure(in.ID)
		})
	route.Do(m, route.Op{Method: "GET", Path: "/api/things", ID: "thing.list", Summary: "List things", Action: access.ReadRegistry, Tags: []string{"things"}},
		func(_ context.Context, c access.Caller, in *listInput) (*listOutput, error) {
			out := &listOutput{}
			out.Body.Items = []thing{{Name: in.Team, Count: in.Limit}}
			return out, nil
		})
	route.Do(m, route.Op{Method: "DELETE", Path: "/api/things/{id}", ID: "thing.delete", Summary: "Delete a thing", Tags: []string{"things"}},
		func(context.Context, access.Caller, *struct {
			ID string `path:"id"`
		}) (*struct{}, error) {
			return nil, nil
		})
	m.Handle("POST /oauth2/token", func(rw http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			route.WriteProblem(rw, r, err)
			return
		}
		route.Identify(r.Context(), access.Caller{Kind: access.Service, ID: "usr_app"})
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"ok":true}`)
	})
	m.Handle("GET /tree/", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, "tree") })
	m.Handle("GET /panic", func(http.ResponseWriter, *http.Request) { panic("the secret reason") })
	m.Handle("GET /late-panic", func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "half")
		panic("too late")
	})
	return w
}

// failure turns an id into the error of that name.
func failure(id string) error {
	switch id {
	case "forbidden":
		return fault.New(fault.Forbidden, "forbidden", "You may not.")
	case "secretfailure":
		return errors.New("password hunter2 leaked")
	case "limited":
		return fault.New(fault.Limited, "too_often", "Slow down.").Retry(1500 * time.Millisecond)
	case "gone":
		return fault.Wrap(errors.New("cause for the log"), fault.NotFound, "not_found", "There is no thing %s.", id).At("path.id", "unknown")
	}
	return nil
}

func (w *world) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer good")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i+1] == "" {
			r.Header.Del(header[i])
		}
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	return rec
}

func document(t *testing.T, rec *httptest.ResponseRecorder) api.Problem {
	t.Helper()
	var p api.Problem
	d := json.NewDecoder(rec.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("answer %d is not a problem document: %v", rec.Code, err)
	}
	if ct := rec.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type %q", ct)
	}
	if p.Status != rec.Code || p.Title != http.StatusText(rec.Code) || p.Type != "urn:mintmark:problem:"+p.Code || p.RequestID != rec.Header().Get("X-Request-Id") {
		t.Errorf("document disagrees with the answer: %+v, status %d", p, rec.Code)
	}
	return p
}

func TestTypedEndpointRefusesMalformedRequests(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for name, c := range map[string]struct {
		method, target, body string
		header               []string
		status               int
		code, field          string
	}{
		"unknown key":         {"PUT", "/api/things/a", `{"name":"x","colour":1}`, nil, 400, "invalid_request", "body.colour"},
		"wrong case of key":   {"PUT", "/api/things/a", `{"Name":"x"}`, nil, 400, "invalid_request", "body"},
		"missing key":         {"PUT", "/api/things/a", `{}`, nil, 400, "invalid_request", "body"},
		"wrong type":          {"PUT", "/api/things/a", `{"name":7}`, nil, 400, "invalid_request", "body.name"},
		"float for integer":   {"PUT", "/api/things/a", `{"name":"x","count":1.5}`, nil, 400, "invalid_request", "body.count"},
		"huge integer":        {"PUT", "/api/things/a", `{"name":"x","count":1e30}`, nil, 400, "invalid_request", "body"},
		"null":                {"PUT", "/api/things/a", `null`, nil, 400, "invalid_request", "body"},
		"array":               {"PUT", "/api/things/a", `[]`, nil, 400, "invalid_request", "body"},
		"too long":            {"PUT", "/api/things/a", `{"name":"` + strings.Repeat("x", 21) + `"}`, nil, 400, "invalid_request", "body.name"},
		"key twice":           {"PUT", "/api/things/a", `{"name":"x","name":"y"}`, nil, 400, "bad_json", "body.name"},
		"escaped key twice":   {"PUT", "/api/things/a", `{"name":"x","n\u0061me":"y"}`, nil, 400, "bad_json", "body.name"},
		"deep key twice":      {"PUT", "/api/things/a", `{"a":[0,{"b":1,"b":2}]}`, nil, 400, "bad_json", "body.a[1].b"},
		"too deep":            {"PUT", "/api/things/a", deep, nil, 400, "bad_json", "body"},
		"two values":          {"PUT", "/api/things/a", `{"name":"x"}{}`, nil, 400, "bad_json", "body"},
		"broken":              {"PUT", "/api/things/a", `{"name":`, nil, 400, "bad_json", "body"},
		"not UTF-8":           {"PUT", "/api/things/a", "{\"name\":\"\xff\"}", nil, 400, "bad_json", "body"},
		"half a surrogate":    {"PUT", "/api/things/a", `{"name":"\ud800"}`, nil, 400, "bad_json", "body"},
		"NUL":                 {"PUT", "/api/things/a", `{"name":"\u0000"}`, nil, 400, "bad_json", "body"},
		"no body":             {"PUT", "/api/things/a", ``, nil, 400, "bad_json", "body"},
		"blank body":          {"PUT", "/api/things/a", `  `, nil, 400, "bad_json", "body"},
		"form":                {"PUT", "/api/things/a", `name=x`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type", ""},
		"no content type":     {"PUT", "/api/things/a", `{"name":"x"}`, []string{"Content-Type", ""}, 415, "unsupported_media_type", ""},
		"latin1":              {"PUT", "/api/things/a", `{"name":"x"}`, []string{"Content-Type", "application/json; charset=latin1"}, 415, "unsupported_media_type", ""},
		"gzip":                {"PUT", "/api/things/a", `{"name":"x"}`, []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type", ""},
		"too large":           {"PUT", "/api/things/a", `{"name":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, "body_too_large", ""},
		"bad path parameter":  {"PUT", "/api/things/A", `{"name":"x"}`, nil, 400, "invalid_request", "path.id"},
		"unknown query":       {"GET", "/api/things?tean=x", ``, nil, 400, "invalid_request", "query.tean"},
		"query twice":         {"GET", "/api/things?team=x&team=y", ``, nil, 400, "bad_query", "query.team"},
		"query not UTF-8":     {"GET", "/api/things?team=%ff", ``, nil, 400, "bad_query", ""},
		"query NUL":           {"GET", "/api/things?team=%00", ``, nil, 400, "bad_query", ""},
		"query bad escape":    {"GET", "/api/things?team=%zz", ``, nil, 400, "bad_query", ""},
		"query semicolon":     {"GET", "/api/things?team=a;b", ``, nil, 400, "bad_query", ""},
		"limit zero":          {"GET", "/api/things?limit=0", ``, nil, 400, "invalid_request", "query.limit"},
		"limit text":          {"GET", "/api/things?limit=ten", ``, nil, 400, "invalid_request", "query.limit"},
		"body of a DELETE":    {"DELETE", "/api/things/a", `{}`, nil, 400, "unexpected_body", "body"},
		"other version":       {"PUT", "/api/things/a", `{"name":"x"}`, []string{"If-Match", `"v6"`}, 412, "precondition_failed", "header.If-Match"},
		"exists already":      {"PUT", "/api/things/a", `{"name":"x"}`, []string{"If-None-Match", `*`}, 412, "precondition_failed", "header.If-None-Match"},
		"weak tag":            {"PUT", "/api/things/a", `{"name":"x"}`, []string{"If-Match", `W/"v7"`}, 412, "precondition_failed", "header.If-Match"},
		"unknown path":        {"GET", "/api/nothing", ``, nil, 404, "no_such_path", ""},
		"wrong method":        {"PATCH", "/api/things/a", ``, nil, 405, "method_not_allowed", ""},
		"double slash":        {"PUT", "/api//things/a", `{"name":"x"}`, nil, 400, "bad_path", ""},
		"dot segment":         {"PUT", "/api/x/../things/a", `{"name":"x"}`, nil, 400, "bad_path", ""},
		"encoded dot segment": {"PUT", "/api/x/%2e%2E/things/a", `{"name":"x"}`, nil, 400, "bad_path", ""},
		"encoded slash":       {"PUT", "/api/things/a%2Fb", `{"name":"x"}`, nil, 400, "bad_path", ""},
		"encoded backslash":   {"PUT", "/api/things/a%5cb", `{"name":"x"}`, nil, 400, "bad_path", ""},
		"NUL in path":         {"PUT", "/api/things/a%00", `{"name":"x"}`, nil, 400, "bad_path", ""},
		"path not UTF-8":      {"PUT", "/api/things/%ff", `{"name":"x"}`, nil, 400, "bad_path", ""},
		"tree without slash":  {"GET", "/tree", ``, nil, 404, "no_such_path", ""},
		"tree by POST":        {"POST", "/tree", `x`, nil, 405, "method_not_allowed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			rec := w.do(c.method, c.target, c.body, c.header...)
			p := document(t, rec)
			if p.Status != c.status || p.Code != c.code {
				t.Fatalf("got %d %s (%s), want %d %s", p.Status, p.Code, p.Detail, c.status, c.code)
			}
			if c.field != "" && (len(p.Errors) == 0 || p.Errors[0].Location != c.field) {
				t.Errorf("errors %+v, want one at %s", p.Errors, c.field)
			}
			if c.status != 412 && len(w.seen) > 0 {
				t.Errorf("the handler saw %+v", w.seen)
			}
			if l := rec.Header().Get("Location"); l != "" {
				t.Errorf("redirects to %s", l)
			}
		})
	}
}

func TestMethodNotAllowedTellsWhatIs(t *testing.T) {
	rec := newWorld(t).do("PATCH", "/api/things/a", "")
	if got := rec.Header().Get("Allow"); got != "DELETE, PUT" {
		t.Errorf("Allow: %q", got)
	}
}

func TestTypedEndpointAnswers(t *testing.T) {
	w := newWorld(t)
	rec := w.do("PUT", "/api/things/a", `{"name":"x","count":3}`, "Content-Type", "application/json; charset=UTF-8", "If-Match", `"v1", "v7"`, "X-Request-Id", "abc-1.2_3")
	if rec.Code != 200 || strings.TrimSpace(rec.Body.String()) != `{"name":"x","count":3}` {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for name, want := range map[string]string{
		"Etag": `"v8"`, "X-Request-Id": "abc-1.2_3", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "Content-Type": "application/json", "Strict-Transport-Security": "",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := rec.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if rec := w.do("DELETE", "/api/things/a", ""); rec.Code != 204 || rec.Body.Len() != 0 {
		t.Errorf("DELETE: %d %q", rec.Code, rec.Body)
	}
	if rec := w.do("GET", "/api/things?team=t&limit=5", ""); !strings.Contains(rec.Body.String(), `"name":"t","count":5`) {
		t.Errorf("GET: %s", rec.Body)
	}
	if rec := w.do("GET", "/api/things", ""); !strings.Contains(rec.Body.String(), `"count":100`) {
		t.Errorf("default limit: %s", rec.Body)
	}
}

func TestErrorsBecomeDocuments(t *testing.T) {
	w := newWorld(t)
	p := document(t, w.do("PUT", "/api/things/gone", `{"name":"x"}`))
	if p.Status != 404 || p.Detail != "There is no thing gone." || len(p.Errors) != 1 || p.Errors[0] != (api.ProblemField{Location: "path.id", Message: "unknown"}) {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(w.log.String(), "cause for the log") {
		t.Error("the cause is not in the log")
	}
	rec := w.do("PUT", "/api/things/limited", `{"name":"x"}`)
	if rec.Code != 429 || rec.Header().Get("Retry-After") != "2" {
		t.Errorf("limited: %d, Retry-After %q", rec.Code, rec.Header().Get("Retry-After"))
	}
	rec = w.do("PUT", "/api/things/secretfailure", `{"name":"x"}`)
	if strings.Contains(rec.Body.String(), "hunter2") {
		t.Error("an unclassified error's text reached the client")
	}
	if p := document(t, rec); p.Status != 500 || p.Code != "internal" {
		t.Errorf("unclassified: %+v", p)
	}
	if !strings.Contains(w.log.String(), "hunter2") {
		t.Error("an unclassified error's text is not in the log")
	}
}

func TestDenialsAreReported(t *testing.T) {
	w := newWorld(t)
	rec := w.do("PUT", "/api/things/a", `{bad`, "Authorization", "")
	if p := document(t, rec); p.Status != 401 || p.Code != "unauthenticated" || rec.Header().Get("WWW-Authenticate") == "" {
		t.Errorf("anonymous: %+v; a stranger must learn nothing about the form", p)
	}
	if p := document(t, w.do("PUT", "/api/things/a", `{bad`, "Authorization", "Bearer bad")); p.Status != 401 || p.Code != "bad_token" {
		t.Errorf("bad token: %+v", p)
	}
	if p := document(t, w.do("DELETE", "/api/things/a", ``, "Authorization", "Bearer bad")); p.Status != 401 {
		t.Errorf("a bad credential is refused also where none is needed: %+v", p)
	}
	if p := document(t, w.do("PUT", "/api/things/forbidden", `{"name":"x"}`)); p.Status != 403 {
		t.Errorf("forbidden: %+v", p)
	}
	want := " thing.put unauthenticated| thing.put bad_token| thing.delete bad_token|usr_1 thing.put forbidden"
	if got := strings.Join(w.denied, "|"); got != want {
		t.Errorf("denied: %s\nwant:   %s", got, want)
	}
	if rec := w.do("DELETE", "/api/things/a", ``, "Authorization", ""); rec.Code != 204 {
		t.Errorf("an open operation: %d", rec.Code)
	}
}

func TestOneLogEventPerRequestWithoutSecrets(t *testing.T) {
	w := newWorld(t)
	w.do("PUT", "/api/things/hunter?q=hunter2", `{"name":"hunter3"}`, "User-Agent", "hunter4", "X-Request-Id", "bad id\n")
	w.do("POST", "/oauth2/token", "grant=hunter5")
	w.do("GET", "/hunter6", "")
	text := w.log.String()
	if strings.Contains(text, "hunter") {
		t.Errorf("the log shows what the client sent: %s", text)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d events for 3 requests: %s", len(lines), text)
	}
	var first, second, third map[string]any
	for i, v := range []*map[string]any{&first, &second, &third} {
		if err := json.Unmarshal([]byte(lines[i]), v); err != nil {
			t.Fatal(err)
		}
	}
	if first["route"] != "PUT /api/things/{id}" || first["status"] != 400.0 || first["caller"] != "usr_1" || first["caller_kind"] != "person" ||
		first["code"] != "invalid_request" || first["method"] != "PUT" || first["ip"] != "192.0.2.1" || first["bytes"] == 0.0 || first["took"] == nil ||
		!strings.HasPrefix(first["request_id"].(string), "req_") {
		t.Errorf("first event: %s", lines[0])
	}
	if second["caller"] != "usr_app" || second["status"] != 200.0 || second["code"] != nil {
		t.Errorf("second event: %s", lines[1])
	}
	if third["route"] != "unmatched" || third["status"] != 404.0 {
		t.Errorf("third event: %s", lines[2])
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	w := newWorld(t)
	rec := w.do("GET", "/panic", "")
	if strings.Contains(rec.Body.String(), "secret reason") {
		t.Error("the panic's text reached the client")
	}
	if p := document(t, rec); p.Status != 500 {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(w.log.String(), "the secret reason") || !strings.Contains(w.log.String(), "route_test.go") {
		t.Error("the log has no reason or no stack")
	}
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("a panic after the answer began must cut the connection; recovered %v", p)
			}
		}()
		w.do("GET", "/late-panic", "")
	}()
	if got := w.counted(t, "mintmark_http_panics_total"); got != 2 {
		t.Errorf("%v panics counted", got)
	}
	if rec := w.do("GET", "/tree/", ""); rec.Code != 200 {
		t.Errorf("after the panics: %d", rec.Code)
	}
}

// counted is the value of a counter without labels.
func (w *world) counted(t *testing.T, name string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

func TestOverloadIsRefusedAtOnce(t *testing.T) {
	w := newWorld(t, func(o *route.Options) { o.InFlight, o.Queue = 1, 1 })
	entered, release := make(chan struct{}), make(chan struct{})
	w.Handle("GET /slow", func(http.ResponseWriter, *http.Request) { close(entered); <-release })
	w.HandleAlways("GET /keys", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, "keys") })
	done := make(chan int)
	go func() { done <- w.do("GET", "/slow", "").Code }()
	<-entered
	rec := w.do("GET", "/tree/", "")
	if p := document(t, rec); p.Status != 503 || p.Code != "overloaded" || rec.Header().Get("Retry-After") != "1" {
		t.Errorf("%+v Retry-After %q", p, rec.Header().Get("Retry-After"))
	}
	if rec := w.do("GET", "/keys", ""); rec.Code != 200 {
		t.Errorf("what must always be answered: %d", rec.Code)
	}
	close(release)
	if code := <-done; code != 200 {
		t.Errorf("the slow one: %d", code)
	}
	if rec := w.do("GET", "/tree/", ""); rec.Code != 200 {
		t.Errorf("afterwards: %d", rec.Code)
	}
	if got := w.counted(t, "mintmark_http_shed_total"); got != 1 {
		t.Errorf("%v shed", got)
	}
}

func TestRequestThatTakesTooLong(t *testing.T) {
	w := newWorld(t, func(o *route.Options) { o.Timeout = time.Millisecond })
	w.Handle("GET /wait", func(rw http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		route.WriteProblem(rw, r, r.Context().Err())
	})
	rec := w.do("GET", "/wait", "")
	if p := document(t, rec); p.Status != 503 || p.Code != "timeout" || rec.Header().Get("Retry-After") == "" {
		t.Errorf("%+v", p)
	}
}

func TestProtocolBodyIsBounded(t *testing.T) {
	w := newWorld(t)
	if rec := w.do("POST", "/oauth2/token", strings.Repeat("x", 64<<10)); rec.Code != 200 {
		t.Errorf("at the limit: %d", rec.Code)
	}
	if p := document(t, w.do("POST", "/oauth2/token", strings.Repeat("x", 64<<10+1))); p.Status != 413 || p.Code != "body_too_large" {
		t.Errorf("%+v", p)
	}
}

func TestMetricsKnowPatternsOnly(t *testing.T) {
	w := newWorld(t)
	w.do("PUT", "/api/things/one", `{"name":"x"}`)
	w.do("PUT", "/api/things/two", `{}`)
	w.do("GET", "/nothing/here", "")
	want := `
# HELP mintmark_http_requests_total Requests answered, by route pattern and class of status.
# TYPE mintmark_http_requests_total counter
mintmark_http_requests_total{class="2xx",route="PUT /api/things/{id}"} 1
mintmark_http_requests_total{class="4xx",route="PUT /api/things/{id}"} 1
mintmark_http_requests_total{class="4xx",route="unmatched"} 1
`
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() != "mintmark_http_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetCounter().GetValue() == 1 {
				got = append(got, `{class="`+m.GetLabel()[0].GetValue()+`",route="`+m.GetLabel()[1].GetValue()+`"} 1`)
			}
		}
	}
	if len(got) != 3 {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, line := range got {
		if !strings.Contains(want, line) {
			t.Errorf("unexpected %s", line)
		}
	}
	// A second listener of the same program shares the collectors.
	route.New(route.Options{Metrics: w.metrics})
}

func TestClientIPBehindProxies(t *testing.T) {
	for _, c := range []struct{ peer, forwarded, want string }{
		{"192.0.2.1:99", "203.0.113.9", "192.0.2.1"}, // not our proxy: its word counts nothing
		{"10.0.0.1:99", "203.0.113.9", "203.0.113.9"},
		{"10.0.0.1:99", "198.51.100.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"},
		{"10.0.0.1:99", "evil, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1:99", "", "10.0.0.1"},
		{"[::1]:99", "2001:db8::1", "2001:db8::1"},
	} {
		w := newWorld(t, func(o *route.Options) {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
		})
		var got string
		w.Handle("GET /ip", func(_ http.ResponseWriter, r *http.Request) { got = route.ClientIP(r.Context()) })
		r := httptest.NewRequest("GET", "/ip", nil)
		r.RemoteAddr = c.peer
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		w.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("peer %s, forwarded for %q: %q, want %q", c.peer, c.forwarded, got, c.want)
		}
	}
}

func TestHSTSBehindHTTPS(t *testing.T) {
	w := newWorld(t, func(o *route.Options) { o.HTTPS = true })
	if got := w.do("GET", "/tree/", "").Header().Get("Strict-Transport-Security"); !strings.HasPrefix(got, "max-age=") {
		t.Errorf("%q", got)
	}
}
