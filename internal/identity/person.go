package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// NewPerson is what is said about a person who is made known.
type NewPerson struct {
	Realm       string // in any spelling
	Username    string
	DisplayName string // "": the username
	Email       string // may be empty
	Phone       string // may be empty, and so may Address
	Address     string // of a house, in lines
	Admin       bool
}

// Person is a user of a realm of people.
type Person struct {
	User
	Email           string
	Phone           string
	Address         string
	EmailVerified   time.Time // when the person showed to receive mail there; zero: not yet
	DisabledReason  string    // empty if nothing was said
	HasPassword     bool      // that is kept here
	PasswordChanged time.Time // zero without a password
	Entry           string    // that the person is in the directory of the realm, which looks at her password; "": none
}

// PersonHook is told of a change to a person, in its transaction: what it does commits with the change or not at all.
// The transaction may run several times.
type PersonHook func(ctx context.Context, tx db.WriteTx, u User) error

// EmailHook is told of another address. before is the person as it was, by is who changed it.
type EmailHook func(ctx context.Context, tx db.WriteTx, before Person, by access.Caller) error

// RenameHook is told of another name, once it is stored. before is the person as it was, by is who changed it.
type RenameHook func(ctx context.Context, tx db.WriteTx, before User, username string, by access.Caller) error

// people is the part of a Directory that knows passwords which people chose.
type people struct {
	dir        *Directory
	pool       *password.Pool
	attempts   *db.Batch[*attempt]
	addresses  *addresses
	sources    map[string]Source // by realm; not written any more once it serves
	onDisabled []PersonHook
	onEnabled  []PersonHook
	onPassword []PersonHook
	onDevice   []DeviceHook
	onRemoved  []PersonHook
	onEmail    []EmailHook
	onRenamed  []RenameHook
	onRefused  func(access.Caller, error)
}

func newPeople(dir *Directory) *people {
	p := &people{dir: dir, pool: dir.o.Passwords, addresses: newAddresses(dir.o.Clock), sources: map[string]Source{}, onRefused: func(access.Caller, error) {}}
	p.attempts = db.NewBatch(dir.d, maxAttemptBatch, p.count)
	return p
}

// OnPersonDisabled registers what else ends when a person is disabled. Register before serving.
func (dir *Directory) OnPersonDisabled(f PersonHook) {
	dir.people.onDisabled = append(dir.people.onDisabled, f)
}

// OnPersonEnabled registers what else is accepted again when a person is. Register before serving.
func (dir *Directory) OnPersonEnabled(f PersonHook) {
	dir.people.onEnabled = append(dir.people.onEnabled, f)
}

// OnPasswordChanged registers what ends when a person gets another password. Register before serving.
func (dir *Directory) OnPasswordChanged(f PersonHook) {
	dir.people.onPassword = append(dir.people.onPassword, f)
}

// OnPersonRemoved registers what else goes when a person is removed. Register before serving.
func (dir *Directory) OnPersonRemoved(f PersonHook) {
	dir.people.onRemoved = append(dir.people.onRemoved, f)
}

// OnPersonRenamed registers who keeps something under the name of a person: it must follow, or whoever gets the name next
// has it. Register before serving.
func (dir *Directory) OnPersonRenamed(f RenameHook) {
	dir.people.onRenamed = append(dir.people.onRenamed, f)
}

// renamed tells of another name, if it is one.
func (dir *Directory) renamed(ctx context.Context, tx db.WriteTx, before User, username string, by access.Caller) error {
	if username == before.Username {
		return nil
	}
	for _, hook := range dir.people.onRenamed {
		if err := hook(ctx, tx, before, username, by); err != nil {
			return err
		}
	}
	return nil
}

// Hashed is the stored form of a password that a person may choose. It is made before the transaction that stores it,
// because that must not wait for a slow hash.
type Hashed struct{ form redact.Secret }

// PasswordLength is the least length of new passwords in the realm, which is in canonical form.
func (dir *Directory) PasswordLength(realmName string) int {
	return cmp.Or(dir.o.PasswordLength[realmName], password.MinRunes)
}

