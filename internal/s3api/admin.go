package s3api

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"reflect"
	"regexp"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Applications is what this package needs to know about applications.
type Applications interface {
	// Team is the team that owns the application, and whether the application is active; a fault of kind NotFound if there
	// is no such application.
	Team(ctx context.Context, tx db.ReadTx, app string) (team string, active bool, err error)
}

// Storage manages buckets and access keys.
type Storage struct {
	keyring      *seal.Keyring
	applications Applications
}

// NewStorage makes a Storage.
func NewStorage(keyring *seal.Keyring, applications Applications) *Storage {
	return &Storage{keyring: keyring, applications: applications}
}

// MintOwner is the owner of the mint's access key.
const MintOwner = "mint"

// maxKeysInForce bounds the keys that an application can have at once.
const maxKeysInForce = 20

// applicationGrammar is the registry's. It is checked here again because the id becomes a prefix that bounds a right.
var applicationGrammar = regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9]$`)

// newKeyID makes an access key id: MM and 90 random bits. It is a name, not a secret.
func newKeyID() string {
	b := make([]byte, 12)
	rand.Read(b) // never fails since Go 1.24
	return "MM" + base32.StdEncoding.EncodeToString(b)[:18]
}

// EnsureMintKey answers the access key with which the mint writes into the buckets of this endpoint, and makes it the
// first time. It never makes a second one because the first could not be read.
func EnsureMintKey(ctx context.Context, d *db.DB, keyring *seal.Keyring) (id string, secret redact.Secret, err error) {
	err = d.Write(ctx, func(tx db.WriteTx) error {
		id, err = keyOfOwner(ctx, tx, MintOwner)
		if errors.Is(err, db.ErrNoRows) {
			var k Key
			k, secret, err = createKey(ctx, tx, keyring, access.SystemCaller(MintOwner), Key{Owner: MintOwner, Rules: MintRules()})
			id = k.ID
			return err
		}
		if err != nil {
			return err
		}
		k, err := openKey(ctx, tx, keyring, id)
		if err != nil {
			return err
		}
		secret = k.secret
		if reflect.DeepEqual(k.Rules, MintRules()) {
			return nil
		}
		return widenMint(ctx, tx, k)
	})
	if err != nil {
		return "", redact.Secret{}, fmt.Errorf("s3api: ensure the mint's access key: %w", err)
	}
	return id, secret, nil
}

// widenMint gives the mint's key the rules of this release, which may write other names than an earlier one, and records
// that its rights changed.
func widenMint(ctx context.Context, tx db.WriteTx, k Key) error {
	if err := setRules(ctx, tx, k.ID, MintRules()); err != nil {
		return err
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: string(access.ManageStorage), Outcome: audit.Success, Reason: "key_rules_changed", Caller: access.SystemCaller(MintOwner), TargetType: "storage_key", TargetID: k.ID,
		Details: map[string]any{"owner": k.Owner, "before": k.Rules, "after": MintRules()},
	})
}

// createKey makes a key and records it. The caller of it has asked whether that is allowed.
func createKey(ctx context.Context, tx db.WriteTx, keyring *seal.Keyring, c access.Caller, k Key) (Key, redact.Secret, error) {
	secret := seal.NewSecret("")
	k.ID, k.Created, k.CreatedBy = newKeyID(), tx.Now(), c.String()
	if err := insertKey(ctx, tx, keyring, k, secret); err != nil {
		return Key{}, redact.Secret{}, err
	}
	action := access.ManageStorage
	if k.Application != "" {
		action = access.IssueStorageKey
	}
	err := audit.Record(ctx, tx, audit.Event{
		Action: string(action), Outcome: audit.Success, Reason: "key_created", Caller: c, TargetType: "storage_key", TargetID: k.ID,
		Details: map[string]any{"owner": k.Owner, "application": k.Application, "bucket": k.Bucket},
	})
	if err != nil {
		return Key{}, redact.Secret{}, err
	}
	return k, secret, nil
}

// CreateKey makes an access key with rules of its own. Access requirement: storage.manage.
func (s *Storage) CreateKey(ctx context.Context, tx db.WriteTx, c access.Caller, k Key) (id string, secret redact.Secret, err error) {
	if err := access.Allow(c, access.ManageStorage, access.Target{Type: "storage_key"}); err != nil {
		return "", redact.Secret{}, err
	}
	if k.Owner == "" || k.Owner == MintOwner || k.Application != "" {
		return "", redact.Secret{}, fault.New(fault.Invalid, "invalid_owner", "A key needs an owner other than the mint; keys of applications are issued.")
	}
	made, secret, err := createKey(ctx, tx, s.keyring, c, Key{Owner: k.Owner, Rules: k.Rules, Expires: k.Expires})
	return made.ID, secret, err
}

// CreateBucket makes a bucket, or does nothing if the same team owns it already. Access requirement: storage.manage.
func (s *Storage) CreateBucket(ctx context.Context, tx db.WriteTx, c access.Caller, b Bucket) (Bucket, error) {
	if err := access.Allow(c, access.ManageStorage, access.Target{Type: "bucket", ID: b.Name, Team: b.Team}); err != nil {
		return Bucket{}, err
	}
	if !ValidBucketName(b.Name) {
		return Bucket{}, fault.New(fault.Invalid, "invalid_bucket_name", "A bucket's name has 3 to 63 lower-case letters, digits, dots and hyphens, begins and ends with a letter or digit, has no two dots in a row and is no IP address.").
			At("path.name", "is not the name of a bucket")
	}
	old, err := getBucket(ctx, tx, b.Name)
	switch {
	case err == nil && old.Team == b.Team:
		return old, nil
	case err == nil:
		return Bucket{}, fault.New(fault.Conflict, "bucket_exists", "The bucket %s belongs to team %s. A bucket does not change hands: access keys of its team may be in use.", b.Name, old.Team)
	case !errors.Is(err, db.ErrNoRows):
		return Bucket{}, err
	}
	made := Bucket{Name: b.Name, Team: b.Team, Created: tx.Now(), CreatedBy: c.String()}
	if err := insertBucket(ctx, tx, made); err != nil {
		if errors.Is(err, db.ErrReference) {
			return Bucket{}, fault.Wrap(err, fault.Invalid, "team_not_found", "There is no team %s.", b.Team).At("body.team_id", "is not known")
		}
		return Bucket{}, err
	}
	if err := tx.Changed(ctx, bucketTopic, b.Name); err != nil {
		return Bucket{}, err
	}
	return made, audit.Record(ctx, tx, audit.Event{
		Action: string(access.ManageStorage), Outcome: audit.Success, Reason: "bucket_created", Caller: c, TargetType: "bucket", TargetID: b.Name,
		Details: map[string]any{"team": b.Team},
	})
}

// Bucket reads a bucket's record. Access requirement: application.read.
func (s *Storage) Bucket(ctx context.Context, tx db.ReadTx, c access.Caller, name string) (Bucket, error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "bucket", ID: name}); err != nil {
		return Bucket{}, err
	}
	return knownBucket(ctx, tx, name)
}

// BucketTeam is the team that owns the bucket; a fault of kind NotFound if there is none of that name.
func BucketTeam(ctx context.Context, tx db.ReadTx, name string) (string, error) {
	b, err := knownBucket(ctx, tx, name)
	return b.Team, err
}

func knownBucket(ctx context.Context, tx db.ReadTx, name string) (Bucket, error) {
	b, err := getBucket(ctx, tx, name)
	if errors.Is(err, db.ErrNoRows) {
		return Bucket{}, fault.Wrap(err, fault.NotFound, "bucket_not_found", "There is no bucket of that name.")
	}
	return b, err
}

// Buckets reads the records behind a name, by name. Access requirement: application.read.
func (s *Storage) Buckets(ctx context.Context, tx db.ReadTx, c access.Caller, after string, limit int) ([]Bucket, error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{Type: "bucket"}); err != nil {
		return nil, err
	}
	return listBuckets(ctx, tx, after, limit)
}

// CreateApplicationKey makes an access key with which an application's agent reads what lies below <app>/ in a bucket of
// the application's own team. Access requirement: storage.issue_key in that team.
func (s *Storage) CreateApplicationKey(ctx context.Context, tx db.WriteTx, c access.Caller, app, team, bucket string) (Key, redact.Secret, error) {
	none := redact.Secret{}
	if err := access.Allow(c, access.IssueStorageKey, access.Target{Type: "application", ID: app, Team: team}); err != nil {
		return Key{}, none, err
	}
	if !applicationGrammar.MatchString(app) {
		return Key{}, none, fault.New(fault.Invalid, "invalid_application", "This is not the id of an application.")
	}
	b, err := knownBucket(ctx, tx, bucket)
	if err != nil {
		return Key{}, none, err
	}
	if b.Team != team && !c.Admin && c.Kind != access.System {
		return Key{}, none, fault.New(fault.Forbidden, "foreign_bucket", "The bucket %s does not belong to team %s, which owns the application.", bucket, team)
	}
	have, err := keysOf(ctx, tx, app)
	if err != nil {
		return Key{}, none, err
	}
	inForce := 0
	for _, k := range have {
		if k.inForce(tx.Now()) {
			inForce++
		}
	}
	if inForce >= maxKeysInForce {
		return Key{}, none, fault.New(fault.Conflict, "too_many_keys", "The application has %d storage keys in force. Disable one that is not in use first.", inForce)
	}
	return createKey(ctx, tx, s.keyring, c, Key{Owner: "application " + app, Application: app, Bucket: bucket, Rules: ApplicationRules(app, bucket)})
}

// ApplicationKeys reads an application's keys, without secrets. Access requirement: storage.issue_key in its team.
func (s *Storage) ApplicationKeys(ctx context.Context, tx db.ReadTx, c access.Caller, app, team string) ([]Key, error) {
	if err := access.Allow(c, access.IssueStorageKey, access.Target{Type: "application", ID: app, Team: team}); err != nil {
		return nil, err
	}
	return keysOf(ctx, tx, app)
}

// DisableKey makes a key be refused, at most a second later on every node and for good. To disable it again only tells
// the nodes again. Access requirement: storage.issue_key in the team of the key's application; storage.manage for other
// keys.
func (s *Storage) DisableKey(ctx context.Context, tx db.WriteTx, c access.Caller, id string) error {
	k, err := getKey(ctx, tx, id)
	absent := errors.Is(err, db.ErrNoRows)
	if err != nil && !absent {
		return err
	}
	action, target := access.ManageStorage, access.Target{Type: "storage_key", ID: id}
	if k.Application != "" {
		action = access.IssueStorageKey
		if target.Team, _, err = s.applications.Team(ctx, tx, k.Application); err != nil {
			return err
		}
	}
	// Whoever may not manage storage gets the same answer for a key that is not there and for one that is not his.
	if err := access.Allow(c, action, target); err != nil {
		return err
	}
	if absent {
		return fault.New(fault.NotFound, "storage_key_not_found", "There is no such storage key.")
	}
	if !k.Disabled.IsZero() { // whoever asks again may have been told that the outcome was unknown: let every node look
		return tx.Changed(ctx, keyTopic, k.ID)
	}
	return disable(ctx, tx, c, k, action)
}

func disable(ctx context.Context, tx db.WriteTx, c access.Caller, k Key, action access.Action) error {
	if err := disableKey(ctx, tx, k.ID); err != nil {
		return err
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: string(action), Outcome: audit.Success, Reason: "key_disabled", Caller: c, TargetType: "storage_key", TargetID: k.ID,
		Details: map[string]any{"owner": k.Owner, "application": k.Application, "bucket": k.Bucket},
	})
}

// DisableApplicationKeys disables all keys of an application: for the hook that runs when it is set inactive.
func DisableApplicationKeys(ctx context.Context, tx db.WriteTx, c access.Caller, app string) error {
	keys, err := keysOf(ctx, tx, app)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if !k.Disabled.IsZero() {
			continue
		}
		if err := disable(ctx, tx, c, k, access.IssueStorageKey); err != nil {
			return err
		}
	}
	return nil
}
