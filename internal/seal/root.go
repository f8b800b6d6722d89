package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/redact"
)

// The first start, step by step. A crash after a step leaves what the middle column says; the next start does what the
// right one says. No path leads to two root keys that have a keyring each: the keyring is one row, inserted once.
//
//	step                          what a crash leaves                    the next start
//	seal.beforeTempFile           nothing                                begins anew
//	seal.duringTempFile           an empty temporary file                begins anew; sweeps the file at the end
//	seal.afterTempFile            a whole temporary file, no key file    the same: what has no final name is no key
//	seal.afterRename              the key file, perhaps not yet named    uses the file if it is there, else begins
//	                              on disk, and its temporary name        anew: nothing was wrapped under it yet
//	seal.afterDirSync             the key file; no keyring               uses the file, makes the keyring
//	seal.beforeCommit             the same: the transaction is undone    the same
//	seal.afterCommit              key file and keyring                   opens it
//
// Two starters on one disk: both may write a temporary file, but only one link to the final name succeeds; the other
// one takes the winner's. Two starters on two disks with one database: both make a file, one inserts the keyring; the
// other finds a keyring that its file does not open, and refuses to start, saying which key it wants.

// ErrRootKey is in the chain of every error about the root key: missing, unreadable, exposed, damaged, wrong. The text
// says what to do. Nothing was written.
var ErrRootKey = errors.New("root key")

const (
	rootHeader = "mintmark root key 1"
	rootSize   = 32
	fileSize   = len(rootHeader) + 1 + 43 + 1
)

// Root is a root key. Erase it when the keyring is unwrapped.
type Root struct {
	key redact.Secret
}

// ID names the key without telling anything about it. It is derived, so that a key cannot carry a wrong one.
func (r Root) ID() string {
	return "rk_" + hex.EncodeToString(derive(r.key.Bytes(), "root key id", 16))
}

// Erase overwrites the key in memory.
func (r Root) Erase() { r.key.Erase() }

func (r Root) wrapper() cipher.AEAD {
	key := derive(r.key.Bytes(), "keyring wrap", 32)
	defer clear(key)
	return newAEAD(key)
}

// marshal is the content of the file: a header line and a line of base64url.
func (r Root) marshal() []byte {
	return []byte(rootHeader + "\n" + base64.RawURLEncoding.EncodeToString(r.key.Bytes()) + "\n")
}

// parseRoot accepts exactly what marshal makes, with or without the last line feed, which some secret stores cut off.
func parseRoot(b []byte) (Root, error) {
	header, line, ok := strings.Cut(string(b), "\n")
	if !ok || header != rootHeader {
		return Root{}, fmt.Errorf("it does not begin with the line %q", rootHeader)
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimSuffix(line, "\n"))
	if err != nil || len(key) != rootSize || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\r\n") {
		return Root{}, errors.New("its second line is not a key of 32 bytes in base64url")
	}
	return Root{key: redact.FromBytes(key)}, nil
}

// LoadRoot reads a root key. The error of a file that is not there has fs.ErrNotExist in its chain.
func LoadRoot(path string) (Root, error) {
	f, err := os.Open(path)
	if err != nil {
		return Root{}, fmt.Errorf("%w: cannot be read: %w", ErrRootKey, err)
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return Root{}, fmt.Errorf("%w: cannot be read: %w", ErrRootKey, err)
	}
	if !info.Mode().IsRegular() {
		return Root{}, fmt.Errorf("%w: %s is not a regular file", ErrRootKey, path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return Root{}, fmt.Errorf("%w: %s is open to other users (mode %04o): if nobody can have read it, run chmod 0400 %s; else restore from before", ErrRootKey, path, perm, path)
	}
	content, err := io.ReadAll(io.LimitReader(f, int64(fileSize)+1))
	if err != nil {
		return Root{}, fmt.Errorf("%w: %s cannot be read: %w", ErrRootKey, path, err)
	}
	defer clear(content)
	root, err := parseRoot(content)
	if err != nil {
		return Root{}, fmt.Errorf("%w: %s is damaged: %w", ErrRootKey, path, err)
	}
	return root, nil
}

// tempMark stands between the name of the key file and the random end of a temporary one.
const tempMark = ".new-"

// CreateRoot makes a root key and its file, mode 0400. A file that is there already is never replaced: the error has
// fs.ErrExist in its chain. When it returns nil, the file survives a power cut.
//
// There is no deferred clean-up on purpose: what a crash leaves must be what a test of that crash leaves.
func CreateRoot(path string) (Root, error) {
	var b [rootSize]byte
	rand.Read(b[:]) // never fails since Go 1.24
	root := Root{key: redact.FromBytes(b[:])}
	if err := failpoint.Hit("seal.beforeTempFile"); err != nil {
		return Root{}, err
	}
	temp := path + tempMark + rand.Text()
	if err := writeTemp(temp, root); err != nil {
		return Root{}, fmt.Errorf("%w: cannot be made: %w", ErrRootKey, errors.Join(err, removeQuietly(temp)))
	}
	if err := failpoint.Hit("seal.afterTempFile"); err != nil {
		return Root{}, err
	}
	// A link, not a rename: it fails if the name is taken.
	if err := os.Link(temp, path); err != nil {
		err = errors.Join(err, removeQuietly(temp))
		if _, e := os.Lstat(path); e == nil { // another starter was first, and may even have swept our temporary file
			return Root{}, fmt.Errorf("%w: %s was made by another starter: %w", ErrRootKey, path, fs.ErrExist)
		}
		return Root{}, fmt.Errorf("%w: cannot be made (its directory must be on a file system with hard links): %w", ErrRootKey, err)
	}
	if err := failpoint.Hit("seal.afterRename"); err != nil {
		return Root{}, err
	}
	if err := errors.Join(removeQuietly(temp), syncDir(filepath.Dir(path))); err != nil {
		return Root{}, fmt.Errorf("%w: %s may not be on disk yet: %w", ErrRootKey, path, err)
	}
	return root, failpoint.Hit("seal.afterDirSync")
}

func writeTemp(name string, root Root) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o400)
	if err != nil {
		return err
	}
	if err := failpoint.Hit("seal.duringTempFile"); err != nil {
		return errors.Join(err, f.Close())
	}
	content := root.marshal()
	defer clear(content)
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sweepTemp removes what interrupted first starts left: a temporary file can be a second name of the root key. It runs
// once the key file has opened the keyring; a starter that loses its temporary file to it would have come too late.
func sweepTemp(path string) error {
	dir, name := filepath.Dir(path), filepath.Base(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), name+tempMark) {
			err = errors.Join(err, removeQuietly(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

func removeQuietly(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// settle makes sure that a key file which was there already, and its name, are on disk: an interrupted first start may
// have left it in memory only, and a keyring must never outlive its root key. File systems that cannot be written to,
// such as a mounted secret, cannot sync either, and need not.
func settle(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
	if errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
