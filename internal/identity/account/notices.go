package account

import (
	"context"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/mail"
)

// What people are told by mail of what was done to their accounts. A notice holds no link that opens anything: a thief of
// the mailbox learns nothing from it.

const noticeLife = 3 * 24 * time.Hour

// notice tells a person who has an address.
func (s *Service) notice(ctx context.Context, tx db.WriteTx, userID, kind, subject string, lines ...string) error {
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	return s.noticeTo(ctx, tx, p, kind, subject, lines...)
}

// noticeTo is notice to a person as it was read.
func (s *Service) noticeTo(ctx context.Context, tx db.WriteTx, p identity.Person, kind, subject string, lines ...string) error {
	if p.Email == "" {
		return nil
	}
	at := tx.Now().UTC().Format("2006-01-02 15:04 UTC")
	return s.outbox.Put(ctx, tx, mail.Letter{
		Realm: p.Realm, Person: p.ID,
		Kind: kind, To: p.Email, Name: p.DisplayName, Subject: subject, Expires: tx.Now().Add(noticeLife),
		Lines: append(lines, mail.Fill("Account: {0} ({1}). Time: {2}.", p.Username, p.Realm, at)),
		After: []string{mail.Fill("If it was you, there is nothing to do. If not, open {0}, choose a new password and end all sessions, and tell whoever runs the service.", s.o.Issuer+"/account/security")},
	})
}

func (s *Service) passwordChanged(ctx context.Context, tx db.WriteTx, u identity.User) error {
	return s.notice(ctx, tx, u.ID, "password-changed", "Your password was changed", "The password of your account was set, changed or removed. All sessions have ended.")
}

func (s *Service) newDevice(ctx context.Context, tx db.WriteTx, u identity.User, d identity.Device) error {
	if d.First {
		return nil // the first login of all is no news
	}
	return s.notice(ctx, tx, u.ID, "new-device", "A sign-in from a new browser", "Somebody signed in to your account with a browser that was not seen before.", mail.Fill("Address: {0}. It calls itself: {1}", d.IP, d.UserAgent))
}

// emailChanged tells the address before, and asks the new one to be verified unless that was done.
func (s *Service) emailChanged(ctx context.Context, tx db.WriteTx, before identity.Person, by access.Caller) error {
	lines := []string{"The e-mail address of your account was changed. Letters do not reach you here any more."}
	if by.ID != before.ID {
		lines = append(lines, "An administrator did it.")
	}
	if err := s.noticeTo(ctx, tx, before, "email-changed", "Your e-mail address was changed", lines...); err != nil {
		return err
	}
	return s.SendVerification(ctx, tx, before.ID)
}

// FactorsChanged tells a person that something to sign in with was added, removed or used.
func (s *Service) FactorsChanged(ctx context.Context, tx db.WriteTx, c mfa.Change) error {
	text := map[mfa.Kind]map[mfa.Event]string{
		mfa.Passkeys: {
			mfa.Added: "A passkey was added to your account.", mfa.Removed: "A passkey was removed from your account.", mfa.Used: "A passkey was used to sign in to your account.",
		},
		mfa.App: {
			mfa.Added: "An authenticator app was added to your account.", mfa.Removed: "An authenticator app was removed from your account.",
			mfa.Used: "An authenticator app was used to sign in to your account.",
		},
		mfa.Codes: {
			mfa.Added: "Recovery codes were added to your account.", mfa.Removed: "Recovery codes were removed from your account.", mfa.Used: "A recovery code was used to sign in to your account.",
		},
	}[c.Factor][c.What]
	lines := []string{text}
	if c.By.ID != c.User.ID {
		lines = append(lines, "An administrator did it.")
	}
	return s.notice(ctx, tx, c.User.ID, "factors-changed", "How you sign in has changed", lines...)
}

// LinksChanged tells a person that an account at a provider of others was linked with hers, or is not any more. by is the
// id of who did it.
func (s *Service) LinksChanged(ctx context.Context, tx db.WriteTx, u identity.User, provider string, linked bool, by string) error {
	lines := []string{mail.Fill("Your account is not linked with one of {0} any more.", provider)}
	if linked {
		lines = []string{mail.Fill("An account of {0} was linked with yours. Whoever has it can sign in to yours.", provider)}
	}
	if by != u.ID {
		lines = append(lines, "You did not do it yourself: an administrator did, or has the provider do so.")
	}
	return s.notice(ctx, tx, u.ID, "links-changed", "How you sign in has changed", lines...)
}

// Farewell tells a person whose account is erased, in the transaction that does it and before, that it is gone.
func (s *Service) Farewell(ctx context.Context, tx db.WriteTx, p identity.Person) error {
	if p.Email == "" {
		return nil
	}
	return s.outbox.Put(ctx, tx, mail.Letter{
		Realm: p.Realm, Person: p.ID,
		Kind: "erased", To: p.Email, Name: p.DisplayName, Subject: "Your account was erased", Expires: tx.Now().Add(noticeLife),
		Lines: []string{mail.Fill("The account {0} ({1}) was erased by somebody who was signed in to it and had just proved to be you. What was kept of you is gone, and cannot be brought back.", p.Username, p.Realm)},
		After: []string{"If it was not you, tell whoever runs the service."},
	})
}
