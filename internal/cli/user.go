package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

type userCommands struct {
	Create      userCreate      `cmd:"" help:"Make a person known."`
	List        userList        `cmd:"" help:"List the people, or search them."`
	Show        userShow        `cmd:"" help:"Show one person, the groups it is in, and its attributes."`
	Disable     userDisable     `cmd:"" help:"Refuse a person, and end its sessions and access keys."`
	Enable      userEnable      `cmd:"" help:"Accept a person again."`
	Update      userUpdate      `cmd:"" help:"Change the name to show, the addresses, the telephone number or attributes of a person."`
	Import      userImport      `cmd:"" help:"Bring people in from another system, with the hashes of their passwords."`
	Export      userExport      `cmd:"" help:"Print all that is held of a person."`
	Erase       userErase       `cmd:"" help:"Erase a person and all that is held of it."`
	Invite      userInvite      `cmd:"" help:"Send somebody without a password a link to choose one."`
	SetPassword userSetPassword `cmd:"" help:"Give a person another password, and end all its sessions."`
	Factors     userFactors     `cmd:"" help:"See and take away what people sign in with besides a password."`
	Approvals   userApprovals   `cmd:"" help:"List what a person has allowed clients to do."`
	Withdraw    userWithdraw    `cmd:"" help:"Take back what a person has allowed a client, and end its tokens."`
}

// personArgument names a person by realm and name, as people do; the API knows ids.
type personArgument struct {
	Person string `arg:"" placeholder:"REALM/NAME" help:"Such as employees/jane."`
}

func (a personArgument) split() (realm, name string, err error) {
	return inRealm(a.Person, "REALM/NAME, such as employees/jane")
}

// inRealm reads a name that stands behind its realm, which may begin with a slash as everywhere.
func inRealm(text, form string) (realm, name string, err error) {
	realm, name, ok := strings.Cut(strings.TrimPrefix(text, "/"), "/")
	if !ok || realm == "" || name == "" {
		return "", "", usage(fmt.Errorf("%q is not %s", text, form))
	}
	return realm, name, nil
}

func (a personArgument) find(ctx context.Context, s *Session, c *client.Client) (*api.User, error) {
	realm, name, err := a.split()
	if err != nil {
		return nil, err
	}
	found, err := c.Users(ctx, client.UserQuery{Realm: realm, Username: name})
	if err != nil {
		return nil, err
	}
	if len(found.Items) != 1 {
		return nil, &explained{err: fmt.Errorf("there is no person %s in realm %s", name, realm), hint: "mintmark user list shows all of them."}
	}
	return &found.Items[0], nil
}

// known is the server, and the person as it knows it.
func (a personArgument) known(ctx context.Context, s *Session) (*client.Client, *api.User, error) {
	c, err := s.client()
	if err != nil {
		return nil, nil, err
	}
	u, err := a.find(ctx, s, c)
	return c, u, err
}

type userCreate struct {
	personArgument
	passwordFlags
	DisplayName     string `help:"Name to show. Default: the name."`
	Email           string `placeholder:"ADDRESS" help:"E-mail address; also a name to sign in with."`
	Phone           string `placeholder:"NUMBER" help:"Telephone number, for applications that the person lets see it."`
	Address         string `help:"Address of a house, likewise."`
	Admin           bool   `help:"Give the administrator role."`
	WithoutPassword bool   `help:"Set none: the person cannot sign in until it has one."`
}

func (userCreate) Help() string {
	return `Asks for the password, twice and without showing it, unless --password-file or --without-password is given. A password has at least 15 characters.

Examples:

    mintmark user create employees/jane --display-name "Jane Doe" --email jane@example.org
    mintmark user create employees/joe --password-file joe.password
    mintmark user create customers/acme --without-password`
}

