package oauth_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// What is asked for by name is asked of the person by name, remembered, and told where it was asked for, and nowhere else.
func TestClaimsParameter(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		v := asks(w.shop, "claims", `{"userinfo":{"email":{"essential":true},"email_verified":null,"shoe_size":null},"id_token":{"name":null,"auth_time":{"essential":true}},"more":[1]}`)
		code := b.allow(v)
		var asked []string
		for _, s := range w.pages.consent.Scopes {
			asked = append(asked, s.Name+" "+s.Text)
		}
		if want := []string{"openid Know that it is you.", "claim:email See your e-mail address.", "claim:name See your name."}; !cmp.Equal(asked, want) {
			t.Errorf("asked for %v", asked)
		}
		tokens := w.exchange(w.shop, code)
		id := payloadOf(t, tokens.text("id_token"))
		if id["name"] != "Alice" || id["email"] != nil || id["preferred_username"] != nil {
			t.Errorf("ID token %v", id)
		}
		info := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token")))
		if want := map[string]any{"sub": w.alice.ID, "email": "alice@example.org", "email_verified": false}; !cmp.Equal(info.json, want) {
			t.Errorf("userinfo %s", info.body)
		}
		// The same once more, in part, is not asked again; more is.
		if r := b.get(at(asks(w.shop, "claims", `{"id_token":{"email":null}}`))); !strings.Contains(r.header.Get("Location"), "code=") {
			t.Errorf("asked again: %s", r.header.Get("Location"))
		}
		w.refusedBack(b.get(at(asks(w.shop, "prompt", "none", "claims", `{"id_token":{"preferred_username":null}}`))), "consent_required")
		// A scope that was allowed covers its claims.
		b.allow(asks(w.other, "scope", "openid profile"))
		if r := b.get(at(asks(w.other, "prompt", "none", "claims", `{"id_token":{"preferred_username":null}}`))); !strings.Contains(r.header.Get("Location"), "code=") {
			t.Errorf("asked for what the scope covers: %s", r.header.Get("Location"))
		}
		// Withdrawn is withdrawn.
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			return w.server.Withdraw(ctx, tx, system, w.alice.ID, w.shop.ClientID)
		})
		soon(t, "told after all was withdrawn", func() bool {
			return w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token"))).status == 401
		})
	})
}

// Whatever stands in the parameter, nothing is released that nobody allowed, and nothing breaks.
func TestB1_26_BadClaims(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	for _, bad := range []string{"{", "[]", "null", `"email"`, `{"userinfo":1}`, `{"userinfo":[]}`, `{"userinfo":{"email":true}}`, `{"id_token":{},"id_token":{}}`, strings.Repeat(`{"userinfo":`, 300), `{"x":` + strings.Repeat("[", 4000) + "}", `{"x":"` + strings.Repeat("x", 9000) + `"}`} {
		w.refusedBack(b.get(at(asks(w.shop, "claims", bad))), "invalid_request")
	}
	for _, nothing := range []string{"{}", `{"userinfo":null}`, `{"userinfo":{"password":null,"realm":null,"roles":{"value":"admin"}}}`, `{"verified_claims":{"x":[{"y":1.5e3}]}}`} {
		tokens := w.exchange(w.shop, b.allow(asks(w.shop, "claims", nothing)))
		info := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token")))
		if !cmp.Equal(info.json, map[string]any{"sub": w.alice.ID}) {
			t.Errorf("%s releases %s", nothing, info.body)
		}
	}
	// Without openid it is no request of OpenID Connect.
	tokens := w.exchange(w.shop, b.allow(asks(w.shop, "scope", "uid", "claims", `{"userinfo":{"email":null}}`)))
	if r := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token"))); r.status != 403 {
		t.Errorf("%d", r.status)
	}
}

