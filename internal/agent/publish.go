//go:build unix

package agent

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/mintmark/mintmark/internal/failpoint"
)

// directory is where readers find the credentials:
//
//	<dir>/user.json    -> ..current/user.json       opened by clients; these links never change
//	<dir>/client.json  -> ..current/client.json
//	<dir>/..current    -> .generations/7            renamed over: the one step in which readers move on
//	<dir>/.generations/7/{user,client}.json         complete and on the disk before anything points there
//	<dir>/.generations/6/…                          kept for readers that opened the directory before the step
//	<dir>/.generations/announced                    the last generation that the hook was told of
//	<dir>/.generations/lock                         held by the agent that works here
//
// All paths are resolved inside the directory (os.Root), so that a planted link leads nowhere else.
type directory struct {
	path     string
	fileMode os.FileMode
	root     *os.Root
	lock     *os.File
}

const (
	currentLink    = "..current"
	generationsDir = ".generations"
	announcedFile  = generationsDir + "/announced"
	lockFile       = generationsDir + "/lock"
	freshPrefix    = ".new-" // of names that a crash may leave behind
)

// open makes what is missing, refuses what is not safe, and takes the lock.
func (d *directory) open() (err error) {
	refuse := func(err error) error { return fmt.Errorf("%w: %w", ErrDirectory, err) }
	if err := os.Mkdir(d.path, d.dirMode()); err == nil {
		if err := os.Chmod(d.path, d.dirMode()); err != nil { // whatever the umask took away
			return refuse(err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return refuse(err)
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return refuse(err)
	}
	d.root = root
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if err := d.checkSafe("."); err != nil {
		return refuse(err)
	}
	if err := root.Mkdir(generationsDir, d.dirMode()); err == nil {
		if err := root.Chmod(generationsDir, d.dirMode()); err != nil {
			return refuse(err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return refuse(err)
	}
	if err := d.checkSafe(generationsDir); err != nil {
		return refuse(err)
	}
	lock, err := root.OpenFile(lockFile, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return refuse(fmt.Errorf("open the lock: %w", err))
	}
	d.lock = lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return refuse(fmt.Errorf("another agent works in %s: %w", d.path, err))
	}
	return nil
}

func (d *directory) close() {
	if d.lock != nil {
		_ = d.lock.Close() // nothing was written to it
		d.lock = nil
	}
	if d.root != nil {
		_ = d.root.Close()
		d.root = nil
	}
}

// dirMode lets those enter who may read the files.
func (d *directory) dirMode() os.FileMode { return 0o700 | d.fileMode&0o044 | d.fileMode&0o044>>2 }

// checkSafe refuses a directory that somebody else owns or may write to: he could put his own links in our place.
func (d *directory) checkSafe(name string) error {
	info, err := d.root.Lstat(name)
	if err != nil {
		return err
	}
	shown := d.path
	if name != "." {
		shown += "/" + name
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", shown)
	case !ok || int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user than this process (%d)", shown, os.Geteuid())
	case info.Mode()&0o022 != 0:
		return fmt.Errorf("%s may be written by others: take that right away (chmod go-w)", shown)
	}
	return nil
}

// read is the content of a file as a reader sees it, nil if there is none.
func (d *directory) read(name string) ([]byte, error) {
	f, err := d.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", name)
	}
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// generation is the number that ..current points to, 0 if it points to none.
func (d *directory) generation() (int64, error) {
	target, err := d.root.Readlink(currentLink)
	if err != nil { // missing, or no link: either way we have put nothing in place
		return 0, nil
	}
	number, ok := strings.CutPrefix(target, generationsDir+"/")
	n, valid := parseGeneration(number)
	if !ok || !valid {
		return 0, nil
	}
	return n, nil
}

func parseGeneration(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == s
}

// linked tells whether clients read through our links, and the files have the configured mode.
func (d *directory) linked() (bool, error) {
	for _, name := range names {
		if target, err := d.root.Readlink(name); err != nil || target != currentLink+"/"+name {
			return false, nil
		}
		info, err := d.root.Stat(name)
		if err != nil || info.Mode().Perm() != d.fileMode {
			return false, nil
		}
	}
	return true, nil
}

// publish puts a new generation in place. A crash before the rename of ..current leaves the old generation and some
// rubbish that the next sweep takes; a crash after it leaves the new generation.
func (d *directory) publish(content [2][]byte) (int64, error) {
	entries, err := d.entries(generationsDir)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, e := range entries {
		if k, ok := parseGeneration(e); ok {
			n = max(n, k)
		}
	}
	n++
	fresh := generationsDir + "/" + freshName()
	if err := d.root.Mkdir(fresh, d.dirMode()); err != nil {
		return 0, err
	}
	if err := d.root.Chmod(fresh, d.dirMode()); err != nil {
		return 0, err
	}
	for i, name := range names {
		if err := d.create(fresh+"/"+name, content[i], d.fileMode); err != nil {
			return 0, err
		}
		if err := failpoint.Hit("agent.wrote." + name); err != nil {
			return 0, err
		}
	}
	if err := d.sync(fresh); err != nil {
		return 0, err
	}
	final := generationsDir + "/" + strconv.FormatInt(n, 10)
	if err := d.root.Rename(fresh, final); err != nil {
		return 0, err
	}
	if err := d.sync(generationsDir); err != nil {
		return 0, err
	}
	if err := failpoint.Hit("agent.named"); err != nil {
		return 0, err
	}
	if err := d.linkNames(true); err != nil {
		return 0, err
	}
	if err := d.link(final, currentLink); err != nil {
		return 0, err
	}
	if err := failpoint.Hit("agent.swapped"); err != nil {
		return 0, err
	}
	return n, d.linkNames(false)
}

// linkNames gives the names that clients open to ..current: before it moves those that do not exist, so that at the
// first start both files appear by its one rename; after it also those that are plain files, as older agents wrote them,
// so that there is never none.
func (d *directory) linkNames(missingOnly bool) error {
	for _, name := range names {
		want := currentLink + "/" + name
		if target, err := d.root.Readlink(name); err == nil && target == want {
			continue
		}
		if _, err := d.root.Lstat(name); missingOnly && !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := d.link(want, name); err != nil {
			return err
		}
		if err := failpoint.Hit("agent.linked." + name); err != nil {
			return err
		}
	}
	return nil
}

// create makes a file that did not exist, and returns when its content is on the disk.
func (d *directory) create(name string, content []byte, mode os.FileMode) (err error) {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
	}()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	return f.Sync()
}

// link makes name a symbolic link to target in one step, whatever it was before.
func (d *directory) link(target, name string) error {
	if info, err := d.root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%w: %s/%s is a directory", ErrDirectory, d.path, name)
	}
	fresh := freshName()
	if err := d.root.Symlink(target, fresh); err != nil {
		return err
	}
	if err := d.root.Rename(fresh, name); err != nil {
		return err
	}
	return d.sync(".")
}

func freshName() string {
	var b [12]byte
	rand.Read(b[:]) // never fails since Go 1.24
	return freshPrefix + hex.EncodeToString(b[:])
}

// sync returns when the directory's entries are on the disk.
func (d *directory) sync(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d *directory) entries(name string) ([]string, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// sweep removes what no reader needs: all generations but the one in place and the one before it, and what crashes left.
func (d *directory) sweep() error {
	current, err := d.generation()
	if err != nil || current == 0 {
		return err
	}
	inside, err := d.entries(generationsDir)
	if err != nil {
		return err
	}
	var older []int64
	var failed []error
	for _, name := range inside {
		if n, ok := parseGeneration(name); ok && n != current {
			older = append(older, n)
		} else if strings.HasPrefix(name, freshPrefix) {
			failed = append(failed, d.root.RemoveAll(generationsDir+"/"+name))
		}
	}
	slices.Sort(older)
	for _, n := range older[:max(len(older)-1, 0)] {
		failed = append(failed, d.root.RemoveAll(generationsDir+"/"+strconv.FormatInt(n, 10)))
	}
	outside, err := d.entries(".")
	if err != nil {
		return err
	}
	for _, name := range outside {
		if strings.HasPrefix(name, freshPrefix) {
			failed = append(failed, d.root.Remove(name))
		}
	}
	return errors.Join(failed...)
}

// announced is the last generation that the hook was told of.
func (d *directory) announced() (int64, error) {
	b, err := d.read(announcedFile)
	if err != nil || b == nil {
		return 0, err
	}
	n, ok := parseGeneration(strings.TrimSpace(string(b)))
	if !ok {
		return 0, nil // damaged: to tell once more does less harm than never to tell
	}
	return n, nil
}

func (d *directory) setAnnounced(generation int64) error {
	fresh := generationsDir + "/" + freshName()
	if err := d.create(fresh, []byte(strconv.FormatInt(generation, 10)+"\n"), 0o600); err != nil {
		return err
	}
	if err := d.root.Rename(fresh, announcedFile); err != nil {
		return err
	}
	return d.sync(generationsDir)
}
