package mintmark_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// read is a file of the module as text.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Documents drift unless something compares them with the code.

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path == ".cache" {
			return fs.SkipDir // what scripts downloaded is not ours to keep
		}
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		for _, m := range link.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			seen++
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: link to %s: %v", path, m[1], err)
			}
		}
		return nil
	})
	if err != nil || seen < 10 {
		t.Errorf("%d links, %v", seen, err)
	}
}

// A generated secret is known by its prefix, to people and to scanners of source code: no two kinds share one.
func TestEveryPrefixIsOneThing(t *testing.T) {
	text := read(t, "docs/formats.md")
	prefix := regexp.MustCompile(`= +"(mm[a-z]_)`)
	seen := map[string]string{} // prefix → the file that declares it
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range prefix.FindAllStringSubmatch(read(t, path), -1) {
			if other := seen[m[1]]; other != "" {
				t.Errorf("%s is a prefix in %s and in %s", m[1], other, path)
			}
			seen[m[1]] = path
			if !strings.Contains(text, "`"+m[1]+"`") {
				t.Errorf("%s of %s is not in docs/formats.md", m[1], path)
			}
		}
		return nil
	})
	if err != nil || len(seen) < 10 {
		t.Errorf("%d prefixes, %v", len(seen), err)
	}
}

func TestEveryMetricIsDocumented(t *testing.T) {
	text := read(t, "docs/operations.md")
	name := regexp.MustCompile(`"(mintmark_[a-z0-9_]+_(total|seconds|bytes|size|broken|running|generation|flight|versions|problems|deliveries|tokens|addresses|revocations|servers_down|sync_held))"`)
	seen := map[string]bool{}
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range name.FindAllStringSubmatch(read(t, path), -1) {
			seen[m[1]] = true
			if !strings.Contains(text, "`"+m[1]+"`") {
				t.Errorf("%s has a metric %s that docs/operations.md does not name", path, m[1])
			}
		}
		return nil
	})
	if err != nil || len(seen) < 20 {
		t.Errorf("%d metrics, %v", len(seen), err)
	}
	for _, m := range regexp.MustCompile("`(mintmark_[a-z0-9_]+)`").FindAllStringSubmatch(text, -1) {
		if !seen[m[1]] {
			t.Errorf("docs/operations.md names a metric %s that does not exist", m[1])
		}
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "internal/app/config.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = s
			}
		}
		return true
	})
	var settings []string
	var walk func(s *ast.StructType, prefix string)
	walk = func(s *ast.StructType, prefix string) {
		for _, field := range s.Fields.List {
			if field.Tag == nil {
				continue
			}
			tag, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			path := prefix + reflect.StructTag(tag).Get("yaml")
			if name, ok := field.Type.(*ast.Ident); ok && structs[name.Name] != nil {
				walk(structs[name.Name], path+".")
				continue
			}
			settings = append(settings, path)
		}
	}
	walk(structs["Config"], "")
	if len(settings) < 15 {
		t.Fatalf("only %d settings were found", len(settings))
	}
	text := read(t, "docs/operations.md")
	for _, s := range settings {
		if !strings.Contains(text, "`"+s+"`") {
			t.Errorf("docs/operations.md does not name the setting %s", s)
		}
	}
	for _, field := range structs["Store"].Fields.List {
		tag, _ := strconv.Unquote(field.Tag.Value)
		if name := reflect.StructTag(tag).Get("yaml"); !strings.Contains(text, name+": ") {
			t.Errorf("docs/operations.md does not show the setting %s of a store", name)
		}
	}
}

func TestEveryDependencyHasAReason(t *testing.T) {
	direct := map[string]bool{} // an indirect one has a comment behind its version
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		direct[m[1]] = true
	}
	if len(direct) < 10 {
		t.Fatalf("only %d direct dependencies were found", len(direct))
	}
	text := read(t, "docs/dependencies.md")
	for m := range direct {
		if !strings.Contains(text, "| "+m+" |") {
			t.Errorf("docs/dependencies.md gives no reason for %s", m)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+\.\S+/\S+) \|`).FindAllStringSubmatch(text, -1) {
		if !direct[m[1]] {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not", m[1])
		}
	}
}

// docs/attacks.md names tests. Each must exist, in the package that it says, and a case without one must say why.
func TestAttacksAreTried(t *testing.T) {
	exists := map[string]bool{} // by name and package
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range declared.FindAllStringSubmatch(read(t, path), -1) {
				exists[m[1]+" "+filepath.Base(filepath.Dir(path))] = true
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (B\d+\.\d+|oidcc-[\w-]+) \| .* \| (.*) \|$`)
	named := regexp.MustCompile("((?:`Test\\w+`(?:, )?)+) \\((\\w+)")
	seen := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(read(t, "docs/attacks.md"), -1) {
		number, tests := m[1], m[2]
		if seen[number] {
			t.Errorf("%s is there twice", number)
		}
		seen[number] = true
		names := 0
		for _, group := range named.FindAllStringSubmatch(tests, -1) {
			for _, name := range regexp.MustCompile(`Test\w+`).FindAllString(group[1], -1) {
				names++
				if !exists[name+" "+group[2]] {
					t.Errorf("%s: there is no %s in package %s", number, name, group[2])
				}
			}
		}
		if names != strings.Count(tests, "`Test") || names == 0 && !strings.Contains(tests, "Not here: ") && !strings.Contains(tests, "Open: ") {
			t.Errorf("%s: name the package of each test, or say why there is none: %s", number, tests)
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d cases were found", len(seen))
	}
}
