// Package catalog holds what there is to be permitted: resource types, and scopes on them.
//
// What it guards:
//   - A type or scope that somebody holds does not vanish and does not change its kind under them.
//   - Resource owner scopes exist only on types that have resource owners, and owners are realms that exist.
//   - A type is changed by its owners alone: the team named on the type, else the team of the application whose id is
//     exactly the text before the first dot. "kio2.x" belongs to application kio2, never to kio; sales_order never to
//     sales. A new type goes to the application if there is one, and then has no team named; where a team is named, the
//     type was there first, and whoever registers an application of that id later gets nothing by it.
//   - Each change commits together with its audit event.
//
// Text is stored as it was given; who shows it escapes it.
package catalog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/route"
)

// Uses tells who holds a scope. The registry implements it, above this package.
type Uses interface {
	// ApplicationsHolding lists the ids of the applications that hold the scope in either way (granted to the
	// application, or declared by its client), sorted. It sees the writes of tx.
	ApplicationsHolding(ctx context.Context, tx db.ReadTx, scope string) ([]string, error)
}

// Owners tells who an application or a team is. The registry implements it.
type Owners interface {
	// ApplicationTeam is the team of the application with exactly this id; ok is false if there is none.
	ApplicationTeam(ctx context.Context, tx db.ReadTx, application string) (team string, ok bool, err error)
	// TeamExists tells whether there is a team with exactly this id.
	TeamExists(ctx context.Context, tx db.ReadTx, team string) (bool, error)
}

// Topic is the change feed's topic under which a changed scope is announced, by its full name.
const Topic = "scope"

// Catalog changes and lists the catalog. Reading one scope needs no Catalog: see Lookup.
type Catalog struct {
	uses   Uses
	owners Owners
	realms *realm.Set
}

// New makes a Catalog.
func New(uses Uses, owners Owners, realms *realm.Set) *Catalog {
	return &Catalog{uses: uses, owners: owners, realms: realms}
}

// ResourceType is a class of data.
type ResourceType struct {
	ID             string
	Name           string
	Description    string
	ResourceOwners []string // canonical realms, sorted
	OwningTeam     string   // as stored: empty where an application owns the type
	Revision       int64
	Created        time.Time
	CreatedBy      string
	Modified       time.Time
	ModifiedBy     string
}

// Scope is a permission on one resource type.
type Scope struct {
	ResourceType         string
	ID                   string
	Summary              string
	Description          string
	UserInformation      string
	IsResourceOwnerScope bool
	CriticalityLevel     int // 1..3
	Revision             int64
	Created              time.Time
	CreatedBy            string
	Modified             time.Time
	ModifiedBy           string
}

// Name is the scope's full name, as tokens carry it.
func (s Scope) Name() string { return s.ResourceType + "." + s.ID }

// The bounds of what is stored.
const (
	maxTypeID          = 100
	maxScopeID         = 64
	maxOwners          = 32
	maxScopesOfType    = 500
	maxName            = 200
	maxSummary         = 500
	maxUserInformation = 1000
	maxDescription     = 16 << 10
	defaultCriticality = 2
)

// ValidTypeID tells whether id is ^[a-z][a-z0-9-_]*(?:\.[a-z0-9-_]*)?[a-z0-9]$, and not too long.
func ValidTypeID(id string) bool {
	if len(id) < 2 || len(id) > maxTypeID || id[0] < 'a' || id[0] > 'z' || !alphanumeric(id[len(id)-1]) {
		return false
	}
	dots := 0
	for _, c := range []byte(id) {
		if c == '.' {
			dots++
		} else if !alphanumeric(c) && c != '-' && c != '_' {
			return false
		}
	}
	return dots <= 1
}

// ValidScopeID tells whether id is ^[a-z][a-z0-9-_]*[a-z0-9]$, and not too long.
func ValidScopeID(id string) bool {
	return len(id) <= maxScopeID && ValidTypeID(id) && !strings.Contains(id, ".")
}

func alphanumeric(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// SplitScope takes a full name apart. It is unambiguous, because a scope's id holds no dot.
func SplitScope(name string) (resourceType, id string, ok bool) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return "", "", false
	}
	resourceType, id = name[:dot], name[dot+1:]
	return resourceType, id, ValidTypeID(resourceType) && ValidScopeID(id)
}

