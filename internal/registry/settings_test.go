package registry_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/registry"
)

func TestClientSettingsOverHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		const path = "/api/applications/kio/client"
		before := call(h, "joe", "GET", path, "")
		if before.status != 200 || !strings.Contains(before.body, `"grant_types":["client_credentials","password"]`) {
			t.Fatalf("defaults: %d %s", before.status, before.body)
		}
		put := `{"name":"Kio","redirect_uris":["https://kio.example.org/cb","http://127.0.0.1/cb"],"grant_types":["authorization_code"],"refresh_tokens":"always"}`
		for caller, want := range map[string]int{"": 401, "joe": 403, "robot": 403, "customer": 403} {
			if got := call(h, caller, "PUT", path, put); got.status != want {
				t.Errorf("%q: %d %s, want %d", caller, got.status, got.body, want)
			}
		}
		first := call(h, "jane", "PUT", path, put, "If-None-Match", "*")
		if first.status != 200 {
			t.Fatalf("put: %d %s", first.status, first.body)
		}
		read := call(h, "joe", "GET", path, "")
		var got api.ClientSettings
		if err := json.Unmarshal([]byte(read.body), &got); err != nil {
			t.Fatal(err)
		}
		want := api.ClientSettings{
			ClientID: got.ClientID, Name: "Kio", Confidential: true, RedirectURIs: []string{"https://kio.example.org/cb", "http://127.0.0.1/cb"},
			PostLogoutRedirectURIs: []string{}, GrantTypes: []string{"authorization_code"}, RefreshTokens: "always", ResourceOwnerScopes: []string{},
			LastModified: start, LastModifiedBy: "employees/jane",
		}
		if len(got.Lifetimes) == 0 {
			t.Error("it does not tell how long tokens live")
		}
		got.Lifetimes = nil // TestEffectiveLifetimes looks at them
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if read.etag != first.etag {
			t.Errorf("ETag %s, then %s", first.etag, read.etag)
		}
		if again := call(h, "jane", "PUT", path, put, "If-Match", before.etag); again.status != 412 {
			t.Errorf("a stale version was replaced: %d %s", again.status, again.body)
		}
		client, err := w.r.Clients().Client(ctx, got.ClientID)
		if err != nil {
			t.Fatal(err)
		}
		if client.Name != "Kio" || !client.May("refresh_token") || client.May("client_credentials") || !client.MayRedirect("http://127.0.0.1:5555/cb") || client.MayRedirect("https://kio.example.org/cb?x=1") {
			t.Errorf("in memory: %+v", client)
		}
		if cleared := call(h, "jane", "PUT", path, `{}`, "If-Match", read.etag); cleared.status != 200 || !strings.Contains(cleared.body, `"redirect_uris":[]`) || !strings.Contains(cleared.body, `"client_credentials"`) {
			t.Errorf("cleared: %d %s", cleared.status, cleared.body)
		}
	})
}

// A client whose application becomes public cannot act for itself any more, whatever was set before.
func TestPublicClientLosesItsOwnGrant(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		a := w.app("kio")
		w.write(func(tx db.WriteTx) error {
			_, _, err := w.r.PutSettings(ctx, tx, jane, "kio", registry.Settings{GrantTypes: []string{"client_credentials", "password"}}, anyVersion)
			if err == nil {
				_, err = w.r.PutApplication(ctx, tx, jane, "kio", registry.Change{Confidential: ptr(false)}, anyVersion)
			}
			return err
		})
		if c, err := w.r.Clients().Client(ctx, a.ClientID); err != nil || c.May("client_credentials") {
			t.Errorf("%v %v", c.GrantTypes, err)
		}
	})
}

