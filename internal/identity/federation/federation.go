// Package federation lets people sign in with OpenID providers of others, and knows who somebody there is here.
//
// What it guards:
//   - Who somebody is tells the pair of provider and sub, and nothing else. One such identity is one person here at most, and
//     a row says which (link.go). No claim that a person may choose at the provider leads to an account: an address does so
//     only if the provider has verified it, an administrator has named the provider as the one that has the word for its
//     domain, and the account here has verified the same address; and never to an administrator's account.
//   - An answer of a provider counts once, in the browser that was sent there, at the address of the provider that it was
//     sent to, and if the provider names itself as the one (flow.go; RFC 9207). The code is good with the verifier that only
//     that browser has (RFC 7636), the token with the nonce that only that login has.
//   - A token is believed after all that OpenID Connect Core 1.0 section 3.1.3.7 asks for, with keys that come from the
//     provider's own key set (token.go, source.go).
//   - Every call goes through package outbound, a few at once for each provider: one that is slow or down holds up its own
//     people and nobody else. What it answers is read within bounds, and never makes an error of ours.
//   - What a login there is worth here, an administrator says: a second factor that was used there counts only if the policy
//     of the provider says so, and when somebody signed in there is what we say of the session.
//   - What else it says of people, their groups and attributes, counts by package sourced as far as an administrator's rules
//     name it.
//   - Linking needs proof of both: a login with the provider, and a session here whose person has just proved to be it.
//
// Stored form: login_providers, linked_identities, upstream_logins, upstream_sessions; see their migration. The client
// secret is sealed for its row and never told.
package federation

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/identity/sourced"
	"github.com/mintmark/mintmark/internal/keys"
	"github.com/mintmark/mintmark/internal/keyset"
	"github.com/mintmark/mintmark/internal/outbound"
	"github.com/mintmark/mintmark/internal/seal"
)

// Outbound calls providers (outbound.Client).
type Outbound interface {
	Do(ctx context.Context, r outbound.Request) (outbound.Answer, error)
	CheckURL(raw string) error
}

// Signers are the keys with which this server proves to providers who it is (keys.Ring).
type Signers interface {
	Signer(ctx context.Context) (keys.Signer, error)
	SignerFor(ctx context.Context, alg keys.Alg) (keys.Signer, error)
	Algs() []keys.Alg
}

// Options configure a Service.
type Options struct {
	Issuer   string // public address of this server; redirect URIs begin with it
	Outbound Outbound
	Signers  Signers
	Sessions *session.Manager
	Sourced  *sourced.Service // nil: providers give neither groups nor attributes
	Clock    clock.Clock      // nil: clock.System
	Logger   *slog.Logger     // nil: no log
}

// Service signs people in with providers.
type Service struct {
	d         *db.DB
	keyring   *seal.Keyring
	dir       *identity.Directory
	o         Options
	providers *db.Cache[[]Provider]
	keys      *keyset.Sets // of the providers
	limit     func(ip string) error
	changed   []ChangeHook
	refusals  func(c access.Caller, op string, err error)

	mu      sync.Mutex
	sources map[string]*source // by id and issuer of the provider; owned by mu
}

// loginsPerAddress is how many logins one address may send to providers within ten minutes.
const loginsPerAddress = 120

// New makes a Service. It must be made before the database's feed starts.
func New(d *db.DB, keyring *seal.Keyring, dir *identity.Directory, o Options) *Service {
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Issuer = strings.TrimSuffix(o.Issuer, "/")
	s := &Service{d: d, keyring: keyring, dir: dir, o: o, sources: map[string]*source{}, refusals: func(access.Caller, string, error) {}}
	s.providers = db.NewCache(d, topic, 1, func(ctx context.Context, tx db.ReadTx, _ string) ([]Provider, error) { return listProviders(ctx, tx) })
	s.keys = keyset.New(keyset.Options{Outbound: o.Outbound, Clock: o.Clock, Logger: o.Logger, Capacity: maxSources, Purpose: "provider_keys", Read: usableKeys})
	s.limit = dir.LimitAddresses(loginsPerAddress, "Your address began very many logins. Please wait before you try again.")
	dir.OnPersonRemoved(s.forget)
	return s
}

// Change is one change of who somebody of a provider is here.
type Change struct {
	User     identity.User
	Provider string // as people know it
	Linked   bool   // else unlinked
	By       access.Caller
}

// ChangeHook is told of a change in its transaction, which may run several times.
type ChangeHook func(ctx context.Context, tx db.WriteTx, c Change) error

// OnLinksChanged registers who is told of changes. Register before serving.
func (s *Service) OnLinksChanged(f ChangeHook) { s.changed = append(s.changed, f) }

// OnRefused registers who is told of refused logins; f runs by itself, so that no answer waits for it.
func (s *Service) OnRefused(f func(c access.Caller, op string, err error)) { s.refusals = f }

func (s *Service) tell(ctx context.Context, tx db.WriteTx, c Change) error {
	for _, hook := range s.changed {
		if err := hook(ctx, tx, c); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes logins that nobody can go on with, and what people have still of providers that are no more.
func (s *Service) Sweep(ctx context.Context) error {
	_, err := s.d.RemoveExpired(ctx, db.Expiry{Table: "upstream_logins", Key: "id", Column: "expires"})
	return errors.Join(err, s.endOrphans(ctx))
}
