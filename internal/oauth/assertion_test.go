package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// fakeSecrets are the secrets that clients sign with.
type fakeSecrets struct {
	byID map[string][]redact.Secret
	err  error
}

func (f *fakeSecrets) HMACSecrets(_ context.Context, id string) ([]redact.Secret, error) {
	return f.byID[id], f.err
}

// party signs as somebody else does, with another library.
type party struct {
	t   testing.TB
	key any
	alg jose.SignatureAlgorithm
	kid string
}

var (
	signingPair = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	anotherPair = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	rsaPair     = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func jwkOf(t testing.TB, key crypto.Signer, kid string) string {
	t.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: kid})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sign makes a token of claims. A header member called typ or kid replaces its own.
func (p party) sign(claims map[string]any, header map[string]any) string {
	p.t.Helper()
	o := &jose.SignerOptions{}
	if p.kid != "" {
		o.WithHeader("kid", p.kid)
	}
	for name, value := range header {
		o.WithHeader(jose.HeaderKey(name), value)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: p.alg, Key: p.key}, o)
	if err != nil {
		p.t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := s.Sign(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return compact
}

// A signer is a world whose client signs-key authenticates by private_key_jwt and signs-secret by client_secret_jwt.
type signer struct {
	*world
	secrets *fakeSecrets
	n       int
}

const sharedSecret = "0123456789abcdef0123456789abcdef"

func newSigner(t testing.TB, engine db.Engine) *signer {
	t.Helper()
	s := &signer{secrets: &fakeSecrets{byID: map[string][]redact.Secret{"signs-secret": {redact.New(sharedSecret)}, "signs-key": {redact.New(sharedSecret)}}}}
	s.world = newWorld(t, engine, func(w *world, o *oauth.Options) { o.Secrets = s.secrets })
	for id, method := range map[string]string{"signs-key": registry.AuthPrivateKeyJWT, "signs-secret": registry.AuthClientSecretJWT} {
		s.addClient(id, "sales-orders", "its-old-secret")
		s.changeClient(id, func(c *oauth.Client) {
			c.Metadata.AuthMethod = method
			c.Keys = []registry.ClientKey{{ID: "1", JWK: jwkOf(t, signingPair(), "k1")}}
		})
	}
	return s
}

func signers(t *testing.T, f func(t *testing.T, s *signer)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newSigner(t, engine)) })
	}
}

func (s *signer) pair() party { return party{s.t, signingPair(), jose.ES256, "k1"} }

// claims are good ones, with changes: a nil removes.
func (s *signer) claims(client string, change ...any) map[string]any {
	s.n++
	m := map[string]any{
		"iss": client, "sub": client, "aud": issuer, "jti": fmt.Sprintf("jti-%d", s.n),
		"iat": s.clock.Now().Unix(), "exp": s.clock.Now().Add(time.Minute).Unix(),
	}
	for i := 0; i+1 < len(change); i += 2 {
		name, _ := change[i].(string)
		if change[i+1] == nil {
			delete(m, name)
		} else {
			m[name] = change[i+1]
		}
	}
	return m
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

func asserting(assertion string, more ...string) string {
	v := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v.Encode()
}

func (s *signer) try(assertion string, options ...with) reply {
	s.t.Helper()
	return s.send("POST", "/oauth2/token", asserting(assertion), options...)
}

func TestClientsThatSign(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		hmac := party{t, []byte(sharedSecret), jose.HS256, ""}
		for name, assertion := range map[string]string{
			"private_key_jwt":   s.pair().sign(s.claims("signs-key"), nil),
			"with types":        s.pair().sign(s.claims("signs-key", "aud", []string{issuer}), map[string]any{"typ": "client-authentication+jwt"}),
			"without kid":       party{t, signingPair(), jose.ES256, ""}.sign(s.claims("signs-key", "iat", nil), map[string]any{"typ": "JWT"}),
			"client_secret_jwt": hmac.sign(s.claims("signs-secret"), nil),
		} {
			if r := s.try(assertion); r.status != 200 || r.text("access_token") == "" {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		// At every endpoint where a client authenticates, and beside its client_id.
		r := s.send("POST", "/oauth2/token", asserting(s.pair().sign(s.claims("signs-key"), nil), "client_id", "signs-key"))
		token := r.text("access_token")
		for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
			if r := s.send("POST", path, asserting(s.pair().sign(s.claims("signs-key"), nil), "token", token)); r.status != 200 {
				t.Errorf("%s: %d %s", path, r.status, r.body)
			}
		}
		if s.valid(token) {
			t.Error("the token was not revoked")
		}
		if r := s.send("POST", "/oauth2/access_token", asserting(s.pair().sign(s.claims("signs-key"), nil))); r.status != 200 {
			t.Errorf("at the legacy address: %d %s", r.status, r.body)
		}
	})
}

