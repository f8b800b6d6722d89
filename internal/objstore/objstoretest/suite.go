// Package objstoretest holds the contract of objstore.Store as a test that every implementation runs.
package objstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/objstore"
)

// Bucket is the bucket that the store under test must have. There must be none named "absent-bucket".
const Bucket = "contract-bucket"

// Run runs the contract against a new, empty store each time.
func Run(t *testing.T, open func(t *testing.T) objstore.Store) {
	for name, test := range map[string]func(*testing.T, objstore.Store){
		"put and get": putAndGet, "overwrite": overwrite, "absent": absent, "conditions": conditions, "not modified": notModified,
		"delete": remove, "list": list, "no bucket": noBucket, "bad names": badNames, "context": cancelled, "torn": torn, "one creator": oneCreator,
		"sizes": sizes,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantErr(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error = %v, want %v", err, kind)
	}
	var e *objstore.Error
	if !errors.As(err, &e) || e.Text == "" || e.Op == "" || e.Kind != kind {
		t.Fatalf("error %#v does not say what to do", err)
	}
}

func putAndGet(t *testing.T, s objstore.Store) {
	for _, key := range []string{"sales-orders/user.json", "a", "x/y/z/deep.json", "with space", "pro%cent%2f", "ümlaut/ä", "plus+and=", "UPPER/lower"} {
		body := []byte(`{"key":"` + key + `"}`)
		tag := must(s.Put(t.Context(), Bucket, key, body, objstore.PutOptions{}))(t)
		if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
			t.Fatalf("tag %s is not quoted", tag)
		}
		o := must(s.Get(t.Context(), Bucket, key, ""))(t)
		if !bytes.Equal(o.Body, body) || o.ETag != tag || o.Modified.IsZero() {
			t.Fatalf("%q: got %q %s %v, want %q %s", key, o.Body, o.ETag, o.Modified, body, tag)
		}
		if o.ContentType != "" && o.ContentType != "application/json" {
			t.Fatalf("content type %q", o.ContentType)
		}
	}
}

func overwrite(t *testing.T, s objstore.Store) {
	one := must(s.Put(t.Context(), Bucket, "k", []byte("one, and longer"), objstore.PutOptions{}))(t)
	two := must(s.Put(t.Context(), Bucket, "k", []byte("two"), objstore.PutOptions{}))(t)
	again := must(s.Put(t.Context(), Bucket, "k", []byte("two"), objstore.PutOptions{}))(t)
	if one == two || two != again {
		t.Fatalf("tags %s, %s, %s: equal for unequal bytes, or unequal for equal ones", one, two, again)
	}
	if o := must(s.Get(t.Context(), Bucket, "k", ""))(t); string(o.Body) != "two" {
		t.Fatalf("got %q", o.Body)
	}
}

func absent(t *testing.T, s objstore.Store) {
	_, err := s.Get(t.Context(), Bucket, "not/there", "")
	wantErr(t, err, objstore.ErrNotFound)
	must(s.Put(t.Context(), Bucket, "a/b", nil, objstore.PutOptions{}))(t)
	_, err = s.Get(t.Context(), Bucket, "a", "")
	wantErr(t, err, objstore.ErrNotFound)
	_, err = s.Get(t.Context(), Bucket, "a/b/c", "")
	wantErr(t, err, objstore.ErrNotFound)
}

