package web_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"html"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// phone is an authenticator app. It is written anew here, so that it agrees with the standard and not with our code.
type phone struct{ seed []byte }

func (p phone) code(at time.Time) string {
	h := hmac.New(sha1.New, p.seed)
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[19]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

var (
	secretField = regexp.MustCompile(`id="totp-secret"[^>]*>([A-Z2-7]+)<`)
	codeItem    = regexp.MustCompile(`<li><code>([0-9a-z-]{34})</code></li>`)
	removeField = regexp.MustCompile(`factors/remove"><input[^>]*><input type="hidden" name="id" value="(fac_[0-9a-z]+)"`)
)

// scan puts the key that a page shows into an app.
func (a answer) scan(t testing.TB) phone {
	t.Helper()
	m := secretField.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no key on the page (%d):\n%s", a.Code, a.body)
	}
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(m[1])
	if err != nil || len(seed) != 20 {
		t.Fatalf("key %q: %v", m[1], err)
	}
	if !strings.Contains(a.body, `<svg xmlns`) || !strings.Contains(html.UnescapeString(a.body), "otpauth://totp/mintmark:") {
		t.Errorf("no picture or address:\n%s", a.body)
	}
	return phone{seed}
}

// codes are the recovery codes that a page shows.
func (a answer) codes(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, m := range codeItem.FindAllStringSubmatch(a.body, -1) {
		out = append(out, m[1])
	}
	if a.Code != 200 || len(out) != 10 {
		t.Fatalf("%d codes on the page (%d):\n%s", len(out), a.Code, a.body)
	}
	return out
}

func (b *browser) post(from answer, target string, pairs ...string) answer {
	b.s.t.Helper()
	form := url.Values{"csrf": {from.token(b.s.t)}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.do("POST", target, form)
}

func (a answer) leads(t testing.TB, to string) {
	t.Helper()
	if a.Code != 303 || a.Header().Get("Location") != to {
		t.Fatalf("%d to %q, not to %q\n%s", a.Code, a.Header().Get("Location"), to, a.body)
	}
}

// withApp signs a person in and sets up an app for it.
func (s *site) withApp(name string) (*browser, phone, []string) {
	s.t.Helper()
	b := s.browser()
	b.signIn("/login", name, janes).leads(s.t, "/account")
	b.post(b.get("/account/security"), "/account/security/app").leads(s.t, "/account/security/app")
	page := b.get("/account/security/app")
	app := page.scan(s.t)
	codes := b.post(page, "/account/security/app/confirm", "code", app.code(s.clock.Now())).codes(s.t)
	return b, app, codes
}

// withPasskey signs a person in and adds a passkey.
func (s *site) withPasskey(name string) (*browser, *authenticator) {
	s.t.Helper()
	b, key := s.browser(), s.authenticator()
	b.signIn("/login", name, janes).leads(s.t, "/account")
	page := b.get("/account/security")
	b.post(page, "/account/security/passkeys", "name", "My laptop", "credential", key.create(b.options(page, "/account/security/passkeys/options"))).codes(s.t)
	return b, key
}

// withPasskeyToo adds a passkey to somebody who has an app, by its owner's hands.
func (s *site) withPasskeyToo(name string) {
	s.t.Helper()
	key := s.authenticator()
	var u identity.User
	if err := s.d.Read(ctx, func(tx db.ReadTx) (err error) { u, err = identity.FindUser(ctx, tx, "employees", name); return err }); err != nil {
		s.t.Fatal(err)
	}
	browser := redact.New("a browser")
	options, err := s.factors.RegisterOptions(ctx, u, browser, identity.Origin{})
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.factors.AddPasskey(ctx, access.Caller{Kind: access.Person, ID: u.ID}, u, browser, key.create(options), "Key"); err != nil {
		s.t.Fatal(err)
	}
}

func (b *browser) signedIn() bool { return b.get("/account").Code == 200 }

func (s *site) events(action string) (list []string) {
	s.t.Helper()
	if err := s.d.Read(ctx, func(tx db.ReadTx) error {
		rows, err := tx.Query(ctx, `SELECT outcome || ' ' || details FROM audit_events WHERE action = $1 ORDER BY id`, action)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e string
			if err := rows.Scan(&e); err != nil {
				return err
			}
			list = append(list, e)
		}
		return rows.Err()
	}); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// next waits for what OnRefused is told, which no answer waits for.
func (s *site) next(want string) {
	s.t.Helper()
	select {
	case got := <-s.refused:
		if got != want {
			s.t.Errorf("refused %q, not %q", got, want)
		}
	case <-time.After(10 * time.Second):
		s.t.Errorf("nobody was told of %q", want)
	}
}

// The way of a person with an app: set up, signed in with, and every recovery code once.
func TestSignInWithAnApp(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "Jane Doe")
		b, app, codes := s.withApp("jane")
		if a := b.get("/account"); !strings.Contains(a.body, "password, one-time code") {
			t.Errorf("the session does not know of the app:\n%s", a.body)
		}
		s.clock.Advance(time.Minute)
		fresh := s.browser()
		fresh.signIn("/login?return_to=/account/sessions", "jane", janes).leads(t, "/login/verify")
		page := fresh.get("/login/verify")
		for _, id := range []string{`id="totp-code"`, `id="totp-submit"`, `id="recovery-code"`, "Jane Doe"} {
			if !strings.Contains(page.body, id) {
				t.Errorf("the page lacks %s:\n%s", id, page.body)
			}
		}
		if strings.Contains(page.body, "passkey-verify") {
			t.Error("it asks for a passkey that she does not have")
		}
		fresh.post(page, "/login/verify", "code", app.code(s.clock.Now())).leads(t, "/account/sessions")
		if !fresh.signedIn() || fresh.cookies["__Host-mintmark-login"] != "" {
			t.Errorf("cookies %v", fresh.cookies)
		}
		other := s.browser()
		other.signIn("/login", "jane", janes).leads(t, "/login/verify")
		other.post(other.get("/login/verify"), "/login/verify", "recovery", " "+strings.ToUpper(codes[3])+" ").leads(t, "/account")
		if a := other.get("/account/security"); !strings.Contains(a.body, "9 left") {
			t.Errorf("how many codes are left:\n%s", a.body)
		}
		if got := s.events("factor.use"); len(got) != 1 || !strings.Contains(got[0], "recovery_codes") {
			t.Errorf("events %q", got)
		}
	})
}

