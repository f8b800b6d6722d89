package registry_test

import (
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
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

func TestSecretsLife(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.app("kio")
		secrets := w.r.ClientSecrets()
		v1 := w.secret("kio", 1)
		client, version, err := w.r.Clients().AuthenticateClient(ctx, a.ClientID, v1)
		if err != nil || version != 1 || client.ID != a.ClientID || client.Application != "kio" {
			t.Fatalf("a prepared version: %+v, %d, %v", client, version, err)
		}
		w.write(func(tx db.WriteTx) error { return secrets.Activate(ctx, tx, "kio", 1) })
		v2 := w.secret("kio", 2)
		w.write(func(tx db.WriteTx) error { return secrets.Activate(ctx, tx, "kio", 2) })
		if !w.accepted(a.ClientID, v1) || !w.accepted(a.ClientID, v2) {
			t.Error("both versions are accepted while one is retiring")
		}
		w.clock.Advance(time.Minute)
		w.accepted(a.ClientID, v2)
		if err := w.r.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		w.read(func(tx db.ReadTx) error {
			used, err := secrets.LastUsed(ctx, tx, "kio")
			if !used[1].Equal(start) || !used[2].Equal(start.Add(time.Minute)) {
				t.Errorf("uses %v", used)
			}
			return err
		})
		w.write(func(tx db.WriteTx) error { return secrets.Retire(ctx, tx, "kio", 1) })
		if w.accepted(a.ClientID, v1) || !w.accepted(a.ClientID, v2) {
			t.Error("the retired version is refused and the active one is not")
		}
		// Its neighbour in another table must not open this door: the HMACs of kinds differ.
		w.write(func(tx db.WriteTx) error {
			document, err := w.dir.ServicePasswords().Prepare(ctx, tx, "kio", 1)
			if err != nil {
				return err
			}
			var content map[string]string
			if err := json.Unmarshal(document.Bytes(), &content); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `UPDATE client_secrets SET verifier = (SELECT verifier FROM service_passwords) WHERE version = 2`)
			v2 = redact.New(content["application_password"])
			return err
		})
		if w.accepted(a.ClientID, v2) {
			t.Error("a service password was taken for a client secret")
		}
	})
}

func TestClientDocumentIsExact(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		prepare := func(app string) string {
			var document redact.Secret
			w.write(func(tx db.WriteTx) (err error) {
				document, err = w.r.ClientSecrets().Prepare(ctx, tx, app, 1)
				return err
			})
			return document.Reveal()
		}
		a := w.app("kio")
		before := `{"client_id":"` + a.ClientID + `","client_secret":"mmc_`
		if got := prepare("kio"); !strings.HasPrefix(got, before) || len(got) != len(before)+43+2 {
			t.Error("client.json has another form")
		}
		public := newShop()
		public.Confidential = ptr(false)
		b, err := w.put(jane, "mobile", public)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := prepare("mobile"), `{"client_id":"`+b.ClientID+`","client_secret":null}`; got != want {
			t.Errorf("public client: %s, want %s", got, want)
		}
	})
}

func TestPublicClient(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		change := newShop()
		change.Confidential = ptr(false)
		a, err := w.put(jane, "mobile", change)
		if err != nil {
			t.Fatal(err)
		}
		w.secret("mobile", 1)
		w.write(func(tx db.WriteTx) error { return w.r.ClientSecrets().Activate(ctx, tx, "mobile", 1) })
		for _, shown := range []string{"", "anything"} {
			client, _, err := w.r.Clients().AuthenticateClient(ctx, a.ClientID, redact.New(shown))
			if !errors.Is(err, registry.ErrPublicClient) || client.ID != a.ClientID || client.Confidential || client.May("client_credentials") {
				t.Errorf("%q: %+v, %v", shown, client, err)
			}
		}
		// It becomes confidential: nothing is accepted until it has a secret; and back: the secret is worth nothing.
		if _, err := w.put(jane, "mobile", registry.Change{Confidential: ptr(true)}); err != nil {
			t.Fatal(err)
		}
		if w.accepted(a.ClientID, redact.Secret{}) {
			t.Error("an empty secret was accepted")
		}
		secret := w.secret("mobile", 2)
		if !w.accepted(a.ClientID, secret) {
			t.Error("its secret is refused")
		}
		if _, err := w.put(jane, "mobile", registry.Change{Confidential: ptr(false)}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.r.Clients().AuthenticateClient(ctx, a.ClientID, secret); !errors.Is(err, registry.ErrPublicClient) {
			t.Errorf("the secret of before: %v", err)
		}
	})
}

