package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/cli"
)

// server answers as mintmark does, from what is written down here, and keeps what it was asked.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string
}

func newServer(t *testing.T, routes map[string]any) *server {
	t.Helper()
	s := new(server)
	mux := http.NewServeMux()
	for pattern, answer := range routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			switch a := answer.(type) {
			case func(http.ResponseWriter, *http.Request):
				a(w, r)
			case *api.Problem:
				w.Header().Set("Content-Type", "application/problem+json")
				w.WriteHeader(a.Status)
				json.NewEncoder(w).Encode(a)
			case nil:
				w.WriteHeader(http.StatusNoContent)
			default:
				w.Header().Set("ETag", `"v3"`)
				json.NewEncoder(w).Encode(a)
			}
		})
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// note keeps a request in the form that golden files hold.
func (s *server) note(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	line := r.Method + " " + r.URL.RequestURI()
	for _, h := range []string{"Authorization", "If-Match", "If-None-Match"} {
		if v := r.Header.Get(h); v != "" {
			line += " [" + h + ": " + v + "]"
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, strings.TrimSpace(line+" "+string(body)))
}

func (s *server) requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.seen, "\n") + "\n"
}

func ago(d time.Duration) time.Time    { return now.Add(-d) }
func agoAt(d time.Duration) *time.Time { t := ago(d); return &t }
func hence(d time.Duration) *time.Time { t := now.Add(d); return &t }
func created(by string) (t tracked)    { return tracked{ago(48 * time.Hour), by, ago(time.Hour), by} }

type tracked struct {
	created time.Time
	by      string
	changed time.Time
	who     string
}

