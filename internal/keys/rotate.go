package keys

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// JobKind is the kind of the job that moves keys on; its key is the algorithm.
const JobKind = "signing-key"

// kept is how many retired keys are listed, newest first.
const kept = 50

// Ensure makes the first key, active at once because no verifier has a key set without it, and sees to it that the
// rotation is scheduled. Where the keys so far are of another algorithm, the first of this one is only prepared, and
// they sign until verifiers can know it. It changes nothing where there is nothing to do.
func (r *Ring) Ensure(ctx context.Context) error {
	err := r.d.Write(ctx, func(tx db.WriteTx) error {
		own, other, err := r.keys(ctx, tx)
		if err != nil {
			return err
		}
		caller := access.SystemCaller("keys")
		switch {
		case find(own, lifecycle.Active) != nil:
		case find(other, lifecycle.Active) == nil:
			_, err = r.replace(ctx, tx, caller, own)
		case find(own, lifecycle.Prepared) == nil:
			_, err = r.prepare(ctx, tx, caller, tx.Now().Add(r.o.Lead))
		}
		if err != nil {
			return err
		}
		return jobs.Schedule(ctx, tx, JobKind, string(r.o.Alg), tx.Now()) // the job finds out what is due
	})
	if err != nil {
		return fmt.Errorf("make the first signing key: %w", err)
	}
	return r.Refresh(ctx)
}

// RotationJob is the handler of JobKind: it takes each step that is due and tells when the next one is.
func (r *Ring) RotationJob(ctx context.Context, j jobs.Job) (jobs.Result, error) {
	if j.Key != string(r.o.Alg) {
		return jobs.Result{}, nil // of an algorithm that was in use before: its keys only run out
	}
	var next time.Time
	err := r.d.Write(ctx, func(tx db.WriteTx) error {
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		var err error
		next, err = r.step(ctx, tx, access.SystemCaller("keys"))
		return err
	})
	return jobs.Result{Next: next}, err
}

