package conformance_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// basicModules are those of oidcc-basic-certification-test-plan, which the form post plan repeats.
var basicModules = []string{
	"oidcc-server", "oidcc-response-type-missing", "oidcc-idtoken-signature", "oidcc-idtoken-unsigned",
	"oidcc-userinfo-get", "oidcc-userinfo-post-header", "oidcc-userinfo-post-body",
	"oidcc-ensure-request-without-nonce-succeeds-for-code-flow",
	"oidcc-scope-profile", "oidcc-scope-email", "oidcc-scope-address", "oidcc-scope-phone", "oidcc-scope-all",
	"oidcc-ensure-other-scope-order-succeeds", "oidcc-alternate-happy-flow",
	"oidcc-display-page", "oidcc-display-popup", "oidcc-prompt-login", "oidcc-prompt-none-not-logged-in", "oidcc-prompt-none-logged-in",
	"oidcc-max-age-1", "oidcc-max-age-10000", "oidcc-ensure-request-with-unknown-parameter-succeeds",
	"oidcc-id-token-hint", "oidcc-login-hint", "oidcc-ui-locales", "oidcc-claims-locales", "oidcc-ensure-request-with-acr-values-succeeds",
	"oidcc-codereuse", "oidcc-codereuse-30seconds", "oidcc-ensure-registered-redirect-uri", "oidcc-ensure-post-request-succeeds",
	"oidcc-server-client-secret-post",
	"oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported",
	"oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported",
	"oidcc-claims-essential", "oidcc-ensure-request-object-with-redirect-uri", "oidcc-refresh-token", "oidcc-ensure-request-with-valid-pkce-succeeds",
}

// modules are those of the suite's plans that are mirrored here.
var modules = slices.Concat(basicModules, []string{
	"oidcc-ensure-request-without-nonce-fails", // implicit, hybrid
	"oidcc-discovery-endpoint-verification", "oidcc-discovery-issuer-not-matching-config",
	// dynamic
	"oidcc-ensure-client-assertion-with-iss-aud-succeeds", "oidcc-ensure-redirect-uri-in-authorization-request", "oidcc-idtoken-rs256", "oidcc-userinfo-rs256",
	"oidcc-redirect-uri-query-OK", "oidcc-redirect-uri-query-added", "oidcc-redirect-uri-query-mismatch", "oidcc-redirect-uri-regfrag",
	"oidcc-refresh-token-rp-key-rotation", "oidcc-registration-jwks-uri", "oidcc-registration-logo-uri", "oidcc-registration-policy-uri",
	"oidcc-registration-sector-bad", "oidcc-registration-sector-uri", "oidcc-registration-tos-uri", "oidcc-request-uri-signed-rs256", "oidcc-request-uri-unsigned",
	"oidcc-server-rotate-keys",
	// the ways to sign out
	"oidcc-rp-initiated-logout-discovery-endpoint-verification", "oidcc-rp-initiated-logout", "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri",
	"oidcc-rp-initiated-logout-modified-id-token-hint", "oidcc-rp-initiated-logout-bad-id-token-hint", "oidcc-rp-initiated-logout-no-id-token-hint",
	"oidcc-rp-initiated-logout-no-params", "oidcc-rp-initiated-logout-no-post-logout-redirect-uri", "oidcc-rp-initiated-logout-no-state",
	"oidcc-rp-initiated-logout-only-state", "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri",
	"oidcc-backchannel-logout-discovery-endpoint-verification", "oidcc-backchannel-rp-initiated-logout",
	"oidcc-frontchannel-logout-discovery-endpoint-verification", "oidcc-frontchannel-rp-initiated-logout",
	"oidcc-session-management-discovery-endpoint-verification", "oidcc-session-management-rp-initiated-logout",
})

// Each module of the plans is the name of a subtest here, and no subtest goes by the name of a module that there is not.
func TestEveryModuleIsMirrored(t *testing.T) {
	files := must[[]string](t, "files")(filepath.Glob("*_test.go"))
	var mirrored []string
	for _, file := range files {
		if file == "modules_test.go" {
			continue
		}
		text := must[[]byte](t, file)(os.ReadFile(file))
		for _, found := range regexp.MustCompile(`"(oidcc-[A-Za-z0-9-]+)"`).FindAllSubmatch(text, -1) {
			mirrored = append(mirrored, string(found[1]))
		}
	}
	for _, module := range modules {
		if !slices.Contains(mirrored, module) {
			t.Errorf("no test is named after %s", module)
		}
	}
	for _, name := range mirrored {
		if !slices.Contains(modules, name) && name != "oidcc-userinfo" { // which holds three
			t.Errorf("%s is no module", name)
		}
	}
}
