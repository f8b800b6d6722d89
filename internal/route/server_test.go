package route_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/testport"
)

func (w *world) listen(t *testing.T) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(w)
	server.Listener.Close()
	server.Listener = testport.Listen(t)
	server.Config.DisableGeneralOptionsHandler = true // or net/http answers OPTIONS * without asking us
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// exchange sends raw bytes and reads one answer.
func exchange(t *testing.T, address, raw string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func TestRawRequests(t *testing.T) {
	address := newWorld(t).listen(t)
	head := "Host: x\r\nAuthorization: Bearer good\r\n"
	for name, c := range map[string]struct {
		raw    string
		status int
	}{
		"star":                 {"OPTIONS * HTTP/1.1\r\n" + head + "\r\n", 400},
		"connect":              {"CONNECT x:1 HTTP/1.1\r\n" + head + "\r\n", 400},
		"absolute target":      {"GET http://x/tree/ HTTP/1.1\r\n" + head + "\r\n", 200},
		"dots":                 {"GET /tree/../tree/ HTTP/1.1\r\n" + head + "\r\n", 400},
		"chunked, too large":   {"PUT /api/things/a HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n" + strings.Repeat(" ", 0x200000), 413},
		"announced, too large": {"PUT /api/things/a HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n", 413},
		"chunked":              {"PUT /api/things/a HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"name\":\"x\"}\r\n0\r\n\r\n", 200},
		"unknown method":       {"BREW /tree/ HTTP/1.1\r\n" + head + "\r\n", 405},
	} {
		t.Run(name, func(t *testing.T) {
			response := exchange(t, address, c.raw)
			if response.StatusCode != c.status {
				b, _ := io.ReadAll(response.Body)
				t.Errorf("%d, want %d: %s", response.StatusCode, c.status, b)
			}
		})
	}
}

// deadlines records what is done to the connection's read deadline.
type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetReadDeadline(at time.Time) error { d.set = append(d.set, at); return nil }

func TestBodyDeadlineIsTakenAwayBeforeTheHandler(t *testing.T) {
	w := newWorld(t)
	rec := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("PUT", "/api/things/a", strings.NewReader(`{"name":"x"}`))
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "application/json")
	w.ServeHTTP(rec, r)
	if rec.Code != 200 || len(rec.set) != 2 || rec.set[0].IsZero() || !rec.set[1].IsZero() {
		t.Errorf("status %d, deadlines %v: want one for the body, then none", rec.Code, rec.set)
	}
}

func TestClientThatHangsUpIsNotAServerError(t *testing.T) {
	w := newWorld(t)
	w.Handle("GET /wait", func(rw http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		route.WriteProblem(rw, r, r.Context().Err())
	})
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	w.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/wait", nil).WithContext(gone))
	if !strings.Contains(w.log.String(), `"status":499`) || !strings.Contains(w.log.String(), `"level":"INFO"`) {
		t.Errorf("%s", w.log.String())
	}
}

func TestProblemAfterTheAnswerBeganOnlyLogs(t *testing.T) {
	w := newWorld(t)
	w.Handle("GET /half", func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "half")
		route.WriteProblem(rw, r, io.ErrUnexpectedEOF)
	})
	if rec := w.do("GET", "/half", ""); rec.Body.String() != "half" || rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if !strings.Contains(w.log.String(), "unexpected EOF") {
		t.Errorf("%s", w.log.String())
	}
}

func TestConcurrentRequestsKeepTheirIdentity(t *testing.T) {
	w := newWorld(t, func(o *route.Options) { o.Logger = nil })
	w.Handle("GET /id", func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, route.RequestID(r.Context()))
	})
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			want := fmt.Sprint("r", i)
			r := httptest.NewRequest("GET", "/id", nil)
			r.Header.Set("X-Request-Id", want)
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, r)
			if rec.Body.String() != want || rec.Header().Get("X-Request-Id") != want {
				t.Errorf("%s answered %s", want, rec.Body)
			}
		})
	}
	all.Wait()
}

