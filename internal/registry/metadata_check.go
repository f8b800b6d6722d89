package registry

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/route"
)

// What can be chosen. "none" is in no list: nothing here is accepted or given unsigned.
var (
	ourAlgs        = []string{"ES256", "EdDSA", "RS256"}          // what we sign with
	clientAlgs     = []string{"ES256", "EdDSA", "RS256", "PS256"} // what clients sign with
	keyAlgs        = jose.KeyAlgs()
	contentAlgs    = jose.ContentAlgs()
	authMethods    = []string{AuthNone, AuthClientSecretBasic, AuthClientSecretPost, AuthClientSecretJWT, AuthPrivateKeyJWT}
	responseTypes  = []string{"id_token", "token", "id_token token", "code id_token", "code token", "code id_token token"}
	defaultContent = "A128CBC-HS256" // OpenID Connect Dynamic Client Registration section 2
)

const (
	maxContacts = 20
	// of each client
	maxPersonScopes = 50
	maxACRs         = 20
	maxOrigins      = 50
	maxResources    = 50
)

// Bounds are the longest lifetimes that may be set for a client.
type Bounds struct{ AccessToken, IDToken, RefreshIdle, RefreshAbsolute time.Duration }

// Lifetimes that not even an administrator may set: a key that verifies must be kept for as long as what it signed.
var longest = Bounds{AccessToken: LongestToken, IDToken: LongestToken, RefreshIdle: 5 * 365 * 24 * time.Hour, RefreshAbsolute: 5 * 365 * 24 * time.Hour}

// LongestToken is how long an access or ID token of any client can live, whatever a configuration or a client says. What
// must outlive tokens (a revocation, the grant that ended) is kept for so long: the setting under which a token was made
// may be lower by the time that it is taken back.
const LongestToken = 24 * time.Hour

// DefaultBounds are the lifetimes up to which an owner may go unless the installation has others.
func DefaultBounds() Bounds {
	return Bounds{AccessToken: 8 * time.Hour, IDToken: 8 * time.Hour, RefreshIdle: 90 * 24 * time.Hour, RefreshAbsolute: 365 * 24 * time.Hour}
}

func badMetadata(member, format string, args ...any) error {
	return fault.InvalidAt("body."+member, "invalid_client_metadata", format, args...)
}

// checkMetadata refuses what cannot be meant, and puts what is left into the one form in which it is stored. The redirect
// URIs and grants of s are checked already.
func checkMetadata(s *Settings, confidential bool) error {
	m := &s.Metadata
	return cmp.Or(
		checkAuthMethod(*m, confidential),
		checkResponseTypes(s),
		checkAlgs(m),
		checkRequests(*m, confidential),
		checkSubjects(s),
		checkAddresses(*s),
		checkWords(*m),
		checkPersonScopes(m),
		checkOrigins(*m),
		checkLifetimes(*m),
	)
}

func checkAuthMethod(m Metadata, confidential bool) error {
	const method, alg = "token_endpoint_auth_method", "token_endpoint_auth_signing_alg"
	switch {
	case m.AuthMethod != "" && !slices.Contains(authMethods, m.AuthMethod):
		return badMetadata(method, "There is no such method: use %s.", strings.Join(authMethods, ", "))
	case confidential && m.AuthMethod == AuthNone:
		return badMetadata(method, "A client that has a secret must show that it does: it becomes public with its application.")
	case !confidential && m.AuthMethod != "" && m.AuthMethod != AuthNone:
		return badMetadata(method, "A public client proves nothing; its method is none.")
	case m.AuthAlg == "":
		return nil
	case m.AuthMethod == AuthClientSecretJWT && m.AuthAlg != "HS256":
		return badMetadata(alg, "client_secret_jwt is signed with HS256.")
	case m.AuthMethod == AuthPrivateKeyJWT && !slices.Contains(clientAlgs, m.AuthAlg):
		return badMetadata(alg, "private_key_jwt is signed with %s.", strings.Join(clientAlgs, ", "))
	case m.AuthMethod != AuthClientSecretJWT && m.AuthMethod != AuthPrivateKeyJWT:
		return badMetadata(alg, "Only client_secret_jwt and private_key_jwt sign.")
	}
	return nil
}

