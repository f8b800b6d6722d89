package audit_test

import (
	"fmt"
	"slices"
	"strings"
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
	ada  = access.Caller{Kind: access.Person, ID: "usr_ada", Name: "ada", Realm: "employees", IP: "192.0.2.1", Agent: "Firefox/140.0"}
	boss = access.Caller{Kind: access.Person, ID: "usr_boss", Name: "boss", Realm: "employees", Admin: true}
)

// own lists the actions of all pages, each of size limit.
func (l *log) own(c access.Caller, userID string, limit int) (list []string) {
	l.Helper()
	var before audit.Place
	for more := true; more; {
		var page []audit.Stored
		l.read(func(tx db.ReadTx) (err error) {
			page, more, err = audit.Own(l.Context(), tx, c, userID, before, limit)
			return err
		})
		if more && len(page) != limit {
			l.Fatalf("a page of %d with more behind it", len(page))
		}
		for _, e := range page {
			list, before = append(list, e.Action), e.Place()
		}
	}
	return list
}

func (l *log) read(f func(tx db.ReadTx) error) {
	l.Helper()
	if err := l.d.Read(l.Context(), f); err != nil {
		l.Fatal(err)
	}
}

func TestOwnEvents(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			now := clock.NewFake(time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC))
			l := newLog(t, dbtest.Open(t, engine, now))
			anybody := access.Caller{IP: "203.0.113.9"}
			for i, e := range []audit.Event{
				{Action: "session.begin", Caller: ada, TargetType: "session", TargetID: "ses_1", Details: map[string]any{"user": ada.ID}},
				{Action: "user.ask_reset", Caller: anybody, TargetType: "user", TargetID: ada.ID},
				{Action: "approval.withdraw", Caller: boss, TargetType: "client", TargetID: "cli_1", Details: map[string]any{"user": ada.ID}},
				{Action: "user.disable", Caller: boss, TargetType: "user", TargetID: "usr_eve"},
				{Action: "user.update", Caller: ada, TargetType: "user", TargetID: ada.ID},
				{Action: "user.disable", Caller: ada, TargetType: "user", TargetID: boss.ID},
				{Action: "application.write", Caller: boss, TargetType: "application", TargetID: ada.ID},
			} {
				if i%2 == 0 {
					now.Advance(time.Second) // two at a time have the same instant
				}
				e.Outcome = audit.Success
				l.write(func(tx db.WriteTx) error { return audit.Record(t.Context(), tx, e) })
			}
			all := l.own(ada, ada.ID, 100)
			slices.Sort(all)
			if diff := cmp.Diff([]string{"approval.withdraw", "session.begin", "user.ask_reset", "user.disable", "user.update"}, all); diff != "" {
				t.Errorf("what happened to ada:\n%s", diff)
			}
			for limit := range 5 {
				if got := l.own(boss, ada.ID, limit+1); !sameElements(got, all) {
					t.Errorf("in pages of %d: %q", limit+1, got)
				}
			}
			if got := l.own(boss, boss.ID, 10); len(got) != 4 {
				t.Errorf("what happened to boss: %q", got)
			}
			ownIsOwn(t, l)
		})
	}
}

func sameElements(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// ownIsOwn tries to see what is another's.
func ownIsOwn(t *testing.T, l *log) {
	t.Helper()
	byClient := ada
	byClient.ClientID = "cli_1"
	eve := access.Caller{Kind: access.Person, ID: "usr_eve"}
	for name, c := range map[string]access.Caller{"nobody": {}, "another": eve, "a client of hers": byClient, "a service": {Kind: access.Service, ID: ada.ID}} {
		l.read(func(tx db.ReadTx) error {
			if _, _, err := audit.Own(t.Context(), tx, c, ada.ID, audit.Place{}, 10); !fault.Is(err, fault.Forbidden) && !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%s lists: %v", name, err)
			}
			return nil
		})
	}
	l.read(func(tx db.ReadTx) error {
		mine, _, err := audit.Own(t.Context(), tx, ada, ada.ID, audit.Place{}, 10)
		if err != nil {
			return err
		}
		newest := mine[0]
		if newest.Detail("agent") != ada.Agent || newest.Detail("nothing") != "" {
			t.Errorf("the browser is not recorded: %s", newest.Details)
		}
		if e, err := audit.OwnEvent(t.Context(), tx, ada, ada.ID, newest.ID); err != nil || e.ID != newest.ID {
			t.Errorf("her own event: %v, %v", e, err)
		}
		if _, err := audit.OwnEvent(t.Context(), tx, eve, eve.ID, newest.ID); !fault.Is(err, fault.NotFound) {
			t.Errorf("another's event: %v", err)
		}
		return nil
	})
}

// TestOwnReadsAnIndex holds that a person's page costs the same however long the log is.
func TestOwnReadsAnIndex(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		l.exec(`INSERT INTO audit_events (id, at, action, outcome, reason, actor_kind, actor_id, actor_name, realm, client_id, ip, request_id, target_type, target_id, details, placed, about)
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
			SELECT 'evt_' || i, i, 'session.begin', 'success', '', 'person', 'usr_' || (i % 100), '', '', '', '', '', '', '', '{}', TRUE, CASE WHEN i % 7 = 0 THEN 'usr_' || (i % 99) ELSE '' END FROM n`)
		l.exec(`ANALYZE audit_events`)
		var plan strings.Builder
		l.read(func(tx db.ReadTx) error {
			explain, columns := "EXPLAIN ", 1
			if d.Engine() == db.SQLite {
				explain, columns = "EXPLAIN QUERY PLAN ", 4
			}
			rows, err := tx.Query(t.Context(), explain+audit.OwnQuery, "usr_7", int64(1)<<62, "", 26)
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
				fmt.Fprintln(&plan, cells[columns-1])
			}
			return rows.Err()
		})
		for _, index := range []string{"audit_events_person", "audit_events_about"} {
			if !strings.Contains(plan.String(), index) {
				t.Errorf("index %s is not read:\n%s", index, plan.String())
			}
		}
		if strings.Contains(plan.String(), "Seq Scan") || strings.Contains(plan.String(), "SCAN audit_events") {
			t.Errorf("the table is read:\n%s", plan.String())
		}
	})
}
