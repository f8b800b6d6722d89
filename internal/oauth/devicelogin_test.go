package oauth_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
)

// deviceWith asks for codes with more parameters.
func (w *folk) deviceWith(more ...string) reply {
	w.t.Helper()
	v := url.Values{"client_id": {w.tool.ClientID}, "scope": {"openid"}}
	for i := 0; i+1 < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return w.send("POST", "/oauth2/device_authorization", v.Encode())
}

// The login of whoever lets a device act is as fresh as the client wants it: by its own default, or by the request.
func TestDeviceWantsAFreshLogin(t *testing.T) {
	withDevices(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		w.clock.Advance(2 * time.Minute)
		sentToLogin := func(name string, d reply) {
			t.Helper()
			if d.status != 200 {
				t.Fatalf("%s: %d %s", name, d.status, d.body)
			}
			code := d.text("user_code")
			for _, decision := range []string{"", "allow", "deny"} { // the answer is no way around it
				r := b.typeCode(code, "decision", decision, "shown", "x")
				if to := r.header.Get("Location"); r.status != 303 || to != "/login?return_to="+url.QueryEscape("/device?user_code="+code) || w.pages.device.Step == oauth.DeviceAsk {
					t.Errorf("%s, decision %q: %d to %q", name, decision, r.status, to)
				}
			}
		}
		asked := func(name string, d reply) {
			t.Helper()
			if r := b.typeCode(d.text("user_code")); r.status != 200 || w.pages.device.Step != oauth.DeviceAsk {
				t.Errorf("%s: %d %+v", name, r.status, w.pages.device)
			}
		}
		asked("nothing is said", w.deviceWith())
		sentToLogin("the request says so", w.deviceWith("max_age", "60"))
		sentToLogin("a login in any case", w.deviceWith("max_age", "0"))
		w.say(w.tool, func(c *oauth.Client) { c.Metadata.DefaultMaxAge = time.Minute })
		asked("the request says more than the default", w.deviceWith("max_age", "3600"))
		stale := w.deviceWith()
		sentToLogin("the client's default", stale)
		for _, bad := range [][]string{{"max_age", "-1"}, {"max_age", "soon"}, {"acr_values", strings.Repeat("x ", 600)}, {"acr_values", strings.Repeat("x ", 50)}} {
			w.expect(w.deviceWith(bad...), 400, "invalid_request")
		}
		w.clock.Advance(time.Second)
		b.login(w.alice)
		signedIn := w.clock.Now().Unix()
		w.clock.Advance(5 * time.Minute) // the login was for this, however long the person reads
		b.answerDevice(stale.text("user_code"), "allow")
		tokens := w.poll(w.tool, stale)
		if id := payloadOf(t, tokens.text("id_token")); id["auth_time"] != float64(signedIn) {
			t.Errorf("auth_time %v, not %d", id["auth_time"], signedIn)
		}
	})
}

// A client that wants its people to sign in by two factors has them do so for a device, too.
func TestDeviceWantsAStrongLogin(t *testing.T) {
	has := true
	w := newFolk(t, aWorldOfPeople(t).engine(), func(o *oauth.Options) {
		o.People.StepUp = func(context.Context, identity.User) (bool, error) { return has, nil }
	})
	w.allowDevices("tool", "never")
	w.say(w.tool, func(c *oauth.Client) { c.Metadata.DefaultACRs = []string{"2"} })
	b := w.browser().login(w.alice)
	w.clock.Advance(time.Second)
	d := w.deviceWith()
	code := d.text("user_code")
	r := b.typeCode(code)
	if to := r.header.Get("Location"); to != "/login?return_to="+url.QueryEscape("/device?user_code="+code)+"&acr_values=2" {
		t.Fatalf("%d to %q", r.status, to)
	}
	if r := b.typeCode(w.deviceWith("acr_values", "1").text("user_code")); r.status != 200 || w.pages.device.Step != oauth.DeviceAsk {
		t.Errorf("the request wants less: %d to %q", r.status, r.header.Get("Location"))
	}
	b.strongly(w.alice).answerDevice(code, "allow")
	if id := payloadOf(t, w.poll(w.tool, d).text("id_token")); id["acr"] != "2" {
		t.Errorf("acr %v", id["acr"])
	}
	has = false // it is a wish: who has nothing to do it with is let go on
	b.amr = nil
	weak := w.deviceWith()
	if r := b.login(w.alice).typeCode(weak.text("user_code")); r.status != 200 || w.pages.device.Step != oauth.DeviceAsk {
		t.Errorf("nothing to step up with: %d to %q", r.status, r.header.Get("Location"))
	}
}
