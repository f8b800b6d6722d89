// Package mintmark_test holds the rules of the whole module that no compiler checks: who may import whom, and a few
// words that no package may use. It reads the source itself, every file under every build tag.
package mintmark_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/mintmark/mintmark"

// ladder is the server, lowest row first. A package may import packages of the rows above it in this list, never one of
// its own row, never one of a row below. A package that stands nowhere here has no place in the house yet: give it one.
var ladder = [][]string{
	{"internal/clock", "internal/id", "internal/redact", "internal/fault", "internal/lifecycle", "internal/failpoint", "internal/realm", "internal/qr", "internal/look", "internal/translation", "internal/roster", "internal/password/argon2id"},
	{"internal/access", "internal/jose"}, // still the ground, but they answer with faults and hold secrets
	{"internal/db", "internal/objstore", "internal/outbound", "internal/password"},
	{"internal/seal", "internal/keyset"}, // keeps its keyring in the database
	{"internal/route"},
	{"internal/audit", "internal/jobs"},
	{"internal/catalog", "internal/keys", "internal/mail"},
	{"internal/identity"},
	{"internal/identity/session", "internal/identity/mfa", "internal/identity/groups", "internal/identity/attributes"},
	{"internal/identity/sourced"},
	{"internal/identity/account", "internal/identity/federation", "internal/identity/transfer", "internal/identity/directory"},
	{"internal/registry"},
	{"internal/oauth", "internal/rotation"},
	{"internal/authn"},
	{"internal/web", "internal/mithril", "internal/s3api"},
	{"internal/app"},
}

// outside says, for what does not stand on the ladder, which packages of the module it may import at all. The SDK and
// the agent link nothing of the server: they take only what holds secrets and time.
var outside = map[string][]string{
	"api":            {},
	"client":         {"api"},
	"internal/agent": {"api", "client", "internal/clock", "internal/redact", "internal/failpoint"},
	"internal/cli":   {"api", "client", "internal/agent", "internal/clock", "internal/redact", "internal/qr", "internal/roster"},
	"internal/demo":  {"api", "client", "internal/agent", "internal/app", "internal/clock", "internal/redact", "internal/witness"},
	"cmd/mintmark":   {"api", "client", "internal/agent", "internal/app", "internal/cli", "internal/demo", "internal/clock", "internal/redact"},

	"internal/witness": {"client", "internal/clock"},
}

// fromClientSide is what packages of the server may import of the client side. The wire structs belong to both; the
// tests of app play the part of an application too.
var fromClientSide = map[string][]string{
	"":             {"api"},
	"internal/app": {"api", "client", "internal/agent"},
}

// kits are for tests: nothing that ships imports them. Each stands right above the package it serves.
var kits = map[string]string{
	"internal/testport":              "",
	"internal/db/dbtest":             "internal/db",
	"internal/seal/sealtest":         "internal/seal",
	"internal/objstore/objstoretest": "internal/objstore",

	"internal/identity/directory/directorytest":   "internal/identity/directory",
	"internal/identity/federation/federationtest": "internal/identity/federation",
	"internal/identity/identitytest":              "internal/identity",
}

// free are programs that measure and try the product from outside; the ladder does not bind them.
var free = []string{"bench", "conformance", "soak", "interop", "examples", "browser"}

// stdOnly are packages that others take into their programs: each module they need is one that our users must trust.
var stdOnly = []string{"api", "client"}

// testOnly are modules (and one package of the library) that only tests and kits import.
var testOnly = []string{"testing", "net/http/httptest", "github.com/google/go-cmp", "github.com/rogpeppe/go-internal", "pgregory.net/rapid",
	"github.com/coreos/go-oidc/v3", "golang.org/x/oauth2", "github.com/chromedp/chromedp", "github.com/chromedp/cdproto"}

// bannedImports are packages that code which ships may not import, with the reason and where it may after all.
var bannedImports = map[string]ban{
	"math/rand":     {"a secret must never come from it", jitter},
	"math/rand/v2":  {"a secret must never come from it", jitter},
	"text/template": {"its output is not escaped; html/template is", nil},
	"log":           {"logging is injected: take a *slog.Logger", nil},
}

// jitter are the packages that spread retries and polls.
var jitter = []string{"internal/db", "internal/jobs", "internal/rotation", "internal/agent", "internal/testport"}

