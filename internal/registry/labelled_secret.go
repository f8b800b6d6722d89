package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// maxProofs is how many labelled secrets, and how many keys, a client has at once.
const maxProofs = 10

// maxProofLife is how far ahead the end of a secret or a key can lie.
const maxProofLife = 10 * 365 * 24 * time.Hour

// LabelledSecret is a labelled secret of a client, without the secret itself: that is told once, when it is made.
type LabelledSecret struct {
	ID        string
	Label     string
	Created   time.Time
	CreatedBy string
	Expires   time.Time // zero: never
	LastUsed  time.Time // zero: never, or within the last second
}

// labelledSecret is what memory holds of one.
type labelledSecret struct {
	id      string
	mac     []byte
	box     []byte // empty, or the secret, sealed
	expires time.Time
}

const secretsTable = "client_shared_secrets"

func secretPlace(secretID string) seal.AD {
	return seal.AD{Table: secretsTable, Column: "box", Row: secretID}
}

func loadLabelled(ctx context.Context, tx db.ReadTx, clientID string) ([]labelledSecret, error) {
	rows, err := tx.Query(ctx, `SELECT id, mac, box, expires FROM client_shared_secrets WHERE client_id = $1 ORDER BY id LIMIT $2`, clientID, maxProofs)
	if err != nil {
		return nil, fmt.Errorf("read the secrets of a client: %w", err)
	}
	defer rows.Close()
	var list []labelledSecret
	for rows.Next() {
		var s labelledSecret
		var expires int64
		if err := rows.Scan(&s.id, &s.mac, &s.box, &expires); err != nil {
			return nil, fmt.Errorf("read the secrets of a client: %w", err)
		}
		s.expires = db.Time(expires)
		list = append(list, s)
	}
	return list, rows.Err()
}

