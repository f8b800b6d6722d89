package app

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// ErrConfig is in the chain of every error about the configuration; the program exits with 78.
var ErrConfig = errors.New("configuration")

// Config is all that can be set. It is read from a YAML file, then from environment variables, then from flags; the later
// wins. A key that is not in this struct is refused, with its name. Every field works at its zero value: Load puts the
// default that its comment names. The environment variable of a field is MINTMARK_ and its path in capitals, such as
// MINTMARK_LISTEN_PUBLIC for listen.public; fields inside lists are set in the file alone.
type Config struct {
	// Issuer is the URL that clients know this installation by: the `iss` of tokens and the base of every address in
	// the discovery documents. It is never taken from a request. Default: http:// and the public listener's address,
	// which serves a trial on one machine and nothing else.
	Issuer string `yaml:"issuer"`

	// DataDir holds the embedded database, the root key, the embedded object store and what the first start leaves for
	// the administrator. Default: ./mintmark-data. Made with mode 0700 if it does not exist.
	DataDir string `yaml:"data_dir"`

	Database Database `yaml:"database"`
	RootKey  RootKey  `yaml:"root_key"`
	Listen   Listen   `yaml:"listen"`
	TLS      TLS      `yaml:"tls"`
	Tokens   Tokens   `yaml:"tokens"`
	Keys     Keys     `yaml:"signing_keys"`
	Rotation Rotation `yaml:"rotation"`
	Realms   []Realm  `yaml:"realms"` // settings of realms; one that is not among the standard ones becomes a realm of people
	Stores   []Store  `yaml:"stores"` // besides `local`, the embedded endpoint, which is always there
	Log      Log      `yaml:"log"`
	Outbound Outbound `yaml:"outbound"`
	Mithril  Mithril  `yaml:"mithril"`
	Mail     Mail     `yaml:"mail"`

	// Look is what pages and letters look like where a realm says nothing else.
	Look look.Settings `yaml:"look"`

	Registration Registration `yaml:"registration"`

	// TrustedProxies are the networks of the reverse proxies whose X-Forwarded-For is believed. Default: none.
	TrustedProxies []string `yaml:"trusted_proxies"`

	// ShutdownGrace is how long requests and jobs in flight may take to finish after a signal. Default: 25s.
	ShutdownGrace Duration `yaml:"shutdown_grace"`
}

// Mithril says how the interface below /mithril behaves. It is on by default because it gives nothing to anybody before an
// administrator has made a client type, a client with it, and a role.
type Mithril struct {
	Serve string `yaml:"serve"` // on (default) or off
	Realm string `yaml:"realm"` // where its users live, a realm of people. Default: customers
	// TrustedConsumers are the networks of gateways whose X-Consumer-ID and X-Consumer-Scope are believed. Nobody else
	// may reach the public listener from there. Default: none, and the headers mean nothing.
	TrustedConsumers []string `yaml:"trusted_consumers"`
	UrgentInData     bool     `yaml:"urgent_in_data"` // repeat `urgent` inside `data`, for the oldest clients
}

// Database says where the data is.
type Database struct {
	// URL is sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME. Default: sqlite: and mintmark.db in the data directory.
	URL redact.Secret `yaml:"url"`
	// URLFile names a file that holds the URL, to keep a password out of the environment. Not together with URL.
	URLFile string `yaml:"url_file"`
	// MaxConnections of this node to PostgreSQL, at least 4; with SQLite, how many read at once. Default: 20.
	MaxConnections int `yaml:"max_connections"`
}

// RootKey says where the key is that everything else is sealed under.
type RootKey struct {
	// File is made at the first start, and only then. Default: root.key in the data directory. Keep a copy elsewhere.
	File string `yaml:"file"`
}

// Listen holds the addresses that the server listens on.
type Listen struct {
	Public     string `yaml:"public"`     // protocol, API and pages. Default: 127.0.0.1:8080
	S3         string `yaml:"s3"`         // the embedded S3 endpoint. Default: 127.0.0.1:9000; "off" turns it off
	Operations string `yaml:"operations"` // /livez, /readyz, /metrics. Default: 127.0.0.1:9090
}

// TLS is for the public and the S3 listener. Without it a reverse proxy must end TLS.
type TLS struct {
	CertFile string `yaml:"cert_file"` // read again when it changes
	KeyFile  string `yaml:"key_file"`
}

