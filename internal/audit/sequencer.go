package audit

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/id"
)

// ErrBroken is in the chain of the sequencer's error when the stored log contradicts what was signed. It then adds and
// signs nothing, since a signature over a rewritten log would vouch for it. No event is lost: they wait in the table.
var ErrBroken = errors.New("audit: the log contradicts what was signed")

// errLost: another sequencer has taken over. What this one was about to do did not happen.
var errLost = errors.New("audit: another sequencer has taken over")

// Keys sign checkpoints, and verify those of earlier terms. *seal.Keyring is one.
type Keys interface {
	AuditKey() ed25519.PrivateKey
	AuditPublicKeys() []ed25519.PublicKey
}

// SequencerOptions configure a Sequencer. Only Origin is needed.
type SequencerOptions struct {
	Origin   string        // first line of each checkpoint: the installation's address or id, without spaces
	Node     string        // names this process; empty: a new id
	Interval time.Duration // how long events are collected before they are placed; 0: 250 ms
	Poll     time.Duration // how often to look for other nodes' events; 0: 1 s
	Lease    time.Duration // how long another node waits for one that has died; 0: 10 s
	Sign     time.Duration // checkpoints are at least so far apart; 0: 1 s
	Batch    int           // events placed in one transaction; 0: 512
	Logger   *slog.Logger  // nil: no log

	// Trusted is the newest checkpoint that OnCheckpoint has kept, if any: a log that contradicts it is not extended.
	Trusted string
	// OnCheckpoint is told of each checkpoint after its commit, so that it can be kept in a second place. It is called
	// by one goroutine at a time, with rising sizes. Its error is logged and changes nothing.
	OnCheckpoint func(ctx context.Context, c Checkpoint) error
}

// Sequencer gives committed events their place in the log. Any number may run, on any number of nodes: one of them holds
// a lease and works, and each of its transactions compares and sets the lease's epoch and the log's size, so that one
// that lost the lease without knowing it changes nothing. When nothing happens it writes nothing.
type Sequencer struct {
	d    *db.DB
	keys Keys
	o    SequencerOptions

	mu      sync.Mutex // one step at a time; it owns what follows
	epoch   int64      // of our lease; 0: none
	tree    tree       // of the log, while we hold the lease
	trusted Checkpoint // the largest that we know to have been signed; size 0: none
	told    int64      // size of the checkpoint that OnCheckpoint was last told of
	lastAt  time.Time  // when the last one was made, by the database's clock

	statusMu sync.Mutex
	status   Status // owned by statusMu
}

// Status is what a Sequencer last saw.
type Status struct {
	Sequenced int64         // events that this one has placed
	Size      int64         // records in the log
	Lag       time.Duration // age of the oldest event without a place
	Broken    bool          // see ErrBroken
}

