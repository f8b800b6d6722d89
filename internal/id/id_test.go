package id_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/id"
)

func TestRoundTrip(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 123e6, time.UTC)
	s := id.New(id.Event, now)
	got, err := id.Parse(s)
	if err != nil || got.Prefix != "evt" || !got.Time.Equal(now) {
		t.Fatalf("Parse(%q) = %+v, %v", s, got, err)
	}
	if !id.Is(s, id.Event) || id.Is(s, id.User) {
		t.Fatalf("Is(%q) does not tell the prefix", s)
	}
}

func TestIDsSortByTimeAndDiffer(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	prev, seen := "", map[string]bool{}
	for i := range 2000 {
		s := id.New(id.Token, now.Add(time.Duration(i)*time.Millisecond))
		if s <= prev || seen[s] {
			t.Fatalf("%q does not come after %q", s, prev)
		}
		prev, seen[s] = s, true
	}
}

func TestParseRefuses(t *testing.T) {
	good := id.New(id.User, time.UnixMilli(1_700_000_000_000))
	for _, s := range []string{"", "usr", "usr_", good + "0", good[:len(good)-1], strings.ToUpper(good), "usr_" + strings.Repeat("z", 26),
		"1sr" + good[3:], good[4:], "_" + good[4:], strings.Replace(good, "_", "-", 1), "usr_" + strings.Repeat("u", 26), "usr_0000000000000000000000000\x00"} {
		if _, err := id.Parse(s); err == nil {
			t.Errorf("Parse(%q) accepted it", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds := []string{id.New(id.User, time.UnixMilli(1)), "usr_00000000000000000000000000", "x", "_"}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := id.Parse(s)
		if err != nil {
			return
		}
		again := id.New(got.Prefix, got.Time)
		// The time is the first ten digits; the rest is random.
		if len(again) != len(s) || again[:len(got.Prefix)+10] != s[:len(got.Prefix)+10] {
			t.Fatalf("Parse(%q) = %+v, which makes %q", s, got, again)
		}
	})
}
