// Package identity knows who there is: people and service users, each in one realm, and the credentials that prove it.
//
// What it guards:
//   - An id, once given, names one user for ever. Users are disabled, not deleted.
//   - A generated secret is stored as an HMAC under the keyring's lookup key, and only until it retires. It is verified
//     in memory in microseconds: 256 random bits need no slow hash.
//   - Whoever shows a wrong password learns nothing from the refusal: unknown user, wrong password, retired password and
//     disabled user are one answer after the same work.
//   - Nobody is refused on old news: before a refusal the user is read anew from the database.
//   - Disabling a user ends every credential that it has, in the same transaction; enabling it again revives none. Only
//     the password that a person chose is the same as before.
//   - A password that a person chose is kept as a slow hash in a sealed box. How often it is guessed at is counted in the
//     database before a guess is looked at, over all nodes (person_login.go).
package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/seal"
)

// Options configure a Directory. Every field may be left at its zero value.
type Options struct {
	Realms *realm.Set // nil: realm.Standard
	// UsernamePrefix stands before the application's id in the name of its service user, such as "stups_". It counts
	// for users that are made from then on; a name never changes.
	UsernamePrefix string
	// PasswordLength is the least length of new passwords by realm, in canonical form, where it is not password.MinRunes.
	// Less than that is for realms in which nobody signs in with a password alone.
	PasswordLength map[string]int
	Passwords      *password.Pool // hashes what people chose; nil: a pool with the default cost
	Capacity       int            // users and access keys kept in memory; 0: 10000 of each
	Clock          clock.Clock    // nil: clock.System
	Logger         *slog.Logger
}

// Directory is the users and their credentials.
type Directory struct {
	d         *db.DB
	keyring   *seal.Keyring
	o         Options
	passwords *Versions
	verifier  *Verifier
	keys      *accessKeys
	people    *people
}

// New makes a Directory. It must be made before the database's feed starts; Run writes what it observes.
func New(d *db.DB, keyring *seal.Keyring, o Options) (*Directory, error) {
	if o.Realms == nil {
		o.Realms = realm.Standard()
	}
	if o.Capacity == 0 {
		o.Capacity = 10_000
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(o.UsernamePrefix) > 20 || strings.Trim(o.UsernamePrefix, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return nil, fmt.Errorf("identity: the prefix of service users' names, %q, must be at most 20 of a-z, 0-9, '_' and '-'", o.UsernamePrefix)
	}
	if o.Passwords == nil {
		o.Passwords = password.NewPool(password.Options{})
	}
	dir := &Directory{d: d, keyring: keyring, o: o}
	dir.passwords = NewVersions(keyring, "service_passwords", "user_id", "service-password")
	dir.verifier = newVerifier(dir)
	dir.keys = newAccessKeys(dir)
	dir.people = newPeople(dir)
	return dir, nil
}

// Realms are the realms that exist.
func (dir *Directory) Realms() *realm.Set { return dir.o.Realms }

// Verifier checks service users' passwords.
func (dir *Directory) Verifier() *Verifier { return dir.verifier }

// Run writes the observed uses of passwords and access keys until ctx ends, and then the rest.
func (dir *Directory) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- dir.keys.uses.Run(ctx) }()
	return errors.Join(dir.verifier.uses.Run(ctx), <-done)
}

// Flush writes the observed uses now.
func (dir *Directory) Flush(ctx context.Context) error {
	return errors.Join(dir.verifier.uses.Flush(ctx), dir.keys.uses.Flush(ctx))
}

// User is a person or a service user.
type User struct {
	ID           string // the `sub` of tokens
	Realm        string
	Username     string
	DisplayName  string
	Application  string // of a service user
	Admin        bool
	Created      time.Time
	EnabledSince time.Time // a token made before is not valid
	Disabled     time.Time // zero: enabled
	// Proof says which password was shown, in a User that VerifyPersonPassword answers; else 0. See StillProved.
	Proof int64
}

// ServiceUser is an application's own identity.
type ServiceUser struct {
	ID           string
	Username     string
	Realm        string
	Application  string
	EnabledSince time.Time
	Disabled     bool
}

const userColumns = `id, realm, username, display_name, coalesce(application, ''), admin, created, enabled_since, disabled`

func scanUser(row db.Row) (u User, err error) {
	var created, enabled, disabled int64
	err = row.Scan(&u.ID, &u.Realm, &u.Username, &u.DisplayName, &u.Application, &u.Admin, &created, &enabled, &disabled)
	if errors.Is(err, db.ErrNoRows) {
		return User{}, fault.New(fault.NotFound, "user_not_found", "There is no such user.")
	}
	if err != nil {
		return User{}, fmt.Errorf("read user: %w", err)
	}
	u.Created, u.EnabledSince, u.Disabled = db.Time(created), db.Time(enabled), db.Time(disabled)
	return u, nil
}

