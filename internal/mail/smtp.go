package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	gomail "github.com/wneessen/go-mail"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/redact"
)

// SMTPOptions say where letters are handed over.
type SMTPOptions struct {
	Server   string // HOST:PORT
	From     string // a bare address
	FromName string
	Username string // "": no authentication
	Password redact.Secret
	Implicit bool          // TLS from the first byte (port 465); else STARTTLS, which must be offered unless the server is this machine
	TLS      *tls.Config   // nil: the system's roots, and the server's name
	Timeout  time.Duration // of one step; 0: 20 s
	Clock    clock.Clock   // nil: clock.System
}

// SMTP hands letters to a mail server (RFC 5321). Make it with NewSMTP.
type SMTP struct {
	o       SMTPOptions
	host    string
	options []gomail.Option
}

// NewSMTP makes a sender. It connects to nothing yet.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	host, port, err := net.SplitHostPort(o.Server)
	if err != nil {
		return nil, fmt.Errorf("%q is not HOST:PORT", o.Server)
	}
	number, err := strconv.Atoi(port)
	if err != nil || number < 1 || number > 65535 {
		return nil, fmt.Errorf("%q has no port", o.Server)
	}
	if (Letter{To: o.From, Subject: "x", Name: o.FromName}).check() != nil {
		return nil, errors.New("the sender's address is not one address, or its name is not one line")
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	policy := gomail.TLSMandatory
	if loopback(host) {
		policy = gomail.TLSOpportunistic
	}
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		conf = o.TLS.Clone()
		conf.ServerName = host
	}
	s := &SMTP{o: o, host: host, options: []gomail.Option{gomail.WithPort(number), gomail.WithTLSPolicy(policy), gomail.WithTLSConfig(conf), gomail.WithTimeout(o.Timeout)}}
	if o.Implicit {
		s.options = append(s.options, gomail.WithSSL())
	}
	if o.Username != "" {
		s.options = append(s.options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(o.Username), gomail.WithPassword(o.Password.Reveal()))
	}
	return s, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Send hands one letter over. What the server says in words is left out of the error: it may quote the address.
func (s *SMTP) Send(ctx context.Context, messageID string, l Message) error {
	m := gomail.NewMsg()
	if err := errors.Join(m.FromFormat(cmp.Or(l.FromName, s.o.FromName), s.o.From), m.To(l.To)); err != nil {
		return fmt.Errorf("%w: an address is not valid", ErrRefused)
	}
	m.Subject(l.Subject)
	m.SetDateWithValue(s.o.Clock.Now())
	m.SetMessageIDWithValue(messageID)
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no answers of absent people
	m.SetGenHeader("Content-Language", l.Language)
	m.SetBodyString(gomail.TypeTextPlain, l.Text)
	m.AddAlternativeString(gomail.TypeTextHTML, l.HTML)
	c, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return errors.New("the settings for the mail server do not work")
	}
	err = c.DialAndSendWithContext(ctx, m)
	if m.IsDelivered() {
		return nil // whatever went wrong afterwards: it must not be sent again
	}
	return told(err)
}

// told says of a failure what holds nothing of the letter.
func told(err error) error {
	if err == nil {
		return nil
	}
	var failed *gomail.SendError
	if !errors.As(err, &failed) {
		return errors.New("the mail server cannot be reached, or not as it is configured")
	}
	if !failed.IsTemp() && failed.ErrorCode() >= 500 && failed.ErrorCode() < 600 {
		return fmt.Errorf("%w: status %d", ErrRefused, failed.ErrorCode())
	}
	return fmt.Errorf("the mail server did not take the letter: status %d", failed.ErrorCode())
}
