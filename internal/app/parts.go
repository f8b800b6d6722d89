package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/authn"
	"github.com/mintmark/mintmark/internal/catalog"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/account"
	"github.com/mintmark/mintmark/internal/identity/attributes"
	"github.com/mintmark/mintmark/internal/identity/directory"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/groups"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/identity/transfer"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/keyset"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/mail"
	"github.com/mintmark/mintmark/internal/mithril"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/outbound"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/rotation"
	"github.com/mintmark/mintmark/internal/route"
	"github.com/mintmark/mintmark/internal/s3api"
	"github.com/mintmark/mintmark/internal/web"
)

// core is what every opened installation has.
type core struct {
	identity *identity.Directory
	keys     *keys.Ring
}

// parts is what a serving node has besides, from the lower rows of the ladder to the upper.
type parts struct {
	mux       *route.Mux
	outbound  *outbound.Client // for addresses that clients gave
	factors   *mfa.Service
	looks     *look.Set
	directory *directory.Service
	outbox    *mail.Outbox
	accounts  *account.Service
	groups    *groups.Service
	personal  *attributes.Service // attributes of people
	sourced   *sourced.Service    // what providers and directories say of both
	transfer  *transfer.Service
	sessions  *session.Manager
	upstream  *federation.Service // providers of others
	catalog   *catalog.Catalog
	registry  *registry.Registry
	oauth     *oauth.Server
	rotation  *rotation.Service
	authn     *authn.Authenticator
	s3        *s3api.Server // nil when the embedded endpoint is off
	jobs      *jobs.Runner
	sequencer *audit.Sequencer
	denials   *audit.Denials
	pages     *web.Pages
	mithril   *mithril.Service // nil when it is off
}

// makeCore makes the parts that need nothing but the database and the keyring.
func (a *App) makeCore() (err error) {
	names, _ := a.config.realmNames()
	realms, err := realm.NewSet(names...)
	if err != nil {
		return fmt.Errorf("%w: realms: %w", ErrConfig, err)
	}
	a.identity, err = identity.New(a.db, a.keyring, identity.Options{Realms: realms, PasswordLength: a.config.passwordLengths(), Clock: a.clock, Logger: a.log})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	lead := time.Duration(a.config.Keys.Lead)
	var also []keys.Alg
	for _, alg := range a.config.Keys.Also {
		also = append(also, keys.Alg(alg))
	}
	a.keys, err = keys.NewRing(a.db, a.keyring, keys.Options{
		Alg:    keys.Alg(a.config.Keys.Algorithm),
		Also:   also,
		Period: time.Duration(a.config.Keys.Period),
		Lead:   lead,
		MaxAge: min(lead/2, 5*time.Minute),
		Keep:   time.Duration(a.config.Tokens.Bounds.Max) + 5*time.Minute, // no token lives longer
		Clock:  a.clock, Logger: a.log,
	})
	if err != nil {
		return fmt.Errorf("%w: signing_keys: %w", ErrConfig, err)
	}
	return nil
}

