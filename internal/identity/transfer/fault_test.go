//go:build faultinject

package transfer_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/identity/transfer"
)

// A batch that fails before or after it is stored, in whatever order, is there once when it was sent again.
func TestImportSurvivesFaults(t *testing.T) {
	ports(t, func(p *port) {
		for _, point := range []string{"transfer.importing", "transfer.imported"} {
			b := transfer.Batch{Realm: "customers"}
			for i := range 5 {
				b.Rows = append(b.Rows, transfer.Row{ExternalID: fmt.Sprint(point, i), Username: fmt.Sprint(point[9:], i)})
			}
			clear := failpoint.Set(point, 0, func() error { return failpoint.ErrInjected })
			_, err := p.s.Import(p.Context(), admin, b)
			clear()
			if !errors.Is(err, failpoint.ErrInjected) {
				p.Fatalf("%s: %v", point, err)
			}
			want, there := transfer.Created, 0
			if point == "transfer.imported" {
				want, there = transfer.Skipped, 5
			}
			if n := p.texts(`SELECT user_id FROM person_external_ids WHERE external_id LIKE $1`, point+"%"); len(n) != there {
				p.Errorf("%s left %d", point, len(n))
			}
			got, err := p.s.Import(p.Context(), admin, b)
			if err != nil || got[0].Outcome != want || got[4].Outcome != want {
				p.Errorf("%s, again: %+v %v", point, got, err)
			}
			if n := p.texts(`SELECT user_id FROM person_external_ids WHERE external_id LIKE $1`, point+"%"); len(n) != 5 {
				p.Errorf("%s and again left %d", point, len(n))
			}
		}
	})
}
