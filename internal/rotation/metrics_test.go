package rotation_test

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/rotation"
)

// A scrape must cost what lives, and not what ever was.
func TestMetricsCountByIndexes(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for index, query := range rotation.Counts {
			var plan strings.Builder
			err := d.Write(t.Context(), func(tx db.WriteTx) error {
				plan.Reset()
				explain, columns := "EXPLAIN QUERY PLAN ", 4
				if d.Engine() == db.PostgreSQL {
					explain, columns = "EXPLAIN ", 1
					if _, err := tx.Exec(t.Context(), "SET LOCAL enable_seqscan = off"); err != nil { // which an empty table would have
						return err
					}
				}
				rows, err := tx.Query(t.Context(), explain+query)
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					cells, to := make([]string, columns), make([]any, columns)
					for i := range cells {
						to[i] = &cells[i]
					}
					if err := rows.Scan(to...); err != nil {
						return err
					}
					plan.WriteString(cells[columns-1] + "\n")
				}
				return rows.Err()
			})
			if err != nil || !strings.Contains(plan.String(), index) {
				t.Errorf("%s is not read: %v\n%s", index, err, plan.String())
			}
		}
	})
}