// A code is good once, in one form, and not after a later one.
func TestB8_159_CodesAreGoodOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		_, app, _ := s.withApp("jane")
		s.clock.Advance(2 * time.Minute)
		now := s.clock.Now()
		code := app.code(now)
		b := s.browser()
		b.signIn("/login", "jane", janes)
		b.post(b.get("/login/verify"), "/login/verify", "code", code).leads(t, "/account")
		wide := strings.Map(func(r rune) rune { return r - '0' + '０' }, code)
		for name, typed := range map[string]string{
			"again": code, "with spaces": code[:3] + " " + code[3:], "full-width digits": wide, "the step before": app.code(now.Add(-30 * time.Second)),
		} {
			s.clock.Advance(time.Nanosecond)
			b := s.browser()
			b.signIn("/login", "jane", janes)
			if a := b.post(b.get("/login/verify"), "/login/verify", "code", typed); a.Code != 401 || !strings.Contains(a.body, `id="verify-problem"`) || b.signedIn() {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
			s.next("session.begin wrong_code")
		}
		b = s.browser()
		b.signIn("/login", "jane", janes)
		b.post(b.get("/login/verify"), "/login/verify", "code", app.code(now.Add(30*time.Second))).leads(t, "/account")
		// The code that set the app up signs nobody in.
		s.person("bob", "")
		_, app, _ = s.withApp("bob")
		b = s.browser()
		b.signIn("/login", "bob", janes)
		if a := b.post(b.get("/login/verify"), "/login/verify", "code", app.code(s.clock.Now())); a.Code != 401 {
			t.Errorf("the code of the set-up: %d", a.Code)
		}
	})
}

