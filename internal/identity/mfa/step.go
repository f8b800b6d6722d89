package mfa

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// StepKind is what a login waits for.
type StepKind string

// The kinds.
const (
	Verify StepKind = "verify" // a second factor that the person has
	Enrol  StepKind = "enrol"  // a second factor that the person must get
)

const (
	stepPrefix = "mml_"
	stepLife   = 5 * time.Minute
	macStep    = "login-step"
	maxReturn  = 16 << 10
	secretSize = 43
)

// Step is a login of which the first part was right. It is no session.
type Step struct {
	Kind     StepKind
	User     identity.User // with its Proof
	AMR      []string      // what was right so far
	ReturnTo string
	Upstream string // what a provider of others has proved; "": nothing
	Factors  Factors

	mac []byte
}

// Bound names the login, for what belongs to it alone.
func (p *Step) Bound() string { return "login " + hex.EncodeToString(p.mac) }

// Next tells what a login by these methods must do before it becomes a session: nothing (""), or a step. With two set,
// two factors are wanted, whatever the person's own policy says.
func (s *Service) Next(ctx context.Context, tx db.ReadTx, u identity.User, amr []string, two bool) (StepKind, error) {
	if slices.Contains(amr, Multiple) {
		return "", nil
	}
	has, err := hasSecond(ctx, tx, u.ID)
	switch {
	case err != nil:
		return "", err
	case has:
		return Verify, nil
	case two || s.Required(u):
		return Enrol, nil
	}
	return "", nil
}

// Start tells what a login by these methods must do before it becomes a session, and notes it: nothing, with an empty
// kind, or a step, of which the browser keeps the cookie. upstream is kept for whoever ends the login. See Next.
func (s *Service) Start(ctx context.Context, u identity.User, amr []string, two bool, returnTo, upstream string) (kind StepKind, cookie redact.Secret, err error) {
	if err := s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		kind, err = s.Next(ctx, tx, u, amr, two)
		return err
	}); err != nil || kind == "" {
		return kind, cookie, err
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) (err error) {
		cookie, err = s.BeginStep(ctx, tx, kind, u, amr, returnTo, upstream)
		return err
	})
	return kind, cookie, err
}

// Step is FindStep in a transaction of its own, with the seed of a step that wants a factor.
func (s *Service) Step(ctx context.Context, cookie string) (p *Step, seed Seed, err error) {
	err = s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		if p, err = s.FindStep(ctx, tx, cookie); err != nil || p.Kind != Enrol {
			return err
		}
		seed, err = s.PendingTOTP(ctx, tx, p.User, p.Bound())
		return err
	})
	return p, seed, err
}

// BeginStep notes that the first part of a login was right and what comes next. The browser keeps the answer in a cookie.
func (s *Service) BeginStep(ctx context.Context, tx db.WriteTx, kind StepKind, u identity.User, amr []string, returnTo, upstream string) (redact.Secret, error) {
	if len(returnTo) > maxReturn {
		returnTo = ""
	}
	cookie := seal.NewSecret(stepPrefix)
	mac := s.keyring.MAC(macStep, cookie)
	if err := db.One(tx.Exec(ctx, `INSERT INTO login_steps (mac, user_id, kind, amr, proof, enabled_since, return_to, expires, used, upstream) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9)`,
		mac, u.ID, string(kind), strings.Join(amr, " "), u.Proof, db.Micros(u.EnabledSince), returnTo, db.Micros(tx.Now().Add(stepLife)), upstream)); err != nil {
		return redact.Secret{}, fmt.Errorf("store a step of a login: %w", err)
	}
	if kind == Enrol {
		p := Step{mac: mac}
		self := access.Caller{Kind: access.Person, ID: u.ID}
		if err := s.BeginTOTP(ctx, tx, self, u.ID, p.Bound()); err != nil {
			return redact.Secret{}, err
		}
	}
	return cookie, nil
}

// ErrNoStep is the one answer to a step that is unknown, over or used.
var ErrNoStep error = fault.New(fault.Invalid, "login_over", "This took too long, or was done already. Please sign in again.")

