package federation_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/redact"
)

var eve = access.Caller{Kind: access.Person, ID: "usr_eve", Name: "eve", Realm: "employees"}

func TestNewAccounts(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true})
		s.org.Claims = map[string]any{"preferred_username": "Jane", "phone_number": "+49 30 1"}
		r, err := s.login()
		if err != nil || r.Outcome != federation.SignedIn {
			t.Fatalf("%+v, %v", r, err)
		}
		jane := s.load(r.User.ID)
		if jane.Username != "jane" || jane.DisplayName != "Jane Doe" || jane.Email != "jane@example.org" || !jane.EmailVerified.IsZero() || jane.Phone != "+49 30 1" || jane.HasPassword || jane.Admin {
			t.Errorf("the account: %+v", jane)
		}
		if r, err := s.login(); err != nil || r.User.ID != jane.ID {
			t.Errorf("the second time: %+v, %v", r, err)
		}
		// Another person there, of the same name and without a verified address: it is not used, and a name is chosen.
		s.org.Claims = map[string]any{"sub": "2", "preferred_username": "jane", "email": "jane@example.org", "email_verified": false}
		begun := s.begin(federation.Begin{ReturnTo: "/account"})
		r, err = s.back("org", s.answer(s.org, begun), begun.Browser)
		if err != nil || r.Outcome != federation.Choose {
			t.Fatalf("a name that somebody has: %+v, %v", r, err)
		}
		create := func(name string, browser redact.Secret) (federation.Result, error) {
			return s.Create(t.Context(), r.Login, name, federation.Answer{Browser: browser, IP: "192.0.2.1"})
		}
		for name, code := range map[string]string{"jane": "user_exists", "JANE": "user_exists", "jane@example.org": "username", "boss@example.org": "username", "": "username", "j\u0430ne": "username", strings.Repeat("x", 101): "username"} {
			if _, err := create(name, begun.Browser); fault.Code(err) != code {
				t.Errorf("%q: %v, want %s", name, err, code)
			}
		}
		if _, err := create("jane2", s.begin(federation.Begin{}).Browser); fault.Code(err) != "provider_state" {
			t.Errorf("in another browser: %v", err)
		}
		made, err := create("jane2", begun.Browser)
		if err != nil || made.Outcome != federation.SignedIn || made.ReturnTo != "/account" || s.load(made.User.ID).Email != "" {
			t.Errorf("%+v, %v", made, err)
		}
		if _, err := create("jane3", begun.Browser); fault.Code(err) != "provider_state" {
			t.Errorf("twice: %v", err)
		}
	})
}

// An account is somebody's who proved to be it, not whose address a provider tells (B8, 147 and pre-hijacking).
func TestAddressesLeadNowhereUnlessTheProviderHasTheWord(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true})
		jane := s.person("jane.doe", "Jane@Example.org")
		unknown := func(what string) {
			t.Helper()
			if r, err := s.login(); err != nil || r.Outcome != federation.Unknown || len(s.links(jane.ID)) != 0 {
				t.Errorf("%s: %+v, %v", what, r, err)
			}
		}
		unknown("without authority")
		s.policy(api.ProviderPolicy{CreateUsers: true, AuthoritativeDomains: []string{"example.com", "ample.org"}})
		unknown("with that of other domains")
		s.policy(api.ProviderPolicy{AuthoritativeDomains: []string{"EXAMPLE.org"}})
		for what, claims := range map[string]map[string]any{"not verified": {"email_verified": false}, "no word of it": {"email_verified": nil}, "a word": {"email_verified": "yes"}} {
			s.org.Claims = claims
			unknown("an address that is " + what)
		}
		s.org.Claims = nil
		exec := func(query string, value any) {
			t.Helper()
			if err := s.d.Write(t.Context(), func(tx db.WriteTx) error { return db.One(tx.Exec(t.Context(), query, jane.ID, value)) }); err != nil {
				t.Fatal(err)
			}
		}
		exec(`UPDATE people SET email_verified = $2 WHERE user_id = $1`, 0)
		unknown("an address that is not verified here: whoever registered it waits for its owner")
		exec(`UPDATE people SET email_verified = $2 WHERE user_id = $1`, 1)
		exec(`UPDATE users SET admin = $2 WHERE id = $1`, true)
		unknown("an administrator")
		exec(`UPDATE users SET admin = $2 WHERE id = $1`, false)
		if r, err := s.login(); err != nil || r.Outcome != federation.SignedIn || r.User.ID != jane.ID || len(s.told) != 1 {
			t.Errorf("with authority: %+v, %v, told %v", r, err, s.told)
		}
	})
}

