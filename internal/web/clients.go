package web

import (
	"context"
)

// Clients knows the clients that people use. Errors are those of package fault.
type Clients interface {
	// Name is what people know a client by. It reads by itself, so it is called outside of transactions.
	Name(ctx context.Context, clientID string) (string, error)
}