// Tokens says what access tokens look like.
type Tokens struct {
	// ServiceLifetime is for tokens of service users. Default: 8h.
	ServiceLifetime Duration `yaml:"service_lifetime"`
	// RealmForm is how a realm is shown in tokens and answers: "plain" (services) or "slash" (/services, as the older
	// STUPS libraries compare it). Both forms are always accepted. Default: plain.
	RealmForm string `yaml:"realm_form"`
	// RevocationSalt is put before what is hashed for verifiers that read the feed of revocations; they must have it,
	// too. Default: none.
	RevocationSalt redact.Secret `yaml:"revocation_salt"`
	// RequirePushedRequests refuses requests to sign people in that their client did not push to us first (RFC 9126), of
	// all clients. Default: false, and each client's own setting counts.
	RequirePushedRequests bool `yaml:"require_pushed_requests"`
	// Realms says how long tokens live, by realm. A client's own setting counts before it. In the file only.
	Realms map[string]RealmTokens `yaml:"realms"`
	// Bounds hold for all realms and clients.
	Bounds TokenBounds `yaml:"bounds"`
	// OwnerBounds are the longest lifetimes that the owner of a client may set for it. Beyond them an administrator may.
	OwnerBounds OwnerBounds `yaml:"owner_bounds"`
}

// OwnerBounds are the longest lifetimes that the owner of a client may set for it.
type OwnerBounds struct {
	Access          Duration `yaml:"access"`           // of access tokens, at most 24h. Default: 8h
	IDToken         Duration `yaml:"id_token"`         // of ID tokens, at most 24h. Default: 8h
	RefreshIdle     Duration `yaml:"refresh_idle"`     // of a family of refresh tokens without use. Default: 90d
	RefreshAbsolute Duration `yaml:"refresh_absolute"` // of it in all. Default: 365d
}

// RealmTokens are the lifetimes of one realm's tokens. 0: the default.
type RealmTokens struct {
	// Access tokens. Default: 10m for people, tokens.service_lifetime for services.
	Access Duration `yaml:"access"`
	// AccessByGrant names grant types whose access tokens live differently, such as
	// urn:ietf:params:oauth:grant-type:device_code.
	AccessByGrant map[string]Duration `yaml:"access_by_grant"`
	IDToken       Duration            `yaml:"id_token"` // Default: 10m
	// RefreshIdle is how long a family of refresh tokens lives without use, RefreshAbsolute in all. Default: 30d, 180d.
	RefreshIdle     Duration `yaml:"refresh_idle"`
	RefreshAbsolute Duration `yaml:"refresh_absolute"`
	// PersonPassword lets people of the realm give their password to clients that an administrator allows it, by the
	// grant password. RFC 9700 advises against it. Default: false.
	PersonPassword bool `yaml:"person_password"`
}

// TokenBounds are the least and the longest that any token lives: a setting outside them counts as the bound.
type TokenBounds struct {
	Min        Duration `yaml:"min"`         // Default: 10s
	Max        Duration `yaml:"max"`         // of access and ID tokens, at most 24h. Default: 24h
	MaxRefresh Duration `yaml:"max_refresh"` // of both lifetimes of refresh tokens. Default: 400d
}

// Registration says who may register clients at /oauth2/register (RFC 7591).
type Registration struct {
	// Anonymous lets strangers register clients, which are untrusted: people are asked each time. Default: false, so that
	// a token is needed which an administrator makes.
	Anonymous bool `yaml:"anonymous"`
	// UnusedLifetime is how long a registered client is kept that nobody used. Default: 30d.
	UnusedLifetime Duration `yaml:"unused_lifetime"`
	// SecretLifetime is how long the secret of a registered client is good. Default: for ever.
	SecretLifetime Duration `yaml:"secret_lifetime"`
}

// Keys says how signing keys live.
type Keys struct {
	Algorithm string   `yaml:"algorithm"` // of access tokens: ES256 (default), EdDSA or RS256
	Also      []string `yaml:"also"`      // what else clients may want ID tokens and answers signed with. Default: all others; []: none
	Period    Duration `yaml:"period"`    // how long a key signs. Default: 30d
	Lead      Duration `yaml:"lead"`      // how long a key is published before it signs. Default: 1h
}

