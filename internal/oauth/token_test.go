package oauth_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

func TestRealmWithAndWithoutSlash(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		for _, realm := range []string{"services", "/services", "%2Fservices"} {
			r := w.send("POST", "/oauth2/access_token?realm="+realm, passwordForm, us)
			if r.status != 200 || r.text("realm") != "services" {
				t.Errorf("realm=%s: %d %s", realm, r.status, r.body)
			}
		}
	})
}

func TestRealmOutwardFormIsASetting(t *testing.T) {
	w := one(t, func(_ *world, o *oauth.Options) { o.SlashRealms = true })
	r := w.send("POST", "/oauth2/access_token?realm=services", passwordForm, us)
	if r.text("realm") != "/services" {
		t.Errorf("the answer's realm is %q", r.text("realm"))
	}
	tok := r.text("access_token")
	if got := payloadOf(t, tok)["realm"]; got != "/services" {
		t.Errorf("the token's realm is %v", got)
	}
	if got := w.send("GET", "/oauth2/tokeninfo", "", bearer(tok)).text("realm"); got != "/services" {
		t.Errorf("tokeninfo's realm is %q", got)
	}
	// A token made under the other setting stays valid.
	c, err := w.server.Verifier().Verify(t.Context(), tok, oauth.VerifyOptions{})
	if err != nil || c.Realm != "services" {
		t.Errorf("verify: %+v, %v", c, err)
	}
}

// seedRequest is request.json as a person types it; curl -d takes the line breaks out.
const seedRequest = `{    "grant_type": "password",    "username": "my-username",    "password": "my-password",    "scope": "uid sales_order.read_all"}`

func TestCurlWithAFile(t *testing.T) {
	w := one(t)
	for name, body := range map[string]string{"as curl sends it": seedRequest, "with line breaks": "\r\n\t " + strings.ReplaceAll(seedRequest, "    ", "\n    ")} {
		for _, ct := range []string{"application/x-www-form-urlencoded", "application/json", "text/plain", ""} {
			r := w.send("POST", "/oauth2/access_token?realm=services", body, us, header("Content-Type", ct))
			if r.status != 200 || r.text("access_token") == "" {
				t.Errorf("%s as %q: %d %s", name, ct, r.status, r.body)
			}
		}
	}
}

func TestPasswordThatLooksLikeAForm(t *testing.T) {
	w := one(t)
	const password = `a&b=c%zz+ü"`
	w.users.passwords["my-username"] = []string{password}
	r := w.send("POST", "/oauth2/access_token?realm=services", `{"grant_type":"password","username":"my-username","password":"a&b=c%zz+ü\"","scope":"uid"}`, us)
	if r.status != 200 {
		t.Errorf("as JSON: %d %s", r.status, r.body)
	}
	r = w.send("POST", "/oauth2/token?realm=services", "grant_type=password&username=my-username&password="+url.QueryEscape(password), us)
	if r.status != 200 {
		t.Errorf("as a form: %d %s", r.status, r.body)
	}
}

func TestScopeAsArray(t *testing.T) {
	w := one(t)
	r := w.send("POST", "/oauth2/access_token?realm=services", `{"grant_type":"password","username":"my-username","password":"my-password","scope":["uid","sales_order.read_all"]}`, us)
	if r.text("scope") != "sales_order.read_all uid" {
		t.Errorf("%d %s", r.status, r.body)
	}
}

func TestAnswer(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		r := w.send("POST", "/oauth2/access_token?realm=services", passwordForm, us)
		token := r.text("access_token")
		want := map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 28800.0, "scope": "sales_order.read_all uid", "realm": "services"}
		if diff := cmp.Diff(want, r.json); r.status != 200 || diff != "" {
			t.Errorf("%d, -want +got:\n%s", r.status, diff)
		}
		for name, value := range map[string]string{"Cache-Control": "no-store", "Pragma": "no-cache", "Content-Type": "application/json"} {
			if got := r.header.Get(name); got != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		claims := payloadOf(t, token)
		jti, _ := claims["jti"].(string)
		wantClaims := map[string]any{
			"iss": issuer, "sub": "my-username", "aud": issuer, "client_id": "my-client-id", "realm": "services", "jti": jti,
			"scope": []any{"uid", "sales_order.read_all"}, // in the order asked for
			"iat":   float64(begin.Unix()), "exp": float64(begin.Add(8 * time.Hour).Unix()),
		}
		if diff := cmp.Diff(wantClaims, claims); diff != "" || jti == "" {
			t.Errorf("claims, -want +got:\n%s", diff)
		}
	})
}

