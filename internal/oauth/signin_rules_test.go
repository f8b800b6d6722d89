package oauth_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// The cookie that a request is bound to belongs to this host, goes over TLS alone, and no script reads it.
func TestCookieOfARequest(t *testing.T) {
	w := aWorldOfPeople(t)
	r := w.send("GET", at(asks(w.shop)), "")
	for _, c := range (&http.Response{Header: r.header}).Cookies() {
		if strings.HasSuffix(c.Name, "flow") {
			if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
				t.Errorf("%+v", c)
			}
			return
		}
	}
	t.Errorf("there is none: %v", r.header)
}

// A hint that is none ends the request, also where nobody is signed in whom it could be compared with.
func TestHintThatIsNone(t *testing.T) {
	w := aWorldOfPeople(t)
	for _, hint := range []string{"nonsense", "a.b.c"} {
		w.refusedBack(w.browser().get(at(asks(w.shop, "id_token_hint", hint))), "login_required")
		w.refusedBack(w.browser().login(w.alice).get(at(asks(w.shop, "id_token_hint", hint))), "login_required")
	}
}

// With prompt=none a wish for a stronger login stays one, and a condition is told as what it is: nobody is sent anywhere.
func TestStepUpWhereNobodyMayBeAsked(t *testing.T) {
	w := newFolk(t, dbtest.Engines(t)[0], func(o *oauth.Options) {
		o.People.StepUp = func(context.Context, identity.User) (bool, error) { return true, nil }
	})
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	tokens := w.exchange(w.shop, w.backTo(b.get(at(asks(w.shop, "prompt", "none", "acr_values", "2"))), shopBack).Get("code"))
	if got := payloadOf(t, tokens.text("id_token"))["acr"]; got != "1" {
		t.Errorf("acr %v", got)
	}
	w.refusedBack(b.get(at(asks(w.shop, "prompt", "none", "claims", `{"id_token":{"acr":{"essential":true,"value":"2"}}}`))), "unmet_authentication_requirements")
}

// How old a login may be is asked of the moment at which the request came: who takes a while to decide signs in no second
// time.
func TestMaxAgeIsOfTheRequest(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		w.clock.Advance(9 * time.Minute)
		r := b.get(at(asks(w.shop, "max_age", "600")))
		question := r.header.Get("Location")
		if !strings.HasPrefix(question, "/consent?") {
			t.Fatalf("%d to %s", r.status, question)
		}
		b.get(question)
		w.clock.Advance(2 * time.Minute)
		if to := b.decide("allow").header.Get("Location"); !strings.Contains(to, "code=") {
			t.Errorf("sent to %s", to)
		}
		if to := b.get(at(asks(w.shop, "max_age", "600"))).header.Get("Location"); !strings.HasPrefix(to, "/login?") {
			t.Errorf("a new request of an old login goes to %s", to)
		}
	})
}

// At a port of the person's machine any program may listen: there she is asked about claims as well, whose client it is.
func TestClaimsAtALoopbackAddress(t *testing.T) {
	w := aWorldOfPeople(t)
	public := pair{ClientID: w.tool.ClientID}
	w.say(w.tool, func(c *oauth.Client) { c.Metadata.FirstParty = true })
	const loopback, claims = "http://127.0.0.1:8099/cb", `{"userinfo":{"email":null}}`
	b := w.browser().login(w.alice)
	b.allow(asks(public, "redirect_uri", loopback)) // openid itself
	if to := b.get(at(asks(public, "claims", claims))).header.Get("Location"); !strings.Contains(to, "code=") {
		t.Errorf("at its own address: %s", to)
	}
	to := b.get(at(asks(public, "redirect_uri", loopback, "claims", claims))).header.Get("Location")
	if !strings.HasPrefix(to, "/consent?") {
		t.Fatalf("at a port: %s", to)
	}
	b.get(to)
	if v := w.pages.consent; len(v.Scopes) != 1 || v.Scopes[0].Name != "claim:email" {
		t.Errorf("asked about %+v", v.Scopes)
	}
}

// A person allows what the page showed: if more has to be asked meanwhile, it is shown again.
func TestMoreToAskThanWasShown(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop, "scope", "openid sales_order.read"))
		b.get(b.get(at(asks(w.shop, "scope", "openid sales_order.read email"))).header.Get("Location"))
		if v := w.pages.consent; len(v.Scopes) != 1 || v.Scopes[0].Name != "email" {
			t.Fatalf("asked about %+v", v.Scopes)
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.shop.ClientID)
		})
		r := b.decide("allow")
		if !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
			t.Fatalf("what was not shown is allowed: %d to %s", r.status, r.header.Get("Location"))
		}
		b.get(r.header.Get("Location"))
		if v := w.pages.consent; len(v.Scopes) != 3 {
			t.Errorf("asked again about %+v", v.Scopes)
		}
		if to := b.decide("allow").header.Get("Location"); !strings.Contains(to, "code=") {
			t.Errorf("sent to %s", to)
		}
	})
}