func (cmd *userCreate) Run(ctx context.Context, s *Session, in io.Reader) error {
	realm, name, err := cmd.split()
	if err != nil {
		return err
	}
	if cmd.WithoutPassword && cmd.PasswordFile != "" {
		return usage(errors.New("--without-password and --password-file exclude one another"))
	}
	body := api.CreateUser{Realm: realm, Username: name, DisplayName: cmd.DisplayName, Email: cmd.Email, Phone: cmd.Phone, Address: cmd.Address, Admin: cmd.Admin}
	if !cmd.WithoutPassword {
		if body.Password, err = cmd.read(ctx, s, in); err != nil {
			return err
		}
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	u, err := c.CreateUser(ctx, body)
	if err != nil {
		return err
	}
	return s.print(u, func(w io.Writer) {
		fmt.Fprintf(w, "user %s/%s with id %s\n", plain(u.Realm), plain(u.Username), plain(u.ID))
		if !u.HasPassword {
			s.say("it cannot sign in yet; invite it with: mintmark user invite %s/%s", u.Realm, u.Username)
		}
	})
}

type userList struct {
	Realm  string `help:"Only this realm."`
	Search string `placeholder:"TEXT" help:"Only people whose name, e-mail address, or name to show from any of its words on, begins so. Case and accents do not count."`
	Group  string `placeholder:"REALM/GROUP" help:"Only who is in this group."`
	State  string `placeholder:"STATE" help:"Only those who are enabled, or disabled."`
	Limit  int    `placeholder:"N" help:"Only so many. Default: all."`
}

func (userList) Help() string {
	return `Examples:

    mintmark user list
    mintmark user list --realm employees --search doe
    mintmark user list --state disabled --limit 50`
}

func (cmd *userList) Run(ctx context.Context, s *Session) error {
	if cmd.State != "" && cmd.State != "enabled" && cmd.State != "disabled" {
		return usage(fmt.Errorf("--state is enabled or disabled, not %q", cmd.State))
	}
	if cmd.Limit < 0 {
		return usage(errors.New("--limit must not be negative"))
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	q := client.UserQuery{Realm: cmd.Realm, Search: cmd.Search, State: cmd.State}
	if cmd.Group != "" {
		_, g, err := groupArgument{Group: cmd.Group}.known(ctx, s)
		if err != nil {
			return err
		}
		q.Group = g.ID
	}
	read := func(ctx context.Context, p client.Page) (*api.Users, error) {
		q.Page = p
		return c.Users(ctx, q)
	}
	all, more, err := somePages(ctx, cmd.Limit, read, func(p *api.Users) ([]api.User, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	if more {
		s.say("there are more; see them with a greater --limit, or search for more letters")
	}
	none := "there are no people yet; make one known with: mintmark user create REALM/NAME"
	if q.Realm+q.Search+q.State+q.Group != "" {
		none = "there are no such people"
	}
	return s.print(api.Users{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, u := range all {
			rows = append(rows, []string{u.Realm + "/" + u.Username, u.DisplayName, u.Email, whetherEnabled(u), yesNo(u.HasPassword), yesNo(u.Admin), u.ID})
		}
		s.table(w, none, []string{"PERSON", "NAME", "EMAIL", "ENABLED", "PASSWORD", "ADMIN", "ID"}, rows)
	})
}

// whetherEnabled says why somebody is not.
func whetherEnabled(u api.User) string {
	if u.DisabledReason != "" {
		return "no: " + u.DisabledReason
	}
	return yesNo(u.Enabled)
}

type userDisable struct {
	personArgument
	Reason string `help:"Why, for other administrators; one line."`
}

func (userDisable) Help() string {
	return `Its sessions and access keys end within a second on every node. Enabling it again revives none of them.

Examples:

    mintmark user disable employees/jane
    mintmark user disable employees/jane --reason "left the company"`
}

func (cmd *userDisable) Run(ctx context.Context, s *Session) error {
	return cmd.change(ctx, s, "disabled", func(c *client.Client, ctx context.Context, id string) (*api.User, error) {
		return c.BlockUser(ctx, id, api.DisableUser{Reason: cmd.Reason})
	})
}

type userEnable struct{ personArgument }

func (userEnable) Help() string {
	return `Examples:

    mintmark user enable employees/jane`
}

func (cmd *userEnable) Run(ctx context.Context, s *Session) error {
	return cmd.change(ctx, s, "enabled", (*client.Client).EnableUser)
}

func (a personArgument) change(ctx context.Context, s *Session, done string, f func(*client.Client, context.Context, string) (*api.User, error)) error {
	c, u, err := a.known(ctx, s)
	if err != nil {
		return err
	}
	if u, err = f(c, ctx, u.ID); err != nil {
		return err
	}
	return s.print(u, func(w io.Writer) { fmt.Fprintf(w, "%s/%s is %s\n", plain(u.Realm), plain(u.Username), done) })
}

type userSetPassword struct {
	personArgument
	passwordFlags
}

func (userSetPassword) Help() string {
	return `Asks for the password, twice and without showing it, unless --password-file is given. The person must sign in again everywhere.

Examples:

    mintmark user set-password employees/admin
    mintmark user set-password employees/jane --password-file jane.password`
}

func (cmd *userSetPassword) Run(ctx context.Context, s *Session, in io.Reader) error {
	if _, _, err := cmd.split(); err != nil {
		return err
	}
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	password, err := cmd.read(ctx, s, in)
	if err != nil {
		return err
	}
	if err := c.SetUserPassword(ctx, u.ID, api.SetPassword{Password: password}); err != nil {
		return err
	}
	u.HasPassword = true
	return s.print(u, func(w io.Writer) {
		fmt.Fprintf(w, "%s/%s has a new password; all its sessions have ended\n", plain(u.Realm), plain(u.Username))
	})
}
