package conformance_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
)

// operation is one entry of the API's own description.
type operation struct{ method, path string }

// operations are all that the management API says it has, with something in place of each parameter.
func operations(t *testing.T) (list []operation) {
	t.Helper()
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	a := send(t, http.MethodGet, shared.issuer+"/api/openapi.json", nil, "")
	if err := json.Unmarshal(a.body, &document); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[^}]*\}`)
	for path, methods := range document.Paths {
		for method := range methods {
			if slices.Contains([]string{"get", "put", "post", "delete", "patch"}, method) {
				list = append(list, operation{strings.ToUpper(method), parameter.ReplaceAllString(path, "x")})
			}
		}
	}
	if len(list) < 50 {
		t.Fatalf("only %d operations were found", len(list))
	}
	return list
}

// Each operation asks who calls, and then whether that may: it is the description itself that names them, so a new one is
// tried as well.
func TestB7_137_EveryOperationAsksWhoCalls(t *testing.T) {
	p, b := newParty(t, nil), newPersonsBrowser(t)
	openid := p.redeem(t, b.code(t, p.ask())).AccessToken
	person := p.redeem(t, b.code(t, p.ask(change{"scope": "openid profile email phone address uid"}))).AccessToken
	robot := newParty(t, func(in *api.PostClient) { in.GrantTypes = []string{"client_credentials"} })
	service := granted(t, "client", robot.post(t, shared.issuer, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}})).AccessToken
	resource := "https://orders.example.org/api"
	elsewhere := newParty(t, func(in *api.PostClient) { in.Resources = []string{resource} })
	other := elsewhere.redeem(t, b.code(t, elsewhere.ask(change{"resource": resource}))).AccessToken
	// What anybody who is known may do with what is their own, and only reads or ends that.
	for _, o := range operations(t) {
		for who, c := range map[string]struct {
			token  string
			status []int
		}{
			"nobody":                       {"", []int{http.StatusUnauthorized}},
			"a wrong key":                  {"nonsense", []int{http.StatusUnauthorized}},
			"a person's client, openid":    {openid, []int{http.StatusUnauthorized, http.StatusForbidden}},
			"a person's client":            {person, []int{http.StatusUnauthorized, http.StatusForbidden}},
			"a client on its own account":  {service, []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}},
			"a token for another resource": {other, []int{http.StatusUnauthorized}},
		} {
			h := http.Header{"Content-Type": {"application/json"}}
			if c.token != "" {
				h.Set("Authorization", "Bearer "+c.token)
			}
			body := ""
			if o.method != http.MethodGet {
				body = "{}"
			}
			if a := send(t, o.method, shared.second.url+o.path, h, body); !slices.Contains(c.status, a.status) {
				t.Errorf("%s: %s %s: %d %.200s", who, o.method, o.path, a.status, a.body)
			}
		}
	}
}

// Scripts of other origins read nothing of the management API, whatever origin they claim.
func TestB7_139_NoCrossOriginManagement(t *testing.T) {
	for _, origin := range []string{"null", "https://localhost.evil.test", "https://evil.test", "http://127.0.0.1.evil.test", shared.issuer + ".evil.test", "https://app.example.org", "http://localhost"} {
		for _, path := range []string{"/api/clients", "/api/users", "/api/openapi.json", "/account", "/login", "/mithril/users"} {
			h := bearer(shared.adminKey)
			h.Set("Origin", origin)
			preflight := http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"authorization"}}
			for _, a := range []answer{send(t, http.MethodGet, shared.issuer+path, h, ""), send(t, http.MethodOptions, shared.issuer+path, preflight, "")} {
				if allowed := a.header.Get("Access-Control-Allow-Origin"); allowed != "" || a.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s from %s: %q", path, origin, allowed)
				}
			}
		}
	}
}

// A secret is in the answer that made it, and in no other.
func TestB7_127_SecretsAreShownOnce(t *testing.T) {
	p := newParty(t, nil)
	var extra api.ClientSecret
	manage(t, http.MethodPost, "/api/clients/"+p.ClientID+"/secrets", api.PostClientSecret{Label: "test"}, &extra)
	if p.Secret == "" || extra.Secret == "" {
		t.Fatal("there is no secret to look for")
	}
	for _, path := range []string{"/api/clients", "/api/clients/" + p.ClientID, "/api/clients/" + p.ClientID + "/secrets", "/api/audit/events"} {
		for _, node := range nodes() {
			a := send(t, http.MethodGet, node+path, bearer(shared.adminKey), "")
			if a.status != http.StatusOK || strings.Contains(string(a.body), p.Secret) || strings.Contains(string(a.body), extra.Secret) {
				t.Errorf("%s at %s: %d, or a secret in it", path, node, a.status)
			}
		}
	}
}

// Nobody registers a client without a token where the installation has not said so.
func TestB7_121_ClosedRegistration(t *testing.T) {
	body := `{"redirect_uris":["https://a.example.org/cb"]}`
	for who, h := range map[string]http.Header{"nobody": {}, "a wrong token": bearer("nonsense"), "an administrator's key": bearer(shared.adminKey)} {
		h.Set("Content-Type", "application/json")
		for _, node := range nodes() {
			if a := send(t, http.MethodPost, node+"/oauth2/register", h, body); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
				t.Errorf("%s: %d %s", who, a.status, a.body)
			}
		}
	}
}
