package web_test

import (
	"errors"
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/session"
)

// connect makes the provider of the site known.
func (s *site) connect(policy api.ProviderPolicy) {
	s.t.Helper()
	s.write(func(tx db.WriteTx) error {
		_, _, err := s.upstream.PutProvider(ctx, tx, admin, "org", api.PutLoginProvider{
			Realm: "employees", Name: "Example <Org>", Issuer: s.org.Issuer, ClientID: s.org.ClientID, ClientSecret: s.org.Secret, Policy: policy,
		}, func(int64) error { return nil })
		return err
	})
}

// away follows a link to the provider, and answers where it sends the browser back to.
func (b *browser) away(target string) string {
	b.s.t.Helper()
	a := b.get(target)
	if a.Code != 303 || !strings.HasPrefix(a.Header().Get("Location"), b.s.org.Issuer+"/authorize?") {
		b.s.t.Fatalf("%s: %d to %s\n%s", target, a.Code, a.Header().Get("Location"), a.body)
	}
	q, err := b.s.org.Authorize(a.Header().Get("Location"))
	if err != nil {
		b.s.t.Fatal(err)
	}
	return "/login/callback/org?" + q.Encode()
}

func TestUpstreamLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.connect(api.ProviderPolicy{})
		s.person("jane", "Jane Doe")
		b := s.browser()
		page := b.get("/login?return_to=/account/sessions")
		if !strings.Contains(page.body, `id="upstream-org"`) || !strings.Contains(page.body, "Continue with Example &lt;Org&gt;") || strings.Contains(page.body, "<Org>") {
			t.Fatalf("no button:\n%s", page.body)
		}
		if a := b.get("/login?lang=de&realm=customers"); strings.Contains(a.body, "upstream-org") {
			t.Error("a provider of another realm is offered")
		}
		// Nobody is linked yet: sign in to the account here, then confirm.
		a := b.get(b.away("/login/upstream/org?return_to=/account/sessions"))
		found := a.Header().Get("Location")
		if a.Code != 303 || !strings.HasPrefix(found, "/login/found?login=ups_") || b.signedIn() {
			t.Fatalf("%d to %s", a.Code, found)
		}
		if a = b.get(found); a.Code != 200 || !strings.Contains(a.body, "jane@example.org") || strings.Contains(a.body, `id="upstream-create"`) {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		link := "/account/security/link" + strings.TrimPrefix(found, "/login/found")
		if a := b.get(link); a.Code != 303 || !strings.HasPrefix(a.Header().Get("Location"), "/login?return_to=") {
			t.Errorf("nobody is signed in: %d to %s", a.Code, a.Header().Get("Location"))
		}
		b.signIn("/login?step=again&return_to="+url.QueryEscape(link), "jane", janes).leads(t, link)
		a = b.get(link)
		if a.Code != 200 || !strings.Contains(a.body, `id="link-confirm"`) || !strings.Contains(a.body, "jane@example.org") {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		login := strings.TrimPrefix(found, "/login/found?login=")
		if a := b.do("POST", "/account/security/link", url.Values{"login": {login}}); a.Code != 403 {
			t.Errorf("a link without a token: %d", a.Code)
		}
		s.clock.Advance(6 * time.Minute)
		if x := b.post(a, "/account/security/link", "login", login); x.Code != 403 || !strings.Contains(x.body, "login_too_old") {
			t.Errorf("without a fresh proof: %d", x.Code)
		}
		b.signIn("/login?step=again&return_to="+url.QueryEscape(link), "jane", janes)
		b.post(b.get(link), "/account/security/link", "login", login).leads(t, "/account/sessions")

		// From now on that is a way in, without a password.
		other := s.browser()
		other.get(other.away("/login/upstream/org?return_to=/account/sessions")).leads(t, "/account/sessions")
		if a := other.get("/account"); a.Code != 200 || !strings.Contains(a.body, "Jane Doe") || !strings.Contains(a.body, "another service") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		a = other.get("/account/security")
		if !strings.Contains(a.body, `id="link-list"`) || !strings.Contains(a.body, "jane@example.org") {
			t.Errorf("the page of security lacks the link:\n%s", a.body)
		}
	})
}

