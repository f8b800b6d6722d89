package oauth_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// Somebody who begins grants without end cannot put off by it that they end: it takes no statement for each.
func TestPersonWithVeryManyGrantsIsDisabled(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		ctx, stop := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- w.server.Run(ctx) }()
		t.Cleanup(func() { stop(); <-ran })
		b := w.browser().login(w.alice)
		tokens := w.exchange(w.shop, b.allow(asks(w.shop)))
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			for i := range 300 {
				more := fmt.Sprintf("more_%03d", i)
				if err := db.One(tx.Exec(ctx, `INSERT INTO grants (id, client_id, user_id, realm, session_id, began_by, scopes, resources, claims, offline, front, redirect_uri, challenge, nonce, auth_time, amr, acr, created,
					code_mac, code_used, generation, token_mac, successor_box, rotated, retries, idle_until, live_until, ended, ended_by)
					VALUES ($1, $2, $3, 'customers', '', 'authorization_code', 'openid', '', '', FALSE, FALSE, '', '', '', 0, '', '1', 0, $4, 1, 1, $5, $5, 0, 0, $6, $6, 0, '')`,
					more, fmt.Sprintf("cli_%d", i%10), w.alice.ID, []byte(more), []byte{}, db.Micros(tx.Now().Add(time.Hour)))); err != nil {
					return err
				}
			}
			return nil
		})
		waiting := b.allow(asks(w.shop))
		statements := 0
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			counting := &counted{WriteTx: tx}
			err := w.server.PersonDisabled(ctx, counting, w.alice.ID)
			statements = counting.n
			return err
		})
		if statements > 10 {
			t.Errorf("%d statements", statements)
		}
		soon(t, "the access token is good still", func() bool { return !w.active(w.shop, tokens.text("access_token")) })
		w.expect(w.refresh(w.shop, tokens.text("refresh_token")), 400, "invalid_grant")
		w.expect(w.exchange(w.shop, waiting), 400, "invalid_grant")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			var left, named int
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM grants WHERE ended = 0`).Scan(&left); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM revoked_tokens`).Scan(&named); err != nil {
				return err
			}
			if left != 0 || named != 301 {
				t.Errorf("%d grants are left, %d are named as revoked", left, named)
			}
			return nil
		})
	})
}

// counted counts what is executed.
type counted struct {
	db.WriteTx
	n int
}

func (c *counted) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	c.n++
	return c.WriteTx.Exec(ctx, query, args...)
}
