package registry_test

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

	admin    = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
	jane     = access.Caller{Kind: access.Person, ID: "usr_jane", Name: "jane", Realm: "employees", Teams: []string{"shop"}}
	stranger = access.Caller{Kind: access.Person, ID: "usr_joe", Name: "joe", Realm: "employees", Teams: []string{"other"}}
	customer = access.Caller{Kind: access.Person, ID: "usr_c", Name: "c", Realm: "customers", Teams: []string{"shop"}}
	robot    = access.Caller{Kind: access.Service, ID: "usr_r", Name: "r", Realm: "services", Teams: []string{"shop"}}
	writer   = access.Caller{Kind: access.Service, ID: "usr_w", Name: "w", Realm: "services", Teams: []string{"shop"}, Scopes: []string{"application.write"}}
)

func ptr[T any](v T) *T { return &v }

// world is one node with two teams and a catalog.
type world struct {
	t       testing.TB
	d       *db.DB
	keyring *seal.Keyring
	clock   *clock.Fake
	dir     *identity.Directory
	r       *registry.Registry
	catalog *catalog.Catalog
}

func newNode(t testing.TB, d *db.DB, k *seal.Keyring, c *clock.Fake) *world {
	t.Helper()
	dir, err := identity.New(d, k, identity.Options{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(d, k, dir, registry.Options{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, d, k, c, dir, r, catalog.New(r, r, dir.Realms())}
}

func newWorld(t testing.TB, d *db.DB, k *seal.Keyring, c *clock.Fake) *world {
	t.Helper()
	w := newNode(t, d, k, c)
	w.write(func(tx db.WriteTx) error {
		for team, member := range map[string]string{"shop": "jane", "other": "joe"} {
			// Under the ids that the callers of these tests have.
			if _, err := tx.Exec(ctx, `INSERT INTO users (id, realm, username, display_name, admin, created, created_by, enabled_since, disabled) VALUES ($1, 'employees', $2, $2, $3, 1, 'x', 1, 0)`,
				"usr_"+member, member, false); err != nil {
				return err
			}
			if _, err := w.r.PutTeam(ctx, tx, admin, registry.Team{ID: team, Name: team, Members: []registry.Member{{Realm: "/employee", Username: member}}}, anyVersion); err != nil {
				return err
			}
		}
		if _, err := w.catalog.PutType(ctx, tx, admin, catalog.ResourceType{ID: "sales_order", Name: "Sales order", ResourceOwners: []string{"customers"}, OwningTeam: "shop"}, route.IfMatch{}); err != nil {
			return err
		}
		for scope, owner := range map[string]bool{"read": true, "write": true, "read_all": false} {
			if _, err := w.catalog.PutScope(ctx, tx, admin, catalog.Scope{ResourceType: "sales_order", ID: scope, Summary: scope, IsResourceOwnerScope: owner}, route.IfMatch{}); err != nil {
				return err
			}
		}
		return nil
	})
	return w
}

func anyVersion(int64) error { return nil }

func onBoth(t *testing.T, f func(t *testing.T, w *world)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			f(t, newWorld(t, d, sealtest.New(t, d), c))
		})
	}
}

