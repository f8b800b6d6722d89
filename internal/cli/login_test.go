package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/cli"
	"github.com/mintmark/mintmark/internal/testport"
)

// deviceServer plays the server's part: the person allows at the third poll, or never does.
func deviceServer(t *testing.T, end string) (base string, calls *[]string) {
	t.Helper()
	calls = new([]string)
	polls := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		say := func(status int, doc map[string]any) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			if err := json.NewEncoder(w).Encode(doc); err != nil {
				t.Error(err)
			}
		}
		what := r.URL.Path + " " + r.PostForm.Get("client_id")
		switch {
		case r.URL.Path == "/oauth2/device_authorization":
			*calls = append(*calls, what+" "+r.PostForm.Get("scope"))
			say(200, map[string]any{"device_code": "mmd_secret", "user_code": "BCDF-GHJK", "verification_uri": "https://mint.example.org/device",
				"verification_uri_complete": "https://mint.example.org/device?user_code=BCDF-GHJK", "expires_in": 600, "interval": 5})
		case r.PostForm.Get("device_code") != "":
			polls++
			*calls = append(*calls, what+" "+r.PostForm.Get("device_code"))
			answers := []map[string]any{{"error": "authorization_pending"}, {"error": "slow_down"}, {"error": end}}
			if end == "" && polls == 3 {
				say(200, map[string]any{"access_token": "first", "token_type": "Bearer", "expires_in": 100_000_000, "scope": "openid profile", "refresh_token": "mmr_one", "realm": "customers"})
				return
			}
			say(400, answers[polls-1])
		case r.PostForm.Get("refresh_token") != "":
			*calls = append(*calls, what+" "+r.PostForm.Get("refresh_token")+" "+r.PostForm.Get("scope"))
			if r.PostForm.Get("refresh_token") != "mmr_one" {
				say(400, map[string]any{"error": "invalid_grant"})
				return
			}
			say(200, map[string]any{"access_token": "second", "token_type": "Bearer", "expires_in": 1, "scope": "openid", "refresh_token": "mmr_two", "realm": "customers"})
		case r.URL.Path == "/oauth2/revoke":
			*calls = append(*calls, what+" "+r.PostForm.Get("token"))
			say(200, map[string]any{})
		default:
			t.Errorf("%s %s %v", r.Method, r.URL, r.PostForm)
		}
	}))
	server.Listener.Close()
	server.Listener = testport.Listen(t)
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, calls
}

// From the code on the screen to a token, its renewal, and the end.
func TestLogin(t *testing.T) {
	alone(t)
	base, calls := deviceServer(t, "")
	r := run(t, "", "login", "--server", base, "--client-id", "cli_x")
	if r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "BCDF-GHJK") || !strings.Contains(r.stderr, "https://mint.example.org/device ") || !strings.Contains(r.stderr, "█") {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if strings.Contains(r.stderr, "mmd_secret") || strings.Contains(r.stderr, "mmr_one") || strings.Contains(r.stderr, "first") {
		t.Errorf("a secret is on the screen:\n%s", r.stderr)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "mintmark", "login.json")
	for _, name := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	// Another server on the command line does not get to see it.
	if r := run(t, "", "token", "get", "--server", "http://127.0.0.1:1"); r.code != 0 || r.stdout != "first\n" {
		t.Errorf("token get: exit %d %q %q", r.code, r.stdout, r.stderr)
	}
	if r := run(t, "", "token", "get", "openid", "profile", "--server", "http://127.0.0.1:1"); r.stdout != "first\n" {
		t.Errorf("the same scopes: %q %q", r.stdout, r.stderr)
	}
	if r := run(t, "", "token", "get", "openid"); r.code != 0 || r.stdout != "second\n" {
		t.Errorf("fewer scopes: exit %d %q %q", r.code, r.stdout, r.stderr)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), "mmr_two") || strings.Contains(string(b), "mmr_one") {
		t.Errorf("the file holds %s, %v", b, err)
	}
	if r := run(t, "", "token", "get", "profile"); r.code != cli.ExitNotAllowed || !strings.Contains(r.stderr, "mintmark login") {
		t.Errorf("the server has ended it: exit %d %q", r.code, r.stderr)
	}
	if r := run(t, "", "logout"); r.code != 0 {
		t.Errorf("logout: exit %d %q", r.code, r.stderr)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after the logout: %v", err)
	}
	if r := run(t, "", "logout"); r.code != 0 || !strings.Contains(r.stderr, "nobody is signed in") {
		t.Errorf("a second logout: exit %d %q", r.code, r.stderr)
	}
	if r := run(t, "", "token", "get"); r.code != cli.ExitUsage {
		t.Errorf("without a login: exit %d %q", r.code, r.stderr)
	}
	want := []string{
		"/oauth2/device_authorization cli_x openid profile offline_access", "/oauth2/token cli_x mmd_secret", "/oauth2/token cli_x mmd_secret", "/oauth2/token cli_x mmd_secret",
		"/oauth2/token cli_x mmr_one openid", "/oauth2/token cli_x mmr_two profile", "/oauth2/revoke cli_x mmr_two",
	}
	if strings.Join(*calls, "\n") != strings.Join(want, "\n") {
		t.Errorf("it called\n%s\nwant\n%s", strings.Join(*calls, "\n"), strings.Join(want, "\n"))
	}
}

func TestLoginRefused(t *testing.T) {
	alone(t)
	for end, code := range map[string]int{"access_denied": cli.ExitNotAllowed, "expired_token": cli.ExitTemporary, "invalid_grant": cli.ExitNotAllowed} {
		base, _ := deviceServer(t, end)
		if r := run(t, "", "login", "--no-qr", "--server", base, "--client-id", "cli_x"); r.code != code || strings.Contains(r.stderr, "█") {
			t.Errorf("%s: exit %d, want %d: %s", end, r.code, code, r.stderr)
		}
		if dir, err := os.UserConfigDir(); err != nil {
			t.Error(err)
		} else if _, err := os.Stat(filepath.Join(dir, "mintmark", "login.json")); !os.IsNotExist(err) {
			t.Errorf("%s left a login", end)
		}
	}
}
