package mfa

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// Passkey is one of a person's passkeys.
type Passkey struct {
	ID       string
	Name     string
	Created  time.Time
	LastUsed time.Time // zero: never
	Synced   bool      // it may be kept in more than one place

	userID       string
	credentialID []byte
	publicKey    []byte
	signCount    uint32
	aaguid       []byte
	backedUp     bool
	transports   []string
}

const (
	maxPasskeys = 20 // of one person
	maxName     = 60 // characters
	defaultName = "Passkey"
)

var errTooMany error = fault.New(fault.Conflict, "too_many_passkeys", "You have very many passkeys. Remove one that you do not use first.")

const selectPasskey = `SELECT id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, transports, created, last_used FROM passkeys`

func scanPasskey(row db.Row) (p Passkey, err error) {
	var transports string
	var count, created, used int64
	if err := row.Scan(&p.ID, &p.userID, &p.credentialID, &p.publicKey, &p.Name, &count, &p.aaguid, &p.Synced, &p.backedUp, &transports, &created, &used); err != nil {
		return p, err
	}
	p.signCount, p.transports, p.Created, p.LastUsed = uint32(count), strings.Fields(transports), db.Time(created), db.Time(used)
	return p, nil
}

func loadPasskeys(ctx context.Context, tx db.ReadTx, userID string) ([]Passkey, error) {
	rows, err := tx.Query(ctx, selectPasskey+` WHERE user_id = $1 ORDER BY created, id`, userID)
	if err != nil {
		return nil, fmt.Errorf("list passkeys: %w", err)
	}
	defer rows.Close()
	var list []Passkey
	for rows.Next() {
		p, err := scanPasskey(rows)
		if err != nil {
			return nil, fmt.Errorf("read a passkey: %w", err)
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// credential is the passkey as the library of WebAuthn wants to see it.
func (p Passkey) credential() webauthn.Credential {
	c := webauthn.Credential{
		ID: p.credentialID, PublicKey: p.publicKey, AttestationType: "none", AttestationFormat: string(protocol.AttestationFormatNone),
		Flags:         webauthn.CredentialFlags{UserPresent: true, UserVerified: true, BackupEligible: p.Synced, BackupState: p.backedUp},
		Authenticator: webauthn.Authenticator{AAGUID: p.aaguid, SignCount: p.signCount},
	}
	for _, t := range p.transports {
		c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
	}
	return c
}

// Methods are those of a login that this passkey signed for, with its owner's fingerprint, face or PIN.
func (p Passkey) Methods() []string {
	if p.Synced {
		return []string{Software, Presence, Multiple}
	}
	return []string{Hardware, Presence, Multiple}
}

// PasskeyName is the form in which a name is kept; an empty one becomes a plain one.
func PasskeyName(typed string) (string, error) {
	name := strings.TrimSpace(typed)
	if name == "" {
		return defaultName, nil
	}
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fault.New(fault.Invalid, "passkey_name", "The name must be at most %d characters of plain text.", maxName)
	}
	return name, nil
}

// AddPasskey stores a passkey that the browser has made on RegisterOptions.
func (s *Service) AddPasskey(ctx context.Context, c access.Caller, u identity.User, browser redact.Secret, answer, name string) (Passkey, error) {
	if err := own(c, u.ID); err != nil {
		return Passkey{}, err
	}
	p, err := s.made(ctx, u, browser, answer, name)
	if err != nil {
		s.refused(callerOf(c, u), "factor.add", err)
		return Passkey{}, err
	}
	return p, s.d.Write(ctx, func(tx db.WriteTx) error { return s.insertPasskey(ctx, tx, c, u, &p) })
}

// EnrolPasskey takes a new passkey as the end of a login that wants a factor.
func (s *Service) EnrolPasskey(ctx context.Context, p *Step, browser redact.Secret, answer, name string, o identity.Origin) (amr []string, err error) {
	c := access.Caller{Kind: access.Person, ID: p.User.ID, Name: p.User.Username, Realm: p.User.Realm, IP: o.IP, RequestID: o.RequestID, Agent: o.Agent}
	made, err := s.made(ctx, p.User, browser, answer, name)
	if err != nil {
		s.refused(c, "factor.add", err)
		return nil, err
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := s.stillGood(ctx, tx, p); err != nil {
			return err
		}
		if err := stillWithout(ctx, tx, p.User.ID); err != nil {
			return err
		}
		if err := s.insertPasskey(ctx, tx, c, p.User, &made); err != nil {
			return err
		}
		return useStep(ctx, tx, p, Enrol)
	})
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(p.AMR), made.Methods()...), nil
}

