package federation_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/federation/federationtest"
	"github.com/mintmark/mintmark/internal/keyset"
	"github.com/mintmark/mintmark/internal/redact"
)

func TestLinkAndSignIn(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.put("org", s.org, nil)
		jane := s.person("jane", "jane@example.org")
		r, err := s.login()
		if err != nil || r.Outcome != federation.Unknown || r.User.ID != "" {
			t.Fatalf("somebody whom nobody is linked with: %+v, %v", r, err)
		}
		s.link(jane.User)
		if len(s.told) != 1 || !s.told[0].Linked || s.told[0].User.ID != jane.ID {
			t.Errorf("told of %+v", s.told)
		}
		s.clock.Advance(time.Hour)
		s.org.Claims = map[string]any{"auth_time": s.clock.Now().Add(-30 * time.Minute).Unix(), "sid": "theirs", "amr": []string{"pwd", "mfa"}}
		r, err = s.login()
		if err != nil || r.Outcome != federation.SignedIn || r.User.ID != jane.ID || r.ReturnTo != "/account" {
			t.Fatalf("the linked person: %+v, %v", r, err)
		}
		if !slices.Equal(r.AMR, []string{"fed"}) {
			t.Errorf("a second factor that no policy trusts makes %v", r.AMR)
		}
		sn, err := s.session(r)
		if err != nil || !sn.AuthTime.Equal(s.clock.Now().Add(-30*time.Minute)) || sn.ACR() != "1" {
			t.Errorf("the session: %+v, %v; it began when the person signed in there", sn, err)
		}
	})
}

// What a token says that is not as it should be lets nobody in, and makes no error of ours.
func TestHostileTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true})
		now := start.Unix()
		for what, claims := range map[string]map[string]any{
			"issued by another": {"iss": s.other.Issuer}, "with a slash more": {"iss": s.org.Issuer + "/"}, "for another client": {"aud": "somebody"}, "for others besides": {"aud": []string{"mintmark", "somebody"}},
			"for nobody": {"aud": nil}, "to another client": {"azp": "somebody"}, "without a subject": {"sub": nil}, "with an empty subject": {"sub": ""}, "with a long subject": {"sub": strings.Repeat("x", 256)},
			"expired": {"exp": now}, "without end": {"exp": nil}, "for a year": {"exp": now + 365*86400}, "from the future": {"iat": now + 3600}, "old": {"iat": now - 3600}, "without iat": {"iat": nil}, "not yet": {"nbf": now + 3600},
			"with another nonce": {"nonce": "x"}, "without a nonce": {"nonce": nil}, "with a number as nonce": {"nonce": 7}, "of another access token": {"at_hash": "x"}, "with a wrong at_hash type": {"at_hash": 1},
			"without auth_time": {"auth_time": nil}, "that was signed in tomorrow": {"auth_time": now + 86400}, "that was signed in last week": {"auth_time": now - 7*86400}, "with a text as auth_time": {"auth_time": "now"},
		} {
			s.org.Claims = claims
			s.fails("a token "+what, "provider_failed")
		}
		s.org.Claims = nil
		for what, header := range map[string]map[string]any{
			"none": {"alg": "none"}, "None": {"alg": "nOnE"}, "HS256": {"alg": "HS256"}, "RS256": {"alg": "RS256"}, "a key of its own": {"jwk": map[string]any{"kty": "EC"}}, "an address of keys": {"jku": "https://evil.example/jwks"},
			"another kid": {"kid": "two"}, "an access token": {"typ": "at+jwt"}, "a logout token": {"typ": "logout+jwt"}, "crit": {"crit": []string{"x"}},
		} {
			s.org.Header = header
			s.fails("a header with "+what, "provider_failed")
		}
		s.org.Header = nil
		s.org.Forge = func(header, claims []byte) string { // the public key as a shared secret
			der, err := x509.MarshalPKIXPublicKey(&s.org.Key.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			input := federationtest.Encode([]byte(strings.Replace(string(header), "ES256", "HS256", 1))) + "." + federationtest.Encode(claims)
			h := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
			h.Write([]byte(input))
			return input + "." + federationtest.Encode(h.Sum(nil))
		}
		s.fails("the public key as a shared secret", "provider_failed")
		s.org.Forge = func(header, claims []byte) string {
			return federationtest.Encode([]byte(`{"alg":"none"}`)) + "." + federationtest.Encode(claims) + "."
		}
		s.fails("no signature", "provider_failed")
		s.org.Forge = func(_, _ []byte) string { return strings.Repeat("x", 1<<20) }
		s.fails("a huge token", "provider_failed")
		s.org.Forge = nil
		s.org.Key = federationtest.NewKey()
		s.fails("another key under the same kid", "provider_failed")
		if n := s.org.Calls["/jwks"]; n > 2 {
			t.Errorf("the keys were asked for %d times: whoever sends tokens must not make us ask", n)
		}
		s.org.Key = s.org.Published
		if r, err := s.login(); err != nil || r.Outcome != federation.SignedIn {
			t.Errorf("and as it should be: %+v, %v", r, err)
		}
	})
}

