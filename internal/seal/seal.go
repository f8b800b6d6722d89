// Package seal keeps what the database may hold only in closed form.
//
// Three layers: the root key, 32 random bytes in a file outside the database (root.go); the keyring, one random key per
// purpose in numbered terms, each wrapped under the root key and kept in seal_keys (keyring.go); and the boxes and MACs
// that the domains store in their own rows (this file). A copy of the database without the file opens nothing.
//
// What it guards:
//   - A box opens only where it was sealed: purpose, table, column, row and version are bound into it, so that a row
//     that somebody swapped or rolled back does not decrypt.
//   - No key serves two algorithms: the key of a term is only ever the source of HKDF.
//   - A root key is made once, before the keyring, and never beside a keyring that exists. A wrong, missing or exposed
//     root key ends the start with ErrRootKey and not one write.
//   - A failure to open makes, changes and deletes nothing.
//
// Stored forms:
//
//	box  version (1 byte, 1) ‖ term (4 bytes, big-endian) ‖ nonce (12) ‖ AES-256-GCM ciphertext and tag
//	MAC  term (4 bytes, big-endian) ‖ HMAC-SHA-256 (32)
//
// Rotating the root key itself (wrapping the keyring again under a new one) is not built yet.
package seal

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/redact"
)

// Purpose names what a key is for. Keys of different purposes have nothing in common.
type Purpose string

// The purposes. The keyring holds a key for each from the first start on.
const (
	Sign    Purpose = "sign"    // private halves of signing keys
	Data    Purpose = "data"    // secrets in rows
	Lookup  Purpose = "lookup"  // MACs of generated secrets and tokens
	Audit   Purpose = "audit"   // signs the checkpoints of the audit log
	Pepper  Purpose = "pepper"  // closes the hashes of people's passwords
	Session Purpose = "session" // cookies
	CSRF    Purpose = "csrf"
	Backup  Purpose = "backup"
)

// Purposes is all of them.
func Purposes() []Purpose {
	return []Purpose{Sign, Data, Lookup, Audit, Pepper, Session, CSRF, Backup}
}

// ErrBox is in the chain of the error of a box that does not open: damaged, moved, or sealed under a key that this
// keyring does not hold. The caller must not make a new secret because of it.
var ErrBox = errors.New("seal: box does not open")

// AD says where a box lies. All of Table, Column and Row must be given; Version is the row's version of the credential,
// or 0 if it has none.
type AD struct {
	Table, Column, Row string
	Version            int64
}

const (
	boxVersion = 1
	headerSize = 1 + 4
	nonceSize  = 12
	tagSize    = 16
)

// bound is the associated data of a box: every part with its length in front, so that no two places look alike.
func (ad AD) bound(header []byte, p Purpose) []byte {
	parts := [...]string{"mintmark box", string(header), string(p), ad.Table, ad.Column, ad.Row}
	b := make([]byte, 0, 128)
	for _, part := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(ad.Version))
}

func (ad AD) complete() bool { return ad.Table != "" && ad.Column != "" && ad.Row != "" }

// Seal closes plaintext for one place, under the newest key of the purpose.
func (k *Keyring) Seal(p Purpose, ad AD, plaintext []byte) ([]byte, error) {
	if !ad.complete() {
		return nil, fmt.Errorf("seal for %s: table, column and row must be given", p)
	}
	key := k.newest(p)
	if key == nil {
		return nil, fmt.Errorf("seal for %q: no such purpose", p)
	}
	box := make([]byte, headerSize+nonceSize, headerSize+nonceSize+len(plaintext)+tagSize)
	box[0] = boxVersion
	binary.BigEndian.PutUint32(box[1:], key.term)
	rand.Read(box[headerSize:]) // never fails since Go 1.24
	return key.aead.Seal(box, box[headerSize:], plaintext, ad.bound(box[:headerSize], p)), nil
}