// makeParts makes what a serving node has besides. It must run before the change feed starts, because the parts subscribe
// to it.
func (a *App) makeParts(ctx context.Context) (err error) {
	a.outbound = outbound.New(outbound.Options{
		Allow: networks(a.config.Outbound.Allow), HTTP: a.config.Outbound.HTTP, Agent: "mintmark/" + a.build.Version, Metrics: a.metrics,
	})
	if err := a.makePeople(); err != nil {
		return err
	}
	if err := a.makeOAuth(); err != nil {
		return err
	}
	a.followPeople()
	if a.config.S3On() {
		if a.s3, err = s3api.New(s3api.Options{Dir: filepath.Join(a.config.DataDir, "s3"), DB: a.db, Keyring: a.keyring, Clock: a.clock, Logger: a.log, Metrics: a.metrics}); err != nil {
			return fmt.Errorf("open the embedded object store: %w", err)
		}
	}
	stores, err := a.openStores(ctx)
	if err != nil {
		return err
	}
	if err := a.makeRotation(stores); err != nil {
		return err
	}
	a.authn = authn.New(authn.Options{
		AccessKeys: a.identity, Tokens: oauthTokens{a.oauth.Verifier(), a.registry.Clients()}, Teams: a.registry.Clients(),
		Realms: a.identity.Realms(), Audience: a.config.Issuer, TrustedProxies: a.proxies(),
	})
	a.denials = audit.NewDenials(a.db, a.clock, a.log)
	a.identity.OnLoginRefused(func(c access.Caller, err error) { a.denials.Record(context.Background(), c, "session.begin", err) })
	a.factors.OnRefused(func(c access.Caller, op string, err error) { a.denials.Record(context.Background(), c, op, err) })
	a.upstream.OnRefused(func(c access.Caller, op string, err error) { a.denials.Record(context.Background(), c, op, err) })
	if a.sequencer, err = a.makeSequencer(); err != nil {
		return fmt.Errorf("make the sequencer of the audit log: %w", err)
	}
	a.metrics.MustRegister(a.sequencer)
	if a.pages, err = web.New(web.Info{
		Version: a.build.Version, Node: a.node, Engine: engineName(a.db.Engine()), Issuer: a.config.Issuer, S3: a.s3Address(),
		Operations: a.config.Listen.Operations, Started: a.started, Clock: a.clock, Ready: a.ready.Err,
		Looks: a.looks, Directory: a.identity, DB: a.db, Sessions: a.sessions, Factors: a.factors, Accounts: a.accounts, Attributes: a.personal, Transfer: a.transfer, Outbox: a.outbox, Upstream: a.upstream, Clients: clientsOfPeople{a}, Destination: a.destination, LogoutFrames: a.oauth.LogoutFrames,
	}); err != nil {
		return err
	}
	if a.config.Mithril.Serve == "on" {
		if a.mithril, err = mithril.New(mithril.Options{
			DB: a.db, Keyring: a.keyring, OAuth: a.oauth, Registry: a.registry, Identity: a.identity, Issuer: a.config.Issuer,
			Clock: a.clock, Logger: a.log, Realm: a.config.Mithril.Realm, TrustedConsumers: networks(a.config.Mithril.TrustedConsumers),
			UrgentInData: a.config.Mithril.UrgentInData, Denied: a.denials.Record, Admit: a.admit,
		}); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	a.routes()
	return nil
}

// makePeople makes what knows people, and how they sign in.
func (a *App) makePeople() (err error) {
	_, strict := a.config.realmNames()
	if a.factors, err = mfa.New(a.db, a.keyring, a.identity, mfa.Options{Issuer: a.config.Issuer, Required: strict, Clock: a.clock, Logger: a.log}); err != nil {
		return fmt.Errorf("make the second factors: %w", err)
	}
	if a.looks, err = look.NewSet(a.config.Look, a.config.looks(), look.Options{Logger: a.log}); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	a.groups = groups.New(a.identity.Realms())
	a.personal = attributes.New(a.config.attributes())
	a.sourced = sourced.New(a.groups, a.personal)
	if err := a.makeDirectories(); err != nil {
		return err
	}
	a.transfer = transfer.New(a.db, a.identity, a.groups, a.personal, transfer.Options{SelfErase: a.config.selfErase(), Farewell: func(ctx context.Context, tx db.WriteTx, p identity.Person) error {
		return a.accounts.Farewell(ctx, tx, p)
	}})
	if err := a.makeAccounts(); err != nil {
		return err
	}
	if a.sessions, err = session.New(a.db, a.keyring, a.identity, session.Options{
		Secure: strings.HasPrefix(a.config.Issuer, "https://"), Origin: a.config.Issuer, Clock: a.clock, Logger: a.log, Admit: a.admit,
	}); err != nil {
		return fmt.Errorf("make the sessions: %w", err)
	}
	a.upstream = federation.New(a.db, a.keyring, a.identity, federation.Options{
		Issuer: a.config.Issuer, Outbound: a.outbound, Signers: a.keys, Sessions: a.sessions, Sourced: a.sourced, Clock: a.clock, Logger: a.log,
	})
	return nil
}

// makeOAuth makes the registry, and upon it the authorization server.
func (a *App) makeOAuth() (err error) {
	if a.registry, err = registry.New(a.db, a.keyring, a.identity, registry.Options{Bounds: a.config.ownerBounds(), Outbound: a.outbound, Lifetimes: a.config.lifetimes(), Clock: a.clock, Logger: a.log, Registration: registry.RegistrationOptions{
		Issuer: a.config.Issuer, Anonymous: a.config.Registration.Anonymous,
		Unused: time.Duration(a.config.Registration.UnusedLifetime), SecretLife: time.Duration(a.config.Registration.SecretLifetime),
	}}); err != nil {
		return fmt.Errorf("make the registry: %w", err)
	}
	a.catalog = catalog.New(a.registry, a.registry, a.identity.Realms())
	if a.oauth, err = oauth.New(oauth.Options{
		DB: a.db, Clients: a.registry.Clients(), Secrets: a.registry.Clients(), Proofs: a.registry.Clients(), KeySets: keyset.NewClients(keyset.Options{Outbound: a.outbound, Clock: a.clock, Logger: a.log}), Users: a.identity.Verifier(), Keys: a.keys,
		Clock: a.clock, Logger: a.log, Metrics: a.metrics,
		Issuer: a.config.Issuer, Registration: true, Realms: a.identity.Realms(), SlashRealms: a.config.Tokens.RealmForm == "slash",
		Lifetimes: a.config.lifetimes(), Version: a.build.Version,
		RevocationSalt: a.config.Tokens.RevocationSalt, Caller: func(r *http.Request) (access.Caller, error) { return a.authn.Caller(r) },
		People: &oauth.PeopleOptions{Keyring: a.keyring, Sessions: a.sessions, People: newPeople(a.db), More: newPersonClaims(a.db, a.personal), Catalog: scopeTexts{a.catalog}, Pages: oauthPages{a},
			RequirePAR: a.config.Tokens.RequirePushedRequests, StepUp: stepUp, RegisterAt: a.registerAt(), Outbound: a.outbound, Languages: web.Languages(),
			Passwords: oauth.PersonPasswords{Realms: a.config.passwordRealms(), Verify: a.identity.VerifyPersonPassword, Admit: a.admit}},
	}); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// makeRotation makes the mint and the jobs that drive it.
func (a *App) makeRotation(stores stores) (err error) {
	r := a.config.Rotation
	policy := func(period Duration) lifecycle.Policy {
		return lifecycle.Policy{Period: time.Duration(period), Grace: time.Duration(r.Grace), MaxOverlap: time.Duration(r.MaxOverlap), MaxLive: maxLive}
	}
	passwords, secrets := a.identity.ServicePasswords(), clientSecrets{a.registry.ClientSecrets()}
	if a.rotation, err = rotation.New(a.db, a.keyring, rotation.Options{
		Kinds: []rotation.Kind{passwords, secrets}, Applications: applications{a.registry}, Stores: stores,
		Policies: map[string]lifecycle.Policy{passwords.Name(): policy(r.PasswordPeriod), secrets.Name(): policy(r.SecretPeriod)},
		Node:     a.lock.name, Clock: a.clock, Logger: a.log, Metrics: a.metrics,
	}); err != nil {
		return fmt.Errorf("%w: rotation: %w", ErrConfig, err)
	}
	a.registry.OnApplicationChanged(func(ctx context.Context, tx db.WriteTx, app registry.Application) error {
		if !app.Active {
			if err := s3api.DisableApplicationKeys(ctx, tx, access.SystemCaller("registry"), app.ID); err != nil {
				return err
			}
			return a.rotation.Deactivate(ctx, tx, app.ID)
		}
		return a.rotation.Plan(ctx, tx, app.ID)
	})
	// The lease is short: when this process dies, its successor must not stand idle for long.
	a.jobs = jobs.NewRunner(a.db, jobs.Options{Node: a.node, Workers: 24, Lease: 6 * time.Second, Grace: time.Duration(a.config.ShutdownGrace), Clock: a.clock, Logger: a.log, Metrics: a.metrics})
	// A rotation mostly waits for stores. What it leaves is for other work, which must not stand behind ten thousand of them.
	a.jobs.Handle(rotation.JobKind, a.rotation.Rotate, jobs.Policy{Concurrency: 16})
	a.jobs.Handle(keys.JobKind, a.keys.RotationJob)
	// Clients that do not answer hold up one another, and nobody else.
	a.jobs.Handle(oauth.LogoutJob, a.oauth.NotifyLogout, jobs.Policy{Concurrency: 4})
	a.jobs.Handle(mail.JobKind, a.outbox.Deliver, mail.JobPolicy)
	a.jobs.Handle(account.JobKind, a.accounts.Handle, account.JobPolicy)
	a.jobs.Handle(directory.JobKind, a.directory.Handle, directory.JobPolicy)
	return nil
}

// maxLive is how many versions of one credential are accepted at once, when an application keeps using an old one.
const maxLive = 4

func (a *App) proxies() []netip.Prefix { return networks(a.config.TrustedProxies) }

// networks reads what Load has checked.
func networks(texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func (a *App) s3Address() string {
	if a.s3 == nil {
		return ""
	}
	scheme := "http://"
	if a.config.TLS.CertFile != "" {
		scheme = "https://"
	}
	return scheme + a.config.Listen.S3
}

func engineName(e db.Engine) string {
	if e == db.SQLite {
		return "SQLite, embedded"
	}
	return "PostgreSQL"
}

// stores are the places that credentials are delivered to, by name.
type stores map[string]objstore.Store

// Open finds a store.
func (s stores) Open(name string) (objstore.Store, error) {
	if st, ok := s[name]; ok {
		return st, nil
	}
	return nil, fault.New(fault.NotFound, "store_not_found", "There is no store %q in the configuration.", name)
}

// Names lists the stores, sorted.
func (s stores) Names() []string {
	names := make([]string, 0, len(s))
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// openStores opens the stores of the configuration, and `local`, the embedded endpoint.
func (a *App) openStores(ctx context.Context) (stores, error) {
	out := stores{}
	if a.s3 != nil {
		keyID, secret, err := s3api.EnsureMintKey(ctx, a.db, a.keyring)
		if err != nil {
			return nil, fmt.Errorf("make the mint's key for the embedded object store: %w", err)
		}
		if out["local"], err = objstore.NewS3(ctx, objstore.S3Options{Endpoint: "http://s3.internal", AccessKeyID: keyID, Secret: secret, Transport: inProcess{a.s3}}); err != nil {
			return nil, fmt.Errorf("open store local: %w", err)
		}
	}
	for _, c := range a.config.Stores {
		st, err := openStore(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("%w: store %s: %w", ErrConfig, c.Name, err)
		}
		out[c.Name] = st
	}
	return out, nil
}

func openStore(ctx context.Context, c Store) (objstore.Store, error) {
	if c.Kind == "directory" {
		if info, err := os.Stat(c.Path); err != nil || !info.IsDir() {
			return nil, errors.Join(fmt.Errorf("%s is not a directory", c.Path), err)
		}
		return objstore.NewDirectory(c.Path)
	}
	var secret redact.Secret
	if c.SecretKeyFile != "" {
		var err error
		if secret, err = readSecret(c.SecretKeyFile); err != nil {
			return nil, err
		}
	}
	o := objstore.S3Options{Endpoint: c.Endpoint, Region: c.Region, PathStyle: c.PathStyle, AccessKeyID: c.AccessKeyID, Secret: secret, ExpectedOwner: c.ExpectedBucketOwner}
	if c.OwnerFullControl {
		o.ACL = "bucket-owner-full-control"
	}
	return objstore.NewS3(ctx, o)
}
