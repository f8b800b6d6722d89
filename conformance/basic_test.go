package conformance_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/api"
)

// The plan oidcc-basic-certification-test-plan. The suite's clients know nothing of PKCE, so these have pkce_optional.
func TestBasicPlan(t *testing.T) {
	b := newPersonsBrowser(t)
	p := newParty(t, func(in *api.PostClient) { in.RefreshTokens = "always" })

	t.Run("oidcc-server", func(t *testing.T) {
		p, b := newParty(t, nil), newBrowser(t, b.person)
		ask := p.ask(change{"nonce": "the nonce"})
		tok := p.redeem(t, b.code(t, ask))
		id, claims := p.identity(t, tok.IDToken)
		if id.Nonce != "the nonce" || id.Subject == "" || len(id.Subject) > 255 || id.VerifyAccessToken(tok.AccessToken) != nil && claims["at_hash"] != nil {
			t.Errorf("nonce %q, sub %q, at_hash %v", id.Nonce, id.Subject, claims["at_hash"])
		}
		if life := time.Until(id.Expiry); life <= 0 || life > time.Hour || time.Since(id.IssuedAt) > time.Minute {
			t.Errorf("it lives from %s to %s", id.IssuedAt, id.Expiry)
		}
		if userinfo(t, tok.AccessToken)["sub"] != id.Subject || b.asked != 1 || b.agreed != 1 {
			t.Errorf("userinfo names another person, or it asked %d times for a password and %d times for consent", b.asked, b.agreed)
		}
	})
	t.Run("oidcc-response-type-missing", func(t *testing.T) {
		ask := p.ask(change{"response_type": ""})
		b.open(t, ask).refusedBack(t, ask, "invalid_request")
	})
	t.Run("oidcc-idtoken-signature", func(t *testing.T) {
		tok := p.redeem(t, b.code(t, p.ask()))
		var set jose.JSONWebKeySet
		res := send(t, http.MethodGet, metadata(t)["jwks_uri"].(string), nil, "")
		if err := json.Unmarshal(res.body, &set); err != nil {
			t.Fatal(err)
		}
		signed := must[*jose.JSONWebSignature](t, "parse")(jose.ParseSignedCompact(tok.IDToken, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}))
		kid := signed.Signatures[0].Header.KeyID
		keys := set.Key(kid)
		if len(keys) != 1 {
			t.Fatalf("there are %d keys with kid %q", len(keys), kid)
		}
		if _, err := signed.Verify(keys[0]); err != nil || keys[0].Use != "sig" || !keys[0].IsPublic() {
			t.Errorf("%v; use %q", err, keys[0].Use)
		}
		parts := strings.Split(tok.IDToken, ".")
		forged := must[*jose.JSONWebSignature](t, "parse")(jose.ParseSignedCompact(parts[0]+"."+strings.Split(p.redeem(t, b.code(t, p.ask())).IDToken, ".")[1]+"."+parts[2], []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}))
		if _, err := forged.Verify(keys[0]); err == nil {
			t.Error("the signature is good for another payload")
		}
	})
	t.Run("oidcc-userinfo", func(t *testing.T) {
		tok := p.redeem(t, b.code(t, p.ask()))
		id, _ := p.identity(t, tok.IDToken)
		form := bearer(tok.AccessToken)
		form.Set("Content-Type", "application/x-www-form-urlencoded")
		at := shared.issuer + "/oauth2/userinfo"
		for name, a := range map[string]answer{
			"oidcc-userinfo-get":         send(t, http.MethodGet, at, bearer(tok.AccessToken), ""),
			"oidcc-userinfo-post-header": send(t, http.MethodPost, at, form, ""),
			"oidcc-userinfo-post-body":   send(t, http.MethodPost, at, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, url.Values{"access_token": {tok.AccessToken}}.Encode()),
		} {
			t.Run(name, func(t *testing.T) {
				if a.status != http.StatusOK || a.text("sub") != id.Subject || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
					t.Errorf("%d %s %s", a.status, a.header.Get("Content-Type"), a.body)
				}
			})
		}
	})
	t.Run("oidcc-ensure-request-without-nonce-succeeds-for-code-flow", func(t *testing.T) {
		tok := p.redeem(t, b.code(t, p.ask(change{"nonce": ""})))
		if _, claims := p.identity(t, tok.IDToken); claims["nonce"] != nil {
			t.Errorf("nonce %v, and none was sent", claims["nonce"])
		}
	})
	t.Run("oidcc-ensure-request-with-unknown-parameter-succeeds", func(t *testing.T) {
		p.redeem(t, b.code(t, p.ask(change{"extra": "foobar"})))
	})
	t.Run("oidcc-ensure-registered-redirect-uri", func(t *testing.T) {
		b.open(t, p.ask(change{"redirect_uri": callback + "/" + oauth2.GenerateVerifier()})).refusedHere(t, "not registered")
	})
	t.Run("oidcc-ensure-post-request-succeeds", func(t *testing.T) {
		ask := p.ask()
		address, query, _ := strings.Cut(ask, "?")
		r := must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(query)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if got := b.walkOn(t, b.follow(t, r)).answered(t, ask); got.Get("code") == "" {
			t.Errorf("%v", got)
		}
	})
	t.Run("oidcc-server-client-secret-post", func(t *testing.T) {
		p := newParty(t, func(in *api.PostClient) { in.AuthMethod = "client_secret_post" })
		form := p.codeForm(b.code(t, p.ask()))
		p.post(t, shared.issuer, "/oauth2/token", form).refused(t, "by Basic", http.StatusUnauthorized, "invalid_client")
		form.Set("client_id", p.ClientID)
		form.Set("client_secret", p.Secret)
		a := send(t, http.MethodPost, shared.issuer+"/oauth2/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode())
		p.identity(t, granted(t, "in the form", a).IDToken)
	})
	t.Run("oidcc-refresh-token", func(t *testing.T) {
		tok := p.redeem(t, b.code(t, p.ask(change{"scope": "openid offline_access", "prompt": "consent"})))
		id, first := p.identity(t, tok.IDToken)
		next := granted(t, "refresh", p.post(t, shared.issuer, "/oauth2/token", refreshForm(tok.RefreshToken)))
		if next.AccessToken == tok.AccessToken || next.RefreshToken == "" {
			t.Error("nothing new came of the refresh")
		}
		if next.IDToken != "" { // OpenID Connect Core section 12.2
			again, claims := p.identity(t, next.IDToken)
			if again.Subject != id.Subject || claims["auth_time"] != first["auth_time"] || claims["iss"] != first["iss"] {
				t.Errorf("the second ID token says something else: %v, %v", claims, first)
			}
		}
		other := newParty(t, func(in *api.PostClient) { in.RefreshTokens = "always" })
		other.post(t, shared.issuer, "/oauth2/token", refreshForm(next.RefreshToken)).refused(t, "another client", http.StatusBadRequest, "invalid_grant")
		granted(t, "refresh after another client tried", p.post(t, shared.issuer, "/oauth2/token", refreshForm(next.RefreshToken)))
	})
	t.Run("oidcc-ensure-request-with-valid-pkce-succeeds", func(t *testing.T) {
		form := p.codeForm(b.code(t, p.ask(change{"code_challenge": oauth2.S256ChallengeFromVerifier(p.verifier), "code_challenge_method": "S256"})))
		form.Set("code_verifier", p.verifier)
		granted(t, "with PKCE", p.post(t, shared.issuer, "/oauth2/token", form))
	})
	t.Run("PKCE is required of clients that are not exempt", func(t *testing.T) {
		for name, change1 := range map[string]func(*api.PostClient){"public": public, "confidential": func(in *api.PostClient) { in.PKCEOptional = false }} {
			p := newParty(t, change1)
			ask := p.ask(change{"code_challenge": "", "code_challenge_method": ""})
			b.open(t, ask).refusedBack(t, ask, "invalid_request")
			if t.Failed() {
				t.Log(name)
			}
		}
	})
}

