package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// Plan makes an active application's credentials rotate; calling it again changes nothing. Call it in the transaction
// that makes or changes the application.
func (s *Service) Plan(ctx context.Context, tx db.WriteTx, app string) error {
	destinations, err := listDestinations(ctx, tx, app)
	if err != nil {
		return err
	}
	for _, k := range s.kinds {
		// A tombstone comes back to life with its numbers, so that no version is ever given twice.
		_, err := tx.Exec(ctx, `INSERT INTO rotation_credentials (application, kind, epoch, live, last_version, activated_at,
				asked_at, asked_by, asked_for, problem, problem_since, failures, updated_at)
			VALUES ($1, $2, 0, TRUE, 0, 0, 0, '', '', '', 0, 0, $3)
			ON CONFLICT (application, kind) DO UPDATE SET live = TRUE, epoch = rotation_credentials.epoch + 1, updated_at = excluded.updated_at
			WHERE NOT rotation_credentials.live`, app, k.Name(), db.Micros(tx.Now()))
		if err != nil {
			return err
		}
		for _, d := range destinations {
			if _, err := insertDelivery(ctx, tx, app, k.Name(), d.Destination); err != nil {
				return err
			}
		}
		if err := s.dropRevoked(ctx, tx, app, k); err != nil {
			return err
		}
		if err := jobs.Schedule(ctx, tx, JobKind, jobKey(app, k.Name()), tx.Now()); err != nil {
			return err
		}
	}
	return nil
}

// dropRevoked follows the versions that others refused: they are retired here too, an open one is abandoned, and a new one
// is asked for at once. Otherwise an open version could never be committed, and the active one, of which the destinations
// have nothing but what is refused, would stay until its period is over.
func (s *Service) dropRevoked(ctx context.Context, tx db.WriteTx, app string, k Kind) error {
	r, ok := k.(Revocable)
	if !ok {
		return nil
	}
	c, err := load(ctx, tx, app, k.Name())
	if err != nil || c == nil || len(c.versions) == 0 {
		return err
	}
	left, err := r.Accepts(ctx, tx, app)
	if err != nil {
		return fmt.Errorf("ask which versions are accepted: %w", err)
	}
	revoked := false
	for _, v := range c.versions {
		if slices.Contains(left, v.number) {
			continue
		}
		revoked = true
		if err := move(ctx, tx, c, v.number, v.state, lifecycle.Retired, false); err != nil {
			return err
		}
		if err := s.record(ctx, tx, "credential.retire", c, v.number, map[string]any{"reason": "revoked"}); err != nil {
			return err
		}
		if v.state != lifecycle.Retiring && c.asked.at.IsZero() {
			c.asked = wish{tx.Now(), "rotation", whyChanged}
		}
	}
	if !revoked {
		return nil
	}
	return change(ctx, tx, c)
}

// Deactivate refuses every version of the application's credentials and ends their rotation, for good: no step of any
// node that is under way does anything any more. Call it in the transaction that makes the application inactive. Plan
// begins anew, with new versions.
func (s *Service) Deactivate(ctx context.Context, tx db.WriteTx, app string) error {
	for _, k := range s.kinds {
		c, err := load(ctx, tx, app, k.Name())
		if err != nil {
			return err
		}
		if c == nil || !c.live {
			continue
		}
		for _, v := range c.versions {
			if err := k.Retire(ctx, tx, app, v.number); err != nil {
				return err
			}
			if err := move(ctx, tx, c, v.number, v.state, lifecycle.Retired, false); err != nil {
				return err
			}
			if err := s.record(ctx, tx, "credential.retire", c, v.number, map[string]any{"reason": "deactivated"}); err != nil {
				return err
			}
		}
		err = expect(tx.Exec(ctx, `UPDATE rotation_credentials SET live = FALSE, epoch = epoch + 1, activated_at = 0, asked_at = 0,
				asked_by = '', asked_for = '', problem = '', problem_since = 0, failures = 0, updated_at = $4
			WHERE application = $1 AND kind = $2 AND epoch = $3 AND live`, app, k.Name(), c.epoch, db.Micros(tx.Now())))
		if err != nil {
			return err
		}
		// As many rows as there are destinations, perhaps none.
		_, err = tx.Exec(ctx, `UPDATE rotation_deliveries SET version = 0, delivered_at = 0, failures = 0, failing_since = 0,
				error_code = '', error = '', next_try = 0
			WHERE application = $1 AND kind = $2`, app, k.Name())
		if err != nil {
			return err
		}
		if err := jobs.Cancel(ctx, tx, JobKind, jobKey(app, k.Name())); err != nil {
			return err
		}
	}
	return nil
}

// AskRotation asks for a rotation now of the given kinds, or of all. Asking again before it has begun changes nothing;
// asking while one is open makes one more afterwards.
func (s *Service) AskRotation(ctx context.Context, tx db.WriteTx, c access.Caller, app string, kinds []string) error {
	active, err := s.allow(ctx, tx, c, access.RotateCredentials, app)
	if err != nil {
		return err
	}
	var names []string
	for _, k := range s.kinds {
		names = append(names, k.Name())
	}
	for _, name := range kinds {
		if !slices.Contains(names, name) {
			return fault.New(fault.Invalid, "unknown_kind", "There is no kind of credential %s. The kinds are: %s.", quoted(name), strings.Join(names, ", "))
		}
	}
	if !active {
		return fault.New(fault.Conflict, "application_inactive", "The application %s is not active: its credentials do not rotate.", quoted(app))
	}
	if len(kinds) == 0 {
		kinds = names
	}
	for _, name := range names {
		if !slices.Contains(kinds, name) {
			continue
		}
		cr, err := load(ctx, tx, app, name)
		if err != nil {
			return err
		}
		if cr == nil || !cr.live {
			return errors.Join(errStale, fault.New(fault.Conflict, "application_not_planned", "The credentials of %s are not planned yet. Try again in a moment.", quoted(app)))
		}
		if len(cr.deliveries) == 0 {
			return fault.New(fault.Conflict, "no_destination", "The application %s has no destination: nothing would be rotated. Add one first.", quoted(app))
		}
		if !cr.asked.at.IsZero() {
			continue
		}
		cr.asked = wish{tx.Now(), c.String(), whyAsked}
		if err := change(ctx, tx, cr); err != nil {
			return err
		}
		if err := jobs.Schedule(ctx, tx, JobKind, jobKey(app, name), tx.Now()); err != nil {
			return err
		}
		err = audit.Done(ctx, tx, c, "credential.rotate", "application", app, map[string]any{"kind": name, "reason": whyAsked})
		if err != nil {
			return err
		}
	}
	return nil
}
