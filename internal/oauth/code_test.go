package oauth_test

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// A code is good once. The second time ends what the first gave.
func TestCodeIsGoodOnce(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		code := w.browser().login(w.alice).allow(asks(w.shop))
		first := w.exchange(w.shop, code)
		if first.status != 200 || !w.active(w.shop, first.text("access_token")) {
			t.Fatalf("%d %s", first.status, first.body)
		}
		w.expect(w.exchange(w.other, code), 400, "invalid_grant")
		if !w.active(w.shop, first.text("access_token")) {
			t.Error("another client ended the grant with a used code")
		}
		w.expect(w.exchange(w.shop, code), 400, "invalid_grant")
		if w.active(w.shop, first.text("access_token")) {
			t.Error("the access token of the first use is active")
		}
		w.expect(w.refresh(w.shop, first.text("refresh_token")), 400, "invalid_grant")
		if w.events("grant.end") != 1 {
			t.Errorf("%d events", w.events("grant.end"))
		}
	})
}

func TestCodeAtOnceOnTwoNodes(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		nodes := []*folk{w, w.node(t)}
		code := w.browser().login(w.alice).allow(asks(w.shop))
		const uses = 50
		got := make(chan reply, uses)
		for i := range uses {
			go func() { got <- nodes[i%2].exchange(w.shop, code) }()
		}
		var good []reply
		for range uses {
			if r := <-got; r.status == 200 {
				good = append(good, r)
			} else if r.text("error") != "invalid_grant" {
				t.Errorf("%d %s", r.status, r.body)
			}
		}
		if len(good) != 1 {
			t.Fatalf("%d uses of one code succeeded", len(good))
		}
		soon(t, "the code was used again, and its token is active", func() bool { return !w.active(w.shop, good[0].text("access_token")) })
	})
}

// Whatever is wrong, the answer is one, and the first attempt is the only one.
func TestCodeIsBurnt(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		for name, bad := range map[string]func(code string) reply{
			"another client":  func(code string) reply { return w.exchange(w.other, code) },
			"another address": func(code string) reply { return w.exchange(w.shop, code, "redirect_uri", shopBack+"/") },
			"no address":      func(code string) reply { return w.exchange(w.shop, code, "redirect_uri", "-") },
			"wrong verifier":  func(code string) reply { return w.exchange(w.shop, code, "code_verifier", strings.Repeat("a", 43)) },
			"no verifier":     func(code string) reply { return w.exchange(w.shop, code, "code_verifier", "-") },
			"the challenge":   func(code string) reply { return w.exchange(w.shop, code, "code_verifier", challengeOf(verifier)) },
		} {
			code := b.allow(asks(w.shop))
			w.expect(bad(code), 400, "invalid_grant")
			if r := w.exchange(w.shop, code); r.status != 400 {
				t.Errorf("%s: the code is good still: %d %s", name, r.status, r.body)
			}
		}
	})
}

// Other things in the place of a code, and codes that are not quite one.
func TestWhatIsNoCode(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser()
	flow := strings.TrimPrefix(w.resumeOf(b.get(at(asks(w.shop)))), "/oauth2/authorize?flow=")
	tokens := w.signIn(w.shop)
	code := w.browser().login(w.alice).allow(asks(w.shop))
	for _, bad := range []string{
		flow, tokens.text("refresh_token"), tokens.text("access_token"), code[:len(code)-1], code + "a", strings.ToUpper(code), "mma_", " " + code,
		"mmf_" + code[4:], "mma_" + flow[4:], code[:10] + "\u00e4" + code[12:],
	} {
		w.expect(w.exchange(w.shop, bad), 400, "invalid_grant")
	}
	w.expect(w.exchange(w.shop, ""), 400, "invalid_request")
	if r := w.exchange(w.shop, code); r.status != 200 {
		t.Errorf("the code itself: %d %s", r.status, r.body)
	}
	w.expect(w.send("POST", "/oauth2/token", "grant_type=authorization_code&code=a&code=b", auth(w.shop.ClientID, w.shop.Secret)), 400, "invalid_request")
	w.expect(w.exchange(pair{ClientID: w.shop.ClientID, Secret: "wrong"}, code), 401, "invalid_client")
	w.expect(w.exchange(pair{ClientID: w.shop.ClientID}, code), 401, "invalid_client")
	if r := w.send("GET", "/oauth2/token?grant_type=authorization_code&code="+url.QueryEscape(code), "", auth(w.shop.ClientID, w.shop.Secret)); r.status != 405 {
		t.Errorf("GET: %d", r.status)
	}
}

