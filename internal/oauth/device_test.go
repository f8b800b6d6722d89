package oauth_test

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// withDevices is a world in which tool, which is public, and shop may let devices act for people.
func withDevices(t *testing.T, f func(t *testing.T, w *folk)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			w := newFolk(t, engine)
			w.allowDevices("tool", registry.RefreshOffline)
			w.allowDevices("shop", registry.RefreshAlways)
			f(t, w)
		})
	}
}

func (w *folk) allowDevices(app string, refresh registry.RefreshTokens) {
	w.t.Helper()
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, _, err := w.registry.PutSettings(ctx, tx, system, app, registry.Settings{
			RedirectURIs: []string{shopBack}, GrantTypes: []string{registry.GrantDeviceCode, "authorization_code"}, RefreshTokens: refresh,
		}, anyRevision)
		return err
	})
}

// device asks for codes, as a device does.
func (w *folk) device(client pair, scope string, options ...with) reply {
	w.t.Helper()
	v := url.Values{"scope": {scope}}
	if client.Secret == "" {
		v.Set("client_id", client.ClientID)
	} else {
		options = append(options, auth(client.ClientID, client.Secret))
	}
	return w.send("POST", "/oauth2/device_authorization", v.Encode(), options...)
}

func (w *folk) poll(client pair, d reply) reply {
	w.t.Helper()
	return w.tokenRequest(client, url.Values{"grant_type": {registry.GrantDeviceCode}, "device_code": {d.text("device_code")}})
}

// typeCode sends the code to the page, and so gets the question.
func (b *browser) typeCode(code string, more ...string) reply {
	b.w.t.Helper()
	b.get("/device")
	v := url.Values{"user_code": {code}, "csrf": {b.w.pages.csrf}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return b.post("/device", v)
}

// answerDevice types the code in and presses a button.
func (b *browser) answerDevice(code, decision string) reply {
	b.w.t.Helper()
	if r := b.typeCode(code); r.status != 200 || b.w.pages.device.Step != oauth.DeviceAsk {
		b.w.t.Fatalf("no question: %d %+v, page error %q", r.status, b.w.pages.device, b.w.pages.code)
	}
	return b.typeCode(code, "decision", decision, "shown", b.w.pages.device.Shown)
}

// From the device's question to its tokens, with what the person sees.
func TestDeviceGrant(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		d := w.device(w.tool, "openid offline_access sales_order.read", header("User-Agent", "tv/1.0"), from("198.51.100.7:99"))
		if d.status != 200 || d.text("verification_uri") != issuer+"/device" || d.text("verification_uri_complete") != issuer+"/device?user_code="+d.text("user_code") ||
			d.json["expires_in"] != 600.0 || d.json["interval"] != 5.0 || d.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s", d.status, d.body)
		}
		if !regexp.MustCompile(`^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$`).MatchString(d.text("user_code")) {
			t.Errorf("user code %q", d.text("user_code"))
		}
		w.expect(w.poll(w.tool, d), 400, "authorization_pending")
		b := w.browser().login(w.alice)
		w.clock.Advance(90 * time.Second)
		if r := b.typeCode(d.text("user_code")); r.status != 200 {
			t.Fatalf("%d %s", r.status, w.pages.code)
		}
		v := w.pages.device
		if v.Step != oauth.DeviceAsk || v.ClientName != "tool" || v.Team != "shop" || v.IP != "198.51.100.7" || v.Agent != "tv/1.0" || v.User.ID != w.alice.ID ||
			len(v.Scopes) != 3 || v.Scopes[2].Text != "Read your orders" || v.UserCode != d.text("user_code") || v.Ago != 90*time.Second || v.Lasts != 180*24*time.Hour || v.Untrusted {
			t.Errorf("shown %+v", v)
		}
		w.expect(w.poll(w.tool, d), 400, "authorization_pending")
		b.answerDevice(d.text("user_code"), "allow")
		if w.pages.device.Step != oauth.DeviceAllowed {
			t.Fatalf("shown %+v", w.pages.device)
		}
		// Who lets a device act from somebody else's computer signs out there.
		b.logout()
		w.clock.Advance(5 * time.Second)
		tokens := w.poll(w.tool, d)
		if tokens.status != 200 || tokens.text("scope") != "offline_access openid sales_order.read" || tokens.text("realm") != "customers" {
			t.Fatalf("%d %s", tokens.status, tokens.body)
		}
		access, identity := payloadOf(t, tokens.text("access_token")), payloadOf(t, tokens.text("id_token"))
		if access["sub"] != w.alice.ID || access["gty"] != registry.GrantDeviceCode || access["client_id"] != w.tool.ClientID || identity["aud"] != w.tool.ClientID {
			t.Errorf("access token %v, ID token %v", access, identity)
		}
		if r := w.refresh(w.tool, tokens.text("refresh_token")); r.status != 200 {
			t.Errorf("refresh: %d %s", r.status, r.body)
		}
		if n := w.events("approval.grant"); n != 1 {
			t.Errorf("%d approvals in the log", n)
		}
		for _, table := range []string{"device_authorizations", "device_guesses", "grants"} {
			if dump := w.dump(table); strings.Contains(dump, d.text("device_code")) || strings.Contains(dump, d.text("user_code")) || strings.Contains(dump, strings.ReplaceAll(d.text("user_code"), "-", "")) {
				t.Errorf("%s holds a code in clear", table)
			}
		}
	})
}

