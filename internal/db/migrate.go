package db

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/mintmark/mintmark/internal/clock"
)

//go:embed migrations/*.sql
var embedded embed.FS

// Schema compares the migrations of the database with those of the program.
type Schema struct {
	Have    int64   // newest migration in the database, 0 for none
	Want    int64   // newest migration of this program
	Missing []int64 // this program's that the database has not
	Unknown []int64 // the database's that this program has not: a newer program was here
}

// Ready tells whether a running program can work on this database. It can on a newer one: while nodes are replaced one by
// one, the older run on the newer schema, and migrations are written so that they can. Only Migrate, which runs at a
// start, refuses it.
func (s Schema) Ready() bool { return len(s.Missing) == 0 }

// Schema reads which migrations the database has.
func (d *DB) Schema(ctx context.Context) (s Schema, err error) {
	known, err := ownVersions()
	if err != nil {
		return s, err
	}
	var applied []int64
	err = d.Read(ctx, func(tx ReadTx) (err error) {
		applied, err = versions{d.engine, d.clock}.list(ctx, tx.(readTx).t.conn)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("read schema version: %w", err)
	}
	for _, v := range known {
		s.Want = v
		if !slices.Contains(applied, v) {
			s.Missing = append(s.Missing, v)
		}
	}
	for _, v := range applied {
		s.Have = max(s.Have, v)
		if v != 0 && !slices.Contains(known, v) { // 0 is goose's own row
			s.Unknown = append(s.Unknown, v)
		}
	}
	return s, nil
}

// Migrate brings the schema to this program's version. Several nodes may do it at once: a migration and its version row
// commit together and the version is a primary key, so of two that run the same one commits, and the other starts over
// and finds it done. A database of a newer or of a different program is refused (ErrSchema) before anything is written.
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
	for missing := 0; ; {
		s, err := d.Schema(ctx)
		switch {
		case err != nil:
			return err
		case len(s.Unknown) > 0:
			return fmt.Errorf("%w: it has migration %d and this program knows none beyond %d: start the newer program",
				ErrSchema, s.Have, s.Want)
		case len(s.Missing) > 0 && s.Missing[0] < s.Have:
			return fmt.Errorf("%w: it has migration %d but not %d", ErrSchema, s.Have, s.Missing[0])
		case len(s.Missing) == 0:
			if err := d.backend.collate(ctx, pool); err != nil {
				return fmt.Errorf("order text by its bytes: %w", translate(err))
			}
			return nil
		case last != nil && len(s.Missing) == missing:
			return fmt.Errorf("migrate from version %d: %w", s.Have, last) // no other node got further: it is not a race
		}
		missing = len(s.Missing)
		provider, err := goose.NewProvider(goose.DialectCustom, pool, files, goose.WithStore(versions{d.engine, d.clock}),
			goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
		if err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
		if _, last = provider.Up(ctx); last != nil {
			d.log.DebugContext(ctx, "migration failed; another node may have been faster", "err", last)
		}
	}
}

// ownVersions are the numbers of the embedded migrations, in order.
func ownVersions() ([]int64, error) {
	entries, err := fs.ReadDir(embedded, "migrations")
	if err != nil {
		return nil, fmt.Errorf("list embedded migrations: %w", err)
	}
	var known []int64
	for _, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v < 1 || slices.Contains(known, v) {
			return nil, fmt.Errorf("migration %s: bad or repeated number", e.Name())
		}
		known = append(known, v)
	}
	slices.Sort(known)
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
