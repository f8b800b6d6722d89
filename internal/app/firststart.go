package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
)

// adminKeyFile is what the first start leaves in the data directory for the administrator.
const adminKeyFile = "admin.key"

// AdminKeyFile is the file that the first start, or a later request for another key, leaves the administrator's access
// key in.
func (c *Config) AdminKeyFile() string { return filepath.Join(c.DataDir, adminKeyFile) }

// prepareDataDir makes the data directory for our eyes only, and refuses one that others can write to.
func prepareDataDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: data_dir: %w", ErrConfig, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("%w: data_dir: %w", ErrConfig, err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%w: data_dir: %s can be written by others (mode %04o); run chmod go-w %s", ErrConfig, dir, mode, dir)
	}
	return nil
}

// ensureAdministrator makes the first administrator, once for the installation. The key is on disk before the
// transaction commits:
//
//	crash before the file     nothing has happened
//	crash before the commit   the file holds a key that nobody accepts; the next start writes another over it
//	crash after the commit    done
//
// It returns the path of the file if this call made it, else "".
func (a *App) ensureAdministrator(ctx context.Context) (path string, err error) {
	err = a.db.Write(ctx, func(tx db.WriteTx) error {
		path = ""
		key, created, err := a.identity.EnsureAdministrator(ctx, tx)
		if err != nil || !created {
			return err
		}
		path = a.config.AdminKeyFile()
		return writePrivate(path, line(key))
	})
	if err != nil {
		return "", fmt.Errorf("make the first administrator: %w", err)
	}
	return path, nil
}

// line is a secret as the one line of a file.
func line(secret redact.Secret) redact.Secret { return redact.New(secret.Reveal() + "\n") }

// writePrivate puts a secret into a file that only its owner can read, whole or not at all.
func writePrivate(path string, secret redact.Secret) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(secret.Bytes())
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
