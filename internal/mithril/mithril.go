// Package mithril serves the REST interface of Mithril, for the programs that were written for it: users, roles, clients,
// client types, approvals and tokens in one envelope (docs/mithril.md says what is different and why).
//
// What it guards:
//   - It has no rules of its own about tokens: each is made by package oauth's gate, each code is used and each grant ends
//     in oauth's tables, and people prove themselves to package identity with its throttling.
//   - Nothing but the grant of a token is open to strangers. Whoever shows a token may do what its scopes say: with those
//     of registry.SelfScopes to what is the person's own, with the administrative ones (auth.go) to everything of that
//     kind. Administrative scopes count only in tokens of clients with a type, which administrators alone hand out, and
//     nobody hands out one that he does not hold.
//   - A value of a token or secret is shown once, in the answer that makes it. What is stored is its MAC and the first
//     characters. A value in a path appears in no log, metric or answer.
//   - A deletion and all that goes with it are one transaction, and its tokens are refused from the commit on.
//   - Ids are ours, written as UUIDs; either spelling is taken. One that is malformed names nothing.
package mithril

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/oauth"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/seal"
)

// Options are what the interface works with. DB, Keyring, OAuth, Registry, Identity and Issuer must be set.
type Options struct {
	DB       *db.DB
	Keyring  *seal.Keyring
	OAuth    *oauth.Server
	Registry *registry.Registry
	Identity *identity.Directory
	// Issuer is the public address. Addresses in answers begin with it, never with what a request says.
	Issuer string

	Clock  clock.Clock  // nil: clock.System
	Logger *slog.Logger // nil: no log
	// Realm is where the users of this interface live. "": customers.
	Realm string
	// Admit refuses, with a fault of kind Forbidden or Unauthenticated, a person who must prove more than these methods:
	// such a person gets no token for a password here. nil: a password will do for everybody.
	Admit func(ctx context.Context, tx db.ReadTx, u identity.User, amr []string) error
	// TrustedConsumers are gateways that have checked who calls and say so in X-Consumer-ID and X-Consumer-Scope. They are
	// compared with the peer itself. Empty: those headers mean nothing.
	TrustedConsumers []netip.Prefix
	// UrgentInData repeats urgent inside data, where older clients look for it.
	UrgentInData bool
	// Denied is told of refused operations. nil: nobody is told.
	Denied func(ctx context.Context, c access.Caller, op string, err error)
}

// Service is the interface.
type Service struct{ o Options }

// New makes a Service.
func New(o Options) (*Service, error) {
	if o.DB == nil || o.Keyring == nil || o.OAuth == nil || o.Registry == nil || o.Identity == nil || o.Issuer == "" {
		return nil, errors.New("mithril: DB, Keyring, OAuth, Registry, Identity and Issuer must be set")
	}
	if o.Clock == nil {
		o.Clock = clock.System
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Denied == nil {
		o.Denied = func(context.Context, access.Caller, string, error) {}
	}
	r, err := o.Identity.Realms().Lookup(cmp.Or(o.Realm, realm.Customers))
	if err != nil || r.Kind != realm.People {
		return nil, fmt.Errorf("mithril: %q is no realm of people", o.Realm)
	}
	o.Realm, o.Issuer = r.Name, strings.TrimSuffix(o.Issuer, "/")
	return &Service{o}, nil
}

// Sweep removes the rows of tokens that have expired and of idempotency keys that are over, a little at a time.
func (s *Service) Sweep(ctx context.Context) error {
	const keep = time.Hour // for clocks that differ
	_, err := s.o.DB.RemoveExpired(ctx,
		db.Expiry{Table: "mithril_tokens", Key: "id", Column: "expires", Keep: keep},
		db.Expiry{Table: "mithril_idempotency", Key: "key", Column: "expires", Keep: keep})
	return err
}
