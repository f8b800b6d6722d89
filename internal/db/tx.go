package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/id"
)

// transaction is one attempt. ReadTx and WriteTx are views of it.
type transaction struct {
	conn   *sql.Conn
	write  bool
	wire   bool // the database is another process: each exchange with it counts
	now    time.Time
	server time.Time // the database's clock itself, which may run back

	wrote   bool     // some statement may have changed something
	last    []record // of AtCommit, where that saves an exchange
	changed []change // for the feed
	hooks   []func()
	failed  error // the first statement that failed: PostgreSQL refuses all that follow, so SQLite must, too
	retry   bool  // a statement failed in a way that running the function again may cure
	over    bool
}

type change struct{ id, topic, item string }

type readTx struct{ t *transaction }

type writeTx struct{ readTx }

func (readTx) sealed() {}

func (x readTx) Now() time.Time { return x.t.now }

func (x readTx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := x.t.usable(query); err != nil {
		return nil, err
	}
	rows, err := x.t.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, x.t.note(err)
	}
	return rows, nil
}

func (x readTx) QueryRow(ctx context.Context, query string, args ...any) Row {
	if err := x.t.usable(query); err != nil {
		return row{err: err}
	}
	return row{t: x.t, row: x.t.conn.QueryRowContext(ctx, query, args...)}
}

func (x writeTx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := x.t.usable(query); err != nil {
		return 0, err
	}
	result, err := x.t.conn.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, x.t.note(err)
	}
	n, err := result.RowsAffected()
	return n, x.t.note(err)
}

func (x writeTx) AtCommit(ctx context.Context, query string, args ...any) error {
	if !x.t.wire {
		_, err := x.Exec(ctx, query, args...)
		return err
	}
	if err := x.t.usable(query); err != nil {
		return err
	}
	x.t.last = append(x.t.last, record{query, args})
	return nil
}

func (x writeTx) Changed(_ context.Context, topic, key string) error {
	if err := x.t.usable(""); err != nil {
		return err
	}
	for _, c := range x.t.changed {
		if c.topic == topic && c.item == key {
			return nil
		}
	}
	x.t.wrote = true
	x.t.changed = append(x.t.changed, change{id.New(id.Change, x.t.now), topic, key})
	return nil
}

func (x writeTx) AfterCommit(f func()) { x.t.hooks = append(x.t.hooks, f) }

// usable tells whether the transaction takes another statement, and notes whether that statement may write.
func (t *transaction) usable(query string) error {
	switch {
	case t.over:
		return ErrDone
	case t.failed != nil:
		return fmt.Errorf("db: an earlier statement of the transaction failed: %w", t.failed)
	}
	t.wrote = t.wrote || !isSelect(query)
	return nil
}

// isSelect is true for what certainly does not write. "WITH" may.
func isSelect(query string) bool {
	query = strings.TrimLeft(query, " \t\r\n")
	return query == "" || len(query) >= 6 && strings.EqualFold(query[:6], "select")
}

// note translates an error and remembers that the transaction is lost. No row, and a caller who gave up, lose nothing by
// themselves.
func (t *transaction) note(err error) error {
	if err == nil || errors.Is(err, ErrNoRows) {
		return err
	}
	switch classify(err) {
	case again, broken:
		t.retry = true
	}
	err = translate(err)
	if t.failed == nil {
		t.failed = err
	}
	return err
}

type row struct {
	t   *transaction
	row *sql.Row
	err error
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.t.note(r.row.Scan(dest...))
}

// records are what was left for the commit, and the rows that prove it and tell the other nodes.
func (t *transaction) records(mark string) []record {
	if !t.wrote {
		return nil
	}
	at := Micros(t.now)
	rows := slices.Grow(t.last, 1+len(t.changed))
	for _, c := range t.changed {
		rows = append(rows, record{"INSERT INTO changes (id, at, topic, item) VALUES ($1, $2, $3, $4)", []any{c.id, at, c.topic, c.item}})
	}
	return append(rows, record{"INSERT INTO tx_marks (id, at, fence) VALUES ($1, $2, FALSE)", []any{mark, at}})
}
