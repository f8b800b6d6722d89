package roster_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/roster"
)

// all reads to the end: the people, and for each record that is wrong its line and code.
func all(t testing.TB, r *roster.Reader) (people []api.ImportUser, wrong []string) {
	t.Helper()
	for last := 0; ; {
		e, err := r.Next()
		var w *roster.Wrong
		switch {
		case errors.Is(err, io.EOF):
			return people, wrong
		case errors.As(err, &w):
			wrong = append(wrong, fmt.Sprint(w.Line, " ", w.Field, " ", w.Code))
			if w.Line <= last || w.Line > r.Line() {
				t.Fatalf("line %d comes after line %d", w.Line, last)
			}
			last = w.Line
			continue
		case err != nil:
			t.Fatal(err)
		}
		if e.Line <= last || e.Line > r.Line() || e.Size > roster.MaxRecord {
			t.Fatalf("%d bytes at line %d come after line %d", e.Size, e.Line, last)
		}
		last = e.Line
		people = append(people, e.Person)
	}
}

// Lines that a stray quote has joined are all left out, so the refusal names the last of them.
func TestLinesThatAQuoteJoins(t *testing.T) {
	r, err := roster.CSV(strings.NewReader("username,phone\njane,5\" x\njoe,\njim,6\" y\nlast,\n"))
	if err != nil {
		t.Fatal(err)
	}
	var wrong *roster.Wrong
	if _, err := r.Next(); !errors.As(err, &wrong) || wrong.Line != 2 || !strings.Contains(wrong.Reason, "up to 4 ") {
		t.Errorf("%v", err)
	}
	if e, err := r.Next(); err != nil || e.Person.Username != "last" {
		t.Errorf("%v %v", e, err)
	}
}

func TestCSV(t *testing.T) {
	text := "\xef\xbb\xbfusername, display_name ,email_verified,groups,attribute.skills,password_hash\r\n" +
		"jane,\"Doe, \"\"Jane\"\"\",true,a; b;;,Go;SQL,$2b$\r\n" +
		"\r\n" +
		"joe,,,,,\n" +
		"few,x\n" +
		"bad,x,yes,,,\n" +
		"quo\"te,,,,,\n" + // opens one that the next line closes
		"lost\",,,,,\n" +
		"mul,\"one\ntwo\",,,,\n" +
		"utf,\xff,,,,\n" +
		"long," + strings.Repeat("x", roster.MaxRecord) + ",,,,\n" +
		"last,,,,,"
	r, err := roster.CSV(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	people, wrong := all(t, r)
	want := []api.ImportUser{
		{Username: "jane", DisplayName: `Doe, "Jane"`, EmailVerified: true, Groups: []string{"a", "b"}, AttributeTexts: map[string]string{"skills": "Go;SQL"}, PasswordHash: "$2b$"},
		{Username: "joe"}, {Username: "mul", DisplayName: "one\ntwo"}, {Username: "last"},
	}
	if diff := cmp.Diff(want, people); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"5  bad_line", "6 email_verified bad_line", "7  bad_line", "11  bad_text", "12  line_too_long"}, wrong); diff != "" {
		t.Error(diff)
	}
}

func TestHeaders(t *testing.T) {
	for text, good := range map[string]bool{
		"username": true, "username\temail\n": true, "attribute.a;username;groups": true, "\"username\",\"email\"": true,
		"": false, "\n": false, "email": false, "username,username": false, "username,admin": false, "username,attribute.": false, "username,": false, "\"username": false, "hunter2,username": false,
	} {
		_, err := roster.CSV(strings.NewReader(text))
		if (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the file is repeated: %v", err)
		}
	}
}

// A quote that is never closed takes few lines with it, and no more memory than one record.
func TestQuoteThatIsNotClosed(t *testing.T) {
	r, err := roster.CSV(io.MultiReader(strings.NewReader("username,phone\n\"open,1\n"), strings.NewReader(strings.Repeat("x,2\n", 1000))))
	if err != nil {
		t.Fatal(err)
	}
	people, wrong := all(t, r)
	if len(wrong) != 1 || wrong[0] != "2  bad_line" || len(people) < 940 {
		t.Errorf("%d people, %v", len(people), wrong)
	}
}

func TestJSON(t *testing.T) {
	text := `{"username":"jane","attributes":{"a":1}}` + "\n\n{\"username\":7}\n{\"admin\":true}\n{} {}\n\"\n" + `{"username":"` + strings.Repeat("x", roster.MaxRecord) + `"}` + "\n" + `{"username":"joe"}`
	people, wrong := all(t, roster.JSON(strings.NewReader(text)))
	if len(people) != 2 || people[1].Username != "joe" || string(people[0].Attributes["a"]) != "1" {
		t.Errorf("%+v", people)
	}
	if diff := cmp.Diff([]string{"3 username bad_line", "4  bad_line", "5  bad_line", "6  bad_line", "7  line_too_long"}, wrong); diff != "" {
		t.Error(diff)
	}
}

// Whatever a file holds, reading it ends, in bounds, and each record is given out or refused.
func FuzzCSV(f *testing.F) {
	seeds := []string{"username\njane\n", "username;email\n\"a\nb\";c\n", "username,groups\nx,\"a;b\"\n\"", "\xef\xbb\xbfusername\n\"\"\"\n", "username\r\r\nx\r", "username\n" + strings.Repeat("\"\n", 200)}
	for _, seed := range seeds {
		f.Add(seed)
	}
	if len(seeds) != 6 {
		f.Fatal("the seeds are not all there")
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := roster.CSV(strings.NewReader(text))
		if err != nil {
			return
		}
		people, wrong := all(t, r)
		if len(people)+len(wrong) > strings.Count(text, "\n") {
			t.Errorf("%d people and %d refusals of %d lines", len(people), len(wrong), strings.Count(text, "\n"))
		}
	})
}
