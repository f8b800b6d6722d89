package db

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

// Expiry says which rows of a table nobody needs any more: those whose Column, a time, lies further back than Keep.
type Expiry struct {
	Table  string
	Key    string // a column that tells rows apart
	Column string // indexed
	Keep   time.Duration
	And    string // a further condition; "": none
}

// How fast expired rows go. A transaction is to take no longer than one of those that people wait for, and between two of
// them there is more time than they take: a million rows may expire at once, and nobody should notice when they go.
const (
	firstExpired = 100
	mostExpired  = 1000
	longExpiring = 5 * time.Millisecond
	restExpiring = 4 // times as long as the transaction took
)

// RemoveExpired deletes the rows that have expired, in small transactions with rests between, until there are none or ctx
// ends. Any node may run it at any time. removed counts those of each table, also if there is an error.
func (d *DB) RemoveExpired(ctx context.Context, expiries ...Expiry) (removed map[string]int64, err error) {
	removed = map[string]int64{}
	for _, e := range expiries {
		n, err := d.removeExpired(ctx, e)
		if n > 0 {
			removed[e.Table] += n
			d.expired(e.Table, n)
		}
		if err != nil {
			return removed, fmt.Errorf("remove what has expired from %s: %w", e.Table, err)
		}
	}
	return removed, nil
}

func (d *DB) removeExpired(ctx context.Context, e Expiry) (removed int64, err error) {
	condition := e.Column + ` < $1`
	if e.And != "" {
		condition += ` AND ` + e.And
	}
	// Mostly there is nothing, which a reader can see without being in any writer's way.
	var due int64
	err = d.Read(ctx, func(tx ReadTx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM `+e.Table+` WHERE `+condition+` LIMIT 1) AS due`, Micros(tx.Now().Add(-e.Keep))).Scan(&due)
	})
	if err != nil || due == 0 {
		return 0, err
	}
	statement := `DELETE FROM ` + e.Table + ` WHERE ` + e.Key + ` IN (SELECT ` + e.Key + ` FROM ` + e.Table + ` WHERE ` + condition + ` ORDER BY ` + e.Column + ` LIMIT $2)`
	for rows := int64(firstExpired); ; {
		var n int64
		stopwatch := clock.Stopwatch()
		err := d.Write(ctx, func(tx WriteTx) (err error) {
			n, err = tx.Exec(ctx, statement, Micros(tx.Now().Add(-e.Keep)), rows)
			return err
		})
		if err != nil {
			return removed, err
		}
		if removed += n; n < rows {
			return removed, nil
		}
		took := stopwatch()
		if err := rest(ctx, restExpiring*took); err != nil {
			return removed, err
		}
		if took > longExpiring {
			rows = max(rows/2, 10)
		} else {
			rows = min(rows*2, mostExpired)
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