// Rotation says how credentials of applications live.
type Rotation struct {
	PasswordPeriod Duration `yaml:"password_period"` // service passwords. Default: 2h
	SecretPeriod   Duration `yaml:"secret_period"`   // client secrets. Default: 30d
	// Grace is how long an old version stays accepted at least, and must have gone unused before it is refused. It must
	// be longer than agents take to fetch and applications to read again. Default: 30m.
	Grace Duration `yaml:"grace"`
	// MaxOverlap is when an old version is refused although it may be in use, with an alert. Default: 24h.
	MaxOverlap Duration `yaml:"max_overlap"`
}

// Realm is what is set for one realm of people.
type Realm struct {
	Name string `yaml:"name"` // such as employees
	// SecondFactor is "required" if everybody in the realm must sign in with more than a password, or "optional", where
	// only those must who have set something up. Administrators always must. Default: optional.
	SecondFactor string `yaml:"second_factor"`
	// Registration says who may make an account by itself: closed (nobody), open (whoever receives mail), or domains
	// (whoever receives mail at one of RegistrationDomains). It needs mail. Default: closed.
	Registration        string   `yaml:"registration"`
	RegistrationDomains []string `yaml:"registration_domains"`
	// EmailVerification is required if nobody of the realm signs in whose e-mail address is not verified, or optional. It
	// needs mail. Default: optional.
	EmailVerification string `yaml:"email_verification"`
	// ProfileFixed lists what people of the realm cannot change of themselves, but administrators alone: name, email,
	// phone, address. Default: nothing.
	ProfileFixed []string `yaml:"profile_fixed"`
	// SelfErase lets people of the realm erase their own accounts, and all that is kept of them, at once. Default: false.
	SelfErase bool `yaml:"self_erase"`
	// PasswordLength is the least length of a new password in characters: from 15 to 64, and from 8 where second_factor is
	// required. Default: 15.
	PasswordLength int `yaml:"password_length"`
	// Look is what pages and letters for people of the realm look like.
	Look look.Settings `yaml:"look"`
	// Attributes are what the realm keeps of its people besides what is kept of everybody, and tells clients of. At most
	// 50. Default: none.
	Attributes []attributes.Attribute `yaml:"attributes"`
	// Directory has a directory of the organisation look at the passwords of the realm's people (LDAP). Default: none.
	Directory *RealmDirectory `yaml:"directory"`
}

// Mail says how people get mail: links to register, to accept an invitation, to choose a new password, and notices.
type Mail struct {
	// Kind is off, smtp, or mailbox: then nothing leaves, and the page /mailbox shows everybody what would have. It works
	// only while the issuer is an address of this machine. Default: off.
	Kind     string `yaml:"kind"`
	From     string `yaml:"from"`      // the address that letters come from; kind smtp needs it
	FromName string `yaml:"from_name"` // Default: mintmark
	Server   string `yaml:"server"`    // HOST:PORT of the mail server
	// TLS is starttls, which the server must offer unless it is this machine, or implicit. Default: starttls.
	TLS          string `yaml:"tls"`
	Username     string `yaml:"username"`      // empty: no authentication
	PasswordFile string `yaml:"password_file"` // holds the password
}

// Store is a place that credentials are delivered to.
type Store struct {
	Name string `yaml:"name"` // as destinations name it, such as `aws` in aws/shop-mint
	Kind string `yaml:"kind"` // s3 or directory

	// For kind s3.
	Endpoint            string `yaml:"endpoint"` // empty: Amazon's for the region
	Region              string `yaml:"region"`   // Default: us-east-1
	PathStyle           bool   `yaml:"path_style"`
	AccessKeyID         string `yaml:"access_key_id"`         // empty: the machine's own identity, by the SDK's chain
	SecretKeyFile       string `yaml:"secret_key_file"`       // holds the secret access key
	OwnerFullControl    bool   `yaml:"owner_full_control"`    // send the canned ACL bucket-owner-full-control
	ExpectedBucketOwner string `yaml:"expected_bucket_owner"` // account id that must own the buckets

	// For kind directory.
	Path string `yaml:"path"` // each bucket is a directory below it
}

// Outbound bounds the calls to addresses that clients gave us, such as those where they hear of a logout.
type Outbound struct {
	// Allow are networks that may be called although they are not public, such as 10.0.0.0/8. Default: none.
	Allow []string `yaml:"allow"`
	// HTTP allows calls without TLS. Default: https alone.
	HTTP bool `yaml:"http"`
}

// Log says what is logged, to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn, error
	Format string `yaml:"format"` // json (default) or text
}

// Duration is a time span in Go's form, with d for days: 90s, 15m, 2h, 30d.
type Duration time.Duration

