package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/catalog"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// Grant is one scope that an application holds: an application scope, which an administrator granted to it, or a resource
// owner scope, which its team declared that its client may ask a resource owner for.
type Grant struct {
	Scope              string // full name
	ResourceOwnerScope bool
	By                 string
	At                 time.Time
}

// permitScope asks whether the caller may give the scope to the application or take it away, and reads both.
func (r *Registry) permitScope(ctx context.Context, tx db.ReadTx, c access.Caller, application, name string) (Application, catalog.Scope, error) {
	none := func(err error) (Application, catalog.Scope, error) { return Application{}, catalog.Scope{}, err }
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "application", ID: application}); err != nil {
		return none(err)
	}
	a, err := loadApplication(ctx, tx, application)
	if err != nil {
		return none(err)
	}
	s, err := catalog.Lookup(ctx, tx, name)
	if err != nil {
		return none(err)
	}
	action := access.GrantScope
	if s.IsResourceOwnerScope {
		action = access.WriteApplication // whether it gets the scope is for each resource owner to say
	}
	if err := access.Allow(c, action, access.Target{Type: "application", ID: application, Team: a.Team}); err != nil {
		return none(err)
	}
	return a, s, nil
}

// table is where grants of this kind are: table, owner's column, who, when. Constants, never input.
func (r *Registry) table(s catalog.Scope, a Application) (table, owner, by, at, id string) {
	if s.IsResourceOwnerScope {
		return "client_scopes", "client_id", "declared_by", "declared", a.ClientID
	}
	return "application_scopes", "application", "granted_by", "granted", a.ID
}

// PutScope grants the scope to the application. To grant it again changes nothing.
func (r *Registry) PutScope(ctx context.Context, tx db.WriteTx, c access.Caller, application, name string) (Grant, error) {
	a, s, err := r.permitScope(ctx, tx, c, application, name)
	if err != nil {
		return Grant{}, err
	}
	grants, err := loadGrants(ctx, tx, a.ID, a.ClientID)
	if err != nil {
		return Grant{}, err
	}
	for _, g := range grants {
		if g.Scope == name && g.ResourceOwnerScope == s.IsResourceOwnerScope {
			return g, nil
		}
	}
	if len(grants) >= maxScopes {
		return Grant{}, fault.New(fault.Conflict, "too_many_scopes", "An application can hold %d scopes.", maxScopes)
	}
	g := Grant{Scope: name, ResourceOwnerScope: s.IsResourceOwnerScope, By: c.String(), At: tx.Now()}
	table, owner, byColumn, atColumn, ownerID := r.table(s, a)
	if err := db.One(tx.Exec(ctx, `INSERT INTO `+table+` (`+owner+`, scope, `+byColumn+`, `+atColumn+`) VALUES ($1, $2, $3, $4)`,
		ownerID, name, g.By, db.Micros(g.At))); err != nil {
		return Grant{}, fmt.Errorf("store grant: %w", err)
	}
	if err := audit.Done(ctx, tx, c, "scope.grant", "application", a.ID, map[string]any{"scope": name, "resource_owner_scope": g.ResourceOwnerScope}); err != nil {
		return Grant{}, err
	}
	return g, r.announce(ctx, tx, a)
}

// DeleteScope takes the scope away: tokens made from then on do not carry it.
func (r *Registry) DeleteScope(ctx context.Context, tx db.WriteTx, c access.Caller, application, name string) error {
	a, s, err := r.permitScope(ctx, tx, c, application, name)
	if err != nil {
		return err
	}
	table, owner, _, _, ownerID := r.table(s, a)
	n, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE `+owner+` = $1 AND scope = $2`, ownerID, name)
	if err != nil {
		return fmt.Errorf("delete grant: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "scope_not_granted", "The application does not hold this scope.")
	}
	if err := audit.Done(ctx, tx, c, "scope.withdraw", "application", a.ID, map[string]any{"scope": name}); err != nil {
		return err
	}
	return r.announce(ctx, tx, a)
}

// Scopes lists what the application holds, by name.
func (r *Registry) Scopes(ctx context.Context, tx db.ReadTx, c access.Caller, application string) ([]Grant, error) {
	a, err := r.GetApplication(ctx, tx, c, application)
	if err != nil {
		return nil, err
	}
	return loadGrants(ctx, tx, a.ID, a.ClientID)
}

// loadGrants reads the scopes of a client and of its application, "" if it stands alone.
func loadGrants(ctx context.Context, tx db.ReadTx, application, clientID string) ([]Grant, error) {
	rows, err := tx.Query(ctx, `SELECT scope, 0 AS kind, granted_by, granted FROM application_scopes WHERE application = $1
		UNION ALL SELECT scope, 0 AS kind, granted_by, granted FROM client_account_scopes WHERE client_id = $2
		UNION ALL SELECT scope, 1 AS kind, declared_by, declared FROM client_scopes WHERE client_id = $2
		ORDER BY scope, kind LIMIT $3`, application, clientID, 2*maxScopes)
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	defer rows.Close()
	list := []Grant{}
	for rows.Next() {
		var g Grant
		var kind, at int64
		if err := rows.Scan(&g.Scope, &kind, &g.By, &at); err != nil {
			return nil, fmt.Errorf("read grants: %w", err)
		}
		g.ResourceOwnerScope, g.At = kind == 1, db.Time(at)
		list = append(list, g)
	}
	return list, rows.Err()
}

// ApplicationsHolding lists the ids of the applications that hold the scope in either way, and of the clients that stand
// alone and hold it, sorted.
func (r *Registry) ApplicationsHolding(ctx context.Context, tx db.ReadTx, scope string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT application FROM application_scopes WHERE scope = $1
		UNION SELECT client_id FROM client_account_scopes WHERE scope = $1
		UNION SELECT coalesce(c.application, c.id) FROM client_scopes s JOIN clients c ON c.id = s.client_id WHERE s.scope = $1
		ORDER BY 1`, scope)
	if err != nil {
		return nil, fmt.Errorf("find holders of a scope: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var application string
		if err := rows.Scan(&application); err != nil {
			return nil, fmt.Errorf("find holders of a scope: %w", err)
		}
		list = append(list, application)
	}
	return list, rows.Err()
}
