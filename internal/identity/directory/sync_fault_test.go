//go:build faultinject

package directory_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/identity/directory"
)

// What a comparison that stops leaves behind, as docs/faults-directory.md says it: before its first transaction nothing,
// between two what the first ones did; and the next one does the rest, once.
func TestAComparisonThatStops(t *testing.T) {
	s := directoryServer(t)
	for point, want := range map[string]struct {
		name            string
		at              int
		refreshed, gone bool
		rest            directory.Report // of the next comparison
	}{
		"S5": {name: "directory.afterSurvey", at: 1, rest: directory.Report{Refreshed: 1, Disabled: 1}},
		"S7": {name: "directory.afterBatch", at: 1, refreshed: true, rest: directory.Report{Disabled: 1}},
		"S8": {name: "directory.afterBatch", at: 2, refreshed: true, gone: true},
	} {
		t.Run(point, func(t *testing.T) {
			onBoth(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
				ou := s.organizationalUnit(t, point+"-"+string(d.Engine()))
				s.change(t, person(ou, "ann", "Ann", "ann@example.org", janes)+person(ou, "bob", "Bob", "bob@example.org", janes)+person(ou, "cid", "Cid", "cid@example.org", janes))
				config := following(openldap(s), ou)
				config.Base = ou
				w := newWorld(t, d, c, config)
				w.group("sales")
				users := w.everybody("ann", "bob", "cid")
				s.change(t, fmt.Sprintf("dn: uid=ann,%[1]s\nchangetype: delete\n\ndn: uid=bob,%[1]s\nchangetype: modify\nreplace: cn\ncn: Bob of old\n\ndn: cn=sales,%[1]s\nchangetype: add\nobjectClass: groupOfNames\ncn: sales\nmember: uid=bob,%[1]s\n\n", ou))
				before := failpoint.Fired(want.name)
				clear := failpoint.Set(want.name, want.at, func() error { return failpoint.ErrInjected })
				r, err := w.sync()
				clear()
				if failpoint.Fired(want.name) != before+1 {
					t.Fatal("the fault was not injected")
				}
				if err == nil || r.Outcome != directory.Failed {
					t.Errorf("%+v, %v", r, err)
				}
				state := func() (refreshed, gone bool) {
					name, in := w.load(users[1].ID).DisplayName == "Bob of old", w.in(users[1]) == "sales "
					if name != in {
						t.Errorf("half of what the directory says of one person is stored: %v %v", name, in)
					}
					return name, !w.enabled(users[0])
				}
				if refreshed, gone := state(); refreshed != want.refreshed || gone != want.gone {
					t.Errorf("it left refreshed %v, disabled %v", refreshed, gone)
				}
				w.clock.Set(w.clock.Now().Add(time.Hour))
				r, err = w.sync()
				if err != nil || r.Outcome != directory.Done || r.Refreshed != want.rest.Refreshed || r.Disabled != want.rest.Disabled {
					t.Errorf("the next comparison: %+v, %v", r, err)
				}
				if refreshed, gone := state(); !refreshed || !gone || !w.enabled(users[2]) {
					t.Errorf("after the next one: refreshed %v, disabled %v", refreshed, gone)
				}
			})
		})
	}
}