// A login of which only the password was right opens nothing but its next step.
func TestB8_161_HalfALoginIsNoSession(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		_, app, _ := s.withApp("jane")
		s.clock.Advance(time.Minute)
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/login/verify")
		half := b.cookies["__Host-mintmark-login"]
		if half == "" || b.cookies["__Host-mintmark-session"] != "" || b.cookies["__Host-mintmark-device"] != "" {
			t.Fatalf("cookies %v", b.cookies)
		}
		for _, page := range []string{"/account", "/account/security", "/account/password", "/account/sessions"} {
			if a := b.get(page); a.Code != 303 || !strings.HasPrefix(a.Header().Get("Location"), "/login?") {
				t.Errorf("%s: %d", page, a.Code)
			}
		}
		verify := b.get("/login/verify")
		for _, target := range []string{"/account/security/app", "/account/security/codes", "/account/sessions/end", "/account/password", "/account/security/factors/remove"} {
			if a := b.post(verify, target); a.Code != 303 || !strings.HasPrefix(a.Header().Get("Location"), "/login?") {
				t.Errorf("%s: %d", target, a.Code)
			}
		}
		// Its cookie is no session's, whatever name it goes by; nor is it good in another step.
		thief := s.browser()
		thief.cookies["__Host-mintmark-session"] = half
		if thief.signedIn() {
			t.Error("the cookie is a session")
		}
		if a := b.post(verify, "/login/enrol", "code", app.code(s.clock.Now())); a.Code != 400 || !strings.Contains(a.body, "login_over") {
			t.Errorf("another step: %d\n%s", a.Code, a.body)
		}
		if a := b.get("/login/enrol"); a.Code != 303 {
			t.Errorf("another step's page: %d", a.Code)
		}
		// A form of another browser does not take it on.
		thief = s.browser()
		thief.cookies["__Host-mintmark-login"] = half
		if a := thief.do("POST", "/login/verify", url.Values{"csrf": {verify.token(t)}, "code": {app.code(s.clock.Now())}}); a.Code != 403 {
			t.Errorf("another browser's form: %d", a.Code)
		}
		// Used once, and only in time.
		b.post(verify, "/login/verify", "code", app.code(s.clock.Now())).leads(t, "/account")
		s.clock.Advance(time.Minute)
		again := s.browser()
		again.cookies["__Host-mintmark-login"] = half
		if a := again.post(again.get("/login"), "/login/verify", "code", app.code(s.clock.Now())); a.Code != 400 || again.signedIn() {
			t.Errorf("a used step: %d", a.Code)
		}
		late := s.browser()
		late.signIn("/login", "jane", janes)
		page := late.get("/login/verify")
		s.clock.Advance(5 * time.Minute)
		if a := late.post(page, "/login/verify", "code", app.code(s.clock.Now())); a.Code != 400 || late.signedIn() {
			t.Errorf("a late step: %d", a.Code)
		}
	})
}

// A step that is under way is over with a new password, and with the person.
func TestHalfALoginEndsWithThePassword(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		for what, change := range map[string]func(tx db.WriteTx, u identity.User) error{
			"password": func(tx db.WriteTx, u identity.User) error {
				return s.dir.SetPassword(ctx, tx, admin, u.ID, redact.New(wrong))
			},
			"disabled": func(tx db.WriteTx, u identity.User) error { return s.dir.DisablePerson(ctx, tx, admin, u.ID) },
		} {
			u := s.person("p-"+what, "")
			_, app, _ := s.withApp("p-" + what)
			s.clock.Advance(time.Minute)
			b := s.browser()
			b.signIn("/login", "p-"+what, janes).leads(t, "/login/verify")
			page := b.get("/login/verify")
			s.write(func(tx db.WriteTx) error { return change(tx, u) })
			if a := b.post(page, "/login/verify", "code", app.code(s.clock.Now())); a.Code != 400 || b.signedIn() {
				t.Errorf("%s: %d\n%s", what, a.Code, a.body)
			}
		}
	})
}

// Nobody gets to the end by posting its form first.
func TestB8_156_StepsAreNotSkipped(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		_, app, codes := s.withApp("jane")
		s.clock.Advance(time.Minute)
		b := s.browser()
		page := b.get("/login")
		for name, pairs := range map[string][]string{"code": {"code", app.code(s.clock.Now())}, "recovery": {"recovery", codes[0]}, "nothing": nil, "passkey": {"credential", "{}"}} {
			for _, target := range []string{"/login/verify", "/login/enrol"} {
				if a := b.post(page, target, pairs...); a.Code != 400 || b.signedIn() {
					t.Errorf("%s to %s: %d\n%s", name, target, a.Code, a.body)
				}
			}
		}
		// What she has is still good: nothing was used up.
		b.signIn("/login", "jane", janes).leads(t, "/login/verify")
		b.post(b.get("/login/verify"), "/login/verify", "recovery", codes[0]).leads(t, "/account")
	})
}

