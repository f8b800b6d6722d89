// Package transfer brings people in from other systems, and gives out or removes all that is held of one.
//
// What it guards:
//   - A batch of an import is one transaction. Killed anywhere, an import is read again from its beginning or from
//     anywhere before the place where it stopped, and makes nobody twice: who is there already is found by the other
//     system's id, or by name (import.go).
//   - An import gives nobody the administrator role, and takes no password from anybody who is there already. No hash
//     of a password is in an answer, an error or the audit log; one that would cost too much to check is refused.
//   - Every table that names a person is in one list (held.go), which says what of it is given to the person and what
//     becomes of it when the person is erased. A test compares the list with the schema.
//   - What is erased is erased in one transaction, or not at all.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	// MaxRows is the most people in one batch.
	MaxRows = 200

	maxExternalID = 200
	maxRowGroups  = groups.MaxGroups
)

// Service moves people in and out.
type Service struct {
	d      *db.DB
	dir    *identity.Directory
	groups *groups.Service
	attrs  *attributes.Service
	o      Options
	limit  func(ip string) error
}

// Options configure a Service. Every field may be left at its zero value.
type Options struct {
	SelfErase []string // realms, by canonical name, whose people may erase their accounts themselves
	// Farewell tells somebody, in the transaction that erases the account and before it does, that this was done. nil:
	// nobody is told.
	Farewell func(ctx context.Context, tx db.WriteTx, p identity.Person) error
}

// exportsPerAddress is how often people get all that is held of them at one address within ten minutes.
const exportsPerAddress = 10

// New makes a Service.
func New(d *db.DB, dir *identity.Directory, g *groups.Service, a *attributes.Service, o Options) *Service {
	dir.OnPersonRemoved(forget)
	return &Service{d: d, dir: dir, groups: g, attrs: a, o: o, limit: dir.LimitAddresses(exportsPerAddress, "What is kept of people was asked for very often from your address. Please wait before you try again.")}
}

// Row is one person of an import.
type Row struct {
	ExternalID    string // what the other system calls the person; may be empty
	Username      string
	DisplayName   string
	Email         string
	EmailVerified bool
	Phone         string
	Address       string
	PasswordHash  redact.Secret // Argon2id, bcrypt, PBKDF2 or scrypt; empty: none
	Groups        []string      // names of groups of the realm
	Attributes    attributes.Values
	Texts         map[string]string // attributes that are known as text alone
	Wrong         error             // the row could not be read: a fault that says why
}

// Batch is a part of an import.
type Batch struct {
	Realm  string // in any spelling
	Update bool   // change who is there already to what the rows say; else leave them alone
	DryRun bool   // find out what would be, and change nothing
	Rows   []Row
}

// Outcome is what became of a row.
type Outcome string

// The outcomes.
const (
	Created Outcome = "created"
	Updated Outcome = "updated"
	Skipped Outcome = "skipped" // was there already
	Refused Outcome = "refused"
)

// Result is what became of one row, in the order of rows. Err says why it was refused, as a fault.
type Result struct {
	Outcome Outcome
	UserID  string
	Err     error
}

// errDry ends the transaction of a dry run.
var errDry = errors.New("transfer: nothing is kept of a dry run")

// errAgain ends a transaction in which a row failed half-way: it is done anew without the row.
var errAgain = errors.New("transfer: a row was refused late")

// Import stores a batch. A row that is wrong is refused, and the others are stored; an error says that none is, or that it
// is not known whether they are: the same batch once more settles it.
func (s *Service) Import(ctx context.Context, c access.Caller, b Batch) ([]Result, error) {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "user"}); err != nil {
		return nil, err
	}
	r, err := s.dir.Realms().Lookup(b.Realm)
	if err != nil || r.Kind != realm.People {
		return nil, fault.InvalidAt("body.realm", "realm", "There is no such realm of people.")
	}
	b.Realm = r.Name
	if len(b.Rows) == 0 || len(b.Rows) > MaxRows {
		return nil, fault.InvalidAt("body.rows", "rows", "A batch holds 1 to %d people.", MaxRows)
	}
	late := map[int]error{}
	for {
		results := make([]Result, len(b.Rows))
		err := s.d.Write(ctx, func(tx db.WriteTx) error { return s.batch(ctx, tx, c, b, results, late) })
		switch {
		case errors.Is(err, errAgain):
			continue // one row fewer each time
		case err != nil && !errors.Is(err, errDry):
			return nil, err
		}
		return results, failpoint.Hit("transfer.imported")
	}
}

