package registry

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	TeamPath struct {
		ID string `path:"id" maxLength:"100" example:"shop"`
	}
	putTeamInput struct {
		TeamPath
		route.IfMatch
		Body api.PutTeam
	}
	teamOutput struct {
		route.Version
		Body api.Team
	}
	teamsOutput     struct{ Body api.Teams }
	ApplicationPath struct {
		ID string `path:"id" maxLength:"100" example:"sales-orders"`
	}
	putApplicationInput struct {
		ApplicationPath
		route.IfMatch
		Body api.PutApplication
	}
	applicationOutput struct {
		route.Version
		Body api.Application
	}
	listInput struct {
		route.Page
		Team            string    `query:"team_id" maxLength:"100"`
		IncidentContact string    `query:"incident_contact" maxLength:"200"`
		Active          string    `query:"active" enum:"true,false"`
		ModifiedBefore  time.Time `query:"modified_before" doc:"Inclusive."`
		ModifiedAfter   time.Time `query:"modified_after" doc:"Inclusive."`
		Search          string    `query:"search" maxLength:"300" doc:"Words that all stand somewhere in id, name, subtitle or description, whatever their case."`
	}
	applicationsOutput struct{ Body api.Applications }
	GrantPath          struct {
		ApplicationPath
		Scope string `path:"scope" maxLength:"200" doc:"Full name of the scope" example:"sales_order.read_all"`
	}
	grantOutput  struct{ Body api.Grant }
	grantsOutput struct{ Body api.Grants }
)

// Routes registers the registry's endpoints.
func (r *Registry) Routes(m *route.Mux) {
	op := func(method, path, id, summary string, action access.Action) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: action, Tags: []string{"Registry"}}
	}
	const teams, applications = "/api/teams", "/api/applications"
	route.Read(m, op(http.MethodGet, teams, "team.list", "List teams", access.ReadRegistry), r.getTeams)
	route.Read(m, op(http.MethodGet, teams+"/{id}", "team.get", "Read a team", access.ReadRegistry), r.getTeam)
	route.Write(m, op(http.MethodPut, teams+"/{id}", "team.put", "Create a team or replace all of it", access.WriteTeam), r.putTeam)
	route.Read(m, op(http.MethodGet, applications, "application.list", "List applications", access.ReadRegistry), r.getApplications)
	route.Read(m, op(http.MethodGet, applications+"/{id}", "application.get", "Read an application", access.ReadRegistry), r.getApplication)
	route.Write(m, op(http.MethodPut, applications+"/{id}", "application.put", "Register an application or change it", access.WriteApplication), r.putApplication)
	route.Read(m, op(http.MethodGet, applications+"/{id}/scopes", "grant.list", "List the scopes of an application", access.ReadRegistry), r.getScopes)
	route.Write(m, op(http.MethodPut, applications+"/{id}/scopes/{scope}", "grant.put", "Grant a scope to an application", access.GrantScope), r.putScope)
	route.Write(m, op(http.MethodDelete, applications+"/{id}/scopes/{scope}", "grant.delete", "Take a scope from an application", access.GrantScope), r.deleteScope)
	r.clientRoutes(m)
	r.standaloneRoutes(m)
	r.registrationTokenRoutes(m)
	r.registrationRoutes(m)
}

