package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/seal"
)

// grant is what a person let a client do: a row from the code to the last refresh token.
type grant struct {
	id, client, user, realm, session string
	by                               string // the grant type by which it began
	scopes                           []string
	resources                        []string // whom its access tokens are for; nil: this installation
	claims                           []string // asked for with the parameter claims: "id_token.email"
	offline                          bool     // it goes on after the person has signed out
	front                            bool     // tokens came with the answer itself
	redirect, challenge, nonce       string
	authTime, created                time.Time
	amr                              []string
	acr                              string // the class of the login
	codeMAC                          []byte
	codeUsed                         time.Time
	generation                       int64
	tokenMAC, successor              []byte
	rotated                          time.Time
	retries                          int64
	idleUntil, liveUntil             time.Time
	ended                            bool

	// What is true now of the person and of the approval.
	userEnabled  bool
	userSince    time.Time
	approved     []string
	sessionUntil time.Time
	typed        bool
	bound        *registry.Bound // nil: the client has no type

	changed bool // what is here is not stored yet
}

// beginning is a grant that begins, with the flow that it answers and the approval that it brings.
type beginning struct {
	flow     *flow   // nil: nobody had to be asked
	device   *device // that the person decided about in place of a flow, or nil
	request  *authRequest
	person   session.Session
	approves bool
	caller   access.Caller
	by       string        // the grant type; "": authorization_code
	front    bool          // an access token goes with the answer itself
	life     time.Duration // of the code, or without one of the grant; 0: codeLife
	direct   bool          // the person gave the client the password: there is no code
	// check is asked in the transaction whether all is still as it was found; nil: nothing else is asked.
	check func(ctx context.Context, tx db.WriteTx) error

	id      string
	codeMAC []byte
	lost    bool  // the flow was answered before
	refused error // what check found, or the gate

	// What came of it at the gate, if tokens come with the answer itself.
	grant    *grant
	scopes   []string
	audience []string
}

// newBeginning gives the grant its id and its code, which it answers.
func (p *people) newBeginning(b *beginning) (code string) {
	secret := seal.NewSecret(codePrefix)
	b.id, b.codeMAC = id.New(id.Grant, p.s.clock.Now()), p.Keyring.MAC(macCode, secret)
	return secret.Reveal()
}

// change is one of the things that happen to grants all the time.
type change struct {
	begin    *beginning
	exchange *exchange
	refresh  *refresh
	poll     *poll
}

// changes are those of one transaction, by kind.
type changes struct {
	begins    []*beginning
	exchanges []*exchange
	refreshes []*refresh
	polls     []*poll
}

func sortChanges(items []change) (x changes) {
	for _, c := range items {
		switch {
		case c.begin != nil:
			x.begins = append(x.begins, c.begin)
		case c.exchange != nil:
			x.exchanges = append(x.exchanges, c.exchange)
		case c.refresh != nil:
			x.refreshes = append(x.refreshes, c.refresh)
		case c.poll != nil:
			x.polls = append(x.polls, c.poll)
		}
	}
	return x
}

// writeChanges does all that waits in one transaction. There is one at a time on each node: side by side they would be in
// each other's way, because a serializable transaction has read more of a small table than it asked for.
//
// What was read ahead is used before anything is written. Should two of the items be about one grant, then what one of
// them stores fails where it does not go with what the other did, and they are done one by one.
func (p *people) writeChanges(ctx context.Context, tx db.WriteTx, items []change) error {
	x := sortChanges(items)
	if err := p.writeRefreshes(ctx, tx, x.refreshes); err != nil {
		return err
	}
	if err := p.writeExchanges(ctx, tx, x.exchanges); err != nil {
		return err
	}
	if err := p.writeBeginnings(ctx, tx, x.begins); err != nil {
		return err
	}
	if err := p.writePolls(ctx, tx, x.polls); err != nil {
		return err
	}
	return failpoint.Hit("oauth.grantsChanged")
}

