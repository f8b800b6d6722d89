package audit_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/redact"
)

func TestRecordAndList(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			now := time.Date(2026, 11, 22, 13, 0, 0, 123456000, time.UTC)
			l := newLog(t, dbtest.Open(t, engine, clock.NewFake(now)))
			l.grow(1)
			got := l.list(audit.Filter{})
			want := []audit.Stored{{
				Seq: 1, At: now, Action: "application.write", Outcome: audit.Success, ActorKind: "person", ActorID: "usr_1",
				ActorName: "ada", Realm: "employees", IP: "192.0.2.1", RequestID: "req_1", TargetType: "application",
				TargetID: "app-0", Details: `{"a":null,"b":"<&>","n":0}`,
			}}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(audit.Stored{}, "ID")); diff != "" {
				t.Errorf("listed:\n%s", diff)
			}
			if !id.Is(got[0].ID, id.Event) {
				t.Errorf("id %q", got[0].ID)
			}
		})
	}
}

func TestEventGoesWithItsTransaction(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		undo := errors.New("undo")
		if err := d.Write(t.Context(), func(tx db.WriteTx) error {
			if err := audit.Record(t.Context(), tx, event(1)); err != nil {
				return err
			}
			return undo
		}); !errors.Is(err, undo) {
			t.Fatal(err)
		}
		l.grow(1)
		if got := l.list(audit.Filter{}); len(got) != 1 || got[0].TargetID != "app-0" {
			t.Errorf("listed %+v, want the event that committed alone", got)
		}
	})
}

func TestRecordRefusesMistakes(t *testing.T) {
	change := func(f func(*audit.Event)) audit.Event { e := event(1); f(&e); return e }
	for name, e := range map[string]audit.Event{
		"no action":         change(func(e *audit.Event) { e.Action = "" }),
		"no verb":           change(func(e *audit.Event) { e.Action = "application" }),
		"upper case":        change(func(e *audit.Event) { e.Action = "Application.write" }),
		"line feed":         change(func(e *audit.Event) { e.Action = "application.write\n" }),
		"two dots":          change(func(e *audit.Event) { e.Action = "a.b.c" }),
		"no outcome":        change(func(e *audit.Event) { e.Outcome = "" }),
		"unknown outcome":   change(func(e *audit.Event) { e.Outcome = "maybe" }),
		"details, not JSON": change(func(e *audit.Event) { e.Details = map[string]any{"x": math.NaN()} }),
	} {
		t.Run(name, func(t *testing.T) {
			d := dbtest.Open(t, db.SQLite, clock.System)
			if err := d.Write(t.Context(), func(tx db.WriteTx) error { return audit.Record(t.Context(), tx, e) }); err == nil {
				t.Error("recorded")
			}
		})
	}
}

// TestRecordTakesAnyText: what a stranger sends neither breaks the record nor grows it without bound, and no secret
// shows.
func TestRecordTakesAnyText(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		nasty := []string{"", "\x00", "\xff\xfe", strings.Repeat("é", 5000), "a\x00b\xc3", "'; DROP TABLE audit_log; --", "\n\u2028"}
		for _, s := range nasty {
			e := event(1)
			e.Caller.Name, e.TargetID, e.Reason, e.Caller.ClientID = s, s, s, s
			e.Details = map[string]any{"text": s, "secret": redact.New("canary"), "nested": map[string]any{"s": redact.New("canary")}}
			l.write(func(tx db.WriteTx) error { return audit.Record(t.Context(), tx, e) })
		}
		long := event(1)
		long.Details = map[string]any{"text": strings.Repeat("x", 100_000)}
		l.write(func(tx db.WriteTx) error { return audit.Record(t.Context(), tx, long) })
		l.grow(0)
		l.whole(int64(len(nasty) + 1))
		for _, e := range l.list(audit.Filter{}) {
			if len(e.ActorName) > 600 || len(e.TargetID) > 600 || len(e.Details) > 10_000 {
				t.Errorf("event %d is too long", e.Seq)
			}
			if !json.Valid([]byte(e.Details)) || strings.Contains(e.Details, "canary") {
				t.Errorf("details %.200s", e.Details)
			}
		}
	})
}

func TestListFilters(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		l.record(5)
		other := audit.Event{Action: "key.rotate", Outcome: audit.Denied, Reason: "forbidden", Caller: access.Caller{RequestID: "req_2"}}
		l.write(func(tx db.WriteTx) error { return audit.Record(t.Context(), tx, other) })
		l.grow(0)
		tests := map[string]struct {
			f    audit.Filter
			want []int64
		}{
			"all":               {audit.Filter{}, []int64{1, 2, 3, 4, 5, 6}},
			"after":             {audit.Filter{After: 4}, []int64{5, 6}},
			"after the end":     {audit.Filter{After: 6}, nil},
			"limit":             {audit.Filter{Limit: 2}, []int64{1, 2}},
			"newest":            {audit.Filter{Newest: true, Limit: 2}, []int64{6, 5}},
			"newest, next page": {audit.Filter{Newest: true, Limit: 2, After: 5}, []int64{4, 3}},
			"action":            {audit.Filter{Action: "key.rotate"}, []int64{6}},
			"outcome":           {audit.Filter{Outcome: audit.Denied}, []int64{6}},
			"actor":             {audit.Filter{ActorID: "usr_1", After: 3}, []int64{4, 5}},
			"target":            {audit.Filter{TargetType: "application", TargetID: "app-3"}, []int64{4}},
			"request":           {audit.Filter{RequestID: "req_2"}, []int64{6}},
			"nothing":           {audit.Filter{Action: "key.rotate", ActorID: "usr_1"}, nil},
		}
		for name, test := range tests {
			var got []int64
			for _, e := range l.list(test.f) {
				got = append(got, e.Seq)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s:\n%s", name, diff)
			}
		}
		if e := l.list(audit.Filter{After: 5})[0]; e.ActorKind != "anonymous" || e.Details != "{}" {
			t.Errorf("nobody's event: %+v", e)
		}
	})
}
