package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// slotPatience is how long a put waits for those before it to the same bucket. Where a bucket works it is a moment; to come
// back later would cost more.
const slotPatience = time.Second

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
	freed  chan struct{} // closed when a place becomes free
}

// take waits at most that long for a place. It does not wait for a bucket that is broken.
func (s *slots) take(ctx context.Context, d Destination, patience time.Duration) bool {
	taken, freed := s.try(d)
	if taken || freed == nil {
		return taken
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-freed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
		if taken, freed = s.try(d); taken || freed == nil {
			return taken
		}
	}
}

// try takes a place if one is free; else it tells what to wait for, if that is worth it.
func (s *slots) try(d Destination) (taken bool, freed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[Destination]*slot{}
	}
	at := s.of[d]
	if at == nil {
		at = &slot{freed: make(chan struct{})}
		s.of[d] = at
	}
	limit := s.limit
	if at.broken {
		limit = 1
	}
	switch {
	case at.taken < limit:
		at.taken++
		return true, nil
	case at.broken:
		return false, nil
	}
	return false, at.freed
}

func (s *slots) release(d Destination, broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.of[d]
	at.taken--
	at.broken = broken
	close(at.freed)
	at.freed = make(chan struct{})
	if at.taken == 0 && !broken {
		delete(s.of, d)
	}
}

// publish writes the open version to every destination that lacks it and may be tried now, all at the same time, and then
// records in one transaction what came of each; if every destination shows the version, that transaction makes it the
// active one. busy tells that a destination had to be left out.
//
// A crash before the record leaves destinations that show the version without our knowing: the next run writes the same
// bytes again.
func (s *Service) publish(ctx context.Context, j jobs.Job, k Kind, c *credential, p plan) (busy bool, err error) {
	document, err := s.keyring.Open(seal.Data, additional(c.app, c.kind, p.version), c.open().sealed)
	if err != nil {
		// It is not made anew: the version may lie at a destination already. A person must look.
		return false, fmt.Errorf("open the sealed document of version %d of %s: %w", p.version, j.Key, err)
	}
	puts := make([]put, len(p.to))
	var group sync.WaitGroup
	for i, d := range p.to {
		puts[i] = put{app: c.app, kind: c.kind, key: c.app + "/" + k.Object(), to: d.Destination, version: p.version, body: document.Bytes()}
		group.Go(func() { puts[i].outcome = s.deliver(ctx, j, puts[i]) })
	}
	group.Wait()
	stopped := ctx.Err() // to be told to stop says nothing about a destination; what was put is recorded all the same
	var known, unsure []put
	for _, p := range puts {
		switch {
		case errors.Is(p.outcome, errBusy):
			busy = true
		case p.outcome == nil, stopped == nil:
			known = append(known, p)
		default:
			unsure = append(unsure, p)
		}
	}
	if err = s.recordPuts(context.WithoutCancel(ctx), j, k, c, known); errors.Is(err, jobs.ErrLost) || errors.Is(err, errStale) {
		// This node was late: see late.
		unsure = append(unsure, known...)
	}
	for _, p := range unsure {
		if !certain[p.code()] {
			err = errors.Join(err, s.late(p))
		}
	}
	return busy, errors.Join(err, stopped)
}

// put is one object on its way to one destination, and what came of it.
type put struct {
	app, kind, key string
	to             Destination
	version        int64
	body           []byte
	outcome        error
}

func (p put) code() string {
	if p.outcome == nil {
		return ""
	}
	code, _ := explain(p.outcome)
	return code
}

// deliver writes to one destination.
func (s *Service) deliver(ctx context.Context, j jobs.Job, p put) error {
	err := failpoint.Hit("rotation.beforePut")
	if err == nil {
		err = s.write(ctx, p)
	}
	if err == nil {
		err = failpoint.Hit("rotation.afterPut")
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, errBusy) {
		code, _ := explain(err)
		s.metrics.failed(p.to.Store, code)
		s.log.Warn("a destination did not take a new version", "job", j.Key, "version", p.version, "destination", p.to.String(), "code", code, "error", err)
	}
	return err
}

// recordPuts notes what came of the puts, and makes the version the active one when no destination lacks it. It is only
// right if nothing has happened to the credential since the puts began: otherwise another node may have found out that
// an older version was written over one of ours.
func (s *Service) recordPuts(ctx context.Context, j jobs.Job, k Kind, decided *credential, puts []put) error {
	if len(puts) == 0 {
		return nil
	}
	if err := failpoint.Hit("rotation.beforeRecord"); err != nil {
		return err
	}
	err := s.fenced(ctx, j, k, func(tx db.WriteTx, c *credential) error {
		open := c.open()
		if !c.live || open == nil || open.number != puts[0].version || c.epoch != decided.epoch {
			return errStale
		}
		for _, p := range puts {
			if err := s.recordPut(ctx, tx, c, p); err != nil {
				return err
			}
		}
		if next, _ := deliveries(c, open, tx.Now()); next.do == stepCommit {
			return s.commit(ctx, tx, k, c, next)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record what was put: %w", err)
	}
	return failpoint.Hit("rotation.afterRecord")
}

// recordPut notes what came of one put, in the row and in c.
func (s *Service) recordPut(ctx context.Context, tx db.WriteTx, c *credential, p put) error {
	at := slices.IndexFunc(c.deliveries, func(d delivery) bool { return d.Destination == p.to })
	if at < 0 {
		return nil // it was taken away meanwhile
	}
	d := &c.deliveries[at]
	if d.version == p.version {
		return nil // put twice and recorded once
	}
	if p.outcome == nil {
		d.version = p.version
		err := expect(tx.Exec(ctx, `UPDATE rotation_deliveries SET version = $5, delivered_at = $6, failures = 0, failing_since = 0,
			error_code = '', error = '', next_try = 0
			WHERE application = $1 AND kind = $2 AND store = $3 AND bucket = $4 AND EXISTS (SELECT 1 FROM rotation_versions
				WHERE application = $1 AND kind = $2 AND version = $5 AND state = 'prepared')`,
			p.app, p.kind, p.to.Store, p.to.Bucket, p.version, db.Micros(tx.Now())))
		if err != nil {
			return err
		}
		return s.record(ctx, tx, "credential.deliver", c, p.version, map[string]any{"destination": p.to.String()})
	}
	since := d.since
	if since.IsZero() {
		since = tx.Now()
	}
	d.failures++
	d.nextTry = tx.Now().Add(s.backoff(d.failures))
	code, text := explain(p.outcome)
	return expect(tx.Exec(ctx, `UPDATE rotation_deliveries SET failures = $5, failing_since = $6, error_code = $7, error = $8, next_try = $9
		WHERE application = $1 AND kind = $2 AND store = $3 AND bucket = $4`, p.app, p.kind, p.to.Store, p.to.Bucket,
		d.failures, db.Micros(since), code, text, db.Micros(d.nextTry)))
}

// certain are the failures after which the object was surely not stored.
var certain = map[string]bool{"forbidden": true, "no_bucket": true, "refused": true}

// write puts the object. It returns at the deadline even if the store does not; then the slot stays taken until the
// store lets go, and what it did in the meantime is looked into.
func (s *Service) write(ctx context.Context, p put) error {
	if !s.slots.take(ctx, p.to, slotPatience) {
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
