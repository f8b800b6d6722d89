package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// What another surface of this program, with requests and answers of its own form, asks of the authorization server. Each
// of these passes the same gate and the same tables as the endpoints of the standard: there is one place in which a code
// is used, and one in which a grant ends. They are for clients with a type.

const (
	// sessionTokenLife is how long a token lives that a person got for a password. There is no refresh token with it.
	sessionTokenLife = time.Hour
	// surfaceCodeLife is how long a code lives that another surface gave: the time its clients know.
	surfaceCodeLife = 5 * time.Minute
)

// Issued is a token that was made, and how it came to be.
type Issued struct {
	Token       redact.Secret
	Claims      Claims
	GrantType   string
	RedirectURI string        // of the code that it was given for
	Refresh     redact.Secret // empty: none
	RefreshEnds time.Time     // unless it is used
}

// Refused is what an error of this package says to a client, in the words of RFC 6749.
type Refused struct {
	Status      int
	Code        string
	Description string
	RetryAfter  time.Duration
}

// RefusedBy reads an error of this package, or of what it is made from. What is not for strangers is not in it.
func RefusedBy(err error) Refused {
	no := refusalOf(err)
	return Refused{no.status, no.code, no.description, no.retry}
}

// ProveClient checks a client's secret like the token endpoint does, and counts failures with it. A public client proves
// nothing and is refused.
func (s *Server) ProveClient(ctx context.Context, clientID string, secret redact.Secret) (Client, error) {
	c, err := s.identify(ctx, credentials{id: clientID, secret: secret, shown: true})
	if err == nil && !c.Confidential {
		err = refuse(invalidClient, "Client authentication failed.")
	}
	return c, err
}

// issue makes the access token of a grant, for the audience that the gate left of it.
func (p *people) issue(ctx context.Context, grantType string, client Client, g *grant, scopes, audience []string, life time.Duration) (Issued, error) {
	s, now := p.s, p.s.clock.Now().Truncate(time.Second)
	if first := wholeSecond(client.EnabledSince); first.After(now) {
		now = first
	}
	out := Issued{GrantType: grantType, RedirectURI: g.redirect, Claims: Claims{
		Issuer: s.issuer, Audience: s.audienceOf(&tokenRequest{audience: audience}), Subject: g.user, ClientID: client.ID, Realm: g.realm, Scopes: scopes, Grant: grantType,
		GrantID: g.id, IssuedAt: now, Expires: now.Add(life),
	}}
	out.Claims.NameParty()
	token, err := s.mint(ctx, &out.Claims)
	out.Token = redact.FromBytes(token)
	return out, s.noted(grantType, out.Claims, err)
}

// noted counts and journals a token like the token endpoint does.
func (s *Server) noted(grantType string, c Claims, err error) error {
	a := act{action: "token.issue", client: c.ClientID, realm: c.Realm, grant: grantType, outcome: audit.Success}
	class := outcomeSuccess
	if err != nil {
		no := refusalOf(err)
		a.outcome, a.reason, class = audit.Denied, no.code, no.class()
		if no.status >= http.StatusInternalServerError {
			a.outcome = audit.Failed
		}
	}
	if c.ClientID != "" {
		s.journal.note(a)
	}
	s.metrics.issued.WithLabelValues(orUnknown(c.Realm), grantType, class).Inc()
	return err
}

func orUnknown(realmName string) string {
	if realmName == "" {
		return "unknown"
	}
	return realmName
}

// fail counts a request that brings no token.
func (s *Server) fail(grantType string, client Client, err error) error {
	return s.noted(grantType, Claims{ClientID: client.ID}, err)
}

