package app_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

// Whose an operation of the management API is.
type whose int

const (
	everybodys     whose = iota // any application may read it
	teams                       // the team's that owns the thing, and administrators'
	administrators              // nobody else's
)

// tried says how to call an operation: with what in place of the parameters of its path, and which body. What is not said
// is said by named.
type tried struct {
	whose whose
	named map[string]string
	body  string
}

// teamsTried is a server with a thing of each kind that belongs to team shop, an application of that team, and one of
// another. Both applications may write what is their team's.
type teamsTried struct {
	*world
	own, other string // tokens of the two applications
	named      map[string]string
	operations map[string]tried // by operationId; each that the description names must be here
	order      []string         // of those that belong to teams: what is deleted is deleted last
}

func newTeamsTried(t *testing.T) *teamsTried {
	w := &teamsTried{world: start(t, dbtest.Engines(t)[0], nil)}
	ctx, a := t.Context(), w.admin
	w.register(t, "sales-orders")
	must[*api.ResourceType](t, "type")(a.PutResourceType(ctx, "application", api.PutResourceType{Name: "application", TeamID: "shop"}))
	must[*api.Scope](t, "scope")(a.PutScope(ctx, "application", "write", api.PutScope{Summary: "change what is the team's"}))
	must[*api.Team](t, "team")(a.PutTeam(ctx, "other", api.PutTeam{Name: "Other"}))
	other, active, name := "other", true, "Intruder"
	must[*api.Application](t, "application")(a.PutApplication(ctx, "intruder", api.PutApplication{TeamID: &other, Active: &active, Name: &name}))
	w.bucket(t, "sales-orders", "shop-mint")
	must[*api.Bucket](t, "bucket")(a.PutBucket(ctx, "shop-more", api.PutBucket{TeamID: "shop"}))
	w.own, w.other = w.speaks(t, "sales-orders"), w.speaks(t, "intruder")

	mine := must[*api.Client](t, "client")(a.CreateClient(ctx, api.PostClient{PutClient: api.PutClient{PutClientSettings: api.PutClientSettings{Name: "Partner"}}, TeamID: "shop", Confidential: true}))
	key := func(of string) string {
		return must[*api.ClientKey](t, "key")(a.AddClientKey(ctx, of, api.PostClientKey{Label: "x", JWK: json.RawMessage(newJWK(t))})).ID
	}
	secret := func(of string) string {
		return must[*api.ClientSecret](t, "secret")(a.CreateClientSecret(ctx, of, api.PostClientSecret{Label: "y"})).ID
	}
	person := must[*api.User](t, "person")(a.CreateUser(ctx, api.CreateUser{Realm: "employees", Username: "jane"}))
	w.named = map[string]string{
		"applications/{id}": "sales-orders", "teams/{id}": "shop", "resource-types/{id}": "sales_order", "users/{id}": person.ID,
		"storage-keys/{id}": must[*api.IssuedStorageKey](t, "storage key")(a.IssueStorageKey(ctx, "sales-orders", api.IssueStorageKey{Bucket: "shop-mint"})).ID,
		"{client_id}":       mine.ClientID, "{name}": "shop-mint", "{store}": "local", "{bucket}": "shop-more", "resource-types/{id}/scopes/{scope}": "read", "{scope}": "sales_order.write",
		"client/keys/{key_id}": key("sales-orders"), "client/secrets/{secret_id}": secret("sales-orders"), "{key_id}": key(mine.ClientID), "{secret_id}": secret(mine.ClientID),
	}
	w.operations = operationsTried(t)
	w.order = []string{
		"application.put", "client.put", "application_key.list", "application_key.add", "application_key.remove", "application_secret.list", "application_secret.create",
		"application_secret.revoke", "destination.put", "destination.delete", "rotation.ask", "grant.put", "grant.delete", "storage_key.list", "storage_key.issue", "storage_key.delete",
		"client.create", "client.replace", "client_key.list", "client_key.add", "client_key.remove", "client_secret.list", "client_secret.create", "client_secret.revoke", "client.delete",
		"resource_type.put", "scope.put", "scope.delete", "resource_type.delete",
	}
	return w
}

