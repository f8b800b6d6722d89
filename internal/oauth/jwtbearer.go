package oauth

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// The grant jwt-bearer: a JWT of a trusted issuer is exchanged for a token of ours (RFC 7523 section 2.1).

const grantJWTBearer = registry.GrantJWTBearer

// introduced is a token of a trusted issuer that is good, with the rule that says what it is good for.
type introduced struct {
	issuer api.TrustedIssuer
	rule   api.TrustRule
	claims jose.Claims
}

// errIntroduced is the one answer to a token that does not count, whatever is wrong with it; why is for the log.
func errIntroduced(why error) error {
	no := badCredentials()
	no.cause = why
	return no
}

// grantAsserted serves the grant. The client authenticates as for every grant; or nobody does, and the rule says that the
// token alone is enough for the one application that it names (docs/adr/0009).
func (s *Server) grantAsserted(r *http.Request, p parameters, d dialect, t *tokenRequest) ([]byte, error) {
	ctx := r.Context()
	asked, err := parseScopes(p.get("scope"))
	if err != nil {
		return nil, err
	}
	assertion := p.get("assertion")
	if assertion == "" {
		return nil, refuse(invalidRequest, "assertion is missing.")
	}
	client, named, err := s.introducedClient(r, p, d)
	if err != nil {
		return nil, err
	}
	if named {
		t.client = client.ID
	}
	key := newLimiterKey(route.ClientIP(ctx), "assertions of "+client.ID)
	if wait := s.limiter.blocked(key); wait > 0 {
		s.metrics.blocked.Inc()
		return nil, &refusal{status: http.StatusTooManyRequests, code: slowDown, retry: wait, description: "This address has sent too many assertions that do not count."}
	}
	in, err := s.introduce(ctx, assertion, client, named)
	if err != nil {
		if no := refusalOf(err); no.code == invalidGrant {
			s.limiter.failed(key)
			s.journal.note(act{action: "assertion.check", outcome: audit.Denied, reason: invalidGrant, client: client.ID, ip: key.network.String()})
		}
		return nil, err
	}
	if !named {
		if client, err = s.clients.OfApplication(ctx, in.rule.Application); err != nil {
			if unknown(err) {
				return nil, errIntroduced(err)
			}
			return nil, err
		}
		t.client = client.ID
	}
	if asked, err = in.narrow(asked); err != nil {
		return nil, err
	}
	t.until = in.claims.Expires
	if t.audience, err = s.chooseResources(client, p.all("resource")); err != nil {
		return nil, err
	}
	if in.rule.Person != "" && named && s.people != nil {
		return s.people.grantPerson(r, t, client, in, asked)
	}
	return s.grantService(ctx, t, client, in, asked)
}

// introducedClient finds the client that authenticates. named is false if the request names none: a client that is only
// named and proves nothing is refused, because its name would be taken for more.
func (s *Server) introducedClient(r *http.Request, p parameters, d dialect) (client Client, named bool, err error) {
	_, _, inHeader, err := basic(r)
	_, inForm := p.find("client_id")
	_, secret := p.find("client_secret")
	if !inHeader && !inForm && !secret && !asserts(p) && err == nil {
		return Client{}, false, nil
	}
	if client, err = s.authenticate(r, p, d); err != nil {
		return Client{}, false, err
	}
	if !client.Confidential {
		return Client{}, false, refuse(invalidClient, "A public client proves nothing by its name. Leave it out if the rule for the assertion says that no client is needed.")
	}
	return client, true, nil
}

// introduce checks the token: a trusted issuer signed it, for us alone, for now; and a rule names its subject.
func (s *Server) introduce(ctx context.Context, assertion string, client Client, named bool) (in introduced, err error) {
	u, err := jose.Parse(assertion)
	if err != nil {
		return in, errIntroduced(err)
	}
	issuer, _ := u.Claimed()
	found, ok, err := s.trust.find(ctx, issuer)
	if err != nil {
		return in, err
	}
	if !ok {
		return in, errIntroduced(errAssertion("the issuer is not trusted"))
	}
	// What somebody signed as an access token, an ID token hint of ours or a request is no authorization.
	if !u.Is("", "JWT", "authorization-grant+jwt") {
		return in, errIntroduced(errAssertion("the type is not that of an authorization"))
	}
	in.issuer = found.record
	if in.claims, err = u.Verify(found.keys, jose.PublicKeyAlgs()); err != nil {
		return in, errIntroduced(err)
	}
	if err := in.claims.MeantFor(s.issuer, s.issuer+"/oauth2/token"); err != nil {
		return in, errIntroduced(err)
	}
	if err := s.inTime(in); err != nil {
		return in, errIntroduced(err)
	}
	if in.rule, ok = ruleFor(in, client, named); !ok {
		return in, errIntroduced(errAssertion("no rule names the subject, with these claims, for this client"))
	}
	if in.issuer.SingleUse {
		return in, s.onlyOnce(ctx, in)
	}
	return in, nil
}

