package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/cli"
)

type serveCommand struct {
	configFlags
}

func (serveCommand) Help() string {
	return `Runs until it gets SIGINT or SIGTERM, then finishes what is in flight and ends with 0. A second signal ends it at once.

The first start makes the data directory, the root key, the database and the administrator, and leaves the
administrator's access key in admin.key in the data directory. Copy the root key to a safe place then: without it
nothing can be read again.

Exit code 78: the configuration, the root key or the schema of the database is not what this program can work with;
nothing was written.

Examples:

    mintmark serve
    mintmark serve --data-dir /var/lib/mintmark --set issuer=https://auth.example.com --set listen.public=0.0.0.0:8443
    mintmark serve --config /etc/mintmark.yaml`
}

func (cmd *serveCommand) Run(ctx context.Context) error {
	c, err := cmd.load()
	if err != nil {
		return err
	}
	paceCollector()
	scheduleMore()
	log := logger(c.Log)
	a, err := app.Start(ctx, c, app.Build{Version: version}, log)
	if err != nil {
		return exitOf(err)
	}
	return exitOf(a.Run(ctx))
}

// exitOf gives what keeps a server from starting its exit code and advice.
func exitOf(err error) error {
	if app.Refuses(err) {
		return cli.WithExit(cli.ExitConfig, err, `"mintmark doctor" looks closer. Nothing was written.`)
	}
	return err
}

type initCommand struct {
	configFlags
	NewAdminKey bool          `help:"Make another access key for the administrator, also when there is one."`
	Lifetime    time.Duration `default:"24h" help:"How long the new access key is accepted."`
}

func (initCommand) Help() string {
	return `Makes what a first start makes, and stops. Running it again changes nothing.

With --new-admin-key it also writes a new access key into admin.key in the data directory: for when the last one has
expired or was lost. That needs the root key, and so the right to read it.

Examples:

    mintmark init --data-dir /var/lib/mintmark
    mintmark init --data-dir /var/lib/mintmark --new-admin-key --lifetime 8h`
}

func (cmd *initCommand) Run(ctx context.Context, k *kong.Context) (err error) {
	c, err := cmd.load()
	if err != nil {
		return err
	}
	a, err := app.Open(ctx, c, app.Build{Version: version}, logger(c.Log))
	if err != nil {
		return exitOf(err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	first, err := a.FirstStart(ctx)
	if err != nil {
		return err
	}
	key := first.AdminKeyFile
	if cmd.NewAdminKey && key == "" {
		if key, err = a.NewAdminKey(ctx, cmd.Lifetime); err != nil {
			return err
		}
	}
	fmt.Fprintf(k.Stdout, "data directory  %s\nroot key        %s (copy it to a safe place: without it nothing can be read again)\n", c.DataDir, c.RootKey.File)
	if key != "" {
		fmt.Fprintf(k.Stdout, "access key      %s (administrator; export MINTMARK_TOKEN_FILE=%s)\n", key, key)
	}
	return nil
}
