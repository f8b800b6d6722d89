package oauth

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/seal"
)

// PersonPasswords let people of some realms give their password to clients, which send it by the grant password (RFC 6749
// section 4.3). RFC 9700 advises against it: the client sees the password. So two must have said yes, the configuration
// for the realm and an administrator for the client. The zero value is no.
type PersonPasswords struct {
	// Realms are whose people may, by canonical name.
	Realms []string
	// Verify tells who it is, with all the delays of the page to sign in at (identity.Directory.VerifyPersonPassword).
	Verify func(ctx context.Context, realmName, username string, secret redact.Secret, origin identity.Origin) (identity.User, error)
	// Admit refuses a login by too few methods: a person who has a second factor, or needs one, cannot do this. nil: there
	// are no second factors.
	Admit func(ctx context.Context, tx db.ReadTx, u identity.User, amr []string) error
}

// takesPasswords tells whether the realm's people may give their password to a client.
func (s *Server) takesPasswords(r realm.Realm) bool {
	return s.people != nil && r.Kind == realm.People && s.people.Passwords.Verify != nil && slices.Contains(s.people.Passwords.Realms, r.Name)
}

// personPassword is the grant password of a person. The client and its scopes are looked at before the password, so that
// a client which may not do this learns nothing about any.
func (p *people) personPassword(r *http.Request, client Client, f parameters, asked string, t *tokenRequest) ([]byte, error) {
	if !client.Metadata.PersonPassword || !client.May(grantPassword) {
		return nil, refuse(unauthorizedClient, "This client may not take people's passwords.")
	}
	q := &authRequest{client: client}
	if err := q.checkScopes(asked); err != nil {
		return nil, err
	}
	var err error
	if q.resources, err = p.s.chooseResources(client, f.all("resource")); err != nil {
		return nil, err
	}
	t.audience = q.resources
	ctx := r.Context()
	origin := identity.Origin{IP: route.ClientIP(ctx), RequestID: route.RequestID(ctx)}
	u, err := p.Passwords.Verify(ctx, t.realm, f.get("username"), redact.New(f.get("password")), origin)
	if err != nil {
		if unknown(err) {
			return nil, badCredentials()
		}
		return nil, err
	}
	now := session.Session{User: u, AuthTime: p.s.clock.Now(), AMR: []string{"pwd"}}
	// That a scope is not this person's to allow would tell that the password is right, so first whether it would do at all.
	if err := p.s.db.Read(ctx, func(tx db.ReadTx) error { return p.proved(ctx, tx, now) }); err != nil {
		return nil, err
	}
	if _, err := p.wish(ctx, q, now); err != nil { // whether all of it is this person's to allow
		return nil, err
	}
	g, scopes, token, err := p.beginByPassword(ctx, q, now)
	if err != nil {
		return nil, err
	}
	return p.answer(r, t, client, g, scopes, token, true)
}

// beginByPassword begins the grant and uses it at once. To give a client the password is to allow it what it asks for,
// and it is remembered as such, so that the person sees it and can take it back.
func (p *people) beginByPassword(ctx context.Context, q *authRequest, s session.Session) (g *grant, scopes []string, token redact.Secret, err error) {
	b := &beginning{
		request: q, person: s, approves: true, by: grantPassword, caller: caller(ctx, s.User, q.client.ID),
		id: id.New(id.Grant, p.s.clock.Now()), codeMAC: p.Keyring.MAC(macCode, seal.NewSecret(codePrefix)),
		check: func(ctx context.Context, tx db.WriteTx) error { return p.proved(ctx, tx, s) },
	}
	err = p.s.db.Write(ctx, func(tx db.WriteTx) error {
		g, scopes, token = nil, nil, redact.Secret{}
		if err := p.writeBeginnings(ctx, tx, []*beginning{b}); err != nil {
			return err
		}
		if b.refused != nil {
			return b.refused
		}
		grants, err := loadGrants(ctx, tx, byID, []any{b.id})
		if err != nil {
			return err
		}
		if len(grants) != 1 {
			return badCredentials()
		}
		g = grants[0]
		if scopes, err = p.s.admit(admission{grant: grantPassword, client: q.client, owner: g.owner()}); err != nil {
			return err
		}
		token = p.redeem(g, q.client, scopes, tx.Now())
		return storeGrants(ctx, tx, grants)
	})
	return g, scopes, token, err
}

// proved tells within the transaction whether the password still is the person's, and does as the only proof. That it
// does not is the same answer as to a wrong one: else who guesses would learn that it is right.
func (p *people) proved(ctx context.Context, tx db.ReadTx, s session.Session) error {
	ok, err := identity.StillProved(ctx, tx, s.User)
	if err != nil {
		return err
	}
	if !ok {
		return badCredentials()
	}
	if p.Passwords.Admit == nil {
		return nil
	}
	if err := p.Passwords.Admit(ctx, tx, s.User, s.AMR); err != nil {
		if fault.Is(err, fault.Forbidden) || unknown(err) {
			no := badCredentials()
			no.cause = err
			return no
		}
		return err
	}
	return nil
}

// blank tells whether the request brings no user name or no password.
func blank(p parameters) bool {
	return strings.TrimSpace(p.get("username")) == "" || strings.TrimSpace(p.get("password")) == ""
}
