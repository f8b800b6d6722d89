package audit

import (
	"crypto/ed25519"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// LeafOf is what the log keeps of an event, for tests that forge one.
func LeafOf(s Stored) tlog.Hash { return s.leaf() }

// SignCheckpoint makes a checkpoint under a key of the test's.
var SignCheckpoint = signCheckpoint

// SignText signs what is perhaps no checkpoint.
func SignText(origin string, key ed25519.PrivateKey, text string) (string, error) {
	v, err := verifier(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return "", err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer{v, key})
	return string(signed), err
}

// OwnQuery is what Own asks.
var OwnQuery = ownQuery
