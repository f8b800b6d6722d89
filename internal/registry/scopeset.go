package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/route"
)

// ScopeSet is a named list of scopes: a client type, or a role.
type ScopeSet struct {
	ID       string
	Name     string
	Scopes   []string // as they were written, each once
	Created  time.Time
	Modified time.Time
}

// ScopeSets are the client types, or the roles: two lists of the same form.
type ScopeSets struct {
	r     *Registry
	noun  string // as audit events and error codes name it
	table string
	kind  string // of the ids
	used  string // query that counts what needs the set, by its id
	with  string // query for the clients on which a change of the set bears
}

// ClientTypes are the kinds of clients. The scopes of its type are the most that people can let a client do.
func (r *Registry) ClientTypes() ScopeSets {
	return ScopeSets{r, "client_type", "client_types", id.ClientType,
		`SELECT count(*) FROM typed_clients WHERE type_id = $1`, `SELECT client_id FROM typed_clients WHERE type_id = $1 ORDER BY client_id`}
}

// Roles are what people can be at a client with a type.
func (r *Registry) Roles() ScopeSets {
	return ScopeSets{r, "role", "roles", id.Role,
		`SELECT count(*) FROM user_roles WHERE role_id = $1`, `SELECT DISTINCT client_id FROM user_roles WHERE role_id = $1 ORDER BY client_id`}
}

// MaxScopeText is how long a list of scopes may be when it is written with spaces between.
const MaxScopeText = 2048

// ParseScopes takes a list of scopes apart (RFC 6749 section 3.3): at least one, in the order given, each once.
func ParseScopes(location, text string) ([]string, error) {
	if len(text) > MaxScopeText {
		return nil, fault.InvalidAt(location, "too_long", "The scopes must be at most %d bytes long.", MaxScopeText)
	}
	var list []string
	for s := range strings.SplitSeq(text, " ") {
		if s == "" || slices.Contains(list, s) {
			continue
		}
		for _, c := range []byte(s) {
			if c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
				return nil, fault.InvalidAt(location, "invalid_scope", "A scope is written in plain ASCII without quotes and backslashes, and a space stands between two.")
			}
		}
		if strings.HasPrefix(s, "claim:") { // so approvals name what a client may know of a person without any scope
			return nil, fault.InvalidAt(location, "invalid_scope", "No scope begins with claim:.")
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		return nil, fault.InvalidAt(location, "required", "Name at least one scope.")
	}
	return list, nil
}

func (k ScopeSets) allow(c access.Caller, setID string) error {
	return access.Allow(c, access.ManageRoles, access.Target{Type: k.noun, ID: setID})
}

func (k ScopeSets) notFound() error {
	return fault.New(fault.NotFound, k.noun+"_not_found", "There is no such %s.", strings.ReplaceAll(k.noun, "_", " "))
}

// Load reads one. The caller has asked for the right to know.
func (k ScopeSets) Load(ctx context.Context, tx db.ReadTx, setID string) (ScopeSet, error) {
	s := ScopeSet{ID: setID}
	var scopes string
	var created, modified int64
	err := tx.QueryRow(ctx, `SELECT name, scopes, created, modified FROM `+k.table+` WHERE id = $1`, setID).Scan(&s.Name, &scopes, &created, &modified)
	if errors.Is(err, db.ErrNoRows) {
		return ScopeSet{}, k.notFound()
	}
	if err != nil {
		return ScopeSet{}, fmt.Errorf("read a %s: %w", k.noun, err)
	}
	s.Scopes, s.Created, s.Modified = strings.Fields(scopes), db.Time(created), db.Time(modified)
	return s, nil
}

func checkSet(s ScopeSet) error {
	if err := route.CheckLine("body.name", s.Name, 1, maxLine); err != nil {
		return err
	}
	_, err := ParseScopes("body.scope", strings.Join(s.Scopes, " "))
	return err
}

