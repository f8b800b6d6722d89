package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// Follow has a person be in the wanted groups (ids, of her realm) on the word of a source, and in no other on its word.
// What an administrator has put her into stays, and so does what another source says still. The caller is the system.
func (s *Service) Follow(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User, source string, want []string) error {
	if err := allow(c, ""); err != nil {
		return err
	}
	in, err := sources(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	for groupID, kept := range in {
		if slices.Contains(kept, source) && !slices.Contains(want, groupID) {
			if err := s.drop(ctx, tx, c, u.ID, groupID, source, len(kept) == 1); err != nil {
				return err
			}
			if len(kept) == 1 {
				delete(in, groupID)
			}
		}
	}
	for _, groupID := range want {
		kept, is := in[groupID]
		switch {
		case slices.Contains(kept, source), is && len(kept) == 0, !is && len(in) >= MaxGroups:
			continue
		}
		did, err := s.take(ctx, tx, c, u, groupID, source, !is)
		if err != nil {
			return err
		}
		if did {
			in[groupID] = append(kept, source)
		}
	}
	return nil
}

// sources reads in which groups a person is, and who says so: nobody, if an administrator does.
func sources(ctx context.Context, tx db.ReadTx, userID string) (map[string][]string, error) {
	rows, err := tx.Query(ctx, `SELECT m.group_id, coalesce(s.source, '') FROM group_members m
		LEFT JOIN group_sources s ON s.group_id = m.group_id AND s.user_id = m.user_id WHERE m.user_id = $1`, userID)
	if err != nil {
		return nil, fmt.Errorf("read who keeps the groups of a person: %w", err)
	}
	defer rows.Close()
	in := map[string][]string{}
	for rows.Next() {
		var groupID, source string
		if err := rows.Scan(&groupID, &source); err != nil {
			return nil, fmt.Errorf("read who keeps the groups of a person: %w", err)
		}
		if in[groupID] == nil {
			in[groupID] = []string{}
		}
		if source != "" {
			in[groupID] = append(in[groupID], source)
		}
	}
	return in, rows.Err()
}

// drop ends what a source says of a membership, and with last the membership.
func (s *Service) drop(ctx context.Context, tx db.WriteTx, c access.Caller, userID, groupID, source string, last bool) error {
	if !last {
		if err := db.One(tx.Exec(ctx, `DELETE FROM group_sources WHERE user_id = $1 AND group_id = $2 AND source = $3`, userID, groupID, source)); err != nil {
			return fmt.Errorf("end what a source says of a group: %w", err)
		}
		return nil
	}
	g, err := Load(ctx, tx, groupID)
	if err != nil {
		return err
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM group_members WHERE group_id = $1 AND user_id = $2`, groupID, userID)); err != nil { // the row of the source goes with it
		return fmt.Errorf("take somebody out of a group: %w", err)
	}
	return member(ctx, tx, c, "group.remove_member", g, userID, source)
}

// take notes that a source says a membership, which it begins with first. A group that is gone, or of another realm, is
// none.
func (s *Service) take(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User, groupID, source string, first bool) (bool, error) {
	g, err := Load(ctx, tx, groupID)
	if fault.Is(err, fault.NotFound) || err == nil && g.Realm != u.Realm {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if first {
		if err := db.One(tx.Exec(ctx, `INSERT INTO group_members (group_id, user_id, added, added_by) VALUES ($1, $2, $3, $4)`, groupID, u.ID, db.Micros(tx.Now()), c.String())); err != nil {
			return false, fmt.Errorf("put somebody into a group: %w", err)
		}
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO group_sources (group_id, user_id, source) VALUES ($1, $2, $3)`, groupID, u.ID, source)); err != nil {
		return false, fmt.Errorf("note who keeps a membership: %w", err)
	}
	if !first {
		return true, nil
	}
	return true, member(ctx, tx, c, "group.add_member", g, u.ID, source)
}

// pin has a membership be the administrator's who adds somebody that sources keep in the group.
func pin(ctx context.Context, tx db.WriteTx, c access.Caller, g Group, userID string) error {
	n, err := tx.Exec(ctx, `DELETE FROM group_sources WHERE group_id = $1 AND user_id = $2`, g.ID, userID)
	if err != nil {
		return fmt.Errorf("note who keeps a membership: %w", err)
	}
	if n == 0 {
		return nil
	}
	if err := db.One(tx.Exec(ctx, `UPDATE group_members SET added_by = $3 WHERE group_id = $1 AND user_id = $2`, g.ID, userID, c.String())); err != nil {
		return fmt.Errorf("note who keeps a membership: %w", err)
	}
	return member(ctx, tx, c, "group.add_member", g, userID, "")
}

// Followers lists some of those who are in a group on the word of a source.
func Followers(ctx context.Context, tx db.ReadTx, source string, limit int) ([]string, error) {
	return db.Texts(ctx, tx, `SELECT DISTINCT user_id FROM group_sources WHERE source = $1 ORDER BY user_id LIMIT $2`, source, limit)
}

// maxPrefixed is how many groups one prefix stands for.
const maxPrefixed = 5000

// Named finds the ids of groups of a realm by what they are called: those of the list, and, unless prefix is empty, all
// that begin with it. They come by the compared form of their names (identity.Fold).
func Named(ctx context.Context, tx db.ReadTx, realmName string, names []string, prefix string) (map[string]string, error) {
	found := map[string]string{}
	for _, name := range names {
		g, err := Find(ctx, tx, realmName, name)
		if errors.Is(err, errNoGroup) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found[identity.Fold(name)] = g.ID
	}
	key := identity.Fold(prefix)
	if key == "" {
		return found, nil
	}
	rows, err := tx.Query(ctx, `SELECT name_key, id FROM groups WHERE realm = $1 AND name_key >= $2 AND name_key < $3 ORDER BY name_key LIMIT $4`, realmName, key, key+last, maxPrefixed)
	if err != nil {
		return nil, fmt.Errorf("list the groups of a prefix: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var name, groupID string
		if err := rows.Scan(&name, &groupID); err != nil {
			return nil, fmt.Errorf("list the groups of a prefix: %w", err)
		}
		if strings.HasPrefix(name, key) {
			found[name] = groupID
		}
	}
	return found, rows.Err()
}
