package web_test

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/redact"
)

// Whoever needs a second factor and has none gets it before the first session, and recovery codes with it.
func TestEnrolmentAtLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.write(func(tx db.WriteTx) error {
			_, err := s.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: "root", Admin: true}, redact.New(janes))
			return err
		})
		b := s.browser()
		b.signIn("/login?return_to=/account/sessions", "root", janes).leads(t, "/login/enrol")
		if b.signedIn() {
			t.Fatal("signed in without a second factor")
		}
		page := b.get("/login/enrol")
		app := page.scan(t)
		if again := b.get("/login/enrol").scan(t); string(again.seed) != string(app.seed) {
			t.Error("the key changes when the page is loaded anew")
		}
		// Somebody else who has the password sees another key: nobody confirms one that others know.
		thief := s.browser()
		thief.signIn("/login", "root", janes)
		if string(thief.get("/login/enrol").scan(t).seed) == string(app.seed) {
			t.Error("two logins share a key")
		}
		if a := b.post(page, "/login/enrol", "code", "000000"); a.Code != 401 || !strings.Contains(a.body, `id="enrol-problem"`) || string(a.scan(t).seed) != string(app.seed) {
			t.Errorf("a wrong code: %d\n%s", a.Code, a.body)
		}
		a := b.post(page, "/login/enrol", "code", app.code(s.clock.Now()))
		if a.codes(t); !strings.Contains(a.body, `href="/account/sessions"`) || !b.signedIn() {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		// The thief's login was to enrol; now there is a factor, and it leads nowhere.
		if a := thief.post(thief.get("/login"), "/login/enrol", "code", "123456"); a.Code == 200 || thief.signedIn() {
			t.Errorf("the thief: %d\n%s", a.Code, a.body)
		}
		// A passkey does as well; the realm asks for one.
		s.write(func(tx db.WriteTx) error {
			_, err := s.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "customers", Username: "acme"}, redact.New(janes))
			return err
		})
		b, key := s.browser(), s.authenticator()
		page = b.get("/login")
		b.post(page, "/login", "realm", "customers", "username", "acme", "password", janes).leads(t, "/login/enrol")
		page = b.get("/login/enrol")
		b.post(page, "/login/enrol", "credential", key.create(b.options(page, "/login/enrol/options")), "name", "Key").codes(t)
		if !b.signedIn() || !strings.Contains(b.get("/account").body, "password, passkey") {
			t.Error("not signed in with the passkey")
		}
	})
}

// A thief who has the password and began to enrol cannot finish when the owner was faster.
func TestEnrolmentRace(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.write(func(tx db.WriteTx) error {
			_, err := s.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: "root", Admin: true}, redact.New(janes))
			return err
		})
		owner, thief := s.browser(), s.browser()
		for _, b := range []*browser{owner, thief} {
			b.signIn("/login", "root", janes).leads(t, "/login/enrol")
		}
		page, stolen := owner.get("/login/enrol"), thief.get("/login/enrol")
		owner.post(page, "/login/enrol", "code", page.scan(t).code(s.clock.Now())).codes(t)
		if a := thief.post(stolen, "/login/enrol", "code", stolen.scan(t).code(s.clock.Now())); a.Code != 400 || thief.signedIn() {
			t.Errorf("the thief put a factor of his own in: %d\n%s", a.Code, a.body)
		}
		key := s.authenticator()
		if a := thief.do("POST", "/login/enrol/options", url.Values{"csrf": {stolen.token(t)}}); a.Code != 400 || len(key.keys) != 0 {
			t.Errorf("options for the thief: %d", a.Code)
		}
	})
}

