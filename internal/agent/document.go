package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxSize bounds an object. Ours have a few hundred bytes.
const maxSize = 64 << 10

// shapes are the keys of each file: exactly these. true: the value may be null (a public client has no secret).
var shapes = map[string]map[string]bool{
	userFile:   {"application_username": false, "application_password": false},
	clientFile: {"client_id": false, "client_secret": true},
}

// checkShape tells whether b is what applications expect in the file of this name. It never repeats a value: that may be
// a secret.
func checkShape(name string, b []byte) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w: %s", name, ErrShape, fmt.Sprintf(format, args...))
	}
	if len(b) > maxSize {
		return wrong("it is larger than %d bytes", maxSize)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return wrong("it is empty")
	}
	if !utf8.Valid(b) || !json.Valid(b) {
		return wrong("it is not JSON")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return wrong("it is not a JSON object")
	}
	shape, seen := shapes[name], map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return wrong("it is not JSON")
		}
		key, _ := t.(string)
		nullable, known := shape[key]
		switch {
		case !known:
			return wrong("it has a key that does not belong there")
		case seen[key]:
			return wrong("it has %s twice", key)
		}
		seen[key] = true
		var value *string
		if err := d.Decode(&value); err != nil {
			return wrong("%s is not text", key)
		}
		if value == nil && !nullable || value != nil && *value == "" {
			return wrong("%s is empty", key)
		}
	}
	if len(seen) != len(shape) {
		for key := range shape {
			if !seen[key] {
				return wrong("it has no %s", key)
			}
		}
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return wrong("it is not JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return wrong("something follows the object")
	}
	return nil
}
