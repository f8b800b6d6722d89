// Package demo tells the whole story of mintmark on a server of its own, by commands that a person can copy: an
// application is registered, gets its credentials, fetches them, logs in with them, and never notices that they rotate.
//
// It does nothing that a user could not: after the server has started, all of it goes through the command line, curl and
// the agent. Everything lies in one new directory, which is removed at the end.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/witness"
)

// Options for Run.
type Options struct {
	Out     io.Writer
	Version string
	Program string        // path of the mintmark binary that the commands run
	Watch   time.Duration // how long the rotations are watched; 0: 20s
	Once    bool          // end after the story instead of leaving the server up
}

// ErrRefused is returned when the witness was refused a login, which must never happen.
var ErrRefused = errors.New("a login was refused while credentials rotated")

// Run tells the story. With Once it returns when it is told, else when ctx ends.
func Run(ctx context.Context, o Options) (err error) {
	if o.Watch == 0 {
		o.Watch = 20 * time.Second
	}
	if o.Watch < 8*time.Second {
		return errors.New("--watch must be at least 8s: the first rotation comes after 5")
	}
	dir, err := os.MkdirTemp("", "mintmark-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := exec.LookPath("curl"); err != nil {
		return errors.New("the demo runs curl, which is not installed; on Debian: apt-get install curl")
	}
	s, err := startServer(ctx, dir, o.Version)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	t := &telling{story: story{out: o.Out, dir: dir, env: []string{
		"PATH=" + filepath.Dir(o.Program) + ":" + os.Getenv("PATH"),
		"MINTMARK_URL=" + s.config.Issuer,
		"MINTMARK_TOKEN_FILE=" + s.config.AdminKeyFile(),
	}}, o: o, c: s.config, stopAgent: func() {}, closeShop: func() {}}
	defer func() { t.stopAgent(); t.closeShop() }()
	if err := t.tell(ctx); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(o.Out, "\nStopped in the middle of the story. The demo's directory is removed.")
			return nil
		}
		return err
	}
	if o.Once {
		return nil
	}
	t.leaveOpen()
	select {
	case <-ctx.Done():
		fmt.Fprintln(o.Out, "\nStopping. The demo's directory is removed.")
		return nil
	case err := <-s.ended:
		s.ended <- err
		return err
	}
}

// server is the demo's own server, in this process.
type server struct {
	config app.Config
	cancel context.CancelFunc
	ended  chan error
	log    *os.File
}

// startServer starts it with the embedded defaults, but for rotations that a person can watch.
func startServer(ctx context.Context, dir, version string) (*server, error) {
	var addresses []string
	for _, first := range []int{8080, 9000, 9090} {
		addr, err := freeAddress(first)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, addr)
	}
	c, err := app.Load(app.Source{Values: map[string]string{
		"data_dir":      filepath.Join(dir, "data"),
		"listen.public": addresses[0], "listen.s3": addresses[1], "listen.operations": addresses[2],
		"rotation.password_period": "5s", "rotation.secret_period": "8s", "rotation.grace": "4s", "rotation.max_overlap": "10m",
		"shutdown_grace": "5s", "mail.kind": "mailbox",
		"issuer": "http://" + strings.Replace(addresses[0], "127.0.0.1", "localhost", 1), // browsers keep no passkeys for an address
	}})
	if err != nil {
		return nil, err
	}
	c.Realms = []app.Realm{{Name: "customers", Registration: "open"}} // whoever plays along may have an account
	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	// The server must outlive ctx a little: it is stopped in order when the story ends.
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a, err := app.Start(serving, c, app.Build{Version: version}, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		cancel()
		return nil, errors.Join(err, log.Close())
	}
	s := &server{config: c, cancel: cancel, ended: make(chan error, 1), log: log}
	go func() { s.ended <- a.Run(serving) }()
	return s, s.waitReady(ctx)
}

func (s *server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.config.Listen.Operations+"/readyz", nil)
		if err != nil {
			return err
		}
		if res, err := new(http.Transport).RoundTrip(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the server did not get ready"), s.stop())
		case err := <-s.ended:
			s.ended <- nil
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *server) stop() error {
	s.cancel()
	return errors.Join(<-s.ended, s.log.Close())
}

