package oauth

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	maxBody       = 64 << 10
	maxParameters = 64
	maxValue      = 32 << 10 // of one parameter; a token to introspect is the longest
)

// A parameter of a request. There are few, so a list beats a map.
type parameter struct{ name, value string }

type parameters []parameter

func (p parameters) find(name string) (string, bool) {
	for _, q := range p {
		if q.name == name {
			return q.value, true
		}
	}
	return "", false
}

func (p parameters) get(name string) string {
	v, _ := p.find(name)
	return v
}

// all are the values of the one parameter that may stand more than once (RFC 8707 section 2).
func (p parameters) all(name string) (values []string) {
	for _, q := range p {
		if q.name == name {
			values = append(values, q.value)
		}
	}
	return values
}

// add refuses a parameter that stands twice (RFC 6749 section 3.2): one of two parsers in a row would otherwise see one,
// and the second the other. The error holds the name only if it is one that we know.
func (p *parameters) add(name, value string) error {
	if len(*p) == maxParameters {
		return refuse(invalidRequest, "Too many parameters.")
	}
	if _, twice := p.find(name); twice && name != "resource" {
		return refuse(invalidRequest, "A parameter is given more than once"+ofKnown(name)+".")
	}
	if len(value) > maxValue || !utf8.ValidString(value) || !utf8.ValidString(name) || strings.IndexByte(value, 0) >= 0 {
		return refuse(invalidRequest, "The value of a parameter"+ofKnown(name)+" is too long, or is not UTF-8 text.")
	}
	*p = append(*p, parameter{name, value})
	return nil
}

func ofKnown(name string) string {
	switch name {
	case "grant_type", "username", "password", "scope", "realm", "client_id", "client_secret", "token", "token_type_hint", "access_token",
		"code", "redirect_uri", "code_verifier", "refresh_token", "client_assertion", "client_assertion_type", "assertion":
		return ": " + name
	}
	return ""
}

// form adds the pairs of a form or a query.
func (p *parameters) form(raw string) error {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return refuse(invalidRequest, "The name of a parameter is not percent-encoded as a form has it.")
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return refuse(invalidRequest, "The value of a parameter"+ofKnown(name)+" is not percent-encoded as a form has it.")
		}
		if err := p.add(name, value); err != nil {
			return err
		}
	}
	return nil
}

// json adds the members of an object. Scope may be a list; null is as good as absent; what no grant knows is ignored
// (RFC 6749 section 3.2).
func (p *parameters) json(body []byte) error {
	r := &jsonReader{b: body}
	err := r.object(maxParameters, func(name string) error {
		switch c := r.peek(); {
		case c == '"':
			s, err := r.text()
			if err != nil {
				return err
			}
			return p.add(name, s)
		case c == '[' && name == "scope":
			list, err := r.texts(maxScopes)
			if err != nil {
				return err
			}
			return p.add(name, strings.Join(list, " "))
		case c == 'n' || ofKnown(name) == "":
			return r.skip(0)
		default:
			return refuse(invalidRequest, "A member has the wrong type"+ofKnown(name)+".")
		}
	})
	if err == nil {
		err = r.end()
	}
	if errors.Is(err, errJSON) {
		return refuse(invalidRequest, "The body is not one JSON object of text members, each given once.")
	}
	return err
}

// bodies holds buffers that bodies are read into. They are cleared after use: passwords pass through them.
var bodies = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// readBody reads the body whole, up to the limit.
func readBody(r *http.Request) (string, error) {
	buf := bodies.Get().(*[]byte)
	b, err := appendBody((*buf)[:0], r)
	text := string(b)
	clear(b)
	if cap(b) <= 4096 { // an attacker's large ones are not kept
		*buf = b[:0]
		bodies.Put(buf)
	}
	return text, err
}

func tooLarge() *refusal {
	return &refusal{status: http.StatusRequestEntityTooLarge, code: invalidRequest, description: "The body is larger than 64 KiB."}
}

