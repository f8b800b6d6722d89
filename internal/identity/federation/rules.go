package federation

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/sourced"
)

// rules are which groups and attributes the provider gives.
func rules(p Provider) sourced.Rules {
	r := sourced.Rules{Groups: p.Claims.Groups.Claim, Prefix: p.Claims.Groups.Prefix, Map: map[string]string{}, Attributes: map[string]string{}}
	for _, g := range p.Claims.Groups.Map {
		r.Map[g.Value] = g.Group
	}
	for _, a := range p.Claims.Attributes {
		r.Attributes[a.Claim] = a.Attribute
	}
	return r
}

// checkRules refuses rules that say something twice, or nothing clear.
func (s *Service) checkRules(p Provider) error {
	r := rules(p)
	switch {
	case r.Empty() && len(r.Map) == 0 && r.Prefix == "":
		return nil
	case s.o.Sourced == nil:
		return fault.InvalidAt("body.claims", "claims", "This server keeps neither groups nor attributes.")
	case len(r.Map) != len(p.Claims.Groups.Map) || len(r.Attributes) != len(p.Claims.Attributes):
		return fault.InvalidAt("body.claims", "twice", "Each claim, and each group of the provider, is named once.")
	}
	return s.o.Sourced.Check("body.claims", p.Realm, r)
}

// follow gives the person the groups and attributes that the provider says, in the transaction of the login.
func (s *Service) follow(ctx context.Context, tx db.WriteTx, p Provider, person identity.Person, f Found, a Answer) error {
	if s.o.Sourced == nil {
		return nil
	}
	g, err := s.o.Sourced.Groups(ctx, tx, p.Realm, rules(p))
	if err != nil {
		return fmt.Errorf("find the groups of a provider: %w", err)
	}
	return s.o.Sourced.Follow(ctx, tx, system(a), person, sourced.Provider(p.ID), s.o.Sourced.Adapt(p.Realm, f.Said), g.IDs(f.Said.Words))
}

// leave takes away what a person has of a provider with whom nobody there links her any more.
func (s *Service) leave(ctx context.Context, tx db.WriteTx, userID, providerID string) error {
	if s.o.Sourced == nil {
		return nil
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM linked_identities WHERE user_id = $1 AND provider_id = $2`, userID, providerID).Scan(&n); err != nil {
		return fmt.Errorf("count links: %w", err)
	}
	if n > 0 {
		return nil // who she is there besides will say it at the next login
	}
	return s.o.Sourced.Leave(ctx, tx, userID, sourced.Provider(providerID))
}

// endOrphans takes away what people have of providers that are no more: a few people at a time, because others write, too.
func (s *Service) endOrphans(ctx context.Context) error {
	if s.o.Sourced == nil {
		return nil
	}
	var orphans []string
	if err := s.d.Read(ctx, func(tx db.ReadTx) error {
		list, err := listProviders(ctx, tx)
		if err != nil {
			return err
		}
		orphans, err = sourced.Orphans(ctx, tx, func(id string) bool { return slices.ContainsFunc(list, func(p Provider) bool { return p.ID == id }) })
		return err
	}); err != nil {
		return err
	}
	for _, source := range orphans { // no provider takes the id of one until nobody has anything of it (keepNames)
		for more := true; more; {
			if err := s.d.Write(ctx, func(tx db.WriteTx) (err error) {
				more, err = s.o.Sourced.End(ctx, tx, source)
				return err
			}); err != nil {
				return fmt.Errorf("end what a provider gave: %w", err)
			}
		}
	}
	return nil
}
