package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/api"
)

// refusedAsToken checks that no door takes a text for an access token.
func refusedAsToken(t *testing.T, p *party, what, text string) {
	t.Helper()
	for _, node := range nodes() {
		for _, path := range []string{"/oauth2/userinfo", "/oauth2/tokeninfo", "/api/clients"} {
			if a := send(t, http.MethodGet, node+path, bearer(text), ""); a.status != http.StatusUnauthorized {
				t.Errorf("%s at %s: %d %s", what, path, a.status, a.body)
			}
		}
		if p.active(t, node, text) {
			t.Errorf("%s is an active token", what)
		}
	}
}

// Whatever else is signed, by us or by a client, is no access token.
func TestB6_101_WrongType(t *testing.T) {
	p, b := newParty(t, nil), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	key := newKey(t, p)
	now := time.Now().Unix()
	claims := map[string]any{"iss": shared.issuer, "sub": b.person.ID, "aud": shared.issuer, "client_id": p.ClientID, "iat": now, "exp": now + 200, "jti": "x", "scope": "openid"}
	refusedAsToken(t, p, "an ID token", tok.IDToken)
	refusedAsToken(t, p, "a token that the client signed", key.sign(t, claims))
	refusedAsToken(t, p, "a token that nobody signed", unsigned(t, claims))
	parts := strings.Split(tok.AccessToken, ".")
	refusedAsToken(t, p, "the ID token's payload under the access token's header", parts[0]+"."+strings.Split(tok.IDToken, ".")[1]+"."+parts[2])
	refusedAsToken(t, p, "the access token under another header", unsigned(t, claims)[:strings.Index(unsigned(t, claims), ".")]+"."+parts[1]+".")
}

// A revoked key takes what it signed with it, at all nodes. It comes first among the tests of tokens, and others get theirs
// from the next key.
func TestB6_103_RevokedKey(t *testing.T) {
	p, b := newParty(t, nil), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	signed := must[*jose.JSONWebSignature](t, "parse")(jose.ParseSignedCompact(tok.AccessToken, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}))
	kid := signed.Signatures[0].Header.KeyID
	if err := shared.admin.RevokeSigningKey(t.Context(), kid); err != nil {
		t.Fatal(err)
	}
	p.dead(t, tok.AccessToken)
	for _, node := range nodes() {
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(send(t, http.MethodGet, node+"/oauth2/jwks", nil, "").body, &set); err != nil || len(set.Key(kid)) != 0 {
			t.Errorf("the key set of %s has the revoked key still, or %v", node, err)
		}
		next := granted(t, "afterwards", p.post(t, node, "/oauth2/token", p.codeForm(b.code(t, p.ask()))))
		p.identity(t, next.IDToken)
	}
}

func TestB6_107_TokensThatAreNotWhole(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	mutations := func(text string) map[string]string {
		return map[string]string{
			"truncated": text[:len(text)-1], "truncated by many": text[:len(text)/2], "extended": text + "A", "lower case": strings.ToLower(text),
			"a space": text + " ", "a dot": text + ".", "the last bits": text[:len(text)-1] + string(text[len(text)-1]^1), "empty": "",
		}
	}
	for name, text := range mutations(tok.AccessToken) {
		if text == "" {
			continue // that is no token at all
		}
		if p.active(t, shared.second.url, text) {
			t.Errorf("access token, %s: active", name)
		}
		if strings.HasSuffix(text, " ") {
			continue // no header has it
		}
		if a := send(t, http.MethodGet, shared.second.url+"/oauth2/userinfo", bearer(text), ""); a.status != http.StatusUnauthorized {
			t.Errorf("access token, %s: %d", name, a.status)
		}
	}
	for name, text := range mutations(tok.RefreshToken) {
		a := p.post(t, shared.second.url, "/oauth2/token", refreshForm(text))
		if a.status != http.StatusBadRequest || a.text("access_token") != "" {
			t.Errorf("refresh token, %s: %d %s", name, a.status, a.body)
		}
	}
	granted(t, "the right one", p.post(t, shared.first.url, "/oauth2/token", refreshForm(tok.RefreshToken)))
}

func TestB6_108_WhoMayIntrospect(t *testing.T) {
	p, b := newParty(t, nil), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	form := url.Values{"token": {tok.AccessToken}}
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	send(t, http.MethodPost, shared.issuer+"/oauth2/introspect", h, form.Encode()).refused(t, "nobody", http.StatusUnauthorized, "invalid_client")
	newParty(t, public).post(t, shared.issuer, "/oauth2/introspect", form).refused(t, "a public client", http.StatusUnauthorized, "invalid_client")
	wrong := *p
	wrong.Secret += "x"
	wrong.post(t, shared.issuer, "/oauth2/introspect", url.Values{"token": {tok.AccessToken}}).refused(t, "a wrong secret", http.StatusUnauthorized, "invalid_client")
	own := bearer(tok.AccessToken)
	own.Set("Content-Type", "application/x-www-form-urlencoded")
	send(t, http.MethodPost, shared.issuer+"/oauth2/introspect", own, url.Values{"token": {tok.AccessToken}}.Encode()).refused(t, "the token itself", http.StatusUnauthorized, "invalid_client")
}

