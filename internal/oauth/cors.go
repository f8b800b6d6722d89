package oauth

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/internal/route"
)

// Scripts of another origin read an answer only if it says that they may (the CORS protocol of the Fetch standard).
//
// What it guards: an answer about a client may be read by scripts of that client's origins alone; nothing that a cookie
// proves is ever readable, because no answer allows credentials; and the origin null, which any sandboxed page has, is
// nobody's. The management API answers no script of another origin at all.

// crossOrigin is where a script calls from, and the headers of the answer to it.
type crossOrigin struct {
	origin string
	header http.Header
}

type crossOriginKey struct{}

var (
	varyOrigin   = []string{"Origin"}
	anyOrigin    = []string{"*"}
	corsHeaders  = []string{"Authorization, Content-Type"}
	corsExposed  = []string{"Retry-After, WWW-Authenticate"}
	corsMaxAge   = []string{"600"}
	allowOrigin  = "Access-Control-Allow-Origin"
	allowMethods = "Access-Control-Allow-Methods"
)

// shared lets scripts of clients call the endpoint. A browser's question before the request names no client, so it is
// answered to the origins of all of them; the request itself names one, and from then on (forClient) its answer is
// readable for that client's origins alone. What is refused before a client is known tells nothing about any.
func (s *Server) shared(methods string, h http.HandlerFunc) http.HandlerFunc {
	allowed := []string{methods}
	return func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header["Vary"] = varyOrigin
		from := r.Header["Origin"]
		if len(from) != 1 || from[0] == "null" {
			h(w, r)
			return
		}
		known, err := s.clients.KnownOrigin(r.Context(), from[0])
		if err != nil {
			route.NoteError(r.Context(), temporarily, err) // the answer is still good, if not for scripts
		}
		if !known {
			h(w, r)
			return
		}
		header[allowOrigin] = []string{from[0]}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(w, allowed)
			return
		}
		header["Access-Control-Expose-Headers"] = corsExposed
		h(w, r.WithContext(context.WithValue(r.Context(), crossOriginKey{}, &crossOrigin{from[0], header})))
	}
}

func preflight(w http.ResponseWriter, methods []string) {
	h := w.Header()
	h[allowMethods], h["Access-Control-Allow-Headers"], h["Access-Control-Max-Age"] = methods, corsHeaders, corsMaxAge
	w.WriteHeader(http.StatusNoContent)
}

// forClient says which client the request is of: the answer is for scripts of its origins. nil: one that there is not.
func forClient(ctx context.Context, c *Client) {
	from, ok := ctx.Value(crossOriginKey{}).(*crossOrigin)
	if ok && (c == nil || !c.MayCallFrom(from.origin)) {
		delete(from.header, allowOrigin)
		delete(from.header, "Access-Control-Expose-Headers")
	}
}

// named looks at the client that a request names, whether or not it proves to be it: also what is refused it may know.
func (s *Server) named(ctx context.Context, id string) {
	if ctx.Value(crossOriginKey{}) == nil {
		return
	}
	c, err := s.clients.Client(ctx, id)
	if err != nil {
		forClient(ctx, nil)
		return
	}
	forClient(ctx, &c)
}

// public lets scripts of every origin read what everybody may know.
func public(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()[allowOrigin] = anyOrigin
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(w, []string{"GET, HEAD"})
			return
		}
		h(w, r)
	}
}