// A provider that changes its keys is followed, once in a while.
func TestKeyRotation(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true})
		if _, err := s.login(); err != nil {
			t.Fatal(err)
		}
		s.org.Key, s.org.Kid = federationtest.NewKey(), "two"
		s.org.Published = s.org.Key
		s.fails("a key that was changed this very second", "provider_failed")
		s.clock.Advance(31 * time.Second)
		if _, err := s.login(); err != nil {
			t.Errorf("half a minute later: %v", err)
		}
		// The set cannot be had: who holds the withdrawn key is believed for an hour, and no longer.
		s.clock.Advance(keyset.Fresh)
		s.org.Hidden = true
		if _, err := s.login(); err != nil {
			t.Errorf("with the last good copy: %v", err)
		}
		s.clock.Advance(keyset.Kept - keyset.Fresh - time.Second)
		if _, err := s.login(); err != nil {
			t.Errorf("for an hour: %v", err)
		}
		s.clock.Advance(time.Second)
		s.fails("a key that nobody has shown for an hour", "provider_failed")
		s.org.Hidden, s.org.Down = false, errDown
		s.clock.Advance(2 * time.Hour)
		s.fails("a provider that is down", "provider_failed")
		s.org.Down = nil
		s.clock.Advance(keyset.Pause)
		if _, err := s.login(); err != nil {
			t.Errorf("when it is back: %v", err)
		}
		s.org.Key, s.org.Kid = federationtest.NewKey(), "three"
		s.org.Published = s.org.Key
		s.clock.Advance(keyset.Fresh)
		old := s.org.Calls["/jwks"]
		if _, err := s.login(); err != nil || s.org.Calls["/jwks"] != old+1 {
			t.Errorf("a copy of five minutes is fetched anew before it is believed: %v after %d calls", err, s.org.Calls["/jwks"]-old)
		}
	})
}

// B1, B3, B8 (149, 152): callbacks that nobody here asked for.
func TestForgedCallbacks(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true})
		s.put("evil", s.other, nil)
		refused := func(what, code, providerID string, q url.Values, browser redact.Secret) {
			t.Helper()
			if r, err := s.back(providerID, q, browser); fault.Code(err) != code || fault.Of(err).Kind != fault.Invalid {
				t.Errorf("%s: %+v, %v; want %s", what, r, err, code)
			}
		}
		victim, mine := s.begin(federation.Begin{}), s.begin(federation.Begin{})
		q := s.answer(s.org, mine)
		refused("somebody else's answer (login CSRF)", "provider_state", "org", q, victim.Browser)
		refused("a browser without a cookie", "provider_state", "org", q, redact.Secret{})
		refused("a cookie that is none of ours", "provider_state", "org", q, redact.New("mmu_x"))
		refused("at the address of another provider", "provider_state", "evil", q, mine.Browser)
		refused("two states", "provider_state", "org", url.Values{"code": q["code"], "state": {q.Get("state"), q.Get("state")}, "iss": q["iss"]}, mine.Browser)
		refused("no state", "provider_state", "org", url.Values{"code": q["code"]}, mine.Browser)
		refused("a made-up state", "provider_state", "org", url.Values{"code": q["code"], "state": {"mmx_" + strings.Repeat("A", 43)}}, mine.Browser)
		if _, err := s.back("org", q, mine.Browser); err != nil {
			t.Fatalf("what nobody else could use: %v", err)
		}
		refused("the same callback again", "provider_state", "org", q, mine.Browser)

		// A code of one login, injected into another (RFC 9700, section 4.5): PKCE and the nonce bind it.
		stolen := s.answer(s.org, s.begin(federation.Begin{}))
		own := s.begin(federation.Begin{})
		inject := s.answer(s.org, own)
		inject.Set("code", stolen.Get("code"))
		refused("a code of another login", "provider_failed", "org", inject, own.Browser)

		late := s.begin(federation.Begin{})
		q = s.answer(s.org, late)
		s.clock.Advance(16 * time.Minute)
		refused("too late", "provider_state", "org", q, late.Browser)
	})
}

