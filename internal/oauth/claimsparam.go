package oauth

import (
	"slices"
	"strings"
)

const (
	maxClaimsText = 8 << 10
	maxClaimNames = 64
	maxClaimText  = 400 // of one value
)

// claimsRequest is what a client asks for by the parameter claims (OpenID Connect Core section 5.5).
//
// It never gets around anybody: a claim that no scope of the request releases is on the page that asks the person, by
// what it is, and is told only once the person has allowed it.
type claimsRequest struct {
	names    []string // claims of a person, by where they are to be told: "id_token.email", "userinfo.name"; sorted
	subjects []string // one of which the person must be; nil: anybody
	acrs     []string // one of which the login must be; nil: any
	mustACR  bool     // nothing is to be answered without
}

// claimScopes are the claims that there are of a person, and the scope which releases each as well.
var claimScopes = map[string]string{
	"name": scopeProfile, "preferred_username": scopeProfile,
	"email": scopeEmail, "email_verified": scopeEmail,
	"phone_number": scopePhone, "phone_number_verified": scopePhone, "address": scopeAddress,
}

// claimTexts are the claims in words. What comes with another claim has none of its own.
var claimTexts = map[string]string{
	"name": "See your name.", "preferred_username": "See your user name.", "email": "See your e-mail address.",
	"phone_number": "See your telephone number.", "address": "See where you live.",
}

// claimUnit is the claim that a person allows together with this one.
func claimUnit(name string) string { return strings.TrimSuffix(name, "_verified") }

// claimPermission is how an approval names a claim that was allowed without the scope that would release it. No scope
// begins like this.
func claimPermission(name string) string { return "claim:" + claimUnit(name) }

// readClaims reads the parameter. Claims, members and places that we do not know are ignored, as the standard has it.
func readClaims(text string) (c claimsRequest, err error) {
	wrong := refuse(invalidRequest, "claims is not a JSON object as OpenID Connect has it.")
	if len(text) > maxClaimsText {
		return c, wrong
	}
	r := &jsonReader{b: []byte(text)}
	err = r.object(maxParameters, func(place string) error {
		if place != "userinfo" && place != "id_token" || r.peek() == 'n' {
			return r.skip(0)
		}
		return r.object(maxClaimNames, func(name string) error { return c.member(r, place, name) })
	})
	if err != nil || r.end() != nil {
		return claimsRequest{}, wrong
	}
	slices.Sort(c.names)
	return c, nil
}

// member reads one claim that is asked for.
func (c *claimsRequest) member(r *jsonReader, place, name string) error {
	essential, values, err := readClaim(r)
	if err != nil {
		return err
	}
	switch _, known := claimScopes[name]; {
	case known:
		c.names = append(c.names, place+"."+name)
	case name == "sub" && values != nil:
		if c.subjects == nil {
			c.subjects = values
			break
		}
		// Both places name somebody: it must be one and the same.
		c.subjects = slices.DeleteFunc(c.subjects, func(s string) bool { return !slices.Contains(values, s) })
	case name == "acr" && place == "id_token" && values != nil:
		c.acrs, c.mustACR = values, essential
	}
	return nil
}

// readClaim reads how a claim is asked for: null, or an object. Values that are no texts fit nothing that we have; they
// make an empty list, and not none.
func readClaim(r *jsonReader) (essential bool, values []string, err error) {
	if r.peek() != '{' {
		return false, nil, r.word("null")
	}
	add := func() error {
		if r.peek() != '"' {
			return r.skip(0)
		}
		s, err := r.text()
		if err == nil && len(s) <= maxClaimText {
			values = append(values, s)
		}
		return err
	}
	err = r.object(maxParameters, func(name string) error {
		switch c := r.peek(); {
		case name == "essential" && c == 't':
			essential = true
			return r.word("true")
		case name == "value":
			values = orEmpty(values)
			return add()
		case name == "values" && c == '[':
			values = orEmpty(values)
			return r.array(maxClaimNames, add)
		}
		return r.skip(0)
	})
	return essential, values, err
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