// IssueForPassword makes a token for a client that a person gave the password to: who calls has verified it, and u is what
// identity answered. Scopes beyond the client's type or the person's roles are refused.
func (s *Server) IssueForPassword(ctx context.Context, client Client, u identity.User, amr, scopes []string) (Issued, error) {
	p := s.people
	b := &beginning{by: grantPassword, direct: true, life: sessionTokenLife + time.Minute, caller: caller(ctx, u, client.ID),
		request: &authRequest{client: client, scopes: scopes}, person: session.Session{User: u, AMR: amr}}
	b.check = func(ctx context.Context, tx db.WriteTx) error {
		proved, err := identity.StillProved(ctx, tx, u)
		if err != nil {
			return err
		}
		bound, typed, err := registry.LoadBound(ctx, tx, client.ID, u.ID)
		if err != nil {
			return err
		}
		if !typed {
			return refuse(unauthorizedClient, "This client may not use this grant.")
		}
		o := &owner{enabled: proved, granted: scopes, bound: &bound, direct: true}
		if _, err := s.admit(admission{grant: grantPassword, client: client, owner: o}); err != nil {
			return err
		}
		b.person.AuthTime = tx.Now()
		return audit.Record(ctx, tx, audit.Event{Action: "session.begin", Outcome: audit.Success, Caller: b.caller, TargetType: "grant", TargetID: b.id,
			Details: map[string]any{"amr": amr, "user": u.ID, "client_id": client.ID}})
	}
	p.newBeginning(b) // its code is nobody's
	if err := p.changes.Do(ctx, change{begin: b}); err != nil {
		return Issued{}, s.fail(grantPassword, client, notStored(err))
	}
	if b.refused != nil {
		return Issued{}, s.fail(grantPassword, client, b.refused)
	}
	g := &grant{id: b.id, client: client.ID, user: u.ID, realm: u.Realm, scopes: scopes}
	return p.issue(ctx, grantPassword, client, g, scopes, nil, sessionTokenLife)
}

// SurfaceApproval is what a person allows a client.
type SurfaceApproval struct {
	Client    Client
	UserID    string
	Session   *Claims // of the token by which the person acts; nil if somebody acts who may act for people
	Redirect  string
	Challenge string // of PKCE, by S256; may be empty
	Scopes    []string
	Caller    access.Caller
}

// GivenCode is a code that was given for an approval.
type GivenCode struct {
	Code    redact.Secret
	GrantID string
	Expires time.Time
}

// ErrNoRole is in the chain of the refusal of an approval whose person has no role at the client.
var ErrNoRole = errors.New("oauth: the person has no role at the client")

// ApproveFor remembers what the person allows the client, besides what was allowed before, and gives a code for what is
// allowed now. Scopes beyond the client's type or the person's roles at the client are refused, and so is who has no role.
func (s *Server) ApproveFor(ctx context.Context, a SurfaceApproval) (GivenCode, error) {
	p := s.people
	if a.Challenge != "" && (len(a.Challenge) != 43 || !unreserved(a.Challenge)) {
		return GivenCode{}, refuse(invalidRequest, "code_challenge is not one of the method S256.")
	}
	if !a.Client.Enabled || !a.Client.May(grantAuthorizationCode) {
		return GivenCode{}, refuse(unauthorizedClient, "This client may not sign people in.")
	}
	if m := a.Client.Metadata; a.Session == nil && (m.RequireAuthTime || m.DefaultMaxAge > 0) {
		return GivenCode{}, refuse(unmetAuthentication, "This client wants to know when the person signed in, which nobody says here.")
	}
	b := &beginning{approves: true, caller: a.Caller, life: surfaceCodeLife,
		request: &authRequest{client: a.Client, redirect: a.Redirect, scopes: a.Scopes, challenge: a.Challenge}}
	err := s.db.Read(ctx, func(tx db.ReadTx) (err error) {
		b.person, err = personOf(ctx, tx, a)
		return err
	})
	if err != nil {
		return GivenCode{}, err
	}
	b.check = func(ctx context.Context, tx db.WriteTx) error {
		if _, err := personOf(ctx, tx, a); err != nil {
			return err
		}
		bound, typed, err := registry.LoadBound(ctx, tx, a.Client.ID, a.UserID)
		if err != nil {
			return err
		}
		if !typed || !bound.HasRole {
			return &refusal{status: http.StatusBadRequest, code: accessDenied, description: "The person has no role at this client.", cause: ErrNoRole}
		}
		return withinBound(&bound, a.Scopes)
	}
	code := p.newBeginning(b)
	if err := p.changes.Do(ctx, change{begin: b}); err != nil {
		return GivenCode{}, notStored(err)
	}
	if b.refused != nil {
		return GivenCode{}, b.refused
	}
	return GivenCode{redact.New(code), b.id, s.clock.Now().Add(surfaceCodeLife)}, nil
}

// personOf reads who approves. The token by which the person acts must be good in this very transaction.
func personOf(ctx context.Context, tx db.ReadTx, a SurfaceApproval) (session.Session, error) {
	u, err := identity.LoadUser(ctx, tx, a.UserID)
	if fault.Is(err, fault.NotFound) {
		return session.Session{}, badCredentials()
	}
	if err != nil {
		return session.Session{}, err
	}
	if !u.Disabled.IsZero() || u.Application != "" {
		return session.Session{}, badCredentials()
	}
	s := session.Session{User: u}
	if a.Session == nil {
		return s, nil // nobody says when and how the person proved to be it, and so no token will
	}
	var auth, ended int64
	var amr string
	err = tx.QueryRow(ctx, `SELECT auth_time, amr, ended FROM grants WHERE id = $1 AND user_id = $2`, a.Session.GrantID, a.UserID).Scan(&auth, &amr, &ended)
	if errors.Is(err, db.ErrNoRows) || err == nil && ended != 0 {
		return session.Session{}, badCredentials()
	}
	if err != nil {
		return session.Session{}, fmt.Errorf("read the session that approves: %w", err)
	}
	s.AuthTime, s.AMR = db.Time(auth), strings.Fields(amr)
	return s, nil
}

