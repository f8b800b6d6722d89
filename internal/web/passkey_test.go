package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
)

// The way of a person with a passkey: added, signed in with alone and as a second step, renamed, removed.
func TestSignInWithAPasskey(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "Jane Doe")
		b, key := s.withPasskey("jane")
		page := b.get("/account/security")
		for _, want := range []string{"<bdi>My laptop</bdi>", "added 22 November 2026, not used yet", "10 left", `id="passkey-add"`} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the page lacks %q:\n%s", want, page.body)
			}
		}
		fresh := s.browser()
		page = fresh.get("/login?return_to=/account/sessions")
		fresh.post(page, "/login/passkey", "return_to", "/account/sessions", "credential", key.get(fresh.options(page, "/login/passkey/options"))).leads(t, "/account/sessions")
		if a := fresh.get("/account"); !strings.Contains(a.body, "with passkey") {
			t.Errorf("how:\n%s", a.body)
		}
		// As a second step.
		other := s.browser()
		other.signIn("/login", "jane", janes).leads(t, "/login/verify")
		page = other.get("/login/verify")
		if !strings.Contains(page.body, `id="passkey-verify"`) || strings.Contains(page.body, "totp-code") {
			t.Errorf("the page:\n%s", page.body)
		}
		options := other.options(page, "/login/verify/options")
		if !strings.Contains(string(options), b64(key.keys[0].id)) {
			t.Errorf("her passkey is not named: %s", options)
		}
		other.post(page, "/login/verify", "credential", key.get(options)).leads(t, "/account")

		page = b.get("/account/security")
		factor := removeField.FindStringSubmatch(page.body)[1]
		b.post(page, "/account/security/passkeys/rename", "id", factor, "name", "Old laptop").leads(t, "/account/security?done=renamed")
		if a := b.post(page, "/account/security/passkeys/rename", "id", factor, "name", strings.Repeat("x", 61)); a.Code != 400 {
			t.Errorf("a long name: %d", a.Code)
		}
		if a := b.get("/account/security?done=renamed"); !strings.Contains(a.body, "<bdi>Old laptop</bdi>") || !strings.Contains(a.body, "has a new name") {
			t.Errorf("the new name:\n%s", a.body)
		}
		b.post(page, "/account/security/factors/remove", "id", factor).leads(t, "/account/security?done=removed")
		page = fresh.get("/login")
		if a := fresh.post(page, "/login/passkey", "credential", key.get(fresh.options(page, "/login/passkey/options"))); a.Code != 400 {
			t.Errorf("a removed passkey: %d", a.Code)
		}
		s.browser().signIn("/login", "jane", janes).leads(t, "/account")
	})
}

// The options ask for what we rely on.
func TestPasskeyOptions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		u := s.person("jane", "Jane Doe")
		b, key := s.withPasskey("jane")
		var o ceremonyOptions
		page := b.get("/account/security")
		if err := json.Unmarshal(b.options(page, "/account/security/passkeys/options"), &o); err != nil {
			t.Fatal(err)
		}
		p := o.PublicKey
		if p.RP.ID != "mint.example.org" || p.User.ID != b64([]byte(u.ID)) || p.AuthenticatorSelection.UserVerification != "required" || p.AuthenticatorSelection.ResidentKey != "required" ||
			len(p.Challenge) < 43 || len(p.ExcludeCredentials) != 1 || p.ExcludeCredentials[0].ID != b64(key.keys[0].id) {
			t.Errorf("%+v", p)
		}
		o = ceremonyOptions{}
		stranger := s.browser()
		page = stranger.get("/login")
		if err := json.Unmarshal(stranger.options(page, "/login/passkey/options"), &o); err != nil {
			t.Fatal(err)
		}
		// Nobody learns from it who has passkeys.
		if p := o.PublicKey; p.RPID != "mint.example.org" || p.UserVerification != "required" || len(p.AllowCredentials) != 0 || len(p.Challenge) < 43 {
			t.Errorf("%+v", p)
		}
		if a := stranger.do("POST", "/login/passkey/options", url.Values{}); a.Code != 403 || a.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("without a token: %d %s", a.Code, a.body)
		}
	})
}

