package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
)

type trustCommands struct {
	List   trustList   `cmd:"" help:"List the trusted issuers."`
	Show   trustShow   `cmd:"" help:"Show one, with its rules."`
	Set    trustSet    `cmd:"" help:"Trust an issuer, or change what is said of it; its rules stay."`
	Allow  trustAllow  `cmd:"" help:"Add a rule: which subject speaks for whom."`
	Forbid trustForbid `cmd:"" help:"Remove the rules of a subject."`
	Delete trustDelete `cmd:"" help:"Trust an issuer no more."`
}

// trustID names the record of an issuer.
type trustID struct {
	ID string `arg:"" help:"Your name for the issuer, such as build-cluster."`
}

type trustList struct{}

func (trustList) Help() string {
	return `Examples:

    mintmark trust list`
}

func (trustList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	list, err := c.TrustedIssuers(ctx)
	if err != nil {
		return err
	}
	return s.print(list, func(w io.Writer) {
		var rows [][]string
		for _, t := range list.Items {
			rows = append(rows, []string{t.ID, t.Issuer, enabled(t), fmt.Sprint(len(t.Rules)), s.at(t.LastModified)})
		}
		s.table(w, "no issuer is trusted", []string{"ID", "ISSUER", "STATE", "RULES", "CHANGED"}, rows)
	})
}

func enabled(t api.TrustedIssuer) string {
	if t.Enabled {
		return "trusted"
	}
	return "shut off"
}

type trustShow struct{ trustID }

func (trustShow) Help() string {
	return `Examples:

    mintmark trust show build-cluster`
}

func (cmd *trustShow) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	t, err := c.TrustedIssuer(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(t, func(w io.Writer) { s.showTrust(w, *t) })
}

func (s *Session) showTrust(w io.Writer, t api.TrustedIssuer) {
	use := "as often as they come"
	if t.SingleUse {
		use = "once"
	}
	fields(w, "id", t.ID, "issuer", t.Issuer, "state", enabled(t), "its tokens count", use,
		"longest life", (time.Duration(t.MaxLifetime) * time.Second).String(), "changed", s.at(t.LastModified)+" by "+t.LastModifiedBy)
	var rows [][]string
	for _, r := range t.Rules {
		who, proof := "application "+r.Application, "with its client"
		if r.Person != "" {
			who = "person " + r.Person
		}
		if r.Public {
			proof = "alone"
		}
		var claims []string
		for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
			claims = append(claims, name+"="+r.Claims[name])
		}
		rows = append(rows, []string{r.Subject, strings.Join(claims, " "), who, proof, strings.Join(r.Scopes, " ")})
	}
	s.table(w, "no rule: none of its tokens count", []string{"SUBJECT", "CLAIMS", "SPEAKS FOR", "COUNTS", "NO MORE THAN"}, rows)
}

type trustSet struct {
	trustID
	Issuer      string        `placeholder:"URL" help:"The iss of its tokens. Needed the first time."`
	JWKS        string        `name:"jwks" placeholder:"FILE" type:"existingfile" help:"File with its public keys, a JWK set. Needed the first time."`
	MaxLifetime time.Duration `placeholder:"DURATION" help:"How long its tokens may live, from iat to exp; at most 24h. Default: 65 minutes."`
	SingleUse   *bool         `negatable:"" help:"Each token counts once, by its jti."`
	Disabled    *bool         `negatable:"" help:"Shut it off: none of its tokens count, and its rules stay."`
}

func (trustSet) Help() string {
	return `What is not given stays as it is.

The keys are copied; nothing is fetched later. When the issuer changes its keys, set them anew.

Examples:

    kubectl get --raw /openid/v1/jwks > jwks.json
    mintmark trust set build-cluster --issuer https://kubernetes.default.svc.cluster.local --jwks jwks.json
    mintmark trust set build-cluster --disabled`
}