// checkResponseTypes: each that gives something without a code, or beside it, needs the grant that says so.
func checkResponseTypes(s *Settings) error {
	var list []string
	for i, t := range s.Metadata.ResponseTypes {
		words := strings.Fields(t)
		slices.Sort(words)
		t = strings.Join(words, " ")
		at := fmt.Sprintf("response_types[%d]", i)
		switch {
		case t == "code":
			continue // each client that signs people in may
		case !slices.Contains(responseTypes, t):
			return badMetadata(at, "There is no such response type: use code, %s.", strings.Join(responseTypes, ", "))
		case slices.Contains(list, t):
			return badMetadata(at, "This one is listed already.")
		case !slices.Contains(s.GrantTypes, GrantImplicit):
			return badMetadata(at, "This response type needs the grant type implicit.")
		case words[0] == "code" && !slices.Contains(s.GrantTypes, GrantAuthorizationCode):
			return badMetadata(at, "This response type needs the grant type authorization_code.")
		}
		list = append(list, t)
	}
	s.Metadata.ResponseTypes = list
	return nil
}

func checkAlgs(m *Metadata) error {
	for _, c := range []struct {
		member, value string
		allowed       []string
	}{
		{"id_token_signed_response_alg", m.IDTokenAlg, ourAlgs},
		{"userinfo_signed_response_alg", m.UserinfoAlg, ourAlgs},
		{"authorization_signed_response_alg", m.AuthorizationAlg, ourAlgs},
		{"introspection_signed_response_alg", m.IntrospectionAlg, ourAlgs},
		{"request_object_signing_alg", m.RequestObjectAlg, clientAlgs},
		{"id_token_encrypted_response_alg", m.IDTokenKeyAlg, keyAlgs},
		{"id_token_encrypted_response_enc", m.IDTokenEnc, contentAlgs},
		{"userinfo_encrypted_response_alg", m.UserinfoKeyAlg, keyAlgs},
		{"userinfo_encrypted_response_enc", m.UserinfoEnc, contentAlgs},
	} {
		if c.value != "" && !slices.Contains(c.allowed, c.value) {
			return badMetadata(c.member, "This algorithm is not offered: use %s.", strings.Join(c.allowed, ", "))
		}
	}
	for _, c := range []struct {
		member string
		key    string
		enc    *string
	}{{"id_token_encrypted_response_enc", m.IDTokenKeyAlg, &m.IDTokenEnc}, {"userinfo_encrypted_response_enc", m.UserinfoKeyAlg, &m.UserinfoEnc}} {
		if c.key == "" && *c.enc != "" {
			return badMetadata(c.member, "To encrypt, name the algorithm of the key as well.")
		}
		if c.key != "" && *c.enc == "" {
			*c.enc = defaultContent
		}
	}
	return nil
}

// checkKeys refuses keys in two places (RFC 7591 section 2), and to encrypt for a client that has no key for it: it would
// get nothing any more. The keys must be stored by now; those that lie elsewhere are looked at when they are needed.
func checkKeys(ctx context.Context, tx db.ReadTx, clientID string, m Metadata) error {
	if m.IDTokenKeyAlg == "" && m.UserinfoKeyAlg == "" && m.JWKSURI == "" {
		return nil
	}
	keys, err := loadKeys(ctx, tx, clientID)
	if err != nil {
		return err
	}
	switch {
	case m.JWKSURI != "" && len(keys) > 0:
		return badMetadata("jwks_uri", "The client has keys that are stored here: remove them first.")
	case m.JWKSURI != "":
		return nil
	}
	var candidates []jose.Key
	for _, k := range keys {
		if !k.Expires.IsZero() && !k.Expires.After(tx.Now()) {
			continue
		}
		if key, err := jose.ParseKey([]byte(k.JWK)); err == nil { // else it is of a kind that nothing is encrypted for
			candidates = append(candidates, key)
		}
	}
	for member, alg := range map[string]string{"id_token_encrypted_response_alg": m.IDTokenKeyAlg, "userinfo_encrypted_response_alg": m.UserinfoKeyAlg} {
		if alg == "" {
			continue
		}
		if _, err := jose.ChooseEncryptionKey(candidates, alg); err != nil {
			return badMetadata(member, "The client has no public key that can be encrypted for by %s: add one first.", alg)
		}
	}
	return nil
}

func checkRequests(m Metadata, confidential bool) error {
	if m.PKCEOptional && !confidential {
		return badMetadata("pkce_optional", "A public client has nothing but PKCE to show that a code is its own.")
	}
	if m.DefaultMaxAge < 0 || m.DefaultMaxAge > 365*24*time.Hour {
		return badMetadata("default_max_age", "This is a number of seconds, up to a year.")
	}
	if len(m.DefaultACRs) > maxACRs {
		return badMetadata("default_acr_values", "A client has at most %d of these.", maxACRs)
	}
	for i, acr := range m.DefaultACRs {
		if at := fmt.Sprintf("default_acr_values[%d]", i); acr == "" || len(acr) > maxLine || !plainASCII(acr) {
			return badMetadata(at, "A class of authentication is a word of at most %d characters.", maxLine)
		}
	}
	return nil
}

