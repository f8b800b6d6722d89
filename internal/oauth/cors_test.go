package oauth_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/registry"
)

func origin(o string) with { return header("Origin", o) }

func allowed(r reply) string { return r.header.Get("Access-Control-Allow-Origin") }

// spa gives an application's client the origins, by its settings as a team would.
func (w *folk) spa(app string, redirects []string, origins ...string) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, _, err := w.registry.PutSettings(ctx, tx, system, app, registry.Settings{
			RedirectURIs: redirects, GrantTypes: []string{"authorization_code", registry.GrantDeviceCode}, RefreshTokens: registry.RefreshOffline,
			Metadata: registry.Metadata{Origins: origins},
		}, anyRevision)
		return err
	})
}

// Scripts of a client's origins read what the client is answered, refusals as well, and no other scripts do.
func TestCrossOrigin(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		second := w.node(t)
		const shop, spa = "https://shop.example.org", "https://spa.example.org:8443"
		w.spa("tool", []string{shopBack}, spa, "http://localhost:3000")
		w.spa("shop", []string{shopBack, "http://127.0.0.1/cb", "com.example.app:/cb"})
		preflight := func(n *folk, target, from string) reply {
			return n.send("OPTIONS", target, "", origin(from), header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "authorization"))
		}
		for _, target := range []string{"/oauth2/token", "/oauth2/userinfo", "/oauth2/revoke", "/oauth2/device_authorization"} {
			for from, want := range map[string]bool{
				spa: true, "http://localhost:3000": true, shop: true, "http://127.0.0.1": true,
				"null": false, "https://evil.example": false, "https://localhost.evil.test": false, "http://shop.example.org": false,
				"https://sub.shop.example.org": false, "https://shop.example.org.evil.test": false, "https://spa.example.org": false, "http://localhost:3001": false, "": false,
			} {
				for _, n := range []*folk{w, second} {
					if want {
						soon(t, "the node does not hear of the origin", func() bool { return allowed(preflight(n, target, from)) != "" })
					}
					r := preflight(n, target, from)
					if want != (allowed(r) == from && r.status == 204 && r.header.Get("Access-Control-Allow-Methods") != "" && r.header.Get("Vary") == "Origin") || !want && allowed(r) != "" {
						t.Errorf("%s from %q: %d, %q", target, from, r.status, r.header)
					}
					if r.header.Get("Access-Control-Allow-Credentials") != "" {
						t.Errorf("%s from %q allows credentials", target, from)
					}
				}
			}
		}
		mine, others := origin(spa), origin(shop)
		device := "client_id=" + w.tool.ClientID + "&scope=openid"
		for name, c := range map[string]struct {
			answer reply
			from   string
		}{
			"its own":                  {w.send("POST", "/oauth2/device_authorization", device, mine), spa},
			"another client's":         {w.send("POST", "/oauth2/device_authorization", device, others), ""},
			"null":                     {w.send("POST", "/oauth2/device_authorization", device, origin("null")), ""},
			"two":                      {w.send("POST", "/oauth2/device_authorization", device, mine, func(r *http.Request) { r.Header.Add("Origin", shop) }), ""},
			"none":                     {w.send("POST", "/oauth2/device_authorization", device), ""},
			"refused grant":            {w.send("POST", "/oauth2/token", "grant_type=refresh_token&refresh_token=x&client_id="+w.tool.ClientID, mine), spa},
			"refused grant, another's": {w.send("POST", "/oauth2/token", "grant_type=refresh_token&refresh_token=x&client_id="+w.tool.ClientID, others), ""},
			"wrong secret":             {w.send("POST", "/oauth2/revoke", "token=x", auth(w.shop.ClientID, "wrong"), others), shop},
			"wrong secret, another's":  {w.send("POST", "/oauth2/revoke", "token=x", auth(w.shop.ClientID, "wrong"), mine), ""},
			"no such client":           {w.send("POST", "/oauth2/token", "grant_type=refresh_token&refresh_token=x&client_id=cli_00000000000000000000000000", mine), ""},
			"no grant named":           {w.send("POST", "/oauth2/token", "x=y", mine), spa},
			"no token":                 {w.send("GET", "/oauth2/userinfo", "", mine), spa},
			"introspection":            {w.send("POST", "/oauth2/introspect", "token=x", auth(w.shop.ClientID, w.shop.Secret), others), ""},
			"tokeninfo":                {w.send("GET", "/oauth2/tokeninfo?access_token=x", "", others), ""},
		} {
			if got := allowed(c.answer); got != c.from {
				t.Errorf("%s: allowed for %q, want %q (%d %s)", name, got, c.from, c.answer.status, c.answer.body)
			}
			if c.answer.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s allows credentials", name)
			}
		}
		token := w.signIn(w.shop).text("access_token")
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(token), others); r.status != 200 || allowed(r) != shop {
			t.Errorf("userinfo: %d for %q", r.status, allowed(r))
		}
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(token), mine); allowed(r) != "" {
			t.Errorf("userinfo of another client: for %q", allowed(r))
		}
		for _, target := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
			if r := w.send("GET", target, "", origin("https://anywhere.example")); r.status != 200 || allowed(r) != "*" || r.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s: %d for %q", target, r.status, allowed(r))
			}
			if r := w.send("OPTIONS", target, "", origin("https://anywhere.example"), header("Access-Control-Request-Method", "GET")); r.status != 204 || allowed(r) != "*" {
				t.Errorf("%s, asked first: %d for %q", target, r.status, allowed(r))
			}
		}
		if r := w.send("OPTIONS", "/oauth2/token", ""); r.status != 405 {
			t.Errorf("OPTIONS from no script: %d", r.status)
		}
		// An origin that no client has any more is nobody's, on every node.
		w.spa("tool", []string{shopBack})
		for _, n := range []*folk{w, second} {
			soon(t, "the origin is still known", func() bool { return allowed(preflight(n, "/oauth2/token", spa)) == "" })
		}
		if r := w.send("POST", "/oauth2/device_authorization", device, others); allowed(r) != shop {
			t.Errorf("by its redirect URI: %q", allowed(r))
		}
		if r := w.send("GET", "/oauth2/authorize?"+url.Values{"client_id": {w.tool.ClientID}}.Encode(), "", others); allowed(r) != "" || strings.Contains(r.header.Get("Vary"), "Origin") {
			t.Errorf("the authorization endpoint is for browsers, not for scripts: %q", allowed(r))
		}
	})
}
