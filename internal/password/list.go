package password

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"io"
	"strings"
	"sync"
)

// passwords.txt.gz holds 30,000 passwords that leaked often, one a line (docs/dependencies.md tells where they are from).
//
//go:embed passwords.txt.gz
var leakedFile []byte

// leaked is the list as a set; it is read when the first password is chosen.
var leaked = sync.OnceValue(func() map[string]bool {
	z, err := gzip.NewReader(bytes.NewReader(leakedFile))
	if err != nil {
		panic("password: the embedded list does not open") // a bug of the build, which every test would find
	}
	text, err := io.ReadAll(z)
	if err != nil {
		panic("password: the embedded list does not open")
	}
	set := map[string]bool{}
	for w := range strings.FieldsSeq(string(text)) {
		set[w] = true
	}
	return set
})

const (
	padding   = "0123456789!?.,-_*#$@ +=" // what people put around a word
	longest   = 20                        // of the list
	mostWords = 2                         // of the list that a password may not be made of
)

// guessable says why a password of lower case is what leaked before, or "". No list holds many that are long enough, so
// what is looked for is what people make of the short ones: two of them, the same one twice, digits and signs around.
func guessable(text string) string {
	set := leaked()
	if set[text] || set[strings.Trim(text, padding)] {
		return "it is on the list of passwords that leaked elsewhere, perhaps with digits or signs around it."
	}
	if madeOf(set, text, mostWords) {
		return "it is made of two passwords that leaked elsewhere."
	}
	return ""
}

// madeOf tells whether text is at most n entries of the list, with padding between and around them.
func madeOf(set map[string]bool, text string, n int) bool {
	if strings.Trim(text, padding) == "" {
		return true
	}
	if n == 0 {
		return false
	}
	// The padding may belong to the entry (as in "abc123") or stand before it.
	for start := 0; ; start++ {
		for end := min(start+longest, len(text)); end >= start+4; end-- {
			if set[text[start:end]] && madeOf(set, text[end:], n-1) {
				return true
			}
		}
		if start == len(text) || !strings.ContainsRune(padding, rune(text[start])) {
			return false
		}
	}
}
