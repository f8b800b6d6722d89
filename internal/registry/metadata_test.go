package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/registry"
)

const kioClient = "/api/applications/kio/client"

// everything is metadata with each member said, as an owner may say it.
func everything() api.ClientMetadata {
	return api.ClientMetadata{
		AuthMethod: "private_key_jwt", AuthAlg: "PS256",
		IDTokenAlg: "RS256", IDTokenKeyAlg: "RSA-OAEP", IDTokenEnc: "A256GCM", UserinfoAlg: "EdDSA", UserinfoKeyAlg: "ECDH-ES", UserinfoEnc: "A128GCM",
		AuthorizationAlg: "ES256", IntrospectionAlg: "ES256",
		RequestObjectAlg: "RS256", RequireRequestObject: true, RequirePAR: true, DefaultMaxAge: 600, RequireAuthTime: true, DefaultACRs: []string{"2"},
		SubjectType: "pairwise", Sector: "kio.example.org",
		BackchannelLogoutURI: "https://kio.example.org/back", BackchannelSessionRequired: true,
		FrontchannelLogoutURI: "https://kio.example.org/front", FrontchannelSessionRequired: true,
		ClientURI: "https://kio.example.org/", LogoURI: "https://cdn.example.org/logo.png", PolicyURI: "https://kio.example.org/policy", TermsURI: "https://kio.example.org/terms",
		Contacts: []string{"Jane <jane@example.org>"}, InitiateLoginURI: "https://kio.example.org/login", SoftwareID: "kio", SoftwareVersion: "1",
		Origins: []string{"https://app.example.org:8443", "http://localhost:3000"}, Resources: []string{"https://api.example.org", "urn:example:api"},
		AccessTokenLife: 300, IDTokenLife: 600, RefreshIdleLife: 3600, RefreshAbsoluteLife: 7200,
	}
}

func metadataBody(t *testing.T, m api.ClientMetadata) string {
	t.Helper()
	b, err := json.Marshal(api.PutClientSettings{RedirectURIs: []string{"https://kio.example.org/cb"}, GrantTypes: []string{"authorization_code"}, ClientMetadata: m})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// encryptable gives the client keys that can be encrypted for: one by RSA-OAEP, one by ECDH-ES.
func (w *world) encryptable(clientID string) {
	w.t.Helper()
	r, err1 := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2); err != nil {
		w.t.Fatal(err)
	}
	for kid, public := range map[string]any{"r": r.Public(), "e": e.Public()} {
		b, err := json.Marshal(jose.JSONWebKey{Key: public, KeyID: kid, Use: "enc"})
		if err != nil {
			w.t.Fatal(err)
		}
		w.write(func(tx db.WriteTx) error {
			_, err := w.r.AddKey(ctx, tx, access.SystemCaller("test"), clientID, kid, b, time.Time{})
			return err
		})
	}
}

func TestMetadataIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		a := w.app("kio")
		// Nothing is encrypted for a client that could not read it.
		if got := call(h, "jane", "PUT", kioClient, metadataBody(t, everything())); got.status != 400 || !strings.Contains(got.body, "encrypted_response_alg") {
			t.Errorf("without a key to encrypt for: %d %s", got.status, got.body)
		}
		w.encryptable(a.ClientID)
		if got := call(h, "jane", "PUT", kioClient, metadataBody(t, everything())); got.status != 200 {
			t.Fatalf("put: %d %s", got.status, got.body)
		}
		var got api.ClientSettings
		if err := json.Unmarshal([]byte(call(h, "joe", "GET", kioClient, "").body), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(everything(), got.ClientMetadata); diff != "" {
			t.Error(diff)
		}
		c, err := w.r.Clients().Client(ctx, a.ClientID)
		if err != nil {
			t.Fatal(err)
		}
		if m := c.Metadata; m.AccessTokenLife != 5*time.Minute || m.Sector != "kio.example.org" || m.AuthMethod != registry.AuthPrivateKeyJWT || m.DefaultMaxAge != 10*time.Minute {
			t.Errorf("in memory: %+v", m)
		}
	})
}

