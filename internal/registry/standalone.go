package registry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/catalog"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// StandaloneClient is a client that belongs to no application. It has no service user, and its secrets do not rotate:
// they are the labelled ones. Whether it is confidential is said once and for all.
type StandaloneClient struct {
	ID            string
	Team          string // the owning team; "": none
	Owner         string // the id of the person who owns it; "": nobody. At most one of the two
	Confidential  bool
	Untrusted     bool      // a stranger registered it
	Expires       time.Time // when it is removed unless it was used; zero: never
	Disabled      time.Time // zero: it is enabled
	OwnerDisabled bool      // the person who owns it is disabled, and so it is refused, whatever Disabled says
	Settings      Settings
	OwnerScopes   []string // what it may ask people for, beside the scopes that every client may
	AccountScopes []string // what it may do on its own account, beside the default scopes
	Created       time.Time
	CreatedBy     string

	secretLife time.Duration // of the secret that it is made with; 0: for ever
}

// OnClientEnded makes f run in the transaction that disables or deletes a client that stands alone, before its rows are
// gone; an error undoes it. What was allowed it must end there. (Those of applications end by OnApplicationChanged.)
// Register before the first request.
func (r *Registry) OnClientEnded(f func(ctx context.Context, tx db.WriteTx, clientID string) error) {
	r.onEnded = append(r.onEnded, f)
}

// ClientUsed makes f the judge of whether a client was ever used, for those that are removed if they were not. Register
// before the first request.
func (r *Registry) ClientUsed(f func(ctx context.Context, tx db.ReadTx, clientID string) (bool, error)) {
	r.usedBy = append(r.usedBy, f)
}

