package route

import (
	"bytes"
	"encoding/json"
	"net/url"
	"path"
	"strings"
	"testing"
)

func FuzzCheckJSON(f *testing.F) {
	seeds := []string{`{}`, `[]`, `null`, `{"a":1}`, `{"a":{"a":[{"b":null}]}}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[{"a":1,"b":[1,2]},{"a":1}]`,
		`"\ud83d\ude00"`, `"\ud83d"`, `"\u0000"`, `"\\u0000"`, `"\\\u0000"`, "\"\xff\"", `{"a"`, ``, ` `, `1 2`, strings.Repeat("[", 33) + strings.Repeat("]", 33)}
	if len(seeds) < 15 {
		f.Fatal("seeds are missing")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkJSON(b) != nil {
			return
		}
		// What is accepted must survive being read and written again: nothing of it is dropped or replaced.
		var v any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatalf("accepted, but %v: %q", err, b)
		}
		if strings.ContainsRune(string(b), '\ufffd') {
			return // it may stand there by right
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(again, []byte(`\ufffd`)) || bytes.Contains(again, []byte("\ufffd")) && !bytes.Contains(bytes.ToLower(b), []byte(`\ufffd`)) {
			t.Fatalf("a character of %q was replaced: %s", b, again)
		}
		if keys(b) != countKeys(v) {
			t.Fatalf("a key of %q was dropped", b)
		}
	})
}

// keys counts the keys in the text.
func keys(b []byte) (n int) {
	d := json.NewDecoder(bytes.NewReader(b))
	var objects []bool // whether each open container is an object
	expectKey := false
	for {
		t, err := d.Token()
		if err != nil {
			return n
		}
		switch t {
		case json.Delim('{'):
			objects, expectKey = append(objects, true), true
			continue
		case json.Delim('['):
			objects, expectKey = append(objects, false), false
			continue
		case json.Delim('}'), json.Delim(']'):
			objects = objects[:len(objects)-1]
		default:
			if expectKey {
				n++
				expectKey = false
				continue
			}
		}
		expectKey = len(objects) > 0 && objects[len(objects)-1]
	}
}

func countKeys(v any) (n int) {
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			n += 1 + countKeys(e)
		}
	case []any:
		for _, e := range v {
			n += countKeys(e)
		}
	}
	return n
}

func FuzzPlainPath(f *testing.F) {
	seeds := []string{"/", "/a", "/a/", "/a/b", "//", "/./", "/..", "/a/../b", "/a//b", "/a\\b", "/a\x00", "/\xff", "/...", "/.a"}
	if len(seeds) < 10 {
		f.Fatal("seeds are missing")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if p == "" || p[0] != '/' || !plainPath(p) {
			return
		}
		if cleaned := path.Clean(p); cleaned != p && cleaned+"/" != p {
			t.Fatalf("%q is accepted, but others read it as %q", p, cleaned)
		}
		u := url.URL{Path: p}
		if back, err := url.ParseRequestURI(u.EscapedPath()); err != nil || back.Path != p {
			t.Fatalf("%q does not survive: %v", p, err)
		}
	})
}

func TestConditions(t *testing.T) {
	for _, c := range []struct {
		match, noneMatch string
		version          int64
		ok               bool
	}{
		{"", "", 0, true},
		{"", "", 3, true},
		{`"v3"`, "", 3, true},
		{`"v2", "v3"`, "", 3, true},
		{`*`, "", 3, true},
		{`*`, "", 0, false},
		{`"v3"`, "", 4, false},
		{`W/"v3"`, "", 3, false},
		{`v3`, "", 3, false},
		{"", `*`, 0, true},
		{"", `*`, 3, false},
		{"", `"v3"`, 3, false},
		{"", `"v2"`, 3, true},
	} {
		if err := (IfMatch{c.match, c.noneMatch}).Check(c.version); (err == nil) != c.ok {
			t.Errorf("If-Match %q, If-None-Match %q at version %d: %v", c.match, c.noneMatch, c.version, err)
		}
	}
}