// clocks may ask the machine what time it is: the package that is there for it; the SDK, whose users get no Clock of
// ours to hand in; and where a deadline goes to the operating system, which knows no other time.
var clocks = []string{"internal/clock", "client", "internal/route/typed.go", "internal/route/body.go"}

// bannedNames are names of packages that code which ships may not use.
var bannedNames = map[string]ban{
	"time.Now":                    {"time comes from a clock.Clock or the transaction", clocks},
	"time.Since":                  {"time comes from a clock.Clock or the transaction", clocks},
	"time.Until":                  {"time comes from a clock.Clock or the transaction", clocks},
	"net/http.DefaultClient":      {"it has no timeout", nil},
	"net/http.Get":                {"it uses http.DefaultClient, which has no timeout", nil},
	"net/http.Head":               {"it uses http.DefaultClient, which has no timeout", nil},
	"net/http.Post":               {"it uses http.DefaultClient, which has no timeout", nil},
	"net/http.PostForm":           {"it uses http.DefaultClient, which has no timeout", nil},
	"net/http.HandleFunc":         {"it uses the global mux", nil},
	"net/http.Handle":             {"it uses the global mux", nil},
	"log/slog.Default":            {"logging is injected", nil},
	"log/slog.SetDefault":         {"logging is injected", nil},
	"os.Exit":                     {"only main ends the process: return an error", []string{"cmd/mintmark", "interop/person"}},
	"crypto/elliptic.GenerateKey": {"use crypto/ecdsa", nil},
}

type ban struct {
	why    string
	except []string // packages or files
}

// emptyNames say nothing about what is inside.
var emptyNames = regexp.MustCompile(`^(utils?|common|helpers?|manager|misc|shared|base)$`)

