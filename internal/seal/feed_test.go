package seal_test

import (
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/seal"
)

// TestFeedBringsTerms: a node that meets no new box learns of the term all the same, and seals under it.
func TestFeedBringsTerms(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url, path := dbtest.URL(t, engine), keyPath(t)
			here, there := dbtest.OpenURL(t, url, clock.System), dbtest.OpenURL(t, url, clock.System)
			a, b := open(t, here, path), open(t, there, path)
			stop, err := there.StartFeed(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			rotate(t, here, a, seal.CSRF)
			wait(t, func() bool { return len(b.Terms(seal.CSRF)) == 2 })
		})
	}
}

// wait waits for what must come. Only a program that never gets there meets the limit.
func wait(t *testing.T, done func() bool) {
	t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("waited in vain")
}
