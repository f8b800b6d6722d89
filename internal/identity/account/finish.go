package account

import (
	"context"
	"fmt"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/redact"
)

// self is a person who acts by a link.
func self(who Asker, p identity.Person) access.Caller {
	return access.Caller{Kind: access.Person, ID: p.ID, Name: p.Username, Realm: p.Realm, IP: who.IP, RequestID: who.RequestID, Agent: who.Agent}
}

// open is Open in a transaction of its own.
func (s *Service) open(ctx context.Context, purpose Purpose, value redact.Secret) (o Opened, err error) {
	err = s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		o, err = s.Open(ctx, tx, purpose, value)
		return err
	})
	return o, err
}

// SetPassword uses a link to choose a password: of purpose Reset or Invite. All that the old password began ends. The
// answer is what a login with the new one would be.
func (s *Service) SetPassword(ctx context.Context, who Asker, purpose Purpose, value, secret redact.Secret) (u identity.User, err error) {
	if purpose != Reset && purpose != Invite {
		return u, ErrLink
	}
	o, err := s.open(ctx, purpose, value)
	if err != nil {
		return u, err
	}
	words := identity.NewPerson{Realm: o.Realm, Username: o.Person.Username, DisplayName: o.Person.DisplayName, Email: o.Email}.Words()
	h, err := s.dir.HashPassword(ctx, o.Realm, secret, words...)
	if err != nil {
		return u, err
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		o, err := s.Open(ctx, tx, purpose, value)
		if err != nil {
			return err
		}
		if err := s.use(ctx, tx, o.link); err != nil {
			return err
		}
		c := self(who, o.Person)
		if err := s.dir.RecoverPassword(ctx, tx, c, o.Person.ID, h); err != nil {
			return err
		}
		if o.link.mailed {
			if err := identity.MarkEmailVerified(ctx, tx, c, o.Person, o.Email); err != nil {
				return err
			}
		}
		p, err := identity.LoadPerson(ctx, tx, o.Person.ID)
		u = p.Proved()
		return err
	})
	return u, err
}

// VerifyEmail uses a link of purpose Verify.
func (s *Service) VerifyEmail(ctx context.Context, who Asker, value redact.Secret) error {
	return s.d.Write(ctx, func(tx db.WriteTx) error {
		o, err := s.Open(ctx, tx, Verify, value)
		if err != nil {
			return err
		}
		if err := s.use(ctx, tx, o.link); err != nil {
			return err
		}
		return identity.MarkEmailVerified(ctx, tx, self(who, o.Person), o.Person, o.Email)
	})
}

// Newcomer is what somebody who registers says of herself.
type Newcomer struct {
	Username    string // "": the address, if it can be a name
	DisplayName string // "": the username
	Password    redact.Secret
	// Attributes says what the realm asks newcomers for besides. nil: nothing is said.
	Attributes func(asked []attributes.Attribute) attributes.Values
}

// Register uses a link of purpose Register: the account begins, with its address verified. It answers where to go on, and
// what a login would be.
func (s *Service) Register(ctx context.Context, who Asker, value redact.Secret, n Newcomer) (u identity.User, returnTo string, err error) {
	o, err := s.open(ctx, Register, value)
	if err != nil {
		return u, "", err
	}
	var said attributes.Values
	if n.Attributes != nil {
		said = n.Attributes(s.Asks(o.Realm))
	}
	if err := s.checkAsked(o.Realm, said); err != nil {
		return u, "", err
	}
	person := identity.NewPerson{Realm: o.Realm, Username: n.Username, DisplayName: n.DisplayName, Email: o.Email}
	if person.Username == "" {
		if person.Username, err = identity.CanonicalUsername(o.Email); err != nil {
			return u, "", fault.New(fault.Invalid, "username", "Choose a username: your address cannot be one.").At("username", "missing")
		}
	} else if _, err := identity.CanonicalUsername(person.Username); err != nil {
		return u, "", err
	}
	h, err := s.dir.HashPassword(ctx, o.Realm, n.Password, person.Words()...)
	if err != nil {
		return u, "", err
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		o, err := s.Open(ctx, tx, Register, value)
		if err != nil {
			return err
		}
		if err := s.use(ctx, tx, o.link); err != nil {
			return err
		}
		system := access.SystemCaller("registration")
		system.IP, system.RequestID, system.Agent = who.IP, who.RequestID, who.Agent
		made, err := s.dir.CreatePersonHashed(ctx, tx, system, person, h)
		if err != nil {
			return err
		}
		p, err := identity.LoadPerson(ctx, tx, made.ID)
		if err != nil {
			return err
		}
		if err := identity.MarkEmailVerified(ctx, tx, self(who, p), p, o.Email); err != nil {
			return err
		}
		if len(said) > 0 {
			if err := s.o.Attributes.SetOwn(ctx, tx, self(who, p), said); err != nil {
				return err
			}
		}
		u, returnTo = p.Proved(), o.ReturnTo
		return nil
	})
	return u, returnTo, err
}

