package conformance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/api"
)

// registrar registers clients by themselves, with a token that an administrator made.
type registrar struct{ token string }

func newRegistrar(t *testing.T) registrar {
	t.Helper()
	var made api.RegistrationToken
	manage(t, http.MethodPost, "/api/registration-tokens", api.PostRegistrationToken{Label: "test", MaxUses: 100}, &made)
	return registrar{made.Token}
}

func (r registrar) send(t *testing.T, members map[string]any) answer {
	t.Helper()
	h := bearer(r.token)
	h.Set("Content-Type", "application/json")
	endpoint, _ := metadata(t)["registration_endpoint"].(string)
	return send(t, http.MethodPost, endpoint, h, string(must[[]byte](t, "encode")(json.Marshal(members))))
}

// register registers a client, which must work.
func (r registrar) register(t *testing.T, members map[string]any) (*party, map[string]any) {
	t.Helper()
	if members["redirect_uris"] == nil {
		members["redirect_uris"] = []string{callback}
	}
	a := r.send(t, members)
	var said map[string]any
	if err := json.Unmarshal(a.body, &said); a.status != http.StatusCreated || err != nil || said["client_id"] == nil {
		t.Fatalf("register: %d %s", a.status, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
	}
	p := &party{verifier: oauth2.GenerateVerifier()}
	p.ClientID = a.text("client_id")
	p.Secret = a.text("client_secret")
	p.Confidential = p.Secret != ""
	for _, uri := range said["redirect_uris"].([]any) {
		p.RedirectURIs = append(p.RedirectURIs, uri.(string))
	}
	return p, said
}

// The plan oidcc-dynamic-certification-test-plan. A client that registers itself always uses PKCE.
func TestDynamicPlan(t *testing.T) {
	r := newRegistrar(t)
	b := newPersonsBrowser(t)
	t.Run("oidcc-server", func(t *testing.T) {
		p, said := r.register(t, map[string]any{"client_name": "Tool"})
		if said["client_secret_expires_at"] == nil || said["registration_access_token"] == nil || said["registration_client_uri"] == nil {
			t.Errorf("%v", said)
		}
		p.identity(t, p.redeem(t, b.code(t, p.ask())).IDToken)
	})
	for name, member := range map[string]string{"oidcc-registration-logo-uri": "logo_uri", "oidcc-registration-policy-uri": "policy_uri", "oidcc-registration-tos-uri": "tos_uri"} {
		t.Run(name, func(t *testing.T) {
			p, said := r.register(t, map[string]any{member: "https://app.example.org/about"})
			if said[member] != "https://app.example.org/about" {
				t.Errorf("%v", said)
			}
			b.code(t, p.ask())
		})
	}
	for name, c := range map[string]struct {
		members map[string]any
		code    string
	}{
		"oidcc-registration-sector-bad": {map[string]any{"sector_identifier_uri": shared.receiver.show("/bad", []byte(`["https://elsewhere.example.org/cb"]`)), "subject_type": "pairwise"}, "invalid_client_metadata"},
		// What a request would have to be fetched from is refused, and discovery does not offer it.
		"oidcc-request-uri-unsigned": {map[string]any{"request_uris": []string{shared.receiver.URL + "/request"}}, "invalid_client_metadata"},
		"oidcc-redirect-uri-regfrag": {map[string]any{"redirect_uris": []string{callback + "#foo"}}, "invalid_redirect_uri"},
		"oidcc-idtoken-unsigned":     {map[string]any{"id_token_signed_response_alg": "none"}, "invalid_client_metadata"},
		"no redirect_uris":           {map[string]any{"redirect_uris": []string{}}, "invalid_redirect_uri"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.members["redirect_uris"] == nil {
				c.members["redirect_uris"] = []string{callback}
			}
			r.send(t, c.members).refused(t, "register", http.StatusBadRequest, c.code)
			if len(shared.receiver.at("/request")) != 0 {
				t.Error("the request was fetched")
			}
		})
	}
	for name, c := range map[string]struct{ registered, sent string }{
		"oidcc-redirect-uri-query-OK":                        {callback + "?foo=bar", callback + "?foo=bar"},
		"oidcc-redirect-uri-query-added":                     {callback, callback + "?foo=bar"},
		"oidcc-redirect-uri-query-mismatch":                  {callback + "?foo=bar", callback + "?bar=foo"},
		"oidcc-ensure-redirect-uri-in-authorization-request": {callback, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := r.register(t, map[string]any{"redirect_uris": []string{c.registered}})
			ask := p.ask(change{"redirect_uri": c.sent})
			if c.sent != c.registered {
				b.open(t, ask).refusedHere(t, name)
				return
			}
			got := b.walk(t, ask).answered(t, ask)
			if got.Get("foo") != "bar" || got.Get("code") == "" {
				t.Errorf("%v", got)
			}
			p.redeem(t, got.Get("code"))
		})
	}
	for name, member := range map[string]string{"oidcc-idtoken-rs256": "id_token_signed_response_alg", "oidcc-userinfo-rs256": "userinfo_signed_response_alg"} {
		t.Run(name, func(t *testing.T) {
			eventually(t, "there is a key for RS256", func() error {
				if !offered(t, "id_token_signing_alg_values_supported", "RS256") {
					return http.ErrNotSupported
				}
				return nil
			})
			p, _ := r.register(t, map[string]any{member: "RS256"})
			tok := p.redeem(t, b.code(t, p.ask()))
			id, _ := p.identity(t, tok.IDToken)
			raw := tok.IDToken
			if member == "userinfo_signed_response_alg" {
				a := send(t, http.MethodGet, shared.issuer+"/oauth2/userinfo", bearer(tok.AccessToken), "")
				if !strings.HasPrefix(a.header.Get("Content-Type"), "application/jwt") {
					t.Fatalf("%d %s", a.status, a.header.Get("Content-Type"))
				}
				raw = string(a.body)
			}
			signed := must[*jose.JSONWebSignature](t, "parse")(jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.RS256}))
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(send(t, http.MethodGet, shared.issuer+"/oauth2/jwks", nil, "").body, &set); err != nil {
				t.Fatal(err)
			}
			payload := must[[]byte](t, "verify")(signed.Verify(set.Key(signed.Signatures[0].Header.KeyID)[0]))
			var claims map[string]any
			if err := json.Unmarshal(payload, &claims); err != nil || claims["sub"] != id.Subject {
				t.Errorf("%v %v", claims, err)
			}
		})
	}
	t.Run("oidcc-registration-jwks-uri", func(t *testing.T) { r.keysElsewhere(t, b) })
	t.Run("oidcc-registration-sector-uri", func(t *testing.T) { r.sectors(t, b) })
	t.Run("oidcc-ensure-client-assertion-with-iss-aud-succeeds", func(t *testing.T) { r.rotateKeys(t, b, false) })
	t.Run("oidcc-refresh-token-rp-key-rotation", func(t *testing.T) { r.rotateKeys(t, b, true) })
}

