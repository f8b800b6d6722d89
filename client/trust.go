package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// TrustedIssuers lists the issuers whose JWTs count as authorization. Access requirement: trust.manage.
func (c *Client) TrustedIssuers(ctx context.Context, o ...CallOption) (*api.TrustedIssuers, error) {
	return get[api.TrustedIssuers](ctx, c, nil, o, "trusted-issuers")
}

// TrustedIssuer reads one. Access requirement: trust.manage.
func (c *Client) TrustedIssuer(ctx context.Context, id string, o ...CallOption) (*api.TrustedIssuer, error) {
	return get[api.TrustedIssuer](ctx, c, nil, o, "trusted-issuers", id)
}

// PutTrustedIssuer trusts an issuer, or replaces all that is said of it. Access requirement: trust.manage.
func (c *Client) PutTrustedIssuer(ctx context.Context, id string, body api.PutTrustedIssuer, o ...CallOption) (*api.TrustedIssuer, error) {
	return put[api.TrustedIssuer](ctx, c, body, o, "trusted-issuers", id)
}

// DeleteTrustedIssuer trusts an issuer no more. Access requirement: trust.manage.
func (c *Client) DeleteTrustedIssuer(ctx context.Context, id string, o ...CallOption) error {
	return c.remove(ctx, o, "trusted-issuers", id)
}
