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
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/registry"
)

// aWorldOfPeople is a world with people on one engine, for what does not depend on it.
func aWorldOfPeople(t testing.TB) *folk { return newFolk(t, dbtest.Engines(t)[0]) }

// Nobody is sent anywhere before client and redirect URI are good.
func TestBadClientOrRedirectIsNotRedirected(t *testing.T) {
	w := aWorldOfPeople(t)
	off := w.mint("other", 1)
	for name, v := range map[string]url.Values{
		"no client":              asks(w.shop, "client_id", "-"),
		"unknown client":         asks(w.shop, "client_id", "cli_00000000000000000000000000", "redirect_uri", "https://evil.test/"),
		"client of another form": asks(w.shop, "client_id", "' OR 1=1 --"),
		"client without any":     asks(off),
		"no redirect URI":        asks(w.shop, "redirect_uri", "-"),
		"empty redirect URI":     asks(w.shop, "redirect_uri", ""),
		"other host":             asks(w.shop, "redirect_uri", "https://evil.test/cb"),
		"suffix":                 asks(w.shop, "redirect_uri", "https://shop.example.org.evil.test/cb"),
		"userinfo":               asks(w.shop, "redirect_uri", "https://shop.example.org@evil.test/cb"),
		"backslash":              asks(w.shop, "redirect_uri", `https://evil.test\@shop.example.org/cb`),
		"case of the host":       asks(w.shop, "redirect_uri", "https://SHOP.example.org/cb"),
		"case of the path":       asks(w.shop, "redirect_uri", "https://shop.example.org/CB"),
		"slash":                  asks(w.shop, "redirect_uri", shopBack+"/"),
		"default port":           asks(w.shop, "redirect_uri", "https://shop.example.org:443/cb"),
		"encoded letter":         asks(w.shop, "redirect_uri", "https://shop.example.org/c%62"),
		"query":                  asks(w.shop, "redirect_uri", shopBack+"?x=1"),
		"empty query":            asks(w.shop, "redirect_uri", shopBack+"?"),
		"fragment":               asks(w.shop, "redirect_uri", shopBack+"#f"),
		"line break":             asks(w.shop, "redirect_uri", shopBack+"\r\nSet-Cookie: a=b"),
		"ideographic full stop":  asks(w.shop, "redirect_uri", "https://shop。example.org/cb"),
		"scheme-relative":        asks(w.shop, "redirect_uri", "//shop.example.org/cb"),
		"javascript":             asks(w.shop, "redirect_uri", "javascript:alert(1)"),
		"another client's":       asks(w.shop, "redirect_uri", "http://127.0.0.1:8081/cb"),
		"loopback, other path":   asks(w.tool, "redirect_uri", "http://127.0.0.1:8081/other"),
		"with prompt none":       asks(w.shop, "redirect_uri", "https://evil.test/cb", "prompt", "none"),
	} {
		t.Run(name, func(t *testing.T) { w.refusedHere(w.browser().login(w.alice).get(at(v)), 400) })
	}
	b := w.browser().login(w.alice)
	w.refusedHere(b.get(at(asks(w.shop))+"&client_id="+w.other.ClientID), 400)
	w.refusedHere(b.get(at(asks(w.shop))+"&redirect_uri="+url.QueryEscape(shopBack)), 400)
	w.refusedHere(b.get(at(asks(w.shop))+"&x=%zz"), 400)
	w.refusedHere(b.get("/oauth2/authorize"), 400)
	w.refusedHere(b.get("/oauth2/authorize?"+strings.Repeat("a=b&", 5000)), 400)
	active := false
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, err := w.registry.PutApplication(ctx, tx, system, "shop", registry.Change{Active: &active}, anyRevision)
		return err
	})
	soon(t, "an inactive client signs people in", func() bool { return b.get(at(asks(w.shop))).status == 400 })
}

