package app_test

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/app"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
	"github.com/mintmark/mintmark/internal/seal"
	"github.com/mintmark/mintmark/internal/testport"
)

// installed is an installation that has had its first start and stands still.
func installed(t *testing.T, engine db.Engine) app.Config {
	t.Helper()
	c := configure(t, emptyURL(t, engine), nil)
	a := must[*app.App](t, "first start")(app.Open(t.Context(), c, app.Build{}, slog.New(slog.DiscardHandler)))
	if _, err := a.FirstStart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// A server that cannot work with what it finds says why and writes nothing.
func TestRefusesToStartAndWritesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		for _, c := range []struct {
			name   string
			damage func(t *testing.T, c app.Config) error
			says   string
		}{
			{"wrong root key", func(_ *testing.T, c app.Config) error {
				if err := os.Remove(c.RootKey.File); err != nil {
					return err
				}
				root, err := seal.CreateRoot(c.RootKey.File)
				root.Erase()
				return err
			}, "root key"},
			{"missing root key", func(_ *testing.T, c app.Config) error { return os.Remove(c.RootKey.File) }, "root key"},
			{"root key that the group can read", func(_ *testing.T, c app.Config) error { return os.Chmod(c.RootKey.File, 0o440) }, "mode 0440"},
			{"damaged root key", func(_ *testing.T, c app.Config) error {
				return errors.Join(os.Chmod(c.RootKey.File, 0o600), os.WriteFile(c.RootKey.File, []byte("not a key\n"), 0o600))
			}, "damaged"},
			{"newer schema", newerSchema, "99999"},
			{"data directory that others can write to", func(_ *testing.T, c app.Config) error { return os.Chmod(c.DataDir, 0o777) }, "data_dir"},
		} {
			t.Run(c.name, func(t *testing.T) {
				config := installed(t, engine)
				if err := c.damage(t, config); err != nil {
					t.Fatal(err)
				}
				url := config.Database.URL.Reveal()
				rows, files := dump(t, url), listing(t, config.DataDir)
				for name, open := range map[string]func() (*app.App, error){
					"start": func() (*app.App, error) {
						return app.Start(t.Context(), config, app.Build{}, slog.New(slog.DiscardHandler))
					},
					"init": func() (*app.App, error) {
						return app.Open(t.Context(), config, app.Build{}, slog.New(slog.DiscardHandler))
					},
				} {
					a, err := open()
					if err == nil {
						t.Errorf("%s: it started", name)
						a.Close()
						continue
					}
					if !app.Refuses(err) || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%s: %v", name, err)
					}
				}
				if d := cmp.Diff(rows, dump(t, url)); d != "" {
					t.Errorf("the database changed (-before +after):\n%s", d)
				}
				if d := cmp.Diff(files, listing(t, config.DataDir)); d != "" {
					t.Errorf("the data directory changed (-before +after):\n%s", d)
				}
			})
		}
	})
}

// newerSchema leaves the mark of a migration that this program does not know.
func newerSchema(t *testing.T, c app.Config) error {
	t.Helper()
	driver, source := "pgx", c.Database.URL.Reveal()
	if path, ok := strings.CutPrefix(source, "sqlite:"); ok {
		driver, source = "sqlite", path
	}
	pool, err := sql.Open(driver, source)
	if err != nil {
		return err
	}
	_, err = pool.ExecContext(t.Context(), `INSERT INTO schema_versions (version, at) VALUES (99999, 1)`)
	return errors.Join(err, pool.Close())
}

