package oauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/realm"
)

// The bounds of revocations of many tokens.
const (
	// keepCoverings is how long they count. No token lives longer, and verifiers ask for no older ones.
	keepCoverings = 31 * 24 * time.Hour
	// maxAhead is how far in the future issued_before may lie.
	maxAhead = 5 * time.Second
	// maxOfCaller is how many of them one caller may have who is no administrator, and maxTokensOfClient how many single
	// tokens one client may have taken back: more than honest ones need, and few enough to be held in memory.
	maxOfCaller       = 1000
	maxTokensOfClient = 10_000

	maxRevokedClaims = 4
	maxClaimValue    = 256
)

// dateAfterRevocations dates a new token by the first second that no revocation reaches. One counts for the whole second
// in which it was made, since tokens are dated by seconds: what was issued in it before is dead, and what is issued in it
// afterwards must not be.
func (s *Server) dateAfterRevocations(c *Claims) {
	if late := time.Unix(s.revoked.many.before(c), 0).Sub(c.IssuedAt); late > 0 {
		c.IssuedAt, c.Expires = c.IssuedAt.Add(late), c.Expires.Add(late)
	}
}

// beforeNow is issued_before of a revocation that counts for all tokens which exist now: the next full second.
func beforeNow(now time.Time) int64 { return now.Unix() + 1 }

// checkBefore takes what a caller gave as issued_before.
func checkBefore(given *int64, now time.Time) (int64, error) {
	if given == nil {
		return beforeNow(now), nil
	}
	at := time.Unix(*given, 0)
	if at.After(now.Add(maxAhead)) || at.Before(now.Add(-keepCoverings)) {
		return 0, fault.New(fault.Invalid, "issued_before", "issued_before must lie within the last 31 days.")
	}
	return *given, nil
}

// coveringOf makes a covering of claims, which it checks. uid is what tokeninfo calls sub.
func (s *Server) coveringOf(claims map[string]string) (v covering, err error) {
	wrong := func(format string, args ...any) (covering, error) {
		return covering{}, fault.New(fault.Invalid, "claims", format, args...)
	}
	if len(claims) == 0 || len(claims) > maxRevokedClaims {
		return wrong("Name one to %d claims.", maxRevokedClaims)
	}
	named := map[string]string{}
	for name, value := range claims {
		if name == "uid" {
			name = "sub"
		}
		if _, twice := named[name]; twice || !slices.Contains(revocableClaims, name) {
			return wrong("Tokens can be revoked by these claims, each named once: %s.", strings.Join(revocableClaims, ", "))
		}
		if value == "" || len(value) > maxClaimValue || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
			return wrong("The value of a claim has between 1 and %d bytes and no control characters.", maxClaimValue)
		}
		if name == "realm" {
			r, err := s.realms.Lookup(value)
			if err != nil {
				return wrong("There is no such realm.")
			}
			value = r.Name
		}
		named[name] = value
	}
	v.names = slices.Sorted(maps.Keys(named))
	for _, name := range v.names {
		v.values = append(v.values, named[name])
	}
	return v, nil
}

func (v covering) claims() map[string]string {
	claims := map[string]string{}
	for i, name := range v.names {
		claims[name] = v.values[i]
	}
	return claims
}

// cover stores a covering and tells every node. bounded is the key under which a caller's are counted, "" of
// administrators.
func (s *Server) cover(ctx context.Context, tx db.WriteTx, c access.Caller, kind string, v covering, bounded, reason string) (api.Revocation, error) {
	now := tx.Now()
	if s.revoked.many.tooMany(v.names) {
		return api.Revocation{}, fault.New(fault.Limited, "too_many_revocations", "Tokens are revoked by too many different sets of claims already.")
	}
	if bounded != "" {
		var n int
		if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM revocations WHERE caller = $1 AND expires > $2`, bounded, db.Micros(now)).Scan(&n); err != nil {
			return api.Revocation{}, fmt.Errorf("count revocations: %w", err)
		}
		if n >= maxOfCaller {
			return api.Revocation{}, fault.New(fault.Limited, "too_many_revocations", "You have %d revocations that still count: revoke by a claim that more tokens share, or ask an administrator.", n)
		}
	}
	r := api.Revocation{ID: id.New(id.Revocation, now), Kind: kind, Claims: v.claims(), IssuedBefore: time.Unix(v.before, 0).UTC(), Revoked: now, RevokedBy: c.String(), Reason: reason}
	n, err := tx.Exec(ctx, `INSERT INTO revocations (id, kind, names, claim_values, issued_before, revoked, revoked_by, caller, reason, expires)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, r.ID, kind, strings.Join(v.names, " "), v.key(), db.Micros(r.IssuedBefore), db.Micros(now), r.RevokedBy,
		bounded, reason, db.Micros(r.IssuedBefore.Add(keepCoverings)))
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows", n)
	}
	if err != nil {
		return api.Revocation{}, fmt.Errorf("store a revocation: %w", err)
	}
	if err := tx.Changed(ctx, topicCovering, v.feedText()); err != nil {
		return api.Revocation{}, fmt.Errorf("tell of a revocation: %w", err)
	}
	tx.AfterCommit(func() { s.revoked.many.add(v) })
	return r, nil
}

