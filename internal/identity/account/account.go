// Package account is the life of a person's account that she leads by herself, by links that are sent to her: registering,
// accepting an invitation, verifying an address, choosing a new password. It also tells her by mail what somebody changed.
//
// What it guards:
//   - A link holds 256 random bits, of which the MAC alone is stored, under a kind that names its purpose: a link of one
//     purpose is none of another. It is good once, by compare-and-set, for a time that its purpose says, and only as long
//     as password, address and standing of the account are what they were when it was made.
//   - Nobody learns whether somebody has an address. What strangers ask for is stored as they wrote it and answered at
//     once, always the same; a job looks it up afterwards (requests.go). Few links are made for one account in an hour,
//     and the answer does not tell when there were too many.
//   - An account that somebody registers begins when its link is opened, and with the password that is chosen there: so
//     nobody prepares an account under the address of another.
//   - Links begin with the configured issuer, whatever a request says of its host.
//
// Stored form: account_links and account_requests, see their migration.
package account

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// Registration says who may register in a realm.
type Registration string

// The kinds of registration.
const (
	Closed  Registration = ""        // nobody: an administrator makes accounts known
	Open    Registration = "open"    // whoever receives mail
	Domains Registration = "domains" // whoever receives mail at one of the domains
)

// Policy is what a realm wants of its accounts. The zero value makes nobody known and lets everybody in.
type Policy struct {
	Registration Registration
	Domains      []string // in lower case
	VerifyEmail  bool     // nobody signs in whose address is not verified
	Fixed        []Field  // what people may not change of themselves
}

// Field is something that is known of a person, and that the person may change unless its realm fixes it.
type Field string

// The fields.
const (
	Name    Field = "name"
	Email   Field = "email"
	Phone   Field = "phone"
	Address Field = "address"
)

// Fields are all of them, in the order in which people think of them.
func Fields() []Field { return []Field{Name, Email, Phone, Address} }

// allows tells whether somebody with this address (in its compared form) may register.
func (p Policy) allows(emailKey string) bool {
	_, domain, _ := strings.Cut(emailKey, "@")
	return p.Registration == Open || p.Registration == Domains && slices.Contains(p.Domains, domain)
}

// takes tells whether somebody of the realm may have this address, however the account came about.
func (p Policy) takes(emailKey string) bool { return p.Registration != Domains || p.allows(emailKey) }

// Options configure a Service.
type Options struct {
	Issuer   string            // where links lead
	Policies map[string]Policy // by realm, in canonical form
	Logger   *slog.Logger      // nil: no log
	// Attributes keeps what realms ask newcomers for. nil: nothing.
	Attributes *attributes.Service
}

// Service leads accounts.
type Service struct {
	d       *db.DB
	keyring *seal.Keyring
	dir     *identity.Directory
	outbox  *mail.Outbox
	o       Options
	limit   func(ip string) error
}

// asksPerAddress is how often one address may ask for a link within ten minutes, for whatever accounts.
const asksPerAddress = 20

const tooManyAsks = "Your address asked for very many links. Please wait before you try again."

// New makes a Service, which tells people from then on what changes of their accounts. Have Handle do the jobs of kind
// JobKind.
func New(d *db.DB, keyring *seal.Keyring, dir *identity.Directory, outbox *mail.Outbox, o Options) *Service {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Issuer = strings.TrimSuffix(o.Issuer, "/")
	s := &Service{d: d, keyring: keyring, dir: dir, outbox: outbox, o: o}
	s.limit = dir.LimitAddresses(asksPerAddress, tooManyAsks)
	dir.OnPasswordChanged(s.passwordChanged)
	dir.OnNewDevice(s.newDevice)
	dir.OnEmailChanged(s.emailChanged)
	dir.OnPersonRemoved(func(ctx context.Context, tx db.WriteTx, u identity.User) error {
		return outbox.ForgetPerson(ctx, tx, u.ID)
	})
	return s
}

// Policy is that of a realm, in canonical form.
func (s *Service) Policy(realm string) Policy { return s.o.Policies[realm] }

// Registers tells whether somebody may register in the realm: where no mail is sent, nobody can.
func (s *Service) Registers(realm string) bool {
	return s.outbox.Works() && s.o.Policies[realm].Registration != Closed
}

// Resets tells whether people can ask for a new password by themselves.
func (s *Service) Resets() bool { return s.outbox.Works() }

// Purpose is what a link is for.
type Purpose string

// The purposes.
const (
	Register Purpose = "register"
	Verify   Purpose = "verify"
	Reset    Purpose = "reset"
	Invite   Purpose = "invite"
	NewEmail Purpose = "email"
)

// terms are how long links of a purpose are good, and where they lead.
var terms = map[Purpose]struct {
	life time.Duration
	path string
}{
	Register: {24 * time.Hour, "/register"},
	Verify:   {24 * time.Hour, "/verify"},
	Reset:    {30 * time.Minute, "/reset"},
	Invite:   {7 * 24 * time.Hour, "/invitation"},
	NewEmail: {24 * time.Hour, "/account/email"},
}

