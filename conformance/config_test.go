package conformance_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
)

// The plan oidcc-config-certification-test-plan: what discovery says is there, and nothing else.
func TestConfigPlan(t *testing.T) {
	m := metadata(t)
	list := func(name string) (texts []string) {
		values, _ := m[name].([]any)
		for _, v := range values {
			s, _ := v.(string)
			texts = append(texts, s)
		}
		return texts
	}
	t.Run("oidcc-discovery-endpoint-verification", func(t *testing.T) {
		for _, name := range []string{"issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
			text, _ := m[name].(string)
			u, err := url.Parse(text)
			if err != nil || !strings.HasPrefix(text, shared.issuer) || u.Fragment != "" || u.RawQuery != "" {
				t.Errorf("%s is %q", name, text)
			}
		}
		for name, want := range map[string]string{
			"response_types_supported": "code", "subject_types_supported": "public", "scopes_supported": "openid", "grant_types_supported": "authorization_code",
			"response_modes_supported": "form_post", "claims_supported": "sub", "code_challenge_methods_supported": "S256", "token_endpoint_auth_methods_supported": "client_secret_basic",
		} {
			if !slices.Contains(list(name), want) {
				t.Errorf("%s is %v", name, list(name))
			}
		}
		// Core section 15.1 wants RS256 of every provider; its first key is made beside the start.
		eventually(t, "RS256", func() error {
			if !offered(t, "id_token_signing_alg_values_supported", "RS256") {
				return http.ErrNotSupported
			}
			return nil
		})
		for name, values := range m {
			texts, _ := values.([]any)
			if slices.Contains(texts, any("none")) && strings.Contains(name, "_alg_") || slices.Contains(texts, any("plain")) {
				t.Errorf("%s offers %v", name, texts)
			}
			if texts != nil && len(texts) == 0 {
				t.Errorf("%s is an empty list", name)
			}
		}
	})
	t.Run("oidcc-discovery-issuer-not-matching-config", func(t *testing.T) {
		provider := must[*oidc.Provider](t, "discovery at the issuer")(oidc.NewProvider(t.Context(), shared.issuer))
		if provider.Endpoint().TokenURL != m["token_endpoint"] {
			t.Errorf("%v", provider.Endpoint())
		}
		for _, other := range []string{shared.issuer + "/", strings.Replace(shared.issuer, "127.0.0.1", "localhost", 1)} {
			if _, err := oidc.NewProvider(t.Context(), other); err == nil {
				t.Errorf("%s passes for the issuer", other)
			}
		}
	})
	t.Run("every endpoint that is named is there", func(t *testing.T) {
		for name, value := range m {
			address, _ := value.(string)
			if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" && name != "check_session_iframe" {
				continue
			}
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				h := http.Header{}
				if method == http.MethodPost {
					h.Set("Content-Type", "application/x-www-form-urlencoded")
				}
				if a := send(t, method, address, h, ""); a.status == http.StatusNotFound || a.status >= 500 {
					t.Errorf("%s %s: %d", method, name, a.status)
				}
			}
		}
	})
}
