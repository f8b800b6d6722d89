package web_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
)

func TestGetWhatIsKept(t *testing.T) {
	keeping(t, func(t *testing.T, s *site) {
		jane := s.verified("jane", "jane@example.org")
		s.verified("eve", "eve@example.org")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		b.send("/account/profile", "/account/profile", url.Values{"display_name": {"Jane Doe"}, "attribute-hobbies": {"chess"}}).leads(t, "/account/profile?done=saved")
		page := b.get("/account/data")
		if page.Code != 200 || !strings.Contains(page.body, `id="data-export"`) || !strings.Contains(page.body, `id="data-erase"`) || strings.Contains(page.body, `id="data-locked"`) {
			t.Fatalf("%d\n%s", page.Code, page.body)
		}
		a := b.send("/account/data", "/account/data/export", url.Values{"user_id": {"usr_other"}, "id": {"usr_other"}})
		h := a.Header()
		if a.Code != 200 || h.Get("Content-Type") != "application/json" || h.Get("Content-Disposition") != `attachment; filename="account-2026-11-22.json"` || h.Get("Cache-Control") != "no-store" ||
			h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Fatalf("%d %v\n%s", a.Code, h, a.body)
		}
		var held api.UserExport
		if err := json.Unmarshal([]byte(a.body), &held); err != nil || held.UserID != jane.ID {
			t.Fatalf("%v %+v", err, held)
		}
		given := map[string][]map[string]string{}
		for _, section := range held.Sections {
			given[section.Name] = section.Records
		}
		if given["people"][0]["email"] != "jane@example.org" || given["users"][0]["display_name"] != "Jane Doe" || given["person_attributes"][0]["value"] != `["chess"]` || len(given["sessions"]) != 1 || len(given["audit_events"]) == 0 {
			t.Errorf("%v", given)
		}
		if strings.Contains(a.body, "eve@") || strings.Contains(a.body, "usr_admin") {
			t.Errorf("somebody else is in it:\n%s", a.body)
		}
		if n := s.told(jane.ID, "user.export"); n != 1 {
			t.Errorf("the log tells of %d", n)
		}
		if page := b.get("/account/activity"); !strings.Contains(page.body, "A copy of all that is kept of you was given out") {
			t.Errorf("%s", page.body)
		}
		if page := b.get("/account/data?lang=de"); !strings.Contains(page.body, "Herunterladen") {
			t.Errorf("%s", page.body)
		}
		for range 9 {
			b.send("/account/data", "/account/data/export", url.Values{})
		}
		if a := b.send("/account/data", "/account/data/export", url.Values{}); a.Code != 429 || a.Header().Get("Retry-After") == "" {
			t.Errorf("again and again: %d %v", a.Code, a.Header())
		}
	})
}

// TestB8_162_DataNeedsAFreshLogin holds that a session alone, which may be stolen, gives nobody what is kept of a person,
// and ends no account.
func TestB8_162_DataNeedsAFreshLogin(t *testing.T) {
	keeping(t, func(t *testing.T, s *site) {
		jane := s.verified("jane", "jane@example.org")
		b := s.browser()
		if a := b.do("POST", "/account/data/export", url.Values{}); a.Code != 403 {
			t.Errorf("a stranger: %d", a.Code)
		}
		b.get("/account/data").leads(t, "/login?return_to=%2Faccount%2Fdata")
		b.signIn("/login", "jane", janes).leads(t, "/account")
		for _, target := range []string{"/account/data/export", "/account/erase"} {
			if a := b.do("POST", target, url.Values{"confirm": {"jane"}}); a.Code != 403 {
				t.Errorf("%s without its token: %d", target, a.Code)
			}
			if a := b.get("/account/data/export"); a.Code != 405 {
				t.Errorf("by a link: %d", a.Code)
			}
		}
		s.clock.Advance(6 * time.Minute)
		if a := b.get("/account/data"); !strings.Contains(a.body, `id="data-locked"`) || strings.Contains(a.body, `id="data-export"`) || strings.Contains(a.body, `id="data-erase"`) {
			t.Errorf("%s", a.body)
		}
		b.get("/account/erase").leads(t, "/login?step=again&return_to=%2Faccount%2Ferase")
		for _, target := range []string{"/account/data/export", "/account/erase"} {
			if a := b.send("/account/profile", target, url.Values{"confirm": {"jane"}}); a.Code != 403 || !strings.Contains(a.body, "login_too_old") {
				t.Errorf("%s: %d\n%s", target, a.Code, a.body)
			}
		}
		if p := s.load(jane.ID); p.Username != "jane" || s.told(jane.ID, "user.export") != 0 {
			t.Errorf("%+v", p)
		}
	})
}