// TestProvidersVouchForTheirDomains: an address is verified here by the word of a provider that has it, and by no other's.
// Else a stranger could begin an account with somebody's address at one provider, and share it once the owner of the
// address comes by another, which has the word for the domain.
func TestProvidersVouchForTheirDomains(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true, AuthoritativeDomains: []string{"example.org"}})
		r, err := s.login()
		if err != nil || r.Outcome != federation.SignedIn || s.load(r.User.ID).EmailVerified.IsZero() {
			t.Fatalf("an address of its domain: %+v, %v", r, err)
		}
		s.org.Claims = map[string]any{"sub": "2", "preferred_username": "joe", "email": "joe@example.net"}
		if r, err = s.login(); err != nil || r.Outcome != federation.SignedIn {
			t.Fatalf("%+v, %v", r, err)
		}
		if joe := s.load(r.User.ID); joe.Email != "joe@example.net" || !joe.EmailVerified.IsZero() {
			t.Errorf("an address of another domain: %+v", joe)
		}
		s.policy(api.ProviderPolicy{CreateUsers: true, AuthoritativeDomains: []string{"example.net"}})
		s.org.Claims["sub"] = "3"
		if r, err = s.login(); err != nil || r.Outcome != federation.Unknown {
			t.Errorf("the owner of that address is joined with whoever came before: %+v, %v", r, err)
		}
	})
}

func TestAllowedDomains(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true, AllowedDomains: []string{"example.org"}})
		for _, claims := range []map[string]any{{"email": "jane@evil.example"}, {"email": "jane@sub.example.org"}, {"email_verified": false}, {"email": nil}, {"email": "jane@example.org@evil.example"}} {
			s.org.Claims = claims
			s.fails("another address", "provider_domain")
		}
		s.org.Claims = nil
		if _, err := s.login(); err != nil {
			t.Error(err)
		}
	})
}

func TestSync(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{Sync: true})
		jane, joe := s.person("jane", ""), s.person("joe", "joe@example.org")
		s.link(jane.User)
		s.org.Claims = map[string]any{"name": "Jane Roe", "phone_number": "not one", "email": "roe@example.org"}
		if _, err := s.login(); err != nil {
			t.Fatal(err)
		}
		if p := s.load(jane.ID); p.DisplayName != "Jane Roe" || p.Phone != "" || p.Email != "roe@example.org" || !p.EmailVerified.IsZero() || p.Username != "jane" {
			t.Errorf("what fits follows: %+v", p)
		}
		s.org.Claims = map[string]any{"email": "joe@example.org"}
		if _, err := s.login(); err != nil {
			t.Fatal(err)
		}
		if p := s.load(jane.ID); p.Email != "roe@example.org" || s.load(joe.ID).Email != "joe@example.org" {
			t.Errorf("the address of somebody else was taken over: %+v", p)
		}
	})
}

func TestLinkingNeedsProofOfBoth(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{})
		jane, joe := s.person("jane", "jane@example.org"), s.person("joe", "joe@example.org")
		customer := s.person("carol", "", func(n *identity.NewPerson) { n.Realm = "customers" })
		begun := s.begin(federation.Begin{UserID: jane.ID, SessionID: "ses_1"})
		r, err := s.back("org", s.answer(s.org, begun), begun.Browser)
		if err != nil || r.Outcome != federation.Confirm || len(s.links(jane.ID)) != 0 {
			t.Fatalf("%+v, %v: nothing is linked before it is confirmed", r, err)
		}
		other := s.begin(federation.Begin{})
		for what, try := range map[string]func() error{
			"somebody else":          func() error { return s.confirm(joe.User, "ses_1", r.Login, begun.Browser) },
			"another session":        func() error { return s.confirm(jane.User, "ses_2", r.Login, begun.Browser) },
			"another browser":        func() error { return s.confirm(jane.User, "ses_1", r.Login, other.Browser) },
			"another login":          func() error { return s.confirm(jane.User, "ses_1", "ups_0", begun.Browser) },
			"a login without answer": func() error { return s.confirm(jane.User, "ses_1", other.Location, other.Browser) },
		} {
			if err := try(); fault.Code(err) != "provider_state" {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := s.confirm(jane.User, "ses_1", r.Login, begun.Browser); err != nil {
			t.Fatal(err)
		}
		if err := s.confirm(jane.User, "ses_1", r.Login, begun.Browser); fault.Code(err) != "provider_state" {
			t.Errorf("twice: %v", err)
		}
		for who, code := range map[*identity.Person]string{&jane: "identity_linked", &joe: "identity_taken"} {
			begun := s.begin(federation.Begin{UserID: who.ID, SessionID: "ses_1"})
			if _, err := s.back("org", s.answer(s.org, begun), begun.Browser); fault.Code(err) != code {
				t.Errorf("%s again: %v, want %s", who.Username, err, code)
			}
		}
		s.org.Claims = map[string]any{"sub": "2"}
		begun = s.begin(federation.Begin{})
		if r, err = s.back("org", s.answer(s.org, begun), begun.Browser); err != nil || r.Outcome != federation.Unknown {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := s.confirm(customer.User, "ses_3", r.Login, begun.Browser); fault.Code(err) != "provider_realm" {
			t.Errorf("somebody of another realm: %v", err)
		}
		s.clock.Advance(16 * time.Minute)
		if err := s.confirm(joe.User, "ses_3", r.Login, begun.Browser); fault.Code(err) != "provider_state" {
			t.Errorf("too late: %v", err)
		}
	})
}