// HMACSecrets answers the client's secrets that can be the key of a client_secret_jwt assertion: those that were made while
// that was its method and have not expired. A disabled client has none. The database is asked if there is none in memory,
// because a client that has none is refused.
func (c *Clients) HMACSecrets(ctx context.Context, clientID string) ([]redact.Secret, error) {
	if !id.Is(clientID, id.Client) {
		return nil, nil
	}
	k, err := c.clients.Get(ctx, clientID)
	if err == nil && !k.signs() {
		k, err = c.clients.Fresh(ctx, clientID)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	if !k.signs() {
		return nil, nil
	}
	now := c.r.o.Clock.Now()
	var list []redact.Secret
	for _, s := range k.labelled {
		if len(s.box) == 0 || s.ended(now) {
			continue
		}
		secret, err := c.r.keyring.Open(seal.Data, secretPlace(s.id), s.box)
		if err != nil {
			return nil, fmt.Errorf("open a secret of client %s: %w", clientID, err)
		}
		list = append(list, secret)
	}
	return list, nil
}

// signs tells whether the client has secrets that it signs with.
func (k knownClient) signs() bool {
	return k.client.Enabled && k.client.Metadata.AuthMethod == AuthClientSecretJWT &&
		slices.ContainsFunc(k.labelled, func(s labelledSecret) bool { return len(s.box) > 0 })
}

func (s labelledSecret) ended(now time.Time) bool {
	return !s.expires.IsZero() && !now.Before(s.expires)
}

// NoteUse remembers that a labelled secret or a key, by our id of it, was used just now. It costs no write.
func (c *Clients) NoteUse(proofID string) { c.proofs.Note(proofID, 0) }

// NoteSecret is NoteUse for a labelled secret by its value.
func (c *Clients) NoteSecret(ctx context.Context, clientID string, secret redact.Secret) {
	k, err := c.clients.Get(ctx, clientID)
	if err != nil {
		return // without the database nothing could be written either
	}
	if version, ok := c.r.secrets.Match(k.accepted, secret); ok && version < 0 {
		c.NoteUse(k.labelled[-1-version].id)
	}
}

// noteProofs stores uses. What was revoked meanwhile has no row, and nothing brings it back.
func noteProofs(ctx context.Context, tx db.WriteTx, uses []identity.TimedUse) error {
	identity.SortUses(uses)
	for _, u := range uses {
		table := secretsTable
		if strings.HasPrefix(u.Owner, id.ClientKey+"_") {
			table = "client_keys"
		}
		at := db.Micros(tx.Now().Add(-max(u.Age, 0)))
		if strings.HasPrefix(u.Owner, id.Client+"_") { // a key that the client keeps elsewhere: it was used, and so it stays
			if _, err := tx.Exec(ctx, `UPDATE clients SET expires = 0 WHERE id = $1 AND expires > 0`, u.Owner); err != nil {
				return fmt.Errorf("note that a client is used: %w", err)
			}
			continue
		}
		if _, err := tx.Exec(ctx, `UPDATE `+table+` SET last_used = $2 WHERE id = $1 AND last_used < $2`, u.Owner, at); err != nil {
			return fmt.Errorf("note uses of a client's secrets and keys: %w", err)
		}
	}
	return nil
}

// CreateSecret makes another secret of the client. It is accepted from the commit on, and shown this once. A zero expires
// is never.
func (r *Registry) CreateSecret(ctx context.Context, tx db.WriteTx, c access.Caller, clientID, label string, expires time.Time) (LabelledSecret, redact.Secret, error) {
	none := func(err error) (LabelledSecret, redact.Secret, error) {
		return LabelledSecret{}, redact.Secret{}, err
	}
	row, err := permitClient(ctx, tx, c, clientID)
	if err != nil {
		return none(err)
	}
	if !row.Confidential {
		return none(fault.New(fault.Conflict, "public_client", "A public client has no secret."))
	}
	if !row.Disabled.IsZero() {
		return none(fault.New(fault.Conflict, "client_disabled", "The client is disabled, and what was made now would be refused."))
	}
	if err := r.checkProof(ctx, tx, secretsTable, clientID, label, expires); err != nil {
		return none(err)
	}
	settings, err := loadSettings(ctx, tx, clientID)
	if err != nil {
		return none(err)
	}
	s, secret, err := r.insertSecret(ctx, tx, c, clientID, label, expires, settings.Metadata.AuthMethod == AuthClientSecretJWT)
	if err != nil {
		return none(err)
	}
	if err := audit.Done(ctx, tx, c, "client_secret.create", "client", clientID, proofDetails(s.ID, label, expires)); err != nil {
		return none(err)
	}
	return s, secret, tx.Changed(ctx, topicClient, clientID)
}

func (r *Registry) insertSecret(ctx context.Context, tx db.WriteTx, c access.Caller, clientID, label string, expires time.Time, sealed bool) (LabelledSecret, redact.Secret, error) {
	s := LabelledSecret{ID: id.New(id.ClientSecret, tx.Now()), Label: label, Created: tx.Now(), CreatedBy: c.String(), Expires: expires}
	secret, box := seal.NewSecret(secretPrefix), []byte{}
	if sealed {
		var err error
		if box, err = r.keyring.Seal(seal.Data, secretPlace(s.ID), secret.Bytes()); err != nil {
			return LabelledSecret{}, redact.Secret{}, fmt.Errorf("seal a secret of a client: %w", err)
		}
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO client_shared_secrets (id, client_id, label, mac, box, created, created_by, expires, last_used)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)`, s.ID, clientID, label, r.keyring.MAC(secretKind, secret), box, db.Micros(s.Created), s.CreatedBy, db.Micros(expires))); err != nil {
		return LabelledSecret{}, redact.Secret{}, fmt.Errorf("store a secret of a client: %w", err)
	}
	return s, secret, nil
}

func proofDetails(proofID, label string, expires time.Time) map[string]any {
	d := map[string]any{"id": proofID, "label": label}
	if !expires.IsZero() {
		d["expires"] = expires.UTC().Format(time.RFC3339)
	}
	return d
}

// checkProof refuses a label or an end that cannot be meant, and one more than a client has.
func (r *Registry) checkProof(ctx context.Context, tx db.ReadTx, table, clientID, label string, expires time.Time) error {
	if err := route.CheckLine("body.label", label, 1, maxLine); err != nil {
		return err
	}
	if hidesText(label) {
		return fault.InvalidAt("body.label", "bad_text", "A label is visible text.")
	}
	if now := r.o.Clock.Now(); !expires.IsZero() && (!expires.After(now) || expires.After(now.Add(maxProofLife))) {
		return fault.InvalidAt("body.expires", "bad_time", "It must end in the future, and within ten years.")
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM `+table+` WHERE client_id = $1`, clientID).Scan(&n); err != nil {
		return fmt.Errorf("count what a client proves itself with: %w", err)
	}
	if n >= maxProofs {
		return fault.New(fault.Conflict, "too_many", "The client has %d of these, which is the most: remove one first.", n)
	}
	return nil
}

