package mail

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

const hostile = `<img src=x onerror=alert(1)>"'&{0}`

func TestRender(t *testing.T) {
	looks, err := look.NewSet(look.Settings{Imprint: "https://example.org/imprint"}, map[string]look.Settings{"customers": {Title: "Shop & Co", Colour: "#ffcc00", Language: "de", Help: "mailto:help@example.org"}}, look.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := Letter{Kind: "reset", To: "jane@example.org", Name: hostile, Subject: "Choose a new password", Label: "Choose a new password", Link: secretLink, Realm: "customers",
		Lines: []string{Fill("Somebody, probably you, asked for a new password for the account {0} ({1}).", hostile, "customers"), "Said by nobody."}, After: []string{"An administrator did it."}}
	for _, language := range []string{"", "de", "en", "xx"} {
		l.Language = language
		m, err := l.Render(looks)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string][]string{"de": {"Neues Passwort wählen", "Guten Tag ", "Jemand, vermutlich Sie", "Das war die Administration."}, "en": {"Choose a new password", "Hello ", "Somebody, probably you", "An administrator did it."}}[m.Language]
		if want == nil || m.Subject != want[0] || m.FromName != "Shop & Co" || m.To != l.To || language == "en" && m.Language != "en" || language != "en" && m.Language != "de" {
			t.Errorf("%q: %+v", language, m)
		}
		for _, text := range append(want, "Said by nobody.", secretLink) {
			if !strings.Contains(m.Text, text) || !strings.Contains(m.HTML, text) {
				t.Errorf("%q: no %q in\n%s\n%s", language, text, m.Text, m.HTML)
			}
		}
		if strings.Contains(m.HTML, "<img") || strings.Contains(m.Text+m.HTML, gap) || !strings.Contains(m.Text, hostile) || !strings.Contains(m.HTML, "Shop &amp; Co") {
			t.Errorf("%q: %s", language, m.HTML)
		}
		// Opening it tells nobody: only its links lead anywhere.
		if loads := regexp.MustCompile(`(?i)(src|srcset|background|poster|data)=|url\(|@import|<link|<script|<iframe|<object`).FindString(strings.ReplaceAll(m.HTML, "src=x", "")); loads != "" {
			t.Errorf("it loads something: %s", loads)
		}
		if !strings.Contains(m.HTML, "prefers-color-scheme:dark") || !strings.Contains(m.HTML, "#ffcc00") || !strings.Contains(m.HTML, `name="color-scheme" content="light dark"`) || strings.Contains(m.HTML, "<base") {
			t.Errorf("%q: %s", language, m.HTML)
		}
		if !strings.Contains(m.HTML, `href="https://example.org/imprint"`) || !strings.Contains(m.HTML, `href="mailto:help@example.org"`) || !strings.Contains(m.Text, "https://example.org/imprint") || len(m.HTML) > 20_000 {
			t.Errorf("%q: %s", language, m.HTML)
		}
	}
	if m := message(t, letter()); m.FromName != "" || m.Language != "en" || !strings.Contains(m.HTML, ">mintmark<") {
		t.Errorf("the product's own: %+v", m)
	}
}

// sentence is the text of a literal that begins like a sentence, or "".
func sentence(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil || !regexp.MustCompile(`^[A-Z].* `).MatchString(text) {
		return ""
	}
	return text
}

