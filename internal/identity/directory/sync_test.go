package directory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/jobs"
)

// sync compares once, as a job does, and answers the report.
func (w *world) sync() (directory.Report, error) {
	w.t.Helper()
	return w.syncWith(0)
}

// syncWith compares after an administrator has said how many people may be disabled.
func (w *world) syncWith(atMost int) (r directory.Report, err error) {
	w.t.Helper()
	w.write(func(tx db.WriteTx) error { return w.service.Ask(ctx, tx, admin, "employees", atMost) })
	runner := jobs.NewRunner(w.d, jobs.Options{Node: "nod_test", Clock: clock.System})
	done := make(chan error, 1)
	stopped, stop := context.WithCancel(ctx)
	runner.Handle(directory.JobKind, func(ctx context.Context, j jobs.Job) (jobs.Result, error) {
		res, err := w.service.Handle(ctx, j)
		done <- err
		return res, err
	})
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(stopped) }()
	err = <-done
	stop()
	<-ended
	list, readErr := w.service.List(ctx, admin)
	if readErr != nil || len(list) != 1 || list[0].Last == nil {
		w.t.Fatalf("%v %+v", readErr, list)
	}
	return *list[0].Last, err
}

func (w *world) enabled(u identity.User) bool { return w.load(u.ID).Disabled.IsZero() }

// everybody signs in, so that they are known here.
func (w *world) everybody(names ...string) (list []identity.User) {
	w.t.Helper()
	for _, name := range names {
		u, err := w.signIn(name, janes)
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		list = append(list, u)
	}
	w.clock.Set(w.clock.Now().Add(time.Hour))
	return list
}

func TestWhoIsGoneIsDisabled(t *testing.T) {
	s := directoryServer(t)
	onBoth(t, func(t *testing.T, d *db.DB, c *clock.Fake) {
		ou := s.organizationalUnit(t, "gone-"+string(d.Engine()))
		for _, name := range []string{"ann", "bob", "cid"} {
			s.change(t, person(ou, name, name, name+"@example.org", janes))
		}
		config := openldap(s)
		config.Base, config.Disabled = ou, "(employeeType=left)"
		w := newWorld(t, d, c, config)
		ended := map[string]int{}
		w.dir.OnPersonDisabled(func(_ context.Context, _ db.WriteTx, u identity.User) error { ended[u.Username]++; return nil })
		users := w.everybody("ann", "bob", "cid")
		local := w.account("keeper", "", keepers, true)

		s.change(t, fmt.Sprintf("dn: uid=ann,%s\nchangetype: delete\n\ndn: uid=bob,%s\nchangetype: modify\nadd: employeeType\nemployeeType: left\n-\nreplace: cn\ncn: Bob of old\n\n", ou, ou))
		if _, err := w.signIn("bob", janes); err == nil {
			t.Error("an entry that the filter calls disabled signs in")
		}
		r, err := w.sync()
		if err != nil || r.Outcome != directory.Done || r.Disabled != 2 || r.Entries != 2 || !slices.Equal(r.Names, []string{"ann", "bob"}) {
			t.Fatalf("%+v %v", r, err)
		}
		if p := w.load(users[0].ID); p.Disabled.IsZero() || p.DisabledReason != identity.GoneReason || ended["ann"] != 1 || ended["bob"] != 1 {
			t.Errorf("%+v %v", p, ended)
		}
		if !w.enabled(users[2]) || !w.enabled(local) {
			t.Error("somebody else was disabled")
		}
		// Again: nothing happens twice.
		if r, err := w.sync(); err != nil || r.Disabled != 0 || r.Gone != 0 {
			t.Errorf("%+v %v", r, err)
		}
		// Who returns is enabled; whom an administrator disabled meanwhile is not.
		w.write(func(tx db.WriteTx) error { return w.dir.BlockPerson(ctx, tx, admin, users[2].ID, "by hand") })
		s.change(t, fmt.Sprintf("dn: uid=bob,%s\nchangetype: modify\ndelete: employeeType\n\n", ou))
		if r, err := w.sync(); err != nil || r.Enabled != 1 || !w.enabled(users[1]) || w.enabled(users[2]) || w.enabled(users[0]) {
			t.Errorf("%+v %v", r, err)
		}
		if w.load(users[1].ID).DisplayName != "Bob of old" {
			t.Errorf("%+v", w.load(users[1].ID))
		}
		if _, err := w.signIn("cid", janes); err == nil {
			t.Error("an administrator's word was undone")
		}
		// Ann comes back under another entry: that is somebody else, and her name is taken.
		s.change(t, person(ou, "ann", "ann", "ann@example.org", janes))
		if _, err := w.signIn("ann", janes); err == nil || w.enabled(users[0]) {
			t.Error("a new entry is the old person")
		}
	})
}

