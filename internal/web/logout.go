package web

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"

	"github.com/mintmark/mintmark/internal/identity"
)

// LogoutField is a hidden field of the form that asks whether to sign out.
type LogoutField struct{ Name, Value string }

// LogoutView is the question whether to sign out, because an application wants it.
type LogoutView struct {
	User       identity.User
	ClientName string // "": nobody says who asks
	Fields     []LogoutField
	Next       string // where the answer to the form may lead; "": nowhere else
}

type logoutData struct {
	personData
	LogoutView
	Action   string
	SignedIn bool
}

// LogoutForm is the page at GET /logout: it asks, or, when nobody is signed in, says so. Only the form ends a session, so
// that no link or picture of a stranger does.
func (p *Pages) LogoutForm(w http.ResponseWriter, r *http.Request) {
	s, ok, err := p.info.Sessions.Current(r.Context(), r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if !ok {
		p.show(w, r, http.StatusOK, "logout", logoutData{personData: personData{frame: p.frame("Signed out")}})
		return
	}
	p.show(w, r, http.StatusOK, "logout", logoutData{personData: p.person(w, r, "Sign out", s), LogoutView: LogoutView{User: s.User}, Action: "/logout", SignedIn: true})
}

// AskLogout shows the same question for an application. The form goes back to the address of this page.
func (p *Pages) AskLogout(w http.ResponseWriter, r *http.Request, v LogoutView) {
	d := logoutData{personData: personData{frame: p.frame("Sign out").of(v.User.Realm), CSRF: p.info.Sessions.Token(w, r)}, LogoutView: v, Action: r.URL.Path, SignedIn: true}
	var to []string
	if v.Next != "" {
		to = []string{v.Next}
	}
	p.show(w, r, http.StatusOK, "logout", d, to...)
}

// Logout takes the form at POST /logout.
func (p *Pages) Logout(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if err := p.info.Sessions.CheckToken(r); err != nil {
		p.fail(w, r, err)
		return
	}
	frames, err := p.logoutFrames(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	away, offered := p.offerSignOut(r)
	if err := p.info.Sessions.End(ctx, w, r); err != nil {
		p.fail(w, r, err)
		return
	}
	// Not "cookies": browsers would take those of every host beside ours as well.
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	if offered {
		p.setCookie(w, signOutCookie, away.ID+"."+away.State.Reveal(), signOutSeconds)
	}
	if len(frames) > 0 || offered {
		p.Goodbye(w, r, GoodbyeView{Frames: frames, Provider: away.Name, Away: away.Location})
		return
	}
	w.Header().Set("Location", "/logout")
	w.WriteHeader(http.StatusSeeOther)
}

// logoutFrames are those of whoever is signed in with the browser.
func (p *Pages) logoutFrames(r *http.Request) ([]string, error) {
	if p.info.LogoutFrames == nil {
		return nil, nil
	}
	s, ok, err := p.info.Sessions.Current(r.Context(), r)
	if err != nil || !ok {
		return nil, err
	}
	return p.info.LogoutFrames(r.Context(), s.ID)
}

// GoodbyeView is what somebody sees who has just signed out.
type GoodbyeView struct {
	ClientName string   // where it goes on to; may be empty
	Frames     []string // addresses of clients that hear of it, in frames of the page
	Next       string   // where it goes on to after a moment; "": it stays
	// The provider of others that the session began with, and where to sign out there; "": that is not offered.
	Provider, Away string
}

type goodbyeData struct {
	frame
	ClientName string
	Frames     []string
	Next       template.URL
	Provider   string // where one can sign out as well,
	Away       string // by this address
	There      string // where one just has
	sources    string
}

func (d goodbyeData) frameSources() string { return d.sources }

// Goodbye shows the page after signing out: the one page of ours that frames others, those addresses alone. A frame can
// neither lead the page elsewhere nor open another one.
func (p *Pages) Goodbye(w http.ResponseWriter, r *http.Request, v GoodbyeView) {
	d := goodbyeData{frame: p.frame("Signed out"), ClientName: v.ClientName, Provider: v.Provider, Away: v.Away}
	var origins []string
	for _, address := range v.Frames {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || !plainHost(u.Host) {
			continue // the policy has no word for it
		}
		if origin := u.Scheme + "://" + u.Host; !slices.Contains(origins, origin) {
			origins = append(origins, origin)
			if d.sources != "" {
				d.sources += " "
			}
			d.sources += origin
		}
		d.Frames = append(d.Frames, address)
	}
	// Compared with the registered addresses, whose schemes no browser runs.
	d.Next = template.URL(v.Next)
	d.Refresh = d.Next
	p.show(w, r, http.StatusOK, "goodbye", d)
}
