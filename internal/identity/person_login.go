package identity

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Origin is where somebody tries to sign in from.
type Origin struct {
	IP        string
	RequestID string
	Agent     string        // what the browser calls itself, for the audit log
	Device    redact.Secret // what the browser keeps to be known again (RememberDevice); empty: nothing
}

// How guessing is slowed down. It is counted apart for each browser that the person has signed in with before: whatever
// strangers do, they make nobody wait in front of a device of his own.
//
// Strangers are counted twice: by the name that they type, and by the person whose it is. Only the count by name is ever
// told of, by a wait, and it is kept of names that nobody has as well: if a wait for the username were one for the e-mail
// address, it would tell that the two are one person's. The count by person is kept in secret, so that two names are not
// twice as many guesses: while it says wait, a try under another name of the person, of which this is not the first in a
// while, is not looked at and answered like a wrong password.
const (
	// FreeTries is how many passwords may be wrong in a row without a delay, and triesWindow after which rest they are
	// forgotten.
	FreeTries    = 5
	triesWindow  = 15 * time.Minute
	firstDelay   = time.Second
	longestDelay = time.Minute
	// TriesInARow is how many passwords may be wrong one after another, however long that takes, until none is looked at
	// any more that comes from there (NIST SP 800-63B-4, section 3.2.2): for strangers until the person gets another
	// password or signs in with a passkey.
	TriesInARow = 100

	maxAttemptBatch = 64
)

// delayAfter is how long the next try must wait after this many failures.
func delayAfter(failures int64) time.Duration {
	if failures < FreeTries {
		return 0
	}
	return min(firstDelay<<min(failures-FreeTries, 10), longestDelay)
}

// attempt is one try to sign in: what was typed, and what the transaction that counts it finds out. Only the batch that
// counts it writes to it, before it answers.
type attempt struct {
	realm, username, email string
	device                 redact.Secret
	userID, found          string // instead of a name: the person, or the entry of a source that is nobody's yet
	again                  bool   // of such a try: the name that led there has failed of late

	network string // key of the count of where it comes from; "": that is not counted
	full    error  // that this node's memory has counted enough from there
	known   bool   // it comes from a device of the person
	crowd   bool   // there were TriesPerAddress from there: the try is not looked at
	account string // key of the count that is told of: of the name as it was typed, or of a device
	hidden  string // key of the count that nobody is told of: of the person; "" for a device, whose count is one's own
	off     bool   // there were TriesInARow: the try is not looked at, and nobody is told
	paced   bool   // the person's count says wait, and the name's does not: likewise
	user    User   // zero: nobody has this name
	entry   string // that the person is in the directory of the realm; "": none
	version int64  // of the password's form; 0: there is none
	box     []byte
	wait    time.Duration // > 0: the try is not looked at
	next    int64         // not_before of account as this try has set it
	nextOne int64         // not_before of hidden as this try has set it; -1: it was not counted there

	forget bool // it was right: what there is of the account is forgotten, and nothing is looked up
}

// name is what was typed, in its one form.
func (a *attempt) name() string {
	if a.username == "" {
		return a.email
	}
	return a.username
}

// account is the key under which tries for a user are counted.
func (p *people) account(userID string) string { return p.key("user", userID) }

func (p *people) key(what, name string) string {
	return hex.EncodeToString(p.dir.keyring.MAC("login-attempts", redact.New(what+"/"+name)))
}

