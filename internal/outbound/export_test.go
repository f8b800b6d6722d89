package outbound

import "net/netip"

// Allowed lets tests ask about an address without a connection.
func (c *Client) Allowed(a netip.Addr) bool { return c.allowed(a) }
