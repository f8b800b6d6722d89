package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/redact"
)

const fresh = "nine green bottles by a door"

// work does the jobs that wait, as a runner would, until there are none.
func (s *site) work() {
	s.t.Helper()
	s.clock.Advance(time.Millisecond) // so that the newest letter is one
	s.rest()
}

func (s *site) rest() {
	s.t.Helper()
	for kind, handle := range map[string]jobs.Handler{account.JobKind: s.accounts.Handle, mail.JobKind: s.outbox.Deliver} {
		for _, key := range s.keys(kind) {
			job := jobs.Job{Kind: kind, Key: key, Epoch: 77}
			s.write(func(tx db.WriteTx) error {
				return db.One(tx.Exec(ctx, `UPDATE jobs SET node = 'test', epoch = 77 WHERE kind = $1 AND key = $2`, kind, key))
			})
			if _, err := handle(ctx, job); err != nil {
				s.t.Fatalf("%s: %v", kind, err)
			}
			s.write(func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, kind, key) })
		}
	}
	if len(s.keys(account.JobKind))+len(s.keys(mail.JobKind)) > 0 {
		s.rest()
	}
}

func (s *site) keys(kind string) (list []string) {
	s.t.Helper()
	if err := s.d.Read(ctx, func(tx db.ReadTx) error {
		list = nil
		rows, err := tx.Query(ctx, `SELECT key FROM jobs WHERE kind = $1 ORDER BY key`, kind)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var key string
			if err := rows.Scan(&key); err != nil {
				return err
			}
			list = append(list, key)
		}
		return rows.Err()
	}); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// letters are those of one kind, the newest first.
