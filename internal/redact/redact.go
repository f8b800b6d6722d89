// Package redact holds secrets in a type that does not print.
//
// A Secret shows as [redacted] in every form that a program prints by accident: fmt verbs, JSON, text, slog, errors,
// panics of a struct that holds one. The value comes out only by Reveal or Bytes, which are easy to search for; each
// call is a place where a secret leaves. The memory is not locked; see docs/threat-model.md.
package redact

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const mask = "[redacted]"

// Secret is a value that must not be shown. The zero value is the empty secret. It is not comparable with ==: use Equal.
type Secret struct {
	// A function, because fmt calls no method of an unexported field but walks into its bytes, under some verbs even
	// through a pointer; of a function it prints the address. Nor can a function be compared with ==, which would not
	// be constant-time.
	value func() []byte
}

// New makes a Secret of text.
func New(s string) Secret { return FromBytes([]byte(s)) }

// FromBytes makes a Secret that owns b; the caller must not use b again.
func FromBytes(b []byte) Secret { return Secret{value: func() []byte { return b }} }

// Reveal is the secret as text. Do not store or print what it returns.
func (s Secret) Reveal() string { return string(s.Bytes()) }

// Bytes is the secret itself, not a copy. Do not change or keep it.
func (s Secret) Bytes() []byte {
	if s.value == nil {
		return nil
	}
	return s.value()
}

// Empty tells whether there is no secret.
func (s Secret) Empty() bool { return len(s.Bytes()) == 0 }

// Equal compares in a time that depends on neither value (and on no length).
func (s Secret) Equal(other Secret) bool {
	a, b := sha256.Sum256(s.Bytes()), sha256.Sum256(other.Bytes())
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Erase overwrites the secret in place. Copies made by Reveal are not reached.
func (s Secret) Erase() { clear(s.Bytes()) }

// Format masks the secret under every verb and flag.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, mask) }

// String masks.
func (Secret) String() string { return mask }

// GoString masks.
func (Secret) GoString() string { return mask }

// MarshalText masks.
func (Secret) MarshalText() ([]byte, error) { return []byte(mask), nil }

// MarshalJSON masks. A document that must carry a secret reveals it by hand.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + mask + `"`), nil }

// LogValue masks.
func (Secret) LogValue() slog.Value { return slog.StringValue(mask) }

// UnmarshalText takes the secret from a request or a file.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = New(string(b))
	return nil
}
