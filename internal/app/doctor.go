package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/jobs"
)

// Finding is what Doctor found about one thing.
type Finding struct {
	Check  string `json:"check"`
	OK     bool   `json:"ok"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do, when it is not OK
}

// Doctor looks at an installation without changing it, whether a server is running on it or not. What cannot be looked
// at because something before it is broken is left out.
func Doctor(ctx context.Context, c Config, build Build) []Finding {
	var out []Finding
	add := func(check string, err error, text, advice string) bool {
		f := Finding{Check: check, OK: err == nil, Text: text}
		if err != nil {
			f.Text, f.Advice = err.Error(), advice
		}
		out = append(out, f)
		return err == nil
	}
	add("data directory", checkMode(c.DataDir, 0o022), c.DataDir+" is ours alone to write", "Run: chmod go-w "+c.DataDir)
	if text, err := freeSpace(c.DataDir); !errors.Is(err, os.ErrNotExist) {
		add("disk", err, text, "Make room: a full disk stops every change.")
	}
	add("root key", checkMode(c.RootKey.File, 0o077), c.RootKey.File+" can be read by its owner alone", "Bring it back from your copy and run: chmod 400 "+c.RootKey.File)
	a, err := Inspect(ctx, c, build, slog.New(slog.DiscardHandler))
	if !add("database and keyring", err, "the schema is the one that this program works with, and the root key opens the keyring", "docs/operations.md, section on starting, tells what each refusal means.") {
		return out
	}
	defer a.db.Close()
	skew, err := a.skew(ctx)
	add("clock", err, fmt.Sprintf("this machine and the database differ by %s", skew), "Synchronise the clocks; times in tokens come from this machine, due times from the database.")
	a.lookAtDirectories(ctx, add)
	text, err := a.failingJobs(ctx)
	add("jobs", err, text, `"mintmark app status APPLICATION" tells more about rotations.`)
	add("administrator's key file", noFile(c.AdminKeyFile()), "no access key lies in the data directory", "Move it to the administrator's own machine, or delete it: it is accepted until it expires.")
	report, err := a.VerifyAudit(ctx, "", nil)
	if err == nil && report.Problem != nil {
		err = errors.New(report.Problem.String())
	}
	add("audit log", err, fmt.Sprintf("%d records verified", report.Size), `Run "mintmark audit verify" and keep its output and a copy of the database.`)
	add("server", answers(ctx, "http://"+c.Listen.Operations+"/readyz"), "a server answers on "+c.Listen.Operations+" and is ready", `Start it with "mintmark serve", or look at its log.`)
	return out
}

func checkMode(path string, forbidden os.FileMode) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&forbidden != 0 {
		return fmt.Errorf("%s has mode %04o", path, mode)
	}
	return nil
}

func freeSpace(dir string) (text string, err error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return "", err
	}
	free := fs.Bavail * uint64(fs.Bsize) >> 20
	if free < 200 {
		return "", fmt.Errorf("only %d MiB free in %s", free, dir)
	}
	return fmt.Sprintf("%d MiB free", free), nil
}

// skew is how far this machine's clock is from the database's. On SQLite they are the same.
func (a *App) skew(ctx context.Context) (skew time.Duration, err error) {
	err = a.db.Read(ctx, func(tx db.ReadTx) error {
		skew = clock.Since(a.clock, tx.Now()).Abs()
		return nil
	})
	if err == nil && skew > 5*time.Second {
		err = fmt.Errorf("this machine and the database differ by %s", skew)
	}
	return skew.Round(time.Millisecond), err
}

func (a *App) failingJobs(ctx context.Context) (text string, err error) {
	err = a.db.Read(ctx, func(tx db.ReadTx) error {
		failing, err := jobs.Failing(ctx, tx, 10)
		if err != nil {
			return err
		}
		if len(failing) > 0 {
			return fmt.Errorf("%d jobs fail again and again, the first is %s %s", len(failing), failing[0].Kind, failing[0].Key)
		}
		return nil
	})
	return "none fails", err
}

func noFile(path string) error {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s lies there", path)
	}
	return nil
}

// answers asks a running server whether it is ready.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := new(http.Transport).RoundTrip(req)
	if err != nil {
		return errors.New("nobody answers on " + req.URL.Host)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New("a server answers, but it is not ready")
	}
	return nil
}
