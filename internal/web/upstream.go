package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mintmark/mintmark/api"
	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/redact"
	"github.com/mintmark/mintmark/internal/route"
)

// The pages of package federation. They lead to a provider by a link and not by a form, because the policy of our pages
// holds forms to our own address; so a link of another site does not begin a login, but leads to the page to sign in.

const (
	linkPage     = securityPage + "/link"
	foundPage    = "/login/found"
	upstreamPath = "/login/upstream/"
	// How long the browser's cookie is kept; the row says what counts.
	upstreamSeconds = 60 * 60
)

// UpstreamRoutes registers the login with providers of others.
func (p *Pages) UpstreamRoutes(m *route.Mux) {
	m.Handle("GET "+upstreamPath+"{id}", p.UpstreamBegin)
	m.Handle("POST "+upstreamPath+"{id}/logout", p.UpstreamLogout)
	m.Handle("GET "+upstreamPath+"{id}/signed-out", p.UpstreamSignedOut)
	m.Handle("GET /login/callback/{id}", p.UpstreamCallback)
	m.Handle("GET "+foundPage, p.UpstreamFound)
	m.Handle("POST "+foundPage, p.UpstreamCreate)
	m.Handle("GET "+linkPage, p.LinkForm)
	m.Handle("POST "+linkPage, p.Link)
	m.Handle("POST "+securityPage+"/links/remove", p.Unlink)
}

// otherWay is a button of the login.
type otherWay struct{ ID, Name, Realm, Address string }

// otherWays are the providers of the realm, or, as long as none is chosen, of all realms that are offered, each with its
// realm's name.
func (p *Pages) otherWays(r *http.Request, d loginData) ([]otherWay, error) {
	if p.info.Upstream == nil {
		return nil, nil
	}
	offers, err := p.info.Upstream.Offers(r.Context(), d.Realm)
	if err != nil {
		return nil, err
	}
	q := url.Values{"return_to": {d.ReturnTo}}
	if d.Step != "" {
		q.Set("step", d.Step)
	}
	if d.Username != "" {
		q.Set("login_hint", d.Username)
	}
	var ways []otherWay
	for _, o := range offers {
		if d.Step == stepAgain && !o.Again {
			continue // it would be refused
		}
		way := otherWay{ID: o.ID, Name: o.Name, Address: upstreamPath + o.ID + "?" + q.Encode()}
		i := slices.IndexFunc(d.Realms, func(r option) bool { return r.Name == o.Realm })
		if d.Realm == "" {
			if i < 0 {
				continue // there are too many realms to show
			}
			if len(d.Realms) > 1 {
				way.Realm = words(d.Realms[i].Label)
			}
		}
		ways = append(ways, way)
	}
	return ways, nil
}

func (p *Pages) setUpstream(w http.ResponseWriter, value string, age int) {
	p.setCookie(w, upstreamCookie, value, age)
}

// upstreamBrowser is what the browser keeps of its logins at providers; empty if there is nothing.
func (p *Pages) upstreamBrowser(r *http.Request) redact.Secret {
	found := r.CookiesNamed(p.cookieName(upstreamCookie))
	if len(found) != 1 {
		return redact.Secret{}
	}
	return redact.New(found[0].Value)
}

// leave leads on without a page.
func (p *Pages) leave(w http.ResponseWriter, to string) {
	setHeaders(w)
	w.Header().Set("Cache-Control", "no-store")
	seeOther(w, to)
}

// UpstreamBegin leads to a provider: GET /login/upstream/{id}.
func (p *Pages) UpstreamBegin(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	to := returnTo(q.Get("return_to"))
	if p.info.Upstream == nil {
		p.fail(w, r, federation.ErrNoProvider)
		return
	}
	if p.info.Sessions.LedBy(r) != session.Ours {
		p.leave(w, "/login?return_to="+url.QueryEscape(to))
		return
	}
	words := &reader{pages: p}
	words.meet(w, r, "", http.StatusSeeOther)
	b := federation.Begin{
		Provider: r.PathValue("id"), Browser: p.upstreamBrowser(r), IP: route.ClientIP(r.Context()), ReturnTo: to, Hint: oneText(q.Get("login_hint")),
		Two: q.Get("step") == stepTwo, Again: q.Get("step") == stepAgain, Languages: words.Language,
	}
	if q.Get("link") != "" && !p.beginLink(w, r, &b) {
		return
	}
	begun, err := p.info.Upstream.Start(r.Context(), b)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.setUpstream(w, begun.Browser.Reveal(), upstreamSeconds)
	p.leave(w, begun.Location)
}

// oneText is a short text of one line, or nothing.
func oneText(s string) string {
	if len(s) > maxTyped || route.CheckLine("query", s, 0, maxTyped) != nil {
		return ""
	}
	return s
}

