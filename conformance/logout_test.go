package conformance_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/api"
)

// leave is the address at which a client asks that the person be signed out.
func leave(parameters change) string {
	q := url.Values{}
	for name, value := range parameters {
		q.Set(name, value)
	}
	return shared.issuer + "/oauth2/logout?" + q.Encode()
}

// stays tells whether the browser is signed in still.
func (p *party) stays(t *testing.T, b *browser) bool {
	t.Helper()
	ask := p.ask(change{"prompt": "none"})
	return b.open(t, ask).answered(t, ask).Get("code") != ""
}

// The plan oidcc-rp-initiated-logout-certification-test-plan.
func TestLogoutPlan(t *testing.T) {
	t.Run("oidcc-rp-initiated-logout-discovery-endpoint-verification", func(t *testing.T) { supported(t, nil, "end_session_endpoint") })
	p := newParty(t, func(in *api.PostClient) {
		in.PostLogoutRedirectURIs = []string{goodbye, goodbye + "?foo=bar"}
	})
	other := newParty(t, nil)
	b := newPersonsBrowser(t)
	// signedIn signs in, and answers an ID token of it.
	signedIn := func(t *testing.T) string {
		t.Helper()
		return p.redeem(t, b.code(t, p.ask())).IDToken
	}
	for name, c := range map[string]struct {
		parameters func(hint string) change
		to         string // where the browser goes on to; "": the page that says so
		state      string
	}{
		"oidcc-rp-initiated-logout": {func(hint string) change {
			return change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye, "state": "the state"}
		}, goodbye, "the state"},
		"oidcc-rp-initiated-logout-no-state": {func(hint string) change { return change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye} }, goodbye, ""},
		"oidcc-rp-initiated-logout-no-post-logout-redirect-uri": {func(hint string) change {
			return change{"id_token_hint": hint, "state": "the state"}
		}, "", ""},
		"a registered address with a query": {func(hint string) change {
			return change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye + "?foo=bar", "state": "s"}
		}, goodbye, "s"},
	} {
		t.Run(name, func(t *testing.T) {
			page := b.open(t, leave(c.parameters(signedIn(t))))
			if c.to != "" && (page.at != c.to || page.query.Get("state") != c.state || page.query.Has("state") != (c.state != "")) {
				t.Errorf("at %d %s %v", page.status, page.at, page.query)
			}
			if c.to == "" && (page.status != http.StatusOK || !strings.Contains(page.body, "signed out")) {
				t.Errorf("at %d %s\n%s", page.status, page.at, page.body)
			}
			if p.stays(t, b) {
				t.Error("the person is signed in still")
			}
		})
	}
	// Here the person is asked, or told of the mistake, and is signed in until she says so.
	for name, parameters := range map[string]func(hint string) change{
		"oidcc-rp-initiated-logout-no-params":  func(string) change { return nil },
		"oidcc-rp-initiated-logout-only-state": func(string) change { return change{"state": "the state"} },
	} {
		t.Run(name, func(t *testing.T) {
			signedIn(t)
			page := b.open(t, leave(parameters("")))
			if page.status != http.StatusOK || !strings.Contains(page.body, `id="logout-confirm"`) || !p.stays(t, b) {
				t.Fatalf("not asked: %d %s\n%s", page.status, page.at, page.body)
			}
			page = b.submit(t, page, nil)
			if page.status != http.StatusOK || !strings.Contains(page.body, "signed out") || p.stays(t, b) {
				t.Errorf("said yes, and yet at %d %s", page.status, page.at)
			}
		})
	}
	for name, parameters := range map[string]func(hint string) change{
		"oidcc-rp-initiated-logout-bad-post-logout-redirect-uri": func(hint string) change {
			return change{"id_token_hint": hint, "post_logout_redirect_uri": "https://evil.test/out", "state": "s"}
		},
		"oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri": func(hint string) change {
			return change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye + "?bar=foo", "state": "s"}
		},
		"oidcc-rp-initiated-logout-modified-id-token-hint": func(hint string) change {
			parts := strings.Split(hint, ".")
			return change{"id_token_hint": parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])), "post_logout_redirect_uri": goodbye, "state": "s"}
		},
		"oidcc-rp-initiated-logout-bad-id-token-hint": func(hint string) change {
			return change{"id_token_hint": "nonsense", "post_logout_redirect_uri": goodbye, "state": "s"}
		},
		"oidcc-rp-initiated-logout-no-id-token-hint": func(hint string) change {
			return change{"post_logout_redirect_uri": goodbye, "state": "s"}
		},
		"an ID token without a signature": func(hint string) change {
			return change{"id_token_hint": unsigned(t, map[string]any{"iss": shared.issuer, "sub": b.person.ID, "aud": p.ClientID}), "post_logout_redirect_uri": goodbye}
		},
		"the address of another client": func(hint string) change {
			return change{"id_token_hint": hint, "client_id": other.ClientID, "post_logout_redirect_uri": goodbye}
		},
	} {
		t.Run(name, func(t *testing.T) {
			page := b.open(t, leave(parameters(signedIn(t))))
			if strings.HasPrefix(page.at, "https:") {
				t.Fatalf("sent on to %s", page.at)
			}
			page.refusedHere(t, name)
			if !p.stays(t, b) {
				t.Error("the person was signed out")
			}
		})
	}
	t.Run("another person's ID token", func(t *testing.T) {
		hint := signedIn(t)
		stranger := newPersonsBrowser(t)
		stranger.code(t, p.ask())
		page := stranger.open(t, leave(change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye}))
		if !p.stays(t, stranger) || strings.HasPrefix(page.at, "https:") {
			t.Errorf("signed out by what is about somebody else, at %s", page.at)
		}
	})
	t.Run("POST", func(t *testing.T) {
		page := b.post(t, shared.issuer+"/oauth2/logout", url.Values{"id_token_hint": {signedIn(t)}, "post_logout_redirect_uri": {goodbye}})
		if page.at != goodbye || p.stays(t, b) {
			t.Errorf("at %d %s", page.status, page.at)
		}
	})
}