// Two people who confirm at the same time: the identity is one of them.
func TestOneIdentityIsOnePerson(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{})
		people := []identity.Person{s.person("jane", ""), s.person("joe", ""), s.person("ann", "")}
		var errs [3]error
		var wg sync.WaitGroup
		var confirm [3]func() error
		for i, p := range people {
			begun := s.begin(federation.Begin{UserID: p.ID, SessionID: "ses_1"})
			r, err := s.back("org", s.answer(s.org, begun), begun.Browser)
			if err != nil {
				t.Fatal(err)
			}
			confirm[i] = func() error { return s.confirm(p.User, "ses_1", r.Login, begun.Browser) }
		}
		for i, f := range confirm {
			wg.Go(func() { errs[i] = f() })
		}
		wg.Wait()
		done := 0
		for _, err := range errs {
			if err == nil {
				done++
			} else if fault.Of(err).Kind != fault.Conflict {
				t.Errorf("the other: %v", err)
			}
		}
		if n := len(s.links(people[0].ID)) + len(s.links(people[1].ID)) + len(s.links(people[2].ID)); done != 1 || n != 1 {
			t.Errorf("%d confirmed, %d links", done, n)
		}
	})
}

func TestUnlink(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{})
		jane := s.person("jane", "jane@example.org")
		s.link(jane.User)
		r, err := s.login()
		if err != nil {
			t.Fatal(err)
		}
		here, err1 := s.session(r)
		there, err2 := s.session(r)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		id := s.links(jane.ID)[0].ID
		unlink := func(c access.Caller, userID, id string) error {
			return s.d.Write(t.Context(), func(tx db.WriteTx) error { return s.Unlink(t.Context(), tx, c, userID, id, here.ID) })
		}
		if err := unlink(self(jane.User), jane.ID, id); fault.Code(err) != "last_credential" {
			t.Errorf("the last way to sign in: %v", err)
		}
		if err := unlink(eve, jane.ID, id); fault.Of(err).Kind != fault.Forbidden {
			t.Errorf("somebody else: %v", err)
		}
		if err := unlink(eve, eve.ID, id); fault.Of(err).Kind != fault.NotFound {
			t.Errorf("as one's own: %v", err)
		}
		if err := s.d.Write(t.Context(), func(tx db.WriteTx) error {
			return s.dir.SetPassword(t.Context(), tx, admin, jane.ID, redact.New("a walk in the rain at night"))
		}); err != nil {
			t.Fatal(err)
		}
		// The password ended all sessions.
		if here, err1 = s.session(must(s.login())); err1 != nil {
			t.Fatal(err1)
		}
		if there, err2 = s.session(must(s.login())); err2 != nil {
			t.Fatal(err2)
		}
		if err := unlink(self(jane.User), jane.ID, id); err != nil {
			t.Fatal(err)
		}
		if !s.alive(here.ID) || s.alive(there.ID) || len(s.links(jane.ID)) != 0 {
			t.Error("the session that unlinked goes on, the others end")
		}
		if last := s.told[len(s.told)-1]; last.Linked || last.User.ID != jane.ID {
			t.Errorf("told of %+v", last)
		}
		if _, err := s.session(r); fault.Code(err) != "provider_not_found" {
			t.Errorf("a login that was under way: %v", err)
		}
	})
}

func must(r federation.Result, err error) federation.Result {
	if err != nil {
		panic(err) // ends the test
	}
	return r
}

