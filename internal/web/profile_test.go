package web_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

// verified is a member whose address is known to be hers.
func (s *site) verified(name, email string) identity.User {
	s.t.Helper()
	u := s.member("employees", name, email, janes)
	s.write(func(tx db.WriteTx) error {
		p, err := identity.LoadPerson(ctx, tx, u.ID)
		if err != nil {
			return err
		}
		return identity.MarkEmailVerified(ctx, tx, callerOf(u), p, email)
	})
	return u
}

func TestProfile(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane := s.verified("jane", "jane@example.org")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		page := b.get("/account/profile")
		for _, want := range []string{`value="jane"`, "jane@example.org", "confirmed", `id="profile-change-email"`, `<option value="de" lang="de">Deutsch</option>`} {
			if page.Code != 200 || !strings.Contains(page.body, want) {
				t.Errorf("the profile lacks %q (%d):\n%s", want, page.Code, page.body)
			}
		}
		b.send("/account/profile", "/account/profile", url.Values{"display_name": {" Jane Doe "}, "phone": {"+49 30 1"}, "address": {"Street 1\r\nBerlin"}, "language": {"de"}}).leads(t, "/account/profile?done=saved")
		if p := s.load(jane.ID); p.DisplayName != "Jane Doe" || p.Phone != "+49 30 1" || p.Address != "Street 1\nBerlin" || p.Username != "jane" || p.Email != "jane@example.org" || p.EmailVerified.IsZero() {
			t.Errorf("%+v", p)
		}
		letters := func() (tag string) {
			t.Helper()
			if err := s.d.Read(ctx, func(tx db.ReadTx) error {
				return tx.QueryRow(ctx, `SELECT language FROM mail_languages WHERE user_id = $1`, jane.ID).Scan(&tag)
			}); err != nil {
				t.Fatal(err)
			}
			return tag
		}
		if tag := letters(); tag != "de" {
			t.Errorf("letters to somebody who chose de are in %q", tag)
		}
		if a := b.get("/account/profile?done=saved"); !strings.Contains(a.body, `<html lang="de">`) || !strings.Contains(a.body, "Ihr Profil wurde gespeichert.") || !strings.Contains(a.body, `lang="de" selected`) {
			t.Errorf("not saved, or not in German:\n%s", a.body)
		}
		// A browser in which nobody has chosen a language speaks hers.
		other := s.browser()
		other.signIn("/login", "jane", janes).leads(t, "/account")
		if a := other.get("/account"); !strings.Contains(a.body, `<html lang="de">`) {
			t.Errorf("another browser speaks otherwise:\n%.300s", a.body)
		}
		if tag := letters(); tag != "de" {
			t.Errorf("after signing in there, letters are in %q", tag)
		}
		// What nobody may say of itself is no field, whatever is sent.
		b.send("/account/profile", "/account/profile", url.Values{"display_name": {"Jane Doe"}, "username": {"root"}, "email": {"other@example.org"}, "admin": {"true"}, "email_verified": {"1"}, "realm": {"customers"}}).leads(t, "/account/profile?done=saved")
		if p := s.load(jane.ID); p.Username != "jane" || p.Email != "jane@example.org" || p.Admin || p.Realm != "employees" || p.Phone != "+49 30 1" {
			t.Errorf("%+v", p)
		}
		for name, form := range map[string]url.Values{"phone": {"phone": {"call me"}}, "name": {"display_name": {""}}, "control": {"display_name": {"a\x01b"}}, "long": {"display_name": {strings.Repeat("x", 3000)}}, "address": {"address": {"a\x07b"}}} {
			if a := b.send("/account/profile", "/account/profile", form); a.Code != 400 || !strings.Contains(a.body, `id="profile-problem"`) {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
		}
		if a := b.do("POST", "/account/profile", url.Values{"display_name": {"x"}}); a.Code != 403 {
			t.Errorf("a form of a stranger: %d", a.Code)
		}
	})
}

