package oauth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/mintmark/mintmark/internal/db"
	"github.com/mintmark/mintmark/internal/identity"
)

// LogoutField is one parameter of a request to sign out, which the form that asks the person sends along.
type LogoutField struct{ Name, Value string }

// LogoutView is the question whether to sign out. Its form goes to /oauth2/logout; the button sends decision=logout.
type LogoutView struct {
	User       identity.User
	ClientName string // "": nobody says who asks
	Fields     []LogoutField
	Next       string // where the answer to the form may lead; "": nowhere else
}

// GoodbyeView is what somebody sees who has just signed out.
type GoodbyeView struct {
	ClientName string   // where it goes on to; may be empty
	Frames     []string // addresses of clients that hear of it through the browser
	Next       string   // where it goes on to; "": it stays
}

// The parameters that the form for signing out has of its own.
const (
	decisionField = "decision"
	decidedLogout = "logout"
)

// maxFrames is how many clients hear of a logout through the browser.
const maxFrames = 50

// departure is a request to sign out that is not wrong.
type departure struct {
	hint   string // an ID token of ours, or ""
	client Client // zero: the request names none
	next   string // where the browser goes on to; "": it stays
}

// logout signs a person out because an application asks for it (OpenID Connect RP-Initiated Logout).
//
// What it guards: no link and no picture on some page signs anybody out. An ID token of the person who is signed in tells
// that the application knows her; without one she is asked, by a form that only our own page can send. And the browser
// goes on only to an address that is registered for this, of the application that got the ID token or is named.
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
	if p.fetched(w, r, raw) {
		return
	}
	a, ok := readAnswers(raw)
	if !ok || len(a.twice) > 0 {
		p.refusePage(w, r, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: its request cannot be read."))
		return
	}
	d, err := p.leave(r.Context(), a)
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	s, signedIn, err := p.Sessions.Current(r.Context(), r)
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	if !signedIn {
		p.goOn(w, r, d, nil)
		return
	}
	if r.Method == http.MethodPost && a.get(decisionField) == decidedLogout {
		r.Body = io.NopCloser(strings.NewReader(raw)) // it was read above
		err = p.Sessions.CheckToken(r)
	} else if !p.means(r.Context(), d.hint, s.User.ID) {
		p.Pages.Logout(w, r, LogoutView{User: s.User, ClientName: d.client.Name, Fields: d.fields(a), Next: d.next})
		return
	}
	var frames []string
	if err == nil {
		frames, err = p.s.LogoutFrames(r.Context(), s.ID)
	}
	if err == nil {
		err = p.Sessions.End(r.Context(), w, r)
	}
	if err != nil {
		p.refusePage(w, r, err)
		return
	}
	p.goOn(w, r, d, frames)
}

// goOn leads the person who is signed out to where it was wanted, by way of a page if clients are to hear of it through
// the browser.
func (p *people) goOn(w http.ResponseWriter, r *http.Request, d departure, frames []string) {
	switch {
	case len(frames) > 0:
		p.Pages.Goodbye(w, r, GoodbyeView{ClientName: d.client.Name, Frames: frames, Next: d.next})
	case d.next != "":
		redirect(w, d.next)
	default:
		redirect(w, "/logout")
	}
}

// fields are what the form must send along, so that the request which the person agrees to is the one that came.
func (d departure) fields(a answers) (fields []LogoutField) {
	for _, name := range []string{"id_token_hint", "client_id", "post_logout_redirect_uri", "state"} {
		if value, given := a.find(name); given {
			fields = append(fields, LogoutField{name, value})
		}
	}
	return fields
}

// leave finds out which application asks, and where the browser goes on to. Hint and client_id must name the same one.
func (p *people) leave(ctx context.Context, a answers) (d departure, err error) {
	var clientID string
	if hint, given := a.find("id_token_hint"); given {
		var subject string
		if subject, clientID = p.readHint(hint); subject == "" {
			return d, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: what it says about you is not from this server.")
		}
		d.hint = hint
	}
	if id, given := a.find("client_id"); given {
		if clientID != "" && id != clientID {
			return d, page(http.StatusBadRequest, invalidRequest, "The application that sent you here made a mistake: it named another application.")
		}
		clientID = id
	}
	if clientID != "" {
		client, err := p.s.clients.Client(ctx, clientID)
		if err != nil && !unknown(err) {
			return d, err
		}
		if err == nil && client.Enabled {
			d.client = client
		}
	}
	to, given := a.find("post_logout_redirect_uri")
	if !given {
		return d, nil
	}
	if d.client.ID == "" || !d.client.MayRedirectAfterLogout(to) {
		return d, page(http.StatusBadRequest, invalidRequest, "The application that sent you here wants you sent on to an address that is not registered for it. You were not signed out.")
	}
	if state, given := a.find("state"); given && len(state) <= maxState {
		to = withQuery(to, parameter{"state", state})
	}
	d.next = to
	return d, nil
}

// withQuery adds parameters to an address.
func withQuery(address string, more ...parameter) string {
	separator := "?"
	if strings.Contains(address, "?") {
		separator = "&"
	}
	var b strings.Builder
	b.WriteString(address)
	for _, q := range more {
		b.WriteString(separator + q.name + "=" + url.QueryEscape(q.value))
		separator = "&"
	}
	return b.String()
}

// LogoutFrames are the addresses of the clients that hear through the browser that the session has ended, with issuer and
// session (OpenID Connect Front-Channel Logout section 2). Ask before it ends.
func (s *Server) LogoutFrames(ctx context.Context, sessionID string) (frames []string, err error) {
	if s.people == nil {
		return nil, nil
	}
	var ids []string
	err = s.db.Read(ctx, func(tx db.ReadTx) error {
		ids = nil
		return eachRow(ctx, tx, `SELECT client_id FROM session_clients WHERE session_id = $1 ORDER BY client_id`, []any{sessionID}, func(row db.Row) error {
			var clientID string
			err := row.Scan(&clientID)
			ids = append(ids, clientID)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("find the clients of a session: %w", err)
	}
	for _, clientID := range ids {
		client, err := s.clients.Client(ctx, clientID)
		if err != nil && !unknown(err) {
			return nil, err
		}
		if err == nil && client.Enabled && client.Metadata.FrontchannelLogoutURI != "" && len(frames) < maxFrames {
			frames = append(frames, withQuery(client.Metadata.FrontchannelLogoutURI, parameter{"iss", s.issuer}, parameter{"sid", s.people.sessionName(client, sessionID)}))
		}
	}
	return frames, nil
}
