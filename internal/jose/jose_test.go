package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	lib "github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/jose"
	"github.com/mintmark/mintmark/internal/redact"
)

// pairs are key pairs for each algorithm, as another library makes and uses them.
var pairs = sync.OnceValue(func() map[jose.Alg]crypto.Signer {
	must := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return k
	}
	r := must(rsa.GenerateKey(rand.Reader, 2048))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[jose.Alg]crypto.Signer{
		jose.RS256: r, jose.PS256: r, jose.EdDSA: must(ed, err),
		jose.ES256: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		jose.ES384: must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
	}
})

func publicJWK(t testing.TB, key crypto.Signer, kid, use, alg string) []byte {
	t.Helper()
	b, err := json.Marshal(lib.JSONWebKey{Key: key.Public(), KeyID: kid, Use: use, Algorithm: alg})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parseKey(t testing.TB, jwk []byte) jose.Key {
	t.Helper()
	k, err := jose.ParseKey(jwk)
	if err != nil {
		t.Fatalf("%s: %v", jwk, err)
	}
	return k
}

// sign has the other library sign.
func sign(t testing.TB, alg jose.Alg, key any, payload string, header map[lib.HeaderKey]any) string {
	t.Helper()
	s, err := lib.NewSigner(lib.SigningKey{Algorithm: lib.SignatureAlgorithm(alg), Key: key}, &lib.SignerOptions{ExtraHeaders: header})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func forged(header, payload string, signature []byte) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload)) + "." + e.EncodeToString(signature)
}

const payload = `{"iss":"i","sub":"s","aud":"a","exp":2000000000,"iat":1999999990.5,"jti":"j","n":{"a":[1,true,null]},"t":"text"}`

func TestEachAlgorithmOfAnotherLibrary(t *testing.T) {
	for alg, pair := range pairs() {
		for _, named := range []bool{true, false} {
			header := map[lib.HeaderKey]any{"typ": "application/x+JWT"}
			if named {
				header["kid"] = "k1"
			}
			token := sign(t, alg, pair, payload, header)
			u, err := jose.Parse(token)
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if iss, sub := u.Claimed(); iss != "i" || sub != "s" || !u.Is("y", "X+jwt") || u.Is("", "jwt") {
				t.Errorf("%s: %+v", alg, u)
			}
			key := parseKey(t, publicJWK(t, pair, "k1", "sig", string(alg)))
			c, err := u.Verify([]jose.Key{key}, jose.PublicKeyAlgs())
			if err != nil {
				t.Fatalf("%s: %v", alg, err)
			}
			if c.Issuer != "i" || c.ID != "j" || c.Expires.Unix() != 2000000000 || c.IssuedAt.Unix() != 1999999990 || !c.NotBefore.IsZero() {
				t.Errorf("%s: %+v", alg, c)
			}
			if s, ok := c.Text("t"); s != "text" || !ok || !c.Has("n") || len(c.Names()) != 8 || string(c.JSON("n")) != `{"a":[1,true,null]}` {
				t.Errorf("%s: %+v", alg, c)
			}
			if _, ok := c.Text("n"); ok {
				t.Error("an object is a text")
			}
			broken := token[:len(token)-8] + "AAAAAAAA"
			if u, err = jose.Parse(broken); err == nil {
				_, err = u.Verify([]jose.Key{key}, jose.PublicKeyAlgs())
			}
			if !errors.Is(err, jose.ErrToken) {
				t.Errorf("%s: another signature is answered with %v", alg, err)
			}
		}
	}
}

