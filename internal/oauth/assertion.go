package oauth

import (
	"context"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// Clients that prove to be themselves by what they sign: private_key_jwt and client_secret_jwt (RFC 7523 section 3,
// OpenID Connect Core section 9).

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// The bounds of a client's assertion.
const (
	assertionLife = 5 * time.Minute
	maxJTI        = 256
)

// errAssertion is for what package jose does not know to be wrong.
func errAssertion(why string) error { return fmt.Errorf("%w: %s", jose.ErrToken, why) }

// asserts tells whether the request brings an assertion, or part of one.
func asserts(p parameters) bool {
	_, typed := p.find("client_assertion_type")
	_, given := p.find("client_assertion")
	return typed || given
}

// readAssertion takes the assertion apart. Who it says to come from is what is to be proven; client_id, if it is sent
// besides, must be the same.
func readAssertion(p parameters, formID string) (credentials, error) {
	text := p.get("client_assertion")
	if text == "" || p.get("client_assertion_type") != assertionType {
		return credentials{}, refuse(invalidRequest, "client_assertion needs client_assertion_type "+assertionType+", and the other way round.")
	}
	u, err := jose.Parse(text)
	if err != nil {
		no := refuse(invalidClient, "Client authentication failed.")
		no.cause = err
		return credentials{}, no
	}
	issuer, subject := u.Claimed()
	if issuer == "" || issuer != subject || formID != "" && formID != subject {
		no := refuse(invalidClient, "Client authentication failed.")
		no.cause = errAssertion("iss, sub and client_id are not one client")
		return credentials{}, no
	}
	return credentials{id: subject, assertion: u}, nil
}

// proveSigned checks a client's assertion: that the client signs at all, and in this way; whose signature it is; that it
// is meant for us and for nobody else, for now, and used for the first time.
func (s *Server) proveSigned(ctx context.Context, cred credentials) (Client, bool, error) {
	client, err := s.clients.Client(ctx, cred.id)
	if err != nil {
		if unknown(err) {
			return Client{}, false, errAssertion("there is no such client")
		}
		return Client{}, false, err
	}
	if !client.Enabled || !cred.fit(client) {
		return client, false, errAssertion("the client is disabled, or not registered to authenticate in this way")
	}
	u := cred.assertion
	// A request object or an ID token of the same signer does not do.
	if !u.Is("", "JWT", "client-authentication+jwt") {
		return client, false, errAssertion("the type is not that of client authentication")
	}
	claims, err := s.verifySigned(ctx, client, u)
	if err != nil {
		return client, false, err
	}
	// The issuer alone, and not the address of an endpoint: a server that a client can be made to trust could present
	// there what the client sent to it (draft-ietf-oauth-rfc7523bis).
	if err := claims.MeantFor(s.issuer); err != nil {
		return client, false, err
	}
	if err := claims.Current(s.clock.Now(), assertionLife); err != nil {
		return client, false, err
	}
	if claims.ID == "" || len(claims.ID) > maxJTI {
		return client, false, errAssertion("jti is missing or too long")
	}
	first, err := s.used.first(ctx, "client", client.ID, claims.ID, claims.Expires)
	if err == nil && !first {
		err = errAssertion("it was used before")
	}
	if err == nil {
		s.noteProof(ctx, client, u)
	}
	return client, first, err
}

// noteProof tells which of its keys or secrets the client has signed with. Where the token names no key, it is found by
// trying; that it is one of them is known by now.
func (s *Server) noteProof(ctx context.Context, client Client, u *jose.Unverified) {
	if s.proofs == nil {
		return
	}
	if client.Metadata.AuthMethod == registry.AuthPrivateKeyJWT {
		if client.Metadata.JWKSURI != "" {
			s.proofs.NoteUse(client.ID) // the keys are not ours to keep account of
			return
		}
		for _, k := range client.Keys {
			key, err := jose.ParseKey([]byte(k.JWK))
			if err != nil || u.Kid != "" && key.ID != u.Kid {
				continue
			}
			if u.Kid == "" {
				if _, err := u.Verify([]jose.Key{key}, jose.PublicKeyAlgs()); err != nil {
					continue
				}
			}
			s.proofs.NoteUse(k.ID)
			return
		}
		return
	}
	secrets, err := s.secrets.HMACSecrets(ctx, client.ID)
	if err != nil {
		return // it was good a moment ago, and to note it is no reason to refuse
	}
	for _, secret := range secrets {
		if _, err := u.VerifySecret([]redact.Secret{secret}); err == nil {
			s.proofs.NoteSecret(ctx, client.ID, secret)
			return
		}
	}
}

// verifySigned checks the signature with what the client is registered with.
func (s *Server) verifySigned(ctx context.Context, client Client, u *jose.Unverified) (jose.Claims, error) {
	registered := client.Metadata.AuthAlg
	if client.Metadata.AuthMethod == registry.AuthPrivateKeyJWT {
		return s.verifyByKeys(ctx, client, u, registered)
	}
	if s.secrets == nil || registered != "" && registered != string(jose.HS256) {
		return jose.Claims{}, errAssertion("the client may not sign with a secret")
	}
	secrets, err := s.secrets.HMACSecrets(ctx, client.ID)
	if err != nil {
		return jose.Claims{}, fmt.Errorf("find the secrets of a client: %w", err)
	}
	return u.VerifySecret(secrets)
}

// algsOf is the registered algorithm alone, or all of key pairs if none is registered.
func algsOf(registered jose.Alg) []jose.Alg {
	if registered == "" {
		return jose.PublicKeyAlgs()
	}
	return []jose.Alg{registered}
}
