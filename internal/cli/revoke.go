package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
)

type revokeCommands struct {
	Session    revokeSession    `cmd:"" help:"End one session of a person, and what was begun in it."`
	Grant      revokeGrant      `cmd:"" help:"End one grant, and every token that came of it."`
	Client     revokeClient     `cmd:"" help:"End all that a client holds."`
	User       revokeUser       `cmd:"" help:"End all that a person holds, or the tokens of a service user."`
	Realm      revokeRealm      `cmd:"" help:"End all that the people or services of a realm hold."`
	Claims     revokeClaims     `cmd:"" help:"End the tokens that carry some claims."`
	Everything revokeEverything `cmd:"" help:"End every token, session and grant."`
	List       revokeList       `cmd:"" help:"List the revocations of many tokens that still count."`
	Refresh    revokeRefresh    `cmd:"" help:"Have servers and verifiers read all revocations again."`
	Rules      revokeRules      `cmd:"" help:"List who besides administrators may revoke what."`
	Allow      revokeAllow      `cmd:"" help:"Let callers revoke tokens."`
	Disallow   revokeDisallow   `cmd:"" help:"Take such a rule away."`
}

// revokeReason is what the audit log says.
type revokeReason struct {
	Reason string `required:"" help:"Why, for the audit log."`
}

func (s *Session) revoke(ctx context.Context, body api.Revoke) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	out, err := c.Revoke(ctx, body)
	if err != nil {
		return err
	}
	return s.print(out, func(w io.Writer) {
		if out.Revocation != nil {
			fmt.Fprintf(w, "tokens that were issued before %s are not valid any more; every server knows within a second\n", out.Revocation.IssuedBefore.UTC().Format(time.RFC3339))
		} else {
			fmt.Fprintln(w, "revoked; every server knows within a second")
		}
		if out.Sessions > 0 {
			fmt.Fprintf(w, "sessions ended: %d\n", out.Sessions)
		}
	})
}

type revokeSession struct {
	ID string `arg:"" help:"Id of the session, as the audit log shows it."`
	revokeReason
}

func (revokeSession) Help() string {
	return `Examples:

    mintmark revoke session ses_01k8p4x0v3c9m6t2r5w8y1z4q7 --reason "left the browser open"`
}

func (cmd *revokeSession) Run(ctx context.Context, s *Session) error {
	return s.revoke(ctx, api.Revoke{Kind: "session", ID: cmd.ID, Reason: cmd.Reason})
}

type revokeGrant struct {
	ID string `arg:"" help:"Id of the grant, the claim grant_id of its tokens."`
	revokeReason
}

func (revokeGrant) Help() string {
	return `Examples:

    mintmark revoke grant grt_01k8p4x0v3c9m6t2r5w8y1z4q7 --reason "refresh token in a public log"`
}

func (cmd *revokeGrant) Run(ctx context.Context, s *Session) error {
	return s.revoke(ctx, api.Revoke{Kind: "grant", ID: cmd.ID, Reason: cmd.Reason})
}

type revokeClient struct {
	ID string `arg:"" help:"Id of the client."`
	revokeReason
}

func (revokeClient) Help() string {
	return `The client itself stays: it gets new tokens with its credentials, which you may want to rotate.

Examples:

    mintmark revoke client cli_01k8p4x0v3c9m6t2r5w8y1z4q7 --reason "its tokens were logged"`
}

func (cmd *revokeClient) Run(ctx context.Context, s *Session) error {
	return s.revoke(ctx, api.Revoke{Kind: "client", ID: cmd.ID, Reason: cmd.Reason})
}

type revokeUser struct {
	personArgument
	Service bool `help:"It is a service user: services/NAME."`
	revokeReason
}

func (revokeUser) Help() string {
	return `The person may sign in again at once: to keep it out, disable it instead.

Examples:

    mintmark revoke user employees/jane --reason "laptop lost"
    mintmark revoke user --service services/sales-orders --reason "its token was logged"`
}

func (cmd *revokeUser) Run(ctx context.Context, s *Session) error {
	realm, name, err := cmd.split()
	if err != nil {
		return err
	}
	if cmd.Service {
		return s.revoke(ctx, api.Revoke{Kind: "user", ID: name, Realm: realm, Reason: cmd.Reason})
	}
	_, u, err := cmd.known(ctx, s)
	if err != nil {
		return err
	}
	return s.revoke(ctx, api.Revoke{Kind: "user", ID: u.ID, Reason: cmd.Reason})
}

type revokeRealm struct {
	Realm string `arg:"" help:"Such as employees."`
	revokeReason
	Yes bool `help:"Really: everybody of the realm must sign in again."`
}

func (revokeRealm) Help() string {
	return `Examples:

    mintmark revoke realm customers --reason "shop was broken into" --yes`
}

func (cmd *revokeRealm) Run(ctx context.Context, s *Session) error {
	if !cmd.Yes {
		return usage(fmt.Errorf("all of realm %s must sign in or get tokens again: say --yes if that is meant", cmd.Realm))
	}
	return s.revoke(ctx, api.Revoke{Kind: "realm", ID: cmd.Realm, Reason: cmd.Reason})
}

type revokeEverything struct {
	revokeReason
	Yes bool `help:"Really: everybody must sign in again, and every service get a new token."`
}

