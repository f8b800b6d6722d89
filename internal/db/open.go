package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

// Options say which database to open. The zero value of each field but URL is ready to use.
type Options struct {
	// URL is "sqlite:/path/mintmark.db" (the directory must exist, the file is made with mode 0600) or
	// "postgres://user:password@host/database". Connection parameters of PostgreSQL such as statement_timeout (2s),
	// lock_timeout (500ms) and idle_in_transaction_session_timeout (5s) may be set in the URL.
	URL string
	// Clock is the database's clock on SQLite. On PostgreSQL the server's clock counts, unless this is another one than
	// clock.System: then it stands in for the server's, which is for tests.
	Clock clock.Clock
	// Logger hears of what retries and reconnections cover up. Default: nobody.
	Logger *slog.Logger
	// MaxConns bounds the connections to PostgreSQL (default 16, at least 4): half of them write, a quarter reads, and a
	// quarter loads caches and follows changes. One more listens. For SQLite it is the number of readers (default twice
	// the cores); there is one writer.
	MaxConns int
	// Expired hears how many rows RemoveExpired has removed from a table. Default: nobody.
	Expired func(table string, rows int64)
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	engine  Engine
	backend backend
	clock   clock.Clock
	log     *slog.Logger

	limit   time.Duration // of one transaction with all its attempts
	last    atomic.Int64  // micros of the latest Now that a transaction was given: Now never runs back
	expired func(table string, rows int64)
	writing atomic.Uint64 // goroutine that holds SQLite's only writer, 0 for none

	feed feed
}

// backend is what differs between the engines.
type backend interface {
	// conn takes a connection for one transaction out of the lane's pool.
	conn(ctx context.Context, l lane) (*sql.Conn, error)
	// begin starts the transaction, tells the server's time, or the zero time if the engine has no clock, and asks the
	// opening question, if there is one. opened is the failure of that alone: the transaction has begun.
	begin(ctx context.Context, conn *sql.Conn, l lane, first *Opening) (now time.Time, opened, err error)
	// commit runs the records' statements and commits.
	commit(ctx context.Context, conn *sql.Conn, rows []record) error
	// watch ends a transaction that outlives the limit.
	watch(conn *sql.Conn, limit time.Duration) (stop func())
	// lost tells whether the connection is gone.
	lost(conn *sql.Conn) bool
	// fresh makes a connection that owes nothing to earlier ones, and the function that ends it.
	fresh(ctx context.Context) (*sql.Conn, func() error, error)
	// migrator gives a pool that may run for minutes, and the function that ends it.
	migrator() (*sql.DB, func() error, error)
	// collate makes text be ordered and compared by its bytes in all tables, as it is in Go.
	collate(ctx context.Context, pool *sql.DB) error
	ping(ctx context.Context) error
	close() error
}

// lane is what a transaction is for. Each lane has connections of its own, because they nest: inside a Write somebody may
// Read, and inside either a cache may have to load. With one pool, enough of the outer kind would wait for each other.
type lane int

const (
	reading lane = iota
	writing
	loading // caches and the feed: nothing nests in them
)

// record is a statement that belongs to the commit.
type record struct {
	query string
	args  []any
}

// Open opens the database. It does not connect to a PostgreSQL server yet (see Ping) and makes no tables (see Migrate).
func Open(_ context.Context, o Options) (*DB, error) {
	d := &DB{clock: o.Clock, log: o.Logger, limit: defaultLimit, feed: newFeed(), expired: o.Expired}
	if d.clock == nil {
		d.clock = clock.System
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if d.expired == nil {
		d.expired = func(string, int64) {}
	}
	scheme, rest, _ := strings.Cut(o.URL, ":")
	switch scheme {
	case "sqlite":
		path, err := sqlitePath(rest)
		if err != nil {
			return nil, err
		}
		b, err := openSQLite(path, o.MaxConns)
		if err != nil {
			return nil, err
		}
		d.engine, d.backend = SQLite, b
	case "postgres", "postgresql":
		b, err := openPostgres(o.URL, o.MaxConns)
		if err != nil {
			return nil, err
		}
		d.engine, d.backend = PostgreSQL, b
	default:
		return nil, errors.New(`db: a database URL begins with "sqlite:" or "postgres:"`) // it may hold a password
	}
	return d, nil
}

// Engine tells which database it is.
func (d *DB) Engine() Engine { return d.engine }

// Ping asks the database for an answer. The error is a fault of kind Unavailable if there is none.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.backend.ping(ctx); err != nil {
		return fmt.Errorf("ping database: %w", translate(err))
	}
	return nil
}

// Close ends all connections. Stop what uses the database first.
func (d *DB) Close() error {
	if err := d.backend.close(); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// serverTime is the database's clock: what the server said, unless the engine has no clock or a test has its own.
func (d *DB) serverTime(said time.Time) time.Time {
	if said.IsZero() || d.clock != clock.System {
		return d.clock.Now()
	}
	return said
}

// now makes the database's clock run only forwards in this process.
func (d *DB) now(server time.Time) time.Time {
	micros := server.UnixMicro()
	for {
		last := d.last.Load()
		if micros <= last {
			return time.UnixMicro(last).UTC()
		}
		if d.last.CompareAndSwap(last, micros) {
			return time.UnixMicro(micros).UTC()
		}
	}
}
