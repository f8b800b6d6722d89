// Package groups knows the groups of each realm and who is in them.
//
// What it guards:
//   - A group holds people of its own realm, and nobody else.
//   - How many groups somebody is in is bounded (MaxGroups), so that what clients are told of a person is.
//   - A change of a membership and its audit record commit together, and are announced with the person: what is remembered
//     of people is at most a second old. A group that gets another name, or goes, is announced by itself, because its
//     people may be a million.
//   - A group gives no rights here. It is a word that clients are told, if an administrator lets them ask for it
//     (person_scopes) and the person allows it.
package groups

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	// MaxGroups is in how many groups one person can be.
	MaxGroups = 200
	// MaxTold is of how many groups an ID token tells: beyond that it says only that there are more (Claims).
	MaxTold = 100

	maxName        = 100
	maxDescription = 1000
)

// Topic announces, by its id, that a group has another name or is gone.
const Topic = "group"

// Group is a named set of people of a realm.
type Group struct {
	ID          string
	Realm       string // canonical
	Name        string
	Description string
	Created     time.Time
	CreatedBy   string
}

// Member is somebody in a group.
type Member struct {
	User    identity.User
	Added   time.Time
	AddedBy string
}

// Service keeps the groups.
type Service struct{ realms *realm.Set }

// New makes a Service for the realms of an installation.
func New(realms *realm.Set) *Service { return &Service{realms} }

func allow(c access.Caller, groupID string) error {
	return access.Allow(c, access.ManageGroups, access.Target{Type: "group", ID: groupID})
}

var errNoGroup error = fault.New(fault.NotFound, "group_not_found", "There is no such group.")

const columns = `id, realm, name, description, created, created_by`

func scan(row db.Row) (g Group, err error) {
	var created int64
	err = row.Scan(&g.ID, &g.Realm, &g.Name, &g.Description, &created, &g.CreatedBy)
	if errors.Is(err, db.ErrNoRows) {
		return Group{}, errNoGroup
	}
	if err != nil {
		return Group{}, fmt.Errorf("read a group: %w", err)
	}
	g.Created = db.Time(created)
	return g, nil
}

// Load reads one. The caller has asked for the right to know.
func Load(ctx context.Context, tx db.ReadTx, groupID string) (Group, error) {
	return scan(tx.QueryRow(ctx, `SELECT `+columns+` FROM groups WHERE id = $1`, groupID))
}

// Find reads the group with this name in this realm (canonical). The caller has asked for the right to know.
func Find(ctx context.Context, tx db.ReadTx, realmName, name string) (Group, error) {
	return scan(tx.QueryRow(ctx, `SELECT `+columns+` FROM groups WHERE realm = $1 AND name_key = $2`, realmName, identity.Fold(name)))
}

// Get reads one.
func (s *Service) Get(ctx context.Context, tx db.ReadTx, c access.Caller, groupID string) (Group, error) {
	if err := allow(c, groupID); err != nil {
		return Group{}, err
	}
	return Load(ctx, tx, groupID)
}

// check answers the form in which the name is compared.
func check(name, description string) (key string, err error) {
	if err := route.CheckLine("body.name", name, 1, maxName); err != nil {
		return "", err
	}
	if strings.TrimSpace(name) != name || strings.ContainsAny(name, ",\"\\") {
		return "", fault.InvalidAt("body.name", "bad_name", "The name of a group neither begins nor ends with a space, and holds no comma, quote or backslash.")
	}
	if key = identity.Fold(name); key == "" {
		return "", fault.InvalidAt("body.name", "bad_name", "The name of a group has letters or digits.")
	}
	return key, route.CheckText("body.description", description, 0, maxDescription)
}

func exists(err error, g Group) error {
	return fault.Wrap(err, fault.Conflict, "group_exists", "There is a group in realm %s already that is called so, or much like it.", g.Realm)
}

