package oauth_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// opens gives a client response types beside code, and the grant for them.
func opens(types ...string) func(*oauth.Client) {
	return func(c *oauth.Client) {
		c.GrantTypes = append(slices.Clone(c.GrantTypes), registry.GrantImplicit)
		c.Metadata.ResponseTypes = types
	}
}

// fragment takes apart what a client gets behind the #.
func (w *folk) fragment(r reply, want string) url.Values {
	w.t.Helper()
	location := r.header.Get("Location")
	base, fragment, found := strings.Cut(location, "#")
	if r.status != 303 || base != want || !found {
		w.t.Fatalf("%d to %q, want 303 to %s# (page error %q): %s", r.status, location, want, w.pages.code, r.body)
	}
	v, err := url.ParseQuery(fragment)
	if err != nil {
		w.t.Fatal(err)
	}
	if v.Get("iss") != issuer {
		w.t.Errorf("iss is %q", v.Get("iss"))
	}
	return v
}

func half(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

var allTypes = []string{"code", "token", "id_token", "id_token token", "code token", "code id_token", "code id_token token"}

// Each response type gives what it names, bound together by hashes, and nothing else.
func TestB6_119_ResponseTypes(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.say(w.shop, opens(allTypes...))
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop, "scope", "openid email"))
		for _, kind := range append(allTypes[1:], "token id_token", "token code") {
			v := w.fragment(b.get(at(asks(w.shop, "response_type", kind, "nonce", "n-1", "scope", "openid email"))), shopBack)
			words := strings.Fields(kind)
			if v.Has("code") != slices.Contains(words, "code") || v.Has("id_token") != slices.Contains(words, "id_token") || v.Has("access_token") != slices.Contains(words, "token") || v.Has("refresh_token") || v.Get("state") != "s t&ate" {
				t.Fatalf("%s: %v", kind, v)
			}
			if token := v.Get("access_token"); token != "" {
				claims := payloadOf(t, token)
				if v.Get("token_type") != "Bearer" || v.Get("expires_in") != "600" || v.Get("scope") != "email openid" || claims["gty"] != "implicit" || claims["exp"].(float64)-claims["iat"].(float64) != 600 {
					t.Errorf("%s: %v %v", kind, v, claims)
				}
				if r := w.send("GET", "/oauth2/userinfo", "", bearer(token)); r.text("sub") != w.alice.ID || r.text("email") != "alice@example.org" {
					t.Errorf("%s: %d %s", kind, r.status, r.body)
				}
			}
			if raw := v.Get("id_token"); raw != "" {
				id := payloadOf(t, raw)
				want := map[string]any{"sub": w.alice.ID, "aud": w.shop.ClientID, "nonce": "n-1", "at_hash": nil, "c_hash": nil, "email": nil}
				if v.Has("access_token") {
					want["at_hash"] = half(v.Get("access_token"))
				}
				if v.Has("code") {
					want["c_hash"] = half(v.Get("code"))
				}
				if kind == "id_token" { // nothing else would tell
					want["email"] = "alice@example.org"
				}
				for name, value := range want {
					if id[name] != value {
						t.Errorf("%s: %s is %v, want %v", kind, name, id[name], value)
					}
				}
			}
			if code := v.Get("code"); code != "" {
				tokens := w.exchange(w.shop, code)
				if tokens.status != 200 || tokens.text("refresh_token") == "" || payloadOf(t, tokens.text("id_token"))["nonce"] != "n-1" {
					t.Errorf("%s: %d %s", kind, tokens.status, tokens.body)
				}
				w.expect(w.exchange(w.shop, code), 400, "invalid_grant")
				// Used twice, the code ends what came beside it, too.
				if token := v.Get("access_token"); token != "" {
					soon(t, "the token beside a code that was used twice is good", func() bool { return !w.active(w.shop, token) })
				}
			}
		}
	})
}

// Tokens do not come through the browser unless an administrator gave the client the type and the grant, and never in a
// query; and an ID token that does needs a nonce.
func TestB1_16_ResponseTypesThatAreNotAllowed(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	refused := func(code string, change ...string) {
		t.Helper()
		v := w.fragment(b.get(at(asks(w.shop, change...))), shopBack)
		if v.Get("error") != code || v.Has("access_token") || v.Has("id_token") || v.Has("code") {
			t.Errorf("%v: %v, want %s", change, v, code)
		}
	}
	for _, kind := range allTypes[1:] {
		refused("unsupported_response_type", "response_type", kind, "nonce", "n")
	}
	w.say(w.shop, func(c *oauth.Client) { c.Metadata.ResponseTypes = allTypes })
	for _, kind := range allTypes[1:] {
		refused("unauthorized_client", "response_type", kind, "nonce", "n") // the grant is missing
	}
	w.say(w.shop, func(c *oauth.Client) {
		opens("token", "code id_token")(c)
		c.GrantTypes = []string{registry.GrantImplicit}
	})
	refused("unauthorized_client", "response_type", "code id_token", "nonce", "n") // and here that for codes
	w.say(w.shop, opens("token", "id_token token", "code id_token"))
	refused("unsupported_response_type", "response_type", "code token")
	refused("unsupported_response_type", "response_type", "id_token", "nonce", "n")
	refused("unsupported_response_type", "response_type", "token token")
	refused("unsupported_response_type", "response_type", "token none")
	w.refusedBack(b.get(at(asks(w.shop, "response_type", "none"))), "unsupported_response_type")
	refused("invalid_request", "response_type", "id_token token") // no nonce
	refused("invalid_request", "response_type", "code id_token")
	refused("invalid_scope", "response_type", "id_token token", "nonce", "n", "scope", "uid")
	refused("invalid_request", "response_type", "token", "response_mode", "query")
	refused("invalid_request", "response_type", "code id_token", "nonce", "n", "code_challenge", "-")
	refused("consent_required", "response_type", "token", "scope", "profile", "prompt", "none")
	// What waits is what was asked for: the address of a request that waits holds nothing to tamper with.
	r := b.get(at(asks(w.shop, "scope", "profile")))
	r = b.get(r.header.Get("Location") + "&response_type=token")
	if r.status != 200 {
		t.Fatalf("%d", r.status)
	}
	if v := w.backTo(b.decide("allow"), shopBack); !v.Has("code") || v.Has("access_token") {
		t.Errorf("%v", v)
	}
	r = b.get(at(asks(w.shop, "response_type", "token", "response_mode", "form_post")))
	if r.status != 200 || !strings.Contains(r.body, `name="access_token"`) || strings.Contains(r.header.Get("Location"), "ey") {
		t.Errorf("form_post: %d", r.status)
	}
}

