package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// What people change of themselves. Whether their realm lets them is asked by package account.

// OwnPerson is the caller as a person who is enabled. A client that acts for somebody is not that person.
func OwnPerson(ctx context.Context, tx db.ReadTx, c access.Caller) (Person, error) {
	if c.Kind != access.Person || c.ID == "" || c.ClientID != "" { // in person, not by some client's token
		return Person{}, errNotOwn
	}
	p, err := LoadPerson(ctx, tx, c.ID)
	if err == nil && !p.Disabled.IsZero() {
		err = ErrCredentials
	}
	return p, err
}

// UpdateOwn changes what is known of the caller, but the address of mail: see ChangeOwnEmail.
func (dir *Directory) UpdateOwn(ctx context.Context, tx db.WriteTx, c access.Caller, up PersonUpdate) error {
	p, err := OwnPerson(ctx, tx, c)
	if err != nil {
		return err
	}
	if up.Email != nil {
		return errNotOwn
	}
	return dir.updatePerson(ctx, tx, c, p, up)
}

// ChangeOwnEmail gives the caller another address, at which it has shown to receive mail. The caller of this function has
// seen that, in this transaction. Nobody is asked to verify it.
func (dir *Directory) ChangeOwnEmail(ctx context.Context, tx db.WriteTx, c access.Caller, email string) error {
	p, err := OwnPerson(ctx, tx, c)
	if err != nil {
		return err
	}
	if err := ensurePeopleRow(ctx, tx, p); err != nil {
		return err
	}
	return dir.changeEmail(ctx, tx, c, p, email, true)
}

// RemoveOwn is RemovePerson by the person itself. An administrator goes by another one, so that somebody is left who can
// let people in; and who is in a directory of the organisation would come back with the next login.
func (dir *Directory) RemoveOwn(ctx context.Context, tx db.WriteTx, c access.Caller) error {
	p, err := OwnPerson(ctx, tx, c)
	if err != nil {
		return err
	}
	if p.Admin {
		return fault.New(fault.Conflict, "administrator_stays", "You are an administrator: another one must erase your account.")
	}
	if _, elsewhere := dir.PasswordElsewhere(p); elsewhere {
		return fault.New(fault.Conflict, "directory_account", "The directory of your organisation keeps this account: it is ended there.")
	}
	return dir.removePerson(ctx, tx, c, p.User)
}

// EmailFree tells whether the person could have the address: nobody else of the realm has it, as an address or a name.
func EmailFree(ctx context.Context, tx db.ReadTx, p Person, email string) (bool, error) {
	if _, err := parseAddress(email); err != nil {
		return false, err
	}
	return emailFree(ctx, tx, p.Realm, p.ID, email)
}

// maxLanguage bounds a language's tag.
const maxLanguage = 8

// Language is in which language the person wants to be spoken to; "" if nothing was said.
func Language(ctx context.Context, tx db.ReadTx, userID string) (tag string, err error) {
	err = tx.QueryRow(ctx, `SELECT language FROM people WHERE user_id = $1`, userID).Scan(&tag)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return "", fmt.Errorf("read a language: %w", err)
	}
	return tag, nil
}

// SetLanguage notes in which language the caller wants to be spoken to; "" for whatever its browser says.
func (dir *Directory) SetLanguage(ctx context.Context, tx db.WriteTx, c access.Caller, tag string) error {
	p, err := OwnPerson(ctx, tx, c)
	if err != nil {
		return err
	}
	if len(tag) > maxLanguage || !printableName(tag) && tag != "" {
		return fault.New(fault.Invalid, "language", "There is no such language.").At("language", "not known")
	}
	before, err := Language(ctx, tx, p.ID)
	if err != nil || before == tag {
		return err
	}
	if err := ensurePeopleRow(ctx, tx, p); err != nil {
		return err
	}
	if err := db.One(tx.Exec(ctx, `UPDATE people SET language = $2 WHERE user_id = $1`, p.ID, tag)); err != nil {
		return fmt.Errorf("store a language: %w", err)
	}
	return record(ctx, tx, c, "user.update", p.ID, map[string]any{"realm": p.Realm, "username": p.Username, "language": tag})
}
