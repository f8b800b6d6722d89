package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
)

type userApprovals struct{ personArgument }

func (userApprovals) Help() string {
	return `Examples:

    mintmark user approvals customers/alice`
}

func (cmd *userApprovals) Run(ctx context.Context, s *Session) error {
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	list, err := c.Approvals(ctx, u.ID)
	if err != nil {
		return err
	}
	return s.print(list, func(w io.Writer) {
		var rows [][]string
		for _, a := range list.Items {
			used := "never"
			if a.LastUsed != nil {
				used = s.at(*a.LastUsed)
			}
			rows = append(rows, []string{a.Application, a.ClientID, strings.Join(a.Scopes, " "), s.at(a.Granted), used})
		}
		s.table(w, "this person has not allowed any client anything", []string{"APPLICATION", "CLIENT", "SCOPES", "ALLOWED", "LAST USED"}, rows)
	})
}

type userWithdraw struct {
	personArgument
	Client string `arg:"" placeholder:"CLIENT" help:"Id of the client, as user approvals shows it."`
}

func (userWithdraw) Help() string {
	return `Every token that the client has for this person ends within a second on every node. The client may ask the person again.

Examples:

    mintmark user withdraw customers/alice cli_01jd3vqk3w8n2m6x5y4z7a9b0c`
}

func (cmd *userWithdraw) Run(ctx context.Context, s *Session) error {
	c, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	if err := c.WithdrawApproval(ctx, u.ID, cmd.Client); err != nil {
		return err
	}
	return s.print(struct {
		ClientID string `json:"client_id"`
	}{cmd.Client}, func(w io.Writer) {
		fmt.Fprintf(w, "took back what %s/%s allowed %s\n", plain(u.Realm), plain(u.Username), plain(cmd.Client))
	})
}