// Which key and which algorithm count is the caller's to say, and never the token's (RFC 8725).
func TestTokenDoesNotChooseItsKey(t *testing.T) {
	ec, r := pairs()[jose.ES256], pairs()[jose.RS256]
	ecKey := parseKey(t, publicJWK(t, ec, "k1", "", ""))
	rsaKey := parseKey(t, publicJWK(t, r, "k2", "", ""))
	all := jose.PublicKeyAlgs()
	pemless := publicJWK(t, ec, "k1", "", "")
	hs := func(secret []byte) string { return sign(t, jose.HS256, secret, payload, nil) }
	for name, c := range map[string]struct {
		token string
		keys  []jose.Key
		algs  []jose.Alg
	}{
		"no keys":              {sign(t, jose.ES256, ec, payload, nil), nil, all},
		"alg not allowed":      {sign(t, jose.ES256, ec, payload, nil), []jose.Key{ecKey}, []jose.Alg{jose.RS256}},
		"alg of another key":   {sign(t, jose.PS256, r, payload, nil), []jose.Key{parseKey(t, publicJWK(t, r, "", "", "RS256"))}, all},
		"key for encryption":   {sign(t, jose.RS256, r, payload, nil), []jose.Key{parseKey(t, publicJWK(t, r, "", "enc", ""))}, all},
		"kid of another key":   {sign(t, jose.ES256, ec, payload, map[lib.HeaderKey]any{"kid": "k2"}), []jose.Key{ecKey, rsaKey}, all},
		"kid that is none":     {sign(t, jose.ES256, ec, payload, map[lib.HeaderKey]any{"kid": "../../etc/passwd"}), []jose.Key{ecKey}, all},
		"HS256 over JWK":       {hs(pemless), []jose.Key{ecKey, rsaKey}, append(all, jose.HS256)},
		"HS256 over modulus":   {hs(r.Public().(*rsa.PublicKey).N.Bytes()), []jose.Key{ecKey, rsaKey}, append(all, jose.HS256)},
		"ES256 with r=s=0":     {forged(`{"alg":"ES256"}`, payload, make([]byte, 64)), []jose.Key{ecKey}, all},
		"ES256 too short":      {forged(`{"alg":"ES256"}`, payload, make([]byte, 63)), []jose.Key{ecKey}, all},
		"ES384 on P-256":       {forged(`{"alg":"ES384"}`, payload, make([]byte, 96)), []jose.Key{ecKey}, all},
		"none":                 {forged(`{"alg":"none"}`, payload, []byte("x")), []jose.Key{ecKey}, append(all, "none")},
		"es256":                {forged(`{"alg":"es256"}`, payload, make([]byte, 64)), []jose.Key{ecKey}, all},
		"RS256 of another RSA": {sign(t, jose.RS256, r, payload, nil), []jose.Key{ecKey}, all},
	} {
		u, err := jose.Parse(c.token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := u.Verify(c.keys, c.algs); !errors.Is(err, jose.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSharedSecrets(t *testing.T) {
	secret := redact.New(strings.Repeat("s", 32))
	u, err := jose.Parse(sign(t, jose.HS256, secret.Bytes(), payload, nil))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := u.VerifySecret([]redact.Secret{redact.New(strings.Repeat("o", 40)), secret}); err != nil || c.Subject != "s" {
		t.Errorf("%+v, %v", c, err)
	}
	for name, secrets := range map[string][]redact.Secret{"none": nil, "empty": {redact.New("")}, "another": {redact.New(strings.Repeat("t", 32))}} {
		if _, err := u.VerifySecret(secrets); !errors.Is(err, jose.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := hmac.New(sha256.New, []byte("short"))
	e := base64.RawURLEncoding
	input := e.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + e.EncodeToString([]byte(payload))
	h.Write([]byte(input))
	if u, err = jose.Parse(input + "." + e.EncodeToString(h.Sum(nil))); err != nil {
		t.Fatal(err)
	}
	if _, err := u.VerifySecret([]redact.Secret{redact.New("short")}); err == nil {
		t.Error("a secret shorter than the hash signs")
	}
	if u, err = jose.Parse(sign(t, jose.ES256, pairs()[jose.ES256], payload, nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.VerifySecret([]redact.Secret{secret}); err == nil {
		t.Error("a signature of a key pair is taken for one by a secret")
	}
}

func TestParseRefuses(t *testing.T) {
	good := sign(t, jose.ES256, pairs()[jose.ES256], payload, nil)
	sig := make([]byte, 64)
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for name, token := range map[string]string{
		"nothing":            "",
		"two parts":          good[:strings.LastIndexByte(good, '.')],
		"five parts":         good + ".a.b",
		"no signature":       good[:strings.LastIndexByte(good, '.')+1],
		"line break":         good[:10] + "\n" + good[10:],
		"padding":            good + "=",
		"JSON form":          `{"payload":"","signatures":[]}`,
		"too long":           good + strings.Repeat("A", jose.MaxToken),
		"second spelling":    forged(`{"alg":"ES256"}`, payload, nil) + strings.Repeat("A", 85) + "B",
		"crit":               forged(`{"alg":"ES256","crit":["x"],"x":1}`, payload, sig),
		"b64":                forged(`{"alg":"ES256","b64":false}`, payload, sig),
		"zip":                forged(`{"alg":"ES256","zip":"DEF"}`, payload, sig),
		"enc":                forged(`{"alg":"ES256","enc":"A256GCM"}`, payload, sig),
		"jku":                forged(`{"alg":"ES256","jku":"http://127.0.0.1:1/"}`, payload, sig),
		"x5u":                forged(`{"alg":"ES256","x5u":"http://127.0.0.1:1/"}`, payload, sig),
		"x5c":                forged(`{"alg":"ES256","x5c":["AA=="]}`, payload, sig),
		"jwk":                forged(`{"alg":"ES256","jwk":{}}`, payload, sig),
		"alg twice":          forged(`{"alg":"ES256","alg":"none"}`, payload, sig),
		"alg missing":        forged(`{"ALG":"ES256"}`, payload, sig),
		"alg no text":        forged(`{"alg":1}`, payload, sig),
		"alg null":           forged(`{"alg":null}`, payload, sig),
		"kid no text":        forged(`{"alg":"ES256","kid":["a"]}`, payload, sig),
		"kid too long":       forged(`{"alg":"ES256","kid":"`+strings.Repeat("k", 300)+`"}`, payload, sig),
		"half a surrogate":   forged(`{"alg":"ES256","kid":"\ud800"}`, payload, sig),
		"more after header":  forged(`{"alg":"ES256"}{}`, payload, sig),
		"not UTF-8":          forged("{\"alg\":\"ES256\",\"kid\":\"\xff\"}", payload, sig),
		"payload a list":     forged(`{"alg":"ES256"}`, `[]`, sig),
		"payload no JSON":    forged(`{"alg":"ES256"}`, `x`, sig),
		"claim twice":        forged(`{"alg":"ES256"}`, `{"iss":"a","iss":"b"}`, sig),
		"claim twice inside": forged(`{"alg":"ES256"}`, `{"x":[{"a":1,"a":2}]}`, sig),
		"deep":               forged(`{"alg":"ES256"}`, deep, sig),
		"many members":       forged(`{"alg":"ES256"}`, `{"`+strings.Join(strings.Split(strings.Repeat("a", 70), ""), `":1,"`)+`":1}`, sig),
		"iss a number":       forged(`{"alg":"ES256"}`, `{"iss":1}`, sig),
		"iss with a line":    forged(`{"alg":"ES256"}`, `{"iss":"a\nb"}`, sig),
		"exp a text":         forged(`{"alg":"ES256"}`, `{"exp":"2000000000"}`, sig),
		"exp null":           forged(`{"alg":"ES256"}`, `{"exp":null}`, sig),
		"exp huge":           forged(`{"alg":"ES256"}`, `{"exp":1e300}`, sig),
		"exp negative":       forged(`{"alg":"ES256"}`, `{"exp":-1}`, sig),
		"exp NUL":            forged(`{"alg":"ES256"}`, `{"sub":"a\u0000"}`, sig),
		"aud a number":       forged(`{"alg":"ES256"}`, `{"aud":1}`, sig),
		"aud mixed":          forged(`{"alg":"ES256"}`, `{"aud":["a",1]}`, sig),
		"aud null":           forged(`{"alg":"ES256"}`, `{"aud":null}`, sig),
	} {
		if _, err := jose.Parse(token); !errors.Is(err, jose.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWindowsAndAudience(t *testing.T) {
	now := time.Unix(2000000000, 0)
	claims := func(text string) jose.Claims {
		secret := redact.New(strings.Repeat("s", 32))
		u, err := jose.Parse(sign(t, jose.HS256, secret.Bytes(), text, nil))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		c, err := u.VerifySecret([]redact.Secret{secret})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for text, ok := range map[string]bool{
		`{"exp":2000000001}`:                   true,
		`{"exp":2000000300}`:                   true,
		`{"exp":2000000301}`:                   false,
		`{"exp":2000000000}`:                   false,
		`{}`:                                   false,
		`{"exp":2000000100,"iat":2000000060}`:  true,
		`{"exp":2000000100,"iat":2000000061}`:  false,
		`{"exp":2000000100,"nbf":2000000061}`:  false,
		`{"exp":2000000100,"nbf":1000000000}`:  true,
		`{"exp":2000000000.9,"nbf":1}`:         false,
		`{"exp":2.0000001e9,"iat":2000000000}`: true,
	} {
		if err := claims(text).Current(now, 5*time.Minute); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
	for text, ok := range map[string]bool{`{"aud":"us"}`: true, `{"aud":["us"]}`: true, `{"aud":["us","them"]}`: false, `{"aud":"them"}`: false, `{"aud":[]}`: false, `{}`: false, `{"aud":["us","us"]}`: false} {
		if err := claims(text).MeantFor("us", "also us"); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// RFC 9864 gives EdDSA with Ed25519 a name of its own, which newer libraries write.
func TestEd25519ByItsNewName(t *testing.T) {
	pair := pairs()[jose.EdDSA]
	signed := forged(`{"alg":"Ed25519","kid":"k1"}`, payload, nil)
	signed = signed[:len(signed)-1]
	signature, err := pair.Sign(rand.Reader, []byte(signed), crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	u, err := jose.Parse(signed + "." + base64.RawURLEncoding.EncodeToString(signature))
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"Ed25519", "EdDSA", ""} {
		key := parseKey(t, publicJWK(t, pair, "k1", "sig", alg))
		if _, err := u.Verify([]jose.Key{key}, []jose.Alg{jose.EdDSA}); err != nil {
			t.Errorf("a key for %q: %v", alg, err)
		}
	}
	if _, err := u.Verify([]jose.Key{parseKey(t, publicJWK(t, pairs()[jose.ES256], "k1", "sig", ""))}, jose.PublicKeyAlgs()); err == nil {
		t.Error("a key of another type passes")
	}
}
