package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/cli"
)

type doctorCommand struct {
	configFlags
}

func (doctorCommand) Help() string {
	return `Looks at an installation without changing it: files and their modes, the root key, the schema, clocks, jobs that
keep failing, the audit log, and whether a server is ready. Exit code 1 if something is wrong.

Example:

    mintmark doctor --data-dir /var/lib/mintmark`
}

func (cmd *doctorCommand) Run(ctx context.Context, k *kong.Context, g *grammar) error {
	c, err := cmd.load()
	if err != nil {
		return err
	}
	findings := app.Doctor(ctx, c, app.Build{Version: version})
	bad := 0
	for _, f := range findings {
		if !f.OK {
			bad++
		}
	}
	if g.Output == "json" {
		e := json.NewEncoder(k.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(findings); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			mark := "ok   "
			if !f.OK {
				mark = "WRONG"
			}
			fmt.Fprintf(k.Stdout, "%s  %-24s %s\n", mark, f.Check, f.Text)
			if f.Advice != "" {
				fmt.Fprintf(k.Stdout, "       %-24s %s\n", "", f.Advice)
			}
		}
	}
	if bad > 0 {
		return cli.WithExit(cli.ExitFailure, errors.New("something is wrong with this installation"), "")
	}
	return nil
}
