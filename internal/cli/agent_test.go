package cli_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/cli"
)

// What the agent does is tested in its package; here, that the command hands it what was said and keeps its exit codes.
func TestAgent(t *testing.T) {
	alone(t)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_ACCESS_KEY_ID", "AKID")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	objects := map[string]string{
		"/shop-mint/sales-orders/user.json":   `{"application_username":"u","application_password":"p4ss"}`,
		"/shop-mint/sales-orders/client.json": `{"client_id":"c","client_secret":"s3cret"}`,
	}
	s3 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := objects[r.URL.Path]
		if !ok {
			w.WriteHeader(404)
			io.WriteString(w, `<Error><Code>NoSuchKey</Code></Error>`)
			return
		}
		w.Header().Set("ETag", `"1"`)
		io.WriteString(w, text)
	}))
	defer s3.Close()
	dir := filepath.Join(t.TempDir(), "credentials")
	told := filepath.Join(t.TempDir(), "told")

	r := run(t, "", "agent", "-a", "sales-orders", "-m", "shop-mint", "--endpoint", s3.URL, "--once", "--file-mode", "0640",
		"--hook", "touch", "--hook", told, dir)
	if r.code != 0 || r.stdout != "" || strings.Contains(r.stderr, "s3cret") || strings.Contains(r.stderr, "p4ss") {
		t.Errorf("%s", r.golden())
	}
	c, err := client.ReadCredentials(dir)
	if err != nil || c.Username != "u" || c.Password != "p4ss" || c.ClientID != "c" || c.ClientSecret != "s3cret" {
		t.Errorf("the SDK reads %q %q, %v", c.Username, c.ClientID, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "user.json")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := os.Stat(told); err != nil {
		t.Errorf("the hook did not run: %v", err)
	}
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"no bucket":       {[]string{"-a", "sales-orders"}, cli.ExitUsage},
		"bad id":          {[]string{"-a", "Sales", "-m", "shop-mint"}, cli.ExitUsage},
		"bad mode":        {[]string{"-a", "sales-orders", "-m", "shop-mint", "--file-mode", "rw"}, cli.ExitUsage},
		"unsafe mode":     {[]string{"-a", "sales-orders", "-m", "shop-mint", "--file-mode", "0666"}, cli.ExitUsage},
		"missing":         {[]string{"-a", "other", "-m", "shop-mint", "--endpoint", s3.URL, "--once"}, cli.ExitFailure},
		"missing in time": {[]string{"-a", "other", "-m", "shop-mint", "--endpoint", s3.URL, "--once", "--wait", "50ms"}, cli.ExitTemporary},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "", append(append([]string{"agent"}, c.args...), filepath.Join(t.TempDir(), "credentials"))...)
			if r.code != c.code || !strings.Contains(r.stderr, "mintmark: error: ") {
				t.Errorf("%s", r.golden())
			}
		})
	}
}
