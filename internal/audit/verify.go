package audit

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark/internal/db"
)

// Kind says what was done to the log.
type Kind string

// The kinds of damage.
const (
	Edited  Kind = "edited"            // the record is not what it was when it got its place
	Deleted Kind = "deleted"           // the record, or its place, is gone; later ones are there
	Moved   Kind = "moved"             // another record stands in its place
	CutOff  Kind = "cut off"           // the log ends before it
	Added   Kind = "added"             // the record was not placed by a sequencer
	Forged  Kind = "forged checkpoint" // a checkpoint that no key of ours signed
)

// Problem is the first damage that Verify met, in the order of the log.
type Problem struct {
	Kind    Kind
	First   int64  // seq of the record
	Last    int64  // equal to First, or the end of the range in which the record must be
	EventID string // "" if nothing tells it any more
	Detail  string
}

// String is for people.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.First == 0:
		b.WriteString("a record")
	case p.First == p.Last:
		fmt.Fprintf(&b, "record %d", p.First)
	default:
		fmt.Fprintf(&b, "a record from %d to %d", p.First, p.Last)
	}
	if p.EventID != "" {
		fmt.Fprintf(&b, " (%s)", p.EventID)
	}
	fmt.Fprintf(&b, ": %s: %s", p.Kind, p.Detail)
	return b.String()
}

// Report is what Verify found.
type Report struct {
	Size        int64 // records in the log
	Checkpoints int64 // stored checkpoints that were checked
	Signed      int64 // size of the newest of them: what follows is not signed yet
	Trusted     int64 // size of the checkpoint from outside that was compared; 0: none
	Waiting     int64 // events that have no place yet
	Oldest      time.Time
	Problem     *Problem // nil: the log is whole
}

// VerifyOptions say what to compare with.
type VerifyOptions struct {
	Keys     []ed25519.PublicKey // that sign checkpoints, of all terms
	Trusted  string              // a checkpoint that was kept elsewhere; "": none, so a rewritten log without checkpoints passes
	Page     int                 // records read at a time; 0: 500
	Progress func(done, total int64)
}

// Verify reads the whole log, in bounded memory and while it grows, and compares it with itself, its tree and its
// checkpoints. It stops at the first damage. An error means that it could not look, or that the trusted text is no
// checkpoint of ours.
func Verify(ctx context.Context, d *db.DB, o VerifyOptions) (Report, error) {
	v := &verifying{d: d, o: o}
	if v.o.Page <= 0 {
		v.o.Page = 500
	}
	if o.Trusted != "" {
		c, err := ParseCheckpoint(o.Trusted, o.Keys)
		if err != nil {
			return Report{}, fmt.Errorf("the trusted checkpoint: %w", err)
		}
		v.trusted = &c
		v.report.Trusted = c.Size
	}
	if err := v.run(ctx); err != nil {
		return Report{}, fmt.Errorf("verify the audit log: %w", err)
	}
	return v.report, nil
}

type verifying struct {
	d       *db.DB
	o       VerifyOptions
	trusted *Checkpoint
	report  Report

	size   int64 // that the sequencer says
	places int64 // seq of the last place
	tree   tree  // computed from the events
	good   int64 // size of the largest checkpoint that the computed tree agrees with
}

func (v *verifying) run(ctx context.Context) error {
	target, err := v.extent(ctx)
	if err != nil {
		return err
	}
	for v.report.Problem == nil && v.tree.size < target {
		p, err := v.read(ctx, v.tree.size, min(v.tree.size+int64(v.o.Page), target))
		if err != nil {
			return err
		}
		if err := v.page(ctx, p, target); err != nil {
			return err
		}
		if v.o.Progress != nil {
			v.o.Progress(v.tree.size, target)
		}
	}
	v.report.Size = v.tree.size
	if v.report.Problem == nil && v.size < target {
		v.report.Problem = &Problem{Kind: Added, First: v.size + 1, Last: target, Detail: fmt.Sprintf("the sequencer has placed %d records", v.size)}
	}
	if err := v.before(ctx); err != nil {
		return err
	}
	return v.rest(ctx)
}

