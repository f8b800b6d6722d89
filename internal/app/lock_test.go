package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
)

func TestOneServerOnADataDirectory(t *testing.T) {
	at := func(dir string) *App {
		return &App{config: Config{DataDir: dir}, clock: clock.NewFake(time.UnixMilli(1_700_000_000_000))}
	}
	take := func(dir string) *lock {
		t.Helper()
		l, err := at(dir).takeLock()
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	dir := t.TempDir()
	first := take(dir)
	if _, err := at(dir).takeLock(); err == nil {
		t.Fatal("two servers run on one data directory")
	}
	if err := first.release(); err != nil {
		t.Fatal(err)
	}
	second := take(dir)
	if second.name != first.name {
		t.Errorf("after a restart the server is called %s, before %s", second.name, first.name)
	}

	// A copy of the directory is another server, which may live beside the first.
	b, err := os.ReadFile(filepath.Join(dir, "server.lock"))
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "server.lock"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	copied := take(other)
	if copied.name == first.name {
		t.Error("the server on a copy of the data directory has the name of the first")
	}
	for _, l := range []*lock{second, copied} {
		if err := l.release(); err != nil {
			t.Fatal(err)
		}
	}

	// A name that a crash cut off is not half a name.
	if err := os.WriteFile(filepath.Join(dir, "server.lock"), []byte(first.name[:10]), 0o600); err != nil {
		t.Fatal(err)
	}
	if l := take(dir); l.name == first.name || len(l.name) != len(first.name) {
		t.Errorf("a damaged name gave %q", l.name)
	}
}
