package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var (
	ctx    = context.Background()
	start  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	admin  = access.Caller{Kind: access.Person, ID: "usr_admin", Name: "admin", Realm: "employees", Admin: true}
	system = access.SystemCaller("test")
)

// world is one node.
type world struct {
	t         testing.TB
	d         *db.DB
	keyring   *seal.Keyring
	clock     *clock.Fake
	dir       *identity.Directory
	passwords identity.ServicePasswords
}

func newWorld(t testing.TB, d *db.DB, k *seal.Keyring, c *clock.Fake) *world {
	t.Helper()
	dir, err := identity.New(d, k, identity.Options{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, d, k, c, dir, dir.ServicePasswords()}
}

func onBoth(t *testing.T, f func(t *testing.T, w *world)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			c := clock.NewFake(start)
			d := dbtest.Open(t, engine, c)
			f(t, newWorld(t, d, sealtest.New(t, d), c))
		})
	}
}

func (w *world) write(f func(tx db.WriteTx) error) {
	w.t.Helper()
	if err := w.d.Write(ctx, f); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(app string) (u identity.ServiceUser) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) (err error) {
		u, err = w.dir.CreateServiceUser(ctx, tx, system, app)
		return err
	})
	return u
}

func (w *world) prepare(app string, version int64) redact.Secret {
	w.t.Helper()
	var document redact.Secret
	w.write(func(tx db.WriteTx) (err error) {
		document, err = w.passwords.Prepare(ctx, tx, app, version)
		return err
	})
	var content map[string]string
	if err := json.Unmarshal(document.Bytes(), &content); err != nil {
		w.t.Fatal(err)
	}
	return redact.New(content["application_password"])
}

func (w *world) activate(app string, version int64) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) error { return w.passwords.Activate(ctx, tx, app, version) })
}

func (w *world) retire(app string, version int64) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) error { return w.passwords.Retire(ctx, tx, app, version) })
}

func (w *world) login(username string, password redact.Secret) (identity.Subject, error) {
	return w.dir.Verifier().ServicePassword(ctx, "services", username, password)
}

func (w *world) accepted(username string, password redact.Secret) bool {
	w.t.Helper()
	_, err := w.login(username, password)
	if err != nil && !errors.Is(err, identity.ErrCredentials) {
		w.t.Fatal(err)
	}
	return err == nil
}

