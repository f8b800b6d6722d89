package oauth

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/registry"
)

// frontLife is how long an access token that came through a browser lives at most: it lies in the browser's history.
const frontLife = time.Hour

// give begins the grant and sends the browser back with what the client asked for.
func (p *people) give(w http.ResponseWriter, r *http.Request, q *authRequest, b *beginning) {
	ctx := r.Context()
	b.request = q
	b.caller = caller(ctx, b.person.User, q.client.ID)
	code := p.newBeginning(b)
	if q.kind.front() {
		if err := p.s.canEncrypt(ctx, q.client); err != nil {
			p.refuseBack(w, r, q, err)
			return
		}
		b.front = true
		if !q.kind.code {
			b.by = registry.GrantImplicit
		}
	}
	if err := p.changes.Do(ctx, change{begin: b}); err != nil {
		p.refuseBack(w, r, q, err)
		return
	}
	switch {
	case b.lost:
		p.refusePage(w, r, errNoFlow())
		return
	case b.refused != nil:
		p.refuseBack(w, r, q, b.refused)
		return
	}
	var back []parameter
	if b.front {
		var err error
		if back, err = p.frontAnswer(ctx, q, b, code); err != nil {
			p.refuseBack(w, r, q, err)
			return
		}
	}
	if q.kind.code {
		back = append(back, parameter{"code", code})
	}
	if state := p.sessionState(w, r, q, b); state != "" {
		back = append(back, parameter{"session_state", state})
	}
	p.back(w, r, q, back...)
}

// admitFront has a grant of which tokens come with the answer pass the gate, in the transaction that begins it.
func (p *people) admitFront(b *beginning, g *grant, now time.Time) {
	grant := registry.GrantImplicit
	if b.by == grantJWTBearer {
		grant = b.by // no browser brought it, and no session is behind it
	} else if !now.Before(g.sessionUntil) {
		b.refused = errSignIn
		return
	}
	b.grant = g
	b.scopes, b.refused = p.s.admit(admission{grant: grant, client: b.request.client, owner: g.owner()})
	if b.refused == nil {
		b.audience, b.refused = p.s.narrowResources(b.request.client, g.resources, nil)
	}
}

// frontAnswer makes the tokens that go through the browser: RFC 6749 section 4.2.2, OpenID Connect Core sections 3.2.2.5
// and 3.3.2.5.
func (p *people) frontAnswer(ctx context.Context, q *authRequest, b *beginning, code string) (back []parameter, err error) {
	var parts identityParts
	if q.kind.code {
		parts.code = code
	}
	t := tokenRequest{grant: registry.GrantImplicit, audience: b.audience}
	now := p.issueTime(q.client)
	if q.kind.token {
		life := min(p.s.accessLife(q.client, b.grant.realm, b.grant.by), frontLife)
		if parts.access, err = p.accessToken(ctx, &t, q.client, b.grant, b.scopes, now, life); err != nil {
			return nil, err
		}
		back = append(back, parameter{"access_token", string(parts.access)}, parameter{"token_type", "Bearer"},
			parameter{"expires_in", strconv.FormatInt(int64(life.Seconds()), 10)}, parameter{"scope", sortedText(b.scopes)})
		p.s.journal.note(act{action: "token.issue", outcome: audit.Success, client: q.client.ID, realm: b.grant.realm, grant: t.grant})
		p.s.metrics.issued.WithLabelValues(b.grant.realm, t.grant, outcomeSuccess).Inc()
	}
	if q.kind.idToken {
		// With no access token to ask userinfo with, the ID token says what that would (section 5.4).
		parts.whole = !q.kind.token && !q.kind.code
		identity, err := p.idToken(ctx, b.grant, q.client, b.scopes, parts, now)
		if err != nil {
			return nil, err
		}
		back = append(back, parameter{"id_token", string(identity)})
	}
	return back, nil
}
