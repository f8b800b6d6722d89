package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/testport"
)

const (
	application = "sales-orders"
	bucketName  = "shop-mint"
)

// world is the server, the agent and what they leave on disk.
type world struct {
	o      *options
	url    string // public listener
	s3     string // S3 listener
	files  string // root of the directory store
	bucket string // where the mint puts the pair in that store; it can be read while the server is dead
	creds  string // where the agent puts the pair
	server *server
	agent  *process
}

// server is the program under test; it is killed and started again.
type server struct {
	process
	ready string // URL that answers 200 when it is ready
	kills int
}

// process is a child of ours, ended by its process id.
type process struct {
	name string
	args []string
	env  []string
	log  string
	cmd  *exec.Cmd
}

func newWorld(o *options) (*world, error) {
	var ports [3]string // public, S3, operations: a server that starts again needs its own back
	for i := range ports {
		var err error
		if ports[i], err = testport.Free(); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(o.dir, "data")
	w := &world{o: o, url: "http://" + ports[0], s3: "http://" + ports[1], files: filepath.Join(o.dir, "files"), creds: filepath.Join(o.dir, "credentials")}
	w.bucket = filepath.Join(w.files, bucketName, application)
	for _, d := range []string{data, w.files, filepath.Join(w.files, bucketName), w.creds} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	database := "sqlite:" + filepath.Join(data, "mintmark.db")
	if o.engine == "postgres" {
		if database = o.database; database == "" {
			return nil, errors.New("-engine postgres needs -postgres URL of an empty database")
		}
	}
	config := fmt.Sprintf(`data_dir: %s
database: {url: %q}
listen: {public: %q, s3: %q, operations: %q}
rotation: {password_period: %s, secret_period: %s, grace: 6s, max_overlap: 10m}
signing_keys: {period: 60s, lead: 10s}
tokens: {bounds: {max: 8h}}
stores:
- {name: files, kind: directory, path: %s}
log: {level: warn}
`, data, database, ports[0], ports[1], ports[2], o.period, o.period, w.files)
	file := filepath.Join(o.dir, "mintmark.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	w.server = &server{
		process: process{name: o.binary, args: []string{"serve", "--config", file}, log: filepath.Join(o.dir, "server.log")},
		ready:   "http://" + ports[2] + "/readyz",
	}
	return w, nil
}

func (p *process) start() error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.name, p.args...)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	return nil
}

func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.cmd = nil
}

// start runs the server and waits until it says that it is ready.
func (s *server) start(ctx context.Context) error {
	if err := s.process.start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		res, err := http.Get(s.ready)
		if err != nil {
			continue
		}
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	text, _ := os.ReadFile(s.log)
	return fmt.Errorf("the server did not get ready in 20 s: %s", tail(text))
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// killer kills the server at every interval, starts it again, and returns the number of kills when ctx ends.
func (w *world) killer(ctx context.Context, every time.Duration, after func()) int {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return w.server.kills
		case <-tick.C:
			w.server.kill()
			w.server.kills++
			if err := w.server.start(ctx); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "soak:", err)
			}
			after()
		}
	}
}

func (w *world) close() {
	if w.agent != nil {
		w.agent.kill()
	}
	w.server.kill()
}

// call sends one management request as the administrator.
func (w *world) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	key, err := os.ReadFile(filepath.Join(w.o.dir, "data", "admin.key"))
	if err != nil {
		return nil, err
	}
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	return answer, nil
}

// register makes the application with two destinations, and an agent that reads from one of them.
func (w *world) register(ctx context.Context) error {
	type m = map[string]any
	for _, step := range []struct {
		method, path string
		body         any
	}{
		{"PUT", "/api/teams/shop", m{"name": "Shop"}},
		{"PUT", "/api/resource-types/sales_order", m{"name": "sales order", "resource_owners": []string{"employees", "customers"}, "team_id": "shop"}},
		{"PUT", "/api/resource-types/sales_order/scopes/read_all", m{"summary": "grants read access to all orders", "is_resource_owner_scope": false}},
		{"PUT", "/api/applications/" + application, m{"team_id": "shop", "name": "Sales orders", "active": true}},
		{"PUT", "/api/applications/" + application + "/scopes/sales_order.read_all", nil},
		{"PUT", "/api/buckets/" + bucketName, m{"team_id": "shop"}},
		{"PUT", "/api/applications/" + application + "/destinations/local/" + bucketName, nil},
		{"PUT", "/api/applications/" + application + "/destinations/files/" + bucketName, nil},
	} {
		if _, err := w.call(ctx, step.method, step.path, step.body); err != nil {
			return err
		}
	}
	answer, err := w.call(ctx, "POST", "/api/applications/"+application+"/storage-keys", m{"bucket": bucketName})
	if err != nil {
		return err
	}
	var key struct {
		ID     string `json:"id"`
		Secret string `json:"secret_access_key"`
	}
	if err := json.Unmarshal(answer, &key); err != nil || key.ID == "" || key.Secret == "" {
		return fmt.Errorf("storage key: %s (%v)", answer, err)
	}
	w.agent = &process{
		name: w.o.binary,
		args: []string{"agent", "--endpoint", w.s3, "--bucket", bucketName, "--application", application, "--interval", "1s", w.creds},
		env:  []string{"AWS_ACCESS_KEY_ID=" + key.ID, "AWS_SECRET_ACCESS_KEY=" + key.Secret},
		log:  filepath.Join(w.o.dir, "agent.log"),
	}
	return nil
}

func (w *world) waitForCredentials(ctx context.Context) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		_, err1 := client.ReadCredentials(w.creds)
		_, err2 := client.ReadCredentials(w.bucket)
		if err1 == nil && err2 == nil {
			return nil
		}
	}
	text, _ := os.ReadFile(w.agent.log)
	return fmt.Errorf("no credentials after 30 s; the agent says: %s", tail(text))
}
