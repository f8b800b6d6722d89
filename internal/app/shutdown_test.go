package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/testport"
)

// A server that is told to stop finishes what is in flight, and says meanwhile that it wants no more.
func TestRequestsInFlightAreFinished(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, map[string]string{"shutdown_grace": "30s"})
		const body = `{"name":"In flight"}`
		conn, err := net.Dial("tcp", w.config.Listen.Public)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PUT /api/teams/late HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", w.adminKey(t), len(body))
		r := bufio.NewReader(conn)
		if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
			t.Fatalf("%q, %v", line, err)
		}
		if _, err := r.ReadString('\n'); err != nil { // the end of the 100
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, body[:5]); err != nil {
			t.Fatal(err)
		}

		ended := make(chan error, 1)
		go func() { ended <- w.stop() }()
		eventually(t, "readiness tells that it is stopping", func() error {
			if status, text := w.readyz(t); status != http.StatusServiceUnavailable || !strings.Contains(text, "stopping") {
				return fmt.Errorf("%d %s", status, text)
			}
			return nil
		})
		if status, _ := fetch(t, "http://"+w.config.Listen.Operations+"/livez"); status != http.StatusOK {
			t.Errorf("it is alive until it ends, and answers %d", status)
		}
		eventually(t, "nobody new is let in", func() error {
			c, err := net.Dial("tcp", w.config.Listen.Public)
			if err != nil {
				return nil
			}
			c.Close()
			return fmt.Errorf("the port still takes connections")
		})
		select {
		case err := <-ended:
			t.Fatalf("it ended with a request in flight: %v", err)
		default:
		}

		if _, err := io.WriteString(conn, body[5:]); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
			t.Errorf("%d %s", res.StatusCode, b)
		}
		res.Body.Close()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
		if teams := strings.Join(dump(t, w.databaseURL())["teams"], "\n"); !strings.Contains(teams, "In flight") {
			t.Errorf("what was answered is not stored: %s", teams)
		}
	})
}

// Without its database a node says so and why, goes on checking tokens, and heals by itself.
func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	wire := newWire(t, dbtest.EmptyURL(t, db.PostgreSQL))
	w := startWith(t, configure(t, wire.url, nil))
	w.register(t, "sales-orders")
	w.bucket(t, "sales-orders", "shop-mint")
	bucket, _ := w.storage(t, "sales-orders", "shop-mint")
	c := bucket.delivered(t, client.Credentials{})
	w.active(t, "sales-orders", 1)
	token := must[client.Token](t, "token")(w.admin.RequestToken(t.Context(), client.TokenRequest{Credentials: c, Scopes: []string{"uid"}}))
	if _, err := w.admin.TokenInfo(t.Context(), token.Value); err != nil {
		t.Fatal(err)
	}

	wire.cut()
	eventually(t, "readiness names the database", func() error {
		if status, text := w.readyz(t); status != http.StatusServiceUnavailable || !strings.Contains(text, "database: ") {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	if status, _ := fetch(t, "http://"+w.config.Listen.Operations+"/livez"); status != http.StatusOK {
		t.Errorf("a node without its database is alive, and answers %d", status)
	}
	for _, path := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/oauth2/tokeninfo?access_token=" + token.Value, "/"} {
		if status, body := fetch(t, w.config.Issuer+path); status != http.StatusOK {
			t.Errorf("%.25s: %d %s", path, status, body)
		}
	}
	if _, err := w.admin.Introspect(t.Context(), token.Value, c); err != nil {
		t.Errorf("introspection by a client in memory: %v", err)
	}
	if a := w.knock(t, w.config.Issuer, "Bearer "+w.adminKey(t), look("", "GET", "/api/teams", 503, "")); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.code() == "" {
		t.Errorf("what needs the database: %d %s %v", a.status, a.body, a.header)
	}

	wire.mend()
	eventually(t, "it is ready again by itself", func() error {
		if status, text := w.readyz(t); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, text)
		}
		return nil
	})
	if a := w.seedToken(t, "services", c); a.status != http.StatusOK {
		t.Errorf("a login after that: %d %s", a.status, a.code())
	}
	rotated := func() error { _, err := w.admin.Rotate(t.Context(), "sales-orders"); return err }
	eventually(t, "changes are taken again", rotated)
	bucket.delivered(t, c)
	w.active(t, "sales-orders", 2)
}

// wire stands between a server and its PostgreSQL, and can be cut.
type wire struct {
	url string // of the database, through the wire

	mu    sync.Mutex
	off   bool
	conns map[net.Conn]bool // open, both ends
}

func newWire(t *testing.T, database string) *wire {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	target, l := u.Host, testport.Listen(t)
	u.Host = l.Addr().String()
	w := &wire{url: u.String(), conns: map[net.Conn]bool{}}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go w.carry(near, target)
		}
	}()
	t.Cleanup(w.cut)
	return w
}

func (w *wire) carry(near net.Conn, target string) {
	far, err := net.Dial("tcp", target)
	if err != nil {
		near.Close()
		return
	}
	w.mu.Lock()
	if w.off {
		near.Close()
		far.Close()
	}
	w.conns[near], w.conns[far] = true, true
	w.mu.Unlock()
	go func() {
		io.Copy(far, near)
		far.Close()
	}()
	io.Copy(near, far)
	near.Close()
	w.mu.Lock()
	delete(w.conns, near)
	delete(w.conns, far)
	w.mu.Unlock()
}

// cut ends every connection and lets no new one through.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = true
	for c := range w.conns {
		c.Close()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = false
}