func TestModuleKeepsItsRules(t *testing.T) {
	tree := os.DirFS(".")
	found, packages, err := check(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
	// Should the walk ever go blind, it would find nothing to complain about.
	if packages < 10 {
		t.Errorf("only %d packages were read", packages)
	}
}

// A rule that cannot fail is no rule: each is broken once here.
func TestRulesBite(t *testing.T) {
	const doc = "// Package x guards x.\n"
	for name, c := range map[string]struct {
		file, source, want string
	}{
		"up":                  {"internal/db/x.go", doc + `package db; import _ "` + module + `/internal/audit"`, "stands above"},
		"own row":             {"internal/jobs/x.go", doc + `package jobs; import _ "` + module + `/internal/audit"`, "same row"},
		"up in a test":        {"internal/db/x_test.go", `package db_test; import _ "` + module + `/internal/audit"`, "stands above"},
		"no place":            {"internal/new/x.go", doc + `package new; import _ "fmt"`, "no place on the ladder"},
		"import of no place":  {"internal/db/x.go", doc + `package db; import _ "` + module + `/internal/new"`, "no place on the ladder"},
		"kit in code":         {"internal/route/x.go", doc + `package route; import _ "` + module + `/internal/db/dbtest"`, "only for tests"},
		"kit too low":         {"internal/db/dbtest/x.go", doc + `package dbtest; import _ "` + module + `/internal/route"`, "stands above"},
		"server in SDK":       {"client/x.go", doc + `package client; import _ "` + module + `/internal/redact"`, "may not import"},
		"server in agent":     {"internal/agent/x.go", doc + `package agent; import _ "` + module + `/internal/db"`, "may not import"},
		"agent in server":     {"internal/web/x.go", doc + `package web; import _ "` + module + `/internal/agent"`, "client side"},
		"foreign in api":      {"api/x.go", doc + `package api; import _ "go.yaml.in/yaml/v3"`, "standard library only"},
		"domain in main":      {"cmd/mintmark/main.go", "// Command mintmark runs.\npackage main; import _ \"" + module + `/internal/oauth"`, "may not import"},
		"testing in code":     {"internal/db/x.go", doc + `package db; import _ "testing"`, "only for tests"},
		"cmp in code":         {"internal/db/x.go", doc + `package db; import _ "github.com/google/go-cmp/cmp"`, "only for tests"},
		"random":              {"internal/seal/x.go", doc + `package seal; import _ "math/rand/v2"`, "never come from it"},
		"text template":       {"internal/web/x.go", doc + `package web; import _ "text/template"`, "not escaped"},
		"log":                 {"internal/web/x.go", doc + `package web; import _ "log"`, "injected"},
		"now":                 {"internal/jobs/x.go", doc + `package jobs; import "time"; var _ = time.Now()`, "clock.Clock"},
		"now as value":        {"internal/jobs/x.go", doc + `package jobs; import "time"; var now = time.Now`, "clock.Clock"},
		"now by another name": {"internal/jobs/x.go", doc + `package jobs; import std "time"; var _ = std.Since(std.Time{})`, "clock.Clock"},
		"dot import":          {"internal/jobs/x.go", doc + `package jobs; import . "time"`, "dot import"},
		"default client":      {"internal/web/x.go", doc + `package web; import "net/http"; var _ = http.DefaultClient`, "no timeout"},
		"http.Get":            {"internal/web/x.go", doc + `package web; import "net/http"; var _, _ = http.Get("")`, "no timeout"},
		"global logger":       {"internal/web/x.go", doc + `package web; import "log/slog"; var _ = slog.Default()`, "injected"},
		"exit":                {"internal/app/x.go", doc + `package app; import "os"; func f() { os.Exit(1) }`, "only main"},
		"skip":                {"internal/app/x_test.go", `package app; import "testing"; func TestX(t *testing.T) { t.Skip("no database") }`, "skips"},
		"empty name":          {"internal/util/x.go", doc + `package util`, "says nothing"},
		"empty file name":     {"internal/db/helpers.go", doc + `package db`, "says nothing"},
		"no comment":          {"internal/db/x.go", `package db`, "no package comment"},
		"not Go":              {"internal/db/x.go", `package`, "expected"},
	} {
		t.Run(name, func(t *testing.T) {
			found, _, err := check(fstest.MapFS{c.file: {Data: []byte(c.source)}})
			if err != nil {
				found = append(found, err.Error())
			}
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, c.want) }) {
				t.Errorf("found %q, want something with %q", found, c.want)
			}
		})
	}
	good := fstest.MapFS{
		"internal/db/x.go":          {Data: []byte(doc + `package db; import ("time"; _ "math/rand/v2"; _ "` + module + `/internal/access"); var _ time.Duration`)},
		"internal/db/x_test.go":     {Data: []byte(`package db_test; import ("time"; _ "testing"; _ "` + module + `/internal/db/dbtest"); var _ = time.Now()`)},
		"internal/db/local.go":      {Data: []byte(`package db; type t struct{ Now func() }; func f(time t) { time.Now() }`)},
		"internal/db/dbtest/x.go":   {Data: []byte(doc + `package dbtest; import (_ "testing"; _ "` + module + `/internal/db")`)},
		"internal/db/testdata/x.go": {Data: []byte(`not Go`)},
		"bench/soak/main.go":        {Data: []byte("// Command soak tries.\npackage main; import _ \"" + module + `/internal/db"`)},
	}
	if found, n, err := check(good); err != nil || len(found) > 0 || n != 3 {
		t.Errorf("a good tree: found %q in %d packages, error %v", found, n, err)
	}
}

// check reads every package of tree and answers what breaks a rule, and how many packages it read.
func check(tree fs.FS) (found []string, packages int, err error) {
	commented := map[string]bool{} // directory → a file of it has a package comment
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			// Others may build and test beside us: what has gone in the meantime breaks no rule.
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (base == "testdata" || base == "bin" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		c := checker{file: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go")}
		c.names()
		c.imports(f)
		c.uses(f)
		found = append(found, c.found...)
		if !c.test {
			commented[c.dir] = commented[c.dir] || hasComment(f)
		}
		return nil
	})
	for dir, ok := range commented {
		if !ok {
			found = append(found, dir+": no package comment that says what it guards")
		}
	}
	slices.Sort(found)
	return found, len(commented), err
}

func hasComment(f *ast.File) bool {
	text := f.Doc.Text()
	return strings.HasPrefix(text, "Package ") || f.Name.Name == "main" && strings.HasPrefix(text, "Command ")
}

// checker collects what breaks a rule in one file.
type checker struct {
	file, dir string
	test      bool
	found     []string
}

func (c *checker) complain(format string, args ...any) {
	c.found = append(c.found, c.file+": "+fmt.Sprintf(format, args...))
}

func (c *checker) names() {
	for part := range strings.SplitSeq(strings.TrimSuffix(c.file, ".go"), "/") {
		for word := range strings.SplitSeq(part, "_") {
			if emptyNames.MatchString(word) {
				c.complain("the name %q says nothing: name the thing inside", word)
			}
		}
	}
}

