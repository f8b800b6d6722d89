package directory_test

import (
	"context"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	ctx   = context.Background()
	start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin = access.SystemCaller("test")
)

// world is a node whose realm employees has a directory.
type world struct {
	t       testing.TB
	d       *db.DB
	clock   *clock.Fake
	dir     *identity.Directory
	service *directory.Service
	groups  *groups.Service
	sourced *sourced.Service
	refused chan error
}

// openldap is the configuration for the slapd of this package.
func openldap(s *slapd) directory.Config {
	return directory.Config{
		Realm: "employees", URLs: []string{"ldaps://" + s.tls}, CAFile: s.caFile, ServerName: "ldap.example.org", Timeout: 5 * time.Second,
		BindDN: searcher, BindPassword: redact.New(searcherPW), Base: people, Filter: "(&(objectClass=person)(|(uid={name})(mail={name})))", Only: true,
		Attributes: directory.Attributes{Key: "entryUUID", Username: "uid", DisplayName: "cn", Email: "mail", Phone: "telephoneNumber"},
	}
}

func newWorld(t testing.TB, d *db.DB, c *clock.Fake, configs ...directory.Config) *world {
	t.Helper()
	pool := password.NewPool(password.Options{Params: password.Params{Memory: 64, Time: 1, Threads: 1}})
	dir, err := identity.New(d, sealtest.New(t, d), identity.Options{Clock: c, Passwords: pool})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, d: d, clock: c, dir: dir, groups: groups.New(dir.Realms()), refused: make(chan error, 1000)}
	w.sourced = sourced.New(w.groups, attributes.New(map[string][]attributes.Attribute{"employees": {{Name: "department"}, {Name: "floors", Type: attributes.List}, {Name: "contractor", Type: attributes.Boolean}}}))
	dir.OnLoginRefused(func(_ access.Caller, err error) { w.refused <- err })
	if w.service, err = directory.New(d, dir, directory.Options{Realms: configs, Sourced: w.sourced, Clock: c}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.service.Close)
	return w
}

// onBoth runs f on both engines.
func onBoth(t *testing.T, f func(t *testing.T, d *db.DB, c *clock.Fake)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			f(t, dbtest.Open(t, engine, c), c)
		})
	}
}

// onOne runs f on the embedded engine: what it tries has nothing to do with the database.
func onOne(t *testing.T, f func(d *db.DB, c *clock.Fake)) {
	c := clock.NewFake(start)
	f(dbtest.Open(t, db.SQLite, c), c)
}

func (w *world) signIn(name, secret string) (identity.User, error) {
	return w.dir.VerifyPersonPassword(ctx, "employees", name, redact.New(secret), identity.Origin{IP: "192.0.2.1"})
}

// reason is the code that the audit log gets for the last refusal.
func (w *world) reason() string {
	w.t.Helper()
	return faultCode(<-w.refused)
}

func (w *world) load(userID string) (p identity.Person) {
	w.t.Helper()
	w.read(func(tx db.ReadTx) (err error) {
		p, err = identity.LoadPerson(ctx, tx, userID)
		return err
	})
	return p
}

func (w *world) read(f func(tx db.ReadTx) error) {
	w.t.Helper()
	if err := w.d.Read(ctx, f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(f func(tx db.WriteTx) error) {
	w.t.Helper()
	if err := w.d.Write(ctx, f); err != nil {
		w.t.Fatal(err)
	}
}

// account makes one whose password is kept here.
func (w *world) account(name, email, secret string, isAdmin bool) (u identity.User) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) (err error) {
		u, err = w.dir.CreatePerson(ctx, tx, admin, identity.NewPerson{Realm: "employees", Username: name, Email: email, Admin: isAdmin}, redact.New(secret))
		return err
	})
	return u
}

func faultCode(err error) string { return fault.Code(err) }

func dbtestOpen(t testing.TB) *db.DB { return dbtest.Open(t, db.SQLite, clock.NewFake(start)) }

// replace has the realm have another directory, as after a change of the configuration and a restart.
func (w *world) replace(config directory.Config) {
	w.t.Helper()
	service, err := directory.New(w.d, w.dir, directory.Options{Realms: []directory.Config{config}, Sourced: w.sourced, Clock: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(service.Close)
	w.service = service
}