// Create makes a group.
func (s *Service) Create(ctx context.Context, tx db.WriteTx, c access.Caller, g Group) (Group, error) {
	if err := allow(c, ""); err != nil {
		return Group{}, err
	}
	r, err := s.realms.Lookup(g.Realm)
	if err != nil || r.Kind != realm.People {
		return Group{}, fault.InvalidAt("body.realm", "realm", "There is no such realm of people.")
	}
	key, err := check(g.Name, g.Description)
	if err != nil {
		return Group{}, err
	}
	g.Realm, g.ID, g.Created, g.CreatedBy = r.Name, id.New(id.Group, tx.Now()), tx.Now(), c.String()
	err = db.One(tx.Exec(ctx, `INSERT INTO groups (id, realm, name, name_key, description, created, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		g.ID, g.Realm, g.Name, key, g.Description, db.Micros(g.Created), g.CreatedBy))
	if errors.Is(err, db.ErrConflict) {
		return Group{}, exists(err, g)
	}
	if err != nil {
		return Group{}, fmt.Errorf("store a group: %w", err)
	}
	return g, audit.Done(ctx, tx, c, "group.create", "group", g.ID, map[string]any{"realm": g.Realm, "name": g.Name})
}

// Update gives a group another name and description.
func (s *Service) Update(ctx context.Context, tx db.WriteTx, c access.Caller, groupID, name, description string) (Group, error) {
	if err := allow(c, groupID); err != nil {
		return Group{}, err
	}
	g, err := Load(ctx, tx, groupID)
	if err != nil {
		return Group{}, err
	}
	key, err := check(name, description)
	if err != nil || g.Name == name && g.Description == description {
		return g, err
	}
	before := g.Name
	g.Name, g.Description = name, description
	err = db.One(tx.Exec(ctx, `UPDATE groups SET name = $2, name_key = $3, description = $4 WHERE id = $1`, g.ID, g.Name, key, g.Description))
	if errors.Is(err, db.ErrConflict) {
		return Group{}, exists(err, g)
	}
	if err != nil {
		return Group{}, fmt.Errorf("change a group: %w", err)
	}
	if err := audit.Done(ctx, tx, c, "group.update", "group", g.ID, map[string]any{"realm": g.Realm, "name": g.Name, "name_before": before}); err != nil {
		return Group{}, err
	}
	return g, tx.Changed(ctx, Topic, g.ID)
}

// Delete removes a group, and everybody from it.
func (s *Service) Delete(ctx context.Context, tx db.WriteTx, c access.Caller, groupID string) error {
	if err := allow(c, groupID); err != nil {
		return err
	}
	g, err := Load(ctx, tx, groupID)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM group_members WHERE group_id = $1`, g.ID)
	if err != nil {
		return fmt.Errorf("empty a group: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM groups WHERE id = $1`, g.ID)); err != nil {
		return fmt.Errorf("delete a group: %w", err)
	}
	if err := audit.Done(ctx, tx, c, "group.delete", "group", g.ID, map[string]any{"realm": g.Realm, "name": g.Name, "members": n}); err != nil {
		return err
	}
	return tx.Changed(ctx, Topic, g.ID)
}

// Filter says which groups to list, in the order of realm and name.
type Filter struct {
	Realm              string // canonical; "": all
	Search             string // how the name begins; "": however
	AfterRealm, AfterK string // where the page before ended: realm and compared form of the name
	Limit              int
}

// last is behind every text that a name can be.
const last = "\U0010FFFF"

// List reads a page of groups.
func (s *Service) List(ctx context.Context, tx db.ReadTx, c access.Caller, f Filter) ([]Group, error) {
	if err := allow(c, ""); err != nil {
		return nil, err
	}
	prefix := identity.Fold(f.Search)
	if prefix != "" && f.Realm == "" {
		return nil, fault.InvalidAt("query.realm", "realm", "To search for groups give the realm, too.")
	}
	first, most := max(f.AfterRealm, f.Realm), f.Realm
	if most == "" {
		most = last
	}
	after := max(f.AfterK, prefix)
	if first != f.AfterRealm {
		after = prefix
	}
	// The name itself that is searched for is behind "nothing after it", which is why the first page asks for equality.
	query := `SELECT ` + columns + ` FROM groups WHERE (realm, name_key) > ($1, $2) AND realm <= $3 ORDER BY realm, name_key LIMIT $4`
	args := []any{first, after, most, f.Limit}
	if prefix != "" {
		query = `SELECT ` + columns + ` FROM groups WHERE realm = $1 AND name_key >= $2 AND name_key < $3 AND (name_key > $4 OR $4 = '') ORDER BY name_key LIMIT $5`
		args = []any{f.Realm, after, prefix + last, f.AfterK, f.Limit}
	}
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
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