func TestDeviceRefusals(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		w.expect(w.device(w.other, "openid"), 400, "unauthorized_client")
		w.expect(w.device(w.tool, "nothing.there"), 400, "invalid_scope")
		w.expect(w.device(pair{ClientID: "cli_00000000000000000000000000"}, "openid"), 401, "invalid_client")
		w.expect(w.device(pair{ClientID: w.shop.ClientID}, "openid"), 401, "invalid_client") // it has a secret to show
		w.expect(w.device(pair{ClientID: w.shop.ClientID, Secret: "wrong"}, "openid"), 401, "invalid_client")
		w.expect(w.send("GET", "/oauth2/device_authorization", ""), 405, "not_allowed")
		w.expect(w.send("POST", "/oauth2/device_authorization", "client_id="+w.tool.ClientID+"&resource=https://else.example", form), 400, "invalid_target")
		w.expect(w.tokenRequest(w.tool, url.Values{"grant_type": {registry.GrantDeviceCode}}), 400, "invalid_request")
		w.expect(w.tokenRequest(w.other, url.Values{"grant_type": {registry.GrantDeviceCode}, "device_code": {"x"}}), 400, "unauthorized_client")
		w.expect(w.tokenRequest(w.tool, url.Values{"grant_type": {registry.GrantDeviceCode}, "device_code": {"mmd_x"}}), 400, "invalid_grant")
		// A code of one kind is nothing as another.
		d := w.device(w.tool, "openid")
		w.expect(w.exchange(w.tool, d.text("device_code")), 400, "invalid_grant")
		w.expect(w.exchange(w.tool, strings.Replace(d.text("device_code"), "mmd_", "mma_", 1)), 400, "invalid_grant")
		w.browser().login(w.alice).answerDevice(d.text("user_code"), "allow")
		w.expect(w.exchange(w.tool, strings.Replace(d.text("device_code"), "mmd_", "mma_", 1)), 400, "invalid_grant")

		denied := w.device(w.tool, "openid")
		w.browser().login(w.alice).answerDevice(denied.text("user_code"), "deny")
		if w.pages.device.Step != oauth.DeviceDenied || w.events("approval.deny") != 1 {
			t.Errorf("denied: %+v", w.pages.device)
		}
		w.expect(w.poll(w.tool, denied), 400, "access_denied")
		if r := w.browser().login(w.alice).typeCode(denied.text("user_code"), "decision", "allow", "shown", "x"); r.status != 400 {
			t.Errorf("a code that was answered: %d", r.status)
		}
		// What this person cannot allow.
		foreign := w.device(w.tool, "openid hr.read")
		w.browser().login(w.alice).typeCode(foreign.text("user_code"))
		if w.pages.code != "invalid_scope" {
			t.Errorf("page error %q", w.pages.code)
		}
	})
}

