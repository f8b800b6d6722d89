package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/seal"
)

// errBusy tells that no put to the bucket could be begun.
var errBusy = errors.New("rotation: too many puts to this bucket are under way")

// slots bounds the puts to each bucket. A bucket whose last put failed gets one at a time, so that a store that hangs
// holds one worker and not all.
type slots struct {
	limit int
	mu    sync.Mutex
	of    map[Destination]*slot // owned by mu
}

type slot struct {
	taken  int
	broken bool
}

func (s *slots) take(d Destination) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[Destination]*slot{}
	}
	at := s.of[d]
	if at == nil {
		at = &slot{}
		s.of[d] = at
	}
	limit := s.limit
	if at.broken {
		limit = 1
	}
	if at.taken >= limit {
		return false
	}
	at.taken++
	return true
}

func (s *slots) release(d Destination, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.of[d]
	at.taken--
	at.broken = broken
	if at.taken == 0 && !broken {
		delete(s.of, d)
	}
}

// publish writes the open version to every destination that lacks it and may be tried now, all at the same time, and
// records each as soon as it is there. busy tells that one had to be left out.
func (s *Service) publish(ctx context.Context, j jobs.Job, k Kind, c *credential, p plan) (busy bool, err error) {
	document, err := s.keyring.Open(seal.Data, additional(c.app, c.kind, p.version), c.open().sealed)
	if err != nil {
		// It is not made anew: the version may lie at a destination already. A person must look.
		return false, fmt.Errorf("open the sealed document of version %d of %s: %w", p.version, j.Key, err)
	}
	errs := make([]error, len(p.to))
	var group sync.WaitGroup
	for i, d := range p.to {
		group.Go(func() {
			errs[i] = s.deliver(ctx, j, k, put{c.app, c.kind, c.app + "/" + k.Object(), d.Destination, p.version, document.Bytes()})
		})
	}
	group.Wait()
	var serious []error
	for _, err := range errs {
		if errors.Is(err, errBusy) {
			busy = true
		} else if err != nil {
			serious = append(serious, err)
		}
	}
	return busy, errors.Join(serious...)
}

// put is one object on its way to one destination.
type put struct {
	app, kind, key string
	to             Destination
	version        int64
	body           []byte
}

// deliver writes to one destination and records what came of it. A crash before the put leaves the destination as it
// was; after it and before the record, a destination that shows the version without our knowing: the next run writes
// the same bytes again.
func (s *Service) deliver(ctx context.Context, j jobs.Job, k Kind, p put) error {
	err := failpoint.Hit("rotation.beforePut")
	if err == nil {
		err = s.write(ctx, p)
	}
	if errors.Is(err, errBusy) {
		return err
	}
	if err == nil {
		err = failpoint.Hit("rotation.afterPut")
	}
	if err == nil {
		if err = s.recordDelivered(ctx, j, k, p); err != nil {
			return err
		}
		return failpoint.Hit("rotation.afterRecord")
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), s.late(p)) // we were told to stop: that says nothing about the destination
	}
	code, text := explain(err)
	s.metrics.failed(p.to.Store, code)
	s.log.Warn("a destination did not take a new version", "job", j.Key, "version", p.version, "destination", p.to.String(), "code", code, "error", err)
	err = s.recordFailure(ctx, j, k, p, code, text)
	if (errors.Is(err, jobs.ErrLost) || errors.Is(err, errStale)) && !certain[code] {
		return errors.Join(err, s.late(p))
	}
	return err
}

// certain are the failures after which the object was surely not stored.
var certain = map[string]bool{"forbidden": true, "no_bucket": true, "refused": true}

// write puts the object. It returns at the deadline even if the store does not; then the slot stays taken until the
// store lets go, and what it did in the meantime is looked into.
func (s *Service) write(ctx context.Context, p put) error {
	if !s.slots.take(p.to) {
		return errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.CallTimeout)
	var settled atomic.Bool // who sets it decides: the store's answer is what counts, or it came too late
	result := make(chan error, 1)
	go func() {
		defer cancel()
		err := s.call(ctx, p)
		s.slots.release(p.to, err != nil)
		if settled.CompareAndSwap(false, true) {
			result <- err
			return
		}
		if err := s.late(p); err != nil {
			s.log.Error("a put came back too late, and what it did could not be recorded", "application", p.app, "kind", p.kind,
				"version", p.version, "destination", p.to.String(), "error", err)
		}
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		if settled.CompareAndSwap(false, true) {
			return fmt.Errorf("put: %w", ctx.Err())
		}
		return <-result
	}
}

// call asks the store. A store that panics has failed; it does not take the server with it.
func (s *Service) call(ctx context.Context, p put) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("rotation: the store panicked: %v", r)
		}
	}()
	store, err := s.o.Stores.Open(p.to.Store)
	if err != nil {
		return err
	}
	watch := clock.Stopwatch()
	_, err = store.Put(ctx, p.to.Bucket, p.key, p.body, objstore.PutOptions{ContentType: "application/json"})
	s.metrics.put(p.to.Store, watch())
	return err
}

