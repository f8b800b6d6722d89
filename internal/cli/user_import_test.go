package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
)

// An import reads a file of any length in batches, and reports each line that is refused by its number, whoever refuses it.
func TestUserImport(t *testing.T) {
	alone(t)
	var b strings.Builder
	for i := 1; i <= 250; i++ {
		switch i {
		case 3:
			b.WriteString("{not json, hunter2}\n")
		case 5:
			b.WriteString(`{"username":"x","admin":true}` + "\n")
		case 7:
			b.WriteString(`{"username":7,"password_hash":"hunter2"}` + "\n")
		case 9:
			b.WriteString(`{"username":"` + strings.Repeat("x", 70<<10) + `"}` + "\n")
		case 11:
			b.WriteString("\n")
		case 13:
			b.WriteString(`{"username":"x"} {"username":"y"}` + "\n")
		case 200:
			b.WriteString(`{"username":"taken","password_hash":"hunter2"}` + "\n")
		default:
			fmt.Fprintf(&b, `{"username":"u%d"}`+"\n", i)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "people.jsonl")
	for name, text := range map[string]string{file: strings.TrimSuffix(b.String(), "\n"), filepath.Join(dir, "token"): "mmk_test"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("MINTMARK_TOKEN_FILE", filepath.Join(dir, "token"))
	batches, fails := []int{}, 0
	s := newServer(t, map[string]any{"POST /api/users/import": func(w http.ResponseWriter, r *http.Request) {
		var in api.ImportUsers
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if batches = append(batches, len(in.Rows)); len(batches) == fails {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		out := api.ImportedUsers{Refused: []api.RefusedRow{}}
		for i, row := range in.Rows {
			if row.Username == "taken" {
				out.Refused = append(out.Refused, api.RefusedRow{Row: i, Field: "username", Code: "user_exists", Reason: "Somebody has the name."})
				continue
			}
			out.Created++
		}
		json.NewEncoder(w).Encode(out)
	}})
	t.Setenv("MINTMARK_URL", s.URL)
	r := run(t, "", "user", "import", "customers", file)
	if strings.Contains(r.stdout+r.stderr, "hunter2") || fmt.Sprint(batches) != "[100 100 44]" {
		t.Errorf("batches %v\n%s", batches, r.golden())
	}
	compare(t, "commands/user-import.txt", r.golden())
	batches = nil
	r = run(t, b.String(), "user", "import", "customers", "-", "--dry-run", "--from-line", "240")
	if fmt.Sprint(batches) != "[11]" || !strings.Contains(r.stderr, "would be 11 created") {
		t.Errorf("batches %v\n%s", batches, r.golden())
	}
	batches, fails = nil, 2
	if r = run(t, "", "user", "import", "customers", file); !strings.Contains(r.stderr, "--from-line 107") || len(batches) < 2 {
		t.Errorf("batches %v\n%s", batches, r.golden())
	}
}

// A file of CSV goes the same way, from its records on.
func TestUserImportCSV(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "people.CSV")
	text := "username;display_name;groups;attribute.seats;password_hash\njane;\"Jane\nDoe\";gold;12;\njoe;x\ntaken;Tim;;;hunter2\n\nlast;\"hunter2\n"
	for name, text := range map[string]string{file: text, filepath.Join(dir, "token"): "mmk_test", filepath.Join(dir, "bad.csv"): "username,hunter2\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("MINTMARK_TOKEN_FILE", filepath.Join(dir, "token"))
	var got []api.ImportUser
	s := newServer(t, map[string]any{"POST /api/users/import": func(w http.ResponseWriter, r *http.Request) {
		var in api.ImportUsers
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		got = append(got, in.Rows...)
		json.NewEncoder(w).Encode(api.ImportedUsers{Created: 1, Refused: []api.RefusedRow{{Row: len(in.Rows) - 1, Field: "username", Code: "user_exists", Reason: "Somebody has the name."}}})
	}})
	t.Setenv("MINTMARK_URL", s.URL)
	r := run(t, "", "user", "import", "customers", file)
	if len(got) != 2 || got[0].DisplayName != "Jane\nDoe" || got[0].Groups[0] != "gold" || got[0].AttributeTexts["seats"] != "12" || strings.Contains(r.stdout+r.stderr, "hunter2") {
		t.Errorf("%+v\n%s", got, r.golden())
	}
	for _, want := range []string{`{"line":4,"code":"bad_line"`, `{"line":5,"field":"username","code":"user_exists"`, `{"line":7,"code":"bad_line","reason":"A quote is not closed`} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("the report lacks %s:\n%s", want, r.golden())
		}
	}
	if r = run(t, "", "user", "import", "customers", filepath.Join(dir, "bad.csv")); r.code == 0 || !strings.Contains(r.stderr, "column 2") || strings.Contains(r.stderr, "hunter2") {
		t.Errorf("%s", r.golden())
	}
	got = nil
	if run(t, text, "user", "import", "customers", "-", "--format", "csv", "--from-line", "5"); len(got) != 1 || got[0].Username != "taken" {
		t.Errorf("%+v", got)
	}
}
