package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/registry"
)

// Each rule of the gate by itself: other layers ask some of the same questions before, and must not be what holds them.
func TestGate(t *testing.T) {
	s := &Server{clock: clock.System}
	service := Client{ID: "cli_1", Application: "shop", Confidential: true, Enabled: true, Scopes: []string{"uid", "a.read"}, DefaultScopes: []string{"uid"},
		GrantTypes: []string{grantPassword, grantClientCredentials}}
	signing := Client{ID: "cli_2", Enabled: true, OwnerScopes: []string{"a.read", "a.write"}, GrantTypes: []string{grantAuthorizationCode}}
	typed := signing
	typed.Type = "cty_1"
	bound := &registry.Bound{Type: []string{"a.read", "a.write"}, Roles: []string{"a.read"}, HasRole: true}
	with := func(c Client, change func(*Client)) Client {
		change(&c)
		return c
	}
	person := func(change func(*owner)) *owner {
		o := &owner{enabled: true, approved: []string{"openid", "a.read"}, granted: []string{"openid", "a.read"}}
		change(o)
		return o
	}
	same := func(*owner) {}
	for name, c := range map[string]struct {
		a      admission
		code   string // "": it passes
		scopes []string
	}{
		"a service user":         {admission{grant: grantPassword, client: service, subject: &Subject{Application: "shop"}, asked: []string{"a.read"}}, "", []string{"a.read"}},
		"disabled client":        {admission{grant: grantClientCredentials, client: with(service, func(c *Client) { c.Enabled = false })}, invalidClient, nil},
		"grant not allowed":      {admission{grant: grantClientCredentials, client: with(service, func(c *Client) { c.GrantTypes = []string{grantPassword} })}, unauthorizedClient, nil},
		"public for itself":      {admission{grant: grantClientCredentials, client: with(service, func(c *Client) { c.Confidential = false })}, unauthorizedClient, nil},
		"another application":    {admission{grant: grantPassword, client: service, subject: &Subject{Application: "other"}}, invalidGrant, nil},
		"no application":         {admission{grant: grantPassword, client: with(service, func(c *Client) { c.Application = "" }), subject: &Subject{}}, invalidGrant, nil},
		"scope not granted":      {admission{grant: grantClientCredentials, client: service, asked: []string{"a.write"}}, invalidScope, nil},
		"the defaults":           {admission{grant: grantClientCredentials, client: service}, "", []string{"uid"}},
		"a person":               {admission{grant: grantAuthorizationCode, client: signing, owner: person(same)}, "", []string{"openid", "a.read"}},
		"a person, for less":     {admission{grant: grantAuthorizationCode, client: signing, owner: person(same), asked: []string{"a.read"}}, "", []string{"a.read"}},
		"a person, for more":     {admission{grant: grantAuthorizationCode, client: signing, owner: person(same), asked: []string{"a.read", "a.write"}}, invalidScope, nil},
		"disabled person":        {admission{grant: grantAuthorizationCode, client: signing, owner: person(func(o *owner) { o.enabled = false })}, invalidGrant, nil},
		"approval withdrawn":     {admission{grant: grantAuthorizationCode, client: signing, owner: person(func(o *owner) { o.approved = nil })}, invalidGrant, nil},
		"approval of part":       {admission{grant: grantAuthorizationCode, client: signing, owner: person(func(o *owner) { o.approved = []string{"openid"} })}, invalidGrant, nil},
		"scope taken":            {admission{grant: grantAuthorizationCode, client: with(signing, func(c *Client) { c.OwnerScopes = nil }), owner: person(same)}, "", []string{"openid"}},
		"all scopes taken":       {admission{grant: grantAuthorizationCode, client: with(signing, func(c *Client) { c.OwnerScopes = nil }), owner: person(func(o *owner) { o.granted = []string{"a.read"} })}, invalidGrant, nil},
		"own client, nobody ask": {admission{grant: grantAuthorizationCode, client: with(signing, func(c *Client) { c.Metadata.FirstParty = true }), owner: person(func(o *owner) { o.approved = nil })}, "", []string{"openid", "a.read"}},
		"own client, offline": {admission{grant: grantAuthorizationCode, client: with(signing, func(c *Client) { c.Metadata.FirstParty = true }), owner: person(func(o *owner) {
			o.approved, o.granted = nil, []string{"openid", scopeOffline}
		})}, invalidGrant, nil},
		"within type and roles": {admission{grant: grantAuthorizationCode, client: typed, owner: person(func(o *owner) { o.bound = bound })}, "", []string{"openid", "a.read"}},
		"beyond the roles": {admission{grant: grantAuthorizationCode, client: typed, owner: person(func(o *owner) {
			o.bound, o.approved, o.granted = bound, []string{"a.write"}, []string{"a.write"}
		})}, invalidScope, nil},
		"beyond the type": {admission{grant: grantAuthorizationCode, client: typed, owner: person(func(o *owner) {
			o.bound = &registry.Bound{Roles: []string{"a.read"}, HasRole: true}
		})}, invalidScope, nil},
		"bound that nobody read": {admission{grant: grantAuthorizationCode, client: typed, owner: person(same)}, invalidGrant, nil},
		"type that came since":   {admission{grant: grantAuthorizationCode, client: signing, owner: person(func(o *owner) { o.bound = &registry.Bound{} })}, invalidScope, nil},
	} {
		t.Run(name, func(t *testing.T) {
			scopes, err := s.admit(c.a)
			var no *refusal
			if c.code == "" && err != nil || c.code != "" && (!errors.As(err, &no) || no.code != c.code) {
				t.Errorf("%v, want %q", err, c.code)
			}
			if err == nil && !slices.Equal(scopes, c.scopes) || err != nil && scopes != nil && c.a.owner == nil {
				t.Errorf("scopes %v, want %v", scopes, c.scopes)
			}
			if c.code == invalidScope && !strings.Contains(err.Error(), "allow") && !strings.Contains(err.Error(), "ask for") {
				t.Errorf("it does not say why: %v", err)
			}
		})
	}
}

// A grant counts for a person who has been enabled ever since it began.
func TestOwnerOfAGrant(t *testing.T) {
	began := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		g    grant
		good bool
	}{
		"enabled all the time": {grant{userEnabled: true, created: began, userSince: time.Unix(10, 0)}, true},
		"enabled that instant": {grant{userEnabled: true, created: began, userSince: began}, true},
		"disabled":             {grant{created: began}, false},
		"disabled meanwhile":   {grant{userEnabled: true, created: began, userSince: began.Add(time.Microsecond)}, false},
	} {
		if got := c.g.owner().enabled; got != c.good {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Verifiers of a code have the form that RFC 7636 section 4.1 gives them, whatever was hashed into the challenge.
func TestVerifiersHaveTheirForm(t *testing.T) {
	challenge := func(verifier string) string {
		sum := sha256.Sum256([]byte(verifier))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	for verifier, good := range map[string]bool{
		strings.Repeat("a", 42): false, strings.Repeat("a", 43): true, strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
		strings.Repeat("a", 42) + "+": false, strings.Repeat("a", 42) + " ": false, strings.Repeat("-._~", 11): true, "": false,
	} {
		if got := provesChallenge(verifier, challenge(verifier)); got != good {
			t.Errorf("%d characters, ending in %q: %v", len(verifier), verifier[max(0, len(verifier)-1):], got)
		}
	}
	if provesChallenge(strings.Repeat("a", 43), "") || !provesChallenge("", "") {
		t.Error("a verifier counts where there was no challenge")
	}
}