// keysElsewhere has a client that keeps its keys at an address of its own prove itself at each of the two processes.
func (r registrar) keysElsewhere(t *testing.T, b *browser) {
	key, stranger := looseKey(t), looseKey(t)
	set := must[[]byte](t, "encode")(json.Marshal(map[string]any{"keys": []json.RawMessage{key.public(t)}}))
	p, said := r.register(t, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": shared.receiver.show("/jwks", set)})
	if said["jwks_uri"] != shared.receiver.URL+"/jwks" || said["jwks"] != nil || len(shared.receiver.at("/jwks")) != 0 {
		t.Errorf("%v, fetched %d times", said, len(shared.receiver.at("/jwks")))
	}
	for i, node := range nodes() {
		sign := func(key *clientKey) answer {
			now, form := time.Now(), p.codeForm(b.code(t, p.ask()))
			form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			form.Set("client_assertion", key.sign(t, map[string]any{"iss": p.ClientID, "sub": p.ClientID, "aud": shared.issuer, "jti": oauth2.GenerateVerifier(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}))
			return send(t, http.MethodPost, node+"/oauth2/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode())
		}
		p.identity(t, granted(t, "code at "+node, sign(key)).IDToken)
		granted(t, "from memory", sign(key))
		sign(stranger).refused(t, "by a key that is not there", http.StatusUnauthorized, "invalid_client")
		if n := len(shared.receiver.at("/jwks")); n != i+1 {
			t.Errorf("fetched %d times after %d nodes", n, i+1)
		}
	}
}

// sectors has two clients of one sector know a person by one name, and a third by another.
func (r registrar) sectors(t *testing.T, b *browser) {
	sector := shared.receiver.show("/sector", must[[]byte](t, "encode")(json.Marshal([]string{callback, callback + "/2"})))
	subject := func(members map[string]any) string {
		members["subject_type"] = "pairwise"
		p, _ := r.register(t, members)
		id, _ := p.identity(t, p.redeem(t, b.code(t, p.ask())).IDToken)
		return id.Subject
	}
	one := subject(map[string]any{"sector_identifier_uri": sector})
	two := subject(map[string]any{"sector_identifier_uri": sector, "redirect_uris": []string{callback + "/2", callback}})
	if three := subject(map[string]any{}); one != two || three == one {
		t.Errorf("subjects %q and %q in one sector, %q in another", one, two, three)
	}
}

// rotateKeys has a client that signs get tokens, and go on with another key if rotate.
func (r registrar) rotateKeys(t *testing.T, b *browser, rotate bool) {
	first, second := looseKey(t), looseKey(t)
	members := map[string]any{
		"redirect_uris": []string{callback}, "token_endpoint_auth_method": "private_key_jwt", "grant_types": []string{"authorization_code", "refresh_token"},
		"jwks": map[string]any{"keys": []json.RawMessage{first.public(t)}},
	}
	p, said := r.register(t, members)
	sign := func(key *clientKey, form url.Values) answer {
		now := time.Now()
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", key.sign(t, map[string]any{"iss": p.ClientID, "sub": p.ClientID, "aud": shared.issuer, "jti": oauth2.GenerateVerifier(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}))
		return send(t, http.MethodPost, shared.issuer+"/oauth2/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode())
	}
	tok := granted(t, "code", sign(first, p.codeForm(b.code(t, p.ask(change{"scope": "openid offline_access", "prompt": "consent"})))))
	p.identity(t, tok.IDToken)
	if !rotate {
		return
	}
	sign(second, refreshForm(tok.RefreshToken)).refused(t, "by a key that is not registered", http.StatusUnauthorized, "invalid_client")
	members["client_id"] = p.ClientID
	members["jwks"] = map[string]any{"keys": []json.RawMessage{second.public(t)}}
	h := bearer(said["registration_access_token"].(string))
	h.Set("Content-Type", "application/json")
	changed := send(t, http.MethodPut, said["registration_client_uri"].(string), h, string(must[[]byte](t, "encode")(json.Marshal(members))))
	if changed.status != http.StatusOK {
		t.Fatalf("%d %s", changed.status, changed.body)
	}
	eventually(t, "the old key is refused", func() error {
		if a := sign(first, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"none"}}); a.status != http.StatusUnauthorized {
			return http.ErrNotSupported
		}
		return nil
	})
	granted(t, "refresh by the new key", sign(second, refreshForm(tok.RefreshToken)))
}

// A client reads the key set again and goes on.
func TestDynamicPlanServerKeys(t *testing.T) {
	t.Run("oidcc-server-rotate-keys", func(t *testing.T) {
		p, b := newParty(t, nil), newPersonsBrowser(t)
		kid := func() string {
			tok := p.redeem(t, b.code(t, p.ask()))
			p.identity(t, tok.IDToken)
			return must[*jose.JSONWebSignature](t, "parse")(jose.ParseSignedCompact(tok.IDToken, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})).Signatures[0].Header.KeyID
		}
		before := kid()
		must[*api.SigningKey](t, "rotate")(shared.admin.RotateSigningKey(t.Context(), api.RotateSigningKey{Algorithm: "ES256", Emergency: true}))
		for _, node := range nodes() {
			eventually(t, "the old key is gone from "+node, func() error {
				var set jose.JSONWebKeySet
				if err := json.Unmarshal(send(t, http.MethodGet, node+"/oauth2/jwks", nil, "").body, &set); err != nil {
					return err
				}
				if len(set.Key(before)) > 0 {
					return fmt.Errorf("it is there")
				}
				return nil
			})
		}
		if after := kid(); after == before {
			t.Error("the old key signs still")
		}
	})
}
