package oauth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/jobs"
	"github.com/mintmark/mintmark/internal/outbound"
)

// Clients hear from us that a session has ended (OpenID Connect Back-Channel Logout).
//
// What it guards: the person's sign-out waits for nobody. What is to be told is written down with it, and told by a job,
// which tries again for an hour where nobody answers. A logout token says for whom it is, is good for two minutes, and is
// of a type that nothing else here takes.

// Outbound calls the addresses that clients gave (outbound.Client).
type Outbound interface {
	Do(ctx context.Context, r outbound.Request) (outbound.Answer, error)
}

// LogoutJob is the kind of the work that NotifyLogout does; its key is a client.
const LogoutJob = "backchannel-logout"

// The bounds of what one client is told.
const (
	logoutTokenType = "logout+jwt"
	logoutTokenLife = 2 * time.Minute // the most that the standard advises (section 2.4)
	noticeLife      = time.Hour
	maxNotices      = 10_000 // that wait for one client; the oldest are given up
	noticesAtOnce   = 8
	noticeRound     = 6 * noticesAtOnce
	deafFor         = 30 * time.Second // at least, after a client answered nothing
)

// noticePauses are the times from one try to the next. After the last one the client is given up.
var noticePauses = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute}

// noticeClients writes down whom to tell of the sessions that end, in the transaction that ends them, before their rows
// go.
func (p *people) noticeClients(ctx context.Context, tx db.WriteTx, which session.Which) error {
	if p.Outbound == nil {
		return nil
	}
	condition, args := endingSessions(which)
	condition += ` AND c.backchannel`
	var clients []string
	err := eachRow(ctx, tx, `SELECT DISTINCT c.client_id FROM session_clients c JOIN sessions s ON s.id = c.session_id WHERE `+condition+` ORDER BY c.client_id`, args, func(row db.Row) error {
		var clientID string
		err := row.Scan(&clientID)
		clients = append(clients, clientID)
		return err
	})
	if err != nil {
		return fmt.Errorf("find the clients of a session: %w", err)
	}
	if len(clients) == 0 {
		return nil
	}
	now, next := tx.Now(), len(args)+1
	at, until := `CAST($`+strconv.Itoa(next)+` AS BIGINT)`, `CAST($`+strconv.Itoa(next+1)+` AS BIGINT)`
	if _, err := tx.Exec(ctx, `INSERT INTO logout_notices (id, client_id, user_id, session_id, created, due, expires, attempts)
		SELECT c.session_id || ' ' || c.client_id, c.client_id, s.user_id, c.session_id, `+at+`, `+at+`, `+until+`, 0
		FROM session_clients c JOIN sessions s ON s.id = c.session_id WHERE `+condition+` ON CONFLICT (id) DO NOTHING`,
		append(slices.Clone(args), db.Micros(now), db.Micros(now.Add(noticeLife)))...); err != nil {
		return fmt.Errorf("note whom to tell of a logout: %w", err)
	}
	for _, clientID := range clients {
		if err := jobs.Schedule(ctx, tx, LogoutJob, clientID, now); err != nil {
			return err
		}
	}
	return nil
}

// notice is one session's end that one client is to hear of.
type notice struct {
	id, user, session string
	attempts          int64
	expires           time.Time

	heard bool
}

// NotifyLogout tells the client that the job names of the sessions that have ended: some of them, and then the job is due
// again.
func (s *Server) NotifyLogout(ctx context.Context, j jobs.Job) (jobs.Result, error) {
	p := s.people
	if p == nil || p.Outbound == nil {
		return jobs.Result{}, nil
	}
	client, err := s.clients.Client(ctx, j.Key)
	if err != nil && !unknown(err) {
		return jobs.Result{}, err
	}
	if err != nil || !client.Enabled || client.Metadata.BackchannelLogoutURI == "" {
		return jobs.Result{}, p.forgetNotices(ctx, j) // there is nobody to tell any more
	}
	due, err := p.dueNotices(ctx, j)
	if err != nil {
		return jobs.Result{}, err
	}
	tried := p.tell(ctx, client, due)
	if err := ctx.Err(); err != nil {
		return jobs.Result{}, err // nothing is recorded of tries that were broken off
	}
	return p.recordNotices(ctx, j, tried)
}

