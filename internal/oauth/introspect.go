package oauth

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

func isTokenError(err error) bool { return errors.Is(err, ErrToken) }

// inactive is the whole answer about a token that is not valid, or not for the one who asks (RFC 7662 section 2.2).
var inactive = []byte(`{"active":false}`)

// introspect tells a client what a token says (RFC 7662). The client must prove itself: this is not tokeninfo, it answers
// only those whom the token concerns.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) {
	client, token, err := s.aboutToken(r)
	if err == nil && !client.Confidential {
		err = refuse(invalidClient, "A public client may not ask.")
	}
	if err != nil {
		s.refused(w, r, err)
		return
	}
	c, err := s.verifier.Verify(r.Context(), token, VerifyOptions{})
	s.counted("introspect", c, err)
	switch {
	case err != nil && !isTokenError(err):
		s.refused(w, r, err)
	case err != nil || !s.concerns(c, client):
		s.answerIntrospection(w, r, client, func(b []byte) []byte { return append(b, inactive...) })
	default:
		s.answerIntrospection(w, r, client, func(b []byte) []byte { return s.appendIntrospection(b, c) })
	}
}

// concerns tells whether the client may know what the token says: the token was made for it, it is meant for it, or it is
// meant for every service of this installation.
func (s *Server) concerns(c *Claims, client Client) bool {
	return c.ClientID == client.ID || slices.Contains(c.Audience, client.ID) || slices.Contains(c.Audience, s.audience[0])
}

func (s *Server) appendIntrospection(b []byte, c *Claims) []byte {
	b = append(b, `{"active":true,"aud":`...)
	if len(c.Audience) == 1 {
		b = appendText(b, c.Audience[0])
	} else {
		b = appendTexts(b, c.Audience)
	}
	b = appendText(append(b, `,"client_id":`...), c.ClientID)
	b = strconv.AppendInt(append(b, `,"exp":`...), c.Expires.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"iat":`...), c.IssuedAt.Unix(), 10)
	b = appendText(append(b, `,"iss":`...), c.Issuer)
	b = appendText(append(b, `,"jti":`...), c.ID)
	b = appendText(append(b, `,"realm":`...), s.outward(c.Realm))
	b = appendText(append(b, `,"scope":`...), strings.Join(c.Scopes, " "))
	b = appendText(append(b, `,"sub":`...), c.Subject)
	b = append(b, `,"token_type":"Bearer"`...)
	if c.Grant == grantPassword {
		b = appendText(append(b, `,"username":`...), c.Subject)
	}
	return append(b, '}')
}

// aboutToken reads the requests of introspection and revocation, which are alike: a client that authenticates, and a
// token. The hint is ignored, as both RFCs allow: a token tells what it is.
func (s *Server) aboutToken(r *http.Request) (Client, string, error) {
	p, err := readForm(r)
	if err != nil {
		return Client{}, "", err
	}
	client, err := s.authenticate(r, p, strictly)
	if err != nil {
		return Client{}, "", err
	}
	token := p.get("token")
	if token == "" {
		return Client{}, "", refuse(invalidRequest, "token is missing.")
	}
	return client, token, nil
}

func (s *Server) refused(w http.ResponseWriter, r *http.Request, err error) {
	no := refusalOf(err)
	route.NoteError(r.Context(), no.code, no.cause)
	no.write(w)
}

// revoke takes a token back (RFC 7009). Only the client that it was made for may; what is no valid token needs no
// revocation, and the answer is the same as after one.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	client, token, err := s.aboutToken(r)
	if err != nil {
		s.refused(w, r, err)
		return
	}
	ctx := r.Context()
	if s.people != nil && strings.HasPrefix(token, tokenPrefix) {
		s.revokeGrant(w, r, client, token)
		return
	}
	c, err := s.verifier.Verify(ctx, token, VerifyOptions{})
	switch {
	case isTokenError(err):
		answer(w, http.StatusOK, nil)
		return
	case err != nil:
		s.refused(w, r, err)
		return
	case c.ClientID != client.ID:
		s.refused(w, r, refuse(unauthorizedClient, "The token was made for another client."))
		return
	}
	caller := clientCaller(r, client)
	err = s.db.Write(ctx, func(tx db.WriteTx) error {
		first, err := s.revokeToken(ctx, tx, c, token, client.ID)
		if err != nil || !first {
			return err
		}
		return audit.Record(ctx, tx, audit.Event{
			Action: "token.revoke", Outcome: audit.Success, Caller: caller, TargetType: "token", TargetID: c.ID,
			Details: map[string]any{"realm": c.Realm, "subject": c.Subject},
		})
	})
	s.answerRevoked(w, r, err)
}

// revokeGrant takes a refresh token back, and with it the whole grant.
func (s *Server) revokeGrant(w http.ResponseWriter, r *http.Request, client Client, token string) {
	ok, err := s.people.endByToken(r.Context(), client, redact.New(token), clientCaller(r, client))
	if err == nil && !ok {
		s.refused(w, r, refuse(unauthorizedClient, "The token was made for another client."))
		return
	}
	s.answerRevoked(w, r, err)
}

// answerRevoked answers that the token is not valid any more, or that this could not be stored. Then it is never 200: the
// client must know that the token is still good, whatever kind of failure it was.
func (s *Server) answerRevoked(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.refused(w, r, &refusal{status: http.StatusServiceUnavailable, code: temporarily, retry: 1e9, cause: err,
			description: "The revocation could not be stored. Try again."})
		return
	}
	answer(w, http.StatusOK, nil)
}
