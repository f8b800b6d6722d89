package rotation_test

import (
	"context"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/rotation"
)

// landlord knows that bucket beta is not the shop's.
type landlord struct{ applications }

func (landlord) Deliver(_ context.Context, _ db.ReadTx, team string, d rotation.Destination) error {
	if d.Bucket == "beta" && team == "shop" {
		return fault.New(fault.Forbidden, "foreign_bucket", "It is not yours.")
	}
	return nil
}

func TestABucketOfAnotherTeamIsNoDestination(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		o := w.options()
		o.Applications = landlord{}
		s, err := rotation.New(w.d, w.keyring, o)
		if err != nil {
			t.Fatal(err)
		}
		s.HoldBy(held)
		w.application(s, "shop-web", "alpha")
		add := func(c access.Caller) error {
			return w.d.Write(t.Context(), func(tx db.WriteTx) error {
				_, err := s.AddDestination(t.Context(), tx, c, "shop-web", rotation.Destination{Store: "local", Bucket: "beta"})
				return err
			})
		}
		member := access.Caller{Kind: access.Person, ID: "usr_1", Name: "mia", Realm: "employees", Teams: []string{"shop"}}
		if err := add(member); fault.Code(err) != "foreign_bucket" {
			t.Errorf("a member of another team had his credentials written there: %v", err)
		}
		if err := add(access.Caller{Kind: access.Person, ID: "usr_2", Name: "root", Realm: "employees", Admin: true}); err != nil {
			t.Errorf("an administrator: %v", err)
		}
	})
}