// Lookup reads the scope with this full name, or a fault of kind NotFound.
func Lookup(ctx context.Context, tx db.ReadTx, name string) (Scope, error) {
	resourceType, id, ok := SplitScope(name)
	if !ok {
		return Scope{}, fault.New(fault.NotFound, "scope_not_found", "There is no such scope.")
	}
	return loadScope(ctx, tx, resourceType, id)
}

// Types lists resource types by id, at most limit of them, after the given id.
func (c *Catalog) Types(ctx context.Context, tx db.ReadTx, caller access.Caller, after string, limit int) ([]ResourceType, error) {
	if err := access.Allow(caller, access.ReadCatalog, access.Target{Type: "resource_type"}); err != nil {
		return nil, err
	}
	return listTypes(ctx, tx, after, limit)
}

// Type reads one resource type.
func (c *Catalog) Type(ctx context.Context, tx db.ReadTx, caller access.Caller, id string) (ResourceType, error) {
	if err := access.Allow(caller, access.ReadCatalog, access.Target{Type: "resource_type", ID: id}); err != nil {
		return ResourceType{}, err
	}
	return loadType(ctx, tx, id)
}

// Scopes lists the scopes of a resource type by id.
func (c *Catalog) Scopes(ctx context.Context, tx db.ReadTx, caller access.Caller, resourceType string) ([]Scope, error) {
	if _, err := c.Type(ctx, tx, caller, resourceType); err != nil {
		return nil, err
	}
	return listScopes(ctx, tx, resourceType)
}

// Scope reads one scope.
func (c *Catalog) Scope(ctx context.Context, tx db.ReadTx, caller access.Caller, resourceType, id string) (Scope, error) {
	if err := access.Allow(caller, access.ReadCatalog, access.Target{Type: "scope", ID: resourceType + "." + id}); err != nil {
		return Scope{}, err
	}
	return loadScope(ctx, tx, resourceType, id)
}

// Owner is the team that may change the type as it is stored: the explicit one, else that of the application which its
// id names.
func (c *Catalog) Owner(ctx context.Context, tx db.ReadTx, t ResourceType) (team string, byApplication bool, err error) {
	if t.OwningTeam != "" {
		return t.OwningTeam, false, nil
	}
	prefix, _, _ := strings.Cut(t.ID, ".")
	team, ok, err := c.owners.ApplicationTeam(ctx, tx, prefix)
	if err != nil {
		return "", false, fmt.Errorf("find the owner of resource type %s: %w", t.ID, err)
	}
	return team, ok, nil
}

// PutType creates the type or replaces all of it. Of t, it takes what a caller may decide.
func (c *Catalog) PutType(ctx context.Context, tx db.WriteTx, caller access.Caller, t ResourceType, at route.IfMatch) (ResourceType, error) {
	if !ValidTypeID(t.ID) {
		return ResourceType{}, fault.InvalidAt("path.id", "resource_type_id", "A resource type's id is lower-case letters, digits, '-' and '_', with at most one dot; it begins with a letter and ends with a letter or digit.")
	}
	if err := access.Allow(caller, access.ReadCatalog, access.Target{Type: "resource_type", ID: t.ID}); err != nil {
		return ResourceType{}, err
	}
	stored, err := loadType(ctx, tx, t.ID)
	exists := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return ResourceType{}, err
	}
	stored.ID = t.ID
	team, byApplication, err := c.Owner(ctx, tx, stored)
	if err != nil {
		return ResourceType{}, err
	}
	if !exists && !byApplication {
		team = t.OwningTeam
	}
	if team == "" && !exists { // to an insider, "name a team" helps more than "you may not"
		return ResourceType{}, errTeamRequired()
	}
	if err := access.Allow(caller, access.WriteCatalog, access.Target{Type: "resource_type", ID: t.ID, Team: team}); err != nil {
		return ResourceType{}, err
	}
	if err := at.Check(stored.Revision); err != nil {
		return ResourceType{}, err
	}
	if err := c.checkType(ctx, tx, &t, team, byApplication); err != nil {
		return ResourceType{}, err
	}
	if exists && len(t.ResourceOwners) == 0 {
		if err := refuseOwnerless(ctx, tx, t.ID); err != nil {
			return ResourceType{}, err
		}
	}
	now, who := tx.Now(), caller.String()
	t.Revision, t.Created, t.CreatedBy, t.Modified, t.ModifiedBy = stored.Revision+1, stored.Created, stored.CreatedBy, now, who
	action := "resource_type.change"
	if !exists {
		t.Created, t.CreatedBy, action = now, who, "resource_type.create"
	}
	if err := storeType(ctx, tx, t, exists); err != nil {
		return ResourceType{}, err
	}
	return t, audit.Done(ctx, tx, caller, action, "resource_type", t.ID, map[string]any{
		"name": t.Name, "resource_owners": t.ResourceOwners, "owning_team": t.OwningTeam,
		"resource_owners_before": stored.ResourceOwners, "owning_team_before": stored.OwningTeam,
	})
}

