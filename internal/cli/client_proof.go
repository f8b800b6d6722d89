package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mintmark/mintmark/api"
)

// clientOf names a client by its application or by its own id.
type clientOf struct {
	ID string `arg:"" help:"Id of the application, such as sales-orders, or of a client without one, such as cli_01k8p4x0v3c9m6t2r5w8y1z4q7."`
}

// after is the instant so long from now; none if it is no time at all.
func (s *Session) after(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return s.clock.Now().Add(d).UTC().Truncate(time.Second)
}

type clientSecretCommands struct {
	Create clientSecretCreate `cmd:"" help:"Make another secret of a client, and print it once."`
	List   clientSecretList   `cmd:"" help:"List the secrets of a client beside the one that rotates."`
	Revoke clientSecretRevoke `cmd:"" help:"Revoke a secret: every node refuses it within a second."`
}

type clientSecretCreate struct {
	clientOf
	Label   string        `required:"" help:"Where it is used, to know it again."`
	Expires time.Duration `help:"After how long it ends, such as 2160h. Default: never."`
}

func (clientSecretCreate) Help() string {
	return `The secret is shown this once. It does not rotate: replace it before it ends, then revoke it.

Examples:

    mintmark client secret create my-shop --label "partner gateway" --expires 2160h`
}

func (cmd *clientSecretCreate) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	made, err := c.CreateClientSecret(ctx, cmd.ID, api.PostClientSecret{Label: cmd.Label, Expires: s.after(cmd.Expires)})
	if err != nil {
		return err
	}
	return s.print(made, func(w io.Writer) {
		fmt.Fprintln(w, plain(made.Secret))
		s.say("secret %s (%s) is not shown again", made.ID, made.Label)
	})
}

type clientSecretList struct{ clientOf }

func (clientSecretList) Help() string {
	return `Examples:

    mintmark client secret list my-shop`
}

func (cmd *clientSecretList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	list, err := c.ClientSecrets(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(list, func(w io.Writer) {
		var rows [][]string
		for _, x := range list.Items {
			rows = append(rows, []string{x.ID, x.Label, s.at(x.Created) + " by " + x.CreatedBy, s.at(x.Expires), s.at(x.LastUsed)})
		}
		s.table(w, cmd.ID+" has no secrets beside the one that rotates", []string{"ID", "LABEL", "CREATED", "EXPIRES", "LAST USED"}, rows)
	})
}

type clientSecretRevoke struct {
	clientOf
	Secret string `arg:"" help:"Id of the secret, as client secret list shows it."`
}

func (clientSecretRevoke) Help() string {
	return `Examples:

    mintmark client secret revoke my-shop csc_01k8p4x0v3c9m6t2r5w8y1z4q7`
}

func (cmd *clientSecretRevoke) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.RevokeClientSecret(ctx, cmd.ID, cmd.Secret); err != nil {
		return err
	}
	s.say("revoked secret %s", cmd.Secret)
	return nil
}

type clientKeyCommands struct {
	Add    clientKeyAdd    `cmd:"" help:"Add a public key to a client, to sign with its private half."`
	List   clientKeyList   `cmd:"" help:"List the public keys of a client."`
	Remove clientKeyRemove `cmd:"" help:"Remove a public key: every node refuses what it signs within a second."`
}

type clientKeyAdd struct {
	clientOf
	File    string        `arg:"" type:"path" help:"File that holds the public key as a JWK (RFC 7517)."`
	Label   string        `required:"" help:"Where its private half is, to know it again."`
	Expires time.Duration `help:"After how long it ends, such as 2160h. Default: never."`
}

func (clientKeyAdd) Help() string {
	return `RSA of 2048 bits or more, EC on P-256, or Ed25519. A private key is refused: it must stay where it is used.

Examples:

    mintmark client key add my-shop public.jwk --label "build server"`
}

func (cmd *clientKeyAdd) Run(ctx context.Context, s *Session) error {
	b, err := os.ReadFile(cmd.File)
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	if !json.Valid(b) {
		return fmt.Errorf("%s holds no JSON: a JWK is needed", cmd.File)
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	k, err := c.AddClientKey(ctx, cmd.ID, api.PostClientKey{Label: cmd.Label, JWK: b, Expires: s.after(cmd.Expires)})
	if err != nil {
		return err
	}
	return s.print(k, func(w io.Writer) { fmt.Fprintf(w, "key %s, kid %s\n", plain(k.ID), plain(k.Kid)) })
}

type clientKeyList struct{ clientOf }

func (clientKeyList) Help() string {
	return `Examples:

    mintmark client key list my-shop`
}

func (cmd *clientKeyList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	list, err := c.ClientKeys(ctx, cmd.ID)
	if err != nil {
		return err
	}
	return s.print(list, func(w io.Writer) {
		var rows [][]string
		for _, k := range list.Items {
			rows = append(rows, []string{k.ID, k.Kid, k.Label, s.at(k.Created) + " by " + k.CreatedBy, s.at(k.Expires), s.at(k.LastUsed)})
		}
		s.table(w, cmd.ID+" has no keys", []string{"ID", "KID", "LABEL", "CREATED", "EXPIRES", "LAST USED"}, rows)
	})
}

type clientKeyRemove struct {
	clientOf
	Key string `arg:"" help:"Id of the key, as client key list shows it."`
}

func (clientKeyRemove) Help() string {
	return `Examples:

    mintmark client key remove my-shop cky_01k8p4x0v3c9m6t2r5w8y1z4q7`
}

func (cmd *clientKeyRemove) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.RemoveClientKey(ctx, cmd.ID, cmd.Key); err != nil {
		return err
	}
	s.say("removed key %s", cmd.Key)
	return nil
}
