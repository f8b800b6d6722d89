package account

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/route"
)

type (
	inviteInput      struct{ identity.UserPath }
	invitationOutput struct{ Body api.Invitation }
)

// Routes registers the endpoint that invites people.
func (s *Service) Routes(m *route.Mux) {
	route.Write(m, route.Op{Method: http.MethodPost, Path: "/api/users/{id}/invitation", ID: "user.invite", Summary: "Send a person a link to choose a password with",
		Action: access.ManageUsers, Status: http.StatusCreated, Tags: []string{"People"}}, s.postInvitation)
}

func (s *Service) postInvitation(ctx context.Context, tx db.WriteTx, c access.Caller, in *inviteInput) (*invitationOutput, error) {
	made, err := s.Invite(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	out := &invitationOutput{api.Invitation{Sent: made.Sent, Expires: made.Letter.Expires}}
	if !made.Sent {
		out.Body.Link = made.Letter.Link
	}
	return out, nil
}
