package db

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
)

const (
	// staleAfter is how old an answer from memory may be while all is well.
	staleAfter = time.Second
	// uselessAfter is how old an answer may be while the database cannot be reached.
	uselessAfter = 10 * time.Second
	// oldAfter is how old an answer may be although the feed took it not away. It bounds the harm of news that never came,
	// such as that of a commit which hung in the server for longer than the feed looks back.
	oldAfter = 10 * time.Minute
	// loadLimit bounds one load, loadsAtOnce how many of one cache run at the same time.
	loadLimit   = 5 * time.Second
	loadsAtOnce = 4
	// keysWaiting bounds how many keys are being loaded or wait for it. A load goes on when its caller has gone, so while
	// the database hangs, callers that come and go would pile up without end.
	keysWaiting = 4096
)

// Cache keeps values that are derived from the database in memory, at most a second behind it.
//
// What it guards: a value that was read before a change is never kept after this node heard of the change. WriteTx.Changed
// with the cache's topic is how a writer tells; a writer that forgets it makes caches serve old values without end.
// Errors are not kept; a cache that must remember that something does not exist makes that a value.
type Cache[V any] struct {
	d        *DB
	capacity int
	load     func(ctx context.Context, tx ReadTx, key string) (V, error)
	slots    chan struct{} // a load holds one while it reads

	mu      sync.Mutex
	entries map[string]*list.Element // of *entry[V]; owned by mu
	recent  *list.List               // most recently used first; owned by mu
	lines   map[string]*line[V]      // keys that are being loaded; owned by mu
}

type entry[V any] struct {
	key   string
	value V
	age   func() time.Duration // since just before it was read
}

// line is the queue of loads of one key: one that runs, and at most one that waits for it to end.
type line[V any] struct {
	running, next *flight[V]
}

// flight is one load and those who wait for it. Its fields but done are owned by the cache's mu until done is closed.
type flight[V any] struct {
	reading bool // it has begun to read: too late for a Fresh to join
	dirty   bool // a change came after it began: its value is not kept
	done    chan struct{}
	value   V
	err     error
}

// NewCache makes a cache of at most capacity values. load reads one; it gets a transaction and must not use another,
// nor another cache.
func NewCache[V any](d *DB, topic string, capacity int, load func(ctx context.Context, tx ReadTx, key string) (V, error)) *Cache[V] {
	c := &Cache[V]{
		d:        d,
		capacity: max(1, capacity),
		load:     load,
		slots:    make(chan struct{}, loadsAtOnce),
		entries:  map[string]*list.Element{},
		recent:   list.New(),
		lines:    map[string]*line[V]{},
	}
	d.Subscribe(topic, c.forget)
	return c
}

// Get answers from memory if what is there is known to be at most a second old, and loads otherwise. While the database
// cannot be reached it answers with what was true at most ten seconds ago.
func (c *Cache[V]) Get(ctx context.Context, key string) (V, error) {
	value, ok := c.known(key, staleAfter)
	if ok {
		return value, nil
	}
	value, err := c.wait(ctx, c.join(ctx, key, false))
	if fault.Is(err, fault.Unavailable) {
		if old, ok := c.known(key, uselessAfter); ok {
			return old, nil
		}
	}
	return value, err
}

// Fresh answers with what the database said after this call began. It is for the moment before somebody is refused: what
// refuses him in memory may be a second old.
func (c *Cache[V]) Fresh(ctx context.Context, key string) (V, error) {
	return c.wait(ctx, c.join(ctx, key, true))
}

// known is the value in memory if it is not older than that. A value is as old as the later of its load and of the last
// poll that did not take it away.
func (c *Cache[V]) known(key string, limit time.Duration) (value V, ok bool) {
	lag := c.d.FeedLag()
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.entries[key]
	if !ok {
		return value, false
	}
	e := element.Value.(*entry[V])
	age := e.age()
	if lag > limit && age > limit || limit == staleAfter && age > oldAfter {
		return value, false
	}
	c.recent.MoveToFront(element)
	return e.value, true
}

// join finds the load to wait for, or starts it. fresh: it must not have begun to read.
func (c *Cache[V]) join(ctx context.Context, key string, fresh bool) *flight[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lines[key]
	if l == nil {
		if len(c.lines) >= keysWaiting {
			f := newFlight[V]()
			f.err = busy(errors.New("too many values wait to be read"))
			close(f.done)
			return f
		}
		l = &line[V]{running: newFlight[V]()}
		c.lines[key] = l
		go c.fly(context.WithoutCancel(ctx), key, l)
		return l.running
	}
	if r := l.running; !r.dirty && !(fresh && r.reading) {
		return r
	}
	if l.next == nil {
		l.next = newFlight[V]()
	}
	return l.next
}

func newFlight[V any]() *flight[V] { return &flight[V]{done: make(chan struct{})} }

func (c *Cache[V]) wait(ctx context.Context, f *flight[V]) (value V, err error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// fly runs the loads of one key, one after the other, until nobody waits for another.
func (c *Cache[V]) fly(ctx context.Context, key string, l *line[V]) {
	for f := l.running; f != nil; {
		c.slots <- struct{}{}
		c.mu.Lock()
		f.reading = true
		c.mu.Unlock()
		age := clock.Stopwatch()
		value, err := c.read(ctx, key)
		<-c.slots

		c.mu.Lock()
		f.value, f.err = value, err
		switch {
		case err == nil && !f.dirty:
			c.keep(&entry[V]{key, value, age})
		case err != nil && !fault.Is(err, fault.Unavailable):
			c.drop(key) // the database did answer, and not with what memory holds
		}
		close(f.done)
		f = l.next
		l.running, l.next = f, nil
		if f == nil {
			delete(c.lines, key)
		}
		c.mu.Unlock()
	}
}

func (c *Cache[V]) read(ctx context.Context, key string) (value V, err error) {
	defer func() {
		if p := recover(); p != nil { // it has its own goroutine, where a panic would end the process
			err = fmt.Errorf("load of a cached value panicked: %v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, loadLimit)
	defer cancel()
	err = c.d.read(ctx, loading, func(tx ReadTx) (err error) {
		value, err = c.load(ctx, tx, key)
		return err
	})
	if err != nil && ctx.Err() != nil {
		err = unavailable(err) // our own limit: the database does not answer
	}
	return value, err
}

// keep stores a value and makes room for it. The caller holds mu.
func (c *Cache[V]) keep(e *entry[V]) {
	if element, ok := c.entries[e.key]; ok {
		element.Value = e
		c.recent.MoveToFront(element)
		return
	}
	c.entries[e.key] = c.recent.PushFront(e)
	if c.recent.Len() > c.capacity {
		c.drop(c.recent.Back().Value.(*entry[V]).key)
	}
}

// drop forgets a value. The caller holds mu.
func (c *Cache[V]) drop(key string) {
	if element, ok := c.entries[key]; ok {
		c.recent.Remove(element)
		delete(c.entries, key)
	}
}

// AllKeys is what a writer tells with WriteTx.Changed when it changed more than it wants to name: every cache of the topic
// forgets all that it holds.
const AllKeys = "*"

// forget drops what changed and spoils the loads that may have read it before.
func (c *Cache[V]) forget(keys []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if keys == nil || slices.Contains(keys, AllKeys) {
		clear(c.entries)
		c.recent.Init()
		for _, l := range c.lines {
			l.running.dirty = l.running.dirty || l.running.reading
		}
		return
	}
	for _, key := range keys {
		c.drop(key)
		if l := c.lines[key]; l != nil {
			l.running.dirty = l.running.dirty || l.running.reading
		}
	}
}