// world is what the server of most tests knows.
func world() map[string]any {
	c := created("employees/jane")
	shop := api.Team{ID: "shop", Name: "Shop", Members: []string{"employees/jane", "employees/joe"}, Created: c.created, CreatedBy: c.by, LastModified: c.changed, LastModifiedBy: c.who}
	orders := api.Application{ID: "sales-orders", TeamID: "shop", Active: true, Name: "Sales orders", Description: "Takes orders.\nAnd more.", IsClientConfidential: true,
		ClientID: "sales-orders", ServiceUsername: "sales-orders", Created: c.created, CreatedBy: c.by, LastModified: c.changed, LastModifiedBy: c.who}
	// A name that somebody chose to turn a terminal red.
	evil := api.Application{ID: "evil", TeamID: "shop", Name: "\x1b[31mred\u202e\n", Created: c.created, CreatedBy: c.by, LastModified: c.changed, LastModifiedBy: c.who}
	order := api.ResourceType{ID: "sales_order", Name: "Sales order", ResourceOwners: []string{"customers"}, TeamID: "shop", OwnedBy: "team", Created: c.created, CreatedBy: c.by, LastModified: c.changed, LastModifiedBy: c.who}
	readAll := api.Scope{ID: "read_all", ResourceType: "sales_order", Summary: "Read the orders of everybody", CriticalityLevel: 2, Created: c.created, CreatedBy: c.by, LastModified: c.changed, LastModifiedBy: c.who}
	read := api.Scope{ID: "read", ResourceType: "sales_order", Summary: "Read your orders", IsResourceOwnerScope: true, CriticalityLevel: 1, Created: c.created, CreatedBy: c.by, LastModified: c.changed, LastModifiedBy: c.who}
	grant := api.Grant{Scope: "sales_order.read_all", Kind: "application", GrantedBy: "employees/jane", Granted: c.changed}
	destination := api.Destination{Store: "local", Bucket: "shop-mint", Added: c.changed, AddedBy: "employees/jane"}
	bucket := api.Bucket{Name: "shop-mint", TeamID: "shop", Created: c.created, CreatedBy: c.by}
	storageKey := api.StorageKey{ID: "MMABCDEFGHIJKLMNOPQR", Application: "sales-orders", Bucket: "shop-mint", Prefix: "sales-orders/", Created: c.created, CreatedBy: c.by, LastUsed: agoAt(time.Minute)}
	key := api.SigningKey{Kid: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", Alg: "ES256", State: "active", Created: c.created, ActivateAt: c.created, Activated: &c.created}
	next := api.SigningKey{Kid: "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s", Alg: "ES256", State: "prepared", Created: now, ActivateAt: now.Add(time.Hour)}
	old := api.SigningKey{Kid: "oldXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs0A", Alg: "ES256", State: "retiring", Created: c.created, ActivateAt: c.created, Retiring: &c.changed, RetireAt: hence(7 * time.Hour)}
	events := []api.AuditEvent{
		{Seq: 42, ID: "evt_2", At: ago(time.Minute), Action: "application.write", Outcome: "denied", Reason: "forbidden", Actor: api.AuditActor{Kind: "person", ID: "usr_2", Name: "joe", Realm: "employees"}, TargetType: "application", TargetID: "sales-orders"},
		{Seq: 41, ID: "evt_1", At: ago(time.Hour), Action: "application.write", Outcome: "success", Actor: api.AuditActor{Kind: "system"}, TargetType: "application", TargetID: "sales-orders"},
	}
	trust := api.TrustedIssuer{ID: "cluster", Issuer: "https://cluster.example.org", Enabled: true, JWKS: `{"keys":[]}`, MaxLifetime: 3900,
		Rules: []api.TrustRule{
			{Subject: "system:serviceaccount:shop:orders", Application: "sales-orders", Public: true},
			{Subject: "ci", Claims: map[string]string{"ref": "refs/heads/main", "environment": "production"}, Person: "usr_1", Scopes: []string{"uid"}},
		}, Created: c.created, CreatedBy: c.by, LastModified: c.changed, LastModifiedBy: c.who}
	partner := api.Client{ClientSettings: settings, TeamID: "shop", Enabled: true, Untrusted: true, ApplicationScopes: []string{"sales_order.read_all"}, Created: c.created, CreatedBy: c.by}
	partner.AuthMethod = "private_key_jwt"
	newPartner := partner
	newPartner.Secret = "the-secret"
	clientSecret := api.ClientSecret{ID: "csc_1", Label: "gate\x1b[31mway", Created: c.created, CreatedBy: c.by, LastUsed: ago(time.Minute)}
	newSecret := clientSecret
	newSecret.Secret = "the-secret"
	clientKey := api.ClientKey{ID: "cky_1", Label: "build server", Kid: "one", JWK: json.RawMessage(`{}`), Created: c.created, CreatedBy: c.by, Expires: now.Add(time.Hour)}
	invitation := api.RegistrationToken{ID: "rgt_1", Label: "partner", TeamID: "shop", RedirectHosts: []string{".example.org"}, MaxUses: 2, Uses: 1, Created: c.created, CreatedBy: c.by, Expires: now.Add(time.Hour)}
	newInvitation := invitation
	newInvitation.Token = "the-token"
	return map[string]any{
		"GET /api/clients":                                        api.Clients{Items: []api.Client{partner}},
		"POST /api/clients":                                       newPartner,
		"GET /api/clients/cli_1":                                  partner,
		"PUT /api/clients/cli_1":                                  partner,
		"DELETE /api/clients/cli_1":                               nil,
		"GET /api/applications/sales-orders/client/secrets":       api.ClientSecrets{Items: []api.ClientSecret{clientSecret}},
		"POST /api/applications/sales-orders/client/secrets":      newSecret,
		"DELETE /api/clients/cli_1/secrets/csc_1":                 nil,
		"GET /api/clients/cli_1/keys":                             api.ClientKeys{Items: []api.ClientKey{clientKey}},
		"POST /api/applications/sales-orders/client/keys":         clientKey,
		"DELETE /api/applications/sales-orders/client/keys/cky_1": nil,
		"GET /api/registration-tokens":                            api.RegistrationTokens{Items: []api.RegistrationToken{invitation}},
		"POST /api/registration-tokens":                           newInvitation,
		"DELETE /api/registration-tokens/rgt_1":                   nil,
		"GET /api/teams":                                          api.Teams{Items: []api.Team{shop}},
		"GET /api/teams/shop":                                     shop,
		"PUT /api/teams/shop":                                     shop,
		"GET /api/teams/{id}":                                     &api.Problem{Status: 404, Code: "not_found", Detail: "There is no such team.", RequestID: "req_1"},
		"PUT /api/teams/forbidden":                                &api.Problem{Status: 403, Code: "forbidden", Detail: "You may not do this: it needs team.write."},
		"GET /api/applications": func(w http.ResponseWriter, r *http.Request) {
			page := api.Applications{Items: []api.Application{evil}, NextCursor: "more"}
			if r.FormValue("cursor") == "more" {
				page = api.Applications{Items: []api.Application{orders}}
			}
			json.NewEncoder(w).Encode(page)
		},
		"GET /api/applications/sales-orders":                                 orders,
		"PUT /api/applications/sales-orders":                                 orders,
		"GET /api/applications/sales-orders/scopes":                          api.Grants{Items: []api.Grant{grant}},
		"PUT /api/applications/sales-orders/scopes/sales_order.read_all":     grant,
		"DELETE /api/applications/sales-orders/scopes/sales_order.read_all":  nil,
		"GET /api/applications/sales-orders/client":                          settings,
		"PUT /api/applications/sales-orders/client":                          settings,
		"GET /api/applications/sales-orders/destinations":                    api.Destinations{Items: []api.Destination{destination}},
		"PUT /api/applications/sales-orders/destinations/local/shop-mint":    destination,
		"PUT /api/applications/sales-orders/destinations/aws/shop-mint":      api.Destination{Store: "aws", Bucket: "shop-mint"},
		"DELETE /api/applications/sales-orders/destinations/local/shop-mint": nil,
		"GET /api/applications/sales-orders/rotation":                        rotation(false),
		"GET /api/applications/troubled/rotation":                            rotation(true),
		"POST /api/applications/sales-orders/rotations":                      rotation(false),
		"GET /api/applications/sales-orders/storage-keys":                    api.StorageKeys{Items: []api.StorageKey{storageKey}},
		"POST /api/applications/sales-orders/storage-keys":                   api.IssuedStorageKey{StorageKey: storageKey, SecretAccessKey: "the-secret"},
		"DELETE /api/storage-keys/MMABCDEFGHIJKLMNOPQR":                      nil,
		"GET /api/buckets":                                    api.Buckets{Items: []api.Bucket{bucket}},
		"GET /api/buckets/shop-mint":                          bucket,
		"PUT /api/buckets/shop-mint":                          bucket,
		"GET /api/resource-types":                             api.ResourceTypes{Items: []api.ResourceType{order}},
		"GET /api/resource-types/sales_order":                 order,
		"PUT /api/resource-types/sales_order":                 order,
		"DELETE /api/resource-types/sales_order":              nil,
		"GET /api/resource-types/sales_order/scopes":          api.Scopes{Items: []api.Scope{read, readAll}},
		"GET /api/resource-types/sales_order/scopes/read_all": readAll,
		"PUT /api/resource-types/sales_order/scopes/read_all": readAll,
		"PUT /api/resource-types/sales_order/scopes/read":     read,
		"DELETE /api/resource-types/sales_order/scopes/read":  nil,
		"GET /api/trusted-issuers":                            api.TrustedIssuers{Items: []api.TrustedIssuer{trust}},
		"GET /api/trusted-issuers/cluster":                    trust,
		"PUT /api/trusted-issuers/cluster":                    trust,
		"GET /api/trusted-issuers/{id}":                       &api.Problem{Status: 404, Code: "trusted_issuer_not_found", Detail: "There is no such trusted issuer."},
		"PUT /api/trusted-issuers/ci":                         trust,
		"DELETE /api/trusted-issuers/cluster":                 nil,
		"GET /api/keys":                                       api.SigningKeys{Items: []api.SigningKey{next, key, old}},
		"POST /api/keys/rotations":                            next,
		"DELETE /api/keys/" + key.Kid:                         nil,
		"GET /api/audit/events":                               api.AuditEvents{Items: events},
		"GET /api/audit/checkpoint":                           api.AuditCheckpoint{Size: 42, Root: []byte{1}, Note: "mintmark\n42\nAQ==\n\n— mintmark sig\n", At: now},
		"GET /oauth2/tokeninfo":                               tokeninfo,
		"POST /oauth2/token":                                  issue,
		"POST /oauth2/introspect":                             client.Introspection{Active: true, Subject: "sales-orders", Scope: "uid", ExpiresAt: now.Add(time.Hour).Unix()},
		"POST /oauth2/revoke":                                 func(http.ResponseWriter, *http.Request) {},
	}
}

var settings = api.ClientSettings{
	ClientID: "cli_1", Name: "Sales \x1b[31morders", Confidential: true, RedirectURIs: []string{"https://orders.example.org/cb"}, PostLogoutRedirectURIs: []string{},
	GrantTypes: []string{"authorization_code"}, RefreshTokens: "offline_access", ResourceOwnerScopes: []string{"sales_order.read"}, LastModified: ago(time.Minute), LastModifiedBy: "employees/jane",
}

func rotation(trouble bool) api.Rotation {
	password := api.RotatingCredential{Kind: "service-password", Object: "user.json", State: "wait", Waiting: "not due", NextDue: hence(time.Hour + 59*time.Minute),
		Versions: []api.CredentialVersion{
			{Version: 3, State: "active", Reason: "due", Prepared: ago(time.Minute), Active: agoAt(50 * time.Second), LastUsed: agoAt(time.Second)},
			{Version: 2, State: "retiring", Reason: "due", Prepared: ago(2 * time.Hour), Active: agoAt(2 * time.Hour), Retiring: agoAt(50 * time.Second), LastUsed: agoAt(40 * time.Second), Waiting: "it may still be in use"},
			{Version: 1, State: "retired", Forced: true, Prepared: ago(26 * time.Hour), Active: agoAt(26 * time.Hour), Retired: agoAt(time.Hour)},
		},
		Deliveries: []api.Delivery{{Store: "local", Bucket: "shop-mint", Version: 3, Delivered: agoAt(50 * time.Second)}},
	}
	r := api.Rotation{Application: "sales-orders", Active: true, Credentials: []api.RotatingCredential{password}}
	if trouble {
		r.Application, r.HasProblems = "troubled", true
		r.Problems = []string{"aws/shop-mint refuses: AccessDenied. Give the mint s3:PutObject there."}
		r.Credentials[0].Deliveries = append(password.Deliveries, api.Delivery{Store: "aws", Bucket: "shop-mint", Failures: 4, Since: agoAt(time.Hour), Code: "forbidden", Error: "AccessDenied", NextTry: hence(30 * time.Second)})
		r.Credentials = append(r.Credentials, api.RotatingCredential{Kind: "client-secret", Object: "client.json", State: "prepare"})
	}
	return r
}

func tokeninfo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer good" {
		w.WriteHeader(401)
		io.WriteString(w, `{"error":"invalid_token","error_description":"Access Token not valid"}`)
		return
	}
	io.WriteString(w, `{"uid":"sales-orders","realm":"services","scope":["uid","sales_order.read_all"],"expires_in":3515,"token_type":"Bearer","grant_type":"password"}`)
}