// How many links are sent within an hour. Letters that strangers ask for and those that the person asks for herself are
// counted apart (sender), so that nobody uses up somebody else's: a mailbox gets linksPerAddress of each kind, whatever for
// and of whatever realm, and linksPerHour of the former from one network, of the latter for one purpose and account.
const (
	linksPerHour    = 3
	linksPerAddress = 6
)

// sender is who has a link sent.
type sender struct {
	own     bool   // the mailbox is that of who asks, as far as a known browser or a password shows it, or an administrator asks
	network string // of a stranger
}

// themselves has a link sent to its own person.
var themselves = sender{own: true}

// stranger is somebody who has shown nothing. The network is named together with the mailbox: no row tells which letters
// one network asked for.
func (s *Service) stranger(ip, to string) sender {
	return sender{network: s.dir.NetworkKey("letters "+identity.EmailKey(to), ip)}
}

const (
	linkPrefix = "mmw_"
	linkDigits = 43
	keepLinks  = 24 * time.Hour // longer than they are counted
)

// ErrLink is in the chain of the answer to a link that opens nothing.
var ErrLink error = fault.New(fault.Invalid, "link_not_valid", "This link is not valid any more: it was used, it is too old, or the account has changed since. Please ask for a new one.")

func macKind(p Purpose) string { return "account-link/" + string(p) }

func linkAD(mac []byte) seal.AD {
	return seal.AD{Table: "account_links", Column: "box", Row: hex.EncodeToString(mac)}
}

// beginner is what a link to register keeps, as there is no account yet that it could belong to; and a link to another
// address, of which nothing but that address counts.
type beginner struct {
	Realm    string `json:"realm"`
	Email    string `json:"email"`
	ReturnTo string `json:"return_to,omitempty"`
}

// link is a stored link.
type link struct {
	mac            []byte
	purpose        Purpose
	account, proof string
	box            []byte
	mailed         bool
	expires        time.Time
}

// proof is what kills a link when it changes.
func proof(p identity.Person) string {
	return fmt.Sprintf("%d %d %s", p.Proved().Proof, db.Micros(p.EnabledSince), identity.EmailKey(p.Email))
}

// verifyProof is proof for links that give nothing but what they were sent to: a new password does not matter.
func verifyProof(p identity.Person) string {
	return fmt.Sprintf("%d %s", db.Micros(p.EnabledSince), identity.EmailKey(p.Email))
}

func proofFor(purpose Purpose, p identity.Person) string {
	if purpose == Verify {
		return verifyProof(p)
	}
	return proof(p)
}

// addressMAC is how an address is named where links are counted.
func (s *Service) addressMAC(email string) string {
	if email == "" {
		return ""
	}
	return hex.EncodeToString(s.keyring.MAC("account-letters", redact.New(identity.EmailKey(email))))
}

