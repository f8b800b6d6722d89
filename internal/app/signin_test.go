package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/client"
	"github.com/mintmark/mintmark/internal/db"
)

const alicePassword = "correct horse battery staple"

// A person signs in to an application through our own pages, with a browser that has nothing but cookies; the
// application is a client that others wrote, which knows us by discovery alone.
func TestSignInToAThirdPartyClient(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		// Each engine with another algorithm, because what at_hash hashes with depends on it.
		algorithm := map[db.Engine]string{db.SQLite: "ES256", db.PostgreSQL: "EdDSA"}[engine]
		w := start(t, engine, map[string]string{"signing_keys.algorithm": algorithm})
		config, provider := w.relyingParty(t)
		b := newBrowser(t)
		verifier := oauth2.GenerateVerifier()
		address := config.AuthCodeURL("the state", oidc.Nonce("the nonce"), oauth2.S256ChallengeOption(verifier))

		page := b.open(t, address)
		if page.at != "/login" || !strings.Contains(page.body, "My shop") {
			t.Fatalf("not asked to sign in: %s\n%s", page.at, page.body)
		}
		page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {"wrong horse battery staple"}})
		if page.at != "/login" || page.status != http.StatusUnauthorized {
			t.Fatalf("a wrong password: %d %s", page.status, page.at)
		}
		page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}})
		if page.at != "/consent" {
			t.Fatalf("not asked for consent: %d %s\n%s", page.status, page.at, page.body)
		}
		for _, text := range []string{"My shop", "Alice", "shop.example.org", "Read your orders", "sales_order.read"} {
			if !strings.Contains(page.body, text) {
				t.Errorf("the page does not say %q", text)
			}
		}
		if policy := page.header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https://shop.example.org;") {
			t.Errorf("the browser would not follow: %s", policy)
		}
		page = b.submit(t, page, url.Values{"decision": {"allow"}})
		answer := page.query
		if page.at != "https://shop.example.org/cb" || answer.Get("state") != "the state" || answer.Get("iss") != w.config.Issuer {
			t.Fatalf("%s %v", page.at, answer)
		}

		token := must[*oauth2.Token](t, "exchange")(config.Exchange(t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier)))
		w.checkIdentity(t, provider, config, token)
		if again, err := config.Exchange(t.Context(), answer.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
			t.Errorf("the code is good twice: %v", again)
		}
		if _, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)); err == nil {
			t.Error("the code was used twice, and its token is good")
		}

		// Signed in and asked before: the second time the browser goes straight through, and a refresh is a refresh.
		verifier = oauth2.GenerateVerifier()
		page = b.open(t, config.AuthCodeURL("another", oauth2.S256ChallengeOption(verifier)))
		token = must[*oauth2.Token](t, "second exchange")(config.Exchange(t.Context(), page.query.Get("code"), oauth2.VerifierOption(verifier)))
		token.Expiry = token.Expiry.AddDate(0, 0, -1)
		next := must[*oauth2.Token](t, "refresh")(config.TokenSource(t.Context(), token).Token())
		if next.RefreshToken == token.RefreshToken || next.RefreshToken == "" || next.AccessToken == token.AccessToken {
			t.Error("nothing new came of the refresh")
		}
		w.checkSignedOut(t, provider, next)
	})
}

// relyingParty registers a person, and an application with a client that signs people in.
func (w *world) relyingParty(t *testing.T) (*oauth2.Config, *oidc.Provider) {
	t.Helper()
	w.register(t, "sales-orders")
	w.bucket(t, "sales-orders", "shop-mint")
	bucket, _ := w.storage(t, "sales-orders", "shop-mint")
	must[*api.Scope](t, "scope")(w.admin.PutScope(t.Context(), "sales_order", "read", api.PutScope{Summary: "Read", UserInformation: "Read your orders", IsResourceOwnerScope: true}))
	must[*api.Grant](t, "grant")(w.admin.GrantScope(t.Context(), "sales-orders", "sales_order.read"))
	must[*api.ClientSettings](t, "client")(w.admin.PutClientSettings(t.Context(), "sales-orders", api.PutClientSettings{
		Name: "My shop", RedirectURIs: []string{"https://shop.example.org/cb"}, GrantTypes: []string{"authorization_code", "password", "client_credentials"},
	}))
	must[*api.User](t, "user")(w.admin.CreateUser(t.Context(), api.CreateUser{Realm: "customers", Username: "alice", DisplayName: "Alice", Email: "alice@example.org", Password: alicePassword}))
	c := bucket.delivered(t, client.Credentials{})
	provider := must[*oidc.Provider](t, "discovery")(oidc.NewProvider(t.Context(), w.config.Issuer))
	return &oauth2.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: "https://shop.example.org/cb",
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", oidc.ScopeOfflineAccess, "sales_order.read"},
	}, provider
}

// checkIdentity has the client's own library look at what it got.
func (w *world) checkIdentity(t *testing.T, provider *oidc.Provider, config *oauth2.Config, token *oauth2.Token) {
	t.Helper()
	raw, _ := token.Extra("id_token").(string)
	id := must[*oidc.IDToken](t, "ID token")(provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(t.Context(), raw))
	if err := id.VerifyAccessToken(token.AccessToken); err != nil || id.Nonce != "the nonce" {
		t.Errorf("at_hash: %v; nonce %q", err, id.Nonce)
	}
	info := must[*oidc.UserInfo](t, "userinfo")(provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)))
	var profile struct {
		Name     string `json:"name"`
		Username string `json:"preferred_username"`
	}
	if err := info.Claims(&profile); err != nil || info.Subject != id.Subject || profile.Name != "Alice" || profile.Username != "alice" || info.Email != "alice@example.org" {
		t.Errorf("%+v %+v %v", info, profile, err)
	}
	// A person's token opens nothing of the management API, whoever the person is.
	if _, err := w.client(t, func(context.Context) (string, error) { return token.AccessToken, nil }).Teams(t.Context(), client.Page{}); err == nil {
		t.Error("an application manages mintmark with a person's token")
	}
}

