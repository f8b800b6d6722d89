package oauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
)

// ErrToken is in the chain of every error of Verify that says the token is not valid, and in no other.
var ErrToken = errToken

// aheadLeeway is how far another node's clock may be ahead of ours when it issues a token. There is none behind exp: a
// token is over when it says so, whichever of our nodes is asked.
const aheadLeeway = 60 * time.Second

// VerifyOptions say what is asked of a token besides that it is valid.
type VerifyOptions struct {
	// Audience must be in the token's aud. Empty: any of this installation's tokens will do.
	Audience string
}

// Verifier tells whether an access token of this installation is valid, from memory.
//
// It accepts what RFC 9068 calls an access token, signed by a key of our own ring with that key's own algorithm, and
// nothing else. The token names the key, and the key fixes the algorithm: what the header says is only compared (RFC 8725).
type Verifier struct {
	keys    Keys
	clients Clients
	clock   clock.Clock
	issuer  string
	realms  *realm.Set
	revoked *revocations
	cache   *tokenCache
}

// Verify answers the claims of a valid token. An error is ErrToken if the token is not valid, or of kind Unavailable if
// this node does not know yet which tokens are revoked.
func (v *Verifier) Verify(ctx context.Context, token string, o VerifyOptions) (*Claims, error) {
	if !v.revoked.loaded.Load() {
		return nil, fault.New(fault.Unavailable, "starting", "The list of revoked tokens is not loaded yet.").Retry(time.Second)
	}
	if len(token) > maxToken {
		return nil, errForm
	}
	hash := hashToken(token)
	c := v.cache.get(hash)
	if c == nil {
		var err error
		if c, err = v.check(token); err != nil {
			return nil, err
		}
		v.cache.put(hash, c)
	} else if _, known := v.keys.Key(c.KeyID); !known {
		v.cache.drop(hash)
		return nil, errKey
	}
	if err := v.current(ctx, c); err != nil {
		if errors.Is(err, errExpired) || errors.Is(err, errRevoked) {
			v.cache.drop(hash)
		}
		return nil, err
	}
	if o.Audience != "" && !slices.Contains(c.Audience, o.Audience) {
		return nil, errAudience
	}
	return c, nil
}

// hashToken hashes without a copy on the heap: this is most of what a token costs that was seen before.
func hashToken(token string) tokenHash {
	var room [2048]byte
	return sha256.Sum256(append(room[:0], token...))
}

// check does what needs to be done once for each token: its form, its signature, and the claims that do not change.
func (v *Verifier) check(token string) (*Claims, error) {
	t, err := parseJWS(token)
	if err != nil {
		return nil, err
	}
	if !accessTokenType(t.typ) {
		return nil, errForm
	}
	key, known := v.keys.Key(t.kid)
	if !known || string(key.Alg) != t.alg {
		return nil, errKey
	}
	if !key.Verify(t.input, t.signature) {
		return nil, errSignature
	}
	c, notBefore, err := parseClaims(t.payload)
	if err != nil {
		return nil, err
	}
	if c.Issuer != v.issuer {
		return nil, errIssuer
	}
	r, err := v.realms.Lookup(c.Realm)
	if err != nil {
		return nil, errClaims
	}
	c.Realm, c.KeyID = r.Name, t.kid
	if latest := v.clock.Now().Add(aheadLeeway); c.IssuedAt.After(latest) || notBefore.After(latest) {
		return nil, errEarly
	}
	if !c.Expires.After(v.clock.Now()) {
		return nil, errExpired // before it takes a place in memory
	}
	return &c, nil
}

// current does what may change while the token lives: its time, its revocation, its client.
func (v *Verifier) current(ctx context.Context, c *Claims) error {
	if !c.Expires.After(v.clock.Now()) {
		return errExpired
	}
	if v.revoked.revoked(c) {
		return errRevoked
	}
	client, err := v.clients.Client(ctx, c.ClientID)
	if fault.Is(err, fault.NotFound) {
		return errRevoked
	}
	if err != nil {
		// The client could not be looked up. That is no answer, and a token that every service which checks it by
		// itself accepts is not refused for it: the revocations that we know still count.
		return nil
	}
	if !client.Enabled || c.IssuedAt.Before(wholeSecond(client.EnabledSince)) {
		return errRevoked
	}
	return nil
}

// wholeSecond is the first full second that is not before t, since tokens are dated by full seconds. What was issued in
// the second of a deactivation, before it, so stays dead after a reactivation.
func wholeSecond(t time.Time) time.Time {
	if full := t.Truncate(time.Second); full.Before(t) {
		return full.Add(time.Second)
	}
	return t
}
