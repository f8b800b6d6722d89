package rotation_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/rotation"
)

const password = "service-password"

func TestOneLife(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "shop-web", "alpha", "beta")
		w.mustRun(s, "shop-web")
		for _, k := range w.kinds {
			w.expect(s, "shop-web", k.name, "1 active")
			for _, b := range []string{"alpha", "beta"} {
				if all := w.memory.Versions(b, "shop-web/"+k.object); len(all) != 1 || all[0].ContentType != "application/json" {
					t.Fatalf("%s of %s: %+v", k.object, b, all)
				}
				w.use(b, "shop-web", k)
			}
		}
		for _, c := range w.memory.Calls() {
			if c.Op != "put" || c.Key != "shop-web/user.json" && c.Key != "shop-web/client.json" {
				t.Fatalf("%s %s: nothing but puts of the two documents is needed", c.Op, c.Key)
			}
		}
		w.noSealed(0)

		w.clock.Advance(119 * time.Minute)
		w.mustRun(s, "shop-web")
		w.expect(s, "shop-web", password, "1 active")

		w.clock.Advance(2 * time.Minute)
		old, _ := w.published("alpha", "shop-web", w.kinds[0])
		w.mustRun(s, "shop-web")
		w.expect(s, "shop-web", password, "2 active, 1 retiring")
		w.probe("shop-web", "alpha", "beta")
		if !w.login(w.kinds[0], old) {
			t.Fatal("an application that has not fetched the new version is refused")
		}

		// The old one was used at the beginning of the grace, the new one after it.
		w.clock.Advance(25 * time.Minute)
		w.use("beta", "shop-web", w.kinds[0])
		w.clock.Advance(4 * time.Minute)
		w.mustRun(s, "shop-web")
		w.expect(s, "shop-web", password, "2 active, 1 retiring")
		w.clock.Advance(time.Minute)
		w.mustRun(s, "shop-web")
		w.expect(s, "shop-web", password, "2 active, 1 retired")
		if w.login(w.kinds[0], old) {
			t.Fatal("a retired version is accepted")
		}
		w.probe("shop-web", "alpha", "beta")
		for action, want := range map[string]int{"credential.prepare": 4, "credential.deliver": 8, "credential.activate": 4, "credential.retire": 1} {
			if got := w.events("shop-web", action); got != want {
				t.Errorf("%d events %s, want %d", got, action, want)
			}
		}
	})
}

// The two documents of an application may be read at any moment between two puts: any mixture works.
func TestTornPairAuthenticates(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		w.mustRun(s, "a1")
		old := map[*testKind]document{}
		for _, k := range w.kinds {
			old[k], _ = w.published("alpha", "a1", k)
		}
		w.clock.Advance(3 * time.Hour)
		for i := range w.kinds { // 0: new password, old secret; 1: both new
			if _, err := w.run(s, "a1", w.kinds[i].name); err != nil {
				t.Fatal(err)
			}
			w.probe("a1", "alpha")
			for _, k := range w.kinds {
				if !w.accepted(k, old[k]) {
					t.Fatalf("old %s is refused", k.object)
				}
			}
		}
	})
}

