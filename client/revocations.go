package client

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
)

// Revoke ends tokens, and what they come from, on every node. Access requirement: token.revoke.
func (c *Client) Revoke(ctx context.Context, body api.Revoke) (*api.Revoked, error) {
	return post[api.Revoked](ctx, c, body, "revocations")
}

// Revocations lists a page of the revocations of many tokens that still count. Access requirement: token.revoke.
func (c *Client) Revocations(ctx context.Context, p Page) (*api.Revocations, error) {
	return get[api.Revocations](ctx, c, p.query(), nil, "revocations")
}

// RefreshRevocations has nodes and verifiers read all revocations again. Access requirement: token.revoke.
func (c *Client) RefreshRevocations(ctx context.Context, body api.RefreshRevocations) error {
	return c.do(ctx, call{method: http.MethodPost, path: []string{"revocations", "refresh"}, body: body}, nil)
}

// RevocationRules lists who besides administrators may revoke what. Access requirement: token.revoke.
func (c *Client) RevocationRules(ctx context.Context) (*api.RevocationRules, error) {
	return get[api.RevocationRules](ctx, c, nil, nil, "revocation-rules")
}

// CreateRevocationRule lets callers revoke tokens. Access requirement: token.revoke.
func (c *Client) CreateRevocationRule(ctx context.Context, body api.CreateRevocationRule) (*api.RevocationRule, error) {
	return post[api.RevocationRule](ctx, c, body, "revocation-rules")
}

// DeleteRevocationRule takes such a rule away. Access requirement: token.revoke.
func (c *Client) DeleteRevocationRule(ctx context.Context, id string) error {
	return c.remove(ctx, nil, "revocation-rules", id)
}