// What is true of the person, the session and the application counts when the code is used, not when it was made.
func TestBetweenCodeAndToken(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		active, inactive := true, false
		application := func(b *bool) {
			w.write(func(ctx context.Context, tx db.WriteTx) error {
				_, err := w.registry.PutApplication(ctx, tx, system, "shop", registry.Change{Active: b}, anyRevision)
				return err
			})
		}
		for name, between := range map[string]func(b *browser){
			"logged out": func(b *browser) { b.logout() },
			"withdrawn": func(*browser) {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.shop.ClientID)
				})
			},
			"password changed": func(*browser) {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					return w.identity.SetPassword(ctx, tx, system, w.alice.ID, redact.New("staple-battery-horse-correct"))
				})
			},
			"disabled": func(*browser) {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					return w.identity.DisablePerson(ctx, tx, system, w.alice.ID)
				})
			},
			"disabled and enabled": func(*browser) {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					if err := w.identity.DisablePerson(ctx, tx, system, w.alice.ID); err != nil {
						return err
					}
					return w.identity.EnablePerson(ctx, tx, system, w.alice.ID)
				})
			},
			"too late": func(*browser) { w.clock.Advance(time.Minute) },
		} {
			b := w.browser().login(w.alice)
			code := b.allow(asks(w.shop))
			w.clock.Advance(time.Second)
			between(b)
			w.expect(w.exchange(w.shop, code), 400, "invalid_grant")
			if name == "disabled" {
				w.write(func(ctx context.Context, tx db.WriteTx) error {
					return w.identity.EnablePerson(ctx, tx, system, w.alice.ID)
				})
			}
			soon(t, name, func() bool { // the next one finds everything in order again
				return w.exchange(w.shop, w.browser().login(w.alice).allow(asks(w.shop))).status == 200
			})
		}
		code := w.browser().login(w.alice).allow(asks(w.shop))
		application(&inactive)
		application(&active)
		again := w.mint("shop", 2)
		soon(t, "the application is not active again", func() bool {
			r := w.exchange(again, code)
			return r.status == 400 && r.text("error") == "invalid_grant"
		})
	})
}

// When the commit fails, nothing was given and the code is as it was.
func TestCodeWithoutStorage(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		code := w.browser().login(w.alice).allow(asks(w.shop))
		if err := w.db.Close(); err != nil {
			t.Fatal(err)
		}
		r := w.exchange(w.shop, code)
		if r.status != 503 || r.header.Get("Retry-After") == "" || r.json["access_token"] != nil {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
}

// Who may ask userinfo, and what for.
func TestUserinfo(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		tokens := w.signIn(w.shop)
		access := tokens.text("access_token")
		for name, r := range map[string]reply{
			"GET":  w.send("GET", "/oauth2/userinfo", "", bearer(access)),
			"POST": w.send("POST", "/oauth2/userinfo", "", bearer(access)),
			"form": w.send("POST", "/oauth2/userinfo", "access_token="+access),
		} {
			if r.status != 200 || len(r.json) != 1 || r.text("sub") != w.alice.ID {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
		for name, c := range map[string]struct {
			r      reply
			status int
			code   string
		}{
			"no token":           {w.send("GET", "/oauth2/userinfo", ""), 401, "invalid_token"},
			"in the address":     {w.send("GET", "/oauth2/userinfo?access_token="+access, ""), 401, "invalid_token"},
			"refresh token":      {w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("refresh_token"))), 401, "invalid_token"},
			"service's token":    {w.send("GET", "/oauth2/userinfo", "", bearer(w.serviceToken())), 401, "invalid_token"},
			"without openid":     {w.send("GET", "/oauth2/userinfo", "", bearer(w.signIn(w.shop, "scope", "uid").text("access_token"))), 403, "insufficient_scope"},
			"another's audience": {w.send("GET", "/oauth2/userinfo", "", bearer(w.forge(`{"alg":"ES256","kid":"KID","typ":"at+jwt"}`, `{"iss":"`+issuer+`"}`))), 401, "invalid_token"},
		} {
			w.expect(c.r, c.status, c.code)
			if !strings.HasPrefix(c.r.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: %q", name, c.r.header.Get("WWW-Authenticate"))
			}
		}
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.identity.DisablePerson(ctx, tx, system, w.alice.ID)
		})
		w.expect(w.send("GET", "/oauth2/userinfo", "", bearer(access)), 401, "invalid_token")
	})
}

func (w *folk) serviceToken() string {
	w.t.Helper()
	p := w.mint("other", 1)
	return w.login(p, p).text("access_token")
}
