package s3api

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Topics of the change feed.
const (
	keyTopic    = "s3_key"
	bucketTopic = "s3_bucket"
)

// Bucket is a bucket's record.
type Bucket struct {
	Name      string
	Team      string // owns it; never changes
	Created   time.Time
	CreatedBy string
}

const bucketColumns = `name, team, created, created_by`

func scanBucket(row db.Row) (b Bucket, err error) {
	var created int64
	if err := row.Scan(&b.Name, &b.Team, &created, &b.CreatedBy); err != nil {
		return Bucket{}, err
	}
	b.Created = db.Time(created)
	return b, nil
}

// getBucket answers db.ErrNoRows if there is none.
func getBucket(ctx context.Context, tx db.ReadTx, name string) (Bucket, error) {
	b, err := scanBucket(tx.QueryRow(ctx, `SELECT `+bucketColumns+` FROM s3_buckets WHERE name = $1`, name))
	if err != nil {
		return Bucket{}, fmt.Errorf("read a bucket: %w", err)
	}
	return b, nil
}

func insertBucket(ctx context.Context, tx db.WriteTx, b Bucket) error {
	n, err := tx.Exec(ctx, `INSERT INTO s3_buckets (`+bucketColumns+`) VALUES ($1, $2, $3, $4)`, b.Name, b.Team, db.Micros(b.Created), b.CreatedBy)
	if err != nil {
		return fmt.Errorf("insert a bucket: %w", err)
	}
	return one(n, "insert a bucket")
}

// listBuckets answers buckets behind the name, by name.
func listBuckets(ctx context.Context, tx db.ReadTx, after string, limit int) ([]Bucket, error) {
	rows, err := tx.Query(ctx, `SELECT `+bucketColumns+` FROM s3_buckets WHERE name > $1 ORDER BY name LIMIT $2`, after, limit)
	return collect(rows, err, "list buckets", scanBucket)
}

func collect[T any](rows *sql.Rows, err error, what string, scan func(db.Row) (T, error)) (all []T, e error) {
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() {
		if err := rows.Close(); err != nil && e == nil {
			e = fmt.Errorf("%s: %w", what, err)
		}
	}()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return all, nil
}

func one(rows int64, what string) error {
	if rows != 1 {
		return fmt.Errorf("%s: %d rows affected, want 1", what, rows)
	}
	return nil
}

const keyColumns = `id, owner, application, bucket, rules, created, created_by, expires, disabled, last_used`

func scanKey(row db.Row) (Key, error) {
	k, _, err := scanKeyWith(row, false)
	return k, err
}

func scanKeyWith(row db.Row, withBox bool) (k Key, box []byte, err error) {
	var rules string
	var created, expires, disabled, used int64
	dest := []any{&k.ID, &k.Owner, &k.Application, &k.Bucket, &rules, &created, &k.CreatedBy, &expires, &disabled, &used}
	if withBox {
		dest = append(dest, &box)
	}
	if err := row.Scan(dest...); err != nil {
		return Key{}, nil, err
	}
	if err := json.Unmarshal([]byte(rules), &k.Rules); err != nil {
		return Key{}, nil, fmt.Errorf("read the rules of access key %s: %w", k.ID, err)
	}
	k.Created, k.Expires, k.Disabled, k.LastUsed = db.Time(created), db.Time(expires), db.Time(disabled), db.Time(used)
	return k, box, nil
}

// getKey answers a key without its secret; db.ErrNoRows if there is none.
func getKey(ctx context.Context, tx db.ReadTx, id string) (Key, error) {
	k, err := scanKey(tx.QueryRow(ctx, `SELECT `+keyColumns+` FROM s3_keys WHERE id = $1`, id))
	if err != nil {
		return Key{}, fmt.Errorf("read an access key: %w", err)
	}
	return k, nil
}

