package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/failpoint"
)

// The two objects, in the order in which they are fetched.
const (
	userFile   = "user.json"
	clientFile = "client.json"
)

var names = [2]string{userFile, clientFile}

// state is the last good content. Only Agent's own goroutine touches it; health reads the metrics.
type state struct {
	content    [2][]byte // by the order of names; nil: none yet
	generation int64     // the one in place
}

func (s *state) complete() bool {
	return s.content[0] != nil && s.content[1] != nil && s.generation > 0
}

// open takes the directory and learns what is in it.
func (a *Agent) open() (done func(), err error) {
	if err := a.dir.open(); err != nil {
		return nil, err
	}
	a.state = state{}
	for i, name := range names {
		b, err := a.dir.read(name)
		if err == nil && b != nil {
			err = checkShape(name, b)
		}
		if err != nil { // another program's, or damaged: it is replaced as soon as there is something better
			a.log.Warn("a file in the directory is not usable", "file", name, "err", err)
			b = nil
		}
		a.state.content[i] = b
	}
	if a.state.generation, err = a.dir.generation(); err != nil {
		a.dir.close()
		return nil, err
	}
	a.metrics.inPlace(a.state.generation, a.state.complete())
	return a.dir.close, nil
}

// cycle fetches both objects and puts in place what is new.
func (a *Agent) cycle(ctx context.Context) (result Result, err error) {
	defer func() {
		result.Generation = a.state.generation
		a.metrics.cycled(err)
	}()
	if err := a.fetcher.prepare(ctx); err != nil {
		a.log.Error("cannot find out who to be towards the bucket", "err", err)
		return Result{}, err
	}
	next := a.state.content
	var failures []error
	for i, name := range names {
		b, err := a.fetcher.get(ctx, name, a.state.content[i] != nil)
		if err != nil {
			failures = append(failures, err)
			a.metrics.failed(name, err)
			switch {
			case ctx.Err() != nil:
			case !a.state.complete() && errors.Is(err, ErrNotFound):
				// Usual at first: the application is younger than its credentials.
				a.log.Info("waiting for the first credentials", "object", name, "err", err)
			default:
				a.log.Error("cannot fetch credentials; those in place stay", "object", name, "err", err)
			}
			continue
		}
		if b != nil {
			next[i] = b
		}
	}
	failed := errors.Join(failures...)
	if next[0] == nil || next[1] == nil {
		return Result{}, failed // a pair or nothing: an application must not see one file alone
	}
	changed, err := a.put(next)
	if err != nil {
		a.log.Error("cannot put credentials in place", "dir", a.c.Dir, "err", err)
		return Result{}, errors.Join(err, failed)
	}
	result.Changed = changed
	result.HookFailed = a.announce(ctx)
	return result, failed
}

// put makes next what readers see, if it is not already.
func (a *Agent) put(next [2][]byte) (changed bool, err error) {
	if same, err := a.inPlace(next); err != nil || same {
		if same {
			a.state.content = next
		}
		return false, err
	}
	generation, err := a.dir.publish(next)
	if err != nil {
		return false, err
	}
	for i, name := range names {
		if !bytes.Equal(a.state.content[i], next[i]) {
			a.log.Info("credentials changed", "file", name, "generation", generation)
		}
	}
	a.state = state{content: next, generation: generation}
	a.metrics.changed(generation)
	if err := a.dir.sweep(); err != nil {
		a.log.Warn("cannot remove old generations", "err", err)
	}
	return true, failpoint.Hit("agent.swept")
}

// inPlace tells whether readers see exactly this, through our own links. Somebody may have removed or changed a file.
func (a *Agent) inPlace(next [2][]byte) (bool, error) {
	if a.state.generation == 0 {
		return false, nil
	}
	for i, name := range names {
		b, err := a.dir.read(name)
		if err != nil || !bytes.Equal(b, next[i]) {
			return false, nil // whatever is wrong with it, a new generation is the cure
		}
	}
	return a.dir.linked()
}

// announce runs the hook and sends the signal, once for each generation: also for one that was put in place by a run
// that died before it could tell.
func (a *Agent) announce(ctx context.Context) error {
	if len(a.c.Hook) == 0 && a.c.PIDFile == "" {
		return nil
	}
	announced, err := a.dir.announced()
	if err != nil {
		a.log.Error("cannot tell whether the hook ran for this generation", "err", err)
		return err
	}
	generation := a.state.generation
	if announced == generation {
		return nil
	}
	if err := failpoint.Hit("agent.beforeHook"); err != nil {
		return err
	}
	failed := a.tell(ctx, generation)
	if ctx.Err() != nil && failed != nil {
		return failed // we were stopped, not it: the next start tells
	}
	if err := failpoint.Hit("agent.afterHook"); err != nil {
		return err
	}
	if err := a.dir.setAnnounced(generation); err != nil {
		a.log.Error("cannot note that the hook ran", "generation", generation, "err", err)
		failed = errors.Join(failed, err)
	}
	return failed
}

func (a *Agent) tell(ctx context.Context, generation int64) error {
	var failed []error
	if len(a.c.Hook) > 0 {
		if err := a.runHook(ctx, generation); err != nil {
			a.log.Error("the hook failed; the new credentials stay in place", "generation", generation, "err", err)
			failed = append(failed, fmt.Errorf("hook: %w", err))
		}
	}
	if a.c.PIDFile != "" {
		if err := signalProcess(a.c.PIDFile, a.c.Signal); err != nil {
			a.log.Error("cannot signal the process; the new credentials stay in place", "generation", generation, "err", err)
			failed = append(failed, fmt.Errorf("signal: %w", err))
		}
	}
	err := errors.Join(failed...)
	a.metrics.told(err)
	return err
}
