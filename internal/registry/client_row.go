package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// clientRow is what the table of clients holds of one.
type clientRow struct {
	ID            string
	Application   string // "": it stands alone
	Team          string // the owning team, of its application if it has one
	Owner         string // the id of the person who owns it
	Untrusted     bool
	Confidential  bool
	Created       time.Time
	CreatedBy     string
	Expires       time.Time
	Disabled      time.Time
	OwnerDisabled bool // the person who owns it is disabled, and so it is refused
}

const selectClient = `SELECT c.id, coalesce(c.application, ''), coalesce(a.team, c.owner_team, ''), coalesce(c.owner_user, ''), c.untrusted, c.confidential,
	c.created, c.created_by, c.expires, c.disabled, coalesce(o.disabled, 0) FROM clients c LEFT JOIN applications a ON a.id = c.application LEFT JOIN users o ON o.id = c.owner_user`

func scanClient(row scanner) (c clientRow, err error) {
	var created, expires, disabled, owner int64
	err = row.Scan(&c.ID, &c.Application, &c.Team, &c.Owner, &c.Untrusted, &c.Confidential, &created, &c.CreatedBy, &expires, &disabled, &owner)
	c.Created, c.Expires, c.Disabled, c.OwnerDisabled = db.Time(created), db.Time(expires), db.Time(disabled), owner != 0
	return c, err
}

func loadClientRow(ctx context.Context, tx db.ReadTx, clientID string) (clientRow, error) {
	c, err := scanClient(tx.QueryRow(ctx, selectClient+` WHERE c.id = $1`, clientID))
	if errors.Is(err, db.ErrNoRows) {
		return clientRow{}, errNoClient()
	}
	if err != nil {
		return clientRow{}, fmt.Errorf("read a client: %w", err)
	}
	return c, nil
}

// target is what somebody who changes the client is asked about, and the right that it needs: an application's client is
// changed by who may change the application.
func (c clientRow) target() (access.Action, access.Target) {
	if c.Application != "" {
		return access.WriteApplication, access.Target{Type: "application", ID: c.Application, Team: c.Team}
	}
	return access.WriteClient, access.Target{Type: "client", ID: c.ID, Team: c.Team, Owner: c.Owner}
}

// permitClient reads a client that the caller may change. Who may not even read clients does not learn which there are.
func permitClient(ctx context.Context, tx db.ReadTx, c access.Caller, clientID string) (clientRow, error) {
	row, err := loadClientRow(ctx, tx, clientID)
	if fault.Is(err, fault.NotFound) {
		return clientRow{}, cmp.Or(access.Allow(c, access.ReadClient, access.Target{Type: "client", ID: clientID}), err)
	}
	if err != nil {
		return clientRow{}, err
	}
	action, target := row.target()
	if err := access.Allow(c, action, target); err != nil {
		return clientRow{}, err
	}
	return row, nil
}
