package app

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/realm"
)

// RealmDirectory says how the directory of a realm is reached, and what of it counts.
type RealmDirectory struct {
	// Kind is openldap or active-directory: it says what the attributes and filters below are by default. Default: openldap.
	Kind string `yaml:"kind"`

	// URLs are the servers in the order in which they are tried: ldaps://HOST, or ldap://HOST with StartTLS.
	URLs       []string `yaml:"urls"`
	CAFile     string   `yaml:"ca_file"`     // PEM certificates that those of the servers must lead to. Default: the machine's
	ServerName string   `yaml:"server_name"` // in the servers' certificates. Default: the host of each URL
	Plain      bool     `yaml:"plain"`       // no StartTLS; only for ldap:// on this machine
	Timeout    Duration `yaml:"timeout"`     // for one question to a server. Default: 5s
	AtOnce     int      `yaml:"connections"` // at the same time, of one node. Default: 8

	BindDN           string `yaml:"bind_dn"`            // who searches; it needs to read people and nothing else
	BindPasswordFile string `yaml:"bind_password_file"` // holds its password

	Base     string `yaml:"base"`     // below which people are, such as ou=people,dc=example,dc=org
	Filter   string `yaml:"filter"`   // which entry a name means; {name} stands for the name
	Disabled string `yaml:"disabled"` // entries that may not sign in. Default for active-directory: the bit of userAccountControl

	Attributes DirectoryAttributes `yaml:"attributes"`
	TrustEmail bool                `yaml:"trust_email"` // addresses of the directory count as verified
	// Keeps are attributes that the realm declares, each with the attribute of the directory that says it.
	Keeps map[string]string `yaml:"keeps"`
	// Groups say into which groups of the realm the directory puts people.
	Groups DirectoryGroups `yaml:"groups"`

	// LocalAccounts is administrators if nobody of the realm signs in with a password kept here but administrators who
	// have no entry, or beside, where accounts that were made here stay what they are. Default: administrators.
	LocalAccounts string `yaml:"local_accounts"`
	// Adopt makes an account that was made here, and is no administrator's, the one of the entry of its name at the first
	// login by the directory. Only with administrators. Default: false.
	Adopt        bool          `yaml:"adopt"`
	PasswordPage string        `yaml:"password_page"` // where people change their password
	Sync         DirectorySync `yaml:"sync"`
}

// DirectoryAttributes name what is read of an entry; "-" reads nothing.
type DirectoryAttributes struct {
	Key             string `yaml:"key"`              // what names the entry for ever. Default: entryUUID or objectGUID
	Username        string `yaml:"username"`         // Default: uid or sAMAccountName
	DisplayName     string `yaml:"display_name"`     // Default: cn or displayName
	Email           string `yaml:"email"`            // Default: mail
	Phone           string `yaml:"phone"`            // Default: telephoneNumber
	PasswordChanged string `yaml:"password_changed"` // when it changes, sessions end. Default: pwdChangedTime or pwdLastSet
}

// DirectoryGroups say which groups of a directory are which of the realm's. The groups must be there; a directory makes
// none, and takes nobody out of one that an administrator put somebody into.
type DirectoryGroups struct {
	Attribute string            `yaml:"attribute"` // of a person's entry, lists the DNs of its groups. Default: memberOf
	Map       map[string]string `yaml:"map"`       // from the DN there to the name here
}

// rules are those of both.
func (d *RealmDirectory) rules() sourced.Rules {
	r := sourced.Rules{Attributes: map[string]string{}, Map: d.Groups.Map}
	for name, from := range d.Keeps {
		r.Attributes[from] = name
	}
	if len(d.Groups.Map) > 0 {
		r.Groups = cmp.Or(d.Groups.Attribute, "memberOf")
	}
	return r
}

// DirectorySync says how people are compared with the directory, so that who is gone is disabled.
type DirectorySync struct {
	Every   Duration `yaml:"every"`    // Default: 1h
	Off     bool     `yaml:"off"`      // never
	Entries int      `yaml:"entries"`  // with more nothing is compared. Default: 200000
	AtMost  int      `yaml:"at_most"`  // more people are not disabled at once without an administrator's word. Default: 50
	Percent int      `yaml:"percent"`  // nor more of a hundred. Default: 10
	Page    int      `yaml:"per_page"` // entries asked for at once. Default: 500
}

// directoryKinds are what is usual in directories of a kind.
var directoryKinds = map[string]RealmDirectory{
	"openldap": {
		Filter:     "(&(objectClass=person)(|(uid={name})(mail={name})))",
		Attributes: DirectoryAttributes{Key: "entryUUID", Username: "uid", DisplayName: "cn", Email: "mail", Phone: "telephoneNumber", PasswordChanged: "pwdChangedTime"},
	},
	"active-directory": {
		Filter:     "(&(objectCategory=person)(objectClass=user)(|(sAMAccountName={name})(userPrincipalName={name})(mail={name})))",
		Disabled:   "(userAccountControl:1.2.840.113556.1.4.803:=2)",
		Attributes: DirectoryAttributes{Key: "objectGUID", Username: "sAMAccountName", DisplayName: "displayName", Email: "mail", Phone: "telephoneNumber", PasswordChanged: "pwdLastSet"},
	},
}

