package route

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// Op describes a typed endpoint, for the router and for the OpenAPI document.
type Op struct {
	Method      string        // GET, PUT, POST, DELETE, PATCH
	Path        string        // in full, such as /api/teams/{id}
	ID          string        // operationId; also the name under which denials are reported, such as "team.put"
	Summary     string        // one line, no full stop
	Description string        // more, in Markdown
	Action      access.Action // what the caller must be allowed; "" means that anybody may call it, without a credential
	Status      int           // of success; 0: 200, or 204 if the output has no Body
	Tags        []string
}

// Read serves a typed endpoint that only reads. f gets one consistent state of the database. I and O are structs as huma
// wants them: fields tagged path, query or header, and Body.
func Read[I, O any](m *Mux, op Op, f func(ctx context.Context, tx db.ReadTx, c access.Caller, in *I) (*O, error)) {
	Do(m, op, func(ctx context.Context, c access.Caller, in *I) (*O, error) {
		var out *O
		err := m.o.DB.Read(ctx, func(tx db.ReadTx) (err error) {
			out, err = f(ctx, tx, c, in)
			return err
		})
		return out, err
	})
}

// Write serves a typed endpoint that changes something. All of it is committed before the answer, or none of it happened.
// f may run several times and must not change in.
func Write[I, O any](m *Mux, op Op, f func(ctx context.Context, tx db.WriteTx, c access.Caller, in *I) (*O, error)) {
	Do(m, op, func(ctx context.Context, c access.Caller, in *I) (*O, error) {
		var out *O
		err := m.o.DB.Write(ctx, func(tx db.WriteTx) (err error) {
			out, err = f(ctx, tx, c, in)
			return err
		})
		return out, err
	})
}

// Do serves a typed endpoint without a transaction around it.
func Do[I, O any](m *Mux, op Op, f func(ctx context.Context, c access.Caller, in *I) (*O, error)) {
	if !strings.HasPrefix(op.Path, "/api/") {
		panic("route: " + op.ID + ": the path must be given in full, beginning with /api/")
	}
	mustBind(op, reflect.TypeFor[I]())
	huma.Register(m.api, m.operation(op, bodyOf(reflect.TypeFor[I]())), func(ctx context.Context, in *I) (*O, error) {
		c := callerOf(ctx)
		out, err := f(ctx, c, in)
		if err == nil {
			return out, nil
		}
		if fault.Is(err, fault.Forbidden) || fault.Is(err, fault.Unauthenticated) {
			m.denied(ctx, c, op.ID, err)
		}
		return nil, problem(ctx, exchangeOf(ctx).Header(), err)
	})
}

// bodyRule tells whether an operation takes a body.
type bodyRule int

const (
	noBody bodyRule = iota
	neededBody
	optionalBody // of an input whose Body is a pointer
)

func bodyOf(input reflect.Type) bodyRule {
	f, ok := input.FieldByName("Body")
	switch {
	case !ok:
		return noBody
	case f.Type.Kind() == reflect.Pointer:
		return optionalBody
	}
	return neededBody
}

// mustBind panics if a parameter of the path would stay empty: huma does not look into embedded structs whose type is not
// exported, and says nothing.
func mustBind(op Op, input reflect.Type) {
	bound := map[string]bool{}
	for _, f := range reflect.VisibleFields(input) {
		hidden := false
		for i := 1; i < len(f.Index); i++ {
			hidden = hidden || !input.FieldByIndex(f.Index[:i]).IsExported()
		}
		if name := f.Tag.Get("path"); name != "" && !hidden {
			bound[name] = true
		}
	}
	for part := range strings.SplitSeq(op.Path, "/") {
		name, ok := strings.CutPrefix(part, "{")
		if name = strings.TrimSuffix(name, "}"); ok && !bound[name] {
			panic("route: " + op.ID + ": no exported field binds {" + name + "}; embed exported types only")
		}
	}
}

// denied reports a refusal. The client may have hung up; the report is made all the same.
func (m *Mux) denied(ctx context.Context, c access.Caller, op string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	m.o.Denied(ctx, c, op, err)
}

func callerOf(ctx context.Context) access.Caller {
	if x := exchangeOf(ctx); x != nil {
		return x.caller
	}
	return access.Caller{}
}

// Three settings of huma are variables of its package. This program uses huma here only, and wants them so everywhere.
func init() {
	huma.ValidateStrictCasing = true   // "Name" is not "name"
	huma.DefaultArrayNullable = false  // a list is a list
	huma.NewErrorWithContext = refusal // every refusal of huma's own is a document of ours
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return refuse(context.Background(), status, msg, errs)
	}
}

func refusal(hc huma.Context, status int, msg string, errs ...error) huma.StatusError {
	if hc == nil {
		return refuse(context.Background(), status, msg, errs)
	}
	return refuse(hc.Context(), status, msg, errs)
}

