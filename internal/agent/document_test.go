//go:build unix

package agent

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// Good documents and bad ones, for the table and as seeds of the fuzz test.
var documents = []struct {
	name, content string
	good          bool
}{
	{userFile, `{"application_username":"u","application_password":"p"}`, true},
	{userFile, " {\n\"application_password\":\"p\", \"application_username\":\"ü\"}\n", true},
	{clientFile, `{"client_id":"c","client_secret":"s"}`, true},
	{clientFile, `{"client_id":"c","client_secret":null}`, true},
	{userFile, `{"application_username":"u","application_password":null}`, false},
	{clientFile, `{"client_id":null,"client_secret":"s"}`, false},
	{clientFile, `{"client_id":"c","client_secret":""}`, false},
	{clientFile, `{"client_id":"c"}`, false},
	{clientFile, `{"client_id":"c","client_secret":"s","client_secret":"t"}`, false},
	{clientFile, `{"client_id":"c","client_secret":"s","more":1}`, false},
	{clientFile, `{"client_id":"c","Client_Secret":"s"}`, false},
	{clientFile, `{"client_id":"c","client_secret":7}`, false},
	{clientFile, `{"client_id":"c","client_secret":{"a":"b"}}`, false},
	{clientFile, `{"client_id":"c","client_secret":"s"}{}`, false},
	{clientFile, `{"client_id":"c","client_secret":"s"} x`, false},
	{clientFile, `{"client_id":"c","client_secret":"s"`, false},
	{clientFile, `[{"client_id":"c","client_secret":"s"}]`, false},
	{clientFile, `"client_id"`, false},
	{clientFile, `null`, false},
	{clientFile, `{}`, false},
	{clientFile, ``, false},
	{clientFile, " \n", false},
	{clientFile, "{\"client_id\":\"\xff\",\"client_secret\":\"s\"}", false},
	{userFile, `{"client_id":"c","client_secret":"s"}`, false},
	{clientFile, `{"client_id":"c","client_secret":"` + strings.Repeat("s", maxSize) + `"}`, false},
}

func TestShape(t *testing.T) {
	for _, d := range documents {
		if err := checkShape(d.name, []byte(d.content)); (err == nil) != d.good {
			t.Errorf("%s %.80s: %v", d.name, d.content, err)
		}
	}
}

func FuzzShape(f *testing.F) {
	seeds := 0
	for _, d := range documents {
		f.Add(d.name == userFile, []byte(d.content))
		seeds++
	}
	if seeds < 20 {
		f.Fatalf("only %d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, isUser bool, b []byte) {
		name := clientFile
		if isUser {
			name = userFile
		}
		err := checkShape(name, b)
		if err != nil {
			return
		}
		// What is accepted must be read by an ordinary client as it was meant.
		var v map[string]*string
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("accepted, but %v: %s", err, b)
		}
		if len(v) != 2 || isUser && (v["application_username"] == nil || v["application_password"] == nil) || !isUser && v["client_id"] == nil {
			t.Fatalf("accepted: %s", b)
		}
	})
}

func FuzzCredentialsFile(f *testing.F) {
	seeds := []string{"sales:K:S", "# c\n\nother:a\nsales:K:S:T\n", "sales:K", "sales::", ":::", "sales : K : S", "\x00", strings.Repeat("x", 1<<17)}
	if len(seeds) < 8 {
		f.Fatal("seeds are missing")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, secret, err := findCredentials(strings.NewReader(s), "sales")
		if err == nil && (key == "" || secret == "" || strings.ContainsAny(key, ":\n")) {
			t.Fatalf("key %q, secret %q of %q", key, secret, s)
		}
		if err != nil && (key != "" || secret != "") {
			t.Fatalf("an answer with an error: %q %q", key, secret)
		}
	})
}

func TestErrorsAboutShapeDoNotRepeatValues(t *testing.T) {
	for _, b := range []string{`{"client_id":"hunter2","client_secret":7}`, `hunter2`, `{"hunter2":1}`, `{"client_id":"c","client_secret":"hunter2"}x`} {
		if err := checkShape(clientFile, []byte(b)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", b, err)
		}
	}
}

func TestHookEnvironmentHasNoCredentials(t *testing.T) {
	got := hookEnvironment([]string{"PATH=/bin", "AWS_SECRET_ACCESS_KEY=x", "AWS_ACCESS_KEY_ID=x", "AWS_SESSION_TOKEN=x", "AWS_REGION=r", "MINTMARK_DIR=old"})
	if strings.Join(got, " ") != "PATH=/bin AWS_REGION=r" {
		t.Errorf("%v", got)
	}
	if len(hookEnvironment(os.Environ())) == 0 {
		t.Error("nothing is left")
	}
}

func TestPauses(t *testing.T) {
	for range 1000 {
		if d := jitter(100); d < 80 || d > 121 {
			t.Fatalf("jitter made %d of 100", d)
		}
	}
	var got []int
	for failures := 1; failures <= 6; failures++ {
		got = append(got, int(backoff(60, 600, failures)))
	}
	if want := []int{60, 120, 240, 480, 600, 600}; !equal(got, want) {
		t.Errorf("back-off %v, want %v", got, want)
	}
	if d := backoff(10, 600, 1<<20); d != 600 {
		t.Errorf("after a million failures: %d", d)
	}
}

func equal(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
