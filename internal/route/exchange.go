package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
)

type exchangeKey struct{}

// exchange is one request under way. It is its own context and its own ResponseWriter, so that all this costs one
// allocation on the token endpoint. It belongs to the goroutine that serves the request.
type exchange struct {
	context.Context
	w         http.ResponseWriter
	m         *Mux
	r         *http.Request // as it came in
	endpoint  *endpoint     // nil until a pattern matched
	elapsed   func() time.Duration
	requestID string
	ip        string        // see clientIP
	caller    access.Caller // for the log
	code      string        // of the error that was answered
	err       error         // what was behind it, for the log
	status    int           // 0 until the header went out
	bytes     int64
	placed    bool // it holds a place among the requests in flight
	matching  bool // the standard mux is looking for a pattern: what it writes is kept back
	routed    int  // the status that the standard mux wrote
}

// Value finds the exchange itself, then what the inner context holds.
func (x *exchange) Value(key any) any {
	if _, ok := key.(exchangeKey); ok {
		return x
	}
	return x.Context.Value(key)
}

// The header values that every answer carries, made once.
var (
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noStore    = []string{"no-store"}
	noContent  = []string{"default-src 'none'; frame-ancestors 'none'"}
	hsts       = []string{"max-age=31536000; includeSubDomains"}
)

func newExchange(ctx context.Context, m *Mux, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{Context: ctx, w: w, m: m, r: r, elapsed: clock.Stopwatch(), requestID: requestID(m.o.Clock, r)}
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	h["Referrer-Policy"] = noReferrer
	h["Cache-Control"] = noStore
	h["Content-Security-Policy"] = noContent
	h["X-Request-Id"] = []string{x.requestID}
	if m.o.HTTPS || r.TLS != nil {
		h["Strict-Transport-Security"] = hsts
	}
	return x
}

// requestID is the caller's, if it is harmless to log and to echo, else a new one.
func requestID(c clock.Clock, r *http.Request) string {
	given := r.Header["X-Request-Id"]
	if len(given) == 1 && validRequestID(given[0]) {
		return given[0]
	}
	return id.New(id.Request, c.Now())
}

func validRequestID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// Header is the answer's header. What the standard mux puts there is taken out again by answerUnmatched.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader sends the status, once; informational ones pass.
func (x *exchange) WriteHeader(status int) {
	if x.matching {
		x.routed = status
		return
	}
	if x.status != 0 {
		return // net/http would log it to stderr; the first one counts
	}
	if status >= 200 {
		x.status = status
	}
	if status >= 300 || strings.HasPrefix(contentType(x.w.Header()), "text/html") {
		PageHeaders(x.w.Header()) // browsers show it, or follow it
	}
	x.w.WriteHeader(status)
}

// Write sends a part of the body.
func (x *exchange) Write(b []byte) (int, error) {
	if x.matching {
		return len(b), nil
	}
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	n, err := x.w.Write(b)
	x.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

// answerUnmatched says what the standard mux found, as a document.
func (x *exchange) answerUnmatched(r *http.Request) {
	h := x.w.Header()
	h.Del("Location")
	h.Del("Content-Type")
	if x.routed == http.StatusMethodNotAllowed {
		writeStatus(x, r, http.StatusMethodNotAllowed, "method_not_allowed",
			"This path does not know the method "+printable(r.Method)+". It knows "+h.Get("Allow")+".")
		return
	}
	WriteProblem(x, r, fault.New(fault.NotFound, "no_such_path", "There is nothing at this path."))
}

// printable cuts what a stranger chose to a length and an alphabet that may be shown and logged.
func printable(s string) string {
	s = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
	return s[:min(len(s), 64)]
}

// finish recovers a panic, counts and logs. It is the last thing that happens to a request.
func (x *exchange) finish(r *http.Request) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler { //nolint:errorlint // the value that net/http compares with
			x.code = "aborted"
			x.account()
			panic(p)
		}
		x.m.metrics.panics.Inc()
		err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		x.matching = false
		if x.status == 0 {
			WriteProblem(x, r, err)
		} else { // too late to say so; cut the connection so that the client does not take the part for the whole
			x.code, x.err = "internal", err
			x.account()
			panic(http.ErrAbortHandler)
		}
	}
	x.account()
}

func (x *exchange) account() {
	e := x.endpoint
	if e == nil {
		e = x.m.missing
	}
	status := x.status
	if status == 0 {
		status = http.StatusOK // what net/http sends for a handler that wrote nothing
		if x.code == "aborted" || errors.Is(x.Context.Err(), context.Canceled) {
			status = statusClientGone
		}
	}
	took := x.elapsed()
	e.seen.observe(status, took)
	x.log(e, status, took)
}

func (x *exchange) log(e *endpoint, status int, took time.Duration) {
	level := slog.LevelInfo
	switch {
	case status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case status >= 500:
		level = slog.LevelError
	}
	if !x.m.o.Logger.Enabled(x, level) {
		return
	}
	var room [11]slog.Attr
	attrs := append(room[:0],
		slog.String("method", logMethod(x.r.Method)),
		slog.String("route", e.pattern),
		slog.Int("status", status),
		slog.Int64("bytes", x.bytes),
		slog.Duration("took", took),
		slog.String("ip", x.clientIP()),
		slog.String("request_id", x.requestID))
	if x.caller.Kind != access.Anonymous {
		attrs = append(attrs, slog.String("caller", x.caller.ID), slog.String("caller_kind", string(x.caller.Kind)))
	}
	if x.code != "" {
		attrs = append(attrs, slog.String("code", x.code))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	x.m.o.Logger.LogAttrs(x, level, "request", attrs...)
}

// logMethod keeps strangers from writing text of their own into the log.
func logMethod(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE":
		return method
	}
	return "other"
}

// clientIP is the peer, or the last address in X-Forwarded-For that is not one of our own proxies, if the peer is one.
func (x *exchange) clientIP() string {
	if x.ip != "" {
		return x.ip
	}
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		host = x.r.RemoteAddr
	}
	x.ip = host
	if len(x.m.o.TrustedProxies) == 0 {
		return x.ip
	}
	hops := strings.Split(strings.Join(x.r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		if !x.trusted(x.ip) {
			break
		}
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		x.ip = hop.Unmap().WithZone("").String()
	}
	return x.ip
}

func (x *exchange) trusted(ip string) bool {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	for _, p := range x.m.o.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
