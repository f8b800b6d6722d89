// Package db is the one door to the database: SQLite in a file, or PostgreSQL, with the same SQL text on both.
//
// What it guards:
//   - A ReadTx cannot write; a WriteTx is serializable on both engines, so a check and the act that follows it cannot be
//     torn apart by another node.
//   - What Write acknowledges is durable. When the connection dies while COMMIT is under way, the outcome is looked up
//     (table tx_marks), never assumed.
//   - Serialization failures are retried here, with jitter; a function given to Write may run several times and must
//     have no effect but through its transaction.
//   - Instants that nodes must agree on are the database's (ReadTx.Now).
//
// Columns are TEXT, BIGINT, BOOLEAN and BYTEA; times are BIGINT microseconds since the Unix epoch, UTC (Micros, Time). Text
// is compared and ordered by its bytes on both engines. An empty BYTEA may be scanned as nil, as NULL is.
package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Engine tells which database it is. Only this package and its tests may care.
type Engine string

// The engines.
const (
	SQLite     Engine = "sqlite"
	PostgreSQL Engine = "postgres"
)

// ErrNoRows is returned by Row.Scan when the query selected nothing.
var ErrNoRows = sql.ErrNoRows

// ErrConflict is in the chain of an error that broke a unique or primary key.
var ErrConflict = errors.New("db: unique key exists")

// ErrReference is in the chain of an error that broke a foreign key.
var ErrReference = errors.New("db: referenced row is missing or in use")

// Row is the answer of QueryRow.
type Row interface {
	Scan(dest ...any) error
}

// ReadTx reads one consistent state of the database. It is used by one goroutine and ends with the function it was
// given to.
type ReadTx interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) Row
	// Now is the database's clock when the transaction began: the same for all statements of the transaction.
	Now() time.Time

	sealed()
}

// WriteTx reads and writes. All of it commits, or none.
type WriteTx interface {
	ReadTx
	// Exec runs a statement and tells how many rows it affected. Every caller checks that number.
	Exec(ctx context.Context, query string, args ...any) (rows int64, err error)
	// AtCommit runs a statement last of all, in the very exchange with the server that commits, which saves one. Nothing of
	// the transaction sees what it did, and nobody is told how many rows it affected: it must be one that fails, rather
	// than affect fewer than it should.
	AtCommit(ctx context.Context, query string, args ...any) error
	// Changed tells every node's caches, at most a second after the commit, that what the topic holds under this key
	// is no longer what they know (see Cache and Feed).
	Changed(ctx context.Context, topic, key string) error
	// AfterCommit runs f on this node once the commit is certain. It is for wake-ups and counters; it must not block.
	AfterCommit(f func())
}

// One turns the answer of Exec into an error unless exactly one row was affected.
func One(rows int64, err error) error {
	if err == nil && rows != 1 {
		return fmt.Errorf("%d rows affected, not 1", rows)
	}
	return err
}

// Texts reads a list of one text column.
func Texts(ctx context.Context, tx ReadTx, query string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read a list: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, fmt.Errorf("read a list: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// Micros is the stored form of a time; the zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time is the time of a stored form; 0 is the zero time.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
