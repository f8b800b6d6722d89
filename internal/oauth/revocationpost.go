package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/route"
)

// The kinds of revocation of the STUPS protocol. Each names tokens that were issued before an instant: one by its hash,
// those that carry some claims, or all of them.
const (
	revokeToken  = "TOKEN"
	revokeClaim  = "CLAIM"
	revokeGlobal = "GLOBAL"
)

// revocationRequest is a body of POST /oauth2/revocations.
type revocationRequest struct {
	kind   string
	token  string
	claims map[string]string
	before *int64
}

// parseRevocation reads a body such as {"type":"CLAIM","data":{"claims":{"sub":"jdoe"},"issued_before":1}}. What it does
// not know it refuses: whoever revokes must not believe that something happened which did not.
func parseRevocation(body []byte) (q revocationRequest, err error) {
	r := &jsonReader{b: body}
	err = r.object(2, func(name string) (err error) {
		switch name {
		case "type":
			q.kind, err = r.text()
			return err
		case "data":
			return q.readData(r)
		}
		return errJSON
	})
	if err == nil {
		err = r.end()
	}
	bad := fault.New(fault.Invalid, "invalid_request", `Send {"type": "TOKEN" or "CLAIM", "data": {…}}.`)
	switch {
	case err != nil:
		return q, bad
	case q.kind == revokeToken && q.token != "" && q.claims == nil:
	case q.kind == revokeClaim && q.claims != nil && q.token == "":
	case q.kind == revokeGlobal && q.claims == nil && q.token == "":
	default:
		return q, bad
	}
	return q, nil
}

func (q *revocationRequest) readData(r *jsonReader) error {
	return r.object(4, func(name string) (err error) {
		switch name {
		case "token":
			q.token, err = r.text()
		case "claims":
			q.claims = map[string]string{}
			err = r.object(maxRevokedClaims, func(claim string) (err error) {
				q.claims[claim], err = r.text()
				return err
			})
		case "issued_before":
			var at int64
			at, err = r.integer()
			q.before = &at
		default:
			err = errJSON
		}
		return err
	})
}

// postRevocation revokes for whoever may: an administrator, the holder of the very token, or a caller for whom an
// administrator made a rule. All others are refused.
func (s *Server) postRevocation(w http.ResponseWriter, r *http.Request) {
	kind := "unknown"
	var caller access.Caller
	err := func() (err error) {
		var own *Claims
		if own, caller, err = s.revoker(r); err != nil {
			return err
		}
		body, err := readBody(r)
		if err != nil {
			return err
		}
		q, err := parseRevocation([]byte(body))
		if err != nil {
			return err
		}
		kind = strings.ToLower(q.kind)
		return s.db.Write(r.Context(), func(tx db.WriteTx) error { return s.revokeFor(r.Context(), tx, own, caller, q) })
	}()
	outcome := outcomeSuccess
	if err != nil {
		outcome = "refused"
		var no *refusal
		if errors.As(err, &no) { // of the form of the body
			err = fault.Wrap(err, fault.Invalid, no.code, "%s", no.description)
		}
		switch fault.Of(err).Kind {
		case fault.Forbidden:
			s.recordDenied(r.Context(), caller, err)
		case fault.Internal, fault.Unavailable:
			outcome = "failed"
		}
	}
	s.metrics.revoked.WithLabelValues(kind, outcome).Inc()
	if err != nil {
		route.WriteProblem(w, r, err)
		return
	}
	answer(w, http.StatusCreated, nil)
}

// recordDenied puts into the audit log who wanted to revoke and may not. The answer does not wait for it to succeed.
func (s *Server) recordDenied(ctx context.Context, c access.Caller, denied error) {
	err := s.db.Write(ctx, func(tx db.WriteTx) error {
		return audit.Record(ctx, tx, audit.Event{Action: "token.revoke", Outcome: audit.Denied, Reason: fault.Of(denied).Code, Caller: c, TargetType: "token"})
	})
	if err != nil {
		s.log.WarnContext(ctx, "a denied revocation could not be recorded", "error", err)
	}
}