// Revoke ends what r names. It is the administrators' operation; what others may revoke is in revocationpost.go.
func (s *Server) Revoke(ctx context.Context, tx db.WriteTx, c access.Caller, r api.Revoke) (out api.Revoked, err error) {
	if err := access.Allow(c, access.RevokeTokens, access.Target{Type: r.Kind, ID: r.ID}); err != nil {
		return out, err
	}
	if strings.TrimSpace(r.Reason) == "" {
		return out, invalidField("body.reason", "missing")
	}
	details := map[string]any{"kind": r.Kind, "reason": r.Reason}
	target := cmp.Or(r.ID, r.Kind)
	switch r.Kind {
	case "token":
		if target, err = s.revokeShown(ctx, tx, c, r.Token); err != nil {
			return out, err
		}
	case "grant":
		err = s.endGrant(ctx, tx, r.ID)
	default:
		var e extent
		if e, err = s.extentOf(ctx, tx, r); err != nil {
			return out, err
		}
		if out, err = s.endExtent(ctx, tx, c, r, e); err == nil && out.Revocation != nil {
			details["claims"], details["issued_before"] = out.Revocation.Claims, out.Revocation.IssuedBefore
		}
		details["sessions"] = out.Sessions
	}
	if err != nil {
		return out, err
	}
	return out, audit.Done(ctx, tx, c, "token.revoke", r.Kind, target, details)
}

func invalidField(location, message string) error {
	return fault.InvalidAt(location, "invalid_request", "%s: %s", location, message)
}

// extent is how far a revocation of many tokens reaches.
type extent struct {
	covering *covering      // nil: no token is named by its claims
	sessions *session.Which // nil: none end
	grants   string         // condition on grants; "": none end
	args     []any          // of the condition
	reason   string
}

// extentOf finds out what the request reaches.
func (s *Server) extentOf(ctx context.Context, tx db.ReadTx, r api.Revoke) (e extent, err error) {
	e.reason = r.Reason
	if r.ID == "" && r.Kind != "everything" && r.Kind != "claims" {
		return e, invalidField("body.id", "missing")
	}
	switch r.Kind {
	case "session":
		e.sessions, e.grants, e.args = &session.Which{ID: r.ID}, `session_id = $1`, []any{r.ID}
		return e, nil
	case "client":
		if _, err := s.clients.Client(ctx, r.ID); err != nil {
			return e, err
		}
		e.covering, e.grants, e.args = &covering{names: []string{"client_id"}, values: []string{r.ID}}, `client_id = $1`, []any{r.ID}
		return e, nil
	case "realm":
		v, err := s.coveringOf(map[string]string{"realm": r.ID})
		if err != nil {
			return e, err
		}
		e.covering, e.sessions, e.grants, e.args = &v, &session.Which{Realm: v.values[0]}, `realm = $1`, []any{v.values[0]}
		return e, nil
	case "user":
		return s.extentOfUser(ctx, tx, r)
	case "claims":
		v, err := s.coveringOf(r.Claims)
		e.covering = &v
		return e, err
	case "everything":
		e.covering, e.sessions, e.grants = &covering{}, &session.Which{All: true}, `id <> ''`
		return e, nil
	}
	return e, invalidField("body.kind", "not known")
}

// extentOfUser is all that a person holds, or the tokens of a service user, whose tokens name it by its username.
func (s *Server) extentOfUser(ctx context.Context, tx db.ReadTx, r api.Revoke) (e extent, err error) {
	e.reason = r.Reason
	if r.Realm != "" {
		v, err := s.coveringOf(map[string]string{"realm": r.Realm, "sub": r.ID})
		if err != nil {
			return e, err
		}
		if at, err := s.realms.Lookup(r.Realm); err != nil || at.Kind != realm.Services {
			return e, invalidField("body.realm", "only service users are named by realm and username; name a person by its id")
		}
		e.covering = &v
		return e, nil
	}
	var name string
	err = tx.QueryRow(ctx, `SELECT realm FROM users WHERE id = $1`, r.ID).Scan(&name)
	if errors.Is(err, db.ErrNoRows) {
		return e, fault.New(fault.NotFound, "user_not_found", "There is no such user.")
	}
	if err != nil {
		return e, fmt.Errorf("read a user: %w", err)
	}
	e.covering = &covering{names: []string{"realm", "sub"}, values: []string{name, r.ID}}
	e.sessions, e.grants, e.args = &session.Which{UserID: r.ID}, `user_id = $1`, []any{r.ID}
	return e, nil
}

