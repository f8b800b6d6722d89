package federation

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/redact"
)

// maxLinks is how many identities one person may have.
const maxLinks = 20

// link is a row of linked_identities; with an empty id there is none.
type link struct{ id, userID string }

func findLink(ctx context.Context, tx db.ReadTx, providerID, subject string) (k link, err error) {
	err = tx.QueryRow(ctx, `SELECT id, user_id FROM linked_identities WHERE provider_id = $1 AND subject = $2`, providerID, subject).Scan(&k.id, &k.userID)
	if errors.Is(err, db.ErrNoRows) {
		return link{}, nil
	}
	if err != nil {
		return link{}, fmt.Errorf("look up a link: %w", err)
	}
	return k, nil
}

// taken is the answer to linking what is linked already.
func taken(own bool) error {
	if own {
		return fault.New(fault.Conflict, "identity_linked", "This is linked with your account already.")
	}
	return fault.New(fault.Conflict, "identity_taken", "This is linked with another account here. Sign in to that one and unlink it first.")
}

// link stores that an identity is this person, if it is nobody yet.
func (s *Service) link(ctx context.Context, tx db.WriteTx, c access.Caller, p Provider, f Found, u identity.User) (link, error) {
	k, err := findLink(ctx, tx, p.ID, f.Subject)
	if err != nil {
		return link{}, err
	}
	if k.id != "" {
		return link{}, taken(k.userID == u.ID)
	}
	var n int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM linked_identities WHERE user_id = $1`, u.ID).Scan(&n); err != nil {
		return link{}, fmt.Errorf("count links: %w", err)
	}
	if n >= maxLinks {
		return link{}, fault.New(fault.Conflict, "too_many_links", "There are %d linked accounts already, which is as many as there can be.", n)
	}
	k = link{id.New(id.Link, tx.Now()), u.ID}
	if err := db.One(tx.Exec(ctx, `INSERT INTO linked_identities (id, provider_id, subject, user_id, label, created, last_used) VALUES ($1, $2, $3, $4, $5, $6, 0)`,
		k.id, p.ID, f.Subject, u.ID, f.Label, db.Micros(tx.Now()))); err != nil {
		return link{}, fmt.Errorf("store a link: %w", err)
	}
	return k, audit.Done(ctx, tx, c, "identity.link", "user", u.ID, map[string]any{"provider": p.ID, "subject": f.Subject, "link": k.id})
}

// LinkPending links a person who is signed in, and has just proved to be it, with who somebody is at a provider by a login
// of the same browser.
func (s *Service) LinkPending(ctx context.Context, tx db.WriteTx, c access.Caller, u identity.User, sessionID, loginID string, browser redact.Secret) (returnTo string, err error) {
	if c.Kind != access.Person || c.ID != u.ID {
		return "", fault.New(fault.Forbidden, "forbidden", "Only the person itself may do this.")
	}
	w, err := s.Pending(ctx, tx, loginID, browser)
	if err != nil {
		return "", err
	}
	if err := w.Linkable(u, sessionID); err != nil {
		return "", err
	}
	if err := w.use(ctx, tx); err != nil {
		return "", err
	}
	if _, err = s.link(ctx, tx, c, w.provider, w.Found, u); err != nil {
		return "", err
	}
	return w.ReturnTo, s.tell(ctx, tx, Change{User: u, Provider: w.Provider, Linked: true, By: c})
}

// Links lists who a person is at providers, the oldest first.
func Links(ctx context.Context, tx db.ReadTx, userID string) ([]api.LinkedIdentity, error) {
	rows, err := tx.Query(ctx, `SELECT k.id, k.provider_id, p.name, k.subject, k.label, k.created, k.last_used FROM linked_identities k
		JOIN login_providers p ON p.id = k.provider_id WHERE k.user_id = $1 ORDER BY k.id LIMIT 100`, userID)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	defer rows.Close()
	list := []api.LinkedIdentity{}
	for rows.Next() {
		var l api.LinkedIdentity
		var created, used int64
		if err := rows.Scan(&l.ID, &l.Provider, &l.ProviderName, &l.Subject, &l.Label, &created, &used); err != nil {
			return nil, fmt.Errorf("read a link: %w", err)
		}
		if l.Created = db.Time(created); used != 0 {
			at := db.Time(used)
			l.LastUsed = &at
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

// Unlink has an identity be nobody here any more: by the person itself, if something else is left to sign in with, or by
// an administrator. Sessions that began with it end, but for the one that is named.
func (s *Service) Unlink(ctx context.Context, tx db.WriteTx, c access.Caller, userID, linkID, keepSession string) error {
	own := c.Kind == access.Person && c.ID == userID && userID != ""
	if !own {
		if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
			return err
		}
	}
	var provider, name, subject string
	err := tx.QueryRow(ctx, `SELECT k.provider_id, p.name, k.subject FROM linked_identities k JOIN login_providers p ON p.id = k.provider_id
		WHERE k.id = $1 AND k.user_id = $2`, linkID, userID).Scan(&provider, &name, &subject)
	if errors.Is(err, db.ErrNoRows) {
		return fault.New(fault.NotFound, "identity_not_found", "There is no such linked account.")
	}
	if err != nil {
		return fmt.Errorf("read a link: %w", err)
	}
	if own {
		if err := somethingLeft(ctx, tx, userID, linkID); err != nil {
			return err
		}
	}
	if err := db.One(tx.Exec(ctx, `DELETE FROM linked_identities WHERE id = $1 AND user_id = $2`, linkID, userID)); err != nil {
		return fmt.Errorf("unlink: %w", err)
	}
	if err := s.leave(ctx, tx, userID, provider); err != nil {
		return err
	}
	if _, err := s.endSessions(ctx, tx, c, "unlinked", sessionsOf{provider: provider, subject: subject, except: keepSession}); err != nil {
		return err
	}
	if err := audit.Done(ctx, tx, c, "identity.unlink", "user", userID, map[string]any{"provider": provider, "subject": subject, "link": linkID}); err != nil {
		return err
	}
	u, err := identity.LoadUser(ctx, tx, userID)
	if err != nil {
		return err
	}
	return s.tell(ctx, tx, Change{User: u, Provider: name, By: c})
}

// somethingLeft refuses to take away the last thing that somebody can sign in with.
func somethingLeft(ctx context.Context, tx db.ReadTx, userID, linkID string) error {
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil || p.HasPassword {
		return err
	}
	f, err := mfa.Load(ctx, tx, userID)
	if err != nil || len(f.Passkeys) > 0 {
		return err
	}
	others, err := countLinks(ctx, tx, userID, linkID)
	if err != nil || others > 0 {
		return err
	}
	return fault.New(fault.Conflict, "last_credential", "This is the only thing to sign in with that is left. Add a passkey or a password first.")
}

func countLinks(ctx context.Context, tx db.ReadTx, userID, except string) (n int, err error) {
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM linked_identities k JOIN login_providers p ON p.id = k.provider_id
		WHERE k.user_id = $1 AND k.id <> $2 AND p.enabled`, userID, except).Scan(&n); err != nil {
		return 0, fmt.Errorf("count links: %w", err)
	}
	return n, nil
}

// Linked tells whether somebody can sign in with a provider.
func Linked(ctx context.Context, tx db.ReadTx, userID string) (bool, error) {
	n, err := countLinks(ctx, tx, userID, "")
	return n > 0, err
}

// forget removes all that is kept here of a person who is removed.
func (s *Service) forget(ctx context.Context, tx db.WriteTx, u identity.User) error {
	for _, query := range []string{`DELETE FROM linked_identities WHERE user_id = $1`, `DELETE FROM upstream_logins WHERE user_id = $1`} {
		if _, err := tx.Exec(ctx, query, u.ID); err != nil {
			return fmt.Errorf("forget the links of a person: %w", err)
		}
	}
	return nil
}
