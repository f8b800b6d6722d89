// Package conformance_test tries the shipped server as a stranger does: two processes of it on one database, by HTTP
// alone. Its tests mirror the modules of the OpenID Foundation's conformance suite, under their names, and those attacks of
// docs/attacks.md that concern what more than one process must agree on. What a server says of its tokens is checked with
// libraries that others wrote.
//
// The two processes share a PostgreSQL database and a root key, as docs/operations.md describes for several nodes. With
// MINTMARK_TEST_ENGINES=sqlite there is one process, because an embedded database has one, and it plays both nodes.
package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/testport"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// node is one process of the server.
type node struct {
	url, operations string
	config, log     string
	cmd             *exec.Cmd
}

// servers are what all tests share.
type servers struct {
	dir, binary, issuer, database, rootKey string

	first, second *node // the same one with SQLite
	admin         *client.Client
	adminKey      string
	receiver      *receiver
}

var shared *servers

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "mintmark-conformance-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &servers{dir: dir, binary: filepath.Join(dir, "mintmark"), rootKey: filepath.Join(dir, "root.key")}
	if out, err := exec.Command("go", "build", "-o", s.binary, "../cmd/mintmark").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build the server: %w: %s", err, out)
	}
	postgres := os.Getenv("MINTMARK_TEST_ENGINES") != "sqlite"
	if postgres {
		url, drop, err := dbtest.ForBinary()
		if err != nil {
			return 0, err
		}
		defer func() { drop() }() // what is left over the next run removes
		s.database = url
	}
	if s.receiver, err = newReceiver(); err != nil {
		return 0, err
	}
	defer s.receiver.Close()
	if s.first, err = s.start("first"); err != nil {
		return 0, err
	}
	defer s.first.stop()
	if s.second = s.first; postgres {
		if s.second, err = s.start("second"); err != nil {
			return 0, err
		}
		defer s.second.stop()
	}
	key, err := os.ReadFile(filepath.Join(dir, "first", "admin.key"))
	if err != nil {
		return 0, err
	}
	s.adminKey = strings.TrimSpace(string(key))
	s.admin, err = client.New(s.issuer, client.Options{Token: func(context.Context) (string, error) { return s.adminKey, nil }})
	if err != nil {
		return 0, err
	}
	shared = s
	if code = m.Run(); code != 0 {
		s.first.tell()
		s.second.tell()
	}
	return code, nil
}

// start starts a node with a data directory of its own, and waits until it is ready. The first one makes the root key.
func (s *servers) start(name string) (*node, error) {
	public, err := testport.Free()
	if err != nil {
		return nil, err
	}
	operations, err := testport.Free()
	if err != nil {
		return nil, err
	}
	if s.issuer == "" {
		s.issuer = "http://" + public
	}
	n := &node{url: "http://" + public, operations: "http://" + operations, config: filepath.Join(s.dir, name+".json"), log: filepath.Join(s.dir, name+".log")}
	type m = map[string]any
	config := m{
		"issuer": s.issuer, "data_dir": filepath.Join(s.dir, name), "root_key": m{"file": s.rootKey},
		"listen":         m{"public": public, "s3": "off", "operations": operations},
		"outbound":       m{"allow": []string{"127.0.0.0/8"}, "http": true}, // the client that hears of logouts is on this machine
		"shutdown_grace": "5s", "log": m{"level": "warn"},
	}
	if s.database != "" {
		config["database"] = m{"url": s.database, "max_connections": 8}
	}
	text, err := json.Marshal(config) // which is YAML as well
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.config, text, 0o600); err != nil {
		return nil, err
	}
	return n, n.start(s.binary)
}

func (n *node) start(binary string) error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = exec.Command(binary, "serve", "--config", n.config)
	n.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MINTMARK_") })
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(n.operations + "/readyz")
		if err != nil {
			continue
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
	n.tell()
	n.stop()
	return fmt.Errorf("the server did not get ready in %s", patience)
}

// stop ends the process by its id, in order.
func (n *node) stop() {
	if n.cmd == nil {
		return
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	n.cmd.Wait()
	n.cmd = nil
}

// tell shows the last of what the node warned of.
func (n *node) tell() {
	text, err := os.ReadFile(n.log)
	if err == nil && len(text) > 0 {
		fmt.Fprintf(os.Stderr, "%s warned:\n%s\n", n.url, text[max(0, len(text)-4000):])
	}
}

// nodes are the addresses of both nodes.
func nodes() []string { return []string{shared.first.url, shared.second.url} }
