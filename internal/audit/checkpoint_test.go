package audit_test

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

var testKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// checkpointSeeds are checkpoints under testKey.
func checkpointSeeds(t testing.TB) (seeds []string) {
	for _, size := range []int64{0, 1, 1 << 40} {
		text, err := audit.SignCheckpoint("mint.example.org", testKey, size, tlog.RecordHash([]byte("x")))
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, text)
	}
	return seeds
}

func TestCheckpointForm(t *testing.T) {
	keys := []ed25519.PublicKey{testKey.Public().(ed25519.PublicKey)}
	seeds := checkpointSeeds(t)
	for _, seed := range seeds {
		if _, err := audit.ParseCheckpoint(seed, keys); err != nil {
			t.Errorf("%q: %v", seed, err)
		}
	}
	good := seeds[1]
	body := "mint.example.org\n1\n" + tlog.RecordHash([]byte("x")).String() + "\n\n— mint.example.org "
	if !strings.HasPrefix(good, body) {
		t.Errorf("form %q, want the prefix %q", good, body)
	}
	sign := func(origin, text string) string {
		signed, err := audit.SignText(origin, testKey, text)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	hash := tlog.RecordHash([]byte("x")).String()
	for name, text := range map[string]string{
		"empty":                "",
		"unsigned":             strings.SplitAfter(good, "\n\n")[0],
		"body changed":         strings.Replace(good, "\n1\n", "\n2\n", 1),
		"signed, other origin": sign("mint.example.org", "mint.example.com\n1\n"+hash+"\n"),
		"signed, no size":      sign("o", "o\n\n"+hash+"\n"),
		"signed, negative":     sign("o", "o\n-1\n"+hash+"\n"),
		"signed, leading zero": sign("o", "o\n01\n"+hash+"\n"),
		"signed, short hash":   sign("o", "o\n1\nAAAA\n"),
		"signed, more lines":   sign("o", "o\n1\n"+hash+"\nmore\n"),
		"signed, fewer lines":  sign("o", "o\n1\n"),
	} {
		if _, err := audit.ParseCheckpoint(text, keys); !errors.Is(err, audit.ErrCheckpoint) {
			t.Errorf("%s: got %v, want ErrCheckpoint", name, err)
		}
	}
}

// FuzzParseCheckpoint: what is accepted is what was signed, byte for byte in what it says.
func FuzzParseCheckpoint(f *testing.F) {
	for _, seed := range checkpointSeeds(f) {
		f.Add(seed)
	}
	keys := []ed25519.PublicKey{testKey.Public().(ed25519.PublicKey)}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := audit.ParseCheckpoint(text, keys)
		if err != nil {
			return
		}
		origin, _, _ := strings.Cut(text, "\n")
		again, err := audit.SignCheckpoint(origin, testKey, c.Size, c.Root)
		if err != nil {
			t.Fatal(err)
		}
		if want, _, _ := strings.Cut(again, "\n\n"); !strings.HasPrefix(text, want+"\n\n") {
			t.Errorf("%q was accepted and says %q", text, want)
		}
	})
}

func TestFileKeepsTheNewest(t *testing.T) {
	l := newLog(t, dbtest.Open(t, db.SQLite, nil))
	path := filepath.Join(t.TempDir(), "audit.checkpoint")
	file := audit.NewFile(path, l.keys)
	if text, err := file.Load(); text != "" || err != nil {
		t.Errorf("before the first: %q, %v", text, err)
	}
	l.s = l.sequencer(audit.SequencerOptions{OnCheckpoint: file.Keep})
	l.grow(2)
	older := l.newest()
	l.grow(2)
	if err := file.Keep(t.Context(), older); err != nil {
		t.Error(err)
	}
	text, err := file.Load()
	if err != nil || text != l.newest().Note {
		t.Errorf("kept %q, %v; want the checkpoint of 4", text, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v; want mode 0600", info, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
	// What somebody changed is neither believed nor overwritten.
	if err := os.WriteFile(path, []byte(strings.Replace(text, "\n4\n", "\n5\n", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Load(); !errors.Is(err, audit.ErrCheckpoint) {
		t.Errorf("changed: got %v, want ErrCheckpoint", err)
	}
	if err := file.Keep(t.Context(), l.newest()); !errors.Is(err, audit.ErrCheckpoint) {
		t.Errorf("changed: Keep gave %v, want ErrCheckpoint", err)
	}
}
