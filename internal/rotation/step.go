package rotation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/seal"
)

// maxSteps bounds one run of a job. A rotation has prepare, publish, commit, and one retirement for each old version;
// what is left is done by the next run.
const maxSteps = 24

// maxWait is the longest time for which a credential is not looked at: what no event told is noticed then.
const maxWait = 6 * time.Hour

// Rotate is the handler of jobs of JobKind: it takes one credential as far as it can go now, and tells when to look
// again. A failure that belongs to the credential is recorded there; one of the database is returned, and the queue
// backs off.
func (s *Service) Rotate(ctx context.Context, j jobs.Job) (jobs.Result, error) {
	app, kind, _ := strings.Cut(j.Key, "/")
	k := s.kind(kind)
	if k == nil {
		return jobs.Result{}, fmt.Errorf("rotate %s: no such kind of credential", j.Key)
	}
	var last time.Time
	var made *credential // the credential as a step has just left it: it need not be read again
	collided := false
	for range maxSteps {
		c, now, p, err := made, last, plan{}, error(nil)
		if made != nil {
			p, _ = deliveries(c, c.open(), now)
		}
		if p.do != stepPublish {
			if c, p, now, err = s.look(ctx, app, k); err != nil {
				return jobs.Result{}, fmt.Errorf("look at %s: %w", j.Key, err)
			}
		}
		last, made = now, nil
		var busy bool
		switch p.do {
		case stepStop:
			return jobs.Result{}, nil
		case stepWait:
			return jobs.Result{Next: bounded(p.look, now)}, nil
		case stepPublish:
			busy, err = s.publish(ctx, j, k, c, p)
		default:
			made, err = s.take(ctx, j, k, p)
		}
		switch {
		case errors.Is(err, errStale):
			made = nil
		case errors.Is(err, db.ErrConflict) && !collided:
			// Another node took this step first: PostgreSQL may say so by a unique key that is taken instead of by a
			// serialization failure. It did not if it happens again.
			made, collided = nil, true
		case err != nil:
			return s.failed(ctx, j, k, p, err)
		case busy:
			// Too many puts to that bucket are under way: come back soon instead of holding a worker.
			return jobs.Result{Next: now.Add(time.Second + rand.N(time.Second))}, nil
		}
	}
	return jobs.Result{Next: last.Add(time.Second)}, nil
}

func bounded(look, now time.Time) time.Time {
	last := now.Add(maxWait)
	if look.IsZero() || look.After(last) {
		return last
	}
	return look
}

// look reads a credential and decides. A credential that does not exist is one to stop at.
func (s *Service) look(ctx context.Context, app string, k Kind) (c *credential, p plan, now time.Time, err error) {
	err = s.db.Read(ctx, func(tx db.ReadTx) error {
		now = tx.Now()
		if c, err = load(ctx, tx, app, k.Name()); err == nil {
			p, _, err = s.decide(ctx, tx, c, k)
		}
		return err
	})
	return c, p, now, err
}

func (s *Service) decide(ctx context.Context, tx db.ReadTx, c *credential, k Kind) (plan, observed, error) {
	if c == nil || !c.live {
		return plan{do: stepStop, why: "the application is not active"}, observed{}, nil
	}
	o, err := s.observe(ctx, tx, c.app, k, c.in(lifecycle.Retiring) != nil) // else nothing depends on uses
	if err != nil {
		return plan{}, o, err
	}
	return decide(c, o, s.policies[k.Name()], tx.Now()), o, nil
}

func (s *Service) observe(ctx context.Context, tx db.ReadTx, app string, k Kind, uses bool) (o observed, err error) {
	if uses {
		if o.used, err = k.LastUsed(ctx, tx, app); err != nil {
			return o, fmt.Errorf("read last uses: %w", err)
		}
	}
	w, err := readWatch(ctx, tx)
	if err != nil {
		return o, err
	}
	o.watch = w.at(tx.Now(), s.pace)
	if !o.watch.reported.IsZero() {
		o.lag = s.pace.every + s.pace.every/4
	}
	o.fixed, err = isFixed(ctx, tx, k, app)
	return o, err
}

func isFixed(ctx context.Context, tx db.ReadTx, k Kind, app string) (bool, error) {
	f, ok := k.(Fixed)
	if !ok {
		return false, nil
	}
	fixed, err := f.Fixed(ctx, tx, app)
	if err != nil {
		return false, fmt.Errorf("ask whether the document holds a secret: %w", err)
	}
	return fixed, nil
}

