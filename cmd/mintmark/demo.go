package main

import (
	"context"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mintmark/mintmark/internal/demo"
)

type demoCommand struct {
	Once  bool          `help:"End after the story, with 0 if all of it went well."`
	Watch time.Duration `default:"20s" help:"How long to watch the credentials rotate."`
}

func (demoCommand) Help() string {
	return `Starts a server in a new directory and tells the story of one application by commands that you can copy: registered,
given a bucket, its credentials delivered, fetched by the agent, used for a token, checked, rotated. Then it leaves the
server up until Ctrl-C, and removes the directory.`
}

func (cmd *demoCommand) Run(ctx context.Context, k *kong.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return demo.Run(ctx, demo.Options{Out: k.Stdout, Version: version, Program: program, Watch: cmd.Watch, Once: cmd.Once})
}
