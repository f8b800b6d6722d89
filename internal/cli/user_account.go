package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mintmark/mintmark/api"
)

type userUpdate struct {
	personArgument
	DisplayName *string           `help:"Name to show."`
	Email       *string           `placeholder:"ADDRESS" help:"E-mail address. It is not verified then: its person is sent a link."`
	Phone       *string           `placeholder:"NUMBER" help:"Telephone number; empty: none."`
	Address     *string           `help:"Address of a house; empty: none."`
	Attribute   map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Value of an attribute of the realm; empty: none. The entries of a list stand between commas. May be repeated."`
}

func (userUpdate) Help() string {
	return `What is not given stays as it is.

Examples:

    mintmark user update employees/jane --email jane@example.org
    mintmark user update employees/jane --display-name "Jane Doe" --phone ""
    mintmark user update employees/jane --attribute department=sales --attribute skills=go,sql`
}

func (cmd *userUpdate) Run(ctx context.Context, s *Session) error {
	known := cmd.DisplayName != nil || cmd.Email != nil || cmd.Phone != nil || cmd.Address != nil
	if !known && len(cmd.Attribute) == 0 {
		return usage(errors.New("say what is to change: --display-name, --email, --phone, --address or --attribute"))
	}
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	if known {
		if u, err = c.UpdateUser(ctx, u.ID, api.UpdateUser{DisplayName: cmd.DisplayName, Email: cmd.Email, Phone: cmd.Phone, Address: cmd.Address}); err != nil {
			return err
		}
	}
	if len(cmd.Attribute) > 0 {
		if err := putAttributes(ctx, c, u, cmd.Attribute); err != nil {
			return err
		}
	}
	return s.print(u, func(w io.Writer) { fmt.Fprintf(w, "%s/%s is changed\n", plain(u.Realm), plain(u.Username)) })
}

type userInvite struct{ personArgument }

func (userInvite) Help() string {
	return `The link goes to the person's e-mail address, works once and for seven days. Where no mail is sent, or there is no address, it is printed here: give it to nobody else.

Examples:

    mintmark user create employees/jane --email jane@example.org --without-password
    mintmark user invite employees/jane`
}

func (cmd *userInvite) Run(ctx context.Context, s *Session) error {
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	in, err := c.InviteUser(ctx, u.ID)
	if err != nil {
		return err
	}
	return s.print(in, func(w io.Writer) {
		if in.Sent {
			fmt.Fprintf(w, "%s/%s is invited at %s\n", plain(u.Realm), plain(u.Username), plain(u.Email))
			return
		}
		s.say("no mail is sent: give this link to %s/%s, and to nobody else", u.Realm, u.Username)
		fmt.Fprintln(w, plain(in.Link))
	})
}
