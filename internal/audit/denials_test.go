package audit_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
)

var (
	eve       = access.Caller{Kind: access.Person, ID: "usr_eve", Name: "eve", Realm: "employees", IP: "192.0.2.6", RequestID: "req_1"}
	forbidden = fault.New(fault.Forbidden, "forbidden", "You may not.")
)

// told is what the log says of denials, one line each.
func (l *log) told() (lines []string) {
	l.Helper()
	l.grow(0)
	for _, e := range l.list(audit.Filter{Limit: 1000}) {
		if e.Action != audit.DenialAction || e.Outcome != audit.Denied || e.TargetType != "operation" {
			l.Errorf("event %+v", e)
		}
		lines = append(lines, strings.Join([]string{e.ActorID, e.RequestID, e.TargetID, e.Reason, e.Details}, " "))
	}
	return lines
}

func TestDenialsAreCounted(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		c := clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
		n := audit.NewDenials(d, c, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the client has hung up: its refusal is recorded all the same
		n.Record(ctx, eve, "key.rotate", forbidden)
		want := []string{"usr_eve req_1 key.rotate forbidden {}"}
		if diff := cmp.Diff(want, l.told()); diff != "" {
			t.Fatalf("at once:\n%s", diff)
		}
		again := eve
		again.RequestID = "req_2"
		for range 1000 {
			n.Record(t.Context(), again, "key.rotate", forbidden)
		}
		n.Record(t.Context(), again, "team.put", forbidden)
		want = append(want, "usr_eve req_2 team.put forbidden {}")
		if diff := cmp.Diff(want, l.told()); diff != "" {
			t.Fatalf("within ten seconds:\n%s", diff)
		}
		c.Advance(10 * time.Second)
		n.Record(t.Context(), again, "audit.list", forbidden)
		got := l.told()[2:]
		if len(got) != 2 || !slices.Contains(got, `usr_eve  key.rotate forbidden {"repeated":1000,"within_seconds":10}`) || !slices.Contains(got, "usr_eve req_2 audit.list forbidden {}") {
			t.Fatalf("after ten seconds: %q", got)
		}
		n.Record(t.Context(), again, "audit.list", forbidden)
		n.Flush(t.Context())
		n.Flush(t.Context())
		if got := l.told()[4:]; len(got) != 1 || got[0] != `usr_eve  audit.list forbidden {"repeated":1,"within_seconds":10}` {
			t.Fatalf("at the end: %q", got)
		}
	})
}

// TestFloodOfDenials: any number of strangers writes a bounded number of rows, and none of them is lost from the count.
func TestFloodOfDenials(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		n := audit.NewDenials(d, clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)), slog.New(slog.DiscardHandler))
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for j := range 500 {
					n.Record(t.Context(), access.Caller{IP: fmt.Sprintf("192.0.%d.%d", 4*i+j/250, j%250)}, "key.rotate", forbidden)
				}
			})
		}
		wg.Wait()
		n.Flush(t.Context())
		lines := l.told()
		if len(lines) != 65 {
			t.Errorf("%d rows, want 65", len(lines))
		}
		if want := ` too_many_to_tell_apart {"repeated":1936,"within_seconds":10}`; !strings.Contains(strings.Join(lines, "\n"), want) {
			t.Errorf("the rest is not counted: %q", lines[len(lines)-1])
		}
	})
}

// TestDenialsRunBegunLate: a Run that begins when all is over still writes what was counted.
func TestDenialsRunBegunLate(t *testing.T) {
	l := newLog(t, dbtest.Open(t, db.SQLite, nil))
	n := audit.NewDenials(l.d, clock.System, slog.New(slog.DiscardHandler))
	n.Record(t.Context(), eve, "key.rotate", forbidden)
	n.Record(t.Context(), eve, "key.rotate", forbidden)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Run(over); err != nil {
		t.Fatal(err)
	}
	if got := l.told(); len(got) != 2 {
		t.Errorf("told %q, want the first and the count", got)
	}
}

// TestDenialsRun: the counts of the last window are written at the end.
func TestDenialsRun(t *testing.T) {
	l := newLog(t, dbtest.Open(t, db.SQLite, nil))
	n := audit.NewDenials(l.d, clock.System, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	n.Record(t.Context(), eve, "key.rotate", forbidden)
	n.Record(t.Context(), eve, "key.rotate", forbidden)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := l.told(); len(got) != 2 {
		t.Errorf("told %q, want the first and the count", got)
	}
}
