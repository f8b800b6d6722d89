package api

import "time"

// LoginProvider is an OpenID provider of others with which the people of a realm sign in. Its client secret is never told.
type LoginProvider struct {
	ID             string         `json:"id"`
	Realm          string         `json:"realm"`
	Name           string         `json:"name" doc:"What stands on the button."`
	Enabled        bool           `json:"enabled"`
	Issuer         string         `json:"issuer" doc:"iss of its tokens. Its metadata is below it (OpenID Connect Discovery 1.0)."`
	ClientID       string         `json:"client_id"`
	ClientAuth     string         `json:"client_auth" doc:"How this server authenticates there."`
	HasSecret      bool           `json:"has_secret"`
	Scopes         []string       `json:"scopes"`
	Claims         ProviderClaims `json:"claims"`
	Policy         ProviderPolicy `json:"policy"`
	RedirectURI    string         `json:"redirect_uri" doc:"To be registered at the provider."`
	LogoutURI      string         `json:"backchannel_logout_uri" doc:"To be registered at the provider if it tells of logouts (OpenID Connect Back-Channel Logout 1.0)."`
	SignedOutURI   string         `json:"post_logout_redirect_uri" doc:"To be registered at the provider with policy.offer_logout."`
	Linked         int            `json:"linked" doc:"How many people are linked with somebody there."`
	Created        time.Time      `json:"created"`
	CreatedBy      string         `json:"created_by"`
	LastModified   time.Time      `json:"last_modified"`
	LastModifiedBy string         `json:"last_modified_by"`
}

// ProviderClaims say which claims of a provider tell what. Who somebody is tells sub, always.
type ProviderClaims struct {
	Username      string `json:"username,omitempty" maxLength:"100" doc:"Suggests a username; preferred_username unless said otherwise."`
	Name          string `json:"name,omitempty" maxLength:"100" doc:"name unless said otherwise."`
	Email         string `json:"email,omitempty" maxLength:"100" doc:"email unless said otherwise."`
	EmailVerified string `json:"email_verified,omitempty" maxLength:"100" doc:"Tells whether the provider has verified the address; email_verified unless said otherwise. Without it, the address is not used."`
	Phone         string `json:"phone,omitempty" maxLength:"100" doc:"phone_number unless said otherwise."`

	Attributes []ProviderAttribute `json:"attributes,omitempty" maxItems:"50" doc:"Attributes of people that the provider keeps."`
	Groups     ProviderGroups      `json:"groups,omitempty" doc:"Groups that the provider puts people into. It makes none, and takes nobody out of one that an administrator put somebody into."`
}

// ProviderAttribute has a claim of a provider be an attribute that the realm declares.
type ProviderAttribute struct {
	Claim     string `json:"claim" minLength:"1" maxLength:"100"`
	Attribute string `json:"attribute" minLength:"1" maxLength:"50"`
}

// ProviderGroups say which groups a provider puts people into, at each login.
type ProviderGroups struct {
	Claim  string          `json:"claim,omitempty" maxLength:"100" doc:"Lists the groups of the person there. Without it, there are none."`
	Map    []ProviderGroup `json:"map,omitempty" maxItems:"200" doc:"Which group there is which one here. Others count for nothing."`
	Prefix string          `json:"prefix,omitempty" maxLength:"50" doc:"Also, each group there is the group here that is called so behind this prefix, if there is one; the prefix ends with one of . _ : / -" example:"example-org:"`
}

// ProviderGroup has a group of a provider be a group of the realm.
type ProviderGroup struct {
	Value string `json:"value" minLength:"1" maxLength:"500" doc:"As the provider says it."`
	Group string `json:"group" minLength:"1" maxLength:"100" doc:"By name."`
}

