package rotation_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/rotation"
)

// TestRealKinds rotates real service passwords and client secrets, and logs in with what lies in the bucket.
func TestRealKinds(t *testing.T) {
	for _, e := range dbtest.Engines(t) {
		t.Run(string(e), func(t *testing.T) { newReal(t, e).test() })
	}
}

// real is a mint with the real registry and directory of users.
type real struct {
	*world
	t   *testing.T
	dir *identity.Directory
	r   *registry.Registry
	s   *rotation.Service
}

func newReal(t *testing.T, e db.Engine) *real {
	c := clock.NewFake(t0)
	w := &real{world: newWorldOn(t, dbtest.Open(t, e, c), c), t: t}
	var err error
	if w.dir, err = identity.New(w.d, w.keyring, identity.Options{Clock: c}); err != nil {
		t.Fatal(err)
	}
	if w.r, err = registry.New(w.d, w.keyring, w.dir, registry.Options{Clock: c}); err != nil {
		t.Fatal(err)
	}
	secrets := realSecrets{w.r.ClientSecrets()}
	w.s, err = rotation.New(w.d, w.keyring, rotation.Options{Kinds: []rotation.Kind{w.dir.ServicePasswords(), secrets},
		Applications: realApplications{}, Stores: w, Clock: c,
		Policies: map[string]lifecycle.Policy{w.dir.ServicePasswords().Name(): policy, secrets.Name(): policy}})
	if err != nil {
		t.Fatal(err)
	}
	w.s.HoldBy(held)
	w.r.OnApplicationChanged(func(ctx context.Context, tx db.WriteTx, app registry.Application) error {
		if !app.Active {
			return w.s.Deactivate(ctx, tx, app.ID)
		}
		return w.s.Plan(ctx, tx, app.ID)
	})
	stop, err := w.d.StartFeed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := w.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *real) put(change registry.Change) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := w.r.PutApplication(ctx, tx, access.SystemCaller("test"), "sales-orders", change, func(int64) error { return nil })
		return err
	})
}

func (w *real) rotate() {
	w.t.Helper()
	for _, kind := range []string{"service-password", "client-secret"} {
		if _, err := w.run(w.s, "sales-orders", kind); err != nil {
			w.t.Fatal(err)
		}
	}
}

// bucket is what the two documents hold now.
func (w *real) bucket() map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for object, keys := range map[string][]string{"user.json": {"application_password", "application_username"}, "client.json": {"client_id", "client_secret"}} {
		o, err := w.memory.Get(w.t.Context(), "alpha", "sales-orders/"+object, "")
		if err != nil {
			w.t.Fatal(err)
		}
		var doc map[string]string
		if err := json.Unmarshal(o.Body, &doc); err != nil {
			w.t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(doc)); !slices.Equal(got, keys) {
			w.t.Fatalf("%s has the keys %q, want %q", object, got, keys)
		}
		maps.Copy(all, doc)
	}
	return all
}

// logins tells whether the password and the secret are accepted.
func (w *real) logins(doc map[string]string) (password, secret bool) {
	w.t.Helper()
	_, err := w.dir.Verifier().ServicePassword(w.t.Context(), "services", doc["application_username"], redact.New(doc["application_password"]))
	_, _, err2 := w.r.Clients().AuthenticateClient(w.t.Context(), doc["client_id"], redact.New(doc["client_secret"]))
	for _, f := range []func(context.Context) error{w.dir.Flush, w.r.Flush} {
		if err := f(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	return err == nil, err2 == nil
}

func (w *real) accepted(doc map[string]string, want bool) {
	w.t.Helper()
	if p, s := w.logins(doc); p != want || s != want {
		w.t.Fatalf("accepted: password %v, secret %v; want %v", p, s, want)
	}
}

// register makes an application with one destination, and its first credentials.
func (w *real) register() {
	w.t.Helper()
	yes, team, name := true, "shop", "Sales orders"
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := w.r.PutTeam(ctx, tx, access.SystemCaller("test"), registry.Team{ID: team, Name: team}, func(int64) error { return nil })
		return err
	})
	w.put(registry.Change{Team: &team, Name: &name, Active: &yes, Confidential: &yes})
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := w.s.AddDestination(ctx, tx, system, "sales-orders", rotation.Destination{Store: "local", Bucket: "alpha"})
		return err
	})
	w.rotate()
}