// Create stores a new one. An ID that is given is kept.
func (k ScopeSets) Create(ctx context.Context, tx db.WriteTx, c access.Caller, s ScopeSet) (ScopeSet, error) {
	if err := k.allow(c, s.ID); err != nil {
		return ScopeSet{}, err
	}
	if err := checkSet(s); err != nil {
		return ScopeSet{}, err
	}
	if s.ID == "" {
		s.ID = id.New(k.kind, tx.Now())
	}
	s.Created, s.Modified = tx.Now(), tx.Now()
	if err := db.One(tx.Exec(ctx, `INSERT INTO `+k.table+` (id, name, search, scopes, created, created_by, modified, modified_by) VALUES ($1, $2, $3, $4, $5, $6, $5, $6)`,
		s.ID, s.Name, strings.ToLower(s.Name), strings.Join(s.Scopes, " "), db.Micros(tx.Now()), c.String())); err != nil {
		return ScopeSet{}, fmt.Errorf("store a %s: %w", k.noun, err)
	}
	return s, audit.Done(ctx, tx, c, k.noun+".create", k.noun, s.ID, map[string]any{"name": s.Name, "scopes": s.Scopes})
}

// Change stores another name and other scopes. What a scope that goes had allowed ends in the same transaction, see
// OnReduced.
func (k ScopeSets) Change(ctx context.Context, tx db.WriteTx, c access.Caller, s ScopeSet) (ScopeSet, error) {
	if err := k.allow(c, s.ID); err != nil {
		return ScopeSet{}, err
	}
	before, err := k.Load(ctx, tx, s.ID)
	if err != nil {
		return ScopeSet{}, err
	}
	if err := checkSet(s); err != nil {
		return ScopeSet{}, err
	}
	s.Created, s.Modified = before.Created, tx.Now()
	if err := db.One(tx.Exec(ctx, `UPDATE `+k.table+` SET name = $2, search = $3, scopes = $4, modified = $5, modified_by = $6 WHERE id = $1`,
		s.ID, s.Name, strings.ToLower(s.Name), strings.Join(s.Scopes, " "), db.Micros(tx.Now()), c.String())); err != nil {
		return ScopeSet{}, fmt.Errorf("store a %s: %w", k.noun, err)
	}
	if err := k.spread(ctx, tx, s, lost(before.Scopes, s.Scopes)); err != nil {
		return ScopeSet{}, err
	}
	return s, audit.Done(ctx, tx, c, k.noun+".change", k.noun, s.ID, map[string]any{"name": s.Name, "scopes": s.Scopes, "scopes_before": before.Scopes})
}

// spread tells every node of the clients that have another type now, and whoever must know that scopes are gone.
func (k ScopeSets) spread(ctx context.Context, tx db.WriteTx, s ScopeSet, gone []string) error {
	clients, err := db.Texts(ctx, tx, k.with, s.ID)
	if err != nil {
		return fmt.Errorf("find the clients of a %s: %w", k.noun, err)
	}
	for _, clientID := range clients {
		x := Reduction{ClientID: clientID}
		if k.kind == id.Role {
			x.RoleID = s.ID
		} else if err := k.r.retyped(ctx, tx, clientID, gone); err != nil {
			return err
		}
		if len(gone) == 0 {
			continue
		}
		if err := k.r.reduced(ctx, tx, x); err != nil {
			return err
		}
	}
	return nil
}

// Delete removes one that nothing uses.
func (k ScopeSets) Delete(ctx context.Context, tx db.WriteTx, c access.Caller, setID string) error {
	if err := k.allow(c, setID); err != nil {
		return err
	}
	s, err := k.Load(ctx, tx, setID)
	if err != nil {
		return err
	}
	var used int
	if err := tx.QueryRow(ctx, k.used, setID).Scan(&used); err != nil {
		return fmt.Errorf("count the uses of a %s: %w", k.noun, err)
	}
	if used > 0 {
		return fault.New(fault.Conflict, k.noun+"_in_use", "This %s is in use, %d times. Take it away there first.", strings.ReplaceAll(k.noun, "_", " "), used)
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM `+k.table+` WHERE id = $1`, setID)); err != nil {
		return fmt.Errorf("delete a %s: %w", k.noun, err)
	}
	return audit.Done(ctx, tx, c, k.noun+".delete", k.noun, setID, map[string]any{"name": s.Name, "scopes": s.Scopes})
}

// lost is what was there before and is not now.
func lost(before, now []string) []string {
	var gone []string
	for _, s := range before {
		if !slices.Contains(now, s) {
			gone = append(gone, s)
		}
	}
	return gone
}
