package mfa

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// How guessing a code is kept hopeless: of a million codes three are good at a time.
const (
	triesAtOnce = 5
	triesWindow = 5 * time.Minute
	triesADay   = 20
	dayWindow   = 24 * time.Hour
)

// ErrCode is the one answer to a code that is wrong, used or of another kind.
var ErrCode error = fault.New(fault.Unauthenticated, "wrong_code", "This code is not right, or was used already.")

// reserve counts a try before it is looked at, or refuses it with fault.Limited. Who comes with a browser that the person
// is known with has a count of its own.
func (s *Service) reserve(ctx context.Context, tx db.WriteTx, userID string, o identity.Origin) (account string, err error) {
	account = "user/" + userID
	if !o.Device.Empty() {
		deviceID, known, err := s.dir.KnownDevice(ctx, tx, userID, o.Device)
		if err != nil {
			return "", err
		}
		if known {
			account = "device/" + deviceID
		}
	}
	account = hex.EncodeToString(s.keyring.MAC("factor-attempts", redact.New(account)))
	now := tx.Now()
	var began, tries, dayBegan, dayTries int64
	err = tx.QueryRow(ctx, `SELECT began, tries, day_began, day_tries FROM factor_attempts WHERE account = $1`, account).Scan(&began, &tries, &dayBegan, &dayTries)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return "", fmt.Errorf("read tries of codes: %w", err)
	}
	if tries == 0 || !now.Before(db.Time(began).Add(triesWindow)) {
		began, tries = db.Micros(now), 0
	}
	if dayTries == 0 || !now.Before(db.Time(dayBegan).Add(dayWindow)) {
		dayBegan, dayTries = db.Micros(now), 0
	}
	var wait time.Duration
	if tries >= triesAtOnce {
		wait = db.Time(began).Add(triesWindow).Sub(now)
	}
	if dayTries >= triesADay {
		wait = max(wait, db.Time(dayBegan).Add(dayWindow).Sub(now))
	}
	if wait > 0 {
		return "", fault.New(fault.Limited, "too_many_codes", "Too many wrong codes. Please wait before you try again, or use a passkey.").Retry(wait)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO factor_attempts (account, user_id, began, tries, day_began, day_tries) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account) DO UPDATE SET began = excluded.began, tries = excluded.tries, day_began = excluded.day_began, day_tries = excluded.day_tries`,
		account, userID, began, tries+1, dayBegan, dayTries+1)); err != nil {
		return "", fmt.Errorf("count a try of a code: %w", err)
	}
	return account, nil
}

// release takes a try off the count: its code was right.
func release(ctx context.Context, tx db.WriteTx, account string) error {
	if err := db.One(tx.Exec(ctx, `UPDATE factor_attempts SET tries = tries - 1, day_tries = day_tries - 1 WHERE account = $1 AND tries > 0 AND day_tries > 0`, account)); err != nil {
		return fmt.Errorf("take a try off the count: %w", err)
	}
	return nil
}

// attempt counts a try, lets check look at it, and, if check says that it is right, takes it off the count again: all in
// one transaction, which commits whether it is right or not, so that tries side by side are no more than one after
// another. A wrong one is ErrCode.
func (s *Service) attempt(ctx context.Context, c access.Caller, op string, o identity.Origin, check func(tx db.WriteTx) (bool, error)) error {
	var limited error
	var right bool
	err := s.d.Write(ctx, func(tx db.WriteTx) error {
		limited, right = nil, false
		account, err := s.reserve(ctx, tx, c.ID, o)
		if fault.Is(err, fault.Limited) {
			limited = err
			return nil
		}
		if err != nil {
			return err
		}
		if right, err = check(tx); err != nil || !right {
			return err
		}
		return release(ctx, tx, account)
	})
	switch {
	case err != nil:
		return err
	case limited != nil:
		s.refused(c, op, limited)
		return limited
	case !right:
		s.refused(c, op, ErrCode)
		return ErrCode
	}
	return nil
}
