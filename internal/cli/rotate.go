package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

// The kinds of credentials, by the words that people use.
var kinds = map[string]string{"password": "service-password", "secret": "client-secret"}

type rotateCommand struct {
	Application string        `arg:"" help:"Id of the application."`
	Kind        []string      `enum:"password,secret" placeholder:"KIND" help:"password (of the service user) or secret (of the OAuth client). Default: both."`
	Wait        bool          `help:"Wait until every bucket has the new credentials."`
	WaitFor     time.Duration `default:"2m" help:"Give up waiting after this long, with exit code 75; the rotation goes on."`
}

func (rotateCommand) Help() string {
	return `New credentials are accepted at once, written to every bucket of the application, and used from then on. The old ones stay accepted until they have gone unused for the grace period: nobody is locked out.

Examples:

    mintmark rotate sales-orders
    mintmark rotate sales-orders --kind password --wait`
}

func (cmd *rotateCommand) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var wanted []string
	for _, k := range cmd.Kind {
		wanted = append(wanted, kinds[k])
	}
	r, err := c.Rotate(ctx, cmd.Application, wanted...)
	if err != nil {
		return err
	}
	if cmd.Wait {
		if r, err = cmd.watch(ctx, s, c, r, wanted); err != nil {
			return err
		}
	}
	return s.print(r, func(w io.Writer) {
		if cmd.Wait {
			fmt.Fprintf(w, "every bucket of %s has the new credentials\n", plain(cmd.Application))
			return
		}
		fmt.Fprintf(w, "rotation of %s was asked for; watch it with: mintmark app status %s\n", plain(cmd.Application), plain(cmd.Application))
	})
}

// watch waits until, for each wanted kind, a version newer than all that there were at the asking is active, and tells
// what happens on the way.
func (cmd *rotateCommand) watch(ctx context.Context, s *Session, c *client.Client, start *api.Rotation, wanted []string) (*api.Rotation, error) {
	ctx, cancel := context.WithTimeout(ctx, cmd.WaitFor)
	defer cancel()
	goal := map[string]int64{} // kind → a version newer than this
	for _, credential := range start.Credentials {
		if len(wanted) == 0 || slices.Contains(wanted, credential.Kind) {
			goal[credential.Kind] = newestActive(credential)
		}
	}
	if len(goal) == 0 {
		return nil, fmt.Errorf("%s has no credentials to rotate: %s", cmd.Application, firstOf(start.Problems, "give it a bucket first with mintmark app bucket add"))
	}
	told := map[string]string{}
	for {
		r, err := c.Rotation(ctx, cmd.Application)
		if err != nil {
			return nil, cmd.giveUp(ctx, err)
		}
		open := 0
		for _, credential := range r.Credentials {
			old, watched := goal[credential.Kind]
			if !watched {
				continue
			}
			done := newestActive(credential) > old
			if !done {
				open++
			}
			if line := progress(credential, done); told[credential.Kind] != line {
				told[credential.Kind] = line
				s.say("%s: %s", credential.Object, line)
			}
		}
		if open == 0 {
			return r, nil
		}
		if err := s.pause(ctx, 300*time.Millisecond); err != nil {
			return nil, cmd.giveUp(ctx, err)
		}
	}
}

// giveUp tells a wait that took too long from a failure.
func (cmd *rotateCommand) giveUp(ctx context.Context, err error) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return &explained{code: ExitTemporary, err: fmt.Errorf("the new credentials of %s were not everywhere after %s", cmd.Application, span(cmd.WaitFor)),
		hint: "The rotation goes on. What holds it up: mintmark app status " + cmd.Application}
}

func newestActive(c api.RotatingCredential) (newest int64) {
	for _, v := range c.Versions {
		if v.Active != nil {
			newest = max(newest, v.Version)
		}
	}
	return newest
}

// progress is where a credential is on its way, in one line.
func progress(c api.RotatingCredential, done bool) string {
	newest := int64(0)
	for _, v := range c.Versions {
		newest = max(newest, v.Version)
	}
	if done {
		return "version " + strconv.FormatInt(newestActive(c), 10) + " is everywhere"
	}
	have, bad := 0, ""
	for _, d := range c.Deliveries {
		if d.Version == newest {
			have++
		} else if d.Error != "" {
			bad = "; " + d.Store + "/" + d.Bucket + ": " + d.Error
		}
	}
	if newest == newestActive(c) {
		return "waits to begin" + prefixed(": ", c.Waiting)
	}
	return fmt.Sprintf("version %d is in %d of %d buckets%s", newest, have, len(c.Deliveries), bad)
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func firstOf(texts []string, otherwise string) string {
	if len(texts) > 0 {
		return strings.TrimSuffix(texts[0], ".")
	}
	return otherwise
}
