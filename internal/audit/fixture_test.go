package audit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

const origin = "https://mint.example.org"

// log is a database with its keys and one sequencer, which works when it is told to.
type log struct {
	*testing.T
	d    *db.DB
	keys *seal.Keyring
	s    *audit.Sequencer
}

func newLog(t *testing.T, d *db.DB) *log {
	t.Helper()
	l := &log{T: t, d: d, keys: sealtest.New(t, d)}
	l.s = l.sequencer(audit.SequencerOptions{})
	return l
}

func (l *log) sequencer(o audit.SequencerOptions) *audit.Sequencer {
	l.Helper()
	o.Origin = origin
	s, err := audit.NewSequencer(l.d, l.keys, o)
	if err != nil {
		l.Fatal(err)
	}
	return s
}

func event(n int) audit.Event {
	return audit.Event{
		Action: "application.write", Outcome: audit.Success,
		Caller:     access.Caller{Kind: access.Person, ID: "usr_1", Name: "ada", Realm: "employees", IP: "192.0.2.1", RequestID: "req_1"},
		TargetType: "application", TargetID: fmt.Sprintf("app-%d", n),
		Details: map[string]any{"n": n, "b": "<&>", "a": nil},
	}
}

// record commits n events, one transaction each.
func (l *log) record(n int) {
	l.Helper()
	for i := range n {
		l.write(func(tx db.WriteTx) error { return audit.Record(l.Context(), tx, event(i)) })
	}
}

// grow records n events and gives them their places, with a checkpoint.
func (l *log) grow(n int) {
	l.Helper()
	l.record(n)
	if err := l.s.Flush(l.Context()); err != nil {
		l.Fatal(err)
	}
}

func (l *log) write(f func(tx db.WriteTx) error) {
	l.Helper()
	if err := l.d.Write(context.Background(), f); err != nil {
		l.Fatal(err)
	}
}

// exec is somebody with access to the database.
func (l *log) exec(query string, args ...any) {
	l.Helper()
	l.write(func(tx db.WriteTx) error {
		_, err := tx.Exec(context.Background(), query, args...)
		return err
	})
}

func (l *log) verify(trusted string) audit.Report {
	l.Helper()
	r, err := audit.Verify(l.Context(), l.d, audit.VerifyOptions{Keys: l.keys.AuditPublicKeys(), Trusted: trusted, Page: 7})
	if err != nil {
		l.Fatal(err)
	}
	return r
}

// whole checks that the log has so many records, all signed, and no damage.
func (l *log) whole(size int64) {
	l.Helper()
	r := l.verify("")
	if r.Problem != nil || r.Size != size || r.Signed != size || r.Waiting != 0 {
		l.Errorf("report %+v (%v), want %d records, all signed and whole", r, r.Problem, size)
	}
}

func (l *log) newest() audit.Checkpoint {
	l.Helper()
	var c audit.Checkpoint
	if err := l.d.Read(l.Context(), func(tx db.ReadTx) (err error) {
		c, _, err = audit.Latest(l.Context(), tx)
		return err
	}); err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *log) list(f audit.Filter) []audit.Stored {
	l.Helper()
	var events []audit.Stored
	if err := l.d.Read(l.Context(), func(tx db.ReadTx) (err error) {
		events, _, err = audit.List(l.Context(), tx, f)
		return err
	}); err != nil {
		l.Fatal(err)
	}
	return events
}

// wait waits for what must come. Only a program that never gets there meets the limit.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited in vain for " + what)
}
