package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// Alg is a JWS algorithm (RFC 7518, RFC 8037). One key has one algorithm and one use.
type Alg string

// The algorithms that keys can be made for.
const (
	ES256 Alg = "ES256"
	EdDSA Alg = "EdDSA"
	RS256 Alg = "RS256" // which OpenID Connect Core section 15.1 asks of every provider
)

// Algs are all of them.
var Algs = []Alg{ES256, EdDSA, RS256}

// Known tells whether keys can be made for the algorithm.
func (a Alg) Known() bool { return slices.Contains(Algs, a) }

// slow tells whether a key takes so long to make that no transaction may wait for it.
func (a Alg) slow() bool { return a == RS256 }

// rsaBits is the size of new RSA keys: 128 bits of strength, which is what the other algorithms have (NIST SP 800-57).
// Keys of rsaLeast to rsaMost are read; 2048 is the least that RFC 7518 section 3.3 allows.
const (
	rsaBits  = 3072
	rsaLeast = 2048
	rsaMost  = 8192
)

var errAlg = errors.New("keys: unknown algorithm")

// generate makes a key pair.
func generate(alg Alg) (crypto.Signer, error) {
	switch alg {
	case ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case RS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, fmt.Errorf("%w: %q", errAlg, alg)
}

// Public is the half of a key that verifies.
type Public struct {
	Kid string
	Alg Alg
	Key crypto.PublicKey // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
}

// Verify tells whether sig is the key's signature of input, in the form of RFC 7518 sections 3.3
// and 3.4 or RFC 8037.
func (p Public) Verify(input, sig []byte) bool {
	switch key := p.Key.(type) {
	case *ecdsa.PublicKey:
		if p.Alg != ES256 || len(sig) != 64 {
			return false
		}
		digest := sha256.Sum256(input)
		var r, s big.Int
		return ecdsa.Verify(key, digest[:], r.SetBytes(sig[:32]), s.SetBytes(sig[32:]))
	case ed25519.PublicKey:
		return p.Alg == EdDSA && len(sig) == ed25519.SignatureSize && ed25519.Verify(key, input, sig)
	case *rsa.PublicKey:
		digest := sha256.Sum256(input)
		return p.Alg == RS256 && rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], sig) == nil
	}
	return false
}

// jwk is the public form of a key (RFC 7517). It has no field that could hold a private member.
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	Kid string `json:"kid"`
	Use string `json:"use"`
	Alg Alg    `json:"alg"`
}

// public puts a verifying key under its name: the RFC 7638 thumbprint, which is the hash of the key itself.
func public(alg Alg, key crypto.PublicKey) (Public, jwk, error) {
	j := jwk{Use: "sig", Alg: alg}
	var canonical any // the required members only, in lexical order
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // 4 || X || Y
		if err != nil || alg != ES256 || key.Curve != elliptic.P256() {
			return Public{}, jwk{}, fmt.Errorf("%w: %s does not fit the key", errAlg, alg)
		}
		j.Kty, j.Crv, j.X, j.Y = "EC", "P-256", encode(point[1:33]), encode(point[33:])
		canonical = struct {
			Crv string `json:"crv"`
			Kty string `json:"kty"`
			X   string `json:"x"`
			Y   string `json:"y"`
		}{j.Crv, j.Kty, j.X, j.Y}
	case ed25519.PublicKey:
		if alg != EdDSA {
			return Public{}, jwk{}, fmt.Errorf("%w: %s does not fit the key", errAlg, alg)
		}
		j.Kty, j.Crv, j.X = "OKP", "Ed25519", encode(key)
		canonical = struct {
			Crv string `json:"crv"`
			Kty string `json:"kty"`
			X   string `json:"x"`
		}{j.Crv, j.Kty, j.X}
	case *rsa.PublicKey:
		if size := key.N.BitLen(); alg != RS256 || size < rsaLeast || size > rsaMost {
			return Public{}, jwk{}, fmt.Errorf("%w: %s does not fit the key", errAlg, alg)
		}
		j.Kty, j.N, j.E = "RSA", encode(key.N.Bytes()), encode(big.NewInt(int64(key.E)).Bytes())
		canonical = struct {
			E   string `json:"e"`
			Kty string `json:"kty"`
			N   string `json:"n"`
		}{j.E, j.Kty, j.N}
	default:
		return Public{}, jwk{}, fmt.Errorf("%w: key of type %T", errAlg, key)
	}
	text, err := json.Marshal(canonical)
	if err != nil {
		return Public{}, jwk{}, err
	}
	sum := sha256.Sum256(text)
	j.Kid = encode(sum[:])
	return Public{Kid: j.Kid, Alg: alg, Key: key}, j, nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func marshalPublic(key crypto.PublicKey) ([]byte, error) { return x509.MarshalPKIXPublicKey(key) }

func parsePublic(alg Alg, der []byte) (Public, jwk, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Public{}, jwk{}, fmt.Errorf("parse public key: %w", err)
	}
	return public(alg, key)
}

func parsePrivate(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("parse private key: malformed") // the cause could quote key material
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errAlg
	}
	return signer, nil
}

// Signer signs with one key. It is a value that stays good when the ring moves on.
type Signer struct {
	Kid string
	Alg Alg
	key crypto.Signer
}

// Size is how many bytes a signature has.
func (s Signer) Size() int {
	if key, ok := s.key.(*rsa.PrivateKey); ok {
		return key.Size()
	}
	return 64
}

// Sign signs the input of a JWS and answers its signature: for ES256 64 bytes, r || s.
func (s Signer) Sign(input []byte) ([]byte, error) { return s.AppendSignature(nil, input) }

// AppendSignature is Sign for callers that own a buffer.
func (s Signer) AppendSignature(dst, input []byte) ([]byte, error) {
	switch key := s.key.(type) {
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(input)
		der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		return appendFixed(dst, der)
	case ed25519.PrivateKey:
		return append(dst, ed25519.Sign(key, input)...), nil
	case *rsa.PrivateKey:
		digest := sha256.Sum256(input)
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		return append(dst, signature...), nil
	}
	return nil, errAlg
}

var errSignature = errors.New("keys: malformed signature")

// appendFixed turns the DER of a P-256 signature (SEQUENCE of two INTEGERs, each at most 33 bytes, so that every length
// is one byte) into r || s of 32 bytes each, without the two big integers that crypto/ecdsa would make of it.
func appendFixed(dst, der []byte) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errSignature
	}
	rest := der[2:]
	var fixed [64]byte
	for half := range 2 {
		if len(rest) < 2 || rest[0] != 0x02 || int(rest[1]) > len(rest)-2 {
			return nil, errSignature
		}
		n := rest[2 : 2+rest[1]]
		rest = rest[2+rest[1]:]
		for len(n) > 0 && n[0] == 0 {
			n = n[1:]
		}
		if len(n) > 32 {
			return nil, errSignature
		}
		copy(fixed[32*(half+1)-len(n):], n)
	}
	if len(rest) != 0 {
		return nil, errSignature
	}
	return append(dst, fixed[:]...), nil
}
