package identity

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"

	"github.com/mintmark/mintmark/internal/fault"
)

const (
	maxPersonName  = 100 // bytes of a username in canonical form
	maxDisplayName = 200
	maxAddress     = 254 // RFC 5321, 4.5.3.1.3, without the brackets
)

// CanonicalUsername is the one form of a person's username (RFC 8265, UsernameCaseMapped): full width becomes narrow,
// upper case lower, combining marks one with their letters. What has no such form, or mixes letters of several scripts
// as only a counterfeit does, is refused.
func CanonicalUsername(name string) (string, error) { return canonicalUsername(name) }

func canonicalUsername(name string) (string, error) {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "username", "The username cannot be used: %s.", why).At("username", "not valid")
	}
	if name == "" || len(name) > 4*maxPersonName || !utf8.ValidString(name) {
		return "", bad("it is empty, too long, or no text")
	}
	canonical, err := precis.UsernameCaseMapped.String(name)
	if err != nil {
		return "", bad("it holds characters that names do not have, such as spaces or signs")
	}
	// Once is not always enough (the rules say that the result must not change any more).
	if again, err := precis.UsernameCaseMapped.String(canonical); err != nil || again != canonical {
		return "", bad("it has no single form")
	}
	if len(canonical) > maxPersonName {
		return "", bad("it is too long")
	}
	if strings.HasPrefix(canonical, ".") || strings.HasSuffix(canonical, ".") || strings.ContainsAny(canonical, `/\:"'<>&?#%,;`+"`") {
		return "", bad(`it must not begin or end with a dot, nor hold any of / \ : ; , " ' < > & ? # %`)
	}
	if mixed(canonical) {
		return "", bad("it mixes letters of several alphabets")
	}
	return canonical, nil
}

// scripts whose letters look alike. A name takes its letters from one script; Japanese and Korean write with several,
// none of which looks like these.
var scripts = []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee, unicode.Coptic, unicode.Georgian, unicode.Hebrew, unicode.Arabic, unicode.Lisu}

func mixed(s string) bool {
	seen := 0
	for i := range scripts {
		if strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(scripts[i], r) }) {
			seen++
		}
	}
	return seen > 1
}

// printableName tells whether a text may be shown as somebody's name: no control characters, nothing that turns the
// direction of the text or cannot be seen.
func printableName(s string) bool {
	return s != "" && len(s) <= maxDisplayName && utf8.ValidString(s) && strings.TrimSpace(s) == s &&
		!strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) || r == utf8.RuneError })
}

// address is an e-mail address: as it was given, and in the form in which addresses are compared.
type address struct{ text, key string }

// parseAddress takes a bare address (no name, no brackets). Addresses are compared without case: no provider of today
// tells them apart, and two accounts whose addresses differ in nothing else are a trap.
func parseAddress(s string) (address, error) {
	if s == "" {
		return address{}, nil
	}
	bad := fault.New(fault.Invalid, "email", "The e-mail address is not valid.").At("email", "not valid")
	if len(s) > maxAddress || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == utf8.RuneError }) {
		return address{}, bad
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" {
		return address{}, bad
	}
	return address{s, addressKey(s)}, nil
}

func addressKey(s string) string { return strings.ToLower(norm.NFC.String(s)) }

// invisible are the zero-width characters and the marks that turn the direction of text, but for the joiners, which some
// scripts need.
var invisible = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x00ad, Hi: 0x00ad, Stride: 1}, {Lo: 0x200b, Hi: 0x200b, Stride: 1}, {Lo: 0x200e, Hi: 0x200f, Stride: 1},
	{Lo: 0x202a, Hi: 0x202e, Stride: 1}, {Lo: 0x2060, Hi: 0x2064, Stride: 1}, {Lo: 0x2066, Hi: 0x2069, Stride: 1},
	{Lo: 0xfeff, Hi: 0xfeff, Stride: 1},
}, LatinOffset: 1}

// loginNames are the forms of what somebody typed under which an account may be found: a username and an address. Both
// are empty if it can be neither.
func loginNames(typed string) (username, email string) {
	if len(typed) > maxUsername*2 {
		return "", ""
	}
	// What cannot be seen and is of no name comes along when people copy; it must not make another name of it.
	typed = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.Is(invisible, r) {
			return -1
		}
		return r
	}, typed))
	if u, err := canonicalUsername(typed); err == nil {
		username = u
	}
	if a, err := parseAddress(typed); err == nil {
		email = a.key
	}
	return username, email
}
