package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// cookieSeeds are headers of browsers and whether they name a session.
var cookieSeeds = map[string]bool{
	cookieName + "=mms_01m81j18g0z3btg8awwrp5dkvk_" + strings.Repeat("A", 43):                         true,
	"a=b; " + cookieName + "=mms_01m81j18g0z3btg8awwrp5dkvk_" + strings.Repeat("A", 43) + "; c=\"d\"": true,
	cookieName + "=mms_01m81j18g0z3btg8awwrp5dkvk_; " + cookieName + "=x":                             false,
	cookieName + "=": false, "": false, ";;;=": false, cookieName + "=mms_01m81j18g0z3btg8awwrp5dkv!_AAAA": false,
}

func cookieRequest(header string) *http.Request {
	r := httptest.NewRequest("GET", "https://mint.example.org/", nil)
	r.Header.Set("Cookie", header)
	return r
}

// Whatever stands in the header, it names a session or none.
func FuzzCookie(f *testing.F) {
	for seed := range cookieSeeds {
		f.Add(seed)
	}
	c := clock.NewFake(start)
	d := dbtest.Open(f, db.SQLite, c)
	n := newNode(f, d, sealtest.New(f, d), c, session.Options{Secure: true})
	f.Fuzz(func(t *testing.T, header string) {
		got, ok := n.m.Read(cookieRequest(header))
		if ok && (!id.Is(got, id.Session) || !strings.Contains(header, strings.TrimPrefix(got, "ses_"))) {
			t.Errorf("%q names %q", header, got)
		}
	})
}

func TestFuzzSeedsOfCookie(t *testing.T) {
	c := clock.NewFake(start)
	d := dbtest.Open(t, db.SQLite, c)
	n := newNode(t, d, sealtest.New(t, d), c, session.Options{Secure: true})
	for header, want := range cookieSeeds {
		if _, ok := n.m.Read(cookieRequest(header)); ok != want {
			t.Errorf("%q: %v", header, ok)
		}
	}
}
