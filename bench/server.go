package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/bench/loadgen"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/testport"
)

const passLimit = 30 * time.Second

// server is one server under test.
type server struct {
	name   string
	engine string // of mintmark; empty: this is the floor
	dir    string // of the whole run

	base, ready string // URLs
	args        []string
	database    string         // PostgreSQL: made for this run
	url         string         // of that database
	pids        map[string]int // whose processor time counts
	process     *exec.Cmd

	clientID, clientSecret, username, password string

	alice    *signedIn
	admin    string // access key
	visitors []visitor
	store    string   // of the floor: where it keeps refresh tokens in this measurement
	engines  []string // of the floor: where it can keep them
}

// prepare starts the server and gets the credentials of its application.
func (s *server) prepare(ctx context.Context) error {
	s.pids = map[string]int{}
	if s.engine == "" {
		addr, err := testport.Free()
		if err != nil {
			return err
		}
		stores, err := s.floorStores(ctx, s.engines)
		if err != nil {
			return err
		}
		s.args = append([]string{filepath.Join(s.dir, "floor"), addr}, stores...)
		s.base, s.ready = "http://"+addr, "http://"+addr+"/ready"
		s.clientID, s.clientSecret, s.username, s.password = "client-1", "secret-1", "user-1", "secret-1"
		_, err = s.start(ctx)
		return err
	}
	if err := s.configure(ctx); err != nil {
		return err
	}
	if _, err := s.start(ctx); err != nil {
		return err
	}
	return s.register(ctx)
}

// configure writes the configuration: all defaults, but for addresses, the database, one store that is a directory, and
// letters that go nowhere, so that people can register and ask for another password.
func (s *server) configure(ctx context.Context) error {
	home := filepath.Join(s.dir, s.name)
	bucket := filepath.Join(home, "store", "bench")
	if err := os.MkdirAll(bucket, 0o700); err != nil {
		return err
	}
	public, err := testport.Free()
	if err != nil {
		return err
	}
	operations, err := testport.Free()
	if err != nil {
		return err
	}
	database := "sqlite:" + filepath.Join(home, "mintmark.db")
	if s.engine == "postgres" {
		if database, err = s.makeDatabase(ctx); err != nil {
			return err
		}
	}
	config := filepath.Join(home, "mintmark.yaml")
	text := fmt.Sprintf("issuer: http://%s\ndata_dir: %s\ndatabase: {url: %q}\nlisten: {public: %q, operations: %q, s3: \"off\"}\nstores: [{name: bench, kind: directory, path: %s}]\n"+
		"mail: {kind: mailbox}\nrealms: [{name: customers, registration: open}]\n",
		public, home, database, public, operations, filepath.Join(home, "store"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	s.args = []string{filepath.Join(s.dir, "mintmark"), "serve", "--config", config}
	s.base, s.ready = "http://"+public, "http://"+operations+"/readyz"
	return nil
}

// makeDatabase makes a database of its own, and finds the PostgreSQL server's process, whose work counts too.
func (s *server) makeDatabase(ctx context.Context) (string, error) {
	admin := os.Getenv("MINTMARK_TEST_POSTGRES")
	c, err := pgx.Connect(ctx, admin)
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	s.database = "mintmark_bench_" + strings.ToLower(rand.Text()[:10])
	if _, err := c.Exec(ctx, "CREATE DATABASE "+s.database+" TEMPLATE template0"); err != nil {
		return "", err
	}
	if server, err := loadgen.Parent(int(c.PgConn().PID())); err == nil { // else it runs on another machine
		s.pids["database"] = server
	}
	u, err := url.Parse(admin)
	if err != nil {
		return "", err
	}
	u.Path = "/" + s.database
	s.url = u.String()
	return s.url, nil
}

// start runs the program and answers how long it took to get ready.
func (s *server) start(ctx context.Context) (time.Duration, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, s.name+".log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	s.process = exec.CommandContext(ctx, s.args[0], s.args[1:]...)
	s.process.Stderr = log
	begin := time.Now()
	if err := s.process.Start(); err != nil {
		return 0, err
	}
	s.pids["server"] = s.process.Process.Pid
	for time.Since(begin) < 20*time.Second {
		if ok(ctx, s.ready) {
			return time.Since(begin), nil
		}
		time.Sleep(time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	return 0, fmt.Errorf("not ready after 20 seconds: %s", text)
}

var probe = &http.Client{Timeout: time.Second}

func ok(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := probe.Do(req)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (s *server) stop() error {
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	if err := p.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var exit *exec.ExitError
	if err := p.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// remove ends the server and drops its database.
func (s *server) remove() error {
	err := s.stop()
	if s.database == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, connectErr := pgx.Connect(ctx, os.Getenv("MINTMARK_TEST_POSTGRES"))
	if connectErr != nil {
		return errors.Join(err, connectErr)
	}
	defer c.Close(ctx)
	_, dropErr := c.Exec(ctx, "DROP DATABASE "+s.database+" WITH (FORCE)")
	return errors.Join(err, dropErr)
}

// register makes an application with one application scope, and waits for what the mint delivers.
func (s *server) register(ctx context.Context) error {
	key, err := os.ReadFile(filepath.Join(s.dir, s.name, "admin.key"))
	if err != nil {
		return err
	}
	s.admin = string(bytes.TrimSpace(key))
	c, err := client.New(s.base, client.Options{Token: client.StaticToken(s.admin)})
	if err != nil {
		return err
	}
	team, name, active := "shop", "Sales orders", true
	for _, step := range []func() error{
		func() error { _, err := c.PutTeam(ctx, team, api.PutTeam{Name: "Shop"}); return err },
		func() error {
			_, err := c.PutResourceType(ctx, "sales_order", api.PutResourceType{Name: "sales order", TeamID: team})
			return err
		},
		func() error {
			_, err := c.PutScope(ctx, "sales_order", "read_all", api.PutScope{Summary: "grants read access to all orders"})
			return err
		},
		func() error {
			_, err := c.PutApplication(ctx, "sales-orders", api.PutApplication{TeamID: &team, Name: &name, Active: &active})
			return err
		},
		func() error { _, err := c.GrantScope(ctx, "sales-orders", "sales_order.read_all"); return err },
		func() error { _, err := c.AddDestination(ctx, "sales-orders", "bench", "bench"); return err },
		func() error { return s.registerPerson(ctx, c) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := s.await(ctx, filepath.Join(s.dir, s.name, "store", "bench", "sales-orders")); err != nil {
		return err
	}
	if err := s.registerVisitors(ctx, c); err != nil {
		return err
	}
	s.alice, err = s.signIn(ctx)
	return err
}

// await reads user.json and client.json as soon as both are there.
func (s *server) await(ctx context.Context, dir string) error {
	for begin := time.Now(); time.Since(begin) < passLimit && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		c, err := client.ReadCredentials(dir)
		if errors.Is(err, client.ErrNoCredentials) {
			continue
		}
		s.username, s.password, s.clientID, s.clientSecret = c.Username, c.Password, c.ClientID, c.ClientSecret
		return err
	}
	return errors.New("the credentials did not arrive")
}
