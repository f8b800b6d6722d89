// Package route is the one way from an HTTP request to the program and back.
//
// What it guards:
//   - A typed endpoint (Read, Write, Do) sees only a request that is well formed: known JSON keys, each once, of the right
//     type, in UTF-8, of bounded size and depth; and a caller whose credential was checked.
//   - A handler's error undoes its transaction, and becomes one RFC 9457 document by one mapping (problem.go). An error
//     that nobody classified says nothing outside and everything in the log.
//   - A denial is reported after the rollback, so that the rollback cannot erase its record.
//   - The number of requests in flight, the time of each and the size of each body are bounded; what is too much is told
//     so at once. A body that is slow to come holds nobody up but its sender. A panic ends one request only.
//   - One log event per request, with the pattern and never the URL, the query string or the body, which may hold secrets.
//
// A path is taken literally: one that a proxy and this program could read differently (`//`, dot segments, encoded
// slashes) is refused, and nothing is ever redirected to a nicer path, since a redirected POST loses its body.
package route

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
)

// Options configure a Mux. Every field may be left at its zero value, but DB if Read or Write are used.
type Options struct {
	Logger  *slog.Logger          // nil: no log
	Clock   clock.Clock           // nil: clock.System
	Metrics prometheus.Registerer // nil: not exported. Several Muxes may share one.
	DB      *db.DB

	Title   string // of the OpenAPI document
	Version string // of the program

	MaxBody    int64         // of a body sent to a protocol endpoint; 0: 64 KiB
	MaxAPIBody int64         // of a body sent to a typed endpoint; 0: 1 MiB
	Timeout    time.Duration // for a request as a whole; 0: 30 s
	InFlight   int           // requests worked on at once; 0: 256
	Queue      int           // requests that may wait a moment for a place; 0: 512

	// HTTPS tells that the public address is https, also when TLS ends at a proxy: answers then carry HSTS.
	HTTPS bool
	// Page shows a refusal to a person. It is used in place of the document for requests that a browser makes to show what
	// comes (see navigates), so that nobody meets JSON who followed a link. nil: documents for everybody.
	Page func(w http.ResponseWriter, r *http.Request, status int, code, text string)
	// TrustedProxies are the networks whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	// Authenticate finds out who is calling. A request without a credential is the anonymous caller and no error; a
	// credential that is not valid is a fault of kind Unauthenticated. nil: everybody is anonymous.
	Authenticate func(*http.Request) (access.Caller, error)
	// Denied is told of each typed operation refused with Forbidden or Unauthenticated, after its transaction was
	// rolled back and before the answer leaves. op is the operation's ID. nil: nobody is told.
	Denied func(ctx context.Context, c access.Caller, op string, err error)
}

// Mux routes requests. Register everything first, then serve.
type Mux struct {
	o       Options
	mux     *http.ServeMux
	gate    *gate
	bodies  bodies
	metrics *metrics
	api     huma.API
	schemas *schemaNames
	missing *endpoint // accounts for requests that no pattern matched

	specOnce sync.Once // guards the three below
	spec     []byte
	specETag string
	specErr  error

	docsOnce sync.Once // guards docs
	docs     []byte
	docsErr  error
}