// freeAddress is the first free loopback port from the usual one on.
func freeAddress(port int) (string, error) {
	for p := port; p < port+200; p++ {
		addr := fmt.Sprintf("127.0.0.1:%d", p)
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port on 127.0.0.1 from %d on", port)
}

// telling is the story with what it needs to know.
type telling struct {
	story
	o         Options
	c         app.Config
	stopAgent func()
	closeShop func()
	shop      string // the web shop's address
}

func (t *telling) tell(ctx context.Context) error {
	t.opening()
	for _, chapter := range []func(context.Context) error{
		t.register, t.deliver, t.fetch, t.login, t.rotate, t.status, t.people,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *telling) opening() {
	fmt.Fprintf(t.out, `mintmark %s: one application, from registration to a checked token, and one person

   A server is running on its embedded defaults, with rotations every few seconds so that you can watch.

     pages and protocol   %s
     object store (S3)    http://%s
     operations           http://%s/readyz, /metrics
     first login          administrator "admin"; access key in %s

   Every command below is really run. To follow along in another terminal:

     cd %s
     export PATH=%s:$PATH MINTMARK_URL=%s MINTMARK_TOKEN_FILE=%s
`, t.o.Version, t.c.Issuer, t.c.Listen.S3, t.c.Listen.Operations, t.c.AdminKeyFile(), t.dir, filepath.Dir(t.o.Program), t.c.Issuer, t.c.AdminKeyFile())
}

// all runs commands in order.
func (t *telling) all(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if err := t.run(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (t *telling) register(ctx context.Context) error {
	t.chapter("The team, what there is to be permitted, and the application")
	return t.all(ctx,
		`mintmark team create shop --name "Shop"`,
		`mintmark scope type create sales_order --name "sales order" --team shop --owner-realm employees --owner-realm customers`,
		`mintmark scope create sales_order.read --by-owner --summary "grants read access"`,
		`mintmark scope create sales_order.write --by-owner --summary "grants write access"`,
		`mintmark scope create sales_order.read_all --summary "grants read access to all orders"`,
		`mintmark app create sales-orders --team shop --name "Sales orders"`,
		`mintmark app grant sales-orders sales_order.read_all`,
	)
}

func (t *telling) deliver(ctx context.Context) error {
	t.chapter("A bucket: from now on the mint makes credentials and delivers them")
	return t.all(ctx,
		`mintmark bucket create shop-mint --team shop`,
		`mintmark app bucket add sales-orders shop-mint`,
		`mintmark app storage-key create sales-orders shop-mint --file agent-key`,
	)
}

// agentCommand runs the agent as an application's machine would.
func (t *telling) agentCommand(flags string) string {
	return `AWS_SHARED_CREDENTIALS_FILE=agent-key mintmark agent --endpoint http://` + t.c.Listen.S3 + ` --bucket shop-mint --application sales-orders ` + flags + ` credentials`
}

func (t *telling) fetch(ctx context.Context) error {
	t.chapter("The agent fetches both files to the application's machine")
	return t.all(ctx,
		t.agentCommand("--once --wait 30s"),
		`ls -lL credentials/`,
		`cat credentials/user.json; echo; cat credentials/client.json; echo`,
	)
}

func (t *telling) login(ctx context.Context) error {
	t.chapter("The application logs in, and a service checks its token")
	t.say("request.json is made of user.json; the client's id and secret come from client.json.")
	return t.all(ctx,
		`value() { sed -n 's/.*"'$2'": *"\([^"]*\)".*/\1/p' credentials/$1.json; }
umask 077; printf '{ "grant_type": "password", "username": "%s", "password": "%s", "scope": "uid sales_order.read_all" }\n' \
  "$(value user application_username)" "$(value user application_password)" > request.json
curl -sS -X POST -u "$(value client client_id):$(value client client_secret)" -d @request.json \
  "$MINTMARK_URL/oauth2/access_token?realm=services" > token.json`,
		`cat token.json; echo`,
		`TOKEN=$(sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p' token.json)
curl -sS "$MINTMARK_URL/oauth2/tokeninfo?access_token=$TOKEN"; echo`,
		`curl -sS -w '  HTTP %{http_code}\n' "$MINTMARK_URL/oauth2/tokeninfo?access_token=not-a-token"`,
	)
}

// rotate watches the credentials rotate, with an agent that keeps the directory fresh and a witness that logs in with
// whatever lies there.
func (t *telling) rotate(ctx context.Context) error {
	t.chapter(fmt.Sprintf("For %s: a rotation every few seconds, and a login every 50 ms", t.o.Watch))
	command := t.agentCommand("--interval 1s")
	t.show(command + " &")
	stop, err := t.background("/bin/sh", "-c", "exec env "+command)
	if err != nil {
		return err
	}
	t.stopAgent = stop
	watching, cancel := context.WithTimeout(ctx, t.o.Watch)
	defer cancel()
	w := witness.New(t.c.Issuer, filepath.Join(t.dir, "credentials"))
	done := make(chan struct{})
	go func() { defer close(done); w.Run(watching) }()
	elapsed := clock.Stopwatch()
	tick := time.NewTicker(t.o.Watch / 4)
	defer tick.Stop()
	for watching.Err() == nil {
		select {
		case <-watching.Done():
		case <-tick.C:
			n := w.Seen()
			t.say("%4s  %d logins, %d different pairs of credentials, %d refused", elapsed().Round(time.Second), n.Logins, n.Pairs, n.Refused)
		}
	}
	<-done
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n := w.Seen()
	switch {
	case n.Refused > 0:
		return fmt.Errorf("%w: %s", ErrRefused, veil(n.LastRefusal))
	case n.Pairs < 2:
		return fmt.Errorf("the credentials did not rotate in %s: %d logins, %d unanswered (%s)", t.o.Watch, n.Logins, n.Unanswered, n.LastSilence)
	}
	t.say("%d logins with %d different pairs of credentials: %d refused, %d unanswered.", n.Logins, n.Pairs, n.Refused, n.Unanswered)
	return nil
}

func (t *telling) status(ctx context.Context) error {
	t.chapter("Who has which version, and who did what")
	return t.all(ctx,
		`mintmark app status sales-orders`,
		`mintmark audit list --limit 6`,
		`mintmark audit verify --data-dir data`,
	)
}

// alicePassword is no secret: it is printed, and good for a server that lives as long as the demo.
const alicePassword = "the shop knows my orders"

// people opens a web shop that a person can sign in to.
func (t *telling) people(ctx context.Context) error {
	t.chapter("A person signs in to a web shop, which never sees the password")
	addr, err := freeAddress(8088)
	if err != nil {
		return err
	}
	if err := t.all(ctx,
		`mintmark app create web-shop --team shop --name "Web shop" --public-client`,
		`mintmark app grant web-shop sales_order.read`,
		`mintmark client set web-shop --redirect-uri http://127.0.0.1/callback`,
		`echo "`+alicePassword+`" > alice.password
mintmark user create customers/alice --display-name "Alice" --email alice@example.org --password-file alice.password`,
		`mintmark client show web-shop -o json > web-shop.json`,
	); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(t.dir, "web-shop.json"))
	if err != nil {
		return err
	}
	var client struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal(text, &client); err != nil {
		return fmt.Errorf("read the settings of the web shop: %w", err)
	}
	if t.closeShop, err = openShop(t.c.Issuer, client.ID, addr); err != nil {
		return fmt.Errorf("open the web shop: %w", err)
	}
	t.shop = "http://" + addr + "/"
	t.say("The shop is open at %s", t.shop)
	t.say("Sign in there as alice of realm customers; her password is: %s", alicePassword)
	t.say("What she allows is remembered, and can be taken back: mintmark user approvals customers/alice")
	return nil
}

func (t *telling) leaveOpen() {
	fmt.Fprintf(t.out, `
The server goes on, and so do the agent and the rotations, until you press Ctrl-C.

   Open      %s
   Sign in   %s as customers/alice, password: %s
             or create an account of your own there; its letters come to %s/mailbox
   Try       cd %s
             export PATH=%s:$PATH MINTMARK_URL=%s MINTMARK_TOKEN_FILE=%s
             mintmark app status sales-orders
             mintmark rotate sales-orders --wait
             mintmark token get --credentials credentials | mintmark token check -
`, t.c.Issuer, t.shop, alicePassword, t.c.Issuer, t.dir, filepath.Dir(t.o.Program), t.c.Issuer, t.c.AdminKeyFile())
}
