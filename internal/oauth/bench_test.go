package oauth_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
)

// sink is a ResponseWriter that keeps nothing, so that a benchmark measures the server and not a recorder.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// benchmark serves one request again and again; token, if not nil, gives the bearer token of each.
func benchmark(b *testing.B, w *world, method, path, form string, token func(i int) string) {
	b.Helper()
	r := httptest.NewRequest(method, path, nil)
	us(r)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	body := &bytes.Reader{}
	out := &sink{header: http.Header{}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		text := form
		if token != nil {
			if method == http.MethodGet {
				r.Header["Authorization"] = []string{"Bearer " + token(i)}
			} else {
				text = "token=" + token(i)
			}
		}
		body.Reset([]byte(text))
		r.Body, r.ContentLength = io.NopCloser(body), int64(len(text))
		clear(out.header)
		out.status = 200
		w.mux.ServeHTTP(out, r)
		if out.status != 200 {
			b.Fatalf("status %d", out.status)
		}
	}
}

// tokens makes n different tokens.
func tokens(w *world, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = w.token()
	}
	return list
}

func BenchmarkTokenClientCredentials(b *testing.B) {
	benchmark(b, one(b), "POST", "/oauth2/token", "grant_type=client_credentials&scope=uid+sales_order.read_all", nil)
}

func BenchmarkTokenPassword(b *testing.B) {
	benchmark(b, one(b), "POST", "/oauth2/token?realm=services", passwordForm, nil)
}

func BenchmarkTokenPasswordJSON(b *testing.B) {
	benchmark(b, one(b), "POST", "/oauth2/access_token?realm=services", seedRequest, nil)
}

// firstSight asks about tokens in turn that are more than the memory of verified ones holds.
func firstSight(b *testing.B, method, path string) {
	w := one(b, func(_ *world, o *oauth.Options) { o.CachedTokens = 1 })
	list := tokens(w, 200)
	benchmark(b, w, method, path, "", func(i int) string { return list[i%len(list)] })
}

func cached(b *testing.B, method, path string) {
	w := one(b)
	list := tokens(w, 200)
	benchmark(b, w, method, path, "", func(i int) string { return list[i%len(list)] })
}

func BenchmarkTokeninfoFirstSight(b *testing.B)  { firstSight(b, "GET", "/oauth2/tokeninfo") }
func BenchmarkTokeninfoCached(b *testing.B)      { cached(b, "GET", "/oauth2/tokeninfo") }
func BenchmarkIntrospectFirstSight(b *testing.B) { firstSight(b, "POST", "/oauth2/introspect") }
func BenchmarkIntrospectCached(b *testing.B)     { cached(b, "POST", "/oauth2/introspect") }

func BenchmarkVerifyCached(b *testing.B) {
	w := one(b)
	token, v := w.token(), w.server.Verifier()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token, oauth.VerifyOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefused is what an attacker can make the server do: a body of as many parameters as fit.
func BenchmarkRefusedManyParameters(b *testing.B) {
	w := one(b)
	form := url.Values{}
	for i := range 5000 {
		form.Set(string(rune('a'+i%26))+http.StatusText(i%600)+string(rune(i)), "x")
	}
	text := form.Encode()
	b.ReportAllocs()
	for b.Loop() {
		w.send("POST", "/oauth2/token", text[:min(len(text), 60_000)], us)
	}
}

// BenchmarkWhole is the password grant with the real registry and the real users, on each engine: that it costs what it
// costs with maps shows that it reads no database.
func BenchmarkWhole(b *testing.B) {
	for _, engine := range dbtest.Engines(b) {
		b.Run(string(engine), func(b *testing.B) {
			w := newWhole(b, engine)
			p := w.mint("sales-orders", 1)
			r := httptest.NewRequest("POST", "/oauth2/token?realm=services", nil)
			auth(p.ClientID, p.Secret)(r)
			form(r)
			text := url.Values{"grant_type": {"password"}, "username": {p.Username}, "password": {p.Password}, "scope": {"uid sales_order.read_all"}}.Encode()
			body := &bytes.Reader{}
			out := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset([]byte(text))
				r.Body, r.ContentLength = io.NopCloser(body), int64(len(text))
				clear(out.header)
				out.status = 200
				w.mux.ServeHTTP(out, r)
				if out.status != 200 {
					b.Fatalf("status %d", out.status)
				}
			}
		})
	}
}
