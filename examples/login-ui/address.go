package main

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// browserAddress is where the browser is: the peer, or what the last of our own proxies says of it. mintmark counts wrong
// passwords by it. Without it all browsers would be one, which any stranger could keep out.
func (u *ui) browserAddress(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	at := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && slices.ContainsFunc(u.proxies, func(p netip.Prefix) bool { return p.Contains(at) }); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = hop.Unmap().WithZone("")
	}
	return at.String()
}

// networks reads a list such as "10.0.0.0/8, ::1/128".
func networks(text string) (list []netip.Prefix, err error) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, &net.ParseError{Type: "network such as 10.0.0.0/8", Text: part}
		}
		list = append(list, p)
	}
	return list, nil
}