func TestAzpOnlyOnRequest(t *testing.T) {
	w := one(t)
	r := w.send("POST", "/oauth2/token?realm=services", "grant_type=password&username=my-username&password=my-password&scope=azp", us)
	tok := r.text("access_token")
	if got := payloadOf(t, tok)["azp"]; got != "my-client-id" {
		t.Errorf("azp is %v", got)
	}
	if got := w.send("GET", "/oauth2/tokeninfo", "", bearer(tok)).text("client_id"); got != "my-client-id" {
		t.Errorf("client_id of tokeninfo is %q", got)
	}
}

func TestLifetimeBelongsToTheRealm(t *testing.T) {
	w := one(t, func(_ *world, o *oauth.Options) {
		o.Lifetimes.Realms = map[string]registry.RealmLifetimes{"services": {Access: time.Hour}}
	})
	if r := w.send("POST", "/oauth2/token?realm=services", passwordForm, us); r.json["expires_in"] != 3600.0 {
		t.Errorf("%s", r.body)
	}
}

func TestClientCredentialsMissingOrWrong(t *testing.T) {
	w := one(t)
	const alias, strict = "/oauth2/access_token?realm=services", "/oauth2/token?realm=services"
	w.expect(w.send("POST", alias, passwordForm), 400, "invalid_client")
	w.expect(w.send("POST", alias, passwordForm, header("Authorization", "Basic !!!")), 400, "invalid_client")
	w.expect(w.send("POST", strict, passwordForm), 401, "invalid_client")
	for _, target := range []string{alias, strict} {
		for name, option := range map[string]with{"wrong": auth("my-client-id", "wrong"), "unknown": auth("nobody", "my-client-secret")} {
			r := w.send("POST", target, passwordForm, option)
			w.expect(r, 401, "invalid_client")
			if got := r.header.Get("WWW-Authenticate"); got != `Basic realm="mintmark"` {
				t.Errorf("%s, %s: WWW-Authenticate is %q", target, name, got)
			}
		}
	}
}

func TestWrongUserAndWrongPasswordLookAlike(t *testing.T) {
	w := one(t)
	var bodies []string
	for _, f := range []string{
		"grant_type=password&username=nobody&password=my-password",
		"grant_type=password&username=my-username&password=wrong",
		"grant_type=password&username=other-username&password=other-password", // right, but of another application
		"grant_type=password&username=+&password=x",
		"grant_type=password&username=my-username&password=",
	} {
		r := w.send("POST", "/oauth2/access_token?realm=services", f, us)
		w.expect(r, 400, "invalid_grant")
		bodies = append(bodies, r.body)
	}
	for _, b := range bodies[1:] {
		if b != bodies[0] {
			t.Errorf("two bodies: %s and %s", bodies[0], b)
		}
	}
}

func TestBlankIsRefusedWithoutALookup(t *testing.T) {
	w := one(t)
	for _, f := range []string{"username=&password=x", "username=x&password=", "username=x", "password=x", "username=%20%09&password=x"} {
		w.expect(w.send("POST", "/oauth2/access_token?realm=services", "grant_type=password&"+f, us), 400, "invalid_grant")
	}
	if n := w.users.asked.Load() + w.clients.asked.Load(); n != 0 {
		t.Errorf("%d lookups", n)
	}
}

func TestNoScopeGivesTheDefaults(t *testing.T) {
	w := one(t)
	w.changeClient("my-client-id", func(c *oauth.Client) { c.DefaultScopes = []string{"uid", "sales_order.read"} })
	if r := w.send("POST", "/oauth2/token?realm=services", "grant_type=password&username=my-username&password=my-password", us); r.text("scope") != "sales_order.read uid" {
		t.Errorf("%d %s", r.status, r.body)
	}
	w.changeClient("my-client-id", func(c *oauth.Client) { c.DefaultScopes, c.Scopes = nil, nil })
	for _, scope := range []string{"", "&scope=", "&scope=+", "&scope=uid"} {
		if r := w.send("POST", "/oauth2/token?realm=services", "grant_type=password&username=my-username&password=my-password"+scope, us); r.text("scope") != "uid" {
			t.Errorf("%q: %d %s", scope, r.status, r.body)
		}
	}
}

