package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var rootSeeds = []string{
	"mintmark root key 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
	"mintmark root key 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	"mintmark root key 1\n__________________________________________8\n",
}

// TestRootSeeds: the seeds of the fuzz test are files that are accepted.
func TestRootSeeds(t *testing.T) {
	for _, seed := range rootSeeds {
		if _, err := parseRoot([]byte(seed)); err != nil {
			t.Errorf("%q: %v", seed, err)
		}
	}
}

func FuzzParseRoot(f *testing.F) {
	for _, seed := range rootSeeds {
		f.Add([]byte(seed))
	}
	f.Add([]byte("mintmark root key 1\r\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n"))
	f.Add([]byte("mintmark root key 1\nAAAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		root, err := parseRoot(content)
		if err != nil {
			return
		}
		if got := root.marshal(); !bytes.Equal(got, content) && !bytes.Equal(got, append(content, '\n')) {
			t.Errorf("%q was accepted and is written as %q", content, got)
		}
	})
}

func TestCreateRootNeverReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	first, err := CreateRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := CreateRoot(path); !errors.Is(err, fs.ErrExist) || !errors.Is(err, ErrRootKey) {
		t.Errorf("second time: got %v, want ErrRootKey with fs.ErrExist", err)
	}
	loaded, err := LoadRoot(path)
	if err != nil || loaded.ID() != first.ID() {
		t.Errorf("LoadRoot = %s, %v; want %s", loaded.ID(), err, first.ID())
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("left beside the key file: %v, %v", entries, err)
	}
	if _, err := CreateRoot(filepath.Join(t.TempDir(), "no such directory", "root.key")); !errors.Is(err, ErrRootKey) {
		t.Errorf("missing directory: got %v, want ErrRootKey", err)
	}
}

func TestEraseWipes(t *testing.T) {
	root, err := CreateRoot(filepath.Join(t.TempDir(), "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	root.Erase()
	if !bytes.Equal(root.key.Bytes(), make([]byte, rootSize)) {
		t.Error("the key is still there")
	}
}
