package db_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
)

func insertAll(ctx context.Context, tx db.WriteTx, ids []string) error {
	for _, id := range ids {
		if id == "panic" {
			panic("asked for")
		}
		if err := note(ctx, tx, id); err != nil {
			return fmt.Errorf("insert %s: %w", id, err)
		}
	}
	return nil
}

// held makes a batch and puts a first item into it that commits when release is called, so that the next ones gather.
func held(t *testing.T, d *db.DB, limit int) (b *db.Batch[string], sizes func() []int, release func()) {
	t.Helper()
	gate, entered := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	var seen []int
	b = db.NewBatch(d, limit, func(ctx context.Context, tx db.WriteTx, items []string) error {
		if items[0] == "first" {
			once.Do(func() { close(entered) })
			<-gate
		}
		mu.Lock()
		seen = append(seen, len(items))
		mu.Unlock()
		return insertAll(ctx, tx, items)
	})
	first := make(chan error, 1)
	go func() { first <- b.Do(context.Background(), "first") }()
	<-entered
	return b, func() []int { mu.Lock(); defer mu.Unlock(); return seen }, func() {
		close(gate)
		if err := <-first; err != nil {
			t.Error(err)
		}
	}
}

func TestBatchCommitsTogetherAndBadItemsFailAlone(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		b, sizes, release := held(t, d, 20)
		ids := []string{"a", "b", "c", "first", "d", "panic", "e", "f"} // "first" is a duplicate
		errs := make([]error, len(ids))
		var all sync.WaitGroup
		for i, id := range ids {
			all.Go(func() { errs[i] = b.Do(t.Context(), id) })
		}
		for db.Waiting(b) < len(ids) {
			yield()
		}
		release()
		all.Wait()
		for i, id := range ids {
			switch id {
			case "first":
				if !errors.Is(errs[i], db.ErrConflict) {
					t.Errorf("duplicate: %v", errs[i])
				}
			case "panic":
				if errs[i] == nil {
					t.Error("the item that panics was accepted")
				}
			default:
				if errs[i] != nil {
					t.Errorf("%s: %v", id, errs[i])
				}
			}
		}
		if n := count(t, d, notes); n != 7 {
			t.Errorf("%d rows", n)
		}
		if got := sizes(); len(got) < 2 || got[1] < 2 {
			t.Errorf("transactions of %v items: nothing was gathered", got)
		}
		b.Close()
		if err := b.Do(t.Context(), "later"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestBatchGathersOneTransaction(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		b, sizes, release := held(t, d, 100)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				if err := b.Do(t.Context(), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		for db.Waiting(b) < 50 {
			yield()
		}
		release()
		all.Wait()
		if got := sizes(); got[len(got)-1] != 50 {
			t.Errorf("transactions of %v items", got)
		}
		if n := count(t, d, "SELECT count(*) FROM tx_marks"); n != 2 {
			t.Errorf("%d commits", n)
		}
	})
}

func TestBatchItemIsWithdrawn(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		b, _, release := held(t, d, 10)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- b.Do(ctx, "gone") }()
		for db.Waiting(b) < 1 {
			yield()
		}
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		release()
		b.Close()
		if n := count(t, d, notes+" AND id = 'gone'"); n != 0 {
			t.Fatal("a withdrawn item was written")
		}
	})
}

func TestBatchRefusesWhenTooManyWait(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		b, _, release := held(t, d, 1)
		var all sync.WaitGroup
		for i := range 32 {
			all.Go(func() {
				if err := b.Do(t.Context(), fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			})
		}
		for db.Waiting(b) < 32 {
			yield()
		}
		if err := b.Do(t.Context(), "too many"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("the queue has no end: %v", err)
		}
		release()
		all.Wait()
	})
}