// operationsTried is the table. A new operation has no line in it, and so fails the test until somebody says whose it is.
func operationsTried(t *testing.T) map[string]tried {
	key := `{"label":"new","jwk":` + newJWK(t) + `}`
	table := map[string]tried{
		"application.put": {teams, nil, `{"name":"Mine now"}`}, "client.put": {teams, nil, `{"redirect_uris":["https://a.example.org/cb"]}`},
		"application_key.list": {teams, nil, ""}, "application_key.add": {teams, nil, key}, "application_key.remove": {teams, nil, ""},
		"application_secret.list": {teams, nil, ""}, "application_secret.create": {teams, nil, `{"label":"new"}`}, "application_secret.revoke": {teams, nil, ""},
		"destination.put": {teams, nil, ""}, "destination.delete": {teams, nil, ""}, "rotation.ask": {teams, nil, `{}`},
		"grant.put": {teams, nil, ""}, "grant.delete": {teams, nil, ""}, // of scopes that people allow; see TestGrantsAreGivenByAdministrators of others
		"storage_key.list": {teams, nil, ""}, "storage_key.issue": {teams, nil, `{"bucket":"shop-mint"}`}, "storage_key.delete": {teams, nil, ""},
		"client.create": {teams, nil, `{"team_id":"shop","name":"Another","confidential":true}`}, "client.replace": {teams, nil, `{"name":"Mine now"}`}, "client.delete": {teams, nil, ""},
		"client_key.list": {teams, nil, ""}, "client_key.add": {teams, nil, key}, "client_key.remove": {teams, nil, ""},
		"client_secret.list": {teams, nil, ""}, "client_secret.create": {teams, nil, `{"label":"new"}`}, "client_secret.revoke": {teams, nil, ""},
		"resource_type.put": {teams, map[string]string{"{id}": "parcel"}, `{"name":"Parcel","team_id":"shop","resource_owners":["customers"]}`}, "resource_type.delete": {teams, map[string]string{"{id}": "parcel"}, ""},
		"scope.put": {teams, map[string]string{"{scope}": "new"}, `{"summary":"new","is_resource_owner_scope":true}`}, "scope.delete": {teams, map[string]string{"{scope}": "new"}, ""},
	}
	for _, id := range []string{
		"application.list", "application.get", "client.get", "client.list", "client.read", "destination.list", "rotation.get", "grant.list", "resource_type.list", "resource_type.get",
		"scope.list", "scope.get", "team.list", "team.get", "key.list", "bucket.list", "bucket.get",
	} {
		table[id] = tried{whose: everybodys}
	}
	for _, id := range []string{
		"team.put", "bucket.put", "audit.get_checkpoint", "audit.list", "key.rotate", "key.revoke",
		"registration_token.list", "registration_token.create", "registration_token.delete",
		"revocation.list", "revocation.create", "revocation.refresh", "revocation_rule.list", "revocation_rule.create", "revocation_rule.delete",
		"trusted_issuer.list", "trusted_issuer.get", "trusted_issuer.put", "trusted_issuer.delete",
		"user.list", "user.get", "user.create", "user.update", "user.disable", "user.enable", "user.invite", "user.set_password", "user.list_groups", "user.get_attributes", "user.update_attributes", "user.import", "user.export", "user.erase", "directory.list", "directory.test", "directory.sync", "identity.list", "identity.unlink",
		"provider.list", "provider.get", "provider.put", "provider.check", "provider.delete",
		"approval.list", "approval.withdraw", "factor.list", "factor.reset", "factor.remove",
		"group.list", "group.create", "group.get", "group.update", "group.delete", "group.list_members", "group.add_member", "group.remove_member",
	} {
		table[id] = tried{whose: administrators, body: "{}"}
	}
	return table
}

func newJWK(t *testing.T) string {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t, "key")(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return string(must[[]byte](t, "JWK")(json.Marshal(jose.JSONWebKey{Key: key.Public()})))
}

