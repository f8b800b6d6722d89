package identity_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

const (
	janes = "a walk in the rain at night"
	other = "seven small boats on a lake"
)

// house is one node and the people on it, with hashes that cost little.
type house struct {
	*world
	pool *password.Pool
}

func newHouse(t testing.TB, d *db.DB, k *seal.Keyring, c *clock.Fake) *house {
	t.Helper()
	pool := password.NewPool(password.Options{Params: password.Params{Memory: 64, Time: 1, Threads: 1}})
	dir, err := identity.New(d, k, identity.Options{Clock: c, Passwords: pool})
	if err != nil {
		t.Fatal(err)
	}
	return &house{&world{t, d, k, c, dir, dir.ServicePasswords()}, pool}
}

func inHouse(t *testing.T, f func(t *testing.T, h *house)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			f(t, newHouse(t, d, sealtest.New(t, d), c))
		})
	}
}

func (h *house) tryPerson(p identity.NewPerson, secret string) (u identity.User, err error) {
	err = h.d.Write(ctx, func(tx db.WriteTx) (err error) {
		u, err = h.dir.CreatePerson(ctx, tx, admin, p, redact.New(secret))
		return err
	})
	return u, err
}

func (h *house) person(realm, name, email, secret string) identity.User {
	h.t.Helper()
	u, err := h.tryPerson(identity.NewPerson{Realm: realm, Username: name, Email: email}, secret)
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

func (h *house) signIn(name, secret string) (identity.User, error) {
	return h.dir.VerifyPersonPassword(ctx, "employees", name, redact.New(secret), identity.Origin{IP: "192.0.2.1"})
}

func (h *house) actions() (list []string) {
	h.t.Helper()
	rows, err := h.texts(`SELECT action || ' ' || outcome || ' ' || target_id FROM audit_events ORDER BY action, id`)
	if err != nil {
		h.t.Fatal(err)
	}
	return rows
}

func (h *house) texts(query string, args ...any) (list []string, err error) {
	err = h.d.Read(ctx, func(tx db.ReadTx) error {
		rows, err := tx.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err
			}
			list = append(list, s)
		}
		return rows.Err()
	})
	return list, err
}

func TestPersonSignsIn(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane, err := h.tryPerson(identity.NewPerson{Realm: "/employee", Username: "Jane", DisplayName: "Jane Doe", Email: "Jane@Example.org", Admin: true}, janes)
		if err != nil {
			t.Fatal(err)
		}
		if !id.Is(jane.ID, id.User) || jane.Realm != "employees" || jane.Username != "jane" || jane.DisplayName != "Jane Doe" || !jane.Admin || !jane.Created.Equal(start) {
			t.Errorf("user %+v", jane)
		}
		for _, name := range []string{"jane", "JANE", " jane ", "jane@example.org", "JANE@example.ORG"} {
			u, err := h.signIn(name, janes)
			if u.Proof == 0 {
				t.Errorf("%s: nothing says which password it was", name)
			}
			u.Proof = 0
			if err != nil || u != jane {
				t.Errorf("%q: %+v, %v", name, u, err)
			}
		}
		for _, realm := range []string{"customers", "services", "nowhere", "", "employees/jane"} {
			if _, err := h.dir.VerifyPersonPassword(ctx, realm, "jane", redact.New(janes), identity.Origin{}); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("realm %q: %v", realm, err)
			}
		}
		if want := []string{"user.create success " + jane.ID}; !slices.Equal(h.actions(), want) {
			t.Errorf("events %q", h.actions())
		}
	})
}

func TestPersonNeedsAnAdministrator(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane := h.person("employees", "jane", "", janes)
		for name, c := range map[string]access.Caller{"nobody": {}, "person": {Kind: access.Person, ID: jane.ID, Realm: "employees"}, "service": {Kind: access.Service, Realm: "services", Admin: true}} {
			for act, f := range map[string]func(tx db.WriteTx) error{
				"create": func(tx db.WriteTx) error {
					_, err := h.dir.CreatePerson(ctx, tx, c, identity.NewPerson{Realm: "employees", Username: "joe"}, redact.Secret{})
					return err
				},
				"password": func(tx db.WriteTx) error { return h.dir.SetPassword(ctx, tx, c, jane.ID, redact.New(other)) },
				"disable":  func(tx db.WriteTx) error { return h.dir.DisablePerson(ctx, tx, c, jane.ID) },
				"enable":   func(tx db.WriteTx) error { return h.dir.EnablePerson(ctx, tx, c, jane.ID) },
				"list": func(tx db.WriteTx) error {
					_, err := identity.ListPeople(ctx, tx, c, identity.PeopleFilter{Limit: 1})
					return err
				},
			} {
				if err := h.d.Write(ctx, f); !fault.Is(err, fault.Forbidden) && !fault.Is(err, fault.Unauthenticated) {
					t.Errorf("%s as %s: %v", act, name, err)
				}
			}
		}
		if _, err := h.signIn("jane", janes); err != nil {
			t.Error(err)
		}
	})
}

