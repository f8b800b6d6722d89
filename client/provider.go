package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// LoginProviders lists the OpenID providers with which people sign in. Access requirement: provider.manage.
func (c *Client) LoginProviders(ctx context.Context, o ...CallOption) (*api.LoginProviders, error) {
	return get[api.LoginProviders](ctx, c, nil, o, "providers")
}

// LoginProvider reads one. Access requirement: provider.manage.
func (c *Client) LoginProvider(ctx context.Context, id string, o ...CallOption) (*api.LoginProvider, error) {
	return get[api.LoginProvider](ctx, c, nil, o, "providers", id)
}

// PutLoginProvider makes a provider, or replaces all that is said of it but a secret that is left out. Access
// requirement: provider.manage.
func (c *Client) PutLoginProvider(ctx context.Context, id string, body api.PutLoginProvider, o ...CallOption) (*api.LoginProvider, error) {
	return put[api.LoginProvider](ctx, c, body, o, "providers", id)
}

// DeleteLoginProvider removes a provider, unlinks everybody from it and ends the sessions that began with it. Access
// requirement: provider.manage.
func (c *Client) DeleteLoginProvider(ctx context.Context, id string, o ...CallOption) error {
	return c.remove(ctx, o, "providers", id)
}

// CheckLoginProvider fetches a provider's documents and tells what a login would fail for. Access requirement:
// provider.manage.
func (c *Client) CheckLoginProvider(ctx context.Context, id string) (*api.ProviderCheck, error) {
	return post[api.ProviderCheck](ctx, c, nil, "providers", id, "check")
}

// LinkedIdentities lists who somebody is at providers. Access requirement: user.manage.
func (c *Client) LinkedIdentities(ctx context.Context, userID string, o ...CallOption) (*api.LinkedIdentities, error) {
	return get[api.LinkedIdentities](ctx, c, nil, o, "users", userID, "identities")
}

// UnlinkIdentity has somebody of a provider be nobody here any more. Access requirement: user.manage.
func (c *Client) UnlinkIdentity(ctx context.Context, userID, id string, o ...CallOption) error {
	return c.remove(ctx, o, "users", userID, "identities", id)
}
