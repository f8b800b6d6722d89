package keys

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Info is what may be told about a key: everything but its private half.
type Info struct {
	Kid        string
	Alg        Alg
	State      lifecycle.State
	Created    time.Time // published from here on
	ActivateAt time.Time // not active before
	Activated  time.Time
	Retiring   time.Time
	RetireAt   time.Time // published until here
	Retired    time.Time
	Revoked    bool
}

// row is a stored key.
type row struct {
	Info
	public []byte
	box    []byte
}

const columns = `kid, alg, state, public_key, private_box, created, activate_at, activated, retiring, retire_at, retired, revoked`

func scanRow(s interface{ Scan(...any) error }) (r row, err error) {
	var created, activateAt, activated, retiring, retireAt, retired int64
	err = s.Scan(&r.Kid, &r.Alg, &r.State, &r.public, &r.box, &created, &activateAt, &activated, &retiring, &retireAt, &retired, &r.Revoked)
	r.Created, r.ActivateAt, r.Activated = db.Time(created), db.Time(activateAt), db.Time(activated)
	r.Retiring, r.RetireAt, r.Retired = db.Time(retiring), db.Time(retireAt), db.Time(retired)
	return r, err
}

// published reads the keys that a key set shows, oldest first.
func published(ctx context.Context, tx db.ReadTx) ([]row, error) {
	return selectRows(ctx, tx, `SELECT `+columns+` FROM signing_keys WHERE state <> $1 AND state <> $2 ORDER BY created, kid`,
		lifecycle.Retired, lifecycle.Destroyed)
}

func selectRows(ctx context.Context, tx db.ReadTx, query string, args ...any) ([]row, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	defer rows.Close()
	var list []row
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return nil, fmt.Errorf("read signing key: %w", err)
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return list, nil
}

func loadRow(ctx context.Context, tx db.ReadTx, kid string) (row, error) {
	r, err := scanRow(tx.QueryRow(ctx, `SELECT `+columns+` FROM signing_keys WHERE kid = $1`, kid))
	if errors.Is(err, db.ErrNoRows) {
		return row{}, fault.New(fault.NotFound, "key_not_found", "There is no such signing key.")
	}
	if err != nil {
		return row{}, fmt.Errorf("read signing key: %w", err)
	}
	return r, nil
}

func privateAD(kid string) seal.AD {
	return seal.AD{Table: "signing_keys", Column: "private_box", Row: kid, Version: 1}
}

// insert stores a key pair of the forge in state prepared.
func (r *Ring) insert(ctx context.Context, tx db.WriteTx, f *forge, alg Alg, activateAt time.Time) (Info, error) {
	key, err := f.take(alg)
	if err != nil {
		return Info{}, err
	}
	pub, _, err := public(alg, key.Public())
	if err != nil {
		return Info{}, err
	}
	der, err := marshalPublic(key.Public())
	if err != nil {
		return Info{}, fmt.Errorf("encode public key: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Info{}, errors.New("encode private key")
	}
	secret := redact.FromBytes(private)
	defer secret.Erase()
	box, err := r.keyring.Seal(seal.Sign, privateAD(pub.Kid), secret.Bytes())
	if err != nil {
		return Info{}, fmt.Errorf("seal private key: %w", err)
	}
	info := Info{Kid: pub.Kid, Alg: alg, State: lifecycle.Prepared, Created: tx.Now(), ActivateAt: activateAt}
	n, err := tx.Exec(ctx, `INSERT INTO signing_keys (kid, alg, state, public_key, private_box, created, activate_at, activated, retiring, retire_at, retired, revoked)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, $8)`,
		info.Kid, info.Alg, info.State, der, box, db.Micros(info.Created), db.Micros(activateAt), false)
	if err := db.One(n, err); err != nil {
		return Info{}, fmt.Errorf("store signing key: %w", err)
	}
	return info, tx.Changed(ctx, Topic, info.Kid)
}

// move takes a key from one state to another, if it still is in the first, and sets one instant and what else changes.
func move(ctx context.Context, tx db.WriteTx, k *Info, to lifecycle.State, set string, args ...any) error {
	if err := lifecycle.Move(k.State, to); err != nil {
		return err
	}
	args = append([]any{k.Kid, k.State, to}, args...)
	if err := db.One(tx.Exec(ctx, `UPDATE signing_keys SET state = $3, `+set+` WHERE kid = $1 AND state = $2`, args...)); err != nil {
		return fmt.Errorf("move key to %s: %w", to, err)
	}
	k.State = to
	return tx.Changed(ctx, Topic, k.Kid)
}

// virgin tells whether no key was ever made before the instant: nobody can have kept a key set of then.
func virgin(ctx context.Context, tx db.ReadTx, before time.Time) (bool, error) {
	var older int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM signing_keys WHERE created < $1`, db.Micros(before)).Scan(&older); err != nil {
		return false, fmt.Errorf("look for older signing keys: %w", err)
	}
	return older == 0, nil
}

func activate(ctx context.Context, tx db.WriteTx, k *Info) error {
	k.Activated = tx.Now()
	return move(ctx, tx, k, lifecycle.Active, `activated = $4`, db.Micros(k.Activated))
}

func retire(ctx context.Context, tx db.WriteTx, k *Info, revoked bool) error {
	k.Retired, k.Revoked = tx.Now(), revoked
	return move(ctx, tx, k, lifecycle.Retired, `retired = $4, revoked = $5, private_box = $6`, db.Micros(k.Retired), revoked, []byte{})
}
