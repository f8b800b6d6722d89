package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

// The exit codes; docs/operations.md lists them. Beyond 2 they are those of sysexits.h.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitUnavailable = 69 // the server cannot be reached or cannot answer just now
	ExitTemporary   = 75 // not done in time; it may still be done, and may be tried again
	ExitNotAllowed  = 77
	ExitConfig      = 78 // configuration, root key, schema
)

// explained is an error that knows its exit code, or what a person can do about it, or both.
type explained struct {
	code int // 0: by the kind of err
	err  error
	hint string
}

func (e *explained) Error() string { return e.err.Error() }
func (e *explained) Unwrap() error { return e.err }

// WithExit gives an error of another part of the program its exit code and, unless it is empty, a hint for people.
func WithExit(code int, err error, hint string) error {
	if err == nil {
		return nil
	}
	return &explained{code: code, err: err, hint: hint}
}

func usage(err error) error {
	hint := `Run "mintmark --help".`
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil && p.Context.Selected() != nil {
		hint = fmt.Sprintf(`Run "mintmark %s --help".`, commandPath(p.Context.Selected()))
	}
	return &explained{code: ExitUsage, err: err, hint: hint}
}

// commandPath is what to type for a command, which kong's own path is not when the command has an alias.
func commandPath(n *kong.Node) string {
	if n.Parent == nil || n.Parent.Type != kong.CommandNode {
		return n.Name
	}
	return commandPath(n.Parent) + " " + n.Name
}

// Exit is the exit code for an error; 0 for nil.
func Exit(err error) int {
	if err == nil {
		return ExitOK
	}
	var e *explained
	if errors.As(err, &e) && e.code != 0 {
		return e.code
	}
	switch {
	case errors.Is(err, client.ErrUnreachable), errors.Is(err, api.ErrUnavailable):
		return ExitUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, api.ErrLimited):
		return ExitTemporary
	case errors.Is(err, api.ErrUnauthenticated), errors.Is(err, api.ErrForbidden):
		return ExitNotAllowed
	}
	return ExitFailure
}

// hint is what a person can do about an error, or "".
func hint(err error) string {
	var e *explained
	if errors.As(err, &e) && e.hint != "" {
		return e.hint
	}
	var refused *client.OAuthError
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return "Is the server running, and is this its address? Name another with --server URL or MINTMARK_URL."
	case errors.As(err, &refused) && refused.Code == "invalid_scope":
		return "An administrator gives an application a scope: mintmark app grant APPLICATION SCOPE."
	case errors.As(err, &refused) && errors.Is(err, api.ErrUnauthenticated):
		return "The server did not accept the credentials. Is the application active (mintmark app show), and does `mintmark agent` still keep them fresh?"
	case errors.Is(err, api.ErrUnauthenticated):
		return "Put an access key or token into the file that --token-file names (MINTMARK_TOKEN_FILE). It may have expired."
	case errors.Is(err, api.ErrForbidden):
		return "Ask an administrator, or somebody of the owning team."
	case errors.Is(err, api.ErrPreconditionFailed):
		return "Somebody changed it meanwhile: look at it again, then repeat your change."
	case errors.Is(err, api.ErrUnavailable), errors.Is(err, api.ErrLimited):
		return "Try again in a moment."
	}
	return ""
}

// report says on w what went wrong, if anything did, and answers the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return ExitOK
	}
	fmt.Fprintln(w, "mintmark: error:", plain(err.Error()))
	var p *api.Problem
	if errors.As(err, &p) && p.RequestID != "" {
		fmt.Fprintln(w, "request:", plain(p.RequestID))
	}
	if h := hint(err); h != "" {
		fmt.Fprintln(w, "hint:", h)
	}
	return Exit(err)
}
