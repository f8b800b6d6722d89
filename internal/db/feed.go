package db

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/id"
)

const (
	// every is how often a node asks for changes: four times in the second that caches may be stale.
	every = 250 * time.Millisecond
	// overlap is how far back each question reaches. A change carries the time at which its transaction began and can be
	// seen only when that transaction has committed, which is at most defaultLimit later, plus what one statement may take; so a
	// poll that looks back further than that misses none, and needs no counter that all transactions would queue for.
	overlap = 15 * time.Second
	// deepOverlap and deepEvery are for the commits that break this rule: a server that waits for its synchronous standby,
	// or whose disk hangs, is still committing long after the client has given up, and no timeout of it ends that. Such a
	// change is heard of within deepEvery of becoming visible, if it is not older than deepOverlap.
	deepOverlap = 10 * time.Minute
	deepEvery   = 5 * time.Second
	// keepChanges and keepMarks are how long Sweep leaves rows alone: longer than anybody looks for them.
	keepChanges = 2 * deepOverlap
	keepMarks   = time.Hour
	sweepBatch  = 1000
)

// feed is the node's ear: what it has heard, and when it last listened.
type feed struct {
	mu          sync.Mutex
	subscribers map[string][]func(keys []string) // by topic; owned by mu
	seen        map[string]int64                 // ids of changes inside the deep overlap, with their time; owned by mu
	since       time.Time                        // the database's clock at the last poll; only the poller uses it
	deep        func() time.Duration             // stopwatch since the last poll that looked far back; only the poller uses it
	started     bool                             // owned by mu

	heard atomic.Pointer[func() time.Duration] // stopwatch since the start of the last poll that succeeded
	ring  chan struct{}                        // a hint that there is something to hear
	told  chan struct{}                        // this node has changed something
}

func newFeed() feed {
	return feed{
		subscribers: map[string][]func([]string){},
		seen:        map[string]int64{},
		ring:        make(chan struct{}, 1),
		told:        make(chan struct{}, 1),
	}
}

// Subscribe runs f whenever what the topic holds under some keys may have changed; keys is nil when everything may have,
// such as after the node was cut off from the database. Subscribe before StartFeed. f is called from several goroutines
// at once and must be quick. Changes of this node arrive before its Write returns.
func (d *DB) Subscribe(topic string, f func(keys []string)) {
	d.feed.mu.Lock()
	defer d.feed.mu.Unlock()
	d.feed.subscribers[topic] = append(d.feed.subscribers[topic], f)
}

// FeedLag is how old this node's knowledge of other nodes' changes is: the time since the last poll that succeeded began.
// It is measured on the monotonic clock, because a wall clock that is set back must not make old knowledge look young.
func (d *DB) FeedLag() time.Duration {
	if since := d.feed.heard.Load(); since != nil {
		return (*since)()
	}
	return math.MaxInt64
}

// StartFeed polls once, so that its caller knows that it works, and then in the background until stop is called. On
// PostgreSQL it also listens for notifications, which only make the next poll come earlier.
func (d *DB) StartFeed(ctx context.Context) (stop func(), err error) {
	d.feed.mu.Lock()
	again := d.feed.started
	d.feed.started = true
	d.feed.mu.Unlock()
	if again {
		return nil, fmt.Errorf("start change feed: it runs already")
	}
	if err := d.poll(ctx); err != nil {
		d.stopped()
		return nil, fmt.Errorf("start change feed: %w", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { d.pollUntil(ctx) })
	if b, ok := d.backend.(*postgresBackend); ok {
		running.Go(func() { b.listen(ctx, d.log, d.feed.ring) })
		running.Go(func() { b.notify(ctx, d.feed.told) })
	}
	return sync.OnceFunc(func() {
		cancel()
		running.Wait()
		d.stopped()
	}), nil
}

func (d *DB) stopped() {
	d.feed.heard.Store(nil) // nobody may trust what is not listened to any more
	d.feed.mu.Lock()
	defer d.feed.mu.Unlock()
	d.feed.started = false
}

func (d *DB) pollUntil(ctx context.Context) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-d.feed.ring:
		}
		err := d.pollSoon(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			d.log.WarnContext(ctx, "change feed cannot be read; caches ask the database until it can", "err", err)
		}
		if err == nil && failing {
			d.log.InfoContext(ctx, "change feed can be read again")
		}
		failing = err != nil
	}
}

// pollSoon is a poll that gives up in time for the next one.
func (d *DB) pollSoon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return d.poll(ctx)
}