func TestRealmFromTheHost(t *testing.T) {
	w := one(t)
	w.expect(w.send("POST", "/oauth2/access_token", passwordForm, us, host("auth.example.com")), 400, "missing_realm")
	w.expect(w.send("POST", "/oauth2/token", passwordForm, us, host("auth.example.com:8080")), 400, "missing_realm")
	for _, h := range []string{"token.services.example.org", "services:8080", "token-services.example.org"} {
		if r := w.send("POST", "/oauth2/access_token", passwordForm, us, host(h)); r.status != 200 {
			t.Errorf("%s: %d %s", h, r.status, r.body)
		}
	}
}

func TestUnknownRealmAndMethods(t *testing.T) {
	w := one(t)
	for _, realm := range []string{"nowhere", "//services", "SERVICES", "services/", strings.Repeat("x", 5000)} {
		w.expect(w.send("POST", "/oauth2/access_token?realm="+realm, passwordForm, us), 400, "realm_not_found")
	}
	if r := w.send("POST", "/oauth2/access_token?realm=nowhere", passwordForm, us); r.text("error_description") != "nowhere not found" {
		t.Errorf("%s", r.body)
	}
	if r := w.send("POST", "/oauth2/access_token?realm=services%00", passwordForm, us); r.status != 400 {
		t.Errorf("NUL: %d %s", r.status, r.body)
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/access_token", "/z/oauth2/access_token", "/oauth2/introspect", "/oauth2/revoke"} {
		for _, method := range []string{"GET", "PUT", "HEAD", "DELETE", "TRACE"} {
			r := w.send(method, path+"?realm=services&"+passwordForm, "", us)
			if r.status != 405 || r.header.Get("Allow") != "POST" {
				t.Errorf("%s %s: %d, Allow: %q", method, path, r.status, r.header.Get("Allow"))
			}
		}
	}
}

func TestParametersInTheAddress(t *testing.T) {
	w := one(t)
	// The strict endpoint takes none but the realm from there; the alias takes no secret from there.
	w.expect(w.send("POST", "/oauth2/token?realm=services&"+passwordForm, "", us), 400, "invalid_request")
	w.expect(w.send("POST", "/oauth2/access_token?realm=services&"+passwordForm, "", us), 400, "invalid_request")
	r := w.send("POST", "/oauth2/access_token?realm=services&grant_type=password&scope=uid&username=somebody", "username=my-username&password=my-password", us)
	if r.status != 200 || r.text("scope") != "uid" {
		t.Errorf("the body wins over the query: %d %s", r.status, r.body)
	}
}

func TestContentTypes(t *testing.T) {
	w := one(t)
	for _, ct := range []string{"application/json", "multipart/form-data; boundary=x", "text/plain", "", "application/x-www-form-urlencodedx"} {
		for _, path := range []string{"/oauth2/token?realm=services", "/oauth2/introspect", "/oauth2/revoke"} {
			w.expect(w.send("POST", path, passwordForm, us, header("Content-Type", ct)), 415, "invalid_request")
		}
	}
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm, us, header("Content-Encoding", "gzip")), 415, "invalid_request")
	if r := w.send("POST", "/oauth2/token?realm=services", passwordForm, us, header("Content-Type", "Application/X-WWW-Form-URLencoded; charset=UTF-8")); r.status != 200 {
		t.Errorf("a charset is harmless: %d %s", r.status, r.body)
	}
}

func TestDuplicates(t *testing.T) {
	w := one(t)
	for _, path := range []string{"/oauth2/token", "/oauth2/access_token"} {
		for _, twice := range []string{"grant_type=password", "scope=uid", "realm=services&realm=services", "unknown=1&unknown=1"} {
			w.expect(w.send("POST", path+"?realm=services", passwordForm+"&"+twice, us), 400, "invalid_request")
		}
		w.expect(w.send("POST", path+"?realm=services&realm=services", passwordForm, us), 400, "invalid_request")
	}
	w.expect(w.send("POST", "/oauth2/access_token?realm=services", `{"grant_type":"password","grant_type":"password"}`, us), 400, "invalid_request")
	// In body and query at once, the body's realm is the one.
	w.expect(w.send("POST", "/oauth2/access_token?realm=services", passwordForm+"&realm=employees", us), 400, "unauthorized_client")
}