// Mix-up (RFC 9700 section 4.4, RFC 9207): an answer counts for the provider that it names alone.
func TestMixUp(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true})
		s.put("evil", s.other, nil)
		// The browser believes to sign in with evil, which sends it on to org and has the code of org come to evil's address.
		begun := s.begin(federation.Begin{Provider: "evil"})
		q := s.answer(s.org, begun)
		if _, err := s.back("evil", q, begun.Browser); fault.Code(err) != "provider_failed" {
			t.Errorf("the answer of another provider: %v", err)
		}
		if n := s.other.Calls["/token"]; n != 0 {
			t.Error("the code of one provider was told another")
		}
		s.org.Metadata = map[string]any{"authorization_response_iss_parameter_supported": true}
		s.clock.Advance(2 * time.Hour)
		begun = s.begin(federation.Begin{})
		q = s.answer(s.org, begun)
		q.Del("iss")
		if _, err := s.back("org", q, begun.Browser); fault.Code(err) != "provider_failed" {
			t.Errorf("an answer without iss, of a provider that names itself: %v", err)
		}
		begun = s.begin(federation.Begin{})
		q = url.Values{"error": {"access_denied"}, "state": s.answer(s.org, begun)["state"], "iss": {s.other.Issuer}}
		if _, err := s.back("org", q, begun.Browser); fault.Code(err) != "provider_failed" {
			t.Errorf("an error of another provider: %v", err)
		}
		if _, err := s.login(); err != nil {
			t.Errorf("with its own iss: %v", err)
		}
	})
}

func TestRefusalsOfProviders(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.put("org", s.org, nil)
		for sent, code := range map[string]string{"access_denied": "provider_denied", "server_error": "provider_refused", "<script>": "provider_refused", "login_required": "provider_refused"} {
			begun := s.begin(federation.Begin{})
			q := s.answer(s.org, begun)
			q.Del("code")
			q.Set("error", sent)
			q.Set("error_description", "<img src=x onerror=alert(1)>")
			_, err := s.back("org", q, begun.Browser)
			if f := fault.Of(err); f.Code != code || f.Kind != fault.Invalid || strings.Contains(f.Detail, "<") {
				t.Errorf("%s: %v", sent, err)
			}
		}
		for what, metadata := range map[string]map[string]any{
			"another issuer": {"issuer": s.other.Issuer}, "no token endpoint": {"token_endpoint": ""}, "a script as address": {"authorization_endpoint": "javascript:alert(1)"},
			"no code flow": {"response_types_supported": []string{"id_token"}}, "no S256": {"code_challenge_methods_supported": []string{"plain"}}, "a wrong type": {"jwks_uri": 7},
		} {
			s.clock.Advance(25 * time.Hour)
			s.org.Metadata = metadata
			if _, err := s.Start(t.Context(), federation.Begin{Provider: "org", IP: "192.0.2.1"}); fault.Code(err) != "provider_failed" {
				t.Errorf("metadata with %s: %v", what, err)
			}
			found, err := s.Check(t.Context(), admin, "org")
			if err != nil || found.OK || len(found.Problems) == 0 {
				t.Errorf("checked with %s: %+v, %v", what, found, err)
			}
		}
		s.org.Metadata = nil
		if found, err := s.Check(t.Context(), admin, "org"); err != nil || !found.OK || found.Keys != 1 {
			t.Errorf("checked: %+v, %v", found, err)
		}
		if _, err := s.Start(t.Context(), federation.Begin{Provider: "nobody", IP: "192.0.2.1"}); fault.Code(err) != "provider_not_found" {
			t.Errorf("a provider that there is not: %v", err)
		}
	})
}

func TestWhatIsAskedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true, RequiredACR: []string{"1"}, SecondFactorACR: []string{"2", "urn:x"}})
		asked := func(b federation.Begin) url.Values {
			u, err := url.Parse(s.begin(b).Location)
			if err != nil {
				t.Fatal(err)
			}
			return u.Query()
		}
		q := asked(federation.Begin{Hint: "jane", Languages: "de"})
		if q.Get("redirect_uri") != "https://mint.example.org/login/callback/org" || q.Get("scope") != "openid profile email" || q.Get("max_age") != "86400" || q.Get("acr_values") != "1" ||
			q.Get("login_hint") != "jane" || q.Get("ui_locales") != "de" || q.Has("prompt") || q.Get("code_challenge_method") != "S256" {
			t.Errorf("asked for %v", q)
		}
		if q := asked(federation.Begin{Two: true}); q.Get("acr_values") != "2 urn:x" {
			t.Errorf("for two factors asked for %v", q)
		}
		if q := asked(federation.Begin{Again: true}); q.Get("prompt") != "login" || q.Get("max_age") != "0" {
			t.Errorf("for a fresh proof asked for %v", q)
		}
		s.org.Claims = map[string]any{"acr": "1", "auth_time": start.Add(-time.Hour).Unix()}
		begun := s.begin(federation.Begin{Again: true})
		if _, err := s.back("org", s.answer(s.org, begun), begun.Browser); fault.Code(err) != "provider_failed" {
			t.Errorf("whoever was to sign in anew and did not: %v", err)
		}
		s.org.Claims = map[string]any{"acr": "2", "amr": []string{"otp", "hwk", "fed", "x"}}
		s.fails("a class that is not asked for", "provider_too_weak")
		s.policy(api.ProviderPolicy{CreateUsers: true, SecondFactorACR: []string{"2"}, RequiredAMR: []string{"otp"}})
		if r, err := s.login(); err != nil || !slices.Equal(r.AMR, []string{"fed", "otp", "hwk", "mfa"}) {
			t.Errorf("a class that counts as two factors: %v, %v", r.AMR, err)
		}
		s.org.Claims["amr"] = []string{"pwd"}
		s.fails("without a method that is needed", "provider_too_weak")
		s.policy(api.ProviderPolicy{CreateUsers: true, NoAuthTime: true, SecondFactorAMR: []string{"mfa"}})
		s.org.Claims = map[string]any{"auth_time": nil, "amr": []string{"mfa"}}
		if r, err := s.login(); err != nil || !r.Proof.AuthTime.Equal(start.Add(-24*time.Hour)) || !slices.Contains(r.AMR, "mfa") {
			t.Errorf("a provider that tells no auth_time: %+v, %v; it may be long ago", r, err)
		}
	})
}

