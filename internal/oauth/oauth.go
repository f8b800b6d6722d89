// Package oauth is the authorization server: it makes access tokens for services and for clients that people let act for
// them, tells whether a token is valid, and takes tokens back. It is an OpenID Connect provider for those clients.
//
// What it guards:
//   - Every token passed one gate (gate.go), whichever grant asked for it.
//   - A token is accepted only if a key of our own ring signed it, with that key's algorithm, as an access token of this
//     issuer, and it has not expired or been revoked (verify.go). A revocation counts at once on this node and within a
//     second on every other.
//   - An answer never tells an unknown user from a wrong password, nor why a token is not valid.
//   - Issuing a service's token and checking any reads no database and writes none: clients, keys and revocations are in
//     memory, and what happened is counted and journalled in batches.
//   - Nobody is redirected before client and redirect URI are known to be good (authrequest.go). A request that waits for
//     a person belongs to one browser (flow.go), and a decision counts once, for what was shown (consent.go).
//   - A code and a refresh token are used once, over all nodes (code.go, refresh.go). What is used twice ends the grant
//     that it came from, and all that the grant gave (grant.go).
//   - The issuer comes from the configuration, never from a request.
//
// There are two token endpoints. /oauth2/token keeps to RFC 6749. /oauth2/access_token accepts besides what clients of
// this family have always sent: JSON under any content type, parameters in the query.
//
// Tokens are stored nowhere. Of a revoked token its jti is stored until the token would have expired, of a grant that
// ended its id; of codes and refresh tokens there are MACs.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/registry"
)

// Options configure a Server. DB, Clients, Users and Keys must be set; so must Issuer.
type Options struct {
	DB      *db.DB
	Clients Clients
	Users   Users
	Keys    Keys

	// Secrets are those that clients sign with. nil: no client may sign with a secret.
	Secrets SharedSecrets

	// Proofs is told what clients sign with. nil: nobody is.
	Proofs Proofs

	// KeySets are the keys that clients keep elsewhere. nil: those clients have none.
	KeySets KeySets

	Clock   clock.Clock           // nil: clock.System
	Logger  *slog.Logger          // nil: no log
	Metrics prometheus.Registerer // nil: not exported

	// Issuer is the URL that clients know this installation by, without a slash at its end.
	Issuer string
	// Audience is the aud of tokens for which nobody asked for another. Empty: the issuer.
	Audience string
	// Realms of this installation. nil: the standard ones.
	Realms *realm.Set
	// SlashRealms shows realms as /services in tokens and answers. Both spellings are accepted in any case.
	SlashRealms bool
	// Lifetimes of tokens by realm and grant, and their bounds. The zero value has the defaults.
	Lifetimes registry.Lifetimes
	// CachedTokens is how many verified tokens are remembered. 0: 20000, which is some 20 MB when full.
	CachedTokens int
	// RevocationSalt is put before what is hashed for verifiers that read the feed of revocations.
	RevocationSalt redact.Secret
	// TokensOfClient is how many tokens of one client are revoked one by one at a time. 0: 10000.
	TokensOfClient int
	// Caller finds out who sends a request that shows no access token of ours: an administrator may revoke what others
	// may not. nil: nobody is one.
	Caller func(r *http.Request) (access.Caller, error)
	// Registration tells that clients can register themselves at /oauth2/register.
	Registration bool
	// Version of the program, for the health answer.
	Version string

	// People makes it serve people as well: authorization codes, consent, refresh tokens, OpenID Connect. nil: services
	// alone.
	People *PeopleOptions
}

// Server is the authorization server. Make it before the database's feed starts, then Load, then Run.
type Server struct {
	db       *db.DB
	clients  Clients
	users    Users
	keys     Keys
	secrets  SharedSecrets // nil: none
	proofs   Proofs        // nil: nobody notes them
	keySets  KeySets       // nil: no client has keys elsewhere
	used     *replayGuard
	trust    *trust
	clock    clock.Clock
	log      *slog.Logger
	metrics  *metrics
	journal  *journal
	limiter  *limiter
	revoked  *revocations
	verifier *Verifier

	issuer      string
	audience    []string
	realms      *realm.Set
	slash       bool
	lifetimes   registry.Lifetimes
	version     string
	issuerClaim []byte // the begin of each token's payload
	metadata    atomic.Pointer[metadataDocument]

	salt           redact.Secret
	tokensOfClient int
	caller         func(r *http.Request) (access.Caller, error)
	feeds          chan struct{} // a reader of the revocations holds one
	registration   bool

	header atomic.Pointer[encodedHeader] // of the tokens that the active key signs

	people *people // nil: services alone
}