func TestTwoWaysToAuthenticate(t *testing.T) {
	w := one(t)
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm+"&client_id=my-client-id&client_secret=my-client-secret", us), 400, "invalid_request")
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm+"&client_id=other-client-id", us), 400, "invalid_request")
	// The legacy endpoint takes the form, as it always has.
	r := w.send("POST", "/oauth2/access_token?realm=services", passwordForm+"&client_id=my-client-id&client_secret=my-client-secret", auth("other-client-id", "wrong"))
	if r.status != 200 {
		t.Errorf("legacy: %d %s", r.status, r.body)
	}
	// Half a pair in the form is none.
	if r := w.send("POST", "/oauth2/access_token?realm=services", passwordForm+"&client_secret=wrong", us); r.status != 200 {
		t.Errorf("legacy, secret without id in the form: %d %s", r.status, r.body)
	}
	if r := w.send("POST", "/oauth2/token?realm=services", passwordForm+"&client_id=my-client-id&client_secret=my-client-secret"); r.status != 200 {
		t.Errorf("client_secret_post: %d %s", r.status, r.body)
	}
}

func TestBasic(t *testing.T) {
	w := one(t)
	for name, value := range map[string]string{
		"bad base64": "Basic ###", "no colon": "Basic bXktY2xpZW50LWlk", "empty": "Basic ", "empty id": "Basic OnNlY3JldA==",
		"NUL": "Basic bXktY2xpZW50LWlkOgA=", "not UTF-8": "Basic bXktY2xpZW50LWlkOv8=", "long": "Basic " + strings.Repeat("QUFB", 250_000),
	} {
		r := w.send("POST", "/oauth2/token?realm=services", passwordForm, header("Authorization", value))
		if r.status != 401 || r.text("error") != "invalid_client" {
			t.Errorf("%s: %d %.200s", name, r.status, r.body)
		}
	}
	for _, secret := range []string{":/%", "a:b/c%2Bd", "100%", "%zz", "a+b", "p ü"} {
		w.clients.secrets["my-client-id"] = []string{secret}
		if r := w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("my-client-id", secret)); r.status != 200 {
			t.Errorf("%q raw: %d %s", secret, r.status, r.body)
		}
		if r := w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("my-client-id", url.QueryEscape(secret))); r.status != 200 {
			t.Errorf("%q encoded: %d %s", secret, r.status, r.body)
		}
		if r := w.send("POST", "/oauth2/token?realm=services", passwordForm, header("Authorization", strings.Replace(basicOf("my-client-id", secret), "Basic", "bAsIc", 1))); r.status != 200 {
			t.Errorf("%q by another spelling of the scheme: %d %s", secret, r.status, r.body)
		}
	}
}

func TestTwoAuthorizationHeaders(t *testing.T) {
	w := one(t)
	r := w.send("POST", "/oauth2/token?realm=services", passwordForm, us, func(r *http.Request) {
		r.Header.Add("Authorization", basicOf("other-client-id", "other-client-secret"))
	})
	w.expect(r, 401, "invalid_client")
}

func basicOf(id, secret string) string {
	r, _ := http.NewRequest("GET", "/", nil)
	auth(id, secret)(r)
	return r.Header.Get("Authorization")
}

func TestEmptyAndMissingSecret(t *testing.T) {
	w := one(t)
	w.clients.secrets["my-client-id"] = []string{"", "my-client-secret"}
	for name, r := range map[string]reply{
		"empty in the header": w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("my-client-id", "")),
		"empty in the form":   w.send("POST", "/oauth2/token?realm=services", passwordForm+"&client_id=my-client-id&client_secret="),
		"missing":             w.send("POST", "/oauth2/token?realm=services", passwordForm+"&client_id=my-client-id"),
	} {
		t.Run(name, func(t *testing.T) { w.expect(r, 401, "invalid_client") })
	}
}

func TestDisabledClient(t *testing.T) {
	w := one(t)
	token := w.token()
	w.changeClient("my-client-id", func(c *oauth.Client) { c.Enabled = false })
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm, us), 401, "invalid_client")
	w.expect(w.send("POST", "/oauth2/token", "grant_type=client_credentials", us), 401, "invalid_client")
	w.expect(w.send("POST", "/oauth2/introspect", "token="+token, us), 401, "invalid_client")
	w.expect(w.send("POST", "/oauth2/revoke", "token="+token, us), 401, "invalid_client")
	w.expect(w.send("GET", "/oauth2/tokeninfo", "", bearer(token)), 401, "invalid_token")
}

