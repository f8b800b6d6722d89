package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/route"
)

// What is kept of a person is given to it, and erased, only after a login of the last minutes by all that the account has:
// a session that somebody found open gives neither.

const (
	dataPage  = "/account/data"
	erasePage = "/account/erase"
)

type dataData struct {
	frame
	CSRF    string
	User    identity.User
	Fresh   bool
	Again   string // where to confirm that it is you
	Erases  bool   // the realm lets people erase their accounts
	Problem string
}

// Data is the page at GET /account/data: a copy of all that is kept of the person, and where it erases the account.
func (p *Pages) Data(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	if p.info.Transfer == nil {
		p.NotFound(w, r)
		return
	}
	f, _, err := p.held(r, s)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, "data", dataData{frame: p.section("What is kept of you", profilePage).of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User,
		Fresh: p.fresh(s, f), Again: again(dataPage), Erases: p.info.Transfer.ErasesOwn(s.User.Realm)})
}

// ExportData takes the form at POST /account/data/export and answers the copy, as a file.
func (p *Pages) ExportData(w http.ResponseWriter, r *http.Request) {
	if p.info.Transfer == nil {
		p.NotFound(w, r)
		return
	}
	s, _, ok := p.owner(w, r)
	if !ok {
		return
	}
	held, err := p.info.Transfer.ExportOwn(r.Context(), self(r, s))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	text, err := json.MarshalIndent(held.Wire(), "", "  ")
	if err != nil {
		p.fail(w, r, fmt.Errorf("write what is kept of a person: %w", err))
		return
	}
	setHeaders(w)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Disposition", `attachment; filename="account-`+held.At.UTC().Format("2006-01-02")+`.json"`)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(text) // the browser went away: nobody is left to tell
}

// EraseForm is the page at GET /account/erase: it asks whether that is meant.
func (p *Pages) EraseForm(w http.ResponseWriter, r *http.Request) {
	if s, ok := p.freshly(w, r, erasePage); ok {
		p.erase(w, r, http.StatusOK, s, "")
	}
}

func (p *Pages) erase(w http.ResponseWriter, r *http.Request, status int, s session.Session, problem string) {
	if p.info.Transfer == nil || !p.info.Transfer.ErasesOwn(s.User.Realm) {
		p.notOffered(w, r, "To have your account erased, ask an administrator.")
		return
	}
	p.show(w, r, status, "erase", dataData{frame: p.section("Erase your account", profilePage).of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User, Problem: problem})
}

// Erase takes the form at POST /account/erase.
func (p *Pages) Erase(w http.ResponseWriter, r *http.Request) {
	if p.info.Transfer == nil {
		p.NotFound(w, r)
		return
	}
	s, _, ok := p.owner(w, r)
	if !ok {
		return
	}
	err := p.info.DB.Write(r.Context(), func(tx db.WriteTx) error {
		return p.info.Transfer.EraseOwn(r.Context(), tx, self(r, s), r.PostForm.Get("confirm"))
	})
	if f := fault.Of(err); err != nil && (f.Kind == fault.Invalid || f.Kind == fault.Conflict) {
		route.NoteError(r.Context(), f.Code, err)
		status := http.StatusBadRequest
		if f.Kind == fault.Conflict {
			status = http.StatusConflict
		}
		p.erase(w, r, status, s, told(f))
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if err := p.info.Sessions.End(r.Context(), w, r); err != nil { // it has ended with the account; this takes the cookies
		route.NoteError(r.Context(), "sign_out", err)
	}
	seeOther(w, "/login?done=erased")
}