// HashPassword checks a new password by the rules of the realm, which is in canonical form, and hashes it. words are what
// belongs to the person and must not make up the password. It must not be called inside a transaction.
func (dir *Directory) HashPassword(ctx context.Context, realmName string, secret redact.Secret, words ...string) (Hashed, error) {
	if err := password.RuleOf(dir.PasswordLength(realmName), secret, append(words, "mintmark")...); err != nil {
		return Hashed{}, err
	}
	form, err := dir.people.pool.Hash(ctx, secret)
	return Hashed{form}, err
}

// canonical is the realm's one spelling, or "" if there is none.
func (dir *Directory) canonical(realmName string) string {
	r, err := dir.o.Realms.Lookup(realmName)
	if err != nil {
		return ""
	}
	return r.Name
}

// ImportedHash takes the stored form of a password from another system: bcrypt, PBKDF2, scrypt or Argon2id. It is
// replaced at the next login.
func ImportedHash(form redact.Secret) (Hashed, error) {
	if err := password.Check(form); err != nil {
		return Hashed{}, fault.Wrap(err, fault.Invalid, "password_hash", "The stored form of the password is not known, or costs too much: Argon2id, bcrypt, PBKDF2 and scrypt are, as PHC strings.").At("password_hash", "not valid")
	}
	return Hashed{form}, nil
}

// Words are what the password of such a person must not be made of.
func (p NewPerson) Words() []string {
	local, domain, _ := strings.Cut(p.Email, "@")
	return append(strings.Fields(p.DisplayName), p.Username, p.Email, local, domain, p.Realm)
}

// CreatePerson makes a person known. With an empty password the person cannot sign in with one until SetPassword. It
// hashes inside the transaction: a server calls HashPassword and CreatePersonHashed instead.
func (dir *Directory) CreatePerson(ctx context.Context, tx db.WriteTx, c access.Caller, p NewPerson, secret redact.Secret) (User, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user"}); err != nil {
		return User{}, err
	}
	var h Hashed
	if !secret.Empty() {
		var err error
		if h, err = dir.HashPassword(ctx, dir.canonical(p.Realm), secret, p.Words()...); err != nil {
			return User{}, err
		}
	}
	return dir.CreatePersonHashed(ctx, tx, c, p, h)
}