func (s *site) letters(kind string) (list []mail.Kept) {
	s.t.Helper()
	s.work()
	if err := s.d.Read(ctx, func(tx db.ReadTx) error {
		all, err := s.outbox.List(ctx, tx)
		list = nil
		for _, l := range all {
			if l.Kind == kind {
				list = append(list, l)
			}
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// link is the path of the newest letter's link.
func (s *site) link(kind string) string {
	s.t.Helper()
	list := s.letters(kind)
	if len(list) == 0 {
		s.t.Fatalf("no letter of kind %s", kind)
	}
	path, ok := strings.CutPrefix(list[0].Link, "https://mint.example.org")
	if !ok {
		s.t.Fatalf("the link leads to %s", list[0].Link)
	}
	return path
}

func (s *site) member(realm, name, email, secret string) (u identity.User) {
	s.t.Helper()
	s.write(func(tx db.WriteTx) (err error) {
		u, err = s.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: realm, Username: name, Email: email}, redact.New(secret))
		return err
	})
	return u
}

func (s *site) load(userID string) (p identity.Person) {
	s.t.Helper()
	if err := s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		p, err = identity.LoadPerson(ctx, tx, userID)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// send gets a page and sends its form.
func (b *browser) send(page, target string, form url.Values, headers ...string) answer {
	b.s.t.Helper()
	form.Set("csrf", b.get(page).token(b.s.t))
	return b.do("POST", target, form, headers...)
}

func (b *browser) askReset(name string, headers ...string) answer {
	b.s.t.Helper()
	return b.send("/reset", "/reset", url.Values{"realm": {"employees"}, "username": {name}}, headers...)
}

// open follows a link, which must lead on without its token.
func (b *browser) open(link string) answer {
	b.s.t.Helper()
	a := b.get(link)
	if to := a.Header().Get("Location"); a.Code != 303 || strings.Contains(to, "token") || a.Header().Get("Referrer-Policy") != "no-referrer" || a.Header().Get("Cache-Control") != "no-store" {
		b.s.t.Fatalf("a link: %d to %q, %v", a.Code, to, a.Header())
	}
	return b.get(a.Header().Get("Location"))
}

func twice(secret string) url.Values {
	return url.Values{"step": {"open"}, "password": {secret}, "again": {secret}}
}

func TestForgottenPassword(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane := s.member("employees", "jane", "jane@example.org", janes)
		b := s.browser()
		if a := b.get("/login"); !strings.Contains(a.body, `id="login-reset"`) || !strings.Contains(a.body, `id="login-register"`) {
			t.Errorf("the login leads to no reset:\n%s", a.body)
		}
		if a := b.askReset("jane"); a.Code != 303 || a.Header().Get("Location") != "/reset?step=asked" {
			t.Fatalf("%d to %s\n%s", a.Code, a.Header().Get("Location"), a.body)
		}
		first := s.link("reset")
		b.askReset("JANE@example.org")
		link := s.link("reset")
		page := b.open(link)
		if page.Code != 200 || !strings.Contains(page.body, `id="reset-submit"`) || !strings.Contains(page.body, "<bdi>jane</bdi>") {
			t.Fatalf("%d\n%s", page.Code, page.body)
		}
		for text, why := range map[string]string{
			"short": "at least 15", "password12345678": "leaked", "iloveyou!!princess1": "leaked", "mintmark-employees-x": "made of the name",
		} {
			form := twice(text)
			form.Set("csrf", page.token(t))
			if a := b.do("POST", "/reset", form); a.Code != 400 || !strings.Contains(a.body, why) || !strings.Contains(a.body, `id="reset-problem"`) {
				t.Errorf("%s: %d\n%s", text, a.Code, a.body)
			}
		}
		form := twice(fresh)
		form.Set("csrf", page.token(t))
		if a := b.do("POST", "/reset", form); a.Code != 303 || a.Header().Get("Location") != "/login?done=reset" {
			t.Fatalf("%d to %s\n%s", a.Code, a.Header().Get("Location"), a.body)
		}
		if a := b.get("/login?done=reset"); !strings.Contains(a.body, `id="login-done"`) {
			t.Error("the login does not say that it is done")
		}
		if p := s.load(jane.ID); p.EmailVerified.IsZero() {
			t.Error("who got the link receives mail there")
		}
		if len(s.letters("password-changed")) != 1 {
			t.Error("no notice of the change")
		}
		for name, used := range map[string]string{"used": link, "older": first} {
			if a := s.browser().get(used); a.Code != 303 {
				t.Fatal(a.Code)
			}
			c := s.browser()
			if a := c.open(used); a.Code != 400 || !strings.Contains(a.body, "link_not_valid") {
				t.Errorf("%s link: %d\n%s", name, a.Code, a.body)
			}
		}
		if a := s.browser().signIn("/login", "jane", janes); a.Code != 401 {
			t.Errorf("the old password: %d", a.Code)
		}
		if a := s.browser().signIn("/login", "jane", fresh); a.Code != 303 {
			t.Errorf("the new password: %d\n%s", a.Code, a.body)
		}
	})
}

func TestB8_143_NobodyLearnsWhoHasAnAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.member("employees", "jane", "jane@example.org", janes)
		s.person("noaddress", "No Address")
		gone := s.member("employees", "gone", "gone@example.org", janes)
		s.write(func(tx db.WriteTx) error { return s.dir.DisablePerson(ctx, tx, admin, gone.ID) })
		seen := map[string][]string{}
		note := func(what, name string, a answer) {
			h := a.Header().Clone()
			h.Del("X-Request-Id")
			h.Del("Set-Cookie")
			h.Del("Date")
			var text strings.Builder
			text.WriteString(http.StatusText(a.Code) + a.body + "\n")
			if err := h.Write(&text); err != nil {
				t.Fatal(err)
			}
			seen[what+" "+name] = append(seen[what], text.String())
			seen[what] = append(seen[what], text.String())
		}
		for _, name := range []string{"jane", "nobody", "gone", "noaddress"} {
			note("reset", name, s.browser().askReset(name))
			note("register", name, s.browser().send("/register", "/register", url.Values{"realm": {"employees"}, "email": {name + "@example.org"}, "return_to": {"/account"}}))
		}
		for _, what := range []string{"reset", "register"} {
			for _, text := range seen[what] {
				if text != seen[what][0] {
					t.Errorf("%s: answers differ:\n%s\n%s", what, text, seen[what][0])
				}
			}
		}
		// Each left one row and one job behind, before anybody looked anything up.
		if n := len(s.keys(account.JobKind)); n != 8 {
			t.Errorf("%d jobs", n)
		}
		if n := len(s.letters("reset")); n != 1 {
			t.Errorf("%d letters with links to reset", n)
		}
		if n := len(s.letters("register")); n != 2 { // nobody and noaddress: accounts of other names
			t.Errorf("%d letters with links to register", n)
		}
		if n := len(s.letters("registered")); n != 1 {
			t.Errorf("%d letters that there is an account", n)
		}
	})
}

