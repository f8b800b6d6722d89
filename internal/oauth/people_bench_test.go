package oauth_test

import (
	"testing"

	"github.com/mintmark/mintmark/internal/db/dbtest"
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
