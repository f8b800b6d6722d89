// Package sealtest gives a test a keyring of its own.
package sealtest

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/seal"
)

// New opens the keyring of a migrated test database, under a root key file that goes with the test.
func New(t testing.TB, d *db.DB) *seal.Keyring {
	t.Helper()
	k, err := seal.Open(t.Context(), d, filepath.Join(t.TempDir(), "root.key"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
