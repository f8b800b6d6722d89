// Package rotation gives applications new credentials, brings them to their destinations, and takes the old ones away.
//
// What it guards, for each credential (a kind, such as the service password, of an application):
//   - Valid before visible: verifiers accept a version from the commit that makes it; only then is it written anywhere.
//   - At every instant, whatever lies at a destination or on an application's disk is accepted: the old version is refused
//     only when every destination shows a later one and the evidence of package lifecycle allows it, or at the hard limit,
//     with an alert.
//   - One open change, over all nodes. A job's claim keeps nodes apart most of the time; what guards is that every step
//     decides again inside its serializable transaction, under the job's fence, and changes the credential's row only at
//     the epoch that it decided on. A partial unique index stands behind that.
//   - A failure never makes, widens or destroys a credential. A step that fails is done again, with the same version.
//   - The document in clear exists in memory and at its destinations; while the version is prepared, sealed in its row.
//   - Destinations are written, never read or listed: a role that may only put is enough.
//
// The stored form is in migration 00010; what a crash at each step leaves behind is in docs/faults-rotation.md.
//
// A step is decided by a pure function over what is stored (decide.go) and done by one transaction (step.go), or by puts
// to destinations with a record after each (deliver.go). There is no wait between preparing a version and publishing it:
// other nodes may hold verifiers that are a second old, but a verifier reads the database again before it refuses anyone,
// so the version is accepted everywhere from its commit on.
package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
	"github.com/mintmark/mintmark/internal/objstore"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/seal"
)

// JobKind is the kind of the jobs whose Handler is Service.Rotate. A job's key is application, slash, kind.
const JobKind = "rotate"

// Kind is one kind of credential that rotates. Each method works in the transaction that it is given and has no other
// effect, since a transaction may run several times. Versions of an application are numbers that only grow.
type Kind interface {
	// Name tells kinds apart, such as "service-password".
	Name() string
	// Object is the name of the document at a destination, below the application's prefix, such as "user.json".
	Object() string
	// Prepare makes the version: its verifier accepts it from the commit on, beside those before it. It returns the
	// document for the destinations, which from then on is the caller's.
	Prepare(ctx context.Context, tx db.WriteTx, app string, version int64) (document redact.Secret, err error)
	// Activate tells that every destination shows the version.
	Activate(ctx context.Context, tx db.WriteTx, app string, version int64) error
	// Retire refuses the version from the commit on, at most a second late, and erases its verifier. Retiring what is
	// retired already is no error.
	Retire(ctx context.Context, tx db.WriteTx, app string, version int64) error
	// LastUsed tells by version when it was last seen in use; versions that never were are not in the map.
	LastUsed(ctx context.Context, tx db.ReadTx, app string) (map[int64]time.Time, error)
}

// Fixed is a Kind some of whose documents hold no secret, such as that of a public client: they are written when a
// destination lacks them or somebody asks, but not because time has passed.
type Fixed interface {
	Fixed(ctx context.Context, tx db.ReadTx, app string) (bool, error)
}

// Revocable is a Kind whose versions others may refuse too, in a transaction that ends with Plan: the secrets of a client
// that becomes public. Accepts lists the versions that are left.
type Revocable interface {
	Accepts(ctx context.Context, tx db.ReadTx, app string) ([]int64, error)
}

// Applications tells what rotation must know of an application. A missing one is a fault of kind NotFound.
type Applications interface {
	Team(ctx context.Context, tx db.ReadTx, app string) (team string, active bool, err error)
}

// Buckets is an Applications that knows whom buckets belong to, as far as anybody can: Deliver refuses one that another
// team owns, or else whoever may write for one application could have the mint write to anybody's bucket.
type Buckets interface {
	Deliver(ctx context.Context, tx db.ReadTx, team string, d Destination) error
}

// Stores opens the configured stores by name. Opening is cheap and the answer may be used at the same time by many.
type Stores interface {
	Open(name string) (objstore.Store, error)
	Names() []string
}

// Options for New. The zero value of each field but the first three is ready to use.
type Options struct {
	Kinds        []Kind
	Applications Applications
	Stores       Stores

	// Node names this server among those that report what they observe (see Watch): the same name after a restart, and
	// never one that another living process has, since a name that comes again tells that its earlier bearer is dead.
	// Empty: nobody reports, and each start of a Service counts as a gap in the observation.
	Node     string
	Policies map[string]lifecycle.Policy // by kind; a kind without one has DefaultPolicy
	Clock    clock.Clock                 // for calls to stores; due times are the database's
	Logger   *slog.Logger
	Metrics  prometheus.Registerer

	CallTimeout time.Duration // of one put. Default: 10s
	Slots       int           // puts to one bucket at once. Default: 4
	MinBackoff  time.Duration // after a destination's first failure. Default: 1s
	MaxBackoff  time.Duration // between tries of one that keeps failing. Default: 10m
}

