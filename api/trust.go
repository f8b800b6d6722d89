package api

import "time"

// TrustedIssuer is somebody whose JWTs count as authorization at the token endpoint (RFC 7523 section 2.1), such as a
// cluster or a CI system, as far as its rules say.
type TrustedIssuer struct {
	ID             string      `json:"id"`
	Issuer         string      `json:"issuer" doc:"The iss of its tokens."`
	Enabled        bool        `json:"enabled"`
	JWKS           string      `json:"jwks" doc:"Its public keys: the text of a JWK set."`
	MaxLifetime    int64       `json:"max_lifetime" doc:"Seconds from iat to exp. A token that lives longer is refused."`
	SingleUse      bool        `json:"single_use" doc:"Each of its tokens counts once, by its jti."`
	Rules          []TrustRule `json:"rules" doc:"Which subject speaks for whom. What no rule names is refused; of several that fit the first counts."`
	Created        time.Time   `json:"created"`
	CreatedBy      string      `json:"created_by"`
	LastModified   time.Time   `json:"last_modified"`
	LastModifiedBy string      `json:"last_modified_by"`
}

// TrustRule says for whom one subject of an issuer speaks: for an application's service user or for a person.
type TrustRule struct {
	Subject     string            `json:"subject" minLength:"1" maxLength:"1000" doc:"The sub of its tokens, compared byte by byte. There are no patterns." example:"system:serviceaccount:shop:orders"`
	Claims      map[string]string `json:"claims,omitempty" doc:"Further claims that the token must hold, each a text with exactly this value." `
	Application string            `json:"application,omitempty" maxLength:"100" doc:"The token stands for this application's service user."`
	Person      string            `json:"person,omitempty" maxLength:"40" doc:"Or for the person of this id: for clients that the person has allowed what they ask for."`
	Scopes      []string          `json:"scopes,omitempty" maxItems:"100" doc:"No more than these. Empty: whatever the client may have."`
	Public      bool              `json:"public,omitempty" doc:"The token alone is enough: no client authenticates. For workloads that hold no other secret; for applications alone."`
}

// PutTrustedIssuer is the whole of what can be set of a trusted issuer.
type PutTrustedIssuer struct {
	Issuer      string      `json:"issuer" minLength:"1" maxLength:"400"`
	Disabled    bool        `json:"disabled,omitempty" doc:"None of its tokens count."`
	JWKS        string      `json:"jwks" minLength:"1" maxLength:"131072" doc:"Its public keys: the text of a JWK set. RSA, P-256, P-384 or Ed25519."`
	MaxLifetime int64       `json:"max_lifetime,omitempty" minimum:"0" maximum:"86400" doc:"Seconds from iat to exp; an hour and some unless said otherwise."`
	SingleUse   bool        `json:"single_use,omitempty"`
	Rules       []TrustRule `json:"rules,omitempty" maxItems:"500"`
}

// TrustedIssuers are all of them, by id.
type TrustedIssuers struct {
	Items []TrustedIssuer `json:"items"`
}
