package directory_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/testport"
)

const keepers = "somewhere a lamp burns late"

func TestSignInByTheDirectory(t *testing.T) {
	s := directoryServer(t)
	onBoth(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		w := newWorld(t, d, c, openldap(s))
		jane, err := w.signIn("jane", janes)
		if err != nil {
			t.Fatal(err)
		}
		p := w.load(jane.ID)
		if p.Username != "jane" || p.DisplayName != "Jane Doe" || p.Email != "jane@example.org" || !p.EmailVerified.IsZero() || p.HasPassword || p.Entry == "" || p.Realm != "employees" {
			t.Errorf("%+v", p)
		}
		for _, name := range []string{"jane", "JANE", "jane@example.org", " Jane@Example.org "} {
			again, err := w.signIn(name, janes)
			if err != nil || again.ID != jane.ID {
				t.Errorf("%q: %v %v", name, again.ID, err)
			}
		}
		for _, wrong := range []struct{ name, secret, reason string }{
			{"jane", "wrong", "directory_password"}, {"nobody", janes, "directory_unknown"}, {"joe", "", "directory_no_password"}, {"", janes, "directory_unknown"},
			{"joe", "\x00", "directory_no_password"}, {"joe", strings.Repeat("x", 2000), "directory_no_password"},
		} {
			if _, err := w.signIn(wrong.name, wrong.secret); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s: %v", wrong.name, err)
			}
			if got := w.reason(); got != wrong.reason {
				t.Errorf("%s: the audit log says %s, want %s", wrong.name, got, wrong.reason)
			}
		}
	})
}

// Attack: a name that is a filter (RFC 4515) finds nobody and nothing, whatever it is.
func TestNamesAreValuesInTheFilter(t *testing.T) {
	s := directoryServer(t)
	onOne(t, func(d *db.DB, c *clock.Fake) {
		// Usernames here could not hold these characters, so the filter is looked at alone as well.
		config := openldap(s)
		w := newWorld(t, d, c, config)
		for _, name := range []string{"*", "jan*", "jane)(uid=*", "jane)(|(uid=*", "*)(objectClass=*", `\2a`, "jane\x00", "jane)(!(uid=x)", "(uid=jane)", "jane@example.org)(uid=*", `"*"@example.org`} {
			if _, err := w.signIn(name, janes); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%q: %v", name, err)
			}
			c.Set(c.Now().Add(3600e9))
			if found, err := w.service.Look(ctx, "employees", name); fault.Code(err) != "directory_unknown" {
				t.Errorf("%q finds %+v, %v", name, found, err)
			}
		}
	})
}

func TestAccountsKeptHere(t *testing.T) {
	s := directoryServer(t)
	onBoth(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		w := newWorld(t, d, c, openldap(s))
		keeper := w.account("keeper", "", keepers, true)
		w.account("guest", "", keepers, false)
		if u, err := w.signIn("keeper", keepers); err != nil || u.ID != keeper.ID {
			t.Errorf("the administrator for bad days: %v", err)
		}
		if _, err := w.signIn("keeper", "wrong"); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("%v", err)
		}
		if _, err := w.signIn("guest", keepers); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("an account that only administrators may have: %v", err)
		}
	})
	onOne(t, func(d *db.DB, c *clock.Fake) {
		config := openldap(s)
		config.Only = false
		w := newWorld(t, d, c, config)
		guest, jane := w.account("guest", "joe@example.org", keepers, false), w.account("jane", "", keepers, false)
		if u, err := w.signIn("guest", keepers); err != nil || u.ID != guest.ID {
			t.Errorf("beside the directory: %v", err)
		}
		if u, err := w.signIn("jane", keepers); err != nil || u.ID != jane.ID {
			t.Errorf("an account stays its owner's: %v", err)
		}
		if _, err := w.signIn("jane", janes); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("somebody of the directory got the account of another: %v", err)
		}
		// The address of the entry is somebody else's here: it is left out, and joe is not guest.
		joe, err := w.signIn("joe", janes)
		if err != nil || joe.ID == guest.ID || w.load(joe.ID).Email != "" {
			t.Errorf("%v %+v", err, w.load(joe.ID))
		}
		// By another name of the entry, whose username is taken here.
		if _, err := w.signIn("jane@example.org", janes); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("a name that is taken: %v", err)
		}
	})
}

