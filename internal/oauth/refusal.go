package oauth

import (
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/fault"
)

// The codes of RFC 6749 section 5.2 and RFC 6750 section 3.1, and the three that the legacy clients of this protocol
// know besides.
const (
	invalidRequest       = "invalid_request"
	invalidClient        = "invalid_client"
	invalidGrant         = "invalid_grant"
	invalidScope         = "invalid_scope"
	unauthorizedClient   = "unauthorized_client"
	unsupportedGrantType = "unsupported_grant_type"
	missingRealm         = "missing_realm"
	realmNotFound        = "realm_not_found"
	notAllowed           = "not_allowed"
	slowDown             = "slow_down"
	temporarily          = "temporarily_unavailable"
	serverError          = "server_error"
)

// refusal is an answer that is not a token. The description goes to the caller: it holds nothing secret, and of what the
// caller sent only what was checked against a narrow alphabet.
type refusal struct {
	status      int
	code        string
	description string
	retry       time.Duration
	cause       error // for the log
}

func (e *refusal) Error() string {
	if e.cause != nil {
		return e.code + ": " + e.description + ": " + e.cause.Error()
	}
	return e.code + ": " + e.description
}

func (e *refusal) Unwrap() error { return e.cause }

func refuse(code, description string) *refusal {
	status := http.StatusBadRequest
	if code == invalidClient {
		status = http.StatusUnauthorized
	}
	return &refusal{status: status, code: code, description: description}
}

// badCredentials is the one answer to a wrong user name, a wrong password, a disabled user and the user of another
// application. The client has proven itself by then; what the user's state is, is not for it to find out.
func badCredentials() *refusal {
	return refuse(invalidGrant, "The provided access grant is invalid, expired, or revoked.")
}

// refusalOf maps an error of a lower package. What is neither a refusal nor a known kind says nothing to the caller.
func refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	switch f := fault.Of(err); f.Kind {
	case fault.Unavailable:
		return &refusal{status: http.StatusServiceUnavailable, code: temporarily, retry: max(f.RetryAfter, time.Second), cause: err,
			description: "A part that this answer needs is not available just now. Try again."}
	case fault.Limited:
		return &refusal{status: http.StatusTooManyRequests, code: slowDown, retry: max(f.RetryAfter, time.Second), cause: err,
			description: "Too many requests. Try again later."}
	default:
		return &refusal{status: http.StatusInternalServerError, code: serverError, cause: err,
			description: "Something went wrong on our side."}
	}
}

// class says whose fault it was, for the counters: the client's, the user's, or other (ours).
func (e *refusal) class() string {
	switch {
	case e.status >= http.StatusInternalServerError:
		return "other"
	case e.code == invalidGrant || e.code == invalidScope:
		return "user"
	default:
		return "client"
	}
}

// Header values that are the same in each answer. Shared slices, because the maps of headers are made for each request
// and nobody changes a value in place.
var (
	jsonType     = []string{"application/json"}
	jsonUTF8     = []string{"application/json;charset=UTF-8"}
	noStore      = []string{"no-store"}
	noCache      = []string{"no-cache"}
	basicRealm   = []string{`Basic realm="mintmark"`}
	bearerFailed = []string{`Bearer error="invalid_token"`}
)

// private puts what every answer carries that holds a credential or is about one, beside what package route puts on all.
func private(h http.Header) {
	h["Cache-Control"] = noStore
	h["Pragma"] = noCache
}

// scratch holds buffers that answers are built in. At ten thousand answers a second it is the garbage that costs, not
// the work.
var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// answerWith writes the JSON document that build appends.
func answerWith(w http.ResponseWriter, build func(b []byte) []byte) {
	buf := scratch.Get().(*[]byte)
	b := build((*buf)[:0])
	answer(w, http.StatusOK, b)
	*buf = b[:0]
	scratch.Put(buf)
}

// answerAs writes a document of another media type.
func answerAs(w http.ResponseWriter, mediaType string, body []byte) {
	h := w.Header()
	private(h)
	h["Content-Type"] = []string{mediaType}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.Write(body) // the caller is gone if it fails, and nobody is left to tell
}

// answer writes a JSON document.
func answer(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	private(h)
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) // the caller is gone if it fails, and nobody is left to tell
}

// write sends the refusal as RFC 6749 section 5.2 has it.
func (e *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	if e.status == http.StatusUnauthorized {
		h["Www-Authenticate"] = basicRealm
	}
	if e.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.retry+time.Second-1)/time.Second)))
	}
	b := make([]byte, 0, 256)
	b = append(b, `{"error":`...)
	b = appendText(b, e.code)
	b = append(b, `,"error_description":`...)
	b = appendText(b, e.description)
	answer(w, e.status, append(b, '}'))
}