// poll reads the changes that this node has not seen and tells the subscribers.
func (d *DB) poll(ctx context.Context) error {
	began := clock.Stopwatch()
	// Rows stay for keepChanges, so the gap could be bridged by looking further back. After so long it is simpler to
	// believe nothing, and right even if rows were swept or the database was put back from a backup.
	lost := d.FeedLag() > overlap
	back := overlap
	if lost || d.feed.deep == nil || d.feed.deep() > deepEvery {
		back = deepOverlap
	}
	var now time.Time
	var fresh []change
	var stamps []int64
	err := d.read(ctx, loading, func(tx ReadTx) error {
		now = tx.(readTx).t.server
		since := now
		if d.feed.since.Before(now) && !d.feed.since.IsZero() {
			since = d.feed.since // the last poll may be long ago; and the clock may have been set back since
		}
		all, times, err := recent(ctx, tx, since.Add(-back))
		fresh, stamps = d.unseen(all, times)
		return err
	})
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	if lost {
		d.deliverAll()
	} else {
		d.deliver(fresh)
	}
	d.remember(fresh, stamps)
	d.feed.since = now
	if back == deepOverlap {
		d.feed.deep = began
		d.forget(Micros(now.Add(-deepOverlap)))
	}
	d.feed.heard.Store(&began) // after the delivery: who sees the feed fresh sees its news, too
	return nil
}

// recent selects the changes since then, and their times.
func recent(ctx context.Context, tx ReadTx, since time.Time) (all []change, stamps []int64, err error) {
	rows, err := tx.Query(ctx, "SELECT id, at, topic, item FROM changes WHERE id > $1", id.New(id.Change, since))
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c change
		var at int64
		if err := rows.Scan(&c.id, &at, &c.topic, &c.item); err != nil {
			return nil, nil, err
		}
		all, stamps = append(all, c), append(stamps, at)
	}
	return all, stamps, rows.Err()
}

// unseen leaves out what was delivered already.
func (d *DB) unseen(all []change, times []int64) (fresh []change, stamps []int64) {
	d.feed.mu.Lock()
	defer d.feed.mu.Unlock()
	for i, c := range all {
		if _, known := d.feed.seen[c.id]; !known {
			fresh, stamps = append(fresh, c), append(stamps, times[i])
		}
	}
	return fresh, stamps
}

// remember notes what was delivered.
func (d *DB) remember(delivered []change, stamps []int64) {
	d.feed.mu.Lock()
	defer d.feed.mu.Unlock()
	for i, c := range delivered {
		d.feed.seen[c.id] = stamps[i]
	}
}

// forget drops what no later poll can return.
func (d *DB) forget(before int64) {
	d.feed.mu.Lock()
	defer d.feed.mu.Unlock()
	for id, at := range d.feed.seen {
		if at <= before {
			delete(d.feed.seen, id)
		}
	}
}

// deliver tells this node's subscribers.
func (d *DB) deliver(changes []change) {
	if len(changes) == 0 {
		return
	}
	byTopic := map[string][]string{}
	for _, c := range changes {
		byTopic[c.topic] = append(byTopic[c.topic], c.item)
	}
	for topic, keys := range byTopic {
		d.feed.mu.Lock()
		subscribers := d.feed.subscribers[topic]
		d.feed.mu.Unlock()
		for _, f := range subscribers {
			f(keys)
		}
	}
}

func (d *DB) deliverAll() {
	d.feed.mu.Lock()
	var all []func([]string)
	for _, subscribers := range d.feed.subscribers {
		all = append(all, subscribers...)
	}
	d.feed.mu.Unlock()
	for _, f := range all {
		f(nil)
	}
}

// deliverOwn tells this node's subscribers at once of what this node has just committed, and rings the other nodes. When
// the outcome is unknown, the poll tells them once more if the commit becomes visible: what they read again now may be
// from before it.
func (d *DB) deliverOwn(t *transaction, certain bool) {
	if len(t.changed) == 0 {
		return
	}
	d.deliver(t.changed)
	d.feed.mu.Lock()
	if certain && d.feed.started { // else nobody would ever forget them
		for _, c := range t.changed {
			d.feed.seen[c.id] = Micros(t.now)
		}
	}
	d.feed.mu.Unlock()
	select {
	case d.feed.told <- struct{}{}:
	default: // a ring is under way
	}
}

// Sweep deletes changes and marks that nobody looks for any more, in small transactions. Any node may run it at any time.
func (d *DB) Sweep(ctx context.Context) error {
	for _, job := range []struct {
		statement string
		prefix    string
		keep      time.Duration
	}{
		{"DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE id < $1 ORDER BY id LIMIT $2)", id.Change, keepChanges},
		{"DELETE FROM tx_marks WHERE id IN (SELECT id FROM tx_marks WHERE id < $1 ORDER BY id LIMIT $2)", id.Transaction, keepMarks},
	} {
		for n := int64(sweepBatch); n == sweepBatch; {
			err := d.Write(ctx, func(tx WriteTx) (err error) {
				n, err = tx.Exec(ctx, job.statement, id.New(job.prefix, tx.Now().Add(-job.keep)), sweepBatch)
				return err
			})
			if err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
		}
	}
	return nil
}
