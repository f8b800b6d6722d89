package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/id"
)

// pollEvery bounds how long a runner sleeps: work that another node asked for waits no longer than that.
const pollEvery = time.Second

// Options configure a Runner. The zero value of each field is ready to use.
type Options struct {
	Node    string                // name of this run of this process in the rows; "": made up
	Workers int                   // handlers at once, of all kinds together; 0: 8
	Lease   time.Duration         // how long the work of a dead node waits for another one; 0: 30 s
	Grace   time.Duration         // how long handlers may go on when the program ends; 0: 20 s
	Clock   clock.Clock           // for the made-up name only: due times are the database's. nil: clock.System
	Logger  *slog.Logger          // nil: no log
	Metrics prometheus.Registerer // nil: not exported

	// The policy of kinds that bring none, and of the fields that theirs leaves at zero.
	Timeout    time.Duration // 0: 5 min
	BackoffMin time.Duration // 0: 1 s
	BackoffMax time.Duration // 0: 10 min
}

// Policy is how a kind of work is treated.
type Policy struct {
	Concurrency int           // handlers of this kind at once on this node; 0: half of the workers
	Timeout     time.Duration // of one handler; it is cancelled then, and given up if it does not come back
	BackoffMin  time.Duration // pause after the first failure; it doubles with each
	BackoffMax  time.Duration
}

// Runner claims due work and has it done. Several may run on one database, in one process or in many.
type Runner struct {
	d       *db.DB
	o       Options
	metrics *metrics
	kinds   map[string]*kind // written before Run, read after
	wake    chan struct{}
	handing sync.WaitGroup // handlers, and the recording of their ends

	mu     sync.Mutex
	active map[string]*work           // by kind and key; owned by mu
	stuck  map[string]map[string]bool // by kind: keys whose handler was given up and has not come back; owned by mu
}

type kind struct {
	name   string
	handle Handler
	policy Policy
}

// work is one claim being worked on.
type work struct {
	job      Job
	kind     *kind
	cancel   context.CancelCauseFunc
	sure     func() time.Duration // since the claim was surely ours; owned by Runner.mu
	finished bool                 // the end is being recorded: no more extension; owned by Runner.mu
}

var (
	errTimeout = errors.New("took too long and was cancelled")
	errGivenUp = errors.New("took too long, was cancelled and did not come back")
	errEnding  = errors.New("the program ends")
)

// afterTimeout is how long a cancelled handler may take to come back.
const afterTimeout = 5 * time.Second

