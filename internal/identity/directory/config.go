package directory

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/redact"
)

// Config is how the directory of one realm is reached, and what of it counts.
type Config struct {
	Realm string // canonical

	// URLs are the servers in the order in which they are tried, ldaps://HOST[:PORT], or ldap://HOST[:PORT] with StartTLS.
	URLs       []string
	CAFile     string        // PEM certificates that the servers' must lead to; "": the machine's
	ServerName string        // in the servers' certificates; "": the host of each URL
	Plain      bool          // no TLS at all; only for servers on this machine
	Timeout    time.Duration // for one question to a server
	AtOnce     int           // connections at the same time

	BindDN       string // who searches; "": nobody, where the directory lets everybody search
	BindPassword redact.Secret

	Base     string // below which people are
	Filter   string // which entry a name means: {name} stands for the name, escaped
	Disabled string // entries that may not sign in; "": no such filter
	Attributes
	TrustEmail bool          // addresses count as verified
	Rules      sourced.Rules // which groups (by DN) and attributes it gives

	Only, Adopt  bool   // see identity.SourcePolicy
	PasswordPage string // where people change their password

	Sync SyncConfig
}

// Attributes name what is read of an entry. Empty: it is not read, but for Key and Username, which must be named.
type Attributes struct {
	Key, Username, DisplayName, Email, Phone, PasswordChanged string
}

// SyncConfig says how the people of a realm are compared with their directory.
type SyncConfig struct {
	Every    time.Duration // 0: never
	Page     int           // entries asked for at once
	Entries  int           // more are refused: then nothing is compared
	AtMost   int           // more people are not disabled at once without an administrator's word
	AtMostOf int           // nor more than so many of a hundred
}

// namePlace is what stands for the name in a filter.
const namePlace = "{name}"

// Check refuses a configuration that cannot work, or is not safe.
func (c *Config) Check() error {
	if len(c.URLs) == 0 {
		return errors.New("urls: none is given")
	}
	for _, text := range c.URLs {
		if _, err := parseServer(text, c.Plain); err != nil {
			return fmt.Errorf("urls: %w", err)
		}
	}
	if (c.BindDN == "") != c.BindPassword.Empty() {
		return errors.New("bind_dn and bind_password_file go together")
	}
	if _, err := ldap.ParseDN(c.BindDN); err != nil {
		return fmt.Errorf("bind_dn: %w", err)
	}
	if _, err := ldap.ParseDN(c.Base); err != nil || c.Base == "" {
		return errors.New("base: it must be the DN below which people are, such as ou=people,dc=example,dc=org")
	}
	if !strings.Contains(c.Filter, namePlace) {
		return errors.New("filter: it must say where the name stands, as {name}")
	}
	for what, filter := range map[string]string{"filter": c.nameFilter("x"), "filter (of all)": c.allFilter()} {
		if _, err := ldap.CompileFilter(filter); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if c.Key == "" || c.Username == "" {
		return errors.New("attributes: key and username must be named")
	}
	for dn := range c.Rules.Map {
		if key, err := dnKey(dn); err != nil || key == "" {
			return fmt.Errorf("groups.map: %q is not the DN of a group", dn)
		}
	}
	if c.Rules.Prefix != "" {
		return errors.New("groups: the groups of a directory are named by a map")
	}
	if c.Adopt && !c.Only {
		return errors.New("adopt goes with local_accounts administrators: where others may stay beside, the accounts of a name stay what they are")
	}
	return nil
}

// nameFilter finds the entry that a name means, unless it is disabled. The name is escaped (RFC 4515, section 3), so that
// it can be nothing but a value.
func (c *Config) nameFilter(name string) string {
	return c.enabled(strings.ReplaceAll(c.Filter, namePlace, ldap.EscapeFilter(name)))
}

// allFilter finds all entries that some name means, disabled or not.
func (c *Config) allFilter() string { return strings.ReplaceAll(c.Filter, namePlace, "*") }

// disabledFilter finds those of them that may not sign in.
func (c *Config) disabledFilter() string { return "(&" + c.allFilter() + c.Disabled + ")" }

// keyFilter finds one entry by what names it for ever, unless it is disabled.
func (c *Config) keyFilter(key string) string {
	value := ldap.EscapeFilter(key)
	if c.binaryKey() {
		value = escapeHex(key)
	}
	return c.enabled("(&" + c.allFilter() + "(" + c.Key + "=" + value + "))")
}

func (c *Config) enabled(filter string) string {
	if c.Disabled == "" {
		return filter
	}
	return "(&" + filter + "(!" + c.Disabled + "))"
}

// dnKey is the form in which DNs are compared (RFC 4514): without case, and with one space where there are several (RFC 4518).
func dnKey(text string) (string, error) {
	dn, err := ldap.ParseDN(text)
	if err != nil {
		return "", fmt.Errorf("read a DN: %w", err)
	}
	return strings.ToLower(strings.Join(strings.Fields(dn.String()), " ")), nil
}

// binaryKey tells whether the key is bytes, which are kept in hexadecimal.
func (c *Config) binaryKey() bool { return strings.EqualFold(c.Key, "objectGUID") }

func escapeHex(digits string) string {
	var b strings.Builder
	for i := 0; i+2 <= len(digits); i += 2 {
		b.WriteString(`\` + digits[i:i+2])
	}
	return b.String()
}

// serverAddress is one server.
type serverAddress struct {
	host, address string // address is HOST:PORT
	implicit      bool   // TLS from the first byte
	plain         bool
}

// parseServer reads the URL of a server, and refuses one to which passwords would go in clear over a network.
func parseServer(text string, plain bool) (serverAddress, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return serverAddress{}, fmt.Errorf("%q is not ldaps://HOST[:PORT] or ldap://HOST[:PORT]", text)
	}
	s := serverAddress{host: u.Hostname(), implicit: u.Scheme == "ldaps", plain: plain && u.Scheme == "ldap"}
	port := u.Port()
	if port == "" {
		port = map[bool]string{true: "636", false: "389"}[s.implicit]
	}
	s.address = net.JoinHostPort(s.host, port)
	if s.plain && !loopback(s.host) {
		return serverAddress{}, fmt.Errorf("%q is not on this machine, so passwords must not go there in clear: take plain away, and StartTLS is used", text)
	}
	return s, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tlsConfig is what a connection to the server must hold to.
func (c *Config) tlsConfig() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM", c.CAFile)
	}
	return t, nil
}