// B8 149, 152, 153: forged callbacks, foreign beginnings, addresses elsewhere, and markup from a provider.
func TestB8_149_UpstreamIsNotForged(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.connect(api.ProviderPolicy{CreateUsers: true, AuthoritativeDomains: []string{"example.org"}})
		victim, thief := s.browser(), s.browser()
		back := thief.away("/login/upstream/org")
		for what, b := range map[string]*browser{"a browser that began nothing": s.browser(), "one that began another": victim} {
			if what != "a browser that began nothing" {
				victim.away("/login/upstream/org")
			}
			if a := b.get(back); a.Code != 400 || !strings.Contains(a.body, `id="error-code">provider_state<`) || b.signedIn() {
				t.Errorf("%s takes the callback of another: %d\n%s", what, a.Code, a.body)
			}
		}
		for _, site := range []string{"cross-site", "same-site"} {
			if a := victim.do("GET", "/login/upstream/org?return_to=/account", nil, "Sec-Fetch-Site", site); a.Code != 303 || a.Header().Get("Location") != "/login?return_to=%2Faccount" {
				t.Errorf("%s begins a login: %d to %s", site, a.Code, a.Header().Get("Location"))
			}
		}
		for _, target := range []string{"/login/callback/org", "/login/callback/org?state=x&code=y", "/login/callback/org?state=x&state=y", "/login/callback/none?state=x", "/login/upstream/none", "/login/found", "/login/found?login=x", "/login/callback/org?error=%3Cscript%3E&state=x"} {
			if a := victim.get(target); a.Code != 400 && a.Code != 404 || strings.Contains(a.body, "<script>") {
				t.Errorf("%s: %d\n%s", target, a.Code, a.body)
			}
		}
		s.org.Claims = map[string]any{"name": `<img src=x onerror=alert(1)>`}
		thief.get(back).leads(t, "/account")
		if a := thief.get(back); a.Code != 400 {
			t.Errorf("the same callback again: %d", a.Code)
		}
		for _, to := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "/login/upstream/org", "javascript:alert(1)"} {
			b := s.browser()
			b.get(b.away("/login/upstream/org?return_to="+url.QueryEscape(to))).leads(t, "/account")
			if a := b.get("/account"); a.Code != 200 || strings.Contains(a.body, "<img") {
				t.Errorf("%d\n%s", a.Code, a.body)
			}
		}
		if a := victim.do("POST", "/login/upstream/org/logout", url.Values{"logout_token": {"x"}}); a.Code != 400 {
			t.Errorf("a logout token that is none: %d", a.Code)
		}
	})
}

func TestUpstreamNewAccountChoosesItsName(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.connect(api.ProviderPolicy{CreateUsers: true, AuthoritativeDomains: []string{"example.org"}})
		s.person("jane", "Jane Doe")
		b := s.browser()
		found := b.get(b.away("/login/upstream/org")).Header().Get("Location")
		page := b.get(found)
		if page.Code != 200 || !strings.Contains(page.body, `id="upstream-create"`) {
			t.Fatalf("%d\n%s", page.Code, page.body)
		}
		login := strings.TrimPrefix(found, "/login/found?login=")
		page = b.post(page, "/login/found", "login", login, "username", "jane")
		if page.Code != 409 || !strings.Contains(page.body, `id="upstream-problem"`) {
			t.Fatalf("a name that somebody has: %d\n%s", page.Code, page.body)
		}
		b.post(page, "/login/found", "login", login, "username", "jane.doe").leads(t, "/account")
		if a := b.get("/account/security"); a.Code != 200 || !strings.Contains(a.body, "you sign in with an account elsewhere") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		// It is the only way in: nobody takes it away from himself.
		a := b.get("/account/security")
		id := a.body[strings.Index(a.body, "lnk_"):][:30]
		if a := b.post(a, "/account/security/links/remove", "id", id); a.Code != 409 {
			t.Errorf("the last way in was removed: %d", a.Code)
		}
	})
}