// speaks gives the application the right to change what is its team's, and answers a token of its own.
func (w *teamsTried) speaks(t *testing.T, application string) string {
	t.Helper()
	ctx := t.Context()
	must[*api.Grant](t, "grant")(w.admin.GrantScope(ctx, application, "application.write"))
	a := must[*api.Application](t, "application")(w.admin.Application(ctx, application))
	made := must[*api.ClientSecret](t, "secret")(w.admin.CreateClientSecret(ctx, application, api.PostClientSecret{Label: "test"}))
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {"uid application.write"}, "client_id": {a.ClientID}, "client_secret": {made.Secret}}
	answer := w.knock(t, w.config.Issuer, "", knock{method: "POST", path: "/oauth2/token", body: form.Encode(), header: map[string]string{"Content-Type": asForm}})
	token, _ := answer.document(t)["access_token"].(string)
	if answer.status != http.StatusOK || token == "" {
		t.Fatalf("no token for %s: %d %s", application, answer.status, answer.body)
	}
	return token
}

// described is what the server says of itself: method and path of each operation, by its id.
func (w *teamsTried) described(t *testing.T) map[string][2]string {
	t.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
	}
	_, body := fetch(t, w.config.Issuer+"/api/openapi.json")
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	all := map[string][2]string{}
	for path, methods := range document.Paths {
		for method, o := range methods {
			if o.OperationID != "" {
				all[o.OperationID] = [2]string{strings.ToUpper(method), path}
			}
		}
	}
	if len(all) < 80 {
		t.Fatalf("only %d operations were found", len(all))
	}
	return all
}

// at is the path with the names of shop's things in it.
func (w *teamsTried) at(path string, x tried) string {
	for from, to := range x.named {
		path = strings.Replace(path, from, to, 1)
	}
	var longest []string
	for from := range w.named {
		longest = append(longest, from)
	}
	slices.SortFunc(longest, func(a, b string) int { return len(b) - len(a) })
	for _, from := range longest {
		if parameter := from[strings.LastIndexByte(from, '{'):]; strings.Contains(path, from) {
			path = strings.Replace(path, from, strings.Replace(from, parameter, w.named[from], 1), 1)
		}
	}
	return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, "x")
}

func (w *teamsTried) call(t *testing.T, token string, operation [2]string, x tried) answered {
	t.Helper()
	k := knock{method: operation[0], path: w.at(operation[1], x), header: map[string]string{}}
	if operation[0] != http.MethodGet && x.body != "" {
		k.body, k.header["Content-Type"] = x.body, asJSON
	}
	return w.knock(t, w.config.Issuer, "Bearer "+token, k)
}

// Each verb on each thing of team shop, by an application of another team, which may do all of that with what is its own
// team's. The same request by shop's application works, so nothing but whose it is refuses the first.
func TestB7_131_ThingsOfAnotherTeam(t *testing.T) {
	t.Parallel()
	w := newTeamsTried(t)
	described := w.described(t)
	for id := range described {
		if _, ok := w.operations[id]; !ok {
			t.Errorf("nobody has said whose the operation %s is: put it into operationsTried", id)
		}
	}
	for id, x := range w.operations {
		operation, ok := described[id]
		switch {
		case !ok:
			t.Errorf("there is no operation %s any more", id)
		case x.whose == teams && !slices.Contains(w.order, id):
			t.Errorf("%s belongs to teams and is not tried", id)
		case x.whose == everybodys:
			if a := w.call(t, w.other, operation, x); a.status != http.StatusOK {
				t.Errorf("%s %v: %d %s", id, operation, a.status, a.body)
			}
		case x.whose == administrators:
			for who, token := range map[string]string{"its own team": w.own, "another team": w.other} {
				if a := w.call(t, token, operation, x); a.status != http.StatusForbidden && a.status != http.StatusNotFound && a.status != http.StatusBadRequest || a.status == http.StatusBadRequest && a.code() != "invalid_request" && a.code() != "unexpected_body" {
					t.Errorf("%s %v by %s: %d %s", id, operation, who, a.status, a.body)
				}
			}
		}
	}
	for _, id := range w.order {
		operation, x := described[id], w.operations[id]
		if a := w.call(t, w.other, operation, x); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
			t.Errorf("%s %v by another team: %d %s", id, operation, a.status, a.body)
		}
		if a := w.call(t, w.own, operation, x); a.status < 200 || a.status > 299 {
			t.Errorf("%s %v by its own team: %d %s", id, operation, a.status, a.body)
		}
	}
}

