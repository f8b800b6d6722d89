package registry

import (
	"bytes"
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The bounds of a key that a client brings.
const (
	maxJWK     = 4096
	maxKid     = 200
	leastRSA   = 2048
	mostRSA    = 8192
	leastPoint = 32
)

// publicJWK is a public key as it is stored: the members of RFC 7517 and RFC 7518 that mean something here, and no other.
type publicJWK struct {
	Kty string `json:"kty"`
	Use string `json:"use,omitempty"`
	Alg string `json:"alg,omitempty"`
	Kid string `json:"kid"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`

	thumbprint string // RFC 7638
}

// The algorithms that go with each kind of key, by use.
var jwkAlgs = map[string]map[string][]string{
	"RSA":   {"sig": {"RS256", "PS256"}, "enc": {"RSA-OAEP", "RSA-OAEP-256"}},
	"P-256": {"sig": {"ES256"}, "enc": {"ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}},
	"Ed25519": {
		"sig": {"EdDSA"},
	},
}

// Members that a JWK of a private or symmetric key has. Whoever sends one has given it away, and is told.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// keyError is what is wrong with a key, as a sentence for who sent it.
type keyError string

func (e keyError) Error() string { return string(e) }

// parseJWK reads a public key strictly: RSA of 2048 to 8192 bits, P-256 and Ed25519. Members that are not stored, such as
// a certificate chain, are left out; private ones are refused. Without a kid its thumbprint becomes the kid. The error's
// text goes to the caller, and quotes nothing of the key.
func parseJWK(b []byte) (publicJWK, error) {
	if len(b) > maxJWK {
		return publicJWK{}, keyError(fmt.Sprintf("A key has at most %d bytes.", maxJWK))
	}
	members, err := jsonMembers(b)
	if err != nil {
		return publicJWK{}, err
	}
	for _, name := range privateMembers {
		if _, ok := members[name]; ok {
			return publicJWK{}, keyError("This is a private key. Nobody but the client may know it: make another pair, and send the public key alone.")
		}
	}
	var k publicJWK
	if err := json.Unmarshal(b, &k); err != nil {
		return publicJWK{}, keyError("The members of a key are texts.")
	}
	kind, err := k.check()
	if err != nil {
		return publicJWK{}, err
	}
	if err := k.checkUse(kind, members); err != nil {
		return publicJWK{}, err
	}
	k.thumbprint = k.print()
	if k.Kid == "" {
		k.Kid = k.thumbprint
	}
	if len(k.Kid) > maxKid || !plainASCII(k.Kid) {
		return publicJWK{}, keyError(fmt.Sprintf("A kid has at most %d characters of ASCII, none of them a space, a quote or a backslash.", maxKid))
	}
	return k, nil
}

// jsonMembers reads one JSON object whose names are each there once: two readers take different ones of two.
func jsonMembers(b []byte) (map[string]json.RawMessage, error) {
	bad := keyError("This is one JSON object, each member once.")
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, bad
	}
	members := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, bad
		}
		var value json.RawMessage
		if _, twice := members[name]; twice || d.Decode(&value) != nil {
			return nil, bad
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, bad
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad
	}
	return members, nil
}

// check looks at the numbers, and answers what kind of key it is.
func (k *publicJWK) check() (kind string, err error) {
	switch k.Kty {
	case "RSA":
		n, okN := octets(k.N)
		e, okE := octets(k.E)
		if !okN || !okE || n[0] == 0 || e[0] == 0 || k.Crv != "" || k.X != "" || k.Y != "" {
			return "", keyError("An RSA key has n and e, in base64url without padding and without leading zeros.")
		}
		if bits := bitLength(n); bits < leastRSA || bits > mostRSA {
			return "", keyError(fmt.Sprintf("An RSA key has between %d and %d bits.", leastRSA, mostRSA))
		}
		if n[len(n)-1]&1 == 0 || len(e) > 4 || e[len(e)-1]&1 == 0 || len(e) == 1 && e[0] < 3 || len(e) == 4 && e[0] > 0x7f {
			return "", keyError("These numbers are no RSA key.")
		}
		return "RSA", nil
	case "EC":
		x, okX := octets(k.X)
		y, okY := octets(k.Y)
		if k.Crv != "P-256" || !okX || !okY || len(x) != leastPoint || len(y) != leastPoint || k.N != "" || k.E != "" {
			return "", keyError("An EC key is on P-256 and has x and y of 32 bytes, in base64url without padding.")
		}
		if _, err := ecdh.P256().NewPublicKey(slices.Concat([]byte{4}, x, y)); err != nil {
			return "", keyError("The point is not on P-256.")
		}
		return "P-256", nil
	case "OKP":
		x, ok := octets(k.X)
		if k.Crv != "Ed25519" || !ok || len(x) != leastPoint || k.Y != "" || k.N != "" || k.E != "" {
			return "", keyError("An OKP key is Ed25519 and has x of 32 bytes, in base64url without padding.")
		}
		if slices.Contains(smallOrder, string(x)) {
			return "", keyError("This point of Ed25519 belongs to everybody.")
		}
		return "Ed25519", nil
	}
	return "", keyError("A key is of kty RSA, EC (P-256) or OKP (Ed25519).")
}

// checkUse holds use, key_ops and alg against the kind of key and against each other.
func (k *publicJWK) checkUse(kind string, members map[string]json.RawMessage) error {
	algs := jwkAlgs[kind]
	if k.Use != "" && algs[k.Use] == nil {
		return keyError("use is sig or enc, and fits the kind of key.")
	}
	if k.Alg == "Ed25519" { // as RFC 9864 calls it
		k.Alg = "EdDSA"
	}
	if k.Alg != "" {
		use := ""
		for u, list := range algs {
			if slices.Contains(list, k.Alg) {
				use = u
			}
		}
		if use == "" || k.Use != "" && k.Use != use {
			return keyError("alg does not fit this key.")
		}
		k.Use = use
	}
	if raw, ok := members["key_ops"]; ok {
		var ops []string
		if json.Unmarshal(raw, &ops) != nil || len(ops) == 0 || len(ops) > 4 {
			return keyError("key_ops is a list of what the key is for.")
		}
		allowed := map[string][]string{"sig": {"verify"}, "enc": {"encrypt", "wrapKey", "deriveKey", "deriveBits"}, "": {"verify", "encrypt", "wrapKey", "deriveKey", "deriveBits"}}[k.Use]
		for _, op := range ops {
			if !slices.Contains(allowed, op) {
				return keyError("key_ops does not fit this public key, or says something else than use.")
			}
		}
	}
	return nil
}

// print is the key's thumbprint by SHA-256: its required members in the order of their names (RFC 7638 section 3).
func (k *publicJWK) print() string {
	var text string
	switch k.Kty {
	case "RSA":
		text = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, k.E, k.N)
	case "EC":
		text = fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":%q,"y":%q}`, k.X, k.Y)
	default:
		text = fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, k.X)
	}
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// octets decodes what has exactly one encoding, so that a key has exactly one thumbprint.
func octets(s string) ([]byte, bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil && len(b) > 0 && base64.RawURLEncoding.EncodeToString(b) == s
}

func bitLength(n []byte) int {
	bits := 8 * len(n)
	for b := n[0]; b < 0x80; b <<= 1 {
		bits--
	}
	return bits
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
