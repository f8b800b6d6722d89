package audit_test

import (
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/db/dbtest"
)

func TestWholeLog(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		l.whole(0)
		for _, n := range []int{1, 1, 6, 13, 30} { // around the page of 7 and powers of two
			l.grow(n)
			l.whole(int64(len(l.list(audit.Filter{}))))
		}
		kept := l.newest()
		l.grow(5)
		l.record(2)
		r := l.verify(kept.Note)
		if r.Problem != nil || r.Size != 56 || r.Signed != 56 || r.Trusted != 51 || r.Checkpoints != 6 || r.Waiting != 2 || r.Oldest.IsZero() {
			t.Errorf("report %+v, %v", r, r.Problem)
		}
	})
}

// id is the event that stands at seq.
func (l *log) id(seq int64) string {
	l.Helper()
	return l.list(audit.Filter{After: seq - 1, Limit: 1})[0].ID
}

// rehash makes the stored tree fit what the log says now, as somebody would who knows how it is made and has everything
// but the key.
func (l *log) rehash() {
	l.Helper()
	var leaves []tlog.Hash
	if err := l.d.Read(l.Context(), func(tx db.ReadTx) error {
		rows, err := tx.Query(l.Context(), `SELECT leaf FROM audit_log ORDER BY seq`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var b sql.RawBytes
			if err := rows.Scan(&b); err != nil {
				return err
			}
			leaves = append(leaves, tlog.Hash(b))
		}
		return rows.Err()
	}); err != nil {
		l.Fatal(err)
	}
	l.write(func(tx db.WriteTx) error {
		if _, err := tx.Exec(l.Context(), `DELETE FROM audit_hashes`); err != nil {
			return err
		}
		var stored []tlog.Hash
		reader := tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
			for _, i := range indexes {
				hashes = append(hashes, stored[i])
			}
			return hashes, nil
		})
		for n, leaf := range leaves {
			hashes, err := tlog.StoredHashesForRecordHash(int64(n), leaf, reader)
			if err != nil {
				return err
			}
			for _, h := range hashes {
				if _, err := tx.Exec(l.Context(), `INSERT INTO audit_hashes (idx, hash) VALUES ($1, $2)`, len(stored), h[:]); err != nil {
					return err
				}
				stored = append(stored, h)
			}
		}
		return nil
	})
}

// edit changes the event at seq and everything that is computed from it alone.
func (l *log) edit(seq int64) {
	l.Helper()
	l.exec(`UPDATE audit_events SET actor_name = 'eve' WHERE id = $1`, l.id(seq))
	leaf := audit.LeafOf(l.list(audit.Filter{After: seq - 1, Limit: 1})[0])
	l.exec(`UPDATE audit_log SET leaf = $1 WHERE seq = $2`, leaf[:], seq)
}

// truncate takes away everything behind size, and every trace of it.
func (l *log) truncate(size int64) {
	l.Helper()
	l.exec(`DELETE FROM audit_events WHERE id IN (SELECT event_id FROM audit_log WHERE seq > $1)`, size)
	l.exec(`DELETE FROM audit_log WHERE seq > $1`, size)
	l.exec(`DELETE FROM audit_hashes WHERE idx >= $1`, tlog.StoredHashCount(size))
	l.exec(`DELETE FROM audit_checkpoints WHERE size > $1`, size)
	l.exec(`UPDATE audit_sequencer SET size = $1`, size)
}

