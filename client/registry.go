package client

import (
	"context"
	"strconv"

	"github.com/mintmark/mintmark/api"
)

// Teams lists a page of teams. Access requirement: application.read.
func (c *Client) Teams(ctx context.Context, p Page) (*api.Teams, error) {
	return get[api.Teams](ctx, c, p.query(), nil, "teams")
}

// Team reads one team. Access requirement: application.read.
func (c *Client) Team(ctx context.Context, id string, o ...CallOption) (*api.Team, error) {
	return get[api.Team](ctx, c, nil, o, "teams", id)
}

// PutTeam creates or changes a team. Access requirement: team.write.
func (c *Client) PutTeam(ctx context.Context, id string, body api.PutTeam, o ...CallOption) (*api.Team, error) {
	return put[api.Team](ctx, c, body, o, "teams", id)
}

// ApplicationQuery narrows a list of applications. The zero value narrows nothing.
type ApplicationQuery struct {
	Page
	Search string // in id, name and texts
	Team   string
	Active *bool
}

// Applications lists a page of applications. Access requirement: application.read.
func (c *Client) Applications(ctx context.Context, q ApplicationQuery) (*api.Applications, error) {
	query := q.query()
	if q.Search != "" {
		query.Set("search", q.Search)
	}
	if q.Team != "" {
		query.Set("team_id", q.Team)
	}
	if q.Active != nil {
		query.Set("active", strconv.FormatBool(*q.Active))
	}
	return get[api.Applications](ctx, c, query, nil, "applications")
}

// Application reads one application. Access requirement: application.read.
func (c *Client) Application(ctx context.Context, id string, o ...CallOption) (*api.Application, error) {
	return get[api.Application](ctx, c, nil, o, "applications", id)
}

// PutApplication creates or changes an application; what is nil stays as it is. Its service user and its OAuth client
// come with it. Access requirement: application.write.
func (c *Client) PutApplication(ctx context.Context, id string, body api.PutApplication, o ...CallOption) (*api.Application, error) {
	return put[api.Application](ctx, c, body, o, "applications", id)
}

// Grants lists the scopes that an application holds. Access requirement: application.read.
func (c *Client) Grants(ctx context.Context, application string) (*api.Grants, error) {
	return get[api.Grants](ctx, c, nil, nil, "applications", application, "scopes")
}

// GrantScope gives an application a scope, such as sales_order.read_all. Access requirement: application.grant for
// application scopes, application.write for resource owner scopes.
func (c *Client) GrantScope(ctx context.Context, application, scope string) (*api.Grant, error) {
	return put[api.Grant](ctx, c, nil, nil, "applications", application, "scopes", scope)
}

// RevokeScope takes a scope from an application. Access requirement: as for GrantScope.
func (c *Client) RevokeScope(ctx context.Context, application, scope string) error {
	return c.remove(ctx, nil, "applications", application, "scopes", scope)
}