// Once they are good, the client is told what is wrong.
func TestBadRequestsGoBack(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	for name, c := range map[string]struct {
		v    url.Values
		code string
	}{
		"no response type":        {asks(w.shop, "response_type", "-"), "invalid_request"},
		"no challenge":            {asks(w.shop, "code_challenge", "-"), "invalid_request"},
		"no challenge, public":    {asks(w.tool, "code_challenge", "-", "code_challenge_method", "-"), "invalid_request"},
		"plain":                   {asks(w.shop, "code_challenge_method", "plain"), "invalid_request"},
		"no method":               {asks(w.shop, "code_challenge_method", "-"), "invalid_request"},
		"s256":                    {asks(w.shop, "code_challenge_method", "s256"), "invalid_request"},
		"short challenge":         {asks(w.shop, "code_challenge", challengeOf("x")[:42]), "invalid_request"},
		"long challenge":          {asks(w.shop, "code_challenge", strings.Repeat("a", 129)), "invalid_request"},
		"challenge's alphabet":    {asks(w.shop, "code_challenge", challengeOf("x")[:42]+"="), "invalid_request"},
		"unknown response mode":   {asks(w.shop, "response_mode", "web_message"), "invalid_request"},
		"prompt create":           {asks(w.shop, "prompt", "create"), "invalid_request"},
		"none with an unknown":    {asks(w.shop, "prompt", "none Welcome"), "invalid_request"},
		"none with another":       {asks(w.shop, "prompt", "none login"), "invalid_request"},
		"max_age":                 {asks(w.shop, "max_age", "-5"), "invalid_request"},
		"long state":              {asks(w.shop, "state", strings.Repeat("s", 5000)), "invalid_request"},
		"long nonce":              {asks(w.shop, "nonce", strings.Repeat("n", 2000)), "invalid_request"},
		"request object":          {asks(w.shop, "request", "e30.e30."), "invalid_request_object"},
		"request_uri":             {asks(w.shop, "request_uri", "http://169.254.169.254/latest"), "request_uri_not_supported"},
		"registration":            {asks(w.shop, "registration", "{}"), "registration_not_supported"},
		"unknown resource":        {asks(w.shop, "resource", "https://elsewhere.example"), "invalid_target"},
		"resource with fragment":  {asks(w.shop, "resource", issuer+"#f"), "invalid_target"},
		"long scope":              {asks(w.shop, "scope", strings.Repeat("a ", 5000)), "invalid_scope"},
		"many scopes":             {asks(w.shop, "scope", "a b c d e f g h i j k l m n o p q r s t u v w x y z A B C D E F G H I J K L M N O P Q R S T U V W X Y Z 0 1 2 3 4 5 6 7 8 9 00 11 22 33"), "invalid_scope"},
		"quote in scope":          {asks(w.shop, "scope", `op"enid`), "invalid_scope"},
		"umlaut in scope":         {asks(w.shop, "scope", "öpenid"), "invalid_scope"},
		"undeclared scope":        {asks(w.other, "scope", "sales_order.read"), "invalid_scope"},
		"application scope":       {asks(w.shop, "scope", "sales_order.read_all"), "invalid_scope"},
		"scope of another realm":  {asks(w.shop, "scope", "hr.read"), "invalid_scope"},
		"nobody asked, none":      {asks(w.shop, "prompt", "none"), "consent_required"},
		"hint that is no token":   {asks(w.shop, "id_token_hint", "alice"), "login_required"},
		"hint without signature":  {asks(w.shop, "id_token_hint", "eyJhbGciOiJub25lIiwia2lkIjoieCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ4In0."), "login_required"},
		"hint, none, a forged ID": {asks(w.shop, "id_token_hint", w.forge(`{"alg":"ES256","kid":"KID","typ":"JWT"}`, `{"iss":"https://evil.test","sub":"`+w.alice.ID+`","aud":"`+w.shop.ClientID+`"}`)), "login_required"},
	} {
		t.Run(name, func(t *testing.T) { w.refusedBack(b.get(at(c.v)), c.code) })
	}
	for _, twice := range []string{"scope=openid", "state=x", "response_type=code", "nonce=a&nonce=b", "made_up=1&made_up=2"} {
		w.refusedBack(b.get(at(asks(w.shop))+"&"+twice), "invalid_request")
	}
	w.refusedBack(w.browser().get(at(asks(w.shop, "prompt", "none"))), "login_required")
	if r := w.browser().get(at(asks(w.shop, "prompt", "Welcome back!"))); !strings.HasPrefix(r.header.Get("Location"), "/login") {
		t.Errorf("a word that nobody knows: %d to %s", r.status, r.header.Get("Location"))
	}
	for _, kind := range []string{"token", "id_token token", "code token", "none"} {
		r := b.get(at(asks(w.shop, "response_type", kind)))
		_, answer, fragment := strings.Cut(r.header.Get("Location"), "#")
		if strings.Contains(kind, "token") != fragment || !strings.Contains(r.header.Get("Location"), "unsupported_response_type") || strings.Contains(answer, "access_token") {
			t.Errorf("%s: %d to %s", kind, r.status, r.header.Get("Location"))
		}
	}
	if r := b.w.send("HEAD", at(asks(w.shop)), "", b.with); r.status != 405 {
		t.Errorf("HEAD: %d", r.status)
	}
	r := b.post("/oauth2/authorize?client_id="+w.shop.ClientID, asks(w.shop))
	w.refusedHere(r, 400) // the same parameter in the address and in the body
	w.refusedBack(b.post("/oauth2/authorize", asks(w.shop, "prompt", "none")), "consent_required")
	if r := w.send("POST", "/oauth2/authorize", `{}`, jsonish); r.status != 415 {
		t.Errorf("JSON: %d", r.status)
	}
}