// The person allows the resources that the device names, and its tokens are for no others (RFC 8707).
func TestDeviceResources(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		const orders, stock = "https://orders.example.org", "https://stock.example.org"
		w.say(w.tool, func(c *oauth.Client) { c.Metadata.Resources = []string{orders, stock} })
		d := w.send("POST", "/oauth2/device_authorization", url.Values{"client_id": {w.tool.ClientID}, "scope": {"openid"}, "resource": {orders, stock}}.Encode())
		w.browser().login(w.alice).answerDevice(d.text("user_code"), "allow")
		ask := func(resource string) reply {
			w.clock.Advance(6 * time.Second)
			return w.tokenRequest(w.tool, url.Values{"grant_type": {registry.GrantDeviceCode}, "device_code": {d.text("device_code")}, "resource": {resource}})
		}
		w.expect(ask(issuer), 400, "invalid_target")
		r := ask(stock)
		if r.status != 200 || payloadOf(t, r.text("access_token"))["aud"] != stock {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// B5.96: guessing user codes is stopped after five wrong ones in ten minutes, by address and by session, on all nodes
// together; and a code is recognised however it is typed.
func TestB5_96_UserCodeGuesses(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		second := w.node(t)
		wrongCodes := func(n int) []string {
			var list []string
			for i := range n {
				list = append(list, "BBBB-BBB"+string("BCDFGHJKLM"[i]))
			}
			return list
		}
		d := w.device(w.tool, "openid")
		code := d.text("user_code")
		b := w.browser().login(w.alice)
		for i, typed := range []string{code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), " " + strings.ReplaceAll(code, "-", " – ") + " ", code[:2] + "-" + code[2:]} {
			if r := b.typeCode(typed); r.status != 200 || w.pages.device.Step != oauth.DeviceAsk {
				t.Errorf("spelling %d, %q: %d", i, typed, r.status)
			}
		}
		// By session: each guess from another address, and by two nodes in turn.
		for i, typed := range wrongCodes(5) {
			node := []*folk{w, second}[i%2]
			on := &browser{w: node, cookies: b.cookies}
			at := from(fmt.Sprintf("198.51.100.%d:1", i))
			if r := on.typeFrom(at, typed); r.status != 400 {
				t.Fatalf("guess %d: %d", i, r.status)
			}
		}
		for _, node := range []*folk{w, second} {
			r := (&browser{w: node, cookies: b.cookies}).typeFrom(from("198.51.100.99:1"), code)
			if r.status != 429 || node.pages.device.Wait <= 0 {
				t.Errorf("B5.96 the right code after five wrong ones: %d", r.status)
			}
		}
		// By address: each guess with another session.
		for i, typed := range wrongCodes(5) {
			if r := w.browser().login(w.bob).typeFrom(from("203.0.113.5:1"), typed); r.status != 400 {
				t.Fatalf("guess %d: %d", i, r.status)
			}
		}
		if r := w.browser().login(w.bob).typeFrom(from("203.0.113.5:1"), code); r.status != 429 {
			t.Errorf("B5.96 one address with new sessions: %d", r.status)
		}
		if r := w.browser().login(w.bob).typeFrom(from("203.0.113.6:1"), code); r.status != 200 {
			t.Errorf("B5.96 somebody else: %d", r.status)
		}
		// Many at once are not more than one after another.
		many := w.browser().login(w.bob)
		many.get("/device")
		token := w.pages.csrf // each page makes a new one, and this one stays good
		var looked atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				node := []*folk{w, second}[i%2]
				v := url.Values{"user_code": {"CCCC-CCCC"}, "csrf": {token}}
				r := node.send("POST", "/device", v.Encode(), many.with, from(fmt.Sprintf("192.0.2.%d:1", 100+i)))
				if r.status != 429 {
					looked.Add(1)
				}
			})
		}
		wg.Wait()
		if n := looked.Load(); n == 0 || n > 5 {
			t.Errorf("B5.96 %d of 20 guesses at once were looked at", n)
		}
		w.clock.Advance(11 * time.Minute)
		if r := b.typeCode("BBBB-BBBB"); r.status != 400 {
			t.Errorf("after the window: %d", r.status)
		}
	})
}