// TestDamageIsNamed: a log of 30 records with checkpoints at 10, 20 and 30, and what somebody does who can write the
// database. kept is the checkpoint of 20, kept elsewhere.
func TestDamageIsNamed(t *testing.T) {
	swap := func(column string) func(l *log) {
		return func(l *log) {
			l.exec(`UPDATE audit_log SET seq = -seq WHERE seq IN (13, 17)`)
			l.exec(`UPDATE audit_log SET seq = 30 + seq WHERE seq IN (-13, -17)`) // 17 and 13
			if column != "" {
				l.exec(`UPDATE audit_log SET leaf = (SELECT hash FROM audit_hashes WHERE idx = $1) WHERE seq = 13`, tlog.StoredHashIndex(0, 12))
				l.exec(`UPDATE audit_log SET leaf = (SELECT hash FROM audit_hashes WHERE idx = $1) WHERE seq = 17`, tlog.StoredHashIndex(0, 16))
			}
		}
	}
	tests := map[string]struct {
		damage      func(l *log)
		kind        audit.Kind
		first, last int64
		event       int64 // whose id is named; 0: none
		named       string
		kept        bool // only the kept checkpoint shows it
	}{
		"one byte":       {damage: func(l *log) { l.exec(`UPDATE audit_events SET actor_name = 'bda' WHERE id = $1`, l.id(17)) }, kind: audit.Edited, first: 17, event: 17},
		"the time":       {damage: func(l *log) { l.exec(`UPDATE audit_events SET at = at + 1 WHERE id = $1`, l.id(17)) }, kind: audit.Edited, first: 17, event: 17},
		"the first":      {damage: func(l *log) { l.exec(`UPDATE audit_events SET outcome = 'denied' WHERE id = $1`, l.id(1)) }, kind: audit.Edited, first: 1, event: 1},
		"the last":       {damage: func(l *log) { l.exec(`UPDATE audit_events SET details = '{}' WHERE id = $1`, l.id(30)) }, kind: audit.Edited, first: 30, event: 30},
		"two records":    {damage: func(l *log) { l.edit(25); l.edit(9) }, kind: audit.Edited, first: 9, event: 9},
		"with its leaf":  {damage: func(l *log) { l.edit(17) }, kind: audit.Edited, first: 17, event: 17},
		"the leaf alone": {damage: func(l *log) { l.exec(`UPDATE audit_log SET leaf = $1 WHERE seq = 17`, make([]byte, 32)) }, kind: audit.Edited, first: 17, event: 17},
		"with leaf and hash": {damage: func(l *log) {
			l.edit(17)
			l.exec(`UPDATE audit_hashes SET hash = (SELECT leaf FROM audit_log WHERE seq = 17) WHERE idx = $1`, tlog.StoredHashIndex(0, 16))
		}, kind: audit.Edited, first: 17, last: 18},
		"an inner hash": {damage: func(l *log) {
			l.exec(`UPDATE audit_hashes SET hash = $1 WHERE idx = $2`, make([]byte, 32), tlog.StoredHashIndex(3, 1))
		}, kind: audit.Edited, first: 11, last: 16},
		"a short inner hash": {damage: func(l *log) {
			l.exec(`UPDATE audit_hashes SET hash = $1 WHERE idx = $2`, make([]byte, 3), tlog.StoredHashIndex(1, 9))
		}, kind: audit.Edited, first: 19, last: 20},
		"with the whole tree": {damage: func(l *log) { l.edit(17); l.rehash() }, kind: audit.Edited, first: 11, last: 20},
		"behind the last checkpoint that is left": {damage: func(l *log) { l.edit(17); l.rehash(); l.exec(`DELETE FROM audit_checkpoints WHERE size > 10`) },
			kind: audit.Edited, first: 11, last: 20, kept: true},
		"with everything that is stored": {damage: func(l *log) { l.edit(3); l.rehash(); l.exec(`DELETE FROM audit_checkpoints`) },
			kind: audit.Edited, first: 1, last: 20, kept: true},

		"event deleted": {damage: func(l *log) { l.exec(`DELETE FROM audit_events WHERE id = $1`, l.id(17)) }, kind: audit.Deleted, first: 17, event: 17},
		"place deleted": {damage: func(l *log) { l.exec(`DELETE FROM audit_log WHERE seq = 17`) }, kind: audit.Deleted, first: 17, event: 17},
		"event and place deleted": {damage: func(l *log) {
			l.exec(`DELETE FROM audit_events WHERE id = $1`, l.id(17))
			l.exec(`DELETE FROM audit_log WHERE seq = 17`)
		}, kind: audit.Deleted, first: 17},
		"hash deleted":           {damage: func(l *log) { l.exec(`DELETE FROM audit_hashes WHERE idx = $1`, tlog.StoredHashIndex(0, 16)) }, kind: audit.Deleted, first: 17, event: 17},
		"the last event deleted": {damage: func(l *log) { l.exec(`DELETE FROM audit_events WHERE id = $1`, l.id(30)) }, kind: audit.Deleted, first: 30, event: 30},
		"later ones moved up": {damage: func(l *log) {
			l.exec(`DELETE FROM audit_log WHERE seq = 17`)
			l.exec(`UPDATE audit_log SET seq = -seq WHERE seq > 17`)
			l.exec(`UPDATE audit_log SET seq = -seq - 1 WHERE seq < 0`)
		}, kind: audit.Deleted, first: 17, event: 17},
		"two places swapped": {damage: swap(""), kind: audit.Moved, first: 13, event: 17},
		"two events swapped": {damage: swap("leaf"), kind: audit.Moved, first: 13, event: 17},
		"places cut off":     {damage: func(l *log) { l.exec(`DELETE FROM audit_log WHERE seq > 24`) }, kind: audit.CutOff, first: 25, last: 30, event: 25},
		"with its hashes": {damage: func(l *log) {
			l.exec(`DELETE FROM audit_log WHERE seq > 24`)
			l.exec(`DELETE FROM audit_hashes WHERE idx >= $1`, tlog.StoredHashCount(24))
		}, kind: audit.CutOff, first: 25, last: 30},
		"all but a checkpoint": {damage: func(l *log) {
			c := l.newest()
			l.truncate(24)
			l.exec(`INSERT INTO audit_checkpoints (size, root, note, at) VALUES ($1, $2, $3, 0)`, c.Size, c.Root[:], c.Note)
		}, kind: audit.CutOff, first: 25, last: 30},
		"all but the tree": {damage: func(l *log) {
			l.exec(`DELETE FROM audit_log WHERE seq > 24`)
			l.exec(`DELETE FROM audit_checkpoints WHERE size > 24`)
			l.exec(`UPDATE audit_sequencer SET size = 24`)
		}, kind: audit.CutOff, first: 25, last: 30, event: 25},
		"cut off without a trace": {damage: func(l *log) { l.truncate(14) }, kind: audit.CutOff, first: 15, last: 20, kept: true},
		"emptied":                 {damage: func(l *log) { l.truncate(0) }, kind: audit.CutOff, first: 1, last: 20, kept: true},
		"all but the events": {damage: func(l *log) {
			l.exec(`DELETE FROM audit_log WHERE seq > 29`)
			l.exec(`DELETE FROM audit_hashes WHERE idx >= $1`, tlog.StoredHashCount(29))
			l.exec(`DELETE FROM audit_checkpoints WHERE size > 29`)
			l.exec(`UPDATE audit_sequencer SET size = 29`)
		}, kind: audit.Deleted, first: 0, event: 30},
		"a record added": {damage: func(l *log) {
			l.record(1)
			l.exec(`UPDATE audit_events SET placed = TRUE`)
			l.exec(`INSERT INTO audit_log (seq, event_id, leaf) SELECT 31, id, '' FROM audit_events WHERE id NOT IN (SELECT event_id FROM audit_log)`)
		}, kind: audit.Added, first: 31, event: 31},
		"a record added before the first": {damage: func(l *log) {
			l.exec(`INSERT INTO audit_events (id, at, action, outcome, reason, actor_kind, actor_id, actor_name, realm, client_id, ip, request_id, target_type, target_id, details, placed)
				SELECT 'evt_forged', at, action, outcome, reason, actor_kind, actor_id, actor_name, realm, client_id, ip, request_id, target_type, target_id, details, placed
				FROM audit_events WHERE id = $1`, l.id(17))
			l.exec(`INSERT INTO audit_log (seq, event_id, leaf) VALUES (-1, 'evt_forged', '')`)
		}, kind: audit.Added, first: -1, named: "evt_forged"},
		"marked as waiting":        {damage: func(l *log) { l.exec(`UPDATE audit_events SET placed = FALSE WHERE id = $1`, l.id(17)) }, kind: audit.Edited, first: 17, event: 17},
		"the sequencer's row gone": {damage: func(l *log) { l.exec(`DELETE FROM audit_sequencer`) }, kind: audit.Added, first: 1, last: 30},

		"checkpoint changed": {damage: func(l *log) {
			l.exec(`UPDATE audit_checkpoints SET note = REPLACE(note, 'mint', 'tint') WHERE size = 20`)
		}, kind: audit.Forged, first: 20},
		"checkpoint replaced": {damage: func(l *log) {
			l.exec(`UPDATE audit_checkpoints SET note = (SELECT note FROM audit_checkpoints WHERE size = 10) WHERE size = 20`)
		}, kind: audit.Forged, first: 20},
		"checkpoint emptied": {damage: func(l *log) { l.exec(`UPDATE audit_checkpoints SET note = '' WHERE size = 20`) }, kind: audit.Forged, first: 20},
		"its root changed":   {damage: func(l *log) { l.exec(`UPDATE audit_checkpoints SET root = $1 WHERE size = 20`, make([]byte, 32)) }, kind: audit.Forged, first: 20},
	}
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		// One database for all: the damage is done to a copy of its tables.
		l := newLog(t, d)
		l.grow(10)
		l.grow(10)
		kept := l.newest()
		l.grow(10)
		l.whole(30)
		saved := l.save()
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				l := &log{T: t, d: l.d, keys: l.keys, s: l.s}
				defer l.restore(saved)
				eventID := test.named
				if test.event > 0 && test.event <= 30 {
					eventID = l.id(test.event)
				}
				test.damage(l)
				if test.event > 30 {
					eventID = l.id(test.event)
				}
				if test.last == 0 {
					test.last = test.first
				}
				want := fmt.Sprintf("%s %d-%d %s", test.kind, test.first, test.last, eventID)
				for _, trusted := range []string{"", kept.Note} {
					r := l.verify(trusted)
					if trusted == "" && test.kept {
						if r.Problem != nil {
							t.Errorf("without the kept checkpoint: %v; nothing can show it", r.Problem)
						}
						continue
					}
					if r.Problem == nil {
						t.Errorf("no problem found, want %s", want)
						continue
					}
					if got := fmt.Sprintf("%s %d-%d %s", r.Problem.Kind, r.Problem.First, r.Problem.Last, r.Problem.EventID); got != want {
						t.Errorf("found %s (%v), want %s", got, r.Problem, want)
					}
					if !strings.Contains(r.Problem.String(), string(test.kind)) {
						t.Errorf("the text %q does not say %q", r.Problem, test.kind)
					}
				}
			})
		}
	})
}