func TestBasicPlanScopes(t *testing.T) {
	b := newPersonsBrowser(t)
	p := newParty(t, nil)
	profile := []string{"name", "preferred_username"}
	email := []string{"email", "email_verified"}
	phone := []string{"phone_number", "phone_number_verified"}
	all := append(append(append([]string{"address"}, profile...), email...), phone...)
	for name, c := range map[string]struct {
		scope string
		told  []string
	}{
		"oidcc-scope-profile":                     {"openid profile", profile},
		"oidcc-scope-email":                       {"openid email", email},
		"oidcc-scope-address":                     {"openid address", []string{"address"}},
		"oidcc-scope-phone":                       {"openid phone", phone},
		"oidcc-scope-all":                         {"openid profile email address phone", all},
		"oidcc-ensure-other-scope-order-succeeds": {"email openid", email},
	} {
		t.Run(name, func(t *testing.T) {
			tok := p.redeem(t, b.code(t, p.ask(change{"scope": c.scope})))
			id, _ := p.identity(t, tok.IDToken)
			claims := userinfo(t, tok.AccessToken)
			if claims["sub"] != id.Subject {
				t.Errorf("userinfo is about %v", claims["sub"])
			}
			for _, claim := range c.told {
				if claims[claim] == nil || claims[claim] == "" {
					t.Errorf("%s is missing: %v", claim, claims)
				}
			}
			if len(claims) != len(c.told)+1 {
				t.Errorf("more was told than was asked for: %v", claims)
			}
			if address, is := claims["address"].(map[string]any); claims["address"] != nil && (!is || address["formatted"] == "") {
				t.Errorf("address is no object with formatted: %v", claims["address"])
			}
			if sent := strings.Fields(tok.Scope); len(sent) != 0 && len(sent) != len(strings.Fields(c.scope)) {
				t.Errorf("scope is %q", tok.Scope)
			}
		})
	}
}