// What may be registered.
func TestBadClientSettings(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.serve()
		w.app("kio")
		many := make([]string, 51)
		for i := range many {
			many[i] = fmt.Sprintf("https://kio.example.org/%d", i)
		}
		list, err := json.Marshal(many)
		if err != nil {
			t.Fatal(err)
		}
		uris := func(uri string) string {
			b, err := json.Marshal(map[string]any{"redirect_uris": []string{uri}, "grant_types": []string{"authorization_code"}})
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		for name, body := range map[string]string{
			"http":               uris("http://kio.example.org/cb"),
			"http, look-alike":   uris("http://localhost.evil.test/cb"),
			"http, userinfo":     uris("http://localhost@evil.test/cb"),
			"loopback port 0":    uris("http://127.0.0.1:0/cb"),
			"loopback port":      uris("http://127.0.0.1:70000/cb"),
			"fragment":           uris("https://kio.example.org/cb#"),
			"wildcard":           uris("https://*.example.org/cb"),
			"wildcard at end":    uris("https://kio.example.org/*"),
			"userinfo":           uris("https://kio.example.org@evil.test/"),
			"backslash":          uris(`https://kio.example.org\@evil.test/`),
			"no host":            uris("https:///evil.test"),
			"policy in the host": uris("https://kio.example.org;sandbox/cb"),
			"list of hosts":      uris("https://kio.example.org,evil.test/cb"),
			"host of an app":     uris("com.example.app://x;y/cb"),
			"scheme-relative":    uris("//evil.test/cb"),
			"javascript":         uris("javascript:alert(1)"),
			"JaVaScRiPt":         uris("JaVaScRiPt:alert(1)"),
			"data":               uris("data:text/html,x"),
			"vbscript":           uris("vbscript:x"),
			"blob":               uris("blob:https://kio.example.org/x"),
			"file":               uris("file:///etc/passwd"),
			"bare scheme":        uris("kio:/cb"),
			"upper-case host":    uris("https://KIO.example.org/cb"),
			"dot at the end":     uris("https://kio.example.org./cb"),
			"zone":               uris("https://[fe80::1%25eth0]/cb"),
			"ideographic stop":   uris("https://kio。example.org/cb"),
			"line feed":          uris("https://kio.example.org/\ncb"),
			"space":              uris("https://kio.example.org/c b"),
			"empty":              uris(""),
			"too long":           uris("https://kio.example.org/" + strings.Repeat("a", 2048)),
			"too many":           `{"redirect_uris":` + string(list) + `}`,
			"twice":              `{"redirect_uris":["https://a.example/","https://a.example/"]}`,
			"not a list":         `{"redirect_uris":"https://a.example/"}`,
			"not strings":        `{"redirect_uris":[null]}`,
			"after logout":       `{"post_logout_redirect_uris":["javascript:alert(1)"]}`,
			"no address":         `{"grant_types":["authorization_code"]}`,
			"unknown grant":      `{"grant_types":["implicit"]}`,
			"grant twice":        `{"grant_types":["password","password"]}`,
			"unknown switch":     `{"refresh_tokens":"often"}`,
			"mass assignment":    `{"client_id":"cli_x"}`,
			"confidential":       `{"confidential":false}`,
			"name reorders":      `{"name":"Kio\u202eoiK"}`,
			"name, zero width":   `{"name":"Ki\u200bo"}`,
			"name too long":      `{"name":"` + strings.Repeat("ä", 129) + `"}`,
			"name, control char": `{"name":"a\u0007"}`,
		} {
			if got := call(h, "jane", "PUT", "/api/applications/kio/client", body); got.status != 400 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		for name, uri := range map[string]string{
			"https": "https://kio.example.org/cb?x=1", "port": "https://kio.example.org:8443/cb", "loopback": "http://localhost", "IPv6": "http://[::1]:8080/cb",
			"native": "com.example.kio:/cb", "native with host": "com.example.kio://cb/x", "IPv6 https": "https://[2001:db8::1]/cb",
		} {
			if got := call(h, "jane", "PUT", "/api/applications/kio/client", uris(uri)); got.status != 200 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	})
}
