package route

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
)

// CheckLine refuses what a database or a page could choke on in a text of one line: bad UTF-8, NUL and other control
// characters; and a text of fewer than least or more than most bytes.
func CheckLine(location, s string, least, most int) error {
	return checkText(location, s, least, most, unicode.IsControl)
}

// CheckText is CheckLine for a text of several lines.
func CheckText(location, s string, least, most int) error {
	return checkText(location, s, least, most, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t'
	})
}

func checkText(location, s string, least, most int, bad func(rune) bool) error {
	switch {
	case len(strings.TrimSpace(s)) < least:
		return fault.InvalidAt(location, "required", "This must not be empty.")
	case len(s) > most:
		return fault.InvalidAt(location, "too_long", "This must be at most %d bytes long.", most)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, bad):
		return fault.InvalidAt(location, "bad_text", "This must be UTF-8 text without control characters.")
	}
	return nil
}
