package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/internal/audit"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/registry"
	"github.com/mintmark/mintmark/internal/route"
)

// authorize is the authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core section 3.1.2).
func (p *people) authorize(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		notThisMethod(w, r, "GET, POST")
		return
	}
	raw, err := sent(r)
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	if fetched(w, r, raw) {
		return
	}
	q, f, err := p.read(r, raw)
	if err != nil {
		p.answerTo(w, r, q, err)
		return
	}
	p.proceed(w, r, q, f)
}

// sent is the query, and with POST the form as well.
func sent(r *http.Request) (string, error) {
	if r.Method != http.MethodPost {
		return r.URL.RawQuery, nil
	}
	if !isForm(r) {
		return "", page(http.StatusUnsupportedMediaType, invalidRequest, "The application that sent you here did not send a form.")
	}
	body, err := readBody(r)
	return strings.Trim(r.URL.RawQuery+"&"+body, "&"), err
}

// read takes the request apart, a new one or, by its flow, one that waits. If the error comes with a request, the client
// may be told.
func (p *people) read(r *http.Request, raw string) (*authRequest, *flow, error) {
	a, ok := readAnswers(raw)
	var f *flow
	handle, resumed := a.find("flow")
	if _, named := a.find("client_id"); ok && resumed && !named {
		var err error
		if f, err = p.findFlow(r.Context(), r, handle); err != nil {
			return nil, nil, err
		}
		raw = f.request
		a, ok = readAnswers(raw)
	}
	if !ok {
		return nil, nil, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: its request cannot be read.")
	}
	q, err := p.target(r.Context(), a)
	if err != nil {
		return nil, nil, err
	}
	q.raw = raw
	return q, f, q.check(a, p.s.audience[0])
}

// answerTo tells the client if it is known to be good, and the person if not.
func (p *people) answerTo(w http.ResponseWriter, r *http.Request, q *authRequest, err error) {
	if q == nil {
		p.refusePage(w, r, err)
		return
	}
	p.refuseBack(w, r, q, err)
}

// errSignIn says that the person must sign in first.
var errSignIn = refuse(loginRequired, "The person must sign in.")

// person finds out who is signed in, and whether that will do for this request. errSignIn tells that it will not.
func (p *people) person(r *http.Request, q *authRequest, f *flow) (session.Session, error) {
	s, ok, err := p.Sessions.Current(r.Context(), r)
	if err != nil {
		return s, err
	}
	if q.idToken != "" {
		// The hint names somebody; it never signs anybody in. With another person there is nothing to go on with.
		if subject := p.hinted(q); subject == "" || ok && subject != s.User.ID {
			return s, refuse(loginRequired, "The person that id_token_hint names is not signed in.")
		}
	}
	if !ok {
		return s, errSignIn
	}
	began := p.s.clock.Now()
	if f != nil {
		began = f.created
	}
	switch {
	case q.fresh() || q.maxAge == 0:
		if f == nil || s.AuthTime.Before(began) {
			return s, errSignIn
		}
	case q.maxAge > 0 && s.AuthTime.Before(began.Add(-q.maxAge)):
		return s, errSignIn
	}
	return s, nil
}

// proceed goes on as far as it can without the person: to a code, to the page to sign in at, or to the question.
func (p *people) proceed(w http.ResponseWriter, r *http.Request, q *authRequest, f *flow) {
	ctx := r.Context()
	s, err := p.person(r, q, f)
	if err != nil {
		if errors.Is(err, errSignIn) && !q.wants("none") {
			p.wait(w, r, q, f, (*flow).loginAt)
			return
		}
		p.refuseBack(w, r, q, err)
		return
	}
	route.Identify(ctx, caller(ctx, s.User, q.client.ID))
	wish, err := p.wish(ctx, q, s)
	if err != nil {
		p.refuseBack(w, r, q, err)
		return
	}
	if len(wish) > 0 || q.wants("consent") {
		if q.wants("none") {
			p.refuseBack(w, r, q, refuse(consentRequired, "The person must be asked."))
			return
		}
		p.wait(w, r, q, f, (*flow).consentAt)
		return
	}
	p.giveCode(w, r, q, &beginning{flow: f, person: s})
}

func (f *flow) consentAt(*authRequest) string { return "/consent?flow=" + f.handle.Reveal() }

// wait sends the browser to a page of ours, from which it comes back.
func (p *people) wait(w http.ResponseWriter, r *http.Request, q *authRequest, f *flow, at func(*flow, *authRequest) string) {
	if f == nil {
		var err error
		if f, err = p.startFlow(w, r, q); err != nil {
			p.refuseBack(w, r, q, err)
			return
		}
	}
	redirect(w, at(f, q))
}

