package directory

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/sourced"
)

// found is an entry of a person.
type found struct {
	dn   string
	said sourced.Said // of groups and attributes
	identity.Entry
}

// attributeNames are what is asked for of a person's entry.
func (c *Config) attributeNames() []string {
	var names []string
	for _, name := range slices.Concat([]string{c.Key, c.Username, c.DisplayName, c.Email, c.Phone, c.PasswordChanged, c.Rules.Groups}, slices.Sorted(maps.Keys(c.Rules.Attributes))) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// The reasons for which a name leads nowhere, for the audit log alone. Whoever tries is told the same as of a wrong
// password.
func noEntry(code, format string, args ...any) error {
	return fault.New(fault.Unauthenticated, code, format, args...)
}

// search asks for entries. Aliases are not followed, and neither are referrals: where else an entry might be is not where
// the operator said that people are.
func (p *pool) search(ctx context.Context, c *conn, base, filter string, attributes []string, limit int, most int64, within time.Duration, controls ...ldap.Control) (r *ldap.SearchResult, err error) {
	request := ldap.NewSearchRequest(base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, limit, max(1, int(within.Seconds())), false, filter, attributes, controls)
	request.EnforceSizeLimit = true
	err = p.ask(ctx, c, most, within, func() (err error) {
		r, err = c.Search(request)
		return err
	})
	return r, err
}

// find looks for the one entry that a filter means.
func (p *pool) find(ctx context.Context, c *conn, filter string) (found, error) {
	r, err := p.search(ctx, c, p.c.Base, filter, p.c.attributeNames(), 2, mostOfAnswer, p.c.Timeout)
	if r != nil && len(r.Entries) > 1 {
		// Also if the server said that there are more than we wanted: then it is not the one entry.
		return found{}, noEntry("directory_ambiguous", "The name leads to several entries of the directory.")
	}
	if ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) || ldap.IsErrorWithCode(err, ldap.LDAPResultReferral) {
		return found{}, unavailable(fmt.Errorf("search: the directory does not have the base %s: %w", p.c.Base, err))
	}
	if err != nil {
		return found{}, unavailable(fmt.Errorf("search: %w", err))
	}
	if len(r.Entries) == 0 {
		return found{}, noEntry("directory_unknown", "The name leads to no entry of the directory.")
	}
	return p.c.read(r.Entries[0])
}

// read takes from an entry what counts here.
func (c *Config) read(e *ldap.Entry) (found, error) {
	f := found{dn: e.DN, said: c.said(e)}
	// With an empty DN a bind proves nothing at all (RFC 4513, section 5.1.2).
	if _, err := ldap.ParseDN(e.DN); err != nil || strings.TrimSpace(e.DN) == "" {
		return f, noEntry("directory_entry", "The entry has no name.")
	}
	key, err := c.key(e)
	if err != nil {
		return f, err
	}
	mark := c.text(e, c.PasswordChanged)
	f.Entry, err = identity.Entry{
		Key: key, Username: c.text(e, c.Username), DisplayName: c.text(e, c.DisplayName), Email: c.text(e, c.Email), EmailVerified: c.TrustEmail,
		Phone: c.text(e, c.Phone), Mark: mark[:min(len(mark), maxMark)],
	}.Clean()
	if err != nil {
		return f, fault.Wrap(err, fault.Unauthenticated, "directory_username", "The directory's username of the entry cannot be one here.")
	}
	return f, nil
}

const (
	maxKey   = 200
	maxValue = 1000
	maxMark  = 60
)

// key is what names an entry for ever: one value, of text or bytes.
func (c *Config) key(e *ldap.Entry) (string, error) {
	values := rawValues(e, c.Key)
	if len(values) != 1 || len(values[0]) == 0 || len(values[0]) > maxKey {
		return "", noEntry("directory_key", "The entry has not one value of the attribute that names it for ever.")
	}
	if c.binaryKey() {
		return hex.EncodeToString(values[0]), nil
	}
	if !utf8.Valid(values[0]) {
		return "", noEntry("directory_key", "The attribute that names the entry for ever holds bytes that are no text.")
	}
	return strings.ToLower(string(values[0])), nil
}

func rawValues(e *ldap.Entry, name string) [][]byte {
	for _, a := range e.Attributes {
		if name != "" && strings.EqualFold(a.Name, name) {
			return a.ByteValues
		}
	}
	return nil
}

// text is the first value of an attribute that is text of a decent length; "" if there is none.
func (c *Config) text(e *ldap.Entry, name string) string {
	for _, v := range rawValues(e, name) {
		if len(v) <= maxValue && utf8.Valid(v) {
			return string(v)
		}
	}
	return ""
}

// bind shows a password for an entry. Unauthenticated with a code for the audit log says that the directory refused it;
// unavailable, that it did not say.
func (p *pool) bind(ctx context.Context, c *conn, dn, secret string) error {
	if dn == "" || secret == "" { // either would be a bind that succeeds and proves nothing (RFC 4513, section 5.1.2)
		return noEntry("directory_no_password", "There was no password.")
	}
	err := p.ask(ctx, c, mostOfAnswer, p.c.Timeout, func() error {
		_, err := c.SimpleBind(ldap.NewSimpleBindRequest(dn, secret, nil))
		return err
	})
	if err == nil {
		return nil
	}
	var e *ldap.Error
	if errors.As(err, &e) {
		switch e.ResultCode {
		case ldap.LDAPResultInvalidCredentials:
			return fault.Wrap(err, fault.Unauthenticated, bindReason(e), "The directory refused the password.")
		case ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultNoSuchObject, ldap.LDAPResultUnwillingToPerform,
			ldap.LDAPResultConstraintViolation, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultReferral, ldap.LDAPResultInvalidDNSyntax:
			return fault.Wrap(err, fault.Unauthenticated, "directory_refused", "The directory does not let this entry sign in.")
		}
	}
	return unavailable(fmt.Errorf("bind as the person: %w", err))
}

// activeDirectory are the reasons that Active Directory hides in its text.
var activeDirectory = map[string]string{
	"data 530": "directory_hours", "data 531": "directory_workstation", "data 532": "directory_password_expired", "data 533": "directory_disabled",
	"data 701": "directory_account_expired", "data 773": "directory_must_change", "data 775": "directory_locked",
}

// bindReason is the code for the audit log of a refused bind.
func bindReason(e *ldap.Error) string {
	if e.Err != nil {
		for text, code := range activeDirectory {
			if strings.Contains(e.Err.Error(), text) {
				return code
			}
		}
	}
	return "directory_password"
}