func TestProviders(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		good := api.PutLoginProvider{Realm: "employees", Name: "Org", Issuer: s.org.Issuer, ClientID: "mintmark", ClientSecret: "s3cret value"}
		for what, change := range map[string]func(*api.PutLoginProvider){
			"no realm": func(b *api.PutLoginProvider) { b.Realm = "nowhere" }, "services": func(b *api.PutLoginProvider) { b.Realm = "services" },
			"ourselves": func(b *api.PutLoginProvider) { b.Issuer = "https://mint.example.org/" }, "no https": func(b *api.PutLoginProvider) { b.Issuer = "http://login.example.org" },
			"a query": func(b *api.PutLoginProvider) { b.Issuer += "?x=1" }, "our own name": func(b *api.PutLoginProvider) { b.ClientID = "https://mint.example.org" },
			"basic without a secret": func(b *api.PutLoginProvider) { b.ClientSecret, b.ClientAuth = "", "client_secret_basic" }, "none with a secret": func(b *api.PutLoginProvider) { b.ClientAuth = "none" },
			"another method": func(b *api.PutLoginProvider) { b.ClientAuth = "tls_client_auth" }, "a scope with a space": func(b *api.PutLoginProvider) { b.Scopes = []string{"a b"} },
			"a wildcard": func(b *api.PutLoginProvider) { b.Policy.AuthoritativeDomains = []string{"*.org"} }, "no domain": func(b *api.PutLoginProvider) { b.Policy.AllowedDomains = []string{"org"} },
			"a name of two lines": func(b *api.PutLoginProvider) { b.Name = "a\nb" },
		} {
			b := good
			change(&b)
			if err := s.tryPut(admin, "org", b); fault.Of(err).Kind != fault.Invalid {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, id := range []string{"", "-", "a-", "A", "a/b", "..", strings.Repeat("x", 64)} {
			if err := s.tryPut(admin, id, good); fault.Of(err).Kind != fault.Invalid {
				t.Errorf("id %q: %v", id, err)
			}
		}
		if err := s.tryPut(eve, "org", good); fault.Of(err).Kind != fault.Forbidden {
			t.Errorf("who is no administrator: %v", err)
		}
		s.put("org", s.org, nil)
		b := good
		b.Issuer, b.ClientSecret = s.other.Issuer, ""
		if err := s.tryPut(admin, "org", b); fault.Code(err) != "client_secret" {
			t.Errorf("another issuer, which would be told the secret of this one: %v", err)
		}
		jane := s.person("jane", "")
		s.link(jane.User)
		b = good
		b.Issuer = s.other.Issuer
		if err := s.tryPut(admin, "org", b); fault.Code(err) != "provider_issuer" {
			t.Errorf("another issuer, whose subjects are others: %v", err)
		}
		b = good
		b.Realm = "customers"
		if err := s.tryPut(admin, "org", b); fault.Code(err) != "provider_realm" {
			t.Errorf("another realm: %v", err)
		}
		s.put("org", s.org, func(b *api.PutLoginProvider) { b.ClientSecret = "" })
		sn, err := s.session(must(s.login())) // with the secret from before
		if err != nil {
			t.Fatal(err)
		}
		s.put("org", s.org, func(b *api.PutLoginProvider) { b.Disabled = true })
		if s.alive(sn.ID) {
			t.Error("a session outlives the provider that it began with")
		}
		if _, err := s.Start(t.Context(), federation.Begin{Provider: "org", IP: "192.0.2.1"}); fault.Code(err) != "provider_not_found" {
			t.Errorf("one that is shut off: %v", err)
		}
		if offers, err := s.Offers(t.Context(), "employees"); err != nil || len(offers) != 0 {
			t.Errorf("offered: %v, %v", offers, err)
		}
		if err := s.d.Write(t.Context(), func(tx db.WriteTx) error {
			return s.DeleteProvider(t.Context(), tx, admin, "org", func(int64) error { return nil })
		}); err != nil || len(s.links(jane.ID)) != 0 {
			t.Errorf("delete: %v", err)
		}
	})
}