// NewSequencer makes a Sequencer; Run starts it.
func NewSequencer(d *db.DB, keys Keys, o SequencerOptions) (*Sequencer, error) {
	if err := checkOrigin(o.Origin); err != nil {
		return nil, err
	}
	if o.Node == "" {
		o.Node = id.New(id.Node, clock.System.Now())
	}
	if o.Batch <= 0 {
		o.Batch = 512
	}
	for _, v := range []struct {
		d   *time.Duration
		def time.Duration
	}{{&o.Interval, 250 * time.Millisecond}, {&o.Poll, time.Second}, {&o.Lease, 10 * time.Second}, {&o.Sign, time.Second}} {
		if *v.d <= 0 {
			*v.d = v.def
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnCheckpoint == nil {
		o.OnCheckpoint = func(context.Context, Checkpoint) error { return nil }
	}
	s := &Sequencer{d: d, keys: keys, o: o}
	if o.Trusted != "" {
		c, err := ParseCheckpoint(o.Trusted, keys.AuditPublicKeys())
		if err != nil {
			return nil, fmt.Errorf("the trusted checkpoint: %w", err)
		}
		s.trusted, s.told = c, c.Size
	}
	return s, nil
}

// Status tells what it last saw.
func (s *Sequencer) Status() Status {
	s.statusMu.Lock()
	defer s.statusMu.Unlock()
	return s.status
}

func (s *Sequencer) note(f func(*Status)) {
	s.statusMu.Lock()
	defer s.statusMu.Unlock()
	f(&s.status)
}

// Run works until ctx ends; then it places and signs what waits, gives the lease back and returns nil. Trouble is logged
// and tried again.
func (s *Sequencer) Run(ctx context.Context) error {
	ear, stop := bell.listen()
	defer stop()
	for ctx.Err() == nil {
		sleep, err := s.round(ctx)
		if err != nil && ctx.Err() == nil {
			sleep = 2 * s.o.Poll
			if errors.Is(err, ErrBroken) {
				sleep = 10 * s.o.Poll
			}
			s.o.Logger.ErrorContext(ctx, "audit events could not be placed in the log; they wait", "err", err)
		}
		if rang := wait(ctx, sleep, ear); rang && err == nil {
			wait(ctx, s.o.Interval, nil) // collect
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		s.o.Logger.WarnContext(ctx, "audit events could not be placed before the end; the next start does it", "err", err)
	}
	s.release(ctx)
	return nil
}

// wait waits for d, the end of ctx, or the bell, and tells whether it was the bell.
func wait(ctx context.Context, d time.Duration, ear <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-ear:
		return true
	}
	return false
}

// round works until nothing waits, and tells when to look again.
func (s *Sequencer) round(ctx context.Context) (sleep time.Duration, err error) {
	for {
		next, err := s.step(ctx, false)
		if errors.Is(err, errLost) {
			next, err = s.o.Interval, nil
		}
		if err != nil || next > 0 {
			return next, err
		}
	}
}

// Flush places all that waits now, and signs. If another sequencer holds the lease it leaves the work to that one.
func (s *Sequencer) Flush(ctx context.Context) error {
	for {
		next, err := s.step(ctx, true)
		if err != nil && !errors.Is(err, errLost) {
			return err
		}
		if next > 0 {
			return nil
		}
	}
}

// view is what a step finds.
type view struct {
	now    time.Time
	holder string
	epoch  int64
	until  time.Time
	size   int64 // of the log
	signed int64 // size of the newest checkpoint
	events []Stored
}

// look reads what waits. It is a transaction of its own that only reads, so that the range over the waiting events takes
// part in no serializable conflict with those who record.
func (s *Sequencer) look(ctx context.Context) (v view, err error) {
	err = s.d.Read(ctx, func(tx db.ReadTx) error {
		v = view{now: tx.Now()}
		var until int64
		err := tx.QueryRow(ctx, `SELECT holder, epoch, until, size, (SELECT COALESCE(MAX(size), 0) FROM audit_checkpoints)
			FROM audit_sequencer WHERE id = 1`).Scan(&v.holder, &v.epoch, &until, &v.size, &v.signed)
		if errors.Is(err, db.ErrNoRows) {
			return fmt.Errorf("%w: the sequencer's row is gone", ErrBroken)
		}
		if err != nil {
			return err
		}
		v.until = db.Time(until)
		rows, err := tx.Query(ctx, `SELECT `+columns+` FROM audit_events WHERE NOT placed ORDER BY at, id LIMIT $1`, s.o.Batch)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Stored
			var at int64
			if err := rows.Scan(e.fields(&at)...); err != nil {
				return err
			}
			e.At = db.Time(at)
			v.events = append(v.events, e)
		}
		return rows.Err()
	})
	return v, err
}

// step does one batch and tells how long to wait before the next; 0: there may be more at once. A crash after any line
// leaves a state from which the next step of any sequencer goes on: events without a place, or records without a
// checkpoint.
func (s *Sequencer) step(ctx context.Context, flush bool) (next time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		if err != nil {
			s.epoch = 0 // whatever we know may be old
		}
	}()
	v, err := s.look(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for audit events: %w", err)
	}
	s.note(func(st *Status) {
		st.Size, st.Lag = v.size, 0
		if len(v.events) > 0 {
			st.Lag = max(0, v.now.Sub(v.events[0].At))
		}
	})
	if len(v.events) == 0 && v.size == v.signed {
		return s.o.Poll, nil
	}
	if s.epoch == 0 || s.epoch != v.epoch || s.tree.size != v.size {
		if v.holder != s.o.Node && v.now.Before(v.until) {
			return s.o.Poll, nil // the holder does it
		}
		if err := s.acquire(ctx, v); err != nil {
			return 0, err
		}
	}
	if len(v.events) > 0 {
		if err := s.place(ctx, v.events); err != nil {
			return 0, err
		}
	}
	more := len(v.events) == s.o.Batch
	if s.tree.size == s.trusted.Size {
		return orZero(s.o.Poll, more), nil
	}
	if due := s.lastAt.Add(s.o.Sign).Sub(v.now); due > 0 && due <= s.o.Sign && !flush {
		return orZero(due, more), nil
	}
	if err := s.sign(ctx); err != nil {
		return 0, err
	}
	return orZero(s.o.Poll, more), nil
}

