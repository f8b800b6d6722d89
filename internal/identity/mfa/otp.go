package mfa

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238 with what every app knows; HMAC does not need collision resistance
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"net/url"
	"time"

	"github.com/mintmark/mintmark/internal/redact"
)

// The one form of TOTP (RFC 6238) that all apps know.
const (
	otpDigits = 6
	otpPeriod = 30 * time.Second
	otpSkew   = 1 // steps by which a clock may be off, either way
	seedSize  = 20
)

// otpStep is the number of the time step (RFC 6238 section 4.2).
func otpStep(t time.Time) int64 { return t.Unix() / int64(otpPeriod/time.Second) }

// otpCode is the code of one step (RFC 4226 section 5.3).
func otpCode(seed redact.Secret, step int64) [otpDigits]byte {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	h := hmac.New(sha1.New, seed.Bytes())
	h.Write(counter[:])
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	var code [otpDigits]byte
	for i := range code {
		code[otpDigits-1-i] = '0' + byte(n%10)
		n /= 10
	}
	return code
}

// parseOTP takes a code as apps show it: six digits and nothing else. What looks like a digit is none.
func parseOTP(typed string) (code [otpDigits]byte, ok bool) {
	if len(typed) != otpDigits {
		return code, false
	}
	for i := range code {
		if typed[i] < '0' || typed[i] > '9' {
			return code, false
		}
		code[i] = typed[i]
	}
	return code, true
}

// otpMatch finds the step whose code this is, among those about now that come after last. All are looked at, so that the
// time does not tell which. ok is false if there is none.
func otpMatch(seed redact.Secret, code [otpDigits]byte, now time.Time, last int64) (step int64, ok bool) {
	at := otpStep(now)
	for s := at - otpSkew; s <= at+otpSkew; s++ {
		want := otpCode(seed, s)
		if subtle.ConstantTimeCompare(code[:], want[:]) == 1 && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}

// otpText is the seed as people type it.
func otpText(seed redact.Secret) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(seed.Bytes())
}

// otpAddress is what apps read from a picture: the otpauth address of the seed.
func otpAddress(place, account string, seed redact.Secret) string {
	q := url.Values{"secret": {otpText(seed)}, "issuer": {place}}
	return "otpauth://totp/" + url.PathEscape(place) + ":" + url.PathEscape(account) + "?" + q.Encode()
}