func TestAccountsAreAdopted(t *testing.T) {
	s := directoryServer(t)
	onBoth(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		config := openldap(s)
		config.Adopt = true
		w := newWorld(t, d, c, config)
		jane, joe := w.account("jane", "", keepers, false), w.account("joe", "", keepers, true)
		if _, err := w.signIn("jane", keepers); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("the password from here: %v", err)
		}
		if u, err := w.signIn("jane", janes); err != nil || u.ID != jane.ID || w.load(u.ID).HasPassword {
			t.Errorf("%v %+v", err, w.load(jane.ID))
		}
		if _, err := w.signIn("joe", janes); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("the directory got an administrator's account: %v", err)
		}
		if u, err := w.signIn("joe", keepers); err != nil || u.ID != joe.ID {
			t.Errorf("%v", err)
		}
	})
}

// Whoever signs in with a provider chooses a name; it must not be that of an entry whose person then gets the account, in
// which the other one signs in still.
func TestAccountsOfProvidersAreNotAdopted(t *testing.T) {
	s := directoryServer(t)
	onOne(t, func(d *db.DB, c *clock.Fake) {
		config := openldap(s)
		config.Adopt = true
		w := newWorld(t, d, c, config)
		var evil identity.User
		w.write(func(tx db.WriteTx) (err error) {
			evil, err = w.dir.CreatePersonHashed(ctx, tx, access.SystemCaller(identity.ByProvider), identity.NewPerson{Realm: "employees", Username: "jane"}, identity.Hashed{})
			return err
		})
		if u, err := w.signIn("jane", janes); !errors.Is(err, identity.ErrCredentials) {
			t.Fatalf("signed in as %v (%v is somebody else's), %v", u.ID, evil.ID, err)
		}
		if code := w.reason(); code != "directory_name_taken" {
			t.Errorf("refused because of %s", code)
		}
	})
}

// An entry that is renamed keeps its person; another one under the old name is somebody else.
func TestRenamedEntries(t *testing.T) {
	s := directoryServer(t)
	ou := s.organizationalUnit(t, "renamed")
	s.change(t, person(ou, "ann", "Ann Lee", "ann@example.org", janes))
	onOne(t, func(d *db.DB, c *clock.Fake) {
		config := openldap(s)
		config.Base, config.TrustEmail = ou, true
		w := newWorld(t, d, c, config)
		ann, err := w.signIn("ann", janes)
		if err != nil || w.load(ann.ID).EmailVerified.IsZero() {
			t.Fatal(err)
		}
		s.change(t, fmt.Sprintf("dn: uid=ann,%s\nchangetype: modrdn\nnewrdn: uid=anna\ndeleteoldrdn: 1\n\ndn: uid=anna,%s\nchangetype: modify\nreplace: mail\nmail: anna@example.org\n-\nreplace: cn\ncn: Anna Lee\n\n", ou, ou))
		s.change(t, person(ou, "ann", "Another Ann", "ann@example.org", janes))
		if u, err := w.signIn("anna", janes); err != nil || u.ID != ann.ID {
			t.Fatalf("%v %v, want %v", err, u.ID, ann.ID)
		}
		if p := w.load(ann.ID); p.Username != "anna" || p.Email != "anna@example.org" || p.DisplayName != "Anna Lee" || p.EmailVerified.IsZero() {
			t.Errorf("%+v", p)
		}
		if u, err := w.signIn("ann", janes); err != nil || u.ID == ann.ID {
			t.Errorf("a new entry under an old name is the old person: %v %v", u.ID, err)
		}
	})
}