// CreateClient makes a client that stands alone. A confidential one gets a secret, which is shown this once, unless it
// signs with keys of its own.
func (r *Registry) CreateClient(ctx context.Context, tx db.WriteTx, c access.Caller, n StandaloneClient) (StandaloneClient, redact.Secret, error) {
	none := func(err error) (StandaloneClient, redact.Secret, error) {
		return StandaloneClient{}, redact.Secret{}, err
	}
	// What belongs to a person is made by administrators: nobody gets clients by being known here.
	target := access.Target{Type: "client", Team: n.Team}
	if err := access.Allow(c, access.WriteClient, target); err != nil {
		return none(err)
	}
	if err := r.checkOwner(ctx, tx, n); err != nil {
		return none(err)
	}
	if err := checkStandalone(&n.Settings, n.Confidential); err != nil {
		return none(err)
	}
	if err := cmp.Or(checkTrust(c, target, Settings{}, n.Settings, r.o.Bounds), checkSector(ctx, tx, c, n, Settings{}), r.checkElsewhere(Settings{}, n.Settings)); err != nil {
		return none(err)
	}
	now := tx.Now()
	n.ID, n.Created, n.CreatedBy, n.Disabled = id.New(id.Client, now), now, c.String(), time.Time{}
	n.Settings.Revision, n.Settings.Modified, n.Settings.ModifiedBy = 1, now, c.String()
	if err := db.One(tx.Exec(ctx, `INSERT INTO clients (id, application, owner_team, owner_user, untrusted, confidential, created, created_by, expires, enabled_since, disabled)
		VALUES ($1, NULL, $2, $3, $4, $5, $6, $7, $8, $6, 0)`,
		n.ID, orNull(n.Team), orNull(n.Owner), n.Untrusted, n.Confidential, db.Micros(now), n.CreatedBy, db.Micros(n.Expires))); err != nil {
		return none(fmt.Errorf("store a client: %w", err))
	}
	if err := storeSettings(ctx, tx, n.ID, n.Settings); err != nil {
		return none(err)
	}
	if err := r.setScopes(ctx, tx, c, &n, nil, nil); err != nil {
		return none(err)
	}
	var secret redact.Secret
	if m := n.Settings.Metadata.AuthMethod; n.Confidential && m != AuthPrivateKeyJWT {
		var err error
		if _, secret, err = r.insertSecret(ctx, tx, c, n.ID, "first", r.secretEnd(now, n.secretLife), m == AuthClientSecretJWT); err != nil {
			return none(err)
		}
	}
	details, err := standaloneDetails(n)
	if err != nil {
		return none(err)
	}
	if err := audit.Done(ctx, tx, c, "client.create", "client", n.ID, details); err != nil {
		return none(err)
	}
	return n, secret, tx.Changed(ctx, topicClient, n.ID)
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func standaloneDetails(n StandaloneClient) (map[string]any, error) {
	metadata, err := n.Settings.Metadata.column()
	return map[string]any{
		"name": n.Settings.Name, "team": n.Team, "owner": n.Owner, "confidential": n.Confidential, "untrusted": n.Untrusted, "enabled": n.Disabled.IsZero(),
		"redirect_uris": n.Settings.RedirectURIs, "grant_types": n.Settings.GrantTypes, "scopes": n.AccountScopes, "resource_owner_scopes": n.OwnerScopes, "metadata": metadata,
	}, err
}

func (r *Registry) checkOwner(ctx context.Context, tx db.ReadTx, n StandaloneClient) error {
	switch {
	case n.Team != "" && n.Owner != "":
		return fault.InvalidAt("body.owner_id", "owner", "A client belongs to a team or to a person, not to both.")
	case n.Team != "":
		return r.needTeam(ctx, tx, n.Team)
	case n.Owner == "":
		return nil
	}
	u, err := identity.LoadUser(ctx, tx, n.Owner)
	if fault.Is(err, fault.NotFound) || err == nil && u.Application != "" {
		return fault.InvalidAt("body.owner_id", "owner", "There is no such person.")
	}
	return err
}

// checkStandalone is checkSettings for a client without an application, whose grants and name must be said: it has
// nothing that they could be taken from.
func checkStandalone(s *Settings, confidential bool) error {
	if s.Name == "" {
		return fault.InvalidAt("body.name", "invalid_client_metadata", "A client needs a name, for people to read.")
	}
	switch {
	case len(s.GrantTypes) > 0:
	case len(s.RedirectURIs) > 0:
		s.GrantTypes = []string{GrantAuthorizationCode}
	case confidential:
		s.GrantTypes = []string{GrantClientCredentials}
	}
	if slices.Contains(s.GrantTypes, GrantPassword) && !s.Metadata.PersonPassword {
		return fault.InvalidAt("body.grant_types", "invalid_client_metadata", "A client without an application has no service user whose password it could send.")
	}
	return checkSettings(s, confidential)
}

// setScopes stores what the client may do and ask for. To gain a scope for its own account needs an administrator, as
// for applications.
func (r *Registry) setScopes(ctx context.Context, tx db.WriteTx, c access.Caller, n *StandaloneClient, account, owner []string) error {
	for _, list := range []struct {
		member, table, by, at string
		before                []string
		after                 *[]string
		ofOwners              bool
	}{
		{"application_scopes", "client_account_scopes", "granted_by", "granted", account, &n.AccountScopes, false},
		{"resource_owner_scopes", "client_scopes", "declared_by", "declared", owner, &n.OwnerScopes, true},
	} {
		slices.Sort(*list.after)
		*list.after = slices.Compact(*list.after)
		if len(*list.after) > maxScopes {
			return fault.InvalidAt("body."+list.member, "too_many_scopes", "A client can hold %d scopes.", maxScopes)
		}
		for i, scope := range *list.after {
			if slices.Contains(list.before, scope) {
				continue
			}
			s, err := catalog.Lookup(ctx, tx, scope)
			if fault.Is(err, fault.NotFound) || err == nil && s.IsResourceOwnerScope != list.ofOwners {
				return fault.InvalidAt(fmt.Sprintf("body.%s[%d]", list.member, i), "scope_not_found", "There is no such scope of this kind.")
			}
			if err != nil {
				return err
			}
			if !list.ofOwners {
				if err := access.Allow(c, access.GrantScope, access.Target{Type: "client", ID: n.ID, Team: n.Team}); err != nil {
					return err
				}
			}
			if err := db.One(tx.Exec(ctx, `INSERT INTO `+list.table+` (client_id, scope, `+list.by+`, `+list.at+`) VALUES ($1, $2, $3, $4)`,
				n.ID, scope, c.String(), db.Micros(tx.Now()))); err != nil {
				return fmt.Errorf("store a scope of a client: %w", err)
			}
		}
		for _, scope := range list.before {
			if slices.Contains(*list.after, scope) {
				continue
			}
			if err := db.One(tx.Exec(ctx, `DELETE FROM `+list.table+` WHERE client_id = $1 AND scope = $2`, n.ID, scope)); err != nil {
				return fmt.Errorf("take a scope from a client: %w", err)
			}
		}
	}
	return nil
}

// LoadStandalone reads a client that stands alone. The caller has asked for the right to know.
func LoadStandalone(ctx context.Context, tx db.ReadTx, clientID string) (StandaloneClient, error) {
	row, err := loadClientRow(ctx, tx, clientID)
	if err == nil && row.Application != "" {
		err = errNoClient()
	}
	if err != nil {
		return StandaloneClient{}, err
	}
	return row.standalone(ctx, tx)
}

func (c clientRow) standalone(ctx context.Context, tx db.ReadTx) (n StandaloneClient, err error) {
	n = StandaloneClient{ID: c.ID, Team: c.Team, Owner: c.Owner, Confidential: c.Confidential, Untrusted: c.Untrusted, Expires: c.Expires, Disabled: c.Disabled, OwnerDisabled: c.OwnerDisabled, Created: c.Created, CreatedBy: c.CreatedBy}
	if n.Settings, err = loadSettings(ctx, tx, c.ID); err != nil {
		return StandaloneClient{}, err
	}
	grants, err := loadGrants(ctx, tx, "", c.ID)
	if err != nil {
		return StandaloneClient{}, err
	}
	for _, g := range grants {
		if g.ResourceOwnerScope {
			n.OwnerScopes = append(n.OwnerScopes, g.Scope)
		} else {
			n.AccountScopes = append(n.AccountScopes, g.Scope)
		}
	}
	return n, nil
}

// GetClient reads a client that stands alone.
func (r *Registry) GetClient(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string) (StandaloneClient, error) {
	target := access.Target{Type: "client", ID: clientID}
	n, err := LoadStandalone(ctx, tx, clientID)
	if err == nil {
		target.Team, target.Owner = n.Team, n.Owner
	}
	// Who may not read clients does not learn which there are.
	if denied := access.Allow(c, access.ReadClient, target); denied != nil {
		return StandaloneClient{}, denied
	}
	return n, err
}

// ClientFilter selects clients that stand alone. Zero fields select all.
type ClientFilter struct {
	Team, Owner string
	Untrusted   *bool
	After       string // id of the last one on the page before
	Limit       int
}

// ListClients lists clients that stand alone, by id.
func (r *Registry) ListClients(ctx context.Context, tx db.ReadTx, c access.Caller, f ClientFilter) ([]StandaloneClient, error) {
	if err := access.Allow(c, access.ReadClient, access.Target{Type: "client", Owner: f.Owner}); err != nil {
		return nil, err
	}
	query, args := selectClient+` WHERE c.application IS NULL AND c.id > $1`, []any{f.After}
	where := func(column string, value any) {
		args = append(args, value)
		query += ` AND ` + column + ` = $` + strconv.Itoa(len(args))
	}
	if f.Team != "" {
		where("c.owner_team", f.Team)
	}
	if f.Owner != "" {
		where("c.owner_user", f.Owner)
	}
	if f.Untrusted != nil {
		where("c.untrusted", *f.Untrusted)
	}
	args = append(args, f.Limit)
	found, err := listRows(ctx, tx, query+` ORDER BY c.id LIMIT $`+strconv.Itoa(len(args)), args...)
	if err != nil {
		return nil, err
	}
	list := make([]StandaloneClient, 0, len(found))
	for _, row := range found {
		n, err := row.standalone(ctx, tx)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

func listRows(ctx context.Context, tx db.ReadTx, query string, args ...any) ([]clientRow, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list clients: %w", err)
	}
	defer rows.Close()
	var list []clientRow
	for rows.Next() {
		row, err := scanClient(rows)
		if err != nil {
			return nil, fmt.Errorf("list clients: %w", err)
		}
		list = append(list, row)
	}
	return list, rows.Err()
}

// ClientChange is what a caller wants of a client that stands alone: nil keeps what is stored.
type ClientChange struct {
	Settings      *Settings
	OwnerScopes   *[]string
	AccountScopes *[]string
	Enabled       *bool
}

// UpdateClient changes a client that stands alone. check gets the stored revision and may refuse. What is disabled loses
// its secrets and keys, as an inactive application does.
func (r *Registry) UpdateClient(ctx context.Context, tx db.WriteTx, c access.Caller, clientID string, change ClientChange, check func(revision int64) error) (StandaloneClient, error) {
	row, before, err := r.permitStandalone(ctx, tx, c, clientID)
	if err != nil {
		return StandaloneClient{}, err
	}
	if err := check(before.Settings.Revision); err != nil {
		return StandaloneClient{}, err
	}
	_, target := row.target()
	next := before
	if change.Settings != nil {
		next.Settings = *change.Settings
		if err := cmp.Or(checkStandalone(&next.Settings, next.Confidential), checkTrust(c, target, before.Settings, next.Settings, r.o.Bounds),
			checkSector(ctx, tx, c, next, before.Settings), r.checkElsewhere(before.Settings, next.Settings), checkTyped(ctx, tx, c, clientID, before.Settings, next.Settings)); err != nil {
			return StandaloneClient{}, err
		}
	}
	next.Settings.Revision, next.Settings.Modified, next.Settings.ModifiedBy = before.Settings.Revision+1, tx.Now(), c.String()
	if err := storeSettings(ctx, tx, clientID, next.Settings); err != nil {
		return StandaloneClient{}, err
	}
	if next.Settings.Metadata.AuthMethod != AuthClientSecretJWT {
		if err := dropBoxes(ctx, tx, clientID); err != nil {
			return StandaloneClient{}, err
		}
	}
	next.OwnerScopes, next.AccountScopes = slices.Clone(next.OwnerScopes), slices.Clone(next.AccountScopes)
	if change.OwnerScopes != nil {
		next.OwnerScopes = slices.Clone(*change.OwnerScopes)
	}
	if change.AccountScopes != nil {
		next.AccountScopes = slices.Clone(*change.AccountScopes)
	}
	if err := r.setScopes(ctx, tx, c, &next, before.AccountScopes, before.OwnerScopes); err != nil {
		return StandaloneClient{}, err
	}
	if err := r.enable(ctx, tx, &next, change.Enabled); err != nil {
		return StandaloneClient{}, err
	}
	details, err := standaloneDetails(next)
	if err != nil {
		return StandaloneClient{}, err
	}
	details["redirect_uris_before"], details["grant_types_before"] = before.Settings.RedirectURIs, before.Settings.GrantTypes
	if err := audit.Done(ctx, tx, c, "client.change", "client", clientID, details); err != nil {
		return StandaloneClient{}, err
	}
	return next, tx.Changed(ctx, topicClient, clientID)
}

// enable disables the client or enables it again, if want says so.
func (r *Registry) enable(ctx context.Context, tx db.WriteTx, n *StandaloneClient, want *bool) error {
	switch {
	case want == nil || *want == n.Disabled.IsZero():
		return nil
	case *want:
		n.Disabled = time.Time{}
		return r.setClient(ctx, tx, `disabled = 0, `+sinceNow, n.ID, db.Micros(tx.Now()))
	}
	n.Disabled = tx.Now()
	if err := r.ended(ctx, tx, n.ID); err != nil {
		return err
	}
	if err := dropProofs(ctx, tx, n.ID); err != nil {
		return err
	}
	return r.setClient(ctx, tx, `disabled = $2`, n.ID, db.Micros(n.Disabled))
}

func (r *Registry) ended(ctx context.Context, tx db.WriteTx, clientID string) error {
	for _, hook := range r.onEnded {
		if err := hook(ctx, tx, clientID); err != nil {
			return fmt.Errorf("end what was allowed a client: %w", err)
		}
	}
	return nil
}

// permitStandalone reads a client that stands alone and that the caller may change. Who may not even read clients does
// not learn which there are.
func (r *Registry) permitStandalone(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string) (clientRow, StandaloneClient, error) {
	none := func(err error) (clientRow, StandaloneClient, error) {
		return clientRow{}, StandaloneClient{}, err
	}
	row, err := permitClient(ctx, tx, c, clientID)
	if err != nil {
		return none(err)
	}
	if row.Application != "" {
		return none(errNoClient())
	}
	n, err := row.standalone(ctx, tx)
	return row, n, err
}

// DeleteClient removes a client that stands alone, with all that it had and that was allowed it. Its id is never used
// again, and no token of it is good from the commit on.
func (r *Registry) DeleteClient(ctx context.Context, tx db.WriteTx, c access.Caller, clientID string) error {
	_, n, err := r.permitStandalone(ctx, tx, c, clientID)
	if err != nil {
		return err
	}
	return r.remove(ctx, tx, c, n)
}

func (r *Registry) remove(ctx context.Context, tx db.WriteTx, c access.Caller, n StandaloneClient) error {
	if err := r.ended(ctx, tx, n.ID); err != nil {
		return err
	}
	if err := r.forgetTyping(ctx, tx, n.ID); err != nil {
		return err
	}
	if err := storeOrigins(ctx, tx, n.ID, Settings{}); err != nil {
		return err
	}
	for _, table := range []string{"client_shared_secrets", "client_keys", "client_account_scopes", "client_scopes", "client_redirects", "client_settings"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE client_id = $1`, n.ID); err != nil {
			return fmt.Errorf("remove what a client had: %w", err)
		}
	}
	// The registration of a stranger still counts for the limit; Sweep takes it away.
	if _, err := tx.Exec(ctx, `UPDATE client_registrations SET mac = $2, policy = '', ended = $3 WHERE client_id = $1`, n.ID, []byte{}, db.Micros(tx.Now())); err != nil {
		return fmt.Errorf("end a registration: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM clients WHERE id = $1 AND application IS NULL`, n.ID)); err != nil {
		return fmt.Errorf("remove a client: %w", err)
	}
	if err := audit.Done(ctx, tx, c, "client.delete", "client", n.ID, map[string]any{"name": n.Settings.Name, "team": n.Team, "owner": n.Owner, "untrusted": n.Untrusted}); err != nil {
		return err
	}
	return tx.Changed(ctx, topicClient, n.ID)
}

// OwnerChanged has every node know, in the transaction that disables a person or enables it again, that the clients which
// are the person's own are refused or accepted again. No token from before is good any more, not even later: as with a
// client that is disabled itself. What people allowed them stays, and so do their secrets, because none of that is the
// doing of those who use them.
func (r *Registry) OwnerChanged(ctx context.Context, tx db.WriteTx, userID string) error {
	owned, err := db.Texts(ctx, tx, `SELECT id FROM clients WHERE owner_user = $1 ORDER BY id`, userID)
	if err != nil {
		return fmt.Errorf("list the clients of a person: %w", err)
	}
	for _, clientID := range owned {
		if err := r.setClient(ctx, tx, sinceNow, clientID, db.Micros(tx.Now())); err != nil {
			return err
		}
		if err := tx.Changed(ctx, topicClient, clientID); err != nil {
			return err
		}
	}
	return nil
}

// DeleteClientsOf removes all clients of a person, in the transaction that removes the person.
func (r *Registry) DeleteClientsOf(ctx context.Context, tx db.WriteTx, c access.Caller, userID string) error {
	list, err := listRows(ctx, tx, selectClient+` WHERE c.owner_user = $1 ORDER BY c.id`, userID)
	if err != nil {
		return err
	}
	for _, row := range list {
		if err := r.DeleteClient(ctx, tx, c, row.ID); err != nil {
			return err
		}
	}
	return nil
}