// A token for one resource is nothing to the client of another.
func TestB6_109_TokenForAnotherResource(t *testing.T) {
	const resource = "https://orders.example.org/api"
	p, b := newParty(t, func(in *api.PostClient) { in.Resources = []string{resource} }), newPersonsBrowser(t)
	other := newParty(t, nil)
	tok := p.redeem(t, b.code(t, p.ask(change{"resource": resource})))
	for _, node := range nodes() {
		if !p.active(t, node, tok.AccessToken) {
			t.Error("its own client is told that it is inactive")
		}
		if a := other.post(t, node, "/oauth2/introspect", url.Values{"token": {tok.AccessToken}}); string(bytes.TrimSpace(a.body)) != `{"active":false}` {
			t.Errorf("another client is told %s", a.body)
		}
	}
	if a := send(t, http.MethodGet, shared.issuer+"/oauth2/userinfo", bearer(tok.AccessToken), ""); a.status != http.StatusUnauthorized {
		t.Errorf("B6.102 userinfo takes a token for another resource: %d", a.status)
	}
}

func TestB6_113_114_Revocation(t *testing.T) {
	p, other, b := newParty(t, refreshing), newParty(t, nil), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	for name, token := range map[string]string{"access token": tok.AccessToken, "refresh token": tok.RefreshToken} {
		if a := other.post(t, shared.second.url, "/oauth2/revoke", url.Values{"token": {token}}); a.status != http.StatusBadRequest {
			t.Errorf("B6.113 another client's %s: %d %s", name, a.status, a.body)
		}
	}
	if !p.active(t, shared.first.url, tok.AccessToken) {
		t.Error("B6.113 another client revoked it")
	}
	if a := p.post(t, shared.first.url, "/oauth2/revoke", url.Values{"token": {"nothing"}}); a.status != http.StatusOK {
		t.Errorf("B6.113 an unknown token: %d %s", a.status, a.body)
	}
	tok = granted(t, "refresh", p.post(t, shared.first.url, "/oauth2/token", refreshForm(tok.RefreshToken)))
	if a := p.post(t, shared.first.url, "/oauth2/revoke", url.Values{"token": {tok.RefreshToken}}); a.status != http.StatusOK {
		t.Errorf("B6.114 revoke: %d %s", a.status, a.body)
	}
	p.dead(t, tok.AccessToken)
	p.post(t, shared.second.url, "/oauth2/token", refreshForm(tok.RefreshToken)).refused(t, "B6.114 refresh", http.StatusBadRequest, "invalid_grant")
}

func TestB6_117_KeySet(t *testing.T) {
	for _, path := range []string{"/oauth2/jwks", "/oauth2/connect/keys", "/.well-known/jwks.json"} {
		a := send(t, http.MethodGet, shared.second.url+path, nil, "")
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		if err := json.Unmarshal(a.body, &set); err != nil || len(set.Keys) == 0 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		var kids []string
		for _, key := range set.Keys {
			for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k", "oth"} {
				if _, shown := key[private]; shown {
					t.Errorf("%s shows %s", path, private)
				}
			}
			kid, _ := key["kid"].(string)
			if kid == "" || slices.Contains(kids, kid) {
				t.Errorf("%s: kid %q", path, kid)
			}
			kids = append(kids, kid)
		}
		if head := send(t, http.MethodHead, shared.second.url+path, nil, ""); head.status != http.StatusOK || len(head.body) != 0 {
			t.Errorf("HEAD %s: %d", path, head.status)
		}
		if same := send(t, http.MethodGet, shared.second.url+path, http.Header{"If-None-Match": {a.header.Get("ETag")}}, ""); same.status != http.StatusNotModified {
			t.Errorf("%s with its ETag: %d", path, same.status)
		}
		if post := send(t, http.MethodPost, shared.second.url+path, nil, ""); post.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, post.status)
		}
	}
}