// A sub that is asked for must be who is signed in.
func TestClaimsNameThePerson(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	claims := func(sub string) url.Values { return asks(w.shop, "claims", `{"id_token":{"sub":`+sub+`}}`) }
	for _, good := range []string{`{"value":"` + w.alice.ID + `"}`, `{"values":["x","` + w.alice.ID + `"]}`, "null", `{"essential":true}`} {
		w.backTo(b.get(at(claims(good))), shopBack)
		if r := b.get(at(claims(good))); !strings.Contains(r.header.Get("Location"), "code=") {
			t.Errorf("%s: %s", good, r.header.Get("Location"))
		}
	}
	for _, bad := range []string{`{"value":"` + w.bob.ID + `"}`, `{"value":5}`, `{"values":[]}`, `{"value":""}`} {
		w.refusedBack(b.get(at(claims(bad))), "login_required")
	}
	v := asks(w.shop, "claims", `{"id_token":{"sub":{"value":"`+w.alice.ID+`"}},"userinfo":{"sub":{"value":"`+w.bob.ID+`"}}}`)
	w.refusedBack(b.get(at(v)), "login_required")
}

// strongly signs the user in by two factors.
func (b *browser) strongly(u identity.User) *browser {
	b.amr = []string{"pwd", "otp", "mfa"}
	return b.login(u)
}

// A class of login is reached, or not; what is only wished for stops nobody.
func TestClassesOfLogin(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		one := w.browser().login(w.alice)
		one.allow(asks(w.shop))
		two := w.browser().strongly(w.alice)
		acr := func(b *browser, change ...string) any {
			t.Helper()
			return payloadOf(t, w.exchange(w.shop, b.allow(asks(w.shop, change...))).text("id_token"))["acr"]
		}
		must := func(values string) string { return `{"id_token":{"acr":{"essential":true,"values":` + values + `}}}` }
		for name, c := range map[string]struct {
			got, want any
		}{
			"nothing asked":       {acr(one), "1"},
			"two factors":         {acr(two), "2"},
			"a wish":              {acr(one, "acr_values", "2 1"), "1"},
			"a wish, unmet":       {acr(one, "acr_values", "2 urn:x"), "1"},
			"a wish by claims":    {acr(one, "claims", `{"id_token":{"acr":{"values":["2"]}}}`), "1"},
			"a condition":         {acr(two, "claims", must(`["2"]`)), "2"},
			"a lower condition":   {acr(two, "claims", must(`["1"]`)), "1"},
			"a condition, unmade": {acr(one, "claims", `{"id_token":{"acr":{"essential":true}}}`), "1"},
		} {
			if c.got != c.want {
				t.Errorf("%s: %v", name, c.got)
			}
		}
		w.refusedBack(one.get(at(asks(w.shop, "claims", must(`["2"]`)))), "unmet_authentication_requirements")
		w.refusedBack(two.get(at(asks(w.shop, "claims", must(`["urn:gold"]`)))), "unmet_authentication_requirements")
		w.refusedBack(two.get(at(asks(w.shop, "claims", must(`[]`)))), "unmet_authentication_requirements")
		w.say(w.shop, func(c *oauth.Client) { c.Metadata.DefaultACRs = []string{"2"} })
		if got := acr(one); got != "1" {
			t.Errorf("the client's default: %v", got)
		}
	})
}

// Who has a second factor is sent to prove it, and comes back to the same request; once.
func TestStepUp(t *testing.T) {
	has := true
	w := newFolk(t, aWorldOfPeople(t).engine(), func(o *oauth.Options) {
		o.People.StepUp = func(context.Context, identity.User) (bool, error) { return has, nil }
	})
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	must := asks(w.shop, "claims", `{"id_token":{"acr":{"essential":true,"value":"2"}}}`)
	begin := func(v url.Values) string {
		t.Helper()
		w.clock.Advance(time.Second)
		login, err := url.Parse(b.get(at(v)).header.Get("Location"))
		if err != nil || login.Path != "/login" || login.Query().Get("acr_values") != "2" {
			t.Fatalf("sent to %s", login)
		}
		w.clock.Advance(time.Second)
		return login.Query().Get("return_to")
	}
	resume := begin(must)
	if r := b.get(resume); !strings.HasPrefix(r.header.Get("Location"), "/login?") {
		t.Errorf("without it, %d to %s", r.status, r.header.Get("Location"))
	}
	tokens := w.exchange(w.shop, w.backTo(b.strongly(w.alice).get(resume), shopBack).Get("code"))
	if got := payloadOf(t, tokens.text("id_token"))["acr"]; got != "2" {
		t.Errorf("acr %v", got)
	}
	// She signs in, but not by it: a condition fails, a wish does not, and there is no loop.
	b.amr = nil
	b.login(w.alice)
	resume = begin(must)
	w.refusedBack(b.login(w.alice).get(resume), "unmet_authentication_requirements")
	resume = begin(asks(w.shop, "acr_values", "2"))
	if r := b.login(w.alice).get(resume); !strings.Contains(r.header.Get("Location"), "code=") {
		t.Errorf("a wish: %d to %s", r.status, r.header.Get("Location"))
	}
	has = false
	if r := b.get(at(asks(w.shop, "acr_values", "2"))); !strings.Contains(r.header.Get("Location"), "code=") {
		t.Errorf("nothing to step up with: %d to %s", r.status, r.header.Get("Location"))
	}
}

