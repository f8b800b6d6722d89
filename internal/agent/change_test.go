//go:build unix

package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/agent"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/testport"
)

func TestHookRunsOncePerGeneration(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not for the hook")
	s := newStore(t)
	c := configuration(t, s)
	out := filepath.Join(t.TempDir(), "out")
	c.Hook = []string{"/bin/sh", "-c", `echo "$MINTMARK_GENERATION $MINTMARK_DIR ${AWS_SECRET_ACCESS_KEY-none} $(cat "$MINTMARK_DIR/client.json")" >>"$0"`, out}
	once(t, c)
	once(t, c)
	s.deliver(2)
	once(t, c)
	once(t, c)
	want := "1 " + c.Dir + " none " + client(1) + "\n2 " + c.Dir + " none " + client(2) + "\n"
	if got := read(t, out); got != want {
		t.Errorf("the hook wrote\n%swant\n%s", got, want)
	}
}

func TestHookFailureKeepsTheFiles(t *testing.T) {
	s := newStore(t)
	for name, hook := range map[string]struct {
		argv []string
		says string
	}{
		"exit code": {[]string{"/bin/sh", "-c", "echo it is broken >&2; exit 3"}, "it is broken"},
		"missing":   {[]string{"/does/not/exist"}, "no such file"},
		"timeout":   {[]string{"/bin/sh", "-c", "sleep 60 & sleep 60"}, "killed"},
		"chatty":    {[]string{"/bin/sh", "-c", "yes | head -c 1000000; exit 1"}, "it said"},
	} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t, s)
			c.Hook, c.HookTimeout = hook.argv, 20*time.Second
			if name == "timeout" {
				c.HookTimeout = 100 * time.Millisecond
			}
			r := once(t, c)
			if r.HookFailed == nil || !strings.Contains(r.HookFailed.Error(), hook.says) || len(r.HookFailed.Error()) > 3000 {
				t.Errorf("%v", r.HookFailed)
			}
			wantPair(t, c.Dir, 1, 1)
			if r := once(t, c); r.HookFailed != nil {
				t.Errorf("the failed hook ran again: %v", r.HookFailed)
			}
		})
	}
}

