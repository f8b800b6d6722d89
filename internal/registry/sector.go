package registry

import (
	"context"
	"fmt"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// checkSector refuses a sector of pairwise subjects in which somebody else's clients know people already, unless an
// administrator says so: in one sector all clients know a person by the same name. That a host stands among the redirect
// URIs proves nothing, because the code may go to another one of them, or to a device.
func checkSector(ctx context.Context, tx db.ReadTx, c access.Caller, n StandaloneClient, before Settings) error {
	m, was := n.Settings.Metadata, before.Metadata
	if m.SubjectType != SubjectPairwise || m.Sector == "" || n.Untrusted || was.SubjectType == SubjectPairwise && was.Sector == m.Sector {
		return nil // see setUp for clients of strangers
	}
	target := access.Target{Type: "client", ID: n.ID, Team: n.Team}
	if !registers(c) && access.Allow(c, access.TrustClient, target) == nil {
		return nil
	}
	// The metadata is JSON of ours, in which no text holds a quote: this finds the member and nothing else.
	rows, err := tx.Query(ctx, `SELECT coalesce(a.team, c.owner_team, ''), coalesce(c.owner_user, '') FROM client_settings s JOIN clients c ON c.id = s.client_id
		LEFT JOIN applications a ON a.id = c.application WHERE s.client_id <> $1 AND NOT c.untrusted AND replace(s.metadata, $2, '') <> s.metadata`,
		n.ID, `"sector":"`+m.Sector+`"`)
	if err != nil {
		return fmt.Errorf("look for clients of a sector: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var team, owner string
		if err := rows.Scan(&team, &owner); err != nil {
			return fmt.Errorf("look for clients of a sector: %w", err)
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