func (c *checker) imports(f *ast.File) {
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			c.complain("import %s", spec.Path.Value)
			continue
		}
		if spec.Name != nil && spec.Name.Name == "." {
			c.complain("dot import of %s hides where names come from", p)
		}
		if own, ok := strings.CutPrefix(p, module+"/"); ok {
			c.own(own)
		} else {
			c.foreign(p)
		}
	}
}

// foreign checks an import from outside the module.
func (c *checker) foreign(p string) {
	if c.test {
		return
	}
	if b, ok := bannedImports[p]; ok && !c.among(b.except) && !c.free() {
		c.complain("imports %s: %s", p, b.why)
	}
	first, _, _ := strings.Cut(p, "/")
	if slices.Contains(stdOnly, c.dir) && strings.Contains(first, ".") {
		c.complain("imports %s: %s takes the standard library only", p, c.dir)
	}
	if _, kit := kits[c.dir]; !kit && !c.free() && slices.ContainsFunc(testOnly, func(t string) bool { return p == t || strings.HasPrefix(p, t+"/") }) {
		c.complain("imports %s, which is only for tests", p)
	}
}

// own checks an import of a package of this module.
func (c *checker) own(p string) {
	if p == c.dir || c.free() {
		return
	}
	if below, kit := kits[p]; kit {
		if _, fromKit := kits[c.dir]; !c.test && !fromKit {
			c.complain("imports %s, which is only for tests", p)
		}
		// A test of the kit's own package may use the kit: an external test package makes no cycle of it.
		if below == "" || below == c.dir {
			return
		}
		p = below
		if p == kits[c.dir] {
			return
		}
	}
	if allowed, ok := outside[c.dir]; ok {
		if !slices.Contains(allowed, p) {
			c.complain("may not import %s (only %s)", p, strings.Join(allowed, ", "))
		}
		return
	}
	dir := c.dir
	if serves, kit := kits[dir]; kit {
		if p == serves {
			return
		}
		dir = serves
	}
	from, to := row(dir), row(p)
	if _, clientSide := outside[p]; clientSide {
		if !slices.Contains(fromClientSide[""], p) && !slices.Contains(fromClientSide[dir], p) {
			c.complain("imports %s, which is of the client side", p)
		}
		return
	}
	switch {
	case from < 0 && dir == "." && c.test:
		// The tests of the whole module look at everything.
	case from < 0:
		c.complain("%s has no place on the ladder", dir)
	case to < 0:
		c.complain("imports %s, which has no place on the ladder", p)
	case from == to:
		c.complain("imports %s of the same row: declare an interface and let app join them", p)
	case from < to:
		c.complain("imports %s, which stands above it", p)
	}
}

// uses checks the names that the file takes from packages, and that a package stands somewhere even if it imports none
// of ours.
func (c *checker) uses(f *ast.File) {
	_, known := outside[c.dir]
	_, kit := kits[c.dir]
	if !c.test && !known && !kit && !c.free() && row(c.dir) < 0 {
		c.complain("%s has no place on the ladder", c.dir)
	}
	packages := map[string]string{} // name in this file → import path
	for _, spec := range f.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		name := path.Base(p)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		packages[name] = p
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if c.test && skips(sel) {
			c.complain("a test skips: what it needs must be there, or the test must fail")
		}
		x, ok := sel.X.(*ast.Ident)
		if !ok || c.test || c.free() {
			return true
		}
		name := packages[x.Name] + "." + sel.Sel.Name
		if b, ok := bannedNames[name]; ok && !c.among(b.except) {
			c.complain("uses %s: %s", name, b.why)
		}
		return true
	})
}

// skips tells t.Skip and its kin from methods of that name on other things, such as rapid's step that does not apply.
func skips(sel *ast.SelectorExpr) bool {
	x, ok := sel.X.(*ast.Ident)
	return ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name)
}

func (c *checker) among(list []string) bool {
	return slices.Contains(list, c.dir) || slices.Contains(list, c.file)
}

func (c *checker) free() bool {
	return slices.ContainsFunc(free, func(f string) bool { return c.dir == f || strings.HasPrefix(c.dir, f+"/") })
}

// row is where a package stands on the ladder, or -1.
func row(dir string) int {
	return slices.IndexFunc(ladder, func(r []string) bool { return slices.Contains(r, dir) })
}