func TestOneBucketRefuses(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha", "beta")
		w.application(s, "a2", "alpha")
		w.mustRun(s, "a1")
		w.clock.Advance(3 * time.Hour)
		w.refuse(objstore.Forbidden, "beta")
		old, _ := w.published("beta", "a1", w.kinds[0])
		var delays []time.Duration
		for range 15 {
			r, err := w.run(s, "a1", password)
			if err != nil {
				t.Fatal(err)
			}
			w.expect(s, "a1", password, "2 prepared, 1 active")
			w.probe("a1", "alpha", "beta")
			w.use("alpha", "a1", w.kinds[0])
			if !w.accepted(w.kinds[0], old) {
				t.Fatal("the old version is refused although a bucket shows it")
			}
			delays = append(delays, r.Next.Sub(w.clock.Now()))
			w.clock.Set(r.Next)
		}
		if delays[0] < time.Second || delays[0] > 2*time.Second || delays[14] > 10*time.Minute || delays[14] < 5*time.Minute {
			t.Fatalf("tries after %v", delays)
		}
		w.mustRun(s, "a2") // the same store works for others
		w.expect(s, "a2", password, "1 active")

		st := w.status(s, "a1")
		if !st.HasProblems || !strings.Contains(strings.Join(st.Problems, " "), "local/beta") {
			t.Fatalf("problems: %q", st.Problems)
		}
		c := w.credential(s, "a1", password)
		if d := c.Deliveries; d[0].Version != 2 || d[1].Version != 1 || d[1].Failures != 15 || d[1].Code != "forbidden" || d[1].Error == "" || d[1].NextTry == nil {
			t.Fatalf("deliveries: %+v", d)
		}
		if puts := len(w.memory.Versions("alpha", "a1/user.json")); puts != 2 {
			t.Fatalf("%d puts to the bucket that works, want one a version", puts)
		}
		w.noSealed(1)

		w.refuse(objstore.None)
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retiring")
		if st := w.status(s, "a1"); st.HasProblems || w.credential(s, "a1", password).Deliveries[1].Failures != 0 {
			t.Fatalf("healed, but: %+v", st)
		}
		w.noSealed(0)
	})
}

func TestAStoreThatHangsIsCutOff(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		w.timeout = 20 * time.Millisecond
		s := w.node()
		w.application(s, "a1", "alpha", "beta")
		w.refuse(objstore.Hang, "alpha")
		if _, err := w.run(s, "a1", password); err != nil {
			t.Fatal(err)
		}
		d := w.credential(s, "a1", password).Deliveries
		if d[0].Code != "timeout" || d[0].Failures != 1 || d[1].Version != 1 {
			t.Fatalf("%+v", d)
		}
	})
}

// deaf is a store that does not listen to its context, and stores what it was given when it is told to.
type deaf struct {
	objstore.Store
	in, out chan struct{}
	answer  error // after it has stored
}

func newDeaf(w *world) deaf {
	return deaf{Store: w.memory, in: make(chan struct{}), out: make(chan struct{})}
}

func (d deaf) Put(_ context.Context, bucket, key string, body []byte, o objstore.PutOptions) (string, error) {
	d.in <- struct{}{}
	<-d.out
	etag, err := d.Store.Put(context.Background(), bucket, key, body, o)
	return etag, errors.Join(err, d.answer)
}

type oneStore struct{ objstore.Store }

func (o oneStore) Open(string) (objstore.Store, error) { return o.Store, nil }
func (oneStore) Names() []string                       { return []string{"local"} }

// A put that was given up may still be done by the store, after a later version was delivered. Then the destination gets
// a new version, and what it shows meanwhile stays accepted.
func TestAPutThatComesBackTooLate(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		w.timeout = 10 * time.Millisecond
		s := w.node()
		w.application(s, "a1", "alpha")
		store := newDeaf(w)
		slow := w.slowNode(store)
		done := make(chan error)
		go func() {
			_, err := w.run(slow, "a1", password)
			done <- err
		}()
		<-store.in
		if err := <-done; err != nil { // it gave up, and recorded a failure
			t.Fatal(err)
		}
		w.clock.Advance(time.Minute)
		w.recover(s, "a1", password)
		w.use("alpha", "a1", w.kinds[0])
		w.clock.Advance(3 * time.Hour)
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retiring")
		w.clock.Advance(10 * time.Minute)
		w.use("alpha", "a1", w.kinds[0])
		store.out <- struct{}{} // version 1 over version 2
		for w.credential(s, "a1", password).Asked == nil {
			time.Sleep(time.Millisecond) // until the late put was looked into
		}
		if doc, _ := w.published("alpha", "a1", w.kinds[0]); doc.Version != 1 {
			t.Fatalf("the bucket shows %d", doc.Version)
		}
		if d := w.credential(s, "a1", password).Deliveries[0]; d.Version != 1 {
			t.Fatalf("recorded: %+v", d)
		}
		w.probe("a1", "alpha")
		// As long as the bucket shows it, it is accepted, used or not.
		w.refuse(objstore.Unavailable, "alpha")
		for range 8 {
			w.clock.Advance(15 * time.Minute)
			if _, err := w.run(s, "a1", password); err != nil {
				t.Fatal(err)
			}
			w.probe("a1", "alpha")
		}
		w.refuse(objstore.None)
		w.clock.Advance(15 * time.Minute)
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "3 active, 2 retiring, 1 retired")
		if doc, _ := w.published("alpha", "a1", w.kinds[0]); doc.Version != 3 {
			t.Fatalf("the bucket shows %d", doc.Version)
		}
		if why := w.credential(s, "a1", password).Versions[0].Reason; why != "late-delivery" {
			t.Fatalf("version 3 was made because of %q", why)
		}
	})
}