// revoker finds out who asks: by an access token, whose claims are answered, or as an administrator.
func (s *Server) revoker(r *http.Request) (own *Claims, c access.Caller, err error) {
	nobody := fault.New(fault.Unauthenticated, "invalid_token", "Send Authorization: Bearer with an access token that is valid.")
	token, ok := bearer(r)
	if !ok || token == "" || len(r.Header["Authorization"]) > 1 {
		return nil, c, nobody
	}
	own, err = s.verifier.Verify(r.Context(), token, VerifyOptions{Audience: s.audience[0]})
	if err == nil {
		ctx := r.Context()
		kind := access.Person
		if own.Realm == serviceRealm {
			kind = access.Service
		}
		return own, access.Caller{Kind: kind, ID: own.Subject, Name: own.Subject, Realm: own.Realm, ClientID: own.ClientID,
			RequestID: route.RequestID(ctx), IP: route.ClientIP(ctx)}, nil
	}
	if !isTokenError(err) {
		return nil, c, err
	}
	if c, err = s.caller(r); err != nil {
		return nil, c, err
	}
	if c.Kind == access.Anonymous {
		return nil, c, nobody
	}
	return nil, c, nil
}

func (s *Server) revokeFor(ctx context.Context, tx db.WriteTx, own *Claims, c access.Caller, q revocationRequest) error {
	before, err := checkBefore(q.before, tx.Now())
	if err != nil {
		return err
	}
	bounded := ""
	if own != nil {
		bounded = own.ClientID + " " + own.Subject
	}
	switch q.kind {
	case revokeGlobal:
		return fault.New(fault.Forbidden, "forbidden", "Not everything at once: that is the administrators' operation.")
	case revokeToken:
		return s.revokeTokenFor(ctx, tx, own, c, q, before)
	}
	v, err := s.coveringOf(q.claims)
	if err != nil {
		return err
	}
	v.before = before
	if err := s.allowRevocation(ctx, tx, own, c, v.claims()); err != nil {
		return err
	}
	stored, err := s.cover(ctx, tx, c, "claims", v, bounded, "")
	if err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "token.revoke", "claims", stored.ID, map[string]any{"claims": stored.Claims, "issued_before": stored.IssuedBefore})
}

func (s *Server) revokeTokenFor(ctx context.Context, tx db.WriteTx, own *Claims, c access.Caller, q revocationRequest, before int64) error {
	target, err := s.verifier.Verify(ctx, q.token, VerifyOptions{})
	if isTokenError(err) {
		return nil // it is good for nothing already, and nobody learns here whether it ever was
	}
	if err != nil {
		return err
	}
	if own == nil || own.ID != target.ID {
		claims := map[string]string{}
		for _, name := range revocableClaims {
			if value := claimOf(target, name); value != "" {
				claims[name] = value
			}
		}
		if err := s.allowRevocation(ctx, tx, own, c, claims); err != nil {
			return err
		}
	}
	if q.before != nil && before <= target.IssuedAt.Unix() {
		return fault.New(fault.Invalid, "issued_before", "The token was issued later than issued_before.")
	}
	first, err := s.revokeToken(ctx, tx, target, q.token, c.String())
	if err != nil || !first {
		return err
	}
	return audit.Done(ctx, tx, c, "token.revoke", "token", target.ID, map[string]any{"realm": target.Realm, "subject": target.Subject})
}

// allowRevocation answers nil if an administrator asks, or if a rule lets this caller revoke tokens with these claims:
// the caller's token carries all that the rule requires, and what is revoked all that the rule allows.
func (s *Server) allowRevocation(ctx context.Context, tx db.ReadTx, own *Claims, c access.Caller, claims map[string]string) error {
	denied := access.Allow(c, access.RevokeTokens, access.Target{Type: "token"})
	if denied == nil || own == nil {
		return denied
	}
	rules, err := loadRules(ctx, tx)
	if err != nil {
		return err
	}
	for _, rule := range rules {
		if carries(rule.Required, func(name string) string { return claimOf(own, name) }) && carries(rule.Allowed, func(name string) string { return claims[name] }) {
			return nil
		}
	}
	return denied
}

// carries tells whether all the wanted claims are there with these values. Nothing wanted is nothing allowed.
func carries(wanted map[string]string, claim func(name string) string) bool {
	for name, value := range wanted {
		if value == "" || claim(name) != value {
			return false
		}
	}
	return len(wanted) > 0
}

func decodeClaims(text string) (map[string]string, error) {
	var claims map[string]string
	if err := json.Unmarshal([]byte(text), &claims); err != nil {
		return nil, fmt.Errorf("read the claims of a rule: %w", err)
	}
	return claims, nil
}
