package cli

// The rules for text that a person reads:
//
//   - The result goes to standard output, and nothing else does: warnings, progress and errors go to standard error, so
//     that a pipe carries only what was asked for.
//   - With -o json the output is one JSON document in the form of the API. Its members never change their meaning.
//   - Text begins lower-case for an error ("mintmark: error: …") and is a whole sentence for a hint ("hint: Do …").
//     An error is about what the person did or can do; it names the thing and the place.
//   - A command that changes something says what it changed, in one line, and what happens next if something does.
//   - Tables have upper-case headings, two spaces between columns, no lines and no colours. An empty table says so on
//     standard error and prints nothing.
//   - Times are UTC, to the second, with the distance from now where that is what people want to know.
//   - No secret, unless handing one out is what the command is for; then it is printed once and alone on its line.
//   - What comes from the server passes through plain: a name somebody chose cannot move the cursor, change colours or
//     turn the direction of the text.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// plain makes text harmless: what is not printable is shown as an escape.
func plain(text string) string {
	if !strings.ContainsFunc(text, unprintable) && strings.ToValidUTF8(text, "") == text {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || r == '\t':
			b.WriteByte(' ')
		case unprintable(r) || r == unicode.ReplacementChar:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unprintable is true for control characters and for what is invisible or turns the direction of text.
func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// print shows a result: v as it is for a program, or what text writes for a person.
func (s *Session) print(v any, text func(w io.Writer)) error {
	if s.json() {
		return s.encode(v, "  ")
	}
	text(s.out)
	return nil
}

// encode writes v as JSON. What could act on a terminal is escaped, for a document may well be looked at there; to a
// program the escape means the same.
func (s *Session) encode(v any, indent string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	var safe []byte
	for _, r := range b.String() {
		if r == '\n' || !unprintable(r) {
			safe = utf8.AppendRune(safe, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			safe = fmt.Appendf(safe, `\u%04x`, unit)
		}
	}
	_, err := s.out.Write(safe)
	return err
}

// say tells a person what was done. A program that asked for JSON gets the thing itself by print instead.
func (s *Session) say(format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			args[i] = plain(text)
		}
	}
	fmt.Fprintf(s.err, format+"\n", args...)
}

func (s *Session) warn(format string, args ...any) { s.say("warning: "+format, args...) }

// table writes rows under headings, or says that there is nothing.
func (s *Session) table(w io.Writer, empty string, headings []string, rows [][]string) {
	if len(rows) == 0 {
		s.say("%s", empty)
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		shown := make([]string, len(cells))
		for i, c := range cells {
			if shown[i] = plain(c); c == "" {
				shown[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(shown, "\t"), "\t"))
	}
	line(headings)
	for _, r := range rows {
		line(r)
	}
	t.Flush() // into the caller's writer; a broken pipe ends the program by itself
}

// fields writes one thing, a name and its value on each line. Values may hold several lines.
func fields(w io.Writer, pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i])+1)
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%-*s %s\n", width, pairs[i]+":", plain(pairs[i+1]))
		}
	}
}

// at shows an instant, and how far away it is.
func (s *Session) at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	text := t.UTC().Format("2006-01-02 15:04:05Z")
	switch d := t.Sub(s.clock.Now()).Round(time.Second); {
	case d > 0:
		return text + " (in " + span(d) + ")"
	case d < 0:
		return text + " (" + span(-d) + " ago)"
	default:
		return text + " (now)"
	}
}

func (s *Session) atMaybe(t *time.Time) string {
	if t == nil {
		return ""
	}
	return s.at(*t)
}

// span shows a duration in the two units that matter.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return trimZero(fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour), "0h")
	case d >= time.Hour:
		return trimZero(fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute), "0m")
	case d >= time.Minute:
		return trimZero(fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second), "0s")
	}
	return d.Truncate(time.Second).String()
}

// trimZero drops the second unit where it says nothing: 2h for 2h0m, but not 2h1 for 2h10m.
func trimZero(text, zero string) string {
	cut, found := strings.CutSuffix(text, zero)
	if found && !unicode.IsDigit(rune(cut[len(cut)-1])) {
		return cut
	}
	return text
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
