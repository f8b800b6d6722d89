package federation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Outcome is what a callback came to.
type Outcome string

// The outcomes.
const (
	SignedIn Outcome = "signed_in" // the person is known here
	Confirm  Outcome = "confirm"   // somebody who is signed in is to confirm the link
	Unknown  Outcome = "unknown"   // nobody here is linked with this identity: sign in, then link
	Choose   Outcome = "choose"    // an account begins, once its username is chosen
)

// Proof is what a session says of the login with a provider that it began with.
type Proof struct {
	Provider string    `json:"provider"`
	Subject  string    `json:"sub"`
	SID      string    `json:"sid,omitempty"`
	AuthTime time.Time `json:"auth_time"`
	Hint     string    `json:"hint,omitempty"` // the ID token, sealed (signout.go)
}

// Result is what Callback found out.
type Result struct {
	Outcome  Outcome
	Login    string // its id, by which the browser goes on unless it is SignedIn
	ReturnTo string
	// Of SignedIn.
	User  identity.User
	AMR   []string
	Two   bool // two factors are wanted
	Proof Proof
}

// ErrBlocked is the answer to a login of somebody whom an administrator refuses.
var ErrBlocked error = fault.New(fault.Forbidden, "account_disabled", "Your account here is disabled. Ask whoever runs this service.")

// resolve finds out who it is here.
func (s *Service) resolve(ctx context.Context, p Provider, l login, f Found, a Answer) (r Result, err error) {
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		r = Result{Login: l.id, ReturnTo: l.returnTo, Two: l.two}
		now, err := loadProvider(ctx, tx, p.ID)
		if err != nil || !now.Enabled || now.Issuer != p.Issuer {
			return errors.Join(err, ErrNoProvider)
		}
		k, err := findLink(ctx, tx, p.ID, f.Subject)
		if err != nil {
			return err
		}
		if l.kind == kindLink {
			r.Outcome = Confirm
			if k.id != "" {
				return taken(k.userID == l.userID)
			}
			return s.keep(ctx, tx, l, f)
		}
		if k.id == "" {
			if r.Outcome, err = s.meet(ctx, tx, now, f, a, &k); err != nil || r.Outcome != SignedIn {
				return errors.Join(err, s.keep(ctx, tx, l, f))
			}
		}
		r.Outcome = SignedIn
		r.User, err = s.enter(ctx, tx, now, f, k, a)
		return err
	})
	if err != nil {
		go s.refusals(a.caller(p, "", ""), "session.begin", err)
		return Result{}, err
	}
	r.AMR, r.Proof = f.methods(p), Proof{p.ID, f.Subject, f.SID, f.AuthTime, f.Hint}
	return r, nil
}

// enter lets a linked person in, and has what is known of her follow the provider if the policy says so.
func (s *Service) enter(ctx context.Context, tx db.WriteTx, p Provider, f Found, k link, a Answer) (identity.User, error) {
	person, err := identity.LoadPerson(ctx, tx, k.userID)
	if err != nil {
		return identity.User{}, err
	}
	if !person.Disabled.IsZero() {
		return identity.User{}, ErrBlocked
	}
	if err := db.One(tx.Exec(ctx, `UPDATE linked_identities SET last_used = $2 WHERE id = $1`, k.id, db.Micros(tx.Now()))); err != nil {
		return identity.User{}, fmt.Errorf("note the use of a link: %w", err)
	}
	if p.Policy.Sync {
		if err := s.sync(ctx, tx, p, person, f, a); err != nil {
			return identity.User{}, err
		}
	}
	if err := s.follow(ctx, tx, p, person, f, a); err != nil {
		return identity.User{}, err
	}
	return person.Proved(), nil
}

// system is who changes accounts on a provider's word.
func system(a Answer) access.Caller {
	c := access.SystemCaller(identity.ByProvider)
	c.IP, c.RequestID = a.IP, a.Request
	return c
}

