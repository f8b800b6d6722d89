package registry_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

func TestTeams(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		put := func(c access.Caller, team registry.Team, at route.IfMatch) (got registry.Team, err error) {
			err = w.d.Write(ctx, func(tx db.WriteTx) (err error) { got, err = w.r.PutTeam(ctx, tx, c, team, at.Check); return err })
			return got, err
		}
		w.person("employees", "ann", "")
		w.person("employees", "zoe", "")
		for name, c := range map[string]struct {
			caller access.Caller
			team   registry.Team
			want   fault.Kind
		}{
			"nobody yet":      {admin, registry.Team{ID: "new", Name: "x", Members: []registry.Member{{Realm: "employees", Username: "later"}}}, fault.Invalid},
			"no name":         {admin, registry.Team{ID: "new", Name: "x", Members: []registry.Member{{Realm: "employees", Username: "a b\u202e"}}}, fault.Invalid},
			"by a member":     {jane, registry.Team{ID: "shop", Name: "x"}, fault.Forbidden},
			"bad id":          {admin, registry.Team{ID: "a_b", Name: "x"}, fault.Invalid},
			"no title":        {admin, registry.Team{ID: "new"}, fault.Invalid},
			"unknown realm":   {admin, registry.Team{ID: "new", Name: "x", Members: []registry.Member{{Realm: "martians", Username: "a"}}}, fault.Invalid},
			"realm of robots": {admin, registry.Team{ID: "new", Name: "x", Members: []registry.Member{{Realm: "services", Username: "a"}}}, fault.Invalid},
			"nameless member": {admin, registry.Team{ID: "new", Name: "x", Members: []registry.Member{{Realm: "employees"}}}, fault.Invalid},
			"too many":        {admin, registry.Team{ID: "new", Name: "x", Members: make([]registry.Member, 1001)}, fault.Invalid},
		} {
			if _, err := put(c.caller, c.team, route.IfMatch{}); !fault.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		got, err := put(admin, registry.Team{ID: "shop", Name: "Shop", Members: []registry.Member{{"employees", "Zoe"}, {"/employee", "ann"}, {"employees", "ann"}}}, route.IfMatch{IfMatch: route.ETag(1)})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]registry.Member{{"employees", "ann"}, {"employees", "zoe"}}, got.Members); diff != "" {
			t.Error(diff)
		}
		if _, err := put(admin, registry.Team{ID: "shop", Name: "Shop"}, route.IfMatch{IfMatch: route.ETag(1)}); !fault.Is(err, fault.PreconditionFailed) {
			t.Errorf("an old revision: %v", err)
		}
		var stored registry.Team
		var list []registry.Team
		w.read(func(tx db.ReadTx) (err error) {
			if stored, err = w.r.GetTeam(ctx, tx, jane, "shop"); err != nil {
				return err
			}
			list, err = w.r.ListTeams(ctx, tx, jane, "", 10)
			return err
		})
		if diff := cmp.Diff(got, stored); diff != "" {
			t.Error(diff)
		}
		if len(list) != 2 || list[0].ID != "other" || cmp.Diff(list[1], stored) != "" || len(list[0].Members) != 1 {
			t.Errorf("list %+v", list)
		}
	})
}

// person makes somebody known, and answers it as a caller.
func (w *world) person(realmName, username, email string) (c access.Caller) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) error {
		u, err := w.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: realmName, Username: username, Email: email}, redact.Secret{})
		c = access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm}
		return err
	})
	return c
}

