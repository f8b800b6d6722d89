package identity_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// That somebody must wait under one name tells nothing of another: neither that the two are one person's, nor that anybody
// has them. This is what would tell which address belongs to which name.
func TestB8_143_WaitsDoNotLinkNames(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "bob", "bob@example.org", janes)
		h.person("employees", "joe", "joe@example.org", janes)
		// What strangers see under a second name is the same whether it is the first one's, another person's or nobody's.
		var seen [][]string
		for _, second := range []string{"bob@example.org", "joe@example.org", "nobody@example.org"} {
			h.write(func(tx db.WriteTx) error {
				_, err := tx.Exec(ctx, `DELETE FROM login_attempts`)
				return err
			})
			var answers []string
			for range 2 * identity.FreeTries {
				h.signIn("bob", other)
			}
			for range 3 {
				for range 2 * identity.FreeTries {
					_, err := h.signIn(second, other)
					f := fault.Of(err)
					answers = append(answers, f.Code+" "+f.RetryAfter.String())
				}
				h.clock.Advance(time.Second)
			}
			seen = append(seen, answers)
		}
		for i, answers := range seen[1:] {
			for j := range answers {
				if answers[j] != seen[0][j] {
					t.Fatalf("try %d: %q under the same person's other name, %q under another (%d)", j, seen[0][j], answers[j], i)
				}
			}
		}
	})
}

// Who guesses by both names of a person has hardly more guesses than by one: in a quarter of an hour, one more.
func TestTwoNamesAreNotTwiceAsManyGuesses(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "bob", "bob@example.org", janes)
		told := make(chan error, 1)
		h.dir.OnLoginRefused(func(_ access.Caller, err error) { told <- err })
		looked := func(names ...string) (n int) {
			t.Helper()
			h.write(func(tx db.WriteTx) error {
				_, err := tx.Exec(ctx, `DELETE FROM login_attempts`)
				return err
			})
			for range 15 * 60 {
				for _, name := range names {
					if _, err := h.dir.VerifyPersonPassword(ctx, "employees", name, redact.New(other), identity.Origin{}); err == nil {
						t.Fatal("signed in by a wrong password")
					}
					if fault.Of(<-told).Code == fault.Of(identity.ErrCredentials).Code {
						n++
					}
				}
				h.clock.Advance(time.Second)
			}
			return n
		}
		one, two := looked("bob"), looked("bob", "bob@example.org")
		if one == 0 || two > one+1 {
			t.Errorf("%d guesses by one name, %d by two", one, two)
		}
	})
}

// The owner is let in under the name that nobody guesses by, whatever happens under the other one; and a login under one
// name does not take the wait of the other away, by which the two could be told to belong together.
func TestOwnerUnderTheOtherName(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "bob", "bob@example.org", janes)
		for range 2 * identity.FreeTries {
			h.signIn("bob", other)
		}
		if _, err := h.signIn("bob@example.org", janes); err != nil {
			t.Errorf("the owner: %v", err)
		}
		if _, err := h.signIn("bob", janes); !fault.Is(err, fault.Limited) {
			t.Errorf("the other name: %v", err)
		}
		// A wrong one first, and then it is as if the right one were wrong, until the wait is over that nobody is told of.
		for range 2 * identity.FreeTries {
			h.clock.Advance(time.Minute)
			h.signIn("bob", other)
		}
		h.signIn("bob@example.org", other)
		if _, err := h.signIn("bob@example.org", janes); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("paced: %v", err)
		}
		h.clock.Advance(time.Minute)
		if _, err := h.signIn("bob@example.org", janes); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}