// Whatever is wrong with what a passkey signed, nobody is signed in, the answer is 400, and somebody is told.
func TestB8_163_WrongAssertions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		s.person("bob", "")
		_, key := s.withPasskey("jane")
		_, bobs := s.withPasskey("bob")
		mine := key.keys[0]
		attack := func(name string, code string, f func(b *browser, page answer) string) {
			t.Helper()
			b := s.browser()
			page := b.get("/login")
			a := b.post(page, "/login/passkey", "credential", f(b, page))
			if a.Code != 400 || !strings.Contains(a.body, `id="login-problem"`) || b.signedIn() {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
			s.next("session.begin " + code)
		}
		options := func(b *browser, page answer) []byte { return b.options(page, "/login/passkey/options") }
		with := func(change func(a *authenticator)) func(b *browser, page answer) string {
			return func(b *browser, page answer) string {
				evil := *key
				change(&evil)
				return evil.get(options(b, page))
			}
		}
		var used string
		b := s.browser()
		page := b.get("/login")
		o := options(b, page)
		used = key.get(o)
		b.post(page, "/login/passkey", "credential", used).leads(t, "/account")
		attack("replayed", "passkey_refused", func(*browser, answer) string { return used })
		attack("replayed challenge, new signature", "passkey_refused", func(*browser, answer) string { return key.get(o) })
		attack("a challenge of another browser", "passkey_refused", func(*browser, answer) string {
			other := s.browser()
			return key.get(options(other, other.get("/login")))
		})
		attack("a late challenge", "passkey_refused", func(b *browser, page answer) string {
			answer := key.get(options(b, page))
			s.clock.Advance(5 * time.Minute)
			return answer
		})
		attack("a chosen challenge", "passkey_refused", with(func(a *authenticator) { a.challenge = b64(make([]byte, 32)) }))
		attack("no challenge", "passkey_refused", with(func(a *authenticator) { a.challenge = "=" }))
		attack("another origin", "passkey_refused", with(func(a *authenticator) { a.origin = "https://mint.example.org.evil.org" }))
		attack("another port", "passkey_refused", with(func(a *authenticator) { a.origin = "https://mint.example.org:8443" }))
		attack("without encryption", "passkey_refused", with(func(a *authenticator) { a.origin = "http://mint.example.org" }))
		attack("another rp", "passkey_refused", with(func(a *authenticator) { a.rpID = "example.org" }))
		attack("without verification", "passkey_refused", with(func(a *authenticator) { a.skipUV = true }))
		attack("another ceremony", "passkey_refused", with(func(a *authenticator) { a.kind = "webauthn.create" }))
		attack("another person's handle", "passkey_refused", func(b *browser, page answer) string {
			stolen := *mine
			stolen.handle = bobs.keys[0].handle
			return (&authenticator{t: t, origin: key.origin, rpID: key.rpID, keys: []*softKey{&stolen}}).get(options(b, page))
		})
		attack("another person's key", "passkey_refused", func(b *browser, page answer) string {
			forged := *bobs.keys[0]
			forged.id, forged.handle = mine.id, mine.handle
			return (&authenticator{t: t, origin: key.origin, rpID: key.rpID, keys: []*softKey{&forged}}).get(options(b, page))
		})
		attack("an unknown key", "passkey_refused", func(b *browser, page answer) string {
			unknown := *mine
			unknown.id = slices.Repeat([]byte{7}, 32)
			return (&authenticator{t: t, origin: key.origin, rpID: key.rpID, keys: []*softKey{&unknown}}).get(options(b, page))
		})
		attack("very long", "passkey_refused", func(*browser, answer) string { return `{"id":"` + strings.Repeat("A", 20_000) + `"}` })
		attack("a disabled person", "passkey_refused", func(b *browser, page answer) string {
			s.write(func(tx db.WriteTx) error {
				u, err := identity.FindUser(ctx, tx, "employees", "bob")
				if err != nil {
					return err
				}
				return s.dir.DisablePerson(ctx, tx, admin, u.ID)
			})
			return bobs.get(options(b, page))
		})
		// A copy counts fewer signatures than the original has made.
		attack("a copy", "passkey_copied", func(b *browser, page answer) string {
			b2 := s.browser()
			page2 := b2.get("/login")
			copied := *mine
			mine.count += 10
			b2.post(page2, "/login/passkey", "credential", key.get(options(b2, page2))).leads(t, "/account")
			return (&authenticator{t: t, origin: key.origin, rpID: key.rpID, keys: []*softKey{&copied}}).get(options(b, page))
		})
		if got := s.events("factor.use"); len(got) != 1 || !strings.HasPrefix(got[0], "denied") {
			t.Errorf("events %q", got)
		}
		b = s.browser()
		page = b.get("/login")
		b.post(page, "/login/passkey", "credential", key.get(options(b, page))).leads(t, "/account")
	})
}

