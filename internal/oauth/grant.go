package oauth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/seal"
)

// grant is what a person let a client do: a row from the code to the last refresh token.
type grant struct {
	id, client, user, realm, session string
	scopes                           []string
	redirect, challenge, nonce       string
	authTime, created                time.Time
	amr                              []string
	codeUsed                         bool
	generation                       int64
	tokenMAC, successor              []byte
	rotated                          time.Time
	retries                          int64
	idleUntil, liveUntil             time.Time
	ended                            bool

	// What is true now of the person and of the approval.
	userEnabled bool
	userSince   time.Time
	approved    []string
}

// beginning is a grant that begins, with the flow that it answers and the approval that it brings.
type beginning struct {
	flow     *flow // nil: nobody had to be asked
	request  *authRequest
	person   session.Session
	approves bool
	caller   access.Caller

	id      string
	codeMAC []byte
	lost    bool // the flow was answered before
}

// newBeginning gives the grant its id and its code, which it answers.
func (p *people) newBeginning(b *beginning) (code string) {
	secret := seal.NewSecret(codePrefix)
	b.id, b.codeMAC = id.New(id.Grant, p.s.clock.Now()), p.Keyring.MAC(macCode, secret)
	return secret.Reveal()
}

func (p *people) writeBeginnings(ctx context.Context, tx db.WriteTx, items []*beginning) error {
	now := tx.Now()
	for _, b := range items {
		b.lost = false
		if b.flow != nil {
			ok, err := useFlow(ctx, tx, b.flow.mac)
			if err != nil {
				return err
			}
			if b.lost = !ok; b.lost {
				continue
			}
		}
		q, u := b.request, b.person.User
		if b.approves {
			if err := approve(ctx, tx, b.caller, u.ID, q.client.ID, q.scopes); err != nil {
				return err
			}
		}
		until := db.Micros(now.Add(codeLife))
		if err := db.One(tx.Exec(ctx, `INSERT INTO grants (id, client_id, user_id, realm, session_id, scopes, redirect_uri, challenge, nonce, auth_time, amr,
				created, code_mac, code_used, generation, token_mac, successor_box, rotated, retries, idle_until, live_until, ended, ended_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, 0, $14, $14, 0, 0, $15, $15, 0, '')`,
			b.id, q.client.ID, u.ID, u.Realm, b.person.ID, strings.Join(q.scopes, " "), q.redirect, q.challenge, q.nonce, db.Micros(b.person.AuthTime),
			strings.Join(b.person.AMR, " "), db.Micros(now), b.codeMAC, []byte{}, until)); err != nil {
			return fmt.Errorf("store a grant: %w", err)
		}
	}
	return nil
}

const selectGrant = `SELECT g.id, g.client_id, g.user_id, g.realm, g.session_id, g.scopes, g.redirect_uri, g.challenge, g.nonce, g.auth_time, g.amr, g.created,
	g.code_used, g.generation, g.token_mac, g.successor_box, g.rotated, g.retries, g.idle_until, g.live_until, g.ended, u.disabled, u.enabled_since, coalesce(a.scopes, '')
	FROM grants g JOIN users u ON u.id = g.user_id LEFT JOIN approvals a ON a.user_id = g.user_id AND a.client_id = g.client_id`

// loadGrant reads one grant by the condition; nil if there is none.
func loadGrant(ctx context.Context, tx db.ReadTx, condition string, value any) (*grant, error) {
	var g grant
	var scopes, amr, approved string
	var authTime, created, used, rotated, idle, live, ended, disabled, since int64
	err := tx.QueryRow(ctx, selectGrant+` WHERE `+condition, value).Scan(&g.id, &g.client, &g.user, &g.realm, &g.session, &scopes, &g.redirect, &g.challenge,
		&g.nonce, &authTime, &amr, &created, &used, &g.generation, &g.tokenMAC, &g.successor, &rotated, &g.retries, &idle, &live, &ended, &disabled, &since, &approved)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a grant: %w", err)
	}
	g.scopes, g.amr, g.approved = strings.Fields(scopes), strings.Fields(amr), strings.Fields(approved)
	g.authTime, g.created, g.rotated = db.Time(authTime), db.Time(created), db.Time(rotated)
	g.idleUntil, g.liveUntil = db.Time(idle), db.Time(live)
	g.codeUsed, g.ended, g.userEnabled, g.userSince = used != 0, ended != 0, disabled == 0, db.Time(since)
	return &g, nil
}

// owner is what the gate must know of the grant.
func (g *grant) owner() *owner {
	return &owner{enabled: g.userEnabled && !g.userSince.After(g.created), approved: g.approved, granted: g.scopes}
}