// before looks for places that no walk from the first record on comes by, although a list shows them.
func (v *verifying) before(ctx context.Context) error {
	if v.report.Problem != nil {
		return nil
	}
	return v.d.Read(ctx, func(tx db.ReadTx) error {
		return each(ctx, tx, func(rows *sql.Rows) error {
			p := Problem{Kind: Added, Detail: "it stands before the beginning of the log"}
			if err := rows.Scan(&p.First, &p.EventID); err != nil {
				return err
			}
			p.Last, v.report.Problem = p.First, &p
			return nil
		}, `SELECT seq, event_id FROM audit_log WHERE seq < 1 ORDER BY seq DESC LIMIT 1`)
	})
}

// extent tells how many records there must have been, by the word of whatever speaks of the most.
func (v *verifying) extent(ctx context.Context) (target int64, err error) {
	err = v.d.Read(ctx, func(tx db.ReadTx) error {
		var hashes, signed int64
		err := tx.QueryRow(ctx, `SELECT COALESCE((SELECT size FROM audit_sequencer WHERE id = 1), 0),
			(SELECT COALESCE(MAX(seq), 0) FROM audit_log), (SELECT COALESCE(MAX(idx), -1) FROM audit_hashes),
			(SELECT COALESCE(MAX(size), 0) FROM audit_checkpoints)`).Scan(&v.size, &v.places, &hashes, &signed)
		if err != nil {
			return err
		}
		target = max(v.size, v.places, signed)
		if hashes >= 0 && hashes < 1<<60 { // the last stored hash is the root of the last subtree
			level, n := tlog.SplitStoredHashIndex(hashes)
			target = max(target, (n+1)<<level)
		}
		if v.trusted != nil {
			target = max(target, v.trusted.Size)
		}
		return nil
	})
	return target, err
}

// page is a part of the log as it is stored.
type page struct {
	to          int64
	places      map[int64]place
	hashes      map[int64]tlog.Hash
	checkpoints map[int64]Checkpoint
}

type place struct {
	eventID string
	leaf    tlog.Hash
	event   *Stored // nil: gone
}

// eventColumns are columns of the table joined as e, with the zero value where there is no event.
var eventColumns = func() string {
	var all []string
	for c := range strings.SplitSeq(columns, ", ") {
		zero := "''"
		if c == "at" {
			zero = "0"
		}
		all = append(all, "COALESCE(e."+c+", "+zero+")")
	}
	return strings.Join(all, ", ")
}()

// read fetches the records with from < seq <= to.
func (v *verifying) read(ctx context.Context, from, to int64) (page, error) {
	p := page{to, map[int64]place{}, map[int64]tlog.Hash{}, map[int64]Checkpoint{}}
	err := v.d.Read(ctx, func(tx db.ReadTx) error {
		if err := each(ctx, tx, func(rows *sql.Rows) error {
			var seq, at int64
			var leaf []byte
			var pl place
			e := &Stored{}
			if err := rows.Scan(append([]any{&seq, &pl.eventID, &leaf}, e.fields(&at)...)...); err != nil {
				return err
			}
			copy(pl.leaf[:], leaf)
			if e.ID != "" {
				e.Seq, e.At = seq, time.UnixMicro(at)
				pl.event = e
			}
			p.places[seq] = pl
			return nil
		}, `SELECT l.seq, l.event_id, l.leaf, `+eventColumns+` FROM audit_log l LEFT JOIN audit_events e ON e.id = l.event_id
			WHERE l.seq > $1 AND l.seq <= $2`, from, to); err != nil {
			return err
		}
		if err := each(ctx, tx, func(rows *sql.Rows) error {
			var idx int64
			var b []byte
			if err := rows.Scan(&idx, &b); err != nil {
				return err
			}
			if h, err := toHash(b); err == nil { // one of another length is as good as none
				p.hashes[idx] = h
			}
			return nil
		}, `SELECT idx, hash FROM audit_hashes WHERE idx >= $1 AND idx < $2`, tlog.StoredHashCount(from), tlog.StoredHashCount(to)); err != nil {
			return err
		}
		return each(ctx, tx, func(rows *sql.Rows) error {
			var c Checkpoint
			var b []byte
			if err := rows.Scan(&c.Size, &b, &c.Note); err != nil {
				return err
			}
			copy(c.Root[:], b)
			p.checkpoints[c.Size] = c
			return nil
		}, `SELECT size, root, note FROM audit_checkpoints WHERE size > $1 AND size <= $2`, from, to)
	})
	return p, err
}

