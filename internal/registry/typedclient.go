package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
)

// What clients with a type may do is bounded three times: granted scopes are among those asked for, among those of the
// client's type, and among those of the roles that the person has at this client. A request for more is refused as a
// whole. What a change takes away ends in the transaction of the change (OnReduced), so that whatever is valid is within
// the bounds.

// SelfScopes are what people may let a client with a type do with what is their own: see themselves and their approvals,
// and give and withdraw those. The client's type must have them; no role needs to.
var SelfScopes = []string{"app:authorize", "apps:create", "apps:read", "apps:delete", "user:read", "user:update"}

// Bound is what one client with a type may do for one person.
type Bound struct {
	Type    []string // scopes of the client's type
	Roles   []string // scopes of the person's roles at the client
	HasRole bool     // the person has a role there, whatever its scopes
}

// Allows tells whether the scope is within the bound.
func (b Bound) Allows(scope string) bool {
	return slices.Contains(b.Type, scope) && (slices.Contains(SelfScopes, scope) || slices.Contains(b.Roles, scope))
}

// Cut is what of the scopes is within the bound.
func (b Bound) Cut(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return !b.Allows(s) })
}

// LoadBound reads the bound of a client for a person. typed is false for a client without a type, which has none.
func LoadBound(ctx context.Context, tx db.ReadTx, clientID, userID string) (b Bound, typed bool, err error) {
	bounds, typed, err := LoadBounds(ctx, tx, clientID, userID, userID)
	return bounds(userID), typed, err
}

// LoadBounds reads the bounds of a client for the people with ids from first to last, in two queries. bounds is never nil.
func LoadBounds(ctx context.Context, tx db.ReadTx, clientID, first, last string) (bounds func(userID string) Bound, typed bool, err error) {
	none := func(string) Bound { return Bound{} }
	var scopes string
	err = tx.QueryRow(ctx, `SELECT t.scopes FROM typed_clients c JOIN client_types t ON t.id = c.type_id WHERE c.client_id = $1`, clientID).Scan(&scopes)
	if errors.Is(err, db.ErrNoRows) {
		return none, false, nil
	}
	if err != nil {
		return none, false, fmt.Errorf("read the type of a client: %w", err)
	}
	rows, err := tx.Query(ctx, `SELECT u.user_id, r.scopes FROM user_roles u JOIN roles r ON r.id = u.role_id
		WHERE u.client_id = $1 AND u.user_id >= $2 AND u.user_id <= $3`, clientID, first, last)
	if err != nil {
		return none, false, fmt.Errorf("read the roles of people: %w", err)
	}
	defer rows.Close()
	roles := map[string][]string{}
	for rows.Next() {
		var user, list string
		if err := rows.Scan(&user, &list); err != nil {
			return none, false, fmt.Errorf("read the roles of people: %w", err)
		}
		roles[user] = append(roles[user], strings.Fields(list)...)
	}
	ofType := strings.Fields(scopes)
	return func(userID string) Bound {
		held, has := roles[userID]
		return Bound{Type: ofType, Roles: held, HasRole: has}
	}, true, rows.Err()
}

// Reduction says whose rights became fewer: those of all people at a client; with RoleID of those who have the role, with
// UserID of one person.
type Reduction struct {
	ClientID string
	RoleID   string
	UserID   string
}

// OnReduced makes f run in the transaction that takes rights away, after it is stored; an error undoes it. What was allowed
// and is more than what is left must end there. Register before the first request.
func (r *Registry) OnReduced(f func(ctx context.Context, tx db.WriteTx, x Reduction) error) {
	r.onReduced = append(r.onReduced, f)
}

func (r *Registry) reduced(ctx context.Context, tx db.WriteTx, x Reduction) error {
	for _, hook := range r.onReduced {
		if err := hook(ctx, tx, x); err != nil {
			return err
		}
	}
	return nil
}

// retyped tells every node that the client's type is another one, or has other scopes. If scopes are gone, and the client
// acts on its own account, whatever it was given for itself may hold them: no token from before is good any more.
func (r *Registry) retyped(ctx context.Context, tx db.WriteTx, clientID string, gone []string) error {
	if len(gone) > 0 {
		settings, err := loadSettings(ctx, tx, clientID)
		if err != nil {
			return err
		}
		if slices.Contains(settings.GrantTypes, GrantClientCredentials) {
			if err := r.setClient(ctx, tx, sinceNow, clientID, db.Micros(tx.Now())); err != nil {
				return fmt.Errorf("refuse the tokens of a client: %w", err)
			}
		}
	}
	return tx.Changed(ctx, topicClient, clientID)
}