// end ends the grant: no token of it is good from the commit on, here at once and on every node within a second.
func (p *people) end(ctx context.Context, tx db.WriteTx, grantID, clientID, why string) error {
	now := tx.Now()
	keep := now.Add(p.longestLife() + time.Minute)
	n, err := tx.Exec(ctx, `UPDATE grants SET ended = $2, ended_by = $3, code_used = CASE WHEN code_used = 0 THEN $2 ELSE code_used END,
		successor_box = $4, idle_until = $5 WHERE id = $1 AND ended = 0`, grantID, db.Micros(now), why, []byte{}, db.Micros(keep))
	if err != nil {
		return fmt.Errorf("end a grant: %w", err)
	}
	if n == 0 {
		return nil // it has ended already
	}
	_, err = p.s.revoked.revoke(ctx, tx, &Claims{ID: grantID, ClientID: clientID, Expires: keep}, why)
	return err
}

// longestLife is how long an access token of any person can live.
func (p *people) longestLife() time.Duration {
	longest := personLife
	for _, name := range p.s.realms.Names() {
		longest = max(longest, p.s.lifetime(name))
	}
	return longest
}

// endAll ends the grants that the condition selects, and answers how many.
func (p *people) endAll(ctx context.Context, tx db.WriteTx, why, condition string, args ...any) (int, error) {
	rows, err := tx.Query(ctx, `SELECT id, client_id FROM grants WHERE ended = 0 AND `+condition+` ORDER BY id`, args...)
	if err != nil {
		return 0, fmt.Errorf("list grants: %w", err)
	}
	defer rows.Close()
	type key struct{ id, client string }
	var list []key
	for rows.Next() {
		var k key
		if err := rows.Scan(&k.id, &k.client); err != nil {
			return 0, fmt.Errorf("list grants: %w", err)
		}
		list = append(list, k)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, fmt.Errorf("list grants: %w", err)
	}
	for _, k := range list {
		if err := p.end(ctx, tx, k.id, k.client, why); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// PersonDisabled ends all that the person let clients do, in the transaction that disables the person.
func (s *Server) PersonDisabled(ctx context.Context, tx db.WriteTx, userID string) error {
	return s.forget(ctx, tx, "user_disabled", `user_id = $1`, userID)
}

// PasswordChanged ends the grants of a person who has another password now. What was allowed stays remembered.
func (s *Server) PasswordChanged(ctx context.Context, tx db.WriteTx, userID string) error {
	if s.people == nil {
		return nil
	}
	_, err := s.people.endAll(ctx, tx, "password_changed", `user_id = $1`, userID)
	return err
}

// ApplicationChanged ends all that people let the client of an inactive application do, in the transaction that sets it
// inactive.
func (s *Server) ApplicationChanged(ctx context.Context, tx db.WriteTx, a registry.Application) error {
	if a.Active {
		return nil
	}
	return s.forget(ctx, tx, "application_inactive", `client_id = $1`, a.ClientID)
}

// Withdraw takes back all that the person let the client do. What it has from then on it must ask for again.
func (s *Server) Withdraw(ctx context.Context, tx db.WriteTx, c access.Caller, userID, clientID string) error {
	if err := s.forget(ctx, tx, "withdrawn", `user_id = $1 AND client_id = $2`, userID, clientID); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "approval.withdraw", "client", clientID, map[string]any{"user": userID})
}

func (s *Server) forget(ctx context.Context, tx db.WriteTx, why, condition string, args ...any) error {
	if s.people == nil {
		return nil
	}
	if _, err := s.people.endAll(ctx, tx, why, condition, args...); err != nil {
		return err
	}
	// Any number is right: there may have been no approval.
	if _, err := tx.Exec(ctx, `DELETE FROM approvals WHERE `+condition, args...); err != nil {
		return fmt.Errorf("delete approvals: %w", err)
	}
	return nil
}

// sweep removes what is over, in batches, so that no transaction is long. Ended grants stay until no token of theirs can
// be good.
func (p *people) sweep(ctx context.Context, keep time.Duration) error {
	const rows, batches = 500, 200
	for _, query := range []string{
		`DELETE FROM authorization_flows WHERE handle IN (SELECT handle FROM authorization_flows WHERE expires < $1 ORDER BY expires LIMIT $2)`,
		`DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE idle_until < $1 ORDER BY idle_until LIMIT $2)`,
	} {
		for range batches {
			var n int64
			err := p.s.db.Write(ctx, func(tx db.WriteTx) (err error) {
				n, err = tx.Exec(ctx, query, db.Micros(tx.Now().Add(-keep)), rows)
				return err
			})
			if err != nil {
				return fmt.Errorf("sweep what people let clients do: %w", err)
			}
			if n < rows {
				break
			}
		}
	}
	return nil
}

// authClass is the acr of a login by these methods: 2 with more than one factor.
func authClass(amr []string) string {
	if slices.Contains(amr, "mfa") {
		return "2"
	}
	return "1"
}
