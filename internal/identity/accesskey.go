package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// An access key's text is "mmk_", the 26 digits of its id, "_", and 256 random bits. The id finds the row, so that
// neither the secret nor a hash of it is an index.
const (
	// AccessKeyPrefix begins every access key.
	AccessKeyPrefix = "mmk_"
	idDigits        = 26
	accessKeyKind   = "access-key"
	topicAccessKey  = "access_key"
)

const (
	bootstrapLife    = 24 * time.Hour
	longestLife      = 366 * 24 * time.Hour
	maxKeysOfUser    = 50
	maxLabel         = 100
	maxAccessKey     = 200
	adminName        = "admin"
	bootstrapKeyName = "made at first start"
)

// accessKeys verifies access keys in memory.
type accessKeys struct {
	dir   *Directory
	cache *db.Cache[knownKey]
	uses  *Uses
}

// knownKey is what memory holds of an access key. The zero value is an id that no key has.
type knownKey struct {
	verifier []byte
	expires  time.Time
	ended    bool // disabled, or its user is
	caller   access.Caller
}

func newAccessKeys(dir *Directory) *accessKeys {
	k := &accessKeys{dir: dir, uses: NewUsesOf(dir.d, noteKeys, dir.o.Clock, dir.o.Logger)}
	k.cache = db.NewCache(dir.d, topicAccessKey, dir.o.Capacity, loadKey)
	return k
}

func noteKeys(ctx context.Context, tx db.WriteTx, uses []TimedUse) error {
	for _, u := range uses {
		at := db.Micros(tx.Now().Add(-max(u.Age, 0)))
		if _, err := tx.Exec(ctx, `UPDATE access_keys SET last_used = $2 WHERE id = $1 AND last_used < $2`, u.Owner, at); err != nil {
			return fmt.Errorf("note uses of access keys: %w", err)
		}
	}
	return nil
}

func loadKey(ctx context.Context, tx db.ReadTx, keyID string) (knownKey, error) {
	var k knownKey
	var userID string
	var expires, disabled int64
	err := tx.QueryRow(ctx, `SELECT user_id, verifier, expires, disabled FROM access_keys WHERE id = $1`, keyID).Scan(&userID, &k.verifier, &expires, &disabled)
	if errors.Is(err, db.ErrNoRows) {
		return knownKey{}, nil
	}
	if err != nil {
		return knownKey{}, fmt.Errorf("read access key: %w", err)
	}
	u, err := LoadUser(ctx, tx, userID)
	if err != nil {
		return knownKey{}, err
	}
	k.expires, k.ended = db.Time(expires), disabled != 0 || !u.Disabled.IsZero()
	k.caller = access.Caller{Kind: access.Person, ID: u.ID, Name: u.Username, Realm: u.Realm, Admin: u.Admin}
	return k, nil
}

// VerifyAccessKey tells who shows the key: a person, without teams, which are not this package's. The answer to anything
// that is not right is ErrCredentials; another error says that it could not be found out.
func (dir *Directory) VerifyAccessKey(ctx context.Context, key redact.Secret) (access.Caller, error) {
	keyID, ok := accessKeyID(key)
	if !ok {
		return access.Caller{}, ErrCredentials
	}
	k, err := dir.keys.cache.Get(ctx, keyID)
	if err != nil {
		return access.Caller{}, unavailable(err)
	}
	if !dir.keys.match(k, key) {
		if k, err = dir.keys.cache.Fresh(ctx, keyID); err != nil {
			return access.Caller{}, unavailable(err)
		}
		if !dir.keys.match(k, key) {
			return access.Caller{}, ErrCredentials
		}
	}
	dir.keys.uses.Note(keyID, 0)
	return k.caller, nil
}

func (k *accessKeys) match(known knownKey, key redact.Secret) bool {
	var list []Accepted
	if len(known.verifier) != 0 {
		list = []Accepted{{MAC: known.verifier}}
	}
	_, ok := (&Versions{keyring: k.dir.keyring, kind: accessKeyKind}).Match(list, key)
	return ok && !known.ended && k.dir.o.Clock.Now().Before(known.expires)
}

// accessKeyID reads the id out of a key that has the right form.
func accessKeyID(key redact.Secret) (string, bool) {
	text := key.Reveal()
	rest, ok := strings.CutPrefix(text, AccessKeyPrefix)
	if !ok || len(text) > maxAccessKey || len(rest) <= idDigits+1 || rest[idDigits] != '_' {
		return "", false
	}
	keyID := id.AccessKey + "_" + rest[:idDigits]
	return keyID, id.Is(keyID, id.AccessKey)
}