// Discovery is what the configuration says, whoever a request says that we are, and whichever node says it.
func TestB6_118_DiscoveryUnderAnotherName(t *testing.T) {
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		want := send(t, http.MethodGet, shared.issuer+path, nil, "")
		if want.status != http.StatusOK || want.text("issuer") != shared.issuer {
			t.Fatalf("%d %s", want.status, want.body)
		}
		for name, h := range map[string]http.Header{
			"Host": {"Host": {"evil.test"}}, "X-Forwarded-Host": {"X-Forwarded-Host": {"evil.test"}}, "X-Forwarded-Proto": {"X-Forwarded-Proto": {"https"}},
			"Forwarded": {"Forwarded": {"host=evil.test;proto=https"}}, "X-Original-URL": {"X-Original-Url": {"https://evil.test/"}},
			"X-Forwarded-Prefix": {"X-Forwarded-Prefix": {"/evil"}}, "all": {"Host": {"evil.test:443"}, "X-Forwarded-Host": {"evil.test"}, "X-Forwarded-Port": {"443"}, "X-Forwarded-For": {"10.0.0.1"}},
		} {
			for _, node := range nodes() {
				if got := send(t, http.MethodGet, node+path, h, ""); !bytes.Equal(got.body, want.body) {
					t.Errorf("%s with %s at %s: %s", path, name, node, got.body)
				}
			}
		}
	}
}

// What the other node may not keep on believing.
func TestB8_166_DisabledPersonIsNobodyAnywhere(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	tok := p.redeem(t, b.code(t, p.ask()))
	must[*api.User](t, "disable")(shared.admin.DisableUser(t.Context(), b.person.ID))
	p.dead(t, tok.AccessToken)
	for _, node := range nodes() {
		p.post(t, node, "/oauth2/token", refreshForm(tok.RefreshToken)).refused(t, "refresh", http.StatusBadRequest, "invalid_grant")
		eventually(t, "nobody is signed in at "+node, func() error {
			if at := b.open(t, node+"/account").at; at != "/login" {
				return fmt.Errorf("at %s", at)
			}
			return nil
		})
	}
	page := b.open(t, shared.issuer+"/login")
	page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {b.person.Username}, "password": {password}})
	if page.status != http.StatusUnauthorized {
		t.Errorf("signs in anew: %d", page.status)
	}
}

// Two people who use one browser, one after the other, never get each other's tokens.
func TestB8_151_TwoPeopleOneBrowser(t *testing.T) {
	p, b := newParty(t, refreshing), newPersonsBrowser(t)
	alice := b.person
	first := p.redeem(t, b.code(t, p.ask()))
	_, firstClaims := p.identity(t, first.IDToken)
	b.person = newPerson(t)
	second := p.redeem(t, b.code(t, p.ask(change{"prompt": "login"})))
	id, claims := p.identity(t, second.IDToken)
	if id.Subject != b.person.ID || firstClaims["sub"] != alice.ID {
		t.Errorf("the tokens are of %v and %v, want %s and %s", firstClaims["sub"], id.Subject, alice.ID, b.person.ID)
	}
	if sid := claims["sid"]; sid != nil && sid == firstClaims["sid"] {
		t.Errorf("both have session %v", sid)
	}
	if told := userinfo(t, second.AccessToken); told["sub"] != b.person.ID {
		t.Errorf("userinfo tells of %v", told["sub"])
	}
	asked := b.asked
	if next, _ := p.identity(t, p.redeem(t, b.code(t, p.ask())).IDToken); next.Subject != b.person.ID || b.asked != asked {
		t.Errorf("the browser belongs to %s now", next.Subject)
	}
}

// Cookies that nobody made are none.
func TestB8_169_NonsenseInCookies(t *testing.T) {
	b := newPersonsBrowser(t)
	b.walk(t, shared.issuer+"/login")
	u := must[*url.URL](t, "issuer")(url.Parse(shared.issuer))
	var names []string
	for _, c := range b.http.Jar.Cookies(u) {
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		t.Fatal("there are no cookies")
	}
	for _, name := range names {
		for what, value := range map[string]string{"empty": "", "short": "x", "long": strings.Repeat("A", 20<<10), "other bytes": "\u00ff%00%0a", "quoted": `"; x=y`, "JSON": `{"user":"admin"}`} {
			a := send(t, http.MethodGet, shared.second.url+"/account", http.Header{"Cookie": {name + "=" + value}}, "")
			if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/login") {
				t.Errorf("%s, %s: %d %s", name, what, a.status, a.header.Get("Location"))
			}
		}
	}
	many := strings.Repeat("a=b; ", 5000)
	if a := send(t, http.MethodGet, shared.second.url+"/account", http.Header{"Cookie": {many}}, ""); a.status != http.StatusSeeOther && a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("many cookies: %d", a.status)
	}
	if a := send(t, http.MethodGet, shared.second.url+"/account", http.Header{"Cookie": {"a=" + strings.Repeat("A", 1<<20)}}, ""); a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a megabyte: %d", a.status)
	}
}