func TestEraseOwnAccount(t *testing.T) {
	keeping(t, func(t *testing.T, s *site) {
		jane, eve := s.verified("jane", "jane@example.org"), s.verified("eve", "eve@example.org")
		b, other := s.browser(), s.browser()
		other.signIn("/login", "jane", janes).leads(t, "/account")
		b.signIn("/login", "jane", janes).leads(t, "/account")
		page := b.get("/account/erase")
		if page.Code != 200 || !strings.Contains(page.body, "Type your username: jane") {
			t.Fatalf("%d\n%s", page.Code, page.body)
		}
		for _, typed := range []string{"", "eve", "Jane", eve.ID} {
			if a := b.send("/account/erase", "/account/erase", url.Values{"confirm": {typed}}); a.Code != 400 || !strings.Contains(a.body, `id="erase-problem"`) {
				t.Errorf("%q: %d\n%s", typed, a.Code, a.body)
			}
		}
		b.send("/account/erase", "/account/erase", url.Values{"confirm": {"jane"}, "user_id": {eve.ID}}).leads(t, "/login?done=erased")
		for name := range b.cookies {
			if strings.Contains(name, "session") {
				t.Errorf("the browser keeps %s", name)
			}
		}
		if a := b.get("/login?done=erased"); !strings.Contains(a.body, `id="login-done"`) {
			t.Errorf("%s", a.body)
		}
		if b.signedIn() || other.signedIn() {
			t.Error("somebody is signed in to an account that is gone")
		}
		if a := s.browser().signIn("/login", "jane", janes); a.Code == 303 {
			t.Error("the name signs in")
		}
		if l := s.letters("erased"); len(l) != 1 || l[0].To != "jane@example.org" || l[0].Link != "" {
			t.Errorf("%+v", l)
		}
		if p := s.load(eve.ID); p.Username != "eve" || !p.Disabled.IsZero() {
			t.Errorf("somebody else: %+v", p)
		}
		if n := s.told(jane.ID, "user.remove"); n != 1 {
			t.Errorf("the log tells of %d", n)
		}
		var left int
		if err := s.d.Read(ctx, func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT count(*) FROM people WHERE email = 'jane@example.org'`).Scan(&left)
		}); err != nil || left != 0 {
			t.Error(left, err)
		}
	})
}

// Who is to stay does: an administrator, and people of a realm that leaves it to administrators.
func TestWhoErasesNothing(t *testing.T) {
	keeping(t, func(t *testing.T, s *site) {
		s.verified("root", "root@example.org")
		b, _, _ := s.withApp("root")
		s.write(func(tx db.WriteTx) error {
			return db.One(tx.Exec(ctx, `UPDATE users SET admin = $1 WHERE username = 'root'`, true))
		})
		if a := b.send("/account/erase", "/account/erase", url.Values{"confirm": {"root"}}); a.Code != 409 || !strings.Contains(a.body, "administrator") {
			t.Errorf("an administrator: %d\n%s", a.Code, a.body)
		}
		c := s.browser()
		c.send("/register", "/register", url.Values{"realm": {"customers"}, "email": {"c@example.net"}})
		c.open(s.link("register"))
		f := twice(fresh)
		f.Set("display_name", "C")
		c.send("/register?step=open", "/register", f).leads(t, "/login/enrol")
		form := c.get("/login/enrol")
		c.post(form, "/login/enrol", "code", form.scan(t).code(s.clock.Now())).codes(t)
		page := c.get("/account/data")
		if page.Code != 200 || !strings.Contains(page.body, `id="data-erase-how"`) || strings.Contains(page.body, `id="data-erase"`) {
			t.Fatalf("%d\n%s", page.Code, page.body)
		}
		if a := c.get("/account/erase"); a.Code != 404 {
			t.Errorf("the form: %d", a.Code)
		}
		if a := c.send("/account/data", "/account/erase", url.Values{"confirm": {"c@example.net"}}); a.Code != 403 || !strings.Contains(a.body, "not_erased") {
			t.Errorf("%d\n%s", a.Code, a.body)
		}
	})
}
