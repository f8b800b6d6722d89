// Package cli is the command line for people and scripts that use a mintmark server: one file for each noun.
//
// It guards the terminal. A secret is printed only by the two commands that exist to hand one out (app storage-key
// create, token get); what comes from the server, and so perhaps from a stranger, cannot move the cursor; and a failure
// says what to do next and ends with a documented exit code. It talks to the server through package client and links
// nothing of the server itself.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/clock"
)

// Commands are the nouns of the client side, to be embedded in the grammar of the program. The noun audit stands apart
// (AuditCommands), because the program adds to it what works on the database itself.
type Commands struct {
	Globals

	App       appCommands       `cmd:"" group:"use" help:"Applications, their scopes, buckets and credentials."`
	Client    clientCommands    `cmd:"" group:"use" help:"OAuth clients of applications: how they sign people in."`
	Scope     scopeCommands     `cmd:"" group:"use" help:"Resource types and the scopes on them."`
	Team      teamCommands      `cmd:"" group:"use" help:"Teams, which own applications."`
	User      userCommands      `cmd:"" group:"use" help:"People, who sign in with a password."`
	Group     groupCommands     `cmd:"" group:"use" help:"Groups of people, of which clients can be told."`
	Directory directoryCommands `cmd:"" group:"use" help:"Directories that realms take their people from (LDAP)."`
	Bucket    bucketCommands    `cmd:"" group:"use" help:"Buckets of the embedded S3 endpoint."`
	Rotate    rotateCommand     `cmd:"" group:"use" help:"Rotate the credentials of an application now."`
	Key       keyCommands       `cmd:"" group:"use" help:"Signing keys."`
	Token     tokenCommands     `cmd:"" group:"use" help:"Get and check access tokens."`
	Login     loginCommand      `cmd:"" group:"use" help:"Sign in here, by a browser anywhere."`
	Logout    logoutCommand     `cmd:"" group:"use" help:"End the login of this machine."`
	Provider  providerCommands  `cmd:"" group:"use" help:"OpenID providers of others, with which people sign in."`
	Trust     trustCommands     `cmd:"" group:"use" help:"Issuers whose tokens are exchanged for ours, such as clusters and CI systems."`
	Revoke    revokeCommands    `cmd:"" group:"use" help:"End what clients, people and services hold, at once."`

	Agent agentCommand `cmd:"" group:"machine" help:"Fetch an application's credentials into a directory and keep them fresh."`

	Completion completionCommand `cmd:"" group:"use" help:"Print a completion script for a shell."`
}

// Globals are the flags that every command of the client side takes.
type Globals struct {
	Server    string        `group:"server" env:"MINTMARK_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The server to talk to."`
	TokenFile string        `group:"server" env:"MINTMARK_TOKEN_FILE" placeholder:"FILE" help:"File with the access key or token to show. Default: mintmark/token in your configuration directory."`
	Timeout   time.Duration `group:"server" default:"30s" help:"How long one request may take."`
	Output    string        `group:"server" short:"o" enum:"text,json" default:"text" help:"text for people, json for programs."`
}

// AfterApply hands every command its Session.
func (g *Globals) AfterApply(k *kong.Context, std IO) error {
	k.Bind(&Session{globals: g, out: k.Stdout, err: k.Stderr, clock: std.Clock, pause: std.Pause})
	return nil
}

// IO is where a program reads and writes.
type IO struct {
	Stdin          io.Reader // nil: the process's own
	Stdout, Stderr io.Writer
	Clock          clock.Clock // nil: the machine's
	// Pause waits between two looks at something that takes its time. Nil: it really does.
	Pause func(context.Context, time.Duration) error
}

const description = `The credential plane of an organisation: knows every application and permission, gives each its credentials, keeps them moving, and lets every service check them.

Begin with "mintmark demo": it tells the whole story by commands that you can copy.

Exit codes: 0 done; 1 failed; 2 wrong usage; 69 the server cannot be reached or cannot answer; 75 not done in time, try again; 77 not allowed; 78 wrong configuration, root key or database schema.`

// Main parses args by the grammar (a pointer to a struct that embeds Commands), runs what they name and answers the
// exit code. What goes wrong is said on std.Stderr.
func Main(ctx context.Context, grammar any, args []string, std IO, options ...kong.Option) (code int) {
	if std.Clock == nil {
		std.Clock = clock.System
	}
	if std.Pause == nil {
		std.Pause = pause
	}
	if std.Stdin == nil {
		std.Stdin = os.Stdin
	}
	// kong ends the process after --help; here it only leaves this function.
	type exit int
	defer func() {
		if r := recover(); r != nil {
			c, ok := r.(exit)
			if !ok {
				panic(r)
			}
			code = int(c)
		}
	}()
	options = append([]kong.Option{
		kong.Name("mintmark"),
		kong.Description(description),
		kong.Writers(std.Stdout, std.Stderr),
		kong.Exit(func(c int) { panic(exit(c)) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "run", Title: "Run a server:"},
			{Key: "use", Title: "Use a server:"},
			{Key: "machine", Title: "On the machine of an application:"},
			{Key: "texts", Title: "What is said about it:"},
			{Key: "storage", Title: "Where to fetch from, and as whom:"},
			{Key: "pace", Title: "Pace:"},
			{Key: "change", Title: "When something changed:"},
			{Key: "watch", Title: "To watch it:"},
			{Key: "server", Title: "Server and output:"},
		}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(std),
		kong.BindTo(std.Stdin, (*io.Reader)(nil)),
	}, options...)
	parser, err := kong.New(grammar, options...)
	if err != nil {
		fmt.Fprintln(std.Stderr, "mintmark: the grammar of the command line is broken:", err)
		return ExitFailure
	}
	k, err := parser.Parse(args)
	if err != nil {
		return report(std.Stderr, usage(err))
	}
	return report(std.Stderr, k.Run())
}

// Session is what a command works with.
type Session struct {
	globals  *Globals
	out, err io.Writer
	clock    clock.Clock
	pause    func(context.Context, time.Duration) error
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// json tells whether a program reads the output.
func (s *Session) json() bool { return s.globals.Output == "json" }

// client makes a client that shows the token of the token file.
func (s *Session) client() (*client.Client, error) { return s.connect(s.token) }

// anonymous makes a client that shows nothing.
func (s *Session) anonymous() (*client.Client, error) { return s.connect(nil) }

func (s *Session) connect(token func(context.Context) (string, error)) (*client.Client, error) {
	c, err := client.New(s.globals.Server, client.Options{Token: token, UserAgent: "mintmark-cli", Timeout: s.globals.Timeout})
	if err != nil {
		return nil, usage(fmt.Errorf("--server: %w", err))
	}
	return c, nil
}

// token reads the token file. Without one the call goes out as nobody's, and the server says whether that will do.
func (s *Session) token(context.Context) (string, error) {
	path, asked := s.globals.TokenFile, true
	if path == "" {
		asked = false
		if path = defaultTokenFile(); path == "" {
			return "", nil
		}
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return "", nil
	}
	if err != nil {
		return "", &explained{code: ExitNotAllowed, err: fmt.Errorf("read the token: %w", err), hint: "Put an access key or token into that file, or name another with --token-file."}
	}
	if info.Mode().Perm()&0o077 != 0 {
		s.warn("others can read %s; run: chmod 600 %s", plain(path), plain(path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", &explained{code: ExitNotAllowed, err: fmt.Errorf("read the token: %w", err)}
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", &explained{code: ExitNotAllowed, err: fmt.Errorf("%s does not hold one token and nothing else", path)}
	}
	return token, nil
}

func defaultTokenFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "mintmark", "token")
}