// beginLink has the login be one that adds an identity to the account of whoever is signed in, and has just proved to be
// it. If it answers false it has answered.
func (p *Pages) beginLink(w http.ResponseWriter, r *http.Request, b *federation.Begin) bool {
	s, ok := p.signedIn(w, r)
	if !ok {
		return false
	}
	f, _, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return false
	}
	if !p.fresh(s, f) {
		p.leave(w, again(securityPage))
		return false
	}
	offers, err := p.info.Upstream.Offers(r.Context(), s.User.Realm)
	if err != nil {
		p.fail(w, r, err)
		return false
	}
	for _, o := range offers {
		if o.ID == b.Provider {
			// Who is asked for an account elsewhere is to show that one anew, too.
			b.UserID, b.SessionID, b.ReturnTo, b.Again, b.Two, b.Hint = s.User.ID, s.ID, securityPage+"?done=linked", true, false, ""
			return true
		}
	}
	p.fail(w, r, federation.ErrNoProvider)
	return false
}

func (p *Pages) answer(r *http.Request) federation.Answer {
	return federation.Answer{
		Provider: r.PathValue("id"), Query: r.URL.Query(), Browser: p.upstreamBrowser(r), IP: route.ClientIP(r.Context()), Request: route.RequestID(r.Context()),
	}
}

// UpstreamCallback takes what a provider answers: GET /login/callback/{id}.
func (p *Pages) UpstreamCallback(w http.ResponseWriter, r *http.Request) {
	if p.info.Upstream == nil {
		p.fail(w, r, federation.ErrNoProvider)
		return
	}
	result, err := p.info.Upstream.Callback(r.Context(), p.answer(r))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	setHeaders(w)
	w.Header().Set("Cache-Control", "no-store")
	switch result.Outcome {
	case federation.SignedIn:
		p.enter(w, r, result)
	case federation.Confirm:
		seeOther(w, linkPage+"?login="+url.QueryEscape(result.Login))
	default:
		seeOther(w, foundPage+"?login="+url.QueryEscape(result.Login))
	}
}

// enter goes on with somebody whom a provider has proved, by the same steps as after a password.
func (p *Pages) enter(w http.ResponseWriter, r *http.Request, result federation.Result) {
	proof, err := json.Marshal(result.Proof)
	if err == nil {
		err = p.goOnFrom(w, r, result.User, result.AMR, result.Two, result.ReturnTo, string(proof))
	}
	if err != nil {
		p.fail(w, r, err)
	}
}

// provedUpstream reads what enter wrote, wherever the login was in between.
func provedUpstream(upstream string) (session.Proved, error) {
	if upstream == "" {
		return session.Proved{}, nil
	}
	var proof federation.Proof
	if err := json.Unmarshal([]byte(upstream), &proof); err != nil {
		return session.Proved{}, errors.New("read what a provider has proved")
	}
	return federation.Proved(proof), nil
}

type upstreamData struct {
	frame
	CSRF     string
	Step     string // link, choose, or "": nobody here is linked
	Login    string
	Provider string
	Realm    string
	Label    string
	User     string
	Username string
	Own      string // where to sign in to one's own account and link it
	Problem  string
}

// pending finds what the browser's login at a provider waits for.
func (p *Pages) pending(r *http.Request, loginID string) (w federation.Pending, err error) {
	if p.info.Upstream == nil {
		return w, federation.ErrNoProvider
	}
	err = p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		w, err = p.info.Upstream.Pending(r.Context(), tx, loginID, p.upstreamBrowser(r))
		return err
	})
	return w, err
}