// A token from the front channel passed the gate, and ends with whatever it came from.
func TestFrontChannelTokensEnd(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.say(w.shop, opens("token", "code token"))
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop))
		get := func(kind string) string {
			return w.fragment(b.get(at(asks(w.shop, "response_type", kind))), shopBack).Get("access_token")
		}
		hybrid := w.fragment(b.get(at(asks(w.shop, "response_type", "code token"))), shopBack)
		w.expect(w.exchange(w.other, hybrid.Get("code")), 400, "invalid_grant")
		soon(t, "stolen code, living token", func() bool { return !w.active(w.shop, hybrid.Get("access_token")) })

		late := w.fragment(b.get(at(asks(w.shop, "response_type", "code token"))), shopBack)
		w.clock.Advance(61 * time.Second)
		w.expect(w.exchange(w.shop, late.Get("code")), 400, "invalid_grant") // the token lives for longer than the code

		revoked := get("token")
		if r := w.send("POST", "/oauth2/revoke", "token="+revoked, auth(w.shop.ClientID, w.shop.Secret)); r.status != 200 || w.active(w.shop, revoked) {
			t.Errorf("revoke: %d", r.status)
		}
		one, two := get("token"), get("code token")
		if !w.active(w.shop, one) || !w.active(w.shop, two) {
			t.Fatal("new tokens are not active")
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.shop.ClientID)
		})
		soon(t, "withdrawn, and good still", func() bool { return !w.active(w.shop, one) && !w.active(w.shop, two) })

		b.allow(asks(w.shop))
		three := get("token")
		w.write(func(ctx context.Context, tx db.WriteTx) error { return w.server.PersonDisabled(ctx, tx, w.alice.ID) })
		soon(t, "disabled, and good still", func() bool { return !w.active(w.shop, three) })
	})
}

// The command line of this family: a public client that listens on a port of its machine, names it without a slash and
// unescaped, sends no scope and no state, and parameters of its own; it reads pairs of the fragment that have one "=", and
// hears of an error in the query alone.
func TestImplicitForTheCommandLine(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.say(w.tool, func(c *oauth.Client) {
			opens("token")(c)
			c.RedirectURIs = []string{"http://localhost"}
		})
		b := w.browser().login(w.bob)
		ask := "/oauth2/authorize?business_partner_id=810d1d00-4312-43e5-bd31-d8373fdd24c7&client_id=" + w.tool.ClientID + "&redirect_uri=http://localhost:8099&response_type=token"
		r := b.allowAt(ask)
		v := w.fragment(r, "http://localhost:8099")
		token := v.Get("access_token")
		if strings.Count(token, ".") != 2 || v.Get("expires_in") != "600" || v.Get("token_type") != "Bearer" || v.Has("state") {
			t.Fatalf("%v", v)
		}
		for pair := range strings.SplitSeq(r.header.Get("Location")[len("http://localhost:8099#"):], "&") {
			if strings.Count(pair, "=") != 1 {
				t.Errorf("%s is dropped", pair)
			}
		}
		if info := w.send("GET", "/oauth2/tokeninfo", "", bearer(token)); info.status != 200 || info.text("uid") != w.bob.ID || info.text("realm") != "employees" || info.text("grant_type") != "implicit" {
			t.Errorf("%d %s", info.status, info.body)
		}
		// With the slash, and at another port.
		w.fragment(b.get(strings.Replace(ask, "8099", "8182/", 1)), "http://localhost:8182/")
		// An error is in both places.
		for _, more := range []string{"&scope=sales_order.read_all", "&prompt=none&max_age=0"} {
			r := b.get(ask + more)
			query, fragment, _ := strings.Cut(r.header.Get("Location"), "#")
			if r.status != 303 || !strings.HasPrefix(query, "http://localhost:8099?error=") || !strings.HasPrefix(fragment, "error=") {
				t.Errorf("%d to %s", r.status, r.header.Get("Location"))
			}
		}
		w.refusedHere(b.get(strings.Replace(ask, "http://localhost:8099", "http://localhost.evil:8081", 1)), 400)
		w.refusedHere(b.get(strings.Replace(ask, "http://localhost:8099", "http://localhost:8099@evil.test", 1)), 400)
	})
}
