package keys

import (
	"context"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
)

// Step is what the rotation job does, without a job.
func (r *Ring) Step(ctx context.Context) (next time.Time, err error) {
	err = r.d.Write(ctx, func(tx db.WriteTx) error {
		next, err = r.step(ctx, tx, access.SystemCaller("test"))
		return err
	})
	return next, err
}

// AppendFixed is the conversion of signatures.
var AppendFixed = appendFixed
