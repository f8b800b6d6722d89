package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/api"
)

type scopeCommands struct {
	Type   typeCommands `cmd:"" help:"Resource types."`
	Create scopeCreate  `cmd:"" help:"Create or replace a scope."`
	List   scopeList    `cmd:"" help:"List the scopes of a resource type."`
	Show   scopeShow    `cmd:"" help:"Show one scope."`
	Delete scopeDelete  `cmd:"" help:"Delete a scope that nobody holds."`
}

type typeCommands struct {
	Create typeCreate `cmd:"" help:"Create or replace a resource type."`
	List   typeList   `cmd:"" help:"List the resource types."`
	Show   typeShow   `cmd:"" help:"Show one resource type."`
	Delete typeDelete `cmd:"" help:"Delete a resource type and its scopes, unless somebody holds one."`
}

// scopeName is the full name of a scope: what stands behind the last dot is its id.
type scopeName struct {
	Scope string `arg:"" help:"Full name, such as sales_order.read_all."`
}

func (n scopeName) split() (resourceType, id string, err error) {
	cut := strings.LastIndexByte(n.Scope, '.')
	if cut <= 0 || cut == len(n.Scope)-1 {
		return "", "", usage(fmt.Errorf("%q is not the full name of a scope: write <resource type>.<scope>, such as sales_order.read_all", n.Scope))
	}
	return n.Scope[:cut], n.Scope[cut+1:], nil
}

type typeCreate struct {
	ID             string   `arg:"" help:"Such as sales_order."`
	Name           string   `help:"For people. Default: the id."`
	Description    string   `help:"What the data is (Markdown)."`
	ResourceOwners []string `name:"owner-realm" placeholder:"REALM" help:"A realm whose users own such data, such as customers. Repeat it for more."`
	Team           string   `help:"The team that may change it. Not needed if an application of the same name owns it."`
}

func (typeCreate) Help() string {
	return `A resource type is a class of data. Scopes stand on resource types.

Examples:

    mintmark scope type create sales_order --name "Sales order" --team shop --owner-realm customers`
}

func (cmd *typeCreate) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	name := cmd.Name
	if name == "" {
		name = cmd.ID
	}
	t, err := c.PutResourceType(ctx, cmd.ID, api.PutResourceType{Name: name, Description: cmd.Description, ResourceOwners: cmd.ResourceOwners, TeamID: cmd.Team})
	if err != nil {
		return err
	}
	return s.print(t, func(w io.Writer) {
		fmt.Fprintf(w, "resource type %s of team %s\n", plain(t.ID), plain(t.TeamID))
	})
}

type typeList struct{}

func (typeList) Help() string {
	return `Examples:

    mintmark scope type list
    mintmark scope type list -o json`
}

func (typeList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	all, err := everyPage(ctx, c.ResourceTypes, func(p *api.ResourceTypes) ([]api.ResourceType, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.ResourceTypes{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, t := range all {
			rows = append(rows, []string{t.ID, t.Name, t.TeamID, strings.Join(t.ResourceOwners, ",")})
		}
		s.table(w, "there are no resource types yet", []string{"ID", "NAME", "TEAM", "OWNER REALMS"}, rows)
	})
}

type typeShow struct {
	ID string `arg:"" help:"Such as sales_order."`
}

func (typeShow) Help() string {
	return `Examples:

    mintmark scope type show sales_order`
}

func (cmd *typeShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	t, err := c.ResourceType(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(t, func(w io.Writer) {
		fields(w, "id", t.ID, "name", t.Name, "description", t.Description, "team", t.TeamID, "owned by", t.OwnedBy,
			"owner realms", strings.Join(t.ResourceOwners, ", "), "changed", s.at(t.LastModified)+" by "+t.LastModifiedBy)
	})
}

type typeDelete struct {
	ID string `arg:"" help:"Such as sales_order."`
}

func (typeDelete) Help() string {
	return `Examples:

    mintmark scope type delete sales_order`
}

func (cmd *typeDelete) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DeleteResourceType(ctx, cmd.ID); err != nil {
		return err
	}
	s.say("deleted resource type %s and its scopes", cmd.ID)
	return nil
}

type scopeCreate struct {
	scopeName
	Summary     string `help:"One line for people. Default: the name."`
	Description string `help:"What it permits (Markdown)."`
	Consent     string `placeholder:"TEXT" help:"For the consent page: 'the application would like to …'."`
	ByOwner     bool   `help:"Resource owners give it by consent. Without this an administrator grants it to applications."`
	Criticality int    `default:"2" help:"1 (low) to 3 (high)."`
}

func (scopeCreate) Help() string {
	return `A resource owner scope (--by-owner) is given by the owner of the data, by consent. An application scope is granted to an application by an administrator, for what it does on its own account.

Examples:

    mintmark scope create sales_order.read --by-owner --summary "Read your orders"
    mintmark scope create sales_order.read_all --summary "Read the orders of everybody"`
}

func (cmd *scopeCreate) Run(ctx context.Context, s *Session) error {
	resourceType, id, err := cmd.split()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	summary := cmd.Summary
	if summary == "" {
		summary = cmd.Scope
	}
	scope, err := c.PutScope(ctx, resourceType, id, api.PutScope{Summary: summary, Description: cmd.Description, UserInformation: cmd.Consent,
		IsResourceOwnerScope: cmd.ByOwner, CriticalityLevel: cmd.Criticality})
	if err != nil {
		return err
	}
	return s.print(scope, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s\n", scopeKind(*scope), plain(scope.ResourceType+"."+scope.ID))
	})
}

func scopeKind(s api.Scope) string {
	if s.IsResourceOwnerScope {
		return "resource owner scope"
	}
	return "application scope"
}

type scopeList struct {
	Type string `arg:"" help:"A resource type, such as sales_order."`
}

func (scopeList) Help() string {
	return `Examples:

    mintmark scope list sales_order`
}

func (cmd *scopeList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	scopes, err := c.Scopes(ctx, cmd.Type)
	if err != nil {
		return err
	}
	return s.print(scopes, func(w io.Writer) {
		var rows [][]string
		for _, x := range scopes.Items {
			rows = append(rows, []string{x.ResourceType + "." + x.ID, scopeKind(x), strconv.Itoa(x.CriticalityLevel), x.Summary})
		}
		s.table(w, "there are no scopes on "+cmd.Type+" yet", []string{"SCOPE", "KIND", "CRITICALITY", "SUMMARY"}, rows)
	})
}

type scopeShow struct{ scopeName }

func (scopeShow) Help() string {
	return `Examples:

    mintmark scope show sales_order.read_all`
}

func (cmd *scopeShow) Run(ctx context.Context, s *Session) error {
	resourceType, id, err := cmd.split()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	x, err := c.Scope(ctx, resourceType, id)
	if err != nil {
		return err
	}
	return s.print(x, func(w io.Writer) {
		fields(w, "scope", x.ResourceType+"."+x.ID, "kind", scopeKind(*x), "summary", x.Summary, "description", x.Description, "consent", x.UserInformation,
			"criticality", strconv.Itoa(x.CriticalityLevel), "changed", s.at(x.LastModified)+" by "+x.LastModifiedBy)
	})
}

type scopeDelete struct{ scopeName }

func (scopeDelete) Help() string {
	return `Examples:

    mintmark scope delete sales_order.read_all`
}

func (cmd *scopeDelete) Run(ctx context.Context, s *Session) error {
	resourceType, id, err := cmd.split()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DeleteScope(ctx, resourceType, id); err != nil {
		return err
	}
	s.say("deleted scope %s", cmd.Scope)
	return nil
}