// New makes a Mux that serves nothing yet but /api/openapi.json and /api/docs.
func New(o Options) *Mux {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Title == "" {
		o.Title = "mintmark"
	}
	if o.Authenticate == nil {
		o.Authenticate = func(*http.Request) (access.Caller, error) { return access.Caller{}, nil }
	}
	if o.Denied == nil {
		o.Denied = func(context.Context, access.Caller, string, error) {}
	}
	o.MaxBody = orDefault(o.MaxBody, 64<<10)
	o.MaxAPIBody = orDefault(o.MaxAPIBody, 1<<20)
	o.Timeout = orDefault(o.Timeout, 30*time.Second)
	o.InFlight = orDefault(o.InFlight, 256)
	o.Queue = orDefault(o.Queue, 512)

	m := &Mux{o: o, mux: http.NewServeMux(), metrics: newMetrics(o.Metrics)}
	m.gate = newGate(o.InFlight, o.Queue, m.metrics)
	m.missing = m.newEndpoint("unmatched", nil)
	m.schemas = newSchemaNames()
	m.api = newAPI(m)
	m.serveDocs()
	return m
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Handle serves a protocol endpoint: the handler speaks for itself and gets limits, identity of the request, headers,
// log event and metrics. The pattern is that of http.ServeMux. Reading more than MaxBody bytes fails with
// *http.MaxBytesError, which WriteProblem knows.
func (m *Mux) Handle(pattern string, h http.HandlerFunc) {
	m.handle(m.newEndpoint(pattern, h))
}

// HandleAlways is Handle for answers from memory that must be given also under overload, such as the keys that verify
// tokens: they take no place among the requests in flight.
func (m *Mux) HandleAlways(pattern string, h http.HandlerFunc) {
	e := m.newEndpoint(pattern, h)
	e.always = true
	m.handle(e)
}

func (m *Mux) handle(e *endpoint) { m.mux.Handle(e.pattern, e) }

// endpoint is one registered pattern.
type endpoint struct {
	m       *Mux
	pattern string
	serve   http.HandlerFunc
	always  bool  // takes no place among the requests in flight
	maxBody int64 // 0: the handler of a typed endpoint bounds its body itself
	seen    observer
}

func (m *Mux) newEndpoint(pattern string, h http.HandlerFunc) *endpoint {
	return &endpoint{m: m, pattern: pattern, serve: h, maxBody: m.o.MaxBody, seen: m.metrics.observer(pattern)}
}

// ServeHTTP answers one request.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), m.o.Timeout)
	defer cancel()
	x := newExchange(ctx, m, w, r)
	r = r.WithContext(x)
	defer x.finish(r)
	if err := checkTarget(r); err != nil {
		WriteProblem(x, r, err)
		return
	}
	x.matching = true
	m.mux.ServeHTTP(x, r)
	if x.matching {
		// The standard mux itself answered: 404, 405, or a redirect to a nicer path, which we do not do.
		x.matching = false
		x.answerUnmatched(r)
	}
}

// ServeHTTP runs the endpoint. It is called by the standard mux, with the exchange as the writer.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, ok := w.(*exchange)
	if !ok { // only a program that takes the inner mux out could do this
		http.Error(w, "misrouted", http.StatusInternalServerError)
		return
	}
	x.matching = false
	x.endpoint = e
	if e.maxBody > 0 && r.Body != nil && r.Body != http.NoBody {
		if !e.always { // those that are always answered read no body, and wait for none
			b, err := e.m.bodies.take(x, r, e.maxBody)
			if err != nil {
				WriteProblem(x, r, err)
				return
			}
			defer b.release()
			r.Body = b
		}
		r.Body = http.MaxBytesReader(x, r.Body, e.maxBody)
	}
	if !e.always {
		if err := e.m.gate.enter(x); err != nil {
			WriteProblem(x, r, err)
			return
		}
		defer e.m.gate.leave(x)
	}
	e.serve(x, r)
}

// RequestID is the id of the request that ctx belongs to, or "".
func RequestID(ctx context.Context) string {
	if x := exchangeOf(ctx); x != nil {
		return x.requestID
	}
	return ""
}

// ClientIP is the address of the client that ctx's request came from, or "".
func ClientIP(ctx context.Context) string {
	if x := exchangeOf(ctx); x != nil {
		return x.clientIP()
	}
	return ""
}

// maxAgent bounds what is kept of what a browser calls itself.
const maxAgent = 200

// UserAgent is what the client that ctx's request came from calls itself, short and in harmless characters, or "".
func UserAgent(ctx context.Context) string {
	x := exchangeOf(ctx)
	if x == nil {
		return ""
	}
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, x.r.UserAgent())
	return text[:min(len(text), maxAgent)]
}

// Identify puts the caller into the request's log event: for protocol endpoints, which authenticate by themselves.
func Identify(ctx context.Context, c access.Caller) {
	if x := exchangeOf(ctx); x != nil {
		x.caller = c
	}
}

// NoteError puts an error into the request's log event: for protocol endpoints that answer errors in their own form. A cause
// that was noted with the same code stays if there is none now.
func NoteError(ctx context.Context, code string, err error) {
	if x := exchangeOf(ctx); x != nil {
		if err == nil && code == x.code {
			return
		}
		x.code, x.err = code, err
	}
}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}
