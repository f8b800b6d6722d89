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
// and their successors where these have one. The zero value is what a client has about which nobody said anything. Its
// slices are shared: do not change them.
type Metadata struct {
	// How the client proves to be itself. "": by its secret, by Basic or in the form.
	AuthMethod string `json:"token_endpoint_auth_method,omitempty"`
	AuthAlg    string `json:"token_endpoint_auth_signing_alg,omitempty"` // "": any that fits the key

	// Response types beside code that an administrator has allowed, such as "id_token token"; the words of each sorted
	// as in the registry of RFC 6749: code, id_token, token.
	ResponseTypes []string `json:"response_types,omitempty"`

	// In which form it wants what we sign for it. "": the algorithm of the active key for ID tokens, and not signed at
	// all for the others. Encryption: "" is not encrypted.
	IDTokenAlg       string `json:"id_token_signed_response_alg,omitempty"`
	IDTokenKeyAlg    string `json:"id_token_encrypted_response_alg,omitempty"`
	IDTokenEnc       string `json:"id_token_encrypted_response_enc,omitempty"`
	UserinfoAlg      string `json:"userinfo_signed_response_alg,omitempty"`
	UserinfoKeyAlg   string `json:"userinfo_encrypted_response_alg,omitempty"`
	UserinfoEnc      string `json:"userinfo_encrypted_response_enc,omitempty"`
	AuthorizationAlg string `json:"authorization_signed_response_alg,omitempty"`
	IntrospectionAlg string `json:"introspection_signed_response_alg,omitempty"`

	// What its requests must be like.
	RequestObjectAlg     string        `json:"request_object_signing_alg,omitempty"` // "": any that fits its keys
	RequireRequestObject bool          `json:"require_signed_request_object,omitempty"`
	RequirePAR           bool          `json:"require_pushed_authorization_requests,omitempty"`
	PKCEOptional         bool          `json:"pkce_optional,omitempty"`   // confidential clients only, by an administrator
	DefaultMaxAge        time.Duration `json:"default_max_age,omitempty"` // 0: none
	RequireAuthTime      bool          `json:"require_auth_time,omitempty"`
	DefaultACRs          []string      `json:"default_acr_values,omitempty"`

	// How people are known to it. Sector is the host of the sector identifier, for pairwise subjects.
	SubjectType string `json:"subject_type,omitempty"`
	Sector      string `json:"sector,omitempty"`

	// Where it hears that somebody has signed out.
	BackchannelLogoutURI        string `json:"backchannel_logout_uri,omitempty"`
	BackchannelSessionRequired  bool   `json:"backchannel_logout_session_required,omitempty"`
	FrontchannelLogoutURI       string `json:"frontchannel_logout_uri,omitempty"`
	FrontchannelSessionRequired bool   `json:"frontchannel_logout_session_required,omitempty"`

	// What people may want to know of it.
	ClientURI        string   `json:"client_uri,omitempty"`
	LogoURI          string   `json:"logo_uri,omitempty"`
	PolicyURI        string   `json:"policy_uri,omitempty"`
	TermsURI         string   `json:"tos_uri,omitempty"`
	Contacts         []string `json:"contacts,omitempty"`
	InitiateLoginURI string   `json:"initiate_login_uri,omitempty"`

	// Where scripts that call us for it may come from. Empty: from the origins of its redirect URIs.
	Origins []string `json:"allowed_origins,omitempty"`
	// Resources that it may ask tokens for (RFC 8707), beside this installation itself.
	Resources []string `json:"resources,omitempty"`

	// FirstParty clients belong to the organisation itself: people are not asked, but for offline access and redirects to
	// the loopback interface. By an administrator.
	FirstParty bool `json:"first_party,omitempty"`
	// PersonPassword lets people send it their password, which the standard advises against. By an administrator.
	PersonPassword bool `json:"person_password,omitempty"`

	// Lifetimes. 0: what the realm has.
	AccessTokenLife     time.Duration `json:"access_token_lifetime,omitempty"`
	IDTokenLife         time.Duration `json:"id_token_lifetime,omitempty"`
	RefreshIdleLife     time.Duration `json:"refresh_token_idle_lifetime,omitempty"`
	RefreshAbsoluteLife time.Duration `json:"refresh_token_absolute_lifetime,omitempty"`
}

// MayRespond tells whether the client may use the response type, with its words in the order of RFC 6749's registry.
func (c Client) MayRespond(responseType string) bool {
	return responseType == "code" || slices.Contains(c.Metadata.ResponseTypes, responseType)
}

// ClientKey is a public key of a client.
type ClientKey struct {
	ID      string // ours, to name it by
	Label   string
	JWK     string    // RFC 7517, without private members
	Expires time.Time // zero: never
}
