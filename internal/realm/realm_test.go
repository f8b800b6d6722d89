package realm_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/realm"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"services": "services", "/services": "services",
		"employees": "employees", "/employees": "employees", "employee": "employees", "/employee": "employees",
		"customers": "customers", "guest-customers": "guest-customers", "/a1": "a1",
	} {
		if got, err := realm.Canonical(in); err != nil || got != want {
			t.Errorf("Canonical(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "/", "//services", "services/", "Services", "s", "1a", "-a", "a-", "a--b", "a b", "a\x00b", "ä", "a/b", "a_b", strings.Repeat("a", 41)} {
		if got, err := realm.Canonical(in); !errors.Is(err, realm.ErrMalformed) {
			t.Errorf("Canonical(%q) = %q, %v, want ErrMalformed", in, got, err)
		}
	}
}

// A canonical name is its own canonical form, or the program would have two spellings after all.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"services", "/employee", "//x", "a-b", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := realm.Canonical(s)
		if err != nil {
			return
		}
		twice, err := realm.Canonical(once)
		if err != nil || twice != once || strings.Contains(once, "/") {
			t.Fatalf("Canonical(%q) = %q, then %q, %v", s, once, twice, err)
		}
	})
}

func TestSet(t *testing.T) {
	s, err := realm.NewSet("/guest-customers", "employee")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"customers", "employees", "guest-customers", "services"}, s.Names()); diff != "" {
		t.Error(diff)
	}
	if r, err := s.Lookup("/services"); err != nil || r.Kind != realm.Services {
		t.Errorf("services: %v, %v", r, err)
	}
	if r, err := s.Lookup("guest-customers"); err != nil || r.Kind != realm.People {
		t.Errorf("guest-customers: %v, %v", r, err)
	}
	if _, err := s.Lookup("martians"); !errors.Is(err, realm.ErrUnknown) {
		t.Errorf("martians: %v", err)
	}
	if _, err := realm.NewSet("A B"); !errors.Is(err, realm.ErrMalformed) {
		t.Errorf("bad extra realm: %v", err)
	}
}
