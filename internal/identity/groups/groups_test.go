package groups_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/identitytest"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var admin = identitytest.Admin

// club is an installation with people and groups.
type club struct {
	*testing.T
	d    *db.DB
	dir  *identity.Directory
	s    *groups.Service
	desk *identitytest.Desk
}

func clubs(t *testing.T, f func(c *club)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			d := dbtest.Open(t, engine, clock.NewFake(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)))
			dir, err := identity.New(d, sealtest.New(t, d), identity.Options{})
			if err != nil {
				t.Fatal(err)
			}
			c := &club{T: t, d: d, dir: dir, s: groups.New(dir.Realms())}
			dir.OnPersonRemoved(groups.Forget)
			c.desk = identitytest.New(t, d)
			c.s.Routes(c.desk.Mux)
			dir.Routes(c.desk.Mux)
			f(c)
		})
	}
}

// call sends a request, and answers the document if the status is as wanted.
func (c *club) call(want int, method, target, as, body string, into any) string {
	c.Helper()
	return c.desk.Call(want, method, target, as, body, into)
}

func (c *club) person(realm, name string) identity.User {
	c.Helper()
	return c.desk.Person(c.dir, realm, name)
}

func (c *club) write(f func(ctx context.Context, tx db.WriteTx) error) {
	c.Helper()
	if err := c.d.Write(c.Context(), func(tx db.WriteTx) error { return f(c.Context(), tx) }); err != nil {
		c.Fatal(err)
	}
}

func (c *club) group(realm, name string) (g api.Group) {
	c.Helper()
	c.call(201, "POST", "/api/groups", "admin", fmt.Sprintf(`{"realm":%q,"name":%q}`, realm, name), &g)
	return g
}

func TestGroups(t *testing.T) {
	clubs(t, func(c *club) {
		eng, ops, shop := c.group("/employees", "Engineering"), c.group("employees", "ops"), c.group("customers", "engineering")
		if eng.Realm != "employees" || !strings.HasPrefix(eng.ID, "grp_") || eng.CreatedBy != "employees/admin" {
			c.Errorf("%+v", eng)
		}
		for body, want := range map[string]int{
			`{"realm":"employees","name":"ENGINEERING"}`:                             409,
			`{"realm":"employees","name":"Éngineering"}`:                             409, // twins for a reader
			`{"realm":"services","name":"x"}`:                                        400,
			`{"realm":"employees","name":""}`:                                        400,
			`{"realm":"employees","name":" x"}`:                                      400,
			`{"realm":"employees","name":"a,b"}`:                                     400,
			`{"realm":"employees","name":"a\u0000"}`:                                 400,
			`{"realm":"employees","name":"\u0301"}`:                                  400,
			`{"realm":"employees","name":"` + strings.Repeat("x", 101) + `"}`:        400,
			`{"realm":"employees","name":"y","id":"grp_1"}`:                          400,
			`{"realm":"employees","name":"y","description":"` + "\\u0007" + `boom"}`: 400,
		} {
			c.call(want, "POST", "/api/groups", "admin", body, nil)
		}
		c.call(409, "PUT", "/api/groups/"+ops.ID, "admin", `{"name":"engineering"}`, nil)
		c.call(200, "PUT", "/api/groups/"+ops.ID, "admin", `{"name":"Ops","description":"Who is on call\nat night"}`, &ops)
		c.call(404, "PUT", "/api/groups/grp_no", "admin", `{"name":"x"}`, nil)
		if ops.Name != "Ops" || ops.Description == "" {
			c.Errorf("%+v", ops)
		}
		for target, want := range map[string]string{"?limit=1": "customers/engineering employees/Engineering employees/Ops", "?realm=employees&limit=1": "employees/Engineering employees/Ops",
			"?realm=employees&search=%C3%A9ng": "employees/Engineering", "?realm=employees&search=engineering": "employees/Engineering", "?realm=employees&search=x": ""} {
			var got []string
			for cursor := ""; ; {
				var page api.Groups
				c.call(200, "GET", "/api/groups"+target+cursor, "admin", "", &page)
				for _, g := range page.Items {
					got = append(got, g.Realm+"/"+g.Name)
				}
				if page.NextCursor == "" {
					break
				}
				cursor = "&cursor=" + page.NextCursor
			}
			if strings.Join(got, " ") != want {
				c.Errorf("%s lists %v", target, got)
			}
		}
		c.call(400, "GET", "/api/groups?search=x", "admin", "", nil)
		c.call(204, "DELETE", "/api/groups/"+shop.ID, "admin", "", nil)
		c.call(404, "GET", "/api/groups/"+shop.ID, "admin", "", nil)
		c.call(404, "DELETE", "/api/groups/"+shop.ID, "admin", "", nil)
	})
}