// Names that look alike are one, or refused.
func TestNamesHaveOneForm(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for typed, want := range map[string]string{
			"\uff2a\uff21\uff2e\uff25":       "jane", // full width
			"Stra\u00dfe":                    "stra\u00dfe",
			"jos\u00e9":                      "jos\u00e9",
			"ren\u0065\u0301":                "ren\u00e9", // combining
			"\u0130stanbul":                  "i\u0307stanbul",
			"\u0436\u0430\u043d\u043d\u0430": "\u0436\u0430\u043d\u043d\u0430", // all Cyrillic
			"\u5c71\u7530":                   "\u5c71\u7530",
			"o.neil_2-x":                     "o.neil_2-x",
			"mail@example.org":               "mail@example.org",
		} {
			got, err := identity.CanonicalUsername(typed)
			if err != nil || got != want {
				t.Errorf("%q: %q, %v", typed, got, err)
			}
			if again, err := identity.CanonicalUsername(got); err != nil || again != got {
				t.Errorf("%q is not the form of itself: %q, %v", got, again, err)
			}
		}
		for _, bad := range []string{
			"", " ", "two words", "j\u0430ne", // Cyrillic а among Latin letters
			"p\u03b1ul", "jane\x00", "jane\u202eenaj", "jane\u200b", "jane.", ".jane", "a/b", "a\\b", "<b>", "jane\n", "\xff",
			strings.Repeat("x", 10_000), strings.Repeat("x", 101), "\u00ad", "\U0001F600", "\u2168",
		} {
			if got, err := identity.CanonicalUsername(bad); !fault.Is(err, fault.Invalid) {
				t.Errorf("%.30q became %q, %v", bad, got, err)
			}
			if _, err := h.tryPerson(identity.NewPerson{Realm: "employees", Username: bad}, ""); !fault.Is(err, fault.Invalid) {
				t.Errorf("%.30q was made known: %v", bad, err)
			}
		}
		h.person("employees", "jane", "", janes)
		if _, err := h.tryPerson(identity.NewPerson{Realm: "employees", Username: "\uff2a\uff41\uff4e\uff45"}, ""); !fault.Is(err, fault.Conflict) {
			t.Errorf("a twin of jane: %v", err)
		}
		// ß and ss are two names, and stay two.
		h.person("employees", "gro\u00df", "", janes)
		h.person("employees", "gross", "", other)
		if _, err := h.signIn("gro\u00df", other); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("one got in as the other: %v", err)
		}
	})
}

// What somebody signs in with, name or address, is nobody else's name or address.
func TestNamesAndAddressesAreOneSpace(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "jane", "jane@example.org", janes)
		for _, p := range []identity.NewPerson{
			{Realm: "employees", Username: "jane@example.org"},
			{Realm: "employees", Username: "JANE@EXAMPLE.ORG"},
			{Realm: "employees", Username: "joe", Email: "Jane@example.org"},
			{Realm: "employees", Username: "jane"},
		} {
			if _, err := h.tryPerson(p, ""); !fault.Is(err, fault.Conflict) {
				t.Errorf("%+v: %v", p, err)
			}
		}
		h.person("employees", "joe@example.org", "", janes)
		if _, err := h.tryPerson(identity.NewPerson{Realm: "employees", Username: "zoe", Email: "joe@example.org"}, ""); !fault.Is(err, fault.Conflict) {
			t.Errorf("an address that is a name: %v", err)
		}
		// Another realm is another population, and nobody needs an address.
		h.person("customers", "jane", "jane@example.org", other)
		h.person("employees", "ann", "", janes)
		h.person("employees", "bea", "", janes)
		// One may have one's own address as one's name.
		h.person("employees", "own@example.org", "own@example.org", janes)
		if _, err := h.signIn("own@example.org", janes); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsSaidAboutAPersonIsChecked(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		for name, p := range map[string]identity.NewPerson{
			"unknown realm":        {Realm: "nowhere", Username: "jane"},
			"realm of services":    {Realm: "services", Username: "jane"},
			"no realm":             {Username: "jane"},
			"address with a name":  {Realm: "employees", Username: "jane", Email: "Jane <jane@example.org>"},
			"address with a line":  {Realm: "employees", Username: "jane", Email: "jane@example.org\r\nBcc: eve@example.org"},
			"no address":           {Realm: "employees", Username: "jane", Email: "jane"},
			"long address":         {Realm: "employees", Username: "jane", Email: strings.Repeat("x", 300) + "@example.org"},
			"name that turns":      {Realm: "employees", Username: "jane", DisplayName: "Jane \u202e eoD"},
			"name with an escape":  {Realm: "employees", Username: "jane", DisplayName: "\x1b[31mJane"},
			"name with outer room": {Realm: "employees", Username: "jane", DisplayName: " Jane"},
			"long name":            {Realm: "employees", Username: "jane", DisplayName: strings.Repeat("x", 201)},
		} {
			if _, err := h.tryPerson(p, ""); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		p := identity.NewPerson{Realm: "employees", Username: "wilhelmina", DisplayName: "Wilhelmina Tell", Email: "wilhelmina.tell@example.org"}
		for _, weak := range []string{"short", "wilhelmina tell", "wilhelmina.tell@example.org", "passwordpassword", "aaaaaaaaaaaaaaaaaa", "mintmark employees"} {
			if _, err := h.tryPerson(p, weak); fault.Code(err) != "weak_password" {
				t.Errorf("password %q: %v", weak, err)
			}
		}
		if list, err := h.texts(`SELECT username FROM users`); err != nil || len(list) != 0 {
			t.Errorf("users %q, %v", list, err)
		}
	})
}

func TestSetPassword(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		var told []string
		h.dir.OnPasswordChanged(func(_ context.Context, _ db.WriteTx, u identity.User) error {
			told = append(told, u.Username)
			return nil
		})
		jane := h.person("employees", "jane", "", "")
		if _, err := h.signIn("jane", ""); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("somebody without a password signed in: %v", err)
		}
		h.write(func(tx db.WriteTx) error { return h.dir.SetPassword(ctx, tx, admin, jane.ID, redact.New(janes)) })
		if _, err := h.signIn("jane", janes); err != nil {
			t.Error(err)
		}
		h.write(func(tx db.WriteTx) error { return h.dir.SetPassword(ctx, tx, admin, jane.ID, redact.New(other)) })
		if _, err := h.signIn("jane", janes); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("the old password: %v", err)
		}
		if _, err := h.signIn("jane", other); err != nil {
			t.Error(err)
		}
		if len(told) < 2 {
			t.Errorf("told of %q", told)
		}
		robot := h.create("sales-orders")
		for name, userID := range map[string]string{"unknown": id.New(id.User, start), "service user": robot.ID, "malformed": "x"} {
			err := h.d.Write(ctx, func(tx db.WriteTx) error {
				return h.dir.SetPassword(ctx, tx, admin, userID, redact.New(janes))
			})
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		err := h.d.Write(ctx, func(tx db.WriteTx) error {
			return h.dir.SetPasswordHashed(ctx, tx, admin, jane.ID, identity.Hashed{})
		})
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("no password at all: %v", err)
		}
	})
}

// What a disabled person has ends with it, in one transaction.
func TestDisablingEndsWhatAPersonHas(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		jane := h.person("employees", "jane", "", janes)
		var key redact.Secret
		h.write(func(tx db.WriteTx) (err error) {
			key, err = h.dir.CreateAccessKey(ctx, tx, admin, jane.ID, "hers", time.Hour)
			return err
		})
		if _, err := h.dir.VerifyAccessKey(ctx, key); err != nil {
			t.Fatal(err)
		}
		refuse := errors.New("not now")
		var hookErr error
		var told []string
		h.dir.OnPersonDisabled(func(_ context.Context, _ db.WriteTx, u identity.User) error {
			told = append(told, u.ID)
			return hookErr
		})
		disable := func(tx db.WriteTx) error { return h.dir.DisablePerson(ctx, tx, admin, jane.ID) }

		hookErr = refuse
		if err := h.d.Write(ctx, disable); !errors.Is(err, refuse) {
			t.Fatalf("the hook's error: %v", err)
		}
		if _, err := h.signIn("jane", janes); err != nil {
			t.Errorf("half disabled: %v", err)
		}
		hookErr, told = nil, nil
		h.write(disable)
		if _, err := h.signIn("jane", janes); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("a disabled person signed in: %v", err)
		}
		if _, err := h.dir.VerifyAccessKey(ctx, key); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("its access key: %v", err)
		}
		if !slices.Contains(told, jane.ID) {
			t.Errorf("the hook was told of %q", told)
		}
		h.write(disable) // again: no error, nothing more
		h.write(func(tx db.WriteTx) error { return h.dir.EnablePerson(ctx, tx, admin, jane.ID) })
		if _, err := h.signIn("jane", janes); err != nil {
			t.Errorf("enabled again: %v", err)
		}
		if _, err := h.dir.VerifyAccessKey(ctx, key); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("the access key came back to life: %v", err)
		}
		want := []string{"access_key.create", "user.create", "user.disable", "user.enable"}
		if got, err := h.texts(`SELECT DISTINCT action FROM audit_events ORDER BY action`); err != nil || !slices.Equal(got, want) {
			t.Errorf("events %q, %v", got, err)
		}
		if got, err := h.texts(`SELECT id FROM audit_events WHERE action = 'user.disable'`); err != nil || len(got) != 1 {
			t.Errorf("%d events of disabling, %v", len(got), err)
		}
	})
}

// The bootstrap administrator has no password, so none is right; and the last administrator stays.
func TestNobodyHasADefaultPassword(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.write(func(tx db.WriteTx) error {
			_, _, err := h.dir.EnsureAdministrator(ctx, tx)
			return err
		})
		for _, guess := range []string{"", "admin", "password"} {
			if _, err := h.signIn("admin", guess); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%q: %v", guess, err)
			}
		}
		var boss identity.User
		h.write(func(tx db.WriteTx) (err error) {
			boss, err = identity.FindUser(ctx, tx, "employees", "admin")
			return err
		})
		err := h.d.Write(ctx, func(tx db.WriteTx) error { return h.dir.DisablePerson(ctx, tx, admin, boss.ID) })
		if fault.Code(err) != "last_administrator" {
			t.Errorf("the last administrator: %v", err)
		}
		if _, err := h.tryPerson(identity.NewPerson{Realm: "employees", Username: "jane", Admin: true}, janes); err != nil {
			t.Fatal(err)
		}
		h.write(func(tx db.WriteTx) error { return h.dir.DisablePerson(ctx, tx, admin, boss.ID) })
		// Making another first administrator is over once there was one.
		h.write(func(tx db.WriteTx) error {
			_, created, err := h.dir.EnsureAdministrator(ctx, tx)
			if created {
				t.Error("another first administrator was made")
			}
			return err
		})
	})
}

func TestListPeople(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.create("sales-orders") // a service user is no person
		var want []string
		for _, realm := range []string{"customers", "employees"} {
			for i := range 5 {
				h.person(realm, fmt.Sprintf("user%d", i), fmt.Sprintf("u%d@example.org", i), "")
				want = append(want, fmt.Sprintf("%s/user%d", realm, i))
			}
		}
		var got []string
		f := identity.PeopleFilter{Limit: 3}
		for {
			var page []identity.Person
			if err := h.d.Read(ctx, func(tx db.ReadTx) (err error) { page, err = identity.ListPeople(ctx, tx, admin, f); return err }); err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, p := range page {
				got = append(got, p.Realm+"/"+p.Username)
				if p.HasPassword || p.Email == "" {
					t.Errorf("%+v", p)
				}
			}
			f.AfterRealm, f.AfterUsername = page[len(page)-1].Realm, page[len(page)-1].Username
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %q", got)
		}
		for _, c := range []struct {
			f    identity.PeopleFilter
			want int
		}{{identity.PeopleFilter{Realm: "customers", Limit: 50}, 5}, {identity.PeopleFilter{Realm: "employees", Username: "user3", Limit: 50}, 1}, {identity.PeopleFilter{Realm: "employees", Username: "nobody", Limit: 50}, 0}} {
			if err := h.d.Read(ctx, func(tx db.ReadTx) error {
				page, err := identity.ListPeople(ctx, tx, admin, c.f)
				if len(page) != c.want {
					t.Errorf("%+v: %d people", c.f, len(page))
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
