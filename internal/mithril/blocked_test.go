package mithril_test

import (
	"context"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
)

// Whom the directory has disabled, an administrator can block besides; then the return to the directory opens nothing.
func TestBlockOnTopOfADirectory(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		userID, _ := id.FromUUID(id.User, w.user)
		source := access.SystemCaller("directory")
		state := identity.EntryState{UserID: userID}
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			if err := db.One(tx.Exec(ctx, `INSERT INTO person_entries (user_id, realm, entry, digest, seen, mark, disabled) VALUES ($1, 'customers', 'e1', '', 1, '', 0)`, userID)); err != nil {
				return err
			}
			return w.identity.EntryGone(ctx, tx, source, state)
		})
		block := func() answer {
			return w.do("PATCH", "/mithril/users/"+w.user+"/actions/block", `{"user":{"block_reason":"fraud"}}`)
		}
		if a := block().want(200); a.at("data.block_reason") != "fraud" {
			t.Errorf("%s", a.body)
		}
		block().refused(409, "request_conflict") // once is enough
		w.write(func(ctx context.Context, tx db.WriteTx) error { return w.identity.EntryBack(ctx, tx, source, state) })
		if a := w.do("GET", "/mithril/users/"+w.user, ""); a.at("data.is_blocked") != "true" {
			t.Errorf("the directory has lifted the block: %s", a.body)
		}
		w.do("PATCH", "/mithril/users/"+w.user+"/actions/unblock", "").want(200)
	})
}
