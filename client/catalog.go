package client

import (
	"context"

	"github.com/mintmark/mintmark/api"
)

// ResourceTypes lists a page of resource types. Access requirement: catalog.read.
func (c *Client) ResourceTypes(ctx context.Context, p Page) (*api.ResourceTypes, error) {
	return get[api.ResourceTypes](ctx, c, p.query(), nil, "resource-types")
}

// ResourceType reads one resource type. Access requirement: catalog.read.
func (c *Client) ResourceType(ctx context.Context, id string, o ...CallOption) (*api.ResourceType, error) {
	return get[api.ResourceType](ctx, c, nil, o, "resource-types", id)
}

// PutResourceType creates or changes a resource type. Access requirement: catalog.write.
func (c *Client) PutResourceType(ctx context.Context, id string, body api.PutResourceType, o ...CallOption) (*api.ResourceType, error) {
	return put[api.ResourceType](ctx, c, body, o, "resource-types", id)
}

// DeleteResourceType deletes a resource type and its scopes, unless somebody holds one. Access requirement: catalog.write.
func (c *Client) DeleteResourceType(ctx context.Context, id string, o ...CallOption) error {
	return c.remove(ctx, o, "resource-types", id)
}

// Scopes lists the scopes of a resource type. Access requirement: catalog.read.
func (c *Client) Scopes(ctx context.Context, resourceType string) (*api.Scopes, error) {
	return get[api.Scopes](ctx, c, nil, nil, "resource-types", resourceType, "scopes")
}

// Scope reads one scope of a resource type. Access requirement: catalog.read.
func (c *Client) Scope(ctx context.Context, resourceType, id string, o ...CallOption) (*api.Scope, error) {
	return get[api.Scope](ctx, c, nil, o, "resource-types", resourceType, "scopes", id)
}

// PutScope creates or changes a scope. Access requirement: catalog.write.
func (c *Client) PutScope(ctx context.Context, resourceType, id string, body api.PutScope, o ...CallOption) (*api.Scope, error) {
	return put[api.Scope](ctx, c, body, o, "resource-types", resourceType, "scopes", id)
}

// DeleteScope deletes a scope that nobody holds. Access requirement: catalog.write.
func (c *Client) DeleteScope(ctx context.Context, resourceType, id string, o ...CallOption) error {
	return c.remove(ctx, o, "resource-types", resourceType, "scopes", id)
}
