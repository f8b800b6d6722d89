package transfer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
)

// maxRecords bounds what of one table, and of each side of the log, is given out: the newest of the log.
const maxRecords = 5000

// Held is all that is held of a person, by table; what is a secret of the person's is not among it.
type Held struct {
	UserID   string
	At       time.Time
	Sections []Section
}

// Section is what one table holds.
type Section struct {
	Name    string
	Records []Record
}

// Export answers all that is held of a person, to administrators and to the person itself, and records that it did.
func (s *Service) Export(ctx context.Context, tx db.WriteTx, c access.Caller, userID string) (Held, error) {
	if own := c.Kind == access.Person && c.ID == userID && c.ClientID == ""; !own {
		if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
			return Held{}, err
		}
	}
	u, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return Held{}, err
	}
	out := Held{UserID: userID, At: tx.Now()}
	for _, h := range tables {
		records, err := h.read(ctx, tx, userID)
		if err != nil {
			return Held{}, err
		}
		if len(records) > 0 {
			out.Sections = append(out.Sections, Section{h.table, records})
		}
	}
	teams, err := db.Texts(ctx, tx, `SELECT team FROM team_members WHERE realm = $1 AND username = $2 ORDER BY team`, u.Realm, u.Username)
	if err != nil {
		return Held{}, fmt.Errorf("read the teams of a person: %w", err)
	}
	if len(teams) > 0 {
		s := Section{Name: "team_members"}
		for _, team := range teams {
			s.Records = append(s.Records, Record{"team": team})
		}
		out.Sections = append(out.Sections, s)
	}
	events, err := eventsOf(ctx, tx, userID)
	if err != nil {
		return Held{}, err
	}
	if len(events) > 0 {
		out.Sections = append(out.Sections, Section{"audit_events", events})
	}
	return out, audit.Done(ctx, tx, c, "user.export", "user", userID, map[string]any{"realm": u.Realm})
}

// ExportOwn is Export to the caller itself, at its account. One address gets it a few times within ten minutes: it reads
// much.
func (s *Service) ExportOwn(ctx context.Context, c access.Caller) (out Held, err error) {
	if err := s.limit(c.IP); err != nil {
		return Held{}, err
	}
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		p, err := identity.OwnPerson(ctx, tx, c)
		if err != nil {
			return err
		}
		out, err = s.Export(ctx, tx, c, p.ID)
		return err
	})
	return out, err
}

// eventsOf are the events of the log that the person made, and those that others made of it. Who the others are is theirs.
func eventsOf(ctx context.Context, tx db.ReadTx, userID string) (list []Record, err error) {
	newest := ` ORDER BY at DESC LIMIT ` + strconv.Itoa(maxRecords) + `) h` // inside: the order of a part binds nobody outside it
	for _, side := range []struct{ by, query string }{
		{"the person", `FROM (SELECT at, action, outcome, ip FROM audit_events WHERE actor_kind = 'person' AND actor_id = $1` + newest},
		{"somebody else", `FROM (SELECT at, action, outcome, '' AS ip FROM audit_events WHERE about = $1` + newest},
	} {
		found, err := held{table: "audit_events", shown: "at:time action outcome ip", query: side.query}.read(ctx, tx, userID)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			r["by"] = side.by
		}
		list = append(list, found...)
	}
	return list, nil
}

// Erase removes a person and all that is held of it, in the caller's transaction. confirm is the username, so that nobody
// erases another than he means. What stays is the id, which is nobody's name any more, and the audit log; the name is free.
func (s *Service) Erase(ctx context.Context, tx db.WriteTx, c access.Caller, userID, confirm string) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	u, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	if confirm != u.Username {
		return fault.InvalidAt("body.confirm", "not_confirmed", "To erase a person, repeat the username. It cannot be undone.")
	}
	return s.dir.RemovePerson(ctx, tx, c, userID)
}

// errStays is the answer to somebody whose realm erases nobody at his own wish.
var errStays error = fault.New(fault.Forbidden, "not_erased", "Accounts here are erased by an administrator.")

// ErasesOwn tells whether people of the realm may erase their accounts themselves.
func (s *Service) ErasesOwn(realmName string) bool { return slices.Contains(s.o.SelfErase, realmName) }

// EraseOwn is Erase by the person itself, where its realm lets people do that. The person is told by a letter.
func (s *Service) EraseOwn(ctx context.Context, tx db.WriteTx, c access.Caller, confirm string) error {
	p, err := identity.OwnPerson(ctx, tx, c)
	if err != nil {
		return err
	}
	if !s.ErasesOwn(p.Realm) {
		return errStays
	}
	if confirm != p.Username {
		return fault.InvalidAt("confirm", "not_confirmed", "To erase the account, type its username as it stands here. It cannot be undone.")
	}
	if s.o.Farewell != nil { // while it is known where to and in which language
		if err := s.o.Farewell(ctx, tx, p); err != nil {
			return err
		}
	}
	return s.dir.RemoveOwn(ctx, tx, c)
}
