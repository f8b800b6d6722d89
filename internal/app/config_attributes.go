package app

import (
	"slices"

	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/registry"
)

// reservedClaim is one that says something else than an attribute.
func reservedClaim(claim string) bool {
	return oauth.OwnClaim(claim) || claim == oauth.ScopeGroups || claim == groupsOverflow
}

// profileClaims are those of OpenID Connect Core, section 5.4, that every client is told by scope profile, and that are not
// told by us.
var profileClaims = []string{"given_name", "family_name", "middle_name", "nickname", "profile", "picture", "website", "gender", "birthdate", "zoneinfo", "locale"}

// reservedScope is one that cannot release the claim.
func reservedScope(scope, claim string) bool {
	if scope == "profile" {
		return !slices.Contains(profileClaims, claim)
	}
	return scope == oauth.ScopeGroups || !registry.PersonScope(scope)
}

// attributes are what realms keep of their people, by canonical name.
func (c *Config) attributes() map[string][]attributes.Attribute {
	declared := map[string][]attributes.Attribute{}
	for _, r := range c.Realms {
		if name, err := realm.Canonical(r.Name); err == nil { // checked by Load
			declared[name] = r.Attributes
		}
	}
	return declared
}
