package db_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// After a batch of three, with one waiting, the next one waits for four.
func TestBatchWaitsForThoseWhoComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := db.Idle[int](10)
		db.Enqueue(b, 1)
		gathered := make(chan int, 1)
		begun := time.Now()
		go func() {
			db.Gather(b, 3, time.Millisecond)
			gathered <- db.Waiting(b)
		}()
		for i := range 3 {
			time.Sleep(200 * time.Microsecond)
			db.Enqueue(b, 2+i)
		}
		if n := <-gathered; n != 4 {
			t.Errorf("%d are there, want 4", n)
		}
		if took := time.Since(begun); took != 600*time.Microsecond {
			t.Errorf("the last came after 600µs, and the batch waited for %v", took)
		}
		db.Enqueue(b, 9) // nobody waits for it
	})
}

func TestBatchWaitsNoLongerThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := db.Idle[int](10)
		begun := time.Now()
		db.Gather(b, 5, time.Millisecond)
		if took := time.Since(begun); took != time.Millisecond {
			t.Errorf("nobody came, and the batch waited for %v", took)
		}
		for i := range 5 { // those who come late must not find a channel that is closed
			db.Enqueue(b, i)
		}
	})
}

// A lone writer, a full batch and one that is about to close wait for nobody.
func TestBatchDoesNotWaitWithoutReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		db.Gather(db.Idle[int](10), 1, time.Hour)

		full := db.Idle[int](2)
		db.Enqueue(full, 1)
		db.Enqueue(full, 2)
		db.Gather(full, 2, time.Hour)

		closed := db.Idle[int](10)
		closed.Close()
		db.Gather(closed, 5, time.Hour)
		if took := time.Since(begun); took != 0 {
			t.Errorf("they waited for %v", took)
		}
	})
}
