package web_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// happen records events of jane's, as the parts of the server do.
func (s *site) happen(events ...audit.Event) {
	s.t.Helper()
	s.write(func(tx db.WriteTx) error {
		for _, e := range events {
			if e.Outcome == "" {
				e.Outcome = audit.Success
			}
			if err := audit.Record(ctx, tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

func callerOf(u identity.User) access.Caller {
	return access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm, IP: "198.51.100.7", Agent: firefox}
}

func TestActivity(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane, eve := s.person("jane", ""), s.person("eve", "")
		b := s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		s.clock.Advance(time.Minute)
		c := callerOf(jane)
		s.happen(
			audit.Event{Action: "access.deny", Outcome: audit.Denied, Reason: "invalid_credentials", Caller: c, TargetType: "operation", TargetID: "session.begin", Details: map[string]any{"repeated": 3}},
			audit.Event{Action: "factor.add", Caller: c, TargetType: "user", TargetID: jane.ID, Details: map[string]any{"kind": "passkey"}},
			audit.Event{Action: "user.ask_reset", Caller: access.Caller{IP: "203.0.113.9"}, TargetType: "user", TargetID: jane.ID},
			audit.Event{Action: "approval.withdraw", Caller: admin, TargetType: "client", TargetID: "cli_shop", Details: map[string]any{"user": jane.ID}},
			audit.Event{Action: "new.thing", Caller: c, TargetType: "user", TargetID: jane.ID, Details: map[string]any{"agent": evil}},
			audit.Event{Action: "user.update", Caller: callerOf(eve), TargetType: "user", TargetID: eve.ID},
		)
		page := b.get("/account/activity")
		for _, want := range []string{
			"A sign-in was refused: the password was wrong (3 times more)", "198.51.100.7", "Firefox on Linux", "A passkey was added",
			"A link to choose a new password was asked for", "by somebody who was not signed in", "What cli_shop was allowed was withdrawn", "by an administrator",
			"Something else was done: new.thing", "Signed in with password", "22 November 2026, 12:01 UTC", `<a href="/account/activity" aria-current="page">`,
		} {
			if page.Code != 200 || !strings.Contains(page.body, want) {
				t.Errorf("no %q (%d) on\n%s", want, page.Code, page.body)
			}
		}
		if n := strings.Count(page.body, "The profile was changed"); n != 0 {
			t.Errorf("what another did is there %d times", n)
		}
		german := b.get("/account/activity?lang=de").body
		for _, want := range []string{"Das Passwort war falsch (noch 3-mal)", "Ein Passkey wurde hinzugefügt", "durch jemanden, der nicht angemeldet war", "Firefox auf Linux", "Nicht Sie? Ein Passkey wurde hinzugefügt, 22. November 2026"} {
			if !strings.Contains(german, want) {
				t.Errorf("no %q on\n%s", want, german)
			}
		}
		b.get("/account/activity?lang=en")
		s.notMe(t, b, page)
	})
}

var helpLink = regexp.MustCompile(`href="(/account/activity/help\?event=evt_[a-z0-9]+)"`)

// notMe goes from an event to what to do about it.
func (s *site) notMe(t *testing.T, b *browser, page answer) {
	t.Helper()
	link := helpLink.FindStringSubmatch(page.body)
	if link == nil {
		t.Fatalf("no event can be asked about:\n%s", page.body)
	}
	other := s.browser()
	other.signIn("/login", "jane", janes).leads(t, "/account")
	help := b.get(link[1])
	for _, want := range []string{`id="not-me-end"`, `href="/account/password"`, `href="/account/security"`, strings.TrimPrefix(link[1], "/account/activity/help?event=")} {
		if help.Code != 200 || !strings.Contains(help.body, want) {
			t.Errorf("the help lacks %q (%d):\n%s", want, help.Code, help.body)
		}
	}
	b.do("POST", "/account/sessions/end", url.Values{"csrf": {help.token(t)}, "others": {"1"}}).leads(t, "/account/sessions?done=others")
	if a := other.get("/account"); a.Code != 303 {
		t.Errorf("the other session goes on: %d", a.Code)
	}
	eve := s.browser()
	eve.signIn("/login", "eve", janes).leads(t, "/account")
	for _, target := range []string{link[1], "/account/activity/help?event=evt_1", "/account/activity/help"} {
		if a := eve.get(target); a.Code != 404 || !strings.Contains(a.body, "event_not_found") {
			t.Errorf("%s for another: %d", target, a.Code)
		}
	}
	if a := s.browser().get("/account/activity"); a.Code != 303 || a.Header().Get("Location") != "/login?return_to=%2Faccount%2Factivity" {
		t.Errorf("for nobody: %d to %s", a.Code, a.Header().Get("Location"))
	}
}

func TestActivityHasPages(t *testing.T) {
	onBoth(t, func(t *testing.T, s *site) {
		jane, b := s.person("jane", ""), s.browser()
		b.signIn("/login", "jane", janes).leads(t, "/account")
		for i := range 60 {
			s.happen(audit.Event{Action: fmt.Sprintf("number.n%d", i), Caller: callerOf(jane), TargetType: "user", TargetID: jane.ID})
		}
		seen, older, pages := map[string]bool{}, regexp.MustCompile(`id="activity-older" rel="next" href="([^"]*)"`), 0
		for target := "/account/activity"; target != ""; pages++ {
			a := b.get(target)
			for _, m := range regexp.MustCompile(`number\.n\d+`).FindAllString(regexp.MustCompile(`aria-label="[^"]*"`).ReplaceAllString(a.body, ""), -1) {
				if seen[m] {
					t.Errorf("%s is there twice", m)
				}
				seen[m] = true
			}
			if (target != "/account/activity") != strings.Contains(a.body, `id="activity-newest"`) {
				t.Errorf("%s: the way back to the newest", target)
			}
			target = ""
			if m := older.FindStringSubmatch(a.body); m != nil {
				target = m[1]
			}
		}
		if len(seen) != 60 || pages != 3 {
			t.Errorf("%d events on %d pages", len(seen), pages)
		}
		for _, bad := range []string{"x", "1", "1.", "0.evt_01k8p4x0v3c9m6t2r5w8y1z4q7", "-5.evt_01k8p4x0v3c9m6t2r5w8y1z4q7", "99999999999999999999.evt_01k8p4x0v3c9m6t2r5w8y1z4q7", "1.usr_01k8p4x0v3c9m6t2r5w8y1z4q7"} {
			if a := b.get("/account/activity?before=" + url.QueryEscape(bad)); a.Code != 400 || !strings.Contains(a.body, "bad_cursor") {
				t.Errorf("before=%s: %d", bad, a.Code)
			}
		}
	})
}