// sync takes over what the provider says, each as far as it fits. An administrator's account is its own: its address is
// where a new password goes.
func (s *Service) sync(ctx context.Context, tx db.WriteTx, p Provider, person identity.Person, f Found, a Answer) error {
	if person.Admin {
		return nil
	}
	c := system(a)
	try := func(up identity.PersonUpdate) error {
		err := s.dir.UpdatePerson(ctx, tx, c, person.ID, up)
		if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) {
			return nil // what does not fit here stays as it is
		}
		return err
	}
	for _, field := range []struct {
		to  string
		was string
		up  func(*string) identity.PersonUpdate
	}{
		{f.Name, person.DisplayName, func(v *string) identity.PersonUpdate { return identity.PersonUpdate{DisplayName: v} }},
		{f.Phone, person.Phone, func(v *string) identity.PersonUpdate { return identity.PersonUpdate{Phone: v} }},
	} {
		if field.to != "" && field.to != field.was {
			if err := try(field.up(&field.to)); err != nil {
				return err
			}
		}
	}
	if f.Email == "" || identity.EmailKey(f.Email) == identity.EmailKey(person.Email) {
		return nil
	}
	if err := try(identity.PersonUpdate{Email: &f.Email}); err != nil {
		return err
	}
	return s.verifyEmail(ctx, tx, c, p, person.ID, f)
}

// verifyEmail takes the provider's word for an address, if it is the person's and the provider has the word for its
// domain. Of any other it would be a trap: an account that one provider began with a stranger's address would be joined
// with its owner when he comes by the provider that has the word.
func (s *Service) verifyEmail(ctx context.Context, tx db.WriteTx, c access.Caller, p Provider, userID string, f Found) error {
	if !inDomains(f, p.Policy.AuthoritativeDomains) {
		return nil
	}
	person, err := identity.LoadPerson(ctx, tx, userID)
	if err != nil || identity.EmailKey(person.Email) != identity.EmailKey(f.Email) {
		return err
	}
	return identity.MarkEmailVerified(ctx, tx, c, person, f.Email)
}

// meet finds somebody whom nobody is linked with yet: by an address that the provider has the word for, or as a new
// account.
func (s *Service) meet(ctx context.Context, tx db.WriteTx, p Provider, f Found, a Answer, k *link) (Outcome, error) {
	holder, err := holderOf(ctx, tx, p.Realm, f.Email)
	if err != nil {
		return "", err
	}
	if holder.ID != "" {
		if !inDomains(f, p.Policy.AuthoritativeDomains) || holder.EmailVerified.IsZero() || holder.Admin || !holder.Disabled.IsZero() {
			return Unknown, nil
		}
		if *k, err = s.link(ctx, tx, system(a), p, f, holder.User); err != nil {
			return "", err
		}
		return SignedIn, s.tell(ctx, tx, Change{User: holder.User, Provider: p.Name, Linked: true, By: system(a)})
	}
	if !p.Policy.CreateUsers {
		return Unknown, nil
	}
	made, err := s.create(ctx, tx, p, f, f.Username, a)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) {
		return Choose, nil
	}
	*k = made
	return SignedIn, err
}

// holderOf finds whose address it is in a realm. A username that is that address counts as well, and never as verified.
func holderOf(ctx context.Context, tx db.ReadTx, realmName, email string) (identity.Person, error) {
	key := identity.EmailKey(email)
	if key == "" {
		return identity.Person{}, nil
	}
	var userID string
	err := tx.QueryRow(ctx, `SELECT user_id FROM people WHERE realm = $1 AND email_key = $2
		UNION ALL SELECT id FROM users WHERE realm = $1 AND username = $2 LIMIT 1`, realmName, key).Scan(&userID)
	if errors.Is(err, db.ErrNoRows) {
		return identity.Person{}, nil
	}
	if err != nil {
		return identity.Person{}, fmt.Errorf("look for an address: %w", err)
	}
	p, err := identity.LoadPerson(ctx, tx, userID)
	if err == nil && identity.EmailKey(p.Email) != key {
		p.EmailVerified = time.Time{}
	}
	return p, err
}

