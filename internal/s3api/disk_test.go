package s3api

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newDisk(t testing.TB) (*disk, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.close() })
	return d, dir
}

func accept(int64, []byte) error { return nil }

func putText(t testing.TB, d *disk, key, text string) {
	t.Helper()
	if _, err := d.put(upload{bucket: "bucket", key: key, body: strings.NewReader(text), now: time.Unix(1e9, 0), complete: accept}); err != nil {
		t.Fatal(err)
	}
}

func getText(d *disk, key string) (string, error) {
	o, err := d.open("bucket", key)
	if err != nil {
		return "", err
	}
	defer o.Close()
	b, err := io.ReadAll(io.NewSectionReader(o.body, 0, o.size))
	return string(b), err
}

// files are the plain files below the directory.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, p)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestFileNames(t *testing.T) {
	for key, want := range map[string]string{
		"sales-orders/user.json": "sales-orders=/user.json@",
		"a":                      "a@",
		"A":                      "%41@",
		"a/":                     "a=/@",
		"/a":                     "=/a@",
		"100%":                   "100%25@",
		"tmp/x":                  "tmp=/x@",
		"x@=+":                   "x%40%3d%2b@",
		strings.Repeat("k", 200): strings.Repeat("k", 197) + "+/kkk@",
	} {
		if got := fileName(key); got != want {
			t.Errorf("fileName(%q) = %q, want %q", key, got, want)
		}
	}
}

func FuzzFileName(f *testing.F) {
	seeds := []string{"a", "a/b", "A/../b", "", "/", "%41@", "ä", strings.Repeat("Ä", 300), "a=/b@", "tmp"}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if key, isFile, ok := keyOf(s); ok && isFile && fileName(key) != s {
			t.Fatalf("keyOf(%q) = %q, whose file is %q", s, key, fileName(key))
		}
		if len(s) > maxKey {
			return
		}
		name := fileName(s)
		key, isFile, ok := keyOf(name)
		if !ok || !isFile || key != s {
			t.Fatalf("fileName(%q) = %q, which is the key %q (%v, %v)", s, name, key, isFile, ok)
		}
		for piece := range strings.SplitSeq(name, "/") {
			if piece == "" || piece == "." || piece == ".." || piece == tmpDir || len(piece) > 255 || strings.ToLower(piece) != piece {
				t.Fatalf("fileName(%q) has the piece %q", s, piece)
			}
		}
	})
}

