// Command mintmark is the whole program: the server, the agent, and the command line for both.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/cli"
)

// version is set by the build (see Makefile).
var version = "dev"

// grammar is the command line.
type grammar struct {
	cli.Commands

	Serve  serveCommand   `cmd:"" group:"run" help:"Run a server. The first start makes what is missing."`
	Init   initCommand    `cmd:"" group:"run" help:"Do the first start, or make another administrator's access key, and stop."`
	Demo   demoCommand    `cmd:"" group:"run" help:"Tell the whole story on a server of its own, then leave it running."`
	Doctor doctorCommand  `cmd:"" group:"run" help:"Look for what is wrong with an installation."`
	Config configCommands `cmd:"" group:"run" help:"Check and show the configuration."`
	Audit  auditCommands  `cmd:"" group:"use" help:"The audit log."`

	Version versionCommand `cmd:"" group:"use" help:"Print the version."`
}

type versionCommand struct{}

func (versionCommand) Run(k *kong.Context) error {
	_, err := fmt.Fprintln(k.Stdout, "mintmark", version)
	return err
}

func main() { os.Exit(run()) }

// run is main with an exit code. The first signal asks for an orderly end; the second ends at once.
func run() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Not signal.NotifyContext: between the end of its context and the return to the default, a second signal is lost.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		if second, ok := (<-signals).(syscall.Signal); ok {
			signal.Reset(second)
			_ = syscall.Kill(os.Getpid(), second) // the caller sees which signal it was
		}
	}()
	return cli.Main(ctx, &grammar{}, os.Args[1:], cli.IO{Stdout: os.Stdout, Stderr: os.Stderr})
}

// configFlags are the flags of every command that opens an installation itself.
type configFlags struct {
	File string            `name:"config" short:"c" env:"MINTMARK_CONFIG" type:"path" default:"" placeholder:"FILE" help:"Configuration in YAML (docs/operations.md lists the settings). Default: none."`
	Data string            `name:"data-dir" type:"path" placeholder:"DIR" help:"Setting data_dir: database, root key, embedded object store. Default: ./mintmark-data."`
	Set  map[string]string `placeholder:"KEY=VALUE" help:"Any setting, such as listen.public=127.0.0.1:8443. Repeat it for more."`
}

func (f configFlags) load() (app.Config, error) {
	values := map[string]string{}
	for k, v := range f.Set {
		values[k] = v
	}
	if f.Data != "" {
		values["data_dir"] = f.Data
	}
	c, err := app.Load(app.Source{File: f.File, Env: os.Environ(), Values: values})
	return c, cli.WithExit(cli.ExitConfig, err, `"mintmark config show" prints every setting with its value.`)
}

// logger writes what the configuration asks for to standard error.
func logger(c app.Log) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(os.Stderr, options))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, options))
}
