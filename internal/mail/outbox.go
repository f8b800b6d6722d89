package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/seal"
)

// JobKind is the job that delivers one letter.
const JobKind = "mail.deliver"

// JobPolicy is how letters are delivered: a few at once, and patiently.
var JobPolicy = jobs.Policy{Concurrency: 4, Timeout: time.Minute, BackoffMin: 5 * time.Second, BackoffMax: 5 * time.Minute}

// keepSent is how long the mailbox shows a letter after its link is dead.
const keepSent = 24 * time.Hour

// Options configure an Outbox.
type Options struct {
	Sender  Sender                // nil without Mailbox: letters go nowhere, and the log says so
	Mailbox bool                  // letters are kept for the page that shows them, and not sent
	Domain  string                // of message ids
	Looks   *look.Set             // nil: letters look like the product's
	Logger  *slog.Logger          // nil: no log
	Metrics prometheus.Registerer // nil: not exported
}

// Outbox keeps letters until they are delivered.
type Outbox struct {
	d       *db.DB
	keyring *seal.Keyring
	o       Options
	ends    *prometheus.CounterVec
}

// NewOutbox makes an Outbox. Have Deliver do the jobs of kind JobKind.
func NewOutbox(d *db.DB, keyring *seal.Keyring, o Options) *Outbox {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Outbox{d: d, keyring: keyring, o: o, ends: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintmark_mails_total", Help: "Letters by what became of them: sent, failed (tried again), refused, expired, unsent (mail is off)."}, []string{"end"})}
	for _, end := range []string{"sent", "failed", "refused", "expired", "unsent"} {
		b.ends.WithLabelValues(end)
	}
	if o.Metrics != nil {
		o.Metrics.MustRegister(b.ends)
	}
	return b
}

// Works tells whether letters reach anybody.
func (b *Outbox) Works() bool { return b.o.Sender != nil || b.o.Mailbox }

// Mailbox tells whether the mailbox page stands in for delivery.
func (b *Outbox) Mailbox() bool { return b.o.Mailbox }

func boxAD(mailID string) seal.AD { return seal.AD{Table: "mails", Column: "box", Row: mailID} }

// Put has the letter sent once the transaction commits. Where mail is off it goes nowhere, which the log tells.
func (b *Outbox) Put(ctx context.Context, tx db.WriteTx, l Letter) error {
	if err := l.check(); err != nil {
		return err
	}
	if !b.Works() {
		tx.AfterCommit(func() { b.lost(ctx, "unsent", "", l.Kind, "mail is off in the configuration") })
		return nil
	}
	if l.Language == "" && l.Person != "" {
		var err error
		if l.Language, err = languageOf(ctx, tx, l.Person); err != nil {
			return err
		}
	}
	mailID := id.New(id.Mail, tx.Now())
	text, err := json.Marshal(l)
	if err != nil {
		return errors.New("write a letter") // the cause could quote it
	}
	box, err := b.keyring.Seal(seal.Data, boxAD(mailID), text)
	if err != nil {
		return fmt.Errorf("seal a letter: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO mails (id, kind, box, created, sent, expires) VALUES ($1, $2, $3, $4, 0, $5)`,
		mailID, l.Kind, box, db.Micros(tx.Now()), db.Micros(l.Expires))); err != nil {
		return fmt.Errorf("store a letter: %w", err)
	}
	return jobs.Schedule(ctx, tx, JobKind, mailID, tx.Now())
}

func (b *Outbox) lost(ctx context.Context, end, mailID, kind, why string) {
	b.ends.WithLabelValues(end).Inc()
	b.o.Logger.WarnContext(ctx, "a mail reaches nobody", "mail", mailID, "kind", kind, "why", why)
}

// Deliver is the handler of a letter's job.
func (b *Outbox) Deliver(ctx context.Context, j jobs.Job) (jobs.Result, error) {
	var l Letter
	var expired bool
	err := b.d.Read(ctx, func(tx db.ReadTx) (err error) {
		l, err = b.load(ctx, tx, j.Key)
		expired = err == nil && !tx.Now().Before(l.Expires)
		return err
	})
	if errors.Is(err, db.ErrNoRows) {
		return jobs.Result{}, nil
	}
	if err != nil {
		return jobs.Result{}, err
	}
	switch {
	case expired:
		return jobs.Result{}, b.drop(ctx, j, func() { b.lost(ctx, "expired", j.Key, l.Kind, "the mail server did not take it in time") })
	case b.o.Mailbox:
		return jobs.Result{}, b.keep(ctx, j)
	case b.o.Sender == nil: // it was configured when the letter was written
		return jobs.Result{}, b.drop(ctx, j, func() { b.lost(ctx, "unsent", j.Key, l.Kind, "mail is off in the configuration") })
	}
	m, err := l.Render(b.o.Looks)
	if err == nil {
		err = b.o.Sender.Send(ctx, j.Key+"@"+b.o.Domain, m)
	}
	switch {
	case err == nil:
		return jobs.Result{}, b.drop(ctx, j, func() { b.ends.WithLabelValues("sent").Inc() })
	case errors.Is(err, ErrRefused):
		return jobs.Result{}, b.drop(ctx, j, func() { b.lost(ctx, "refused", j.Key, l.Kind, err.Error()) })
	}
	b.ends.WithLabelValues("failed").Inc()
	return jobs.Result{}, err
}

// drop removes the letter, and tells so when it is gone.
func (b *Outbox) drop(ctx context.Context, j jobs.Job, told func()) error {
	return b.d.Write(ctx, func(tx db.WriteTx) error {
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		if err := db.One(tx.Exec(ctx, `DELETE FROM mails WHERE id = $1`, j.Key)); err != nil {
			return fmt.Errorf("remove a letter: %w", err)
		}
		tx.AfterCommit(told)
		return nil
	})
}

func (b *Outbox) keep(ctx context.Context, j jobs.Job) error {
	return b.d.Write(ctx, func(tx db.WriteTx) error {
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		if err := db.One(tx.Exec(ctx, `UPDATE mails SET sent = $2 WHERE id = $1`, j.Key, db.Micros(tx.Now()))); err != nil {
			return fmt.Errorf("keep a letter: %w", err)
		}
		tx.AfterCommit(func() { b.ends.WithLabelValues("sent").Inc() })
		return nil
	})
}

func (b *Outbox) load(ctx context.Context, tx db.ReadTx, mailID string) (l Letter, err error) {
	var box []byte
	if err := tx.QueryRow(ctx, `SELECT box FROM mails WHERE id = $1`, mailID).Scan(&box); err != nil {
		return l, fmt.Errorf("read a letter: %w", err)
	}
	return b.open(mailID, box)
}

func (b *Outbox) open(mailID string, box []byte) (l Letter, err error) {
	text, err := b.keyring.Open(seal.Data, boxAD(mailID), box)
	if err != nil {
		return l, fmt.Errorf("open a letter: %w", err)
	}
	if err := json.Unmarshal(text.Bytes(), &l); err != nil {
		return l, errors.New("read a letter: it is no letter")
	}
	return l, nil
}

// languageOf is the language to write to a person in, or "".
func languageOf(ctx context.Context, tx db.ReadTx, userID string) (language string, err error) {
	err = tx.QueryRow(ctx, `SELECT language FROM mail_languages WHERE user_id = $1`, userID).Scan(&language)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return "", fmt.Errorf("read a person's language: %w", err)
	}
	return language, nil
}

