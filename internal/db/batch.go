package db

import (
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

// waitingPerBatch bounds how many items wait, in batches. Who comes later is told to come back: memory is finite.
const waitingPerBatch = 32

// mostGathering bounds the wait for those who are expected, on whatever disk.
const mostGathering = 2 * time.Millisecond

// Batch shares one durable commit among writers that come at the same time. A lone writer does not wait: while one batch
// commits the next one gathers, and only after a batch that many shared is there a short wait for them to come back.
//
// What it guards: Do returns nil only after the commit that holds its item, and an item that cannot be written fails
// alone, because a batch that fails is halved until the guilty item is found.
type Batch[T any] struct {
	d     *DB
	limit int
	write func(ctx context.Context, tx WriteTx, items []T) error
	open  func(items []T) *Opening

	mu      sync.Mutex
	waiting []*parcel[T] // owned by mu
	crowd   *crowd       // who the next batch waits for, nil if for nobody; owned by mu
	running bool         // somebody writes; owned by mu
	closed  bool         // owned by mu
	idle    sync.Cond    // on mu: running became false
}

// crowd is a number of writers, and a channel that is closed when so many are there.
type crowd struct {
	size  int
	there chan struct{}
}

type parcel[T any] struct {
	ctx  context.Context
	item T
	done chan error // one answer, buffered
}

// NewBatch makes a Batch whose transactions hold at most limit items. write may run several times for the same items.
func NewBatch[T any](d *DB, limit int, write func(ctx context.Context, tx WriteTx, items []T) error) *Batch[T] {
	b := &Batch[T]{d: d, limit: max(1, limit), write: write}
	b.idle.L = &b.mu
	return b
}

// Opening is the question that a batch asks first. A server on the wire answers it in the exchange that begins the
// transaction, which saves one.
type Opening struct {
	Query string
	Args  []any
	Row   func(row Row) error // gets each row; what it scans is its own
}

// readable is a list of rows, whoever's.
type readable interface {
	Row
	Next() bool
	Err() error
}

func (o *Opening) read(rows readable) error {
	for rows.Next() {
		if err := o.Row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Open has open say what to ask first for the items that write gets next; nil asks nothing. It is called anew for each
// attempt and each connection, before write and in turn with it, so the two may share what they know. Call Open before Do.
func (b *Batch[T]) Open(open func(items []T) *Opening) { b.open = open }

// Do writes the item and returns after the durable commit. If ctx ends while the item is still waiting it is withdrawn;
// once its transaction runs, Do stays for the outcome, which takes ten seconds at most.
func (b *Batch[T]) Do(ctx context.Context, item T) error {
	if b.d.nested() {
		return ErrNested
	}
	p := &parcel[T]{ctx: ctx, item: item, done: make(chan error, 1)}
	if err := b.enqueue(p); err != nil {
		return err
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		if b.withdraw(p) {
			return ctx.Err()
		}
		return <-p.done
	}
}

// Close refuses further items and returns when the waiting ones are written.
func (b *Batch[T]) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for b.running {
		b.idle.Wait()
	}
}

func (b *Batch[T]) enqueue(p *parcel[T]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return unavailable(errors.New("batch is closed"))
	case len(b.waiting) >= waitingPerBatch*b.limit:
		return busy(errors.New("too many writes are waiting"))
	}
	b.waiting = append(b.waiting, p)
	if b.crowd != nil && len(b.waiting) >= b.crowd.size {
		close(b.crowd.there)
		b.crowd = nil
	}
	if !b.running {
		b.running = true
		go b.run()
	}
	return nil
}

func (b *Batch[T]) withdraw(p *parcel[T]) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, p)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	return true
}

func (b *Batch[T]) run() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), b.limit)
		if n == 0 {
			b.waiting, b.running = nil, false
			b.idle.Broadcast()
			b.mu.Unlock()
			return
		}
		taken := slices.Clone(b.waiting[:n])
		b.waiting = slices.Delete(b.waiting, 0, n)
		b.mu.Unlock()
		stopwatch := clock.Stopwatch()
		b.settle(taken)
		b.gather(n, min(2*stopwatch(), mostGathering))
	}
}

// gather waits until there are as many as have just been here: those who were written, who may have more to write, and
// those who wait. Clients that each send one request after another would else fall into two groups that take turns, and
// every commit would serve half of them.
func (b *Batch[T]) gather(written int, limit time.Duration) {
	b.mu.Lock()
	size := min(b.limit, written+len(b.waiting))
	if size < 2 || len(b.waiting) >= size || b.closed {
		b.mu.Unlock()
		return
	}
	c := &crowd{size: size, there: make(chan struct{})}
	b.crowd = c
	b.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.there:
	case <-timer.C:
		b.mu.Lock()
		b.crowd = nil
		b.mu.Unlock()
	}
}

// settle writes the parcels and answers each.
func (b *Batch[T]) settle(parcels []*parcel[T]) {
	err := b.try(parcels)
	// When the database is the trouble, smaller pieces fare no better; when the outcome is unknown, they may be there.
	if err != nil && len(parcels) > 1 && !fault.Is(err, fault.Unavailable) {
		half := len(parcels) / 2
		b.settle(parcels[:half])
		b.settle(parcels[half:])
		return
	}
	for _, p := range parcels {
		p.done <- err
	}
}

func (b *Batch[T]) try(parcels []*parcel[T]) (err error) {
	defer func() {
		if p := recover(); p != nil { // this goroutine is nobody's request: a panic would end the process
			err = fmt.Errorf("batched write panicked: %v\n%s", p, debug.Stack())
		}
	}()
	items := make([]T, len(parcels))
	for i, p := range parcels {
		items[i] = p.item
	}
	ctx := context.WithValue(context.WithoutCancel(parcels[0].ctx), inBatch{}, true)
	var open func() *Opening
	if b.open != nil {
		open = func() *Opening { return b.open(items) }
	}
	return b.d.runWrite(ctx, open, func(tx WriteTx) error { return b.write(ctx, tx, items) })
}
