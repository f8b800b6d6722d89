package objstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// temporary begins the name of a file that is not an object yet. No key has a segment that begins so.
const temporary = ".mintmark-tmp-"

// Directory is a Store in a directory tree: <root>/<bucket>/<key>. The bucket's directory must be there; directories
// below it are made on the way. An object's tag is the SHA-256 of its bytes.
//
// What a crash leaves: before the rename, a file whose name begins with .mintmark-tmp- and that nobody reads, beside the
// old object; after it, the new object. Such files are removed by a Put beside them an hour later.
type Directory struct {
	root *os.Root
	mu   sync.Mutex // held from the check of a condition to the rename: conditions hold among the writers of one process
}

// NewDirectory opens a store. The root directory must exist.
func NewDirectory(root string) (*Directory, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, fmt.Errorf("objstore: open the directory of a store: %w", err)
	}
	return &Directory{root: r}, nil
}

// Close gives the directory back.
func (d *Directory) Close() error { return d.root.Close() }

// Put writes the object.
func (d *Directory) Put(ctx context.Context, bucket, key string, body []byte, o PutOptions) (string, error) {
	if err := check(ctx, "put", bucket, key, o, len(body)); err != nil {
		return "", err
	}
	if err := d.haveBucket(bucket); err != nil {
		return "", diskError("put", bucket, key, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.condition(bucket, key, o); err != nil {
		return "", diskError("put", bucket, key, err)
	}
	if err := d.write(bucket+"/"+key, body); err != nil {
		return "", diskError("put", bucket, key, err)
	}
	return tagOf(body), nil
}

// condition compares what is there with what the caller expects. The caller holds d.mu.
func (d *Directory) condition(bucket, key string, o PutOptions) error {
	if o.IfMatch == "" && o.IfNoneMatch == "" {
		return nil
	}
	old, err := d.read(bucket + "/" + key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if o.IfMatch != "" {
			return ErrPrecondition
		}
		return nil
	case err != nil:
		return err
	case o.IfNoneMatch != "" || o.IfMatch != tagOf(old.Body):
		return ErrPrecondition
	}
	return nil
}

// write makes the file durable under its final name: temporary file, fsync, rename, fsync of the directory, and fsync
// of each directory in which one was made on the way.
func (d *Directory) write(name string, body []byte) error {
	dir := path.Dir(name)
	if err := d.makeDirs(dir); err != nil {
		return err
	}
	tmp := dir + "/" + temporary + rand.Text()
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, d.root.Remove(tmp))
	}
	return d.sweepAndSync(dir, name)
}

// sweepAndSync makes the rename durable and removes what a crash left: temporary files an hour older than the file just
// written. Younger ones may belong to another process.
func (d *Directory) sweepAndSync(dir, written string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err != nil {
		return err
	}
	now, err := d.root.Lstat(written)
	if err != nil {
		return nil // deleted meanwhile by somebody else
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		info, err := e.Info()
		if err == nil && now.ModTime().Sub(info.ModTime()) > time.Hour {
			err = d.root.Remove(dir + "/" + e.Name())
		}
		if err != nil && !isAbsent(err) {
			return err
		}
	}
	return nil
}

