package app_test

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/db"
)

// mailing is a server at which people register, and that shows what it sends.
func mailing(t *testing.T, engine db.Engine) *world {
	t.Helper()
	c := configure(t, emptyURL(t, engine), map[string]string{"mail.kind": "mailbox"})
	c.Realms = []app.Realm{{Name: "customers", Registration: "open"}}
	return startWith(t, c)
}

// letter is the link of the newest letter of a kind to somebody.
func (w *world) letter(t *testing.T, b *testBrowser, kind, to string) (link string) {
	t.Helper()
	find := regexp.MustCompile(`data-kind="` + kind + `" data-to="` + regexp.QuoteMeta(to) + `" href="([^"]*)"`)
	eventually(t, "a letter of kind "+kind, func() error {
		page := b.open(t, w.config.Issuer+"/mailbox")
		m := find.FindStringSubmatch(page.body)
		if m == nil {
			return fmt.Errorf("none to %s on:\n%s", to, page.body)
		}
		link = html.UnescapeString(m[1])
		return nil
	})
	return link
}

// Somebody who has no account goes from an application to an account and back, in one browser: prompt=create, the letter,
// the account, what the application asks for, and its code. What it then learns is an address that is verified.
func TestAccountFromTheApplicationAndBack(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := mailing(t, engine)
		config, provider := w.relyingParty(t)
		b, verifier := newBrowser(t), oauth2.GenerateVerifier()
		page := b.open(t, config.AuthCodeURL("the state", oidc.Nonce("the nonce"), oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "create")))
		if page.at != "/register" {
			t.Fatalf("not asked to register: %d %s\n%s", page.status, page.at, page.body)
		}
		page = b.submit(t, page, url.Values{"realm": {"customers"}, "email": {"new@example.org"}})
		if page.at != "/register" || page.query.Get("step") != "asked" {
			t.Fatalf("%d %s?%s\n%s", page.status, page.at, page.query.Encode(), page.body)
		}
		page = b.open(t, w.letter(t, b, "register", "new@example.org"))
		page = b.submit(t, page, url.Values{"display_name": {"Nora New"}, "username": {"nora"}, "password": {alicePassword}, "again": {alicePassword}})
		if page.at != "/consent" || !strings.Contains(page.body, "My shop") || !strings.Contains(page.body, "Nora New") {
			t.Fatalf("not asked for consent: %d %s\n%s", page.status, page.at, page.body)
		}
		page = b.submit(t, page, url.Values{"decision": {"allow"}})
		if page.at != "https://shop.example.org/cb" || page.query.Get("state") != "the state" {
			t.Fatalf("%s %v", page.at, page.query)
		}
		token := must[*oauth2.Token](t, "exchange")(config.Exchange(t.Context(), page.query.Get("code"), oauth2.VerifierOption(verifier)))
		info := must[*oidc.UserInfo](t, "userinfo")(provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token)))
		if info.Email != "new@example.org" || !info.EmailVerified {
			t.Errorf("%+v", info)
		}
		w.approvals(t, b, config, token)
		// alice's address was written down by an administrator: nobody has shown to read it.
		other, verifier := newBrowser(t), oauth2.GenerateVerifier()
		page = other.open(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("claims", `{"id_token":{"email":null,"email_verified":null}}`)))
		page = other.submit(t, page, url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}})
		page = other.submit(t, page, url.Values{"decision": {"allow"}})
		token = must[*oauth2.Token](t, "exchange")(config.Exchange(t.Context(), page.query.Get("code"), oauth2.VerifierOption(verifier)))
		raw, _ := token.Extra("id_token").(string)
		id := must[*oidc.IDToken](t, "ID token")(provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(t.Context(), raw))
		var claims struct {
			Email    string `json:"email"`
			Verified *bool  `json:"email_verified"`
		}
		if err := id.Claims(&claims); err != nil || claims.Email != "alice@example.org" || claims.Verified == nil || *claims.Verified {
			t.Errorf("%+v %v", claims, err)
		}
	})
}

// approvals sees at the account what the application may do, and withdraws it: its tokens end, and it must ask again.
func (w *world) approvals(t *testing.T, b *testBrowser, config *oauth2.Config, token *oauth2.Token) {
	t.Helper()
	page := b.open(t, w.config.Issuer+"/account/approvals")
	for _, want := range []string{"<bdi>My shop</bdi>", "Read your orders", "See your e-mail address.", "last used", "Withdraw the access of My shop"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("%s does not say %q:\n%s", page.at, want, page.body)
		}
	}
	page = b.open(t, w.config.Issuer+"/account/approvals/withdraw?client="+config.ClientID)
	if page = b.submit(t, page, url.Values{}); page.at != "/account/approvals" || !strings.Contains(page.body, `id="approvals-done"`) || !strings.Contains(page.body, `id="approvals-none"`) {
		t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
	}
	token.Expiry = token.Expiry.AddDate(0, 0, -1)
	if _, err := config.TokenSource(t.Context(), token).Token(); err == nil {
		t.Error("the access was withdrawn, and its refresh token is good")
	}
	page = b.open(t, w.config.Issuer+"/account/approvals/withdraw?client="+config.ClientID)
	if page.status != 404 || !strings.Contains(page.body, "approval_not_found") {
		t.Errorf("a second time: %d\n%s", page.status, page.body)
	}
	page = b.open(t, config.AuthCodeURL("again", oauth2.S256ChallengeOption(oauth2.GenerateVerifier())))
	if page.at != "/consent" {
		t.Errorf("it does not ask again: %d %s", page.status, page.at)
	}
	page = b.open(t, w.config.Issuer+"/account/activity")
	for _, want := range []string{"What My shop was allowed was withdrawn", "My shop was allowed to act for you", "The account was created", "Signed in with password"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("%s does not say %q:\n%s", page.at, want, page.body)
		}
	}
}
