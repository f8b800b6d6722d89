package web

import (
	"net/http"
	"net/url"
	"unicode"

	"github.com/mintmark/mintmark/internal/look"
	"github.com/mintmark/mintmark/internal/realm"
	"github.com/mintmark/mintmark/internal/route"
)

// realmCookie keeps the realm of who signed in last with this browser, for pages that nobody is signed in at: after signing
// out, for an error, for the next login. It proves nothing and opens nothing.
const (
	realmCookie = "mintmark-realm"
	realmYear   = 366 * 24 * 60 * 60
)

// realmOf is the realm that a page looks like, or "". It is that of the person whom the page is for, which the page knows
// (by the session, the login under way, the link from a letter, or the client that the login is for); else what the address
// or the form names, itself or where it leads; else that of who signed in last with this browser.
func (p *Pages) realmOf(r *http.Request, known string) string {
	q := r.URL.Query()
	names := []string{known, q.Get("realm"), r.PostForm.Get("realm")}
	for _, address := range []string{q.Get("return_to"), r.PostForm.Get("return_to")} {
		if to, err := url.Parse(returnTo(address)); err == nil {
			names = append(names, to.Query().Get("realm"))
		}
	}
	if c, err := r.Cookie(p.cookieName(realmCookie)); err == nil {
		names = append(names, c.Value)
	}
	for _, name := range names {
		if found, err := p.info.Directory.Realms().Lookup(name); name != "" && err == nil && found.Kind == realm.People {
			return found.Name
		}
	}
	return ""
}

func (p *Pages) keepRealm(w http.ResponseWriter, r *http.Request, name string) {
	if c, err := r.Cookie(p.cookieName(realmCookie)); err == nil && c.Value == name {
		return
	}
	p.setCookie(w, realmCookie, name, realmYear)
}

// LookRoutes registers the files of the looks, and the script that pages do without.
func (p *Pages) LookRoutes(m *route.Mux) {
	m.Handle("GET "+look.Path+"/{realm}/{file}", p.lookFile)
	m.Handle("GET "+p.comforts, p.ComfortScript)
}

// lookFile serves a logo, colours or an icon. By its policy an SVG that somebody opens by itself runs and loads nothing.
func (p *Pages) lookFile(w http.ResponseWriter, r *http.Request) {
	f, ok := p.info.Looks.File(r.PathValue("realm"), r.PathValue("file"))
	if !ok {
		p.NotFound(w, r)
		return
	}
	serve(w, r, f.Media, f.Content, func(h http.Header) {
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		if !f.Current {
			h.Set("Cache-Control", "no-store")
		}
	})
}

// Initial stands for a person or an application in a picture's place.
func (d *reader) Initial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "·"
}

// Icon is the address of the icon in the browser's tab.
func (d *reader) Icon() string {
	if own := d.Look.Icon(); own != "" {
		return own
	}
	return d.pages.iconPath
}

// Home is where the mark in the page's head leads: people of a realm with a look of its own have nothing to do with what
// runs where.
func (d *reader) Home() string {
	if d.Look.Own {
		return afterLogin
	}
	return "/"
}
