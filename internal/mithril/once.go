package mithril

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/redact"
)

// The kinds of MACs under which requests are remembered.
const (
	macKey  = "mithril-idempotency-key"
	macBody = "mithril-idempotency-body"
)

// keysLive is how long a repeated request is known for one.
const keysLive = 24 * time.Hour

// once makes something, or answers the id of what the same request of the same caller made before. The key is remembered in
// the transaction that makes the thing: of two at once one commits, and the other one, tried again, finds it.
func (c *call) once(tx db.WriteTx, create func() (string, error)) (string, error) {
	if c.key() == "" {
		return create()
	}
	about := c.who.ID + "\n" + c.op + "\n" + c.r.URL.Path + "\n"
	sum := sha256.Sum256(c.body) // it holds a password perhaps: what is kept is a MAC of its hash
	body := redact.New(base64.RawURLEncoding.EncodeToString(sum[:]))
	for _, mac := range c.o.Keyring.LookupMACs(macKey, redact.New(about+c.key())) {
		var made string
		var bodyMAC []byte
		var expires int64
		err := tx.QueryRow(c, `SELECT made, body, expires FROM mithril_idempotency WHERE key = $1`, mac).Scan(&made, &bodyMAC, &expires)
		if errors.Is(err, db.ErrNoRows) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("look for an idempotency key: %w", err)
		}
		if !tx.Now().Before(db.Time(expires)) {
			if err := db.One(tx.Exec(c, `DELETE FROM mithril_idempotency WHERE key = $1`, mac)); err != nil {
				return "", fmt.Errorf("forget an idempotency key: %w", err)
			}
			continue
		}
		if !c.o.Keyring.VerifyMAC(macBody, body, bodyMAC) {
			return "", &failure{status: http.StatusConflict, kind: "request_conflict", message: "Another request came under this idempotency key."}
		}
		return made, nil
	}
	made, err := create()
	if err != nil {
		return "", err
	}
	if err := db.One(tx.Exec(c, `INSERT INTO mithril_idempotency (key, body, made, expires) VALUES ($1, $2, $3, $4)`,
		c.o.Keyring.MAC(macKey, redact.New(about+c.key())), c.o.Keyring.MAC(macBody, body), made, db.Micros(tx.Now().Add(keysLive)))); err != nil {
		return "", fmt.Errorf("remember an idempotency key: %w", err)
	}
	return made, nil
}
