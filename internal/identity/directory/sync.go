package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/jobs"
)

// JobKind is the job that compares a realm with its directory; its key is the realm.
const JobKind = "directory.sync"

// JobPolicy is how it is done.
var JobPolicy = jobs.Policy{Concurrency: 2, Timeout: 30 * time.Minute, BackoffMin: time.Minute, BackoffMax: 30 * time.Minute}

// How a comparison ends.
const (
	Done   = "done"
	Held   = "held" // somebody is gone, and nobody was disabled: see Why
	Failed = "failed"
)

// Report is what a comparison found and did, or, of a trial, would do.
type Report struct {
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished"`
	Outcome   string    `json:"outcome"`
	Why       string    `json:"why,omitempty"`
	Entries   int       `json:"entries"`
	People    int       `json:"people"`
	Refreshed int       `json:"refreshed"`
	Enabled   int       `json:"enabled"`
	Disabled  int       `json:"disabled"`
	Skipped   int       `json:"skipped"` // changed meanwhile, or the last administrator
	Gone      int       `json:"gone"`    // who are not in the directory, or disabled there
	Names     []string  `json:"names,omitempty"`
}

const (
	mostNames = 20 // of who is gone, in a report
	batch     = 50 // people in one transaction
)

func (s survey) report(started time.Time, why held) Report {
	r := Report{Started: started, Outcome: Done, Why: string(why), Entries: s.entries, People: s.people, Gone: len(s.gone)}
	if why != "" {
		r.Outcome = Held
	}
	for _, e := range s.gone[:min(len(s.gone), mostNames)] {
		r.Names = append(r.Names, e.Username)
	}
	return r
}

