package app_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity/attributes"
)

// Somebody comes from another system with a password, a group and attributes, signs in to an application that is told of
// them, changes what is hers to change, is given all that is kept of her, and is erased.
func TestPersonFromAnotherSystemAndOutAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		c := configure(t, emptyURL(t, engine), map[string]string{"mail.kind": "mailbox"})
		c.Realms = []app.Realm{{Name: "customers", SelfErase: true, Attributes: []attributes.Attribute{
			{Name: "plan", Scope: "shop", Label: "Plan"}, {Name: "seats", Type: attributes.Number, Scope: "shop", Label: "Seats"}, {Name: "nickname", Scope: "shop", Editable: attributes.ByPerson, Label: "Nickname"},
		}}}
		w := startWith(t, c)
		config, provider := w.relyingParty(t)
		must[*api.ClientSettings](t, "person scopes")(w.admin.PutClientSettings(t.Context(), "sales-orders", api.PutClientSettings{
			Name: "My shop", RedirectURIs: []string{"https://shop.example.org/cb"}, GrantTypes: []string{"authorization_code"}, ClientMetadata: api.ClientMetadata{PersonScopes: []string{"groups", "shop"}},
		}))
		must[*api.Group](t, "group")(w.admin.CreateGroup(t.Context(), api.CreateGroup{Realm: "customers", Name: "gold"}))
		hash, err := bcrypt.GenerateFromPassword([]byte(alicePassword), 4)
		if err != nil {
			t.Fatal(err)
		}
		done := must[*api.ImportedUsers](t, "import")(w.admin.ImportUsers(t.Context(), api.ImportUsers{Realm: "customers", CSV: "external_id,username,email,password_hash,groups,attribute.plan,attribute.seats\n7,jane,jane@example.org," + string(hash) + ",gold,Premium,12\n"}))
		if done.Created != 1 || len(done.Refused) != 0 {
			t.Fatalf("%+v", done)
		}
		config.Scopes = []string{oidc.ScopeOpenID, "groups", "shop"}
		b, verifier := newBrowser(t), oauth2.GenerateVerifier()
		page := b.open(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)))
		page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {"jane"}, "password": {alicePassword}})
		if page.at != "/consent" || !strings.Contains(page.body, "See what is kept of you as Plan, Seats, Nickname.") {
			t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
		}
		page = b.submit(t, page, url.Values{"decision": {"allow"}})
		token := must[*oauth2.Token](t, "exchange")(config.Exchange(t.Context(), page.query.Get("code"), oauth2.VerifierOption(verifier)))
		type told struct {
			Groups   []string    `json:"groups"`
			Plan     string      `json:"plan"`
			Seats    json.Number `json:"seats"`
			Nickname string      `json:"nickname"`
		}
		raw, _ := token.Extra("id_token").(string)
		id := must[*oidc.IDToken](t, "ID token")(provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(t.Context(), raw))
		var inToken told
		if err := id.Claims(&inToken); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(told{Groups: []string{"gold"}, Plan: "Premium", Seats: "12"}, inToken); diff != "" {
			t.Errorf("the ID token: %s", diff)
		}
		page = b.submit(t, b.open(t, w.config.Issuer+"/account/profile"), url.Values{"display_name": {"Jane"}, "attribute-nickname": {"Jay"}, "attribute-plan": {"Free"}})
		if page.at != "/account/profile" || !strings.Contains(page.body, "profile-done") {
			t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
		}
		info := must[*oidc.UserInfo](t, "userinfo")(provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)))
		var inInfo told
		if err := info.Claims(&inInfo); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(told{Groups: []string{"gold"}, Plan: "Premium", Seats: "12", Nickname: "Jay"}, inInfo); diff != "" {
			t.Errorf("userinfo: %s", diff)
		}
		w.outAgain(t, b, info.Subject)
		if _, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)); err == nil {
			t.Error("userinfo tells of somebody who is erased")
		}
	})
}

// outAgain compares what is kept of jane with what came, and has her erase it.
func (w *world) outAgain(t *testing.T, b *testBrowser, userID string) {
	t.Helper()
	held := must[*api.UserExport](t, "export")(w.admin.ExportUser(t.Context(), userID))
	text := must[[]byte](t, "write")(json.Marshal(held))
	for _, want := range []string{`"name":"gold"`, `"Premium\"`, `"value":"12"`, `"Jay\"`, `"external_id":"7"`, `"jane@example.org"`, `"client_id"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the export lacks %s:\n%s", want, text)
		}
	}
	page := b.submit(t, b.open(t, w.config.Issuer+"/account/erase"), url.Values{"confirm": {"jane"}})
	if page.at != "/login" || !strings.Contains(page.body, "login-done") {
		t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
	}
	if after, err := w.admin.ExportUser(t.Context(), userID); err == nil {
		for _, s := range after.Sections {
			for _, r := range s.Records {
				for name, value := range r {
					if s.Name != "audit_events" && (strings.Contains(value, "jane") || strings.Contains(value, "Jay") || strings.Contains(value, "Premium") || s.Name == "person_attributes" || s.Name == "group_members") {
						t.Errorf("%s keeps %s=%s", s.Name, name, value)
					}
				}
			}
		}
	}
	done := must[*api.ImportedUsers](t, "import again")(w.admin.ImportUsers(t.Context(), api.ImportUsers{Realm: "customers", DryRun: true, Rows: []api.ImportUser{{ExternalID: "7", Username: "jane", Email: "jane@example.org"}}}))
	if done.Created != 1 {
		t.Errorf("name, address or id is not free: %+v", done)
	}
}
