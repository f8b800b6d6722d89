package identity_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

func (w *world) ensureAdministrator() (key redact.Secret, created bool) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) (err error) { key, created, err = w.dir.EnsureAdministrator(ctx, tx); return err })
	return key, created
}

func (w *world) admin() (u identity.User) {
	w.t.Helper()
	if err := w.d.Read(ctx, func(tx db.ReadTx) (err error) { u, err = identity.FindUser(ctx, tx, "employees", "admin"); return err }); err != nil {
		w.t.Fatal(err)
	}
	return u
}

func TestFirstAdministrator(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key, created := w.ensureAdministrator()
		if !created || !strings.HasPrefix(key.Reveal(), "mmk_") {
			t.Fatal("no administrator was made")
		}
		if again, created := w.ensureAdministrator(); created || !again.Empty() {
			t.Error("a second one was made")
		}
		c, err := w.dir.VerifyAccessKey(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		want := access.Caller{Kind: access.Person, ID: w.admin().ID, Name: "admin", Realm: "employees", Admin: true}
		if c.Kind != want.Kind || c.ID != want.ID || c.Name != want.Name || c.Realm != want.Realm || !c.Admin {
			t.Errorf("caller %+v", c)
		}
		w.clock.Advance(24*time.Hour - time.Second)
		if _, err := w.dir.VerifyAccessKey(ctx, key); err != nil {
			t.Errorf("before its day is over: %v", err)
		}
		w.clock.Advance(time.Second)
		if _, err := w.dir.VerifyAccessKey(ctx, key); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("after a day: %v", err)
		}
	})
}

func TestAccessKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.ensureAdministrator()
		u := w.admin()
		create := func(c access.Caller, user, label string, ttl time.Duration) (key redact.Secret, err error) {
			err = w.d.Write(ctx, func(tx db.WriteTx) (err error) {
				key, err = w.dir.CreateAccessKey(ctx, tx, c, user, label, ttl)
				return err
			})
			return key, err
		}
		for name, c := range map[string]struct {
			caller access.Caller
			user   string
			label  string
			ttl    time.Duration
			want   fault.Kind
		}{
			"nobody":      {access.Caller{}, u.ID, "x", time.Hour, fault.Unauthenticated},
			"a stranger":  {access.Caller{Kind: access.Person, Realm: "employees"}, u.ID, "x", time.Hour, fault.Forbidden},
			"no label":    {admin, u.ID, "", time.Hour, fault.Invalid},
			"NUL":         {admin, u.ID, "a\x00", time.Hour, fault.Invalid},
			"bad UTF-8":   {admin, u.ID, "a\xff", time.Hour, fault.Invalid},
			"no life":     {admin, u.ID, "x", 0, fault.Invalid},
			"past":        {admin, u.ID, "x", -time.Hour, fault.Invalid},
			"for ever":    {admin, u.ID, "x", 100 * 365 * 24 * time.Hour, fault.Invalid},
			"no such":     {admin, "usr_nobody", "x", time.Hour, fault.NotFound},
			"for a robot": {admin, w.create("kio").ID, "x", time.Hour, fault.Conflict},
		} {
			if _, err := create(c.caller, c.user, c.label, c.ttl); !fault.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		key, err := create(admin, u.ID, "mine", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		text := key.Reveal()
		for name, wrong := range map[string]string{
			"empty": "", "prefix": "mmk_", "other secret": text[:len(text)-1] + "!", "cut": text[:len(text)-1], "longer": text + "A",
			"other id": "mmk_" + strings.Repeat("0", 26) + text[30:], "no separator": text[:30] + text[31:], "enormous": text + strings.Repeat("A", 10_000),
			"id not ours": "mmk_" + strings.Repeat("u", 26) + text[30:],
		} {
			if _, err := w.dir.VerifyAccessKey(ctx, redact.New(wrong)); !errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.dir.VerifyAccessKey(ctx, key); err != nil {
			t.Fatal(err)
		}
		if err := w.dir.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		keyID := "key_" + text[4:30]
		var used int64
		if err := w.d.Read(ctx, func(tx db.ReadTx) error {
			return tx.QueryRow(ctx, `SELECT last_used FROM access_keys WHERE id = $1`, keyID).Scan(&used)
		}); err != nil || used != db.Micros(start) {
			t.Errorf("last use %d, %v", used, err)
		}
		w.write(func(tx db.WriteTx) error { return w.dir.DisableAccessKey(ctx, tx, admin, keyID) })
		if _, err := w.dir.VerifyAccessKey(ctx, key); !errors.Is(err, identity.ErrCredentials) {
			t.Errorf("a disabled key: %v", err)
		}
		err = w.d.Write(ctx, func(tx db.WriteTx) error { return w.dir.DisableAccessKey(ctx, tx, admin, keyID) })
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("disabled twice: %v", err)
		}
	})
}

func FuzzVerifyAccessKeyForm(f *testing.F) {
	f.Add("mmk_")
	f.Add("mmk_01kat5a8w0000000000000000_x")
	f.Add("mmk_01kat5a8w00000000000000000_" + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, s string) {
		keyID, ok := identity.AccessKeyID(redact.New(s))
		if ok && !strings.HasPrefix(s, "mmk_"+keyID[4:]+"_") {
			t.Fatalf("%q has id %q", s, keyID)
		}
	})
}