// A path that is written otherwise leads nowhere, whoever asks: what is asked for a right is what is done, and no proxy that
// reads it in another way lets somebody past.
func TestB7_129_OtherSpellingsOfPaths(t *testing.T) {
	t.Parallel()
	w := newTeamsTried(t)
	paths := []string{
		"/oauth2/jwks", "/oauth2/connect/keys", "/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/api/openapi.json",
		"/oauth2/session", "/oauth2/health", "/login", "/device", "/account", "/account/security", "/account/sessions", "/oauth2/authorize", "/oauth2/userinfo", "/mithril/users",
	}
	for id, operation := range w.described(t) {
		if operation[0] == http.MethodGet {
			paths = append(paths, w.at(operation[1], w.operations[id]))
		}
	}
	for _, path := range paths {
		known := w.raw(t, path, nil)
		if strings.HasPrefix(path, "/api/") && known != http.StatusOK && known != http.StatusNotFound {
			t.Errorf("%s: %d", path, known)
		}
		rest, last, _ := cutLast(path)
		for name, other := range map[string]string{
			"double slash": rest + "//" + last, "double slash in front": "/" + path, "dot segment": rest + "/./" + last, "climbing": rest + "/x/../" + last, "climbing above": "/.." + path,
			"encoded dots": rest + "/x/%2e%2e/" + last, "half encoded dots": rest + "/x/.%2E/" + last, "encoded slash": rest + "%2f" + last, "encoded slash in capitals": rest + "%2F" + last,
			"backslash": rest + "\\" + last, "encoded backslash": rest + "%5c" + last, "parameter": path + ";a=b", "parameter in between": rest + ";a/" + last, "trailing dot": path + ".",
			"trailing slash and dot": path + "/.", "trailing slash": path + "/", "NUL": path + "%00", "NUL and more": path + "%00.json", "line break": path + "%0a", "space": path + "%20",
			"case": rest + "/" + strings.ToUpper(last), "half encoded": rest + "/" + fmt.Sprintf("%%%02x", last[0]-32) + last[1:], "suffix": path + ".json", "twice encoded": rest + "%252f" + last,
		} {
			if other == path {
				continue
			}
			if status := w.raw(t, other, nil); status != http.StatusBadRequest && status != http.StatusNotFound && status != http.StatusMethodNotAllowed {
				t.Errorf("%s (%s): %d", other, name, status)
			}
		}
		// Headers by which a proxy tells what was asked for, or a form which method it means, change nothing.
		for _, header := range []string{"X-Original-URL: /api/audit/events", "X-Rewrite-URL: /api/audit/events", "X-Forwarded-Path: /api/audit/events", "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE"} {
			if status := w.raw(t, path, []string{header}); status != known {
				t.Errorf("%s with %s: %d, not %d", path, header, status, known)
			}
		}
	}
}

func cutLast(path string) (rest, last string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	return path[:i], path[i+1:], true
}

// raw sends a GET by an administrator byte for byte, and answers the status.
func (w *teamsTried) raw(t *testing.T, path string, headers []string) int {
	t.Helper()
	c := must[net.Conn](t, "connect")(net.Dial("tcp", w.config.Listen.Public))
	defer c.Close()
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: close\r\n%s\r\n", path, w.config.Listen.Public, w.adminKey(t), strings.Join(append(headers, ""), "\r\n"))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer res.Body.Close()
	return res.StatusCode
}
