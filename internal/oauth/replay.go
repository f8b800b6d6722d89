package oauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// replayGuard remembers which assertions were used, in the database: a jti counts once over all nodes and restarts. It
// keeps nothing in memory. A stranger can add no row, because the signature is checked first, and no row stays for long,
// because no assertion that is guarded may live long.
type replayGuard struct {
	db   *db.DB
	uses *db.Batch[*use]
}

// use is an assertion on its way to be used.
type use struct {
	hash    []byte
	expires time.Time
	first   bool // the answer
}

// usedKeep is how long a row stays after its assertion has expired, for clocks that differ. An assertion that expired
// longer ago by the database's clock is refused, whatever the clock of the node says: its row may be gone.
const usedKeep = 10 * time.Minute

func newReplayGuard(d *db.DB) *replayGuard {
	g := &replayGuard{db: d}
	g.uses = db.NewBatch(d, batchSize, g.write)
	return g
}

// first tells whether this is the first use of what the signer calls by this id. The kind keeps two sorts of signer apart.
func (g *replayGuard) first(ctx context.Context, kind, signer, id string, expires time.Time) (bool, error) {
	h := sha256.New()
	for _, part := range []string{kind, signer, id} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	u := &use{hash: h.Sum(nil), expires: expires}
	if err := g.uses.Do(ctx, u); err != nil {
		return false, fmt.Errorf("note the use of an assertion: %w", err)
	}
	return u.first, nil
}

// write inserts what is not there. Two of the same in one batch are one row: the first of them is the first use.
func (g *replayGuard) write(ctx context.Context, tx db.WriteTx, items []*use) error {
	const columns = 2
	oldest := tx.Now().Add(-usedKeep)
	args := make([]any, 0, columns*len(items))
	for _, u := range items {
		u.first = false
		if u.expires.After(oldest) {
			args = append(args, u.hash, db.Micros(u.expires))
		}
	}
	if len(args) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `INSERT INTO used_assertions (hash, expires, used) VALUES `+
		tuples(len(args)/columns, columns, strconv.FormatInt(db.Micros(tx.Now()), 10))+` ON CONFLICT (hash) DO NOTHING RETURNING hash`, args...)
	if err != nil {
		return fmt.Errorf("insert used assertions: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var hash []byte
		if err := rows.Scan(&hash); err != nil {
			return fmt.Errorf("read a used assertion: %w", err)
		}
		for _, u := range items {
			if string(u.hash) == string(hash) {
				u.first = true
				break
			}
		}
	}
	return rows.Err()
}