// Guesses are few, over both ways to guess, and counted before they are looked at; a stranger's do not count for a browser
// that she is known with.
func TestB8_164_GuessesAreFew(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		known, app, codes := s.withApp("jane")
		s.clock.Advance(time.Minute)
		b := s.browser()
		b.signIn("/login", "jane", janes)
		page := b.get("/login/verify")
		for i := range 5 {
			pairs := []string{"code", "00000" + fmt.Sprint(i)}
			if i > 2 {
				pairs = []string{"recovery", strings.Repeat(fmt.Sprint(i), 28)}
			}
			if a := b.post(page, "/login/verify", pairs...); a.Code != 401 {
				t.Fatalf("guess %d: %d\n%s", i, a.Code, a.body)
			}
		}
		for _, pairs := range [][]string{{"code", app.code(s.clock.Now())}, {"recovery", codes[0]}} {
			a := b.post(page, "/login/verify", pairs...)
			if a.Code != 429 || a.Header().Get("Retry-After") == "" || b.signedIn() {
				t.Errorf("%s after five guesses: %d\n%s", pairs[0], a.Code, a.body)
			}
		}
		mine := s.browser()
		mine.cookies["__Host-mintmark-device"] = known.cookies["__Host-mintmark-device"]
		mine.signIn("/login", "jane", janes)
		mine.post(mine.get("/login/verify"), "/login/verify", "recovery", codes[0]).leads(t, "/account")
		// Twenty in a day, however slowly.
		for range 3 {
			s.clock.Advance(5 * time.Minute)
			b = s.browser()
			b.signIn("/login", "jane", janes)
			page = b.get("/login/verify")
			for i := range 5 {
				if a := b.post(page, "/login/verify", "code", "11111"+fmt.Sprint(i)); a.Code != 401 {
					t.Fatalf("slow guess: %d", a.Code)
				}
			}
		}
		s.clock.Advance(5 * time.Minute)
		b = s.browser()
		b.signIn("/login", "jane", janes)
		if a := b.post(b.get("/login/verify"), "/login/verify", "recovery", codes[1]); a.Code != 429 {
			t.Errorf("after twenty guesses: %d", a.Code)
		}
		s.clock.Advance(24 * time.Hour)
		if err := s.factors.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		b = s.browser()
		b.signIn("/login", "jane", janes)
		b.post(b.get("/login/verify"), "/login/verify", "recovery", codes[1]).leads(t, "/account")
		// Each once; and what is too short to be one is none.
		for _, typed := range []string{codes[1], codes[0], codes[2][:33], codes[2] + "0", "", "0"} {
			b = s.browser()
			b.signIn("/login", "jane", janes)
			if a := b.post(b.get("/login/verify"), "/login/verify", "recovery", typed); a.Code != 401 && a.Code != 429 || b.signedIn() {
				t.Errorf("%q: %d", typed, a.Code)
			}
		}
		var kept []string
		if err := s.d.Read(ctx, func(tx db.ReadTx) error {
			var n int
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM recovery_codes WHERE used = 0`).Scan(&n); err != nil || n != 8 {
				t.Errorf("%d codes left, %v", n, err)
			}
			rows, err := tx.Query(ctx, `SELECT mac FROM recovery_codes`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var mac []byte
				if err := rows.Scan(&mac); err != nil {
					return err
				}
				kept = append(kept, string(mac))
			}
			return rows.Err()
		}); err != nil {
			t.Fatal(err)
		}
		for _, code := range codes {
			if plain := strings.ReplaceAll(code, "-", ""); slices.ContainsFunc(kept, func(mac string) bool { return strings.Contains(mac, plain) || strings.Contains(mac, code) }) {
				t.Error("a recovery code is stored as it is")
			}
		}
	})
}

// Codes that come at once on two nodes are good once.
func TestCodesAreGoodOnceOverNodes(t *testing.T) {
	twoSites(t, func(t *testing.T, sites []*site) {
		s := sites[0]
		s.person("jane", "")
		_, app, codes := s.withApp("jane")
		s.clock.Advance(time.Minute)
		for _, name := range []string{"app", "recovery"} {
			pairs := map[string][]string{"app": {"code", app.code(s.clock.Now())}, "recovery": {"recovery", codes[0]}}[name]
			type try struct {
				b    *browser
				page answer
			}
			var tries []try
			for i := range 4 {
				b := sites[i%2].browser()
				b.signIn("/login", "jane", janes).leads(t, "/login/verify")
				tries = append(tries, try{b, b.get("/login/verify")})
			}
			// One of the logins is sent twice, on both nodes.
			twin := *tries[0].b
			twin.s, twin.cookies = sites[1], map[string]string{}
			for k, v := range tries[0].b.cookies {
				twin.cookies[k] = v
			}
			tries = append(tries, try{&twin, tries[0].page})
			var wg sync.WaitGroup
			var mu sync.Mutex
			in := 0
			for _, try := range tries {
				wg.Go(func() {
					if a := try.b.post(try.page, "/login/verify", pairs...); a.Code == 303 {
						mu.Lock()
						in++
						mu.Unlock()
					} else if a.Code >= 500 {
						t.Errorf("%s: %d\n%s", name, a.Code, a.body)
					}
				})
			}
			wg.Wait()
			if in != 1 {
				t.Errorf("%s: %d logins with one code", name, in)
			}
			s.clock.Advance(10 * time.Minute)
		}
	})
}

func TestSessionsAndDevices(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
		b, other, third := s.browser(), s.browser(), s.browser()
		for _, x := range []*browser{b, other, third} {
			page := x.get("/login")
			x.do("POST", "/login", url.Values{"csrf": {page.token(t)}, "realm": {"employees"}, "username": {"jane"}, "password": {janes}}, "User-Agent", firefox)
		}
		page := b.get("/account/sessions")
		for _, want := range []string{"Firefox on Linux", "192.0.2.1", "this browser", `id="sessions-end-others"`, "with password"} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the page lacks %q:\n%s", want, page.body)
			}
		}
		m := regexp.MustCompile(`name="id" value="(ses_[0-9a-z]+)"`).FindAllStringSubmatch(page.body, -1)
		if len(m) != 2 {
			t.Fatalf("%d others on the page", len(m))
		}
		b.post(page, "/account/sessions/end", "id", m[0][1]).leads(t, "/account/sessions?done=ended")
		if other.signedIn() == third.signedIn() {
			t.Error("not exactly one ended")
		}
		b.post(page, "/account/sessions/end", "others", "1").leads(t, "/account/sessions?done=others")
		if other.signedIn() || third.signedIn() || !b.signedIn() {
			t.Error("the others have not ended, or this one has")
		}
		page = b.get("/account/sessions?done=others")
		devices := regexp.MustCompile(`name="id" value="(dev_[0-9a-z]+)"`).FindAllStringSubmatch(page.body, -1)
		if len(devices) != 2 || !strings.Contains(page.body, "All your other sessions have ended") {
			t.Fatalf("devices:\n%s", page.body)
		}
		b.post(page, "/account/devices/forget", "id", devices[0][1]).leads(t, "/account/sessions?done=forgotten")
	})
}

// A session that began under another name changes the password of its person all the same, and of nobody who has the
// name now.
func TestChangePasswordUnderAnotherName(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		known := func(secret string) (u identity.User) {
			s.write(func(tx db.WriteTx) (err error) {
				u, err = s.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: "jane@example.org", Email: "jane@example.org"}, redact.New(secret))
				return err
			})
			return u
		}
		verified := func() {
			s.write(func(tx db.WriteTx) error {
				_, err := tx.Exec(ctx, `UPDATE people SET email_verified = 1`)
				return err
			})
		}
		jane := known(janes)
		verified()
		b := s.browser()
		b.signIn("/login", "jane@example.org", janes)
		page := b.get("/account/password")
		s.write(func(tx db.WriteTx) error { return s.dir.ChangeEmail(ctx, tx, admin, jane.ID, "jane@example.com") })
		known(wrong)
		verified()
		if a := b.post(page, "/account/password", "current", wrong, "password", wrong+"x", "again", wrong+"x"); a.Code != 401 {
			t.Errorf("with the password of who has the name now: %d", a.Code)
		}
		b.post(page, "/account/password", "current", janes, "password", wrong+"x", "again", wrong+"x").leads(t, "/account/security?done=password")
		s.browser().signIn("/login", "jane@example.com", wrong+"x").leads(t, "/account")
		s.browser().signIn("/login", "jane@example.org", wrong).leads(t, "/account")
	})
}

func TestChangePassword(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		s.person("jane", "")
		b, other := s.browser(), s.browser()
		b.signIn("/login", "jane", janes)
		other.signIn("/login", "jane", janes)
		page := b.get("/account/password")
		for name, c := range map[string]struct {
			current, first, second string
			status                 int
			text                   string
		}{
			"wrong": {wrong, wrong, wrong, 401, "current password is not right"}, "different": {janes, wrong, wrong + "x", 400, "not the same"},
			"weak": {janes, "short", "short", 400, "too easy"}, "name": {janes, "jane jane jane jane", "jane jane jane jane", 400, "too easy"},
		} {
			if a := b.post(page, "/account/password", "current", c.current, "password", c.first, "again", c.second); a.Code != c.status || !strings.Contains(a.body, c.text) {
				t.Errorf("%s: %d\n%s", name, a.Code, a.body)
			}
		}
		old := b.cookies["__Host-mintmark-session"]
		b.post(page, "/account/password", "current", janes, "password", wrong, "again", wrong).leads(t, "/account/security?done=password")
		if other.signedIn() || !b.signedIn() || b.cookies["__Host-mintmark-session"] == old {
			t.Error("the other session lives, or this one does not, or has its old secret")
		}
		s.browser().signIn("/login", "jane", wrong).leads(t, "/account")
		if a := s.browser().signIn("/login", "jane", janes); a.Code != 401 {
			t.Errorf("the old password: %d", a.Code)
		}
	})
}
