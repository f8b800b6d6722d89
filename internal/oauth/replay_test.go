package oauth

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

// B2.52: what is remembered of a hundred thousand assertions that live as long as they may is in the database and not in
// memory, and each of them counts once all the same.
func TestB2_52_MemoryOfManyAssertions(t *testing.T) {
	const many, most = 100_000, 32 << 20
	c := clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))
	d := dbtest.Open(t, dbtest.Engines(t)[0], c)
	g := newReplayGuard(d)
	expires := c.Now().Add(assertionLife)
	use := func(from, to int) (first int64) {
		var n atomic.Int64
		var wg sync.WaitGroup
		for worker := range 2 * batchSize {
			wg.Go(func() {
				for i := from + worker; i < to; i += 2 * batchSize {
					ok, err := g.first(context.Background(), "client", fmt.Sprintf("cli_%d", i%1000), fmt.Sprintf("jti-%d", i), expires)
					if err != nil {
						t.Error(err)
					}
					if ok {
						n.Add(1)
					}
				}
			})
		}
		wg.Wait()
		return n.Load()
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	if n := use(0, 1000); n != 1000 { // what every first use brings along
		t.Fatalf("%d of 1000 were the first", n)
	}
	before := heap()
	if n := use(1000, many); n != many-1000 {
		t.Errorf("%d of %d were the first", n, many-1000)
	}
	if grown := heap() - before; grown > most {
		t.Errorf("memory has grown by %d bytes", grown)
	}
	if n := use(0, 1000) + use(many-1000, many); n != 0 {
		t.Errorf("%d counted twice", n)
	}
	var rows int
	if err := d.Read(t.Context(), func(tx db.ReadTx) error {
		return tx.QueryRow(t.Context(), `SELECT count(*) FROM used_assertions`).Scan(&rows)
	}); err != nil || rows != many {
		t.Errorf("%d rows, %v", rows, err)
	}
	runtime.KeepAlive(g)
}
