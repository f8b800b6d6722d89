package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
)

const (
	// attempts bounds how often a function is run before the caller hears that the database is too busy.
	attempts = 8
	// defaultLimit bounds a whole Write, and each Read. It is shorter than the overlap of the feed (see feed.go), so that no
	// transaction can commit after the feed has stopped looking for it.
	defaultLimit = 10 * time.Second
	// maxDead bounds how many dead connections one transaction throws away; it is more than a pool holds by default.
	maxDead = 32
	// settling bounds the search for the outcome of a commit.
	settling = 5 * time.Second
)

// Read runs f on one consistent, committed state of the database. f runs once.
func (d *DB) Read(ctx context.Context, f func(tx ReadTx) error) error {
	return d.read(ctx, reading, f)
}

func (d *DB) read(ctx context.Context, l lane, f func(tx ReadTx) error) error {
	limited, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	t, err := d.begin(limited, l, d.limit, nil)
	if err != nil {
		return ownLimit(ctx, fmt.Errorf("begin: %w", translate(err)))
	}
	defer t.end()
	if err := f(readTx{t.transaction}); err != nil {
		_, err = t.blame(err)
		return err
	}
	t.over = true
	// Nothing depends on this COMMIT: what was read is read. An error only costs the connection.
	if err := d.backend.commit(context.WithoutCancel(ctx), t.conn, nil); err == nil {
		t.committed = true
	}
	return nil
}

// Write runs f in a serializable transaction and returns when its commit is durable. f may run several times, so it must
// have no effect but through its transaction; AfterCommit is for the rest. It must be quick: the whole of it, with all
// attempts, is cut off after ten seconds. Calling Write inside f is an error.
//
// A statement that failed has lost the transaction, also if f goes on and returns nil: use ON CONFLICT DO NOTHING and
// the number of affected rows where a conflict is expected.
//
// Errors: what f returned, translated; a fault of kind Unavailable when the database cannot be reached or is too busy
// (nothing was written); ErrUnknownOutcome.
func (d *DB) Write(ctx context.Context, f func(tx WriteTx) error) error {
	return d.runWrite(ctx, nil, f)
}

func (d *DB) runWrite(ctx context.Context, open func() *Opening, f func(tx WriteTx) error) error {
	if d.nested() {
		return ErrNested
	}
	limited, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	return ownLimit(ctx, d.attemptAll(limited, open, f))
}

// ownLimit names the end of our own patience, which is not the caller's.
func ownLimit(caller context.Context, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && caller.Err() == nil && !fault.Is(err, fault.Unavailable) {
		return busy(err)
	}
	return err
}

func (d *DB) attemptAll(ctx context.Context, open func() *Opening, f func(tx WriteTx) error) error {
	stopwatch := clock.Stopwatch()
	var last error
	for attempt := range attempts {
		if attempt > 0 {
			d.log.DebugContext(ctx, "transaction runs again", "attempt", attempt, "err", last)
			if err := pause(ctx, attempt); err != nil {
				return busy(errors.Join(err, last))
			}
		}
		left := d.limit - stopwatch()
		if left <= 0 {
			break
		}
		retry, err := d.attempt(ctx, left, open, f)
		if err == nil || !retry {
			return err
		}
		last = err
	}
	if class := classify(last); class == broken || class == disconnected {
		return unavailable(last)
	}
	return busy(last)
}

// attempt runs f once. retry is true if the transaction is certainly not in the database and may get there next time.
func (d *DB) attempt(ctx context.Context, left time.Duration, open func() *Opening, f func(tx WriteTx) error) (retry bool, err error) {
	t, err := d.begin(ctx, writing, left, open)
	if err != nil {
		return classify(err) == again || classify(err) == broken, fmt.Errorf("begin: %w", translate(err))
	}
	defer t.end()
	if t.failed != nil {
		return t.blame(t.failed)
	}
	if err := f(writeTx{readTx{t.transaction}}); err != nil {
		return t.blame(err)
	}
	t.over = true
	if t.failed != nil {
		return t.retry, fmt.Errorf("db: a statement failed and the function went on: %w", t.failed)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	mark := id.New(id.Transaction, t.now)
	// From here on the caller's patience does not count: to stop now would only make the outcome unknown.
	committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), left)
	defer cancel()
	err = d.backend.commit(committing, t.conn, t.records(mark))
	if err != nil {
		retry, err = d.failedCommit(ctx, t, mark, err)
	}
	if err != nil && !errors.Is(err, ErrUnknownOutcome) {
		return retry, err
	}
	t.committed = err == nil
	t.end() // hooks may write: give the connection back first
	d.deliverOwn(t.transaction, t.committed)
	if err != nil {
		return false, err
	}
	for _, hook := range t.hooks {
		hook()
	}
	return false, nil
}

// failedCommit finds out what an error of COMMIT means. A nil error means that it did happen.
func (d *DB) failedCommit(ctx context.Context, t *running, mark string, cause error) (retry bool, err error) {
	switch classify(cause) {
	case again:
		return true, translate(cause)
	case conflict, reference, readOnly:
		return false, translate(cause)
	case other:
		if refused(cause) {
			return false, translate(cause)
		}
	}
	if !t.wrote {
		return true, unavailable(cause)
	}
	t.end() // on SQLite the search needs the writer
	d.log.WarnContext(ctx, "connection lost during commit: looking the outcome up", "transaction", mark, "err", cause)
	committed, err := d.settle(context.WithoutCancel(ctx), mark)
	switch {
	case err != nil:
		d.log.ErrorContext(ctx, "outcome of a commit is unknown", "transaction", mark, "err", err)
		return false, unavailable(fmt.Errorf("%w: %w", ErrUnknownOutcome, errors.Join(cause, err)))
	case committed:
		return false, nil
	}
	return true, unavailable(cause)
}