// batch stores all rows but those that were found to be wrong late.
func (s *Service) batch(ctx context.Context, tx db.WriteTx, c access.Caller, b Batch, results []Result, late map[int]error) error {
	for i, row := range b.Rows {
		if err, is := late[i]; is {
			results[i] = Result{Outcome: Refused, Err: err}
			continue
		}
		p, err := s.prepare(ctx, tx, b, row)
		if err == nil {
			results[i], err = s.store(ctx, tx, c, b, p)
			if wrong(err) {
				late[i] = err // part of it may be written
				return errAgain
			}
		}
		if wrong(err) {
			results[i] = Result{Outcome: Refused, Err: err}
			continue
		}
		if err != nil {
			return err
		}
	}
	if err := failpoint.Hit("transfer.importing"); err != nil {
		return err
	}
	if b.DryRun {
		return errDry
	}
	return nil
}

// wrong tells whether it is the row that cannot be.
func wrong(err error) bool {
	return fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound)
}

// prepared is a row that was looked at, and written nothing of yet.
type prepared struct {
	row    Row
	known  string // id of who is there already; "": nobody
	hash   identity.Hashed
	groups []string // ids
}

func (s *Service) prepare(ctx context.Context, tx db.ReadTx, b Batch, row Row) (p prepared, err error) {
	if row.Wrong != nil {
		return p, row.Wrong
	}
	if row.Attributes, err = s.together(b.Realm, row); err != nil {
		return p, err
	}
	p.row = row
	if !utf8.ValidString(row.ExternalID) {
		return p, fault.InvalidAt("external_id", "bad_text", "This must be UTF-8 text.")
	}
	if err := route.CheckLine("external_id", row.ExternalID, 0, maxExternalID); err != nil {
		return p, err
	}
	if row.EmailVerified && row.Email == "" {
		return p, fault.InvalidAt("email_verified", "no_email", "There is no address that could be verified.")
	}
	if !row.PasswordHash.Empty() {
		if p.hash, err = identity.ImportedHash(row.PasswordHash); err != nil {
			return p, err
		}
	}
	if err := s.attrs.CheckNew(b.Realm, row.Attributes); err != nil {
		return p, at(err, "attributes")
	}
	if len(row.Groups) > maxRowGroups {
		return p, fault.InvalidAt("groups", "too_many_groups", "One person can be in %d groups.", maxRowGroups)
	}
	for _, name := range row.Groups {
		g, err := groups.Find(ctx, tx, b.Realm, name)
		if err != nil {
			return p, at(err, "groups")
		}
		p.groups = append(p.groups, g.ID)
	}
	p.known, err = s.known(ctx, tx, b.Realm, row)
	return p, err
}

// at says which field is meant by a fault that names none.
func at(err error, field string) error {
	if f := fault.Of(err); wrong(err) && len(f.Fields) == 0 {
		return fault.Wrap(err, f.Kind, f.Code, "%s", f.Detail).At(field, "not valid")
	}
	return err
}