// What nobody can mean is refused, each with the member that is wrong.
func TestBadMetadata(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		long := "https://kio.example.org/" + strings.Repeat("a", 1000)
		for member, values := range map[string][]string{
			"token_endpoint_auth_method":            {`"none"`, `"tls_client_auth"`, `""`, `7`},
			"token_endpoint_auth_signing_alg":       {`"RS256"`, `"none"`, `"HS256"`},
			"response_types":                        {`["token"]`, `["code token"]`, `["none"]`, `["code code"]`, `"code"`},
			"id_token_signed_response_alg":          {`"none"`, `"HS256"`, `"PS256"`, `"rs256"`},
			"id_token_encrypted_response_alg":       {`"RSA1_5"`, `"dir"`, `"none"`, `"A128KW"`},
			"id_token_encrypted_response_enc":       {`"A128GCM"`, `"none"`},
			"userinfo_signed_response_alg":          {`"none"`},
			"userinfo_encrypted_response_alg":       {`"RSA1_5"`},
			"userinfo_encrypted_response_enc":       {`"A256GCM"`},
			"authorization_signed_response_alg":     {`"none"`},
			"introspection_signed_response_alg":     {`"none"`},
			"request_object_signing_alg":            {`"none"`, `"HS256"`},
			"default_max_age":                       {`-1`, `99999999999`, `1.5`, `"600"`},
			"default_acr_values":                    {`["a b"]`, `[""]`, `[null]`},
			"subject_type":                          {`"private"`},
			"sector":                                {`"evil.test"`, `"kio.example.org"`},
			"backchannel_logout_uri":                {`"http://kio.example.org/"`, `"javascript:alert(1)"`, `"https://a@evil.test/"`, `"https://kio.example.org/#x"`, `"com.example.app:/x"`, `"https://KIO.example.org/"`},
			"frontchannel_logout_uri":               {`"https://other.example.org/"`, `"https://kio.example.org:444/"`, `"data:text/html,x"`},
			"client_uri":                            {`"javascript:alert(1)"`, `"JaVaScRiPt:alert(1)"`, `"//evil.test"`, `"` + long + `"`},
			"logo_uri":                              {`"data:image/svg+xml,x"`, `"vbscript:x"`, `"blob:https://kio.example.org/x"`},
			"policy_uri":                            {`"file:///etc/passwd"`},
			"tos_uri":                               {`"http://kio.example.org/"`, `"javascript:alert(1)"`},
			"initiate_login_uri":                    {`"https://kio.example.org/\n"`},
			"contacts":                              {`["Jane\u202eenaJ"]`, `["\u200b"]`, `[""]`, `["` + strings.Repeat("a", 201) + `"]`},
			"software_id":                           {`"a\u0007"`},
			"allowed_origins":                       {`["*"]`, `["null"]`, `["https://app.example.org/"]`, `["https://app.example.org:443"]`, `["https://*.example.org"]`, `["http://app.example.org"]`, `["https://localhost.evil.test","https://localhost.evil.test"]`},
			"resources":                             {`["api"]`, `["https://api.example.org/#x"]`, `["javascript:alert(1)"]`, `["https://a b/"]`},
			"access_token_lifetime":                 {`9`, `86401`, `-1`, `9223372036854775807`},
			"refresh_token_idle_lifetime":           {`157680001`},
			"jwks_uri":                              {`"https://kio.example.org/jwks"`}, // nothing is called here
			"sector_identifier_uri":                 {`"https://kio.example.org/sector"`},
			"client_id":                             {`"cli_x"`},
			"trusted":                               {`true`},
			"frontchannel_logout_session_required":  {`"yes"`},
			"require_pushed_authorization_requests": {`1`},
		} {
			for _, value := range values {
				body := `{"redirect_uris":["https://kio.example.org/cb"],"grant_types":["authorization_code"],"` + member + `":` + value + `}`
				got := call(h, "jane", "PUT", kioClient, body)
				if got.status != 400 || !strings.Contains(got.body, member) {
					t.Errorf("%s %s: %d %s", member, value, got.status, got.body)
				}
			}
		}
		for name, body := range map[string]string{
			"pairwise, several hosts": `{"redirect_uris":["https://a.example/cb","https://b.example/cb"],"subject_type":"pairwise"}`,
			"HS256 for a key":         `{"token_endpoint_auth_method":"private_key_jwt","token_endpoint_auth_signing_alg":"HS256"}`,
			"RS256 for a secret":      `{"token_endpoint_auth_method":"client_secret_jwt","token_endpoint_auth_signing_alg":"RS256"}`,
			"idle beyond absolute":    `{"refresh_token_idle_lifetime":200,"refresh_token_absolute_lifetime":100}`,
		} {
			if got := call(h, "jane", "PUT", kioClient, body); got.status != 400 || !strings.Contains(got.body, "invalid_client_metadata") {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	})
}

