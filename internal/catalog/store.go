package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

const typeColumns = `id, name, description, owning_team, revision, created, created_by, modified, modified_by`

type scanner interface{ Scan(dest ...any) error }

func scanType(row scanner) (t ResourceType, err error) {
	var created, modified int64
	err = row.Scan(&t.ID, &t.Name, &t.Description, &t.OwningTeam, &t.Revision, &created, &t.CreatedBy, &modified, &t.ModifiedBy)
	t.Created, t.Modified = db.Time(created), db.Time(modified)
	return t, err
}

func loadType(ctx context.Context, tx db.ReadTx, id string) (ResourceType, error) {
	t, err := scanType(tx.QueryRow(ctx, `SELECT `+typeColumns+` FROM resource_types WHERE id = $1`, id))
	if errors.Is(err, db.ErrNoRows) {
		return ResourceType{}, fault.New(fault.NotFound, "resource_type_not_found", "There is no such resource type.")
	}
	if err != nil {
		return ResourceType{}, fmt.Errorf("read resource type: %w", err)
	}
	owners, err := loadOwners(ctx, tx, id, id)
	if err != nil {
		return ResourceType{}, err
	}
	t.ResourceOwners = orEmpty(owners[id])
	return t, nil
}

// listTypes reads a page in two queries, whatever its size.
func listTypes(ctx context.Context, tx db.ReadTx, after string, limit int) ([]ResourceType, error) {
	rows, err := tx.Query(ctx, `SELECT `+typeColumns+` FROM resource_types WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list resource types: %w", err)
	}
	defer rows.Close()
	list := []ResourceType{}
	for rows.Next() {
		t, err := scanType(rows)
		if err != nil {
			return nil, fmt.Errorf("read resource type: %w", err)
		}
		list = append(list, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list resource types: %w", err)
	}
	if len(list) == 0 {
		return list, nil
	}
	owners, err := loadOwners(ctx, tx, list[0].ID, list[len(list)-1].ID)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].ResourceOwners = orEmpty(owners[list[i].ID])
	}
	return list, nil
}

// loadOwners reads the owners of the types from first to last.
func loadOwners(ctx context.Context, tx db.ReadTx, first, last string) (map[string][]string, error) {
	rows, err := tx.Query(ctx, `SELECT resource_type, realm FROM resource_type_owners
		WHERE resource_type >= $1 AND resource_type <= $2 ORDER BY resource_type, realm`, first, last)
	if err != nil {
		return nil, fmt.Errorf("read resource owners: %w", err)
	}
	defer rows.Close()
	owners := map[string][]string{}
	for rows.Next() {
		var id, realm string
		if err := rows.Scan(&id, &realm); err != nil {
			return nil, fmt.Errorf("read resource owners: %w", err)
		}
		owners[id] = append(owners[id], realm)
	}
	return owners, rows.Err()
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func storeType(ctx context.Context, tx db.WriteTx, t ResourceType, exists bool) error {
	query := `INSERT INTO resource_types (id, name, description, owning_team, revision, created, created_by, modified, modified_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`
	args := []any{t.ID, t.Name, t.Description, t.OwningTeam, t.Revision, db.Micros(t.Created), t.CreatedBy, db.Micros(t.Modified), t.ModifiedBy}
	if exists {
		query = `UPDATE resource_types SET name = $2, description = $3, owning_team = $4, revision = $5, modified = $6, modified_by = $7
			WHERE id = $1 AND revision = $5 - 1`
		args = []any{t.ID, t.Name, t.Description, t.OwningTeam, t.Revision, db.Micros(t.Modified), t.ModifiedBy}
	}
	if err := db.One(tx.Exec(ctx, query, args...)); err != nil {
		return fmt.Errorf("store resource type: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM resource_type_owners WHERE resource_type = $1`, t.ID); err != nil {
		return fmt.Errorf("replace resource owners: %w", err)
	}
	for _, r := range t.ResourceOwners {
		if err := db.One(tx.Exec(ctx, `INSERT INTO resource_type_owners (resource_type, realm) VALUES ($1, $2)`, t.ID, r)); err != nil {
			return fmt.Errorf("store resource owner: %w", err)
		}
	}
	return nil
}

func deleteType(ctx context.Context, tx db.WriteTx, id string) error {
	if err := db.One(tx.Exec(ctx, `DELETE FROM resource_types WHERE id = $1`, id)); err != nil {
		return fmt.Errorf("delete resource type: %w", err)
	}
	return nil
}

const scopeColumns = `resource_type, id, summary, description, user_information, is_resource_owner_scope, criticality_level,
	revision, created, created_by, modified, modified_by`

func scanScope(row scanner) (s Scope, err error) {
	var created, modified int64
	err = row.Scan(&s.ResourceType, &s.ID, &s.Summary, &s.Description, &s.UserInformation, &s.IsResourceOwnerScope, &s.CriticalityLevel,
		&s.Revision, &created, &s.CreatedBy, &modified, &s.ModifiedBy)
	s.Created, s.Modified = db.Time(created), db.Time(modified)
	return s, err
}

func loadScope(ctx context.Context, tx db.ReadTx, resourceType, id string) (Scope, error) {
	s, err := scanScope(tx.QueryRow(ctx, `SELECT `+scopeColumns+` FROM scopes WHERE resource_type = $1 AND id = $2`, resourceType, id))
	if errors.Is(err, db.ErrNoRows) {
		return Scope{}, fault.New(fault.NotFound, "scope_not_found", "There is no such scope.")
	}
	if err != nil {
		return Scope{}, fmt.Errorf("read scope: %w", err)
	}
	return s, nil
}

func listScopes(ctx context.Context, tx db.ReadTx, resourceType string) ([]Scope, error) {
	rows, err := tx.Query(ctx, `SELECT `+scopeColumns+` FROM scopes WHERE resource_type = $1 ORDER BY id`, resourceType)
	if err != nil {
		return nil, fmt.Errorf("list scopes: %w", err)
	}
	defer rows.Close()
	list := []Scope{}
	for rows.Next() {
		s, err := scanScope(rows)
		if err != nil {
			return nil, fmt.Errorf("read scope: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

func storeScope(ctx context.Context, tx db.WriteTx, s Scope, exists bool) error {
	query := `UPDATE scopes SET summary = $3, description = $4, user_information = $5, is_resource_owner_scope = $6, criticality_level = $7,
		revision = $8, modified = $9, modified_by = $10 WHERE resource_type = $1 AND id = $2 AND revision = $8 - 1`
	args := []any{s.ResourceType, s.ID, s.Summary, s.Description, s.UserInformation, s.IsResourceOwnerScope, s.CriticalityLevel,
		s.Revision, db.Micros(s.Modified), s.ModifiedBy}
	if !exists {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM scopes WHERE resource_type = $1`, s.ResourceType).Scan(&n); err != nil {
			return fmt.Errorf("count scopes: %w", err)
		}
		if n >= maxScopesOfType {
			return fault.New(fault.Conflict, "too_many_scopes", "A resource type can have %d scopes.", maxScopesOfType)
		}
		query = `INSERT INTO scopes (resource_type, id, summary, description, user_information, is_resource_owner_scope, criticality_level,
			revision, modified, modified_by, created, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`
		args = append(args, db.Micros(s.Created), s.CreatedBy)
	}
	if err := db.One(tx.Exec(ctx, query, args...)); err != nil {
		return fmt.Errorf("store scope: %w", err)
	}
	return tx.Changed(ctx, Topic, s.Name())
}

func deleteScope(ctx context.Context, tx db.WriteTx, resourceType, id string) error {
	if err := db.One(tx.Exec(ctx, `DELETE FROM scopes WHERE resource_type = $1 AND id = $2`, resourceType, id)); err != nil {
		return fmt.Errorf("delete scope: %w", err)
	}
	return tx.Changed(ctx, Topic, resourceType+"."+id)
}