func each(ctx context.Context, tx db.ReadTx, f func(rows *sql.Rows) error, query string, args ...any) error {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// page checks the records of a page up to the first problem.
func (v *verifying) page(ctx context.Context, p page, target int64) error {
	for v.tree.size < p.to {
		seq := v.tree.size + 1
		problem, leaf, err := v.record(ctx, p, seq, target)
		if err != nil {
			return err
		}
		if problem == nil {
			problem = v.grow(p, leaf)
		}
		if problem == nil {
			problem = v.compare(p, seq)
		}
		if problem != nil {
			v.report.Problem = problem
			return nil
		}
	}
	return nil
}

// record checks one record against its place and the leaf in the tree.
func (v *verifying) record(ctx context.Context, p page, seq, target int64) (*Problem, tlog.Hash, error) {
	inTree, known := p.hashes[tlog.StoredHashIndex(0, seq-1)]
	problem := &Problem{First: seq, Last: seq}
	pl, ok := p.places[seq]
	switch {
	case !ok:
		problem.Kind, problem.Detail = Deleted, "its place in the log is gone"
		if seq > v.places {
			problem.Kind, problem.Last = CutOff, target
			problem.Detail = fmt.Sprintf("the log ends after %d records and had %d", seq-1, target)
		}
		if known {
			problem.EventID = v.orphan(ctx, inTree)
		}
		return problem, tlog.Hash{}, nil
	case pl.event == nil:
		problem.Kind, problem.EventID, problem.Detail = Deleted, pl.eventID, "its place is there, the event is gone"
		return problem, tlog.Hash{}, nil
	}
	h := pl.event.leaf()
	if known && h == inTree && h == pl.leaf {
		return nil, h, nil
	}
	problem.EventID = pl.eventID
	switch {
	case !known && seq > v.size:
		problem.Kind, problem.Detail = Added, "it is behind the end of the log, and not in its tree"
		return problem, h, nil
	case !known:
		problem.Kind, problem.Detail = Deleted, "its hash in the log's tree is gone"
		return problem, h, nil
	case h == inTree:
		problem.Kind, problem.Detail = Edited, "the event is as it was, the hash beside its place is not"
		return problem, h, nil
	}
	return v.displaced(ctx, problem, h, inTree)
}

// displaced finds out how another content came to stand where the tree has the leaf inTree.
func (v *verifying) displaced(ctx context.Context, problem *Problem, h, inTree tlog.Hash) (*Problem, tlog.Hash, error) {
	var home int64 // where the content belongs
	var left bool  // the record that belongs here still has a place
	err := v.d.Read(ctx, func(tx db.ReadTx) error {
		if err := each(ctx, tx, func(rows *sql.Rows) error {
			var idx int64
			if err := rows.Scan(&idx); err != nil {
				return err
			}
			if level, n := tlog.SplitStoredHashIndex(idx); level == 0 {
				home = n + 1
			}
			return nil
		}, `SELECT idx FROM audit_hashes WHERE hash = $1 AND idx >= 0`, h[:]); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM audit_log WHERE leaf = $1)`, inTree[:]).Scan(&left)
		return err
	})
	switch {
	case err != nil:
		return nil, h, err
	case home == 0:
		problem.Kind, problem.Detail = Edited, "its content is not what the log's tree holds"
	case left:
		problem.Kind, problem.Detail = Moved, fmt.Sprintf("the record that stands here belongs to %d", home)
	default:
		problem.Kind, problem.EventID = Deleted, v.orphan(ctx, inTree)
		problem.Detail = fmt.Sprintf("record %d stands in its place", home)
	}
	return problem, h, nil
}

// grow adds the leaf to the computed tree and compares the inner hashes that it completes.
func (v *verifying) grow(p page, leaf tlog.Hash) *Problem {
	idx := tlog.StoredHashCount(v.tree.size)
	for level, h := range v.tree.add(leaf) {
		if stored, ok := p.hashes[idx+int64(level)]; !ok || stored != h {
			return &Problem{Kind: Edited, First: max(v.good+1, v.tree.size-1<<level+1), Last: v.tree.size,
				Detail: "the records do not give the hash that the log's tree holds for them"}
		}
	}
	return nil
}

// compare checks the checkpoints of exactly this size.
func (v *verifying) compare(p page, seq int64) *Problem {
	root := v.tree.root()
	if stored, ok := p.checkpoints[seq]; ok {
		c, err := ParseCheckpoint(stored.Note, v.o.Keys)
		if err != nil {
			return &Problem{Kind: Forged, First: seq, Last: seq, Detail: err.Error()}
		}
		if c.Size != seq || c.Root != stored.Root {
			return &Problem{Kind: Forged, First: seq, Last: seq, Detail: "its row does not say what was signed"}
		}
		if c.Root != root {
			return v.contradiction(seq, "the signed checkpoint")
		}
		v.report.Checkpoints++
		v.report.Signed, v.good = seq, seq
	}
	if v.trusted != nil && v.trusted.Size == seq {
		if v.trusted.Root != root {
			return v.contradiction(seq, "the checkpoint that was kept elsewhere")
		}
		v.good = seq
	}
	return nil
}

func (v *verifying) contradiction(seq int64, what string) *Problem {
	return &Problem{Kind: Edited, First: v.good + 1, Last: seq,
		Detail: fmt.Sprintf("%s of %d records contradicts them: records were changed and the log's tree was rewritten", what, seq)}
}

// orphan finds the event with this leaf among those without a place. It is a help to the reader, so trouble means "".
func (v *verifying) orphan(ctx context.Context, leaf tlog.Hash) (eventID string) {
	var errFound = errors.New("found")
	_ = v.d.Read(ctx, func(tx db.ReadTx) error {
		return each(ctx, tx, func(rows *sql.Rows) error {
			var e Stored
			var at int64
			if err := rows.Scan(e.fields(&at)...); err != nil {
				return err
			}
			if e.At = time.UnixMicro(at); e.leaf() == leaf {
				eventID = e.ID
				return errFound
			}
			return nil
		}, `SELECT `+columns+` FROM audit_events e WHERE NOT EXISTS (SELECT 1 FROM audit_log l WHERE l.event_id = e.id)`)
	})
	return eventID
}

// rest counts the events without a place. One that is marked as placed, and is not, had a place that was taken away. One
// that has a place and is not marked keeps the sequencer from going on.
func (v *verifying) rest(ctx context.Context) error {
	last := ""
	for n := -1; n != 0; {
		n = 0
		err := v.d.Read(ctx, func(tx db.ReadTx) error {
			return each(ctx, tx, func(rows *sql.Rows) error {
				n++
				var at, seq int64
				var placed bool
				if err := rows.Scan(&last, &at, &placed, &seq); err != nil {
					return err
				}
				switch {
				case seq != 0 && placed:
				case seq != 0 && v.report.Problem == nil:
					v.report.Problem = &Problem{Kind: Edited, First: seq, Last: seq, EventID: last, Detail: "it has its place in the log, and is marked as if it waited for one"}
				case seq != 0:
				case !placed:
					v.report.Waiting++
					if t := db.Time(at); v.report.Oldest.IsZero() || t.Before(v.report.Oldest) {
						v.report.Oldest = t
					}
				case v.report.Problem == nil:
					v.report.Problem = &Problem{Kind: Deleted, EventID: last, Detail: "the event had a place in the log, which is gone"}
				}
				return nil
			}, `SELECT e.id, e.at, e.placed, COALESCE(l.seq, 0) FROM audit_events e LEFT JOIN audit_log l ON l.event_id = e.id
				WHERE e.id > $1 ORDER BY e.id LIMIT $2`, last, v.o.Page)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