func orZero(d time.Duration, zero bool) time.Duration {
	if zero {
		return 0
	}
	return max(d, time.Millisecond)
}

// acquire takes the lease that v shows as free, and reads the log's edge. Before it agrees to extend the log it compares
// it with the newest stored checkpoint and with those that this process signed or was told to trust.
func (s *Sequencer) acquire(ctx context.Context, v view) error {
	var t tree
	var newest Checkpoint
	err := s.d.Write(ctx, func(tx db.WriteTx) error {
		rows, err := tx.Exec(ctx, `UPDATE audit_sequencer SET holder = $1, epoch = epoch + 1, until = $2 WHERE id = 1 AND epoch = $3 AND size = $4`,
			s.o.Node, db.Micros(tx.Now().Add(s.o.Lease)), v.epoch, v.size)
		if err != nil {
			return err
		}
		if rows != 1 {
			return errLost
		}
		t, err = loadTree(ctx, tx, v.size)
		if errors.Is(err, db.ErrNoRows) {
			return fmt.Errorf("%w: %w", ErrBroken, err)
		}
		if err != nil {
			return err
		}
		newest, _, err = Latest(ctx, tx)
		if err != nil {
			return err
		}
		return s.compare(ctx, tx, &t, newest)
	})
	s.note(func(st *Status) { st.Broken = errors.Is(err, ErrBroken) })
	if err != nil {
		return fmt.Errorf("take the audit log's lease: %w", err)
	}
	s.epoch, s.tree, s.lastAt = v.epoch+1, t, newest.At
	if newest.Size > s.trusted.Size {
		s.trusted = newest
	}
	s.tell(ctx, newest)
	return nil
}

// compare answers ErrBroken unless the stored tree has the newest checkpoint and the trusted one as prefixes.
func (s *Sequencer) compare(ctx context.Context, tx db.ReadTx, t *tree, newest Checkpoint) error {
	if newest.Size > 0 {
		signed, err := ParseCheckpoint(newest.Note, s.keys.AuditPublicKeys())
		if err != nil {
			return fmt.Errorf("%w: the checkpoint of %d records: %w", ErrBroken, newest.Size, err)
		}
		if signed.Size != newest.Size || signed.Root != newest.Root {
			return fmt.Errorf("%w: the checkpoint of %d records is not the one that was signed", ErrBroken, newest.Size)
		}
	}
	for _, c := range []Checkpoint{newest, s.trusted} {
		if c.Size == 0 {
			continue
		}
		if c.Size > t.size {
			return fmt.Errorf("%w: %d records were signed, the log has %d; run audit verify. If the database was restored from a backup, put the kept checkpoint aside first", ErrBroken, c.Size, t.size)
		}
		part, err := loadTree(ctx, tx, c.Size)
		if err != nil && !errors.Is(err, db.ErrNoRows) {
			return err
		}
		if err != nil || part.root() != c.Root {
			return fmt.Errorf("%w: the first %d records are not those that were signed; run audit verify", ErrBroken, c.Size)
		}
	}
	return nil
}

