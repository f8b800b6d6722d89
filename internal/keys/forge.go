package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/db"
)

// forge has the key pairs ready that a transaction may need. Those that take long to make are never made inside one: it
// would hold up all others for as long. The transaction that finds one missing is undone, the pair is made, and it begins
// again.
type forge struct {
	made map[Alg]crypto.Signer
	used map[Alg]bool // in this attempt
}

// notMade is the error of a transaction that needs a pair which takes long to make.
type notMade struct{ alg Alg }

func (e *notMade) Error() string { return fmt.Sprintf("keys: a key of %s must be made first", e.alg) }

// take answers a key pair that nobody else has.
func (f *forge) take(alg Alg) (crypto.Signer, error) {
	if !alg.slow() {
		return generate(alg)
	}
	if f.made[alg] == nil || f.used[alg] {
		return nil, &notMade{alg}
	}
	f.used[alg] = true
	return f.made[alg], nil
}

// write runs f in a transaction, again each time that a key pair was made for it.
func (r *Ring) write(ctx context.Context, f func(tx db.WriteTx, pairs *forge) error) error {
	pairs := &forge{made: map[Alg]crypto.Signer{}}
	for {
		err := r.d.Write(ctx, func(tx db.WriteTx) error {
			pairs.used = map[Alg]bool{} // what an earlier attempt stored was undone with it
			return f(tx, pairs)
		})
		var missing *notMade
		if !errors.As(err, &missing) || pairs.made[missing.alg] != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if pairs.made[missing.alg], err = generate(missing.alg); err != nil {
			return err
		}
	}
}
