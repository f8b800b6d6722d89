package conformance_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/mintmark/mintmark/api"
)

// frontTypes are the response types that bring tokens through the browser.
var frontTypes = []string{"id_token", "id_token token", "code id_token", "code token", "code id_token token"}

func fronted(in *api.PostClient) {
	in.GrantTypes = []string{"authorization_code", "implicit"}
	in.ResponseTypes = frontTypes
}

// halfHash is the value of at_hash and c_hash for a text (OpenID Connect Core section 3.3.2.11).
func halfHash(t *testing.T, token *oidc.IDToken, raw, text string) string {
	t.Helper()
	header := must[[]byte](t, "header")(base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0]))
	sum := sha256.Sum256([]byte(text))
	half := sum[:16]
	if strings.Contains(string(header), "EdDSA") {
		long := sha512.Sum512([]byte(text))
		half = long[:32]
	}
	return base64.RawURLEncoding.EncodeToString(half)
}

// checkFront checks all that came with an answer of a response type, and answers the tokens of its code if it has one.
func (p *party) checkFront(t *testing.T, ask, kind string, got url.Values) tokens {
	t.Helper()
	sent := must[*url.URL](t, "request")(url.Parse(ask)).Query()
	words := strings.Fields(kind)
	var named string
	for word, parameter := range map[string]string{"code": "code", "token": "access_token", "id_token": "id_token"} {
		want := false
		for _, w := range words {
			want = want || w == word
		}
		if got.Has(parameter) != want || want && got.Get(parameter) == "" {
			t.Fatalf("%s: %s is there: %v, in %v", kind, parameter, got.Has(parameter), got)
		}
	}
	if raw := got.Get("id_token"); raw != "" {
		id, claims := p.identity(t, raw)
		named = id.Subject
		if id.Nonce != sent.Get("nonce") {
			t.Errorf("nonce %q", id.Nonce)
		}
		if code := got.Get("code"); code != "" && claims["c_hash"] != halfHash(t, id, raw, code) {
			t.Errorf("c_hash is %v", claims["c_hash"])
		}
		if access := got.Get("access_token"); access != "" && (claims["at_hash"] != halfHash(t, id, raw, access) || id.VerifyAccessToken(access) != nil) {
			t.Errorf("at_hash is %v", claims["at_hash"])
		}
		if kind == "id_token" && claims["email"] == nil { // nothing else tells what was asked for (section 5.4)
			t.Errorf("the ID token that comes alone does not tell what was asked for: %v", claims)
		}
	}
	if access := got.Get("access_token"); access != "" {
		if !strings.EqualFold(got.Get("token_type"), "Bearer") || got.Get("expires_in") == "" {
			t.Errorf("%v", got)
		}
		if sub := userinfo(t, access)["sub"]; named != "" && sub != named {
			t.Errorf("the ID token names %s, userinfo %v", named, sub)
		}
	}
	if got.Get("code") == "" {
		return tokens{}
	}
	tok := p.redeem(t, got.Get("code"))
	if id, claims := p.identity(t, tok.IDToken); named != "" && id.Subject != named || claims["at_hash"] != nil && id.VerifyAccessToken(tok.AccessToken) != nil {
		t.Errorf("the ID token of the code says %v", claims)
	}
	return tok
}

// The plan oidcc-implicit-certification-test-plan.
func TestImplicitPlan(t *testing.T) { frontPlan(t, "id_token", "id_token token") }

// The plan oidcc-hybrid-certification-test-plan.
func TestHybridPlan(t *testing.T) {
	frontPlan(t, "code id_token", "code token", "code id_token token")
}