// tooMany tells whether so many links were sent within the hour that there are to be no more.
func (s *Service) tooMany(ctx context.Context, tx db.ReadTx, purpose Purpose, account, mac string, from sender) (bool, error) {
	since := db.Micros(tx.Now().Add(-time.Hour))
	reached := func(limit int, condition string, args ...any) (bool, error) {
		var recent int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM account_links WHERE `+condition, args...).Scan(&recent); err != nil {
			return false, fmt.Errorf("count letters: %w", err)
		}
		return recent >= limit, nil
	}
	if many, err := reached(linksPerAddress, `address <> '' AND address = $1 AND own = $2 AND created > $3`, mac, from.own, since); err != nil || many {
		return many, err
	}
	if !from.own {
		if many, err := reached(linksPerHour, `address <> '' AND address = $1 AND own = $2 AND network = $3 AND created > $4`, mac, false, from.network, since); err != nil || many {
			return many, err
		}
	}
	if !from.own && purpose != NewEmail { // of that the account is not the stranger's choice
		return false, nil
	}
	return reached(linksPerHour, `account = $1 AND purpose = $2 AND own = $3 AND created > $4`, account, string(purpose), from.own, since)
}

// make makes a link that is sent to an address, or handed over if that is empty, and answers its own address. It answers
// false if there were too many.
func (s *Service) make(ctx context.Context, tx db.WriteTx, from sender, purpose Purpose, account, proof, to string, b *beginner) (address string, expires time.Time, ok bool, err error) {
	mailed, toMAC := to != "", s.addressMAC(to)
	if mailed { // who gets it in hand is an administrator
		if many, err := s.tooMany(ctx, tx, purpose, account, toMAC, from); err != nil || many {
			return "", expires, false, err
		}
	}
	value := seal.NewSecret(linkPrefix)
	mac := s.keyring.MAC(macKind(purpose), value)
	box := []byte{}
	if b != nil {
		text, err := json.Marshal(b)
		if err != nil {
			return "", expires, false, errors.New("write what a link keeps") // the cause could quote it
		}
		if box, err = s.keyring.Seal(seal.Data, linkAD(mac), text); err != nil {
			return "", expires, false, fmt.Errorf("seal what a link keeps: %w", err)
		}
	}
	expires = tx.Now().Add(terms[purpose].life)
	if err := db.One(tx.Exec(ctx, `INSERT INTO account_links (mac, purpose, account, proof, box, mailed, created, expires, used, address, own, network) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10, $11)`,
		mac, string(purpose), account, proof, box, mailed, db.Micros(tx.Now()), db.Micros(expires), toMAC, from.own, from.network)); err != nil {
		return "", expires, false, fmt.Errorf("store a link: %w", err)
	}
	return s.o.Issuer + terms[purpose].path + "?token=" + url.QueryEscape(value.Reveal()), expires, true, nil
}

// find reads a link that is good still, but for what it is bound to.
func (s *Service) find(ctx context.Context, tx db.ReadTx, purpose Purpose, value redact.Secret) (link, error) {
	if rest, ok := strings.CutPrefix(value.Reveal(), linkPrefix); !ok || len(rest) != linkDigits {
		return link{}, ErrLink
	}
	for _, mac := range s.keyring.LookupMACs(macKind(purpose), value) {
		l := link{mac: mac, purpose: purpose}
		var expires, used int64
		err := tx.QueryRow(ctx, `SELECT account, proof, box, mailed, expires, used FROM account_links WHERE mac = $1 AND purpose = $2`, mac, string(purpose)).
			Scan(&l.account, &l.proof, &l.box, &l.mailed, &expires, &used)
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return link{}, fmt.Errorf("read a link: %w", err)
		}
		if l.expires = db.Time(expires); used != 0 || !tx.Now().Before(l.expires) {
			return link{}, ErrLink
		}
		return l, nil
	}
	return link{}, ErrLink
}

// Opened is what a link leads to.
type Opened struct {
	Person   identity.Person // zero for Register
	Realm    string
	Email    string
	ReturnTo string
	link     link
}

// Open reads what a link of this purpose leads to. It is used by nothing but what ends with it: looking is no use.
func (s *Service) Open(ctx context.Context, tx db.ReadTx, purpose Purpose, value redact.Secret) (Opened, error) {
	l, err := s.find(ctx, tx, purpose, value)
	if err != nil {
		return Opened{}, err
	}
	if purpose == Register {
		b, err := s.kept(l)
		if err != nil {
			return Opened{}, err
		}
		key, err := identity.ParseEmail(b.Email)
		if err != nil || !s.o.Policies[b.Realm].allows(key) {
			return Opened{}, ErrLink // the realm was closed since
		}
		return Opened{Realm: b.Realm, Email: b.Email, ReturnTo: b.ReturnTo, link: l}, nil
	}
	p, err := identity.LoadPerson(ctx, tx, l.account)
	if fault.Is(err, fault.NotFound) {
		return Opened{}, ErrLink
	}
	if err != nil {
		return Opened{}, err
	}
	if !p.Disabled.IsZero() || l.proof != proofFor(purpose, p) {
		return Opened{}, ErrLink
	}
	o := Opened{Person: p, Realm: p.Realm, Email: p.Email, link: l}
	if purpose == NewEmail {
		b, err := s.kept(l)
		if err != nil {
			return Opened{}, err
		}
		if o.Email = b.Email; !s.free(p.Realm, Email) || !s.o.Policies[p.Realm].takes(identity.EmailKey(b.Email)) {
			return Opened{}, ErrLink // the realm fixed it since, or takes other domains
		}
	}
	return o, nil
}

// kept is what a link keeps.
func (s *Service) kept(l link) (b beginner, err error) {
	text, err := s.keyring.Open(seal.Data, linkAD(l.mac), l.box)
	if err != nil {
		return b, fmt.Errorf("open what a link keeps: %w", err)
	}
	if err := json.Unmarshal(text.Bytes(), &b); err != nil {
		return b, errors.New("read what a link keeps")
	}
	return b, nil
}

// use takes the one use of a link.
func (s *Service) use(ctx context.Context, tx db.WriteTx, l link) error {
	n, err := tx.Exec(ctx, `UPDATE account_links SET used = $2 WHERE mac = $1 AND used = 0 AND expires > $2`, l.mac, db.Micros(tx.Now()))
	if err != nil {
		return fmt.Errorf("use a link: %w", err)
	}
	if n != 1 {
		return ErrLink
	}
	return nil
}

// Sweep removes links and requests that nobody needs any more.
func (s *Service) Sweep(ctx context.Context) error {
	_, err := s.d.RemoveExpired(ctx,
		db.Expiry{Table: "account_links", Key: "mac", Column: "expires", Keep: keepLinks},
		db.Expiry{Table: "account_requests", Key: "id", Column: "created", Keep: keepLinks})
	return err
}