// Asked for two factors, a login by somebody who has one sets up another; asked again, it is a new proof.
func TestLoginAskedForMore(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "Jane Doe")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		before := b.cookies["__Host-mintmark-session"]
		page := b.get("/login?step=two&return_to=/account")
		if !strings.Contains(page.body, `name="step" value="two"`) || !strings.Contains(page.body, `value="jane"`) || !strings.Contains(page.body, "with two factors") {
			t.Errorf("the page:\n%s", page.body)
		}
		if page := b.get("/login?acr_values=2&return_to=/account"); !strings.Contains(page.body, `name="step" value="two"`) {
			t.Errorf("the page that the authorization endpoint leads to:\n%s", page.body)
		}
		b.post(page, "/login", "realm", "employees", "username", "jane", "password", janes, "step", "two").leads(t, "/login/enrol")
		page = b.get("/login/enrol")
		b.post(page, "/login/enrol", "code", page.scan(t).code(s.clock.Now())).codes(t)
		if after := b.cookies["__Host-mintmark-session"]; after == before || !strings.Contains(b.get("/account").body, "one-time code") {
			t.Error("the session's secret did not change with what was proved")
		}
		if page := b.get("/login?step=again&return_to=/account"); !strings.Contains(page.body, "Confirm that it is you") {
			t.Errorf("the page:\n%s", page.body)
		}
		if page := b.get("/login?step=" + url.QueryEscape(evil)); strings.Contains(page.body, "name=\"step\"") {
			t.Errorf("an unknown step:\n%s", page.body)
		}
	})
}

// What one signs in with is changed only just after a login by all that the account has.
func TestB8_162_ChangesNeedAFreshLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		b, app, codes := s.withApp("jane")
		s.clock.Advance(6 * time.Minute)
		page := b.get("/account/security")
		if !strings.Contains(page.body, `id="confirm-login"`) || strings.Contains(page.body, `id="recovery-new"`) {
			t.Errorf("the page of an old login:\n%s", page.body)
		}
		token := b.get("/logout")
		changes := map[string][]string{
			"/account/security/app": nil, "/account/security/app/confirm": {"code", "123456"}, "/account/security/codes": nil, "/account/security/passkeys": {"credential", "{}"},
			"/account/security/passkeys/rename": {"id", "fac_x", "name", "x"}, "/account/security/factors/remove": {"id", "fac_x"},
			"/account/password": {"current", janes, "password", wrong, "again", wrong}, "/account/password/remove": nil, "/account/security/passkeys/options": nil,
		}
		for target, pairs := range changes {
			if a := b.post(token, target, pairs...); a.Code != 403 || !strings.Contains(a.body, "login_too_old") {
				t.Errorf("%s: %d\n%s", target, a.Code, a.body)
			}
		}
		if a := b.get("/account/security/app"); a.Code != 303 {
			t.Errorf("the key after an old login: %d", a.Code)
		}
		if a := b.get("/account/password"); a.Code != 303 || !strings.HasPrefix(a.Header().Get("Location"), "/login?step=again") {
			t.Errorf("the password page after an old login: %d", a.Code)
		}
		// The proof is by as much as the account has: the password alone leads to the second step.
		b.signIn("/login?step=again&return_to=/account/security", "jane", janes).leads(t, "/login/verify")
		if a := b.post(token, "/account/security/codes"); a.Code != 403 {
			t.Errorf("with half a login: %d", a.Code)
		}
		b.post(b.get("/login/verify"), "/login/verify", "code", app.code(s.clock.Now())).leads(t, "/account/security")
		next := b.post(b.get("/account/security"), "/account/security/codes").codes(t)
		if slices.Contains(next, codes[0]) {
			t.Error("the codes are the old ones")
		}
		// Without a form of ours nothing happens, with all the rest in order.
		for target, pairs := range changes {
			form := url.Values{}
			for i := 0; i+1 < len(pairs); i += 2 {
				form.Set(pairs[i], pairs[i+1])
			}
			if a := b.do("POST", target, form); a.Code != 403 || !strings.Contains(a.body, "form_not_ours") {
				t.Errorf("%s without a token: %d", target, a.Code)
			}
		}
	})
}

// A session from before the app was set up does not change it, however fresh: it proves less than the account has.
func TestB8_162_WeakerSession(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		weak := s.browser()
		weak.signIn("/login", "jane", janes).leads(t, "/account")
		token := weak.get("/account/security")
		s.withApp("jane")
		if a := weak.post(token, "/account/security/codes"); a.Code != 403 {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
	})
}