// The page at which the account is chosen, and who is chosen there.
func TestSelectAccount(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop))
		w.clock.Advance(time.Minute)
		v := asks(w.shop, "prompt", "select_account", "ui_locales", "de-CH en")
		w.refusedBack(b.get(at(asks(w.shop, "prompt", "none select_account"))), "invalid_request")
		choose := func() string {
			t.Helper()
			at := b.get(at(v)).header.Get("Location")
			if !strings.HasPrefix(at, "/select?flow=") {
				t.Fatalf("sent to %s", at)
			}
			if r := b.get(at); r.status != 200 || w.pages.choice.User.ID != w.alice.ID || w.pages.choice.ClientName != "shop" || !strings.HasPrefix(w.pages.choice.Other, "/login?return_to=") || !strings.Contains(w.pages.choice.Other, "ui_locales=de-CH+en") {
				t.Fatalf("%d %+v", r.status, w.pages.choice)
			}
			return w.pages.choice.Flow
		}
		send := func(b *browser, flow string, change ...string) reply {
			t.Helper()
			form := url.Values{"flow": {flow}, "csrf": {w.pages.csrf}, "choice": {"continue"}}
			for i := 0; i+1 < len(change); i += 2 {
				form.Set(change[i], change[i+1])
			}
			return b.post("/select", form)
		}
		flow := choose()
		w.refusedHere(send(b, flow, "csrf", "x"), 403)
		w.refusedHere(send(b, flow, "choice", "x"), 400)
		w.refusedHere(send(w.browser().login(w.bob), flow), 403)
		r := send(b, flow)
		if code := w.backTo(b.get(r.header.Get("Location")), shopBack).Get("code"); code == "" {
			t.Error("chosen, and no code")
		}
		// Chosen by one, then somebody else signs in: asked again.
		flow = choose()
		resume := send(b, flow).header.Get("Location")
		other := b.copy()
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `UPDATE authorization_flows SET created = created + 60000000`) // bob has signed in before
			return err
		})
		if r := other.login(w.bob).get(resume); !strings.HasPrefix(r.header.Get("Location"), "/select?") {
			t.Errorf("bob goes on as alice chose: %d to %s", r.status, r.header.Get("Location"))
		}
		// Another account is a login, which is choice enough.
		b.login(w.alice)
		w.clock.Advance(time.Minute)
		flow = choose()
		w.clock.Advance(2 * time.Minute)
		b.login(w.alice)
		if code := w.backTo(b.get("/oauth2/authorize?flow="+flow), shopBack).Get("code"); code == "" {
			t.Error("signed in for it, and asked again")
		}
	})
}

