package oauth_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/oauth"
)

// push sends a request in advance.
func (w *folk) push(client pair, v url.Values, options ...with) reply {
	w.t.Helper()
	if client.Secret != "" {
		options = append([]with{auth(client.ClientID, client.Secret)}, options...)
	}
	return w.send("POST", "/oauth2/par", v.Encode(), options...)
}

// pushed is where a browser goes with a request that was pushed.
func (w *folk) pushed(client pair, v url.Values) string {
	w.t.Helper()
	r := w.push(client, v)
	uri := r.text("request_uri")
	if r.status != 201 || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || len(uri) != len("urn:ietf:params:oauth:request_uri:")+43 || r.json["expires_in"] != 90.0 || r.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("%d %s", r.status, r.body)
	}
	return "/oauth2/authorize?client_id=" + client.ClientID + "&request_uri=" + url.QueryEscape(uri)
}

// allowAt goes on from an address to a code.
func (b *browser) allowAt(address string) reply {
	b.w.t.Helper()
	r := b.get(address)
	if strings.HasPrefix(r.header.Get("Location"), "/consent?") {
		b.get(r.header.Get("Location"))
		r = b.decide("allow")
	}
	return r
}

// A pushed request is what counts, whatever stands beside it in the address, and it is answered once.
func TestB1_28_PushedRequest(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		address := w.pushed(w.shop, asks(w.shop, "scope", "openid email"))
		b := w.browser()
		r := b.get(address + "&scope=profile&redirect_uri=" + url.QueryEscape("https://evil.test/") + "&state=x&response_type=token")
		resume, err := url.Parse(r.header.Get("Location"))
		if err != nil || resume.Path != "/login" {
			t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
		}
		w.clock.Advance(2 * time.Minute) // the name is over; what waits for the person is not
		r = b.login(w.alice).allowAt(resume.Query().Get("return_to"))
		answer := w.backTo(r, shopBack)
		if answer.Get("state") != "s t&ate" {
			t.Errorf("the state of the address counts: %v", answer)
		}
		if tokens := w.exchange(w.shop, answer.Get("code")); tokens.text("scope") != "email openid" {
			t.Errorf("%d %s", tokens.status, tokens.body)
		}
		// It was answered, and so is nothing any more; whether the browser must be asked or not.
		w.refusedHere(b.get(address), 400)
		quick := w.pushed(w.shop, asks(w.shop, "scope", "openid email"))
		other := b.copy()
		w.backTo(b.get(quick), shopBack)
		w.refusedHere(other.get(quick), 400)

		unused := w.pushed(w.shop, asks(w.shop))
		w.refusedHere(b.get(strings.ReplaceAll(unused, w.shop.ClientID, w.other.ClientID)), 400)
		w.refusedHere(b.get(unused+"&request_uri=x"), 400)
		w.refusedHere(b.get(unused+"&client_id="+w.shop.ClientID), 400)
		w.refusedHere(b.get(unused[:len(unused)-1]), 400)
		w.refusedHere(b.get(unused[:len(unused)-1]+"~"), 400)
		w.refusedHere(b.get("/oauth2/authorize?client_id="+w.shop.ClientID+"&request_uri="+url.QueryEscape("urn:ietf:params:oauth:request_uri:"+strings.Repeat("A", 43))), 400)
		w.clock.Advance(89 * time.Second)
		if r := b.get(unused); r.status != 303 {
			t.Errorf("after 89 seconds: %d", r.status)
		}
		w.clock.Advance(time.Second)
		w.refusedHere(b.get(unused), 400)
		if w.pages.code != "invalid_request_uri" {
			t.Errorf("the page says %s", w.pages.code)
		}
	})
}

// Many browsers at once with one pushed request, of which the answer is known: one gets a code.
func TestB1_28_PushedRequestInManyBrowsers(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		w.browser().login(w.alice).allow(asks(w.shop))
		address := w.pushed(w.shop, asks(w.shop))
		var browsers []*browser
		for range 8 {
			browsers = append(browsers, w.browser().login(w.alice))
		}
		var wg sync.WaitGroup
		codes := make([]bool, len(browsers))
		for i, b := range browsers {
			wg.Go(func() { codes[i] = strings.Contains(b.get(address).header.Get("Location"), "code=mma_") })
		}
		wg.Wait()
		if n := len(slices.DeleteFunc(codes, func(ok bool) bool { return !ok })); n != 1 {
			t.Errorf("%d browsers got a code", n)
		}
	})
}