// The client secret is in no row and no audit record in clear, and in no answer.
func TestSecretIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.put("org", s.org, nil)
		if err := s.d.Read(t.Context(), func(tx db.ReadTx) error {
			p, _, err := s.Provider(t.Context(), tx, admin, "org")
			if err != nil || !p.HasSecret || p.RedirectURI != "https://mint.example.org/login/callback/org" {
				t.Errorf("%+v, %v", p, err)
			}
			texts, err := db.Texts(t.Context(), tx, `SELECT details FROM audit_events UNION ALL SELECT settings FROM login_providers`)
			if slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, "secret of a client") }) {
				t.Error("the client secret is written down")
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, method := range []string{"client_secret_post", "private_key_jwt", "none"} {
			s.put("org", s.org, func(b *api.PutLoginProvider) {
				if b.ClientAuth = method; method != "client_secret_post" {
					b.ClientSecret = ""
				}
			})
			_, err := s.login()
			if ok := method != "none"; ok != (err == nil) { // the provider wants to know who asks
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}

func TestBackchannelLogout(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{CreateUsers: true})
		s.put("evil", s.other, nil)
		s.org.Claims = map[string]any{"sid": "one"}
		r, err := s.login()
		if err != nil {
			t.Fatal(err)
		}
		first, err1 := s.session(r)
		s.org.Claims = map[string]any{"sid": "two"}
		second, err2 := s.session(must(s.login()))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		s.org.Claims, s.org.Header = nil, map[string]any{"typ": "logout+jwt"}
		events := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
		send := func(to string, more map[string]any) error {
			t.Helper()
			claims := map[string]any{"jti": "1", "sid": "one", "sub": nil, "events": events, "nonce": nil}
			for name, value := range more {
				claims[name] = value
			}
			token, err := s.org.IDToken(claims)
			if err != nil {
				t.Fatal(err)
			}
			return s.Logout(t.Context(), to, token, federation.Answer{})
		}
		for what, more := range map[string]map[string]any{
			"a nonce": {"nonce": "x"}, "no event": {"events": nil}, "another event": {"events": map[string]any{"x": map[string]any{}}}, "nobody": {"sid": nil}, "an empty sid": {"sid": ""},
			"another audience": {"aud": "x"}, "another issuer": {"iss": s.other.Issuer}, "no jti": {"jti": nil}, "an end that is past": {"exp": start.Unix()},
		} {
			if err := send("org", more); fault.Of(err).Kind != fault.Invalid {
				t.Errorf("with %s: %v", what, err)
			}
		}
		if err := send("evil", nil); fault.Of(err).Kind != fault.Invalid {
			t.Errorf("to another provider: %v", err)
		}
		for _, raw := range []string{"", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."} {
			if err := s.Logout(t.Context(), "org", raw, federation.Answer{}); fault.Of(err).Kind != fault.Invalid {
				t.Errorf("%q: %v", raw, err)
			}
		}
		if !s.alive(first.ID) || !s.alive(second.ID) {
			t.Fatal("a logout token that is not good ended a session")
		}
		if err := send("org", nil); err != nil || s.alive(first.ID) || !s.alive(second.ID) {
			t.Errorf("that of one session: %v", err)
		}
		if err := send("org", map[string]any{"sid": nil, "sub": "248289761001"}); err != nil || s.alive(second.ID) {
			t.Errorf("that of a person: %v", err)
		}
	})
}

// Somebody with very many sessions ends her own by signing out at the provider, or by unlinking, and nobody else's.
func TestManySessionsOfOnePerson(t *testing.T) {
	onBoth(t, func(t *testing.T, s *place) {
		s.policy(api.ProviderPolicy{})
		jane := s.person("jane", "")
		s.link(jane.User)
		r, err := s.login()
		if err != nil {
			t.Fatal(err)
		}
		mine, err := s.session(r)
		if err != nil {
			t.Fatal(err)
		}
		s.org.Claims = map[string]any{"sub": "bob there"}
		bob := s.person("bob", "")
		s.link(bob.User)
		his, err := s.session(must(s.login()))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.d.Write(t.Context(), func(tx db.WriteTx) error {
			for i := range 501 {
				id := fmt.Sprintf("ses_many_%d", i)
				if _, err := tx.Exec(t.Context(), `INSERT INTO sessions (id, user_id, verifier, amr, auth_time, last_seen, expires, ip, user_agent, device_id)
					SELECT $2, user_id, verifier, amr, auth_time, last_seen, expires, ip, user_agent, device_id FROM sessions WHERE id = $1`, mine.ID, id); err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), `INSERT INTO upstream_sessions (session_id, provider_id, subject, sid) VALUES ($1, 'org', $2, '')`, id, r.Proof.Subject); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		s.org.Claims, s.org.Header = nil, map[string]any{"typ": "logout+jwt"}
		events := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
		token, err := s.org.IDToken(map[string]any{"jti": "1", "sub": r.Proof.Subject, "events": events, "nonce": nil})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Logout(t.Context(), "org", token, federation.Answer{}); err != nil {
			t.Fatal(err)
		}
		if s.alive(mine.ID) || s.alive("ses_many_500") {
			t.Error("the sessions go on")
		}
		if !s.alive(his.ID) {
			t.Error("another person's session ended with them")
		}
	})
}
