// Command soak rotates one application's credentials every few seconds for minutes on end, kills the server with
// SIGKILL every so often, and has two witnesses log in every 50 ms: one with the pair that lies in the bucket, one with
// the pair that the agent has put on disk. It exits with 1 if a single login was refused.
//
// A login that nobody answered, because the server was dead at that moment, is counted but is no refusal. The run is
// invalid, and exits with 3, if too little happened: no kill, no rotation, or hardly any logins.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/witness"
)

type options struct {
	binary    string
	engine    string
	database  string
	duration  time.Duration
	killEvery time.Duration
	period    time.Duration
	dir       string
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/mintmark", "the program under test")
	flag.StringVar(&o.engine, "engine", "sqlite", "sqlite or postgres")
	flag.StringVar(&o.database, "postgres", "", "URL of an empty PostgreSQL database, for -engine postgres")
	flag.DurationVar(&o.duration, "for", 10*time.Minute, "how long")
	flag.DurationVar(&o.killEvery, "kill-every", 20*time.Second, "time between two kills of the server")
	flag.DurationVar(&o.period, "period", 5*time.Second, "rotation period of both credentials")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		var failed *verdict
		if errors.As(err, &failed) {
			os.Exit(failed.code)
		}
		os.Exit(2)
	}
}

type verdict struct {
	code int
	text string
}

func (v *verdict) Error() string { return v.text }

func run(o *options) error {
	var err error
	if o.binary, err = filepath.Abs(o.binary); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "mintmark-soak-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.server.start(ctx); err != nil {
		return err
	}
	if err := w.register(ctx); err != nil {
		return fmt.Errorf("register the application: %w", err)
	}
	if err := w.agent.start(); err != nil {
		return err
	}
	if err := w.waitForCredentials(ctx); err != nil {
		return err
	}

	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	witnesses := []witnessOf{{"bucket", witness.New(w.url, w.bucket)}, {"agent", witness.New(w.url, w.creds)}}
	var running sync.WaitGroup
	for _, x := range witnesses {
		running.Go(func() { x.Run(ctx) })
	}
	kills := w.killer(ctx, o.killEvery, func() { progress(began, w.server.kills, witnesses) })
	running.Wait()
	return report(os.Stdout, o, kills, time.Since(began), witnesses)
}

// witnessOf is a witness with the pair of credentials that lies in one place.
type witnessOf struct {
	place string
	*witness.Witness
}

func progress(began time.Time, kills int, ws []witnessOf) {
	line := fmt.Sprintf("%6s  kills %d", time.Since(began).Round(time.Second), kills)
	for _, x := range ws {
		t := x.Seen()
		line += fmt.Sprintf("  %s: %d logins, %d refused, %d unanswered, %d pairs", x.place, t.Logins, t.Refused, t.Unanswered, t.Pairs)
	}
	fmt.Fprintln(os.Stderr, line)
}

// report prints a row of a Markdown table and gives the verdict.
func report(out *os.File, o *options, kills int, took time.Duration, ws []witnessOf) error {
	refused, thin := 0, ""
	for _, x := range ws {
		t := x.Seen()
		fmt.Fprintf(out, "| %s | %s | %s | %d | %d | %d | **%d** | %d | %s |\n",
			o.engine, x.place, took.Round(time.Second), kills, t.Logins, t.Pairs, t.Refused, t.Unanswered, strings.ReplaceAll(t.LastRefusal, "|", "/"))
		refused += t.Refused
		if floor := int(took / (200 * time.Millisecond)); t.Logins < floor {
			thin = fmt.Sprintf("the %s witness logged in %d times, fewer than %d", x.place, t.Logins, floor)
		}
		if least := int(took / (4 * o.period)); t.Pairs < least {
			thin = fmt.Sprintf("the %s witness saw %d pairs, fewer than %d", x.place, t.Pairs, least)
		}
	}
	switch {
	case refused > 0:
		return &verdict{1, fmt.Sprintf("%d logins were refused", refused)}
	case kills == 0 || thin != "":
		return &verdict{3, "the run proves nothing: kills " + fmt.Sprint(kills) + "; " + thin}
	}
	return nil
}
