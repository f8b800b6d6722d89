package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
)

type userExport struct{ personArgument }

func (userExport) Help() string {
	return `Prints JSON: profile, groups, factors without their secrets, sessions, devices, what clients were allowed, and the audit log's events about the person. Who has the file knows all that; the log tells that it was made.

Examples:

    mintmark user export employees/jane > jane.json`
}

func (cmd *userExport) Run(ctx context.Context, s *Session) error {
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	held, err := c.ExportUser(ctx, u.ID)
	if err != nil {
		return err
	}
	return s.encode(held, "  ")
}

type userErase struct {
	personArgument
	Yes bool `help:"Do not ask back: erase it. It cannot be undone."`
}

func (userErase) Help() string {
	return `All that is held of the person goes at once: profile, password, factors, sessions, devices, groups, approvals; its tokens end everywhere within a second. The id stays, as nobody's name, and the audit log as it is. The name is free for somebody else, who gets another id.

Examples:

    mintmark user export employees/jane > jane.json
    mintmark user erase employees/jane --yes`
}

func (cmd *userErase) Run(ctx context.Context, s *Session) error {
	if !cmd.Yes {
		return usage(errors.New("what is erased cannot be brought back: say --yes if that is meant"))
	}
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	if err := c.EraseUser(ctx, u.ID, u.Username); err != nil {
		return err
	}
	return s.print(map[string]string{"erased": u.ID}, func(w io.Writer) {
		fmt.Fprintf(w, "%s/%s is erased; what is left is the id %s\n", plain(u.Realm), plain(u.Username), plain(u.ID))
	})
}
