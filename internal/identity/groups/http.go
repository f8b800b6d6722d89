package groups

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	GroupPath struct {
		ID string `path:"id" maxLength:"40" example:"grp_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	MemberPath struct {
		GroupPath
		User string `path:"user" maxLength:"40" example:"usr_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	listInput struct {
		route.Page
		Realm  string `query:"realm" maxLength:"41"`
		Search string `query:"search" maxLength:"200" doc:"Groups whose name begins so; case and accents do not count. Needs realm."`
	}
	membersInput struct {
		GroupPath
		route.Page
	}
	createInput struct{ Body api.CreateGroup }
	updateInput struct {
		GroupPath
		Body api.UpdateGroup
	}
	groupOutput   struct{ Body api.Group }
	groupsOutput  struct{ Body api.Groups }
	membersOutput struct{ Body api.GroupMembers }
)

// Routes registers the endpoints.
func (s *Service) Routes(m *route.Mux) {
	op := func(method, path, id, summary string, status int) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: access.ManageGroups, Status: status, Tags: []string{"People"}}
	}
	const groups = "/api/groups"
	route.Read(m, op(http.MethodGet, groups, "group.list", "List groups, or search them", 0), s.list)
	route.Write(m, op(http.MethodPost, groups, "group.create", "Make a group", http.StatusCreated), s.create)
	route.Read(m, op(http.MethodGet, groups+"/{id}", "group.get", "Read a group", 0), s.get)
	route.Write(m, op(http.MethodPut, groups+"/{id}", "group.update", "Change name and description of a group", 0), s.update)
	route.Write(m, op(http.MethodDelete, groups+"/{id}", "group.delete", "Delete a group", http.StatusNoContent), s.remove)
	route.Read(m, op(http.MethodGet, groups+"/{id}/members", "group.list_members", "List who is in a group", 0), s.listMembers)
	route.Write(m, op(http.MethodPut, groups+"/{id}/members/{user}", "group.add_member", "Put a person into a group", http.StatusNoContent), s.putMember)
	route.Write(m, op(http.MethodDelete, groups+"/{id}/members/{user}", "group.remove_member", "Take a person out of a group", http.StatusNoContent), s.deleteMember)
	route.Read(m, op(http.MethodGet, "/api/users/{id}/groups", "user.list_groups", "List the groups that a person is in", 0), s.ofPerson)
}

func wire(g Group) api.Group {
	return api.Group{ID: g.ID, Realm: g.Realm, Name: g.Name, Description: g.Description, Created: g.Created, CreatedBy: g.CreatedBy}
}

func (s *Service) list(ctx context.Context, tx db.ReadTx, c access.Caller, in *listInput) (*groupsOutput, error) {
	after, err := in.After(2)
	if err != nil {
		return nil, err
	}
	f := Filter{Search: in.Search, AfterRealm: after[0], AfterK: after[1], Limit: in.Limit + 1}
	if in.Realm != "" {
		r, err := s.realms.Lookup(in.Realm)
		if err != nil || r.Kind != realm.People {
			return nil, fault.InvalidAt("query.realm", "realm", "There is no such realm of people.")
		}
		f.Realm = r.Name
	}
	list, err := s.List(ctx, tx, c, f)
	if err != nil {
		return nil, err
	}
	out := &groupsOutput{api.Groups{Items: []api.Group{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		last := list[in.Limit-1]
		out.Body.NextCursor = route.Cursor(last.Realm, identity.Fold(last.Name))
	}
	for _, g := range list {
		out.Body.Items = append(out.Body.Items, wire(g))
	}
	return out, nil
}

func (s *Service) create(ctx context.Context, tx db.WriteTx, c access.Caller, in *createInput) (*groupOutput, error) {
	g, err := s.Create(ctx, tx, c, Group{Realm: in.Body.Realm, Name: in.Body.Name, Description: in.Body.Description})
	if err != nil {
		return nil, err
	}
	return &groupOutput{wire(g)}, nil
}

func (s *Service) get(ctx context.Context, tx db.ReadTx, c access.Caller, in *GroupPath) (*groupOutput, error) {
	g, err := s.Get(ctx, tx, c, in.ID)
	if err != nil {
		return nil, err
	}
	return &groupOutput{wire(g)}, nil
}

func (s *Service) update(ctx context.Context, tx db.WriteTx, c access.Caller, in *updateInput) (*groupOutput, error) {
	g, err := s.Update(ctx, tx, c, in.ID, in.Body.Name, in.Body.Description)
	if err != nil {
		return nil, err
	}
	return &groupOutput{wire(g)}, nil
}

func (s *Service) remove(ctx context.Context, tx db.WriteTx, c access.Caller, in *GroupPath) (*struct{}, error) {
	return nil, s.Delete(ctx, tx, c, in.ID)
}

func (s *Service) listMembers(ctx context.Context, tx db.ReadTx, c access.Caller, in *membersInput) (*membersOutput, error) {
	after, err := in.After(1)
	if err != nil {
		return nil, err
	}
	list, err := s.Members(ctx, tx, c, in.ID, after[0], in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &membersOutput{api.GroupMembers{Items: []api.GroupMember{}}}
	if len(list) > in.Limit {
		list = list[:in.Limit]
		out.Body.NextCursor = route.Cursor(list[in.Limit-1].User.ID)
	}
	for _, m := range list {
		out.Body.Items = append(out.Body.Items, api.GroupMember{
			UserID: m.User.ID, Realm: m.User.Realm, Username: m.User.Username, DisplayName: m.User.DisplayName, Added: m.Added, AddedBy: m.AddedBy})
	}
	return out, nil
}

func (s *Service) putMember(ctx context.Context, tx db.WriteTx, c access.Caller, in *MemberPath) (*struct{}, error) {
	return nil, s.Add(ctx, tx, c, in.ID, in.User)
}

func (s *Service) deleteMember(ctx context.Context, tx db.WriteTx, c access.Caller, in *MemberPath) (*struct{}, error) {
	return nil, s.Remove(ctx, tx, c, in.ID, in.User)
}

func (s *Service) ofPerson(ctx context.Context, tx db.ReadTx, c access.Caller, in *identity.UserPath) (*groupsOutput, error) {
	if err := allow(c, ""); err != nil {
		return nil, err
	}
	if _, err := identity.LoadPerson(ctx, tx, in.ID); err != nil {
		return nil, err
	}
	list, err := Of(ctx, tx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &groupsOutput{api.Groups{Items: []api.Group{}}}
	for _, g := range list {
		out.Body.Items = append(out.Body.Items, wire(g))
	}
	return out, nil
}