func conditions(t *testing.T, s objstore.Store) {
	_, err := s.Put(t.Context(), Bucket, "k", []byte("x"), objstore.PutOptions{IfMatch: `"0123456789abcdef0123456789abcdef"`})
	if !errors.Is(err, objstore.ErrPrecondition) && !errors.Is(err, objstore.ErrNotFound) { // S3 answers 404 here
		t.Fatalf("if-match without an object: %v", err)
	}
	tag := must(s.Put(t.Context(), Bucket, "k", []byte("one"), objstore.PutOptions{IfNoneMatch: "*"}))(t)
	_, err = s.Put(t.Context(), Bucket, "k", []byte("two"), objstore.PutOptions{IfNoneMatch: "*"})
	wantErr(t, err, objstore.ErrPrecondition)
	tag2 := must(s.Put(t.Context(), Bucket, "k", []byte("two"), objstore.PutOptions{IfMatch: tag}))(t)
	_, err = s.Put(t.Context(), Bucket, "k", []byte("three"), objstore.PutOptions{IfMatch: tag})
	wantErr(t, err, objstore.ErrPrecondition)
	if o := must(s.Get(t.Context(), Bucket, "k", ""))(t); string(o.Body) != "two" || o.ETag != tag2 {
		t.Fatalf("got %q", o.Body)
	}
	_, err = s.Put(t.Context(), Bucket, "k", []byte("x"), objstore.PutOptions{IfNoneMatch: tag})
	wantErr(t, err, objstore.ErrInvalid)
}

func notModified(t *testing.T, s objstore.Store) {
	tag := must(s.Put(t.Context(), Bucket, "k", []byte("one"), objstore.PutOptions{}))(t)
	_, err := s.Get(t.Context(), Bucket, "k", tag)
	wantErr(t, err, objstore.ErrNotModified)
	must(s.Put(t.Context(), Bucket, "k", []byte("two"), objstore.PutOptions{}))(t)
	if o := must(s.Get(t.Context(), Bucket, "k", tag))(t); string(o.Body) != "two" {
		t.Fatalf("got %q", o.Body)
	}
}

func remove(t *testing.T, s objstore.Store) {
	must(s.Put(t.Context(), Bucket, "a/k", []byte("one"), objstore.PutOptions{}))(t)
	for range 2 {
		if err := s.Delete(t.Context(), Bucket, "a/k"); err != nil {
			t.Fatal(err)
		}
		_, err := s.Get(t.Context(), Bucket, "a/k", "")
		wantErr(t, err, objstore.ErrNotFound)
	}
	must(s.Put(t.Context(), Bucket, "a/k", []byte("two"), objstore.PutOptions{IfNoneMatch: "*"}))(t)
}

func list(t *testing.T, s objstore.Store) {
	all := []string{"a-b/x", "a/x", "a/y/z", "a0", "b/user.json"} // byte order: '-' < '/' < '0'
	for _, key := range all {
		must(s.Put(t.Context(), Bucket, key, []byte(key), objstore.PutOptions{}))(t)
	}
	names := func(prefix string, o objstore.ListOptions) ([]string, bool) {
		p := must(s.List(t.Context(), Bucket, prefix, o))(t)
		var keys []string
		for _, e := range p.Entries {
			if e.Size != int64(len(e.Key)) || e.ETag == "" || e.Modified.IsZero() {
				t.Fatalf("entry %+v", e)
			}
			keys = append(keys, e.Key)
		}
		return keys, p.More
	}
	for _, c := range []struct {
		prefix string
		o      objstore.ListOptions
		want   []string
		more   bool
	}{
		{"", objstore.ListOptions{}, all, false},
		{"a/", objstore.ListOptions{}, []string{"a/x", "a/y/z"}, false},
		{"a", objstore.ListOptions{}, all[:4], false},
		{"a/y/z", objstore.ListOptions{}, []string{"a/y/z"}, false},
		{"nothing/", objstore.ListOptions{}, nil, false},
		{"", objstore.ListOptions{Limit: 2}, all[:2], true},
		{"", objstore.ListOptions{Limit: 2, After: "a/x"}, all[2:4], true},
		{"", objstore.ListOptions{Limit: 1, After: "a0"}, all[4:], false},
		{"", objstore.ListOptions{Limit: 5}, all, false},
	} {
		got, more := names(c.prefix, c.o)
		if diff := cmp.Diff(c.want, got); diff != "" || more != c.more {
			t.Errorf("List(%q, %+v): more %v, (-want +got):\n%s", c.prefix, c.o, more, diff)
		}
	}
}

