// Package realm names the populations of users: employees, customers, services, and what a configuration adds.
//
// It guards one thing: that a realm has one spelling inside the program. Outside, "services" and "/services" mean the
// same, and "employee" is an old name of "employees"; whoever takes a realm from a request passes it through Canonical
// (or Set.Lookup, which also refuses realms that do not exist) before it is compared with anything.
package realm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kind tells what lives in a realm.
type Kind string

// The kinds.
const (
	People   Kind = "people"
	Services Kind = "services"
)

// The realms that always exist.
const (
	Employees = "employees"
	Customers = "customers"
	Robots    = "services" // the realm of service users
)

// ErrMalformed is in the chain of an error about text that cannot be a realm's name.
var ErrMalformed = errors.New("realm: malformed name")

// ErrUnknown is in the chain of an error about a realm that is not configured.
var ErrUnknown = errors.New("realm: unknown")

// maxLength bounds a name; it is part of keys and of tokens.
const maxLength = 40

// Realm is one population of users.
type Realm struct {
	Name string // canonical
	Kind Kind
}

// Canonical is the one spelling of a realm's name: one leading slash is stripped, "employee" is "employees", and what
// is left must be lower-case letters, digits and single hyphens. It does not tell whether the realm exists.
func Canonical(s string) (string, error) {
	name := strings.TrimPrefix(s, "/")
	if name == "employee" {
		return Employees, nil
	}
	if !wellFormed(name) {
		return "", fmt.Errorf("%w: %q", ErrMalformed, clip(s))
	}
	return name, nil
}

func wellFormed(name string) bool {
	if len(name) < 2 || len(name) > maxLength {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z':
		case c >= '0' && c <= '9' && i > 0:
		case c == '-' && i > 0 && i < len(name)-1 && name[i-1] != '-':
		default:
			return false
		}
	}
	return true
}

// clip keeps a hostile name from filling an error text.
func clip(s string) string {
	if len(s) > maxLength+1 {
		return s[:maxLength+1] + "…"
	}
	return s
}

// Set is the realms of one installation. It does not change after NewSet.
type Set struct {
	byName map[string]Realm
	names  []string // sorted
}

// NewSet makes the set of employees, customers, services and the extra realms of people that a configuration names.
// There is one realm of services: an application has one service user.
func NewSet(extra ...string) (*Set, error) {
	s := &Set{byName: map[string]Realm{
		Employees: {Employees, People},
		Customers: {Customers, People},
		Robots:    {Robots, Services},
	}}
	for _, e := range extra {
		name, err := Canonical(e)
		if err != nil {
			return nil, err
		}
		if _, ok := s.byName[name]; !ok {
			s.byName[name] = Realm{name, People}
		}
	}
	for name := range s.byName {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	return s, nil
}

// Standard is the set without extra realms.
func Standard() *Set {
	s, err := NewSet()
	if err != nil {
		panic(err) // there is no extra name that could be wrong
	}
	return s
}

// Lookup finds a realm by any of its spellings.
func (s *Set) Lookup(name string) (Realm, error) {
	canonical, err := Canonical(name)
	if err != nil {
		return Realm{}, err
	}
	r, ok := s.byName[canonical]
	if !ok {
		return Realm{}, fmt.Errorf("%w: %q", ErrUnknown, canonical)
	}
	return r, nil
}

// Names are the canonical names, sorted.
func (s *Set) Names() []string { return slices.Clone(s.names) }
