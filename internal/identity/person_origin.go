package identity

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/clock"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
)

// How one address is kept from trying a few passwords on very many accounts, none of which it tries often.
const (
	// TriesPerAddress is how many passwords may be wrong from one address, for whatever accounts, within addressWindow.
	TriesPerAddress = 50
	addressWindow   = 10 * time.Minute
	maxAddresses    = 16384
)

// addresses counts wrong passwords by where they come from, in this node's memory: what it refuses costs the database
// nothing. What it lets through is counted once more in the database, for all nodes (address_tries). A try is counted
// before it is looked at, so that many at once are not more than one after another.
//
// The machine itself is not counted: what comes from there came through a proxy that the configuration does not name,
// and one stranger behind it would keep everybody out.
type addresses struct {
	clock clock.Clock
	limit int
	text  string // of the refusal

	mu    sync.Mutex
	tries map[netip.Prefix]addressTries // owned by mu
}

// LimitAddresses makes a function that counts what comes from an address in this node's memory, and refuses it after limit
// times within ten minutes. CountAddress does the same for all nodes.
func (dir *Directory) LimitAddresses(limit int, refusal string) func(ip string) error {
	a := newAddresses(dir.o.Clock)
	a.limit, a.text = limit, refusal
	return func(ip string) error {
		_, err := a.take(ip)
		return err
	}
}

// NetworkKey names where something is tried from, without telling it; "" for an address that is not counted.
func (dir *Directory) NetworkKey(what, ip string) string {
	from, ok := network(ip)
	if !ok {
		return ""
	}
	return hex.EncodeToString(dir.keyring.MAC("address-tries", redact.New(what+" "+from.String())))
}

// CountAddress counts what comes from an address, over all nodes, in the caller's transaction, and refuses it after limit
// times within ten minutes.
func (dir *Directory) CountAddress(ctx context.Context, tx db.WriteTx, what, ip string, limit int, refusal string) error {
	key := dir.NetworkKey(what, ip)
	if key == "" {
		return nil
	}
	wait, err := waitOfAddress(ctx, tx, key, limit)
	if err != nil {
		return err
	}
	if wait > 0 {
		return fault.New(fault.Limited, "too_many_attempts", "%s", refusal).Retry(wait)
	}
	return countAddress(ctx, tx, key, 1)
}

// waitOfAddress is how long nothing is looked at from there; 0 if the next try is.
func waitOfAddress(ctx context.Context, tx db.ReadTx, key string, limit int) (time.Duration, error) {
	var began, tries int64
	err := tx.QueryRow(ctx, `SELECT began, tries FROM address_tries WHERE network = $1`, key).Scan(&began, &tries)
	if errors.Is(err, db.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the tries of an address: %w", err)
	}
	if over := db.Time(began).Add(addressWindow); tries >= int64(limit) && tx.Now().Before(over) {
		return over.Sub(tx.Now()), nil
	}
	return 0, nil
}

// countAddress adds one to the tries of an address, which begin anew if their time is over, or with -1 takes one back.
func countAddress(ctx context.Context, tx db.WriteTx, key string, by int64) error {
	now, over := db.Micros(tx.Now()), db.Micros(tx.Now().Add(-addressWindow))
	var err error
	if by < 0 {
		_, err = tx.Exec(ctx, `UPDATE address_tries SET tries = tries - 1 WHERE network = $1 AND tries > 0`, key)
	} else {
		err = db.One(tx.Exec(ctx, `INSERT INTO address_tries (network, began, tries) VALUES ($1, $2, 1) ON CONFLICT (network) DO UPDATE SET
			tries = CASE WHEN address_tries.began <= $3 THEN 1 ELSE address_tries.tries + 1 END, began = CASE WHEN address_tries.began <= $3 THEN excluded.began ELSE address_tries.began END`, key, now, over))
	}
	if err != nil {
		return fmt.Errorf("count a try of an address: %w", err)
	}
	return nil
}

type addressTries struct {
	n     int
	since time.Time
}

func newAddresses(c clock.Clock) *addresses {
	return &addresses{clock: c, limit: TriesPerAddress, text: "Too many wrong passwords came from your address. Please wait before you try again.", tries: map[netip.Prefix]addressTries{}}
}

// network is the address, or of IPv6 the /64, of which one machine may use all. ok is false for what is not counted.
func network(ip string) (p netip.Prefix, ok bool) {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return p, false
	}
	address = address.Unmap().WithZone("")
	if address.IsLoopback() {
		return p, false
	}
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	p, err = address.Prefix(bits)
	return p, err == nil
}

// take counts a try, or refuses it. back takes it off the count again: it was no wrong password.
func (a *addresses) take(ip string) (back func(), err error) {
	from, ok := network(ip)
	if !ok {
		return func() {}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	t, known := a.tries[from]
	if !known {
		a.makeRoom(now)
	}
	if !known || !now.Before(t.since.Add(addressWindow)) {
		t = addressTries{since: now}
	}
	if t.n >= a.limit {
		return nil, fault.New(fault.Limited, "too_many_attempts", "%s", a.text).Retry(t.since.Add(addressWindow).Sub(now))
	}
	t.n++
	a.tries[from] = t
	since := t.since
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if t, known := a.tries[from]; known && t.since.Equal(since) && t.n > 0 {
			t.n--
			a.tries[from] = t
		}
	}, nil
}

// makeRoom forgets the mildest of a few when there are very many addresses, and not one that is refused already.
func (a *addresses) makeRoom(now time.Time) {
	if len(a.tries) < maxAddresses {
		return
	}
	var mildest netip.Prefix
	least, looked := a.limit+1, 0
	for from, t := range a.tries {
		if !now.Before(t.since.Add(addressWindow)) {
			mildest = from
			break
		}
		if t.n < least {
			mildest, least = from, t.n
		}
		if looked++; looked == 16 {
			break
		}
	}
	delete(a.tries, mildest)
}
