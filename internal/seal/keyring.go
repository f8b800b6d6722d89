package seal

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/failpoint"
)

const (
	slotFile  = "file"
	topic     = "keyring" // of the change feed: a term was added
	canary    = "mintmark keyring"
	reloading = 5 * time.Second // the longest that a look for an unknown term may take
)

// Keyring holds the unwrapped keys of all purposes. It is safe for concurrent use and has no setup per call.
type Keyring struct {
	d    *db.DB
	path string // of the root key file, read again whenever a term must be wrapped or unwrapped
	log  *slog.Logger
	ring atomic.Pointer[ring]

	loads   atomic.Int64 // loads begun
	loadMu  sync.Mutex   // one load at a time
	lastErr error        // of the last load; owned by loadMu
}

// ring is what one load found. It never changes: a load makes a new one.
type ring struct {
	rootID string
	keys   map[Purpose][]*termKey // by rising term; never empty
}

// termKey is the key of one term of one purpose, with what can be made of it ready for use.
type termKey struct {
	term uint32
	raw  []byte
	aead cipher.AEAD
	macs *sync.Pool // of hash.Hash, keyed
}

func newTermKey(term uint32, raw []byte) *termKey {
	box := derive(raw, "aead", 32)
	defer clear(box)
	macKey := derive(raw, "mac", 32)
	return &termKey{term: term, raw: raw, aead: newAEAD(box), macs: &sync.Pool{New: func() any { return hmac.New(sha256.New, macKey) }}}
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for key sizes that are not AES's
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for blocks that are not AES's
	}
	return aead
}

// Open opens the keyring with the root key file at path. In a database that has no keyring it makes one, and the file
// if there is none (see the table in root.go). Any trouble with the root key gives an error with ErrRootKey in its
// chain, before anything is written. The directory of path must exist.
//
// Call it before d.StartFeed: it listens there for terms that other nodes add.
func Open(ctx context.Context, d *db.DB, path string, log *slog.Logger) (*Keyring, error) {
	k := &Keyring{d: d, path: path, log: log}
	wanted, err := k.wanted(ctx)
	if err != nil {
		return nil, err
	}
	if wanted == "" {
		if err := k.firstStart(ctx); err != nil {
			return nil, err
		}
	}
	if err := k.load(ctx); err != nil {
		return nil, err
	}
	if err := sweepTemp(path); err != nil {
		log.Warn("what an interrupted first start left beside the root key could not be swept", "error", err)
	}
	d.Subscribe(topic, func([]string) {
		go func() { // a subscriber must be quick
			if err := k.reload(); err != nil {
				k.log.Warn("the keyring changed but could not be read again; an unknown term will try once more", "error", err)
			}
		}()
	})
	return k, nil
}