// An administrator who disables somebody after the directory did, with a reason or without, keeps the directory from
// undoing it, at the next login and at the next sync.
func TestAnAdministratorsWordStays(t *testing.T) {
	s := directoryServer(t)
	for name, disable := range map[string]func(w *world, tx db.WriteTx, userID string) error{
		"reason": func(w *world, tx db.WriteTx, userID string) error {
			return w.dir.BlockPerson(ctx, tx, admin, userID, "under investigation")
		},
		"word": func(w *world, tx db.WriteTx, userID string) error { return w.dir.DisablePerson(ctx, tx, admin, userID) },
	} {
		t.Run(name, func(t *testing.T) {
			ou := s.organizationalUnit(t, name)
			s.change(t, person(ou, "dan", "Dan", "dan@example.org", janes)+person(ou, "eve", "Eve", "eve@example.org", janes))
			onOne(t, func(d *db.DB, c *clock.Fake) {
				config := openldap(s)
				config.Base, config.Disabled = ou, "(employeeType=left)"
				w := newWorld(t, d, c, config)
				dan := w.everybody("dan", "eve")[0]
				left := func(op string) {
					s.change(t, fmt.Sprintf("dn: uid=dan,%s\nchangetype: modify\n%s\n\n", ou, op))
				}
				left("add: employeeType\nemployeeType: left")
				if r, err := w.sync(); err != nil || r.Disabled != 1 {
					t.Fatalf("%+v %v", r, err)
				}
				w.write(func(tx db.WriteTx) error { return disable(w, tx, dan.ID) })
				why := map[string]string{"reason": "under investigation", "word": "by an administrator"}[name] + " (and " + identity.GoneReason + ")"
				if got := w.load(dan.ID).DisabledReason; got != why {
					t.Errorf("both reasons are %q", got)
				}
				left("delete: employeeType")
				if _, err := w.signIn("dan", janes); err == nil {
					t.Error("he signs in, whom an administrator disabled")
				}
				if r, err := w.sync(); err != nil || r.Enabled != 0 || w.enabled(dan) {
					t.Errorf("%+v %v", r, err)
				}
				w.write(func(tx db.WriteTx) error { return w.dir.EnablePerson(ctx, tx, admin, dan.ID) })
				if _, err := w.signIn("dan", janes); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What looks like everybody's leaving disables nobody, until an administrator says so.
func TestFailureDisablesNobody(t *testing.T) {
	s := directoryServer(t)
	onOne(t, func(d *db.DB, c *clock.Fake) {
		ou, empty := s.organizationalUnit(t, "held"), s.organizationalUnit(t, "empty")
		var names []string
		for i := range 9 {
			names = append(names, fmt.Sprintf("held%d", i))
			s.change(t, person(ou, names[i], names[i], names[i]+"@example.org", janes))
		}
		config := openldap(s)
		config.Base = ou
		w := newWorld(t, d, c, config)
		users := w.everybody(names...)
		check := func(what, outcome string, r directory.Report, err error) {
			t.Helper()
			if r.Outcome != outcome || r.Disabled != 0 || (err != nil) != (outcome == directory.Failed) {
				t.Errorf("%s: %+v %v", what, r, err)
			}
			for _, u := range users {
				if !w.enabled(u) {
					t.Fatalf("%s: %s is disabled", what, u.Username)
				}
			}
		}
		elsewhere := config
		for what, base := range map[string]string{"an empty base": empty, "a base of others": people} {
			elsewhere.Base = base
			w.replace(elsewhere)
			r, err := w.sync()
			check(what, directory.Held, r, err)
		}
		elsewhere.Base = "ou=nowhere," + base
		w.replace(elsewhere)
		r, err := w.sync()
		check("a base that is not there", directory.Failed, r, err)

		for _, name := range names[:6] {
			s.change(t, fmt.Sprintf("dn: uid=%s,%s\nchangetype: delete\n\n", name, ou))
		}
		w.replace(config)
		r, err = w.sync()
		check("six of nine", directory.Held, r, err)
		if try, err := w.service.Try(ctx, "employees"); err != nil || try.Gone != 6 || try.Disabled != 0 || try.Outcome != directory.Held {
			t.Errorf("%+v %v", try, err)
		}
		r, err = w.syncWith(5)
		check("five were allowed", directory.Held, r, err)
		if r, err = w.syncWith(6); err != nil || r.Disabled != 6 || r.Outcome != directory.Done {
			t.Errorf("six were allowed: %+v %v", r, err)
		}
		if w.enabled(users[0]) || !w.enabled(users[8]) {
			t.Error("not those who are gone")
		}
	})
	onOne(t, func(d *db.DB, c *clock.Fake) {
		w := newWorld(t, d, c, openldap(s))
		if err := d.Write(ctx, func(tx db.WriteTx) error {
			return w.service.Ask(ctx, tx, access.Caller{Kind: access.Person, ID: "usr_x", Realm: "employees"}, "employees", 100)
		}); err == nil {
			t.Error("somebody who is no administrator may say how many are disabled")
		}
	})
}

// 5,000 people are compared in pages, and the last administrator stays.
func TestCompareManyPeople(t *testing.T) {
	s := directoryServer(t)
	onOne(t, func(d *db.DB, c *clock.Fake) {
		config := openldap(s)
		config.Base = "ou=crowd," + base
		w := newWorld(t, d, c, config)
		var all []directory.Found
		for _, name := range []string{"p0000", "p4999"} {
			f, err := w.service.Look(ctx, "employees", name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}
		enter := func(e identity.Entry) (u identity.User) {
			w.write(func(tx db.WriteTx) (err error) {
				u, err = w.dir.EntryLogin(ctx, tx, access.SystemCaller("directory"), "employees", e)
				return err
			})
			return u
		}
		first := enter(identity.Entry{Key: all[0].Key, Username: "p0000", DisplayName: "of old"})
		last := enter(identity.Entry{Key: all[1].Key, Username: "p4999", DisplayName: "of old"})
		gone := enter(identity.Entry{Key: "00000000-0000-0000-0000-000000000000", Username: "gone", DisplayName: "Gone"})
		boss := enter(identity.Entry{Key: "00000000-0000-0000-0000-000000000001", Username: "boss", DisplayName: "Boss"})
		w.write(func(tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `UPDATE users SET admin = TRUE WHERE id = $1`, boss.ID)
			return err
		})
		// Whom a login has just seen is left alone: the server that is asked may be behind.
		if r, err := w.sync(); err != nil || r.Entries != 5000 || r.Refreshed != 2 || r.Disabled != 0 {
			t.Errorf("%+v %v", r, err)
		}
		c.Set(c.Now().Add(time.Hour))
		if r, err := w.sync(); err != nil || r.Disabled != 1 || r.Skipped != 1 || w.enabled(gone) || !w.enabled(boss) {
			t.Errorf("%+v %v", r, err)
		}
		if w.load(first.ID).DisplayName != "Person 0" || w.load(last.ID).DisplayName != "Person 4999" {
			t.Errorf("%+v %+v", w.load(first.ID), w.load(last.ID))
		}
		config.Sync.Entries = 4000
		w.replace(config)
		if r, err := w.sync(); err == nil || r.Outcome != directory.Failed {
			t.Errorf("more entries than are allowed: %+v %v", r, err)
		}
	})
}
