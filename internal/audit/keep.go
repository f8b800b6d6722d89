package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// File keeps the newest checkpoint outside the database. One is enough: the log of which it is true cannot have been
// changed up to its size. Only the owner can write it; a copy on another machine proves more.
type File struct {
	path string
	keys Keys
}

// NewFile names the file. Its directory must exist.
func NewFile(path string, keys Keys) *File { return &File{path, keys} }

// maxCheckpoint bounds what is read as a checkpoint.
const maxCheckpoint = 16 << 10

// Load is the kept checkpoint as text, for SequencerOptions.Trusted and VerifyOptions.Trusted; "" if there is none yet.
// A file that is not a checkpoint of ours is an error with ErrCheckpoint in its chain, for somebody changed it.
func (f *File) Load() (string, error) { return LoadCheckpoint(f.path, f.keys.AuditPublicKeys()) }

// LoadCheckpoint reads a kept checkpoint; "" if there is no such file.
func LoadCheckpoint(path string, keys []ed25519.PublicKey) (string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the kept checkpoint: %w", err)
	}
	defer file.Close() // nothing was written
	text, err := io.ReadAll(io.LimitReader(file, maxCheckpoint))
	if err != nil {
		return "", fmt.Errorf("read the kept checkpoint: %w", err)
	}
	if _, err := ParseCheckpoint(string(text), keys); err != nil {
		return "", fmt.Errorf("the kept checkpoint %s: %w", path, err)
	}
	return string(text), nil
}

// Keep replaces the kept checkpoint by c, for SequencerOptions.OnCheckpoint. A crash leaves the old one or the new one.
// One that covers more than c stays: nodes may share the file.
func (f *File) Keep(_ context.Context, c Checkpoint) (err error) {
	old, err := f.Load()
	if err != nil {
		return err
	}
	if old != "" {
		if kept, err := ParseCheckpoint(old, f.keys.AuditPublicKeys()); err == nil && kept.Size >= c.Size {
			return nil
		}
	}
	temp, err := os.CreateTemp(filepath.Dir(f.path), filepath.Base(f.path)+".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("keep a checkpoint: %w", err)
	}
	_, err = temp.WriteString(c.Note)
	if err == nil {
		err = temp.Sync()
	}
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("keep a checkpoint: %w", errors.Join(err, os.Remove(temp.Name())))
	}
	// Its name need not survive a power cut: the older one is as true.
	return nil
}
