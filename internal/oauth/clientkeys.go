package oauth

import (
	"context"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/jose"
)

// The public keys of clients: stored with them, or at an address of their own (RFC 7591 section 2). They verify what a
// client signs, and are encrypted for. None of this may run while a transaction is open.

// clientKeys are a client's keys, and when they were fetched; zero: they are stored here.
type clientKeys struct {
	list    []jose.Key
	fetched time.Time
}

// keysOf are the client's keys that count now. newer says that those known did not do, which matters only of keys that
// lie elsewhere.
func (s *Server) keysOf(ctx context.Context, client Client, newer bool) (clientKeys, error) {
	if client.Metadata.JWKSURI == "" || s.keySets == nil {
		return clientKeys{list: s.storedKeys(client)}, nil
	}
	set, err := s.keySets.Keys(ctx, client.ID, client.Untrusted, client.Metadata.JWKSURI, newer)
	return clientKeys{set.Keys, set.Fetched}, err
}

// storedKeys are the keys stored with the client that have not expired. They were checked when they were registered: one
// that is not a key any more, because we have become stricter since, is none.
func (s *Server) storedKeys(client Client) []jose.Key {
	now := s.clock.Now()
	keys := make([]jose.Key, 0, len(client.Keys))
	for _, k := range client.Keys {
		if !k.Expires.IsZero() && !now.Before(k.Expires) {
			continue
		}
		if key, err := jose.ParseKey([]byte(k.JWK)); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// verifyByKeys answers the claims if one of the client's keys made the signature. Where the keys lie elsewhere and none of
// those known did, the client may have made another one: they are looked at once more.
func (s *Server) verifyByKeys(ctx context.Context, client Client, u *jose.Unverified, registered string) (jose.Claims, error) {
	allowed := algsOf(jose.Alg(registered))
	keys, err := s.keysOf(ctx, client, false)
	if err != nil {
		return jose.Claims{}, err
	}
	claims, bad := u.Verify(keys.list, allowed)
	if bad == nil || keys.fetched.IsZero() || !slices.Contains(allowed, u.Alg) {
		return claims, bad
	}
	again, err := s.keysOf(ctx, client, true)
	if err != nil {
		return jose.Claims{}, err
	}
	if again.fetched.Equal(keys.fetched) {
		return jose.Claims{}, bad
	}
	return u.Verify(again.list, allowed)
}

// encryptionKey is the best of the client's keys to encrypt for by the algorithm.
func (s *Server) encryptionKey(ctx context.Context, client Client, alg string) (jose.Key, error) {
	keys, err := s.keysOf(ctx, client, false)
	if err != nil {
		return jose.Key{}, err
	}
	key, bad := jose.ChooseEncryptionKey(keys.list, alg)
	if bad == nil || keys.fetched.IsZero() {
		return key, bad
	}
	if keys, err = s.keysOf(ctx, client, true); err != nil {
		return jose.Key{}, err
	}
	return jose.ChooseEncryptionKey(keys.list, alg)
}

// canEncrypt fetches the key that the client's ID tokens are encrypted for, if it lies elsewhere: before a code is used,
// because a code whose tokens could not be made is used all the same.
func (s *Server) canEncrypt(ctx context.Context, client Client) error {
	m := client.Metadata
	if m.IDTokenKeyAlg == "" || m.JWKSURI == "" {
		return nil
	}
	_, err := s.encryptionKey(ctx, client, m.IDTokenKeyAlg)
	return noEncryptionKey(err, m.IDTokenKeyAlg)
}
