package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// sqliteBackend is a file with one writer and several readers. WAL lets them work side by side; synchronous=FULL makes
// each commit durable; the pragmas are in the DSN because only there they reach every connection of a pool.
type sqliteBackend struct {
	writer *sql.DB // one connection, BEGIN IMMEDIATE: writers queue in Go, not in SQLite's busy handler
	reader *sql.DB // query_only
	loader *sql.DB // query_only
}

func openSQLite(path string, maxConns int) (*sqliteBackend, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("db: resolve %s: %w", path, err)
	}
	if err := ownerOnly(path); err != nil {
		return nil, err
	}
	writer, err := sql.Open(keepingDriver, sqliteDSN(path, false))
	if err != nil {
		return nil, fmt.Errorf("db: open %s: %w", path, err)
	}
	writer.SetMaxOpenConns(1)
	reader, err := sql.Open(keepingDriver, sqliteDSN(path, true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("db: open %s: %w", path, err), writer.Close())
	}
	if maxConns <= 0 {
		maxConns = max(4, 2*runtime.GOMAXPROCS(0))
	}
	reader.SetMaxOpenConns(maxConns)
	reader.SetMaxIdleConns(maxConns)
	loader, err := sql.Open(keepingDriver, sqliteDSN(path, true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("db: open %s: %w", path, err), writer.Close(), reader.Close())
	}
	loader.SetMaxOpenConns(loadsAtOnce)
	loader.SetMaxIdleConns(loadsAtOnce)
	return &sqliteBackend{writer: writer, reader: reader, loader: loader}, nil
}

// ownerOnly makes sure that the file exists and that nobody else can read it, before SQLite opens it: the journal files
// take their mode from it. The directory must exist; making it could put secrets where nobody meant them to be.
func ownerOnly(path string) error {
	if _, err := os.Stat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("db: directory %s does not exist", filepath.Dir(path))
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("db: open %s: %w", path, err)
	}
	defer f.Close()
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("db: open directory of %s: %w", path, err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil { // so that a crash cannot take the new file away with all that was committed to it
		return fmt.Errorf("db: sync directory of %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("db: stat %s: %w", path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return fmt.Errorf("db: make %s private: %w", path, err)
		}
	}
	return nil
}

func sqliteDSN(path string, readOnly bool) string {
	q := url.Values{"_pragma": {
		"busy_timeout(5000)", // first: the others may have to wait for another process
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"foreign_keys(ON)",
		"temp_store(MEMORY)", // no copies of rows in files that nobody guards
		"cache_size(-8000)",
		"journal_size_limit(67108864)", // a journal that a long read made grow shrinks again
		"secure_delete(ON)",            // what is deleted is gone from the file, too
	}}
	if readOnly {
		q.Add("_pragma", "query_only(ON)")
	} else {
		q.Set("_txlock", "immediate") // for goose; our own transactions say it themselves
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

func (b *sqliteBackend) conn(ctx context.Context, l lane) (*sql.Conn, error) {
	switch l {
	case writing:
		return b.writer.Conn(ctx)
	case loading:
		return b.loader.Conn(ctx)
	default:
		return b.reader.Conn(ctx)
	}
}

func (b *sqliteBackend) lost(*sql.Conn) bool { return false } // there is no wire to lose

func (b *sqliteBackend) begin(ctx context.Context, conn *sql.Conn, l lane, first *Opening) (now time.Time, opened, err error) {
	statement := "BEGIN"
	if l == writing {
		statement = "BEGIN IMMEDIATE"
	}
	if _, err := conn.ExecContext(ctx, statement); err != nil || first == nil {
		return time.Time{}, nil, err
	}
	rows, opened := conn.QueryContext(ctx, first.Query, first.Args...)
	if opened != nil {
		return time.Time{}, opened, nil
	}
	defer rows.Close()
	return time.Time{}, first.read(rows), nil
}

func (b *sqliteBackend) commit(ctx context.Context, conn *sql.Conn, rows []record) error {
	for _, r := range rows {
		if _, err := conn.ExecContext(ctx, r.query, r.args...); err != nil {
			return err
		}
	}
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err
}

func (b *sqliteBackend) watch(*sql.Conn, time.Duration) (stop func()) { return func() {} }

func (b *sqliteBackend) fresh(ctx context.Context) (*sql.Conn, func() error, error) {
	conn, err := b.writer.Conn(ctx)
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.Close, nil
}

func (b *sqliteBackend) migrator() (*sql.DB, func() error, error) {
	return b.writer, func() error { return nil }, nil
}

// collate has nothing to do: bytes are SQLite's order.
func (b *sqliteBackend) collate(context.Context, *sql.DB) error { return nil }

func (b *sqliteBackend) ping(ctx context.Context) error { return b.reader.PingContext(ctx) }

func (b *sqliteBackend) close() error {
	return errors.Join(b.loader.Close(), b.reader.Close(), b.writer.Close())
}

// sqlitePath takes the path out of "sqlite:/path" or "sqlite:///path".
func sqlitePath(rest string) (string, error) {
	rest = strings.TrimPrefix(rest, "//")
	if rest == "" || strings.ContainsAny(rest, "?#\x00") || strings.HasPrefix(rest, ":memory:") {
		return "", errors.New(`db: a SQLite database is "sqlite:/path/to/file"`)
	}
	return rest, nil
}