// A pushed request that no browser has brought in time is nothing.
func TestB1_28_PushedRequestThatIsLate(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop))
		early, late := w.pushed(w.shop, asks(w.shop)), w.pushed(w.shop, asks(w.shop))
		w.clock.Advance(90*time.Second - time.Microsecond)
		w.backTo(b.get(early), shopBack)
		w.clock.Advance(time.Microsecond)
		w.refusedHere(b.get(late), 400)
	})
}

// A pushed request is answered once, however many browsers wait with it for a person.
func TestB1_28_PushedRequestThatWaitsTwice(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		address := w.pushed(w.shop, asks(w.shop))
		one, two := w.browser().login(w.alice), w.browser().login(w.alice)
		first, second := one.get(address).header.Get("Location"), two.get(address).header.Get("Location")
		one.get(first)
		if to := one.decide("allow").header.Get("Location"); !strings.Contains(to, "code=") {
			t.Fatalf("sent to %s", to)
		}
		r := two.get(second)
		if r.status == 200 { // the page asks; the answer counts no more
			r = two.decide("allow")
		}
		if strings.Contains(r.header.Get("Location"), "code=") {
			t.Errorf("answered twice: %d to %s", r.status, r.header.Get("Location"))
		}
		two.get(two.get(at(asks(w.shop))).header.Get("Location")) // and keeps nobody from asking anew
	})
}

// Userinfo tells nothing about somebody who is disabled, whatever else was forgotten when that happened.
func TestUserinfoOfADisabledPerson(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		token := w.signIn(w.shop).text("access_token")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return db.One(tx.Exec(ctx, `UPDATE users SET disabled = $1 WHERE id = $2`, db.Micros(tx.Now()), w.alice.ID))
		})
		if r := w.send("GET", "/oauth2/userinfo", "", bearer(token)); r.status != 401 || r.text("sub") != "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// Scripts do not read what is said to a client that there is not.
func TestCrossOriginOfAnUnknownClient(t *testing.T) {
	w := aWorldOfPeople(t)
	const spa = "https://spa.example.org"
	w.spa("tool", []string{shopBack}, spa)
	ask := func(id string) reply {
		return w.send("POST", "/oauth2/token", "grant_type=authorization_code&code=x&client_id="+id, origin(spa))
	}
	soon(t, "the origin is not known", func() bool { return allowed(ask(w.tool.ClientID)) == spa })
	if r := ask("cli_00000000000000000000000000"); allowed(r) != "" || r.status != 401 {
		t.Errorf("%d, readable from %q", r.status, allowed(r))
	}
}

// The page for devices takes no form of another site, no code that is over, and nothing for a client that may not any more.
func TestDevicePageRefuses(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		d := w.device(w.tool, "openid")
		b := w.browser().login(w.alice)
		b.typeCode(d.text("user_code"))
		shown := w.pages.device.Shown
		if r := b.typeCode(d.text("user_code"), "decision", "allow", "shown", shown, "csrf", "x"); r.status != 403 {
			t.Errorf("a form of another site: %d", r.status)
		}
		w.expect(w.poll(w.tool, d), 400, "authorization_pending")
		for name, change := range map[string]func(c *oauth.Client){
			"disabled":          func(c *oauth.Client) { c.Enabled = false },
			"not allowed to it": func(c *oauth.Client) { c.GrantTypes = []string{"authorization_code"} },
		} {
			w.say(w.tool, change)
			if r := b.typeCode(d.text("user_code"), "decision", "allow", "shown", shown); r.status != 400 || w.pages.code != "invalid_client" {
				t.Errorf("a client that is %s: %d %s", name, r.status, w.pages.code)
			}
		}
		w.say(w.tool, nil)
		w.clock.Advance(10 * time.Minute)
		if b.typeCode(d.text("user_code"), "decision", "allow", "shown", shown); w.pages.device.Step != oauth.DeviceEnter || !w.pages.device.Wrong {
			t.Errorf("a code that is over: %+v", w.pages.device)
		}
		w.expect(w.poll(w.tool, d), 400, "expired_token")
	})
}

// A device is not in the session of the browser that let it act: it goes on when that ends, and is not told of it.
func TestDeviceIsNotInTheSession(t *testing.T) {
	told(t, func(t *testing.T, w *folk) {
		w.allowDevices("shop", registry.RefreshAlways)
		l := listen(t)
		w.hearsAt(w.shop, l)
		b := w.browser().login(w.alice)
		d := w.device(w.shop, "openid")
		b.answerDevice(d.text("user_code"), "allow")
		w.clock.Advance(6 * time.Second)
		tokens := w.poll(w.shop, d)
		if tokens.status != 200 || payloadOf(t, tokens.text("id_token"))["sid"] != nil {
			t.Fatalf("%d %s", tokens.status, tokens.body)
		}
		b.logout()
		if r := w.refresh(w.shop, tokens.text("refresh_token")); r.status != 200 {
			t.Errorf("signed out in the browser, and the device is out: %d %s", r.status, r.body)
		}
		if n := w.count(`SELECT count(*) FROM logout_notices`); n != 0 || len(l.heard()) != 0 {
			t.Errorf("%d notices", n)
		}
	})
}

