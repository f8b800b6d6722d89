package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/cli"
)

// people is what the server of these tests knows.
func people() map[string]any {
	jane := api.User{ID: "usr_1", Realm: "employees", Username: "jane", DisplayName: "Jane Doe", Email: "jane@example.org", Enabled: true, HasPassword: true, Created: ago(48 * time.Hour)}
	evil := api.User{ID: "usr_2", Realm: "employees", Username: "zoe", DisplayName: "\x1b[31mZoe\u202e", Admin: true, Created: ago(time.Hour), Disabled: agoAt(time.Minute)}
	engineering := api.Group{ID: "grp_1", Realm: "employees", Name: "engineering", Description: "\x1b[31mWho builds it", Created: ago(time.Hour), CreatedBy: "employees/admin"}
	return map[string]any{
		"GET /api/users": func(w http.ResponseWriter, r *http.Request) {
			all := []api.User{jane, evil}
			if name := r.FormValue("username"); name != "" {
				all = nil
				for _, u := range []api.User{jane, evil} {
					if u.Username == strings.ToLower(name) {
						all = append(all, u)
					}
				}
			}
			json.NewEncoder(w).Encode(api.Users{Items: all})
		},
		"POST /api/users": func(w http.ResponseWriter, r *http.Request) {
			var in api.CreateUser
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			w.WriteHeader(http.StatusCreated)
			json.NewEncoder(w).Encode(api.User{ID: "usr_3", Realm: in.Realm, Username: in.Username, DisplayName: in.DisplayName, Email: in.Email, Admin: in.Admin, Enabled: true, HasPassword: in.Password != ""})
		},
		"PUT /api/users/usr_1/password": nil,
		"GET /api/users/usr_1/groups":   api.Groups{Items: []api.Group{engineering}},
		"GET /api/users/usr_1/attributes": api.UserAttributes{Items: []api.UserAttribute{
			{Name: "department", Type: "string", Claim: "dept", Scope: "work", Editable: "administrator", Value: json.RawMessage(`"sales\u001b[31m"`)}, {Name: "grade", Type: "number", Claim: "grade", Scope: "work", Editable: "administrator"},
			{Name: "skills", Type: "list", Claim: "skills", Scope: "skills", Editable: "person", Value: json.RawMessage(`["go","sql"]`)}, {Name: "shoe_size", Value: json.RawMessage("44")}}},
		"PUT /api/users/usr_1/attributes": func(w http.ResponseWriter, r *http.Request) {
			var in api.PutUserAttributes
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil || fmt.Sprintf("%s", in.Attributes) != `map[department:null grade:7 skills:["go","sql"]]` {
				http.Error(w, fmt.Sprintf("%s %v", in.Attributes, err), http.StatusBadRequest)
				return
			}
			json.NewEncoder(w).Encode(api.UserAttributes{})
		},
		"GET /api/groups": func(w http.ResponseWriter, r *http.Request) {
			all := api.Groups{Items: []api.Group{engineering}}
			if !strings.HasPrefix("engineering", r.FormValue("search")) {
				all.Items = nil
			}
			json.NewEncoder(w).Encode(all)
		},
		"POST /api/users/usr_1/erase":            nil,
		"POST /api/users/usr_1/export":           api.UserExport{UserID: "usr_1", At: ago(0), Sections: []api.ExportSection{{Name: "people", Records: []map[string]string{{"email": "jane@example.org"}}}}},
		"POST /api/groups":                       engineering,
		"PUT /api/groups/grp_1":                  engineering,
		"DELETE /api/groups/grp_1":               nil,
		"PUT /api/groups/grp_1/members/usr_1":    nil,
		"DELETE /api/groups/grp_1/members/usr_1": nil,
		"GET /api/groups/grp_1/members": api.GroupMembers{Items: []api.GroupMember{
			{UserID: "usr_1", Realm: "employees", Username: "jane", DisplayName: "\x1b[31mJane", Added: ago(time.Hour), AddedBy: "employees/admin"}}},
		"POST /api/users/usr_1/disable": jane,
		"POST /api/users/usr_1/enable":  jane,
		"GET /api/users/usr_1/approvals": api.Approvals{Items: []api.Approval{
			{ClientID: "cli_1", Application: "my-shop", Scopes: []string{"openid", "sales_order.read"}, Granted: ago(time.Hour), Since: ago(48 * time.Hour), Asked: true},
		}},
		"GET /api/users/usr_2/approvals":          api.Approvals{Items: []api.Approval{}},
		"DELETE /api/users/usr_1/approvals/cli_1": nil,
		"GET /api/users/usr_1/factors": api.Factors{RecoveryCodes: 9, Items: []api.Factor{
			{ID: "fac_1", Kind: "passkey", Name: "\x1b[31mLaptop\u202e", Synced: true, Created: ago(time.Hour)},
			{ID: "fac_2", Kind: "totp", Created: ago(time.Hour), LastUsed: agoAt(time.Minute)},
		}},
		"GET /api/users/usr_2/factors":          api.Factors{Items: []api.Factor{}, Required: true},
		"DELETE /api/users/usr_1/factors":       nil,
		"DELETE /api/users/usr_1/factors/fac_1": nil,
	}
}

