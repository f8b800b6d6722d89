package federation

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// of is a provider that gives groups and attributes.
func of() Provider {
	p := Provider{LoginProvider: api.LoginProvider{ID: "org", Issuer: "https://login.example.org", Claims: api.ProviderClaims{
		Username: "preferred_username", Name: "name", Email: "email", EmailVerified: "email_verified", Phone: "phone_number",
		Attributes: []api.ProviderAttribute{{Claim: "dept", Attribute: "department"}},
		Groups:     api.ProviderGroups{Claim: "groups", Map: []api.ProviderGroup{{Value: "eng", Group: "engineering"}}},
	}}}
	return p
}

// seedsOfClaims are claims, and what is read of them: username, address and words for groups.
var seedsOfClaims = map[string][3]string{
	`{"preferred_username":"jane","email":"jane@example.org","email_verified":true,"groups":["eng","x"],"dept":"R&D"}`: {"jane", "jane@example.org", "eng"},
	`{"preferred_username":["jane"],"email":"jane@example.org","email_verified":"true","groups":"eng"}`:                {"", "jane@example.org", "eng"},
	`{"preferred_username":"a\u0000b","email":"jane@example.org","email_verified":"yes","groups":{"eng":1}}`:           {"", "", ""},
	`{"preferred_username":" jane ","email":"no address","email_verified":1,"groups":[["eng"]]}`:                       {"jane", "", ""},
	`{"preferred_username":"\u202ejane","groups":["eng","eng"],"_claim_names":{"groups":"a"}}`:                         {"", "", "eng"},
}

func described(raw string) (f Found, ok bool) {
	var claims map[string]json.RawMessage
	if json.Unmarshal([]byte(raw), &claims) != nil {
		return f, false
	}
	f.describe(of(), func(name string) []byte { return claims[name] })
	return f, true
}

// Whatever a provider says of somebody, what is taken of it is short, printable text, an address only if it is verified,
// and a group only if a rule names it.
func FuzzClaims(f *testing.F) {
	for seed := range seedsOfClaims {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		found, ok := described(raw)
		if !ok {
			return
		}
		for _, text := range []string{found.Username, found.Name, found.Phone, found.Email, found.Label} {
			if len(text) > maxClaim || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) || strings.TrimSpace(text) != text {
				t.Errorf("%q is taken of %s", text, raw)
			}
		}
		if found.Email != "" && identity.EmailKey(found.Email) == "" {
			t.Errorf("%q is taken for an address", found.Email)
		}
		for _, w := range found.Said.Words {
			if w != "eng" {
				t.Errorf("the word %q counts", w)
			}
		}
		for name, value := range found.Said.Attributes {
			if name != "department" || !json.Valid(value) {
				t.Errorf("the attribute %q is %q", name, value)
			}
		}
		if _, err := json.Marshal(found); err != nil {
			t.Errorf("it cannot be kept: %v", err)
		}
	})
}

func TestFuzzSeedsOfClaims(t *testing.T) {
	for seed, want := range seedsOfClaims {
		f, ok := described(seed)
		if got := [3]string{f.Username, f.Email, strings.Join(f.Said.Words, " ")}; !ok || got != want {
			t.Errorf("%s: %q, %v; want %q", seed, got, ok, want)
		}
	}
}

// checkURL lets through what package outbound does for an address of the internet.
func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ErrUpstream
	}
	return nil
}

