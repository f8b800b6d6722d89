package identity_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// nameSeeds are names as people type them and what becomes of them.
var nameSeeds = map[string]string{
	"Jane": "jane", "\uff2a\uff21\uff2e\uff25": "jane", "stra\u00dfe": "stra\u00dfe", "rene\u0301": "ren\u00e9", "o.neil_2-x": "o.neil_2-x",
	"\u0130": "i\u0307", "\u5c71\u7530": "\u5c71\u7530",
}

// A name that is taken is its own form, and nothing in it can be mistaken for something else than a name.
func FuzzUsername(f *testing.F) {
	for seed := range nameSeeds {
		f.Add(seed)
	}
	f.Add("\u03a3\u03c2\u00df\u1e9e\u0131")
	f.Fuzz(func(t *testing.T, typed string) {
		got, err := identity.CanonicalUsername(typed)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v", typed, err)
			}
			return
		}
		again, err := identity.CanonicalUsername(got)
		if err != nil || again != got {
			t.Errorf("%q became %q, which became %q, %v", typed, got, again, err)
		}
		if got == "" || len(got) > 100 || !utf8.ValidString(got) || strings.ContainsAny(got, " /\\:<>\"'\x00\r\n\u200b\u202e") {
			t.Errorf("%q became %q", typed, got)
		}
	})
}

func TestFuzzSeedsOfUsername(t *testing.T) {
	for typed, want := range nameSeeds {
		if got, err := identity.CanonicalUsername(typed); err != nil || got != want {
			t.Errorf("%q became %q, %v", typed, got, err)
		}
	}
}
