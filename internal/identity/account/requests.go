package account

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// JobKind is the job that looks up what strangers asked for.
const JobKind = "account.answer"

// JobPolicy is how that is done.
var JobPolicy = jobs.Policy{Concurrency: 4, Timeout: 30 * time.Second, BackoffMin: time.Second, BackoffMax: time.Minute}

// Asker is who asks, for limits and the audit log.
type Asker struct {
	IP, RequestID, Agent, Language string
	Device                         redact.Secret // what the browser keeps to be known again; empty: nothing
}

// request is what somebody typed, as its row holds it sealed.
type request struct {
	Purpose   Purpose `json:"purpose"`
	Realm     string  `json:"realm"`
	Name      string  `json:"name"` // username or address
	ReturnTo  string  `json:"return_to,omitempty"`
	IP        string  `json:"ip"`
	Agent     string  `json:"agent,omitempty"`
	RequestID string  `json:"request_id"`
	Language  string  `json:"language,omitempty"` // of the page that asked
	Device    string  `json:"device,omitempty"`   // what the browser is known by, if it is
}

const maxTyped = 400

// AskReset asks for a link to choose a new password with. Nobody is told whether somebody has the name.
func (s *Service) AskReset(ctx context.Context, who Asker, realmName, name string) error {
	if name = strings.TrimSpace(name); name == "" || len(name) > maxTyped || !oneLine(name) {
		return fault.New(fault.Invalid, "username", "Give the username or the e-mail address of your account, in one line.").At("username", "not valid")
	}
	r, err := s.dir.Realms().Lookup(realmName)
	if err != nil || r.Kind != realm.People {
		return fault.New(fault.Invalid, "realm", "There is no such realm of people.").At("realm", "not known")
	}
	return s.ask(ctx, who, request{Purpose: Reset, Realm: r.Name, Name: name})
}

// AskRegistration asks for a link to register with. Nobody is told whether somebody has the address.
func (s *Service) AskRegistration(ctx context.Context, who Asker, realmName, email, returnTo string) error {
	email = strings.TrimSpace(email)
	key, err := identity.ParseEmail(email)
	if err != nil {
		return err
	}
	r, err := s.dir.Realms().Lookup(realmName)
	if err != nil || r.Kind != realm.People || !s.Registers(r.Name) {
		return fault.New(fault.Forbidden, "registration_closed", "Nobody can register here. Ask whoever runs the service for an invitation.")
	}
	if !s.o.Policies[r.Name].allows(key) {
		return fault.New(fault.Forbidden, "registration_domain", "Only people with an e-mail address of certain domains can register here.")
	}
	return s.ask(ctx, who, request{Purpose: Register, Realm: r.Name, Name: email, ReturnTo: returnTo})
}

func oneLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' })
}

func requestAD(askID string) seal.AD {
	return seal.AD{Table: "account_requests", Column: "box", Row: askID}
}

// ask writes down what was asked for. It does the same work whoever is meant.
func (s *Service) ask(ctx context.Context, who Asker, q request) error {
	if err := s.limit(who.IP); err != nil {
		return err
	}
	q.IP, q.RequestID, q.Agent, q.Language, q.Device = who.IP, who.RequestID, who.Agent, who.Language, who.Device.Reveal()
	text, err := json.Marshal(q)
	if err != nil {
		return errors.New("write a request") // the cause could quote it
	}
	return s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := s.dir.CountAddress(ctx, tx, "links", who.IP, asksPerAddress, tooManyAsks); err != nil {
			return err
		}
		askID := id.New(id.Ask, tx.Now())
		box, err := s.keyring.Seal(seal.Data, requestAD(askID), text)
		if err != nil {
			return fmt.Errorf("seal a request: %w", err)
		}
		if err := db.One(tx.Exec(ctx, `INSERT INTO account_requests (id, box, created) VALUES ($1, $2, $3)`, askID, box, db.Micros(tx.Now()))); err != nil {
			return fmt.Errorf("store a request: %w", err)
		}
		return jobs.Schedule(ctx, tx, JobKind, askID, tx.Now())
	})
}

// Handle answers what was asked for: with a letter, or with none. The request goes in the same transaction.
func (s *Service) Handle(ctx context.Context, j jobs.Job) (jobs.Result, error) {
	return jobs.Result{}, s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		var box []byte
		err := tx.QueryRow(ctx, `SELECT box FROM account_requests WHERE id = $1`, j.Key).Scan(&box)
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		text, err := s.keyring.Open(seal.Data, requestAD(j.Key), box)
		if err != nil {
			return fmt.Errorf("open a request: %w", err)
		}
		var q request
		if err := json.Unmarshal(text.Bytes(), &q); err != nil {
			return errors.New("read a request: it is none")
		}
		if err := s.answer(ctx, tx, q); err != nil {
			return err
		}
		if err := failpoint.Hit("account.answered"); err != nil {
			return err
		}
		if err := db.One(tx.Exec(ctx, `DELETE FROM account_requests WHERE id = $1`, j.Key)); err != nil {
			return fmt.Errorf("remove a request: %w", err)
		}
		return nil
	})
}