// openKey answers a key with its secret.
func openKey(ctx context.Context, tx db.ReadTx, keyring *seal.Keyring, id string) (Key, error) {
	k, box, err := scanKeyWith(tx.QueryRow(ctx, `SELECT `+keyColumns+`, secret FROM s3_keys WHERE id = $1`, id), true)
	if err != nil {
		return Key{}, fmt.Errorf("read an access key: %w", err)
	}
	if k.secret, err = keyring.Open(seal.Data, secretPlace(id), box); err != nil {
		return Key{}, fmt.Errorf("open the secret of access key %s: %w", id, err)
	}
	return k, nil
}

func secretPlace(id string) seal.AD { return seal.AD{Table: "s3_keys", Column: "secret", Row: id} }

// insertKey seals the secret and writes the key.
func insertKey(ctx context.Context, tx db.WriteTx, keyring *seal.Keyring, k Key, secret redact.Secret) error {
	box, err := keyring.Seal(seal.Data, secretPlace(k.ID), secret.Bytes())
	if err != nil {
		return fmt.Errorf("seal the secret of an access key: %w", err)
	}
	rules, err := json.Marshal(k.Rules)
	if err != nil {
		return fmt.Errorf("write the rules of an access key: %w", err)
	}
	n, err := tx.Exec(ctx, `INSERT INTO s3_keys (`+keyColumns+`, secret) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		k.ID, k.Owner, k.Application, k.Bucket, string(rules), db.Micros(k.Created), k.CreatedBy, db.Micros(k.Expires), db.Micros(k.Disabled), db.Micros(k.LastUsed), box)
	if err != nil {
		return fmt.Errorf("insert an access key: %w", err)
	}
	if err := one(n, "insert an access key"); err != nil {
		return err
	}
	return tx.Changed(ctx, keyTopic, k.ID)
}

func setRules(ctx context.Context, tx db.WriteTx, id string, rules Rules) error {
	b, err := json.Marshal(rules)
	if err != nil {
		return fmt.Errorf("write the rules of an access key: %w", err)
	}
	n, err := tx.Exec(ctx, `UPDATE s3_keys SET rules = $2 WHERE id = $1 AND disabled = 0`, id, string(b))
	if err != nil {
		return fmt.Errorf("change the rules of an access key: %w", err)
	}
	if err := one(n, "change the rules of an access key"); err != nil {
		return err
	}
	return tx.Changed(ctx, keyTopic, id)
}

// disableKey disables a key that is not disabled yet.
func disableKey(ctx context.Context, tx db.WriteTx, id string) error {
	n, err := tx.Exec(ctx, `UPDATE s3_keys SET disabled = $2 WHERE id = $1 AND disabled = 0`, id, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("disable an access key: %w", err)
	}
	if err := one(n, "disable an access key"); err != nil {
		return err
	}
	return tx.Changed(ctx, keyTopic, id)
}

// keysOf answers the keys of an application, oldest first.
func keysOf(ctx context.Context, tx db.ReadTx, application string) ([]Key, error) {
	rows, err := tx.Query(ctx, `SELECT `+keyColumns+` FROM s3_keys WHERE application = $1 ORDER BY created, id`, application)
	return collect(rows, err, "list access keys", scanKey)
}

// keyOfOwner answers the key in force of an owner who has one at most; db.ErrNoRows if there is none.
func keyOfOwner(ctx context.Context, tx db.ReadTx, owner string) (id string, err error) {
	err = tx.QueryRow(ctx, `SELECT id FROM s3_keys WHERE owner = $1 AND application = '' AND disabled = 0 ORDER BY created, id LIMIT 1`, owner).Scan(&id)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return "", fmt.Errorf("find an access key: %w", err)
	}
	return id, err
}

// noteUse writes when a key was last used. A key that has gone, or was used later by another node, stays as it is.
func noteUse(ctx context.Context, tx db.WriteTx, id string, at time.Time) error {
	n, err := tx.Exec(ctx, `UPDATE s3_keys SET last_used = $2 WHERE id = $1 AND last_used < $2`, id, db.Micros(at))
	if err != nil {
		return fmt.Errorf("note the use of an access key: %w", err)
	}
	if n > 1 {
		return one(n, "note the use of an access key")
	}
	return nil
}