// What makes a client trusted is given by administrators alone. An owner keeps it, and can give it up.
func TestTrustIsGivenByAdministrators(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		for name, members := range map[string]string{
			"implicit":        `"grant_types":["authorization_code","implicit"]`,
			"response types":  `"grant_types":["authorization_code","implicit"],"response_types":["token id_token"]`,
			"first party":     `"first_party":true`,
			"person scopes":   `"person_scopes":["groups"]`,
			"without PKCE":    `"pkce_optional":true`,
			"password":        `"person_password":true`,
			"access token":    `"access_token_lifetime":28801`,
			"ID token":        `"id_token_lifetime":28801`,
			"refresh, idle":   `"refresh_token_idle_lifetime":7776001`,
			"refresh, in all": `"refresh_token_absolute_lifetime":31536001`,
		} {
			plain := `{"redirect_uris":["https://kio.example.org/cb"]}`
			body := `{"redirect_uris":["https://kio.example.org/cb"],` + members + `}`
			for _, step := range []struct {
				who, what, body string
				want            int
			}{
				{"jane", "takes it", body, 403},
				{"admin", "gives it", body, 200},
				{"jane", "keeps it", body, 200},
				{"jane", "gives it up", plain, 200},
				{"jane", "takes it again", body, 403},
			} {
				got := call(h, step.who, "PUT", kioClient, step.body)
				if got.status != step.want || got.status == 403 && !strings.Contains(got.body, "Only an administrator") {
					t.Errorf("%s: %s %s: %d %s", name, step.who, step.what, got.status, got.body)
				}
			}
		}
	})
}

// The words of a response type stand in one order, and code needs no mention.
func TestResponseTypesInOneOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.app("kio")
		got := call(w.serve(), "admin", "PUT", kioClient, `{"redirect_uris":["https://kio.example.org/cb"],"grant_types":["authorization_code","implicit","urn:ietf:params:oauth:grant-type:device_code","urn:ietf:params:oauth:grant-type:jwt-bearer"],"response_types":["code","token id_token","id_token code"]}`)
		if got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
		c, err := w.r.Clients().Client(ctx, a.ClientID)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"id_token token", "code id_token"}, c.Metadata.ResponseTypes); diff != "" {
			t.Error(diff)
		}
		for _, g := range []string{registry.GrantImplicit, registry.GrantDeviceCode, registry.GrantJWTBearer, registry.GrantRefreshToken, registry.GrantAuthorizationCode} {
			if !c.May(g) {
				t.Errorf("it may not %s", g)
			}
		}
		if !c.MayRespond("id_token token") || c.MayRespond("token") || c.May(registry.GrantPassword) {
			t.Errorf("%+v", c)
		}
	})
}
