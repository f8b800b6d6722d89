// Package mfa knows what people prove themselves with besides a password: passkeys (WebAuthn), an authenticator app (TOTP)
// and recovery codes, and how far a login has come that is not a session yet.
//
// What it guards:
//   - A login whose password was right and whose second factor is to come is a row of its own kind (step.go). It leads
//     to a session by the second factor and to nothing else, once, for five minutes, in the browser that began it.
//   - Admit is asked before every session begins: a person who has a second factor, or needs one, gets no session by less.
//   - A code of an app is accepted once: the step of its time is kept and only grows, by compare-and-set (totp.go). A
//     recovery code is accepted once (recovery.go). A passkey signs a random value that is good once, in one browser,
//     for one purpose (ceremony.go); one whose count of signatures goes back is refused.
//   - Tries of codes are counted in the database before a code is looked at (attempts.go), apart for browsers that the
//     person is known with, so that a stranger who has the password locks nobody out.
//   - The seed of an app is sealed for its row, recovery codes and challenges are MACs; public keys are public.
//   - Each change of a factor is recorded with the change, and told to whoever asked to be (OnFactorsChanged).
package mfa

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/seal"
)

// The methods of a login (RFC 8176).
const (
	Password = "pwd"
	OTP      = "otp"  // a code of an app, or a recovery code
	Hardware = "hwk"  // a passkey that does not leave its device
	Software = "swk"  // a passkey that may be copied to others, as most are
	Presence = "user" // somebody touched something
	Multiple = "mfa"  // more than one factor
)

// Options configure a Service.
type Options struct {
	Issuer string // public address; passkeys are bound to its host
	Name   string // how authenticators call this place; "": mintmark
	// Required are the realms whose people need a second factor, in canonical form. Administrators always do.
	Required []string
	Clock    clock.Clock  // nil: clock.System
	Logger   *slog.Logger // nil: no log
}

// Service keeps the factors of people.
type Service struct {
	d        *db.DB
	keyring  *seal.Keyring
	dir      *identity.Directory
	o        Options
	web      *webauthn.WebAuthn // nil: the issuer's host can have no passkeys
	begun    *ceremonies
	changed  []ChangeHook
	other    func(ctx context.Context, tx db.ReadTx, userID string) (bool, error)
	refusals func(c access.Caller, op string, err error)
}

// Change is one change of somebody's factors.
type Change struct {
	User   identity.User
	What   Event
	Factor Kind
	Name   string        // of a passkey
	By     access.Caller // the person itself, or an administrator
}

// Event is what happened to a factor.
type Event string

// The events.
const (
	Added   Event = "added"
	Removed Event = "removed"
	Used    Event = "used" // of recovery codes alone: whoever did not use it wants to know
)

// Kind is a kind of factor.
type Kind string

// The kinds.
const (
	Passkeys Kind = "passkey"
	App      Kind = "totp"
	Codes    Kind = "recovery_codes"
)

// ChangeHook is told of a change in its transaction, which may run several times.
type ChangeHook func(ctx context.Context, tx db.WriteTx, c Change) error

// New makes a Service.
func New(d *db.DB, keyring *seal.Keyring, dir *identity.Directory, o Options) (*Service, error) {
	if o.Name == "" {
		o.Name = "mintmark"
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{d: d, keyring: keyring, dir: dir, o: o, begun: newCeremonies(o.Clock), refusals: func(access.Caller, string, error) {}, other: func(context.Context, db.ReadTx, string) (bool, error) { return false, nil }}
	dir.OnPersonRemoved(forget)
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("mfa: the public address %q is not a URL", o.Issuer)
	}
	if !maySign(u) {
		return s, nil
	}
	s.web, err = webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: o.Name, RPOrigins: []string{u.Scheme + "://" + u.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		// Browsers and their extensions answer what nobody asked for, which is not looked at.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("mfa: passkeys for %q: %w", o.Issuer, err)
	}
	return s, nil
}

// maySign tells whether browsers offer passkeys at this address: it must be safe from eavesdroppers and have a name.
func maySign(u *url.URL) bool {
	host := u.Hostname()
	if net.ParseIP(host) != nil || host == "" {
		return false
	}
	return u.Scheme == "https" || host == "localhost"
}

// OffersPasskeys tells whether passkeys can work at the public address.
func (s *Service) OffersPasskeys() bool { return s.web != nil }

// OnFactorsChanged registers who is told of changes. Register before serving.
func (s *Service) OnFactorsChanged(f ChangeHook) { s.changed = append(s.changed, f) }

// OtherWay registers what tells whether somebody can sign in with something that is not known here, so that the last factor
// is not the last way. Register before serving.
func (s *Service) OtherWay(f func(ctx context.Context, tx db.ReadTx, userID string) (bool, error)) {
	s.other = f
}

// OnRefused registers who is told of refused codes and passkeys; op is what was tried. f runs by itself, so that no
// answer waits for it.
func (s *Service) OnRefused(f func(c access.Caller, op string, err error)) { s.refusals = f }

func (s *Service) refused(c access.Caller, op string, err error) { go s.refusals(c, op, err) }

// Factors are what a person has besides a password.
type Factors struct {
	Passkeys []Passkey
	App      *TOTP // nil: none
	Codes    int   // recovery codes that were not used yet
	CodesOf  time.Time
}

// Second tells whether there is a factor that a login must use. Recovery codes only stand in for one.
func (f Factors) Second() bool { return f.App != nil || len(f.Passkeys) > 0 }

