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
//   - The password of the mail server goes over TLS alone, unless the server is this machine.
//
// A crash between sending and noting it sends a letter twice, with the same Message-ID. Stored form: formats.md.
package mail

import (
	"bytes"
	"context"
	"errors"
	"html/template"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mintmark/mintmark/internal/fault"
)

// Letter is one mail. It is what the sealed row holds.
type Letter struct {
	Kind    string    `json:"kind"` // what it is about, such as reset; for logs and tests
	To      string    `json:"to"`   // a bare address
	Name    string    `json:"name"` // whom it greets
	Subject string    `json:"subject"`
	Lines   []string  `json:"lines"`           // paragraphs
	Label   string    `json:"label,omitempty"` // of the link
	Link    string    `json:"link,omitempty"`
	After   []string  `json:"after,omitempty"` // paragraphs below the link
	Expires time.Time `json:"expires"`         // when it is of no use any more
}

// Sender delivers letters. It may be called by many at once. An error with ErrRefused in its chain says that trying again
// is useless. Errors say nothing of the letter, because they are kept in clear.
type Sender interface {
	Send(ctx context.Context, messageID string, l Letter) error
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
	if l.Subject == "" || len(l.Subject) > maxSubject || !plain(l.Subject) || !plain(l.Name) {
		return errors.New("mail: a subject and a name are one line of text")
	}
	return nil
}

// plain tells whether the text is one line that shows all that it holds.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) || r == utf8.RuneError })
}

// Greeting is how it begins.
func (l Letter) Greeting() string {
	if l.Name == "" {
		return "Hello,"
	}
	return "Hello " + l.Name + ","
}

// Text is the letter for readers that show no HTML.
func (l Letter) Text() string {
	parts := append([]string{l.Greeting()}, l.Lines...)
	if l.Link != "" {
		parts = append(parts, l.Label+":\n"+l.Link)
	}
	parts = append(parts, l.After...)
	return strings.Join(parts, "\n\n") + "\n"
}

// The look is that of the pages (internal/web/static/style.css). Programs for mail read no stylesheets, so it stands at
// each element.
var page = template.Must(template.New("letter").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark"><title>{{.Subject}}</title></head>
<body style="margin:0;padding:24px 12px;background:#fbfaf7;color:#1c1d21;font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif">
<div style="max-width:34rem;margin:0 auto;padding:28px;background:#ffffff;border:1px solid #dcd9d0;border-radius:12px">
<p style="margin:0 0 20px;font-weight:650;color:#9a4a1c">mintmark</p>
<h1 style="font-size:22px;line-height:1.2;margin:0 0 16px">{{.Subject}}</h1>
<p>Hello{{with .Name}} <bdi>{{.}}</bdi>{{end}},</p>
{{range .Lines}}<p>{{.}}</p>
{{end}}{{if .Link}}<p style="margin:24px 0"><a href="{{.Link}}" style="display:inline-block;padding:11px 22px;background:#9a4a1c;color:#ffffff;text-decoration:none;font-weight:600;border-radius:8px">{{.Label}}</a></p>
<p style="color:#5b5e66;font-size:14px;overflow-wrap:anywhere">Or copy this address into your browser: {{.Link}}</p>
{{end}}{{range .After}}<p style="color:#5b5e66">{{.}}</p>
{{end}}</div></body></html>
`))

// HTML is the letter in the look of the pages.
func (l Letter) HTML() (string, error) {
	var b bytes.Buffer
	if err := page.Execute(&b, l); err != nil {
		return "", errors.New("make the letter's HTML") // the cause could quote the letter
	}
	return b.String(), nil
}
