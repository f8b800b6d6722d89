package web

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity/attributes"
)

// What a realm keeps of its people besides, as a part of a form. Its labels are the configuration's, in the language of the
// page where it has them; they are no markup.

// attributeField is one attribute on a page.
type attributeField struct {
	attributes.Attribute
	Values  []string // what is kept, or was typed
	Problem string
}

// ID is the input's, and the name under which the form sends it.
func (f attributeField) ID() string { return "attribute-" + f.Name }

// Required tells whether the person must say something.
func (f attributeField) Required() bool { return f.AtRegistration == attributes.Required }

// Value is the one value, or the entries of a list, a line each.
func (f attributeField) Value() string { return strings.Join(f.Values, "\n") }

// Has tells whether the value, or an entry, is this.
func (f attributeField) Has(value string) bool { return slices.Contains(f.Values, value) }

// Shown are the values as people read them.
func (f attributeField) Shown(language string) string {
	list := slices.Clone(f.Values)
	for i, value := range list {
		for _, c := range f.Choices {
			if c.Value == value {
				list[i] = c.Title(language)
			}
		}
	}
	return strings.Join(list, ", ")
}

// autocomplete are the purposes of inputs that browsers know (WCAG 2.2, 1.3.5), by the claim of OpenID Connect Core,
// section 5.1.
var autocomplete = map[string]string{"given_name": "given-name", "family_name": "family-name", "middle_name": "additional-name", "nickname": "nickname", "website": "url", "birthdate": "bday"}

// Autocomplete is what the browser may fill the input with.
func (f attributeField) Autocomplete() string {
	if purpose := autocomplete[f.Claim]; purpose != "" {
		return purpose
	}
	return "off"
}

// ownAttributes are those that the person sees, with what is kept: those that it edits, and the others.
func (p *Pages) ownAttributes(ctx context.Context, c access.Caller) (edits, sees []attributeField, err error) {
	if p.info.Attributes == nil {
		return nil, nil, nil
	}
	var list []attributes.Value
	if err := p.info.DB.Read(ctx, func(tx db.ReadTx) (err error) {
		list, err = p.info.Attributes.Own(ctx, tx, c)
		return err
	}); err != nil {
		return nil, nil, err
	}
	for _, v := range list {
		f := attributeField{Attribute: v.Attribute, Values: v.Texts()}
		if v.Editable == attributes.ByPerson {
			edits = append(edits, f)
		} else {
			sees = append(sees, f)
		}
	}
	return edits, sees, nil
}

// askedAttributes are those that the page to register in a realm asks for.
func (p *Pages) askedAttributes(realmName string) (fields []attributeField) {
	if p.info.Attributes == nil {
		return nil
	}
	for _, a := range p.info.Attributes.Asked(realmName) {
		fields = append(fields, attributeField{Attribute: a})
	}
	return fields
}

// typedAttributes are what a form says of these attributes; what it does not name stays as it is. Others that it names are
// no fields of it, and nothing is heard of them.
func typedAttributes(form url.Values, list []attributes.Attribute) attributes.Values {
	said := attributes.Values{}
	for _, a := range list {
		texts, is := form[attributeField{Attribute: a}.ID()]
		if !is {
			continue
		}
		if a.Type == attributes.List && len(a.Choices) == 0 && len(texts) > 0 {
			texts = strings.Split(texts[0], "\n")
		}
		said[a.Name] = a.Typed(texts)
	}
	return said
}

// judge fills the fields with what was typed, and says of each what is wrong with it. It answers whether anything is.
func judge(fields []attributeField, form url.Values, said attributes.Values) (wrong bool) {
	for i := range fields {
		f := &fields[i]
		value, is := said[f.Name]
		if !is {
			continue
		}
		if text := form.Get(f.ID()); f.Type != attributes.List && len(text) <= maxTyped {
			f.Values = []string{text}
		} else if v := (attributes.Value{JSON: string(value)}); f.Type == attributes.List && json.Valid(value) && string(value) != "null" {
			f.Values = v.Texts()
		} else {
			f.Values = nil
		}
		if err := f.Attribute.Problem(value); err != nil {
			wrong, f.Problem = true, f.problem(fault.Of(err))
		}
	}
	return wrong
}

// notKept heads a form some fields of which have a problem of their own.
var notKept = words("Some entries cannot be kept like this. What is wrong is written beside each of them.")

// problem says what is wrong with the value in words for people.
func (f attributeField) problem(e *fault.Error) string {
	switch e.Code {
	case "required":
		return words("This must not be empty.")
	case "too_long":
		if f.Type == attributes.List {
			return words("One of the entries is too long.")
		}
		return words("This is too long.")
	case "too_many":
		return fill("There can be {0} entries at most.", strconv.Itoa(f.Max))
	case "not_offered":
		return words("Choose one of what is offered.")
	case "attribute_type":
		if f.Type == attributes.Number {
			return words("Give a number, such as 12.5.")
		}
		return words("Choose yes or no.")
	}
	return words("This contains characters that cannot be used here.")
}
