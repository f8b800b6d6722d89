package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mintmark/mintmark/internal/testport"
)

// serving is the program as a process of its own.
type serving struct {
	*exec.Cmd
	public, operations, dir string
	log                     bytes.Buffer
}

func serve(t *testing.T) *serving {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{public: testport.Addr(t), operations: testport.Addr(t), dir: filepath.Join(t.TempDir(), "data")}
	s.Cmd = exec.Command(program)
	s.Args = []string{"mintmark", "serve", "--data-dir", s.dir, "--set", "listen.public=" + s.public, "--set", "listen.s3=off", "--set", "listen.operations=" + s.operations, "--set", "shutdown_grace=2m"}
	s.Stderr = &s.log
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Process.Kill() })
	if err := waitReady(s.operations, http.StatusOK, ""); err != nil {
		t.Fatal(err)
	}
	return s
}

// hold opens a request and sends half of it: something in flight that only the server's patience ends.
func (s *serving) hold(t *testing.T) {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(s.dir, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", s.public)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "PUT /api/teams/late HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", strings.TrimSpace(string(key)))
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
		t.Fatalf("%q, %v", line, err)
	}
}

// The first signal asks for an orderly end, which waits for what is in flight; the second ends the program at once.
func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := serve(t)
			s.hold(t)
			if err := s.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if err := waitReady(s.operations, http.StatusServiceUnavailable, "stopping"); err != nil {
				t.Fatal(err)
			}
			if err := s.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := s.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != sig {
				t.Errorf("it ended with %v", err)
			}
			if strings.Contains(s.log.String(), `"stopped"`) {
				t.Error("it ended in order after all")
			}
		})
	}
}

// Killed outright, it starts again on what it left.
func TestStartsAgainAfterAKill(t *testing.T) {
	t.Parallel()
	s := serve(t)
	if err := s.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = s.Wait()
	again := exec.Command(s.Path)
	again.Args = s.Args
	var log bytes.Buffer
	again.Stderr = &log
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { again.Process.Kill() })
	if err := waitReady(s.operations, http.StatusOK, ""); err != nil {
		t.Fatal(err)
	}
	if err := again.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := again.Wait(); err != nil || !strings.Contains(log.String(), `"stopped"`) {
		t.Errorf("%v\n%s", err, log.String())
	}
}
