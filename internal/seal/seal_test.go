package seal_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/seal/sealtest"
)

var quiet = slog.New(slog.DiscardHandler)

func keyPath(t *testing.T) string { return filepath.Join(t.TempDir(), "root.key") }

func open(t *testing.T, d *db.DB, path string) *seal.Keyring {
	t.Helper()
	k, err := seal.Open(t.Context(), d, path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBoxOpensOnlyInItsPlace(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		k := sealtest.New(t, d)
		place := seal.AD{Table: "rotation_versions", Column: "sealed", Row: "sales-orders", Version: 3}
		box, err := k.Seal(seal.Data, place, []byte("hunter2"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(box, []byte("hunter2")) {
			t.Fatal("the box shows its content")
		}
		got, err := k.Open(seal.Data, place, box)
		if err != nil || got.Reveal() != "hunter2" {
			t.Fatalf("Open = %q, %v", got.Reveal(), err)
		}
		again, err := k.Seal(seal.Data, place, []byte("hunter2"))
		if err != nil || bytes.Equal(box, again) {
			t.Fatalf("two boxes of one text are equal, or %v", err)
		}

		move := func(f func(*seal.AD)) seal.AD { ad := place; f(&ad); return ad }
		for name, ad := range map[string]seal.AD{
			"table":    move(func(a *seal.AD) { a.Table = "users" }),
			"column":   move(func(a *seal.AD) { a.Column = "other" }),
			"row":      move(func(a *seal.AD) { a.Row = "sales-orderz" }),
			"version":  move(func(a *seal.AD) { a.Version = 2 }),
			"boundary": {Table: "rotation_version", Column: "ssealed", Row: "sales-orders", Version: 3},
		} {
			if _, err := k.Open(seal.Data, ad, box); !errors.Is(err, seal.ErrBox) {
				t.Errorf("another %s: got %v, want ErrBox", name, err)
			}
		}
		if _, err := k.Open(seal.Sign, place, box); !errors.Is(err, seal.ErrBox) {
			t.Errorf("another purpose: got %v, want ErrBox", err)
		}
		for i := range box {
			damaged := slices.Clone(box)
			damaged[i] ^= 1
			if _, err := k.Open(seal.Data, place, damaged); !errors.Is(err, seal.ErrBox) || fault.Code(err) != "integrity" {
				t.Fatalf("bit flipped in byte %d: got %v, want ErrBox with code integrity", i, err)
			}
		}
		for n := range box {
			if _, err := k.Open(seal.Data, place, box[:n]); !errors.Is(err, seal.ErrBox) {
				t.Fatalf("cut to %d bytes: got %v, want ErrBox", n, err)
			}
		}
		if err := fault.Of(mustFail(k.Open(seal.Data, place, nil))); strings.Contains(err.Detail, "rotation_versions") {
			t.Errorf("the detail for the caller tells where the box lies: %s", err.Detail)
		}
	})
}

// FuzzOpen: no bytes but those that Seal made open, and none upset it.
func FuzzOpen(f *testing.F) {
	d, err := db.Open(context.Background(), db.Options{URL: "sqlite:" + filepath.Join(f.TempDir(), "mintmark.db")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { d.Close() })
	if err := d.Migrate(context.Background()); err != nil {
		f.Fatal(err)
	}
	k := sealtest.New(f, d)
	place := seal.AD{Table: "t", Column: "c", Row: "r"}
	made, err := k.Seal(seal.Data, place, []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	if _, err := k.Open(seal.Data, place, made); err != nil { // or the seeds below would be worth nothing
		f.Fatal(err)
	}
	f.Add(made)
	f.Add(made[:len(made)-1])
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, box []byte) {
		_, err := k.Open(seal.Data, place, box)
		if bytes.Equal(box, made) != (err == nil) {
			t.Errorf("%x: %v", box, err)
		}
		k.VerifyMAC("kind", redact.New("x"), box)
		seal.BoxTerm(box)
	})
}

func mustFail(_ redact.Secret, err error) error { return err }

func TestSealRefusesWhatIsNotBound(t *testing.T) {
	k := sealtest.New(t, dbtest.Open(t, db.SQLite, clock.System))
	for _, ad := range []seal.AD{{}, {Table: "t", Column: "c"}, {Table: "t", Row: "r"}, {Column: "c", Row: "r"}} {
		if box, err := k.Seal(seal.Data, ad, []byte("x")); err == nil {
			t.Errorf("Seal(%+v) = %x, want an error", ad, box)
		}
	}
	if box, err := k.Seal("nonsense", seal.AD{Table: "t", Column: "c", Row: "r"}, nil); err == nil {
		t.Errorf("Seal for an unknown purpose = %x, want an error", box)
	}
}

func TestMAC(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		k, other := sealtest.New(t, d), sealtest.New(t, dbtest.Open(t, db.SQLite, clock.System))
		secret := seal.NewSecret("mk_")
		mac := k.MAC("access-key", secret)
		if !k.VerifyMAC("access-key", secret, mac) {
			t.Fatal("the right secret is refused")
		}
		if !bytes.Equal(mac, k.MAC("access-key", secret)) {
			t.Error("a MAC cannot be searched for: two of one secret differ")
		}
		refused := map[string]bool{
			"another secret":  k.VerifyMAC("access-key", seal.NewSecret("mk_"), mac),
			"another kind":    k.VerifyMAC("client-secret", secret, mac),
			"moved boundary":  k.VerifyMAC("access-keym", redact.New(secret.Reveal()[1:]), mac),
			"another keyring": other.VerifyMAC("access-key", secret, mac),
			"nothing":         k.VerifyMAC("access-key", secret, nil),
			"cut":             k.VerifyMAC("access-key", secret, mac[:len(mac)-1]),
			"unknown term":    k.VerifyMAC("access-key", secret, append([]byte{0, 0, 0, 9}, mac[4:]...)),
			"empty secret":    k.VerifyMAC("access-key", redact.Secret{}, mac),
		}
		for name, accepted := range refused {
			if accepted {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}

func TestNewSecret(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		s := seal.NewSecret("mcs_").Reveal()
		if len(s) != len("mcs_")+43 || !strings.HasPrefix(s, "mcs_") || strings.ContainsAny(s, "%:+/=& ") {
			t.Fatalf("bad form: %d characters", len(s))
		}
		if seen[s] {
			t.Fatal("made twice")
		}
		seen[s] = true
	}
}

func TestReopen(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		path := keyPath(t)
		first := open(t, d, path)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o400 {
			t.Fatalf("key file: %v, %v; want mode 0400", info, err)
		}
		place := seal.AD{Table: "t", Column: "c", Row: "r"}
		box, err := first.Seal(seal.Pepper, place, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		second := open(t, d, path)
		if _, err := second.Open(seal.Pepper, place, box); err != nil {
			t.Error(err)
		}
		if first.RootID() != second.RootID() || !first.AuditKey().Equal(second.AuditKey()) {
			t.Error("a second start has other keys")
		}
	})
}

// TestWrongRootKey: each trouble with the root key is refused, says what to do, and leaves database and file as they were.
func TestWrongRootKey(t *testing.T) {
	replace := func(content string, mode fs.FileMode) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	other := "mintmark root key 1\n" + strings.Repeat("A", 43) + "\n"
	tests := map[string]struct {
		spoil func(t *testing.T, path string)
		want  string // in the error
	}{
		"missing": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, "Copy that file"},
		"another key":    {replace(other, 0o400), "Put the right file there"},
		"group readable": {func(t *testing.T, path string) { chmod(t, path, 0o440) }, "open to other users (mode 0440)"},
		"world readable": {func(t *testing.T, path string) { chmod(t, path, 0o404) }, "open to other users (mode 0404)"},
		"group writable": {func(t *testing.T, path string) { chmod(t, path, 0o620) }, "open to other users (mode 0620)"},
		"empty":          {replace("", 0o400), "damaged"},
		"cut":            {replace(other[:40], 0o400), "damaged"},
		"longer":         {replace(other+"x", 0o400), "damaged"},
		"another format": {replace(strings.Replace(other, "key 1", "key 2", 1), 0o400), "damaged"},
		"a directory": {func(t *testing.T, path string) {
			if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				path := keyPath(t)
				rootID := adopt(t, d, path)
				test.spoil(t, path)
				before, dir := dump(t, d), list(t, path)
				_, err := seal.Open(t.Context(), d, path, quiet)
				if !errors.Is(err, seal.ErrRootKey) {
					t.Fatalf("got %v, want ErrRootKey", err)
				}
				for _, part := range []string{test.want, path, rootID} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("the error does not say %q: %v", part, err)
					}
				}
				if diff := cmp.Diff(before, dump(t, d)); diff != "" {
					t.Errorf("the database changed:\n%s", diff)
				}
				if diff := cmp.Diff(dir, list(t, path)); diff != "" {
					t.Errorf("the files changed:\n%s", diff)
				}
			})
		}
	})
}

