package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// newSigning is a world with people and a key of every algorithm.
func newSigning(t testing.TB, engine db.Engine) *folk {
	t.Helper()
	w := newFolk(t, engine)
	w.makeKeys()
	return w
}

// makeKeys makes a key of every algorithm.
func (w *world) makeKeys() {
	w.t.Helper()
	for _, alg := range []keys.Alg{keys.EdDSA, keys.RS256} {
		if _, err := w.ring.Replace(w.t.Context(), access.SystemCaller("test"), alg); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.ring.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func signings(t *testing.T, f func(t *testing.T, w *folk)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) { f(t, newSigning(t, engine)) })
	}
}

// wishes has the shop's client want this of us.
func (w *folk) wishes(m registry.Metadata) error {
	w.t.Helper()
	s := registry.Settings{RedirectURIs: []string{shopBack}, GrantTypes: []string{"authorization_code"}, RefreshTokens: registry.RefreshAlways, Metadata: m}
	return w.db.Write(w.t.Context(), func(tx db.WriteTx) error {
		_, _, err := w.registry.PutSettings(w.t.Context(), tx, system, "shop", s, anyRevision)
		return err
	})
}

func (w *folk) wish(m registry.Metadata) {
	w.t.Helper()
	if err := w.wishes(m); err != nil {
		w.t.Fatal(err)
	}
}

// verified checks a JWT with the published key set alone, as another library does it, and answers header and claims.
func (w *folk) verified(token string, alg string) (jose.Header, map[string]any) {
	w.t.Helper()
	document, _ := w.ring.JWKS()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(document, &set); err != nil {
		w.t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		w.t.Fatalf("not signed by %s: %v: %s", alg, err, token)
	}
	header := signed.Signatures[0].Header
	found := set.Key(header.KeyID)
	if len(found) != 1 || found[0].Algorithm != alg {
		w.t.Fatalf("the key set has no such key: %+v", header)
	}
	payload, err := signed.Verify(found[0])
	if err != nil {
		w.t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		w.t.Fatal(err)
	}
	return header, claims
}