// A client whose team did not say that it signs people in cannot, whatever it sends.
func TestClientThatMayNot(t *testing.T) {
	w := aWorldOfPeople(t)
	w.write(func(ctx context.Context, tx db.WriteTx) error {
		_, _, err := w.registry.PutSettings(ctx, tx, system, "shop", registry.Settings{RedirectURIs: []string{shopBack}}, anyRevision)
		return err
	})
	b := w.browser().login(w.alice)
	soon(t, "it still can", func() bool {
		return strings.Contains(b.get(at(asks(w.shop))).header.Get("Location"), "unauthorized_client")
	})
	w.expect(w.exchange(w.shop, "mma_"+strings.Repeat("a", 43)), 400, "unauthorized_client")
}

// The login page is asked for again when the client wants it, and what was signed in before does not answer.
func TestPromptLoginAndMaxAge(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		b.allow(asks(w.shop))
		w.clock.Advance(time.Minute)
		for _, v := range []url.Values{asks(w.shop, "prompt", "login"), asks(w.shop, "max_age", "0"), asks(w.shop, "max_age", "30")} {
			r := b.get(at(v))
			login, err := url.Parse(r.header.Get("Location"))
			if err != nil || login.Path != "/login" {
				t.Fatalf("%v: %d to %s", v, r.status, r.header.Get("Location"))
			}
			resume := login.Query().Get("return_to")
			if r := b.get(resume); !strings.HasPrefix(r.header.Get("Location"), "/login?") {
				t.Errorf("the session of before answers: %s", r.header.Get("Location"))
			}
			if r := b.get("/consent?flow=" + strings.TrimPrefix(resume, "/oauth2/authorize?flow=")); !strings.HasPrefix(r.header.Get("Location"), "/oauth2/authorize?") {
				t.Errorf("the page that asks does without a login: %d %s", r.status, r.header.Get("Location"))
			}
			other := b.copy()
			w.clock.Advance(time.Second)
			b.login(w.alice)
			if code := w.backTo(b.get(resume), shopBack).Get("code"); code == "" {
				t.Error("no code after the login")
			}
			w.refusedHere(other.login(w.bob).get(resume), 403) // it counts once
			w.clock.Advance(time.Minute)
		}
		w.refusedBack(b.get(at(asks(w.shop, "max_age", "30", "prompt", "none"))), "login_required")
		if code := w.backTo(b.get(at(asks(w.shop, "max_age", "3600"))), shopBack).Get("code"); code == "" {
			t.Error("an hour is not over")
		}
	})
}

