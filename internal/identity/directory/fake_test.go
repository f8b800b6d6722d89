package directory_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/testport"
)

// fake speaks as much LDAP as a login needs, and does what a real server cannot be made to.
type fake struct {
	listener net.Listener
	calls    atomic.Int64 // connections

	mu       sync.Mutex
	bind     func(dn, secret string) (code int, text string) // owned by mu
	entries  []fakeEntry                                     // what every search finds; owned by mu
	searches []string                                        // filters that were asked for; owned by mu
	silent   bool                                            // it takes what is asked and answers nothing; owned by mu
	code     int                                             // of the end of searches; owned by mu
}

type fakeEntry struct {
	dn         string
	attributes map[string]string
}

func newFake(t testing.TB) *fake {
	f := &fake{listener: testport.Listen(t), bind: func(dn, secret string) (int, string) {
		if dn == searcher && secret == searcherPW || !strings.HasPrefix(dn, "cn=nobody") && secret == janes {
			return 0, ""
		}
		return ldap.LDAPResultInvalidCredentials, ""
	}}
	go func() {
		for {
			conn, err := f.listener.Accept()
			if err != nil {
				return
			}
			f.calls.Add(1)
			go f.serve(conn)
		}
	}()
	return f
}

func (f *fake) set(do func()) { f.mu.Lock(); defer f.mu.Unlock(); do() }

func (f *fake) serve(conn net.Conn) {
	defer conn.Close()
	for {
		p, err := ber.ReadPacket(conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		f.mu.Lock()
		silent, bind, entries, code := f.silent, f.bind, f.entries, f.code
		if op.Tag == ldap.ApplicationSearchRequest {
			filter, _ := ldap.DecompileFilter(op.Children[6])
			f.searches = append(f.searches, filter)
		}
		f.mu.Unlock()
		if silent {
			continue
		}
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			code, text := bind(op.Children[1].Data.String(), op.Children[2].Data.String())
			send(conn, id, result(ldap.ApplicationBindResponse, code, text))
		case ldap.ApplicationSearchRequest:
			for _, e := range entries {
				send(conn, id, e.packet())
			}
			send(conn, id, result(ldap.ApplicationSearchResultDone, code, ""))
		default:
			return
		}
	}
}

func send(conn net.Conn, id int64, op *ber.Packet) {
	p := ber.NewSequence("message")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(op)
	_, _ = conn.Write(p.Bytes()) // the other side may be gone
}

func result(tag ber.Tag, code int, text string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, text, ""))
	return p
}

func (e fakeEntry) packet() *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, e.dn, ""))
	list := ber.NewSequence("")
	for name, value := range e.attributes {
		a := ber.NewSequence("")
		a.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, value, ""))
		a.AppendChild(values)
		list.AppendChild(a)
	}
	p.AppendChild(list)
	return p
}

func jane() fakeEntry {
	return fakeEntry{"cn=Jane," + people, map[string]string{"objectGUID": "\x01\x02\xff\x00(*)\\abcdefgh", "sAMAccountName": "Jane", "displayName": "Jane Doe", "mail": "jane@example.org", "pwdLastSet": "133"}}
}

// config is of Active Directory, in clear on this machine.
func (f *fake) config() directory.Config {
	return directory.Config{
		Realm: "employees", URLs: []string{"ldap://" + f.listener.Addr().String()}, Plain: true, Timeout: 2 * time.Second, Only: true,
		BindDN: searcher, BindPassword: redact.New(searcherPW), Base: people, Filter: "(|(sAMAccountName={name})(userPrincipalName={name}))",
		Disabled:   "(userAccountControl:1.2.840.113556.1.4.803:=2)",
		Attributes: directory.Attributes{Key: "objectGUID", Username: "sAMAccountName", DisplayName: "displayName", Email: "mail", PasswordChanged: "pwdLastSet"},
	}
}

func TestActiveDirectory(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := newFake(t)
		f.entries = []fakeEntry{jane()}
		w := newWorld(t, d, c, f.config())
		u, err := w.signIn("jane", janes)
		if err != nil {
			t.Fatal(err)
		}
		if p := w.load(u.ID); p.Username != "jane" || p.DisplayName != "Jane Doe" || p.Entry != "0102ff00282a295c6162636465666768" {
			t.Errorf("%+v", p)
		}
		if got := f.searches[0]; !strings.Contains(got, "1.2.840.113556.1.4.803:=2") {
			t.Errorf("disabled entries are not left out: %s", got)
		}
		for text, reason := range map[string]string{
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 52e, v2580": "directory_password",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 533, v2580": "directory_disabled",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 532, v2580": "directory_password_expired",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 773, v2580": "directory_must_change",
			"80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data 775, v2580": "directory_locked",
		} {
			f.set(func() {
				f.bind = func(dn, secret string) (int, string) {
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
		f := newFake(t)
		f.entries = []fakeEntry{jane()}
		config := f.config()
		config.Disabled = "" // this server finds the same whatever it is asked
		w := newWorld(t, d, c, config)
		changed := 0
		w.dir.OnPasswordChanged(hook(&changed))
		for range 2 {
			if _, err := w.signIn("jane", janes); err != nil || changed != 0 {
				t.Fatalf("%v, %d", err, changed)
			}
		}
		e := jane()
		e.attributes["pwdLastSet"] = "134"
		f.set(func() { f.entries = []fakeEntry{e} })
		if r, err := w.sync(); err != nil || r.Refreshed != 1 || changed != 1 {
			t.Errorf("%+v %v, %d", r, err, changed)
		}
	})
}

// What a directory may not make true: an entry without a name, whose bind would prove nothing; entries without a key.
func TestEntriesThatProveNothing(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := newFake(t)
		bound := 0
		f.bind = func(dn, _ string) (int, string) {
			if dn != searcher && !strings.HasPrefix(dn, "cn=nobody") {
				bound++
			}
			if strings.HasPrefix(dn, "cn=nobody") {
				return ldap.LDAPResultInvalidCredentials, ""
			}
			return 0, ""
		}
		w := newWorld(t, d, c, f.config())
		nameless, keyless, odd := jane(), jane(), jane()
		nameless.dn = ""
		delete(keyless.attributes, "objectGUID")
		odd.attributes["sAMAccountName"] = "<script>"
		for reason, e := range map[string]fakeEntry{"directory_entry": nameless, "directory_key": keyless, "directory_username": odd} {
			f.set(func() { f.entries = []fakeEntry{e} })
			if _, err := w.signIn("jane", janes); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s: %v", reason, err)
			}
			if got := w.reason(); got != reason {
				t.Errorf("%s, want %s", got, reason)
			}
			c.Set(c.Now().Add(time.Hour))
		}
		f.set(func() { f.entries = []fakeEntry{jane()} })
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
		f.set(func() { f.entries, f.bind = nil, func(string, string) (int, string) { return 0, "" } })
		if _, err := w.signIn("nobody", janes); err == nil {
			t.Error("somebody is in")
		}
	})
}

// While the directory is away nothing is counted, nobody gets in who has not proved anything, and administrators do.
func TestDirectoryIsAway(t *testing.T) {
	for what, spoil := range map[string]func(f *fake){
		"it does not answer": func(f *fake) { f.silent = true },
		"it is busy":         func(f *fake) { f.code = ldap.LDAPResultBusy },
		"it is in trouble":   func(f *fake) { f.code = ldap.LDAPResultOther },
		"the bind is not answered": func(f *fake) {
			f.bind = func(dn, _ string) (int, string) {
				if dn == searcher {
					return 0, ""
				}
				return ldap.LDAPResultUnavailable, ""
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			onOne(t, func(d *db.DB, c *clock.Fake) {
				f := newFake(t)
				f.entries = []fakeEntry{jane()}
				config := f.config()
				config.Timeout = 150 * time.Millisecond
				w := newWorld(t, d, c, config)
				w.account("keeper", "", keepers, true)
				u, err := w.signIn("jane", janes)
				if err != nil {
					t.Fatal(err)
				}
				f.set(func() { spoil(f) })
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
				f.set(func() { f.silent, f.code, f.bind = false, 0, newFake(t).bind })
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
		first, second := newFake(t), newFake(t)
		first.entries, second.entries = []fakeEntry{jane()}, []fakeEntry{jane()}
		config := first.config()
		config.URLs, config.Timeout = append(config.URLs, second.config().URLs...), 150*time.Millisecond
		w := newWorld(t, d, c, config)
		in := func() {
			t.Helper()
			if _, err := w.signIn("jane", janes); err != nil {
				t.Fatal(err)
			}
		}
		in()
		if second.calls.Load() != 0 {
			t.Error("the second server was asked though the first answers")
		}
		first.set(func() { first.silent = true })
		_, _ = w.signIn("jane", janes) // finds out that the first does not answer
		in()
		asked := first.calls.Load()
		for range 5 {
			in()
		}
		if first.calls.Load() != asked || second.calls.Load() == 0 {
			t.Errorf("the first server was asked %d times within its pause", first.calls.Load()-asked)
		}
		first.set(func() { first.silent = false })
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
	f := newFake(t)
	f.entries = []fakeEntry{jane()}
	binds := 0
	right := f.bind
	f.bind = func(dn, secret string) (int, string) {
		if dn == jane().dn {
			binds++
		}
		return right(dn, secret)
	}
	w := newWorld(t, d, c, f.config())
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
		f := newFake(t)
		f.entries = []fakeEntry{jane()}
		w := newWorld(t, d, c, f.config())
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
		f.set(func() { f.entries = nil })
		if nobody := guess("nobody"); !slices.Equal(one, nobody) || !slices.Equal(other, nobody) {
			t.Errorf("%v and %v, of nobody %v", one, other, nobody)
		}
	})
}

// An answer that is larger than anybody asked for ends the connection.
func TestAnswersAreBounded(t *testing.T) {
	onOne(t, func(d *db.DB, c *clock.Fake) {
		f := newFake(t)
		huge := jane()
		huge.attributes["displayName"] = strings.Repeat("x", 3<<20)
		f.entries = []fakeEntry{huge}
		w := newWorld(t, d, c, f.config())
		if _, err := w.signIn("jane", janes); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v", err)
		}
	})
}

func hook(n *int) identity.PersonHook {
	return func(context.Context, db.WriteTx, identity.User) error { *n++; return nil }
}
