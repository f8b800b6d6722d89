package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
)

// topicOrigin tells of origins that a client was given or lost, by the origin.
const topicOrigin = "client_origin"

// maxOriginText bounds what is looked up: a header of a stranger.
const maxOriginText = 300

// Origins are where scripts that act for the client may call from: what its owner said, else where its redirect URIs on
// https and on the loopback interface are. The port belongs to an origin, so unlike for a redirect it is compared.
func (c Client) Origins() []string { return originsOf(c.Metadata, c.RedirectURIs) }

// MayCallFrom tells whether scripts of the origin may read what the client is answered.
func (c Client) MayCallFrom(origin string) bool { return slices.Contains(c.Origins(), origin) }

func originsOf(m Metadata, redirects []string) []string {
	if len(m.Origins) > 0 {
		return m.Origins
	}
	var list []string
	for _, uri := range redirects {
		if o := origin(uri); o != "" && !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list
}

// KnownOrigin tells from memory whether any client may be called for from the origin: for the question that a browser
// asks before a request, and in which it names no client.
func (c *Clients) KnownOrigin(ctx context.Context, origin string) (bool, error) {
	if len(origin) > maxOriginText || !strings.HasPrefix(origin, "https://") && !strings.HasPrefix(origin, "http://") {
		return false, nil
	}
	known, err := c.origins.Get(ctx, origin)
	if err != nil {
		return false, unavailable(err)
	}
	return known, nil
}

func loadOrigin(ctx context.Context, tx db.ReadTx, origin string) (known bool, err error) {
	var n int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT client_id FROM client_origins WHERE origin = $1 LIMIT 1) AS found`, origin).Scan(&n); err != nil {
		return false, fmt.Errorf("look up an origin: %w", err)
	}
	return n > 0, nil
}

// storeOrigins keeps what KnownOrigin finds, and tells every node what has changed.
func storeOrigins(ctx context.Context, tx db.WriteTx, clientID string, s Settings) error {
	before, err := loadOrigins(ctx, tx, clientID)
	if err != nil {
		return err
	}
	now := originsOf(s.Metadata, s.RedirectURIs)
	for _, o := range before {
		if !slices.Contains(now, o) {
			if err := db.One(tx.Exec(ctx, `DELETE FROM client_origins WHERE origin = $1 AND client_id = $2`, o, clientID)); err != nil {
				return fmt.Errorf("remove an origin: %w", err)
			}
			if err := tx.Changed(ctx, topicOrigin, o); err != nil {
				return err
			}
		}
	}
	for _, o := range now {
		if !slices.Contains(before, o) {
			if err := db.One(tx.Exec(ctx, `INSERT INTO client_origins (origin, client_id) VALUES ($1, $2)`, o, clientID)); err != nil {
				return fmt.Errorf("store an origin: %w", err)
			}
			if err := tx.Changed(ctx, topicOrigin, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func loadOrigins(ctx context.Context, tx db.ReadTx, clientID string) ([]string, error) {
	rows, err := tx.Query(ctx, `SELECT origin FROM client_origins WHERE client_id = $1`, clientID)
	if err != nil {
		return nil, fmt.Errorf("read origins: %w", err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var o string
		if err := rows.Scan(&o); err != nil {
			return nil, fmt.Errorf("read origins: %w", err)
		}
		list = append(list, o)
	}
	return list, rows.Err()
}