// An id_token_hint names; it signs nobody in.
func TestHint(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		hint := w.signIn(w.shop).text("id_token")
		b := w.browser().login(w.alice)
		if code := w.backTo(b.get(at(asks(w.shop, "id_token_hint", hint, "prompt", "none"))), shopBack).Get("code"); code == "" {
			t.Error("alice is signed in")
		}
		w.clock.Advance(time.Hour / 2)
		if code := w.backTo(b.get(at(asks(w.shop, "id_token_hint", hint))), shopBack).Get("code"); code == "" {
			t.Error("an expired hint names still")
		}
		w.refusedBack(w.browser().get(at(asks(w.shop, "id_token_hint", hint, "prompt", "none"))), "login_required")
		w.refusedBack(w.browser().login(w.bob).get(at(asks(w.shop, "id_token_hint", hint))), "login_required")
		w.refusedBack(b.get(at(asks(w.tool, "id_token_hint", hint))), "login_required") // made for another client
		w.refusedBack(b.get(at(asks(w.shop, "id_token_hint", w.signIn(w.shop).text("access_token")))), "login_required")
	})
}

// What one browser began, no other goes on with: neither the victim whom an attacker sends his address, nor the attacker
// once the victim has allowed it.
func TestFlowBelongsToOneBrowser(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		attacker := w.browser()
		resume := w.resumeOf(attacker.get(at(asks(w.shop))))
		victim := w.browser().login(w.alice)
		w.refusedHere(victim.get(resume), 403)
		handle := strings.TrimPrefix(resume, "/oauth2/authorize?flow=")
		w.refusedHere(victim.get("/consent?flow="+handle), 403)
		// Also if the victim has a flow of its own, and so a cookie.
		r := victim.get(at(asks(w.shop)))
		if !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
			t.Fatal(r.header.Get("Location"))
		}
		victim.get(r.header.Get("Location"))
		w.refusedHere(victim.get(resume), 403)
		mine := w.pages.consent.Flow
		w.pages.consent.Flow = handle + "." + strings.Split(mine, ".")[1]
		w.refusedHere(victim.decide("allow"), 403)
		w.pages.consent.Flow = mine
		w.backTo(victim.decide("allow"), shopBack)
		// The attacker signs in as himself and holds nothing of the victim.
		if r := attacker.login(w.bob).get(strings.Replace(r.header.Get("Location"), "/consent?", "/oauth2/authorize?", 1)); r.status != 403 {
			t.Errorf("the attacker goes on with the victim's: %d %s", r.status, r.header.Get("Location"))
		}
		for _, bad := range []string{"", "x", handle + "x", handle[:len(handle)-1], strings.ToUpper(handle), "mmf_" + strings.Repeat("a", 43)} {
			w.refusedHere(attacker.get("/oauth2/authorize?flow="+url.QueryEscape(bad)), 403)
		}
		w.clock.Advance(11 * time.Minute)
		w.refusedHere(attacker.get(resume), 403)
	})
}

func (w *folk) resumeOf(r reply) string {
	w.t.Helper()
	login, err := url.Parse(r.header.Get("Location"))
	if err != nil || login.Path != "/login" {
		w.t.Fatalf("%d to %s", r.status, r.header.Get("Location"))
	}
	return login.Query().Get("return_to")
}