// A provider that does not tell when somebody signed in there proves nobody's presence, unless an administrator says that
// it asks anew.
func TestUntoldAuthTime(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true, NoAuthTime: true})
		s.org.Claims = map[string]any{"auth_time": nil}
		r, err := s.login()
		if err != nil {
			t.Fatal(err)
		}
		if sn, err := s.session(r); err != nil || !sn.AuthTime.Equal(start.Add(-24*time.Hour)) {
			t.Errorf("the session says %v, %v", sn.AuthTime, err)
		}
		again := func(b federation.Begin) (federation.Result, string, error) {
			begun := s.begin(b)
			u, err := url.Parse(begun.Location)
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.back("org", s.answer(s.org, begun), begun.Browser)
			return r, u.Query().Get("prompt") + " " + u.Query().Get("max_age"), err
		}
		if _, asked, err := again(federation.Begin{Again: true}); asked != "login 0" || fault.Code(err) != "provider_not_fresh" {
			t.Errorf("asked for %s, and then: %v", asked, err)
		}
		if offers, err := s.Offers(t.Context(), "employees"); err != nil || len(offers) != 1 || offers[0].Again {
			t.Errorf("it is offered where it does not do: %+v, %v", offers, err)
		}
		s.org.Claims = map[string]any{"auth_time": start.Unix()}
		if r, _, err := again(federation.Begin{Again: true}); err != nil || !r.Proof.AuthTime.Equal(start) {
			t.Errorf("one that tells after all: %+v, %v", r, err)
		}
		s.org.Claims = map[string]any{"auth_time": start.Add(-time.Hour).Unix()}
		if _, _, err := again(federation.Begin{Again: true}); fault.Code(err) != "provider_failed" {
			t.Errorf("and what it tells is too old: %v", err)
		}
		s.policy(api.ProviderPolicy{CreateUsers: true, NoAuthTime: true, TrustPromptLogin: true})
		s.org.Claims = map[string]any{"auth_time": nil}
		if r, asked, err := again(federation.Begin{Again: true}); err != nil || asked != "login 0" || !r.Proof.AuthTime.Equal(start) {
			t.Errorf("one that is trusted to ask anew, asked for %s: %+v, %v", asked, r, err)
		}
		if r, _, err := again(federation.Begin{}); err != nil || !r.Proof.AuthTime.Equal(start.Add(-24*time.Hour)) {
			t.Errorf("it was not asked to: %+v, %v", r, err)
		}
		s.policy(api.ProviderPolicy{NoAuthTime: true})
		s.org.Claims = map[string]any{"auth_time": nil, "sub": "another"}
		joe := s.person("joe", "")
		if r, asked, err := again(federation.Begin{UserID: joe.ID, SessionID: "ses_1", Again: true}); err != nil || r.Outcome != federation.Confirm || asked != "select_account " {
			t.Errorf("to link is no new login, asked for %s: %+v, %v", asked, r, err)
		}
	})
}

func TestUserinfo(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.org.Userinfo = map[string]any{"sub": "248289761001", "nickname": "jd", "email": "other@example.org", "email_verified": true}
		s.put("org", s.org, func(b *api.PutLoginProvider) {
			b.Policy, b.Claims = api.ProviderPolicy{CreateUsers: true, Userinfo: true}, api.ProviderClaims{Username: "nickname"}
		})
		r, err := s.login()
		if err != nil || r.User.Username != "jd" || s.load(r.User.ID).Email != "jane@example.org" {
			t.Errorf("%+v, %v: what is signed goes first", r, err)
		}
		s.org.Claims, s.org.Userinfo["nickname"] = map[string]any{"sub": "another", "email": "joe@example.org", "email_verified": nil}, "joe"
		s.org.Userinfo["sub"] = "another"
		if r, err := s.login(); err != nil || s.load(r.User.ID).Email != "" {
			t.Errorf("%+v, %v: that one address is verified says nothing of another", s.load(r.User.ID), err)
		}
		s.org.Claims = nil
		s.org.Userinfo["sub"] = "somebody else"
		s.fails("claims of somebody else", "provider_failed")
	})
}

// A subject that the provider has given to somebody else since is that one link still; another subject is nobody.
func TestSubjectIsWhoItIs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{})
		jane := s.person("jane", "jane@example.org")
		s.link(jane.User)
		s.org.Claims = map[string]any{"email": "evil@example.org", "preferred_username": "evil"}
		if r, err := s.login(); err != nil || r.User.ID != jane.ID {
			t.Errorf("other claims of the same subject: %+v, %v", r, err)
		}
		s.org.Claims = map[string]any{"sub": "248289761002"}
		if r, err := s.login(); err != nil || r.Outcome != federation.Unknown {
			t.Errorf("the same claims of another subject: %+v, %v", r, err)
		}
		if err := s.d.Write(t.Context(), disable(s, jane.ID)); err != nil {
			t.Fatal(err)
		}
		s.org.Claims = nil
		s.fails("a blocked person", "account_disabled")
		if got := <-s.refused; got != "account_disabled" {
			t.Errorf("recorded as %s", got)
		}
	})
}
