package oauth

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark/internal/jose"
)

// maxToken is the longest token that is looked at: several times the longest one we make.
const maxToken = 16 << 10

// errToken is the one error of everything that is wrong with a token. Callers learn no more, so that no one can use the
// answers to shape a forgery; the reason for the log is in the chain.
var errToken = errors.New("oauth: the token is not valid")

var (
	errForm      = fmt.Errorf("%w: not a compact JWS of ours", errToken)
	errSignature = fmt.Errorf("%w: the signature does not match", errToken)
	errKey       = fmt.Errorf("%w: no such signing key", errToken)
	errClaims    = fmt.Errorf("%w: a claim is missing or of the wrong type", errToken)
	errIssuer    = fmt.Errorf("%w: another issuer", errToken)
	errAudience  = fmt.Errorf("%w: another audience", errToken)
	errExpired   = fmt.Errorf("%w: expired", errToken)
	errEarly     = fmt.Errorf("%w: not valid yet", errToken)
	errRevoked   = fmt.Errorf("%w: revoked", errToken)
)

// jws is a token taken apart. Nothing in it is believed before its signature is checked with the key that kid names.
type jws struct {
	alg, kid, typ string
	input         []byte // header and payload as they were signed
	payload       []byte
	signature     []byte
}

// strict refuses padding and bits that decode to nothing: one token has one spelling, or it could be revoked under one
// and used under another.
var strict = base64.RawURLEncoding.Strict()

// parseJWS takes a compact JWS apart (RFC 7515 section 7.1). It refuses every header with crit or b64: those change what
// a signature means, and we understand none. Members that point at keys (jku, x5u, x5c, jwk) are stepped over: a key
// comes from our own ring or not at all.
func parseJWS(token string) (t jws, err error) {
	if len(token) > maxToken || !jose.Compact(token) {
		return t, errForm
	}
	dot := strings.IndexByte(token, '.')
	last := strings.LastIndexByte(token, '.')
	header, err := strict.DecodeString(token[:dot])
	if err != nil {
		return t, errForm
	}
	if t.payload, err = strict.DecodeString(token[dot+1 : last]); err != nil {
		return t, errForm
	}
	if t.signature, err = strict.DecodeString(token[last+1:]); err != nil {
		return t, errForm
	}
	t.input = []byte(token[:last])
	r := &jsonReader{b: header}
	err = r.object(16, func(name string) (err error) {
		switch name {
		case "alg":
			t.alg, err = r.text()
		case "kid":
			t.kid, err = r.text()
		case "typ":
			t.typ, err = r.text()
		case "crit", "b64":
			return errForm
		default:
			return r.skip(0)
		}
		return err
	})
	if err != nil || r.end() != nil || t.alg == "" || t.kid == "" {
		return t, errForm
	}
	return t, nil
}

// accessTokenType tells whether typ names an access token of RFC 9068. Without this check an ID token or a logout token
// signed by the same key would do as an access token.
func accessTokenType(typ string) bool {
	return strings.EqualFold(typ, "at+jwt") || strings.EqualFold(typ, "application/at+jwt")
}