func frontPlan(t *testing.T, kinds ...string) {
	b := newPersonsBrowser(t)
	p := newParty(t, fronted)
	for _, kind := range kinds {
		as := change{"response_type": kind, "scope": "openid email"}
		t.Run(kind, func(t *testing.T) {
			t.Run("oidcc-server", func(t *testing.T) {
				ask := p.ask(as)
				page := b.walk(t, ask)
				if page.query.Has("code") || page.query.Has("access_token") || page.query.Has("id_token") {
					t.Error("there are tokens in the query")
				}
				p.checkFront(t, ask, kind, page.answered(t, ask))
			})
			t.Run("oidcc-prompt-none-not-logged-in", func(t *testing.T) {
				ask := p.ask(as, change{"prompt": "none"})
				page := newBrowser(t, b.person).open(t, ask)
				if len(page.fragment) == 0 {
					t.Errorf("the error is not in the fragment: %v", page.query)
				}
				page.refusedBack(t, ask, "login_required")
			})
			t.Run("oidcc-prompt-none-logged-in", func(t *testing.T) {
				ask := p.ask(as, change{"prompt": "none"})
				p.checkFront(t, ask, kind, b.open(t, ask).answered(t, ask))
			})
			t.Run("oidcc-ensure-registered-redirect-uri", func(t *testing.T) {
				b.open(t, p.ask(as, change{"redirect_uri": callback + "/x"})).refusedHere(t, "not registered")
			})
			t.Run("tokens in a query", func(t *testing.T) {
				ask := p.ask(as, change{"response_mode": "query"})
				b.open(t, ask).refusedBack(t, ask, "invalid_request")
			})
			t.Run("words in another order", func(t *testing.T) {
				words := strings.Fields(kind)
				ask := p.ask(as, change{"response_type": strings.Join(append(words[1:], words[0]), " ")})
				p.checkFront(t, ask, kind, b.walk(t, ask).answered(t, ask))
			})
			if strings.Contains(kind, "code") {
				t.Run("oidcc-codereuse", func(t *testing.T) {
					ask := p.ask(as)
					got := b.walk(t, ask).answered(t, ask)
					tok := p.redeem(t, got.Get("code"))
					p.post(t, shared.second.url, "/oauth2/token", p.codeForm(got.Get("code"))).refused(t, "second use", http.StatusBadRequest, "invalid_grant")
					p.dead(t, tok.AccessToken)
					if front := got.Get("access_token"); front != "" {
						p.dead(t, front)
					}
				})
			}
		})
	}
	t.Run("oidcc-response-type-missing", func(t *testing.T) {
		ask := p.ask(change{"response_type": ""})
		b.open(t, ask).refusedBack(t, ask, "invalid_request")
	})
}

// The plan oidcc-formpost-basic-certification-test-plan, and its like for the other types.
func TestFormPostPlan(t *testing.T) {
	b := newPersonsBrowser(t)
	p := newParty(t, fronted)
	for _, kind := range append([]string{"code"}, frontTypes...) {
		t.Run(kind, func(t *testing.T) {
			as := change{"response_type": kind, "scope": "openid email", "response_mode": "form_post"}
			t.Run("oidcc-server", func(t *testing.T) {
				ask := p.ask(as, change{"state": `a"<b>&'c`})
				page := b.walk(t, ask)
				if page.status != http.StatusOK || strings.Contains(page.body, "<b>") {
					t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
				}
				if page.header.Get("Cache-Control") != "no-store" || !strings.Contains(page.body, `type="submit"`) {
					t.Errorf("Cache-Control %q, or no button for browsers without script", page.header.Get("Cache-Control"))
				}
				p.checkFront(t, ask, kind, page.answered(t, ask))
			})
			t.Run("oidcc-prompt-none-not-logged-in", func(t *testing.T) {
				ask := p.ask(as, change{"prompt": "none"})
				newBrowser(t, b.person).open(t, ask).refusedBack(t, ask, "login_required")
			})
			t.Run("oidcc-ensure-registered-redirect-uri", func(t *testing.T) {
				b.open(t, p.ask(as, change{"redirect_uri": callback + "/x"})).refusedHere(t, "not registered")
			})
		})
	}
}

// A client to which nobody gave these response types does not get them, in any mode.
func TestImplicitAndHybridAreOff(t *testing.T) {
	b := newPersonsBrowser(t)
	p := newParty(t, nil)
	for _, kind := range append([]string{"token"}, frontTypes...) {
		for _, mode := range []string{"", "fragment", "form_post"} {
			ask := p.ask(change{"response_type": kind, "response_mode": mode})
			b.open(t, ask).refusedBack(t, ask, "unsupported_response_type")
		}
	}
}
