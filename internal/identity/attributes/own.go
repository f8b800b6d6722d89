package attributes

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// What people see and change of themselves. Which attributes those are is the configuration's to say, and what a form
// sends besides them is refused, not left out: nobody should believe that it was taken.

// errFixed is the answer to a change that the configuration leaves to administrators.
var errFixed error = fault.New(fault.Forbidden, "attribute_fixed", "This can be changed by an administrator alone.")

// Own reads the attributes of the caller that it may see, in the order of their declaration.
func (s *Service) Own(ctx context.Context, tx db.ReadTx, c access.Caller) ([]Value, error) {
	p, err := identity.OwnPerson(ctx, tx, c)
	if err != nil {
		return nil, err
	}
	list, err := s.of(ctx, tx, p)
	return slices.DeleteFunc(list, func(v Value) bool { return v.Hidden || v.Type == "" }), err
}

// Editable are the attributes that people of a realm edit themselves.
func (s *Service) Editable(realmName string) (list []Attribute) {
	for _, a := range s.declared[realmName] {
		if a.Editable == ByPerson {
			list = append(list, a)
		}
	}
	return list
}

// Asked are the attributes that people are asked for when they register in a realm.
func (s *Service) Asked(realmName string) []Attribute {
	return slices.DeleteFunc(s.Editable(realmName), func(a Attribute) bool { return a.AtRegistration == "" })
}

// SetOwn changes attributes of the caller; null removes a value, but none that is required.
func (s *Service) SetOwn(ctx context.Context, tx db.WriteTx, c access.Caller, said Values) error {
	p, err := identity.OwnPerson(ctx, tx, c)
	if err != nil {
		return err
	}
	if err := s.allowOwn(s.Editable(p.Realm), said); err != nil {
		return err
	}
	return s.set(ctx, tx, c, p, said, false)
}

// allowOwn refuses what is not among the attributes, and a required one without a value.
func (s *Service) allowOwn(may []Attribute, said Values) error {
	for name, value := range said {
		i := slices.IndexFunc(may, func(a Attribute) bool { return a.Name == name })
		if i < 0 {
			return errFixed
		}
		if may[i].AtRegistration == Required && none(value) {
			return missing(may[i])
		}
	}
	return nil
}

// CheckRegistration refuses what somebody who registers says, unless it could be stored, is asked for, and is all that is
// required.
func (s *Service) CheckRegistration(realmName string, said Values) error {
	asked := s.Asked(realmName)
	if err := s.allowOwn(asked, said); err != nil {
		return err
	}
	for _, a := range asked {
		if a.AtRegistration == Required && none(said[a.Name]) {
			return missing(a)
		}
	}
	return s.CheckNew(realmName, said)
}

// Problem says what is wrong with a value of this attribute that its person gave; nil if nothing is.
func (a Attribute) Problem(said json.RawMessage) error {
	if a.AtRegistration == Required && none(said) {
		return missing(a)
	}
	_, err := a.value(said)
	return err
}

func none(value json.RawMessage) bool { return len(value) == 0 || string(value) == "null" }

func missing(a Attribute) error {
	return fault.InvalidAt("body.attributes."+a.Name, "required", "The attribute %s must have a value.", a.Name)
}

// Typed is the JSON of what somebody typed: one text, or the entries of a list, of which empty ones count for nothing. What
// is no value of the type is refused where it is to be stored.
func (a Attribute) Typed(texts []string) json.RawMessage {
	var entries []string
	for _, text := range texts {
		if text = strings.TrimSpace(text); text != "" {
			entries = append(entries, text)
		}
	}
	var value any
	switch {
	case len(entries) == 0:
		return json.RawMessage("null")
	case a.Type == List:
		value = entries
	case a.Type == Number || a.Type == Boolean:
		return json.RawMessage(entries[0])
	default:
		value = entries[0]
	}
	text, err := json.Marshal(value)
	if err != nil { // strings alone
		return json.RawMessage("null")
	}
	return text
}

// Texts are what people read of a value: one text, or the entries of a list; nil if there is none.
func (v Value) Texts() []string {
	var text string
	var entries []string
	switch {
	case v.JSON == "":
		return nil
	case json.Unmarshal([]byte(v.JSON), &entries) == nil:
		return entries
	case json.Unmarshal([]byte(v.JSON), &text) == nil:
		return []string{text}
	}
	return []string{v.JSON}
}

// FromTexts are values that are known as text alone: the entries of a list have semicolons between them.
func (s *Service) FromTexts(realmName string, texts map[string]string) Values {
	said := Values{}
	for name, text := range texts {
		a, _ := s.declared.find(realmName, name) // the name of none is refused with the value
		entries := []string{text}
		if a.Type == List {
			entries = strings.Split(text, ";")
		}
		said[name] = a.Typed(entries)
	}
	return said
}
