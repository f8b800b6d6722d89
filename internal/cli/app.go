package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

type appCommands struct {
	Create     appCreate          `cmd:"" aliases:"register" help:"Register an application: it gets a service user and an OAuth client."`
	List       appList            `cmd:"" help:"List applications."`
	Show       appShow            `cmd:"" help:"Show one application."`
	Update     appUpdate          `cmd:"" help:"Change what is said about an application."`
	Deactivate appDeactivate      `cmd:"" help:"End an application: its credentials are refused within a second."`
	Activate   appActivate        `cmd:"" help:"Let a deactivated application come back, with new credentials."`
	Grant      appGrant           `cmd:"" help:"Give an application a scope."`
	Revoke     appRevoke          `cmd:"" help:"Take a scope from an application."`
	Scopes     appScopes          `cmd:"" help:"List the scopes that an application holds."`
	Bucket     appBucketCommands  `cmd:"" help:"Where the application's credentials are delivered."`
	Status     appStatus          `cmd:"" help:"How its credentials are: versions, deliveries, problems."`
	StorageKey storageKeyCommands `cmd:"" help:"S3 access keys for the application's agent."`
}

// appID is the argument of most commands here.
type appID struct {
	ID string `arg:"" help:"Id of the application, such as sales-orders."`
}

// appTexts are what is said about an application. A pointer that is nil leaves what is there.
type appTexts struct {
	Name             *string `group:"texts" help:"For people."`
	Subtitle         *string `group:"texts" help:"What it is, in a line."`
	Description      *string `group:"texts" help:"What it is (Markdown)."`
	ServiceURL       *string `group:"texts" placeholder:"URL" help:"Where it answers."`
	ScmURL           *string `group:"texts" placeholder:"URL" help:"Where its source is."`
	DocumentationURL *string `group:"texts" placeholder:"URL" help:"Where it is described."`
	SupportURL       *string `group:"texts" placeholder:"URL" help:"Where its users get help."`
	IncidentContact  *string `group:"texts" placeholder:"WHO" help:"Whom to call at night."`
	Criticality      *int    `group:"texts" help:"1 (most critical) to 3; 4: not relevant."`
}

func (t appTexts) put() api.PutApplication {
	return api.PutApplication{Name: t.Name, Subtitle: t.Subtitle, Description: t.Description, ServiceURL: t.ServiceURL, SCMURL: t.ScmURL,
		DocumentationURL: t.DocumentationURL, SupportURL: t.SupportURL, IncidentContact: t.IncidentContact, CriticalityLevel: t.Criticality}
}

type appCreate struct {
	appID
	Team         string `required:"" help:"The team that owns it."`
	PublicClient bool   `help:"It cannot keep a secret (a browser or mobile program): its client gets none."`
	appTexts
}

func (appCreate) Help() string {
	return `The id names the application for ever: lower-case letters, digits and hyphens. Next, give it a bucket (app bucket add) for its credentials and scopes (app grant) for its work.

Examples:

    mintmark app create sales-orders --team shop --name "Sales orders"`
}

func (cmd *appCreate) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	body, active, confidential := cmd.put(), true, !cmd.PublicClient
	body.TeamID, body.Active, body.IsClientConfidential = &cmd.Team, &active, &confidential
	if body.Name == nil {
		body.Name = &cmd.ID
	}
	a, err := c.PutApplication(ctx, cmd.ID, body, client.CreateOnly())
	if err != nil {
		return err
	}
	return s.print(a, func(w io.Writer) {
		fmt.Fprintf(w, "application %s of team %s: service user %s, OAuth client %s\n", plain(a.ID), plain(a.TeamID), plain(a.ServiceUsername), plain(a.ClientID))
		s.say("next: mintmark app bucket add %s BUCKET", a.ID)
	})
}

type appList struct {
	Team   string `help:"Only of this team."`
	Search string `placeholder:"TEXT" help:"Only with this text in the id, the name or the description."`
	Active bool   `help:"Only active ones."`
}

func (appList) Help() string {
	return `Examples:

    mintmark app list
    mintmark app list --team shop -o json`
}

