package api

import "time"

// ClientSettings are what an OAuth client is allowed to do and how it shows itself to people.
type ClientSettings struct {
	ClientID               string   `json:"client_id" doc:"It stays the same when the secret rotates."`
	Name                   string   `json:"name" doc:"What people read when they are asked for their consent. Empty: the application's name."`
	Confidential           bool     `json:"confidential" doc:"Whether it has a secret; set with the application."`
	RedirectURIs           []string `json:"redirect_uris" doc:"Where people are sent back to after signing in."`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris" doc:"Where people are sent back to after signing out."`
	GrantTypes             []string `json:"grant_types" doc:"authorization_code, client_credentials, password, implicit, and the URNs of the device and the JWT bearer grant."`
	RefreshTokens          string   `json:"refresh_tokens" enum:"never,offline_access,always" doc:"When signing a person in gives a refresh token: never; if the person allows scope offline_access; or always."`
	ClientMetadata
	ResourceOwnerScopes []string `json:"resource_owner_scopes" doc:"What it may ask a person for, besides openid, profile, email, offline_access and uid; set among the application's scopes."`
	// Lifetimes are what counts for its tokens, whoever said so.
	Lifetimes      []ClientLifetime `json:"effective_lifetimes" doc:"What counts for its tokens, and who said so."`
	LastModified   time.Time        `json:"last_modified,omitzero"`
	LastModifiedBy string           `json:"last_modified_by,omitempty"`
}

// ClientLifetime is how long a token of a client lives.
type ClientLifetime struct {
	Token     string `json:"token" enum:"access_token,id_token,refresh_token_idle,refresh_token_absolute"`
	Realm     string `json:"realm" doc:"Whose token it is. Empty: of people of all realms that are not listed."`
	GrantType string `json:"grant_type,omitempty" doc:"For access tokens: by which grant."`
	Seconds   int64  `json:"seconds"`
	From      string `json:"from" enum:"client,grant,realm,default,bound" doc:"The client's own setting; the configuration's for the grant or the realm; the default; or the bound, if one of these lies outside."`
}

// PutClientSettings is the whole of what can be set of a client. A list that is absent becomes empty; without
// grant_types a client may what it may by default, which is to act for its own application.
type PutClientSettings struct {
	Name                   string   `json:"name,omitempty" maxLength:"128"`
	RedirectURIs           []string `json:"redirect_uris,omitempty" maxItems:"50" doc:"https, a scheme of a native app's own such as com.example.app, or http on localhost, 127.0.0.1 or [::1], where any port is accepted. Compared byte by byte."`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty" maxItems:"50"`
	GrantTypes             []string `json:"grant_types,omitempty" maxItems:"8" doc:"authorization_code, client_credentials, password, urn:ietf:params:oauth:grant-type:device_code, urn:ietf:params:oauth:grant-type:jwt-bearer; implicit by an administrator."`
	RefreshTokens          string   `json:"refresh_tokens,omitempty" enum:"never,offline_access,always" doc:"offline_access unless said otherwise."`
	ClientMetadata
}