func (s *Service) answer(ctx context.Context, tx db.WriteTx, q request) error {
	p, ok, err := s.dir.FindPerson(ctx, tx, q.Realm, q.Name)
	if err != nil {
		return err
	}
	if q.Purpose == Register {
		return s.answerRegistration(ctx, tx, q, p, ok)
	}
	if !ok || p.Email == "" || !p.Disabled.IsZero() {
		return nil
	}
	from := s.stranger(q.IP, p.Email)
	if _, known, err := s.dir.KnownDevice(ctx, tx, p.ID, redact.New(q.Device)); err != nil {
		return err
	} else if known {
		from = themselves
	}
	if policy, elsewhere := s.dir.PasswordElsewhere(p); elsewhere {
		return s.answerElsewhere(ctx, tx, from, p, policy, q.Language)
	}
	address, expires, made, err := s.make(ctx, tx, from, Reset, p.ID, proof(p), p.Email, nil)
	if err != nil || !made {
		return err
	}
	if err := audit.Done(ctx, tx, access.Caller{IP: q.IP, RequestID: q.RequestID, Agent: q.Agent, Realm: q.Realm}, "user.ask_reset", "user", p.ID, map[string]any{"realm": p.Realm}); err != nil {
		return err
	}
	return s.outbox.Put(ctx, tx, mail.Letter{
		Realm: p.Realm, Person: p.ID, Language: q.Language,
		Kind: string(Reset), To: p.Email, Name: p.DisplayName, Subject: "Choose a new password", Expires: expires,
		Lines: []string{mail.Fill("Somebody, probably you, asked for a new password for the account {0} ({1}).", p.Username, p.Realm), "The link works once, for 30 minutes."},
		Label: "Choose a new password", Link: address,
		After: []string{"If it was not you, do nothing: your password stays as it is."},
	})
}

// answerElsewhere tells somebody whose password a directory keeps where it is changed. It holds no link of ours, and goes
// as often as one that does.
func (s *Service) answerElsewhere(ctx context.Context, tx db.WriteTx, from sender, p identity.Person, policy identity.SourcePolicy, language string) error {
	_, expires, made, err := s.make(ctx, tx, from, Reset, p.ID, proof(p), p.Email, nil)
	if err != nil || !made {
		return err
	}
	l := mail.Letter{
		Realm: p.Realm, Person: p.ID, Language: language,
		Kind: "password-elsewhere", To: p.Email, Name: p.DisplayName, Subject: "Your password is kept elsewhere", Expires: expires,
		Lines: []string{mail.Fill("Somebody, probably you, asked for a new password for the account {0} ({1}).", p.Username, p.Realm),
			"This password is the one of your organisation, and cannot be changed here. Change it where you change that, or ask whoever runs your computers."},
		After: []string{"If it was not you, do nothing: your password stays as it is."},
	}
	if policy.PasswordPage != "" {
		l.Label, l.Link = "Change it there", policy.PasswordPage
	}
	return s.outbox.Put(ctx, tx, l)
}

// answerRegistration sends a link to register, or, if somebody has the address, a letter that says so.
func (s *Service) answerRegistration(ctx context.Context, tx db.WriteTx, q request, p identity.Person, known bool) error {
	key := identity.EmailKey(q.Name)
	if key == "" || !s.o.Policies[q.Realm].allows(key) {
		return nil
	}
	account := hex.EncodeToString(s.keyring.MAC("account-address", redact.New(q.Realm+"/"+key)))
	address, expires, made, err := s.make(ctx, tx, s.stranger(q.IP, q.Name), Register, account, "", q.Name, &beginner{q.Realm, q.Name, q.ReturnTo})
	if err != nil || !made {
		return err
	}
	if known {
		if !p.Disabled.IsZero() || identity.EmailKey(p.Email) != key {
			return nil
		}
		// The link that was made only counts; nobody gets it.
		return s.outbox.Put(ctx, tx, mail.Letter{
			Realm: p.Realm, Person: p.ID, Language: q.Language,
			Kind: "registered", To: p.Email, Name: p.DisplayName, Subject: "You have an account already", Expires: expires,
			Lines: []string{"Somebody, probably you, wanted to register with this address, for which there is an account already."},
			Label: "Sign in", Link: s.o.Issuer + "/login",
			After: []string{"If you have forgotten your password, the page to sign in leads to a new one. If it was not you, do nothing."},
		})
	}
	return s.outbox.Put(ctx, tx, mail.Letter{
		Realm: q.Realm, Language: q.Language,
		Kind: string(Register), To: q.Name, Subject: "Create your account", Expires: expires,
		Lines: []string{"Somebody, probably you, wanted to register with this address.", "The link works once, for 24 hours."},
		Label: "Create your account", Link: address,
		After: []string{"If it was not you, do nothing: there will be no account."},
	})
}
