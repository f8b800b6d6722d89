package catalog_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/catalog"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/route"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
)

func member(team string) access.Caller {
	return access.Caller{Kind: access.Person, ID: "usr_m", Name: "m", Realm: "employees", Teams: []string{team}}
}

// directory stands for the registry: applications and their teams, teams, and who holds what.
type directory struct {
	teams map[string]string // application → team
	holds map[string][]string
}

func (d directory) ApplicationTeam(_ context.Context, _ db.ReadTx, application string) (string, bool, error) {
	team, ok := d.teams[application]
	return team, ok, nil
}

func (d directory) TeamExists(_ context.Context, _ db.ReadTx, team string) (bool, error) {
	return team == "shop" || team == "kio-team" || team == "kio2-team", nil
}

func (d directory) ApplicationsHolding(_ context.Context, _ db.ReadTx, scope string) ([]string, error) {
	return d.holds[scope], nil
}

type world struct {
	t testing.TB
	d *db.DB
	c *catalog.Catalog
	directory
	clock *clock.Fake
}

func onBoth(t *testing.T, f func(t *testing.T, w *world)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			w := &world{t: t, d: dbtest.Open(t, engine, c), clock: c, directory: directory{
				teams: map[string]string{"kio": "kio-team", "kio2": "kio2-team", "sales": "kio-team"}, holds: map[string][]string{},
			}}
			w.c = catalog.New(w.directory, w.directory, realm.Standard())
			f(t, w)
		})
	}
}

func (w *world) put(c access.Caller, t catalog.ResourceType, at route.IfMatch) (got catalog.ResourceType, err error) {
	err = w.d.Write(ctx, func(tx db.WriteTx) (err error) { got, err = w.c.PutType(ctx, tx, c, t, at); return err })
	return got, err
}

func (w *world) putScope(c access.Caller, s catalog.Scope, at route.IfMatch) (got catalog.Scope, err error) {
	err = w.d.Write(ctx, func(tx db.WriteTx) (err error) { got, err = w.c.PutScope(ctx, tx, c, s, at); return err })
	return got, err
}

func (w *world) lookup(name string) (s catalog.Scope, err error) {
	err = w.d.Read(ctx, func(tx db.ReadTx) (err error) { s, err = catalog.Lookup(ctx, tx, name); return err })
	return s, err
}

var anyRevision = route.IfMatch{}

// The grammar is the published expression, bounded.
func FuzzGrammar(f *testing.F) {
	typeID := regexp.MustCompile(`^[a-z][a-z0-9\-_]*(?:\.[a-z0-9\-_]*)?[a-z0-9]$`)
	scopeID := regexp.MustCompile(`^[a-z][a-z0-9\-_]*[a-z0-9]$`)
	seeds := []string{"ab", "a.b", "x_y", "a.-b", "a", "a.", "a-", "a..b", "a.b.c", "", "A.b", "ab\n", "é.b", "sales_order", "1a", "a b", "_a"}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := catalog.ValidTypeID(s), typeID.MatchString(s) && len(s) <= 100; got != want {
			t.Errorf("type id %q: %v, want %v", s, got, want)
		}
		if got, want := catalog.ValidScopeID(s), scopeID.MatchString(s) && len(s) <= 64; got != want {
			t.Errorf("scope id %q: %v, want %v", s, got, want)
		}
		if resourceType, id, ok := catalog.SplitScope(s); ok && resourceType+"."+id != s {
			t.Errorf("%q was split into %q and %q", s, resourceType, id)
		}
	})
}

func TestWhoOwnsAType(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		shop := catalog.ResourceType{Name: "x", OwningTeam: "shop"}
		none := catalog.ResourceType{Name: "x"}
		for i, c := range []struct {
			caller access.Caller
			id     string
			t      catalog.ResourceType
			want   fault.Kind // Internal: allowed
		}{
			{member("kio-team"), "kio", none, fault.Internal},
			{member("kio-team"), "kio.read", none, fault.Internal},
			{member("kio-team"), "kio2.x", none, fault.Forbidden}, // never by a prefix
			{member("kio2-team"), "kio2.x", none, fault.Internal},
			{member("kio2-team"), "kio.y", none, fault.Forbidden},
			{member("kio-team"), "sales_order", none, fault.Invalid}, // never application sales; name a team
			{member("kio-team"), "sales_order", shop, fault.Forbidden},
			{member("shop"), "sales_order", shop, fault.Internal},
			{member("kio-team"), "sales_order", catalog.ResourceType{Name: "x", OwningTeam: "kio-team"}, fault.Forbidden}, // the stored team decides
			{member("shop"), "kio.z", shop, fault.Forbidden},
			{admin, "kio.z", shop, fault.Invalid}, // the application owns it
			{admin, "free-for-all", catalog.ResourceType{Name: "x", OwningTeam: "nobody"}, fault.Invalid},
			{admin, "Bad", shop, fault.Invalid},
			{access.Caller{}, "ab", shop, fault.Unauthenticated},
			{access.Caller{Kind: access.Person, Realm: "customers", Teams: []string{"shop"}}, "ab", shop, fault.Forbidden},
			{access.Caller{Kind: access.Service, Realm: "services", Teams: []string{"shop"}}, "ab", shop, fault.Forbidden},
			{access.Caller{Kind: access.Service, Realm: "services", Teams: []string{"shop"}, Scopes: []string{"application.write"}}, "ab", shop, fault.Internal},
			{member("shop"), "sales_order", catalog.ResourceType{Name: "x", OwningTeam: "kio-team"}, fault.Internal}, // given away
			{member("shop"), "sales_order", shop, fault.Forbidden},                                                   // and gone
		} {
			c.t.ID = c.id
			_, err := w.put(c.caller, c.t, anyRevision)
			if c.want == fault.Internal && err != nil || c.want != fault.Internal && !fault.Is(err, c.want) {
				t.Errorf("%d, %s: %v", i, c.id, err)
			}
		}
	})
}