// UnmarshalText reads the form above; a bare number is refused, because nobody can tell its unit.
func (d *Duration) UnmarshalText(b []byte) error {
	text, days := string(b), time.Duration(0)
	if n, rest, ok := strings.Cut(text, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return fmt.Errorf("%q is not a duration: write 90s, 15m, 2h or 30d", text)
		}
		days, text = time.Duration(v)*24*time.Hour, rest
	}
	if text != "" {
		v, err := time.ParseDuration(text)
		if err != nil || v < 0 {
			return fmt.Errorf("%q is not a duration: write 90s, 15m, 2h or 30d", b)
		}
		days += v
	}
	*d = Duration(days)
	return nil
}

// MarshalText writes Go's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Source is where Load reads from.
type Source struct {
	File   string            // path of the YAML file; empty: none
	Env    []string          // as os.Environ gives it; only names that begin with MINTMARK_ count
	Values map[string]string // by dotted path, such as "listen.public": the flags
}

// notConfig are variables with our prefix that other parts of the program read.
var notConfig = []string{"MINTMARK_URL", "MINTMARK_TOKEN_FILE", "MINTMARK_CONFIG", "MINTMARK_FAILPOINTS", "MINTMARK_GENERATION", "MINTMARK_CLIENT_ID", "MINTMARK_DIR"}

// Load reads the configuration, puts the defaults and checks it. All errors wrap ErrConfig and name the key at fault.
func Load(src Source) (Config, error) {
	var c Config
	if src.File != "" {
		if err := c.readFile(src.File); err != nil {
			return c, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	fields := leaves(reflect.ValueOf(&c).Elem(), "")
	for _, pair := range src.Env {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "MINTMARK_") || slices.Contains(notConfig, name) || strings.HasPrefix(name, "MINTMARK_TEST_") {
			continue
		}
		path, ok := byEnv(fields, name)
		if !ok {
			return c, fmt.Errorf("%w: environment variable %s names no setting", ErrConfig, name)
		}
		if err := set(fields[path], value); err != nil {
			return c, fmt.Errorf("%w: environment variable %s: %w", ErrConfig, name, err)
		}
	}
	for path, value := range src.Values {
		f, ok := fields[path]
		if !ok {
			return c, fmt.Errorf("%w: there is no setting %q", ErrConfig, path)
		}
		if err := set(f, value); err != nil {
			return c, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
		}
	}
	if err := c.complete(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return c, nil
}

func (c *Config) readFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one document", path)
	}
	return nil
}

// leaves maps the dotted path of every setting outside lists of structs to its field.
func leaves(v reflect.Value, prefix string) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		f, path := v.Field(i), prefix+v.Type().Field(i).Tag.Get("yaml")
		if f.Kind() == reflect.Struct && f.Type() != reflect.TypeFor[redact.Secret]() {
			for p, x := range leaves(f, path+".") {
				out[p] = x
			}
			continue
		}
		if f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct {
			continue
		}
		out[path] = f
	}
	return out
}

func byEnv(fields map[string]reflect.Value, name string) (path string, ok bool) {
	for p := range fields {
		if "MINTMARK_"+strings.ToUpper(strings.ReplaceAll(p, ".", "_")) == name {
			return p, true
		}
	}
	return "", false
}

func set(f reflect.Value, text string) error {
	switch p := f.Addr().Interface().(type) {
	case interface{ UnmarshalText([]byte) error }:
		return p.UnmarshalText([]byte(text))
	case *string:
		*p = text
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*p = n
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*p = b
	case *[]string:
		*p = nil
		for s := range strings.SplitSeq(text, ",") {
			if s = strings.TrimSpace(s); s != "" {
				*p = append(*p, s)
			}
		}
	default:
		return fmt.Errorf("cannot be set like this")
	}
	return nil
}