// keys reads the published keys, oldest first: those of the ring's algorithm, and the others.
func (r *Ring) keys(ctx context.Context, tx db.ReadTx) (own, other []*Info, err error) {
	rows, err := published(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	for i := range rows {
		if rows[i].Alg == r.o.Alg {
			own = append(own, &rows[i].Info)
		} else {
			other = append(other, &rows[i].Info)
		}
	}
	return own, other, nil
}

func find(list []*Info, state lifecycle.State) *Info {
	for _, k := range list {
		if k.State == state {
			return k
		}
	}
	return nil
}

// step does what the schedule asks for at tx.Now() and answers when to come again.
func (r *Ring) step(ctx context.Context, tx db.WriteTx, caller access.Caller) (next time.Time, err error) {
	now := tx.Now()
	if err := r.retireDue(ctx, tx, caller); err != nil {
		return next, err
	}
	own, _, err := r.keys(ctx, tx)
	if err != nil {
		return next, err
	}
	active, prepared := find(own, lifecycle.Active), find(own, lifecycle.Prepared)
	if active == nil && prepared == nil {
		return next, fault.Wrap(ErrNoKey, fault.Internal, "no_signing_key", "No signing key is active.")
	}
	if prepared != nil && !now.Before(prepared.ActivateAt) {
		if err := r.swap(ctx, tx, caller, active, prepared); err != nil {
			return next, err
		}
		active, prepared = prepared, nil
	}
	if active != nil {
		if prepared == nil && !now.Before(active.Activated.Add(r.o.Period/2)) {
			if prepared, err = r.prepare(ctx, tx, caller, later(active.Activated.Add(r.o.Period), now.Add(r.o.Lead))); err != nil {
				return next, err
			}
		}
		if err := r.endOtherAlgorithms(ctx, tx, caller, active); err != nil {
			return next, err
		}
	}
	if prepared != nil {
		next = prepared.ActivateAt
	} else {
		next = active.Activated.Add(r.o.Period / 2)
	}
	retiring, err := r.allRetiring(ctx, tx)
	for _, k := range retiring {
		if k.RetireAt.Before(next) {
			next = k.RetireAt
		}
	}
	return next, err
}

// endOtherAlgorithms lets the keys run out that the configuration no longer asks for. It waits for half a period, so that
// nodes which still have the older configuration while the new one is rolled out are not without a key.
func (r *Ring) endOtherAlgorithms(ctx context.Context, tx db.WriteTx, caller access.Caller, active *Info) error {
	if tx.Now().Before(active.Activated.Add(r.o.Period / 2)) {
		return nil
	}
	_, other, err := r.keys(ctx, tx)
	if err != nil {
		return err
	}
	for _, k := range other {
		switch {
		case k.State == lifecycle.Retiring:
			continue
		case k.State == lifecycle.Prepared: // it has signed nothing
			err = retire(ctx, tx, k, false)
		default:
			err = r.letRetire(ctx, tx, k)
		}
		if err == nil {
			err = record(ctx, tx, caller, "key.retire", *k, "its algorithm is no longer in use")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// letRetire keeps a key published that signs no more: for Lead, in which a late node may still sign with it, and Keep, in
// which what it signed is valid.
func (r *Ring) letRetire(ctx context.Context, tx db.WriteTx, k *Info) error {
	k.Retiring, k.RetireAt = tx.Now(), tx.Now().Add(r.o.Lead+r.o.Keep)
	return move(ctx, tx, k, lifecycle.Retiring, `retiring = $4, retire_at = $5`, db.Micros(k.Retiring), db.Micros(k.RetireAt))
}

// allRetiring reads the retiring keys of every algorithm: those of one that is no longer in use have no other job.
func (r *Ring) allRetiring(ctx context.Context, tx db.ReadTx) ([]*Info, error) {
	own, other, err := r.keys(ctx, tx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Concat(own, other), func(k *Info) bool { return k.State != lifecycle.Retiring }), nil
}

func (r *Ring) retireDue(ctx context.Context, tx db.WriteTx, caller access.Caller) error {
	list, err := r.allRetiring(ctx, tx)
	if err != nil {
		return err
	}
	for _, k := range list {
		if tx.Now().Before(k.RetireAt) {
			continue
		}
		if err := retire(ctx, tx, k, false); err != nil {
			return err
		}
		if err := record(ctx, tx, caller, "key.retire", *k, ""); err != nil {
			return err
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (r *Ring) prepare(ctx context.Context, tx db.WriteTx, caller access.Caller, activateAt time.Time) (*Info, error) {
	k, err := r.insert(ctx, tx, activateAt)
	if err != nil {
		return nil, err
	}
	return &k, record(ctx, tx, caller, "key.prepare", k, "")
}

// swap makes the prepared key the active one, and lets the old one, if there is one, retire.
func (r *Ring) swap(ctx context.Context, tx db.WriteTx, caller access.Caller, active, prepared *Info) error {
	note := "the first of its algorithm"
	if active != nil {
		note = "in place of " + active.Kid
		if err := r.letRetire(ctx, tx, active); err != nil {
			return err
		}
	}
	if err := activate(ctx, tx, prepared); err != nil {
		return err
	}
	return record(ctx, tx, caller, "key.activate", *prepared, note)
}

// Rotate asks for the next key as soon as verifiers can know it: one is prepared unless there is one, and becomes active
// when it has been published for Options.Lead. To ask again meanwhile changes nothing.
func (r *Ring) Rotate(ctx context.Context, tx db.WriteTx, caller access.Caller) (Info, error) {
	if err := access.Allow(caller, access.RotateKeys, access.Target{Type: "signing_key"}); err != nil {
		return Info{}, err
	}
	own, _, err := r.keys(ctx, tx)
	if err != nil {
		return Info{}, err
	}
	k := find(own, lifecycle.Prepared)
	if k == nil {
		if k, err = r.prepare(ctx, tx, caller, tx.Now().Add(r.o.Lead)); err != nil {
			return Info{}, err
		}
	} else if soonest := k.Created.Add(r.o.Lead); soonest.Before(k.ActivateAt) {
		k.ActivateAt = soonest
		if err := db.One(tx.Exec(ctx, `UPDATE signing_keys SET activate_at = $2 WHERE kid = $1 AND state = $3`, k.Kid, db.Micros(soonest), lifecycle.Prepared)); err != nil {
			return Info{}, fmt.Errorf("bring activation forward: %w", err)
		}
		if err := record(ctx, tx, caller, "key.rotate", *k, "activation brought forward"); err != nil {
			return Info{}, err
		}
	}
	return *k, jobs.Schedule(ctx, tx, JobKind, string(r.o.Alg), k.ActivateAt)
}

// Revoke withdraws a key that is no longer trusted: it is retired and out of the key set at once, on every node within a
// second, and what it signed is not valid any more. If it was the active one, its replacement is active in the same
// transaction, published or not: a token that nobody can verify yet is better than one that anybody could have made.
func (r *Ring) Revoke(ctx context.Context, tx db.WriteTx, caller access.Caller, kid string) error {
	if err := access.Allow(caller, access.RotateKeys, access.Target{Type: "signing_key", ID: kid}); err != nil {
		return err
	}
	found, err := loadRow(ctx, tx, kid)
	if err != nil {
		return err
	}
	k := found.Info
	if !k.State.Accepted() {
		return fault.New(fault.Conflict, "key_retired", "The key is %s already.", k.State)
	}
	if err := retire(ctx, tx, &k, true); err != nil {
		return err
	}
	if err := record(ctx, tx, caller, "key.revoke", k, ""); err != nil {
		return err
	}
	own, _, err := r.keys(ctx, tx)
	if err != nil || find(own, lifecycle.Active) != nil {
		return err
	}
	replacement, err := r.replace(ctx, tx, caller, own)
	if err != nil {
		return err
	}
	return jobs.Schedule(ctx, tx, JobKind, string(r.o.Alg), replacement.Activated.Add(r.o.Period/2))
}

// replace puts a key in the empty place of the active one: the prepared one, which some verifiers know, or a new one.
func (r *Ring) replace(ctx context.Context, tx db.WriteTx, caller access.Caller, list []*Info) (*Info, error) {
	k := find(list, lifecycle.Prepared)
	if k == nil {
		var err error
		if k, err = r.prepare(ctx, tx, caller, tx.Now()); err != nil {
			return nil, err
		}
	}
	if err := activate(ctx, tx, k); err != nil {
		return nil, err
	}
	return k, record(ctx, tx, caller, "key.activate", *k, "no key was active")
}

// List tells of all published keys and of the last ones that retired, newest first.
func (r *Ring) List(ctx context.Context, tx db.ReadTx, caller access.Caller) ([]Info, error) {
	if err := access.Allow(caller, access.ReadKeys, access.Target{Type: "signing_key"}); err != nil {
		return nil, err
	}
	rows, err := selectRows(ctx, tx, `SELECT `+columns+` FROM signing_keys ORDER BY created DESC, kid LIMIT $1`, kept)
	if err != nil {
		return nil, err
	}
	list := make([]Info, 0, len(rows))
	for _, row := range rows {
		list = append(list, row.Info)
	}
	return list, nil
}

func record(ctx context.Context, tx db.WriteTx, caller access.Caller, action string, k Info, note string) error {
	return audit.Done(ctx, tx, caller, action, "signing_key", k.Kid, map[string]any{
		"alg": string(k.Alg), "state": string(k.State), "activate_at": k.ActivateAt, "note": note,
	})
}
