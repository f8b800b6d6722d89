package sourced_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/identity/sourced"
)

// What rules do not name is not heard, and what cannot be read is not taken for nothing.
func TestRead(t *testing.T) {
	many := make([]string, sourced.MaxWords+1)
	for i := range many {
		many[i] = fmt.Sprintf("g%d", i)
	}
	tooMany, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	rules := sourced.Rules{Attributes: map[string]string{"dept": "department"}, Groups: "groups", Map: map[string]string{"Eng": "engineering"}}
	prefix := rules
	prefix.Prefix = "org:"
	none := map[string]json.RawMessage{}
	for name, c := range map[string]struct {
		rules  sourced.Rules
		claims map[string]string
		want   sourced.Said
	}{
		"nothing":           {rules, nil, sourced.Said{Attributes: none}},
		"null":              {rules, map[string]string{"dept": " null ", "groups": "null"}, sourced.Said{Attributes: none}},
		"what is named":     {rules, map[string]string{"dept": `"sales"`, "groups": `["Ops","Eng","Eng"]`, "admin": "true"}, sourced.Said{Attributes: map[string]json.RawMessage{"department": json.RawMessage(`"sales"`)}, Words: []string{"Eng"}}},
		"one group":         {rules, map[string]string{"groups": `"Eng"`}, sourced.Said{Attributes: none, Words: []string{"Eng"}}},
		"a prefix":          {prefix, map[string]string{"groups": `["Ops","","a\nb","Eng"]`}, sourced.Said{Attributes: none, Words: []string{"Eng", "Ops"}}},
		"no JSON":           {rules, map[string]string{"dept": `"sal`, "groups": `[`}, sourced.Said{Attributes: none, Unread: []string{"department"}, NoWords: true}},
		"no list":           {rules, map[string]string{"groups": `[1]`}, sourced.Said{Attributes: none, NoWords: true}},
		"a long value":      {rules, map[string]string{"dept": `"` + strings.Repeat("a", 16<<10) + `"`}, sourced.Said{Attributes: none, Unread: []string{"department"}}},
		"very many groups":  {rules, map[string]string{"groups": string(tooMany)}, sourced.Said{Attributes: none, NoWords: true}},
		"kept elsewhere":    {rules, map[string]string{"_claim_names": `{"groups":"src1","dept":"src1"}`}, sourced.Said{Attributes: none, Unread: []string{"department"}, NoWords: true}},
		"no rule of groups": {sourced.Rules{}, map[string]string{"groups": `["Eng"]`, "dept": `"sales"`}, sourced.Said{Attributes: none}},
	} {
		got := c.rules.Read(func(name string) []byte { return []byte(c.claims[name]) })
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
