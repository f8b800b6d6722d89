package mfa

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
)

// Answers of a browser that were really given, to begin from.
const (
	seedAssertion = `{"id":"AQIDBA","rawId":"AQIDBA","type":"public-key","clientExtensionResults":{},"response":{"clientDataJSON":"eyJ0eXBlIjoid2ViYXV0aG4uZ2V0IiwiY2hhbGxlbmdlIjoiQUFBQSIsIm9yaWdpbiI6Imh0dHBzOi8vbWludC5leGFtcGxlLm9yZyJ9","authenticatorData":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFAAAAAQ","signature":"MAA","userHandle":"dXNyXzE"}}`
	seedCreation  = `{"id":"AQIDBA","rawId":"AQIDBA","type":"public-key","clientExtensionResults":{},"response":{"clientDataJSON":"eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIiwiY2hhbGxlbmdlIjoiQUFBQSIsIm9yaWdpbiI6Imh0dHBzOi8vbWludC5leGFtcGxlLm9yZyJ9","attestationObject":"o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YVgA"}}`
)

// answerSeeds are texts and whether they are the answer of a passkey that has signed.
var answerSeeds = map[string]bool{
	seedAssertion: true, seedCreation: false, "": false, "{}": false, "[]": false, "null": false, "{": false, seedAssertion + " {}": false,
	`{"id":"` + strings.Repeat("A", maxAnswer) + `"}`: false,
}

// Whatever a browser answers, it is read or refused.
func FuzzAnswer(f *testing.F) {
	for seed := range answerSeeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		if p, err := parseAssertion(answer); err == nil && len(p.RawID) > maxCredential || err != nil && fault.Code(err) != "passkey_refused" {
			t.Errorf("assertion %q: %v", answer, err)
		}
		if p, err := parseCreation(answer); err == nil && len(p.Response.AttestationObject.AuthData.AttData.CredentialID) > maxCredential || err != nil && fault.Code(err) != "passkey_refused" {
			t.Errorf("creation %q: %v", answer, err)
		}
	})
}

func TestFuzzSeedsOfAnswer(t *testing.T) {
	for seed, want := range answerSeeds {
		if _, err := parseAssertion(seed); (err == nil) != want {
			t.Errorf("%.80q: %v", seed, err)
		}
	}
}

// One address cannot fill the table; a new window lets it ask again, and the machine itself is never counted.
func TestCeremoniesOfOneAddress(t *testing.T) {
	c := clock.NewFake(start)
	l := newCeremonies(c)
	take := func(ip string) error { return l.take(ip) }
	for range ceremoniesAtOnce {
		if err := take("2001:db8::1"); err != nil {
			t.Fatal(err)
		}
	}
	for ip, limited := range map[string]bool{"2001:db8::2": true, "2001:db8:0:1::1": false, "192.0.2.1": false, "127.0.0.1": false, "nonsense": false} {
		if err := take(ip); fault.Is(err, fault.Limited) != limited {
			t.Errorf("%s: %v", ip, err)
		}
	}
	c.Advance(ceremonyWindow)
	if err := take("2001:db8::1"); err != nil {
		t.Error(err)
	}
}

func TestPasskeyName(t *testing.T) {
	for typed, want := range map[string]string{"": "Passkey", "  ": "Passkey", " My key ": "My key", strings.Repeat("x", 61): "", "a\nb": "", "a\u202eb": "", "\xff": "", "Schlüssel 🔑": "Schlüssel 🔑"} {
		got, err := PasskeyName(typed)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", typed, got, err)
		}
	}
}
