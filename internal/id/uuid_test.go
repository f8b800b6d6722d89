package id_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/id"
)

func TestUUIDIsAnotherSpelling(t *testing.T) {
	for range 100 {
		s := id.New(id.User, time.Now())
		u := id.UUID(s)
		if back, ok := id.FromUUID(id.User, u); !ok || back != s {
			t.Fatalf("%s became %s and then %s", s, u, back)
		}
		if back, ok := id.FromUUID(id.User, strings.ToUpper(u)); !ok || back != s {
			t.Fatalf("upper case: %s", back)
		}
	}
	if u := id.UUID("usr_7zzzzzzzzzzzzzzzzzzzzzzzzz"); u != "ffffffff-ffff-ffff-ffff-ffffffffffff" {
		t.Errorf("the last one is %s", u)
	}
	for _, bad := range []string{"", "usr", "usr_", "usr_x", "usr_8zzzzzzzzzzzzzzzzzzzzzzzzz", "usr_il00000000000000000000000o"} {
		if u := id.UUID(bad); u != "" {
			t.Errorf("%q became %s", bad, u)
		}
	}
}

func FuzzFromUUID(f *testing.F) {
	f.Add("00000000-0000-0000-0000-000000000000")
	f.Add("0192f3a4-5b6c-7d8e-9fab-0123456789ab")
	f.Add("0192f3a45b6c7d8e9fab0123456789ab0000")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := id.FromUUID(id.Role, s)
		if !ok {
			return
		}
		if !id.Is(got, id.Role) || !strings.EqualFold(id.UUID(got), s) {
			t.Errorf("%q became %q", s, got)
		}
	})
}
