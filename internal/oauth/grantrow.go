package oauth

import (
	"context"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
)

const selectGrants = `SELECT g.id, g.client_id, g.user_id, g.realm, g.session_id, g.began_by, g.scopes, g.resources, g.claims, g.offline, g.front,
	g.redirect_uri, g.challenge, g.nonce, g.auth_time, g.amr, g.acr, g.created,
	g.code_mac, g.code_used, g.generation, g.token_mac, g.successor_box, g.rotated, g.retries, g.idle_until, g.live_until, g.ended,
	u.disabled, u.enabled_since, coalesce(a.scopes, ''), coalesce(s.expires, 0), coalesce(t.client_id, '') <> ''
	FROM grants g JOIN users u ON u.id = g.user_id LEFT JOIN approvals a ON a.user_id = g.user_id AND a.client_id = g.client_id
	LEFT JOIN sessions s ON s.id = g.session_id LEFT JOIN typed_clients t ON t.client_id = g.client_id`

const (
	byID   = "g.id"
	byCode = "g.code_mac"
)

func grantsBy(column string, values *[]any) string {
	return selectGrants + ` WHERE ` + column + ` IN (` + placeholders(values) + `)`
}

// ahead are the grants that a transaction of changes read as it began: those that the column selects.
type ahead struct {
	column string
	grants []*grant
}

// readAhead has the grants of refresh tokens, or else those of codes, read as the transaction begins.
func (p *people) readAhead(items []change) *db.Opening {
	p.ahead = ahead{column: byID}
	x := sortChanges(items)
	ids := grantsOf(x.refreshes)
	if len(ids) == 0 {
		p.ahead.column, ids = byCode, codesOf(x.exchanges)
	}
	if len(ids) == 0 {
		p.ahead = ahead{}
		return nil
	}
	query := grantsBy(p.ahead.column, &ids)
	return &db.Opening{Query: query, Args: ids, Row: func(row db.Row) error {
		g, err := scanGrant(row)
		p.ahead.grants = append(p.ahead.grants, g)
		return err
	}}
}

// takeGrants gives the grants that were read ahead, or reads them.
func (p *people) takeGrants(ctx context.Context, tx db.ReadTx, column string, values []any) ([]*grant, error) {
	if p.ahead.column != column || len(values) == 0 {
		return loadGrants(ctx, tx, column, values)
	}
	grants := p.ahead.grants
	p.ahead = ahead{}
	return grants, loadBounds(ctx, tx, grants)
}

// loadGrants reads the grants whose column has one of the values, all in one query.
func loadGrants(ctx context.Context, tx db.ReadTx, column string, values []any) ([]*grant, error) {
	if len(values) == 0 {
		return nil, nil
	}
	var grants []*grant
	err := eachRow(ctx, tx, grantsBy(column, &values), values, func(row db.Row) error {
		g, err := scanGrant(row)
		grants = append(grants, g)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read grants: %w", err)
	}
	return grants, loadBounds(ctx, tx, grants)
}

func scanGrant(row db.Row) (*grant, error) {
	var g grant
	var scopes, resources, claims, amr, approved string
	var authTime, created, used, rotated, idle, live, ended, disabled, since, session int64
	if err := row.Scan(&g.id, &g.client, &g.user, &g.realm, &g.session, &g.by, &scopes, &resources, &claims, &g.offline, &g.front, &g.redirect, &g.challenge, &g.nonce, &authTime, &amr, &g.acr, &created,
		&g.codeMAC, &used, &g.generation, &g.tokenMAC, &g.successor, &rotated, &g.retries, &idle, &live, &ended,
		&disabled, &since, &approved, &session, &g.typed); err != nil {
		return nil, fmt.Errorf("read a grant: %w", err)
	}
	g.scopes, g.amr, g.approved = strings.Fields(scopes), strings.Fields(amr), strings.Fields(approved)
	g.resources, g.claims = strings.Fields(resources), strings.Fields(claims)
	g.authTime, g.created, g.codeUsed, g.rotated = db.Time(authTime), db.Time(created), db.Time(used), db.Time(rotated)
	g.idleUntil, g.liveUntil, g.sessionUntil, g.ended = db.Time(idle), db.Time(live), db.Time(session), ended != 0
	g.userEnabled, g.userSince = disabled == 0, db.Time(since)
	return &g, nil
}

// updateGrants is the statement that stores what changed in grants that were read in this transaction, one for all of
// them. There is no UPDATE with a list of rows that both engines know; but there is an INSERT of rows that are all there
// already. What it would insert is never stored. A grant that ended meanwhile, or is a generation further, gets none,
// which no row may have: then the statement fails and so does the transaction.
func updateGrants(grants []*grant) (statement string, args []any) {
	const columns = 9
	args = make([]any, 0, columns*len(grants))
	for _, g := range grants {
		if g.changed && !g.ended { // one that has ended as well is stored as such, and needs no more
			args = append(args, g.id, db.Micros(g.codeUsed), g.generation, orNone(g.tokenMAC), orNone(g.successor), db.Micros(g.rotated), g.retries,
				db.Micros(g.idleUntil), db.Micros(g.liveUntil))
		}
	}
	if len(args) == 0 {
		return "", nil
	}
	return `INSERT INTO grants (id, code_used, generation, token_mac, successor_box, rotated, retries, idle_until, live_until,
		client_id, user_id, realm, session_id, began_by, scopes, resources, claims, offline, front, redirect_uri, challenge, nonce, auth_time, amr, acr, created, code_mac, ended, ended_by) VALUES ` +
		tuples(len(args)/columns, columns, `'', '', '', '', '', '', '', '', FALSE, FALSE, '', '', '', 0, '', '', 0, $4, 0, ''`) + `
		ON CONFLICT (id) DO UPDATE SET code_used = excluded.code_used, token_mac = excluded.token_mac, successor_box = excluded.successor_box,
			generation = CASE WHEN grants.ended = 0 AND grants.generation <= excluded.generation THEN excluded.generation END,
			rotated = excluded.rotated, retries = excluded.retries, idle_until = excluded.idle_until, live_until = excluded.live_until`, args
}

func storeGrants(ctx context.Context, tx db.WriteTx, grants []*grant) error {
	statement, args := updateGrants(grants)
	if args == nil {
		return nil
	}
	if _, err := tx.Exec(ctx, statement, args...); err != nil { // it fails where it would affect fewer rows
		return fmt.Errorf("store grants: %w", err)
	}
	return nil
}

// storeGrantsLast is storeGrants for those who write nothing to these grants afterwards: it happens with the commit.
func storeGrantsLast(ctx context.Context, tx db.WriteTx, grants []*grant) error {
	statement, args := updateGrants(grants)
	if args == nil {
		return nil
	}
	if err := tx.AtCommit(ctx, statement, args...); err != nil {
		return fmt.Errorf("store grants: %w", err)
	}
	return nil
}

// orNone is b, but never nil, which a database takes for null.
func orNone(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