// forgetNotices drops all that a client was to be told which cannot be told any more.
func (p *people) forgetNotices(ctx context.Context, j jobs.Job) error {
	return p.s.db.Write(ctx, func(tx db.WriteTx) error {
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM logout_notices WHERE client_id = $1`, j.Key); err != nil { // any number is right
			return fmt.Errorf("forget whom to tell of a logout: %w", err)
		}
		return nil
	})
}

// dueNotices reads what is to be told now, the longest due first, after it gave up what is too late or too much.
func (p *people) dueNotices(ctx context.Context, j jobs.Job) (due []*notice, err error) {
	err = p.s.db.Write(ctx, func(tx db.WriteTx) error {
		due = nil
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		now := db.Micros(tx.Now())
		late, err := tx.Exec(ctx, `DELETE FROM logout_notices WHERE client_id = $1 AND expires <= $2`, j.Key, now)
		if err != nil {
			return fmt.Errorf("give up what is too late: %w", err)
		}
		excess, err := tx.Exec(ctx, `DELETE FROM logout_notices WHERE client_id = $1 AND id IN (SELECT id FROM logout_notices
			WHERE client_id = $1 ORDER BY created DESC, id LIMIT 1000000 OFFSET `+strconv.Itoa(maxNotices)+`)`, j.Key)
		if err != nil {
			return fmt.Errorf("give up what is too much: %w", err)
		}
		if err := p.recordGivenUp(ctx, tx, j.Key, late+excess); err != nil {
			return err
		}
		err = eachRow(ctx, tx, `SELECT id, user_id, session_id, attempts, expires FROM logout_notices
			WHERE client_id = $1 AND due <= $2 ORDER BY due, id LIMIT `+strconv.Itoa(noticeRound), []any{j.Key, now}, func(row db.Row) error {
			var n notice
			var expires int64
			err := row.Scan(&n.id, &n.user, &n.session, &n.attempts, &expires)
			n.expires = db.Time(expires)
			due = append(due, &n)
			return err
		})
		if err != nil {
			return fmt.Errorf("read what a client is to be told: %w", err)
		}
		return nil
	})
	return due, err
}

// tell tells the client, several at once, and answers what it tried. A client that answers nothing is not tried with all
// that waits.
func (p *people) tell(ctx context.Context, client Client, due []*notice) (tried []*notice) {
	for some := range slices.Chunk(due, noticesAtOnce) {
		var wg sync.WaitGroup
		for _, n := range some {
			wg.Go(func() { n.heard = p.tellOne(ctx, client, n) })
		}
		wg.Wait()
		tried = append(tried, some...)
		if !slices.ContainsFunc(some, func(n *notice) bool { return n.heard }) {
			break
		}
	}
	return tried
}

// tellOne tells whether the client has heard. Why it has not is in the log: nobody else is to learn from it what this
// server's network looks like.
func (p *people) tellOne(ctx context.Context, client Client, n *notice) bool {
	token, err := p.logoutToken(ctx, client, n)
	if err == nil {
		var a outbound.Answer
		a, err = p.Outbound.Do(ctx, outbound.Request{
			Purpose: "backchannel_logout", URL: client.Metadata.BackchannelLogoutURI, ContentType: formType,
			Body: []byte(url.Values{"logout_token": {string(token)}}.Encode()),
		})
		if err == nil && a.Status != http.StatusOK && a.Status != http.StatusNoContent {
			err = fmt.Errorf("the client answered %d", a.Status)
		}
	}
	if err != nil && ctx.Err() == nil {
		p.s.log.InfoContext(ctx, "a client did not hear of a logout", "client", client.ID, "attempt", n.attempts+1, "error", err)
	}
	return err == nil
}

// logoutToken makes a logout token (OpenID Connect Back-Channel Logout section 2.4), signed, and encrypted, as the
// client's ID tokens are. It has no nonce, so that it can be taken for no ID token.
func (p *people) logoutToken(ctx context.Context, client Client, n *notice) ([]byte, error) {
	signer, err := p.s.signerFor(ctx, client.Metadata.IDTokenAlg)
	if err != nil {
		return nil, err
	}
	now := p.s.clock.Now()
	b := appendText([]byte(`{"iss":`), p.s.issuer)
	b = appendText(append(b, `,"aud":`...), client.ID)
	b = strconv.AppendInt(append(b, `,"iat":`...), now.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), now.Add(logoutTokenLife).Unix(), 10)
	var unique [16]byte
	rand.Read(unique[:]) // never fails since Go 1.24
	b = appendText(append(b, `,"jti":`...), base64.RawURLEncoding.EncodeToString(unique[:]))
	b = append(b, `,"events":{"http://schemas.openid.net/event/backchannel-logout":{}}`...)
	b = appendText(append(b, `,"sub":`...), p.subject(client, n.user))
	b = appendText(append(b, `,"sid":`...), p.sessionName(client, n.session))
	token, err := signJWT(signer, logoutTokenType, append(b, '}'))
	if err != nil {
		return nil, err
	}
	return p.s.encryptFor(ctx, client, client.Metadata.IDTokenKeyAlg, client.Metadata.IDTokenEnc, token, true)
}

// recordNotices removes what was heard, gives up what was tried often enough, puts off the rest, and tells when the job
// is due again.
func (p *people) recordNotices(ctx context.Context, j jobs.Job, tried []*notice) (result jobs.Result, err error) {
	heard := len(tried) == 0 || slices.ContainsFunc(tried, func(n *notice) bool { return n.heard })
	err = p.s.db.Write(ctx, func(tx db.WriteTx) error {
		result = jobs.Result{}
		if err := jobs.Held(ctx, tx, j); err != nil {
			return err
		}
		now := tx.Now()
		var lost int64
		for _, n := range tried {
			gone, err := n.record(ctx, tx, now)
			if err != nil {
				return err
			}
			if gone && !n.heard {
				lost++
			}
		}
		if err := p.recordGivenUp(ctx, tx, j.Key, lost); err != nil {
			return err
		}
		var first int64
		err := tx.QueryRow(ctx, `SELECT due FROM logout_notices WHERE client_id = $1 ORDER BY due LIMIT 1`, j.Key).Scan(&first)
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for more to tell a client: %w", err)
		}
		result.Next = db.Time(first)
		if least := now.Add(deafFor); !heard && len(tried) == noticesAtOnce && result.Next.Before(least) {
			result.Next = least // there is a queue in front of a client that is not there
		}
		return nil
	})
	return result, err
}

// record records one try, and tells whether the notice is gone. The number of tries is compared, so that each is recorded
// once.
func (n *notice) record(ctx context.Context, tx db.WriteTx, now time.Time) (gone bool, err error) {
	var next time.Time
	if int(n.attempts) < len(noticePauses) {
		next = now.Add(noticePauses[n.attempts])
	}
	var rows int64
	if gone = n.heard || next.IsZero() || !next.Before(n.expires); gone {
		rows, err = tx.Exec(ctx, `DELETE FROM logout_notices WHERE id = $1 AND attempts = $2`, n.id, n.attempts)
	} else {
		rows, err = tx.Exec(ctx, `UPDATE logout_notices SET attempts = attempts + 1, due = $3 WHERE id = $1 AND attempts = $2`, n.id, n.attempts, db.Micros(next))
	}
	if err != nil {
		return false, fmt.Errorf("record that a client was told: %w", err)
	}
	return gone && rows == 1, nil
}

// recordGivenUp puts into the audit log that a client was not told of so many logouts.
func (p *people) recordGivenUp(ctx context.Context, tx db.WriteTx, clientID string, count int64) error {
	if count == 0 {
		return nil
	}
	return audit.Record(ctx, tx, audit.Event{
		Action: "logout.notify", Outcome: audit.Failed, Reason: "gave_up", Caller: access.SystemCaller(LogoutJob), TargetType: "client", TargetID: clientID,
		Details: map[string]any{"count": count},
	})
}