// checkSubjects fixes by which host a client with pairwise subjects knows people (OpenID Connect Core section 8.1). A host
// that is none of its own would let it find out what another organisation's clients call the same person.
func checkSubjects(s *Settings) error {
	m := &s.Metadata
	switch m.SubjectType {
	case "public":
		m.SubjectType = "" // it is what nobody needs to say
	case "", SubjectPairwise:
	default:
		return badMetadata("subject_type", "The subject type is public or pairwise.")
	}
	if m.SubjectType == "" {
		if m.Sector != "" {
			return badMetadata("sector", "Only pairwise subjects have a sector.")
		}
		return nil
	}
	hosts := s.hosts()
	switch of := hostOf(m.SectorURI); {
	case of != "" && m.Sector != "" && m.Sector != of:
		return badMetadata("sector", "The sector is the host of sector_identifier_uri.")
	case of != "":
		m.Sector = of // that it knows of the client is for the list there to show
	case m.Sector != "" && !slices.Contains(hosts, m.Sector):
		return badMetadata("sector", "The sector is the host of one of the redirect URIs.")
	case m.Sector != "":
	case len(hosts) == 1:
		m.Sector = hosts[0]
	case len(hosts) > 1:
		return badMetadata("sector", "The redirect URIs have several hosts: say which one is the sector.")
	}
	return nil
}