// checkSignedOut disables the person: nothing that anybody has of her is good.
func (w *world) checkSignedOut(t *testing.T, provider *oidc.Provider, token *oauth2.Token) {
	t.Helper()
	info := must[*oidc.UserInfo](t, "userinfo")(provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)))
	must[*api.User](t, "disable")(w.admin.DisableUser(t.Context(), info.Subject))
	if _, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)); err == nil {
		t.Error("a disabled person's token is good")
	}
}

// A browser keeps cookies and follows redirects within the server; it stops where they leave it.
type testBrowser struct{ http *http.Client }

// A webPage is where a browser has come to. Away from the server it is only an address.
type webPage struct {
	at     string // the path here, or the whole address elsewhere, without its query
	base   *url.URL
	query  url.Values
	status int
	header http.Header
	body   string
}

func newBrowser(t *testing.T) *testBrowser {
	t.Helper()
	jar := must[*cookiejar.Jar](t, "jar")(cookiejar.New(nil))
	return &testBrowser{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (b *testBrowser) open(t *testing.T, address string) webPage {
	t.Helper()
	return b.follow(t, must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)))
}

func (b *testBrowser) follow(t *testing.T, r *http.Request) webPage {
	t.Helper()
	host := r.URL.Host
	for range 10 {
		if r.URL.Host != host {
			elsewhere := *r.URL
			elsewhere.RawQuery = ""
			return webPage{at: elsewhere.String(), query: r.URL.Query()}
		}
		res := must[*http.Response](t, r.URL.Path)(b.http.Do(r))
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusSeeOther {
			return webPage{at: r.URL.Path, base: r.URL, query: r.URL.Query(), status: res.StatusCode, header: res.Header, body: string(body)}
		}
		to := must[*url.URL](t, "location")(res.Location())
		r = must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodGet, to.String(), nil))
	}
	t.Fatal("redirected in a circle")
	return webPage{}
}

var (
	formAction   = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
	hiddenFields = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// submit sends the page's form with the fields filled in.
func (b *testBrowser) submit(t *testing.T, p webPage, fields url.Values) webPage {
	t.Helper()
	action := formAction.FindStringSubmatch(p.body)
	if action == nil {
		t.Fatalf("no form at %s:\n%s", p.at, p.body)
	}
	for _, hidden := range hiddenFields.FindAllStringSubmatch(p.body, -1) {
		if !fields.Has(hidden[1]) {
			fields.Set(hidden[1], hidden[2])
		}
	}
	to := must[*url.URL](t, "action")(p.base.Parse(action[1]))
	r := must[*http.Request](t, "request")(http.NewRequestWithContext(t.Context(), http.MethodPost, to.String(), strings.NewReader(fields.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.follow(t, r)
}

// The keys of every algorithm are made behind the start, and a client that others wrote gets what it asked for by the one
// that OpenID Connect asks of every provider.
func TestEveryAlgorithmSigns(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		c := configure(t, emptyURL(t, engine), nil)
		c.Keys.Also = []string{"EdDSA", "RS256"}
		w := startWith(t, c)
		eventually(t, "there are keys of every algorithm", func() error {
			provider, err := oidc.NewProvider(t.Context(), w.config.Issuer)
			if err != nil {
				return err
			}
			var told struct {
				Algs []string `json:"id_token_signing_alg_values_supported"`
			}
			if err := provider.Claims(&told); err != nil || strings.Join(told.Algs, " ") != "ES256 EdDSA RS256" {
				return fmt.Errorf("%v, %w", told.Algs, err)
			}
			return nil
		})
		config, provider := w.relyingParty(t)
		must[*api.ClientSettings](t, "client")(w.admin.PutClientSettings(t.Context(), "sales-orders", api.PutClientSettings{
			Name: "My shop", RedirectURIs: []string{"https://shop.example.org/cb"}, GrantTypes: []string{"authorization_code"},
			ClientMetadata: api.ClientMetadata{IDTokenAlg: "RS256", UserinfoAlg: "RS256"},
		}))
		b, verifier := newBrowser(t), oauth2.GenerateVerifier()
		config.Scopes = []string{oidc.ScopeOpenID, "profile", "email"}
		page := b.open(t, config.AuthCodeURL("the state", oidc.Nonce("the nonce"), oauth2.S256ChallengeOption(verifier)))
		page = b.submit(t, page, url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}})
		page = b.submit(t, page, url.Values{"decision": {"allow"}})
		token := must[*oauth2.Token](t, "exchange")(config.Exchange(t.Context(), page.query.Get("code"), oauth2.VerifierOption(verifier)))
		w.checkIdentity(t, provider, config, token) // go-oidc checks the signatures of the ID token and of userinfo
		raw, _ := token.Extra("id_token").(string)
		if _, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.RS256}); err != nil {
			t.Error(err)
		}
	})
}
