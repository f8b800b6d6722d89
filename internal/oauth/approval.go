package oauth

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
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
	rows, err := tx.Query(ctx, `SELECT a.client_id, coalesce(c.application, ''), a.scopes, a.granted FROM approvals a JOIN clients c ON c.id = a.client_id
		WHERE a.user_id = $1 ORDER BY 2, a.client_id`, userID)
	if err != nil {
		return nil, fmt.Errorf("list approvals: %w", err)
	}
	defer rows.Close()
	list := []api.Approval{}
	for rows.Next() {
		var a api.Approval
		var scopes string
		var granted int64
		if err := rows.Scan(&a.ClientID, &a.Application, &scopes, &granted); err != nil {
			return nil, fmt.Errorf("list approvals: %w", err)
		}
		a.Scopes, a.Granted = strings.Fields(scopes), db.Time(granted)
		list = append(list, a)
	}
	return list, rows.Err()
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
		return fault.New(fault.NotFound, "approval_not_found", "The person has allowed this client nothing.")
	}
	if err := s.forget(ctx, tx, "withdrawn", `user_id = $1 AND client_id = $2`, userID, clientID); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "approval.withdraw", "client", clientID, map[string]any{"user": userID, "scopes_before": before})
}