// adopt makes a fresh keyring in d, with its root key at path.
func adopt(t *testing.T, d *db.DB, path string) (rootID string) {
	t.Helper()
	statement(t, d, `DELETE FROM seal_keys`)
	statement(t, d, `DELETE FROM seal_roots`)
	return open(t, d, path).RootID()
}

func TestDamagedKeyring(t *testing.T) {
	tests := map[string]string{
		"canary changed":     `UPDATE seal_roots SET canary = (SELECT wrapped FROM seal_keys WHERE purpose = 'data')`,
		"canary emptied":     `UPDATE seal_roots SET canary = ''`,
		"purposes exchanged": `UPDATE seal_keys SET wrapped = (SELECT wrapped FROM seal_keys WHERE purpose = 'data') WHERE purpose = 'lookup'`,
		"purpose deleted":    `DELETE FROM seal_keys WHERE purpose = 'lookup'`,
		"term renumbered":    `UPDATE seal_keys SET term = 2 WHERE purpose = 'lookup'`,
		"term beyond":        `UPDATE seal_keys SET term = 4294967297 WHERE purpose = 'lookup'`,
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		for name, text := range tests {
			t.Run(name, func(t *testing.T) {
				path := keyPath(t)
				adopt(t, d, path)
				statement(t, d, text)
				before := dump(t, d)
				if _, err := seal.Open(t.Context(), d, path, quiet); !errors.Is(err, seal.ErrRootKey) {
					t.Errorf("got %v, want ErrRootKey", err)
				}
				if diff := cmp.Diff(before, dump(t, d)); diff != "" {
					t.Errorf("the database changed:\n%s", diff)
				}
			})
		}
	})
}