// A bucket that hangs holds four puts, then one; the rest come back soon instead of waiting.
func TestBulkhead(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		o := w.options()
		store := newDeaf(w)
		o.Stores, o.Slots = oneStore{store}, 2
		slow, err := rotation.New(w.d, w.keyring, o)
		if err != nil {
			t.Fatal(err)
		}
		slow.HoldBy(held)
		done := make(chan error, 3)
		for _, app := range []string{"a1", "a2", "a3"} {
			w.application(s, app, "alpha")
		}
		for _, app := range []string{"a1", "a2"} {
			j := w.claim(app, password)
			go func() {
				_, err := slow.Rotate(context.WithoutCancel(t.Context()), j)
				done <- err
			}()
			<-store.in
		}
		r, err := w.run(slow, "a3", password)
		if wait := r.Next.Sub(w.clock.Now()); err != nil || wait < time.Second || wait > 2*time.Second {
			t.Fatalf("with no slot free: %+v %v", r, err)
		}
		if d := w.credential(s, "a3", password).Deliveries[0]; d.Failures != 0 {
			t.Fatalf("to wait for a slot is no failure of the destination: %+v", d)
		}
		for range 2 {
			store.out <- struct{}{}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		w.recover(s, "a3", password)
		w.expect(s, "a3", password, "1 active")
	})
}

func TestAStoreThatPanics(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha", "beta")
		w.memory.Break(func(objstore.Call) objstore.Fault { return objstore.None })
		bad := w.slowNode(panics{w.memory})
		if _, err := w.run(bad, "a1", password); err != nil {
			t.Fatal(err)
		}
		d := w.credential(s, "a1", password).Deliveries
		if d[0].Code != "failed" || strings.Contains(d[0].Error, "canary") || d[1].Version != 1 {
			t.Fatalf("%+v", d)
		}
	})
}

type panics struct{ objstore.Store }

func (p panics) Put(ctx context.Context, bucket, key string, body []byte, o objstore.PutOptions) (string, error) {
	if bucket == "alpha" {
		panic("canary")
	}
	return p.Store.Put(ctx, bucket, key, body, o)
}

func TestAskRotation(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		w.recover(s, "a1", password)
		w.recover(s, "a1", "client-secret")
		ask := func(kinds ...string) {
			t.Helper()
			w.write(func(ctx context.Context, tx db.WriteTx) error { return s.AskRotation(ctx, tx, system, "a1", kinds) })
		}
		for range 5 {
			ask(password)
		}
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "2 active, 1 retiring")
		w.expect(s, "a1", "client-secret", "1 active")

		w.refuse(objstore.Unavailable, "alpha")
		ask()
		w.mustRun(s, "a1")
		for range 5 {
			ask(password) // while one is open: one more afterwards
		}
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "3 prepared, 2 active, 1 retiring")
		w.refuse(objstore.None)
		w.clock.Advance(time.Minute)
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "4 active, 3 retiring, 2 retiring, 1 retiring")
		w.expect(s, "a1", "client-secret", "2 active, 1 retiring")
		ask(password) // four are accepted: it waits, and says so
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "4 active, 3 retiring, 2 retiring, 1 retiring")
		if c := w.credential(s, "a1", password); !strings.Contains(c.Waiting, "too many") || c.Asked == nil {
			t.Fatalf("%+v", c)
		}
	})
}

