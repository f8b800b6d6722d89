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

// The first key of another algorithm than the ring's first is used freshLead after it was published, rather than Lead, if
// the installation is younger than fresh: no verifier can have kept a key set that lacks it, since such a set is served as
// not to be kept (ServeJWKS), and by then every node shows it.
const (
	fresh     = time.Minute
	freshLead = 2 * feedDelay
)

// Ensure makes the first key, active at once because no verifier has a key set without it, and sees to it that the
// rotation of each algorithm is scheduled. Where the keys so far are of another algorithm, the first of this one is only
// prepared, and they sign until verifiers can know it. It changes nothing where there is nothing to do. The keys of the
// other algorithms are made by their jobs, so that the start waits for none of them.
func (r *Ring) Ensure(ctx context.Context) error {
	err := r.write(ctx, func(tx db.WriteTx, pairs *forge) error {
		own, other, err := keysOf(ctx, tx, r.o.Alg)
		if err != nil {
			return err
		}
		caller := access.SystemCaller("keys")
		switch {
		case find(own, lifecycle.Active) != nil:
		case find(other, lifecycle.Active) == nil:
			_, err = r.replace(ctx, tx, pairs, caller, r.o.Alg, own)
		case find(own, lifecycle.Prepared) == nil:
			_, err = r.prepare(ctx, tx, pairs, caller, r.o.Alg, tx.Now().Add(r.o.Lead))
		}
		if err != nil {
			return err
		}
		for _, alg := range r.o.algs() {
			if err := jobs.Schedule(ctx, tx, JobKind, string(alg), tx.Now()); err != nil { // the job finds out what is due
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the first signing key: %w", err)
	}
	return r.Refresh(ctx)
}

// RotationJob is the handler of JobKind: it takes each step that is due and tells when the next one is.
func (r *Ring) RotationJob(ctx context.Context, j jobs.Job) (jobs.Result, error) {
	alg := Alg(j.Key)
	if !slices.Contains(r.o.algs(), alg) {
		return jobs.Result{}, nil // of an algorithm that was in use before: its keys only run out
	}
	var next time.Time
	err := r.write(ctx, func(tx db.WriteTx, pairs *forge) error {
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		var err error
		next, err = r.step(ctx, tx, pairs, access.SystemCaller("keys"), alg)
		return err
	})
	return jobs.Result{Next: next}, err
}

// keysOf reads the published keys, oldest first: those of the algorithm, and the others.
func keysOf(ctx context.Context, tx db.ReadTx, alg Alg) (own, other []*Info, err error) {
	rows, err := published(ctx, tx)
	if err != nil {
		return nil, nil, err
	}
	for i := range rows {
		if rows[i].Alg == alg {
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

// step does what the schedule of an algorithm asks for at tx.Now() and answers when to come again.
func (r *Ring) step(ctx context.Context, tx db.WriteTx, pairs *forge, caller access.Caller, alg Alg) (next time.Time, err error) {
	now := tx.Now()
	if err := r.retireDue(ctx, tx, caller); err != nil {
		return next, err
	}
	own, _, err := keysOf(ctx, tx, alg)
	if err != nil {
		return next, err
	}
	active, prepared := find(own, lifecycle.Active), find(own, lifecycle.Prepared)
	if active == nil && prepared == nil {
		if prepared, err = r.begin(ctx, tx, pairs, caller, alg); err != nil {
			return next, err
		}
	}
	if prepared != nil && !now.Before(prepared.ActivateAt) {
		if err := r.swap(ctx, tx, caller, active, prepared); err != nil {
			return next, err
		}
		active, prepared = prepared, nil
	}
	if active != nil {
		if prepared == nil && !now.Before(active.Activated.Add(r.o.Period/2)) {
			if prepared, err = r.prepare(ctx, tx, pairs, caller, alg, later(active.Activated.Add(r.o.Period), now.Add(r.o.Lead))); err != nil {
				return next, err
			}
		}
		if alg == r.o.Alg {
			if err := r.endOtherAlgorithms(ctx, tx, caller, active); err != nil {
				return next, err
			}
		}
	}
	if prepared != nil {
		next = prepared.ActivateAt
	} else {
		next = active.Activated.Add(r.o.Period / 2)
	}
	retiring, err := allRetiring(ctx, tx)
	for _, k := range retiring {
		if k.RetireAt.Before(next) {
			next = k.RetireAt
		}
	}
	return next, err
}

// begin prepares the first key of an algorithm. That of the ring's first one is Ensure's to make: if it is gone, a person
// must look.
func (r *Ring) begin(ctx context.Context, tx db.WriteTx, pairs *forge, caller access.Caller, alg Alg) (*Info, error) {
	if alg == r.o.Alg {
		return nil, fault.Wrap(ErrNoKey, fault.Internal, "no_signing_key", "No signing key is active.")
	}
	young, err := virgin(ctx, tx, tx.Now().Add(-fresh))
	if err != nil {
		return nil, err
	}
	lead := r.o.Lead
	if young {
		lead = min(lead, freshLead)
	}
	return r.prepare(ctx, tx, pairs, caller, alg, tx.Now().Add(lead))
}

// endOtherAlgorithms lets the keys run out whose algorithm the configuration no longer asks for. It waits for half a period, so that
// nodes which still have the older configuration while the new one is rolled out are not without a key.
func (r *Ring) endOtherAlgorithms(ctx context.Context, tx db.WriteTx, caller access.Caller, active *Info) error {
	if tx.Now().Before(active.Activated.Add(r.o.Period / 2)) {
		return nil
	}
	_, other, err := keysOf(ctx, tx, r.o.Alg)
	if err != nil {
		return err
	}
	for _, k := range other {
		switch {
		case k.State == lifecycle.Retiring, slices.Contains(r.o.Also, k.Alg):
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
func allRetiring(ctx context.Context, tx db.ReadTx) ([]*Info, error) {
	_, all, err := keysOf(ctx, tx, "")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(k *Info) bool { return k.State != lifecycle.Retiring }), nil
}

func (r *Ring) retireDue(ctx context.Context, tx db.WriteTx, caller access.Caller) error {
	list, err := allRetiring(ctx, tx)
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

func (r *Ring) prepare(ctx context.Context, tx db.WriteTx, pairs *forge, caller access.Caller, alg Alg, activateAt time.Time) (*Info, error) {
	k, err := r.insert(ctx, tx, pairs, alg, activateAt)
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

// replace puts a key in the empty place of the active one of an algorithm: the prepared one of the list, which some
// verifiers know, or a new one.
func (r *Ring) replace(ctx context.Context, tx db.WriteTx, pairs *forge, caller access.Caller, alg Alg, list []*Info) (*Info, error) {
	k := find(list, lifecycle.Prepared)
	if k == nil {
		var err error
		if k, err = r.prepare(ctx, tx, pairs, caller, alg, tx.Now()); err != nil {
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
