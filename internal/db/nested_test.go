package db_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

// Transactions nest: a request writes, reads beside it, and asks a cache. With one pool enough of them would wait for each
// other until all of them time out.
func TestNestedWorkDoesNotStarve(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		d, err := db.Open(t.Context(), db.Options{URL: dbtest.URL(t, engine), MaxConns: 4})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() }) // after the feed has stopped
		c := db.NewCache(d, numbers, 100, func(_ context.Context, _ db.ReadTx, key string) (int64, error) { return 1, nil })
		start(t, d)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				err := d.Write(t.Context(), func(tx db.WriteTx) error {
					if err := note(t.Context(), tx, fmt.Sprint(i)); err != nil {
						return err
					}
					return d.Read(t.Context(), func(db.ReadTx) error {
						_, err := c.Get(t.Context(), fmt.Sprint(i))
						return err
					})
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}