// One person's passkey is no second step of another, and a challenge of one purpose is none of another.
func TestPasskeysOfOthersAndOtherPurposes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		s.person("bob", "")
		_, key := s.withPasskey("jane")
		_, bobs := s.withPasskey("bob")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/login/verify")
		page := b.get("/login/verify")
		if a := b.post(page, "/login/verify", "credential", bobs.get(b.options(page, "/login/verify/options"))); a.Code != 400 || b.signedIn() {
			t.Errorf("bob's passkey: %d\n%s", a.Code, a.body)
		}
		if a := b.post(page, "/login/verify", "credential", key.get(b.options(page, "/login/passkey/options"))); a.Code != 400 || b.signedIn() {
			t.Errorf("a challenge of a login: %d", a.Code)
		}
		if a := b.post(page, "/login/passkey", "credential", key.get(b.options(page, "/login/verify/options"))); a.Code != 400 || b.signedIn() {
			t.Errorf("a challenge of a second step: %d", a.Code)
		}
		b.post(page, "/login/verify", "credential", key.get(b.options(page, "/login/verify/options"))).leads(t, "/account")
	})
}

// Whatever is wrong with a new passkey, it is not stored.
func TestB8_163_WrongRegistrations(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		s.person("bob", "")
		b, own := s.withPasskey("jane")
		bob, _ := s.withPasskey("bob")
		const add, at = "/account/security/passkeys", "/account/security/passkeys/options"
		page, foreign := b.get("/account/security"), bob.get("/account/security")
		for name, f := range map[string]func() string{
			"another origin": func() string {
				k := s.authenticator()
				k.origin = "https://evil.example.org"
				return k.create(b.options(page, at))
			},
			"another rp": func() string {
				k := s.authenticator()
				k.rpID = "evil.example.org"
				return k.create(b.options(page, at))
			},
			"without verification": func() string { k := s.authenticator(); k.skipUV = true; return k.create(b.options(page, at)) },
			"a chosen challenge": func() string {
				k := s.authenticator()
				k.challenge = b64(make([]byte, 32))
				return k.create(b.options(page, at))
			},
			"another ceremony":      func() string { k := s.authenticator(); k.kind = "webauthn.get"; return k.create(b.options(page, at)) },
			"somebody's challenge":  func() string { return s.authenticator().create(bob.options(foreign, at)) },
			"a login's challenge":   func() string { return s.authenticator().create(b.options(page, "/login/passkey/options")) },
			"an attestation":        func() string { k := s.authenticator(); k.format = "tpm"; return k.create(b.options(page, at)) },
			"an unknown one":        func() string { k := s.authenticator(); k.format = "nonsense"; return k.create(b.options(page, at)) },
			"an assertion":          func() string { return own.get(b.options(page, at)) },
			"nothing":               func() string { return "" },
			"not JSON":              func() string { return "{" },
			"an array":              func() string { return "[]" },
			"a deep one":            func() string { return strings.Repeat("[", 5000) + strings.Repeat("]", 5000) },
			"a very long one":       func() string { return `{"id":"` + strings.Repeat("A", 30_000) + `"}` },
			"CBOR that never ends":  func() string { return cborBomb("9f9f9f9f9f9f9f9f") },
			"CBOR of a great size":  func() string { return cborBomb("bbffffffffffffffff") },
			"CBOR of a great depth": func() string { return cborBomb(strings.Repeat("81", 4000)) },
		} {
			if a := b.post(page, add, "credential", f()); a.Code != 400 || !strings.Contains(a.body, `id="security-problem"`) {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
			s.next("factor.add passkey_refused")
		}
		twice := s.authenticator().create(b.options(page, at))
		b.post(page, add, "credential", twice, "name", "  Twice ").leads(t, "/account/security?done=passkey")
		if a := b.post(page, add, "credential", twice); a.Code != 400 {
			t.Errorf("the same answer again: %d", a.Code)
		}
		if n := strings.Count(b.get("/account/security").body, `action="/account/security/factors/remove"`); n != 2 {
			t.Errorf("%d passkeys", n)
		}
	})
}

