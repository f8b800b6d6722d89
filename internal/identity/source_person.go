package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
)

// Entry is what a source says of a person. What it does not keep (SourcePolicy.Keeps) is empty and stays as it is.
type Entry struct {
	Key           string // names the entry for ever
	Username      string
	DisplayName   string
	Email         string
	EmailVerified bool // the operator trusts the addresses of the source
	Phone         string
	Besides       string `json:",omitempty"` // what else the source says, in whatever form: it is only compared with what it was
	Mark          string // of when the password was changed, as the source says it; "": it does not
}

// Clean brings what a source says into the forms that are kept here. What has none is left out; without a username there
// is nobody.
func (e Entry) Clean() (Entry, error) {
	var err error
	if e.Username, err = canonicalUsername(e.Username); err != nil {
		return e, err
	}
	if e.DisplayName = strings.TrimSpace(e.DisplayName); !printableName(e.DisplayName) {
		e.DisplayName = e.Username
	}
	if mail, err := parseAddress(e.Email); err != nil || mail.key == "" {
		e.Email, e.EmailVerified = "", false
	}
	if checkContact(e.Phone, "") != nil {
		e.Phone = ""
	}
	return e, nil
}

// digest is of all that the source says, so that what is as before is not written again.
func (e Entry) digest() (string, error) {
	text, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("write an entry: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// EntryState is what is known here of the person that an entry is.
type EntryState struct {
	UserID   string
	Username string
	Entry    string
	Seen     time.Time
	Disabled time.Time // the person is refused; zero: enabled
	Gone     bool      // by the comparison with the source, and by nobody else since
	Admin    bool

	digest, mark string
}

// ByProvider is the part of the system that makes accounts for those who come from a provider of others.
const ByProvider = "federation"

// GoneReason is why somebody is disabled whom the directory does not have any more.
const GoneReason = "gone from the directory, or disabled there"

// alsoGone follows the reason of an administrator who disables somebody whom the directory does not have any more.
const alsoGone = " (and " + GoneReason + ")"

const entryColumns = `e.user_id, u.username, e.entry, e.digest, e.seen, e.mark, e.disabled, u.disabled, u.disabled_reason, u.admin`

const entryOfUser = `SELECT ` + entryColumns + ` FROM person_entries e JOIN users u ON u.id = e.user_id WHERE e.user_id = $1`

func scanEntry(row db.Row) (s EntryState, err error) {
	var seen, by, disabled int64
	var reason string
	err = row.Scan(&s.UserID, &s.Username, &s.Entry, &s.digest, &seen, &s.mark, &by, &disabled, &reason, &s.Admin)
	s.Seen, s.Disabled = db.Time(seen), db.Time(disabled)
	s.Gone = disabled != 0 && by == disabled && reason == GoneReason
	return s, err
}

// GoneBySource tells whether somebody is disabled by the comparison with the source alone: the person's return there would
// undo it.
func GoneBySource(ctx context.Context, tx db.ReadTx, userID string) (bool, error) {
	s, ok, err := scanFound(scanEntry(tx.QueryRow(ctx, entryOfUser, userID)))
	return ok && s.Gone, err
}

// FindEntry reads who an entry of the realm's source is; ok is false if it is nobody yet.
func FindEntry(ctx context.Context, tx db.ReadTx, realmName, entry string) (s EntryState, ok bool, err error) {
	return scanFound(scanEntry(tx.QueryRow(ctx, `SELECT `+entryColumns+` FROM person_entries e JOIN users u ON u.id = e.user_id WHERE e.realm = $1 AND e.entry = $2`, realmName, entry)))
}

func scanFound(s EntryState, err error) (EntryState, bool, error) {
	if errors.Is(err, db.ErrNoRows) {
		return EntryState{}, false, nil
	}
	if err != nil {
		return EntryState{}, false, fmt.Errorf("look up an entry: %w", err)
	}
	return s, true, nil
}

// ListEntries reads a page of who of the realm has an entry, in the order of entries, after the given one.
func ListEntries(ctx context.Context, tx db.ReadTx, realmName, after string, limit int) (list []EntryState, err error) {
	rows, err := tx.Query(ctx, `SELECT `+entryColumns+` FROM person_entries e JOIN users u ON u.id = e.user_id WHERE e.realm = $1 AND e.entry > $2 ORDER BY e.entry LIMIT $3`, realmName, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list entries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		s, err := scanEntry(rows)
		if err != nil {
			return nil, fmt.Errorf("read an entry: %w", err)
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

// Same tells whether the source says of the person what it said before.
func (s EntryState) Same(e Entry) bool {
	digest, err := e.digest()
	return err == nil && digest == s.digest
}

// EntryLogin makes known, or brings up to date, whom an entry of the realm's source is. The caller is the source: it has
// seen the entry (which is Clean) just now, and the password was right. Somebody whom an administrator disabled is refused; who was
// disabled because the entry was gone is not any more.
func (dir *Directory) EntryLogin(ctx context.Context, tx db.WriteTx, c access.Caller, realmName string, e Entry) (User, error) {
	policy, ok := dir.SourcePolicy(realmName)
	if !ok || c.Kind != access.System {
		return User{}, errNotSource
	}
	s, known, err := FindEntry(ctx, tx, realmName, e.Key)
	if err != nil {
		return User{}, err
	}
	if !known {
		if s, err = dir.newEntry(ctx, tx, c, realmName, policy, e); err != nil {
			return User{}, err
		}
	}
	if s.Gone {
		if err := dir.EntryBack(ctx, tx, c, s); err != nil {
			return User{}, err
		}
	}
	if err := dir.RefreshEntry(ctx, tx, c, s, e); err != nil {
		return User{}, err
	}
	u, err := LoadUser(ctx, tx, s.UserID)
	if err != nil {
		return User{}, err
	}
	if !u.Disabled.IsZero() {
		return User{}, errDisabled
	}
	return u, nil
}

var (
	errNotSource error = fault.New(fault.Forbidden, "forbidden", "Only the source of a realm's people may do this.")
	// These are for the audit log alone; whoever tries is told ErrCredentials.
	errDisabled  error = fault.New(fault.Unauthenticated, "user_disabled", "The person is disabled.")
	errNameTaken error = fault.New(fault.Unauthenticated, "directory_name_taken", "The name of the directory's entry is somebody else's in this realm.")
)

// newEntry makes somebody known by an entry, or has the account that has its name be the entry's.
func (dir *Directory) newEntry(ctx context.Context, tx db.WriteTx, c access.Caller, realmName string, policy SourcePolicy, e Entry) (EntryState, error) {
	userID := ""
	if policy.Adopt && policy.Only {
		u, err := FindUser(ctx, tx, realmName, e.Username)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return EntryState{}, err
		}
		other, err := entryOf(ctx, tx, u.ID)
		if err != nil {
			return EntryState{}, err
		}
		chosen, err := choseName(ctx, tx, u.ID)
		if err != nil {
			return EntryState{}, err
		}
		if u.ID != "" && u.Application == "" && !u.Admin && other == "" && !chosen {
			userID = u.ID
			if err := dir.adopt(ctx, tx, c, u); err != nil {
				return EntryState{}, err
			}
		}
	}
	if userID == "" {
		n := NewPerson{Realm: realmName, Username: e.Username, DisplayName: e.DisplayName, Email: e.Email, Phone: e.Phone}
		free, err := emailFree(ctx, tx, realmName, "", e.Email)
		if err != nil {
			return EntryState{}, err
		}
		if !free {
			n.Email = "" // an address leads to one person
		}
		u, err := dir.CreatePersonHashed(ctx, tx, c, n, Hashed{})
		if fault.Code(err) == "user_exists" {
			return EntryState{}, fault.Wrap(err, fault.Unauthenticated, fault.Code(errNameTaken), "%s", fault.Of(errNameTaken).Detail)
		}
		if err != nil {
			return EntryState{}, err
		}
		userID = u.ID
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO person_entries (user_id, realm, entry, digest, seen, mark, disabled) VALUES ($1, $2, $3, '', $4, '', 0)`,
		userID, realmName, e.Key, db.Micros(tx.Now()))); err != nil {
		return EntryState{}, fmt.Errorf("store a person's entry: %w", err)
	}
	s, _, err := FindEntry(ctx, tx, realmName, e.Key)
	return s, err
}

// choseName tells whether the account is that of somebody who came from a provider of others and chose its name. Who has
// that name in the source may be somebody else, and who chose it signs in with the provider still.
func choseName(ctx context.Context, tx db.ReadTx, userID string) (bool, error) {
	var by string
	err := tx.QueryRow(ctx, `SELECT created_by FROM users WHERE id = $1`, userID).Scan(&by)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return false, fmt.Errorf("read who made an account: %w", err)
	}
	return by == access.SystemCaller(ByProvider).String(), nil
}

// adopt takes away the password of an account that belongs to an entry from now on.
func (dir *Directory) adopt(ctx context.Context, tx db.WriteTx, c access.Caller, u User) error {
	n, err := tx.Exec(ctx, `DELETE FROM person_passwords WHERE user_id = $1`, u.ID)
	if err != nil {
		return fmt.Errorf("remove the password: %w", err)
	}
	if n > 0 {
		if err := dir.passwordChanged(ctx, tx, c, u, "user.remove_password"); err != nil {
			return err
		}
	}
	return record(ctx, tx, c, "user.adopt", u.ID, map[string]any{"realm": u.Realm, "username": u.Username})
}

// RefreshEntry notes that the source has shown the entry, and stores what it says anew. A name or an address that leads
// to somebody else stays as it was. When the password was changed there, what the one before began ends.
func (dir *Directory) RefreshEntry(ctx context.Context, tx db.WriteTx, c access.Caller, s EntryState, e Entry) error {
	digest, err := e.digest()
	if err != nil {
		return err
	}
	mark := s.mark
	if e.Mark != "" {
		mark = e.Mark
	}
	if err := db.One(tx.Exec(ctx, `UPDATE person_entries SET digest = $2, seen = $3, mark = $4 WHERE user_id = $1`, s.UserID, digest, db.Micros(tx.Now()), mark)); err != nil {
		return fmt.Errorf("note that an entry was seen: %w", err)
	}
	if digest == s.digest {
		return nil
	}
	p, err := LoadPerson(ctx, tx, s.UserID)
	if err != nil {
		return err
	}
	if err := dir.storeEntry(ctx, tx, c, p, e); err != nil {
		return err
	}
	if s.mark != "" && mark != s.mark {
		return dir.passwordChanged(ctx, tx, c, p.User, "user.change_password")
	}
	return nil
}

// storeEntry writes what has changed of a person in the source.
func (dir *Directory) storeEntry(ctx context.Context, tx db.WriteTx, c access.Caller, p Person, e Entry) error {
	policy, _ := dir.SourcePolicy(p.Realm)
	keeps := func(field string) bool { return slices.Contains(policy.Keeps, field) }
	username, name, mail, phone := p.Username, p.DisplayName, address{p.Email, EmailKey(p.Email)}, p.Phone
	verified := db.Micros(p.EmailVerified)
	if e.Username != p.Username {
		free, err := nameFree(ctx, tx, p.Realm, p.ID, e.Username)
		if err != nil {
			return err
		}
		if free {
			username = e.Username
		}
	}
	if keeps("display_name") {
		name = e.DisplayName
	}
	if keeps("phone") {
		phone = e.Phone
	}
	if keeps("email") {
		to, err := parseAddress(e.Email)
		if err != nil {
			to = address{}
		}
		free, err := emailFree(ctx, tx, p.Realm, p.ID, to.text)
		if err != nil {
			return err
		}
		if free {
			verified = verifiedStill(p, to)
			mail = to
		}
		if mail.key != "" && EmailKey(e.Email) == mail.key && e.EmailVerified && verified == 0 {
			verified = db.Micros(tx.Now())
		}
	}
	changed := map[string]any{"realm": p.Realm, "username": username}
	for field, differs := range map[string]bool{"username_before": username != p.Username, "display_name": name != p.DisplayName, "email": mail.text != p.Email,
		"email_verified": verified != db.Micros(p.EmailVerified), "phone": phone != p.Phone} {
		if differs {
			changed[field] = true
		}
	}
	if len(changed) == 2 {
		return nil
	}
	if username != p.Username {
		changed["username_before"] = p.Username
	}
	if err := db.One(tx.Exec(ctx, `UPDATE users SET username = $2, display_name = $3 WHERE id = $1`, p.ID, username, name)); err != nil {
		return fmt.Errorf("store what a directory says: %w", err)
	}
	if err := dir.renamed(ctx, tx, p.User, username, c); err != nil {
		return err
	}
	if err := ensurePeopleRow(ctx, tx, p); err != nil {
		return err
	}
	var key any // NULL without an address
	if mail.key != "" {
		key = mail.key
	}
	if err := db.One(tx.Exec(ctx, `UPDATE people SET email = $2, email_key = $3, email_verified = $4, phone = $5 WHERE user_id = $1`, p.ID, mail.text, key, verified, phone)); err != nil {
		return fmt.Errorf("store what a directory says: %w", err)
	}
	if err := indexPerson(ctx, tx, p.ID); err != nil {
		return err
	}
	return record(ctx, tx, c, "user.update", p.ID, changed)
}

// nameFree tells whether a name leads to nobody but this person.
func nameFree(ctx context.Context, tx db.ReadTx, realmName, userID, username string) (bool, error) {
	err := freeBut(ctx, tx, User{ID: userID, Realm: realmName}, username, address{key: username})
	if fault.Code(err) == "user_exists" {
		return false, nil
	}
	return err == nil, err
}

// emailFree tells whether an address leads to nobody but this person. None leads to nobody.
func emailFree(ctx context.Context, tx db.ReadTx, realmName, userID, email string) (bool, error) {
	key := EmailKey(email)
	if key == "" {
		return true, nil
	}
	return nameFree(ctx, tx, realmName, userID, key)
}

// EntryGone disables somebody whose entry is gone, or disabled, in the source. The last administrator stays.
func (dir *Directory) EntryGone(ctx context.Context, tx db.WriteTx, c access.Caller, s EntryState) error {
	if c.Kind != access.System {
		return errNotSource
	}
	u, err := loadPersonUser(ctx, tx, s.UserID)
	if err != nil || !u.Disabled.IsZero() {
		return err
	}
	if err := dir.BlockPerson(ctx, tx, c, s.UserID, GoneReason); err != nil {
		return err
	}
	return dir.noteGone(ctx, tx, s.UserID)
}

func (dir *Directory) noteGone(ctx context.Context, tx db.WriteTx, userID string) error {
	if err := db.One(tx.Exec(ctx, `UPDATE person_entries SET disabled = (SELECT disabled FROM users WHERE id = $1) WHERE user_id = $1`, userID)); err != nil {
		return fmt.Errorf("note that an entry is gone: %w", err)
	}
	return nil
}

// EntryBack enables somebody again who was disabled because the entry was gone, and by nothing else.
func (dir *Directory) EntryBack(ctx context.Context, tx db.WriteTx, c access.Caller, s EntryState) error {
	if c.Kind != access.System {
		return errNotSource
	}
	if gone, err := GoneBySource(ctx, tx, s.UserID); err != nil || !gone {
		return err
	}
	if err := dir.EnablePerson(ctx, tx, c, s.UserID); err != nil {
		return err
	}
	return dir.noteGone(ctx, tx, s.UserID)
}
