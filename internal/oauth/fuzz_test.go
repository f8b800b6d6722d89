package oauth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
)

// signedSeeds are tokens that parse, signed by another library.
func signedSeeds(t testing.TB) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var seeds []string
	for _, extra := range []map[jose.HeaderKey]any{{}, {"jku": "https://evil.test"}, {"cty": "JSON", "x": []any{1.5, nil, map[string]any{"a": true}}}} {
		o := (&jose.SignerOptions{ExtraHeaders: extra}).WithType("at+jwt").WithHeader("kid", "k\"ü")
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, payload := range []string{`{"iss":"x"}`, "", "\xff"} {
			signed, err := s.Sign([]byte(payload))
			if err != nil {
				t.Fatal(err)
			}
			compact, err := signed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			seeds = append(seeds, compact)
		}
	}
	return seeds
}

func encodeParts(header, payload string) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload)) + "." + e.EncodeToString(make([]byte, 64))
}

// FuzzParseJWS holds our parser against go-jose: what ours accepts, the other reads in the same way, and there is one
// spelling of it.
func FuzzParseJWS(f *testing.F) {
	for _, seed := range signedSeeds(f) {
		t, err := parseJWS(seed)
		if err != nil || t.alg != "ES256" || t.kid != "k\"ü" || t.typ != "at+jwt" {
			f.Fatalf("the seed %s does not load: %+v, %v", seed, t, err)
		}
		f.Add(seed)
	}
	for _, header := range []string{`{"alg":"ES256","kid":"a","typ":"at+jwt"}`, `{"alg":"none","kid":"a"}`, `{"alg":"ES256","kid":"a","crit":["x"]}`,
		`{"alg":"ES256","ALG":"none","kid":"a"}`, `{"alg":"ES256","alg":"none","kid":"a"}`, `{"alg":"ES256","kid":"\ud800"}`, `{"alg":"ES256","kid":"a","b64":false}`, `{`} {
		f.Add(encodeParts(header, "{}"))
	}
	f.Fuzz(func(t *testing.T, token string) {
		mine, err := parseJWS(token)
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		e := base64.RawURLEncoding
		if again := string(mine.input) + "." + e.EncodeToString(mine.signature); again != token {
			t.Fatalf("%q has another spelling: %q", token, again)
		}
		if mine.alg != "ES256" && mine.alg != "EdDSA" {
			return // no key of ours has it, and the other library refuses to look
		}
		theirs, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
		if err != nil {
			header, _ := e.DecodeString(strings.SplitN(token, ".", 2)[0])
			for _, parsed := range []string{`"jwk"`, `"x5c"`, `\u`, `"nonce"`, `"typ"`, `"cty"`, `"epk"`, `"enc"`, `"zip"`, `"apu"`, `"apv"`, `"iv"`, `"tag"`, `"x5t`, `"p2`} {
				if bytes.Contains(header, []byte(parsed)) {
					return // members that the other library takes apart and we step over
				}
			}
			t.Fatalf("we accept %s, go-jose says %v", header, err)
		}
		h := theirs.Signatures[0].Protected
		if h.KeyID != mine.kid || h.Algorithm != mine.alg || !bytes.Equal(theirs.UnsafePayloadWithoutVerification(), mine.payload) {
			t.Fatalf("we read %+v, go-jose %+v", mine, h)
		}
	})
}

