package oauth

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

const macSession = "pairwise-session"

// hears tells whether the client wants to know that a session has ended.
func hears(c Client) bool {
	return c.Metadata.BackchannelLogoutURI != "" || c.Metadata.FrontchannelLogoutURI != ""
}

// sessionName is the name by which the client knows a session: the claim sid. It is the session's id, which is public; but
// what is the same for two clients that must not find out that they know one person is another for each.
func (p *people) sessionName(c Client, sessionID string) string {
	if c.Metadata.SubjectType != registry.SubjectPairwise {
		return sessionID
	}
	macs := p.Keyring.LookupMACs(macSession, redact.New(sectorOf(c)+"\n"+sessionID))
	first := macs[len(macs)-1] // as in subject: it must not change while the session lasts
	return base64.RawURLEncoding.EncodeToString(first[macTermSize:])
}

// toldOf is the session that a client which wants to know of its end is told of, with its tokens; "" is none. A device is
// not in the session of the browser that allowed it.
func (g *grant) toldOf(c Client) string {
	if g.by == grantDeviceCode || !hears(c) {
		return ""
	}
	return g.session
}

// participates notes that the client is told of a session, in the transaction in which its grant begins. A session that
// has just ended has no row, and then there is nothing to note.
func participates(ctx context.Context, tx db.WriteTx, b *beginning) error {
	c := b.request.client
	if b.device != nil || b.person.ID == "" || !hears(c) {
		return nil
	}
	if _, err := tx.Exec(ctx, `INSERT INTO session_clients (session_id, client_id, backchannel)
		SELECT id, CAST($2 AS TEXT), CAST($3 AS BOOLEAN) FROM sessions WHERE id = $1
		ON CONFLICT (session_id, client_id) DO UPDATE SET backchannel = excluded.backchannel WHERE session_clients.backchannel <> excluded.backchannel`,
		b.person.ID, c.ID, c.Metadata.BackchannelLogoutURI != ""); err != nil {
		return fmt.Errorf("note a client of a session: %w", err)
	}
	return nil
}

// endingSessions selects the sessions that end, in SQL: s is their table.
func endingSessions(which session.Which) (condition string, args []any) {
	switch {
	case which.ID != "":
		return `s.id = $1`, []any{which.ID}
	case which.UserID != "":
		return `s.user_id = $1`, []any{which.UserID}
	case which.Realm != "":
		return `s.user_id IN (SELECT id FROM users WHERE realm = $1)`, []any{which.Realm}
	case which.All:
		return `s.id <> ''`, nil
	}
	return `s.id = ''`, nil
}
