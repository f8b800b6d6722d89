package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mintmark/mintmark/api"
)

type keyCommands struct {
	List   keyList   `cmd:"" help:"List the signing keys."`
	Rotate keyRotate `cmd:"" help:"Ask for a new signing key."`
	Revoke keyRevoke `cmd:"" help:"Withdraw a key that is no longer trusted."`
}

type keyList struct{}

func (keyList) Help() string {
	return `A key lives like every credential: prepared (published, signs nothing yet), active (signs), retiring (published until the last token it signed has expired), retired.

Examples:

    mintmark key list`
}

func (keyList) Run(ctx context.Context, s *Session) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	keys, err := c.SigningKeys(ctx)
	if err != nil {
		return err
	}
	return s.print(keys, func(w io.Writer) {
		var rows [][]string
		for _, k := range keys.Items {
			state, next := k.State, ""
			switch {
			case k.Revoked:
				state += ", revoked"
			case k.State == "prepared":
				next = "signs from " + s.at(k.ActivateAt)
			case k.RetireAt != nil && k.Retired == nil:
				next = "published until " + s.at(*k.RetireAt)
			}
			rows = append(rows, []string{k.Kid, k.Alg, state, s.at(k.Created), next})
		}
		s.table(w, "there are no signing keys", []string{"KID", "ALG", "STATE", "CREATED", "NEXT"}, rows)
	})
}

type keyRotate struct {
	Alg       string `placeholder:"ALG" help:"Algorithm of the key to replace, such as RS256. Default: the one that signs access tokens."`
	Emergency bool   `help:"The private half may be known to others: withdraw all keys of the algorithm at once."`
	Yes       bool   `help:"Really, with --emergency: every token that they signed becomes invalid at once."`
}

func (keyRotate) Help() string {
	return `The new key is published at once. It signs when every verifier can know it; the old one stays published until its last token has expired.

Each algorithm has keys of its own; key list shows them. With --emergency nothing waits: every key of the algorithm is withdrawn, and a new one signs at once.

Examples:

    mintmark key rotate
    mintmark key rotate --alg RS256
    mintmark key rotate --emergency --yes`
}

func (cmd *keyRotate) Run(ctx context.Context, s *Session) error {
	if cmd.Emergency && !cmd.Yes {
		return usage(errors.New("an emergency rotation makes every token invalid that the keys signed: say --yes if that is meant"))
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	k, err := c.RotateSigningKey(ctx, api.RotateSigningKey{Algorithm: cmd.Alg, Emergency: cmd.Emergency})
	if err != nil {
		return err
	}
	return s.print(k, func(w io.Writer) {
		if k.State == "active" {
			fmt.Fprintf(w, "key %s (%s) signs now; all earlier ones are withdrawn\n", plain(k.Kid), plain(k.Alg))
			return
		}
		fmt.Fprintf(w, "key %s (%s) is %s and signs from %s\n", plain(k.Kid), plain(k.Alg), plain(k.State), s.at(k.ActivateAt))
	})
}

type keyRevoke struct {
	Kid string `arg:"" help:"As key list shows it."`
	Yes bool   `help:"Really: every token that the key signed becomes invalid at once."`
}

func (keyRevoke) Help() string {
	return `For a key whose private half may be known to others. Every token that it signed becomes invalid at once; if it was active, another key is active at once. To replace a key that is still trusted, use key rotate.

Examples:

    mintmark key revoke NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs --yes`
}

func (cmd *keyRevoke) Run(ctx context.Context, s *Session) error {
	if !cmd.Yes {
		return usage(fmt.Errorf("revoking key %s makes every token that it signed invalid: say --yes if that is meant", cmd.Kid))
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.RevokeSigningKey(ctx, cmd.Kid); err != nil {
		return err
	}
	s.say("revoked key %s; tokens that it signed are invalid", cmd.Kid)
	return nil
}
