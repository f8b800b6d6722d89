package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/mintmark/mintmark/internal/fault"
)

// ErrSchema is in the chain of an error that says that the database belongs to a newer (or an unknown) version of the
// program. Nothing was written. The program ends with exit code 78.
var ErrSchema = errors.New("db: schema is not this program's")

// ErrUnknownOutcome is in the chain of an error of Write when the connection was lost during COMMIT and the database
// could not be asked any more whether the transaction is in it. It may be.
var ErrUnknownOutcome = errors.New("db: outcome of the commit is unknown")

// ErrReadOnly is in the chain of an error of a statement that tried to write in a ReadTx.
var ErrReadOnly = errors.New("db: transaction is read-only")

// ErrNested is returned by a Write that was called inside the function of another Write: on SQLite it would wait for
// itself, on PostgreSQL it would commit apart from the outer one.
var ErrNested = errors.New("db: write inside a write")

// ErrDone is returned by a transaction that is used after its function returned.
var ErrDone = errors.New("db: transaction is over")

// class is what an error of a driver means to the code that runs transactions.
type class int

const (
	other        class = iota // the statement is wrong, or the caller gave up
	conflict                  // a unique key exists
	reference                 // a foreign key points nowhere, or is in use
	readOnly                  // a write in a read-only transaction
	again                     // certainly not committed, and it may work when it is run again
	broken                    // the connection is gone; a COMMIT under way may have happened
	disconnected              // no connection could be made
)

// classify is the one place that knows the codes of both drivers.
func classify(err error) class {
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) {
		return classifyPostgres(pg)
	}
	if lite := (*sqlite.Error)(nil); errors.As(err, &lite) {
		return classifySQLite(lite)
	}
	if refused := (*pgconn.ConnectError)(nil); errors.As(err, &refused) {
		return disconnected
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return other
	}
	if pgconn.SafeToRetry(err) {
		return again // nothing of it was sent
	}
	var network net.Error
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &network) ||
		strings.Contains(err.Error(), "conn closed") { // pgx has no exported error for a connection it closed itself
		return broken
	}
	return other
}

func classifyPostgres(err *pgconn.PgError) class {
	switch err.Code {
	case "23505":
		return conflict
	case "23503", "23001":
		return reference
	case "25006":
		return readOnly
	case "40001", "40P01", "55P03": // serialization failure, deadlock, lock timeout
		return again
	case "0A000":
		if strings.Contains(err.Message, "cached plan") { // a migration changed the table; pgx forgets the plan
			return again
		}
	case "40003": // statement completion unknown
		return broken
	case "53300", "57P03": // too many connections, starting up
		return disconnected
	}
	if strings.HasPrefix(err.Code, "08") || strings.HasPrefix(err.Code, "57P") || err.Code == "25P03" {
		return broken // shut down, killed, or idle for too long
	}
	return other
}

func classifySQLite(err *sqlite.Error) class {
	switch code := err.Code(); code {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return conflict
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, sqlite3.SQLITE_CONSTRAINT_TRIGGER: // RESTRICT raises; we have no triggers
		return reference
	default:
		switch code & 0xff {
		case sqlite3.SQLITE_READONLY:
			return readOnly
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return again
		case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL:
			return broken
		case sqlite3.SQLITE_CANTOPEN:
			return disconnected
		}
	}
	return other
}

// translate gives an error of a driver its sentinel or its kind. What it has translated once passes unchanged.
func translate(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{ErrNoRows, ErrConflict, ErrReference, ErrReadOnly, ErrUnknownOutcome, ErrNested, ErrDone, ErrSchema} {
		if errors.Is(err, known) {
			return err
		}
	}
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		return err
	}
	switch classify(err) {
	case conflict:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case reference:
		return fmt.Errorf("%w: %w", ErrReference, err)
	case readOnly:
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case broken, disconnected:
		return unavailable(err)
	case again:
		return busy(err)
	}
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "57014" && !ended(err) {
		return busy(err) // the statement took longer than statement_timeout
	}
	return err
}

// refused is true if the server itself answered that it did not commit, and lives. FATAL and PANIC say nothing about that.
func refused(err error) bool {
	pg := (*pgconn.PgError)(nil)
	return errors.Is(err, pgx.ErrTxCommitRollback) || errors.As(err, &pg) && pg.Severity == "ERROR"
}

// fromDriver tells whether a driver made the error, by its type.
func fromDriver(err error) bool {
	pg, lite, connect := (*pgconn.PgError)(nil), (*sqlite.Error)(nil), (*pgconn.ConnectError)(nil)
	return errors.As(err, &pg) || errors.As(err, &lite) || errors.As(err, &connect)
}

func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func unavailable(err error) error {
	return fault.Wrap(err, fault.Unavailable, "database_unavailable", "The database cannot be reached just now.").Retry(time.Second)
}

func busy(err error) error {
	return fault.Wrap(err, fault.Unavailable, "database_busy", "The database is too busy just now.").Retry(time.Second)
}