var tables = map[string]string{
	"audit_events": "id, at, action, outcome, reason, actor_kind, actor_id, actor_name, realm, client_id, ip, request_id, target_type, target_id, details, placed",
	"audit_log":    "seq, event_id, leaf", "audit_hashes": "idx, hash", "audit_checkpoints": "size, root, note, at", "audit_sequencer": "id, holder, epoch, until, size",
}

// save copies the log's tables; restore brings them back.
func (l *log) save() string {
	l.Helper()
	for table, columns := range tables {
		l.exec(`CREATE TABLE saved_` + table + ` AS SELECT ` + columns + ` FROM ` + table)
	}
	return "saved_"
}

func (l *log) restore(prefix string) {
	l.Helper()
	for table, columns := range tables {
		l.exec(`DELETE FROM ` + table)
		l.exec(`INSERT INTO ` + table + ` (` + columns + `) SELECT ` + columns + ` FROM ` + prefix + table)
	}
}

func TestVerifyNeedsACheckpointOfOurs(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		l.grow(1)
		stranger, _, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, o := range map[string]audit.VerifyOptions{
			"not a checkpoint": {Keys: l.keys.AuditPublicKeys(), Trusted: "hello"},
			"another key":      {Keys: []ed25519.PublicKey{stranger}, Trusted: l.newest().Note},
		} {
			if _, err := audit.Verify(t.Context(), d, o); !errors.Is(err, audit.ErrCheckpoint) {
				t.Errorf("%s: got %v, want ErrCheckpoint", name, err)
			}
		}
		r, err := audit.Verify(t.Context(), d, audit.VerifyOptions{Keys: []ed25519.PublicKey{stranger}})
		if err != nil || r.Problem == nil || r.Problem.Kind != audit.Forged {
			t.Errorf("stored checkpoints under another key: %+v, %v", r.Problem, err)
		}
	})
}

// TestKeyAndOriginMayChange: what was signed before stays signed.
func TestKeyAndOriginMayChange(t *testing.T) {
	dbtest.Run(t, func(t *testing.T, d *db.DB) {
		l := newLog(t, d)
		l.grow(3)
		l.write(func(tx db.WriteTx) error {
			_, err := l.keys.RotateTerm(t.Context(), tx, "audit")
			return err
		})
		l.grow(3)
		s, err := audit.NewSequencer(d, l.keys, audit.SequencerOptions{Origin: "mint.example.com/2", Node: "other", Trusted: l.newest().Note})
		if err != nil {
			t.Fatal(err)
		}
		l.exec(`UPDATE audit_sequencer SET until = 0`)
		l.s = s
		l.grow(3)
		l.whole(9)
	})
}