func TestB2_44_OneMethodAtATime(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		good := s.pair().sign(s.claims("signs-key"), nil)
		s.expect(s.try(good, auth("signs-key", "its-old-secret")), 400, "invalid_request")
		s.expect(s.send("POST", "/oauth2/token", asserting(good, "client_secret", "its-old-secret")), 400, "invalid_request")
		s.expect(s.send("POST", "/oauth2/access_token", asserting(good, "client_secret", "its-old-secret", "client_id", "signs-key")), 400, "invalid_request")
		s.expect(s.send("POST", "/oauth2/token", asserting(good, "client_assertion_type", "urn:other")), 400, "invalid_request")
		s.expect(s.send("POST", "/oauth2/token", "grant_type=client_credentials&client_id=signs-key&client_assertion_type="+url.QueryEscape(assertionType)), 400, "invalid_request")
		s.expect(s.send("POST", "/oauth2/token", asserting(good, "client_id", "signs-secret")), 401, "invalid_client")
		s.expect(s.send("POST", "/oauth2/token", asserting(good)+"&client_assertion=x"), 400, "invalid_request")
		s.expect(s.send("POST", "/oauth2/access_token?client_assertion=x", "grant_type=client_credentials"), 400, "invalid_request")
		if r := s.try(good); r.status != 200 {
			t.Errorf("what was refused for its company is used up: %d %s", r.status, r.body)
		}
	})
}

func TestB2_48_OnlyTheRegisteredMethod(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		const grant = "grant_type=client_credentials"
		for _, id := range []string{"signs-key", "signs-secret"} {
			s.expect(s.send("POST", "/oauth2/token", grant, auth(id, "its-old-secret")), 401, "invalid_client")
			s.expect(s.send("POST", "/oauth2/token", grant+"&client_secret=its-old-secret&client_id="+id), 401, "invalid_client")
			s.expect(s.send("POST", "/oauth2/token", grant+"&client_id="+id), 401, "invalid_client")
		}
		hmac := party{t, []byte(sharedSecret), jose.HS256, ""}
		s.expect(s.try(hmac.sign(s.claims("signs-key"), nil)), 401, "invalid_client")
		s.expect(s.try(s.pair().sign(s.claims("signs-secret"), nil)), 401, "invalid_client")
		s.expect(s.try(s.pair().sign(s.claims("my-client-id"), nil)), 401, "invalid_client") // registered for secrets
		s.changeClient("signs-key", func(c *oauth.Client) { c.Confidential = false })
		s.expect(s.send("POST", "/oauth2/revoke", "token=x&client_id=signs-key"), 401, "invalid_client")

		s.changeClient("my-client-id", func(c *oauth.Client) { c.Metadata.AuthMethod = registry.AuthClientSecretBasic })
		s.expect(s.send("POST", "/oauth2/token", grant+"&client_id=my-client-id&client_secret=my-client-secret"), 401, "invalid_client")
		if r := s.send("POST", "/oauth2/token", grant, us); r.status != 200 {
			t.Errorf("basic: %d %s", r.status, r.body)
		}
		s.changeClient("my-client-id", func(c *oauth.Client) { c.Metadata.AuthMethod = registry.AuthClientSecretPost })
		s.expect(s.send("POST", "/oauth2/token", grant, us), 401, "invalid_client")
		if r := s.send("POST", "/oauth2/token", grant+"&client_id=my-client-id&client_secret=my-client-secret"); r.status != 200 {
			t.Errorf("post: %d %s", r.status, r.body)
		}
		for _, method := range []string{registry.AuthNone, "tls_client_auth"} {
			s.changeClient("my-client-id", func(c *oauth.Client) { c.Metadata.AuthMethod = method })
			s.expect(s.send("POST", "/oauth2/token", grant, us), 401, "invalid_client")
			s.expect(s.send("POST", "/oauth2/token", grant+"&client_id=my-client-id"), 401, "invalid_client")
		}
	})
}