func TestWhatACrashLeaves(t *testing.T) {
	d, dir := newDisk(t)
	putText(t, d, "a/k", "old")
	left := filepath.Join(dir, "bucket", tmpDir, "LEFTOVER")
	if err := os.WriteFile(left, []byte("half an obj"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "bucket", "empty=", "deep="), 0o700); err != nil {
		t.Fatal(err)
	}
	lines, _, err := d.list(t.Context(), "bucket", listing{limit: 10, delimiter: "/"})
	if err != nil || len(lines) != 1 || lines[0].name != "a/" {
		t.Errorf("list shows %v, %v", lines, err)
	}
	again, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	if got := files(t, dir); len(got) != 1 || got[0] != "bucket/a=/k@" {
		t.Errorf("after a new start there is %v", got)
	}
	if got, err := getText(again, "a/k"); got != "old" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRefusedUploadLeavesNothing(t *testing.T) {
	d, dir := newDisk(t)
	putText(t, d, "k", "old")
	refused := errors.New("refused")
	for name, u := range map[string]upload{
		"complete":  {body: strings.NewReader("new"), complete: func(int64, []byte) error { return refused }},
		"condition": {body: strings.NewReader("new"), complete: accept, condition: func(*meta) error { return refused }},
		"body":      {body: io.MultiReader(strings.NewReader("ne"), failing{refused}), complete: accept},
	} {
		u.bucket, u.key = "bucket", "k"
		if _, err := d.put(u); !errors.Is(err, refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %v", got)
	}
	if got, err := getText(d, "k"); got != "old" {
		t.Errorf("%q, %v", got, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestDamagedObjectsAreNotServed(t *testing.T) {
	d, dir := newDisk(t)
	name := filepath.Join(dir, "bucket", "k@")
	putText(t, d, "other", "theirs")
	other, err := os.ReadFile(filepath.Join(dir, "bucket", "other@"))
	if err != nil {
		t.Fatal(err)
	}
	putText(t, d, "k", "0123456789")
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte{'x'}, whole[1:]...)
	long := append([]byte{}, whole...)
	long[len(long)-footerSize] = 0xff
	for what, content := range map[string][]byte{
		"empty": {}, "cut": whole[:len(whole)-1], "half": whole[:12], "flipped": flipped, "another object": other, "metadata too long": long,
		"metadata no JSON": []byte("xx{\x00\x00\x00\x01" + magic), "only a footer": []byte("\x00\x00\x00\x00" + magic),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := getText(d, "k"); !errors.Is(err, errDamaged) {
			t.Errorf("%s: served %q, %v", what, got, err)
		}
	}
	if err := d.remove("bucket", "k"); err != nil {
		t.Errorf("a damaged object cannot be removed: %v", err)
	}
	putText(t, d, "k", "again")
}

func TestNoLinkIsFollowed(t *testing.T) {
	d, dir := newDisk(t)
	putText(t, d, "a/k", "inside")
	outside := t.TempDir()
	whole, err := os.ReadFile(filepath.Join(dir, "bucket", "a=", "k@"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, "k@"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"bucket/out=":  outside,
		"bucket/in=":   "a=",
		"bucket/file@": "a=/k@",
		"linked":       outside,
	} {
		if err := os.Symlink(target, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"out/k", "in/k", "file"} {
		if got, err := getText(d, key); err == nil {
			t.Errorf("%s: read %q through a link", key, got)
		}
	}
	if o, err := d.open("linked", "k"); err == nil {
		t.Errorf("read %+v of a bucket that is a link", o.meta)
	}
	for _, u := range []upload{{bucket: "linked", key: "x"}, {bucket: "bucket", key: "out/x"}, {bucket: "bucket", key: "in/x"}} {
		u.body, u.complete = strings.NewReader("x"), accept
		if _, err := d.put(u); err == nil {
			t.Errorf("%s/%s: written through a link", u.bucket, u.key)
		}
	}
	lines, _, err := d.list(t.Context(), "bucket", listing{limit: 10})
	if err != nil || len(lines) != 1 {
		t.Errorf("list shows %v, %v", lines, err)
	}
	if _, _, err := d.list(t.Context(), "linked", listing{limit: 10}); err == nil {
		t.Error("a bucket that is a link is listed")
	}
}

func TestDirectoriesGoWithTheirLastObject(t *testing.T) {
	d, dir := newDisk(t)
	putText(t, d, "a/b/c", "x")
	putText(t, d, "a/k", "x")
	for _, key := range []string{"a/b/c", "a/b/c", "a/k", "none/at/all"} {
		if err := d.remove("bucket", key); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, "bucket"))
	if err != nil || len(entries) != 1 || entries[0].Name() != tmpDir {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestModes(t *testing.T) {
	d, dir := newDisk(t)
	putText(t, d, "a/k", "x")
	for name, want := range map[string]os.FileMode{"bucket": 0o700, "bucket/tmp": 0o700, "bucket/a=": 0o700, "bucket/a=/k@": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestDeepAndLongKeys(t *testing.T) {
	d, _ := newDisk(t)
	for _, key := range []string{strings.Repeat("/", 64), strings.Repeat("ä", 512), strings.Repeat("K", 1024), strings.Repeat("a/", 64) + "k", strings.Repeat("k", 250)} {
		if !validKey(key) {
			t.Fatalf("%d bytes are no key", len(key))
		}
		putText(t, d, key, "deep")
		if got, err := getText(d, key); got != "deep" {
			t.Errorf("%.20s…: %q, %v", key, got, err)
		}
		lines, _, err := d.list(t.Context(), "bucket", listing{limit: 10, prefix: key[:len(key)/2]})
		if err != nil || len(lines) != 1 || lines[0].name != key {
			t.Errorf("%.20s…: list %v, %v", key, lines, err)
		}
		if err := d.remove("bucket", key); err != nil {
			t.Error(err)
		}
	}
}
