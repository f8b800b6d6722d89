package oauth

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// claimsSeeds are values of the parameter, and what is asked for by name; nil: it is refused.
var claimsSeeds = map[string][]string{
	`{"userinfo":{"email":{"essential":true},"name":null},"id_token":{"name":{"value":"x"}}}`:             {"id_token.name", "userinfo.email", "userinfo.name"},
	`{"id_token":{"acr":{"essential":true,"values":["2","1"]},"sub":{"value":"usr_1"},"auth_time":null}}`: {},
	`{}`:                                      {},
	` {"userinfo" : null} `:                   {},
	`{"userinfo":{"email":{"x":[1]}}}`:        {"userinfo.email"},
	`{"userinfo":{"email":1}}`:                nil,
	`{"userinfo":{"email":{"essential":true}`: nil,
	`[]`: nil, ``: nil,
	`{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`: nil,
}

// Whatever comes, it is read within bounds and names only claims that there are; and what is read is JSON to others, too.
func FuzzClaims(f *testing.F) {
	for seed := range claimsSeeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readClaims(text)
		if err != nil {
			if c.names != nil || c.subjects != nil || c.acrs != nil {
				t.Errorf("%q is refused, and says %v", text, c)
			}
			return
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%q is no JSON", text)
		}
		for _, name := range c.names {
			place, claim, _ := strings.Cut(name, ".")
			if _, known := claimScopes[claim]; !known || place != "id_token" && place != "userinfo" || strings.Contains(name, " ") {
				t.Errorf("%q asks for %q", text, name)
			}
		}
		if len(c.names) > 2*len(claimScopes) || len(c.subjects) > 2*maxClaimNames || len(c.acrs) > 2*maxClaimNames {
			t.Errorf("%q makes %v", text, c)
		}
	})
}

func TestFuzzSeedsOfClaims(t *testing.T) {
	for seed, want := range claimsSeeds {
		c, err := readClaims(seed)
		if (err == nil) != (want != nil) || err == nil && !slices.Equal(c.names, want) {
			t.Errorf("%q: %v, %v", seed, c, err)
		}
	}
}

// pushedSeeds are forms of requests.
var pushedSeeds = []string{
	"client_id=cli_1&redirect_uri=https%3A%2F%2Fa.example%2Fcb&response_type=code+id_token&resource=a&resource=b&state=x&claims=%7B%7D",
	"state=1&state=2", "resource=&resource=&resource=&resource=&resource=&resource=&resource=&resource=&resource=&resource=", "a=%zz", "&&=&",
	"client_id=x&client_secret=y&client_assertion=z&a=b%26c%3Dd",
}

// What is pushed is read as it was sent, but for what the client proved itself by and for who it is.
func FuzzPushedForm(f *testing.F) {
	for _, seed := range pushedSeeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var form parameters
		if form.form(raw) != nil {
			return
		}
		a, ok := readAnswers(pushedForm("cli_1", form))
		if !ok {
			return // too long
		}
		if a.get("client_id") != "cli_1" || len(a.twice) > 0 || len(a.resources) > maxResources+1 {
			t.Fatalf("%q became %v", raw, a)
		}
		for _, x := range form {
			got, found := a.find(x.name)
			switch {
			case slices.Contains(proofs, x.name):
				if found {
					t.Errorf("%q keeps %s", raw, x.name)
				}
			case x.name == "client_id", x.name == "resource":
			case got != x.value:
				t.Errorf("%q: %q became %q", raw, x.value, got)
			}
		}
	})
}

func TestFuzzSeedsOfPushedForm(t *testing.T) {
	loaded := 0
	for _, seed := range pushedSeeds {
		var form parameters
		if form.form(seed) == nil {
			loaded++
		}
	}
	if loaded != 4 {
		t.Errorf("%d seeds load", loaded)
	}
}
