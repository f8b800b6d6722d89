package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/clock"
)

// Whatever a server sends, nothing of it acts on the terminal, and a program reads from JSON what was sent.
func FuzzOutputIsHarmless(f *testing.F) {
	for _, text := range []string{"", "Sales orders", "\x1b[31mred", "a\nb\tc", "\u202eevil", "\x9b31m", "\u009b31m", "\xff\xfe", "😀\U000e0001", "ä\u200b", `"\u001b"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if shown := plain(text); strings.ContainsFunc(shown, unprintable) || !utf8.ValidString(shown) {
			t.Errorf("plain(%q) = %q", text, shown)
		}
		var out bytes.Buffer
		s := &Session{globals: &Globals{Output: "json"}, out: &out}
		if err := s.encode(map[string]string{"name": text}, ""); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), unprintable) {
			t.Errorf("%q shows as %q", text, out.String())
		}
		var back map[string]string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back["name"] != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
			t.Errorf("%q comes back as %q, %v", text, back["name"], err)
		}
	})
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 90 * time.Second: "1m30s", 100 * time.Second: "1m40s", time.Hour: "1h",
		70 * time.Minute: "1h10m", 2*time.Hour + 10*time.Second: "2h", 24 * time.Hour: "1d", 34 * time.Hour: "1d10h", 240 * time.Hour: "10d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestInstants(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := &Session{clock: clock.NewFake(now)}
	for at, want := range map[time.Time]string{
		{}:                                  "",
		now:                                 "2026-11-22 12:00:00Z (now)",
		now.Add(400 * time.Millisecond):     "2026-11-22 12:00:00Z (now)",
		now.Add(-time.Hour):                 "2026-11-22 11:00:00Z (1h ago)",
		now.Add(3 * time.Second):            "2026-11-22 12:00:03Z (in 3s)",
		now.In(time.FixedZone("CET", 3600)): "2026-11-22 12:00:00Z (now)",
	} {
		if got := s.at(at); got != want {
			t.Errorf("at(%v) = %s, want %s", at, got, want)
		}
	}
	if s.atMaybe(nil) != "" {
		t.Error("an instant that is not there shows as something")
	}
}
