package oauth_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// whole is a world whose clients and users are the real ones.
type whole struct {
	*world
	registry *registry.Registry
	identity *identity.Directory
}

var system = access.SystemCaller("test")

func (w *whole) write(f func(ctx context.Context, tx db.WriteTx) error) {
	w.t.Helper()
	if err := w.db.Write(w.t.Context(), func(tx db.WriteTx) error { return f(w.t.Context(), tx) }); err != nil {
		w.t.Fatal(err)
	}
}

// newWhole registers application sales-orders, with the application scope sales_order.read_all.
func newWhole(t testing.TB, engine db.Engine, change ...func(w *whole, o *oauth.Options)) *whole {
	t.Helper()
	w := &whole{}
	w.world = newWorld(t, engine, func(base *world, o *oauth.Options) {
		w.world = base
		var err error
		if w.identity, err = identity.New(o.DB, base.keyring, identity.Options{Clock: o.Clock}); err != nil {
			t.Fatal(err)
		}
		if w.registry, err = registry.New(o.DB, base.keyring, w.identity, registry.Options{Clock: o.Clock}); err != nil {
			t.Fatal(err)
		}
		o.Clients, o.Users = w.registry.Clients(), w.identity.Verifier()
		for _, f := range change {
			f(w, o)
		}
	})
	stop, err := w.db.StartFeed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		any := func(int64) error { return nil }
		if _, err := w.registry.PutTeam(ctx, tx, system, registry.Team{ID: "shop", Name: "Shop"}, any); err != nil {
			return err
		}
		team, active := "shop", true
		for _, app := range []string{"sales-orders", "other"} {
			if _, err := w.registry.PutApplication(ctx, tx, system, app, registry.Change{Team: &team, Name: &app, Active: &active}, any); err != nil {
				return err
			}
		}
		// The catalog is not what is tested here: the grant is put where the registry reads it.
		_, err := tx.Exec(ctx, `INSERT INTO application_scopes (application, scope, granted_by, granted) VALUES ('sales-orders', 'sales_order.read_all', 'test', 1)`)
		return err
	})
	return w
}

// pair is what lies in a bucket: user.json and client.json.
type pair struct {
	Username string `json:"application_username"`
	Password string `json:"application_password"`
	ClientID string `json:"client_id"`
	Secret   string `json:"client_secret"`
}

// mint prepares version n of both credentials, as rotation does.
func (w *whole) mint(app string, n int64) (p pair) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		user, err := w.identity.ServicePasswords().Prepare(ctx, tx, app, n)
		if err != nil {
			return err
		}
		client, err := w.registry.ClientSecrets().Prepare(ctx, tx, app, n)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(user.Bytes(), &p); err != nil {
			return err
		}
		return json.Unmarshal(client.Bytes(), &p)
	})
	return p
}

func (w *whole) activate(app string, n int64) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		if err := w.identity.ServicePasswords().Activate(ctx, tx, app, n); err != nil {
			return err
		}
		return w.registry.ClientSecrets().Activate(ctx, tx, app, n)
	})
}

func (w *whole) login(user, client pair) reply {
	w.t.Helper()
	body, err := json.Marshal(map[string]string{"grant_type": "password", "username": user.Username, "password": user.Password, "scope": "uid sales_order.read_all"})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.send("POST", "/oauth2/access_token?realm=services", string(body), auth(client.ClientID, client.Secret))
}

// soon waits for what the change feed brings.
func soon(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// With the real registry and the real users: a prepared version works at once, beside the one before and
// in any combination; what is retired is refused.
func TestTwoVersionsOfEachCredential(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWhole(t, engine)
			first := w.mint("sales-orders", 1)
			if r := w.login(first, first); r.status != 200 || r.text("scope") != "sales_order.read_all uid" {
				t.Fatalf("prepared: %d %s", r.status, r.body)
			}
			w.activate("sales-orders", 1)
			second := w.mint("sales-orders", 2)
			if second.Username != first.Username || second.ClientID != first.ClientID {
				t.Errorf("a rotation changed a name: %v, %v", first.Username, second.Username)
			}
			for _, user := range []pair{first, second} {
				for _, client := range []pair{first, second} {
					if r := w.login(user, client); r.status != 200 {
						t.Errorf("one of the four pairs: %d %s", r.status, r.body)
					}
				}
			}
			w.activate("sales-orders", 2)
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				if err := w.identity.ServicePasswords().Retire(ctx, tx, "sales-orders", 1); err != nil {
					return err
				}
				return w.registry.ClientSecrets().Retire(ctx, tx, "sales-orders", 1)
			})
			soon(t, "the retired password is still accepted", func() bool { return w.login(first, second).text("error") == "invalid_grant" })
			soon(t, "the retired secret is still accepted", func() bool { return w.login(second, first).text("error") == "invalid_client" })
			if r := w.login(second, second); r.status != 200 {
				t.Errorf("the new pair: %d %s", r.status, r.body)
			}
		})
	}
}

// The credentials of two applications do not mix, and what was made before a deactivation stays dead after it.
func TestOtherUsersAndDeactivation(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newWhole(t, engine)
			mine, other := w.mint("sales-orders", 1), w.mint("other", 1)
			w.expect(w.login(mine, other), 400, "invalid_grant")
			w.expect(w.login(other, mine), 400, "invalid_grant")
			token := w.login(mine, mine).text("access_token")
			client := w.send("POST", "/oauth2/token", "grant_type=client_credentials", auth(mine.ClientID, mine.Secret)).text("access_token")
			if !w.valid(token) || !w.valid(client) {
				t.Fatal("new tokens are not valid")
			}
			setActive := func(active bool) {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					_, err := w.registry.PutApplication(ctx, tx, system, "sales-orders", registry.Change{Active: &active}, func(int64) error { return nil })
					return err
				})
			}
			w.clock.Advance(1500 * time.Millisecond)
			setActive(false)
			soon(t, "a token of an inactive application is valid", func() bool { return !w.valid(token) && !w.valid(client) })
			soon(t, "an inactive application gets a token", func() bool { return w.login(mine, mine).text("error") == "invalid_client" })
			setActive(true)
			again := w.mint("sales-orders", 2)
			var r reply
			soon(t, "the application that is active again gets no token", func() bool { r = w.login(again, again); return r.status == 200 })
			soon(t, "a token of the active application is not valid", func() bool { return w.valid(r.text("access_token")) })
			if w.valid(token) || w.valid(client) {
				t.Error("a token from before the deactivation is valid again")
			}
			w.expect(w.login(mine, mine), 401, "invalid_client")
		})
	}
}
