package mfa

import (
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/redact"
)

var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// The vectors of RFC 6238 appendix B for SHA-1, cut to six digits.
func TestOTPVectors(t *testing.T) {
	seed := redact.New("12345678901234567890")
	for at, want := range map[int64]string{
		59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130",
	} {
		if got := otpCode(seed, otpStep(time.Unix(at, 0))); string(got[:]) != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

// otpSeeds are texts and whether they have the form of a code.
var otpSeeds = map[string]bool{
	"287082": true, "000000": true, "": false, "28708": false, "2870822": false, "287 82": false, " 287082": false, "28708a": false,
	"-28708": false, "２８７０８２": false, "٢٨٧٠٨٢": false, "28708\x00": false,
}

func FuzzParseOTP(f *testing.F) {
	for seed := range otpSeeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := parseOTP(typed)
		if ok != (len(typed) == 6 && strings.Trim(typed, "0123456789") == "") {
			t.Errorf("%q: %v", typed, ok)
		}
		if ok && string(code[:]) != typed {
			t.Errorf("%q became %q", typed, code)
		}
	})
}

func TestFuzzSeedsOfParseOTP(t *testing.T) {
	for seed, want := range otpSeeds {
		if _, ok := parseOTP(seed); ok != want {
			t.Errorf("%q: %v", seed, ok)
		}
	}
}

// A code is good one step early and late, and never at or before the last that was used.
func TestOTPSteps(t *testing.T) {
	seed, now := redact.New("12345678901234567890"), time.Unix(1111111111, 0)
	at := otpStep(now)
	for off := int64(-3); off <= 3; off++ {
		step, ok := otpMatch(seed, otpCode(seed, at+off), now, 0)
		if want := off >= -1 && off <= 1; ok != want || ok && step != at+off {
			t.Errorf("%d steps off: %d, %v", off, step, ok)
		}
	}
	for last, want := range map[int64]bool{at - 1: true, at: false, at + 1: false} {
		if _, ok := otpMatch(seed, otpCode(seed, at), now, last); ok != want {
			t.Errorf("after step %d: %v", last-at, ok)
		}
	}
}

// codeSeeds are texts and whether they have the form of a recovery code.
var codeSeeds = map[string]bool{
	"0123-4567-89ab-cdef-ghjk-mnpq-rstv": true, "0123456789ABCDEFGHJKMNPQRSTV": true, " o123 4567 89ab cdef ghjk mnpq rstv": true,
	"0123-4567": false, "": false, "0123-4567-89ab-cdef-ghjk-mnpq-rstv-0": false, "u123-4567-89ab-cdef-ghjk-mnpq-rstv": false,
	"０123-4567-89ab-cdef-ghjk-mnpq-rstv": false,
}

func FuzzParseCode(f *testing.F) {
	for seed := range codeSeeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := parseCode(typed)
		if !ok {
			return
		}
		again, ok := parseCode(codeText(code))
		if !ok || again.Reveal() != code.Reveal() || len(code.Bytes()) != codeDigits {
			t.Errorf("%q became %q", typed, code.Reveal())
		}
	})
}

func TestFuzzSeedsOfParseCode(t *testing.T) {
	for seed, want := range codeSeeds {
		if _, ok := parseCode(seed); ok != want {
			t.Errorf("%q: %v", seed, ok)
		}
	}
	if a, b := newCode(), newCode(); a.Reveal() == b.Reveal() || len(a.Bytes()) != codeDigits {
		t.Error("recovery codes repeat")
	}
}