// made checks a new passkey (WebAuthn section 7.1).
func (s *Service) made(ctx context.Context, u identity.User, browser redact.Secret, answer, name string) (Passkey, error) {
	if s.web == nil {
		return Passkey{}, errOffered
	}
	name, err := PasskeyName(name)
	if err != nil {
		return Passkey{}, err
	}
	parsed, err := parseCreation(answer)
	if err != nil {
		return Passkey{}, err
	}
	data, err := s.redeem(ctx, parsed.Response.CollectedClientData.Challenge, register, u.ID, browser)
	if err != nil {
		return Passkey{}, err
	}
	made, err := s.web.CreateCredential(account{user: u}, data, parsed)
	if err != nil {
		return Passkey{}, refusal(err)
	}
	p := Passkey{Name: name, Synced: made.Flags.BackupEligible, userID: u.ID, credentialID: made.ID, publicKey: made.PublicKey,
		signCount: made.Authenticator.SignCount, aaguid: made.Authenticator.AAGUID, backedUp: made.Flags.BackupState}
	for _, t := range made.Transport {
		if t := string(t); len(p.transports) < 8 && len(t) <= 20 && strings.Trim(t, "abcdefghijklmnopqrstuvwxyz-") == "" && t != "" {
			p.transports = append(p.transports, t)
		}
	}
	return p, nil
}

func (s *Service) insertPasskey(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User, p *Passkey) error {
	has, err := loadPasskeys(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if len(has) >= maxPasskeys {
		return errTooMany
	}
	var other string
	err = tx.QueryRow(ctx, `SELECT id FROM passkeys WHERE credential_id = $1`, p.credentialID).Scan(&other)
	if err == nil {
		return refusal(errors.New("somebody has this passkey already"))
	}
	if !errors.Is(err, db.ErrNoRows) {
		return fmt.Errorf("look for the passkey: %w", err)
	}
	p.ID, p.Created = id.New(id.Factor, tx.Now()), tx.Now()
	if err := db.One(tx.Exec(ctx, `INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, transports, created, last_used)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)`, p.ID, u.ID, p.credentialID, p.publicKey, p.Name, int64(p.signCount), p.aaguid,
		p.Synced, p.backedUp, strings.Join(p.transports, " "), db.Micros(p.Created))); err != nil {
		return fmt.Errorf("store a passkey: %w", err)
	}
	return s.tell(ctx, tx, "factor.add", Change{User: u, What: Added, Factor: Passkeys, Name: p.Name, By: c}, map[string]any{"factor": p.ID, "name": p.Name, "synced": p.Synced})
}

// SignIn tells who signs in with a passkey that has signed for SignInOptions, and by which methods. The person's wrong
// passwords are forgotten.
func (s *Service) SignIn(ctx context.Context, browser redact.Secret, answer string, o identity.Origin) (identity.User, []string, error) {
	var u identity.User
	p, err := s.signed(ctx, signIn, nil, browser, answer, &u, o)
	if err != nil {
		c := callerOf(access.Caller{IP: o.IP, RequestID: o.RequestID, Agent: o.Agent}, u)
		if u.ID == "" {
			c.Kind = access.Anonymous
		}
		s.refused(c, "session.begin", err)
		return identity.User{}, nil, err
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := s.usePasskey(ctx, tx, p); err != nil {
			return err
		}
		return s.dir.ForgetAttempts(ctx, tx, u.ID)
	})
	return u, p.Methods(), err
}

// VerifyPasskey takes a passkey that has signed for VerifyOptions as the second factor of the step, and uses the step up.
func (s *Service) VerifyPasskey(ctx context.Context, p *Step, browser redact.Secret, answer string, o identity.Origin) (amr []string, err error) {
	u := p.User
	used, err := s.signed(ctx, second, p, browser, answer, &u, o)
	if err != nil {
		s.refused(callerOf(access.Caller{IP: o.IP, RequestID: o.RequestID, Agent: o.Agent}, p.User), "session.begin", err)
		return nil, err
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := s.usePasskey(ctx, tx, used); err != nil {
			return err
		}
		return useStep(ctx, tx, p, Verify)
	})
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(p.AMR), used.Methods()...), nil
}

// signed checks a signature (WebAuthn section 7.2). u becomes the passkey's owner as soon as that is known. Unknown
// passkeys, disabled people and wrong signatures are one answer.
func (s *Service) signed(ctx context.Context, what purpose, step *Step, browser redact.Secret, answer string, u *identity.User, o identity.Origin) (signedBy, error) {
	if s.web == nil {
		return signedBy{}, errOffered
	}
	parsed, err := parseAssertion(answer)
	if err != nil {
		return signedBy{}, err
	}
	userID := ""
	if step != nil {
		userID = step.User.ID
	}
	data, err := s.redeem(ctx, parsed.Response.CollectedClientData.Challenge, what, userID, browser)
	if err != nil {
		return signedBy{}, err
	}
	p, err := s.owner(ctx, parsed.RawID, u)
	if err != nil {
		return signedBy{}, err
	}
	a := account{*u, []Passkey{p}}
	var made *webauthn.Credential
	if step == nil {
		_, made, err = s.web.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
			if !bytes.Equal(handle, a.WebAuthnID()) {
				return nil, errors.New("the passkey is another person's")
			}
			return a, nil
		}, data, parsed)
	} else if u.ID != userID {
		err = errors.New("the passkey is another person's")
	} else {
		made, err = s.web.ValidateLogin(a, data, parsed)
	}
	if err != nil {
		return signedBy{}, refusal(err)
	}
	if made.Authenticator.CloneWarning {
		return signedBy{}, s.copied(ctx, p, *u, parsed.Response.AuthenticatorData.Counter, o)
	}
	return signedBy{Passkey: p, count: made.Authenticator.SignCount, backedUp: made.Flags.BackupState}, nil
}