// What the authorization endpoint would refuse is refused at once, as the token endpoint does it.
func TestB1_29_PushIsChecked(t *testing.T) {
	w := aWorldOfPeople(t)
	for name, c := range map[string]struct {
		v    url.Values
		code string
	}{
		"request_uri":      {asks(w.shop, "request_uri", "urn:ietf:params:oauth:request_uri:x"), "invalid_request"},
		"foreign redirect": {asks(w.shop, "redirect_uri", "https://evil.test/cb"), "invalid_request"},
		"no redirect":      {asks(w.shop, "redirect_uri", "-"), "invalid_request"},
		"another client":   {asks(w.other), "invalid_request"},
		"no challenge":     {asks(w.shop, "code_challenge", "-"), "invalid_request"},
		"scope":            {asks(w.shop, "scope", "sales_order.read_all"), "invalid_scope"},
		"resource":         {asks(w.shop, "resource", "https://elsewhere.example"), "invalid_target"},
		"response type":    {asks(w.shop, "response_type", "token"), "unsupported_response_type"},
		"too long":         {asks(w.shop, "x", strings.Repeat("x", 17<<10)), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) { w.expect(w.push(w.shop, c.v), 400, c.code) })
	}
	w.expect(w.send("POST", "/oauth2/par", asks(w.shop).Encode()+"&state=again", auth(w.shop.ClientID, w.shop.Secret)), 400, "invalid_request")
	w.expect(w.push(pair{ClientID: w.shop.ClientID, Secret: "wrong"}, asks(w.shop)), 401, "invalid_client")
	w.expect(w.push(pair{}, asks(w.shop)), 401, "invalid_client") // a confidential client that is only named
	w.expect(w.push(pair{}, asks(w.shop, "client_id", "-")), 401, "invalid_client")
	if r := w.push(pair{}, asks(w.tool)); r.status != 201 {
		t.Errorf("a public client: %d %s", r.status, r.body)
	}
	if r := w.send("GET", "/oauth2/par?"+asks(w.shop).Encode(), "", auth(w.shop.ClientID, w.shop.Secret)); r.status != 405 || r.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d", r.status)
	}
	if r := w.send("POST", "/oauth2/par", "{}", jsonish, auth(w.shop.ClientID, w.shop.Secret)); r.status != 415 {
		t.Errorf("JSON: %d", r.status)
	}
	// Neither secret nor proof is kept.
	r := w.send("POST", "/oauth2/par", asks(w.shop).Encode()+"&client_secret="+url.QueryEscape(w.shop.Secret))
	if r.status != 201 || w.count(`SELECT count(*) FROM pushed_requests WHERE request <> replace(request, 'client_secret', '')`) != 0 {
		t.Errorf("%d %s: the secret is stored", r.status, r.body)
	}
}

// A client whose requests must be pushed, and a server where all must be.
func TestRequirePushedRequests(t *testing.T) {
	w := aWorldOfPeople(t)
	w.say(w.shop, func(c *oauth.Client) { c.Metadata.RequirePAR = true })
	b := w.browser().login(w.alice)
	w.refusedBack(b.get(at(asks(w.shop))), "invalid_request")
	w.backTo(b.allowAt(w.pushed(w.shop, asks(w.shop))), shopBack)
	if r := b.get(at(asks(w.other))); !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
		t.Errorf("another client: %d to %s", r.status, r.header.Get("Location"))
	}
	strict := newFolk(t, w.engine(), func(o *oauth.Options) { o.People.RequirePAR = true })
	b = strict.browser().login(strict.alice)
	strict.refusedBack(b.get(at(asks(strict.shop))), "invalid_request")
	strict.backTo(b.allowAt(strict.pushed(strict.shop, asks(strict.shop))), shopBack)
	if r := strict.send("GET", "/.well-known/oauth-authorization-server", ""); r.json["require_pushed_authorization_requests"] != true {
		t.Errorf("%s", r.body)
	}
}

// Rows that strangers make are bounded, and go.
func TestPushedRequestsAreBounded(t *testing.T) {
	w := aWorldOfPeople(t)
	var r reply
	for i := range 1001 {
		if r = w.push(pair{}, asks(w.tool), from("198.51.100.7:1234")); r.status != 201 {
			if i != 1000 {
				t.Fatalf("push %d: %d %s", i, r.status, r.body)
			}
			break
		}
	}
	w.expect(r, 429, "slow_down")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if r := w.push(pair{}, asks(w.tool), from("198.51.100.8:1234")); r.status != 201 {
		t.Errorf("another address: %d", r.status)
	}
	w.clock.Advance(2 * time.Hour)
	if err := w.server.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.count(`SELECT count(*) FROM pushed_requests`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// The same for the grants of a person with one client: the oldest end.
func TestTooManyGrantsEndTheOldest(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop))
		other := w.exchange(w.other, b.allow(asks(w.other)))
		var first, second, last reply
		for i := range 101 {
			w.clock.Advance(time.Millisecond)
			last = w.exchange(w.shop, b.allow(asks(w.shop)))
			switch i {
			case 0:
				first = last
			case 1:
				second = last
			}
		}
		w.expect(w.refresh(w.shop, first.text("refresh_token")), 400, "invalid_grant")
		soon(t, "an access token of the oldest grant is good still", func() bool { return !w.active(w.shop, first.text("access_token")) })
		for name, tokens := range map[string]reply{"the second": second, "the last": last} {
			if !w.active(w.shop, tokens.text("access_token")) || w.refresh(w.shop, tokens.text("refresh_token")).status != 200 {
				t.Errorf("%s ended", name)
			}
		}
		if !w.active(w.other, other.text("access_token")) {
			t.Error("another client's ended")
		}
		if n := w.count(fmt.Sprintf(`SELECT count(*) FROM grants WHERE ended = 0 AND client_id = '%s'`, w.shop.ClientID)); n > 101 {
			t.Errorf("%d are alive", n)
		}
	})
}