// FindUser reads the user with this name in this realm (in canonical form).
func FindUser(ctx context.Context, tx db.ReadTx, realmName, username string) (User, error) {
	return scanUser(tx.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE realm = $1 AND username = $2`, realmName, username))
}

// LoadUser reads the user with this id.
func LoadUser(ctx context.Context, tx db.ReadTx, userID string) (User, error) {
	return scanUser(tx.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE id = $1`, userID))
}

// FindServiceUser reads the service user of the application.
func FindServiceUser(ctx context.Context, tx db.ReadTx, application string) (ServiceUser, error) {
	u, err := scanUser(tx.QueryRow(ctx, `SELECT `+userColumns+` FROM users WHERE application = $1`, application))
	if err != nil {
		return ServiceUser{}, err
	}
	return ServiceUser{ID: u.ID, Username: u.Username, Realm: u.Realm, Application: u.Application, EnabledSince: u.EnabledSince, Disabled: !u.Disabled.IsZero()}, nil
}

func insertUser(ctx context.Context, tx db.WriteTx, u User, by string) error {
	var application any // NULL for people
	if u.Application != "" {
		application = u.Application
	}
	err := db.One(tx.Exec(ctx, `INSERT INTO users (id, realm, username, display_name, application, admin, created, created_by, enabled_since, disabled)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7, 0)`, u.ID, u.Realm, u.Username, u.DisplayName, application, u.Admin, db.Micros(tx.Now()), by))
	if errors.Is(err, db.ErrConflict) {
		return fault.Wrap(err, fault.Conflict, "user_exists", "There is a user %s in realm %s already.", u.Username, u.Realm)
	}
	if err != nil {
		return fmt.Errorf("store user: %w", err)
	}
	return nil
}

// CreateServiceUser makes the service user of an application, without a password: the rotation makes that. The registry
// calls it, in the transaction in which it has asked whether the caller may register the application.
func (dir *Directory) CreateServiceUser(ctx context.Context, tx db.WriteTx, c access.Caller, application string) (ServiceUser, error) {
	u := ServiceUser{
		ID: id.New(id.User, tx.Now()), Username: dir.o.UsernamePrefix + application, Realm: realm.Robots, Application: application,
		EnabledSince: tx.Now(),
	}
	if err := insertUser(ctx, tx, User{ID: u.ID, Realm: u.Realm, Username: u.Username, Application: application}, c.String()); err != nil {
		return ServiceUser{}, err
	}
	if err := record(ctx, tx, c, "user.create", u.ID, map[string]any{"realm": u.Realm, "username": u.Username, "application": application}); err != nil {
		return ServiceUser{}, err
	}
	return u, changed(ctx, tx, u)
}

// DisableServiceUser refuses the application's service user from the commit on and ends all its passwords. The registry
// calls it when an application is set inactive.
func (dir *Directory) DisableServiceUser(ctx context.Context, tx db.WriteTx, c access.Caller, application string) error {
	u, err := FindServiceUser(ctx, tx, application)
	if err != nil {
		return err
	}
	if err := dir.passwords.RetireAll(ctx, tx, u.ID); err != nil {
		return err
	}
	if u.Disabled {
		return changed(ctx, tx, u)
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET disabled = $2 WHERE id = $1 AND disabled = 0`, u.ID, db.Micros(tx.Now()))); err != nil {
		return fmt.Errorf("disable service user: %w", err)
	}
	if err := record(ctx, tx, c, "user.disable", u.ID, map[string]any{"username": u.Username, "application": application}); err != nil {
		return err
	}
	return changed(ctx, tx, u)
}

// EnableServiceUser accepts the service user again. It has no password then, and tokens made before stay invalid.
func (dir *Directory) EnableServiceUser(ctx context.Context, tx db.WriteTx, c access.Caller, application string) error {
	u, err := FindServiceUser(ctx, tx, application)
	if err != nil || !u.Disabled {
		return err
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET disabled = 0, enabled_since = $2 WHERE id = $1 AND disabled <> 0`, u.ID, db.Micros(tx.Now()))); err != nil {
		return fmt.Errorf("enable service user: %w", err)
	}
	if err := record(ctx, tx, c, "user.enable", u.ID, map[string]any{"username": u.Username, "application": application}); err != nil {
		return err
	}
	return changed(ctx, tx, u)
}

// changed tells every node's verifier.
func changed(ctx context.Context, tx db.WriteTx, u ServiceUser) error {
	return tx.Changed(ctx, topicServiceUser, userKey(u.Realm, u.Username))
}

// TopicUser announces, by its id, that something about a user changed. Whatever changes a user is recorded, and what is
// recorded is announced: so nothing that is remembered of people depends on somebody thinking of it.
const TopicUser = "user"

func record(ctx context.Context, tx db.WriteTx, c access.Caller, action, target string, details map[string]any) error {
	if err := audit.Done(ctx, tx, c, action, "user", target, details); err != nil {
		return err
	}
	return tx.Changed(ctx, TopicUser, target)
}
