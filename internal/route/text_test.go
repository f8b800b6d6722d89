package route_test

import (
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

func TestTextsAreBoundedAndPrintable(t *testing.T) {
	for _, c := range []struct{ text, line, long string }{ // the codes that a line and a longer text get
		{"Größe", "", ""},
		{"two\nlines\tand\r\nmore", "bad_text", ""},
		{"", "required", "required"},
		{" \t", "required", "required"},
		{strings.Repeat("a", 20), "", ""},
		{strings.Repeat("a", 21), "too_long", "too_long"},
		{"a\x00b", "bad_text", "bad_text"},
		{"a\x1b[31m", "bad_text", "bad_text"},
		{"a\u0085b", "bad_text", "bad_text"},
		{"a\xffb", "bad_text", "bad_text"},
	} {
		line, long := route.CheckLine("body.name", c.text, 1, 20), route.CheckText("body.name", c.text, 1, 20)
		if fault.Code(line) != c.line || fault.Code(long) != c.long {
			t.Errorf("%q: a line gets %v, a text %v", c.text, line, long)
		}
		if line != nil && (!fault.Is(line, fault.Invalid) || fault.Of(line).Fields[0].Location != "body.name") {
			t.Errorf("%q: %#v", c.text, line)
		}
	}
	if err := route.CheckLine("body.name", "", 0, 20); err != nil {
		t.Errorf("nothing, where nothing is needed: %v", err)
	}
}