func TestB8_157_ResetLetters(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.member("employees", "jane", "jane@example.org", janes)
		var first answer
		for i := range 5 {
			a := s.browser().askReset("jane")
			if i == 0 {
				first = a
			}
			if a.Code != first.Code || a.body != first.body || a.Header().Get("Location") != first.Header().Get("Location") {
				t.Errorf("the answer to request %d differs: %d", i, a.Code)
			}
			s.clock.Advance(time.Minute)
		}
		if n := len(s.letters("reset")); n != 3 {
			t.Errorf("%d letters within the hour", n)
		}
		s.clock.Advance(time.Hour)
		s.browser().askReset("jane")
		if n := len(s.letters("reset")); n != 4 {
			t.Errorf("%d letters after the hour", n)
		}
		for _, name := range []string{"jane@example.org\r\nBcc: eve@example.net", "jane\n", "jane\x00", "jane\u2028x", strings.Repeat("j", 500)} {
			if strings.TrimSpace(name) == "jane" {
				continue
			}
			if a := s.browser().askReset(name); a.Code != 400 {
				t.Errorf("%q: %d", name, a.Code)
			}
			if a := s.browser().send("/register", "/register", url.Values{"realm": {"customers"}, "email": {name}}); a.Code != 400 {
				t.Errorf("register %q: %d", name, a.Code)
			}
		}
		// One address asks for very many.
		b, refused := s.browser(), 0
		for range 30 {
			if a := b.askReset("nobody"); a.Code == 429 {
				refused++
			}
		}
		if refused == 0 {
			t.Error("one address may ask without end")
		}
	})
}

func TestB8_154_LinksLeadToTheIssuer(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.member("employees", "jane", "jane@example.org", janes)
		for _, header := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "Forwarded", "X-Host", "X-Original-Host"} {
			value := map[string]string{"Forwarded": "host=evil.example;proto=http", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "6666"}[header]
			if value == "" {
				value = "evil.example"
			}
			s.browser().askReset("jane", header, value)
			s.clock.Advance(time.Hour)
			l := s.letters("reset")[0]
			if !strings.HasPrefix(l.Link, "https://mint.example.org/reset?token=mmw_") || strings.Contains(l.Message.Text+l.Message.HTML, "evil") {
				t.Errorf("%s: %s", header, l.Link)
			}
		}
	})
}

func TestB8_158_LinksAreOfOnePurposeOnceAndOfTheirTime(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane := s.member("employees", "jane", "jane@example.org", janes)
		ask := func() string {
			s.clock.Advance(time.Hour)
			s.browser().askReset("jane")
			return s.link("reset")
		}
		try := func(name, link string) {
			t.Helper()
			b := s.browser()
			if a := b.open(link); a.Code != 400 || !strings.Contains(a.body, "link_not_valid") {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
		}
		link := ask()
		token := strings.TrimPrefix(link, "/reset?token=")
		for _, path := range []string{"/verify", "/invitation", "/register"} {
			try("another purpose "+path, path+"?token="+token)
		}
		try("altered", "/reset?token="+token[:len(token)-3]+"AAA")
		try("empty", "/reset?token=")
		try("two of them", "/reset?token=x&token="+token)
		s.clock.Advance(30 * time.Minute)
		try("at its exact end", link)

		link = ask()
		s.clock.Advance(30*time.Minute - time.Second)
		if a := s.browser().open(link); a.Code != 200 {
			t.Errorf("a second before its end: %d", a.Code)
		}
		link = ask()
		s.write(func(tx db.WriteTx) error { return s.dir.ChangeEmail(ctx, tx, admin, jane.ID, "jane2@example.org") })
		try("another address", link)
		link = ask()
		s.write(func(tx db.WriteTx) error { return s.dir.SetPassword(ctx, tx, admin, jane.ID, redact.New(wrong)) })
		try("another password", link)
		link = ask()
		s.write(func(tx db.WriteTx) error { return s.dir.DisablePerson(ctx, tx, admin, jane.ID) })
		try("disabled", link)
		s.write(func(tx db.WriteTx) error { return s.dir.EnablePerson(ctx, tx, admin, jane.ID) })
		try("enabled again", link)

		// Two at once: one wins.
		link = ask()
		one, two := s.browser(), s.browser()
		f1, f2 := twice(fresh), twice(fresh+" too")
		f1.Set("csrf", one.open(link).token(t))
		f2.Set("csrf", two.open(link).token(t))
		codes := make(chan int, 2)
		for b, f := range map[*browser]url.Values{one: f1, two: f2} {
			go func() { codes <- b.do("POST", "/reset", f).Code }()
		}
		if a, b := <-codes, <-codes; a+b != 303+400 {
			t.Errorf("two uses at once: %d and %d", a, b)
		}
	})
}

