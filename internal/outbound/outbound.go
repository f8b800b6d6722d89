// Package outbound calls addresses that tenants gave us: where a client wants to hear of a logout, where it keeps its
// keys. It is the one HTTP client for such addresses.
//
// What it guards: nobody reaches through this server what he could not reach himself.
//   - The address is judged where the connection is made, as the number that is connected to: no spelling of it, no name
//     that resolves to it and no resolver that answers differently the second time gets around that. What is not public
//     is refused (address.go), but for the networks that the operator allowed.
//   - https alone, unless the operator allowed http. No redirect is followed, no proxy asked, no cookie kept, and no
//     connection is used twice.
//   - Three seconds in all, 64 KiB of an answer, so many calls at once: a slow or endless answer costs nobody else much.
//
// What went wrong is for logs and metrics. Tenants are told no more than that their address did not answer as it should:
// the difference between a closed port and a silent one would show them the network that this server stands in.
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/redact"
)

// The bounds of each call.
const (
	Timeout = 3 * time.Second
	MaxBody = 64 << 10

	maxHeader = 16 << 10
	maxURL    = 2048
	atOnce    = 64
)

// The errors that callers branch on. Each other error says that the address did not answer.
var (
	// ErrURL is that of a URL which is never called, whatever it resolves to.
	ErrURL = errors.New("outbound: the URL must not be called")
	// ErrAddress is that of a host which has no address that may be called.
	ErrAddress = errors.New("outbound: the host's address is not public")
	// ErrRedirect is that of an answer which leads elsewhere.
	ErrRedirect = errors.New("outbound: the answer is a redirect")
	// ErrTooLarge is that of an answer which is larger than MaxBody.
	ErrTooLarge = errors.New("outbound: the answer is too large")
	// ErrBusy says that too many calls are under way.
	ErrBusy = errors.New("outbound: too many calls are under way")
)

// Options configure a Client. The zero value is ready to use, and strict.
type Options struct {
	// Allow are networks that may be called although they are not public: those of the organisation itself.
	Allow []netip.Prefix
	// HTTP allows addresses without TLS.
	HTTP bool
	// Agent is what the program calls itself. "": mintmark.
	Agent string

	Lookup  func(ctx context.Context, host string) ([]netip.Addr, error) // nil: the machine's resolver
	Roots   *x509.CertPool                                               // nil: the machine's
	Metrics prometheus.Registerer                                        // nil: not exported
}

// Client makes the calls. Use it from any number of goroutines.
type Client struct {
	o     Options
	http  http.Client
	slots chan struct{}
	calls *prometheus.CounterVec // purpose, outcome
}

// New makes a Client.
func New(o Options) *Client {
	if o.Agent == "" {
		o.Agent = "mintmark"
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	c := &Client{o: o, slots: make(chan struct{}, atOnce), calls: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintmark_outbound_calls_total",
		Help: "Calls to addresses of clients, by purpose and outcome: answered, status, url, address, redirect, too_large, busy, failed.",
	}, []string{"purpose", "outcome"})}
	if o.Metrics != nil {
		o.Metrics.MustRegister(c.calls)
	}
	c.http = http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  nil, // whatever the environment says
			DialContext:            c.dial,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
			DisableKeepAlives:      true, // the next call may be to another address of the same name
			DisableCompression:     true, // so that MaxBody bounds what is read
			MaxResponseHeaderBytes: maxHeader,
		},
	}
	return c
}

// Request is one call.
type Request struct {
	Purpose     string // a word of our own, for metrics
	Method      string // "": GET, or POST if there is a body
	URL         string
	ContentType string // of Body
	Accept      string // "": anything
	Body        []byte
	// Authorization is the value of that header; empty: none.
	Authorization redact.Secret
}

// Answer is what came back, with any status but a redirect.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
}

// OK tells whether the status says that the call succeeded.
func (a Answer) OK() bool { return a.Status >= 200 && a.Status <= 299 }

// Do makes one call. It never waits longer than Timeout.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	a, err := c.do(ctx, r)
	c.calls.WithLabelValues(r.Purpose, outcomeOf(a, err)).Inc()
	return a, err
}

func (c *Client) do(ctx context.Context, r Request) (Answer, error) {
	u, err := c.parse(r.URL)
	if err != nil {
		return Answer{}, err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return Answer{}, ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	method := r.Method
	if method == "" && r.Body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrURL, err)
	}
	req.Header.Set("User-Agent", c.o.Agent)
	if r.ContentType != "" {
		req.Header.Set("Content-Type", r.ContentType)
	}
	if r.Accept != "" {
		req.Header.Set("Accept", r.Accept)
	}
	if !r.Authorization.Empty() {
		req.Header.Set("Authorization", r.Authorization.Reveal())
	}
	return c.send(req)
}