// Anybody may register an application of any id that is free. It must not bring him what was there before.
func TestALaterApplicationTakesNoTypeOver(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		if _, err := w.put(member("shop"), catalog.ResourceType{ID: "orders", Name: "x", ResourceOwners: []string{"customers"}, OwningTeam: "shop"}, anyRevision); err != nil {
			t.Fatal(err)
		}
		w.teams["orders"] = "kio-team"
		if _, err := w.put(member("kio-team"), catalog.ResourceType{ID: "orders", Name: "taken"}, anyRevision); !fault.Is(err, fault.Forbidden) {
			t.Errorf("the type was taken over: %v", err)
		}
		if _, err := w.putScope(member("kio-team"), catalog.Scope{ResourceType: "orders", ID: "read", Summary: "x"}, anyRevision); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a scope was put on it: %v", err)
		}
		if err := w.d.Write(ctx, func(tx db.WriteTx) error { return w.c.DeleteType(ctx, tx, member("kio-team"), "orders", anyRevision) }); !fault.Is(err, fault.Forbidden) {
			t.Errorf("it was deleted: %v", err)
		}
		if _, err := w.putScope(member("shop"), catalog.Scope{ResourceType: "orders", ID: "read", Summary: "x"}, anyRevision); err != nil {
			t.Errorf("its own team: %v", err)
		}
		if _, err := w.put(member("shop"), catalog.ResourceType{ID: "orders", Name: "y", ResourceOwners: []string{"customers"}}, anyRevision); !fault.Is(err, fault.Invalid) {
			t.Errorf("its team gave it away by saying nothing: %v", err)
		}
		if got, err := w.put(member("shop"), catalog.ResourceType{ID: "orders", Name: "y", OwningTeam: "shop"}, anyRevision); err != nil || got.OwningTeam != "shop" {
			t.Errorf("its own team: %+v %v", got, err)
		}
		if _, err := w.put(member("kio-team"), catalog.ResourceType{ID: "orders.eu", Name: "x"}, anyRevision); err != nil {
			t.Errorf("a new type below the application's id: %v", err)
		}
	})
}

func TestTypeIsReplacedWhole(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first, err := w.put(admin, catalog.ResourceType{ID: "sales_order", Name: "Sales order", Description: "a\nb", ResourceOwners: []string{"/customers", "employee", "customers"}, OwningTeam: "shop"}, anyRevision)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"customers", "employees"}, first.ResourceOwners); diff != "" {
			t.Errorf("realms have one spelling, once: %s", diff)
		}
		if first.CreatedBy != "employees/admin" || !first.Created.Equal(start) || first.Revision != 1 {
			t.Errorf("%+v", first)
		}
		w.clock.Advance(time.Hour)
		second, err := w.put(member("shop"), catalog.ResourceType{ID: "sales_order", Name: "Order", OwningTeam: "shop"}, route.IfMatch{IfMatch: route.ETag(1)})
		if err != nil {
			t.Fatal(err)
		}
		want := catalog.ResourceType{ID: "sales_order", Name: "Order", ResourceOwners: []string{}, OwningTeam: "shop", Revision: 2,
			Created: start, CreatedBy: "employees/admin", Modified: start.Add(time.Hour), ModifiedBy: "employees/m"}
		if diff := cmp.Diff(want, second); diff != "" {
			t.Error(diff)
		}
		var stored catalog.ResourceType
		if err := w.d.Read(ctx, func(tx db.ReadTx) (err error) {
			stored, err = w.c.Type(ctx, tx, member("x"), "sales_order")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(second, stored); diff != "" {
			t.Errorf("answered and stored differ: %s", diff)
		}
		if _, err := w.put(admin, catalog.ResourceType{ID: "sales_order", Name: "lost", OwningTeam: "shop"}, route.IfMatch{IfMatch: route.ETag(1)}); !fault.Is(err, fault.PreconditionFailed) {
			t.Errorf("an old revision: %v", err)
		}
		if _, err := w.put(admin, catalog.ResourceType{ID: "sales_order", Name: "again", OwningTeam: "shop"}, route.IfMatch{IfNoneMatch: "*"}); !fault.Is(err, fault.PreconditionFailed) {
			t.Errorf("created twice: %v", err)
		}
	})
}

