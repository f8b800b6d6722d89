package app

import (
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/rotation"
)

// What a client gets for a person, or from elsewhere, gives nobody the rights of a person or of a service user here.
func TestTokensSpeakForTheirApplicationAlone(t *testing.T) {
	client := registry.Client{ID: "cli_1", Application: "jane", UserID: "usr_1", Username: "jane", Realm: "services"}
	for _, subject := range []string{"jane", "cli_1"} {
		got, err := spokenFor(&oauth.Claims{Subject: subject, Realm: "services"}, client)
		if err != nil || got.UserID != "usr_1" || got.Realm != "services" || got.Application != "jane" {
			t.Errorf("%s: %+v, %v", subject, got, err)
		}
	}
	for name, claims := range map[string]*oauth.Claims{
		"a person who let the application act":     {Subject: "usr_2", Realm: "employees"},
		"a person of the service user's name":      {Subject: "jane", Realm: "employees"},
		"somebody else's service user":             {Subject: "joe", Realm: "services"},
		"a token that does not say for whom it is": {Realm: "services"},
	} {
		if got, err := spokenFor(claims, client); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestOwnBucketsOfTheEmbeddedEndpointAlone(t *testing.T) {
	d := dbtest.Open(t, db.SQLite, clock.System)
	if err := d.Write(t.Context(), func(tx db.WriteTx) error {
		if _, err := tx.Exec(t.Context(), `INSERT INTO teams (id, name, revision, created, created_by, modified, modified_by) VALUES ('shop', 'Shop', 1, 1, 'x', 1, 'x')`); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `INSERT INTO s3_buckets (name, team, created, created_by) VALUES ('shop-mint', 'shop', 1, 'x')`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		team, store, bucket string
		want                fault.Kind // Internal: allowed
	}{
		{"shop", "local", "shop-mint", fault.Internal},
		{"evil", "local", "shop-mint", fault.Forbidden},
		{"evil", "local", "nowhere", fault.NotFound},
		{"evil", "aws", "shop-mint", fault.Internal}, // who may write there is for its policy to say
	} {
		err := d.Read(t.Context(), func(tx db.ReadTx) error {
			return applications{}.Deliver(t.Context(), tx, c.team, rotation.Destination{Store: c.store, Bucket: c.bucket})
		})
		if c.want == fault.Internal && err != nil || c.want != fault.Internal && !fault.Is(err, c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