func (w *world) write(f func(tx db.WriteTx) error) {
	w.t.Helper()
	if err := w.d.Write(ctx, f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(f func(tx db.ReadTx) error) {
	w.t.Helper()
	if err := w.d.Read(ctx, f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(c access.Caller, app string, change registry.Change) (a registry.Application, err error) {
	err = w.d.Write(ctx, func(tx db.WriteTx) (err error) {
		a, err = w.r.PutApplication(ctx, tx, c, app, change, anyVersion)
		return err
	})
	return a, err
}

func (w *world) app(app string) registry.Application {
	w.t.Helper()
	a, err := w.put(admin, app, newShop())
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// newShop is the least that a new application of team shop needs.
func newShop() registry.Change {
	return registry.Change{Team: ptr("shop"), Name: ptr("Sales orders"), Active: ptr(true)}
}

func (w *world) secret(app string, version int64) redact.Secret {
	w.t.Helper()
	var document redact.Secret
	w.write(func(tx db.WriteTx) (err error) {
		document, err = w.r.ClientSecrets().Prepare(ctx, tx, app, version)
		return err
	})
	var content map[string]any
	if err := json.Unmarshal(document.Bytes(), &content); err != nil {
		w.t.Fatal(err)
	}
	text, _ := content["client_secret"].(string)
	return redact.New(text)
}

func (w *world) accepted(clientID string, secret redact.Secret) bool {
	w.t.Helper()
	_, _, err := w.r.Clients().AuthenticateClient(ctx, clientID, secret)
	if err != nil && !errors.Is(err, registry.ErrCredentials) {
		w.t.Fatal(err)
	}
	return err == nil
}

func TestGrammars(t *testing.T) {
	for name, valid := range map[string]bool{
		"ab": true, "a--b": true, "kio-2": true, "a1": true, strings.Repeat("a", 100): true,
		"a": false, "a-": false, "-a": false, "A1": false, "a_b": false, "": false, "1a": false, "../x": false, "a/b": false, "a%2fb": false,
		".": false, "..": false, "a\x00": false, "a.b": false, "ä-b": false, "a b": false, strings.Repeat("a", 101): false, strings.Repeat("a", 300): false,
	} {
		if got := registry.ValidApplicationID(name); got != valid {
			t.Errorf("ValidApplicationID(%q) = %v", name, got)
		}
	}
	for name, valid := range map[string]bool{
		"ab": true, "1a": true, "a-b": true, "42": true, "a": false, "-a": false, "a-": false, "A1": false, "a_b": false, "": false, "a/b": false, strings.Repeat("a", 101): false,
	} {
		if got := registry.ValidTeamID(name); got != valid {
			t.Errorf("ValidTeamID(%q) = %v", name, got)
		}
	}
}

func TestCreateMakesEverything(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var hooked []registry.Application
		w.r.OnApplicationChanged(func(_ context.Context, _ db.WriteTx, a registry.Application) error {
			hooked = append(hooked, a)
			return nil
		})
		a, err := w.put(jane, "sales-orders", newShop())
		if err != nil {
			t.Fatal(err)
		}
		if !id.Is(a.ClientID, id.Client) || !id.Is(a.ServiceUserID, id.User) || a.ServiceUsername != "sales-orders" || !a.Confidential {
			t.Errorf("application %+v", a)
		}
		if a.CreatedBy != "employees/jane" || !a.Created.Equal(start) || a.Revision != 1 {
			t.Errorf("created %v by %q, revision %d", a.Created, a.CreatedBy, a.Revision)
		}
		var stored registry.Application
		var events int
		w.read(func(tx db.ReadTx) (err error) {
			if stored, err = w.r.GetApplication(ctx, tx, robot, "sales-orders"); err != nil {
				return err
			}
			return tx.QueryRow(ctx, `SELECT count(*) FROM audit_events WHERE action = 'application.create' AND target_id = 'sales-orders'`).Scan(&events)
		})
		if diff := cmp.Diff(a, stored); diff != "" {
			t.Errorf("answered and stored differ: %s", diff)
		}
		if events != 1 || len(hooked) != 1 || hooked[0].ClientID != a.ClientID {
			t.Errorf("%d audit events, %d hooks", events, len(hooked))
		}
		client, err := w.r.Clients().Client(ctx, a.ClientID)
		if err != nil {
			t.Fatal(err)
		}
		if !client.Enabled || client.UserID != a.ServiceUserID || client.Realm != "services" || !client.May("password") || !client.May("client_credentials") {
			t.Errorf("client %+v", client)
		}
	})
}

func TestWhoMayWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.app("kept")
		for name, c := range map[string]struct {
			caller access.Caller
			app    string
			change registry.Change
			want   fault.Kind // Internal: allowed
		}{
			"nobody":                  {access.Caller{}, "new-a", newShop(), fault.Unauthenticated},
			"customer":                {customer, "new-b", newShop(), fault.Forbidden},
			"customer, existing":      {customer, "kept", registry.Change{Name: ptr("x")}, fault.Forbidden},
			"stranger":                {stranger, "new-c", newShop(), fault.Forbidden},
			"stranger, existing":      {stranger, "kept", registry.Change{Name: ptr("x")}, fault.Forbidden},
			"stranger takes it over":  {stranger, "kept", registry.Change{Team: ptr("other")}, fault.Forbidden},
			"robot without the scope": {robot, "new-d", newShop(), fault.Forbidden},
			"robot with the scope":    {writer, "new-e", newShop(), fault.Internal},
			"robot, existing":         {writer, "kept", registry.Change{Name: ptr("y")}, fault.Internal},
			"member":                  {jane, "new-f", newShop(), fault.Internal},
			"administrator":           {admin, "new-g", newShop(), fault.Internal},
			"admin of services":       {access.Caller{Kind: access.Service, Realm: "services", Name: "admin", Admin: true}, "new-h", newShop(), fault.Forbidden},
			"unknown team":            {jane, "new-i", registry.Change{Team: ptr("nobody"), Name: ptr("x"), Active: ptr(true)}, fault.Invalid},
			"unknown team, by admin":  {admin, "new-j", registry.Change{Team: ptr("nobody"), Name: ptr("x"), Active: ptr(true)}, fault.Invalid},
			"no team":                 {jane, "new-k", registry.Change{Name: ptr("x"), Active: ptr(true)}, fault.Invalid},
			"no name":                 {jane, "new-l", registry.Change{Team: ptr("shop"), Active: ptr(true)}, fault.Invalid},
			"no active":               {jane, "new-m", registry.Change{Team: ptr("shop"), Name: ptr("x")}, fault.Invalid},
			"bad id":                  {jane, "A1", newShop(), fault.Invalid},
			"id of slashes":           {admin, "../x", newShop(), fault.Invalid},
			"empty name":              {jane, "kept", registry.Change{Name: ptr("")}, fault.Invalid},
			"empty team":              {jane, "kept", registry.Change{Team: ptr("")}, fault.Invalid},
			"moved to no team":        {jane, "kept", registry.Change{Team: ptr("nobody")}, fault.Invalid},
			"criticality 0":           {jane, "kept", registry.Change{CriticalityLevel: ptr(0)}, fault.Internal}, // as it is
			"criticality 5":           {jane, "kept", registry.Change{CriticalityLevel: ptr(5)}, fault.Invalid},
			"NUL":                     {jane, "kept", registry.Change{Subtitle: ptr("a\x00b")}, fault.Invalid},
			"bad UTF-8":               {jane, "kept", registry.Change{Description: ptr("a\xffb")}, fault.Invalid},
			"line end in a line":      {jane, "kept", registry.Change{ServiceURL: ptr("a\nb")}, fault.Invalid},
			"line end in Markdown":    {jane, "kept", registry.Change{Description: ptr("a\nb")}, fault.Internal},
			"enormous":                {jane, "kept", registry.Change{Description: ptr(strings.Repeat("a", 1<<20))}, fault.Invalid},
		} {
			_, err := w.put(c.caller, c.app, c.change)
			if c.want == fault.Internal && err != nil || c.want != fault.Internal && !fault.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Rights in the old team are enough; the new one merely has to exist. After that they are gone.
		if _, err := w.put(jane, "kept", registry.Change{Team: ptr("other")}); err != nil {
			t.Error(err)
		}
		if _, err := w.put(jane, "kept", registry.Change{Team: ptr("shop")}); !fault.Is(err, fault.Forbidden) {
			t.Errorf("jane took back what is no longer hers: %v", err)
		}
	})
}

func TestMergeOfChanges(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		full := newShop()
		full.Subtitle, full.Description, full.SCMURL = ptr("sub"), ptr("**md**"), ptr("https://scm.example.org")
		full.CriticalityLevel, full.PubliclyAccessible = ptr(2), ptr(true)
		before, err := w.put(jane, "kio", full)
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour)
		same, err := w.put(stranger2shop(), "kio", full)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, same); diff != "" {
			t.Errorf("a change that changes nothing left a trace: %s", diff)
		}
		after, err := w.put(jane, "kio", registry.Change{Subtitle: ptr(""), PubliclyAccessible: ptr(false)})
		if err != nil {
			t.Fatal(err)
		}
		want := before
		want.Subtitle, want.PubliclyAccessible, want.Revision, want.Modified = "", false, 2, start.Add(time.Hour)
		if diff := cmp.Diff(want, after); diff != "" {
			t.Errorf("absent keeps, empty clears, false is respected: %s", diff)
		}
		err = w.d.Write(ctx, func(tx db.WriteTx) error {
			_, err := w.r.PutApplication(ctx, tx, jane, "kio", registry.Change{Name: ptr("lost update")}, route.IfMatch{IfMatch: route.ETag(1)}.Check)
			return err
		})
		if !fault.Is(err, fault.PreconditionFailed) {
			t.Errorf("a change of an old revision: %v", err)
		}
	})
}