// CreatePersonHashed is CreatePerson with a password that was hashed before. The zero Hashed is no password.
func (dir *Directory) CreatePersonHashed(ctx context.Context, tx db.WriteTx, c access.Caller, p NewPerson, h Hashed) (User, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user"}); err != nil {
		return User{}, err
	}
	u, mail, err := dir.checked(p)
	if err != nil {
		return User{}, err
	}
	if err := free(ctx, tx, u.Realm, u.Username, mail); err != nil {
		return User{}, err
	}
	u.ID, u.Created, u.EnabledSince = id.New(id.User, tx.Now()), tx.Now(), tx.Now()
	if err := insertUser(ctx, tx, u, c.String()); err != nil {
		return User{}, err
	}
	var key any // NULL without an address
	if mail.key != "" {
		key = mail.key
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO people (user_id, realm, email, email_key, phone, address) VALUES ($1, $2, $3, $4, $5, $6)`,
		u.ID, u.Realm, mail.text, key, p.Phone, p.Address)); err != nil {
		return User{}, fmt.Errorf("store person: %w", err)
	}
	if err := putKeys(ctx, tx, u, mail.text); err != nil {
		return User{}, err
	}
	if !h.form.Empty() {
		if err := dir.storePassword(ctx, tx, u.ID, h, false); err != nil {
			return User{}, err
		}
	}
	return u, record(ctx, tx, c, "user.create", u.ID, map[string]any{
		"realm": u.Realm, "username": u.Username, "admin": u.Admin, "password": !h.form.Empty()})
}

// checked brings what was said about a person into its one form.
func (dir *Directory) checked(p NewPerson) (User, address, error) {
	r, err := dir.o.Realms.Lookup(p.Realm)
	if err != nil || r.Kind != realm.People {
		return User{}, address{}, fault.New(fault.Invalid, "realm", "There is no such realm of people.").At("realm", "not known")
	}
	u := User{Realm: r.Name, DisplayName: p.DisplayName, Admin: p.Admin}
	if u.Username, err = canonicalUsername(p.Username); err != nil {
		return User{}, address{}, err
	}
	if u.DisplayName == "" {
		u.DisplayName = u.Username
	}
	if !printableName(u.DisplayName) {
		return User{}, address{}, fault.New(fault.Invalid, "display_name", "The name to show must be text of at most %d bytes without control characters.", maxDisplayName).At("display_name", "not valid")
	}
	if err := checkContact(p.Phone, p.Address); err != nil {
		return User{}, address{}, err
	}
	mail, err := parseAddress(p.Email)
	return u, mail, err
}

const (
	maxReason = 200 // as printableName has it
	maxPhone  = 40
	maxStreet = 400
)

// checkContact tells what is wrong with how else a person is reached.
func checkContact(phone, street string) error {
	if len(phone) > maxPhone || strings.Trim(phone, "+0123456789 ()-.") != "" || phone != "" && !strings.ContainsAny(phone, "0123456789") {
		return fault.New(fault.Invalid, "phone", "A telephone number has digits, spaces, and the characters + ( ) - and point, %d at most.", maxPhone).At("phone", "not valid")
	}
	odd := func(r rune) bool { return r != '\n' && r != ' ' && !unicode.IsPrint(r) || r == utf8.RuneError }
	if len(street) > maxStreet || !utf8.ValidString(street) || strings.TrimSpace(street) != street || strings.ContainsFunc(street, odd) {
		return fault.New(fault.Invalid, "address", "An address is text of at most %d bytes, in lines, without other control characters.", maxStreet).At("address", "not valid")
	}
	return nil
}

// free refuses a name or address that leads to somebody already, as whatever it does: whoever signs in with it must be
// one person.
func free(ctx context.Context, tx db.ReadTx, realmName, username string, mail address) error {
	for _, name := range []string{username, mail.key} {
		if name == "" {
			continue
		}
		var other string
		err := tx.QueryRow(ctx, `SELECT id FROM users WHERE realm = $1 AND username = $2
			UNION ALL SELECT user_id FROM people WHERE realm = $1 AND email_key = $2 LIMIT 1`, realmName, name).Scan(&other)
		if err == nil {
			return fault.New(fault.Conflict, "user_exists", "Somebody in realm %s has this name or address already.", realmName)
		}
		if !errors.Is(err, db.ErrNoRows) {
			return fmt.Errorf("look for the name: %w", err)
		}
	}
	return nil
}

// passwordAD is where a person's password lies.
func passwordAD(userID string, version int64) seal.AD {
	return seal.AD{Table: "person_passwords", Column: "box", Row: userID, Version: version}
}

// storePassword puts a stored form into the person's row, as its next version. With same it is another form of the same
// password, which has not changed by that.
func (dir *Directory) storePassword(ctx context.Context, tx db.WriteTx, userID string, h Hashed, same bool) error {
	var version, changed int64
	err := tx.QueryRow(ctx, `SELECT version, changed FROM person_passwords WHERE user_id = $1`, userID).Scan(&version, &changed)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return fmt.Errorf("read the password's version: %w", err)
	}
	if !same {
		changed = max(db.Micros(tx.Now()), changed+1) // never the same for two passwords: it names them, see StillProved
	}
	box, err := dir.keyring.Seal(seal.Pepper, passwordAD(userID, version+1), h.form.Bytes())
	if err != nil {
		return fmt.Errorf("seal a password: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO person_passwords (user_id, version, box, changed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id) DO UPDATE SET version = excluded.version, box = excluded.box, changed = excluded.changed`,
		userID, version+1, box, changed)); err != nil {
		return fmt.Errorf("store a password: %w", err)
	}
	return nil
}

// SetPassword gives a person another password. It hashes inside the transaction: a server calls HashPassword and
// SetPasswordHashed instead.
func (dir *Directory) SetPassword(ctx context.Context, tx db.WriteTx, c access.Caller, userID string, secret redact.Secret) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	words, err := PasswordWords(ctx, tx, userID)
	if err != nil {
		return err
	}
	u, err := LoadUser(ctx, tx, userID)
	if err != nil {
		return err
	}
	h, err := dir.HashPassword(ctx, u.Realm, secret, words...)
	if err != nil {
		return err
	}
	return dir.SetPasswordHashed(ctx, tx, c, userID, h)
}