func wantClaims(t *testing.T, what string, got map[string]any, want map[string]any) {
	t.Helper()
	for name := range got {
		if want[name] == anything {
			want[name] = got[name]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s, -want +got:\n%s", what, diff)
	}
}

const anything = "*"

// halfHash is what OpenID Connect Core section 3.1.3.6 says of at_hash.
func halfHash(alg keys.Alg, text string) string {
	sum := sha256.New()
	if alg == keys.EdDSA {
		sum = sha512.New()
	}
	sum.Write([]byte(text))
	b := sum.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(b[:len(b)/2])
}

// B6.119: at_hash, nonce, azp and auth_time are right for each algorithm, and a client that others wrote agrees.
func TestB6_119_IDTokensOfEachAlgorithm(t *testing.T) {
	signings(t, func(t *testing.T, w *folk) {
		document, _ := w.ring.JWKS()
		var published jose.JSONWebKeySet
		if err := json.Unmarshal(document, &published); err != nil {
			t.Fatal(err)
		}
		set := &oidc.StaticKeySet{}
		for _, k := range published.Keys {
			set.PublicKeys = append(set.PublicKeys, k.Key)
		}
		for _, alg := range append(slices.Clone(keys.Algs), "") {
			w.wish(registry.Metadata{IDTokenAlg: string(alg)})
			answer := w.signIn(w.shop, "nonce", "n-0S6_WzA2Mj +&\"")
			if alg == "" {
				alg = keys.ES256
			}
			header, claims := w.verified(answer.text("id_token"), string(alg))
			wantClaims(t, string(alg), claims, map[string]any{
				"iss": issuer, "sub": w.alice.ID, "aud": w.shop.ClientID, "azp": w.shop.ClientID, "iat": anything, "exp": anything,
				"auth_time": float64(w.clock.Now().Unix()), "nonce": "n-0S6_WzA2Mj +&\"", "acr": "1", "amr": []any{"pwd"},
				"at_hash": halfHash(alg, answer.text("access_token")),
			})
			if header.ExtraHeaders["typ"] != "JWT" {
				t.Errorf("%s: header %+v", alg, header)
			}
			verifier := oidc.NewVerifier(issuer, set, &oidc.Config{ClientID: w.shop.ClientID, SupportedSigningAlgs: []string{string(alg)}, Now: w.clock.Now})
			identity, err := verifier.Verify(t.Context(), answer.text("id_token"))
			if err != nil {
				t.Fatalf("%s: go-oidc: %v", alg, err)
			}
			if err := identity.VerifyAccessToken(answer.text("access_token")); err != nil {
				t.Errorf("%s: go-oidc: %v", alg, err)
			}
			if err := identity.VerifyAccessToken(answer.text("access_token") + "x"); err == nil {
				t.Errorf("%s: another access token fits at_hash", alg)
			}
			// Access tokens stay what the installation signs by.
			if header, _ := w.verified(answer.text("access_token"), "ES256"); header.ExtraHeaders["typ"] != "at+jwt" {
				t.Errorf("%s: an access token with %+v", alg, header)
			}
		}
	})
}

// A client that wants an algorithm of which there is no key gets no token by another.
func TestNoIDTokenByAnotherAlgorithm(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.wish(registry.Metadata{IDTokenAlg: "RS256"})
		code := w.browser().login(w.alice).allow(asks(w.shop))
		if r := w.exchange(w.shop, code); r.status != 503 || r.text("error") != "temporarily_unavailable" || r.text("id_token") != "" || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

func TestSignedUserinfo(t *testing.T) {
	signings(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop, "scope", "openid profile email").text("access_token")
		plain := w.send("GET", "/oauth2/userinfo", "", bearer(token))
		for _, alg := range keys.Algs {
			w.wish(registry.Metadata{UserinfoAlg: string(alg)})
			r := w.send("GET", "/oauth2/userinfo", "", bearer(token))
			if r.status != 200 || r.header.Get("Content-Type") != "application/jwt" || r.header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v %s", r.status, r.header, r.body)
			}
			header, claims := w.verified(r.body, string(alg))
			want := map[string]any{"iss": issuer, "aud": w.shop.ClientID}
			for name, value := range plain.json {
				want[name] = value
			}
			wantClaims(t, string(alg), claims, want)
			// It names a person and was signed by us, but it is no ID token: it signs nobody in and out.
			if typ := header.ExtraHeaders["typ"]; typ != nil {
				t.Errorf("%s: typ %v", alg, typ)
			}
			w.refusedBack(w.browser().login(w.alice).get(at(asks(w.shop, "id_token_hint", r.body, "prompt", "none"))), "login_required")
			if r := w.send("GET", "/oauth2/userinfo", "", bearer(r.body)); r.status != 401 {
				t.Errorf("%s: what userinfo said is taken for an access token: %d", alg, r.status)
			}
		}
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(token+"x")); r.status != 401 || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("errors stay JSON: %d %v", r.status, r.header)
		}
	})
}

// B6.109: the signed answer about a token that does not concern the client, or is none, is that it is not active.
func TestB6_109_SignedIntrospection(t *testing.T) {
	signings(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop).text("access_token")
		ask := func(token string, options ...with) reply {
			return w.send("POST", "/oauth2/introspect", "token="+url.QueryEscape(token), append(options, auth(w.shop.ClientID, w.shop.Secret))...)
		}
		plain := ask(token)
		if plain.status != 200 || plain.json["active"] != true {
			t.Fatalf("%d %s", plain.status, plain.body)
		}
		type way struct {
			name, wish, accept, alg string
		}
		ways := []way{
			{"asked for", "", "application/json;q=0.5, application/token-introspection+jwt", "RS256"}, // RFC 9701 section 6
			{"asked for by name", "ES256", "application/token-introspection+jwt", "ES256"},
		}
		for _, alg := range keys.Algs {
			ways = append(ways, way{"registered", string(alg), "application/json", string(alg)})
		}
		for _, c := range ways {
			w.wish(registry.Metadata{IntrospectionAlg: c.wish})
			for name, about := range map[string]struct {
				token string
				want  any
			}{
				"active":  {token, plain.json},
				"garbage": {"garbage", map[string]any{"active": false}},
				"forged":  {token[:len(token)-2] + "AA", map[string]any{"active": false}},
			} {
				r := ask(about.token, header("Accept", c.accept))
				if r.status != 200 || r.header.Get("Content-Type") != "application/token-introspection+jwt" {
					t.Fatalf("%s, %s: %d %v %s", c.name, name, r.status, r.header, r.body)
				}
				h, claims := w.verified(r.body, c.alg)
				if h.ExtraHeaders["typ"] != "token-introspection+jwt" {
					t.Errorf("%s, %s: header %+v", c.name, name, h)
				}
				wantClaims(t, c.name+", "+name, claims, map[string]any{
					"iss": issuer, "aud": w.shop.ClientID, "iat": float64(w.clock.Now().Unix()), "token_introspection": about.want,
				})
				if w.active(w.other, r.body) {
					t.Error("the answer passes for an access token")
				}
			}
		}
		w.wish(registry.Metadata{})
		for _, accept := range []string{"*/*", "application/*", "application/json", "application/token-introspection+jwt;q=0", "application/jwt", ";;", ""} {
			if r := ask(token, header("Accept", accept)); r.header.Get("Content-Type") != "application/json" {
				t.Errorf("Accept %q: %s", accept, r.header.Get("Content-Type"))
			}
		}
		if r := w.send("POST", "/oauth2/introspect", "token=x", header("Accept", "application/token-introspection+jwt"), auth(w.shop.ClientID, "wrong")); r.status != 401 || r.header.Get("Content-Type") != "application/json" {
			t.Errorf("a stranger: %d %v", r.status, r.header)
		}
	})
}

