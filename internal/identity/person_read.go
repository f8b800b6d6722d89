package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// PeopleFilter says which people to list, in the order of realm and username.
type PeopleFilter struct {
	Realm         string // canonical; "": all
	Username      string // in canonical form, the one of Realm; "": all
	AfterRealm    string // where the page before ended
	AfterUsername string
	Limit         int
}

const (
	personColumns = `u.id, u.realm, u.username, u.display_name, coalesce(u.application, ''), u.admin, u.created, u.enabled_since, u.disabled,
	coalesce(p.email, ''), coalesce(p.email_verified, 0), u.disabled_reason, coalesce(p.phone, ''), coalesce(p.address, ''), coalesce(w.changed, 0), coalesce(n.entry, '')`
	selectPerson = `SELECT ` + personColumns + ` FROM users u LEFT JOIN people p ON p.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id LEFT JOIN person_entries n ON n.user_id = u.id
	WHERE u.application IS NULL`
)

// scanPerson reads personColumns, and what a query selects behind them.
func scanPerson(row db.Row, more ...any) (p Person, err error) {
	var created, enabled, disabled, verified, changed int64
	err = row.Scan(append([]any{&p.ID, &p.Realm, &p.Username, &p.DisplayName, &p.Application, &p.Admin, &created, &enabled, &disabled, &p.Email, &verified, &p.DisabledReason, &p.Phone, &p.Address, &changed, &p.Entry}, more...)...)
	if errors.Is(err, db.ErrNoRows) {
		return Person{}, fault.New(fault.NotFound, "user_not_found", "There is no such user.")
	}
	if err != nil {
		return Person{}, fmt.Errorf("read person: %w", err)
	}
	p.Created, p.EnabledSince, p.Disabled, p.PasswordChanged = db.Time(created), db.Time(enabled), db.Time(disabled), db.Time(changed)
	p.EmailVerified, p.HasPassword = db.Time(verified), changed != 0
	return p, nil
}

// LoadPerson reads the person with this id. A service user is nobody here.
func LoadPerson(ctx context.Context, tx db.ReadTx, userID string) (Person, error) {
	return scanPerson(tx.QueryRow(ctx, selectPerson+` AND u.id = $1`, userID))
}

// loadPersonUser is LoadUser for people.
func loadPersonUser(ctx context.Context, tx db.ReadTx, userID string) (User, error) {
	u, err := LoadUser(ctx, tx, userID)
	if err == nil && u.Application != "" {
		return User{}, fault.New(fault.NotFound, "user_not_found", "There is no such user.")
	}
	return u, err
}

const listPeople = selectPerson + ` AND (u.realm, u.username) > ($1, $2) AND u.realm <= $3 ORDER BY u.realm, u.username LIMIT $4`

// ListPeople reads a page of people.
func ListPeople(ctx context.Context, tx db.ReadTx, c access.Caller, f PeopleFilter) ([]Person, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user"}); err != nil {
		return nil, err
	}
	// One range of users_people, also within a realm that lies behind a million others.
	first, last := max(f.AfterRealm, f.Realm), f.Realm
	if last == "" {
		last = lastText
	}
	after := f.AfterUsername
	if first != f.AfterRealm {
		after = ""
	}
	query, args := listPeople, []any{first, after, last, f.Limit}
	if f.Username != "" {
		query, args = selectPerson+` AND u.realm = $1 AND u.username = $2 LIMIT $3`, []any{f.Realm, f.Username, f.Limit}
	}
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	defer rows.Close()
	var list []Person
	for rows.Next() {
		p, err := scanPerson(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}
