package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// Add puts a person into a group. Whoever is in it already stays, from now on whatever sources outside say.
func (s *Service) Add(ctx context.Context, tx db.WriteTx, c access.Caller, groupID, userID string) error {
	if err := allow(c, groupID); err != nil {
		return err
	}
	g, err := Load(ctx, tx, groupID)
	if err != nil {
		return err
	}
	u, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	if u.Realm != g.Realm {
		return fault.New(fault.Invalid, "other_realm", "A group holds people of its own realm: %s.", g.Realm).At("path.user", "of another realm")
	}
	var already, count int64
	if err := tx.QueryRow(ctx, `SELECT count(*), coalesce(sum(CASE WHEN group_id = $2 THEN 1 ELSE 0 END), 0) FROM group_members WHERE user_id = $1`, userID, groupID).Scan(&count, &already); err != nil {
		return fmt.Errorf("count the groups of a person: %w", err)
	}
	if already > 0 {
		return pin(ctx, tx, c, g, userID)
	}
	if count >= MaxGroups {
		return fault.New(fault.Conflict, "too_many_groups", "One person can be in %d groups.", MaxGroups)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO group_members (group_id, user_id, added, added_by) VALUES ($1, $2, $3, $4)`, groupID, userID, db.Micros(tx.Now()), c.String())); err != nil {
		return fmt.Errorf("put somebody into a group: %w", err)
	}
	return member(ctx, tx, c, "group.add_member", g, userID, "")
}

var errNoMember error = fault.New(fault.NotFound, "member_not_found", "There is no such person in the group.")

// Remove takes a person out of a group.
func (s *Service) Remove(ctx context.Context, tx db.WriteTx, c access.Caller, groupID, userID string) error {
	if err := allow(c, groupID); err != nil {
		return err
	}
	g, err := Load(ctx, tx, groupID)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM group_members WHERE group_id = $1 AND user_id = $2`, groupID, userID)
	if err != nil {
		return fmt.Errorf("take somebody out of a group: %w", err)
	}
	if n == 0 {
		return errNoMember
	}
	return member(ctx, tx, c, "group.remove_member", g, userID, "")
}

// member records a change of a membership, which a source outside has said unless source is empty, and announces the
// person.
func member(ctx context.Context, tx db.WriteTx, c access.Caller, action string, g Group, userID, source string) error {
	details := map[string]any{"realm": g.Realm, "name": g.Name, "user_id": userID}
	if source != "" {
		details["source"] = source
	}
	if err := audit.Done(ctx, tx, c, action, "group", g.ID, details); err != nil {
		return err
	}
	return tx.Changed(ctx, identity.TopicUser, userID)
}

// Members reads a page of who is in the group, in the order of ids.
func (s *Service) Members(ctx context.Context, tx db.ReadTx, c access.Caller, groupID, after string, limit int) ([]Member, error) {
	if err := allow(c, groupID); err != nil {
		return nil, err
	}
	if _, err := Load(ctx, tx, groupID); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT m.user_id, m.added, m.added_by, u.realm, u.username, u.display_name
		FROM (SELECT user_id, added, added_by FROM group_members WHERE group_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) m
		JOIN users u ON u.id = m.user_id ORDER BY m.user_id`, groupID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the members of a group: %w", err)
	}
	defer rows.Close()
	var list []Member
	for rows.Next() {
		var m Member
		var added int64
		if err := rows.Scan(&m.User.ID, &added, &m.AddedBy, &m.User.Realm, &m.User.Username, &m.User.DisplayName); err != nil {
			return nil, fmt.Errorf("list the members of a group: %w", err)
		}
		m.Added = db.Time(added)
		list = append(list, m)
	}
	return list, rows.Err()
}

// Of reads the groups that a person is in, by name. They are MaxGroups at most. The caller has asked for the right to know.
func Of(ctx context.Context, tx db.ReadTx, userID string) ([]Group, error) {
	rows, err := tx.Query(ctx, `SELECT g.id, g.realm, g.name, g.description, g.created, g.created_by FROM group_members m JOIN groups g ON g.id = m.group_id
		WHERE m.user_id = $1 ORDER BY g.name_key`, userID)
	if err != nil {
		return nil, fmt.Errorf("list the groups of a person: %w", err)
	}
	defer rows.Close()
	var list []Group
	for rows.Next() {
		g, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, rows.Err()
}

// Forget takes a person out of all groups, who is removed (identity.OnPersonRemoved).
func Forget(ctx context.Context, tx db.WriteTx, u identity.User) error {
	if _, err := tx.Exec(ctx, `DELETE FROM group_members WHERE user_id = $1`, u.ID); err != nil {
		return fmt.Errorf("take a person out of the groups: %w", err)
	}
	return nil
}

// Names tells from memory which groups people are in.
type Names struct {
	members *db.Cache[[]string] // ids of groups, by person
	names   *db.Cache[string]   // by id; "" for a group that is gone
}

const (
	rememberedPeople = 5_000 // some 50 MB if all of them were in MaxGroups groups
	rememberedGroups = 10_000
)

// NewNames must be called before the feed starts.
func NewNames(d *db.DB) *Names {
	return &Names{
		members: db.NewCache(d, identity.TopicUser, rememberedPeople, func(ctx context.Context, tx db.ReadTx, userID string) ([]string, error) {
			return db.Texts(ctx, tx, `SELECT group_id FROM group_members WHERE user_id = $1`, userID)
		}),
		names: db.NewCache(d, Topic, rememberedGroups, func(ctx context.Context, tx db.ReadTx, groupID string) (string, error) {
			var name string
			err := tx.QueryRow(ctx, `SELECT name FROM groups WHERE id = $1`, groupID).Scan(&name)
			if errors.Is(err, db.ErrNoRows) {
				return "", nil
			}
			return name, err
		}),
	}
}

// Of is the names of the person's groups.
func (n *Names) Of(ctx context.Context, userID string) ([]string, error) {
	ids, err := n.members.Get(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("find the groups of a person: %w", err)
	}
	var names []string
	for _, groupID := range ids {
		name, err := n.names.Get(ctx, groupID)
		if err != nil {
			return nil, fmt.Errorf("find the name of a group: %w", err)
		}
		if name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}