// TestB8_153_OwnNameIsText has somebody take a name that would be markup, or a line in a letter's head.
func TestB8_153_OwnNameIsText(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.verified("jane", "jane@example.org")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		b.send("/account/profile", "/account/profile", url.Values{"display_name": {evil}}).leads(t, "/account/profile?done=saved")
		for _, target := range []string{"/account", "/account/profile", "/account/activity", "/account/email", "/mailbox"} {
			if a := b.get(target); a.Code != 200 || strings.Contains(a.body, "<img") || strings.Contains(a.plain(), "<script") {
				t.Errorf("%s (%d):\n%s", target, a.Code, a.body)
			}
		}
		for _, bad := range []string{"Jane\r\nBcc: all@example.org", "Jane\nx", "Jane\u2028x"} {
			if a := b.send("/account/profile", "/account/profile", url.Values{"display_name": {bad}}); a.Code != 400 {
				t.Errorf("%q: %d", bad, a.Code)
			}
		}
		for _, bad := range []string{"a@example.org\r\nBcc: b@example.org", "a@example.org, b@example.org", "A <a@example.org>", "a@", ""} {
			if a := b.send("/account/email", "/account/email", url.Values{"email": {bad}}); a.Code != 400 {
				t.Errorf("%q: %d", bad, a.Code)
			}
		}
		s.askEmail(b, "new@example.org")
		for _, l := range s.letters("email-asked") {
			if text := l.Message.HTML; strings.Contains(text, "<img") || strings.Contains(text, "<script") {
				t.Error(text)
			}
		}
	})
}

func (s *site) askEmail(b *browser, email string) {
	s.t.Helper()
	b.send("/account/email", "/account/email", url.Values{"email": {email}}).leads(s.t, "/account/email?step=asked")
}

func TestChangeOfEmail(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane, b := s.verified("jane", "jane@example.org"), s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		if a := b.send("/account/email", "/account/email", url.Values{"email": {"jane@example.net"}}); a.Code != 400 || !strings.Contains(a.body, "certain domains") {
			t.Errorf("an address of a domain that the realm does not take: %d\n%s", a.Code, a.body)
		}
		s.askEmail(b, "New@Example.org")
		if p := s.load(jane.ID); p.Email != "jane@example.org" {
			t.Fatalf("it counts before anybody confirmed it: %+v", p)
		}
		if l := s.letters("email-asked"); len(l) != 1 || l[0].To != "jane@example.org" || l[0].Link != "" {
			t.Errorf("the present address is told: %+v", l)
		}
		link := s.link("email")
		page := b.open(link)
		if page.Code != 200 || !strings.Contains(page.body, "New@Example.org") || !strings.Contains(page.body, `id="email-confirm"`) {
			t.Fatalf("%d\n%s", page.Code, page.body)
		}
		if p := s.load(jane.ID); p.Email != "jane@example.org" {
			t.Fatal("looking at a link changed something")
		}
		form := url.Values{"csrf": {page.token(t)}, "step": {"open"}}
		b.do("POST", "/account/email", form).leads(t, "/account/profile?done=email")
		if p := s.load(jane.ID); p.Email != "New@Example.org" || p.EmailVerified.IsZero() || p.Username != "jane" {
			t.Errorf("%+v", p)
		}
		if l := s.letters("email-changed"); len(l) != 1 || l[0].To != "jane@example.org" {
			t.Errorf("the address before is told: %+v", l)
		}
		if l := s.letters("verify"); len(l) != 0 {
			t.Errorf("what was just shown is asked again: %+v", l)
		}
		if a := b.open(link); a.Code != 400 || !strings.Contains(a.body, "link_not_valid") {
			t.Errorf("a second time: %d\n%s", a.Code, a.body)
		}
		if a := b.get("/account/activity"); !strings.Contains(a.body, "The e-mail address was changed") || !strings.Contains(a.body, "Another e-mail address was given") {
			t.Errorf("the activity:\n%s", a.body)
		}
	})
}

// TestLinkToAnEmailIsThePersons has a letter go astray: whoever gets it, and is signed in as somebody else or as nobody,
// takes nothing over.
func TestLinkToAnEmailIsThePersons(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane, b := s.verified("jane", "jane@example.org"), s.browser()
		s.verified("eve", "eve@example.org")
		b.signIn("/login", "jane", janes).leads(t, "/account")
		s.askEmail(b, "typo@example.org")
		link := s.link("email")
		stranger := s.browser()
		if a := stranger.get(link); a.Code != 303 || strings.Contains(a.Header().Get("Location"), "token") {
			t.Fatalf("%d to %s", a.Code, a.Header().Get("Location"))
		}
		stranger.get("/account/email?step=open").leads(t, "/login?return_to=%2Faccount%2Femail%3Fstep%3Dopen")
		stranger.signIn("/login", "eve", janes).leads(t, "/account")
		if a := stranger.get("/account/email?step=open"); a.Code != 400 || strings.Contains(a.body, "jane") {
			t.Errorf("the page for another: %d\n%s", a.Code, a.body)
		}
		if a := stranger.send("/account/profile", "/account/email", url.Values{"step": {"open"}}); a.Code != 400 {
			t.Errorf("the form of another: %d\n%s", a.Code, a.body)
		}
		if p := s.load(jane.ID); p.Email != "jane@example.org" {
			t.Errorf("%+v", p)
		}
	})
}