// Typing is what belongs to a client because it has a type.
type Typing struct {
	ClientID     string
	TypeID       string
	Owner        string          // id of a person
	Settings     json.RawMessage // an object
	PrivSettings json.RawMessage // an object
}

// AllowedGrantTypes is the list of this name in the settings: password and client_credentials are allowed by being in it.
func (t Typing) AllowedGrantTypes() []string {
	var s struct {
		Allowed []string `json:"allowed_grant_types"`
	}
	if json.Unmarshal(t.Settings, &s) != nil {
		return nil // it is there and no list of texts: nothing is allowed by it
	}
	return s.Allowed
}

// errTypedPairwise refuses pairwise subjects of a client with a type. The other surface names people to it by their ids,
// so it would know each person under two names, of which one is no secret from other clients.
func errTypedPairwise() error {
	return badMetadata("subject_type", "A client with a type cannot have pairwise subjects.")
}

// checkTyped refuses what a client with a type cannot be: known to people under names of its own (errTypedPairwise), and
// let act for itself by who may not hand out types. On its own account it has all scopes of its type, which bounds else
// only what people let it do.
func checkTyped(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string, before, after Settings) error {
	forItself := slices.Contains(after.GrantTypes, GrantClientCredentials) && !slices.Contains(before.GrantTypes, GrantClientCredentials)
	pairwise := after.Metadata.SubjectType == SubjectPairwise
	if !forItself && !pairwise {
		return nil
	}
	if _, err := LoadTyping(ctx, tx, clientID); err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	}
	if pairwise {
		return errTypedPairwise()
	}
	return access.Allow(c, access.ManageRoles, access.Target{Type: "client", ID: clientID})
}

// LoadTyping reads it; a fault of kind NotFound for a client without a type.
func LoadTyping(ctx context.Context, tx db.ReadTx, clientID string) (Typing, error) {
	t := Typing{ClientID: clientID}
	var settings, private string
	err := tx.QueryRow(ctx, `SELECT type_id, owner, settings, priv_settings FROM typed_clients WHERE client_id = $1`, clientID).
		Scan(&t.TypeID, &t.Owner, &settings, &private)
	if errors.Is(err, db.ErrNoRows) {
		return Typing{}, errNoClient()
	}
	if err != nil {
		return Typing{}, fmt.Errorf("read the type of a client: %w", err)
	}
	t.Settings, t.PrivSettings = json.RawMessage(settings), json.RawMessage(private)
	return t, nil
}