func (b *browser) typeFrom(at with, code string) reply {
	b.w.t.Helper()
	b.get("/device")
	return b.w.send("POST", "/device", url.Values{"user_code": {code}, "csrf": {b.w.pages.csrf}}.Encode(), b.with, at)
}

// B5.97: polling too fast, too late, with another's code, and twice.
func TestB5_97_DevicePolls(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		second := w.node(t)
		d := w.device(w.tool, "openid offline_access")
		w.expect(w.poll(w.tool, d), 400, "authorization_pending")
		w.clock.Advance(4 * time.Second)
		w.expect(second.poll(w.tool, d), 400, "slow_down")
		w.clock.Advance(9 * time.Second)
		w.expect(w.poll(w.tool, d), 400, "slow_down") // ten were asked for, and kept over nodes
		w.clock.Advance(15 * time.Second)
		w.expect(second.poll(w.tool, d), 400, "authorization_pending")
		w.expect(w.poll(w.shop, d), 400, "invalid_grant") // another client's
		w.browser().login(w.alice).answerDevice(d.text("user_code"), "allow")
		w.clock.Advance(15 * time.Second)
		w.expect(w.poll(w.shop, d), 400, "invalid_grant")

		var wg sync.WaitGroup
		var mu sync.Mutex
		var tokens []reply
		for i := range 8 {
			wg.Go(func() {
				r := []*folk{w, second}[i%2].poll(w.tool, d)
				mu.Lock()
				defer mu.Unlock()
				if r.status == 200 {
					tokens = append(tokens, r)
				}
			})
		}
		wg.Wait()
		if len(tokens) != 1 {
			t.Fatalf("B5.97 %d polls were answered with tokens, want 1", len(tokens))
		}
		// Two hold the code, so what it gave is over.
		w.expect(w.poll(w.tool, d), 400, "invalid_grant")
		w.expect(w.refresh(w.tool, tokens[0].text("refresh_token")), 400, "invalid_grant")
		if n := w.events("grant.end"); n != 1 {
			t.Errorf("%d ends in the log", n)
		}

		late := w.device(w.tool, "openid")
		w.browser().login(w.alice).answerDevice(late.text("user_code"), "allow")
		w.clock.Advance(10 * time.Minute)
		w.expect(w.poll(w.tool, late), 400, "expired_token")
		if r := w.browser().login(w.alice).typeCode(late.text("user_code")); r.status != 400 {
			t.Errorf("the page takes an expired code: %d", r.status)
		}
		w.clock.Advance(3 * time.Hour)
		if err := w.server.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"device_authorizations", "device_guesses"} {
			if dump := w.dump(table); dump != "" {
				t.Errorf("left in %s after the sweep: %s", table, dump)
			}
		}
	})
}

