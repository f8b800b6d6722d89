package directory_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/identity/directory/directorytest"
)

func TestActiveDirectory(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := directorytest.New(t)
		f.Entries = []directorytest.Entry{directorytest.Jane()}
		w := newWorld(t, d, c, f.Config())
		u, err := w.signIn("jane", janes)
		if err != nil {
			t.Fatal(err)
		}
		if p := w.load(u.ID); p.Username != "jane" || p.DisplayName != "Jane Doe" || p.Entry != "0102ff00282a295c6162636465666768" {
			t.Errorf("%+v", p)
		}
		if got := f.Searches[0]; !strings.Contains(got, "1.2.840.113556.1.4.803:=2") {
			t.Errorf("disabled entries are not left out: %s", got)
		}
		for text, reason := range map[string]string{
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v2580": "directory_password",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 533, v2580": "directory_disabled",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 532, v2580": "directory_password_expired",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 773, v2580": "directory_must_change",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 775, v2580": "directory_locked",
		} {
			f.Set(func() {
				f.Bind = func(dn, secret string) (int, string) {
					if dn == searcher {
						return 0, ""
					}
					return ldap.LDAPResultInvalidCredentials, text
				}
			})
			if _, err := w.signIn("jane", janes); !errors.Is(err, identity.ErrCredentials) || err.Error() != identity.ErrCredentials.Error() {
				t.Errorf("%s: %v", reason, err)
			}
			if got := w.reason(); got != reason {
				t.Errorf("%s, want %s", got, reason)
			}
			c.Set(c.Now().Add(time.Hour))
		}
	})
}

// A password that was changed in the directory ends what the one before began.
func TestPasswordChangedInTheDirectory(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := directorytest.New(t)
		f.Entries = []directorytest.Entry{directorytest.Jane()}
		config := f.Config()
		config.Disabled = "" // this server finds the same whatever it is asked
		w := newWorld(t, d, c, config)
		changed := 0
		w.dir.OnPasswordChanged(hook(&changed))
		for range 2 {
			if _, err := w.signIn("jane", janes); err != nil || changed != 0 {
				t.Fatalf("%v, %d", err, changed)
			}
		}
		e := directorytest.Jane()
		e.Attributes["pwdLastSet"] = "134"
		f.Set(func() { f.Entries = []directorytest.Entry{e} })
		if r, err := w.sync(); err != nil || r.Refreshed != 1 || changed != 1 {
			t.Errorf("%+v %v, %d", r, err, changed)
		}
	})
}

// What a directory may not make true: an entry without a name, whose bind would prove nothing; entries without a key.
func TestEntriesThatProveNothing(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := directorytest.New(t)
		bound := 0
		f.Bind = func(dn, _ string) (int, string) {
			if dn != searcher && !strings.HasPrefix(dn, "cn=nobody") {
				bound++
			}
			if strings.HasPrefix(dn, "cn=nobody") {
				return ldap.LDAPResultInvalidCredentials, ""
			}
			return 0, ""
		}
		w := newWorld(t, d, c, f.Config())
		nameless, keyless, odd := directorytest.Jane(), directorytest.Jane(), directorytest.Jane()
		nameless.DN = ""
		delete(keyless.Attributes, "objectGUID")
		odd.Attributes["sAMAccountName"] = "<script>"
		for reason, e := range map[string]directorytest.Entry{"directory_entry": nameless, "directory_key": keyless, "directory_username": odd} {
			f.Set(func() { f.Entries = []directorytest.Entry{e} })
			if _, err := w.signIn("jane", janes); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s: %v", reason, err)
			}
			if got := w.reason(); got != reason {
				t.Errorf("%s, want %s", got, reason)
			}
			c.Set(c.Now().Add(time.Hour))
		}
		f.Set(func() { f.Entries = []directorytest.Entry{directorytest.Jane()} })
		for _, secret := range []string{"", "\x00", "a\x00b"} {
			if _, err := w.signIn("jane", secret); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%q: %v", secret, err)
			}
			c.Set(c.Now().Add(time.Hour))
		}
		if bound != 0 {
			t.Errorf("%d binds that prove nothing reached the directory", bound)
		}
		// One that accepts whatever is shown to it lets nobody in by that.
		f.Set(func() { f.Entries, f.Bind = nil, func(string, string) (int, string) { return 0, "" } })
		if _, err := w.signIn("nobody", janes); err == nil {
			t.Error("somebody is in")
		}
	})
}

// While the directory is away nothing is counted, nobody gets in who has not proved anything, and administrators do.
func TestDirectoryIsAway(t *testing.T) {
	for what, spoil := range map[string]func(f *directorytest.Server){
		"it does not answer": func(f *directorytest.Server) { f.Silent = true },
		"it is busy":         func(f *directorytest.Server) { f.Code = ldap.LDAPResultBusy },
		"it is in trouble":   func(f *directorytest.Server) { f.Code = ldap.LDAPResultOther },
		"the bind is not answered": func(f *directorytest.Server) {
			f.Bind = func(dn, _ string) (int, string) {
				if dn == searcher {
					return 0, ""
				}
				return ldap.LDAPResultUnavailable, ""
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			onOne(t, func(d *db.DB, c *clock.Fake) {
				f := directorytest.New(t)
				f.Entries = []directorytest.Entry{directorytest.Jane()}
				config := f.Config()
				config.Timeout = 150 * time.Millisecond
				w := newWorld(t, d, c, config)
				w.account("keeper", "", keepers, true)
				u, err := w.signIn("jane", janes)
				if err != nil {
					t.Fatal(err)
				}
				f.Set(func() { spoil(f) })
				for range identity.FreeTries + 3 {
					_, err := w.signIn("jane", janes)
					if fault.Code(err) != "directory_unavailable" || fault.Of(err).RetryAfter == 0 {
						t.Fatalf("%v", err)
					}
				}
				if _, err := w.signIn("keeper", keepers); err != nil {
					t.Errorf("an administrator without an entry: %v", err)
				}
				if r, err := w.sync(); err == nil || r.Outcome != directory.Failed || !w.enabled(u) {
					t.Errorf("%+v %v", r, err)
				}
				f.Set(func() { f.Silent, f.Code, f.Bind = false, 0, directorytest.New(t).Bind })
				c.Set(c.Now().Add(time.Minute))
				if _, err := w.signIn("jane", janes); err != nil {
					t.Errorf("after it came back: %v", err)
				}
			})
		})
	}
}