// checkType puts the caller's values into their stored form, or refuses them.
func (c *Catalog) checkType(ctx context.Context, tx db.ReadTx, t *ResourceType, team string, byApplication bool) error {
	if err := cmp.Or(
		route.CheckLine("body.name", t.Name, 1, maxName),
		route.CheckText("body.description", t.Description, 0, maxDescription),
	); err != nil {
		return err
	}
	owners, err := c.canonicalOwners(t.ResourceOwners)
	if err != nil {
		return err
	}
	t.ResourceOwners = owners
	if byApplication {
		if t.OwningTeam != "" && t.OwningTeam != team {
			return fault.InvalidAt("body.team_id", "owned_by_application", "The application that the type's id names owns the type: leave team_id out.")
		}
		t.OwningTeam = ""
		return nil
	}
	if t.OwningTeam == "" {
		return errTeamRequired()
	}
	ok, err := c.owners.TeamExists(ctx, tx, t.OwningTeam)
	if err != nil {
		return fmt.Errorf("look for the owning team: %w", err)
	}
	if !ok {
		return fault.InvalidAt("body.team_id", "team_not_found", "There is no such team.")
	}
	return nil
}

func errTeamRequired() error {
	return fault.InvalidAt("body.team_id", "team_required", "No application owns the type, so a team must.")
}

func (c *Catalog) canonicalOwners(given []string) ([]string, error) {
	if len(given) > maxOwners {
		return nil, fault.InvalidAt("body.resource_owners", "too_many", "Too many resource owners.")
	}
	owners := []string{}
	for i, g := range given {
		r, err := c.realms.Lookup(g)
		if err != nil {
			return nil, fault.New(fault.Invalid, "invalid_resource_owners", "A resource owner must be one of these realms: %s.", strings.Join(c.realms.Names(), ", ")).
				At(fmt.Sprintf("body.resource_owners[%d]", i), "not a realm")
		}
		owners = append(owners, r.Name)
	}
	slices.Sort(owners)
	return slices.Compact(owners), nil
}

// refuseOwnerless: a type whose scopes are given by owners cannot lose its owners.
func refuseOwnerless(ctx context.Context, tx db.ReadTx, resourceType string) error {
	scopes, err := listScopes(ctx, tx, resourceType)
	if err != nil {
		return err
	}
	var affected []string
	for _, s := range scopes {
		if s.IsResourceOwnerScope {
			affected = append(affected, s.ID)
		}
	}
	if len(affected) == 0 {
		return nil
	}
	return fault.InvalidAt("body.resource_owners", "resource_owners_needed", "The type needs resource owners, because it has resource owner scopes: %s.", strings.Join(affected, ", "))
}

// DeleteType deletes the type and its scopes, unless somebody holds one of them.
func (c *Catalog) DeleteType(ctx context.Context, tx db.WriteTx, caller access.Caller, id string, at route.IfMatch) error {
	t, err := c.writable(ctx, tx, caller, id)
	if err != nil {
		return err
	}
	if err := at.Check(t.Revision); err != nil {
		return err
	}
	scopes, err := listScopes(ctx, tx, id)
	if err != nil {
		return err
	}
	for _, s := range scopes {
		if err := c.refuseHeld(ctx, tx, s, "deleted"); err != nil {
			return err
		}
	}
	if err := deleteType(ctx, tx, id); err != nil {
		return err
	}
	for _, s := range scopes {
		if err := tx.Changed(ctx, Topic, s.Name()); err != nil {
			return err
		}
	}
	return audit.Done(ctx, tx, caller, "resource_type.delete", "resource_type", id, map[string]any{"scopes": len(scopes)})
}

// writable reads the type for a caller who may change it. Whoever may not is told so before whether it exists.
func (c *Catalog) writable(ctx context.Context, tx db.ReadTx, caller access.Caller, id string) (ResourceType, error) {
	t, err := loadType(ctx, tx, id)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return ResourceType{}, err
	}
	missing := err
	t.ID = id
	team, _, err := c.Owner(ctx, tx, t)
	if err != nil {
		return ResourceType{}, err
	}
	if err := access.Allow(caller, access.WriteCatalog, access.Target{Type: "resource_type", ID: id, Team: team}); err != nil {
		return ResourceType{}, err
	}
	return t, missing
}

