package rotation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// errStale tells that what a step was decided on is no longer so: look again. Nothing was changed.
var errStale = errors.New("rotation: the credential has changed")

// errRows tells that a statement touched another number of rows than it must. It is a bug or a broken database.
var errRows = errors.New("rotation: unexpected number of rows")

// expect is for statements that must touch exactly one row.
func expect(n int64, err error) error {
	if err == nil && n != 1 {
		return fmt.Errorf("%w: %d", errRows, n)
	}
	return err
}

// load reads a credential; nil when there is none.
func load(ctx context.Context, tx db.ReadTx, app, kind string) (*credential, error) {
	c := &credential{app: app, kind: kind}
	var activated, asked, since int64
	err := tx.QueryRow(ctx, `SELECT epoch, live, last_version, activated_at, asked_at, asked_by, asked_for, problem, problem_since, failures
		FROM rotation_credentials WHERE application = $1 AND kind = $2`, app, kind).
		Scan(&c.epoch, &c.live, &c.last, &activated, &asked, &c.asked.by, &c.asked.why, &c.problem, &since, &c.failures)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read credential: %w", err)
	}
	c.activated, c.asked.at, c.since = db.Time(activated), db.Time(asked), db.Time(since)
	if c.versions, err = loadVersions(ctx, tx, app, kind, true); err != nil {
		return nil, err
	}
	c.deliveries, err = loadDeliveries(ctx, tx, app, kind)
	return c, err
}

// loadVersions reads the versions that are accepted, or all that are remembered, ascending.
func loadVersions(ctx context.Context, tx db.ReadTx, app, kind string, accepted bool) ([]version, error) {
	rows, err := tx.Query(ctx, `SELECT version, state, reason, fixed, sealed, prepared_at, activated_at, retiring_at, retired_at, forced
		FROM rotation_versions WHERE application = $1 AND kind = $2 AND (state IN ('prepared', 'active', 'retiring') OR NOT $3) ORDER BY version`, app, kind, accepted)
	if err != nil {
		return nil, fmt.Errorf("read versions: %w", err)
	}
	return collect(rows, func() (v version, err error) {
		var prepared, activated, retiring, retired int64
		err = rows.Scan(&v.number, &v.state, &v.reason, &v.fixed, &v.sealed, &prepared, &activated, &retiring, &retired, &v.forced)
		v.prepared, v.activated, v.retiring, v.retired = db.Time(prepared), db.Time(activated), db.Time(retiring), db.Time(retired)
		return v, err
	})
}

func loadDeliveries(ctx context.Context, tx db.ReadTx, app, kind string) ([]delivery, error) {
	rows, err := tx.Query(ctx, `SELECT store, bucket, version, delivered_at, failures, failing_since, error_code, error, next_try
		FROM rotation_deliveries WHERE application = $1 AND kind = $2 ORDER BY store, bucket`, app, kind)
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	return collect(rows, func() (d delivery, err error) {
		var at, since, next int64
		err = rows.Scan(&d.Store, &d.Bucket, &d.version, &at, &d.failures, &since, &d.code, &d.err, &next)
		d.at, d.since, d.nextTry = db.Time(at), db.Time(since), db.Time(next)
		return d, err
	})
}

func listDestinations(ctx context.Context, tx db.ReadTx, app string) ([]Added, error) {
	rows, err := tx.Query(ctx, `SELECT store, bucket, added_at, added_by FROM rotation_destinations WHERE application = $1 ORDER BY store, bucket`, app)
	if err != nil {
		return nil, fmt.Errorf("read destinations: %w", err)
	}
	return collect(rows, func() (a Added, err error) {
		var at int64
		err = rows.Scan(&a.Store, &a.Bucket, &at, &a.By)
		a.At = db.Time(at)
		return a, err
	})
}

func liveApplications(ctx context.Context, tx db.ReadTx, kind string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT application FROM rotation_credentials WHERE kind = $1 AND live ORDER BY application`, kind)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	return collect(rows, func() (app string, err error) {
		err = rows.Scan(&app)
		return app, err
	})
}

func collect[T any](rows *sql.Rows, scan func() (T, error)) (all []T, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan()
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

func insertDelivery(ctx context.Context, tx db.WriteTx, app, kind string, d Destination) (int64, error) {
	return tx.Exec(ctx, `INSERT INTO rotation_deliveries
		(application, kind, store, bucket, version, delivered_at, failures, failing_since, error_code, error, next_try)
		VALUES ($1, $2, $3, $4, 0, 0, 0, 0, '', '', 0) ON CONFLICT (application, kind, store, bucket) DO NOTHING`, app, kind, d.Store, d.Bucket)
}

// change moves the credential's row from the epoch that was read to the next one: the compare-and-set of every step. It
// writes what c holds, and clears the problem, since a step was taken.
func change(ctx context.Context, tx db.WriteTx, c *credential) error {
	n, err := tx.Exec(ctx, `UPDATE rotation_credentials SET epoch = epoch + 1, last_version = $4, activated_at = $5,
		asked_at = $6, asked_by = $7, asked_for = $8, problem = '', problem_since = 0, failures = 0, updated_at = $9
		WHERE application = $1 AND kind = $2 AND epoch = $3 AND live`,
		c.app, c.kind, c.epoch, c.last, db.Micros(c.activated), db.Micros(c.asked.at), c.asked.by, c.asked.why, db.Micros(tx.Now()))
	if err == nil && n != 1 {
		return errStale
	}
	c.epoch++
	return err
}

// move takes a version from one state to another, and erases its sealed document: only a prepared version has one.
func move(ctx context.Context, tx db.WriteTx, c *credential, number int64, from, to lifecycle.State, forced bool) error {
	if err := lifecycle.Move(from, to); err != nil {
		return err
	}
	now := db.Micros(tx.Now())
	at := map[lifecycle.State][3]int64{lifecycle.Active: {now, 0, 0}, lifecycle.Retiring: {0, now, 0}, lifecycle.Retired: {0, 0, now}}[to]
	n, err := tx.Exec(ctx, `UPDATE rotation_versions SET state = $5, sealed = NULL, activated_at = activated_at + $6,
		retiring_at = retiring_at + $7, retired_at = retired_at + $8, forced = $9
		WHERE application = $1 AND kind = $2 AND version = $3 AND state = $4`,
		c.app, c.kind, number, string(from), string(to), at[0], at[1], at[2], forced)
	if err == nil && n != 1 {
		return errStale
	}
	return err
}

// forget deletes what is remembered of versions long retired. Their verifiers were erased when they retired.
func forget(ctx context.Context, tx db.WriteTx, c *credential) error {
	_, err := tx.Exec(ctx, `DELETE FROM rotation_versions WHERE application = $1 AND kind = $2 AND version <= $3 AND state = 'retired'`,
		c.app, c.kind, c.last-remembered)
	return err
}

// remembered is how many versions of a credential are kept for people to look at.
const remembered = 32