func (cmd *appList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	query := client.ApplicationQuery{Team: cmd.Team, Search: cmd.Search}
	if cmd.Active {
		query.Active = &cmd.Active
	}
	read := func(ctx context.Context, p client.Page) (*api.Applications, error) {
		q := query
		q.Page = p
		return c.Applications(ctx, q)
	}
	all, err := everyPage(ctx, read, func(p *api.Applications) ([]api.Application, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.Applications{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, a := range all {
			rows = append(rows, []string{a.ID, a.TeamID, yesNo(a.Active), a.Name})
		}
		s.table(w, "there are no such applications", []string{"ID", "TEAM", "ACTIVE", "NAME"}, rows)
	})
}

type appShow struct{ appID }

func (appShow) Help() string {
	return `How its credentials are: app status.

Examples:

    mintmark app show sales-orders`
}

func (cmd *appShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	a, err := c.Application(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(a, func(w io.Writer) {
		criticality := "not classified"
		if a.CriticalityLevel != nil {
			criticality = strconv.Itoa(*a.CriticalityLevel)
		}
		fields(w, "id", a.ID, "name", a.Name, "subtitle", a.Subtitle, "description", a.Description, "team", a.TeamID, "active", yesNo(a.Active),
			"service user", a.ServiceUsername, "client", a.ClientID, "confidential", yesNo(a.IsClientConfidential),
			"service", a.ServiceURL, "source", a.SCMURL, "documentation", a.DocumentationURL, "support", a.SupportURL, "incidents", a.IncidentContact,
			"criticality", criticality, "created", s.at(a.Created)+" by "+a.CreatedBy, "changed", s.at(a.LastModified)+" by "+a.LastModifiedBy)
	})
}

type appUpdate struct {
	appID
	Team string `help:"Hand it over to this team."`
	appTexts
}

func (appUpdate) Help() string {
	return `What is not named stays as it is; an empty text clears it.

Examples:

    mintmark app update sales-orders --incident-contact "shop on call"
    mintmark app update sales-orders --subtitle ""`
}

func (cmd *appUpdate) Run(ctx context.Context, s *Session) error {
	body := cmd.put()
	if cmd.Team != "" {
		body.TeamID = &cmd.Team
	}
	if body == (api.PutApplication{}) {
		return usage(fmt.Errorf("nothing to change was named"))
	}
	return change(ctx, s, cmd.ID, body, "changed")
}

// change alters an application that exists, and only as it is now: an update must not create what was mistyped, nor
// undo what somebody else did in the same moment.
func change(ctx context.Context, s *Session, id string, body api.PutApplication, done string) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var etag string
	if _, err := c.Application(ctx, id, client.ETag(&etag)); err != nil {
		return err
	}
	a, err := c.PutApplication(ctx, id, body, client.IfMatch(etag))
	if err != nil {
		return err
	}
	return s.print(a, func(w io.Writer) { fmt.Fprintf(w, "application %s %s\n", plain(a.ID), done) })
}

type appDeactivate struct{ appID }

func (appDeactivate) Help() string {
	return `Its service user and its client are refused by every server within a second, and its credentials are not renewed. It keeps its id, its scopes and its history.

Examples:

    mintmark app deactivate sales-orders`
}

func (cmd *appDeactivate) Run(ctx context.Context, s *Session) error {
	active := false
	return change(ctx, s, cmd.ID, api.PutApplication{Active: &active}, "deactivated: its credentials are refused from now on")
}

type appActivate struct{ appID }

func (appActivate) Help() string {
	return `New credentials go to its buckets; the old ones stay dead.

Examples:

    mintmark app activate sales-orders`
}

func (cmd *appActivate) Run(ctx context.Context, s *Session) error {
	active := true
	return change(ctx, s, cmd.ID, api.PutApplication{Active: &active}, "activated: new credentials go to its buckets")
}

// grantArguments name an application and a scope.
type grantArguments struct {
	Application string `arg:"" help:"Id of the application."`
	Scope       string `arg:"" help:"Full name of the scope, such as sales_order.read_all."`
}

type appGrant struct{ grantArguments }

func (appGrant) Help() string {
	return `An application scope is what the application may do on its own account; only an administrator grants it. A resource owner scope is what its client may ask resource owners for; the owning team declares it.

Examples:

    mintmark app grant sales-orders sales_order.read_all`
}

func (cmd *appGrant) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	g, err := c.GrantScope(ctx, cmd.Application, cmd.Scope)
	if err != nil {
		return err
	}
	return s.print(g, func(w io.Writer) {
		may := "may do"
		if g.Kind == "resource_owner" {
			may = "may ask resource owners for"
		}
		fmt.Fprintf(w, "%s %s %s\n", plain(cmd.Application), may, plain(g.Scope))
	})
}

type appRevoke struct{ grantArguments }

func (appRevoke) Help() string {
	return `New tokens come without it at once.

Examples:

    mintmark app revoke sales-orders sales_order.read_all`
}

func (cmd *appRevoke) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.RevokeScope(ctx, cmd.Application, cmd.Scope); err != nil {
		return err
	}
	s.say("took %s from %s", cmd.Scope, cmd.Application)
	return nil
}

type appScopes struct{ appID }

func (appScopes) Help() string {
	return `Examples:

    mintmark app scopes sales-orders`
}

func (cmd *appScopes) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	grants, err := c.Grants(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(grants, func(w io.Writer) {
		var rows [][]string
		for _, g := range grants.Items {
			rows = append(rows, []string{g.Scope, g.Kind, s.at(g.Granted), g.GrantedBy})
		}
		s.table(w, cmd.ID+" holds no scopes", []string{"SCOPE", "KIND", "GRANTED", "BY"}, rows)
	})
}