func TestMembers(t *testing.T) {
	clubs(t, func(c *club) {
		eng, jane, joe, zoe := c.group("employees", "eng"), c.person("employees", "jane"), c.person("employees", "joe"), c.person("customers", "zoe")
		members := "/api/groups/" + eng.ID + "/members"
		c.call(204, "PUT", members+"/"+jane.ID, "admin", "", nil)
		c.call(204, "PUT", members+"/"+jane.ID, "admin", "", nil) // once more changes nothing
		c.call(204, "PUT", members+"/"+joe.ID, "admin", "", nil)
		c.call(400, "PUT", members+"/"+zoe.ID, "admin", "", nil)
		c.call(404, "PUT", members+"/usr_no", "admin", "", nil)
		c.call(404, "PUT", "/api/groups/grp_no/members/"+jane.ID, "admin", "", nil)
		if joe.ID < jane.ID { // within one millisecond the order of ids is any
			jane, joe = joe, jane
		}
		var page api.GroupMembers
		c.call(200, "GET", members+"?limit=1", "admin", "", &page)
		if len(page.Items) != 1 || page.Items[0].UserID != jane.ID || page.Items[0].AddedBy != "employees/admin" || page.NextCursor == "" {
			c.Errorf("%+v", page)
		}
		cursor := page.NextCursor
		page = api.GroupMembers{}
		c.call(200, "GET", members+"?cursor="+cursor, "admin", "", &page)
		if len(page.Items) != 1 || page.Items[0].UserID != joe.ID || page.NextCursor != "" {
			c.Errorf("%+v", page)
		}
		var users api.Users
		for target, want := range map[string]string{"": jane.Username + " " + joe.Username, "&search=jan": "jane", "&search=x": "", "&state=disabled": "", "&realm=employees": jane.Username + " " + joe.Username, "&realm=customers": ""} {
			users = api.Users{}
			c.call(200, "GET", "/api/users?group="+eng.ID+target, "admin", "", &users)
			var got []string
			for _, u := range users.Items {
				got = append(got, u.Username)
			}
			if strings.Join(got, " ") != want {
				c.Errorf("%s: %v", target, got)
			}
		}
		c.call(404, "GET", "/api/users?group=grp_no", "admin", "", nil)
		var of api.Groups
		c.call(200, "GET", "/api/users/"+jane.ID+"/groups", "admin", "", &of)
		if len(of.Items) != 1 || of.Items[0].Name != "eng" {
			c.Errorf("%+v", of)
		}
		c.call(404, "GET", "/api/users/usr_no/groups", "admin", "", nil)
		c.call(204, "DELETE", members+"/"+joe.ID, "admin", "", nil)
		c.call(404, "DELETE", members+"/"+joe.ID, "admin", "", nil)
		c.write(func(ctx context.Context, tx db.WriteTx) error { return c.dir.RemovePerson(ctx, tx, admin, jane.ID) })
		page = api.GroupMembers{}
		if c.call(200, "GET", members, "admin", "", &page); len(page.Items) != 0 {
			c.Errorf("who was removed is a member still: %+v", page)
		}
		var events []string
		if err := c.d.Read(c.Context(), func(tx db.ReadTx) (err error) {
			events, err = db.Texts(c.Context(), tx, `SELECT action FROM audit_events WHERE target_id = $1 ORDER BY action`, eng.ID)
			return err
		}); err != nil {
			c.Fatal(err)
		}
		if diff := cmp.Diff([]string{"group.add_member", "group.add_member", "group.create", "group.remove_member"}, events); diff != "" {
			c.Error(diff)
		}
	})
}