// take uses up what the beginning answers: a flow or a pushed request, and the question of a device, each good once. If it
// answers false, lost or refused says why, and no grant is to be stored.
func (b *beginning) take(ctx context.Context, tx db.WriteTx) (ok bool, err error) {
	b.lost, b.refused, b.grant, b.scopes, b.audience = false, nil, nil, nil, nil
	if b.check != nil {
		var no *refusal
		if err := b.check(ctx, tx); errors.As(err, &no) {
			b.refused = err
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	if b.flow != nil {
		ok, err = useFlow(ctx, tx, b.flow)
	} else {
		ok, err = usePushed(ctx, tx, b.request.pushed)
	}
	if err == nil && ok && b.device != nil {
		ok, err = decideDevice(ctx, tx, b.device.mac, deviceAllowed, b.id)
	}
	if err != nil {
		return false, err
	}
	b.lost = !ok
	return ok, nil
}

func (p *people) writeBeginnings(ctx context.Context, tx db.WriteTx, items []*beginning) error {
	const columns = 23
	now := tx.Now()
	args := make([]any, 0, columns*len(items))
	for _, b := range items {
		ok, err := b.take(ctx, tx)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		used, until, offline := int64(0), now.Add(cmp.Or(b.life, codeLife)), b.person.ID == "" || slices.Contains(b.request.scopes, scopeOffline)
		if b.device != nil {
			until = b.device.expires
			offline = true // the browser that allowed it is not the device's, and may be somebody else's
		}
		q, u := b.request, b.person.User
		if b.approves {
			if err := approve(ctx, tx, b.caller, u.ID, q.client.ID, q.permissions()); err != nil {
				return err
			}
		}
		if b.direct {
			used = db.Micros(now)
		}
		if b.front {
			until = now.Add(p.s.accessLife(q.client, u.Realm, cmp.Or(b.by, grantAuthorizationCode)) + time.Minute)
			if !q.kind.code {
				used = db.Micros(now) // nobody has the code
			}
		}
		if err := participates(ctx, tx, b); err != nil {
			return err
		}
		args = append(args, b.id, q.client.ID, u.ID, u.Realm, b.person.ID, cmp.Or(b.by, grantAuthorizationCode), strings.Join(q.scopes, " "),
			strings.Join(q.resources, " "), strings.Join(q.claims, " "), offline, b.front, q.redirect, q.challenge, q.nonce,
			db.Micros(b.person.AuthTime), strings.Join(b.person.AMR, " "), q.classOf(b.person.AMR), db.Micros(now), b.codeMAC, used, []byte{},
			db.Micros(until), db.Micros(until))
	}
	if len(args) == 0 {
		return nil
	}
	rows := len(args) / columns
	n, err := tx.Exec(ctx, `INSERT INTO grants (id, client_id, user_id, realm, session_id, began_by, scopes, resources, claims, offline, front,
		redirect_uri, challenge, nonce, auth_time, amr, acr, created, code_mac, code_used, token_mac, idle_until, live_until,
		generation, successor_box, rotated, retries, ended, ended_by) VALUES `+tuples(rows, columns, `0, $21, 0, 0, 0, ''`), args...)
	if err == nil && n != int64(rows) {
		err = fmt.Errorf("%d rows affected, not %d", n, rows)
	}
	if err != nil {
		return fmt.Errorf("store grants: %w", err)
	}
	if err := noteApprovals(ctx, tx, items); err != nil {
		return err
	}
	if err := p.admitFronts(ctx, tx, items); err != nil {
		return err
	}
	return p.makeRoom(ctx, tx, items)
}

// admitFronts has those grants pass the gate of which tokens come with the answer. One that does not ends as it begins.
func (p *people) admitFronts(ctx context.Context, tx db.WriteTx, items []*beginning) error {
	var ids []any
	for _, b := range items {
		if b.front && !b.lost && b.refused == nil {
			ids = append(ids, b.id)
		}
	}
	grants, err := loadGrants(ctx, tx, byID, ids)
	if err != nil {
		return err
	}
	for _, g := range grants {
		b := items[slices.IndexFunc(items, func(b *beginning) bool { return b.id == g.id })]
		if p.admitFront(b, g, tx.Now()); b.refused == nil {
			continue
		}
		if err := p.end(ctx, tx, g, "refused"); err != nil {
			return err
		}
	}
	return nil
}

// maxGrants is how many grants of one person one client has at a time. When there are more, the oldest end.
const maxGrants = 100

// makeRoom ends the oldest grants of people who have too many with one client.
func (p *people) makeRoom(ctx context.Context, tx db.WriteTx, items []*beginning) error {
	var users []any
	for _, b := range items {
		if !b.lost && b.refused == nil && !slices.Contains(users, any(b.person.User.ID)) {
			users = append(users, b.person.User.ID)
		}
	}
	if len(users) == 0 {
		return nil // all were refused, and an empty list is no SQL
	}
	type pair struct{ user, client string }
	var crowded []pair
	err := eachRow(ctx, tx, `SELECT user_id, client_id FROM grants WHERE ended = 0 AND idle_until > `+strconv.FormatInt(db.Micros(tx.Now()), 10)+
		` AND user_id IN (`+placeholders(&users)+`) GROUP BY user_id, client_id HAVING count(*) > `+strconv.Itoa(maxGrants), users, func(row db.Row) error {
		var x pair
		err := row.Scan(&x.user, &x.client)
		crowded = append(crowded, x)
		return err
	})
	if err != nil {
		return fmt.Errorf("count grants: %w", err)
	}
	for _, x := range crowded {
		var newest int64
		err := tx.QueryRow(ctx, `SELECT created FROM grants WHERE user_id = $1 AND client_id = $2 AND ended = 0 AND idle_until > $3
			ORDER BY created DESC LIMIT 1 OFFSET `+strconv.Itoa(maxGrants), x.user, x.client, db.Micros(tx.Now())).Scan(&newest)
		if err != nil {
			return fmt.Errorf("find the oldest grants: %w", err)
		}
		// What begins now stays, whatever else there is.
		if err := p.endAll(ctx, tx, "too_many", `user_id = $1 AND client_id = $2 AND created <= $3`, x.user, x.client, min(newest, db.Micros(tx.Now())-1)); err != nil {
			return err
		}
	}
	return nil
}

func eachRow(ctx context.Context, tx db.ReadTx, query string, args []any, row func(db.Row) error) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// placeholders are the parameters of a list. Lists come in few lengths, so that the database knows the query already: the
// last value is repeated.
func placeholders(values *[]any) string {
	for len(*values)&(len(*values)-1) != 0 {
		*values = append(*values, (*values)[len(*values)-1])
	}
	var list strings.Builder
	for i := range *values {
		if i > 0 {
			list.WriteString(", ")
		}
		list.WriteString("$" + strconv.Itoa(i+1))
	}
	return list.String()
}

// tuples are the rows of a VALUES with that many parameters each, followed by the same text.
func tuples(rows, columns int, rest string) string {
	var b strings.Builder
	for row := range rows {
		if row > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for column := range columns {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(row*columns + column + 1))
			b.WriteString(", ")
		}
		b.WriteString(rest)
		b.WriteByte(')')
	}
	return b.String()
}

// owner is what the gate must know of the grant.
func (g *grant) owner() *owner {
	return &owner{enabled: g.userEnabled && !g.userSince.After(g.created), approved: g.approved, granted: g.scopes, bound: g.bound}
}

// end ends the grant: no token of it is good from the commit on, here at once and on every node within a second.
func (p *people) end(ctx context.Context, tx db.WriteTx, g *grant, why string) error {
	g.ended = true
	return p.endOne(ctx, tx, g.id, g.client, why)
}

func (p *people) endOne(ctx context.Context, tx db.WriteTx, grantID, clientID, why string) error {
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
	_, err = p.s.revoked.revoke(ctx, tx, &Claims{ID: grantID, ClientID: clientID, Expires: keep}, "", why)
	return err
}

// longestLife is how long an access token of any person can live that was ever made, whatever its client and realm have
// now: what is taken back must not become good again.
func (p *people) longestLife() time.Duration { return max(registry.LongestToken, sessionTokenLife) }

// endAll ends the grants that the condition selects. Very many are ended in two statements: a person can begin grants
// without end, and must not be able to put off by it that all of them end.
func (p *people) endAll(ctx context.Context, tx db.WriteTx, why, condition string, args ...any) error {
	list, err := listUsed(ctx, tx, condition, args...)
	if err != nil {
		return err
	}
	if len(list) <= fewGrants {
		for _, g := range list {
			if err := p.endOne(ctx, tx, g.id, g.client, why); err != nil {
				return err
			}
		}
	}
	now := tx.Now()
	keep := now.Add(p.longestLife() + time.Minute)
	next := len(args) + 1
	args = append(slices.Clone(args), db.Micros(now), why, db.Micros(keep), []byte{})
	at, by, until, none := "$"+strconv.Itoa(next), "$"+strconv.Itoa(next+1), "$"+strconv.Itoa(next+2), "$"+strconv.Itoa(next+3)
	if len(list) > fewGrants {
		if _, err := tx.Exec(ctx, `INSERT INTO revoked_tokens (jti, client_id, revoked, revoked_by, expires)
			SELECT id, client_id, CAST(`+at+` AS BIGINT), CAST(`+by+` AS TEXT), CAST(`+until+` AS BIGINT) FROM grants
			WHERE ended = 0 AND (code_used <> 0 OR front) AND `+condition+` ON CONFLICT (jti) DO NOTHING`, args[:next+2]...); err != nil {
			return fmt.Errorf("revoke the tokens of grants: %w", err)
		}
		if err := p.s.revoked.announce(ctx, tx); err != nil {
			return err
		}
	}
	// What is left, which may be nothing. A code that nobody used gave no token that would have to be named.
	if _, err := tx.Exec(ctx, `UPDATE grants SET ended = `+at+`, ended_by = `+by+`, code_used = CASE WHEN code_used = 0 THEN `+at+` ELSE code_used END,
		idle_until = `+until+`, successor_box = `+none+` WHERE ended = 0 AND `+condition, args...); err != nil {
		return fmt.Errorf("end grants: %w", err)
	}
	return nil
}

// fewGrants is how many grants are ended one by one: each node hears of each by name, and asks nobody.
const fewGrants = 100

// listUsed reads those grants of which there may be tokens, and stops when they are more than a few.
func listUsed(ctx context.Context, tx db.ReadTx, condition string, args ...any) ([]grant, error) {
	rows, err := tx.Query(ctx, `SELECT id, client_id FROM grants WHERE ended = 0 AND (code_used <> 0 OR front) AND `+condition+` ORDER BY id LIMIT `+strconv.Itoa(fewGrants+1), args...)
	if err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	defer rows.Close()
	var list []grant
	for rows.Next() {
		var g grant
		if err := rows.Scan(&g.id, &g.client); err != nil {
			return nil, fmt.Errorf("list grants: %w", err)
		}
		list = append(list, g)
	}
	return list, rows.Err()
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
	return s.people.endAll(ctx, tx, "password_changed", `user_id = $1`, userID)
}

// ApplicationChanged ends all that people let the client of an inactive application do, in the transaction that sets it
// inactive.
func (s *Server) ApplicationChanged(ctx context.Context, tx db.WriteTx, a registry.Application) error {
	if a.Active {
		return nil
	}
	return s.endClient(ctx, tx, a.ClientID, "application_inactive")
}

// ClientEnded is ApplicationChanged for a client without an application that is disabled or deleted.
func (s *Server) ClientEnded(ctx context.Context, tx db.WriteTx, clientID string) error {
	return s.endClient(ctx, tx, clientID, "client_ended")
}

func (s *Server) endClient(ctx context.Context, tx db.WriteTx, clientID, why string) error {
	if s.people == nil {
		return nil
	}
	// In one statement, because there may be very many, and nothing may keep a client from being ended. No access token
	// needs to be named: all of the client's are invalid by themselves, also when it is enabled again.
	now := tx.Now()
	if _, err := tx.Exec(ctx, `UPDATE grants SET ended = $2, ended_by = $3, successor_box = $4, idle_until = $5 WHERE client_id = $1 AND ended = 0`,
		clientID, db.Micros(now), why, []byte{}, db.Micros(now.Add(s.people.longestLife()+time.Minute))); err != nil {
		return fmt.Errorf("end the grants of a client: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM approvals WHERE client_id = $1`, clientID); err != nil {
		return fmt.Errorf("delete the approvals of a client: %w", err)
	}
	return nil
}

// ClientUsed tells whether anybody has let the client do anything.
func (s *Server) ClientUsed(ctx context.Context, tx db.ReadTx, clientID string) (used bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM grants WHERE client_id = $1) OR EXISTS (SELECT 1 FROM approvals WHERE client_id = $1)`, clientID).Scan(&used)
	if err != nil {
		return false, fmt.Errorf("look for what a client was allowed: %w", err)
	}
	return used, nil
}

func (s *Server) forget(ctx context.Context, tx db.WriteTx, why, condition string, args ...any) error {
	if s.people == nil {
		return nil
	}
	if err := s.people.endAll(ctx, tx, why, condition, args...); err != nil {
		return err
	}
	// Any number is right: there may have been no approval.
	if _, err := tx.Exec(ctx, `DELETE FROM approvals WHERE `+condition, args...); err != nil {
		return fmt.Errorf("delete approvals: %w", err)
	}
	return nil
}

// The classes of a login: one of which nobody says how it was done (OpenID Connect Core section 2, on "0"), by one factor,
// and by more than one.
const (
	classNone = "0"
	classOne  = "1"
	classTwo  = "2"
)

// authClass is the class of a login by these methods.
func authClass(amr []string) string {
	switch {
	case slices.Contains(amr, "mfa"):
		return classTwo
	case len(amr) == 0:
		return classNone
	}
	return classOne
}

// classFor is the first of the wanted classes that a login by these methods is of, or "". One by two factors is one by one
// as well.
func classFor(wanted, amr []string) string {
	reached := authClass(amr)
	for _, class := range wanted {
		if class == reached || class == classOne && reached == classTwo {
			return class
		}
	}
	return ""
}

// classOf is the class that is told of the login: what it is, or, where a client named classes as a condition, that one.
func (q *authRequest) classOf(amr []string) string {
	if q.mustACR {
		return cmp.Or(classFor(q.acrs, amr), authClass(amr))
	}
	return authClass(amr)
}
