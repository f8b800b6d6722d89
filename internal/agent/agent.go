// Package agent keeps an application's credentials on its disk the same as those in its bucket.
//
// It fetches <bucket>/<application>/user.json and client.json from any S3 API and writes both into a directory that
// clients read. What it guards:
//   - A reader never sees a part of a file, nor the files of two generations: both live in a directory of their own, and
//     one rename of one symbolic link moves readers from a generation to the next (publish.go draws it).
//   - What was good stays. An object that is missing, refused, cut off, too large or of the wrong shape changes nothing on
//     the disk; it is reported and tried again.
//   - Unchanged content leaves the files alone, down to the inode.
//   - A crash at any moment leaves one whole generation, and the next start goes on from there; what was to be told to
//     the application about a change (the hook) is told after the restart.
//   - The directory is the agent's own: it is refused if others may write to it, and planted links are not followed.
//
// Any version of either file authenticates while it lies in a bucket, and for a time after; so an agent that is late, or
// holds user.json of one version and client.json of another, still works.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/redact"
)

// Config says what to fetch and where to put it. Application, Bucket and Dir are required.
type Config struct {
	Application string // whose credentials
	Bucket      string // where they are
	Dir         string // where they go; made with mode 0700 if its parent exists

	Endpoint string // of the S3 API; "": AWS's own, by region
	Region   string // "": AWS_REGION, the shared configuration, or us-east-1; with AWS, the bucket's own is found out

	// Who the agent is towards the S3 API: the first of these that is set.
	CredentialsFile string        // lines application:access_key:secret, # for comments; read again in each cycle
	AccessKeyID     string        // with Secret
	Secret          redact.Secret //
	Profile         string        // of the shared configuration files
	// None: the AWS SDK's default chain (environment, shared files, container, instance).

	Poll        time.Duration // between cycles, ±20 %; 0: 60 s
	BackoffMax  time.Duration // cap of the pause after failures; 0: 10 min
	Wait        time.Duration // how long the first credentials may take to appear; 0: Run waits for ever, Once does not wait
	CallTimeout time.Duration // of one object, with its retries; 0: 10 s

	FileMode os.FileMode // of the two files; 0: 0600. Directories made by the agent get the matching mode.

	Hook        []string       // argv to run after a change, without a shell; MINTMARK_GENERATION and MINTMARK_DIR are set
	HookTimeout time.Duration  // 0: 30 s
	PIDFile     string         // process to signal after a change
	Signal      syscall.Signal // 0: SIGHUP

	Listen string // address for /healthz and /metrics, loopback only; "": none

	Logger *slog.Logger // nil: no log
}

// What the callers of this package branch on.
var (
	ErrConfig    = errors.New("agent: bad configuration")
	ErrDeadline  = errors.New("agent: no credentials before the deadline")
	ErrForbidden = errors.New("access denied")
	ErrNotFound  = errors.New("not found")
	ErrShape     = errors.New("unexpected shape")
	ErrDirectory = errors.New("agent: the directory is not safe to write to")
)

// ExitCode is the process's exit code for what Once or Run returned: 0 all is well, 1 something failed, 2 the
// configuration is wrong, 75 the deadline for the first credentials passed.
func ExitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrConfig):
		return 2
	case errors.Is(err, ErrDeadline):
		return 75
	}
	return 1
}

// Result is what a cycle did.
type Result struct {
	Changed    bool  // a new generation was put in place
	Generation int64 // the one in place; 0: none
	HookFailed error // the hook or the signal failed; the files stay
}

// Agent fetches the credentials of one application. Its methods must not run at the same time.
type Agent struct {
	c       Config
	log     *slog.Logger
	fetcher *fetcher
	dir     *directory
	metrics *metrics
	state   state
}