// A client that is disabled is led to by no logout, hears of none, and is in no frame.
func TestDisabledClientsAtALogout(t *testing.T) {
	told(t, func(t *testing.T, w *folk) {
		l := listen(t)
		hears := func(enabled bool) func(c *oauth.Client) {
			return func(c *oauth.Client) {
				c.Enabled = enabled
				c.Metadata.BackchannelLogoutURI, c.Metadata.FrontchannelLogoutURI = l.url, "https://shop.example.org/front"
			}
		}
		w.say(w.shop, hears(true))
		b := w.browser().login(w.alice)
		hint := w.exchange(w.shop, b.allow(asks(w.shop))).text("id_token")
		id, _ := w.sessionID(b)
		if frames, err := w.server.LogoutFrames(t.Context(), id); err != nil || len(frames) != 1 {
			t.Fatalf("%v %v", frames, err)
		}
		w.say(w.shop, hears(false))
		if frames, err := w.server.LogoutFrames(t.Context(), id); err != nil || len(frames) != 0 {
			t.Errorf("in a frame: %v %v", frames, err)
		}
		w.refusedHere(b.leave("id_token_hint", hint, "post_logout_redirect_uri", "https://shop.example.org/bye"), 400)
		if _, stays := w.sessionID(b); !stays {
			t.Error("signed out all the same")
		}
		b.logout()
		w.work()
		soon(t, "the notice stays", func() bool { return w.count(`SELECT count(*) FROM logout_notices`) == 0 })
		if len(l.heard()) != 0 {
			t.Error("it was told")
		}
	})
}

// What a client is told of a logout is encrypted as its ID tokens are.
func TestEncryptedLogoutTokens(t *testing.T) {
	told(t, func(t *testing.T, w *folk) {
		l := listen(t)
		w.say(w.shop, func(c *oauth.Client) {
			c.Metadata.BackchannelLogoutURI = l.url
			c.Metadata.IDTokenKeyAlg, c.Metadata.IDTokenEnc = "ECDH-ES", "A128GCM"
			c.Keys = []registry.ClientKey{{JWK: jwkFor(t, signingPair(), "enc")}}
		})
		b := w.browser().login(w.alice)
		w.exchange(w.shop, b.allow(asks(w.shop)))
		b.logout()
		w.work()
		soon(t, "the client does not hear of it", func() bool { return len(l.heard()) == 1 })
		inner, _ := opened(t, l.heard()[0], "ECDH-ES", "A128GCM", signingPair())
		if header, claims := w.verified(inner, "ES256"); header.ExtraHeaders["typ"] != "logout+jwt" || claims["aud"] != w.shop.ClientID || claims["events"] == nil {
			t.Errorf("%v %v", header, claims)
		}
	})
}

// Tokens through the browser need both that an administrator gave: the type of answer, and the grant.
func TestResponseTypeWithoutItsGrant(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	for name, c := range map[string]struct {
		change func(c *oauth.Client)
		code   string
	}{
		"the type alone":  {func(c *oauth.Client) { c.Metadata.ResponseTypes = []string{"id_token"} }, "unauthorized_client"},
		"the grant alone": {func(c *oauth.Client) { opens()(c) }, "unsupported_response_type"},
		"both":            {opens("id_token"), ""},
	} {
		w.say(w.shop, c.change)
		v := w.fragment(b.get(at(asks(w.shop, "response_type", "id_token", "nonce", "n"))), shopBack)
		if v.Get("error") != c.code || v.Has("id_token") != (c.code == "") {
			t.Errorf("%s: %v", name, v)
		}
	}
}

// A device that never waits is told to wait longer each time, up to a minute.
func TestPauseOfADeviceIsBounded(t *testing.T) {
	w := newFolk(t, dbtest.Engines(t)[0])
	w.allowDevices("tool", registry.RefreshOffline)
	d := w.device(w.tool, "openid")
	w.expect(w.poll(w.tool, d), 400, "authorization_pending")
	for range 20 {
		w.expect(w.poll(w.tool, d), 400, "slow_down")
	}
	w.clock.Advance(59 * time.Second)
	w.expect(w.poll(w.tool, d), 400, "slow_down")
	w.clock.Advance(time.Minute)
	w.expect(w.poll(w.tool, d), 400, "authorization_pending")
}

// The state of the session is for clients of OpenID Connect.
func TestSessionStateNeedsOpenID(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	for scope, want := range map[string]bool{"openid": true, "profile": false} {
		b.allow(asks(w.shop, "scope", scope))
		if got := w.backTo(b.get(at(asks(w.shop, "scope", scope))), shopBack).Has("session_state"); got != want {
			t.Errorf("scope %s: %v", scope, got)
		}
	}
}
