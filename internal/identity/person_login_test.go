package identity_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

// The answer to unknown, wrong, without a password and disabled is one, after one slow hash; and so is the delay.
func TestRefusalsAreOne(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "jane", "jane@example.org", janes)
		h.person("employees", "bare", "", "")
		carol := h.person("employees", "carol", "", janes)
		h.write(func(tx db.WriteTx) error { return h.dir.DisablePerson(ctx, tx, admin, carol.ID) })
		h.create("sales-orders")
		cases := map[string]struct{ name, secret string }{
			"wrong":               {"jane", other},
			"unknown":             {"nobody", other},
			"unknown address":     {"nobody@example.org", other},
			"without a password":  {"bare", other},
			"disabled":            {"carol", janes},
			"disabled and wrong":  {"carol2", other},
			"service user":        {"sales-orders", other},
			"no name":             {"", other},
			"no possible name":    {strings.Repeat("x", 10_000), other},
			"no possible secret":  {"jane2", "a \x00 b"},
			"mixed alphabets":     {"j\u0430ne", other},
			"a name with a quote": {"' OR 1=1 --", other},
		}
		for name, c := range cases {
			before := h.pool.Evaluations()
			_, err := h.signIn(c.name, c.secret)
			if err != identity.ErrCredentials { //nolint:errorlint // the very same value
				t.Errorf("%s: %v", name, err)
			}
			if n := h.pool.Evaluations() - before; n != 1 {
				t.Errorf("%s: %d hashes", name, n)
			}
		}
		var delays []error
		for _, name := range []string{"jane", "nobody", "bare", "carol"} {
			for range identity.FreeTries - 1 {
				if _, err := h.signIn(name, other); !errors.Is(err, identity.ErrCredentials) {
					t.Errorf("%s: %v", name, err)
				}
			}
			before := h.pool.Evaluations()
			_, err := h.signIn(name, other)
			if !fault.Is(err, fault.Limited) || h.pool.Evaluations() != before {
				t.Errorf("%s after %d wrong ones: %v", name, identity.FreeTries, err)
			}
			delays = append(delays, err)
		}
		for _, err := range delays[1:] {
			if err.Error() != delays[0].Error() || fault.Of(err).RetryAfter != fault.Of(delays[0]).RetryAfter {
				t.Errorf("%v is not %v", err, delays[0])
			}
		}
	})
}

// Guesses are counted before they are looked at, over all nodes: however many come at once, no more are looked
// at than are free.
func TestParallelGuessesAreCounted(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			url := dbtest.URL(t, engine)
			d := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d)
			nodes := []*house{newHouse(t, d, k, c), newHouse(t, dbtest.OpenURL(t, url, c), k, c)}
			nodes[0].person("employees", "jane", "jane@example.org", janes)
			told := make(chan error, 200)
			for _, n := range nodes {
				n.dir.OnLoginRefused(func(_ access.Caller, err error) { told <- err })
			}
			var wg sync.WaitGroup
			for i := range 200 {
				name := []string{"jane", "JANE", "jane@example.org"}[i%3]
				wg.Go(func() {
					_, err := nodes[i%2].signIn(name, other)
					if !errors.Is(err, identity.ErrCredentials) && !fault.Is(err, fault.Limited) {
						t.Errorf("%v", err)
					}
				})
			}
			wg.Wait()
			looked := 0
			for range 200 {
				if err := <-told; fault.Of(err).Code == fault.Of(identity.ErrCredentials).Code {
					looked++
				}
			}
			// One more than by one name: the first try by another one is always looked at.
			if looked > identity.FreeTries+1 || looked == 0 {
				t.Errorf("%d guesses were looked at", looked)
			}
			// The owner waits, and gets in.
			c.Advance(time.Minute)
			if _, err := nodes[1].signIn("jane", janes); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever way of writing a name leads to an account, the tries are one count.
func TestOneCountForAllSpellings(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "bob", "bob@example.org", janes)
		for i, name := range []string{"Bob", " bob", "BOB", "bob\u200b", "\uff42\uff4f\uff42"} {
			if _, err := h.signIn(name, other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatalf("try %d as %q: %v", i, name, err)
			}
		}
		for _, name := range []string{"bob", "Bob", "\uff42\uff4f\uff42", "bob\u00ad"} {
			if _, err := h.signIn(name, janes); !fault.Is(err, fault.Limited) {
				t.Errorf("%q is counted by itself: %v", name, err)
			}
		}
		h.person("employees", "joe", "joe@example.org", janes)
		for i, name := range []string{"joe@example.org", "JOE@Example.ORG", " joe@example.org", "joe\u200b@example.org", "Joe@example.org"} {
			if _, err := h.signIn(name, other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatalf("try %d as %q: %v", i, name, err)
			}
		}
		if _, err := h.signIn("joe@EXAMPLE.org", janes); !fault.Is(err, fault.Limited) {
			t.Errorf("an address in another spelling is counted by itself: %v", err)
		}
		if _, err := h.signIn("bobby", other); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("somebody else waits, too: %v", err)
		}
	})
}

func TestDelaysGrowAndEnd(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "jane", "", janes)
		for range identity.FreeTries {
			if _, err := h.signIn("jane", other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatal(err)
			}
		}
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute, time.Minute} {
			// Trying meanwhile is refused and does not make it longer.
			for range 3 {
				if _, err := h.signIn("jane", janes); fault.Of(err).RetryAfter != want {
					t.Fatalf("wait %s, want %s: %v", fault.Of(err).RetryAfter, want, err)
				}
			}
			h.clock.Advance(want)
			if _, err := h.signIn("jane", other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatalf("after %s: %v", want, err)
			}
		}
		h.clock.Advance(time.Minute)
		if _, err := h.signIn("jane", janes); err != nil {
			t.Fatalf("the right password after the wait: %v", err)
		}
		// A success forgets the failures, and so does a quarter of an hour.
		for range 2 {
			for range identity.FreeTries {
				for _, name := range []string{"jane", "nobody"} {
					if _, err := h.signIn(name, other); !errors.Is(err, identity.ErrCredentials) {
						t.Fatal(err)
					}
				}
			}
			h.clock.Advance(15 * time.Minute)
		}
		if n, err := h.dir.SweepAttempts(ctx); err != nil || n != 0 {
			t.Errorf("swept %d that still count, %v", n, err)
		}
		h.clock.Advance(time.Second)
		// What counts against a person stays: see TriesInARow. Two rows of the name that nobody has go, and one of the other.
		if n, err := h.dir.SweepAttempts(ctx); err != nil || n != 3 {
			t.Errorf("swept %d, %v", n, err)
		}
	})
}

// An administrator who sets a password sets the count back as well: the person is there, waiting.
func TestNewPasswordForgetsTheFailures(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane := h.person("employees", "jane", "", janes)
		for range identity.FreeTries + 1 {
			h.signIn("jane", other)
		}
		h.write(func(tx db.WriteTx) error { return h.dir.SetPassword(ctx, tx, admin, jane.ID, redact.New(other)) })
		if _, err := h.signIn("jane", other); err != nil {
			t.Error(err)
		}
	})
}

func TestImportedPasswordIsHashedAnewAtLogin(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for name, form := range map[string]string{
			"bea":  "$2b$04$abcdefghijklmnopqrstuuMldIk045H4ieKKa9LMRaElqnj44U.sq",
			"pia":  "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsdA$Z3LIiZXSqg4LeYJ/cTfL2cnU3lfRYd.4p3fCaWsb64A",
			"skye": "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$FBVDuYjaZnE+8+VePtkZKO+sdK40rxph5a/elaKmvno",
		} {
			hashed, err := identity.ImportedHash(redact.New(form))
			if err != nil {
				t.Fatal(err)
			}
			h.write(func(tx db.WriteTx) error {
				_, err := h.dir.CreatePersonHashed(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: name}, hashed)
				return err
			})
			if _, err := h.signIn(name, "a password of some lengtH"); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s with a wrong one: %v", name, err)
			}
			for range 2 {
				if _, err := h.signIn(name, "a password of some length"); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		// Once each: the second login found a form of ours.
		if versions, err := h.texts(`SELECT CAST(version AS TEXT) FROM person_passwords WHERE version = 2`); err != nil || len(versions) != 3 {
			t.Errorf("versions %q, %v", versions, err)
		}
		for _, bad := range []string{"", "plain text", "$1$old$crypt"} {
			if _, err := identity.ImportedHash(redact.New(bad)); !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	})
}