var responseField = regexp.MustCompile(`<input type="hidden" name="response" value="([^"]+)">`)

// signedAnswer finds the answer in what the browser was told, and checks that nothing of it stands beside.
func (w *folk) signedAnswer(r reply, mode, alg string) map[string]any {
	w.t.Helper()
	var response string
	if mode == "form_post.jwt" {
		found := responseField.FindStringSubmatch(r.body)
		if r.status != 200 || len(found) != 2 || strings.Count(r.body, "<input") != 1 {
			w.t.Fatalf("%d %s", r.status, r.body)
		}
		response = html.UnescapeString(found[1])
	} else {
		separator := "?"
		if mode == "fragment.jwt" {
			separator = "#"
		}
		text, ok := strings.CutPrefix(r.header.Get("Location"), shopBack+separator)
		v, err := url.ParseQuery(text)
		if r.status != 303 || !ok || err != nil || len(v) != 1 {
			w.t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
		}
		response = v.Get("response")
	}
	_, claims := w.verified(response, alg)
	if claims["iss"] != issuer || claims["aud"] != w.shop.ClientID || claims["exp"] != float64(w.clock.Now().Add(10*time.Minute).Unix()) || claims["state"] != "s t&ate" {
		w.t.Errorf("claims %v", claims)
	}
	return claims
}

func TestSignedAuthorizationAnswers(t *testing.T) {
	signings(t, func(t *testing.T, w *folk) {
		w.browser().login(w.alice).allow(asks(w.shop)) // from now on nobody is asked
		for _, mode := range []string{"jwt", "query.jwt", "fragment.jwt", "form_post.jwt"} {
			for _, wish := range []string{"", "ES256", "EdDSA", "RS256"} {
				w.wish(registry.Metadata{AuthorizationAlg: wish})
				alg := wish
				if alg == "" {
					alg = "RS256" // JARM section 3
				}
				b := w.browser().login(w.alice)
				claims := w.signedAnswer(b.get(at(asks(w.shop, "response_mode", mode))), mode, alg)
				code, _ := claims["code"].(string)
				if r := w.exchange(w.shop, code); r.status != 200 {
					t.Errorf("%s: the code is no good: %d %s", mode, r.status, r.body)
				}
				claims = w.signedAnswer(w.browser().get(at(asks(w.shop, "response_mode", mode, "prompt", "none"))), mode, alg)
				if claims["error"] != "login_required" || claims["error_description"] == "" || claims["code"] != nil {
					t.Errorf("%s: %v", mode, claims)
				}
				claims = w.signedAnswer(b.get(at(asks(w.shop, "response_mode", mode, "scope", "openid nonsense"))), mode, alg)
				if claims["error"] != "invalid_scope" {
					t.Errorf("%s: %v", mode, claims)
				}
			}
		}
		w.wish(registry.Metadata{})
		b := w.browser().login(w.alice)
		for _, mode := range []string{"jwt.jwt", ".jwt", "none.jwt", "query.jwe", "query.jwt.jwt", "JWT"} {
			w.refusedBack(b.get(at(asks(w.shop, "response_mode", mode))), "invalid_request")
		}
		// A client that asks for nothing signed gets nothing signed.
		if v := w.backTo(b.get(at(asks(w.shop))), shopBack); v.Get("code") == "" || v.Get("iss") != issuer || v.Has("response") {
			t.Errorf("%v", v)
		}
	})
}

// What cannot be signed as the client wants it is not sent another way.
func TestNoAnswerByAnotherAlgorithm(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.wish(registry.Metadata{AuthorizationAlg: "RS256"})
		w.refusedHere(w.browser().get(at(asks(w.shop, "response_mode", "jwt", "prompt", "none"))), 503)
	})
}

