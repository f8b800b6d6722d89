// Package app joins the parts into one program.
//
// Reading it is reading the architecture: parts.go makes each part and hands it what it needs, routes.go shows the whole
// surface, run.go starts and ends it all in order. Nothing else in the program knows every part. What it guards: no
// listener opens before the schema, the root key and the first administrator are in place; what is missing or wrong there
// keeps the program from starting, with nothing written.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/seal"
)

// Build tells what program this is.
type Build struct {
	Version string
}

// App is an opened installation. Open makes it, Start also makes it serve.
type App struct {
	config  Config
	build   Build
	log     *slog.Logger
	clock   clock.Clock
	node    string
	started time.Time
	metrics *prometheus.Registry
	ready   readiness

	db      *db.DB
	keyring *seal.Keyring
	core
	parts // of a serving node

	lock    *lock // of a serving node
	servers []*server
}

// Refuses tells whether err means that the program must not start: the configuration, the root key or the schema is not
// what it can work with. Nothing was written then.
func Refuses(err error) bool {
	return errors.Is(err, ErrConfig) || errors.Is(err, seal.ErrRootKey) || errors.Is(err, db.ErrSchema)
}

// Open opens the database and the keyring, which makes both at the first start. It serves nothing.
func Open(ctx context.Context, c Config, build Build, log *slog.Logger) (*App, error) {
	if err := prepareDataDir(c.DataDir); err != nil {
		return nil, err
	}
	return open(ctx, c, build, log, (*db.DB).Migrate)
}

// Inspect opens an installation that exists, to look at it. It makes and changes nothing.
func Inspect(ctx context.Context, c Config, build Build, log *slog.Logger) (*App, error) {
	if path, ok := strings.CutPrefix(c.Database.URL.Reveal(), "sqlite:"); ok {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: there is no installation here: %s does not exist", ErrConfig, path)
		}
	}
	if _, err := os.Stat(c.RootKey.File); err != nil {
		return nil, fmt.Errorf("%w: root_key.file: %w", ErrConfig, err)
	}
	return open(ctx, c, build, log, func(d *db.DB, ctx context.Context) error {
		schema, err := d.Schema(ctx)
		if err != nil {
			return err
		}
		if !schema.Ready() {
			return fmt.Errorf("%w: the database has version %d, this program works with %d; start the server once to migrate it", db.ErrSchema, schema.Have, schema.Want)
		}
		return nil
	})
}

func open(ctx context.Context, c Config, build Build, log *slog.Logger, prepare func(*db.DB, context.Context) error) (_ *App, err error) {
	a := &App{config: c, build: build, log: log, clock: clock.System, metrics: prometheus.NewRegistry()}
	a.node, a.started = id.New(id.Node, a.clock.Now()), a.clock.Now()
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.db, err = db.Open(ctx, db.Options{URL: c.Database.URL.Reveal(), Clock: a.clock, Logger: log, MaxConns: c.Database.MaxConnections, Expired: a.countExpired()})
	if err != nil {
		return nil, fmt.Errorf("%w: database: %w", ErrConfig, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.db.Close())
		}
	}()
	if err := prepare(a.db, ctx); err != nil {
		return nil, fmt.Errorf("prepare the database: %w", err)
	}
	if a.keyring, err = seal.Open(ctx, a.db, c.RootKey.File, log); err != nil {
		return nil, fmt.Errorf("open the keyring: %w", err)
	}
	if err := a.makeCore(); err != nil {
		return nil, err
	}
	return a, nil
}

// Close ends the connections to the database and gives the data directory back.
func (a *App) Close() error {
	err := a.db.Close()
	if a.lock != nil {
		err = errors.Join(err, a.lock.release())
	}
	return err
}

// First tells what FirstStart made.
type First struct {
	AdminKeyFile string // file with the administrator's access key; "" if there was an administrator already
}

// FirstStart makes what an installation needs once: a signing key and an administrator. It is safe to run at each start,
// and on several nodes at once.
func (a *App) FirstStart(ctx context.Context) (First, error) {
	if err := a.keys.Ensure(ctx); err != nil {
		return First{}, fmt.Errorf("make the first signing key: %w", err)
	}
	path, err := a.ensureAdministrator(ctx)
	return First{AdminKeyFile: path}, err
}

// NewAdminKey makes another access key for the administrator and returns the file that holds it. Whoever can call it
// holds the root key already.
func (a *App) NewAdminKey(ctx context.Context, lifetime time.Duration) (path string, err error) {
	path = a.config.AdminKeyFile()
	err = a.db.Write(ctx, func(tx db.WriteTx) error {
		admin, err := identity.FindUser(ctx, tx, realm.Employees, "admin")
		if err != nil {
			return err
		}
		key, err := a.identity.CreateAccessKey(ctx, tx, access.SystemCaller("init"), admin.ID, "made on the command line", lifetime)
		if err != nil {
			return err
		}
		return writePrivate(path, line(key))
	})
	if err != nil {
		return "", fmt.Errorf("make an access key for the administrator: %w", err)
	}
	return path, nil
}
