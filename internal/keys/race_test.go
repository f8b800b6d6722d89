package keys_test

import (
	"sync"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// Whoever asks for a key in the same moment as somebody else gets the key that the other one made.
func TestTwoWhoAskForAKeyAtOnceGetTheSame(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			d := dbtest.Open(t, engine, clock.System)
			keyring := sealtest.New(t, d)
			r, err := keys.NewRing(d, keyring, keys.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			var mu sync.Mutex
			kids := map[string]bool{}
			for range 8 {
				all.Go(func() {
					k, err := r.Rotate(t.Context(), access.SystemCaller("test"), "")
					if err != nil {
						t.Errorf("%v", err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					kids[k.Kid] = true
				})
			}
			all.Wait()
			if len(kids) != 1 {
				t.Errorf("there are %d next keys", len(kids))
			}
		})
	}
}