func (w *world) lastUsed(app string) (used map[int64]time.Time) {
	w.t.Helper()
	if err := w.dir.Flush(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := w.d.Read(ctx, func(tx db.ReadTx) (err error) { used, err = w.passwords.LastUsed(ctx, tx, app); return err }); err != nil {
		w.t.Fatal(err)
	}
	return used
}

func TestPasswordsLife(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		u := w.create("sales-orders")
		if !id.Is(u.ID, id.User) || u.Username != "sales-orders" || u.Realm != "services" {
			t.Errorf("service user %+v", u)
		}
		if w.accepted("sales-orders", redact.New("mmp_x")) {
			t.Fatal("a user without a password logged in")
		}
		v1 := w.prepare("sales-orders", 1)
		s, err := w.login("sales-orders", v1)
		if err != nil {
			t.Fatalf("a prepared version is refused: %v", err)
		}
		if s.UserID != u.ID || s.Realm != "services" || s.Application != "sales-orders" || s.Version != 1 {
			t.Errorf("subject %+v", s)
		}
		w.activate("sales-orders", 1)
		v2 := w.prepare("sales-orders", 2)
		for _, realm := range []string{"services", "/services"} {
			if _, err := w.dir.Verifier().ServicePassword(ctx, realm, "sales-orders", v2); err != nil {
				t.Errorf("realm %s: %v", realm, err)
			}
		}
		w.activate("sales-orders", 2)
		w.activate("sales-orders", 2) // done, but reported lost
		if !w.accepted("sales-orders", v1) || !w.accepted("sales-orders", v2) {
			t.Error("both versions are accepted while one is retiring")
		}
		w.retire("sales-orders", 1)
		w.retire("sales-orders", 1)
		if w.accepted("sales-orders", v1) || !w.accepted("sales-orders", v2) {
			t.Error("the retired version is refused and the active one is not")
		}
		err = w.d.Write(ctx, func(tx db.WriteTx) error { return w.passwords.Activate(ctx, tx, "sales-orders", 1) })
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("a retired version came back to life: %v", err)
		}
		var verifier []byte
		if err := w.d.Read(ctx, func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT verifier FROM service_passwords WHERE version = 1`).Scan(&verifier)
		}); err != nil || len(verifier) != 0 {
			t.Errorf("the retired verifier was kept: %d bytes, %v", len(verifier), err)
		}
	})
}

func TestDocumentIsExact(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		var document redact.Secret
		w.write(func(tx db.WriteTx) (err error) { document, err = w.passwords.Prepare(ctx, tx, "kio", 1); return err })
		text := document.Reveal()
		const before, after = `{"application_username":"kio","application_password":"mmp_`, `"}`
		if !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after) {
			t.Fatal("user.json has another form")
		}
		secret := text[len(before) : len(text)-len(after)]
		if len(secret) != 43 || strings.Trim(secret, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			t.Errorf("a password of %d digits; it must be 256 bits and survive URLs and HTTP Basic as it is", len(secret))
		}
	})
}

func TestVersionsComeInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		prepare := func(version int64) error {
			return w.d.Write(ctx, func(tx db.WriteTx) error { _, err := w.passwords.Prepare(ctx, tx, "kio", version); return err })
		}
		if err := prepare(0); !fault.Is(err, fault.Conflict) {
			t.Errorf("version 0: %v", err)
		}
		if err := prepare(3); err != nil {
			t.Fatal(err)
		}
		for _, version := range []int64{3, 2, -1} {
			if err := prepare(version); !fault.Is(err, fault.Conflict) {
				t.Errorf("version %d after 3: %v", version, err)
			}
		}
		var err error
		for version := int64(4); version < 40 && err == nil; version++ {
			err = prepare(version)
		}
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("versions pile up without end: %v", err)
		}
		err = w.d.Write(ctx, func(tx db.WriteTx) error { return w.passwords.Activate(ctx, tx, "kio", 99) })
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("a version that is not there was activated: %v", err)
		}
		err = w.d.Write(ctx, func(tx db.WriteTx) error { _, err := w.passwords.Prepare(ctx, tx, "nobody", 1); return err })
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("an application that is not there: %v", err)
		}
	})
}

// Every refusal is one and the same.
func TestRefusalsAreIdentical(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		w.create("gone")
		right := w.prepare("kio", 1)
		goneRight := w.prepare("gone", 1)
		w.write(func(tx db.WriteTx) error { return w.dir.DisableServiceUser(ctx, tx, system, "gone") })
		w.write(func(tx db.WriteTx) error {
			_, _, err := w.dir.EnsureAdministrator(ctx, tx)
			return err
		})
		long := strings.Repeat("a", 5000)
		for name, c := range map[string]struct {
			realm, username string
			password        redact.Secret
		}{
			"wrong password":      {"services", "kio", redact.New("mmp_wrong")},
			"right but changed":   {"services", "kio", redact.New(right.Reveal() + " ")},
			"unknown user":        {"services", "nobody", right},
			"disabled user":       {"services", "gone", goneRight},
			"person":              {"services", "admin", right},
			"realm of people":     {"employees", "kio", right},
			"unknown realm":       {"martians", "kio", right},
			"malformed realm":     {"//services", "kio", right},
			"blank user":          {"services", " ", right},
			"no user":             {"services", "", right},
			"blank password":      {"services", "kio", redact.New(" ")},
			"no password":         {"services", "kio", redact.Secret{}},
			"NUL in name":         {"services", "kio\x00", right},
			"bad UTF-8":           {"services", "kio\xff", right},
			"other case":          {"services", "KIO", right},
			"slash":               {"services", "/kio", right},
			"enormous name":       {"services", long, right},
			"enormous password":   {"services", "kio", redact.New(long)},
			"SQL":                 {"services", "kio' OR '1'='1", right},
			"wildcard":            {"services", "%", right},
			"name in the name":    {"services", "services/kio", right},
			"realm with a suffix": {"services/kio", "", right},
		} {
			_, err := w.dir.Verifier().ServicePassword(ctx, c.realm, c.username, c.password)
			if err != identity.ErrCredentials { //nolint:errorlint // the very same value is the point
				t.Errorf("%s: %v", name, err)
			}
		}
		if !w.accepted("kio", right) {
			t.Error("and the right one is accepted")
		}
		if got := fmt.Sprint(identity.ErrCredentials); strings.Contains(got, "kio") {
			t.Error("the refusal names somebody")
		}
	})
}

// What another node has prepared is accepted here at once, because nobody is refused on old news.
func TestOtherNodesVersionIsAcceptedAtOnce(t *testing.T) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			c := clock.NewFake(start)
			d := dbtest.OpenURL(t, url, c)
			k := sealtest.New(t, d)
			a, b := newWorld(t, d, k, c), newWorld(t, dbtest.OpenURL(t, url, c), k, c)
			for _, w := range []*world{a, b} {
				stop, err := w.d.StartFeed(ctx)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(stop)
			}
			if b.accepted("kio", redact.New("x")) { // b now remembers that there is no such user
				t.Fatal("nobody logged in")
			}
			a.create("kio")
			for version := int64(1); version <= 4; version++ {
				if password := a.prepare("kio", version); !b.accepted("kio", password) {
					t.Fatalf("version %d, prepared on one node, is refused by the other", version)
				}
			}
		})
	}
}

func TestDisabledAndEnabledAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		u := w.create("kio")
		old := w.prepare("kio", 1)
		w.activate("kio", 1)
		open := w.prepare("kio", 2)
		w.accepted("kio", old)
		w.clock.Advance(time.Hour)
		w.write(func(tx db.WriteTx) error { return w.dir.DisableServiceUser(ctx, tx, admin, "kio") })
		if w.accepted("kio", old) || w.accepted("kio", open) {
			t.Error("a disabled user logs in")
		}
		err := w.d.Write(ctx, func(tx db.WriteTx) error { _, err := w.passwords.Prepare(ctx, tx, "kio", 3); return err })
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("a disabled user got a new password: %v", err)
		}
		w.clock.Advance(time.Hour)
		w.write(func(tx db.WriteTx) error { return w.dir.EnableServiceUser(ctx, tx, admin, "kio") })
		if w.accepted("kio", old) || w.accepted("kio", open) {
			t.Error("an old password came back to life")
		}
		s, err := w.login("kio", w.prepare("kio", 3))
		if err != nil {
			t.Fatal(err)
		}
		if s.UserID != u.ID || !s.EnabledSince.Equal(w.clock.Now()) {
			t.Errorf("subject %+v: tokens of before must be known as such", s)
		}
	})
}

// A disabled user is refused even if a version of its password were left.
func TestDisabledIsRefusedByItself(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		password := w.prepare("kio", 1)
		w.write(func(tx db.WriteTx) error {
			if _, err := tx.Exec(ctx, `UPDATE users SET disabled = 1`); err != nil {
				return err
			}
			return tx.Changed(ctx, "service_user", "services/kio")
		})
		if w.accepted("kio", password) {
			t.Error("a disabled user logs in")
		}
	})
}

func TestUsesAreEvidence(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		v1 := w.prepare("kio", 1)
		w.activate("kio", 1)
		v2 := w.prepare("kio", 2)
		w.activate("kio", 2)
		if used := w.lastUsed("kio"); len(used) != 0 {
			t.Errorf("uses before any login: %v", used)
		}
		w.clock.Advance(time.Minute)
		w.accepted("kio", v1)
		w.clock.Advance(time.Minute)
		w.accepted("kio", v2)
		w.accepted("kio", redact.New("wrong"))
		w.clock.Advance(time.Minute) // the batch is written later than the use
		used := w.lastUsed("kio")
		if !used[1].Equal(start.Add(time.Minute)) || !used[2].Equal(start.Add(2*time.Minute)) {
			t.Errorf("uses %v", used)
		}
		// A late batch of another node does not set the clock back.
		w.write(func(tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `UPDATE service_passwords SET last_used = $1 WHERE version = 2`, db.Micros(w.clock.Now().Add(time.Hour)))
			return err
		})
		w.accepted("kio", v2)
		if used := w.lastUsed("kio"); !used[2].Equal(w.clock.Now().Add(time.Hour)) {
			t.Errorf("an older use replaced a later one: %v", used)
		}
		// A use that was noted before the version retired does not bring it back.
		w.accepted("kio", v1)
		w.retire("kio", 1)
		before := w.lastUsed("kio")[1]
		if !before.Equal(start.Add(time.Minute)) || w.accepted("kio", v1) {
			t.Errorf("a use of a retired version changed it: %v", before)
		}
	})
}

func TestRunWritesTheRestWhenItEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		v1 := w.prepare("kio", 1)
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- w.dir.Run(running) }()
		w.accepted("kio", v1)
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var at int64
		if err := w.d.Read(ctx, func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT last_used FROM service_passwords WHERE version = 1`).Scan(&at)
		}); err != nil || at != db.Micros(start) {
			t.Errorf("last use %d, %v", at, err)
		}
	})
}