// The second server is asked while the first is away, and the first again after a while.
func TestServersInTheirOrder(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		first, second := directorytest.New(t), directorytest.New(t)
		first.Entries, second.Entries = []directorytest.Entry{directorytest.Jane()}, []directorytest.Entry{directorytest.Jane()}
		config := first.Config()
		config.URLs, config.Timeout = append(config.URLs, second.Config().URLs...), 150*time.Millisecond
		w := newWorld(t, d, c, config)
		in := func() {
			t.Helper()
			if _, err := w.signIn("jane", janes); err != nil {
				t.Fatal(err)
			}
		}
		in()
		if second.Calls.Load() != 0 {
			t.Error("the second server was asked though the first answers")
		}
		first.Set(func() { first.Silent = true })
		_, _ = w.signIn("jane", janes) // finds out that the first does not answer
		in()
		asked := first.Calls.Load()
		for range 5 {
			in()
		}
		if first.Calls.Load() != asked || second.Calls.Load() == 0 {
			t.Errorf("the first server was asked %d times within its pause", first.Calls.Load()-asked)
		}
		first.Set(func() { first.Silent = false })
	})
}

// Guesses at an entry by several names are guesses at one person, which few of them reach; and none is told, so that
// nobody learns which names are one person's.
func TestGuessesAreCountedBeforeTheDirectoryIsAsked(t *testing.T) {
	for what, known := range map[string]bool{"an entry that is nobody's yet": false, "somebody's": true} {
		t.Run(what, func(t *testing.T) {
			onOne(t, func(d *db.DB, c *clock.Fake) { guessesAtAnEntry(t, d, c, known) })
		})
	}
}

func guessesAtAnEntry(t *testing.T, d *db.DB, c *clock.Fake, known bool) {
	f := directorytest.New(t)
	f.Entries = []directorytest.Entry{directorytest.Jane()}
	binds := 0
	right := f.Bind
	f.Bind = func(dn, secret string) (int, string) {
		if dn == directorytest.Jane().DN {
			binds++
		}
		return right(dn, secret)
	}
	w := newWorld(t, d, c, f.Config())
	if known {
		if _, err := w.signIn("jane", janes); err != nil {
			t.Fatal(err)
		}
	}
	binds = 0
	for n := range 4 * identity.FreeTries {
		if _, err := w.signIn("jane.doe"+strings.Repeat("e", n), "wrong"); !errors.Is(err, identity.ErrCredentials) {
			t.Fatalf("guess %d, by a new name: %v", n, err)
		}
	}
	if binds != 2*identity.FreeTries {
		t.Errorf("%d guesses reached the directory", binds)
	}
	// Now the person waits, and under no name that is to be seen: neither under one that has failed, nor under one that
	// has not. The right password is no better.
	binds = 0
	for _, name := range []string{"jane.doe", "j.doe"} {
		if _, err := w.signIn(name, janes); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if binds != 0 {
		t.Errorf("%d guesses reached the directory although the person waits", binds)
	}
	c.Advance(time.Minute)
	if _, err := w.signIn("j.doe", janes); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

// How long a name must wait tells nothing of another one, which the directory finds the same entry by: both wait as one
// does that it does not find.
func TestWaitsDoNotTellWhichNamesAreOne(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := directorytest.New(t)
		f.Entries = []directorytest.Entry{directorytest.Jane()}
		w := newWorld(t, d, c, f.Config())
		guess := func(name string) (waits []time.Duration) {
			for range identity.FreeTries + 2 {
				_, err := w.signIn(name, "wrong")
				if !errors.Is(err, identity.ErrCredentials) && !fault.Is(err, fault.Limited) {
					t.Fatal(err)
				}
				waits = append(waits, fault.Of(err).RetryAfter)
			}
			return waits
		}
		one, other := guess("jane"), guess("jane@example.org")
		f.Set(func() { f.Entries = nil })
		if nobody := guess("nobody"); !slices.Equal(one, nobody) || !slices.Equal(other, nobody) {
			t.Errorf("%v and %v, of nobody %v", one, other, nobody)
		}
	})
}

// An answer that is larger than anybody asked for ends the connection.
func TestAnswersAreBounded(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := directorytest.New(t)
		huge := directorytest.Jane()
		huge.Attributes["displayName"] = strings.Repeat("x", 3<<20)
		f.Entries = []directorytest.Entry{huge}
		w := newWorld(t, d, c, f.Config())
		if _, err := w.signIn("jane", janes); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v", err)
		}
	})
}

func hook(n *int) identity.PersonHook {
	return func(context.Context, db.WriteTx, identity.User) error { *n++; return nil }
}