// count looks the accounts up and counts the tries, many in one transaction. A name that nobody has is counted like one
// that somebody has, so that neither an answer nor a delay tells them apart.
func (p *people) count(ctx context.Context, tx db.WriteTx, attempts []*attempt) error {
	for _, a := range attempts {
		if a.forget {
			if _, err := tx.Exec(ctx, `DELETE FROM login_attempts WHERE account = $1 OR account = $2`, a.account, a.hidden); err != nil {
				return fmt.Errorf("forget the attempts: %w", err)
			}
			if err := a.takeBack(ctx, tx); err != nil {
				return err
			}
			continue
		}
		if err := p.find(ctx, tx, a); err != nil {
			return err
		}
		if err := a.reserveBoth(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

const (
	foundByName = `(SELECT id FROM users WHERE realm = $1 AND username = $2 AND application IS NULL
			UNION SELECT user_id FROM people WHERE realm = $1 AND email_key = $3) AS found`
	foundByID = `(SELECT id FROM users WHERE id = $1) AS found`
)

// reserveBoth counts the try by where it comes from and by its account, or refuses to look at it. A device of the person
// has a count of its own alone: else whoever shares its address with a stranger could be kept out by him.
func (a *attempt) reserveBoth(ctx context.Context, tx db.WriteTx) (err error) {
	a.crowd = false
	if a.known {
		return a.reserve(ctx, tx)
	}
	if a.full != nil {
		a.wait, a.crowd = fault.Of(a.full).RetryAfter, true
		return nil
	}
	if a.network != "" {
		if a.wait, err = waitOfAddress(ctx, tx, a.network, TriesPerAddress); err != nil {
			return err
		}
		if a.crowd = a.wait > 0; a.crowd {
			return nil
		}
	}
	if err := a.reserve(ctx, tx); err != nil || a.wait > 0 || a.network == "" {
		return err
	}
	return countAddress(ctx, tx, a.network, 1)
}

// takeBack takes the try off the count of where it came from: it was no wrong password.
func (a *attempt) takeBack(ctx context.Context, tx db.WriteTx) error {
	if a.network == "" || a.known {
		return nil
	}
	return countAddress(ctx, tx, a.network, -1)
}

// find looks the account up by name or address in one query, which costs the same whether it finds something.
func (p *people) find(ctx context.Context, tx db.ReadTx, a *attempt) (err error) {
	a.user, a.entry, a.version, a.box, a.known = User{}, "", 0, nil, false // the function may run again
	defer func() {
		// Also for a name that nobody has: the work must not tell.
		if err == nil && !a.device.Empty() {
			err = p.findDevice(ctx, tx, a)
		}
	}()
	var created, enabled, disabled int64
	u := &a.user
	found, args := foundByName, []any{a.realm, a.username, a.email}
	if a.found != "" {
		found, args = foundByID, []any{a.userID}
	}
	err = tx.QueryRow(ctx, `SELECT u.id, u.realm, u.username, u.display_name, u.admin, u.created, u.enabled_since, u.disabled, coalesce(e.entry, ''), coalesce(w.version, 0), coalesce(w.changed, 0), w.box
		FROM `+found+` JOIN users u ON u.id = found.id LEFT JOIN person_entries e ON e.user_id = u.id LEFT JOIN person_passwords w ON w.user_id = u.id LIMIT 1`, args...).
		Scan(&u.ID, &u.Realm, &u.Username, &u.DisplayName, &u.Admin, &created, &enabled, &disabled, &a.entry, &a.version, &u.Proof, &a.box)
	u.Created, u.EnabledSince, u.Disabled = db.Time(created), db.Time(enabled), db.Time(disabled)
	name := cmp.Or(a.email, a.username) // an address in all its spellings is one
	a.account, a.hidden = p.nameKey(a.realm, name), ""
	switch {
	case errors.Is(err, db.ErrNoRows) && a.found != "":
		a.account, a.hidden = "", p.key("entry", a.realm+"/"+a.found)
		return nil
	case errors.Is(err, db.ErrNoRows):
		a.hidden = p.key("nobody", a.realm+"/"+name) // the same work
		return nil
	case err != nil:
		return fmt.Errorf("look up a person: %w", err)
	}
	if a.found != "" { // the name was counted before; this is the person's own count, of which nobody is told
		a.account, a.hidden = "", p.account(u.ID)
		return nil
	}
	a.hidden = p.account(u.ID)
	return nil
}

// nameKey is the key under which tries for a name or address are counted, whoever has it.
func (p *people) nameKey(realmName, name string) string { return p.key("name", realmName+"/"+name) }

// findDevice gives the try a count of its own if it comes from a browser that the person is known with.
func (p *people) findDevice(ctx context.Context, tx db.ReadTx, a *attempt) error {
	deviceID, known, err := p.dir.KnownDevice(ctx, tx, a.user.ID, a.device)
	if known {
		a.account, a.hidden, a.known = p.key("device", deviceID), "", true
	}
	return err
}

// tally is a row of counts.
type tally struct{ failures, total, last, notBefore int64 }

func loadTally(ctx context.Context, tx db.ReadTx, account string) (t tally, err error) {
	err = tx.QueryRow(ctx, `SELECT failures, total, last, not_before FROM login_attempts WHERE account = $1`, account).Scan(&t.failures, &t.total, &t.last, &t.notBefore)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return t, fmt.Errorf("read attempts: %w", err)
	}
	if t.last != 0 && tx.Now().Sub(db.Time(t.last)) >= triesWindow {
		t.failures, t.notBefore = 0, 0
	}
	return t, nil
}

// wait is how long the next try must wait.
func (t tally) wait(now time.Time) time.Duration {
	if t.notBefore == 0 {
		return 0
	}
	return max(0, db.Time(t.notBefore).Sub(now))
}

// count is the row after one more failure.
func (t tally) count(now time.Time) tally {
	t.failures, t.total, t.last, t.notBefore = t.failures+1, t.total+1, db.Micros(now), 0
	if d := delayAfter(t.failures); d > 0 {
		t.notBefore = db.Micros(now.Add(d))
	}
	return t
}

func (t tally) store(ctx context.Context, tx db.WriteTx, account, userID string) error {
	if err := db.One(tx.Exec(ctx, `INSERT INTO login_attempts (account, user_id, failures, total, last, not_before) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account) DO UPDATE SET failures = excluded.failures, total = excluded.total, last = excluded.last, not_before = excluded.not_before`,
		account, userID, t.failures, t.total, t.last, t.notBefore)); err != nil {
		return fmt.Errorf("count an attempt: %w", err)
	}
	return nil
}

// reserve counts the try as failed before it is looked at, or refuses to look at it.
func (a *attempt) reserve(ctx context.Context, tx db.WriteTx) error {
	a.wait, a.off, a.paced, a.next, a.nextOne = 0, false, false, 0, -1
	if a.account == "" {
		return a.reserveEntry(ctx, tx)
	}
	now := tx.Now()
	shown, err := loadTally(ctx, tx, a.account)
	if err != nil {
		return err
	}
	if a.wait = shown.wait(now); a.wait > 0 {
		return nil // not counted: who waits for his turn must not be pushed back by those who do not
	}
	a.again = shown.failures > 0
	one, owner := shown, a.user.ID
	if a.hidden != "" {
		owner = "" // the row of a name is swept like that of one which nobody has
		if one, err = loadTally(ctx, tx, a.hidden); err != nil {
			return err
		}
		// Who has not failed under this name of late may be its owner, while somebody guesses under the other one.
		a.paced = a.again && one.wait(now) > 0
	}
	a.off = one.total >= TriesInARow && a.user.ID != ""
	if a.hidden != "" {
		if one.last == 0 {
			one.last = db.Micros(now)
		}
		if !a.paced {
			one = one.count(now)
			a.nextOne = one.notBefore
		}
		if err := one.store(ctx, tx, a.hidden, a.user.ID); err != nil { // in any case: the work must not tell
			return err
		}
	}
	shown = shown.count(now)
	a.next = shown.notBefore
	return shown.store(ctx, tx, a.account, owner)
}

// triesByOtherNames is how many wrong passwords an entry has before a name that has not failed of late waits like one that
// has. An entry has as many names as its directory finds it by, so that first tries alone could be very many.
const triesByOtherNames = 2 * FreeTries

// reserveEntry is reserve for whom a source has found behind a name that leads to nobody, or to somebody else, here. A wait
// that was told would tell that two names are one person's; so the try is answered like a wrong password in its place.
func (a *attempt) reserveEntry(ctx context.Context, tx db.WriteTx) error {
	now := tx.Now()
	one, err := loadTally(ctx, tx, a.hidden)
	if err != nil {
		return err
	}
	a.off = one.total >= TriesInARow && a.user.ID != ""
	a.paced = one.wait(now) > 0 && (a.again || one.failures >= triesByOtherNames)
	if !a.paced {
		one = one.count(now)
		a.nextOne = one.notBefore
	}
	return one.store(ctx, tx, a.hidden, a.user.ID)
}

// OnLoginRefused registers who is told of refused logins: the caller holds what is known of the account and the origin.
// f runs by itself, so that no answer waits for it.
func (dir *Directory) OnLoginRefused(f func(access.Caller, error)) { dir.people.onRefused = f }

// errPasswordOff is for the audit log alone. Whoever tries is told ErrCredentials, so that nobody learns whether somebody
// has the name.
var errPasswordOff error = fault.New(fault.Unauthenticated, "password_off", "There were too many wrong passwords in a row.")

// silently is why a try is not looked at whose sender is told that the password is wrong.
func (a *attempt) silently() error {
	if a.off {
		return errPasswordOff
	}
	return errPaced
}

// errPaced is likewise for a try that the person's count does not let through.
var errPaced error = fault.New(fault.Unauthenticated, "password_paced", "There were too many wrong passwords under other names of the person.")

// ForgetAttempts forgets all wrong passwords of the person: something stronger has shown who it is.
func (dir *Directory) ForgetAttempts(ctx context.Context, tx db.WriteTx, userID string) error {
	var realmName, username, email string
	err := tx.QueryRow(ctx, `SELECT u.realm, u.username, coalesce(p.email_key, '') FROM users u LEFT JOIN people p ON p.user_id = u.id WHERE u.id = $1`, userID).
		Scan(&realmName, &username, &email)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return fmt.Errorf("read the names of a person: %w", err)
	}
	name, address := dir.people.nameKey(realmName, username), dir.people.nameKey(realmName, email)
	if a, err := parseAddress(username); err == nil {
		name = dir.people.nameKey(realmName, a.key) // as find has it
	}
	if _, err := tx.Exec(ctx, `DELETE FROM login_attempts WHERE user_id = $1 OR account = $2 OR account = $3`, userID, name, address); err != nil {
		return fmt.Errorf("forget the attempts: %w", err)
	}
	return nil
}

// VerifyPersonPassword tells who it is that signs in with this name (or e-mail address) and password. The realm may come
// in any spelling.
//
// Unknown, wrong, disabled and without a password are one answer, ErrCredentials, after the same work. After FreeTries
// failures in a row the next try must wait, whether somebody has the name or not: fault.Limited with the time; and so it
// is after TriesPerAddress from one address. When too many sign in at once it is fault.Unavailable. Any other error says that it could not be found out.
func (dir *Directory) VerifyPersonPassword(ctx context.Context, realmName, username string, secret redact.Secret, origin Origin) (User, error) {
	p := dir.people
	r, err := dir.o.Realms.Lookup(realmName)
	if err != nil || r.Kind != realm.People {
		return User{}, ErrCredentials // which realms there are is no secret
	}
	a := &attempt{realm: r.Name, device: origin.Device, network: p.dir.NetworkKey("password", origin.IP)}
	if a.username, a.email = loginNames(username); a.username == "" && a.email == "" {
		a.username = " " // no name at all: the same work under a name that nobody can have
	}
	back, err := p.addresses.take(origin.IP)
	if err != nil {
		if origin.Device.Empty() {
			p.refused(a, origin, err)
			return User{}, err
		}
		a.full, back = err, func() {} // it may be a device of the person
	}
	if err := p.attempts.Do(ctx, a); err != nil {
		back()
		return User{}, unavailable(err)
	}
	if a.known {
		back()
		back = func() {}
	}
	if a.wait > 0 {
		back()
		err := tooMany(a.wait)
		if a.crowd {
			err = fault.New(fault.Limited, "too_many_attempts", "%s", p.addresses.text).Retry(a.wait)
		}
		p.refused(a, origin, err)
		return User{}, err
	}
	if p.keeper(a.realm, a.user, a.entry) != keptHere {
		return p.verifyThere(ctx, a, secret, origin, back)
	}
	ok, err := p.check(ctx, a, secret)
	if err != nil {
		p.giveBack(ctx, a)
		back()
		return User{}, err
	}
	if a.off || a.paced || !ok {
		p.pretend(ctx, a)
	}
	if a.off || a.paced {
		p.refused(a, origin, a.silently())
		return User{}, ErrCredentials
	}
	if !ok {
		p.refused(a, origin, ErrCredentials)
		return User{}, ErrCredentials
	}
	back()
	if err := p.succeeded(ctx, a, secret); err != nil {
		return User{}, err
	}
	return a.user, nil
}

func tooMany(wait time.Duration) error {
	return fault.New(fault.Limited, "too_many_attempts", "Too many wrong passwords for this name. Please wait a moment before you try again.").Retry(wait)
}

// giveBack takes the count of a try back that was never looked at, and the wait that it brought, but not that of another
// try. If that fails, the next success forgets it.
func (p *people) giveBack(ctx context.Context, a *attempt) {
	err := p.dir.d.Write(context.WithoutCancel(ctx), func(tx db.WriteTx) error {
		for account, next := range map[string]int64{a.account: a.next, a.hidden: a.nextOne} {
			if account == "" || next < 0 {
				continue
			}
			if _, err := tx.Exec(ctx, `UPDATE login_attempts SET failures = failures - 1, total = total - 1, not_before = CASE WHEN not_before = $2 THEN 0 ELSE not_before END
				WHERE account = $1 AND failures > 0`, account, next); err != nil {
				return err
			}
		}
		return a.takeBack(ctx, tx)
	})
	if err != nil {
		p.dir.o.Logger.WarnContext(ctx, "a login that was not looked at could not be taken off the count", "error", err)
	}
}

// check computes one slow hash, whatever it finds.
func (p *people) check(ctx context.Context, a *attempt, secret redact.Secret) (bool, error) {
	if a.version == 0 {
		return false, p.pool.Waste(ctx, secret)
	}
	form, err := p.dir.keyring.Open(seal.Pepper, passwordAD(a.user.ID, a.version), a.box)
	if err != nil {
		return false, fmt.Errorf("open the password of user %s: %w", a.user.ID, err)
	}
	ok, err := p.pool.Verify(ctx, form, secret)
	if errors.Is(err, password.ErrForm) {
		return false, fmt.Errorf("password of user %s: %w", a.user.ID, err)
	}
	return ok && a.user.Disabled.IsZero(), err
}

// succeeded forgets the failures, and stores the password anew if its form is out of date. The password may have been
// changed while the hash was computed: then this one was right a moment ago, and only its form is not stored.
func (p *people) succeeded(ctx context.Context, a *attempt, secret redact.Secret) error {
	var fresh Hashed
	form, err := p.dir.keyring.Open(seal.Pepper, passwordAD(a.user.ID, a.version), a.box)
	if err != nil {
		return fmt.Errorf("open the password of user %s: %w", a.user.ID, err)
	}
	if p.pool.NeedsRehash(form) {
		if fresh.form, err = p.pool.Hash(ctx, secret); err != nil {
			fresh = Hashed{} // there is no place just now: the next login will do
		}
	}
	if fresh.form.Empty() { // together with the tries of others, which does not get into their way
		if err := p.attempts.Do(ctx, &attempt{account: a.account, hidden: a.hidden, network: a.network, known: a.known, forget: true}); err != nil {
			return unavailable(err)
		}
		return nil
	}
	err = p.dir.d.Write(ctx, func(tx db.WriteTx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM login_attempts WHERE account = $1 OR account = $2`, a.account, a.hidden); err != nil {
			return fmt.Errorf("forget the attempts: %w", err)
		}
		if err := a.takeBack(ctx, tx); err != nil {
			return err
		}
		var version int64
		if err := tx.QueryRow(ctx, `SELECT version FROM person_passwords WHERE user_id = $1`, a.user.ID).Scan(&version); err != nil {
			return fmt.Errorf("read the password's version: %w", err)
		}
		if version != a.version {
			return nil
		}
		return p.dir.storePassword(ctx, tx, a.user.ID, fresh, true)
	})
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// StillProved tells whether what VerifyPersonPassword found is true still: the person is enabled and was all the time, and
// has no other password since. Whatever begins with a login asks in its own transaction. Else a login that was under way
// when the password was changed would outlive the end of all sessions.
func StillProved(ctx context.Context, tx db.ReadTx, u User) (bool, error) {
	now, err := LoadUser(ctx, tx, u.ID)
	if err != nil || !now.Disabled.IsZero() || !now.EnabledSince.Equal(u.EnabledSince) {
		return false, err
	}
	var changed int64
	err = tx.QueryRow(ctx, `SELECT changed FROM person_passwords WHERE user_id = $1`, u.ID).Scan(&changed)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return false, fmt.Errorf("read when the password was changed: %w", err)
	}
	return changed == u.Proof, nil
}

// refused tells of a refusal without making anybody wait for it: how long that takes depends on the account.
func (p *people) refused(a *attempt, origin Origin, err error) {
	c := access.Caller{Kind: access.Person, ID: a.user.ID, Name: a.user.Username, Realm: a.realm, IP: origin.IP, RequestID: origin.RequestID, Agent: origin.Agent}
	if a.user.ID == "" {
		c.Kind = access.Anonymous
	}
	go p.onRefused(c, err)
}

// SweepAttempts removes the counts of names that nobody has and that are over, and tells how many they were. Those of a
// person stay until a password is right: they are few, and must not be outwaited.
func (dir *Directory) SweepAttempts(ctx context.Context) (removed int64, err error) {
	n, err := dir.d.RemoveExpired(ctx, db.Expiry{Table: "login_attempts", Key: "account", Column: "last", Keep: triesWindow, And: `user_id = ''`},
		db.Expiry{Table: "address_tries", Key: "network", Column: "began", Keep: addressWindow})
	return n["login_attempts"], err
}