// Whatever a rotation does and in whatever order, the verifier agrees with a model of one line: accepted is what was
// prepared and not retired, unless the user is disabled.
func TestVerifierFollowsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := clock.NewFake(start)
		d := dbtest.Open(t, db.SQLite, c)
		w := newWorld(t, d, sealtest.New(t, d), c)
		w.create("kio")
		passwords, alive := map[int64]redact.Secret{}, map[int64]bool{}
		newest, enabled := int64(0), true
		rt.Repeat(map[string]func(*rapid.T){
			"prepare": func(rt *rapid.T) {
				if n := len(alive); !enabled || n >= 5 {
					rt.Skip()
				}
				newest++
				passwords[newest], alive[newest] = w.prepare("kio", newest), true
			},
			"activate": func(rt *rapid.T) {
				version := rapid.Int64Range(1, 12).Draw(rt, "version")
				err := d.Write(ctx, func(tx db.WriteTx) error { return w.passwords.Activate(ctx, tx, "kio", version) })
				if err != nil && !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.NotFound) {
					rt.Fatal(err)
				}
				if err == nil && !alive[version] {
					rt.Fatalf("version %d was activated", version)
				}
			},
			"retire": func(rt *rapid.T) {
				version := rapid.Int64Range(1, 12).Draw(rt, "version")
				w.retire("kio", version)
				delete(alive, version)
			},
			"flush": func(rt *rapid.T) { w.lastUsed("kio") },
			"disable": func(rt *rapid.T) {
				w.write(func(tx db.WriteTx) error { return w.dir.DisableServiceUser(ctx, tx, system, "kio") })
				clear(alive)
				enabled = false
			},
			"enable": func(rt *rapid.T) {
				w.write(func(tx db.WriteTx) error { return w.dir.EnableServiceUser(ctx, tx, system, "kio") })
				enabled = true
			},
			"": func(rt *rapid.T) {
				for version, password := range passwords {
					if got, want := w.accepted("kio", password), enabled && alive[version]; got != want {
						rt.Fatalf("version %d accepted: %v, want %v", version, got, want)
					}
				}
			},
		})
	})
}

func TestGeneratedPasswordsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		s := seal.NewSecret("mmp_").Reveal()
		if seen[s] {
			t.Fatal("a password came twice")
		}
		seen[s] = true
	}
}

func TestUsernamePrefix(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		dir, err := identity.New(w.d, w.keyring, identity.Options{Clock: w.clock, UsernamePrefix: "stups_"})
		if err != nil {
			t.Fatal(err)
		}
		w.dir = dir
		if u := w.create("kio"); u.Username != "stups_kio" {
			t.Errorf("username %q", u.Username)
		}
		for _, prefix := range []string{"a/b", "Ü", strings.Repeat("a", 21), "a b"} {
			if _, err := identity.New(w.d, w.keyring, identity.Options{UsernamePrefix: prefix}); err == nil {
				t.Errorf("prefix %q was taken", prefix)
			}
		}
	})
}

func TestOneServiceUserPerApplication(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		err := w.d.Write(ctx, func(tx db.WriteTx) error { _, err := w.dir.CreateServiceUser(ctx, tx, system, "kio"); return err })
		if !fault.Is(err, fault.Conflict) {
			t.Errorf("a second service user: %v", err)
		}
	})
}

func benchmarkLogin(b *testing.B, password func(right redact.Secret) redact.Secret, wrong bool) {
	c := clock.NewFake(start)
	d := dbtest.Open(b, db.SQLite, c)
	w := newWorld(b, d, sealtest.New(b, d), c)
	stop, err := d.StartFeed(ctx)
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	w.create("kio")
	w.prepare("kio", 1)
	w.activate("kio", 1)
	shown := password(w.prepare("kio", 2))
	b.ReportAllocs()
	for b.Loop() {
		if w.accepted("kio", shown) == wrong {
			b.Fatal("the other answer was right")
		}
	}
}

func BenchmarkRightPassword(b *testing.B) {
	benchmarkLogin(b, func(right redact.Secret) redact.Secret { return right }, false)
}

func BenchmarkWrongPassword(b *testing.B) {
	benchmarkLogin(b, func(redact.Secret) redact.Secret { return redact.New("mmp_wrong") }, true)
}