func TestBadTypes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for name, c := range map[string]catalog.ResourceType{
			"no name":         {},
			"blank name":      {Name: "  "},
			"long name":       {Name: strings.Repeat("a", 201)},
			"line end":        {Name: "a\nb"},
			"NUL":             {Name: "x", Description: "a\x00"},
			"bad UTF-8":       {Name: "x", Description: "\xff"},
			"enormous":        {Name: "x", Description: strings.Repeat("a", 16<<10+1)},
			"unknown owner":   {Name: "x", ResourceOwners: []string{"martians"}},
			"malformed owner": {Name: "x", ResourceOwners: []string{"//customers"}},
			"many owners":     {Name: "x", ResourceOwners: make([]string, 33)},
		} {
			c.ID, c.OwningTeam = "sales_order", "shop"
			if _, err := w.put(admin, c, anyRevision); !fault.Is(err, fault.Invalid) || len(fault.Of(err).Fields) == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestScopes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		if _, err := w.put(admin, catalog.ResourceType{ID: "sales_order", Name: "x", ResourceOwners: []string{"customers"}, OwningTeam: "shop"}, anyRevision); err != nil {
			t.Fatal(err)
		}
		if _, err := w.put(admin, catalog.ResourceType{ID: "kio.app", Name: "x"}, anyRevision); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			caller access.Caller
			s      catalog.Scope
			want   fault.Kind
		}{
			"unknown type":            {admin, catalog.Scope{ResourceType: "nope", ID: "read", Summary: "x"}, fault.NotFound},
			"unknown type, stranger":  {member("x"), catalog.Scope{ResourceType: "nope", ID: "read", Summary: "x"}, fault.Forbidden},
			"stranger":                {member("kio-team"), catalog.Scope{ResourceType: "sales_order", ID: "read", Summary: "x"}, fault.Forbidden},
			"dotted id":               {admin, catalog.Scope{ResourceType: "sales_order", ID: "re.ad", Summary: "x"}, fault.Invalid},
			"upper case":              {admin, catalog.Scope{ResourceType: "sales_order", ID: "Read", Summary: "x"}, fault.Invalid},
			"no summary":              {admin, catalog.Scope{ResourceType: "sales_order", ID: "read"}, fault.Invalid},
			"criticality 4":           {admin, catalog.Scope{ResourceType: "sales_order", ID: "read", Summary: "x", CriticalityLevel: 4}, fault.Invalid},
			"criticality -1":          {admin, catalog.Scope{ResourceType: "sales_order", ID: "read", Summary: "x", CriticalityLevel: -1}, fault.Invalid},
			"owner scope, no owners":  {admin, catalog.Scope{ResourceType: "kio.app", ID: "read", Summary: "x", IsResourceOwnerScope: true}, fault.Invalid},
			"markup is text, NUL not": {admin, catalog.Scope{ResourceType: "sales_order", ID: "read", Summary: "<b>\x00"}, fault.Invalid},
		} {
			if _, err := w.putScope(c.caller, c.s, anyRevision); !fault.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		s, err := w.putScope(member("shop"), catalog.Scope{ResourceType: "sales_order", ID: "read", Summary: "<b>read</b>", IsResourceOwnerScope: true}, anyRevision)
		if err != nil {
			t.Fatal(err)
		}
		if s.CriticalityLevel != 2 || s.Name() != "sales_order.read" {
			t.Errorf("%+v", s)
		}
		if _, err := w.putScope(member("kio-team"), catalog.Scope{ResourceType: "kio.app", ID: "write", Summary: "w"}, anyRevision); err != nil {
			t.Fatal(err)
		}
		for _, stored := range []catalog.Scope{s} {
			got, err := w.lookup(stored.Name())
			if diff := cmp.Diff(stored, got); err != nil || diff != "" {
				t.Errorf("%v: %s", err, diff)
			}
		}
		if got, err := w.lookup("kio.app.write"); err != nil || got.ResourceType != "kio.app" || got.ID != "write" {
			t.Errorf("a type with a dot: %+v, %v", got, err)
		}
		for _, name := range []string{"", "uid", "sales_order", "sales_order.", ".read", "sales_order.nope", "sales_order.read ", "SALES_ORDER.read", "sales_order.read\x00", strings.Repeat("a", 1000) + ".read"} {
			if _, err := w.lookup(name); !fault.Is(err, fault.NotFound) {
				t.Errorf("Lookup(%.20q): %v", name, err)
			}
		}
		// A type whose scopes owners give cannot lose its owners.
		_, err = w.put(admin, catalog.ResourceType{ID: "sales_order", Name: "x", OwningTeam: "shop"}, anyRevision)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Of(err).Detail, "read") {
			t.Errorf("owners emptied under an owner scope: %v", err)
		}
		if _, err := w.putScope(admin, catalog.Scope{ResourceType: "sales_order", ID: "read", Summary: "x"}, anyRevision); err != nil {
			t.Errorf("a scope that nobody holds changes its kind: %v", err)
		}
		if _, err := w.put(admin, catalog.ResourceType{ID: "sales_order", Name: "x", OwningTeam: "shop"}, anyRevision); err != nil {
			t.Errorf("and then the owners may go: %v", err)
		}
	})
}