// ProviderPolicy says what a login with a provider counts for.
type ProviderPolicy struct {
	CreateUsers          bool     `json:"create_users,omitempty" doc:"Whoever is not known yet gets an account at the first login."`
	Sync                 bool     `json:"sync,omitempty" doc:"Name, verified address and telephone number follow the provider at each login."`
	AllowedDomains       []string `json:"allowed_domains,omitempty" maxItems:"100" doc:"Only people with a verified address of these domains sign in. Empty: all."`
	AuthoritativeDomains []string `json:"authoritative_domains,omitempty" maxItems:"100" doc:"Of these domains the provider has the word: who comes with a verified address of them is linked with the account that has the same verified address, without being asked to sign in to it. Never an administrator's."`
	RequiredACR          []string `json:"required_acr,omitempty" maxItems:"20" doc:"The login must have one of these classes. They are asked for."`
	RequiredAMR          []string `json:"required_amr,omitempty" maxItems:"20" doc:"The login must have used all of these methods."`
	SecondFactorACR      []string `json:"second_factor_acr,omitempty" maxItems:"20" doc:"A login of one of these classes counts as one with two factors here. They are asked for when two are needed."`
	SecondFactorAMR      []string `json:"second_factor_amr,omitempty" maxItems:"20" doc:"A login by one of these methods counts as one with two factors here, such as mfa."`
	NoAuthTime           bool     `json:"no_auth_time,omitempty" doc:"The provider does not tell when somebody signed in there: then a login with it counts as one of long ago, and serves for nothing that asks for a new one. Else a token that does not tell is refused."`
	TrustPromptLogin     bool     `json:"trust_prompt_login,omitempty" doc:"With no_auth_time: the provider is known to have people sign in anew when it is asked to (prompt=login), so that the return from that counts as a login just now."`
	OfferLogout          bool     `json:"offer_logout,omitempty" doc:"Whoever signs out here of a session that began there is offered to sign out there as well (OpenID Connect RP-Initiated Logout 1.0)."`
	Userinfo             bool     `json:"userinfo,omitempty" doc:"Claims are also asked for at the userinfo endpoint."`
}

// PutLoginProvider is the whole of what can be set of a provider.
type PutLoginProvider struct {
	Realm        string         `json:"realm" minLength:"1" maxLength:"41" doc:"It cannot be changed later."`
	Name         string         `json:"name" minLength:"1" maxLength:"60" doc:"What stands on the button." example:"Example Org"`
	Disabled     bool           `json:"disabled,omitempty" doc:"Nobody signs in with it, and sessions that began with it end."`
	Issuer       string         `json:"issuer" minLength:"1" maxLength:"400" doc:"It cannot be changed while people are linked." example:"https://login.example.org"`
	ClientID     string         `json:"client_id" minLength:"1" maxLength:"255"`
	ClientAuth   string         `json:"client_auth,omitempty" enum:"client_secret_basic,client_secret_post,private_key_jwt,none" doc:"client_secret_basic if there is a secret, else none. private_key_jwt is signed with the keys of this server's own key set."`
	ClientSecret string         `json:"client_secret,omitempty" maxLength:"1000" doc:"Left out: it stays as it is."`
	Scopes       []string       `json:"scopes,omitempty" maxItems:"30" doc:"openid, profile and email unless said otherwise."`
	Claims       ProviderClaims `json:"claims,omitempty"`
	Policy       ProviderPolicy `json:"policy,omitempty"`
}

// LoginProviders are all of them, by id.
type LoginProviders struct {
	Items []LoginProvider `json:"items"`
}

// ProviderCheck is what a provider's own documents say, fetched just now.
type ProviderCheck struct {
	OK                    bool     `json:"ok"`
	Problems              []string `json:"problems" doc:"What a login would fail for, in words."`
	AuthorizationEndpoint string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string   `json:"token_endpoint,omitempty"`
	Keys                  int      `json:"keys" doc:"Keys of its set that are of use here."`
	TellsIssuer           bool     `json:"tells_issuer" doc:"It names itself in each answer (RFC 9207)."`
}

// LinkedIdentity is somebody of a provider who a person is.
type LinkedIdentity struct {
	ID           string     `json:"id"`
	Provider     string     `json:"provider"`
	ProviderName string     `json:"provider_name"`
	Subject      string     `json:"subject"`
	Label        string     `json:"label" doc:"What the provider called the person when it was linked."`
	Created      time.Time  `json:"created"`
	LastUsed     *time.Time `json:"last_used,omitempty"`
}

// LinkedIdentities are those of one person.
type LinkedIdentities struct {
	Items []LinkedIdentity `json:"items"`
}
