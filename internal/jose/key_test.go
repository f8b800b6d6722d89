package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	lib "github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/jose"
)

func TestKeysAgreeWithAnotherLibrary(t *testing.T) {
	for alg, pair := range pairs() {
		text := publicJWK(t, pair, "k\"ü", "sig", string(alg))
		k := parseKey(t, text)
		again := parseKey(t, []byte(k.JWK()))
		if again.JWK() != k.JWK() || again.ID != "k\"ü" || again.Use != "sig" || again.Alg != string(alg) || !again.Signs(alg) {
			t.Errorf("%s: %s", alg, k.JWK())
		}
		theirs := lib.JSONWebKey{}
		if err := json.Unmarshal([]byte(k.JWK()), &theirs); err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if same, ok := theirs.Key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(pair.Public()) {
			t.Errorf("%s: another key came back", alg)
		}
		print, err := theirs.Thumbprint(crypto.SHA256)
		if err != nil || base64.RawURLEncoding.EncodeToString(print) != k.Thumbprint() {
			t.Errorf("%s: thumbprint %s", alg, k.Thumbprint())
		}
	}
}

func TestParseKeyRefuses(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := json.Marshal(lib.JSONWebKey{Key: ec})
	if err != nil {
		t.Fatal(err)
	}
	good := string(publicJWK(t, ec, "", "", ""))
	with := func(members string) string { return good[:len(good)-1] + "," + members + "}" }
	e := base64.RawURLEncoding
	rsaKey := func(bits uint, exponent int64, more string) string {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		n.SetBit(n, 0, 1)
		return `{"kty":"RSA","n":"` + e.EncodeToString(n.Bytes()) + `","e":"` + e.EncodeToString(big.NewInt(exponent).Bytes()) + `"` + more + `}`
	}
	for _, ok := range []string{good, with(`"x5t":"abc"`), rsaKey(2048, 65537, ""), rsaKey(4096, 65537, `,"use":"enc","alg":"RSA-OAEP-256"`), with(`"use":"sig","key_ops":["verify"]`)} {
		parseKey(t, []byte(ok))
	}
	for name, jwk := range map[string]string{
		"nothing":             "",
		"a list":              "[]",
		"twice":               with(`"kty":"EC"`),
		"private":             string(private),
		"private RSA":         rsaKey(2048, 65537, `,"d":"AQ"`),
		"shared":              `{"kty":"oct","k":"c2VjcmV0"}`,
		"unknown type":        `{"kty":"XYZ"}`,
		"kty missing":         `{"crv":"P-256"}`,
		"P-521":               strings.Replace(good, "P-256", "P-521", 1),
		"P-384 with P-256":    strings.Replace(good, "P-256", "P-384", 1),
		"off the curve":       `{"kty":"EC","crv":"P-256","x":"` + e.EncodeToString(make([]byte, 32)) + `","y":"` + e.EncodeToString(make([]byte, 32)) + `"}`,
		"short coordinate":    `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`,
		"padded":              `{"kty":"OKP","crv":"Ed25519","x":"` + base64.URLEncoding.EncodeToString(make([]byte, 32)) + `"}`,
		"Ed25519 short":       `{"kty":"OKP","crv":"Ed25519","x":"AQ"}`,
		"small order":         `{"kty":"OKP","crv":"Ed25519","x":"` + e.EncodeToString(append([]byte{1}, make([]byte, 31)...)) + `"}`,
		"RSA e with zeros":    strings.Replace(rsaKey(2048, 65537, ""), `"AQAB"`, `"AAEAAQ"`, 1),
		"key_ops no list":     with(`"key_ops":"verify"`),
		"X25519":              `{"kty":"OKP","crv":"X25519","x":"` + e.EncodeToString(make([]byte, 32)) + `"}`,
		"RSA 1024":            rsaKey(1024, 65537, ""),
		"RSA 2047":            rsaKey(2047, 65537, ""),
		"RSA 8192":            rsaKey(8192, 65537, ""),
		"RSA e=1":             rsaKey(2048, 1, ""),
		"RSA e=3":             rsaKey(2048, 3, ""),
		"RSA e even":          rsaKey(2048, 65538, ""),
		"RSA e huge":          rsaKey(2048, 1<<40+1, ""),
		"use unknown":         with(`"use":"both"`),
		"use a number":        with(`"use":1`),
		"alg of another type": with(`"alg":"RS256"`),
		"alg HS256":           with(`"alg":"HS256"`),
		"alg none":            with(`"alg":"none"`),
		"RSA1_5":              rsaKey(2048, 65537, `,"alg":"RSA1_5"`),
		"sig for encryption":  with(`"use":"sig","alg":"ECDH-ES"`),
		"enc for signatures":  with(`"use":"enc","alg":"ES256"`),
		"enc with Ed25519":    `{"kty":"OKP","crv":"Ed25519","use":"enc","x":"` + e.EncodeToString(make([]byte, 32)) + `"}`,
		"key_ops sign":        with(`"key_ops":["sign"]`),
		"key_ops and use":     with(`"use":"sig","key_ops":["encrypt"]`),
		"kid empty":           with(`"kid":""`),
		"kid too long":        with(`"kid":"` + strings.Repeat("k", 300) + `"`),
		"too long":            with(`"x5c":["` + strings.Repeat("A", jose.MaxKey) + `"]`),
	} {
		_, err := jose.ParseKey([]byte(jwk))
		if !errors.Is(err, jose.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: the error holds the key: %v", name, err)
		}
	}
}

func TestKeySets(t *testing.T) {
	one, two := string(publicJWK(t, pairs()[jose.ES256], "a", "", "")), string(publicJWK(t, pairs()[jose.RS256], "b", "", ""))
	keys, err := jose.ParseKeySet([]byte(`{"keys":[` + one + `,{"kty":"OKP","crv":"X448","x":"AQ"},` + two + `],"more":1}`))
	if err != nil || len(keys) != 2 || keys[0].ID != "a" || keys[1].ID != "b" {
		t.Fatalf("%v, %v", keys, err)
	}
	if _, ok := keys[1].Public.(*rsa.PublicKey); !ok {
		t.Errorf("%T", keys[1].Public)
	}
	for name, set := range map[string]string{
		"nothing":       "",
		"no list":       `{"keys":{}}`,
		"null":          `{"keys":null}`,
		"Keys":          `{"Keys":[` + one + `]}`,
		"empty":         `{"keys":[]}`,
		"unknown alone": `{"keys":[{"kty":"XYZ"}]}`,
		"kid twice":     `{"keys":[` + one + `,` + one + `]}`,
		"shared":        `{"keys":[` + one + `,{"kty":"oct","k":"AQ"}]}`,
		"one wrong":     `{"keys":[` + one + `,{"kty":"RSA","n":"AQ","e":"AQAB"}]}`,
		"many":          `{"keys":[` + strings.Repeat(`{"kty":"X"},`, 100) + one + `]}`,
		"too long":      `{"keys":[` + one + `],"x":"` + strings.Repeat("A", jose.MaxKeySet) + `"}`,
	} {
		if _, err := jose.ParseKeySet([]byte(set)); !errors.Is(err, jose.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
