package app

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// inProcess carries requests to a handler of this process. The mint delivers to the embedded S3 endpoint through it: the
// same signature and the same rights as over the network, but no dependence on which address the listener has, or on a
// certificate that the process itself would have to trust.
type inProcess struct {
	handler http.Handler
}

// RoundTrip serves the request and gives the whole answer back. Objects are small, so it is held in memory.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	in.RequestURI, in.RemoteAddr = in.URL.RequestURI(), "127.0.0.1:0"
	w := &answer{header: http.Header{}}
	t.handler.ServeHTTP(w, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	length := int64(w.body.Len())
	if v, err := strconv.ParseInt(w.header.Get("Content-Length"), 10, 64); err == nil && r.Method == http.MethodHead {
		length = v
	}
	return &http.Response{
		Status:     strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode: w.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        w.header,
		Body:          io.NopCloser(&w.body),
		ContentLength: length,
		Request:       r,
	}, nil
}

// answer is an http.ResponseWriter in memory.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answer) Header() http.Header { return w.header }

func (w *answer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *answer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