func TestGrantsThatAreNotAllowed(t *testing.T) {
	w := one(t)
	w.expect(w.send("POST", "/oauth2/token?realm=services", "username=my-username", us), 400, "invalid_request")
	w.expect(w.send("POST", "/oauth2/token?realm=services", "grant_type=implicit", us), 400, "unsupported_grant_type")
	w.expect(w.send("POST", "/z/oauth2/access_token?realm=services", "grant_type=client_credentials", us), 400, "unsupported_grant_type")
	if r := w.send("POST", "/z/oauth2/access_token?realm=services", passwordForm, us); r.status != 200 {
		t.Errorf("password on /z: %d %s", r.status, r.body)
	}
	w.changeClient("my-client-id", func(c *oauth.Client) { c.GrantTypes = nil })
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm, us), 400, "unauthorized_client")
	w.expect(w.send("POST", "/oauth2/token", "grant_type=client_credentials", us), 400, "unauthorized_client")
}

func TestTooManyWrongSecrets(t *testing.T) {
	w := one(t)
	wrong := auth("my-client-id", "wrong")
	here, there := from("192.0.2.1:1234"), from("192.0.2.2:1234")
	for range 50 {
		w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm, wrong, here), 401, "invalid_client")
	}
	r := w.send("POST", "/oauth2/token?realm=services", passwordForm, wrong, here)
	w.expect(r, 429, "slow_down")
	if r.header.Get("Retry-After") != "600" {
		t.Errorf("Retry-After is %q", r.header.Get("Retry-After"))
	}
	if r := w.send("POST", "/oauth2/token?realm=services", passwordForm, us, there); r.status != 200 {
		t.Errorf("the right secret from elsewhere: %d %s", r.status, r.body)
	}
	if r := w.send("POST", "/oauth2/token", "grant_type=client_credentials", auth("other-client-id", "other-client-secret"), here); r.status != 200 {
		t.Errorf("another client from here: %d %s", r.status, r.body)
	}
	w.clock.Advance(10 * time.Minute)
	if r := w.send("POST", "/oauth2/token?realm=services", passwordForm, us, here); r.status != 200 {
		t.Errorf("after the window: %d %s", r.status, r.body)
	}
}

func TestClientCredentials(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		r := w.send("POST", "/oauth2/token", "grant_type=client_credentials&scope=sales_order.read_all", us)
		if r.status != 200 || r.json["refresh_token"] != nil || r.text("realm") != "services" {
			t.Fatalf("%d %s", r.status, r.body)
		}
		claims := payloadOf(t, r.text("access_token"))
		if claims["sub"] != "my-client-id" || claims["gty"] != "client_credentials" {
			t.Errorf("claims: %v", claims)
		}
		info := w.send("GET", "/oauth2/tokeninfo", "", bearer(r.text("access_token")))
		if info.text("grant_type") != "client_credentials" || info.text("uid") != "my-client-id" {
			t.Errorf("tokeninfo: %s", info.body)
		}
		w.changeClient("my-client-id", func(c *oauth.Client) { c.Confidential = false })
		w.expect(w.send("POST", "/oauth2/token", "grant_type=client_credentials", us), 400, "unauthorized_client")
		w.expect(w.send("POST", "/oauth2/token", "grant_type=client_credentials&client_id=my-client-id"), 400, "unauthorized_client")
	})
}

func TestPublicClientInThePasswordGrant(t *testing.T) {
	w := one(t)
	w.changeClient("my-client-id", func(c *oauth.Client) { c.Confidential = false })
	for name, r := range map[string]reply{
		"any secret": w.send("POST", "/oauth2/access_token?realm=services", passwordForm, auth("my-client-id", "whatever")),
		"no secret":  w.send("POST", "/oauth2/access_token?realm=services", passwordForm+"&client_id=my-client-id"),
	} {
		if r.status != 200 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
}

func TestScopesThatAreRefused(t *testing.T) {
	w := one(t)
	const cc = "grant_type=client_credentials&scope="
	r := w.send("POST", "/oauth2/token", cc+"uid+sales_order.write+creditcard.read", us)
	w.expect(r, 400, "invalid_scope")
	if d := r.text("error_description"); !strings.Contains(d, "sales_order.write creditcard.read") || strings.Contains(d, "uid") {
		t.Errorf("it does not name what is refused: %s", d)
	}
	for name, scope := range map[string]string{
		"quote": "a%22b", "backslash": "a%5Cb", "not ASCII": "%C3%BC", "tab": "a%09b",
		"long": strings.Repeat("a", 5000), "many": strings.Repeat("a+", 20) + manyScopes(65),
	} {
		t.Run(name, func(t *testing.T) { w.expect(w.send("POST", "/oauth2/token", cc+scope, us), 400, "invalid_scope") })
	}
	if r := w.send("POST", "/oauth2/token", cc+"uid+uid++uid", us); r.text("scope") != "uid" {
		t.Errorf("repeated: %s", r.body)
	}
}

func manyScopes(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("s%d", i))
	}
	return strings.Join(list, "+")
}