// Load reads the factors of a person.
func Load(ctx context.Context, tx db.ReadTx, userID string) (f Factors, err error) {
	if f.Passkeys, err = loadPasskeys(ctx, tx, userID); err != nil {
		return f, err
	}
	if f.App, err = loadTOTP(ctx, tx, userID); err != nil {
		return f, err
	}
	var created int64
	err = tx.QueryRow(ctx, `SELECT count(*), coalesce(max(created), 0) FROM recovery_codes WHERE user_id = $1 AND used = 0`, userID).Scan(&f.Codes, &created)
	f.CodesOf = db.Time(created)
	if err != nil {
		return f, fmt.Errorf("count recovery codes: %w", err)
	}
	return f, nil
}

// Required tells whether this person must have a second factor.
func (s *Service) Required(u identity.User) bool {
	return u.Admin || slices.Contains(s.o.Required, u.Realm)
}

// ErrSecondFactor is in the chain of the answer to a login that proves too little.
var ErrSecondFactor error = fault.New(fault.Forbidden, "second_factor_needed", "A second factor is needed to sign in.")

// Admit refuses a login by less than what the person has, or needs. It is the gate of every session; whoever takes a
// password from a person in another way asks it, too.
func (s *Service) Admit(ctx context.Context, tx db.ReadTx, u identity.User, amr []string) error {
	if slices.Contains(amr, Multiple) {
		return nil
	}
	if s.Required(u) {
		return ErrSecondFactor
	}
	has, err := hasSecond(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if has {
		return ErrSecondFactor
	}
	return nil
}

func hasSecond(ctx context.Context, tx db.ReadTx, userID string) (bool, error) {
	var id string
	err := tx.QueryRow(ctx, `SELECT id FROM totp_factors WHERE user_id = $1 UNION ALL SELECT id FROM passkeys WHERE user_id = $1 LIMIT 1`, userID).Scan(&id)
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for factors: %w", err)
	}
	return true, nil
}

// own lets people change what is theirs, and administrators what is anybody's.
func own(c access.Caller, userID string) error {
	if c.Kind == access.Person && c.ID == userID && userID != "" {
		return nil
	}
	return access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID})
}

// tell records the change and tells who asked to be told.
func (s *Service) tell(ctx context.Context, tx db.WriteTx, action string, c Change, details map[string]any) error {
	if details == nil {
		details = map[string]any{}
	}
	details["kind"] = string(c.Factor)
	if err := audit.Done(ctx, tx, c.By, action, "user", c.User.ID, details); err != nil {
		return err
	}
	for _, hook := range s.changed {
		if err := hook(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

// keep refuses to take away what a person cannot sign in without: the last passkey of somebody without a password who
// has no other way either. Removing the last second factor of somebody who needs one is no harm: the next login asks for a new one.
func (s *Service) keep(ctx context.Context, tx db.ReadTx, userID string, passkeys int) error {
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	if p.HasPassword || p.Entry != "" || passkeys > 1 {
		return nil
	}
	other, err := s.other(ctx, tx, userID)
	if err != nil {
		return err
	}
	if !other {
		return fault.New(fault.Conflict, "last_credential", "This is the only thing to sign in with that is left. Add another passkey or a password first.")
	}
	return nil
}

// RemovePassword takes the password of somebody away who has a passkey to sign in with, or another way.
func (s *Service) RemovePassword(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User) error {
	list, err := loadPasskeys(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	other, err := s.other(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if len(list) == 0 && !other {
		return fault.New(fault.Conflict, "last_credential", "Your password is the only thing that you can sign in with. Add a passkey first.")
	}
	return s.dir.RemovePassword(ctx, tx, c, u)
}

// forget removes all that is kept here of a person who is removed.
func forget(ctx context.Context, tx db.WriteTx, u identity.User) error {
	for _, query := range []string{
		`DELETE FROM passkeys WHERE user_id = $1`, `DELETE FROM totp_factors WHERE user_id = $1`, `DELETE FROM totp_enrolments WHERE user_id = $1`,
		`DELETE FROM recovery_codes WHERE user_id = $1`, `DELETE FROM login_steps WHERE user_id = $1`, `DELETE FROM factor_attempts WHERE user_id = $1`,
	} {
		if _, err := tx.Exec(ctx, query, u.ID); err != nil {
			return fmt.Errorf("forget the factors of a person: %w", err)
		}
	}
	return nil
}

// tidy removes recovery codes when nothing is left that they could stand in for.
func tidy(ctx context.Context, tx db.WriteTx, userID string) error {
	has, err := hasSecond(ctx, tx, userID)
	if err != nil || has {
		return err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM recovery_codes WHERE user_id = $1`, userID); err != nil {
		return fmt.Errorf("remove recovery codes: %w", err)
	}
	return nil
}

// Sweep removes what is over.
func (s *Service) Sweep(ctx context.Context) error {
	_, err := s.d.RemoveExpired(ctx,
		db.Expiry{Table: "passkey_challenges", Key: "mac", Column: "expires"},
		db.Expiry{Table: "login_steps", Key: "mac", Column: "expires"},
		db.Expiry{Table: "totp_enrolments", Key: "bound", Column: "expires"},
		db.Expiry{Table: "factor_attempts", Key: "account", Column: "day_began", Keep: dayWindow},
	)
	return err
}
