package audit

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintmark/mintmark/internal/db"
)

// Checkpoint says how long the log was and what its root was, signed.
type Checkpoint struct {
	Size int64
	Root tlog.Hash
	Note string // the signed text: origin, size, root in base64, and the signature (C2SP tlog-checkpoint)
	At   time.Time
}

// ErrCheckpoint is in the chain of the error of a text that is not a checkpoint signed by one of our keys.
var ErrCheckpoint = errors.New("audit: not a checkpoint of ours")

// checkOrigin: the origin becomes a name in a signed note, which knows no spaces and no plus.
func checkOrigin(origin string) error {
	if origin == "" || !utf8.ValidString(origin) || strings.Contains(origin, "+") || strings.ContainsFunc(origin, unicode.IsSpace) {
		return fmt.Errorf("audit: origin %q must be a text without spaces and plus signs", origin)
	}
	return nil
}

// VerifierKey is the public key in the form that other tools for signed notes read.
func VerifierKey(origin string, key ed25519.PublicKey) (string, error) {
	if err := checkOrigin(origin); err != nil {
		return "", err
	}
	return note.NewEd25519VerifierKey(origin, key)
}

// signer lets note.Sign use a key that never leaves its type as text.
type signer struct {
	note.Verifier
	key ed25519.PrivateKey
}

func (s signer) Sign(msg []byte) ([]byte, error) { return ed25519.Sign(s.key, msg), nil }

func signCheckpoint(origin string, key ed25519.PrivateKey, size int64, root tlog.Hash) (string, error) {
	v, err := verifier(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return "", err
	}
	body := fmt.Sprintf("%s\n%d\n%s\n", origin, size, root)
	text, err := note.Sign(&note.Note{Text: body}, signer{v, key})
	return string(text), err
}

func verifier(origin string, key ed25519.PublicKey) (note.Verifier, error) {
	text, err := VerifierKey(origin, key)
	if err != nil {
		return nil, err
	}
	return note.NewVerifier(text)
}

// ourKeys finds the verifier among our keys whatever the origin: the origin is the installation's address, which may
// change, and it is signed along with the rest.
type ourKeys []ed25519.PublicKey

func (keys ourKeys) Verifier(name string, hash uint32) (note.Verifier, error) {
	for _, key := range keys {
		if v, err := verifier(name, key); err == nil && v.KeyHash() == hash {
			return v, nil
		}
	}
	return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
}

// ParseCheckpoint reads a signed checkpoint and checks that one of these keys signed it.
func ParseCheckpoint(text string, keys []ed25519.PublicKey) (Checkpoint, error) {
	n, err := note.Open([]byte(text), ourKeys(keys))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Checkpoint{}, fmt.Errorf("%w: it has not three lines", ErrCheckpoint)
	}
	if n.Sigs[0].Name != lines[0] {
		return Checkpoint{}, fmt.Errorf("%w: its origin is not its signer", ErrCheckpoint)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("%w: its size is not a number", ErrCheckpoint)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(b) != tlog.HashSize {
		return Checkpoint{}, fmt.Errorf("%w: its root is not a hash", ErrCheckpoint)
	}
	return Checkpoint{Size: size, Root: tlog.Hash(b), Note: text}, nil
}

// Latest is the newest checkpoint that the database holds; false if there is none yet.
func Latest(ctx context.Context, tx db.ReadTx) (Checkpoint, bool, error) {
	c, err := scanCheckpoint(tx.QueryRow(ctx, `SELECT size, root, note, at FROM audit_checkpoints ORDER BY size DESC LIMIT 1`))
	if errors.Is(err, db.ErrNoRows) {
		return Checkpoint{}, false, nil
	}
	if err != nil {
		return Checkpoint{}, false, fmt.Errorf("read the newest checkpoint: %w", err)
	}
	return c, true, nil
}

func scanCheckpoint(row db.Row) (c Checkpoint, err error) {
	var at int64
	var root []byte
	if err := row.Scan(&c.Size, &root, &c.Note, &at); err != nil {
		return c, err
	}
	c.At = db.Time(at)
	c.Root, err = toHash(root)
	return c, err
}
