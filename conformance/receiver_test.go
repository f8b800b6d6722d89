package conformance_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"

	"github.com/mintmark/mintmark/internal/testport"
)

// receiver is where clients hear of logouts, and what they keep elsewhere: it keeps what was posted to each of its paths.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	heard map[string][]url.Values
	pages map[string][]byte // what is there to be fetched
}

// show lays a page where it can be fetched, and answers its address.
func (r *receiver) show(path string, page []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pages[path] = page
	return r.URL + path
}

func newReceiver() (*receiver, error) {
	addr, err := testport.Free()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &receiver{heard: map[string][]url.Values{}, pages: map[string][]byte{}}
	r.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(r.serve)}}
	r.Start()
	return r, nil
}

func (r *receiver) serve(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body) // what is not whole is not what the test wants
	form, _ := url.ParseQuery(string(body))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[q.URL.Path] = append(r.heard[q.URL.Path], form)
	if page, ok := r.pages[q.URL.Path]; ok {
		w.Header().Set("Content-Type", "application/json")
		w.Write(page) // who does not read it does not get it
	}
}

// at is what came to a path so far.
func (r *receiver) at(path string) []url.Values {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard[path]
}
