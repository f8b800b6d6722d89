package witness_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/testport"
	"github.com/mintmark/mintmark/internal/witness"
)

func put(t *testing.T, dir, password string) {
	t.Helper()
	for name, text := range map[string]string{
		"user.json":   `{"application_username":"sales-orders","application_password":"` + password + `"}`,
		"client.json": `{"client_id":"cli","client_secret":"secret"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A witness that counted a refusal as anything else would prove nothing.
func TestTellsRefusalFromSilence(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "first")
	asked := make(chan int) // the status of each answer in turn
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if id, secret, ok := r.BasicAuth(); !ok || id != "cli" || secret != "secret" || r.URL.RequestURI() != "/oauth2/access_token?realm=services" {
			t.Errorf("asked %s as %q %q", r.URL, id, secret)
		}
		select {
		case status := <-asked:
			rw.WriteHeader(status)
		case <-ctx.Done():
		}
	}))
	server.Listener.Close()
	server.Listener = testport.Listen(t)
	server.Start()
	defer server.Close()

	w := witness.New(server.URL, dir)
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	asked <- 200
	put(t, dir, "second")
	for _, status := range []int{200, 200, 503, 401, 400} { // the first may still be with the old password
		asked <- status
	}
	asked <- 200 // the answer before this one is noted
	cancel()
	<-done
	got := w.Seen()
	if got.Logins < 3 || got.Refused != 2 || got.Unanswered != 1 || got.Pairs != 2 {
		t.Errorf("saw %+v", got)
	}
	if !strings.Contains(got.LastRefusal, "400 Bad Request") || !strings.Contains(got.LastSilence, "503") {
		t.Errorf("last refusal %q, last silence %q", got.LastRefusal, got.LastSilence)
	}
}

func TestNoCredentialsAreNoRefusal(t *testing.T) {
	w := witness.New("http://127.0.0.1:1", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	for w.Seen().Unanswered == 0 && t.Context().Err() == nil {
		runtime.Gosched()
	}
	cancel()
	<-done
	if got := w.Seen(); got.Refused != 0 || !strings.Contains(got.LastSilence, "user.json") {
		t.Errorf("saw %+v", got)
	}
}
