package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/cli"
)

// Following begins at the end of the log, survives a server that is away, shows each event once, and ends without an
// error when it is interrupted.
func TestAuditFollow(t *testing.T) {
	alone(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	looks := 0
	s := newServer(t, map[string]any{"GET /api/audit/events": func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("order") != "oldest" {
			json.NewEncoder(w).Encode(api.AuditEvents{Items: []api.AuditEvent{{Seq: 7, Action: "old.event"}}})
			return
		}
		looks++
		switch looks {
		case 1:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(503)
			json.NewEncoder(w).Encode(api.Problem{Code: "unavailable"})
		case 2:
			if r.FormValue("after") != "7" {
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
			json.NewEncoder(w).Encode(api.AuditEvents{Items: []api.AuditEvent{{Seq: 8, Action: "new.event"}}})
		default:
			if r.FormValue("after") != "8" {
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
			interrupt()
		}
	}})
	var out, err bytes.Buffer
	code := cli.Main(ctx, &grammar{}, []string{"audit", "list", "-n", "0", "--follow", "-o", "json", "--server", s.URL}, cli.IO{Stdout: &out, Stderr: &err, Pause: atOnce})
	if code != 0 || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), `"seq":8`) || !strings.Contains(err.String(), "trying again") {
		t.Errorf("exit %d\n%s%s", code, out.String(), err.String())
	}
}
