package identity

import (
	"context"
	"net/http"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// What the endpoints take and give.
type (
	UserPath struct {
		ID string `path:"id" maxLength:"40" example:"usr_01k8p4x0v3c9m6t2r5w8y1z4q7"`
	}
	listUsersInput struct {
		route.Page
		Realm    string `query:"realm" maxLength:"41"`
		Username string `query:"username" maxLength:"400" doc:"The one person with this name, in any form of it; needs realm, and goes with nothing else."`
		Search   string `query:"search" maxLength:"200" doc:"People whose username, e-mail address, or name to show from any of its words on, begins so; case and accents do not count."`
		Group    string `query:"group" maxLength:"40" doc:"Only who is in the group with this id."`
		State    string `query:"state" enum:"enabled,disabled" doc:"Only those who can sign in, or those who are refused."`
	}
	createUserInput  struct{ Body api.CreateUser }
	setPasswordInput struct {
		UserPath
		Body api.SetPassword
	}
	updateUserInput struct {
		UserPath
		Body api.UpdateUser
	}
	disableUserInput struct {
		UserPath
		Body *api.DisableUser
	}
	userOutput  struct{ Body api.User }
	usersOutput struct{ Body api.Users }
)

// Routes registers the endpoints that manage people.
func (dir *Directory) Routes(m *route.Mux) {
	op := func(method, path, id, summary string, status int) route.Op {
		return route.Op{Method: method, Path: path, ID: id, Summary: summary, Action: access.ManageUsers, Status: status, Tags: []string{"People"}}
	}
	const users = "/api/users"
	route.Read(m, op(http.MethodGet, users, "user.list", "List people, or search them", 0), dir.getUsers)
	route.Do(m, op(http.MethodPost, users, "user.create", "Make a person known", http.StatusCreated), dir.postUser)
	route.Read(m, op(http.MethodGet, users+"/{id}", "user.get", "Read a person", 0), dir.getUser)
	route.Write(m, op(http.MethodPut, users+"/{id}", "user.update", "Change what is known of a person", 0), dir.putUser)
	route.Do(m, op(http.MethodPut, users+"/{id}/password", "user.set_password", "Give a person another password and end all sessions", http.StatusNoContent), dir.putPassword)
	route.Write(m, op(http.MethodPost, users+"/{id}/disable", "user.disable", "Refuse a person, and end its sessions and access keys", 0), dir.postDisable)
	route.Write(m, op(http.MethodPost, users+"/{id}/enable", "user.enable", "Accept a person again", 0), dir.postEnable)
}

func (dir *Directory) getUsers(ctx context.Context, tx db.ReadTx, c access.Caller, in *listUsersInput) (out *usersOutput, err error) {
	name := ""
	if in.Realm != "" {
		r, err := dir.o.Realms.Lookup(in.Realm)
		if err != nil || r.Kind != realm.People {
			return nil, fault.New(fault.Invalid, "realm", "There is no such realm of people.").At("query.realm", "not known")
		}
		name = r.Name
	}
	if in.searches() {
		return dir.searchUsers(ctx, tx, c, name, in)
	}
	return dir.listUsers(ctx, tx, c, name, in)
}

// searches tells whether the people are chosen by more than their realm and name.
func (in *listUsersInput) searches() bool { return in.Search+in.State+in.Group != "" }

func (dir *Directory) searchUsers(ctx context.Context, tx db.ReadTx, c access.Caller, realmName string, in *listUsersInput) (*usersOutput, error) {
	if in.Username != "" {
		return nil, fault.New(fault.Invalid, "username", "A username names one person: there is nothing to search for besides.").At("query.username", "excludes search and state")
	}
	after, err := in.After(3)
	if err != nil {
		return nil, err
	}
	found, err := dir.FindPeople(ctx, tx, c, Search{
		Realm: realmName, Text: in.Search, State: State(in.State), Group: in.Group, Limit: in.Limit, After: Place{after[0], after[1], after[2]}})
	if err != nil {
		return nil, err
	}
	out := wireUsers(found.People)
	if found.Next != (Place{}) {
		out.Body.NextCursor = route.Cursor(found.Next.Realm, found.Next.Key, found.Next.User)
	}
	return out, nil
}

func (dir *Directory) listUsers(ctx context.Context, tx db.ReadTx, c access.Caller, realmName string, in *listUsersInput) (*usersOutput, error) {
	after, err := in.After(2)
	if err != nil {
		return nil, err
	}
	f := PeopleFilter{Realm: realmName, AfterRealm: after[0], AfterUsername: after[1], Limit: in.Limit + 1}
	if in.Username != "" {
		if f.Realm == "" {
			return nil, fault.New(fault.Invalid, "realm", "A username is one within a realm: give the realm, too.").At("query.realm", "missing")
		}
		if f.Username, err = canonicalUsername(in.Username); err != nil {
			return nil, err
		}
	}
	list, err := ListPeople(ctx, tx, c, f)
	if err != nil {
		return nil, err
	}
	if len(list) <= in.Limit {
		return wireUsers(list), nil
	}
	out := wireUsers(list[:in.Limit])
	last := list[in.Limit-1]
	out.Body.NextCursor = route.Cursor(last.Realm, last.Username)
	return out, nil
}

func wireUsers(list []Person) *usersOutput {
	out := &usersOutput{api.Users{Items: []api.User{}}}
	for _, p := range list {
		out.Body.Items = append(out.Body.Items, wireUser(p))
	}
	return out
}

func (dir *Directory) getUser(ctx context.Context, tx db.ReadTx, c access.Caller, in *UserPath) (*userOutput, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: in.ID}); err != nil {
		return nil, err
	}
	return answerUser(ctx, tx, in.ID)
}