// complete puts the defaults.
func (c *Config) complete() error {
	c.DataDir = cmp.Or(c.DataDir, "mintmark-data")
	c.RootKey.File = cmp.Or(c.RootKey.File, filepath.Join(c.DataDir, "root.key"))
	if c.Database.URLFile != "" {
		if !c.Database.URL.Empty() {
			return errors.New("database.url and database.url_file are both set; keep one")
		}
		secret, err := readSecret(c.Database.URLFile)
		if err != nil {
			return fmt.Errorf("database.url_file: %w", err)
		}
		c.Database.URL = secret
	}
	if c.Database.URL.Empty() {
		c.Database.URL = redact.New("sqlite:" + filepath.Join(c.DataDir, "mintmark.db"))
	}
	c.Database.MaxConnections = cmp.Or(c.Database.MaxConnections, 20)
	c.Listen.Public = cmp.Or(c.Listen.Public, "127.0.0.1:8080")
	c.Listen.S3 = cmp.Or(c.Listen.S3, "127.0.0.1:9000")
	c.Listen.Operations = cmp.Or(c.Listen.Operations, "127.0.0.1:9090")
	if c.Issuer == "" {
		scheme := "http://"
		if c.TLS.CertFile != "" {
			scheme = "https://"
		}
		c.Issuer = scheme + c.Listen.Public
	}
	c.Issuer = strings.TrimSuffix(c.Issuer, "/")
	c.Tokens.ServiceLifetime = cmp.Or(c.Tokens.ServiceLifetime, Duration(8*time.Hour))
	c.Tokens.Bounds.Min = cmp.Or(c.Tokens.Bounds.Min, Duration(10*time.Second))
	c.Tokens.Bounds.Max = cmp.Or(c.Tokens.Bounds.Max, Duration(registry.LongestToken))
	c.Tokens.Bounds.MaxRefresh = cmp.Or(c.Tokens.Bounds.MaxRefresh, Duration(400*24*time.Hour))
	owner, standard := &c.Tokens.OwnerBounds, registry.DefaultBounds()
	owner.Access, owner.IDToken = cmp.Or(owner.Access, Duration(standard.AccessToken)), cmp.Or(owner.IDToken, Duration(standard.IDToken))
	owner.RefreshIdle, owner.RefreshAbsolute = cmp.Or(owner.RefreshIdle, Duration(standard.RefreshIdle)), cmp.Or(owner.RefreshAbsolute, Duration(standard.RefreshAbsolute))
	c.Tokens.RealmForm = cmp.Or(c.Tokens.RealmForm, "plain")
	c.Keys.Algorithm = cmp.Or(c.Keys.Algorithm, "ES256")
	if c.Keys.Also == nil { // OpenID Connect Core section 15.1 wants RS256 of every provider
		c.Keys.Also = slices.DeleteFunc([]string{"ES256", "EdDSA", "RS256"}, func(alg string) bool { return alg == c.Keys.Algorithm })
	}
	c.Keys.Period = cmp.Or(c.Keys.Period, Duration(30*24*time.Hour))
	c.Keys.Lead = cmp.Or(c.Keys.Lead, Duration(time.Hour))
	c.Rotation.PasswordPeriod = cmp.Or(c.Rotation.PasswordPeriod, Duration(2*time.Hour))
	c.Rotation.SecretPeriod = cmp.Or(c.Rotation.SecretPeriod, Duration(30*24*time.Hour))
	c.Rotation.Grace = cmp.Or(c.Rotation.Grace, Duration(30*time.Minute))
	c.Rotation.MaxOverlap = cmp.Or(c.Rotation.MaxOverlap, Duration(24*time.Hour))
	c.Mithril.Serve = cmp.Or(c.Mithril.Serve, "on")
	c.Mithril.Realm = cmp.Or(c.Mithril.Realm, "customers")
	c.Mail.Kind = cmp.Or(c.Mail.Kind, "off")
	c.Mail.FromName = cmp.Or(c.Mail.FromName, "mintmark")
	c.Mail.TLS = cmp.Or(c.Mail.TLS, "starttls")
	c.Log.Level = cmp.Or(c.Log.Level, "info")
	c.Log.Format = cmp.Or(c.Log.Format, "json")
	c.ShutdownGrace = cmp.Or(c.ShutdownGrace, Duration(25*time.Second))
	return nil
}

// readSecret reads a file that holds one secret; a newline at its end does not count.
func readSecret(path string) (redact.Secret, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return redact.Secret{}, err
	}
	if b = bytes.TrimRight(b, "\r\n"); len(b) == 0 {
		return redact.Secret{}, fmt.Errorf("%s is empty", path)
	}
	return redact.FromBytes(b), nil
}

// Engine tells which database the configuration names, without showing its address.
func (c *Config) Engine() string {
	engine, _, _ := strings.Cut(c.Database.URL.Reveal(), ":")
	return engine
}

// S3On tells whether the embedded S3 endpoint runs.
func (c *Config) S3On() bool { return c.Listen.S3 != "off" }
