package oauth

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	UserPath struct {
		ID string `path:"id" maxLength:"40" example:"usr_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	ApprovalPath struct {
		UserPath
		Client string `path:"client_id" maxLength:"40" example:"cli_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	approvalsOutput struct{ Body api.Approvals }
)

// approvalRoutes registers the endpoints for what people have allowed.
func (s *Server) approvalRoutes(m *route.Mux) {
	const path = "/api/users/{id}/approvals"
	route.Read(m, route.Op{Method: http.MethodGet, Path: path, ID: "approval.list", Summary: "List what a person has allowed clients to do", Action: access.ManageUsers, Tags: []string{"People"}},
		func(ctx context.Context, tx db.ReadTx, c access.Caller, in *UserPath) (*approvalsOutput, error) {
			list, err := s.Approvals(ctx, tx, c, in.ID)
			if err == nil && len(list) == 0 { // who does not exist is told apart from somebody who has allowed nothing
				_, err = identity.LoadUser(ctx, tx, in.ID)
			}
			return &approvalsOutput{api.Approvals{Items: list}}, err
		})
	route.Write(m, route.Op{Method: http.MethodDelete, Path: path + "/{client_id}", ID: "approval.withdraw", Summary: "Take back what a person has allowed a client", Action: access.ManageUsers, Tags: []string{"People"}},
		func(ctx context.Context, tx db.WriteTx, c access.Caller, in *ApprovalPath) (*struct{}, error) {
			return nil, s.Withdraw(ctx, tx, c, in.ID, in.Client)
		})
}

// allowApprovals asks whether the caller may see and take back what this person has allowed: the person may, and who
// manages people.
func allowApprovals(c access.Caller, userID string) error {
	if c.Kind == access.Person && c.ID == userID && c.ClientID == "" { // in person, not by some client's token
		return nil
	}
	return access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID})
}