func issue(w http.ResponseWriter, r *http.Request) {
	if id, secret, _ := r.BasicAuth(); id != "sales-orders" || secret != "s3cret" {
		w.WriteHeader(401)
		io.WriteString(w, `{"error":"invalid_client","error_description":"Client authentication failed."}`)
		return
	}
	io.WriteString(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":28800,"scope":"sales_order.read_all uid","realm":"services"}`)
}

// Each command: what it sends, what it prints, how it ends.
func TestCommands(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("MINTMARK_TOKEN_FILE", file("token", "mmk_the-access-key\n"))
	file("user.json", `{"application_username":"sales-orders","application_password":"p4ss"}`)
	file("client.json", `{"client_id":"sales-orders","client_secret":"s3cret"}`)
	wrong := file("wrong", "wrong\n")
	jwk := file("public.jwk", `{"kty":"OKP","crv":"Ed25519","x":"AA"}`)
	said := file("settings.json", `{"client_id":"cli_1","name":"From a file","redirect_uris":["https://file.example.org/cb"],"grant_types":["authorization_code"],"contacts":["jane@example.org"],"last_modified_by":"employees/jane"}`)
	jwks := file("jwks.json", `{"keys":[{"kty":"OKP"}]}`)

	for name, args := range map[string][]string{
		"app-create":             {"app", "create", "sales-orders", "--team", "shop", "--name", "Sales orders"},
		"app-register-public":    {"app", "register", "sales-orders", "--team", "shop", "--public-client"},
		"app-list":               {"app", "list", "--active", "--team", "shop", "--search", "orders"},
		"app-list-json":          {"app", "list", "-o", "json"},
		"app-show":               {"app", "show", "sales-orders"},
		"app-update":             {"app", "update", "sales-orders", "--subtitle", "", "--criticality", "1"},
		"app-deactivate":         {"app", "deactivate", "sales-orders"},
		"app-activate":           {"app", "activate", "sales-orders"},
		"app-grant":              {"app", "grant", "sales-orders", "sales_order.read_all"},
		"app-revoke":             {"app", "revoke", "sales-orders", "sales_order.read_all"},
		"app-scopes":             {"app", "scopes", "sales-orders"},
		"app-bucket-add":         {"app", "bucket", "add", "sales-orders", "shop-mint"},
		"app-bucket-add-store":   {"app", "bucket", "add", "sales-orders", "aws/shop-mint"},
		"app-bucket-list":        {"app", "bucket", "list", "sales-orders"},
		"app-bucket-remove":      {"app", "bucket", "remove", "sales-orders", "shop-mint"},
		"app-status":             {"app", "status", "sales-orders"},
		"app-status-trouble":     {"app", "status", "troubled"},
		"app-storage-key-create": {"app", "storage-key", "create", "sales-orders", "shop-mint"},
		"app-storage-key-list":   {"app", "storage-key", "list", "sales-orders", "-o", "json"},
		"app-storage-key-delete": {"app", "storage-key", "delete", "MMABCDEFGHIJKLMNOPQR"},
		"bucket-create":          {"bucket", "create", "shop-mint", "--team", "shop"},
		"bucket-list":            {"bucket", "list"},
		"bucket-show":            {"bucket", "show", "shop-mint"},
		"scope-type-create":      {"scope", "type", "create", "sales_order", "--team", "shop", "--owner-realm", "customers"},
		"scope-type-list":        {"scope", "type", "list"},
		"scope-type-show":        {"scope", "type", "show", "sales_order"},
		"scope-type-delete":      {"scope", "type", "delete", "sales_order"},
		"scope-create":           {"scope", "create", "sales_order.read_all"},
		"scope-create-owner":     {"scope", "create", "sales_order.read", "--by-owner", "--summary", "Read your orders", "--criticality", "1"},
		"scope-list":             {"scope", "list", "sales_order"},
		"scope-show":             {"scope", "show", "sales_order.read_all"},
		"scope-delete":           {"scope", "delete", "sales_order.read"},
		"team-create":            {"team", "create", "shop", "--member", "employees/jane", "--member", "employees/joe"},
		"team-list":              {"team", "list"},
		"client-show":            {"client", "show", "sales-orders"},
		"client-set-file":        {"client", "set", "sales-orders", "--file", said, "--require-par", "--access-token-lifetime", "5m"},
		"client-set-own":         {"client", "set", "cli_1", "--redirect-uri", "https://partner.example.org/cb"},
		"client-show-own":        {"client", "show", "cli_1"},
		"client-list":            {"client", "list", "--untrusted"},
		"client-create":          {"client", "create", "--team", "shop", "--confidential", "--name", "Partner", "--redirect-uri", "https://partner.example.org/cb", "--owner-scope", "sales_order.read"},
		"client-delete":          {"client", "delete", "cli_1"},
		"client-secret-create":   {"client", "secret", "create", "sales-orders", "--label", "gateway", "--expires", "2160h"},
		"client-secret-list":     {"client", "secret", "list", "sales-orders"},
		"client-secret-revoke":   {"client", "secret", "revoke", "cli_1", "csc_1"},
		"client-key-add":         {"client", "key", "add", "sales-orders", jwk, "--label", "build server"},
		"client-key-list":        {"client", "key", "list", "cli_1"},
		"client-key-remove":      {"client", "key", "remove", "sales-orders", "cky_1"},
		"client-token-create":    {"client", "registration-token", "create", "--label", "partner", "--team", "shop", "--redirect-host", ".example.org"},
		"client-token-list":      {"client", "registration-token", "list"},
		"client-token-delete":    {"client", "registration-token", "delete", "rgt_1"},
		"client-set":             {"client", "set", "sales-orders", "--redirect-uri", "https://orders.example.org/cb", "--name", "Sales"},
		"trust-list":             {"trust", "list"},
		"trust-show":             {"trust", "show", "cluster"},
		"trust-set":              {"trust", "set", "ci", "--issuer", "https://ci.example.org", "--jwks", jwks, "--max-lifetime", "10m"},
		"trust-set-nothing":      {"trust", "set", "ci"},
		"trust-set-disabled":     {"trust", "set", "cluster", "--disabled"},
		"trust-set-once":         {"trust", "set", "cluster", "--single-use", "--no-disabled"},
		"trust-allow":            {"trust", "allow", "cluster", "job", "--application", "sales-orders", "--claim", "ref=a=b;c", "--scope", "uid", "--public"},
		"trust-forbid":           {"trust", "forbid", "cluster", "ci"},
		"trust-forbid-unknown":   {"trust", "forbid", "cluster", "nobody"},
		"trust-delete":           {"trust", "delete", "cluster"},
		"team-show":              {"team", "show", "shop"},
		"team-show-unknown":      {"team", "show", "nobody"},
		"team-create-forbidden":  {"team", "create", "forbidden"},
		"rotate":                 {"rotate", "sales-orders", "--kind", "password"},
		"key-list":               {"key", "list"},
		"key-rotate":             {"key", "rotate"},
		"key-revoke":             {"key", "revoke", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", "--yes"},
		"token-get":              {"token", "get", "--credentials", dir, "uid", "sales_order.read_all"},
		"token-get-client":       {"token", "get", "--client-id", "sales-orders", "--client-secret-file", filepath.Join(dir, "secret")},
		"token-get-refused":      {"token", "get", "--client-id", "sales-orders", "--client-secret-file", wrong},
		"token-check":            {"token", "check", "good"},
		"token-check-bad":        {"token", "check", "bad"},
		"token-introspect":       {"token", "introspect", "--credentials", dir, "good"},
		"token-revoke":           {"token", "revoke", "--credentials", dir, "good"},
		"audit-list":             {"audit", "list", "--target", "application/sales-orders", "--outcome", "denied", "-n", "2"},
		"audit-list-json":        {"audit", "list", "-n", "1", "-o", "json"},
		"audit-checkpoint":       {"audit", "checkpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			file("secret", "s3cret\n")
			s := newServer(t, world())
			t.Setenv("MINTMARK_URL", s.URL)
			r := run(t, "", args...)
			got := "$ mintmark " + strings.Join(args, " ") + "\n" + r.golden() + "--- requests\n" + s.requests()
			compare(t, "commands/"+name+".txt", strings.NewReplacer(dir, "DIR", s.URL, "URL").Replace(got))
		})
	}
}

// Only what is asked to hand out a secret prints one.
func TestSecretsStayWhereTheyAre(t *testing.T) {
	handsOut := map[string]bool{"client-create": true, "client-secret-create": true, "client-token-create": true, "app-storage-key-create": true, "token-get": true, "token-get-client": true}
	files, err := filepath.Glob("testdata/commands/*.txt")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		printed, _, _ := strings.Cut(string(b), "--- requests\n")
		for _, secret := range []string{"the-secret", "the-token", "p4ss", "s3cret", "mmk_"} {
			if strings.Contains(printed, secret) && !handsOut[strings.TrimSuffix(filepath.Base(f), ".txt")] {
				t.Errorf("%s prints %s", f, secret)
			}
		}
	}
}

