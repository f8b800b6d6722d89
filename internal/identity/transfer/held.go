package transfer

import (
	"context"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

func forget(context.Context, db.WriteTx, identity.User) error { return nil }
