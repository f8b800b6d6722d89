package route_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mintmark/mintmark/internal/route"
)

// slow is a body that says when somebody reads it, and then keeps him waiting.
type slow struct {
	once    sync.Once
	reading func()
	release <-chan struct{}
	rest    io.Reader
}

func (s *slow) Read(p []byte) (int, error) {
	s.once.Do(s.reading)
	<-s.release
	return s.rest.Read(p)
}

// send begins a request whose body is slow to come and returns when it is waited for.
func (w *world) send(method, path, body string, release <-chan struct{}, done chan<- int) {
	reading := make(chan struct{})
	r := httptest.NewRequest(method, path, &slow{reading: func() { close(reading) }, release: release, rest: strings.NewReader(body)})
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "application/json")
	go func() {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, r)
		done <- rec.Code
	}()
	<-reading
}

func TestSlowBodiesHoldNoPlace(t *testing.T) {
	for name, c := range map[string]struct{ method, path, body string }{
		"protocol": {"POST", "/oauth2/token", "a=b"},
		"typed":    {"PUT", "/api/things/a", `{"name":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *route.Options) { o.InFlight, o.Queue, o.Logger = 1, 1, nil })
			release, done := make(chan struct{}), make(chan int, 1)
			w.send(c.method, c.path, c.body, release, done)
			for range 3 {
				if rec := w.do("GET", "/tree/", ""); rec.Code != 200 {
					t.Errorf("somebody else, while a body is slow to come: %d", rec.Code)
				}
			}
			if rec := w.do("POST", "/oauth2/token", "a=b"); rec.Code != 200 {
				t.Errorf("somebody else with a body: %d", rec.Code)
			}
			close(release)
			if code := <-done; code != 200 {
				t.Errorf("the slow one, when it came: %d", code)
			}
			if rec := w.do("PUT", "/api/things/a", `{"name":"x"}`); rec.Code != 200 {
				t.Errorf("afterwards: %d", rec.Code)
			}
		})
	}
}

func TestACrowdOfSlowBodiesIsHurriedAndThenRefused(t *testing.T) {
	w := newWorld(t, func(o *route.Options) { o.Logger = nil })
	release, done := make(chan struct{}), make(chan int, 4096)
	post := func(body io.Reader) *deadlines {
		rec := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", body)
		r.Header.Set("Authorization", "Bearer good")
		w.ServeHTTP(rec, r)
		return rec
	}
	for range 1024 {
		w.send("POST", "/oauth2/token", "a=b", release, done)
	}
	if rec := post(strings.NewReader("a=b")); rec.Code != 200 || len(rec.set) != 2 || rec.set[0].IsZero() || !rec.set[1].IsZero() {
		t.Errorf("status %d, deadlines %v: want one for the body, then none", rec.Code, rec.set)
	}
	if rec := post(broken{}); len(rec.set) != 1 {
		t.Errorf("deadlines %v: the one for a body that did not come must stay, or its rest would be waited for", rec.set)
	}
	for range 4096 - 1024 {
		w.send("POST", "/oauth2/token", "a=b", release, done)
	}
	if rec := post(strings.NewReader("a=b")); rec.Code != 503 || rec.Header().Get("Retry-After") == "" {
		t.Errorf("too many bodies on their way: %d", rec.Code)
	}
	close(release)
	for range 4096 {
		<-done // under such a load some are told to come again
	}
	if rec := post(strings.NewReader("a=b")); rec.Code != 200 || len(rec.set) != 0 {
		t.Errorf("afterwards: %d, deadlines %v", rec.Code, rec.set)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }
