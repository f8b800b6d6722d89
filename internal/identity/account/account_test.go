package account_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
)

const secret = "a walk in the rain at night"

// post takes letters, as a mail server does.
type post struct {
	fails  error
	sent   []string
	newest mail.Message
}

func (p *post) Send(_ context.Context, messageID string, l mail.Message) error {
	if p.fails == nil {
		p.sent, p.newest = append(p.sent, messageID+" "+l.Subject+" "+l.To), l
	}
	return p.fails
}

// office is the service on one database.
type office struct {
	*testing.T
	d        *db.DB
	clock    *clock.Fake
	dir      *identity.Directory
	accounts *account.Service
	outbox   *mail.Outbox
	keyring  *seal.Keyring
	post     *post
}

func offices(t *testing.T, f func(t *testing.T, o *office)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			o := &office{T: t, clock: clock.NewFake(start), post: &post{}}
			o.d = dbtest.Open(t, engine, o.clock)
			k := sealtest.New(t, o.d)
			o.keyring = k
			var err error
			o.dir, err = identity.New(o.d, k, identity.Options{Clock: o.clock, Passwords: password.NewPool(password.Options{Params: password.Params{Memory: 64, Time: 1, Threads: 1}})})
			if err != nil {
				t.Fatal(err)
			}
			o.outbox = mail.NewOutbox(o.d, k, mail.Options{Sender: o.post, Domain: "mint.example.org"})
			o.accounts = account.New(o.d, k, o.dir, o.outbox, account.Options{Issuer: "https://mint.example.org", Policies: map[string]account.Policy{"customers": {Registration: account.Open}}})
			f(t, o)
		})
	}
}

func (o *office) write(f func(tx db.WriteTx) error) {
	o.Helper()
	if err := o.d.Write(ctx, f); err != nil {
		o.Fatal(err)
	}
}

func (o *office) person(name, email string) (u identity.User) {
	o.Helper()
	o.write(func(tx db.WriteTx) (err error) {
		u, err = o.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: name, Email: email}, redact.New(secret))
		return err
	})
	return u
}

// count counts the rows of a table.
func (o *office) count(table string) (n int) {
	o.Helper()
	if err := o.d.Read(ctx, func(tx db.ReadTx) error { return tx.QueryRow(ctx, `SELECT count(*) FROM `+table).Scan(&n) }); err != nil {
		o.Fatal(err)
	}
	return n
}

// drain sends all letters and forgets them.
func (o *office) drain() (list []string) {
	o.Helper()
	for o.count("mails") > 0 {
		j := o.firstMail()
		if _, err := o.outbox.Deliver(ctx, j); err != nil {
			o.Fatal(err)
		}
		o.write(func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, mail.JobKind, j.Key) })
	}
	list, o.post.sent = o.post.sent, nil
	for i, text := range list {
		_, list[i], _ = strings.Cut(text, " ")
	}
	slices.Sort(list)
	return list
}

func (o *office) firstMail() jobs.Job {
	o.Helper()
	j := jobs.Job{Kind: mail.JobKind, Epoch: 7}
	o.write(func(tx db.WriteTx) error {
		if err := tx.QueryRow(ctx, `SELECT key FROM jobs WHERE kind = $1 ORDER BY key LIMIT 1`, mail.JobKind).Scan(&j.Key); err != nil {
			return err
		}
		return db.One(tx.Exec(ctx, `UPDATE jobs SET node = 'test', epoch = 7 WHERE kind = $1 AND key = $2`, mail.JobKind, j.Key))
	})
	return j
}

// job is a claim of the only job of a kind.
func (o *office) job(kind string, epoch int64) jobs.Job {
	o.Helper()
	j := jobs.Job{Kind: kind, Epoch: epoch}
	o.write(func(tx db.WriteTx) error {
		if err := tx.QueryRow(ctx, `SELECT key FROM jobs WHERE kind = $1`, kind).Scan(&j.Key); err != nil {
			return err
		}
		return db.One(tx.Exec(ctx, `UPDATE jobs SET node = 'test', epoch = $3 WHERE kind = $1 AND key = $2`, kind, j.Key, epoch))
	})
	return j
}

// asks asks for a new password and does the job.
func (o *office) asks(name, ip string, device redact.Secret) {
	o.Helper()
	if err := o.accounts.AskReset(ctx, account.Asker{IP: ip, Device: device}, "employees", name); err != nil {
		o.Fatal(err)
	}
	j := o.job(account.JobKind, 1)
	if _, err := o.accounts.Handle(ctx, j); err != nil {
		o.Fatal(err)
	}
	o.write(func(tx db.WriteTx) error { return jobs.Cancel(ctx, tx, account.JobKind, j.Key) })
}

