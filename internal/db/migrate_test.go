package db_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

func TestMigrateTwice(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		d := dbtest.OpenURL(t, dbtest.EmptyURL(t, engine), clock.System)
		before, err := d.Schema(t.Context())
		if err != nil || before.Have != 0 || before.Ready() {
			t.Fatalf("%+v, %v", before, err)
		}
		for range 2 {
			if err := d.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		after, err := d.Schema(t.Context())
		if err != nil || !after.Ready() || after.Have != after.Want || after.Want < 1 || len(after.Unknown) != 0 {
			t.Fatalf("%+v, %v", after, err)
		}
	})
}

func TestMigrateAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		url := dbtest.EmptyURL(t, engine)
		var all sync.WaitGroup
		for range 4 {
			d := dbtest.OpenURL(t, url, clock.System)
			all.Go(func() {
				if err := d.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		d := dbtest.OpenURL(t, url, clock.System)
		if s, err := d.Schema(t.Context()); err != nil || !s.Ready() {
			t.Fatalf("%+v, %v", s, err)
		}
		changed(t, d, "clients", "a")
	})
}

// fingerprint is everything that is in the database.
func fingerprint(t *testing.T, d *db.DB, address string) string {
	t.Helper()
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		sum := sha256.New()
		for _, name := range []string{path, path + "-wal"} {
			content, err := os.ReadFile(name)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			sum.Write(content)
		}
		return fmt.Sprintf("%x", sum.Sum(nil))
	}
	var catalog, contents string
	err := d.Read(t.Context(), func(tx db.ReadTx) error {
		err := tx.QueryRow(t.Context(), "SELECT string_agg(c.relname || c.xmin::text || c.relfilenode::text, ',' ORDER BY c.relname)"+
			" FROM pg_class c WHERE relnamespace = current_schema()::regnamespace").Scan(&catalog)
		if err != nil {
			return err
		}
		return tx.QueryRow(t.Context(), "SELECT string_agg(version::text || xmin::text, ',' ORDER BY version) FROM schema_versions").Scan(&contents)
	})
	if err != nil {
		t.Fatal(err)
	}
	return catalog + "|" + contents
}

func TestMigrateRefusesANewerSchemaAndWritesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		for name, statement := range map[string]string{
			"newer":   "INSERT INTO schema_versions (version, at) VALUES (99999, 1)",
			"foreign": "DELETE FROM schema_versions WHERE version = 1",
		} {
			t.Run(name, func(t *testing.T) {
				address := dbtest.URL(t, engine)
				d := dbtest.OpenURL(t, address, clock.System)
				err := d.Write(t.Context(), func(tx db.WriteTx) error {
					_, err := tx.Exec(t.Context(), statement)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				before := fingerprint(t, d, address)
				if err := d.Migrate(t.Context()); !errors.Is(err, db.ErrSchema) && name == "newer" {
					t.Fatal(err)
				} else if err == nil {
					t.Fatal("migrated a database of unknown shape")
				}
				if after := fingerprint(t, d, address); after != before {
					t.Fatalf("something was written:\n%s\n%s", before, after)
				}
				s, err := d.Schema(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if ready := name == "newer"; s.Ready() != ready { // a running older node goes on
					t.Fatalf("%+v", s)
				}
			})
		}
	})
}

// A database that was made with a language's collation must still order text as Go and SQLite do.
func TestTextIsOrderedByItsBytes(t *testing.T) {
	if !slices.Contains(dbtest.Engines(t), db.PostgreSQL) {
		return // SQLite has no other order
	}
	address, err := url.Parse(dbtest.EmptyURL(t, db.PostgreSQL))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := pgx.Connect(t.Context(), os.Getenv("MINTMARK_TEST_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	name := strings.TrimPrefix(address.Path, "/")
	for _, statement := range []string{
		"DROP DATABASE " + name,
		"CREATE DATABASE " + name + " TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' ENCODING 'UTF8'",
	} {
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	d := dbtest.OpenURL(t, address.String(), clock.System)
	for range 2 {
		if err := d.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"B", "Z", "a", "b-a", "b_a", "ba", "ä"}
	err = d.Write(t.Context(), func(tx db.WriteTx) error {
		for _, id := range want {
			if err := note(t.Context(), tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = d.Read(t.Context(), func(tx db.ReadTx) error {
		rows, err := tx.Query(t.Context(), "SELECT item FROM changes ORDER BY item")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var item string
			if err := rows.Scan(&item); err != nil {
				return err
			}
			got = append(got, item)
		}
		return rows.Err()
	})
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestOpenGuardsTheFile(t *testing.T) {
	dir := t.TempDir()
	if d, err := db.Open(t.Context(), db.Options{URL: "sqlite:" + filepath.Join(dir, "none", "mintmark.db")}); err == nil {
		d.Close()
		t.Fatal("made a directory")
	}
	path := filepath.Join(dir, "with space?#%41.db")
	if d, err := db.Open(t.Context(), db.Options{URL: "sqlite:" + path}); err == nil {
		d.Close()
		t.Fatal("took a path that a URL would cut short")
	}
	path = filepath.Join(dir, "with space%41.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := dbtest.OpenURL(t, "sqlite:"+path, clock.System)
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(f.Name(), "with space%41.db") || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
}

func TestOpenRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, address := range []string{"", "mysql://u:hunter2@h/db", "sqlite:", "sqlite::memory:", "postgres://u:hunter2@h:port/db"} {
		d, err := db.Open(t.Context(), db.Options{URL: address})
		if err == nil {
			d.Close()
			t.Errorf("opened %q", address)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
}
