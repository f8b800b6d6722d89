package oauth

import (
	"slices"
	"strings"
)

// The grants that exist now.
const (
	grantPassword          = "password"
	grantClientCredentials = "client_credentials"
)

// admission is what a grant knows when it asks the gate: who proved what.
type admission struct {
	grant   string
	client  Client
	subject *Subject // the service user whose password was checked; nil if the client acts for itself
	asked   []string // scopes, in the order of the request
}

// admit is the one gate that each grant passes before a token is made. It answers the scopes of the token.
//
// That there is one, and that no grant makes a token without it, is what keeps a new grant from forgetting a rule that
// the older ones know: client enabled, grant allowed for the client, user enabled and paired with the client, scopes
// within what the client may have.
func (s *Server) admit(a admission) ([]string, error) {
	c := a.client
	if !c.Enabled {
		return nil, refuse(invalidClient, "Client authentication failed.")
	}
	if !c.May(a.grant) {
		return nil, refuse(unauthorizedClient, "This client may not use this grant.")
	}
	if a.subject == nil && !c.Confidential {
		// A client that cannot keep a secret proves nothing by its name, and here nobody else vouches for the request.
		return nil, refuse(unauthorizedClient, "A public client may not act on its own account.")
	}
	if a.subject != nil && (c.Application == "" || a.subject.Application != c.Application) {
		return nil, badCredentials()
	}
	return admitScopes(c, a.asked)
}

// admitScopes answers what the client gets of what it asks for: all of it, or a refusal that names what it may not have.
// The defaults are always allowed, and so are the scopes that grant nothing.
func admitScopes(c Client, asked []string) ([]string, error) {
	defaults := c.DefaultScopes
	if len(defaults) == 0 {
		defaults = []string{scopeUID}
	}
	if len(asked) == 0 {
		return defaults, nil
	}
	var refused []string
	for _, scope := range asked {
		if scope != scopeUID && scope != scopeAZP && !slices.Contains(c.Scopes, scope) && !slices.Contains(defaults, scope) {
			refused = append(refused, scope)
		}
	}
	if len(refused) > 0 {
		return nil, refuse(invalidScope, "This client may not ask for: "+strings.Join(refused, " "))
	}
	return asked, nil
}