// another is another process on the same database, which knows nothing that the first had in memory.
func (s *signer) another(change ...func(*oauth.Options)) *signer {
	s.t.Helper()
	d := dbtest.OpenURL(s.t, s.url, s.clock)
	o := oauth.Options{DB: d, Clients: s.clients, Users: s.users, Keys: s.ring, Clock: s.clock, Issuer: issuer, Secrets: s.secrets}
	for _, f := range change {
		f(&o)
	}
	server, err := oauth.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	base := *s.world
	base.db, base.server, base.mux = d, server, route.New(route.Options{Clock: s.clock, DB: d})
	server.Routes(base.mux)
	return &signer{world: &base, secrets: s.secrets}
}

func TestB2_49_ReplayedAssertion(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		other := s.another()
		good := s.pair().sign(s.claims("signs-key", "jti", "once", "exp", s.clock.Now().Add(5*time.Minute).Unix()), nil)
		if r := s.try(good); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		s.expect(s.try(good), 401, "invalid_client")
		s.expect(other.try(good), 401, "invalid_client")
		s.expect(s.another().try(good), 401, "invalid_client") // after a restart
		s.expect(s.try(s.pair().sign(s.claims("signs-key", "jti", "once", "exp", s.clock.Now().Add(2*time.Minute).Unix()), nil)), 401, "invalid_client")
		// Another client's ids are its own.
		hmac := party{t, []byte(sharedSecret), jose.HS256, ""}
		if r := s.try(hmac.sign(s.claims("signs-secret", "jti", "once"), nil)); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
		// Side by side on two nodes: one of them.
		raced := s.pair().sign(s.claims("signs-key"), nil)
		var wg sync.WaitGroup
		var mu sync.Mutex
		given := 0
		for i := range 20 {
			wg.Go(func() {
				node := []*signer{s, other}[i%2]
				if r := node.try(raced); r.status == 200 {
					mu.Lock()
					defer mu.Unlock()
					given++
				} else if r.status != 401 {
					t.Errorf("%d %s", r.status, r.body)
				}
			})
		}
		wg.Wait()
		if given != 1 {
			t.Errorf("one assertion was good %d times", given)
		}
	})
}

func TestB2_51_SignaturesThatAreNone(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		jwk := jwkOf(t, signingPair(), "k1")
		point, err := signingPair().PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		text := func(header string, signature []byte) string {
			payload, err := json.Marshal(s.claims("signs-key"))
			if err != nil {
				t.Fatal(err)
			}
			e := base64.RawURLEncoding
			return e.EncodeToString([]byte(header)) + "." + e.EncodeToString(payload) + "." + e.EncodeToString(signature)
		}
		s.changeClient("signs-key", func(c *oauth.Client) {
			c.Keys = append(c.Keys, registry.ClientKey{ID: "2", JWK: jwkOf(t, rsaPair(), "k2")})
			c.Metadata.AuthAlg = "ES256"
		})
		for name, assertion := range map[string]string{
			"none":                       text(`{"alg":"none"}`, nil),
			"none, signed":               text(`{"alg":"none"}`, []byte("x")),
			"nOnE":                       text(`{"alg":"nOnE"}`, []byte("x")),
			"r=s=0":                      text(`{"alg":"ES256","kid":"k1"}`, make([]byte, 64)),
			"HS256 over the JWK":         party{t, []byte(jwk), jose.HS256, "k1"}.sign(s.claims("signs-key"), nil),
			"HS256 over the point":       party{t, point, jose.HS256, "k1"}.sign(s.claims("signs-key"), nil),
			"another key":                party{t, anotherPair(), jose.ES256, "k1"}.sign(s.claims("signs-key"), nil),
			"alg that is not registered": party{t, rsaPair(), jose.RS256, "k2"}.sign(s.claims("signs-key"), nil),
			"not a JWT":                  "x",
			"typ of a request object":    s.pair().sign(s.claims("signs-key"), map[string]any{"typ": "oauth-authz-req+jwt"}),
			"typ of an access token":     s.pair().sign(s.claims("signs-key"), map[string]any{"typ": "at+jwt"}),
		} {
			if r := s.try(assertion); r.status != 401 || r.text("error") != "invalid_client" {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		s.changeClient("signs-secret", func(c *oauth.Client) { c.Metadata.AuthAlg = "ES256" })
		s.expect(s.try(party{t, []byte(sharedSecret), jose.HS256, ""}.sign(s.claims("signs-secret"), nil)), 401, "invalid_client")
		if n := count(t, s.db, `SELECT count(*) FROM used_assertions`); n != 0 {
			t.Errorf("%d rows for what was not signed", n)
		}
	})
}

