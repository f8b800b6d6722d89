package db_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
)

// While the database is slow, strangers who ask for made-up keys and go away must not fill the memory.
func TestWaitingLoadsAreBounded(t *testing.T) {
	d := dbtest.Open(t, db.SQLite, clock.System)
	release := make(chan struct{})
	c := db.NewCache(d, numbers, 10, func(context.Context, db.ReadTx, string) (int64, error) { <-release; return 1, nil })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 4096 {
		if _, err := c.Get(gone, fmt.Sprint(i)); err == nil {
			t.Fatal("a load that has not ended answered")
		}
	}
	if _, err := c.Get(t.Context(), "one more"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("one too many: %v", err)
	}
	if _, err := c.Fresh(t.Context(), "one more"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("one too many, fresh: %v", err)
	}
	close(release)
	for i := range 4096 {
		if _, err := c.Fresh(t.Context(), fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Get(t.Context(), "one more"); err != nil || got != 1 {
		t.Errorf("afterwards: %d, %v", got, err)
	}
}
