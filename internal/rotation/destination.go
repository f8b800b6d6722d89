package rotation

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
)

// DefaultStore is the store of a destination that names none: the embedded one.
const DefaultStore = "local"

// Destination is a bucket in a store. Its text is store/bucket.
type Destination struct {
	Store, Bucket string
}

func (d Destination) String() string { return d.Store + "/" + d.Bucket }

// Added is a destination of an application, and who added it.
type Added struct {
	Destination
	At time.Time
	By string
}

var (
	storeGrammar  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	bucketGrammar = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
)

// ParseDestination reads store/bucket, or a bare bucket in the embedded store. It knows the grammar, not the stores.
func ParseDestination(text string) (Destination, error) {
	store, bucket, found := strings.Cut(text, "/")
	if !found {
		store, bucket = DefaultStore, text
	}
	if !storeGrammar.MatchString(store) {
		return Destination{}, fault.New(fault.Invalid, "invalid_store", "%s is not the name of a store: it has lower-case letters, digits and hyphens. A destination is written store/bucket.", quoted(store))
	}
	// A bucket's name is a directory's in some stores; two dots are never part of one.
	if !bucketGrammar.MatchString(bucket) || strings.Contains(bucket, "..") {
		return Destination{}, fault.New(fault.Invalid, "invalid_bucket", "%s is not the name of a bucket: it has 3 to 63 lower-case letters, digits, dots and hyphens, and begins and ends with a letter or digit. A destination is written store/bucket.", quoted(bucket))
	}
	return Destination{store, bucket}, nil
}

// quoted is input as it may be shown again: short, and without control characters.
func quoted(s string) string {
	return "“" + clean(s, 80) + "”"
}

// clean makes one printable line of at most n bytes.
func clean(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}

// check refuses a destination in a store that is not configured.
func (s *Service) check(d Destination) error {
	if names := s.o.Stores.Names(); !slices.Contains(names, d.Store) {
		slices.Sort(names)
		return fault.New(fault.Invalid, "unknown_store", "There is no store %s. The stores are: %s.", quoted(d.Store), strings.Join(names, ", "))
	}
	return nil
}

// allow asks whether the caller may do this with the application.
func (s *Service) allow(ctx context.Context, tx db.ReadTx, c access.Caller, a access.Action, app string) (active bool, err error) {
	if err := access.Allow(c, access.ReadRegistry, access.Target{}); fault.Is(err, fault.Unauthenticated) {
		return false, err // before a stranger learns what exists
	}
	team, active, err := s.o.Applications.Team(ctx, tx, app)
	if err != nil {
		return false, err
	}
	return active, access.Allow(c, a, access.Target{Type: "application", ID: app, Team: team})
}

// deliverable refuses a bucket of another team, but not to who may manage them all.
func (s *Service) deliverable(ctx context.Context, tx db.ReadTx, c access.Caller, app string, d Destination) error {
	buckets, ok := s.o.Applications.(Buckets)
	if !ok || access.Allow(c, access.ManageStorage, access.Target{Type: "bucket", ID: d.Bucket}) == nil {
		return nil
	}
	team, _, err := s.o.Applications.Team(ctx, tx, app)
	if err != nil {
		return err
	}
	return buckets.Deliver(ctx, tx, team, d)
}

// AddDestination adds a destination; adding it again changes nothing. The version that is prepared goes there too;
// without one, a rotation is asked for at once, because the active version's document is not kept.
func (s *Service) AddDestination(ctx context.Context, tx db.WriteTx, c access.Caller, app string, d Destination) (created bool, err error) {
	if _, err := s.allow(ctx, tx, c, access.WriteApplication, app); err != nil {
		return false, err
	}
	if err := s.check(d); err != nil {
		return false, err
	}
	if err := s.deliverable(ctx, tx, c, app, d); err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, `INSERT INTO rotation_destinations (application, store, bucket, added_at, added_by) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (application, store, bucket) DO NOTHING`, app, d.Store, d.Bucket, db.Micros(tx.Now()), c.String())
	if err != nil || n == 0 {
		return false, err
	}
	for _, k := range s.kinds {
		cr, err := load(ctx, tx, app, k.Name())
		if err != nil {
			return false, err
		}
		if cr == nil || !cr.live {
			continue // Plan adds the deliveries
		}
		if err := expect(insertDelivery(ctx, tx, app, k.Name(), d)); err != nil {
			return false, err
		}
		if cr.open() == nil && cr.active() != nil {
			if err := s.ask(ctx, tx, cr, wish{tx.Now(), c.String(), whyDestination}); err != nil {
				return false, err
			}
		}
		if err := jobs.Schedule(ctx, tx, JobKind, jobKey(app, k.Name()), tx.Now()); err != nil {
			return false, err
		}
	}
	return true, audit.Done(ctx, tx, c, "destination.add", "application", app, map[string]any{"destination": d.String()})
}

// RemoveDestination takes a destination away. What lies there stays there and is not renewed; when it was the last that
// lacked the open version, that version becomes active.
func (s *Service) RemoveDestination(ctx context.Context, tx db.WriteTx, c access.Caller, app string, d Destination) error {
	if _, err := s.allow(ctx, tx, c, access.WriteApplication, app); err != nil {
		return err
	}
	n, err := tx.Exec(ctx, `DELETE FROM rotation_destinations WHERE application = $1 AND store = $2 AND bucket = $3`, app, d.Store, d.Bucket)
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.New(fault.NotFound, "destination_not_found", "The application %s has no destination %s.", quoted(app), quoted(d.String()))
	}
	for _, k := range s.kinds {
		cr, err := load(ctx, tx, app, k.Name())
		if err != nil {
			return err
		}
		if cr == nil || !cr.live {
			continue
		}
		if err := jobs.Schedule(ctx, tx, JobKind, jobKey(app, k.Name()), tx.Now()); err != nil {
			return err
		}
	}
	return audit.Done(ctx, tx, c, "destination.remove", "application", app, map[string]any{"destination": d.String()})
}

// Destinations lists an application's destinations, sorted.
func (s *Service) Destinations(ctx context.Context, tx db.ReadTx, c access.Caller, app string) ([]Added, error) {
	if _, err := s.allow(ctx, tx, c, access.ReadRotation, app); err != nil {
		return nil, err
	}
	return listDestinations(ctx, tx, app)
}
