package identity

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Versions are the versions of one kind of generated secret: an HMAC for each, its state, and when it was last used.
// Service passwords and OAuth client secrets are both kept so, in tables of the same shape.
//
// Several versions are accepted at once; that is what makes a rotation seamless. A retired version is refused for good:
// its verifier is erased, and no step leads back.
type Versions struct {
	keyring *seal.Keyring
	table   string // with the columns of service_passwords; a constant of the program
	owner   string // the column that names the owner; a constant of the program
	kind    string // separates the HMACs of this kind from all others
}

// NewVersions makes the versions kept in a table. The names must be constants.
func NewVersions(keyring *seal.Keyring, table, ownerColumn, kind string) *Versions {
	return &Versions{keyring: keyring, table: table, owner: ownerColumn, kind: kind}
}

// maxAccepted bounds the work of one verification. Rotation stops long before.
const maxAccepted = 8

// Prepare makes the secret of a new version. It is accepted from the commit on. The version must be later than all
// others of the owner.
func (v *Versions) Prepare(ctx context.Context, tx db.WriteTx, owner string, version int64, prefix string) (redact.Secret, error) {
	secret := seal.NewSecret(prefix)
	if err := v.insert(ctx, tx, owner, version, v.keyring.MAC(v.kind, secret)); err != nil {
		return redact.Secret{}, err
	}
	return secret, nil
}

// PrepareEmpty makes a version that has no secret and that nothing matches: the place of one in the order of versions.
func (v *Versions) PrepareEmpty(ctx context.Context, tx db.WriteTx, owner string, version int64) error {
	return v.insert(ctx, tx, owner, version, []byte{})
}

func (v *Versions) insert(ctx context.Context, tx db.WriteTx, owner string, version int64, verifier []byte) error {
	var newest, accepted int64
	err := tx.QueryRow(ctx, `SELECT coalesce(max(version), 0), coalesce(sum(CASE WHEN state IN ($2, $3, $4) THEN 1 ELSE 0 END), 0)
		FROM `+v.table+` WHERE `+v.owner+` = $1`, owner, lifecycle.Prepared, lifecycle.Active, lifecycle.Retiring).Scan(&newest, &accepted)
	if err != nil {
		return fmt.Errorf("look at the versions of a %s: %w", v.kind, err)
	}
	if version <= newest || version < 1 {
		return fault.New(fault.Conflict, "version_exists", "Version %d of the %s is not later than version %d.", version, v.kind, newest)
	}
	if accepted >= maxAccepted {
		return fault.New(fault.Conflict, "too_many_versions", "%d versions of the %s are accepted already.", accepted, v.kind)
	}
	err = db.One(tx.Exec(ctx, `INSERT INTO `+v.table+` (`+v.owner+`, version, state, verifier, prepared, activated, retired, last_used)
		VALUES ($1, $2, $3, $4, $5, 0, 0, 0)`, owner, version, lifecycle.Prepared, verifier, db.Micros(tx.Now())))
	if err != nil {
		return fmt.Errorf("store a %s: %w", v.kind, err)
	}
	// Of what retired long ago nothing is left but a row: no more of them than somebody may want to look at.
	_, err = tx.Exec(ctx, `DELETE FROM `+v.table+` WHERE `+v.owner+` = $1 AND version <= $2 AND state = $3`, owner, version-remembered, lifecycle.Retired)
	if err != nil {
		return fmt.Errorf("forget old versions of a %s: %w", v.kind, err)
	}
	return nil
}

// remembered is how many versions of an owner are kept.
const remembered = 32