// addKey registers a public key of the shop's client.
func (w *folk) addKey(key crypto.Signer, kid, use string, expires time.Time) {
	w.t.Helper()
	b, err := json.Marshal(jose.JSONWebKey{Key: key.Public(), KeyID: kid, Use: use})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := w.registry.AddKey(ctx, tx, system, w.shop.ClientID, kid, b, expires)
		return err
	})
}

func opened(t *testing.T, text, alg, enc string, key any) (string, jose.Header) {
	t.Helper()
	box, err := jose.ParseEncryptedCompact(text, []jose.KeyAlgorithm{jose.KeyAlgorithm(alg)}, []jose.ContentEncryption{jose.ContentEncryption(enc)})
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	b, err := box.Decrypt(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), box.Header
}

func TestEncryptedIDTokensAndUserinfo(t *testing.T) {
	signings(t, func(t *testing.T, w *folk) {
		r, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.wishes(registry.Metadata{IDTokenKeyAlg: "RSA-OAEP"}); err == nil {
			t.Error("a client without a key is to get encrypted ID tokens")
		}
		w.addKey(r, "sig-only", "sig", time.Time{})
		if err := w.wishes(registry.Metadata{UserinfoKeyAlg: "RSA-OAEP-256"}); err == nil {
			t.Error("a key for signatures is to be encrypted for")
		}
		w.addKey(r, "mine", "enc", w.clock.Now().Add(time.Hour))
		w.addKey(e, "curve", "", time.Time{})
		type form struct {
			alg, enc, kid string
			key           any
		}
		for _, c := range []form{
			{"RSA-OAEP", "A128CBC-HS256", "mine", r}, {"RSA-OAEP-256", "A256GCM", "mine", r}, {"RSA-OAEP", "A256CBC-HS512", "mine", r},
			{"ECDH-ES", "A128GCM", "curve", e}, {"ECDH-ES+A128KW", "A128CBC-HS256", "curve", e}, {"ECDH-ES+A256KW", "A256GCM", "curve", e},
		} {
			w.wish(registry.Metadata{IDTokenAlg: "RS256", IDTokenKeyAlg: c.alg, IDTokenEnc: c.enc, UserinfoAlg: "EdDSA", UserinfoKeyAlg: c.alg, UserinfoEnc: c.enc})
			answer := w.signIn(w.shop)
			inner, header := opened(t, answer.text("id_token"), c.alg, c.enc, c.key)
			if header.KeyID != c.kid || header.ExtraHeaders["cty"] != "JWT" {
				t.Errorf("%s: header %+v", c.alg, header)
			}
			if _, claims := w.verified(inner, "RS256"); claims["sub"] != w.alice.ID || claims["at_hash"] != halfHash(keys.RS256, answer.text("access_token")) {
				t.Errorf("%s: %v", c.alg, claims)
			}
			about := w.send("GET", "/oauth2/userinfo", "", bearer(answer.text("access_token")))
			inner, _ = opened(t, about.body, c.alg, c.enc, c.key)
			if _, claims := w.verified(inner, "EdDSA"); about.header.Get("Content-Type") != "application/jwt" || claims["sub"] != w.alice.ID || claims["aud"] != w.shop.ClientID {
				t.Errorf("%s: %v", c.alg, claims)
			}
		}

		// Without a signature the claims themselves are encrypted (OpenID Connect Core section 5.3.2).
		w.wish(registry.Metadata{UserinfoKeyAlg: "RSA-OAEP"})
		token := w.signIn(w.shop).text("access_token")
		inner, header := opened(t, w.send("GET", "/oauth2/userinfo", "", bearer(token)).body, "RSA-OAEP", "A128CBC-HS256", r)
		if !strings.HasPrefix(inner, `{"sub":"`+w.alice.ID) || header.ExtraHeaders["cty"] != nil {
			t.Errorf("%s, %+v", inner, header)
		}

		// A key that has expired is encrypted for no more, and nothing is sent that others could read.
		w.wish(registry.Metadata{IDTokenKeyAlg: "RSA-OAEP", UserinfoKeyAlg: "RSA-OAEP"})
		token = w.signIn(w.shop).text("access_token")
		w.clock.Advance(time.Hour)
		code := w.browser().login(w.alice).allow(asks(w.shop))
		if answer := w.exchange(w.shop, code); answer.status != 400 || answer.text("error") != "invalid_request" || !strings.Contains(answer.text("error_description"), "RSA-OAEP") || answer.text("access_token") != "" {
			t.Errorf("%d %s", answer.status, answer.body)
		}
		_ = token
	})
}

