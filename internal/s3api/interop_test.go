//go:build interop

package s3api_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/testport"
)

// tool is a program of others, named by a variable of the environment.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("set %s: see the target interop of the Makefile", variable)
	}
	return path
}

// over runs the test against a plain listener and a TLS one, which make clients send bodies in different ways.
func over(t *testing.T, f func(t *testing.T, h *house, endpoint, ca string)) {
	h := newHouse(t)
	h.realTime()
	t.Run("http", func(t *testing.T) { f(t, h, h.url, "") })
	secure := &httptest.Server{Listener: testport.Listen(t), Config: &http.Server{Handler: h.server}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("https", func(t *testing.T) { f(t, h, secure.URL, ca) })
}

func run(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	home := t.TempDir() // nobody's own settings
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "AWS_CONFIG_FILE=" + home + "/config", "AWS_EC2_METADATA_DISABLED=true", "PYTHONIOENCODING=utf-8"}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestBoto3(t *testing.T) {
	python := tool(t, "MINTMARK_PYTHON")
	over(t, func(t *testing.T, h *house, endpoint, ca string) {
		mint, app := h.mintKey(), h.applicationKey("sales-orders", "shop", "shop-bucket")
		env := []string{"ENDPOINT=" + endpoint, "CA=" + ca,
			"ROOT_ID=" + h.root.id, "ROOT_SECRET=" + h.root.secret.Reveal(),
			"MINT_ID=" + mint.id, "MINT_SECRET=" + mint.secret.Reveal(),
			"APP_ID=" + app.id, "APP_SECRET=" + app.secret.Reveal()}
		out, err := run(t, env, python, "testdata/interop.py")
		if err != nil || !strings.Contains(out, "agrees") {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Log(strings.TrimSpace(out))
	})
}

func TestAWSCommandLine(t *testing.T) {
	program := tool(t, "MINTMARK_AWS")
	over(t, func(t *testing.T, h *house, endpoint, ca string) {
		mint, app := h.mintKey(), h.applicationKey("sales-orders", "shop", "shop-bucket")
		aws := func(k accessKey, args ...string) (string, error) {
			t.Helper()
			env := []string{"AWS_ACCESS_KEY_ID=" + k.id, "AWS_SECRET_ACCESS_KEY=" + k.secret.Reveal(), "AWS_DEFAULT_REGION=eu-central-1"}
			if ca != "" {
				env = append(env, "AWS_CA_BUNDLE="+ca)
			}
			return run(t, env, program, append([]string{"--endpoint-url", endpoint}, args...)...)
		}
		ok := func(k accessKey, args ...string) string {
			t.Helper()
			out, err := aws(k, args...)
			if err != nil {
				t.Fatalf("aws %v: %v\n%s", args, err, out)
			}
			return out
		}
		refused := func(k accessKey, code string, args ...string) {
			t.Helper()
			if out, err := aws(k, args...); err == nil || !strings.Contains(out, code) {
				t.Errorf("aws %v: %v, want %s\n%s", args, err, code, out)
			}
		}
		dir := t.TempDir()
		file := func(name string) string { return filepath.Join(dir, name) }
		if err := os.WriteFile(file("user.json"), []byte(`{"application_username":"u"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		ok(mint, "s3", "cp", file("user.json"), "s3://shop-bucket/sales-orders/user.json")
		ok(app, "s3", "cp", "s3://shop-bucket/sales-orders/user.json", file("back.json"))
		if b, err := os.ReadFile(file("back.json")); err != nil || string(b) != `{"application_username":"u"}` {
			t.Errorf("came back as %q, %v", b, err)
		}
		refused(mint, "403", "s3", "cp", "s3://shop-bucket/sales-orders/user.json", file("stolen.json"))
		refused(app, "403", "s3", "cp", "s3://shop-bucket/mailer/user.json", file("stolen.json"))
		refused(app, "404", "s3", "cp", "s3://shop-bucket/sales-orders/client.json", file("absent.json"))
		refused(app, "AccessDenied", "s3", "cp", file("user.json"), "s3://shop-bucket/sales-orders/user.json")
		refused(app, "AccessDenied", "s3", "ls", "s3://shop-bucket/sales-orders/")
		if out := ok(app, "s3", "ls"); !strings.Contains(out, "shop-bucket") || strings.Contains(out, "other-bucket") {
			t.Errorf("the application sees\n%s", out)
		}
		ok(h.root, "s3", "cp", "--recursive", dir, "s3://shop-bucket/copy/")
		if out := ok(h.root, "s3", "ls", "--recursive", "s3://shop-bucket"); strings.Count(out, ".json") != 3 {
			t.Errorf("ls shows\n%s", out)
		}
		ok(h.root, "s3", "sync", "s3://shop-bucket/copy/", file("synced"))
		if out := ok(h.root, "s3", "sync", "s3://shop-bucket/copy/", file("synced")); strings.Contains(out, "download") {
			t.Errorf("a second sync downloads again\n%s", out)
		}
		ok(h.root, "s3api", "put-object", "--bucket", "shop-bucket", "--key", "k", "--body", file("user.json"), "--if-none-match", "*", "--checksum-algorithm", "SHA256")
		refused(h.root, "PreconditionFailed", "s3api", "put-object", "--bucket", "shop-bucket", "--key", "k", "--body", file("user.json"), "--if-none-match", "*")
		ok(h.root, "s3api", "head-object", "--bucket", "shop-bucket", "--key", "k")
		refused(h.root, "AccessDenied", "s3", "mb", "s3://new-bucket")
		ok(h.root, "s3", "rm", "--recursive", "s3://shop-bucket/")
		if out := ok(h.root, "s3", "ls", "s3://shop-bucket"); strings.TrimSpace(out) != "" {
			t.Errorf("after rm there is\n%s", out)
		}
	})
}
