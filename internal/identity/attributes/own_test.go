package attributes_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
)

var ofPeople = map[string][]attributes.Attribute{
	"employees": {
		{Name: "nickname", Editable: attributes.ByPerson, Max: 20, AtRegistration: attributes.Asked},
		{Name: "size", Editable: attributes.ByPerson, AtRegistration: attributes.Required, Choices: []attributes.Choice{{Value: "s"}, {Value: "l"}}},
		{Name: "languages", Type: attributes.List, Editable: attributes.ByPerson, Choices: []attributes.Choice{{Value: "de"}, {Value: "en"}}},
		{Name: "grade", Type: attributes.Number},
		{Name: "rating", Hidden: true},
	},
	"customers": {{Name: "plan"}},
}

func self(u identity.User) access.Caller {
	return access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm}
}

// A person changes what people edit, of itself, in person; and nothing of it if one thing is not.
func TestB7_134_OwnAttributes(t *testing.T) {
	desks(t, func(w *desk) {
		w.s = attributes.New(ofPeople)
		jane, zoe := w.person("employees", "jane"), w.person("customers", "zoe")
		set := func(c access.Caller, said string) error {
			var values attributes.Values
			if err := json.Unmarshal([]byte(said), &values); err != nil {
				w.Fatal(err)
			}
			return w.d.Write(w.Context(), func(tx db.WriteTx) error { return w.s.SetOwn(w.Context(), tx, c, values) })
		}
		client := self(jane)
		client.ClientID = "cli_1"
		for _, x := range []struct {
			c    access.Caller
			said string
			kind fault.Kind
		}{
			{self(jane), `{"grade":99}`, fault.Forbidden},
			{self(jane), `{"nickname":"Jay","grade":99}`, fault.Forbidden},
			{self(jane), `{"rating":null}`, fault.Forbidden},
			{self(jane), `{"unknown":"x"}`, fault.Forbidden},
			{self(jane), `{"plan":"gold"}`, fault.Forbidden},
			{self(zoe), `{"plan":"gold"}`, fault.Forbidden},
			{self(zoe), `{"nickname":"Zo"}`, fault.Forbidden},
			{client, `{"nickname":"Jay"}`, fault.Forbidden},
			{access.Caller{}, `{"nickname":"Jay"}`, fault.Forbidden},
			{access.SystemCaller("test"), `{"nickname":"Jay"}`, fault.Forbidden},
			{self(jane), `{"size":null}`, fault.Invalid},
			{self(jane), `{"size":"xl"}`, fault.Invalid},
			{self(jane), `{"languages":["de","fr"]}`, fault.Invalid},
		} {
			if err := set(x.c, x.said); !fault.Is(err, x.kind) {
				w.Errorf("%s by %s: %v", x.said, x.c, err)
			}
		}
		if err := set(self(jane), `{"nickname":"Jay","size":"l","languages":["de"]}`); err != nil {
			w.Fatal(err)
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.s.Set(ctx, tx, admin, jane.ID, attributes.Values{"grade": json.RawMessage("7"), "rating": json.RawMessage(`"poor"`), "nickname": json.RawMessage(`"J"`)})
		})
		var seen []string
		if err := w.d.Read(w.Context(), func(tx db.ReadTx) error {
			list, err := w.s.Own(w.Context(), tx, self(jane))
			for _, v := range list {
				seen = append(seen, v.Name+" "+strings.Join(v.Texts(), ","))
			}
			return err
		}); err != nil {
			w.Fatal(err)
		}
		if diff := cmp.Diff([]string{"nickname J", "size l", "languages de", "grade 7"}, seen); diff != "" {
			w.Error(diff)
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error { return w.dir.DisablePerson(ctx, tx, admin, jane.ID) })
		if err := set(self(jane), `{"nickname":"Jay"}`); err == nil {
			w.Error("somebody who is disabled changed something")
		}
	})
}

func TestCheckRegistration(t *testing.T) {
	s := attributes.New(ofPeople)
	for said, good := range map[string]bool{
		`{"size":"s"}`: true, `{"size":"s","nickname":"Jay"}`: true, `{"size":"s","nickname":null}`: true,
		`{}`: false, `{"nickname":"Jay"}`: false, `{"size":null}`: false, `{"size":"xl"}`: false, `{"size":"s","languages":["de"]}`: false, `{"size":"s","grade":9}`: false,
	} {
		var values attributes.Values
		if err := json.Unmarshal([]byte(said), &values); err != nil {
			t.Fatal(err)
		}
		if err := s.CheckRegistration("employees", values); (err == nil) != good {
			t.Errorf("%s: %v", said, err)
		}
	}
	if err := s.CheckRegistration("customers", nil); err != nil {
		t.Error(err)
	}
}

func TestCheckForm(t *testing.T) {
	rules := attributes.Rules{Claim: func(string) bool { return false }, Scope: func(_, _ string) bool { return false }, Languages: []string{"en", "de"}}
	good := []attributes.Attribute{{Name: "a", Label: "A", Labels: map[string]string{"de": "Ä"}, Editable: "person", AtRegistration: "required", Choices: []attributes.Choice{{Value: "x", Labels: map[string]string{"de": "y"}}}}}
	if err := attributes.Check(good, rules); err != nil {
		t.Error(err)
	}
	for want, a := range map[string]attributes.Attribute{
		"neither asked":   {AtRegistration: "always", Editable: "person"},
		"set editable":    {AtRegistration: "asked"},
		"hidden":          {Hidden: true, Editable: "person"},
		"choices are":     {Type: "number", Choices: []attributes.Choice{{Value: "1"}}},
		"up to 200":       {Choices: make([]attributes.Choice, 201)},
		`choice ""`:       {Choices: []attributes.Choice{{}}},
		"there twice":     {Choices: []attributes.Choice{{Value: "x"}, {Value: "x"}}},
		`"x "`:            {Choices: []attributes.Choice{{Value: "x "}}},
		`language "fr"`:   {Labels: map[string]string{"fr": "x"}},
		`label "a\nb"`:    {Label: "a\nb"},
		`label ""`:        {Labels: map[string]string{"de": ""}},
		`choice "x": lab`: {Choices: []attributes.Choice{{Value: "x", Label: "\x07"}}},
	} {
		a.Name = "a"
		if err := attributes.Check([]attributes.Attribute{a}, rules); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v does not say %q", a, err, want)
		}
	}
}
