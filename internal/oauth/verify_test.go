package oauth_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
)

const (
	goodHeader  = `{"alg":"ES256","kid":"KID","typ":"at+jwt"}`
	unsignedTyp = `{"alg":"none","kid":"KID","typ":"at+jwt"}`
)

// goodClaims is a payload that the verifier accepts, with one member replaced, or left out if value is "".
func goodClaims(member, value string) string {
	members := []string{
		"iss", `"` + issuer + `"`, "sub", `"my-username"`, "aud", `"` + issuer + `"`, "client_id", `"my-client-id"`,
		"iat", fmt.Sprint(begin.Unix()), "exp", fmt.Sprint(begin.Add(time.Hour).Unix()), "jti", `"tok_1"`,
		"realm", `"services"`, "scope", `["uid"]`,
	}
	var b strings.Builder
	seen := false
	for pair := range slices.Chunk(members, 2) {
		if pair[0] == member {
			seen = true
			if value == "" {
				continue
			}
			pair[1] = value
		}
		fmt.Fprintf(&b, `,%q:%s`, pair[0], pair[1])
	}
	if !seen && member != "" {
		fmt.Fprintf(&b, `,%q:%s`, member, value)
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func TestForgeMakesAcceptedTokens(t *testing.T) {
	w := one(t)
	for _, header := range []string{
		goodHeader, `{"typ":"application/at+jwt","kid":"KID","alg":"ES256"}`,
		// Members that point at keys are stepped over.
		`{"alg":"ES256","kid":"KID","typ":"at+jwt","jku":"http://evil.test/jwks","x5u":"http://evil.test","jwk":{"kty":"EC"},"x5c":["AA"]}`,
	} {
		if _, err := w.server.Verifier().Verify(t.Context(), w.forge(header, goodClaims("", "")), oauth.VerifyOptions{}); err != nil {
			t.Errorf("%s: %v", header, err)
		}
	}
	if _, err := w.server.Verifier().Verify(t.Context(), w.forge(goodHeader, goodClaims("aud", `["a","b"]`)), oauth.VerifyOptions{Audience: "b"}); err != nil {
		t.Errorf("list of audiences: %v", err)
	}
}

// Whatever is wrong with a token, the answer is one and the same.
func TestTokensThatAreRefused(t *testing.T) {
	w := one(t)
	good := w.token()
	parts := strings.Split(good, ".")
	last := map[byte]string{'A': "B", 'Q': "R", 'g': "h", 'w': "x"}[parts[2][len(parts[2])-1]]
	cases := map[string]string{
		"random text":       "4b70510f-be1d-4f0f-b4cb-edbca2c79d41",
		"three random":      "a.b.c",
		"dots":              "..",
		"many dots":         strings.Repeat(".", 12_000),
		"four parts":        good + ".x",
		"two parts":         parts[0] + "." + parts[1],
		"space in it":       parts[0] + ". " + parts[1] + "." + parts[2],
		"line break in it":  good[:20] + "\n" + good[20:],
		"truncated":         good[:len(good)-1],
		"padding":           good + "=",
		"another spelling":  good[:len(good)-1] + last, // the same bytes, if the decoder forgave the loose bits
		"other payload":     parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(goodClaims("", ""))) + "." + parts[2],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"zero signature":    parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"alg none":          strings.TrimSuffix(w.forge(unsignedTyp, goodClaims("", "")), ".") + ".",
		"alg none, signed":  w.forge(unsignedTyp, goodClaims("", "")),
		"alg HS256":         w.forge(strings.Replace(goodHeader, "ES256", "HS256", 1), goodClaims("", "")),
		"alg EdDSA":         w.forge(strings.Replace(goodHeader, "ES256", "EdDSA", 1), goodClaims("", "")),
		"alg in capitals":   w.forge(strings.Replace(goodHeader, `"alg"`, `"ALG"`, 1), goodClaims("", "")),
		"unknown kid":       w.forge(strings.Replace(goodHeader, "KID", "x", 1), goodClaims("", "")),
		"kid is a path":     w.forge(strings.Replace(goodHeader, "KID", "../../etc/passwd", 1), goodClaims("", "")),
		"no kid":            w.forge(`{"alg":"ES256","typ":"at+jwt"}`, goodClaims("", "")),
		"kid twice":         w.forge(`{"alg":"ES256","kid":"x","kid":"KID","typ":"at+jwt"}`, goodClaims("", "")),
		"kid is a number":   w.forge(`{"alg":"ES256","kid":1,"typ":"at+jwt"}`, goodClaims("", "")),
		"long kid":          w.forge(strings.Replace(goodHeader, "KID", strings.Repeat("k", 8<<10), 1), goodClaims("", "")),
		"crit":              w.forge(`{"alg":"ES256","kid":"KID","typ":"at+jwt","crit":["exp"]}`, goodClaims("", "")),
		"b64":               w.forge(`{"alg":"ES256","kid":"KID","typ":"at+jwt","b64":false}`, goodClaims("", "")),
		"header and more":   w.forge(goodHeader+" {}", goodClaims("", "")),
		"header no object":  w.forge(`"x"`, goodClaims("", "")),
		"no typ":            w.forge(`{"alg":"ES256","kid":"KID"}`, goodClaims("", "")),
		"ID token":          w.forge(`{"alg":"ES256","kid":"KID","typ":"JWT"}`, goodClaims("", "")),
		"logout token":      w.forge(`{"alg":"ES256","kid":"KID","typ":"logout+jwt"}`, goodClaims("", "")),
		"scope as text":     w.forge(goodHeader, goodClaims("scope", `"uid"`)),
		"scope of numbers":  w.forge(goodHeader, goodClaims("scope", `[1]`)),
		"no scope":          w.forge(goodHeader, goodClaims("scope", "")),
		"scope is null":     w.forge(goodHeader, goodClaims("scope", "null")),
		"no realm":          w.forge(goodHeader, goodClaims("realm", "")),
		"unknown realm":     w.forge(goodHeader, goodClaims("realm", `"nowhere"`)),
		"realm is a number": w.forge(goodHeader, goodClaims("realm", "1")),
		"no sub":            w.forge(goodHeader, goodClaims("sub", "")),
		"empty sub":         w.forge(goodHeader, goodClaims("sub", `""`)),
		"no exp":            w.forge(goodHeader, goodClaims("exp", "")),
		"exp as text":       w.forge(goodHeader, goodClaims("exp", `"9999999999"`)),
		"exp is a fraction": w.forge(goodHeader, goodClaims("exp", "9999999999.5")),
		"exp is huge":       w.forge(goodHeader, goodClaims("exp", "1e400")),
		"exp overflows":     w.forge(goodHeader, goodClaims("exp", "9223372036854775808")),
		"expired":           w.forge(goodHeader, goodClaims("exp", fmt.Sprint(begin.Unix()))),
		"no iat":            w.forge(goodHeader, goodClaims("iat", "")),
		"iat ahead":         w.forge(goodHeader, goodClaims("iat", fmt.Sprint(begin.Add(61*time.Second).Unix()))),
		"nbf ahead":         w.forge(goodHeader, goodClaims("nbf", fmt.Sprint(begin.Add(61*time.Second).Unix()))),
		"no jti":            w.forge(goodHeader, goodClaims("jti", "")),
		"no aud":            w.forge(goodHeader, goodClaims("aud", "")),
		"no client":         w.forge(goodHeader, goodClaims("client_id", "")),
		"client is gone":    w.forge(goodHeader, goodClaims("client_id", `"gone"`)),
		"other issuer":      w.forge(goodHeader, goodClaims("iss", `"https://evil.test"`)),
		"exp twice":         w.forge(goodHeader, strings.TrimSuffix(goodClaims("exp", "1"), "}")+`,"exp":9999999999}`),
		"claims and more":   w.forge(goodHeader, goodClaims("", "")+"x"),
		"claims not UTF-8":  w.forge(goodHeader, goodClaims("sub", "\"\xff\"")),
		"17 KiB":            w.forge(goodHeader, goodClaims("x", `"`+strings.Repeat("a", 17<<10)+`"`)),
	}
	for name, token := range cases {
		t.Run(name, func(t *testing.T) {
			r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token))
			if want := `{"error":"invalid_token","error_description":"Access Token not valid"}`; r.status != 401 || r.body != want {
				t.Errorf("%d %s, want 401 %s", r.status, r.body, want)
			}
			if got := r.header.Get("WWW-Authenticate"); got != `Bearer error="invalid_token"` {
				t.Errorf("WWW-Authenticate is %q", got)
			}
			if got := r.header.Get("Content-Type"); got != "application/json;charset=UTF-8" {
				t.Errorf("Content-Type is %q", got)
			}
			if _, err := w.server.Verifier().Verify(t.Context(), token, oauth.VerifyOptions{}); !errors.Is(err, oauth.ErrToken) {
				t.Errorf("Verify: %v, want ErrToken", err)
			}
			if r := w.send("POST", "/oauth2/introspect", "token="+strings.ReplaceAll(token, "\n", "%0A"), us); r.status != 200 || r.body != `{"active":false}` {
				t.Errorf("introspection: %d %s", r.status, r.body)
			}
		})
	}
	for name, token := range map[string]string{
		"iat a little ahead": w.forge(goodHeader, goodClaims("iat", fmt.Sprint(begin.Add(59*time.Second).Unix()))),
		"nbf a little ahead": w.forge(goodHeader, goodClaims("nbf", fmt.Sprint(begin.Add(59*time.Second).Unix()))),
	} {
		if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

// What is longer than any token of ours costs nothing.
func TestLongTokens(t *testing.T) {
	w := one(t)
	long := strings.Repeat(".", 1<<20)
	allocated := testing.AllocsPerRun(10, func() {
		if _, err := w.server.Verifier().Verify(t.Context(), long, oauth.VerifyOptions{}); !errors.Is(err, oauth.ErrToken) {
			t.Fatal(err)
		}
	})
	if allocated > 0 {
		t.Errorf("%v allocations", allocated)
	}
}

func TestVerifyAudience(t *testing.T) {
	w := one(t)
	token := w.token()
	v := w.server.Verifier()
	for range 2 { // first sight, and from memory
		if _, err := v.Verify(t.Context(), token, oauth.VerifyOptions{Audience: issuer}); err != nil {
			t.Error(err)
		}
		if _, err := v.Verify(t.Context(), token, oauth.VerifyOptions{Audience: "https://elsewhere"}); !errors.Is(err, oauth.ErrToken) {
			t.Errorf("another audience: %v", err)
		}
	}
}

func TestTokenExpiresAlsoWhenItIsRemembered(t *testing.T) {
	w := one(t)
	token := w.token()
	if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 200 || r.json["expires_in"] != 28800.0 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	w.clock.Advance(8*time.Hour - time.Second)
	if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 200 || r.json["expires_in"] != 1.0 {
		t.Errorf("a second before: %d %s", r.status, r.body)
	}
	w.clock.Advance(time.Second)
	if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 401 {
		t.Errorf("at exp: %d %s", r.status, r.body)
	}
}

// A future key is listed and signs nothing; a retired one is refused, remembered or not.
func TestFutureAndRetiredKeys(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		token := w.token()
		signer, err := w.ring.Signer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/oauth2/jwks", "/oauth2/connect/keys", "/.well-known/jwks.json"} {
			r := w.send("GET", path, "")
			var set jose.JSONWebKeySet
			if err := json.Unmarshal([]byte(r.body), &set); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			if len(set.Key(signer.Kid)) != 1 {
				t.Errorf("%s does not hold %s: %s", path, signer.Kid, r.body)
			}
			for _, private := range []string{`"d"`, `"p"`, `"q"`, `"k"`} {
				if strings.Contains(r.body, private) {
					t.Errorf("%s holds member %s", path, private)
				}
			}
		}
		if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if err := w.db.Write(t.Context(), func(tx db.WriteTx) error {
			_, err := tx.Exec(t.Context(), `UPDATE signing_keys SET state = 'retired' WHERE kid = $1`, signer.Kid)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := w.ring.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 401 {
			t.Errorf("signed by a retired key: %d %s", r.status, r.body)
		}
	})
}

