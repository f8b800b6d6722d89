package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/mintmark/mintmark/internal/redact"
)

// The bounds of keys that are taken from others.
const (
	MaxKey    = 8 << 10 // of one JWK, which may carry certificates
	MaxKeySet = 128 << 10
	maxKeys   = 64 // of one set

	minRSA, maxRSA = 2048, 4096
)

// ErrKey is in the chain of every error about a key. Its text is for whoever sent the key: it says what is wrong and holds
// nothing of the key.
var ErrKey = errors.New("no public key that can be used here")

func keyError(why string) error { return fmt.Errorf("%w: %s", ErrKey, why) }

// What a key is for (RFC 7517 section 4.2).
const (
	UseSignature  = "sig"
	UseEncryption = "enc"
)

// Key is somebody else's public key: RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519.
type Key struct {
	ID     string // kid; "": none
	Use    string // UseSignature, UseEncryption, or "": both
	Alg    string // the one algorithm that it is for, a signature's or a key management's; "": any that fits
	Public crypto.PublicKey

	kty, curve string
}

// ParseKey reads a public JWK (RFC 7517). A private or a shared key is refused: who sends one has told it to us and to
// every log on the way, and must make another.
func ParseKey(jwk []byte) (Key, error) {
	if len(jwk) > MaxKey {
		return Key{}, keyError("it is too long")
	}
	m, err := readObject(jwk)
	if err != nil {
		return Key{}, keyError("it is not one JSON object, each member once")
	}
	return m.key()
}

// ParseKeySet reads a JWK set (RFC 7517 section 5). Keys of types that we do not know are left out, as that section asks;
// a key that is wrong makes the whole set wrong, so that nobody believes to have published what we do not see.
func ParseKeySet(jwks []byte) ([]Key, error) {
	if len(jwks) > MaxKeySet {
		return nil, keyError("the set is too long")
	}
	var listed []json.RawMessage
	if set, err := readObject(jwks); err != nil || json.Unmarshal(set["keys"], &listed) != nil || listed == nil {
		return nil, keyError("it is not a JWK set: an object with a list called keys")
	}
	if len(listed) > maxKeys {
		return nil, keyError("the set holds too many keys")
	}
	keys := make([]Key, 0, len(listed))
	for _, raw := range listed {
		m, err := readObject(raw)
		if err != nil || len(raw) > MaxKey {
			return nil, keyError("one of the set is not one JSON object, each member once")
		}
		if err := m.noSecrets(); err != nil {
			return nil, err
		}
		if !m.known() {
			continue
		}
		k, err := m.key()
		if err != nil {
			return nil, err
		}
		if k.ID != "" && slices.ContainsFunc(keys, func(o Key) bool { return o.ID == k.ID }) {
			return nil, keyError("two keys of the set have one kid")
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, keyError("the set holds no key of a type that is read here: RSA, P-256, P-384 or Ed25519")
	}
	return keys, nil
}

func (o object) noSecrets() error {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if o.has(name) {
			return keyError("it holds private members; it is known to others now, so make a new key and send its public half")
		}
	}
	return nil
}

// known tells whether the key is of a type that is read here.
func (o object) known() bool {
	kty, _ := o.text("kty")
	crv, _ := o.text("crv")
	switch kty {
	case "RSA":
		return true
	case "EC":
		return crv == "P-256" || crv == "P-384"
	case "OKP":
		return crv == "Ed25519"
	}
	return false
}

func (o object) key() (k Key, err error) {
	if err := o.noSecrets(); err != nil {
		return Key{}, err
	}
	for name, to := range map[string]*string{"kid": &k.ID, "use": &k.Use, "alg": &k.Alg, "kty": &k.kty, "crv": &k.curve} {
		if *to, err = o.text(name); err != nil || len(*to) > maxKid || !plain(*to) {
			return Key{}, keyError(name + " is not a short text")
		}
	}
	k.Alg = string(oneName(Alg(k.Alg)))
	if o.has("kid") && k.ID == "" {
		return Key{}, keyError("kid is empty")
	}
	if k.Use != "" && k.Use != UseSignature && k.Use != UseEncryption {
		return Key{}, keyError("use is sig or enc")
	}
	switch {
	case !o.known():
		return Key{}, keyError("the types are RSA, EC with P-256 or P-384, and OKP with Ed25519")
	case k.kty == "RSA":
		k.Public, err = o.rsa()
	case k.kty == "EC":
		k.Public, err = o.ecdsa(k.curve)
	default:
		k.Public, err = o.ed25519()
	}
	if err != nil {
		return Key{}, err
	}
	return k, k.consistent(o)
}