// refuse makes the document for a request that huma's validation turned down. The offending values are left out: they may
// be secrets, and the caller has them.
func refuse(ctx context.Context, status int, msg string, errs []error) *api.Problem {
	f := &fault.Error{Kind: fault.Invalid, Code: "invalid_request", Detail: "The request is not valid."}
	switch status {
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		status = http.StatusBadRequest
	case http.StatusUnsupportedMediaType:
		f.Kind, f.Code, f.Detail = fault.UnsupportedMedia, "unsupported_media_type", "Send the body as application/json."
	case http.StatusRequestEntityTooLarge:
		f.Kind, f.Code, f.Detail = fault.TooLarge, "body_too_large", "The body is too large."
	default:
		f.Kind, f.Err = fault.Internal, errors.Join(append(errs, errors.New(msg))...)
	}
	for _, err := range errs {
		if d, ok := err.(huma.ErrorDetailer); ok && d.ErrorDetail() != nil { //nolint:errorlint // huma's list is flat
			f.At(printable(d.ErrorDetail().Location), d.ErrorDetail().Message)
		}
	}
	return problem(ctx, http.Header{}, f)
}

// newAPI makes the huma API that typed endpoints register with. It brings no endpoints of its own.
func newAPI(m *Mux) huma.API {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   m.o.Title,
				Version: m.o.Version,
				Description: "Management API. Every error is an RFC 9457 document of type `application/problem+json`; " +
					"programs branch on its `code`. Lists are read page by page: pass the answer's `next_cursor` as `cursor`. " +
					"A change may carry `If-Match` with the `ETag` that was read; if the thing has changed since, the answer is 412.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", m.schemas.name),
				SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {
					Type: "http", Scheme: "bearer", Description: "An access token, or an administrator's access key.",
				}},
			},
		},
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	return huma.NewAPI(config, humago.NewAdapter(humaMux{m}, ""))
}

// humaMux lets huma register its handlers as endpoints of ours.
type humaMux struct{ m *Mux }

func (h humaMux) HandleFunc(pattern string, f func(http.ResponseWriter, *http.Request)) {
	e := h.m.newEndpoint(pattern, f)
	e.maxBody = 0 // see admit
	h.m.handle(e)
}

func (h humaMux) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.m.ServeHTTP(w, r) }

func (m *Mux) operation(op Op, takes bodyRule) huma.Operation {
	out := huma.Operation{
		Method: op.Method, Path: op.Path, OperationID: op.ID, Summary: op.Summary, Description: op.Description,
		Tags: op.Tags, DefaultStatus: op.Status,
		MaxBodyBytes:    -1, // read and bounded by admit
		BodyReadTimeout: -1, // takes away the deadline that admit set, or it would fire in the handler
		Middlewares:     huma.Middlewares{m.admit(op, takes)},
	}
	if op.Action != "" {
		out.Security = []map[string][]string{{"bearer": {}}}
		out.Extensions = map[string]any{"x-action": string(op.Action)}
	}
	return out
}

// bodyPatience is how long the body of a typed request may take to arrive.
const bodyPatience = 15 * time.Second

// admit finds out who is calling and makes the request's form certain, in this order: a stranger learns nothing from the
// errors about form.
func (m *Mux) admit(op Op, takes bodyRule) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		x := exchangeOf(r.Context())
		c, err := m.o.Authenticate(r)
		c.RequestID, c.IP = x.requestID, x.clientIP()
		x.caller = c
		if err == nil && op.Action != "" && c.Kind == access.Anonymous {
			err = access.Allow(c, op.Action, access.Target{})
		}
		if err != nil {
			if fault.Is(err, fault.Forbidden) || fault.Is(err, fault.Unauthenticated) {
				m.denied(x, c, op.ID, err)
			}
			WriteProblem(w, r, err)
			return
		}
		if err := m.checkForm(x, w, r, takes); err != nil {
			WriteProblem(w, r, err)
			return
		}
		next(hc)
	}
}

// checkForm reads the body and puts a checked copy in its place.
func (m *Mux) checkForm(x *exchange, w http.ResponseWriter, r *http.Request, takes bodyRule) error {
	if err := checkQuery(r.URL.RawQuery); err != nil {
		return err
	}
	if takes == noBody {
		if r.ContentLength > 0 {
			return fault.New(fault.Invalid, "unexpected_body", "This takes no body.").At("body", "not expected")
		}
		return nil
	}
	if r.ContentLength != 0 {
		if err := checkMedia(r.Header); err != nil {
			return err
		}
	}
	var body []byte
	if err := m.gate.awayFrom(x, func() (err error) {
		// A connection that has no deadlines (a test's recorder) is bounded by the server's own.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
		body, err = readBody(w, r, m.o.MaxAPIBody)
		return err
	}); err != nil {
		return err
	}
	if takes == optionalBody && len(body) == 0 {
		r.Body = http.NoBody
		return nil
	}
	if err := checkJSON(body); err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// schemaNames gives each Go type its name in the OpenAPI document. huma panics when two types share one, which two
// packages' unnamed bodies easily do; the second gets a number. Registration has a fixed order, so the names have too.
type schemaNames struct {
	byType map[reflect.Type]string
	taken  map[string]bool
}

func newSchemaNames() *schemaNames {
	return &schemaNames{byType: map[reflect.Type]string{}, taken: map[string]bool{}}
}

func (s *schemaNames) name(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := s.byType[t]; ok {
		return name
	}
	base := huma.DefaultSchemaNamer(t, hint)
	name := base
	for n := 2; s.taken[name]; n++ {
		name = base + strconv.Itoa(n)
	}
	s.byType[t], s.taken[name] = name, true
	return name
}
