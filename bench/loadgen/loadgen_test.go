package loadgen_test

import (
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/bench/loadgen"
	"github.com/mintmark/mintmark/internal/testport"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	l := testport.Listen(t)
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }() // ends with Close
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}

func TestEachRequestIsSentInTurnAndItsAnswerRead(t *testing.T) {
	var posts, gets atomic.Int64
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil || r.Header.Get("X-Test") != "yes":
			w.WriteHeader(http.StatusBadRequest)
		case r.Method == "POST" && string(body) == "a=b":
			posts.Add(1)
			w.Write([]byte("fine, whole")) // with a length
		case r.Method == "GET" && r.URL.RawQuery == "q":
			gets.Add(1)
			w.Write([]byte("fine, "))
			w.(http.Flusher).Flush() // and so in chunks
			w.Write([]byte("chunked"))
		}
	})
	header := map[string]string{"X-Test": "yes"}
	bodies := map[string]int{}
	r, err := loadgen.Run(loadgen.Load{
		Requests: []loadgen.Request{
			{Method: "POST", URL: base + "/x", Header: header, Body: "a=b"},
			{Method: "GET", URL: base + "/x?q", Header: header},
		},
		Connections: 3, Count: 20, Limit: time.Minute, Servers: map[string]int{"self": os.Getpid()}, Expect: "fine",
		Collect: func(b []byte) { bodies[string(b)]++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != 20 || r.Errors != 0 || posts.Load() != 10 || gets.Load() != 10 || bodies["fine, whole"] != 10 || bodies["fine, chunked"] != 10 {
		t.Errorf("%+v, %d posts, %d gets, %v", r, posts.Load(), gets.Load(), bodies)
	}
	if r.P99 < r.P50 || r.P50 <= 0 || r.PeakMemory["self"] <= 0 || r.Rate() <= 0 {
		t.Errorf("%+v", r)
	}
}

func TestRefusalsAndWrongAnswersAreErrors(t *testing.T) {
	var n atomic.Int64
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 4 {
		case 1:
			w.WriteHeader(http.StatusTeapot)
		case 2:
			w.Write([]byte("something else"))
		case 3:
			w.Header().Set("Connection", "close") // the next request needs a new connection
			w.Write([]byte("fine"))
		default:
			w.Write([]byte("fine"))
		}
	})
	r, err := loadgen.Run(loadgen.Load{Requests: []loadgen.Request{{Method: "GET", URL: base}}, Connections: 1, Count: 40, Limit: time.Minute, Expect: "fine"})
	if err != nil || r.OK != 20 || r.Errors != 20 || r.FirstError == "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestOnlyThisMachineIsLoaded(t *testing.T) {
	for _, url := range []string{"http://192.0.2.1/", "http://example.com/", "http://0.0.0.0/", "::"} {
		if _, err := loadgen.Run(loadgen.Load{Requests: []loadgen.Request{{Method: "GET", URL: url}}, Connections: 1, Count: 1}); err == nil {
			t.Errorf("%s was accepted", url)
		}
	}
	if _, err := loadgen.Run(loadgen.Load{}); err == nil {
		t.Error("nothing to run, and no error")
	}
}
