package session_test

import (
	"net/http/httptest"
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

func TestLedBy(t *testing.T) {
	const own = "https://mint.example.org"
	c := clock.NewFake(start)
	d := dbtest.Open(t, db.SQLite, c) // it asks no database
	m := newNode(t, d, sealtest.New(t, d), c, session.Options{Origin: own + "/behind/a/path"}).m
	for _, c := range []struct {
		site, origin string
		want         session.Site
	}{
		{"same-origin", "", session.Ours}, {"none", "", session.Ours}, {"same-site", "", session.Beside}, {"cross-site", "", session.Stranger}, {"something-new", "", session.Stranger},
		{"Same-Origin", "", session.Stranger}, // browsers write it small
		// What the browser says itself counts, and not the origin.
		{"same-origin", "https://evil.example", session.Ours}, {"cross-site", own, session.Stranger}, {"same-site", own, session.Beside},
		// An old browser, or a program.
		{"", "", session.Ours}, {"", "null", session.Ours}, {"", own, session.Ours}, {"", "https://behind.example", session.Ours},
		{"", "https://evil.example", session.Stranger}, {"", "https://mint.example.org.evil.example", session.Stranger}, {"", "https://mint.example.org:444", session.Stranger},
		{"", "http://mint.example.org", session.Stranger}, {"", "https://", session.Stranger}, {"", "%", session.Stranger}, {"", "file://", session.Stranger},
	} {
		r := httptest.NewRequest("POST", "https://behind.example/logout", nil)
		r.Header.Set("Sec-Fetch-Site", c.site)
		r.Header.Set("Origin", c.origin)
		if got := m.LedBy(r); got != c.want {
			t.Errorf("Sec-Fetch-Site %q, Origin %q: %v, want %v", c.site, c.origin, got, c.want)
		}
	}
}