// UpstreamFound is the page at GET /login/found, for somebody of a provider whom nobody here is linked with.
func (p *Pages) UpstreamFound(w http.ResponseWriter, r *http.Request) {
	loginID := r.URL.Query().Get("login")
	found, err := p.pending(r, loginID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.found(w, r, http.StatusOK, loginID, found, found.Found.Username, "")
}

func (p *Pages) found(w http.ResponseWriter, r *http.Request, status int, loginID string, found federation.Pending, username, problem string) {
	next := linkPage + "?login=" + url.QueryEscape(loginID)
	d := upstreamData{
		frame: p.frame("Not linked yet").of(found.Realm), CSRF: p.info.Sessions.Token(w, r), Login: loginID, Provider: found.Provider, Realm: found.Realm, Label: found.Found.Label,
		Username: username, Own: "/login?step=" + stepAgain + "&realm=" + url.QueryEscape(found.Realm) + "&return_to=" + url.QueryEscape(next), Problem: problem,
	}
	if found.Creates {
		d.frame, d.Step = p.frame("Choose a username").of(found.Realm), "choose"
		if strings.Contains(username, "@") && problem == "" {
			d.Username, _, _ = strings.Cut(username, "@")
		}
	}
	p.show(w, r, status, "upstream", d, p.leads(r, found.ReturnTo)...)
}

// UpstreamCreate takes the form at POST /login/found: an account begins under the chosen name.
func (p *Pages) UpstreamCreate(w http.ResponseWriter, r *http.Request) {
	if err := p.info.Sessions.CheckToken(r); err != nil {
		p.fail(w, r, err)
		return
	}
	loginID, username := r.PostForm.Get("login"), r.PostForm.Get("username")
	found, err := p.pending(r, loginID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	result, err := p.info.Upstream.Create(r.Context(), loginID, username, p.answer(r))
	if f := fault.Of(err); err != nil && (f.Code == "username" || f.Code == "user_exists") {
		status := http.StatusBadRequest
		if f.Kind == fault.Conflict {
			status = http.StatusConflict
		}
		route.NoteError(r.Context(), f.Code, err)
		p.found(w, r, status, loginID, found, username[:min(len(username), maxTyped)], told(f))
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.enter(w, r, result)
}

// LinkForm is the page at GET /account/security/link: who somebody is elsewhere, and here, to be confirmed.
func (p *Pages) LinkForm(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	loginID := r.URL.Query().Get("login")
	f, _, err := p.held(r, s)
	if err == nil && !p.fresh(s, f) {
		p.leave(w, again(linkPage+"?login="+url.QueryEscape(loginID)))
		return
	}
	var found federation.Pending
	if err == nil {
		found, err = p.pending(r, loginID)
	}
	if err == nil {
		err = found.Linkable(s.User, s.ID)
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "upstream", upstreamData{
		frame: p.frame("Link two accounts").of(found.Realm), CSRF: p.info.Sessions.Token(w, r), Step: "link", Login: loginID, Provider: found.Provider, Label: found.Found.Label, User: s.User.Username,
	}, p.leads(r, found.ReturnTo)...)
}

// Link takes the form at POST /account/security/link.
func (p *Pages) Link(w http.ResponseWriter, r *http.Request) {
	s, _, ok := p.owner(w, r)
	if !ok {
		return
	}
	if p.info.Upstream == nil {
		p.fail(w, r, federation.ErrNoProvider)
		return
	}
	var to string
	err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) (err error) {
		to, err = p.info.Upstream.LinkPending(r.Context(), tx, self(r, s), s.User, s.ID, r.PostForm.Get("login"), p.upstreamBrowser(r))
		return err
	})
	if err != nil {
		p.refuseChange(w, r, s, err)
		return
	}
	p.setUpstream(w, "", -1)
	if to = returnTo(to); to == afterLogin {
		to = securityPage + "?done=linked"
	}
	seeOther(w, to)
}

// Unlink takes the form at POST /account/security/links/remove.
func (p *Pages) Unlink(w http.ResponseWriter, r *http.Request) {
	s, _, ok := p.owner(w, r)
	if !ok {
		return
	}
	if p.info.Upstream == nil {
		p.fail(w, r, federation.ErrNoProvider)
		return
	}
	p.changeOwn(w, r, s, "unlinked", func(tx db.WriteTx) error {
		return p.info.Upstream.Unlink(r.Context(), tx, self(r, s), s.User.ID, r.PostForm.Get("id"), s.ID)
	})
}

// linkRow is a linked account on the page.
type linkRow struct {
	api.LinkedIdentity
	Since, Used string
}

// links are who a person is elsewhere, and where she may be somebody besides.
func (p *Pages) links(r *http.Request, u identity.User) (rows []linkRow, offers []federation.Offer, err error) {
	if p.info.Upstream == nil {
		return nil, nil, nil
	}
	var list []api.LinkedIdentity
	if err := p.info.DB.Read(r.Context(), func(tx db.ReadTx) (err error) {
		list, err = federation.Links(r.Context(), tx, u.ID)
		return err
	}); err != nil {
		return nil, nil, err
	}
	for _, l := range list {
		row := linkRow{l, day(l.Created), "not used yet"}
		if l.LastUsed != nil {
			row.Used = fill("last used {0}", day(*l.LastUsed))
		}
		rows = append(rows, row)
	}
	offers, err = p.info.Upstream.Offers(r.Context(), u.Realm)
	return rows, offers, err
}

// UpstreamLogout takes a logout token: POST /login/upstream/{id}/logout. Programs read the answer.
func (p *Pages) UpstreamLogout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	err := r.ParseForm()
	if err != nil {
		err = fault.Wrap(err, fault.Invalid, "malformed_form", "The form could not be read.")
	} else if p.info.Upstream == nil {
		err = federation.ErrNoProvider
	} else {
		err = p.info.Upstream.Logout(r.Context(), r.PathValue("id"), r.PostForm.Get("logout_token"), p.answer(r))
	}
	if err != nil {
		route.WriteProblem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}
