package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// EmailKey is the form in which addresses are compared; "" for what is none.
func EmailKey(text string) string {
	a, err := parseAddress(text)
	if err != nil {
		return ""
	}
	return a.key
}

// ChangeEmail gives a person another address. A username that was the address before follows it, if it can.
func (dir *Directory) ChangeEmail(ctx context.Context, tx db.WriteTx, c access.Caller, userID, email string) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	p, err := LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	return dir.changeEmail(ctx, tx, c, p, email, false)
}

// changeEmail is ChangeEmail by whoever may. shown says that the person has just shown to receive mail there.
func (dir *Directory) changeEmail(ctx context.Context, tx db.WriteTx, c access.Caller, p Person, email string, shown bool) error {
	userID := p.ID
	mail, err := parseAddress(email)
	if err != nil {
		return err
	}
	if mail.key == "" {
		return fault.InvalidAt("body.email", "required", "The e-mail address must not be empty.")
	}
	if mail.text == p.Email {
		return nil
	}
	if err := dir.KeepsFields(p, "email"); err != nil {
		return err
	}
	username := p.Username
	if p.Username == EmailKey(p.Email) {
		if username, err = canonicalUsername(email); err != nil {
			username = userID
		}
	}
	if err := freeBut(ctx, tx, p.User, username, mail); err != nil {
		return err
	}
	verified := verifiedStill(p, mail)
	if shown {
		verified = db.Micros(tx.Now())
	}
	if err := db.One(tx.Exec(ctx, `UPDATE people SET email = $2, email_key = $3, email_verified = $4 WHERE user_id = $1`, userID, mail.text, mail.key, verified)); err != nil {
		return fmt.Errorf("store an address: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET username = $2 WHERE id = $1`, userID, username)); err != nil {
		return fmt.Errorf("store a name: %w", err)
	}
	if err := dir.renamed(ctx, tx, p.User, username, c); err != nil {
		return err
	}
	if err := indexPerson(ctx, tx, userID); err != nil {
		return err
	}
	for _, hook := range dir.people.onEmail {
		if err := hook(ctx, tx, p, c); err != nil {
			return err
		}
	}
	return record(ctx, tx, c, "user.change_email", userID, map[string]any{"realm": p.Realm, "username": username, "username_before": p.Username})
}

// verifiedStill is since when the address is verified that takes the place of the person's: another spelling of the same
// address stays so.
func verifiedStill(p Person, mail address) int64 {
	if p.EmailVerified.IsZero() || EmailKey(p.Email) != mail.key {
		return 0
	}
	return db.Micros(p.EmailVerified)
}

// freeBut is free for somebody who may have the name or address already.
func freeBut(ctx context.Context, tx db.ReadTx, u User, username string, mail address) error {
	for _, name := range []string{username, mail.key} {
		var other string
		err := tx.QueryRow(ctx, `SELECT id FROM users WHERE realm = $1 AND username = $2 AND id <> $3
			UNION ALL SELECT user_id FROM people WHERE realm = $1 AND email_key = $2 AND user_id <> $3 LIMIT 1`, u.Realm, name, u.ID).Scan(&other)
		if err == nil {
			return fault.New(fault.Conflict, "user_exists", "Somebody in realm %s has this name or address already.", u.Realm)
		}
		if !errors.Is(err, db.ErrNoRows) {
			return fmt.Errorf("look for the name: %w", err)
		}
	}
	return nil
}

// RemovePerson disables a person and removes what it was known by: name, address, password, devices, and what OnPersonRemoved adds. The id stays, with nothing
// behind it, so that it never comes to mean somebody else; the name is free again.
func (dir *Directory) RemovePerson(ctx context.Context, tx db.WriteTx, c access.Caller, userID string) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	u, err := loadPersonUser(ctx, tx, userID)
	if err != nil {
		return err
	}
	return dir.removePerson(ctx, tx, c, u)
}

func (dir *Directory) removePerson(ctx context.Context, tx db.WriteTx, c access.Caller, u User) error {
	userID := u.ID
	if u.Disabled.IsZero() {
		// The name is not told once more: the log would keep it.
		if err := dir.disable(ctx, tx, c, u, "", map[string]any{"realm": u.Realm}); err != nil {
			return err
		}
	}
	if err := dir.ForgetAttempts(ctx, tx, userID); err != nil {
		return err
	}
	// Not everybody has a password, and the first administrator has no address.
	for _, query := range []string{`DELETE FROM person_passwords WHERE user_id = $1`, `DELETE FROM people WHERE user_id = $1`, `DELETE FROM known_devices WHERE user_id = $1`, `DELETE FROM person_keys WHERE user_id = $1`, `DELETE FROM person_entries WHERE user_id = $1`} {
		if _, err := tx.Exec(ctx, query, userID); err != nil {
			return fmt.Errorf("remove a person: %w", err)
		}
	}
	for _, hook := range dir.people.onRemoved {
		if err := hook(ctx, tx, u); err != nil {
			return err
		}
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET username = id, display_name = id, admin = $2 WHERE id = $1`, userID, false)); err != nil {
		return fmt.Errorf("remove a person: %w", err)
	}
	return record(ctx, tx, c, "user.remove", userID, map[string]any{"realm": u.Realm})
}
