package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
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
	asked    []string // resources

	// The outcome.
	grant    *grant
	scopes   []string
	audience []string
	token    redact.Secret // refresh token; empty: none
	err      error
}

// exchangeCode is the grant authorization_code (RFC 6749 section 4.1.3).
func (p *people) exchangeCode(r *http.Request, client Client, q parameters, t *tokenRequest) ([]byte, error) {
	x := &exchange{client: client, code: redact.New(q.get("code")), redirect: q.get("redirect_uri"), verifier: q.get("code_verifier"), asked: q.all("resource"), caller: clientCaller(r, client)}
	if x.code.Empty() {
		return nil, refuse(invalidRequest, "code is missing.")
	}
	if !client.May(grantAuthorizationCode) {
		return nil, refuse(unauthorizedClient, "This client may not use this grant.")
	}
	if len(x.code.Bytes()) != len(codePrefix)+secretLength {
		return nil, badCredentials()
	}
	if err := p.s.canEncrypt(r.Context(), client); err != nil {
		return nil, err
	}
	x.macs = p.Keyring.LookupMACs(macCode, x.code)
	if err := p.changes.Do(r.Context(), change{exchange: x}); err != nil {
		return nil, notStored(err)
	}
	if x.err != nil {
		return nil, x.err
	}
	t.audience = x.audience
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
	grants, err := p.takeGrants(ctx, tx, byCode, codesOf(items))
	if err != nil {
		return err
	}
	for _, x := range items {
		x.grant, x.scopes, x.audience, x.token, x.err = nil, nil, nil, redact.Secret{}, badCredentials()
		for _, g := range grants {
			if slices.ContainsFunc(x.macs, func(mac []byte) bool { return bytes.Equal(mac, g.codeMAC) }) {
				if err := p.use(ctx, tx, x, g); err != nil {
					return err
				}
			}
		}
	}
	return storeGrants(ctx, tx, grants)
}

// codesOf are the MACs that the codes may be stored as.
func codesOf(items []*exchange) []any {
	var macs []any
	for _, x := range items {
		for _, mac := range x.macs {
			macs = append(macs, mac)
		}
	}
	return macs
}

func (p *people) use(ctx context.Context, tx db.WriteTx, x *exchange, g *grant) error {
	now := tx.Now()
	switch {
	case !g.codeUsed.IsZero() && (g.client != x.client.ID || g.ended):
		return nil // whoever else found a used code ends nothing with it
	case !g.codeUsed.IsZero():
		return p.endLoudly(ctx, tx, g, x.caller, "code_reuse")
	case g.client != x.client.ID:
		return p.endLoudly(ctx, tx, g, x.caller, "code_of_another_client")
	case g.ended:
		return nil
	}
	// A grant that no browser began has no session to end with; and when tokens came with the answer, the grant lives
	// longer than its code.
	alive := now.Before(g.idleUntil) && (!g.front || now.Before(g.created.Add(codeLife)))
	valid := alive && (g.session == "" || now.Before(g.sessionUntil)) && g.redirect == x.redirect && provesChallenge(x.verifier, g.challenge)
	if valid {
		x.scopes, x.err = p.s.admit(admission{grant: grantAuthorizationCode, client: x.client, owner: g.owner()})
		if x.err == nil {
			x.audience, x.err = p.s.narrowResources(x.client, g.resources, x.asked)
		}
	}
	if x.err != nil {
		return p.end(ctx, tx, g, "code_refused")
	}
	x.token = p.redeem(g, x.client, x.scopes, now)
	x.grant = g
	return nil
}

// redeem marks the code of a grant as used, and begins the family of refresh tokens if there is to be one: it answers
// the first of them.
func (p *people) redeem(g *grant, client Client, scopes []string, now time.Time) (token redact.Secret) {
	g.codeUsed, g.rotated, g.changed = now, now, true
	g.idleUntil = now.Add(p.s.accessLife(client, g.realm, g.by) + time.Minute)
	g.liveUntil = g.idleUntil
	if refreshable(client, scopes) {
		g.idleUntil, g.liveUntil = now.Add(p.idleLife(client, g.realm)), g.created.Add(p.absoluteLife(client, g.realm))
		g.generation = 1
		token = p.newToken(g.id, g.generation)
		g.tokenMAC = p.Keyring.MAC(macToken, token)
	}
	return token
}

// idleLife and absoluteLife are how long the family of refresh tokens lives without use, and in all.
func (p *people) idleLife(c Client, realmName string) time.Duration {
	return p.s.lifetimes.RefreshIdle(c.Metadata, p.s.realmNamed(realmName)).For
}

func (p *people) absoluteLife(c Client, realmName string) time.Duration {
	return p.s.lifetimes.RefreshAbsolute(c.Metadata, p.s.realmNamed(realmName)).For
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
	if err := p.end(ctx, tx, g, why); err != nil {
		return err
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: "grant.end", Outcome: audit.Denied, Reason: why, Caller: c, TargetType: "grant", TargetID: g.id,
		Details: map[string]any{"client_id": g.client, "user": g.user},
	})
}

// provesChallenge tells whether the verifier is the one whose hash came with the request (RFC 7636 section 4.6).
//
// Some codes are given without a challenge; for them there must be no verifier either (RFC 9700 section 4.8.2).
func provesChallenge(verifier, challenge string) bool {
	if challenge == "" {
		return verifier == ""
	}
	if len(verifier) < 43 || len(verifier) > 128 || !unreserved(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}
