package oauth

import (
	"crypto/sha256"
	"sync"
)

// tokenCache remembers which tokens were verified, so that a token that is shown again costs one SHA-256 instead of one
// check of a signature. It holds claims under the hash of the token, never a token; only what was valid gets in, so that
// forgeries cannot push anything out. Whether the claims still count (time, revocation, key, client) is asked on every
// hit, by the verifier.
//
// Each shard has two generations: when the young one is full, it becomes the old one and the old one goes. A hit in the
// old one moves up. So memory is bounded, what is in use stays, and nothing needs sweeping.
type tokenCache struct {
	shards [16]tokenShard
	limit  int // of one generation of one shard
}

type tokenShard struct {
	mu         sync.Mutex
	young, old map[tokenHash]*Claims // owned by mu
}

type tokenHash = [sha256.Size]byte

// newTokenCache makes a cache of at most capacity tokens.
func newTokenCache(capacity int) *tokenCache {
	c := &tokenCache{}
	c.limit = max(capacity/len(c.shards)/2, 1)
	for i := range c.shards {
		c.shards[i].young = map[tokenHash]*Claims{}
	}
	return c
}

func (c *tokenCache) get(h tokenHash) *Claims {
	s := &c.shards[h[0]%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	if claims := s.young[h]; claims != nil {
		return claims
	}
	claims := s.old[h]
	if claims != nil {
		s.insert(h, claims, c.limit)
	}
	return claims
}

func (c *tokenCache) put(h tokenHash, claims *Claims) {
	s := &c.shards[h[0]%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(h, claims, c.limit)
}

func (s *tokenShard) insert(h tokenHash, claims *Claims, limit int) {
	if len(s.young) >= limit {
		s.old, s.young = s.young, make(map[tokenHash]*Claims, limit)
	}
	s.young[h] = claims
}

// drop forgets a token that can never be valid again.
func (c *tokenCache) drop(h tokenHash) {
	s := &c.shards[h[0]%16]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, h)
	delete(s.old, h)
}

// size is how many tokens are held, for the metrics; a token in both generations counts twice.
func (c *tokenCache) size() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return n
}