// New checks the configuration. It touches nothing but memory: files and network come with Once and Run.
func New(c Config) (*Agent, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c.Poll = orDefault(c.Poll, time.Minute)
	c.BackoffMax = max(orDefault(c.BackoffMax, 10*time.Minute), c.Poll)
	c.CallTimeout = orDefault(c.CallTimeout, 10*time.Second)
	c.HookTimeout = orDefault(c.HookTimeout, 30*time.Second)
	if c.FileMode == 0 {
		c.FileMode = 0o600
	}
	if c.Signal == 0 {
		c.Signal = syscall.SIGHUP
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		c:       c,
		log:     c.Logger.With("application", c.Application, "bucket", c.Bucket),
		dir:     &directory{path: c.Dir, fileMode: c.FileMode},
		metrics: newMetrics(prometheus.NewRegistry()),
	}
	a.fetcher = newFetcher(&a.c, a.log)
	return a, nil
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

func (c *Config) check() error {
	switch {
	case !validApplication(c.Application):
		return fmt.Errorf("the application id %q is not one: lower-case letters, digits and hyphens, such as sales-orders", c.Application)
	case !validBucket(c.Bucket):
		return fmt.Errorf("the bucket %q is not a bucket's name", c.Bucket)
	case c.Dir == "":
		return errors.New("no directory to write to")
	case (c.AccessKeyID == "") != c.Secret.Empty():
		return errors.New("an access key needs its secret, and a secret its access key")
	case c.FileMode&^0o777 != 0 || c.FileMode&0o600 == 0 && c.FileMode != 0 || c.FileMode&0o022 != 0:
		return fmt.Errorf("mode %v for files that hold secrets: the owner must read and write, and nobody else may write", c.FileMode)
	case c.Poll < 0 || c.BackoffMax < 0 || c.Wait < 0 || c.CallTimeout < 0 || c.HookTimeout < 0:
		return errors.New("a duration is negative")
	}
	if c.Listen != "" {
		host, _, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return fmt.Errorf("listen address: %w", err)
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("listen address %s: only loopback, such as 127.0.0.1:9090, since nobody is asked for a password there", c.Listen)
		}
	}
	return checkEndpoint(c.Endpoint)
}

// validApplication is the grammar of application ids: it also keeps a key in the bucket from being any other.
func validApplication(s string) bool {
	if len(s) < 2 || len(s) > 255 || s[0] < 'a' || s[0] > 'z' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func validBucket(s string) bool {
	if len(s) < 3 || len(s) > 255 {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}

// Once fetches the credentials. Without Wait it tries once; with Wait it tries until both files are in place and valid,
// or the deadline has passed (ErrDeadline). A nil error means that both are there and as new as the bucket's.
func (a *Agent) Once(ctx context.Context) (Result, error) {
	done, err := a.open()
	if err != nil {
		return Result{}, err
	}
	defer done()
	if a.c.Wait == 0 {
		return a.cycle(ctx)
	}
	waiting, cancel := context.WithTimeout(ctx, a.c.Wait)
	defer cancel()
	var last error // why it is not there yet; that the time is over is no reason
	for failures := 1; ; failures++ {
		result, err := a.cycle(waiting)
		if err == nil || errors.Is(err, ErrDirectory) {
			return result, err
		}
		if waiting.Err() == nil || last == nil {
			last = err
		}
		if stop := a.pause(waiting, a.firstPause(failures)); stop != nil {
			if ctx.Err() != nil {
				return result, ctx.Err()
			}
			return result, fmt.Errorf("%w of %v: %w", ErrDeadline, a.c.Wait, last)
		}
	}
}

// Run fetches the credentials again and again until ctx ends; then the error is nil. Failures are reported in the log and
// the metrics and end nothing, but a directory that cannot be used at all, and first credentials that do not appear
// within Wait.
func (a *Agent) Run(ctx context.Context) error {
	done, err := a.open()
	if err != nil {
		return err
	}
	defer done()
	stop, err := a.serve()
	if err != nil {
		return err
	}
	defer stop()
	started := clock.Stopwatch()
	for failures := 0; ; {
		_, err := a.cycle(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrDirectory) {
			return err
		}
		pause := a.c.Poll
		if err == nil {
			failures = 0
		} else {
			failures++
			pause = backoff(a.c.Poll, a.c.BackoffMax, failures)
		}
		if !a.state.complete() { // nothing to work with yet: hurry, since an application waits for us
			pause = a.firstPause(failures)
			if left := a.c.Wait - started(); a.c.Wait > 0 && left <= 0 {
				return fmt.Errorf("%w of %v: %w", ErrDeadline, a.c.Wait, err)
			} else if a.c.Wait > 0 {
				pause = min(pause, max(left, time.Millisecond))
			}
		}
		if a.pause(ctx, jitter(pause)) != nil {
			return nil
		}
	}
}

// firstPause is the pause after a failure while there are no credentials at all: short at first, and never much longer
// than a poll.
func (a *Agent) firstPause(failures int) time.Duration {
	return backoff(min(time.Second, a.c.Poll), 2*a.c.Poll, failures)
}

// backoff doubles with each failure, from least to most.
func backoff(least, most time.Duration, failures int) time.Duration {
	for range failures - 1 {
		if least *= 2; least >= most {
			return most
		}
	}
	return min(least, most)
}

// jitter moves a pause by up to a fifth either way, so that ten thousand agents that were started together drift apart.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1)
}

// pause waits, unless ctx ends first.
func (a *Agent) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
