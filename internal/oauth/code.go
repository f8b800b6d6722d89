package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// exchange is a code that a client brings, and what came of it.
type exchange struct {
	client   Client
	code     redact.Secret
	macs     [][]byte
	redirect string
	verifier string
	caller   access.Caller

	// The outcome.
	grant  *grant
	scopes []string
	token  redact.Secret // refresh token; empty: none
	err    error
}

// exchangeCode is the grant authorization_code (RFC 6749 section 4.1.3).
func (p *people) exchangeCode(r *http.Request, client Client, q parameters, t *tokenRequest) ([]byte, error) {
	x := &exchange{client: client, code: redact.New(q.get("code")), redirect: q.get("redirect_uri"), verifier: q.get("code_verifier"), caller: clientCaller(r, client)}
	if x.code.Empty() {
		return nil, refuse(invalidRequest, "code is missing.")
	}
	if !client.May(grantAuthorizationCode) {
		return nil, refuse(unauthorizedClient, "This client may not use this grant.")
	}
	if resource, given := q.find("resource"); given && resource != p.s.audience[0] {
		return nil, refuse(invalidTarget, "No such resource is known.")
	}
	if len(x.code.Bytes()) != len(codePrefix)+secretLength {
		return nil, badCredentials()
	}
	x.macs = p.Keyring.LookupMACs(macCode, x.code)
	if err := p.exchanges.Do(r.Context(), x); err != nil {
		return nil, notStored(err)
	}
	if x.err != nil {
		return nil, x.err
	}
	return p.answer(r, t, x.client, x.grant, x.scopes, x.token, true)
}

// notStored says that nothing was given because nothing could be stored, whatever kind of failure it was.
func notStored(err error) *refusal {
	no := refusalOf(err)
	return &refusal{status: http.StatusServiceUnavailable, code: temporarily, retry: max(no.retry, time.Second), cause: err, description: "The answer could not be stored, so there is none. Try again."}
}

// clientCaller is the client for the audit log.
func clientCaller(r *http.Request, client Client) access.Caller {
	ctx := r.Context()
	return access.Caller{Kind: access.Service, ID: client.ID, Name: client.ID, Realm: serviceRealm, Application: client.Application,
		ClientID: client.ID, RequestID: route.RequestID(ctx), IP: route.ClientIP(ctx)}
}

// writeExchanges uses the codes, each at most once: the first use, right or wrong, is the only one.
func (p *people) writeExchanges(ctx context.Context, tx db.WriteTx, items []*exchange) error {
	for _, x := range items {
		x.grant, x.scopes, x.token, x.err = nil, nil, redact.Secret{}, nil
		if err := p.use(ctx, tx, x); err != nil {
			return err
		}
	}
	return failpoint.Hit("oauth.codesUsed")
}

func (p *people) use(ctx context.Context, tx db.WriteTx, x *exchange) error {
	var g *grant
	for _, mac := range x.macs {
		var err error
		if g, err = loadGrant(ctx, tx, `g.code_mac = $1`, mac); err != nil {
			return err
		}
		if g != nil {
			break
		}
	}
	if g == nil {
		x.err = badCredentials()
		return nil
	}
	if g.codeUsed {
		x.err = badCredentials()
		if g.client != x.client.ID || g.ended {
			return nil // whoever else found a used code ends nothing with it
		}
		return p.endLoudly(ctx, tx, g, x.caller, "code_reuse")
	}
	switch {
	case g.client != x.client.ID:
		x.err = badCredentials()
		return p.endLoudly(ctx, tx, g, x.caller, "code_of_another_client")
	case g.ended || !tx.Now().Before(g.idleUntil):
		x.err = badCredentials()
	case g.redirect != x.redirect || !provesChallenge(x.verifier, g.challenge):
		x.err = badCredentials()
	default:
		alive, err := session.Alive(ctx, tx, g.session)
		if err != nil {
			return err
		}
		if x.scopes, x.err = p.s.admit(admission{grant: grantAuthorizationCode, client: x.client, owner: g.owner()}); x.err == nil && !alive {
			x.err = badCredentials()
		}
	}
	if x.err != nil {
		return p.end(ctx, tx, g.id, g.client, "code_refused")
	}
	return p.redeem(ctx, tx, x, g)
}

// redeem marks the code as used and begins the family of refresh tokens, if there is to be one.
func (p *people) redeem(ctx context.Context, tx db.WriteTx, x *exchange, g *grant) error {
	now := tx.Now()
	idle := now.Add(p.lifetimeOf(g.realm) + time.Minute)
	live, mac := idle, []byte{}
	if refreshable(x.client, x.scopes) {
		live, idle = now.Add(absoluteLife), now.Add(idleLife)
		g.generation = 1
		x.token = p.newToken(g.id, g.generation)
		mac = p.Keyring.MAC(macToken, x.token)
	}
	if err := db.One(tx.Exec(ctx, `UPDATE grants SET code_used = $2, generation = $3, token_mac = $4, rotated = $2, idle_until = $5, live_until = $6
		WHERE id = $1 AND code_used = 0 AND ended = 0`, g.id, db.Micros(now), g.generation, mac, db.Micros(idle), db.Micros(live))); err != nil {
		return fmt.Errorf("use a code: %w", err)
	}
	x.grant = g
	return nil
}

// refreshable tells whether the client gets a refresh token for these scopes.
func refreshable(c Client, scopes []string) bool {
	if !c.May(grantRefreshToken) {
		return false
	}
	return c.RefreshTokens == registry.RefreshAlways || covers(scopes, []string{scopeOffline})
}

// endLoudly ends a grant because of what somebody did, and records who.
func (p *people) endLoudly(ctx context.Context, tx db.WriteTx, g *grant, c access.Caller, why string) error {
	if err := p.end(ctx, tx, g.id, g.client, why); err != nil {
		return err
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: "grant.end", Outcome: audit.Denied, Reason: why, Caller: c, TargetType: "grant", TargetID: g.id,
		Details: map[string]any{"client_id": g.client, "user": g.user},
	})
}

// provesChallenge tells whether the verifier is the one whose hash came with the request (RFC 7636 section 4.6).
func provesChallenge(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 || !unreserved(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}