func TestRegistration(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		b := s.browser()
		to := "/oauth2/authorize?client_id=shop&realm=employees"
		at := "/register?return_to=" + url.QueryEscape(to) + "&login_hint=" + url.QueryEscape("new@example.org")
		page := b.get(at)
		if page.Code != 200 || !strings.Contains(page.body, `value="new@example.org"`) || !strings.Contains(page.body, `id="register-submit"`) {
			t.Fatalf("%d\n%s", page.Code, page.body)
		}
		ask := func(email string) answer {
			return b.send(at, "/register", url.Values{"realm": {"employees"}, "email": {email}, "return_to": {to}})
		}
		if a := ask("new@evil.example"); a.Code != 403 || !strings.Contains(a.body, "certain domains") {
			t.Errorf("another domain: %d\n%s", a.Code, a.body)
		}
		if a := ask("new@example.org"); a.Code != 303 {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		link := s.link("register")
		if a := b.open(link); a.Code != 200 || !strings.Contains(a.body, "new@example.org") {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		finish := func(username, name string) answer {
			f := twice(fresh)
			f.Set("username", username)
			f.Set("display_name", name)
			return b.send("/register?step=open", "/register", f)
		}
		s.member("employees", "taken", "else@example.org", janes)
		for _, x := range []struct {
			what, username, name string
			code                 int
		}{
			{"B8.147 a username that is another's", "Taken", "New", 409},
			{"B8.147 a username that is another's address", "else@example.org", "New", 409},
			{"B8.148 full width of another's name", "ｔａｋｅｎ", "New", 409},
			{"B8.148 mixed alphabets", "tаken", "New", 400},
			{"B8.148 NUL", "new\x00", "New", 400},
			{"B8.148 bidi", "new\u202egnp", "New", 400},
			{"B8.148 trailing dot", "new.", "New", 400},
			{"B8.148 very long", strings.Repeat("n", 10_000), "New", 400},
			{"B8.148 bidi in the name to show", "newcomer", "New\u202eweN", 400},
		} {
			if a := finish(x.username, x.name); a.Code != x.code {
				t.Errorf("%s: %d\n%s", x.what, a.Code, a.body)
			}
		}
		if a := finish("newcomer", `<img src=x onerror=alert(1)>`); a.Code != 303 || a.Header().Get("Location") != to {
			t.Fatalf("%d to %s\n%s", a.Code, a.Header().Get("Location"), a.body)
		}
		// B8.153: what the person calls itself is text.
		if a := b.get("/account"); a.Code != 200 || strings.Contains(a.body, "<img") || !strings.Contains(a.body, "&lt;img") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		if a := s.browser().open(link); a.Code != 400 {
			t.Errorf("the link again: %d", a.Code)
		}
		if a := s.browser().signIn("/login", "new@example.org", fresh); a.Code != 303 {
			t.Errorf("login by the address: %d", a.Code)
		}
		// The realm customers wants a second factor, which registering does not skip.
		c := s.browser()
		c.send("/register", "/register", url.Values{"realm": {"customers"}, "email": {"c@example.net"}})
		c.open(s.link("register"))
		f := twice(fresh)
		f.Set("display_name", "C")
		if a := c.send("/register?step=open", "/register", f); a.Code != 303 || a.Header().Get("Location") != "/login/enrol" {
			t.Errorf("%d to %s", a.Code, a.Header().Get("Location"))
		}
	})
}

