// Package jose reads what others sign: assertions of clients, request objects, tokens of trusted issuers. It also reads the
// public keys that they register with us.
//
// What it guards:
//   - Nothing of a token is believed before its signature is checked: Parse answers an Unverified, whose claims come out
//     by Verify alone.
//   - The key decides how it is used, and the caller which algorithms there are (RFC 8725 section 3.1). The token's own
//     alg is only compared. There is no none; HS256 is checked against shared secrets and against nothing else, so that
//     no public key is ever taken for one.
//   - A key comes from the caller. A token that brings one along, or an address of one (jku, x5u, x5c, jwk), is refused;
//     kid only chooses among the caller's keys. Nothing here opens a file or a connection.
//   - One form is read, the compact one; one spelling of it; JSON in which each member stands once. What we do not
//     understand and should (crit, b64, zip, enc) is refused.
//   - Size, depth and number of all that a stranger sends are bounded.
//
// Our own access tokens are not read here: package oauth knows their one form, and reads it faster.
package jose

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/redact"
)

// Alg is a signature algorithm of RFC 7518 section 3.1 or RFC 8037.
type Alg string

// The algorithms that are read.
const (
	HS256 Alg = "HS256"
	RS256 Alg = "RS256"
	PS256 Alg = "PS256"
	ES256 Alg = "ES256"
	ES384 Alg = "ES384"
	EdDSA Alg = "EdDSA"
)

// oneName is the name by which we know an algorithm: RFC 9864 calls EdDSA with Ed25519, the only curve of it that is read
// here, Ed25519.
func oneName(alg Alg) Alg {
	if alg == "Ed25519" {
		return EdDSA
	}
	return alg
}

// PublicKeyAlgs are the algorithms with which somebody signs who has a key pair, for documents that tell.
func PublicKeyAlgs() []Alg { return []Alg{ES256, ES384, EdDSA, PS256, RS256} }

// The bounds of what is read.
const (
	MaxToken = 16 << 10 // of a compact token
	maxKid   = 256
	maxText  = 4 << 10 // of iss, sub, jti and one audience
)

// Errors of Parse and Verify. Each is in the chain of ErrToken. What is in an error is for the log and says nothing of a
// secret; the one who sent the token learns no more than that it is not good.
var (
	ErrToken     = errors.New("jose: the token is not good")
	errForm      = fmt.Errorf("%w: it is not a compact JWS that we read", ErrToken)
	errKeyInside = fmt.Errorf("%w: it brings its own key or an address of one", ErrToken)
	errAlg       = fmt.Errorf("%w: its algorithm is not allowed here", ErrToken)
	errNoKey     = fmt.Errorf("%w: no key that it may be signed with", ErrToken)
	errSignature = fmt.Errorf("%w: the signature does not match", ErrToken)
	errClaims    = fmt.Errorf("%w: a claim is missing or of the wrong type", ErrToken)
	errAudience  = fmt.Errorf("%w: it is not meant for us", ErrToken)
	errTime      = fmt.Errorf("%w: it has expired, is not valid yet, or is valid for too long", ErrToken)
)

// strict refuses padding and bits that decode to nothing, so that a token has one spelling.
var strict = base64.RawURLEncoding.Strict()

// Unverified is a token that was taken apart and that nobody has vouched for yet.
type Unverified struct {
	Alg Alg
	Kid string // "": none
	Typ string // "": none

	input     string // header and payload as they were signed
	signature []byte
	claims    Claims
}

// Parse takes a compact JWS with a JSON payload apart (RFC 7515 section 7.1, RFC 7519 section 7.2).
func Parse(token string) (*Unverified, error) {
	if len(token) > MaxToken || !Compact(token) {
		return nil, errForm
	}
	first, last := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	header, err1 := strict.DecodeString(token[:first])
	payload, err2 := strict.DecodeString(token[first+1 : last])
	signature, err3 := strict.DecodeString(token[last+1:])
	if err1 != nil || err2 != nil || err3 != nil || len(signature) == 0 {
		return nil, errForm
	}
	u := &Unverified{input: token[:last], signature: signature}
	if err := u.readHeader(header); err != nil {
		return nil, err
	}
	var err error
	if u.claims, err = readClaims(payload); err != nil {
		return nil, err
	}
	return u, nil
}

// Compact tells whether s is three parts of base64url text. The decoder alone would step over line breaks.
func Compact(s string) bool {
	dots := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			dots++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return dots == 2
}

func (u *Unverified) readHeader(header []byte) error {
	m, err := readObject(header)
	if err != nil {
		return errForm
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if m.has(name) {
			return errForm // changes what the rest means, in ways that we do not know
		}
	}
	for _, name := range []string{"jku", "x5u", "x5c", "jwk"} {
		if m.has(name) {
			return errKeyInside
		}
	}
	alg, err := m.text("alg")
	if err != nil || alg == "" {
		return errForm
	}
	u.Alg = oneName(Alg(alg))
	if u.Kid, err = m.text("kid"); err != nil || len(u.Kid) > maxKid {
		return errForm
	}
	if u.Typ, err = m.text("typ"); err != nil || len(u.Typ) > maxKid {
		return errForm
	}
	return nil
}