var errUsername error = fault.New(fault.Invalid, "username", "Choose a username without @, or your own verified address.").At("username", "not valid")

// create makes an account for somebody of a provider. A username with an @ is taken only if it is an address of the
// person for which the provider has the word: else one could sit on the address of another.
func (s *Service) create(ctx context.Context, tx db.WriteTx, p Provider, f Found, username string, a Answer) (link, error) {
	canonical, err := identity.CanonicalUsername(username)
	if err != nil {
		return link{}, err
	}
	if strings.Contains(canonical, "@") && (canonical != identity.EmailKey(f.Email) || !inDomains(f, p.Policy.AuthoritativeDomains)) {
		return link{}, errUsername
	}
	c := system(a)
	person := identity.NewPerson{Realm: p.Realm, Username: canonical, DisplayName: f.Name, Email: f.Email, Phone: f.Phone}
	u, err := s.dir.CreatePersonHashed(ctx, tx, c, person, identity.Hashed{})
	if fault.Is(err, fault.Invalid) && fault.Code(err) != "username" {
		person.DisplayName, person.Phone = "", "" // whatever does not fit here
		u, err = s.dir.CreatePersonHashed(ctx, tx, c, person, identity.Hashed{})
	}
	if err != nil {
		return link{}, err
	}
	if f.Email != "" {
		if err := s.verifyEmail(ctx, tx, c, p, u.ID, f); err != nil {
			return link{}, err
		}
	}
	return s.link(ctx, tx, c, p, f, u)
}

func boxAD(loginID string) seal.AD {
	return seal.AD{Table: "upstream_logins", Column: "box", Row: loginID}
}

// keep holds what the provider said until the person has decided.
func (s *Service) keep(ctx context.Context, tx db.WriteTx, l login, f Found) error {
	text, err := json.Marshal(f)
	if err != nil {
		return errors.New("write what a provider said") // the cause could quote it
	}
	box, err := s.keyring.Seal(seal.Data, boxAD(l.id), text)
	if err != nil {
		return fmt.Errorf("seal what a provider said: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `UPDATE upstream_logins SET box = $2, expires = $3 WHERE id = $1 AND used = 0`, l.id, box, db.Micros(tx.Now().Add(foundLife)))); err != nil {
		return fmt.Errorf("keep what a provider said: %w", err)
	}
	return nil
}

// Pending is a login at a provider that a decision here is missing for.
type Pending struct {
	Found    Found
	Provider string // as people know it
	Realm    string
	Creates  bool // an account may begin with it
	ReturnTo string

	provider Provider
	login    login
}

// Pending finds such a login of this browser.
func (s *Service) Pending(ctx context.Context, tx db.ReadTx, loginID string, browser redact.Secret) (Pending, error) {
	if !wellFormed(browser) {
		return Pending{}, errProviderState
	}
	l, answered, err := s.scanLogin(tx.QueryRow(ctx, selectLogin+` WHERE id = $1`, loginID), tx.Now(), browser)
	if err != nil {
		return Pending{}, err
	}
	if !answered || len(l.box) == 0 {
		return Pending{}, errProviderState
	}
	text, err := s.keyring.Open(seal.Data, boxAD(l.id), l.box)
	if err != nil {
		return Pending{}, fmt.Errorf("open what a provider said: %w", err)
	}
	w := Pending{ReturnTo: l.returnTo, login: l}
	if json.Unmarshal(text.Bytes(), &w.Found) != nil {
		return Pending{}, errors.New("read what a provider said")
	}
	if w.provider, err = loadProvider(ctx, tx, l.provider); err != nil {
		return Pending{}, err
	}
	if !w.provider.Enabled {
		return Pending{}, ErrNoProvider
	}
	w.Provider, w.Realm = w.provider.Name, w.provider.Realm
	holder, err := holderOf(ctx, tx, w.Realm, w.Found.Email)
	w.Creates = err == nil && w.provider.Policy.CreateUsers && l.kind == kindLogin && holder.ID == ""
	return w, err
}

// use takes the one use of a pending login, by compare-and-set.
func (w Pending) use(ctx context.Context, tx db.WriteTx) error {
	n, err := tx.Exec(ctx, `UPDATE upstream_logins SET used = $2, box = $3 WHERE id = $1 AND used = 0 AND expires > $2`, w.login.id, db.Micros(tx.Now()), []byte{})
	if err != nil {
		return fmt.Errorf("use a login at a provider: %w", err)
	}
	if n != 1 {
		return errProviderState
	}
	return nil
}

// Create begins an account with a username that the person chose, and answers the login with it.
func (s *Service) Create(ctx context.Context, loginID, username string, a Answer) (r Result, err error) {
	if err := s.limit(a.IP); err != nil {
		return r, err
	}
	var of Provider
	err = s.d.Write(ctx, func(tx db.WriteTx) error {
		w, err := s.Pending(ctx, tx, loginID, a.Browser)
		if err != nil {
			return err
		}
		of = w.provider
		if !w.Creates {
			return errProviderState
		}
		if err := w.use(ctx, tx); err != nil {
			return err
		}
		k, err := s.create(ctx, tx, w.provider, w.Found, username, a)
		if err != nil {
			return err
		}
		f, p := w.Found, w.provider
		r = Result{Outcome: SignedIn, Login: loginID, ReturnTo: w.ReturnTo, AMR: f.methods(p), Two: w.login.two, Proof: Proof{p.ID, f.Subject, f.SID, f.AuthTime, f.Hint}}
		r.User, err = s.enter(ctx, tx, p, f, k, a)
		return err
	})
	if err != nil {
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Conflict) { // these ask for another name
			go s.refusals(a.caller(of, "", ""), "user.create", err)
		}
		return Result{}, err
	}
	return r, nil
}

