package audit

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
)

// Filter chooses events of the log. Empty fields choose all.
type Filter struct {
	After      int64 // events behind this seq, in the order of the answer; 0: from its beginning
	Newest     bool  // newest first
	Limit      int   // 1 to 1000; 0: 100
	Action     string
	Outcome    Outcome
	ActorID    string
	TargetType string
	TargetID   string
	RequestID  string
}

// List reads placed events in the order of the log. more tells that there are others behind the last one. An event shows
// up here when it has its place, a moment after its commit.
func List(ctx context.Context, tx db.ReadTx, f Filter) (events []Stored, more bool, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 1000)
	query, args := f.query(limit + 1)
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var e Stored
		var at int64
		if err := rows.Scan(append([]any{&e.Seq}, e.fields(&at)...)...); err != nil {
			return err
		}
		e.At = db.Time(at)
		events = append(events, e)
		return nil
	}, query, args...)
	if err != nil {
		return nil, false, fmt.Errorf("list audit events: %w", err)
	}
	if len(events) > limit {
		return events[:limit], true, nil
	}
	return events, false, nil
}

func (f Filter) query(limit int) (string, []any) {
	var where []string
	var args []any
	add := func(condition string, value any) {
		args = append(args, value)
		where = append(where, fmt.Sprintf(condition, len(args)))
	}
	order := "ASC"
	switch {
	case f.Newest && f.After > 0:
		add("l.seq < $%d", f.After)
	case !f.Newest:
		add("l.seq > $%d", f.After)
	}
	if f.Newest {
		order = "DESC"
	}
	for _, c := range []struct{ column, value string }{
		{"e.action", f.Action}, {"e.outcome", string(f.Outcome)}, {"e.actor_id", f.ActorID},
		{"e.target_type", f.TargetType}, {"e.target_id", f.TargetID}, {"e.request_id", f.RequestID},
	} {
		if c.value != "" {
			add(c.column+" = $%d", c.value)
		}
	}
	if len(where) == 0 {
		where = []string{"TRUE"}
	}
	args = append(args, limit)
	return fmt.Sprintf(`SELECT l.seq, %s FROM audit_log l JOIN audit_events e ON e.id = l.event_id WHERE %s ORDER BY l.seq %s LIMIT $%d`,
		"e."+strings.ReplaceAll(columns, ", ", ", e."), strings.Join(where, " AND "), order, len(args)), args
}