// Strangers use up neither what the person asks for in a browser of her own, nor at once what she asks for elsewhere; and
// whatever they do together, few letters go to one mailbox.
func TestB8_157_StrangersLeaveTheOwnersLetters(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		jane, bob := o.person("jane", "jane@example.org"), o.person("bob", "")
		knows := func(u identity.User) (device redact.Secret) {
			o.write(func(tx db.WriteTx) (err error) {
				_, device, err = o.dir.RememberDevice(ctx, tx, u, redact.Secret{}, "203.0.113.9", "Firefox")
				return err
			})
			return device
		}
		hers, his := knows(jane), knows(bob)
		o.drain()
		for _, c := range []struct {
			who, ip string
			device  redact.Secret
			times   int
			letters int
		}{
			{"a stranger", "192.0.2.1", redact.Secret{}, 5, 3},
			{"the person, in a browser that is new", "198.51.100.1", redact.Secret{}, 1, 1},
			{"another person in a browser of his", "192.0.2.1", his, 1, 0},
			{"another stranger", "192.0.2.2", redact.Secret{}, 5, 2},
			{"one more", "192.0.2.3", redact.Secret{}, 1, 0},
			{"one who made a device up", "192.0.2.4", redact.New("mmn_" + strings.Repeat("a", 43)), 1, 0},
			{"the person, in a browser of hers", "192.0.2.1", hers, 4, 3},
		} {
			for range c.times {
				o.asks("jane", c.ip, c.device)
			}
			if got := o.drain(); len(got) != c.letters {
				t.Errorf("%s asks %d times: %q", c.who, c.times, got)
			}
		}
		o.clock.Advance(time.Hour)
		o.asks("jane", "192.0.2.1", redact.Secret{})
		if got := o.drain(); len(got) != 1 {
			t.Errorf("after the hour: %q", got)
		}
	})
}

// TestNotices holds of what people are told by mail, and of what not.
func TestNotices(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		jane, silent := o.person("jane", "jane@example.org"), o.person("silent", "")
		signIn := func(u identity.User, value redact.Secret) (kept redact.Secret) {
			o.write(func(tx db.WriteTx) (err error) {
				_, kept, err = o.dir.RememberDevice(ctx, tx, u, value, "192.0.2.1", "Firefox")
				return err
			})
			return kept
		}
		told := func(what string, want ...string) {
			t.Helper()
			if got := o.drain(); strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		first := signIn(jane, redact.Secret{})
		told("the first browser of all")
		signIn(jane, first)
		told("a browser that is known")
		signIn(jane, redact.Secret{})
		told("another browser", "A sign-in from a new browser jane@example.org")
		signIn(silent, redact.Secret{})
		signIn(silent, redact.Secret{})
		told("somebody without an address")
		self := access.Caller{Kind: access.Person, ID: jane.ID}
		for _, c := range []mfa.Change{
			{User: jane, What: mfa.Added, Factor: mfa.Passkeys, By: self}, {User: jane, What: mfa.Removed, Factor: mfa.App, By: admin}, {User: jane, What: mfa.Used, Factor: mfa.Codes, By: self},
		} {
			o.write(func(tx db.WriteTx) error { return o.accounts.FactorsChanged(ctx, tx, c) })
			told("a factor", "How you sign in has changed jane@example.org")
		}
		o.write(func(tx db.WriteTx) error { return o.dir.ChangeEmail(ctx, tx, admin, jane.ID, "new@example.org") })
		told("another address", "Confirm your e-mail address new@example.org", "Your e-mail address was changed jane@example.org")
		o.write(func(tx db.WriteTx) error {
			return o.dir.SetPassword(ctx, tx, admin, jane.ID, redact.New("seven small boats on a lake"))
		})
		told("another password", "Your password was changed new@example.org")
	})
}

// TestClosedByDefault holds that nobody registers where nothing was said, nor where no mail is sent.
func TestClosedByDefault(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		for realm, open := range map[string]bool{"customers": true, "employees": false, "services": false, "nowhere": false} {
			err := o.accounts.AskRegistration(ctx, account.Asker{IP: "192.0.2.1"}, realm, "new@example.org", "/account")
			if (err == nil) != open || err != nil && !fault.Is(err, fault.Forbidden) || o.accounts.Registers(realm) != open {
				t.Errorf("%s: %v", realm, err)
			}
		}
		silent := account.New(o.d, o.keyring, o.dir, mail.NewOutbox(o.d, o.keyring, mail.Options{}), account.Options{Policies: map[string]account.Policy{"customers": {Registration: account.Open}}})
		if err := silent.AskRegistration(ctx, account.Asker{}, "customers", "new@example.org", "/"); !fault.Is(err, fault.Forbidden) || silent.Resets() || silent.MayChange(identity.Person{User: identity.User{Realm: "customers"}}, account.Email) {
			t.Errorf("where no mail is sent: %v", err)
		}
	})
}

// TestAsksAreFew holds how many rows one address can have written.
func TestAsksAreFew(t *testing.T) {
	offices(t, func(t *testing.T, o *office) {
		ask := func(ip string) error {
			return o.accounts.AskReset(ctx, account.Asker{IP: ip}, "employees", "nobody")
		}
		for i := range 30 {
			if err := ask("2001:db8::" + string(rune('a'+i%6))); (err == nil) != (i < 20) || err != nil && !fault.Is(err, fault.Limited) {
				t.Errorf("request %d: %v", i, err)
			}
		}
		if err := ask("2001:db8:0:1::a"); err != nil {
			t.Errorf("another network: %v", err)
		}
		if n := o.count("account_requests"); n != 21 {
			t.Errorf("%d rows", n)
		}
		o.clock.Advance(11 * time.Minute)
		if err := ask("2001:db8::a"); err != nil {
			t.Errorf("it never ends: %v", err)
		}
	})
}
