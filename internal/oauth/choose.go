package oauth

import (
	"net/http"
	"net/url"

	"github.com/mintmark/mintmark/internal/db"
)

// selectAccount asks a person who is signed in whether to go on as that, or as somebody else, because the client wants it
// asked (prompt=select_account).
//
// What it guards: the answer comes from a page that this browser got, and counts for the session which it was about: who
// signs in as another person meanwhile is asked again.
func (p *people) selectAccount(w http.ResponseWriter, r *http.Request) {
	handle := r.URL.Query().Get("flow")
	if r.Method == http.MethodPost {
		if err := p.Sessions.CheckToken(r); err != nil {
			p.refusePage(w, r, err)
			return
		}
		handle = r.PostForm.Get("flow")
	}
	// Escaped, so that what stands in place of the handle cannot bring a request of its own.
	q, f, err := p.read(r, "flow="+url.QueryEscape(handle))
	if err != nil {
		p.answerTo(w, r, q, err)
		return
	}
	s, ok, err := p.Sessions.Current(r.Context(), r)
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	if !ok {
		redirect(w, f.resumeAt())
		return
	}
	if r.Method != http.MethodPost {
		p.Pages.Select(w, r, SelectView{ClientName: q.client.Name, RedirectURI: q.redirect, User: s.User, Flow: handle, Other: f.loginAt(q)})
		return
	}
	if r.PostForm.Get("choice") != "continue" {
		p.refusePage(w, r, page(http.StatusBadRequest, invalidRequest, "The form does not say what you chose."))
		return
	}
	var chosen bool
	err = p.s.db.Write(r.Context(), func(tx db.WriteTx) (err error) {
		chosen, err = f.choose(r.Context(), tx, s.ID)
		return err
	})
	if err == nil && !chosen {
		err = errNoFlow()
	}
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	redirect(w, f.resumeAt())
}
