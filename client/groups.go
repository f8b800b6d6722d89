package client

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
)

// GroupQuery narrows a list of groups. The zero value narrows nothing.
type GroupQuery struct {
	Page
	Realm  string
	Search string // groups whose name begins so; needs Realm
}

// Groups lists a page of groups. Access requirement: group.manage.
func (c *Client) Groups(ctx context.Context, q GroupQuery) (*api.Groups, error) {
	query := q.query()
	for name, value := range map[string]string{"realm": q.Realm, "search": q.Search} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return get[api.Groups](ctx, c, query, nil, "groups")
}

// Group reads one group. Access requirement: group.manage.
func (c *Client) Group(ctx context.Context, id string) (*api.Group, error) {
	return get[api.Group](ctx, c, nil, nil, "groups", id)
}

// CreateGroup makes a group. Access requirement: group.manage.
func (c *Client) CreateGroup(ctx context.Context, body api.CreateGroup) (*api.Group, error) {
	return post[api.Group](ctx, c, body, "groups")
}

// UpdateGroup replaces name and description of a group. Access requirement: group.manage.
func (c *Client) UpdateGroup(ctx context.Context, id string, body api.UpdateGroup) (*api.Group, error) {
	return put[api.Group](ctx, c, body, nil, "groups", id)
}

// DeleteGroup deletes a group. Access requirement: group.manage.
func (c *Client) DeleteGroup(ctx context.Context, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"groups", id}}, nil)
}

// GroupMembers lists a page of who is in a group. Access requirement: group.manage.
func (c *Client) GroupMembers(ctx context.Context, id string, p Page) (*api.GroupMembers, error) {
	return get[api.GroupMembers](ctx, c, p.query(), nil, "groups", id, "members")
}

// AddGroupMember puts a person into a group. Access requirement: group.manage.
func (c *Client) AddGroupMember(ctx context.Context, id, userID string) error {
	return c.do(ctx, call{method: http.MethodPut, path: []string{"groups", id, "members", userID}}, nil)
}

// RemoveGroupMember takes a person out of a group. Access requirement: group.manage.
func (c *Client) RemoveGroupMember(ctx context.Context, id, userID string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: []string{"groups", id, "members", userID}}, nil)
}

// UserGroups lists the groups that a person is in. Access requirement: group.manage.
func (c *Client) UserGroups(ctx context.Context, userID string) (*api.Groups, error) {
	return get[api.Groups](ctx, c, nil, nil, "users", userID, "groups")
}
