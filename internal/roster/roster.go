// Package roster reads people who come from another system out of a file: JSON lines, or CSV with a header (RFC 4180).
//
// What it guards:
//   - No more of the file is held than one record, of bounded size, whatever the file holds: a quote that is never closed
//     ends with a refusal, and not with the whole file in memory.
//   - A record that cannot be read is refused by the number of its line, and the next one is read. What is said of it
//     repeats nothing of it: it may hold the hash of a password, or the file may be another one altogether.
package roster

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/mintmark/mintmark/api"
)

const (
	// MaxRecord bounds one record in bytes.
	MaxRecord = 64 << 10
	// maxLines bounds the lines of one record of CSV, so that a quote that is not closed takes few others with it.
	maxLines = 50
)

// attributePrefix begins the names of columns that are attributes of the realm.
const attributePrefix = "attribute."

// Entry is one person, and where it stands.
type Entry struct {
	Person api.ImportUser
	Line   int // at which it begins, from 1 on
	Size   int // in bytes, as it stands in the file
}

// Wrong is an error about one record. Those after it can be read.
type Wrong struct {
	Line   int
	Field  string // as api.ImportUser names it, or ""
	Code   string
	Reason string
}

func (w *Wrong) Error() string { return fmt.Sprintf("line %d: %s", w.Line, w.Reason) }

// Reader reads people one after the other. It is for one goroutine.
type Reader struct {
	in      *bufio.Reader
	line    int // the last that was read
	csv     bool
	columns []string
	comma   rune
}

// JSON reads one object a line.
func JSON(in io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(in, MaxRecord)} }

// CSV reads the header, and then one person a record. Fields are separated by commas, semicolons or tabs, whichever the
// header has most of.
func CSV(in io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(in, MaxRecord), csv: true}
	text, _, err := r.record()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("there is no header")
	}
	if err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // as some programs begin UTF-8
	r.comma = ','
	for _, other := range []rune{';', '\t'} {
		if bytes.Count(text, []byte(string(other))) > bytes.Count(text, []byte(string(r.comma))) {
			r.comma = other
		}
	}
	fields, err := r.fields(text)
	if err != nil {
		return nil, errors.New("the header cannot be read")
	}
	seen := map[string]bool{}
	for i, name := range fields {
		if name = strings.TrimSpace(name); !known(name) || seen[name] {
			return nil, fmt.Errorf("column %d of the header is no field of a person, or there twice", i+1)
		}
		seen[name] = true
		r.columns = append(r.columns, name)
	}
	if !seen["username"] {
		return nil, errors.New("the header names no column username")
	}
	return r, nil
}

// known tells whether a column has a meaning.
func known(name string) bool {
	return name == "groups" || name == "email_verified" || textOf(&api.ImportUser{}, name) != nil || strings.HasPrefix(name, attributePrefix) && name != attributePrefix
}

// textOf is the field of a person that a column of text is; nil: none.
func textOf(p *api.ImportUser, name string) *string {
	switch name {
	case "external_id":
		return &p.ExternalID
	case "username":
		return &p.Username
	case "display_name":
		return &p.DisplayName
	case "email":
		return &p.Email
	case "phone":
		return &p.Phone
	case "address":
		return &p.Address
	case "password_hash":
		return &p.PasswordHash
	}
	return nil
}

// Line is the last line that was read.
func (r *Reader) Line() int { return r.line }