// seedsOfConfiguration are discovery documents, and whether they are taken.
var seedsOfConfiguration = map[string]bool{
	`{"issuer":"https://login.example.org","authorization_endpoint":"https://login.example.org/a","token_endpoint":"https://login.example.org/t","jwks_uri":"https://login.example.org/k"}`:                                              true,
	`{"issuer":"https://login.example.org","authorization_endpoint":"https://login.example.org/a?x=y","token_endpoint":"https://t.example.org","jwks_uri":"https://k.example.org","userinfo_endpoint":"https://u.example.org"}`:          true,
	`{"issuer":"https://evil.example","authorization_endpoint":"https://login.example.org/a","token_endpoint":"https://login.example.org/t","jwks_uri":"https://login.example.org/k"}`:                                                   false,
	`{"issuer":"https://login.example.org","authorization_endpoint":"javascript:alert(1)","token_endpoint":"https://login.example.org/t","jwks_uri":"https://login.example.org/k"}`:                                                      false,
	`{"issuer":"https://login.example.org","authorization_endpoint":"https://login.example.org/a","token_endpoint":"https://login.example.org/t","jwks_uri":"https://login.example.org/k","response_types_supported":["id_token"]}`:      false,
	`{"issuer":"https://login.example.org","authorization_endpoint":"https://login.example.org/a","token_endpoint":"https://login.example.org/t","jwks_uri":"https://login.example.org/k","code_challenge_methods_supported":["plain"]}`: false,
	`[]`: false,
}

// Whatever a configuration says, a browser is led to an https address of it alone, with our parameters each once.
func FuzzConfiguration(f *testing.F) {
	for seed := range seedsOfConfiguration {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		m, err := readMetadata([]byte(raw), "https://login.example.org", checkURL)
		if err != nil {
			return
		}
		to, err := authorizationURL(m.Authorization, url.Values{"state": {"mmx_1"}, "client_id": {"mintmark"}})
		if err != nil {
			return
		}
		u, err := url.Parse(to)
		if err != nil || u.Scheme != "https" || u.Host == "" || m.Issuer != "https://login.example.org" {
			t.Fatalf("%s leads to %q: %v", raw, to, err)
		}
		if q := u.Query(); len(q["state"]) != 1 || q.Get("state") != "mmx_1" || len(q["client_id"]) != 1 || q.Get("client_id") != "mintmark" {
			t.Errorf("%s leads to %q", raw, to)
		}
	})
}

func TestFuzzSeedsOfConfiguration(t *testing.T) {
	for seed, good := range seedsOfConfiguration {
		if _, err := readMetadata([]byte(seed), "https://login.example.org", checkURL); (err == nil) != good {
			t.Errorf("%s: %v", seed, err)
		}
	}
}

// seedsOfBrowser are values of the cookie, and whether they can be ours.
var seedsOfBrowser = map[string]bool{
	cookiePrefix + strings.Repeat("a", secretDigits): true, cookiePrefix + strings.Repeat("-", secretDigits): true, cookiePrefix + strings.Repeat("a", secretDigits+1): false,
	cookiePrefix: false, "": false, statePrefix + strings.Repeat("a", secretDigits): false, cookiePrefix + strings.Repeat("ä", secretDigits): false, cookiePrefix + strings.Repeat("\x00", secretDigits): false,
}

// What derives from a browser's value and a state is another value for each of both and each use.
func FuzzBrowserAndState(f *testing.F) {
	for seed := range seedsOfBrowser {
		f.Add(seed, "mmx_1")
	}
	f.Fuzz(func(t *testing.T, browser, state string) {
		if wellFormed(redact.New(browser)) && (len(browser) != len(cookiePrefix)+secretDigits || strings.ContainsAny(browser, " ;,\"\\\x00\n")) {
			t.Errorf("%q counts as ours", browser)
		}
		verifier, nonce := derive(redact.New(browser), state, "verifier").Reveal(), derive(redact.New(browser), state, "nonce").Reveal()
		if verifier == nonce || len(verifier) != secretDigits || verifier == derive(redact.New(browser), state+"x", "verifier").Reveal() {
			t.Errorf("%q and %q derive %q and %q", browser, state, verifier, nonce)
		}
	})
}

func TestFuzzSeedsOfBrowser(t *testing.T) {
	for seed, good := range seedsOfBrowser {
		if wellFormed(redact.New(seed)) != good {
			t.Errorf("%q", seed)
		}
	}
}
