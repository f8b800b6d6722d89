package oauth

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/registry"
)

// loadBounds reads, for the grants of clients with a type, what type and roles allow now.
func loadBounds(ctx context.Context, tx db.ReadTx, grants []*grant) error {
	for _, g := range grants {
		if !g.typed {
			continue
		}
		bound, typed, err := registry.LoadBound(ctx, tx, g.client, g.user)
		if err != nil {
			return err
		}
		if typed {
			g.bound = &bound
		}
	}
	return nil
}

// reducedAtOnce is how many people a reduction looks at with one round of queries.
const reducedAtOnce = 500

// RightsReduced cuts what people let a client do to what its type and their roles still allow, in the transaction that
// takes rights away: approvals lose the scopes and go when they are empty, and grants that hold one end with all their
// tokens.
func (s *Server) RightsReduced(ctx context.Context, tx db.WriteTx, x registry.Reduction) error {
	if s.people == nil {
		return nil
	}
	for after := ""; ; {
		users, err := usersOf(ctx, tx, x, after)
		if err != nil || len(users) == 0 {
			return err
		}
		after = users[len(users)-1]
		bounds, _, err := registry.LoadBounds(ctx, tx, x.ClientID, users[0], after)
		if err != nil {
			return err
		}
		concerned := func(userID string) bool { _, found := slices.BinarySearch(users, userID); return found }
		if err := cutApprovals(ctx, tx, x.ClientID, users[0], after, concerned, bounds); err != nil {
			return err
		}
		if err := s.people.endBeyond(ctx, tx, x.ClientID, users[0], after, concerned, bounds); err != nil {
			return err
		}
	}
}

// usersOf lists, sorted, whom the reduction concerns and who let the client do something.
func usersOf(ctx context.Context, tx db.ReadTx, x registry.Reduction, after string) ([]string, error) {
	query, args := `SELECT u.user_id FROM (SELECT user_id FROM approvals WHERE client_id = $1 UNION SELECT user_id FROM grants WHERE client_id = $1 AND ended = 0) AS u
		WHERE u.user_id > $2`, []any{x.ClientID, after}
	switch {
	case x.UserID != "":
		query, args = query+` AND u.user_id = $3`, append(args, x.UserID)
	case x.RoleID != "":
		query, args = query+` AND u.user_id IN (SELECT user_id FROM user_roles WHERE client_id = $1 AND role_id = $3)`, append(args, x.RoleID)
	}
	rows, err := tx.Query(ctx, query+` ORDER BY u.user_id LIMIT `+strconv.Itoa(reducedAtOnce), args...)
	if err != nil {
		return nil, fmt.Errorf("list whom a client acts for: %w", err)
	}
	defer rows.Close()
	var users []string
	for rows.Next() {
		var user string
		if err := rows.Scan(&user); err != nil {
			return nil, fmt.Errorf("list whom a client acts for: %w", err)
		}
		users = append(users, user)
	}
	return users, rows.Err()
}

// held is a row of somebody's that holds scopes: an approval, or a grant.
type held struct {
	id, user string
	scopes   []string
}

func listHeld(ctx context.Context, tx db.ReadTx, query string, args ...any) ([]held, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list what people allowed: %w", err)
	}
	defer rows.Close()
	var list []held
	for rows.Next() {
		var h held
		var scopes string
		if err := rows.Scan(&h.id, &h.user, &scopes); err != nil {
			return nil, fmt.Errorf("list what people allowed: %w", err)
		}
		h.scopes = strings.Fields(scopes)
		list = append(list, h)
	}
	return list, rows.Err()
}

func cutApprovals(ctx context.Context, tx db.WriteTx, clientID, first, last string, concerned func(string) bool, bounds func(string) registry.Bound) error {
	list, err := listHeld(ctx, tx, `SELECT '', user_id, scopes FROM approvals WHERE client_id = $1 AND user_id >= $2 AND user_id <= $3`, clientID, first, last)
	if err != nil {
		return err
	}
	for _, a := range list {
		gone := slices.DeleteFunc(beyond(bounds(a.user), a.scopes), func(s string) bool { return strings.HasPrefix(s, claimPermission("")) }) // of the person alone
		if len(gone) == 0 || !concerned(a.user) {
			continue
		}
		left := slices.DeleteFunc(a.scopes, func(s string) bool { return slices.Contains(gone, s) })
		query, args := `UPDATE approvals SET scopes = $3 WHERE client_id = $1 AND user_id = $2`, []any{clientID, a.user, strings.Join(left, " ")}
		if len(left) == 0 {
			query, args = `DELETE FROM approvals WHERE client_id = $1 AND user_id = $2`, args[:2]
		}
		if err := db.One(tx.Exec(ctx, query, args...)); err != nil {
			return fmt.Errorf("cut an approval: %w", err)
		}
	}
	return nil
}

// endBeyond ends the grants that hold what is not allowed any more.
func (p *people) endBeyond(ctx context.Context, tx db.WriteTx, clientID, first, last string, concerned func(string) bool, bounds func(string) registry.Bound) error {
	list, err := listHeld(ctx, tx, `SELECT id, user_id, scopes FROM grants WHERE client_id = $1 AND user_id >= $2 AND user_id <= $3 AND ended = 0`, clientID, first, last)
	if err != nil {
		return err
	}
	var over []any
	for _, g := range list {
		if concerned(g.user) && len(beyond(bounds(g.user), g.scopes)) > 0 {
			over = append(over, g.id)
		}
	}
	for part := range slices.Chunk(over, reducedAtOnce) {
		marks := make([]string, len(part))
		for i := range part {
			marks[i] = "$" + strconv.Itoa(i+1)
		}
		if err := p.endAll(ctx, tx, "rights_reduced", `id IN (`+strings.Join(marks, ", ")+`)`, part...); err != nil {
			return err
		}
	}
	return nil
}
