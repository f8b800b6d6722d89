package keys

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/lifecycle"
)

// What people ask for. Each runs a transaction of its own, or several until there is a key pair for it.

// inUse is the algorithm that was asked for, "" being the ring's first.
func (r *Ring) inUse(alg Alg) (Alg, error) {
	if alg == "" {
		return r.o.Alg, nil
	}
	if !slices.Contains(r.o.algs(), alg) {
		return "", fault.New(fault.Invalid, "algorithm", "No keys of this algorithm are in use.").At("algorithm", "not in use")
	}
	return alg, nil
}

// Rotate asks for the next key of an algorithm as soon as verifiers can know it: one is prepared unless there is one, and
// becomes active when it has been published for Options.Lead. To ask again meanwhile changes nothing.
func (r *Ring) Rotate(ctx context.Context, caller access.Caller, alg Alg) (next Info, err error) {
	if err := access.Allow(caller, access.RotateKeys, access.Target{Type: "signing_key"}); err != nil {
		return Info{}, err
	}
	if alg, err = r.inUse(alg); err != nil {
		return Info{}, err
	}
	err = r.write(ctx, func(tx db.WriteTx, pairs *forge) error {
		own, _, err := keysOf(ctx, tx, alg)
		if err != nil {
			return err
		}
		k := find(own, lifecycle.Prepared)
		if k == nil {
			if k, err = r.prepare(ctx, tx, pairs, caller, alg, tx.Now().Add(r.o.Lead)); err != nil {
				return err
			}
		} else if err := r.bringForward(ctx, tx, caller, k); err != nil {
			return err
		}
		next = *k
		return jobs.Schedule(ctx, tx, JobKind, string(alg), k.ActivateAt)
	})
	return next, err
}

// bringForward has a prepared key become active as soon as it has been published for Options.Lead.
func (r *Ring) bringForward(ctx context.Context, tx db.WriteTx, caller access.Caller, k *Info) error {
	soonest := k.Created.Add(r.o.Lead)
	if !soonest.Before(k.ActivateAt) {
		return nil
	}
	k.ActivateAt = soonest
	if err := db.One(tx.Exec(ctx, `UPDATE signing_keys SET activate_at = $2 WHERE kid = $1 AND state = $3`, k.Kid, db.Micros(soonest), lifecycle.Prepared)); err != nil {
		return fmt.Errorf("bring activation forward: %w", err)
	}
	return record(ctx, tx, caller, "key.rotate", *k, "activation brought forward")
}

// Revoke withdraws a key that is no longer trusted: it is retired and out of the key set at once, on every node within a
// second, and what it signed is not valid any more. If it was the active one, its replacement is active in the same
// transaction, published or not: a token that nobody can verify yet is better than one that anybody could have made.
func (r *Ring) Revoke(ctx context.Context, caller access.Caller, kid string) error {
	if err := access.Allow(caller, access.RotateKeys, access.Target{Type: "signing_key", ID: kid}); err != nil {
		return err
	}
	return r.write(ctx, func(tx db.WriteTx, pairs *forge) error {
		found, err := loadRow(ctx, tx, kid)
		if err != nil {
			return err
		}
		k := found.Info
		if !k.State.Accepted() {
			return fault.New(fault.Conflict, "key_retired", "The key is %s already.", k.State)
		}
		if err := withdraw(ctx, tx, caller, &k); err != nil {
			return err
		}
		alg := k.Alg
		if !slices.Contains(r.o.algs(), alg) {
			alg = r.o.Alg // it may have signed in place of a key that is only prepared
		}
		own, _, err := keysOf(ctx, tx, alg)
		if err != nil || find(own, lifecycle.Active) != nil {
			return err
		}
		if found.State == lifecycle.Prepared && alg != r.o.Alg {
			return jobs.Schedule(ctx, tx, JobKind, string(alg), tx.Now()) // nothing has signed yet, so nothing is urgent
		}
		_, err = r.succeed(ctx, tx, pairs, caller, alg, own)
		return err
	})
}

// Replace is for private halves that others may have: every key of the algorithm is withdrawn, the prepared and the
// retiring ones with the active one, and a new key, which nobody can have, is active in the same transaction.
func (r *Ring) Replace(ctx context.Context, caller access.Caller, alg Alg) (next Info, err error) {
	if err := access.Allow(caller, access.RotateKeys, access.Target{Type: "signing_key"}); err != nil {
		return Info{}, err
	}
	if alg, err = r.inUse(alg); err != nil {
		return Info{}, err
	}
	err = r.write(ctx, func(tx db.WriteTx, pairs *forge) error {
		own, _, err := keysOf(ctx, tx, alg)
		if err != nil {
			return err
		}
		for _, k := range own {
			if err := withdraw(ctx, tx, caller, k); err != nil {
				return err
			}
		}
		next, err = r.succeed(ctx, tx, pairs, caller, alg, nil)
		return err
	})
	return next, err
}

func withdraw(ctx context.Context, tx db.WriteTx, caller access.Caller, k *Info) error {
	if err := retire(ctx, tx, k, true); err != nil {
		return err
	}
	return record(ctx, tx, caller, "key.revoke", *k, "")
}

// succeed fills the empty place of the active key.
func (r *Ring) succeed(ctx context.Context, tx db.WriteTx, pairs *forge, caller access.Caller, alg Alg, list []*Info) (Info, error) {
	k, err := r.replace(ctx, tx, pairs, caller, alg, list)
	if err != nil {
		return Info{}, err
	}
	return *k, jobs.Schedule(ctx, tx, JobKind, string(alg), k.Activated.Add(r.o.Period/2))
}