// B5.98: what changed about the person, the approval or the client between the decision and the poll.
func TestB5_98_DeviceOfDisabled(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *folk)
		status int
		code   string
	}{
		"B5.98 disabled user": {func(w *folk) {
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				return w.identity.DisablePerson(ctx, tx, system, w.alice.ID)
			})
		}, 400, "access_denied"},
		"B5.98 approval withdrawn": {func(w *folk) {
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.tool.ClientID)
			})
		}, 400, "access_denied"},
		"B1.56 disabled client": {func(w *folk) {
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				off := false
				_, err := w.registry.PutApplication(ctx, tx, system, "tool", registry.Change{Active: &off}, anyRevision)
				return err
			})
		}, 401, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			withDevices(t, func(t *testing.T, w *folk) {
				d := w.device(w.tool, "openid")
				w.browser().login(w.alice).answerDevice(d.text("user_code"), "allow")
				c.change(w)
				soon(t, "it is still good", func() bool { return w.poll(w.tool, d).status != 200 })
				w.expect(w.poll(w.tool, d), c.status, c.code)
			})
		})
	}
}

// B5.99: an address with the code in it fills in the form, and nothing is allowed without a click on the page that shows
// who asks, for what and from where.
func TestB5_99_CompleteAddressNeedsAClick(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		d := w.device(w.tool, "openid")
		b := w.browser()
		complete := strings.TrimPrefix(d.text("verification_uri_complete"), issuer)
		r := b.get(complete)
		back := "/login?return_to=" + url.QueryEscape(complete)
		if r.status != 303 || r.header.Get("Location") != back {
			t.Errorf("not signed in: %d to %s, want %s", r.status, r.header.Get("Location"), back)
		}
		b.login(w.alice)
		if r := b.get(complete); r.status != 200 || w.pages.device.Step != oauth.DeviceEnter || w.pages.device.UserCode != d.text("user_code") {
			t.Errorf("%d %+v", r.status, w.pages.device)
		}
		for _, attack := range []url.Values{
			{"user_code": {d.text("user_code")}, "decision": {"allow"}},                                         // no token of a page
			{"user_code": {d.text("user_code")}, "decision": {"allow"}, "csrf": {w.pages.csrf}},                 // not shown
			{"user_code": {d.text("user_code")}, "decision": {"allow"}, "csrf": {w.pages.csrf}, "shown": {"x"}}, // something else was shown
		} {
			b.post("/device", attack)
			w.clock.Advance(6 * time.Second)
			w.expect(w.poll(w.tool, d), 400, "authorization_pending")
		}
		b.get(complete + "&decision=allow")
		w.clock.Advance(6 * time.Second)
		w.expect(w.poll(w.tool, d), 400, "authorization_pending")
		// What was shown to one person is not an answer of another.
		b.typeCode(d.text("user_code"))
		shown := w.pages.device.Shown
		w.browser().login(w.bob).typeCode(d.text("user_code"), "decision", "allow", "shown", shown)
		if w.pages.device.Step != oauth.DeviceAsk {
			t.Errorf("B5.99 another person's question counted: %+v", w.pages.device)
		}
		// Also when everything was allowed before.
		b.answerDevice(d.text("user_code"), "allow")
		again := w.device(w.tool, "openid")
		b.typeCode(again.text("user_code"))
		if w.pages.device.Step != oauth.DeviceAsk || len(w.pages.device.Scopes) != 1 {
			t.Errorf("B5.99 asked the second time: %+v", w.pages.device)
		}
		w.expect(w.poll(w.tool, again), 400, "authorization_pending")
	})
}

// Nobody fills the table: devices that wait are bounded by address.
func TestDevicesByAddress(t *testing.T) {
	w := newFolk(t, dbtest.Engines(t)[0])
	w.allowDevices("tool", registry.RefreshOffline)
	for range 100 {
		if r := w.device(w.tool, "openid", from("203.0.113.5:1")); r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	r := w.device(w.tool, "openid", from("203.0.113.5:1"))
	w.expect(r, 429, "slow_down")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if r := w.device(w.tool, "openid", from("203.0.113.6:1")); r.status != 200 {
		t.Errorf("from elsewhere: %d", r.status)
	}
}
