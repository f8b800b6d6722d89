package audit

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// What happened to one person's account, for that person: what it did itself, and what others did to it. The answer comes
// from the events, not from the log, so that it needs two reads of an index however many events there are, and shows what
// has no place in the log yet.

// about is whom the event is about if that is not the actor; "" if it is, or nobody.
func (e Event) about() string {
	userID := ""
	if e.TargetType == "user" {
		userID = clean(e.TargetID)
	} else if named, is := e.Details["user"].(string); is {
		userID = clean(named)
	}
	if e.Caller.Kind == access.Person && e.Caller.ID == userID {
		return ""
	}
	return userID
}

// Place is where a list of a person's events ended. The zero value is before the newest.
type Place struct {
	At time.Time
	ID string
}

// Place is that of the event.
func (s *Stored) Place() Place { return Place{s.At, s.ID} }

// allowOwn lets a person see what is its own, and who reads the log what is anybody's.
func allowOwn(c access.Caller, userID string) error {
	if c.Kind == access.Person && c.ID == userID && userID != "" && c.ClientID == "" { // in person, not by some client's token
		return nil
	}
	return mayRead(c)
}

const (
	ownBy = `SELECT ` + columns + ` FROM audit_events WHERE actor_kind = 'person' AND actor_id = $1`
	ownOf = `SELECT ` + columns + ` FROM audit_events WHERE about <> '' AND about = $1`
)

// Own lists at most limit events of a person's account that are older than the place, newest first. more tells that there
// are others behind them. Their Seq is 0: it is not looked up.
func Own(ctx context.Context, tx db.ReadTx, c access.Caller, userID string, before Place, limit int) (events []Stored, more bool, err error) {
	if err := allowOwn(c, userID); err != nil {
		return nil, false, err
	}
	at := int64(1) << 62
	if !before.At.IsZero() {
		at = db.Micros(before.At)
	}
	events, err = own(ctx, tx, ownQuery, userID, at, before.ID, limit+1)
	if len(events) > limit {
		return events[:limit], true, err
	}
	return events, false, err
}

var ownQuery = func() string {
	const newest = ` AND (at, id) < ($2, $3) ORDER BY at DESC, id DESC LIMIT $4`
	return `SELECT ` + columns + ` FROM (SELECT * FROM (` + ownBy + newest + `) AS did UNION ALL SELECT * FROM (` + ownOf + newest + `) AS befell) AS own ORDER BY at DESC, id DESC LIMIT $4`
}()

// OwnEvent finds one event of a person's account. Another person's is not found.
func OwnEvent(ctx context.Context, tx db.ReadTx, c access.Caller, userID, eventID string) (Stored, error) {
	if err := allowOwn(c, userID); err != nil {
		return Stored{}, err
	}
	events, err := own(ctx, tx, `SELECT `+columns+` FROM audit_events WHERE id = $2 AND (about = $1 OR actor_kind = 'person' AND actor_id = $1)`, userID, eventID)
	if err == nil && len(events) == 0 {
		err = fault.New(fault.NotFound, "event_not_found", "There is no such event of your account.")
	}
	if err != nil {
		return Stored{}, err
	}
	return events[0], nil
}

func own(ctx context.Context, tx db.ReadTx, query string, args ...any) (events []Stored, err error) {
	err = each(ctx, tx, func(rows *sql.Rows) error {
		var e Stored
		var at int64
		if err := rows.Scan(e.fields(&at)...); err != nil {
			return err
		}
		e.At = db.Time(at)
		events = append(events, e)
		return nil
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list the events of a person: %w", err)
	}
	return events, nil
}

// Detail is a text among the details, or what else there is as one: "" for what is missing or false.
func (s *Stored) Detail(name string) string {
	var details map[string]any
	if json.Unmarshal([]byte(s.Details), &details) != nil {
		return "" // somebody wrote to the table
	}
	switch v := details[name].(type) {
	case string:
		return v
	case []any:
		var list []string
		for _, x := range v {
			if text, is := x.(string); is {
				list = append(list, text)
			}
		}
		return strings.Join(list, " ")
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		if v {
			return "true"
		}
	}
	return ""
}