// A session that goes on after a change of the password still ends with the session at the provider that it began with.
func TestUpstreamLogoutAfterNewPassword(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.connect(api.ProviderPolicy{CreateUsers: true, AuthoritativeDomains: []string{"example.org"}})
		logout := func(sid string) {
			t.Helper()
			s.org.Claims, s.org.Header = nil, map[string]any{"typ": "logout+jwt"}
			token, err := s.org.IDToken(map[string]any{"jti": "1", "sid": sid, "sub": nil, "nonce": nil, "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.upstream.Logout(t.Context(), "org", token, federation.Answer{}); err != nil {
				t.Fatal(err)
			}
			s.org.Header = nil
		}
		s.org.Claims = map[string]any{"sid": "one"}
		b := s.browser()
		b.get(b.away("/login/upstream/org")).leads(t, "/account")
		b.post(b.get("/account/password"), "/account/password", "password", wrong, "again", wrong).leads(t, "/account/security?done=password")
		if !b.signedIn() {
			t.Fatal("signed out by the new password")
		}
		logout("two")
		if !b.signedIn() {
			t.Error("signed out with another session of the provider")
		}
		logout("one")
		if b.signedIn() {
			t.Error("the provider says that its session is over, and the one that began with it goes on")
		}

		// If the provider is shut off or unlinked meanwhile, nothing goes on.
		s.org.Claims = map[string]any{"sid": "three"}
		b.get(b.away("/login/upstream/org")).leads(t, "/account")
		var ses, user string
		var along session.Proved
		s.write(func(tx db.WriteTx) (err error) {
			if err = tx.QueryRow(t.Context(), `SELECT session_id FROM upstream_sessions WHERE sid = 'three'`).Scan(&ses); err != nil {
				return err
			}
			if err = tx.QueryRow(t.Context(), `SELECT user_id FROM sessions WHERE id = $1`, ses).Scan(&user); err != nil {
				return err
			}
			if along, err = federation.Carried(t.Context(), tx, ses); err != nil {
				return err
			}
			return db.One(tx.Exec(t.Context(), `DELETE FROM linked_identities WHERE user_id = $1`, user))
		})
		sn := session.Session{ID: ses}
		sn.User.ID = user
		if err := s.d.Write(t.Context(), func(tx db.WriteTx) error { return along.Note(t.Context(), tx, sn) }); !errors.Is(err, federation.ErrNoProvider) {
			t.Errorf("unlinked meanwhile: %v", err)
		}
	})
}

// The second factor that somebody has here is asked for, whatever the provider says of its own (B8 161).
func TestB8_161_UpstreamIsOneFactor(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.connect(api.ProviderPolicy{})
		s.person("jane", "Jane Doe")
		owner, _, _ := s.withApp("jane")
		s.org.Claims = map[string]any{"amr": []string{"mfa"}, "acr": "2"}
		a := owner.get(owner.away("/login/upstream/org?link=1"))
		link := a.Header().Get("Location")
		if a.Code != 303 || !strings.HasPrefix(link, "/account/security/link?login=") {
			t.Fatalf("%d to %s\n%s", a.Code, link, a.body)
		}
		owner.post(owner.get(link), "/account/security/link", "login", strings.TrimPrefix(link, "/account/security/link?login=")).leads(t, "/account/security?done=linked")
		b := s.browser()
		b.get(b.away("/login/upstream/org")).leads(t, "/login/verify")
		if b.signedIn() {
			t.Error("a login elsewhere stands for two factors, which nobody said")
		}
		s.connect(api.ProviderPolicy{SecondFactorAMR: []string{"mfa"}})
		b = s.browser()
		b.get(b.away("/login/upstream/org")).leads(t, "/account")
	})
}

// A provider that does not tell when somebody signed in there is not offered where that must be just now, and does not do.
func TestUpstreamThatProvesNoPresence(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.connect(api.ProviderPolicy{CreateUsers: true, NoAuthTime: true, AuthoritativeDomains: []string{"example.org"}})
		s.org.Claims = map[string]any{"auth_time": nil}
		b := s.browser()
		b.get(b.away("/login/upstream/org?return_to=/account")).leads(t, "/account")
		if a := b.get("/account"); a.Code != 200 {
			t.Fatalf("it does for a session: %d", a.Code)
		}
		if a := b.get("/account/security"); a.Code != 200 || !strings.Contains(a.body, `id="confirm-login"`) || strings.Contains(a.body, `name="csrf"`) && strings.Contains(a.body, `action="/account/security/app"`) {
			t.Errorf("and not to set up an authenticator app: %d\n%s", a.Code, a.body)
		}
		if a := b.get("/login?step=again"); a.Code != 200 || strings.Contains(a.body, `id="upstream-org"`) {
			t.Errorf("it is offered where it does not do: %d\n%s", a.Code, a.body)
		}
		if a := b.get(b.away("/login/upstream/org?step=again")); a.Code != 403 || !strings.Contains(a.body, `id="error-code">provider_not_fresh<`) {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		s.write(func(tx db.WriteTx) error {
			p, revision, err := s.upstream.Provider(ctx, tx, admin, "org")
			if err != nil {
				return err
			}
			p.Policy.TrustPromptLogin = true
			_, _, err = s.upstream.PutProvider(ctx, tx, admin, "org", api.PutLoginProvider{
				Realm: p.Realm, Name: p.Name, Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: s.org.Secret, Policy: p.Policy,
			}, func(got int64) error {
				if got != revision {
					return errors.New("another revision")
				}
				return nil
			})
			return err
		})
		if a := b.get("/login?step=again"); !strings.Contains(a.body, `id="upstream-org"`) {
			t.Error("one that is trusted to ask anew is not offered")
		}
	})
}