func TestStorageKeyGoesIntoAFileOfItsOwn(t *testing.T) {
	alone(t)
	s := newServer(t, world())
	path := filepath.Join(t.TempDir(), "key")
	args := []string{"app", "storage-key", "create", "sales-orders", "shop-mint", "--file", path, "--server", s.URL, "-o", "json"}
	if r := run(t, "", args...); r.code != 0 || strings.Contains(r.stdout+r.stderr, "the-secret") {
		t.Errorf("%s", r.golden())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if want := "[default]\naws_access_key_id = MMABCDEFGHIJKLMNOPQR\naws_secret_access_key = the-secret\n"; err != nil || string(b) != want {
		t.Errorf("file holds %q, %v", b, err)
	}
	// An existing file is neither overwritten nor removed, and no key is made for nothing.
	before := s.requests()
	if r := run(t, "", args...); r.code != cli.ExitFailure || s.requests() != before {
		t.Errorf("%s\n%s", r.golden(), s.requests())
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(b) {
		t.Errorf("file holds %q, %v", again, err)
	}
	// When the server refuses, no empty file stays behind.
	refused := filepath.Join(t.TempDir(), "refused")
	if r := run(t, "", "app", "storage-key", "create", "unknown", "shop-mint", "--file", refused, "--server", s.URL); r.code == 0 {
		t.Errorf("%s", r.golden())
	}
	if _, err := os.Stat(refused); err == nil {
		t.Error("an empty file stayed behind")
	}
}

func TestTokenFile(t *testing.T) {
	alone(t)
	s := newServer(t, world())
	path := filepath.Join(t.TempDir(), "token")
	for name, c := range map[string]struct {
		text   string
		mode   os.FileMode
		code   int
		stderr string
	}{
		"good":      {"mmk_x\n", 0o600, 0, ""},
		"open":      {"mmk_x", 0o644, 0, "warning: others can read " + path},
		"empty":     {" \n", 0o600, cli.ExitNotAllowed, "does not hold one token"},
		"two lines": {"mmk_x\nmmk_y\n", 0o600, cli.ExitNotAllowed, "does not hold one token"},
		"binary":    {"mmk\x00", 0o600, cli.ExitNotAllowed, "does not hold one token"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			r := run(t, "", "team", "list", "--server", s.URL, "--token-file", path)
			if r.code != c.code || !strings.Contains(r.stderr, c.stderr) || c.stderr == "" && r.stderr != "" || strings.Contains(r.stderr, "mmk") {
				t.Errorf("%s", r.golden())
			}
		})
	}
	if r := run(t, "", "team", "list", "--server", s.URL, "--token-file", path+"-missing"); r.code != cli.ExitNotAllowed || !strings.Contains(r.stderr, "hint: ") {
		t.Errorf("%s", r.golden())
	}
	// Nobody named one and there is none: the call goes out as nobody's.
	if r := run(t, "", "team", "list", "--server", s.URL); r.code != 0 || !strings.HasSuffix(s.requests(), "GET /api/teams\n") {
		t.Errorf("%s\n%s", r.golden(), s.requests())
	}
	// The default place.
	config := os.Getenv("XDG_CONFIG_HOME")
	if err := os.MkdirAll(filepath.Join(config, "mintmark"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "mintmark", "token"), []byte("mmk_default"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := run(t, "", "team", "list", "--server", s.URL); r.code != 0 || !strings.HasSuffix(s.requests(), "GET /api/teams [Authorization: Bearer mmk_default]\n") {
		t.Errorf("%s\n%s", r.golden(), s.requests())
	}
}

func TestFailuresOfTheServer(t *testing.T) {
	alone(t)
	for name, c := range map[string]struct {
		answer any
		code   int
		says   string
	}{
		"not logged in": {&api.Problem{Status: 401, Code: "unauthenticated"}, cli.ExitNotAllowed, "--token-file"},
		"forbidden":     {&api.Problem{Status: 403, Code: "forbidden"}, cli.ExitNotAllowed, "administrator"},
		"unavailable":   {&api.Problem{Status: 503, Code: "unavailable"}, cli.ExitUnavailable, "Try again"},
		"limited":       {&api.Problem{Status: 429, Code: "limited"}, cli.ExitTemporary, "Try again"},
		"invalid":       {&api.Problem{Status: 400, Code: "invalid", Errors: []api.ProblemField{{Location: "path.id", Message: "\x1b[1m"}}}, cli.ExitFailure, `path.id: \u001b[1m`},
		"not mintmark":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, cli.ExitFailure, "is http://127.0.0.1"},
		"internal":      {&api.Problem{Status: 500, Code: "internal", RequestID: "req_7"}, cli.ExitFailure, "request: req_7"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, map[string]any{"/": c.answer})
			r := run(t, "", "team", "list", "--server", s.URL)
			if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.says) || strings.Contains(r.stderr, "\x1b") {
				t.Errorf("%s", r.golden())
			}
		})
	}
	s := newServer(t, world())
	s.Close()
	r := run(t, "", "team", "list", "--server", s.URL)
	if r.code != cli.ExitUnavailable || !strings.Contains(r.stderr, "hint: Is the server running") {
		t.Errorf("%s", r.golden())
	}
}

