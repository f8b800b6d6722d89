package registry

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/jose"
)

const maxKid = 200

// ClientKey is a public key of a client.
type ClientKey struct {
	ID        string // ours, to name it by
	Label     string
	Kid       string    // as the client's tokens name it
	JWK       string    // RFC 7517, without private members
	Expires   time.Time // zero: never
	Created   time.Time
	CreatedBy string
	LastUsed  time.Time // only in lists; in memory it is zero
}

const selectKeys = `SELECT id, label, kid, jwk, created, created_by, expires, last_used FROM client_keys WHERE client_id = $1 ORDER BY id LIMIT $2`

func listKeys(ctx context.Context, tx db.ReadTx, clientID string) ([]ClientKey, error) {
	rows, err := tx.Query(ctx, selectKeys, clientID, maxProofs)
	if err != nil {
		return nil, fmt.Errorf("read the keys of a client: %w", err)
	}
	defer rows.Close()
	var list []ClientKey
	for rows.Next() {
		var k ClientKey
		var created, expires, used int64
		if err := rows.Scan(&k.ID, &k.Label, &k.Kid, &k.JWK, &created, &k.CreatedBy, &expires, &used); err != nil {
			return nil, fmt.Errorf("read the keys of a client: %w", err)
		}
		k.Created, k.Expires, k.LastUsed = db.Time(created), db.Time(expires), db.Time(used)
		list = append(list, k)
	}
	return list, rows.Err()
}

// loadKeys reads what memory holds of the keys: when one was used last is not in it.
func loadKeys(ctx context.Context, tx db.ReadTx, clientID string) ([]ClientKey, error) {
	list, err := listKeys(ctx, tx, clientID)
	for i := range list {
		list[i].LastUsed = time.Time{}
	}
	return list, err
}

// Keys lists the public keys of the client, oldest first, with those that have expired.
func (r *Registry) Keys(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string) ([]ClientKey, error) {
	if _, err := permitClient(ctx, tx, c, clientID); err != nil {
		return nil, err
	}
	return listKeys(ctx, tx, clientID)
}

// AddKey adds a public key to the client. A zero expires is never.
func (r *Registry) AddKey(ctx context.Context, tx db.WriteTx, c access.Caller, clientID, label string, jwk []byte, expires time.Time) (ClientKey, error) {
	row, err := permitClient(ctx, tx, c, clientID)
	if err != nil {
		return ClientKey{}, err
	}
	if !row.Disabled.IsZero() {
		return ClientKey{}, fault.New(fault.Conflict, "client_disabled", "The client is disabled, and what was added now would be refused.")
	}
	if settings, err := loadSettings(ctx, tx, clientID); err != nil {
		return ClientKey{}, err
	} else if settings.Metadata.JWKSURI != "" {
		return ClientKey{}, fault.New(fault.Conflict, "jwks_uri", "The client keeps its keys at its jwks_uri; take that away to store keys here.")
	}
	key, err := parseClientKey(jwk)
	if err != nil {
		return ClientKey{}, fault.InvalidAt("body.jwk", "invalid_client_metadata", "This is %s.", err)
	}
	if err := r.checkProof(ctx, tx, "client_keys", clientID, label, expires); err != nil {
		return ClientKey{}, err
	}
	k, err := insertKey(ctx, tx, c, clientID, label, key, expires)
	if err != nil {
		return ClientKey{}, err
	}
	details := proofDetails(k.ID, label, expires)
	details["kid"], details["thumbprint"] = k.Kid, key.Thumbprint()
	if err := audit.Done(ctx, tx, c, "client_key.add", "client", clientID, details); err != nil {
		return ClientKey{}, err
	}
	return k, tx.Changed(ctx, topicClient, clientID)
}

// parseClientKey reads a public key that a client brings, and gives it a kid.
func parseClientKey(jwk []byte) (jose.Key, error) {
	k, err := jose.ParseKey(jwk)
	if err != nil {
		return jose.Key{}, err
	}
	return k, nameKey(&k)
}

// nameKey gives a key without a kid its thumbprint for one, and refuses a kid that could not stand in a line of a log.
func nameKey(k *jose.Key) error {
	if k.ID == "" {
		k.ID = k.Thumbprint()
	}
	if len(k.ID) > maxKid || !plainASCII(k.ID) {
		return fmt.Errorf("%w: a kid has at most %d characters of ASCII, none of them a space, a quote or a backslash", jose.ErrKey, maxKid)
	}
	return nil
}

func insertKey(ctx context.Context, tx db.WriteTx, c access.Caller, clientID, label string, key jose.Key, expires time.Time) (ClientKey, error) {
	k := ClientKey{ID: id.New(id.ClientKey, tx.Now()), Label: label, Kid: key.ID, JWK: key.JWK(), Created: tx.Now(), CreatedBy: c.String(), Expires: expires}
	n, err := tx.Exec(ctx, `INSERT INTO client_keys (id, client_id, label, kid, jwk, created, created_by, expires, last_used)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0) ON CONFLICT (client_id, kid) DO NOTHING`,
		k.ID, clientID, label, k.Kid, k.JWK, db.Micros(k.Created), k.CreatedBy, db.Micros(expires))
	if err != nil {
		return ClientKey{}, fmt.Errorf("store a key of a client: %w", err)
	}
	if n == 0 {
		return ClientKey{}, fault.New(fault.Conflict, "kid_exists", "The client has a key with this kid already.")
	}
	return k, nil
}

// replaceKeys makes these the client's keys, and records which came and which went. One that stays as it was keeps its
// name and its history.
func replaceKeys(ctx context.Context, tx db.WriteTx, c access.Caller, clientID string, keys []jose.Key) error {
	before, err := listKeys(ctx, tx, clientID)
	if err != nil {
		return err
	}
	var removed, added []string
	for _, old := range before {
		if slices.ContainsFunc(keys, func(k jose.Key) bool { return old.is(k) }) {
			continue
		}
		if err := db.One(tx.Exec(ctx, `DELETE FROM client_keys WHERE id = $1 AND client_id = $2`, old.ID, clientID)); err != nil {
			return fmt.Errorf("replace the keys of a client: %w", err)
		}
		removed = append(removed, old.thumbprint())
	}
	for _, k := range keys {
		if slices.ContainsFunc(before, func(old ClientKey) bool { return old.is(k) }) {
			continue
		}
		if _, err := insertKey(ctx, tx, c, clientID, "registered", k, time.Time{}); err != nil {
			return err
		}
		added = append(added, k.Thumbprint())
	}
	if len(removed)+len(added) == 0 {
		return nil
	}
	if err := audit.Done(ctx, tx, c, "client_key.replace", "client", clientID, map[string]any{"removed": removed, "added": added}); err != nil {
		return err
	}
	return tx.Changed(ctx, topicClient, clientID)
}

// is tells whether the key is this one, with all that is said of it; a registration knows no end of a key.
func (k ClientKey) is(other jose.Key) bool { return k.JWK == other.JWK() && k.Expires.IsZero() }

// thumbprint names the key by what it is (RFC 7638), or by its kid if we have become too strict to read it.
func (k ClientKey) thumbprint() string {
	key, err := jose.ParseKey([]byte(k.JWK))
	if err != nil {
		return k.Kid
	}
	return key.Thumbprint()
}

// DeleteKey removes a key: what is signed with it is refused from the commit on, here at once and on every node within a
// second.
func (r *Registry) DeleteKey(ctx context.Context, tx db.WriteTx, c access.Caller, clientID, keyID string) error {
	return r.deleteProof(ctx, tx, c, "client_keys", "client_key.remove", clientID, keyID)
}