func TestClientRefusalsAreIdentical(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a, gone := w.app("kio"), w.app("gone")
		right, goneRight := w.secret("kio", 1), w.secret("gone", 1)
		if _, err := w.put(jane, "gone", registry.Change{Active: ptr(false)}); err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			id     string
			secret redact.Secret
		}{
			"wrong": {a.ClientID, redact.New("mmc_wrong")}, "none": {a.ClientID, redact.Secret{}}, "enormous": {a.ClientID, redact.New(strings.Repeat("a", 100_000))},
			"another's": {a.ClientID, goneRight}, "disabled": {gone.ClientID, goneRight}, "unknown": {"cli_01kat5a8w00000000000000000", right},
			"not an id": {"kio", right}, "no id": {"", right}, "another kind": {a.ServiceUserID, right}, "NUL": {a.ClientID + "\x00", right}, "case": {strings.ToUpper(a.ClientID), right},
		} {
			client, version, err := w.r.Clients().AuthenticateClient(ctx, c.id, c.secret)
			if err != registry.ErrCredentials || version != 0 || client.ID != "" { //nolint:errorlint // the very same value is the point
				t.Errorf("%s: %+v, %d, %v", name, client, version, err)
			}
		}
		for _, unknown := range []string{"", "kio", "cli_01kat5a8w00000000000000000"} {
			if _, err := w.r.Clients().Client(ctx, unknown); !fault.Is(err, fault.NotFound) {
				t.Errorf("client %q: %v", unknown, err)
			}
			if _, err := w.r.Clients().OfApplication(ctx, unknown); unknown != "kio" && !fault.Is(err, fault.NotFound) {
				t.Errorf("application %q: %v", unknown, err)
			}
		}
		if c, err := w.r.Clients().OfApplication(ctx, "kio"); err != nil || c.ID != a.ClientID {
			t.Errorf("client of kio: %+v, %v", c, err)
		}
	})
}

// What another node has prepared or registered is accepted here at once.
func TestOtherNodesSecretIsAcceptedAtOnce(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			c := clock.NewFake(start)
			d := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d)
			a, b := newWorld(t, d, k, c), newNode(t, dbtest.OpenURL(t, url, c), k, c)
			for _, w := range []*world{a, b} {
				stop, err := w.d.StartFeed(ctx)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
			}
			if _, err := b.r.Clients().OfApplication(ctx, "kio"); !fault.Is(err, fault.NotFound) { // and remembers it
				t.Fatal(err)
			}
			app := a.app("kio")
			if got, err := b.r.Clients().OfApplication(ctx, "kio"); err != nil || got.ID != app.ClientID {
				t.Errorf("registered on one node, unknown to the other: %v", err)
			}
			for version := int64(1); version <= 4; version++ {
				if secret := a.secret("kio", version); !b.accepted(app.ClientID, secret) {
					t.Fatalf("version %d, prepared on one node, is refused by the other", version)
				}
			}
		})
	}
}

func (w *world) grant(c access.Caller, app, scope string) (g registry.Grant, err error) {
	err = w.d.Write(ctx, func(tx db.WriteTx) (err error) { g, err = w.r.PutScope(ctx, tx, c, app, scope); return err })
	return g, err
}

func TestGrants(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.app("kio")
		scopes := func() registry.Client {
			t.Helper()
			client, err := w.r.Clients().Client(ctx, a.ClientID)
			if err != nil {
				t.Fatal(err)
			}
			return client
		}
		if diff := cmp.Diff([]string{"uid"}, scopes().Scopes); diff != "" {
			t.Errorf("a new client's scopes: %s", diff)
		}
		for name, c := range map[string]struct {
			caller     access.Caller
			app, scope string
			want       fault.Kind
		}{
			"nobody":                             {access.Caller{}, "kio", "sales_order.read_all", fault.Unauthenticated},
			"customer":                           {customer, "kio", "sales_order.read_all", fault.Forbidden},
			"the team, an application scope":     {jane, "kio", "sales_order.read_all", fault.Forbidden},
			"a stranger, a resource owner scope": {stranger, "kio", "sales_order.read", fault.Forbidden},
			"unknown scope":                      {admin, "kio", "sales_order.nope", fault.NotFound},
			"no dot":                             {admin, "kio", "uid", fault.NotFound},
			"nonsense":                           {admin, "kio", "sales_order.' OR 1=1", fault.NotFound},
			"unknown application":                {admin, "nope", "sales_order.read_all", fault.NotFound},
		} {
			if _, err := w.grant(c.caller, c.app, c.scope); !fault.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		first, err := w.grant(admin, "kio", "sales_order.read_all")
		if err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour)
		again, err := w.grant(admin, "kio", "sales_order.read_all")
		if err != nil || cmp.Diff(first, again) != "" {
			t.Errorf("granted again: %+v, %v", again, err)
		}
		if _, err := w.grant(jane, "kio", "sales_order.read"); err != nil {
			t.Errorf("the team declares a resource owner scope: %v", err)
		}
		if diff := cmp.Diff([]string{"sales_order.read_all", "uid"}, scopes().Scopes); diff != "" {
			t.Errorf("scopes on its own account: %s", diff)
		}
		if diff := cmp.Diff([]string{"sales_order.read"}, scopes().OwnerScopes); diff != "" {
			t.Errorf("scopes to ask an owner for: %s", diff)
		}
		w.read(func(tx db.ReadTx) error {
			list, err := w.r.Scopes(ctx, tx, robot, "kio")
			if len(list) != 2 || list[0].Scope != "sales_order.read" || !list[0].ResourceOwnerScope || list[1].By != "employees/admin" || !list[1].At.Equal(start) {
				t.Errorf("grants %+v", list)
			}
			return err
		})
		remove := func(c access.Caller, scope string) error {
			return w.d.Write(ctx, func(tx db.WriteTx) error { return w.r.DeleteScope(ctx, tx, c, "kio", scope) })
		}
		if err := remove(jane, "sales_order.read_all"); !fault.Is(err, fault.Forbidden) {
			t.Errorf("the team takes a granted scope away: %v", err)
		}
		if err := remove(admin, "sales_order.read_all"); err != nil {
			t.Error(err)
		}
		if err := remove(admin, "sales_order.read_all"); !fault.Is(err, fault.NotFound) {
			t.Errorf("taken away twice: %v", err)
		}
		if diff := cmp.Diff([]string{"uid"}, scopes().Scopes); diff != "" {
			t.Errorf("after it was taken away: %s", diff)
		}
	})
}