func TestPasswordGrantIsForServiceUsers(t *testing.T) {
	w := one(t)
	for _, realm := range []string{"employees", "/employees", "employee", "customers"} {
		w.expect(w.send("POST", "/oauth2/access_token?realm="+realm, passwordForm, us), 400, "unauthorized_client")
	}
	if n := w.users.asked.Load(); n != 0 {
		t.Errorf("%d lookups of a user", n)
	}
}

func TestUserOfAnotherApplication(t *testing.T) {
	w := one(t)
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("other-client-id", "other-client-secret")), 400, "invalid_grant")
	w.changeClient("other-client-id", func(c *oauth.Client) { c.Application = "" })
	w.users.apps["my-username"] = ""
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm, auth("other-client-id", "other-client-secret")), 400, "invalid_grant")
}

func TestBodies(t *testing.T) {
	w := one(t)
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"truncated":       {`{"grant_type":"password"`, 400},
		"not an object":   {`{`, 400},
		"something after": {seedRequest + "x", 400},
		"deep":            {`{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, 400},
		"not UTF-8":       {"{\"grant_type\":\"\xff\"}", 400},
		"NUL":             {`{"grant_type":"password","username":"a\u0000b","password":"x"}`, 400},
		"half a pair":     {`{"grant_type":"password","username":"\ud800","password":"x"}`, 400},
		"number":          {`{"grant_type":"password","username":1,"password":"x"}`, 400},
		"list":            {`{"grant_type":"password","username":["a"],"password":"x"}`, 400},
		"list of numbers": {`{"grant_type":"password","username":"a","password":"x","scope":[1]}`, 400},
		"huge number":     {`{"other":1e400}`, 400},
		"many members":    {"{" + strings.TrimSuffix(strings.Repeat(`"a":1,`, 5000), ",") + "}", 400},
		"large":           {`{"x":"` + strings.Repeat("a", 64<<10) + `"}`, 413},
		"many fields":     {strings.Repeat("a&", 30_000), 400},
		"bad escape":      {"grant_type=%zz", 400},
		"form not UTF-8":  {"grant_type=%ff", 400},
		"form NUL":        {"grant_type=a%00", 400},
		"empty":           {"", 400},
	} {
		t.Run(name, func(t *testing.T) {
			w.expect(w.send("POST", "/oauth2/access_token?realm=services", c.body, us), c.status, "invalid_request")
		})
	}
	w.expect(w.send("POST", "/oauth2/token?"+strings.Repeat("a=1&", 100_000), passwordForm, us), 400, "invalid_request")
	if r := w.send("POST", "/oauth2/access_token?realm=services", strings.TrimSuffix(seedRequest, "}")+`,"business_partner_id":"810d1d00","extra":{"a":[1,true,null]}}`, us); r.status != 200 {
		t.Errorf("what is not known is ignored: %d %s", r.status, r.body)
	}
}

func TestOutagesSayNothing(t *testing.T) {
	w := one(t)
	check := func(name string, r reply) {
		t.Helper()
		w.expect(r, 503, "temporarily_unavailable")
		if r.header.Get("Retry-After") == "" || strings.Contains(r.body, "10.0.0.1") {
			t.Errorf("%s: %v %s", name, r.header, r.body)
		}
	}
	w.users.down = errDown
	check("users", w.send("POST", "/oauth2/token?realm=services", passwordForm, us))
	w.clients.down = errDown
	check("clients", w.send("POST", "/oauth2/token?realm=services", passwordForm, us))
	w.clients.down = fault.Wrap(errDown, fault.Internal, "broken", "secret host")
	w.expect(w.send("POST", "/oauth2/token?realm=services", passwordForm, us), 500, "server_error")
}
