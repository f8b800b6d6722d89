package audit

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

type (
	eventsInput struct {
		route.Page
		Order      string `query:"order" enum:"oldest,newest" default:"newest" doc:"Which end to begin at"`
		After      int64  `query:"after" minimum:"0" doc:"Only events behind this seq, in the chosen order. With order=oldest a program follows the log: it passes the last seq that it has"`
		Action     string `query:"action" maxLength:"64"`
		Outcome    string `query:"outcome" enum:"success,denied,failed"`
		Actor      string `query:"actor" maxLength:"512" doc:"The actor's id"`
		TargetType string `query:"target_type" maxLength:"512"`
		TargetID   string `query:"target_id" maxLength:"512"`
		Request    string `query:"request_id" maxLength:"512"`
	}
	eventsOutput     struct{ Body api.AuditEvents }
	checkpointOutput struct{ Body api.AuditCheckpoint }
)

// Routes registers the endpoints that read the log. origin is the sequencer's.
func Routes(m *route.Mux, keys Keys, origin string) {
	tags := []string{"Audit"}
	route.Read(m, route.Op{
		Method: http.MethodGet, Path: "/api/audit/events", ID: "audit.list", Summary: "Read the audit log", Action: access.ReadAudit, Tags: tags,
		Description: "An event appears here when it has its place in the log, within a second of its commit. For one target give both `target_type` and `target_id`.",
	}, getEvents)
	route.Read(m, route.Op{
		Method: http.MethodGet, Path: "/api/audit/checkpoint", ID: "audit.get_checkpoint", Summary: "Read the newest signed checkpoint of the audit log", Action: access.ReadAudit, Tags: tags,
	}, func(ctx context.Context, tx db.ReadTx, c access.Caller, _ *struct{}) (*checkpointOutput, error) {
		return getCheckpoint(ctx, tx, c, keys, origin)
	})
}

func mayRead(c access.Caller) error {
	return access.Allow(c, access.ReadAudit, access.Target{Type: "audit_log"})
}

func getEvents(ctx context.Context, tx db.ReadTx, c access.Caller, in *eventsInput) (*eventsOutput, error) {
	if err := mayRead(c); err != nil {
		return nil, err
	}
	f := Filter{
		After: in.After, Newest: in.Order != "oldest", Limit: in.Limit, Action: in.Action, Outcome: Outcome(in.Outcome),
		ActorID: in.Actor, TargetType: in.TargetType, TargetID: in.TargetID, RequestID: in.Request,
	}
	after, err := in.Page.After(1)
	if err != nil {
		return nil, err
	}
	if after[0] != "" {
		f.After, err = strconv.ParseInt(after[0], 10, 64)
		if err != nil || f.After < 1 {
			return nil, fault.New(fault.Invalid, "bad_cursor", "The cursor is not one that this list gave.").At("query.cursor", "not valid")
		}
	}
	events, more, err := List(ctx, tx, f)
	if err != nil {
		return nil, err
	}
	out := &eventsOutput{api.AuditEvents{Items: []api.AuditEvent{}}}
	for _, e := range events {
		out.Body.Items = append(out.Body.Items, e.wire())
	}
	if more {
		out.Body.NextCursor = route.Cursor(strconv.FormatInt(events[len(events)-1].Seq, 10))
	}
	return out, nil
}

func (s *Stored) wire() api.AuditEvent {
	e := api.AuditEvent{
		Seq: s.Seq, ID: s.ID, At: s.At, Action: s.Action, Outcome: string(s.Outcome), Reason: s.Reason,
		Actor:    api.AuditActor{Kind: s.ActorKind, ID: s.ActorID, Name: s.ActorName, Realm: s.Realm},
		ClientID: s.ClientID, IP: s.IP, RequestID: s.RequestID, TargetType: s.TargetType, TargetID: s.TargetID,
	}
	if err := json.Unmarshal([]byte(s.Details), &e.Details); err != nil {
		// Somebody wrote to the table. The log must stay readable, above all now.
		e.Details = map[string]any{"unreadable": s.Details}
	}
	return e
}

func getCheckpoint(ctx context.Context, tx db.ReadTx, c access.Caller, keys Keys, origin string) (*checkpointOutput, error) {
	if err := mayRead(c); err != nil {
		return nil, err
	}
	newest, ok, err := Latest(ctx, tx)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fault.New(fault.NotFound, "no_checkpoint", "The audit log has no checkpoint yet: nothing has happened.")
	}
	out := &checkpointOutput{api.AuditCheckpoint{Size: newest.Size, Root: newest.Root[:], Note: newest.Note, At: newest.At}}
	for _, key := range keys.AuditPublicKeys() {
		text, err := VerifierKey(origin, key)
		if err != nil {
			return nil, err
		}
		out.Body.Keys = append(out.Body.Keys, text)
	}
	return out, nil
}