// cborBomb is the answer of a browser whose attestation object is this.
func cborBomb(hex string) string {
	raw := make([]byte, len(hex)/2)
	for i := range raw {
		raw[i] = nibble(hex[2*i])<<4 | nibble(hex[2*i+1])
	}
	client := b64([]byte(`{"type":"webauthn.create","challenge":"AAAA","origin":"https://mint.example.org"}`))
	return `{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"` + client + `","attestationObject":"` + b64(raw) + `"}}`
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// current is the session of the browser.
func (s *site) current(b *browser) session.Session {
	s.t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	got, ok, err := s.sessions.Current(ctx, r)
	if err != nil || !ok {
		s.t.Fatalf("no session: %v", err)
	}
	return got
}

// An account can live by passkeys alone; the last one stays, and a password can come back.
func TestPasskeyOnlyAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		b, key := s.withPasskey("jane")
		page := b.get("/account/security")
		before := s.current(b)
		s.clock.Advance(4 * time.Minute)
		b.post(page, "/account/password/remove").leads(t, "/account/security?done=no-password")
		if after := s.current(b); after.ID == before.ID || !after.AuthTime.Equal(before.AuthTime) || !after.Expires.Equal(before.Expires) {
			t.Errorf("to remove a password is no login: %+v became %+v", before, after)
		}
		page = b.get("/account/security")
		if !strings.Contains(page.body, "<strong>None</strong>") || strings.Contains(page.body, `id="password-remove"`) {
			t.Errorf("the page:\n%s", page.body)
		}
		if a := s.browser().signIn("/login", "jane", janes); a.Code != 401 {
			t.Errorf("the removed password: %d", a.Code)
		}
		factor := removeField.FindStringSubmatch(page.body)[1]
		if a := b.post(page, "/account/security/factors/remove", "id", factor); a.Code != 409 || !strings.Contains(a.body, `id="security-problem"`) {
			t.Errorf("the last thing to sign in with: %d\n%s", a.Code, a.body)
		}
		fresh := s.browser()
		page = fresh.get("/login")
		fresh.post(page, "/login/passkey", "credential", key.get(fresh.options(page, "/login/passkey/options"))).leads(t, "/account")
		page = fresh.get("/account/password")
		if strings.Contains(page.body, "current-password") {
			t.Errorf("asks for a password that there is not:\n%s", page.body)
		}
		fresh.post(page, "/account/password", "password", wrong, "again", wrong).leads(t, "/account/security?done=password")
		s.browser().signIn("/login", "jane", wrong).leads(t, "/login/verify")
		// Without a passkey the password is the only thing.
		s.person("bob", "")
		bob := s.browser()
		bob.signIn("/login", "bob", janes)
		if a := bob.post(bob.get("/account/security"), "/account/password/remove"); a.Code != 409 {
			t.Errorf("the only thing to sign in with: %d", a.Code)
		}
	})
}