// Nobody but administrators sees or changes groups, and strangers learn nothing.
func TestGroupsAreForAdministrators(t *testing.T) {
	clubs(t, func(c *club) {
		eng, jane := c.group("employees", "eng"), c.person("employees", "jane")
		for _, call := range [][3]string{
			{"GET", "/api/groups"}, {"POST", "/api/groups", `{"realm":"employees","name":"x"}`}, {"GET", "/api/groups/" + eng.ID}, {"PUT", "/api/groups/" + eng.ID, `{"name":"x"}`},
			{"DELETE", "/api/groups/" + eng.ID}, {"GET", "/api/groups/" + eng.ID + "/members"}, {"PUT", "/api/groups/" + eng.ID + "/members/" + jane.ID},
			{"DELETE", "/api/groups/grp_no/members/" + jane.ID}, {"GET", "/api/users/" + jane.ID + "/groups"},
		} {
			c.call(403, call[0], call[1], "jane", call[2], nil)
			c.call(401, call[0], call[1], "", call[2], nil)
		}
	})
}

// One person is in so many groups and not more.
func TestMembershipsAreBounded(t *testing.T) {
	clubs(t, func(c *club) {
		jane := c.person("employees", "jane")
		c.write(func(ctx context.Context, tx db.WriteTx) error {
			for i := range groups.MaxGroups + 1 {
				g, err := c.s.Create(ctx, tx, admin, groups.Group{Realm: "employees", Name: fmt.Sprint("g", i)})
				if err != nil {
					return err
				}
				err = c.s.Add(ctx, tx, admin, g.ID, jane.ID)
				if i == groups.MaxGroups && !fault.Is(err, fault.Conflict) {
					c.Errorf("the last: %v", err)
				} else if i < groups.MaxGroups && err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// What is remembered of memberships follows each change, on every node.
func TestNamesFollowChanges(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			ctx, url := t.Context(), dbtest.URL(t, engine)
			d, other := dbtest.OpenURL(t, url, clock.System), dbtest.OpenURL(t, url, clock.System)
			dir, err := identity.New(d, sealtest.New(t, d), identity.Options{})
			if err != nil {
				t.Fatal(err)
			}
			names := groups.NewNames(other)
			stop, err := other.StartFeed(ctx)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			s := groups.New(dir.Realms())
			var jane identity.User
			var g groups.Group
			for _, step := range []struct {
				want   string
				change func(tx db.WriteTx) error
			}{
				{"", func(tx db.WriteTx) (err error) {
					if jane, err = dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: "jane"}, redact.Secret{}); err != nil {
						return err
					}
					g, err = s.Create(ctx, tx, admin, groups.Group{Realm: "employees", Name: "eng"})
					return err
				}},
				{"eng", func(tx db.WriteTx) error { return s.Add(ctx, tx, admin, g.ID, jane.ID) }},
				{"ops", func(tx db.WriteTx) error { _, err := s.Update(ctx, tx, admin, g.ID, "ops", ""); return err }},
				{"", func(tx db.WriteTx) error { return s.Remove(ctx, tx, admin, g.ID, jane.ID) }},
				{"ops", func(tx db.WriteTx) error { return s.Add(ctx, tx, admin, g.ID, jane.ID) }},
				{"", func(tx db.WriteTx) error { return s.Delete(ctx, tx, admin, g.ID) }},
			} {
				if err := d.Write(ctx, step.change); err != nil {
					t.Fatal(err)
				}
				got := "not asked"
				for range 400 {
					list, err := names.Of(ctx, jane.ID)
					if err != nil {
						t.Fatal(err)
					}
					if got = strings.Join(list, " "); got == step.want {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				if got != step.want {
					t.Errorf("told of %q, not %q", got, step.want)
				}
			}
		})
	}
}