func TestWhatLeadsNowhere(t *testing.T) {
	s := directoryServer(t)
	ou := s.organizationalUnit(t, "odd")
	elsewhere := testport.Listen(t)
	called := make(chan struct{}, 10)
	go func() {
		for {
			conn, err := elsewhere.Accept()
			if err != nil {
				return
			}
			called <- struct{}{}
			conn.Close()
		}
	}()
	s.change(t, person(ou, "ben", "Ben One", "ben@example.org", janes)+person(ou, "ben2", "Ben Two", "ben@example.org", janes)+
		person(ou, "max", "Max", "max@example.org", janes)+
		fmt.Sprintf("dn: ou=away,%s\nobjectClass: referral\nobjectClass: extensibleObject\nou: away\nref: ldap://%s/ou=away,%s\n\n", ou, elsewhere.Addr(), base))
	onOne(t, func(d *db.DB, c *clock.Fake) {
		config := openldap(s)
		config.Base = ou
		w := newWorld(t, d, c, config)
		for _, x := range []struct{ name, reason string }{{"ben@example.org", "directory_ambiguous"}, {"away", "directory_unknown"}} {
			if _, err := w.signIn(x.name, janes); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s: %v", x.name, err)
			}
			if got := w.reason(); got != x.reason {
				t.Errorf("%s: %s", x.name, got)
			}
		}
		if _, err := w.signIn("max", janes); err != nil {
			t.Errorf("beside a referral: %v", err)
		}
		if len(called) > 0 {
			t.Error("a referral was followed")
		}
		// Below a base that is a referral nobody is found, and nobody is refused for a wrong password.
		config.Base = "ou=away," + ou
		w = newWorld(t, dbtestOpen(t), c, config)
		if _, err := w.signIn("max", janes); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a base that is elsewhere: %v", err)
		}
		if len(called) > 0 {
			t.Error("a referral was followed")
		}
	})
}

func TestConnectionsAreProtected(t *testing.T) {
	s := directoryServer(t)
	onOne(t, func(_ *db.DB, c *clock.Fake) {
		started := openldap(s)
		started.URLs = []string{"ldap://" + s.plain}
		if _, err := newWorld(t, dbtestOpen(t), c, started).signIn("jane", janes); err != nil {
			t.Errorf("StartTLS: %v", err)
		}
		for name, url := range map[string]string{"ldaps": "ldaps://" + s.tls, "StartTLS": "ldap://" + s.plain} {
			foreign, unknown := openldap(s), openldap(s)
			foreign.URLs, foreign.ServerName = []string{url}, "other.example.org"
			unknown.URLs, unknown.CAFile = []string{url}, ""
			for why, config := range map[string]directory.Config{"another name": foreign, "an unknown authority": unknown} {
				if _, err := newWorld(t, dbtestOpen(t), c, config).signIn("jane", janes); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "certificate") {
					t.Errorf("%s with a certificate of %s: %v", name, why, err)
				}
			}
		}
		plain := openldap(s)
		plain.URLs, plain.Plain = []string{"ldap://" + s.plain}, true
		if _, err := newWorld(t, dbtestOpen(t), c, plain).signIn("jane", janes); err != nil {
			t.Errorf("in clear on this machine: %v", err)
		}
		for _, url := range []string{"ldap://ldap.example.org", "http://x", "ldaps://", "ldap://127.0.0.1/dc=x", "ldaps://u:p@host"} {
			refused := openldap(s)
			refused.URLs, refused.Plain = []string{url}, true
			if refused.Check() == nil {
				t.Errorf("%s is taken", url)
			}
		}
	})
}

// A searcher's password that is wrong is the operator's mistake, and nobody's wrong password.
func TestSearcherIsRefused(t *testing.T) {
	s := directoryServer(t)
	onOne(t, func(d *db.DB, c *clock.Fake) {
		config := openldap(s)
		config.BindPassword = redact.New("another")
		w := newWorld(t, d, c, config)
		w.account("keeper", "", keepers, true)
		for range identity.FreeTries + 2 {
			if _, err := w.signIn("jane", janes); fault.Code(err) != "directory_unavailable" || strings.Contains(err.Error(), "another") {
				t.Errorf("%v", err)
			}
		}
		if _, err := w.signIn("keeper", keepers); err != nil {
			t.Errorf("%v", err)
		}
	})
}