func TestDiscoveryNamesWhatIsSignedWith(t *testing.T) {
	signings(t, func(t *testing.T, w *folk) {
		d := w.send("GET", "/.well-known/openid-configuration", "").json
		algs := []any{"ES256", "EdDSA", "RS256"}
		keyAlgs, encs := []any{"RSA-OAEP", "RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"}, []any{"A128CBC-HS256", "A256CBC-HS512", "A128GCM", "A256GCM"}
		for name, want := range map[string]any{
			"id_token_signing_alg_values_supported": algs, "userinfo_signing_alg_values_supported": algs,
			"introspection_signing_alg_values_supported": algs, "authorization_signing_alg_values_supported": algs,
			"id_token_encryption_alg_values_supported": keyAlgs, "id_token_encryption_enc_values_supported": encs,
			"userinfo_encryption_alg_values_supported": keyAlgs, "userinfo_encryption_enc_values_supported": encs,
			"response_modes_supported": []any{"query", "fragment", "form_post", "query.jwt", "fragment.jwt", "form_post.jwt", "jwt"},
		} {
			if diff := cmp.Diff(want, d[name]); diff != "" {
				t.Errorf("%s, -want +got:\n%s", name, diff)
			}
		}
	})
}

// What userinfo needs of a grant is known on the node that issued the token, and on another after the first question.
func TestUserinfoRemembersTheGrant(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop, "claims", `{"userinfo":{"email":null}}`).text("access_token")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `UPDATE grants SET claims = ''`)
			return err
		})
		r := w.send("GET", "/oauth2/userinfo", "", bearer(token))
		if r.status != 200 || r.text("email") != "alice@example.org" {
			t.Errorf("the grant was read: %d %s", r.status, r.body)
		}
		refresh := w.send("POST", "/oauth2/revoke", "token="+url.QueryEscape(token), auth(w.shop.ClientID, w.shop.Secret))
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(token)); refresh.status != 200 || r.status != 401 {
			t.Errorf("a revoked token: %d", r.status)
		}
		token = w.signIn(w.shop).text("access_token")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.identity.DisablePerson(ctx, tx, system, w.alice.ID)
		})
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(token)); r.status != 401 {
			t.Errorf("a disabled person: %d %s", r.status, r.body)
		}
	})
}

// B6.119: both hashes of an ID token that comes along with a code and a token, by each algorithm.
func TestB6_119_HashesOfEachAlgorithm(t *testing.T) {
	signings(t, func(t *testing.T, w *folk) {
		w.browser().login(w.alice).allow(asks(w.shop))
		for _, alg := range keys.Algs {
			w.say(w.shop, func(c *oauth.Client) {
				c.GrantTypes = append(slices.Clone(c.GrantTypes), registry.GrantImplicit)
				c.Metadata.ResponseTypes, c.Metadata.IDTokenAlg = []string{"code id_token token"}, string(alg)
			})
			r := w.browser().login(w.alice).get(at(asks(w.shop, "response_type", "code id_token token", "nonce", "n")))
			_, fragment, _ := strings.Cut(r.header.Get("Location"), "#")
			v, err := url.ParseQuery(fragment)
			if err != nil || v.Get("code") == "" || v.Get("access_token") == "" {
				t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
			}
			_, claims := w.verified(v.Get("id_token"), string(alg))
			if claims["at_hash"] != halfHash(alg, v.Get("access_token")) || claims["c_hash"] != halfHash(alg, v.Get("code")) {
				t.Errorf("%s: %v", alg, claims)
			}
			claims = w.signedAnswer(w.browser().login(w.alice).get(at(asks(w.shop, "response_type", "code id_token token", "nonce", "n", "response_mode", "jwt"))), "fragment.jwt", "RS256")
			if _, number := claims["expires_in"].(float64); !number || claims["code"] == nil || claims["id_token"] == nil || claims["access_token"] == nil {
				t.Errorf("signed: %v", claims)
			}
			w.refusedSigned(w.browser().login(w.alice).get(at(asks(w.shop, "response_type", "code id_token token", "nonce", "n", "response_mode", "query.jwt"))))
		}
	})
}

// refusedSigned checks that nothing but an error went into the answer.
func (w *folk) refusedSigned(r reply) {
	w.t.Helper()
	location := r.header.Get("Location")
	if strings.Contains(location, "access_token=") || strings.Contains(location, "?response=") || !strings.Contains(location, "error=invalid_request") {
		w.t.Errorf("%d to %s", r.status, location)
	}
}
