package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// dialect is how strictly a request is read.
type dialect int

const (
	strictly dialect = iota // RFC 6749
	legacy                  // and what clients of this family have always sent
)

// credentials are what a client shows of itself.
type credentials struct {
	id     string
	secret redact.Secret
	shown  bool // a secret was shown, if an empty one
	// header tells that they came by Basic. RFC 6749 section 2.3.1 wants both parts form-encoded there, and hardly any
	// client does it; so the decoded pair is the second attempt.
	header bool

	assertion *jose.Unverified // what it signed to prove itself, if it did so in place of showing a secret
}

// readCredentials finds the client's credentials. Strictly, one method at a time is allowed; a legacy client that sends
// both means the form.
func readCredentials(r *http.Request, p parameters, d dialect) (credentials, error) {
	id, secret, inHeader, err := basic(r)
	formID := p.get("client_id")
	formSecret, inForm := p.find("client_secret")
	if asserts(p) {
		if inHeader || inForm {
			return credentials{}, refuse(invalidRequest, "The client authenticates in more than one way.")
		}
		return readAssertion(p, formID)
	}
	if d == legacy {
		if formID != "" && inForm {
			return credentials{id: formID, secret: redact.New(formSecret), shown: true}, nil
		}
		if err != nil {
			return credentials{}, noCredentials(d)
		}
	}
	switch {
	case inHeader && inForm && d == strictly:
		return credentials{}, refuse(invalidRequest, "The client authenticates in more than one way.")
	case err != nil:
		return credentials{}, err
	case inHeader && d == strictly && formID != "" && formID != id:
		return credentials{}, refuse(invalidRequest, "client_id is not the client that authenticates.")
	case inHeader:
		return credentials{id: id, secret: redact.New(secret), shown: true, header: true}, nil
	case formID != "":
		return credentials{id: formID, secret: redact.New(formSecret), shown: inForm}, nil
	}
	return credentials{}, noCredentials(d)
}

func noCredentials(d dialect) *refusal {
	no := refuse(invalidClient, "Send the client's id and secret, by HTTP Basic or as client_id and client_secret.")
	if d == legacy {
		no.status = http.StatusBadRequest // so this family of clients has always been told
	}
	return no
}

// authenticate finds out which client is asking. A public client is named and not proven: callers that need proof ask
// for Confidential.
func (s *Server) authenticate(r *http.Request, p parameters, d dialect) (Client, error) {
	cred, err := readCredentials(r, p, d)
	if err != nil {
		return Client{}, err
	}
	return s.identify(r.Context(), cred)
}

// identify checks credentials, and slows down who guesses.
func (s *Server) identify(ctx context.Context, cred credentials) (Client, error) {
	s.named(ctx, cred.id)
	key := newLimiterKey(route.ClientIP(ctx), harmless(cred.id))
	if wait := s.limiter.blocked(key); wait > 0 {
		s.metrics.blocked.Inc()
		return Client{}, &refusal{status: http.StatusTooManyRequests, code: slowDown, retry: wait,
			description: "This address has sent too many wrong secrets for this client."}
	}
	client, ok, err := s.prove(ctx, cred)
	if err != nil && !errors.Is(err, jose.ErrToken) {
		return Client{}, err
	}
	if !ok || !client.Enabled {
		s.limiter.failed(key)
		s.metrics.refused.Inc()
		s.journal.note(act{action: "client.authenticate", outcome: audit.Denied, reason: invalidClient, client: key.client, ip: key.network.String()})
		no := refuse(invalidClient, "Client authentication failed.")
		no.cause = err // what is wrong with an assertion is for the log
		return Client{}, no
	}
	forClient(ctx, &client)
	route.Identify(ctx, access.Caller{Kind: access.Service, ID: client.ID, Name: client.ID, Application: client.Application, ClientID: client.ID, Realm: serviceRealm})
	return client, nil
}

// prove checks the credentials, and that they are of the kind that the client is registered with: a client that signs is
// not impersonated by who has found an old secret of it. An error means that they could not be checked, or, of an
// assertion, what is wrong with it.
func (s *Server) prove(ctx context.Context, cred credentials) (Client, bool, error) {
	if cred.assertion != nil {
		return s.proveSigned(ctx, cred)
	}
	client, ok, err := s.proveSecret(ctx, cred)
	return client, ok && cred.fit(client), err
}

// fit tells whether the client is registered to authenticate in the way in which it just did.
func (c credentials) fit(client Client) bool {
	switch client.Metadata.AuthMethod {
	case "":
		return c.assertion == nil
	case registry.AuthNone:
		return c.assertion == nil && !client.Confidential
	case registry.AuthClientSecretBasic:
		return c.shown && c.header
	case registry.AuthClientSecretPost:
		return c.shown && !c.header
	case registry.AuthClientSecretJWT:
		return c.assertion != nil && c.assertion.Alg == jose.HS256
	case registry.AuthPrivateKeyJWT:
		return c.assertion != nil && c.assertion.Alg != jose.HS256
	}
	return false
}

// proveSecret checks the credentials first as they came, then decoded.
func (s *Server) proveSecret(ctx context.Context, cred credentials) (Client, bool, error) {
	if cred.shown {
		client, ok, err := s.tryProof(ctx, cred.id, cred.secret)
		if ok || err != nil {
			return client, ok, err
		}
		if id, secret, differs := cred.decoded(); differs {
			if client, ok, err = s.tryProof(ctx, id, secret); ok || err != nil {
				return client, ok, err
			}
		}
	}
	client, err := s.clients.Client(ctx, cred.id)
	switch {
	case err == nil:
		return client, !client.Confidential, nil
	case unknown(err):
		return Client{}, false, nil
	}
	return Client{}, false, err
}

func (s *Server) tryProof(ctx context.Context, id string, secret redact.Secret) (Client, bool, error) {
	if secret.Empty() {
		return Client{}, false, nil // no client has an empty secret
	}
	client, _, err := s.clients.AuthenticateClient(ctx, id, secret)
	if err == nil {
		return client, true, nil
	}
	if unknown(err) || errors.Is(err, registry.ErrPublicClient) {
		return Client{}, false, nil
	}
	return Client{}, false, err
}

func (c credentials) decoded() (id string, secret redact.Secret, differs bool) {
	if !c.header {
		return "", redact.Secret{}, false
	}
	raw := c.secret.Reveal()
	id, err := url.QueryUnescape(c.id)
	if err != nil {
		return "", redact.Secret{}, false
	}
	text, err := url.QueryUnescape(raw)
	if err != nil || id == c.id && text == raw {
		return "", redact.Secret{}, false
	}
	return id, redact.New(text), true
}

// unknown tells whether err says that the credentials are wrong, as opposed to that they could not be checked.
func unknown(err error) bool {
	switch fault.Of(err).Kind {
	case fault.Unauthenticated, fault.Forbidden, fault.NotFound, fault.Invalid:
		return true
	}
	return false
}