func (cmd *trustSet) Run(ctx context.Context, s *Session) error {
	return s.changeTrust(ctx, cmd.ID, true, func(b *api.PutTrustedIssuer) error {
		if cmd.Issuer != "" {
			b.Issuer = cmd.Issuer
		}
		if cmd.JWKS != "" {
			text, err := os.ReadFile(cmd.JWKS)
			if err != nil {
				return fmt.Errorf("read the key set: %w", err)
			}
			b.JWKS = string(text)
		}
		if b.Issuer == "" || b.JWKS == "" {
			return usage(errors.New("say --issuer and --jwks the first time"))
		}
		if cmd.MaxLifetime != 0 {
			b.MaxLifetime = int64(cmd.MaxLifetime / time.Second)
		}
		if cmd.SingleUse != nil {
			b.SingleUse = *cmd.SingleUse
		}
		if cmd.Disabled != nil {
			b.Disabled = *cmd.Disabled
		}
		return nil
	})
}

// changeTrust reads the record, changes it and writes it, if nobody else has changed it meanwhile.
func (s *Session) changeTrust(ctx context.Context, id string, create bool, change func(*api.PutTrustedIssuer) error) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var etag string
	var body api.PutTrustedIssuer
	before, err := c.TrustedIssuer(ctx, id, client.ETag(&etag))
	condition := client.IfMatch(etag)
	switch {
	case err == nil:
		body = api.PutTrustedIssuer{Issuer: before.Issuer, Disabled: !before.Enabled, JWKS: before.JWKS, MaxLifetime: before.MaxLifetime, SingleUse: before.SingleUse, Rules: before.Rules}
	case create && errors.Is(err, api.ErrNotFound):
		condition = client.CreateOnly()
	default:
		return err
	}
	if err := change(&body); err != nil {
		return err
	}
	t, err := c.PutTrustedIssuer(ctx, id, body, condition)
	if err != nil {
		return err
	}
	return s.print(t, func(w io.Writer) { s.showTrust(w, *t) })
}

type trustAllow struct {
	trustID
	Subject     string            `arg:"" help:"The sub of its tokens, exactly."`
	Application string            `xor:"who" required:"" placeholder:"APP" help:"The token stands for this application's service user."`
	Person      string            `xor:"who" required:"" placeholder:"USER-ID" help:"Or for this person, as far as the person has allowed the client."`
	Claim       map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"A further claim that must have this value. Repeat it for more."`
	Scope       []string          `placeholder:"SCOPE" help:"No more than this scope. Repeat it for more. Default: what the client may have."`
	Public      bool              `help:"The token alone is enough: no client authenticates."`
}

func (trustAllow) Help() string {
	return `Without a rule none of an issuer's tokens count. Of several rules that fit the first counts.

Examples:

    mintmark trust allow build-cluster system:serviceaccount:shop:orders --application sales-orders --public
    mintmark trust allow ci repo:shop/orders:ref:refs/heads/main --application sales-orders --claim environment=production --scope sales_order.read_all`
}

func (cmd *trustAllow) Run(ctx context.Context, s *Session) error {
	return s.changeTrust(ctx, cmd.ID, false, func(b *api.PutTrustedIssuer) error {
		b.Rules = append(b.Rules, api.TrustRule{Subject: cmd.Subject, Claims: cmd.Claim, Application: cmd.Application, Person: cmd.Person, Scopes: cmd.Scope, Public: cmd.Public})
		return nil
	})
}

type trustForbid struct {
	trustID
	Subject string `arg:"" help:"The subject whose rules go."`
}

func (trustForbid) Help() string {
	return `Tokens that it brought about live on until they expire.

Examples:

    mintmark trust forbid build-cluster system:serviceaccount:shop:orders`
}

func (cmd *trustForbid) Run(ctx context.Context, s *Session) error {
	return s.changeTrust(ctx, cmd.ID, false, func(b *api.PutTrustedIssuer) error {
		left := slices.DeleteFunc(slices.Clone(b.Rules), func(r api.TrustRule) bool { return r.Subject == cmd.Subject })
		if len(left) == len(b.Rules) {
			return fmt.Errorf("no rule of %s has the subject %s", cmd.ID, cmd.Subject)
		}
		b.Rules = left
		return nil
	})
}

type trustDelete struct{ trustID }

func (trustDelete) Help() string {
	return `Tokens that it brought about live on until they expire.

Examples:

    mintmark trust delete build-cluster`
}

func (cmd *trustDelete) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DeleteTrustedIssuer(ctx, cmd.ID); err != nil {
		return err
	}
	s.say("deleted trusted issuer %s", cmd.ID)
	return nil
}