// What the request says about the login.
func TestBasicPlanLogins(t *testing.T) {
	b := newPersonsBrowser(t)
	p := newParty(t, nil)
	p.redeem(t, b.code(t, p.ask())) // signed in and asked
	times := func(t *testing.T, changes change) (authTime float64, id string) {
		t.Helper()
		tok := p.redeem(t, b.code(t, p.ask(changes)))
		_, claims := p.identity(t, tok.IDToken)
		authTime, ok := claims["auth_time"].(float64)
		if !ok {
			t.Fatalf("auth_time is missing: %v", claims)
		}
		return authTime, tok.IDToken
	}
	for name, changes := range map[string]change{
		"oidcc-display-page":                            {"display": "page"},
		"oidcc-display-popup":                           {"display": "popup"},
		"oidcc-login-hint":                              {"login_hint": "somebody@example.com"},
		"oidcc-ui-locales":                              {"ui_locales": "se"},
		"oidcc-claims-locales":                          {"claims_locales": "se"},
		"oidcc-ensure-request-with-acr-values-succeeds": {"acr_values": "1 2"},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "oidcc-ensure-request-with-acr-values-succeeds" {
				changes["acr_values"] = "urn:mace:incommon:iap:silver 1"
			}
			tok := p.redeem(t, b.code(t, p.ask(changes)))
			if _, claims := p.identity(t, tok.IDToken); name == "oidcc-ensure-request-with-acr-values-succeeds" && claims["acr"] != "1" {
				t.Errorf("acr is %v", claims["acr"])
			}
		})
	}
	t.Run("oidcc-prompt-none-not-logged-in", func(t *testing.T) {
		ask := p.ask(change{"prompt": "none"})
		newBrowser(t, b.person).open(t, ask).refusedBack(t, ask, "login_required")
	})
	t.Run("oidcc-prompt-none-logged-in", func(t *testing.T) {
		first, _ := times(t, nil)
		asked := b.asked + b.agreed
		if again, _ := times(t, change{"prompt": "none"}); again != first || b.asked+b.agreed != asked {
			t.Errorf("auth_time went from %v to %v, or something was asked", first, again)
		}
	})
	t.Run("oidcc-id-token-hint", func(t *testing.T) {
		_, hint := times(t, nil)
		ask := p.ask(change{"prompt": "none", "id_token_hint": hint})
		if got := b.open(t, ask).answered(t, ask); got.Get("code") == "" {
			t.Errorf("%v", got)
		}
		other := newPersonsBrowser(t)
		other.code(t, p.ask())
		other.open(t, ask).refusedBack(t, ask, "login_required")
	})
	t.Run("oidcc-prompt-login", func(t *testing.T) {
		first, _ := times(t, nil)
		untilNextSecond(first)
		asked := b.asked
		if again, _ := times(t, change{"prompt": "login"}); again <= first || b.asked != asked+1 {
			t.Errorf("auth_time went from %v to %v, and a password was asked for %d times", first, again, b.asked-asked)
		}
	})
	t.Run("oidcc-max-age-1", func(t *testing.T) {
		first, _ := times(t, nil)
		untilNextSecond(first + 1)
		asked := b.asked
		if again, _ := times(t, change{"max_age": "1"}); again <= first || b.asked != asked+1 {
			t.Errorf("auth_time went from %v to %v, and a password was asked for %d times", first, again, b.asked-asked)
		}
	})
	t.Run("oidcc-max-age-10000", func(t *testing.T) {
		asked := b.asked
		if at, _ := times(t, change{"max_age": "10000"}); b.asked != asked || float64(time.Now().Unix())-at > 10000 {
			t.Errorf("auth_time is %v, and a password was asked for %d times", at, b.asked-asked)
		}
	})
	t.Run("oidcc-claims-essential", func(t *testing.T) {
		tok := p.redeem(t, b.code(t, p.ask(change{"claims": `{"userinfo":{"name":{"essential":true}},"id_token":{"email":null}}`})))
		_, claims := p.identity(t, tok.IDToken)
		if told := userinfo(t, tok.AccessToken); told["name"] == nil || told["email"] != nil || claims["email"] == nil || claims["name"] != nil {
			t.Errorf("userinfo %v, ID token %v", told, claims)
		}
	})
}