// A copy of the database is not worth guessing at, and a row that somebody moved lets nobody in.
func TestStoredPasswordsAreSealedInPlace(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane := h.person("employees", "jane", "", janes)
		eve := h.person("employees", "eve", "", other)
		if err := h.d.Read(ctx, func(tx db.ReadTx) error {
			rows, err := tx.Query(ctx, `SELECT box FROM person_passwords`)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var box []byte
				if err := rows.Scan(&box); err != nil {
					return err
				}
				if strings.Contains(string(box), "argon2") {
					t.Error("a hash lies open")
				}
			}
			return rows.Err()
		}); err != nil {
			t.Fatal(err)
		}
		h.write(func(tx db.WriteTx) error {
			n, err := tx.Exec(ctx, `UPDATE person_passwords SET box = (SELECT box FROM person_passwords WHERE user_id = $1) WHERE user_id = $2`, eve.ID, jane.ID)
			if n != 1 {
				t.Errorf("%d rows", n)
			}
			return err
		})
		if u, err := h.signIn("jane", other); err == nil || errors.Is(err, identity.ErrCredentials) || !fault.Is(err, fault.Internal) {
			t.Errorf("eve's row in jane's place: %+v, %v", u, err)
		}
		if _, err := h.signIn("eve", other); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusalsAreToldWithoutThePassword(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane := h.person("employees", "jane", "", janes)
		told := make(chan access.Caller, 2)
		h.dir.OnLoginRefused(func(c access.Caller, err error) {
			if !fault.Is(err, fault.Unauthenticated) {
				t.Errorf("%v", err)
			}
			told <- c
		})
		h.signIn("jane", other)
		if c := <-told; c.ID != jane.ID || c.IP != "192.0.2.1" || c.Kind != access.Person {
			t.Errorf("%+v", c)
		}
		// What was typed into the field for the name may be a password.
		h.signIn(other, "jane")
		if c := <-told; c.ID != "" || c.Name != "" || c.Kind != access.Anonymous {
			t.Errorf("%+v", c)
		}
		for _, table := range []string{"SELECT account FROM login_attempts", "SELECT details || actor_name || target_id FROM audit_events"} {
			texts, err := h.texts(table)
			if err != nil || strings.Contains(strings.Join(texts, " "), other) {
				t.Errorf("%s: %q, %v", table, texts, err)
			}
		}
	})
}

// A try that found no place to be looked at does not count, and takes no wait away that another one brought.
func TestTriesThatWereNotLookedAtDoNotCount(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		slow := password.NewPool(password.Options{Params: password.Params{Memory: 64 << 10, Time: 40, Threads: 1}, AtOnce: 1, Wait: time.Millisecond})
		dir, err := identity.New(h.d, h.keyring, identity.Options{Clock: h.clock, Passwords: slow})
		if err != nil {
			t.Fatal(err)
		}
		h.person("employees", "jane", "", janes)
		busy := make(chan error)
		go func() { busy <- slow.Waste(ctx, redact.New(other)) }()
		for slow.Evaluations() == 0 {
			time.Sleep(time.Millisecond)
		}
		_, err = dir.VerifyPersonPassword(ctx, "employees", "jane", redact.New(janes), identity.Origin{})
		if !fault.Is(err, fault.Unavailable) || fault.Of(err).RetryAfter == 0 {
			t.Errorf("no place: %v", err)
		}
		if err := <-busy; err != nil {
			t.Error(err)
		}
		if left, err := h.texts(`SELECT account FROM login_attempts WHERE failures > 0`); err != nil || len(left) != 0 {
			t.Errorf("counted: %q, %v", left, err)
		}
		for range identity.FreeTries {
			if _, err := h.signIn("jane", other); !errors.Is(err, identity.ErrCredentials) {
				t.Fatal(err)
			}
		}
		if _, err := h.signIn("jane", janes); !fault.Is(err, fault.Limited) {
			t.Errorf("%v", err)
		}
	})
}
