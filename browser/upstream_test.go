package browser_test

import (
	"testing"

	"github.com/mintmark/mintmark/api"
)

// TestUpstreamProvider signs in at one server with an account at another, which is its OpenID provider: first as somebody
// whom nobody here knows, who links two accounts, then by the button alone; and as somebody for whom an account begins,
// whose name another one has here.
func TestUpstreamProvider(t *testing.T) {
	up, down := start(t), start(t)
	ctx, team, active, public, name := t.Context(), "shop", true, false, "Other server"
	must(t)(up.admin.PutApplication(ctx, "other-server", api.PutApplication{TeamID: &team, Active: &active, Name: &name, IsClientConfidential: &public}))
	must(t)(up.admin.PutClientSettings(ctx, "other-server", api.PutClientSettings{Name: name, RedirectURIs: []string{down.issuer + "/login/callback/up"}, GrantTypes: []string{"authorization_code"}, PostLogoutRedirectURIs: []string{down.issuer + "/login/upstream/up/signed-out"}}))
	settings, err := up.admin.ClientSettings(ctx, "other-server")
	if err != nil {
		t.Fatal(err)
	}
	must(t)(down.admin.PutLoginProvider(ctx, "up", api.PutLoginProvider{Realm: "employees", Name: "Example Org", Issuer: up.issuer, ClientID: settings.ClientID, Policy: api.ProviderPolicy{Userinfo: true, OfferLogout: true, CreateUsers: true}}))
	checked, err := down.admin.CheckLoginProvider(ctx, "up")
	if err != nil || !checked.OK || !checked.TellsIssuer {
		t.Fatalf("%+v, %v", checked, err)
	}
	for _, l := range []string{"en", "de"} {
		t.Run(l, func(t *testing.T) {
			b := open(t, l)
			b.visit(down.issuer + "/login?return_to=/account")
			b.look("login with a provider")
			if l == "en" {
				b.click("#upstream-up", "#login-submit")
				b.signIn("alice", "#consent-allow")
				b.click("#consent-allow", "#upstream-link")
				b.look("provider unknown")
				b.click("#upstream-link", "#login-submit")
				b.signIn("alice", "#link-confirm")
				b.look("provider link")
				b.click("#link-confirm", "#security-done")
				b.look("security with a provider")
				return
			}
			b.click("#upstream-up", "#login-submit")
			b.signIn("alice", "#logout-confirm")
			b.look("account by a provider")
			b.visit(down.issuer + "/logout")
			b.click("#logout-confirm", "#sign-out-there")
			b.look("signed out here alone")
			b.click("#sign-out-there", "#signed-out-there")
			b.look("signed out at the provider")
		})
		t.Run(l+", a name that is taken", func(t *testing.T) {
			name := "twin-" + l
			for _, w := range []*world{up, down} {
				must(t)(w.admin.CreateUser(ctx, api.CreateUser{Realm: "employees", Username: name, DisplayName: longName, Password: secret}))
			}
			b := open(t, l)
			b.visit(down.issuer + "/login?return_to=/account/profile")
			b.click("#upstream-up", "#login-submit")
			b.signIn(name, "#consent-allow")
			b.click("#consent-allow", "#upstream-create")
			b.look("provider name")
			b.fill("#username", name)
			b.click("#upstream-create", "#upstream-problem")
			b.look("provider name, taken")
			b.fill("#username", name+" "+longName)
			b.click("#upstream-create", `#username[value*=" "]`)
			b.look("provider name, refused")
			b.fill("#username", name+"-too")
			b.click("#upstream-create", "#profile-save")
			b.look("profile of somebody new")
		})
	}
}
