package mithril

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// adminScopes allow to read, write or delete everything of a kind, whosever it is.
var adminScopes = func() (all []string) {
	for _, noun := range []string{"app", "token", "user", "role", "client_type", "client"} {
		for _, verb := range []string{"read", "write", "delete"} {
			if s := noun + ":" + verb; s != "user:read" {
				all = append(all, s)
			}
		}
	}
	return all
}()

// userRead has two meanings. A person lets a client see who it is with it, for which the client's type suffices; it reads
// all users only if a role of the person at the client carries it, which an administrator gave.
const userRead = "user:read"

// caller is who calls, and by what.
type caller struct {
	access.Caller
	claims  *oauth.Claims // of the token; nil: an access key, or a gateway's word
	typed   bool          // the token's client has a type
	reader  bool          // user:read comes from a role
	gateway bool          // a trusted gateway says who it is
}

// authenticate finds out who calls. A request without a credential is nobody's; one that is not valid is refused.
func (c *call) authenticate() error {
	values := c.r.Header.Values("Authorization")
	switch {
	case len(values) == 0:
		return c.fromGateway()
	case len(values) > 1:
		return unauthenticated("Send one Authorization header.")
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(text) == "" {
		return unauthenticated("Send Authorization: Bearer <token>.")
	}
	credential := redact.New(strings.TrimSpace(text))
	if strings.HasPrefix(credential.Reveal(), identity.AccessKeyPrefix) {
		who, err := c.o.Identity.VerifyAccessKey(c, credential)
		if fault.Is(err, fault.Unauthenticated) {
			return unauthenticated("The access key is not valid.")
		}
		if err != nil {
			return err
		}
		who.RequestID, who.IP = c.who.RequestID, c.who.IP
		c.who.Caller = who
		route.Identify(c, who)
		return nil
	}
	claims, err := c.o.OAuth.Verifier().Verify(c, credential.Reveal(), oauth.VerifyOptions{Audience: c.o.Issuer})
	if err != nil {
		return c.badToken(err)
	}
	return c.fromToken(claims)
}

func (c *call) badToken(err error) error {
	if fault.Of(err).Kind == fault.Unavailable {
		return err
	}
	f := unauthenticated("The token is not valid: it is malformed, unknown, expired or revoked.")
	f.cause = err
	return f
}

// fromToken makes a caller of a valid token. The person is read anew: tokens outlive nobody.
func (c *call) fromToken(claims *oauth.Claims) error {
	client, err := c.o.Registry.Clients().Client(c, claims.ClientID)
	if err != nil {
		return c.badToken(err)
	}
	c.who.claims, c.who.typed = claims, client.Type != ""
	c.who.ClientID, c.who.Scopes = claims.ClientID, claims.Scopes
	if claims.GrantID == "" {
		if claims.Realm != realm.Robots || claims.Subject != claims.ClientID {
			return c.badToken(oauth.ErrToken) // of a service user: it is nobody here
		}
		c.who.Kind, c.who.ID, c.who.Name, c.who.Realm = access.Service, client.ID, client.ID, realm.Robots
		route.Identify(c, c.who.Caller)
		return nil
	}
	return c.fromPerson(claims.Subject)
}

func (c *call) fromPerson(userID string) error {
	var u identity.User
	err := c.reading(func(tx db.ReadTx) (err error) {
		if u, err = identity.LoadUser(c, tx, userID); err != nil {
			return err
		}
		if c.who.claims != nil && c.who.claims.Grant == grantPassword && c.o.Admit != nil {
			if err := c.o.Admit(c, tx, u, byPasswordAlone); err != nil {
				return err
			}
		}
		if !c.who.HasScope(userRead) {
			return nil
		}
		bound, _, err := registry.LoadBound(c, tx, c.who.ClientID, userID)
		c.who.reader = slices.Contains(bound.Roles, userRead)
		return err
	})
	if fault.Is(err, fault.NotFound) || err == nil && (!u.Disabled.IsZero() || u.Application != "") {
		return unauthenticated("The token is not valid: it is malformed, unknown, expired or revoked.")
	}
	if tooLittle(err) {
		return c.badToken(err)
	}
	if err != nil {
		return err
	}
	// Admin is left out on purpose: an administrator who lets a client act gives it no more than the scopes.
	c.who.Kind, c.who.ID, c.who.Name, c.who.Realm = access.Person, u.ID, u.Username, u.Realm
	route.Identify(c, c.who.Caller)
	return nil
}

// fromGateway takes the word of a gateway that the configuration names, for installations that have one in front.
func (c *call) fromGateway() error {
	consumer := c.r.Header.Get("X-Consumer-ID")
	if consumer == "" || len(c.o.TrustedConsumers) == 0 || !trusts(c.o.TrustedConsumers, c.r) {
		return nil
	}
	userID, ok := inner(id.User, consumer)
	if !ok {
		return unauthenticated("X-Consumer-ID names nobody.")
	}
	if err := c.fromPerson(userID); err != nil {
		return err
	}
	c.who.gateway, c.who.typed = true, true
	c.who.Scopes = strings.FieldsFunc(c.r.Header.Get("X-Consumer-Scope"), func(r rune) bool { return r == ' ' || r == ',' })
	return nil
}

// trusts looks at the peer itself: what a proxy before it says of other addresses does not count.
func trusts(gateways []netip.Prefix, r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	peer = peer.Unmap().WithZone("")
	return slices.ContainsFunc(gateways, func(p netip.Prefix) bool { return p.Contains(peer) })
}

// holds tells whether the caller may act by an administrative scope.
func (c *call) holds(scope string) bool {
	if c.who.Admin {
		return true
	}
	if !c.who.typed || !c.who.HasScope(scope) {
		return false
	}
	return scope != userRead || c.who.reader
}

// may refuses who does not hold the administrative scope. What it answers is the caller for the packages below, which
// then allow what belongs to it.
func (c *call) may(scope string) (access.Caller, error) {
	if c.who.Kind == access.Anonymous {
		return access.Caller{}, unauthenticated("This needs a token: send Authorization: Bearer <token>.")
	}
	if !c.holds(scope) {
		return access.Caller{}, missingScope(scope)
	}
	return c.delegate(), nil
}

// delegate is the caller with the rights that the operation at hand needs of lower packages. Who calls has been asked.
func (c *call) delegate() access.Caller {
	who := c.who.Caller
	who.Delegated = []access.Action{access.ManageUsers, access.ManageRoles, access.ReadClient, access.WriteClient, access.TrustClient}
	return who
}

// own refuses who is no person acting by a token that carries one of the scopes. They allow what is the person's own.
func (c *call) own(scopes ...string) error {
	if c.who.Kind == access.Anonymous {
		return unauthenticated("This needs a token: send Authorization: Bearer <token>.")
	}
	if c.who.Kind == access.Person && slices.ContainsFunc(scopes, c.who.HasScope) {
		return nil
	}
	return missingScope(scopes...)
}

// mayGive refuses to hand out or to take an administrative scope that the caller does not hold: else the right to write
// roles would be every right.
func (c *call) mayGive(scopes []string) error {
	if c.who.Admin {
		return nil
	}
	for _, scope := range scopes {
		if (slices.Contains(adminScopes, scope) || scope == userRead) && !c.who.HasScope(scope) {
			return forbidden("You can neither give nor take " + scope + ", which you do not hold.")
		}
	}
	return nil
}

// mayGiveRole is mayGive for roles. With one of them user:read reads all users, which a person whose token has it to see
// who it is does not hold.
func (c *call) mayGiveRole(scopes []string) error {
	if slices.Contains(scopes, userRead) && !c.holds(userRead) {
		return forbidden("You can neither give nor take " + userRead + " of all users, which you do not hold.")
	}
	return c.mayGive(scopes)
}
