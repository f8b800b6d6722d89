package s3api

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

// getObject serves GetObject and HeadObject.
func (s *Server) getObject(x *exchange) error {
	if err := x.may(Get, x.key); err != nil {
		return err
	}
	if _, err := s.haveBucket(x); err != nil {
		return err
	}
	o, err := s.disk.open(x.bucket, x.key)
	if isAbsent(err) {
		return errNoKey
	}
	if err != nil {
		return err
	}
	defer o.Close() // opened for reading: nothing is lost
	h := x.Header()
	h.Set("ETag", o.quotedTag())
	h.Set("Last-Modified", o.modified().Format(http.TimeFormat))
	if e := readCondition(x.header, o.meta); e != nil {
		return e
	}
	h.Set("Cache-Control", "private, no-cache") // what an object holds may be a credential; it may set its own
	for name, value := range o.Headers {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			name = strings.ToLower(name) // S3 answers so, and some clients take the name as it comes
		}
		h[name] = []string{value}
	}
	h.Set("Accept-Ranges", "bytes")
	first, length, e := x.rangeOf(o)
	if e != nil {
		return e
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	if length == o.size {
		x.WriteHeader(http.StatusOK)
	} else {
		h.Set("Content-Range", "bytes "+strconv.FormatInt(first, 10)+"-"+strconv.FormatInt(first+length-1, 10)+"/"+strconv.FormatInt(o.size, 10))
		x.WriteHeader(http.StatusPartialContent)
	}
	if x.r.Method == http.MethodHead {
		return nil
	}
	x.allow(false)
	if _, err := io.Copy(x, io.NewSectionReader(o.body, first, length)); err != nil {
		// The client went, or the disk failed: either way the answer is too short, and says so by its length.
		return &apiError{status: 500, code: "InternalError", message: "The answer broke off.", err: err}
	}
	return nil
}

// allow gives the request its time. What is no connection has no deadlines, and needs none.
func (x *exchange) allow(reading bool) {
	c := http.NewResponseController(x.w)
	until := clock.System.Now().Add(patience)
	var err error
	if reading {
		err = c.SetReadDeadline(until)
	} else {
		err = c.SetWriteDeadline(until)
	}
	_ = err // http.ErrNotSupported, or the connection is gone and the next read or write tells
}

// readCondition answers whether the object is to be sent, by RFC 9110, 13.2.2.
func readCondition(h http.Header, m meta) *apiError {
	modified := m.modified().Truncate(time.Second)
	if v := h.Get("If-Match"); v != "" {
		if !tagIn(v, m.ETag) {
			return errPrecondition
		}
	} else if t, ok := httpTime(h, "If-Unmodified-Since"); ok && modified.After(t) {
		return errPrecondition
	}
	if v := h.Get("If-None-Match"); v != "" {
		if tagIn(v, m.ETag) {
			return errNotModified
		}
	} else if t, ok := httpTime(h, "If-Modified-Since"); ok && !modified.After(t) {
		return errNotModified
	}
	return nil
}

func httpTime(h http.Header, name string) (time.Time, bool) {
	t, err := http.ParseTime(h.Get(name))
	return t, err == nil
}

// tagIn tells whether the list of a condition has the tag. S3's clients also send tags without quotes.
func tagIn(list, tag string) bool {
	for t := range strings.SplitSeq(list, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == "*" || strings.Trim(t, `"`) == tag {
			return true
		}
	}
	return false
}

// rangeOf is the part of the object that is asked for. As in S3, a header that is not one well-formed range is ignored,
// and a range behind the end is refused.
func (x *exchange) rangeOf(o *object) (first, length int64, e *apiError) {
	spec, ok := strings.CutPrefix(x.header.Get("Range"), "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	if !ok || !dash || !decimal(from) || !decimal(to) || from+to == "" || len(from) > 18 || len(to) > 18 {
		return 0, o.size, nil
	}
	if v := x.header.Get("If-Range"); v != "" && v != o.quotedTag() && v != x.Header().Get("Last-Modified") {
		return 0, o.size, nil
	}
	unsatisfiable := func() (int64, int64, *apiError) {
		x.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(o.size, 10))
		return 0, 0, refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable.")
	}
	if from == "" { // the last so many bytes
		n := number(to)
		if n == 0 || o.size == 0 {
			return unsatisfiable()
		}
		n = min(n, o.size)
		return o.size - n, n, nil
	}
	first, last := number(from), o.size-1
	if to != "" {
		if number(to) < first {
			return 0, o.size, nil
		}
		last = min(last, number(to))
	}
	if first > last {
		return unsatisfiable()
	}
	return first, last - first + 1, nil
}

// number is the value of at most 18 decimal digits.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// deleteObject serves DeleteObject. To delete what is not there is done already.
func (s *Server) deleteObject(x *exchange) error {
	if err := x.may(Delete, x.key); err != nil {
		return err
	}
	if x.header.Get("If-Match") != "" {
		return notImplemented("A conditional delete is not supported.")
	}
	if _, err := s.haveBucket(x); err != nil {
		return err
	}
	if err := s.disk.remove(x.bucket, x.key); err != nil {
		return err
	}
	x.WriteHeader(http.StatusNoContent)
	return nil
}
