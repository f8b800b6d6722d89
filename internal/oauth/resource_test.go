package oauth_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/redact"
)

const (
	orders = "https://orders.example.org"
	stock  = "https://stock.example.org/api"
)

// aud are the resources that a token is for.
func aud(t testing.TB, token string) (list []string) {
	t.Helper()
	switch a := payloadOf(t, token)["aud"].(type) {
	case string:
		return []string{a}
	case []any:
		for _, x := range a {
			list = append(list, x.(string))
		}
	}
	return list
}

// A token is for what was chosen among what the client may choose, and refreshing only makes that less.
func TestResources(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.say(w.shop, func(c *oauth.Client) { c.Metadata.Resources = []string{orders, stock} })
		b := w.browser().login(w.alice)
		v := asks(w.shop)
		v["resource"] = []string{stock, orders, stock}
		code := b.allow(v)
		tokens := w.exchange(w.shop, code)
		if got := aud(t, tokens.text("access_token")); tokens.status != 200 || !cmp.Equal(got, []string{orders, stock}) {
			t.Fatalf("%d %v %s", tokens.status, got, tokens.body)
		}
		// The server itself was not chosen, so userinfo does not take the token.
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token"))); r.status != 401 {
			t.Errorf("userinfo: %d", r.status)
		}
		less := w.refresh(w.shop, tokens.text("refresh_token"), "resource", orders)
		if got := aud(t, less.text("access_token")); !cmp.Equal(got, []string{orders}) {
			t.Errorf("narrowed to %v", got)
		}
		w.expect(w.refresh(w.shop, less.text("refresh_token"), "resource", issuer), 400, "invalid_target")
		again := w.refresh(w.shop, less.text("refresh_token"))
		if got := aud(t, again.text("access_token")); !cmp.Equal(got, []string{orders, stock}) {
			t.Errorf("back to %v", got)
		}
		w.say(w.shop, func(c *oauth.Client) { c.Metadata.Resources = []string{stock} })
		taken := w.refresh(w.shop, again.text("refresh_token"))
		if got := aud(t, taken.text("access_token")); !cmp.Equal(got, []string{stock}) {
			t.Errorf("after one was taken from the client: %v", got)
		}
		w.say(w.shop, nil)
		w.expect(w.refresh(w.shop, taken.text("refresh_token")), 400, "invalid_target")

		w.say(w.shop, func(c *oauth.Client) { c.Metadata.Resources = []string{orders, stock} })
		v["resource"] = []string{stock, issuer}
		if got := aud(t, w.exchange(w.shop, b.allow(v), "resource", stock).text("access_token")); !cmp.Equal(got, []string{stock}) {
			t.Errorf("chosen with the code: %v", got)
		}
		w.expect(w.exchange(w.shop, b.allow(v), "resource", orders), 400, "invalid_target")
		// Nobody chose: this installation.
		if got := aud(t, w.exchange(w.shop, b.allow(asks(w.shop))).text("access_token")); !cmp.Equal(got, []string{issuer}) {
			t.Errorf("by itself: %v", got)
		}
	})
}

func TestB1_39_ResourcesThatAreNone(t *testing.T) {
	w := aWorldOfPeople(t)
	w.say(w.shop, func(c *oauth.Client) {
		c.Metadata.Resources, c.GrantTypes = []string{orders}, []string{"authorization_code", "client_credentials"}
	})
	b := w.browser().login(w.alice)
	for name, resources := range map[string][]string{
		"unknown": {"https://elsewhere.example"}, "with a fragment": {orders + "#f"}, "relative": {"/orders"}, "empty": {""}, "one of two": {orders, "https://elsewhere.example"},
		"another client's": {stock}, "slash": {orders + "/"},
		"a hundred": strings.Fields(strings.Repeat(orders+" ", 100)),
	} {
		v := asks(w.shop)
		v["resource"] = resources
		w.refusedBack(b.get(at(v)), "invalid_target")
		services := url.Values{"grant_type": {"client_credentials"}, "resource": resources}
		if r := w.tokenRequest(w.shop, services); r.text("error") != "invalid_target" && name != "a hundred" || r.status != 400 {
			t.Errorf("%s: %d %s", name, r.status, r.body)
		}
	}
	r := w.tokenRequest(w.shop, url.Values{"grant_type": {"client_credentials"}, "resource": {orders}})
	if got := aud(t, r.text("access_token")); !cmp.Equal(got, []string{orders}) {
		t.Errorf("for itself: %d %v", r.status, got)
	}
	if r := w.tokenRequest(w.shop, url.Values{"grant_type": {"client_credentials"}}); !cmp.Equal(aud(t, r.text("access_token")), []string{issuer}) {
		t.Errorf("%s", r.body)
	}
}

// Whom the token is not for hears nothing of it.
func TestB6_109_IntrospectionOfAnotherAudience(t *testing.T) {
	w := aWorldOfPeople(t)
	w.say(w.shop, func(c *oauth.Client) { c.Metadata.Resources = []string{orders, w.other.ClientID} })
	b := w.browser().login(w.alice)
	v := asks(w.shop)
	v["resource"] = []string{orders}
	token := w.exchange(w.shop, b.allow(v)).text("access_token")
	if !w.active(w.shop, token) {
		t.Error("its own client hears nothing")
	}
	r := w.send("POST", "/oauth2/introspect", "token="+token, auth(w.other.ClientID, w.other.Secret))
	if r.status != 200 || r.body != `{"active":false}` {
		t.Errorf("a stranger hears %s", r.body)
	}
	v["resource"] = []string{w.other.ClientID} // a resource server that is named by its own client's id
	if token = w.exchange(w.shop, b.allow(v)).text("access_token"); !w.active(w.other, token) {
		t.Error("whom it is for hears nothing")
	}
}

// A code that another surface exchanges is for no more than what was chosen when it was asked for.
func TestResourcesOnAnotherSurface(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.say(w.shop, func(c *oauth.Client) { c.Metadata.Resources = []string{orders} })
		v := asks(w.shop)
		v["resource"] = []string{orders}
		code := w.browser().login(w.alice).allow(v)
		client, err := w.registry.Clients().Client(t.Context(), w.shop.ClientID)
		if err != nil {
			t.Fatal(err)
		}
		client.Metadata.Resources = []string{orders}
		got, err := w.server.RedeemCode(t.Context(), client, redact.New(code), shopBack, verifier)
		if err != nil || !cmp.Equal(aud(t, got.Token.Reveal()), []string{orders}) {
			t.Fatalf("%v %v", got.Claims.Audience, err)
		}
		again, err := w.server.RedeemRefresh(t.Context(), client, got.Refresh)
		if err != nil || !cmp.Equal(aud(t, again.Token.Reveal()), []string{orders}) {
			t.Errorf("refreshed: %v %v", again.Claims.Audience, err)
		}
	})
}