func TestB2_52_TimesOfAnAssertion(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		at := func(d time.Duration) int64 { return s.clock.Now().Add(d).Unix() }
		for name, c := range map[string]struct {
			change []any
			good   bool
		}{
			"no exp":           {[]any{"exp", nil}, false},
			"exp a text":       {[]any{"exp", "2000000000"}, false},
			"exp now":          {[]any{"exp", at(0)}, false},
			"exp past":         {[]any{"exp", at(-time.Second)}, false},
			"exp in 5 minutes": {[]any{"exp", at(5 * time.Minute)}, true},
			"exp later":        {[]any{"exp", at(5*time.Minute + time.Second)}, false},
			"exp far":          {[]any{"exp", at(time.Hour)}, false},
			"iat 10 s ahead":   {[]any{"iat", at(10 * time.Second)}, true},
			"iat 61 s ahead":   {[]any{"iat", at(61 * time.Second)}, false},
			"nbf 61 s ahead":   {[]any{"nbf", at(61 * time.Second)}, false},
			"no jti":           {[]any{"jti", nil}, false},
			"empty jti":        {[]any{"jti", ""}, false},
			"long jti":         {[]any{"jti", strings.Repeat("j", 257)}, false},
			"longest jti":      {[]any{"jti", strings.Repeat("j", 256)}, true},
			"jti a number":     {[]any{"jti", 7}, false},
			"no iss":           {[]any{"iss", nil}, false},
			"iss another":      {[]any{"iss", "signs-secret"}, false},
			"sub another":      {[]any{"sub", "signs-secret"}, false},
			"no aud":           {[]any{"aud", nil}, false},
			"aud the endpoint": {[]any{"aud", issuer + "/oauth2/token"}, false},
			"aud another":      {[]any{"aud", "https://evil.test"}, false},
			"aud two":          {[]any{"aud", []string{issuer, "https://evil.test"}}, false},
			"aud with a slash": {[]any{"aud", issuer + "/"}, false},
		} {
			r := s.try(s.pair().sign(s.claims("signs-key", c.change...), nil))
			if (r.status == 200) != c.good || !c.good && (r.status != 401 || r.text("error") != "invalid_client") {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
	})
}

// What was used is remembered in rows, which go some time after the assertion has expired, and nowhere else.
func TestB2_52_UsedAssertionsAreSwept(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		for range 30 {
			if r := s.try(s.pair().sign(s.claims("signs-key", "exp", s.clock.Now().Add(5*time.Minute).Unix()), nil)); r.status != 200 {
				t.Fatalf("%d %s", r.status, r.body)
			}
		}
		sweep := func(want int) {
			t.Helper()
			if err := s.server.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := count(t, s.db, `SELECT count(*) FROM used_assertions`); n != want {
				t.Errorf("%d rows, want %d", n, want)
			}
		}
		s.clock.Advance(14 * time.Minute)
		sweep(30)
		s.clock.Advance(2 * time.Minute)
		sweep(0)
	})
}

func TestB2_53_KeyThatHasExpiredOrIsGone(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		s.changeClient("signs-key", func(c *oauth.Client) { c.Keys[0].Expires = s.clock.Now().Add(time.Second) })
		if r := s.try(s.pair().sign(s.claims("signs-key"), nil)); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		s.clock.Advance(time.Second)
		s.expect(s.try(s.pair().sign(s.claims("signs-key"), nil)), 401, "invalid_client")
		s.changeClient("signs-key", func(c *oauth.Client) { c.Keys = []registry.ClientKey{{ID: "2", JWK: jwkOf(t, anotherPair(), "k2")}} })
		s.expect(s.try(s.pair().sign(s.claims("signs-key"), nil)), 401, "invalid_client")
		if r := s.try(party{t, anotherPair(), jose.ES256, "k2"}.sign(s.claims("signs-key"), nil)); r.status != 200 {
			t.Errorf("the new key: %d %s", r.status, r.body)
		}
		s.changeClient("signs-key", func(c *oauth.Client) { c.Keys = []registry.ClientKey{{ID: "3", JWK: "{}"}} })
		s.expect(s.try(party{t, anotherPair(), jose.ES256, "k2"}.sign(s.claims("signs-key"), nil)), 401, "invalid_client")
		s.secrets.byID["signs-secret"] = nil
		s.expect(s.try(party{t, []byte(sharedSecret), jose.HS256, ""}.sign(s.claims("signs-secret"), nil)), 401, "invalid_client")
	})
}