// NewRunner makes a runner that does nothing yet.
func NewRunner(d *db.DB, o Options) *Runner {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Node == "" {
		o.Node = id.New(id.Node, o.Clock.Now())
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Workers == 0 {
		o.Workers = 8
	}
	o.Lease = orDefault(o.Lease, 30*time.Second)
	o.Grace = orDefault(o.Grace, 20*time.Second)
	o.Timeout = orDefault(o.Timeout, 5*time.Minute)
	o.BackoffMin = orDefault(o.BackoffMin, time.Second)
	o.BackoffMax = orDefault(o.BackoffMax, 10*time.Minute)
	return &Runner{
		d: d, o: o, metrics: newMetrics(o.Metrics), kinds: map[string]*kind{}, wake: make(chan struct{}, 1),
		active: map[string]*work{}, stuck: map[string]map[string]bool{},
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// Handle sets what does the work of a kind. Call it before Run; work of kinds without a handler waits.
func (r *Runner) Handle(name string, h Handler, policy ...Policy) {
	var p Policy
	if len(policy) > 0 {
		p = policy[0]
	}
	if p.Concurrency == 0 {
		p.Concurrency = (r.o.Workers + 1) / 2
	}
	p.Timeout = orDefault(p.Timeout, r.o.Timeout)
	p.BackoffMin = orDefault(p.BackoffMin, r.o.BackoffMin)
	p.BackoffMax = orDefault(p.BackoffMax, r.o.BackoffMax)
	if r.kinds[name] != nil {
		panic("jobs: two handlers of " + name)
	}
	r.kinds[name] = &kind{name, h, p}
	r.metrics.know(name)
}

// Wake makes the runner look for due work now.
func (r *Runner) Wake() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Run does due work until ctx ends. Then it claims no more, lets the handlers go on for the grace, cancels what is left,
// and gives the claims back, so that other nodes need not wait for the leases to run out. The error is always nil: a
// database that cannot be reached is waited for.
func (r *Runner) Run(ctx context.Context) error {
	defer r.enlist()()
	// Handlers outlive ctx by the grace.
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var heart sync.WaitGroup
	heart.Go(func() { r.extendClaims(work) })

	failures := 0
	for ctx.Err() == nil {
		pause, err := r.look(ctx, work)
		if err != nil && ctx.Err() == nil {
			failures++
			r.o.Logger.WarnContext(ctx, "cannot look for due work", "node", r.o.Node, "failures", failures, "err", err)
			pause = backoff(pollEvery, 10*time.Second, failures)
		} else {
			failures = 0
		}
		r.sleep(ctx, pause)
	}
	r.drain(stop)
	stop(nil)
	heart.Wait()
	return nil
}

// sleep waits for the pause to pass, a wake-up, or the end.
func (r *Runner) sleep(ctx context.Context, pause time.Duration) {
	if pause <= 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.wake:
	case <-ctx.Done():
	}
}

// look claims what is due and starts it. It tells how long there will be nothing to do.
func (r *Runner) look(ctx, handlers context.Context) (pause time.Duration, err error) {
	wants, total := r.room()
	if total == 0 {
		return pollEvery, nil // the next handler to end wakes us
	}
	var due, now time.Time
	var some bool
	err = r.d.Read(ctx, func(tx db.ReadTx) (err error) {
		due, now, some, err = firstDue(ctx, tx)
		return err
	})
	if err != nil {
		return 0, err
	}
	r.metrics.waiting(some, now.Sub(due))
	if !some {
		return pollEvery, nil
	}
	if due.After(now) {
		return min(pollEvery, due.Sub(now)), nil
	}
	var claimed []Job
	sure := clock.Stopwatch() // started before the claim: the lease is at least this old
	err = r.d.Write(ctx, func(tx db.WriteTx) (err error) {
		sure = clock.Stopwatch()
		now = tx.Now()
		claimed, err = claim(ctx, tx, r.o.Node, r.o.Lease, wants, total)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, j := range claimed {
		r.start(handlers, j, sure, now)
	}
	if len(claimed) == 0 {
		return pollEvery, nil // due, but of no kind we have room for
	}
	return 0, nil
}

// room is what this runner could take on.
func (r *Runner) room() (wants []want, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	total = r.o.Workers - len(r.active)
	busy := map[*kind]int{}
	for _, w := range r.active {
		busy[w.kind]++
	}
	for _, k := range r.kinds {
		if room := min(k.policy.Concurrency-busy[k], total); room > 0 {
			avoid := map[string]bool{}
			for key := range r.stuck[k.name] {
				avoid[key] = true
			}
			wants = append(wants, want{k.name, room, avoid})
		}
	}
	if len(wants) == 0 {
		total = 0
	}
	return wants, total
}

func (r *Runner) start(handlers context.Context, j Job, sure func() time.Duration, now time.Time) {
	k := r.kinds[j.Kind]
	ctx, cancel := context.WithCancelCause(handlers)
	w := &work{job: j, kind: k, cancel: cancel, sure: sure}
	r.mu.Lock()
	r.active[j.Kind+"\x00"+j.Key] = w
	r.mu.Unlock()
	r.metrics.started(j.Kind, now.Sub(j.Due))
	r.handing.Go(func() {
		defer cancel(nil)
		r.work(ctx, w)
		r.mu.Lock()
		if name := j.Kind + "\x00" + j.Key; r.active[name] == w { // it may be due again, and claimed anew by now
			delete(r.active, name)
		}
		r.mu.Unlock()
		r.Wake() // there is room again, and perhaps more to do
	})
}

// work runs the handler, waits for it as long as is reasonable, and records how it ended.
func (r *Runner) work(ctx context.Context, w *work) {
	limited, cancel := context.WithTimeoutCause(ctx, w.kind.policy.Timeout, errTimeout)
	defer cancel()
	elapsed := clock.Stopwatch()
	type ending struct {
		result Result
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		result, err := r.guarded(limited, w)
		ended <- ending{result, err}
		r.cameBack(w)
	}()

	o := outcome{least: w.kind.policy.BackoffMin}
	select {
	case e := <-ended:
		o.result, o.err = e.result, e.err
	case <-limited.Done():
		patience := time.NewTimer(afterTimeout)
		defer patience.Stop()
		select {
		case e := <-ended:
			o.result, o.err = e.result, e.err
		case <-patience.C:
			o.err = errGivenUp
			r.giveUp(w, func() bool { return len(ended) > 0 })
		}
	}
	cause := context.Cause(limited)
	if o.err != nil && errors.Is(cause, errTimeout) && !errors.Is(o.err, errGivenUp) {
		o.err = fmt.Errorf("%w: %w", errTimeout, o.err)
	}
	o.drained = o.err != nil && errors.Is(cause, errEnding)
	o.pause = backoff(w.kind.policy.BackoffMin, w.kind.policy.BackoffMax, w.job.Attempt)
	r.record(ctx, w, o, elapsed())
}

// guarded runs the handler and turns a panic into an error.
func (r *Runner) guarded(ctx context.Context, w *work) (result Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.metrics.panics.WithLabelValues(w.job.Kind).Inc()
			r.o.Logger.ErrorContext(ctx, "a job panicked", "kind", w.job.Kind, "key", w.job.Key, "panic", p, "stack", string(debug.Stack()))
			err = errors.New("panic: see the log of node " + r.o.Node)
		}
	}()
	return w.kind.handle(ctx, w.job)
}

// giveUp remembers a handler that does not come back: its place is free for others, but this node does not take the
// same key on before it has come back, so that what leaks is bounded by the number of keys.
func (r *Runner) giveUp(w *work, hasCome func() bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hasCome() { // at the last moment; cameBack may have run already
		return
	}
	if r.stuck[w.job.Kind] == nil {
		r.stuck[w.job.Kind] = map[string]bool{}
	}
	r.stuck[w.job.Kind][w.job.Key] = true
}

func (r *Runner) cameBack(w *work) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.stuck[w.job.Kind], w.job.Key)
}

