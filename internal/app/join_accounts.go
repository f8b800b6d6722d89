package app

import (
	"context"
	"fmt"
	"net/url"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/mail"
)

// makeAccounts makes what people lead their accounts with.
func (a *App) makeAccounts() error {
	sender, err := a.mailSender()
	if err != nil {
		return fmt.Errorf("%w: mail: %w", ErrConfig, err)
	}
	issuer, err := url.Parse(a.config.Issuer)
	if err != nil {
		return fmt.Errorf("%w: issuer: %w", ErrConfig, err)
	}
	a.outbox = mail.NewOutbox(a.db, a.keyring, mail.Options{Sender: sender, Mailbox: a.config.Mail.Kind == "mailbox", Domain: issuer.Hostname(), Looks: a.looks, Logger: a.log, Metrics: a.metrics})
	a.accounts = account.New(a.db, a.keyring, a.identity, a.outbox, account.Options{Issuer: a.config.Issuer, Policies: a.config.accountPolicies(), Attributes: a.personal, Logger: a.log})
	return nil
}

func (a *App) mailSender() (mail.Sender, error) {
	m := a.config.Mail
	if m.Kind != "smtp" {
		return nil, nil
	}
	o := mail.SMTPOptions{Server: m.Server, From: m.From, FromName: m.FromName, Username: m.Username, Implicit: m.TLS == "implicit", Clock: a.clock}
	if m.PasswordFile != "" {
		var err error
		if o.Password, err = readSecret(m.PasswordFile); err != nil {
			return nil, err
		}
	}
	return mail.NewSMTP(o)
}

// admit lets somebody sign in who has proved enough, at an address that is verified where the realm wants that.
func (a *App) admit(ctx context.Context, tx db.ReadTx, u identity.User, amr []string) error {
	if err := a.factors.Admit(ctx, tx, u, amr); err != nil {
		return err
	}
	return a.accounts.Admit(ctx, tx, u)
}

// registerAt is where the authorization server sends whoever wants to register, or nil where nobody can.
func (a *App) registerAt() func(returnTo string) string {
	for _, name := range a.identity.Realms().Names() {
		if a.accounts.Registers(name) {
			return func(returnTo string) string { return "/register?return_to=" + url.QueryEscape(returnTo) }
		}
	}
	return nil
}
