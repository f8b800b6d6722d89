//go:build unix

package agent_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/agent"
)

var ctx = context.Background()

func read(t testing.TB, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantPair checks what a client reads.
func wantPair(t testing.TB, dir string, userVersion, clientVersion int) {
	t.Helper()
	if got := read(t, dir, "user.json"); got != user(userVersion) {
		t.Errorf("user.json is %s, want version %d", got, userVersion)
	}
	if got := read(t, dir, "client.json"); got != client(clientVersion) {
		t.Errorf("client.json is %s, want version %d", got, clientVersion)
	}
}

func once(t testing.TB, c agent.Config) agent.Result {
	t.Helper()
	result, err := newAgent(t, c).Once(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func inode(t testing.TB, path string) (uint64, time.Time) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino, info.ModTime()
}

func TestOnceFetchesBothFiles(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0)) // the umask must not decide
	s := newStore(t)
	c := configuration(t, s)
	if r := once(t, c); !r.Changed || r.Generation != 1 {
		t.Errorf("%+v", r)
	}
	wantPair(t, c.Dir, 1, 1)
	for path, mode := range map[string]os.FileMode{"": 0o700, "user.json": 0o600, "client.json": 0o600, ".generations": 0o700, "..current/": 0o700} {
		info, err := os.Stat(filepath.Join(c.Dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%q has mode %v, want %v", path, info.Mode().Perm(), mode)
		}
	}
}

func TestUnchangedContentLeavesTheFilesAlone(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	once(t, c)
	path := filepath.Join(c.Dir, "user.json")
	ino, at := inode(t, path)
	if r := once(t, c); r.Changed || r.Generation != 1 { // a restart: fetched again, found equal
		t.Errorf("%+v", r)
	}
	a := newAgent(t, c)
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- a.Run(running) }()
	_, before := s.count()
	requests, _ := s.count()
	waitFor(t, func() bool { n, _ := s.count(); return n > requests+8 })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, full := s.count(); full > before+2 {
		t.Errorf("%d bodies were sent for unchanged objects, want the first two only", full-before)
	}
	if i, m := inode(t, path); i != ino || !m.Equal(at) {
		t.Error("the file was written again")
	}
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it never happens")
}

func TestChangeKeepsThePreviousGenerationOnly(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	for version := 1; version <= 4; version++ {
		s.deliver(version)
		if r := once(t, c); !r.Changed || r.Generation != int64(version) {
			t.Errorf("version %d: %+v", version, r)
		}
		wantPair(t, c.Dir, version, version)
	}
	entries, err := os.ReadDir(filepath.Join(c.Dir, ".generations"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "3 4 lock" {
		t.Errorf("left: %s", got)
	}
}

func TestReaderNeverSeesAPartOrAMixture(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	once(t, c)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var reads [2]atomic.Int64
	for i := range reads {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				// One generation, held open by its directory.
				dir, err := os.OpenRoot(filepath.Join(c.Dir, "..current"))
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				u, err1 := dir.ReadFile("user.json")
				p, err2 := dir.ReadFile("client.json")
				dir.Close()
				if err := errors.Join(err1, err2); err != nil {
					t.Errorf("read: %v", err)
					return
				}
				version, _ := strconv.Atoi(strings.TrimSuffix(string(u[strings.LastIndexByte(string(u), 'p')+1:]), `"}`))
				if string(u) != user(version) || string(p) != client(version) {
					t.Errorf("read %s with %s", u, p)
				}
				// And as a client does that knows nothing of generations.
				if b, err := os.ReadFile(filepath.Join(c.Dir, "client.json")); err != nil || !strings.HasSuffix(string(b), `"}`) {
					t.Errorf("read %s: %v", b, err)
				}
				reads[i].Add(1)
			}
		})
	}
	for version := 2; version < 30; version++ {
		s.deliver(version)
		once(t, c)
		// The generation before the one in place is kept, so a reader may be one swap late, but not two: on a busy
		// machine that must be made sure of.
		for i := range reads {
			before := reads[i].Load()
			waitFor(t, func() bool { return reads[i].Load() > before || t.Failed() })
		}
	}
	close(stop)
	readers.Wait()
}