// Is tells whether typ is one of these media types, without application/ and without regard to case (RFC 7515 section
// 4.1.9). "" stands for a token that names none.
func (u *Unverified) Is(types ...string) bool {
	typ := u.Typ
	if len(typ) > len("application/") && strings.EqualFold(typ[:len("application/")], "application/") {
		typ = typ[len("application/"):]
	}
	return slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(t, typ) })
}

// Claimed is who the token says has issued it, to find the keys by which that is to be proven. It is not proven yet.
func (u *Unverified) Claimed() (issuer, subject string) { return u.claims.Issuer, u.claims.Subject }

// Verify answers the claims if one of the keys made the signature, by one of the algorithms. A kid that the token names
// must be that of the key; keys without a kid are tried besides.
func (u *Unverified) Verify(keys []Key, allowed []Alg) (Claims, error) {
	if u.Alg == HS256 || !slices.Contains(allowed, u.Alg) {
		return Claims{}, errAlg
	}
	found := false
	for _, k := range keys {
		if u.Kid != "" && k.ID != "" && k.ID != u.Kid || !k.Signs(u.Alg) {
			continue
		}
		found = true
		if k.verify(u.Alg, []byte(u.input), u.signature) {
			return u.claims, nil
		}
	}
	if !found {
		return Claims{}, errNoKey
	}
	return Claims{}, errSignature
}

// VerifySecret answers the claims if one of the shared secrets made the signature, by HS256. Secrets that are shorter
// than the hash sign nothing (RFC 7518 section 3.2). All are compared, whichever it is.
func (u *Unverified) VerifySecret(secrets []redact.Secret) (Claims, error) {
	if u.Alg != HS256 {
		return Claims{}, errAlg
	}
	matched := false
	for _, s := range secrets {
		if verifyHS256(s, []byte(u.input), u.signature) {
			matched = true
		}
	}
	if !matched {
		return Claims{}, errSignature
	}
	return u.claims, nil
}

// Claims are what a verified token says. Times that it does not name are zero.
type Claims struct {
	Issuer, Subject, ID          string
	Audience                     []string
	Expires, NotBefore, IssuedAt time.Time

	members object
}

func readClaims(payload []byte) (c Claims, err error) {
	if c.members, err = readObject(payload); err != nil {
		return Claims{}, errForm
	}
	for name, to := range map[string]*string{"iss": &c.Issuer, "sub": &c.Subject, "jti": &c.ID} {
		if *to, err = c.members.text(name); err != nil || !plain(*to) {
			return Claims{}, errClaims
		}
	}
	for name, to := range map[string]*time.Time{"exp": &c.Expires, "nbf": &c.NotBefore, "iat": &c.IssuedAt} {
		if *to, err = c.members.date(name); err != nil {
			return Claims{}, errClaims
		}
	}
	if c.Audience, err = c.members.list("aud"); err != nil || slices.ContainsFunc(c.Audience, func(s string) bool { return !plain(s) }) {
		return Claims{}, errClaims
	}
	return c, nil
}

// plain tells whether a name is short and free of control characters, so that it can be stored, compared and logged.
func plain(s string) bool {
	return len(s) <= maxText && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Text is a claim that is a text. It is false if there is none, or it is something else.
func (c Claims) Text(name string) (string, bool) {
	if !c.members.has(name) {
		return "", false
	}
	s, err := c.members.text(name)
	return s, err == nil
}

// Has tells whether there is such a claim, of whatever type.
func (c Claims) Has(name string) bool { return c.members.has(name) }

// JSON is a claim as it stands in the token, or nil.
func (c Claims) JSON(name string) []byte { return c.members[name] }

// Names are the claims that there are, sorted.
func (c Claims) Names() []string { return c.members.names() }

// MeantFor refuses a token that is not meant for exactly one of these: its aud must be one text, or a list of one. What is
// meant for others besides could be handed on by them.
func (c Claims) MeantFor(allowed ...string) error {
	if len(c.Audience) != 1 || !slices.Contains(allowed, c.Audience[0]) {
		return errAudience
	}
	return nil
}

// ahead is how far the clock of the one who signed may be ahead of ours.
const ahead = 60 * time.Second

// Current refuses a token without exp, one that has expired, one that expires later than longest from now, and one whose
// nbf or iat is more than a minute ahead.
func (c Claims) Current(now time.Time, longest time.Duration) error {
	if c.Expires.IsZero() || !c.Expires.After(now) || c.Expires.After(now.Add(longest)) {
		return errTime
	}
	if latest := now.Add(ahead); c.NotBefore.After(latest) || c.IssuedAt.After(latest) {
		return errTime
	}
	return nil
}
