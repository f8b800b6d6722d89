// Package attributes keeps what a realm wants to know of its people besides what is kept of everybody, such as their
// department, and tells clients of it.
//
// What it guards:
//   - A value is stored only if the configuration declares its attribute for the person's realm, and it is of the type and
//     size that is declared there.
//   - Clients are told of an attribute under its own scope alone, which an administrator lets them ask for
//     (person_scopes) and the person allows; and of none that is declared no more. Its claim is never one of the protocol.
//   - How much is kept of one person is bounded, and so is what goes into an ID token.
//   - A change and its audit record commit together. The record names the attributes, and never tells their values.
//
// Stored is a row for each value, as JSON.
package attributes

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// The types of values.
const (
	String  = "string"
	Number  = "number"
	Boolean = "boolean"
	List    = "list" // of strings
)

// ByAdministrator is who changes a value.
const ByAdministrator = "administrator"

const (
	// MaxDeclared is how many attributes a realm has at most.
	MaxDeclared = 50

	maxString     = 1000 // bytes; what a string has where nothing is declared is defaultString
	defaultString = 200
	maxList       = 50 // entries
	defaultList   = 20
	maxEntry      = 200 // bytes of an entry
	maxNumber     = 32  // bytes
	maxHeld       = 16 << 10
)

// Attribute is one that a realm declares.
type Attribute struct {
	Name string `yaml:"name"` // a-z, 0-9, hyphens and underscores, such as cost_centre
	// Type is string (one line), number, boolean or list (of strings). Default: string.
	Type string `yaml:"type"`
	// Claim is what clients are told it by. Default: the name.
	Claim string `yaml:"claim"`
	// Scope is what a client asks for to be told, which an administrator lets it (person_scopes). Default: the name.
	Scope string `yaml:"scope"`
	// Editable is who changes it: administrator, and nobody else. Default: administrator.
	Editable string `yaml:"editable"`
	// Max is the most bytes of a string (default 200, at most 1000) or entries of a list (default 20, at most 50).
	Max int `yaml:"max"`
}

func (a Attribute) complete() Attribute {
	a.Type, a.Claim, a.Scope, a.Editable = cmp.Or(a.Type, String), cmp.Or(a.Claim, a.Name), cmp.Or(a.Scope, a.Name), cmp.Or(a.Editable, ByAdministrator)
	switch a.Type {
	case String:
		a.Max = cmp.Or(a.Max, defaultString)
	case List:
		a.Max = cmp.Or(a.Max, defaultList)
	}
	return a
}

var (
	nameForm  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,49}$`)
	claimForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:/-]{0,199}$`)
)

// Reserved tells what attributes must not take the place of.
type Reserved struct {
	Claim func(string) bool // one that says something else
	// Scope is one that an administrator cannot let clients ask for, or that tells something else than this claim.
	Scope func(scope, claim string) bool
}

// Check refuses attributes of a realm that contradict one another, or the protocol.
func Check(list []Attribute, reserved Reserved) error {
	if len(list) > MaxDeclared {
		return fmt.Errorf("attributes: a realm has %d at most", MaxDeclared)
	}
	names, claims := map[string]bool{}, map[string]bool{}
	for i, a := range list {
		at := fmt.Sprintf("attributes[%d]", i)
		if a = a.complete(); !nameForm.MatchString(a.Name) {
			return fmt.Errorf("%s: name %q is not made of a-z, 0-9, hyphens and underscores", at, a.Name)
		}
		switch {
		case names[a.Name]:
			return fmt.Errorf("%s: %s is declared twice", at, a.Name)
		case !claimForm.MatchString(a.Claim):
			return fmt.Errorf("%s: claim %q is not a claim's name", at, a.Claim)
		case claims[a.Claim]:
			return fmt.Errorf("%s: claim %s is another attribute's", at, a.Claim)
		case reserved.Claim(a.Claim):
			return fmt.Errorf("%s: claim %s says something else already", at, a.Claim)
		case reserved.Scope(a.Scope, a.Claim):
			return fmt.Errorf("%s: scope %q cannot release claim %s", at, a.Scope, a.Claim)
		case a.Editable != ByAdministrator:
			return fmt.Errorf("%s: editable %q is not administrator", at, a.Editable)
		}
		if most, known := map[string]int{String: maxString, List: maxList, Number: 0, Boolean: 0}[a.Type]; !known {
			return fmt.Errorf("%s: type %q is none of string, number, boolean, list", at, a.Type)
		} else if a.Max < 0 || a.Max > most {
			return fmt.Errorf("%s: max %d is outside 0 to %d", at, a.Max, most)
		}
		names[a.Name], claims[a.Claim] = true, true
	}
	return nil
}

// value answers the stored form of what was said; "" for null, which is none.
func (a Attribute) value(said json.RawMessage) (string, error) {
	at := "body.attributes." + a.Name
	if said = bytes.TrimSpace(said); len(said) == 0 || bytes.Equal(said, []byte("null")) {
		return "", nil
	}
	wrong := func() error {
		return fault.InvalidAt(at, "attribute_type", "The attribute %s is of type %s.", a.Name, a.Type)
	}
	var text string
	switch a.Type {
	case String:
		if json.Unmarshal(said, &text) != nil {
			return "", wrong()
		}
		if err := route.CheckLine(at, text, 1, a.Max); err != nil {
			return "", err
		}
		return write(text)
	case List:
		var list []string
		if json.Unmarshal(said, &list) != nil || said[0] != '[' {
			return "", wrong()
		}
		if len(list) > a.Max {
			return "", fault.InvalidAt(at, "too_many", "The list %s has %d entries at most.", a.Name, a.Max)
		}
		for _, entry := range list {
			if err := route.CheckLine(at, entry, 1, maxEntry); err != nil {
				return "", err
			}
		}
		return write(list)
	case Boolean:
		if text = string(said); text != "true" && text != "false" {
			return "", wrong()
		}
		return text, nil
	}
	// A number is kept as it was said. Applications read it as a double (RFC 7493, section 2.2), so it must be one.
	var number json.Number
	if json.Unmarshal(said, &number) != nil || said[0] == '"' || len(number) > maxNumber {
		return "", wrong()
	}
	if f, err := strconv.ParseFloat(number.String(), 64); err != nil || math.IsInf(f, 0) {
		return "", wrong()
	}
	return number.String(), nil
}

func write(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", fmt.Errorf("write an attribute: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// schemas are the attributes of realms, by canonical name.
type schemas map[string][]Attribute

func (s schemas) find(realmName, name string) (Attribute, bool) {
	i := slices.IndexFunc(s[realmName], func(a Attribute) bool { return a.Name == name })
	if i < 0 {
		return Attribute{}, false
	}
	return s[realmName][i], true
}