// Asks are the attributes that the realm asks newcomers for.
func (s *Service) Asks(realm string) []attributes.Attribute {
	if s.o.Attributes == nil {
		return nil
	}
	return s.o.Attributes.Asked(realm)
}

// checkAsked refuses, before a password is hashed, what newcomers say that could not be stored.
func (s *Service) checkAsked(realm string, said attributes.Values) error {
	if s.o.Attributes == nil {
		return nil
	}
	return s.o.Attributes.CheckRegistration(realm, said)
}

// Invitation is what Invite made.
type Invitation struct {
	Letter mail.Letter
	Sent   bool // by mail; else Letter.Link is for whoever asked
}

// Invite makes a link with which somebody who has no password chooses one.
func (s *Service) Invite(ctx context.Context, tx db.WriteTx, c access.Caller, userID string) (Invitation, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return Invitation{}, err
	}
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return Invitation{}, err
	}
	_, elsewhere := s.dir.PasswordElsewhere(p)
	switch {
	case elsewhere:
		return Invitation{}, identity.ErrElsewhere
	case p.HasPassword:
		return Invitation{}, fault.New(fault.Conflict, "has_password", "This person has a password already, and can ask for a new one at the page to sign in.")
	case !p.Disabled.IsZero():
		return Invitation{}, fault.New(fault.Conflict, "user_disabled", "This person is disabled.")
	}
	sent, to := s.outbox.Works() && p.Email != "", ""
	if sent {
		to = p.Email
	}
	address, expires, ok, err := s.make(ctx, tx, themselves, Invite, p.ID, proof(p), to, nil)
	if err != nil {
		return Invitation{}, err
	}
	if !ok {
		return Invitation{}, fault.New(fault.Limited, "too_many_invitations", "This person was sent %d invitations within an hour.", linksPerHour)
	}
	in := Invitation{Sent: sent, Letter: mail.Letter{
		Realm: p.Realm, Person: p.ID,
		Kind: string(Invite), To: p.Email, Name: p.DisplayName, Subject: "You are invited", Expires: expires,
		Lines: []string{mail.Fill("There is an account for you: {0} ({1}). Choose a password, and you can sign in.", p.Username, p.Realm), "The link works once, for 7 days."},
		Label: "Accept the invitation", Link: address,
		After: []string{"If you do not expect this, do nothing."},
	}}
	if sent {
		if err := s.outbox.Put(ctx, tx, in.Letter); err != nil {
			return Invitation{}, err
		}
	}
	return in, audit.Done(ctx, tx, c, "user.invite", "user", p.ID, map[string]any{"realm": p.Realm, "username": p.Username, "sent": sent})
}

// ErrUnverified is in the chain of the answer to a login where the address must be verified first.
var ErrUnverified error = fault.New(fault.Forbidden, "email_not_verified", "Confirm your e-mail address before you sign in: a link was sent to it, unless there were three within the hour.")

// Admit refuses somebody whose address is not verified where the realm wants that. Who has no address is let in: only an
// administrator makes such an account.
func (s *Service) Admit(ctx context.Context, tx db.ReadTx, u identity.User) error {
	if !s.o.Policies[u.Realm].VerifyEmail {
		return nil
	}
	p, err := identity.LoadPerson(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if p.Email != "" && p.EmailVerified.IsZero() {
		return ErrUnverified
	}
	return nil
}

// SendVerification sends the person a link to verify the address with, unless that is done or there were too many.
func (s *Service) SendVerification(ctx context.Context, tx db.WriteTx, userID string) error {
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	if p.Email == "" || !p.EmailVerified.IsZero() || !p.Disabled.IsZero() || !s.outbox.Works() {
		return nil
	}
	address, expires, ok, err := s.make(ctx, tx, themselves, Verify, p.ID, verifyProof(p), p.Email, nil)
	if err != nil || !ok {
		return err
	}
	if err := s.outbox.Put(ctx, tx, mail.Letter{
		Realm: p.Realm, Person: p.ID,
		Kind: string(Verify), To: p.Email, Name: p.DisplayName, Subject: "Confirm your e-mail address", Expires: expires,
		Lines: []string{mail.Fill("This address was given for the account {0} ({1}). Please confirm that it is yours.", p.Username, p.Realm), "The link works once, for 24 hours."},
		Label: "Confirm the address", Link: address,
		After: []string{"If the account is not yours, do nothing."},
	}); err != nil {
		return fmt.Errorf("send a link to verify: %w", err)
	}
	return nil
}