// Note remembers which login at a provider a session began with, in the transaction that begins it, so that it ends with
// what it came from.
func Note(ctx context.Context, tx db.WriteTx, sn session.Session, p Proof) error {
	var enabled bool
	err := tx.QueryRow(ctx, `SELECT p.enabled FROM login_providers p JOIN linked_identities k ON k.provider_id = p.id WHERE p.id = $1 AND k.subject = $2 AND k.user_id = $3`,
		p.Provider, p.Subject, sn.User.ID).Scan(&enabled)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return fmt.Errorf("read the provider of a session: %w", err)
	}
	if !enabled {
		return ErrNoProvider // it was shut off, or unlinked, between the two steps of the login
	}
	return put(ctx, tx, sn, p)
}

func put(ctx context.Context, tx db.WriteTx, sn session.Session, p Proof) error {
	if err := db.One(tx.Exec(ctx, `INSERT INTO upstream_sessions (session_id, provider_id, subject, sid, hint) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (session_id) DO UPDATE SET provider_id = excluded.provider_id, subject = excluded.subject, sid = excluded.sid, hint = excluded.hint`,
		sn.ID, p.Provider, p.Subject, p.SID, p.Hint)); err != nil {
		return fmt.Errorf("note the provider of a session: %w", err)
	}
	return nil
}

// Carried is what a session takes along that is to take the place of this one (session.Manager.Carry): the login at a
// provider that this one began with, so that it ends with what it came from as well. It is asked before this one ends. If
// the provider is shut off or unlinked meanwhile, no session begins.
func Carried(ctx context.Context, tx db.ReadTx, sessionID string) (session.Proved, error) {
	var p Proof
	var linked bool
	err := tx.QueryRow(ctx, `SELECT b.provider_id, b.subject, b.sid, b.hint, p.enabled AND k.id IS NOT NULL FROM upstream_sessions b JOIN login_providers p ON p.id = b.provider_id
		JOIN sessions s ON s.id = b.session_id LEFT JOIN linked_identities k ON k.provider_id = b.provider_id AND k.subject = b.subject AND k.user_id = s.user_id
		WHERE b.session_id = $1`, sessionID).Scan(&p.Provider, &p.Subject, &p.SID, &p.Hint, &linked)
	if errors.Is(err, db.ErrNoRows) {
		return session.Proved{}, nil
	}
	if err != nil {
		return session.Proved{}, fmt.Errorf("read the provider of a session: %w", err)
	}
	note := Note
	if !linked { // whoever unlinks an identity stays signed in where she does that
		note = put
	}
	return session.Proved{Note: func(ctx context.Context, tx db.WriteTx, sn session.Session) error { return note(ctx, tx, sn, p) }}, nil
}

