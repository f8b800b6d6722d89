package registry_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// A client without an application, from its making to its end.
func TestStandaloneClient(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var ended []string
		w.r.OnClientEnded(func(_ context.Context, _ db.WriteTx, clientID string) error {
			ended = append(ended, clientID)
			return nil
		})
		h := w.serve()
		const body = `{"team_id":"shop","confidential":true,"name":"Partner","redirect_uris":["https://partner.example.org/cb"],
			"grant_types":["authorization_code","client_credentials"],"resource_owner_scopes":["sales_order.read"]}`
		for who, want := range map[string]int{"": 401, "joe": 403, "robot": 403, "customer": 403} {
			if got := call(h, who, "POST", "/api/clients", body); got.status != want {
				t.Errorf("%q: %d %s", who, got.status, got.body)
			}
		}
		made := decode[api.Client](t, call(h, "jane", "POST", "/api/clients", body), 200)
		path := "/api/clients/" + made.ClientID
		if got := call(h, "jane", "POST", "/api/clients", strings.Replace(body, `"name"`, `"userinfo_encrypted_response_alg":"ECDH-ES","name"`, 1)); got.status != 400 || !strings.Contains(got.body, "userinfo_encrypted_response_alg") {
			t.Errorf("encrypted for nobody: %d %s", got.status, got.body)
		}
		c, err := w.r.Clients().Client(ctx, made.ClientID)
		if err != nil || c.Application != "" || c.UserID != "" || c.Team != "shop" || c.Name != "Partner" || !c.Enabled || !c.Confidential {
			t.Fatalf("in memory: %+v %v", c, err)
		}
		if !slices.Equal(c.OwnerScopes, []string{"sales_order.read"}) || !slices.Equal(c.Scopes, []string{"uid"}) || !c.MayRedirect("https://partner.example.org/cb") {
			t.Errorf("in memory: %+v", c)
		}
		if !w.accepted(made.ClientID, redact.New(made.Secret)) {
			t.Error("its secret is refused")
		}
		read := call(h, "joe", "GET", path, "")
		if read.status != 200 || strings.Contains(read.body, made.Secret) || strings.Contains(read.body, "client_secret\"") {
			t.Errorf("read: %d %s", read.status, read.body)
		}
		if list := decode[api.Clients](t, call(h, "joe", "GET", "/api/clients?team_id=shop&untrusted=false", ""), 200); len(list.Items) != 1 {
			t.Errorf("listed: %+v", list)
		}
		if list := decode[api.Clients](t, call(h, "joe", "GET", "/api/clients?untrusted=true", ""), 200); len(list.Items) != 0 {
			t.Errorf("listed: %+v", list)
		}
		put := `{"name":"Partner 2","redirect_uris":["https://partner.example.org/cb"],"application_scopes":["sales_order.read_all"]}`
		if got := call(h, "jane", "PUT", path, put, "If-Match", read.etag); got.status != 403 {
			t.Errorf("a team gives itself an application scope: %d %s", got.status, got.body)
		}
		if got := call(h, "admin", "PUT", path, put, "If-Match", read.etag); got.status != 200 {
			t.Errorf("change: %d %s", got.status, got.body)
		}
		if got := call(h, "jane", "PUT", path, put); got.status != 200 {
			t.Errorf("the team keeps what was given: %d %s", got.status, got.body)
		}
		if got := call(h, "jane", "PUT", path, put, "If-Match", read.etag); got.status != 412 {
			t.Errorf("a stale version: %d", got.status)
		}
		c, err = w.r.Clients().Client(ctx, made.ClientID)
		if err != nil || !slices.Equal(c.Scopes, []string{"sales_order.read_all", "uid"}) || len(c.OwnerScopes) != 0 {
			t.Errorf("after the change: %+v %v", c, err)
		}
		if got := call(h, "admin", "DELETE", "/api/resource-types/sales_order/scopes/read_all", ""); got.status != 409 || !strings.Contains(got.body, made.ClientID) {
			t.Errorf("a scope that it holds is deleted: %d %s", got.status, got.body)
		}
		if got := call(h, "jane", "PUT", path, `{"name":"P","redirect_uris":["https://partner.example.org/cb"],"enabled":false}`); got.status != 200 || len(ended) != 1 {
			t.Errorf("disable: %d %s, %v", got.status, got.body, ended)
		}
		if w.accepted(made.ClientID, redact.New(made.Secret)) {
			t.Error("a disabled client is let in")
		}
		if got := call(h, "jane", "PUT", path, `{"name":"P","redirect_uris":["https://partner.example.org/cb"],"enabled":true}`); got.status != 200 || w.accepted(made.ClientID, redact.New(made.Secret)) {
			t.Errorf("enable: %d, or an old secret is good again", got.status)
		}
		if got := call(h, "joe", "DELETE", path, ""); got.status != 403 {
			t.Errorf("a stranger deletes: %d", got.status)
		}
		if got := call(h, "jane", "DELETE", path, ""); got.status != 204 || len(ended) != 2 {
			t.Errorf("delete: %d %s, %v", got.status, got.body, ended)
		}
		if _, err := w.r.Clients().Client(ctx, made.ClientID); !fault.Is(err, fault.NotFound) {
			t.Errorf("deleted: %v", err)
		}
		for _, method := range []string{"GET", "DELETE"} {
			if got := call(h, "jane", method, path, ""); got.status != 404 {
				t.Errorf("%s afterwards: %d %s", method, got.status, got.body)
			}
			if got := call(h, "customer", method, path, ""); got.status != 403 {
				t.Errorf("%s by somebody outside: %d %s", method, got.status, got.body)
			}
		}
	})
}

