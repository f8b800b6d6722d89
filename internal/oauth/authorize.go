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
	if p.fetched(w, r, raw) {
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

// read takes the request apart: a new one, one that was pushed, or, by its flow, one that waits. If the error comes with a
// request, the client may be told.
func (p *people) read(r *http.Request, raw string) (*authRequest, *flow, error) {
	a, ok := readAnswers(raw)
	var f *flow
	var pushed []byte
	handle, resumed := a.find("flow")
	clientID, named := a.find("client_id")
	switch uri := a.get("request_uri"); {
	case ok && resumed && !named:
		var err error
		if f, err = p.findFlow(r.Context(), r, handle); err != nil {
			return nil, nil, err
		}
		raw, pushed = f.request, f.pushed
		a, ok = readAnswers(raw)
	case ok && strings.HasPrefix(uri, pushedPrefix):
		// Whatever else stands in the address is nothing: the client said it all when it pushed the request.
		if len(a.twice) > 0 {
			return nil, nil, errNotPushed()
		}
		found, err := p.findPushed(r.Context(), clientID, uri)
		if err != nil {
			return nil, nil, err
		}
		raw, pushed = found.request, found.mac
		a, ok = readAnswers(raw)
	}
	if !ok {
		return nil, nil, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: its request cannot be read.")
	}
	if f == nil && pushed == nil {
		var err error
		if raw, a, err = p.unwrap(r.Context(), raw, a); err != nil {
			// What was not signed says where to tell of it, to an address that is registered in any case.
			if q, nowhere := p.target(r.Context(), a); nowhere == nil {
				return q, nil, err
			}
			return nil, nil, err
		}
	}
	q, err := p.target(r.Context(), a)
	if err != nil {
		return nil, nil, err
	}
	q.raw, q.pushed = raw, pushed
	return q, f, p.check(q, a)
}

// answerTo tells the client if it is known to be good, and the person if not.
func (p *people) answerTo(w http.ResponseWriter, r *http.Request, q *authRequest, err error) {
	if q == nil {
		p.refusePage(w, r, err)
		return
	}
	p.refuseBack(w, r, q, err)
}

// What a person must do before a request can go on. Each is what the client is told if nobody may be asked.
var (
	errSignIn   = refuse(loginRequired, "The person must sign in.")
	errRegister = refuse(loginRequired, "The person must register.")
	errChoose   = refuse(selectionRequired, "The person must choose an account.")
	errStepUp   = refuse(unmetAuthentication, "The person must prove to be it by another factor as well.")
	errAsk      = refuse(consentRequired, "The person must be asked.")
)

// person finds out who is signed in, and whether that will do for this request. Four errors tell what the person must do
// first.
func (p *people) person(r *http.Request, q *authRequest, f *flow) (session.Session, error) {
	s, ok, err := p.Sessions.Current(r.Context(), r)
	if err != nil {
		return s, err
	}
	if !p.meant(q, s, ok) {
		return s, refuse(loginRequired, "The person whom the application means is not signed in.")
	}
	// Since the flow began, the person has proved to be it for this very request.
	forThis := ok && f != nil && !s.AuthTime.Before(f.created)
	began := p.s.clock.Now()
	if f != nil {
		began = f.created
	}
	switch {
	case q.wants(promptCreate) && !forThis:
		return s, errRegister
	case !ok:
		return s, errSignIn
	case forThis:
	case q.wants("login") || q.maxAge == 0 || q.maxAge > 0 && s.AuthTime.Before(began.Add(-q.maxAge)):
		return s, errSignIn
	case q.wants("select_account") && (f == nil || f.chosen != s.ID):
		return s, errChoose
	}
	return s, p.reaches(r.Context(), q, s, forThis)
}

// meant tells whether the request is about the person who is signed in, if it is about somebody. Neither a hint nor a
// claim ever signs anybody in; with another person there is nothing to go on with.
func (p *people) meant(q *authRequest, s session.Session, signedIn bool) bool {
	var subject string
	if signedIn {
		subject = p.subject(q.client, s.User.ID)
	}
	if q.idToken != "" {
		if named := p.hinted(q); named == "" || signedIn && named != subject {
			return false
		}
	}
	return q.subjects == nil || len(q.subjects) > 0 && (!signedIn || slices.Contains(q.subjects, subject))
}

// reaches tells whether the login is of a class that the client wants. If it is not, and the person has another factor,
// she is sent to prove it, once; a wish that stays unmet is left at that, a condition is not.
func (p *people) reaches(ctx context.Context, q *authRequest, s session.Session, forThis bool) error {
	if len(q.acrs) == 0 && !q.mustACR || classFor(q.acrs, s.AMR) != "" {
		return nil
	}
	if slices.Contains(q.acrs, classTwo) && p.StepUp != nil && !forThis && !(q.wants("none") && !q.mustACR) {
		can, err := p.StepUp(ctx, s.User)
		if err != nil {
			return err
		}
		if can {
			return errStepUp
		}
	}
	if q.mustACR {
		return refuse(unmetAuthentication, "The person cannot sign in as the application demands.")
	}
	return nil
}

// proceed goes on as far as it can without the person: to the answer, or to the page where the person is needed.
func (p *people) proceed(w http.ResponseWriter, r *http.Request, q *authRequest, f *flow) {
	ctx := r.Context()
	s, err := p.person(r, q, f)
	if err == nil {
		route.Identify(ctx, caller(ctx, s.User, q.client.ID))
		var wish []ScopeText
		if wish, err = p.wish(ctx, q, s); err == nil && (len(wish) > 0 || q.wants("consent")) {
			err = errAsk
		}
	}
	if err == nil {
		p.give(w, r, q, &beginning{flow: f, person: s})
		return
	}
	if at := p.placeFor(err); at != nil && !q.wants("none") {
		p.wait(w, r, q, f, at)
		return
	}
	p.refuseBack(w, r, q, err)
}

// placeFor is the page of ours at which the person does what is missing, or nil.
func (p *people) placeFor(err error) func(*flow, *authRequest) string {
	switch {
	case errors.Is(err, errSignIn), errors.Is(err, errStepUp):
		return (*flow).loginAt
	case errors.Is(err, errRegister):
		return func(f *flow, q *authRequest) string { return p.RegisterAt(f.resumeAt()) + q.passed() }
	case errors.Is(err, errChoose):
		return func(f *flow, _ *authRequest) string { return "/select?flow=" + f.handle.Reveal() }
	case errors.Is(err, errAsk):
		return (*flow).consentAt
	}
	return nil
}

func (f *flow) consentAt(q *authRequest) string {
	at := "/consent?flow=" + f.handle.Reveal()
	if q.locales != "" {
		at += "&ui_locales=" + url.QueryEscape(q.locales)
	}
	return at
}

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
// refuses what is not this person's to allow. People are not asked about a client of the organisation itself, but for what
// goes on without them, and when the answer goes to a port of their machine, where any program may listen.
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
			if slices.Contains(q.client.Metadata.PersonScopes, scope) && !slices.Contains(commonScopes, scope) {
				if text, err = p.personScopeText(ctx, tx, s.User.Realm, scope); err != nil {
					return err
				}
			} else if !slices.Contains(commonScopes, scope) {
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
			silent := trusted(q.client, scope) && !toLoopback(q.redirect)
			if q.wants("consent") || !silent && !slices.Contains(allowed, scope) {
				wish = append(wish, text)
			}
		}
		for _, unit := range q.units() {
			silent := q.client.Metadata.FirstParty && !toLoopback(q.redirect)
			if q.wants("consent") || !silent && !slices.Contains(allowed, claimPermission(unit)) && !slices.Contains(allowed, claimScopes[unit]) {
				wish = append(wish, ScopeText{Name: claimPermission(unit), Text: claimTexts[unit]})
			}
		}
		return nil
	})
	return wish, err
}