// hosts are the hosts of the https redirect URIs, sorted. Those of the loopback interface and of native applications are
// nobody's own.
func (s Settings) hosts() []string {
	var list []string
	for _, uri := range s.RedirectURIs {
		if u, err := url.Parse(uri); err == nil && u.Scheme == "https" {
			list = append(list, u.Hostname())
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func checkAddresses(s Settings) error {
	m := s.Metadata
	for _, c := range []struct{ member, value string }{
		{"backchannel_logout_uri", m.BackchannelLogoutURI},
		{"frontchannel_logout_uri", m.FrontchannelLogoutURI},
		{"client_uri", m.ClientURI},
		{"logo_uri", m.LogoURI},
		{"policy_uri", m.PolicyURI},
		{"tos_uri", m.TermsURI},
		{"initiate_login_uri", m.InitiateLoginURI},
	} {
		if c.value == "" {
			continue
		}
		if why := checkWebAddress(c.value); why != "" {
			return badMetadata(c.member, "%s", why)
		}
	}
	// A page of ours shows this address in a frame (OpenID Connect Front-Channel Logout section 2).
	if m.FrontchannelLogoutURI != "" && !slices.ContainsFunc(s.RedirectURIs, func(uri string) bool { return origin(uri) == origin(m.FrontchannelLogoutURI) }) {
		return badMetadata("frontchannel_logout_uri", "This must be on the same scheme, host and port as one of the redirect URIs.")
	}
	return nil
}

// checkWebAddress tells what is wrong with an address of a client's own pages or endpoints, or "". It is a redirect URI
// that needs neither a native application nor another one's port.
func checkWebAddress(uri string) string {
	switch why := checkRedirect(uri); {
	case len(uri) > maxURL:
		return fmt.Sprintf("An address has at most %d bytes.", maxURL)
	case !strings.HasPrefix(uri, "https://") && !strings.HasPrefix(uri, "http://"):
		return "Use an https address."
	case why != "":
		return why
	}
	return ""
}

// origin is scheme, host and port of an http or https address, as browsers compare them; "" of anything else.
func origin(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	host := u.Host
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

func checkWords(m Metadata) error {
	if len(m.Contacts) > maxContacts {
		return badMetadata("contacts", "A client has at most %d of these.", maxContacts)
	}
	for i, c := range m.Contacts {
		if err := checkVisible(fmt.Sprintf("contacts[%d]", i), c, 1); err != nil {
			return err
		}
	}
	return cmp.Or(checkVisible("software_id", m.SoftwareID, 0), checkVisible("software_version", m.SoftwareVersion, 0))
}

// personScope is how scopes of what is said of people are called. Scopes of the catalog have a dot, so none can be taken
// for the other.
var personScope = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,49}$`)

// PersonScope tells whether the scope can be one of a client's person_scopes.
func PersonScope(scope string) bool {
	return personScope.MatchString(scope) && scope != "azp" && !slices.Contains(commonScopes, scope)
}

func checkPersonScopes(m *Metadata) error {
	if len(m.PersonScopes) > maxPersonScopes {
		return badMetadata("person_scopes", "A client has at most %d of these.", maxPersonScopes)
	}
	for _, scope := range m.PersonScopes {
		if !PersonScope(scope) {
			return badMetadata("person_scopes", "These are groups, or scopes of attributes, such as department: lower-case letters, digits, hyphens and underscores. What every client may ask for needs no place here.")
		}
	}
	slices.Sort(m.PersonScopes)
	m.PersonScopes = slices.Compact(m.PersonScopes)
	return nil
}

// checkVisible refuses text that people could not see as it is: with characters that reorder or hide others.
func checkVisible(member, text string, least int) error {
	if err := route.CheckLine("body."+member, text, least, maxLine); err != nil || hidesText(text) {
		return badMetadata(member, "This is a text of at most %d bytes on one line, all of it visible.", maxLine)
	}
	return nil
}

func hidesText(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return unicode.In(c, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) })
}

func plainASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' })
}

func checkOrigins(m Metadata) error {
	if len(m.Origins) > maxOrigins {
		return badMetadata("allowed_origins", "A client has at most %d of these.", maxOrigins)
	}
	for i, o := range m.Origins {
		at := fmt.Sprintf("allowed_origins[%d]", i)
		if why := checkWebAddress(o); why != "" || origin(o) != o {
			return badMetadata(at, "An origin is https:// and a host in lower case, with a port if it is not the usual one, and nothing behind it; http on a loopback address alone.")
		}
		if slices.Contains(m.Origins[:i], o) {
			return badMetadata(at, "This one is listed already.")
		}
	}
	if len(m.Resources) > maxResources {
		return badMetadata("resources", "A client has at most %d of these.", maxResources)
	}
	for i, r := range m.Resources {
		at := fmt.Sprintf("resources[%d]", i)
		u, err := url.Parse(r)
		if err != nil || len(r) > maxURL || !plainASCII(r) || !u.IsAbs() || u.User != nil || strings.Contains(r, "#") || u.Host == "" && u.Scheme != "urn" {
			return badMetadata(at, "A resource is an absolute URI without a fragment, such as https://api.example.org.")
		}
		if slices.Contains(m.Resources[:i], r) {
			return badMetadata(at, "This one is listed already.")
		}
	}
	return nil
}

func (m Metadata) lifetimes(b Bounds) []lifetime {
	return []lifetime{
		{"access_token_lifetime", m.AccessTokenLife, b.AccessToken},
		{"id_token_lifetime", m.IDTokenLife, b.IDToken},
		{"refresh_token_idle_lifetime", m.RefreshIdleLife, b.RefreshIdle},
		{"refresh_token_absolute_lifetime", m.RefreshAbsoluteLife, b.RefreshAbsolute},
	}
}

type lifetime struct {
	member      string
	value, most time.Duration
}

func checkLifetimes(m Metadata) error {
	for _, l := range m.lifetimes(longest) {
		if l.value != 0 && (l.value < 10*time.Second || l.value > l.most) {
			return badMetadata(l.member, "This is between 10 and %d seconds; 0 is what the realm has.", seconds(l.most))
		}
	}
	if m.RefreshIdleLife != 0 && m.RefreshAbsoluteLife != 0 && m.RefreshIdleLife > m.RefreshAbsoluteLife {
		return badMetadata("refresh_token_idle_lifetime", "This cannot be longer than refresh_token_absolute_lifetime.")
	}
	return nil
}

// checkTrust refuses what only an administrator may give a client and the client had not before. To give it up again is
// free to the owner.
func checkTrust(c access.Caller, target access.Target, before, after Settings, b Bounds) error {
	was, is := before.Metadata, after.Metadata
	gains := ""
	switch {
	case slices.Contains(after.GrantTypes, GrantImplicit) && !slices.Contains(before.GrantTypes, GrantImplicit):
		gains = "grant type implicit"
	case slices.ContainsFunc(is.ResponseTypes, func(t string) bool { return !slices.Contains(was.ResponseTypes, t) }):
		gains = "response types beside code"
	case is.FirstParty && !was.FirstParty:
		gains = "first_party"
	case slices.ContainsFunc(is.PersonScopes, func(s string) bool { return !slices.Contains(was.PersonScopes, s) }):
		gains = "person_scopes"
	case is.PKCEOptional && !was.PKCEOptional:
		gains = "pkce_optional"
	case is.PersonPassword && !was.PersonPassword:
		gains = "person_password"
	}
	had := was.lifetimes(b)
	for i, l := range is.lifetimes(b) {
		if gains == "" && l.value > l.most && l.value > had[i].value {
			gains = fmt.Sprintf("%s beyond %d seconds", l.member, seconds(l.most))
		}
	}
	if gains == "" || access.Allow(c, access.TrustClient, target) == nil {
		return nil
	}
	return fault.New(fault.Forbidden, "forbidden", "Only an administrator may give a client %s: it needs %s.", gains, access.TrustClient)
}