// checkDirectory refuses a directory that cannot work, or to which passwords would go in clear.
func (c *Config) checkDirectory(r Realm) error {
	d := r.Directory
	if d == nil {
		return nil
	}
	if d.Kind != "" && directoryKinds[d.Kind].Filter == "" {
		return fmt.Errorf("directory.kind: %q is neither openldap nor active-directory", d.Kind)
	}
	if !slices.Contains([]string{"", "administrators", "beside"}, d.LocalAccounts) {
		return fmt.Errorf("directory.local_accounts: %q is neither administrators nor beside", d.LocalAccounts)
	}
	if (r.Registration == "open" || r.Registration == "domains") && d.LocalAccounts != "beside" {
		return errors.New("directory: whoever registers could not sign in: close registration, or set local_accounts to beside")
	}
	if d.PasswordPage != "" {
		if u, err := url.Parse(d.PasswordPage); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return fmt.Errorf("directory.password_page: %q is not an https URL", d.PasswordPage)
		}
	}
	for _, b := range []struct {
		name           string
		n, least, most int
	}{
		{"timeout in seconds", int(time.Duration(d.Timeout).Seconds()), 0, 20}, {"connections", d.AtOnce, 0, 200}, {"sync.entries", d.Sync.Entries, 0, 5_000_000},
		{"sync.at_most", d.Sync.AtMost, 0, 1_000_000}, {"sync.percent", d.Sync.Percent, 0, 100}, {"sync.per_page", d.Sync.Page, 0, 5000},
	} {
		if b.n < b.least || b.n > b.most {
			return fmt.Errorf("directory.%s: %d is outside %d to %d", b.name, b.n, b.least, b.most)
		}
	}
	if every := time.Duration(d.Sync.Every); every != 0 && every < time.Minute {
		return fmt.Errorf("directory.sync.every: %s is less than a minute", every)
	}
	rules := d.rules()
	if len(rules.Attributes) != len(d.Keeps) {
		return errors.New("directory.keeps: each attribute of the directory is one of the realm at most")
	}
	if name, err := realm.Canonical(r.Name); err == nil { // checked elsewhere
		if err := sourced.New(nil, attributes.New(map[string][]attributes.Attribute{name: r.Attributes})).Check("directory", name, rules); err != nil {
			return fmt.Errorf("directory.keeps and groups: %w", err)
		}
	}
	made, err := d.config("x")
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if err := made.Check(); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	return nil
}

// config is the setting as package directory takes it.
func (d *RealmDirectory) config(realmName string) (directory.Config, error) {
	usual := directoryKinds[cmp.Or(d.Kind, "openldap")]
	attribute := func(set, usual string) string {
		if set == "-" {
			return ""
		}
		return cmp.Or(set, usual)
	}
	a, u := d.Attributes, usual.Attributes
	c := directory.Config{
		Realm: realmName, URLs: d.URLs, CAFile: d.CAFile, ServerName: d.ServerName, Plain: d.Plain, Timeout: time.Duration(d.Timeout), AtOnce: d.AtOnce,
		BindDN: d.BindDN, Base: d.Base, Filter: cmp.Or(d.Filter, usual.Filter), Disabled: attribute(d.Disabled, usual.Disabled),
		Attributes: directory.Attributes{
			Key: attribute(a.Key, u.Key), Username: attribute(a.Username, u.Username), DisplayName: attribute(a.DisplayName, u.DisplayName),
			Email: attribute(a.Email, u.Email), Phone: attribute(a.Phone, u.Phone), PasswordChanged: attribute(a.PasswordChanged, u.PasswordChanged),
		},
		TrustEmail: d.TrustEmail, Rules: d.rules(), Only: d.LocalAccounts != "beside", Adopt: d.Adopt, PasswordPage: d.PasswordPage,
		Sync: directory.SyncConfig{Every: cmp.Or(time.Duration(d.Sync.Every), time.Hour), Page: d.Sync.Page, Entries: d.Sync.Entries, AtMost: d.Sync.AtMost, AtMostOf: d.Sync.Percent},
	}
	if d.Sync.Off {
		c.Sync.Every = 0
	}
	if d.BindPasswordFile != "" {
		var err error
		if c.BindPassword, err = readSecret(d.BindPasswordFile); err != nil {
			return c, fmt.Errorf("bind_password_file: %w", err)
		}
	}
	return c, nil
}

// directories are those of all realms.
func (c *Config) directories() (list []directory.Config, err error) {
	for _, r := range c.Realms {
		name, err := realm.Canonical(r.Name)
		if err != nil || r.Directory == nil {
			continue // checked by Load
		}
		d, err := r.Directory.config(name)
		if err != nil {
			return nil, fmt.Errorf("%w: directory of realm %s: %w", ErrConfig, name, err)
		}
		list = append(list, d)
	}
	return list, nil
}