// TestB8_162_EmailNeedsAFreshLogin holds that a session alone, which may be stolen, gives nobody another address, and so no
// way to a new password.
func TestB8_162_EmailNeedsAFreshLogin(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.verified("jane", "jane@example.org")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		s.clock.Advance(6 * time.Minute)
		b.get("/account/email").leads(t, "/login?step=again&return_to=%2Faccount%2Femail")
		if a := b.send("/account/profile", "/account/email", url.Values{"email": {"new@example.org"}}); a.Code != 403 || !strings.Contains(a.body, "login_too_old") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		if l := s.letters("email"); len(l) != 0 {
			t.Errorf("a letter went out: %+v", l)
		}
	})
}

// TestEmailLinksDie has something change between a link and its use, and two links race.
func TestEmailLinksDie(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane, b := s.verified("jane", "jane@example.org"), s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		s.askEmail(b, "one@example.org")
		one := s.link("email")
		s.askEmail(b, "two@example.org")
		two := s.link("email")
		page := b.open(one)
		b.do("POST", "/account/email", url.Values{"csrf": {page.token(t)}, "step": {"open"}}).leads(t, "/account/profile?done=email")
		if a := b.open(two); a.Code != 400 {
			t.Errorf("the address has changed, and the other link is good: %d", a.Code)
		}
		s.askEmail(b, "three@example.org")
		three := s.link("email")
		s.write(func(tx db.WriteTx) error { return s.dir.ChangeEmail(ctx, tx, admin, jane.ID, "admins@example.org") })
		if a := b.open(three); a.Code != 400 {
			t.Errorf("an administrator changed the address, and the link is good: %d", a.Code)
		}
		if l := s.letters("email-changed"); len(l) != 2 || l[0].To != "one@example.org" || !strings.Contains(strings.Join(l[0].Lines, " "), "administrator") {
			t.Errorf("the address before is told who did it: %+v", l)
		}
		// A fourth letter within the hour is written for nobody, and the answer is the same.
		s.askEmail(b, "four@example.org")
		if l := s.letters("email"); len(l) != 3 {
			t.Errorf("%d letters", len(l))
		}
	})
}

// TestB8_147_EmailOfAnother asks for an address that somebody has: the answer is the same, and the address stays.
func TestB8_147_EmailOfAnother(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.verified("jane", "jane@example.org")
		eve, b := s.verified("eve", "eve@example.org"), s.browser()
		b.signIn("/login", "eve", janes).leads(t, "/account")
		s.askEmail(b, "JANE@example.org")
		if l := s.letters("email-taken"); len(l) != 1 || l[0].To != "JANE@example.org" || strings.Contains(l[0].Link, "token") {
			t.Errorf("%+v", l)
		}
		if l := s.letters("email"); len(l) != 0 {
			t.Errorf("a link went out: %+v", l)
		}
		// Somebody takes it between letter and link.
		s.askEmail(b, "free@example.org")
		link := s.link("email")
		s.verified("mallory", "free@example.org")
		page := b.open(link)
		if a := b.do("POST", "/account/email", url.Values{"csrf": {page.token(t)}, "step": {"open"}}); a.Code != 409 {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		if p := s.load(eve.ID); p.Email != "eve@example.org" {
			t.Errorf("%+v", p)
		}
	})
}

// TestLettersToOneAddress asks from one network for very many letters to one address, in all the ways that there are.
func TestLettersToOneAddress(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		for _, name := range []string{"ann", "ben", "cat"} {
			s.verified(name, name+"@example.org")
			b := s.browser()
			b.signIn("/login", name, janes).leads(t, "/account")
			for range 3 {
				s.askEmail(b, "victim@example.org")
			}
		}
		for _, realm := range []string{"employees", "customers"} {
			for range 3 {
				s.browser().send("/register", "/register", url.Values{"realm": {realm}, "email": {"Victim@Example.org"}}).leads(t, "/register?step=asked")
			}
		}
		if n := len(s.letters("email")) + len(s.letters("register")); n != 3 {
			t.Errorf("%d letters to one address within an hour", n)
		}
		s.clock.Advance(61 * time.Minute)
		s.browser().send("/register", "/register", url.Values{"realm": {"employees"}, "email": {"victim@example.org"}}).leads(t, "/register?step=asked")
		if n := len(s.letters("email")) + len(s.letters("register")); n != 4 {
			t.Errorf("%d letters an hour later", n)
		}
	})
}
