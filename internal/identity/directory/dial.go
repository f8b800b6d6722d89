package directory

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
)

const (
	// mostOfAnswer bounds what is read for one question at a login, mostOfPage for one page of a comparison.
	mostOfAnswer = 1 << 20
	mostOfPage   = 64 << 20

	firstPause   = time.Second
	longestPause = 15 * time.Second
	idleFor      = time.Minute // longer no connection is kept that nobody uses
)

// errDown says that no server can be asked now.
var errDown = errors.New("no server of the directory can be asked just now")

// server is one server and how it did.
type server struct {
	serverAddress
	failures int       // in a row
	until    time.Time // it is not tried before
	trying   bool      // somebody tries it after a failure: the others do not wait for that
}

// pool holds the connections to the servers of one directory. At most a bounded number is used at once, and one is asked
// one thing at a time. A server that fails is left alone for a while that grows.
type pool struct {
	c      *Config
	tls    *tls.Config
	clock  clock.Clock
	places chan struct{}

	mu      sync.Mutex
	servers []*server // owned by mu
	idle    []*conn   // owned by mu
}

func newPool(c *Config, clk clock.Clock) (*pool, error) {
	t, err := c.tlsConfig()
	if err != nil {
		return nil, err
	}
	p := &pool{c: c, tls: t, clock: clk, places: make(chan struct{}, c.AtOnce)}
	for _, text := range c.URLs {
		address, err := parseServer(text, c.Plain)
		if err != nil {
			return nil, err
		}
		p.servers = append(p.servers, &server{serverAddress: address})
	}
	return p, nil
}

// conn is a connection that is asked one thing at a time.
type conn struct {
	*ldap.Conn
	raw    *bounded
	server *server
	since  time.Time // it is idle
	bad    bool      // a question was not answered: the server is in trouble
	spent  bool      // what else may come on it is nothing that was asked for
}

// bounded is a connection from which only so much is read until somebody allows more.
type bounded struct {
	net.Conn
	left atomic.Int64
}

// errTooMuch ends a connection whose server says more than anybody asked for.
var errTooMuch = errors.New("the directory answers with more than is asked for")

// Read reads, as long as it may.
func (b *bounded) Read(p []byte) (int, error) {
	left := b.left.Load()
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), left)])
	b.left.Add(int64(-n))
	return n, err
}

// unavailable is the answer while the directory cannot be asked.
func unavailable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "directory_unavailable", "The directory that knows this account cannot be asked just now. Nothing was counted against you. Please try again later.").Retry(5 * time.Second)
}

// with runs f with a connection that is bound as who searches. A connection on which a question was not answered is closed.
func (p *pool) with(ctx context.Context, f func(ctx context.Context, c *conn) error) error {
	waiting, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	select {
	case p.places <- struct{}{}:
	case <-waiting.Done():
		return unavailable(fmt.Errorf("all %d connections to the directory are in use: %w", p.c.AtOnce, waiting.Err()))
	}
	defer func() { <-p.places }()
	c, err := p.take(ctx)
	if err != nil {
		return unavailable(err)
	}
	err = f(ctx, c)
	if c.bad {
		p.failed(c.server)
	}
	if c.bad || c.spent || c.IsClosing() {
		c.end()
	} else {
		p.give(c)
	}
	return err
}

// end closes the connection at once, without waiting for the server.
func (c *conn) end() {
	_ = c.raw.Close() // nothing is lost: what was asked was answered, or never will be
	go c.Close()
}

// take answers an idle connection that still works, or a new one. Servers close what is idle: that is no failure; that
// they do not answer is one.
func (p *pool) take(ctx context.Context) (*conn, error) {
	c := p.lastIdle()
	if c == nil {
		return p.dial(ctx)
	}
	if err := p.bindAs(ctx, c); err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		c.end()
		return nil, ctx.Err()
	}
	c.end()
	p.close(c.server)
	return p.dial(ctx)
}

func (p *pool) lastIdle() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if !c.IsClosing() && clock.Since(p.clock, c.since) < idleFor {
			return c
		}
		c.end()
	}
	return nil
}

func (p *pool) give(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.since = p.clock.Now()
	p.idle = append(p.idle, c)
}

