package keys

import (
	"context"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
)

// Step is what the rotation job of the ring's first algorithm does, without a job.
func (r *Ring) Step(ctx context.Context) (next time.Time, err error) { return r.StepOf(ctx, r.o.Alg) }

// StepOf is Step for any algorithm.
func (r *Ring) StepOf(ctx context.Context, alg Alg) (next time.Time, err error) {
	err = r.write(ctx, func(tx db.WriteTx, pairs *forge) error {
		next, err = r.step(ctx, tx, pairs, access.SystemCaller("test"), alg)
		return err
	})
	return next, err
}

// AppendFixed is the conversion of signatures.
var AppendFixed = appendFixed