// known finds who a row is about: by the other system's id, else by name. One who has another such id is somebody else.
func (s *Service) known(ctx context.Context, tx db.ReadTx, realmName string, row Row) (userID string, err error) {
	if row.ExternalID != "" {
		err := tx.QueryRow(ctx, `SELECT user_id FROM person_external_ids WHERE realm = $1 AND external_id = $2`, realmName, row.ExternalID).Scan(&userID)
		if err == nil || !errors.Is(err, db.ErrNoRows) {
			return userID, err
		}
	}
	name, err := identity.CanonicalUsername(row.Username)
	if err != nil {
		return "", err
	}
	u, err := identity.FindUser(ctx, tx, realmName, name)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil || row.ExternalID == "" {
		return u.ID, err
	}
	var other string
	err = tx.QueryRow(ctx, `SELECT external_id FROM person_external_ids WHERE user_id = $1`, u.ID).Scan(&other)
	if errors.Is(err, db.ErrNoRows) {
		return u.ID, nil
	}
	if err != nil {
		return "", fmt.Errorf("read whom another system means: %w", err)
	}
	return "", fault.New(fault.Conflict, "external_id", "The name belongs to somebody else of the other system.").At("external_id", "another one")
}

// together are the attributes of a row, however they were said.
func (s *Service) together(realmName string, row Row) (attributes.Values, error) {
	if len(row.Texts) == 0 {
		return row.Attributes, nil
	}
	said := s.attrs.FromTexts(realmName, row.Texts)
	for name, value := range row.Attributes {
		if _, twice := said[name]; twice {
			return nil, fault.InvalidAt("attributes", "attribute_twice", "An attribute is said twice.")
		}
		said[name] = value
	}
	return said, nil
}

func (s *Service) store(ctx context.Context, tx db.WriteTx, c access.Caller, b Batch, p prepared) (Result, error) {
	out := Result{Outcome: Skipped, UserID: p.known}
	var err error
	switch {
	case p.known == "":
		out.Outcome = Created
		out.UserID, err = s.create(ctx, tx, c, b, p)
	case b.Update:
		out.Outcome = Updated
		err = s.update(ctx, tx, c, p)
	}
	if err != nil || out.Outcome == Skipped {
		return out, err
	}
	if p.row.ExternalID != "" {
		if _, err := tx.Exec(ctx, `INSERT INTO person_external_ids (user_id, realm, external_id) VALUES ($1, $2, $3) ON CONFLICT (user_id) DO NOTHING`, out.UserID, b.Realm, p.row.ExternalID); err != nil {
			return out, fmt.Errorf("note whom another system means: %w", err)
		}
	}
	if len(p.row.Attributes) > 0 {
		if err := s.attrs.Set(ctx, tx, c, out.UserID, p.row.Attributes); err != nil {
			return out, at(err, "attributes")
		}
	}
	for _, groupID := range p.groups {
		if err := s.groups.Add(ctx, tx, c, groupID, out.UserID); err != nil {
			return out, at(err, "groups")
		}
	}
	return out, nil
}

func (s *Service) create(ctx context.Context, tx db.WriteTx, c access.Caller, b Batch, p prepared) (string, error) {
	row := p.row
	u, err := s.dir.CreatePersonHashed(ctx, tx, c, identity.NewPerson{
		Realm: b.Realm, Username: row.Username, DisplayName: row.DisplayName, Email: row.Email, Phone: row.Phone, Address: row.Address}, p.hash)
	if err != nil {
		return "", err
	}
	return u.ID, s.verified(ctx, tx, c, u.ID, row)
}

// update changes what the row names. What it leaves out stays, and so does the password: somebody may have changed it here.
func (s *Service) update(ctx context.Context, tx db.WriteTx, c access.Caller, p prepared) error {
	var up identity.PersonUpdate
	for _, f := range []struct {
		to   **string
		from string
	}{{&up.DisplayName, p.row.DisplayName}, {&up.Email, p.row.Email}, {&up.Phone, p.row.Phone}, {&up.Address, p.row.Address}} {
		if f.from != "" {
			*f.to = &f.from
		}
	}
	if err := s.dir.UpdatePerson(ctx, tx, c, p.known, up); err != nil {
		return err
	}
	return s.verified(ctx, tx, c, p.known, p.row)
}

// verified takes the other system's word for it that the person receives mail at the address.
func (s *Service) verified(ctx context.Context, tx db.WriteTx, c access.Caller, userID string, row Row) error {
	if !row.EmailVerified {
		return nil
	}
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil {
		return err
	}
	return identity.MarkEmailVerified(ctx, tx, c, p, row.Email)
}
