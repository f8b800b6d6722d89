package app

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mintmark/mintmark/internal/id"
)

// lock is held by the one server that runs on a data directory. It guards the embedded object store, which has one owner;
// and it makes the directory's name for its server, which outlives the process, worth something: whoever holds the lock
// knows that an earlier bearer of the name is dead.
type lock struct {
	file *os.File
	name string // of the server of this data directory: the same after a restart
}

// takeLock takes the lock or says who has it. The kernel gives it back when the process ends, however it ends.
func (a *App) takeLock() (_ *lock, err error) {
	path := filepath.Join(a.config.DataDir, "server.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, fmt.Errorf("another server runs on %s; stop it first, or give this one a data directory of its own", a.config.DataDir)
	case err != nil:
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return nil, fmt.Errorf("read the lock of the data directory: %w", err)
	}
	place, err := placeOf(f)
	if err != nil {
		return nil, err
	}
	name, at, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	if !id.Is(name, id.Node) || at != place { // new, cut off by a crash, or copied: then the bearer of the name may well live
		name = id.New(id.Node, a.clock.Now())
		if err := f.Truncate(0); err != nil {
			return nil, fmt.Errorf("name the server: %w", err)
		}
		if _, err := f.WriteAt([]byte(name+" "+place+"\n"), 0); err != nil {
			return nil, fmt.Errorf("name the server: %w", err)
		}
		if err := f.Sync(); err != nil {
			return nil, fmt.Errorf("name the server: %w", err)
		}
	}
	return &lock{f, name}, nil
}

// placeOf tells a file from its copies.
func placeOf(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("look at the lock of the data directory: %w", err)
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", errors.New("the lock of the data directory is on a file system that this program does not know")
	}
	return fmt.Sprintf("%d-%d", s.Dev, s.Ino), nil
}

func (l *lock) release() error { return l.file.Close() }
