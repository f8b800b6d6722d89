package jose_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	lib "github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/jose"
)

// FuzzParse holds our reading of tokens against that of another library: what ours accepts, the other reads alike.
func FuzzParse(f *testing.F) {
	for alg, pair := range pairs() {
		seed := sign(f, alg, pair, payload, map[lib.HeaderKey]any{"kid": "k"})
		if u, err := jose.Parse(seed); err != nil || u.Alg != alg || u.Kid != "k" {
			f.Fatalf("the seed %s does not load: %+v, %v", seed, u, err)
		}
		f.Add(seed)
	}
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"ES256","crit":["x"]}`, `{"alg":"ES256","ALG":"none"}`, `{"alg":"ES256","kid":"\ud800"}`, `{`} {
		f.Add(forged(header, payload, make([]byte, 64)))
	}
	f.Fuzz(func(t *testing.T, token string) {
		u, err := jose.Parse(token)
		if err != nil {
			if !errors.Is(err, jose.ErrToken) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		theirs, err := lib.ParseSignedCompact(token, []lib.SignatureAlgorithm{lib.SignatureAlgorithm(u.Alg)})
		if err != nil {
			return // it knows algorithms that ours does not, and the other way round
		}
		if h := theirs.Signatures[0].Header; h.Algorithm != string(u.Alg) || h.KeyID != u.Kid {
			t.Fatalf("%q: read as %s %q and %s %q", token, u.Alg, u.Kid, h.Algorithm, h.KeyID)
		}
		var claims map[string]json.RawMessage
		if err := json.Unmarshal(theirs.UnsafePayloadWithoutVerification(), &claims); err != nil {
			t.Fatalf("%q: the payload is no JSON: %v", token, err)
		}
		iss, _ := u.Claimed()
		var other string
		if raw, ok := claims["iss"]; ok {
			if err := json.Unmarshal(raw, &other); err != nil || other != iss {
				t.Fatalf("%q: iss is %q and %s", token, iss, raw)
			}
		} else if iss != "" {
			t.Fatalf("%q: iss is %q, and there is none", token, iss)
		}
	})
}

// FuzzParseKey checks that a key has one spelling, from which the same key is read, and that no private one is taken.
func FuzzParseKey(f *testing.F) {
	for alg, pair := range pairs() {
		seed := string(publicJWK(f, pair, "k", "sig", string(alg)))
		parseKey(f, []byte(seed))
		f.Add(seed)
	}
	f.Add(`{"kty":"oct","k":"AQ"}`)
	f.Add(`{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + `","d":"AQ"}`)
	f.Fuzz(func(t *testing.T, jwk string) {
		k, err := jose.ParseKey([]byte(jwk))
		if err != nil {
			if !errors.Is(err, jose.ErrKey) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		one := k.JWK()
		again, err := jose.ParseKey([]byte(one))
		if err != nil || again.JWK() != one || again.Thumbprint() != k.Thumbprint() {
			t.Fatalf("%q became %q, %v", jwk, one, err)
		}
		if strings.Contains(one, `"d":`) || strings.Contains(one, `"k":`) {
			t.Fatalf("a private member: %s", one)
		}
	})
}
