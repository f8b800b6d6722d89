package cli

import (
	"context"
	"io"
	"strings"

	"github.com/mintmark/mintmark/api"
)

type userShow struct{ personArgument }

func (userShow) Help() string {
	return `Examples:

    mintmark user show employees/jane
    mintmark user show employees/jane -o json`
}

// shownUser is what user show prints for programs.
type shownUser struct {
	*api.User
	Groups     []api.Group         `json:"groups"`
	Attributes []api.UserAttribute `json:"attributes"`
}

func (cmd *userShow) Run(ctx context.Context, s *Session) error {
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	of, err := c.UserGroups(ctx, u.ID)
	if err != nil {
		return err
	}
	kept, err := c.UserAttributes(ctx, u.ID)
	if err != nil {
		return err
	}
	return s.print(shownUser{u, of.Items, kept.Items}, func(w io.Writer) {
		var names []string
		for _, g := range of.Items {
			names = append(names, g.Name)
		}
		fields(w, append([]string{"id", u.ID, "realm", u.Realm, "username", u.Username, "name", u.DisplayName, "email", u.Email, "verified", yesNo(u.EmailVerified), "phone", u.Phone, "address", u.Address,
			"enabled", whetherEnabled(*u), "password", yesNo(u.HasPassword), "admin", yesNo(u.Admin), "groups", strings.Join(names, ", "), "created", s.at(u.Created)}, attributeFields(kept.Items)...)...)
	})
}