// The wait ends when a version newer than those at the asking is active, and tells what happens until then.
func TestRotateWaits(t *testing.T) {
	alone(t)
	looks := 0
	progress := func(w http.ResponseWriter, _ *http.Request) {
		looks++
		r := rotation(false)
		c := &r.Credentials[0]
		if looks > 1 {
			c.Versions = append([]api.CredentialVersion{{Version: 4, State: "prepared", Prepared: now}}, c.Versions...)
		}
		if looks > 2 {
			c.Deliveries[0].Version = 4
			c.Versions[0].State, c.Versions[0].Active = "active", &now
		}
		json.NewEncoder(w).Encode(r)
	}
	s := newServer(t, map[string]any{
		"POST /api/applications/sales-orders/rotations": rotation(false),
		"GET /api/applications/sales-orders/rotation":   progress,
	})
	r := run(t, "", "rotate", "sales-orders", "--wait", "--server", s.URL)
	want := result{0, "every bucket of sales-orders has the new credentials\n",
		"user.json: waits to begin: not due\nuser.json: version 4 is in 0 of 1 buckets\nuser.json: version 4 is everywhere\n"}
	if r != want {
		t.Errorf("%s", r.golden())
	}
}

func TestRotateGivesUpWaiting(t *testing.T) {
	alone(t)
	s := newServer(t, world())
	r := run(t, "", "rotate", "sales-orders", "--wait", "--wait-for", "10ms", "--server", s.URL)
	if r.code != cli.ExitTemporary || !strings.Contains(r.stderr, "mintmark app status sales-orders") {
		t.Errorf("%s", r.golden())
	}
	// An application without credentials would be waited for in vain.
	s = newServer(t, map[string]any{"POST /": api.Rotation{Application: "empty", Problems: []string{"It has no bucket."}}})
	if r := run(t, "", "rotate", "empty", "--wait", "--server", s.URL); r.code != cli.ExitFailure || !strings.Contains(r.stderr, "It has no bucket") {
		t.Errorf("%s", r.golden())
	}
}

