package oauth_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/oauth"
)

// heap is what is in use once all that is garbage has gone.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers let go of
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// countedKeys counts what is asked of the keys.
type countedKeys struct {
	oauth.Keys
	lookups, others atomic.Int64
}

func (k *countedKeys) Key(kid string) (keys.Public, bool) { k.lookups.Add(1); return k.Keys.Key(kid) }

func (k *countedKeys) Signer(ctx context.Context) (keys.Signer, error) {
	k.others.Add(1)
	return k.Keys.Signer(ctx)
}

func (k *countedKeys) SignerFor(ctx context.Context, alg keys.Alg) (keys.Signer, error) {
	k.others.Add(1)
	return k.Keys.SignerFor(ctx, alg)
}

func (k *countedKeys) Algs() []keys.Alg { k.others.Add(1); return k.Keys.Algs() }

func (k *countedKeys) ServeJWKS(w http.ResponseWriter, r *http.Request) {
	k.others.Add(1)
	k.Keys.ServeJWKS(w, r)
}

// B6.106: ten thousand kids that nobody knows cost one look into memory each. Nothing is fetched, read from the database or
// kept for them.
func TestB6_106_RandomKids(t *testing.T) {
	const many = 10_000
	counted := &countedKeys{}
	w := newWorld(t, dbtest.Engines(t)[0], func(_ *world, o *oauth.Options) { counted.Keys, o.Keys = o.Keys, counted })
	good := w.token()
	if !w.valid(good) {
		t.Fatal("a good token is refused")
	}
	tokens := make([]string, many)
	for i := range tokens {
		tokens[i] = w.forge(strings.Replace(goodHeader, "KID", fmt.Sprintf("made-up-%d", i), 1), goodClaims("", ""))
	}
	if err := w.db.Close(); err != nil { // whoever asks it now is told
		t.Fatal(err)
	}
	counted.lookups.Store(0)
	counted.others.Store(0)
	before := heap()
	for _, token := range tokens {
		if w.valid(token) {
			t.Fatal("a forged token is accepted")
		}
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	if n, others := counted.lookups.Load(), counted.others.Load(); n != many || others != 0 {
		t.Errorf("%d looks at keys and %d other questions for %d tokens", n, others, many)
	}
	if !w.valid(good) { // it was not pushed out of memory either
		t.Error("a good token is refused afterwards")
	}
}
