package oauth

import (
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
)

// grantPerson gives a token that acts for the person of the rule. Nobody is asked: the person must have allowed the client
// all of it before. The token belongs to a grant like all that people let clients do, and so ends with the approval, the
// person and the client.
func (p *people) grantPerson(r *http.Request, t *tokenRequest, client Client, in introduced, asked []string) ([]byte, error) {
	ctx := r.Context()
	if !client.May(grantJWTBearer) {
		return nil, refuse(unauthorizedClient, "This client may not use this grant.")
	}
	person, err := p.People.Person(ctx, in.rule.Person)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			return nil, errIntroduced(err)
		}
		return nil, err
	}
	q := &authRequest{client: client, resources: t.audience}
	if q.scopes, err = p.allowedScopes(ctx, client, person, asked); err != nil {
		return nil, err
	}
	who := identity.User{ID: person.ID, Realm: person.Realm, Username: person.Username}
	// The issuer vouches for the person; nobody has signed in, and so the grant says neither when nor how.
	b := &beginning{request: q, person: session.Session{User: who}, caller: caller(ctx, who, client.ID), by: grantJWTBearer, front: true}
	b.check = func(ctx context.Context, tx db.WriteTx) error { // before there is a row, which the gate would have to end
		approved, err := loadApproval(ctx, tx, person.ID, client.ID)
		if err == nil && !covers(approved, q.scopes) {
			err = errIntroduced(errAssertion("the person has not allowed the client all of this"))
		}
		return err
	}
	p.newBeginning(b) // nobody gets the code
	if err := p.changes.Do(ctx, change{begin: b}); err != nil {
		return nil, notStored(err)
	}
	if b.refused != nil {
		return nil, b.refused
	}
	now := p.issueTime(client)
	life := t.shorten(p.s.accessLife(client, b.grant.realm, b.grant.by), now)
	if life <= 0 {
		return nil, badCredentials()
	}
	t.audience = b.audience
	token, err := p.accessToken(ctx, t, client, b.grant, b.scopes, now, life)
	if err != nil {
		return nil, err
	}
	answer := append(append([]byte(`{"access_token":"`), token...), `","token_type":"Bearer","expires_in":`...)
	answer = strconv.AppendInt(answer, int64(life.Seconds()), 10)
	answer = appendText(append(answer, `,"scope":`...), sortedText(b.scopes))
	answer = appendText(append(answer, `,"realm":`...), p.s.outward(b.grant.realm))
	return append(answer, '}'), nil
}

// allowedScopes are the scopes that were asked for, or else all that the person has allowed the client. Whether they were
// allowed is for the gate to say.
func (p *people) allowedScopes(ctx context.Context, client Client, person Person, asked []string) ([]string, error) {
	mayNot := func(scope string) bool { return scope == scopeOffline || !mayAsk(client, scope) }
	if len(asked) > 0 {
		if slices.ContainsFunc(asked, mayNot) {
			return nil, refuse(invalidScope, "This client may not ask for all of these scopes for a person, and gets no refresh token here.")
		}
		return asked, nil
	}
	var approved []string
	err := p.s.db.Read(ctx, func(tx db.ReadTx) (err error) {
		approved, err = loadApproval(ctx, tx, person.ID, client.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	if approved = slices.DeleteFunc(approved, mayNot); len(approved) == 0 {
		return nil, errIntroduced(errAssertion("the person has allowed the client nothing"))
	}
	return approved, nil
}
