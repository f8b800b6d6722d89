package identity_test

import (
	"errors"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// A name that nobody has must cost the queries of one that somebody has, or their time tells which names exist. Here the
// table that only the second of them reads is taken away: both must notice.
func TestUnknownNamesAreLookedUpLikeKnownOnes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("app")
		w.write(func(tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `ALTER TABLE service_passwords RENAME TO elsewhere`)
			return err
		})
		for _, name := range []string{"app", "nobody"} {
			if _, err := w.login(name, redact.New("wrong")); err == nil || errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
