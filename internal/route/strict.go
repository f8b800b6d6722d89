package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
)

// maxDepth bounds the nesting of a JSON body. Our documents need four levels.
const maxDepth = 32

// checkTarget refuses a path or query that another program on the way could have read differently from us, or that the
// database could not store. It must be cheap: it runs for every request.
func checkTarget(r *http.Request) error {
	if r.Method == http.MethodConnect || r.URL.Path == "" || r.URL.Path[0] != '/' {
		return fault.New(fault.Invalid, "bad_path", "The request's target is not a path.")
	}
	if !plainPath(r.URL.Path) || hasEncodedSlash(r.URL.RawPath) {
		return fault.New(fault.Invalid, "bad_path", "The path has an empty segment, a dot segment, an encoded slash, a backslash or a character that is not text. It is not corrected: send the path you mean.")
	}
	if strings.Contains(r.URL.RawQuery, "%00") {
		return fault.New(fault.Invalid, "bad_query", "The query string holds a NUL character.")
	}
	return nil
}

// plainPath tells whether the decoded path has only segments that mean themselves. A slash at the end is allowed.
func plainPath(p string) bool {
	start := 1 // of the segment under inspection
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			if c := p[i]; c < ' ' || c == 0x7f || c == '\\' {
				return false
			}
			continue
		}
		segment := p[start:i]
		if segment == "." || segment == ".." || segment == "" && i < len(p) {
			return false
		}
		start = i + 1
	}
	return utf8.ValidString(p)
}

// hasEncodedSlash looks at the path as it was sent; the standard library keeps it only if it has unusual escapes.
func hasEncodedSlash(raw string) bool {
	for i := 0; i+2 < len(raw); i++ {
		if raw[i] == '%' && (raw[i+1] == '2' && raw[i+2]|0x20 == 'f' || raw[i+1] == '5' && raw[i+2]|0x20 == 'c') {
			return true
		}
	}
	return false
}

// checkQuery refuses a query string whose parameters are malformed or given twice; which of two a proxy acts on is
// anybody's guess.
func checkQuery(raw string) error {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return fault.New(fault.Invalid, "bad_query", "The query string cannot be read.")
	}
	for name, v := range values {
		if len(v) > 1 {
			return fault.New(fault.Invalid, "bad_query", "A query parameter is given twice.").At("query."+printable(name), "given twice")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(v[0]) {
			return fault.New(fault.Invalid, "bad_query", "The query string is not UTF-8.")
		}
	}
	return nil
}

// checkMedia refuses a body that does not say it is plain JSON. Saying so is also what a browser cannot do for a foreign
// page without asking first.
func checkMedia(h http.Header) error {
	refuse := fault.New(fault.UnsupportedMedia, "unsupported_media_type", "Send the body with Content-Type: application/json and without Content-Encoding.")
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return refuse
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return refuse
	}
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return refuse
	}
	return nil
}

// readBody reads at most limit bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		return b, nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || r.Context().Err() != nil {
		return nil, err
	}
	return nil, fault.Wrap(err, fault.Invalid, "body_unreadable", "The body ended early or came too slowly.")
}

// checkJSON refuses what encoding/json would quietly accept: bad UTF-8, a key given twice, half a surrogate pair, a NUL
// (which PostgreSQL cannot store), deep nesting, more than one value.
func checkJSON(b []byte) error {
	bad := func(location, format string, args ...any) error {
		return fault.New(fault.Invalid, "bad_json", "The body is not valid JSON: "+format, args...).At(location, "not valid JSON")
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return fault.New(fault.Invalid, "bad_json", "The body is empty; this needs a JSON document.").At("body", "required")
	}
	if !utf8.Valid(b) {
		return bad("body", "it is not UTF-8.")
	}
	if !json.Valid(b) {
		return bad("body", "%s.", syntax(b))
	}
	if !soundEscapes(b) {
		return bad("body", "a \\u escape stands for no character, or for NUL.")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var open []container
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return bad("body", "%s.", syntax(b))
		}
		if delim, ok := t.(json.Delim); ok {
			if delim == '{' || delim == '[' {
				if len(open) == maxDepth {
					return bad("body", "it is nested more than %d levels deep.", maxDepth)
				}
				place(open)
				open = append(open, container{keys: keysOf(delim), key: true})
			} else {
				open = open[:len(open)-1]
			}
			continue
		}
		if n := len(open); n > 0 && open[n-1].keys != nil && open[n-1].key {
			name, _ := t.(string)
			if _, twice := open[n-1].keys[name]; twice {
				return bad(location(open)+"."+printable(name), "a key is given twice.")
			}
			open[n-1].keys[name] = struct{}{}
			open[n-1].name, open[n-1].key = name, false
			continue
		}
		place(open)
	}
}

// container is an object or an array that is being read.
type container struct {
	keys map[string]struct{} // nil for an array
	key  bool                // the next token of the object is a key
	name string              // the last key
	n    int                 // values of the array so far
}

func keysOf(d json.Delim) map[string]struct{} {
	if d == '{' {
		return map[string]struct{}{}
	}
	return nil
}

// place notes that a value was put into the innermost container.
func place(open []container) {
	if n := len(open); n > 0 {
		open[n-1].key = true
		open[n-1].n++
	}
}

// location is where the innermost open container stands, in the form of the problem document.
func location(open []container) string {
	at := "body"
	for _, c := range open[:len(open)-1] {
		if c.keys != nil {
			at += "." + printable(c.name)
		} else {
			at += "[" + strconv.Itoa(c.n-1) + "]"
		}
	}
	return at
}

// syntax says where the JSON breaks, without repeating any of it.
func syntax(b []byte) string {
	var v any
	var at *json.SyntaxError
	if err := json.Unmarshal(b, &v); errors.As(err, &at) {
		return "it breaks at byte " + strconv.FormatInt(at.Offset, 10)
	}
	return "it breaks"
}

// soundEscapes looks at the \u escapes of valid JSON.
func soundEscapes(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return true
		}
		b = b[i+1:]
		if b[0] != 'u' {
			b = b[1:]
			continue
		}
		r := hex4(b[1:])
		b = b[5:]
		switch {
		case r == 0 || r >= 0xdc00 && r <= 0xdfff:
			return false
		case r >= 0xd800 && r <= 0xdbff:
			if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
				return false
			}
			if low := hex4(b[2:]); low < 0xdc00 || low > 0xdfff {
				return false
			}
			b = b[6:]
		}
	}
}

func hex4(b []byte) uint64 {
	r, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return 0
	}
	return r
}

// CheckJSON refuses what encoding/json would quietly accept, for protocol endpoints that take JSON in a form of their own.
func CheckJSON(b []byte) error { return checkJSON(b) }