// fenced runs f in a transaction in which the job's claim holds and the credential is as the database has it.
func (s *Service) fenced(ctx context.Context, j jobs.Job, k Kind, f func(tx db.WriteTx, c *credential) error) error {
	return s.db.Write(ctx, func(tx db.WriteTx) error {
		if err := s.held(ctx, tx, j); err != nil {
			return err
		}
		app, _, _ := strings.Cut(j.Key, "/")
		c, err := load(ctx, tx, app, k.Name())
		if err != nil {
			return err
		}
		if c == nil {
			return errStale
		}
		return f(tx, c)
	})
}

// The failpoints around each step: a fault before it loses the step, one after it loses the answer.
var around = map[step][2]string{
	stepPrepare: {"rotation.beforePrepare", "rotation.afterPrepare"},
	stepCommit:  {"rotation.beforeCommit", "rotation.afterCommit"},
	stepRetire:  {"rotation.beforeRetire", "rotation.afterRetire"},
	stepRenew:   {"rotation.beforeRenew", "rotation.afterRenew"},
}

// take does one step in one transaction, if it is still the step to take. made is the credential with the version that was
// prepared, nil after any other step.
func (s *Service) take(ctx context.Context, j jobs.Job, k Kind, want plan) (made *credential, err error) {
	if err := failpoint.Hit(around[want.do][0]); err != nil {
		return nil, err
	}
	err = s.fenced(ctx, j, k, func(tx db.WriteTx, c *credential) error {
		made = nil // this may run again
		p, o, err := s.decide(ctx, tx, c, k)
		if err != nil {
			return err
		}
		if p.do != want.do || p.version != want.version {
			return errStale
		}
		switch p.do {
		case stepPrepare:
			made = c
			return s.prepare(ctx, tx, k, c, p, o.fixed)
		case stepCommit:
			return s.commit(ctx, tx, k, c, p)
		case stepRetire:
			return s.retire(ctx, tx, k, c, p)
		case stepRenew:
			return s.ask(ctx, tx, c, wish{tx.Now(), "rotation", whyUnseen})
		}
		return fmt.Errorf("rotation: no such step: %s", p.do)
	})
	if err != nil {
		return nil, fmt.Errorf("%s version %d of %s: %w", want.do, want.version, j.Key, err)
	}
	return made, failpoint.Hit(around[want.do][1])
}

// additional binds a sealed document to its row and version.
func additional(app, kind string, number int64) seal.AD {
	return seal.AD{Table: "rotation_versions", Column: "sealed", Row: jobKey(app, kind), Version: number}
}

// prepare makes the next version. From the commit on it is accepted, and its document is kept sealed until every
// destination shows it. A crash before the commit leaves nothing; after it, the version, which any node publishes.
func (s *Service) prepare(ctx context.Context, tx db.WriteTx, k Kind, c *credential, p plan, fixed bool) error {
	document, err := k.Prepare(ctx, tx, c.app, p.version)
	if err != nil {
		return err
	}
	box, err := s.keyring.Seal(seal.Data, additional(c.app, c.kind, p.version), document.Bytes())
	if err != nil {
		return err
	}
	document.Erase()
	err = expect(tx.Exec(ctx, `INSERT INTO rotation_versions
		(application, kind, version, state, reason, fixed, sealed, prepared_at, activated_at, retiring_at, retired_at, forced)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, FALSE)`,
		c.app, c.kind, p.version, string(lifecycle.Prepared), p.why, fixed, box, db.Micros(tx.Now())))
	if err != nil {
		return err
	}
	c.last, c.asked = p.version, wish{}
	c.versions = append(c.versions, version{number: p.version, state: lifecycle.Prepared, reason: p.why, fixed: fixed, sealed: box, prepared: tx.Now()})
	if err := change(ctx, tx, c); err != nil {
		return err
	}
	return s.record(ctx, tx, "credential.prepare", c, p.version, map[string]any{"reason": p.why})
}

// commit makes the open version the one to use, since every destination shows it. A crash before it leaves both
// versions accepted and the document sealed; the next run commits without writing to any destination again.
func (s *Service) commit(ctx context.Context, tx db.WriteTx, k Kind, c *credential, p plan) error {
	if err := k.Activate(ctx, tx, c.app, p.version); err != nil {
		return err
	}
	if old := c.active(); old != nil {
		if err := move(ctx, tx, c, old.number, lifecycle.Active, lifecycle.Retiring, false); err != nil {
			return err
		}
	}
	if err := move(ctx, tx, c, p.version, lifecycle.Prepared, lifecycle.Active, false); err != nil {
		return err
	}
	c.activated = tx.Now()
	if err := change(ctx, tx, c); err != nil {
		return err
	}
	if err := forget(ctx, tx, c); err != nil {
		return err
	}
	tx.AfterCommit(func() { s.metrics.rotated(c.kind) })
	return s.record(ctx, tx, "credential.activate", c, p.version, nil)
}

