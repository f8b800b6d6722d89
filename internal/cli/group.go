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

type groupCommands struct {
	Create  groupCreate  `cmd:"" help:"Make a group."`
	List    groupList    `cmd:"" help:"List groups, or search them."`
	Show    groupShow    `cmd:"" help:"Show one group."`
	Update  groupUpdate  `cmd:"" help:"Change name or description."`
	Delete  groupDelete  `cmd:"" help:"Delete a group."`
	Members groupMembers `cmd:"" help:"List who is in a group."`
	Add     groupAdd     `cmd:"" help:"Put people into a group."`
	Remove  groupRemove  `cmd:"" help:"Take people out of a group."`
}

// groupArgument names a group by realm and name, as people do; the API knows ids.
type groupArgument struct {
	Group string `arg:"" placeholder:"REALM/GROUP" help:"Such as employees/engineering."`
}

func (a groupArgument) split() (realm, name string, err error) {
	return inRealm(a.Group, "REALM/GROUP, such as employees/engineering")
}

// known is the server, and the group as it knows it. The shortest name that begins so is the first: if it is not the one,
// there is none.
func (a groupArgument) known(ctx context.Context, s *Session) (*client.Client, *api.Group, error) {
	realm, name, err := a.split()
	if err != nil {
		return nil, nil, err
	}
	c, err := s.client()
	if err != nil {
		return nil, nil, err
	}
	found, err := c.Groups(ctx, client.GroupQuery{Realm: realm, Search: name, Page: client.Page{Limit: 1}})
	if err != nil {
		return nil, nil, err
	}
	if len(found.Items) == 0 || !strings.EqualFold(found.Items[0].Name, name) {
		return nil, nil, &explained{err: fmt.Errorf("there is no group %s in realm %s", name, realm), hint: "mintmark group list shows all of them."}
	}
	return c, &found.Items[0], nil
}

type groupCreate struct {
	groupArgument
	Description string `help:"For administrators."`
}

func (groupCreate) Help() string {
	return `A group gives no rights here: it is a word that clients are told, if they may ask for the scope groups (client set --person-scope groups) and the person allows it.

Examples:

    mintmark group create employees/engineering --description "Who builds it"`
}