// endExtent stores the covering and ends sessions and grants. With an instant in the past only tokens end: what came
// after it is not to be touched.
func (s *Server) endExtent(ctx context.Context, tx db.WriteTx, c access.Caller, r api.Revoke, e extent) (out api.Revoked, err error) {
	if e.covering != nil {
		var given *int64
		if r.IssuedBefore != nil {
			seconds := wholeSecond(*r.IssuedBefore).Unix()
			given = &seconds
		}
		if e.covering.before, err = checkBefore(given, tx.Now()); err != nil {
			return out, err
		}
		stored, err := s.cover(ctx, tx, c, r.Kind, *e.covering, "", r.Reason)
		if err != nil {
			return out, err
		}
		out.Revocation = &stored
	}
	if s.people == nil || e.covering != nil && r.IssuedBefore != nil {
		return out, nil
	}
	if e.sessions != nil {
		if out.Sessions, err = s.people.Sessions.EndThese(ctx, tx, *e.sessions, "revoked"); err != nil {
			return out, err
		}
		if r.Kind == "session" && out.Sessions == 0 {
			return out, fault.New(fault.NotFound, "session_not_found", "There is no such session.")
		}
	}
	if e.grants != "" {
		err = s.people.endAll(ctx, tx, "revoked", e.grants, e.args...)
	}
	return out, err
}

// endGrant ends one grant, with every token that came of it.
func (s *Server) endGrant(ctx context.Context, tx db.WriteTx, grantID string) error {
	if grantID == "" {
		return invalidField("body.id", "missing")
	}
	var client string
	err := tx.QueryRow(ctx, `SELECT client_id FROM grants WHERE id = $1`, grantID).Scan(&client)
	if errors.Is(err, db.ErrNoRows) || s.people == nil {
		return fault.New(fault.NotFound, "grant_not_found", "There is no such grant.")
	}
	if err != nil {
		return fmt.Errorf("read a grant: %w", err)
	}
	return s.people.endOne(ctx, tx, grantID, client, "revoked")
}

// revokeShown revokes the access token that was shown, and answers its name.
func (s *Server) revokeShown(ctx context.Context, tx db.WriteTx, c access.Caller, token string) (jti string, err error) {
	claims, err := s.verifier.Verify(ctx, token, VerifyOptions{})
	if isTokenError(err) {
		return "", fault.Wrap(err, fault.Invalid, "token", "This is no access token that is valid: there is nothing to revoke.").At("body.token", "not valid")
	}
	if err != nil {
		return "", err
	}
	_, err = s.revokeToken(ctx, tx, claims, token, c.String())
	return claims.ID, err
}

// revokeToken ends one token. A client that has taken back very many gets more than it asked for: the grant that the token
// came from ends, or, without one, all tokens that the client got for this subject until now. So no client fills the
// memory of every node, and none is told that its token is dead when it is not.
func (s *Server) revokeToken(ctx context.Context, tx db.WriteTx, c *Claims, token, by string) (first bool, err error) {
	many, err := s.manyOfClient(ctx, tx, c.ClientID)
	if err != nil {
		return false, err
	}
	if !many {
		return s.revoked.revoke(ctx, tx, c, s.saltedHash(token), by)
	}
	if c.GrantID != "" && s.people != nil {
		return true, s.people.endOne(ctx, tx, c.GrantID, c.ClientID, "very_many_tokens")
	}
	v := covering{names: []string{"client_id", "realm", "sub"}, values: []string{c.ClientID, c.Realm, c.Subject}, before: beforeNow(tx.Now())}
	// It takes the place of the one before it, which reached less far.
	if _, err := tx.Exec(ctx, `DELETE FROM revocations WHERE kind = 'tokens' AND names = $1 AND claim_values = $2`, strings.Join(v.names, " "), v.key()); err != nil {
		return false, fmt.Errorf("delete a revocation: %w", err)
	}
	_, err = s.cover(ctx, tx, access.SystemCaller("oauth"), "tokens", v, "", "very many tokens of the client were revoked one by one")
	return true, err
}

// manyOfClient tells whether the client has taken back as many tokens as are held one by one. The database is asked only
// when memory holds as many at all.
func (s *Server) manyOfClient(ctx context.Context, tx db.ReadTx, clientID string) (bool, error) {
	if s.revoked.size() < s.tokensOfClient {
		return false, nil
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM revoked_tokens WHERE client_id = $1 AND token_hash <> ''`, clientID).Scan(&n); err != nil {
		return false, fmt.Errorf("count revoked tokens: %w", err)
	}
	return n >= s.tokensOfClient, nil
}

// saltedHash is how verifiers that check by themselves know a token or the values of claims: base64url, padded, of
// SHA-256 with the installation's salt before it.
func (s *Server) saltedHash(value string) string {
	h := sha256.New()
	h.Write(s.salt.Bytes())
	h.Write([]byte(value))
	return base64.URLEncoding.EncodeToString(h.Sum(nil))
}
