package audit

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark/internal/db"
)

// tree is a Merkle tree of which only the right edge is in memory: the roots of the largest complete subtrees, from left
// to right. That is enough to add records and to know the root.
type tree struct {
	size int64
	edge []tlog.Hash
}

// add appends a leaf and returns the hashes to be stored for it, which belong at idx tlog.StoredHashCount(old size) and
// following: the leaf, then the root of each subtree that it completes.
func (t *tree) add(leaf tlog.Hash) []tlog.Hash {
	stored := []tlog.Hash{leaf}
	h := leaf
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		h = tlog.NodeHash(t.edge[last], h)
		t.edge = t.edge[:last]
		stored = append(stored, h)
	}
	t.edge = append(t.edge, h)
	t.size++
	return stored
}

func (t *tree) clone() tree { return tree{t.size, slices.Clone(t.edge)} }

// root is the hash of the whole tree.
func (t *tree) root() tlog.Hash {
	if t.size == 0 {
		empty, _ := tlog.TreeHash(0, nil) // cannot fail: it reads nothing
		return empty
	}
	h := t.edge[len(t.edge)-1]
	for _, left := range slices.Backward(t.edge[:len(t.edge)-1]) {
		h = tlog.NodeHash(left, h)
	}
	return h
}

// loadTree reads the right edge of a tree of this size.
func loadTree(ctx context.Context, tx db.ReadTx, size int64) (tree, error) {
	t := tree{size: size}
	var begin int64
	for level := 62; level >= 0; level-- {
		if size&(1<<level) == 0 {
			continue
		}
		var b []byte
		err := tx.QueryRow(ctx, `SELECT hash FROM audit_hashes WHERE idx = $1`, tlog.StoredHashIndex(level, begin>>level)).Scan(&b)
		if err != nil {
			return tree{}, fmt.Errorf("read the log's tree of %d records: %w", size, err)
		}
		h, err := toHash(b)
		if err != nil {
			return tree{}, fmt.Errorf("read the log's tree of %d records: %w", size, err)
		}
		t.edge = append(t.edge, h)
		begin += 1 << level
	}
	return t, nil
}

func toHash(b []byte) (h tlog.Hash, err error) {
	if len(b) != len(h) {
		return h, fmt.Errorf("a stored hash has %d bytes", len(b))
	}
	return tlog.Hash(b), nil
}

// insertRows writes many rows in few statements. Statements come in three lengths only, so that a server can keep them
// prepared.
func insertRows(ctx context.Context, tx db.WriteTx, into string, columns int, rows [][]any) error {
	for len(rows) > 0 {
		n := 1
		for _, length := range []int{128, 16} {
			if len(rows) >= length {
				n = length
				break
			}
		}
		args := make([]any, 0, n*columns)
		for _, row := range rows[:n] {
			args = append(args, row...)
		}
		affected, err := tx.Exec(ctx, into+" VALUES "+tuples(n, columns), args...)
		if err != nil {
			return err
		}
		if affected != int64(n) {
			return fmt.Errorf("%d rows were written where %d were meant", affected, n)
		}
		rows = rows[n:]
	}
	return nil
}

// tuples is "($1,$2),($3,$4)" for 2, 2.
func tuples(n, columns int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		for c := range columns {
			b.WriteByte("(,"[min(c, 1)])
			b.WriteString("$" + strconv.Itoa(i*columns+c+1))
		}
		b.WriteByte(')')
	}
	return b.String()
}
