package db_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

// All that has expired goes, more than any one transaction removes, and nothing else does.
func TestRemoveExpired(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		const many, fresh, kept = 2500, 3, 2
		err := d.Write(t.Context(), func(tx db.WriteTx) error {
			for i := range many + fresh + kept {
				at, item := tx.Now().Add(-2*time.Hour), ""
				switch {
				case i < fresh:
					at = tx.Now().Add(-50 * time.Minute)
				case i < fresh+kept:
					item = "still needed"
				}
				if _, err := tx.Exec(t.Context(), `INSERT INTO changes (id, at, topic, item) VALUES ($1, $2, 'test', $3)`, fmt.Sprint(i), db.Micros(at), item); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		e := db.Expiry{Table: "changes", Key: "id", Column: "at", Keep: time.Hour, And: `topic = 'test' AND item = ''`}
		removed, err := d.RemoveExpired(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int64{"changes": many}, removed); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		if n := count(t, d, notes); n != fresh+kept {
			t.Errorf("%d rows are left", n)
		}
		if removed, err = d.RemoveExpired(t.Context(), e); err != nil || len(removed) != 0 {
			t.Errorf("once more: %v, %v", removed, err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := d.RemoveExpired(ended, e); err == nil {
			t.Error("it goes on although nobody wants it")
		}
	})
}
