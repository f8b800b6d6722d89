package oauth_test

import (
	"context"
	"testing"

	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// parallel runs f in sixteen goroutines on each engine, as sixteen connections would: what commits together shows only
// then.
func parallel(b *testing.B, begin func(w *folk) func(b *testing.B)) {
	for _, engine := range dbtest.Engines(b) {
		b.Run(string(engine), func(b *testing.B) {
			w := newFolk(b, engine)
			w.browser().login(w.alice).allow(asks(w.shop)) // from now on nobody is asked
			b.ReportAllocs()
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				f := begin(w)
				for p.Next() {
					f(b)
				}
			})
		})
	}
}

func BenchmarkRefresh(b *testing.B) {
	parallel(b, func(w *folk) func(b *testing.B) {
		token := w.signIn(w.shop).text("refresh_token")
		return func(b *testing.B) {
			r := w.refresh(w.shop, token)
			if token = r.text("refresh_token"); r.status != 200 {
				b.Errorf("%d %s", r.status, r.body)
			}
		}
	})
}

// BenchmarkCodeFlow is a person who is signed in and was asked before: a code, and the tokens for it.
func BenchmarkCodeFlow(b *testing.B) {
	parallel(b, func(w *folk) func(b *testing.B) {
		browser, request := w.browser().login(w.alice), at(asks(w.shop))
		return func(b *testing.B) {
			code := w.backTo(browser.get(request), shopBack).Get("code")
			if r := w.exchange(w.shop, code); r.status != 200 {
				b.Errorf("%d %s", r.status, r.body)
			}
		}
	})
}

func BenchmarkUserinfo(b *testing.B) {
	parallel(b, func(w *folk) func(b *testing.B) {
		token := w.signIn(w.shop).text("access_token")
		return func(b *testing.B) {
			if r := w.send("GET", "/oauth2/userinfo", "", bearer(token)); r.status != 200 {
				b.Errorf("%d %s", r.status, r.body)
			}
		}
	})
}

// remembered are people who are known from memory, as they are in the server.
type remembered struct{ person oauth.Person }

func (r remembered) Person(context.Context, string) (oauth.Person, error) { return r.person, nil }

// BenchmarkUserinfoSigned is userinfo as it is, signed by each algorithm; the first is plain.
func BenchmarkUserinfoSigned(b *testing.B) {
	w := newFolk(b, dbtest.Engines(b)[0], func(o *oauth.Options) {
		o.People.People = remembered{oauth.Person{ID: "usr_x", Realm: "customers", Username: "alice", Name: "Alice", Enabled: true}}
	})
	w.makeKeys()
	token := w.signIn(w.shop).text("access_token")
	for _, alg := range []string{"", "ES256", "EdDSA", "RS256"} {
		b.Run("by"+alg, func(b *testing.B) {
			w.wish(registry.Metadata{UserinfoAlg: alg})
			benchmark(b, w.world, "GET", "/oauth2/userinfo", "", func(int) string { return token })
		})
	}
}

// BenchmarkIDToken is the exchange of a code for each algorithm of the ID token: what differs is the signature.
func BenchmarkIDToken(b *testing.B) {
	w := newFolk(b, dbtest.Engines(b)[0])
	w.makeKeys()
	browser, request := w.browser().login(w.alice), at(asks(w.shop))
	browser.allow(asks(w.shop))
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		b.Run(alg, func(b *testing.B) {
			w.wish(registry.Metadata{IDTokenAlg: alg})
			b.ReportAllocs()
			for b.Loop() {
				if r := w.exchange(w.shop, w.backTo(browser.get(request), shopBack).Get("code")); r.status != 200 || r.text("id_token") == "" {
					b.Fatalf("%d %s", r.status, r.body)
				}
			}
		})
	}
}