// A passkey sets the count of wrong passwords back.
func TestPasskeyForgetsWrongPasswords(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		_, key := s.withPasskey("jane")
		for range identity.FreeTries {
			s.browser().signIn("/login", "jane", wrong)
		}
		if a := s.browser().signIn("/login", "jane", janes); a.Code != 429 {
			t.Fatalf("%d", a.Code)
		}
		b := s.browser()
		page := b.get("/login")
		b.post(page, "/login/passkey", "credential", key.get(b.options(page, "/login/passkey/options"))).leads(t, "/account")
		s.browser().signIn("/login", "jane", janes).leads(t, "/login/verify")
	})
}

// One challenge, presented at once on two nodes, signs in once.
func TestChallengesAreGoodOnceOverNodes(t *testing.T) {
	twoSites(t, func(t *testing.T, sites []*site) {
		sites[0].person("jane", "")
		_, key := sites[0].withPasskey("jane")
		key.keys[0].step = 0 // one that does not count: the challenge alone must do
		b := sites[0].browser()
		page := b.get("/login")
		answer := key.get(b.options(page, "/login/passkey/options"))
		var wg sync.WaitGroup
		var mu sync.Mutex
		in := 0
		for i := range 8 {
			twin := &browser{sites[i%2], map[string]string{"__Host-mintmark-visitor": b.cookies["__Host-mintmark-visitor"]}}
			wg.Go(func() {
				a := twin.post(page, "/login/passkey", "credential", answer)
				mu.Lock()
				defer mu.Unlock()
				if a.Code == 303 {
					in++
				} else if a.Code >= 500 {
					t.Errorf("%d\n%s", a.Code, a.body)
				}
			})
		}
		wg.Wait()
		if in != 1 {
			t.Errorf("%d logins with one challenge", in)
		}
	})
}

// Where passkeys cannot work, nothing of them is shown, and nothing asks for them.
func TestWithoutPasskeys(t *testing.T) {
	for issuer, want := range map[string]bool{
		"https://mint.example.org": true, "https://mint.example.org:8443/sub": true, "http://localhost:8080": true,
		"http://127.0.0.1:8080": false, "https://127.0.0.1": false, "https://[::1]:8080": false, "http://mint.example.org": false,
	} {
		s := newSite(t, db.SQLite)
		f, err := mfa.New(s.d, s.keyring, s.dir, mfa.Options{Issuer: issuer, Clock: s.clock})
		if err != nil || f.OffersPasskeys() != want {
			t.Errorf("%s: %v, %v", issuer, err, err == nil && f.OffersPasskeys())
		}
	}
	for _, issuer := range []string{"", "://", "mint.example.org"} {
		s := newSite(t, db.SQLite)
		if _, err := mfa.New(s.d, s.keyring, s.dir, mfa.Options{Issuer: issuer}); err == nil {
			t.Errorf("issuer %q is taken", issuer)
		}
	}
}

// Whatever a stranger sends as the answer of a passkey, it is a clear refusal.
func TestGarbageAsAPasskey(t *testing.T) {
	s := newSite(t, db.SQLite)
	s.person("jane", "")
	b, key := s.withPasskey("jane")
	page := b.get("/account/security")
	good := key.get(b.options(page, "/login/passkey/options"))
	made := s.authenticator().create(b.options(page, "/account/security/passkeys/options"))
	// What does not count may be changed: not every one of these is wrong, but none is our mistake.
	garbage := []string{
		"", "{}", "[]", "null", "0", "\x00", `{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{}}`, cborBomb("a0"), cborBomb("9f9f"), cborBomb("a363666d74646e6f6e65"), good + good,
	}
	for _, valid := range []string{good, made} {
		for at := 0; at < len(valid); at += 17 {
			garbage = append(garbage, valid[:at], valid[:at]+"A"+valid[at+1:], valid[:at]+`"`+valid[at:])
		}
	}
	for _, answer := range garbage {
		for _, target := range []string{"/login/passkey", "/login/verify", "/login/enrol", "/account/security/passkeys"} {
			if a := b.post(page, target, "credential", answer); a.Code >= 500 || a.Code == 200 {
				t.Errorf("%s: %d for %q\n%s", target, a.Code, answer, a.body)
			}
		}
	}
}
