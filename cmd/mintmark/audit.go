package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/alecthomas/kong"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/cli"
)

// auditCommands are those of the client side and those that read the database itself.
type auditCommands struct {
	cli.AuditCommands

	Verify auditVerify `cmd:"" help:"Verify the whole log, on the machine of the server."`
}

type auditVerify struct {
	configFlags
	Checkpoint string `type:"existingfile" placeholder:"FILE" help:"A checkpoint that was kept elsewhere. Default: the one in the data directory."`
}

func (auditVerify) Help() string {
	return `Reads every record and compares the log with itself, with its Merkle tree, with the signed checkpoints in the database
and with one that was kept outside of it. It names the first record that was edited, deleted, moved or cut off, and
ends with 1 then. The server may run meanwhile.

Whoever can write to the database and to the data directory could put both back to an earlier state; keep a copy of
audit.checkpoint on another machine and name it with --checkpoint to find that out too.

Examples:

    mintmark audit verify --data-dir /var/lib/mintmark
    mintmark audit verify --data-dir /var/lib/mintmark --checkpoint /mnt/elsewhere/audit.checkpoint`
}

func (cmd *auditVerify) Run(ctx context.Context, k *kong.Context, g *grammar) (err error) {
	c, err := cmd.load()
	if err != nil {
		return err
	}
	trusted := ""
	if cmd.Checkpoint != "" {
		b, err := os.ReadFile(cmd.Checkpoint)
		if err != nil {
			return err
		}
		trusted = string(b)
	}
	a, err := app.Inspect(ctx, c, app.Build{Version: version}, slog.New(slog.DiscardHandler))
	if err != nil {
		return exitOf(err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	r, err := a.VerifyAudit(ctx, trusted, nil)
	if err != nil {
		return err
	}
	if g.Output == "json" {
		e := json.NewEncoder(k.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(k.Stdout, "records       %d\nsigned up to  %d (%d checkpoints)\nkept outside  %d\nwaiting       %d\n", r.Size, r.Signed, r.Checkpoints, r.Trusted, r.Waiting)
	}
	if r.Problem != nil {
		return cli.WithExit(cli.ExitFailure, errors.New(r.Problem.String()), "Keep the database as it is, and this output: they are evidence.")
	}
	if g.Output != "json" {
		fmt.Fprintln(k.Stdout, "the log is whole")
	}
	return nil
}
