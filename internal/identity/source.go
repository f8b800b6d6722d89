package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
)

// Source looks at the passwords of a realm's people in place of this package: a directory of the organisation. A person
// who has an entry there (person_entries) has no password here, and no way around the source to one.
type Source interface {
	// Policy is how the realm and its source go together. It never changes.
	Policy() SourcePolicy
	// Verify tells who it is that signs in with this name and password, whom it makes known by that if need be. Before the
	// password is looked at it calls l.Count once with whom the name leads to, and looks at nothing when that refuses.
	// Errors are of kind Unauthenticated with a code for the audit log alone, what l.Count answered, or say that it could
	// not be found out: then no try is counted. It must not be called inside a transaction.
	Verify(ctx context.Context, l SourceLogin) (User, error)
	// Pretend does the work of Verify for a name that leads nowhere, and tells nothing.
	Pretend(ctx context.Context, name string)
}

// SourcePolicy is how a realm and its source go together.
type SourcePolicy struct {
	// Only has nobody of the realm sign in with a password that is kept here, but administrators without an entry, for the
	// day on which the directory is lost. Else accounts that are kept here stay beside those of the directory.
	Only bool
	// Adopt makes an account of the realm that is kept here, and is no administrator's, the one of the entry of its name;
	// but none of somebody who came from a provider of others and chose the name.
	Adopt bool
	// PasswordPage is where people change their password; empty: nobody said.
	PasswordPage string
	// Keeps are what the source says of people, and nobody here: display_name, email, phone.
	Keeps []string
}

// SourceLogin is a login for a Source to look at.
type SourceLogin struct {
	Name   string // in canonical form: a username, or an address
	Secret redact.Secret
	Origin Origin
	// Count counts the try for whom the name leads to, by other names too: a person, or an entry without one yet.
	Count func(ctx context.Context, userID, entry string) error
}

// SetSource has a source look at the passwords of a realm's people. Call it before serving.
func (dir *Directory) SetSource(realmName string, s Source) { dir.people.sources[realmName] = s }

// SourcePolicy is that of a realm (in canonical form), or ok false where no source is.
func (dir *Directory) SourcePolicy(realmName string) (policy SourcePolicy, ok bool) {
	s := dir.people.sources[realmName]
	if s == nil {
		return SourcePolicy{}, false
	}
	return s.Policy(), true
}

// keeper is who looks at somebody's password.
type keeper int

const (
	keptHere   keeper = iota
	keptThere         // by the source
	keptByNone        // such an account cannot sign in with a password
)

// keeper tells who looks at the password of this person; the zero User is a name that nobody has here.
func (p *people) keeper(realmName string, u User, entry string) keeper {
	s := p.sources[realmName]
	switch {
	case s == nil && entry != "":
		return keptByNone // the realm had a directory once: its people do not become ours by its going
	case s == nil:
		return keptHere
	case u.ID == "" || entry != "":
		return keptThere
	case u.Admin || !s.Policy().Only:
		return keptHere
	case s.Policy().Adopt:
		return keptThere
	}
	return keptByNone
}

// PasswordElsewhere tells whether no password of this person is kept here, nor may be, because a source looks at it.
func (dir *Directory) PasswordElsewhere(p Person) (policy SourcePolicy, elsewhere bool) {
	policy, _ = dir.SourcePolicy(p.Realm)
	return policy, dir.people.keeper(p.Realm, p.User, p.Entry) != keptHere
}

// ErrElsewhere is in the chain of the answer to who wants to set a password that a directory keeps.
var ErrElsewhere error = fault.New(fault.Conflict, "password_elsewhere", "The password of this account is kept in the directory of the organisation. It is changed there.")

// keepsPassword refuses a password for somebody whose password is kept elsewhere.
func (dir *Directory) keepsPassword(ctx context.Context, tx db.ReadTx, u User) error {
	entry, err := entryOf(ctx, tx, u.ID)
	if err != nil {
		return err
	}
	if dir.people.keeper(u.Realm, u, entry) != keptHere {
		return ErrElsewhere
	}
	return nil
}

