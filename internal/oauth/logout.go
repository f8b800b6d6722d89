package oauth

import (
	"net/http"
	"net/url"
	"strings"
)

// logout signs a person out because an application asks for it (OpenID Connect RP-Initiated Logout).
//
// What it guards: no link and no picture on some page signs anybody out. An ID token of the person who is signed in tells
// that the application knows her; without one she is asked, on our own page. And the browser goes on only to an address
// that the application which got the ID token has registered for this.
func (p *people) logout(w http.ResponseWriter, r *http.Request) {
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
	a, ok := readAnswers(raw)
	if !ok || len(a.twice) > 0 {
		p.refusePage(w, r, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: its request cannot be read."))
		return
	}
	_, next, err := p.leave(r, a)
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	s, signedIn, err := p.Sessions.Current(r.Context(), r)
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	if signedIn {
		if !p.means(r.Context(), a.get("id_token_hint"), s.User.ID) {
			redirect(w, "/logout")
			return
		}
		if err := p.Sessions.End(r.Context(), w, r); err != nil {
			p.refusePage(w, r, err)
			return
		}
	}
	redirect(w, next)
}

// leave finds out whom the application means, and where the browser goes on to.
func (p *people) leave(r *http.Request, a answers) (subject, next string, err error) {
	var clientID string
	if hint, given := a.find("id_token_hint"); given {
		if subject, clientID = p.readHint(hint); subject == "" {
			return "", "", page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: what it says about you is not from this server.")
		}
	}
	if id, given := a.find("client_id"); given && clientID != "" && id != clientID {
		return "", "", page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: it named another application.")
	}
	to, given := a.find("post_logout_redirect_uri")
	if !given {
		return subject, "/logout", nil
	}
	wrong := page(http.StatusBadRequest, invalidRequest, "The application that sent you here wants you sent on to an address that is not registered for it. You are still signed in.")
	if clientID == "" {
		return "", "", wrong
	}
	client, err := p.s.clients.Client(r.Context(), clientID)
	if err != nil && !unknown(err) {
		return "", "", err
	}
	if err != nil || !client.Enabled || !client.MayRedirectAfterLogout(to) {
		return "", "", wrong
	}
	if state, given := a.find("state"); given && len(state) <= maxState {
		separator := "?"
		if strings.Contains(to, "?") {
			separator = "&"
		}
		to += separator + "state=" + url.QueryEscape(state)
	}
	return subject, to, nil
}