// wanted is the id of the root key that the database's keyring is wrapped under, or "" if there is no keyring.
func (k *Keyring) wanted(ctx context.Context) (id string, err error) {
	err = k.d.Read(ctx, func(tx db.ReadTx) error {
		err := tx.QueryRow(ctx, `SELECT key_id FROM seal_roots WHERE slot = $1`, slotFile).Scan(&id)
		if errors.Is(err, db.ErrNoRows) {
			id, err = "", nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("look for the keyring: %w", err)
	}
	return id, nil
}

// firstStart makes the root key unless its file exists, and the keyring unless another node was faster.
func (k *Keyring) firstStart(ctx context.Context) error {
	root, err := LoadRoot(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		root, err = CreateRoot(k.path)
		if errors.Is(err, fs.ErrExist) {
			root, err = LoadRoot(k.path)
		} else if err == nil {
			k.log.Warn("made the root key: copy this file to a safe place, without it nothing in the database opens", "path", k.path, "key_id", root.ID())
		}
	}
	if err != nil {
		return err
	}
	defer root.Erase()
	if err := settle(k.path); err != nil {
		return fmt.Errorf("%w: %s may not be on disk: %w", ErrRootKey, k.path, err)
	}
	if err := k.d.Write(ctx, func(tx db.WriteTx) error { return insertKeyring(ctx, tx, root) }); err != nil {
		return fmt.Errorf("make the keyring: %w", err)
	}
	return failpoint.Hit("seal.afterCommit")
}

// insertKeyring writes a whole new keyring, unless there is one already; whose it is, load finds out.
func insertKeyring(ctx context.Context, tx db.WriteTx, root Root) error {
	var n int64
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM seal_roots`).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return nil
	}
	wrapper := root.wrapper()
	rows, err := tx.Exec(ctx, `INSERT INTO seal_roots (slot, key_id, canary, created_at) VALUES ($1, $2, $3, $4)`,
		slotFile, root.ID(), wrap(wrapper, []byte(canary), canaryPlace(root)), db.Micros(tx.Now()))
	if err := db.One(rows, err); err != nil {
		return err
	}
	for _, p := range Purposes() {
		var raw [32]byte
		rand.Read(raw[:]) // never fails since Go 1.24
		if err := insertTerm(ctx, tx, wrapper, p, 1, raw[:]); err != nil {
			return err
		}
		clear(raw[:])
	}
	return failpoint.Hit("seal.beforeCommit")
}

func insertTerm(ctx context.Context, tx db.WriteTx, wrapper cipher.AEAD, p Purpose, term uint32, raw []byte) error {
	rows, err := tx.Exec(ctx, `INSERT INTO seal_keys (slot, purpose, term, wrapped, created_at) VALUES ($1, $2, $3, $4, $5)`,
		slotFile, string(p), int64(term), wrap(wrapper, raw, keyPlace(p, term)), db.Micros(tx.Now()))
	return db.One(rows, err)
}

func canaryPlace(root Root) []byte { return []byte("mintmark canary 1 " + root.ID()) }

func keyPlace(p Purpose, term uint32) []byte {
	return fmt.Appendf(nil, "mintmark key 1 %s %d", p, term)
}

// wrap closes b under the root key: nonce, then ciphertext.
func wrap(wrapper cipher.AEAD, b, place []byte) []byte {
	out := make([]byte, nonceSize, nonceSize+len(b)+tagSize)
	rand.Read(out) // never fails since Go 1.24
	return wrapper.Seal(out, out, b, place)
}

func unwrap(wrapper cipher.AEAD, b, place []byte) ([]byte, error) {
	if len(b) < nonceSize+tagSize {
		return nil, errors.New("too short")
	}
	return wrapper.Open(nil, b[:nonceSize], b[nonceSize:], place)
}

// load reads the root key file and unwraps what the database holds now.
func (k *Keyring) load(ctx context.Context) error {
	k.loads.Add(1)
	var s stored
	if err := k.d.Read(ctx, func(tx db.ReadTx) (err error) {
		s, err = readStored(ctx, tx)
		return err
	}); err != nil {
		return fmt.Errorf("read the keyring: %w", err)
	}
	root, err := k.root(s.rootID)
	if err != nil {
		return err
	}
	defer root.Erase()
	r, err := s.open(root)
	if err != nil {
		return err
	}
	// RotateTerm may have installed a term since we read: it must not get lost. Terms are never taken away.
	for old := k.ring.Load(); !k.ring.CompareAndSwap(old, r.with(old)); old = k.ring.Load() {
	}
	return nil
}

// root is the root key from the file, if it is the wanted one.
func (k *Keyring) root(wanted string) (Root, error) {
	root, err := LoadRoot(k.path)
	if err != nil {
		return Root{}, fmt.Errorf("the database wants root key %s from %s: %w. Copy that file from another node or from its backup; nothing was changed", wanted, k.path, err)
	}
	if found := root.ID(); found != wanted {
		root.Erase()
		return Root{}, fmt.Errorf("%w: %s holds %s, but the database wants %s. Put the right file there, from another node or from its backup, or name the right database; nothing was changed", ErrRootKey, k.path, found, wanted)
	}
	return root, nil
}

// stored is the keyring as the database holds it.
type stored struct {
	rootID string
	canary []byte
	keys   []storedKey
}

type storedKey struct {
	purpose Purpose
	term    int64
	wrapped []byte
}

func readStored(ctx context.Context, tx db.ReadTx) (stored, error) {
	var s stored
	if err := tx.QueryRow(ctx, `SELECT key_id, canary FROM seal_roots WHERE slot = $1`, slotFile).Scan(&s.rootID, &s.canary); err != nil {
		return s, err
	}
	rows, err := tx.Query(ctx, `SELECT purpose, term, wrapped FROM seal_keys WHERE slot = $1 ORDER BY purpose, term`, slotFile)
	if err != nil {
		return s, err
	}
	defer rows.Close()
	for rows.Next() {
		var key storedKey
		if err := rows.Scan(&key.purpose, &key.term, &key.wrapped); err != nil {
			return s, err
		}
		s.keys = append(s.keys, key)
	}
	return s, rows.Err()
}

// open unwraps everything. A purpose without a key is an error: a keyring is never partly used.
func (s stored) open(root Root) (*ring, error) {
	wrapper := root.wrapper()
	if text, err := unwrap(wrapper, s.canary, canaryPlace(root)); err != nil || string(text) != canary {
		return nil, fmt.Errorf("%w: %s does not open the database's canary: the keyring was damaged or exchanged. Restore the database from a backup; nothing was changed", ErrRootKey, root.ID())
	}
	r := &ring{rootID: s.rootID, keys: map[Purpose][]*termKey{}}
	for _, key := range s.keys {
		if key.term < 1 || key.term > math.MaxUint32 {
			return nil, fmt.Errorf("%w: the keyring has a term %d of %s, which cannot be", ErrRootKey, key.term, key.purpose)
		}
		raw, err := unwrap(wrapper, key.wrapped, keyPlace(key.purpose, uint32(key.term)))
		if err != nil {
			return nil, fmt.Errorf("%w: term %d of %s in the keyring does not open: it was damaged or exchanged. Restore the database from a backup; nothing was changed", ErrRootKey, key.term, key.purpose)
		}
		r.keys[key.purpose] = append(r.keys[key.purpose], newTermKey(uint32(key.term), raw))
	}
	for _, p := range Purposes() {
		if len(r.keys[p]) == 0 {
			return nil, fmt.Errorf("%w: the keyring has no key for %s: rows were deleted. Restore the database from a backup; nothing was changed", ErrRootKey, p)
		}
	}
	return r, nil
}

// newest is the key that seals, or nil for an unknown purpose.
func (k *Keyring) newest(p Purpose) *termKey {
	keys := k.ring.Load().keys[p]
	if len(keys) == 0 {
		return nil
	}
	return keys[len(keys)-1]
}

// term finds the key of a term; if it is unknown the keyring is read again, once, for another node may have added it a
// moment ago. It is nil if there is no such term.
func (k *Keyring) term(p Purpose, term uint32) (*termKey, error) {
	if key := k.ring.Load().find(p, term); key != nil {
		return key, nil
	}
	if err := k.reload(); err != nil {
		return nil, err
	}
	return k.ring.Load().find(p, term), nil
}

func (r *ring) find(p Purpose, term uint32) *termKey {
	for _, key := range r.keys[p] {
		if key.term == term {
			return key
		}
	}
	return nil
}

// reload reads the keyring again. Callers that come while a load runs share the next one. On an error the old keys stay.
func (k *Keyring) reload() error {
	begun := k.loads.Load()
	k.loadMu.Lock()
	defer k.loadMu.Unlock()
	if k.loads.Load() > begun { // a load began, and ended, since we came
		return k.lastErr
	}
	ctx, cancel := context.WithTimeout(context.Background(), reloading)
	defer cancel()
	k.lastErr = k.load(ctx)
	return k.lastErr
}

// RootID is the id of the root key that the keyring is wrapped under.
func (k *Keyring) RootID() string { return k.ring.Load().rootID }

// Terms are the terms of a purpose that the keyring holds, rising.
func (k *Keyring) Terms(p Purpose) []int64 {
	var terms []int64
	for _, key := range k.ring.Load().keys[p] {
		terms = append(terms, int64(key.term))
	}
	return terms
}

// RotateTerm adds a term to a purpose, which seals from the commit on; the older terms still open. This node knows the
// term at the commit, the others within a second, or when they meet it.
func (k *Keyring) RotateTerm(ctx context.Context, tx db.WriteTx, p Purpose) (term int64, err error) {
	if !slices.Contains(Purposes(), p) {
		return 0, fmt.Errorf("rotate the term of %q: no such purpose", p)
	}
	var last int64
	if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(term), 0) FROM seal_keys WHERE slot = $1 AND purpose = $2`, slotFile, string(p)).Scan(&last); err != nil {
		return 0, fmt.Errorf("rotate the term of %s: %w", p, err)
	}
	if last < 1 || last >= math.MaxUint32 {
		return 0, fmt.Errorf("rotate the term of %s: no term can follow %d", p, last)
	}
	var wanted string
	if err := tx.QueryRow(ctx, `SELECT key_id FROM seal_roots WHERE slot = $1`, slotFile).Scan(&wanted); err != nil {
		return 0, fmt.Errorf("rotate the term of %s: %w", p, err)
	}
	root, err := k.root(wanted)
	if err != nil {
		return 0, fmt.Errorf("rotate the term of %s: %w", p, err)
	}
	defer root.Erase()
	raw := make([]byte, 32)
	rand.Read(raw) // never fails since Go 1.24
	next := newTermKey(uint32(last+1), raw)
	if err := insertTerm(ctx, tx, root.wrapper(), p, next.term, raw); err != nil {
		return 0, fmt.Errorf("rotate the term of %s: %w", p, err)
	}
	if err := tx.Changed(ctx, topic, string(p)); err != nil {
		return 0, fmt.Errorf("rotate the term of %s: %w", p, err)
	}
	tx.AfterCommit(func() { k.install(p, next) })
	return int64(next.term), nil
}

// install adds a key to the ring unless a load has brought it already.
func (k *Keyring) install(p Purpose, key *termKey) {
	for {
		old := k.ring.Load()
		next := old.with(&ring{keys: map[Purpose][]*termKey{p: {key}}})
		if k.ring.CompareAndSwap(old, next) {
			return
		}
	}
}

// with is r and those terms of other that r lacks.
func (r *ring) with(other *ring) *ring {
	if other == nil {
		return r
	}
	both := &ring{rootID: r.rootID, keys: maps.Clone(r.keys)}
	for p, keys := range other.keys {
		for _, key := range keys {
			if both.find(p, key.term) == nil {
				both.keys[p] = append(slices.Clone(both.keys[p]), key)
			}
		}
		slices.SortFunc(both.keys[p], func(a, b *termKey) int { return cmp.Compare(a.term, b.term) })
	}
	return both
}
