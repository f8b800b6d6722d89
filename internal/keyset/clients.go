package keyset

import "context"

// Clients are the key sets of clients, in two parts: those of clients that strangers registered by themselves take neither
// the places in memory nor the fetches under way of those that an administrator, or somebody whom he lets, has made.
type Clients struct{ trusted, untrusted *Sets }

// NewClients makes Clients. Each part has the bounds of the options.
func NewClients(o Options) *Clients { return &Clients{New(o), New(o)} }

// Keys answers the client's keys as Sets.Keys does. untrusted says that a stranger registered the client.
func (c *Clients) Keys(ctx context.Context, clientID string, untrusted bool, address string, newer bool) (Set, error) {
	if untrusted {
		return c.untrusted.Keys(ctx, clientID, address, newer)
	}
	return c.trusted.Keys(ctx, clientID, address, newer)
}
