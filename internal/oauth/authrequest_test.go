package oauth

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

var requestSeeds = []string{
	"response_type=code&client_id=c&redirect_uri=https%3A%2F%2Fa.example%2Fcb&scope=openid+email&state=%26",
	"client_id=a&client_id=b&x", "a=%zz", "a=%00", "&&a=b&", "=x", "a=\xff", strings.Repeat("a&", 70),
}

// FuzzReadAnswers looks for a request that we read otherwise than the standard library does: a proxy on the way might.
func FuzzReadAnswers(f *testing.F) {
	for _, s := range requestSeeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		a, ok := readAnswers(raw)
		if !ok {
			return
		}
		// Semicolons are letters to us, and a mistake to the library.
		want, err := url.ParseQuery(raw)
		if err != nil && !strings.Contains(raw, ";") {
			t.Fatalf("%q is read, and is no query: %v", raw, err)
		}
		if err != nil {
			return
		}
		for name, values := range want {
			if got, there := a.find(name); !there || got != values[0] || slices.Contains(a.twice, name) != (len(values) > 1) {
				t.Errorf("%q: %q is %q, want %q", raw, name, got, values)
			}
		}
		if len(want) != len(a.parameters) {
			t.Errorf("%q: %d parameters, want %d", raw, len(a.parameters), len(want))
		}
	})
}

func TestRequestSeedsAreOfBothKinds(t *testing.T) {
	good := 0
	for _, s := range requestSeeds {
		if _, ok := readAnswers(s); ok {
			good++
		}
	}
	if good < 3 || good == len(requestSeeds) {
		t.Errorf("%d of %d are read", good, len(requestSeeds))
	}
}

func TestProvesChallenge(t *testing.T) {
	// The example of RFC 7636, appendix B.
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	if !provesChallenge(verifier, challenge) {
		t.Error("the example of the RFC")
	}
	for _, bad := range []string{"", challenge, verifier[:42], verifier + "=", verifier + " ", strings.Repeat("a", 129), strings.ToUpper(verifier)} {
		if provesChallenge(bad, challenge) {
			t.Errorf("%q proves it", bad)
		}
	}
}