// consistent refuses an alg that the key cannot be used with, and one that contradicts use or key_ops.
func (k Key) consistent(o object) error {
	signing := slices.Contains(k.algs(), Alg(k.Alg))
	encrypting := slices.Contains(k.encryptionAlgs(), k.Alg)
	if k.Alg != "" && !signing && !encrypting {
		return keyError("alg is none that this key can be used with")
	}
	if k.Use == UseSignature && encrypting || k.Use == UseEncryption && signing {
		return keyError("alg and use contradict each other")
	}
	if k.Use == UseEncryption && len(k.encryptionAlgs()) == 0 {
		return keyError("nothing can be encrypted for a key of this type")
	}
	if !o.has("key_ops") {
		return nil
	}
	ops, err := o.list("key_ops")
	if err != nil || o["key_ops"][0] != '[' {
		return keyError("key_ops is not a list of texts")
	}
	if slices.Contains(ops, "sign") || slices.Contains(ops, "decrypt") || slices.Contains(ops, "unwrapKey") {
		return keyError("key_ops names what only a private key can do")
	}
	if k.Use == UseSignature && !slices.Contains(ops, "verify") || k.Use == UseEncryption && slices.Contains(ops, "verify") {
		return keyError("key_ops and use contradict each other")
	}
	return nil
}

// algs are the signature algorithms that the key can be used with.
func (k Key) algs() []Alg {
	switch {
	case k.kty == "RSA":
		return []Alg{RS256, PS256}
	case k.curve == "P-256":
		return []Alg{ES256}
	case k.curve == "P-384":
		return []Alg{ES384}
	case k.curve == "Ed25519":
		return []Alg{EdDSA}
	}
	return nil
}

// encryptionAlgs are the key management algorithms of RFC 7518 section 4.1 that the key can be used with. RSA1_5 is not
// among them (RFC 8725 section 3.2).
func (k Key) encryptionAlgs() []string {
	switch k.kty {
	case "RSA":
		return []string{"RSA-OAEP", "RSA-OAEP-256"}
	case "EC":
		return []string{"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}
	}
	return nil
}

// Signs tells whether a signature by this algorithm may be checked with the key.
func (k Key) Signs(alg Alg) bool {
	return k.Use != UseEncryption && slices.Contains(k.algs(), alg) && (k.Alg == "" || k.Alg == string(alg))
}

// Encrypts tells whether something may be encrypted for the key by this key management algorithm.
func (k Key) Encrypts(alg string) bool {
	return k.Use != UseSignature && slices.Contains(k.encryptionAlgs(), alg) && (k.Alg == "" || k.Alg == alg)
}

func (o object) bytes(name string) ([]byte, error) {
	s, err := o.text(name)
	if err != nil || s == "" {
		return nil, keyError(name + " is missing or no text")
	}
	b, err := strict.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, keyError(name + " is not base64url without padding")
	}
	return b, nil
}

