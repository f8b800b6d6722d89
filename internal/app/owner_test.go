package app_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
)

// ownedClient makes a client that acts for itself, and knows how to ask for its tokens.
func (w *world) ownedClient(t *testing.T, of api.PostClient) (clientID string, token func() answered) {
	t.Helper()
	of.Confidential, of.Name, of.GrantTypes = true, "Report", []string{"client_credentials"}
	made := must[*api.Client](t, "client")(w.admin.CreateClient(t.Context(), of))
	return made.ClientID, func() answered {
		return w.asClient(t, made.ClientID, made.Secret, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}})
	}
}

func (w *world) asClient(t *testing.T, clientID, secret, path string, form url.Values) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.config.Issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(clientID, secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, req)
}

// What somebody owns himself is refused while he is disabled, with each token that it has, and what a team owns is not.
// When he is enabled again so is his client, and its tokens from before stay dead.
func TestB2_56_ClientOfADisabledPerson(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		ctx := t.Context()
		must[*api.Team](t, "team")(w.admin.PutTeam(ctx, "shop", api.PutTeam{Name: "Shop"}))
		jane := must[*api.User](t, "person")(w.admin.CreateUser(ctx, api.CreateUser{Realm: "employees", Username: "jane"}))
		own, ofJane := w.ownedClient(t, api.PostClient{OwnerID: jane.ID})
		_, ofTeam := w.ownedClient(t, api.PostClient{TeamID: "shop"})
		resource := must[*api.Client](t, "client")(w.admin.CreateClient(ctx, api.PostClient{TeamID: "shop", Confidential: true, PutClient: api.PutClient{PutClientSettings: api.PutClientSettings{Name: "API"}}}))
		about := func(token string) string {
			a := w.asClient(t, resource.ClientID, resource.Secret, "/oauth2/introspect", url.Values{"token": {token}})
			info, err := http.NewRequestWithContext(ctx, http.MethodGet, w.config.Issuer+"/oauth2/tokeninfo", nil)
			if err != nil {
				t.Fatal(err)
			}
			info.Header.Set("Authorization", "Bearer "+token)
			return fmt.Sprint(a.document(t)["active"], do(t, info).status)
		}
		issued := func(a answered) string {
			t.Helper()
			if a.status != http.StatusOK {
				t.Fatalf("no token: %d %s", a.status, a.body)
			}
			return a.document(t)["access_token"].(string)
		}
		before, teams := issued(ofJane()), issued(ofTeam())
		if got := about(before); got != "true 200" {
			t.Fatalf("a new token: %s", got)
		}
		becomes := func(what, want string, f func() string) {
			t.Helper()
			eventually(t, what, func() error {
				if got := f(); got != want {
					return fmt.Errorf("%s", got)
				}
				return nil
			})
		}
		state := func() string {
			c := must[*api.Client](t, "client")(w.admin.Client(ctx, own))
			return fmt.Sprint(c.Enabled, c.OwnerDisabled)
		}

		must[*api.User](t, "block")(w.admin.BlockUser(ctx, jane.ID, api.DisableUser{Reason: "left in anger"}))
		becomes("its token is refused", "false 401", func() string { return about(before) })
		becomes("it gets none", "401 invalid_client", func() string { a := ofJane(); return fmt.Sprint(a.status, " ", a.code()) })
		if got := about(teams); got != "true 200" || ofTeam().status != http.StatusOK {
			t.Errorf("the team's client is refused, too: %s", got)
		}
		if got := state(); got != "true true" {
			t.Errorf("as administrators see it: %s", got)
		}

		must[*api.User](t, "enable")(w.admin.EnableUser(ctx, jane.ID))
		becomes("it gets tokens again", "200", func() string { return fmt.Sprint(ofJane().status) })
		after := issued(ofJane())
		if got := about(before) + " " + about(after) + " " + state(); got != "false 401 true 200 true false" {
			t.Errorf("tokens from before and after: %s", got)
		}

		// Who is erased stays disabled, and so does what was his alone.
		if err := w.admin.EraseUser(ctx, jane.ID, "jane"); err != nil {
			t.Fatal(err)
		}
		becomes("it is refused with the erased", "401 false 401", func() string { return fmt.Sprint(ofJane().status, " ", about(after)) })
	})
}
