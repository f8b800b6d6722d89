package oauth

import (
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/registry"
)

// The grants that exist now.
const (
	grantPassword          = "password"
	grantClientCredentials = "client_credentials"
	grantAuthorizationCode = "authorization_code"
	grantRefreshToken      = "refresh_token"
)

// admission is what a grant knows when it asks the gate: who proved what.
type admission struct {
	grant   string
	client  Client
	subject *Subject // the service user whose password was checked; nil if the client acts for itself
	owner   *owner   // the person who let the client act; nil if the client acts for its own application
	asked   []string // scopes, in the order of the request
}

// owner is what is true now of a person who let the client act.
type owner struct {
	enabled  bool            // and has been since the grant was made
	approved []string        // what the person has allowed this client in all
	granted  []string        // what this grant is for
	bound    *registry.Bound // of a client with a type: what that and the person's roles allow
	direct   bool            // the person gave the client the password for these scopes, and is asked nothing else
}

// admit is the one gate that each grant passes before a token is made. It answers the scopes of the token.
//
// That there is one, and that no grant makes a token without it, is what keeps a new grant from forgetting a rule that
// the older ones know: client enabled, grant allowed for the client, user enabled and paired with the client, the person's
// approval still there, scopes within what the client may have.
func (s *Server) admit(a admission) ([]string, error) {
	c := a.client
	if !c.Enabled {
		return nil, refuse(invalidClient, "Client authentication failed.")
	}
	if !c.May(a.grant) {
		return nil, refuse(unauthorizedClient, "This client may not use this grant.")
	}
	if a.owner != nil {
		return admitForOwner(c, *a.owner, a.asked)
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

// admitForOwner answers what the client gets for a person: what was asked for, else all that was granted; but nothing
// that the person has taken back, and nothing that the client may not ask people for any more.
func admitForOwner(c Client, o owner, asked []string) ([]string, error) {
	unapproved := func(scope string) bool { return !trusted(c, scope) && !slices.Contains(o.approved, scope) }
	if !o.enabled || !o.direct && slices.ContainsFunc(o.granted, unapproved) {
		return nil, badCredentials()
	}
	if !covers(o.granted, asked) {
		return nil, refuse(invalidScope, "The person did not allow all of these scopes.")
	}
	if len(asked) == 0 {
		asked = o.granted
	}
	if c.Type != "" || o.bound != nil {
		return asked, withinBound(o.bound, asked)
	}
	scopes := slices.DeleteFunc(slices.Clone(asked), func(scope string) bool { return !mayAsk(c, scope) })
	if len(scopes) == 0 {
		return nil, badCredentials()
	}
	return scopes, nil
}

// withinBound refuses what the type of the client or the roles of the person do not allow, and cuts nothing silently. It
// is asked with what the database says in the transaction that gives the token. Without a bound nothing is allowed: whoever
// forgot to read it must notice. The scopes of OpenID Connect are about the person alone, and bound by neither.
func withinBound(b *registry.Bound, asked []string) error {
	if b == nil {
		return badCredentials()
	}
	if refused := beyond(*b, asked); len(refused) > 0 {
		return refuse(invalidScope, "Neither more than the client's type nor more than the person's roles allow can be given. Not allowed: "+strings.Join(refused, " "))
	}
	return nil
}

func beyond(b registry.Bound, scopes []string) (refused []string) {
	for _, scope := range scopes {
		if !b.Allows(scope) && !slices.Contains(commonScopes, scope) {
			refused = append(refused, scope)
		}
	}
	return refused
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
