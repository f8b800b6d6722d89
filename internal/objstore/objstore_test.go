package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/objstore/objstoretest"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/testport"
)

func openDirectory(t *testing.T) (*objstore.Directory, string) {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, objstoretest.Bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	d, err := objstore.NewDirectory(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, root
}

func TestDirectoryKeepsTheContract(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store { d, _ := openDirectory(t); return d })
}

func TestMemoryKeepsTheContract(t *testing.T) {
	objstoretest.Run(t, func(t *testing.T) objstore.Store { return objstore.NewMemory(objstoretest.Bucket) })
}

func TestDirectoryFormAndModes(t *testing.T) {
	d, root := openDirectory(t)
	if _, err := d.Put(t.Context(), objstoretest.Bucket, "sales-orders/user.json", []byte(`{}`), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(root, objstoretest.Bucket, "sales-orders", "user.json")
	if b, err := os.ReadFile(name); err != nil || string(b) != `{}` {
		t.Fatalf("%q, %v", b, err)
	}
	for p, want := range map[string]os.FileMode{name: 0o600, filepath.Dir(name): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode(), want)
		}
	}
}

func TestDirectorySweepsWhatACrashLeft(t *testing.T) {
	d, root := openDirectory(t)
	dir := filepath.Join(root, objstoretest.Bucket)
	old, young := filepath.Join(dir, ".mintmark-tmp-OLD"), filepath.Join(dir, ".mintmark-tmp-YOUNG")
	for _, p := range []string{old, young} {
		if err := os.WriteFile(p, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Unix(1e9, 0)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Put(t.Context(), objstoretest.Bucket, "k", nil, objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Error("the old leftover is still there")
	}
	if _, err := os.Stat(young); err != nil {
		t.Error("a file that may be in use was removed")
	}
	if p, err := d.List(t.Context(), objstoretest.Bucket, "", objstore.ListOptions{}); err != nil || len(p.Entries) != 1 {
		t.Errorf("List shows %v, %v", p.Entries, err)
	}
}

func TestDirectoryDoesNotFollowLinksOut(t *testing.T) {
	d, root := openDirectory(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		filepath.Join(root, objstoretest.Bucket, "out"):  outside,
		filepath.Join(root, objstoretest.Bucket, "file"): filepath.Join(outside, "secret"),
		filepath.Join(root, "linked-bucket"):             outside,
	} {
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range [][2]string{{objstoretest.Bucket, "out/secret"}, {objstoretest.Bucket, "file"}, {"linked-bucket", "secret"}} {
		if o, err := d.Get(t.Context(), c[0], c[1], ""); err == nil {
			t.Errorf("Get%v read %q", c, o.Body)
		}
		if c[1] == "file" {
			continue // a Put replaces the link itself
		}
		if _, err := d.Put(t.Context(), c[0], c[1], []byte("mine"), objstore.PutOptions{}); err == nil {
			t.Errorf("Put%v wrote", c)
		}
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "secret")); string(b) != "theirs" {
		t.Errorf("the file outside is now %q", b)
	}
}

func TestDirectoryFileInTheWay(t *testing.T) {
	d, _ := openDirectory(t)
	for _, key := range []string{"a", "b/c"} {
		if _, err := d.Put(t.Context(), objstoretest.Bucket, key, nil, objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a/b", "b"} {
		_, err := d.Put(t.Context(), objstoretest.Bucket, key, nil, objstore.PutOptions{})
		if !errors.Is(err, objstore.ErrInvalid) || !strings.Contains(objstore.Text(err), "file") {
			t.Errorf("Put(%q): %v", key, err)
		}
	}
}

func TestMemoryFaults(t *testing.T) {
	for _, c := range []struct {
		fault  objstore.Fault
		want   error
		stored bool
	}{
		{objstore.None, nil, true},
		{objstore.Lost, objstore.ErrUnavailable, false},
		{objstore.Unreported, objstore.ErrUnavailable, true},
		{objstore.Forgotten, nil, false},
		{objstore.Forbidden, objstore.ErrForbidden, false},
		{objstore.BucketGone, objstore.ErrNoBucket, false},
		{objstore.Unavailable, objstore.ErrUnavailable, false},
		{objstore.Hang, context.DeadlineExceeded, false},
	} {
		m := objstore.NewMemory("bucket")
		m.Break(func(call objstore.Call) objstore.Fault {
			if call.Op == "put" && call.Key == "k" && call.N == 0 {
				return c.fault
			}
			return objstore.None
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := m.Put(ctx, "bucket", "k", []byte("x"), objstore.PutOptions{})
		cancel()
		if !errors.Is(err, c.want) {
			t.Errorf("fault %d: %v, want %v", c.fault, err, c.want)
		}
		if got := len(m.Versions("bucket", "k")) == 1; got != c.stored {
			t.Errorf("fault %d: stored %v, want %v", c.fault, got, c.stored)
		}
		if len(m.Calls()) != 1 {
			t.Errorf("fault %d: calls %v", c.fault, m.Calls())
		}
	}
}

func TestMemoryKeepsEveryVersion(t *testing.T) {
	m := objstore.NewMemory("bucket")
	for _, body := range []string{"one", "two"} {
		if _, err := m.Put(t.Context(), "bucket", "k", []byte(body), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Delete(t.Context(), "bucket", "k"); err != nil {
		t.Fatal(err)
	}
	v := m.Versions("bucket", "k")
	if len(v) != 3 || string(v[0].Body) != "one" || string(v[1].Body) != "two" || !v[2].Deleted || !v[1].Modified.After(v[0].Modified) {
		t.Fatalf("versions %+v", v)
	}
}

const canary = "CANARY-s3cret"

// answering is a storage service that always gives one answer and counts the questions.
func answering(t *testing.T, status int, header http.Header, body string) (endpoint string, count func() int) {
	t.Helper()
	n := make(chan struct{}, 100)
	srv := &httptest.Server{Listener: testport.Listen(t), Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n <- struct{}{}
		io.Copy(io.Discard, r.Body)
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	})}}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL, func() int { return len(n) }
}

func newS3(t *testing.T, o objstore.S3Options) *objstore.S3 {
	t.Helper()
	o.AccessKeyID, o.Secret = "MMTEST", redact.New(canary)
	s, err := objstore.NewS3(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func xmlError(code string) string {
	return fmt.Sprintf("<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>%s http://internal/?X-Amz-Signature=%s</Message></Error>", code, canary, canary)
}

func TestS3ErrorsAreClassifiedAndHoldNothingSecret(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error
		text   string
	}{
		{403, "AccessDenied", objstore.ErrForbidden, "s3:PutObject"},
		{403, "InvalidAccessKeyId", objstore.ErrForbidden, "key"},
		{403, "SignatureDoesNotMatch", objstore.ErrForbidden, "secret is wrong"},
		{403, "RequestTimeTooSkewed", objstore.ErrForbidden, "clock"},
		{404, "NoSuchBucket", objstore.ErrNoBucket, "bucket"},
		{404, "NoSuchKey", objstore.ErrNotFound, "no such object"},
		{412, "PreconditionFailed", objstore.ErrPrecondition, "changed"},
		{409, "ConditionalRequestConflict", objstore.ErrPrecondition, "changed"},
		{400, "AccessControlListNotSupported", objstore.ErrInvalid, "ACL"},
		{400, canary + " spaces", objstore.ErrInvalid, "refused"},
		{301, "PermanentRedirect", objstore.ErrInvalid, "elsewhere"},
		{500, "InternalError", objstore.ErrUnavailable, "again"},
		{503, "SlowDown", objstore.ErrUnavailable, "again"},
	} {
		endpoint, _ := answering(t, c.status, http.Header{"Content-Type": {"application/xml"}}, xmlError(c.code))
		s := newS3(t, objstore.S3Options{Endpoint: endpoint, Attempts: 1})
		_, err := s.Put(t.Context(), "bucket", "k", []byte(canary), objstore.PutOptions{})
		if !errors.Is(err, c.want) || !strings.Contains(objstore.Text(err), c.text) {
			t.Errorf("%d %s: %v, want %v with %q", c.status, c.code, err, c.want, c.text)
			continue
		}
		for _, leak := range []string{canary, "http:", "Signature="} {
			if strings.Contains(err.Error(), leak) || strings.Contains(objstore.Text(err), leak) {
				t.Errorf("%d %s: the error shows %q: %v", c.status, c.code, leak, err)
			}
		}
	}
}

func TestS3FollowsNoRedirect(t *testing.T) {
	other, asked := answering(t, 200, nil, "")
	endpoint, _ := answering(t, 307, http.Header{"Location": {other + "/bucket/k"}}, "")
	_, err := newS3(t, objstore.S3Options{Endpoint: endpoint}).Put(t.Context(), "bucket", "k", nil, objstore.PutOptions{})
	if err == nil || !strings.Contains(objstore.Text(err), "Redirects") || asked() != 0 {
		t.Fatalf("%v; the other host was asked %d times", err, asked())
	}
}

func TestS3TriesAgain(t *testing.T) {
	endpoint, asked := answering(t, 503, nil, xmlError("SlowDown"))
	_, err := newS3(t, objstore.S3Options{Endpoint: endpoint, Attempts: 2}).Put(t.Context(), "bucket", "k", []byte("x"), objstore.PutOptions{})
	if !errors.Is(err, objstore.ErrUnavailable) || asked() != 2 {
		t.Fatalf("%v after %d tries", err, asked())
	}
}

func TestS3GivesUpOnSilence(t *testing.T) {
	l := testport.Listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func(c net.Conn) { defer c.Close(); io.Copy(io.Discard, c) }(c)
		}
	}()
	s := newS3(t, objstore.S3Options{Endpoint: "http://" + l.Addr().String(), Timeout: 300 * time.Millisecond, Answer: 50 * time.Millisecond})
	_, err := s.Get(t.Context(), "bucket", "k", "")
	if !errors.Is(err, objstore.ErrUnavailable) {
		t.Fatalf("%v", err)
	}
}

func TestS3RefusesAnEndlessObject(t *testing.T) {
	endpoint, _ := answering(t, 200, http.Header{"Etag": {`"x"`}}, strings.Repeat("x", objstore.MaxObject+1))
	_, err := newS3(t, objstore.S3Options{Endpoint: endpoint}).Get(t.Context(), "bucket", "k", "")
	if !errors.Is(err, objstore.ErrInvalid) {
		t.Fatalf("%v", err)
	}
}

func TestS3SendsWhatTheStoreSays(t *testing.T) {
	got := make(chan http.Header, 1)
	srv := &httptest.Server{Listener: testport.Listen(t), Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/bucket/app/user.json" {
			t.Errorf("path %s", r.URL.Path)
		}
		got <- r.Header
		w.Header().Set("ETag", `"x"`)
	})}}
	srv.Start()
	defer srv.Close()
	s := newS3(t, objstore.S3Options{Endpoint: srv.URL, Region: "eu-central-1", ACL: "bucket-owner-full-control", ExpectedOwner: "123456789012"})
	if _, err := s.Put(t.Context(), "bucket", "app/user.json", []byte("{}"), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	h := <-got
	for name, want := range map[string]string{"X-Amz-Acl": "bucket-owner-full-control", "X-Amz-Expected-Bucket-Owner": "123456789012", "Content-Type": "application/json"} {
		if h.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, h.Get(name), want)
		}
	}
	if !strings.Contains(h.Get("Authorization"), "/eu-central-1/s3/") || strings.Contains(fmt.Sprint(h), canary) {
		t.Errorf("headers %v", h)
	}
	for name := range h {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-checksum") || strings.EqualFold(name, "X-Amz-Trailer") {
			t.Errorf("%s was sent: not every S3 knows it", name)
		}
	}
}

func TestNewS3Refuses(t *testing.T) {
	for _, o := range []objstore.S3Options{
		{Endpoint: "s3.example.org"}, {Endpoint: "ftp://x"}, {Endpoint: "https://user:pass@x"}, {Endpoint: "https://x/?a=b"}, {Endpoint: "://"},
		{AccessKeyID: "only"}, {Secret: redact.New("only")},
	} {
		if _, err := objstore.NewS3(t.Context(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

func TestTextOfForeignErrorsShowsNothing(t *testing.T) {
	if got := objstore.Text(errors.New(canary)); strings.Contains(got, canary) || got == "" {
		t.Errorf("Text = %q", got)
	}
}
