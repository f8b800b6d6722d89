package catalog

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	TypePath struct {
		ID string `path:"id" maxLength:"100" doc:"Id of the resource type" example:"sales_order"`
	}
	ScopePath struct {
		TypePath
		Scope string `path:"scope" maxLength:"64" doc:"Id of the scope" example:"read_all"`
	}
	putTypeInput struct {
		TypePath
		route.IfMatch
		Body api.PutResourceType
	}
	deleteTypeInput struct {
		TypePath
		route.IfMatch
	}
	putScopeInput struct {
		ScopePath
		route.IfMatch
		Body api.PutScope
	}
	deleteScopeInput struct {
		ScopePath
		route.IfMatch
	}
	typeOutput struct {
		route.Version
		Body api.ResourceType
	}
	typesOutput struct{ Body api.ResourceTypes }
	scopeOutput struct {
		route.Version
		Body api.Scope
	}
	scopesOutput struct{ Body api.Scopes }
)

const base = "/api/resource-types"

// Routes registers the catalog's endpoints.
func (c *Catalog) Routes(m *route.Mux) {
	op := func(method, path, id, summary string, action access.Action) route.Op {
		return route.Op{Method: method, Path: base + path, ID: id, Summary: summary, Action: action, Tags: []string{"Catalog"}}
	}
	route.Read(m, op(http.MethodGet, "", "resource_type.list", "List resource types", access.ReadCatalog), c.getTypes)
	route.Read(m, op(http.MethodGet, "/{id}", "resource_type.get", "Read a resource type", access.ReadCatalog), c.getType)
	route.Write(m, op(http.MethodPut, "/{id}", "resource_type.put", "Create a resource type or replace all of it", access.WriteCatalog), c.putType)
	route.Write(m, op(http.MethodDelete, "/{id}", "resource_type.delete", "Delete a resource type and its scopes, unless somebody holds one", access.WriteCatalog), c.deleteType)
	route.Read(m, op(http.MethodGet, "/{id}/scopes", "scope.list", "List the scopes of a resource type", access.ReadCatalog), c.getScopes)
	route.Read(m, op(http.MethodGet, "/{id}/scopes/{scope}", "scope.get", "Read a scope", access.ReadCatalog), c.getScope)
	route.Write(m, op(http.MethodPut, "/{id}/scopes/{scope}", "scope.put", "Create a scope or replace all of it", access.WriteCatalog), c.putScope)
	route.Write(m, op(http.MethodDelete, "/{id}/scopes/{scope}", "scope.delete", "Delete a scope, unless somebody holds it", access.WriteCatalog), c.deleteScope)
}

func (c *Catalog) getTypes(ctx context.Context, tx db.ReadTx, caller access.Caller, in *route.Page) (*typesOutput, error) {
	after, err := in.After(1)
	if err != nil {
		return nil, err
	}
	list, err := c.Types(ctx, tx, caller, after[0], in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &typesOutput{Body: api.ResourceTypes{Items: []api.ResourceType{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.NextCursor = route.Cursor(list[in.Limit-1].ID)
	}
	for _, t := range list {
		wire, err := c.wireType(ctx, tx, t)
		if err != nil {
			return nil, err
		}
		out.Body.Items = append(out.Body.Items, wire)
	}
	return out, nil
}

func (c *Catalog) getType(ctx context.Context, tx db.ReadTx, caller access.Caller, in *TypePath) (*typeOutput, error) {
	t, err := c.Type(ctx, tx, caller, in.ID)
	if err != nil {
		return nil, err
	}
	return c.typeOutput(ctx, tx, t)
}

func (c *Catalog) putType(ctx context.Context, tx db.WriteTx, caller access.Caller, in *putTypeInput) (*typeOutput, error) {
	t, err := c.PutType(ctx, tx, caller, ResourceType{
		ID: in.ID, Name: in.Body.Name, Description: in.Body.Description,
		ResourceOwners: in.Body.ResourceOwners, OwningTeam: in.Body.TeamID,
	}, in.IfMatch)
	if err != nil {
		return nil, err
	}
	return c.typeOutput(ctx, tx, t)
}

func (c *Catalog) deleteType(ctx context.Context, tx db.WriteTx, caller access.Caller, in *deleteTypeInput) (*struct{}, error) {
	return nil, c.DeleteType(ctx, tx, caller, in.ID, in.IfMatch)
}

func (c *Catalog) getScopes(ctx context.Context, tx db.ReadTx, caller access.Caller, in *TypePath) (*scopesOutput, error) {
	list, err := c.Scopes(ctx, tx, caller, in.ID)
	if err != nil {
		return nil, err
	}
	out := &scopesOutput{Body: api.Scopes{Items: []api.Scope{}}}
	for _, s := range list {
		out.Body.Items = append(out.Body.Items, wireScope(s))
	}
	return out, nil
}

func (c *Catalog) getScope(ctx context.Context, tx db.ReadTx, caller access.Caller, in *ScopePath) (*scopeOutput, error) {
	s, err := c.Scope(ctx, tx, caller, in.ID, in.Scope)
	if err != nil {
		return nil, err
	}
	return &scopeOutput{route.AtVersion(s.Revision), wireScope(s)}, nil
}

func (c *Catalog) putScope(ctx context.Context, tx db.WriteTx, caller access.Caller, in *putScopeInput) (*scopeOutput, error) {
	s, err := c.PutScope(ctx, tx, caller, Scope{
		ResourceType: in.ID, ID: in.Scope, Summary: in.Body.Summary, Description: in.Body.Description, UserInformation: in.Body.UserInformation,
		IsResourceOwnerScope: in.Body.IsResourceOwnerScope, CriticalityLevel: in.Body.CriticalityLevel,
	}, in.IfMatch)
	if err != nil {
		return nil, err
	}
	return &scopeOutput{route.AtVersion(s.Revision), wireScope(s)}, nil
}

func (c *Catalog) deleteScope(ctx context.Context, tx db.WriteTx, caller access.Caller, in *deleteScopeInput) (*struct{}, error) {
	return nil, c.DeleteScope(ctx, tx, caller, in.ID, in.Scope, in.IfMatch)
}

func (c *Catalog) typeOutput(ctx context.Context, tx db.ReadTx, t ResourceType) (*typeOutput, error) {
	wire, err := c.wireType(ctx, tx, t)
	if err != nil {
		return nil, err
	}
	return &typeOutput{route.AtVersion(t.Revision), wire}, nil
}

func (c *Catalog) wireType(ctx context.Context, tx db.ReadTx, t ResourceType) (api.ResourceType, error) {
	team, byApplication, err := c.Owner(ctx, tx, t)
	if err != nil {
		return api.ResourceType{}, err
	}
	owned := "team"
	if byApplication {
		owned = "application"
	}
	return api.ResourceType{
		ID: t.ID, Name: t.Name, Description: t.Description, ResourceOwners: t.ResourceOwners, TeamID: team, OwnedBy: owned,
		Created: t.Created, CreatedBy: t.CreatedBy, LastModified: t.Modified, LastModifiedBy: t.ModifiedBy,
	}, nil
}

func wireScope(s Scope) api.Scope {
	return api.Scope{
		ID: s.ID, ResourceType: s.ResourceType, Summary: s.Summary, Description: s.Description, UserInformation: s.UserInformation,
		IsResourceOwnerScope: s.IsResourceOwnerScope, CriticalityLevel: s.CriticalityLevel,
		Created: s.Created, CreatedBy: s.CreatedBy, LastModified: s.Modified, LastModifiedBy: s.ModifiedBy,
	}
}
