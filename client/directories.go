package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// Directories lists the directories that realms take their people from. Access requirement: user.manage.
func (c *Client) Directories(ctx context.Context) (*api.Directories, error) {
	return get[api.Directories](ctx, c, nil, nil, "directories")
}

// TestDirectory asks a directory whether it answers, and what it says of a name. Access requirement: user.manage.
func (c *Client) TestDirectory(ctx context.Context, realm string, body api.TestDirectory) (*api.DirectoryTest, error) {
	return post[api.DirectoryTest](ctx, c, body, "directories", realm, "test")
}

// SyncDirectory compares the people of a realm with their directory, or tells what that would do. Access requirement:
// user.manage.
func (c *Client) SyncDirectory(ctx context.Context, realm string, body api.SyncDirectory) (*api.DirectorySync, error) {
	return post[api.DirectorySync](ctx, c, body, "directories", realm, "sync")
}
