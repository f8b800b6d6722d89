package oauth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/id"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/route"
)

// consent is the page that asks the person, and takes the answer.
//
// What it guards: the answer comes from a page that this browser got, for the person who is signed in, about exactly what
// the page showed, and counts once. The form carries a hash of what was shown; if that has changed since, the page is
// shown again.
func (p *people) consent(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		handle, _, _ := strings.Cut(r.URL.Query().Get("flow"), ".")
		p.ask(w, r, handle)
	case http.MethodPost:
		if err := p.Sessions.CheckToken(r); err != nil {
			p.refusePage(w, r, err)
			return
		}
		values := r.PostForm["flow"]
		if len(values) != 1 {
			p.refusePage(w, r, errNoFlow())
			return
		}
		handle, shown, _ := strings.Cut(values[0], ".")
		p.decide(w, r, handle, shown, r.PostForm.Get("decision"))
	default:
		notThisMethod(w, r, "GET, POST")
	}
}

// question is what a person is asked, read anew each time.
type question struct {
	q    *authRequest
	f    *flow
	s    session.Session
	wish []ScopeText
}

// question finds what is to be asked. ok is false if the answer was given already: the person must sign in first, or the
// request cannot go on.
func (p *people) question(w http.ResponseWriter, r *http.Request, handle string) (question, bool) {
	// Escaped, so that what stands in place of the handle cannot bring a request of its own, which would have no flow.
	q, f, err := p.read(r, "flow="+url.QueryEscape(handle))
	if err != nil {
		p.answerTo(w, r, q, err)
		return question{}, false
	}
	s, err := p.person(r, q, f)
	if p.placeFor(err) != nil {
		redirect(w, f.resumeAt())
		return question{}, false
	}
	if err != nil {
		p.refuseBack(w, r, q, err)
		return question{}, false
	}
	route.Identify(r.Context(), caller(r.Context(), s.User, q.client.ID))
	wish, err := p.wish(r.Context(), q, s)
	if err != nil {
		p.refuseBack(w, r, q, err)
		return question{}, false
	}
	return question{q, f, s, wish}, true
}

// shown is the hash of all that the page says.
func (a question) shown() string {
	b, err := json.Marshal([]any{a.q.client.ID, a.q.client.Name, a.q.client.Team, a.q.client.Untrusted, a.q.redirect, a.q.raw, a.s.User.ID, a.s.User.DisplayName, a.wish})
	if err != nil {
		return "" // it is texts and lists of texts
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (p *people) ask(w http.ResponseWriter, r *http.Request, handle string) {
	a, ok := p.question(w, r, handle)
	if !ok {
		return
	}
	lasts, offline := p.lasts(a.q, a.s)
	p.Pages.Consent(w, r, ConsentView{
		ClientName: a.q.client.Name, Team: a.q.client.Team, Untrusted: a.q.client.Untrusted, RedirectURI: a.q.redirect, User: a.s.User, Scopes: a.wish, Lasts: lasts, Offline: offline,
		Flow: handle + "." + a.shown(),
	})
}

// lasts is how long the client can go on with what the person allows now, and whether it can after she has signed out.
func (p *people) lasts(q *authRequest, s session.Session) (life time.Duration, offline bool) {
	if q.kind.code && refreshable(q.client, q.scopes) {
		return p.absoluteLife(q.client, s.User.Realm), slices.Contains(q.scopes, scopeOffline)
	}
	return p.s.accessLife(q.client, s.User.Realm, grantAuthorizationCode), false
}

func (p *people) decide(w http.ResponseWriter, r *http.Request, handle, shown, decision string) {
	a, ok := p.question(w, r, handle)
	if !ok {
		return
	}
	switch {
	case decision == "deny":
		p.deny(w, r, a.q, a.f, a.s)
	case decision != "allow":
		p.refusePage(w, r, page(http.StatusBadRequest, invalidRequest, "The form does not say what you decided."))
	case shown != a.shown():
		redirect(w, a.f.consentAt(a.q))
	default:
		p.give(w, r, a.q, &beginning{flow: a.f, person: a.s, approves: true})
	}
}

func loadApproval(ctx context.Context, tx db.ReadTx, userID, clientID string) ([]string, error) {
	var scopes string
	err := tx.QueryRow(ctx, `SELECT scopes FROM approvals WHERE user_id = $1 AND client_id = $2`, userID, clientID).Scan(&scopes)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read an approval: %w", err)
	}
	return strings.Fields(scopes), nil
}

// approve remembers that the person allows the client these scopes, besides those of before.
func approve(ctx context.Context, tx db.WriteTx, c access.Caller, userID, clientID string, scopes []string) error {
	before, err := loadApproval(ctx, tx, userID, clientID)
	if err != nil {
		return err
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(before, scopes))))
	if err := storeApproval(ctx, tx, userID, clientID, all); err != nil {
		return err
	}
	return audit.Done(ctx, tx, c, "approval.grant", "client", clientID, map[string]any{"scopes": scopes, "scopes_before": before})
}

func storeApproval(ctx context.Context, tx db.WriteTx, userID, clientID string, scopes []string) error {
	if err := db.One(tx.Exec(ctx, `INSERT INTO approvals (user_id, client_id, scopes, granted, since, id) VALUES ($1, $2, $3, $4, $4, $5)
		ON CONFLICT (user_id, client_id) DO UPDATE SET scopes = excluded.scopes, granted = excluded.granted`,
		userID, clientID, strings.Join(scopes, " "), db.Micros(tx.Now()), id.New(id.Approval, tx.Now()))); err != nil {
		return fmt.Errorf("store an approval: %w", err)
	}
	return nil
}
