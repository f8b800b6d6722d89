package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/mintmark/mintmark/api"
)

// Page asks for a part of a list. The zero value asks for the first, as long as the server likes.
type Page struct {
	Cursor string // what Next of the page before said
	Limit  int
}

func (p Page) query() url.Values {
	q := url.Values{}
	if p.Cursor != "" {
		q.Set("cursor", p.Cursor)
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

func get[T any](ctx context.Context, c *Client, query url.Values, path ...string) (*T, error) {
	out := new(T)
	if _, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// put writes a whole thing. With an entity tag it is changed only if it still is as it was read with that tag.
func put[T any](ctx context.Context, c *Client, etag string, body any, path ...string) (*T, error) {
	out := new(T)
	if _, err := c.do(ctx, call{method: http.MethodPut, path: path, body: body, ifMatch: etag}, out); err != nil {
		return nil, err
	}
	return out, nil
}

func post[T any](ctx context.Context, c *Client, body any, path ...string) (*T, error) {
	out := new(T)
	if _, err := c.do(ctx, call{method: http.MethodPost, path: path, body: body}, out); err != nil {
		return nil, err
	}
	return out, nil
}

func (c *Client) remove(ctx context.Context, path ...string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: path}, nil)
	return err
}

// ResourceTypes lists a page of resource types. Access requirement: catalog.read.
func (c *Client) ResourceTypes(ctx context.Context, p Page) (*api.ResourceTypes, error) {
	return get[api.ResourceTypes](ctx, c, p.query(), "resource-types")
}

// ResourceType reads one resource type. Access requirement: catalog.read.
func (c *Client) ResourceType(ctx context.Context, id string) (*api.ResourceType, error) {
	return get[api.ResourceType](ctx, c, nil, "resource-types", id)
}

// PutResourceType creates or changes a resource type. Access requirement: catalog.write.
func (c *Client) PutResourceType(ctx context.Context, id string, body api.PutResourceType) (*api.ResourceType, error) {
	return put[api.ResourceType](ctx, c, "", body, "resource-types", id)
}

// DeleteResourceType deletes a resource type that has no scopes in use. Access requirement: catalog.write.
func (c *Client) DeleteResourceType(ctx context.Context, id string) error {
	return c.remove(ctx, "resource-types", id)
}

// Scopes lists the scopes of a resource type. Access requirement: catalog.read.
func (c *Client) Scopes(ctx context.Context, resourceType string) (*api.Scopes, error) {
	return get[api.Scopes](ctx, c, nil, "resource-types", resourceType, "scopes")
}

// Scope reads one scope of a resource type. Access requirement: catalog.read.
func (c *Client) Scope(ctx context.Context, resourceType, id string) (*api.Scope, error) {
	return get[api.Scope](ctx, c, nil, "resource-types", resourceType, "scopes", id)
}

// PutScope creates or changes a scope. Access requirement: catalog.write.
func (c *Client) PutScope(ctx context.Context, resourceType, id string, body api.PutScope) (*api.Scope, error) {
	return put[api.Scope](ctx, c, "", body, "resource-types", resourceType, "scopes", id)
}

// DeleteScope deletes a scope that nobody holds. Access requirement: catalog.write.
func (c *Client) DeleteScope(ctx context.Context, resourceType, id string) error {
	return c.remove(ctx, "resource-types", resourceType, "scopes", id)
}