func (cmd *groupCreate) Run(ctx context.Context, s *Session) error {
	realm, name, err := cmd.split()
	if err != nil {
		return err
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	g, err := c.CreateGroup(ctx, api.CreateGroup{Realm: realm, Name: name, Description: cmd.Description})
	if err != nil {
		return err
	}
	return s.print(g, func(w io.Writer) {
		fmt.Fprintf(w, "group %s/%s with id %s\n", plain(g.Realm), plain(g.Name), plain(g.ID))
	})
}

type groupList struct {
	Realm  string `help:"Only this realm."`
	Search string `placeholder:"TEXT" help:"Only groups whose name begins so; needs --realm."`
}

func (groupList) Help() string {
	return `Examples:

    mintmark group list
    mintmark group list --realm employees --search eng`
}

func (cmd *groupList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	read := func(ctx context.Context, p client.Page) (*api.Groups, error) {
		return c.Groups(ctx, client.GroupQuery{Page: p, Realm: cmd.Realm, Search: cmd.Search})
	}
	all, err := everyPage(ctx, read, func(p *api.Groups) ([]api.Group, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.Groups{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, g := range all {
			rows = append(rows, []string{g.Realm + "/" + g.Name, g.Description, g.ID})
		}
		s.table(w, "there are no such groups; make one with: mintmark group create REALM/GROUP", []string{"GROUP", "DESCRIPTION", "ID"}, rows)
	})
}

type groupShow struct{ groupArgument }

func (groupShow) Help() string {
	return `Examples:

    mintmark group show employees/engineering`
}

func (cmd *groupShow) Run(ctx context.Context, s *Session) error {
	_, g, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	return s.print(g, func(w io.Writer) {
		fields(w, "id", g.ID, "realm", g.Realm, "name", g.Name, "description", g.Description, "created", s.at(g.Created)+" by "+g.CreatedBy)
	})
}

type groupUpdate struct {
	groupArgument
	Name        *string `help:"Another name. Clients are told it from then on."`
	Description *string `help:"For administrators; empty: none."`
}

func (groupUpdate) Help() string {
	return `What is not given stays as it is.

Examples:

    mintmark group update employees/engineering --name platform`
}

func (cmd *groupUpdate) Run(ctx context.Context, s *Session) error {
	if cmd.Name == nil && cmd.Description == nil {
		return usage(errors.New("say what is to change: --name or --description"))
	}
	c, g, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	body := api.UpdateGroup{Name: g.Name, Description: g.Description}
	if cmd.Name != nil {
		body.Name = *cmd.Name
	}
	if cmd.Description != nil {
		body.Description = *cmd.Description
	}
	if g, err = c.UpdateGroup(ctx, g.ID, body); err != nil {
		return err
	}
	return s.print(g, func(w io.Writer) { fmt.Fprintf(w, "%s/%s is changed\n", plain(g.Realm), plain(g.Name)) })
}

type groupDelete struct {
	groupArgument
	Yes bool `help:"Do not ask back: delete it, with all memberships."`
}

func (groupDelete) Help() string {
	return `Its people stay; clients are not told of the group any more.

Examples:

    mintmark group delete employees/engineering --yes`
}

func (cmd *groupDelete) Run(ctx context.Context, s *Session) error {
	if !cmd.Yes {
		return usage(errors.New("who is in the group is forgotten with it: say --yes if that is meant"))
	}
	c, g, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	if err := c.DeleteGroup(ctx, g.ID); err != nil {
		return err
	}
	return s.print(g, func(w io.Writer) { fmt.Fprintf(w, "%s/%s is deleted\n", plain(g.Realm), plain(g.Name)) })
}

type groupMembers struct{ groupArgument }

func (groupMembers) Help() string {
	return `Examples:

    mintmark group members employees/engineering`
}

func (cmd *groupMembers) Run(ctx context.Context, s *Session) error {
	c, g, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	read := func(ctx context.Context, p client.Page) (*api.GroupMembers, error) {
		return c.GroupMembers(ctx, g.ID, p)
	}
	all, err := everyPage(ctx, read, func(p *api.GroupMembers) ([]api.GroupMember, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.GroupMembers{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, m := range all {
			rows = append(rows, []string{m.Realm + "/" + m.Username, m.DisplayName, s.at(m.Added) + " by " + m.AddedBy})
		}
		s.table(w, "nobody is in the group; add people with: mintmark group add REALM/GROUP NAME", []string{"PERSON", "NAME", "SINCE"}, rows)
	})
}

// people are the names of people of the group's own realm.
type groupPeople struct {
	groupArgument
	People []string `arg:"" placeholder:"NAME" help:"Usernames, in the realm of the group."`
}

func (a groupPeople) each(ctx context.Context, s *Session, done string, f func(*client.Client, context.Context, string, string) error) error {
	realm, _, err := a.split()
	if err != nil {
		return err
	}
	c, g, err := a.known(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range a.People {
		u, err := personArgument{Person: realm + "/" + name}.find(ctx, s, c)
		if err != nil {
			return err
		}
		if err := f(c, ctx, g.ID, u.ID); err != nil {
			return err
		}
		s.say("%s/%s %s %s", u.Realm, u.Username, done, g.Name)
	}
	return s.print(g, func(io.Writer) {})
}

type groupAdd struct{ groupPeople }

func (groupAdd) Help() string {
	return `Clients are told of it within a second, at the next token or userinfo.

Examples:

    mintmark group add employees/engineering jane joe`
}

func (cmd *groupAdd) Run(ctx context.Context, s *Session) error {
	return cmd.each(ctx, s, "is in group", (*client.Client).AddGroupMember)
}

type groupRemove struct{ groupPeople }

func (groupRemove) Help() string {
	return `Examples:

    mintmark group remove employees/engineering joe`
}

func (cmd *groupRemove) Run(ctx context.Context, s *Session) error {
	return cmd.each(ctx, s, "is no longer in group", (*client.Client).RemoveGroupMember)
}