// Secrets lists the labelled secrets of the client, oldest first, with those that have expired.
func (r *Registry) Secrets(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string) ([]LabelledSecret, error) {
	if _, err := permitClient(ctx, tx, c, clientID); err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `SELECT id, label, created, created_by, expires, last_used FROM client_shared_secrets WHERE client_id = $1 ORDER BY id LIMIT $2`, clientID, maxProofs)
	if err != nil {
		return nil, fmt.Errorf("list the secrets of a client: %w", err)
	}
	defer rows.Close()
	list := []LabelledSecret{}
	for rows.Next() {
		var s LabelledSecret
		var created, expires, used int64
		if err := rows.Scan(&s.ID, &s.Label, &created, &s.CreatedBy, &expires, &used); err != nil {
			return nil, fmt.Errorf("list the secrets of a client: %w", err)
		}
		s.Created, s.Expires, s.LastUsed = db.Time(created), db.Time(expires), db.Time(used)
		list = append(list, s)
	}
	return list, rows.Err()
}

// DeleteSecret revokes a labelled secret: it is refused from the commit on, here at once and on every node within a second.
func (r *Registry) DeleteSecret(ctx context.Context, tx db.WriteTx, c access.Caller, clientID, secretID string) error {
	return r.deleteProof(ctx, tx, c, secretsTable, "client_secret.revoke", clientID, secretID)
}

func (r *Registry) deleteProof(ctx context.Context, tx db.WriteTx, c access.Caller, table, action, clientID, proofID string) error {
	if _, err := permitClient(ctx, tx, c, clientID); err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE id = $1 AND client_id = $2`, proofID, clientID)
	if err != nil {
		return fmt.Errorf("remove what a client proves itself with: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "not_found", "The client has none of this id.")
	}
	if err := audit.Done(ctx, tx, c, action, "client", clientID, map[string]any{"id": proofID}); err != nil {
		return err
	}
	return tx.Changed(ctx, topicClient, clientID)
}

// dropProofs takes from a client all that it proves itself with, apart from the versions that rotate.
func dropProofs(ctx context.Context, tx db.WriteTx, clientID string) error {
	for _, table := range []string{secretsTable, "client_keys"} {
		if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE client_id = $1`, clientID); err != nil {
			return fmt.Errorf("drop what a client proves itself with: %w", err)
		}
	}
	return nil
}

// dropBoxes erases the sealed secrets of a client that does not sign with them any more.
func dropBoxes(ctx context.Context, tx db.WriteTx, clientID string) error {
	if _, err := tx.Exec(ctx, `UPDATE client_shared_secrets SET box = $2 WHERE client_id = $1`, clientID, []byte{}); err != nil {
		return fmt.Errorf("erase the sealed secrets of a client: %w", err)
	}
	return nil
}