// NoteLanguage keeps in which language to write to a person. One that letters are not written in is not kept.
func (b *Outbox) NoteLanguage(ctx context.Context, tx db.WriteTx, userID, language string) error {
	if !slices.Contains(Languages(), language) {
		return nil
	}
	if kept, err := languageOf(ctx, tx, userID); err != nil || kept == language {
		return err
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO mail_languages (user_id, language) VALUES ($1, $2) ON CONFLICT (user_id) DO UPDATE SET language = excluded.language`, userID, language)); err != nil {
		return fmt.Errorf("keep a person's language: %w", err)
	}
	return nil
}

// ForgetPerson removes what is kept of a person who is removed.
func (b *Outbox) ForgetPerson(ctx context.Context, tx db.WriteTx, userID string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM mail_languages WHERE user_id = $1`, userID); err != nil {
		return fmt.Errorf("forget a person's language: %w", err)
	}
	return nil
}

// Kept is a letter that the mailbox shows.
type Kept struct {
	ID   string
	Sent time.Time
	Letter
	Message Message
}

// Read is one letter that the mailbox took, whose links lead out of the frame that shows it. It answers false if there is
// none, or unless the mailbox stands in for delivery.
func (b *Outbox) Read(ctx context.Context, tx db.ReadTx, mailID string) (Message, bool, error) {
	if !b.o.Mailbox {
		return Message{}, false, nil
	}
	var sent int64
	err := tx.QueryRow(ctx, `SELECT sent FROM mails WHERE id = $1`, mailID).Scan(&sent)
	if errors.Is(err, db.ErrNoRows) || err == nil && sent == 0 {
		return Message{}, false, nil
	}
	if err != nil {
		return Message{}, false, fmt.Errorf("read a letter: %w", err)
	}
	l, err := b.load(ctx, tx, mailID)
	if err != nil {
		return Message{}, false, err
	}
	m, err := l.render(b.o.Looks, true)
	return m, err == nil, err
}

const maxKept = 50

// List reads the newest letters that the mailbox took. It answers none unless the mailbox stands in for delivery.
func (b *Outbox) List(ctx context.Context, tx db.ReadTx) ([]Kept, error) {
	if !b.o.Mailbox {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT id, box, sent FROM mails WHERE sent > 0 ORDER BY sent DESC, id DESC LIMIT $1`, maxKept)
	if err != nil {
		return nil, fmt.Errorf("list letters: %w", err)
	}
	defer rows.Close()
	var list []Kept
	for rows.Next() {
		var k Kept
		var box []byte
		var sent int64
		if err := rows.Scan(&k.ID, &box, &sent); err != nil {
			return nil, fmt.Errorf("read a letter: %w", err)
		}
		if k.Letter, err = b.open(k.ID, box); err != nil {
			return nil, err
		}
		if k.Message, err = k.Letter.Render(b.o.Looks); err != nil {
			return nil, err
		}
		k.Sent = db.Time(sent)
		list = append(list, k)
	}
	return list, rows.Err()
}

// Sweep removes letters that nobody needs any more.
func (b *Outbox) Sweep(ctx context.Context) error {
	_, err := b.d.RemoveExpired(ctx, db.Expiry{Table: "mails", Key: "id", Column: "expires", Keep: keepSent})
	return err
}
