package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// statusClientGone is logged (and never received) when the client hung up before its answer.
const statusClientGone = 499

// statusOf is the one mapping from kinds of error to HTTP.
func statusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.PreconditionFailed:
		return http.StatusPreconditionFailed
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.UnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case fault.Limited:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// classify gives the errors of the libraries below us a kind, where none of our packages did.
func classify(err error) *fault.Error {
	var classified *fault.Error
	if errors.As(err, &classified) {
		return classified
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return fault.Wrap(err, fault.TooLarge, "body_too_large", "The body is larger than %d bytes.", tooLarge.Limit)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(err, fault.Unavailable, "timeout", "This took too long. Please try again.").Retry(1e9)
	case errors.Is(err, db.ErrConflict):
		return fault.Wrap(err, fault.Conflict, "exists", "It exists already.")
	case errors.Is(err, db.ErrReference):
		return fault.Wrap(err, fault.Conflict, "referenced", "It refers to something that does not exist, or something refers to it.")
	}
	return fault.Of(err)
}

// problem makes the document for err and puts err into the request's log event.
func problem(ctx context.Context, h http.Header, err error) *api.Problem {
	f := classify(err)
	status := statusOf(f.Kind)
	if f.Kind == fault.Internal {
		f = fault.Of(errors.New("hidden")) // whatever it says was not written for strangers
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		status, f = statusClientGone, &fault.Error{Code: "client_gone"}
	}
	p := &api.Problem{
		Type:      "urn:mintmark:problem:" + f.Code,
		Title:     http.StatusText(status),
		Status:    status,
		Detail:    f.Detail,
		Code:      f.Code,
		RequestID: RequestID(ctx),
	}
	for _, field := range f.Fields {
		p.Errors = append(p.Errors, api.ProblemField{Location: field.Location, Message: field.Message})
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	if status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="mintmark"`)
	}
	NoteError(ctx, p.Code, err)
	return p
}

// WriteProblem answers the request with the document for err. If the answer has begun already, it only logs.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	writeDocument(w, r, problem(r.Context(), w.Header(), err))
}

// writeStatus answers with a status that no kind of fault has.
func writeStatus(w http.ResponseWriter, r *http.Request, status int, code, detail string) {
	NoteError(r.Context(), code, nil)
	writeDocument(w, r, &api.Problem{
		Type:      "urn:mintmark:problem:" + code,
		Title:     http.StatusText(status),
		Status:    status,
		Detail:    detail,
		Code:      code,
		RequestID: RequestID(r.Context()),
	})
}

func writeDocument(w http.ResponseWriter, r *http.Request, p *api.Problem) {
	if x := exchangeOf(r.Context()); x != nil && x.status != 0 {
		return // the answer has begun: this would only end up in the middle of it
	} else if x != nil && x.m.o.Page != nil && navigates(r) && x.showPage(r, p) {
		return
	}
	body, err := json.Marshal(p)
	if err != nil { // a struct of strings; it cannot happen, and then the status still tells
		body = []byte(`{}`)
	}
	h := w.Header()
	h.Set("Content-Type", p.ContentType(""))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Del("Etag")
	h.Del("Content-Encoding")
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client went away: nobody is left to tell
	}
}

// navigates tells whether a browser asks for something to show: programs name other kinds of answers, or any.
func navigates(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return false
	}
	for part := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		if kind, _, _ := strings.Cut(strings.TrimSpace(part), ";"); kind == "text/html" {
			return true
		}
	}
	return false
}

// showPage shows the refusal as a page. It is false if that is what did not work: then the document must do.
func (x *exchange) showPage(r *http.Request, p *api.Problem) (shown bool) {
	code, err := x.code, x.err
	defer func() {
		if failure := recover(); failure != nil {
			x.m.metrics.panics.Inc()
			err = errors.Join(err, fmt.Errorf("show it as a page: panic: %v", failure))
			shown = x.status != 0
		}
		x.code, x.err = code, err
	}()
	x.Header().Del("Etag")
	x.m.o.Page(x, r, p.Status, p.Code, p.Detail)
	return x.status != 0
}