// The decision comes from the page, from the one who saw it, about what it showed, and once.
func TestConsent(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		ask := func(v url.Values) {
			t.Helper()
			r := b.get(at(v))
			if r = b.get(r.header.Get("Location")); r.status != 200 {
				t.Fatalf("not asked: %d %s", r.status, r.header.Get("Location"))
			}
		}
		scopes := func() (names []string) {
			for _, s := range w.pages.consent.Scopes {
				names = append(names, s.Name)
			}
			return names
		}
		ask(asks(w.shop))
		good := *w.pages.consent
		csrf := w.pages.csrf
		w.refusedHere(b.post("/consent", url.Values{"flow": {good.Flow}, "decision": {"allow"}}), 403)
		w.refusedHere(b.post("/consent", url.Values{"flow": {good.Flow}, "csrf": {strings.Map(func(c rune) rune { return c ^ 1 }, csrf[:1]) + csrf[1:]}, "decision": {"allow"}}), 403)
		bob := w.browser().login(w.bob)
		w.refusedHere(bob.post("/consent", url.Values{"flow": {good.Flow}, "csrf": {csrf}, "decision": {"allow"}}), 403)
		w.refusedHere(b.post("/consent", url.Values{"flow": {good.Flow}, "csrf": {csrf}, "decision": {"maybe"}}), 400)
		w.refusedHere(b.post("/consent", url.Values{"flow": {good.Flow, good.Flow}, "csrf": {csrf}, "decision": {"allow"}}), 403)
		cross := w.send("POST", "/consent", url.Values{"flow": {good.Flow}, "csrf": {csrf}, "decision": {"allow"}}.Encode(), b.with, header("Sec-Fetch-Site", "cross-site"))
		w.refusedHere(cross, 403)

		// Another name than the page showed: the page comes again.
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, _, err := w.registry.PutSettings(ctx, tx, system, "shop", registry.Settings{Name: "Your bank", RedirectURIs: []string{shopBack}, GrantTypes: []string{"authorization_code"}, RefreshTokens: registry.RefreshAlways}, anyRevision)
			return err
		})
		soon(t, "the new name is not known", func() bool { b.get("/consent?flow=" + good.Flow); return w.pages.consent.ClientName == "Your bank" })
		shown := w.pages.consent
		w.pages.consent = &good
		if r := b.decide("allow"); !strings.HasPrefix(r.header.Get("Location"), "/consent?flow=") {
			t.Errorf("allowed what was not shown: %d %s", r.status, r.header.Get("Location"))
		}
		w.pages.consent = shown
		w.backTo(b.decide("allow"), shopBack)
		w.refusedHere(b.decide("allow"), 403)
		w.refusedHere(b.decide("deny"), 403)

		// Only what is new is asked for; all of it with prompt=consent; a denial is told and remembers nothing.
		ask(asks(w.shop, "scope", "openid profile"))
		if got := scopes(); !slices.Equal(got, []string{"profile"}) {
			t.Errorf("asked for %v", got)
		}
		w.refusedBack(b.decide("deny"), "access_denied")
		ask(asks(w.shop, "scope", "openid profile", "prompt", "consent"))
		if got := scopes(); !slices.Equal(got, []string{"openid", "profile"}) {
			t.Errorf("asked for %v", got)
		}
		w.backTo(b.decide("allow"), shopBack)
		if w.events("approval.grant") != 2 || w.events("approval.deny") != 1 {
			t.Errorf("%d granted, %d denied in the audit log", w.events("approval.grant"), w.events("approval.deny"))
		}
		// Bob's is another matter.
		if r := bob.get(at(asks(w.shop))); !strings.HasPrefix(r.header.Get("Location"), "/consent?") {
			t.Errorf("bob is not asked: %s", r.header.Get("Location"))
		}
	})
}

// Two presses of one button are one grant.
func TestConsentAtOnce(t *testing.T) {
	folks(t, func(t *testing.T, w *folk) {
		b := w.browser().login(w.alice)
		b.get(b.get(at(asks(w.shop))).header.Get("Location"))
		const presses = 20
		got := make(chan reply, presses)
		form := url.Values{"flow": {w.pages.consent.Flow}, "csrf": {w.pages.csrf}, "decision": {"allow"}}.Encode()
		pages := w.pages
		for range presses {
			go func() { got <- w.send("POST", "/consent", form, b.with) }()
		}
		codes := 0
		for range presses {
			if r := <-got; strings.Contains(r.header.Get("Location"), "code=") {
				codes++
			}
		}
		if codes != 1 {
			t.Errorf("%d codes (last page: %s)", codes, pages.code)
		}
	})
}

