package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// ClientSettings reads the settings of an application's OAuth client. Access requirement: application.read.
func (c *Client) ClientSettings(ctx context.Context, application string, o ...CallOption) (*api.ClientSettings, error) {
	return get[api.ClientSettings](ctx, c, nil, o, "applications", application, "client")
}

// PutClientSettings replaces the settings of an application's OAuth client. Access requirement: application.write.
func (c *Client) PutClientSettings(ctx context.Context, application string, body api.PutClientSettings, o ...CallOption) (*api.ClientSettings, error) {
	return put[api.ClientSettings](ctx, c, body, o, "applications", application, "client")
}