// record writes the end of a handler down, and tries for as long as the claim may last: if it cannot, another node does
// the work once more.
func (r *Runner) record(ctx context.Context, w *work, o outcome, took time.Duration) {
	j := w.job
	r.mu.Lock()
	w.finished = true
	r.mu.Unlock()
	defer r.report(ctx, w, o, took)
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.o.Lease)
	defer cancel()
	for try := 1; ; try++ {
		err := failpoint.Hit("jobs.finish")
		if err == nil {
			err = r.d.Write(recording, func(tx db.WriteTx) error { return finish(recording, tx, j, o) })
		}
		if err == nil {
			return
		}
		if errors.Is(err, ErrLost) {
			r.metrics.lost.WithLabelValues(j.Kind).Inc()
			r.o.Logger.WarnContext(ctx, "the claim on a job was lost before its end could be recorded", "kind", j.Kind, "key", j.Key, "epoch", j.Epoch)
			return
		}
		r.o.Logger.WarnContext(ctx, "cannot record the end of a job", "kind", j.Kind, "key", j.Key, "err", err)
		timer := time.NewTimer(backoff(100*time.Millisecond, 5*time.Second, try))
		select {
		case <-timer.C:
		case <-recording.Done():
			timer.Stop()
			return
		}
	}
}

func (r *Runner) report(ctx context.Context, w *work, o outcome, took time.Duration) {
	j := w.job
	result := "done"
	switch {
	case o.drained:
		result = "handed_back"
	case errors.Is(o.err, ErrLost) || errors.Is(context.Cause(ctx), ErrLost):
		result = "lost"
	case errors.Is(o.err, errTimeout) || errors.Is(o.err, errGivenUp):
		result = "timeout"
	case o.err != nil:
		result = "failed"
	}
	r.metrics.ended(j.Kind, result, took)
	if o.err != nil && !o.drained {
		r.o.Logger.WarnContext(ctx, "a job failed", "kind", j.Kind, "key", j.Key, "attempt", j.Attempt, "epoch", j.Epoch,
			"result", result, "took", took, "pause", o.pause, "err", o.err)
		return
	}
	r.o.Logger.DebugContext(ctx, "a job ended", "kind", j.Kind, "key", j.Key, "epoch", j.Epoch, "result", result, "took", took)
}