// Next is the next person; io.EOF after the last. Of a record that cannot be read the error is a *Wrong, and any other one
// ends the reading. Empty lines are left out.
func (r *Reader) Next() (Entry, error) {
	for {
		text, line, err := r.record()
		if err != nil {
			return Entry{}, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		e := Entry{Line: line, Size: len(text)}
		if !r.csv {
			err = decode(text, line, &e.Person)
		} else {
			err = r.person(text, line, &e.Person)
		}
		return e, err
	}
}

// record reads one record, and answers the line at which it begins.
func (r *Reader) record() (text []byte, line int, err error) {
	text, tooLong, err := r.readLine()
	if err != nil {
		return nil, 0, err
	}
	r.line++
	line = r.line
	if tooLong {
		return nil, line, &Wrong{Line: line, Code: "line_too_long", Reason: fmt.Sprintf("A line has at most %d bytes.", MaxRecord)}
	}
	if !r.csv || bytes.Count(text, []byte{'"'})%2 == 0 {
		return text, line, nil
	}
	// A field in quotes goes on in the next line as long as their number is odd.
	whole := bytes.Clone(text)
	for bytes.Count(whole, []byte{'"'})%2 == 1 {
		more, tooLong, err := r.readLine()
		if err == nil {
			r.line++
		}
		if errors.Is(err, io.EOF) || err == nil && (tooLong || len(whole)+len(more) > MaxRecord || r.line-line >= maxLines) {
			return nil, line, &Wrong{Line: line, Code: "bad_line", Reason: fmt.Sprintf("A quote is not closed: the lines up to %d are left out with this one.", r.line)}
		}
		if err != nil {
			return nil, line, err
		}
		whole = append(whole, more...)
	}
	return whole, line, nil
}

// readLine reads one line of bounded length; of a longer one it tells only that it was.
func (r *Reader) readLine() (line []byte, tooLong bool, err error) {
	line, err = r.in.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		tooLong = true
		line, err = r.in.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) && (len(line) > 0 || tooLong) {
		err = nil // the last line needs no end
	}
	return line, tooLong, err
}

// decode reads one object of JSON.
func decode(text []byte, line int, p *api.ImportUser) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(p)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("more than one value")
		}
	}
	if err == nil {
		return nil
	}
	wrong := &Wrong{Line: line, Code: "bad_line", Reason: "The line is not one JSON object of the known members."}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		wrong.Field = kind.Field
	}
	return wrong
}

// fields takes a record of CSV apart.
func (r *Reader) fields(text []byte) ([]string, error) {
	c := csv.NewReader(bytes.NewReader(text))
	c.Comma, c.FieldsPerRecord = r.comma, -1
	fields, err := c.Read()
	if err != nil {
		return nil, err
	}
	if _, err := c.Read(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one record")
	}
	return fields, nil
}

// person reads one record of CSV. An empty field says nothing.
func (r *Reader) person(text []byte, line int, p *api.ImportUser) error {
	wrong := func(field, code, reason string) error {
		return &Wrong{Line: line, Field: field, Code: code, Reason: reason}
	}
	if !utf8.Valid(text) {
		return wrong("", "bad_text", "The line is not UTF-8 text.")
	}
	fields, err := r.fields(text)
	if err != nil {
		if r.line > line { // one quote too many has joined them
			return wrong("", "bad_line", fmt.Sprintf("The lines up to %d are not one record of CSV, and all of them are left out: there is a quote too many, or too few.", r.line))
		}
		return wrong("", "bad_line", "The line is not one record of CSV.")
	}
	if len(fields) != len(r.columns) {
		return wrong("", "bad_line", fmt.Sprintf("The line has %d fields, and the header %d.", len(fields), len(r.columns)))
	}
	for i, name := range r.columns {
		text := strings.TrimSpace(fields[i])
		if text == "" {
			continue
		}
		attribute, is := strings.CutPrefix(name, attributePrefix)
		switch {
		case is:
			if p.AttributeTexts == nil {
				p.AttributeTexts = map[string]string{}
			}
			p.AttributeTexts[attribute] = text
		case name == "email_verified":
			if text != "true" && text != "false" {
				return wrong(name, "bad_line", "This is true or false.")
			}
			p.EmailVerified = text == "true"
		case name == "groups":
			for group := range strings.SplitSeq(text, ";") {
				if group = strings.TrimSpace(group); group != "" {
					p.Groups = append(p.Groups, group)
				}
			}
		default:
			*textOf(p, name) = text
		}
	}
	return nil
}