// FindStep finds the step that a browser's cookie names.
func (s *Service) FindStep(ctx context.Context, tx db.ReadTx, cookie string) (*Step, error) {
	if len(cookie) != len(stepPrefix)+secretSize || !strings.HasPrefix(cookie, stepPrefix) {
		return nil, ErrNoStep
	}
	for _, mac := range s.keyring.LookupMACs(macStep, redact.New(cookie)) {
		p := &Step{mac: mac}
		var userID, kind, amr string
		var proof, enabled, expires, used int64
		err := tx.QueryRow(ctx, `SELECT user_id, kind, amr, proof, enabled_since, return_to, expires, used, upstream FROM login_steps WHERE mac = $1`, mac).
			Scan(&userID, &kind, &amr, &proof, &enabled, &p.ReturnTo, &expires, &used, &p.Upstream)
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read a step of a login: %w", err)
		}
		if used != 0 || !tx.Now().Before(db.Time(expires)) {
			return nil, ErrNoStep
		}
		if p.User, err = identity.LoadUser(ctx, tx, userID); err != nil {
			return nil, err
		}
		p.Kind, p.AMR, p.User.Proof, p.User.EnabledSince = StepKind(kind), strings.Fields(amr), proof, db.Time(enabled)
		if err := s.stillGood(ctx, tx, p); err != nil {
			return nil, err
		}
		if p.Kind == Enrol {
			if err := stillWithout(ctx, tx, userID); err != nil {
				return nil, err
			}
		}
		p.Factors, err = Load(ctx, tx, userID)
		return p, err
	}
	return nil, ErrNoStep
}

// stillGood refuses a step of somebody whose password was changed, or who was disabled, since.
func (s *Service) stillGood(ctx context.Context, tx db.ReadTx, p *Step) error {
	if ok, err := identity.StillProved(ctx, tx, p.User); err != nil {
		return err
	} else if !ok {
		return ErrNoStep
	}
	return nil
}

// stillWithout ends a login that is to set a factor up when somebody has done so meanwhile: else whoever knows the password
// could put a factor of his own in place of the person's.
func stillWithout(ctx context.Context, tx db.ReadTx, userID string) error {
	has, err := hasSecond(ctx, tx, userID)
	if err == nil && has {
		err = ErrNoStep
	}
	return err
}

// useStep marks the step as used: by compare-and-set, so that it becomes one session at most.
func useStep(ctx context.Context, tx db.WriteTx, p *Step, kind StepKind) error {
	n, err := tx.Exec(ctx, `UPDATE login_steps SET used = $2 WHERE mac = $1 AND used = 0 AND expires > $2 AND kind = $3`, p.mac, db.Micros(tx.Now()), string(kind))
	if err != nil {
		return fmt.Errorf("use a step of a login: %w", err)
	}
	if n != 1 {
		return ErrNoStep
	}
	return nil
}

// VerifyCode takes a code of the app, or, with recovery set, a recovery code, as the second factor of the step, and uses
// both up. It answers the methods of the whole login. ErrCode says that the code was not right.
func (s *Service) VerifyCode(ctx context.Context, p *Step, typed string, recovery bool, o identity.Origin) (amr []string, err error) {
	c := access.Caller{Kind: access.Person, ID: p.User.ID, Name: p.User.Username, Realm: p.User.Realm, IP: o.IP, RequestID: o.RequestID, Agent: o.Agent}
	err = s.attempt(ctx, c, "session.begin", o, func(tx db.WriteTx) (right bool, err error) {
		if recovery {
			right, err = s.useCode(ctx, tx, p.User, c, typed)
		} else {
			right, err = s.useTOTP(ctx, tx, p.User.ID, typed)
		}
		if err != nil || !right {
			return false, err
		}
		if err := s.stillGood(ctx, tx, p); err != nil {
			return false, err
		}
		return true, useStep(ctx, tx, p, Verify)
	})
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(p.AMR), OTP, Multiple), nil
}

// EnrolTOTP takes the first code of a new app as the end of a step that wants a factor.
func (s *Service) EnrolTOTP(ctx context.Context, p *Step, typed string, o identity.Origin) (amr []string, err error) {
	c := access.Caller{Kind: access.Person, ID: p.User.ID, Name: p.User.Username, Realm: p.User.Realm, IP: o.IP, RequestID: o.RequestID, Agent: o.Agent}
	err = s.attempt(ctx, c, "factor.add", o, func(tx db.WriteTx) (bool, error) {
		if err := s.stillGood(ctx, tx, p); err != nil {
			return false, err
		}
		if err := stillWithout(ctx, tx, p.User.ID); err != nil {
			return false, err
		}
		right, err := s.confirm(ctx, tx, c, p.User, p.Bound(), typed)
		if err != nil || !right {
			return false, err
		}
		return true, useStep(ctx, tx, p, Enrol)
	})
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(p.AMR), OTP, Multiple), nil
}