func (o object) rsa() (crypto.PublicKey, error) {
	n, err := o.bytes("n")
	if err != nil {
		return nil, err
	}
	e, err := o.bytes("e")
	if err != nil {
		return nil, err
	}
	modulus := new(big.Int).SetBytes(n)
	if bits := modulus.BitLen(); bits < minRSA || bits > maxRSA || n[0] == 0 {
		return nil, keyError("RSA keys have 2048 to 4096 bits")
	}
	if modulus.Bit(0) == 0 {
		return nil, keyError("the RSA modulus is even")
	}
	if e[0] == 0 {
		return nil, keyError("the RSA exponent has leading zeros")
	}
	exponent := new(big.Int).SetBytes(e)
	// 3 has been too small too often (RFC 8725 section 3.4 and its references); above 32 bits the library refuses.
	if exponent.BitLen() > 31 || exponent.Int64() < 65537 || exponent.Bit(0) == 0 {
		return nil, keyError("the RSA exponent is odd, at least 65537 and less than 2^31")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func (o object) ecdsa(curve string) (crypto.PublicKey, error) {
	c := elliptic.P256()
	if curve == "P-384" {
		c = elliptic.P384()
	}
	size := c.Params().BitSize / 8
	x, err := o.bytes("x")
	if err != nil {
		return nil, err
	}
	y, err := o.bytes("y")
	if err != nil {
		return nil, err
	}
	if len(x) != size || len(y) != size {
		return nil, keyError("x and y do not have the length of the curve")
	}
	public, err := ecdsa.ParseUncompressedPublicKey(c, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, keyError("x and y are no point of the curve")
	}
	return public, nil
}

func (o object) ed25519() (crypto.PublicKey, error) {
	x, err := o.bytes("x")
	if err != nil {
		return nil, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, keyError("x does not have the length of the curve")
	}
	if slices.Contains(smallOrder, string(x)) {
		return nil, keyError("this point of Ed25519 belongs to everybody")
	}
	return ed25519.PublicKey(x), nil
}

// smallOrder are the encodings of points of Ed25519 that verify a signature which nobody made.
var smallOrder = []string{
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80",
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80",
	"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	"\xed\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	"\xed\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	"\xee\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
	"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x85",
	"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
	"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\xfa",
}

// verify tells whether the key made this signature. It has been asked whether it Signs by the algorithm.
func (k Key) verify(alg Alg, input, signature []byte) bool {
	sum := sha256.Sum256(input)
	switch public := k.Public.(type) {
	case *rsa.PublicKey:
		if alg == PS256 {
			return rsa.VerifyPSS(public, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
	case *ecdsa.PublicKey:
		digest := sum[:]
		if alg == ES384 {
			long := sha512.Sum384(input)
			digest = long[:]
		}
		size := public.Params().BitSize / 8
		if len(signature) != 2*size {
			return false
		}
		return ecdsa.Verify(public, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
	case ed25519.PublicKey:
		return ed25519.Verify(public, input, signature)
	}
	return false
}

func verifyHS256(secret redact.Secret, input, signature []byte) bool {
	key := secret.Bytes()
	if len(key) < sha256.Size {
		return false
	}
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return hmac.Equal(h.Sum(nil), signature)
}

// required are the members that make the key, in the order of RFC 7638 section 3.2.
func (k Key) required() []byte {
	e := base64.RawURLEncoding
	switch public := k.Public.(type) {
	case *rsa.PublicKey:
		return fmt.Appendf(nil, `"e":"%s","kty":"RSA","n":"%s"`, e.EncodeToString(big.NewInt(int64(public.E)).Bytes()), e.EncodeToString(public.N.Bytes()))
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			return nil // it was parsed, so it is a point
		}
		size := len(point) / 2
		return fmt.Appendf(nil, `"crv":"%s","kty":"EC","x":"%s","y":"%s"`, k.curve, e.EncodeToString(point[1:1+size]), e.EncodeToString(point[1+size:]))
	case ed25519.PublicKey:
		return fmt.Appendf(nil, `"crv":"Ed25519","kty":"OKP","x":"%s"`, e.EncodeToString(public))
	}
	return nil
}

// Thumbprint is the base64url SHA-256 of the key (RFC 7638): the same for the same key, whatever is said of it.
func (k Key) Thumbprint() string {
	sum := sha256.Sum256(slices.Concat([]byte{'{'}, k.required(), []byte{'}'}))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// JWK is the key in its one spelling, with kid, use and alg if it has them and without anything else that it came with.
func (k Key) JWK() string {
	b := append([]byte{'{'}, k.required()...)
	for _, m := range []struct{ name, value string }{{"kid", k.ID}, {"use", k.Use}, {"alg", k.Alg}} {
		if m.value != "" {
			text, _ := json.Marshal(m.value) // a text always marshals
			b = append(append(b, `,"`+m.name+`":`...), text...)
		}
	}
	return string(append(b, '}'))
}
