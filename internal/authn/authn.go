// Package authn finds out who is calling: it makes an access.Caller of a request.
//
// What it guards:
//   - A credential that is not valid is an error, never the anonymous caller: who meant to be somebody must hear that
//     it did not work.
//   - A request carries one credential, in the Authorization header, as a bearer token. One in the URL is not looked at:
//     URLs end up in logs.
//   - A caller gets what the credential proves and nothing else. Teams come from the registry, the administrator role
//     from the user's own record, neither from the token.
//   - The address of a caller is its peer's. X-Forwarded-For is believed only from proxies that the configuration names.
package authn

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// Claims are what a valid access token says.
type Claims struct {
	UserID      string
	Username    string
	Realm       string
	ClientID    string
	Application string // of a service user
	Scopes      []string
	Audience    []string
}

// Tokens verifies access tokens. Package oauth implements it.
type Tokens interface {
	// Verify answers the claims of a token that is valid now: signed by an accepted key, not expired, not revoked, of
	// a user and a client that are enabled. A token that is not valid is a fault of kind Unauthenticated; any other
	// error says that it could not be found out. It is called for each request and must not wait for the database in
	// the usual case.
	Verify(ctx context.Context, token redact.Secret) (Claims, error)
}

// AccessKeys verifies access keys. Package identity implements it.
type AccessKeys interface {
	VerifyAccessKey(ctx context.Context, key redact.Secret) (access.Caller, error)
}

// Teams tells which teams a caller belongs to, from memory. Package registry implements it.
type Teams interface {
	TeamsOf(ctx context.Context, c access.Caller) ([]string, error)
}

// Options say how. AccessKeys and Teams are needed.
type Options struct {
	AccessKeys AccessKeys
	Tokens     Tokens // nil: no access token is valid
	Teams      Teams
	Realms     *realm.Set // nil: realm.Standard
	// Audience is what a token must be made for to be taken here. Empty: any that is valid.
	Audience       string
	TrustedProxies []netip.Prefix
}

// Authenticator finds out who is calling.
type Authenticator struct{ o Options }

// New makes an Authenticator.
func New(o Options) *Authenticator {
	if o.Realms == nil {
		o.Realms = realm.Standard()
	}
	return &Authenticator{o}
}

// maxCredential bounds what is looked at: a token of ours has less than a tenth of it.
const maxCredential = 16 << 10

// Caller answers who sends the request: the anonymous caller if it shows no credential, a fault of kind Unauthenticated
// if it shows one that is not valid. It fits route.Options.Authenticate.
func (a *Authenticator) Caller(r *http.Request) (access.Caller, error) {
	origin := access.Caller{RequestID: route.RequestID(r.Context()), IP: a.address(r)}
	credential, err := bearer(r.Header)
	if err != nil {
		return origin, err
	}
	if credential.Empty() {
		return origin, nil
	}
	c, err := a.verify(r.Context(), credential)
	if err != nil {
		return origin, err
	}
	c.RequestID, c.IP = origin.RequestID, origin.IP
	if c.Teams, err = a.o.Teams.TeamsOf(r.Context(), c); err != nil {
		return origin, err
	}
	return c, nil
}

// errInvalid is the one answer to every credential that is not valid. Its code is RFC 6750's, which the
// WWW-Authenticate header repeats.
func errInvalid() error {
	return fault.New(fault.Unauthenticated, "invalid_token", "The access token or access key is not valid: it is malformed, unknown, expired or revoked.")
}

// bearer takes the credential out of the headers; an empty one means that there is none.
func bearer(h http.Header) (redact.Secret, error) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return redact.Secret{}, nil
	}
	if len(values) > 1 {
		return redact.Secret{}, fault.New(fault.Unauthenticated, "invalid_token", "Send one Authorization header.")
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return redact.Secret{}, fault.New(fault.Unauthenticated, "invalid_token", "Send Authorization: Bearer <token>; no other scheme is understood here.")
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || len(token) > maxCredential || !token68(token) {
		return redact.Secret{}, errInvalid()
	}
	return redact.New(token), nil
}

// token68 tells whether the text has the grammar of RFC 6750 section 2.1.
func token68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/", rune(c)) {
			return false
		}
	}
	return s != ""
}

func (a *Authenticator) verify(ctx context.Context, credential redact.Secret) (access.Caller, error) {
	if strings.HasPrefix(credential.Reveal(), identity.AccessKeyPrefix) {
		c, err := a.o.AccessKeys.VerifyAccessKey(ctx, credential)
		if fault.Is(err, fault.Unauthenticated) {
			err = errInvalid()
		}
		return c, err
	}
	if a.o.Tokens == nil {
		return access.Caller{}, errInvalid()
	}
	claims, err := a.o.Tokens.Verify(ctx, credential)
	if err != nil {
		if fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Invalid) {
			err = errInvalid()
		}
		return access.Caller{}, err
	}
	return a.caller(claims)
}

// caller makes a caller of what a token says. A token that does not say who, or names a realm that does not exist, is of
// no use here, valid or not.
func (a *Authenticator) caller(claims Claims) (access.Caller, error) {
	at, err := a.o.Realms.Lookup(claims.Realm)
	if err != nil || claims.UserID == "" {
		return access.Caller{}, errInvalid()
	}
	if a.o.Audience != "" && !slices.Contains(claims.Audience, a.o.Audience) {
		return access.Caller{}, errInvalid()
	}
	c := access.Caller{
		Kind: access.Person, ID: claims.UserID, Name: claims.Username, Realm: at.Name, ClientID: claims.ClientID,
		Scopes: slices.Clone(claims.Scopes),
	}
	if at.Kind == realm.Services {
		if claims.Application == "" {
			return access.Caller{}, errInvalid()
		}
		c.Kind, c.Application = access.Service, claims.Application
	}
	return c, nil
}

// address is where the request comes from: the peer; or, if that is a trusted proxy, the last address in X-Forwarded-For
// that is not one. What stands before it was written by who knows whom.
func (a *Authenticator) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	peer, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	peer = peer.Unmap().WithZone("")
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0 && a.trusted(peer); i-- {
		before, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		peer = before.Unmap().WithZone("")
	}
	return peer.String()
}

func (a *Authenticator) trusted(address netip.Addr) bool {
	return slices.ContainsFunc(a.o.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
