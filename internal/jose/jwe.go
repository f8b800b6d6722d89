package jose

import (
	"errors"
	"fmt"
	"slices"

	library "github.com/go-jose/go-jose/v4"
)

// What we encrypt for others is encrypted here. We decrypt nothing, so there is no oracle to ask (RFC 8725 section 3.2):
// RSA1_5 is not offered to whoever would decrypt either.

// KeyAlgs are the key management algorithms of RFC 7518 section 4.1 with which we encrypt, for documents that tell.
func KeyAlgs() []string {
	return []string{"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}
}

// ContentAlgs are the content encryption algorithms of RFC 7518 section 5.1 with which we encrypt. The first is what a
// client gets that names none (OpenID Connect Dynamic Client Registration section 2).
func ContentAlgs() []string {
	return []string{"A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"}
}

// ErrNoEncryptionKey is in the chain when none of the receiver's keys can be encrypted for.
var ErrNoEncryptionKey = errors.New("jose: no key to encrypt for")

// ChooseEncryptionKey finds the key to encrypt for by a key management algorithm: one that is said to be for encryption
// before one of which nothing is said, one that names the algorithm before one that names none, and else the first.
func ChooseEncryptionKey(keys []Key, alg string) (Key, error) {
	best, rank := Key{}, -1
	for _, k := range keys {
		if !k.Encrypts(alg) {
			continue
		}
		r := 0
		if k.Use == UseEncryption {
			r += 2
		}
		if k.Alg == alg {
			r++
		}
		if r > rank {
			best, rank = k, r
		}
	}
	if rank < 0 {
		return Key{}, fmt.Errorf("%w by %s", ErrNoEncryptionKey, alg)
	}
	return best, nil
}

// Encrypt makes a compact JWE (RFC 7516 section 7.1) for the key. nested says that the plaintext is a JWT, which is so
// marked by cty (RFC 7519 section 5.2).
func Encrypt(k Key, alg, enc string, plaintext []byte, nested bool) (string, error) {
	if enc == "" {
		enc = ContentAlgs()[0]
	}
	if !k.Encrypts(alg) || !slices.Contains(KeyAlgs(), alg) || !slices.Contains(ContentAlgs(), enc) {
		return "", fmt.Errorf("%w by %s with %s", ErrNoEncryptionKey, alg, enc)
	}
	o := (&library.EncrypterOptions{}).WithType("JWT")
	if nested {
		o = o.WithContentType("JWT")
	}
	e, err := library.NewEncrypter(library.ContentEncryption(enc), library.Recipient{Algorithm: library.KeyAlgorithm(alg), Key: k.Public, KeyID: k.ID}, o)
	if err != nil {
		return "", fmt.Errorf("prepare encryption: %w", err)
	}
	box, err := e.Encrypt(plaintext)
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	text, err := box.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("encode what was encrypted: %w", err)
	}
	return text, nil
}