func (c *Client) send(req *http.Request) (Answer, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, which may hold a secret of the tenant
		}
		return Answer{}, fmt.Errorf("call %s: %w", req.URL.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode <= 399 {
		return Answer{}, fmt.Errorf("call %s: %w", req.URL.Host, ErrRedirect)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer of %s: %w", req.URL.Host, err)
	}
	if len(body) > MaxBody {
		return Answer{}, fmt.Errorf("call %s: %w", req.URL.Host, ErrTooLarge)
	}
	return Answer{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Body: body}, nil
}

func outcomeOf(a Answer, err error) string {
	for _, known := range []struct {
		err  error
		word string
	}{{ErrURL, "url"}, {ErrAddress, "address"}, {ErrRedirect, "redirect"}, {ErrTooLarge, "too_large"}, {ErrBusy, "busy"}} {
		if errors.Is(err, known.err) {
			return known.word
		}
	}
	switch {
	case err != nil:
		return "failed"
	case !a.OK():
		return "status"
	}
	return "answered"
}

// CheckURL tells whether a URL could be called at all: nil, or an ErrURL or ErrAddress. It looks up nothing, so it is for
// the moment when a tenant registers the URL; what counts is what Do finds later.
func (c *Client) CheckURL(raw string) error {
	_, err := c.parse(raw)
	return err
}

// parse reads a URL as strictly as nobody needs to be about an honest one.
func (c *Client) parse(raw string) (*url.URL, error) {
	if raw == "" || len(raw) > maxURL || strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
		return nil, fmt.Errorf("%w: it is empty, too long, or not written in plain ASCII", ErrURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be read", ErrURL)
	}
	if u.Scheme != "https" && !(c.o.HTTP && u.Scheme == "http") {
		return nil, fmt.Errorf("%w: its scheme is not https", ErrURL)
	}
	if u.Opaque != "" || u.User != nil || u.Fragment != "" || strings.Contains(raw, "#") {
		return nil, fmt.Errorf("%w: it has a user, a fragment or no host", ErrURL)
	}
	host, literal, err := splitHost(u)
	if err != nil {
		return nil, err
	}
	if literal.IsValid() && !c.allowed(literal) {
		return nil, fmt.Errorf("%w: %s", ErrAddress, host)
	}
	return u, nil
}

// splitHost answers the host of a URL and, if it is one, the address that it is.
func splitHost(u *url.URL) (host string, literal netip.Addr, err error) {
	host = u.Hostname()
	if !portAllowed(u) {
		return "", netip.Addr{}, fmt.Errorf("%w: its port is not one of the web", ErrURL)
	}
	if literal, err = netip.ParseAddr(host); err == nil {
		return host, literal, nil
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if name == "" || len(name) > 253 || strings.HasPrefix(u.Host, "[") || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		return "", netip.Addr{}, fmt.Errorf("%w: its host is neither a name nor an address", ErrURL)
	}
	// Some resolvers take 2130706433, 0x7f000001, 0177.1 and 127.1 for addresses. No name of the Domain Name System ends
	// in a number, so what does is another way to write one.
	last := name[strings.LastIndexByte(name, '.')+1:]
	if last == "" || last[0] >= '0' && last[0] <= '9' {
		return "", netip.Addr{}, fmt.Errorf("%w: its host is an address in a spelling of its own", ErrURL)
	}
	return name, netip.Addr{}, nil
}

// portAllowed refuses the ports of other protocols: who answers there might take a request for something else.
func portAllowed(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.Atoi(u.Port())
	return err == nil && (n == 80 || n == 443 || n >= 1024 && n < 1<<16)
}

// dial connects to an address of the host that may be called. The name is looked up once, and what was found is what is
// connected to.
func (c *Client) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	found, err := c.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Control: c.control}
	var failures []error
	for _, addr := range found {
		if !c.allowed(addr) {
			continue
		}
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(addr.Unmap().String(), port))
		if err == nil {
			return conn, nil
		}
		failures = append(failures, err)
	}
	if failures == nil {
		return nil, ErrAddress
	}
	return nil, errors.Join(failures...)
}

// maxAddresses is how many addresses of one name are tried.
const maxAddresses = 8

func (c *Client) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if literal, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{literal}, nil
	}
	found, err := c.o.Lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("look up the host: %w", err)
	}
	return found[:min(len(found), maxAddresses)], nil
}

// control looks at the address once more, where the operating system is handed it.
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !c.allowed(to.Addr()) {
		return ErrAddress
	}
	return nil
}