// prompt=create leads to the page to register at, where there is one, and back.
func TestPromptCreate(t *testing.T) {
	w := newFolk(t, aWorldOfPeople(t).engine(), func(o *oauth.Options) {
		o.People.RegisterAt = func(returnTo string) string { return "/register?return_to=" + url.QueryEscape(returnTo) }
	})
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	w.clock.Advance(time.Minute)
	register, err := url.Parse(b.get(at(asks(w.shop, "prompt", "create", "login_hint", "a@b"))).header.Get("Location"))
	if err != nil || register.Path != "/register" || register.Query().Get("login_hint") != "a@b" {
		t.Fatalf("sent to %s", register)
	}
	w.clock.Advance(time.Second)
	b.login(w.alice)
	if code := w.backTo(b.get(register.Query().Get("return_to")), shopBack).Get("code"); code == "" {
		t.Error("no code after it")
	}
	if r := w.send("GET", "/.well-known/openid-configuration", ""); !strings.Contains(r.body, `"create"`) {
		t.Errorf("%s", r.body)
	}
	plain := aWorldOfPeople(t)
	if r := plain.send("GET", "/.well-known/openid-configuration", ""); strings.Contains(r.body, `"create"`) || strings.Contains(r.body, `"acr_values_supported":["1","2"]`) {
		t.Errorf("%s", r.body)
	}
}

// Two clients of different sectors know a person by different names, the same everywhere, and nobody finds her by them.
func TestPairwiseSubjects(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		pairwise := func(sector string) func(*oauth.Client) {
			return func(c *oauth.Client) {
				c.Metadata.SubjectType, c.Metadata.Sector = registry.SubjectPairwise, sector
			}
		}
		w.say(w.shop, pairwise(""))
		tokens := w.signIn(w.shop, "scope", "openid email")
		id := payloadOf(t, tokens.text("id_token"))
		name, _ := id["sub"].(string)
		if len(name) != 43 || name == w.alice.ID {
			t.Fatalf("sub %q", name)
		}
		info := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token")))
		said := w.send("POST", "/oauth2/introspect", "token="+tokens.text("access_token"), auth(w.shop.ClientID, w.shop.Secret))
		if info.text("sub") != name || info.text("email") != "alice@example.org" || said.text("sub") != name || payloadOf(t, tokens.text("access_token"))["sub"] != name {
			t.Errorf("%s %s", info.body, said.body)
		}
		if refreshed := w.refresh(w.shop, tokens.text("refresh_token")); payloadOf(t, refreshed.text("access_token"))["sub"] != name {
			t.Errorf("another name after a refresh: %s", refreshed.body)
		}
		sub := func(client pair) any { return payloadOf(t, w.signIn(client).text("id_token"))["sub"] }
		w.say(w.other, pairwise("")) // its address has the same host
		if got := sub(w.other); got != name {
			t.Errorf("the same sector, %v and %s", got, name)
		}
		w.say(w.other, pairwise("other.example.org"))
		if got := sub(w.other); got == name || got == w.alice.ID {
			t.Errorf("another sector, %v", got)
		}
		// New keys change no name.
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := w.keyring.RotateTerm(ctx, tx, "lookup")
			return err
		})
		if got := sub(w.shop); got != name {
			t.Errorf("%v after a new key, %s before", got, name)
		}
		// A hint and a claim mean that name, for login and logout.
		b := w.browser().login(w.alice)
		hint := tokens.text("id_token")
		for _, v := range []url.Values{asks(w.shop, "id_token_hint", hint), asks(w.shop, "claims", `{"id_token":{"sub":{"value":"`+name+`"}}}`)} {
			if r := b.get(at(v)); !strings.Contains(r.header.Get("Location"), "code=") {
				t.Errorf("%v: %s", v, r.header.Get("Location"))
			}
		}
		w.refusedBack(b.get(at(asks(w.shop, "claims", `{"id_token":{"sub":{"value":"`+w.alice.ID+`"}}}`))), "login_required")
		w.refusedBack(w.browser().login(w.bob).get(at(asks(w.shop, "id_token_hint", hint))), "login_required")
		if r := b.get("/oauth2/logout?id_token_hint=" + hint); r.header.Get("Location") != "/logout" || slices.Contains([]string{""}, r.header.Get("Set-Cookie")) {
			t.Errorf("logout: %d %v", r.status, r.header)
		}
	})
}