func TestSignalAfterAChange(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	got := make(chan os.Signal, 4)
	notify(t, got, syscall.SIGUSR2)
	c.PIDFile, c.Signal = filepath.Join(t.TempDir(), "pid"), syscall.SIGUSR2
	if r := once(t, c); r.HookFailed == nil {
		t.Error("a missing pid file is not reported")
	}
	for i, bad := range []string{"", "1", "0", "-5", "x", "99999999999999999999"} {
		if err := os.WriteFile(c.PIDFile, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		s.deliver(10 + i)
		if r := once(t, c); r.HookFailed == nil {
			t.Errorf("pid file %q is not reported", bad)
		}
	}
	if err := os.WriteFile(c.PIDFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.deliver(2)
	if r := once(t, c); r.HookFailed != nil {
		t.Error(r.HookFailed)
	}
	<-got
	once(t, c)
	if len(got) > 0 {
		t.Error("signalled without a change")
	}
}

func TestHealthAndMetrics(t *testing.T) {
	s := newStore(t)
	s.fail(answer(404, "NoSuchKey"))
	c := configuration(t, s)
	c.Listen = testport.Addr(t)
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- newAgent(t, c).Run(running) }()
	get := func(path string) (status int, body string) {
		response, err := http.Get("http://" + c.Listen + path)
		if err != nil {
			return 0, ""
		}
		defer response.Body.Close()
		b, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(b)
	}
	waitFor(t, func() bool {
		status, body := get("/healthz")
		return status == 503 && strings.Contains(body, "not found")
	})
	s.fail(nil)
	waitFor(t, func() bool {
		status, body := get("/healthz")
		return status == 200 && strings.Contains(body, `"generation":1`)
	})
	_, metrics := get("/metrics")
	for _, want := range []string{
		"mintmark_agent_generation 1\n", `mintmark_agent_cycles_total{result="ok"}`,
		`mintmark_agent_object_failures_total{object="user.json",reason="not_found"}`, "mintmark_agent_last_success_timestamp_seconds",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	s.fail(answer(503, "SlowDown"))
	waitFor(t, func() bool { status, body := get("/healthz"); return status == 200 && strings.Contains(body, "503") })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCredentialsFileIsReadInEachCycle(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	c.AccessKeyID, c.Secret = "", redact.Secret{}
	c.CredentialsFile = filepath.Join(t.TempDir(), "credentials")
	var log syncBuffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	write := func(text string) {
		if err := os.WriteFile(c.CredentialsFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# comment\nother:K1:S1\nbroken\n\nsales:AKIDFIRST:hunter2:with:colons\n")
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- newAgent(t, c).Run(running) }()
	signedBy := func(key string) func() bool {
		return func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.keys) > 0 && s.keys[len(s.keys)-1] == key
		}
	}
	waitFor(t, signedBy("AKIDFIRST"))
	write("sales:AKIDSECOND:x\n")
	waitFor(t, signedBy("AKIDSECOND"))
	write("other:K1:S1\n") // the daemon goes on with what it has
	waitFor(t, func() bool { return strings.Contains(log.String(), "no line for sales") })
	write("sales:AKIDFIRST:hunter2\n")
	waitFor(t, signedBy("AKIDFIRST"))
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "hunter2") || strings.Contains(log.String(), "AKIDFIRST") {
		t.Errorf("the log shows credentials: %s", log.String())
	}
	if n := strings.Count(log.String(), "identity towards the bucket"); n < 3 || n > 4 {
		t.Errorf("the identity was logged %d times for 3 changes: %s", n, log.String())
	}
}

func TestIdentityFromTheEnvironment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFROMENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	s := newStore(t)
	c := configuration(t, s)
	c.AccessKeyID, c.Secret = "", redact.Secret{}
	var log syncBuffer
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	once(t, c)
	if s.keys[0] != "AKIDFROMENV" {
		t.Errorf("signed by %v", s.keys)
	}
	if n := strings.Count(log.String(), "source=EnvConfigCredentials"); n != 1 {
		t.Errorf("the source was logged %d times: %s", n, log.String())
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	good := agent.Config{Application: "sales", Bucket: "bucket", Dir: "/x"}
	if _, err := agent.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*agent.Config){
		"no application":       func(c *agent.Config) { c.Application = "" },
		"path as application":  func(c *agent.Config) { c.Application = "../other" },
		"upper case":           func(c *agent.Config) { c.Application = "Sales" },
		"no bucket":            func(c *agent.Config) { c.Bucket = "" },
		"path as bucket":       func(c *agent.Config) { c.Bucket = "a/b" },
		"no directory":         func(c *agent.Config) { c.Dir = "" },
		"key without secret":   func(c *agent.Config) { c.AccessKeyID = "k" },
		"secret without key":   func(c *agent.Config) { c.Secret = redact.New("s") },
		"endpoint with user":   func(c *agent.Config) { c.Endpoint = "https://u:p@s3" },
		"endpoint without URL": func(c *agent.Config) { c.Endpoint = "s3.example.org" },
		"open listener":        func(c *agent.Config) { c.Listen = "0.0.0.0:80" },
		"listener, no host":    func(c *agent.Config) { c.Listen = ":80" },
		"world-writable files": func(c *agent.Config) { c.FileMode = 0o622 },
		"unreadable files":     func(c *agent.Config) { c.FileMode = 0o044 },
		"negative poll":        func(c *agent.Config) { c.Poll = -1 },
	} {
		c := good
		change(&c)
		if _, err := agent.New(c); !errors.Is(err, agent.ErrConfig) || agent.ExitCode(err) != 2 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileModeForAGroup(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	c.FileMode = 0o640
	once(t, c)
	for path, mode := range map[string]os.FileMode{"": 0o750, "user.json": 0o640, "..current/": 0o750, ".generations": 0o750} {
		if info, err := os.Stat(filepath.Join(c.Dir, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%q: %v %v, want %v", path, info.Mode(), err, mode)
		}
	}
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
