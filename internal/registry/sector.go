package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// checkSector refuses a sector of pairwise subjects in which somebody else's clients know people already, unless an
// administrator says so: in one sector all clients know a person by the same name. That a host stands among the redirect
// URIs proves nothing, because the code may go to another one of them, or to a device. That it lists all of them does, if
// it is the very list by which the others are there (else whoever can lay a file on that host could make one), and if
// what people let the client do goes to those addresses alone.
func checkSector(ctx context.Context, tx db.ReadTx, c access.Caller, n StandaloneClient, before Settings) error {
	m, was := n.Settings.Metadata, before.Metadata
	if m.SubjectType != SubjectPairwise || m.Sector == "" || n.Untrusted {
		return nil // see setUp for clients of strangers
	}
	listed := m.SectorURI != "" && redirectsAlone(n.Settings)
	if was.SubjectType == SubjectPairwise && was.Sector == m.Sector && was.SectorURI == m.SectorURI && (m.SectorURI == "" || listed || !redirectsAlone(before)) {
		return nil // it is there already, and by nothing less than before
	}
	target := access.Target{Type: "client", ID: n.ID, Team: n.Team}
	if !registers(c) && access.Allow(c, access.TrustClient, target) == nil {
		return nil
	}
	// The metadata is JSON of ours, in which no text holds a quote: this finds the member and nothing else.
	rows, err := tx.Query(ctx, `SELECT coalesce(a.team, c.owner_team, ''), coalesce(c.owner_user, ''), s.metadata FROM client_settings s JOIN clients c ON c.id = s.client_id
		LEFT JOIN applications a ON a.id = c.application WHERE s.client_id <> $1 AND NOT c.untrusted AND replace(s.metadata, $2, '') <> s.metadata`,
		n.ID, `"sector":"`+m.Sector+`"`)
	if err != nil {
		return fmt.Errorf("look for clients of a sector: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var team, owner, column string
		if err := rows.Scan(&team, &owner, &column); err != nil {
			return fmt.Errorf("look for clients of a sector: %w", err)
		}
		other, err := parseMetadata(column)
		if err != nil {
			return err
		}
		if listed && other.SectorURI == m.SectorURI {
			continue
		}
		if team+owner == "" || team != n.Team || owner != n.Owner {
			if registers(c) {
				return badMetadata("subject_type", "A client of somebody else knows people by the host of these redirect URIs.")
			}
			return fault.New(fault.Forbidden, "forbidden", "A client of somebody else is in the sector %s: only an administrator may put another one there. It needs %s.", m.Sector, access.TrustClient)
		}
	}
	return rows.Err()
}

// redirectsAlone tells whether what people let the client do goes to its redirect URIs and nowhere else.
func redirectsAlone(s Settings) bool {
	return !s.Metadata.PersonPassword && !slices.ContainsFunc(s.GrantTypes, func(g string) bool {
		return g != GrantAuthorizationCode && g != GrantImplicit && g != GrantClientCredentials
	})
}
