package oauth

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/id"
)

// Claims is what a valid access token says. It is shared between requests: nobody changes what its slices hold.
type Claims struct {
	ID       string // jti
	KeyID    string // of the key that signed it
	Issuer   string
	Audience []string

	// Subject is the user name of the service user, and for a client that acts on its own account the client's id
	// (RFC 9068 section 2.2). It is a name and not a user's id because the services that read these tokens compare uid
	// with the name that they know; it is as stable as an id, since applications are never deleted and so the name of
	// a service user never comes to mean another. People change their names, so for them it is the user's id.
	Subject  string
	ClientID string
	Realm    string   // canonical
	Scopes   []string // in the order asked for
	Grant    string   // how it was obtained
	GrantID  string   // of a person's token: the grant that it belongs to, and ends with

	// AuthorizedParty is the client's id again (azp), only if scope azp was asked for.
	AuthorizedParty string

	IssuedAt time.Time
	Expires  time.Time
}

// NameParty sets azp if the scope of that name was granted.
func (c *Claims) NameParty() {
	if slices.Contains(c.Scopes, scopeAZP) {
		c.AuthorizedParty = c.ClientID
	}
}

// encodedHeader is the first part of each token that one key signs.
type encodedHeader struct{ kid, text string }

func encodeHeader(kid, alg string) *encodedHeader {
	b := appendText([]byte(`{"alg":`), alg)
	b = appendText(append(b, `,"kid":`...), kid)
	b = append(b, `,"typ":"at+jwt"}`...)
	return &encodedHeader{kid: kid, text: base64.RawURLEncoding.EncodeToString(b) + "."}
}

// mint makes the token that c describes, apart from ID and KeyID, which it sets. It reads no database and writes none:
// what was issued is counted, and what must be undone is revoked by jti.
func (s *Server) mint(ctx context.Context, c *Claims) ([]byte, error) {
	signer, err := s.keys.Signer(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the signing key: %w", err)
	}
	s.dateAfterRevocations(c)
	c.ID, c.KeyID = id.New(id.Token, c.IssuedAt), signer.Kid
	header := s.header.Load()
	if header == nil || header.kid != c.KeyID {
		header = encodeHeader(c.KeyID, string(signer.Alg))
		s.header.Store(header)
	}
	var room [1024]byte
	payload := s.appendClaims(room[:0], c)
	size := len(header.text) + base64.RawURLEncoding.EncodedLen(len(payload))
	token := make([]byte, 0, size+1+86) // 86: a signature of 64 bytes
	token = append(token, header.text...)
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	var sig [64]byte
	signature, err := signer.AppendSignature(sig[:0], token)
	if err != nil {
		return nil, fmt.Errorf("sign a token: %w", err)
	}
	token = append(token, '.')
	return base64.RawURLEncoding.AppendEncode(token, signature), nil
}

// appendClaims appends the claims of RFC 9068 and those that services of this family read: realm, and scope as an array.
// gty is ours: it lets tokeninfo tell how the token was obtained, which older validators always called password.
func (s *Server) appendClaims(b []byte, c *Claims) []byte {
	b = append(b, s.issuerClaim...) // {"iss":"…"
	b = appendText(append(b, `,"sub":`...), c.Subject)
	b = append(b, `,"aud":`...)
	if len(c.Audience) == 1 {
		b = appendText(b, c.Audience[0])
	} else {
		b = appendTexts(b, c.Audience)
	}
	b = appendText(append(b, `,"client_id":`...), c.ClientID)
	if c.AuthorizedParty != "" {
		b = appendText(append(b, `,"azp":`...), c.AuthorizedParty)
	}
	b = strconv.AppendInt(append(b, `,"iat":`...), c.IssuedAt.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), c.Expires.Unix(), 10)
	b = appendText(append(b, `,"jti":`...), c.ID)
	b = appendText(append(b, `,"realm":`...), s.outward(c.Realm))
	b = appendTexts(append(b, `,"scope":`...), c.Scopes)
	if c.Grant != grantPassword {
		b = appendText(append(b, `,"gty":`...), c.Grant)
	}
	if c.GrantID != "" {
		b = appendText(append(b, `,"grant_id":`...), c.GrantID)
	}
	return append(b, '}')
}

// parseClaims reads the payload of a token whose signature was checked. All that our tokens always have must be there
// and of its type: a token that lacks exp would live for ever, one that lacks iat could not be told from one made before
// a deactivation.
func parseClaims(payload []byte) (c Claims, notBefore time.Time, err error) {
	var iat, exp, nbf int64
	haveScope := false
	r := &jsonReader{b: payload}
	err = r.object(maxParameters, func(name string) (err error) {
		switch name {
		case "iss":
			c.Issuer, err = r.text()
		case "sub":
			c.Subject, err = r.text()
		case "aud":
			if r.peek() == '"' {
				c.Audience = make([]string, 1)
				c.Audience[0], err = r.text()
			} else {
				c.Audience, err = r.texts(maxScopes)
			}
		case "client_id":
			c.ClientID, err = r.text()
		case "azp":
			c.AuthorizedParty, err = r.text()
		case "iat":
			iat, err = r.integer()
		case "exp":
			exp, err = r.integer()
		case "nbf":
			nbf, err = r.integer()
		case "jti":
			c.ID, err = r.text()
		case "realm":
			c.Realm, err = r.text()
		case "scope":
			haveScope = true
			c.Scopes, err = r.texts(maxScopes)
		case "gty":
			c.Grant, err = r.text()
		case "grant_id":
			c.GrantID, err = r.text()
		default:
			err = r.skip(0)
		}
		return err
	})
	if err != nil || r.end() != nil {
		return c, notBefore, errClaims
	}
	if iat <= 0 || exp <= iat || !haveScope || c.Subject == "" || c.Realm == "" || c.Issuer == "" || c.ClientID == "" || c.ID == "" || len(c.Audience) == 0 {
		return c, notBefore, errClaims
	}
	if c.Grant == "" {
		c.Grant = grantPassword
	}
	c.IssuedAt, c.Expires = time.Unix(iat, 0).UTC(), time.Unix(exp, 0).UTC()
	if nbf > 0 {
		notBefore = time.Unix(nbf, 0).UTC()
	}
	return c, notBefore, nil
}

// HasScope tells whether the token carries the scope.
func (c *Claims) HasScope(scope string) bool { return slices.Contains(c.Scopes, scope) }