// permissions are what the person allows with this request.
func (q *authRequest) permissions() []string {
	list := slices.Clone(q.scopes)
	for _, unit := range q.units() {
		list = append(list, claimPermission(unit))
	}
	return list
}

// units are the claims that are asked for by name, as a person allows them, without those that a scope of the request
// releases anyway.
func (q *authRequest) units() []string {
	var units []string
	for _, name := range q.claims {
		_, claim, _ := strings.Cut(name, ".")
		if unit := claimUnit(claim); !slices.Contains(units, unit) && !slices.Contains(q.scopes, claimScopes[unit]) {
			units = append(units, unit)
		}
	}
	slices.Sort(units)
	return units
}

// deny marks the flow as answered and tells the client.
func (p *people) deny(w http.ResponseWriter, r *http.Request, q *authRequest, f *flow, s session.Session) {
	ctx := r.Context()
	err := p.s.db.Write(ctx, func(tx db.WriteTx) error {
		ok, err := useFlow(ctx, tx, f)
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

// means tells whether an ID token of ours names this person, whichever client it was made for.
func (p *people) means(ctx context.Context, hint, userID string) bool {
	subject, clientID := p.readHint(hint)
	if subject == "" {
		return false
	}
	client, err := p.s.clients.Client(ctx, clientID)
	return err == nil && subject == p.subject(client, userID)
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

// Destination is where a login leads.
type Destination struct {
	ClientName  string
	RedirectURI string // as registered
	Realm       string // the only one whose people can go on there, by what the client asks for; "": there are several
}

// Destination tells, for an address of the authorization endpoint that waits for a login, which client that is for, and
// where it ends: for the page to sign in at. It is false unless both are good.
func (s *Server) Destination(ctx context.Context, address string) (Destination, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Path != "/oauth2/authorize" || s.people == nil {
		return Destination{}, false
	}
	a, ok := readAnswers(u.RawQuery)
	handle := a.get("flow")
	if !ok || len(handle) != len(flowPrefix)+secretLength {
		return Destination{}, false
	}
	f, _, err := s.people.loadFlow(ctx, handle)
	if err != nil {
		return Destination{}, false
	}
	if a, ok = readAnswers(f.request); !ok {
		return Destination{}, false
	}
	q, err := s.people.target(ctx, a)
	if err != nil {
		return Destination{}, false
	}
	return Destination{q.client.Name, q.redirect, s.people.onlyRealm(ctx, strings.Fields(a.get("scope")))}, true
}

// onlyRealm is the realm whose people alone own what all the scopes are about, or "".
func (p *people) onlyRealm(ctx context.Context, scopes []string) string {
	var realms []string
	err := p.s.db.Read(ctx, func(tx db.ReadTx) error {
		bound := false
		for _, scope := range scopes {
			if slices.Contains(commonScopes, scope) {
				continue
			}
			text, err := p.Catalog.Describe(ctx, tx, scope)
			if err != nil {
				return err
			}
			if !bound {
				realms, bound = slices.Clone(text.Realms), true
			}
			realms = slices.DeleteFunc(realms, func(r string) bool { return !slices.Contains(text.Realms, r) })
		}
		return nil
	})
	if err != nil || len(realms) != 1 {
		return "" // the person chooses, and is told what is wrong at the end
	}
	return realms[0]
}