func TestDeletion(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		if _, err := w.put(admin, catalog.ResourceType{ID: "sales_order", Name: "x", ResourceOwners: []string{"customers"}, OwningTeam: "shop"}, anyRevision); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"read", "write"} {
			if _, err := w.putScope(admin, catalog.Scope{ResourceType: "sales_order", ID: id, Summary: "x"}, anyRevision); err != nil {
				t.Fatal(err)
			}
		}
		deleteScope := func(c access.Caller, id string) error {
			return w.d.Write(ctx, func(tx db.WriteTx) error { return w.c.DeleteScope(ctx, tx, c, "sales_order", id, anyRevision) })
		}
		deleteType := func(c access.Caller, id string) error {
			return w.d.Write(ctx, func(tx db.WriteTx) error { return w.c.DeleteType(ctx, tx, c, id, anyRevision) })
		}
		for i := range 30 {
			w.holds["sales_order.read"] = append(w.holds["sales_order.read"], fmt.Sprintf("app-%02d", i))
		}
		err := deleteScope(admin, "read")
		if !fault.Is(err, fault.Conflict) || !strings.Contains(fault.Of(err).Detail, "app-00") || !strings.Contains(fault.Of(err).Detail, "20 more") {
			t.Errorf("a held scope: %v", err)
		}
		if err := deleteType(admin, "sales_order"); !fault.Is(err, fault.Conflict) {
			t.Errorf("a type with a held scope: %v", err)
		}
		delete(w.holds, "sales_order.read")
		if err := deleteScope(member("x"), "read"); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a stranger: %v", err)
		}
		if err := deleteScope(member("shop"), "read"); err != nil {
			t.Error(err)
		}
		if err := deleteScope(member("shop"), "read"); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		if err := deleteType(member("x"), "sales_order"); !fault.Is(err, fault.Forbidden) {
			t.Errorf("a stranger: %v", err)
		}
		if err := deleteType(member("shop"), "sales_order"); err != nil {
			t.Error(err)
		}
		if err := deleteType(admin, "sales_order"); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		if _, err := w.lookup("sales_order.write"); !fault.Is(err, fault.NotFound) {
			t.Errorf("its scopes go too: %v", err)
		}
		var events, owners int
		if err := w.d.Read(ctx, func(tx db.ReadTx) error {
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM resource_type_owners`).Scan(&owners); err != nil {
				return err
			}
			return tx.QueryRow(ctx, `SELECT count(*) FROM audit_events`).Scan(&events)
		}); err != nil {
			t.Fatal(err)
		}
		if events != 5 || owners != 0 { // a type and two scopes made, a scope and the type deleted
			t.Errorf("%d audit events, want 5; %d owners are left", events, owners)
		}
	})
}

func TestPages(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for i := range 7 {
			if _, err := w.put(admin, catalog.ResourceType{ID: fmt.Sprintf("type%d", i), Name: "x", ResourceOwners: []string{"customers"}[:i%2], OwningTeam: "shop"}, anyRevision); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for after := ""; ; {
			var page []catalog.ResourceType
			if err := w.d.Read(ctx, func(tx db.ReadTx) (err error) { page, err = w.c.Types(ctx, tx, admin, after, 3); return err }); err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, rt := range page {
				got = append(got, fmt.Sprint(rt.ID, len(rt.ResourceOwners)))
			}
			after = page[len(page)-1].ID
		}
		if diff := cmp.Diff([]string{"type00", "type11", "type20", "type31", "type40", "type51", "type60"}, got); diff != "" {
			t.Error(diff)
		}
	})
}
