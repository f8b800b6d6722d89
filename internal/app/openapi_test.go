package app_test

import (
	"encoding/json"
	"flag"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/db"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The OpenAPI document is what clients are generated from: a change of it must be seen and meant.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	w := start(t, db.SQLite, nil)
	status, got := fetch(t, w.config.Issuer+"/api/openapi.json")
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, got)
	}
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("the document changed; if that is meant, run this test with -update (-want +got):\n%s", d)
	}
	operations := operationsOf(t, []byte(got))
	t.Run("every operation asks who is calling", func(t *testing.T) { checkClosed(t, w, operations) })
	t.Run("docs/api.md lists what there is", func(t *testing.T) { checkDocumented(t, w, operations) })
}

// operation is one of the management API, with what an anonymous caller may do.
type operation struct {
	method, path, id string
	public           bool
}

func operationsOf(t *testing.T, document []byte) []operation {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Security    []any  `json:"security"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	var all []operation
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for method, o := range doc.Paths[path] {
			all = append(all, operation{strings.ToUpper(method), path, o.OperationID, len(o.Security) == 0})
		}
	}
	if len(all) < 33 {
		t.Fatalf("only %d operations", len(all))
	}
	return all
}

// publicOperations may be called by anybody. An addition is a decision, not a slip.
var publicOperations []string

func checkClosed(t *testing.T, w *world, operations []operation) {
	segment := regexp.MustCompile(`\{[a-z_]+\}`)
	for _, o := range operations {
		if o.public != slices.Contains(publicOperations, o.id) {
			t.Errorf("%s is public: %v", o.id, o.public)
		}
		path := segment.ReplaceAllString(o.path, "something")
		for name, authorization := range map[string]string{"nothing": "", "nonsense": "Bearer mmk_nonsense", "a wrong scheme": "Basic YTpi"} {
			k := knock{method: o.method, path: path, status: http.StatusUnauthorized}
			if a := w.knock(t, w.config.Issuer, authorization, k); !o.public && (a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") == "") {
				t.Errorf("%s %s shown %s: %d %s", o.method, o.path, name, a.status, a.body)
			}
		}
	}
}

// checkDocumented compares docs/api.md with what is registered: the operations, and the endpoints beside them, which the
// metrics name.
func checkDocumented(t *testing.T, w *world, operations []operation) {
	documented := documentedEndpoints(t)
	registered := map[string]bool{}
	for _, o := range operations {
		registered[o.method+" "+o.path] = true
	}
	_, metrics := fetch(t, "http://"+w.config.Listen.Operations+"/metrics")
	for _, m := range regexp.MustCompile(`mintmark_http_request_duration_seconds_count\{route="([^"]+)"\}`).FindAllStringSubmatch(metrics, -1) {
		method, path, ok := strings.Cut(strings.TrimSuffix(m[1], "{$}"), " ")
		if !ok {
			method, path = "ANY", m[1] // the protocol's endpoints answer a wrong method by themselves
		}
		registered[method+" "+path] = true
	}
	if len(registered) < 50 {
		t.Fatalf("only %d endpoints are registered", len(registered))
	}
	for endpoint := range documented {
		_, path, _ := strings.Cut(endpoint, " ")
		if !registered[endpoint] && !registered["ANY "+path] {
			t.Errorf("docs/api.md lists %s, which does not exist", endpoint)
		}
	}
	for endpoint := range registered {
		method, path, _ := strings.Cut(endpoint, " ")
		if strings.HasPrefix(path, "/mithril/admin/") || path == "/mithril/" { // other names of the same, and of nothing
			continue
		}
		if strings.HasPrefix(path, "/static/") || strings.HasSuffix(path, ".css") || path == "unmatched" {
			continue
		}
		listed := documented[endpoint]
		if method == "ANY" {
			listed = documented["GET "+path] || documented["POST "+path]
		}
		if !listed {
			t.Errorf("docs/api.md does not list %s", endpoint)
		}
	}
}

// documentedEndpoints reads the tables and lines of docs/api.md that name an endpoint: `GET PUT /path/{id}`, and
// `DELETE …/rest` for one that goes on from the path before it.
func documentedEndpoints(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	public, _, _ := strings.Cut(string(b), "## S3 listener")
	out := map[string]bool{"GET /api/openapi.json": strings.Contains(public, "`/api/openapi.json`"), "GET /api/docs": strings.Contains(public, "`/api/docs`")}
	for line := range strings.Lines(public) {
		before := ""
		for _, m := range regexp.MustCompile("`((?:(?:GET|PUT|PATCH|POST|DELETE) )+)(/[^`]*|…/[^`]*)`").FindAllStringSubmatch(line, -1) {
			path := m[2]
			if rest, ok := strings.CutPrefix(path, "…"); ok {
				path = joinOn(before, rest)
			}
			before = path
			for _, method := range strings.Fields(m[1]) {
				out[method+" "+path] = true
			}
		}
	}
	if len(out) < 40 {
		t.Fatalf("only %d endpoints are documented", len(out))
	}
	return out
}

// joinOn puts /rest onto the path that it continues: …/scopes/{scope} after /x/{id}/scopes is /x/{id}/scopes/{scope},
// …/disable after /x/{id} is /x/{id}/disable, and …/rotations after /x/{id}/rotation is /x/{id}/rotations.
func joinOn(before, rest string) string {
	first, _, _ := strings.Cut(rest[1:], "/")
	if at := strings.LastIndex(before, "/"+first); at >= 0 {
		return before[:at] + rest
	}
	if strings.HasSuffix(before, "}") {
		return before + rest
	}
	return before[:strings.LastIndex(before, "/")] + rest
}
