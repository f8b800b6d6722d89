package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/agent"
)

type agentCommand struct {
	Dir string `arg:"" type:"path" help:"Where user.json and client.json go."`

	Application string `short:"a" required:"" placeholder:"ID" help:"Whose credentials to fetch."`
	Bucket      string `short:"m" required:"" placeholder:"NAME" help:"The bucket that they are delivered to."`
	Once        bool   `help:"Fetch once and end, instead of following every change."`

	Endpoint    string `group:"storage" placeholder:"URL" help:"S3 API to fetch from. Default: Amazon's."`
	Region      string `group:"storage" help:"Default: from the AWS configuration, or us-east-1."`
	Profile     string `group:"storage" help:"Profile of the AWS configuration files to be. Default: the SDK's chain: environment, files, container, instance."`
	Credentials string `group:"storage" name:"credentials-file" short:"c" type:"path" placeholder:"FILE" help:"Instead: a file with lines application:access_key:secret."`

	Interval time.Duration `group:"pace" short:"i" default:"60s" help:"How often to look, give or take a fifth."`
	Wait     time.Duration `group:"pace" placeholder:"DURATION" help:"How long the first credentials may take to appear; then exit code 75. Default: for ever, with --once not at all."`

	Hook        []string      `group:"change" sep:"none" placeholder:"WORD" help:"Program to run after a change, without a shell; repeat it for its arguments. It finds MINTMARK_DIR and MINTMARK_GENERATION."`
	HookTimeout time.Duration `group:"change" default:"30s" help:"How long it may take."`
	PidFile     string        `group:"change" type:"path" placeholder:"FILE" help:"Signal the process whose id is in this file after a change."`
	Signal      string        `group:"change" default:"HUP" enum:"HUP,USR1,USR2,TERM" help:"HUP, USR1, USR2 or TERM."`
	FileMode    string        `group:"change" default:"0600" help:"Mode of the two files, such as 0640 for a group."`

	Listen string `group:"watch" placeholder:"ADDRESS" help:"Loopback address for /healthz and /metrics. Default: none."`
	Log    string `group:"watch" enum:"text,json" default:"text" help:"Form of the log on standard error: text or json."`
}

func (agentCommand) Help() string {
	return `Keeps DIR the same as what is delivered to the bucket. Both files are swapped as one, unchanged ones stay untouched, and on any failure the last good ones stay. Read them each time you use them.

Exit codes: 0 done, or told to end; 1 failed; 2 wrong usage; 75 no credentials in time.

Examples:

    mintmark agent -a sales-orders -m shop-mint /meta/credentials
    mintmark agent -a sales-orders -m shop-mint --endpoint http://127.0.0.1:9000 --once --wait 30s ./credentials
    mintmark agent -a sales-orders -m shop-mint --hook systemctl --hook reload --hook sales-orders /meta/credentials`
}

var signals = map[string]syscall.Signal{"HUP": syscall.SIGHUP, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "TERM": syscall.SIGTERM}

func (cmd *agentCommand) Run(ctx context.Context, s *Session) error {
	mode, err := strconv.ParseUint(cmd.FileMode, 8, 9)
	if err != nil {
		return usage(fmt.Errorf("--file-mode: %q is not a mode such as 0600", cmd.FileMode))
	}
	var handler slog.Handler = slog.NewTextHandler(s.err, nil)
	if cmd.Log == "json" {
		handler = slog.NewJSONHandler(s.err, nil)
	}
	a, err := agent.New(agent.Config{
		Application: cmd.Application, Bucket: cmd.Bucket, Dir: cmd.Dir,
		Endpoint: cmd.Endpoint, Region: cmd.Region, Profile: cmd.Profile, CredentialsFile: cmd.Credentials,
		Poll: cmd.Interval, Wait: cmd.Wait, FileMode: fs.FileMode(mode),
		Hook: cmd.Hook, HookTimeout: cmd.HookTimeout, PIDFile: cmd.PidFile, Signal: signals[cmd.Signal],
		Listen: cmd.Listen, Logger: slog.New(handler),
	})
	if err != nil {
		return &explained{code: agent.ExitCode(err), err: err, hint: `Run "mintmark agent --help".`}
	}
	if !cmd.Once {
		return agentError(a.Run(ctx))
	}
	result, err := a.Once(ctx)
	if err != nil {
		return agentError(err)
	}
	if result.HookFailed != nil {
		return &explained{code: ExitFailure, err: fmt.Errorf("the credentials are in place, but telling of the change failed: %w", result.HookFailed)}
	}
	return nil
}

// agentError keeps the agent's own exit codes: to a service manager they mean more than those of the server's answers.
func agentError(err error) error {
	if err == nil {
		return nil
	}
	e := &explained{code: agent.ExitCode(err), err: err}
	if e.code == ExitTemporary {
		e.hint = "Is a bucket set for the application (mintmark app bucket list), and is it this one?"
	}
	if _, named := os.LookupEnv("AWS_ACCESS_KEY_ID"); !named && errors.Is(err, agent.ErrForbidden) {
		e.hint = "Has the agent an access key? mintmark app storage-key create makes one for the embedded endpoint."
	}
	return e
}
