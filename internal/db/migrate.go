package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/mintmark/mintmark/internal/clock"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Schema compares the database with the program.
type Schema struct {
	Have int64 // newest migration in the database, 0 for none
	Want int64 // newest migration of this program
}

// Ready tells whether the program can work on this database. During an upgrade the older program runs on the newer schema,
// which Migrate of the older program refuses but a running one may meet.
func (s Schema) Ready() bool { return s.Have >= s.Want }

// Schema reads which migrations the database has.
func (d *DB) Schema(ctx context.Context) (Schema, error) {
	pool, release, err := d.backend.migrator()
	if err != nil {
		return Schema{}, fmt.Errorf("connect for schema: %w", translate(err))
	}
	s, err := d.schema(ctx, pool)
	return s, errors.Join(err, release())
}

func (d *DB) schema(ctx context.Context, pool *sql.DB) (s Schema, err error) {
	known, err := ownVersions()
	if err != nil {
		return s, err
	}
	applied, err := (versions{d.engine, d.clock}).list(ctx, pool)
	if err != nil {
		return s, fmt.Errorf("read schema version: %w", translate(err))
	}
	for v := range known {
		s.Want = max(s.Want, v)
	}
	for _, v := range applied {
		s.Have = max(s.Have, v)
		if !known[v] && v != 0 {
			return s, fmt.Errorf("%w: it has migration %d, this program knows up to %d; start the newer program", ErrSchema, v, s.Want)
		}
	}
	return s, nil
}

// Migrate brings the schema to this program's version. Several nodes may do it at once: a migration and its version row
// commit together, the version is a primary key, so of two that run the same one commits and the other starts over and
// finds it done. A database of a newer program is refused (ErrSchema) before anything is written.
func (d *DB) Migrate(ctx context.Context) error {
	pool, release, err := d.backend.migrator()
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", translate(err))
	}
	return errors.Join(d.migrate(ctx, pool), release())
}

func (d *DB) migrate(ctx context.Context, pool *sql.DB) error {
	files, err := fs.Sub(embedded, "migrations")
	if err != nil {
		return fmt.Errorf("open embedded migrations: %w", err)
	}
	var last error
	for have := int64(-1); ; {
		s, err := d.schema(ctx, pool)
		if err != nil {
			return err
		}
		if s.Have == s.Want {
			return nil
		}
		if last != nil && s.Have == have {
			return fmt.Errorf("migrate from version %d: %w", have, last) // nobody got further: it is not a race
		}
		have = s.Have
		provider, err := goose.NewProvider(goose.DialectCustom, pool, files,
			goose.WithStore(versions{d.engine, d.clock}), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
		if err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
		_, last = provider.Up(ctx)
	}
}

// ownVersions are the numbers of the embedded migrations.
func ownVersions() (map[int64]bool, error) {
	entries, err := fs.ReadDir(embedded, "migrations")
	if err != nil {
		return nil, fmt.Errorf("list embedded migrations: %w", err)
	}
	known := map[int64]bool{}
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v < 1 || known[v] {
			return nil, fmt.Errorf("migration %s: bad or repeated number", e.Name())
		}
		known[v] = true
	}
	return known, nil
}

// versions keeps the list of applied migrations. Unlike goose's own table it has a primary key, which is what makes two
// nodes that migrate at once safe without a lock.
type versions struct {
	engine Engine
	clock  clock.Clock
}

var _ database.StoreExtender = versions{}

func (versions) Tablename() string { return "schema_versions" }

func (v versions) TableExists(ctx context.Context, c database.DBTxConn) (exists bool, err error) {
	query := "SELECT to_regclass('schema_versions') IS NOT NULL"
	if v.engine == SQLite {
		query = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_versions')"
	}
	err = c.QueryRowContext(ctx, query).Scan(&exists)
	return exists, err
}

func (versions) CreateVersionTable(ctx context.Context, c database.DBTxConn) error {
	_, err := c.ExecContext(ctx, "CREATE TABLE schema_versions (version BIGINT PRIMARY KEY, at BIGINT NOT NULL)")
	return err
}

func (v versions) Insert(ctx context.Context, c database.DBTxConn, req database.InsertRequest) error {
	_, err := c.ExecContext(ctx, "INSERT INTO schema_versions (version, at) VALUES ($1, $2)", req.Version, Micros(v.clock.Now()))
	return err
}

func (versions) Delete(context.Context, database.DBTxConn, int64) error {
	return database.ErrNotImplemented // migrations go forward
}

func (versions) GetMigration(ctx context.Context, c database.DBTxConn, version int64) (*database.GetMigrationResult, error) {
	var at int64
	err := c.QueryRowContext(ctx, "SELECT at FROM schema_versions WHERE version = $1", version).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, database.ErrVersionNotFound
	}
	return &database.GetMigrationResult{Timestamp: Time(at), IsApplied: true}, err
}

func (v versions) GetLatestVersion(ctx context.Context, c database.DBTxConn) (int64, error) {
	var latest sql.NullInt64
	if err := c.QueryRowContext(ctx, "SELECT max(version) FROM schema_versions").Scan(&latest); err != nil {
		return 0, err
	}
	if !latest.Valid {
		return 0, database.ErrVersionNotFound
	}
	return latest.Int64, nil
}

func (v versions) ListMigrations(ctx context.Context, c database.DBTxConn) ([]*database.ListMigrationsResult, error) {
	rows, err := c.QueryContext(ctx, "SELECT version FROM schema_versions ORDER BY version DESC")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*database.ListMigrationsResult
	for rows.Next() {
		m := &database.ListMigrationsResult{IsApplied: true}
		if err := rows.Scan(&m.Version); err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

func (v versions) list(ctx context.Context, c database.DBTxConn) ([]int64, error) {
	exists, err := v.TableExists(ctx, c)
	if err != nil || !exists {
		return nil, err
	}
	applied, err := v.ListMigrations(ctx, c)
	if err != nil {
		return nil, err
	}
	list := make([]int64, len(applied))
	for i, m := range applied {
		list[i] = m.Version
	}
	return list, nil
}
