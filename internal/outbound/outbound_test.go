package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/outbound"
	"github.com/mintmark/mintmark/internal/testport"
)

// victim is a server of the inner network that counts who connects to it.
func victim(t *testing.T) (port string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	l := testport.Listen(t)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, connections
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func addrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// TestB7_122_AddressesOfTheInnerNetworkAreNeverCalled: the victim sees no connection, however its address is written,
// and whatever the resolver says.
func TestB7_122_AddressesOfTheInnerNetworkAreNeverCalled(t *testing.T) {
	port, connections := victim(t)
	names := map[string][]netip.Addr{
		"private.test":  addrs("127.0.0.1"),
		"rfc1918.test":  addrs("10.0.0.1", "172.16.0.1", "192.168.0.1"),
		"metadata.test": addrs("169.254.169.254"),
		"mapped.test":   addrs("::ffff:127.0.0.1"),
		"nat64.test":    addrs("64:ff9b::7f00:1"),
		"v6.test":       addrs("::1", "fe80::1", "fd00::1", "::", "::127.0.0.1"),
		"none.test":     {},
		// Some resolvers understand these.
		"localhost": addrs("127.0.0.1"), "2130706433": addrs("127.0.0.1"), "0x7f000001": addrs("127.0.0.1"),
	}
	asked := map[string]int{}
	c := outbound.New(outbound.Options{HTTP: true, Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
		asked[host]++
		found, ok := names[host]
		if !ok {
			return nil, errors.New("no such host")
		}
		return found, nil
	}})
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "127.1", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "2130706433", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost.",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::127.0.0.1]", "[fe80::1]", "[fe80::1%25lo]",
		"[fd00::1]", "[ff02::1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "127.0.0.1.", "1.2.3.4.5",
		"private.test", "rfc1918.test", "metadata.test", "mapped.test", "nat64.test", "v6.test", "none.test", "unknown.test",
	} {
		for _, scheme := range []string{"http", "https"} {
			url := scheme + "://" + host + ":" + port + "/"
			if a, err := c.Do(t.Context(), outbound.Request{Purpose: "test", URL: url}); err == nil {
				t.Errorf("%s answered %d", url, a.Status)
			}
		}
	}
	for host, n := range asked {
		if n > 2 {
			t.Errorf("%s was looked up %d times for two calls: the second answer could be another", host, n)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("the victim saw %d connections", n)
	}
	// The machine's own resolver, and no allowance.
	own := outbound.New(outbound.Options{HTTP: true})
	if _, err := own.Do(t.Context(), outbound.Request{Purpose: "test", URL: "http://localhost:" + port + "/"}); !errors.Is(err, outbound.ErrAddress) {
		t.Errorf("localhost: %v", err)
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("the victim saw %d connections", n)
	}
}

// A name that leads to a public address when it is looked at, and to the victim when it is called, is looked up once.
func TestB7_122_Rebinding(t *testing.T) {
	port, connections := victim(t)
	lookups := 0
	c := outbound.New(outbound.Options{HTTP: true, Lookup: func(context.Context, string) ([]netip.Addr, error) {
		if lookups++; lookups%2 == 1 {
			return addrs("192.0.2.1", "127.0.0.1"), nil // and both at once
		}
		return addrs("127.0.0.1"), nil
	}})
	for range 4 {
		if _, err := c.Do(t.Context(), outbound.Request{Purpose: "test", URL: "http://rebinding.test:" + port + "/"}); !errors.Is(err, outbound.ErrAddress) {
			t.Error(err)
		}
	}
	if n := connections.Load(); n != 0 || lookups != 4 {
		t.Errorf("%d connections, %d lookups for 4 calls", n, lookups)
	}
}

func TestB7_122_NoRedirectNoProxyNoCookie(t *testing.T) {
	port, connections := victim(t)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:"+port)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:"+port)
	var cookies atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			cookies.Add(1)
		}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		switch r.URL.Path {
		case "/to":
			http.Redirect(w, r, "http://127.0.0.1:"+port+"/", http.StatusFound)
		case "/keep":
			http.Redirect(w, r, "http://127.0.0.1:"+port+"/", http.StatusTemporaryRedirect)
		}
	}))
	s.Listener = testport.Listen(t)
	s.Start()
	t.Cleanup(s.Close)
	c := outbound.New(outbound.Options{HTTP: true, Allow: loopback})
	for _, path := range []string{"/to", "/keep"} {
		if _, err := c.Do(t.Context(), outbound.Request{Purpose: "test", URL: s.URL + path, Body: []byte("x")}); !errors.Is(err, outbound.ErrRedirect) {
			t.Errorf("%s: %v", path, err)
		}
	}
	for range 2 {
		if a, err := c.Do(t.Context(), outbound.Request{Purpose: "test", URL: s.URL}); err != nil || !a.OK() {
			t.Errorf("%+v %v", a, err)
		}
	}
	if n, m := connections.Load(), cookies.Load(); n != 0 || m != 0 {
		t.Errorf("%d connections to the victim, %d cookies", n, m)
	}
}