// CreateAccessKey makes an access key for the user with this id. It is shown this once: the caller hands it out after
// the commit, and nobody can read it again.
func (dir *Directory) CreateAccessKey(ctx context.Context, tx db.WriteTx, c access.Caller, userID, label string, ttl time.Duration) (redact.Secret, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user", ID: userID}); err != nil {
		return redact.Secret{}, err
	}
	if ttl <= 0 || ttl > longestLife {
		return redact.Secret{}, fault.New(fault.Invalid, "ttl", "An access key lives longer than nothing and at most 366 days.").At("ttl", "out of range")
	}
	if label == "" || len(label) > maxLabel || strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return redact.Secret{}, fault.New(fault.Invalid, "label", "An access key needs a label of at most %d bytes of text.", maxLabel).At("label", "not valid")
	}
	u, err := LoadUser(ctx, tx, userID)
	if err != nil {
		return redact.Secret{}, err
	}
	if !u.Disabled.IsZero() || u.Application != "" {
		return redact.Secret{}, fault.New(fault.Conflict, "no_access_keys", "This user cannot have access keys.")
	}
	var n int
	now := tx.Now()
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM access_keys WHERE user_id = $1 AND disabled = 0 AND expires > $2`, userID, db.Micros(now)).Scan(&n); err != nil {
		return redact.Secret{}, fmt.Errorf("count access keys: %w", err)
	}
	if n >= maxKeysOfUser {
		return redact.Secret{}, fault.New(fault.Conflict, "too_many_access_keys", "A user can have %d access keys at once.", maxKeysOfUser)
	}
	keyID := id.New(id.AccessKey, now)
	key := seal.NewSecret(AccessKeyPrefix + strings.TrimPrefix(keyID, id.AccessKey+"_") + "_")
	if err := db.One(tx.Exec(ctx, `INSERT INTO access_keys (id, user_id, label, verifier, created, created_by, expires, last_used, disabled)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0)`,
		keyID, userID, label, dir.keyring.MAC(accessKeyKind, key), db.Micros(now), c.String(), db.Micros(now.Add(ttl)))); err != nil {
		return redact.Secret{}, fmt.Errorf("store access key: %w", err)
	}
	if err := record(ctx, tx, c, "access_key.create", userID, map[string]any{"key": keyID, "label": label, "expires": now.Add(ttl)}); err != nil {
		return redact.Secret{}, err
	}
	return key, tx.Changed(ctx, topicAccessKey, keyID)
}

// DisableAccessKey refuses the key with this id (key_…) from the commit on.
func (dir *Directory) DisableAccessKey(ctx context.Context, tx db.WriteTx, c access.Caller, keyID string) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "access_key", ID: keyID}); err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `UPDATE access_keys SET disabled = $2, verifier = $3 WHERE id = $1 AND disabled = 0`, keyID, db.Micros(tx.Now()), []byte{})
	if err != nil {
		return fmt.Errorf("disable access key: %w", err)
	}
	if n == 0 {
		return fault.New(fault.NotFound, "access_key_not_found", "There is no such access key in use.")
	}
	if err := record(ctx, tx, c, "access_key.disable", keyID, nil); err != nil {
		return err
	}
	return tx.Changed(ctx, topicAccessKey, keyID)
}

// EnsureAdministrator makes the first administrator, user "admin" of the employees, and an access key that lives a day:
// long enough to make one's own. Where there is one already it makes nothing.
func (dir *Directory) EnsureAdministrator(ctx context.Context, tx db.WriteTx) (key redact.Secret, created bool, err error) {
	_, err = FindUser(ctx, tx, realm.Employees, adminName)
	if err == nil || !fault.Is(err, fault.NotFound) {
		return redact.Secret{}, false, err
	}
	c := access.SystemCaller("identity")
	u := User{ID: id.New(id.User, tx.Now()), Realm: realm.Employees, Username: adminName, DisplayName: "Administrator", Admin: true}
	if err := insertUser(ctx, tx, u, c.String()); err != nil {
		return redact.Secret{}, false, err
	}
	if err := putKeys(ctx, tx, u, ""); err != nil {
		return redact.Secret{}, false, err
	}
	if err := record(ctx, tx, c, "user.create", u.ID, map[string]any{"realm": u.Realm, "username": u.Username, "admin": true}); err != nil {
		return redact.Secret{}, false, err
	}
	key, err = dir.CreateAccessKey(ctx, tx, c, u.ID, bootstrapKeyName, bootstrapLife)
	return key, err == nil, err
}