func answerUser(ctx context.Context, tx db.ReadTx, userID string) (*userOutput, error) {
	p, err := LoadPerson(ctx, tx, userID)
	if err != nil {
		return nil, err
	}
	return &userOutput{wireUser(p)}, nil
}

// postUser hashes before the transaction, which must not wait for it.
func (dir *Directory) postUser(ctx context.Context, c access.Caller, in *createUserInput) (out *userOutput, err error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user"}); err != nil {
		return nil, err
	}
	b := in.Body
	p := NewPerson{Realm: b.Realm, Username: b.Username, DisplayName: b.DisplayName, Email: b.Email, Phone: b.Phone, Address: b.Address, Admin: b.Admin}
	if _, _, err := dir.checked(p); err != nil {
		return nil, err
	}
	var h Hashed
	if b.Password != "" {
		if h, err = dir.HashPassword(ctx, dir.canonical(p.Realm), redact.New(b.Password), p.Words()...); err != nil {
			return nil, err
		}
	}
	err = dir.d.Write(ctx, func(tx db.WriteTx) error {
		u, err := dir.CreatePersonHashed(ctx, tx, c, p, h)
		if err != nil {
			return err
		}
		out, err = answerUser(ctx, tx, u.ID)
		return err
	})
	return out, err
}

func (dir *Directory) putPassword(ctx context.Context, c access.Caller, in *setPasswordInput) (*struct{}, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: in.ID}); err != nil {
		return nil, err
	}
	var words []string
	var u User
	err := dir.d.Read(ctx, func(tx db.ReadTx) (err error) {
		if u, err = loadPersonUser(ctx, tx, in.ID); err != nil {
			return err
		}
		words, err = PasswordWords(ctx, tx, in.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	h, err := dir.HashPassword(ctx, u.Realm, redact.New(in.Body.Password), words...)
	if err != nil {
		return nil, err
	}
	return nil, dir.d.Write(ctx, func(tx db.WriteTx) error { return dir.SetPasswordHashed(ctx, tx, c, in.ID, h) })
}

func (dir *Directory) putUser(ctx context.Context, tx db.WriteTx, c access.Caller, in *updateUserInput) (*userOutput, error) {
	b := in.Body
	if err := dir.UpdatePerson(ctx, tx, c, in.ID, PersonUpdate{DisplayName: b.DisplayName, Email: b.Email, Phone: b.Phone, Address: b.Address}); err != nil {
		return nil, err
	}
	return answerUser(ctx, tx, in.ID)
}

func (dir *Directory) postDisable(ctx context.Context, tx db.WriteTx, c access.Caller, in *disableUserInput) (*userOutput, error) {
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	if err := dir.BlockPerson(ctx, tx, c, in.ID, reason); err != nil {
		return nil, err
	}
	return answerUser(ctx, tx, in.ID)
}

func (dir *Directory) postEnable(ctx context.Context, tx db.WriteTx, c access.Caller, in *UserPath) (*userOutput, error) {
	if err := dir.EnablePerson(ctx, tx, c, in.ID); err != nil {
		return nil, err
	}
	return answerUser(ctx, tx, in.ID)
}

func wireUser(p Person) api.User {
	u := api.User{
		ID: p.ID, Realm: p.Realm, Username: p.Username, DisplayName: p.DisplayName, Email: p.Email, EmailVerified: !p.EmailVerified.IsZero(), Phone: p.Phone, Address: p.Address, Admin: p.Admin,
		Enabled: p.Disabled.IsZero(), HasPassword: p.HasPassword, Created: p.Created,
	}
	if !u.Enabled {
		u.Disabled, u.DisabledReason = &p.Disabled, p.DisabledReason
	}
	return u
}