func TestFaultsKeepTheLastGood(t *testing.T) {
	big := `{"client_id":"c","client_secret":"` + strings.Repeat("x", 64<<10) + `"}`
	content := func(text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { _, _ = io.WriteString(w, text); return true }
	}
	for name, c := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		is    error
		says  string
	}{
		"forbidden":           {answer(403, "AccessDenied"), agent.ErrForbidden, "s3:GetObject on bucket/sales/*"},
		"unknown key":         {answer(403, "InvalidAccessKeyId"), agent.ErrForbidden, "does not know the access key"},
		"wrong secret":        {answer(403, "SignatureDoesNotMatch"), agent.ErrForbidden, "secret does not fit"},
		"clock":               {answer(403, "RequestTimeTooSkewed"), agent.ErrForbidden, "clock"},
		"no object":           {answer(404, "NoSuchKey"), agent.ErrNotFound, "nothing was delivered there yet"},
		"no bucket":           {answer(404, "NoSuchBucket"), agent.ErrNotFound, "no bucket bucket"},
		"unavailable":         {answer(503, "SlowDown"), nil, "503"},
		"redirect":            {redirect(301), nil, "redirects"},
		"temporary redirect":  {redirect(307), nil, "redirects"},
		"other JSON":          {content(`{"user":"x"}`), agent.ErrShape, "key that does not belong"},
		"missing key":         {content(`{"client_id":"c"}`), agent.ErrShape, ""},
		"not JSON":            {content(`<html>`), agent.ErrShape, "not JSON"},
		"empty":               {content(``), agent.ErrShape, "empty"},
		"braces":              {content(`{}`), agent.ErrShape, ""},
		"null":                {content(`null`), agent.ErrShape, "not a JSON object"},
		"oversized":           {content(big), agent.ErrShape, "larger"},
		"torn":                {torn, nil, "early"},
		"connection cut":      {cut, nil, ""},
		"hang":                {hang, context.DeadlineExceeded, "no answer"},
		"304 for the unknown": {func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(304); return true }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t)
			config := configuration(t, s)
			if name == "hang" {
				config.CallTimeout = 1500 * time.Millisecond // the other object must come within it
			}
			// At the first start: nothing appears, not even the file that could be fetched.
			s.fail(only("client.json", c.fault))
			_, err := newAgent(t, config).Once(ctx)
			check := func() {
				t.Helper()
				if err == nil || agent.ExitCode(err) != 1 {
					t.Fatalf("error %v, exit code %d", err, agent.ExitCode(err))
				}
				if c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%v is not %v", err, c.is)
				}
				if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "s3://bucket/sales/client.json") {
					t.Errorf("%v does not say %q and where", err, c.says)
				}
			}
			check()
			if _, err := os.Lstat(filepath.Join(config.Dir, "user.json")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("one file of the pair appeared alone: %v", err)
			}
			// Afterwards: the good one goes in, the bad one stays as it was.
			s.fail(nil)
			once(t, config)
			s.deliver(2)
			s.fail(only("client.json", c.fault))
			var r agent.Result
			r, err = newAgent(t, config).Once(ctx)
			check()
			wantPair(t, config.Dir, 2, 1)
			if !r.Changed || r.Generation != 2 {
				t.Errorf("%+v", r)
			}
			// And it heals by itself.
			s.fail(nil)
			once(t, config)
			wantPair(t, config.Dir, 2, 2)
		})
	}
}

// redirect points to a host that would answer, if it were followed.
func redirect(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.RawQuery, "followed") {
			_, _ = io.WriteString(w, client(666))
			return true
		}
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?followed=1")
		w.WriteHeader(status)
		return true
	}
}

