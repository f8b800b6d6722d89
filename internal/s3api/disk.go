package s3api

import (
	"bufio"
	"bytes"
	"crypto/md5" // the entity tag of S3 is an MD5; it guards against damage, not against people
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/failpoint"
)

// disk keeps objects in files: <dir>/<bucket>/<file name of the key> (see fileName). A file is
//
//	the object's bytes │ metadata as JSON │ length of the metadata, 4 bytes │ "mmobj01\n"
//
// so that one rename puts bytes and metadata in place together. What a crash leaves, step by step of put:
//
//   - while <bucket>/tmp/<random> is written: that file, which nobody reads and the next start removes; the old object.
//   - after its fsync: the same.
//   - after directories were made: empty directories, which no list shows.
//   - after the rename, before the fsync of the directory: the old object or the new one, whole. The client has no
//     answer yet.
//   - after that: the new object.
//
// Nothing follows symbolic links: all access goes through an os.Root, and each directory on the way is looked at. One
// process owns the directory.
type disk struct {
	root *os.Root
	// The lock of a bucket is held from the check of a condition to the rename, and while directories come and go.
	locks [16]sync.Mutex
	seed  maphash.Seed
}

const (
	tmpDir      = "tmp"
	magic       = "mmobj01\n"
	footerSize  = 4 + len(magic)
	maxMeta     = 64 << 10
	smallObject = 64 << 10 // up to this size an object is read at once and its MD5 checked before it is served
)

// meta is what is kept beside the bytes of an object.
type meta struct {
	Key      string            `json:"key"`
	ETag     string            `json:"etag"` // MD5, hexadecimal, without quotes
	Modified int64             `json:"modified_us"`
	Headers  map[string]string `json:"headers,omitempty"` // content-type and the like, x-amz-meta-*
}

func (m meta) quotedTag() string { return `"` + m.ETag + `"` }

func (m meta) modified() time.Time { return time.UnixMicro(m.Modified).UTC() }

// errDamaged is in the chain of an error about a file that is not an object as put writes it.
var errDamaged = errors.New("s3api: the object's file is damaged")

// openDisk opens the data directory, which is made if it is not there, and removes what a crash left.
func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("s3api: make the directory of the objects: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("s3api: open the directory of the objects: %w", err)
	}
	d := &disk{root: root, seed: maphash.MakeSeed()}
	if err := d.sweep(); err != nil {
		return nil, errors.Join(fmt.Errorf("s3api: remove unfinished objects: %w", err), root.Close())
	}
	return d, nil
}

func (d *disk) close() error { return d.root.Close() }

func (d *disk) sweep() error {
	left, err := fs.Glob(d.root.FS(), "*/"+tmpDir+"/*")
	if err != nil {
		return err
	}
	for _, name := range left {
		if err := d.root.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) lock(bucket string) *sync.Mutex {
	return &d.locks[maphash.String(d.seed, bucket)%uint64(len(d.locks))]
}

// upload is an object on its way in.
type upload struct {
	bucket, key string
	body        io.Reader
	size        int64 // that is expected: it only decides how much is read at once
	headers     map[string]string
	now         time.Time
	// complete is called with the size and the MD5 of what was read, before anything can be seen: the place to refuse.
	complete func(size int64, md5 []byte) error
	// condition is called with what is there now, nil if nothing is, and nothing can come between its answer and the
	// rename.
	condition func(current *meta) error
}

// put writes an object and returns its metadata once it is durable.
func (d *disk) put(u upload) (meta, error) {
	if err := d.makeDirs(u.bucket + "/" + tmpDir); err != nil {
		return meta{}, fmt.Errorf("make directories: %w", err)
	}
	tmp := u.bucket + "/" + tmpDir + "/" + rand.Text()
	m, err := d.writeTemporary(tmp, u)
	if err == nil {
		err = failpoint.Hit("s3api.beforeRename")
	}
	if err == nil {
		err = d.moveIn(tmp, u)
	}
	if err != nil {
		if rerr := d.root.Remove(tmp); rerr != nil && !isAbsent(rerr) {
			err = errors.Join(err, rerr)
		}
		return meta{}, err
	}
	if err := failpoint.Hit("s3api.afterRename"); err != nil {
		return meta{}, err
	}
	err = d.syncDir(path.Dir(u.bucket + "/" + fileName(u.key)))
	if isAbsent(err) {
		err = nil // somebody has removed the object already, and the directory with it
	}
	return m, err
}

// writeTemporary writes the whole file and makes it durable under a name that nobody reads.
func (d *disk) writeTemporary(tmp string, u upload) (m meta, err error) {
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return m, fmt.Errorf("make a file: %w", err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close a file: %w", cerr)
		}
	}()
	w := bufio.NewWriterSize(f, int(min(32<<10, u.size+1<<10)))
	sum := md5.New()
	size, err := io.CopyBuffer(io.MultiWriter(w, sum), u.body, make([]byte, min(32<<10, u.size+512)))
	if err != nil {
		return m, fmt.Errorf("receive the object: %w", err)
	}
	if err := u.complete(size, sum.Sum(nil)); err != nil {
		return m, err
	}
	m = meta{Key: u.key, ETag: hex.EncodeToString(sum.Sum(nil)), Modified: u.now.UnixMicro(), Headers: u.headers}
	b, err := json.Marshal(m)
	if err != nil || len(b) > maxMeta {
		return m, fmt.Errorf("write metadata of %d bytes: %w", len(b), errors.Join(err, errDamaged))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(b)))
	_, err1 := w.Write(append(b, magic...))
	if err := errors.Join(err1, w.Flush(), f.Sync()); err != nil {
		return m, fmt.Errorf("write an object: %w", err)
	}
	return m, nil
}