// The tokens are what go-jose takes for well-signed access tokens.
func TestTokensAreReadByOthers(t *testing.T) {
	w := one(t)
	token := w.token()
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	h := parsed.Signatures[0].Protected
	if h.ExtraHeaders[jose.HeaderType] != "at+jwt" || h.Algorithm != "ES256" {
		t.Errorf("header: %+v", h)
	}
	key, ok := w.ring.Key(h.KeyID)
	if !ok {
		t.Fatalf("kid %q is not in the ring", h.KeyID)
	}
	if _, err := parsed.Verify(key.Key); err != nil {
		t.Error(err)
	}
}

// If clients cannot be looked up, tokens that are valid stay valid: services that check them by themselves go on too.
func TestVerifyDuringAnOutage(t *testing.T) {
	w := one(t)
	token := w.token()
	w.clients.down = errDown
	if r := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestNothingIsValidBeforeTheRevocationsAreLoaded(t *testing.T) {
	w := one(t)
	token := w.token()
	late, err := oauth.New(oauth.Options{DB: dbtest.Open(t, dbtest.Engines(t)[0], w.clock), Clients: w.clients, Users: w.users, Keys: w.ring, Clock: w.clock, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := late.Verifier().Verify(t.Context(), token, oauth.VerifyOptions{}); err == nil || errors.Is(err, oauth.ErrToken) {
		t.Errorf("Verify: %v, want that it cannot be told yet", err)
	}
	if err := late.Ready(t.Context()); err == nil {
		t.Error("ready without revocations")
	}
}