// extendClaims keeps the claims of working handlers alive, and cancels a handler whose claim is lost, or may be lost
// because the database could not be asked.
func (r *Runner) extendClaims(ctx context.Context) {
	tick := time.NewTicker(r.o.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		held := r.held()
		if len(held) == 0 {
			continue
		}
		sure := clock.Stopwatch()
		var lost []Job
		bounded, cancel := context.WithTimeout(ctx, r.o.Lease/3)
		err := failpoint.Hit("jobs.extend")
		if err == nil {
			err = r.d.Write(bounded, func(tx db.WriteTx) (err error) {
				sure = clock.Stopwatch()
				lost, err = extend(bounded, tx, r.o.Lease, held)
				return err
			})
		}
		cancel()
		if err != nil && ctx.Err() == nil {
			r.o.Logger.WarnContext(ctx, "cannot extend the claims on jobs", "jobs", len(held), "err", err)
		}
		r.settle(held, lost, sure, err)
	}
}

// held are the claims to extend.
func (r *Runner) held() []Job {
	r.mu.Lock()
	defer r.mu.Unlock()
	var held []Job
	for _, w := range r.active {
		if !w.finished {
			held = append(held, w.job)
		}
	}
	return held
}

// settle acts on the answer of extend.
func (r *Runner) settle(held, lost []Job, sure func() time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range held {
		w := r.active[j.Kind+"\x00"+j.Key]
		if w == nil || w.job.Epoch != j.Epoch || w.finished {
			continue
		}
		switch {
		case err == nil && !slices.Contains(lost, j):
			w.sure = sure
		case err == nil, w.sure() > r.o.Lease*2/3: // it would run out before the next try
			w.cancel(ErrLost)
		}
	}
}

// drain waits for the handlers, cancels them when the grace is over, and waits for their ends to be recorded.
func (r *Runner) drain(stop context.CancelCauseFunc) {
	done := make(chan struct{})
	go func() { r.handing.Wait(); close(done) }()
	grace := time.NewTimer(r.o.Grace)
	defer grace.Stop()
	select {
	case <-done:
		return
	case <-grace.C:
	}
	r.o.Logger.Warn("jobs are cancelled because the program ends", "node", r.o.Node, "jobs", len(r.held()))
	stop(errEnding)
	<-done // each comes back within afterTimeout, or is given up
}

// backoff is the pause after a number of failures: it doubles from least to most, and is shortened at random by up to
// half, so that what failed together does not come back together.
func backoff(least, most time.Duration, failures int) time.Duration {
	d := least
	for range failures - 1 {
		if d *= 2; d >= most {
			break
		}
	}
	d = min(d, most)
	return max(d/2, 1) + rand.N(max(d/2, 1))
}
