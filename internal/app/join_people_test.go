package app

import (
	"context"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// Who a person is comes from memory, which follows what is changed on any node.
func TestPeopleAreKnownFromMemory(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			ctx := t.Context()
			url := dbtest.URL(t, engine)
			d, other := dbtest.OpenURL(t, url, clock.System), dbtest.OpenURL(t, url, clock.System)
			dir, err := identity.New(d, sealtest.New(t, d), identity.Options{})
			if err != nil {
				t.Fatal(err)
			}
			here, there := newPeople(d), newPeople(other)
			for _, node := range []*db.DB{d, other} {
				stop, err := node.StartFeed(ctx)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
			}
			write := func(f func(ctx context.Context, tx db.WriteTx) error) {
				t.Helper()
				if err := d.Write(ctx, func(tx db.WriteTx) error { return f(ctx, tx) }); err != nil {
					t.Fatal(err)
				}
			}
			person := func(p people, userID string) oauth.Person {
				t.Helper()
				found, err := p.Person(ctx, userID)
				if err != nil {
					t.Fatal(err)
				}
				return found
			}
			system := access.SystemCaller("test")
			var alice identity.User
			write(func(ctx context.Context, tx db.WriteTx) (err error) {
				alice, err = dir.CreatePerson(ctx, tx, system, identity.NewPerson{Realm: "customers", Username: "alice", DisplayName: "Alice", Email: "alice@example.org"}, redact.Secret{})
				return err
			})
			if p := person(here, alice.ID); p.Name != "Alice" || p.Email != "alice@example.org" || !p.Enabled {
				t.Errorf("%+v", p)
			}
			person(there, alice.ID)
			// A change that nobody announced is not seen: so nothing was read.
			write(func(ctx context.Context, tx db.WriteTx) error {
				return db.One(tx.Exec(ctx, `UPDATE users SET display_name = 'Somebody' WHERE id = $1`, alice.ID))
			})
			if p := person(here, alice.ID); p.Name != "Alice" {
				t.Errorf("it was read: %+v", p)
			}
			for _, step := range []struct {
				change func(ctx context.Context, tx db.WriteTx) error
				is     func(p oauth.Person) bool
			}{
				{func(ctx context.Context, tx db.WriteTx) error {
					return dir.ChangeEmail(ctx, tx, system, alice.ID, "liddell@example.org")
				},
					func(p oauth.Person) bool { return p.Email == "liddell@example.org" && p.Name == "Somebody" }},
				{func(ctx context.Context, tx db.WriteTx) error { return dir.DisablePerson(ctx, tx, system, alice.ID) },
					func(p oauth.Person) bool { return !p.Enabled }},
				{func(ctx context.Context, tx db.WriteTx) error { return dir.EnablePerson(ctx, tx, system, alice.ID) },
					func(p oauth.Person) bool { return p.Enabled }},
				{func(ctx context.Context, tx db.WriteTx) error { return dir.RemovePerson(ctx, tx, system, alice.ID) },
					func(p oauth.Person) bool { return !p.Enabled && p.Name != "Somebody" && p.Email == "" }},
			} {
				write(step.change)
				if p := person(here, alice.ID); !step.is(p) {
					t.Errorf("the node that changed it says %+v", p)
				}
				for range 1000 { // the feed is polled four times a second
					if step.is(person(there, alice.ID)) {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				if p := person(there, alice.ID); !step.is(p) {
					t.Errorf("the other node says %+v", p)
				}
			}
		})
	}
}
