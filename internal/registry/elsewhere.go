package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/outbound"
)

// What clients keep elsewhere: their keys (jwks_uri), which package keyset fetches when they are needed, and the list of
// their sector (sector_identifier_uri), which is fetched here when it is registered. Nothing is fetched while a
// transaction is open, nor for anybody who may not change the client: the transaction says that it needs the list, is
// undone, and runs again with it.

// Outbound calls the addresses that clients gave (outbound.Client).
type Outbound interface {
	CheckURL(raw string) error
	Do(ctx context.Context, r outbound.Request) (outbound.Answer, error)
}

// sectorList is what was found at a sector identifier URI.
type sectorList struct {
	address string
	uris    []string
}

// sectorNeeded says that a change needs the list at this address.
type sectorNeeded struct{ address string }

func (e *sectorNeeded) Error() string {
	return "registry: the list at a sector identifier URI must be read first"
}

// checkElsewhere refuses new addresses that would never be called, and a sector whose list leaves out a redirect URI
// (OpenID Connect Registration section 5).
func (r *Registry) checkElsewhere(before, next Settings) error {
	m, was := next.Metadata, before.Metadata
	for _, c := range []struct{ member, is, was string }{{"jwks_uri", m.JWKSURI, was.JWKSURI}, {"sector_identifier_uri", m.SectorURI, was.SectorURI}} {
		if c.is == "" || c.is == c.was {
			continue
		}
		if r.o.Outbound == nil || len(c.is) > maxURL || r.o.Outbound.CheckURL(c.is) != nil {
			return badMetadata(c.member, "Use an https address of a public host, without user and fragment.")
		}
	}
	isNew := func(uri string) bool { return !slices.Contains(before.RedirectURIs, uri) }
	if m.SectorURI == "" || m.SectorURI == was.SectorURI && !slices.ContainsFunc(next.RedirectURIs, isNew) {
		return nil
	}
	if next.sector == nil || next.sector.address != m.SectorURI {
		return fault.Wrap(&sectorNeeded{m.SectorURI}, fault.Conflict, "invalid_client_metadata", "The list at sector_identifier_uri must be read for this change.")
	}
	for _, uri := range next.RedirectURIs {
		if !slices.Contains(next.sector.uris, uri) {
			return badMetadata("sector_identifier_uri", "The list there leaves out the redirect URI %s.", uri)
		}
	}
	return nil
}

// withSector runs change, and once more with the list of a sector if that is what it needs. change has a transaction of its
// own each time.
func (r *Registry) withSector(ctx context.Context, change func(list *sectorList) error) error {
	err := change(nil)
	var need *sectorNeeded
	if !errors.As(err, &need) {
		return err
	}
	list, err := r.fetchSector(ctx, need.address)
	if err != nil {
		return err
	}
	return change(list)
}

// fetchSector reads the list at a sector identifier URI. Whoever registers it learns no more than that it is not there.
func (r *Registry) fetchSector(ctx context.Context, address string) (*sectorList, error) {
	a, err := r.o.Outbound.Do(ctx, outbound.Request{Purpose: "sector_identifier", Method: http.MethodGet, URL: address, Accept: "application/json"})
	if errors.Is(err, outbound.ErrBusy) {
		return nil, fault.Wrap(err, fault.Unavailable, "unavailable", "Too many addresses are called just now.")
	}
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("the answer has status %d", a.Status)
	}
	list := &sectorList{address: address}
	if err == nil {
		if err = json.Unmarshal(a.Body, &list.uris); err == nil && list.uris == nil {
			err = errors.New("the list is null")
		}
	}
	if err != nil {
		r.o.Logger.InfoContext(ctx, "the list of a sector could not be read", "error", err)
		return nil, badMetadata("sector_identifier_uri", "There must be a JSON list of redirect URIs at this address, of at most %d KiB, within %s and without a redirect.", outbound.MaxBody>>10, outbound.Timeout)
	}
	return list, nil
}

// hostOf is the host of an address in lower case, or "".
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
