package conformance_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
)

// inEachForm tries, for one response type in one response mode, the modules whose outcome depends on either: how errors
// and answers come back, and what is asked of the person first.
func (p *party) inEachForm(t *testing.T, b *browser, key *clientKey, as change) {
	kind := as["response_type"]
	refused := func(name, code string, more change) {
		t.Run(name, func(t *testing.T) {
			ask := p.ask(as, more)
			b.open(t, ask).refusedBack(t, ask, code)
		})
	}
	answered := func(name string, more change) {
		t.Run(name, func(t *testing.T) {
			ask := p.ask(as, more)
			p.checkFront(t, ask, kind, b.walk(t, ask).answered(t, ask))
		})
	}
	if strings.Contains(kind, "id_token") {
		refused("oidcc-ensure-request-without-nonce-fails", "invalid_request", change{"nonce": ""})
	} else {
		answered("oidcc-ensure-request-without-nonce-succeeds-for-code-flow", change{"nonce": ""})
	}
	answered("oidcc-alternate-happy-flow", change{"scope": "email openid"})
	answered("oidcc-ensure-request-with-unknown-parameter-succeeds", change{"extra": "foobar"})
	answered("oidcc-ensure-request-with-acr-values-succeeds", change{"acr_values": "urn:mace:incommon:iap:silver 1"})
	answered("oidcc-login-hint", change{"login_hint": "somebody@example.com"})
	answered("oidcc-ui-locales", change{"ui_locales": "se"})
	refused("oidcc-response-type-missing", "invalid_request", change{"response_type": ""})
	refused("oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", "request_uri_not_supported", change{"request_uri": shared.receiver.URL + "/request"})
	refused("oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", "invalid_request_object", change{"request": unsigned(t, map[string]any{"client_id": p.ClientID})})
	t.Run("oidcc-ensure-request-object-with-redirect-uri", func(t *testing.T) {
		b.open(t, p.ask(as, change{"request": key.sign(t, map[string]any{
			"iss": p.ClientID, "aud": shared.issuer, "exp": time.Now().Add(time.Minute).Unix(), "client_id": p.ClientID, "redirect_uri": "https://evil.test/cb",
			"response_type": kind, "scope": "openid", "nonce": "inside",
		})})).refusedHere(t, "another address inside")
	})
	t.Run("oidcc-id-token-hint", func(t *testing.T) {
		ask := p.ask(as)
		tok := p.checkFront(t, ask, kind, b.walk(t, ask).answered(t, ask))
		hint := tok.IDToken
		if hint == "" {
			hint = b.walk(t, ask).answered(t, ask).Get("id_token")
		}
		again := p.ask(as, change{"prompt": "none", "id_token_hint": hint})
		p.checkFront(t, again, kind, b.open(t, again).answered(t, again))
		other := newPersonsBrowser(t)
		p.checkFront(t, ask, kind, other.walk(t, ask).answered(t, ask))
		other.open(t, again).refusedBack(t, again, "login_required")
	})
	for name, more := range map[string]change{"oidcc-prompt-login": {"prompt": "login"}, "oidcc-max-age-1": {"max_age": "0"}} {
		t.Run(name, func(t *testing.T) {
			ask, asked := p.ask(as, more), b.asked
			p.checkFront(t, ask, kind, b.walk(t, ask).answered(t, ask))
			if b.asked != asked+1 {
				t.Errorf("a password was asked for %d times", b.asked-asked)
			}
		})
	}
	t.Run("oidcc-max-age-10000", func(t *testing.T) {
		ask, asked := p.ask(as, change{"max_age": "10000"}), b.asked
		p.checkFront(t, ask, kind, b.walk(t, ask).answered(t, ask))
		if b.asked != asked {
			t.Error("a password was asked for")
		}
	})
	if !strings.Contains(kind, "code") {
		return
	}
	t.Run("oidcc-codereuse", func(t *testing.T) {
		ask := p.ask(as)
		got := b.walk(t, ask).answered(t, ask)
		tok := p.redeem(t, got.Get("code"))
		p.post(t, shared.second.url, "/oauth2/token", p.codeForm(got.Get("code"))).refused(t, "second use", http.StatusBadRequest, "invalid_grant")
		p.dead(t, tok.AccessToken)
	})
	t.Run("oidcc-server-client-secret-post", func(t *testing.T) {
		ask := p.ask(as)
		form := p.codeForm(b.walk(t, ask).answered(t, ask).Get("code"))
		form.Set("client_id", p.ClientID)
		form.Set("client_secret", p.Secret)
		send(t, http.MethodPost, shared.issuer+"/oauth2/token", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, form.Encode()).
			refused(t, "a client of client_secret_basic", http.StatusUnauthorized, "invalid_client")
	})
}

// The modules of the implicit, hybrid and form post plans, of each response type in each mode that it can come back in.
func TestModulesInEachForm(t *testing.T) {
	p := newParty(t, func(in *api.PostClient) { fronted(in); in.AuthMethod = "client_secret_basic" })
	key := newKey(t, p)
	for _, kind := range append([]string{"code"}, frontTypes...) {
		for _, mode := range []string{"", "form_post"} {
			if kind == "code" && mode == "" {
				continue // that is the basic plan
			}
			t.Run(kind+" "+mode, func(t *testing.T) {
				t.Parallel()
				p.inEachForm(t, newPersonsBrowser(t), key, change{"response_type": kind, "scope": "openid email", "response_mode": mode})
			})
		}
	}
}