func stranger2shop() access.Caller {
	c := stranger
	c.Teams = []string{"shop"}
	return c
}

func TestHookUndoesTheChange(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.r.OnApplicationChanged(func(context.Context, db.WriteTx, registry.Application) error { return errors.New("no") })
		if _, err := w.put(jane, "kio", newShop()); err == nil {
			t.Fatal("a hook's error was lost")
		}
		var apps, users, clients int
		w.read(func(tx db.ReadTx) error {
			return errors.Join(
				tx.QueryRow(ctx, `SELECT count(*) FROM applications`).Scan(&apps),
				tx.QueryRow(ctx, `SELECT count(*) FROM users`).Scan(&users),
				tx.QueryRow(ctx, `SELECT count(*) FROM clients`).Scan(&clients))
		})
		users -= 2 // who are in the teams
		if apps+users+clients != 0 {
			t.Errorf("%d applications, %d users and %d clients were left", apps, users, clients)
		}
	})
}

func TestDeactivation(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.app("kio")
		old := w.secret("kio", 1)
		var password redact.Secret
		w.write(func(tx db.WriteTx) error {
			document, err := w.dir.ServicePasswords().Prepare(ctx, tx, "kio", 1)
			var content map[string]string
			_ = json.Unmarshal(document.Bytes(), &content)
			password = redact.New(content["application_password"])
			return err
		})
		login := func() bool {
			_, err := w.dir.Verifier().ServicePassword(ctx, "services", "kio", password)
			return err == nil
		}
		if !w.accepted(a.ClientID, old) || !login() {
			t.Fatal("the first credentials are refused")
		}
		w.clock.Advance(time.Hour)
		if _, err := w.put(jane, "kio", registry.Change{Active: ptr(false)}); err != nil {
			t.Fatal(err)
		}
		client, err := w.r.Clients().Client(ctx, a.ClientID)
		if err != nil || client.Enabled {
			t.Errorf("client of an inactive application: %+v, %v", client, err)
		}
		if w.accepted(a.ClientID, old) || login() {
			t.Error("credentials of an inactive application are accepted")
		}
		err = w.d.Write(ctx, func(tx db.WriteTx) error { _, err := w.r.ClientSecrets().Prepare(ctx, tx, "kio", 2); return err })
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("an inactive application got a new secret: %v", err)
		}
		w.clock.Advance(time.Hour)
		back, err := w.put(jane, "kio", registry.Change{Active: ptr(true)})
		if err != nil {
			t.Fatal(err)
		}
		if back.ClientID != a.ClientID || back.ServiceUserID != a.ServiceUserID {
			t.Error("ids changed")
		}
		if w.accepted(a.ClientID, old) || login() {
			t.Error("an old credential came back to life")
		}
		if !w.accepted(a.ClientID, w.secret("kio", 2)) {
			t.Error("a new secret is refused")
		}
		if client, err := w.r.Clients().Client(ctx, a.ClientID); err != nil || !client.EnabledSince.Equal(w.clock.Now()) {
			t.Errorf("%+v, %v: tokens of before must be known as such", client, err)
		}
	})
}