// sessionsOf says which sessions that began with a provider to end.
type sessionsOf struct{ provider, subject, sid, except string }

// fewSessions is how many sessions end one by one. Of more, all end of the people whose they are; and if that are more
// people, because a provider is shut off, all of its realm.
const fewSessions = 500

func (s *Service) endSessions(ctx context.Context, tx db.WriteTx, c access.Caller, why string, of sessionsOf) (int, error) {
	ids, err := db.Texts(ctx, tx, `SELECT session_id FROM upstream_sessions WHERE provider_id = $1 AND ($2 = '' OR subject = $2) AND ($3 = '' OR sid = $3) AND session_id <> $4
		ORDER BY session_id LIMIT 501`, of.provider, of.subject, of.sid, of.except)
	if err != nil {
		return 0, fmt.Errorf("list the sessions of a provider: %w", err)
	}
	which := make([]session.Which, len(ids))
	for i, id := range ids {
		which[i] = session.Which{ID: id}
	}
	if len(ids) > fewSessions {
		if which, err = manySessions(ctx, tx, of); err != nil {
			return 0, err
		}
	}
	ended := 0
	for _, w := range which {
		n, err := s.o.Sessions.EndThese(ctx, tx, w, why)
		if err != nil {
			return 0, err
		}
		ended += n
		if n == 0 {
			continue
		}
		e := audit.Event{Action: "session.end", Outcome: audit.Success, Reason: why, Caller: c, TargetType: "session", TargetID: w.ID,
			Details: map[string]any{"provider": of.provider, "ended": n}}
		if w.UserID != "" {
			e.TargetType, e.TargetID = "user", w.UserID
		}
		if err := audit.Record(ctx, tx, e); err != nil {
			return 0, err
		}
	}
	return ended, nil
}

// manySessions are too many to end one by one. Whoever has them all himself must not end those of others by that.
func manySessions(ctx context.Context, tx db.ReadTx, of sessionsOf) (which []session.Which, err error) {
	users, err := db.Texts(ctx, tx, `SELECT DISTINCT s.user_id FROM upstream_sessions b JOIN sessions s ON s.id = b.session_id
		WHERE b.provider_id = $1 AND ($2 = '' OR b.subject = $2) AND ($3 = '' OR b.sid = $3) ORDER BY s.user_id LIMIT 501`, of.provider, of.subject, of.sid)
	if err != nil {
		return nil, fmt.Errorf("list whose sessions began with a provider: %w", err)
	}
	if len(users) > fewSessions {
		p, err := loadProvider(ctx, tx, of.provider)
		return []session.Which{{Realm: p.Realm}}, err
	}
	for _, id := range users {
		which = append(which, session.Which{UserID: id})
	}
	return which, nil
}

// Linkable tells whether this person may be linked by this login, so that nobody is shown a link that LinkPending refuses.
func (w Pending) Linkable(u identity.User, sessionID string) error {
	switch {
	case w.login.kind == kindLink && (w.login.userID != u.ID || w.login.sessionID != sessionID):
		return errProviderState
	case w.Realm != u.Realm:
		return fault.New(fault.Conflict, "provider_realm", "Your account is in another realm than the one that this is for. Sign in to the other one first.")
	}
	return nil
}

// Proved is what a session says of the login that it began with.
func Proved(p Proof) session.Proved {
	return session.Proved{At: p.AuthTime, Note: func(ctx context.Context, tx db.WriteTx, sn session.Session) error { return Note(ctx, tx, sn, p) }}
}