// Approvals lists what the person has allowed, by application.
func (s *Server) Approvals(ctx context.Context, tx db.ReadTx, c access.Caller, userID string) ([]api.Approval, error) {
	if err := allowApprovals(c, userID); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT a.client_id, coalesce(c.application, ''), a.scopes, a.granted, a.since, a.used,
		coalesce((SELECT max(g.rotated) FROM grants g WHERE g.user_id = a.user_id AND g.client_id = a.client_id), 0)
		FROM approvals a JOIN clients c ON c.id = a.client_id WHERE a.user_id = $1 ORDER BY 2, a.client_id`, userID)
	if err != nil {
		return nil, fmt.Errorf("list approvals: %w", err)
	}
	defer rows.Close()
	list := []api.Approval{}
	for rows.Next() {
		var a api.Approval
		var scopes string
		var granted, since, used, refreshed int64
		if err := rows.Scan(&a.ClientID, &a.Application, &scopes, &granted, &since, &used, &refreshed); err != nil {
			return nil, fmt.Errorf("list approvals: %w", err)
		}
		a.Scopes, a.Granted, a.Since, a.Asked, a.LastUsed = strings.Fields(scopes), db.Time(granted), db.Time(since), true, instant(max(used, refreshed))
		list = append(list, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list approvals: %w", err)
	}
	unasked, err := listUnasked(ctx, tx, userID)
	if err != nil {
		return nil, err
	}
	list = append(list, unasked...)
	slices.SortFunc(list, func(a, b api.Approval) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.ClientID, b.ClientID))
	})
	return list, nil
}

// listUnasked lists what clients of the organisation itself do for the person without having asked. The person has allowed
// them nothing, and is to see it and end it all the same.
func listUnasked(ctx context.Context, tx db.ReadTx, userID string) ([]api.Approval, error) {
	rows, err := tx.Query(ctx, `SELECT g.client_id, coalesce(c.application, ''), g.scopes, g.created, g.rotated FROM grants g JOIN clients c ON c.id = g.client_id
		WHERE g.user_id = $1 AND g.ended = 0 AND g.code_used <> 0 AND g.idle_until > $2
			AND NOT EXISTS (SELECT 1 FROM approvals a WHERE a.user_id = g.user_id AND a.client_id = g.client_id)
		ORDER BY g.client_id, g.created, g.id`, userID, db.Micros(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("list what clients do unasked: %w", err)
	}
	defer rows.Close()
	var list []api.Approval
	for rows.Next() {
		var a api.Approval
		var scopes string
		var created, rotated int64
		if err := rows.Scan(&a.ClientID, &a.Application, &scopes, &created, &rotated); err != nil {
			return nil, fmt.Errorf("list what clients do unasked: %w", err)
		}
		if n := len(list); n == 0 || list[n-1].ClientID != a.ClientID {
			a.Granted, a.Since = db.Time(created), db.Time(created)
			list = append(list, a)
		}
		last := &list[len(list)-1]
		if used := instant(max(created, rotated)); last.LastUsed == nil || used.After(*last.LastUsed) {
			last.LastUsed = used
		}
		for _, scope := range strings.Fields(scopes) {
			if !slices.Contains(last.Scopes, scope) {
				last.Scopes = append(last.Scopes, scope)
			}
		}
	}
	return list, rows.Err()
}

// instant is a time, or nil for 0.
func instant(micros int64) *time.Time {
	if micros == 0 {
		return nil
	}
	t := db.Time(micros)
	return &t
}

// noteApprovals notes when approvals were last used, at most once a minute each.
func noteApprovals(ctx context.Context, tx db.WriteTx, items []*beginning) error {
	for _, b := range items {
		if b.lost || b.refused != nil {
			continue
		}
		if _, err := tx.Exec(ctx, `UPDATE approvals SET used = $3 WHERE user_id = $1 AND client_id = $2 AND used < $4`,
			b.person.User.ID, b.request.client.ID, db.Micros(tx.Now()), db.Micros(tx.Now().Add(-time.Minute))); err != nil {
			return fmt.Errorf("note the use of an approval: %w", err)
		}
	}
	return nil
}

// InWords says what a scope of an approval allows, as the person was asked; the scope itself if nothing is known of it.
// The person is of the realm.
func (s *Server) InWords(ctx context.Context, tx db.ReadTx, realm, scope string) (ScopeText, error) {
	if text := commonTexts[scope]; text != "" {
		return ScopeText{Name: scope, Text: text}, nil
	}
	if claim, is := strings.CutPrefix(scope, claimPermission("")); is && claimTexts[claim] != "" {
		return ScopeText{Name: scope, Text: claimTexts[claim]}, nil
	}
	if s.people.More != nil {
		text, err := s.people.More.Text(ctx, tx, realm, scope)
		if err != nil || text.Text != "" {
			text.Name = scope
			return text, err
		}
	}
	text, err := s.people.Catalog.Describe(ctx, tx, scope)
	if fault.Is(err, fault.NotFound) || err == nil && text.Text == "" {
		return ScopeText{Name: scope, Text: scope}, nil
	}
	text.Name = scope
	return text, err
}

// unaskedScopes are those that the client has for the person without having asked; nil if there are none.
func unaskedScopes(ctx context.Context, tx db.ReadTx, userID, clientID string) ([]string, error) {
	list, err := listUnasked(ctx, tx, userID)
	for _, a := range list {
		if a.ClientID == clientID {
			return a.Scopes, err
		}
	}
	return nil, err
}

// Withdraw takes back all that the person let the client do, and ends what came of it. What the client wants from then on
// it must ask for again.
func (s *Server) Withdraw(ctx context.Context, tx db.WriteTx, c access.Caller, userID, clientID string) error {
	if err := allowApprovals(c, userID); err != nil {
		return err
	}
	before, err := loadApproval(ctx, tx, userID, clientID)
	if err != nil {
		return err
	}
	if before == nil {
		if before, err = unaskedScopes(ctx, tx, userID, clientID); err != nil {
			return err
		}
	}
	if before == nil {
		return fault.New(fault.NotFound, "approval_not_found", "The person has allowed this client nothing.")
	}
	if err := s.forget(ctx, tx, "withdrawn", `user_id = $1 AND client_id = $2`, userID, clientID); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "approval.withdraw", "client", clientID, map[string]any{"user": userID, "scopes_before": before})
}
