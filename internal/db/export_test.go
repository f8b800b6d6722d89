package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"
)

// Waiting is how many items have not been taken into a transaction yet.
func Waiting[T any](b *Batch[T]) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// Idle is a Batch that writes nothing by itself.
func Idle[T any](limit int) *Batch[T] {
	return NewBatch[T](nil, limit, nil)
}

// Enqueue puts an item into an idle Batch.
func Enqueue[T any](b *Batch[T], item T) {
	b.mu.Lock()
	b.running = true // nobody is started to write it
	b.mu.Unlock()
	if err := b.enqueue(&parcel[T]{item: item}); err != nil {
		panic(err)
	}
}

// Gather waits for those who are expected after a batch of so many.
func Gather[T any](b *Batch[T], written int, limit time.Duration) { b.gather(written, limit) }

// Settle looks a mark up, as Write does after a lost COMMIT.
func Settle(d *DB, ctx context.Context, mark string) (committed bool, err error) {
	return d.settle(ctx, mark)
}

// Pause waits before an attempt.
func Pause(ctx context.Context, attempt int) error { return pause(ctx, attempt) }

// SetLimit shortens how long a transaction may take.
func SetLimit(d *DB, limit time.Duration) { d.limit = limit }

// Age makes the feed and a cached value as old as that.
func Age[V any](c *Cache[V], key string, age time.Duration) {
	old := func() time.Duration { return age }
	c.d.feed.heard.Store(&old)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[key].Value.(*entry[V]).age = old
}

// AgeValue makes a cached value as old as that, and leaves the feed alone.
func AgeValue[V any](c *Cache[V], key string, age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries[key].Value.(*entry[V]).age = func() time.Duration { return age }
}

// Loads is how many loads of the key are running or queued.
func Loads[V any](c *Cache[V], key string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch l := c.lines[key]; {
	case l == nil:
		return 0
	case l.next == nil:
		return 1
	default:
		return 2
	}
}

// Kept tells whether the connection of the writer holds the compiled text, and how many texts it holds. Only for SQLite.
func Kept(ctx context.Context, d *DB, query string) (kept bool, all int, err error) {
	conn, err := d.backend.conn(ctx, writing)
	if err != nil {
		return false, 0, err
	}
	defer conn.Close()
	err = conn.Raw(func(c any) error {
		k := c.(*keepingConn)
		k.mu.Lock()
		defer k.mu.Unlock()
		_, kept = k.kept[query]
		all = len(k.kept)
		return nil
	})
	return kept, all, err
}

// LoseOpening has the next connection die after it has told what the first question asked, and before that is over.
func LoseOpening(d *DB) { d.backend = &losing{backend: d.backend} }

type losing struct {
	backend
	lose, dead bool
}

func (b *losing) begin(ctx context.Context, conn *sql.Conn, l lane, first *Opening) (now time.Time, opened, err error) {
	now, opened, err = b.backend.begin(ctx, conn, l, first)
	if b.dead = !b.lose && first != nil && err == nil; b.dead {
		b.lose, err = true, driver.ErrBadConn
	}
	return now, opened, err
}

func (b *losing) lost(conn *sql.Conn) bool { return b.dead || b.backend.lost(conn) }