// DefaultPolicy is the policy of a kind that Options has none for.
func DefaultPolicy(kind string) lifecycle.Policy {
	p := lifecycle.Policy{Period: 2 * time.Hour, Grace: 30 * time.Minute, MaxOverlap: 24 * time.Hour, MaxLive: 4}
	if kind == "client-secret" {
		p.Period = 30 * 24 * time.Hour
	}
	return p
}

// Service rotates credentials. Its methods may be called at the same time.
type Service struct {
	db       *db.DB
	keyring  *seal.Keyring
	o        Options
	kinds    []Kind // in the order given
	policies map[string]lifecycle.Policy
	slots    slots
	pace     pace
	metrics  metrics
	log      *slog.Logger
	caller   access.Caller
	held     func(ctx context.Context, tx db.WriteTx, j jobs.Job) error // jobs.Held; tests claim by themselves
}

// New makes a Service. It touches the database only when asked to.
func New(d *db.DB, k *seal.Keyring, o Options) (*Service, error) {
	o.Clock = orElse(o.Clock, clock.System)
	o.Logger = orElse(o.Logger, slog.New(slog.DiscardHandler))
	o.CallTimeout = orElse(o.CallTimeout, 10*time.Second)
	o.Slots = orElse(o.Slots, 4)
	o.MinBackoff = orElse(o.MinBackoff, time.Second)
	o.MaxBackoff = orElse(o.MaxBackoff, 10*time.Minute)
	s := &Service{
		db: d, keyring: k, o: o, kinds: o.Kinds, policies: map[string]lifecycle.Policy{},
		log: o.Logger, caller: access.SystemCaller("rotation"), held: jobs.Held,
	}
	s.slots.limit = o.Slots
	for _, kind := range o.Kinds {
		p, ok := o.Policies[kind.Name()]
		if !ok {
			p = DefaultPolicy(kind.Name())
		}
		if err := p.Check(); err != nil {
			return nil, fmt.Errorf("policy of %s: %w", kind.Name(), err)
		}
		if _, twice := s.policies[kind.Name()]; twice || kind.Name() == "" || strings.Contains(kind.Name(), "/") {
			return nil, fmt.Errorf("rotation: kind %q cannot be told apart", kind.Name())
		}
		s.policies[kind.Name()] = p
	}
	for name := range o.Policies {
		if _, ok := s.policies[name]; !ok {
			return nil, fmt.Errorf("rotation: there is a policy for %q, but no such kind", name)
		}
	}
	s.pace = paceOf(s.policies)
	var err error
	s.metrics, err = newMetrics(s, o.Metrics)
	return s, err
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

func (s *Service) kind(name string) Kind {
	for _, k := range s.kinds {
		if k.Name() == name {
			return k
		}
	}
	return nil
}

func jobKey(app, kind string) string { return app + "/" + kind }

// Start tells that this node observes uses from now on, and plans jobs anew where the configured policy is not the one
// that they were planned by. Call it before jobs run and before anybody can log in.
func (s *Service) Start(ctx context.Context) error {
	var err error
	if s.o.Node == "" {
		err = s.ObservationGap(ctx)
	} else if err = s.succeed(ctx); err == nil {
		err = s.report(ctx, clock.Stopwatch())
	}
	if err != nil {
		return err
	}
	for _, k := range s.kinds {
		if err := s.replan(ctx, k.Name()); err != nil {
			return fmt.Errorf("plan rotations of %s: %w", k.Name(), err)
		}
	}
	return nil
}

// replanned is how many jobs one transaction plans anew: each must be short, however many applications there are.
const replanned = 200

func (s *Service) replan(ctx context.Context, kind string) error {
	policy := fmt.Sprintf("%+v", s.policies[kind])
	var apps []string
	err := s.db.Read(ctx, func(tx db.ReadTx) error {
		var known string
		err := tx.QueryRow(ctx, `SELECT policy FROM rotation_policies WHERE kind = $1`, kind).Scan(&known)
		if err != nil && !errors.Is(err, db.ErrNoRows) || known == policy {
			return err
		}
		apps, err = liveApplications(ctx, tx, kind)
		return err
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(apps, replanned) {
		err := s.db.Write(ctx, func(tx db.WriteTx) error {
			for _, app := range some {
				c, err := load(ctx, tx, app, kind)
				if err != nil {
					return err
				}
				if c == nil || !c.live {
					continue // deactivated since: its job must not come back
				}
				if err := jobs.Schedule(ctx, tx, JobKind, jobKey(app, kind), tx.Now()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// Last: a start that is interrupted plans once more. Applications made meanwhile were planned by their own change.
	return s.db.Write(ctx, func(tx db.WriteTx) error {
		_, err := tx.Exec(ctx, `INSERT INTO rotation_policies (kind, policy) VALUES ($1, $2)
			ON CONFLICT (kind) DO UPDATE SET policy = excluded.policy WHERE rotation_policies.policy <> excluded.policy`, kind, policy)
		return err
	})
}
