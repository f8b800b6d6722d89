package client

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
)

// UserQuery narrows a list of people. The zero value narrows nothing.
type UserQuery struct {
	Page
	Realm    string
	Username string // in any form of it; needs Realm, and goes with nothing else
	Search   string // people whose username, address or name begins so
	Group    string // id of a group
	State    string // "enabled" or "disabled"
}

// Users lists a page of people. That of a search may be short, or empty, and yet have a cursor to read on from. Access requirement: user.manage.
func (c *Client) Users(ctx context.Context, q UserQuery) (*api.Users, error) {
	query := q.query()
	for name, value := range map[string]string{"realm": q.Realm, "username": q.Username, "search": q.Search, "state": q.State, "group": q.Group} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return get[api.Users](ctx, c, query, nil, "users")
}

// User reads one person. Access requirement: user.manage.
func (c *Client) User(ctx context.Context, id string) (*api.User, error) {
	return get[api.User](ctx, c, nil, nil, "users", id)
}

// CreateUser makes a person known. Access requirement: user.manage.
func (c *Client) CreateUser(ctx context.Context, body api.CreateUser) (*api.User, error) {
	return post[api.User](ctx, c, body, "users")
}

// SetUserPassword gives a person another password and ends all its sessions. Access requirement: user.manage.
func (c *Client) SetUserPassword(ctx context.Context, id string, body api.SetPassword) error {
	return c.do(ctx, call{method: http.MethodPut, path: []string{"users", id, "password"}, body: body}, nil)
}

// UpdateUser changes what is known of a person; what is nil stays. Access requirement: user.manage.
func (c *Client) UpdateUser(ctx context.Context, id string, body api.UpdateUser) (*api.User, error) {
	var u api.User
	if err := c.do(ctx, call{method: http.MethodPut, path: []string{"users", id}, body: body}, &u); err != nil {
		return nil, err
	}
	return &u, nil
}

// InviteUser sends somebody without a password a link to choose one. Access requirement: user.manage.
func (c *Client) InviteUser(ctx context.Context, id string) (*api.Invitation, error) {
	return post[api.Invitation](ctx, c, nil, "users", id, "invitation")
}

// BlockUser is DisableUser with a reason for other administrators. Access requirement: user.manage.
func (c *Client) BlockUser(ctx context.Context, id string, body api.DisableUser) (*api.User, error) {
	return post[api.User](ctx, c, body, "users", id, "disable")
}

// DisableUser refuses a person and ends its sessions and access keys. Access requirement: user.manage.
func (c *Client) DisableUser(ctx context.Context, id string) (*api.User, error) {
	return post[api.User](ctx, c, nil, "users", id, "disable")
}

// EnableUser accepts a person again. Access requirement: user.manage.
func (c *Client) EnableUser(ctx context.Context, id string) (*api.User, error) {
	return post[api.User](ctx, c, nil, "users", id, "enable")
}

// UserFactors lists what a person signs in with besides a password. Access requirement: user.manage.
func (c *Client) UserFactors(ctx context.Context, id string) (*api.Factors, error) {
	return get[api.Factors](ctx, c, nil, nil, "users", id, "factors")
}

// RemoveUserFactor takes one second factor off a person, and ends all its sessions. Access requirement: user.manage.
func (c *Client) RemoveUserFactor(ctx context.Context, id, factor string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"users", id, "factors", factor}}, nil)
}

// ResetUserFactors takes all second factors off a person who has lost them, and ends all its sessions. Access
// requirement: user.manage.
func (c *Client) ResetUserFactors(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"users", id, "factors"}}, nil)
}

// ImportUsers brings a batch of people in from another system. Sent again, it makes nobody twice. Access requirement:
// user.manage.
func (c *Client) ImportUsers(ctx context.Context, body api.ImportUsers) (*api.ImportedUsers, error) {
	return post[api.ImportedUsers](ctx, c, body, "users", "import")
}

// ExportUser gives out all that is held of a person. Access requirement: user.manage.
func (c *Client) ExportUser(ctx context.Context, id string) (*api.UserExport, error) {
	return post[api.UserExport](ctx, c, nil, "users", id, "export")
}

// EraseUser erases a person and all that is held of it; confirm is the username once more. Access requirement:
// user.manage.
func (c *Client) EraseUser(ctx context.Context, id, confirm string) error {
	return c.do(ctx, call{method: http.MethodPost, path: []string{"users", id, "erase"}, body: api.EraseUser{Confirm: confirm}}, nil)
}
