package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/keys"
)

// What a client can have signed and encrypted for it besides access tokens: ID tokens, userinfo, introspection, answers of
// the authorization endpoint. None is taken for another: only ID tokens have typ JWT, and only they have sub and exp;
// introspection has the typ of RFC 9701, the others have none. All say for whom they are (aud).

// The media types of signed answers, which RFC 7515 section 4.1.9 shortens to their typ.
const (
	jwtType           = "application/jwt"
	introspectionType = "application/token-introspection+jwt" // RFC 9701
)

// signerFor is the key for what a client wants signed by alg; "": the one of whatever asks for none.
func (s *Server) signerFor(ctx context.Context, alg string) (signer keys.Signer, err error) {
	if alg == "" {
		signer, err = s.keys.Signer(ctx)
	} else {
		signer, err = s.keys.SignerFor(ctx, keys.Alg(alg))
	}
	if err != nil {
		return signer, fmt.Errorf("find the signing key: %w", err)
	}
	return signer, nil
}

// customary is the algorithm of those answers for which the standards name RS256 where the client names none (RFC 9701
// section 6, JARM section 3); "" where we have no such key.
func (s *Server) customary(alg string) string {
	if alg == "" && slices.Contains(s.keys.Algs(), keys.RS256) {
		return string(keys.RS256)
	}
	return alg
}

// signJWT makes a JWT of the claims. typ may be empty.
func signJWT(signer keys.Signer, typ string, claims []byte) ([]byte, error) {
	var room [256]byte
	header := appendText(append(room[:0], `{"alg":`...), string(signer.Alg))
	header = appendText(append(header, `,"kid":`...), signer.Kid)
	if typ != "" {
		header = appendText(append(header, `,"typ":`...), typ)
	}
	header = append(header, '}')
	encoding := base64.RawURLEncoding
	token := make([]byte, 0, encoding.EncodedLen(len(header))+encoding.EncodedLen(len(claims))+encoding.EncodedLen(signer.Size())+2)
	token = append(encoding.AppendEncode(token, header), '.')
	token = encoding.AppendEncode(token, claims)
	signature, err := signer.Sign(token)
	if err != nil {
		return nil, fmt.Errorf("sign a token: %w", err)
	}
	return encoding.AppendEncode(append(token, '.'), signature), nil
}

// encryptFor encrypts for the client, if it wants that: keyAlg is not empty. Of the client's keys it takes the best that
// fits and has not expired.
func (s *Server) encryptFor(ctx context.Context, client Client, keyAlg, enc string, plaintext []byte, nested bool) ([]byte, error) {
	if keyAlg == "" {
		return plaintext, nil
	}
	key, err := s.encryptionKey(ctx, client, keyAlg)
	if err != nil {
		return nil, noEncryptionKey(err, keyAlg)
	}
	text, err := jose.Encrypt(key, keyAlg, enc, plaintext, nested)
	if err != nil {
		return nil, fmt.Errorf("encrypt for a client: %w", err)
	}
	return []byte(text), nil
}

// noEncryptionKey is what a client is told that has no key to encrypt for.
func noEncryptionKey(err error, keyAlg string) error {
	if errors.Is(err, jose.ErrNoEncryptionKey) {
		return &refusal{status: http.StatusBadRequest, code: invalidRequest, cause: err,
			description: "This client wants its answer encrypted by " + keyAlg + " and has no key registered for that, or none that has not expired."}
	}
	return err
}

// answerPerson answers with what build appends, which is a JSON object, in the form that the client of the token wants:
// as it is, or signed, or encrypted, or signed and then encrypted (OpenID Connect Core section 5.3.2).
func (p *people) answerPerson(w http.ResponseWriter, r *http.Request, c *Claims, build func(b []byte) []byte) {
	client, err := p.s.clients.Client(r.Context(), c.ClientID)
	if err != nil {
		p.s.refused(w, r, err)
		return
	}
	m := client.Metadata
	if m.UserinfoAlg == "" && m.UserinfoKeyAlg == "" {
		answerWith(w, build)
		return
	}
	b := build(make([]byte, 0, 512))
	if m.UserinfoAlg != "" {
		if b, err = p.signPerson(r.Context(), client, b); err != nil {
			p.s.refused(w, r, err)
			return
		}
	}
	if b, err = p.s.encryptFor(r.Context(), client, m.UserinfoKeyAlg, m.UserinfoEnc, b, m.UserinfoAlg != ""); err != nil {
		p.s.refused(w, r, err)
		return
	}
	answerAs(w, jwtType, b)
}

// signPerson signs a JSON object of claims, with the issuer and the client for whom they are.
func (p *people) signPerson(ctx context.Context, client Client, object []byte) ([]byte, error) {
	signer, err := p.s.signerFor(ctx, client.Metadata.UserinfoAlg)
	if err != nil {
		return nil, err
	}
	b := appendText(append(object[:len(object)-1], `,"iss":`...), p.s.issuer)
	b = append(appendText(append(b, `,"aud":`...), client.ID), '}')
	return signJWT(signer, "", b)
}

// answerIntrospection answers with a document of RFC 7662, as JSON or, if the client asks for that or has said so when it
// was registered, signed (RFC 9701). What is not active is signed as well: else whoever sits in between could make of any
// token one that is not.
func (s *Server) answerIntrospection(w http.ResponseWriter, r *http.Request, client Client, build func(b []byte) []byte) {
	if client.Metadata.IntrospectionAlg == "" && !accepts(r.Header.Values("Accept"), introspectionType) {
		answerWith(w, build)
		return
	}
	signer, err := s.signerFor(r.Context(), s.customary(client.Metadata.IntrospectionAlg))
	if err != nil {
		s.refused(w, r, err)
		return
	}
	b := appendText(append(make([]byte, 0, 1024), `{"iss":`...), s.issuer)
	b = appendText(append(b, `,"aud":`...), client.ID)
	b = strconv.AppendInt(append(b, `,"iat":`...), s.clock.Now().Unix(), 10)
	b = append(build(append(b, `,"token_introspection":`...)), '}')
	if b, err = signJWT(signer, "token-introspection+jwt", b); err != nil {
		s.refused(w, r, err)
		return
	}
	answerAs(w, introspectionType, b)
}