func (d *Directory) makeDirs(dir string) error {
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		err := d.root.Mkdir(dir[:i], 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := d.syncDir(path.Dir(dir[:i])); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) syncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get reads the object.
func (d *Directory) Get(ctx context.Context, bucket, key, ifNoneMatch string) (Object, error) {
	if err := check(ctx, "get", bucket, key, PutOptions{}, 0); err != nil {
		return Object{}, err
	}
	if err := d.haveBucket(bucket); err != nil {
		return Object{}, diskError("get", bucket, key, err)
	}
	o, err := d.read(bucket + "/" + key)
	if err != nil {
		return Object{}, diskError("get", bucket, key, err)
	}
	if ifNoneMatch == o.ETag {
		return Object{}, diskError("get", bucket, key, ErrNotModified)
	}
	return o, nil
}

// read reads a file that is a plain file. Rename puts another file in its place and never changes this one, so what is
// read is whole.
func (d *Directory) read(name string) (Object, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not blocked by a pipe that somebody put there
	if err != nil {
		return Object{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Object{}, err
	}
	if !info.Mode().IsRegular() {
		return Object{}, fs.ErrNotExist
	}
	body, err := io.ReadAll(io.LimitReader(f, MaxObject+1))
	if err != nil {
		return Object{}, err
	}
	if len(body) > MaxObject {
		return Object{}, ErrInvalid
	}
	return Object{Body: body, ETag: tagOf(body), Modified: info.ModTime().UTC()}, nil
}

// Delete removes the object. The directories above it stay.
func (d *Directory) Delete(ctx context.Context, bucket, key string) error {
	if err := check(ctx, "delete", bucket, key, PutOptions{}, 0); err != nil {
		return err
	}
	if err := d.haveBucket(bucket); err != nil {
		return diskError("delete", bucket, key, err)
	}
	name := bucket + "/" + key
	info, err := d.root.Lstat(name)
	if err == nil && info.IsDir() || isAbsent(err) {
		return nil
	}
	if err == nil {
		err = d.root.Remove(name)
	}
	if err == nil {
		err = d.syncDir(path.Dir(name))
	}
	if isAbsent(err) {
		return nil
	}
	return diskError("delete", bucket, key, err)
}

// List names objects.
func (d *Directory) List(ctx context.Context, bucket, prefix string, o ListOptions) (Page, error) {
	if err := check(ctx, "list", bucket, prefix, PutOptions{}, 0); err != nil {
		return Page{}, err
	}
	if err := d.haveBucket(bucket); err != nil {
		return Page{}, diskError("list", bucket, prefix, err)
	}
	start := bucket
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		start += "/" + prefix[:i]
	}
	var keys []string
	err := fs.WalkDir(d.root.FS(), start, func(p string, e fs.DirEntry, err error) error {
		switch {
		case isAbsent(err):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		key := strings.TrimPrefix(p, bucket+"/")
		if e.Type().IsRegular() && strings.HasPrefix(key, prefix) && key > o.After && ValidKey(key) {
			keys = append(keys, key)
		}
		return nil
	})
	if err != nil {
		return Page{}, diskError("list", bucket, prefix, err)
	}
	return d.page(bucket, prefix, keys, o.limit())
}

// haveBucket answers ErrNoBucket unless the bucket's directory is there, and is no symbolic link.
func (d *Directory) haveBucket(bucket string) error {
	info, err := d.root.Lstat(bucket)
	if isAbsent(err) || err == nil && !info.IsDir() {
		return ErrNoBucket
	}
	return err
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func diskError(op, bucket, key string, err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range []error{ErrNoBucket, ErrNotModified, ErrPrecondition, ErrInvalid} {
		if errors.Is(err, kind) {
			return failure(op, bucket, key, kind, nil)
		}
	}
	var e *Error
	switch {
	case errors.Is(err, syscall.EISDIR), op == "get" && isAbsent(err):
		e = failure(op, bucket, key, ErrNotFound, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		e = failure(op, bucket, key, ErrForbidden, err)
		e.Text = "The server may not do this in the store's directory: let its user read and write there."
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e = failure(op, bucket, key, ErrUnavailable, err)
		e.Text = "The disk of the store's directory is full."
	case isAbsent(err), errors.Is(err, fs.ErrExist):
		e = failure(op, bucket, key, ErrInvalid, err)
		e.Text = "A file stands where the key needs a directory, or a directory where it needs a file."
	default:
		e = failure(op, bucket, key, ErrUnavailable, err)
		e.Text = "The store's directory failed; the server's log has the cause."
	}
	return e
}

// page reads what a list shows of the first keys. A key that has gone since it was named is left out.
func (d *Directory) page(bucket, prefix string, keys []string, limit int) (Page, error) {
	slices.Sort(keys)
	var p Page
	for i, key := range keys {
		if len(p.Entries) == limit {
			p.More = i < len(keys)
			break
		}
		o, err := d.read(bucket + "/" + key)
		if isAbsent(err) || errors.Is(err, ErrInvalid) {
			continue
		}
		if err != nil {
			return Page{}, diskError("list", bucket, prefix, err)
		}
		p.Entries = append(p.Entries, Entry{Key: key, Size: int64(len(o.Body)), ETag: o.ETag, Modified: o.Modified})
	}
	return p, nil
}
