package mfa

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// TOTP is a person's authenticator app.
type TOTP struct {
	ID       string
	Created  time.Time
	LastUsed time.Time
}

// enrolLife is how long a seed waits for its first code.
const enrolLife = 15 * time.Minute

// Seed is a seed that is shown to its person to be put into an app.
type Seed struct {
	Text    string // as people type it
	Address string // otpauth, as apps read it from a picture
}

func loadTOTP(ctx context.Context, tx db.ReadTx, userID string) (*TOTP, error) {
	var t TOTP
	var created, used int64
	err := tx.QueryRow(ctx, `SELECT id, created, last_used FROM totp_factors WHERE user_id = $1`, userID).Scan(&t.ID, &created, &used)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the authenticator app: %w", err)
	}
	t.Created, t.LastUsed = db.Time(created), db.Time(used)
	return &t, nil
}

func enrolmentAD(bound string) seal.AD {
	return seal.AD{Table: "totp_enrolments", Column: "box", Row: bound}
}

func totpAD(factorID string) seal.AD {
	return seal.AD{Table: "totp_factors", Column: "box", Row: factorID}
}

// BeginTOTP makes a seed that the person is to put into an app. bound names the session or login in which it was asked
// for: nowhere else is it shown or confirmed. What was begun there before is forgotten.
func (s *Service) BeginTOTP(ctx context.Context, tx db.WriteTx, c access.Caller, userID, bound string) error {
	if err := own(c, userID); err != nil {
		return err
	}
	var seed [seedSize]byte
	rand.Read(seed[:]) // never fails since Go 1.24
	box, err := s.keyring.Seal(seal.Data, enrolmentAD(bound), seed[:])
	if err != nil {
		return fmt.Errorf("seal a seed: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO totp_enrolments (bound, user_id, box, expires) VALUES ($1, $2, $3, $4)
		ON CONFLICT (bound) DO UPDATE SET user_id = excluded.user_id, box = excluded.box, expires = excluded.expires`,
		bound, userID, box, db.Micros(tx.Now().Add(enrolLife)))); err != nil {
		return fmt.Errorf("store a seed: %w", err)
	}
	return nil
}

// errNoEnrolment says that there is no seed to confirm.
var errNoEnrolment error = fault.New(fault.NotFound, "enrolment_over", "This took too long. Begin again with the app.")

func (s *Service) enrolment(ctx context.Context, tx db.ReadTx, userID, bound string) (redact.Secret, error) {
	var box []byte
	var expires int64
	err := tx.QueryRow(ctx, `SELECT box, expires FROM totp_enrolments WHERE bound = $1 AND user_id = $2`, bound, userID).Scan(&box, &expires)
	if errors.Is(err, db.ErrNoRows) || err == nil && !tx.Now().Before(db.Time(expires)) {
		return redact.Secret{}, errNoEnrolment
	}
	if err != nil {
		return redact.Secret{}, fmt.Errorf("read a seed: %w", err)
	}
	return s.keyring.Open(seal.Data, enrolmentAD(bound), box)
}

// PendingTOTP is the seed that BeginTOTP made there.
func (s *Service) PendingTOTP(ctx context.Context, tx db.ReadTx, u identity.User, bound string) (Seed, error) {
	seed, err := s.enrolment(ctx, tx, u.ID, bound)
	if err != nil {
		return Seed{}, err
	}
	return Seed{Text: otpText(seed), Address: otpAddress(s.o.Name, u.Username, seed)}, nil
}

// ConfirmTOTP takes the first code of a new app, which replaces the one before. ErrCode says that it was not right.
func (s *Service) ConfirmTOTP(ctx context.Context, c access.Caller, u identity.User, bound, typed string, o identity.Origin) error {
	if err := own(c, u.ID); err != nil {
		return err
	}
	return s.attempt(ctx, callerOf(c, u), "factor.add", o, func(tx db.WriteTx) (bool, error) {
		return s.confirm(ctx, tx, c, u, bound, typed)
	})
}

func (s *Service) confirm(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User, bound, typed string) (bool, error) {
	seed, err := s.enrolment(ctx, tx, u.ID, bound)
	if err != nil {
		return false, err
	}
	code, ok := parseOTP(typed)
	if !ok {
		return false, nil
	}
	step, ok := otpMatch(seed, code, tx.Now(), 0)
	if !ok {
		return false, nil
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM totp_enrolments WHERE bound = $1`, bound)); err != nil {
		return false, fmt.Errorf("end an enrolment: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM totp_factors WHERE user_id = $1`, u.ID); err != nil {
		return false, fmt.Errorf("replace the authenticator app: %w", err)
	}
	factorID := id.New(id.Factor, tx.Now())
	box, err := s.keyring.Seal(seal.Data, totpAD(factorID), seed.Bytes())
	if err != nil {
		return false, fmt.Errorf("seal a seed: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO totp_factors (id, user_id, box, last_step, created, last_used) VALUES ($1, $2, $3, $4, $5, $5)`,
		factorID, u.ID, box, step, db.Micros(tx.Now()))); err != nil {
		return false, fmt.Errorf("store the authenticator app: %w", err)
	}
	return true, s.tell(ctx, tx, "factor.add", Change{User: u, What: Added, Factor: App, By: c}, map[string]any{"factor": factorID})
}

// useTOTP tells whether the code is one of the person's app that was not used, nor one after it, and uses it.
func (s *Service) useTOTP(ctx context.Context, tx db.WriteTx, userID, typed string) (bool, error) {
	code, ok := parseOTP(typed)
	if !ok {
		return false, nil
	}
	var factorID string
	var box []byte
	var last int64
	err := tx.QueryRow(ctx, `SELECT id, box, last_step FROM totp_factors WHERE user_id = $1`, userID).Scan(&factorID, &box, &last)
	if errors.Is(err, db.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the authenticator app: %w", err)
	}
	seed, err := s.keyring.Open(seal.Data, totpAD(factorID), box)
	if err != nil {
		return false, fmt.Errorf("open the seed of user %s: %w", userID, err)
	}
	step, ok := otpMatch(seed, code, tx.Now(), last)
	if !ok {
		return false, nil
	}
	n, err := tx.Exec(ctx, `UPDATE totp_factors SET last_step = $3, last_used = $4 WHERE id = $1 AND last_step = $2`, factorID, last, step, db.Micros(tx.Now()))
	if err != nil {
		return false, fmt.Errorf("use a code: %w", err)
	}
	return n == 1, nil
}

// callerOf names the person whose codes are tried: their count is that person's, whoever asks.
func callerOf(c access.Caller, u identity.User) access.Caller {
	return access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm, RequestID: c.RequestID, IP: c.IP, Agent: c.Agent}
}
