//go:build unix

package agent_test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/agent"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/testport"
)

// fakeStore is an S3 endpoint with two objects and a fault to order.
type fakeStore struct {
	url string

	mu       sync.Mutex
	objects  map[string]string                                 // by path; owned by mu
	fault    func(w http.ResponseWriter, r *http.Request) bool // true: it has answered; owned by mu
	requests []string                                          // owned by mu
	full     int                                               // answers with a body; owned by mu
	keys     []string                                          // access keys that signed; owned by mu
}

func newStore(t testing.TB) *fakeStore {
	t.Helper()
	s := &fakeStore{objects: map[string]string{}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	server.Listener.Close()
	server.Listener = testport.Listen(t)
	server.Start()
	t.Cleanup(server.Close)
	s.url = server.URL
	s.deliver(1)
	return s
}

func user(version int) string {
	return fmt.Sprintf(`{"application_username":"sales","application_password":"p%d"}`, version)
}

func client(version int) string {
	return fmt.Sprintf(`{"client_id":"c","client_secret":"s%d"}`, version)
}

// deliver puts a version of both objects there.
func (s *fakeStore) deliver(version int) {
	s.set("user.json", user(version))
	s.set("client.json", client(version))
}

func (s *fakeStore) set(name, content string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects["/bucket/sales/"+name] = content
}

func (s *fakeStore) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, "/bucket/sales/"+name)
}

func (s *fakeStore) fail(fault func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *fakeStore) count() (requests, full int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests), s.full
}

func (s *fakeStore) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	content, found := s.objects[r.URL.Path]
	fault := s.fault
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	if _, after, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		key, _, _ := strings.Cut(after, "/")
		s.keys = append(s.keys, key)
	}
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	if !found {
		refuse(w, 404, "NoSuchKey")
		return
	}
	sum := md5.Sum([]byte(content))
	etag := `"` + hex.EncodeToString(sum[:]) + `"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(304)
		return
	}
	s.mu.Lock()
	s.full++
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, content)
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>m</Message></Error>`, code)
}

// answer is a fault that answers everything so.
func answer(status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, status, code); return true }
}

// only limits a fault to one object.
func only(name string, fault func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, name) && fault(w, r)
	}
}

func configuration(t testing.TB, s *fakeStore) agent.Config {
	return agent.Config{
		Application: "sales", Bucket: "bucket", Dir: filepath.Join(t.TempDir(), "credentials"),
		Endpoint: s.url, Region: "eu-central-1", AccessKeyID: "AKIDEXAMPLE", Secret: redact.New("secret"),
		CallTimeout: 5 * time.Second, Poll: 20 * time.Millisecond,
	}
}

func newAgent(t testing.TB, c agent.Config) *agent.Agent {
	t.Helper()
	a, err := agent.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// notify delivers signals to ch until the test ends.
func notify(t testing.TB, ch chan os.Signal, signals ...os.Signal) {
	t.Helper()
	signal.Notify(ch, signals...)
	t.Cleanup(func() { signal.Stop(ch) })
}