// B7.124: nobody gives a client what is not his to give, by naming it in a body.
func TestB7_124_StandaloneMassAssignment(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		for name, members := range map[string]string{
			"id":          `"client_id":"cli_x"`,
			"secret":      `"client_secret":"mine"`,
			"untrusted":   `"untrusted":false`,
			"trusted":     `"trusted":true`,
			"consent":     `"skip_consent":true`,
			"created by":  `"created_by":"me"`,
			"no name":     `"name":""`,
			"two owners":  `"owner_id":"usr_1"`,
			"owner scope": `"resource_owner_scopes":["sales_order.read_all"]`,
			"no scope":    `"application_scopes":["sales_order.nope"]`,
			"password":    `"grant_types":["password"]`,
		} {
			body := `{"team_id":"shop","name":"x","redirect_uris":["https://a.example/cb"],` + members + `}`
			if strings.Contains(members, `"name"`) {
				body = strings.Replace(body, `"name":"x",`, "", 1)
			}
			if got := call(h, "jane", "POST", "/api/clients", body); got.status != 400 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		for name, members := range map[string]string{
			"first party":        `"team_id":"shop","first_party":true`,
			"application scopes": `"team_id":"shop","application_scopes":["sales_order.read_all"]`,
			"another team":       `"team_id":"other"`,
			"nobody's":           `"confidential":true`,
			"a person's":         `"owner_id":"usr_jane"`,
		} {
			if got := call(h, "jane", "POST", "/api/clients", `{"name":"x","redirect_uris":["https://a.example/cb"],`+members+`}`); got.status != 403 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		made := decode[api.Client](t, call(h, "jane", "POST", "/api/clients", `{"team_id":"shop","name":"x","redirect_uris":["https://a.example/cb"]}`), 200)
		if made.Secret != "" || made.Confidential {
			t.Errorf("a public client: %+v", made)
		}
		for name, members := range map[string]string{"type swapped": `"confidential":true`, "owner": `"team_id":"other"`} {
			if got := call(h, "jane", "PUT", "/api/clients/"+made.ClientID, `{"name":"x","redirect_uris":["https://a.example/cb"],`+members+`}`); got.status != 400 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		// An application's client is not reached by the other door.
		a := w.app("kio")
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			body := ""
			if method == "PUT" {
				body = `{"name":"x","redirect_uris":["https://a.example/cb"]}`
			}
			if got := call(h, "jane", method, "/api/clients/"+a.ClientID, body); got.status != 404 {
				t.Errorf("%s: %d %s", method, got.status, got.body)
			}
		}
		if got := call(h, "joe", "POST", "/api/clients/"+a.ClientID+"/secrets", `{"label":"x"}`); got.status != 403 {
			t.Errorf("a stranger's secret: %d", got.status)
		}
	})
}

// The clients of a person go with the person, and the person alone manages them.
func TestClientsOfAPerson(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var owner string
		w.write(func(tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `INSERT INTO users (id, realm, username, display_name, admin, created, created_by, enabled_since, disabled) VALUES ('usr_c', 'customers', 'c', 'C', $1, 1, 'x', 1, 0)`, false)
			owner = customer.ID
			return err
		})
		h := w.serve()
		b, err := json.Marshal(api.PostClient{OwnerID: owner, Confidential: true, PutClient: api.PutClient{PutClientSettings: api.PutClientSettings{Name: "Mine", RedirectURIs: []string{"https://mine.example/cb"}}}})
		if err != nil {
			t.Fatal(err)
		}
		made := decode[api.Client](t, call(h, "admin", "POST", "/api/clients", string(b)), 200)
		for who, want := range map[string]int{"customer": 200, "jane": 403, "admin": 200} {
			if got := call(h, who, "PUT", "/api/clients/"+made.ClientID, `{"name":"Mine","redirect_uris":["https://mine.example/cb"]}`); got.status != want {
				t.Errorf("changed by %s: %d %s", who, got.status, got.body)
			}
		}
		w.write(func(tx db.WriteTx) error { return w.r.DeleteClientsOf(ctx, tx, admin, owner) })
		var list []registry.StandaloneClient
		w.read(func(tx db.ReadTx) (err error) {
			list, err = w.r.ListClients(ctx, tx, admin, registry.ClientFilter{Limit: 10})
			return err
		})
		if len(list) != 0 {
			t.Errorf("left: %+v", list)
		}
	})
}
