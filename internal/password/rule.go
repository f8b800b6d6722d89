package password

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
)

// MinRunes is the least length of a new password, in characters, where it may be the only factor, and MinRunesOfTwo where
// nobody signs in without a second one (NIST SP 800-63B-4, section 3.1.1.2). MaxMinRunes is the most that a place may ask
// for: what it wants must be within reach of everybody.
const (
	MinRunes      = 15
	MinRunesOfTwo = 8
	MaxMinRunes   = 64
)

// own is what must be left of a password when the words that anybody would try first are taken out of it.
const own = 8

//go:embed common.txt
var commonText string

var common = strings.Fields(commonText)

// Rule tells whether a person may choose this password. words are what belongs to the person or the place: names,
// addresses, realms. There is no rule about kinds of characters.
func Rule(password redact.Secret, words ...string) error { return RuleOf(MinRunes, password, words...) }

// RuleOf is Rule for a place that asks for at least so many characters.
func RuleOf(least int, password redact.Secret, words ...string) error {
	prepared, err := prepare(password)
	if err != nil {
		return err
	}
	weak := func(why string) error {
		return fault.New(fault.Invalid, "weak_password", "This password is too easy to guess: %s", why).At("password", "too easy to guess")
	}
	text := strings.ToLower(string(prepared))
	if n := utf8.RuneCount(prepared); n < least {
		return weak(fmt.Sprintf("it needs at least %d characters. A few words that do not belong together make a good one.", least))
	}
	rest := text
	for _, w := range words {
		if w = strings.ToLower(w); len(w) >= 3 {
			rest = strings.ReplaceAll(rest, w, "")
		}
	}
	if len(rest) < own {
		return weak("it is made of the name, the address or the realm.")
	}
	if repeats(text) {
		return weak("it repeats the same few characters.")
	}
	if n := guessable(text); n != "" {
		return weak(n)
	}
	rest = text
	for _, w := range common {
		rest = strings.ReplaceAll(rest, w, "")
	}
	if len(strings.Trim(rest, "0123456789!?.,-_ ")) == 0 && len(rest) < own {
		return weak("it is made of what everybody tries first.")
	}
	return nil
}

// repeats tells whether the text is one unit of at most six characters again and again, the last time perhaps cut short.
func repeats(text string) bool {
	r := []rune(text)
	for unit := 1; unit <= 6; unit++ {
		same := true
		for i := unit; i < len(r) && same; i++ {
			same = r[i] == r[i-unit]
		}
		if same {
			return true
		}
	}
	return false
}