func torn(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Length", "200")
	_, _ = io.WriteString(w, client(9)) // whole JSON, but not the whole object
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func cut(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }

func hang(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }

func TestObjectThatDisappearsLeavesTheFile(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	once(t, c)
	s.remove("user.json")
	if _, err := newAgent(t, c).Once(ctx); !errors.Is(err, agent.ErrNotFound) {
		t.Errorf("%v", err)
	}
	wantPair(t, c.Dir, 1, 1)
}

func TestPublicClientHasNoSecret(t *testing.T) {
	s := newStore(t)
	s.set("client.json", `{"client_id":"c","client_secret":null}`)
	c := configuration(t, s)
	once(t, c)
	if got := read(t, c.Dir, "client.json"); got != `{"client_id":"c","client_secret":null}` {
		t.Errorf("%s", got)
	}
}

func TestPlainFilesOfAnOlderAgentAreReplaced(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"user.json": user(1), "client.json": client(1), "client.json.tmp": "rubbish"} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r := once(t, c); !r.Changed {
		t.Error("equal content in plain files readable by everybody was left as it is")
	}
	wantPair(t, c.Dir, 1, 1)
	if info, err := os.Stat(filepath.Join(c.Dir, "user.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	// What the older agent had fetched is good enough while the bucket does not answer.
	other := configuration(t, s)
	if err := os.Mkdir(other.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other.Dir, "client.json"), []byte(client(7)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.fail(only("client.json", answer(403, "AccessDenied")))
	if _, err := newAgent(t, other).Once(ctx); err == nil {
		t.Error("no error")
	}
	wantPair(t, other.Dir, 1, 7)
}

func TestDamageIsRepaired(t *testing.T) {
	s := newStore(t)
	for name, damage := range map[string]func(dir string) error{
		"file removed":       func(d string) error { return os.Remove(filepath.Join(d, "user.json")) },
		"file overwritten":   func(d string) error { return os.WriteFile(filepath.Join(d, "user.json"), []byte("{"), 0o600) },
		"mode changed":       func(d string) error { return os.Chmod(filepath.Join(d, "user.json"), 0o644) },
		"link replaced":      func(d string) error { return replace(filepath.Join(d, "user.json"), "client.json") },
		"current removed":    func(d string) error { return os.Remove(filepath.Join(d, "..current")) },
		"current misled":     func(d string) error { return replace(filepath.Join(d, "..current"), "/etc") },
		"generation removed": func(d string) error { return os.RemoveAll(filepath.Join(d, ".generations", "1")) },
		"all removed":        func(d string) error { return os.RemoveAll(d) },
	} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t, s)
			once(t, c)
			if err := damage(c.Dir); err != nil {
				t.Fatal(err)
			}
			if r := once(t, c); !r.Changed {
				t.Error("nothing was done")
			}
			wantPair(t, c.Dir, 1, 1)
			if info, err := os.Stat(filepath.Join(c.Dir, "user.json")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v", err)
			}
		})
	}
}

func replace(path, target string) error {
	return errors.Join(os.Remove(path), os.Symlink(target, path))
}