// Each text of each letter has a translation into each language, and no translation is of nothing.
func TestEveryLetterIsTranslated(t *testing.T) {
	said := map[string]bool{"Hello,": true, "Hello {0},": true, "Or copy this address into your browser:": true, "Help": true, "Privacy": true, "Imprint": true}
	files, _ := filepath.Glob("../identity/account/*.go")
	letters := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		take := func(n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if sum, ok := n.(*ast.BinaryExpr); ok { // a text that is put together is in no language's file
					if text := sentence(sum.X) + sentence(sum.Y); text != "" {
						t.Errorf("%s: %q is a part of a text: write the whole, with gaps for mail.Fill", name, text)
					}
				}
				if e, ok := n.(ast.Expr); ok && sentence(e) != "" {
					said[sentence(e)] = true
				}
				return true
			})
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.CompositeLit:
				if s, ok := x.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Letter" {
					letters++
					for _, e := range x.Elts {
						field := e.(*ast.KeyValueExpr)
						if slices.Contains([]string{"Subject", "Lines", "Label", "After"}, field.Key.(*ast.Ident).Name) {
							take(field.Value)
						}
						if lit, ok := field.Value.(*ast.BasicLit); ok && field.Key.(*ast.Ident).Name == "Label" {
							if text, err := strconv.Unquote(lit.Value); err == nil {
								said[text] = true
							}
						}
					}
				}
			case *ast.CallExpr:
				if s, ok := x.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "notice" || s.Sel.Name == "noticeTo") {
					take(x)
				}
			case *ast.AssignStmt: // texts on their way to a letter; those of refusals are not
				for _, v := range x.Rhs {
					if list, ok := v.(*ast.CompositeLit); ok {
						take(list)
					}
					if x, ok := v.(*ast.IndexExpr); ok { // one of a table of texts
						take(x)
					}
					if _, ok := v.(*ast.BinaryExpr); ok {
						take(v)
					}
					if lit, ok := v.(*ast.BasicLit); ok {
						take(lit)
					}
					if call, ok := v.(*ast.CallExpr); ok {
						if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "append" {
							take(call)
						}
					}
				}
			}
			return true
		})
	}
	if letters < 6 || len(said) < 35 {
		t.Fatalf("%d letters, %d texts", letters, len(said))
	}
	for language, known := range texts {
		for text := range said {
			if known[text] == "" {
				t.Errorf("%s: no text for %q", language, text)
			}
		}
		for text, translated := range known {
			if !said[text] {
				t.Errorf("%s: no letter says %q", language, text)
			}
			gaps := regexp.MustCompile(`\{\d\}`)
			a, b := gaps.FindAllString(text, -1), gaps.FindAllString(translated, -1)
			slices.Sort(a)
			slices.Sort(b)
			if !slices.Equal(a, b) {
				t.Errorf("%s: the gaps of %q are others in %q", language, text, translated)
			}
		}
	}
	if _, err := os.Stat("text/de.txt"); err != nil || len(Languages()) != len(texts)+1 {
		t.Errorf("%v: %v", Languages(), err)
	}
}

// A person gets letters in the language in which she last used the pages, unless the page that asked has another.
func TestLanguageOfAPerson(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			d := dbtest.Open(t, engine, nil)
			b := NewOutbox(d, sealtest.New(t, d), Options{Mailbox: true, Domain: "mint.example.org"})
			write := func(f func(tx db.WriteTx) error) {
				t.Helper()
				if err := d.Write(ctx, f); err != nil {
					t.Fatal(err)
				}
			}
			write(func(tx db.WriteTx) error {
				_, err := tx.Exec(ctx, `INSERT INTO users (id, realm, username, display_name, admin, created, created_by, enabled_since, disabled) VALUES ('usr_1', 'employees', 'jane', 'Jane', FALSE, 1, '', 1, 0)`)
				return err
			})
			kept := func(l Letter) string {
				t.Helper()
				l.Person = "usr_1"
				write(func(tx db.WriteTx) error { return b.Put(ctx, tx, l) })
				var out string
				if err := d.Read(ctx, func(tx db.ReadTx) error {
					var mailID string
					if err := tx.QueryRow(ctx, `SELECT id FROM mails ORDER BY created DESC, id DESC LIMIT 1`).Scan(&mailID); err != nil {
						return err
					}
					stored, err := b.load(ctx, tx, mailID)
					out = stored.Language
					return err
				}); err != nil {
					t.Fatal(err)
				}
				return out
			}
			note := func(language string) {
				t.Helper()
				write(func(tx db.WriteTx) error { return b.NoteLanguage(ctx, tx, "usr_1", language) })
			}
			if got := kept(letter()); got != "" {
				t.Errorf("nobody knows it, and it is %q", got)
			}
			note("de")
			note("de")
			note("tlh") // nobody writes that
			if got := kept(letter()); got != "de" {
				t.Errorf("noted de, got %q", got)
			}
			asked := letter()
			asked.Language = "en"
			if got := kept(asked); got != "en" {
				t.Errorf("the page was in English, and the letter is in %q", got)
			}
			note("en")
			if got := kept(letter()); got != "en" {
				t.Errorf("noted en, got %q", got)
			}
			write(func(tx db.WriteTx) error { return b.ForgetPerson(ctx, tx, "usr_1") })
			if got := kept(letter()); got != "" {
				t.Errorf("forgotten, and it is %q", got)
			}
		})
	}
}