// RedeemCode is the grant authorization_code for another surface.
func (s *Server) RedeemCode(ctx context.Context, client Client, code redact.Secret, redirect, verifier string) (Issued, error) {
	p := s.people
	if !client.May(grantAuthorizationCode) {
		return Issued{}, s.fail(grantAuthorizationCode, client, refuse(unauthorizedClient, "This client may not use this grant."))
	}
	if len(code.Bytes()) != len(codePrefix)+secretLength {
		return Issued{}, s.fail(grantAuthorizationCode, client, badCredentials())
	}
	x := &exchange{client: client, code: code, redirect: redirect, verifier: verifier, caller: surfaceCaller(ctx, client), macs: p.Keyring.LookupMACs(macCode, code)}
	if err := p.changes.Do(ctx, change{exchange: x}); err != nil {
		return Issued{}, s.fail(grantAuthorizationCode, client, notStored(err))
	}
	if x.err != nil {
		return Issued{}, s.fail(grantAuthorizationCode, client, x.err)
	}
	out, err := p.issue(ctx, grantAuthorizationCode, client, x.grant, x.scopes, x.audience, p.s.accessLife(client, x.grant.realm, x.grant.by))
	out.Refresh, out.RefreshEnds = x.token, x.grant.idleUntil
	return out, err
}

// RedeemRefresh is the grant refresh_token for another surface.
func (s *Server) RedeemRefresh(ctx context.Context, client Client, token redact.Secret) (Issued, error) {
	p := s.people
	x := &refresh{client: client, token: token, caller: surfaceCaller(ctx, client)}
	var ok bool
	if x.grantID, x.generation, ok = p.parseToken(token); !ok {
		return Issued{}, s.fail(grantRefreshToken, client, badCredentials())
	}
	if err := p.changes.Do(ctx, change{refresh: x}); err != nil {
		return Issued{}, s.fail(grantRefreshToken, client, notStored(err))
	}
	if x.other {
		s.journal.note(act{action: "token.refresh", outcome: audit.Denied, reason: "token_of_another_client", client: client.ID})
	}
	if x.err != nil {
		return Issued{}, s.fail(grantRefreshToken, client, x.err)
	}
	out, err := p.issue(ctx, grantRefreshToken, client, x.grant, x.scopes, x.audience, p.s.accessLife(client, x.grant.realm, x.grant.by))
	out.Refresh, out.RefreshEnds = x.next, x.grant.idleUntil
	return out, err
}

// IssueForClient is the grant client_credentials for another surface.
func (s *Server) IssueForClient(ctx context.Context, client Client, scopes []string) (Issued, error) {
	granted, err := s.admit(admission{grant: grantClientCredentials, client: client, asked: scopes})
	if err != nil {
		return Issued{}, s.fail(grantClientCredentials, client, err)
	}
	now := s.clock.Now().Truncate(time.Second)
	if first := wholeSecond(client.EnabledSince); first.After(now) {
		now = first
	}
	out := Issued{GrantType: grantClientCredentials, Claims: Claims{
		Issuer: s.issuer, Audience: s.audience, Subject: client.ID, ClientID: client.ID, Realm: realm.Robots, Scopes: granted, Grant: grantClientCredentials,
		IssuedAt: now, Expires: now.Add(s.accessLife(client, realm.Robots, grantClientCredentials)),
	}}
	out.Claims.NameParty()
	token, err := s.mint(ctx, &out.Claims)
	out.Token = redact.FromBytes(token)
	return out, s.noted(grantClientCredentials, out.Claims, err)
}

func surfaceCaller(ctx context.Context, client Client) access.Caller {
	return access.Caller{Kind: access.Service, ID: client.ID, Name: client.ID, Realm: serviceRealm, Application: client.Application,
		ClientID: client.ID, RequestID: route.RequestID(ctx), IP: route.ClientIP(ctx)}
}

