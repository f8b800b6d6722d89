package app

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/password"
	"github.com/mintmark/mintmark/internal/realm"
)

// checkMail refuses settings by which mail would go nowhere, or in clear, or be read by strangers.
func (c *Config) checkMail() error {
	m := c.Mail
	if !slices.Contains([]string{"off", "smtp", "mailbox"}, m.Kind) {
		return fmt.Errorf("mail.kind: %q is none of off, smtp, mailbox", m.Kind)
	}
	if !slices.Contains([]string{"starttls", "implicit"}, m.TLS) {
		return fmt.Errorf("mail.tls: %q is neither starttls nor implicit", m.TLS)
	}
	if m.Kind == "mailbox" && !c.onThisMachine() {
		return errors.New("mail.kind: mailbox shows everybody the links that open accounts, so it works only while the issuer is an address of this machine")
	}
	if m.Kind != "smtp" {
		return nil
	}
	if m.From == "" {
		return errors.New("mail.from: letters need a sender")
	}
	if _, _, err := net.SplitHostPort(m.Server); err != nil {
		return fmt.Errorf("mail.server: %q is not HOST:PORT", m.Server)
	}
	if (m.Username == "") != (m.PasswordFile == "") {
		return errors.New("mail: username and password_file go together")
	}
	return nil
}

func (c *Config) onThisMachine() bool {
	u, err := url.Parse(c.Issuer)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || strings.HasSuffix(u.Hostname(), ".localhost") || ip != nil && ip.IsLoopback()
}

// checkAccounts refuses a realm whose people could not do what it wants of them.
func (c *Config) checkAccounts(r Realm) error {
	if !slices.Contains([]string{"", "closed", "open", "domains"}, r.Registration) {
		return fmt.Errorf("registration %q is none of closed, open, domains", r.Registration)
	}
	if (r.Registration == "domains") != (len(r.RegistrationDomains) > 0) {
		return errors.New("registration_domains goes with registration domains")
	}
	for _, d := range r.RegistrationDomains {
		if d == "" || d != strings.ToLower(d) || strings.ContainsAny(d, "@ /\t\r\n") || !strings.Contains(d, ".") {
			return fmt.Errorf("registration_domains: %q is not a domain in lower case", d)
		}
	}
	if !slices.Contains([]string{"", "optional", "required"}, r.EmailVerification) {
		return fmt.Errorf("email_verification %q is neither optional nor required", r.EmailVerification)
	}
	for _, f := range r.ProfileFixed {
		if !slices.Contains(account.Fields(), account.Field(f)) {
			return fmt.Errorf("profile_fixed: %q is none of name, email, phone, address", f)
		}
	}
	least := password.MinRunes
	if r.SecondFactor == "required" {
		least = password.MinRunesOfTwo
	}
	if n := r.PasswordLength; n != 0 && (n < least || n > password.MaxMinRunes) {
		return fmt.Errorf("password_length %d is not from %d to %d: fewer than %d only with second_factor required, and then at least %d", n, least, password.MaxMinRunes, password.MinRunes, password.MinRunesOfTwo)
	}
	opens := r.Registration == "open" || r.Registration == "domains"
	if c.Mail.Kind == "off" && (opens || r.EmailVerification == "required") {
		return errors.New("registration and email_verification need mail: set mail.kind")
	}
	return nil
}

// accountPolicies are what the realms want of their accounts.
func (c *Config) accountPolicies() map[string]account.Policy {
	policies := map[string]account.Policy{}
	for _, r := range c.Realms {
		name, err := realm.Canonical(r.Name)
		if err != nil {
			continue // checked by Load
		}
		p := account.Policy{Domains: r.RegistrationDomains, VerifyEmail: r.EmailVerification == "required"}
		for _, f := range r.ProfileFixed {
			p.Fixed = append(p.Fixed, account.Field(f))
		}
		if r.Registration != "closed" {
			p.Registration = account.Registration(r.Registration)
		}
		policies[name] = p
	}
	return policies
}

// selfErase are the realms whose people may erase their accounts themselves.
func (c *Config) selfErase() (names []string) {
	for _, r := range c.Realms {
		if name, err := realm.Canonical(r.Name); err == nil && r.SelfErase {
			names = append(names, name)
		}
	}
	return names
}

// passwordLengths are the least lengths of new passwords, by realm, where they are not the usual.
func (c *Config) passwordLengths() map[string]int {
	lengths := map[string]int{}
	for _, r := range c.Realms {
		if name, err := realm.Canonical(r.Name); err == nil && r.PasswordLength != 0 {
			lengths[name] = r.PasswordLength
		}
	}
	return lengths
}