func TestUserCommands(t *testing.T) {
	alone(t)
	dir := t.TempDir()
	for file, content := range map[string]string{"password": "p4ss of a few words\n", "two-lines": "p4ss\nand more\n", "token": "mmk_test"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("MINTMARK_TOKEN_FILE", filepath.Join(dir, "token"))
	password := filepath.Join(dir, "password")
	for name, args := range map[string][]string{
		"user-create":            {"user", "create", "employees/jane", "--display-name", "Jane Doe", "--email", "jane@example.org", "--password-file", password},
		"user-create-without":    {"user", "create", "/customers/acme", "--without-password"},
		"user-create-stdin":      {"user", "create", "employees/joe", "--admin", "--password-file", "-"},
		"user-create-json":       {"user", "create", "employees/jane", "--password-file", password, "-o", "json"},
		"user-create-blind":      {"user", "create", "employees/jane"},
		"user-create-lines":      {"user", "create", "employees/jane", "--password-file", filepath.Join(dir, "two-lines")},
		"user-create-both":       {"user", "create", "employees/jane", "--password-file", password, "--without-password"},
		"user-create-nameless":   {"user", "create", "jane"},
		"user-list":              {"user", "list"},
		"user-list-realm":        {"user", "list", "--realm", "employees", "-o", "json"},
		"user-list-search":       {"user", "list", "--search", "ja", "--state", "enabled", "--limit", "1"},
		"user-list-group":        {"user", "list", "--group", "employees/Engineering"},
		"user-export":            {"user", "export", "employees/jane"},
		"user-erase":             {"user", "erase", "employees/jane", "--yes"},
		"user-erase-no":          {"user", "erase", "employees/jane"},
		"user-show":              {"user", "show", "employees/jane"},
		"user-show-json":         {"user", "show", "employees/jane", "-o", "json"},
		"user-update-attribute":  {"user", "update", "employees/jane", "--attribute", "department=", "--attribute", "grade=7", "--attribute", "skills=go, sql"},
		"user-update-unknown":    {"user", "update", "employees/jane", "--attribute", "planet=earth"},
		"user-update-wrong":      {"user", "update", "employees/jane", "--attribute", "grade=seven"},
		"user-update-nothing":    {"user", "update", "employees/jane"},
		"group-create":           {"group", "create", "employees/engineering", "--description", "Who builds it"},
		"group-create-nameless":  {"group", "create", "engineering"},
		"group-list":             {"group", "list", "--realm", "employees", "--search", "eng"},
		"group-show":             {"group", "show", "employees/engineering"},
		"group-show-none":        {"group", "show", "employees/eng"},
		"group-update":           {"group", "update", "employees/engineering", "--name", "platform"},
		"group-update-nothing":   {"group", "update", "employees/engineering"},
		"group-delete":           {"group", "delete", "employees/engineering", "--yes"},
		"group-delete-no":        {"group", "delete", "employees/engineering"},
		"group-members":          {"group", "members", "employees/engineering"},
		"group-add":              {"group", "add", "employees/engineering", "jane"},
		"group-add-nobody":       {"group", "add", "employees/engineering", "nobody"},
		"group-remove":           {"group", "remove", "employees/engineering", "jane"},
		"user-list-state":        {"user", "list", "--state", "asleep"},
		"user-disable":           {"user", "disable", "employees/jane"},
		"user-disable-unknown":   {"user", "disable", "employees/nobody"},
		"user-enable":            {"user", "enable", "employees/Jane"},
		"user-approvals":         {"user", "approvals", "employees/jane"},
		"user-approvals-json":    {"user", "approvals", "employees/jane", "-o", "json"},
		"user-approvals-none":    {"user", "approvals", "employees/zoe"},
		"user-factors":           {"user", "factors", "list", "employees/jane"},
		"user-factors-none":      {"user", "factors", "list", "employees/zoe"},
		"user-factors-reset":     {"user", "factors", "reset", "employees/jane", "--all"},
		"user-factors-reset-one": {"user", "factors", "reset", "employees/jane", "--factor", "fac_1"},
		"user-factors-reset-how": {"user", "factors", "reset", "employees/jane"},
		"user-withdraw":          {"user", "withdraw", "employees/jane", "cli_1"},
		"user-set-password":      {"user", "set-password", "employees/jane", "--password-file", password},
		"user-set-password-json": {"user", "set-password", "employees/jane", "--password-file", password, "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, people())
			t.Setenv("MINTMARK_URL", s.URL)
			r := run(t, "p4ss from elsewhere\n", args...)
			if strings.Contains(r.stdout+r.stderr, "p4ss") {
				t.Errorf("a password is printed:\n%s", r.golden())
			}
			got := "$ mintmark " + strings.Join(args, " ") + "\n" + r.golden() + "--- requests\n" + s.requests()
			compare(t, "commands/"+name+".txt", strings.NewReplacer(dir, "DIR", s.URL, "URL").Replace(got))
		})
	}
}

