package rotation_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/rotation"
)

func TestTwoNodesMakeOneVersion(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		nodes := []*rotation.Service{w.node(), w.node(), w.node()}
		// Without the fence: only compare-and-set and the index are left to guard.
		for _, s := range nodes {
			s.HoldBy(func(context.Context, db.WriteTx, jobs.Job) error { return nil })
		}
		w.application(nodes[0], "a1", "alpha", "beta")
		for round := range int64(10) {
			done := make(chan error, len(nodes))
			for _, s := range nodes {
				go func() {
					_, err := s.Rotate(context.WithoutCancel(t.Context()), jobs.Job{Kind: rotation.JobKind, Key: "a1/" + password})
					done <- err
				}()
			}
			for range nodes {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			c := w.credential(nodes[0], "a1", password)
			if c.Versions[0].Version != round+1 || c.Versions[0].State != "active" || c.Problem != "" {
				t.Fatalf("round %d: %+v", round, c)
			}
			for _, b := range []string{"alpha", "beta"} {
				if doc, _ := w.published(b, "a1", w.kinds[0]); doc.Version != round+1 {
					t.Fatalf("round %d: bucket %s shows %d", round, b, doc.Version)
				}
			}
			w.probe("a1", "alpha", "beta")
			w.use("alpha", "a1", w.kinds[0])
			w.clock.Advance(3 * time.Hour)
		}
	})
}

// A node that stood still in the middle of a put writes its old version over a later one when it wakes up. It finds that
// out, and the destination gets the newest version again.
func TestZombiePut(t *testing.T) {
	for name, open := range map[string]bool{"over the active version": false, "over the open version": true} {
		for how, answer := range map[string]error{"stored": nil, "reported lost": objstore.ErrUnavailable} {
			t.Run(name+"/"+how, func(t *testing.T) {
				engines(t, func(t *testing.T, w *world) { zombiePut(t, w, open, answer) })
			})
		}
	}
}

func zombiePut(t *testing.T, w *world, open bool, answer error) {
	s := w.node()
	w.application(s, "a1", "alpha", "beta")
	w.recover(s, "a1", password)
	w.clock.Advance(3 * time.Hour)
	store := newDeaf(w)
	store.answer = answer
	zombie, done := w.slowNode(store), make(chan error)
	j := w.claim("a1", password)
	go func() {
		_, err := zombie.Rotate(context.WithoutCancel(t.Context()), j)
		done <- err
	}()
	<-store.in // both buckets
	<-store.in
	w.recover(s, "a1", password)
	w.expect(s, "a1", password, "2 active, 1 retiring")
	w.use("alpha", "a1", w.kinds[0])
	w.clock.Advance(3 * time.Hour)
	if open {
		w.refuse(objstore.Unavailable, "beta")
	}
	if _, err := w.run(s, "a1", password); err != nil {
		t.Fatal(err)
	}
	if doc, _ := w.published("alpha", "a1", w.kinds[0]); doc.Version != 3 {
		t.Fatalf("alpha shows %d", doc.Version)
	}
	store.out <- struct{}{}
	store.out <- struct{}{}
	if err := <-done; !errors.Is(err, jobs.ErrLost) {
		t.Fatalf("the zombie ended with %v", err)
	}
	if doc, _ := w.published("alpha", "a1", w.kinds[0]); doc.Version != 2 {
		t.Fatalf("alpha shows %d: the zombie wrote nothing", doc.Version)
	}
	w.probe("a1", "alpha", "beta")
	w.refuse(objstore.None)
	w.clock.Advance(time.Minute)
	w.recover(s, "a1", password)
	newest := int64(4)
	if open {
		newest = 3
	}
	for _, b := range []string{"alpha", "beta"} {
		if doc, _ := w.published(b, "a1", w.kinds[0]); doc.Version != newest {
			t.Fatalf("%s shows %d at last, want %d", b, doc.Version, newest)
		}
	}
	if v := w.credential(s, "a1", password).Versions[0]; v.Version != newest || v.State != "active" {
		t.Fatalf("%+v", v)
	}
	w.noSealed(0)
}

// A zombie writes its old version over a later one between the later one's put and its record. The record would say what is
// no longer true.
func TestZombiePutBetweenPutAndRecord(t *testing.T) {
	engines(t, func(t *testing.T, w *world) {
		s := w.node()
		w.application(s, "a1", "alpha")
		store, done := newDeaf(w), make(chan error)
		zombie, j := w.slowNode(store), w.claim("a1", password)
		go func() {
			_, err := zombie.Rotate(context.WithoutCancel(t.Context()), j)
			done <- err
		}()
		<-store.in
		w.recover(s, "a1", password)
		w.use("alpha", "a1", w.kinds[0])
		w.clock.Advance(3 * time.Hour)
		overtaken := w.slowNode(&followed{Store: w.memory, then: func() {
			store.out <- struct{}{}
			if err := <-done; !errors.Is(err, jobs.ErrLost) {
				t.Errorf("the zombie ended with %v", err)
			}
		}})
		if _, err := w.run(overtaken, "a1", password); err != nil {
			t.Fatal(err)
		}
		w.recover(s, "a1", password)
		w.expect(s, "a1", password, "2 active, 1 retiring")
		if doc, _ := w.published("alpha", "a1", w.kinds[0]); doc.Version != 2 {
			t.Fatalf("the bucket shows %d, and nobody knows", doc.Version)
		}
	})
}

// followed does something between the first put and its answer.
type followed struct {
	objstore.Store
	then func()
	once sync.Once
}

func (f *followed) Put(ctx context.Context, bucket, key string, body []byte, o objstore.PutOptions) (string, error) {
	etag, err := f.Store.Put(ctx, bucket, key, body, o)
	f.once.Do(f.then)
	return etag, err
}

// slowNode is a node with another store.
func (w *world) slowNode(store objstore.Store) *rotation.Service {
	w.t.Helper()
	o := w.options()
	o.Stores = oneStore{store}
	s, err := rotation.New(w.d, w.keyring, o)
	if err != nil {
		w.t.Fatal(err)
	}
	s.HoldBy(held)
	return s
}
