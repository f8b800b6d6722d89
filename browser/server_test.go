// Package browser_test sees the pages as people do: it drives Chromium through them, on a whole server with people, an
// application and a device. On each page it looks, in light and dark, for what axe finds, for what the browser refuses
// or complains of, and for anything that does not fit a phone of 320 pixels. With MINTMARK_SCREENSHOTS it keeps pictures.
//
// MINTMARK_TEST_CHROMIUM names the browser; else it is looked for by its usual names, and the tests fail without one.
package browser_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/testport"
)

const (
	patience = 40 * time.Second
	secret   = "a walk in the rain at night"
	longName = "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen-Prüfungskommission"
)

// trusting calls servers of the tests, whose certificates nobody signed.
var trusting = &http.Client{
	Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, //nolint:gosec // our own servers
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// keeps is what the employees' realm keeps of its people: a field of each kind, and what an administrator alone says.
var keeps = []attributes.Attribute{
	{Name: "nickname", Editable: "person", AtRegistration: "asked", Label: "What colleagues call you", Labels: map[string]string{"de": "Wie Kolleginnen und Kollegen Sie nennen"}},
	{Name: "shirt", Editable: "person", AtRegistration: "required", Label: "Shirt size", Labels: map[string]string{"de": "Hemdgröße"},
		Choices: []attributes.Choice{{Value: "s", Label: "Small", Labels: map[string]string{"de": "Klein"}}, {Value: "l", Label: "Large", Labels: map[string]string{"de": "Groß"}}}},
	{Name: "desk", Type: "number", Editable: "person", Label: "Desk", Labels: map[string]string{"de": "Schreibtisch"}},
	{Name: "remote", Type: "boolean", Editable: "person", Label: "Works from home", Labels: map[string]string{"de": "Arbeitet zu Hause"}},
	{Name: "hobbies", Type: "list", Max: 5, Editable: "person", Label: "Hobbies", Labels: map[string]string{"de": "Liebhabereien"}},
	{Name: "speaks", Type: "list", Editable: "person", Label: "Languages you speak", Labels: map[string]string{"de": "Sprachen, die Sie sprechen"},
		Choices: []attributes.Choice{{Value: "de", Label: "German", Labels: map[string]string{"de": "Deutsch"}}, {Value: "en", Label: "English", Labels: map[string]string{"de": "Englisch"}}, {Value: "fr", Label: longName}}},
	{Name: "department", Scope: "work", Label: "Department", Labels: map[string]string{"de": "Abteilung"}},
}

// world is a server, and an application of others that sends people to it.
type world struct {
	issuer   string
	shop     *httptest.Server
	clientID string
	admin    *client.Client
}

func start(t *testing.T) *world { return startAt(t, "http", nil) }

// startAt starts the server with more settings and realms, at an address of this scheme.
func startAt(t *testing.T, scheme string, settings map[string]string, realms ...app.Realm) *world {
	t.Helper()
	public := testport.Addr(t)
	issuer := scheme + "://" + strings.Replace(public, "127.0.0.1", "localhost", 1) // browsers keep no passkeys for an address
	values := map[string]string{
		"data_dir": filepath.Join(t.TempDir(), "data"), "issuer": issuer, "shutdown_grace": "2s",
		"listen.public": public, "listen.s3": testport.Addr(t), "listen.operations": testport.Addr(t), "mail.kind": "mailbox",
	}
	maps.Copy(values, settings)
	c, err := app.Load(app.Source{Values: values})
	if err != nil {
		t.Fatal(err)
	}
	c.Realms = []app.Realm{{Name: "employees", Registration: "open", SelfErase: true, Attributes: keeps}}
	c.Outbound = app.Outbound{Allow: []string{"127.0.0.0/8", "::1/128"}, HTTP: true} // a provider on this machine
	// A colour that nobody could read on a light page, and a logo that is wide.
	logo := filepath.Join(t.TempDir(), "logo.svg")
	if err := os.WriteFile(logo, []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 220 40"><circle cx="20" cy="20" r="18" fill="#ffd500"/><path d="M50 12h160v6H50zM50 22h110v6H50z" fill="#8a7a2a"/></svg>`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Realms = append(c.Realms, app.Realm{Name: "customers", Look: look.Settings{Title: "Sunflower Shop", Colour: "#ffd500", Logo: logo, Help: "https://help.example.org/", Imprint: "https://shop.example.org/imprint", Privacy: "https://shop.example.org/privacy"}})
	c.Realms = append(c.Realms, realms...)
	c.Keys.Also = nil // an RSA key takes a while to make
	ctx, cancel := context.WithCancel(context.Background())
	a, err := app.Start(ctx, c, app.Build{Version: "test"}, slog.New(slog.NewJSONHandler(io.Discard, nil)))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	w := &world{issuer: issuer}
	w.await(t, "http://"+c.Listen.Operations+"/readyz")
	w.shop = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><h1 id="shop">Back at the shop</h1>`)
	}))
	t.Cleanup(w.shop.Close)
	key, err := os.ReadFile(c.AdminKeyFile())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(issuer, client.Options{HTTPClient: trusting, Token: func(context.Context) (string, error) { return strings.TrimSpace(string(key)), nil }})
	if err != nil {
		t.Fatal(err)
	}
	w.admin = admin
	w.furnish(t, admin)
	return w
}

func (w *world) await(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if res, err := http.Get(address); err == nil { //nolint:gosec,noctx // our own server
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			t.Fatal("the server does not get ready")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// furnish makes two people, an administrator, and a shop that signs people in and whose devices do so, too.
func (w *world) furnish(t *testing.T, admin *client.Client) {
	t.Helper()
	ctx := t.Context()
	team, active, public, name := "shop", true, false, "Web shop"
	must(t)(admin.PutTeam(ctx, team, api.PutTeam{Name: "Shop and " + longName}))
	must(t)(admin.PutResourceType(ctx, "sales_order", api.PutResourceType{Name: "sales order", TeamID: team, ResourceOwners: []string{"employees", "customers"}}))
	must(t)(admin.PutScope(ctx, "sales_order", "read", api.PutScope{Summary: "Read", UserInformation: "Read your orders", IsResourceOwnerScope: true}))
	must(t)(admin.PutApplication(ctx, "web-shop", api.PutApplication{TeamID: &team, Active: &active, Name: &name, IsClientConfidential: &public}))
	must(t)(admin.GrantScope(ctx, "web-shop", "sales_order.read"))
	must(t)(admin.PutClientSettings(ctx, "web-shop", api.PutClientSettings{Name: "Web shop", RedirectURIs: []string{w.shop.URL + "/callback"},
		GrantTypes: []string{"authorization_code", "urn:ietf:params:oauth:grant-type:device_code"}}))
	settings, err := admin.ClientSettings(ctx, "web-shop")
	if err != nil {
		t.Fatal(err)
	}
	w.clientID = settings.ClientID
	for _, u := range []api.CreateUser{
		{Realm: "employees", Username: "alice", DisplayName: "Alice Example", Email: "alice@example.org", Password: secret},
		{Realm: "employees", Username: "long", DisplayName: longName, Password: secret},
		{Realm: "employees", Username: "root", DisplayName: "Ada Root", Password: secret, Admin: true},
	} {
		must(t)(admin.CreateUser(ctx, u))
	}
}

// must ends the test if a call failed.
func must(t *testing.T) func(_ any, err error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// authorize is where the shop sends people; set changes what it asks for.
func (w *world) authorize(set ...string) string {
	v := url.Values{"response_type": {"code"}, "client_id": {w.clientID}, "redirect_uri": {w.shop.URL + "/callback"}, "scope": {"openid profile sales_order.read"},
		"state": {"s"}, "code_challenge_method": {"S256"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}}
	for i := 0; i+1 < len(set); i += 2 {
		v.Set(set[i], set[i+1])
	}
	return w.issuer + "/oauth2/authorize?" + v.Encode()
}

// device asks for a code as a device does.
func (w *world) device(t *testing.T) (code string) {
	t.Helper()
	res, err := http.PostForm(w.issuer+"/oauth2/device_authorization", url.Values{"client_id": {w.clientID}, "scope": {"openid sales_order.read"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		UserCode string `json:"user_code"`
	}
	decode(t, res.Body, &out)
	if res.StatusCode != http.StatusOK || out.UserCode == "" {
		t.Fatalf("no code for the device: %d", res.StatusCode)
	}
	return out.UserCode
}