// place appends the events to the log. Everything that can be computed before the transaction is.
func (s *Sequencer) place(ctx context.Context, events []Stored) error {
	t := s.tree.clone()
	var ids []any
	var places, hashes [][]any
	idx := tlog.StoredHashCount(t.size)
	for i := range events {
		leaf := events[i].leaf()
		ids = append(ids, events[i].ID)
		for _, h := range t.add(leaf) {
			hashes = append(hashes, []any{idx, h[:]})
			idx++
		}
		places = append(places, []any{t.size, events[i].ID, leaf[:]})
	}
	err := s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := s.fence(ctx, tx, s.tree.size, t.size); err != nil {
			return err
		}
		if err := markPlaced(ctx, tx, ids); err != nil {
			return err
		}
		if err := insertRows(ctx, tx, `INSERT INTO audit_log (seq, event_id, leaf)`, 3, places); err != nil {
			return err
		}
		if err := insertRows(ctx, tx, `INSERT INTO audit_hashes (idx, hash)`, 2, hashes); err != nil {
			return err
		}
		return failpoint.Hit("audit.beforeCommit")
	})
	if errors.Is(err, db.ErrConflict) {
		s.note(func(st *Status) { st.Broken = true })
		return fmt.Errorf("%w: there are records behind its end: %w", ErrBroken, err)
	}
	if err != nil {
		return fmt.Errorf("place %d audit events: %w", len(events), err)
	}
	s.tree = t
	s.note(func(st *Status) {
		st.Sequenced += int64(len(events))
		st.Size = t.size
	})
	return failpoint.Hit("audit.afterBatch")
}

// fence renews the lease and sets the log's size, if both are as this sequencer knows them.
func (s *Sequencer) fence(ctx context.Context, tx db.WriteTx, from, to int64) error {
	rows, err := tx.Exec(ctx, `UPDATE audit_sequencer SET size = $1, until = $2 WHERE id = 1 AND epoch = $3 AND size = $4`,
		to, db.Micros(tx.Now().Add(s.o.Lease)), s.epoch, from)
	if err == nil && rows != 1 {
		err = errLost
	}
	return err
}

// markPlaced takes the events out of the queue. If one of them has gone in the meantime, none is placed.
func markPlaced(ctx context.Context, tx db.WriteTx, ids []any) error {
	for len(ids) > 0 {
		n := 1
		for _, length := range []int{128, 16} {
			if len(ids) >= length {
				n = length
				break
			}
		}
		rows, err := tx.Exec(ctx, `UPDATE audit_events SET placed = TRUE WHERE NOT placed AND id IN `+tuples(1, n), ids[:n]...)
		if err != nil {
			return err
		}
		if rows != int64(n) {
			return errLost
		}
		ids = ids[n:]
	}
	return nil
}

// sign makes the checkpoint of the log as this sequencer built it. The root is computed from memory, not from what the
// database says by now.
func (s *Sequencer) sign(ctx context.Context) error {
	c := Checkpoint{Size: s.tree.size, Root: s.tree.root()}
	text, err := signCheckpoint(s.o.Origin, s.keys.AuditKey(), c.Size, c.Root)
	if err != nil {
		return fmt.Errorf("sign a checkpoint: %w", err)
	}
	c.Note = text
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := s.fence(ctx, tx, c.Size, c.Size); err != nil {
			return err
		}
		c.At = tx.Now()
		rows, err := tx.Exec(ctx, `INSERT INTO audit_checkpoints (size, root, note, at) VALUES ($1, $2, $3, $4)`, c.Size, c.Root[:], c.Note, db.Micros(c.At))
		if err == nil && rows != 1 {
			err = fmt.Errorf("%d rows were written where one was meant", rows)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("keep a checkpoint: %w", err)
	}
	s.trusted, s.lastAt = c, c.At
	if err := failpoint.Hit("audit.afterCheckpoint"); err != nil {
		return err
	}
	s.tell(ctx, c)
	return nil
}

func (s *Sequencer) tell(ctx context.Context, c Checkpoint) {
	if c.Size <= s.told {
		return
	}
	if err := s.o.OnCheckpoint(ctx, c); err != nil {
		s.o.Logger.ErrorContext(ctx, "a checkpoint of the audit log could not be kept in the second place", "size", c.Size, "err", err)
		return
	}
	s.told = c.Size
}

// release gives the lease back, so that another node need not wait for its end.
func (s *Sequencer) release(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == 0 {
		return
	}
	err := s.d.Write(ctx, func(tx db.WriteTx) error {
		_, err := tx.Exec(ctx, `UPDATE audit_sequencer SET until = 0 WHERE id = 1 AND epoch = $1`, s.epoch) // no row: taken over, as well
		return err
	})
	if err != nil {
		s.o.Logger.WarnContext(ctx, "the audit log's lease could not be given back; it ends by itself", "err", err)
	}
	s.epoch = 0
}