func TestUnsafeDirectoryIsRefused(t *testing.T) {
	s := newStore(t)
	outside := t.TempDir()
	for name, prepare := range map[string]func(c *agent.Config) error{
		"others may write": func(c *agent.Config) error { return errors.Join(os.Mkdir(c.Dir, 0o700), os.Chmod(c.Dir, 0o777)) },
		"group may write":  func(c *agent.Config) error { return errors.Join(os.Mkdir(c.Dir, 0o700), os.Chmod(c.Dir, 0o770)) },
		"a file":           func(c *agent.Config) error { return os.WriteFile(c.Dir, nil, 0o600) },
		"no parent":        func(c *agent.Config) error { c.Dir = filepath.Join(c.Dir, "x"); return nil },
		"generations lead outside": func(c *agent.Config) error {
			return errors.Join(os.Mkdir(c.Dir, 0o700), os.Symlink(outside, filepath.Join(c.Dir, ".generations")))
		},
		"lock leads outside": func(c *agent.Config) error {
			return errors.Join(os.MkdirAll(filepath.Join(c.Dir, ".generations"), 0o700), os.Symlink(filepath.Join(outside, "lock"), filepath.Join(c.Dir, ".generations", "lock")))
		},
		"user.json is a directory": func(c *agent.Config) error { return os.MkdirAll(filepath.Join(c.Dir, "user.json"), 0o700) },
		"another owner": func(c *agent.Config) error {
			if os.Geteuid() != 0 {
				c.Dir = "/"
				return nil
			}
			return errors.Join(os.Mkdir(c.Dir, 0o700), os.Chown(c.Dir, 12345, -1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := configuration(t, s)
			if err := prepare(&c); err != nil {
				t.Fatal(err)
			}
			if _, err := newAgent(t, c).Once(ctx); !errors.Is(err, agent.ErrDirectory) {
				t.Errorf("Once: %v", err)
			}
			if err := newAgent(t, c).Run(ctx); !errors.Is(err, agent.ErrDirectory) {
				t.Errorf("Run: %v", err)
			}
			if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
				t.Errorf("written outside: %v %v", left, err)
			}
		})
	}
}

func TestOneAgentPerDirectory(t *testing.T) {
	s := newStore(t)
	c := configuration(t, s)
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- newAgent(t, c).Run(running) }()
	waitFor(t, func() bool { _, err := os.Stat(filepath.Join(c.Dir, "user.json")); return err == nil })
	if _, err := newAgent(t, c).Once(ctx); !errors.Is(err, agent.ErrDirectory) || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("%v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	once(t, c)
}

func TestDaemonFollowsAndSurvives(t *testing.T) {
	s := newStore(t)
	s.fail(answer(403, "AccessDenied")) // the role's policy is not effective yet
	c := configuration(t, s)
	c.BackoffMax = c.Poll
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- newAgent(t, c).Run(running) }()
	asked := func(more int) {
		t.Helper()
		n, _ := s.count()
		waitFor(t, func() bool { now, _ := s.count(); return now >= n+more })
	}
	reads := func(version int) func() bool {
		return func() bool {
			u, _ := os.ReadFile(filepath.Join(c.Dir, "user.json"))
			b, _ := os.ReadFile(filepath.Join(c.Dir, "client.json"))
			return string(u) == user(version) && string(b) == client(version)
		}
	}
	asked(4)
	s.fail(nil)
	waitFor(t, reads(1))
	s.deliver(2)
	waitFor(t, reads(2))
	s.fail(cut)
	asked(6)
	s.deliver(3)
	s.fail(nil)
	waitFor(t, reads(3))
	wantPair(t, c.Dir, 3, 3)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitForTheFirstCredentials(t *testing.T) {
	s := newStore(t)
	s.fail(answer(404, "NoSuchKey"))
	c := configuration(t, s)
	c.Wait = time.Second
	if _, err := newAgent(t, c).Once(ctx); !errors.Is(err, agent.ErrDeadline) || agent.ExitCode(err) != 75 || !errors.Is(err, agent.ErrNotFound) {
		t.Errorf("Once: %v, exit code %d", err, agent.ExitCode(err))
	}
	if err := newAgent(t, c).Run(ctx); agent.ExitCode(err) != 75 {
		t.Errorf("Run: %v", err)
	}
	c.Wait = time.Hour
	n, _ := s.count()
	go func() {
		for {
			if now, _ := s.count(); now >= n+4 {
				s.fail(nil)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if r, err := newAgent(t, c).Once(ctx); err != nil || !r.Changed {
		t.Errorf("%+v %v", r, err)
	}
	// With credentials in place there is nothing to wait for: the daemon goes on.
	s.fail(answer(404, "NoSuchKey"))
	c.Wait = time.Millisecond
	limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := newAgent(t, c).Run(limited); err != nil {
		t.Errorf("Run with credentials in place: %v", err)
	}
}