// KeepsFields refuses to change what the source says of a person: display_name, email, phone or address.
func (dir *Directory) KeepsFields(p Person, fields ...string) error {
	if p.Entry == "" {
		return nil
	}
	policy, ok := dir.SourcePolicy(p.Realm)
	for _, kept := range policy.Keeps {
		for _, field := range fields {
			if ok && field == kept {
				return fault.New(fault.Conflict, "kept_elsewhere", "What is known of this person comes from the directory of the organisation. It is changed there.").At(field, "kept elsewhere")
			}
		}
	}
	return nil
}

// entryOf is the entry that the person is, or "".
func entryOf(ctx context.Context, tx db.ReadTx, userID string) (entry string, err error) {
	err = tx.QueryRow(ctx, `SELECT entry FROM person_entries WHERE user_id = $1`, userID).Scan(&entry)
	if errors.Is(err, db.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read a person's entry: %w", err)
	}
	return entry, nil
}

// verifyThere has the source look at a try that was counted. For whom a password is kept by nobody it does the same work
// and refuses.
func (p *people) verifyThere(ctx context.Context, a *attempt, secret redact.Secret, origin Origin, back func()) (User, error) {
	// Whoever is kept here costs a hash, and a look into the directory if the password is wrong: so both are done for all.
	if err := p.pool.Waste(ctx, secret); err != nil {
		p.giveBack(ctx, a)
		back()
		return User{}, err
	}
	source := p.sources[a.realm]
	if a.off || a.paced || source == nil || p.keeper(a.realm, a.user, a.entry) == keptByNone {
		p.pretend(ctx, a)
		err := ErrCredentials
		if a.off || a.paced {
			err = a.silently()
		}
		p.refused(a, origin, err)
		return User{}, ErrCredentials
	}
	second := &attempt{}
	u, err := source.Verify(ctx, SourceLogin{Name: a.name(), Secret: secret, Origin: origin, Count: func(ctx context.Context, userID, entry string) error {
		return p.countEntry(ctx, a, second, userID, entry)
	}})
	switch {
	case err == nil:
		back()
		for _, x := range []*attempt{a, second} {
			if err := p.forgetAttempt(ctx, x); err != nil {
				return User{}, unavailable(err)
			}
		}
		return u, nil
	case fault.Is(err, fault.Unauthenticated):
		p.refused(a, origin, err)
		return User{}, ErrCredentials
	case fault.Is(err, fault.Limited):
		p.giveBack(ctx, a)
		back()
		p.refused(a, origin, err)
		return User{}, err
	}
	// It could not be found out: that is nobody's wrong password.
	p.giveBack(ctx, a)
	if second.counted() {
		p.giveBack(ctx, second)
	}
	back()
	if fault.Is(err, fault.Unavailable) {
		return User{}, err
	}
	return User{}, unavailable(err)
}

// countEntry counts the try a second time if the name leads to somebody else than the one that has it here: an entry has
// several names, and guesses at all of them are guesses at one. Nobody is told of that count, but on a device of the person.
func (p *people) countEntry(ctx context.Context, a, second *attempt, userID, entry string) error {
	if userID != "" && userID == a.user.ID {
		return nil
	}
	*second = attempt{realm: a.realm, device: a.device, userID: userID, found: entry, again: a.again}
	if err := p.attempts.Do(ctx, second); err != nil {
		second.account, second.hidden = "", ""
		return unavailable(err)
	}
	a.user = second.user // for the audit log
	if second.wait > 0 { // in front of the person's own device
		second.account = ""
		return tooMany(second.wait)
	}
	if second.off || second.paced {
		return second.silently()
	}
	return nil
}

// pretend has a refusal by us take as long as one by the source.
func (p *people) pretend(ctx context.Context, a *attempt) {
	if s := p.sources[a.realm]; s != nil {
		s.Pretend(ctx, a.name())
	}
}

func (a *attempt) counted() bool { return a.account != "" || a.hidden != "" }

func (p *people) forgetAttempt(ctx context.Context, a *attempt) error {
	if !a.counted() {
		return nil
	}
	return p.dir.d.Write(ctx, func(tx db.WriteTx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM login_attempts WHERE account = $1 OR account = $2`, a.account, a.hidden); err != nil {
			return fmt.Errorf("forget the attempts: %w", err)
		}
		return a.takeBack(ctx, tx)
	})
}