// New makes a Server. It reads nothing yet.
func New(o Options) (*Server, error) {
	if o.DB == nil || o.Clients == nil || o.Users == nil || o.Keys == nil {
		return nil, errors.New("oauth: DB, Clients, Users and Keys must be set")
	}
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(o.Issuer, "/") {
		return nil, fmt.Errorf("oauth: the issuer %q is not a URL without query, fragment and final slash", o.Issuer)
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.Audience == "" {
		o.Audience = o.Issuer
	}
	if o.TokensOfClient <= 0 {
		o.TokensOfClient = maxTokensOfClient
	}
	if o.Caller == nil {
		o.Caller = func(*http.Request) (access.Caller, error) { return access.Caller{}, nil }
	}
	if o.Realms == nil {
		o.Realms = realm.Standard()
	}
	if o.CachedTokens <= 0 {
		o.CachedTokens = 20000
	}
	if err := o.Lifetimes.Check(); err != nil {
		return nil, fmt.Errorf("oauth: %w", err)
	}
	s := &Server{
		db: o.DB, clients: o.Clients, users: o.Users, keys: o.Keys, secrets: o.Secrets, proofs: o.Proofs, keySets: o.KeySets, used: newReplayGuard(o.DB), clock: o.Clock, log: o.Logger,
		metrics: newMetrics(o.Metrics), journal: newJournal(o.DB, o.Clock, o.Logger), limiter: newLimiter(o.Clock),
		revoked: newRevocations(o.DB),
		issuer:  o.Issuer, audience: []string{o.Audience}, realms: o.Realms, slash: o.SlashRealms, lifetimes: o.Lifetimes, version: o.Version,
		salt: o.RevocationSalt, tokensOfClient: o.TokensOfClient, caller: o.Caller, feeds: make(chan struct{}, feedsAtOnce),
		issuerClaim: appendText([]byte(`{"iss":`), o.Issuer), registration: o.Registration,
	}
	s.verifier = &Verifier{keys: o.Keys, clients: o.Clients, clock: o.Clock, issuer: o.Issuer, realms: o.Realms, revoked: s.revoked, cache: newTokenCache(o.CachedTokens)}
	s.trust = newTrust(s)
	s.gauges(o.Metrics)
	if o.People != nil {
		if err := s.servePeople(*o.People); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Verifier is what other packages ask about access tokens.
func (s *Server) Verifier() *Verifier { return s.verifier }

// Load reads what must be known before a token may be called valid. Call it once the database's feed runs, so that
// nothing falls between the two.
func (s *Server) Load(ctx context.Context) error { return s.revoked.load(ctx) }

// Run writes the journal and keeps the revocations fresh until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.journal.run(ctx)
	}()
	s.keepRevocations(ctx)
	<-done
	return nil
}

// keepRevocations loads again when the feed has lost track, and forgets what has expired.
func (s *Server) keepRevocations(ctx context.Context) {
	const retry = time.Second
	prune := time.NewTicker(time.Minute)
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.revoked.again:
			if err := s.revoked.load(ctx); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "the revoked tokens could not be loaded again; those known still count", "error", err)
				time.AfterFunc(retry, func() { s.revoked.hear(nil) })
			}
		case <-prune.C:
			s.revoked.prune(s.clock.Now())
		}
	}
}

// Sweep removes what has expired.
func (s *Server) Sweep(ctx context.Context) error {
	_, err := s.db.RemoveExpired(ctx, s.expiries()...)
	return err
}

// expiries say which rows nobody needs any more: revocations of tokens that have expired, used assertions, requests that
// wait for nobody, grants that are over. Ended grants stay until no token of theirs can be good.
func (s *Server) expiries() []db.Expiry {
	const keep = time.Hour // for clocks that differ
	list := []db.Expiry{
		{Table: "revoked_tokens", Key: "jti", Column: "expires", Keep: keep},
		{Table: "revocations", Key: "id", Column: "expires", Keep: keep},
		{Table: "used_assertions", Key: "hash", Column: "expires", Keep: usedKeep},
	}
	if s.people == nil {
		return list
	}
	return append(list,
		db.Expiry{Table: "pushed_requests", Key: "handle", Column: "expires", Keep: keep},
		db.Expiry{Table: "authorization_flows", Key: "handle", Column: "expires", Keep: keep},
		db.Expiry{Table: "grants", Key: "id", Column: "idle_until", Keep: keep},
		db.Expiry{Table: "logout_notices", Key: "id", Column: "expires", Keep: keep},
		db.Expiry{Table: "device_authorizations", Key: "device_mac", Column: "expires", Keep: keep},
		db.Expiry{Table: "device_guesses", Key: "who", Column: "since", Keep: keep},
	)
}

// Ready answers why this node cannot issue and check tokens yet, or nil.
func (s *Server) Ready(ctx context.Context) error {
	if !s.revoked.loaded.Load() {
		return errors.New("the revoked tokens are not loaded yet")
	}
	if _, err := s.keys.Signer(ctx); err != nil {
		return fmt.Errorf("no signing key: %w", err)
	}
	return nil
}

// outward is the realm as answers show it.
func (s *Server) outward(realm string) string {
	if s.slash {
		return "/" + realm
	}
	return realm
}

// realmNamed finds the realm of a grant or request that was checked before.
func (s *Server) realmNamed(name string) realm.Realm {
	r, err := s.realms.Lookup(name)
	if err != nil {
		return realm.Realm{Name: name, Kind: realm.People} // not of this configuration any more; people's tokens are the shorter ones
	}
	return r
}

// accessLife is how long an access token lives that the client gets by the grant.
func (s *Server) accessLife(c Client, realmName, grant string) time.Duration {
	return s.lifetimes.Access(c.Metadata, s.realmNamed(realmName), grant).For
}
