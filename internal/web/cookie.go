package web

import (
	"net/http"
	"strings"
)

// The cookies of the pages, beside those of package session. What each holds proves nothing by itself, or is looked up in
// the database, which says whether it counts and for how long.
const (
	stepCookie     = "mintmark-login"    // a login that is under way
	linkCookie     = "mintmark-link"     // the link from a letter that was opened
	upstreamCookie = "mintmark-upstream" // a login at a provider of others
	signOutCookie  = "mintmark-signout"  // a sign-out there
)

// secure tells whether cookies are sent over TLS alone.
func (p *Pages) secure() bool { return strings.HasPrefix(p.info.Issuer, "https://") }

// cookieName has browsers hold a cookie to this host alone, where they know it over TLS.
func (p *Pages) cookieName(name string) string {
	if p.secure() {
		return "__Host-" + name
	}
	return name
}

// setCookie has the browser keep a cookie for so many seconds; 0: until it is closed, below 0: no longer. Links of other
// sites bring it along (Lax), because letters, clients and providers lead here.
func (p *Pages) setCookie(w http.ResponseWriter, name, value string, age int) {
	http.SetCookie(w, &http.Cookie{Name: p.cookieName(name), Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: p.secure()})
}
