package app_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
)

// appCode is what an authenticator app shows for the key on a page (RFC 6238).
func appCode(t *testing.T, page webPage, at time.Time) string {
	t.Helper()
	m := regexp.MustCompile(`id="totp-secret"[^>]*>([A-Z2-7]+)<`).FindStringSubmatch(page.body)
	if m == nil {
		t.Fatalf("no key at %s:\n%s", page.at, page.body)
	}
	seed := must[[]byte](t, "key")(base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(m[1]))
	h := hmac.New(sha1.New, seed)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := h.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

// A client that asks for two factors gets them, from a person who had one: she sets up an app on the way. Afterwards the
// password alone signs her in nowhere, until an administrator takes the app off.
func TestStepUpForAClient(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		config, provider := w.relyingParty(t)
		b := newBrowser(t)
		enter := url.Values{"realm": {"customers"}, "username": {"alice"}, "password": {alicePassword}}
		verifier := oauth2.GenerateVerifier()
		page := b.open(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("acr_values", "2")))
		page = b.submit(t, page, copied(enter))
		if page.at != "/login/enrol" || page.status != http.StatusOK {
			t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
		}
		page = b.submit(t, page, url.Values{"code": {appCode(t, page, time.Now())}})
		next := regexp.MustCompile(`id="codes-continue" href="([^"]*)"`).FindStringSubmatch(page.body)
		if next == nil {
			t.Fatalf("no recovery codes: %d %s\n%s", page.status, page.at, page.body)
		}
		page = b.open(t, must[*url.URL](t, "next")(page.base.Parse(html.UnescapeString(next[1]))).String())
		if page.at != "/consent" {
			t.Fatalf("%d %s\n%s", page.status, page.at, page.body)
		}
		page = b.submit(t, page, url.Values{"decision": {"allow"}})
		token := must[*oauth2.Token](t, "exchange")(config.Exchange(t.Context(), page.query.Get("code"), oauth2.VerifierOption(verifier)))
		raw, _ := token.Extra("id_token").(string)
		identity := must[*oidc.IDToken](t, "ID token")(provider.Verifier(&oidc.Config{ClientID: config.ClientID}).Verify(t.Context(), raw))
		var how struct {
			ACR string   `json:"acr"`
			AMR []string `json:"amr"`
		}
		if err := identity.Claims(&how); err != nil || how.ACR != "2" || !slices.Contains(how.AMR, "otp") || !slices.Contains(how.AMR, "mfa") {
			t.Errorf("%+v, %v", how, err)
		}

		other := newBrowser(t)
		page = other.submit(t, other.open(t, w.config.Issuer+"/login"), copied(enter))
		if page.at != "/login/verify" {
			t.Fatalf("the password alone: %d %s", page.status, page.at)
		}
		if page = other.open(t, config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier))); page.at != "/login" {
			t.Errorf("half a login at the authorization endpoint: %s", page.at)
		}
		if page = other.open(t, w.config.Issuer+"/account"); page.at != "/login" {
			t.Errorf("half a login at the account: %s", page.at)
		}
		alice := identity.Subject
		found := must[*api.Factors](t, "factors")(w.admin.UserFactors(t.Context(), alice))
		if len(found.Items) != 1 || found.Items[0].Kind != "totp" || found.RecoveryCodes != 10 || found.Required {
			t.Errorf("%+v", found)
		}
		if err := w.admin.ResetUserFactors(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		// Her sessions have ended within a second; a slow machine gets longer.
		for try := 0; b.open(t, w.config.Issuer+"/account").at == "/account"; try++ {
			if try == 100 {
				t.Fatal("still signed in after the reset")
			}
			time.Sleep(50 * time.Millisecond)
		}
		other = newBrowser(t)
		if page = other.submit(t, other.open(t, w.config.Issuer+"/login"), copied(enter)); page.at != "/account" {
			t.Errorf("the password after the reset: %d %s", page.status, page.at)
		}
	})
}

// copied is a form of its own, because submit adds to it.
func copied(form url.Values) url.Values {
	out := url.Values{}
	for name, values := range form {
		out[name] = slices.Clone(values)
	}
	return out
}