// Plan has each realm be compared when its time comes. It is safe at each start of each node.
func (s *Service) Plan(ctx context.Context) error {
	return s.d.Write(ctx, func(tx db.WriteTx) error {
		for realm, src := range s.realms {
			if src.c.Sync.Every > 0 {
				if err := jobs.Schedule(ctx, tx, JobKind, realm, tx.Now().Add(src.c.Sync.Every)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Handle compares a realm with its directory: the handler of JobKind. What it cannot find out it does not act on.
func (s *Service) Handle(ctx context.Context, j jobs.Job) (jobs.Result, error) {
	src := s.realms[j.Key]
	if src == nil {
		return jobs.Result{}, nil // a directory that was taken out of the configuration
	}
	var now time.Time
	var allow int
	if err := s.d.Read(ctx, func(tx db.ReadTx) (err error) {
		now = tx.Now()
		allow, err = loadAllowed(ctx, tx, j.Key)
		return err
	}); err != nil {
		return jobs.Result{}, err
	}
	r, err := src.sync(ctx, j, now, allow)
	if err != nil {
		r = Report{Started: now, Outcome: Failed, Why: "the directory could not be read, or the database not written: " + causeOf(err)}
	}
	var next time.Time
	if stored := s.d.Write(ctx, func(tx db.WriteTx) error {
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		if r.Finished = tx.Now(); src.c.Sync.Every > 0 {
			next = tx.Now().Add(src.c.Sync.Every)
		}
		return storeReport(ctx, tx, j.Key, r, err == nil)
	}); stored != nil {
		return jobs.Result{}, errors.Join(err, stored)
	}
	s.metrics.compared(j.Key, r)
	if r.Outcome != Done {
		s.o.Logger.WarnContext(ctx, "people were not compared with their directory to the end; nobody was disabled", "realm", j.Key, "outcome", r.Outcome, "gone", r.Gone, "why", r.Why)
	}
	return jobs.Result{Next: next}, err
}

// causeOf is what went wrong, for administrators.
func causeOf(err error) string {
	text := fault.Of(err).Detail
	if cause := fault.Of(err).Err; cause != nil {
		text = cause.Error()
	}
	return text[:min(len(text), 400)]
}

// sync surveys, then acts: first who comes back and what has changed, and last of all who is gone. Each transaction asks
// whether the claim still holds, and reads anew whom it is about, so a crash or a second run between two of them does no
// harm: the next run finds what is left. See docs/faults-directory.md.
func (src *source) sync(ctx context.Context, j jobs.Job, now time.Time, allow int) (Report, error) {
	s, why, err := src.survey(ctx, now, allow)
	if err != nil {
		return Report{}, err
	}
	if err := failpoint.Hit("directory.afterSurvey"); err != nil {
		return Report{}, err
	}
	r := s.report(now, why)
	c := access.SystemCaller("directory")
	if err := inBatches(ctx, src, j, s.back, &r.Enabled, &r.Skipped, func(tx db.WriteTx, e, fresh identity.EntryState) (bool, error) {
		return fresh.Gone, src.s.dir.EntryBack(ctx, tx, c, fresh)
	}, same); err != nil {
		return r, err
	}
	if err := inBatches(ctx, src, j, s.changed, &r.Refreshed, &r.Skipped, func(tx db.WriteTx, e change, fresh identity.EntryState) (bool, error) {
		if err := src.s.dir.RefreshEntry(ctx, tx, c, fresh, e.entry); err != nil {
			return false, err
		}
		return true, src.follow(ctx, tx, c, fresh.UserID, e.said, e.groups)
	}, func(e change) identity.EntryState { return e.person }); err != nil {
		return r, err
	}
	if why != "" {
		return r, nil
	}
	err = inBatches(ctx, src, j, s.gone, &r.Disabled, &r.Skipped, func(tx db.WriteTx, e, fresh identity.EntryState) (bool, error) {
		if !fresh.Seen.Equal(e.Seen) || !fresh.Disabled.IsZero() {
			return false, nil // a login has seen the entry since, or an administrator was faster
		}
		err := src.s.dir.EntryGone(ctx, tx, c, fresh)
		if fault.Code(err) == "last_administrator" {
			return false, nil
		}
		return err == nil, err
	}, same)
	return r, err
}

func same(e identity.EntryState) identity.EntryState { return e }

// inBatches does something to people, a few in one transaction, with what is known of each of them in it.
func inBatches[T any](ctx context.Context, src *source, j jobs.Job, list []T, done, skipped *int, do func(tx db.WriteTx, e T, fresh identity.EntryState) (bool, error), of func(T) identity.EntryState) error {
	for from := 0; from < len(list); from += batch {
		some := list[from:min(from+batch, len(list))]
		var n int
		err := src.s.d.Write(ctx, func(tx db.WriteTx) error {
			n = 0 // the function may run again
			if err := jobs.Held(ctx, tx, j); err != nil {
				return err
			}
			for _, e := range some {
				fresh, ok, err := identity.FindEntry(ctx, tx, src.c.Realm, of(e).Entry)
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				did, err := do(tx, e, fresh)
				if err != nil {
					return err
				}
				if did {
					n++
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		*done += n
		*skipped += len(some) - n
		if err := failpoint.Hit("directory.afterBatch"); err != nil {
			return err
		}
	}
	return nil
}

// loadAllowed is how many people an administrator said the next comparison may disable.
func loadAllowed(ctx context.Context, tx db.ReadTx, realm string) (int, error) {
	var allow int
	err := tx.QueryRow(ctx, `SELECT allow FROM directory_syncs WHERE realm = $1 AND allow_until > $2`, realm, db.Micros(tx.Now())).Scan(&allow)
	if err != nil && !errors.Is(err, db.ErrNoRows) {
		return 0, fmt.Errorf("read how many people may be disabled: %w", err)
	}
	return allow, nil
}

// storeReport keeps how a comparison ended. An administrator's word is used up by one that did not fail.
func storeReport(ctx context.Context, tx db.WriteTx, realm string, r Report, used bool) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write a report: %w", err)
	}
	if err := db.One(tx.Exec(ctx, `INSERT INTO directory_syncs (realm, started, finished, outcome, report, allow, allow_until) VALUES ($1, $2, $3, $4, $5, 0, 0)
		ON CONFLICT (realm) DO UPDATE SET started = excluded.started, finished = excluded.finished, outcome = excluded.outcome, report = excluded.report`,
		realm, db.Micros(r.Started), db.Micros(r.Finished), r.Outcome, string(text))); err != nil {
		return fmt.Errorf("store a report: %w", err)
	}
	if used {
		if _, err := tx.Exec(ctx, `UPDATE directory_syncs SET allow = 0, allow_until = 0 WHERE realm = $1`, realm); err != nil {
			return fmt.Errorf("use an administrator's word up: %w", err)
		}
	}
	if r.Outcome == Done && r.Disabled == 0 && r.Enabled == 0 {
		return nil
	}
	return audit.Record(ctx, tx, audit.Event{Action: "directory.sync", Outcome: map[string]audit.Outcome{Done: audit.Success, Held: audit.Denied, Failed: audit.Failed}[r.Outcome],
		Reason: reasons[r.Outcome], Caller: access.SystemCaller("directory"), TargetType: "realm", TargetID: realm,
		Details: map[string]any{"entries": r.Entries, "people": r.People, "gone": r.Gone, "disabled": r.Disabled, "enabled": r.Enabled}})
}

// reasons are for the audit log.
var reasons = map[string]string{Held: "too_many_gone", Failed: "directory_unavailable"}

// loadReport is how the last comparison ended; ok is false if there was none.
func loadReport(ctx context.Context, tx db.ReadTx, realm string) (r Report, ok bool, err error) {
	var text string
	err = tx.QueryRow(ctx, `SELECT report FROM directory_syncs WHERE realm = $1 AND finished <> 0`, realm).Scan(&text)
	if errors.Is(err, db.ErrNoRows) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &r)
	}
	if err != nil {
		return r, false, fmt.Errorf("read a report: %w", err)
	}
	return r, true, nil
}

// Ask has a realm be compared now. atMost is how many people may be disabled by that, whatever the settings say: the
// administrator's word, which counts once, for an hour.
func (s *Service) Ask(ctx context.Context, tx db.WriteTx, c access.Caller, realm string, atMost int) error {
	if err := access.Allow(c, access.ManageUsers, access.Target{Type: "realm", ID: realm}); err != nil {
		return err
	}
	if s.realms[realm] == nil {
		return noDirectory(realm)
	}
	if atMost > 0 {
		if err := db.One(tx.Exec(ctx, `INSERT INTO directory_syncs (realm, started, finished, outcome, report, allow, allow_until) VALUES ($1, 0, 0, '', '{}', $2, $3)
			ON CONFLICT (realm) DO UPDATE SET allow = excluded.allow, allow_until = excluded.allow_until`, realm, atMost, db.Micros(tx.Now().Add(time.Hour)))); err != nil {
			return fmt.Errorf("store how many people may be disabled: %w", err)
		}
	}
	if err := jobs.Schedule(ctx, tx, JobKind, realm, tx.Now()); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "directory.ask_sync", "realm", realm, map[string]any{"disable_at_most": atMost})
}

// Try tells what a comparison would do now. It changes nothing.
func (s *Service) Try(ctx context.Context, realm string) (Report, error) {
	src := s.realms[realm]
	if src == nil {
		return Report{}, noDirectory(realm)
	}
	now := s.o.Clock.Now()
	found, why, err := src.survey(ctx, now, 0)
	if err != nil {
		return Report{}, err
	}
	r := found.report(now, why)
	r.Finished, r.Refreshed, r.Enabled = s.o.Clock.Now(), len(found.changed), len(found.back)
	if why == "" {
		r.Disabled = r.Gone
	}
	return r, nil
}
