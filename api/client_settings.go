package api

import "time"

// ClientSettings are what an application's OAuth client is allowed to do and how it shows itself to people.
type ClientSettings struct {
	ClientID               string    `json:"client_id" doc:"It stays the same when the secret rotates."`
	Name                   string    `json:"name" doc:"What people read when they are asked for their consent. Empty: the application's name."`
	Confidential           bool      `json:"confidential" doc:"Whether it has a secret; set with the application."`
	RedirectURIs           []string  `json:"redirect_uris" doc:"Where people are sent back to after signing in."`
	PostLogoutRedirectURIs []string  `json:"post_logout_redirect_uris" doc:"Where people are sent back to after signing out."`
	GrantTypes             []string  `json:"grant_types" doc:"authorization_code, client_credentials, password."`
	RefreshTokens          string    `json:"refresh_tokens" enum:"never,offline_access,always" doc:"When signing a person in gives a refresh token: never; if the person allows scope offline_access; or always."`
	ResourceOwnerScopes    []string  `json:"resource_owner_scopes" doc:"What it may ask a person for, besides openid, profile, email, offline_access and uid; set among the application's scopes."`
	LastModified           time.Time `json:"last_modified,omitzero"`
	LastModifiedBy         string    `json:"last_modified_by,omitempty"`
}

// PutClientSettings is the whole of what can be set of a client. A list that is absent becomes empty; without
// grant_types a client may what it may by default, which is to act for its own application.
type PutClientSettings struct {
	Name                   string   `json:"name,omitempty" maxLength:"128"`
	RedirectURIs           []string `json:"redirect_uris,omitempty" maxItems:"50" doc:"https, a scheme of a native app's own such as com.example.app, or http on localhost, 127.0.0.1 or [::1], where any port is accepted. Compared byte by byte."`
	PostLogoutRedirectURIs []string `json:"post_logout_redirect_uris,omitempty" maxItems:"50"`
	GrantTypes             []string `json:"grant_types,omitempty" maxItems:"8" doc:"authorization_code, client_credentials, password."`
	RefreshTokens          string   `json:"refresh_tokens,omitempty" enum:"never,offline_access,always" doc:"offline_access unless said otherwise."`
}