func TestTokenFromStandardInput(t *testing.T) {
	alone(t)
	s := newServer(t, world())
	if r := run(t, "good\n", "token", "check", "-", "--server", s.URL); r.code != 0 {
		t.Errorf("%s", r.golden())
	}
	if r := run(t, "bad\n", "token", "check", "-", "--server", s.URL); r.code != cli.ExitNotAllowed {
		t.Errorf("%s", r.golden())
	}
}

func TestIntrospectionOfAnInactiveToken(t *testing.T) {
	alone(t)
	s := newServer(t, map[string]any{"POST /oauth2/introspect": client.Introspection{}})
	r := run(t, "", "token", "introspect", "--client-id", "rs", "x", "--server", s.URL, "-o", "json")
	if r.code != cli.ExitNotAllowed || r.stdout != "{\n  \"active\": false\n}\n" {
		t.Errorf("%s", r.golden())
	}
}

// The scripts are tried in a shell where there is one.
func TestCompletion(t *testing.T) {
	alone(t)
	for _, shell := range []string{"bash", "zsh"} {
		r := run(t, "", "completion", shell)
		compare(t, "completion."+shell, r.stdout)
		if r.code != 0 {
			t.Errorf("%s", r.golden())
		}
	}
	script := run(t, "", "completion", "bash").stdout
	for words, want := range map[string][]string{
		"mintmark app storage-key c": {"create"},
		"mintmark sco":               {"scope"},
		"mintmark completion ":       {"bash"},
		"mintmark app create x --te": {"--team"},
		"mintmark --server x app li": {"list"},
	} {
		fields := strings.Split(words, " ")
		command := fmt.Sprintf("%s\nCOMP_WORDS=(%s); COMP_CWORD=%d; _mintmark; printf '%%s\\n' \"${COMPREPLY[@]}\"", script, words+"''", len(fields)-1)
		out, err := exec.CommandContext(t.Context(), "bash", "-c", command).Output()
		if err != nil {
			t.Fatalf("bash: %v", err)
		}
		if got := strings.Fields(string(out)); len(got) == 0 || !cmp.Equal(got[:1], want) {
			t.Errorf("%q completes to %q, want %q", words, got, want)
		}
	}
}