func (w *real) test() {
	yes, no := true, false
	w.register()
	first := w.bucket()
	w.accepted(first, true)

	w.clock.Advance(3 * time.Hour)
	w.rotate()
	second := w.bucket()
	if second["client_id"] != first["client_id"] || second["application_username"] != first["application_username"] {
		w.t.Fatal("the names changed with the secrets")
	}
	w.accepted(first, true)
	w.accepted(second, true)
	w.clock.Advance(40 * time.Minute)
	w.rotate()
	w.accepted(second, true)
	w.accepted(first, false)

	w.refuse(objstore.Forbidden, "alpha") // a version is prepared and goes nowhere when the application is deactivated
	w.clock.Advance(3 * time.Hour)
	w.rotate()
	w.put(registry.Change{Active: &no})
	w.accepted(second, false)
	w.noSealed(0)
	w.refuse(objstore.None)
	w.put(registry.Change{Active: &yes})
	w.accepted(second, false)
	w.rotate()
	third := w.bucket()
	w.accepted(third, true)

	w.put(registry.Change{Confidential: &no})
	w.rotate()
	o, err := w.memory.Get(w.t.Context(), "alpha", "sales-orders/client.json", "")
	if err != nil || string(o.Body) != `{"client_id":"`+third["client_id"]+`","client_secret":null}` {
		w.t.Fatalf("client.json of a public client: %s %v", o.Body, err)
	}
}

type realApplications struct{}

func (realApplications) Team(ctx context.Context, tx db.ReadTx, app string) (string, bool, error) {
	a, err := registry.LoadApplication(ctx, tx, app)
	return a.Team, a.Active, err
}

type realSecrets struct{ registry.ClientSecrets }

func (s realSecrets) Fixed(ctx context.Context, tx db.ReadTx, app string) (bool, error) {
	rotates, err := s.Rotates(ctx, tx, app)
	return !rotates, err
}

// A client that becomes public loses its secrets at once. Whatever its rotation was in the middle of, it ends with a
// document that is true: it is neither stuck with a version that can never be used, nor left with a refused secret.
func TestSwitchedBetweenPublicAndConfidential(t *testing.T) {
	yes, no := true, false
	for _, e := range dbtest.Engines(t) {
		for name, open := range map[string]bool{"at rest": false, "while a version is open": true} {
			for how, last := range map[string]*bool{"to public": &no, "to public and back": &yes} {
				t.Run(string(e)+"/"+name+"/"+how, func(t *testing.T) {
					w := newReal(t, e)
					w.register()
					w.clock.Advance(3 * time.Hour)
					if open {
						w.refuse(objstore.Forbidden, "alpha")
						w.rotate()
						w.refuse(objstore.None)
					}
					w.put(registry.Change{Confidential: &no})
					if last == &yes { // before any job has run
						w.put(registry.Change{Confidential: &yes})
					}
					w.clock.Advance(time.Minute)
					w.rotate()
					if last == &yes {
						w.accepted(w.bucket(), true)
					} else if o, err := w.memory.Get(t.Context(), "alpha", "sales-orders/client.json", ""); err != nil || !strings.Contains(string(o.Body), `"client_secret":null`) {
						t.Fatalf("client.json of a public client: %s %v", o.Body, err)
					}
					c := w.secretStatus()
					if c.Problem != "" || c.Versions[0].State != "active" {
						t.Fatalf("%+v", c)
					}
					w.noSealed(0)
				})
			}
		}
	}
}

func (w *real) secretStatus() (c api.RotatingCredential) {
	w.t.Helper()
	w.read(func(ctx context.Context, tx db.ReadTx) error {
		r, err := w.s.Status(ctx, tx, access.SystemCaller("test"), "sales-orders")
		if err == nil {
			c = r.Credentials[1]
		}
		return err
	})
	return c
}

// What retired long ago is forgotten: a password that turns every two hours must not leave four thousand rows a year, which
// each look at its uses would read.
func TestOldVersionsAreForgotten(t *testing.T) {
	for _, e := range dbtest.Engines(t) {
		t.Run(string(e), func(t *testing.T) {
			w := newReal(t, e)
			w.register()
			for range 40 {
				w.clock.Advance(25 * time.Hour)
				w.rotate()
			}
			w.accepted(w.bucket(), true)
			for _, table := range []string{"service_passwords", "client_secrets"} {
				n := 0
				w.read(func(ctx context.Context, tx db.ReadTx) error {
					return tx.QueryRow(ctx, `SELECT COUNT(*) FROM `+table).Scan(&n)
				})
				if n < 10 || n > 36 {
					t.Errorf("%d rows in %s after 41 versions", n, table)
				}
			}
		})
	}
}
