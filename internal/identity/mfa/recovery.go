package mfa

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

const (
	codesAtOnce  = 10
	codeDigits   = 28 // of Crockford's base32: 140 bits, which need no slow hash
	codeGroup    = 4
	codeAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	macRecovery  = "recovery-code"
)

// newCode makes a recovery code.
func newCode() redact.Secret {
	var b [codeDigits]byte
	rand.Read(b[:]) // never fails since Go 1.24
	for i := range b {
		b[i] = codeAlphabet[b[i]%32]
	}
	return redact.FromBytes(b[:])
}

// codeText is the code as it is shown: in groups.
func codeText(code redact.Secret) string {
	var out strings.Builder
	for i, c := range code.Bytes() {
		if i > 0 && i%codeGroup == 0 {
			out.WriteByte('-')
		}
		out.WriteByte(c)
	}
	return out.String()
}

// parseCode takes a recovery code as people type it: with or without its hyphens, in capitals, with spaces, and with the
// letters that Crockford's base32 reads as digits.
func parseCode(typed string) (redact.Secret, bool) {
	if len(typed) > 4*codeDigits {
		return redact.Secret{}, false
	}
	b := make([]byte, 0, codeDigits)
	for _, c := range []byte(typed) {
		switch {
		case c == '-' || c == ' ':
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		switch c {
		case 'o':
			c = '0'
		case 'i', 'l':
			c = '1'
		}
		if !strings.ContainsRune(codeAlphabet, rune(c)) || len(b) == codeDigits {
			return redact.Secret{}, false
		}
		b = append(b, c)
	}
	return redact.FromBytes(b), len(b) == codeDigits
}

// NewCodes gives the person new recovery codes in place of all old ones. They are shown once: nobody can read them again.
func (s *Service) NewCodes(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User) ([]string, error) {
	if err := own(c, u.ID); err != nil {
		return nil, err
	}
	if has, err := hasSecond(ctx, tx, u.ID); err != nil {
		return nil, err
	} else if !has {
		return nil, fault.New(fault.Conflict, "nothing_to_recover", "Recovery codes stand in for an authenticator app or a passkey. Add one of these first.")
	}
	if _, err := tx.Exec(ctx, `DELETE FROM recovery_codes WHERE user_id = $1`, u.ID); err != nil {
		return nil, fmt.Errorf("remove the old recovery codes: %w", err)
	}
	var shown []string
	for range codesAtOnce {
		code := newCode()
		if err := db.One(tx.Exec(ctx, `INSERT INTO recovery_codes (mac, user_id, created, used) VALUES ($1, $2, $3, 0)`,
			s.keyring.MAC(macRecovery, code), u.ID, db.Micros(tx.Now()))); err != nil {
			return nil, fmt.Errorf("store a recovery code: %w", err)
		}
		shown = append(shown, codeText(code))
	}
	return shown, s.tell(ctx, tx, "factor.add", Change{User: u, What: Added, Factor: Codes, By: c}, nil)
}

// useCode tells whether this is a recovery code of the person that was not used, and uses it.
func (s *Service) useCode(ctx context.Context, tx db.WriteTx, u identity.User, c access.Caller, typed string) (bool, error) {
	code, ok := parseCode(typed)
	if !ok {
		return false, nil
	}
	for _, mac := range s.keyring.LookupMACs(macRecovery, code) {
		n, err := tx.Exec(ctx, `UPDATE recovery_codes SET used = $3 WHERE mac = $1 AND user_id = $2 AND used = 0`, mac, u.ID, db.Micros(tx.Now()))
		if err != nil {
			return false, fmt.Errorf("use a recovery code: %w", err)
		}
		if n == 1 {
			return true, s.tell(ctx, tx, "factor.use", Change{User: u, What: Used, Factor: Codes, By: c}, nil)
		}
	}
	return false, nil
}
