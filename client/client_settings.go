package client

import (
	"context"
	"strings"

	"github.com/mintmark/mintmark/api"
)

// ClientSettings reads the settings of an application's OAuth client. Access requirement: application.read.
func (c *Client) ClientSettings(ctx context.Context, application string, o ...CallOption) (*api.ClientSettings, error) {
	return get[api.ClientSettings](ctx, c, nil, o, "applications", application, "client")
}

// PutClientSettings replaces the settings of an application's OAuth client. Access requirement: application.write; what
// makes a client trusted needs client.trust.
func (c *Client) PutClientSettings(ctx context.Context, application string, body api.PutClientSettings, o ...CallOption) (*api.ClientSettings, error) {
	return put[api.ClientSettings](ctx, c, body, o, "applications", application, "client")
}

// ClientQuery narrows a list of clients. The zero value narrows nothing.
type ClientQuery struct {
	Page
	Team      string
	Owner     string // id of a person
	Untrusted bool   // only those that strangers registered
}

// Clients lists a page of the clients that belong to no application. Access requirement: client.read.
func (c *Client) Clients(ctx context.Context, q ClientQuery) (*api.Clients, error) {
	query := q.query()
	if q.Team != "" {
		query.Set("team_id", q.Team)
	}
	if q.Owner != "" {
		query.Set("owner_id", q.Owner)
	}
	if q.Untrusted {
		query.Set("untrusted", "true")
	}
	return get[api.Clients](ctx, c, query, nil, "clients")
}

// CreateClient makes a client that belongs to no application; the secret of a confidential one is in this answer alone.
// Access requirement: client.write.
func (c *Client) CreateClient(ctx context.Context, body api.PostClient) (*api.Client, error) {
	return post[api.Client](ctx, c, body, "clients")
}

// Client reads a client that belongs to no application. Access requirement: client.read.
func (c *Client) Client(ctx context.Context, id string, o ...CallOption) (*api.Client, error) {
	return get[api.Client](ctx, c, nil, o, "clients", id)
}

// PutClient replaces what can be set of a client that belongs to no application. Access requirement: client.write.
func (c *Client) PutClient(ctx context.Context, id string, body api.PutClient, o ...CallOption) (*api.Client, error) {
	return put[api.Client](ctx, c, body, o, "clients", id)
}

// DeleteClient deletes a client that belongs to no application. Access requirement: client.write.
func (c *Client) DeleteClient(ctx context.Context, id string) error {
	return c.remove(ctx, nil, "clients", id)
}

// clientPath is where the API has a client: by its own id, or by its application's.
func clientPath(of string, more ...string) []string {
	if strings.HasPrefix(of, "cli_") { // no application's id has an underscore
		return append([]string{"clients", of}, more...)
	}
	return append([]string{"applications", of, "client"}, more...)
}

// ClientSecrets lists the labelled secrets of a client, without the secrets. of is the id of an application or of a client.
// Access requirement, here and below: application.write or client.write.
func (c *Client) ClientSecrets(ctx context.Context, of string) (*api.ClientSecrets, error) {
	return get[api.ClientSecrets](ctx, c, nil, nil, clientPath(of, "secrets")...)
}

// CreateClientSecret makes another secret; it is in this answer alone.
func (c *Client) CreateClientSecret(ctx context.Context, of string, body api.PostClientSecret) (*api.ClientSecret, error) {
	return post[api.ClientSecret](ctx, c, body, clientPath(of, "secrets")...)
}

// RevokeClientSecret ends a labelled secret: every node refuses it within a second.
func (c *Client) RevokeClientSecret(ctx context.Context, of, id string) error {
	return c.remove(ctx, nil, clientPath(of, "secrets", id)...)
}

// ClientKeys lists the public keys of a client.
func (c *Client) ClientKeys(ctx context.Context, of string) (*api.ClientKeys, error) {
	return get[api.ClientKeys](ctx, c, nil, nil, clientPath(of, "keys")...)
}

// AddClientKey adds a public key.
func (c *Client) AddClientKey(ctx context.Context, of string, body api.PostClientKey) (*api.ClientKey, error) {
	return post[api.ClientKey](ctx, c, body, clientPath(of, "keys")...)
}

// RemoveClientKey removes a public key: what it signs is refused by every node within a second.
func (c *Client) RemoveClientKey(ctx context.Context, of, id string) error {
	return c.remove(ctx, nil, clientPath(of, "keys", id)...)
}

// RegistrationTokens lists a page of the tokens with which clients may register, without the tokens. Access requirement,
// here and below: registration.manage.
func (c *Client) RegistrationTokens(ctx context.Context, p Page) (*api.RegistrationTokens, error) {
	return get[api.RegistrationTokens](ctx, c, p.query(), nil, "registration-tokens")
}

// CreateRegistrationToken makes one; it is in this answer alone.
func (c *Client) CreateRegistrationToken(ctx context.Context, body api.PostRegistrationToken) (*api.RegistrationToken, error) {
	return post[api.RegistrationToken](ctx, c, body, "registration-tokens")
}

// DeleteRegistrationToken ends one. What was registered with it stays.
func (c *Client) DeleteRegistrationToken(ctx context.Context, id string) error {
	return c.remove(ctx, nil, "registration-tokens", id)
}
