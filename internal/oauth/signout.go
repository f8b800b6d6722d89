package oauth

import (
	"context"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity/session"
)

// SessionsEnding ends what clients may do only while the person is signed in, in the transaction that ends the sessions:
// all that was not allowed to go on by scope offline_access. A client that always gets refresh tokens keeps them no longer
// than that. And clients that want to hear of it are written down. Sessions that are over by themselves end nothing: that nobody looked at a page for an hour is no sign-out.
func (s *Server) SessionsEnding(ctx context.Context, tx db.WriteTx, which session.Which, _ string) error {
	if s.people == nil {
		return nil
	}
	if err := s.people.noticeClients(ctx, tx, which); err != nil {
		return err
	}
	condition, args := `id = ''`, []any{}
	switch {
	case which.ID != "":
		// By the person, because that is what there is an index for; the session's row is still there.
		condition, args = `user_id = (SELECT user_id FROM sessions WHERE id = $1) AND session_id = $1`, []any{which.ID}
	case which.UserID != "":
		condition, args = `user_id = $1`, []any{which.UserID}
	case which.Realm != "":
		condition, args = `realm = $1`, []any{which.Realm}
	case which.All:
		condition = `id <> ''`
	}
	return s.people.endAll(ctx, tx, "signed_out", condition+` AND session_id <> '' AND NOT offline`, args...)
}

// SecondFactorAdded ends what clients have of a person for the password alone, in the transaction that adds a second
// factor: sessions of other surfaces, and what the password grant gave.
func (s *Server) SecondFactorAdded(ctx context.Context, tx db.WriteTx, userID string) error {
	if s.people == nil {
		return nil
	}
	return s.people.endAll(ctx, tx, "second_factor_added", `user_id = $1 AND began_by = $2 AND amr = $3`, userID, grantPassword, "pwd")
}