// retire refuses a version. A crash before it leaves the version accepted a little longer.
func (s *Service) retire(ctx context.Context, tx db.WriteTx, k Kind, c *credential, p plan) error {
	if err := k.Retire(ctx, tx, c.app, p.version); err != nil {
		return err
	}
	if err := move(ctx, tx, c, p.version, lifecycle.Retiring, lifecycle.Retired, p.forced); err != nil {
		return err
	}
	if err := change(ctx, tx, c); err != nil {
		return err
	}
	tx.AfterCommit(func() {
		s.metrics.retired(c.kind, p.forced)
		if p.forced {
			s.log.Warn("a version was retired at the hard limit, not by evidence: who still uses it is refused from now on",
				"application", c.app, "kind", c.kind, "version", p.version)
		}
	})
	return s.record(ctx, tx, "credential.retire", c, p.version, map[string]any{"forced": p.forced, "reason": p.why})
}

// ask notes a wish for a rotation, unless one is noted already.
func (s *Service) ask(ctx context.Context, tx db.WriteTx, c *credential, w wish) error {
	if !c.asked.at.IsZero() {
		return nil
	}
	c.asked = w
	if err := change(ctx, tx, c); err != nil {
		return err
	}
	return s.record(ctx, tx, "credential.rotate", c, 0, map[string]any{"reason": w.why, "by": w.by})
}

// record writes the audit event of a step into the step's transaction.
func (s *Service) record(ctx context.Context, tx db.WriteTx, action string, c *credential, number int64, details map[string]any) error {
	all := map[string]any{"kind": c.kind}
	if number != 0 {
		all["version"] = number
	}
	for k, v := range details {
		all[k] = v
	}
	return audit.Done(ctx, tx, s.caller, action, "application", c.app, all)
}

// failed records what keeps a credential from its next step, for its owner to see, and backs off. What cannot be
// recorded (the database is away, the claim is lost) goes to the queue.
func (s *Service) failed(ctx context.Context, j jobs.Job, k Kind, p plan, cause error) (jobs.Result, error) {
	if ctx.Err() != nil || errors.Is(cause, jobs.ErrLost) {
		return jobs.Result{}, cause
	}
	s.log.Warn("a step of a rotation failed", "job", j.Key, "step", string(p.do), "version", p.version, "error", cause)
	var next time.Time
	err := s.fenced(ctx, j, k, func(tx db.WriteTx, c *credential) error {
		next = tx.Now().Add(s.backoff(c.failures + 1))
		since := c.since
		if c.problem == "" {
			since = tx.Now()
		}
		n, err := tx.Exec(ctx, `UPDATE rotation_credentials SET problem = $4, problem_since = $5, failures = failures + 1, updated_at = $6
			WHERE application = $1 AND kind = $2 AND epoch = $3 AND live`,
			c.app, c.kind, c.epoch, problem(p, cause), db.Micros(since), db.Micros(tx.Now()))
		if err == nil && n != 1 {
			return errStale
		}
		return err
	})
	if err != nil {
		return jobs.Result{}, errors.Join(cause, err)
	}
	return jobs.Result{Next: next}, nil
}

// problem says in one line, without secrets, what is wrong and what happens next.
func problem(p plan, cause error) string {
	doing := map[step]string{stepPrepare: "A new version could not be made", stepPublish: "The new version could not be delivered",
		stepCommit: "The new version could not be made the active one", stepRetire: "An old version could not be retired"}[p.do]
	if doing == "" {
		doing = "The rotation could not go on"
	}
	return clean(doing+": "+fault.Of(cause).Detail, 400)
}

// backoff is how long to wait after the n-th failure in a row: doubling, at most MaxBackoff, and at least half of it
// at random so that those who failed together do not come back together. It never gives up.
func (s *Service) backoff(n int64) time.Duration {
	d := s.o.MaxBackoff
	if n <= 20 {
		d = min(s.o.MinBackoff<<(n-1), s.o.MaxBackoff)
	}
	return max(d/2+rand.N(d/2+1), s.o.MinBackoff)
}