// TestFirstStartsTogether: any number of starters on one disk and one database end with one root and one keyring.
func TestFirstStartsTogether(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		path := keyPath(t)
		ids, errs := startTogether(t, 8, func(int) string { return path }, d)
		for i, err := range errs {
			if err != nil {
				t.Errorf("starter %d: %v", i, err)
			} else if ids[i] != ids[0] {
				t.Errorf("starter %d has root %s, starter 0 has %s", i, ids[i], ids[0])
			}
		}
		if files := list(t, path); len(files) != 1 {
			t.Errorf("files %v, want the key file alone", files)
		}
	})
}

// TestFirstStartsOnTwoDisks: one wins; the others refuse, and name the key that they want.
func TestFirstStartsOnTwoDisks(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		paths := []string{keyPath(t), keyPath(t), keyPath(t), keyPath(t)}
		ids, errs := startTogether(t, len(paths), func(i int) string { return paths[i] }, d)
		winners := 0
		for i, err := range errs {
			if err == nil {
				winners++
				continue
			}
			winner := ids[slices.IndexFunc(errs, func(e error) bool { return e == nil })]
			if !errors.Is(err, seal.ErrRootKey) || !strings.Contains(err.Error(), winner) {
				t.Errorf("starter %d: got %v, want ErrRootKey that names %s", i, err, winner)
			}
		}
		if winners != 1 {
			t.Errorf("%d starters won", winners)
		}
	})
}

func startTogether(t *testing.T, n int, path func(int) string, d *db.DB) (ids []string, errs []error) {
	ids, errs = make([]string, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			k, err := seal.Open(t.Context(), d, path(i), quiet)
			if errs[i] = err; err == nil {
				ids[i] = k.RootID()
			}
		})
	}
	wg.Wait()
	return ids, errs
}