func TestResponseModes(t *testing.T) {
	w := aWorldOfPeople(t)
	b := w.browser().login(w.alice)
	b.allow(asks(w.shop))
	r := b.get(at(asks(w.shop, "response_mode", "fragment")))
	if location := r.header.Get("Location"); r.status != 303 || !strings.HasPrefix(location, shopBack+"#code=mma_") || !strings.Contains(location, "&state=s+t%26ate&iss=") {
		t.Errorf("fragment: %d %s", r.status, location)
	}
	r = b.get(at(asks(w.shop, "response_mode", "form_post", "state", `"><script>alert(1)</script>`)))
	policy := r.header.Get("Content-Security-Policy")
	if r.status != 200 || strings.Contains(r.body, "<script>alert") || !strings.Contains(r.body, `action="`+shopBack+`"`) || !strings.Contains(r.body, `name="code" value="mma_`) ||
		!strings.Contains(policy, "form-action https://shop.example.org;") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("form_post: %d %s\n%s", r.status, policy, r.body)
	}
	r = b.get(at(asks(w.shop, "response_mode", "form_post", "prompt", "none", "scope", "profile")))
	if r.status != 200 || !strings.Contains(r.body, `value="consent_required"`) {
		t.Errorf("an error by form_post: %d %s", r.status, r.body)
	}
	// A native application gets its code at the port that it listens at.
	code := b.allow(asks(w.tool, "redirect_uri", "http://127.0.0.1:43111/cb"))
	w.expect(w.exchange(pair{ClientID: w.tool.ClientID}, code, "redirect_uri", "http://127.0.0.1:43112/cb"), 400, "invalid_grant")
	code = b.allow(asks(w.tool, "redirect_uri", "http://127.0.0.1:43111/cb"))
	if r := w.exchange(pair{ClientID: w.tool.ClientID}, code, "redirect_uri", "http://127.0.0.1:43111/cb"); r.status != 200 {
		t.Errorf("a native application: %d %s", r.status, r.body)
	}
}

// The document says what is there, and nothing when there are no people.
func TestDiscoveryTellsTheTruth(t *testing.T) {
	w := aWorldOfPeople(t)
	r := w.send("GET", "/.well-known/openid-configuration", "", host("evil.test"), header("X-Forwarded-Host", "evil.test"))
	for _, member := range []string{"authorization_endpoint", "userinfo_endpoint", "token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint", "end_session_endpoint", "check_session_iframe"} {
		address := strings.TrimPrefix(r.text(member), issuer)
		if got := w.send("GET", address, ""); address == r.text(member) || got.status == 404 {
			t.Errorf("%s is %q: %d", member, r.text(member), got.status)
		}
	}
	algs, _ := r.json["id_token_signing_alg_values_supported"].([]any)
	if len(algs) != 1 || algs[0] != "ES256" || r.json["request_parameter_supported"] != true || r.json["request_uri_parameter_supported"] != false || r.json["authorization_response_iss_parameter_supported"] != true || strings.Contains(r.body, "evil") {
		t.Errorf("%s", r.body)
	}
	if r.json["ui_locales_supported"] != nil {
		t.Errorf("languages that nobody named: %s", r.body)
	}
	spoken := newFolk(t, w.engine(), func(o *oauth.Options) { o.People.Languages = []string{"en", "de"} })
	if r := spoken.send("GET", "/.well-known/openid-configuration", ""); !cmp.Equal(r.json["ui_locales_supported"], any([]any{"en", "de"})) {
		t.Errorf("languages: %s", r.body)
	}
	services := one(t)
	if r := services.send("GET", "/.well-known/openid-configuration", ""); r.json["authorization_endpoint"] != nil || strings.Contains(r.body, "authorization_code") {
		t.Errorf("a server for services alone: %s", r.body)
	}
	if r := services.send("GET", "/oauth2/authorize", ""); r.status != 404 {
		t.Errorf("a server for services alone authorizes: %d", r.status)
	}
}
