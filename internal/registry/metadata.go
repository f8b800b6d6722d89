package registry

import (
	"slices"
	"time"
)

// Grants beside those of RFC 6749 that a client can be allowed, and the two ways of it that give tokens without a code.
const (
	GrantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code" // RFC 8628
	GrantJWTBearer  = "urn:ietf:params:oauth:grant-type:jwt-bearer"  // RFC 7523 section 2.1
	GrantImplicit   = "implicit"                                     // for response types that hold token or id_token
)

// The methods by which clients prove to be themselves at our endpoints (OpenID Connect Core section 9).
const (
	AuthNone              = "none"
	AuthClientSecretBasic = "client_secret_basic"
	AuthClientSecretPost  = "client_secret_post"
	AuthClientSecretJWT   = "client_secret_jwt"
	AuthPrivateKeyJWT     = "private_key_jwt"
)

// SubjectPairwise is the subject type by which each sector knows a person under another name (OpenID Connect Core
// section 8.1).
const SubjectPairwise = "pairwise"

// Metadata is what else is said of a client, under the names of OpenID Connect Dynamic Client Registration 1.0, RFC 7591
// and their successors where these have one: on the wire and in its row it is an api.ClientMetadata. The zero value is
// what a client has about which nobody said anything. Its slices are shared: do not change them.
type Metadata struct {
	// How the client proves to be itself. "": by its secret, by Basic or in the form.
	AuthMethod string
	AuthAlg    string // "": any that fits the key
	// JWKSURI is where the client keeps its keys, in place of those that are stored with it; "": nowhere else.
	JWKSURI string

	// Response types beside code that an administrator has allowed, such as "id_token token"; the words of each sorted
	// as in the registry of RFC 6749: code, id_token, token.
	ResponseTypes []string

	// In which form it wants what we sign for it. "": the algorithm of the active key for ID tokens, and not signed at
	// all for the others. Encryption: "" is not encrypted.
	IDTokenAlg       string
	IDTokenKeyAlg    string
	IDTokenEnc       string
	UserinfoAlg      string
	UserinfoKeyAlg   string
	UserinfoEnc      string
	AuthorizationAlg string
	IntrospectionAlg string

	// What its requests must be like.
	RequestObjectAlg     string // "": any that fits its keys
	RequireRequestObject bool
	RequirePAR           bool
	PKCEOptional         bool          // confidential clients only, by an administrator
	DefaultMaxAge        time.Duration // 0: none
	RequireAuthTime      bool
	DefaultACRs          []string

	// How people are known to it. Sector is the host of the sector identifier, for pairwise subjects. SectorURI is where
	// that host lists the redirect URIs that belong to it; "": it does not.
	SubjectType string
	Sector      string
	SectorURI   string

	// Where it hears that somebody has signed out.
	BackchannelLogoutURI        string
	BackchannelSessionRequired  bool
	FrontchannelLogoutURI       string
	FrontchannelSessionRequired bool

	// What people may want to know of it.
	ClientURI        string
	LogoURI          string
	PolicyURI        string
	TermsURI         string
	Contacts         []string
	InitiateLoginURI string
	SoftwareID       string
	SoftwareVersion  string

	// Where scripts that call us for it may come from. Empty: from the origins of its redirect URIs.
	Origins []string
	// Resources that it may ask tokens for (RFC 8707), beside this installation itself.
	Resources []string

	// FirstParty clients belong to the organisation itself: people are not asked, but for offline access and redirects to
	// the loopback interface. By an administrator.
	FirstParty bool
	// PersonScopes are scopes that tell what the organisation says of a person, such as groups, which the client may ask
	// people for. By an administrator.
	PersonScopes []string
	// PersonPassword lets people send it their password, which the standard advises against. By an administrator.
	PersonPassword bool

	// Lifetimes. 0: what the realm has.
	AccessTokenLife     time.Duration
	IDTokenLife         time.Duration
	RefreshIdleLife     time.Duration
	RefreshAbsoluteLife time.Duration
}

// MayRespond tells whether the client may use the response type, with its words in the order of RFC 6749's registry.
func (c Client) MayRespond(responseType string) bool {
	return responseType == "code" || slices.Contains(c.Metadata.ResponseTypes, responseType)
}