func noBucket(t *testing.T, s objstore.Store) {
	_, err := s.Put(t.Context(), "absent-bucket", "k", []byte("x"), objstore.PutOptions{})
	wantErr(t, err, objstore.ErrNoBucket)
	_, err = s.Get(t.Context(), "absent-bucket", "k", "")
	wantErr(t, err, objstore.ErrNoBucket)
	_, err = s.List(t.Context(), "absent-bucket", "", objstore.ListOptions{})
	wantErr(t, err, objstore.ErrNoBucket)
	wantErr(t, s.Delete(t.Context(), "absent-bucket", "k"), objstore.ErrNoBucket)
}

func badNames(t *testing.T, s objstore.Store) {
	for _, key := range []string{"", "/", "/a", "a/", "a//b", ".", "..", "../x", "a/../b", "a/./b", "nul\x00", "line\n", "\xff", strings.Repeat("k", objstore.MaxKey+1),
		".mintmark-tmp-x", "a/.mintmark-tmp-x"} {
		_, err := s.Put(t.Context(), Bucket, key, []byte("x"), objstore.PutOptions{})
		wantErr(t, err, objstore.ErrInvalid)
		_, err = s.Get(t.Context(), Bucket, key, "")
		wantErr(t, err, objstore.ErrInvalid)
		wantErr(t, s.Delete(t.Context(), Bucket, key), objstore.ErrInvalid)
	}
	for _, bucket := range []string{"", ".", "..", "ab", "a/b", "Upper", "a..b", "-ab", strings.Repeat("b", 64)} {
		_, err := s.Put(t.Context(), bucket, "k", []byte("x"), objstore.PutOptions{})
		wantErr(t, err, objstore.ErrInvalid)
	}
	_, err := s.List(t.Context(), Bucket, "../", objstore.ListOptions{})
	wantErr(t, err, objstore.ErrInvalid)
}

func cancelled(t *testing.T, s objstore.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Put(ctx, Bucket, "k", []byte("x"), objstore.PutOptions{})
	wantErr(t, err, objstore.ErrUnavailable)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v does not tell that the context ended", err)
	}
	_, err = s.Get(t.Context(), Bucket, "k", "")
	wantErr(t, err, objstore.ErrNotFound)
}

// torn: whoever reads while others write sees one of the written objects, whole.
func torn(t *testing.T, s objstore.Store) {
	bodies := map[string]bool{}
	for i := range 4 {
		bodies[strings.Repeat(fmt.Sprint(i), 3000+1000*i)] = true
	}
	for b := range bodies {
		must(s.Put(t.Context(), Bucket, "a/k", []byte(b), objstore.PutOptions{}))(t)
	}
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for b := range bodies {
		writers.Go(func() {
			for range 15 {
				if _, err := s.Put(t.Context(), Bucket, "a/k", []byte(b), objstore.PutOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				o, err := s.Get(t.Context(), Bucket, "a/k", "")
				if err != nil || !bodies[string(o.Body)] {
					t.Errorf("a reader saw %d bytes, %v", len(o.Body), err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

// oneCreator: of many that create one key at once, one succeeds.
func oneCreator(t *testing.T, s objstore.Store) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 8 {
		wg.Go(func() {
			_, err := s.Put(t.Context(), Bucket, "new", fmt.Append(nil, i), objstore.PutOptions{IfNoneMatch: "*"})
			if err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			} else if !errors.Is(err, objstore.ErrPrecondition) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Fatalf("%d of 8 created the object", made)
	}
}

func sizes(t *testing.T, s objstore.Store) {
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 1 << 20, objstore.MaxObject} {
		body := bytes.Repeat([]byte{byte(n), 'x', 0, '\n'}, n/4+1)[:n]
		must(s.Put(t.Context(), Bucket, "size", body, objstore.PutOptions{}))(t)
		if o := must(s.Get(t.Context(), Bucket, "size", ""))(t); !bytes.Equal(o.Body, body) {
			t.Fatalf("%d bytes came back as %d", n, len(o.Body))
		}
	}
	_, err := s.Put(t.Context(), Bucket, "size", make([]byte, objstore.MaxObject+1), objstore.PutOptions{})
	wantErr(t, err, objstore.ErrInvalid)
}