// PutScope creates the scope or replaces all of it. CriticalityLevel 0 means the usual level.
func (c *Catalog) PutScope(ctx context.Context, tx db.WriteTx, caller access.Caller, s Scope, at route.IfMatch) (Scope, error) {
	t, err := c.writable(ctx, tx, caller, s.ResourceType)
	if err != nil {
		return Scope{}, err
	}
	if s.CriticalityLevel == 0 {
		s.CriticalityLevel = defaultCriticality
	}
	if err := checkScope(s, t); err != nil {
		return Scope{}, err
	}
	stored, err := loadScope(ctx, tx, s.ResourceType, s.ID)
	exists := err == nil
	if err != nil && !fault.Is(err, fault.NotFound) {
		return Scope{}, err
	}
	if err := at.Check(stored.Revision); err != nil {
		return Scope{}, err
	}
	if exists && stored.IsResourceOwnerScope != s.IsResourceOwnerScope {
		if err := c.refuseHeld(ctx, tx, stored, "changed in its kind"); err != nil {
			return Scope{}, err
		}
	}
	now, who := tx.Now(), caller.String()
	s.Revision, s.Created, s.CreatedBy, s.Modified, s.ModifiedBy = stored.Revision+1, stored.Created, stored.CreatedBy, now, who
	action := "scope.change"
	if !exists {
		s.Created, s.CreatedBy, action = now, who, "scope.create"
	}
	if err := storeScope(ctx, tx, s, exists); err != nil {
		return Scope{}, err
	}
	return s, audit.Done(ctx, tx, caller, action, "scope", s.Name(), map[string]any{
		"summary": s.Summary, "is_resource_owner_scope": s.IsResourceOwnerScope, "criticality_level": s.CriticalityLevel,
	})
}

func checkScope(s Scope, t ResourceType) error {
	if !ValidScopeID(s.ID) {
		return fault.InvalidAt("path.scope", "scope_id", "A scope's id is lower-case letters, digits, '-' and '_'; it begins with a letter and ends with a letter or digit.")
	}
	if err := cmp.Or(
		route.CheckLine("body.summary", s.Summary, 1, maxSummary),
		route.CheckLine("body.user_information", s.UserInformation, 0, maxUserInformation),
		route.CheckText("body.description", s.Description, 0, maxDescription),
	); err != nil {
		return err
	}
	if s.CriticalityLevel < 1 || s.CriticalityLevel > 3 {
		return fault.InvalidAt("body.criticality_level", "criticality_level", "The criticality level is 1, 2 or 3.")
	}
	if s.IsResourceOwnerScope && len(t.ResourceOwners) == 0 {
		return fault.InvalidAt("body.is_resource_owner_scope", "resource_owners_needed", "Resource type %s has no resource owners, so it cannot have a resource owner scope.", t.ID)
	}
	return nil
}

// DeleteScope deletes the scope, unless somebody holds it.
func (c *Catalog) DeleteScope(ctx context.Context, tx db.WriteTx, caller access.Caller, resourceType, id string, at route.IfMatch) error {
	if _, err := c.writable(ctx, tx, caller, resourceType); err != nil {
		return err
	}
	s, err := loadScope(ctx, tx, resourceType, id)
	if err != nil {
		return err
	}
	if err := at.Check(s.Revision); err != nil {
		return err
	}
	if err := c.refuseHeld(ctx, tx, s, "deleted"); err != nil {
		return err
	}
	if err := deleteScope(ctx, tx, resourceType, id); err != nil {
		return err
	}
	return audit.Done(ctx, tx, caller, "scope.delete", "scope", s.Name(), nil)
}

func (c *Catalog) refuseHeld(ctx context.Context, tx db.ReadTx, s Scope, verb string) error {
	held, err := c.uses.ApplicationsHolding(ctx, tx, s.Name())
	if err != nil {
		return fmt.Errorf("find who holds scope %s: %w", s.Name(), err)
	}
	if len(held) == 0 {
		return nil
	}
	const shown = 10
	list, more := held, ""
	if len(held) > shown {
		list, more = held[:shown], fmt.Sprintf(" and %d more", len(held)-shown)
	}
	return fault.New(fault.Conflict, "scope_in_use", "Scope %s cannot be %s while applications hold it: %s%s.", s.Name(), verb, strings.Join(list, ", "), more)
}