// moveIn checks the condition and renames, under the bucket's lock.
func (d *disk) moveIn(tmp string, u upload) error {
	mu := d.lock(u.bucket)
	mu.Lock()
	defer mu.Unlock()
	if u.condition != nil {
		current, err := d.stat(u.bucket, u.key)
		switch {
		case isAbsent(err):
			err = u.condition(nil)
		case err == nil:
			err = u.condition(&current.meta)
		}
		if err != nil {
			return err
		}
	}
	name := u.bucket + "/" + fileName(u.key)
	if err := d.makeDirs(path.Dir(name)); err != nil {
		return fmt.Errorf("make directories: %w", err)
	}
	if err := d.root.Rename(tmp, name); err != nil {
		return fmt.Errorf("put an object in place: %w", err)
	}
	return nil
}

// makeDirs makes each directory on the way durable before anything is put below it.
func (d *disk) makeDirs(dir string) error {
	for i := range len(dir) + 1 {
		if i < len(dir) && dir[i] != '/' {
			continue
		}
		name := dir[:i]
		err := d.root.Mkdir(name, 0o700)
		if err == nil {
			err = d.syncDir(path.Dir(name))
		} else if errors.Is(err, fs.ErrExist) {
			err = d.plainDir(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plainDir refuses what is not a directory, a symbolic link too.
func (d *disk) plainDir(name string) error {
	info, err := d.root.Lstat(name)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory: %w", name, errDamaged)
	}
	return err
}

// plainDirs asks plainDir about every directory on the way.
func (d *disk) plainDirs(name string) error {
	for i := range len(name) + 1 {
		if i == len(name) || name[i] == '/' {
			if err := d.plainDir(name[:i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *disk) syncDir(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return fmt.Errorf("open a directory: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("make a directory durable: %w", err)
	}
	return nil
}

// object is an open object. Its file never changes: put and remove only take its name away.
type object struct {
	meta
	size int64
	body io.ReaderAt
	file *os.File // nil when the body is in memory
}

func (o *object) Close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

// open opens an object for reading; fs.ErrNotExist if there is none.
func (d *disk) open(bucket, key string) (*object, error) {
	o, err := d.openFile(bucket, key)
	if err != nil {
		return nil, err
	}
	if o.size > smallObject {
		return o, nil
	}
	b := make([]byte, o.size)
	_, err = o.file.ReadAt(b, 0)
	if err = errors.Join(err, o.file.Close()); err != nil {
		return nil, fmt.Errorf("read an object: %w", err)
	}
	if sum := md5.Sum(b); hex.EncodeToString(sum[:]) != o.ETag {
		return nil, fmt.Errorf("%w: the bytes are not those that were put", errDamaged)
	}
	o.body, o.file = bytes.NewReader(b), nil
	return o, nil
}

// stat is open without a body.
func (d *disk) stat(bucket, key string) (*object, error) {
	o, err := d.openFile(bucket, key)
	if err != nil {
		return nil, err
	}
	err = o.file.Close()
	o.body, o.file = nil, nil
	return o, err
}

func (d *disk) openFile(bucket, key string) (*object, error) {
	name := bucket + "/" + fileName(key)
	if err := d.plainDirs(path.Dir(name)); err != nil {
		return nil, err
	}
	if info, err := d.root.Lstat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no plain file: %w", name, errDamaged)
	}
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	o, err := readFooter(f)
	if err == nil && o.Key != key {
		err = fmt.Errorf("%w: it was put under another key", errDamaged)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	o.body, o.file = f, f
	return o, nil
}

// readFooter finds where the bytes end and the metadata begins.
func readFooter(f *os.File) (*object, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	tail := make([]byte, min(info.Size(), 4096))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return nil, fmt.Errorf("read an object's metadata: %w", err)
	}
	before, ok := bytes.CutSuffix(tail, []byte(magic))
	if !ok || len(before) < 4 {
		return nil, fmt.Errorf("%w: it does not end as an object", errDamaged)
	}
	n := int64(binary.BigEndian.Uint32(before[len(before)-4:]))
	size := info.Size() - int64(footerSize) - n
	if n > maxMeta || size < 0 {
		return nil, fmt.Errorf("%w: its metadata is longer than it", errDamaged)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, size); err != nil {
		return nil, fmt.Errorf("read an object's metadata: %w", err)
	}
	o := &object{size: size}
	if err := json.Unmarshal(b, &o.meta); err != nil {
		return nil, fmt.Errorf("%w: its metadata: %w", errDamaged, err)
	}
	return o, nil
}

// remove takes an object away, and the directories that are empty then. What is not there is removed already.
func (d *disk) remove(bucket, key string) error {
	mu := d.lock(bucket)
	mu.Lock()
	defer mu.Unlock()
	if _, err := d.stat(bucket, key); err != nil {
		if isAbsent(err) {
			return nil
		}
		if !errors.Is(err, errDamaged) {
			return err
		}
	}
	name := bucket + "/" + fileName(key)
	if err := d.root.Remove(name); err != nil && !isAbsent(err) {
		return fmt.Errorf("remove an object: %w", err)
	}
	dir := path.Dir(name)
	for strings.Contains(dir, "/") {
		err := d.root.Remove(dir)
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) {
			break
		}
		if err != nil && !isAbsent(err) {
			return fmt.Errorf("remove an empty directory: %w", err)
		}
		dir = path.Dir(dir)
	}
	return d.syncDir(dir)
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