// Activate makes the version the one to use; the one before is retiring and accepted still. To activate the active
// version again changes nothing.
func (v *Versions) Activate(ctx context.Context, tx db.WriteTx, owner string, version int64) error {
	state, err := v.state(ctx, tx, owner, version)
	if err != nil || state == lifecycle.Active {
		return err
	}
	if err := lifecycle.Move(state, lifecycle.Active); err != nil {
		return fault.Wrap(err, fault.Conflict, "version_state", "Version %d of the %s is %s.", version, v.kind, state)
	}
	if _, err := tx.Exec(ctx, `UPDATE `+v.table+` SET state = $2 WHERE `+v.owner+` = $1 AND state = $3`, owner, lifecycle.Retiring, lifecycle.Active); err != nil {
		return fmt.Errorf("let the %s before retire: %w", v.kind, err)
	}
	err = db.One(tx.Exec(ctx, `UPDATE `+v.table+` SET state = $3, activated = $4 WHERE `+v.owner+` = $1 AND version = $2 AND state = $5`,
		owner, version, lifecycle.Active, db.Micros(tx.Now()), state))
	if err != nil {
		return fmt.Errorf("activate a %s: %w", v.kind, err)
	}
	return nil
}

// Retire refuses the version from the commit on and erases its verifier. A version that is refused already, or that
// never was, needs nothing.
func (v *Versions) Retire(ctx context.Context, tx db.WriteTx, owner string, version int64) error {
	_, err := tx.Exec(ctx, `UPDATE `+v.table+` SET state = $3, verifier = $4, retired = $5 WHERE `+v.owner+` = $1 AND version = $2 AND state <> $3 AND state <> $6`,
		owner, version, lifecycle.Retired, []byte{}, db.Micros(tx.Now()), lifecycle.Destroyed)
	if err != nil {
		return fmt.Errorf("retire a %s: %w", v.kind, err)
	}
	return nil
}

// RetireAll is Retire for every version of the owner.
func (v *Versions) RetireAll(ctx context.Context, tx db.WriteTx, owner string) error {
	_, err := tx.Exec(ctx, `UPDATE `+v.table+` SET state = $2, verifier = $3, retired = $4 WHERE `+v.owner+` = $1 AND state <> $2 AND state <> $5`,
		owner, lifecycle.Retired, []byte{}, db.Micros(tx.Now()), lifecycle.Destroyed)
	if err != nil {
		return fmt.Errorf("retire each %s: %w", v.kind, err)
	}
	return nil
}

func (v *Versions) state(ctx context.Context, tx db.ReadTx, owner string, version int64) (s lifecycle.State, err error) {
	err = tx.QueryRow(ctx, `SELECT state FROM `+v.table+` WHERE `+v.owner+` = $1 AND version = $2`, owner, version).Scan(&s)
	if errors.Is(err, db.ErrNoRows) {
		return "", fault.New(fault.NotFound, "version_not_found", "There is no version %d of the %s.", version, v.kind)
	}
	if err != nil {
		return "", fmt.Errorf("read a version of a %s: %w", v.kind, err)
	}
	return s, nil
}

// LastUsed tells when each version of the owner was last seen in use; versions that never were are left out. What was
// used during the last second, on any node, may not be in it yet (see Uses).
func (v *Versions) LastUsed(ctx context.Context, tx db.ReadTx, owner string) (map[int64]time.Time, error) {
	rows, err := tx.Query(ctx, `SELECT version, last_used FROM `+v.table+` WHERE `+v.owner+` = $1 AND last_used <> 0`, owner)
	if err != nil {
		return nil, fmt.Errorf("read uses of a %s: %w", v.kind, err)
	}
	defer rows.Close()
	used := map[int64]time.Time{}
	for rows.Next() {
		var version, at int64
		if err := rows.Scan(&version, &at); err != nil {
			return nil, fmt.Errorf("read uses of a %s: %w", v.kind, err)
		}
		used[version] = db.Time(at)
	}
	return used, rows.Err()
}