func TestB2_54_KeysThatTheTokenBrings(t *testing.T) {
	s := newSigner(t, dbtest.Engines(t)[0])
	var jwk map[string]any
	if err := json.Unmarshal([]byte(jwkOf(t, anotherPair(), "k1")), &jwk); err != nil {
		t.Fatal(err)
	}
	evil := party{t, anotherPair(), jose.ES256, ""}
	for name, assertion := range map[string]string{
		"jku":             evil.sign(s.claims("signs-key"), map[string]any{"jku": "https://evil.test/jwks"}),
		"x5u":             evil.sign(s.claims("signs-key"), map[string]any{"x5u": "https://evil.test/x"}),
		"x5c":             evil.sign(s.claims("signs-key"), map[string]any{"x5c": []string{"AA=="}}),
		"jwk":             evil.sign(s.claims("signs-key"), map[string]any{"jwk": jwk}),
		"jku of a friend": s.pair().sign(s.claims("signs-key"), map[string]any{"jku": "https://evil.test/jwks"}),
		"kid a path":      s.pair().sign(s.claims("signs-key"), map[string]any{"kid": "../../etc/passwd"}),
		"kid SQL":         s.pair().sign(s.claims("signs-key"), map[string]any{"kid": "' OR 1=1"}),
		"kid long":        s.pair().sign(s.claims("signs-key"), map[string]any{"kid": strings.Repeat("k", 10000)}),
		"crit":            s.pair().sign(s.claims("signs-key"), map[string]any{"crit": []string{"exp"}, "exp": 1}),
	} {
		if r := s.try(assertion); r.status != 401 || r.text("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	huge := s.try(strings.Repeat("k", 1<<20))
	if huge.status != 413 {
		t.Errorf("1 MB: %d %s", huge.status, huge.body)
	}
}

func TestB2_56_DisabledClientThatSigns(t *testing.T) {
	signers(t, func(t *testing.T, s *signer) {
		s.changeClient("signs-key", func(c *oauth.Client) { c.Enabled = false })
		for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
			s.expect(s.send("POST", path, asserting(s.pair().sign(s.claims("signs-key"), nil), "token", "x")), 401, "invalid_client")
		}
	})
}

// A stranger who signs nonsense in a client's name is stopped, and the client is not.
func TestB2_59_WrongAssertionsAreCounted(t *testing.T) {
	s := newSigner(t, dbtest.Engines(t)[0])
	evil := party{t, anotherPair(), jose.ES256, "k1"}
	for range 50 {
		s.expect(s.try(evil.sign(s.claims("signs-key"), nil), from("192.0.2.9:1")), 401, "invalid_client")
	}
	s.expect(s.try(s.pair().sign(s.claims("signs-key"), nil), from("192.0.2.9:1")), 429, "slow_down")
	if r := s.try(s.pair().sign(s.claims("signs-key"), nil), from("192.0.2.10:1")); r.status != 200 {
		t.Errorf("the client itself: %d %s", r.status, r.body)
	}
}

// What cannot be checked is not refused as if it were wrong, and not let through.
func TestAssertionThatCannotBeChecked(t *testing.T) {
	s := newSigner(t, dbtest.Engines(t)[0])
	s.secrets.err = errDown
	s.expect(s.try(party{t, []byte(sharedSecret), jose.HS256, ""}.sign(s.claims("signs-secret"), nil)), 503, "temporarily_unavailable")
	good := s.pair().sign(s.claims("signs-key"), nil)
	s.clients.down = errDown
	s.expect(s.try(good), 503, "temporarily_unavailable")
	s.clients.down = nil
	if err := s.db.Write(t.Context(), func(tx db.WriteTx) error {
		_, err := tx.Exec(t.Context(), `DROP TABLE used_assertions`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if r := s.try(good); r.status < 500 || r.json["access_token"] != nil || strings.Contains(r.body, "used_assertions") {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestDiscoveryOfClientsThatSign(t *testing.T) {
	s := newSigner(t, dbtest.Engines(t)[0])
	d := s.send("GET", "/.well-known/openid-configuration", "").json
	for _, endpoint := range []string{"token", "introspection", "revocation"} {
		methods, algs := fmt.Sprint(d[endpoint+"_endpoint_auth_methods_supported"]), fmt.Sprint(d[endpoint+"_endpoint_auth_signing_alg_values_supported"])
		if methods != "[client_secret_basic client_secret_post private_key_jwt client_secret_jwt]" || algs != "[ES256 ES384 EdDSA PS256 RS256 HS256]" {
			t.Errorf("%s: %s, %s", endpoint, methods, algs)
		}
	}
	plain := one(t)
	if d := plain.send("GET", "/.well-known/openid-configuration", "").body; strings.Contains(d, "client_secret_jwt") || strings.Contains(d, "HS256") {
		t.Errorf("without shared secrets: %s", d)
	}
}
