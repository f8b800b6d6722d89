package oauth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// Anybody may begin a request, and each is a row until it is over: one address has a bounded number of them.
func TestOneAddressBeginsABoundedNumberOfRequests(t *testing.T) {
	w := newFolk(t, db.SQLite)
	begin := func(addr string) string {
		return w.send("GET", at(asks(w.shop)), "", from(addr+":4711")).header.Get("Location")
	}
	for i := range 1000 {
		if to := begin("192.0.2.7"); !strings.HasPrefix(to, "/login?") {
			t.Fatalf("request %d: %s", i, to)
		}
	}
	if to := begin("192.0.2.7"); !strings.HasPrefix(to, shopBack+"?error=temporarily_unavailable&") {
		t.Errorf("one more: %s", to)
	}
	for range 1001 {
		if to := begin("127.0.0.1"); !strings.HasPrefix(to, "/login?") {
			t.Fatalf("everybody behind a proxy: %s", to)
		}
	}
	if to := begin("192.0.2.8"); !strings.HasPrefix(to, "/login?") {
		t.Errorf("somebody else: %s", to)
	}
	w.clock.Advance(10 * time.Minute)
	if to := begin("192.0.2.7"); !strings.HasPrefix(to, "/login?") {
		t.Errorf("it never ends: %s", to)
	}
}