// listing is every file below dir with its mode and content, but for what SQLite keeps beside an open database.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || strings.HasPrefix(filepath.Base(path), "mintmark.db") {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		out[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			out[path] += " " + string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A second start finds everything in place: it makes no key and no administrator.
func TestASecondStartChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, engine db.Engine) {
		w := start(t, engine, nil)
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		standing := func() map[string][]string {
			all := dump(t, w.databaseURL())
			out := map[string][]string{}
			for _, name := range []string{"seal_roots", "seal_keys", "signing_keys", "users", "access_keys", "s3_keys", "schema_versions"} {
				if out[name] = all[name]; len(out[name]) == 0 {
					t.Fatalf("nothing in %s", name)
				}
			}
			return out
		}
		rows, files := standing(), listing(t, w.config.DataDir)
		if err := startWith(t, w.config).stop(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(rows, standing()); d != "" {
			t.Errorf("the database changed (-before +after):\n%s", d)
		}
		if d := cmp.Diff(files, listing(t, w.config.DataDir)); d != "" {
			t.Errorf("the data directory changed (-before +after):\n%s", d)
		}
	})
}

// Two nodes that start for the first time at once, each with a data directory of its own, end as one installation.
func TestTwoFirstStartsAtOnce(t *testing.T) {
	for _, shared := range []bool{true, false} {
		name := "each with a root key file of its own"
		if shared {
			name = "with one root key file"
		}
		t.Run(name, func(t *testing.T) {
			url, root := dbtest.EmptyURL(t, db.PostgreSQL), filepath.Join(t.TempDir(), "root.key")
			configs, firsts, errs := make([]app.Config, 2), make([]app.First, 2), make([]error, 2)
			var both sync.WaitGroup
			for i := range configs {
				settings := map[string]string{}
				if shared {
					settings["root_key.file"] = root
				}
				configs[i] = configure(t, url, settings)
				both.Go(func() {
					a, err := app.Open(t.Context(), configs[i], app.Build{}, slog.New(slog.DiscardHandler))
					if err == nil {
						firsts[i], err = a.FirstStart(t.Context())
						err = errors.Join(err, a.Close())
					}
					errs[i] = err
				})
			}
			both.Wait()
			good, administrators := 0, 0
			for i, err := range errs {
				switch {
				case err == nil:
					good++
				case !app.Refuses(err) || !errors.Is(err, seal.ErrRootKey):
					t.Errorf("node %d: %v", i, err)
				}
				if firsts[i].AdminKeyFile != "" {
					administrators++
				}
			}
			want := 1
			if shared {
				want = 2
			}
			if good != want || administrators != 1 {
				t.Errorf("%d nodes started and %d made an administrator: %v", good, administrators, errs)
			}
			all := dump(t, url)
			if len(all["users"]) != 1 || len(all["seal_roots"]) != 1 || len(all["access_keys"]) != 1 {
				t.Errorf("%d users, %d root keys, %d access keys", len(all["users"]), len(all["seal_roots"]), len(all["access_keys"]))
			}
			// Who won can start again.
			for i, err := range errs {
				if err != nil {
					continue
				}
				a := must[*app.App](t, "start again")(app.Open(t.Context(), configs[i], app.Build{}, slog.New(slog.DiscardHandler)))
				a.Close()
			}
		})
	}
}

// A port in use is an error of the start that names the port, and no matter of the configuration's form.
func TestAPortInUse(t *testing.T) {
	for _, listener := range []string{"public", "s3", "operations"} {
		t.Run(listener, func(t *testing.T) {
			taken := testport.Listen(t).Addr().String()
			c := configure(t, "sqlite:", map[string]string{"listen." + listener: taken})
			a, err := app.Start(t.Context(), c, app.Build{}, slog.New(slog.DiscardHandler))
			if err == nil {
				a.Close()
				t.Fatal("it started")
			}
			if app.Refuses(err) || !strings.Contains(err.Error(), taken) || !strings.Contains(err.Error(), listener) || !strings.Contains(err.Error(), "in use") {
				t.Errorf("%v", err)
			}
			// It has let go of the other ports.
			for _, addr := range []string{c.Listen.Public, c.Listen.S3, c.Listen.Operations} {
				if addr == taken {
					continue
				}
				l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
				if err != nil {
					t.Errorf("%s is still held: %v", addr, err)
					continue
				}
				l.Close()
			}
		})
	}
}