func TestAFixedDocumentDoesNotRotateByTime(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		w.kinds[1].fixed = true
		s := w.node()
		w.application(s, "a1", "alpha")
		w.mustRun(s, "a1")
		w.clock.Advance(100 * 24 * time.Hour)
		w.mustRun(s, "a1")
		w.expect(s, "a1", "client-secret", "1 active")
		w.expect(s, "a1", password, "2 active, 1 retiring")
		w.write(func(ctx context.Context, tx db.WriteTx) error {
			_, err := s.AddDestination(ctx, tx, system, "a1", rotation.Destination{Store: "local", Bucket: "beta"})
			return err
		})
		w.mustRun(s, "a1")
		w.clock.Advance(time.Hour)
		w.mustRun(s, "a1")
		w.expect(s, "a1", "client-secret", "2 active, 1 retired")

		// It becomes one with a secret: a new one is due at once.
		w.kinds[1].fixed = false
		w.mustRun(s, "a1")
		w.expect(s, "a1", "client-secret", "3 active, 2 retiring, 1 retired")
		if why := w.credential(s, "a1", "client-secret").Versions[0].Reason; why != "changed" {
			t.Fatal(why)
		}
	})
}

func TestAKindThatFails(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		w.kinds[0].breakBy(fault.New(fault.Conflict, "no_user", "The service user is gone."))
		var last time.Duration
		for range 12 {
			r, err := w.run(s, "a1", password)
			if err != nil {
				t.Fatal(err)
			}
			last = r.Next.Sub(w.clock.Now())
			w.clock.Set(r.Next)
		}
		c := w.credential(s, "a1", password)
		if c.Failures != 12 || !strings.Contains(c.Problem, "The service user is gone.") || len(c.Versions) != 0 || last < 5*time.Minute || last > 10*time.Minute {
			t.Fatalf("next after %v: %+v", last, c)
		}
		w.kinds[0].breakBy(errors.New("canary: dial tcp 10.0.0.1"))
		if _, err := w.run(s, "a1", password); err != nil {
			t.Fatal(err)
		}
		if c := w.credential(s, "a1", password); strings.Contains(c.Problem, "canary") || c.Problem == "" {
			t.Fatalf("the problem shows the inside: %q", c.Problem)
		}
		if _, err := w.run(s, "a1", "client-secret"); err != nil { // the other kind is unaffected
			t.Fatal(err)
		}
		w.expect(s, "a1", "client-secret", "1 active")
		w.kinds[0].breakBy(nil)
		w.recover(s, "a1", password)
		if c := w.credential(s, "a1", password); c.Problem != "" || c.Failures != 0 || c.Versions[0].State != "active" {
			t.Fatalf("%+v", c)
		}
	})
}

// A sealed document that does not open is a problem for a person; no other version is made in its place.
func TestASealedDocumentThatDoesNotOpen(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		w.refuse(objstore.Unavailable, "alpha")
		w.mustRun(s, "a1")
		w.refuse(objstore.None)
		w.write(func(ctx context.Context, tx db.WriteTx) error { // swap the documents of two rows
			n, err := tx.Exec(ctx, `UPDATE rotation_versions SET sealed = (SELECT sealed FROM rotation_versions WHERE kind = 'client-secret') WHERE kind = 'service-password'`)
			if err == nil && n != 1 {
				err = errors.New("not swapped")
			}
			return err
		})
		w.clock.Advance(time.Hour)
		w.mustRun(s, "a1")
		w.expect(s, "a1", password, "1 prepared")
		w.expect(s, "a1", "client-secret", "1 active")
		if c := w.credential(s, "a1", password); c.Problem == "" {
			t.Fatal("no problem is shown")
		}
		if _, ok := w.published("alpha", "a1", w.kinds[0]); ok {
			t.Fatal("something was published")
		}
	})
}

func TestPoliciesAreChecked(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		o := w.options()
		o.Policies[password] = lifecycle.Policy{Period: time.Hour, Grace: time.Hour, MaxOverlap: time.Minute, MaxLive: 4}
		if _, err := rotation.New(w.d, w.keyring, o); !errors.Is(err, lifecycle.ErrPolicy) {
			t.Fatal(err)
		}
		o = w.options()
		o.Policies["passwort"] = policy
		if _, err := rotation.New(w.d, w.keyring, o); err == nil {
			t.Fatal("a policy for a kind that does not exist was taken")
		}
	})
}