// untilNextSecond waits until the clock shows a later second than that. What a token says of time has no finer grain.
func untilNextSecond(second float64) {
	time.Sleep(time.Until(time.Unix(int64(second)+1, int64(50*time.Millisecond))))
}

// A code is good once, and its second use ends what came of the first.
func TestBasicPlanCodeReuse(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]time.Duration{"oidcc-codereuse": 0, "oidcc-codereuse-30seconds": 30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if testing.Short() {
				wait = min(wait, time.Second)
			}
			p, b := newParty(t, func(in *api.PostClient) { in.RefreshTokens = "always" }), newPersonsBrowser(t)
			code := b.code(t, p.ask())
			tok := p.redeem(t, code)
			userinfo(t, tok.AccessToken)
			time.Sleep(wait)
			p.post(t, shared.second.url, "/oauth2/token", p.codeForm(code)).refused(t, "second use", http.StatusBadRequest, "invalid_grant")
			p.dead(t, tok.AccessToken)
			p.post(t, shared.issuer, "/oauth2/token", refreshForm(tok.RefreshToken)).refused(t, "refresh", http.StatusBadRequest, "invalid_grant")
		})
	}
}

// Requests that the client signs are understood; those that it does not sign are refused, as the discovery document says.
func TestBasicPlanRequestObjects(t *testing.T) {
	b := newPersonsBrowser(t)
	p := newParty(t, nil)
	key := newKey(t, p)
	object := func(redirect string) map[string]any {
		return map[string]any{
			"iss": p.ClientID, "aud": shared.issuer, "exp": time.Now().Add(time.Minute).Unix(), "client_id": p.ClientID, "redirect_uri": redirect,
			"response_type": "code", "scope": "openid", "state": "inside", "nonce": "inside",
		}
	}
	t.Run("oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", func(t *testing.T) {
		if offered(t, "request_object_signing_alg_values_supported", "none") {
			t.Fatal("none is offered")
		}
		ask := p.ask(change{"request": unsigned(t, object(callback)), "state": "outside"})
		b.open(t, ask).refusedBack(t, ask, "invalid_request_object")
	})
	t.Run("oidcc-ensure-request-object-with-redirect-uri", func(t *testing.T) {
		ask := p.ask(change{"request": key.sign(t, object(callback)), "redirect_uri": "https://evil.test/cb", "state": "inside"})
		page := b.walk(t, ask)
		got := page.answered(t, p.ask(change{"state": "inside"}))
		tok := p.redeem(t, got.Get("code"))
		if id, _ := p.identity(t, tok.IDToken); id.Nonce != "inside" {
			t.Errorf("nonce %q", id.Nonce)
		}
		b.open(t, p.ask(change{"request": key.sign(t, object("https://evil.test/cb"))})).refusedHere(t, "another address inside")
	})
	for _, name := range []string{"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", "oidcc-request-uri-unsigned", "oidcc-request-uri-signed-rs256"} {
		t.Run(name, func(t *testing.T) {
			at := "/request/" + strconv.Itoa(time.Now().Nanosecond())
			ask := p.ask(change{"request_uri": shared.receiver.URL + at})
			b.open(t, ask).refusedBack(t, ask, "request_uri_not_supported")
			if supported, said := metadata(t)["request_uri_parameter_supported"].(bool); !said || supported {
				t.Error("discovery does not say that request_uri is not supported")
			}
			if len(shared.receiver.at(at)) != 0 {
				t.Error("it was fetched")
			}
		})
	}
}