func TestRotateTerm(t *testing.T) {
	runNodes(t, func(t *testing.T, d, d2 *db.DB) {
		path := keyPath(t)
		here, there := open(t, d, path), open(t, d2, path)
		place := seal.AD{Table: "t", Column: "c", Row: "r"}
		secret := seal.NewSecret("")
		oldBox, err := here.Seal(seal.Data, place, []byte("old"))
		if err != nil {
			t.Fatal(err)
		}
		oldMAC, oldAudit := here.MAC("k", secret), here.AuditPublicKeys()
		for _, p := range []seal.Purpose{seal.Data, seal.Lookup, seal.Audit} {
			if got := rotate(t, d, here, p); got != 2 {
				t.Errorf("term of %s is %d, want 2", p, got)
			}
		}
		newBox, err := here.Seal(seal.Data, place, []byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		if seal.BoxTerm(oldBox) != 1 || seal.BoxTerm(newBox) != 2 {
			t.Errorf("terms %d and %d, want 1 and 2", seal.BoxTerm(oldBox), seal.BoxTerm(newBox))
		}
		// The other node has heard nothing, and meets the new term.
		for box, want := range map[string]string{string(oldBox): "old", string(newBox): "new"} {
			if got, err := there.Open(seal.Data, place, []byte(box)); err != nil || got.Reveal() != want {
				t.Errorf("other node: %q, %v; want %q", got.Reveal(), err, want)
			}
		}
		newMAC := here.MAC("k", secret)
		if bytes.Equal(oldMAC, newMAC) || !there.VerifyMAC("k", secret, oldMAC) || !there.VerifyMAC("k", secret, newMAC) {
			t.Error("other node: MACs of both terms must differ and verify")
		}
		if diff := cmp.Diff([][]byte{newMAC, oldMAC}, here.LookupMACs("k", secret)); diff != "" {
			t.Errorf("LookupMACs:\n%s", diff)
		}
		if keys := here.AuditPublicKeys(); len(keys) != 2 || !keys[1].Equal(oldAudit[0]) || keys[0].Equal(oldAudit[0]) {
			t.Error("the old audit key is not among the public ones, or the new one is the same")
		}
	})
}

func rotate(t *testing.T, d *db.DB, k *seal.Keyring, p seal.Purpose) (term int64) {
	t.Helper()
	if err := d.Write(t.Context(), func(tx db.WriteTx) (err error) {
		term, err = k.RotateTerm(t.Context(), tx, p)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return term
}

func TestRotateTermThatRollsBackIsNotUsed(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		k := sealtest.New(t, d)
		undo := errors.New("undo")
		if err := d.Write(t.Context(), func(tx db.WriteTx) error {
			if _, err := k.RotateTerm(t.Context(), tx, seal.Data); err != nil {
				return err
			}
			return undo
		}); !errors.Is(err, undo) {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{1}, k.Terms(seal.Data)); diff != "" {
			t.Errorf("terms:\n%s", diff)
		}
	})
}

// TestRotateTermTogether: terms have no gap and no two nodes make the same one.
func TestRotateTermTogether(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		path := keyPath(t)
		nodes := []*seal.Keyring{open(t, d, path), open(t, d, path)}
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if err := d.Write(t.Context(), func(tx db.WriteTx) error {
					_, err := nodes[i%2].RotateTerm(t.Context(), tx, seal.Session)
					return err
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7}, open(t, d, path).Terms(seal.Session)); diff != "" {
			t.Errorf("terms:\n%s", diff)
		}
	})
}

// TestUnreadableRootKeyLater: a running node keeps its keys, and an unknown term is "not now", not "never".
func TestUnreadableRootKeyLater(t *testing.T) {
	runNodes(t, func(t *testing.T, d, d2 *db.DB) {
		path, copied := keyPath(t), keyPath(t)
		here := open(t, d, path)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, content, 0o400); err != nil {
			t.Fatal(err)
		}
		there := open(t, d2, copied)
		place := seal.AD{Table: "t", Column: "c", Row: "r"}
		old, err := here.Seal(seal.Data, place, []byte("old"))
		if err != nil {
			t.Fatal(err)
		}
		rotate(t, d, here, seal.Data)
		box, err := here.Seal(seal.Data, place, []byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(copied); err != nil {
			t.Fatal(err)
		}
		if _, err := there.Open(seal.Data, place, old); err != nil {
			t.Errorf("old box: %v", err)
		}
		if _, err := there.Open(seal.Data, place, box); !fault.Is(err, fault.Unavailable) || errors.Is(err, seal.ErrBox) {
			t.Errorf("new box: got %v, want kind Unavailable", err)
		}
		if err := os.WriteFile(copied, content, 0o400); err != nil {
			t.Fatal(err)
		}
		if got, err := there.Open(seal.Data, place, box); err != nil || got.Reveal() != "new" {
			t.Errorf("with the file back: %q, %v", got.Reveal(), err)
		}
	})
}

// runNodes runs f on each engine with two handles of one database: two nodes, no change feed between them.
func runNodes(t *testing.T, f func(t *testing.T, here, there *db.DB)) {
	for _, engine := range dbtest.Engines(t) {
		t.Run(string(engine), func(t *testing.T) {
			url := dbtest.URL(t, engine)
			f(t, dbtest.OpenURL(t, url, clock.System), dbtest.OpenURL(t, url, clock.System))
		})
	}
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func statement(t *testing.T, d *db.DB, text string) {
	t.Helper()
	if err := d.Write(context.Background(), func(tx db.WriteTx) error {
		_, err := tx.Exec(context.Background(), text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// dump is all that the keyring's tables hold.
func dump(t *testing.T, d *db.DB) (all []string) {
	t.Helper()
	ctx := context.Background()
	for _, query := range []string{
		`SELECT slot, key_id, CAST(created_at AS TEXT), canary FROM seal_roots ORDER BY slot`,
		`SELECT slot, purpose, CAST(term AS TEXT), wrapped FROM seal_keys ORDER BY slot, purpose, term`,
	} {
		if err := d.Read(ctx, func(tx db.ReadTx) error {
			rows, err := tx.Query(ctx, query)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var a, b, c string
				var d []byte
				if err := rows.Scan(&a, &b, &c, &d); err != nil {
					return err
				}
				all = append(all, strings.Join([]string{a, b, c, string(d)}, "|"))
			}
			return rows.Err()
		}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// list is what lies in the directory of path.
func list(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
