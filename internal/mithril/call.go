package mithril

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/route"
)

// call is one request under way.
type call struct {
	*Service
	context.Context
	w    http.ResponseWriter
	r    *http.Request
	op   string // names the operation where it is refused, such as "mithril.user.create"
	who  caller
	body []byte
}

// result is what a call answers. A status of 204 has neither body nor anything else.
type result struct {
	status   int // 0: 200
	data     any // a struct, or with paging a list of them
	paging   *paging
	urgent   *urgent
	location string
}

// meta stands in every answer.
type meta struct {
	URL            string `json:"url"`
	Type           string `json:"type"` // object or list
	Code           int    `json:"code"` // the status once more
	RequestID      string `json:"request_id"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

type envelope struct {
	Meta   meta    `json:"meta"`
	Data   any     `json:"data"`
	Paging *paging `json:"paging,omitempty"`
	Urgent *urgent `json:"urgent,omitempty"`
}

// serve makes an endpoint of a handler: it bounds what may come in, finds out who calls, and writes the envelope.
func (s *Service) serve(op string, h func(c *call) (*result, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{Service: s, Context: r.Context(), w: w, r: r, op: "mithril." + op}
		out, err := c.run(h)
		if err != nil {
			c.refuse(err)
			return
		}
		c.answer(out)
	}
}

func (c *call) run(h func(c *call) (*result, error)) (*result, error) {
	if !accepts(c.r.Header) {
		return nil, contentType(http.StatusNotAcceptable, "Accept")
	}
	if q, err := url.QueryUnescape(c.r.URL.RawQuery); err != nil || !utf8.ValidString(q) {
		return nil, malformed("The query string is not UTF-8.")
	}
	if len(c.key()) > maxKey {
		return nil, malformed("An idempotency key has at most 200 bytes.")
	}
	if c.r.Method == http.MethodPost || c.r.Method == http.MethodPut || c.r.Method == http.MethodPatch {
		if err := c.read(); err != nil {
			return nil, err
		}
	}
	c.who.RequestID, c.who.IP = route.RequestID(c), route.ClientIP(c)
	if c.op != opGrant { // there the body says who asks
		if err := c.authenticate(); err != nil {
			return nil, err
		}
	}
	return h(c)
}

const maxKey = 200

// opGrant is the one operation that needs no credential in the header.
const opGrant = "mithril.token.create"

// key is the idempotency key of the request, or "".
func (c *call) key() string { return c.r.Header.Get("X-Idempotency-Key") }

// accepts tells whether the caller takes JSON.
func accepts(h http.Header) bool {
	values := h.Values("Accept")
	if len(values) == 0 {
		return true
	}
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil || strings.Trim(params["q"], "0.") == "" && params["q"] != "" {
			continue
		}
		if kind == "*/*" || kind == "application/*" || kind == "application/json" {
			return true
		}
	}
	return false
}

// read takes the body in. One that is empty needs no type: some actions have nothing to say.
func (c *call) read() error {
	b, err := io.ReadAll(c.r.Body)
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &failure{status: http.StatusRequestEntityTooLarge, kind: "request_too_large", message: "The body is larger than " + strconv.FormatInt(tooLarge.Limit, 10) + " bytes."}
	}
	if err != nil {
		return malformed("The body ended early.")
	}
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if len(b) > 0 && (err != nil || kind != "application/json") {
		return contentType(http.StatusUnsupportedMediaType, "Content-Type")
	}
	c.body = bytes.Clone(b)
	return nil
}

// decode reads what stands in the body under the wrapper key. Members that it does not know mean nothing here: clients of
// this interface send some. A key that is given twice is refused, because two readers could differ about it.
func (c *call) decode(key string, into any) error {
	if err := route.CheckJSON(c.body); err != nil {
		return malformed(fault.Of(err).Detail)
	}
	var wrapper map[string]json.RawMessage
	if err := json.Unmarshal(c.body, &wrapper); err != nil {
		return malformed("The body must be a JSON object.")
	}
	inner, ok := wrapper[key]
	if !ok || len(inner) == 0 || inner[0] != '{' {
		return malformed(`The body must be {"` + key + `": {…}}.`)
	}
	err := json.Unmarshal(inner, into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return invalid(entry(wrong.Field, "cast", "is invalid", wrong.Type.Kind().String()))
	}
	if err != nil {
		return malformed("The body cannot be read.")
	}
	return nil
}

// one is the id that stands in the path under this name, in our spelling; not found if it is none.
func (c *call) one(name, prefix string) (string, error) {
	found, ok := inner(prefix, c.r.PathValue(name))
	if !ok {
		return "", notFound()
	}
	return found, nil
}

// inner is an id in our spelling; ok is false for what is none. Both spellings are taken.
func inner(prefix, text string) (string, bool) {
	if found, ok := id.FromUUID(prefix, text); ok {
		return found, true
	}
	return text, id.Is(text, prefix)
}

// self is the address of the request for the answer. A token in the path is left out: answers are kept.
func (c *call) self() string {
	path := c.r.URL.Path
	if token := c.r.PathValue("token"); token != "" {
		path = strings.Replace(path, token, "-", 1)
	}
	return c.o.Issuer + path
}

func (c *call) meta(kind string, status int) meta {
	return meta{c.self(), kind, status, route.RequestID(c), c.key()}
}

func (c *call) answer(out *result) {
	if out == nil || out.status == http.StatusNoContent {
		c.w.WriteHeader(http.StatusNoContent)
		return
	}
	if out.status == 0 {
		out.status = http.StatusOK
	}
	kind := "object"
	if out.paging != nil {
		kind = "list"
	}
	if out.location != "" {
		c.w.Header().Set("Location", out.location)
	}
	c.write(out.status, envelope{c.meta(kind, out.status), out.data, out.paging, out.urgent})
}

func (c *call) write(status int, document any) {
	b, err := json.Marshal(document)
	if err != nil { // structs of texts; it cannot happen, and then the status still tells
		status, b = http.StatusInternalServerError, []byte(`{}`)
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(b) // the caller is gone if it fails, and nobody is left to tell
}

// within runs f in a transaction that may write. f may run several times.
func (c *call) within(f func(tx db.WriteTx) error) error { return c.o.DB.Write(c, f) }

// reading runs f in a transaction that reads.
func (c *call) reading(f func(tx db.ReadTx) error) error { return c.o.DB.Read(c, f) }

// at is the address of a thing that was made, under the prefix that the request used.
func (c *call) at(collection, thing string) string {
	base := "/mithril"
	if strings.HasPrefix(c.r.URL.Path, "/mithril/admin/") {
		base = "/mithril/admin"
	}
	return base + "/" + collection + "/" + id.UUID(thing)
}
