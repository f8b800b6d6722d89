package web_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/web"
)

// deviceIDs are what programs and tests find the parts of the page by.
var deviceIDs = []string{"user-code", "device-submit", "device-problem", "device-warning", "device-untrusted", "device-lasts", "device-code", "device-ip", "device-agent", "device-allow", "device-deny", "device-done"}

func TestDevicePage(t *testing.T) {
	s := newSite(t, db.SQLite)
	u := s.person("eve", evil)
	var v web.DeviceView
	s.mux.Handle("GET /device", func(w http.ResponseWriter, r *http.Request) { s.pages.Device(w, r, v) })
	b := s.browser()
	asks := web.DeviceView{
		Step: "ask", User: u, UserCode: evil, ClientName: evil, Team: evil, Scopes: []web.ConsentScope{{Name: "uid"}, {Name: evil, Text: evil}},
		Untrusted: true, Lasts: 180 * 24 * time.Hour, IP: evil, Agent: evil, Asked: start, Ago: 5 * time.Minute, Shown: evil,
	}
	anonymous := asks
	anonymous.Untrusted, anonymous.Lasts = false, 0
	anonymous.Agent, anonymous.Ago = "", 70*time.Second
	for name, c := range map[string]struct {
		view   web.DeviceView
		status int
		ids    []string
		text   string
	}{
		"enter":     {web.DeviceView{Step: "enter", User: u, UserCode: evil}, 200, []string{"user-code", "device-submit"}, "XXXX-XXXX"},
		"wrong":     {web.DeviceView{Step: "enter", User: u, UserCode: evil, Wrong: true}, 400, []string{"user-code", "device-submit", "device-problem"}, "not right"},
		"too many":  {web.DeviceView{Step: "enter", User: u, Wait: 90 * time.Second}, 429, []string{"user-code", "device-submit", "device-problem"}, "Wait 90 seconds"},
		"ask":       {asks, 200, []string{"device-warning", "device-untrusted", "device-lasts", "device-code", "device-ip", "device-agent", "device-allow", "device-deny"}, "5 minutes ago"},
		"no agent":  {anonymous, 200, []string{"device-warning", "device-code", "device-ip", "device-allow", "device-deny"}, "a minute ago"},
		"allowed":   {web.DeviceView{Step: "allowed", User: u, ClientName: evil}, 200, []string{"device-done"}, "is connected"},
		"denied":    {web.DeviceView{Step: "denied", User: u, ClientName: evil}, 200, []string{"device-done"}, "gets nothing"},
		"just then": {web.DeviceView{Step: "ask", User: u, Asked: start}, 200, []string{"device-warning", "device-code", "device-ip", "device-allow", "device-deny"}, "just now"},
	} {
		v = c.view
		a := b.get("/device")
		if a.Code != c.status || !strings.Contains(a.body, c.text) {
			t.Errorf("%s: %d, want %d with %q:\n%s", name, a.Code, c.status, c.text, a.body)
		}
		if strings.Contains(a.body, "<img") || strings.Contains(a.body, "<script") {
			t.Errorf("%s: what somebody wrote became markup:\n%s", name, a.body)
		}
		if (a.Header().Get("Retry-After") == "90") != (c.status == 429) {
			t.Errorf("%s: Retry-After %q", name, a.Header().Get("Retry-After"))
		}
		for _, id := range deviceIDs {
			if has := strings.Contains(a.body, `id="`+id+`"`); has != slices.Contains(c.ids, id) {
				t.Errorf("%s: id %s there: %v", name, id, has)
			}
		}
	}
	if a := b.signIn("/login?return_to=/device?user_code=BCDF-GHJK", "eve", janes); a.Header().Get("Location") != "/device?user_code=BCDF-GHJK" {
		t.Errorf("after the login one is led to %q", a.Header().Get("Location"))
	}
}
