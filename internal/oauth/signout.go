package oauth

import (
	"context"
	"fmt"
	"strconv"

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

// PasswordsNoLongerSuffice ends the same of all people of realms that require a second factor: a realm may have begun to
// since. It is for the start, before anything is served.
func (s *Server) PasswordsNoLongerSuffice(ctx context.Context, realms []string) error {
	if s.people == nil {
		return nil
	}
	for _, realm := range realms {
		for {
			users, err := s.usersByPasswordAlone(ctx, realm)
			if err != nil {
				return err
			}
			if len(users) == 0 {
				break
			}
			if err := s.db.Write(ctx, func(tx db.WriteTx) error {
				for _, user := range users {
					if err := s.people.endAll(ctx, tx, "second_factor_required", `user_id = $1 AND began_by = $2 AND amr = $3`, user, grantPassword, "pwd"); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// usersByPasswordAlone lists some people of a realm whose clients have something for the password alone.
func (s *Server) usersByPasswordAlone(ctx context.Context, realm string) (users []string, err error) {
	err = s.db.Read(ctx, func(tx db.ReadTx) error {
		users = nil
		return eachRow(ctx, tx, `SELECT DISTINCT user_id FROM grants WHERE realm = $1 AND began_by = $2 AND amr = $3 AND ended = 0 ORDER BY user_id LIMIT `+strconv.Itoa(reducedAtOnce),
			[]any{realm, grantPassword, "pwd"}, func(row db.Row) error {
				var user string
				err := row.Scan(&user)
				users = append(users, user)
				return err
			})
	})
	if err != nil {
		return nil, fmt.Errorf("look for what a password alone gave: %w", err)
	}
	return users, nil
}
