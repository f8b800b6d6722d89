package jose

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of a JSON document.
const (
	maxDepth   = 16
	maxMembers = 64 // of one object
	maxValues  = 2000
)

var errJSON = errors.New("jose: malformed JSON")

// object is a JSON object by its members. Their names are exact: encoding/json would take ALG for alg.
type object map[string]json.RawMessage

// readObject reads one JSON object in which, at any depth, each member stands once. Of two parsers in a row one would
// otherwise see the first and one the last.
func readObject(b []byte) (object, error) {
	if !utf8.Valid(b) {
		return nil, errJSON
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	w := walker{d: d}
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errJSON
	}
	if err := w.members(0); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	var o object
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, errJSON
	}
	return o, nil
}

// walker steps through a document to see that it keeps the bounds.
type walker struct {
	d      *json.Decoder
	values int
}

func (w *walker) members(depth int) error {
	seen := map[string]bool{}
	for w.d.More() {
		t, err := w.d.Token()
		name, ok := t.(string)
		if err != nil || !ok || seen[name] || len(seen) == maxMembers || strings.ContainsRune(name, utf8.RuneError) {
			return errJSON
		}
		seen[name] = true
		if err := w.value(depth); err != nil {
			return err
		}
	}
	return w.end()
}

func (w *walker) end() error {
	if _, err := w.d.Token(); err != nil {
		return errJSON
	}
	return nil
}

func (w *walker) value(depth int) error {
	if w.values++; w.values > maxValues || depth == maxDepth {
		return errJSON
	}
	t, err := w.d.Token()
	if err != nil {
		return errJSON
	}
	switch t {
	case json.Delim('{'):
		return w.members(depth + 1)
	case json.Delim('['):
		for w.d.More() {
			if err := w.value(depth + 1); err != nil {
				return err
			}
		}
		return w.end()
	}
	return nil
}

func (o object) has(name string) bool { _, ok := o[name]; return ok }

func (o object) names() []string { return slices.Sorted(maps.Keys(o)) }

// text reads a member that must be a text if it is there. Half a surrogate pair is none: encoding/json makes the same
// character of all of them.
func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", nil
	}
	return readText(raw)
}

func readText(raw json.RawMessage) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil || s == nil || strings.ContainsRune(*s, utf8.RuneError) {
		return "", errJSON
	}
	return *s, nil
}

// list reads a text or a list of texts.
func (o object) list(name string) ([]string, error) {
	raw, ok := o[name]
	if !ok {
		return nil, nil
	}
	if s, err := readText(raw); err == nil {
		return []string{s}, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil || parts == nil {
		return nil, errJSON
	}
	texts := make([]string, len(parts))
	for i, part := range parts {
		var err error
		if texts[i], err = readText(part); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// date reads a NumericDate (RFC 7519 section 2), to the second before it.
func (o object) date(name string) (time.Time, error) {
	raw, ok := o[name]
	if !ok {
		return time.Time{}, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64) // refuses texts, null and lists; raw is valid JSON
	if err != nil || f < 1 || f > 1<<38 {
		return time.Time{}, errJSON
	}
	return time.Unix(int64(math.Floor(f)), 0).UTC(), nil
}