func TestOpenAPIIsCompleteAndDeterministic(t *testing.T) {
	w := newWorld(t)
	first, err := w.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		again, err := newWorld(t).OpenAPI()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatal("two programs write two documents")
		}
	}
	rec := w.do("GET", "/api/openapi.json", "", "Authorization", "")
	if rec.Code != 200 || !bytes.Equal(rec.Body.Bytes(), first) || rec.Header().Get("Content-Type") != "application/json" {
		t.Errorf("served: %d %s", rec.Code, rec.Header())
	}
	if again := w.do("GET", "/api/openapi.json", "", "If-None-Match", rec.Header().Get("ETag")); again.Code != 304 || again.Body.Len() > 0 {
		t.Errorf("unchanged: %d", again.Code)
	}
	var doc struct {
		OpenAPI string
		Info    struct{ Version string }
		Paths   map[string]map[string]struct {
			OperationID string
			Action      string `json:"x-action"`
			Security    []map[string][]string
			Responses   map[string]struct {
				Content map[string]any
				Headers map[string]any
			}
			Parameters []struct{ Name, In string }
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(first, &doc); err != nil {
		t.Fatal(err)
	}
	put := doc.Paths["/api/things/{id}"]["put"]
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" || put.OperationID != "thing.put" || put.Action != "team.write" || len(put.Security) != 1 ||
		len(put.Parameters) != 3 || put.Responses["200"].Headers["ETag"] == nil || put.Responses["default"].Content["application/problem+json"] == nil {
		t.Errorf("%+v", put)
	}
	if open := doc.Paths["/api/things/{id}"]["delete"]; open.Security != nil {
		t.Errorf("an open operation asks for a credential: %+v", open)
	}
	if doc.Components.Schemas["Problem"] == nil || doc.Components.Schemas["Thing"] == nil || doc.Components.Schemas["ErrorModel"] != nil {
		t.Errorf("schemas: %v", doc.Components.Schemas)
	}
}

func TestDocsPageNeedsNothingFromElsewhere(t *testing.T) {
	w := newWorld(t)
	rec := w.do("GET", "/api/docs", "", "Authorization", "")
	page := rec.Body.String()
	for _, want := range []string{"/api/things/{id}", "Put a thing", "team.write", `href="#schema-Problem"`, "openapi.json", "at most 20 characters"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s on the page", want)
		}
	}
	for _, foreign := range []string{"http://", "https://", "<script", "style=", "<style"} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %s", foreign)
		}
	}
	if csp := rec.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %s", csp)
	}
	if css := w.do("GET", "/api/docs.css", ""); css.Code != 200 || !strings.HasPrefix(css.Header().Get("Content-Type"), "text/css") {
		t.Errorf("%d %s", css.Code, css.Header())
	}
}

func TestTwoPackagesMayNameTheirBodiesAlike(t *testing.T) {
	m := route.New(route.Options{})
	type a struct{ Body struct{ A int } }
	route.Do(m, route.Op{Method: "GET", Path: "/api/a", ID: "a"}, func(context.Context, access.Caller, *struct{}) (*a, error) { return &a{}, nil })
	func() {
		type a struct{ Body struct{ B int } }
		route.Do(m, route.Op{Method: "GET", Path: "/api/b", ID: "b"}, func(context.Context, access.Caller, *struct{}) (*a, error) { return &a{}, nil })
	}()
	if _, err := m.OpenAPI(); err != nil {
		t.Error(err)
	}
}

func TestPathOfATypedEndpointIsGivenInFull(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a path outside /api/ was accepted")
		}
	}()
	route.Do(route.New(route.Options{}), route.Op{Method: "GET", Path: "/teams", ID: "x"}, func(context.Context, access.Caller, *struct{}) (*struct{}, error) { return nil, nil })
}

func TestCursors(t *testing.T) {
	for _, keys := range [][]string{{"a"}, {"a", "ü/\""}, {"", ""}} {
		got, err := route.Page{Cursor: route.Cursor(keys...)}.After(len(keys))
		if err != nil || strings.Join(got, "|") != strings.Join(keys, "|") {
			t.Errorf("%q became %q: %v", keys, got, err)
		}
	}
	if got, err := (route.Page{}).After(2); err != nil || len(got) != 2 || got[0] != "" {
		t.Errorf("first page: %q %v", got, err)
	}
	for _, bad := range []string{"!", "bm90IGpzb24", route.Cursor("a", "b", "c"), route.Cursor("a", "\x00"), route.Cursor("a") + "="} {
		if got, err := (route.Page{Cursor: bad}).After(2); err == nil {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}

// BenchmarkHandle is what the wrapper costs the token endpoint: its own work is not in it.
func BenchmarkHandle(b *testing.B) {
	m := route.New(route.Options{})
	m.Handle("POST /oauth2/token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	r := httptest.NewRequest("POST", "/oauth2/token", nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		m.ServeHTTP(w, r)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}