// A scope that is held neither vanishes nor changes its kind, and the refusal tells by whom.
func TestHeldScopesStay(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.app("kio")
		for _, scope := range []string{"sales_order.read_all", "sales_order.read"} {
			if _, err := w.grant(admin, "kio", scope); err != nil {
				t.Fatal(err)
			}
		}
		refused := func(what string, f func(tx db.WriteTx) error) {
			t.Helper()
			err := w.d.Write(ctx, f)
			if !fault.Is(err, fault.Conflict) || !strings.Contains(fault.Of(err).Detail, "kio") {
				t.Errorf("%s: %v", what, err)
			}
		}
		refused("delete a granted scope", func(tx db.WriteTx) error {
			return w.catalog.DeleteScope(ctx, tx, admin, "sales_order", "read_all", route.IfMatch{})
		})
		refused("delete a declared scope", func(tx db.WriteTx) error {
			return w.catalog.DeleteScope(ctx, tx, admin, "sales_order", "read", route.IfMatch{})
		})
		refused("delete its type", func(tx db.WriteTx) error {
			return w.catalog.DeleteType(ctx, tx, admin, "sales_order", route.IfMatch{})
		})
		refused("change its kind", func(tx db.WriteTx) error {
			_, err := w.catalog.PutScope(ctx, tx, admin, catalog.Scope{ResourceType: "sales_order", ID: "read_all", Summary: "x", IsResourceOwnerScope: true}, route.IfMatch{})
			return err
		})
		w.write(func(tx db.WriteTx) error {
			if _, err := w.catalog.PutScope(ctx, tx, admin, catalog.Scope{ResourceType: "sales_order", ID: "read_all", Summary: "another word for it"}, route.IfMatch{}); err != nil {
				return err
			}
			for _, scope := range []string{"sales_order.read_all", "sales_order.read"} {
				if err := w.r.DeleteScope(ctx, tx, admin, "kio", scope); err != nil {
					return err
				}
			}
			return w.catalog.DeleteType(ctx, tx, admin, "sales_order", route.IfMatch{})
		})
	})
}

func benchmarkClient(b *testing.B, f func(w *world, clientID string, right redact.Secret)) {
	c := clock.NewFake(start)
	d := dbtest.Open(b, db.SQLite, c)
	w := newWorld(b, d, sealtest.New(b, d), c)
	stop, err := d.StartFeed(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	a := w.app("kio")
	w.secret("kio", 1)
	right := w.secret("kio", 2)
	b.ReportAllocs()
	for b.Loop() {
		f(w, a.ClientID, right)
	}
}

func BenchmarkAuthenticateClient(b *testing.B) {
	benchmarkClient(b, func(w *world, clientID string, right redact.Secret) {
		if !w.accepted(clientID, right) {
			b.Fatal("refused")
		}
	})
}

func BenchmarkClient(b *testing.B) {
	benchmarkClient(b, func(w *world, clientID string, _ redact.Secret) {
		if _, err := w.r.Clients().Client(ctx, clientID); err != nil {
			b.Fatal(err)
		}
	})
}