func TestCallsAreBounded(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large":
			fmt.Fprint(w, strings.Repeat("x", outbound.MaxBody+1))
		case "/full":
			fmt.Fprint(w, strings.Repeat("x", outbound.MaxBody))
		case "/header":
			w.Header().Set("X", strings.Repeat("x", 100<<10))
		case "/slow":
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			select {
			case <-release:
			case <-r.Context().Done():
			}
		case "/refused":
			w.WriteHeader(400)
		}
	}))
	s.Listener = testport.Listen(t)
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	metrics := prometheus.NewRegistry()
	c := outbound.New(outbound.Options{HTTP: true, Allow: loopback, Metrics: metrics})
	get := func(path string) (outbound.Answer, error) {
		return c.Do(t.Context(), outbound.Request{Purpose: "test", URL: s.URL + path})
	}
	if _, err := get("/large"); !errors.Is(err, outbound.ErrTooLarge) {
		t.Error(err)
	}
	if a, err := get("/full"); err != nil || len(a.Body) != outbound.MaxBody {
		t.Error(err)
	}
	if _, err := get("/header"); err == nil {
		t.Error("a header without end was read")
	}
	if a, err := get("/refused"); err != nil || a.OK() || a.Status != 400 {
		t.Errorf("%+v %v", a, err)
	}
	if _, err := get("/slow?secret=token"); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	families, err := metrics.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "mintmark_outbound_calls_total" {
		t.Fatal(families, err)
	}
	got := map[string]float64{}
	for _, m := range families[0].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "outcome" {
				got[l.GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{"answered": 1, "failed": 2, "status": 1, "too_large": 1}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTLSIsChecked(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Content-Type"), r.Method) }))
	s.Listener = testport.Listen(t)
	s.StartTLS()
	t.Cleanup(s.Close)
	r := outbound.Request{Purpose: "test", URL: s.URL, Body: []byte("a=b"), ContentType: "text/x"}
	if _, err := outbound.New(outbound.Options{Allow: loopback}).Do(t.Context(), r); err == nil {
		t.Error("a certificate of nobody was believed")
	}
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	a, err := outbound.New(outbound.Options{Allow: loopback, Roots: roots}).Do(t.Context(), r)
	if err != nil || string(a.Body) != "text/xPOST" {
		t.Errorf("%s %v", a.Body, err)
	}
}

func TestURLs(t *testing.T) {
	strict, loose := outbound.New(outbound.Options{}), outbound.New(outbound.Options{HTTP: true, Allow: loopback})
	for url, want := range map[string][2]bool{ // strictly, with http and loopback allowed
		"https://rp.example.org/logout?x=1":                   {true, true},
		"https://rp.example.org:8443/":                        {true, true},
		"https://8.8.8.8/":                                    {true, true},
		"https://[2606:4700::1111]/":                          {true, true},
		"http://rp.example.org/":                              {false, true},
		"https://127.0.0.1/":                                  {false, true},
		"https://10.0.0.1/":                                   {false, false},
		"":                                                    {false, false},
		"rp.example.org":                                      {false, false},
		"//rp.example.org/":                                   {false, false},
		"https:///x":                                          {false, false},
		"https:rp.example.org":                                {false, false},
		"https://user@rp.example.org/":                        {false, false},
		"https://rp.example.org/#f":                           {false, false},
		"https://rp.example.org/#":                            {false, false},
		"https://rp.example.org:/":                            {false, false},
		"https://rp.example.org:22/":                          {false, false},
		"https://rp.example.org:0/":                           {false, false},
		"https://rp.example.org:65536/":                       {false, false},
		"https://rp example.org/":                             {false, false},
		"https://rp.example.org\\@127.0.0.1/":                 {false, false},
		"https://rp.exämple.org/":                             {false, false},
		"https://rp;x.example.org/":                           {false, false},
		"https://[rp.example.org]/":                           {false, false},
		"file:///etc/passwd":                                  {false, false},
		"gopher://rp.example.org/":                            {false, false},
		"https://" + strings.Repeat("a.", 130) + "b/":         {false, false},
		"https://rp.example.org/" + strings.Repeat("x", 2048): {false, false},
	} {
		if got := [2]bool{strict.CheckURL(url) == nil, loose.CheckURL(url) == nil}; got != want {
			t.Errorf("%q: %v, want %v", url, got, want)
		}
	}
}