// inTime wants iat as well as exp: without it nobody could tell for how long the issuer meant it.
func (s *Server) inTime(in introduced) error {
	longest := time.Duration(in.issuer.MaxLifetime) * time.Second
	c := in.claims
	if err := c.Current(s.clock.Now(), longest+time.Minute); err != nil {
		return err
	}
	if c.IssuedAt.IsZero() || c.Expires.Sub(c.IssuedAt) > longest {
		return errAssertion("iat is missing, or the token lives longer than this issuer's may")
	}
	return nil
}

// onlyOnce refuses a token that was exchanged before, on any node.
func (s *Server) onlyOnce(ctx context.Context, in introduced) error {
	if in.claims.ID == "" || len(in.claims.ID) > maxJTI {
		return errIntroduced(errAssertion("jti is missing or too long"))
	}
	first, err := s.used.first(ctx, "issuer", in.issuer.Issuer, in.claims.ID, in.claims.Expires)
	if err == nil && !first {
		err = errIntroduced(errAssertion("it was used before"))
	}
	return err
}

// ruleFor finds the first rule that the token fits and that the client may use: one for its own application, or for a
// person; without a client, one that says that none is needed.
func ruleFor(in introduced, client Client, named bool) (api.TrustRule, bool) {
	i := slices.IndexFunc(in.issuer.Rules, func(rule api.TrustRule) bool {
		if rule.Subject == "" || rule.Subject != in.claims.Subject {
			return false
		}
		for name, want := range rule.Claims {
			if got, ok := in.claims.Text(name); !ok || got != want {
				return false
			}
		}
		if !named {
			return rule.Public && rule.Application != ""
		}
		return rule.Person != "" || rule.Application != "" && rule.Application == client.Application
	})
	if i < 0 {
		return api.TrustRule{}, false
	}
	return in.issuer.Rules[i], true
}

// narrow answers the scopes to ask the gate for: no more than the rule lets through.
func (in introduced) narrow(asked []string) ([]string, error) {
	if len(in.rule.Scopes) == 0 {
		return asked, nil
	}
	if len(asked) == 0 {
		return in.rule.Scopes, nil
	}
	if !covers(in.rule.Scopes, asked) {
		return nil, refuse(invalidScope, "The rule for this assertion does not let all of these scopes through.")
	}
	return asked, nil
}

// shorten is how long a token of this request may live: no longer than what it was exchanged for (RFC 7521 section 4.1).
func (t *tokenRequest) shorten(life time.Duration, now time.Time) time.Duration {
	if left := t.until.Sub(now); !t.until.IsZero() && left < life {
		return left
	}
	return life
}

// grantService gives a token of the application's service user.
func (s *Server) grantService(ctx context.Context, t *tokenRequest, client Client, in introduced, asked []string) ([]byte, error) {
	if in.rule.Person != "" {
		return nil, errIntroduced(errAssertion("the rule is for a person"))
	}
	subject, err := s.users.ServiceUser(ctx, client.Realm, client.Username)
	if err != nil {
		if unknown(err) {
			return nil, errIntroduced(fmt.Errorf("find the service user: %w", err))
		}
		return nil, err
	}
	t.realm = subject.Realm
	if t.scopes, err = s.admit(admission{grant: grantJWTBearer, client: client, subject: &subject, asked: asked}); err != nil {
		return nil, err
	}
	since := client.EnabledSince
	if subject.EnabledSince.After(since) {
		since = subject.EnabledSince
	}
	return s.tokenAnswer(ctx, t, client, subject.Username, since)
}