// A place in a team is a person's. Whoever has another name keeps it, and whoever is given the name before finds none of
// it, also with credentials that say the names of before.
func TestTeamsFollowTheName(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		of := func(c access.Caller) string {
			t.Helper()
			teams, err := w.r.Clients().TeamsOf(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(teams, " ")
		}
		put := func(at route.IfMatch, members ...string) (got registry.Team, err error) {
			team := registry.Team{ID: "shop", Name: "Shop"}
			for _, m := range members {
				team.Members = append(team.Members, registry.Member{Realm: "employees", Username: m})
			}
			err = w.d.Write(ctx, func(tx db.WriteTx) (err error) { got, err = w.r.PutTeam(ctx, tx, admin, team, at.Check); return err })
			return got, err
		}
		ann := w.person("employees", "ann@example.org", "ann@example.org")
		w.person("employees", "zoe", "")
		read, err := put(route.IfMatch{}, "ann@example.org", "zoe")
		if err != nil {
			t.Fatal(err)
		}
		if got := of(ann); got != "shop" {
			t.Fatalf("ann is in %q", got)
		}
		w.write(func(tx db.WriteTx) error { return w.dir.ChangeEmail(ctx, tx, admin, ann.ID, "ann@example.com") })
		next := w.person("employees", "ann@example.org", "")
		if got := of(next); got != "" {
			t.Errorf("who has the name before is in %q", got)
		}
		if got := of(ann); got != "shop" { // she says the name of before
			t.Errorf("ann has another name and is in %q", got)
		}
		if _, err := put(route.IfMatch{IfMatch: route.ETag(read.Revision)}, "ann@example.org"); !fault.Is(err, fault.PreconditionFailed) {
			t.Errorf("the name before is stored again by somebody who has not seen the change: %v", err)
		}
		var stored registry.Team
		w.read(func(tx db.ReadTx) (err error) { stored, err = w.r.GetTeam(ctx, tx, jane, "shop"); return err })
		if diff := cmp.Diff([]registry.Member{{"employees", "ann@example.com"}, {"employees", "zoe"}}, stored.Members); diff != "" {
			t.Error(diff)
		}
		// A place that is given to the name now is the other's, whatever an old credential of ann says.
		if _, err := put(route.IfMatch{}, "ann@example.org"); err != nil {
			t.Fatal(err)
		}
		if got := of(next) + "," + of(ann); got != "shop," {
			t.Errorf("the other and ann are in %q", got)
		}
	})
}

func TestTeamsOfCallers(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.app("kio")
		namesake := w.person("customers", "jane", "")
		of := func(c access.Caller) string {
			t.Helper()
			teams, err := w.r.Clients().TeamsOf(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(teams, " ")
		}
		service := access.Caller{Kind: access.Service, ID: a.ServiceUserID, Realm: "services", Application: "kio"}
		if got := of(jane); got != "shop" {
			t.Errorf("jane is in %q", got)
		}
		if got := of(service); got != "shop" {
			t.Errorf("kio's service user is in %q", got)
		}
		for name, c := range map[string]access.Caller{
			"nobody": {}, "another jane": namesake, "unknown": {Kind: access.Person, ID: "usr_x", Realm: "employees", Name: "jane"},
			"a robot named jane":        {Kind: access.Service, Realm: "services", Name: "jane"},
			"a user of another's app":   {Kind: access.Service, ID: "usr_x", Realm: "services", Application: "kio"},
			"a robot of no application": {Kind: access.Service, ID: "usr_x", Realm: "services", Application: "nope"},
			"the system":                access.SystemCaller("x"),
		} {
			if got := of(c); got != "" {
				t.Errorf("%s is in %q", name, got)
			}
		}
		w.write(func(tx db.WriteTx) error {
			_, err := w.r.PutTeam(ctx, tx, admin, registry.Team{ID: "shop", Name: "shop"}, anyVersion)
			return err
		})
		if got := of(jane); got != "" {
			t.Errorf("jane left and is still in %q", got)
		}
		if _, err := w.put(admin, "kio", registry.Change{Team: ptr("other")}); err != nil {
			t.Fatal(err)
		}
		if got := of(service); got != "other" {
			t.Errorf("kio moved and its service user is in %q", got)
		}
		if _, err := w.put(admin, "kio", registry.Change{Active: ptr(false)}); err != nil {
			t.Fatal(err)
		}
		if got := of(service); got != "" {
			t.Errorf("kio is inactive and its service user is in %q", got)
		}
	})
}