// PasswordWords are what the password of this person must not be made of.
func PasswordWords(ctx context.Context, tx db.ReadTx, userID string) ([]string, error) {
	p, err := LoadPerson(ctx, tx, userID)
	if err != nil {
		return nil, err
	}
	return NewPerson{Realm: p.Realm, Username: p.Username, DisplayName: p.DisplayName, Email: p.Email}.Words(), nil
}

// SetPasswordHashed is SetPassword with a password that was hashed before. What the old one began ends: see
// OnPasswordChanged.
func (dir *Directory) SetPasswordHashed(ctx context.Context, tx db.WriteTx, c access.Caller, userID string, h Hashed) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	u, err := loadPersonUser(ctx, tx, userID)
	if err != nil {
		return err
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
	return dir.passwordChanged(ctx, tx, c, u, "user.set_password")
}

var errNotOwn error = fault.New(fault.Forbidden, "forbidden", "Only the person itself may do this.")

// ChangePassword gives the caller another password of its own. u is what VerifyPersonPassword answered for the present one;
// if that was changed since, nothing happens. What the old one began ends: see OnPasswordChanged.
func (dir *Directory) ChangePassword(ctx context.Context, tx db.WriteTx, c access.Caller, u User, h Hashed) error {
	if c.Kind != access.Person || c.ID != u.ID {
		return errNotOwn
	}
	if ok, err := StillProved(ctx, tx, u); err != nil {
		return err
	} else if !ok {
		return ErrCredentials
	}
	if h.form.Empty() {
		return fault.New(fault.Invalid, "password_form", "The password must not be empty.").At("password", "empty")
	}
	if err := dir.keepsPassword(ctx, tx, u); err != nil {
		return err
	}
	if err := dir.storePassword(ctx, tx, u.ID, h, false); err != nil {
		return err
	}
	return dir.passwordChanged(ctx, tx, c, u, "user.change_password")
}

// RemovePassword takes the caller's own password away. That something else to sign in with is left is up to the caller.
func (dir *Directory) RemovePassword(ctx context.Context, tx db.WriteTx, c access.Caller, u User) error {
	if c.Kind != access.Person || c.ID != u.ID {
		return errNotOwn
	}
	if n, err := tx.Exec(ctx, `DELETE FROM person_passwords WHERE user_id = $1`, u.ID); err != nil {
		return fmt.Errorf("remove the password: %w", err)
	} else if n == 0 {
		return nil
	}
	return dir.passwordChanged(ctx, tx, c, u, "user.remove_password")
}

// passwordChanged ends what the password before began, and records the change.
func (dir *Directory) passwordChanged(ctx context.Context, tx db.WriteTx, c access.Caller, u User, action string) error {
	if err := dir.ForgetAttempts(ctx, tx, u.ID); err != nil {
		return err
	}
	for _, hook := range dir.people.onPassword {
		if err := hook(ctx, tx, u); err != nil {
			return err
		}
	}
	return record(ctx, tx, c, action, u.ID, map[string]any{"realm": u.Realm, "username": u.Username})
}

// DisablePerson is BlockPerson without a reason.
func (dir *Directory) DisablePerson(ctx context.Context, tx db.WriteTx, c access.Caller, userID string) error {
	return dir.BlockPerson(ctx, tx, c, userID, "")
}

// BlockPerson refuses the person from the commit on and ends its access keys, and what the hooks end. The password stays
// what it was. reason is for other administrators, and may be empty.
func (dir *Directory) BlockPerson(ctx context.Context, tx db.WriteTx, c access.Caller, userID, reason string) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	if reason != "" && (len(reason) > maxReason || !printableName(reason)) {
		return fault.New(fault.Invalid, "reason", "The reason is one line of text of at most %d bytes.", maxReason).At("reason", "not valid")
	}
	u, err := loadPersonUser(ctx, tx, userID)
	if err != nil {
		return err
	}
	if !u.Disabled.IsZero() {
		return giveReason(ctx, tx, c, u, reason)
	}
	return dir.disable(ctx, tx, c, u, reason, map[string]any{"realm": u.Realm, "username": u.Username, "reason": reason})
}