// Open gives back what Seal closed for the same place. An error with ErrBox in its chain says that it never will; one
// of kind fault.Unavailable, that the keyring could not be read just now.
func (k *Keyring) Open(p Purpose, ad AD, box []byte) (redact.Secret, error) {
	if len(box) < headerSize+nonceSize+tagSize || box[0] != boxVersion {
		return redact.Secret{}, boxError(ad, "it is not a box of a known version")
	}
	term := binary.BigEndian.Uint32(box[1:])
	key, err := k.term(p, term)
	if err != nil {
		return redact.Secret{}, fault.Wrap(err, fault.Unavailable, "keyring_unavailable", "A stored secret cannot be opened just now.")
	}
	if key == nil {
		return redact.Secret{}, boxError(ad, fmt.Sprintf("the keyring holds no term %d of %s", term, p))
	}
	header, nonce, ciphertext := box[:headerSize], box[headerSize:headerSize+nonceSize], box[headerSize+nonceSize:]
	plaintext, err := key.aead.Open(nil, nonce, ciphertext, ad.bound(header, p))
	if err != nil {
		return redact.Secret{}, boxError(ad, "it was changed, or belongs elsewhere")
	}
	return redact.FromBytes(plaintext), nil
}

func boxError(ad AD, why string) error {
	err := fmt.Errorf("%w: %s.%s of row %q version %d: %s", ErrBox, ad.Table, ad.Column, ad.Row, ad.Version, why)
	return fault.Wrap(err, fault.Internal, "integrity", "A stored secret does not open.")
}

// BoxTerm is the term that a box was sealed under, for whoever seals old boxes again. It is 0 for what is no box.
func BoxTerm(box []byte) int64 {
	if len(box) < headerSize || box[0] != boxVersion {
		return 0
	}
	return int64(binary.BigEndian.Uint32(box[1:]))
}

const (
	macTerm = 4
	macSize = macTerm + sha256.Size
)

// MAC is the stored form of a generated secret of at least 128 random bits: fast, and useless without the keyring. The
// kind separates namespaces: a value that is valid as one kind is not as another. It must never be used for what a
// person chose.
func (k *Keyring) MAC(kind string, value redact.Secret) []byte {
	return k.newest(Lookup).mac(kind, value)
}

// LookupMACs is the MAC under every term that the keyring holds, newest first: for a search by the stored form.
func (k *Keyring) LookupMACs(kind string, value redact.Secret) [][]byte {
	var macs [][]byte
	for _, key := range slices.Backward(k.ring.Load().keys[Lookup]) {
		macs = append(macs, key.mac(kind, value))
	}
	return macs
}

// VerifyMAC tells whether stored is the MAC of this value, in a time that depends on neither.
func (k *Keyring) VerifyMAC(kind string, value redact.Secret, stored []byte) bool {
	if len(stored) != macSize {
		return false
	}
	key, err := k.term(Lookup, binary.BigEndian.Uint32(stored))
	if err != nil {
		k.log.Error("a stored MAC cannot be verified: the keyring could not be read", "error", err)
	}
	return key != nil && hmac.Equal(key.mac(kind, value), stored)
}

func (t *termKey) mac(kind string, value redact.Secret) []byte {
	h := t.macs.Get().(hash.Hash)
	defer t.macs.Put(h)
	h.Reset()
	out := make([]byte, macTerm, macSize)
	binary.BigEndian.PutUint32(out, t.term)
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(kind)))
	h.Write(length[:])
	h.Write([]byte(kind))
	h.Write(value.Bytes())
	return h.Sum(out)
}

// AuditKey is the key that signs the checkpoints of the audit log.
func (k *Keyring) AuditKey() ed25519.PrivateKey { return k.newest(Audit).signer() }

// AuditPublicKeys are the public halves of AuditKey in all terms, newest first: older checkpoints carry older ones.
func (k *Keyring) AuditPublicKeys() []ed25519.PublicKey {
	var public []ed25519.PublicKey
	for _, key := range slices.Backward(k.ring.Load().keys[Audit]) {
		public = append(public, key.signer().Public().(ed25519.PublicKey))
	}
	return public
}

func (t *termKey) signer() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(derive(t.raw, "ed25519", ed25519.SeedSize))
}

// NewSecret makes a secret of 256 random bits: the prefix, then 43 characters of base64url, which need no escaping in a
// header, a form or a URL.
func NewSecret(prefix string) redact.Secret {
	var b [32]byte
	rand.Read(b[:]) // never fails since Go 1.24
	out := make([]byte, len(prefix)+base64.RawURLEncoding.EncodedLen(len(b)))
	copy(out, prefix)
	base64.RawURLEncoding.Encode(out[len(prefix):], b[:])
	clear(b[:])
	return redact.FromBytes(out)
}

// derive makes a key for one use. The secret is random and long, so HKDF needs no salt (RFC 5869, 3.1).
func derive(secret []byte, use string, size int) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "mintmark "+use+" 1", size)
	if err != nil {
		panic(err) // only for sizes beyond 8160 bytes; they are constants here
	}
	return key
}