func TestBornInactive(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		change := newShop()
		change.Active = ptr(false)
		a, err := w.put(jane, "kio", change)
		if err != nil {
			t.Fatal(err)
		}
		if client, err := w.r.Clients().Client(ctx, a.ClientID); err != nil || client.Enabled {
			t.Errorf("%+v, %v", client, err)
		}
		if _, err := w.put(jane, "kio", registry.Change{Active: ptr(true)}); err != nil {
			t.Fatal(err)
		}
		if !w.accepted(a.ClientID, w.secret("kio", 1)) {
			t.Error("activated later, its secret is refused")
		}
	})
}

func TestListing(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for i, change := range []registry.Change{
			{Team: ptr("shop"), Name: ptr("Order Ärger"), Active: ptr(true), Description: ptr("stores 100% of orders"), IncidentContact: ptr("night")},
			{Team: ptr("shop"), Name: ptr("Billing"), Active: ptr(false), Subtitle: ptr("ORDER _ book")},
			{Team: ptr("other"), Name: ptr("Kio"), Active: ptr(true)},
		} {
			w.clock.Set(start.Add(time.Duration(i) * time.Hour))
			if _, err := w.put(admin, []string{"app-a", "app-b", "app-c"}[i], change); err != nil {
				t.Fatal(err)
			}
		}
		for name, c := range map[string]struct {
			f    registry.Filter
			want string
		}{
			"all":                  {registry.Filter{}, "app-a app-b app-c"},
			"page":                 {registry.Filter{After: "app-a", Limit: 1}, "app-b"},
			"team":                 {registry.Filter{Team: "shop"}, "app-a app-b"},
			"active":               {registry.Filter{Active: ptr(true)}, "app-a app-c"},
			"inactive":             {registry.Filter{Active: ptr(false)}, "app-b"},
			"after is inclusive":   {registry.Filter{ModifiedAfter: start.Add(time.Hour)}, "app-b app-c"},
			"before is inclusive":  {registry.Filter{ModifiedBefore: start.Add(time.Hour)}, "app-a app-b"},
			"contact":              {registry.Filter{IncidentContact: "night"}, "app-a"},
			"words in any case":    {registry.Filter{Search: "ORDER"}, "app-a app-b"},
			"all words":            {registry.Filter{Search: "order book"}, "app-b"},
			"beyond ASCII":         {registry.Filter{Search: "äRGER"}, "app-a"},
			"percent is a letter":  {registry.Filter{Search: "100%"}, "app-a"},
			"wildcards mean none":  {registry.Filter{Search: "o%r"}, ""},
			"underscore is itself": {registry.Filter{Search: "_"}, "app-b"},
			"quote":                {registry.Filter{Search: "' OR 1=1 --"}, ""},
			"combined":             {registry.Filter{Search: "order", Team: "shop", Active: ptr(true), ModifiedBefore: start}, "app-a"},
			"nothing":              {registry.Filter{Team: "nobody"}, ""},
		} {
			if c.f.Limit == 0 {
				c.f.Limit = 100
			}
			var got []string
			w.read(func(tx db.ReadTx) error {
				list, err := w.r.ListApplications(ctx, tx, jane, c.f)
				for _, a := range list {
					got = append(got, a.ID)
				}
				return err
			})
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s: %v, want %s", name, got, c.want)
			}
		}
		for name, search := range map[string]string{"NUL": "a\x00", "bad UTF-8": "\xff", "long": strings.Repeat("a", 1000), "words": strings.Repeat("a ", 20)} {
			err := w.d.Read(ctx, func(tx db.ReadTx) error {
				_, err := w.r.ListApplications(ctx, tx, jane, registry.Filter{Search: search, Limit: 1})
				return err
			})
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("search for %s: %v", name, err)
			}
		}
		err := w.d.Read(ctx, func(tx db.ReadTx) error {
			_, err := w.r.ListApplications(ctx, tx, customer, registry.Filter{Limit: 1})
			return err
		})
		if !fault.Is(err, fault.Forbidden) {
			t.Errorf("a customer lists applications: %v", err)
		}
	})
}
