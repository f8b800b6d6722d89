package cli_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/testport"
)

// A server that takes the request and never answers must not hold a script up for longer than it allows.
func TestTimeoutBoundsARequest(t *testing.T) {
	alone(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	server.Listener.Close()
	server.Listener = testport.Listen(t)
	server.Start()
	defer server.Close()
	r := run(t, "", "team", "list", "--server", server.URL, "--timeout", "20ms")
	if r.code != cli.ExitUnavailable || !strings.Contains(r.stderr, "deadline exceeded") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
}