// Others' passkeys, apps, sessions and devices are not there.
func TestB8_167_OthersFactorsAreNotThere(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		s.person("bob", "")
		janes, _ := s.withPasskey("jane")
		bobs, _ := s.withPasskey("bob")
		ids := func(b *browser) []string {
			m := removeField.FindStringSubmatch(b.get("/account/security").body)
			if m == nil {
				t.Fatal("no passkey on the page")
			}
			return m
		}
		his := ids(bobs)[1]
		page := janes.get("/account/security")
		for target, pairs := range map[string][]string{
			"/account/security/factors/remove": {"id", his}, "/account/security/passkeys/rename": {"id", his, "name", "mine"},
			"/account/sessions/end": {"id", "ses_01m81j18g0z3btg8awwrp5dkvk"}, "/account/devices/forget": {"id", "dev_01m81j18g0z3btg8awwrp5dkvk"},
		} {
			if a := janes.post(page, target, pairs...); a.Code != 404 {
				t.Errorf("%s: %d\n%s", target, a.Code, a.body)
			}
		}
		if ids(bobs)[1] != his || strings.Contains(bobs.get("/account/security").body, "<bdi>mine</bdi>") {
			t.Error("bob's passkey has changed")
		}
	})
}

// Administrators see what people have and take it away: of somebody who lost it.
func TestFactorsForAdministrators(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		u := s.person("jane", "")
		s.withApp("jane")
		s.withPasskeyToo("jane")
		var told []mfa.Change
		s.factors.OnFactorsChanged(func(_ context.Context, _ db.WriteTx, c mfa.Change) error { told = append(told, c); return nil })
		for name, c := range map[string]access.Caller{"nobody": {}, "another person": {Kind: access.Person, ID: "usr_x", Realm: "employees"}} {
			s.caller = c
			for _, target := range []string{"/api/users/" + u.ID + "/factors"} {
				if a := s.browser().get(target); a.Code != 401 && a.Code != 403 {
					t.Errorf("%s reads: %d", name, a.Code)
				}
				if a := s.browser().do("DELETE", target, nil); a.Code != 401 && a.Code != 403 {
					t.Errorf("%s deletes: %d", name, a.Code)
				}
			}
		}
		s.caller = admin
		a := s.browser().get("/api/users/" + u.ID + "/factors")
		var got struct {
			Items         []struct{ ID, Kind, Name string }
			RecoveryCodes int `json:"recovery_codes"`
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || len(got.Items) != 2 || got.RecoveryCodes != 10 {
			t.Fatalf("%d %s", a.Code, a.body)
		}
		if a := s.browser().do("DELETE", "/api/users/"+u.ID+"/factors/fac_unknown", nil); a.Code != 404 {
			t.Errorf("an unknown factor: %d", a.Code)
		}
		if a := s.browser().do("DELETE", "/api/users/"+u.ID+"/factors/"+got.Items[0].ID, nil); a.Code != 204 {
			t.Errorf("remove one: %d %s", a.Code, a.body)
		}
		if a := s.browser().do("DELETE", "/api/users/"+u.ID+"/factors", nil); a.Code != 204 {
			t.Errorf("remove the rest: %d %s", a.Code, a.body)
		}
		if a := s.browser().do("DELETE", "/api/users/"+u.ID+"/factors", nil); a.Code != 409 {
			t.Errorf("remove nothing: %d %s", a.Code, a.body)
		}
		if len(told) != 2 || told[0].What != mfa.Removed || told[0].By.ID != admin.ID || told[0].User.ID != u.ID {
			t.Errorf("told %+v", told)
		}
		s.browser().signIn("/login", "jane", janes).leads(t, "/account")
		if got := s.events("factor.remove"); len(got) != 2 || !strings.HasPrefix(got[0], "success") {
			t.Errorf("events %q", got)
		}
		if err := s.d.Read(ctx, func(tx db.ReadTx) error {
			f, err := mfa.Load(ctx, tx, u.ID)
			if err != nil || f.Codes != 0 || f.Second() {
				t.Errorf("left %+v, %v", f, err)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// The gate itself: no session begins with less than the person has, whoever asks for it.
func TestAdmit(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane := s.person("jane", "")
		check := func(u identity.User, amr []string, want error) {
			t.Helper()
			if err := s.d.Read(ctx, func(tx db.ReadTx) error { return s.factors.Admit(ctx, tx, u, amr) }); fault.Code(err) != fault.Code(want) {
				t.Errorf("%s by %v: %v", u.Username, amr, err)
			}
		}
		check(jane, []string{"pwd"}, nil)
		s.withApp("jane")
		check(jane, []string{"pwd"}, mfa.ErrSecondFactor)
		check(jane, []string{"pwd", "otp", "mfa"}, nil)
		check(identity.User{ID: "usr_1", Realm: "employees", Admin: true}, []string{"pwd"}, mfa.ErrSecondFactor)
		check(identity.User{ID: "usr_1", Realm: "customers"}, []string{"pwd"}, mfa.ErrSecondFactor)
		check(identity.User{ID: "usr_1", Realm: "customers"}, []string{"hwk", "user", "mfa"}, nil)
	})
}

// Of a person who is removed nothing is left to sign in with.
func TestRemovedPersonLeavesNoFactors(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		u := s.person("jane", "")
		s.withApp("jane")
		s.withPasskeyToo("jane")
		s.write(func(tx db.WriteTx) error { return s.dir.RemovePerson(ctx, tx, admin, u.ID) })
		if err := s.d.Read(ctx, func(tx db.ReadTx) error {
			for _, table := range []string{"passkeys", "totp_factors", "recovery_codes", "known_devices", "factor_attempts"} {
				var n int
				if err := tx.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n); err != nil || n != 0 {
					t.Errorf("%s: %d left, %v", table, n, err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// A session that has ended on another node changes nothing of what its person signs in with, and no change brings it back,
// before this node has heard of the end: no feed runs here, so it never does.
func TestB8_162_EndedSessionAddsNothing(t *testing.T) {
	twoSites(t, func(t *testing.T, sites []*site) {
		s, other := sites[0], sites[1]
		s.person("jane", "")
		thief := s.browser()
		thief.signIn("/login", "jane", janes).leads(t, "/account")
		security := thief.get("/account/security")
		thief.post(security, "/account/security/app").leads(t, "/account/security/app")
		page := thief.get("/account/security/app")
		app := page.scan(t)
		jane := other.browser()
		jane.signIn("/login", "jane", janes).leads(t, "/account")
		jane.post(jane.get("/account/sessions"), "/account/sessions/end", "others", "1").leads(t, "/account/sessions?done=others")
		if !thief.signedIn() {
			t.Fatal("this node knows already: the test shows nothing")
		}
		for target, pairs := range map[string][]string{
			"/account/security/app/confirm": {"code", app.code(s.clock.Now())}, "/account/security/app": nil, "/account/security/codes": nil, "/account/security/passkeys/options": nil,
		} {
			if a := thief.post(page, target, pairs...); a.Code != 403 {
				t.Errorf("%s: %d\n%s", target, a.Code, a.body)
			}
		}
		s.browser().signIn("/login", "jane", janes).leads(t, "/account") // no second factor was planted
	})
}

// To add a factor is no login: how long ago the person proved to be it does not begin anew with it.
func TestAddedFactorIsNoLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		s.clock.Advance(4 * time.Minute)
		b.post(b.get("/account/security"), "/account/security/app").leads(t, "/account/security/app")
		page := b.get("/account/security/app")
		app := page.scan(t)
		old := b.cookies["__Host-mintmark-session"]
		b.post(page, "/account/security/app/confirm", "code", app.code(s.clock.Now())).codes(t)
		if b.cookies["__Host-mintmark-session"] == old {
			t.Error("the session has its old secret")
		}
		if a := b.post(b.get("/account/security"), "/account/security/codes"); a.Code != 200 {
			t.Errorf("at once: %d\n%s", a.Code, a.body)
		}
		s.clock.Advance(2 * time.Minute)
		if a := b.post(b.get("/logout"), "/account/security/codes"); a.Code != 403 {
			t.Errorf("six minutes after the login: %d\n%s", a.Code, a.body)
		}
	})
}

// What is no text never reaches the database, which would make a fault of ours of it.
func TestFormsThatAreNoText(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		b, _, _ := s.withApp("jane")
		page := b.get("/account/security")
		for _, bad := range []string{"fac_\x00", "\xff", "ses_\xc3"} {
			for _, target := range []string{"/account/security/factors/remove", "/account/security/passkeys/rename", "/account/sessions/end", "/account/devices/forget"} {
				if a := b.post(page, target, "id", bad, "name", "x"); a.Code != 400 {
					t.Errorf("%s %q: %d", target, bad, a.Code)
				}
			}
			out := s.browser()
			if a := out.post(out.get("/login"), "/login", "realm", "employees", "username", bad, "password", bad); a.Code != 400 {
				t.Errorf("login %q: %d", bad, a.Code)
			}
		}
	})
}
