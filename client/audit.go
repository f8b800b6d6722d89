package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/mintmark/mintmark/api"
)

// AuditQuery narrows the audit log. The zero value asks for the newest events, newest first.
type AuditQuery struct {
	Page
	OldestFirst bool
	After       int64 // only events behind this seq, in the chosen order
	Action      string
	Outcome     string
	Actor       string // id
	TargetType  string
	TargetID    string
	RequestID   string
}

// AuditEvents reads a page of the audit log. Access requirement: audit.read.
func (c *Client) AuditEvents(ctx context.Context, q AuditQuery) (*api.AuditEvents, error) {
	query := q.query()
	set := func(query url.Values, name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.OldestFirst {
		query.Set("order", "oldest")
	}
	if q.After > 0 {
		query.Set("after", strconv.FormatInt(q.After, 10))
	}
	set(query, "action", q.Action)
	set(query, "outcome", q.Outcome)
	set(query, "actor", q.Actor)
	set(query, "target_type", q.TargetType)
	set(query, "target_id", q.TargetID)
	set(query, "request_id", q.RequestID)
	return get[api.AuditEvents](ctx, c, query, nil, "audit", "events")
}

// AuditCheckpoint reads the newest signed checkpoint of the audit log. Access requirement: audit.read.
func (c *Client) AuditCheckpoint(ctx context.Context) (*api.AuditCheckpoint, error) {
	return get[api.AuditCheckpoint](ctx, c, nil, nil, "audit", "checkpoint")
}
