package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// UserAttributes reads the attributes of a person. Access requirement: user.manage.
func (c *Client) UserAttributes(ctx context.Context, userID string) (*api.UserAttributes, error) {
	return get[api.UserAttributes](ctx, c, nil, nil, "users", userID, "attributes")
}

// PutUserAttributes changes attributes of a person; what is not named stays. Access requirement: user.manage.
func (c *Client) PutUserAttributes(ctx context.Context, userID string, body api.PutUserAttributes) (*api.UserAttributes, error) {
	return put[api.UserAttributes](ctx, c, body, nil, "users", userID, "attributes")
}
