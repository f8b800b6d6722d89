package oauth

import (
	"encoding/base64"
	"net/url"

	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

const (
	macSubject  = "pairwise-subject"
	macTermSize = 4 // a MAC begins with the number of its key, see package seal
)

// subject is the name by which the client knows the person: in ID tokens, at userinfo, and in access tokens and so in what
// introspection tells of them. It is the person's id; or for clients that asked for it one that is the same for all
// clients of a sector and says nothing to any other (OpenID Connect Core section 8.1).
//
// The name must never change. So it is a MAC under the first key of the keyring, which is never taken away, whatever new
// ones there are.
func (p *people) subject(c Client, userID string) string {
	if c.Metadata.SubjectType != registry.SubjectPairwise {
		return userID
	}
	macs := p.Keyring.LookupMACs(macSubject, redact.New(sectorOf(c)+"\n"+userID))
	first := macs[len(macs)-1] // newest first
	return base64.RawURLEncoding.EncodeToString(first[macTermSize:])
}

// sectorOf is the host by which clients are one sector: the one that was given, or else that of all redirect URIs. A
// client whose addresses have several hosts and which has no sector is one by itself.
func sectorOf(c Client) string {
	if c.Metadata.Sector != "" {
		return c.Metadata.Sector
	}
	sector := ""
	for _, uri := range c.RedirectURIs {
		u, err := url.Parse(uri)
		if err != nil || u.Host == "" || sector != "" && u.Hostname() != sector {
			return c.ID
		}
		sector = u.Hostname()
	}
	if sector == "" || loopbackHost(sector) {
		return c.ID // that is everybody's own machine
	}
	return sector
}

func loopbackHost(host string) bool {
	return host == "localhost" || host == "127.0.0.1" || host == "::1"
}

// toLoopback tells whether the address is of the person's own machine, where any program may listen.
func toLoopback(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "http" && loopbackHost(u.Hostname())
}
