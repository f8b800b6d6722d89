package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
)

type registrationTokenCommands struct {
	Create registrationTokenCreate `cmd:"" help:"Make a token with which clients may register themselves, and print it once."`
	List   registrationTokenList   `cmd:"" help:"List those tokens."`
	Delete registrationTokenDelete `cmd:"" help:"End such a token. What was registered with it stays."`
}

type registrationTokenCreate struct {
	Label        string        `required:"" help:"Who gets it, to know it again."`
	Team         string        `help:"The team that will own what is registered with it."`
	Scope        []string      `placeholder:"SCOPE" help:"A resource owner scope that a client may ask people for. Repeat it for more."`
	Grant        []string      `placeholder:"GRANT" help:"A grant that may be registered. Repeat it for more. Default: authorization_code and the device grant."`
	RedirectHost []string      `placeholder:"HOST" help:"A host of redirect URIs; .example.org is each host below it. Repeat it for more. Default: any."`
	MaxUses      int64         `default:"1" help:"How many clients may be registered with it."`
	Expires      time.Duration `default:"720h" help:"After how long it ends."`
}

func (registrationTokenCreate) Help() string {
	return `Examples:

    mintmark client registration-token create --label "partner" --team shop --redirect-host partner.example.org`
}

func (cmd *registrationTokenCreate) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	t, err := c.CreateRegistrationToken(ctx, api.PostRegistrationToken{
		Label: cmd.Label, TeamID: cmd.Team, Scopes: cmd.Scope, GrantTypes: cmd.Grant, RedirectHosts: cmd.RedirectHost, MaxUses: cmd.MaxUses, Expires: s.after(cmd.Expires),
	})
	if err != nil {
		return err
	}
	return s.print(t, func(w io.Writer) {
		fmt.Fprintln(w, plain(t.Token))
		s.say("token %s (%s) is good for %d and is not shown again", t.ID, t.Label, t.MaxUses)
	})
}

type registrationTokenList struct{}

func (registrationTokenList) Help() string {
	return `Examples:

    mintmark client registration-token list`
}

func (cmd *registrationTokenList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	list, err := everyPage(ctx, c.RegistrationTokens, func(p *api.RegistrationTokens) ([]api.RegistrationToken, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.RegistrationTokens{Items: list}, func(w io.Writer) {
		var rows [][]string
		for _, t := range list {
			rows = append(rows, []string{t.ID, t.Label, t.TeamID, strconv.FormatInt(t.Uses, 10) + " of " + strconv.FormatInt(t.MaxUses, 10), s.at(t.Expires), strings.Join(t.RedirectHosts, " ")})
		}
		s.table(w, "there are no tokens to register with", []string{"ID", "LABEL", "TEAM", "USED", "EXPIRES", "HOSTS"}, rows)
	})
}

type registrationTokenDelete struct {
	ID string `arg:"" help:"Id of the token, as registration-token list shows it."`
}

func (registrationTokenDelete) Help() string {
	return `Examples:

    mintmark client registration-token delete rgt_01k8p4x0v3c9m6t2r5w8y1z4q7`
}

func (cmd *registrationTokenDelete) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DeleteRegistrationToken(ctx, cmd.ID); err != nil {
		return err
	}
	s.say("ended registration token %s", cmd.ID)
	return nil
}