func TestInvitation(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.caller = admin
		jane := s.member("employees", "jane", "jane@example.org", "")
		invite := func(id string) answer { return s.browser().do("POST", "/api/users/"+id+"/invitation", nil) }
		if a := invite(jane.ID); a.Code != 201 || !strings.Contains(a.body, `"sent":true`) || strings.Contains(a.body, "mmw_") {
			t.Fatalf("%d %s", a.Code, a.body)
		}
		b := s.browser()
		if a := b.open(s.link("invite")); a.Code != 200 || !strings.Contains(a.body, `id="invitation-submit"`) {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		if a := b.send("/invitation?step=open", "/invitation", twice(fresh)); a.Code != 303 || a.Header().Get("Location") != "/account" {
			t.Fatalf("%d to %s\n%s", a.Code, a.Header().Get("Location"), a.body)
		}
		if a := b.get("/account"); a.Code != 200 || s.load(jane.ID).EmailVerified.IsZero() {
			t.Errorf("%d", a.Code)
		}
		if a := invite(jane.ID); a.Code != 409 || !strings.Contains(a.body, "has_password") {
			t.Errorf("invited again: %d %s", a.Code, a.body)
		}
		// Without an address the administrator gets the link, which verifies none.
		joe := s.member("employees", "joe", "", "")
		a := invite(joe.ID)
		m := regexp.MustCompile(`https://mint\.example\.org(/invitation\?token=[A-Za-z0-9_-]+)`).FindStringSubmatch(a.body)
		if a.Code != 201 || m == nil {
			t.Fatalf("%d %s", a.Code, a.body)
		}
		s.write(func(tx db.WriteTx) error {
			return s.dir.UpdatePerson(ctx, tx, admin, joe.ID, identity.PersonUpdate{Phone: ptr("+41 31 555 01 01")})
		})
		c := s.browser()
		c.open(m[1])
		if a := c.send("/invitation?step=open", "/invitation", twice(fresh)); a.Code != 303 || !s.load(joe.ID).EmailVerified.IsZero() {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		s.caller = access.Caller{Kind: access.Person, ID: jane.ID, Name: "jane", Realm: "employees"}
		if a := invite(joe.ID); a.Code != 403 {
			t.Errorf("by somebody who may not: %d", a.Code)
		}
	})
}

func ptr(s string) *string { return &s }

func TestVerification(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane := s.member("employees", "jane", "jane@example.org", janes)
		b := s.browser()
		if a := b.signIn("/login", "jane", wrong); a.Code != 401 || len(s.letters("verify")) != 0 {
			t.Errorf("a wrong password: %d", a.Code)
		}
		if a := b.signIn("/login", "jane", janes); a.Code != 403 || !strings.Contains(a.body, "Confirm your e-mail address") {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		link := s.link("verify")
		if a := b.open(link); a.Code != 200 || !strings.Contains(a.body, `id="verify-submit"`) || !s.load(jane.ID).EmailVerified.IsZero() {
			t.Fatalf("looking at the link: %d\n%s", a.Code, a.body)
		}
		if a := b.send("/verify?step=open", "/verify", url.Values{"step": {"open"}}); a.Code != 303 || a.Header().Get("Location") != "/verify?step=done" {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		if a := b.get("/verify?step=done"); a.Code != 200 || !strings.Contains(a.body, `id="verify-done"`) {
			t.Errorf("%d", a.Code)
		}
		if a := b.signIn("/login", "jane", janes); a.Code != 303 {
			t.Fatalf("%d\n%s", a.Code, a.body)
		}
		s.clock.Advance(time.Minute)
		// Another address is not verified; its person is asked at once, and the session goes on.
		s.write(func(tx db.WriteTx) error {
			return s.dir.UpdatePerson(ctx, tx, admin, jane.ID, identity.PersonUpdate{Email: ptr("other@example.org")})
		})
		if p := s.load(jane.ID); p.Email != "other@example.org" || !p.EmailVerified.IsZero() {
			t.Errorf("%+v", p)
		}
		if l := s.letters("verify"); len(l) != 2 || l[0].To != "other@example.org" {
			t.Errorf("%d letters", len(l))
		}
		if a := b.send("/verify", "/verify", url.Values{}); a.Code != 303 || a.Header().Get("Location") != "/verify?step=asked" || len(s.letters("verify")) != 3 {
			t.Errorf("%d to %s\n%s", a.Code, a.Header().Get("Location"), a.body)
		}
	})
}

func TestTheMailbox(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.member("employees", "jane", "jane@example.org", janes)
		if a := s.browser().get("/mailbox"); a.Code != 200 || !strings.Contains(a.body, `id="mailbox-empty"`) {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
		s.browser().askReset("jane")
		s.work()
		if a := s.browser().get("/mailbox"); a.Code != 200 || !strings.Contains(a.body, "Choose a new password") || !strings.Contains(a.body, "/reset?token=mmw_") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
	})
}