func TestRevokeCommands(t *testing.T) {
	alone(t)
	routes := people()
	at := ago(time.Minute)
	many := api.Revocation{ID: "rvk_1", Kind: "user", Claims: map[string]string{"sub": "usr_1", "realm": "employees"}, IssuedBefore: at, Revoked: at, RevokedBy: "employees/admin", Reason: "\x1b[31mlost"}
	routes["POST /api/revocations"] = func(w http.ResponseWriter, r *http.Request) {
		var in api.Revoke
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		out := api.Revoked{Sessions: 2}
		if in.Kind != "session" && in.Kind != "grant" {
			out.Revocation = &many
		}
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(out)
	}
	routes["GET /api/revocations"] = api.Revocations{Items: []api.Revocation{many, {ID: "rvk_2", Kind: "everything", IssuedBefore: at, Revoked: at, RevokedBy: "employees/admin", Reason: "x"}}}
	routes["POST /api/revocations/refresh"] = nil
	rule := api.RevocationRule{ID: "rul_1", Required: map[string]string{"client_id": "cli_1"}, Allowed: map[string]string{"realm": "customers"}, Created: at, CreatedBy: "employees/admin"}
	routes["GET /api/revocation-rules"] = api.RevocationRules{Items: []api.RevocationRule{rule}}
	routes["POST /api/revocation-rules"] = rule
	routes["DELETE /api/revocation-rules/rul_1"] = nil
	for name, args := range map[string][]string{
		"revoke-session":    {"revoke", "session", "ses_1", "--reason", "x"},
		"revoke-grant":      {"revoke", "grant", "grt_1", "--reason", "x"},
		"revoke-client":     {"revoke", "client", "cli_1", "--reason", "x"},
		"revoke-user":       {"revoke", "user", "employees/jane", "--reason", "x"},
		"revoke-service":    {"revoke", "user", "--service", "services/shop", "--reason", "x"},
		"revoke-realm":      {"revoke", "realm", "customers", "--reason", "x", "--yes"},
		"revoke-realm-no":   {"revoke", "realm", "customers", "--reason", "x"},
		"revoke-claims":     {"revoke", "claims", "sub=a", "realm=services", "--before", "2026-11-22T12:00:00Z", "--reason", "x"},
		"revoke-everything": {"revoke", "everything", "--reason", "x", "--yes", "-o", "json"},
		"revoke-no":         {"revoke", "everything", "--reason", "x"},
		"revoke-reasonless": {"revoke", "everything", "--yes"},
		"revoke-list":       {"revoke", "list"},
		"revoke-refresh":    {"revoke", "refresh", "--since", "2026-11-22T12:00:00Z"},
		"revoke-rules":      {"revoke", "rules"},
		"revoke-allow":      {"revoke", "allow", "--who", "client_id=cli_1", "--what", "realm=customers"},
		"revoke-disallow":   {"revoke", "disallow", "rul_1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, routes)
			t.Setenv("MINTMARK_URL", s.URL)
			r := run(t, "", args...)
			got := "$ mintmark " + strings.Join(args, " ") + "\n" + r.golden() + "--- requests\n" + s.requests()
			compare(t, "commands/"+name+".txt", strings.ReplaceAll(got, s.URL, "URL"))
		})
	}
}

// Without a terminal nobody can be asked, and nothing is sent.
func TestPasswordIsNotAskedForInTheDark(t *testing.T) {
	alone(t)
	s := newServer(t, people())
	r := run(t, "a password of some length\n", "user", "create", "employees/jane", "--server", s.URL)
	if r.code != cli.ExitUsage || !strings.Contains(r.stderr, "--password-file") || s.requests() != "\n" {
		t.Errorf("%s\n%s", r.golden(), s.requests())
	}
}