// PutTyping gives the client a type, or another one.
func (r *Registry) PutTyping(ctx context.Context, tx db.WriteTx, c access.Caller, t Typing) error {
	if err := access.Allow(c, access.ManageRoles, access.Target{Type: "client", ID: t.ClientID}); err != nil {
		return err
	}
	to, err := r.ClientTypes().Load(ctx, tx, t.TypeID)
	if err != nil {
		return err
	}
	settings, err := loadSettings(ctx, tx, t.ClientID)
	if err != nil {
		return err
	}
	if settings.Metadata.SubjectType == SubjectPairwise {
		return errTypedPairwise()
	}
	var gone []string
	before, err := LoadTyping(ctx, tx, t.ClientID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if had := err == nil; had && before.TypeID != t.TypeID {
		from, err := r.ClientTypes().Load(ctx, tx, before.TypeID)
		if err != nil {
			return err
		}
		gone = lost(from.Scopes, to.Scopes)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO typed_clients (client_id, type_id, owner, settings, priv_settings) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (client_id) DO UPDATE SET type_id = excluded.type_id, owner = excluded.owner, settings = excluded.settings, priv_settings = excluded.priv_settings`,
		t.ClientID, t.TypeID, t.Owner, string(t.Settings), string(t.PrivSettings))); err != nil {
		return fmt.Errorf("store the type of a client: %w", err)
	}
	// Whoever owns it here owns it everywhere: it goes with the person, and is refused with the person. An application's
	// client, or a team's, has no such owner.
	if _, err := tx.Exec(ctx, `UPDATE clients SET owner_user = $2 WHERE id = $1 AND owner_user IS NOT NULL AND owner_user <> $2`, t.ClientID, t.Owner); err != nil {
		return fmt.Errorf("hand a client over: %w", err)
	}
	if err := r.retyped(ctx, tx, t.ClientID, gone); err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := r.reduced(ctx, tx, Reduction{ClientID: t.ClientID}); err != nil {
			return err
		}
	}
	return audit.Done(ctx, tx, c, "client.set_type", "client", t.ClientID, map[string]any{"type": t.TypeID, "type_before": before.TypeID, "owner": t.Owner})
}

// forgetTyping removes what belongs to a client by its type, in the transaction that deletes the client. The client's
// approvals, grants and tokens end by other hooks.
func (r *Registry) forgetTyping(ctx context.Context, tx db.WriteTx, clientID string) error {
	// Any number is right: most clients have no type.
	for _, query := range []string{`DELETE FROM user_roles WHERE client_id = $1`, `DELETE FROM typed_clients WHERE client_id = $1`} {
		if _, err := tx.Exec(ctx, query, clientID); err != nil {
			return fmt.Errorf("forget the type of a client: %w", err)
		}
	}
	return nil
}

// bound puts the type of the client, if it has one, into what memory holds of it.
func (k *knownClient) bound(ctx context.Context, tx db.ReadTx) error {
	var typeID, scopes string
	err := tx.QueryRow(ctx, `SELECT t.id, t.scopes FROM typed_clients c JOIN client_types t ON t.id = c.type_id WHERE c.client_id = $1`, k.client.ID).Scan(&typeID, &scopes)
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the type of a client: %w", err)
	}
	c := &k.client
	c.Type, c.OwnerScopes = typeID, slices.Sorted(slices.Values(strings.Fields(scopes)))
	for _, s := range c.OwnerScopes {
		if !slices.Contains(SelfScopes, s) { // a client has nothing of its own in that sense
			c.Scopes = append(c.Scopes, s)
		}
	}
	slices.Sort(c.Scopes)
	c.Scopes = slices.Compact(c.Scopes)
	return nil
}

// UserRole is a role that a person has at a client.
type UserRole struct{ ID, UserID, RoleID, ClientID string }

func errNoUserRole() error {
	return fault.New(fault.NotFound, "user_role_not_found", "The person has no such role.")
}

// LoadUserRole reads one. The caller has asked for the right to know.
func LoadUserRole(ctx context.Context, tx db.ReadTx, userRoleID string) (u UserRole, err error) {
	err = tx.QueryRow(ctx, `SELECT id, user_id, role_id, client_id FROM user_roles WHERE id = $1`, userRoleID).Scan(&u.ID, &u.UserID, &u.RoleID, &u.ClientID)
	if errors.Is(err, db.ErrNoRows) {
		return UserRole{}, errNoUserRole()
	}
	if err != nil {
		return UserRole{}, fmt.Errorf("read a role of a person: %w", err)
	}
	return u, nil
}

// GiveRole gives a person a role at a client. The caller has seen that the person exists.
func (r *Registry) GiveRole(ctx context.Context, tx db.WriteTx, c access.Caller, u UserRole) (UserRole, error) {
	if err := access.Allow(c, access.ManageRoles, access.Target{Type: "user", ID: u.UserID}); err != nil {
		return UserRole{}, err
	}
	if _, err := r.Roles().Load(ctx, tx, u.RoleID); err != nil {
		return UserRole{}, err
	}
	if _, err := LoadTyping(ctx, tx, u.ClientID); err != nil {
		return UserRole{}, err
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM user_roles WHERE user_id = $1 AND role_id = $2 AND client_id = $3`, u.UserID, u.RoleID, u.ClientID).Scan(&n); err != nil {
		return UserRole{}, fmt.Errorf("look for a role of a person: %w", err)
	}
	if n > 0 {
		return UserRole{}, fault.New(fault.Conflict, "user_role_exists", "The person has this role at this client already.")
	}
	u.ID = id.New(id.UserRole, tx.Now())
	if err := db.One(tx.Exec(ctx, `INSERT INTO user_roles (id, user_id, role_id, client_id, created, created_by) VALUES ($1, $2, $3, $4, $5, $6)`,
		u.ID, u.UserID, u.RoleID, u.ClientID, db.Micros(tx.Now()), c.String())); err != nil {
		return UserRole{}, fmt.Errorf("store a role of a person: %w", err)
	}
	return u, audit.Done(ctx, tx, c, "role.give", "user", u.UserID, map[string]any{"role": u.RoleID, "client_id": u.ClientID})
}

// TakeRole takes a role from a person, and ends what only the role allowed.
func (r *Registry) TakeRole(ctx context.Context, tx db.WriteTx, c access.Caller, u UserRole) error {
	if err := access.Allow(c, access.ManageRoles, access.Target{Type: "user", ID: u.UserID}); err != nil {
		return err
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM user_roles WHERE id = $1`, u.ID)); err != nil {
		return fmt.Errorf("delete a role of a person: %w", err)
	}
	if err := r.reduced(ctx, tx, Reduction{ClientID: u.ClientID, UserID: u.UserID}); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "role.take", "user", u.UserID, map[string]any{"role": u.RoleID, "client_id": u.ClientID})
}