// wish is what the client asks for and the person has not allowed yet; with prompt=consent, all that it asks for. It
// refuses what is not this person's to allow.
func (p *people) wish(ctx context.Context, q *authRequest, s session.Session) ([]ScopeText, error) {
	var wish []ScopeText
	err := p.s.db.Read(ctx, func(tx db.ReadTx) error {
		allowed, err := loadApproval(ctx, tx, s.User.ID, q.client.ID)
		if err != nil {
			return err
		}
		if bound, typed, err := registry.LoadBound(ctx, tx, q.client.ID, s.User.ID); err != nil {
			return err
		} else if typed {
			if err := withinBound(&bound, q.scopes); err != nil {
				return err
			}
		}
		for _, scope := range q.scopes {
			text := ScopeText{Name: scope, Text: commonTexts[scope]}
			if !slices.Contains(commonScopes, scope) {
				text, err = p.Catalog.Describe(ctx, tx, scope)
				if fault.Is(err, fault.NotFound) && q.client.Type != "" {
					text, err = ScopeText{Name: scope, Text: scope, Realms: []string{s.User.Realm}}, nil // the type knows it
				}
				if fault.Is(err, fault.NotFound) {
					return refuse(invalidScope, "There is no scope "+scope+".")
				}
				if err != nil {
					return err
				}
				if !slices.Contains(text.Realms, s.User.Realm) {
					return refuse(invalidScope, "People of this realm own nothing that scope "+scope+" is about.")
				}
			}
			if q.wants("consent") || !slices.Contains(allowed, scope) {
				wish = append(wish, text)
			}
		}
		return nil
	})
	return wish, err
}

// giveCode begins the grant and sends the browser back with its code.
func (p *people) giveCode(w http.ResponseWriter, r *http.Request, q *authRequest, b *beginning) {
	b.request = q
	b.caller = caller(r.Context(), b.person.User, q.client.ID)
	code := p.newBeginning(b)
	if err := p.changes.Do(r.Context(), change{begin: b}); err != nil {
		p.refuseBack(w, r, q, err)
		return
	}
	if b.lost {
		p.refusePage(w, r, errNoFlow())
		return
	}
	p.back(w, r, q, parameter{"code", code})
}

// deny marks the flow as answered and tells the client.
func (p *people) deny(w http.ResponseWriter, r *http.Request, q *authRequest, f *flow, s session.Session) {
	ctx := r.Context()
	err := p.s.db.Write(ctx, func(tx db.WriteTx) error {
		ok, err := useFlow(ctx, tx, f.mac)
		if err != nil {
			return err
		}
		if !ok {
			return errNoFlow()
		}
		return audit.Record(ctx, tx, audit.Event{
			Action: "approval.deny", Outcome: audit.Success, Caller: caller(ctx, s.User, q.client.ID), TargetType: "client", TargetID: q.client.ID,
			Details: map[string]any{"scopes": q.scopes},
		})
	})
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	p.refuseBack(w, r, q, refuse(accessDenied, "The person did not allow it."))
}

// hinted is the subject of the id_token_hint, or "" if that is no ID token that we made for this client.
func (p *people) hinted(q *authRequest) string {
	if subject, client := p.readHint(q.idToken); client == q.client.ID {
		return subject
	}
	return ""
}

// readHint tells whom an ID token of ours names, and for which client it was made; "" and "" if it is none. It may have
// expired: it proves nothing, it only names.
func (p *people) readHint(token string) (subject, client string) {
	t, err := parseJWS(token)
	if err != nil || t.typ != idTokenType {
		return "", ""
	}
	key, known := p.s.keys.Key(t.kid)
	if !known || string(key.Alg) != t.alg || !key.Verify(t.input, t.signature) {
		return "", ""
	}
	var issuer string
	r := &jsonReader{b: t.payload}
	err = r.object(maxParameters, func(name string) (err error) {
		switch name {
		case "iss":
			issuer, err = r.text()
		case "sub":
			subject, err = r.text()
		case "aud":
			client, err = r.text()
		default:
			err = r.skip(0)
		}
		return err
	})
	if err != nil || r.end() != nil || issuer != p.s.issuer || subject == "" {
		return "", ""
	}
	return subject, client
}

// Destination tells, for an address of the authorization endpoint that waits for a login, which client that is for, and
// where it ends: for the page to sign in at. It is false unless both are good.
func (s *Server) Destination(ctx context.Context, address string) (client, redirectURI string, ok bool) {
	u, err := url.Parse(address)
	if err != nil || u.Path != "/oauth2/authorize" || s.people == nil {
		return "", "", false
	}
	a, ok := readAnswers(u.RawQuery)
	handle := a.get("flow")
	if !ok || len(handle) != len(flowPrefix)+secretLength {
		return "", "", false
	}
	f, _, err := s.people.loadFlow(ctx, handle)
	if err != nil {
		return "", "", false
	}
	if a, ok = readAnswers(f.request); !ok {
		return "", "", false
	}
	q, err := s.people.target(ctx, a)
	if err != nil {
		return "", "", false
	}
	return q.client.Name, q.redirect, true
}