func FuzzParseClaims(f *testing.F) {
	good := `{"iss":"https://a","sub":"s","aud":["a"],"client_id":"c","iat":1,"exp":2,"jti":"t","realm":"services","scope":["uid"],"x":{"y":[1,2e3]}}`
	if c, _, err := parseClaims([]byte(good)); err != nil || c.Subject != "s" || c.Grant != grantPassword {
		f.Fatalf("the seed does not load: %+v, %v", c, err)
	}
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, `["a"]`, `"a"`, 1)))
	f.Add([]byte(strings.Replace(good, `"exp":2`, `"exp":2.5`, 1)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, _, err := parseClaims(payload)
		if err != nil {
			return
		}
		var theirs struct {
			Sub   *string  `json:"sub"`
			Exp   *int64   `json:"exp"`
			Scope []string `json:"scope"`
		}
		if err := json.Unmarshal(payload, &theirs); err != nil {
			t.Fatalf("we accept %s: %v", payload, err)
		}
		if c.Expires.Unix() <= c.IssuedAt.Unix() || c.Subject == "" || c.ID == "" {
			t.Fatalf("accepted without what must be there: %+v", c)
		}
		// The standard library folds the case of names, so that it may take another member; then it must not be ours.
		if bytes.Count(bytes.ToLower(payload), []byte(`"sub"`)) == 1 && theirs.Sub != nil && *theirs.Sub != c.Subject {
			t.Fatalf("sub: %q and %q", *theirs.Sub, c.Subject)
		}
	})
}

// FuzzLegacyBody: whatever a body holds, what comes out is text that can be stored and compared, each name once; and JSON
// that we take means to encoding/json what it means to us.
func FuzzLegacyBody(f *testing.F) {
	for _, seed := range []string{
		`{"grant_type":"password","username":"a&b=c%zz+ü\"","scope":["uid","b"]}`, "grant_type=password&username=a%26b&scope=uid+x", ` {"a":null}`,
	} {
		r := httptest.NewRequest("POST", "/oauth2/access_token", strings.NewReader(seed))
		if _, err := readLegacy(r); err != nil {
			f.Fatalf("the seed %s does not load: %v", seed, err)
		}
		f.Add(seed)
	}
	f.Add(`{"username":"\ud83d\ude00"}`)
	f.Add(`{"username":"\ud83d"}`)
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest("POST", "/oauth2/access_token", strings.NewReader(body))
		p, err := readLegacy(r)
		if err != nil {
			if no := refusalOf(err); no.status >= 500 || no.status < 400 {
				t.Fatalf("%d for %q: %v", no.status, body, err)
			}
			return
		}
		seen := map[string]bool{}
		for _, x := range p {
			if seen[x.name] || !utf8.ValidString(x.value) || strings.Contains(x.value, "\x00") {
				t.Fatalf("%q from %q", x, body)
			}
			seen[x.name] = true
		}
		if text := strings.TrimLeft(body, " \t\r\n"); strings.HasPrefix(text, "{") {
			var theirs map[string]any
			if err := json.Unmarshal([]byte(text), &theirs); err != nil {
				t.Fatalf("we accept %q: %v", text, err)
			}
			for _, x := range p {
				if s, ok := theirs[x.name].(string); ok && s != x.value {
					t.Fatalf("%s is %q to us and %q to encoding/json", x.name, x.value, s)
				}
			}
		}
	})
}

func FuzzAppendText(f *testing.F) {
	for _, seed := range []string{"", "plain", `"\/<>&`, "\x00\x1f\x7f", "ü😀", "a\xffb", "\u2028"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(appendText(nil, s), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		// One replacement for each wrong byte, as in the standard library.
		if want := string([]rune(s)); back != want {
			t.Fatalf("%q came back as %q", want, back)
		}
	})
}

func FuzzBasic(f *testing.F) {
	f.Add("Basic " + base64.StdEncoding.EncodeToString([]byte("id:a:b")))
	f.Add("Basic")
	f.Add("Bearer x")
	f.Fuzz(func(t *testing.T, value string) {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header["Authorization"] = []string{value}
		id, secret, found, err := basic(r)
		if err != nil || !found {
			return
		}
		theirID, theirSecret, ok := r.BasicAuth()
		if strings.Contains(id, ":") || ok && (id != theirID || secret != theirSecret) {
			t.Fatalf("%q: %q %q, net/http %q %q", value, id, secret, theirID, theirSecret)
		}
	})
}
