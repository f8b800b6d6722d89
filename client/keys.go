package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// SigningKeys lists the signing keys, newest first. Access requirement: key.read.
func (c *Client) SigningKeys(ctx context.Context) (*api.SigningKeys, error) {
	return get[api.SigningKeys](ctx, c, nil, nil, "keys")
}

// RotateSigningKey asks for a new signing key, which signs when every verifier can know it, or at once in an emergency.
// Access requirement: key.rotate.
func (c *Client) RotateSigningKey(ctx context.Context, which api.RotateSigningKey) (*api.SigningKey, error) {
	return post[api.SigningKey](ctx, c, which, "keys", "rotations")
}

// RevokeSigningKey withdraws a key that is no longer trusted: every token that it signed becomes invalid. Access
// requirement: key.rotate.
func (c *Client) RevokeSigningKey(ctx context.Context, kid string) error {
	return c.remove(ctx, nil, "keys", kid)
}
