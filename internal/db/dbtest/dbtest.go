// Package dbtest gives tests real databases: each test its own, migrated, on both engines.
//
// PostgreSQL is reached by the environment variable MINTMARK_TEST_POSTGRES, the URL of a user that may create databases.
// A test never skips an engine by itself, because a silent skip looks like a pass: without the variable it fails, unless
// MINTMARK_TEST_ENGINES=sqlite says that PostgreSQL is left out on purpose.
package dbtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
)

// Run runs f as the subtests "sqlite" and "postgres", each on a fresh migrated database with the system's clock.
func Run(t *testing.T, f func(t *testing.T, d *db.DB)) {
	t.Helper()
	for _, engine := range Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, Open(t, engine, clock.System)) })
	}
}

// Engines are the engines to test on.
func Engines(t testing.TB) []db.Engine {
	t.Helper()
	chosen := os.Getenv("MINTMARK_TEST_ENGINES")
	if chosen == "" {
		return []db.Engine{db.SQLite, db.PostgreSQL}
	}
	var engines []db.Engine
	for name := range strings.SplitSeq(chosen, ",") {
		engine := db.Engine(strings.TrimSpace(name))
		if engine != db.SQLite && engine != db.PostgreSQL {
			t.Fatalf("MINTMARK_TEST_ENGINES=%s: want sqlite, postgres or both with a comma", chosen)
		}
		engines = append(engines, engine)
	}
	return engines
}

// Open makes a fresh migrated database that goes when the test ends. A clock other than clock.System becomes the
// database's clock on both engines; nil is clock.System.
func Open(t testing.TB, engine db.Engine, c clock.Clock) *db.DB {
	t.Helper()
	return OpenURL(t, URL(t, engine), c)
}

// OpenURL opens a handle on a database that URL has made: a test with several handles is a test with several nodes.
func OpenURL(t testing.TB, url string, c clock.Clock) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), db.Options{URL: url, Clock: c})
	if err != nil {
		t.Fatalf("open test database: %v", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close test database: %v", err)
		}
	})
	return d
}

// URL makes a fresh migrated database and tells how to open it.
func URL(t testing.TB, engine db.Engine) string {
	t.Helper()
	return makeDatabase(t, engine, true)
}

// EmptyURL is URL for a database in which nothing has been migrated.
func EmptyURL(t testing.TB, engine db.Engine) string {
	t.Helper()
	return makeDatabase(t, engine, false)
}

// ForBinary makes an empty PostgreSQL database for all tests of a binary, which has no testing.TB in its TestMain. Who is
// killed before drop leaves it to the next run.
func ForBinary() (url string, drop func() error, err error) {
	if os.Getenv("MINTMARK_TEST_POSTGRES") == "" {
		return "", nil, errors.New("set MINTMARK_TEST_POSTGRES, or leave PostgreSQL out with MINTMARK_TEST_ENGINES=sqlite")
	}
	if err := removeLeftovers(); err != nil {
		return "", nil, err
	}
	name := databaseName()
	if err := admin("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		return "", nil, fmt.Errorf("make test database: %w", err)
	}
	url, err = withDatabase(name)
	return url, func() error { return admin("DROP DATABASE " + name + " WITH (FORCE)") }, err
}

func makeDatabase(t testing.TB, engine db.Engine, migrated bool) string {
	t.Helper()
	switch engine {
	case db.SQLite:
		path := filepath.Join(t.TempDir(), "mintmark.db")
		if migrated {
			content, err := sqliteTemplate()
			if err != nil {
				t.Fatalf("make SQLite template: %v", err)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return "sqlite:" + path
	case db.PostgreSQL:
		if !slices.Contains(Engines(t), engine) {
			t.Skip("MINTMARK_TEST_ENGINES leaves PostgreSQL out, which alone has what this test is about")
		}
		if os.Getenv("MINTMARK_TEST_POSTGRES") == "" {
			t.Fatal("these tests need a PostgreSQL: set MINTMARK_TEST_POSTGRES to the URL of a user that may create databases," +
				" such as postgres://postgres@127.0.0.1:5432/postgres, or leave PostgreSQL out with MINTMARK_TEST_ENGINES=sqlite")
		}
		template := "template0"
		if migrated {
			var err error
			if template, err = postgresTemplate(); err != nil {
				t.Fatalf("make PostgreSQL template: %v", err)
			}
		}
		name := databaseName()
		if err := admin(fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", name, template)); err != nil {
			t.Fatalf("make test database: %v", err)
		}
		t.Cleanup(func() {
			if err := admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
				t.Errorf("drop test database: %v", err)
			}
		})
		url, err := withDatabase(name)
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
	t.Fatalf("no such engine: %q", engine)
	return ""
}

// sqliteTemplate is the content of a migrated database file.
var sqliteTemplate = sync.OnceValues(func() (content []byte, err error) {
	dir, err := os.MkdirTemp("", "mintmark-dbtest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "template.db")
	if err := migrate("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path) // the last Close has folded the journal into the file
})

// postgresTemplate is the name of a migrated database that nobody is connected to. It outlives the test binary, which has
// no last moment of its own; the next run removes it.
var postgresTemplate = sync.OnceValues(func() (name string, err error) {
	if err := removeLeftovers(); err != nil {
		return "", err
	}
	name = databaseName()
	if err := admin("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		return "", err
	}
	url, err := withDatabase(name)
	if err != nil {
		return "", err
	}
	return name, migrate(url)
})

func migrate(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	d, err := db.Open(ctx, db.Options{URL: url})
	if err != nil {
		return err
	}
	return errors.Join(d.Migrate(ctx), d.Close())
}

// owner begins the name of a database with the machine and the process that made it.
func owner(pid int) string { return fmt.Sprintf("%s%d_", machine(), pid) }

func machine() string {
	host, _ := os.Hostname() // "" is as good a name as any
	sum := sha256.Sum256([]byte(host))
	return fmt.Sprintf("mintmark_test_%x_", sum[:4])
}

func databaseName() string { return owner(os.Getpid()) + strings.ToLower(rand.Text()[:12]) }

// removeLeftovers drops the databases of this machine's processes that are no more.
func removeLeftovers() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, os.Getenv("MINTMARK_TEST_POSTGRES"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", machine())
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		digits, _, _ := strings.Cut(strings.TrimPrefix(name, machine()), "_")
		if pid, err := strconv.Atoi(digits); err != nil || pid <= 0 || syscall.Kill(pid, 0) == nil {
			continue // not ours, or still at work
		}
		// Another test binary may be removing the same one, or may have opened it: either way it is no trouble of ours.
		_, _ = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name)
	}
	return nil
}

func admin(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, os.Getenv("MINTMARK_TEST_POSTGRES"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

func withDatabase(name string) (string, error) {
	u, err := url.Parse(os.Getenv("MINTMARK_TEST_POSTGRES"))
	if err != nil {
		return "", errors.New("MINTMARK_TEST_POSTGRES is not a URL")
	}
	u.Path = "/" + name
	return u.String(), nil
}