// Accepts lists the versions of the owner that are accepted, also those without a secret.
func (v *Versions) Accepts(ctx context.Context, tx db.ReadTx, owner string) ([]int64, error) {
	rows, err := tx.Query(ctx, `SELECT version FROM `+v.table+` WHERE `+v.owner+` = $1 AND state IN ($2, $3, $4) ORDER BY version`,
		owner, lifecycle.Prepared, lifecycle.Active, lifecycle.Retiring)
	if err != nil {
		return nil, fmt.Errorf("read accepted versions of a %s: %w", v.kind, err)
	}
	defer rows.Close()
	var list []int64
	for rows.Next() {
		var version int64
		if err := rows.Scan(&version); err != nil {
			return nil, fmt.Errorf("read accepted versions of a %s: %w", v.kind, err)
		}
		list = append(list, version)
	}
	return list, rows.Err()
}

// Accepted is one version that a verifier accepts.
type Accepted struct {
	Version int64
	MAC     []byte
}

// Accepted reads the versions of the owner that are accepted, newest first: it is the one most likely shown.
func (v *Versions) Accepted(ctx context.Context, tx db.ReadTx, owner string) ([]Accepted, error) {
	rows, err := tx.Query(ctx, `SELECT version, verifier FROM `+v.table+` WHERE `+v.owner+` = $1 AND state IN ($2, $3, $4) ORDER BY version DESC LIMIT $5`,
		owner, lifecycle.Prepared, lifecycle.Active, lifecycle.Retiring, maxAccepted)
	if err != nil {
		return nil, fmt.Errorf("read verifiers of a %s: %w", v.kind, err)
	}
	defer rows.Close()
	var list []Accepted
	for rows.Next() {
		var a Accepted
		if err := rows.Scan(&a.Version, &a.MAC); err != nil {
			return nil, fmt.Errorf("read verifiers of a %s: %w", v.kind, err)
		}
		if len(a.MAC) != 0 { // an empty verifier must never be one that something equals
			list = append(list, a)
		}
	}
	return list, rows.Err()
}

// Match finds which of the versions the secret is. Its work is the same whether there is none, no owner at all, or one
// that differs: one HMAC of the secret, and comparisons in constant time. Only verifiers under an older key of the
// keyring cost one HMAC more each.
func (v *Versions) Match(list []Accepted, secret redact.Secret) (version int64, ok bool) {
	const term = 4 // the bytes of a MAC that tell its key
	mac := v.keyring.MAC(v.kind, secret)
	for _, a := range list {
		same := subtle.ConstantTimeCompare(mac, a.MAC) == 1
		if !same && len(a.MAC) == len(mac) && !bytes.Equal(mac[:term], a.MAC[:term]) {
			same = v.keyring.VerifyMAC(v.kind, secret, a.MAC)
		}
		if same && !ok {
			version, ok = a.Version, true
		}
	}
	return version, ok
}

// Use is one version of one owner, seen in use.
type Use struct {
	Owner   string
	Version int64
}

// TimedUse is a use that is about to be stored.
type TimedUse struct {
	Use
	Age time.Duration // how long ago, when the transaction began
}

// SortUses puts uses into the order in which every node writes them, so that two never wait for each other.
func SortUses(uses []TimedUse) {
	slices.SortFunc(uses, func(a, b TimedUse) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Version, b.Version))
	})
}

// note stores uses. A use of a version that has retired meanwhile changes nothing: it proves nothing any more, and must
// not bring the version back. Uses come sorted, so that two nodes lock rows in one order.
func (v *Versions) note(ctx context.Context, tx db.WriteTx, uses []TimedUse) error {
	SortUses(uses)
	for _, u := range uses {
		at := db.Micros(tx.Now().Add(-max(u.Age, 0)))
		if _, err := tx.Exec(ctx, `UPDATE `+v.table+` SET last_used = $3 WHERE `+v.owner+` = $1 AND version = $2 AND last_used < $3 AND state IN ($4, $5, $6)`,
			u.Owner, u.Version, at, lifecycle.Prepared, lifecycle.Active, lifecycle.Retiring); err != nil {
			return fmt.Errorf("note uses of a %s: %w", v.kind, err)
		}
	}
	return nil
}
