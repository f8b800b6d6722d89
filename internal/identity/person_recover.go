package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/realm"
)

// What changes of a person by links that were sent to her (package account), and by administrators.

// OnEmailChanged registers who is told of another address, which perhaps nobody has verified. Register before serving.
func (dir *Directory) OnEmailChanged(f EmailHook) {
	dir.people.onEmail = append(dir.people.onEmail, f)
}

// RecoverPassword gives somebody another password who has shown to be the person by something else than the one before:
// a link that was sent to her. The caller has checked that, in this transaction. What the old one began ends: see
// OnPasswordChanged.
func (dir *Directory) RecoverPassword(ctx context.Context, tx db.WriteTx, c access.Caller, userID string, h Hashed) error {
	if c.Kind != access.Person || c.ID != userID {
		return errNotOwn
	}
	u, err := loadPersonUser(ctx, tx, userID)
	if err != nil {
		return err
	}
	if !u.Disabled.IsZero() {
		return ErrCredentials
	}
	if h.form.Empty() {
		return fault.New(fault.Invalid, "password_form", "The password must not be empty.").At("password", "empty")
	}
	if err := dir.keepsPassword(ctx, tx, u); err != nil {
		return err
	}
	if err := dir.storePassword(ctx, tx, userID, h, false); err != nil {
		return err
	}
	return dir.passwordChanged(ctx, tx, c, u, "user.recover_password")
}

// MarkEmailVerified notes that the person receives mail at her address, if it is this one still.
func MarkEmailVerified(ctx context.Context, tx db.WriteTx, c access.Caller, p Person, email string) error {
	if EmailKey(p.Email) != EmailKey(email) || email == "" {
		return fault.New(fault.Conflict, "email_changed", "The account has another e-mail address by now.")
	}
	if !p.EmailVerified.IsZero() {
		return nil
	}
	if err := db.One(tx.Exec(ctx, `UPDATE people SET email_verified = $2 WHERE user_id = $1`, p.ID, db.Micros(tx.Now()))); err != nil {
		return fmt.Errorf("note that an address is verified: %w", err)
	}
	return record(ctx, tx, c, "user.verify_email", p.ID, map[string]any{"realm": p.Realm, "username": p.Username})
}

// FindPerson finds the person who may sign in with this name or address, or answers false. The realm may come in any
// spelling.
func (dir *Directory) FindPerson(ctx context.Context, tx db.ReadTx, realmName, typed string) (p Person, ok bool, err error) {
	r, err := dir.o.Realms.Lookup(realmName)
	if err != nil || r.Kind != realm.People {
		return Person{}, false, nil
	}
	username, email := loginNames(typed)
	if username == "" && email == "" {
		return Person{}, false, nil
	}
	var userID string
	err = tx.QueryRow(ctx, `SELECT id FROM users WHERE realm = $1 AND username = $2 AND application IS NULL
		UNION SELECT user_id FROM people WHERE realm = $1 AND email_key = $3 LIMIT 1`, r.Name, username, email).Scan(&userID)
	if errors.Is(err, db.ErrNoRows) {
		return Person{}, false, nil
	}
	if err != nil {
		return Person{}, false, fmt.Errorf("look for a person: %w", err)
	}
	p, err = LoadPerson(ctx, tx, userID)
	return p, err == nil, err
}

// Proved is the person as VerifyPersonPassword answers it. The caller has made sure that it is this person.
func (p Person) Proved() User {
	u := p.User
	if p.HasPassword {
		u.Proof = db.Micros(p.PasswordChanged)
	}
	return u
}

// ParseEmail checks a bare address, and answers its compared form.
func ParseEmail(email string) (key string, err error) {
	a, err := parseAddress(email)
	if err == nil && a.key == "" {
		err = fault.New(fault.Invalid, "email", "The e-mail address must not be empty.").At("email", "empty")
	}
	return a.key, err
}

// PersonUpdate is what an administrator changes of a person. What is nil stays.
type PersonUpdate struct {
	DisplayName, Email, Phone, Address *string
}

// UpdatePerson changes what is known of a person. Another address is not verified, and its person is asked to.
func (dir *Directory) UpdatePerson(ctx context.Context, tx db.WriteTx, c access.Caller, userID string, up PersonUpdate) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	p, err := LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	if err := dir.updatePerson(ctx, tx, c, p, up); err != nil {
		return err
	}
	if up.Email == nil || *up.Email == p.Email {
		return nil
	}
	if err := ensurePeopleRow(ctx, tx, p); err != nil {
		return err
	}
	return dir.ChangeEmail(ctx, tx, c, userID, *up.Email)
}

// updatePerson is UpdatePerson but for the address of mail.
func (dir *Directory) updatePerson(ctx context.Context, tx db.WriteTx, c access.Caller, p Person, up PersonUpdate) error {
	userID := p.ID
	changed := map[string]any{"realm": p.Realm, "username": p.Username}
	name, phone, street := p.DisplayName, p.Phone, p.Address
	for field, x := range map[string]struct{ to, from *string }{"display_name": {&name, up.DisplayName}, "phone": {&phone, up.Phone}, "address": {&street, up.Address}} {
		if x.from != nil && *x.from != *x.to {
			*x.to, changed[field] = *x.from, true
		}
	}
	if !printableName(name) {
		return fault.New(fault.Invalid, "display_name", "The name to show must be text of at most %d bytes without control characters.", maxDisplayName).At("display_name", "not valid")
	}
	if err := checkContact(phone, street); err != nil {
		return err
	}
	for field := range changed {
		if err := dir.KeepsFields(p, field); err != nil {
			return err
		}
	}
	if len(changed) > 2 {
		if err := db.One(tx.Exec(ctx, `UPDATE users SET display_name = $2 WHERE id = $1`, userID, name)); err != nil {
			return fmt.Errorf("store a name to show: %w", err)
		}
		if err := ensurePeopleRow(ctx, tx, p); err != nil {
			return err
		}
		if err := db.One(tx.Exec(ctx, `UPDATE people SET phone = $2, address = $3 WHERE user_id = $1`, userID, phone, street)); err != nil {
			return fmt.Errorf("store how a person is reached: %w", err)
		}
		if err := indexPerson(ctx, tx, userID); err != nil {
			return err
		}
		return record(ctx, tx, c, "user.update", userID, changed)
	}
	return nil
}

// ensurePeopleRow gives the first administrator, who had none of it, a row for how she is reached.
func ensurePeopleRow(ctx context.Context, tx db.WriteTx, p Person) error {
	if _, err := tx.Exec(ctx, `INSERT INTO people (user_id, realm, email, email_key, phone, address) VALUES ($1, $2, '', NULL, '', '') ON CONFLICT (user_id) DO NOTHING`, p.ID, p.Realm); err != nil {
		return fmt.Errorf("store how a person is reached: %w", err)
	}
	return nil
}