// Nobody is asked about a client of the organisation itself, but for what lasts, and for a port of one's machine.
func TestFirstParty(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		first := func(c *oauth.Client) { c.Metadata.FirstParty = true }
		w.say(w.shop, first)
		w.say(w.tool, first)
		b := w.browser().login(w.alice)
		tokens := w.exchange(w.shop, w.backTo(b.get(at(asks(w.shop, "scope", "openid email sales_order.read", "claims", `{"id_token":{"name":null}}`))), shopBack).Get("code"))
		if tokens.status != 200 || payloadOf(t, tokens.text("id_token"))["name"] != "Alice" {
			t.Fatalf("%d %s", tokens.status, tokens.body)
		}
		if r := w.refresh(w.shop, tokens.text("refresh_token")); r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
		for _, v := range []url.Values{
			asks(w.shop, "scope", "openid offline_access"), asks(w.shop, "prompt", "consent"), asks(w.tool, "redirect_uri", "http://127.0.0.1:4711/cb"),
		} {
			if r := b.get(at(v)); !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
				t.Errorf("not asked: %v: %d to %s", v, r.status, r.header.Get("Location"))
			}
		}
		w.refusedBack(b.get(at(asks(w.shop, "scope", "sales_order.read_all"))), "invalid_scope")
		// It is the administrator's word, and lasts no longer than that.
		next := w.exchange(w.shop, w.backTo(b.get(at(asks(w.shop, "scope", "openid email"))), shopBack).Get("code"))
		w.say(w.shop, nil)
		w.expect(w.refresh(w.shop, next.text("refresh_token")), 400, "invalid_grant")
	})
}

// An administrator can leave PKCE to a client that has a secret; then no verifier may come.
func TestB1_33_PKCEOptional(t *testing.T) {
	w := aWorldOfPeople(t)
	optional := func(c *oauth.Client) { c.Metadata.PKCEOptional = true }
	w.say(w.shop, optional)
	w.say(w.tool, optional)
	b := w.browser().login(w.alice)
	none := []string{"code_challenge", "-", "code_challenge_method", "-"}
	if r := w.exchange(w.shop, b.allow(asks(w.shop, none...)), "code_verifier", "-"); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	t.Run("B3.66", func(t *testing.T) {
		w.expect(w.exchange(w.shop, b.allow(asks(w.shop, none...))), 400, "invalid_grant")
	})
	w.refusedBack(b.get(at(asks(w.tool, none...))), "invalid_request")
	w.refusedBack(b.get(at(asks(w.shop, "code_challenge", "-"))), "invalid_request")
	if r := w.exchange(w.shop, b.allow(asks(w.shop))); r.status != 200 {
		t.Errorf("with it: %d %s", r.status, r.body)
	}
}

// max_age by the client's own default, and what a request says instead.
func TestDefaultMaxAge(t *testing.T) {
	w := aWorldOfPeople(t)
	w.say(w.shop, func(c *oauth.Client) { c.Metadata.DefaultMaxAge = time.Minute })
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	w.clock.Advance(2 * time.Minute)
	if r := b.get(at(asks(w.shop))); !strings.HasPrefix(r.header.Get("Location"), "/login?") {
		t.Errorf("%s", r.header.Get("Location"))
	}
	if r := b.get(at(asks(w.shop, "max_age", "3600"))); !strings.Contains(r.header.Get("Location"), "code=") {
		t.Errorf("%s", r.header.Get("Location"))
	}
}

// The scopes phone and address, and their claims.
func TestPhoneAndAddress(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	tokens := w.exchange(w.shop, b.allow(asks(w.shop, "scope", "openid phone", "claims", `{"id_token":{"address":null}}`)))
	where := map[string]any{"formatted": "Bundesplatz 3\n3005 Bern"}
	if id := payloadOf(t, tokens.text("id_token")); !cmp.Equal(id["address"], any(where)) || id["phone_number"] != nil {
		t.Errorf("ID token %v", id)
	}
	info := w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token")))
	if want := map[string]any{"sub": w.alice.ID, "phone_number": "+41 31 555 01 01", "phone_number_verified": false}; !cmp.Equal(info.json, want) {
		t.Errorf("userinfo %s", info.body)
	}
	tokens = w.exchange(w.shop, b.allow(asks(w.shop, "scope", "openid address")))
	info = w.send("GET", "/oauth2/userinfo", "", bearer(tokens.text("access_token")))
	if want := map[string]any{"sub": w.alice.ID, "address": where}; !cmp.Equal(info.json, want) {
		t.Errorf("userinfo %s", info.body)
	}
}