// signedBy is a passkey that has signed, with what it said of itself then.
type signedBy struct {
	Passkey
	count    uint32
	backedUp bool
}

// owner finds a passkey and the enabled person whose it is.
func (s *Service) owner(ctx context.Context, credentialID []byte, u *identity.User) (p Passkey, err error) {
	err = s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		p, err = scanPasskey(tx.QueryRow(ctx, selectPasskey+` WHERE credential_id = $1`, credentialID))
		if errors.Is(err, db.ErrNoRows) {
			return refusal(errors.New("nobody has this passkey"))
		}
		if err != nil {
			return fmt.Errorf("look up a passkey: %w", err)
		}
		found, err := identity.LoadUser(ctx, tx, p.userID)
		if err != nil {
			return err
		}
		*u = found
		if !found.Disabled.IsZero() {
			return refusal(errors.New("the person is disabled"))
		}
		return nil
	})
	return p, err
}

// copied records that a passkey counts fewer signatures than we have seen: somebody has a copy of it.
func (s *Service) copied(ctx context.Context, p Passkey, u identity.User, count uint32, o identity.Origin) error {
	err := s.d.Write(ctx, func(tx db.WriteTx) error {
		return audit.Record(ctx, tx, audit.Event{
			Action: "factor.use", Outcome: audit.Denied, Reason: "sign_count", TargetType: "user", TargetID: u.ID,
			Caller:  callerOf(access.Caller{IP: o.IP, RequestID: o.RequestID, Agent: o.Agent}, u),
			Details: map[string]any{"kind": string(Passkeys), "factor": p.ID, "count": count, "seen": p.signCount},
		})
	})
	if err != nil {
		return err
	}
	return fault.New(fault.Invalid, "passkey_copied", "This passkey was not accepted: it looks as if there is a copy of it. Use another way to sign in, and remove it from your account.")
}

// usePasskey notes the use, if nobody else has meanwhile.
func (s *Service) usePasskey(ctx context.Context, tx db.WriteTx, p signedBy) error {
	n, err := tx.Exec(ctx, `UPDATE passkeys SET sign_count = $3, backed_up = $4, last_used = $5 WHERE id = $1 AND sign_count = $2`,
		p.ID, int64(p.signCount), int64(p.count), p.backedUp, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("note the use of a passkey: %w", err)
	}
	if n != 1 {
		return refusal(errors.New("the passkey was removed, or used somewhere else at this moment"))
	}
	return nil
}

// RenamePasskey gives a passkey another name. Another person's is not found.
func (s *Service) RenamePasskey(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User, factorID, name string) error {
	if err := own(c, u.ID); err != nil {
		return err
	}
	name, err := PasskeyName(name)
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `UPDATE passkeys SET name = $3 WHERE id = $1 AND user_id = $2`, factorID, u.ID, name)
	if err != nil {
		return fmt.Errorf("rename a passkey: %w", err)
	}
	if n == 0 {
		return errNoFactor
	}
	return audit.Done(ctx, tx, c, "factor.rename", "user", u.ID, map[string]any{"kind": string(Passkeys), "factor": factorID, "name": name})
}

var errNoFactor error = fault.New(fault.NotFound, "factor_not_found", "There is no such factor.")

// Remove takes a passkey or the app away. Another person's is not found. What somebody who has no password signs in with
// stays, unless an administrator takes it.
func (s *Service) Remove(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User, factorID string) error {
	if err := own(c, u.ID); err != nil {
		return err
	}
	f, err := Load(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	change := Change{User: u, What: Removed, By: c}
	table := ""
	for _, p := range f.Passkeys {
		if p.ID == factorID {
			table, change.Factor, change.Name = `DELETE FROM passkeys WHERE id = $1 AND user_id = $2`, Passkeys, p.Name
		}
	}
	if f.App != nil && f.App.ID == factorID {
		table, change.Factor = `DELETE FROM totp_factors WHERE id = $1 AND user_id = $2`, App
	}
	if table == "" {
		return errNoFactor
	}
	if change.Factor == Passkeys && c.ID == u.ID {
		if err := s.keep(ctx, tx, u.ID, len(f.Passkeys)); err != nil {
			return err
		}
	}
	if err := db.One(tx.Exec(ctx, table, factorID, u.ID)); err != nil {
		return fmt.Errorf("remove a factor: %w", err)
	}
	if err := tidy(ctx, tx, u.ID); err != nil {
		return err
	}
	return s.tell(ctx, tx, "factor.remove", change, map[string]any{"factor": factorID, "name": change.Name})
}