// close ends the connections to a server that nobody uses; nil: to all.
func (p *pool) close(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(c *conn) bool {
		if s != nil && c.server != s {
			return false
		}
		c.end()
		return true
	})
}

// dial connects to the first server that can be asked, in their order.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	failed := errDown
	for _, s := range p.order() {
		if !p.begin(s) {
			continue
		}
		c, err := p.connect(ctx, s)
		if err == nil {
			p.worked(s)
			return c, nil
		}
		failed = fmt.Errorf("%w: %s: %w", failed, s.address, err)
		if ctx.Err() != nil { // whoever asked is gone: that says nothing of the server
			p.left(s)
			break
		}
		p.failed(s)
	}
	return nil, failed
}

func (p *pool) order() []*server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.servers)
}

// begin tells whether the server may be tried now: not within its pause, and after it by one at a time.
func (p *pool) begin(s *server) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.failures == 0 {
		return true
	}
	if s.trying || p.clock.Now().Before(s.until) {
		return false
	}
	s.trying = true
	return true
}

func (p *pool) worked(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.failures, s.trying = 0, false
}

func (p *pool) left(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.trying = false
}

func (p *pool) failed(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.until = p.clock.Now().Add(min(firstPause<<min(s.failures, 10), longestPause))
	s.failures, s.trying = s.failures+1, false
}

// down tells how many servers are left alone just now, and of how many.
func (p *pool) down() (down, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.servers {
		if s.failures > 0 {
			down++
		}
	}
	return down, len(p.servers)
}

// connect opens a connection to one server, protects it, and binds as who searches.
func (p *pool) connect(ctx context.Context, s *server) (_ *conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.c.Timeout)
	defer cancel()
	plain, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	raw := &bounded{Conn: plain}
	raw.left.Store(mostOfAnswer)
	stop := context.AfterFunc(ctx, func() { _ = plain.Close() })
	defer stop()
	t := p.tls.Clone()
	if t.ServerName == "" {
		t.ServerName = s.host
	}
	c := &conn{raw: raw, server: s}
	if s.implicit {
		secured := tls.Client(raw, t)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = plain.Close()
			return nil, fmt.Errorf("TLS: %w", err)
		}
		c.Conn = ldap.NewConn(secured, true)
	} else {
		c.Conn = ldap.NewConn(raw, false)
	}
	c.SetTimeout(p.c.Timeout)
	c.Start()
	defer func() {
		if err != nil {
			c.end()
		}
	}()
	if !s.implicit && !s.plain {
		if err := c.StartTLS(t); err != nil {
			return nil, fmt.Errorf("StartTLS: %w", err)
		}
	}
	return c, p.bindAs(ctx, c)
}

// bindAs has the connection be the one of who searches: whoever it was bound as before.
func (p *pool) bindAs(ctx context.Context, c *conn) error {
	return p.ask(ctx, c, mostOfAnswer, p.c.Timeout, func() error {
		if p.c.BindDN == "" {
			return c.UnauthenticatedBind("")
		}
		if err := c.Bind(p.c.BindDN, p.c.BindPassword.Reveal()); err != nil {
			return fmt.Errorf("bind as bind_dn: %w", err)
		}
		return nil
	})
}

// ask asks the server one thing: it must be answered in time, and with so much at most.
//
// A question that whoever asked gave up says nothing of the server, and neither do more entries than were wanted; but the
// connection is not used again.
func (p *pool) ask(ctx context.Context, c *conn, most int64, within time.Duration, question func() error) error {
	inTime, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stop := context.AfterFunc(inTime, func() { _ = c.raw.Close() })
	c.raw.left.Store(most)
	err := question()
	if !stop() && err != nil {
		err = fmt.Errorf("no answer in time: %w", context.Cause(inTime))
	}
	switch {
	case !silent(err):
	case ctx.Err() != nil || errors.Is(err, ldap.ErrSizeLimitExceeded):
		c.spent = true
	default:
		c.bad = true
	}
	return err
}

// silent tells whether an error is none of the directory's answers, or says that it cannot answer: then nothing is known.
func silent(err error) bool {
	var e *ldap.Error
	if err == nil {
		return false
	}
	return !errors.As(err, &e) || e.ResultCode >= ldap.ErrorNetwork || e.ResultCode == ldap.LDAPResultBusy || e.ResultCode == ldap.LDAPResultUnavailable
}