// running is a transaction on a connection.
type running struct {
	*transaction
	d         *DB
	unwatch   func()
	committed bool
	ended     bool
}

// begin starts a transaction. After a failover a pool may be full of connections that are dead without knowing it; each is
// thrown away when it is met, and only the failure to make a new one counts.
func (d *DB) begin(ctx context.Context, l lane, left time.Duration, open func() *Opening) (*running, error) {
	for range maxDead {
		var first *Opening
		if open != nil { // for each connection: one that died may have told half of it
			first = open()
		}
		conn, err := d.backend.conn(ctx, l)
		if err != nil {
			return nil, err
		}
		unwatch := d.backend.watch(conn, left)
		server, opened, err := d.backend.begin(ctx, conn, l, first)
		if err == nil {
			t := d.started(ctx, conn, l, server, unwatch)
			if opened != nil {
				t.failed = t.note(opened)
			}
			return t, nil
		}
		unwatch()
		dead := d.backend.lost(conn)
		discard(conn)
		if !dead || ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, driver.ErrBadConn
}

// inBatch marks the context of a Batch's own transactions. The many that come to the Batch meanwhile need not ask whether
// they are inside of one: to find out costs as much as to sign a token.
type inBatch struct{}

func (d *DB) started(ctx context.Context, conn *sql.Conn, l lane, server time.Time, unwatch func()) *running {
	if l == writing && d.engine == SQLite && ctx.Value(inBatch{}) == nil {
		d.writing.Store(goroutine())
	}
	server = d.serverTime(server)
	t := &transaction{conn: conn, write: l == writing, wire: d.engine != SQLite, now: d.now(server), server: server}
	return &running{transaction: t, d: d, unwatch: unwatch}
}

// blame tells whether an error of the function is the database's doing, then names it and says whether another attempt may
// cure it. Rows hand out errors that the transaction never saw. Errors that are the function's own pass as they are, even
// those that look like a lost connection's, such as io.EOF.
func (r *running) blame(err error) (retry bool, named error) {
	if !fromDriver(err) && r.failed == nil && !r.d.backend.lost(r.conn) {
		return false, err
	}
	class := classify(err)
	return r.retry || class == again || class == broken, translate(err)
}

// end rolls back what is not committed and gives the connection back. It runs on every way out, panics included.
func (r *running) end() {
	if r.ended {
		return
	}
	r.ended, r.over = true, true
	if r.write && r.d.engine == SQLite {
		r.d.writing.Store(0)
	}
	if !r.committed {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := r.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			r.unwatch()
			discard(r.conn)
			return
		}
	}
	r.unwatch()
	r.conn.Close() // back to the pool; an error means that it is closed already
}

// discard closes a connection whose state nobody knows.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // this error is the way to close it
	conn.Close()
}

// settle finds out whether the transaction with this mark is in the database, and makes sure that the answer stays true:
// it writes the mark itself, as a fence. If the old connection's COMMIT is still under way in the server, the fence waits
// for it; if it arrives later, it meets the fence and fails.
func (d *DB) settle(ctx context.Context, mark string) (committed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, min(settling, d.limit))
	defer cancel()
	for attempt := 1; ; attempt++ {
		committed, err = d.fence(ctx, mark)
		if err == nil {
			return committed, nil
		}
		if pauseErr := pause(ctx, attempt); pauseErr != nil {
			return false, err
		}
	}
}

func (d *DB) fence(ctx context.Context, mark string) (committed bool, err error) {
	conn, release, err := d.backend.fresh(ctx)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, release()) }()
	at := Micros(d.clock.Now())
	// Each statement commits by itself. A repetition after a lost answer finds its own fence: the same answer.
	_, err = conn.ExecContext(ctx, "INSERT INTO tx_marks (id, at, fence) VALUES ($1, $2, TRUE) ON CONFLICT (id) DO NOTHING", mark, at)
	if err != nil {
		return false, err
	}
	var fenced bool
	if err = conn.QueryRowContext(ctx, "SELECT fence FROM tx_marks WHERE id = $1", mark).Scan(&fenced); err != nil {
		return false, err
	}
	return !fenced, nil
}

// pause waits a little longer each time, by chance, so that two that collided do not collide again.
func pause(ctx context.Context, attempt int) error {
	most := min(4*time.Millisecond<<min(attempt, 10), 300*time.Millisecond) // the search for a commit makes dozens of attempts
	timer := time.NewTimer(time.Millisecond + rand.N(most))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// nested tells whether this goroutine is inside a Write already, other than that of a Batch. Only SQLite can tell, and
// every test runs there, too.
func (d *DB) nested() bool {
	if d.engine != SQLite {
		return false
	}
	holder := d.writing.Load()
	return holder != 0 && holder == goroutine()
}

// goroutine is the number of this goroutine. f is not given a context that could carry the fact that it runs inside a
// Write, so this is how a nested Write is told from one that merely waits its turn.
func goroutine() uint64 {
	var buf [32]byte
	text := strings.TrimPrefix(string(buf[:runtime.Stack(buf[:], false)]), "goroutine ")
	digits, _, _ := strings.Cut(text, " ")
	n, _ := strconv.ParseUint(digits, 10, 64) // 0, the number of no goroutine, if the text ever changes
	return n
}
