package client

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
)

// Approvals lists what a person has allowed clients to do. Access requirement: user.manage.
func (c *Client) Approvals(ctx context.Context, user string) (*api.Approvals, error) {
	return get[api.Approvals](ctx, c, nil, nil, "users", user, "approvals")
}

// WithdrawApproval takes back what a person has allowed a client, and ends every token that came of it. Access
// requirement: user.manage.
func (c *Client) WithdrawApproval(ctx context.Context, user, clientID string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"users", user, "approvals", clientID}}, nil)
}
