package api

import (
	"encoding/json"
	"time"
)

// Client is an OAuth client that belongs to no application.
type Client struct {
	ClientSettings
	TeamID            string    `json:"team_id,omitempty" doc:"The team that owns it."`
	OwnerID           string    `json:"owner_id,omitempty" doc:"The person who owns it."`
	Enabled           bool      `json:"enabled"`
	OwnerDisabled     bool      `json:"owner_disabled,omitempty" doc:"It is refused, because the person who owns it is disabled."`
	Untrusted         bool      `json:"untrusted" doc:"A stranger registered it: people are asked each time."`
	ApplicationScopes []string  `json:"application_scopes" doc:"What it may do on its own account."`
	Created           time.Time `json:"created"`
	CreatedBy         string    `json:"created_by"`
	Expires           time.Time `json:"expires,omitzero" doc:"When it is removed unless it was used by then."`
	Secret            string    `json:"client_secret,omitempty" doc:"Only in the answer to its creation."`
}

// Clients is a page of clients, by id.
type Clients struct {
	Items      []Client `json:"items"`
	NextCursor string   `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page. Absent on the last one."`
}

// PutClient is the whole of what can be set of a client without an application. A list that is absent becomes empty.
type PutClient struct {
	PutClientSettings
	Enabled             *bool    `json:"enabled,omitempty" doc:"A disabled client loses its secrets and keys. Absent: as it was; a new one is enabled."`
	ResourceOwnerScopes []string `json:"resource_owner_scopes,omitempty" maxItems:"500" doc:"What it may ask a person for, besides openid, profile, email, offline_access and uid."`
	ApplicationScopes   []string `json:"application_scopes,omitempty" maxItems:"500" doc:"What it may do on its own account. By an administrator."`
}

// PostClient makes a client without an application.
type PostClient struct {
	PutClient
	TeamID       string `json:"team_id,omitempty" maxLength:"100" doc:"The team that owns it. Absent: nobody, or owner_id; that is for administrators."`
	OwnerID      string `json:"owner_id,omitempty" maxLength:"40" doc:"The person who owns it."`
	Confidential bool   `json:"confidential,omitempty" doc:"Whether it keeps a secret. It stays as it is."`
}

// ClientSecret is a secret of a client beside the one that rotates.
type ClientSecret struct {
	ID        string    `json:"id"`
	Label     string    `json:"label"`
	Created   time.Time `json:"created"`
	CreatedBy string    `json:"created_by"`
	Expires   time.Time `json:"expires,omitzero"`
	LastUsed  time.Time `json:"last_used,omitzero" doc:"A second late."`
	Secret    string    `json:"client_secret,omitempty" doc:"Only in the answer to its creation."`
}

// ClientSecrets are those of one client, oldest first.
type ClientSecrets struct {
	Items []ClientSecret `json:"items"`
}

// PostClientSecret makes a secret.
type PostClientSecret struct {
	Label   string    `json:"label" minLength:"1" maxLength:"200" doc:"Where it is used, to know it again."`
	Expires time.Time `json:"expires,omitzero" doc:"Absent: never."`
}

// ClientKey is a public key of a client.
type ClientKey struct {
	ID        string          `json:"id"`
	Label     string          `json:"label"`
	Kid       string          `json:"kid" doc:"As the client's own tokens name it."`
	JWK       json.RawMessage `json:"jwk" doc:"RFC 7517."`
	Created   time.Time       `json:"created"`
	CreatedBy string          `json:"created_by"`
	Expires   time.Time       `json:"expires,omitzero"`
	LastUsed  time.Time       `json:"last_used,omitzero" doc:"A second late."`
}

// ClientKeys are those of one client, oldest first.
type ClientKeys struct {
	Items []ClientKey `json:"items"`
}

// PostClientKey adds a public key.
type PostClientKey struct {
	Label   string          `json:"label" minLength:"1" maxLength:"200"`
	JWK     json.RawMessage `json:"jwk" doc:"The public key alone, as a JSON object (RFC 7517): RSA of 2048 bits or more, EC on P-256, OKP on Ed25519. Without kid it gets its thumbprint."`
	Expires time.Time       `json:"expires,omitzero" doc:"Absent: never."`
}

// RegistrationToken lets clients register themselves (an initial access token of RFC 7591).
type RegistrationToken struct {
	ID            string    `json:"id"`
	Label         string    `json:"label"`
	TeamID        string    `json:"team_id,omitempty" doc:"The team that owns what is registered with it."`
	Scopes        []string  `json:"scopes"`
	GrantTypes    []string  `json:"grant_types"`
	RedirectHosts []string  `json:"redirect_hosts"`
	MaxUses       int64     `json:"max_uses"`
	Uses          int64     `json:"uses"`
	Created       time.Time `json:"created"`
	CreatedBy     string    `json:"created_by"`
	Expires       time.Time `json:"expires"`
	LastUsed      time.Time `json:"last_used,omitzero"`
	Token         string    `json:"token,omitempty" doc:"Only in the answer to its creation."`
}

// RegistrationTokens is a page of them, by id.
type RegistrationTokens struct {
	Items      []RegistrationToken `json:"items"`
	NextCursor string              `json:"next_cursor,omitempty" doc:"Pass it as cursor to get the next page. Absent on the last one."`
}

// PostRegistrationToken makes one.
type PostRegistrationToken struct {
	Label         string    `json:"label" minLength:"1" maxLength:"200"`
	TeamID        string    `json:"team_id,omitempty" maxLength:"100" doc:"The team that will own what is registered with it."`
	Scopes        []string  `json:"scopes,omitempty" maxItems:"100" doc:"Resource owner scopes that a client may ask people for, besides openid and its like."`
	GrantTypes    []string  `json:"grant_types,omitempty" maxItems:"8" doc:"Absent: authorization_code and the device grant."`
	RedirectHosts []string  `json:"redirect_hosts,omitempty" maxItems:"100" doc:"Hosts of redirect URIs; .example.org is each host below it. Absent: any."`
	MaxUses       int64     `json:"max_uses,omitempty" minimum:"0" maximum:"100000" doc:"How many clients may be registered with it. Absent: one."`
	Expires       time.Time `json:"expires,omitzero" doc:"Within a year. Absent: in 30 days."`
}
