package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mintmark/mintmark/client"
)

type userFactors struct {
	List  userFactorsList  `cmd:"" help:"List a person's passkeys and authenticator app."`
	Reset userFactorsReset `cmd:"" help:"Take them off a person who has lost them, and end all its sessions."`
}

type userFactorsList struct{ personArgument }

func (userFactorsList) Help() string {
	return `Examples:

    mintmark user factors list employees/jane`
}

func (cmd *userFactorsList) Run(ctx context.Context, s *Session) error {
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	f, err := c.UserFactors(ctx, u.ID)
	if err != nil {
		return err
	}
	return s.print(f, func(w io.Writer) {
		var rows [][]string
		for _, x := range f.Items {
			used := "never"
			if x.LastUsed != nil {
				used = s.at(*x.LastUsed)
			}
			rows = append(rows, []string{x.Kind, x.Name, s.at(x.Created), used, x.ID})
		}
		s.table(w, "the person signs in with a password alone", []string{"KIND", "NAME", "CREATED", "LAST USED", "ID"}, rows)
		if f.RecoveryCodes > 0 {
			s.say("%d recovery codes are left", f.RecoveryCodes)
		}
		if f.Required && len(f.Items) == 0 {
			s.say("the person must set up a second factor at the next login")
		}
	})
}

type userFactorsReset struct {
	personArgument
	Factor string `placeholder:"ID" help:"Only this one, by its id."`
	All    bool   `help:"All of them."`
}

func (userFactorsReset) Help() string {
	return `Make sure first that it is the person who asks: whoever has the password can then sign in, and set up a factor of his own.

Examples:

    mintmark user factors reset employees/jane --all
    mintmark user factors reset employees/jane --factor fac_01k8p4x0v3c9m6t2r5w8y1z4q7`
}

func (cmd *userFactorsReset) Run(ctx context.Context, s *Session) error {
	if (cmd.Factor == "") != cmd.All {
		return usage(errors.New("give either --factor ID or --all"))
	}
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	remove := func(ctx context.Context, c *client.Client) error { return c.RemoveUserFactor(ctx, u.ID, cmd.Factor) }
	if cmd.All {
		remove = func(ctx context.Context, c *client.Client) error { return c.ResetUserFactors(ctx, u.ID) }
	}
	if err := remove(ctx, c); err != nil {
		return err
	}
	return s.print(u, func(w io.Writer) {
		fmt.Fprintf(w, "what %s/%s had lost is gone; all its sessions have ended\n", plain(u.Realm), plain(u.Username))
	})
}
