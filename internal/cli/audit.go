package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

// AuditCommands read the audit log of a server. What checks the log against its database stands beside them in the
// program, because it needs the database.
type AuditCommands struct {
	List       auditList       `cmd:"" help:"Show what happened: who did what to what, and how it ended."`
	Checkpoint auditCheckpoint `cmd:"" help:"Print the newest signed checkpoint of the log."`
}

type auditList struct {
	Limit   int    `short:"n" default:"50" help:"How many, counted from the newest."`
	Follow  bool   `short:"f" help:"Go on and show events as they happen, until interrupted."`
	Action  string `help:"Only this action, such as application.change."`
	Outcome string `enum:"success,denied,failed," default:"" help:"Only success, denied or failed."`
	Actor   string `placeholder:"ID" help:"Only by this one."`
	Target  string `placeholder:"TYPE/ID" help:"Only what was done to this, such as application/sales-orders."`
	Request string `placeholder:"ID" help:"Only of this request."`
}

func (auditList) Help() string {
	return `Oldest first, so that the newest stands at the end. With --follow and -o json each event is one line.

Examples:

    mintmark audit list
    mintmark audit list --target application/sales-orders
    mintmark audit list --outcome denied -n 10
    mintmark audit list --follow -o json`
}

func (cmd *auditList) Run(ctx context.Context, s *Session) error {
	targetType, targetID, ok := strings.Cut(cmd.Target, "/")
	if cmd.Target != "" && (!ok || targetType == "" || targetID == "") {
		return usage(fmt.Errorf("%q is not a target: write TYPE/ID, such as application/sales-orders", cmd.Target))
	}
	if cmd.Limit < 0 {
		return usage(errors.New("-n takes no negative number"))
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	query := client.AuditQuery{Action: cmd.Action, Outcome: cmd.Outcome, Actor: cmd.Actor, TargetType: targetType, TargetID: targetID, RequestID: cmd.Request}
	events, err := cmd.newest(ctx, c, query)
	if err != nil {
		return err
	}
	slices.Reverse(events)
	if cmd.Follow {
		return cmd.follow(ctx, s, c, query, events)
	}
	return s.print(api.AuditEvents{Items: events}, func(w io.Writer) {
		if len(events) == 0 {
			s.say("there are no such events")
			return
		}
		writeEvents(w, events)
	})
}

// newest reads the last events, newest first.
func (cmd *auditList) newest(ctx context.Context, c *client.Client, query client.AuditQuery) ([]api.AuditEvent, error) {
	events := []api.AuditEvent{}
	for len(events) < cmd.Limit {
		query.Limit = min(cmd.Limit-len(events), 500)
		page, err := c.AuditEvents(ctx, query)
		if err != nil {
			return nil, err
		}
		events = append(events, page.Items...)
		if page.NextCursor == "" || page.NextCursor == query.Cursor {
			break
		}
		query.Cursor = page.NextCursor
	}
	return events, nil
}

// follow shows events and then, each second, what came after them. A server that is away for a moment is waited for.
func (cmd *auditList) follow(ctx context.Context, s *Session, c *client.Client, query client.AuditQuery, events []api.AuditEvent) error {
	if len(events) == 0 {
		// Nothing to go on from: begin at the end of the log, not at its beginning.
		end, err := (&auditList{Limit: 1}).newest(ctx, c, client.AuditQuery{})
		if err != nil {
			return err
		}
		if len(end) > 0 {
			query.After = end[0].Seq
		}
	}
	query.OldestFirst, query.Page = true, client.Page{Limit: 500}
	for {
		if err := s.stream(events); err != nil {
			return err
		}
		if len(events) > 0 {
			query.After = events[len(events)-1].Seq
		}
		if s.pause(ctx, time.Second) != nil {
			return nil // interrupted: that is how following ends
		}
		page, err := c.AuditEvents(ctx, query)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, client.ErrUnreachable) || errors.Is(err, api.ErrUnavailable):
			s.warn("%s; trying again", err.Error())
			events = nil
		case err != nil:
			return err
		default:
			events = page.Items
		}
	}
}

func (s *Session) stream(events []api.AuditEvent) error {
	if !s.json() {
		writeEvents(s.out, events)
		return nil
	}
	for _, event := range events {
		if err := s.encode(event, ""); err != nil {
			return err
		}
	}
	return nil
}

func writeEvents(w io.Writer, events []api.AuditEvent) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, e := range events {
		outcome := e.Outcome
		if e.Reason != "" {
			outcome += " (" + e.Reason + ")"
		}
		who := strings.Trim(e.Actor.Realm+"/"+e.Actor.Name, "/")
		if who == "" {
			who = e.Actor.Kind
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.At.UTC().Format("2006-01-02 15:04:05.000Z"), plain(who), plain(e.Action),
			plain(strings.Trim(e.TargetType+"/"+e.TargetID, "/")), plain(outcome))
	}
	t.Flush() // into the caller's writer; a broken pipe ends the program by itself
}

type auditCheckpoint struct{}

func (auditCheckpoint) Help() string {
	return `Keep it where the server cannot reach it: it proves later that nothing up to there was changed, with audit verify.

Examples:

    mintmark audit checkpoint > checkpoint-2026-11-22.txt`
}

func (auditCheckpoint) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	p, err := c.AuditCheckpoint(ctx)
	if err != nil {
		return err
	}
	return s.print(p, func(w io.Writer) {
		for line := range strings.Lines(p.Note) {
			fmt.Fprintln(w, plain(strings.TrimSuffix(line, "\n")))
		}
		s.say("covers %d events", p.Size)
	})
}