// Whoever signs out of a session that began with a provider is offered to sign out there, and comes back to a page that
// says so to that browser alone.
func TestSignOutAtTheProvider(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		policy := api.ProviderPolicy{CreateUsers: true, AuthoritativeDomains: []string{"example.org"}, OfferLogout: true}
		s.connect(policy)
		out := func(b *browser) answer {
			return b.post(b.get("/logout"), "/logout", "decision", "logout")
		}
		b := s.browser()
		b.get(b.away("/login/upstream/org")).leads(t, "/account")
		a := out(b)
		m := regexp.MustCompile(`id="sign-out-there" href="([^"]*)"`).FindStringSubmatch(a.body)
		if a.Code != 200 || m == nil || b.signedIn() {
			t.Fatalf("nothing is offered: %d\n%s", a.Code, a.body)
		}
		to, err := url.Parse(html.UnescapeString(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		q := to.Query()
		if to.Scheme+"://"+to.Host+to.Path != s.org.Issuer+"/bye" || q.Get("client_id") != s.org.ClientID || strings.Count(q.Get("id_token_hint"), ".") != 2 || len(q.Get("state")) < 40 ||
			!strings.HasSuffix(q.Get("post_logout_redirect_uri"), "/login/upstream/org/signed-out") {
			t.Errorf("it is offered at %s", to)
		}
		back := "/login/upstream/org/signed-out?state="
		for what, target := range map[string]string{"another state": back + "x", "none": "/login/upstream/org/signed-out", "two": back + q.Get("state") + "&state=x", "another provider": "/login/upstream/two/signed-out?state=" + q.Get("state"), "an address elsewhere": back + "x&post_logout_redirect_uri=https://evil.example&return_to=https://evil.example"} {
			if a := b.get(target); a.Code != 303 || a.Header().Get("Location") != "/logout" {
				t.Errorf("%s: %d to %s", what, a.Code, a.Header().Get("Location"))
			}
		}
		if a := s.browser().get(back + q.Get("state")); a.Code != 303 || a.Header().Get("Location") != "/logout" {
			t.Errorf("another browser: %d", a.Code)
		}
		if a := b.get(back + q.Get("state")); a.Code != 200 || !strings.Contains(a.body, `id="signed-out-there"`) || !strings.Contains(a.body, "Example &lt;Org&gt;") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		if a := b.get(back + q.Get("state")); a.Code != 303 {
			t.Errorf("once more: %d", a.Code)
		}

		// Nobody waits for a provider that has no such endpoint, or no usable one, and nobody else is asked.
		for what, address := range map[string]any{"none": nil, "a script": "javascript:alert(1)"} {
			s.org.Metadata = map[string]any{"end_session_endpoint": address}
			s.clock.Advance(2 * time.Hour)
			b := s.browser()
			b.get(b.away("/login/upstream/org")).leads(t, "/account")
			if a := out(b); a.Code != 303 || b.signedIn() {
				t.Errorf("%s: %d\n%s", what, a.Code, a.body)
			}
		}
		s.org.Metadata = nil
		s.clock.Advance(2 * time.Hour)
		s.person("joe", "")
		other := s.browser()
		other.signIn("/login", "joe", janes)
		if a := out(other); a.Code != 303 || other.signedIn() {
			t.Errorf("a session that began here: %d", a.Code)
		}
		var hints int
		if err := s.d.Read(ctx, func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT count(*) FROM upstream_sessions WHERE hint LIKE '%.%'`).Scan(&hints)
		}); err != nil || hints != 0 {
			t.Errorf("%d tokens lie in clear, %v", hints, err)
		}
	})
}