// Live tells whether a code or a refresh token is good in this transaction: whoever brings it now gets a token for it.
func (s *Server) Live(ctx context.Context, tx db.ReadTx, grantID string, value redact.Secret) (bool, error) {
	grants, err := loadGrants(ctx, tx, byID, []any{grantID})
	if err != nil || len(grants) == 0 {
		return false, err
	}
	g, now := grants[0], tx.Now()
	if g.ended || !now.Before(g.idleUntil) || !g.userEnabled || !covers(g.approved, g.scopes) {
		return false, nil
	}
	if strings.HasPrefix(value.Reveal(), tokenPrefix) {
		return now.Before(g.liveUntil) && s.people.Keyring.VerifyMAC(macToken, value, g.tokenMAC), nil
	}
	return g.codeUsed.IsZero() && s.people.Keyring.VerifyMAC(macCode, value, g.codeMAC), nil
}

// EndGrant ends one grant with all that it gave. That it has ended already is no error.
func (s *Server) EndGrant(ctx context.Context, tx db.WriteTx, grantID, clientID, why string) error {
	return s.people.endOne(ctx, tx, grantID, clientID, why)
}

// EndGrantsOf ends all that the person let clients do, or the one client; what was allowed stays remembered.
func (s *Server) EndGrantsOf(ctx context.Context, tx db.WriteTx, userID, clientID, why string) error {
	if clientID == "" {
		return s.people.endAll(ctx, tx, why, `user_id = $1`, userID)
	}
	return s.people.endAll(ctx, tx, why, `user_id = $1 AND client_id = $2`, userID, clientID)
}

// RevokeToken refuses one access token from the commit on.
func (s *Server) RevokeToken(ctx context.Context, tx db.WriteTx, c Claims, by string) error {
	_, err := s.revoked.revoke(ctx, tx, &c, "", by)
	return err
}

// PutApproval sets what a person allows a client, for who may say so in the person's name. Grants that hold more end, and
// so do those by which the client is told a claim that is not allowed any more. Of claims that the person allowed without
// a scope, which nobody else can add, those that are named stay.
func (s *Server) PutApproval(ctx context.Context, tx db.WriteTx, c access.Caller, userID, clientID string, scopes []string) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	bound, typed, err := registry.LoadBound(ctx, tx, clientID, userID)
	if err != nil {
		return err
	}
	if !typed || !bound.HasRole {
		return &refusal{status: http.StatusBadRequest, code: accessDenied, description: "The person has no role at this client.", cause: ErrNoRole}
	}
	before, err := loadApproval(ctx, tx, userID, clientID)
	if err != nil {
		return err
	}
	kept := func(s string) bool { return strings.HasPrefix(s, claimPermission("")) && slices.Contains(before, s) }
	if err := withinBound(&bound, slices.DeleteFunc(slices.Clone(scopes), kept)); err != nil {
		return err
	}
	all := slices.Compact(slices.Sorted(slices.Values(scopes)))
	if err := storeApproval(ctx, tx, userID, clientID, all); err != nil {
		return err
	}
	over, err := beyondApproval(ctx, tx, userID, clientID, all)
	if err != nil {
		return err
	}
	for _, grantID := range over {
		if err := s.people.endOne(ctx, tx, grantID, clientID, "approval_reduced"); err != nil {
			return err
		}
	}
	return audit.Done(ctx, tx, c, "approval.put", "client", clientID, map[string]any{"user": userID, "scopes": all, "scopes_before": before})
}

// beyondApproval lists the grants of the person to the client that hold a scope, or tell a claim, which is not allowed.
// Sessions by password have no approval.
func beyondApproval(ctx context.Context, tx db.ReadTx, userID, clientID string, allowed []string) (over []string, err error) {
	err = eachRow(ctx, tx, `SELECT id, scopes, claims FROM grants WHERE user_id = $1 AND client_id = $2 AND ended = 0 AND began_by <> $3 ORDER BY id`,
		[]any{userID, clientID, grantPassword}, func(row db.Row) error {
			var grantID, scopes, claims string
			if err := row.Scan(&grantID, &scopes, &claims); err != nil {
				return err
			}
			untold := func(claim string) bool {
				_, name, _ := strings.Cut(claim, ".") // "id_token.email"
				return !slices.Contains(allowed, claimPermission(name)) && !slices.Contains(allowed, claimScopes[name])
			}
			if !covers(allowed, strings.Fields(scopes)) || slices.ContainsFunc(strings.Fields(claims), untold) {
				over = append(over, grantID)
			}
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("list what a client does for a person: %w", err)
	}
	return over, nil
}

// Good tells whether an access token of which these claims are known is valid still: ErrToken if it is not.
func (s *Server) Good(ctx context.Context, c Claims) error { return s.verifier.current(ctx, &c) }
