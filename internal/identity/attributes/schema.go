// Package attributes keeps what a realm wants to know of its people besides what is kept of everybody, such as their
// department, and tells clients of it.
//
// What it guards:
//   - A value is stored only if the configuration declares its attribute for the person's realm, and it is of the type and
//     size that is declared there, and one of the choices where there are any.
//   - A person changes of itself what the configuration lets people edit, and nothing else (own.go).
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
	"errors"
	"fmt"
	"maps"
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

// Who changes a value. What people edit themselves, an administrator changes, too.
const (
	ByAdministrator = "administrator"
	ByPerson        = "person"
)

// Whether somebody who registers is asked for a value.
const (
	Asked    = "asked"
	Required = "required" // and the person cannot take it away later
)

const (
	// MaxDeclared is how many attributes a realm has at most.
	MaxDeclared = 50

	maxString     = 1000 // bytes; what a string has where nothing is declared is defaultString
	defaultString = 200
	maxList       = 50 // entries
	defaultList   = 20
	maxEntry      = 200 // bytes of an entry
	maxNumber     = 32  // bytes
	maxChoices    = 200
	maxLabel      = 100 // bytes
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
	// Label is what people read of it on pages, and Labels the same in other languages, such as de. Default: the name.
	Label  string            `yaml:"label"`
	Labels map[string]string `yaml:"labels"`
	// Choices are the only strings, or entries of a list, that there may be: each a word, or a value with label and labels.
	// Default: none, and anything may be.
	Choices []Choice `yaml:"choices"`
	// Editable is who changes it: administrator, or person, that is the person itself on the page of its profile, and
	// administrators as well. Default: administrator.
	Editable string `yaml:"editable"`
	// AtRegistration is asked or required if the page at which people register asks for it; one that is required the person
	// cannot take away later. It must be editable by the person. Default: it is not asked for.
	AtRegistration string `yaml:"at_registration"`
	// Hidden keeps it from the page of the profile. What is kept of a person the person can have all the same. Default: false.
	Hidden bool `yaml:"hidden"`
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

// Choice is a value that is offered.
type Choice struct {
	Value  string            `yaml:"value"`
	Label  string            `yaml:"label"` // Default: the value
	Labels map[string]string `yaml:"labels"`
}

// UnmarshalYAML reads a choice that is nothing but a word, too.
func (c *Choice) UnmarshalYAML(read func(any) error) error {
	if read(&c.Value) == nil {
		return nil
	}
	type members Choice
	return read((*members)(c))
}

// Title is what people read of the attribute, in a language.
func (a Attribute) Title(language string) string {
	return cmp.Or(a.Labels[language], a.Label, a.Name)
}

// Title is what people read of the choice, in a language.
func (c Choice) Title(language string) string { return cmp.Or(c.Labels[language], c.Label, c.Value) }

// offers tells whether the text may be a value, or an entry of one.
func (a Attribute) offers(text string) bool {
	return len(a.Choices) == 0 || slices.ContainsFunc(a.Choices, func(c Choice) bool { return c.Value == text })
}

var (
	nameForm  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,49}$`)
	claimForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.:/-]{0,199}$`)
)

// Rules are what attributes must keep to besides. What they name is refused.
type Rules struct {
	Claim func(string) bool // one that says something else
	// Scope is one that an administrator cannot let clients ask for, or that tells something else than this claim.
	Scope     func(scope, claim string) bool
	Languages []string // of the pages: no label is in another
}

// Check refuses attributes of a realm that contradict one another, or the protocol.
func Check(list []Attribute, rules Rules) error {
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
		case rules.Claim(a.Claim):
			return fmt.Errorf("%s: claim %s says something else already", at, a.Claim)
		case rules.Scope(a.Scope, a.Claim):
			return fmt.Errorf("%s: scope %q cannot release claim %s", at, a.Scope, a.Claim)
		case a.Editable != ByAdministrator && a.Editable != ByPerson:
			return fmt.Errorf("%s: editable %q is neither administrator nor person", at, a.Editable)
		}
		if most, known := map[string]int{String: maxString, List: maxList, Number: 0, Boolean: 0}[a.Type]; !known {
			return fmt.Errorf("%s: type %q is none of string, number, boolean, list", at, a.Type)
		} else if a.Max < 0 || a.Max > most {
			return fmt.Errorf("%s: max %d is outside 0 to %d", at, a.Max, most)
		}
		if err := a.checkForm(rules.Languages); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		names[a.Name], claims[a.Claim] = true, true
	}
	return nil
}

// checkForm refuses what no form could show.
func (a Attribute) checkForm(languages []string) error {
	switch {
	case !slices.Contains([]string{"", Asked, Required}, a.AtRegistration):
		return fmt.Errorf("at_registration %q is neither asked nor required", a.AtRegistration)
	case a.AtRegistration != "" && a.Editable != ByPerson:
		return errors.New("at_registration asks the person for what an administrator alone changes: set editable to person")
	case a.Hidden && a.Editable == ByPerson:
		return errors.New("hidden keeps from the person what it is to edit")
	case len(a.Choices) > maxChoices || len(a.Choices) > 0 && a.Type != String && a.Type != List:
		return fmt.Errorf("choices are up to %d of a string or a list", maxChoices)
	}
	if err := checkLabels(a.Label, a.Labels, languages); err != nil {
		return err
	}
	seen, most := map[string]bool{}, maxEntry
	if a.Type == String {
		most = a.Max
	}
	for _, c := range a.Choices {
		if route.CheckLine("", c.Value, 1, most) != nil || seen[c.Value] || strings.TrimSpace(c.Value) != c.Value {
			return fmt.Errorf("choice %q is no line of at most %d bytes, or there twice", c.Value, most)
		}
		seen[c.Value] = true
		if err := checkLabels(c.Label, c.Labels, languages); err != nil {
			return fmt.Errorf("choice %q: %w", c.Value, err)
		}
	}
	return nil
}

func checkLabels(label string, labels map[string]string, languages []string) error {
	if route.CheckLine("", label, 0, maxLabel) != nil {
		return fmt.Errorf("label %q is no line of at most %d bytes", label, maxLabel)
	}
	for _, language := range slices.Sorted(maps.Keys(labels)) {
		if !slices.Contains(languages, language) {
			return fmt.Errorf("labels: there are no pages in language %q", language)
		}
		if route.CheckLine("", labels[language], 1, maxLabel) != nil {
			return fmt.Errorf("label %q is no line of at most %d bytes", labels[language], maxLabel)
		}
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
		if !a.offers(text) {
			return "", a.notOffered(at)
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
			if !a.offers(entry) {
				return "", a.notOffered(at)
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

func (a Attribute) notOffered(at string) error {
	return fault.InvalidAt(at, "not_offered", "The attribute %s has none but the declared choices.", a.Name)
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
