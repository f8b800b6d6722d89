package web

import (
	"cmp"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mintmark/mintmark/internal/identity"
)

// ConsentScope is one thing that a client asks for.
type ConsentScope struct {
	Name string // such as "sales_order.read"
	Text string // in words: what the resource's owner is told, or its summary
	// Of fills the gap {0} of Text, by language; "" is for every other. nil: there is no gap.
	Of map[string]string
}

// Scope is what a scope is about, in the page's language.
func (d *reader) Scope(s ConsentScope) template.HTML {
	if len(s.Of) == 0 {
		return d.T(s.Text)
	}
	return d.T(s.Text, cmp.Or(s.Of[d.Language], s.Of[""]))
}

// ConsentView is what a person is asked to agree to.
type ConsentView struct {
	ClientName  string
	Team        string // that owns the client; may be empty
	Untrusted   bool   // the client registered itself, and nobody here vouches for it
	RedirectURI string // as registered: shown by its host, and the form's answer may end there
	User        identity.User
	Scopes      []ConsentScope
	Lasts       time.Duration // how long the client can go on without asking again; 0: it is not said
	Offline     bool          // also after the person has signed out
	Flow        string        // hidden field flow
	CSRF        string        // hidden field csrf; empty: a token of the session
	Action      string        // where the form goes; empty: the address of this page, without its query
}

type consentData struct {
	frame
	ConsentView
	RedirectHost string
	Span         string // Lasts in words
}

// span is a duration in words, in the largest unit that is not one too many.
func span(d time.Duration) string {
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "days"}, {time.Hour, "hours"}, {time.Minute, "minutes"}} {
		if d >= 2*unit.length {
			return fill("{0} "+unit.name, strconv.Itoa(int(d/unit.length)))
		}
	}
	return words("a minute")
}

// Consent shows the page that asks the person. The buttons send decision=allow or decision=deny.
func (p *Pages) Consent(w http.ResponseWriter, r *http.Request, v ConsentView) {
	if v.CSRF == "" {
		v.CSRF = p.info.Sessions.Token(w, r)
	}
	if v.Action == "" {
		v.Action = r.URL.Path
	}
	for i, s := range v.Scopes {
		if s.Text == "" {
			v.Scopes[i].Text = s.Name
		}
	}
	host := v.RedirectURI
	if u, err := url.Parse(v.RedirectURI); err == nil {
		if host = u.Host; host == "" {
			host = u.Scheme + ":"
		}
	}
	p.show(w, r, http.StatusOK, "consent", consentData{p.frame("Allow access").of(v.User.Realm), v, host, span(v.Lasts)}, v.RedirectURI)
}

// SelectView is which account a person may go on with.
type SelectView struct {
	ClientName  string
	RedirectURI string // as registered: the form's answer may end there
	User        identity.User
	Flow        string // hidden field flow
	Other       string // address to sign in at as somebody else
}

type selectData struct {
	frame
	SelectView
	CSRF string
}

// Select shows the page that asks which account to go on with. The button sends choice=continue.
func (p *Pages) Select(w http.ResponseWriter, r *http.Request, v SelectView) {
	p.show(w, r, http.StatusOK, "select", selectData{p.frame("Choose an account").of(v.User.Realm), v, p.info.Sessions.Token(w, r)}, v.RedirectURI)
}
