package oauth

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"
)

// errJSON is the answer to any text that is not the JSON we read.
var errJSON = errors.New("oauth: malformed JSON")

// A jsonReader takes JSON apart in one pass, for request bodies and for the two JSON parts of a token.
//
// It is stricter than encoding/json where leniency has broken others: the name of a member is compared exactly, a member
// may stand once, a number where text belongs is refused, so is text that is not UTF-8, and nothing may follow the value.
type jsonReader struct {
	b []byte
	i int
}

// maxDepth bounds what skip descends into. Nothing that we read is nested.
const maxDepth = 16

func (r *jsonReader) space() {
	for r.i < len(r.b) && (r.b[r.i] == ' ' || r.b[r.i] == '\t' || r.b[r.i] == '\n' || r.b[r.i] == '\r') {
		r.i++
	}
}

// peek is the next byte that is not white space, or 0 at the end.
func (r *jsonReader) peek() byte {
	r.space()
	if r.i == len(r.b) {
		return 0
	}
	return r.b[r.i]
}

func (r *jsonReader) take(c byte) bool {
	if r.peek() != c || r.i == len(r.b) {
		return false
	}
	r.i++
	return true
}

// end refuses anything but white space after the value.
func (r *jsonReader) end() error {
	if r.space(); r.i != len(r.b) {
		return errJSON
	}
	return nil
}

// object calls member for each member, standing on its value, which member must consume. A name that was seen before is
// refused; so are more than limit members.
func (r *jsonReader) object(limit int, member func(name string) error) error {
	if !r.take('{') {
		return errJSON
	}
	if r.take('}') {
		return nil
	}
	seen := make([]string, 0, 16)
	for {
		name, err := r.text()
		if err != nil {
			return err
		}
		for _, s := range seen {
			if s == name {
				return errJSON
			}
		}
		if seen = append(seen, name); len(seen) > limit || !r.take(':') {
			return errJSON
		}
		if err := member(name); err != nil {
			return err
		}
		if r.take('}') {
			return nil
		}
		if !r.take(',') {
			return errJSON
		}
	}
}

// text reads a string.
func (r *jsonReader) text() (string, error) {
	if !r.take('"') {
		return "", errJSON
	}
	start, plain := r.i, true
	for ; r.i < len(r.b); r.i++ {
		switch c := r.b[r.i]; {
		case c == '"':
			raw := r.b[start:r.i]
			r.i++
			if plain {
				return string(raw), nil
			}
			return unquote(r.b[start-1 : r.i])
		case c == '\\':
			plain = false
			r.i++
		case c < ' ':
			return "", errJSON
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	return "", errJSON
}

// unquote reads a string that holds escapes or more than ASCII. Half a surrogate pair is refused: the standard library
// would put U+FFFD in its place, and two different texts would become one.
func unquote(quoted []byte) (string, error) {
	if !utf8.Valid(quoted) || loneSurrogate(quoted) {
		return "", errJSON
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return "", errJSON
	}
	return s, nil
}

func loneSurrogate(quoted []byte) bool {
	for i := 0; i+1 < len(quoted); i++ {
		if quoted[i] != '\\' {
			continue
		}
		i++
		if quoted[i] != 'u' {
			continue
		}
		switch hi := hex4(quoted, i+1); {
		case hi >= 0xDC00 && hi <= 0xDFFF:
			return true
		case hi >= 0xD800 && hi <= 0xDBFF:
			lo := -1
			if i+6 < len(quoted) && quoted[i+5] == '\\' && quoted[i+6] == 'u' {
				lo = hex4(quoted, i+7)
			}
			if lo < 0xDC00 || lo > 0xDFFF {
				return true
			}
			i += 10
		}
	}
	return false
}

func hex4(b []byte, i int) int {
	if i+4 > len(b) {
		return -1
	}
	n, err := strconv.ParseUint(string(b[i:i+4]), 16, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// integer reads a number without fraction and exponent that is exact in every JSON library.
func (r *jsonReader) integer() (int64, error) {
	r.space()
	start := r.i
	if err := r.number(); err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(r.b[start:r.i]), 10, 64)
	if err != nil || n > 1<<53 || n < -1<<53 {
		return 0, errJSON
	}
	return n, nil
}

func (r *jsonReader) digits() bool {
	start := r.i
	for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' {
		r.i++
	}
	return r.i > start
}

func (r *jsonReader) at(c byte) bool { return r.i < len(r.b) && r.b[r.i] == c }

// number steps over a number of RFC 8259.
func (r *jsonReader) number() error {
	r.space()
	start := r.i
	if r.at('-') {
		r.i++
	}
	if r.at('0') {
		r.i++
	} else if !r.digits() {
		return errJSON
	}
	if r.at('.') {
		if r.i++; !r.digits() {
			return errJSON
		}
	}
	if r.at('e') || r.at('E') {
		if r.i++; r.at('+') || r.at('-') {
			r.i++
		}
		if !r.digits() {
			return errJSON
		}
	}
	if f, err := strconv.ParseFloat(string(r.b[start:r.i]), 64); err != nil || math.IsInf(f, 0) {
		return errJSON
	}
	return nil
}

// texts reads an array of at most limit strings.
func (r *jsonReader) texts(limit int) ([]string, error) {
	list := make([]string, 0, 4)
	err := r.array(limit, func() error {
		s, err := r.text()
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// array calls element for each of at most limit elements, standing on it, which it must consume.
func (r *jsonReader) array(limit int, element func() error) error {
	if !r.take('[') {
		return errJSON
	}
	if r.take(']') {
		return nil
	}
	for n := 1; ; n++ {
		if n > limit {
			return errJSON
		}
		if err := element(); err != nil {
			return err
		}
		if r.take(']') {
			return nil
		}
		if !r.take(',') {
			return errJSON
		}
	}
}

// skip steps over a value that nobody asked for.
func (r *jsonReader) skip(depth int) error {
	if depth > maxDepth {
		return errJSON
	}
	switch c := r.peek(); c {
	case '{':
		return r.object(maxParameters, func(string) error { return r.skip(depth + 1) })
	case '[':
		return r.skipArray(depth)
	case '"':
		_, err := r.text()
		return err
	case 't':
		return r.word("true")
	case 'f':
		return r.word("false")
	case 'n':
		return r.word("null")
	default:
		return r.number()
	}
}

func (r *jsonReader) skipArray(depth int) error {
	r.i++
	if r.take(']') {
		return nil
	}
	for {
		if err := r.skip(depth + 1); err != nil {
			return err
		}
		if r.take(']') {
			return nil
		}
		if !r.take(',') {
			return errJSON
		}
	}
}

func (r *jsonReader) word(w string) error {
	if len(r.b)-r.i < len(w) || string(r.b[r.i:r.i+len(w)]) != w {
		return errJSON
	}
	r.i += len(w)
	return nil
}

// appendText appends s as a JSON string. It leaves `/` alone, as the tokens of this family always did, and escapes `<`
// no more than JSON asks: these documents are never put into a page.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendTexts(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}
