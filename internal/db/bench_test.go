package db_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

func benchmark(b *testing.B, f func(b *testing.B, d *db.DB)) {
	for _, engine := range dbtest.Engines(b) {
		b.Run(string(engine), func(b *testing.B) { f(b, dbtest.Open(b, engine, clock.System)) })
	}
}

// BenchmarkWrite is one durable transaction with one statement, one after the other.
func BenchmarkWrite(b *testing.B) {
	benchmark(b, func(b *testing.B, d *db.DB) {
		ctx, i := context.Background(), 0
		for b.Loop() {
			i++
			if err := d.Write(ctx, func(tx db.WriteTx) error { return note(ctx, tx, strconv.Itoa(i)) }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRead is one read of one row by its key.
func BenchmarkRead(b *testing.B) {
	benchmark(b, func(b *testing.B, d *db.DB) {
		ctx := context.Background()
		if err := d.Write(ctx, func(tx db.WriteTx) error { return note(ctx, tx, "a") }); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			var item string
			err := d.Read(ctx, func(tx db.ReadTx) error {
				return tx.QueryRow(ctx, "SELECT item FROM changes WHERE id = $1", "a").Scan(&item)
			})
			if err != nil || item != "a" {
				b.Fatal(item, err)
			}
		}
	})
}

// BenchmarkBatch is what one of 16 writers waits for its row's durable commit, divided by 16.
func BenchmarkBatch(b *testing.B) {
	benchmark(b, func(b *testing.B, d *db.DB) {
		batch := db.NewBatch(d, 100, insertAll)
		defer batch.Close()
		var next atomic.Int64
		b.SetParallelism(8)
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := batch.Do(context.Background(), strconv.FormatInt(next.Add(1), 10)); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkCacheGet is what every verification of a token pays.
func BenchmarkCacheGet(b *testing.B) {
	benchmark(b, func(b *testing.B, d *db.DB) {
		c := db.NewCache(d, "test", 100, func(_ context.Context, _ db.ReadTx, key string) (string, error) { return key, nil })
		stop, err := d.StartFeed(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		defer stop()
		for b.Loop() {
			if _, err := c.Get(context.Background(), "a"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
