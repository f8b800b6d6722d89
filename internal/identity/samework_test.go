package identity_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/redact"
)

// A name that nobody has must cost the queries of one that somebody has, or their time tells which names exist. Here the
// table that only the second of them reads is taken away: both must notice.
func TestUnknownNamesAreLookedUpLikeKnownOnes(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.create("app")
		w.write(func(tx db.WriteTx) error {
			_, err := tx.Exec(ctx, `ALTER TABLE service_passwords RENAME TO elsewhere`)
			return err
		})
		for _, name := range []string{"app", "nobody"} {
			if _, err := w.login(name, redact.New("wrong")); err == nil || errors.Is(err, identity.ErrCredentials) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// noting notes the statements of a transaction.
type noting struct {
	db.WriteTx
	texts *[]string
}

func (x noting) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	*x.texts = append(*x.texts, query)
	return x.WriteTx.Query(ctx, query, args...)
}

func (x noting) QueryRow(ctx context.Context, query string, args ...any) db.Row {
	*x.texts = append(*x.texts, query)
	return x.WriteTx.QueryRow(ctx, query, args...)
}

func (x noting) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	*x.texts = append(*x.texts, query)
	return x.WriteTx.Exec(ctx, query, args...)
}

// Whoever's name is typed, a try to sign in runs the same statements in the same order, from the first to the one that
// must wait, with what a browser is known by and without. That each computes one hash is TestRefusalsAreOne; that the time
// is one is measured by bench/timing.go.
func TestB8_143_TriesAreTheSameStatements(t *testing.T) {
	inHouse(t, func(t *testing.T, h *house) {
		h.person("employees", "jane", "jane@example.org", janes)
		h.person("employees", "bare", "", "")
		gone := h.person("employees", "gone", "gone@example.org", janes)
		h.write(func(tx db.WriteTx) error { return h.dir.DisablePerson(ctx, tx, admin, gone.ID) })
		for _, device := range []string{"", "mmn_" + strings.Repeat("x", 43)} {
			var first [][]string
			for _, name := range []string{"nobody", "jane", "bare", "gone", "nobody@example.org", "gone@example.org"} {
				var tries [][]string
				for range identity.FreeTries + 1 {
					h.write(func(tx db.WriteTx) error {
						var texts []string
						err := h.dir.CountTry(ctx, noting{tx, &texts}, name, redact.New(device))
						tries = append(tries, texts)
						return err
					})
				}
				if first == nil {
					first = tries
				}
				if len(tries[0]) < 5 {
					t.Errorf("%s: only %d statements were noted", name, len(tries[0]))
				}
				if d := cmp.Diff(first, tries); d != "" {
					t.Errorf("%s is not looked at like a name that nobody has (-nobody +%s):\n%s", name, name, d)
				}
			}
			h.clock.Advance(time.Hour)
		}
	})
}