func (revokeEverything) Help() string {
	return `For an emergency. Clients and users stay: what they hold ends, and they get new tokens with their credentials. If a signing key is known to others, revoke the key as well.

Examples:

    mintmark revoke everything --reason "database copied" --yes`
}

func (cmd *revokeEverything) Run(ctx context.Context, s *Session) error {
	if !cmd.Yes {
		return usage(errors.New("everybody must sign in again, and every service get a new token: say --yes if that is meant"))
	}
	return s.revoke(ctx, api.Revoke{Kind: "everything", Reason: cmd.Reason})
}

type revokeClaims struct {
	Claims map[string]string `arg:"" placeholder:"NAME=VALUE" help:"Such as sub=sales-orders; a token is meant if it carries all of them."`
	Before *time.Time        `placeholder:"TIME" help:"Only tokens that were issued before, such as 2026-11-22T12:00:00Z. Default: now."`
	revokeReason
}

func (revokeClaims) Help() string {
	return `The claims are azp, client_id, grant_id, jti, realm and sub. Sessions and grants stay.

Examples:

    mintmark revoke claims sub=sales-orders realm=services --before 2026-11-22T12:00:00Z --reason "logged until noon"`
}

func (cmd *revokeClaims) Run(ctx context.Context, s *Session) error {
	return s.revoke(ctx, api.Revoke{Kind: "claims", Claims: cmd.Claims, IssuedBefore: cmd.Before, Reason: cmd.Reason})
}

type revokeList struct{}

func (revokeList) Help() string {
	return `Examples:

    mintmark revoke list`
}

// claimsText is how claims are shown.
func claimsText(claims map[string]string) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		words = append(words, name+"="+claims[name])
	}
	if words == nil {
		return "every token"
	}
	return strings.Join(words, " ")
}

func (cmd *revokeList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	all, err := everyPage(ctx, c.Revocations, func(p *api.Revocations) ([]api.Revocation, string) { return p.Items, p.NextCursor })
	if err != nil {
		return err
	}
	return s.print(api.Revocations{Items: all}, func(w io.Writer) {
		var rows [][]string
		for _, r := range all {
			rows = append(rows, []string{claimsText(r.Claims), s.at(r.IssuedBefore), s.at(r.Revoked), r.RevokedBy, r.Reason})
		}
		s.table(w, "nothing is revoked but single tokens", []string{"TOKENS WITH", "ISSUED BEFORE", "REVOKED", "BY", "REASON"}, rows)
	})
}

type revokeRefresh struct {
	Since time.Time `required:"" placeholder:"TIME" help:"Since when verifiers are to read them again, at most 31 days ago."`
}

func (revokeRefresh) Help() string {
	return `For when verifiers missed something, such as after a database was brought back from a backup.

Examples:

    mintmark revoke refresh --since 2026-11-22T12:00:00Z`
}

func (cmd *revokeRefresh) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.RefreshRevocations(ctx, api.RefreshRevocations{From: cmd.Since}); err != nil {
		return err
	}
	s.say("servers read all revocations again, and verifiers those since %s", cmd.Since.UTC().Format(time.RFC3339))
	return nil
}

type revokeRules struct{}

func (revokeRules) Help() string {
	return `Examples:

    mintmark revoke rules`
}

func (cmd *revokeRules) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	rules, err := c.RevocationRules(ctx)
	if err != nil {
		return err
	}
	return s.print(rules, func(w io.Writer) {
		var rows [][]string
		for _, r := range rules.Items {
			rows = append(rows, []string{r.ID, claimsText(r.Required), claimsText(r.Allowed), s.at(r.Created), r.CreatedBy})
		}
		s.table(w, "only administrators may revoke", []string{"ID", "WHO", "MAY REVOKE", "CREATED", "BY"}, rows)
	})
}

type revokeAllow struct {
	Who  map[string]string `required:"" placeholder:"NAME=VALUE" help:"Claims that the caller's token must carry."`
	What map[string]string `required:"" placeholder:"NAME=VALUE" help:"Claims that a token must carry to be revoked by it."`
}

func (revokeAllow) Help() string {
	return `Such callers use POST /oauth2/revocations.

Examples:

    mintmark revoke allow --who client_id=cli_01k8p4x0v3c9m6t2r5w8y1z4q7 --what realm=customers`
}

func (cmd *revokeAllow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	rule, err := c.CreateRevocationRule(ctx, api.CreateRevocationRule{Required: cmd.Who, Allowed: cmd.What})
	if err != nil {
		return err
	}
	return s.print(rule, func(w io.Writer) {
		fmt.Fprintf(w, "rule %s: %s may revoke %s\n", plain(rule.ID), plain(claimsText(rule.Required)), plain(claimsText(rule.Allowed)))
	})
}

type revokeDisallow struct {
	ID string `arg:"" help:"Id of the rule, as rules shows it."`
}

func (revokeDisallow) Help() string {
	return `Examples:

    mintmark revoke disallow rul_01k8p4x0v3c9m6t2r5w8y1z4q7`
}

func (cmd *revokeDisallow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DeleteRevocationRule(ctx, cmd.ID); err != nil {
		return err
	}
	s.say("rule %s is gone", cmd.ID)
	return nil
}
