package oauth

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/db"
)

// topicCovering is where it tells of revocations of many tokens at once (see covering.feedText).
const topicCovering = "revocation_of_many"

// topicRevocation is where the change feed tells of revoked tokens. The key itself says everything (see feedKey), so that
// another node refuses the token without asking the database first.
const topicRevocation = "revocation"

// revocations are the revoked tokens that have not expired yet, those of one token and those of many (see covering), in
// memory on every node: loaded when the server starts, fed by the change feed, pruned as the tokens expire. A token that was revoked is found here at once on the node
// that revoked it, and within a second on every other.
type revocations struct {
	db     *db.DB
	loaded atomic.Bool   // false: nothing may be called valid yet
	again  chan struct{} // the feed lost track: load everything again
	many   *coverings

	mu      sync.RWMutex
	expires map[string]int64 // Unix seconds by jti; owned by mu
}

func newRevocations(d *db.DB) *revocations {
	v := &revocations{db: d, again: make(chan struct{}, 1), many: newCoverings(), expires: map[string]int64{}}
	d.Subscribe(topicRevocation, v.hear)
	d.Subscribe(topicCovering, v.hearMany)
	return v
}

func feedKey(jti string, expires time.Time) string {
	return strconv.FormatInt(expires.Unix(), 10) + " " + jti
}

// hear takes what the feed brings. It must be quick, so it only notes; nil means that anything may have been missed.
func (v *revocations) hear(keys []string) {
	if keys == nil {
		select {
		case v.again <- struct{}{}:
		default:
		}
		return
	}
	for _, key := range keys {
		if key == feedMany {
			v.hear(nil)
			continue
		}
		text, jti, ok := strings.Cut(key, " ")
		seconds, err := strconv.ParseInt(text, 10, 64)
		if ok && err == nil {
			v.add(jti, seconds)
		}
	}
}

func (v *revocations) hearMany(keys []string) {
	var list []covering
	for _, key := range keys {
		if c, ok := parseCovering(key); ok {
			list = append(list, c)
		}
	}
	v.many.add(list...) // when anything may have been missed, hear has everything loaded
}

func (v *revocations) add(jti string, expires int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.expires[jti] = expires
}

// revoked tells whether a token is: by itself, with the grant that it came from, or with many others.
func (v *revocations) revoked(c *Claims) bool {
	if v.many.before(c) > c.IssuedAt.Unix() {
		return true
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	_, is := v.expires[c.ID]
	if !is && c.GrantID != "" {
		_, is = v.expires[c.GrantID]
	}
	return is
}

func (v *revocations) size() int {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return len(v.expires)
}

// prune forgets what has expired by itself.
func (v *revocations) prune(now time.Time) {
	v.many.prune(now.Add(-keepCoverings))
	v.mu.Lock()
	defer v.mu.Unlock()
	for jti, expires := range v.expires {
		if expires < now.Unix() {
			delete(v.expires, jti)
		}
	}
}

// load adds what the database holds. It only ever adds: a row that is being committed while we read comes by the feed.
func (v *revocations) load(ctx context.Context) error {
	var found map[string]int64
	var many []covering
	err := v.db.Read(ctx, func(tx db.ReadTx) (err error) {
		if found, err = loadRevoked(ctx, tx); err != nil {
			return err
		}
		many, err = loadCoverings(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("load revoked tokens: %w", err)
	}
	v.many.add(many...)
	v.mu.Lock()
	for jti, expires := range found {
		v.expires[jti] = expires
	}
	v.mu.Unlock()
	v.loaded.Store(true)
	return nil
}

func loadRevoked(ctx context.Context, tx db.ReadTx) (map[string]int64, error) {
	rows, err := tx.Query(ctx, `SELECT jti, expires FROM revoked_tokens WHERE expires > $1`, db.Micros(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("select revoked tokens: %w", err)
	}
	defer rows.Close()
	found := map[string]int64{}
	for rows.Next() {
		var jti string
		var expires int64
		if err := rows.Scan(&jti, &expires); err != nil {
			return nil, fmt.Errorf("read a revoked token: %w", err)
		}
		found[jti] = db.Time(expires).Unix()
	}
	return found, rows.Err()
}

func loadCoverings(ctx context.Context, tx db.ReadTx) ([]covering, error) {
	rows, err := tx.Query(ctx, `SELECT names, claim_values, issued_before FROM revocations WHERE expires > $1`, db.Micros(tx.Now()))
	if err != nil {
		return nil, fmt.Errorf("select revocations: %w", err)
	}
	defer rows.Close()
	var list []covering
	for rows.Next() {
		var names, values string
		var before int64
		if err := rows.Scan(&names, &values, &before); err != nil {
			return nil, fmt.Errorf("read a revocation: %w", err)
		}
		c, ok := storedCovering(names, values, db.Time(before).Unix())
		if !ok {
			return nil, fmt.Errorf("read a revocation: the names %q have other values than these", names)
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// revoke stores that the token is not valid any more, and tells every node. hash is what verifiers know the token by, "" of a
// grant. To revoke twice is to revoke once.
func (v *revocations) revoke(ctx context.Context, tx db.WriteTx, c *Claims, hash, by string) (first bool, err error) {
	rows, err := tx.Exec(ctx, `INSERT INTO revoked_tokens (jti, client_id, revoked, revoked_by, expires, token_hash)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (jti) DO NOTHING`,
		c.ID, c.ClientID, db.Micros(tx.Now()), by, db.Micros(c.Expires), hash)
	if err != nil {
		return false, fmt.Errorf("insert a revoked token: %w", err)
	}
	if rows > 1 {
		return false, fmt.Errorf("insert a revoked token: %d rows", rows)
	}
	if err := tx.Changed(ctx, topicRevocation, feedKey(c.ID, c.Expires)); err != nil {
		return false, fmt.Errorf("tell of a revoked token: %w", err)
	}
	tx.AfterCommit(func() { v.add(c.ID, c.Expires.Unix()) })
	return rows == 1, nil
}

// feedMany says that many tokens were revoked at once, more than can be named.
const feedMany = "many"

// announce tells every node, this one included, to read what was revoked.
func (v *revocations) announce(ctx context.Context, tx db.WriteTx) error {
	if err := tx.Changed(ctx, topicRevocation, feedMany); err != nil {
		return fmt.Errorf("tell of revoked tokens: %w", err)
	}
	tx.AfterCommit(func() { v.hear(nil) })
	return nil
}
