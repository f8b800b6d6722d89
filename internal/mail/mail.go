// Package mail sends letters to people.
//
// What it guards:
//   - A letter is a row, written in the transaction of what it tells of (Outbox.Put): it is neither lost nor sent for a
//     change that was rolled back, and no request waits for a mail server. A job delivers it, again after a pause that
//     grows, until it expires.
//   - Letters hold links that open accounts, so the row is sealed, and neither address nor text nor link stands in a log
//     or an error.
//   - An address, a subject or a name cannot bring a line of its own into a letter's head (CWE-93): what holds a control
//     character is refused before it is stored.
//   - A letter loads nothing: no picture and no stylesheet from anywhere, so that opening it tells nobody.
//   - The password of the mail server goes over TLS alone, unless the server is this machine.
//
// A crash between sending and noting it sends a letter twice, with the same Message-ID. Stored form: formats.md.
package mail

import (
	"context"
	"errors"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
)

// Letter is one mail. It is what the sealed row holds. Its texts are in English, with their gaps filled by Fill; they are
// put into the reader's language and the realm's look when the letter is delivered (Render).
type Letter struct {
	Realm    string    `json:"realm,omitempty"`    // whose look it has
	Person   string    `json:"person,omitempty"`   // id of whom it is for; "": nobody who has an account
	Language string    `json:"language,omitempty"` // "": the person's (Outbox.Put), or the realm's
	Kind     string    `json:"kind"`               // what it is about, such as reset; for logs and tests
	To       string    `json:"to"`                 // a bare address
	Name     string    `json:"name"`               // whom it greets
	Subject  string    `json:"subject"`
	Lines    []string  `json:"lines"`           // paragraphs
	Label    string    `json:"label,omitempty"` // of the link
	Link     string    `json:"link,omitempty"`
	After    []string  `json:"after,omitempty"` // paragraphs below the link
	Expires  time.Time `json:"expires"`         // when it is of no use any more
}

// Sender delivers letters. It may be called by many at once. An error with ErrRefused in its chain says that trying again
// is useless. Errors say nothing of the letter, because they are kept in clear.
type Sender interface {
	Send(ctx context.Context, messageID string, m Message) error
}

// ErrRefused says that the mail server will never take the letter.
var ErrRefused = errors.New("mail: the mail server refuses the letter")

const (
	maxAddress = 254
	maxSubject = 200
)

// check refuses what could be more than one letter to one address.
func (l Letter) check() error {
	bad := fault.New(fault.Invalid, "email", "The e-mail address is not valid.").At("email", "not valid")
	if len(l.To) > maxAddress || !plain(l.To) {
		return bad
	}
	if a, err := mail.ParseAddress(l.To); err != nil || a.Address != l.To || a.Name != "" {
		return bad
	}
	if subject := in("", l.Subject); subject == "" || len(subject) > maxSubject || !plain(subject) || !plain(l.Name) {
		return errors.New("mail: a subject and a name are one line of text")
	}
	return nil
}

// plain tells whether the text is one line that shows all that it holds.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) || r == utf8.RuneError })
}