// explain gives a failure a stable code and a text for people, without secrets.
func explain(err error) (code, text string) {
	for _, e := range []struct {
		is   error
		code string
	}{
		{context.DeadlineExceeded, "timeout"}, {objstore.ErrForbidden, "forbidden"}, {objstore.ErrNoBucket, "no_bucket"},
		{objstore.ErrInvalid, "refused"}, {objstore.ErrUnavailable, "unavailable"},
	} {
		if errors.Is(err, e.is) {
			code = e.code
			break
		}
	}
	var known *objstore.Error
	switch {
	case errors.As(err, &known):
		text = objstore.Text(err)
	case code == "timeout":
		text = "The store did not answer in time."
	case fault.Of(err).Kind != fault.Internal:
		text = fault.Of(err).Detail
	default:
		text = "The store could not be used; the server's log says why."
	}
	if code == "" {
		code = "failed"
	}
	return code, clean(text, 400)
}

// recordDelivered notes that the destination shows the version. Where the version is no longer the open one, or the claim
// is lost, this node was late: see late.
func (s *Service) recordDelivered(ctx context.Context, j jobs.Job, k Kind, p put) error {
	// What was put is recorded even if we are told to stop meanwhile.
	ctx = context.WithoutCancel(ctx)
	err := s.fenced(ctx, j, k, func(tx db.WriteTx, c *credential) error {
		open := c.open()
		if !c.live || open == nil || open.number != p.version {
			return errStale
		}
		for _, d := range c.deliveries {
			if d.Destination == p.to && d.version == p.version {
				return nil // written twice and recorded once
			}
		}
		n, err := tx.Exec(ctx, `UPDATE rotation_deliveries SET version = $5, delivered_at = $6, failures = 0, failing_since = 0,
			error_code = '', error = '', next_try = 0
			WHERE application = $1 AND kind = $2 AND store = $3 AND bucket = $4 AND EXISTS (SELECT 1 FROM rotation_versions
				WHERE application = $1 AND kind = $2 AND version = $5 AND state = 'prepared')`,
			p.app, p.kind, p.to.Store, p.to.Bucket, p.version, db.Micros(tx.Now()))
		if err != nil {
			return err
		}
		if n != 1 {
			return errStale // the destination was taken away meanwhile
		}
		return s.record(ctx, tx, "credential.deliver", c, p.version, map[string]any{"destination": p.to.String()})
	})
	if errors.Is(err, jobs.ErrLost) || errors.Is(err, errStale) {
		return errors.Join(err, s.late(p))
	}
	return err
}

func (s *Service) recordFailure(ctx context.Context, j jobs.Job, k Kind, p put, code, text string) error {
	return s.fenced(ctx, j, k, func(tx db.WriteTx, c *credential) error {
		for _, d := range c.deliveries {
			if d.Destination != p.to {
				continue
			}
			since := d.since
			if since.IsZero() {
				since = tx.Now()
			}
			return expect(tx.Exec(ctx, `UPDATE rotation_deliveries SET failures = $5, failing_since = $6, error_code = $7, error = $8, next_try = $9
				WHERE application = $1 AND kind = $2 AND store = $3 AND bucket = $4`, p.app, p.kind, p.to.Store, p.to.Bucket,
				d.failures+1, db.Micros(since), code, text, db.Micros(tx.Now().Add(s.backoff(d.failures+1)))))
		}
		return errStale
	})
}

// late looks into a put that ended after its node had lost the claim, or after the deadline: the destination may show an
// older version than the one recorded, and nothing stops the store from having stored it. Then the truth is recorded,
// which keeps the older version from being retired, and the destination gets the newest version again: the open one, whose
// document is there, or a new one.
//
// It holds no claim, so it only ever notes what was seen and asks for more.
func (s *Service) late(p put) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		err := s.repair(ctx, p)
		if !fault.Is(err, fault.Unavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second): // nobody else knows: do not give up for a database that is away for a moment
		}
	}
}

func (s *Service) repair(ctx context.Context, p put) error {
	return s.db.Write(ctx, func(tx db.WriteTx) error {
		c, err := load(ctx, tx, p.app, p.kind)
		if err != nil || c == nil || !c.live {
			return err // a deactivated application's objects are refused anyhow
		}
		newest := c.open()
		if newest == nil {
			newest = c.active()
		}
		if newest == nil || newest.number <= p.version {
			return nil
		}
		n, err := tx.Exec(ctx, `UPDATE rotation_deliveries SET version = $5, next_try = 0
			WHERE application = $1 AND kind = $2 AND store = $3 AND bucket = $4`, p.app, p.kind, p.to.Store, p.to.Bucket, p.version)
		if err != nil || n == 0 {
			return err // no longer a destination
		}
		if newest.state == lifecycle.Active {
			if err := s.ask(ctx, tx, c, wish{tx.Now(), "rotation", whyLate}); err != nil {
				return err
			}
		} else if err := change(ctx, tx, c); err != nil {
			return err
		}
		// Whoever read it there just now has its grace from now on.
		_, err = tx.Exec(ctx, `UPDATE rotation_versions SET retiring_at = $4 WHERE application = $1 AND kind = $2 AND version = $3 AND state = 'retiring'`,
			p.app, p.kind, p.version, db.Micros(tx.Now()))
		if err != nil {
			return err
		}
		tx.AfterCommit(func() {
			s.metrics.lateWrites.Inc()
			s.log.Warn("an older version was written over a later one; the destination gets the newest again", "application", p.app,
				"kind", p.kind, "version", p.version, "newest", newest.number, "destination", p.to.String())
		})
		if err := s.record(ctx, tx, "credential.late_delivery", c, p.version, map[string]any{"destination": p.to.String()}); err != nil {
			return err
		}
		return jobs.Schedule(ctx, tx, JobKind, jobKey(p.app, p.kind), tx.Now())
	})
}
