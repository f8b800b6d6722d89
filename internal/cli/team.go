package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/api"
)

type teamCommands struct {
	Create teamCreate `cmd:"" help:"Create or replace a team."`
	List   teamList   `cmd:"" help:"List the teams."`
	Show   teamShow   `cmd:"" help:"Show one team."`
}

type teamCreate struct {
	ID     string   `arg:"" help:"Such as shop."`
	Name   string   `help:"For people. Default: the id."`
	Member []string `placeholder:"REALM/NAME" help:"Such as employees/jane. Repeat it for more; these are all members afterwards."`
}

func (teamCreate) Help() string {
	return `Examples:

    mintmark team create shop --name "Shop" --member employees/jane --member employees/joe`
}

func (cmd *teamCreate) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	name := cmd.Name
	if name == "" {
		name = cmd.ID
	}
	t, err := c.PutTeam(ctx, cmd.ID, api.PutTeam{Name: name, Members: cmd.Member})
	if err != nil {
		return err
	}
	return s.print(t, func(w io.Writer) { fmt.Fprintf(w, "team %s with %d members\n", plain(t.ID), len(t.Members)) })
}

type teamList struct{}

func (teamList) Help() string {
	return `Examples:

    mintmark team list`
}

func (teamList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	all, err := everyPage(ctx, c.Teams, func(p *api.Teams) ([]api.Team, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.Teams{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, t := range all {
			rows = append(rows, []string{t.ID, t.Name, strconv.Itoa(len(t.Members))})
		}
		s.table(w, "there are no teams yet; create one with: mintmark team create ID", []string{"ID", "NAME", "MEMBERS"}, rows)
	})
}

type teamShow struct {
	ID string `arg:"" help:"Such as shop."`
}

func (teamShow) Help() string {
	return `Examples:

    mintmark team show shop`
}

func (cmd *teamShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	t, err := c.Team(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(t, func(w io.Writer) {
		fields(w, "id", t.ID, "name", t.Name, "members", strings.Join(t.Members, ", "), "changed", s.at(t.LastModified)+" by "+t.LastModifiedBy)
	})
}
