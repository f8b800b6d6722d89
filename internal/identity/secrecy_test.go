package identity_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/seal"
)

// Nothing that the database holds contains a secret that was handed out, and neither does what identity prints.
func TestSecretsAreNowhere(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key, _ := w.ensureAdministrator()
		w.create("kio")
		password := w.prepare("kio", 1)
		w.accepted("kio", password)
		if _, err := w.dir.VerifyAccessKey(ctx, key); err != nil {
			t.Fatal(err)
		}
		if err := w.dir.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		canaries := map[string]string{
			"password": strings.TrimPrefix(password.Reveal(), "mmp_"), "access key": key.Reveal()[len("mmk_")+27:],
		}
		for _, query := range []string{
			`SELECT details FROM audit_events`, `SELECT verifier FROM service_passwords`, `SELECT verifier FROM access_keys`,
			`SELECT item FROM changes`, `SELECT display_name FROM users`, `SELECT label FROM access_keys`, `SELECT id FROM access_keys`,
		} {
			if err := w.d.Read(ctx, func(tx db.ReadTx) error {
				rows, err := tx.Query(ctx, query)
				if err != nil {
					return err
				}
				defer rows.Close()
				found := 0
				for rows.Next() {
					var content []byte
					if err := rows.Scan(&content); err != nil {
						return err
					}
					found++
					for what, canary := range canaries {
						if bytes.Contains(content, []byte(canary)) {
							t.Errorf("%s shows the %s", query, what)
						}
					}
				}
				if found == 0 {
					t.Errorf("%s: no rows, so this proves nothing", query)
				}
				return rows.Err()
			}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := w.login("nobody", password)
		if text := fmt.Sprintf("%v %+v %#v", err, err, password); strings.Contains(text, canaries["password"]) {
			t.Error("an error or a secret prints")
		}
	})
}

// The lookup key of the keyring turns; what it made before is still accepted.
func TestSecretsSurviveANewLookupKey(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		key, _ := w.ensureAdministrator()
		w.create("kio")
		v1 := w.prepare("kio", 1)
		w.write(func(tx db.WriteTx) error { _, err := w.keyring.RotateTerm(ctx, tx, seal.Lookup); return err })
		v2 := w.prepare("kio", 2)
		if !w.accepted("kio", v1) || !w.accepted("kio", v2) {
			t.Error("a password is refused since the lookup key has turned")
		}
		if _, err := w.dir.VerifyAccessKey(ctx, key); err != nil {
			t.Errorf("an access key is refused since the lookup key has turned: %v", err)
		}
		if w.accepted("kio", key) {
			t.Error("an access key was taken for a password")
		}
	})
}

// While the database is away, a node says so instead of calling right credentials wrong.
func TestUnavailableIsNotARefusal(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("kio")
		password := w.prepare("kio", 1)
		w.clock.Advance(time.Minute)
		cut := newWorld(t, w.d, w.keyring, w.clock) // it has nobody in memory
		if err := w.d.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := cut.login("kio", password)
		if err == nil || err == identity.ErrCredentials { //nolint:errorlint // the very value that must not come
			t.Errorf("with the database gone: %v", err)
		}
	})
}
