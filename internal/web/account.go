package web

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/access"
	"github.com/mintmark/mintmark/internal/fault"
	"github.com/mintmark/mintmark/internal/identity"
	"github.com/mintmark/mintmark/internal/identity/federation"
	"github.com/mintmark/mintmark/internal/identity/mfa"
	"github.com/mintmark/mintmark/internal/identity/session"
	"github.com/mintmark/mintmark/internal/route"
)

type personData struct {
	frame
	CSRF    string
	User    identity.User
	Since   string
	SinceAt string // for programs
	How     string
	Until   string
}

func (p *Pages) person(w http.ResponseWriter, r *http.Request, title string, s session.Session) personData {
	return personData{
		frame: p.frame(title).of(s.User.Realm), CSRF: p.info.Sessions.Token(w, r), User: s.User,
		Since: moment(s.AuthTime), SinceAt: s.AuthTime.Format(time.RFC3339),
		Until: moment(s.Expires), How: how(s.AMR),
	}
}

// how says the methods of RFC 8176 in words.
func how(amr []string) string {
	var words []string
	for _, m := range amr {
		switch m {
		case mfa.Password:
			words = append(words, "password")
		case mfa.OTP:
			words = append(words, "one-time code")
		case mfa.Hardware, mfa.Software:
			words = append(words, "passkey")
		case federation.Federated:
			words = append(words, "another service")
		case mfa.Presence, mfa.Multiple:
		default:
			words = append(words, m)
		}
	}
	return join(words)
}

// Account is the page at GET /account: who is signed in.
func (p *Pages) Account(w http.ResponseWriter, r *http.Request) {
	s, ok := p.signedIn(w, r)
	if !ok {
		return
	}
	d := p.person(w, r, "Your account", s)
	d.Section = afterLogin
	p.show(w, r, http.StatusOK, "account", d)
}

// signedIn answers the session, or leads to the login.
func (p *Pages) signedIn(w http.ResponseWriter, r *http.Request) (session.Session, bool) {
	s, ok, err := p.info.Sessions.Current(r.Context(), r)
	if err != nil {
		p.fail(w, r, err)
		return s, false
	}
	if !ok {
		w.Header().Set("Location", "/login?return_to="+url.QueryEscape(r.URL.RequestURI()))
		w.WriteHeader(http.StatusSeeOther)
		return s, false
	}
	route.Identify(r.Context(), access.Caller{Kind: access.Person, ID: s.User.ID, Name: s.User.Username, Realm: s.User.Realm})
	if asked := spoken(r.URL.Query().Get("lang")); asked != "" {
		if err := p.noteLanguage(r, s.User.ID, asked); err != nil {
			p.fail(w, r, err)
			return s, false
		}
	}
	return s, true
}

type errorData struct {
	frame
	Heading, Text, Advice, Code, RequestID string
}

// Error shows the page that says what happened and how support can find it. text is a sentence for a person, on which
// nothing of the request stands unless it is harmless; it is escaped like all of a page.
func (p *Pages) Error(w http.ResponseWriter, r *http.Request, status int, code, text string) {
	heading := "This did not work"
	switch status {
	case http.StatusForbidden:
		heading = "This is not allowed"
	case http.StatusNotFound:
		heading = "There is nothing here"
	case http.StatusUnauthorized:
		heading = "You are not signed in"
	case http.StatusInternalServerError:
		heading = "Something broke here"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		heading = "Please try again in a moment"
	}
	route.NoteError(r.Context(), code, nil)
	p.show(w, r, status, "error", errorData{p.frame(heading), heading, coded(code, text), advice(status, code), code, route.RequestID(r.Context())})
}

// advice is what a person can do about a refusal.
func advice(status int, code string) string {
	if code == "no_such_path" {
		return "Check how the address is written, or begin at the <a href=\"/\">front page</a>."
	}
	switch status {
	case http.StatusUnauthorized:
		return "This address is for programs that show a token, or for people who are signed in. <a href=\"/login\">Sign in</a>, then try again."
	case http.StatusMethodNotAllowed:
		return "Begin again at the <a href=\"/\">front page</a>, or at the application that you came from."
	case http.StatusForbidden:
		return "If you think that it should be allowed, ask an administrator."
	case http.StatusNotFound, http.StatusConflict:
		return "Go back, load the page again, and see whether it still is as you remember."
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "Nothing is lost. Wait a little, then load this page again."
	case http.StatusInternalServerError:
		return "It is not your fault. Try again in a moment; if it stays, tell somebody."
	}
	return "Go back to where you came from and begin again. If it happens again, tell whoever runs the application."
}

// fail shows the page for an error, which says what may be said of it.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	f, status := fault.Of(err), http.StatusInternalServerError
	switch {
	case errors.Is(err, session.ErrForm), f.Kind == fault.Forbidden:
		status = http.StatusForbidden
	case f.Kind == fault.Invalid, f.Kind == fault.TooLarge:
		status = http.StatusBadRequest
	case f.Kind == fault.Unauthenticated:
		status = http.StatusUnauthorized
	case f.Kind == fault.NotFound:
		status = http.StatusNotFound
	case f.Kind == fault.Conflict:
		status = http.StatusConflict
	case f.Kind == fault.Limited:
		status = http.StatusTooManyRequests
	case f.Kind == fault.Unavailable:
		status = http.StatusServiceUnavailable
	default:
		f = fault.Of(errors.New("hidden")) // whatever it says was not written for strangers
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(f.RetryAfter)))
	}
	p.Error(w, r, status, f.Code, told(f))
	route.NoteError(r.Context(), f.Code, err)
}
