package account

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/redact"
)

// What people change of themselves. Another address of mail takes two proofs: that it is the person who asks, which the
// page has seen, and that the person reads mail there, which the link shows. Whoever opens the link without being signed
// in as that person gets nothing, so a letter that goes astray takes no account over.

// errFixed is the answer to a change that the realm leaves to administrators.
var errFixed error = fault.New(fault.Forbidden, "profile_fixed", "This can be changed by an administrator alone.")

// MayChange tells whether a person may change this of itself: what neither the realm leaves to administrators nor a
// directory keeps. An address can be changed only where mail is sent.
func (s *Service) MayChange(p identity.Person, f Field) bool {
	field := string(f)
	if f == Name {
		field = "display_name"
	}
	return s.free(p.Realm, f) && s.dir.KeepsFields(p, field) == nil
}

func (s *Service) free(realm string, f Field) bool {
	return !slices.Contains(s.o.Policies[realm].Fixed, f) && (f != Email || s.outbox.Works())
}

// UpdateProfile changes what is known of the caller. What is nil, or the same, stays.
func (s *Service) UpdateProfile(ctx context.Context, tx db.WriteTx, c access.Caller, up identity.PersonUpdate) error {
	p, err := identity.LoadPerson(ctx, tx, c.ID)
	if err != nil {
		return err
	}
	for f, x := range map[Field]struct {
		to  *string
		now string
	}{Name: {up.DisplayName, p.DisplayName}, Phone: {up.Phone, p.Phone}, Address: {up.Address, p.Address}} {
		if x.to != nil && *x.to != x.now && !s.free(p.Realm, f) {
			return errFixed
		}
	}
	if up.DisplayName != nil && *up.DisplayName == "" {
		return fault.New(fault.Invalid, "display_name", "Give a name.").At("display_name", "empty")
	}
	return s.dir.UpdateOwn(ctx, tx, c, up)
}

// AskEmail sends a link to the address that the caller wants to have, and tells the present one. The answer is the same if
// somebody has the address: that is told by a letter there.
func (s *Service) AskEmail(ctx context.Context, c access.Caller, email string) error {
	if c.Kind != access.Person || c.ClientID != "" {
		return errFixed
	}
	key, err := identity.ParseEmail(email)
	if err != nil {
		return err
	}
	if err := s.limit(c.IP); err != nil {
		return err
	}
	return s.d.Write(ctx, func(tx db.WriteTx) error {
		p, err := identity.LoadPerson(ctx, tx, c.ID)
		if err != nil {
			return err
		}
		if !p.Disabled.IsZero() {
			return identity.ErrCredentials
		}
		if !s.free(p.Realm, Email) {
			return errFixed
		}
		if err := s.dir.KeepsFields(p, "email"); err != nil {
			return err
		}
		if email == p.Email || identity.EmailKey(p.Email) == key && !p.EmailVerified.IsZero() {
			return fault.New(fault.Conflict, "same_email", "This is your address already.")
		}
		if !s.o.Policies[p.Realm].takes(key) {
			return fault.New(fault.Invalid, "email_domain", "Only e-mail addresses of certain domains can be used here.").At("email", "another domain")
		}
		free, err := identity.EmailFree(ctx, tx, p, email)
		if err != nil {
			return err
		}
		address, expires, made, err := s.make(ctx, tx, s.stranger(c.IP, email), NewEmail, p.ID, proof(p), email, &beginner{Realm: p.Realm, Email: email})
		if err != nil || !made {
			return err
		}
		l := mail.Letter{
			Realm: p.Realm, Person: p.ID,
			Kind: string(NewEmail), To: email, Subject: "Confirm your new e-mail address", Expires: expires,
			Lines: []string{"Somebody, probably you, wants letters about an account to come to this address.", "Open the link in the browser in which you are signed in. It works once, for 24 hours."},
			Label: "Use this address", Link: address,
			After: []string{"If it was not you, do nothing: the link is of no use to anybody else."},
		}
		if !free { // the link that was made only counts; nobody gets it
			l.Kind, l.Subject, l.Label, l.Link = "email-taken", "This address belongs to an account already", "Sign in", s.o.Issuer+"/login"
			l.Lines = []string{"Somebody, probably you, wants letters about another account to come to this address. It belongs to an account already, and stays with it."}
			l.After = []string{"If it was not you, do nothing."}
		}
		if err := s.outbox.Put(ctx, tx, l); err != nil {
			return fmt.Errorf("send a link to another address: %w", err)
		}
		if err := s.noticeTo(ctx, tx, p, "email-asked", "Another e-mail address was asked for", "Somebody who is signed in to your account wants letters to go to another address. As long as nobody confirms it there, nothing changes."); err != nil {
			return err
		}
		return audit.Done(ctx, tx, c, "user.ask_email", "user", p.ID, map[string]any{"realm": p.Realm, "username": p.Username})
	})
}

// ConfirmEmail uses a link of purpose NewEmail, for the person who asked for it and nobody else.
func (s *Service) ConfirmEmail(ctx context.Context, c access.Caller, value redact.Secret) error {
	return s.d.Write(ctx, func(tx db.WriteTx) error {
		o, err := s.Open(ctx, tx, NewEmail, value)
		if err != nil {
			return err
		}
		if c.Kind != access.Person || c.ID != o.Person.ID {
			return ErrLink
		}
		if err := s.use(ctx, tx, o.link); err != nil {
			return err
		}
		return s.dir.ChangeOwnEmail(ctx, tx, c, o.Email)
	})
}
