//go:build faultinject

package audit_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/failpoint"
)

// TestSequencerFaults stops the sequencer at each step of its second batch, by an error and by a panic that nothing
// handles, and lets another one go on. Nothing is lost and nothing is placed twice.
func TestSequencerFaults(t *testing.T) {
	steps := map[string]struct{ placed, signed int64 }{ // what is left
		"audit.beforeCommit":    {3, 3}, // the batch is undone
		"audit.afterBatch":      {5, 3}, // placed, not signed
		"audit.afterCheckpoint": {5, 5}, // signed, the second place was not told
	}
	stops := map[string]func() error{
		"error": func() error { return failpoint.ErrInjected },
		"panic": func() error { panic(failpoint.ErrInjected) },
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		base := newLog(t, d)
		saved := base.save()
		for name, left := range steps {
			for how, act := range stops {
				for _, same := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/%s/same sequencer %v", name, how, same), func(t *testing.T) {
						base.T = t
						base.restore(saved)
						l := &log{T: t, d: d, keys: base.keys}
						l.s = l.sequencer(audit.SequencerOptions{Node: "one"})
						l.grow(3)
						l.record(2)
						clear := failpoint.Set(name, 1, act)
						err := func() (err error) {
							defer func() {
								if p := recover(); p != nil {
									err = p.(error)
								}
							}()
							return l.s.Flush(t.Context())
						}()
						clear()
						if !errors.Is(err, failpoint.ErrInjected) {
							t.Fatalf("the fault did not happen: %v", err)
						}
						if r := l.verify(""); r.Problem != nil || r.Size != left.placed || r.Signed != left.signed || r.Waiting != 5-left.placed {
							t.Errorf("left %+v, want %+v", r, left)
						}
						if !same {
							l.exec(`UPDATE audit_sequencer SET until = 0`)
							l.s = l.sequencer(audit.SequencerOptions{Node: "two"})
						}
						l.grow(1)
						l.whole(6)
					})
				}
			}
		}
	})
}
