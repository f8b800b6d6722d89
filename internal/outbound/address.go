package outbound

import (
	"net/netip"
	"slices"
)

// What the registries of special-purpose addresses (RFC 6890 and its successors) set aside. Of IPv6 only 2000::/3 is
// given out for the public at all, so everything outside it is refused without being named: loopback, link-local, unique
// local, multicast, the unspecified address, IPv4-compatible addresses and the local NAT64 prefix 64:ff9b:1::/48.
var (
	notPublic4 = prefixes(
		"0.0.0.0/8",       // this network; 0.0.0.0 is this host
		"10.0.0.0/8",      // RFC 1918
		"100.64.0.0/10",   // carrier-grade NAT, RFC 6598
		"127.0.0.0/8",     // loopback
		"169.254.0.0/16",  // link-local, where clouds put the secrets of their machines
		"172.16.0.0/12",   // RFC 1918
		"192.0.0.0/24",    // protocol assignments
		"192.0.2.0/24",    // documentation
		"192.88.99.0/24",  // relays of 6to4
		"192.168.0.0/16",  // RFC 1918
		"198.18.0.0/15",   // benchmarks
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"224.0.0.0/4",     // multicast
		"240.0.0.0/4",     // reserved, and broadcast
	)
	public6    = netip.MustParsePrefix("2000::/3")
	notPublic6 = prefixes(
		"2001::/23",     // protocol assignments, with Teredo (which holds an IPv4 address), benchmarks and ORCHID
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4, which holds an IPv4 address
		"3fff::/20",     // documentation
	)
	nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last four bytes are an IPv4 address
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// allowed tells whether an address may be called: it is public, or the operator has allowed its network. The addresses
// that mean "this host, whichever" and "many hosts" are never allowed.
func (c *Client) allowed(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
	if a.IsUnspecified() || a.IsMulticast() {
		return false
	}
	if slices.ContainsFunc(c.o.Allow, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return true
	}
	if nat64.Contains(a) {
		b := a.As16()
		return c.allowed(netip.AddrFrom4([4]byte(b[12:])))
	}
	return public(a)
}

// public tells whether an address is one of the public network, and holds no other that might not be.
func public(a netip.Addr) bool {
	within := func(p netip.Prefix) bool { return p.Contains(a) }
	if a.Is4() {
		return !slices.ContainsFunc(notPublic4, within)
	}
	return public6.Contains(a) && !slices.ContainsFunc(notPublic6, within) && !isatap(a)
}

// isatap tells whether the interface identifier holds an IPv4 address (RFC 5214 section 6.1).
func isatap(a netip.Addr) bool {
	b := a.As16()
	return b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}
