package conformance_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mintmark/mintmark/api"
)

// logoutEvent is the member of events that makes a JWT a logout token (OpenID Connect Back-Channel Logout section 2.4).
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// told waits until the client has heard of a logout, and checks the token as the client must (section 2.6).
func (p *party) told(t *testing.T, path string) (raw string, claims map[string]any) {
	t.Helper()
	var forms []url.Values
	eventually(t, "the client hears of the logout", func() error {
		if forms = shared.receiver.at(path); len(forms) == 0 {
			return fmt.Errorf("nothing came")
		}
		return nil
	})
	raw = forms[0].Get("logout_token")
	signed := must[*jose.JSONWebSignature](t, "parse")(jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(send(t, http.MethodGet, shared.issuer+"/oauth2/jwks", nil, "").body, &set); err != nil {
		t.Fatal(err)
	}
	header := signed.Signatures[0].Header
	keys := set.Key(header.KeyID)
	if len(keys) != 1 {
		t.Fatalf("no key %q", header.KeyID)
	}
	payload := must[[]byte](t, "verify")(signed.Verify(keys[0]))
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	events, _ := claims["events"].(map[string]any)
	if event, is := events[logoutEvent].(map[string]any); !is || len(event) != 0 || claims["nonce"] != nil {
		t.Errorf("it is no logout token: %v", claims)
	}
	exp, _ := claims["exp"].(float64)
	iat, _ := claims["iat"].(float64)
	if claims["iss"] != shared.issuer || claims["aud"] != p.ClientID || claims["jti"] == nil || claims["jti"] == "" || exp <= float64(time.Now().Unix()) || iat > float64(time.Now().Unix()+1) {
		t.Errorf("%v", claims)
	}
	if typ := header.ExtraHeaders["typ"]; typ != "logout+jwt" {
		t.Errorf("typ is %v", typ)
	}
	return raw, claims
}

// The plan oidcc-backchannel-rp-initiated-logout-certification-test-plan, and the other ways in which a session ends.
func TestBackchannelLogoutPlan(t *testing.T) {
	t.Run("oidcc-backchannel-logout-discovery-endpoint-verification", func(t *testing.T) {
		supported(t, []string{"backchannel_logout_supported", "backchannel_logout_session_supported"}, "end_session_endpoint")
	})
	for name, end := range map[string]func(t *testing.T, b *browser, hint string){
		"oidcc-backchannel-rp-initiated-logout": func(t *testing.T, b *browser, hint string) {
			if page := b.open(t, leave(change{"id_token_hint": hint, "post_logout_redirect_uri": goodbye, "state": "s"})); page.at != goodbye {
				t.Fatalf("at %d %s", page.status, page.at)
			}
		},
		"signed out here": func(t *testing.T, b *browser, _ string) { b.submit(t, b.open(t, shared.issuer+"/logout"), nil) },
		"disabled by an administrator": func(t *testing.T, b *browser, _ string) {
			must[*api.User](t, "disable")(shared.admin.DisableUser(t.Context(), b.person.ID))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, silent := "/logout/"+rand.Text(), "/logout/"+rand.Text()
			at := func(path string) func(*api.PostClient) {
				return func(in *api.PostClient) {
					in.BackchannelLogoutURI, in.BackchannelSessionRequired = shared.receiver.URL+path, true
				}
			}
			p, second, stranger := newParty(t, at(path)), newParty(t, at(path+"/second")), newParty(t, at(silent))
			b, other := newPersonsBrowser(t), newPersonsBrowser(t)
			tok := p.redeem(t, b.code(t, p.ask()))
			second.redeem(t, b.code(t, second.ask()))
			stranger.redeem(t, other.code(t, stranger.ask()))
			id, said := p.identity(t, tok.IDToken)
			if said["sid"] == nil || said["sid"] == "" {
				t.Fatalf("the ID token has no sid: %v", said)
			}
			end(t, b, tok.IDToken)
			raw, claims := p.told(t, path)
			if claims["sid"] != said["sid"] || claims["sub"] != nil && claims["sub"] != id.Subject {
				t.Errorf("told of %v and %v, want %v and %s", claims["sid"], claims["sub"], said["sid"], id.Subject)
			}
			_, others := second.told(t, path+"/second")
			if others["jti"] == claims["jti"] {
				t.Error("two clients got one jti")
			}
			p.dead(t, tok.AccessToken)
			refusedAsToken(t, p, "B6.101 a logout token", raw)
			if page := other.open(t, leave(change{"id_token_hint": raw})); strings.HasPrefix(page.at, "https:") || !stranger.stays(t, other) {
				t.Error("a logout token passes for an ID token")
			}
			if len(shared.receiver.at(silent)) != 0 {
				t.Error("the client of another session was told as well")
			}
		})
	}
}