func appendBody(buf []byte, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxBody {
		return buf, tooLarge()
	}
	if r.Header.Get("Content-Encoding") != "" {
		return buf, &refusal{status: http.StatusUnsupportedMediaType, code: invalidRequest, description: "Send the body without Content-Encoding."}
	}
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(len(buf), 512))
		}
		n, err := r.Body.Read(buf[len(buf):cap(buf)])
		if buf = buf[:len(buf)+n]; len(buf) > maxBody {
			return buf, tooLarge()
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			var limit *http.MaxBytesError
			if errors.As(err, &limit) {
				return buf, tooLarge()
			}
			return buf, &refusal{status: http.StatusBadRequest, code: invalidRequest, description: "The body could not be read.", cause: err}
		}
	}
}

const formType = "application/x-www-form-urlencoded"

// isForm tells whether the body says that it is a form.
func isForm(r *http.Request) bool {
	ct := r.Header.Get("Content-Type")
	if ct == formType {
		return true
	}
	mt, _, err := mime.ParseMediaType(ct)
	return err == nil && mt == formType
}

// readForm reads a request that must be a form, by RFC 6749. Of the query it takes the realm alone: that belongs to the
// address of the endpoint, and everything else in an address ends up in logs.
func readForm(r *http.Request) (parameters, error) {
	if !isForm(r) {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, code: invalidRequest, description: "Send the parameters as application/x-www-form-urlencoded."}
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	p := make(parameters, 0, 8)
	if err := p.form(body); err != nil {
		return nil, err
	}
	return p, p.fromQuery(r, func(name string) bool { return name == "realm" })
}

// readLegacy reads a request of a legacy client. Those send JSON under the content type of a form, since curl -d does;
// so the body's first byte decides, and the raw body is read before anything takes it for a form: a JSON password may
// hold `&`, `+` and `%zz`. Parameters may stand in the query too, but secrets may not.
func readLegacy(r *http.Request) (parameters, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	p := make(parameters, 0, 8)
	text := strings.TrimLeft(body, " \t\r\n")
	if strings.HasPrefix(text, "{") {
		err = p.json([]byte(text))
	} else {
		err = p.form(text)
	}
	if err != nil {
		return nil, err
	}
	return p, p.fromQuery(r, func(string) bool { return true })
}

// inBodyAlone are the parameters that whoever reads them could use in the client's or the user's place.
var inBodyAlone = []string{"password", "client_secret", "client_assertion", "assertion", "code", "code_verifier", "refresh_token", "device_code"}

// fromQuery adds what the query holds, wanted lets through and the body did not give.
func (p *parameters) fromQuery(r *http.Request, wanted func(name string) bool) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	var q parameters
	if err := q.form(r.URL.RawQuery); err != nil {
		return err
	}
	for _, x := range q {
		if _, given := p.find(x.name); given || !wanted(x.name) {
			continue
		}
		if slices.Contains(inBodyAlone, x.name) {
			return refuse(invalidRequest, "Send "+x.name+" in the body: addresses end up in logs.")
		}
		if err := p.add(x.name, x.value); err != nil {
			return err
		}
	}
	return nil
}

func malformedBasic() *refusal {
	return refuse(invalidClient, "The Authorization header is not Basic with a base64 pair of client id and secret.")
}

// basic reads the Authorization header. found is false if there is none of scheme Basic; err tells that it cannot be
// read. The pair is split at the first colon, and a secret may be empty.
func basic(r *http.Request) (user, secret string, found bool, err error) {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false, nil
	}
	if len(r.Header["Authorization"]) > 1 {
		return "", "", true, malformedBasic() // a proxy might have looked at the other one
	}
	if len(rest) > maxValue {
		return "", "", true, malformedBasic()
	}
	pair, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest))
	if err != nil || !utf8.Valid(pair) {
		return "", "", true, malformedBasic()
	}
	user, secret, colon := strings.Cut(string(pair), ":")
	if !colon || user == "" || strings.IndexByte(string(pair), 0) >= 0 {
		return "", "", true, malformedBasic()
	}
	return user, secret, true, nil
}