func (r *Registry) getTeams(ctx context.Context, tx db.ReadTx, c access.Caller, in *route.Page) (*teamsOutput, error) {
	after, err := in.After(1)
	if err != nil {
		return nil, err
	}
	list, err := r.ListTeams(ctx, tx, c, after[0], in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &teamsOutput{api.Teams{Items: []api.Team{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.NextCursor = route.Cursor(list[in.Limit-1].ID)
	}
	for _, t := range list {
		out.Body.Items = append(out.Body.Items, wireTeam(t))
	}
	return out, nil
}

func (r *Registry) getTeam(ctx context.Context, tx db.ReadTx, c access.Caller, in *TeamPath) (*teamOutput, error) {
	t, err := r.GetTeam(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	return &teamOutput{route.AtVersion(t.Revision), wireTeam(t)}, nil
}

func (r *Registry) putTeam(ctx context.Context, tx db.WriteTx, c access.Caller, in *putTeamInput) (*teamOutput, error) {
	team := Team{ID: in.ID, Name: in.Body.Name}
	for _, m := range in.Body.Members {
		// Without a slash between, the realm is what is there and the name is missing: both are refused below.
		realmName, username, _ := strings.Cut(strings.TrimPrefix(m, "/"), "/")
		team.Members = append(team.Members, Member{realmName, username})
	}
	t, err := r.PutTeam(ctx, tx, c, team, in.Check)
	if err != nil {
		return nil, err
	}
	return &teamOutput{route.AtVersion(t.Revision), wireTeam(t)}, nil
}

func (r *Registry) getApplications(ctx context.Context, tx db.ReadTx, c access.Caller, in *listInput) (*applicationsOutput, error) {
	after, err := in.After(1)
	if err != nil {
		return nil, err
	}
	f := Filter{
		Team: in.Team, IncidentContact: in.IncidentContact, ModifiedBefore: in.ModifiedBefore, ModifiedAfter: in.ModifiedAfter,
		Search: in.Search, After: after[0], Limit: in.Limit + 1,
	}
	if in.Active != "" {
		active := in.Active == "true"
		f.Active = &active
	}
	list, err := r.ListApplications(ctx, tx, c, f)
	if err != nil {
		return nil, err
	}
	out := &applicationsOutput{api.Applications{Items: []api.Application{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.NextCursor = route.Cursor(list[in.Limit-1].ID)
	}
	for _, a := range list {
		out.Body.Items = append(out.Body.Items, wireApplication(a))
	}
	return out, nil
}

func (r *Registry) getApplication(ctx context.Context, tx db.ReadTx, c access.Caller, in *ApplicationPath) (*applicationOutput, error) {
	a, err := r.GetApplication(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	return &applicationOutput{route.AtVersion(a.Revision), wireApplication(a)}, nil
}

func (r *Registry) putApplication(ctx context.Context, tx db.WriteTx, c access.Caller, in *putApplicationInput) (*applicationOutput, error) {
	b := in.Body
	a, err := r.PutApplication(ctx, tx, c, in.ID, Change{
		Team: b.TeamID, Active: b.Active, Name: b.Name, Subtitle: b.Subtitle, Description: b.Description,
		ServiceURL: b.ServiceURL, SCMURL: b.SCMURL, DocumentationURL: b.DocumentationURL, SpecificationURL: b.SpecificationURL,
		SpecificationType: b.SpecificationType, SupportURL: b.SupportURL, IncidentContact: b.IncidentContact,
		CriticalityLevel: b.CriticalityLevel, PubliclyAccessible: b.PubliclyAccessible, Confidential: b.IsClientConfidential,
	}, in.Check)
	if err != nil {
		return nil, err
	}
	return &applicationOutput{route.AtVersion(a.Revision), wireApplication(a)}, nil
}

func (r *Registry) getScopes(ctx context.Context, tx db.ReadTx, c access.Caller, in *ApplicationPath) (*grantsOutput, error) {
	list, err := r.Scopes(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	out := &grantsOutput{api.Grants{Items: []api.Grant{}}}
	for _, g := range list {
		out.Body.Items = append(out.Body.Items, wireGrant(g))
	}
	return out, nil
}

func (r *Registry) putScope(ctx context.Context, tx db.WriteTx, c access.Caller, in *GrantPath) (*grantOutput, error) {
	g, err := r.PutScope(ctx, tx, c, in.ID, in.Scope)
	if err != nil {
		return nil, err
	}
	return &grantOutput{wireGrant(g)}, nil
}

func (r *Registry) deleteScope(ctx context.Context, tx db.WriteTx, c access.Caller, in *GrantPath) (*struct{}, error) {
	return nil, r.DeleteScope(ctx, tx, c, in.ID, in.Scope)
}

func wireTeam(t Team) api.Team {
	return api.Team{
		ID: t.ID, Name: t.Name, Members: names(t.Members),
		Created: t.Created, CreatedBy: t.CreatedBy, LastModified: t.Modified, LastModifiedBy: t.ModifiedBy,
	}
}

func wireApplication(a Application) api.Application {
	w := api.Application{
		ID: a.ID, TeamID: a.Team, Active: a.Active, Name: a.Name, Subtitle: a.Subtitle, Description: a.Description,
		ServiceURL: a.ServiceURL, SCMURL: a.SCMURL, DocumentationURL: a.DocumentationURL, SpecificationURL: a.SpecificationURL,
		SpecificationType: a.SpecificationType, SupportURL: a.SupportURL, IncidentContact: a.IncidentContact,
		PubliclyAccessible: a.PubliclyAccessible, IsClientConfidential: a.Confidential, ClientID: a.ClientID, ServiceUsername: a.ServiceUsername,
		Created: a.Created, CreatedBy: a.CreatedBy, LastModified: a.Modified, LastModifiedBy: a.ModifiedBy,
	}
	if a.CriticalityLevel != 0 {
		w.CriticalityLevel = &a.CriticalityLevel
	}
	return w
}

func wireGrant(g Grant) api.Grant {
	kind := "application"
	if g.ResourceOwnerScope {
		kind = "resource_owner"
	}
	return api.Grant{Scope: g.Scope, Kind: kind, GrantedBy: g.By, Granted: g.At}
}