// ClientMetadata is what else can be said of a client, with the names of RFC 7591, OpenID Connect Dynamic Client
// Registration 1.0 and their successors. What is absent is as the standard or the installation has it. Durations are in
// seconds.
type ClientMetadata struct {
	AuthMethod string `json:"token_endpoint_auth_method,omitempty" enum:"none,client_secret_basic,client_secret_post,client_secret_jwt,private_key_jwt" doc:"How the client proves to be itself. Absent: by its secret, by Basic or in the form; none for a public client."`
	AuthAlg    string `json:"token_endpoint_auth_signing_alg,omitempty" enum:"ES256,EdDSA,RS256,PS256,HS256" doc:"Absent: any that fits the key."`

	JWKSURI string `json:"jwks_uri,omitempty" maxLength:"1000" doc:"Where the client keeps its public keys (RFC 7517), in place of keys that are stored here: https, fetched when they are needed and kept for five minutes."`

	ResponseTypes []string `json:"response_types,omitempty" maxItems:"8" doc:"Beside code, which needs no mention: id_token, token, id_token token, code id_token, code token, code id_token token. By an administrator, with grant type implicit."`

	IDTokenAlg       string `json:"id_token_signed_response_alg,omitempty" enum:"ES256,EdDSA,RS256"`
	IDTokenKeyAlg    string `json:"id_token_encrypted_response_alg,omitempty" enum:"RSA-OAEP,RSA-OAEP-256,ECDH-ES,ECDH-ES+A128KW,ECDH-ES+A256KW"`
	IDTokenEnc       string `json:"id_token_encrypted_response_enc,omitempty" enum:"A128GCM,A256GCM,A128CBC-HS256"`
	UserinfoAlg      string `json:"userinfo_signed_response_alg,omitempty" enum:"ES256,EdDSA,RS256"`
	UserinfoKeyAlg   string `json:"userinfo_encrypted_response_alg,omitempty" enum:"RSA-OAEP,RSA-OAEP-256,ECDH-ES,ECDH-ES+A128KW,ECDH-ES+A256KW"`
	UserinfoEnc      string `json:"userinfo_encrypted_response_enc,omitempty" enum:"A128GCM,A256GCM,A128CBC-HS256"`
	AuthorizationAlg string `json:"authorization_signed_response_alg,omitempty" enum:"ES256,EdDSA,RS256" doc:"For response modes that end in jwt."`
	IntrospectionAlg string `json:"introspection_signed_response_alg,omitempty" enum:"ES256,EdDSA,RS256"`

	RequestObjectAlg     string   `json:"request_object_signing_alg,omitempty" enum:"ES256,EdDSA,RS256,PS256"`
	RequireRequestObject bool     `json:"require_signed_request_object,omitempty"`
	RequirePAR           bool     `json:"require_pushed_authorization_requests,omitempty"`
	PKCEOptional         bool     `json:"pkce_optional,omitempty" doc:"Only for a confidential client that cannot do PKCE. By an administrator."`
	DefaultMaxAge        int64    `json:"default_max_age,omitempty" minimum:"0" maximum:"31536000"`
	RequireAuthTime      bool     `json:"require_auth_time,omitempty"`
	DefaultACRs          []string `json:"default_acr_values,omitempty" maxItems:"20"`

	SubjectType string `json:"subject_type,omitempty" enum:"public,pairwise" doc:"pairwise: people have another sub for each sector."`
	Sector      string `json:"sector,omitempty" maxLength:"255" doc:"The host whose clients know a person under the same pairwise sub. Absent: the host of sector_identifier_uri, else of the redirect URIs, of which there may be only one then."`

	SectorURI string `json:"sector_identifier_uri,omitempty" maxLength:"1000" doc:"Where a JSON list of all redirect URIs of the sector lies, https; its host is the sector. Fetched when it or the redirect URIs change."`

	BackchannelLogoutURI        string `json:"backchannel_logout_uri,omitempty" maxLength:"1000"`
	BackchannelSessionRequired  bool   `json:"backchannel_logout_session_required,omitempty"`
	FrontchannelLogoutURI       string `json:"frontchannel_logout_uri,omitempty" maxLength:"1000" doc:"On the same origin as one of the redirect URIs."`
	FrontchannelSessionRequired bool   `json:"frontchannel_logout_session_required,omitempty"`

	ClientURI        string   `json:"client_uri,omitempty" maxLength:"1000"`
	LogoURI          string   `json:"logo_uri,omitempty" maxLength:"1000" doc:"Kept and shown as text; nothing is fetched from it."`
	PolicyURI        string   `json:"policy_uri,omitempty" maxLength:"1000"`
	TermsURI         string   `json:"tos_uri,omitempty" maxLength:"1000"`
	Contacts         []string `json:"contacts,omitempty" maxItems:"20"`
	InitiateLoginURI string   `json:"initiate_login_uri,omitempty" maxLength:"1000"`
	SoftwareID       string   `json:"software_id,omitempty" maxLength:"200"`
	SoftwareVersion  string   `json:"software_version,omitempty" maxLength:"200"`

	Origins   []string `json:"allowed_origins,omitempty" maxItems:"50" doc:"Where scripts that call the endpoints for this client may come from, such as https://app.example.org. Absent: from the origins of its redirect URIs."`
	Resources []string `json:"resources,omitempty" maxItems:"50" doc:"Resources that it may ask tokens for (RFC 8707), beside this installation itself."`

	FirstParty     bool     `json:"first_party,omitempty" doc:"It belongs to the organisation itself, and people are not asked. By an administrator."`
	PersonScopes   []string `json:"person_scopes,omitempty" maxItems:"50" doc:"Scopes that tell what the organisation says of a person, which it may ask people for: groups, and those of attributes. By an administrator."`
	PersonPassword bool     `json:"person_password,omitempty" doc:"People may send it their password, which the standard advises against. By an administrator."`

	AccessTokenLife     int64 `json:"access_token_lifetime,omitempty" minimum:"0" maximum:"157680000" doc:"Longer than the installation's bound only by an administrator; so are the next three."`
	IDTokenLife         int64 `json:"id_token_lifetime,omitempty" minimum:"0" maximum:"157680000"`
	RefreshIdleLife     int64 `json:"refresh_token_idle_lifetime,omitempty" minimum:"0" maximum:"157680000"`
	RefreshAbsoluteLife int64 `json:"refresh_token_absolute_lifetime,omitempty" minimum:"0" maximum:"157680000"`
}