// disable does what BlockPerson says to somebody who is enabled, and records it with these details.
func (dir *Directory) disable(ctx context.Context, tx db.WriteTx, c access.Caller, u User, reason string, details map[string]any) error {
	if err := keepAnAdministrator(ctx, tx, u); err != nil {
		return err
	}
	u.Disabled = tx.Now()
	if err := db.One(tx.Exec(ctx, `UPDATE users SET disabled = $2, disabled_reason = $3 WHERE id = $1 AND disabled = 0`, u.ID, db.Micros(u.Disabled), reason)); err != nil {
		return fmt.Errorf("disable person: %w", err)
	}
	if err := dir.endAccessKeys(ctx, tx, u.ID); err != nil {
		return err
	}
	for _, hook := range dir.people.onDisabled {
		if err := hook(ctx, tx, u); err != nil {
			return err
		}
	}
	return record(ctx, tx, c, "user.disable", u.ID, details)
}

// giveReason says of somebody who is disabled already why an administrator wants that too. What a directory disabled, it
// enables no more then, also if the administrator says nothing; that the directory did so is kept beside it.
func giveReason(ctx context.Context, tx db.WriteTx, c access.Caller, u User, reason string) error {
	var before string
	if err := tx.QueryRow(ctx, `SELECT disabled_reason FROM users WHERE id = $1`, u.ID).Scan(&before); err != nil {
		return fmt.Errorf("read why a person is disabled: %w", err)
	}
	after := reason
	switch {
	case before == GoneReason:
		after = cmp.Or(reason, "by an administrator") + alsoGone
	case reason == "":
		return nil
	case strings.HasSuffix(before, alsoGone):
		after = reason + alsoGone
	}
	if after == before {
		return nil
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET disabled_reason = $2 WHERE id = $1 AND disabled <> 0`, u.ID, after)); err != nil {
		return fmt.Errorf("store why a person is disabled: %w", err)
	}
	return record(ctx, tx, c, "user.disable", u.ID, map[string]any{"realm": u.Realm, "username": u.Username, "reason": reason, "again": true})
}

// keepAnAdministrator refuses to disable the last one: only somebody with the root key at hand could get in again.
func keepAnAdministrator(ctx context.Context, tx db.ReadTx, u User) error {
	if !u.Admin {
		return nil
	}
	var others int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM users WHERE admin AND disabled = 0 AND application IS NULL AND id <> $1`, u.ID).Scan(&others); err != nil {
		return fmt.Errorf("count administrators: %w", err)
	}
	if others == 0 {
		return fault.New(fault.Conflict, "last_administrator", "This is the last administrator who is enabled.")
	}
	return nil
}

// endAccessKeys empties the verifiers of all the person's access keys.
func (dir *Directory) endAccessKeys(ctx context.Context, tx db.WriteTx, userID string) error {
	ids, err := db.Texts(ctx, tx, `SELECT id FROM access_keys WHERE user_id = $1 AND disabled = 0`, userID)
	if err != nil {
		return fmt.Errorf("list access keys: %w", err)
	}
	for _, keyID := range ids {
		if err := db.One(tx.Exec(ctx, `UPDATE access_keys SET disabled = $2, verifier = $3 WHERE id = $1 AND disabled = 0`, keyID, db.Micros(tx.Now()), []byte{})); err != nil {
			return fmt.Errorf("disable access key: %w", err)
		}
		if err := tx.Changed(ctx, topicAccessKey, keyID); err != nil {
			return err
		}
	}
	return nil
}

// EnablePerson accepts the person again, and forgets all wrong passwords. Its access keys and sessions stay ended, and tokens made before stay invalid.
func (dir *Directory) EnablePerson(ctx context.Context, tx db.WriteTx, c access.Caller, userID string) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return err
	}
	u, err := loadPersonUser(ctx, tx, userID)
	if err != nil {
		return err
	}
	if err := dir.ForgetAttempts(ctx, tx, userID); err != nil {
		return err
	}
	if u.Disabled.IsZero() {
		return nil
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET disabled = 0, disabled_reason = '', enabled_since = $2 WHERE id = $1 AND disabled <> 0`, u.ID, db.Micros(tx.Now()))); err != nil {
		return fmt.Errorf("enable person: %w", err)
	}
	for _, hook := range dir.people.onEnabled {
		if err := hook(ctx, tx, u); err != nil {
			return err
		}
	}
	return record(ctx, tx, c, "user.enable", u.ID, map[string]any{"realm": u.Realm, "username": u.Username})
}
